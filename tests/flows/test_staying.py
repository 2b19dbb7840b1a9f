"""How a worker stays with an execution for a few seconds, and gives way when it takes longer."""

from datetime import timedelta
from typing import Any

import pytest

from local_cloud.cloud import ROOT
from local_cloud.finance_operations.knobs import Speed
from local_cloud.functions_host.settings import AppSettings, read_host_json
from shared import execution
from shared.clients.fno.client import FinanceOperations
from shared.runs.states import State
from tests.flows.conftest import MakeWorld
from tests.flows.trouble import begin
from tests.world import World

STATUS = "GetExecutionSummaryStatus"


def seconds_late(world: World) -> float:
    """Return how long after the end of the last execution its file was filed."""
    ended = world.ended_runs()[-1].ended
    assert ended is not None
    return ended.timestamp() - (world.fno.executions[-1].times.ends or 0.0)


def test_an_execution_of_a_few_seconds_is_filed_by_the_worker_that_began_it(make_world: MakeWorld) -> None:
    world = make_world(speed=Speed(seconds_per_execution=2.0))

    world.wake(begin(world))

    assert world.files("Success") == ["USMF_1.zip"]
    assert 0 <= seconds_late(world) <= 0.5
    assert [delay_s for _, delay_s in world.wakes_of_lanes()] == [0.0]  # that of the look


def test_a_wake_up_is_asked_for_as_early_as_storage_and_the_poll_of_the_queue_can_make_it_late() -> None:
    storage_counts_whole_seconds = 1.0
    polled_every_s = read_host_json(ROOT, AppSettings({})).queues.max_polling_interval_s

    assert storage_counts_whole_seconds + polled_every_s == execution.WAKE_LATENCY_S


def test_an_execution_is_saved_before_anybody_waits_for_it_and_not_again_until_it_ends(make_world: MakeWorld) -> None:
    world = make_world(speed=Speed(seconds_per_execution=2.0))
    lane = begin(world)
    saved, pause = world.saved_states(), world.services.sleep
    saved_by_then: list[list[State]] = []

    def noting(seconds: float) -> None:
        saved_by_then.append([*saved])
        pause(seconds)

    world.monkeypatch.setattr(world.services, "sleep", noting)

    world.wake(lane)

    assert world.files("Success") == ["USMF_1.zip"]
    by_then = [State.CLAIMED, State.SUBMITTING, State.EXECUTING]
    assert len(saved_by_then) > 3
    assert [each for each in saved_by_then if each != by_then] == []  # a poll that changes nothing is not saved


def test_an_execution_that_goes_by_another_id_than_was_sent_is_saved_before_it_is_asked_for(
    make_world: MakeWorld,
) -> None:
    """A worker that takes over must know both. F&O knows this one only by the id that was sent: that is followed."""
    world = make_world(speed=Speed(seconds_per_execution=0.0))
    lane = begin(world)
    saved = world.saved_states()
    send = FinanceOperations.import_from_package

    def begun_as_another(fno: FinanceOperations, **asked: Any) -> str:
        send(fno, **asked)
        return "another"

    world.monkeypatch.setattr(FinanceOperations, "import_from_package", begun_as_another)

    world.wake(lane)

    (run,) = world.ended_runs()
    assert saved[:3] == [State.CLAIMED, State.SUBMITTING, State.EXECUTING]
    sent = next(each.execution_id for each in run.submissions if each.execution_id != "another")
    assert [each.execution_id for each in run.submissions] == ["another", sent]
    assert run.execution_id == sent


def test_a_worker_gives_way_when_an_execution_takes_longer(make_world: MakeWorld) -> None:
    world = make_world(settings={"POLL_STAY_SECONDS": "3"}, speed=Speed(seconds_per_execution=60.0))
    lane, began = begin(world), world.clock.now()

    world.wake(lane)

    (run,) = world.open_runs()
    assert run.state is State.EXECUTING
    assert world.clock.now() - began <= timedelta(seconds=3)
    assert [delay_s for _, delay_s in world.wakes_of_lanes()] == [0.0, (run.due - world.clock.now()).seconds]


def test_the_next_execution_of_a_lane_is_seen_to_end_at_once_if_it_takes_as_long_as_the_last(world: World) -> None:
    for number, at_most_s in ((1, 10 / 4), (2, 0.5)):
        begin(world, f"USMF_{number}.zip")
        world.run_until_quiet()

        assert 0 <= seconds_late(world) <= at_most_s


@pytest.mark.quick(cases=0)
def test_an_execution_that_ends_much_sooner_than_the_last_is_seen_to_end_a_quarter_late_at_most(
    make_world: MakeWorld,
) -> None:
    world = make_world(speed=Speed(seconds_per_execution=600.0))
    lane = begin(world)
    world.run_until_quiet()
    world.services.last_execution_s[lane] = 6000.0

    begin(world, "USMF_2.zip")
    world.run_until_quiet()

    assert 0 <= seconds_late(world) <= 600 / 4


def test_without_a_stay_every_look_goes_through_the_queue(make_world: MakeWorld) -> None:
    world = make_world(settings={"POLL_STAY_SECONDS": "0"})

    world.wake(begin(world))

    assert world.calls(STATUS) == 0
    assert [delay_s for _, delay_s in world.wakes_of_lanes()] == [0.0, 2.0]


def test_f_and_o_is_not_polled_again_and_again_while_a_run_is_due_in_less_than_a_second(make_world: MakeWorld) -> None:
    world = make_world(speed=Speed(seconds_per_execution=2.2), settings={"POLL_STAY_SECONDS": "0.3"})
    lane = begin(world)
    world.run_until_quiet()  # so the worker knows how long an execution of the lane takes
    polls = world.calls(STATUS)
    begin(world, "USMF_2.zip")

    world.wake(lane)
    world.run_until_quiet()

    assert world.files("Success") == ["USMF_1.zip", "USMF_2.zip"]
    assert world.calls(STATUS) - polls < 10
