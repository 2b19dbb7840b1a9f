"""F&O to OneDrive: the way of one export from its schedule to a zip in the Output folder.

    PLANNED -> SUBMITTING -> EXECUTING -> READY -> DELIVERED

With incremental push the package of a lost export holds changes that no later export has. So an execution id is saved
before it is sent, none is forgotten, and whatever F&O has finished under any of them is delivered. The data project is
reserved for as long as F&O may be working on it.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from shared import execution
from shared.app import Services
from shared.azure_storage.checkpoints import moment_of, read_note
from shared.clients.blobs.quick_xor_hash import QuickXorHash
from shared.clients.blobs.read import RemoteFile, open_blob
from shared.clients.fno.client import ExecutionStatus, FinanceOperations
from shared.clients.graph.drive_item import DriveItem
from shared.clients.graph.onedrive import OneDrive
from shared.clients.graph.upload import CHUNK
from shared.config.integrations import ExportFlow
from shared.errors import AnswerLost, AppError, DataDamaged, NameHeld, NameTaken, NotFound, TryAgain
from shared.log import log
from shared.reservations import reserve
from shared.runs.record import Damaged
from shared.runs.run import Run, name_with, new_execution_id, new_run
from shared.runs.states import Direction, Outcome, State
from shared.runs.store import Mark, RecordChanged, order_of
from shared.runs.store import moment_of as opened_at
from shared.runs.values import FileFacts, Submission
from shared.runs.worker import Flow, Step, advance

# How every zip begins, and what stands in its last bytes. A proxy on the way may answer a download with a page of its
# own, and a package that was cut off on the way into blob storage has no end.
# https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT 4.3.16
ZIP: Final = b"PK"
ZIP_END: Final = b"PK\x05\x06"
LAST_BYTES: Final = 22 + 65_535  # the record of the end, and the longest comment that may follow

# F&O deletes the package of an export after 7 days. facts: data-management-api, "Retention".
KEPT_FOR: Final = timedelta(days=7)
# Seconds between two looks for the address of a finished package: it may be empty for a while.
ADDRESS_LOOK_S: Final = 10.0
NO_ADDRESS_AFTER: Final = timedelta(minutes=15)
# Assumed: F&O may hand out no package at all where an export found no row, which with increments is the usual case.
# After this time its own count of rows is believed, so that the next export need not wait.
NOTHING_AFTER: Final = timedelta(minutes=1)
NOTHING: Final = "(nothing)"  # in the place of a file's name; no file of OneDrive's is called so by this app
# Failed tries of the step after which an export is delivered though OneDrive does not tell whether it is checked out.
TRIES_TO_ASK: Final = 4
# An upload that nobody goes on with holds its name for 15 minutes in OneDrive for Business, and the next one may break
# off as well: this many looks, at least so many seconds apart, take more than an hour. Assumed: a personal OneDrive,
# which keeps uploads for days, does not hold their names.
HELD_S: Final = 180.0
HELD_LOOKS: Final = 20
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
    return _start_all(lambda flow: _start_if_due(flow, moment, services), moment, under_way, services)


def start_missed_exports(lanes_under_way: Collection[str], services: Services) -> int:
    """Open the exports whose moment no tick has served: its invocation failed, or its process ended.

    The host takes a tick for done whatever became of it, and rests until the next moment: with a daily schedule an
    export would be a day late. So the minute's timer looks, unless another moment has come since: its tick does that.
    lanes_under_way: those with an open run. Raises the first error once all exports have been tried.
    """
    moment = _moment(services)
    if moment is None or services.now() - moment < MISSED_AFTER:
        return 0
    return _start_all(
        lambda flow: _start_missed(flow, moment, services), None, dict.fromkeys(lanes_under_way, ""), services
    )


def _start_missed(flow: ExportFlow, moment: datetime, services: Services) -> bool:
    mark = read_note(f"export-{flow.lane}", services)
    served, opened = _served(mark), moment_of(mark.content.get("opened"))
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
    for flow in services.integrations.exports:
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
    due = moment_of(next_tick)
    return due is not None and due > services.now() + TICKS_EARLY_BY


def _moment(services: Services) -> datetime | None:
    schedule = services.settings.outbound_schedule
    return schedule.latest(services.now() + TICKS_EARLY_BY) if schedule else None


def _note_skipped(flow: ExportFlow, moment: datetime | None, order: str) -> None:
    """Say that an export is left out because the one before it is under way; order: of the run under way."""
    if moment and opened_at(order) < moment - TICKS_EARLY_BY:
        log.info("export.skipped", flow_name=flow.name, scheduled=moment, reason="the one before it is under way")


def _start_if_due(flow: ExportFlow, moment: datetime | None, services: Services) -> bool:
    """moment: of the schedule, which is to be served; None if a person asks."""
    now = services.now()
    mark = read_note(f"export-{flow.lane}", services)
    last = _last_run(mark, services)
    served = _served(mark)
    if served and served > now + TICKS_EARLY_BY:
        log.warning("export.served_in_future", flow_name=flow.name, served=served)
        served = None  # a clock was ahead when it was noted
    if moment and served and moment <= served:
        return _open_noted(flow, mark, last, services)
    since = (moment or now) - (last.scheduled or last.opened) if last else timedelta.max
    if flow.every_s and -TICKS_EARLY_BY <= since < timedelta(seconds=flow.every_s) - TICKS_EARLY_BY:
        return False
    has_failed = last is not None and last.state in (State.FAILED, State.CANCELLED)
    if last and has_failed and last.ended and timedelta() <= now - last.ended < PAUSE_AFTER_FAILURE:
        log.info("export.skipped", flow_name=flow.name, scheduled=moment, reason="the last one failed a moment ago")
        return False
    return _opened(replace(planned(flow, now), scheduled=moment), mark, last, services)


def _open_noted(flow: ExportFlow, mark: Mark, last: Run | None, services: Services) -> bool:
    """Open the run that was noted for a moment of the schedule, if its host ended before it opened it.

    It is the same run, in the same place: where another host is about to open it, one of both does.
    """
    opened, run_id = moment_of(mark.content.get("opened")), mark.content.get("run_id", "")
    scheduled = moment_of(mark.content.get("scheduled"))
    if opened is None or scheduled is None or (last and last.run_id == run_id):
        return False
    if services.now() - opened > NOTED_WITHIN:
        return False
    run = replace(planned(flow, opened), run_id=run_id, scheduled=scheduled, due=services.now())
    return _created(run, last, services)


def planned(flow: ExportFlow, now: datetime) -> Run:
    """Return an export that is due at once; ``start`` opens it."""
    return new_run(
        direction=Direction.EXPORT,
        state=State.PLANNED,
        flow_name=flow.name,
        lane=flow.lane,
        sort_key=order_of(now, flow.name),
        now=now,
        data_project=flow.data_project,
        company=flow.company,
        file=FileFacts(name=_file_name(flow, now)),
    )


def start(run: Run, services: Services) -> bool:
    """Open an export that a person asks for, due or not; return False where another one begins at this moment."""
    mark = read_note(f"export-{run.lane}", services)
    return _opened(run, mark, _last_run(mark, services), services)


def _opened(run: Run, mark: Mark, last: Run | None, services: Services) -> bool:
    content = {"opened": run.opened.isoformat(), "run_id": run.run_id}
    content |= {"scheduled": _text_of(run.scheduled), "served": _text_of(run.scheduled or _served(mark))}
    if last:
        content |= {"last_opened": last.opened.isoformat(), "last_run_id": last.run_id}
    mark.content = content
    try:
        services.store.write_mark(f"export-{run.lane}", mark)
    except RecordChanged:
        return False  # another host starts it at this moment
    return _created(run, last, services)


def _served(mark: Mark) -> datetime | None:
    """Return the last moment of the schedule that was served; None if none was.

    An older version noted no moment: what came before its last export is over.
    """
    if "served" in mark.content:
        return moment_of(mark.content["served"])
    opened = moment_of(mark.content.get("opened"))
    return opened and opened + TICKS_EARLY_BY


def _text_of(moment: datetime | None) -> str:
    return moment.isoformat() if moment else ""


def _created(run: Run, last: Run | None, services: Services) -> bool:
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
    services.wakes.send(run.lane)
    return True


def _file_name(flow: ExportFlow, now: datetime) -> str:
    """Return a name that sorts and says what the package is; a data project may hold signs that OneDrive refuses."""
    project = re.sub(r'["*:<>?/\\\\|#%~&{}]+', "-", flow.data_project).strip(" .-")
    return f"{project}_{flow.company}_{now.astimezone(UTC):%Y%m%d-%H%M%S}.zip"


def _last_run(mark: Mark, services: Services) -> Run | None:
    """Return the export that was started last, as it ended; where it never came to be, the one before it."""
    for opened, run_id in (("opened", "run_id"), ("last_opened", "last_run_id")):
        moment = moment_of(mark.content.get(opened))
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


def advance_exports(text: str, services: Services) -> None:
    """Do what is due in a lane of exports."""
    advance(text, FLOW, services)


def choose_id(run: Run, services: Services) -> Run:
    """PLANNED: reserve the data project, and choose the execution id, so that it is saved before it is sent."""
    now = services.now()
    if run.scheduled and services.store.ended_run(run.opened, run.run_id):
        return _dropped(run, services)
    execution_id = new_execution_id(run.data_project, now)
    run = reserve.reserve(run, _flow(run, services).environment_url, execution_id, services)
    return run.waits_no_more(now).submitting(Submission(execution_id=execution_id, chosen=now), now)


def _dropped(run: Run, services: Services) -> Run:
    """Delete a run that has been opened, done and ended already: a host that stood still has opened it once more.

    Always raises RecordChanged, as saving it would.
    """
    if row := services.store.row_at(run.lane, run.sort_key):
        services.store.drop(replace(row, record_etag=run.record_etag))
    raise RecordChanged(f"run {run.run_id} has ended already; a host that stood still had opened it once more")


def submit(run: Run, services: Services) -> Run:
    """SUBMITTING: tell F&O to export, once. If anyone may have told it already, look instead."""
    if not run.in_process.has_chosen_id:
        return _look_up(run, services)
    try:
        answered = _finance(run, services).export_to_package(
            data_project=run.data_project,
            package_name=run.file.name.removesuffix(".zip"),
            execution_id=run.execution_id,
            legal_entity=run.company,
        )
    except AnswerLost:
        raise
    except AppError as error:
        raise execution.not_begun(run, error, State.PLANNED, services.now()) from error
    log.info("export.submitted", data_project=run.data_project, company=run.company)
    return execution.begun(run, answered, services)


def _look_up(run: Run, services: Services) -> Run:
    """SUBMITTING, and nobody knows whether F&O has begun: ask, wait the grace time, ask again, only then start another.

    Should the first one show up after all, ``deliver`` delivers both.
    """
    now, run = services.now(), _with_reserved(run, services)
    if known := execution.known_submission(run, _finance(run, services)):
        return execution.found(run, known, now)
    submission = run.submissions[-1]
    if submission.missing_since is None:
        missing = run.with_submission(replace(submission, missing_since=now))
        return missing.waiting(services.settings.submit_grace_s, now)
    grace_over = submission.missing_since + timedelta(seconds=services.settings.submit_grace_s)
    if now < grace_over:
        return run.waiting((grace_over - now).total_seconds(), now)
    if run.lost_submits >= execution.LOST_SUBMITS:
        return run.waiting(execution.LOST_LOOK_S, now)
    log.warning("submission.lost", missing_since=submission.missing_since)
    return execution.lost_once_more(run, State.PLANNED, services)


def _with_reserved(run: Run, services: Services) -> Run:
    """Return a run with the names that it holds: an older version did not save them."""
    if run.reserved:
        return run
    return replace(run, environment_url=_flow(run, services).environment_url, reserved=reserve.names_of(run))


def poll(run: Run, services: Services) -> Run:
    """EXECUTING: ask F&O how far it is, and wait a little longer each time."""
    run = _with_reserved(run, services)
    fno, now = _finance(run, services), services.now()
    polled = execution.poll(run, fno, services)
    run = polled.of(run)
    if polled.is_forgotten:
        return _failed(run, Outcome.UNKNOWN, execution.forgotten(run), now)
    status = polled.status
    match status:
        case ExecutionStatus.SUCCEEDED | ExecutionStatus.PARTIALLY_SUCCEEDED:
            told = run if status is ExecutionStatus.SUCCEEDED else _with_words_of(run, fno, status)
            return replace(told.moved_to(State.READY, now), outcome=Outcome(status.value))
        case ExecutionStatus.FAILED | ExecutionStatus.CANCELED:
            told = _with_words_of(run, fno, status)
            return _failed(told, Outcome(status.value), told.reason, now)
        case _:
            return execution.still_running(run, polled, services.settings.export_stuck_after, services)


def _with_words_of(run: Run, fno: FinanceOperations, status: ExecutionStatus) -> Run:
    """Return a run with the reason why its export failed, in F&O's words where it has any."""
    try:
        errors = fno.execution_errors(run.execution_id)
        summary = fno.execution_summary_page_url(run.execution_id)
    except AppError as error:
        log.warning("export.no_details", reason=str(error))
        return replace(
            run,
            reason=f"F&O ended the export of {run.data_project} as {status.value} (execution {run.execution_id}).",
        )
    words = errors.rows[0].message if errors.rows else "F&O reported no row errors"
    reason = f"F&O ended the export of {run.data_project} as {status.value}: {words}. Execution summary: {summary}"
    return execution.with_details(replace(run, reason=reason), errors.rows, summary)


def _failed(run: Run, outcome: Outcome, reason: str, now: datetime) -> Run:
    return replace(run.moved_to(State.FAILED, now), outcome=outcome, reason=reason)


def deliver(run: Run, services: Services) -> Run:
    """READY: copy the package of an execution that is not delivered yet into the Output folder.

    The file's name was fixed when the run was opened, so a repeated upload finds its own work by name and hash.
    """
    fno = _finance(run, services)
    without: Submission | None = None
    for submission in _undelivered(run, fno):
        if package := _package_of(submission, fno):
            return _delivered(run, submission, package, services)
        without = without or submission
    if without is None:
        return run.moved_to(State.DELIVERED, services.now())
    return _without_package(run, without, fno, services)


def _delivered(run: Run, submission: Submission, package: RemoteFile, services: Services) -> Run:
    """Return the run with one more of its packages in the Output folder."""
    flow = _flow(run, services)
    is_first = not run.file.item_id
    name = run.file.name if is_first else name_with(run.file.name, submission.execution_id[-12:])
    with package, services.room.taken(package.size_bytes):
        folder_id = services.folder_id(flow.drive, flow.output_folder)
        try:
            item = _copied(package, services.onedrive(flow.drive), folder_id, name, run)
        except NotFound:
            services.forget_folder(flow.drive, flow.output_folder)  # made anew at the next try
            raise
    _check_in(run, item, services.onedrive(flow.drive))
    log.info("export.delivered", name=item.name, size_bytes=package.size_bytes, execution=submission.execution_id)
    delivered = run.with_submission(replace(submission, delivered_as=item.name))
    file = replace(
        run.file,
        item_id=item.item_id,
        name=item.name,
        size_bytes=package.size_bytes,
        etag=item.etag,
        quick_xor_hash=item.quick_xor_hash or "",
        folder=flow.output_folder,
        web_url=item.web_url,
    )
    return replace(delivered, file=file if is_first else run.file, due=services.now())


def _check_in(run: Run, item: DriveItem, onedrive: OneDrive) -> None:
    """Check an export in: in a library that requires check-out nobody sees it before that.

    If it fails, the next try finds the file. A drive that does not tell whether it is checked out, after a few tries,
    holds no export up.
    """
    try:
        if not onedrive.is_checked_out(item.item_id):
            return
    except AppError as error:
        if run.attempts < TRIES_TO_ASK:
            raise
        log.warning("file.not_checked_in", name=item.name, reason=error.message)
        return
    if onedrive.check_in(item.item_id):
        log.info("file.checked_in", name=item.name)


def _undelivered(run: Run, fno: FinanceOperations) -> Iterator[Submission]:
    """Yield the latest submission if it is not delivered, then any earlier one that turned out to be an export."""
    latest = run.submissions[-1]
    if not latest.delivered_as:
        yield latest
    for earlier in run.submissions[:-1]:
        if not earlier.delivered_as and earlier.missing_since and _has_package(earlier.execution_id, fno):
            yield earlier


def _has_package(execution_id: str, fno: FinanceOperations) -> bool:
    """Return whether an execution that we had given up has a package. Raises TryAgain while it is at work."""
    try:
        status = fno.execution_status(execution_id)
    except NotFound:
        return False
    if status in (ExecutionStatus.EXECUTING, ExecutionStatus.NOT_RUN):
        raise TryAgain(f"F&O is still at the export {execution_id}, which it did not know before", retry_after_s=30.0)
    return status in (ExecutionStatus.SUCCEEDED, ExecutionStatus.PARTIALLY_SUCCEEDED)


def _package_of(submission: Submission, fno: FinanceOperations) -> RemoteFile | None:
    """Return the package of a finished export, open for reading; None where there is none, yet or any more."""
    try:
        address = fno.exported_package_url(submission.execution_id)
        return open_blob(address) if address else None
    except NotFound as error:
        log.warning("export.no_package", reason=error.message)
        return None


def _without_package(run: Run, submission: Submission, fno: FinanceOperations, services: Services) -> Run:
    """Return a READY run for which F&O hands out no package: yet, or any more, or because it found nothing."""
    now = services.now()
    finished_for = now - run.state_since
    if finished_for >= NOTHING_AFTER and _found_nothing(submission.execution_id, fno):
        log.info("export.nothing", execution=submission.execution_id)
        return replace(run.with_submission(replace(submission, delivered_as=NOTHING)), due=now)
    if finished_for < NO_ADDRESS_AFTER:
        return run.waiting(ADDRESS_LOOK_S, now)
    text = (
        f"F&O finished the export of {run.data_project} (execution {submission.execution_id}) "
        f"{finished_for.total_seconds() / 60:.0f} minutes ago and hands out no package. Open Data management > Job "
        "history and download the package there; see whether the export's user may read the company."
    )
    if finished_for < KEPT_FOR:
        return run.waiting(services.settings.poll_longest_s, now).flagged(text, now)
    return _failed(run, Outcome.FAILED, text, now)


def _found_nothing(execution_id: str, fno: FinanceOperations) -> bool:
    """Return whether F&O says of every entity of an export that it held no row."""
    entities = fno.job_details(execution_id)
    return bool(entities) and not any(
        entity.staging_created or entity.target_created or entity.target_updated for entity in entities
    )


def _copied(package: RemoteFile, onedrive: OneDrive, folder_id: str, name: str, run: Run) -> DriveItem:
    """Stream a package into the folder; return the file that is there afterwards, checked by its hash.

    Where another file has the name, the package gets one that is the run's alone. A name without a file is held by an
    upload: perhaps by one of a worker that stands still, which would deliver the package a second time.
    """
    for each in (name, name_with(name, run.run_id)):
        try:
            return _uploaded(package, onedrive, folder_id, each)
        except NameTaken as error:
            there = next((i for i in onedrive.list_files(folder_id) if i.name.casefold() == each.casefold()), None)
            if there is None and run.held_name_looks < HELD_LOOKS:
                raise NameHeld(f"An upload that has not ended holds the name {each}", retry_after_s=HELD_S) from error
            if there and _is_same(there, package):
                log.info("export.was_delivered", name=each)
                return there
    raise TryAgain(f"Other files, or uploads, have the name {name} and the one that is this export's alone")


def _uploaded(package: RemoteFile, onedrive: OneDrive, folder_id: str, name: str) -> DriveItem:
    checksum, sent, last = QuickXorHash(), 0, b""
    item: DriveItem | None = None
    session = onedrive.open_upload(folder_id, name, package.size_bytes)
    try:
        for chunk in package.chunks(CHUNK):
            last = (last + chunk[-LAST_BYTES:])[-LAST_BYTES:]
            is_cut_off = sent + len(chunk) == package.size_bytes and not _has_zip_end(last)
            if is_cut_off or (not sent and not chunk.startswith(ZIP)):
                raise DataDamaged(f"What F&O's blob storage handed out as {name} is no whole zip; it is fetched again")
            checksum.update(chunk)
            item = session.put(sent, chunk)
            sent += len(chunk)
    except BaseException:
        session.cancel()
        raise
    if item is None or sent != package.size_bytes:
        session.cancel()
        raise DataDamaged(f"{name} arrived short: {sent} of {package.size_bytes} bytes; it is fetched again")
    # A library may tell a wrong size: it decides only where there is no hash.
    if item.quick_xor_hash != checksum.base64() if item.quick_xor_hash else item.size_bytes != sent:
        onedrive.delete(item.item_id)  # nobody must take it for the export
        raise DataDamaged(
            f"{name} has {item.size_bytes} bytes and the quickXorHash {item.quick_xor_hash} in OneDrive; sent were "
            f"{sent} bytes with {checksum.base64()}. It was deleted and is sent again"
        )
    return item


def _has_zip_end(last: bytes) -> bool:
    """Return whether the last bytes of a file hold the record with which a zip ends, and its comment, as a whole."""
    at = last.rfind(ZIP_END)
    comment_bytes = int.from_bytes(last[at + 20 : at + 22], "little")
    return at >= 0 and len(last) >= at + 22 + comment_bytes


def _is_same(there: DriveItem, package: RemoteFile) -> bool:
    """Return whether a file in OneDrive is the package that we would upload: by its hash, without one by its size."""
    if not there.quick_xor_hash:
        return there.size_bytes == package.size_bytes
    checksum = QuickXorHash()
    for chunk in package.chunks(CHUNK):
        checksum.update(chunk)
    return checksum.base64() == there.quick_xor_hash


def _flow(run: Run, services: Services) -> ExportFlow:
    return services.export_flow(run.flow_name)


def _finance(run: Run, services: Services) -> FinanceOperations:
    return services.finance_operations(_flow(run, services).environment_url)


STEPS: Final[Mapping[State, Step]] = {
    State.PLANNED: choose_id,
    State.SUBMITTING: submit,
    State.EXECUTING: poll,
    State.READY: deliver,
}

FLOW: Final = Flow(steps=STEPS, stuck_after=lambda services: services.settings.export_stuck_after)
