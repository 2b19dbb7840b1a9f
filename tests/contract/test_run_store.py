"""What the app expects of blob storage: runs, leases and marks as ``runs/store.py`` keeps them.

The suite needs nothing but an empty container; with another ``container`` fixture it runs against a real account.
"""

import json
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any
from urllib.parse import quote, unquote

import pytest
import requests
from azure.storage.blob import BlobClient, BlobLeaseClient, BlobServiceClient, ContainerClient
from requests.adapters import HTTPAdapter

from shared.errors import NeedsPerson, TryAgain
from shared.runs import store as run_store
from shared.runs.lane import LaneRow, Stop
from shared.runs.record import Damaged, run_to_json
from shared.runs.run import Run
from shared.runs.states import Direction, Outcome, State
from shared.runs.store import (
    HEADS_LISTED,
    Lane,
    LeaseTaken,
    Mark,
    Pause,
    RecordChanged,
    RunRow,
    RunStore,
    address_of,
    address_of_successor,
    key_of,
    moment_of,
    order_of,
)
from shared.runs.values import FileFacts, Held, Problem, Rerun, Submission
from tests.faults.interception import _made
from tests.world import wait_for

NOW = datetime(2026, 11, 2, 8, 30, 0, 123456, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
TODAY = NOW.date()
EMPTY = Lane(())
_numbers = count()


@pytest.fixture
def store(container: ContainerClient) -> RunStore:
    return RunStore(container)


def a_run(*, lane: str = "in-1", modified: datetime = NOW, key: str = "", opened: datetime = NOW) -> Run:
    key = key or f"item-{next(_numbers)}"
    return Run(
        run_id=uuid.uuid4().hex[:12],
        direction=Direction.IMPORT,
        flow_name="import",
        lane=lane,
        state=State.FOUND,
        state_since=NOW,
        due=NOW,
        opened=opened,
        file=FileFacts(name="USMF_Customers_001.zip", item_id=key, modified=modified),
        sort_key=order_of(modified, key),
    )


def names(container: ContainerClient, prefix: str) -> list[str]:
    return [str(row.name) for row in container.list_blobs(name_starts_with=prefix)]


def head(store: RunStore, lane: str = "in-1") -> Run:
    row = store.head(lane)
    assert row is not None
    return store.read_row(row)


def ended_rows(store: RunStore, newest: date = TODAY, oldest: date | None = None, **options: Any) -> list[RunRow]:
    return [row for rows in store.ended_rows(newest, oldest, **options) for row in rows.rows]


def end_one(store: RunStore, opened: datetime, outcome: Outcome = Outcome.SUCCEEDED, **facts: Any) -> Run:
    """Open a run at that moment and end it; return it as it ended."""
    store.create(a_run(lane="in-ends", opened=opened))
    over = replace(head(store, "in-ends"), state=State.FILED, outcome=outcome, ended=opened + MINUTE, **facts)
    store.end(over)
    return over


def spied_on(monkeypatch: pytest.MonkeyPatch) -> list[requests.PreparedRequest]:
    """Return the list that every request of the storage SDK is written to from now on."""
    asked: list[requests.PreparedRequest] = []
    send = requests.Session.send

    def note(session: requests.Session, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        asked.append(request)
        return send(session, request, **options)

    monkeypatch.setattr(requests.Session, "send", note)
    return asked


# Runs


def test_the_container_is_made_at_the_first_write(store: RunStore, container: ContainerClient) -> None:
    assert not container.exists()

    assert store.create(a_run())

    assert len(names(container, "open/")) == 1


def test_the_container_is_made_at_the_first_question(store: RunStore, container: ContainerClient) -> None:
    assert store.lane("in-1") == EMPTY
    assert container.exists()
    assert store.open_lanes().rows == []


@pytest.mark.parametrize(
    "question",
    [
        *("lane", "open_lanes", "open_rows", "open_places", "begun", "head", "row_at", "ended_rows", "ended_run"),
        *("run_at", "put_aside", "paused", "resume", "end_stop", "read_mark"),
    ],
)
def test_every_question_to_a_new_storage_account_is_answered(store: RunStore, question: str) -> None:
    answers: dict[str, Callable[[], object]] = {
        "lane": lambda: store.lane("in-1").rows,
        "open_lanes": lambda: store.open_lanes().rows,
        "open_rows": store.open_rows,
        "open_places": store.open_places,
        "begun": lambda: store.begun("in-1"),
        "head": lambda: store.head("in-1"),
        "row_at": lambda: store.row_at("in-1", a_run().sort_key),
        "ended_rows": lambda: ended_rows(store),
        "ended_run": lambda: store.ended_run(NOW, "none"),
        "run_at": lambda: store.run_at(address_of(a_run())),
        "put_aside": lambda: store.put_aside(address_of(a_run())),
        "paused": lambda: store.paused("in-1"),
        "resume": lambda: store.resume("in-1"),
        "end_stop": lambda: store.end_stop("in-1", "import"),
        "read_mark": lambda: store.read_mark("looks").content,
    }
    assert not answers[question]()


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


def test_a_run_that_nobody_has_worked_at_yet_is_read_from_the_listing(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run()
    store.create(run)
    asked = spied_on(monkeypatch)
    (row,) = store.lane("in-1").rows
    found = store.read_row(row)

    assert len(asked) == 1
    assert found == run
    assert store.save(found.waiting(5, NOW)).due == NOW + timedelta(seconds=5)  # its version is known, too
    with pytest.raises(RecordChanged):
        store.save(found)


def test_a_new_run_whose_record_is_too_long_for_a_listing_is_read(store: RunStore) -> None:
    run = a_run()
    run = replace(run, file=replace(run.file, name="ü" * 250 + ".zip", web_url=f"https://contoso/{'%C3%BC' * 250}.zip"))
    store.create(run)

    assert head(store) == run


def test_a_run_that_somebody_has_worked_at_is_read(store: RunStore) -> None:
    store.create(a_run())
    begun = store.save(replace(head(store), attempts=7))

    (row,) = store.lane("in-1").rows

    assert row.whole is None
    assert store.read_row(row) == begun
    assert store.save(store.read_row(row)).attempts == 7


def test_a_run_that_has_ended_since_it_was_listed_is_gone(store: RunStore) -> None:
    store.create(a_run())
    store.save(head(store))
    (row,) = store.lane("in-1").rows
    store.end(replace(head(store), ended=NOW))

    with pytest.raises(TryAgain, match="ended while it was being read"):
        store.read_row(row)


# A lane


def put(
    store: RunStore, number: int, *, second: int | None = None, state: State = State.FOUND, is_aside: bool = False
) -> Run:
    """Open a run in a lane, let it come to a state, or set it aside."""
    run = a_run(key=f"{number:03d}", modified=NOW + timedelta(seconds=number if second is None else second))
    assert store.create(run)
    if state is State.FOUND and not is_aside:
        return run
    held = Held(since=NOW, text="locked", refusal="claim|Microsoft Graph|403|x", is_aside=True) if is_aside else None
    row = store.row_at(run.lane, run.sort_key)
    assert row is not None
    return store.save(replace(store.read_row(row), state=state, held=held))


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
    for number in range(7):
        put(store, number, second=1)
    put(store, 7, second=2)
    put(store, 8, second=3)
    put(store, 9, second=4)
    asked = spied_on(monkeypatch)

    lane = store.lane("in-1")

    assert listings(asked) == ["4", "2", "2"]
    assert [key_of(row.sort_key) for row in lane.rows] == [f"{number:03d}" for number in range(8)]


def test_files_of_one_second_that_end_within_a_listing_need_no_other(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, second in enumerate((1, 1, 1, 2, 2, 3)):
        put(store, number, second=second)
    asked = spied_on(monkeypatch)

    assert len(store.lane("in-1").rows) == HEADS_LISTED
    assert len(asked) == 1


def test_a_lane_that_ends_within_its_first_rows_is_listed_once(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(HEADS_LISTED):
        put(store, number, is_aside=True)
    asked = spied_on(monkeypatch)

    assert len(store.lane("in-1").rows) == HEADS_LISTED
    assert len(asked) == 1


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
    store.pause(a_pause())

    assert store.open_places() == [(run.lane, run.sort_key) for run in runs]


def test_a_lane_tells_which_of_its_runs_was_begun_last(store: RunStore) -> None:
    first, second, third = (put(store, number) for number in range(3))
    before = store.begun("in-1")
    for run, state in ((first, State.EXECUTING), (second, State.CLAIMED)):
        store.save(replace(store.run_at(address_of(run)) or run, state=state))
    begun = store.begun("in-1")
    store.save(replace(store.run_at(address_of(second)) or second, held=Held(since=NOW, text="", is_aside=True)))

    assert (before, begun, store.begun("in-2")) == ("", second.sort_key, "")
    assert store.begun("in-1") == first.sort_key  # others pass the second one
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

    store.drop(listed)

    assert store.of_same_file(mine) == []
    with pytest.raises(RecordChanged):
        store.drop(listed)


def test_a_run_that_was_written_since_it_was_listed_is_not_dropped(store: RunStore) -> None:
    mine, other = a_run(key="a"), a_run(key="a", modified=NOW + timedelta(seconds=1))
    store.create(mine)
    store.create(other)
    (listed,) = store.of_same_file(mine)
    store.save(replace(store.read_row(store.lane("in-1").rows[1]), state=State.CLAIMED))

    with pytest.raises(RecordChanged):
        store.drop(listed)
    assert store.of_same_file(mine)[0].state is State.CLAIMED


def test_open_runs_tell_due_time_and_state_without_being_read(store: RunStore) -> None:
    run = a_run()
    store.create(run)
    due = NOW + timedelta(seconds=2, microseconds=5)
    store.save(replace(head(store), state=State.EXECUTING, due=due))

    (row,) = store.open_lanes().rows

    assert (row.lane, row.sort_key, row.due, row.state) == ("in-1", run.sort_key, due, State.EXECUTING)
    assert (row.run_id, row.flow_name, row.file_name) == (run.run_id, "import", "USMF_Customers_001.zip")


def test_open_runs_tell_their_address(store: RunStore) -> None:
    run = a_run()
    store.create(run)
    store.save(replace(head(store), state=State.EXECUTING))

    assert [row.address for row in store.open_lanes().rows] == [address_of(run)]


def test_open_runs_are_listed_past_the_first_page(
    store: RunStore, container: ContainerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seconds in range(7):
        store.create(a_run(modified=NOW + timedelta(seconds=seconds)))
    list_blobs = container.list_blobs
    monkeypatch.setattr(container, "list_blobs", lambda **options: list_blobs(results_per_page=3, **options))

    orders = [row.sort_key for row in store.open_lanes().rows]

    assert len(orders) == 7
    assert orders == sorted(orders)


def test_a_saved_run_is_read_back_and_can_be_saved_again(store: RunStore) -> None:
    store.create(a_run())

    once = store.save(replace(head(store), attempts=1))
    store.save(replace(once, attempts=2))

    assert head(store).attempts == 2


def test_a_run_that_another_worker_has_written_meanwhile_is_not_overwritten(store: RunStore) -> None:
    store.create(a_run())
    mine, others = head(store), head(store)
    store.save(replace(others, attempts=7))

    with pytest.raises(RecordChanged):
        store.save(replace(mine, attempts=1))

    assert head(store).attempts == 7


def test_a_run_that_another_worker_has_ended_is_not_brought_back(store: RunStore) -> None:
    store.create(a_run())
    mine = head(store)
    store.end(head(store))

    with pytest.raises(RecordChanged):
        store.save(mine)

    assert store.lane("in-1") == EMPTY


def test_an_ended_run_leaves_its_lane_and_is_kept(store: RunStore) -> None:
    run = a_run()
    store.create(run)

    store.end(replace(head(store), outcome=Outcome.SUCCEEDED, ended=NOW + timedelta(minutes=1)))

    assert store.lane("in-1") == EMPTY
    assert store.open_lanes().rows == []
    ended = store.ended_run(run.opened, run.run_id)
    assert ended is not None
    assert (ended.run_id, ended.outcome) == (run.run_id, Outcome.SUCCEEDED)


def test_ending_a_run_twice_leaves_one_record(store: RunStore, container: ContainerClient) -> None:
    store.create(a_run())
    mine = head(store)
    store.end(replace(mine, ended=NOW))

    with pytest.raises(RecordChanged):
        store.end(replace(mine, ended=NOW + timedelta(hours=25)))

    assert len(names(container, "ended/")) == 1


def test_a_run_whose_worker_died_between_the_two_writes_of_its_end_is_ended_again_into_one_record(
    store: RunStore, container: ContainerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PowerCut(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise PowerCut

    store.create(a_run())
    run = head(store)
    with monkeypatch.context() as patched:
        patched.setattr(BlobClient, "delete_blob", die)
        with pytest.raises(PowerCut):
            store.end(replace(run, ended=NOW))
    assert len(names(container, "ended/")) == 1

    store.end(replace(head(store), ended=NOW + timedelta(hours=25)))

    assert len(names(container, "ended/")) == 1
    assert names(container, "open/") == []


def test_a_run_that_was_written_meanwhile_is_not_taken_out_of_its_lane(store: RunStore) -> None:
    store.create(a_run())
    mine = head(store)
    store.save(replace(head(store), attempts=7))

    with pytest.raises(RecordChanged):
        store.end(mine)

    assert head(store).attempts == 7


def test_a_file_whose_run_has_ended_can_have_another_one(store: RunStore, container: ContainerClient) -> None:
    for _ in range(2):
        assert store.create(a_run(key="item"))
        store.end(head(store))

    assert len(names(container, "ended/")) == 2


def test_what_has_not_ended_is_not_found_among_the_ended(store: RunStore) -> None:
    run = a_run()
    store.create(run)

    assert store.ended_run(run.opened, run.run_id) is None


# History


def test_ended_runs_come_newest_first_across_days_months_and_years(store: RunStore) -> None:
    moments = [NOW - 400 * DAY, NOW - 40 * DAY, NOW - DAY, NOW, NOW + MINUTE]
    for opened in moments[::2] + moments[1::2]:
        end_one(store, opened)

    assert [row.opened for row in ended_rows(store)] == moments[::-1]
    assert [row.opened for row in ended_rows(store, TODAY, TODAY)] == [NOW + MINUTE, NOW]
    assert ended_rows(store, TODAY - 2 * DAY, TODAY - 2 * DAY) == []
    assert [row.opened for row in ended_rows(store, TODAY - DAY, TODAY - 40 * DAY)] == [NOW - DAY, NOW - 40 * DAY]


def test_a_list_goes_on_behind_each_position_without_a_gap_and_without_repeating(store: RunStore) -> None:
    moments = [NOW, NOW - MINUTE, NOW - 2 * MINUTE, NOW - DAY]
    for opened in moments:
        end_one(store, opened)

    for at_once in (1, 2):
        seen: list[datetime] = []
        for rows in store.ended_rows(TODAY, at_once=at_once):
            seen += [row.opened for row in rows.rows]
            later = [row.opened for row in ended_rows(store, behind=rows.position)]
            assert seen + later == moments


def test_a_list_goes_on_although_its_day_was_cleared_away_meanwhile(
    store: RunStore, container: ContainerClient
) -> None:
    for opened in (NOW, NOW - MINUTE, NOW - DAY):
        end_one(store, opened)
    position = next(store.ended_rows(TODAY, at_once=1)).position
    for name in names(container, "ended/2026/11/02/"):
        container.delete_blob(name)

    assert [row.opened for row in ended_rows(store, behind=position)] == [NOW - DAY]


@pytest.mark.parametrize("text", ["x", "~", "2026-11-02", "2026-11-02~", "2026-13-02~x", "0001-01-01~-"])
def test_what_is_no_position_begins_at_the_newest(store: RunStore, text: str) -> None:
    end_one(store, NOW)

    assert len(ended_rows(store, behind=text)) == 1


def test_failures_are_listed_alone(store: RunStore) -> None:
    for number, outcome in enumerate(Outcome):
        end_one(store, NOW + number * MINUTE, outcome)

    failed = {row.outcome for row in ended_rows(store, only_failed=True)}

    assert failed == set(Outcome) - {Outcome.SUCCEEDED, Outcome.WITHDRAWN, Outcome.CANCELLED_BY_PERSON}
    assert len(ended_rows(store)) == len(Outcome)


def test_the_newest_ended_runs_cost_the_same_calls_however_many_there_are(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = []
    for many in (3, 9):
        for number in range(many):
            end_one(store, NOW - number * MINUTE)
        with monkeypatch.context() as patched:
            asked = spied_on(patched)
            rows = next(store.ended_rows(TODAY, at_once=3))
        assert len(rows.rows) == 3
        costs.append(
            [(request.method, "comp=list&prefix=ended%2F2026%2F11%2F02%2F" in str(request.url)) for request in asked]
        )

    assert costs == [[("GET", True)]] * 2


HOSTILE = "<script>\"'&  two  spaces\tGröße 😀 \u202e"


def test_a_row_tells_of_an_open_run_what_its_record_tells(store: RunStore) -> None:
    run = a_run()
    store.create(run)
    submission = Submission(execution_id="Project-1", chosen=NOW)
    changed = replace(
        head(store),
        file=replace(run.file, name=HOSTILE),
        company="USMF",
        data_project=HOSTILE,
        submissions=(submission,),
        problem=Problem(text=HOSTILE, since=NOW),
        due=NOW + MINUTE,
        state=State.EXECUTING,
    )
    store.save(changed)

    (row,) = store.open_rows()

    first = store.head("in-1")
    assert first is not None
    assert (row.address, row.run_id, row.file_name) == (first.address, first.run_id, first.file_name)
    assert (row.file_name, row.data_project, row.words) == (HOSTILE, HOSTILE, HOSTILE)
    assert (row.run_id, row.lane, row.execution_id, row.company) == (run.run_id, "in-1", "Project-1", "USMF")
    assert (row.state, row.outcome, row.needs_person) == (State.EXECUTING, None, True)
    assert (row.opened, row.due, row.ended) == (NOW, NOW + MINUTE, None)
    assert row.address == address_of(changed)


def test_the_longest_texts_fit_into_a_row(store: RunStore) -> None:
    longest = "😀" * 4_000
    over = end_one(
        store,
        NOW,
        Outcome.FAILED,
        file=FileFacts(name=longest),
        integration=longest,
        data_project=longest,
        company=longest,
        reason=longest,
        submissions=(Submission(execution_id=longest, chosen=NOW),),
    )

    (row,) = ended_rows(store)

    assert row.file_name.startswith("😀" * 250)
    assert row.file_name.endswith("…")
    assert store.run_at(row.address) == over


def test_a_run_is_found_by_its_address_while_it_is_open_and_when_it_has_ended(store: RunStore) -> None:
    key = "a/b%2F?#😀"
    store.create(a_run(key=key))
    (row,) = store.open_rows()

    assert store.run_at(row.address) == head(store)

    over = replace(head(store), ended=NOW + MINUTE, outcome=Outcome.SUCCEEDED)
    store.end(over)
    (ended,) = ended_rows(store)
    assert store.run_at(ended.address) == store.run_at(address_of(over)) == over


def test_the_address_of_an_open_run_stays_good_after_its_end(store: RunStore) -> None:
    store.create(a_run(key="item"))
    first = head(store)
    address = address_of(first)
    store.end(replace(first, ended=NOW, outcome=Outcome.SUCCEEDED))
    store.create(a_run(key="item"))  # the same file in the same place, once more

    found = store.run_at(address)

    assert found is not None
    assert (found.run_id, found.ended) == (first.run_id, NOW)


@pytest.mark.parametrize(
    "address",
    [
        *("", "x", "../open/in-1/x", "1793608200123-0123456789ab", "1793608200123-0123456789ab-A"),
        *("1793608200123-0123456789ab-____", "9999999999999-0123456789ab", "1793608200123-0123456789ab-Li4"),
    ],
)
def test_an_address_of_nothing_finds_nothing(store: RunStore, address: str) -> None:
    store.create(a_run())

    assert store.run_at(address) is None


# Pauses


def a_pause(by: str = "anna", why: str = "ä break: 100% sure") -> Pause:
    return Pause(lane="in-1", by=by, why=why, since=NOW)


def test_a_paused_lane_says_so_to_whoever_lists_it(store: RunStore) -> None:
    run = a_run()
    store.create(run)
    store.create(a_run(lane="in-2"))

    assert store.pause(a_pause()) is None

    assert [store.lane(lane).is_paused for lane in ("in-1", "in-2")] == [True, False]
    shown, told = store.head("in-1"), store.paused("in-1")
    assert shown is not None
    assert (shown.run_id, told) == (run.run_id, a_pause())
    listed = store.open_lanes()
    assert ([row.lane for row in listed.rows], listed.paused) == (["in-1", "in-2"], frozenset({"in-1"}))
    assert [row.lane for row in store.open_rows()] == ["in-1", "in-2"]
    assert store.open_rows_and_pauses()[1] == [a_pause()]
    assert head(store, "in-2").lane == "in-2"
    store.resume("in-1")
    assert not store.lane("in-1").is_paused
    assert store.open_lanes().paused == frozenset()


def test_a_paused_lane_is_listed_no_further_than_its_pause(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.pause(a_pause())
    for number in range(2 * HEADS_LISTED):
        put(store, number, is_aside=True)
    asked = spied_on(monkeypatch)

    assert store.lane("in-1").is_paused
    assert len(asked) == 1


def test_a_lane_is_paused_by_the_first_who_asks_and_resumed_once(store: RunStore) -> None:
    store.pause(a_pause())

    assert store.pause(a_pause(by="ben")) == a_pause()
    assert [store.resume("in-1"), store.resume("in-1")] == [True, False]
    assert store.paused("in-1") is None


@pytest.mark.parametrize("metadata", [{}, {"pause": "%7B"}, {"pause": "[]"}], ids=["nothing", "no JSON", "no object"])
def test_a_pause_that_does_not_say_whose_it_is_pauses_its_lane_all_the_same(
    store: RunStore, container: ContainerClient, metadata: dict[str, str]
) -> None:
    store.create(a_run())
    container.get_blob_client("open/in-1/!paused").upload_blob(b"", metadata=metadata)

    paused = store.paused("in-1")

    assert store.lane("in-1").is_paused
    assert paused is not None
    assert (paused.lane, paused.by, paused.why) == ("in-1", "somebody", "")
    assert store.open_rows_and_pauses()[1] == [paused]
    assert store.resume("in-1")


def test_whether_a_lane_is_paused_costs_a_worker_no_call(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.create(a_run())
    asked = spied_on(monkeypatch)

    store.lane("in-1")
    of_a_lane = len(asked)
    store.pause(a_pause())
    asked.clear()
    store.lane("in-1")

    assert (of_a_lane, len(asked)) == (1, 1)


# Stops


def a_stop(integration: str = "Kunden & Müller", **facts: Any) -> Stop:
    stop = Stop(
        lane="in-1",
        flow_name=integration,
        refusal="claim|Microsoft Graph|403|accessDenied",
        text="ä 100% refusal:  two  spaces",
        since=NOW,
        next_try=NOW + MINUTE,
    )
    return replace(stop, **facts)


def test_a_flow_that_is_stopped_says_so_to_whoever_lists_its_lane(store: RunStore) -> None:
    store.create(a_run())
    store.create(a_run(lane="in-2"))

    store.stop(a_stop())
    store.stop(a_stop("vendors"))

    stops = {stop.flow_name: stop for stop in store.lane("in-1").stops}
    assert stops == {"Kunden & Müller": a_stop(), "vendors": a_stop("vendors")}
    assert store.lane("in-2").stops == ()
    assert sorted(store.open_lanes().stops, key=lambda stop: stop.flow_name) == [a_stop(), a_stop("vendors")]
    assert [len(rows) for rows in (store.lane("in-1").rows, store.open_rows(), store.open_places())] == [1, 2, 2]
    assert store.head("in-1") is not None


def test_a_stop_is_written_anew_with_each_try_and_ended_once(store: RunStore) -> None:
    store.stop(a_stop())
    store.stop(a_stop(next_try=NOW + 2 * MINUTE, text="other words"))

    assert store.lane("in-1").stops == (a_stop(next_try=NOW + 2 * MINUTE, text="other words"),)
    store.end_stop("in-1", "vendors")
    assert len(store.lane("in-1").stops) == 1
    for _ in range(2):
        store.end_stop("in-1", "Kunden & Müller")
    assert store.lane("in-1").stops == ()


def test_of_a_stopped_flow_the_rows_in_front_do_not_tell_what_is_next(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.stop(a_stop("import"))
    for number in range(6):
        put(store, number)
    asked = spied_on(monkeypatch)

    assert len(store.lane("in-1").rows) == 6
    assert len(asked) == 2


def test_the_words_of_a_stop_are_cut_to_what_storage_takes(store: RunStore) -> None:
    store.stop(a_stop(text="😀" * 4_000))

    (stop,) = store.lane("in-1").stops

    assert stop.text == "😀" * 499 + "…"


@pytest.mark.parametrize(
    "metadata",
    [{}, {"stop": "%7B"}, {"stop": "[]", "due": NOW.isoformat()}, {"stop": "{}", "due": "later"}],
    ids=["nothing", "no JSON", "no object", "an empty object"],
)
def test_a_stop_that_cannot_be_read_stops_nothing_and_is_written_anew(
    store: RunStore, container: ContainerClient, metadata: dict[str, str]
) -> None:
    store.create(a_run())
    store.stop(a_stop())
    (name,) = [name for name in names(container, "open/") if "!" in name]
    container.get_blob_client(name).set_blob_metadata(metadata)

    assert store.lane("in-1").stops == ()
    assert store.open_lanes().stops == []
    assert len(store.lane("in-1").rows) == 1
    store.stop(a_stop())
    assert store.lane("in-1").stops == (a_stop(),)


# Records that cannot be read


def open_name(run: Run) -> str:
    return f"open/{run.lane}/{run.sort_key}"


def break_metadata(container: ContainerClient, run: Run, **metadata: str | None) -> None:
    """Change what a listing tells of a run; None takes it away."""
    blob = container.get_blob_client(open_name(run))
    kept = {**(blob.get_blob_properties().metadata or {}), **metadata}
    blob.set_blob_metadata({name: value for name, value in kept.items() if value is not None})


def break_record(container: ContainerClient, run: Run, content: bytes) -> None:
    """Write something else over a run's record, and leave what a listing tells of it."""
    blob = container.get_blob_client(open_name(run))
    metadata = {name: value for name, value in blob.get_blob_properties().metadata.items() if name != run_store.WHOLE}
    blob.upload_blob(content, overwrite=True, metadata=metadata)


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
    store: RunStore, container: ContainerClient, wrong: str
) -> None:
    run, other = put(store, 0), put(store, 1)
    break_metadata(container, run, **WRONG_METADATA[wrong])

    (row, sound), listed = store.lane("in-1").rows, store.open_lanes().rows

    assert (row.lane, row.sort_key, row.damage) == ("in-1", run.sort_key, "its metadata are missing or wrong")
    assert not row.is_waiting
    assert (sound.run_id, sound.damage) == (other.run_id, "")
    assert listed == [row, sound]
    shown = store.open_rows()
    assert [(each.damage != "", each.needs_person) for each in shown] == [(True, True), (False, False)]
    with pytest.raises(Damaged, match="metadata are missing or wrong"):
        store.run_at(row.address)
    assert store.put_aside(row.address) == f"damaged/in-1/{run.sort_key}"
    assert [each.run_id for each in store.lane("in-1").rows] == [other.run_id]


@pytest.mark.parametrize(
    "name", ["notes.txt", "in-1/notes.txt", "in-1/0", "in-1/", "in-1/folder/notes.txt", "IN/20260101T000000000000Z-a"]
)
def test_a_blob_of_somebody_else_between_the_records_hides_no_run_and_counts_as_none(
    store: RunStore, container: ContainerClient, name: str
) -> None:
    run = put(store, 0)
    container.get_blob_client(f"open/{name}").upload_blob(b"mine")

    assert [row.run_id for row in store.open_lanes().rows] == [run.run_id]
    assert [row.run_id for row in store.open_rows()] == [run.run_id]
    assert [row.run_id for row in store.lane("in-1").rows] == [run.run_id]
    assert store.head("in-1") == store.lane("in-1").rows[0]
    assert store.open_places() == [("in-1", run.sort_key)]


@pytest.mark.parametrize(
    "row",
    ['{"flow":"merge"}', '{"outcome":"Merged"}', '{"ended":"yesterday"}', '{"flow":null}'],
    ids=["another flow", "another outcome", "another end", "no flow"],
)
def test_a_row_with_words_that_this_version_does_not_know_is_shown_as_damaged_beside_all_others(
    store: RunStore, container: ContainerClient, row: str
) -> None:
    run, other = put(store, 0), put(store, 1)
    known = json.loads(unquote(container.get_blob_client(open_name(run)).get_blob_properties().metadata["row"]))
    changed = {name: value for name, value in (known | json.loads(row)).items() if value is not None}
    break_metadata(container, run, row=quote(json.dumps(changed)))

    shown, sound = store.open_rows()

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
    store: RunStore, container: ContainerClient, state: str
) -> None:
    run = put(store, 0)
    break_metadata(container, run, state=state or None)

    (row,) = store.lane("in-1").rows

    assert (row.state, row.run_id) == (None, run.run_id)
    assert row.damage == f"its state is {state!r}, which this version of the app does not know"
    (shown,) = store.open_rows()
    assert (shown.damage, shown.file_name) == (row.damage, "USMF_Customers_001.zip")


def test_a_state_that_an_older_version_has_saved_is_known(store: RunStore, container: ContainerClient) -> None:
    run = put(store, 0, state=State.CLAIMED)
    break_metadata(container, run, state="uploaded")

    (row,) = store.lane("in-1").rows

    assert (row.state, row.damage) == (State.CLAIMED, "")
    assert [each.state for each in store.open_rows()] == [State.CLAIMED]


def test_a_due_time_without_a_zone_is_taken_for_utc(store: RunStore, container: ContainerClient) -> None:
    run = put(store, 0)
    break_metadata(container, run, due="2026-11-02T08:31:00")

    assert store.lane("in-1").rows[0].due == datetime(2026, 11, 2, 8, 31, tzinfo=UTC)


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
    assert store.read_row(sound) == other


@pytest.mark.parametrize("wrong", list(BROKEN)[:-1])
def test_whoever_asks_for_a_run_by_its_address_hears_that_its_record_is_damaged(
    store: RunStore, container: ContainerClient, wrong: str
) -> None:
    run = put(store, 0)
    break_record(container, run, BROKEN[wrong])

    with pytest.raises(Damaged):
        store.run_at(address_of(run))


def test_a_new_runs_record_in_the_listing_that_cannot_be_read_is_read_from_its_blob(
    store: RunStore, container: ContainerClient
) -> None:
    run = put(store, 0)
    break_metadata(container, run, whole="%7B")

    (row,) = store.lane("in-1").rows

    assert (row.whole, row.damage) == (None, "")
    assert store.read_row(row) == run


# Put aside


def test_a_damaged_record_is_put_aside_with_all_that_it_says_and_its_lane_goes_on(
    store: RunStore, container: ContainerClient
) -> None:
    run, other = put(store, 0), put(store, 1)
    break_record(container, run, b"broken")
    metadata = container.get_blob_client(open_name(run)).get_blob_properties().metadata

    there = store.put_aside(address_of(run))

    assert there == f"damaged/in-1/{run.sort_key}"
    aside = container.get_blob_client(there).download_blob()
    assert (aside.readall(), aside.properties.metadata) == (b"broken", metadata)
    assert names(container, "open/") == [open_name(other)]
    assert store.put_aside(address_of(run)) == ""
    assert store.run_at(address_of(run)) is None


def test_a_damaged_record_is_copied_before_it_is_deleted(
    store: RunStore, container: ContainerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PowerCut(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise PowerCut

    run = put(store, 0)
    break_record(container, run, b"broken")
    with monkeypatch.context() as patched:
        patched.setattr(BlobClient, "delete_blob", die)
        with pytest.raises(PowerCut):
            store.put_aside(address_of(run))
    assert names(container, "") == [f"damaged/in-1/{run.sort_key}", open_name(run)]

    assert store.put_aside(address_of(run))
    assert names(container, "") == [f"damaged/in-1/{run.sort_key}"]


def test_a_record_that_can_be_read_is_not_put_aside(store: RunStore, container: ContainerClient) -> None:
    run = put(store, 0)

    with pytest.raises(ValueError, match="can be read"):
        store.put_aside(address_of(run))

    assert names(container, "") == [open_name(run)]


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


@pytest.mark.parametrize("address", ["", "nonsense", "1793608200123-0123456789ab", "0000000000000-000000000000-AAAA"])
def test_what_is_no_open_record_is_not_put_aside(store: RunStore, container: ContainerClient, address: str) -> None:
    put(store, 0)

    assert store.put_aside(address) == ""
    assert len(names(container, "open/")) == 1


def test_an_ended_run_whose_metadata_are_missing_is_listed_by_what_its_name_tells(
    store: RunStore, container: ContainerClient
) -> None:
    over = end_one(store, NOW)
    (name,) = names(container, "ended/")
    container.get_blob_client(name).set_blob_metadata({})

    (row,) = ended_rows(store)

    assert (row.run_id, row.damage, row.needs_person) == (over.run_id, "its metadata are missing or wrong", False)
    assert store.run_at(row.address) == over


# Ended runs that are written once more


def test_an_ended_run_is_written_once_more_unless_somebody_else_has(store: RunStore) -> None:
    over = end_one(store, NOW, Outcome.FAILED)
    ours, theirs = store.run_at(address_of(over)), store.run_at(address_of(over))
    assert ours is not None
    assert theirs is not None
    successor = Rerun(run_id="0123456789ab", opened=NOW, lane="in-1", sort_key=order_of(NOW, "x"))

    store.save_ended(replace(ours, rerun=successor))

    with pytest.raises(RecordChanged):
        store.save_ended(replace(theirs, reason="late"))
    assert store.run_at(address_of(over)) == replace(over, rerun=successor)
    assert [row.has_again for row in ended_rows(store)] == [True]
    assert [row.has_again for row in ended_rows(store, only_failed=True)] == [True]


def test_the_address_of_a_successor_is_that_of_its_run_open_and_ended(store: RunStore) -> None:
    run = a_run(lane="in-ends")
    address = address_of_successor(Rerun(run_id=run.run_id, opened=run.opened, lane=run.lane, sort_key=run.sort_key))
    store.create(run)
    assert address == address_of(run)

    store.end(replace(head(store, "in-ends"), state=State.FILED, outcome=Outcome.SUCCEEDED, ended=NOW))

    found = store.run_at(address)
    assert found is not None
    assert (found.run_id, found.ended) == (run.run_id, NOW)


# Leases


def test_a_lease_that_is_held_is_not_given_to_another_worker(store: RunStore) -> None:
    with store.lease("in-1"), pytest.raises(LeaseTaken), store.lease("in-1"):
        pytest.fail("two workers held one lease")


def test_a_lease_that_was_given_back_is_free_at_once(store: RunStore) -> None:
    for _ in range(2):
        with store.lease("in-1"):
            pass


def test_a_lease_is_given_back_where_the_work_fails(store: RunStore) -> None:
    with pytest.raises(ZeroDivisionError), store.lease("in-1"):
        raise ZeroDivisionError

    with store.lease("in-1"):
        pass


def test_leases_of_different_names_do_not_touch_each_other(store: RunStore) -> None:
    with store.lease("in-1"), store.lease("in-2"), store.lease("import-call"):
        pass


def test_of_workers_that_take_a_new_lease_at_the_same_moment_one_gets_it(store: RunStore) -> None:
    barrier, ended = threading.Barrier(8), threading.Barrier(8)

    def take(_: int) -> bool:
        barrier.wait()
        try:
            with store.lease("in-1"):
                ended.wait()
                return True
        except LeaseTaken:
            ended.wait()
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take, range(8))) == 1


def test_workers_that_take_turns_are_never_inside_together(store: RunStore) -> None:
    inside: list[str] = []

    def work(name: str) -> None:
        done = 0
        while done < 3:
            try:
                with store.lease("in-1"):
                    inside.append(f"{name} came")
                    store.read_mark("looks")  # long enough for the other one to come in, if it could
                    inside.append(f"{name} went")
                    done += 1
            except LeaseTaken:
                continue

    with ThreadPoolExecutor(2) as pool:
        for each in [pool.submit(work, "one"), pool.submit(work, "other")]:
            each.result()

    came, went = inside[::2], inside[1::2]
    assert [each.removesuffix(" came") for each in came] == [each.removesuffix(" went") for each in went]
    assert len(came) == 6


def test_a_lease_is_renewed_while_the_work_lasts(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_store, "LEASE_S", 15)  # the shortest that storage takes
    monkeypatch.setattr(run_store, "RENEW_EVERY_S", 0.02)
    asked = spied_on(monkeypatch)

    with store.lease("in-1"):
        wait_for(lambda: [request.headers.get("x-ms-lease-action") for request in asked].count("renew") >= 3)


def test_a_worker_that_lost_its_lease_ends_its_work_without_an_error_and_frees_nothing_of_the_next(
    store: RunStore, container: ContainerClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(run_store, "RENEW_EVERY_S", 0.02)
    with store.lease("in-1"):
        # What storage does with a lease that runs out while its holder is paused.
        BlobLeaseClient(container.get_blob_client("locks/in-1")).break_lease(lease_break_period=0)
        others = container.get_blob_client("locks/in-1").acquire_lease(lease_duration=60)
        wait_for(lambda: "lease.lost" in caplog.text)

    with pytest.raises(LeaseTaken), store.lease("in-1"):
        pytest.fail("the other worker's lease was given away")
    others.release()


# Marks


def test_a_note_is_empty_until_it_is_written_and_then_read_back(store: RunStore) -> None:
    mark = store.read_mark("looks")
    assert (mark.content, mark.etag) == ({}, None)

    mark.content["began"] = "später"
    store.write_mark("looks", mark)

    assert store.read_mark("looks").content == {"began": "später"}


def test_a_note_can_be_written_again_by_who_wrote_it(store: RunStore) -> None:
    mark = store.read_mark("looks")
    for text in ("one", "two"):
        mark.content["began"] = text
        store.write_mark("looks", mark)

    assert store.read_mark("looks").content == {"began": "two"}


def test_of_two_who_write_a_new_note_one_hears_of_the_other(store: RunStore) -> None:
    one, other = store.read_mark("looks"), store.read_mark("looks")
    store.write_mark("looks", Mark({"began": "one"}, one.etag))

    with pytest.raises(RecordChanged):
        store.write_mark("looks", Mark({"began": "other"}, other.etag))

    assert store.read_mark("looks").content == {"began": "one"}


def test_of_two_who_change_a_note_one_hears_of_the_other(store: RunStore) -> None:
    store.write_mark("looks", Mark({"began": "first"}, None))
    one, other = store.read_mark("looks"), store.read_mark("looks")
    store.write_mark("looks", Mark({"began": "one"}, one.etag))

    with pytest.raises(RecordChanged):
        store.write_mark("looks", Mark({"began": "other"}, other.etag))

    assert store.read_mark("looks").content == {"began": "one"}


def test_notes_of_different_names_do_not_touch_each_other(store: RunStore) -> None:
    store.write_mark("looks", Mark({"began": "x"}, None))

    assert store.read_mark("subscription-1").content == {}


# Problem


def every_verb(store: RunStore, run: Run) -> dict[str, Callable[[], object]]:
    def lease() -> None:
        with store.lease("in-1"):
            pytest.fail("nothing was held")

    a_row = LaneRow(lane="in-1", sort_key="x", due=NOW, state=State.FOUND, record_etag='"0x1"')
    return {
        "create": lambda: store.create(run),
        "lane": lambda: store.lane("in-1"),
        "read_row": lambda: store.read_row(a_row),
        "row_at": lambda: store.row_at("in-1", "x"),
        "save": lambda: store.save(replace(run, record_etag='"0x1"')),
        "end": lambda: store.end(replace(run, record_etag='"0x1"')),
        "open_lanes": store.open_lanes,
        "open_rows": store.open_rows,
        "open_places": store.open_places,
        "begun": lambda: store.begun("in-1"),
        "of_same_file": lambda: store.of_same_file(run),
        "drop": lambda: store.drop(a_row),
        "head": lambda: store.head("in-1"),
        "stop": lambda: store.stop(a_stop()),
        "end_stop": lambda: store.end_stop("in-1", "import"),
        "pause": lambda: store.pause(a_pause()),
        "paused": lambda: store.paused("in-1"),
        "put_aside": lambda: store.put_aside(address_of(run)),
        "ended_rows": lambda: ended_rows(store),
        "ended_run": lambda: store.ended_run(NOW, "x"),
        "run_at": lambda: store.run_at(address_of(run)),
        "lease": lease,
        "read_mark": lambda: store.read_mark("looks"),
        "write_mark": lambda: store.write_mark("looks", Mark({}, None)),
    }


VERBS = [
    *("create", "lane", "read_row", "row_at", "save", "end", "open_lanes", "open_rows", "open_places", "begun", "head"),
    *("of_same_file", "drop", "stop", "end_stop", "pause", "paused", "put_aside", "ended_rows", "ended_run", "run_at"),
    *("lease", "read_mark", "write_mark"),
]


@pytest.mark.parametrize("verb", VERBS)
def test_storage_that_is_out_of_reach_is_tried_again_later(verb: str) -> None:
    unreachable = (
        "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=bm90aGluZw==;"
        "BlobEndpoint=http://127.0.0.1:9/devstoreaccount1;"
    )
    with BlobServiceClient.from_connection_string(unreachable, retry_total=0) as blobs:
        act = every_verb(RunStore(blobs.get_container_client("runs")), a_run())[verb]
        with pytest.raises(TryAgain) as caught:
            act()

    assert type(caught.value) is TryAgain


@pytest.mark.parametrize("verb", ["lane", "row_at", "open_lanes", "open_places", "begun", "head", "of_same_file"])
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
    store: RunStore, monkeypatch: pytest.MonkeyPatch, verb: str, kind: str, body: bytes
) -> None:
    run = a_run()
    store.create(run)

    def answer(_adapter: HTTPAdapter, request: requests.PreparedRequest, **_: Any) -> requests.Response:
        return _made(request, 200, {"Content-Type": kind}, body)

    monkeypatch.setattr(HTTPAdapter, "send", answer)

    with pytest.raises(TryAgain):
        every_verb(store, run)[verb]()


@pytest.mark.parametrize("verb", VERBS)
def test_a_wrong_key_to_the_storage_account_needs_a_person_who_is_told_which_setting(
    azurite_connection: str, verb: str
) -> None:
    wrong = ";".join(
        "AccountKey=bm90aGluZw==" if part.startswith("AccountKey=") else part for part in azurite_connection.split(";")
    )
    with BlobServiceClient.from_connection_string(wrong, retry_total=0) as blobs:
        act = every_verb(RunStore(blobs.get_container_client(f"runs-{uuid.uuid4().hex}")), a_run())[verb]
        with pytest.raises(NeedsPerson, match="AzureWebJobsStorage") as caught:
            act()

    assert caught.value.call is not None
    assert caught.value.call.status == 403
    assert caught.value.call.request_id
