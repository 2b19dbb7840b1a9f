"""Whether an execution that failed may be sent again: if it has changed nothing, and the file is not to blame.

It failed in contention; or it could not read its package, whose key had run out; or it read the package only after the
fence had emptied it, because F&O's response to its submit was lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from shared import execution
from shared.advice import is_contention
from shared.app import Services
from shared.clients.fno.client import EntityProgress, ExecutionStatus, FinanceOperations
from shared.clients.fno.refusals import is_in_use, is_unreadable
from shared.clients.fno.row_errors import RowError
from shared.errors import AppError, NotFound
from shared.log import log
from shared.runs.run import Run

# An execution that failed and changed nothing is sent again so often; then a person decides.
RESUBMITS: Final = 5

_CONTENTION: Final = "failed in F&O because of contention with another execution"
_UNREADABLE: Final = "failed in F&O because F&O could not read its package"
_EMPTIED: Final = (
    "failed in F&O because F&O read its package after the app had emptied it: F&O's response to the submit was lost"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What is certain about an execution that has failed."""

    run: Run  # with what is known of its last submission
    is_open: bool = False  # F&O may still list its entities: it is to be asked again, when the run is due
    why_again: str = ""  # why it is to be sent again; "": it is not
    wait_s: float = execution.CONTENTION_S  # until then, at least


def examine(run: Run, fno: FinanceOperations, services: Services) -> Failure:
    """Return what is certain about the execution of a run, which has failed.

    It has changed nothing if its details list every entity of the package, each without a row and with a target step
    that never started. One that F&O may have failed without reading the package, or with the emptied one, has changed
    nothing as well if its details and its errors name no row.
    """
    is_fenced = run.submissions[-1].fenced is not None
    if not run.entities:
        return Failure(run=run)
    try:
        details = fno.job_details(run.execution_id)
        is_listed = _changed_nothing(run.entities, details)
        may_be_unread = is_fenced or (run.is_asynchronous and not is_listed)
        if may_be_unread and not any(map(_shows_rows, details)):
            rows = fno.execution_errors(run.execution_id).rows
            if not any(row.record_id for row in rows):
                return _examine_unread(run, rows, services, is_listed=is_listed)
    except AppError as error:
        if is_fenced:
            raise  # the file may not be to blame
        log.warning("import.contention_not_checked", reason=str(error))
        return Failure(run=run)
    if not is_listed:
        return Failure(run=run)
    run = run.with_submission(replace(run.submissions[-1], changed_nothing=True))
    return Failure(run=run, why_again=_CONTENTION if _is_to_be_sent_again(run, fno) else "")


def _examine_unread(run: Run, rows: Sequence[RowError], services: Services, *, is_listed: bool) -> Failure:
    """Return what is certain about an execution if F&O shows no row of it.

    rows: its errors. is_listed: F&O lists every entity of the package.
    Assumed: F&O lists the entities of an execution, once it has read its package, within the grace time.
    """
    last, now = run.submissions[-1], services.now()
    listed_by = (last.fenced or last.chosen) + timedelta(seconds=services.settings.submit_grace_s)
    if now < listed_by and not is_listed:
        left = replace(run, in_process=replace(run.in_process, is_end_near=False))  # the worker does not stay for that
        return Failure(run=left.waiting((listed_by - now).total_seconds(), now), is_open=True)
    run = run.with_submission(replace(last, changed_nothing=True, was_unread=True))
    why, wait_s = "", execution.CONTENTION_S
    if last.fenced:
        why = _EMPTIED
    elif any(is_unreadable(row.message) for row in rows):
        why = _UNREADABLE
    elif any(is_in_use(row.message) for row in rows):
        why, wait_s = _CONTENTION, execution.CONTENTION_S * 4**run.resubmits
    return Failure(run=run, why_again=why if run.resubmits < RESUBMITS else "", wait_s=wait_s)


def late_execution(run: Run, fno: FinanceOperations) -> str:
    """Return what a person is told if F&O shows an earlier execution of a run after all; "" if it shows none.

    That is one that it did not know when its grace time was over, and that may have changed rows.
    """
    lost = [each for each in run.submissions[:-1] if each.fenced and not (each.never_began or each.changed_nothing)]
    for each in lost:
        try:
            if not _may_have_run(each.execution_id, fno):
                continue
        except AppError as error:
            log.warning("submission.not_asked", execution_id=each.execution_id, reason=str(error))
            continue
        log.error("submission.late", execution_id=each.execution_id)
        return (
            f"F&O now shows execution {each.execution_id} of {run.file.name} too, which it did not know before the app "
            f"submitted the file again as {run.execution_id}. The file may have been imported twice: compare both "
            "executions in F&O under Data management > Job history. A longer SUBMIT_GRACE_SECONDS prevents this."
        )
    return ""


def _may_have_run(execution_id: str, fno: FinanceOperations) -> bool:
    try:
        status = fno.execution_status(execution_id)
    except NotFound:
        status = ExecutionStatus.UNKNOWN
    if status in (ExecutionStatus.UNKNOWN, ExecutionStatus.FAILED):
        return any(map(_shows_rows, fno.job_details(execution_id)))
    return True


def _is_to_be_sent_again(run: Run, fno: FinanceOperations) -> bool:
    """Return whether an execution that has changed nothing failed in contention."""
    if run.resubmits >= RESUBMITS:
        return False
    try:
        return any(is_contention(row.message) for row in fno.execution_errors(run.execution_id).rows)
    except AppError as error:
        log.warning("import.contention_not_checked", reason=str(error))
        return False


def _changed_nothing(entities: Sequence[str], details: Sequence[EntityProgress]) -> bool:
    told = {each.entity.casefold() for each in details}
    return told >= {entity.casefold() for entity in entities} and all(each.target_never_started for each in details)


def _shows_rows(entity: EntityProgress) -> bool:
    return bool(entity.staging_created) or not entity.target_never_started
