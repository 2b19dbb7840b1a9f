"""Each moment of the schedule is served at most once, and none is lost: late, doubled, early and half-done ticks."""

import json
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from operations import actions, pages
from operations.actions import Requester
from operations.web import PageRequest
from shared.azure_storage.checkpoints import Checkpoint
from shared.errors import TryAgain
from shared.exports import schedule as export_schedule
from shared.runs.addresses import address_of
from shared.runs.run import Run
from tests.faults.interception import PowerCut
from tests.flows.conftest import MakeWorld
from tests.flows.trouble import shown
from tests.world import World

ANNA: Final = Requester(by="anna@contoso.com", why="it is needed now")
HOUR: Final = timedelta(hours=1)
TEN: Final = timedelta(minutes=10)
NOON: Final = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def hourly(make_world: MakeWorld) -> MakeWorld:
    """Make a world at noon, with a number of exports that are due every hour, on the hour."""

    def make(exports: int = 1, **more: object) -> World:
        flows = [
            {"name": f"flow {n}", "outputFolder": "Output", "dataProject": f"Project{n}", "company": "USMF", **more}
            for n in range(exports)
        ]
        settings = {"INTEGRATIONS": json.dumps({"exports": flows}), "OUTBOUND_SCHEDULE": "0 0 * * * *"}
        return make_world(settings=settings, at=NOON)

    return make


@pytest.fixture
def world(hourly: MakeWorld) -> World:
    """A world at noon with one export."""
    return hourly()


def end_all(world: World) -> None:
    """Let a person end the exports that are open, long enough ago that the next one does not wait because of it."""
    for run in world.open_runs():
        actions.cancel(address_of(run), ANNA, world.services)
        world.wake(run.lane)
    assert world.open_runs() == []


def serve_noon(world: World) -> None:
    """Let the export of noon be made and end."""
    world.start_exports()
    end_all(world)


def all_runs(world: World) -> list[Run]:
    return [*world.ended_runs(), *world.all_open_runs()]


def served(world: World) -> list[tuple[str, datetime | None]]:
    """Return which flow has served which moment, in no order."""
    return sorted(((run.flow_name, run.scheduled) for run in all_runs(world)), key=str)


def events(caplog: pytest.LogCaptureFixture, name: str) -> list[dict[str, object]]:
    found = [json.loads(record.getMessage()) for record in caplog.records if record.name == "onedrive_fo"]
    return [event for event in found if event["event"] == name]


# -- once


def test_a_tick_that_comes_twice_serves_its_moment_once(world: World) -> None:
    assert [world.start_exports(), world.start_exports()] == [1, 0]
    end_all(world)
    world.clock.advance(20 * 60)

    assert world.start_exports() == 0
    assert served(world) == [("flow 0", NOON)]


def test_a_tick_that_comes_a_moment_early_serves_the_moment_that_it_is_for(world: World) -> None:
    serve_noon(world)

    world.clock.present = NOON + HOUR - timedelta(milliseconds=40)
    assert world.start_exports(next_tick=NOON + HOUR) == 1
    end_all(world)
    world.clock.present = NOON + HOUR + TEN
    assert world.start_exports() == 0

    assert served(world) == [("flow 0", NOON), ("flow 0", NOON + HOUR)]


def test_of_many_moments_that_were_missed_the_latest_is_served(world: World) -> None:
    serve_noon(world)
    world.clock.present = NOON + 7 * HOUR + TEN

    assert [world.start_exports(), world.start_exports()] == [1, 0]
    assert served(world) == [("flow 0", NOON), ("flow 0", NOON + 7 * HOUR)]


# -- late


def test_a_late_export_says_so_in_its_record_on_its_page_and_in_the_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.clock.present = NOON + HOUR + TEN
    with caplog.at_level("INFO", "onedrive_fo"):
        world.start_exports()

    (run,) = world.open_runs()
    assert (run.scheduled, run.late_s) == (NOON + HOUR, 600)
    (late,) = events(caplog, "export.late")
    assert late["late_s"] == 600
    assert shown(world, address_of(run)).late == TEN
    assert "opened 10 min 0 s late, because the app was not running" in page_of(run, world)


def test_an_export_in_time_says_nothing_of_being_late(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.clock.advance(3)

    with caplog.at_level("INFO", "onedrive_fo"):
        world.start_exports()

    (run,) = world.open_runs()
    assert (run.scheduled, run.late_s) == (NOON, None)
    assert events(caplog, "export.late") == []
    assert "Scheduled for" in page_of(run, world)
    assert " late, because" not in page_of(run, world)


def page_of(run: Run, world: World) -> str:
    return str(pages.run_page(shown(world, address_of(run)), PageRequest(query={})).body)


def test_a_late_export_does_not_put_the_next_one_off(hourly: MakeWorld) -> None:
    world = hourly(everySeconds=3600)
    world.clock.present = NOON + timedelta(minutes=50)
    world.start_exports()
    end_all(world)
    world.clock.present = NOON + HOUR + timedelta(milliseconds=5)

    assert world.start_exports() == 1


# -- half done


def cut_off(world: World, *, at: int) -> None:
    """Let the timer tick, and the power fail just before so many exports are open."""
    create, left = world.services.store.create, [at]

    def failing(run: Run) -> bool:
        left[0] -= 1
        if left[0] == 0:
            raise PowerCut
        return create(run)

    with world.monkeypatch.context() as patch:
        patch.setattr(world.services.store, "create", failing)
        with pytest.raises(PowerCut):
            world.start_exports()


@pytest.mark.quick(cases=1)
@pytest.mark.parametrize("have_ended", [False, True])
def test_a_tick_that_was_cut_off_is_ended_by_the_next_one_and_no_export_is_made_twice(
    hourly: MakeWorld, *, have_ended: bool
) -> None:
    world = hourly(10)
    cut_off(world, at=4)
    assert len(world.open_runs()) == 3
    if have_ended:
        end_all(world)
    opened_before = set(world.heads())
    world.clock.advance(20)
    world.services = world.new_process()

    assert world.start_exports() == 7

    assert served(world) == [(f"flow {n}", NOON) for n in range(10)]
    assert {lane for lane, _ in world.wakes_of_lanes()} == set(world.heads()) - opened_before
    end_all(world)
    assert world.start_exports() == 0


def test_an_export_whose_host_died_while_it_was_opened_says_how_late_it_is(world: World) -> None:
    cut_off(world, at=1)
    world.clock.advance(600)

    assert world.start_exports() == 1

    (run,) = world.open_runs()
    assert (run.scheduled, run.late_s, run.due) == (NOON, 600, NOON + TEN)


def test_of_two_hosts_that_end_a_tick_that_was_cut_off_one_opens_the_export(world: World) -> None:
    cut_off(world, at=1)
    other, create = world.new_process(), world.services.store.create
    opened_by_other: list[int] = []

    def be_overtaken(run: Run) -> bool:
        opened_by_other.append(export_schedule.start_exports(other))
        return create(run)

    world.monkeypatch.setattr(world.services.store, "create", be_overtaken)

    assert world.start_exports() == 0
    assert opened_by_other == [1]
    assert served(world) == [("flow 0", NOON)]


def test_a_host_that_stood_still_before_it_opened_an_export_does_not_make_it_twice(world: World) -> None:
    other, create = world.new_process(), world.services.store.create

    def stand_still(run: Run) -> bool:
        export_schedule.start_exports(other)  # which finds it noted and not opened, and ends the tick
        end_all(world)
        return create(run)

    with world.monkeypatch.context() as patch:
        patch.setattr(world.services.store, "create", stand_still)
        world.start_exports()
    (ghost,) = world.all_open_runs()
    (done,) = world.ended_runs()
    assert ghost.run_id == done.run_id

    world.wake(ghost.lane)

    assert world.all_open_runs() == []
    assert world.ended_runs() == [done]
    assert world.calls("ExportToPackage") == 0


# -- what is no moment


def test_what_a_person_starts_serves_no_moment(world: World) -> None:
    world.clock.present = NOON + TEN
    actions.export_now("flow 0", ANNA, world.services)
    end_all(world)
    world.clock.advance(600)

    assert world.start_exports() == 1  # that of noon, late

    end_all(world)
    assert served(world) == [("flow 0", None), ("flow 0", NOON)]


def test_a_person_may_call_the_timers_function_between_two_ticks(world: World) -> None:
    serve_noon(world)
    world.clock.present = NOON + 2 * TEN

    assert world.start_exports(next_tick=NOON + HOUR) == 1

    end_all(world)
    assert [run.scheduled for run in world.ended_runs()] == [NOON, None]
    world.clock.present = NOON + HOUR
    assert world.start_exports(next_tick=NOON + HOUR) == 1


@pytest.mark.parametrize(
    "next_tick", ["", "soon", "0001-01-01T00:00:00", NOON.isoformat(), "2026-03-02T12:00:00.0000000+00:00"]
)
def test_a_tick_is_a_tick_whatever_the_host_tells_of_it(world: World, next_tick: str) -> None:
    export_schedule.start_exports(world.services, next_tick=next_tick)

    assert [run.scheduled for run in world.open_runs()] == [NOON]


# -- what an older version has noted


def noted_by_an_older_version(world: World, opened: datetime) -> None:
    (flow,) = world.services.settings.flows.exports
    world.services.checkpoints.write(
        f"export-{flow.lane}", Checkpoint({"opened": opened.isoformat(), "run_id": "0123456789ab"}, None)
    )


@pytest.mark.parametrize("opened", [NOON + timedelta(milliseconds=30), NOON - timedelta(milliseconds=30), NOON + TEN])
def test_after_an_update_no_moment_is_served_once_more(world: World, opened: datetime) -> None:
    noted_by_an_older_version(world, opened)
    world.clock.present = NOON + 2 * TEN

    assert world.start_exports() == 0

    world.clock.present = NOON + HOUR
    assert world.start_exports() == 1


def test_after_an_update_a_moment_that_was_missed_meanwhile_is_served(world: World) -> None:
    noted_by_an_older_version(world, NOON - HOUR)
    world.clock.present = NOON + TEN

    assert world.start_exports() == 1
    assert served(world) == [("flow 0", NOON)]


# -- left out


def test_an_export_that_is_under_way_at_its_next_moment_is_left_out_and_the_log_says_so(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.start_exports()

    with caplog.at_level("INFO", "onedrive_fo"):
        assert world.start_exports() == 0  # a tick that comes twice
        assert events(caplog, "export.skipped") == []
        world.clock.present = NOON + HOUR
        assert world.start_exports() == 0

    (skipped,) = events(caplog, "export.skipped")
    assert (skipped["flow_name"], skipped["scheduled"]) == ("flow 0", (NOON + HOUR).isoformat())


def test_an_export_that_cannot_be_started_keeps_no_other_from_it_and_the_tick_fails(hourly: MakeWorld) -> None:
    world = hourly(3)
    write = world.services.checkpoints.write
    first = world.services.settings.flows.exports[0].lane

    def failing(name: str, mark: Checkpoint) -> None:
        if name == f"export-{first}":
            raise TryAgain("storage is busy")
        write(name, mark)

    with world.monkeypatch.context() as patch:
        patch.setattr(world.services.checkpoints, "write", failing)
        with pytest.raises(TryAgain):
            world.start_exports()

    assert Counter(run.flow_name for run in world.open_runs()) == Counter({"flow 1": 1, "flow 2": 1})
    assert world.start_exports() == 1


# -- what no tick has served, the minute's timer does


def storage_is_away() -> None:
    raise TryAgain("storage is away")


def watched_for(world: World, minutes: int) -> None:
    """Let the minute's timer tick so often, and no other."""
    for _ in range(minutes):
        world.clock.advance(60)
        with suppress(TryAgain):
            world.keep_watch()


def test_an_export_whose_tick_met_trouble_with_storage_is_started_a_few_minutes_later(world: World) -> None:
    """The host takes the tick for done and rests until the next moment."""
    serve_noon(world)
    world.clock.present = NOON + HOUR
    with world.monkeypatch.context() as patched:
        patched.setattr(world.services.store, "open_places", storage_is_away)
        with pytest.raises(TryAgain):
            world.start_exports()

    watched_for(world, 3)

    assert served(world) == [("flow 0", NOON), ("flow 0", NOON + HOUR)]


def test_a_moment_that_was_left_out_on_purpose_is_not_made_up_for(world: World) -> None:
    world.start_exports()
    world.clock.present = NOON + HOUR
    assert world.start_exports() == 0  # the one before is under way
    end_all(world)

    watched_for(world, 5)

    assert served(world) == [("flow 0", NOON)]


def test_an_export_that_was_never_made_waits_for_its_moment(world: World) -> None:
    watched_for(world, 5)

    assert served(world) == []


def test_a_clock_that_was_ahead_once_keeps_no_export_from_starting(world: World) -> None:
    world.clock.present = NOON + 72 * HOUR
    world.start_exports()
    end_all(world)
    world.clock.present = NOON + HOUR

    assert world.start_exports() == 1
