"""Reservations that were left over: freed as soon as it is certain that nobody needs them any more.

One that was left over by a run that may have submitted is freed only by what F&O says about its executions; one of a
run that certainly has not submitted is freed at once.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from shared.app import Services
from shared.concurrency import gravest
from shared.errors import AppError, NotFound, RecordChanged
from shared.log import log
from shared.reservations import adopt, release
from shared.reservations.reservation import Reservation, ReservedExecution
from shared.runs.lane import LaneRow
from shared.runs.record import Damaged
from shared.runs.run import ASYNC_GRACE_S, Run
from shared.runs.states import NOT_SUBMITTED, WITH_FO, State

if TYPE_CHECKING:
    from shared.clients.fno.client import FinanceOperations

# A run that has not submitted takes its reservation anew at each try. One that has not done so for this long, because
# it is set aside or its lane is paused, loses it; whatever keeps it from being processed, after the longer time.
UNUSED_AFTER: Final = timedelta(minutes=2)
UNUSED_AT_LAST: Final = timedelta(minutes=15)
# F&O is asked about executions that nobody follows any more at most this often, and an execution that it does not know
# so many times in a row, after the grace time of a submit, has never started.
ASKED_EVERY: Final = timedelta(seconds=30)
NOT_FOUND_ENDS: Final = 5
# Seconds that the minute's timer has for all that was left over; what it does not come to, it does a minute later.
SETTLE_S: Final = 11.0


def settle(reservation: Reservation, services: Services) -> bool:
    """Free a reservation that its run does not need any more; return whether it is free now.

    A run that may have submitted needs it until F&O says that its executions have ended, or does not know them for
    good. Raises TryAgain, NeedsPerson for trouble with the app's own storage.
    """
    if reservation.holder is None:
        return True
    try:
        run = services.store.run_at(reservation.holder.address)
    except Damaged:
        return _free_if_ended(reservation, None, services)
    if run and not run.ended and run.state is not State.CANCELLED and run.may_be_with_fo:
        return False
    if run and not run.ended and run.state in NOT_SUBMITTED:
        return _is_unused(reservation, run, services) and _take_away(reservation, run, services)
    return _free_if_ended(reservation, run, services)


def _is_unused(reservation: Reservation, run: Run, services: Services) -> bool:
    """Return whether a run that has not submitted holds a name without being processed."""
    unused_for = services.now() - reservation.holder.seen if reservation.holder else timedelta.max
    if unused_for < UNUSED_AFTER:
        return False
    return unused_for > UNUSED_AT_LAST or run.is_aside or services.store.pause_of(run.lane) is not None


def _take_away(reservation: Reservation, run: Run, services: Services) -> bool:
    """Free a name that a run reserved and has not submitted with.

    The run's record is written first: a worker that stands still just before it saves that it submits has lost it then.
    """
    try:
        services.store.save(run)
    except RecordChanged:
        return False
    log.warning("reservation.taken_away", name=reservation.name, run_id=run.run_id)
    return release.free_version(reservation, services)


def _free_if_ended(reservation: Reservation, run: Run | None, services: Services) -> bool:
    """Ask F&O about the executions of a run that is over, or cannot be read; free the name once all have ended."""
    now = services.now()
    if reservation.asked and now - reservation.asked < ASKED_EVERY:
        return False
    fno = services.finance_operations(reservation.environment_url)
    left: list[ReservedExecution] = []
    for execution in _executions_to_ask(reservation, run):
        try:
            still_needed = _ask(execution, run, fno, services)
        except AppError as error:
            log.warning("reservation.not_asked", execution_id=execution.execution_id, reason=str(error))
            still_needed = execution
        if still_needed:
            left.append(still_needed)
    if not left:
        log.info("reservation.settled", name=reservation.name, run_id=run.run_id if run else "")
        return release.free_version(reservation, services)
    with suppress(RecordChanged):
        services.reservations.save(replace(reservation, executions=tuple(left), asked=now))
    return False


def _executions_to_ask(reservation: Reservation, run: Run | None) -> Iterable[ReservedExecution]:
    """Yield the executions that may have started: all, but for those that the run's record knows better about."""
    known = {each.execution_id: each for each in run.submissions} if run else {}
    if run and run.execution_id not in {each.execution_id for each in reservation.executions} and run.submissions:
        last = run.submissions[-1]
        if not last.never_began:  # F&O's own id, which the reservation may not have got
            yield ReservedExecution(execution_id=last.execution_id, chosen=last.chosen)
    for execution in reservation.executions:
        submission = known.get(execution.execution_id)
        if run and submission is None:
            continue  # never saved, so never sent
        if submission is None or not submission.never_began:
            yield execution


def _ask(
    execution: ReservedExecution, run: Run | None, fno: "FinanceOperations", services: Services
) -> ReservedExecution | None:
    """Return what is known of an execution now; None once it has ended, or has never started."""
    execution_id = execution.execution_id
    try:
        status = fno.execution_status(execution_id)
    except NotFound:
        if details := fno.job_details(execution_id):
            return None if all(each.has_ended for each in details) else replace(execution, not_found=0)
        usual_s = services.settings.submit_grace_s
        grace = timedelta(seconds=run.submit_grace_s(usual_s) if run else max(usual_s, ASYNC_GRACE_S))
        if services.now() - execution.chosen <= grace:
            return execution
        times = execution.not_found + 1
        return None if times >= NOT_FOUND_ENDS else replace(execution, not_found=times)
    if status.is_final:
        return None
    log.info("reservation.still_needed", execution_id=execution_id, status=status.value)
    return replace(execution, not_found=0)


def settle_leftovers(rows: Iterable[LaneRow], services: Services) -> int:
    """Settle every reservation whose run does not follow its execution any more; return how many were freed.

    rows: all open runs. Runs of an older version that may have submitted get theirs.
    """
    holders = services.reservations.holders()
    with_fo = [row for row in rows if row.state in WITH_FO and not row.damage]
    adopt.adopt((row for row in with_fo if row.run_id not in holders.values()), services)
    adopt.note_adopted(services.checkpoints.read(adopt.ADOPTED), services)
    followed = {row.run_id for row in with_fo}
    left = [place for place, run_id in holders.items() if run_id not in followed]
    work = {f"settle {place}": partial(_settle_at, place, services) for place in left}
    ended = services.duties.attempt_all(work, limit_s=SETTLE_S)
    if error := gravest(ended):
        raise error
    return sum(bool(attempt.result) for attempt in ended.values())


def _settle_at(place: str, services: Services) -> bool:
    try:
        reservation = services.reservations.read_at(place)
    except ValueError as error:
        log.error("reservation.damaged", blob=place, reason=str(error))
        return False
    if reservation is None:
        return False
    if reservation.holder:
        return settle(reservation, services)
    waiting = reservation.waiting
    is_waited_for = waiting is not None and services.now() - waiting.seen < release.WAITS_FOR
    return not is_waited_for and release.free_version(reservation, services)


def free_now(run: Run, services: Services) -> bool:
    """Free the names of a cancelled run because a person says so, whatever F&O does; return whether it had any."""
    had = False
    for name in run.reserved:
        found = release.read(run.environment_url, name, services)
        if found and found.is_held_by(run.run_id):
            had = release.free_version(found, services) or had
    return had


def is_holding(run: Run, services: Services) -> bool:
    """Return whether a run that is over, or cancelled, still has a name."""
    found = (release.read(run.environment_url, name, services) for name in run.reserved)
    return any(each is not None and each.is_held_by(run.run_id) for each in found)
