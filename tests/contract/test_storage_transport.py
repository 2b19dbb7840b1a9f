"""What carries the calls of the storage SDK: connections that are used again while they are fresh; the environment."""

import threading
from collections.abc import Iterator

import pytest
from azure.core.exceptions import ServiceRequestError
from azure.storage.blob import BlobServiceClient
from urllib3.connection import HTTPConnection

from shared.azure_storage.transport import sdk_transport
from shared.clients.http import idle


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Hold a number for each connection that the test makes; others may be at work in this process."""
    made: list[int] = []
    connect, ours = HTTPConnection.connect, threading.get_ident()

    def counted(connection: HTTPConnection) -> None:
        if threading.get_ident() == ours:
            made.append(len(made))
        connect(connection)

    monkeypatch.setattr(HTTPConnection, "connect", counted)
    return made


@pytest.fixture
def blobs(azurite_connection: str) -> Iterator[BlobServiceClient]:
    transport = sdk_transport(connection_timeout=5, read_timeout=30)
    with BlobServiceClient.from_connection_string(azurite_connection, transport=transport) as blobs:
        yield blobs


def test_calls_that_follow_each_other_share_a_connection_unless_nobody_has_used_it_for_a_minute(
    blobs: BlobServiceClient, connected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        blobs.get_account_information()
    assert len(connected) == 1
    monkeypatch.setattr(idle, "IDLE_S", -1.0)  # as if the minute were over

    blobs.get_account_information()

    assert len(connected) == 2


def test_the_environments_proxies_are_obeyed(azurite_connection: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    transport = sdk_transport(connection_timeout=5, read_timeout=30)
    with BlobServiceClient.from_connection_string(azurite_connection, transport=transport, retry_total=0) as blobs:
        with pytest.raises(ServiceRequestError):
            blobs.get_account_information()
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        blobs.get_account_information()
