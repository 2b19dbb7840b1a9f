"""What the app sends to Azure Storage, where Azure minds and Azurite does not; the list is in storage.py."""

import ast
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from azure.storage.queue import QueueServiceClient

from shared.azure_storage.queue import LONGEST_DELAY_S, WorkQueue
from shared.clients.blobs.errors import SasExpired
from shared.clients.blobs.read import open_blob
from shared.clients.blobs.write import empty_blob, stream_to_blob
from shared.clients.http.context import recording
from shared.errors import NotFound
from shared.secret import SecretUrl
from tests.unit.clients.answering import Answer, AnsweringServer, Asked, answering
from tests.wire.storage import DIFFERENCES

ROOT = Path(__file__).resolve().parents[2]
MEBIBYTE = 1024 * 1024
# As F&O has been seen to hand them out.
SAS = "sv=2014-02-14&sr=b&sig=bWFkZSB1cA%3D%3D&st=2026-01-05T07%3A21%3A33Z&se=2026-01-05T07%3A56%3A33Z&sp=rw"
# https://learn.microsoft.com/azure/storage/common/storage-use-azurite#connection-strings
AZURITES_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


# https://learn.microsoft.com/rest/api/storageservices/put-message#response-body
MESSAGE = (
    b"<QueueMessagesList><QueueMessage><MessageId>0a1b2c3d-0000-4000-8000-000000000000</MessageId>"
    b"<InsertionTime>Mon, 05 Jan 2026 07:21:33 GMT</InsertionTime>"
    b"<ExpirationTime>Mon, 12 Jan 2026 07:21:33 GMT</ExpirationTime><PopReceipt>receipt</PopReceipt>"
    b"<TimeNextVisible>Sun, 11 Jan 2026 07:21:33 GMT</TimeNextVisible></QueueMessage></QueueMessagesList>"
)


def created(_asked: Asked) -> Answer:
    return Answer(status=201, headers={"x-ms-request-id": "r-1"})


@pytest.fixture
def storage() -> Iterator[AnsweringServer]:
    """A storage account that takes everything and remembers it."""
    with answering(created) as server:
        yield server


def blob(storage: AnsweringServer) -> SecretUrl:
    return SecretUrl(f"{storage.url}/account/dmf/package.zip?{SAS}")


def upload(storage: AnsweringServer, size_bytes: int) -> list[str]:
    """Upload so many bytes; return the names of the calls that were made."""
    with recording() as calls:
        stream_to_blob([bytes(size_bytes)], blob(storage))
    return [call.operation for call in calls]


def query_of(asked: Asked) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(asked.path).query))


@pytest.mark.parametrize("size_bytes", [MEBIBYTE + 1, 4 * MEBIBYTE, 4 * MEBIBYTE + 1, 70 * MEBIBYTE])
def test_no_block_is_larger_than_storage_of_2014_takes(storage: AnsweringServer, size_bytes: int) -> None:
    upload(storage, size_bytes)

    blocks = [asked for asked in storage.asked if query_of(asked).get("comp") == "block"]
    assert max(len(asked.body) for asked in blocks) <= 4 * MEBIBYTE
    assert sum(len(asked.body) for asked in blocks) == size_bytes


@pytest.mark.parametrize(
    ("size_bytes", "calls"),
    [
        (0, ["Put Blob"]),
        (MEBIBYTE, ["Put Blob"]),
        (MEBIBYTE + 1, ["Put Block", "Put Block List"]),
        (65 * MEBIBYTE, ["Put Block"] * 17 + ["Put Block List"]),
    ],
)
def test_more_than_a_mebibyte_goes_as_blocks(storage: AnsweringServer, size_bytes: int, calls: list[str]) -> None:
    assert upload(storage, size_bytes) == calls


def test_every_call_names_its_version(storage: AnsweringServer) -> None:
    upload(storage, MEBIBYTE + 1)
    empty_blob(blob(storage))

    assert {asked.headers["x-ms-version"] for asked in storage.asked} == {"2019-02-02"}
    # The SAS has the last word, so it must arrive with its own version and everything else that is signed.
    assert all(asked.path.endswith(SAS) for asked in storage.asked)


def test_no_call_but_those_of_the_table_is_made(storage: AnsweringServer) -> None:
    upload(storage, 9 * MEBIBYTE)
    upload(storage, 10)
    empty_blob(blob(storage))

    assert {(asked.method, query_of(asked).get("comp", "")) for asked in storage.asked} == {
        ("PUT", "block"),
        ("PUT", "blocklist"),
        ("PUT", ""),
    }
    headers = {name for asked in storage.asked for name in asked.headers}
    assert not [name for name in headers if name.startswith(("x-ms-copy", "x-ms-source"))]
    types = {asked.headers["x-ms-blob-type"] for asked in storage.asked if not query_of(asked).get("comp")}
    assert types == {"BlockBlob"}


def refusing(status: int, code: str) -> Callable[[Asked], Answer]:
    return lambda _asked: Answer(status=status, headers={"x-ms-error-code": code})


@pytest.mark.parametrize("code", ["AuthenticationFailed", "AuthorizationFailure", "AuthorizationPermissionMismatch"])
@pytest.mark.parametrize("size_bytes", [0, 10, 2 * MEBIBYTE])
def test_a_sas_that_is_not_accepted_is_asked_for_anew_whatever_the_code(code: str, size_bytes: int) -> None:
    with answering(refusing(403, code)) as storage:
        with pytest.raises(SasExpired):
            upload(storage, size_bytes)
        with pytest.raises(SasExpired):
            open_blob(blob(storage))


def test_an_old_sas_without_the_permission_writes_nothing() -> None:
    with answering(refusing(404, "ResourceNotFound")) as storage, pytest.raises(NotFound):
        upload(storage, 2 * MEBIBYTE)

    assert not [asked for asked in storage.asked if query_of(asked).get("comp") == "blocklist"]


def test_no_wake_up_is_delayed_by_more_than_storage_takes() -> None:
    taken = Answer(status=201, headers={"Content-Type": "application/xml"}, body=MESSAGE)

    with answering(lambda _asked: taken) as storage:
        connection = f"AccountName=account;AccountKey={AZURITES_KEY};QueueEndpoint={storage.url}/account"
        with QueueServiceClient.from_connection_string(connection, retry_total=0) as queues:
            WorkQueue(queues).send("scan", delay_s=30 * 24 * 3600)

    [asked] = storage.asked
    assert int(query_of(asked)["visibilitytimeout"]) == LONGEST_DELAY_S < 7 * 24 * 3600


def test_the_test_of_every_difference_exists() -> None:
    for difference in DIFFERENCES:
        path, name = difference.test.split("::")
        assert name in _functions(path), difference.test


def _functions(path: str) -> Mapping[str, ast.FunctionDef]:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    return {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
