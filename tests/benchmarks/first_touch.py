"""first_touch: from a file's appearing in Input to its claim, which is its move to Processing.

Measured on disk, every 10 ms: since the file was renamed into Input until it has left it. Files come at irregular
times, each into a lane of its own, so that none waits for another. Once with Graph's notifications and without the
minute timer, once the other way round. The reference looks into a folder of its own once a minute, as the Logic App
does, and gets a file whenever we do. The simulated OneDrive sees a new file after up to 0.3 s and notifies 0.1 s later.
"""

import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from local_cloud.cloud import ROOT
from local_cloud.processes import ChildProcess
from tests.benchmarks.figures import Figure, Limit, Sample
from tests.benchmarks.stage import LANES, a_stage, put
from tests.benchmarks.trial import Trial
from tests.end_to_end.stage import Stage

NAME: Final = "first_touch"
PLAIN: Final = "Plain"
POLL_S: Final = 60.0
QUICK_POLL_S: Final = 5.0
LOOK_S: Final = 0.01  # between two looks whether a file has been claimed: how exact the figures are
BETWEEN_S: Final = (5.0, 9.0)
QUICK_BETWEEN_S: Final = (1.0, 2.0)
QUICK_FILES: Final = 3
GIVE_UP_S: Final = 180.0


def measure(trial: Trial) -> list[Figure]:
    """Return the seconds with notifications and without."""
    figures = [_measured(trial, "with notifications", Limit("ours", "under", 1.5), with_notifications=True)]
    if trial.quick:
        return figures
    return [*figures, _measured(trial, "without notifications", Limit("ours", "under", 65), with_notifications=False)]


def _measured(trial: Trial, how: str, limit: Limit, *, with_notifications: bool) -> Figure:
    part = Trial(home=trial.folder(how), quick=trial.quick, progress=trial.progress)
    settings = {} if with_notifications else {"NOTIFICATION_URL": ""}
    with a_stage(
        part, lanes=LANES, subscribed=with_notifications, minute_timer=not with_notifications, settings=settings
    ) as stage:
        for lane in LANES:
            (stage.folder / lane / "Input").mkdir(parents=True, exist_ok=True)
        if with_notifications:
            put(stage, "USMF_warm_up.zip", LANES[0])
            stage.ended("USMF_warm_up.zip")
        with _polling(stage, QUICK_POLL_S if trial.quick else POLL_S):
            samples = _touched(part, stage, how)
    return Figure(
        row=NAME,
        what=f"seconds from a file's appearing to its claim, {how}; reference: a scan once a minute",
        unit="s",
        samples=tuple(samples),
        limits=(limit,),
        details={"longest": max(sample.ours for sample in samples)},
    )


@contextmanager
def _polling(stage: Stage, every_s: float) -> Iterator[None]:
    """Let the reference look every so many seconds."""
    for name in ("Input", "Processing"):
        (stage.folder / PLAIN / name).mkdir(parents=True)
    command = [sys.executable, "-m", "tests.benchmarks.plain", "poll", str(every_s), PLAIN]
    with ChildProcess(command, name="the reference", cwd=ROOT, env=stage.environment) as reference:
        reference.wait_for_line("polling", timeout_s=30)
        yield


def _touched(trial: Trial, stage: Stage, how: str) -> list[Sample]:
    """Put files into Input at irregular times; return how long each was there, ours and the reference's."""
    chance = random.Random(5)  # the same times in each run
    lanes = LANES[: QUICK_FILES if trial.quick else None]
    due, appeared, left = time.monotonic(), dict[Path, float](), dict[Path, float]()
    pairs: list[tuple[Path, Path]] = []
    while len(left) < 2 * len(lanes):
        now = time.monotonic()
        if len(pairs) < len(lanes) and now >= due:
            name = f"USMF_{len(pairs)}.zip"
            pairs.append((put(stage, name, lanes[len(pairs)]), put(stage, name, PLAIN)))
            appeared |= dict.fromkeys(pairs[-1], time.monotonic())
            due = now + chance.uniform(*(QUICK_BETWEEN_S if trial.quick else BETWEEN_S))
        left |= {path: now - appeared[path] for path in appeared if path not in left and not path.exists()}
        trial.say(f"{how}: {sum(pair[0] in left for pair in pairs)} of {len(lanes)} claimed")
        assert now < max(appeared.values()) + GIVE_UP_S, f"not claimed: {set(appeared) - set(left)}"
        time.sleep(LOOK_S)  # to look without a pause would take the processor from what is measured
    return [Sample(left[ours], left[reference]) for ours, reference in pairs]
