"""Whose problem an error is: that of time, of one file, of a flow, or one that a person must solve; and what follows.

The worker asks here after each try of a step. A file that cannot go on is set aside after a few minutes; a refusal that
a second file meets stops their flow, and one file tries now and then until one gets through.
"""

import hashlib
import re
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from shared.alerts import run_alerts
from shared.app import Services
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
from shared.log import log
from shared.package_memory import NoRoom
from shared.reservations import reserve
from shared.reservations.reserve import NameReserved
from shared.runs.addresses import address_of
from shared.runs.lane import LaneRow, Stop
from shared.runs.machine import StateMachine
from shared.runs.record import Damaged
from shared.runs.rows import Pause
from shared.runs.run import Run
from shared.runs.states import PROGRESS, Direction, Outcome, State
from shared.runs.store import Lane
from shared.runs.values import About, Held, Wait

# Seconds between two tries: doubled each time within these bounds, unless the service asks for another wait. A data
# project that is in use is asked for more often: it takes a minute at most to see that it is free.
FIRST_RETRY_S: Final = 2.0
LONGEST_RETRY_S: Final = 300.0
FIRST_BUSY_S: Final = 5.0
LONGEST_BUSY_S: Final = 60.0

# Seconds until the next try of a run whose package finds no room in this process's memory; it has waited half a minute.
ROOM_RETRY_S: Final = 5.0
ROOM: Final = "room for its package"

# A person hears of tries that fail once they have failed for so long since the run last reached a new state.
ALERT_AFTER: Final = timedelta(minutes=15)

# What keeps one file alone from going on: after this time other files pass it, and a person hears of it.
ASIDE_AFTER: Final = timedelta(minutes=3)

# Seconds between two looks at a file that is not complete, until then.
INCOMPLETE_RETRY_S: Final = 3.0

# Seconds between two tries of a flow that is stopped, each with another file.
STOPPED_TRY_S: Final = 180.0

# States in which nothing is left to be decided about a file: a refusal only keeps it from being moved.
TO_BE_FILED: Final = frozenset({State.FINISHED, State.CANCELLED})

# Runs that are taken back, or cleared, when their flow stops or goes on; the others follow with their own tries.
TAKEN_BACK_AT_ONCE: Final = 50
LONGEST_REFUSAL: Final = 60  # characters: a list's row holds no more

_CHANGING: Final = re.compile(r"'[^']*'|\"[^\"]*\"|[0-9a-fA-F-]{8,}|[0-9]+")

STRICT_ORDER: Final = "strictOrder"  # who has paused a lane that is stopped at a file

# Names of files that passed a run, that its record keeps; all are counted.
PASSED_BY_KEPT: Final = 20
PASSED_BY_SEARCHED: Final = 2_000


def judge_error(
    run: Run, error: AppError, step: str, lane: Lane, machine: StateMachine, services: Services
) -> tuple[Run, str]:
    """Return the run after a try that failed, and the error's text."""
    after, text = _judge_by_kind(run, error, step, lane, machine, services)
    stop = _find_stop(run, lane)
    if stop and (run.state is State.FOUND or (run.held and run.held.refusal == stop.refusal)):
        after = _put_off_next_try(run, after, error, stop, services)
    return after, text


def _judge_by_kind(
    run: Run, error: AppError, step: str, lane: Lane, machine: StateMachine, services: Services
) -> tuple[Run, str]:
    """Return the same, leaving aside that its flow may be stopped: whose problem the error is decides what happens."""
    now, text = services.now(), str(error)
    match error:
        case NameReserved():
            log.info("run.waits", step=step, what=error.what, holder=error.holder)
            wait = error.wait(now)
            waits = run.waiting_for(wait, _busy_wait_s(run, wait, now), machine.stuck_after(run, services), now)
            if waits.problem and not run.problem and reserve.is_under_way(error.holder_address, services):
                waits = replace(waits, problem=None)  # the app itself keeps it busy, and reports that run if it hangs
            return waits, ""
        case NoRoom():
            log.info("run.waits", step=step, what=ROOM, holder=error.message)
            wait = Wait(what=ROOM, since=now, holder=error.message)
            return run.waiting_for(wait, ROOM_RETRY_S, machine.stuck_after(run, services), now), ""
        case FileRejected() if run.direction is Direction.IMPORT and run.state not in TO_BE_FILED:
            log.warning("run.rejected", step=step, reason=text)
            return run.finished(Outcome.REJECTED, error.message, now), text
        case FileRejected() | ItemLocked() | NotComplete() if run.direction is Direction.IMPORT:
            log.warning("run.held", step=step, reason=text)
            return _hold(run, error, "", machine, services), text
        case Refused() if run.direction is Direction.IMPORT and run.state is State.CANCELLED:
            log.warning("run.held", step=step, reason=text)
            return _hold(run, error, "", machine, services), text
        case Refused() if run.direction is Direction.IMPORT and run.state is not State.EXECUTING:
            log.error("step.refused", step=step, reason=text, attempts=run.attempts + 1)
            return _hold_or_stop(run, error, step, lane, machine, services), text
        case FileRejected() | NeedsPerson() | Refused():
            log.error("step.needs_person", step=step, reason=text)
            return run.failed_once_more(retry_wait_s(run), now).flagged(text, now, About.FAILING), text
        case _:
            wait_s = retry_wait_s(run, error)
            log.warning("step.again", step=step, reason=text, attempts=run.attempts + 1, wait_s=wait_s)
            after = _count(run.failed_once_more(wait_s, now), error)
            # A service that asks for a longer wait is left alone for so long, so a person hears of it now.
            is_asked = isinstance(error, TryAgain) and error.retry_after_s is not None
            is_too_late = after.due > (after.failing_since or now) + ALERT_AFTER
            return _flag(after, text, now) if is_asked and is_too_late else after, text


def _count(run: Run, error: AppError) -> Run:
    """Return the run with what decides something counted by itself, whatever else has failed."""
    match error:
        case FileMissing():
            return replace(run, not_found=run.not_found + 1)
        case NameHeld():
            return replace(run, held_name_looks=run.held_name_looks + 1)
        case DetailsMissing():
            return replace(run, detail_tries=run.detail_tries + 1)
    return run


def retry_wait_s(run: Run, error: AppError | None = None) -> float:
    """Return the seconds until the next try of a step that failed once more."""
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


def flag_in_time(run: Run, now: datetime) -> Run:
    """Return the run flagged for attention if its tries have failed for long, or due at the latest when it is to be."""
    if run.failing_since is None or run.problem or run.is_over:
        return run
    flagged = run.failing_since + ALERT_AFTER
    if now < flagged:
        return replace(run, due=min(run.due, flagged))
    return _flag(run, next((step.error for step in reversed(run.steps) if step.error), ""), now)


def _flag(run: Run, error: str, now: datetime) -> Run:
    since = f"{run.failing_since or now:%H:%M} UTC"
    return run.flagged(f"{error} (tried {run.attempts} times since {since}; the app keeps trying)", now, About.FAILING)


def _hold(run: Run, error: AppError, refusal: str, machine: StateMachine, services: Services) -> Run:
    """Hold a run back whose own file cannot go on: after a few minutes others pass it, and it is flagged."""
    now = services.now()
    held = run.held or Held(since=now, text=error.message)
    if held.refusal != refusal:
        held = replace(held, is_cleared=False)
    keeps_order = machine.keeps_order(run, services)
    is_due = now - held.since >= ASIDE_AFTER
    held = replace(held, text=error.message, refusal=refusal, is_aside=is_due and not keeps_order, is_flows=False)
    after = replace(run.failed_once_more(retry_wait_s(run, error), now), held=held)
    if not is_due:
        wait_s = (held.since + ASIDE_AFTER - now).total_seconds()
        if isinstance(error, NotComplete):
            after = replace(after, attempts=run.attempts)
            wait_s = min(wait_s, INCOMPLETE_RETRY_S)
        return replace(after, due=min(after.due, now + timedelta(seconds=wait_s)))
    text = (
        f"{run.file.name} is set aside; other files pass it: {error}. The app tries it again every few minutes and "
        "continues by itself."
    )
    if keeps_order:
        text = (
            f"{run.file.name} cannot continue, and all files behind it wait for it (strictOrder): {error}. The app "
            "tries it again every few minutes."
        )
    return after.flagged(text, now, About.ASIDE)


def _hold_or_stop(run: Run, error: Refused, step: str, lane: Lane, machine: StateMachine, services: Services) -> Run:
    """Hold a run back that met a refusal about its file or about all; if a second file meets it, stop the flow."""
    now = services.now()
    refusal = _refusal_key(step, error)
    stop = _find_stop(run, lane)
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
        for row in others[:TAKEN_BACK_AT_ONCE]:
            _take_back(row, services)
    if stop is None or stop.refusal != refusal:
        return _hold(run, error, refusal, machine, services)
    services.store.save_stop(replace(stop, next_try=now + timedelta(seconds=STOPPED_TRY_S), text=str(error)))
    held = run.held or Held(since=now, text=error.message)
    held = replace(held, text=error.message, refusal=refusal, is_aside=True, is_flows=True, is_cleared=False)
    after = run.failed_once_more(STOPPED_TRY_S, now).without_problem(About.ASIDE).without_problem(About.FAILING)
    return replace(after, held=held, failing_since=None)


def _put_off_next_try(run: Run, after: Run, error: AppError, stop: Stop, services: Services) -> Run:
    """Put off the next try of a stopped flow, for which a run has tried in vain.

    A person knows that the flow is stopped. Other problems are flagged only on a file that was not refused itself.
    """
    if isinstance(error, Refused) and after.held and after.held.is_flows:
        return after  # the same refusal: the next try is put off already
    services.store.save_stop(replace(stop, next_try=services.now() + timedelta(seconds=STOPPED_TRY_S)))
    return replace(after.without_problem(About.FAILING), failing_since=None) if run.held else after


def _find_stop(run: Run, lane: Lane) -> Stop | None:
    return next((stop for stop in lane.stops if stop.flow_name == run.flow_name), None)


def stop_lane(run: Run, services: Services) -> None:
    """Stop the lane of a run that did not succeed: no file may pass it before a person has decided."""
    outcome = run.outcome.label if run.outcome else ""
    why = f"{run.file.name} ended as {outcome}, and no file may pass it."
    stop = Pause(lane=run.lane, by=STRICT_ORDER, why=why, since=services.now(), run=address_of(run))
    log.error("lane.stopped", lane=run.lane, outcome=outcome)
    services.store.stop_lane(stop)


def resume_lane(run: Run, services: Services) -> None:
    """Resume the lane of a run if it was stopped at this very run."""
    stop = services.store.stop_at_file(run.lane)
    if stop and stop.run_id == run.run_id:
        services.store.end_stop_at_file(run.lane)


def _refusal_key(step: str, error: Refused) -> str:
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
    """Let a file that was set aside for a refusal wait for its flow, whose problem it turned out to be."""
    run = read_run(row, services)
    if run and run.held:
        held = replace(run.held, is_flows=True)
        services.store.save(replace(run.without_problem(About.ASIDE), held=held, failing_since=None))


def record_success(before: Run, after: Run, step: str, lane: Lane, services: Services) -> Run:
    """Return a run after a step that succeeded; what kept it from that is over, and it may let other files go on."""
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
    return _add_those_that_passed(cured, held, services) if held.is_aside else cured


def _let_others_through(run: Run, step: str, lane: Lane, services: Services) -> None:
    """Resume the run's flow if it is stopped at this step; what other files met there is about them from now on."""
    stop = _find_stop(run, lane)
    if stop and stop.refusal.startswith(f"{step}|"):
        log.info("flow.resumed", flow_name=stop.flow_name, refusal=stop.refusal)
        services.store.delete_stop(stop.lane, stop.flow_name)
    met = [
        row
        for row in lane.rows
        if row.flow_name == run.flow_name and row.run_id != run.run_id and row.refusal.startswith(f"{step}|")
    ]
    for row in met[:TAKEN_BACK_AT_ONCE]:
        _clear(row, services)


def _clear(row: LaneRow, services: Services) -> None:
    """Note that another file got through since this one was refused: it is not the flow's problem."""
    run = read_run(row, services)
    if run and run.held:
        services.store.save(replace(run, held=replace(run.held, is_cleared=True)))


def _add_those_that_passed(run: Run, held: Held, services: Services) -> Run:
    """Note the files of its flow that came later than a run that was set aside, and were taken up first."""
    names = [
        row.file_name
        for row in services.store.lane(run.lane).rows
        if row.flow_name == run.flow_name and row.sort_key > run.sort_key and not row.is_waiting and not row.is_passed
    ]
    searched = 0
    for rows in services.index.ended_rows(services.now().date(), held.since.date()):
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
        searched += len(rows.rows)
        if searched >= PASSED_BY_SEARCHED:
            break
    return replace(run, passed_by=tuple(names[:PASSED_BY_KEPT]), passed_by_total=len(names))


def read_run(row: LaneRow, services: Services) -> Run | None:
    """Return the run of a row; None if its record is damaged, which a person is told."""
    try:
        return services.store.read_row(row)
    except Damaged as damaged:
        run_alerts.enqueue_damaged_record(replace(row, damage=str(damaged)), services)
        return None
