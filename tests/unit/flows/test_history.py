"""What a person sees of the runs: figures, filters, pages, and one run as the way that it went."""

import json
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from local_cloud.faults import Fault, status
from local_cloud.finance_operations.knobs import Speed
from operations import labels, list_view, run_view
from operations.filters import NOT_SUCCEEDED, Filters, InvalidRequest, read_filters
from operations.labels import Place
from operations.run_view import Mark, RunAhead
from shared import execution
from shared.clients.fno.row_errors import RowError
from shared.exports import steps as export_steps
from shared.imports import steps as import_steps
from shared.runs.record import run_from_json, run_to_json
from shared.runs.run import Run
from shared.runs.states import Outcome, State
from shared.runs.store import Pause, RunRow, address_of
from shared.runs.values import FileFacts, Problem, RemoteCallRecord, StepRecord
from tests.builders import NOON, a_row, a_run
from tests.packages import build_package
from tests.unit.flows.conftest import MakeWorld
from tests.world import World

SECOND = timedelta(seconds=1)


# The list


def test_who_needs_a_person_comes_first_then_what_runs_then_what_waits_by_its_turn() -> None:
    rows = [
        a_row(run_id="a", lane="in-1", opened=NOON),
        a_row(run_id="b", lane="in-1", opened=NOON + SECOND),
        a_row(run_id="c", lane="in-2", opened=NOON + 2 * SECOND, needs_person=True),
        a_row(run_id="d", lane="in-2", opened=NOON + 3 * SECOND),
        a_row(run_id="e", lane="in-3", opened=NOON + 4 * SECOND),
    ]

    lines = [(line.run.run_id, line.place, line.turn) for line in list_view.sort_open(rows)]

    assert lines == [
        ("c", Place.NEEDS_PERSON, 0),
        ("a", Place.RUNNING, 0),
        ("e", Place.RUNNING, 0),
        ("b", Place.WAITING, 1),
        ("d", Place.WAITING, 1),
    ]


def test_files_wait_in_the_order_in_which_the_lane_takes_them_up() -> None:
    """Of one second by name, whatever the part of the second."""
    rows = [
        a_row(run_id="a", state=State.EXECUTING, place="20261102T123009000000Z"),
        a_row(run_id="b", file_name="USMF_3.zip", place="20261102T123000000000Z"),
        a_row(run_id="c", file_name="USMF_2.zip", place="20261102T123000500000Z"),
        a_row(run_id="d", file_name="USMF_1.zip", place="20261102T123001000000Z", opened=NOON - 9 * SECOND),
    ]

    lines = [(line.run.run_id, line.turn) for line in list_view.sort_open(rows)]

    assert lines == [("a", 0), ("c", 1), ("b", 2), ("d", 3)]


def test_what_runs_is_shown_however_many_wait_or_need_a_person(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_view, "OPEN_SHOWN", 3)
    monkeypatch.setattr(list_view, "OTHERS_SHOWN", 1)
    for number in range(6):
        world.put(f"USMF_{number}.zip")
    world.look()
    world.wake(next(iter(world.heads())))

    listed = list_view.list_runs(Filters(), "", world.services)

    assert [(line.run.file_name, line.place, line.turn) for line in listed.under_way] == [
        ("USMF_0.zip", Place.RUNNING, 0),
        ("USMF_1.zip", Place.WAITING, 1),
        ("USMF_2.zip", Place.WAITING, 2),
    ]
    assert listed.under_way_total == 6


def test_older_runs_are_offered_only_where_there_are_some(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.clock, "present", datetime(2026, 11, 2, 12, 0, tzinfo=UTC))
    monkeypatch.setattr(list_view, "PAGE", 2)
    monkeypatch.setattr(list_view, "AT_ONCE_FILTERED", 2)
    for number in range(4):
        ended(world, number, company="DEMF" if number < 2 else "USMF")
    ended(world, 60 * 24 * 3)

    pages = [list_view.list_runs(Filters(), "", world.services)]
    while pages[-1].position:
        pages.append(list_view.list_runs(Filters(), pages[-1].position, world.services))
    demf = list_view.list_runs(Filters(company="DEMF"), "", world.services)
    usmf = list_view.list_runs(Filters(company="USMF"), "", world.services)

    assert list(map(numbers, pages)) == [[0, 1], [2, 3], [60 * 24 * 3]]
    assert (numbers(demf), demf.position) == ([0, 1], "")
    assert numbers(usmf) == [2, 3]
    assert numbers(list_view.list_runs(Filters(company="USMF"), usmf.position, world.services)) == [60 * 24 * 3]


def test_how_long_a_run_waited_and_ran_is_told_apart(make_world: MakeWorld) -> None:
    world = make_world(speed=Speed(seconds_per_execution=60.0))
    for number in range(2):
        world.put(f"USMF_{number}.zip")
    world.look()
    world.run_until_quiet()

    first, second = sorted(
        list_view.list_runs(Filters(), "", world.services).ended, key=lambda line: line.run.file_name
    )

    assert first.waited is not None
    assert first.waited < 5 * SECOND
    assert first.took is not None
    assert second.waited is not None
    assert second.took is not None
    assert 60 * SECOND <= second.waited <= second.took - 60 * SECOND
    view = shown(world, second.run.address)
    assert (view.waited, view.took) == (second.waited, second.took)


def test_of_a_run_of_an_older_version_the_whole_time_is_told(world: World) -> None:
    ended(world, 1)

    (line,) = list_view.list_runs(Filters(), "", world.services).ended

    assert (line.took, line.waited) == (SECOND, None)


def test_a_run_has_the_same_word_in_the_list_and_on_its_page(world: World) -> None:
    for number in range(3):
        world.put(f"USMF_{number}.zip")
    world.look()
    (lane,) = world.heads()
    world.wake(lane)

    def words() -> list[tuple[Place, Place]]:
        lines = list_view.list_runs(Filters(), "", world.services).under_way
        return [(line.place, shown(world, line.run.address).place) for line in lines]

    under_way = words()
    world.services.store.pause(Pause(lane=lane, by="Anna", why="to see", since=NOON))

    assert under_way == [(place, place) for place in (Place.RUNNING, Place.WAITING, Place.WAITING)]
    assert words() == [(place, place) for place in (Place.PAUSED, Place.WAITING, Place.WAITING)]


def test_the_head_of_a_paused_lane_is_paused_and_counts_as_waiting() -> None:
    rows = [a_row(run_id="a"), a_row(run_id="b"), a_row(run_id="c", lane="in-2")]

    lines = list_view.sort_open(rows, frozenset({"in-1"}))

    assert {line.run.run_id: line.place for line in lines} == {
        "a": Place.PAUSED,
        "b": Place.WAITING,
        "c": Place.RUNNING,
    }
    assert list_view.count_figures(lines, 0, failed_today_or_more=False).waiting == 2


def test_the_tiles_count_what_is_open_and_name_the_one_that_has_waited_longest() -> None:
    rows = [
        a_row(run_id=f"{lane}{age}", lane=f"in-{lane}", opened=NOON - age * SECOND) for lane in "xy" for age in (9, 5)
    ]

    tiles = list_view.count_figures(list_view.sort_open(rows), 3, failed_today_or_more=True)

    assert (tiles.running, tiles.waiting, tiles.needs_person) == (2, 2, 0)
    assert (tiles.failed_today, tiles.failed_today_or_more) == (3, True)
    assert tiles.oldest_waiting is not None
    assert tiles.oldest_waiting.opened == NOON - 5 * SECOND


FAILED = a_row(state=State.FILED, outcome=Outcome.PARTIALLY_SUCCEEDED, ended=NOON)


@pytest.mark.parametrize(
    ("query", "row", "fits"),
    [
        ({}, a_row(), True),
        ({"flow": "import"}, a_row(), True),
        ({"flow": "export"}, a_row(), False),
        ({"flow": "Customers In"}, a_row(), True),
        ({"company": "usmf"}, a_row(), True),
        ({"company": "USM"}, a_row(), False),
        ({"project": "customers"}, a_row(), True),
        ({"project": "vendors"}, a_row(), False),
        ({"state": "found"}, a_row(), True),
        ({"state": "filed"}, a_row(), False),
        ({"state": "Found"}, a_row(), True),
        ({"state": "uploaded"}, a_row(state=State.CLAIMED), True),
        ({"outcome": NOT_SUCCEEDED}, FAILED, True),
        ({"outcome": "PartiallySucceeded"}, FAILED, True),
        ({"outcome": "partiallysucceeded"}, FAILED, True),
        ({"outcome": "Failed"}, FAILED, False),
        ({"outcome": NOT_SUCCEEDED}, a_row(), False),
        ({"outcome": NOT_SUCCEEDED}, a_row(outcome=Outcome.SUCCEEDED), False),
        ({"day": "2026-11-02"}, a_row(), True),
        ({"day": "2026-11-03"}, a_row(), False),
        ({"text": "customers_0"}, a_row(), True),
        ({"text": "-20261102"}, a_row(), True),
        ({"text": "0123456789AB"}, a_row(), True),
        ({"text": " customers_0 "}, a_row(), True),
        ({"text": "vendors"}, a_row(), False),
        ({"company": "USMF", "text": "vendors"}, a_row(), False),
    ],
)
def test_a_run_is_shown_where_it_fits_every_filter(query: dict[str, str], row: RunRow, fits: bool) -> None:
    assert read_filters(query).match(row) is fits


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"state": "nonsense"}, "state: 'nonsense' is not a state. Use one of: found, claimed,"),
        ({"outcome": "fialed"}, "outcome: 'fialed' is not an outcome. Use one of: NotSucceeded, Succeeded,"),
        ({"day": "31.12.2020"}, "day: '31.12.2020' is not a day. Write it as YYYY-MM-DD"),
        ({"text": "x", "day": "yesterday", "state": "?"}, "state: '?' is not a state."),
        ({"text": "x", "day": "yesterday", "state": "?"}, "day: 'yesterday' is not a day."),
    ],
)
def test_a_filter_that_cannot_be_read_is_refused_with_what_is_allowed(query: dict[str, str], told: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(told)):
        read_filters(query)


def test_a_position_that_is_none_is_refused_instead_of_the_first_page(world: World) -> None:
    with pytest.raises(InvalidRequest, match="behind"):
        list_view.list_runs(Filters(), "nonsense", world.services)


def test_only_filters_that_failures_alone_can_fit_look_through_failures_alone() -> None:
    assert Filters(outcome=NOT_SUCCEEDED).only_failed
    assert Filters(outcome="Rejected").only_failed
    assert not Filters(outcome="Succeeded").only_failed
    assert not Filters().only_failed


def test_a_state_in_which_no_run_ends_needs_no_look_through_the_history() -> None:
    assert Filters(state=State.EXECUTING).no_ended
    assert Filters(state=State.FINISHED).no_ended
    assert not Filters(state=State.FILED).no_ended
    assert not Filters().no_ended


def ended(world: World, number: int, outcome: Outcome = Outcome.SUCCEEDED, company: str = "USMF") -> Run:
    """Keep a run in the history that was opened so many minutes before now."""
    opened = world.clock.now() - timedelta(minutes=number)
    over = a_run(
        run_id=f"{number:012x}",
        opened=opened,
        ended=opened + SECOND,
        state=State.FILED,
        outcome=outcome,
        company=company,
    )
    store = world.services.store
    store.create(over)
    row = store.head("in-1")
    assert row is not None
    store.end(store.read_row(row))
    return over


def numbers(listed: list_view.RunList) -> list[int]:
    return [int(line.run.run_id, 16) for line in listed.ended]


def shown(world: World, address: str) -> run_view.RunView:
    view = run_view.find_run(address, world.services)
    assert isinstance(view, run_view.RunView)
    return view


def test_the_history_is_shown_page_by_page_and_a_filter_looks_no_further_than_is_bearable(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.clock, "present", datetime(2026, 11, 2, 0, 5, tzinfo=UTC))  # across midnight
    for number in range(12):
        ended(world, number, company="DEMF" if number == 9 else "USMF")
    monkeypatch.setattr(list_view, "PAGE", 4)
    monkeypatch.setattr(list_view, "AT_ONCE_FILTERED", 3)
    monkeypatch.setattr(list_view, "LOOKED_THROUGH", 6)

    seen: list[int] = []
    position = ""
    while position or not seen:
        page = list_view.list_runs(Filters(), position, world.services)
        seen, position = seen + numbers(page), page.position
    filtered = list_view.list_runs(Filters(company="DEMF"), "", world.services)
    further = list_view.list_runs(Filters(company="DEMF"), filtered.position, world.services)

    assert seen == list(range(12))
    assert numbers(filtered) == []
    assert filtered.looked_back_to == world.clock.now() - timedelta(minutes=5)
    assert numbers(further) == [9]


def test_the_failures_of_today_are_counted_and_can_be_listed_alone(world: World) -> None:
    world.clock.present = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
    ended(world, 1, Outcome.FAILED)
    ended(world, 2, Outcome.SUCCEEDED)
    ended(world, 3, Outcome.REJECTED)
    ended(world, 60 * 24, Outcome.FAILED)

    listed = list_view.list_runs(Filters(outcome=NOT_SUCCEEDED), "", world.services)

    assert (listed.figures.failed_today, listed.figures.failed_today_or_more) == (2, False)
    assert numbers(listed) == [1, 3, 60 * 24]
    assert numbers(list_view.list_runs(Filters(day=date(2026, 11, 1)), "", world.services)) == [60 * 24]


# One run


def test_every_step_and_every_state_has_its_words() -> None:
    steps = {step.__name__ for table in (import_steps.STEPS, export_steps.STEPS) for step in table.values()}

    of_older_versions = {"upload", "watch"}  # in records that they have written
    assert set(labels.STEP_TITLE) == steps | of_older_versions
    assert set(labels.STATE_TEXT) == set(State)
    assert set(labels.WAITS_FOR) == {*import_steps.STEPS, *export_steps.STEPS}


def test_a_step_tells_how_long_the_run_had_waited_for_it() -> None:
    first = StepRecord(step="claim", state=State.FOUND, began=NOON, took_s=2.0)
    second = StepRecord(step="prepare", state=State.CLAIMED, began=NOON + 10 * SECOND, took_s=0.5)

    steps = run_view.view_run(a_run(steps=(first, second)), None).steps

    assert [(step.title, step.waited) for step in steps] == [
        ("Move the file to Processing", None),
        ("Check the package, upload it to F&O, reserve the data project", 8 * SECOND),
    ]


def marks(run: Run) -> list[tuple[str, Mark]]:
    return [(step.record.step, step.mark) for step in run_view.view_run(run, None).steps]


def a_step(step: str, state: State, **facts: Any) -> StepRecord:
    return replace(StepRecord(step=step, state=state, began=NOON, took_s=1.0), **facts)


def test_a_step_that_led_nowhere_is_no_step_that_was_done() -> None:
    run = a_run(
        steps=(
            a_step("claim", State.FOUND, error="it is locked", times=15),
            a_step("claim", State.FOUND),
            a_step("prepare", State.CLAIMED),  # another run has the data project
            a_step("prepare", State.CLAIMED, error="it is busy"),
            a_step("check_now", State.CLAIMED, by="Anna"),
            a_step("prepare", State.CLAIMED),
            a_step("submit", State.SUBMITTING, error="F&O is busy"),
            a_step("prepare", State.CLAIMED),
            a_step("submit", State.SUBMITTING),
        ),
        state=State.EXECUTING,
    )

    assert [mark for _, mark in marks(run)] == [
        Mark.NOT_YET,
        Mark.DONE,
        Mark.NOT_YET,
        Mark.NOT_YET,
        Mark.PERSON,
        Mark.DONE,
        Mark.NOT_YET,
        Mark.DONE,
        Mark.DONE,
    ]


def test_a_step_that_ends_a_run_badly_or_needs_a_person_has_failed() -> None:
    rejected = a_run(steps=(a_step("prepare", State.CLAIMED, error="no package"),), state=State.FINISHED)
    needs = a_run(
        steps=(a_step("claim", State.FOUND, error="403"),), problem=Problem(text="403", since=NOON), state=State.FOUND
    )
    gone = a_run(steps=(a_step("claim", State.FOUND),), state=State.WITHDRAWN, outcome=Outcome.WITHDRAWN)

    assert [marks(run)[0][1] for run in (rejected, needs, gone)] == [Mark.FAILED, Mark.FAILED, Mark.NOT_YET]


def test_a_step_of_an_older_version_is_told_as_it_was() -> None:
    run = a_run(steps=(a_step("upload", State.CLAIMED), a_step("submit", State.SUBMITTING)), state=State.EXECUTING)

    assert [mark for _, mark in marks(run)] == [Mark.DONE, Mark.DONE]


def test_a_poll_that_ended_partially_succeeded_and_a_refused_call_are_told_in_the_steps(world: World) -> None:
    world.faults.add(Fault("finance_operations", "POST", r"\.ImportFromPackage$", 1, 2, do=status(503)))
    world.put("USMF_Marks_001.zip", build_package(rows=(("A", "Alpha"), ("B", "#ERROR"))))
    world.look()
    world.run_until_quiet()
    (run,) = world.ended_runs()

    steps = shown(world, address_of(run)).steps

    submits = [step for step in steps if step.record.step == "submit"]
    assert [step.mark for step in submits][-1] is Mark.DONE
    assert {step.mark for step in submits[:-1]} == {Mark.NOT_YET}
    assert submits[0].refusals == ("ImportFromPackage 503",)
    (poll,) = [step for step in steps if step.record.step == "poll"]
    assert (poll.mark, poll.fo_status) == (Mark.FAILED, "F&O ended it as PartiallySucceeded")


def test_what_was_refused_stays_in_a_step_that_was_counted() -> None:
    refused = RemoteCallRecord(
        service="F&O", operation="GetExecutionSummaryStatus", status=400, request_id="", took_s=0.1, began=NOON
    )
    run = a_run()
    for call in (refused, replace(refused, status=200), *(replace(refused, status=500) for _ in range(9))):
        run = run.with_step(a_step("poll", State.EXECUTING, calls=(call,)))

    (step,) = run_view.view_run(run, None).steps
    assert step.refusals == ("GetExecutionSummaryStatus 500",)
    assert len(step.record.calls) == 6
    assert step.record.times == 11


def test_a_run_behind_another_waits_for_its_turn() -> None:
    ahead = RunAhead(address="1-2-3", run_id="ffffffffffff", file_name="USMF_First_001.zip")

    waits = run_view.view_run(a_run(), ahead).next

    assert waits is not None
    assert (waits.waits_for, waits.run_ahead, waits.next_check) == ("its turn", ahead, None)


def test_a_run_whose_step_failed_waits_for_another_try_at_its_due_time() -> None:
    failed = StepRecord(step="claim", state=State.FOUND, began=NOON, took_s=2.0, error="throttled")
    run = a_run(steps=(failed,), attempts=3, due=NOON + 8 * SECOND)

    waits = run_view.view_run(run, None).next

    assert waits is not None
    assert waits.title == "Move the file to Processing"
    assert (waits.waits_for, waits.next_check) == ("another try; 3 have failed", NOON + 8 * SECOND)


def test_a_run_that_has_ended_waits_for_nothing() -> None:
    over = a_run(state=State.FILED, ended=NOON + 90 * SECOND, outcome=Outcome.SUCCEEDED)

    view = run_view.view_run(over, None)

    assert (view.next, view.took) == (None, 90 * SECOND)


@pytest.mark.parametrize("address", ["javascript:alert(1)", "data:text/html,x", "//elsewhere", "ftp://x", ""])
def test_an_address_that_is_no_web_address_is_no_link(address: str) -> None:
    run = a_run(file=FileFacts(name="x.zip", web_url=address), summary_url=address, report_url=address)

    assert run_view.view_run(run, None).links == ()


def test_a_failed_import_shows_its_rows_its_links_and_every_call_with_its_request_id(world: World) -> None:
    world.put("USMF_Rows_001.zip", build_package(rows=(("A", "Alpha"), ("B", "#ERROR"), ("C", "#ERROR"))))
    world.look()
    world.run_until_quiet()
    (run,) = world.ended_runs()

    view = shown(world, address_of(run))

    assert (view.outcome, view.state_text) == (Outcome.PARTIALLY_SUCCEEDED, "The file is in /Error.")
    assert [row.record_id for row in view.failed_rows] == ["B", "C"]
    assert view.failed_rows[0].field == "DESCRIPTION"
    assert "#ERROR" in view.failed_rows[0].message
    assert view.failed_rows_total == 2
    links = dict(view.links)
    assert links["The file in OneDrive"].endswith("/Error/USMF_Rows_001.zip")
    assert links["The report in OneDrive"].endswith("/Error/USMF_Rows_001.zip.report.txt")
    assert links["Execution summary in F&O"].startswith(world.fno.url)
    calls = [call for step in view.steps for call in step.record.calls]
    assert "ImportFromPackage" in [call.operation for call in calls]
    assert all(call.request_id for call in calls if call.service in ("Microsoft Graph", "F&O"))


def test_of_very_many_row_errors_a_record_keeps_the_first_and_the_count() -> None:
    message = "https://a.blob.core.windows.net/x?sig=abc " + "x" * 1_000
    rows = [RowError(record_id=str(number), field="NAME", message=message) for number in range(5_000)]

    run = execution.with_details(a_run(), rows, "")

    assert run.failed_rows_total == 5_000
    assert [row.record_id for row in run.failed_rows] == [str(number) for number in range(100)]
    assert run.failed_rows[0].message.startswith("https://a.blob.core.windows.net/x?sig=*** xxx")
    assert len(run.failed_rows[0].message) == 500
    assert run_from_json(run_to_json(run)) == run


def test_a_record_that_was_written_before_rows_and_people_were_kept_can_be_read() -> None:
    step = StepRecord(step="claim", state=State.FOUND, began=NOON, took_s=2.0)
    record = json.loads(run_to_json(a_run(steps=(step,))))
    for name in ("failed_rows", "failed_rows_total", "summary_url", "report_url", "again", "again_of", "again_number"):
        del record[name]
    del record["file"]["web_url"]
    for name in ("by", "why"):
        del record["steps"][0][name]

    assert run_from_json(json.dumps(record)) == a_run(run_id=record["run_id"], steps=(step,))


def test_a_run_under_way_is_shown_with_what_it_waits_for(world: World) -> None:
    world.put("USMF_First_001.zip")
    world.put("USMF_Second_002.zip")
    world.look()
    lane = next(iter(world.heads()))
    world.wake(lane)
    listed = list_view.list_runs(Filters(), "", world.services)

    pages_shown = [shown(world, line.run.address) for line in listed.under_way]

    waits = {view.next.waits_for for view in pages_shown if view.next}
    assert waits == {"F&O to finish the execution", "its turn"}
    assert (listed.figures.running, listed.figures.waiting) == (1, 1)
