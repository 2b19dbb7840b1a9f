"""small_packages: 200 small packages over 10 data projects, with an F&O that needs no time for an execution.

All appear at once, one after the other by a rename; the time runs from the first one's appearing until the last one is
in Success. The reference (``plain.py``) makes the same calls in the same order for as many packages in folders of its
own, with a thread for each data project, and its time is taken in the same way. It runs before and after ours, while
the app is not there: its changes would set off looks. Both run in a process of their own; so does Azurite; the
simulators share one with this measuring.
"""

import os
import sys
import time
from collections.abc import Sequence
from statistics import mean
from typing import Final

from local_cloud.cloud import ROOT
from local_cloud.processes import ChildFailed, ChildProcess
from tests.benchmarks.figures import Figure, Limit, Sample
from tests.benchmarks.stage import LANES, PATIENCE_S, a_stage, package_of, subscribe
from tests.benchmarks.trial import Trial
from tests.end_to_end.stage import Stage

NAME: Final = "small_packages"
EACH: Final = 20
QUICK_EACH: Final = 3
WARM_UP_EACH: Final = 5  # Azurite's Node.js compiles what is called often, and takes the longer for a call before
STARTS_S: Final = 60.0
SETTLES_S: Final = 6.0  # until the looks are over that the warm-up's own moves have asked for
PLAIN: Final = tuple(lane.replace("Project", "Plain") for lane in LANES)


def measure(trial: Trial) -> list[Figure]:
    """Return packages a minute."""
    each = QUICK_EACH if trial.quick else EACH
    count = each * len(LANES)
    with a_stage(trial, lanes=LANES, with_host=False, subscribed=False) as stage:
        for lane in PLAIN:
            for name in ("Input", "Processing", "Success"):
                (stage.folder / lane / name).mkdir(parents=True)
        _plain(trial, stage, "warm_up", WARM_UP_EACH)
        plain = [_plain(trial, stage, "before", each)]
        stage.start_host()
        subscribe(stage)
        _seconds(trial, stage, "warm_up", WARM_UP_EACH, LANES)
        time.sleep(SETTLES_S)
        ours = _seconds(trial, stage, "measured", each, LANES)
        stage.kill_host()
        for subscription in stage.onedrive.subscriptions:
            stage.onedrive.forget_subscription(subscription.subscription_id)
        plain.append(_plain(trial, stage, "after", each))
    return [
        Figure(
            row=NAME,
            what=f"{count} packages over {len(LANES)} data projects; reference: the same calls by a plain script",
            unit="a minute",
            samples=(Sample(count / ours * 60, count / mean(plain) * 60),),
            limits=(Limit("ratio", "at least", 0.25),),  # at most four times the time
            details={"our seconds": ours, "seconds of the reference, before and after": plain},
        )
    ]


def _plain(trial: Trial, stage: Stage, label: str, each: int) -> float:
    """Return the seconds that the reference takes."""
    command = [sys.executable, "-m", "tests.benchmarks.plain", "imports", str(each), *PLAIN]
    with ChildProcess(command, name="the reference", cwd=ROOT, env=stage.environment) as reference:
        reference.wait_for_line("ready", timeout_s=STARTS_S)
        return _seconds(trial, stage, label, each, PLAIN, by=reference)


def _seconds(
    trial: Trial, stage: Stage, label: str, each: int, lanes: Sequence[str], *, by: ChildProcess | None = None
) -> float:
    """Let so many packages of each lane appear; return the seconds until the last one is filed.

    by: who files them, if not the app. Raises ChildFailed where it gives up.
    """
    names = [f"USMF_{label}_{number:03}.zip" for number in range(each)]
    packages = [(package_of(lane, name), name, lane) for name in names for lane in lanes]
    places = [stage.folder / lane / "Success" for lane in lanes]
    began = time.perf_counter()
    for package, name, lane in packages:
        stage.put(name, package, f"{lane}/Input")

    def filed() -> bool:
        # Names alone, and no Path for each: looking on must not hold up the simulators, which share this process.
        names = [name for place in places for name in os.listdir(place)]  # noqa: PTH208
        count = sum(name.startswith(f"USMF_{label}") for name in names)
        trial.say(f"{label}: {count} of {each * len(lanes)} filed")
        if by and by.exit_code:
            raise ChildFailed(f"{by.name} ended with {by.exit_code}. It said:\n{by.output}")
        return count == each * len(lanes)

    stage.wait_for(filed, "all packages in Success", within_s=PATIENCE_S)
    return time.perf_counter() - began
