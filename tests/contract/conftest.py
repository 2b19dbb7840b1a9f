"""What contract suites share: storage of the test's own, and simulators that ask for real tokens of the local Entra."""

import re
import uuid
from collections.abc import Iterator

import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient
from azure.storage.queue import QueueServiceClient

from shared.azure_storage.container import BlobContainer
from shared.runs.index import RunIndex
from shared.runs.store import RunStore
from tests.contract.simulated import SimulatedFinanceOperations, SimulatedGraph, SimulatedIdentity


@pytest.fixture
def wrong_key(azurite_connection: str) -> str:
    """The connection string of storage that refuses all calls."""
    return re.sub("AccountKey=[^;]+", "AccountKey=bm90aGluZw==", azurite_connection)


@pytest.fixture
def unreachable(wrong_key: str) -> str:
    """The connection string of storage that is not there."""
    return re.sub(r"http://127\.0\.0\.1:\d+", "http://127.0.0.1:9", wrong_key)


@pytest.fixture
def blobs(azurite_connection: str) -> Iterator[BlobServiceClient]:
    with BlobServiceClient.from_connection_string(azurite_connection, retry_total=0) as service:
        yield service


@pytest.fixture
def container(blobs: BlobServiceClient) -> ContainerClient:
    """A container that does not exist yet, of the test's own."""
    return blobs.get_container_client(f"runs-{uuid.uuid4().hex}")


@pytest.fixture
def store(container: ContainerClient) -> RunStore:
    return RunStore(BlobContainer(container))


@pytest.fixture
def index(container: ContainerClient) -> RunIndex:
    return RunIndex(BlobContainer(container))


@pytest.fixture
def queues(azurite_connection: str) -> Iterator[QueueServiceClient]:
    with QueueServiceClient.from_connection_string(azurite_connection, retry_total=0) as service:
        yield service


@pytest.fixture(scope="package")
def identity() -> Iterator[SimulatedIdentity]:
    with SimulatedIdentity() as identity:
        yield identity


@pytest.fixture(scope="package")
def _graph(identity: SimulatedIdentity, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedGraph]:
    with SimulatedGraph(tmp_path_factory.mktemp("drive") / "OneDrive", identity) as graph:
        yield graph


@pytest.fixture
def graph(_graph: SimulatedGraph, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedGraph]:
    """The simulated Graph; what a test turned is turned back, and nothing forbidden may have been done."""
    _graph.identity.be_known(monkeypatch)
    yield _graph
    _graph.reset()


@pytest.fixture(scope="package")
def _fno(identity: SimulatedIdentity, azurite_connection: str) -> Iterator[SimulatedFinanceOperations]:
    with SimulatedFinanceOperations(azurite_connection, identity) as fno:
        yield fno


@pytest.fixture
def fno(_fno: SimulatedFinanceOperations, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedFinanceOperations]:
    """The simulated F&O; what a test turned is turned back, and nothing forbidden may have been done."""
    _fno.identity.be_known(monkeypatch)
    yield _fno
    _fno.reset()
