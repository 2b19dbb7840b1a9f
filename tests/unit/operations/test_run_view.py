"""One run as a person reads it: what came of each step, and what it waits for."""

from dataclasses import replace
from datetime import timedelta

import pytest

from operations import labels, run_view
from operations.run_view import Mark, RunAhead
from shared.runs.run import Run
from shared.runs.states import Outcome, State
from shared.runs.values import FileFacts, Problem, RemoteCallRecord
from tests.builders import NOON, a_run, a_step

SECOND = timedelta(seconds=1)


def marks(run: Run) -> list[Mark]:
    return [step.mark for step in run_view.view_run(run, None).steps]


def test_a_step_says_how_long_the_run_had_waited_for_it() -> None:
    first = a_step("claim", State.FOUND, took_s=2.0)
    second = a_step("prepare", State.CLAIMED, began=NOON + 10 * SECOND)

    steps = run_view.view_run(a_run(steps=(first, second)), None).steps

    assert [(step.title, step.waited) for step in steps] == [
        (labels.STEP_TITLE["claim"], None),
        (labels.STEP_TITLE["prepare"], 8 * SECOND),
    ]


def test_a_step_that_led_nowhere_is_not_done() -> None:
    expected = (
        (a_step("claim", State.FOUND, error="it is locked", times=15), Mark.NOT_YET),
        (a_step("claim", State.FOUND), Mark.DONE),
        (a_step("prepare", State.CLAIMED), Mark.NOT_YET),  # another run has the data project
        (a_step("prepare", State.CLAIMED, error="it is busy"), Mark.NOT_YET),
        (a_step("check_now", State.CLAIMED, by="Anna"), Mark.PERSON),
        (a_step("prepare", State.CLAIMED), Mark.DONE),
        (a_step("submit", State.SUBMITTING, error="F&O is busy"), Mark.NOT_YET),
        (a_step("prepare", State.CLAIMED), Mark.DONE),
        (a_step("submit", State.SUBMITTING), Mark.DONE),
    )

    run = a_run(steps=tuple(step for step, _ in expected), state=State.EXECUTING)

    assert marks(run) == [mark for _, mark in expected]


@pytest.mark.parametrize(
    ("run", "mark"),
    [
        (a_run(steps=(a_step("prepare", State.CLAIMED, error="no package"),), state=State.FINISHED), Mark.FAILED),
        (
            a_run(steps=(a_step("claim", State.FOUND, error="403"),), problem=Problem(text="403", since=NOON)),
            Mark.FAILED,
        ),
        (a_run(steps=(a_step("claim", State.FOUND),), state=State.WITHDRAWN, outcome=Outcome.WITHDRAWN), Mark.NOT_YET),
        (a_run(steps=(a_step("upload", State.CLAIMED),), state=State.EXECUTING), Mark.DONE),  # of an older version
    ],
    ids=["rejected", "needs a person", "removed", "older"],
)
def test_a_last_step_is_marked_by_what_came_of_it(run: Run, mark: Mark) -> None:
    assert marks(run) == [mark]


def test_what_was_refused_stays_in_a_step_that_was_counted() -> None:
    refused = RemoteCallRecord(
        service="F&O", operation="GetExecutionSummaryStatus", status=400, request_id="", took_s=0.1, began=NOON
    )
    run = a_run()
    for call in (refused, replace(refused, status=200), *(replace(refused, status=500) for _ in range(9))):
        run = run.with_step(a_step("poll", State.EXECUTING, calls=(call,)))

    (step,) = run_view.view_run(run, None).steps
    assert step.refusals == ("GetExecutionSummaryStatus 500",)
    assert (len(step.record.calls), step.record.times) == (6, 11)


def test_a_run_after_another_waits_for_its_turn() -> None:
    ahead = RunAhead(address="1-2-3", run_id="ffffffffffff", file_name="USMF_First_001.zip")

    waits = run_view.view_run(a_run(), ahead).next

    assert waits is not None
    assert (waits.waits_for, waits.run_ahead, waits.next_check) == ("its turn", ahead, None)


def test_a_run_whose_step_failed_waits_for_another_try_at_its_due_time() -> None:
    failed = a_step("claim", State.FOUND, error="throttled")
    run = a_run(steps=(failed,), attempts=3, due=NOON + 8 * SECOND)

    waits = run_view.view_run(run, None).next

    assert waits is not None
    assert waits.title == labels.STEP_TITLE["claim"]
    assert (waits.waits_for, waits.next_check) == ("another try; 3 have failed", NOON + 8 * SECOND)


def test_a_run_that_has_ended_waits_for_nothing() -> None:
    over = a_run(state=State.FILED, ended=NOON + 90 * SECOND, outcome=Outcome.SUCCEEDED)

    view = run_view.view_run(over, None)

    assert (view.next, view.took) == (None, 90 * SECOND)


@pytest.mark.parametrize("address", ["javascript:alert(1)", "data:text/html,x", "//elsewhere", "ftp://x", ""])
def test_an_address_that_is_no_web_address_is_no_link(address: str) -> None:
    run = a_run(file=FileFacts(name="x.zip", web_url=address), summary_url=address, report_url=address)

    assert run_view.view_run(run, None).links == ()
