"""What the app expects of blob storage: records of runs, as ``runs/store.py`` keeps them.

The suite needs nothing but an empty container; with another ``container`` fixture it runs against a real account.
"""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, unquote

import pytest
import requests
from azure.storage.blob import BlobClient, ContainerClient

from shared.errors import RecordChanged, TryAgain
from shared.runs import store as run_store
from shared.runs.addresses import address_of, address_of_rerun, key_of, moment_of, open_name, sort_key_of
from shared.runs.index import RunIndex
from shared.runs.record import Damaged, run_to_json
from shared.runs.rows import Pause, metadata_of_pause
from shared.runs.run import Run
from shared.runs.states import Outcome, State
from shared.runs.store import HEADS_LISTED, Lane, RunStore
from shared.runs.values import Held, Rerun
from shared.runs.wake import next_of_lanes
from tests.faults.interception import PowerCut
from tests.records import MINUTE, NOW, a_pause, a_run, a_stop, end_one, ended_rows, head, names, put, spied_on

EMPTY = Lane(())


# Runs


def test_a_file_has_one_run_however_often_it_is_opened(store: RunStore) -> None:
    first = a_run(key="item")

    assert store.create(first)
    assert not store.create(replace(a_run(key="item"), run_id="another"))

    assert head(store).run_id == first.run_id


def test_of_workers_that_open_the_same_run_in_a_new_storage_account_one_succeeds(store: RunStore) -> None:
    barrier = threading.Barrier(8)

    def create(number: int) -> bool:
        barrier.wait()
        return store.create(replace(a_run(key="item"), run_id=str(number)))

    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(create, range(8)))

    assert sum(created) == 1
    assert head(store).run_id == str(created.index(True))


@pytest.mark.parametrize("key", ["01ABC!123", "a/b\\c", "two words", "?&#%+", "Größe 😀", "-", "..", "a." * 20])
def test_a_run_is_found_again_whatever_its_key_holds(store: RunStore, key: str) -> None:
    run = a_run(key=key)

    store.create(run)

    assert head(store) == run
    (row,) = store.open_lanes().rows
    assert "/" not in run.sort_key
    assert (row.lane, row.sort_key, key_of(row.sort_key), moment_of(row.sort_key)) == ("in-1", run.sort_key, key, NOW)
    assert store.row_at("in-1", run.sort_key) == row
    store.save(replace(head(store), attempts=1))
    store.end(head(store))
    assert store.lane("in-1") == EMPTY


def test_a_lanes_head_is_its_oldest_file_whatever_the_other_lanes_hold(store: RunStore) -> None:
    for minutes, lane in [(3, "in-1"), (1, "in-1"), (2, "in-1"), (0, "in-10"), (0, "in-0"), (0, "out-1")]:
        store.create(a_run(lane=lane, modified=NOW + timedelta(minutes=minutes)))

    assert head(store).file.modified == NOW + timedelta(minutes=1)


def test_files_of_one_moment_go_in_the_order_of_their_keys(store: RunStore) -> None:
    for key in ("c", "a", "b"):
        store.create(a_run(key=key))

    assert [key_of(row.sort_key) for row in store.open_lanes().rows] == ["a", "b", "c"]
    assert head(store).file.item_id == "a"


def test_a_run_that_has_ended_since_it_was_listed_is_gone(store: RunStore) -> None:
    store.create(a_run())
    store.save(head(store))
    (row,) = store.lane("in-1").rows
    store.end(replace(head(store), ended=NOW))

    with pytest.raises(TryAgain, match="ended while it was being read"):
        store.read_row(row)


# A lane


def listings(asked: list[requests.PreparedRequest]) -> list[str]:
    """Return of each listing how many rows it asked for."""
    urls = [str(request.url) for request in asked]
    assert all("comp=list" in url and "include=metadata" in url for url in urls)
    return [url.partition("maxresults=")[2].partition("&")[0] for url in urls]


@pytest.mark.parametrize("waiting", [2, 20])
@pytest.mark.parametrize(("others", "times"), [(0, 1), (2, 1), (3, 2), (12, 2)])
def test_a_lane_tells_what_is_next_by_one_listing_of_a_few_rows_and_by_two_if_more_are_in_front(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, others: int, times: int, waiting: int
) -> None:
    for number in range(others):
        put(store, number, is_aside=True)
    for number in range(others, others + waiting):
        put(store, number)
    asked = spied_on(monkeypatch)

    lane = store.lane("in-1")

    assert listings(asked) == [str(HEADS_LISTED), str(run_store.REST_LISTED)][:times]
    assert [row.is_aside for row in lane.rows][: others + 1] == [True] * others + [False]
    assert [row.refusal for row in lane.rows[:others]] == ["claim|Microsoft Graph|403|x"] * others
    assert [key_of(row.sort_key) for row in lane.rows] == [f"{number:03d}" for number in range(len(lane.rows))]


def test_a_lane_is_listed_on_until_a_file_that_waits_was_seen_whatever_a_listing_holds(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_store, "REST_LISTED", 3)
    for number in range(12):
        put(store, number, state=State.EXECUTING if number == 11 else State.FOUND, is_aside=number < 11)
    for number in range(12, 20):
        put(store, number)
    asked = spied_on(monkeypatch)

    lane = store.lane("in-1")

    assert listings(asked) == ["4", "3", "3", "3", "3"]
    assert [row.is_waiting for row in lane.rows] == [False] * 12 + [True] * 4


def test_all_files_of_one_second_are_listed_before_one_of_them_is_next(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first by name goes first, and that may be the last that a listing tells of."""
    monkeypatch.setattr(run_store, "REST_LISTED", 2)
    for number, second in enumerate([1] * 7 + [2, 3, 4]):
        put(store, number, second=second)
    asked = spied_on(monkeypatch)

    lane = store.lane("in-1")

    assert listings(asked) == ["4", "2", "2"]
    assert [key_of(row.sort_key) for row in lane.rows] == [f"{number:03d}" for number in range(8)]


def test_the_row_of_a_place_is_found_by_one_listing_of_one_row(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [a_run(key=key) for key in ("item", "item%", "item1")]
    for run in runs:
        store.create(run)
    asked = spied_on(monkeypatch)

    rows = [store.row_at("in-1", run.sort_key) for run in runs]

    assert listings(asked) == ["1"] * 3
    assert [row and row.run_id for row in rows] == [run.run_id for run in runs]
    assert store.row_at("in-1", runs[0].sort_key[:-1]) is None  # the beginning of a place is none
    assert store.row_at("in-2", runs[0].sort_key) is None


def test_the_places_of_open_runs_are_told_without_those_that_stop_a_lane(store: RunStore) -> None:
    runs = [a_run(key="a"), a_run(key="b"), a_run(key="ä/%", lane="in-2")]
    for run in runs:
        store.create(run)
    store.pause_lane(a_pause())

    assert store.open_places() == [(run.lane, run.sort_key) for run in runs]


def test_a_lane_tells_which_of_its_runs_was_begun_last(store: RunStore) -> None:
    first, second, third = (put(store, number) for number in range(3))
    before = store.last_under_way("in-1")
    for run, state in ((first, State.EXECUTING), (second, State.CLAIMED)):
        store.save(replace(store.run_at(address_of(run)) or run, state=state))
    begun = store.last_under_way("in-1")
    store.save(replace(store.run_at(address_of(second)) or second, held=Held(since=NOW, text="", is_aside=True)))

    assert (before, begun, store.last_under_way("in-2")) == ("", second.sort_key, "")
    assert store.last_under_way("in-1") == first.sort_key  # others pass the second one
    assert third.sort_key > second.sort_key


def test_the_runs_of_one_file_know_each_other_whatever_lane_they_are_in(store: RunStore) -> None:
    mine, later = a_run(key="01ABC!1"), a_run(key="01ABC!1", modified=NOW + timedelta(seconds=1))
    elsewhere = a_run(key="01ABC!1", lane="in-10")
    for run in (mine, later, elsewhere, a_run(key="01ABC!12"), a_run(key="01ABC!", lane="in-10")):
        store.create(run)

    assert [(row.lane, row.sort_key) for row in store.of_same_file(mine)] == [
        ("in-1", later.sort_key),
        ("in-10", elsewhere.sort_key),
    ]
    assert {row.run_id for row in store.of_same_file(elsewhere)} == {mine.run_id, later.run_id}


def test_a_run_that_nobody_has_begun_can_be_dropped_once(store: RunStore) -> None:
    mine, other = a_run(key="01ABC!1"), a_run(key="01ABC!1", lane="in-2")
    for run in (mine, other):
        store.create(run)
    (listed,) = store.of_same_file(mine)
    assert (listed.lane, listed.sort_key, listed.state) == ("in-2", other.sort_key, State.FOUND)

    store.delete_waiting(listed)

    assert store.of_same_file(mine) == []
    with pytest.raises(RecordChanged):
        store.delete_waiting(listed)


def test_a_run_that_was_written_since_it_was_listed_is_not_dropped(store: RunStore) -> None:
    mine, other = a_run(key="a"), a_run(key="a", modified=NOW + timedelta(seconds=1))
    store.create(mine)
    store.create(other)
    (listed,) = store.of_same_file(mine)
    store.save(replace(store.read_row(store.lane("in-1").rows[1]), state=State.CLAIMED))

    with pytest.raises(RecordChanged):
        store.delete_waiting(listed)
    assert store.of_same_file(mine)[0].state is State.CLAIMED


def test_a_run_that_another_worker_has_written_meanwhile_is_not_overwritten(store: RunStore) -> None:
    store.create(a_run())
    mine, others = head(store), head(store)
    store.save(replace(others, attempts=7))

    for write in (store.save, store.end):
        with pytest.raises(RecordChanged):
            write(replace(mine, attempts=1))

    assert head(store).attempts == 7


def test_a_run_that_another_worker_has_ended_is_not_brought_back_and_leaves_one_record(
    store: RunStore, container: ContainerClient
) -> None:
    store.create(a_run())
    mine = head(store)
    store.end(replace(mine, ended=NOW))

    for write in (store.save, store.end):
        with pytest.raises(RecordChanged):
            write(replace(mine, ended=NOW + timedelta(hours=25)))

    assert store.lane("in-1") == EMPTY
    assert len(names(container, "ended/")) == 1


def test_an_ended_run_leaves_its_lane_and_is_kept(store: RunStore) -> None:
    run = a_run()
    store.create(run)
    assert store.ended_run(run.opened, run.run_id) is None

    store.end(replace(head(store), outcome=Outcome.SUCCEEDED, ended=NOW + timedelta(minutes=1)))

    assert store.lane("in-1") == EMPTY
    assert store.open_lanes().rows == []
    ended = store.ended_run(run.opened, run.run_id)
    assert ended is not None
    assert (ended.run_id, ended.outcome) == (run.run_id, Outcome.SUCCEEDED)


@contextmanager
def a_power_cut_before_the_deletion(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def die(*_: object, **__: object) -> None:
        raise PowerCut

    with monkeypatch.context() as patched:
        patched.setattr(BlobClient, "delete_blob", die)
        with pytest.raises(PowerCut):
            yield


def test_a_run_whose_worker_died_between_the_two_writes_of_its_end_is_ended_again_into_one_record(
    store: RunStore, container: ContainerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create(a_run())
    run = head(store)
    with a_power_cut_before_the_deletion(monkeypatch):
        store.end(replace(run, ended=NOW))
    assert len(names(container, "ended/")) == 1

    store.end(replace(head(store), ended=NOW + timedelta(hours=25)))

    assert len(names(container, "ended/")) == 1
    assert names(container, "open/") == []


# Pauses


def test_a_paused_lane_says_so_to_whoever_lists_it(store: RunStore, index: RunIndex) -> None:
    run = a_run()
    store.create(run)
    store.create(a_run(lane="in-2"))

    assert store.pause_lane(a_pause()) is None

    assert [store.lane(lane).is_paused for lane in ("in-1", "in-2")] == [True, False]
    shown, told = store.head("in-1"), store.pause_of("in-1")
    assert shown is not None
    assert (shown.run_id, told) == (run.run_id, a_pause())
    listed = store.open_lanes()
    assert ([row.lane for row in listed.rows], listed.paused) == (["in-1", "in-2"], frozenset({"in-1"}))
    assert [row.lane for row in index.open_rows()] == ["in-1", "in-2"]
    assert index.open_rows_and_pauses()[1] == [a_pause()]
    assert head(store, "in-2").lane == "in-2"
    assert store.pause_lane(a_pause(by="ben")) == a_pause()
    assert [store.resume_lane("in-1"), store.resume_lane("in-1")] == [True, False]
    assert store.pause_of("in-1") is None
    assert not store.lane("in-1").is_paused
    assert store.open_lanes().paused == frozenset()


def test_the_stop_of_a_lane_at_a_file_is_kept_beside_a_persons_pause(store: RunStore, index: RunIndex) -> None:
    run = a_run()
    store.create(run)
    stop = Pause(lane="in-1", by="strictOrder", why="it failed", since=NOW, run=address_of(replace(run, ended=NOW)))
    store.stop_lane(stop)
    assert store.lane("in-1").stopped_at == run.run_id
    assert store.pause_lane(a_pause()) is None

    both = replace(a_pause(), stop="it failed")
    assert (store.pause_of("in-1"), index.open_rows_and_pauses()[1]) == (both, [both])
    assert (store.lane("in-1").stopped_at, store.lane("in-1").choice) == ("", None)
    listed = store.open_lanes()
    assert (listed.stopped, listed.held, dict(next_of_lanes(listed))) == ((stop,), frozenset({"in-1"}), {})
    assert store.resume_lane("in-1")
    assert store.pause_of("in-1") == store.stop_at_file("in-1") == stop
    assert not store.resume_lane("in-1")
    store.pause_lane(a_pause())
    assert [store.end_stop_at_file("in-1"), store.end_stop_at_file("in-1")] == [True, False]
    assert store.pause_of("in-1") == a_pause()


def test_a_stop_at_a_file_that_an_older_version_saved_as_a_pause_is_a_stop_and_makes_room_for_a_persons_pause(
    store: RunStore, container: ContainerClient
) -> None:
    run = a_run()
    store.create(run)
    stop = Pause(lane="in-1", by="strictOrder", why="it failed", since=NOW, run=address_of(replace(run, ended=NOW)))
    container.get_blob_client("open/in-1/!paused").upload_blob(b"", metadata=metadata_of_pause(stop))
    assert (store.lane("in-1").stopped_at, store.open_lanes().stopped) == (run.run_id, (stop,))
    assert (store.resume_lane("in-1"), store.stop_at_file("in-1")) == (False, stop)

    assert store.pause_lane(a_pause()) is None
    assert (store.pause_of("in-1"), store.stop_at_file("in-1")) == (replace(a_pause(), stop="it failed"), stop)
    assert [store.end_stop_at_file("in-1"), store.resume_lane("in-1")] == [True, True]
    assert store.pause_of("in-1") is None


@pytest.mark.parametrize(
    ("name", "metadata"),
    [("!paused", {}), ("!paused", {"pause": "%7B"}), ("!paused", {"pause": "[]"}), ("!paused-at", {})],
    ids=["nothing", "no JSON", "no object", "a stop"],
)
def test_a_pause_that_does_not_say_whose_it_is_pauses_its_lane_all_the_same(
    store: RunStore, index: RunIndex, container: ContainerClient, name: str, metadata: dict[str, str]
) -> None:
    store.create(a_run())
    container.get_blob_client(f"open/in-1/{name}").upload_blob(b"", metadata=metadata)

    paused = store.pause_of("in-1")

    assert store.lane("in-1").is_paused
    assert paused is not None
    assert (paused.lane, paused.by, paused.why) == ("in-1", "somebody", "")
    assert index.open_rows_and_pauses()[1] == [paused]
    assert store.resume_lane("in-1")


def test_whether_a_lane_is_paused_costs_a_worker_no_call(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.create(a_run())
    asked = spied_on(monkeypatch)

    store.lane("in-1")
    of_a_lane = len(asked)
    store.pause_lane(a_pause())
    asked.clear()
    store.lane("in-1")

    assert (of_a_lane, len(asked)) == (1, 1)


# Stops


def test_a_flow_that_is_stopped_says_so_to_whoever_lists_its_lane(store: RunStore, index: RunIndex) -> None:
    store.create(a_run())
    store.create(a_run(lane="in-2"))

    store.save_stop(a_stop())
    store.save_stop(a_stop("vendors"))

    stops = {stop.flow_name: stop for stop in store.lane("in-1").stops}
    assert stops == {"Kunden & Müller": a_stop(), "vendors": a_stop("vendors")}
    assert store.lane("in-2").stops == ()
    assert sorted(store.open_lanes().stops, key=lambda stop: stop.flow_name) == [a_stop(), a_stop("vendors")]
    assert [len(rows) for rows in (store.lane("in-1").rows, index.open_rows(), store.open_places())] == [1, 2, 2]
    assert store.head("in-1") is not None


def test_a_stop_is_written_anew_with_each_try_and_ended_once(store: RunStore) -> None:
    store.save_stop(a_stop())
    store.save_stop(a_stop(next_try=NOW + 2 * MINUTE, text="other words"))

    assert store.lane("in-1").stops == (a_stop(next_try=NOW + 2 * MINUTE, text="other words"),)
    store.delete_stop("in-1", "vendors")
    assert len(store.lane("in-1").stops) == 1
    for _ in range(2):
        store.delete_stop("in-1", "Kunden & Müller")
    assert store.lane("in-1").stops == ()


def test_of_a_stopped_flow_the_rows_in_front_do_not_tell_what_is_next(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save_stop(a_stop("import"))
    for number in range(6):
        put(store, number)
    asked = spied_on(monkeypatch)

    assert len(store.lane("in-1").rows) == 6
    assert len(asked) == 2


@pytest.mark.parametrize(
    "metadata",
    [{}, {"stop": "%7B"}, {"stop": "[]", "due": NOW.isoformat()}, {"stop": "{}", "due": "later"}],
    ids=["nothing", "no JSON", "no object", "an empty object"],
)
def test_a_stop_that_cannot_be_read_stops_nothing_and_is_written_anew(
    store: RunStore, container: ContainerClient, metadata: dict[str, str]
) -> None:
    store.create(a_run())
    store.save_stop(a_stop())
    (name,) = [name for name in names(container, "open/") if "!" in name]
    container.get_blob_client(name).set_blob_metadata(metadata)

    assert store.lane("in-1").stops == ()
    assert store.open_lanes().stops == []
    assert len(store.lane("in-1").rows) == 1
    store.save_stop(a_stop())
    assert store.lane("in-1").stops == (a_stop(),)


# Records that cannot be read


def break_metadata(container: ContainerClient, run: Run, **metadata: str | None) -> None:
    """Change what a listing tells of a run; None takes it away."""
    blob = container.get_blob_client(open_name(run.lane, run.sort_key))
    kept = {**(blob.get_blob_properties().metadata or {}), **metadata}
    blob.set_blob_metadata({name: value for name, value in kept.items() if value is not None})


def break_record(container: ContainerClient, run: Run, content: bytes) -> None:
    """Write something else over a run's record, and leave what a listing tells of it."""
    blob = container.get_blob_client(open_name(run.lane, run.sort_key))
    blob.upload_blob(content, overwrite=True, metadata=blob.get_blob_properties().metadata)


WRONG_METADATA: dict[str, dict[str, str | None]] = {
    "nothing": {"due": None, "state": None, "row": None, "whole": None},
    "no due time": {"due": None},
    "a due time that is none": {"due": "later"},
    "no row": {"row": None},
    "a row that is no JSON": {"row": "%7B"},
    "a row that is a list": {"row": "[]"},
    "a row that is empty": {"row": "{}"},
    "a moment that is none": {"row": '{"run_id":"0123456789ab","opened":"yesterday"}'},
}


@pytest.mark.parametrize("wrong", WRONG_METADATA)
def test_a_record_whose_metadata_are_wrong_is_shown_as_damaged_and_hides_no_other(
    store: RunStore, index: RunIndex, container: ContainerClient, wrong: str
) -> None:
    run, other = put(store, 0), put(store, 1)
    break_metadata(container, run, **WRONG_METADATA[wrong])

    (row, sound), listed = store.lane("in-1").rows, store.open_lanes().rows

    assert (row.lane, row.sort_key, row.damage) == ("in-1", run.sort_key, "its metadata are missing or wrong")
    assert not row.is_waiting
    assert (sound.run_id, sound.damage) == (other.run_id, "")
    assert listed == [row, sound]
    shown = index.open_rows()
    assert [(each.damage != "", each.needs_person) for each in shown] == [(True, True), (False, False)]
    with pytest.raises(Damaged, match="metadata are missing or wrong"):
        store.run_at(row.address)
    assert store.put_aside(row.address) == f"damaged/in-1/{run.sort_key}"
    assert [each.run_id for each in store.lane("in-1").rows] == [other.run_id]


@pytest.mark.parametrize(
    "name", ["notes.txt", "in-1/notes.txt", "in-1/0", "in-1/", "in-1/folder/notes.txt", "IN/20260101T000000000000Z-a"]
)
def test_a_blob_of_somebody_else_between_the_records_hides_no_run_and_counts_as_none(
    store: RunStore, index: RunIndex, container: ContainerClient, name: str
) -> None:
    run = put(store, 0)
    container.get_blob_client(f"open/{name}").upload_blob(b"mine")

    assert [row.run_id for row in store.open_lanes().rows] == [run.run_id]
    assert [row.run_id for row in index.open_rows()] == [run.run_id]
    assert [row.run_id for row in store.lane("in-1").rows] == [run.run_id]
    assert store.head("in-1") == store.lane("in-1").rows[0]
    assert store.open_places() == [("in-1", run.sort_key)]


@pytest.mark.parametrize(
    "row",
    ['{"flow":"merge"}', '{"outcome":"Merged"}', '{"ended":"yesterday"}', '{"flow":null}'],
    ids=["another flow", "another outcome", "another end", "no flow"],
)
def test_a_row_with_words_that_this_version_does_not_know_is_shown_as_damaged_beside_all_others(
    store: RunStore, index: RunIndex, container: ContainerClient, row: str
) -> None:
    run, other = put(store, 0), put(store, 1)
    blob = container.get_blob_client(open_name(run.lane, run.sort_key))
    known = json.loads(unquote(blob.get_blob_properties().metadata["row"]))
    changed = {name: value for name, value in (known | json.loads(row)).items() if value is not None}
    break_metadata(container, run, row=quote(json.dumps(changed)))

    shown, sound = index.open_rows()

    assert (shown.run_id, shown.damage) == (run.run_id, "its metadata are missing or wrong")
    assert shown.address == address_of(run)
    assert (sound.run_id, sound.damage) == (other.run_id, "")


def test_the_address_of_a_record_with_wrong_metadata_leads_to_its_run_once_they_are_right_and_to_nothing_at_its_end(
    store: RunStore, container: ContainerClient
) -> None:
    run = put(store, 0)
    break_metadata(container, run, row=None)
    (row,) = store.lane("in-1").rows
    with pytest.raises(Damaged):
        store.run_at(row.address)

    saved = store.save(replace(run, record_etag=row.record_etag))
    found = store.run_at(row.address)
    store.end(replace(saved, ended=NOW))

    assert found == saved
    assert store.run_at(row.address) is None


@pytest.mark.parametrize("state", ["", "merged", "FOUND"])
def test_a_record_of_a_state_that_this_version_does_not_know_is_damaged_and_says_which(
    store: RunStore, index: RunIndex, container: ContainerClient, state: str
) -> None:
    run = put(store, 0)
    break_metadata(container, run, state=state or None)

    (row,) = store.lane("in-1").rows

    assert (row.state, row.run_id) == (None, run.run_id)
    assert row.damage == f"its state is {state!r}, which this version of the app does not know"
    (shown,) = index.open_rows()
    assert (shown.damage, shown.file_name) == (row.damage, "USMF_Customers_001.zip")


def test_metadata_that_an_older_version_has_saved_are_known(
    store: RunStore, index: RunIndex, container: ContainerClient
) -> None:
    break_metadata(container, put(store, 0, state=State.CLAIMED), state="uploaded", due="2026-11-02T08:31:00")

    (row,) = store.lane("in-1").rows

    assert (row.state, row.damage, row.due) == (State.CLAIMED, "", datetime(2026, 11, 2, 8, 31, tzinfo=UTC))
    assert [each.state for each in index.open_rows()] == [State.CLAIMED]


BROKEN = {
    "nothing": b"",
    "no JSON": b'{"format": 2, ',
    "no object": b"[]",
    "no text": b"\xff\xfe",
    "a newer format": b'{"format": 99}',
    "a field of another kind": run_to_json(a_run()).replace('"attempts": 0', '"attempts": "0"').encode(),
    "a state of a newer version": run_to_json(a_run()).replace('"found"', '"merged"').encode(),
    "the record of another place": run_to_json(a_run(lane="in-7")).encode(),
}


@pytest.mark.parametrize("wrong", BROKEN)
def test_a_record_that_cannot_be_read_is_listed_and_says_when_it_is_read_what_is_wrong(
    store: RunStore, container: ContainerClient, wrong: str
) -> None:
    run, other = put(store, 0), put(store, 1)
    break_record(container, run, BROKEN[wrong])

    row, sound = store.lane("in-1").rows

    assert (row.run_id, row.state, row.damage) == (run.run_id, State.FOUND, "")
    with pytest.raises(Damaged):
        store.read_row(row)
    if wrong != "the record of another place":
        with pytest.raises(Damaged):
            store.run_at(address_of(run))
    assert store.read_row(sound) == other


# Put aside


def test_a_damaged_record_is_put_aside_with_all_that_it_says_and_its_lane_goes_on(
    store: RunStore, container: ContainerClient
) -> None:
    run, other = put(store, 0), put(store, 1)
    break_record(container, run, b"broken")
    metadata = container.get_blob_client(open_name(run.lane, run.sort_key)).get_blob_properties().metadata

    there = store.put_aside(address_of(run))

    assert there == f"damaged/in-1/{run.sort_key}"
    aside = container.get_blob_client(there).download_blob()
    assert (aside.readall(), aside.properties.metadata) == (b"broken", metadata)
    assert names(container, "open/") == [open_name(other.lane, other.sort_key)]
    assert store.put_aside(address_of(run)) == ""
    assert store.run_at(address_of(run)) is None


def test_a_damaged_record_is_copied_before_it_is_deleted(
    store: RunStore, container: ContainerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = put(store, 0)
    break_record(container, run, b"broken")
    with a_power_cut_before_the_deletion(monkeypatch):
        store.put_aside(address_of(run))
    assert names(container, "") == [f"damaged/in-1/{run.sort_key}", open_name(run.lane, run.sort_key)]

    assert store.put_aside(address_of(run))
    assert names(container, "") == [f"damaged/in-1/{run.sort_key}"]


def test_a_record_that_can_be_read_and_what_is_none_are_not_put_aside(
    store: RunStore, container: ContainerClient
) -> None:
    run = put(store, 0)

    with pytest.raises(ValueError, match="can be read"):
        store.put_aside(address_of(run))
    for address in ("", "nonsense", "1793608200123-0123456789ab", "0000000000000-000000000000-AAAA"):
        assert store.put_aside(address) == ""

    assert names(container, "") == [open_name(run.lane, run.sort_key)]


def test_a_record_that_was_written_while_it_was_put_aside_stays(
    store: RunStore, container: ContainerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = put(store, 0)
    break_record(container, run, b"broken")
    upload = BlobClient.upload_blob

    def written_meanwhile(blob: BlobClient, content: bytes, **options: Any) -> Any:
        if blob.blob_name.startswith("damaged/"):
            break_record(container, run, run_to_json(run).encode())
        return upload(blob, content, **options)

    with monkeypatch.context() as patched:
        patched.setattr(BlobClient, "upload_blob", written_meanwhile)
        with pytest.raises(RecordChanged):
            store.put_aside(address_of(run))

    assert head(store) == run


def test_an_ended_run_whose_metadata_are_missing_is_listed_by_what_its_name_tells(
    store: RunStore, index: RunIndex, container: ContainerClient
) -> None:
    over = end_one(store, NOW)
    (name,) = names(container, "ended/")
    container.get_blob_client(name).set_blob_metadata({})

    (row,) = ended_rows(index)

    assert (row.run_id, row.damage, row.needs_person) == (over.run_id, "its metadata are missing or wrong", False)
    assert store.run_at(row.address) == over


# Ended runs that are written once more


def test_an_ended_run_is_written_once_more_unless_somebody_else_has(store: RunStore, index: RunIndex) -> None:
    over = end_one(store, NOW, Outcome.FAILED)
    ours, theirs = store.run_at(address_of(over)), store.run_at(address_of(over))
    assert ours is not None
    assert theirs is not None
    successor = Rerun(run_id="0123456789ab", opened=NOW, lane="in-1", sort_key=sort_key_of(NOW, "x"))

    store.save_ended(replace(ours, rerun=successor))

    with pytest.raises(RecordChanged):
        store.save_ended(replace(theirs, reason="late"))
    assert store.run_at(address_of(over)) == replace(over, rerun=successor)
    assert [row.has_again for row in ended_rows(index)] == [True]
    assert [row.has_again for row in ended_rows(index, only_failed=True)] == [True]


def test_the_address_of_a_successor_is_that_of_its_run_open_and_ended(store: RunStore) -> None:
    run = a_run(lane="in-ends")
    address = address_of_rerun(Rerun(run_id=run.run_id, opened=run.opened, lane=run.lane, sort_key=run.sort_key))
    store.create(run)
    assert address == address_of(run)

    store.end(replace(head(store, "in-ends"), state=State.FILED, outcome=Outcome.SUCCEEDED, ended=NOW))

    found = store.run_at(address)
    assert found is not None
    assert (found.run_id, found.ended) == (run.run_id, NOW)
