"""What waits for hours costs little and says so once: alerts do not flap, and wake-ups do not multiply."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from azure.core.pipeline.transport import RequestsTransport

from inbound_trigger.keep_watch import do_duties
from local_cloud.finance_operations.knobs import Speed
from local_cloud.onedrive import Knobs
from operations import actions
from shared.concurrency import map_concurrently
from shared.runs import wake
from shared.runs.values import Held
from tests.flows.conftest import MakeWorld
from tests.flows.trouble import IN_ONE_LANE, ME, let_pass, seen_in_turn
from tests.world import World

WORLD_SETTINGS = IN_ONE_LANE


def locked(*names: str) -> Knobs:
    """Return a OneDrive in which somebody has these files open."""
    return Knobs(locked=dict.fromkeys(names, "resourceLocked"))


@pytest.mark.quick(cases=0)
def test_a_file_that_is_locked_for_hours_is_told_once_and_then_as_often_as_reminders_are_due(
    make_world: MakeWorld,
) -> None:
    world = make_world(settings={"ALERT_REMIND_AFTER_HOURS": "1"}, knobs=locked("USMF_1.zip"))
    lane = seen_in_turn(world, "USMF_1.zip")

    for _ in range(7):
        let_pass(world, lane, timedelta(minutes=20))
        world.deliver_alerts()

    assert len(world.mails()) == 3  # after three minutes, one hour and two
    assert len({mail.subject.partition(": ")[2] for mail in world.mails()}) <= 2
    assert [mail for mail in world.onedrive.mails if mail.subject.startswith("Resolved: ")] == []


def delivered_in_time(world: World, until: timedelta, *, most: int) -> int:
    """Deliver each wake-up when it is visible, as the host does; return how many were delivered.

    Fails when there are more than ``most``.
    """
    end, delivered = world.clock.now() + until, 0
    waiting: list[tuple[Any, str]] = []
    minute = world.clock.now()

    def take() -> None:
        waiting.extend(
            (world.clock.now() + timedelta(seconds=delay_s), text) for text, delay_s in world.wakes_of_lanes()
        )
        world.wakes.sent.clear()

    take()
    while True:
        due = min([each[0] for each in waiting] + [minute])
        if due > end:
            return delivered
        world.clock.present = max(world.clock.present, due)
        if due == minute:
            do_duties(world.services)
            minute += timedelta(minutes=1)
        else:
            first = min(waiting, key=lambda each: each[0])
            waiting.remove(first)
            world.deliver(first[1])
            delivered += 1
            assert delivered <= most, "the wake-ups multiply"
        take()


@pytest.mark.quick(cases=1)
@pytest.mark.parametrize("files", [1, 8])
def test_wake_ups_do_not_multiply_while_files_are_set_aside(make_world: MakeWorld, files: int) -> None:
    names = [f"USMF_{number:02}.zip" for number in range(files)]
    world = make_world(knobs=locked(*names))
    seen_in_turn(world, *names)
    since = world.clock.now() - timedelta(minutes=10)
    for number, run in enumerate(world.all_open_runs()):
        held = Held(since=since, text="locked", is_aside=True)
        due = world.clock.now() + timedelta(seconds=10 * number)
        world.services.store.save(replace(run, held=held, attempts=9, due=due))
    for _ in range(5):  # notifications of other changes
        world.wakes.send(world.all_open_runs()[0].lane)

    delivered = delivered_in_time(world, timedelta(minutes=11), most=10 + 4 * files)

    assert delivered >= 3


def test_a_paused_lane_with_a_file_that_is_set_aside_is_left_alone_until_it_is_resumed(make_world: MakeWorld) -> None:
    world = make_world(knobs=locked("USMF_1.zip"))
    lane = seen_in_turn(world, "USMF_1.zip", "USMF_2.zip")
    let_pass(world, lane, timedelta(minutes=4))
    assert world.files("Success") == ["USMF_2.zip"]
    actions.pause(lane, ME, world.services)
    world.onedrive.knobs.locked = {}
    world.faults.forget_calls()

    world.clock.advance(1800)
    world.wake(lane)
    assert wake.wake_lanes(world.services.store.open_lanes(), world.services) == 0
    assert world.calls("/items/") == 0

    actions.resume(lane, ME, world.services)
    world.run_until_quiet(at_most_s=600)
    assert world.files("Success") == ["USMF_1.zip", "USMF_2.zip"]


def test_a_clock_that_goes_back_an_hour_neither_loses_nor_doubles_a_file(world: World) -> None:
    lane = seen_in_turn(world, "USMF_1.zip", "USMF_2.zip")
    world.wake(lane)
    world.clock.advance(-3600)
    seen_in_turn(world, "USMF_3.zip")

    world.run_until_quiet(at_most_s=3 * 3600)

    assert world.imports() == [("USMF", 1)] * 3
    assert world.files("Success") == ["USMF_1.zip", "USMF_2.zip", "USMF_3.zip"]


# What it costs that many are set aside


@contextmanager
def counted(world: World) -> Iterator[list[str]]:
    """Collect the requests that the app sends to its container while the block runs."""
    requests: list[str] = []
    send = RequestsTransport.send

    def noting(transport: RequestsTransport, request: Any, **options: Any) -> Any:
        if world.container in request.url:
            requests.append(f"{request.method} {request.url}")
        return send(transport, request, **options)

    with world.monkeypatch.context() as patched:
        patched.setattr(RequestsTransport, "send", noting)
        yield requests


def open_aside(world: World, number: int) -> None:
    """Open many runs in front that are set aside, due in an hour."""
    like = world.all_open_runs()[0]
    held = Held(since=world.clock.now(), text="locked", is_aside=True)
    put_aside = replace(like, held=held, due=world.clock.now() + timedelta(hours=1))
    runs = [
        replace(put_aside, run_id=f"{each:012x}", sort_key=f"20200101T000000{each:06}Z-item-{each}")
        for each in range(number)
    ]
    assert all(map_concurrently(world.services.store.create, runs))


def test_a_file_costs_at_most_two_calls_more_if_many_are_set_aside_in_front_of_it(
    make_world: MakeWorld,
) -> None:
    names = [f"USMF_{number}.zip" for number in range(1, 7)]

    def requests(aside: int) -> int:
        lane = seen_in_turn(world, *names)
        world.wake("in-another")  # what a process asks for once
        open_aside(world, aside)
        with counted(world) as requests:
            world.wake(lane)
        assert world.files("Success") == names
        return len(requests)

    world = make_world(speed=Speed(seconds_per_execution=0.5))
    alone = requests(0)
    world.begin_anew()

    assert requests(20) - alone <= 2 * len(names)
