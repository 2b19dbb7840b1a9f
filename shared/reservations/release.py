"""Giving names back: once a run does not need them any more, for whoever waits for them."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Final

from shared.app import Services
from shared.errors import AppError, RecordChanged, TryAgain
from shared.log import log
from shared.reservations.reservation import Reservation, RunRef
from shared.runs.record import Damaged
from shared.runs.run import Run

# Who waits asks again every minute; who has not asked for this long does not wait any more.
WAITS_FOR: Final = timedelta(minutes=5)


def read(environment_url: str, name: str, services: Services) -> Reservation | None:
    """Return the reservation of a name. Raises TryAgain if its record is damaged: nobody may submit then."""
    try:
        return services.reservations.read(environment_url, name)
    except ValueError as error:
        raise TryAgain(
            f"The reservation of {name} cannot be read: {error}. Delete its blob under reservations/ once F&O runs no "
            "execution that uses it."
        ) from error


def give_back(run: Run, services: Services) -> None:
    """Free the names of a run that will not reserve again: its execution has ended, or it is over.

    Raises nothing: what is left over is found and freed later, by who wants the name or by the minute's timer.
    """
    for name in run.reserved:
        known = services.reservations.last_written(run.environment_url, name)
        try:
            if known and known.is_held_by(run.run_id) and not known.waiting and free_version(known, services):
                continue
            found = services.reservations.read(run.environment_url, name)
            if found and found.is_held_by(run.run_id):
                free_version(found, services)
        except (AppError, ValueError) as error:
            log.warning("reservation.not_given_back", name=name, reason=str(error))


def held_by(run: Run, services: Services) -> tuple[Reservation, ...]:
    """Return what a run holds that goes back to where it reserves. Raises nothing.

    Read this, save the run, and then ``free`` it: what another worker has reserved for the run since it was saved has
    another version, and stays.
    """
    held = []
    for name in run.reserved:
        try:
            found = services.reservations.read(run.environment_url, name)
        except (AppError, ValueError) as error:
            log.warning("reservation.not_given_back", name=name, reason=str(error))
            continue
        if found and found.is_held_by(run.run_id):
            held.append(found)
    return tuple(held)


def free(held: Iterable[Reservation], services: Services) -> None:
    """Free names in the versions that were read. Raises nothing: what is left over is the run's at its next try."""
    for each in held:
        try:
            free_version(each, services)
        except AppError as error:
            log.warning("reservation.not_given_back", name=each.name, reason=str(error))


def free_version(reservation: Reservation, services: Services) -> bool:
    """Free a reservation, for who waits for it; return False if it was written since it was read."""
    waiting = reservation.waiting
    if waiting and services.now() - waiting.seen >= WAITS_FOR:
        waiting = None
    try:
        if waiting:
            services.reservations.save(reservation.freed())
        else:
            services.reservations.delete(reservation)
    except RecordChanged:
        return False
    if waiting:
        _wake(waiting, services)
    return True


def _wake(waiting: RunRef, services: Services) -> None:
    """Make a run that waits for a name due now, and wake its lane. It would ask again within a minute all the same."""
    try:
        run = services.store.run_at(waiting.address)
        if run is None or run.ended or run.waits is None:
            return
        services.store.save(replace(run, due=services.now()))
        services.queue.send(run.lane)
    except (AppError, Damaged) as error:
        log.info("reservation.not_handed_on", run_id=waiting.run_id, reason=str(error))
