"""F&O to OneDrive: the way of one export from its schedule to a zip in the Output folder.

    PLANNED -> SUBMITTING -> EXECUTING -> READY -> DELIVERED

With incremental push the package of a lost export holds changes that no later export has. So an execution id is saved
before it is sent, none is forgotten, and whatever F&O has finished under any of them is delivered. The data project is
reserved for as long as F&O may be working on it. Which exports start is ``schedule.py``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from shared import execution
from shared.app import Services
from shared.clients.fno.client import ExecutionStatus, FinanceOperations
from shared.config.model import ExportFlow
from shared.errors import AnswerLost, AppError, NotFound, RecordChanged, TryAgain
from shared.exports.delivery import KEPT_FOR, deliver_package, open_package_of
from shared.log import log
from shared.reservations import reserve
from shared.run_settings import export_flow_of, known_export_of, settings_text
from shared.runs.machine import StateMachine, Step
from shared.runs.run import Run, new_execution_id
from shared.runs.states import Outcome, State
from shared.runs.values import Submission
from shared.runs.worker import advance

# Seconds between two looks for the address of a finished package: it may be empty for a while.
ADDRESS_RETRY_S: Final = 10.0
NO_ADDRESS_AFTER: Final = timedelta(minutes=15)
# Assumed: F&O may hand out no package at all where an export found no row, which with increments is the usual case.
# After this time its own count of rows is believed, so that the next export need not wait.
NOTHING_AFTER: Final = timedelta(minutes=1)
NOTHING: Final = "(nothing)"  # in the place of a file's name; no file of OneDrive's is called so by this app


def advance_exports(text: str, services: Services) -> None:
    """Do what is due in a lane of exports."""
    advance(text, MACHINE, services)


def choose_id(run: Run, services: Services) -> Run:
    """PLANNED: reserve the data project, and choose the execution id, so that it is saved before it is sent."""
    now = services.now()
    if run.scheduled and services.store.ended_run(run.opened, run.run_id):
        return _drop(run, services)
    execution_id = new_execution_id(run.data_project, now)
    flow = _flow(run, services)
    run = replace(run, flow_settings=settings_text(flow))
    run = reserve.reserve(run, flow.environment_url, execution_id, services)
    return run.waits_no_more(now).submitting(Submission(execution_id=execution_id, chosen=now), now)


def _drop(run: Run, services: Services) -> Run:
    """Delete a run that has been opened, done and ended already: a stalled host has opened it again.

    Always raises RecordChanged, as saving it would.
    """
    if row := services.store.row_at(run.lane, run.sort_key):
        services.store.delete_waiting(replace(row, record_etag=run.record_etag))
    raise RecordChanged(f"run {run.run_id} has ended already; a stalled host had opened it again")


def submit(run: Run, services: Services) -> Run:
    """SUBMITTING: tell F&O to export, once. If anyone may have told it already, look instead."""
    if not run.in_process.has_chosen_id:
        return _look_up(run, services)
    try:
        answered = _finance(run, services).export_to_package(
            data_project=run.data_project,
            package_name=run.file.name.removesuffix(".zip"),
            execution_id=run.execution_id,
            legal_entity=run.company,
        )
    except AnswerLost:
        raise
    except AppError as error:
        raise execution.record_refusal(run, error, State.PLANNED, services.now()) from error
    log.info("export.submitted", data_project=run.data_project, company=run.company)
    return execution.record_accepted(run, answered, services)


def _look_up(run: Run, services: Services) -> Run:
    """SUBMITTING, and it is not known whether F&O has started: ask, wait the grace time, ask again, then send another.

    Should the first one show up after all, ``deliver`` delivers both.
    """
    now, run = services.now(), execution.with_reserved(run, _flow(run, services).environment_url)
    if known := execution.known_submission(run, _finance(run, services)):
        return execution.record_found(run, known, now)
    submission = run.submissions[-1]
    if submission.missing_since is None:
        missing = run.with_submission(replace(submission, missing_since=now))
        return missing.waiting(services.settings.submit_grace_s, now)
    if waiting := execution.wait_before_next_submit(run, submission.missing_since, now, services):
        return waiting
    log.warning("submission.lost", missing_since=submission.missing_since)
    return execution.record_lost_submit(run, State.PLANNED, services)


def poll(run: Run, services: Services) -> Run:
    """EXECUTING: ask F&O once how far it is."""
    run = execution.with_reserved(run, _flow(run, services).environment_url)
    fno, now = _finance(run, services), services.now()
    polled = execution.poll(run, fno, services)
    run = polled.of(run)
    if polled.is_forgotten:
        return _fail(run, Outcome.UNKNOWN, execution.forgotten_message(run), now)
    status = polled.status
    match status:
        case ExecutionStatus.SUCCEEDED | ExecutionStatus.PARTIALLY_SUCCEEDED:
            told = run if status is ExecutionStatus.SUCCEEDED else _with_reason(run, fno, status)
            return replace(told.moved_to(State.READY, now), outcome=Outcome(status.value))
        case ExecutionStatus.FAILED | ExecutionStatus.CANCELED:
            told = _with_reason(run, fno, status)
            return _fail(told, Outcome(status.value), told.reason, now)
        case _:
            return execution.put_off_poll(run, polled, stuck_after(run, services), services)


def _with_reason(run: Run, fno: FinanceOperations, status: ExecutionStatus) -> Run:
    """Return a run with the reason why its export failed, in F&O's words where it has any."""
    try:
        errors = fno.execution_errors(run.execution_id)
        summary = fno.execution_summary_page_url(run.execution_id)
    except AppError as error:
        log.warning("export.no_details", reason=str(error))
        return replace(
            run,
            reason=f"The export of {run.data_project} ended in F&O with status {status.value} "
            f"(execution {run.execution_id}).",
        )
    text = errors.rows[0].message if errors.rows else "F&O reported no row errors"
    ended = f"The export of {run.data_project} ended in F&O with status {status.value}"
    reason = f"{ended}: {text}. Execution summary: {summary}"
    return execution.record_details(replace(run, reason=reason), errors.rows, summary)


def _fail(run: Run, outcome: Outcome, reason: str, now: datetime) -> Run:
    return replace(run.moved_to(State.FAILED, now), outcome=outcome, reason=reason)


def deliver(run: Run, services: Services) -> Run:
    """READY: copy the package of an execution that is not delivered yet into the Output folder.

    The file's name was fixed when the run was opened, so a repeated upload finds its own work by name and hash.
    """
    fno = _finance(run, services)
    without: Submission | None = None
    for submission in _undelivered(run, fno):
        if package := open_package_of(submission, fno):
            return deliver_package(run, submission, package, services)
        without = without or submission
    if without is None:
        return run.moved_to(State.DELIVERED, services.now())
    return _wait_for_package(run, without, fno, services)


def _undelivered(run: Run, fno: FinanceOperations) -> Iterator[Submission]:
    """Yield the latest submission if it is not delivered, then any earlier one that turned out to be an export."""
    latest = run.submissions[-1]
    if not latest.delivered_as:
        yield latest
    for earlier in run.submissions[:-1]:
        if not earlier.delivered_as and earlier.missing_since and _has_package(earlier.execution_id, fno):
            yield earlier


def _has_package(execution_id: str, fno: FinanceOperations) -> bool:
    """Return whether an abandoned execution has a package. Raises TryAgain while F&O processes it."""
    try:
        status = fno.execution_status(execution_id)
    except NotFound:
        return False
    if status in (ExecutionStatus.EXECUTING, ExecutionStatus.NOT_RUN):
        raise TryAgain(
            f"F&O is still processing the export {execution_id}, which it did not know before", retry_after_s=30.0
        )
    return status in (ExecutionStatus.SUCCEEDED, ExecutionStatus.PARTIALLY_SUCCEEDED)


def _wait_for_package(run: Run, submission: Submission, fno: FinanceOperations, services: Services) -> Run:
    """Put off a READY run for which F&O returns no package: yet, or any more, or because it found nothing."""
    now = services.now()
    finished_for = now - run.state_since
    if finished_for >= NOTHING_AFTER and _has_no_rows(submission.execution_id, fno):
        log.info("export.nothing", execution=submission.execution_id)
        return replace(run.with_submission(replace(submission, delivered_as=NOTHING)), due=now)
    if finished_for < NO_ADDRESS_AFTER:
        return run.waiting(ADDRESS_RETRY_S, now)
    text = (
        f"F&O finished the export of {run.data_project} (execution {submission.execution_id}) "
        f"{finished_for.total_seconds() / 60:.0f} minutes ago but returns no package. Open Data management > Job "
        "history and download the package there. Check whether the export's user has access to the company."
    )
    if finished_for < KEPT_FOR:
        return run.waiting(services.settings.poll_longest_s, now).flagged(text, now)
    return _fail(run, Outcome.FAILED, text, now)


def _has_no_rows(execution_id: str, fno: FinanceOperations) -> bool:
    """Return whether F&O says of every entity of an export that it held no row."""
    entities = fno.job_details(execution_id)
    return bool(entities) and not any(
        entity.staging_created or entity.target_created or entity.target_updated for entity in entities
    )


def _flow(run: Run, services: Services) -> ExportFlow:
    return export_flow_of(run, services)


def _finance(run: Run, services: Services) -> FinanceOperations:
    return services.finance_operations(_flow(run, services).environment_url)


def stuck_after(run: Run, services: Services) -> timedelta:
    """Return after which time a person is told that an export does not go on."""
    flow = known_export_of(run, services)
    limit = services.settings.export_stuck_after
    return flow.stuck_after(limit) if flow else limit


STEPS: Final[Mapping[State, Step]] = {
    State.PLANNED: choose_id,
    State.SUBMITTING: submit,
    State.EXECUTING: poll,
    State.READY: deliver,
}
MACHINE: Final = StateMachine(steps=STEPS, stuck_after=stuck_after)
