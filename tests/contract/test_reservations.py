"""What the app expects of blob storage: reservations as ``reservations/store.py`` keeps them.

The suite needs nothing but an empty container; with another ``container`` fixture it runs against a real account.
"""

from dataclasses import replace

import pytest
from azure.storage.blob import ContainerClient

from shared.azure_storage.container import BlobContainer
from shared.errors import RecordChanged
from shared.reservations.reservation import Reservation, ReservedExecution, RunRef, blob_name
from shared.reservations.store import FOLDER, Reservations
from shared.runs.store import RunStore
from tests.records import NOW, spied_on

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


def test_a_reservation_is_read_as_it_was_taken(reservations: Reservations, store: RunStore) -> None:
    assert reservations.read(ENVIRONMENT, NAME) is None

    taken = created(reservations)

    assert reservations.read(ENVIRONMENT, NAME) == taken == a_reservation()
    assert reservations.read(ENVIRONMENT.upper(), NAME) == taken
    assert (store.open_lanes().rows, store.open_places()) == ([], [])  # it is not taken for a run
    assert reservations.read("https://other.operations.dynamics.com", NAME) is None


def test_a_name_is_taken_once(reservations: Reservations) -> None:
    first = created(reservations)

    assert reservations.create(a_reservation("ba9876543210")) is None
    assert reservations.read(ENVIRONMENT, NAME) == first


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

    with monkeypatch.context() as patched:
        asked = spied_on(patched)
        holders = reservations.holders()

    expected = {"a": "0123456789ab", "b": "ba9876543210", "c": "", "d": "dddddddddddd"}
    assert holders == {place_of(f"project:{letter}"): holder for letter, holder in expected.items()}
    assert len(asked) == 1
    assert reservations.read_at(place_of("project:c")) == free


def test_the_place_of_a_reservation_that_is_gone_leads_to_nothing(reservations: Reservations) -> None:
    reservations.delete(created(reservations))

    assert reservations.read_at(place_of()) is None
    assert reservations.holders() == {}


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
