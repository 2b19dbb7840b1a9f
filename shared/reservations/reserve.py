"""Who may submit: a run takes the names that its execution uses, all or none, and keeps them until F&O has ended.

A reservation names its run, which takes its own again after a crash. One that was left over by a run that may have
submitted is freed only by what F&O says about its executions; one of a run that certainly has not is freed at once.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from shared.app import Services
from shared.concurrency import gravest
from shared.errors import AppError, ItemChanged, NotFound, TryAgain
from shared.log import log
from shared.reservations.reservation import Party, Reservation, Reserved, project_name
from shared.runs.lane import LaneRow
from shared.runs.record import Damaged
from shared.runs.run import Run
from shared.runs.states import WITH_FO, State
from shared.runs.store import Mark, RecordChanged, address_of
from shared.runs.values import Wait

if TYPE_CHECKING:
    from shared.clients.fno.client import FinanceOperations

# Tries to take a name that somebody writes at the same moment.
TRIES: Final = 4
# A run that has not submitted takes its reservation anew at each try. One that has not done so for this long, because
# it is set aside or its lane is paused, loses it; whatever keeps it from being worked at, after the longer time.
UNUSED_AFTER: Final = timedelta(minutes=2)
UNUSED_AT_LAST: Final = timedelta(minutes=15)
# Who waits asks again every minute; who has not asked for this long does not wait any more.
WAITS_FOR: Final = timedelta(minutes=5)
# F&O is asked about executions that nobody follows any more at most this often, and an execution that it does not know
# so many times in a row, after the grace time of a submit, has never begun.
ASKED_EVERY: Final = timedelta(seconds=30)
NOT_FOUND_ENDS: Final = 5
# Seconds that the minute's timer has for all that was left over; what it does not come to, it does a minute later.
SETTLE_S: Final = 11.0

# When this note was written last, every run of an older version that may have submitted had a reservation. The minute's
# timer keeps it so; while the note is older than this, an older version may be at work.
ADOPTED: Final = "reservations"
ADOPTED_HOLDS: Final = timedelta(minutes=3)


class NameReserved(TryAgain):
    """Another run uses the name."""

    def __init__(self, what: str, holder: str, holder_address: str) -> None:
        """what: "the data project Customers"; holder: who has it, in words, and what frees it."""
        super().__init__(f"It waits for {what}. {holder}")
        self.what = what
        self.holder = holder
        self.holder_address = holder_address

    def wait(self, now: datetime) -> Wait:
        """Return what a run waits for, from now on."""
        return Wait(what=self.what, since=now, holder=self.holder, holder_address=self.holder_address)


def names_of(run: Run) -> tuple[str, ...]:
    """Return the names that an execution of a run uses."""
    return (project_name(run.data_project),)


def reserve(run: Run, environment_url: str, execution_id: str, services: Services) -> Run:
    """Return the run with all its names reserved, under the execution id that it is about to send.

    Raises NameReserved if another run has one of them: then it has none that it did not have before.
    """
    adopt_older_once(services)
    names = names_of(run)
    taken: list[Reservation] = []
    try:
        for name in sorted(names):
            taken += [_taken(run, environment_url, name, execution_id, services)]
    except AppError:
        for reservation in taken:
            _free(reservation, services)
        raise
    return replace(run, environment_url=environment_url, reserved=names)


def _taken(run: Run, environment_url: str, name: str, execution_id: str, services: Services) -> Reservation:
    now = services.now()
    party = _party(run, services)
    chosen = Reserved(execution_id=execution_id, chosen=now)
    wanted = Reservation(environment_url=environment_url, name=name, holder=party, executions=(chosen,))
    for _ in range(TRIES):
        there = services.reservations.create(wanted)
        if there is None:
            there = _taken_over(run, party, chosen, wanted, services)
        if there:
            services.reserved[environment_url, name] = there
            return there
    raise TryAgain(f"The reservation of {name} is written by others at this moment")


def _taken_over(
    run: Run, party: Party, chosen: Reserved, wanted: Reservation, services: Services
) -> Reservation | None:
    """Return a reservation that is there already, in the hands of this run; None if it is to be tried again."""
    there = _read(wanted.environment_url, wanted.name, services)
    if there is None:
        return None
    if not there.is_held_by(run.run_id):
        if there.holder is not None and not settle(there, services):
            _note_waiting(run, there, services)
            raise _reserved_by(there, there.holder, run)
        if there.holder is not None:
            return None  # it was freed just now
        if there.waiting and _goes_first(there.waiting, run, services.now()):
            raise _reserved_by(there, there.waiting, run, waits=True)
    try:
        return services.reservations.save(there.taken(party, (chosen,)))
    except ItemChanged:
        return None


def _read(environment_url: str, name: str, services: Services) -> Reservation | None:
    """Return the reservation of a name. Raises TryAgain if its record is damaged: nobody may submit then."""
    try:
        return services.reservations.read(environment_url, name)
    except ValueError as error:
        raise TryAgain(
            f"The reservation of {name} cannot be read: {error}. Delete its blob under reservations/ once F&O runs no "
            "execution that uses it."
        ) from error


def _reserved_by(there: Reservation, party: Party, run: Run, *, waits: bool = False) -> NameReserved:
    what = f"the data project {run.data_project}" if there.name == project_name(run.data_project) else there.name
    if waits:
        holder = f"{party.file_name} (run {party.run_id}) was opened earlier and goes first."
    else:
        holder = f"{party.file_name} (run {party.run_id}) uses it until its execution has ended in F&O."
    return NameReserved(what, holder, party.address)


def _goes_first(waiting: Party, run: Run, now: datetime) -> bool:
    """Return whether a run that waits for a name goes before another one: it was opened earlier, and still waits.

    So an export goes before imports that were opened later, and a lane with many files leaves room for another one.
    """
    return waiting.run_id != run.run_id and now - waiting.seen < WAITS_FOR and waiting.opened <= run.opened


def _note_waiting(run: Run, there: Reservation, services: Services) -> None:
    """Note that a run waits, unless one that goes before it does."""
    if there.waiting is None or not _goes_first(there.waiting, run, services.now()):
        with suppress(ItemChanged):  # its next try will
            services.reservations.save(replace(there, waiting=_party(run, services)))


def is_under_way(address: str, services: Services) -> bool:
    """Return whether the run that has a name is worked at: then it is that run which a person hears of if it hangs.

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


def _party(run: Run, services: Services) -> Party:
    return Party(
        run_id=run.run_id,
        address=address_of(run),
        file_name=run.file.name,
        opened=run.opened,
        seen=services.now(),
    )


def note_execution(run: Run, execution_id: str, services: Services) -> None:
    """Add an id of F&O's own to the reservations of a run: its execution goes on under that one.

    Raises nothing: the id must reach the run's record, and that names it as well.
    """
    added = Reserved(execution_id=execution_id, chosen=services.now())
    for name in run.reserved:
        try:
            there = services.reservations.read(run.environment_url, name)
            if there and there.holder and there.is_held_by(run.run_id):
                saved = services.reservations.save(there.taken(there.holder, (added,)))
                services.reserved[run.environment_url, name] = saved
        except (AppError, ValueError) as error:
            log.warning("reservation.not_noted", name=name, execution_id=execution_id, reason=str(error))


def give_back(run: Run, services: Services) -> None:
    """Free the names of a run that will not reserve again: its execution has ended, or it is over.

    Raises nothing: what is left over is found and freed later, by who wants the name or by the minute's timer.
    """
    for name in run.reserved:
        known = services.reserved.pop((run.environment_url, name), None)
        try:
            if known and known.is_held_by(run.run_id) and not known.waiting and _free(known, services):
                continue
            there = services.reservations.read(run.environment_url, name)
            if there and there.is_held_by(run.run_id):
                _free(there, services)
        except (AppError, ValueError) as error:
            log.warning("reservation.not_given_back", name=name, reason=str(error))


def held_by(run: Run, services: Services) -> tuple[Reservation, ...]:
    """Return what a run holds that goes back to where it reserves. Raises nothing.

    Read this, save the run, and then ``free`` it: what another worker has reserved for the run since it was saved has
    another version, and stays.
    """
    held = []
    for name in run.reserved:
        services.reserved.pop((run.environment_url, name), None)
        try:
            there = services.reservations.read(run.environment_url, name)
        except (AppError, ValueError) as error:
            log.warning("reservation.not_given_back", name=name, reason=str(error))
            continue
        if there and there.is_held_by(run.run_id):
            held.append(there)
    return tuple(held)


def free(held: Iterable[Reservation], services: Services) -> None:
    """Free names in the versions that were read. Raises nothing: what is left over is the run's at its next try."""
    for each in held:
        try:
            _free(each, services)
        except AppError as error:
            log.warning("reservation.not_given_back", name=each.name, reason=str(error))


def _free(reservation: Reservation, services: Services) -> bool:
    """Free a reservation, for who waits for it; return False if it was written since it was read."""
    waiting = reservation.waiting
    if waiting and services.now() - waiting.seen >= WAITS_FOR:
        waiting = None
    try:
        if waiting:
            services.reservations.save(reservation.given_back())
        else:
            services.reservations.delete(reservation)
    except ItemChanged:
        return False
    if waiting:
        _let_go_on(waiting, services)
    return True


def _let_go_on(waiting: Party, services: Services) -> None:
    """Make a run that waits for a name due now, and wake its lane. It would ask again within a minute all the same."""
    try:
        run = services.store.run_at(waiting.address)
        if run is None or run.ended or run.waits is None:
            return
        services.store.save(replace(run, due=services.now()))
        services.wakes.send(run.lane)
    except (AppError, Damaged) as error:
        log.info("reservation.not_handed_on", run_id=waiting.run_id, reason=str(error))


# -- what was left over


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
        return _freed_by_fo(reservation, None, services)
    if run and not run.ended and run.state is not State.CANCELLED and run.may_be_with_fo:
        return False
    if run and not run.ended and run.state in (State.FOUND, State.CLAIMED, State.PLANNED):
        return _is_unused(reservation, run, services) and _taken_away(reservation, run, services)
    return _freed_by_fo(reservation, run, services)


def _is_unused(reservation: Reservation, run: Run, services: Services) -> bool:
    """Return whether a run that has not submitted holds a name without being worked at."""
    unused_for = services.now() - reservation.holder.seen if reservation.holder else timedelta.max
    if unused_for < UNUSED_AFTER:
        return False
    return unused_for > UNUSED_AT_LAST or run.is_aside or services.store.paused(run.lane) is not None


def _taken_away(reservation: Reservation, run: Run, services: Services) -> bool:
    """Free a name that a run reserved and has not submitted with.

    The run's record is written first: a worker that stands still just before it saves that it submits has lost it then.
    """
    try:
        services.store.save(run)
    except RecordChanged:
        return False
    log.warning("reservation.taken_away", name=reservation.name, run_id=run.run_id)
    return _free(reservation, services)


def _freed_by_fo(reservation: Reservation, run: Run | None, services: Services) -> bool:
    """Ask F&O about the executions of a run that is over, or cannot be read; free the name once all have ended."""
    now = services.now()
    if reservation.asked and now - reservation.asked < ASKED_EVERY:
        return False
    fno = services.finance_operations(reservation.environment_url)
    left: list[Reserved] = []
    for execution in _to_ask(reservation, run):
        try:
            asked = _asked(execution, fno, services)
        except AppError as error:
            log.warning("reservation.not_asked", execution_id=execution.execution_id, reason=str(error))
            asked = execution
        if asked:
            left.append(asked)
    if not left:
        log.info("reservation.settled", name=reservation.name, run_id=run.run_id if run else "")
        return _free(reservation, services)
    with suppress(ItemChanged):
        services.reservations.save(replace(reservation, executions=tuple(left), asked=now))
    return False


def _to_ask(reservation: Reservation, run: Run | None) -> Iterable[Reserved]:
    """Yield the executions that may have begun: all, but for those that the run's record knows better about."""
    known = {each.execution_id: each for each in run.submissions} if run else {}
    if run and run.execution_id not in {each.execution_id for each in reservation.executions} and run.submissions:
        last = run.submissions[-1]
        if not last.never_began:  # F&O's own id, which the reservation may not have got
            yield Reserved(execution_id=last.execution_id, chosen=last.chosen)
    for execution in reservation.executions:
        submission = known.get(execution.execution_id)
        if run and submission is None:
            continue  # never saved, so never sent
        if submission is None or not submission.never_began:
            yield execution


def _asked(execution: Reserved, fno: "FinanceOperations", services: Services) -> Reserved | None:
    """Return what is known of an execution now; None once it has ended, or has never begun."""
    execution_id = execution.execution_id
    try:
        status = fno.execution_status(execution_id)
    except NotFound:
        if details := fno.job_details(execution_id):
            return None if all(each.has_ended for each in details) else replace(execution, not_found=0)
        grace = timedelta(seconds=services.settings.submit_grace_s)
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
    adopt((row for row in with_fo if row.run_id not in holders.values()), services)
    _note_adopted(services.store.read_mark(ADOPTED), services)
    followed = {row.run_id for row in with_fo}
    left = [place for place, run_id in holders.items() if run_id not in followed]
    work = {f"settle {place}": partial(_settled_at, place, services) for place in left}
    ended = services.attempt_all(work, limit_s=SETTLE_S)
    if error := gravest(ended):
        raise error
    return sum(bool(attempt.result) for attempt in ended.values())


def _settled_at(place: str, services: Services) -> bool:
    try:
        reservation = services.reservations.read_at(place)
    except ValueError as error:
        log.error("reservation.damaged", blob=place, reason=str(error))
        return False
    if reservation is None:
        return False
    if reservation.holder:
        return settle(reservation, services)
    is_waited_for = reservation.waiting is not None and services.now() - reservation.waiting.seen < WAITS_FOR
    return not is_waited_for and _free(reservation, services)


def free_now(run: Run, services: Services) -> bool:
    """Free the names of a cancelled run because a person says so, whatever F&O does; return whether it had any."""
    had = False
    for name in run.reserved:
        there = _read(run.environment_url, name, services)
        if there and there.is_held_by(run.run_id):
            had = _free(there, services) or had
    return had


def is_holding(run: Run, services: Services) -> bool:
    """Return whether a run that is over, or cancelled, still has a name."""
    return any(
        (there := _read(run.environment_url, name, services)) is not None and there.is_held_by(run.run_id)
        for name in run.reserved
    )


# -- runs of older versions


def adopt_older_once(services: Services) -> None:
    """See that each run of an older version that may have submitted has a reservation, before this one takes any."""
    if services.has_older_reserved:
        return
    mark = services.store.read_mark(ADOPTED)
    if not _is_adopted(mark, services.now()):
        adopt(services.store.open_lanes().rows, services)
        _note_adopted(mark, services)
    services.has_older_reserved = True


def _is_adopted(mark: Mark, now: datetime) -> bool:
    try:
        return now - datetime.fromisoformat(mark.content["at"]) < ADOPTED_HOLDS
    except (KeyError, TypeError, ValueError):
        return False


def _note_adopted(mark: Mark, services: Services) -> None:
    mark.content = {"at": services.now().isoformat()}
    with suppress(RecordChanged):  # another worker has just done the same
        services.store.write_mark(ADOPTED, mark)


def adopt(rows: Iterable[LaneRow], services: Services) -> int:
    """Reserve for each run that may have submitted and has no reservation what it would have reserved; return how many.

    It was opened by an older version. If another run has the name, both have submitted already, and nobody can help it.
    """
    adopted = 0
    for row in (each for each in rows if each.state in WITH_FO and not each.damage):
        try:
            run = services.store.read_row(row)
        except (Damaged, TryAgain) as error:
            log.warning("reservation.not_adopted", lane=row.lane, order=row.sort_key, reason=str(error))
            continue
        flow = services.integrations.named(run.flow_name)
        if run.reserved or run.state not in WITH_FO or flow is None or not run.data_project:
            continue
        for name in names_of(run):
            adopted += _adopted(run, flow.environment_url, name, services)
    return adopted


def _adopted(run: Run, environment_url: str, name: str, services: Services) -> bool:
    party = _party(run, services)
    executions = tuple(
        Reserved(execution_id=each.execution_id, chosen=each.chosen) for each in run.submissions if not each.never_began
    )
    adopted = services.reservations.create(
        Reservation(environment_url=environment_url, name=name, holder=party, executions=executions)
    )
    if adopted:
        log.info("reservation.adopted", name=name, run_id=run.run_id)
    return adopted is not None
