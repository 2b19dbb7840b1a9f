"""What the app's own storage shows: scans, alerts, subscriptions, lanes, queues, and the threads of its processes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final

from shared.alerts import delivery
from shared.alerts.alert import Alert, Category, category_of
from shared.alerts.poison_messages import WORK_FUNCTION
from shared.app import Services
from shared.azure_storage.queue_names import OLDER_QUEUES, WORK
from shared.config.app_settings import THREADS
from shared.health.health import Check, Grade, Health, Lane, Queue, counted
from shared.health.processes import ProcessRecord, read_process_records
from shared.imports.order import failed_words, way_on
from shared.moments import moment_or_none, utc_text
from shared.runs.lane import rows_in_drain
from shared.runs.rows import RunRow
from shared.runs.states import NOT_SUBMITTED
from shared.runs.store import OpenLanes
from shared.runs.wake import next_of_lanes
from shared.scan.folder_scans import AT, CHECKPOINT, FolderScan, parse_scans
from shared.scan.subscriptions import SubscriptionState, read_states, subscribed_drives

# The timer scans every minute; after so long something is wrong.
SCAN_OVERDUE: Final = timedelta(minutes=3)
# A lane whose head is due is woken within seconds, and by the timer within a minute and a half. If it stays due, a
# long step is under way, which ends after half an hour (functionTimeout in host.json), or nobody works on it.
LANE_OVERDUE: Final = timedelta(minutes=3)
LANE_LEFT_ALONE: Final = timedelta(minutes=35)

# Runs of one lane that are shown because they need a person; the others are counted.
NEED_PERSON_SHOWN: Final = 5


def with_records(health: Health, services: Services) -> Health:
    """Return the health with what the app's own storage shows. Raises TryAgain and NeedsPerson of storage."""
    now, open_lanes = services.now(), services.store.open_lanes()
    lanes = _lanes(services.index.open_rows(), {choice.row.address for choice in next_of_lanes(open_lanes).values()})
    queues = tuple(Queue(name=queue, length=services.queue.length(queue)) for queue in (WORK, *OLDER_QUEUES))
    queues = tuple(queue for queue in queues if queue.name == WORK or queue.length.given_up)
    recorded = services.checkpoints.read(CHECKPOINT).content
    last_scan = moment_or_none(recorded.get(AT))
    subscriptions = read_states(services)
    processes = read_process_records(services)
    return replace(
        health,
        last_scan=last_scan,
        subscriptions=subscriptions,
        lanes=lanes,
        queues=queues,
        processes=processes,
        checks=(
            Check(name="Storage", grade=Grade.OK, message="The app can read its records and queues."),
            _scan_check(last_scan, now),
            *_folder_checks(parse_scans(recorded, services), now),
            *map(_alert_check, delivery.active_alerts(services)),
            *_notification_checks(subscriptions, services),
            *_drain_checks(open_lanes),
            *_failed_file_checks(services),
            *_lane_checks(lanes, now, is_draining=open_lanes.drain is not None),
            *_queue_checks(queues),
            _thread_check(health.threads, processes, services.settings.threads),
        ),
    )


def _lanes(rows: Iterable[RunRow], next_ones: frozenset[str] | set[str]) -> tuple[Lane, ...]:
    """rows: as the store lists them, lane by lane; next_ones: the addresses of the runs that are due first."""
    by_lane = [(name, list(of_lane)) for name, of_lane in groupby(rows, key=lambda row: row.lane)]
    return tuple(
        Lane(
            name=name,
            length=len(of_lane),
            head=next((row for row in of_lane if row.address in next_ones), of_lane[0]),
            need_person=tuple(row for row in of_lane if row.needs_person),
            set_aside=sum(row.is_aside for row in of_lane),
        )
        for name, of_lane in by_lane
    )


def _scan_check(last_scan: datetime | None, now: datetime) -> Check:
    name = "Scan for new files"
    if last_scan is None:
        return Check(
            name=name,
            grade=Grade.WARNING,
            message="No scan yet; one runs every minute.",
            advice="If this continues, see 'Nothing happens' in docs/operations.md.",
        )
    if now - last_scan > SCAN_OVERDUE:
        return Check(
            name=name,
            grade=Grade.PROBLEM,
            message=f"Last scan: {utc_text(last_scan)}. The timer should scan every minute.",
            advice="Check the entries below, and 'Nothing happens' in docs/operations.md.",
        )
    return Check(name=name, grade=Grade.OK, message=f"Last scan: {utc_text(last_scan)}.")


def _folder_checks(scans: Iterable[FolderScan], now: datetime) -> Iterator[Check]:
    """Return a check for each Input folder that cannot be scanned; one that can has none."""
    for scan in scans:
        is_overdue = scan.is_overdue(now)
        if not is_overdue and not scan.error:
            continue
        if scan.last_good:
            last = f"Last successful scan: {utc_text(scan.last_good)}."
        else:
            last = f"No successful scan since the first attempt at {utc_text(scan.since or now)}."
        yield Check(
            name=f"Input folder {scan.flow.input_folder}, {scan.flow.name}",
            grade=Grade.PROBLEM if is_overdue else Grade.WARNING,
            message=f"{last} {scan.error}".strip(),
            advice="If this continues, see 'cannot be scanned' in docs/troubleshooting.md."
            if scan.error
            else "Check that the timer runs.",
        )


def _alert_check(alert: Alert) -> Check:
    harmless = (Category.CREDENTIAL, Category.STRAY, Category.UNREADABLE_ALERT)  # so far
    grade = Grade.WARNING if category_of(alert.key) in harmless else Grade.PROBLEM
    return Check(name=alert.title, grade=grade, message=f"Since {utc_text(alert.since)}: {alert.text}")


def _notification_checks(subscriptions: Sequence[SubscriptionState], services: Services) -> Iterator[Check]:
    drives = subscribed_drives(services)
    if drives and not services.settings.notification_url:
        yield Check(
            name="Notifications",
            grade=Grade.OK,
            message="Off: NOTIFICATION_URL is not set. The scan that runs every minute finds new files.",
        )
        return
    by_drive = {each.drive: each for each in subscriptions}
    for drive in drives:
        name, subscription = f"Notifications, {drive}", by_drive.get(drive)
        if subscription is None:
            yield Check(
                name=name,
                grade=Grade.WARNING,
                message="No subscription. The scan that runs every minute finds new files.",
                advice="The timer creates one within a minute. If it does not, the log says why (duty.failed).",
            )
        elif subscription.until < services.now():
            yield Check(
                name=name,
                grade=Grade.PROBLEM,
                message=f"The subscription expired at {utc_text(subscription.until)} and was not renewed.",
                advice="It is renewed every day: check that the timer runs.",
            )
        else:
            yield Check(name=name, grade=Grade.OK, message=f"Subscribed until {utc_text(subscription.until)}.")


def _drain_checks(open_lanes: OpenLanes) -> Iterator[Check]:
    if open_lanes.drain is None:
        return
    left = len(rows_in_drain(open_lanes.rows))
    yield Check(
        name="Drain",
        grade=Grade.WARNING,
        message=f"{open_lanes.drain.text} {counted(left, 'run')} that F&O may have received still open.",
        advice="Set DRAIN to false when F&O is ready again."
        if open_lanes.drain.is_setting
        else "Press 'End the drain' on the list of runs when F&O is ready again.",
    )


def _failed_file_checks(services: Services) -> Iterator[Check]:
    """Return a check for each import whose failed files keep others waiting."""
    flows = services.settings.flows
    for flow in flows.imports:
        waiting = flows.imports_after_success_of(flow.name)
        failed = services.failed_files.of_flow(flow.name) if waiting else []
        if failed:
            names = ", ".join(each.name for each in waiting)
            yield Check(
                name=f"Import {flow.name}",
                grade=Grade.WARNING,
                message=f"{failed_words(failed)} Files of {names} wait for that.",
                advice=way_on(failed[0], flow),
            )


def _lane_checks(lanes: Sequence[Lane], now: datetime, *, is_draining: bool) -> Iterator[Check]:
    for lane in lanes:
        head, name = lane.head, f"Lane {lane.name}"
        for row in lane.need_person[:NEED_PERSON_SHOWN]:
            # A file that is set aside keeps nobody else from going on.
            grade = Grade.WARNING if row.is_aside and not row.damage else Grade.PROBLEM
            yield Check(name=name, grade=grade, message=f"{row.file_name} needs a person: {row.words}")
        if len(lane.need_person) > NEED_PERSON_SHOWN:
            more = len(lane.need_person) - NEED_PERSON_SHOWN
            message = "1 more run needs a person." if more == 1 else f"{more} more runs need a person."
            yield Check(name=name, grade=Grade.WARNING, message=message)
        if head.needs_person or head.damage or (is_draining and head.state in NOT_SUBMITTED):
            continue
        if now - head.due > LANE_LEFT_ALONE:
            yield Check(
                name=name,
                grade=Grade.PROBLEM,
                message=f"{head.file_name} has been due since {utc_text(head.due)}, but no worker is processing it.",
                advice="Check that the functions run: see 'Nothing happens' in docs/operations.md.",
            )
        elif now - head.due > LANE_OVERDUE:
            yield Check(
                name=name,
                grade=Grade.WARNING,
                message=f"{head.file_name} has been due since {utc_text(head.due)}: either a long step, such as the "
                "upload of a large package, is running, or no worker is processing it.",
            )
    runs = sum(lane.length for lane in lanes)
    yield Check(name="Lanes", grade=Grade.OK, message=f"Open runs: {runs}, lanes: {len(lanes)}.")


def _queue_checks(queues: Sequence[Queue]) -> Iterator[Check]:
    for queue in queues:
        function = OLDER_QUEUES.get(queue.name, WORK_FUNCTION)
        if queue.length.given_up:
            yield Check(
                name=f"Queue {queue.name}",
                grade=Grade.WARNING,
                message=f"{counted(queue.length.given_up, 'poison message')} of {function}.",
                advice="The timer reports them and empties the queue; see 'Queues' in docs/operations.md.",
            )


def _thread_check(own: int | None, processes: Sequence[ProcessRecord], set_to: int) -> Check:
    """Return the check of the thread pools: of the process that answers, and of those that have recorded themselves."""
    parts = [f"{own} in the process that ran this check"] if own is not None else []
    parts += [f"{each.threads} in the process of {each.function} (saved {utc_text(each.noted)})" for each in processes]
    sizes = {each.threads for each in processes} | ({own} if own is not None else set())
    if sizes <= {set_to}:
        message = (
            f"Concurrent invocations for each process: {set_to}. {_sentence(parts) or 'No process has reported yet.'}"
        )
        return Check(name="Threads", grade=Grade.OK, message=message)
    return Check(
        name="Threads",
        grade=Grade.WARNING,
        message=f"{THREADS} is {set_to}, but not all processes run that many invocations concurrently. "
        f"{_sentence(parts)}",
        advice="A process that reported before the setting was changed reports again when it next runs. If this "
        "continues, see 'Threads' in docs/operations.md.",
    )


def _sentence(parts: Sequence[str]) -> str:
    return f"{', '.join(parts)}." if parts else ""
