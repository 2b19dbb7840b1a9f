"""What imports and exports do alike about an execution of F&O: submit, look up, poll; is it stuck, when to poll again.

Nothing here waits. An execution takes seconds or hours at the same cost; a run says when it is due for its next poll.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from shared.app import Services
from shared.clients.fno.client import EntityProgress, ExecutionStatus, FinanceOperations
from shared.clients.fno.refusals import PackageUnreadable
from shared.clients.fno.row_errors import RowError
from shared.errors import AppError, FileRejected, NeedsPerson, NotFound, ProjectBusy, Refused
from shared.log import log
from shared.moments import utc_minute_text
from shared.reservations import reserve
from shared.reservations.reservation import names_of
from shared.runs.machine import StepFailed
from shared.runs.run import Run
from shared.runs.states import State
from shared.runs.values import About, FailedRow, Submission
from shared.secret import redacted

# Of the time that an execution has taken already, wait this share before the next poll, and less while it is young: a
# job of 2 hours is polled about 50 times, and its end is seen at most a quarter late, one of half a minute at most a
# tenth, within the bounds of the settings.
WAIT_SHARE: Final = 0.25
YOUNG_SHARE: Final = 0.1
YOUNG_S: Final = 60.0

# A worker stays with an execution for POLL_STAY_SECONDS after its begin and about its usual end, polling this often at
# first: most take a few seconds, and the way through the queue takes as long again. See docs/decisions/0011.
FIRST_POLL_S: Final = 0.25
# A wake-up comes up to 1.5 seconds late: storage delays by whole seconds, and the host polls its queue every half
# second (maxPollingInterval in host.json). So it is asked for that much before.
WAKE_LATENCY_S: Final = 1.5

# F&O answers Unknown, or 400 "not found", for a while after a submit.
UNKNOWN_GRACE: Final = timedelta(minutes=10)

# The soonest that F&O forgets an execution: a clean-up of the job history keeps them for 7 days unless told otherwise.
# Without one that is scheduled, they go after 90 days.
# https://learn.microsoft.com/dynamics365/fin-ops-core/dev-itpro/data-entities/data-import-export-job
HISTORY_KEPT: Final = timedelta(days=7)

# Of the ids that F&O has refused the last ones stay on the run: while a data project is busy there is one a minute.
REFUSED_KEPT: Final = 50

# After so many submits in a row of which the answer was lost, a person decides whether there is another one.
LOST_SUBMITS: Final = 5
# Seconds between two look-ups of a run that a person is to decide about.
LOST_POLL_S: Final = 300.0

# Seconds between two look-ups of an execution that ImportFromPackageAsync may have begun, in its longer grace time.
ASYNC_LOOK_S: Final = 30.0

# Seconds until an execution that ended in contention is sent again, at least.
CONTENTION_S: Final = 5.0

# Row errors that a run's record keeps, and characters of each message: a record stays small.
ROWS_KEPT: Final = 100
MESSAGE_KEPT: Final = 500


def record_accepted(run: Run, answered_id: str, services: Services) -> Run:
    """Return a run whose execution F&O has accepted, under the id that it answered with: ours, as documented."""
    settings, now = services.settings, services.now()
    wait_s = 0.0 if settings.poll_stay_s else settings.poll_first_s
    executing = replace(run.moved_to(State.EXECUTING, now), lost_submits=0).waiting(wait_s, now)
    if answered_id == run.execution_id:
        return executing
    # The id that was sent stays on the run, as every id does; from now on F&O is asked about its own.
    its_own = replace(run.submissions[-1], execution_id=answered_id)
    reserve.note_execution(run, answered_id, services)
    return replace(executing, submissions=(*run.submissions, its_own))


def record_refusal(run: Run, error: AppError, back_to: State, now: datetime) -> StepFailed:
    """Return the failure of a submit after which it is certain that F&O has not begun; the next try gets its own id.

    An id that never reached F&O is unused and goes; one that F&O has refused stays, for F&O may show it.
    """
    log.warning("submit.refused", reason=str(error))
    is_refused = isinstance(error, ProjectBusy | PackageUnreadable | FileRejected | Refused | NeedsPerson)
    if is_refused:
        run = replace(run.with_submission(replace(run.submissions[-1], never_began=True)), lost_submits=0)
    else:
        run = replace(run, submissions=run.submissions[:-1])
    run = replace(run, submissions=_without_old_refusals(run.submissions))
    return StepFailed(run.moved_to(back_to, now), error)


def _without_old_refusals(submissions: tuple[Submission, ...]) -> tuple[Submission, ...]:
    """Return the submissions without the oldest of those that certainly never began; all others stay."""
    refused = [each.execution_id for each in submissions if each.never_began]
    dropped = set(refused[:-REFUSED_KEPT])
    return tuple(each for each in submissions if each.execution_id not in dropped)


def record_lost_submit(run: Run, back_to: State, services: Services) -> Run:
    """Return a run of which a submit was lost for good: to be sent again, but for the fifth time in a row.

    Then it only looks up, and a person decides: whatever keeps answers from coming, F&O may have done something.
    """
    now = services.now()
    if run.lost_submits + 1 < LOST_SUBMITS:
        return replace(run.moved_to(back_to, now), lost_submits=run.lost_submits + 1)
    log.error("submission.lost_too_often", times=run.lost_submits + 1)
    text = (
        f"F&O's response to the submit of {run.file.name} was lost {LOST_SUBMITS} times in a row, and F&O does not "
        "know any of these executions. The app does not submit the file again by itself; it keeps asking F&O. "
        "Check in F&O under Data management > Job history whether one of them exists, then press 'Submit again' or "
        "'Cancel'."
    )
    told = replace(run, lost_submits=LOST_SUBMITS).without_problem(About.FAILING)
    return told.flagged(text, now, About.LOST).waiting(LOST_POLL_S, now)


def is_left_to_person(run: Run) -> bool:
    """Return whether so many submits of a run were lost in a row that only a person lets it be submitted again."""
    return run.lost_submits >= LOST_SUBMITS


def wait_before_next_submit(run: Run, since: datetime, now: datetime, services: Services) -> Run | None:
    """Return a run, due later, if it must wait after a submit without an answer; None if it may be submitted again.

    since: when its grace time began; now: from before F&O was asked, so that it is asked once more after that time.
    """
    grace_over = since + timedelta(seconds=run.submit_grace_s(services.settings.submit_grace_s))
    if now < grace_over:
        left_s = (grace_over - now).total_seconds()
        return run.waiting(min(left_s, ASYNC_LOOK_S) if run.is_asynchronous else left_s, now)
    return run.waiting(LOST_POLL_S, now) if is_left_to_person(run) else None


def with_reserved(run: Run, environment_url: str) -> Run:
    """Return a run with the names that it holds: an older version did not save them."""
    if run.reserved or not run.data_project:
        return run
    return replace(run, environment_url=environment_url, reserved=names_of(run))


def is_known(execution_id: str, fno: FinanceOperations) -> bool:
    """Return whether F&O knows an execution under this id, by its status or by its job details."""
    try:
        status = fno.execution_status(execution_id)
    except NotFound:
        status = ExecutionStatus.UNKNOWN
    # "Unknown" is also what F&O may say about an id that it has never seen.
    return status is not ExecutionStatus.UNKNOWN or bool(fno.job_details(execution_id))


def known_submission(run: Run, fno: FinanceOperations) -> Submission | None:
    """Return which of the executions that a run may have begun F&O knows; the last one is asked for first.

    The others are asked for only once a person has to decide: until then they are fenced, or were looked after.
    """
    may_have_begun = [each for each in reversed(run.submissions) if not each.never_began]
    asked = may_have_begun if is_left_to_person(run) else may_have_begun[:1]
    return next((each for each in asked if is_known(each.execution_id, fno)), None)


def record_found(run: Run, submission: Submission, now: datetime) -> Run:
    """Return a run whose execution F&O turned out to know; it is the last of its submissions from now on."""
    log.info("submission.found", execution_id=submission.execution_id)
    others = tuple(each for each in run.submissions if each.execution_id != submission.execution_id)
    run = replace(run, submissions=(*others, submission), lost_submits=0).without_problem(About.LOST)
    return run.moved_to(State.EXECUTING, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled:
    """What F&O says of an execution."""

    status: ExecutionStatus
    is_found: bool = True  # F&O knows it
    is_forgotten: bool = False  # and never will: its history is cleared away
    known_as: str = ""  # the id that F&O knows it by, if that is not the one that it answered with

    def of(self, run: Run) -> Run:
        """Return the run with the id that F&O knows its execution by as its last one."""
        if not self.known_as:
            return run
        log.info("submission.found", execution_id=self.known_as)
        last = next(each for each in run.submissions if each.execution_id == self.known_as)
        return replace(run, submissions=(*(each for each in run.submissions if each is not last), last))


def poll(run: Run, fno: FinanceOperations, services: Services) -> Polled:
    """Ask F&O once how far the execution of a run is. Unknown for longer than the grace is settled by its entities."""
    polled = _ask(run, fno, services)
    if polled.status.is_final:
        services.last_execution_s[run.lane] = _age_s(run, services)
    return polled


def _stay_s(run: Run, age_s: float, services: Services) -> float | None:
    """Return the seconds until a worker that stays polls again; None if the end is so far off that it does not stay."""
    usual_s = services.last_execution_s.get(run.lane)
    away_s = age_s if usual_s is None else min(age_s, abs(age_s - usual_s))
    wait_s = max(away_s * WAIT_SHARE, FIRST_POLL_S)
    return wait_s if away_s + wait_s <= services.settings.poll_stay_s else None


def _age_s(run: Run, services: Services) -> float:
    return (services.now() - run.state_since).total_seconds()


def _ask(run: Run, fno: FinanceOperations, services: Services) -> Polled:
    polled_for = services.now() - run.state_since
    is_found = True
    try:
        status = fno.execution_status(run.execution_id)
    except NotFound as error:
        log.info("execution.not_found", reason=error.message)
        status, is_found = ExecutionStatus.UNKNOWN, False
    # "Unknown" is also what F&O may say about an id that it has never seen.
    if status is ExecutionStatus.UNKNOWN and (sent_as := _sent_as(run)) and is_known(sent_as, fno):
        return Polled(status=status, known_as=sent_as)
    if status is not ExecutionStatus.UNKNOWN or polled_for <= UNKNOWN_GRACE:
        return Polled(status=status, is_found=is_found)
    entities = fno.job_details(run.execution_id)
    if not is_found and not entities:
        return Polled(status=status, is_found=False, is_forgotten=polled_for > HISTORY_KEPT)
    status = _status_by_entities(entities, is_staging_only=run.is_staging_only)
    if status is ExecutionStatus.SUCCEEDED and _has_row_errors(run.execution_id, fno):
        status = ExecutionStatus.PARTIALLY_SUCCEEDED  # an entity that is done may have lost rows all the same
    return Polled(status=status)  # found: by its details, if not by its status


def _sent_as(run: Run) -> str:
    """Return the id that the last submit was sent with if F&O has answered it with another one, else ""."""
    if len(run.submissions) < 2 or run.submissions[-2].chosen != run.submissions[-1].chosen:
        return ""
    return run.submissions[-2].execution_id


def _has_row_errors(execution_id: str, fno: FinanceOperations) -> bool:
    try:
        return bool(fno.execution_errors(execution_id).rows)
    except NotFound:
        return False  # as it does not know the status of this execution, either


def forgotten_message(run: Run) -> str:
    """Return what a person is told about an execution that F&O has forgotten."""
    return (
        f"F&O started execution {run.execution_id} of data project {run.data_project} at "
        f"{utc_minute_text(run.state_since)} but no longer knows it, so its outcome is unknown."
    )


def _status_by_entities(entities: tuple[EntityProgress, ...], *, is_staging_only: bool) -> ExecutionStatus:
    ended = [entity.has_ended_staging if is_staging_only else entity.has_ended for entity in entities]
    if not entities or not all(ended):
        return ExecutionStatus.UNKNOWN
    done = [entity.is_staged if is_staging_only else entity.is_done for entity in entities]
    failed = done.count(False)
    if not failed:
        return ExecutionStatus.SUCCEEDED
    return ExecutionStatus.FAILED if failed == len(entities) else ExecutionStatus.PARTIALLY_SUCCEEDED


def put_off_poll(run: Run, polled: Polled, stuck_after: timedelta, services: Services) -> Run:
    """Return a run whose execution goes on, due for its next poll; flagged, once, if it is stuck.

    So is one that F&O has accepted and does not show. Either is polled on, and never sent again: F&O may be at work.
    While it may end at any moment the next poll is the worker's own, and nothing else is noted.
    """
    now = services.now()
    elapsed = now - run.state_since
    stay_s = _stay_s(run, elapsed.total_seconds(), services)
    run = run.with_a_good_try()
    run = replace(run, in_process=replace(run.in_process, is_end_near=stay_s is not None))
    if stay_s is not None:
        return run.waiting(stay_s, now)
    run = run.waiting(_next_poll_s(run, services), now)
    if polled.is_found and polled.status is not ExecutionStatus.UNKNOWN and run.submissions[-1].seen is None:
        run = run.with_submission(replace(run.submissions[-1], seen=now))
    minutes = elapsed.total_seconds() / 60
    if not polled.is_found and elapsed > UNKNOWN_GRACE:
        return run.flagged(
            f"F&O accepted execution {run.execution_id} of data project {run.data_project} {minutes:.0f} minutes ago "
            "but does not know it. It is not submitted again, because F&O may have imported it anyway. Check in F&O "
            "under Data management > Job history whether it exists, perhaps under another id. If not, cancel this run "
            "and run it again. Until then the app keeps asking F&O.",
            now,
            About.EXECUTION,
        )
    if elapsed <= stuck_after:
        return run if not polled.is_found else run.without_problem(About.EXECUTION)
    return run.flagged(
        f"F&O has been working on execution {run.execution_id} of data project {run.data_project} for {minutes:.0f} "
        f"minutes, and its status is {polled.status.value}. Look at it in F&O under Data management > Job history: is "
        "the batch service running, does the execution hang? The app keeps polling it and does not submit it again.",
        now,
        About.EXECUTION,
    )


def _next_poll_s(run: Run, services: Services) -> float:
    """Return the seconds until the next poll: longer each time, but one comes just before the usual end."""
    settings, age_s = services.settings, _age_s(run, services)
    share = YOUNG_SHARE if age_s < YOUNG_S else WAIT_SHARE
    wait_s = min(max(age_s * share, settings.poll_first_s), settings.poll_longest_s)
    usual_s = services.last_execution_s.get(run.lane) if settings.poll_stay_s else None
    until_usual_s = (usual_s or 0.0) - WAKE_LATENCY_S - age_s
    return until_usual_s if 0 < until_usual_s < wait_s else wait_s


def record_details(run: Run, rows: Sequence[RowError] | None, summary_url: str) -> Run:
    """Return a run with what F&O tells about its execution, as much of it as a record keeps.

    rows: None if F&O did not hand them out.
    """
    are_told, rows = rows is not None, rows or ()
    kept = tuple(
        FailedRow(record_id=row.record_id, field=row.field, message=redacted(row.message)[:MESSAGE_KEPT])
        for row in rows[:ROWS_KEPT]
    )
    return replace(run, failed_rows=kept, failed_rows_total=len(rows), are_rows_told=are_told, summary_url=summary_url)
