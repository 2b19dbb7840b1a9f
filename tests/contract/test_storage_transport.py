"""What carries the calls of the storage SDK: connections that are used again while they are fresh; the environment."""

import threading
from collections.abc import Iterator

import pytest
import requests
from azure.storage.blob import BlobServiceClient
from urllib3.connection import HTTPConnection

from shared.azure_storage import transport
from shared.azure_storage.transport import sdk_transport


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


def test_calls_that_follow_each_other_share_a_connection(blobs: BlobServiceClient, connected: list[int]) -> None:
    for _ in range(3):
        blobs.get_account_information()

    assert len(connected) == 1


def test_a_connection_that_nobody_has_used_for_a_minute_is_not_used_again(
    blobs: BlobServiceClient, connected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs.get_account_information()
    monkeypatch.setattr(transport, "IDLE_S", -1.0)  # as if the minute were over

    blobs.get_account_information()

    assert len(connected) == 2


def test_the_environment_is_read_once_for_a_server_and_obeyed(
    azurite_connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    settings = requests.Session.merge_environment_settings

    def noting(session: requests.Session, url: str, *rest: object) -> object:
        asked.append(url)
        return settings(session, url, *rest)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(requests.Session, "merge_environment_settings", noting)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    transport = sdk_transport(connection_timeout=5, read_timeout=30)
    with BlobServiceClient.from_connection_string(azurite_connection, transport=transport) as blobs:
        for _ in range(3):
            blobs.get_account_information()  # a proxy would refuse it

    of_the_server = [url for url in asked if url.endswith("/")]
    assert len(of_the_server) == 1
