"""What may follow what in a run's life, and that its record holds everything but secrets."""

import json
import re
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.run import (
    EXPORT_MOVES,
    IMPORT_MOVES,
    MOVES,
    NO_PROGRESS,
    NOT_SAVED,
    STEPS_KEPT,
    FailedRow,
    FileFacts,
    FlowKind,
    Outcome,
    RemoteCallRecord,
    Run,
    State,
    StepRecord,
    Submission,
    Successor,
    Trouble,
    UploadedPackage,
    name_with,
    new_execution_id,
    new_run,
    run_from_json,
    run_to_json,
)
from shared.secret import SecretUrl

NOW = datetime(2026, 11, 2, 8, 30, 0, 123456, tzinfo=UTC)
LATER = NOW + timedelta(seconds=40)
FIRST_STATE = {FlowKind.IMPORT: State.FOUND, FlowKind.EXPORT: State.PLANNED}


def a_run(flow: FlowKind = FlowKind.IMPORT, state: State = State.FOUND) -> Run:
    return Run(
        run_id="0123456789ab",
        flow=flow,
        integration="import",
        lane="in-1",
        state=state,
        state_since=NOW,
        due=NOW,
        opened=NOW,
        file=FileFacts(name="USMF_Customers_001.zip"),
        order="20261102T083000000000Z-item",
    )


def a_step(step: str = "watch", *, error: str = "", began: datetime = NOW) -> StepRecord:
    return StepRecord(step=step, state=State.EXECUTING, began=began, took_s=0.25, error=error)


EVERY_MOVE = [
    (flow, state, next_state)
    for flow, moves in MOVES.items()
    for state, allowed in moves.items()
    for next_state in allowed
]


# The tables


@pytest.mark.parametrize("flow", list(FlowKind))
def test_every_state_of_a_flow_can_be_reached_and_leads_to_an_end(flow: FlowKind) -> None:
    moves = MOVES[flow]

    reached = {FIRST_STATE[flow]}
    while more := {state for known in reached for state in moves[known]} - reached:
        reached |= more
    assert reached == set(moves)

    ending = {state for state, allowed in moves.items() if not allowed}
    while more := {state for state, allowed in moves.items() if allowed & ending} - ending:
        ending |= more
    assert ending == set(moves)


def test_a_run_ends_filed_withdrawn_delivered_or_failed() -> None:
    over = {(flow, state) for flow, moves in MOVES.items() for state in moves if a_run(flow, state).is_over}

    assert over == {
        (FlowKind.IMPORT, State.FILED),
        (FlowKind.IMPORT, State.WITHDRAWN),
        (FlowKind.EXPORT, State.DELIVERED),
        (FlowKind.EXPORT, State.FAILED),
    }


def test_every_state_belongs_to_a_flow() -> None:
    assert set(IMPORT_MOVES) | set(EXPORT_MOVES) == set(State)


def test_once_fo_knows_an_execution_no_way_leads_back_to_sending_it() -> None:
    reached = {State.EXECUTING}
    for moves in MOVES.values():
        reached |= {state for known in list(reached) for state in moves.get(known, frozenset())}
    assert State.SUBMITTING not in reached
    assert State.UPLOADED not in reached


@pytest.mark.parametrize(("flow", "state", "next_state"), EVERY_MOVE)
def test_an_allowed_move_is_fresh_and_due_at_once(flow: FlowKind, state: State, next_state: State) -> None:
    moved = replace(a_run(flow, state), fresh=False).moved_to(next_state, LATER)

    assert (moved.state, moved.state_since, moved.due, moved.fresh) == (next_state, LATER, LATER, True)


@pytest.mark.parametrize("flow", list(FlowKind))
def test_a_move_that_is_not_in_the_table_is_a_bug_and_raises(flow: FlowKind) -> None:
    forbidden = [
        (state, next_state)
        for state, allowed in MOVES[flow].items()
        for next_state in State
        if next_state not in allowed
    ]
    assert len(forbidden) > 40
    for state, next_state in forbidden:
        with pytest.raises(ValueError, match=f"cannot move from {state} to {next_state}"):
            a_run(flow, state).moved_to(next_state, LATER)


@pytest.mark.parametrize(("flow", "state", "next_state"), EVERY_MOVE)
def test_only_progress_ends_the_count_of_failed_tries_and_the_trouble(
    flow: FlowKind, state: State, next_state: State
) -> None:
    run = replace(a_run(flow, state), attempts=4).troubled("F&O refuses the app", NOW)

    moved = run.moved_to(next_state, LATER)

    is_progress = (state, next_state) not in NO_PROGRESS
    assert (moved.attempts == 0) is is_progress
    assert (moved.trouble is None) is is_progress


# The methods


def test_trouble_that_is_open_already_stays_as_it_was_told() -> None:
    run = replace(a_run(), trouble=Trouble(text="the first", since=NOW))

    assert run.troubled("the second", LATER).trouble == Trouble(text="the first", since=NOW)


def test_a_failed_try_is_counted_put_off_and_drops_what_only_this_process_knew() -> None:
    run = replace(a_run(), attempts=1, fresh=True, package_url=SecretUrl("https://blob.example/dmf/a?sig=x"))

    after = run.failed_once_more(8.0, LATER)

    assert (after.attempts, after.due, after.fresh, after.package_url) == (2, LATER + timedelta(seconds=8), False, None)


def test_a_submission_is_added_and_no_earlier_one_is_forgotten() -> None:
    run = a_run(state=State.UPLOADED).submitting(Submission(execution_id="one", chosen=NOW), NOW)
    run = run.moved_to(State.UPLOADED, NOW).submitting(Submission(execution_id="two", chosen=LATER), LATER)

    assert run.execution_id == "two"
    assert [submission.execution_id for submission in run.submissions] == ["one", "two"]


def test_a_submission_is_changed_by_its_id_alone() -> None:
    one, two = Submission(execution_id="one", chosen=NOW), Submission(execution_id="two", chosen=NOW)
    run = replace(a_run(), submissions=(one, two))

    changed = run.with_submission(replace(one, fenced=LATER))

    assert changed.submissions == (replace(one, fenced=LATER), two)


A_CALL = RemoteCallRecord(service="F&O", operation="x", status=503, request_id="r", took_s=0.1, began=LATER)


def test_equal_steps_in_a_row_become_one_with_the_first_beginning_and_the_last_rest() -> None:
    run = a_run().with_step(replace(a_step(error="busy"), calls=(A_CALL,)))

    last = replace(A_CALL, request_id="another")
    run = run.with_step(replace(a_step(error="busy", began=LATER), took_s=9.0, calls=(last,)))

    assert run.steps == (replace(a_step(error="busy"), took_s=9.0, calls=(last,), times=2),)


@pytest.mark.parametrize(
    "other",
    [
        a_step("upload"),
        a_step(error="other words"),
        replace(a_step(), state=State.SUBMITTING),
        replace(a_step(), calls=(A_CALL,)),
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


def test_log_lines_name_the_execution_once_there_is_one() -> None:
    assert "execution_id" not in a_run().log_keys()
    run = replace(a_run(), submissions=(Submission(execution_id="one", chosen=NOW),))
    assert run.log_keys() == {
        "run_id": "0123456789ab",
        "flow": "import",
        "lane": "in-1",
        "file": "USMF_Customers_001.zip",
        "execution_id": "one",
    }


def test_log_lines_name_company_and_data_project_once_they_are_known() -> None:
    run = replace(a_run(), company="USMF", data_project="Customers")

    assert {"company": "USMF", "data_project": "Customers"}.items() <= run.log_keys().items()


# The record


def test_a_record_gives_back_everything_that_was_set() -> None:
    run = Run(
        run_id="0123456789ab",
        flow=FlowKind.IMPORT,
        integration="Kunden & Müller",
        lane="in-1",
        state=State.FINISHED,
        state_since=NOW,
        due=LATER,
        opened=NOW,
        file=FileFacts(
            name="USMF_Größe 100%.zip",
            item_id="01ABC!7",
            size_bytes=7897,
            etag='"{85B04C8E},2"',
            modified=NOW,
            quick_xor_hash="SgAAAAAAAAAAAAAAAQAAAAAAAAA=",
            folder="/Processing",
            is_complete=False,
            web_url="https://contoso-my.sharepoint.com/a.zip",
        ),
        order="20261102T083000123456Z-01ABC%217",
        data_project="Asset-Major-Types",
        company="USMF",
        package=UploadedPackage(blob_name="a.zip", blob_path="blob.example/dmf/a.zip", key_expires=LATER),
        entities=("Fixed asset major type", "Überschuss"),
        submissions=(
            Submission(execution_id="one", chosen=NOW, blob_name="a.zip", fenced=LATER, missing_since=NOW),
            Submission(execution_id="two", chosen=LATER, delivered_as="out.zip"),
        ),
        outcome=Outcome.PARTIALLY_SUCCEEDED,
        reason='3 of 120 rows failed: "ß"',
        attempts=3,
        error_keys_of=("Fixed asset major type",),
        report_attempts=2,
        failed_rows=(FailedRow(record_id="1", field="NAME", message="Größe?"),),
        failed_rows_total=7,
        summary_url="https://contoso.operations.dynamics.com/?mi=x",
        report_url="https://contoso-my.sharepoint.com/a.report.txt",
        trouble=Trouble(text="stuck", since=NOW),
        steps=(
            StepRecord(
                step="watch",
                state=State.EXECUTING,
                began=NOW,
                took_s=0.125,
                calls=(
                    RemoteCallRecord(
                        service="F&O",
                        operation="GetExecutionSummaryStatus",
                        status=None,
                        request_id="8d3c",
                        took_s=1.5,
                        began=NOW,
                    ),
                ),
                error="no answer",
                times=7,
                by="anna@contoso.com",
                why="the rows were wrong",
            ),
        ),
        ended=LATER,
        again=Successor(run_id="ba9876543210", opened=LATER, lane="in-1", order="20261102T093000000000Z-01ABC%217"),
        again_of="1793608200123-00000000aaaa",
        again_number=1,
    )
    # A field that is added to Run later has to be set here, too.
    blank = a_run()
    same = {each.name for each in fields(Run) if getattr(run, each.name) == getattr(blank, each.name)}
    assert same <= NOT_SAVED | {"run_id", "flow", "lane", "state_since", "opened"}

    assert run_from_json(run_to_json(run)) == run
    assert run_from_json(run_to_json(run).encode()) == run


def test_a_record_of_a_run_that_has_just_been_opened_comes_back_as_it_was() -> None:
    assert run_from_json(run_to_json(a_run())) == a_run()


def test_what_only_this_process_knows_is_never_saved() -> None:
    run = replace(
        a_run(), fresh=True, package_url=SecretUrl("https://blob.example/dmf/a?sig=topsecret"), record_etag='"0x8D"'
    )

    text = run_to_json(run)
    read = run_from_json(text)

    assert not NOT_SAVED & set(json.loads(text))
    assert "topsecret" not in text
    assert "0x8D" not in text
    assert (read.fresh, read.package_url, read.record_etag) == (False, None, "")


def test_every_field_that_is_not_saved_is_left_out_of_comparisons() -> None:
    assert {each.name for each in fields(Run) if not each.compare} == NOT_SAVED


def test_times_are_saved_in_utc() -> None:
    run = replace(a_run(), due=NOW.astimezone(timezone(timedelta(hours=5, minutes=30))))

    assert json.loads(run_to_json(run))["due"] == "2026-11-02T08:30:00.123456+00:00"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"format": 2}', '{"format": "1"}'])
def test_a_text_that_is_no_record_of_this_version_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        run_from_json(text)


_instants = st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # hypothesis wants naive bounds


@given(
    st.builds(
        Run,
        run_id=st.text(),
        flow=st.sampled_from(FlowKind),
        integration=st.text(),
        lane=st.text(),
        state=st.sampled_from(State),
        state_since=_instants,
        due=_instants,
        opened=_instants,
        order=st.text(),
        data_project=st.text(),
        company=st.text(),
        entities=st.lists(st.text()).map(tuple),
        reason=st.text(),
        attempts=st.integers(0, 10**6),
        report_attempts=st.integers(0, 100),
        outcome=st.none() | st.sampled_from(Outcome),
        ended=st.none() | _instants,
        error_keys_of=st.none() | st.lists(st.text()).map(tuple),
        trouble=st.none() | st.builds(Trouble, since=_instants),
        again=st.none() | st.builds(Successor, opened=_instants),
        package=st.none() | st.builds(UploadedPackage, key_expires=st.none() | _instants),
        file=st.builds(FileFacts, modified=st.none() | _instants),
        submissions=st.lists(
            st.builds(Submission, chosen=_instants, fenced=st.none() | _instants, missing_since=st.none() | _instants),
            max_size=3,
        ).map(tuple),
        steps=st.lists(
            st.builds(
                StepRecord,
                began=_instants,
                took_s=st.floats(0, 1e6),
                calls=st.lists(st.builds(RemoteCallRecord, began=_instants, took_s=st.floats(0, 1e6)), max_size=2).map(
                    tuple
                ),
            ),
            max_size=3,
        ).map(tuple),
        fresh=st.just(False),
        package_url=st.none(),
        record_etag=st.just(""),
    )
)
def test_any_run_survives_its_record(run: Run) -> None:
    assert run_from_json(run_to_json(run).encode()) == run


def test_the_kinds_of_a_runs_fields_are_all_known_to_its_record() -> None:
    """A new field of a new kind would come back as a plain dict: this fails first."""
    plain = {str, int, bool, float, type(None), datetime}
    read_back = {
        FlowKind,
        State,
        Outcome,
        FileFacts,
        UploadedPackage,
        Submission,
        StepRecord,
        Trouble,
        RemoteCallRecord,
        FailedRow,
        Successor,
    }

    def kinds(hint: object) -> set[object]:
        inner = {kind for argument in get_args(hint) for kind in kinds(argument)}
        return inner or {hint}

    used = {
        kind
        for owner in (
            Run,
            FileFacts,
            UploadedPackage,
            Submission,
            StepRecord,
            Trouble,
            RemoteCallRecord,
            FailedRow,
            Successor,
        )
        for name, hint in get_type_hints(owner).items()
        if name not in NOT_SAVED
        for kind in kinds(hint)
    }
    assert used - {Ellipsis} <= plain | read_back


# Giving up


@pytest.mark.parametrize("flow", FlowKind)
def test_a_run_is_given_up_as_long_as_nobody_knows_its_end_and_no_way_leads_back_to_f_and_o(flow: FlowKind) -> None:
    for state in MOVES[flow]:
        run = replace(a_run(), flow=flow, state=state, attempts=3)
        if not run.can_be_given_up:
            assert state in (State.FINISHED, State.FILED, State.WITHDRAWN, State.DELIVERED, State.FAILED)
            with pytest.raises(ValueError, match="cannot be given up"):
                run.given_up("enough", NOW)
            continue
        given_up = run.given_up("enough", NOW)
        assert (given_up.outcome, given_up.reason, given_up.attempts) == (Outcome.GIVEN_UP, "enough", 0)
        assert MOVES[flow][given_up.state] <= {State.FILED}


def test_what_two_people_did_one_after_the_other_is_told_of_both() -> None:
    def press(by: str) -> StepRecord:
        return StepRecord(step="check_now", state=State.EXECUTING, began=NOW, took_s=0.0, by=by)

    run = a_run().with_step(press("anna")).with_step(press("anna")).with_step(press("ben"))

    assert [(step.by, step.times) for step in run.steps] == [("anna", 2), ("ben", 1)]


# Ids and names


def test_an_execution_id_is_readable_and_fits_into_fo() -> None:
    execution_id = new_execution_id("Asset-Major-Types", NOW)

    assert re.fullmatch(r"Asset-Major-Types-20261102T083000-[0-9a-f]{12}", execution_id)


@given(st.text(max_size=200))
def test_an_execution_id_of_any_project_has_at_most_60_plain_characters(data_project: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,59}", new_execution_id(data_project, NOW))


def test_no_two_execution_ids_are_alike() -> None:
    assert len({new_execution_id("Assets", NOW) for _ in range(1000)}) == 1000


def test_an_execution_ids_moment_is_told_in_utc() -> None:
    assert "T083000-" in new_execution_id("Assets", NOW.astimezone(timezone(timedelta(hours=-8))))


def test_run_ids_differ_and_are_short() -> None:
    ids = {
        new_run(
            flow=FlowKind.IMPORT,
            state=State.FOUND,
            integration="import",
            lane="in-import",
            order="1",
            file=FileFacts(name="a.zip"),
            now=NOW,
        ).run_id
        for _ in range(1000)
    }
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
