"""The worker: moves the runs of one lane, step by step, until all have to wait. Knows no service and no flow.

It alone claims lanes, saves runs that are under way and judges errors. A step is a function ``(run, services) -> run``:
it makes at most one irreversible call and never saves. Why a lane is safe to wake at any time, any number of times,
stands in ``docs/architecture.md``.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from shared.alerts import run_alerts
from shared.app import Services
from shared.clients.http.context import RecordedCall, correlated, recording
from shared.errors import (
    AppError,
    DetailsMissing,
    FileMissing,
    FileRejected,
    ItemLocked,
    NameHeld,
    NeedsPerson,
    NotComplete,
    ProjectBusy,
    Refused,
    TryAgain,
)
from shared.log import bound, log
from shared.package_memory import NoRoom
from shared.reservations import reserve
from shared.reservations.reservation import Reservation
from shared.reservations.reserve import NameReserved
from shared.runs.lane import Choice, LaneRow, Stop, choose
from shared.runs.record import Damaged
from shared.runs.run import Run
from shared.runs.states import PROGRESS, Direction, Outcome, State
from shared.runs.store import Lane, LeaseTaken, RecordChanged
from shared.runs.values import About, Held, RemoteCallRecord, StepRecord, Wait

type Step = Callable[[Run, Services], Run]


class StepFailed(Exception):
    """A step has changed its run before it failed: ``run`` is as it is to be, ``error`` is judged as if raised."""

    def __init__(self, run: Run, error: AppError) -> None:
        super().__init__(str(error))
        self.run = run
        self.error = error


def _no_lock(_run: Run, _services: Services) -> AbstractContextManager[None] | None:
    return None


def _never(_run: Run, _services: Services) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What a lane's runs go through."""

    steps: Mapping[State, Step]
    stuck_after: Callable[[Services], timedelta]
    # What is held from before a run is saved as SUBMITTING until F&O has answered; None: nothing.
    lock: Callable[[Run, Services], AbstractContextManager[None] | None] = _no_lock
    # Whether no other file may pass this one, whatever keeps it.
    keeps_order: Callable[[Run, Services], bool] = _never


# Seconds after which a lane's worker hands over to a new invocation between two runs; one run may take longer. Far
# below functionTimeout in host.json.
WORK_S: Final = 120.0

# Seconds from which a wait is left to the minute's timer. A message that waits asks Azure for instances all the while:
# as many as there are messages, divided by batchSize. See docs/decisions/0023.
LEFT_TO_TIMER_S: Final = 60.0

# A wake-up that was sent by another host may come a moment before its run is due by this host's clock.
CLOCKS_DIFFER_BY: Final = timedelta(seconds=1)

# Seconds between two tries: doubled each time within these bounds, unless the service asks for another wait. A data
# project that is in use is asked for more often: it takes a minute at most to see that it is free.
FIRST_RETRY_S: Final = 2.0
LONGEST_RETRY_S: Final = 300.0
FIRST_BUSY_S: Final = 5.0
LONGEST_BUSY_S: Final = 60.0
# Seconds until the next try of a run whose turn to call ImportFromPackage did not come.
LOCK_RETRY_S: Final = 5.0
LOCK: Final = "its turn to call ImportFromPackage"
# The same for a run whose package finds no room in this process's memory; it has waited there for half a minute.
ROOM_RETRY_S: Final = 5.0
ROOM: Final = "room for its package"

# A person hears of tries that fail once they have failed for so long since the run last reached a new state.
ALERT_AFTER: Final = timedelta(minutes=15)

# What keeps one file alone from going on: after this time other files pass it, and a person hears of it.
ASIDE_AFTER: Final = timedelta(minutes=3)
# Seconds between two looks at a file that is not complete, until then.
INCOMPLETE_LOOK_S: Final = 3.0
# Seconds between two tries of a flow that is stopped, each with another file.
STOPPED_TRY_S: Final = 180.0
# States in which nothing is left to be decided about a file: a refusal only keeps it from being moved.
TO_BE_FILED: Final = frozenset({State.FINISHED, State.CANCELLED})
# Runs that are taken back, or cleared, when their flow stops or goes on; the others follow with their own tries.
TOLD_AT_ONCE: Final = 50
LONGEST_REFUSAL: Final = 60  # characters: a list's row holds no more
_CHANGING: Final = re.compile(r"'[^']*'|\"[^\"]*\"|[0-9a-fA-F-]{8,}|[0-9]+")
# Names of files that passed a run, that its record keeps; all are counted.
PASSED_BY_KEPT: Final = 20
PASSED_BY_LOOKED_THROUGH: Final = 2_000


def advance(text: str, flow: Flow, services: Services) -> None:
    """Do what is due in a lane, then see that a wake-up is on its way if anything is left that does not wait for long.

    text: the lane, and behind a blank perhaps the place of a run in it that is not among the first.
    Ends at once if another worker holds the lane. Raises TryAgain or NeedsPerson only for trouble with the app's own
    storage; the host then delivers the wake-up again.
    """
    lane, _, place = text.partition(" ")
    damaged: set[str] = set()
    try:
        with services.store.lease(lane):
            _work(lane, place, damaged, flow, services)
    except LeaseTaken:
        log.info("lane.held_by_another", lane=lane)
        return
    except RecordChanged as error:
        # Our lease ran out under a long pause and another worker goes on, a person has cancelled the run meanwhile, or
        # whoever gave a name back has woken it. What we did is for the next worker to find.
        log.warning("lane.lost", lane=lane, reason=error.message)
    # A wake-up that came while we held the lease has ended without effect; what it was about is for us to see.
    choice = _choice(_listed(lane, damaged, services))
    if choice and choice.due <= services.now():
        services.wakes.send(lane)


def _listed(lane: str, damaged: set[str], services: Services) -> Lane:
    """Return what tells which run is next; damaged: the places of records that turned out not to be readable."""
    listed = services.store.lane(lane)
    rows = tuple(replace(row, damage="it cannot be read") if row.sort_key in damaged else row for row in listed.rows)
    return listed._replace(rows=rows)


def _choice(lane: Lane) -> Choice | None:
    return None if lane.is_paused else choose(lane.rows, lane.stops)


def _work(lane: str, place: str, damaged: set[str], flow: Flow, services: Services) -> None:
    began = services.now()
    has_worked = place != "" and _work_at(lane, place, flow, services)
    while True:
        listed = _listed(lane, damaged, services)
        choice = _choice(listed)
        if choice is None:
            return
        now = services.now()
        if choice.due > now + CLOCKS_DIFFER_BY:
            wait_s = (choice.due - now).total_seconds()
            if has_worked and wait_s < LEFT_TO_TIMER_S:  # if it has not, whoever was at work last has sent its wake-up
                services.wakes.send(lane, delay_s=wait_s)
            return
        if (now - began).total_seconds() > WORK_S:
            return  # what is left is due, so the look after the lease is released sends a wake-up
        if choice.due > now:  # so short a time is waited for; without, F&O would be polled again and again until then
            services.pause((choice.due - now).total_seconds())
        run = _read(choice.row, services)
        if run is None:
            damaged.add(choice.row.sort_key)
        elif run.due > now + CLOCKS_DIFFER_BY:
            raise RecordChanged(f"run {run.run_id} was put off by another worker meanwhile")
        else:
            _advance_until_it_waits(run, listed, flow, services)
            has_worked = True


def _work_at(lane: str, place: str, flow: Flow, services: Services) -> bool:
    """Advance a run that is not among the first of its lane; return whether there was anything to do."""
    listed = services.store.lane(lane)
    row = None if listed.is_paused else services.store.row_at(lane, place)
    run = _read(row, services) if row and not row.damage and not row.is_waiting else None
    if run is None or run.due > services.now():
        return False
    _advance_until_it_waits(run, listed, flow, services)
    return True


def _read(row: LaneRow, services: Services) -> Run | None:
    """Return the run of a row; None if its record is damaged, which a person is told."""
    try:
        return services.store.read_row(row)
    except Damaged as damaged:
        run_alerts.enqueue_damaged_record(replace(row, damage=str(damaged)), services)
        return None


def _advance_until_it_waits(run: Run, lane: Lane, flow: Flow, services: Services) -> None:
    """Do what is due of a run."""
    following: Run | None = run
    is_first = True
    while following and (is_first or following.due <= services.now()):
        following = _advance_once(following, lane, flow, services)
        is_first = False


def _advance_once(run: Run, lane: Lane, flow: Flow, services: Services) -> Run | None:
    """Do the next step and save what came of it; return None if the run has ended."""
    with bound(**run.log_keys()):
        if run.is_over:  # a person may have ended it
            return _saved(run, services)
        after = _attempted(run, lane, flow, services)
        if after.state is State.SUBMITTING and run.state is not State.SUBMITTING:
            return _submitted(run, after, lane, flow, services)
        return _saved(after, services)


def _saved(run: Run, services: Services) -> Run | None:
    """Save a run, or end it; what it has reserved and does not need any more is free afterwards."""
    if run.is_over:
        _conclude(run, services)
        return None
    # Read before the run is saved: from then on another worker may reserve the same names for it.
    held = reserve.held_by(run, services) if run.reserved and _may_reserve_again(run) else ()
    saved = services.store.save(run)
    run_alerts.enqueue_problem(saved, services)  # once it is saved; each try queues it again, in case that failed
    return _without_reservations(saved, held, services)


def _needs_reservations(run: Run) -> bool:
    return run.may_be_with_fo or (run.waits is not None and run.waits.what == LOCK)


def _may_reserve_again(run: Run) -> bool:
    return run.state in (State.FOUND, State.CLAIMED, State.PLANNED) and not _needs_reservations(run)


def _without_reservations(run: Run, held: Sequence[Reservation], services: Services) -> Run:
    if not run.reserved or _needs_reservations(run):
        return run
    if _may_reserve_again(run):
        reserve.free(held, services)
    else:
        reserve.give_back(run, services)
    return replace(run, reserved=())


def _submitted(before: Run, run: Run, lane: Lane, flow: Flow, services: Services) -> Run | None:
    """Save a run as SUBMITTING and submit it, both under the flow's lock if it has one.

    If the lock does not come soon, the run stays where it was: nothing was saved, so no id is used up.
    """
    try:
        lock = flow.lock(run, services)
        if lock is None:
            return _saved(run, services)
        with lock:
            saved = services.store.save(run.waits_no_more(services.now()))
            after = _attempted(saved, lane, flow, services)
        return _saved(after, services)
    except LeaseTaken:
        log.info("import.waits_for_lock")
        back = run.not_submitting(before)
        wait = Wait(what=LOCK, since=services.now(), holder="F&O takes one ImportFromPackage at a time.")
        waiting = back.waiting_for(wait, LOCK_RETRY_S, flow.stuck_after(services), services.now())
        return _saved(waiting, services)


# -- one step


def _attempted(run: Run, lane: Lane, flow: Flow, services: Services) -> Run:
    """Return the run after one try of a step, with the try in its history."""
    step, began = flow.steps[run.state], services.now()
    with recording() as calls, correlated(run.execution_id):
        after, error = _judged(run, step, lane, flow, services)
    record = StepRecord(
        step=step.__name__,
        state=run.state,
        began=began,
        took_s=round((services.now() - began).total_seconds(), 3),
        calls=tuple(map(_call_record, calls)),
        error=error,
    )
    if not error:
        log.info("step.done", step=record.step, state=after.state.value, took_s=record.took_s, calls=len(calls))
    return _flagged_in_time(after.with_step(record), services.now())


def _flagged_in_time(run: Run, now: datetime) -> Run:
    """Return the run flagged for attention if its tries have failed for long, or due at the latest when it is to be."""
    if run.failing_since is None or run.problem or run.is_over:
        return run
    flagged = run.failing_since + ALERT_AFTER
    if now < flagged:
        return replace(run, due=min(run.due, flagged))
    return _flagged(run, next((step.error for step in reversed(run.steps) if step.error), ""), now)


def _flagged(run: Run, error: str, now: datetime) -> Run:
    since = f"{run.failing_since or now:%H:%M} UTC"
    return run.flagged(
        f"{error} (tried {run.attempts} times since {since}; the app goes on trying)", now, About.FAILING
    )


def _call_record(call: RecordedCall) -> RemoteCallRecord:
    return RemoteCallRecord(
        service=call.service,
        operation=call.operation,
        status=call.status,
        request_id=call.request_id,
        took_s=call.took_s,
        began=call.began,
    )


def _judged(run: Run, step: Step, lane: Lane, flow: Flow, services: Services) -> tuple[Run, str]:
    """Return the run after one try, and what went wrong in words (empty if nothing did)."""
    try:
        return _went_well(run, step(run, services), step.__name__, lane, services), ""
    except StepFailed as failed:
        return _failed(failed.run, failed.error, step.__name__, lane, flow, services)
    except AppError as error:
        return _failed(run, error, step.__name__, lane, flow, services)
    except Exception as error:  # noqa: BLE001  # the one place: a bug must neither stop other lanes nor lose this run
        log.error("step.broke", step=step.__name__, exc_info=True)
        text = f"The app has a bug: {type(error).__name__} in step {step.__name__}; the log holds the traceback."
        failed_run = run.failed_once_more(_retry_wait_s(run), services.now())
        return failed_run.flagged(text, services.now(), About.FAILING), text


def _failed(run: Run, error: AppError, step: str, lane: Lane, flow: Flow, services: Services) -> tuple[Run, str]:
    """Return the run after a try that failed, and the error in words."""
    after, text = _blamed(run, error, step, lane, flow, services)
    stop = _stop_of(run, lane)
    if stop and (run.state is State.FOUND or (run.held and run.held.refusal == stop.refusal)):
        after = _tried_in_vain(run, after, error, stop, services)
    return after, text


def _blamed(run: Run, error: AppError, step: str, lane: Lane, flow: Flow, services: Services) -> tuple[Run, str]:
    """Return the same, before its flow's standing still is thought of: whose problem it is decides what happens."""
    now, text = services.now(), str(error)
    match error:
        case NameReserved():
            log.info("run.waits", step=step, what=error.what, holder=error.holder)
            wait = error.wait(now)
            waits = run.waiting_for(wait, _busy_wait_s(run, wait, now), flow.stuck_after(services), now)
            if waits.problem and not run.problem and reserve.is_under_way(error.holder_address, services):
                waits = replace(waits, problem=None)  # the app itself keeps it busy, and tells if that run hangs
            return waits, ""
        case NoRoom():
            log.info("run.waits", step=step, what=ROOM, holder=error.message)
            wait = Wait(what=ROOM, since=now, holder=error.message)
            return run.waiting_for(wait, ROOM_RETRY_S, flow.stuck_after(services), now), ""
        case FileRejected() if run.direction is Direction.IMPORT and run.state not in TO_BE_FILED:
            log.warning("run.rejected", step=step, reason=text)
            return run.finished(Outcome.REJECTED, error.message, now), text
        case FileRejected() | ItemLocked() | NotComplete() if run.direction is Direction.IMPORT:
            log.warning("run.held", step=step, reason=text)
            return _held(run, error, "", flow, services), text
        case Refused() if run.direction is Direction.IMPORT and run.state is State.CANCELLED:
            log.warning("run.held", step=step, reason=text)
            return _held(run, error, "", flow, services), text
        case Refused() if run.direction is Direction.IMPORT and run.state is not State.EXECUTING:
            log.error("step.refused", step=step, reason=text, attempts=run.attempts + 1)
            return _refused(run, error, step, lane, flow, services), text
        case FileRejected() | NeedsPerson() | Refused():
            log.error("step.needs_person", step=step, reason=text)
            return run.failed_once_more(_retry_wait_s(run), now).flagged(text, now, About.FAILING), text
        case _:
            wait_s = _retry_wait_s(run, error)
            log.warning("step.again", step=step, reason=text, attempts=run.attempts + 1, wait_s=wait_s)
            after = _counted(run.failed_once_more(wait_s, now), error)
            # A service that asks for a longer wait is left alone for so long, so a person hears of it now.
            is_asked = isinstance(error, TryAgain) and error.retry_after_s is not None
            is_too_late = after.due > (after.failing_since or now) + ALERT_AFTER
            return _flagged(after, text, now) if is_asked and is_too_late else after, text


def _counted(run: Run, error: AppError) -> Run:
    """Return the run with what decides something counted by itself, whatever else has failed."""
    match error:
        case FileMissing():
            return replace(run, not_found=run.not_found + 1)
        case NameHeld():
            return replace(run, held_name_looks=run.held_name_looks + 1)
        case DetailsMissing():
            return replace(run, detail_tries=run.detail_tries + 1)
    return run


def _retry_wait_s(run: Run, error: AppError | None = None) -> float:
    if isinstance(error, ProjectBusy):
        grown = min(FIRST_BUSY_S * 1.5 ** min(run.attempts, 16), LONGEST_BUSY_S)
    else:
        grown = min(FIRST_RETRY_S * 2.0 ** min(run.attempts, 16), LONGEST_RETRY_S)
    asked = error.retry_after_s if isinstance(error, TryAgain) else None
    return max(grown, asked or 0.0)


def _busy_wait_s(run: Run, wait: Wait, now: datetime) -> float:
    """Return the seconds until a name that another run has is asked for again."""
    since = run.waits.since if run.waits and run.waits.what == wait.what else now
    return min(max((now - since).total_seconds() / 2, FIRST_BUSY_S), LONGEST_BUSY_S)


# -- what keeps one file, and what stops its flow


def _held(run: Run, error: AppError, refusal: str, flow: Flow, services: Services) -> Run:
    """Return a run that its own file keeps from going on: after a few minutes others pass it, and a person is told."""
    now = services.now()
    held = run.held or Held(since=now, text=error.message)
    if held.refusal != refusal:
        held = replace(held, is_cleared=False)
    keeps_order = flow.keeps_order(run, services)
    is_due = now - held.since >= ASIDE_AFTER
    held = replace(held, text=error.message, refusal=refusal, is_aside=is_due and not keeps_order, is_flows=False)
    after = replace(run.failed_once_more(_retry_wait_s(run, error), now), held=held)
    if not is_due:
        wait_s = (held.since + ASIDE_AFTER - now).total_seconds()
        if isinstance(error, NotComplete):
            after = replace(after, attempts=run.attempts)
            wait_s = min(wait_s, INCOMPLETE_LOOK_S)
        return replace(after, due=min(after.due, now + timedelta(seconds=wait_s)))
    passed = "all files behind it wait for it (strictOrder)" if keeps_order else "other files pass it"
    text = (
        f"{run.file.name} is set aside, {passed}: {error}. It is tried again every few minutes, and goes on by itself."
    )
    if keeps_order:
        text = f"{run.file.name} cannot go on, and {passed}: {error}. It is tried again every few minutes."
    return after.flagged(text, now, About.ASIDE)


def _refused(run: Run, error: Refused, step: str, lane: Lane, flow: Flow, services: Services) -> Run:
    """Return a run that met a refusal which may be about its file or about all: a second file that meets it decides."""
    now = services.now()
    refusal = _refusal(step, error)
    stop = _stop_of(run, lane)
    others = [
        row
        for row in lane.rows
        if row.is_aside and row.refusal == refusal and row.flow_name == run.flow_name and row.run_id != run.run_id
    ]
    if others and (stop is None or stop.refusal != refusal):
        log.error("flow.stopped", flow_name=run.flow_name, refusal=refusal, reason=str(error))
        stop = Stop(
            lane=run.lane,
            flow_name=run.flow_name,
            refusal=refusal,
            text=str(error),
            since=now,
            next_try=now,
        )
        for row in others[:TOLD_AT_ONCE]:
            _take_back(row, services)
    if stop is None or stop.refusal != refusal:
        return _held(run, error, refusal, flow, services)
    services.store.stop(replace(stop, next_try=now + timedelta(seconds=STOPPED_TRY_S), text=str(error)))
    held = run.held or Held(since=now, text=error.message)
    held = replace(held, text=error.message, refusal=refusal, is_aside=True, is_flows=True, is_cleared=False)
    after = run.failed_once_more(STOPPED_TRY_S, now).without_problem(About.ASIDE).without_problem(About.FAILING)
    return replace(after, held=held, failing_since=None)


def _tried_in_vain(run: Run, after: Run, error: AppError, stop: Stop, services: Services) -> Run:
    """Return a run that tried for its flow, which stands still, and failed; the next one tries in a few minutes.

    A person knows that the flow stands still. Of other trouble only a file tells that was not refused itself: not each.
    """
    if isinstance(error, Refused) and after.held and after.held.is_flows:
        return after  # the same refusal: the next try is put off already
    services.store.stop(replace(stop, next_try=services.now() + timedelta(seconds=STOPPED_TRY_S)))
    return replace(after.without_problem(About.FAILING), failing_since=None) if run.held else after


def _stop_of(run: Run, lane: Lane) -> Stop | None:
    return next((stop for stop in lane.stops if stop.flow_name == run.flow_name), None)


def _refusal(step: str, error: Refused) -> str:
    """Return what makes two refusals the same: the step, and the service's status and code."""
    call = error.call
    if call is None:
        return f"{step}|{_digest(error.message)}"[:LONGEST_REFUSAL]
    # Without a code only the words tell one refusal from another; names and numbers in them differ from file to file.
    code = call.code or _digest(_CHANGING.sub("", error.message))
    return "|".join((step, call.service, str(call.status or ""), code))[:LONGEST_REFUSAL]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]


def _take_back(row: LaneRow, services: Services) -> None:
    """Let a file that was set aside for a refusal wait for its flow, whose trouble it turned out to be."""
    run = _read(row, services)
    if run and run.held:
        held = replace(run.held, is_flows=True)
        services.store.save(replace(run.without_problem(About.ASIDE), held=held, failing_since=None))


def _went_well(before: Run, after: Run, step: str, lane: Lane, services: Services) -> Run:
    """Return a run after a step that went well; what kept it from that is over, and what others met may be theirs."""
    if after.waits and after.waits.what == ROOM:
        after = after.waits_no_more(services.now())
    if after.state is before.state:
        return after
    if not after.is_over:
        after = replace(after, not_found=0)  # of those in a row; what has ended tells how many there were
    if PROGRESS[after.state] > PROGRESS[before.state] and after.state is not State.WITHDRAWN:
        with suppress(AppError):  # the step is done all the same; the next file that gets through lets them on
            _let_others_through(before, step, lane, services)
    held = before.held
    if held is None or (held.refusal and not held.refusal.startswith(f"{step}|")):
        return after
    cured = replace(after, held=None).without_problem(About.ASIDE)
    return _with_those_that_passed(cured, held, services) if held.is_aside else cured


def _let_others_through(run: Run, step: str, lane: Lane, services: Services) -> None:
    """Let a run's flow go on that stands still at this step; what other files met there is their own from now on."""
    stop = _stop_of(run, lane)
    if stop and stop.refusal.startswith(f"{step}|"):
        log.info("flow.goes_on", flow_name=stop.flow_name, refusal=stop.refusal)
        services.store.end_stop(stop.lane, stop.flow_name)
    met = [
        row
        for row in lane.rows
        if row.flow_name == run.flow_name and row.run_id != run.run_id and row.refusal.startswith(f"{step}|")
    ]
    for row in met[:TOLD_AT_ONCE]:
        _clear(row, services)


def _clear(row: LaneRow, services: Services) -> None:
    """Note that another file got through since this one was refused: it is not the flow's trouble."""
    run = _read(row, services)
    if run and run.held:
        services.store.save(replace(run, held=replace(run.held, is_cleared=True)))


def _with_those_that_passed(run: Run, held: Held, services: Services) -> Run:
    """Return a run that was set aside with the files of its flow that came later and were taken up first."""
    names = [
        row.file_name
        for row in services.store.lane(run.lane).rows
        if row.flow_name == run.flow_name and row.sort_key > run.sort_key and not row.is_waiting and not row.is_passed
    ]
    looked_through = 0
    for rows in services.store.ended_rows(services.now().date(), held.since.date()):
        names += [
            row.file_name
            for row in rows.rows
            if row.integration == run.flow_name
            and row.run_id != run.run_id
            and row.place >= run.sort_key[: len(row.place)]
            and row.place
            and row.ended is not None
            and row.ended >= held.since
        ]
        looked_through += len(rows.rows)
        if looked_through >= PASSED_BY_LOOKED_THROUGH:
            break
    return replace(run, passed_by=tuple(names[:PASSED_BY_KEPT]), passed_by_total=len(names))


# -- the end of a run


def _conclude(run: Run, services: Services) -> None:
    """End a run: keep an alert if it failed, then move its record from open to ended.

    In this order: a crash between the two keeps the same alert again, the other order might never tell.
    """
    over = replace(run, ended=services.now())
    run_alerts.enqueue_failure(over, services)
    services.store.end(over)
    if over.reserved and not over.may_be_with_fo:
        reserve.give_back(over, services)
    log.info(
        "run.ended",
        outcome=over.outcome.value if over.outcome else "",
        state=over.state.value,
        took_s=round((services.now() - over.opened).total_seconds(), 3),
        reason=over.reason,
    )
