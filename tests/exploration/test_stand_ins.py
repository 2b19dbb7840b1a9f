"""The stand-ins behave as what they stand in for: contracts of runs and reservations, rules of OneDrive and F&O."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient

from shared.azure_storage.container import BlobContainer
from shared.clients.fno.refusals import PackageUnreadable
from shared.errors import (
    AnswerLost,
    ItemChanged,
    ItemLocked,
    NameTaken,
    Refused,
)
from shared.runs.lane import LaneRow, Stop
from shared.runs.record import Damaged
from shared.runs.run import Run
from shared.runs.states import State
from shared.runs.store import RunStore
from shared.runs.values import Held
from tests.contract import test_checkpoints as checkpoints_contract
from tests.contract import test_leases as leases_contract
from tests.contract import test_reservations as names_contract
from tests.contract import test_run_store as contract
from tests.exploration.moments import BEGINNING
from tests.exploration.scenarios import SLOW_FNO
from tests.exploration.stand_ins import (
    CheckpointsStandIn,
    Effect,
    LeasesStandIn,
    Port,
    ReservationsStandIn,
    StandIn,
    StoreStandIn,
)
from tests.exploration.world import (
    ALL,
    ALL_ITEMS,
    BAD_REQUEST,
    CONTENT,
    FORBIDDEN,
    INPUT,
    KEY_LIFE_S,
    LOCKED,
    METADATA,
    NO_ANSWER,
    PROCESSING,
    Order,
    Refusal,
    World,
)
from tests.records import NOW, a_pause, a_run

PROJECT = "Customers"


class OpenPort(Port):
    """Makes every effect at once."""

    def __init__(self) -> None:
        super().__init__()
        self.world = SLOW_FNO.start().world
        self.world.author = "test"

    def effect(self, effect: Effect) -> Any:
        return effect.apply(self.world)

    def do_unseen(self, apply: Callable[[World], None]) -> None:
        apply(self.world)


CONTRACTS: dict[Callable[[Port], StandIn], list[Callable[..., None]]] = {
    StoreStandIn: [
        contract.test_a_file_has_one_run_however_often_it_is_opened,
        contract.test_a_lanes_head_is_its_oldest_file_whatever_the_other_lanes_hold,
        contract.test_files_of_one_moment_go_in_the_order_of_their_keys,
        contract.test_a_run_that_has_ended_since_it_was_listed_is_gone,
        contract.test_the_places_of_open_runs_are_told_without_those_that_stop_a_lane,
        contract.test_the_runs_of_one_file_know_each_other_whatever_lane_they_are_in,
        contract.test_a_run_that_nobody_has_begun_can_be_dropped_once,
        contract.test_a_run_that_was_written_since_it_was_listed_is_not_dropped,
        contract.test_a_run_that_another_worker_has_written_meanwhile_is_not_overwritten,
        contract.test_an_ended_run_leaves_its_lane_and_is_kept,
        contract.test_a_stop_is_written_anew_with_each_try_and_ended_once,
    ],
    LeasesStandIn: [
        leases_contract.test_a_lease_that_is_held_is_not_given_to_another_worker,
        leases_contract.test_a_lease_is_given_back_where_the_work_fails,
    ],
    CheckpointsStandIn: [
        checkpoints_contract.test_a_note_is_empty_until_it_is_written_and_then_read_back,
        checkpoints_contract.test_a_note_can_be_written_again_by_who_wrote_it,
        checkpoints_contract.test_of_two_who_write_a_new_note_one_hears_of_the_other,
        checkpoints_contract.test_of_two_who_change_a_note_one_hears_of_the_other,
    ],
    ReservationsStandIn: [
        names_contract.test_a_name_is_taken_once,
        names_contract.test_a_reservation_is_written_by_who_has_taken_or_read_it,
        names_contract.test_a_reservation_that_was_written_since_it_was_read_is_neither_overwritten_nor_deleted,
        names_contract.test_a_reservation_of_the_holder_before_cannot_free_the_name_of_the_next,
        names_contract.test_the_place_of_a_reservation_that_is_gone_leads_to_nothing,
    ],
}


@pytest.mark.parametrize(
    ("stand_in", "test"),
    [
        pytest.param(stand_in, test, id=test.__name__)
        for stand_in, contract_tests in CONTRACTS.items()
        for test in contract_tests
    ],
)
def test_a_stand_in_keeps_the_contract(stand_in: Callable[[Port], StandIn], test: Callable[..., None]) -> None:
    test(stand_in(OpenPort()))


def test_a_reservation_tells_who_has_it_and_is_read_at_its_place() -> None:
    port = OpenPort()
    names = ReservationsStandIn(port)
    kept = names.create(names_contract.a_reservation("~1~"))
    assert kept

    assert names.holders() == {kept.name: "~1~"}
    assert names.read_at(kept.name) == kept
    names.save(kept.freed())
    assert names.holders() == {kept.name: ""}


# What a listing tells, beside what the real store tells of the same records


@pytest.fixture
def container(azurite_connection: str) -> Iterator[ContainerClient]:
    with BlobServiceClient.from_connection_string(azurite_connection, retry_total=0) as service:
        yield service.get_container_client(f"runs-{uuid.uuid4().hex}")


def comparable(row: LaneRow) -> LaneRow:
    """Return a row without what the two sides make in their own way."""
    return replace(row, address="", damage="damaged" if row.damage else "", record_etag="")


HELD_BACK = Held(since=NOW, text="locked", refusal="claim|Microsoft Graph|403|accessDenied", is_aside=True)


@pytest.mark.parametrize(
    "change",
    [
        lambda run: run,
        lambda run: replace(run, state=State.CLAIMED),
        lambda run: replace(run, held=HELD_BACK),
        lambda run: replace(run, held=replace(HELD_BACK, is_aside=False)),
        lambda run: replace(run, held=replace(HELD_BACK, is_cleared=True)),
        lambda run: run.cancelled("by a person", NOW),
    ],
    ids=["new", "claimed", "set aside", "refused", "cleared", "cancelled"],
)
def test_a_row_tells_the_same_of_a_run(change: Callable[[Run], Run], container: ContainerClient) -> None:
    real, explored = RunStore(BlobContainer(container)), StoreStandIn(OpenPort())
    new = a_run(key="item")
    rows: list[LaneRow] = []
    for store in (real, cast(RunStore, explored)):
        store.create(new)
        opened = store.read_row(store.lane(new.lane).rows[0])
        if (changed := change(opened)) is not opened:
            store.save(changed)
        (row,) = store.lane(new.lane).rows
        assert store.row_at(new.lane, new.sort_key) == row
        assert store.open_lanes().rows == [row]
        assert store.read_row(row) == changed
        rows.append(row)

    assert comparable(rows[0]) == comparable(rows[1])


@pytest.mark.parametrize("state", [State.CLAIMED, State.SUBMITTING, State.EXECUTING])
@pytest.mark.parametrize("damage", [CONTENT, METADATA, ALL])
def test_a_row_tells_the_same_of_a_damaged_record(damage: str, state: State, container: ContainerClient) -> None:
    real, port = RunStore(BlobContainer(container)), OpenPort()
    explored = cast(RunStore, StoreStandIn(port))
    new = a_run(key="item")
    for store in (real, explored):
        store.create(new)
        store.save(replace(store.read_row(store.lane(new.lane).rows[0]), state=state))
    blob = container.get_blob_client(f"open/{new.lane}/{new.sort_key}")
    metadata, content = dict(blob.get_blob_properties().metadata), blob.download_blob().readall()
    if damage != CONTENT:
        metadata = {"due": metadata["due"], "state": metadata["state"], "row": "?"} if damage == METADATA else {}
    blob.upload_blob(content if damage == METADATA else b"?", overwrite=True, metadata=metadata)
    port.world.damage(new.lane, new.sort_key, damage)

    ((real_row,), (row,)) = real.lane(new.lane).rows, explored.lane(new.lane).rows

    assert comparable(real_row) == comparable(row)
    assert real_row.is_passed is row.is_passed
    for store in (real, explored):
        if damage == METADATA:
            assert store.read_row(row).state is state
        else:
            with pytest.raises(Damaged):
                store.read_row(row)
    assert real.put_aside(real_row.address)
    assert explored.put_aside(f"{new.lane}/{new.sort_key}")
    assert real.lane(new.lane).rows == explored.lane(new.lane).rows == ()


def test_a_stop_and_a_pause_are_told_by_a_listing(container: ContainerClient) -> None:
    stop = Stop(lane="in-1", flow_name="import", refusal="claim|403", text="no", since=NOW, next_try=NOW)
    for store in (RunStore(BlobContainer(container)), cast(RunStore, StoreStandIn(OpenPort()))):
        store.create(a_run())
        store.save_stop(stop)
        assert store.lane("in-1").stops == (stop,)
        assert store.open_lanes().stops == [stop]
        assert store.pause_lane(a_pause()) is None
        assert store.lane("in-1").is_paused
        assert store.pause_lane(a_pause()) is not None
        assert store.resume_lane("in-1")
        store.delete_stop("in-1", "import")
        assert store.lane("in-1").stops == ()


# OneDrive


@pytest.fixture
def world() -> World:
    """One file in Input, F&O with 45 seconds until it shows an execution, and one package in its storage."""
    world = SLOW_FNO.start().world
    world.author = "test"
    world.blobs = {"a.zip": "one"}
    return world


def test_a_move_changes_the_etag_and_is_refused_with_an_old_one(world: World) -> None:
    _, before = world.item("file-one")

    _, moved = world.move("file-one", PROCESSING, before.name, before.etag)

    assert (moved.folder, moved.content) == (PROCESSING, before.content)
    with pytest.raises(ItemChanged):
        world.move("file-one", INPUT, before.name, before.etag)


def test_a_name_is_taken_by_a_file_and_by_an_open_upload(world: World) -> None:
    world.put(PROCESSING, "USMF_one.zip", "other")
    with pytest.raises(NameTaken):
        world.move("file-one", PROCESSING, "USMF_one.zip", None)

    session = world.open_session(INPUT, "new.zip")
    with pytest.raises(NameTaken):
        world.open_session(INPUT, "new.zip")
    world.cancel_session(session)
    world.open_session(INPUT, "new.zip")


def test_a_file_that_is_kept_back_is_not_moved_for_a_while(world: World) -> None:
    for item_id, status, error in (
        ("file-one", LOCKED, ItemLocked),
        ("file-one", FORBIDDEN, Refused),
        (ALL_ITEMS, FORBIDDEN, Refused),
    ):
        world.kept_back = {}
        world.keep_back(item_id, status, 60)
        with pytest.raises(error):
            world.move("file-one", PROCESSING, "USMF_one.zip", None)

    world.pass_time(60)
    assert world.move("file-one", PROCESSING, "USMF_one.zip", None)[1].folder == PROCESSING


# F&O


def an_import(execution_id: str, blob: str = "a.zip", key_ends: int = KEY_LIFE_S) -> Order:
    return Order(execution_id, PROJECT, blob, BEGINNING.ending(key_ends))


def test_a_package_cannot_be_read_without_its_key(world: World) -> None:
    with pytest.raises(PackageUnreadable):
        world.arrive(an_import("x", key_ends=0))
    with pytest.raises(PackageUnreadable):
        world.arrive(an_import("x", blob="unknown.zip"))


@pytest.mark.parametrize(("status", "error"), [(BAD_REQUEST, Refused), (NO_ANSWER, AnswerLost)])
def test_fno_refuses_submits_for_a_while_and_begins_nothing(status: str, error: type[Exception], world: World) -> None:
    world.submits = Refusal(status, BEGINNING.ending(60))

    with pytest.raises(error):
        world.arrive(an_import("x"))
    assert list(world.effects) == []
    world.pass_time(60)
    world.arrive(an_import("x"))
    assert world.effects == ("one",)
