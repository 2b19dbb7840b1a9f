"""A simulated environment with a clock that the test moves, and someone who calls it with plain requests."""

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import requests

from local_cloud.faults import FaultPlan
from local_cloud.finance_operations import FinanceOperationsSimulator, Speed
from local_cloud.tokens import TokenDesk
from tests.packages import build_package

APP_ID = "5e1f0000-0000-4000-8000-00000000000f"
TIMEOUT_S = 60  # costs nothing when all is well

type StartSimulator = Callable[..., FinanceOperationsSimulator]


class HandClock:
    """Seconds since the epoch; stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_793_000_000.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


class Caller:
    """Calls the simulator as any HTTP client would."""

    def __init__(self, simulator: FinanceOperationsSimulator, desk: TokenDesk, session: requests.Session) -> None:
        self.simulator = simulator
        self.desk = desk
        self.session = session
        self.token = desk.issue(simulator.audience, app_id=APP_ID)

    @contextmanager
    def another(self) -> Iterator["Caller"]:
        """One more caller, for a thread of its own."""
        with requests.Session() as session:
            session.trust_env = False
            yield Caller(self.simulator, self.desk, session)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def get(self, path: str, **query: str) -> requests.Response:
        return self.session.get(self.simulator.url + path, params=query, headers=self.headers, timeout=TIMEOUT_S)

    def post(self, path: str, body: Any) -> requests.Response:
        return self.session.post(self.simulator.url + path, json=body, headers=self.headers, timeout=TIMEOUT_S)

    def act(self, action: str, **parameters: Any) -> requests.Response:
        return self.post(action_path(action), parameters)

    def value(self, action: str, **parameters: Any) -> Any:
        answered = self.act(action, **parameters)
        assert answered.status_code == 200, answered.text
        return answered.json()["value"]

    def upload(self, package: bytes) -> str:
        url: str = json.loads(self.value("GetAzureWriteUrl", uniqueFileName=str(uuid.uuid4())))["BlobUrl"]
        self.overwrite(url, package)
        return url

    def overwrite(self, url: str, content: bytes) -> None:
        put = self.session.put(url, data=content, headers={"x-ms-blob-type": "BlockBlob"}, timeout=TIMEOUT_S)
        assert put.status_code == 201, put.text

    def download(self, url: str) -> bytes:
        got = self.session.get(url, timeout=TIMEOUT_S)
        assert got.status_code == 200, got.text
        return got.content

    def import_url(self, url: str, **parameters: Any) -> requests.Response:
        return self.act("ImportFromPackage", **an_import(url) | parameters)

    def import_package(self, package: bytes | None = None, **parameters: Any) -> requests.Response:
        return self.import_url(self.upload(package if package is not None else build_package()), **parameters)

    def export(self, **parameters: Any) -> requests.Response:
        defaults: dict[str, Any] = {
            "definitionGroupId": "Assets",
            "packageName": "Assets",
            "executionId": "export-1",
            "reExecute": False,
            "legalEntityId": "USMF",
        }
        return self.act("ExportToPackage", **defaults | parameters)

    def status(self, execution_id: str = "run-1") -> str:
        return str(self.value("GetExecutionSummaryStatus", executionId=execution_id))


def action_path(action: str) -> str:
    return f"/data/DataManagementDefinitionGroups/Microsoft.Dynamics.DataEntities.{action}"


def an_import(url: str) -> dict[str, Any]:
    """Return the parameters of ImportFromPackage."""
    return {
        "packageUrl": url,
        "definitionGroupId": "Assets",
        "executionId": "run-1",
        "execute": True,
        "overwrite": True,
        "legalEntityId": "USMF",
    }


def until(holds: Callable[[], bool]) -> None:
    """Wait until a condition holds; fails when it does not in time."""
    deadline = time.monotonic() + TIMEOUT_S
    while not holds():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


def reason(answered: requests.Response) -> str:
    """Return why F&O refused a call."""
    assert answered.status_code == 400, answered.text
    return str(answered.json()["error"]["innererror"]["message"])


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def desk() -> TokenDesk:
    return TokenDesk()


@pytest.fixture
def faults() -> FaultPlan:
    return FaultPlan()


@pytest.fixture
def start_simulator(
    azurite_connection: str, desk: TokenDesk, faults: FaultPlan, clock: HandClock
) -> Iterator[StartSimulator]:
    with ExitStack() as stack:

        def start(**options: Any) -> FinanceOperationsSimulator:
            options.setdefault("speed", Speed(seconds_per_execution=60))
            return stack.enter_context(
                FinanceOperationsSimulator(azurite_connection, desk, faults, clock=clock, **options)
            )

        yield start


@pytest.fixture
def simulator(start_simulator: StartSimulator) -> FinanceOperationsSimulator:
    """An environment where an execution takes 60 seconds of the test's clock."""
    return start_simulator()


@pytest.fixture
def caller(simulator: FinanceOperationsSimulator, desk: TokenDesk) -> Iterator[Caller]:
    with requests.Session() as session:
        session.trust_env = False
        yield Caller(simulator, desk, session)
