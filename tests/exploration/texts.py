"""What of a run, a row, a reservation or a stop decides what comes next, as text: for comparing worlds.

A field that is left out here decides nothing; ``sameness.py`` says what that rests on.
"""

from datetime import datetime
from typing import Final

from shared.exports import schedule as export_schedule
from shared.reservations import release, settle
from shared.reservations.reservation import Reservation, RunRef
from shared.runs import blame
from shared.runs.addresses import key_of
from shared.runs.lane import LaneRow, Stop
from shared.runs.run import Run
from shared.runs.states import WITH_FO, Direction, State
from shared.runs.values import Held, UploadedPackage, Wait
from tests.exploration.moments import Due, Instant, instant, since

# Failed tries after which the next wait does not grow any more: 2 s doubled eight times are over 5 minutes.
_MOST_ATTEMPTS: Final = 8
# Seconds for which the app counts from a moment.
_FAILING_S: Final = int(blame.ALERT_AFTER.total_seconds())
_HELD_S: Final = int(blame.ASIDE_AFTER.total_seconds())
_WAITS_S: Final = int(2 * blame.LONGEST_BUSY_S)
_GRACE_S: Final = 181
_PAUSE_S: Final = int(export_schedule.PAUSE_AFTER_FAILURE.total_seconds())
_UNUSED_S: Final = int(settle.UNUSED_AT_LAST.total_seconds()) + 1
_WAITING_S: Final = int(release.WAITS_FOR.total_seconds())
_ASKED_S: Final = int(settle.ASKED_EVERY.total_seconds())

# The text of a run that is kept as long as the run is: runs are shared by many worlds.
_texts: dict[int, tuple[Run, str]] = {}
TEXTS_KEPT: Final = 200_000


def text_of(run: Run) -> str:
    """Return all of a run that decides what it does next."""
    known = _texts.get(id(run))
    if known is not None and known[0] is run:
        return known[1]
    file, state = run.file, run.state
    text = repr(
        (
            (run.run_id, state.value, run.flow_name, Due(instant(run.due))),
            instant(run.state_since) if state in (State.EXECUTING, State.READY) else "",
            (file.item_id, file.name, file.etag if _may_move_it(run) else "", file.is_complete),
            run.data_project,
            _text_of_package(run, run.package),
            _texts_of_submissions(run),
            (run.outcome and run.outcome.value, run.cancelled_in and run.cancelled_in.value),
            (min(run.attempts, _MOST_ATTEMPTS), since(run.failing_since, _FAILING_S)),
            (run.problem and run.problem.about.value, (run.furthest or state).value),
            (run.report_attempts, run.error_keys_of, run.lost_submits, run.not_found, run.held_name_looks),
            tuple(each.name for each in run.report_files),
            _text_of_held(run.held),
            _text_of_wait(run.waits),
            bool(run.reserved),
            # Before anything is sent, one that the schedule has opened sees whether it was done already.
            run.scheduled is not None and state is State.PLANNED,
            run.in_process.has_chosen_id and state is State.SUBMITTING,
            file.folder if state is State.FINISHED else "",
            run.in_process.download_url is not None and state is State.CLAIMED,
            run.in_process.package_url is not None and state in (State.CLAIMED, State.SUBMITTING),
            since(run.opened, 0),  # of runs that want one name, who was opened first: ``sameness.py`` compares them
            since(run.ended, _PAUSE_S) if state in (State.FAILED, State.CANCELLED) else run.ended is not None,
        )
    )
    if len(_texts) > TEXTS_KEPT:
        _texts.clear()
    _texts[id(run)] = (run, text)
    return text


def _may_move_it(run: Run) -> bool:
    """Return whether the eTag may still be sent with a move, by who has just seen the file or by who will file it."""
    is_filed_by_it = run.state is not State.CANCELLED and (run.attempts == 0 or run.state is not State.FINISHED)
    return run.direction is Direction.IMPORT and is_filed_by_it


def _text_of_package(run: Run, package: UploadedPackage | None) -> object:
    """Return what decides of a package; once F&O has begun, nobody asks for it any more."""
    if package is None or not (run.state in (State.CLAIMED, State.SUBMITTING) or _may_still_begin(run)):
        return None
    # An id is sent once with each package, and a package only if it cannot begin any more: ``inbound.prepare``.
    sent = [each for each in run.submissions[: _earlier(run)] if each.blob_name == package.blob_name]
    is_spent = any(each.fenced or not each.never_began for each in sent)
    return package.blob_name, package.blob_path, _coarse(package.key_expires), bool(sent), is_spent


def _may_still_begin(run: Run) -> bool:
    return run.state is State.CANCELLED and run.cancelled_in is State.SUBMITTING


def _texts_of_submissions(run: Run) -> object:
    """Return what decides of a run's submissions.

    The last one, while it may be under way or be asked for: whether F&O did not know it, and since when, if a flow
    counts from then. Earlier ones may still be asked for, or tell what a reservation is about, unless they certainly
    never began; an export looks after those that F&O did not know and that are not delivered.
    """
    earlier, last = run.submissions[: _earlier(run)], run.submissions[_earlier(run) :]
    is_submitting = run.state is State.SUBMITTING
    return (
        [
            (
                each.execution_id,
                run.direction is Direction.EXPORT and bool(each.missing_since) and not each.delivered_as,
            )
            for each in earlier
            if not each.never_began
        ],
        [
            (
                each.execution_id,
                each.never_began,
                bool(each.delivered_as),
                _or_none(each.fenced) if is_submitting else each.fenced is not None,
                _or_none(each.missing_since)
                if is_submitting and run.direction is Direction.EXPORT
                else each.missing_since is not None,
            )
            for each in last
        ],
    )


def _earlier(run: Run) -> int:
    """Return how many submissions come before the one that the run is about, if it is about one now."""
    is_about_last = run.state in (*WITH_FO, State.READY) or run.cancelled_in in WITH_FO
    return max(len(run.submissions) - is_about_last, 0)


def _text_of_held(held: Held | None) -> object:
    if held is None:
        return None
    return since(held.since, _HELD_S), held.refusal, held.is_aside, held.is_cleared, held.is_flows


def _text_of_wait(wait: Wait | None) -> object:
    return None if wait is None else (wait.what, since(wait.since, _WAITS_S))


def text_of_row(row: LaneRow) -> str:
    """Return all of a listing's row that decides what a worker does; its version too, if it may be used."""
    state = row.state and row.state.value
    flags = row.is_aside, row.refusal, bool(row.damage)
    return repr((key_of(row.sort_key), Due(instant(row.due)), state, row.flow_name, row.file_name, row.run_id, *flags))


def text_of_stop(stop: Stop) -> str:
    """Return all of a flow's stop that decides when it is tried again."""
    return repr((stop.flow_name, stop.refusal, Due(instant(stop.next_try))))


def text_of_reservation(reservation: Reservation) -> str:
    """Return all of a reservation that decides who gets it, and when."""
    return repr(
        (
            reservation.name,
            _text_of_party(reservation.holder, _UNUSED_S),
            [(each.execution_id, since(each.chosen, _GRACE_S), each.not_found) for each in reservation.executions],
            _text_of_party(reservation.waiting, _WAITING_S),
            since(reservation.waiting.opened, 0) if reservation.waiting else "",
            since(reservation.asked, _ASKED_S),
        )
    )


def _text_of_party(party: RunRef | None, counted_s: int) -> object:
    return None if party is None else (party.run_id, since(party.seen, counted_s))


def _or_none(moment: datetime | None) -> Instant | None:
    return None if moment is None else instant(moment)


def _coarse(moment: datetime | None) -> str:
    # Compared by five minutes: it only decides half an hour later, and no history waits just that long twice.
    return f"%{int(instant(moment))}%" if moment else ""
