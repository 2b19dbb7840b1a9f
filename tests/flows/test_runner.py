"""The runner's promises, with steps made up here: one worker a lane, one wake-up a save, no error lost or hidden."""

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.app import Services
from shared.errors import FileRejected, NeedsPerson, TryAgain
from shared.runs import worker
from shared.runs.addresses import sort_key_of
from shared.runs.lane import choose
from shared.runs.machine import StateMachine, Step
from shared.runs.rows import Pause
from shared.runs.run import Run, new_run
from shared.runs.states import Direction, Outcome, State
from shared.runs.values import FileFacts
from shared.runs.worker import LEFT_TO_TIMER_S
from tests.flows.trouble import ALERTS
from tests.world import World

WORLD_SETTINGS = ALERTS
LANE = "in-test"


def opened(world: World, name: str = "USMF_1.zip", *, lane: str = LANE, flow: Direction = Direction.IMPORT) -> Run:
    """Open a run in a lane; the first to be opened is its head."""
    now = world.clock.now()
    run = new_run(
        direction=flow,
        state=State.FOUND if flow is Direction.IMPORT else State.PLANNED,
        flow_name="import",
        lane=lane,
        sort_key=sort_key_of(now, name),
        now=now,
        file=FileFacts(name=name, item_id=name),
    )
    assert world.services.store.create(run)
    return run


def a_flow(steps: Mapping[State, Step]) -> StateMachine:
    return StateMachine(steps=steps, stuck_after=lambda _run, _services: timedelta(hours=1))


def advance(world: World, steps: Mapping[State, Step], *, lane: str = LANE) -> None:
    worker.advance(lane, a_flow(steps), world.services)


def head(world: World, lane: str = LANE) -> Run:
    """Return the run whose turn it is in a lane."""
    listed = world.services.store.lane(lane)
    choice = choose(listed.rows, listed.stops)
    assert choice is not None
    return world.services.store.read_row(choice.row)


def end(run: Run, services: Services) -> Run:
    """A step after which nothing is left to do."""
    return replace(run.moved_to(State.WITHDRAWN, services.now()), outcome=Outcome.WITHDRAWN)


def failing(error: Exception) -> Step:
    def fail(run: Run, services: Services) -> Run:
        raise error

    return fail


def moving(state: State) -> Step:
    def move(run: Run, services: Services) -> Run:
        return run.moved_to(state, services.now())

    return move


def wait_30_s(run: Run, services: Services) -> Run:
    return run.waiting(30, services.now())


def never(run: Run, services: Services) -> Run:
    raise AssertionError("this step must not be done")


def woken_again(world: World, steps: Mapping[State, Step], times: int) -> list[float]:
    """Wake the lane whenever its head is due; return the delays of the wake-ups that were sent for it."""
    for _ in range(times):
        world.clock.present = max(world.clock.present, head(world).due)
        advance(world, steps)
    return [delay_s for _, delay_s in world.wakes_of_lanes()]


def waits_between(world: World, steps: Mapping[State, Step], times: int) -> list[float]:
    """Wake the lane whenever its head is due; return for how many seconds it then had to wait, each time."""
    waits: list[float] = []
    for _ in range(times):
        woken_again(world, steps, 1)
        waits.append((head(world).due - world.clock.now()).total_seconds())
    return waits


def advance_to_the_end(world: World) -> None:
    """See that the run goes on once all is mended."""
    woken_again(world, {State.FOUND: end}, 1)
    assert world.heads() == {}


# One worker


def test_of_workers_that_are_woken_at_once_one_does_the_step_once(world: World) -> None:
    opened(world)
    done: list[int] = []
    barrier = threading.Barrier(4)

    def step(run: Run, services: Services) -> Run:
        done.append(1)
        services.checkpoints.read("long enough for the others")
        return end(run, services)

    def wake(_: int) -> None:
        barrier.wait()
        advance(world, {State.FOUND: step})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(wake, range(4)))

    assert done == [1]
    assert len(world.ended_runs()) == 1


def test_what_a_step_did_is_dropped_where_another_worker_has_ended_the_run_meanwhile(world: World) -> None:
    opened(world)

    def overtaken(run: Run, services: Services) -> Run:
        services.store.end(head(world))
        return run.moved_to(State.CLAIMED, services.now())

    advance(world, {State.FOUND: overtaken, State.CLAIMED: never})

    assert world.heads() == {}
    assert len(world.ended_runs()) == 1


# Step by step


def test_steps_follow_each_other_until_one_has_to_wait(world: World) -> None:
    opened(world)

    advance(
        world,
        {State.FOUND: moving(State.CLAIMED), State.CLAIMED: moving(State.FINISHED), State.FINISHED: wait_30_s},
    )

    assert head(world).state is State.FINISHED
    assert [(step.step, step.state) for step in head(world).steps] == [
        ("move", State.FOUND),
        ("move", State.CLAIMED),
        ("wait_30_s", State.FINISHED),
    ]
    assert world.wakes_of_lanes() == [(LANE, 30)]


def test_every_state_is_saved_when_it_is_entered(world: World) -> None:
    saved = world.saved_states()
    opened(world)

    advance(
        world,
        {
            State.FOUND: moving(State.CLAIMED),
            State.CLAIMED: moving(State.SUBMITTING),
            State.SUBMITTING: moving(State.EXECUTING),
            State.EXECUTING: moving(State.FINISHED),
            State.FINISHED: moving(State.FILED),
        },
    )

    assert saved == [State.CLAIMED, State.SUBMITTING, State.EXECUTING, State.FINISHED]
    assert [run.state for run in world.ended_runs()] == [State.FILED]


def test_a_pause_is_seen_before_the_next_run(world: World) -> None:
    opened(world, "USMF_0.zip")
    world.clock.advance(1)
    opened(world, "USMF_1.zip")

    def paused_meanwhile(run: Run, services: Services) -> Run:
        services.store.pause_lane(Pause(lane=LANE, by="ada", why="month end", since=services.now()))
        return end(run, services)

    advance(world, {State.FOUND: paused_meanwhile})

    assert [run.file.name for run in world.ended_runs()] == ["USMF_0.zip"]
    assert world.wakes_of_lanes() == []


def test_a_run_that_another_worker_ended_since_the_lane_was_listed_is_not_ended_twice(world: World) -> None:
    opened(world, "USMF_0.zip")
    world.clock.advance(1)
    opened(world, "USMF_1.zip")

    def both_ended(run: Run, services: Services) -> Run:
        behind = services.store.read_row(services.store.lane(LANE).rows[1])
        services.store.end(replace(end(behind, services), ended=services.now()))
        return end(run, services)

    advance(world, {State.FOUND: both_ended, State.CLAIMED: never})

    assert world.heads() == {}
    assert sorted(run.file.name for run in world.ended_runs()) == ["USMF_0.zip", "USMF_1.zip"]


def test_work_is_handed_over_after_two_minutes_with_one_wake_up(world: World) -> None:
    for number in range(5):
        opened(world, f"USMF_{number}.zip")

    def slow(run: Run, services: Services) -> Run:
        world.clock.advance(70)
        return end(run, services)

    advance(world, {State.FOUND: slow})
    assert len(world.ended_runs()) == 2
    assert world.wakes_of_lanes() == [(LANE, 0)]

    advance(world, {State.FOUND: slow})
    assert len(world.ended_runs()) == 4
    assert world.wakes_of_lanes() == [(LANE, 0), (LANE, 0)]

    advance(world, {State.FOUND: slow})
    assert len(world.ended_runs()) == 5
    assert len(world.wakes_of_lanes()) == 2


def test_a_run_that_came_while_the_lane_was_being_left_gets_a_wake_up(world: World) -> None:
    """Its own wake-up found the lane held, and ended."""
    opened(world, "USMF_0.zip")
    lease = world.services.leases.hold

    @contextmanager
    def left_late(name: str) -> Iterator[None]:
        with lease(name):
            yield
            opened(world, "USMF_1.zip")

    with world.monkeypatch.context() as patched:
        patched.setattr(world.services.leases, "hold", left_late)
        advance(world, {State.FOUND: end})
    assert world.wakes_of_lanes() == [(LANE, 0)]

    advance(world, {State.FOUND: end})
    assert len(world.ended_runs()) == 2


# Trying again


def test_the_same_trouble_is_tried_again_after_longer_and_longer_and_a_wait_of_a_minute_is_left_to_the_timer(
    world: World,
) -> None:
    opened(world)

    waits = waits_between(world, {State.FOUND: failing(TryAgain("F&O is away"))}, 12)

    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 300, 90, 300, 300]  # 90: to tell a person in time
    (step,) = head(world).steps
    assert (step.times, step.error) == (12, "F&O is away")
    assert world.wakes_of_lanes() == [(LANE, wait_s) for wait_s in waits if wait_s < LEFT_TO_TIMER_S]
    assert len(world.wakes_of_lanes()) == 5


@pytest.mark.parametrize(("asked_s", "waited_s"), [(77.0, 77), (0.5, 2), (4000.0, 4000)])
def test_a_service_that_says_how_long_to_wait_is_left_alone_for_so_long(
    world: World, asked_s: float, waited_s: float
) -> None:
    opened(world)

    assert waits_between(world, {State.FOUND: failing(TryAgain("later", retry_after_s=asked_s))}, 1) == [waited_s]
    assert head(world).due == world.clock.now() + timedelta(seconds=waited_s)


def test_trouble_that_lasts_is_told_once_after_a_quarter_of_an_hour_and_tried_on(world: World) -> None:
    opened(world)
    began = world.clock.now()
    steps = {State.FOUND: failing(TryAgain("F&O is away"))}

    woken_again(world, steps, 10)
    assert world.mails() == []
    woken_again(world, steps, 1)

    assert world.clock.now() == began + timedelta(minutes=15)
    (mail,) = world.mails()
    assert "F&O is away" in mail.content
    assert "USMF_1.zip" in mail.subject
    woken_again(world, steps, 3)
    assert len(world.mails()) == 1
    advance_to_the_end(world)


@pytest.mark.parametrize("at_minute", [0, 14])
def test_a_service_that_asks_for_a_wait_beyond_the_quarter_of_an_hour_gets_it_and_a_person_hears_at_once(
    world: World, at_minute: int
) -> None:
    opened(world)
    if at_minute:
        woken_again(world, {State.FOUND: failing(TryAgain("F&O is away"))}, 1)
        world.clock.advance(60 * at_minute)
    wait_s = 60.0 * (16 - at_minute)

    woken_again(world, {State.FOUND: failing(TryAgain("F&O asks for patience", retry_after_s=wait_s))}, 1)

    assert head(world).due == world.clock.now() + timedelta(seconds=wait_s)
    (mail,) = world.mails()
    assert "F&O asks for patience" in mail.content


def test_what_only_a_person_can_mend_is_told_at_once_and_once_and_tried_after_longer_and_longer(world: World) -> None:
    opened(world)

    delays = woken_again(world, {State.FOUND: failing(NeedsPerson("Grant the permission"))}, 3)

    assert delays == [2, 4, 8]
    (mail,) = world.mails()
    assert mail.content.splitlines()[0] == "Grant the permission"
    advance_to_the_end(world)
    assert len(world.mails()) == 1


def test_an_export_has_no_file_to_refuse_so_a_person_is_told(world: World) -> None:
    opened(world, lane="out-test", flow=Direction.EXPORT)

    for _ in range(2):
        world.clock.present = max(world.clock.present, head(world, "out-test").due)
        advance(world, {State.PLANNED: failing(FileRejected("no such name"))}, lane="out-test")

    assert head(world, "out-test").state is State.PLANNED
    assert len(world.mails()) == 1
    assert world.wakes_of_lanes() == [("out-test", 2), ("out-test", 4)]


@pytest.mark.parametrize(
    ("step", "error"), [(failing(KeyError("x")), "KeyError"), (moving(State.EXECUTING), "ValueError")]
)
def test_a_bug_like_a_forbidden_move_is_logged_with_its_traceback_told_once_and_lets_other_lanes_go_on(
    world: World, caplog: pytest.LogCaptureFixture, step: Step, error: str
) -> None:
    opened(world)
    opened(world, "USMF_2.zip", lane="in-other")

    delays = woken_again(world, {State.FOUND: step}, 3)
    advance(world, {State.FOUND: end}, lane="in-other")

    assert delays == [2, 4, 8]
    assert head(world).state is State.FOUND
    assert "Traceback" in caplog.text
    assert f"in {step.__name__}" in caplog.text
    (mail,) = world.mails()
    assert error in mail.content
    assert [run.file.name for run in world.ended_runs()] == ["USMF_2.zip"]
    advance_to_the_end(world)


def test_a_run_that_ends_badly_is_told_once_with_its_reason(world: World) -> None:
    opened(world)

    advance(world, {State.FOUND: failing(FileRejected("No company")), State.FINISHED: moving(State.FILED)})

    (run,) = world.ended_runs()
    assert (run.outcome, run.reason) == (Outcome.REJECTED, "No company")
    (mail,) = world.mails()
    assert mail.subject == "import, USMF_1.zip: Rejected"
    assert mail.content.splitlines()[0].startswith("No company. Nothing was imported. ")


def test_every_line_about_a_run_names_it(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    run = opened(world)

    advance(world, {State.FOUND: end})

    lines = [record.getMessage() for record in caplog.records if record.name == "onedrive_fo"]
    about_it = [line for line in lines if '"step.done"' in line or '"run.ended"' in line]
    assert len(about_it) == 2
    assert all(f'"run_id": "{run.run_id}"' in line and f'"lane": "{LANE}"' in line for line in about_it)
