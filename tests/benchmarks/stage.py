"""The cloud that benchmarks run in: the app in the functions host, subscribed to changes, with lanes of its own."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from local_cloud.finance_operations.knobs import Speed
from tests.benchmarks.trial import Trial
from tests.end_to_end.stage import NO_MINUTE_TIMER, Stage
from tests.packages import build_package

LANES: Final = tuple(f"Project {number:02}" for number in range(1, 11))
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
    project = lane or "Asset-Major-Types"
    return stage.put(name, build_package(data_project=project, entity=project), f"{lane}/Input" if lane else "Input")
