"""Whether an execution that failed in contention may be sent again: only if it has certainly changed nothing."""

from collections.abc import Sequence
from typing import Final

from shared.advice import is_contention
from shared.clients.fno.client import EntityProgress, FinanceOperations
from shared.errors import (
    AppError,
)
from shared.log import log
from shared.runs.run import Run

# An execution that ended in contention and changed nothing is sent again so often; then a person decides.
RESUBMITS: Final = 5


def has_changed_nothing(run: Run, fno: FinanceOperations) -> bool:
    """Return whether the execution of a run, which has failed, has certainly changed nothing.

    Its details must list every entity of the package, each without a row and with a target step that never started.
    """
    if not run.entities:
        return False
    try:
        return _changed_nothing(run.entities, fno.job_details(run.execution_id))
    except AppError as error:
        log.warning("import.contention_not_checked", reason=str(error))
        return False


def is_to_be_sent_again(run: Run, fno: FinanceOperations) -> bool:
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
