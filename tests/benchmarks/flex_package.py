"""flex_package: what one package costs in the Flex shape, where each function has instances of its own.

Instances of all functions that it needs are there, and have done it before; F&O takes 5 s. Counted is all from its
appearing until 90 s after it was filed, when the last of the scans is over that its notifications may put off.
"""

import time
from typing import Final

from tests.benchmarks.figures import Figure, Limit, Sample
from tests.benchmarks.flex import FlexStage, Passed, a_flex_stage, seconds_until
from tests.benchmarks.stage import LANES, put
from tests.benchmarks.trial import Trial

NAME: Final = "flex_package"
EXECUTION_S: Final = 5.0
ATTEMPTS: Final = 3
BEHIND_S: Final = 0.5  # between the moments at which the second file appears
NOTIFIED_EVERY_S: Final = 3.0  # a notification asks for a scan at most so often


def measure(trial: Trial) -> list[Figure]:
    """Return seconds, invocations, scans, billed seconds and calls of a package."""
    with a_flex_stage(trial, seconds_per_execution=EXECUTION_S) as flex:
        passed = warm_packages(flex, attempts=1 if trial.quick else ATTEMPTS)
    return [*figures(passed), _behind(trial)]


def _behind(trial: Trial) -> Figure:
    """Return how long a file waits that appears while the changes that the app itself makes are notified.

    A scan that is taken for an echo of these must not be dropped: it may be the one that finds a new file.
    """
    part = Trial(home=trial.folder("behind"), quick=trial.quick, progress=trial.progress)
    samples = []
    with a_flex_stage(part, lanes=LANES[:2], seconds_per_execution=EXECUTION_S) as flex:
        first, second = LANES[:2]
        for number in range(2 if trial.quick else 6):
            trial.say(f"a file behind another one, {number + 1}")
            samples.append(Sample(_claimed_behind_s(flex, first, second, number)))
    return Figure(
        row=NAME,
        what="seconds to the claim of a file that appears while the app's own changes are notified, the longest of six",
        unit="s",
        samples=(max(samples),),
        limits=(Limit("ours", "at most", NOTIFIED_EVERY_S + 1.5),),
        details={"each": [sample.ours for sample in samples]},
    )


def _claimed_behind_s(flex: FlexStage, first: str, second: str, number: int) -> float:
    """Let a file appear in one lane, and some time after its claim one in the other; return what that one waited."""
    stage, name = flex.stage, f"USMF_{number}.zip"
    before, began = put(stage, name, first), time.monotonic()
    seconds_until(lambda: not before.exists(), began, "the first file to be claimed")
    time.sleep(BEHIND_S * number)  # at another moment of what follows each time
    behind, began = put(stage, name, second), time.monotonic()
    claimed_s = seconds_until(lambda: not behind.exists(), began, "the second file to be claimed")
    successes = [f"{lane}/Success" for lane in (first, second)]
    seconds_until(lambda: all(name in stage.files(each) for each in successes), began, "both files to be filed")
    return claimed_s


def warm_packages(flex: FlexStage, *, attempts: int) -> list[Passed]:
    """Let one package warm everything up, then so many through, one after the other; return what these have set off."""
    flex.trial.say("a package that warms up")
    flex.pass_one()
    passed = []
    for number in range(1, attempts + 1):
        flex.trial.say(f"package {number} of {attempts}")
        passed.append(flex.pass_one())
    return passed


def figures(passed: list[Passed]) -> list[Figure]:
    """Return the row's figures."""
    rows: list[tuple[str, str, list[float], float | None]] = [
        ("seconds from its appearing to its claim", "s", [each.claimed_s for each in passed], 1.5),
        ("invocations", "invocations", [len(each.invocations) for each in passed], 7),
        ("scans", "scans", [each.scans for each in passed], 3),
        ("billed seconds", "s", [each.billed_s for each in passed], 12),
        ("calls to storage", "calls", [len(each.storage) for each in passed], None),
        ("calls to Graph", "calls", [each.graph for each in passed], None),
    ]
    return [
        Figure(
            row=NAME,
            what=f"one package, warm, execution {EXECUTION_S:g} s: {what}",
            unit=unit,
            samples=tuple(Sample(value) for value in values),
            limits=() if bound is None else (Limit("ours", "at most", bound),),
            details=passed[-1].details() if what == "invocations" else {},
        )
        for what, unit, values, bound in rows
    ]
