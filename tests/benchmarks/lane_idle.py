"""lane_idle: the share of time in which F&O does nothing for a data project while files for it wait.

Five data projects side by side, with several files each, all there at once. From the simulated F&O's own record of
executions: the time between the end of one and the submit of the next, over the time from the first submit to the last
end. In real time, nothing is scaled.
"""

import itertools
from collections.abc import Sequence
from statistics import mean
from typing import Final

from local_cloud.finance_operations.executions import Execution
from tests.benchmarks.figures import Figure, Limit, Sample
from tests.benchmarks.stage import LANES, PATIENCE_S, a_stage, put
from tests.benchmarks.trial import Trial

NAME: Final = "lane_idle"
PROJECTS: Final = LANES[:5]
CASES: Final = ((2.0, 8, 25.0), (30.0, 4, 5.0))  # seconds of an execution, files a lane, per cent to stay under
QUICK_CASES: Final = ((2.0, 3, 25.0),)


def measure(trial: Trial) -> list[Figure]:
    """Return the idle share of short and of long executions."""
    return [
        _measured(trial, seconds, files, under) for seconds, files, under in (QUICK_CASES if trial.quick else CASES)
    ]


def _measured(trial: Trial, seconds: float, files: int, under: float) -> Figure:
    part = Trial(home=trial.folder(f"{seconds:g} s"), quick=trial.quick, progress=trial.progress)
    with a_stage(part, lanes=PROJECTS, seconds_per_execution=seconds) as stage:
        for number in range(files):
            for lane in PROJECTS:
                put(stage, f"USMF_{number}.zip", lane)

        def filed() -> bool:
            count = sum(len(stage.files(f"{lane}/Success")) for lane in PROJECTS)
            trial.say(f"executions of {seconds:g} s: {count} of {files * len(PROJECTS)} filed")
            return count == files * len(PROJECTS)

        stage.wait_for(filed, "all packages in Success", within_s=PATIENCE_S)
        executions = stage.finance_operations.executions
    by_lane = [[each for each in executions if each.data_project == lane] for lane in PROJECTS]
    shares = [idle_percent(some) for some in by_lane]
    return Figure(
        row=NAME,
        what=f"idle time of a data project between executions of {seconds:g} s",
        unit="%",
        samples=tuple(Sample(share, 0.0) for share in shares),
        limits=(Limit("ours", "under", under),),
        details={"seconds between two executions, on average": mean(gap for some in by_lane for gap in gaps_s(some))},
    )


def gaps_s(executions: Sequence[Execution]) -> list[float]:
    """Return the seconds between the end of each execution and the submit of the next one of its data project."""
    in_order = sorted(executions, key=lambda execution: execution.times.submitted)
    return [
        max(after.times.submitted - (before.times.ends or 0.0), 0.0) for before, after in itertools.pairwise(in_order)
    ]


def idle_percent(executions: Sequence[Execution]) -> float:
    """Return the share of idle time from the first submit to the last end."""
    begins = min(execution.times.submitted for execution in executions)
    ends = max(execution.times.ends or 0.0 for execution in executions)
    return sum(gaps_s(executions)) / (ends - begins) * 100
