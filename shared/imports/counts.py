"""How many rows of each entity an execution has staged, created and updated: asked of F&O before the file is filed.

An import never depends on it: after a few tries its file is filed without counts, and its run says so.
"""

from dataclasses import replace
from typing import Final

from shared.app import Services
from shared.clients.fno.client import FinanceOperations
from shared.config.model import ImportFlow
from shared.errors import AppError, TryAgain
from shared.log import log
from shared.runs.run import Run
from shared.runs.states import Outcome, State
from shared.runs.values import EntityCounts
from shared.secret import redacted

TRIES: Final = 3
RETRY_S: Final = 2.0

# F&O has ended the execution, and still knows it.
_COUNTED: Final = frozenset({Outcome.SUCCEEDED, Outcome.PARTIALLY_SUCCEEDED, Outcome.FAILED, Outcome.CANCELED_IN_FO})


def are_missing(run: Run) -> bool:
    """Return whether F&O is still to be asked for the counts of a run."""
    is_counted = run.state is State.FINISHED and run.outcome in _COUNTED
    return is_counted and not run.counts and not run.counts_note


def ask(run: Run, flow: ImportFlow, fno: FinanceOperations, services: Services) -> Run:
    """Ask F&O once; return the run with its counts, with a note why there are none, or due for another try."""
    why = "it does not list the entities of the execution"
    try:
        rows = fno.row_counts(run.execution_id)
    except AppError as error:
        rows, why = (), error.message
        is_final = not isinstance(error, TryAgain)
    else:
        is_final = False
    if rows:
        counts = tuple(
            EntityCounts(
                entity=row.entity,
                to_be_processed=row.to_be_processed,
                staged=row.staged,
                created=row.created,
                updated=row.updated,
            )
            for row in rows
        )
        return _with_warning(replace(run, counts=counts), flow)
    tries = run.count_tries + 1
    if tries < TRIES and not is_final:
        return replace(run, count_tries=tries).waiting(RETRY_S, services.now())
    log.warning("counts.missing", reason=why)
    return replace(run, count_tries=tries, counts_note=f"F&O did not return the row counts: {redacted(why)}")


def _with_warning(run: Run, flow: ImportFlow) -> Run:
    """Return a run that has succeeded with a warning if its flow asks for one, and F&O took no row."""
    taken = [row.staged if run.is_staging_only else _sum(row.created, row.updated) for row in run.counts]
    if not flow.counts.warn_if_zero_rows or run.outcome is not Outcome.SUCCEEDED or any(each != 0 for each in taken):
        return run
    did = "staged" if run.is_staging_only else "created and updated"
    warning = (
        f"The import succeeded, but F&O {did} 0 rows. Check whether the file contains the rows that you expect "
        "(counts.warnIfZeroRows)."
    )
    return replace(run, warning=f"{run.warning} {warning}".strip())


def _sum(created: int | None, updated: int | None) -> int | None:
    return None if created is None or updated is None else created + updated
