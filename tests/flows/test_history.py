"""What a person sees of the runs: figures, filters, pages, and one run as the way that it went."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from local_cloud.finance_operations.knobs import Speed
from operations import list_view
from operations.filters import NOT_SUCCEEDED, Filters, InvalidRequest
from operations.labels import Place
from shared import execution
from shared.clients.fno.row_errors import RowError
from shared.runs.addresses import address_of
from shared.runs.record import run_from_json, run_to_json
from shared.runs.rows import Pause
from shared.runs.run import Run
from shared.runs.states import Outcome, State
from tests.builders import NOON, a_run
from tests.flows.conftest import MakeWorld
from tests.flows.trouble import begin, import_file, shown
from tests.packages import build_package
from tests.world import World

SECOND = timedelta(seconds=1)


# The list


def test_what_runs_is_shown_however_many_wait_or_need_a_person(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_view, "OPEN_SHOWN", 3)
    monkeypatch.setattr(list_view, "OTHERS_SHOWN", 1)
    world.wake(begin(world, *(f"USMF_{number}.zip" for number in range(6))))

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


@pytest.mark.quick(cases=0)
def test_how_long_a_run_waited_and_ran_is_told_apart(make_world: MakeWorld) -> None:
    world = make_world(speed=Speed(seconds_per_execution=60.0))
    begin(world, "USMF_0.zip", "USMF_1.zip")
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
    lane = begin(world, "USMF_0.zip", "USMF_1.zip", "USMF_2.zip")
    world.wake(lane)

    def words() -> list[tuple[Place, Place]]:
        lines = list_view.list_runs(Filters(), "", world.services).under_way
        return [(line.place, shown(world, line.run.address).place) for line in lines]

    under_way = words()
    world.services.store.pause_lane(Pause(lane=lane, by="Anna", why="to see", since=NOON))

    assert under_way == [(place, place) for place in (Place.RUNNING, Place.WAITING, Place.WAITING)]
    assert words() == [(place, place) for place in (Place.PAUSED, Place.WAITING, Place.WAITING)]


def test_a_position_that_is_none_is_refused_instead_of_the_first_page(world: World) -> None:
    with pytest.raises(InvalidRequest, match="behind"):
        list_view.list_runs(Filters(), "nonsense", world.services)


def test_a_flow_that_left_the_settings_can_be_filtered_by_as_long_as_it_has_runs(world: World) -> None:
    ended(world, 1, flow_name="vendors")

    assert numbers(list_view.list_runs(Filters(flow="Vendors"), "", world.services)) == [1]
    with pytest.raises(InvalidRequest, match="'customers' is not a flow in the settings"):
        list_view.list_runs(Filters(flow="customers"), "", world.services)


def ended(world: World, number: int, outcome: Outcome = Outcome.SUCCEEDED, **facts: Any) -> Run:
    """Keep a run in the history that was opened so many minutes before now."""
    opened = world.clock.now() - timedelta(minutes=number)
    over = a_run(
        run_id=f"{number:012x}",
        opened=opened,
        ended=opened + SECOND,
        state=State.FILED,
        outcome=outcome,
        **{"company": "USMF", **facts},
    )
    store = world.services.store
    store.create(over)
    row = store.head("in-1")
    assert row is not None
    store.end(store.read_row(row))
    return over


def numbers(listed: list_view.RunList) -> list[int]:
    return [int(line.run.run_id, 16) for line in listed.ended]


def test_the_history_is_shown_page_by_page_and_a_filter_looks_no_further_than_is_bearable(world: World) -> None:
    world.monkeypatch.setattr(world.clock, "present", datetime(2026, 11, 2, 0, 5, tzinfo=UTC))  # across midnight
    for number in range(12):
        ended(world, number, company="DEMF" if number == 9 else "USMF")
    world.monkeypatch.setattr(list_view, "PAGE", 4)
    world.monkeypatch.setattr(list_view, "AT_ONCE_FILTERED", 3)
    world.monkeypatch.setattr(list_view, "LOOKED_THROUGH", 6)

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


def test_a_failed_import_shows_its_rows_its_links_and_every_call_with_its_request_id(world: World) -> None:
    import_file(world, "USMF_Rows_001.zip", build_package(rows=(("A", "Alpha"), ("B", "#ERROR"), ("C", "#ERROR"))))
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

    run = execution.record_details(a_run(), rows, "")

    assert run.failed_rows_total == 5_000
    assert [row.record_id for row in run.failed_rows] == [str(number) for number in range(100)]
    assert run.failed_rows[0].message.startswith("https://a.blob.core.windows.net/x?sig=*** xxx")
    assert len(run.failed_rows[0].message) == 500
    assert run_from_json(run_to_json(run)) == run
