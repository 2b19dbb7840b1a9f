"""What the app expects of blob storage: reservations as ``reservations/store.py`` keeps them.

The suite needs nothing but an empty container; with another ``container`` fixture it runs against a real account.
"""

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from azure.storage.blob import BlobServiceClient, ContainerClient
from requests.adapters import HTTPAdapter

from shared.azure_storage.container import BlobContainer
from shared.errors import NeedsPerson, RecordChanged, TryAgain
from shared.reservations.reservation import Reservation, ReservedExecution, RunRef, blob_name
from shared.reservations.store import FOLDER, Reservations
from shared.runs.store import RunStore
from tests.faults.interception import _made

NOW = datetime(2026, 11, 2, 8, 30, 0, 123456, tzinfo=UTC)
ENVIRONMENT = "https://contoso.operations.dynamics.com"
NAME = "project:größe & 100%"


@pytest.fixture
def reservations(container: ContainerClient) -> Reservations:
    return Reservations(BlobContainer(container))


def a_party(run_id: str = "0123456789ab") -> RunRef:
    return RunRef(run_id=run_id, address=f"1-{run_id}", file_name="USMF_Größe.zip", opened=NOW, seen=NOW)


def a_reservation(run_id: str = "0123456789ab", *, name: str = NAME) -> Reservation:
    return Reservation(
        environment_url=ENVIRONMENT,
        name=name,
        holder=a_party(run_id),
        executions=(ReservedExecution(execution_id=f"of-{run_id}", chosen=NOW),),
    )


def place_of(name: str = NAME) -> str:
    return FOLDER + blob_name(ENVIRONMENT, name)


def created(reservations: Reservations, run_id: str = "0123456789ab", *, name: str = NAME) -> Reservation:
    reservation = reservations.create(a_reservation(run_id, name=name))
    assert reservation is not None
    return reservation


# Taken by one


def test_a_reservation_is_read_as_it_was_taken(reservations: Reservations) -> None:
    assert reservations.read(ENVIRONMENT, NAME) is None

    taken = created(reservations)

    assert reservations.read(ENVIRONMENT, NAME) == taken == a_reservation()
    assert reservations.read(ENVIRONMENT.upper(), NAME) == taken
    assert reservations.read("https://other.operations.dynamics.com", NAME) is None


def test_a_name_is_taken_once(reservations: Reservations) -> None:
    first = created(reservations)

    assert reservations.create(a_reservation("ba9876543210")) is None
    assert reservations.read(ENVIRONMENT, NAME) == first


def test_of_runs_that_take_a_name_at_the_same_moment_in_a_new_storage_account_one_gets_it(
    reservations: Reservations,
) -> None:
    barrier = threading.Barrier(8)

    def take(number: int) -> bool:
        barrier.wait()
        return reservations.create(a_reservation(f"{number:012x}")) is not None

    with ThreadPoolExecutor(8) as pool:
        took = list(pool.map(take, range(8)))

    assert sum(took) == 1
    there = reservations.read(ENVIRONMENT, NAME)
    assert there is not None
    assert there.is_held_by(f"{took.index(True):012x}")


# Written by who has read it last


def test_a_reservation_is_written_by_who_has_taken_or_read_it(reservations: Reservations) -> None:
    taken = created(reservations)

    saved = reservations.save(replace(taken, waiting=a_party("ba9876543210")))
    once_more = reservations.save(saved.taken_by(a_party("cccccccccccc"), ()))
    read = reservations.read(ENVIRONMENT, NAME)
    assert read == once_more
    again = reservations.save(read.freed())

    assert reservations.read(ENVIRONMENT, NAME) == again
    assert (again.holder, again.waiting) == (None, a_party("ba9876543210"))


def test_a_reservation_that_was_written_since_it_was_read_is_neither_overwritten_nor_deleted(
    reservations: Reservations,
) -> None:
    stale = created(reservations)
    newer = reservations.save(stale.taken_by(a_party("ba9876543210"), ()))

    with pytest.raises(RecordChanged):
        reservations.save(stale.freed())
    with pytest.raises(RecordChanged):
        reservations.delete(stale)

    assert reservations.read(ENVIRONMENT, NAME) == newer


def test_a_reservation_that_is_deleted_is_free_and_is_not_brought_back(reservations: Reservations) -> None:
    taken = created(reservations)

    reservations.delete(taken)

    assert reservations.read(ENVIRONMENT, NAME) is None
    for late in (reservations.save, reservations.delete):
        with pytest.raises(RecordChanged):
            late(taken)
    assert created(reservations, "ba9876543210").is_held_by("ba9876543210")


def test_a_reservation_of_the_holder_before_cannot_free_the_name_of_the_next(reservations: Reservations) -> None:
    before = created(reservations)
    reservations.delete(before)
    created(reservations)  # the same in every byte

    with pytest.raises(RecordChanged):
        reservations.delete(before)


# Who has what


def test_one_listing_tells_who_has_each_name(reservations: Reservations, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reservations.holders() == {}
    created(reservations, "0123456789ab", name="project:a")
    created(reservations, "ba9876543210", name="project:b")
    free = reservations.save(created(reservations, "cccccccccccc", name="project:c").freed())
    reservations.save(created(reservations, name="project:d").taken_by(a_party("dddddddddddd"), ()))
    asked: list[requests.PreparedRequest] = []
    send = requests.Session.send

    def note(session: requests.Session, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        asked.append(request)
        return send(session, request, **options)

    with monkeypatch.context() as patched:
        patched.setattr(requests.Session, "send", note)
        holders = reservations.holders()

    assert holders == {
        place_of("project:a"): "0123456789ab",
        place_of("project:b"): "ba9876543210",
        place_of("project:c"): "",
        place_of("project:d"): "dddddddddddd",
    }
    assert len(asked) == 1
    assert reservations.read_at(place_of("project:c")) == free


def test_the_place_of_a_reservation_that_is_gone_leads_to_nothing(reservations: Reservations) -> None:
    reservations.delete(created(reservations))

    assert reservations.read_at(place_of()) is None
    assert reservations.holders() == {}


def test_a_reservation_is_not_taken_for_a_run(reservations: Reservations, container: ContainerClient) -> None:
    created(reservations)

    store = RunStore(BlobContainer(container))
    assert (store.open_lanes().rows, store.open_places()) == ([], [])


# Damage


DAMAGED = {"nothing": b"", "no JSON": b'{"format": 1', "no object": b"[]", "another version's": b'{"format": 2}'}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=list(DAMAGED))
def test_a_damaged_reservation_is_nobodys_and_keeps_its_name_taken(
    reservations: Reservations, container: ContainerClient, content: bytes
) -> None:
    created(reservations)
    container.get_blob_client(place_of()).upload_blob(content, overwrite=True)

    with pytest.raises(ValueError, match="not the record of a reservation"):
        reservations.read(ENVIRONMENT, NAME)
    with pytest.raises(ValueError, match="not the record of a reservation"):
        reservations.read_at(place_of())
    assert reservations.create(a_reservation()) is None
    assert reservations.holders() == {place_of(): ""}


# Trouble


def every_verb(reservations: Reservations) -> dict[str, Callable[[], object]]:
    read = replace(a_reservation(), record_etag='"0x1"')
    return {
        "create": lambda: reservations.create(read),
        "read": lambda: reservations.read(ENVIRONMENT, NAME),
        "read_at": lambda: reservations.read_at(place_of()),
        "holders": reservations.holders,
        "save": lambda: reservations.save(read),
        "delete": lambda: reservations.delete(read),
    }


VERBS = ["create", "read", "read_at", "holders", "save", "delete"]


@pytest.mark.parametrize("verb", VERBS)
def test_storage_that_is_out_of_reach_is_tried_again_later(verb: str) -> None:
    unreachable = (
        "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=bm90aGluZw==;"
        "BlobEndpoint=http://127.0.0.1:9/devstoreaccount1;"
    )
    with BlobServiceClient.from_connection_string(unreachable, retry_total=0) as blobs:
        act = every_verb(Reservations(BlobContainer(blobs.get_container_client("runs"))))[verb]
        with pytest.raises(TryAgain) as caught:
            act()

    assert type(caught.value) is TryAgain


@pytest.mark.parametrize("verb", VERBS)
def test_a_wrong_key_to_the_storage_account_needs_a_person_who_is_told_which_setting(
    azurite_connection: str, verb: str
) -> None:
    wrong = ";".join(
        "AccountKey=bm90aGluZw==" if part.startswith("AccountKey=") else part for part in azurite_connection.split(";")
    )
    with BlobServiceClient.from_connection_string(wrong, retry_total=0) as blobs:
        act = every_verb(Reservations(BlobContainer(blobs.get_container_client(f"runs-{uuid.uuid4().hex}"))))[verb]
        with pytest.raises(NeedsPerson, match="AzureWebJobsStorage"):
            act()


@pytest.mark.parametrize("body", [b"<html>Bad gateway</html>", b""], ids=["a page", "nothing"])
def test_an_answer_that_is_no_listing_is_not_taken_for_an_empty_one(
    reservations: Reservations, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    created(reservations)

    def answer(_adapter: HTTPAdapter, request: requests.PreparedRequest, **_: Any) -> requests.Response:
        return _made(request, 200, {"Content-Type": "application/xml"}, body)

    monkeypatch.setattr(HTTPAdapter, "send", answer)

    with pytest.raises(TryAgain):
        reservations.holders()
