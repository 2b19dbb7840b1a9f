"""The worlds of the flows' tests, and the clients before a server that a test lets answer."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from shared.clients.fno.client import FinanceOperations, finance_operations_http
from shared.clients.graph.onedrive import OneDrive
from shared.clients.http.client import Http
from tests.flows.conftest import make_world, world  # noqa: F401
from tests.unit.clients.answering import Answer, AnsweringServer, OneToken, answering


@pytest.fixture(scope="module")
def server() -> Iterator[AnsweringServer]:
    with answering(lambda _: Answer()) as server:
        yield server


@pytest.fixture(scope="module")
def fo(server: AnsweringServer) -> Iterator[FinanceOperations]:
    """An F&O behind the server."""
    with closing(finance_operations_http(OneToken())) as calls:
        yield FinanceOperations(server.url, calls, submit_timeout_s=10)


@pytest.fixture(scope="module")
def drive(server: AnsweringServer, downloads: Http) -> Iterator[OneDrive]:
    """A drive behind the server."""
    with closing(Http(service="Microsoft Graph", token=OneToken(), request_id_header="request-id")) as calls:
        yield OneDrive(f"{server.url}/v1.0", "drives/b!abc", calls, downloads)


@pytest.fixture(scope="module")
def downloads() -> Iterator[Http]:
    """HTTP without a token."""
    with closing(Http(service="OneDrive content", token=None, request_id_header="request-id")) as calls:
        yield calls
