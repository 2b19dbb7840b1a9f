"""calls: what one package costs in calls, from its appearing until it is filed and nothing stirs any more.

One package at a time, in a process that has done it before: tokens, folders and connections are there. Counted are all
calls of the simulators' records and of Azurite's access log, those of the looks that the package's own notifications
set off among them; not what the functions host does of itself (polling queues, its own locks) nor what F&O does with
its blobs. The looks that the app then puts off by 5, 20 and 60 seconds are told apart: a burst of files shares them.
"""

import time
from collections import Counter
from typing import Final

from local_cloud.faults import Call
from tests.benchmarks.figures import Figure, Limit, Sample
from tests.benchmarks.stage import a_stage, put
from tests.benchmarks.storage_log import StorageLog, Whose
from tests.benchmarks.trial import Trial
from tests.end_to_end.stage import Stage

NAME: Final = "calls"
ATTEMPTS: Final = 2
SETTLES_S: Final = 6.0  # until the look is over that was put off by 2 seconds, for the package's own moves
LOOKS_END_S: Final = 90.0  # until the last of the looks that were put off, by 5, then 20, then 60 seconds

_STATUS: Final = "GetExecutionSummaryStatus"


def measure(trial: Trial) -> list[Figure]:
    """Return calls to Graph, F&O and storage for one package."""
    log = StorageLog()
    samples: dict[str, list[Sample]] = {"Graph": [], "F&O": [], "storage": []}
    details: dict[str, object] = {}
    with a_stage(trial, on_storage=log.take, seconds_per_execution=1.0) as stage:
        _import(stage, "USMF_warm_up.zip")
        for number in range(1 if trial.quick else ATTEMPTS):
            if not trial.quick:
                trial.say(f"package {number + 1}: waiting until no look of the last one is left")
                time.sleep(LOOKS_END_S)  # a look that was put off must not count with the next package
            trial.say(f"package {number + 1} of {ATTEMPTS}")
            stage.faults.forget_calls()
            log.forget()
            _import(stage, f"USMF_{number}.zip")
            calls = stage.faults.calls
            graph = [call for call in calls if call.service.startswith("graph")]
            fno = [call for call in calls if call.service == "finance_operations" and _STATUS not in call.path]
            samples["Graph"].append(Sample(len(graph)))
            samples["F&O"].append(Sample(len(fno)))
            samples["storage"].append(Sample(len(log.calls(Whose.RUN, Whose.LOOK))))
            details = {
                "Graph": _counted(stage, graph),
                "F&O": _counted(stage, fno),
                "status polls": sum(_STATUS in call.path for call in calls),
                "storage, run": log.counted(Whose.RUN),
                "storage, looks": log.counted(Whose.LOOK),
                "storage, functions host": log.counted(Whose.HOST),
            }
    bounds = {"Graph": 5, "F&O": 3, "storage": 22}
    return [
        Figure(
            row=NAME,
            what=f"a package's calls to {service}",
            unit="calls",
            samples=tuple(samples[service]),
            limits=(Limit("ours", "at most", bounds[service]),),
            details=details if service == "storage" else {},
        )
        for service in samples
    ]


def _import(stage: Stage, name: str) -> None:
    """Let a package be imported; looking on asks nothing of storage."""
    put(stage, name)
    stage.wait_for(lambda: name in stage.files("Success"), f"{name} in Success")
    time.sleep(SETTLES_S)  # nothing shows that no more notifications come


def _counted(stage: Stage, calls: list[Call]) -> dict[str, int]:
    return dict(Counter(f"{call.method} {_generic(stage, call)}" for call in calls).most_common())


def _generic(stage: Stage, call: Call) -> str:
    """Return a call's path without ids."""
    path = call.path.replace(stage.onedrive.drive_id, "<drive>")
    return "/".join("<id>" if len(part) > 20 and part.isalnum() else part for part in path.split("/"))
