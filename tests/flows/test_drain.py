"""Drain: nothing new is opened, claimed or submitted, and what F&O has received ends; by a switch, or by a setting."""

from datetime import UTC, datetime, timedelta

import pytest

from local_cloud.finance_operations.knobs import Speed
from operations import actions, list_view, reruns
from operations.available_actions import Verb
from operations.filters import Filters
from shared.alerts import app_alerts
from shared.alerts.app_alerts import DRAINS_LONG
from shared.app import Services
from shared.health.health import Grade, Health
from shared.health.record_checks import with_records
from shared.runs.addresses import address_of
from shared.runs.drain import SEEN_FOR, Drain
from shared.runs.states import Direction, Outcome, State
from tests.exports import PROJECT as EXPORTED
from tests.exports import prepared
from tests.flows.conftest import MakeWorld
from tests.flows.trouble import (
    ALERTS,
    ME,
    as_soon_as,
    begin,
    ended_run,
    import_file,
    let_pass,
    restart,
    shown,
    sure,
    write_record,
)
from tests.world import World

FIRST, SECOND = "USMF_1.zip", "USMF_2.zip"
WORLD_SETTINGS = ALERTS
SLOW = Speed(seconds_per_execution=60.0)


def drain(world: World) -> None:
    assert actions.drain(ME, world.services).done


def end(world: World) -> None:
    assert actions.end_drain(ME, world.services).done


def listed(world: World) -> list_view.RunList:
    return list_view.list_runs(Filters(), "", world.services)


def health(services: Services) -> Health:
    return with_records(Health(version="", grade=Grade.OK, checks=()), services)


def test_no_run_is_opened_for_a_new_file_until_the_drain_ends(world: World) -> None:
    drain(world)
    world.put(FIRST)
    assert world.look() == 0
    world.keep_watch()
    assert world.files("Input") == [FIRST]

    end(world)
    world.keep_watch()
    world.run_until_quiet()
    assert world.files("Success") == [FIRST]


def test_a_file_that_waits_is_not_claimed_and_the_one_that_f_and_o_has_ends(make_world: MakeWorld) -> None:
    world = make_world(settings={"IMPORT_DATA_PROJECT": "Customers"}, speed=SLOW)
    lane = begin(world, FIRST, SECOND)
    world.wake(lane)
    drain(world)
    assert listed(world).drain == list_view.DrainView(
        text=sure(listed(world).drain).text, since=world.clock.now(), left=1
    )
    let_pass(world, lane, timedelta(minutes=5))

    assert world.files("Success") == [FIRST]
    assert world.files("Input") == [SECOND]
    assert world.heads() == {}  # so neither the timer nor a worker wakes the lane again
    (waits,) = world.all_open_runs()
    page = shown(world, address_of(waits))
    assert "the end of the drain" in sure(page.next).waits_for
    assert Verb.CHECK_NOW not in {option.verb for option in page.actions}

    world.wakes.sent.clear()
    end(world)
    assert [text for text, _ in world.wakes.sent] == [lane]
    world.run_until_quiet()
    assert world.files("Success") == [FIRST, SECOND]


@pytest.mark.parametrize("state", [State.FOUND, State.CLAIMED])
def test_a_worker_that_is_at_a_run_stops_before_the_next_thing_that_it_would_begin(world: World, state: State) -> None:
    lane = begin(world, FIRST)
    as_soon_as(world, state, lambda _: drain(world))
    world.wake(lane)

    assert world.calls("ImportFromPackage") == 0
    (run,) = world.all_open_runs()
    assert (run.state, run.submissions) == (State.CLAIMED, ())
    assert world.services.reservations.holders() == {}
    end(world)
    world.run_until_quiet()
    assert ended_run(world, FIRST).outcome is Outcome.SUCCEEDED
    assert world.calls("GetAzureWriteUrl") <= 2


def test_a_run_whose_answer_was_lost_is_looked_up_and_not_submitted_again(world: World) -> None:
    lane = begin(world, FIRST)
    as_soon_as(world, State.SUBMITTING, lambda _: _die(world))
    with pytest.raises(KeyboardInterrupt):
        world.wake(lane)
    world.let_leases_run_out()
    drain(world)
    let_pass(world, lane, timedelta(hours=1))

    assert world.calls("ImportFromPackage") == 0
    (run,) = world.all_open_runs()
    assert run.state is State.CLAIMED
    end(world)
    world.run_until_quiet()
    assert world.imports() == [("USMF", 1)]


def _die(world: World) -> None:
    raise KeyboardInterrupt


def test_another_process_sees_it_within_a_minute_and_asks_storage_no_more_than_twice_in_that(world: World) -> None:
    other = world.new_process()
    asked: list[datetime] = []
    read = other.drain.read

    def noting() -> Drain | None:
        asked.append(world.clock.now())
        return read()

    world.monkeypatch.setattr(other.drain, "read", noting)
    assert not other.drain.is_on()
    drain(world)
    for _ in range(10):
        if other.drain.is_on():
            break
        world.clock.advance(5)

    assert world.clock.now() - asked[0] <= SEEN_FOR + timedelta(seconds=5) < timedelta(minutes=1)
    assert len(asked) == 2


def test_exports_do_not_start_and_the_last_missed_moment_is_served_once_the_drain_has_ended(
    make_world: MakeWorld,
) -> None:
    world = prepared(
        make_world(
            settings={
                "EXPORT_DATA_PROJECT": EXPORTED,
                "EXPORT_COMPANY": "USMF",
                "OUTBOUND_SCHEDULE": "0 0 * * * *",
            },
            at=datetime(2026, 11, 30, 9, 0, 5, tzinfo=UTC),
        )
    )
    assert world.start_exports() == 1
    world.run_until_quiet()
    drain(world)
    for _ in range(3):
        world.clock.advance(3600)
        assert world.start_exports() == 0
        world.clock.advance(120)
        world.keep_watch()
    assert actions.export_now("export", ME, world.services) == actions.refuse(
        f"{sure(world.services.drain.read()).text} Nothing new is started until the drain has ended."
    )

    end(world)
    world.keep_watch()
    world.run_until_quiet()
    _, late = world.ended_runs(Direction.EXPORT)
    assert late.scheduled == datetime(2026, 11, 30, 12, 0, tzinfo=UTC)


def test_what_a_person_would_begin_is_refused_and_what_ends_a_run_is_not(world: World) -> None:
    import_file(world, FIRST)
    old = ended_run(world, FIRST)
    begin(world, SECOND)
    (waiting,) = world.all_open_runs()
    drain(world)

    assert not sure(reruns.run_again(address_of(old), ME, world.services)).done
    assert not actions.scan_now(ME, world.services).done
    assert not sure(actions.check_now(address_of(waiting), ME, world.services)).done
    assert shown(world, address_of(old)).actions == ()
    assert [option.verb for option in listed(world).actions] == [Verb.END_DRAIN]
    assert sure(actions.cancel(address_of(waiting), ME, world.services)).done
    world.run_until_quiet()
    assert SECOND in world.files("Error")


def test_the_setting_drains_as_the_switch_does_and_the_switch_cannot_end_it(world: World) -> None:
    restart(world, DRAIN="true")
    world.put(FIRST)
    assert world.look() == 0
    assert not actions.end_drain(ME, world.services).done
    assert "DRAIN is true" in sure(listed(world).drain).text

    restart(world, DRAIN="false")
    import_file(world, SECOND)
    assert world.files("Success") == [FIRST, SECOND]


def test_asked_for_twice_it_says_who_was_first(world: World) -> None:
    drain(world)
    again = actions.drain(actions.Requester(by="Bob", why="too"), world.services)

    assert again.done
    assert "Ada started it" in again.message


def test_health_shows_it_as_a_warning_and_no_run_that_waits_for_it_as_a_problem(world: World) -> None:
    begin(world, FIRST)
    drain(world)
    world.clock.advance(3600)

    (check,) = [each for each in health(world.services).checks if each.name == "Drain"]
    assert (check.grade, "Ada started it" in check.message) == (Grade.WARNING, True)
    assert [each.grade for each in health(world.services).checks if each.name.startswith("Lane ")] == []


@pytest.mark.parametrize("by", ["switch", "setting"])
def test_people_are_reminded_after_a_day(world: World, by: str) -> None:
    assert timedelta(days=1) == DRAINS_LONG
    long = timedelta(hours=2)  # the day in short
    world.monkeypatch.setattr(app_alerts, "DRAINS_LONG", long)
    if by == "switch":
        drain(world)
    else:
        restart(world, DRAIN="yes")
    for _ in range(int(long / timedelta(minutes=10)) + 1):
        if by == "setting":
            world.keep_watch()  # the timer alone knows since when
        world.clock.advance(600)
    world.keep_watch()
    assert [mail.subject for mail in world.mails()] == ["The app has been draining for more than a day"]

    if by == "switch":
        end(world)
    else:
        restart(world, DRAIN="")
    world.keep_watch()
    assert [mail.subject for mail in world.onedrive.mails][-1] == (
        "Resolved: The app has been draining for more than a day"
    )


def test_a_drain_whose_blob_says_nothing_drains_all_the_same_and_reads_as_a_sentence(world: World) -> None:
    write_record(world, "open/!drain", b"")

    assert world.services.drain.is_on()
    text = sure(world.services.drain.read()).text
    assert text.startswith("The app is draining. Somebody started it at ")
    assert text.endswith(" UTC.")
