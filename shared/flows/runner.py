"""Moves the runs of one lane, step by step, until one has to wait. Knows no service and no flow.

This is the only place that claims a lane, saves runs and judges errors. A step is a function
``(run, services) -> run``: it makes at most one irreversible call, never sleeps, never saves. Why a lane is safe to
wake at any time, any number of times, stands in ``docs/architecture.md``.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from shared.clients.http import correlated, recording
from shared.clients.run_store import LeaseTaken, RecordChanged
from shared.domain.run import FlowKind, Outcome, Run, State, StepRecord
from shared.errors import AppError, FileRejected, NeedsPerson, TryAgain
from shared.flows import telling
from shared.log import bound, log
from shared.services import Services

type Step = Callable[[Run, Services], Run]


def _always_saved(_run: Run) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What a lane's runs go through, and the queue that wakes the lane."""

    steps: Mapping[State, Step]
    queue: str
    # Whether a run that came into its state and goes on at once need not be saved in it: what it would be after a crash
    # is found again from what OneDrive and F&O say, and nothing is lost or done twice.
    passes_unsaved: Callable[[Run], bool] = _always_saved


# Seconds after which a lane's worker hands over to a new invocation between two runs; one run may take longer. Far
# below functionTimeout in host.json.
WORK_S: Final = 120.0

# For so long a listing of a lane tells which run is the next: a pause, and an older file, are seen as much later.
LISTING_HOLDS: Final = timedelta(seconds=1)

# A wake-up that was sent by another host may come a moment before its run is due by this host's clock.
CLOCKS_DIFFER_BY: Final = timedelta(seconds=1)

# Seconds between two tries: doubled each time within these bounds, unless the service asks for another wait.
FIRST_RETRY_S: Final = 2.0
LONGEST_RETRY_S: Final = 300.0
# Seconds between two looks whether a person has mended what stops a lane.
MENDED_LOOK_S: Final = 120.0
# Tries in a row that fail before a person hears of it: about 15 minutes of trouble.
TRIES_BEFORE_ALERT: Final = 9


def advance(lane: str, flow: Flow, services: Services) -> None:
    """Do what is due in a lane, then see that a wake-up is on its way if anything is left.

    Ends at once where another worker holds the lane. Raises TryAgain or NeedsPerson only for trouble with the app's own
    storage; the host then delivers the wake-up again.
    """
    try:
        with services.store.lease(lane):
            _work(lane, flow, services)
    except LeaseTaken:
        log.info("lane.held_by_another", lane=lane)
        return
    except RecordChanged as error:
        # Our lease ran out under a long pause and another worker goes on, or a person has given the run up meanwhile.
        # What we did is for the next worker to find.
        log.warning("lane.lost", lane=lane, reason=error.message)
        return
    # A wake-up that came while we held the lease has ended without effect; what it was about is for us to see.
    due = services.store.next_due(lane)
    if due and due <= services.now():
        services.wakes.send(flow.queue, lane)


def _work(lane: str, flow: Flow, services: Services) -> None:
    began = services.now()
    for head in _heads(lane, services):
        if head.due > services.now() + CLOCKS_DIFFER_BY:
            return  # the save that put it off has sent its wake-up
        if (services.now() - began).total_seconds() > WORK_S:
            return  # what is left is due, so the look after the lease is released sends a wake-up
        run: Run | None = head
        while run and (run is head or run.due <= services.now()):
            run = _advance_once(run, flow, services)
        if run:
            # Saved with a due time in the future: exactly one message for it.
            services.wakes.send(flow.queue, lane, delay_s=(run.due - services.now()).total_seconds())
            return


def _heads(lane: str, services: Services) -> Iterator[Run]:
    """Yield the oldest run of a lane, and once that has ended the next, until there was none to be seen.

    Whatever has come since the last listing is seen by the look after the lease is released.
    """
    are_all = False
    while not are_all:
        listed = services.now()
        runs, are_all = services.store.oldest(lane)
        for place, run in enumerate(runs):
            if place and services.now() - listed > LISTING_HOLDS:
                are_all = False
                break
            yield run


def _advance_once(run: Run, flow: Flow, services: Services) -> Run | None:
    """Do the next step and save what came of it; return None when the run has ended."""
    with bound(**run.log_keys()):
        # A person may have ended it.
        after = run if run.is_over else _attempted(run, flow.steps[run.state], services)
        if after.is_over:
            _conclude(after, services)
            return None
        goes_on = after.state is not run.state and after.due <= services.now()
        if goes_on and flow.passes_unsaved(after):
            return after
        saved = services.store.save(after)
        telling.tell_of_trouble(saved, services)  # what is saved is told of, again with each try until it is kept
        return saved


def _attempted(run: Run, step: Step, services: Services) -> Run:
    """Return the run after one try of a step, with the try in its history."""
    began = services.now()
    with recording() as calls, correlated(run.execution_id):
        after, error = _judged(run, step, services)
    record = StepRecord(
        step=step.__name__,
        state=run.state,
        began=began,
        took_s=round((services.now() - began).total_seconds(), 3),
        calls=tuple(calls),
        error=error,
    )
    if not error:
        log.info("step.done", step=record.step, state=after.state.value, took_s=record.took_s, calls=len(calls))
    return after.with_step(record)


def _judged(run: Run, step: Step, services: Services) -> tuple[Run, str]:
    """Return the run after one try, and what went wrong in words (empty where nothing did)."""
    try:
        return step(run, services), ""
    except FileRejected as error:
        log.warning("run.rejected", step=step.__name__, reason=str(error))
        return _rejected(run, error, services.now()), str(error)
    except NeedsPerson as error:
        log.error("step.needs_person", step=step.__name__, reason=str(error))
        return run.failed_once_more(MENDED_LOOK_S, services.now()).troubled(str(error), services.now()), str(error)
    except TryAgain as error:
        wait_s = _retry_wait_s(run, error)
        log.warning("step.again", step=step.__name__, reason=str(error), attempts=run.attempts + 1, wait_s=wait_s)
        after = run.failed_once_more(wait_s, services.now())
        if after.attempts >= TRIES_BEFORE_ALERT:
            after = after.troubled(f"{error} (tried {after.attempts} times, and goes on trying)", services.now())
        return after, str(error)
    except Exception as error:  # noqa: BLE001  # the one place: a bug must neither stop other lanes nor lose this run
        log.error("step.broke", step=step.__name__, exc_info=True)
        text = f"The app has a bug: {type(error).__name__} in step {step.__name__}; the log holds the traceback."
        return run.failed_once_more(LONGEST_RETRY_S, services.now()).troubled(text, services.now()), text


def _rejected(run: Run, error: AppError, now: datetime) -> Run:
    """Return the run of a file that can never succeed; an export has no file, so a person must act."""
    if run.flow is FlowKind.EXPORT:
        return run.failed_once_more(MENDED_LOOK_S, now).troubled(str(error), now)
    if run.state is State.FINISHED:
        return run.failed_once_more(MENDED_LOOK_S, now).troubled(str(error), now)
    return run.finished(Outcome.REJECTED, error.message, now)


def _retry_wait_s(run: Run, error: TryAgain) -> float:
    doubled = min(FIRST_RETRY_S * 2.0 ** min(run.attempts, 16), LONGEST_RETRY_S)
    return max(doubled, error.retry_after_s or 0.0)


def _conclude(run: Run, services: Services) -> None:
    """End a run: keep an alert if it failed, then move its record from open to ended.

    In this order: a crash between the two keeps the same alert again, the other order might never tell.
    """
    over = replace(run, ended=services.now())
    telling.tell_of_end(over, services)
    services.store.end(over)
    log.info(
        "run.ended",
        outcome=over.outcome.value if over.outcome else "",
        state=over.state.value,
        took_s=round((services.now() - over.opened).total_seconds(), 3),
        reason=over.reason,
    )
