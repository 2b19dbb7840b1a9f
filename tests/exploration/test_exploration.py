"""No history of the protocol breaks a promise, within a bound; and the exploration finds those that would.

``dev.py explore`` goes further. What a test takes out of the protocol here is there because such a history exists.
"""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from shared.domain.run import Run, State, Submission
from shared.flows import execution, inbound, outbound, watch
from shared.services import Services
from tests.exploration import scheduler
from tests.exploration.__main__ import main
from tests.exploration.explore import Result, explore
from tests.exploration.scenarios import (
    EXPORT,
    LATER,
    LOOKS_AT_ONCE,
    OLDER,
    ONE_EXPORT,
    SLOW_FNO,
    TWO_FILES,
    Bound,
    Scenario,
)
from tests.exploration.scheduler import Invocation, Scheduler, Stage, Worker
from tests.exploration.scheduler import State as RunningState
from tests.exploration.stand_ins import Entry, StoreStandIn
from tests.exploration.world import World

type Log = tuple[Entry, ...]
type Mutation = Callable[[pytest.MonkeyPatch], None]


# As it is


@pytest.mark.parametrize(
    ("scenario", "bound"),
    [
        (TWO_FILES, Bound(1, 0)),
        (SLOW_FNO, Bound(1, 1)),
        (LATER, Bound(0, 0)),
        (OLDER, Bound(0, 0)),
        (LOOKS_AT_ONCE, Bound(1, 0)),
        (EXPORT, Bound(1, 0)),
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

    patch.setattr(inbound, "_fenced", not_fenced)


def with_the_id_saved_after_the_call(patch: pytest.MonkeyPatch) -> None:
    def choose_and_submit(run: Run, services: Services) -> Run:
        return inbound.submit(inbound.choose_id(run, services), services)

    steps = {**inbound.STEPS, State.UPLOADED: choose_and_submit}
    patch.setattr(inbound, "FLOW", replace(inbound.FLOW, steps=steps))


def with_unconditional_writes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(World, "_require_unchanged", lambda world, run, etag: None)


def without_the_last_look(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(StoreStandIn, "next_due", lambda store, lane: None)


def without_asking_before_sending_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(execution, "is_known", lambda execution_id, fno: False)


def with_the_fence_put_up_before_it_is_saved(patch: pytest.MonkeyPatch) -> None:
    submitting = Run.submitting

    def missing_already(run: Run, submission: Submission, now: object) -> Run:
        return submitting(run, replace(submission, missing_since=submission.chosen), submission.chosen)

    patch.setattr(Run, "submitting", missing_already)


def without_looking_after_the_last_export(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(outbound, "_still_missing", lambda last, now: ())


def without_the_minutes_timer(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(watch, "wake_overdue_lanes", lambda services: 0)


def without_asking_whose_the_file_is(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(inbound, "_is_anothers", lambda run, services: False)


# F&O would refuse to import a package while it is at the same one; so that it comes to more, that is not looked at.
ONE_FILE = replace(SLOW_FNO, may_overlap=True)

BROKEN: dict[str, tuple[Mutation, Scenario, Bound, str]] = {
    "no package is fenced": (without_the_fence, ONE_FILE, Bound(1, 0), "one.zip was imported 2 times"),
    "the id is saved after the call": (
        with_the_id_saved_after_the_call,
        ONE_FILE,
        Bound(1, 0),
        "one.zip was imported 2 times",
    ),
    "records are written unconditionally": (
        with_unconditional_writes,
        ONE_FILE,
        Bound(1, 1),
        "one.zip is in Error, and nothing is wrong with it",
    ),
    "nobody looks once more after releasing a lane": (
        without_the_last_look,
        LATER,
        Bound(0, 0),
        "only the minute's timer",
    ),
    "F&O is not asked before sending again": (
        without_asking_before_sending_again,
        ONE_FILE,
        Bound(1, 0),
        "imported 2 times",
    ),
    "the fence is put up before that is saved": (
        with_the_fence_put_up_before_it_is_saved,
        SLOW_FNO,
        Bound(1, 1),
        "USMF_one.zip is in Error, and nothing is wrong with it",
    ),
    "nobody looks after the last export": (
        without_looking_after_the_last_export,
        EXPORT,
        Bound(1, 0),
        "are in no file",
    ),
    "nobody asks whether another run has the file": (
        without_asking_whose_the_file_is,
        OLDER,
        Bound(1, 0),
        "older.zip was imported 2 times",
    ),
    "no timer wakes a lane": (without_the_minutes_timer, SLOW_FNO, Bound(1, 0), "it never comes to rest"),
}


@pytest.mark.parametrize(("mutate", "scenario", "bound", "broken"), BROKEN.values(), ids=list(BROKEN))
def test_a_history_that_breaks_a_promise_is_found_when(
    mutate: Mutation, scenario: Scenario, bound: Bound, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch)

    result = explore(scenario, bound)

    assert broken in result.broken
    assert faults_in(result) == bound.faults


def faults_in(result: Result) -> int:
    """Return how many things go wrong in the history: they are told in capitals."""
    loud = ("LOST", "KILLED", "STANDS STILL", "NO ANSWER", "FAILS", "DOUBLED", "LATE")
    return sum(any(word in line for word in loud) for line in result.history)


# What is left out


def all_orders(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(scheduler, "_may_meet_others", lambda state, slot, worker: True)


def all_that_nobody_notices(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(scheduler, "_is_unnoticed", lambda world, stage: False)


def all_that_workers_were_told(patch: pytest.MonkeyPatch) -> None:
    stage = Scheduler._stage

    def with_all_answers(self: Scheduler, invocation: Invocation, number: int, log: Log, ids: int) -> Stage:
        self.port.past = self.port.rest = None
        return stage(self, invocation, number, log, ids)

    patch.setattr(Scheduler, "_stage", with_all_answers)


def those_who_go_on_before_time_has_passed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Worker, "has_just_stopped", lambda worker, now: False)


def all_states_in_between(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Scheduler, "implied", lambda scheduler, state, faults: None)


def those_who_stumble_when_all_is_done(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RunningState, "is_done", False)


@pytest.mark.parametrize(
    ("leave_in", "scenario", "bound"),
    [
        (all_orders, LATER, Bound(0, 0)),
        (all_orders, LOOKS_AT_ONCE, Bound(0, 0)),
        (all_orders, ONE_EXPORT, Bound(1, 1)),
        (all_that_nobody_notices, SLOW_FNO, Bound(1, 1)),
        (all_that_nobody_notices, ONE_EXPORT, Bound(1, 1)),
        (all_that_workers_were_told, ONE_EXPORT, Bound(1, 1)),
        (all_states_in_between, ONE_EXPORT, Bound(1, 1)),
        (those_who_go_on_before_time_has_passed, ONE_EXPORT, Bound(1, 1)),
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


def test_what_goes_wrong_when_all_is_done_breaks_no_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    some = explore(SLOW_FNO, Bound(1, 1))
    those_who_stumble_when_all_is_done(monkeypatch)

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
