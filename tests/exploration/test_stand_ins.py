"""The stand-ins behave as what they stand in for: the contract of the run store, and the rules of OneDrive and F&O."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from shared.clients.dmf import ExecutionStatus, PackageUnreadable
from shared.clients.run_store import RunStore
from shared.errors import FileRejected, ItemChanged, NameTaken, NotFound, ProjectBusy, TryAgain
from tests.contract import test_run_store as contract
from tests.exploration.scenarios import EXPORT, SLOW_FNO
from tests.exploration.stand_ins import NOTHING, Kind, Port, StoreStandIn
from tests.exploration.world import BEGINNING, EXECUTION_S, INPUT, KEY_LIFE_S, PROCESSING, SESSION_LIFE_S, Order, World

PROJECT = "Customers"


class OpenPort(Port):
    """Makes every effect at once."""

    def __init__(self) -> None:
        super().__init__()
        self.world = SLOW_FNO.start().world
        self.world.author = "test"

    def effect[T](
        self,
        kind: Kind,
        words: str,
        apply: Callable[[World], T],
        touches: frozenset[str] = NOTHING,
        order: Order | None = None,
    ) -> T:
        return apply(self.world)

    def do_unseen(self, apply: Callable[[World], None]) -> None:
        apply(self.world)


@pytest.mark.parametrize(
    "test",
    [
        contract.test_a_file_has_one_run_however_often_it_is_opened,
        contract.test_a_lanes_head_is_its_oldest_file_whatever_the_other_lanes_hold,
        contract.test_with_the_head_of_a_lane_come_those_behind_it_that_nobody_has_worked_at,
        contract.test_two_runs_of_one_file_know_each_other_and_one_that_nobody_has_begun_can_be_dropped,
        contract.test_a_run_that_was_written_since_it_was_listed_is_not_dropped,
        contract.test_the_heads_of_a_lane_tell_whether_another_run_waits_behind_them,
        contract.test_files_of_one_moment_go_in_the_order_of_their_keys,
        contract.test_open_runs_tell_due_time_and_state_without_being_read,
        contract.test_a_saved_run_is_read_back_and_can_be_saved_again,
        contract.test_a_run_that_another_worker_has_written_meanwhile_is_not_overwritten,
        contract.test_a_run_that_another_worker_has_ended_is_not_brought_back,
        contract.test_an_ended_run_leaves_its_lane_and_is_kept,
        contract.test_a_run_that_was_written_meanwhile_is_not_taken_out_of_its_lane,
        contract.test_what_has_not_ended_is_not_found_among_the_ended,
        contract.test_a_lease_that_is_held_is_not_given_to_another_worker,
        contract.test_a_lease_that_was_given_back_is_free_at_once,
        contract.test_a_lease_is_given_back_where_the_work_fails,
        contract.test_leases_of_different_names_do_not_touch_each_other,
        contract.test_a_note_is_empty_until_it_is_written_and_then_read_back,
        contract.test_a_note_can_be_written_again_by_who_wrote_it,
        contract.test_of_two_who_write_a_new_note_one_hears_of_the_other,
        contract.test_of_two_who_change_a_note_one_hears_of_the_other,
        contract.test_notes_of_different_names_do_not_touch_each_other,
    ],
    ids=lambda test: test.__name__,
)
def test_the_run_store_keeps_its_contract(test: Any) -> None:
    test(cast(RunStore, StoreStandIn(OpenPort())))


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


def test_a_move_to_where_the_file_is_already_changes_nothing(world: World) -> None:
    _, before = world.item("file-one")
    _, moved = world.move("file-one", PROCESSING, before.name, before.etag)

    assert world.move("file-one", PROCESSING, before.name, before.etag) == ("file-one", moved)


def test_a_name_is_taken_by_a_file_and_by_an_open_upload(world: World) -> None:
    world.put(PROCESSING, "USMF_one.zip", "other")
    with pytest.raises(NameTaken):
        world.move("file-one", PROCESSING, "USMF_one.zip", None)

    session = world.open_session(INPUT, "new.zip")
    with pytest.raises(NameTaken):
        world.open_session(INPUT, "new.zip")
    world.cancel_session(session)
    world.open_session(INPUT, "new.zip")


def test_an_upload_is_seen_after_its_last_chunk_and_gone_after_a_while(world: World) -> None:
    first, second = world.open_session(INPUT, "first.zip"), world.open_session(INPUT, "second.zip")

    _, item = world.finish_session(first, "PK with rows")
    world.pass_time(SESSION_LIFE_S)

    assert [each.name for _, each in world.children(INPUT)] == ["USMF_one.zip", item.name]
    with pytest.raises(TryAgain):
        world.finish_session(second, "PK with rows")


# F&O


def an_import(execution_id: str, blob: str = "a.zip", key_ends: int = KEY_LIFE_S) -> Order:
    return Order(execution_id, PROJECT, blob, BEGINNING.ending(key_ends))


def test_an_execution_is_not_found_at_first_then_runs_then_is_done(world: World) -> None:
    world.arrive(an_import("x"))

    with pytest.raises(NotFound):
        world.status("x")
    assert world.details("x") == ()
    world.shown_after_s = 0
    world.pass_time(EXECUTION_S)
    world.blobs = {"b.zip": "two"}
    world.arrive(an_import("y", "b.zip"))
    assert world.status("y") is ExecutionStatus.EXECUTING
    world.pass_time(2 * EXECUTION_S)
    assert world.status("y") is ExecutionStatus.SUCCEEDED
    assert world.effects == ("one", "two")


def test_a_package_is_read_when_the_request_arrives(world: World) -> None:
    world.blobs = {"a.zip": ""}

    with pytest.raises(FileRejected):
        world.arrive(an_import("x"))

    assert world.effects == ()


def test_a_package_cannot_be_read_without_its_key(world: World) -> None:
    with pytest.raises(PackageUnreadable):
        world.arrive(an_import("x", key_ends=0))
    with pytest.raises(PackageUnreadable):
        world.arrive(an_import("x", blob="unknown.zip"))


def test_one_execution_of_a_data_project_runs_at_a_time(world: World) -> None:
    world.arrive(an_import("x"))

    with pytest.raises(ProjectBusy):
        world.arrive(an_import("y"))

    assert world.effects == ("one",)
    assert world.overlaps == ("one",)


def test_an_id_that_fno_knows_protects_from_nothing(world: World) -> None:
    world.arrive(an_import("x"))
    world.pass_time(EXECUTION_S)

    world.arrive(an_import("x"))

    assert world.effects == ("one", "one")


def test_a_change_is_in_one_export_alone() -> None:
    world = EXPORT.start().world
    first, second = Order("x", PROJECT), Order("y", PROJECT)

    world.arrive(first)
    world.pass_time(EXECUTION_S)
    world.arrive(second)
    world.pass_time(2 * EXECUTION_S)

    assert world.package("x") == "PK with row 1"
    assert world.package("y") == "PK with nothing"
