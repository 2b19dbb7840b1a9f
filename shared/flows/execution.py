"""What both flows do about an execution of F&O: is it known, how far is it, when is it stuck, how long to wait.

An execution takes seconds or hours at the same cost: nothing here waits, it only says when to look again.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from shared.clients.dmf import EntityProgress, ExecutionStatus, FinanceOperations, PackageUnreadable, RowError
from shared.clients.run_store import LeaseTaken
from shared.domain.run import FailedRow, Run, State, Submission
from shared.errors import AppError, FileRejected, NotFound, ProjectBusy, TryAgain
from shared.flows.runner import MENDED_LOOK_S, TRIES_BEFORE_ALERT
from shared.log import log
from shared.secret import redacted
from shared.services import Services

# Of the time that an execution has taken already, wait this share before the next look, and less while it is young: a
# job of 2 hours is looked at about 50 times, and its end is seen at most a quarter late, one of half a minute at most a
# tenth, within the bounds of the settings.
WAIT_SHARE: Final = 0.25
YOUNG_SHARE: Final = 0.1
YOUNG_S: Final = 60.0

# A worker stays with an execution for POLL_STAY_SECONDS after its begin and about its usual end, looking this often at
# first: most take a few seconds, and the way through the queue takes as long again. See docs/decisions/0011.
FIRST_LOOK_S: Final = 0.25
# A wake-up comes up to 1.5 seconds late: storage delays by whole seconds, and the host polls its queue every half
# second (maxPollingInterval in host.json). So it is asked for that much before.
WAKE_LATENCY_S: Final = 1.5

# F&O answers Unknown, or 400 "not found", for a while after a submit.
UNKNOWN_GRACE: Final = timedelta(minutes=10)

# F&O's clean-up of the job history forgets an execution after 7 days.
# https://learn.microsoft.com/dynamics365/fin-ops-core/dev-itpro/data-entities/data-import-export-job
HISTORY_KEPT: Final = timedelta(days=7)

# F&O takes one execution of a data project at a time; seconds until it is asked again whether it can begin.
FIRST_BUSY_S: Final = 5.0
LONGEST_BUSY_S: Final = 60.0

# Of the ids that F&O has refused the last ones stay on the run: while a data project is busy there is one a minute.
REFUSED_KEPT: Final = 50

# Seconds until the next try of a submit that certainly was not sent: throttled, unreachable, not our turn.
NOT_SENT_S: Final = 5.0

# Row errors that a run's record keeps, and characters of each message: a record stays small.
ROWS_KEPT: Final = 100
MESSAGE_KEPT: Final = 500

# Words for the state of one entity, which no source defines: free text, compared without case.
_ENTITY_DONE: Final = frozenset({"succeeded", "finished"})
_ENTITY_FAILED: Final = frozenset({"error", "failed", "partiallysucceeded", "canceled"})


def begun(run: Run, answered_id: str, services: Services) -> Run:
    """Return a run whose execution F&O has accepted, under the id that it answered with: ours, as documented."""
    settings, now = services.settings, services.now()
    wait_s = 0.0 if settings.poll_stay_s else settings.poll_first_s
    executing = run.moved_to(State.EXECUTING, now).waiting(wait_s, now)
    if answered_id == run.execution_id:
        return executing
    # The id that was sent stays on the run, as every id does; from now on F&O is asked about its own. Not fresh: it is
    # saved before anything else, because nobody could find it again.
    its_own = replace(run.submissions[-1], execution_id=answered_id)
    return replace(executing, submissions=(*run.submissions, its_own), fresh=False)


def not_begun(run: Run, error: AppError, back_to: State, now: datetime) -> Run:
    """Return a SUBMITTING run to an earlier state: it is certain that F&O has not begun.

    The next try gets an id of its own. A person hears of what only a person can mend, at once, and of the rest after a
    while.
    """
    match error:
        case ProjectBusy():
            wait_s = busy_wait_s(run)
        case TryAgain(retry_after_s=float(asked)):
            wait_s = asked
        case TryAgain():
            wait_s = NOT_SENT_S
        case _:
            wait_s = MENDED_LOOK_S
    log.warning("submit.not_begun", reason=str(error), wait_s=wait_s)
    if not isinstance(error, ProjectBusy | PackageUnreadable | FileRejected):
        run = replace(run, submissions=run.submissions[:-1])  # it never reached F&O, so its id is still unused
    run = replace(run, submissions=_without_old_refusals(run.submissions))
    # To wait for the others' turns is no failure, however many there are.
    attempts = run.attempts + (not isinstance(error, LeaseTaken))
    back = replace(run.moved_to(back_to, now), attempts=attempts).waiting(wait_s, now)
    needs_person = not isinstance(error, TryAgain) or back.attempts >= TRIES_BEFORE_ALERT
    return back.troubled(str(error), now) if needs_person else back


def _without_old_refusals(submissions: tuple[Submission, ...]) -> tuple[Submission, ...]:
    """Return the submissions without the oldest of those that F&O has certainly refused.

    Wherever an answer was lost, the submission says since when F&O was found not to know it: those all stay.
    """
    refused = [each.execution_id for each in submissions if each.missing_since is None]
    dropped = set(refused[:-REFUSED_KEPT])
    return tuple(each for each in submissions if each.execution_id not in dropped)


def is_known(execution_id: str, fno: FinanceOperations) -> bool:
    """Return whether F&O knows an execution under this id, by its status or by its job details."""
    try:
        status = fno.execution_status(execution_id)
    except NotFound:
        status = ExecutionStatus.UNKNOWN
    # "Unknown" is also what F&O may say about an id that it has never seen.
    return status is not ExecutionStatus.UNKNOWN or bool(fno.job_details(execution_id))


def status_of(run: Run, fno: FinanceOperations, services: Services, *, stay: bool = True) -> ExecutionStatus | None:
    """Return how far the execution of a run is; None where F&O has forgotten it, so that nobody can say any more.

    stay: while it may end at any moment, ask again and again, as if F&O's answer took so long: see _stay_s.
    """
    while True:
        status, age_s = _status_now(run, fno, services), _age_s(run, services)
        if status is None:
            return None
        if status.is_final:
            services.note_took(run.lane, age_s)
            return status
        wait_s = _stay_s(run, age_s, services) if stay else None
        if wait_s is None:
            return status
        services.pause(wait_s)


def _stay_s(run: Run, age_s: float, services: Services) -> float | None:
    """Return the seconds until a worker that stays looks again; None where its end is so far off that it gives way."""
    usual_s = services.usually_takes_s(run.lane)
    away_s = age_s if usual_s is None else min(age_s, abs(age_s - usual_s))
    wait_s = max(away_s * WAIT_SHARE, FIRST_LOOK_S)
    return wait_s if away_s + wait_s <= services.settings.poll_stay_s else None


def _age_s(run: Run, services: Services) -> float:
    return (services.now() - run.state_since).total_seconds()


def _status_now(run: Run, fno: FinanceOperations, services: Services) -> ExecutionStatus | None:
    """Return what F&O says now. Unknown for longer than the grace is settled by the entities."""
    watched_for = services.now() - run.state_since
    is_found = True
    try:
        status = fno.execution_status(run.execution_id)
    except NotFound as error:
        log.info("execution.not_found", reason=error.message)
        status, is_found = ExecutionStatus.UNKNOWN, False
    if status is not ExecutionStatus.UNKNOWN or watched_for <= UNKNOWN_GRACE:
        return status
    entities = fno.job_details(run.execution_id)
    if not is_found and not entities and watched_for > HISTORY_KEPT:
        return None
    status = _status_by_entities(entities)
    if status is ExecutionStatus.SUCCEEDED and is_found and fno.execution_errors(run.execution_id).rows:
        return ExecutionStatus.PARTIALLY_SUCCEEDED  # an entity that is done may have lost rows all the same
    return status


def forgotten(run: Run) -> str:
    """Return what a person is told about an execution that F&O has forgotten."""
    return (
        f"F&O had begun execution {run.execution_id} of data project {run.data_project} at "
        f"{run.state_since:%Y-%m-%d %H:%M} UTC and does not know it any more, so nobody can say how it ended."
    )


def _status_by_entities(entities: tuple[EntityProgress, ...]) -> ExecutionStatus:
    words = [entity.target_status.casefold() for entity in entities]
    if not words or not all(word in _ENTITY_DONE | _ENTITY_FAILED for word in words):
        return ExecutionStatus.UNKNOWN
    failed = sum(word in _ENTITY_FAILED for word in words)
    if not failed:
        return ExecutionStatus.SUCCEEDED
    return ExecutionStatus.FAILED if failed == len(words) else ExecutionStatus.PARTIALLY_SUCCEEDED


def watched(run: Run, status: ExecutionStatus, stuck_after: timedelta, services: Services) -> Run:
    """Return a run whose execution goes on, due for its next look; stuck ones get word for a person, once.

    A stuck run goes on being watched, and is never sent again: F&O may be at work all the same.
    """
    now = services.now()
    elapsed = now - run.state_since
    run = run.waiting(_next_look_s(run, services), now)
    if elapsed <= stuck_after:
        return run
    return run.troubled(
        f"F&O has been at execution {run.execution_id} of data project {run.data_project} for "
        f"{elapsed.total_seconds() / 60:.0f} minutes and says {status.value}. Look at it in F&O under Data management "
        "> Job history: is the batch service running, does the execution hang? It is watched on, and not sent again.",
        now,
    )


def _next_look_s(run: Run, services: Services) -> float:
    """Return the seconds until the next look: longer each time, but one comes just before the usual end."""
    settings, age_s = services.settings, _age_s(run, services)
    share = YOUNG_SHARE if age_s < YOUNG_S else WAIT_SHARE
    wait_s = min(max(age_s * share, settings.poll_first_s), settings.poll_longest_s)
    usual_s = services.usually_takes_s(run.lane) if settings.poll_stay_s else None
    until_usual_s = (usual_s or 0.0) - WAKE_LATENCY_S - age_s
    return until_usual_s if 0 < until_usual_s < wait_s else wait_s


def with_details(run: Run, rows: Sequence[RowError], summary_url: str) -> Run:
    """Return a run with what F&O tells about its execution, as much of it as a record keeps."""
    kept = tuple(
        FailedRow(record_id=row.record_id, field=row.field, message=redacted(row.message)[:MESSAGE_KEPT])
        for row in rows[:ROWS_KEPT]
    )
    return replace(run, failed_rows=kept, failed_rows_total=len(rows), summary_url=summary_url)


def busy_wait_s(run: Run) -> float:
    """Return the seconds until F&O is asked again whether it can begin an execution of the run's data project."""
    return min(FIRST_BUSY_S * 1.5 ** min(run.attempts, 16), LONGEST_BUSY_S)
