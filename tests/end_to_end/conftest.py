"""The scenes that tests share: one cloud for most of them, and one whose functions host was killed.

On the shared stage a test takes file names and entities of its own.
"""

import json
from collections.abc import Iterator

import pytest

from local_cloud.finance_operations.knobs import Speed
from tests.end_to_end.killed import KilledHost
from tests.end_to_end.stage import NO_MINUTE_TIMER, Stage

GIVEN_UP_AFTER_S = 300  # seconds a test; the first one also starts what all share

# Folder by folder, what is imported from there; "" is the package's own data project.
IMPORTS = {
    "": "",
    "Huge": "",
    "Quick": "",
    **{f"Lanes/{number}": f"Project {number}" for number in range(1, 4)},
    **{f"Slow/{number}": "" for number in range(1, 6)},
}


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The app in the functions host, subscribed to changes, over everything it talks to."""
    flows = {
        "imports": [
            {
                "name": f"import {folder.replace('/', '-')}".strip(),
                "inputFolder": f"{folder}/Input",
                "dataProject": project,
            }
            for folder, project in IMPORTS.items()
        ],
        "exports": [
            {"name": "groups out", "outputFolder": "Output", "dataProject": "Asset-Groups", "company": "DEMF"},
        ],
    }
    stage = Stage(
        tmp_path_factory.mktemp("stage"),
        app_settings={**NO_MINUTE_TIMER, "INTEGRATIONS": json.dumps(flows), "POLL_FIRST_SECONDS": "1"},
        speed=Speed(seconds_per_execution=0.3, not_found_s=0.1),
    )
    with stage:
        for folder in IMPORTS:
            (stage.folder / folder / "Input").mkdir(parents=True, exist_ok=True)
        stage.run_function("keep_watch")
        stage.wait_for(lambda: stage.onedrive.subscriptions, "the subscription")
        yield stage
        stage.assert_clients_kept_the_rules()


@pytest.fixture(scope="session")
def killed_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KilledHost]:
    """A host that was killed in the middle of imports, and started again."""
    with KilledHost(tmp_path_factory.mktemp("killed")) as scene:
        yield scene


@pytest.fixture(scope="session", autouse=True)
def _kill_first(request: pytest.FixtureRequest) -> None:
    """Kill the host before all other tests here: what it leaves takes minutes to go on, in which they can run."""
    if any("killed_host" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("killed_host")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests of the killed host come last, and each have time for more than one thing that takes long."""
    for item in items:
        if "end_to_end" in item.path.parts and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(GIVEN_UP_AFTER_S))
    items.sort(key=lambda item: "killed_host" in getattr(item, "fixturenames", ()))
