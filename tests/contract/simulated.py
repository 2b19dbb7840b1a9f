"""The simulators behind the contract suites: started once, with tokens from the local Entra, and put back after a test.

The app's clients reach them as in Azure: a managed identity's token over HTTP, then real sockets.
"""

import time
import uuid
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
import requests

from local_cloud.entra import Entra
from local_cloud.faults import Action, Fault, FaultPlan
from local_cloud.finance_operations import Behaviour, FinanceOperationsSimulator, Speed
from local_cloud.onedrive import Knobs, OneDriveSimulator
from local_cloud.onedrive.mail import Mail
from local_cloud.server import Served
from local_cloud.tokens import TokenDesk
from shared.clients.entra.app_identity import AppIdentity, ManagedIdentity
from shared.clients.fno.client import FinanceOperations, finance_operations_http
from shared.clients.graph.drive_item import DriveItem
from shared.clients.graph.onedrive import OneDrive
from shared.clients.graph.subscriptions import Subscriptions
from shared.clients.http.client import Http, TokenSource
from tests.contract.finance_operations_contract import FinanceOperationsTarget


class HandClock:
    """Seconds since the epoch, as a test moves them on from the real ones."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s

    def pass_by(self, seconds: float) -> None:
        self.ahead_s += seconds


class SimulatedIdentity(Served):
    """The local Entra, as the managed identity of a Function App reaches it."""

    def __init__(self) -> None:
        self.desk = TokenDesk()
        self.entra = Entra(self.desk)
        super().__init__(self.entra.app())

    def be_known(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the environment say where this identity's tokens are, as Azure does."""
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{self.server.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", self.entra.identity_header)

    def token(self, audience: str) -> AppIdentity:
        return AppIdentity(ManagedIdentity(), f"{audience}/.default")


class _Simulated:
    """A simulator that many tests share, one after the other."""

    def __init__(self, identity: SimulatedIdentity, service: str) -> None:
        self.identity = identity
        self.faults = FaultPlan()
        self.clock = HandClock()
        self._service = service
        self._running = ExitStack()
        self._opened: list[Http] = []

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    def fault(self, method: str, path_regex: str, do: Action, *, nth: int = 1, times: int | None = 1) -> None:
        """Let a call go wrong."""
        self.faults.add(Fault(self._service, method, path_regex, nth, times, do=do))

    def statuses(self, method: str, path: str) -> list[int | None]:
        """Return how this test's calls of that kind were answered."""
        return [call.status for call in self.faults.calls if call.method == method and path in call.path]

    def opened(self, http: Http) -> Http:
        """Let the connections of a client end with the test."""
        self._opened.append(http)
        return http

    def reset(self) -> None:
        for http in self._opened:
            http.close()
        self._opened.clear()
        self.faults.clear()
        self.faults.forget_calls()
        self.clock.ahead_s = 0.0


class SimulatedGraph(_Simulated):
    """OneDrive, change notifications and mail."""

    def __init__(self, folder: Path, identity: SimulatedIdentity) -> None:
        super().__init__(identity, "graph")
        self._mails_before = 0
        self.simulator = OneDriveSimulator(folder, identity.desk, self.faults, knobs=Knobs(), clock=self.clock)

    def __enter__(self) -> Self:
        self._running.enter_context(self.simulator)
        return self

    @property
    def knobs(self) -> Knobs:
        return self.simulator.knobs

    @property
    def url(self) -> str:
        return f"{self.simulator.graph_url}/v1.0"

    @property
    def mails(self) -> list[Mail]:
        """The mails of this test."""
        return self.simulator.mails[self._mails_before :]

    def http(self, token: TokenSource | None = None) -> Http:
        """Return what the app calls Graph with; token: in place of the managed identity's."""
        token = token or self.identity.token(self.simulator.graph_url)
        return self.opened(Http(service="Microsoft Graph", token=token, request_id_header="request-id"))

    def downloads(self) -> Http:
        """Return what the app calls pre-authenticated addresses with."""
        return self.opened(Http(service="OneDrive content", token=None, request_id_header="request-id"))

    def get(self, path: str) -> requests.Response:
        """Ask Graph as any HTTP client may. path: what follows the version, encoded."""
        token = self.identity.desk.issue(self.simulator.graph_url, app_id="an app")
        return requests.get(f"{self.url}/{path}", headers={"Authorization": f"Bearer {token}"}, timeout=30)

    @property
    def drive(self) -> str:
        """The address of the drive, below the version."""
        return f"drives/{self.simulator.drive_id}"

    def onedrive(self, *, drive: str = "", token: TokenSource | None = None) -> OneDrive:
        return OneDrive(self.url, drive or self.drive, self.http(token), self.downloads())

    def subscriptions(self) -> Subscriptions:
        return Subscriptions(self.url, self.http())

    def content_fault(self, method: str, do: Action, *, nth: int = 1, times: int | None = 1) -> None:
        """Let a call of a pre-authenticated address go wrong."""
        self.faults.add(Fault("graph-content", method, "", nth, times, do=do))

    def own_folder(self, onedrive: OneDrive) -> DriveItem:
        return onedrive.ensure_folder(f"contract-{uuid.uuid4().hex}")

    def on_disk(self, folder: DriveItem) -> Path:
        return self.simulator.folder / folder.name

    def reset(self) -> None:
        super().reset()
        as_at_first = Knobs()
        for name in as_at_first.to_json():
            setattr(self.knobs, name, getattr(as_at_first, name))
        for subscription in self.simulator.subscriptions:
            self.simulator.forget_subscription(subscription.subscription_id)
        self._mails_before = len(self.simulator.mails)
        violations = list(self.simulator.violations)
        self.simulator.violations.clear()
        assert violations == []


class SimulatedFinanceOperations(_Simulated):
    """One F&O environment, whose blob storage is Azurite."""

    def __init__(self, blob_connection: str, identity: SimulatedIdentity) -> None:
        super().__init__(identity, "finance_operations")
        self._speed, self._behaviour = Speed(seconds_per_execution=60), Behaviour()
        self.simulator = FinanceOperationsSimulator(
            blob_connection,
            identity.desk,
            self.faults,
            speed=self._speed,
            behaviour=self._behaviour,
            clock=self.clock,
        )

    def __enter__(self) -> Self:
        self._running.enter_context(self.simulator)
        return self

    def client(self, *, submit_timeout_s: float = 30) -> FinanceOperations:
        http = self.opened(finance_operations_http(self.identity.token(self.simulator.audience)))
        return FinanceOperations(self.simulator.url, http, submit_timeout_s=submit_timeout_s)

    def target(self) -> FinanceOperationsTarget:
        return FinanceOperationsTarget(
            fno=self.client(),
            downloads=self.opened(Http(service="blob storage", token=None, request_id_header="x-ms-request-id")),
            let_it_finish=lambda _: self.clock.pass_by(61),
        )

    def action_fault(self, action: str, do: Action, *, nth: int = 1, times: int | None = 1) -> None:
        self.fault("POST", rf"\.{action}$", do, nth=nth, times=times)

    def reset(self) -> None:
        # Before the clock goes back: what has ended stays ended.
        for execution in self.simulator.executions:
            self.simulator.end_now(execution.execution_id)
        super().reset()
        self.simulator.change(
            **{name: getattr(knobs, name) for knobs in (self._speed, self._behaviour) for name in type(knobs).__slots__}
        )
        assert self.simulator.violations == []


class FixedToken:
    """A token that does not change, as another party might have it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def token(self, *, refresh: bool = False) -> str:
        return self._token
