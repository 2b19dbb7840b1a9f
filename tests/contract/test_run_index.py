"""What the app expects of blob storage: lists of runs, as ``runs/index.py`` makes them."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from azure.storage.blob import ContainerClient

from shared.runs.addresses import address_of
from shared.runs.index import RunIndex
from shared.runs.states import Outcome, State
from shared.runs.store import RunStore
from shared.runs.values import FileFacts, Problem, Submission
from tests.records import DAY, MINUTE, NOW, TODAY, a_run, end_one, ended_rows, head, names, spied_on


def test_ended_runs_come_newest_first_across_days_months_and_years(store: RunStore, index: RunIndex) -> None:
    moments = [NOW - 400 * DAY, NOW - 40 * DAY, NOW - DAY, NOW, NOW + MINUTE]
    for opened in moments[::2] + moments[1::2]:
        end_one(store, opened)

    assert [row.opened for row in ended_rows(index)] == moments[::-1]
    assert [row.opened for row in ended_rows(index, TODAY, TODAY)] == [NOW + MINUTE, NOW]
    assert ended_rows(index, TODAY - 2 * DAY, TODAY - 2 * DAY) == []
    assert [row.opened for row in ended_rows(index, TODAY - DAY, TODAY - 40 * DAY)] == [NOW - DAY, NOW - 40 * DAY]


def test_a_list_goes_on_behind_each_position_without_a_gap_and_without_repeating(
    store: RunStore, index: RunIndex
) -> None:
    moments = [NOW, NOW - MINUTE, NOW - 2 * MINUTE, NOW - DAY]
    for opened in moments:
        end_one(store, opened)

    for at_once in (1, 2):
        seen: list[datetime] = []
        for rows in index.ended_rows(TODAY, at_once=at_once):
            seen += [row.opened for row in rows.rows]
            later = [row.opened for row in ended_rows(index, after=rows.position)]
            assert seen + later == moments


def test_a_list_goes_on_although_its_day_was_cleared_away_meanwhile(
    store: RunStore, index: RunIndex, container: ContainerClient
) -> None:
    for opened in (NOW, NOW - MINUTE, NOW - DAY):
        end_one(store, opened)
    position = next(index.ended_rows(TODAY, at_once=1)).position
    for name in names(container, "ended/2026/11/02/"):
        container.delete_blob(name)

    assert [row.opened for row in ended_rows(index, after=position)] == [NOW - DAY]


@pytest.mark.parametrize("text", ["x", "~", "2026-11-02", "2026-11-02~", "2026-13-02~x", "0001-01-01~-"])
def test_what_is_no_position_begins_at_the_newest(store: RunStore, index: RunIndex, text: str) -> None:
    end_one(store, NOW)

    assert len(ended_rows(index, after=text)) == 1


def test_failures_are_listed_alone(store: RunStore, index: RunIndex) -> None:
    for number, outcome in enumerate(Outcome):
        end_one(store, NOW + number * MINUTE, outcome)

    failed = {row.outcome for row in ended_rows(index, only_failed=True)}

    assert failed == set(Outcome) - {Outcome.SUCCEEDED, Outcome.WITHDRAWN, Outcome.CANCELLED_BY_PERSON}
    assert len(ended_rows(index)) == len(Outcome)


def test_the_newest_ended_runs_cost_the_same_calls_however_many_there_are(
    store: RunStore, index: RunIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = []
    for many in (3, 9):
        for number in range(many):
            end_one(store, NOW - number * MINUTE)
        with monkeypatch.context() as patched:
            asked = spied_on(patched)
            rows = next(index.ended_rows(TODAY, at_once=3))
        assert len(rows.rows) == 3
        costs += [
            (request.method, "comp=list&prefix=ended%2F2026%2F11%2F02%2F" in str(request.url)) for request in asked
        ]

    assert costs == [("GET", True)] * 2


HOSTILE = "<script>\"'&  two  spaces\tGröße 😀 \u202e"


def test_a_row_tells_of_an_open_run_what_its_record_tells(store: RunStore, index: RunIndex) -> None:
    run = a_run()
    store.create(run)
    changed = replace(head(store), company="USMF", data_project=HOSTILE, due=NOW + MINUTE, state=State.EXECUTING)
    changed = replace(changed, file=replace(run.file, name=HOSTILE), problem=Problem(text=HOSTILE, since=NOW))
    store.save(replace(changed, submissions=(Submission(execution_id="Project-1", chosen=NOW),)))

    (row,) = index.open_rows()

    first = store.head("in-1")
    assert first is not None
    assert (row.address, row.run_id, row.file_name) == (first.address, first.run_id, first.file_name)
    assert (row.file_name, row.data_project, row.words) == (HOSTILE, HOSTILE, HOSTILE)
    assert (row.run_id, row.lane, row.execution_id, row.company) == (run.run_id, "in-1", "Project-1", "USMF")
    assert (row.state, row.outcome, row.needs_person) == (State.EXECUTING, None, True)
    assert (row.opened, row.due, row.ended) == (NOW, NOW + MINUTE, None)
    assert row.address == address_of(changed)


def test_the_longest_texts_fit_into_a_row(store: RunStore, index: RunIndex) -> None:
    longest = "😀" * 4_000
    texts: dict[str, Any] = dict.fromkeys(("flow_name", "data_project", "company", "reason"), longest)
    submission = Submission(execution_id=longest, chosen=NOW)
    over = end_one(store, NOW, Outcome.FAILED, file=FileFacts(name=longest), submissions=(submission,), **texts)

    (row,) = ended_rows(index)

    assert row.file_name.startswith("😀" * 250)
    assert row.file_name.endswith("…")
    assert store.run_at(row.address) == over


def test_a_run_is_found_by_its_address_while_it_is_open_and_when_it_has_ended(store: RunStore, index: RunIndex) -> None:
    key = "a/b%2F?#😀"
    store.create(a_run(key=key))
    (row,) = index.open_rows()

    assert store.run_at(row.address) == head(store)

    over = replace(head(store), ended=NOW + MINUTE, outcome=Outcome.SUCCEEDED)
    store.end(over)
    (ended,) = ended_rows(index)
    assert store.run_at(ended.address) == store.run_at(address_of(over)) == over


def test_the_address_of_an_open_run_stays_good_after_its_end(store: RunStore) -> None:
    store.create(a_run(key="item"))
    first = head(store)
    store.end(replace(first, ended=NOW, outcome=Outcome.SUCCEEDED))
    assert store.create(a_run(key="item"))  # the same file in the same place, once more

    found = store.run_at(address_of(first))

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
