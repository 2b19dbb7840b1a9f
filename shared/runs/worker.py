"""The worker: advances the runs of one lane, step by step, until all have to wait. Knows no service and no direction.

It leases the lane, saves a run after each step, and is the only one that waits: for an execution that may end at any
moment. A step is a function ``(run, services) -> run``: it makes at most one irreversible call, and neither saves nor
sleeps. Why a lane is safe to wake at any time, any number of times, stands in ``docs/architecture.md``.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from shared.alerts import run_alerts
from shared.app import Services
from shared.clients.http.context import RecordedCall, correlated, recording
from shared.errors import (
    AppError,
    LeaseTaken,
    RecordChanged,
)
from shared.log import bound, log
from shared.reservations import release
from shared.reservations.reservation import Reservation
from shared.runs import blame
from shared.runs.addresses import is_before_all
from shared.runs.lane import Choice, rows_in_drain
from shared.runs.machine import StateMachine, Step, StepFailed
from shared.runs.run import Run
from shared.runs.states import NOT_SUBMITTED, Outcome, State
from shared.runs.store import Lane
from shared.runs.values import About, RemoteCallRecord, StepRecord, Wait

# Seconds after which a lane's worker hands over to a new invocation between two runs; one run may take longer. Far
# below functionTimeout in host.json.
WORK_S: Final = 120.0

# Seconds from which a wait is left to the minute's timer. A message that waits asks Azure for instances all the while:
# as many as there are messages, divided by batchSize. See docs/decisions/0023.
LEFT_TO_TIMER_S: Final = 60.0

# A wake-up that was sent by another host may come a moment before its run is due by this host's clock.
CLOCKS_DIFFER_BY: Final = timedelta(seconds=1)

# Seconds until the next try of a run whose turn to call ImportFromPackage did not come.
LOCK_RETRY_S: Final = 5.0

# What the alert of a file says that has stopped its lane.
STOPS_LANE: Final = "All files behind it wait (strictOrder) until a person runs it again, skips it or resumes the lane"

LOCK: Final = "its turn to call ImportFromPackage"


def advance(text: str, machine: StateMachine, services: Services) -> None:
    """Do what is due in a lane, then see that a wake-up is on its way if anything is left that does not wait for long.

    text: the lane, and behind a blank perhaps the place of a run in it that is not among the first.
    Ends at once if another worker holds the lane. Raises TryAgain or NeedsPerson only for trouble with the app's own
    storage; the host then delivers the wake-up again.
    """
    lane, _, place = text.partition(" ")
    damaged: set[str] = set()
    try:
        with services.leases.hold(lane):
            _advance_lane(lane, place, damaged, machine, services)
    except LeaseTaken:
        log.info("lane.held_by_another", lane=lane)
        return
    except RecordChanged as error:
        # Our lease ran out under a long pause and another worker goes on, a person has cancelled the run meanwhile, or
        # whoever gave a name back has woken it. What we did is for the next worker to find.
        log.warning("lane.lost", lane=lane, reason=error.message)
    # A wake-up that came while we held the lease has ended without effect; what it was about is for us to see.
    choice = _choice(_list_lane(lane, damaged, services), services)
    if choice and choice.due <= services.now():
        services.queue.send(lane)


def _list_lane(lane: str, damaged: set[str], services: Services) -> Lane:
    """Return what tells which run is next; damaged: the places of records that turned out not to be readable."""
    listed = services.store.lane(lane)
    rows = tuple(replace(row, damage="it cannot be read") if row.sort_key in damaged else row for row in listed.rows)
    return listed._replace(rows=rows)


def _choice(lane: Lane, services: Services) -> Choice | None:
    """Return the run that is next; while the app drains, of those that F&O may have received."""
    choice = lane.choice
    if choice and choice.row.state in NOT_SUBMITTED and services.drain.is_on():
        return lane._replace(rows=tuple(rows_in_drain(lane.rows))).choice
    return choice


def _is_kept_back(run: Run, services: Services) -> bool:
    """Return whether nothing is done about a run because the app drains."""
    return run.state in NOT_SUBMITTED and services.drain.is_on()


def _advance_lane(lane: str, place: str, damaged: set[str], machine: StateMachine, services: Services) -> None:
    began = services.now()
    has_worked = place != "" and _advance_at(lane, place, machine, services)
    while True:
        listed = _list_lane(lane, damaged, services)
        choice = _choice(listed, services)
        if choice is None:
            return
        now = services.now()
        if choice.due > now + CLOCKS_DIFFER_BY:
            if choice.is_rest and _shorten_rest(choice, machine, services):
                continue
            wait_s = (choice.due - now).total_seconds()
            # If it has not worked, whoever was at work last has sent its wake-up; but not for a file that came since,
            # while the lane rests.
            if (has_worked or choice.is_rest) and wait_s < LEFT_TO_TIMER_S:
                services.queue.send(lane, delay_s=wait_s)
            return
        if (now - began).total_seconds() > WORK_S:
            return  # what is left is due, so the look after the lease is released sends a wake-up
        if choice.due > now:
            services.sleep((choice.due - now).total_seconds())  # else F&O would be polled again and again until then
        run = blame.read_run(choice.row, services)
        if run is None:
            damaged.add(choice.row.sort_key)
        elif run.due > now + CLOCKS_DIFFER_BY:
            raise RecordChanged(f"run {run.run_id} was put off by another worker meanwhile")
        else:
            _advance_until_it_waits(run, listed, machine, services)
            has_worked = True


def _shorten_rest(choice: Choice, machine: StateMachine, services: Services) -> bool:
    """Shorten the rest of a lane to the pause of its flow, if it ends later than that; return whether it did.

    Whoever began it had a clock that is far ahead, or the setting was changed since.
    """
    run = blame.read_run(choice.row, services)
    if run is None:
        return False
    until = services.now() + timedelta(seconds=machine.rest_s(run, services))
    if choice.due <= until + CLOCKS_DIFFER_BY:
        return False
    log.warning("lane.rest_shortened", lane=run.lane, was=choice.due, until=until)
    services.store.rest_lane(run.lane, until)
    return True


def _advance_at(lane: str, place: str, machine: StateMachine, services: Services) -> bool:
    """Advance a run that is not among the first of its lane; return whether there was anything to do."""
    listed = services.store.lane(lane)
    row = None if listed.is_paused else services.store.row_at(lane, place)
    run = blame.read_run(row, services) if row and not row.damage and not row.is_waiting else None
    if run is None or run.due > services.now() or _is_kept_back(run, services):
        return False
    _advance_until_it_waits(run, listed, machine, services)
    return True


def _advance_until_it_waits(run: Run, lane: Lane, machine: StateMachine, services: Services) -> None:
    """Do what is due of a run, and stay with an execution that may end at any moment."""
    following = _advance_once(run, lane, machine, services)
    while following:
        wait_s = (following.due - services.now()).total_seconds()
        if wait_s > 0:
            if not following.in_process.is_end_near:
                return
            services.sleep(wait_s)  # the way through the queue takes as long as most executions; see execution.py
        if _is_kept_back(following, services):
            return
        following = _advance_once(following, lane, machine, services)


def _advance_once(run: Run, lane: Lane, machine: StateMachine, services: Services) -> Run | None:
    """Do the next step and save what came of it; return None if the run has ended."""
    with bound(**run.log_keys()):
        if run.is_over:  # a person may have ended it
            return _save(run, machine, services)
        after = _attempt(run, lane, machine, services)
        if after.state is State.SUBMITTING and run.state is not State.SUBMITTING:
            return _submit(run, after, lane, machine, services)
        return after if _is_still_near_its_end(run, after) else _save(after, machine, services)


def _is_still_near_its_end(before: Run, after: Run) -> bool:
    """Return whether a poll has changed nothing that another worker would have to know."""
    return after.in_process.is_end_near and replace(after, due=before.due, steps=before.steps) == before


def _save(run: Run, machine: StateMachine, services: Services) -> Run | None:
    """Save a run, or end it; what it has reserved and does not need any more is free afterwards."""
    if run.is_over:
        _conclude(run, machine, services)
        return None
    # Read before the run is saved: from then on another worker may reserve the same names for it.
    held = release.held_by(run, services) if run.reserved and _may_reserve_again(run) else ()
    saved = services.store.save(run)
    run_alerts.enqueue_problem(saved, services)  # once it is saved; each try queues it again, in case that failed
    return _free_reservations(saved, held, services)


def _needs_reservations(run: Run) -> bool:
    return run.may_be_with_fo or (run.waits is not None and run.waits.what == LOCK)


def _may_reserve_again(run: Run) -> bool:
    return run.state in NOT_SUBMITTED and not _needs_reservations(run)


def _free_reservations(run: Run, held: Sequence[Reservation], services: Services) -> Run:
    if not run.reserved or _needs_reservations(run):
        return run
    if _may_reserve_again(run):
        release.free(held, services)
    else:
        release.give_back(run, services)
    return replace(run, reserved=())


def _submit(before: Run, run: Run, lane: Lane, machine: StateMachine, services: Services) -> Run | None:
    """Save a run as SUBMITTING and submit it, both under the import lock if its direction has one.

    If the lock does not come soon, or the app drains, the run stays where it was: nothing was saved, so no id is used
    up.
    """
    if services.drain.is_on():
        return _save(run.not_submitting(before), machine, services)
    try:
        lock = machine.lock(run, services)
        if lock is None:
            return _save(run, machine, services)
        with lock:
            saved = services.store.save(run.waits_no_more(services.now()))
            after = _attempt(saved, lane, machine, services)
        return _save(after, machine, services)
    except LeaseTaken:
        log.info("import.waits_for_lock")
        back = run.not_submitting(before)
        wait = Wait(what=LOCK, since=services.now(), holder="F&O takes one ImportFromPackage at a time.")
        waiting = back.waiting_for(wait, LOCK_RETRY_S, machine.stuck_after(run, services), services.now())
        return _save(waiting, machine, services)


def _attempt(run: Run, lane: Lane, machine: StateMachine, services: Services) -> Run:
    """Return the run after one try of a step, with the try in its history."""
    step, began = machine.steps[run.state], services.now()
    with recording() as calls, correlated(run.execution_id):
        after, error = _try_step(run, step, lane, machine, services)
    record = StepRecord(
        step=step.__name__,
        state=run.state,
        began=began,
        took_s=round((services.now() - began).total_seconds(), 3),
        calls=tuple(map(_call_record, calls)),
        error=error,
    )
    if not error and not after.in_process.is_end_near:
        log.info("step.done", step=record.step, state=after.state.value, took_s=record.took_s, calls=len(calls))
    return blame.flag_in_time(after.with_step(record), services.now())


def _call_record(call: RecordedCall) -> RemoteCallRecord:
    return RemoteCallRecord(
        service=call.service,
        operation=call.operation,
        status=call.status,
        request_id=call.request_id,
        took_s=call.took_s,
        began=call.began,
    )


def _try_step(run: Run, step: Step, lane: Lane, machine: StateMachine, services: Services) -> tuple[Run, str]:
    """Return the run after one try, and the text of its error ("" if it had none)."""
    try:
        return blame.record_success(run, step(run, services), step.__name__, lane, services), ""
    except StepFailed as failed:
        return blame.judge_error(failed.run, failed.error, step.__name__, lane, machine, services)
    except AppError as error:
        return blame.judge_error(run, error, step.__name__, lane, machine, services)
    except Exception as error:  # noqa: BLE001  # the one place: a bug must neither stop other lanes nor lose this run
        log.error("step.broke", step=step.__name__, exc_info=True)
        text = f"The app has a bug: {type(error).__name__} in step {step.__name__}; the log holds the traceback."
        failed_run = run.failed_once_more(blame.retry_wait_s(run), services.now())
        return failed_run.flagged(text, services.now(), About.FAILING), text


def _was_to_go_first(run: Run) -> bool:
    """Return whether a rerun for which a stop of its lane was ended could not be imported: its file was gone."""
    return run.outcome is Outcome.WITHDRAWN and run.rerun_of != "" and is_before_all(run.sort_key)


def _conclude(run: Run, machine: StateMachine, services: Services) -> None:
    """End a run: keep an alert if it failed, stop what may not pass it, then move its record to ended.

    In this order: a crash in between does the same again, another order might never tell, or let others pass.
    """
    over = replace(run, ended=services.now())
    stops_lane = (over.did_not_succeed or _was_to_go_first(over)) and machine.keeps_order(over, services)
    run_alerts.enqueue_failure(over, services, STOPS_LANE if stops_lane else "")
    if stops_lane:
        blame.stop_lane(over, services)
    elif over.cancelled_in and machine.keeps_order(over, services):
        blame.resume_lane(over, services)  # a person has cancelled it while a worker was about to end it
    machine.note_end(over, services)
    if rest_s := machine.rest_s(over, services):
        services.store.rest_lane(over.lane, services.now() + timedelta(seconds=rest_s))
    services.store.end(over)
    if over.reserved and not over.may_be_with_fo:
        release.give_back(over, services)
    log.info(
        "run.ended",
        outcome=over.outcome.value if over.outcome else "",
        state=over.state.value,
        took_s=round((services.now() - over.opened).total_seconds(), 3),
        reason=over.reason,
    )
