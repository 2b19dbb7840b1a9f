"""What the app expects of a blob container, and what it takes each of storage's refusals for."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient
from urllib3 import HTTPConnectionPool
from urllib3.response import BaseHTTPResponse

from shared.azure_storage.container import Blob, BlobContainer
from shared.errors import LeaseTaken, NeedsPerson, RecordChanged, TryAgain
from tests.faults.interception import make_response

VERBS: dict[str, Callable[[BlobContainer], object]] = {
    "create": lambda container: container.create("a/1", b"x"),
    "write": lambda container: container.write("a/1", b"x"),
    "replace": lambda container: container.replace("a/1", b"x", etag='"0x1"'),
    "save": lambda container: container.save("a/1", b"x", etag=None),
    "read": lambda container: container.read("a/1"),
    "delete": lambda container: container.delete("a/1"),
    "delete_version": lambda container: container.delete_version("a/1", '"0x1"'),
    "list_rows": lambda container: container.list_rows("a/"),
    "list_page": lambda container: container.list_page("a/", at_most=1),
    "list_names": lambda container: container.list_names("a/"),
    "lease": lambda container: container.lease("a/1", 15),
}
QUESTIONS = ("read", "delete", "list_names", "list_rows")


@pytest.fixture
def blobs_of_app(container: ContainerClient) -> BlobContainer:
    return BlobContainer(container)


@pytest.mark.parametrize("verb", ["create", "write", "read", "list_rows", "lease"])
def test_the_container_is_made_at_the_first_call(container: ContainerClient, verb: str) -> None:
    VERBS[verb](BlobContainer(container))

    assert container.exists()


@pytest.mark.parametrize("verb", QUESTIONS)
def test_a_container_that_holds_nothing_says_so(blobs_of_app: BlobContainer, verb: str) -> None:
    assert not VERBS[verb](blobs_of_app)


def test_a_blob_is_created_once_and_read_back_with_its_version(blobs_of_app: BlobContainer) -> None:
    etag = blobs_of_app.create("a/ä %1", b"one", {"of": "x"})

    assert etag
    assert blobs_of_app.create("a/ä %1", b"two") is None
    assert blobs_of_app.read("a/ä %1") == Blob(b"one", etag)
    (row,) = blobs_of_app.list_rows("a/")
    assert (row.name, row.metadata, row.etag) == ("a/ä %1", {"of": "x"}, etag)


def test_what_is_saved_as_new_or_as_the_next_version_replaces_nothing_else(blobs_of_app: BlobContainer) -> None:
    first = blobs_of_app.save("a/1", b"one", etag=None)
    second = blobs_of_app.save("a/1", b"two", etag=first)

    for etag in (None, first):
        with pytest.raises(RecordChanged):
            blobs_of_app.save("a/1", b"three", etag=etag)
    assert blobs_of_app.read("a/1") == Blob(b"two", second)


def test_a_version_that_is_gone_is_neither_replaced_nor_deleted(blobs_of_app: BlobContainer) -> None:
    first = blobs_of_app.write("a/1", b"one")
    second = blobs_of_app.replace("a/1", b"two", etag=first)

    for act in (blobs_of_app.delete_version, lambda name, etag: blobs_of_app.replace(name, b"three", etag=etag)):
        with pytest.raises(RecordChanged):
            act("a/1", first)
    assert blobs_of_app.read("a/1") == Blob(b"two", second)
    blobs_of_app.delete_version("a/1", second)
    with pytest.raises(RecordChanged):
        blobs_of_app.delete_version("a/1", second)
    assert blobs_of_app.read("a/1") is None


def test_a_listing_goes_on_page_by_page_and_has_no_gap(blobs_of_app: BlobContainer) -> None:
    names = [f"a/{number}" for number in range(5)]
    for name in (*names, "b/1"):
        blobs_of_app.write(name, b"")

    seen, token = blobs_of_app.list_page("a/", at_most=2)
    while token:
        rows, token = blobs_of_app.list_page("a/", after=token, at_most=2)
        seen += rows

    assert [row.name for row in seen] == names
    assert blobs_of_app.list_names("a/") == [row.name for row in blobs_of_app.list_rows("a/")] == names


def test_a_lease_is_held_by_one_and_a_leased_blob_is_there_already(blobs_of_app: BlobContainer) -> None:
    lease = blobs_of_app.lease("a/1", 15)

    with pytest.raises(LeaseTaken):
        blobs_of_app.lease("a/1", 15)
    assert blobs_of_app.create("a/1", b"x") is None
    lease.renew()
    lease.release()
    with pytest.raises(TryAgain):
        lease.renew()
    blobs_of_app.lease("a/1", 15).release()


@pytest.mark.parametrize("verb", VERBS)
def test_storage_that_is_out_of_reach_is_tried_again_later(unreachable: str, verb: str) -> None:
    with (
        BlobServiceClient.from_connection_string(unreachable, retry_total=0) as blobs,
        pytest.raises(TryAgain) as caught,
    ):
        VERBS[verb](BlobContainer(blobs.get_container_client("runs")))

    assert type(caught.value) is TryAgain


@pytest.mark.parametrize("verb", VERBS)
def test_a_wrong_key_to_the_storage_account_needs_a_person_who_is_told_which_setting(wrong_key: str, verb: str) -> None:
    with (
        BlobServiceClient.from_connection_string(wrong_key, retry_total=0) as blobs,
        pytest.raises(NeedsPerson, match="AzureWebJobsStorage") as caught,
    ):
        VERBS[verb](BlobContainer(blobs.get_container_client(f"runs-{uuid.uuid4().hex}")))

    assert caught.value.call is not None
    assert caught.value.call.status == 403
    assert caught.value.call.request_id


@pytest.mark.parametrize("verb", ["list_rows", "list_page", "list_names"])
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html", b"<html>Bad gateway</html>"),
        ("application/xml", b"<html>Bad gateway</html>"),
        ("application/xml", b'<?xml version="1.0"?><EnumerationResults ServiceEndpoint="x"><Blobs><Blob>'),
        ("application/xml", b""),
    ],
    ids=["a page", "other XML", "cut short", "nothing"],
)
def test_an_answer_that_is_no_listing_is_not_taken_for_an_empty_one(
    blobs_of_app: BlobContainer, monkeypatch: pytest.MonkeyPatch, verb: str, kind: str, body: bytes
) -> None:
    blobs_of_app.write("a/1", b"")

    def answer(pool: HTTPConnectionPool, method: str, url: str, **_: Any) -> BaseHTTPResponse:
        return make_response(method, 200, {"Content-Type": kind}, body)

    monkeypatch.setattr(HTTPConnectionPool, "urlopen", answer)

    with pytest.raises(TryAgain):
        VERBS[verb](blobs_of_app)
