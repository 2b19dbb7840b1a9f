"""The cloud that benchmarks run in: the app in the functions host, subscribed to changes, with lanes of its own."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from local_cloud.finance_operations.api import FinanceOperationsSimulator
from local_cloud.finance_operations.executions import Execution
from local_cloud.finance_operations.knobs import Speed
from tests.benchmarks.big_package import write_big_package
from tests.benchmarks.trial import Trial
from tests.end_to_end.stage import NO_MINUTE_TIMER, Stage
from tests.packages import build_package

LANES: Final = tuple(f"Project {number:02}" for number in range(1, 11))
LARGE: Final = "Large"
PATIENCE_S: Final = 900.0


@contextmanager
def a_stage(
    trial: Trial,
    *,
    lanes: tuple[str, ...] = (),
    seconds_per_execution: float = 0.0,
    minute_timer: bool = False,
    settings: Mapping[str, str] | None = None,
    subscribed: bool = True,
    **options: Any,
) -> Iterator[Stage]:
    """Start a cloud with an import for each lane (its name is the data project's and the folder's) and yield it.

    subscribed: the app has made its folders and its subscription, so that notifications come.
    """
    flows = {"imports": [{"name": lane, "inputFolder": f"{lane}/Input", "dataProject": lane} for lane in lanes]}
    app_settings = {
        **({} if minute_timer else NO_MINUTE_TIMER),
        **({"INTEGRATIONS": json.dumps(flows)} if lanes else {}),
        **(settings or {}),
    }
    trial.say("starting the cloud")
    with Stage(
        trial.folder("cloud"),
        app_settings=app_settings,
        speed=Speed(seconds_per_execution=seconds_per_execution),
        **options,
    ) as stage:
        if subscribed:
            subscribe(stage)
        yield stage
        stage.assert_clients_kept_the_rules()


def subscribe(stage: Stage) -> None:
    """Let the app make its folders and its subscription."""
    stage.run_function("keep_watch")
    stage.wait_for(lambda: stage.onedrive.subscriptions, "the subscription")


def put(stage: Stage, name: str, lane: str = "") -> Path:
    """Let a small good package appear in a lane's Input folder."""
    return stage.put(name, package_of(lane or "Asset-Major-Types", name), f"{lane}/Input" if lane else "Input")


def package_of(project: str, name: str) -> bytes:
    """Return a small good package for a data project.

    With its name inside: the same content again would be reported, which takes calls of its own.
    """
    return build_package(data_project=project, entity=project, replace={"Name.txt": name.encode()})


def put_big(stage: Stage, folder: str, name: str, size_bytes: int) -> None:
    """Let a big package for the data project LARGE appear in a folder, whole."""
    write_big_package(stage.home / name, size_bytes, data_project=LARGE)
    (stage.home / name).rename(stage.folder / folder / name)


def both_ways(environment_url: str = "") -> dict[str, str]:
    """Return the setting of one import and one export of the data project LARGE; empty: of the cloud's own F&O."""
    where = {"environmentUrl": environment_url} if environment_url else {}
    export = {"outputFolder": "Output", "dataProject": LARGE, "company": "USMF", "everySeconds": 1}
    flows = {
        "imports": [{"name": "import", "inputFolder": "Input", **where}],
        "exports": [{"name": "export", **export, **where}],
    }
    return {"INTEGRATIONS": json.dumps(flows)}


def exported(stage: Stage, fno: FinanceOperationsSimulator, prepare: Callable[[Execution], None]) -> str:
    """Let the app export once; return the name of the file in Output.

    prepare: is called once F&O has begun the execution.
    """
    known_executions, known_files = len(fno.executions), set(stage.files("Output"))

    def submitted() -> bool:
        stage.run_function("start_exports")  # too early after the last one, it starts none
        return len(fno.executions) > known_executions

    stage.wait_for(submitted, "the export", within_s=PATIENCE_S)
    prepare(fno.executions[-1])
    new = stage.wait_for(lambda: set(stage.files("Output")) - known_files, "a file in Output", within_s=PATIENCE_S)
    return new.pop()
