"""The scenes that tests share: one cloud for most, the same in the Flex shape, and two where something is killed.

On the shared stage a test takes file names and entities of its own. All of them end with the last test here: a host
that stands idle still asks its queues for messages several times a second.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local_cloud.finance_operations.knobs import Speed
from local_cloud.functions_host.flex.options import FlexOptions
from local_cloud.receivers import Receivers
from tests.end_to_end.browsing import KEYS, PICTURES, TakePicture, new_browser
from tests.end_to_end.demos import DEFAULT, FAILING, FLEX, Demo, Demos, failing_package
from tests.end_to_end.killed import HOST, INSTANCES, Killed
from tests.end_to_end.stage import NO_MINUTE_TIMER, PROMPT_QUEUES, QUICK_FLEX, Stage
from tests.instructions import Shell, keys_to_set
from tests.side_by_side import IS_WORKER

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

GIVEN_UP_AFTER_S = 300  # seconds a test; the first one also starts what all share

# Fixtures that wait for minutes or for other processes most of their time; the first one for the longest.
BEGUN_FIRST = ("killed", "demos")

# Folder by folder, what is imported from there; "" is the package's own data project.
IMPORTS = {
    "": "",
    "Huge": "",
    "Quick": "",
    **{f"Lanes/{number}": f"Project {number}" for number in range(1, 4)},
    **{f"Slow/{number}": "" for number in range(1, 6)},
    "Told": "",
}
# Whose alerts go to the webhook instead of the log.
TOLD = "Told"
SIGNED_WITH = "whsec_dGhlIGtleSB0aGF0IHNpZ25zIGFsZXJ0cywgMzIgYi4="


@pytest.fixture(scope="package")
def receivers() -> Iterator[Receivers]:
    """Where the alerts of one import are posted to."""
    receivers = Receivers(secret=SIGNED_WITH)
    receivers.start()
    yield receivers
    receivers.stop()


@pytest.fixture(scope="package")
def one_process(tmp_path_factory: pytest.TempPathFactory, receivers: Receivers) -> Iterator[Stage]:
    """The app in the functions host, subscribed to changes, over everything it talks to."""
    with _subscribed(tmp_path_factory.mktemp("stage"), receivers) as stage:
        yield stage


@pytest.fixture(scope="package")
def in_flex(tmp_path_factory: pytest.TempPathFactory, receivers: Receivers) -> Iterator[Stage]:
    """The same as Azure Flex Consumption runs it."""
    with _subscribed(tmp_path_factory.mktemp("flex"), receivers, flex=QUICK_FLEX) as stage:
        yield stage


@pytest.fixture(scope="package")
def stage(one_process: Stage) -> Stage:
    """What most tests are about."""
    return one_process


@contextmanager
def _subscribed(home: Path, receivers: Receivers, flex: FlexOptions | None = None) -> Iterator[Stage]:
    flows = {
        "imports": [
            {
                "name": f"import {folder.replace('/', '-')}".strip(),
                "inputFolder": f"{folder}/Input",
                "dataProject": project,
                **({"alertWebhookUrl": "%TOLD_WEBHOOK%", "alertTeamsUrl": "%TOLD_TEAMS%"} if folder == TOLD else {}),
            }
            for folder, project in IMPORTS.items()
        ],
        "exports": [{"name": "groups out", "outputFolder": "Output", "dataProject": "Asset-Groups", "company": "DEMF"}],
    }
    stage = Stage(
        home,
        app_settings={
            **NO_MINUTE_TIMER,
            **PROMPT_QUEUES,
            "INTEGRATIONS": json.dumps(flows),
            "POLL_FIRST_SECONDS": "1",
            "TOLD_WEBHOOK": receivers.webhook_url,
            "TOLD_TEAMS": receivers.teams_url,
            "ALERT_WEBHOOK_SECRET": SIGNED_WITH,
            "LOCAL_FUNCTIONS_HOST_KEYS": ";".join(
                f"{function}/{name}={KEYS[name]}"
                for name, functions in keys_to_set(Shell.BASH).items()
                for function in functions
            ),
        },
        speed=Speed(seconds_per_execution=0.3, not_found_s=0.1),
        flex=flex,
    )
    with stage:
        for folder in IMPORTS:
            (stage.folder / folder / "Input").mkdir(parents=True, exist_ok=True)
        stage.run_function("keep_watch")
        stage.wait_for(lambda: stage.onedrive.subscriptions, "the subscription")
        yield stage
        stage.assert_clients_kept_the_rules()


@pytest.fixture(scope="package")
def browser() -> Iterator["Chrome"]:
    """A real browser without a window, where there is one."""
    browser = new_browser()
    yield browser
    browser.quit()


@pytest.fixture
def take_picture(browser: "Chrome") -> TakePicture:
    """Keep what the browser shows as a picture for the documents, where somebody wants new ones."""
    folder = os.environ.get(PICTURES)

    def take(name: str) -> None:
        if folder:
            Path(folder, f"{name}.png").write_bytes(browser.get_screenshot_as_png())

    return take


@pytest.fixture(autouse=True)
def _no_complaints(request: pytest.FixtureRequest) -> Iterator[None]:
    """A browser complains of scripts that break, and of everything that the Content-Security-Policy forbids."""
    yield
    if "browser" in request.fixturenames:
        browser: Chrome = request.getfixturevalue("browser")
        complaints = browser.get_log("browser")  # type: ignore[no-untyped-call]  # selenium does not annotate it
        assert [each for each in complaints if each["source"] != "network"] == []


@pytest.fixture(scope="package")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Killed]]:
    """A host that was killed in the middle of imports and started again, and instances that were and are replaced."""
    with (
        Killed(tmp_path_factory.mktemp("killed")) as host,
        Killed(tmp_path_factory.mktemp("killed"), flex=QUICK_FLEX) as instances,
    ):
        yield {HOST: host, INSTANCES: instances}


@pytest.fixture(scope="package")
def demos(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Demos]:
    """The demo with its own packages, in both shapes if asked for, and with one whose rows all fail, side by side."""
    folder = tmp_path_factory.mktemp("demos")
    arguments = {DEFAULT: (), FAILING: ("--package", str(failing_package(folder)))}
    if any(item.path.stem == "test_demo" and item.get_closest_marker("extended") for item in request.session.items):
        arguments[FLEX] = ("--flex",)
    with ExitStack() as stack:
        yield {name: stack.enter_context(Demo(folder, *given)) for name, given in arguments.items()}


@pytest.fixture(scope="package", autouse=True)
def _begin_what_takes_long(request: pytest.FixtureRequest) -> None:
    """Kill the host and start the demos before all tests here: those can run while these are waited for.

    With several workers each starts what its own tests need.
    """
    if IS_WORKER:
        return
    wanted = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    for name in BEGUN_FIRST:
        if name in wanted:
            request.getfixturevalue(name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests of what was begun first come last, and each have time for more than one thing that takes long.

    With several workers tests/side_by_side.py has another order.

    Where pictures are wanted, only those that take some are run.
    """
    if os.environ.get(PICTURES):
        items[:] = [item for item in items if "take_picture" in getattr(item, "fixturenames", ())]
    for item in items:
        if "end_to_end" in item.path.parts and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(GIVEN_UP_AFTER_S))
    for name in reversed(BEGUN_FIRST):
        items.sort(key=lambda item: name in getattr(item, "fixturenames", ()))
