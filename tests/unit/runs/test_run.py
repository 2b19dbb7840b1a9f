"""What may follow what in a run's life, what a person may do included, and when a person is to hear of it."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.runs.run import STEPS_KEPT, Run, name_with, new_execution_id
from shared.runs.states import EXPORT_MOVES, IMPORT_MOVES, MOVES, PROGRESS, Direction, Outcome, State
from shared.runs.values import (
    NOTHING_IN_PROCESS,
    About,
    Held,
    InProcess,
    Problem,
    RemoteCallRecord,
    StepRecord,
    Submission,
    Wait,
)
from shared.secret import SecretUrl
from tests import builders
from tests.builders import a_step

NOW = datetime(2026, 11, 2, 8, 30, 0, 123456, tzinfo=UTC)
LATER = NOW + timedelta(seconds=40)
FIRST_STATE = {Direction.IMPORT: State.FOUND, Direction.EXPORT: State.PLANNED}
A_URL = SecretUrl("https://blob.example/dmf/a?sig=x")
KNOWN = InProcess(has_chosen_id=True, package_url=A_URL, download_url=A_URL)


def a_run(flow: Direction = Direction.IMPORT, state: State = State.FOUND) -> Run:
    run = builders.a_run(direction=flow, run_id="0123456789ab", state=state, furthest=None)
    return replace(run, state_since=NOW, due=NOW, opened=NOW)


EVERY_STATE = [(flow, state) for flow, moves in MOVES.items() for state in moves]
EVERY_MOVE = [(flow, state, following) for flow, state in EVERY_STATE for following in sorted(MOVES[flow][state])]
# A person alone cancels.
MOVES_OF_THE_APP = [move for move in EVERY_MOVE if move[2] is not State.CANCELLED]
# After these the same is begun once more.
WAYS_BACK = {
    (Direction.IMPORT, State.SUBMITTING, State.CLAIMED),
    (Direction.IMPORT, State.EXECUTING, State.CLAIMED),
    (Direction.EXPORT, State.SUBMITTING, State.PLANNED),
}


# The tables


@pytest.mark.parametrize("flow", list(Direction))
def test_every_state_of_a_flow_can_be_reached_and_leads_to_an_end(flow: Direction) -> None:
    moves = MOVES[flow]

    reached = reached_from(flow, FIRST_STATE[flow]) | {FIRST_STATE[flow]}
    assert reached == set(moves)

    ending = {state for state, allowed in moves.items() if not allowed}
    while more := {state for state, allowed in moves.items() if allowed & ending} - ending:
        ending |= more
    assert ending == set(moves)


def reached_from(flow: Direction, state: State) -> set[State]:
    reached: set[State] = set(MOVES[flow][state])
    while more := {following for known in reached for following in MOVES[flow][known]} - reached:
        reached |= more
    return reached


def test_a_run_ends_filed_withdrawn_delivered_or_failed_and_an_export_also_cancelled() -> None:
    over = {(flow, state) for flow, state in EVERY_STATE if a_run(flow, state).is_over}

    assert over == {
        (Direction.IMPORT, State.FILED),
        (Direction.IMPORT, State.WITHDRAWN),
        (Direction.EXPORT, State.DELIVERED),
        (Direction.EXPORT, State.FAILED),
        (Direction.EXPORT, State.CANCELLED),
    }


def test_every_state_belongs_to_a_flow_and_knows_how_far_it_is() -> None:
    assert set(IMPORT_MOVES) | set(EXPORT_MOVES) == set(State) == set(PROGRESS)


def test_no_way_leads_from_an_end_or_from_a_cancel_back_to_f_and_o() -> None:
    with_fo = {State.CLAIMED, State.PLANNED, State.SUBMITTING, State.EXECUTING}

    for flow in Direction:
        for state in set(MOVES[flow]) & {State.FINISHED, State.READY, State.CANCELLED}:
            assert reached_from(flow, state) & with_fo == set()
    assert State.SUBMITTING not in reached_from(Direction.EXPORT, State.EXECUTING)


def test_a_person_may_cancel_a_run_in_every_state_but_the_last_and_once() -> None:
    cannot = {(flow, state) for flow, state in EVERY_STATE if not a_run(flow, state).can_be_cancelled}

    ends = {(flow, state) for flow, state in EVERY_STATE if not MOVES[flow][state]}
    assert cannot == ends | {(Direction.IMPORT, State.CANCELLED)}


@pytest.mark.parametrize(("flow", "state", "following"), MOVES_OF_THE_APP)
def test_an_allowed_move_is_due_at_once(flow: Direction, state: State, following: State) -> None:
    moved = a_run(flow, state).moved_to(following, LATER)

    assert (moved.state, moved.state_since, moved.due) == (following, LATER, LATER)


@pytest.mark.parametrize("flow", list(Direction))
def test_a_move_that_is_not_in_the_table_is_a_bug_and_raises(flow: Direction) -> None:
    forbidden = [
        (state, following)
        for state, allowed in MOVES[flow].items()
        for following in State
        if following not in allowed or following is State.CANCELLED
    ]
    assert len(forbidden) > 40
    for state, following in forbidden:
        with pytest.raises(ValueError, match=f"cannot move from {state} to {following}"):
            a_run(flow, state).moved_to(following, LATER)


def test_an_older_version_of_the_app_saved_an_upload_as_a_state_of_its_own() -> None:
    assert State("uploaded") is State.CLAIMED
    with pytest.raises(ValueError, match="downloaded"):
        State("downloaded")


# Progress


REFUSED = Problem(text="F&O refuses the app", since=NOW)


def failing(run: Run) -> Run:
    return replace(run, attempts=4, failing_since=NOW, problem=REFUSED)


@pytest.mark.parametrize(("flow", "state", "following"), MOVES_OF_THE_APP)
def test_a_state_that_a_run_has_not_reached_before_ends_what_stood_in_its_way(
    flow: Direction, state: State, following: State
) -> None:
    moved = failing(a_run(flow, state)).moved_to(following, LATER)

    is_new = (flow, state, following) not in WAYS_BACK
    assert (moved.attempts, moved.failing_since, moved.problem) == ((0, None, None) if is_new else (4, NOW, REFUSED))


@pytest.mark.parametrize(
    ("back_from", "past_it"), [(State.SUBMITTING, State.EXECUTING), (State.EXECUTING, State.FINISHED)]
)
def test_a_run_that_goes_over_the_same_ground_once_more_makes_no_progress_until_it_is_past_it(
    back_from: State, past_it: State
) -> None:
    again = failing(a_run(state=back_from).moved_to(State.CLAIMED, NOW)).moved_to(State.SUBMITTING, LATER)
    if back_from is State.EXECUTING:
        again = again.moved_to(State.EXECUTING, LATER)
    beyond = again.moved_to(past_it, LATER)
    assert (again.attempts, again.failing_since, again.problem) == (4, NOW, REFUSED)
    assert (beyond.attempts, beyond.failing_since, beyond.problem) == (0, None, None)


def test_an_id_is_known_to_be_unsent_until_the_run_leaves_its_state_or_a_try_fails() -> None:
    chosen = Submission(execution_id="one", chosen=NOW)
    before = replace(a_run(state=State.CLAIMED), in_process=InProcess(package_url=A_URL))

    submitting = before.submitting(chosen, NOW)

    assert submitting.in_process == InProcess(has_chosen_id=True, package_url=A_URL)
    assert not submitting.failed_once_more(2.0, NOW).in_process.has_chosen_id
    assert not submitting.moved_to(State.EXECUTING, NOW).in_process.has_chosen_id
    assert submitting.not_submitting(before) == before
    waiting = replace(before, waited_s=3.0).waiting_for(A_WAIT, 5.0, AN_HOUR, NOW)
    begun = waiting.waits_no_more(LATER).submitting(submitting.submissions[-1], LATER)
    assert (begun.not_submitting(waiting).waits, begun.not_submitting(waiting).waited_s) == (waiting.waits, 3.0)
    assert submitting.not_submitting(before).in_process == before.in_process


# Tries


def test_a_failed_try_is_counted_put_off_and_drops_what_only_this_process_knew() -> None:
    run = replace(a_run(), attempts=1, in_process=KNOWN)

    after = run.failed_once_more(8.0, LATER)

    assert (after.attempts, after.due) == (2, LATER + timedelta(seconds=8))
    assert after.in_process == NOTHING_IN_PROCESS


def test_failing_counts_from_the_first_of_the_tries_that_failed_in_a_row() -> None:
    once = a_run().failed_once_more(2.0, NOW)

    assert (once.failing_since, once.failed_once_more(4.0, LATER).failing_since) == (NOW, NOW)
    assert once.with_a_good_try().failed_once_more(2.0, LATER).failing_since == LATER


@pytest.mark.parametrize("about", About)
def test_a_good_try_ends_the_count_and_the_trouble_that_is_about_failed_tries_alone(about: About) -> None:
    run = replace(a_run(), attempts=4, failing_since=NOW).flagged("away", NOW, about)

    after = run.with_a_good_try()

    assert (after.attempts, after.failing_since) == (0, None)
    assert (after.problem is None) is (about is About.FAILING)


# Problem


def test_trouble_that_is_open_already_stays_as_it_was_told() -> None:
    run = a_run().flagged("the first", NOW, About.ASIDE)

    assert run.flagged("the second", LATER, About.LOST) == run
    assert run.problem == Problem(text="the first", since=NOW, about=About.ASIDE)


@pytest.mark.parametrize("about", About)
def test_trouble_ends_with_its_own_cause_alone(about: About) -> None:
    run = a_run().flagged("away", NOW, about)

    assert {each for each in About if run.without_problem(each).problem is None} == {about}
    assert a_run().without_problem(about) == a_run()


# Waiting for what another run has


A_WAIT = Wait(what="the data project Customers", since=NOW, holder="USMF_1.zip uses it.", holder_address="a")
AN_HOUR = timedelta(hours=1)


def test_a_wait_is_no_failure_and_counts_from_its_beginning_whoever_is_waited_for() -> None:
    run = a_run().waiting_for(A_WAIT, 5.0, AN_HOUR, NOW)

    later = replace(A_WAIT, since=LATER, holder="USMF_2.zip uses it.")
    run = run.waiting_for(later, 20.0, AN_HOUR, LATER)

    assert run.waits == replace(later, since=NOW)
    assert (run.attempts, run.failing_since, run.problem) == (0, None, None)
    assert run.due == LATER + timedelta(seconds=20)


def test_a_wait_for_something_else_begins_anew() -> None:
    run = a_run().waiting_for(A_WAIT, 5.0, AN_HOUR, NOW)

    other = replace(A_WAIT, what="its turn", since=LATER)

    assert run.waiting_for(other, 5.0, AN_HOUR, LATER).waits == other


def test_a_wait_for_something_else_ends_the_one_before_which_counts_and_is_reported_no_more() -> None:
    run = replace(a_run(state=State.CLAIMED), waited_s=3.0).waiting_for(A_WAIT, 5.0, AN_HOUR, NOW)
    told = run.waiting_for(A_WAIT, 5.0, AN_HOUR, NOW + 2 * AN_HOUR)
    assert told.problem is not None

    other = told.waiting_for(replace(A_WAIT, what="its turn", since=NOW + 2 * AN_HOUR), 5.0, AN_HOUR, NOW + 2 * AN_HOUR)

    assert (other.problem, other.waited_s) == (None, 7203.0)


def test_a_wait_beyond_the_limit_is_told_once_with_who_has_it_and_is_over_with_the_wait() -> None:
    run = a_run().waiting_for(A_WAIT, 5.0, AN_HOUR, NOW)

    assert run.waiting_for(A_WAIT, 5.0, AN_HOUR, NOW + AN_HOUR).problem is None
    told = run.waiting_for(A_WAIT, 5.0, AN_HOUR, NOW + timedelta(minutes=61))

    assert told.problem is not None
    assert told.problem.text == (
        "USMF_Customers_001.zip has waited for the data project Customers for 61 minutes. USMF_1.zip uses it."
    )
    assert told.waiting_for(A_WAIT, 5.0, AN_HOUR, NOW + 2 * AN_HOUR).problem == told.problem
    assert (told.waits_no_more(NOW).waits, told.waits_no_more(NOW).problem) == (None, None)


# A person cancels


@pytest.mark.parametrize(("flow", "state"), [each for each in EVERY_STATE if a_run(*each).can_be_cancelled])
def test_a_cancelled_run_is_due_at_once_and_says_by_whom_in_which_state_and_nothing_else_any_more(
    flow: Direction, state: State
) -> None:
    run = replace(failing(a_run(flow, state)), in_process=KNOWN, waits=A_WAIT)
    run = replace(run, held=Held(since=NOW, text="locked", is_aside=True))

    over = run.cancelled("Cancelled by anna: wrong file.", LATER)

    assert (over.state, over.cancelled_in, over.state_since, over.due) == (State.CANCELLED, state, LATER, LATER)
    assert (over.outcome, over.reason) == (Outcome.CANCELLED_BY_PERSON, "Cancelled by anna: wrong file.")
    assert (over.attempts, over.failing_since, over.problem) == (0, None, None)
    assert (over.held, over.waits, over.in_process) == (None, None, NOTHING_IN_PROCESS)


def test_an_outcome_that_is_known_outlives_a_cancel() -> None:
    run = a_run(state=State.EXECUTING).finished(Outcome.PARTIALLY_SUCCEEDED, "2 rows failed.", NOW)

    over = run.cancelled("Cancelled by anna.", LATER)

    assert (over.outcome, over.reason) == (Outcome.PARTIALLY_SUCCEEDED, "2 rows failed. Cancelled by anna.")


@pytest.mark.parametrize(("flow", "state"), [each for each in EVERY_STATE if not a_run(*each).can_be_cancelled])
def test_a_run_that_is_over_or_cancelled_cannot_be_cancelled(flow: Direction, state: State) -> None:
    with pytest.raises(ValueError, match=f"cannot be cancelled in {state}"):
        a_run(flow, state).cancelled("enough", NOW)


def test_others_pass_a_run_that_is_cancelled_or_set_aside_and_no_other() -> None:
    held = Held(since=NOW, text="locked")

    assert a_run(state=State.CANCELLED).is_aside
    assert replace(a_run(), held=replace(held, is_aside=True)).is_aside
    assert not replace(a_run(), held=held).is_aside
    assert not any(a_run(*each).is_aside for each in EVERY_STATE if each[1] is not State.CANCELLED)


# Submissions


def test_a_submission_is_added_and_no_earlier_one_is_forgotten() -> None:
    run = a_run(state=State.CLAIMED).submitting(Submission(execution_id="one", chosen=NOW), NOW)
    run = run.moved_to(State.CLAIMED, NOW).submitting(Submission(execution_id="two", chosen=LATER), LATER)

    assert run.execution_id == "two"
    assert [submission.execution_id for submission in run.submissions] == ["one", "two"]


def test_a_submission_is_changed_by_its_id_alone() -> None:
    one, two = Submission(execution_id="one", chosen=NOW), Submission(execution_id="two", chosen=NOW)
    run = replace(a_run(), submissions=(one, two))

    changed = run.with_submission(replace(one, fenced=LATER))

    assert changed.submissions == (replace(one, fenced=LATER), two)


A_CALL = RemoteCallRecord(service="F&O", operation="x", status=503, request_id="r", took_s=0.1, began=LATER)


def test_equal_steps_in_a_row_become_one_with_the_first_beginning_and_the_last_rest() -> None:
    run = a_run().with_step(a_step(error="busy", calls=(A_CALL,)))

    last = replace(A_CALL, request_id="another")
    run = run.with_step(a_step(error="busy", began=LATER, took_s=9.0, calls=(last,)))

    assert run.steps == (a_step(error="busy", took_s=9.0, calls=(last,), times=2),)


@pytest.mark.parametrize(
    "other",
    [
        *(a_step("prepare"), a_step(error="other words")),
        *(a_step(state=State.SUBMITTING), a_step(calls=(A_CALL,))),
    ],
    ids=["another step", "another error", "another state", "calls where there were none"],
)
def test_a_step_unlike_the_last_is_a_line_of_its_own(other: StepRecord) -> None:
    assert a_run().with_step(a_step()).with_step(other).steps == (a_step(), other)


def test_a_history_keeps_its_last_steps_and_stays_small() -> None:
    run = a_run()
    for number in range(STEPS_KEPT + 25):
        run = run.with_step(a_step(error=f"error {number}"))

    assert len(run.steps) == STEPS_KEPT
    assert run.steps[-1].error == f"error {STEPS_KEPT + 24}"
    assert run.steps[0].error == "error 25"


def test_log_lines_name_execution_company_and_data_project_once_they_are_known() -> None:
    new = {"run_id": "0123456789ab", "direction": "import", "flow_name": "import", "lane": "in-1"}
    new["file"] = "USMF_Customers_001.zip"
    assert a_run().log_keys() == new
    known = {"company": "USMF", "data_project": "Customers"}
    run = replace(a_run(), company="USMF", data_project="Customers")
    run = replace(run, submissions=(Submission(execution_id="one", chosen=NOW),))
    assert run.log_keys() == {**new, **known, "execution_id": "one"}


def test_what_two_people_did_one_after_the_other_is_told_of_both() -> None:
    run = a_run()
    for by in ("anna", "anna", "ben"):
        run = run.with_step(a_step("check_now", by=by))

    assert [(step.by, step.times) for step in run.steps] == [("anna", 2), ("ben", 1)]


# Ids and names


def test_an_execution_id_is_readable_and_fits_into_fo() -> None:
    execution_id = new_execution_id("Asset-Major-Types", NOW.astimezone(timezone(timedelta(hours=-8))))

    assert re.fullmatch(r"Asset-Major-Types-20261102T083000-[0-9a-f]{12}", execution_id)


@given(st.text(max_size=200))
def test_an_execution_id_of_any_project_has_at_most_60_plain_characters(data_project: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,59}", new_execution_id(data_project, NOW))


def test_no_two_ids_are_alike_and_those_of_runs_are_short() -> None:
    assert len({new_execution_id("Assets", NOW) for _ in range(1000)}) == 1000
    ids = {builders.a_run().run_id for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch(r"[0-9a-f]{12}", run_id) for run_id in ids)


@pytest.mark.parametrize(
    ("name", "made_unique"),
    [
        ("a.zip", "a (1f2e).zip"),
        ("USMF_a.b.zip", "USMF_a.b (1f2e).zip"),
        ("no ending", "no ending (1f2e)"),
        (".zip", ".zip (1f2e)"),
    ],
)
def test_a_name_is_made_unique_before_its_ending(name: str, made_unique: str) -> None:
    assert name_with(name, "1f2e") == made_unique
