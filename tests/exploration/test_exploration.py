"""No history of the protocol breaks a promise, within a bound; and the exploration finds those that would.

``dev.py explore`` goes further. What a test takes out of the protocol here is there because such a history exists.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from _pytest.mark.structures import ParameterSet

from shared import execution
from shared.app import Services
from shared.errors import LeaseTaken, RecordChanged
from shared.exports import schedule as export_schedule
from shared.imports import fence as import_fence
from shared.imports import file as import_file
from shared.imports import steps as import_steps
from shared.reservations import release, reserve, settle
from shared.reservations.reservation import Reservation, names_of
from shared.runs import blame, store, wake, worker
from shared.runs.lane import LaneRow, Stop, choose
from shared.runs.machine import StateMachine
from shared.runs.run import Run
from shared.runs.states import State
from shared.runs.values import Submission
from tests.exploration import scheduler
from tests.exploration.__main__ import main
from tests.exploration.explore import Result, explore
from tests.exploration.scenarios import (
    BOTH_WAYS,
    CANCELLED,
    CANCELLED_EXPORT,
    CANCELLED_OF_TWO,
    DAMAGED,
    EXPORT,
    HELD,
    LATER,
    LOOKS_AT_ONCE,
    NO_SUBMITS,
    OLDER,
    ONE_EACH_WAY,
    ONE_EXPORT,
    PAUSED,
    RENAMED,
    SHARED_ENTITIES,
    SLOW_FNO,
    STOPPED,
    TWO_FILES,
    TWO_LANES,
    Bound,
    Scenario,
)
from tests.exploration.scheduler import Invocation, Known, Scheduler, Stage, Worker
from tests.exploration.scheduler import State as RunningState
from tests.exploration.stand_ins import Fate, StoreStandIn
from tests.exploration.world import World

type Mutation = Callable[[pytest.MonkeyPatch], None]


# As it is


@pytest.mark.quick(cases=3)
@pytest.mark.parametrize(
    ("scenario", "bound"),
    [
        (TWO_FILES, Bound(1, 0)),
        (SLOW_FNO, Bound(1, 0)),
        (LATER, Bound(0, 0)),
        (OLDER, Bound(0, 0)),
        (LOOKS_AT_ONCE, Bound(0, 0)),
        (EXPORT, Bound(1, 0)),
        (TWO_LANES, Bound(0, 0)),
        (SHARED_ENTITIES, Bound(0, 0)),
        (ONE_EACH_WAY, Bound(0, 0)),
        (CANCELLED, Bound(0, 0)),
        (CANCELLED_OF_TWO, Bound(0, 0)),
        (CANCELLED_EXPORT, Bound(0, 0)),
        (HELD, Bound(0, 0)),
        (STOPPED, Bound(0, 0)),
        (NO_SUBMITS, Bound(0, 0)),
        (DAMAGED, Bound(0, 0)),
        (RENAMED, Bound(0, 0)),
    ],
    ids=lambda value: value.name if isinstance(value, Scenario) else f"{value.faults}-{value.stalls}",
)
def test_no_history_breaks_a_promise(scenario: Scenario, bound: Bound) -> None:
    result = explore(scenario, bound)

    assert result.broken == "", "\n".join(result.history)
    assert result.is_complete
    assert result.states > 0


# With a part of the protocol taken out


def without_the_fence(patch: pytest.MonkeyPatch) -> None:
    def not_fenced(run: Run, submission: Submission, services: Services) -> Run:
        now = services.now()
        return run.with_submission(replace(submission, fenced=now)).waiting(services.settings.submit_grace_s, now)

    patch.setattr(import_steps, "fence", not_fenced)
    patch.setattr(import_fence, "fence", not_fenced)


def with_the_id_saved_after_the_call(patch: pytest.MonkeyPatch) -> None:
    def prepare_and_submit(run: Run, services: Services) -> Run:
        prepared = import_steps.prepare(run, services)
        return import_steps.submit(prepared, services) if prepared.state is State.SUBMITTING else prepared

    steps = {**import_steps.STEPS, State.CLAIMED: prepare_and_submit}
    patch.setattr(import_steps, "MACHINE", replace(import_steps.MACHINE, steps=steps))


def with_unconditional_writes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(World, "_require_unchanged", lambda world, run, etag: None)


def without_the_last_look(patch: pytest.MonkeyPatch) -> None:
    def advance(text: str, machine: StateMachine, services: Services) -> None:
        lane, _, place = text.partition(" ")
        try:
            with services.leases.hold(lane):
                worker._advance_lane(lane, place, set(), machine, services)
        except (LeaseTaken, RecordChanged):
            return

    patch.setattr(import_steps, "advance", advance)


def without_asking_before_sending_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(execution, "is_known", lambda execution_id, fno: False)


def with_the_fence_put_up_before_it_is_saved(patch: pytest.MonkeyPatch) -> None:
    submitting = Run.submitting

    def missing_already(run: Run, submission: Submission, now: object) -> Run:
        return submitting(run, replace(submission, missing_since=submission.chosen), submission.chosen)

    patch.setattr(Run, "submitting", missing_already)


def without_looking_after_the_last_export(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(export_schedule, "_still_missing", lambda last, now: ())


def without_the_minutes_timer(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(wake, "wake_lanes", lambda open_lanes, services: 0)


def without_asking_whose_the_file_is(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(import_steps, "belongs_to_another_run", lambda run, services: False)
    patch.setattr(import_file, "belongs_to_another_run", lambda run, services: False)


def with_that_asked_of_its_own_lane_alone(patch: pytest.MonkeyPatch) -> None:
    of_same_file = StoreStandIn.of_same_file

    def of_its_lane(store: StoreStandIn, run: Run) -> list[LaneRow]:
        return [row for row in of_same_file(store, run) if row.lane == run.lane]

    patch.setattr(StoreStandIn, "of_same_file", of_its_lane)


def with_the_reservation_given_back_at_the_post(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(worker, "_needs_reservations", lambda run: run.state is State.SUBMITTING)


def with_the_reservation_given_back_as_it_is_by_then(patch: pytest.MonkeyPatch) -> None:
    def free_now(held: tuple[Reservation, ...], services: Services) -> None:
        for each in held:
            there = services.reservations.read(each.environment_url, each.name)
            if there and there.holder and each.holder and there.holder.run_id == each.holder.run_id:
                release.free_version(there, services)

    patch.setattr(release, "free", free_now)


def with_a_reservation_without_a_condition(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(World, "reserve", World._kept)


def without_any_reservation(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reserve, "reserve", lambda run, environment_url, execution_id, services, names=None: run)


def with_the_data_project_reserved_alone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(import_steps, "names_of", lambda run, **_: names_of(run))


def with_names_held_during_a_wait_and_taken_as_the_manifest_lists_them(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reserve, "sorted", list, raising=False)
    patch.setattr(release, "free", lambda held, services: None)


def with_a_reservation_taken_away_before_that_is_written(patch: pytest.MonkeyPatch) -> None:
    def taken_away(reservation: Reservation, run: Run, services: Services) -> bool:
        return release.free_version(reservation, services)

    patch.setattr(settle, "_take_away", taken_away)


def with_exports_that_wait_behind_all(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reserve, "_goes_first", lambda waiting, run, now: False)


def without_a_fence_after_a_cancel(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(import_steps, "may_still_start", lambda run: False)


def with_the_reservation_given_back_by_a_cancel(patch: pytest.MonkeyPatch) -> None:
    """It is given back at the end of a run that was cancelled before F&O was told of it."""
    cancelled_as_it_is = Run.cancelled

    def cancelled(run: Run, reason: str, now: datetime) -> Run:
        return replace(cancelled_as_it_is(run, reason, now), cancelled_in=State.CLAIMED)

    patch.setattr(Run, "cancelled", cancelled)


def with_what_is_set_aside_counted_as_ended(patch: pytest.MonkeyPatch) -> None:
    def without_those(rows: tuple[LaneRow, ...], stops: tuple[Stop, ...], *_: object, **__: object) -> object:
        return choose([row for row in rows if not row.is_aside], stops)

    patch.setattr(store, "choose_of", without_those)
    patch.setattr(wake, "choose_of", without_those)


def with_what_is_set_aside_passed_by_none(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LaneRow, "is_passed", property(lambda row: False))


def with_counts_shared_between_kinds(patch: pytest.MonkeyPatch) -> None:
    failed_once_more = Run.failed_once_more

    def counted_for_all(run: Run, wait_s: float, now: datetime) -> Run:
        after = failed_once_more(run, wait_s, now)
        return replace(after, not_found=after.attempts - 1)

    patch.setattr(Run, "failed_once_more", counted_for_all)
    patch.setattr(blame, "_count", lambda run, error: run)


def with_later_files_before_a_busy_one(patch: pytest.MonkeyPatch) -> None:
    def is_passed(row: LaneRow) -> bool:
        return row.is_aside or row.state in (State.CANCELLED, State.CLAIMED)

    patch.setattr(LaneRow, "is_passed", property(is_passed))


def with_a_bug_in_a_step(patch: pytest.MonkeyPatch) -> None:
    def buggy(run: Run, services: Services) -> Run:
        raise AttributeError("no such thing")

    steps = {**import_steps.STEPS, State.FINISHED: buggy}
    patch.setattr(import_steps, "MACHINE", replace(import_steps.MACHINE, steps=steps))


def with_a_wait_that_is_over_at_once(patch: pytest.MonkeyPatch) -> None:
    waiting_for = Run.waiting_for

    def due_now(run: Run, *arguments: Any) -> Run:
        return replace(waiting_for(run, *arguments), due=run.due)

    patch.setattr(Run, "waiting_for", due_now)


def with_only(scenario: Scenario, *faults: str) -> Scenario:
    """Return a scenario in which nothing else goes wrong, so that it is followed in seconds."""
    return replace(scenario, only=frozenset(faults))


# So that it comes to a second import, the promises that are broken on the way there are not listened to.
ONE_FILE = replace(SLOW_FNO, unheard=("in use", "given back"))
TWICE = "one.zip was imported 2 times"
IN_USE = "was submitted while its data project was in use"
GIVEN_BACK = "project:customers was given back while F&O was at work on it"

BROKEN: tuple[tuple[Mutation, Scenario, Bound, str], ...] = (
    (with_a_bug_in_a_step, SLOW_FNO, Bound(0, 0), "The app has a bug: AttributeError"),
    (with_a_wait_that_is_over_at_once, TWO_LANES, Bound(0, 0), "a worker goes on for ever"),
    (without_the_fence, ONE_FILE, Bound(1, 0), TWICE),
    (with_the_id_saved_after_the_call, ONE_FILE, Bound(1, 0), TWICE),
    (with_unconditional_writes, SLOW_FNO, Bound(1, 1), IN_USE),
    (without_the_last_look, LATER, Bound(0, 0), "USMF_two.zip waits although nothing is in its way"),
    (without_asking_before_sending_again, ONE_FILE, Bound(1, 0), TWICE),
    (
        with_the_fence_put_up_before_it_is_saved,
        SLOW_FNO,
        Bound(1, 1),
        "USMF_one.zip is in Error, and nothing is wrong with it",
    ),
    (without_looking_after_the_last_export, EXPORT, Bound(1, 0), "are in no file"),
    (without_asking_whose_the_file_is, RENAMED, Bound(0, 0), TWICE),
    (with_that_asked_of_its_own_lane_alone, RENAMED, Bound(0, 0), TWICE),
    (without_the_minutes_timer, SLOW_FNO, Bound(1, 0), "it never comes to rest"),
    (without_any_reservation, TWO_LANES, Bound(0, 0), IN_USE),
    (with_a_reservation_without_a_condition, TWO_LANES, Bound(0, 0), IN_USE),
    (with_the_data_project_reserved_alone, SHARED_ENTITIES, Bound(0, 0), "while F&O imported the entity b"),
    (
        with_names_held_during_a_wait_and_taken_as_the_manifest_lists_them,
        SHARED_ENTITIES,
        Bound(0, 0),
        "it never comes to rest",
    ),
    (with_the_reservation_given_back_at_the_post, SLOW_FNO, Bound(0, 0), GIVEN_BACK),
    (
        with_the_reservation_given_back_as_it_is_by_then,
        with_only(SLOW_FNO, "stall", Fate.NOT_SENT),
        Bound(2, 1),
        GIVEN_BACK,
    ),
    (
        with_a_reservation_taken_away_before_that_is_written,
        with_only(PAUSED, "stall in claimed"),
        Bound(1, 1),
        GIVEN_BACK,
    ),
    (with_exports_that_wait_behind_all, BOTH_WAYS, Bound(0, 0), "USMF_two.zip took project:customers before"),
    (without_a_fence_after_a_cancel, with_only(CANCELLED_OF_TWO, Fate.UNDER_WAY), Bound(1, 0), IN_USE),
    (with_the_reservation_given_back_by_a_cancel, CANCELLED, Bound(0, 0), GIVEN_BACK),
    (
        with_what_is_set_aside_counted_as_ended,
        with_only(HELD, Fate.LOCKED_LONG),
        Bound(1, 0),
        "the run of USMF_one.zip is never ended",
    ),
    (
        with_what_is_set_aside_passed_by_none,
        with_only(HELD, Fate.LOCKED_LONG),
        Bound(1, 0),
        "USMF_two.zip waits although nothing is in its way",
    ),
    (with_later_files_before_a_busy_one, TWO_FILES, Bound(1, 0), "two.zip was imported before one.zip, which is older"),
    (
        with_counts_shared_between_kinds,
        with_only(HELD, Fate.LOCKED, Fate.LOCKED_LONG, Fate.HIDDEN),
        Bound(2, 0),
        "USMF_one.zip was left in Processing",
    ),
)

# The histories that are longest in the finding.
LONG = {
    with_the_fence_put_up_before_it_is_saved,
    with_unconditional_writes,
    with_a_wait_that_is_over_at_once,
    without_looking_after_the_last_export,
    without_the_minutes_timer,
    without_a_fence_after_a_cancel,
    with_the_reservation_given_back_as_it_is_by_then,
    with_a_reservation_taken_away_before_that_is_written,
    with_exports_that_wait_behind_all,
    with_names_held_during_a_wait_and_taken_as_the_manifest_lists_them,
}


@pytest.mark.quick(cases=8)
@pytest.mark.parametrize(
    ("mutate", "scenario", "bound", "broken"),
    [
        pytest.param(*each, id=each[0].__name__, marks=[pytest.mark.extended] if each[0] in LONG else [])
        for each in BROKEN
    ],
)
def test_a_history_that_breaks_a_promise_is_found_when(
    mutate: Mutation, scenario: Scenario, bound: Bound, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch)

    result = explore(scenario, bound)

    assert broken in result.broken
    assert faults_in(result) == bound.faults


def faults_in(result: Result) -> int:
    """Return how many things go wrong in the history: they are told in capitals."""
    loud: tuple[str, ...]
    loud = ("LOST", "KILLED", "STANDS STILL", "NO ANSWER COMES", "FAILS", "DOUBLED", "LATE", "BECOMES UNREADABLE")
    loud += ("ONEDRIVE ", "IS LOCKED", "FORBIDDEN", "F&O REFUSES ALL", "F&O ANSWERS 500")
    return sum(any(word in line for word in loud) for line in result.history)


# What is left out


def all_orders(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Scheduler, "_may_meet_others", lambda self, state, slot, worker: True)


def all_that_nobody_notices(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(scheduler, "_is_unnoticed", lambda world, stage: False)


def all_that_workers_were_told(patch: pytest.MonkeyPatch) -> None:
    stage = Scheduler._stage

    def with_all_answers(self: Scheduler, invocation: Invocation, number: int, known: Known) -> Stage:
        self.port.past = self.port.rest = None
        return stage(self, invocation, number, known)

    patch.setattr(Scheduler, "_stage", with_all_answers)


def those_who_go_on_before_time_has_passed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Worker, "has_just_stopped", lambda worker, now: False)


def all_states_in_between(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Scheduler, "implied", lambda scheduler, state, faults: None)


def extended(*values: object) -> ParameterSet:
    """Return parameters that are not part of each run."""
    return pytest.param(*values, marks=pytest.mark.extended)


@pytest.mark.quick(cases=3)
@pytest.mark.parametrize(
    ("leave_in", "scenario", "bound"),
    [
        (all_orders, LATER, Bound(0, 0)),
        (all_orders, LOOKS_AT_ONCE, Bound(0, 0)),
        extended(all_orders, TWO_LANES, Bound(0, 0)),
        extended(all_orders, CANCELLED, Bound(0, 0)),
        extended(all_orders, ONE_EXPORT, Bound(1, 1)),
        extended(all_that_nobody_notices, SLOW_FNO, Bound(1, 1)),
        extended(all_that_nobody_notices, CANCELLED, Bound(0, 0)),
        extended(all_that_workers_were_told, ONE_EXPORT, Bound(1, 1)),
        extended(all_that_workers_were_told, CANCELLED, Bound(0, 0)),
        extended(all_that_workers_were_told, TWO_LANES, Bound(0, 0)),
        extended(all_that_workers_were_told, with_only(HELD, Fate.FORBIDDEN, Fate.LOCKED_LONG), Bound(2, 0)),
        extended(all_that_workers_were_told, with_only(STOPPED, Fate.ALL_FORBIDDEN), Bound(1, 0)),
        (all_that_nobody_notices, ONE_EXPORT, Bound(0, 0)),
        (all_that_workers_were_told, ONE_EXPORT, Bound(0, 0)),
        (all_states_in_between, ONE_EXPORT, Bound(0, 0)),
        extended(all_states_in_between, ONE_EXPORT, Bound(1, 1)),
        (those_who_go_on_before_time_has_passed, ONE_EXPORT, Bound(0, 0)),
        extended(those_who_go_on_before_time_has_passed, ONE_EXPORT, Bound(1, 1)),
    ],
    ids=lambda value: value.name if isinstance(value, Scenario) else getattr(value, "__name__", ""),
)
def test_what_is_left_out_comes_to_the_same_ends(
    leave_in: Mutation, scenario: Scenario, bound: Bound, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = explore(scenario, bound)
    leave_in(monkeypatch)

    all_of_them = explore(scenario, bound)

    assert some.states <= all_of_them.states
    assert some.ends == all_of_them.ends
    assert some.broken == all_of_them.broken == ""


@pytest.mark.extended
def test_what_goes_wrong_when_all_is_done_breaks_no_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    some = explore(SLOW_FNO, Bound(1, 1))
    monkeypatch.setattr(RunningState, "is_done", False)

    all_of_them = explore(SLOW_FNO, Bound(1, 1))

    assert some.ends < all_of_them.ends  # a lease that runs out by itself is there a little longer
    assert all_of_them.broken == ""


# What is printed


def test_the_shortest_history_that_breaks_a_promise_is_told_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    without_the_fence(monkeypatch)

    result = explore(ONE_FILE, Bound(1, 0))

    sent = next(index for index, line in enumerate(result.history) if "NO ANSWER COMES" in line)
    assert "worker 1 tells F&O to import, as execution #" in result.history[sent]
    assert "arrives at F&O" in "".join(result.history[sent:])
    assert "tells F&O to import" in result.history[-1] or "arrives at F&O" in result.history[-1]


def test_an_exploration_whose_time_is_up_says_so() -> None:
    result = explore(TWO_FILES, Bound(2, 2), seconds=0.2)

    assert not result.is_complete
    assert result.broken == ""


def test_the_command_prints_a_line_of_json_a_scenario_and_bound(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--faults", "0", "--only", "slow,two-files", "--json"]) == 0

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["scenario"] for line in lines] == ["two-files", "slow"]
    assert all(line["complete"] and not line["broken"] and line["histories"] for line in lines)
