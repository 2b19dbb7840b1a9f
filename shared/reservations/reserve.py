"""Who may submit: a run takes the names that its execution uses, all or none, and keeps them until F&O has ended.

A reservation names its run, which takes its own again after a crash. Names are given back in ``release.py``; what was
left over is freed in ``settle.py``.
"""

from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Final

from shared.app import Services
from shared.errors import AppError, RecordChanged, TryAgain
from shared.log import log
from shared.reservations import adopt, release, settle
from shared.reservations.reservation import (
    Reservation,
    ReservedExecution,
    RunRef,
    names_of,
    run_ref,
    words_for,
)
from shared.runs.record import Damaged
from shared.runs.run import Run
from shared.runs.values import Wait

# Tries to take a name that somebody writes at the same moment.
TRIES: Final = 4


class NameReserved(TryAgain):
    """Another run uses the name."""

    def __init__(self, what: str, holder: str, holder_address: str) -> None:
        """what: "the data project Customers"; holder: who has it, in a sentence, and what frees it."""
        super().__init__(f"It waits for {what}. {holder}")
        self.what = what
        self.holder = holder
        self.holder_address = holder_address

    def wait(self, now: datetime) -> Wait:
        """Return what a run waits for, from now on."""
        return Wait(what=self.what, since=now, holder=self.holder, holder_address=self.holder_address)


def reserve(
    run: Run, environment_url: str, execution_id: str, services: Services, *, names: tuple[str, ...] | None = None
) -> Run:
    """Return the run with all its names reserved, under the execution id that it is about to send.

    names: None for that of its data project alone. Raises NameReserved if another run has one of them: then it has
    none. Nothing is held during a wait, and all take names in one order, so runs never wait for each other in a circle.
    """
    adopt.adopt_older_once(services)
    names = names_of(run) if names is None else names
    taken: list[Reservation] = []
    try:
        for name in sorted(names):
            taken += [_take(run, environment_url, name, execution_id, services)]
    except AppError:
        release.free(taken, services)
        raise
    return replace(run, environment_url=environment_url, reserved=names)


def _take(run: Run, environment_url: str, name: str, execution_id: str, services: Services) -> Reservation:
    now = services.now()
    chosen = ReservedExecution(execution_id=execution_id, chosen=now)
    wanted = Reservation(environment_url=environment_url, name=name, holder=run_ref(run, now), executions=(chosen,))
    for _ in range(TRIES):
        if taken := services.reservations.create(wanted) or _take_existing(run, wanted, services):
            return taken
    raise TryAgain(f"The reservation of {name} is being changed by other workers")


def _take_existing(run: Run, wanted: Reservation, services: Services) -> Reservation | None:
    """Return a reservation that is there already, in the hands of this run; None if it is to be tried again."""
    found = release.read(wanted.environment_url, wanted.name, services)
    if found is None:
        return None
    if not found.is_held_by(run.run_id):
        if found.holder is not None and not settle.settle(found, services):
            _note_waiting(run, found, services)
            raise _reserved_by(found, found.holder, run)
        if found.holder is not None:
            return None  # it was freed just now
        if found.waiting and _goes_first(found.waiting, run, services.now()):
            raise _reserved_by(found, found.waiting, run, waits=True)
    try:
        return services.reservations.save(found.taken_by(run_ref(run, services.now()), wanted.executions))
    except RecordChanged:
        return None


def _reserved_by(found: Reservation, other: RunRef, run: Run, *, waits: bool = False) -> NameReserved:
    what = words_for(found.name, run)
    if waits:
        holder = f"{other.file_name} (run {other.run_id}) was opened earlier and goes first."
    else:
        holder = f"{other.file_name} (run {other.run_id}) uses it until its execution has ended in F&O."
    return NameReserved(what, holder, other.address)


def _goes_first(waiting: RunRef, run: Run, now: datetime) -> bool:
    """Return whether a run that waits for a name goes before another one: it was opened earlier, and still waits.

    So an export goes before imports that were opened later, and a lane with many files leaves room for another one.
    """
    return waiting.run_id != run.run_id and now - waiting.seen < release.WAITS_FOR and waiting.opened <= run.opened


def _note_waiting(run: Run, found: Reservation, services: Services) -> None:
    """Note that a run waits, unless one that goes before it does."""
    if found.waiting is None or not _goes_first(found.waiting, run, services.now()):
        with suppress(RecordChanged):  # its next try will
            services.reservations.save(replace(found, waiting=run_ref(run, services.now())))


def is_under_way(address: str, services: Services) -> bool:
    """Return whether the run that has a name is being processed: then it is that run which is flagged if it hangs.

    One that a person has cancelled is not, and neither is one that has ended or whose record cannot be read. Raises
    nothing: what cannot be found out now counts as under way until it can.
    """
    try:
        run = services.store.run_at(address)
    except Damaged:
        return False
    except AppError:
        return True
    return run is not None and run.ended is None and run.cancelled_in is None


def note_execution(run: Run, execution_id: str, services: Services) -> None:
    """Add an id of F&O's own to the reservations of a run: its execution goes on under that one.

    Raises nothing: the id must reach the run's record, and that names it as well.
    """
    added = ReservedExecution(execution_id=execution_id, chosen=services.now())
    for name in run.reserved:
        try:
            found = services.reservations.read(run.environment_url, name)
            if found and found.holder and found.is_held_by(run.run_id):
                services.reservations.save(found.taken_by(found.holder, (added,)))
        except (AppError, ValueError) as error:
            log.warning("reservation.not_noted", name=name, execution_id=execution_id, reason=str(error))
