"""The minute's timer wakes lanes whose wake-up was lost or was left to it; what the queue function does with them."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from inbound_trigger import work
from shared.app import Services
from shared.runs import wake
from shared.runs.states import State
from shared.runs.worker import LEFT_TO_TIMER_S
from tests.flows.conftest import MakeWorld
from tests.flows.trouble import numbered_imports, put_into
from tests.world import World


def test_the_timer_sees_a_file_that_no_notification_told_of(world: World) -> None:
    world.put("USMF_1.zip")

    world.keep_watch()

    (lane,) = world.heads()
    assert world.wakes_of_lanes() == [(lane, 0)]


def test_a_lane_whose_wake_up_was_lost_is_woken_once_at_each_tick(world: World) -> None:
    world.put("USMF_1.zip")
    world.keep_watch()
    (lane,) = world.heads()

    world.clock.advance(wake.OVERDUE_S - 1)
    world.keep_watch()
    assert world.wakes_of_lanes() == [(lane, 0)]

    world.clock.advance(2)
    world.keep_watch()
    assert world.wakes_of_lanes() == [(lane, 0)] * 2

    world.clock.advance(60)
    world.keep_watch()
    assert world.wakes_of_lanes() == [(lane, 0)] * 3


def test_a_lane_whose_head_waits_is_left_alone_however_long_the_others_have_waited(world: World) -> None:
    for number in range(3):
        world.put(f"USMF_{number}.zip")
    world.keep_watch()
    run = world.open_runs()[0]
    world.services.store.save(run.waiting(3600, world.clock.now()))
    world.clock.advance(1800)

    world.keep_watch()

    assert len(world.wakes_of_lanes()) == 1


def with_lanes_that_wait(make_world: MakeWorld, *waits_s: float) -> World:
    """Return a world with a lane for each wait, whose run has just been put off for so long and is polled then."""
    # By storage's clock, which says since when a run waits.
    world = make_world(settings={"INTEGRATIONS": numbered_imports(len(waits_s))}, at=datetime.now(UTC))
    for number in range(len(waits_s)):
        put_into(world, f"{number}/Input")
    world.look()
    for run in world.all_open_runs():
        wait_s = waits_s[int(run.flow_name.removeprefix("flow-"))]
        world.services.store.save(replace(run, state=State.CLAIMED).waiting(wait_s, world.clock.now()))
    world.wakes.sent.clear()
    return world


def test_a_lane_whose_long_wait_ends_before_the_next_tick_is_woken_in_time(make_world: MakeWorld) -> None:
    world = with_lanes_that_wait(make_world, 300)
    for _ in range(4):
        world.keep_watch()
        assert world.wakes_of_lanes() == []
        world.clock.advance(60)

    world.keep_watch()

    ((lane, delay_s),) = world.wakes_of_lanes()
    assert lane in world.heads()
    assert 60 <= delay_s - wake.AFTER_DUE_S + 1 <= 61


@pytest.mark.parametrize(
    ("waits_s", "passed_s", "delays_s"),
    [
        pytest.param([40], 0, [], id="a lane has a message of its own"),
        *[pytest.param([60], late_s, [0], id=f"a tick comes after {late_s} s") for late_s in (62.0, 70.0, 89.0)],
        pytest.param([60, 105], 95, [0, pytest.approx(12, abs=0.5)], id="one lane is overdue, another is due later"),
    ],
)
def test_the_timer_wakes_each_lane_in_time_and_none_too_often_if(
    make_world: MakeWorld, waits_s: list[float], passed_s: float, delays_s: list[Any]
) -> None:
    world = with_lanes_that_wait(make_world, *waits_s)
    world.clock.advance(passed_s)

    world.keep_watch()

    assert sorted(delay_s for _, delay_s in world.wakes_of_lanes()) == delays_s


def test_a_message_of_its_own_that_waits_below_a_minute_and_the_timer_overlap_without_a_gap(
    make_world: MakeWorld,
) -> None:
    """The clock of storage, which says since when a run waits, may be ahead: then a lane is woken twice, never not."""
    world = with_lanes_that_wait(make_world, LEFT_TO_TIMER_S - wake.CLOCKS_DIFFER_BY_S + 1)

    world.keep_watch()

    assert len(world.wakes_of_lanes()) == 1


def test_lanes_whose_waits_end_at_about_the_same_time_share_a_message(make_world: MakeWorld) -> None:
    world = with_lanes_that_wait(make_world, *[240 + number / 10 for number in range(wake.LANES_IN_MESSAGE + 5)], 290)
    world.clock.advance(235)

    world.keep_watch()

    messages = [(len(text.splitlines()), round(delay_s)) for text, delay_s in world.wakes_of_lanes()]
    assert sorted(messages) == [(1, 57), (5, 10), (wake.LANES_IN_MESSAGE, 9)]


def test_a_lane_that_fails_in_a_message_of_several_is_logged_and_comes_again_alone(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = with_lanes_that_wait(make_world, 240, 241, 242)
    world.clock.advance(243)
    bad, *others = sorted(world.heads())
    worked: list[str] = []

    def one_breaks(line: str, _services: Services) -> None:
        worked.append(line)
        if line == bad:
            raise KeyError("a bug")

    monkeypatch.setattr(work, "advance_lane", one_breaks)

    world.deliver("\n".join([bad, *others]))

    assert sorted(worked) == [bad, *others]
    assert world.wakes_of_lanes() == [(bad, work.AGAIN_S)]
    assert f'"lane.failed", "lane": "{bad}"' in caplog.text
