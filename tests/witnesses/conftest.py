"""What the witnesses are pointed at: simulators with a record of their calls, and an identity to get tokens with."""

import asyncio
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from local_cloud.entra import GRAPH, Entra
from local_cloud.faults import FaultPlan
from local_cloud.onedrive import Knobs, OneDriveSimulator
from local_cloud.server import Server
from local_cloud.tokens import TokenDesk

APP_ID = "5e1f0000-0000-4000-8000-00000000000f"
USER = "local@contoso.example"


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine: most of these clients are asynchronous."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    named = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in named}))
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The local Entra; its managed identity endpoint stands in the environment, as in Azure."""

    desk: TokenDesk
    entra: Entra


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A OneDrive for one test."""

    simulator: OneDriveSimulator
    desk: TokenDesk
    faults: FaultPlan

    @property
    def url(self) -> str:
        return f"{self.simulator.graph_url}/v1.0"

    @property
    def folder(self) -> Path:
        """The drive as it lies on disk."""
        return self.simulator.folder

    @property
    def knobs(self) -> Knobs:
        return self.simulator.knobs

    def token(self, *, user: str | None = None) -> str:
        return self.desk.issue(GRAPH, app_id=APP_ID, user=user)


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch) -> Iterator[Identity]:
    desk = TokenDesk()
    entra = Entra(desk)
    with Server(entra.app()) as server:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{server.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", entra.identity_header)
        yield Identity(desk=desk, entra=entra)


@pytest.fixture
def graph(tmp_path: Path, identity: Identity) -> Iterator[Graph]:
    """A simulated OneDrive that takes real Graph's tokens; the client may do nothing that no right client does."""
    faults = FaultPlan()
    folder = tmp_path / "OneDrive"
    with OneDriveSimulator(folder, identity.desk, faults, audience=GRAPH, users=[USER]) as simulator:
        yield Graph(simulator=simulator, desk=identity.desk, faults=faults)
        assert simulator.violations == []
