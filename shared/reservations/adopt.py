"""Runs of older versions, which reserved nothing: each that may have submitted gets its reservation afterwards."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from shared.app import Services
from shared.azure_storage.checkpoints import Checkpoint
from shared.errors import RecordChanged, TryAgain
from shared.log import log
from shared.moments import moment_or_none
from shared.reservations.reservation import Reservation, ReservedExecution, names_of, run_ref
from shared.runs.lane import LaneRow
from shared.runs.record import Damaged
from shared.runs.run import Run
from shared.runs.states import WITH_FO

# When this checkpoint was written last, every run of an older version that may have submitted had a reservation. The
# minute's timer keeps it so; while the checkpoint is older than this, an older version may be at work.
ADOPTED: Final = "reservations"
ADOPTED_HOLDS: Final = timedelta(minutes=3)


def adopt_older_once(services: Services) -> None:
    """See that each run of an older version that may have submitted has a reservation, before this one takes any."""
    if services.reservations.are_older_adopted:
        return
    checkpoint = services.checkpoints.read(ADOPTED)
    if not _is_adopted(checkpoint, services.now()):
        adopt(services.store.open_lanes().rows, services)
        note_adopted(checkpoint, services)
    services.reservations.are_older_adopted = True


def _is_adopted(checkpoint: Checkpoint, now: datetime) -> bool:
    adopted = moment_or_none(checkpoint.content.get("at"))
    return adopted is not None and now - adopted < ADOPTED_HOLDS


def note_adopted(checkpoint: Checkpoint, services: Services) -> None:
    """Save that all have reservations now."""
    checkpoint.content = {"at": services.now().isoformat()}
    with suppress(RecordChanged):  # another worker has just done the same
        services.checkpoints.write(ADOPTED, checkpoint)


def adopt(rows: Iterable[LaneRow], services: Services) -> int:
    """Reserve for each run that may have submitted and has no reservation what it would have reserved; return how many.

    If another run has the name, both have submitted already, and nobody can help it.
    """
    adopted = 0
    for row in (each for each in rows if each.state in WITH_FO and not each.damage):
        try:
            run = services.store.read_row(row)
        except (Damaged, TryAgain) as error:
            log.warning("reservation.not_adopted", lane=row.lane, sort_key=row.sort_key, reason=str(error))
            continue
        flow = services.settings.flows.named(run.flow_name)
        if run.reserved or run.state not in WITH_FO or flow is None or not run.data_project:
            continue
        for name in names_of(run):
            adopted += _adopt_one(run, flow.environment_url, name, services)
    return adopted


def _adopt_one(run: Run, environment_url: str, name: str, services: Services) -> bool:
    executions = tuple(
        ReservedExecution(execution_id=each.execution_id, chosen=each.chosen)
        for each in run.submissions
        if not each.never_began
    )
    adopted = services.reservations.create(
        Reservation(
            environment_url=environment_url, name=name, holder=run_ref(run, services.now()), executions=executions
        )
    )
    if adopted:
        log.info("reservation.adopted", name=name, run_id=run.run_id)
    return adopted is not None
