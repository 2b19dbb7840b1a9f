"""flex_many: 200 packages over 10 data projects in the Flex shape, beside the same in one process.

Executions take 2 s; ``work`` gets up to 4 instances, as many as Azure's rule asks for, each 3 s after it was asked for.
The time runs from the first package's appearing until the last one is in Success; the idle time of a data project is
what ``lane_idle`` says it is. Both have done a package of each data project, so an instance of ``work`` is there.
"""

import time
from typing import Final

from tests.benchmarks.cost import billed_s
from tests.benchmarks.figures import Figure, Limit, Sample
from tests.benchmarks.flex import a_flex_stage
from tests.benchmarks.lane_idle import idle_percent
from tests.benchmarks.stage import LANES, PATIENCE_S, a_stage, package_of
from tests.benchmarks.trial import Trial
from tests.end_to_end.stage import Stage

NAME: Final = "flex_many"
EACH: Final = 20
QUICK_EACH: Final = 3
EXECUTION_S: Final = 2.0
INSTANCES: Final = 4
SETTLES_S: Final = 6.0  # until the scans are over that the warm-up's own moves have asked for


def measure(trial: Trial) -> list[Figure]:
    """Return idle time of a data project and total time."""
    each = QUICK_EACH if trial.quick else EACH
    one = Trial(home=trial.folder("one process"), quick=trial.quick, progress=trial.progress)
    with a_stage(one, lanes=LANES, seconds_per_execution=EXECUTION_S) as stage:
        _filed_after_s(one, stage, "warm_up", 1)
        time.sleep(SETTLES_S)
        one_s = _filed_after_s(one, stage, "one process", each)
        one_idle = _idle(stage, each)
    many = Trial(home=trial.folder("flex"), quick=trial.quick, progress=trial.progress)
    with a_flex_stage(
        many, lanes=LANES, seconds_per_execution=EXECUTION_S, idle_s=30.0, max_instances=INSTANCES
    ) as flex:
        _filed_after_s(many, flex.stage, "warm_up", 1)
        time.sleep(SETTLES_S)
        began = time.time()
        flex_s = _filed_after_s(many, flex.stage, "flex", each)
        flex_idle = _idle(flex.stage, each)
        whole = flex.journal()
        journal = whole.between(began)
    invocations = journal.without_timers()
    details = {
        "instances of work at once": journal.most_at_once("work", at_first=whole.there_at("work", began)),
        "invocations": len(invocations),
        "billed seconds": billed_s(invocations),
    }
    count = each * len(LANES)
    return [
        Figure(
            row=NAME,
            what=f"idle time of a data project, {count} packages, executions of {EXECUTION_S:g} s; "
            "reference: in one process",
            unit="%",
            samples=tuple(Sample(*pair) for pair in zip(flex_idle, one_idle, strict=True)),
            limits=(Limit("ours", "under", 10),),
            details=details,
        ),
        Figure(
            row=NAME,
            what=f"seconds until {count} packages are filed; reference: in one process",
            unit="s",
            samples=(Sample(flex_s, one_s),),
            limits=(Limit("ratio", "at most", 1.1),),
            details=details,
        ),
        Figure(
            row=NAME,
            what="billed seconds of a package among these",
            unit="s",
            samples=(Sample(billed_s(invocations) / count),),
            details=details,
        ),
    ]


def _filed_after_s(trial: Trial, stage: Stage, label: str, each: int) -> float:
    """Let so many packages of each lane appear; return the seconds until the last one is filed."""
    names = [f"USMF_{label}_{number:03}.zip".replace(" ", "_") for number in range(each)]
    packages = [(package_of(lane, name), name, lane) for name in names for lane in LANES]
    began = time.perf_counter()
    for package, name, lane in packages:
        stage.put(name, package, f"{lane}/Input")

    def filed() -> bool:
        count = sum(name in names for lane in LANES for name in stage.files(f"{lane}/Success"))
        trial.say(f"{label}: {count} of {len(packages)} filed")
        return count == len(packages)

    stage.wait_for(filed, "all packages in Success", within_s=PATIENCE_S)
    return time.perf_counter() - began


def _idle(stage: Stage, each: int) -> list[float]:
    """Return the idle time of each data project over its last so many executions, in per cent."""
    executions = sorted(stage.finance_operations.executions, key=lambda execution: execution.times.submitted)
    return [idle_percent([some for some in executions if some.data_project == lane][-each:]) for lane in LANES]
