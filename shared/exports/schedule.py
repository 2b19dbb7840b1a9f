"""Which exports start, and when: those that a tick of the schedule, the minute's timer or a person asks for.

A checkpoint for each export says which moment of the schedule it has served last, and which run it opened for it: so
each moment is served at most once (docs/decisions/0024-each-moment-of-the-schedule-once.md).
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from shared.app import Services
from shared.azure_storage.checkpoints import Checkpoint
from shared.config.model import ExportFlow
from shared.errors import AppError, RecordChanged
from shared.exports.delivery import KEPT_FOR
from shared.log import log
from shared.moments import moment_or_none
from shared.run_settings import settings_text
from shared.runs.addresses import moment_of as opened_at
from shared.runs.addresses import sort_key_of
from shared.runs.record import Damaged
from shared.runs.run import Run, new_run
from shared.runs.states import Direction, State
from shared.runs.values import FileFacts, Submission

# An export is noted before its run is opened. If its host ended between the two, a later tick opens it. After so long
# it may have ended, and people may have deleted old records.
NOTED_WITHIN: Final = timedelta(days=1)
# The host's timer may fire a moment before it is due ("likely under 1 second due to clock skew").
# https://github.com/Azure/azure-webjobs-sdk-extensions, Timers/Listener/TimerListener.cs (InvokeJobFunction)
TICKS_EARLY_BY: Final = timedelta(seconds=2)
# A moment that no tick has served after so long is served by the minute's timer. What was noted and not opened is
# looked after for so long.
MISSED_AFTER: Final = timedelta(seconds=90)
LOOKED_FOR: Final = timedelta(minutes=5)
# An export that begins so long after its moment is late, and says so.
LATE_AFTER: Final = timedelta(seconds=10)
# After a failed export the next one waits this long: a tick every 30 seconds would repeat the failure, and its alert.
PAUSE_AFTER_FAILURE: Final = timedelta(minutes=10)


def start_exports(services: Services, *, next_tick: str = "") -> int:
    """Open a run for each export that is due and has none, and wake its lane; return how many were opened.

    Each serves the last moment of the schedule that has come, and no moment is served twice: what it served is saved
    with the run that serves it, so a tick that is late, doubled or was cut off changes nothing
    (docs/decisions/0024-each-moment-of-the-schedule-once.md).
    next_tick: when the host would call next by itself, as text; a moment to come means that a person has called.
    Raises the first error once all exports have been tried.
    """
    moment = None if _is_called_by_hand(next_tick, services) else _moment(services)
    under_way = dict(reversed(services.store.open_places()))  # the first of each lane
    if services.drain.is_on():  # the listing has just shown whether it is
        for flow in services.settings.flows.exports:
            log.info("export.skipped", flow_name=flow.name, scheduled=moment, reason="the app is draining")
        return 0
    return _start_all(lambda flow: _start_if_due(flow, moment, services), moment, under_way, services)


def start_missed_exports(lanes_under_way: Collection[str], services: Services) -> int:
    """Open the exports whose moment no tick has served: its invocation failed, or its process ended.

    The host takes a tick for done whatever became of it, and rests until the next moment: with a daily schedule an
    export would be a day late. So the minute's timer looks, unless another moment has come since: its tick does that.
    lanes_under_way: those with an open run. Raises the first error once all exports have been tried.
    """
    moment = _moment(services)
    if moment is None or services.now() - moment < MISSED_AFTER or services.drain.is_on():
        return 0
    return _start_all(
        lambda flow: _start_missed(flow, moment, services), None, dict.fromkeys(lanes_under_way, ""), services
    )


def _start_missed(flow: ExportFlow, moment: datetime, services: Services) -> bool:
    mark = services.checkpoints.read(f"export-{flow.lane}")
    served, opened = _last_served(mark), moment_or_none(mark.content.get("opened"))
    if served is None or opened is None:
        return False  # none has been made yet: the first one waits for its moment
    if moment > served:
        last = _last_run(mark, services)
        return not _was_left_out(moment, last) and _start_if_due(flow, moment, services)
    noted_for = services.now() - opened
    if not MISSED_AFTER <= noted_for < 2 * LOOKED_FOR:
        return False
    return _open_noted(flow, mark, _last_run(mark, services), services)


def _was_left_out(moment: datetime, last: Run | None) -> bool:
    """Return whether a tick left a moment out on purpose: the export before it was under way, or had just failed."""
    if last is None or last.ended is None:
        return False
    has_failed = last.state in (State.FAILED, State.CANCELLED)
    return moment < last.ended + (PAUSE_AFTER_FAILURE if has_failed else timedelta())


def _start_all(
    start: Callable[[ExportFlow], bool], moment: datetime | None, under_way: Mapping[str, str], services: Services
) -> int:
    """Start each export that has no open run; return how many were opened. Raises the first error at the end."""
    opened, failed = 0, list[AppError | Damaged]()
    for flow in services.settings.flows.exports:
        if flow.lane in under_way:
            _note_skipped(flow, moment, under_way[flow.lane])
            continue
        try:
            opened += start(flow)
        except (AppError, Damaged) as error:
            log.error("export.not_started", flow_name=flow.name, reason=str(error))
            failed.append(error)
    if failed:
        raise failed[0]
    return opened


def _is_called_by_hand(next_tick: str, services: Services) -> bool:
    """Return whether a person has called the timer's function: the host itself calls when the next tick has come.

    https://github.com/Azure/azure-webjobs-sdk-extensions, Timers/Bindings/TimerTriggerBinding.cs (BindAsync)
    """
    due = moment_or_none(next_tick)
    return due is not None and due > services.now() + TICKS_EARLY_BY


def _moment(services: Services) -> datetime | None:
    schedule = services.settings.outbound_schedule
    return schedule.latest(services.now() + TICKS_EARLY_BY) if schedule else None


def _note_skipped(flow: ExportFlow, moment: datetime | None, order: str) -> None:
    """Say that an export is left out because the one before it is under way; order: of the run under way."""
    if moment and opened_at(order) < moment - TICKS_EARLY_BY:
        log.info("export.skipped", flow_name=flow.name, scheduled=moment, reason="the previous one is still running")


def _start_if_due(flow: ExportFlow, moment: datetime | None, services: Services) -> bool:
    """moment: of the schedule, which is to be served; None if a person asks."""
    now = services.now()
    mark = services.checkpoints.read(f"export-{flow.lane}")
    last = _last_run(mark, services)
    served = _last_served(mark)
    if served and served > now + TICKS_EARLY_BY:
        log.warning("export.served_in_future", flow_name=flow.name, served=served)
        served = None  # a clock was ahead when it was noted
    if moment and served and moment <= served:
        return _open_noted(flow, mark, last, services)
    since = (moment or now) - (last.scheduled or last.opened) if last else timedelta.max
    if flow.every_seconds and -TICKS_EARLY_BY <= since < timedelta(seconds=flow.every_seconds) - TICKS_EARLY_BY:
        return False
    has_failed = last is not None and last.state in (State.FAILED, State.CANCELLED)
    if last and has_failed and last.ended and timedelta() <= now - last.ended < PAUSE_AFTER_FAILURE:
        log.info(
            "export.skipped",
            flow_name=flow.name,
            scheduled=moment,
            reason="the last one failed less than ten minutes ago",
        )
        return False
    return _note_and_open(replace(plan(flow, now), scheduled=moment), mark, last, services)


def _open_noted(flow: ExportFlow, mark: Checkpoint, last: Run | None, services: Services) -> bool:
    """Open the run that was noted for a moment of the schedule, if its host ended before it opened it.

    It is the same run, in the same place: where another host is about to open it, one of both does.
    """
    opened, run_id = moment_or_none(mark.content.get("opened")), mark.content.get("run_id", "")
    scheduled = moment_or_none(mark.content.get("scheduled"))
    if opened is None or scheduled is None or (last and last.run_id == run_id):
        return False
    if services.now() - opened > NOTED_WITHIN:
        return False
    run = replace(plan(flow, opened), run_id=run_id, scheduled=scheduled, due=services.now())
    return _open(run, last, services)


def plan(flow: ExportFlow, now: datetime) -> Run:
    """Return an export that is due at once; ``start`` opens it."""
    run = new_run(
        direction=Direction.EXPORT,
        state=State.PLANNED,
        flow_name=flow.name,
        lane=flow.lane,
        sort_key=sort_key_of(now, flow.name),
        now=now,
        data_project=flow.data_project,
        company=flow.company,
        file=FileFacts(name=_file_name(flow, now)),
    )
    return replace(run, flow_settings=settings_text(flow))


def start(run: Run, services: Services) -> bool:
    """Open an export that a person asks for, due or not; return False where another one begins at this moment."""
    mark = services.checkpoints.read(f"export-{run.lane}")
    return _note_and_open(run, mark, _last_run(mark, services), services)


def _note_and_open(run: Run, mark: Checkpoint, last: Run | None, services: Services) -> bool:
    content = {"opened": run.opened.isoformat(), "run_id": run.run_id}
    content |= {"scheduled": _moment_text(run.scheduled), "served": _moment_text(run.scheduled or _last_served(mark))}
    if last:
        content |= {"last_opened": last.opened.isoformat(), "last_run_id": last.run_id}
    mark.content = content
    try:
        services.checkpoints.write(f"export-{run.lane}", mark)
    except RecordChanged:
        return False  # another host starts it at this moment
    return _open(run, last, services)


def _last_served(mark: Checkpoint) -> datetime | None:
    """Return the last moment of the schedule that was served; None if none was.

    An older version noted no moment: what came before its last export is over.
    """
    if "served" in mark.content:
        return moment_or_none(mark.content["served"])
    opened = moment_or_none(mark.content.get("opened"))
    return opened and opened + TICKS_EARLY_BY


def _moment_text(moment: datetime | None) -> str:
    return moment.isoformat() if moment else ""


def _open(run: Run, last: Run | None, services: Services) -> bool:
    """Open a run that is noted, and wake its lane; return False if it is open already."""
    now = services.now()
    late = now - run.scheduled if run.scheduled else timedelta()
    if late > LATE_AFTER:
        run = replace(run, late_s=round(late.total_seconds(), 3))
    if not services.store.create(replace(run, submissions=_still_missing(last, now))):
        return False
    log.info("export.planned", flow_name=run.flow_name, file=run.file.name, scheduled=run.scheduled)
    if run.late_s is not None:
        log.warning("export.late", flow_name=run.flow_name, scheduled=run.scheduled, late_s=run.late_s)
    services.queue.send(run.lane)
    return True


def _file_name(flow: ExportFlow, now: datetime) -> str:
    """Return a name that sorts and says what the package is; a data project may hold signs that OneDrive refuses."""
    project = re.sub(r'["*:<>?/\\\\|#%~&{}]+', "-", flow.data_project).strip(" .-")
    return f"{project}_{flow.company}_{now.astimezone(UTC):%Y%m%d-%H%M%S}.zip"


def _last_run(mark: Checkpoint, services: Services) -> Run | None:
    """Return the export that was started last, as it ended; where it never came to be, the one before it."""
    for opened, run_id in (("opened", "run_id"), ("last_opened", "last_run_id")):
        moment = moment_or_none(mark.content.get(opened))
        if moment and run_id in mark.content and (run := services.store.ended_run(moment, mark.content[run_id])):
            return run
    return None


def _still_missing(last: Run | None, now: datetime) -> tuple[Submission, ...]:
    """Return what the last export sent and F&O has never shown, for the next one to look after.

    A request that reaches F&O after its run has ended takes changes along that no later export has.
    """
    submissions = last.submissions if last else ()
    return tuple(
        each for each in submissions if each.missing_since and not each.delivered_as and now - each.chosen < KEPT_FOR
    )
