"""Sees that there is something to do: new files in Input, overdue lanes, and the subscription that wakes us.

A scan (in older names: a look) lists the Input folders and opens one run per new file. It needs no saved token and sees
all that is there, whatever was missed. What then happens to a run is ``inbound.py``.

The minute's timer has several duties. Each is done by itself within a time limit, and so is each flow, drive, queue and
lane within a duty: what hangs or breaks keeps nothing else from being done.
"""

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from shared.alerts import delivery
from shared.alerts.alert import Alert
from shared.app import Services
from shared.azure_storage.checkpoints import Checkpoint, moment_of
from shared.azure_storage.queue_names import OLDER_QUEUES, WORK
from shared.clients.graph.drive_item import DriveItem
from shared.clients.graph.subscriptions import Subscription, SubscriptionExists
from shared.clients.http.context import allowed_s, waiting_at_most
from shared.concurrency import Attempt, StillRunning, attempted, gravest, map_concurrently
from shared.config.integrations import ImportFlow, matches_name
from shared.errors import AppError, NeedsPerson, NotFound, TryAgain
from shared.locks import WAIT_S, CallLock
from shared.log import log
from shared.reservations import settle
from shared.runs import wake
from shared.runs.addresses import kept_key, key_of, sort_key_after
from shared.runs.run import Run, new_run
from shared.runs.states import Direction, State
from shared.runs.store import OpenLanes
from shared.runs.values import FileFacts
from shared.runs.wake import see_to_lanes
from shared.scan.folder_scans import FolderScan, note_scans, scan_alerts, stray_alerts

# A notification may come before the listing shows the file (5 to 60 seconds were seen), so a look that finds nothing
# new looks again after these seconds.
LOOK_AGAIN_S: Final = (5.0, 20.0, 60.0)

# By how much the clocks of two instances may differ: the one that was notified, and the one that scans.
CLOCKS_DIFFER_BY: Final = timedelta(seconds=2)

# Where no folder holds a file the open runs need not be known, so they are asked for once one does. A run that ends
# between the two would leave its file in the listing and its name out of the runs, and get a second one. No run takes
# less than this from its claim to its end, so a listing that is older is made anew.
LISTING_HOLDS: Final = timedelta(seconds=1)

# The note of which given-up messages a person was told.
GIVEN_UP: Final = "given-up"

# Graph takes at most 42,300 minutes for a drive. https://learn.microsoft.com/graph/api/resources/subscription
SUBSCRIPTION_LIFE: Final = timedelta(minutes=42_000)
# It is renewed long before its end, so that weeks of trouble with Graph do no harm; and one that Graph has dropped
# without a word is missed within a day.
RENEW_EVERY: Final = timedelta(days=1)
# A person hears of passing trouble with it when it has lasted for two days.
TELL_UNRENEWED_AFTER: Final = timedelta(days=3)

# The timer's duties, as logs and alerts name them.
MAKE_FOLDERS: Final = "make folders"
SCAN: Final = "scan"
NOTE_SCANS: Final = "note the scans"
SETTLE_RESERVATIONS: Final = "settle reservations"
END_STOPS: Final = "end idle stops"
TELL_OF_RECORDS: Final = "tell of damaged records"
START_MISSED: Final = "start missed exports"
WAKE_LANES: Final = "wake overdue lanes"
KEEP_SUBSCRIPTIONS: Final = "keep subscriptions"
TELL_OF_GIVEN_UP: Final = "tell of given up messages"
SEE_CREDENTIAL: Final = "see when the credential ends"
TELL_PEOPLE: Final = "tell people"

# What an alert about them is called, if a person must act before they can be done.
TITLES: Final = {
    MAKE_FOLDERS: "OneDrive cannot be watched",
    SCAN: "OneDrive cannot be watched",
    KEEP_SUBSCRIPTIONS: "The subscription cannot be renewed",
}

# Seconds for the timer's duties, which are done side by side in three groups, and (INNER_S) for what each of the first
# does about flows, drives, queues and lanes. A tick has ended after the three together: within 50 seconds.
FIRST_S: Final = 12.0
SECOND_S: Final = 14.0
TELL_S: Final = 20.0
INNER_S: Final = 11.0
# Seconds that one call of the timer may wait: to storage, which is tried three times; to list a folder; and to make a
# subscription, for which Graph first calls our webhook, and waits 10 for its answer.
CALL_S: Final = 3.5
SCAN_CALL_S: Final = 10.0
SUBSCRIBE_CALL_S: Final = 12.0
CALLS_S: Final = {SCAN: SCAN_CALL_S, KEEP_SUBSCRIPTIONS: SUBSCRIBE_CALL_S, TELL_PEOPLE: delivery.SEND_S}
# Folders that one scan lists at the same time. With 50 that hang, the last one is begun after SCAN_CALL_S.
SCANS_AT_ONCE: Final = 25

# Time between two looks of a process into the poison queues of older versions, to which nothing comes any more.
OLDER_LOOK: Final = timedelta(hours=1)
# The queue's function, as the person finds it in Azure's logs.
WORK_FUNCTION: Final = "work"
# What begins a message that asks for a scan.
SCAN_MESSAGE: Final = "scan"
# What cannot be worked on is given up again every few minutes, because the timer wakes its lane; a person hears of it
# once in this time.
TELL_AGAIN_AFTER: Final = timedelta(days=1)
# Characters; ours are much shorter, somebody else's may have 48 KiB.
LONGEST_TEXT_TOLD: Final = 200


def wake_text(moment: datetime, tries: int = 0) -> str:
    """Return the message that asks for a scan: from when on, and how often it was put off."""
    return f"{SCAN_MESSAGE} {moment.isoformat()} {tries}"


def is_scan(message: str) -> bool:
    """Return whether a message asks for a scan; the others wake lanes."""
    return message.split()[:1] == [SCAN_MESSAGE]


def ask_for_look(services: Services, at_once: Callable[[str], object]) -> None:
    """See that a look follows a notification of this moment: now, soon, or by one that is on its way already.

    at_once: hands a message to the host, which queues it. Raises TryAgain or NeedsPerson where the queue does not take
    a later one; then Graph is to send the notification again.
    """
    now = services.now()

    def send(delay_s: float) -> None:
        text = wake_text(now + timedelta(seconds=delay_s))
        if delay_s:
            services.queue.send(text, delay_s=delay_s)
        else:
            at_once(text)

    if not services.scan_memory.throttle.ask(now, send):
        log.info("notification.covered")


def look(message: str, services: Services) -> str:
    """Answer one message that asks for a scan: scan, unless this process has begun to since it was meant to come.

    Return the lane to go on with, "" if there is none; all others in which runs were opened are woken. Where a folder
    could not be listed another scan is asked for. Raises TryAgain or NeedsPerson where the queue does not take that;
    the host then delivers the message again.
    """
    now = services.now()
    asked, tries = _parsed(message, now)
    # One that was put off tells of nothing that has happened at that moment.
    if services.scan_memory.throttle.has_begun_since(asked if tries else asked + CLOCKS_DIFFER_BY):
        log.info("look.covered", asked=asked)
        return ""
    services.scan_memory.throttle.begin(now)
    lanes_found = _LanesFound(services, keeps_last=True)
    scans = _scan_all(services, lanes_found, limit_s=None)
    failed = gravest(scans)
    try:
        if failed or (not _opened(scans) and not services.scan_memory.throttle.is_echo(asked)):
            _look_again_later(tries, services)
        if failed and not isinstance(failed, AppError):
            raise failed
    except Exception:  # whatever it is goes on to the host: only the lane is not to wait for the next scan
        lanes_found.wake_kept()
        raise
    return lanes_found.kept


def _look_again_later(tries: int, services: Services) -> None:
    """Ask for one more look, unless this was the last one or one that comes sooner was asked for already."""
    if tries >= len(LOOK_AGAIN_S):
        return
    delay_s = LOOK_AGAIN_S[tries]
    now = services.now()
    moment = now + timedelta(seconds=delay_s)
    if services.scan_memory.throttle.put_off(now, moment):
        services.queue.send(wake_text(moment, tries + 1), delay_s=delay_s)


def open_new_runs(services: Services) -> int:
    """List every Input folder, open a run for each file that has none, wake their lanes; return how many were opened.

    A folder that cannot be listed, or takes long, does not keep the others from being scanned; its error is raised at
    the end.
    """
    return _sum(_scan_all(services, _LanesFound(services), limit_s=None))


class _LanesFound:
    """Wakes the lanes in which a scan opens runs.

    keeps_last: the lane of the last folder to be scanned is left to whoever scans, which spares a message; those before
    it are woken at once, because a folder behind them may hang.
    """

    def __init__(self, services: Services, *, keeps_last: bool = False) -> None:
        self._services = services
        self._keeps_last = keeps_last
        self._lock = threading.Lock()
        self._left = len(services.settings.flows.imports)
        self.kept = ""

    def end_folder(self, lane: str) -> None:
        """Take note that a folder has been scanned; lane: the one in which runs were opened, "" if none was.

        Raises TryAgain, NeedsPerson.
        """
        with self._lock:
            self._left -= 1
            is_kept = self._keeps_last and not self._left
        if is_kept:
            self.kept = lane
        elif lane:
            self._services.queue.send(lane)

    def wake_kept(self) -> None:
        """Wake the lane that was kept, because nobody goes on with it."""
        if self.kept:
            self._services.queue.send(self.kept)


def _opened(scans: Mapping[str, Attempt[int]]) -> int:
    return sum(scan.result or 0 for scan in scans.values())


def _scan_all(services: Services, found: _LanesFound, *, limit_s: float | None) -> dict[str, Attempt[int]]:
    """Scan every Input folder; return how many runs were opened for each import, by its name, or what went wrong."""
    flows = services.settings.flows.imports
    open_runs = _OpenRuns(services)
    work = {f"scan {flow.name}": partial(_scan, flow, open_runs, found, services) for flow in flows}
    ended = services.duties.attempt_all(work, limit_s=limit_s, at_once=SCANS_AT_ONCE)
    scans = {flow.name: ended[f"scan {flow.name}"] for flow in flows}
    for name, scan in scans.items():
        if scan.error:
            log.error("look.failed", flow_name=name, reason=str(scan.error))
    log.info("look.done", opened=_opened(scans))
    if not scans or any(scan.error is None for scan in scans.values()):
        services.scan_memory.last_scan = services.now()
    return scans


def _scan(flow: ImportFlow, open_runs: "_OpenRuns", found: _LanesFound, services: Services) -> int:
    """List one Input folder and open a run for each file that has none; return how many were opened."""
    opened = 0
    try:
        opened = _open_runs_in(flow, open_runs, services)
    finally:
        found.end_folder(flow.lane if opened else "")
    services.scan_memory.last_scan_of[flow.drive, flow.input_folder] = services.now()
    return opened


def _open_runs_in(flow: ImportFlow, open_runs: "_OpenRuns", services: Services) -> int:
    asked = services.now()
    files = _files_of(flow, services)
    if not files:
        return 0
    known = open_runs.known()
    if known.read - asked > LISTING_HOLDS:
        files = _files_of(flow, services)
    return _open_runs_of(flow, files, known, services)


def _files_of(flow: ImportFlow, services: Services) -> list[DriveItem]:
    """Return the files of an Input folder but those whose names are left alone; note what is no file."""
    try:
        items = list(services.onedrive(flow.drive).list_items(services.folders.find(flow.drive, flow.input_folder)))
    except NotFound:
        services.folders.forget(flow.drive, flow.input_folder)  # it was renamed or deleted; made anew at the next look
        raise
    ignored = services.settings.import_ignored_names
    seen = [item for item in items if not matches_name(item.name, ignored)]
    if len(seen) < len(items):
        log.info("look.left_alone", flow_name=flow.name, items=len(items) - len(seen))
    is_ours = partial(services.settings.flows.leads_to_ours, flow.drive, flow.input_folder)
    strays = [item for item in seen if not item.is_file and not is_ours(item.name)]
    services.scan_memory.strays_in[flow.drive, flow.input_folder] = strays
    return [item for item in seen if item.is_file]


@dataclass(frozen=True, slots=True, kw_only=True)
class _KnownRuns:
    """What the open runs tell a look, by their names alone."""

    item_ids: frozenset[str]
    lanes: frozenset[str]
    read: datetime  # when their names had been listed


class _OpenRuns:
    """The open runs as one scan knows them: listed once for all folders, when the first of them holds a file."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._call = CallLock()
        self._known: _KnownRuns | None = None

    def known(self) -> _KnownRuns:
        """Return them. Raises TryAgain, NeedsPerson."""
        if known := self._known:
            return known
        with self._call.held("list the open runs", wait_s=allowed_s(WAIT_S)):
            known = self._known or self._listed()
            self._known = known
            return known

    def _listed(self) -> _KnownRuns:
        places = self._services.store.open_places()
        return _KnownRuns(
            item_ids=frozenset(key_of(order) for _, order in places),
            lanes=frozenset(lane for lane, _ in places),
            read=self._services.now(),
        )


def _open_runs_of(flow: ImportFlow, files: Sequence[DriveItem], known: _KnownRuns, services: Services) -> int:
    new = [item for item in files if kept_key(item.item_id) not in known.item_ids]
    if not new:
        return 0
    begun = services.store.last_under_way(flow.lane) if flow.lane in known.lanes else ""
    runs = [_new_run(flow, item, begun, services.now()) for item in new]
    return sum(map_concurrently(services.store.create, runs))


def _new_run(flow: ImportFlow, item: DriveItem, begun: str, now: datetime) -> Run:
    return new_run(
        direction=Direction.IMPORT,
        state=State.FOUND,
        flow_name=flow.name,
        lane=flow.lane,
        sort_key=_order(item, begun),
        now=now,
        data_project=flow.data_project,
        file=FileFacts(
            name=item.name,
            item_id=item.item_id,
            size_bytes=item.size_bytes,
            etag=item.etag,
            modified=item.last_modified,
            quick_xor_hash=item.quick_xor_hash or "",
            folder=flow.input_folder,
            is_complete=not item.is_empty and not item.is_pending and not item.has_malware,
            web_url=item.web_url,
        ),
    )


def _order(item: DriveItem, begun: str) -> str:
    """Return a file's place in its lane: by age, but behind the run that is under way.

    A file can be older than one that came before it: copying keeps the date. It must not become the lane's head while
    F&O works on another file of the lane.
    """
    return sort_key_after(begun, item.last_modified, item.item_id)


def _parsed(message: str, now: datetime) -> tuple[datetime, int]:
    """Return when a look was asked for and how often it was put off; a text of another kind asks for a look now."""
    words = message.split()
    try:
        return datetime.fromisoformat(words[1]), int(words[2])
    except (IndexError, ValueError):
        return now, 0


type StartMissed = Callable[[OpenLanes, Services], object]


def keep_watch(services: Services, *, start_missed: StartMissed | None = None) -> None:
    """What the minute's timer does: make the folders, scan, wake lanes that are overdue, keep the subscriptions alive.

    Last it tells people of all trouble, its own and that of runs and messages. Each duty is done by itself within a
    time limit; one that does not end is left behind, and not begun again while it goes on. The first error is raised at
    the end. start_missed: starts the exports that no tick of their schedule has started.
    """
    began = services.now()
    tick = _Tick(services)
    tick.do(
        FIRST_S,
        {
            MAKE_FOLDERS: lambda: make_folders(services),
            SCAN: lambda: _scan_all(services, _LanesFound(services), limit_s=INNER_S),
            WAKE_LANES: lambda: see_to_lanes(services),
            TELL_OF_GIVEN_UP: lambda: tell_of_given_up(services),
            SEE_CREDENTIAL: lambda: delivery.credential_alerts(services),
        },
    )
    scans: Mapping[str, Attempt[int]] = tick.results.get(SCAN, {})
    if trouble := gravest(scans):
        tick.note(SCAN, trouble)
    # A file that the timer found first is one that no notification has told of: the subscription may be gone.
    in_doubt = any(scan.result for scan in scans.values())
    tick.do(
        SECOND_S,
        {
            NOTE_SCANS: lambda: note_scans(scans, began, services),
            KEEP_SUBSCRIPTIONS: lambda: keep_subscriptions(services, in_doubt=in_doubt),
            **_duties_about_runs(tick, start_missed, services),
        },
    )
    standing, is_unsure = _standing(tick, services)
    tick.do(TELL_S, {TELL_PEOPLE: lambda: delivery.tell_people(standing, services, is_unsure=is_unsure)})
    services.alert_memory.delivery_error = tick.troubles.get(TELL_PEOPLE)
    if tick.troubles:
        raise next(iter(tick.troubles.values()))


def _duties_about_runs(
    tick: "_Tick", start_missed: StartMissed | None, services: Services
) -> dict[str, Callable[[], object]]:
    """Return what is to be done about the open runs that were listed; nothing if they could not be."""
    listed: OpenLanes | None = tick.results.get(WAKE_LANES)
    if listed is None:
        return {}
    return {
        SETTLE_RESERVATIONS: partial(settle.settle_leftovers, listed.rows, services),
        END_STOPS: partial(wake.end_idle_stops, listed, services),
        TELL_OF_RECORDS: partial(wake.tell_of_damaged, listed, services),
        **({START_MISSED: partial(start_missed, listed, services)} if start_missed else {}),
    }


class _Tick:
    """What the timer's duties come to in one minute."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.results: dict[str, Any] = {}  # by duty, of those that ended well
        self.troubles: dict[str, Exception] = {}  # by duty

    def do(self, limit_s: float, duties: Mapping[str, Callable[[], object]]) -> None:
        """Do some duties side by side."""

        def within_limits(duty: str) -> object:
            with waiting_at_most(CALLS_S.get(duty, CALL_S)):
                return duties[duty]()

        work = {duty: partial(within_limits, duty) for duty in duties}
        for duty, attempt in self._services.duties.attempt_all(work, limit_s=limit_s).items():
            if attempt.error:
                self.note(duty, attempt.error)
            else:
                self.results[duty] = attempt.result

    def note(self, duty: str, trouble: Exception) -> None:
        """Keep a trouble, for the log, for people, and for the end of the invocation."""
        log.error("watch.duty_failed", duty=duty, reason=str(trouble))
        self.troubles[duty] = trouble


def _standing(tick: _Tick, services: Services) -> tuple[dict[str, list[Alert]], Callable[[Alert], bool]]:
    """Return what is in trouble at this moment, by area, and of which other alerts nobody knows if they are over."""
    troubles = dict(tick.troubles)
    if services.alert_memory.delivery_error:  # of the minute before: this one's comes too late to be told now
        troubles[TELL_PEOPLE] = services.alert_memory.delivery_error
    standing = {delivery.WATCH: _watch_alerts(troubles, services)}
    if SEE_CREDENTIAL in tick.results:
        standing[delivery.CREDENTIAL] = tick.results[SEE_CREDENTIAL]
    noted: list[FolderScan] | None = tick.results.get(NOTE_SCANS)
    if noted is not None:
        standing[delivery.SCAN] = scan_alerts(noted, services)
        standing[delivery.STRAY] = stray_alerts(noted, services)
    open_lanes: OpenLanes | None = tick.results.get(WAKE_LANES)
    if open_lanes is not None:
        standing[delivery.STOPPED] = wake.alerts_of_lanes(open_lanes, services)
    failing = {scan.alert_key for scan in noted or () if scan.words}
    # Trouble that passes says nothing of whether the other kind is mended.
    passing = {duty for duty, trouble in troubles.items() if isinstance(trouble, TryAgain)}

    def is_unsure(alert: Alert) -> bool:
        if alert.duty or alert.key in failing:
            return alert.duty in passing or alert.key in failing
        return bool(passing) and alert.key.startswith(delivery.WATCH)  # older versions do not tell whose it is

    return standing, is_unsure


def _watch_alerts(troubles: Mapping[str, Exception], services: Services) -> list[Alert]:
    """Return the alerts about the duties in trouble; trouble that passes by itself is none."""
    alerts: list[Alert] = []
    for duty, trouble in troubles.items():
        match trouble:
            # A minute later it hangs for good. Of a folder that cannot be scanned people hear after a while.
            case StillRunning() if duty != SCAN:
                alerts.append(delivery.duty_alert(duty, trouble, services))
            case TryAgain():
                pass
            case AppError():
                alerts.append(delivery.watch_alert(TITLES.get(duty, f"The app cannot {duty}"), duty, trouble, services))
            case _:
                alerts.append(delivery.duty_alert(duty, trouble, services))
    # One cause mostly keeps the app both from making folders and from scanning: the first of a title is told.
    by_title = {alert.title: alert for alert in reversed(alerts)}
    return list(reversed(by_title.values()))


def _sum(ended: Mapping[str, Attempt[int]]) -> int:
    """Return what the pieces of a duty come to; raise the gravest error once all were tried."""
    if error := gravest(ended):
        raise error
    return sum(attempt.result or 0 for attempt in ended.values())


def make_folders(services: Services) -> int:
    """Make every folder of every flow that is not there yet; asked of OneDrive once per process. Return how many."""
    integrations = services.settings.flows
    folders: dict[str, tuple[str, Sequence[str]]] = {
        flow.name: (flow.drive, (flow.input_folder, flow.processing_folder, flow.success_folder, flow.error_folder))
        for flow in integrations.imports
    }
    folders |= {flow.name: (flow.drive, (flow.output_folder,)) for flow in integrations.exports}
    work = {f"make folders of {name}": partial(_make_folders, *each, services) for name, each in folders.items()}
    return _sum(services.duties.attempt_all(work, limit_s=INNER_S, at_once=SCANS_AT_ONCE))


def _make_folders(drive: str, folders: Sequence[str], services: Services) -> int:
    return _sum({path: attempted(path, partial(_make_folder, drive, path, services)) for path in folders})


def _make_folder(drive: str, path: str, services: Services) -> int:
    services.folders.find(drive, path)
    return 1


def tell_of_given_up(services: Services) -> int:
    """Tell a person of the messages that the host gave up on, then delete them; return how many there were.

    Nothing is lost with them: what they were about is looked at every minute. But something made their function fail.
    A crash before they are deleted tells once more; the other order might never tell.
    """
    queues = [WORK]
    now, last = services.now(), services.scan_memory.older_queues_read
    if last is None or now - last >= OLDER_LOOK:
        queues += OLDER_QUEUES
    work = {f"tell of {queue}": partial(_tell_of_given_up, queue, services) for queue in queues}
    told = _sum(services.duties.attempt_all(work, limit_s=INNER_S))
    if len(queues) > 1:
        services.scan_memory.older_queues_read = now
    return told


def _tell_of_given_up(queue: str, services: Services) -> int:
    with services.queue.poison_messages(queue) as messages:
        texts = [message[:LONGEST_TEXT_TOLD] for message in messages]
        for text in texts:
            log.error("message.given_up", queue=queue, text=text)
        if texts:
            _tell_of_news(queue, texts, services)
        return len(texts)


def _tell_of_news(queue: str, texts: Sequence[str], services: Services) -> None:
    now = services.now()
    told = _told_of_late(services.checkpoints.read(GIVEN_UP).content, now)
    # The first word tells one from the other: a lane, or "scan", behind which the time stands.
    by_what = {f"{queue} {(text.split() or [''])[0]}": text for text in texts}
    news = {what: text for what, text in by_what.items() if what not in told}
    if not news:
        return
    function, listed = OLDER_QUEUES.get(queue, WORK_FUNCTION), "\n".join(f"- {text}" for text in news.values())
    alert = delivery.given_up_alert(
        queue,
        " ".join(sorted(news)),
        f"Messages of {queue} were given up",
        f"The function {function} failed each time that it was called with:\n{listed}\n\n"
        "No file is lost: the app looks for files and wakes lanes every minute all the same. But a lane may get no "
        f"further until the cause is mended. The exceptions of {function} in the log tell the cause; what to do stands "
        "in docs/operations.md, 'Queues'. You hear of the same again after a day at the earliest.",
        services,
    )
    services.outbox.put(alert)

    def note(content: dict[str, str]) -> None:
        told = _told_of_late(content, now)
        content.clear()
        content.update(told | dict.fromkeys(news, now.isoformat()))

    services.checkpoints.change(GIVEN_UP, note)


def _told_of_late(content: Mapping[str, str], now: datetime) -> dict[str, str]:
    """Return the messages that a person was told of within a day, and when."""
    return {what: at for what, at in content.items() if (moment := moment_of(at)) and now - moment < TELL_AGAIN_AFTER}


def keep_subscriptions(services: Services, *, in_doubt: bool = False) -> int:
    """See that Graph tells us of changes in every drive that has an Input folder; return how many were seen to.

    Nothing is to be done without NOTIFICATION_URL, nor within a day of the last renewal.
    in_doubt: renew now, which shows whether Graph still has the subscription.
    """
    if not services.settings.notification_url:
        return 0
    drives = sorted({flow.drive for flow in services.settings.flows.imports})
    work = {
        f"keep subscription of {drive}": partial(_keep_subscription, drive, services, in_doubt=in_doubt)
        for drive in drives
    }
    return _sum(services.duties.attempt_all(work, limit_s=SECOND_S - 1))


def _keep_subscription(drive: str, services: Services, *, in_doubt: bool) -> bool:
    name = subscription_note(drive)
    mark = services.checkpoints.read(name)
    wanted = _fingerprint(services)
    is_ours = mark.content.get("address") == wanted
    renewed = moment_of(mark.content.get("renewed"))
    if is_ours and not in_doubt and renewed and services.now() - renewed < RENEW_EVERY:
        return False
    if not is_ours and "id" in mark.content:
        # The address or the clientState has changed; Graph cannot change a clientState, so the old one goes.
        services.subscriptions.delete(mark.content["id"])
        mark.content.clear()
    try:
        subscription = _renewed(mark, services) or _created(drive, services)
    except TryAgain as error:
        raise _overdue(drive, mark, error, services) or error from error
    now = services.now().isoformat()
    is_known = mark.content.get("id") == subscription.subscription_id
    mark.content = {
        "id": subscription.subscription_id,
        "since": mark.content.get("since", "") if is_known else now,  # notes of older versions do not tell
        "expires": subscription.expires.isoformat(),
        "renewed": now,
        "address": wanted,
    }
    services.checkpoints.write(name, mark)
    log.info(
        "subscription.kept", drive=drive, subscription_id=subscription.subscription_id, expires=subscription.expires
    )
    return True


def subscription_note(drive: str) -> str:
    """Return the name of the note about a drive's subscription."""
    return f"subscription-{hashlib.sha256(drive.encode()).hexdigest()[:12]}"


def _overdue(drive: str, mark: Checkpoint, error: TryAgain, services: Services) -> NeedsPerson | None:
    """Return what a person must hear of a subscription that passing trouble keeps from being renewed for long."""
    renewed, expires = moment_of(mark.content.get("renewed")), moment_of(mark.content.get("expires"))
    if not renewed or services.now() - renewed < TELL_UNRENEWED_AFTER:
        return None
    ends = f" and ends on {expires:%Y-%m-%d}" if expires else ""
    return NeedsPerson(
        f"Graph's subscription for {drive} could not be renewed since {renewed:%Y-%m-%d}{ends}: {error.message}. "
        "From then on files are found up to a minute late. Look at the state of Microsoft Graph, and at the network "
        "between it and the app",
        call=error.call,
    )


def _renewed(mark: Checkpoint, services: Services) -> Subscription | None:
    """Return the subscription of the note with a new life, or None where there is none any more."""
    if "id" not in mark.content:
        return None
    try:
        return services.subscriptions.renew(mark.content["id"], expires=services.now() + SUBSCRIPTION_LIFE)
    except NotFound:
        log.warning("subscription.gone", subscription_id=mark.content["id"])
        return None


def _created(drive: str, services: Services) -> Subscription:
    """Return a new subscription, or the one that Graph has of us already: adopted if it calls our address."""
    address, client_state = services.notified_at()
    resource = f"/drives/{services.onedrive(drive).drive_id()}/root"
    expires = services.now() + SUBSCRIPTION_LIFE

    def create() -> Subscription:
        return services.subscriptions.create(
            resource=resource, notification_url=address, client_state=client_state, expires=expires
        )

    try:
        return create()
    except SubscriptionExists as error:
        existing_id = error.subscription_id or _id_of(resource, services)
    adopted = services.subscriptions.renew(existing_id, expires=expires)
    if adopted.notification_url == address:
        log.info("subscription.adopted", drive=drive, subscription_id=existing_id)
        return adopted
    log.warning("subscription.replaced", drive=drive, subscription_id=existing_id)
    services.subscriptions.delete(existing_id)
    return create()


def _id_of(resource: str, services: Services) -> str:
    """Return the id of the subscription that Graph has for a drive, where its refusal did not name it."""
    for subscription in services.subscriptions.list():
        if subscription.resource.strip("/") == resource.strip("/"):
            return subscription.subscription_id
    raise NotFound(f"Microsoft Graph has a subscription for {resource} already and does not list it")


def _fingerprint(services: Services) -> str:
    """Return a text that changes with the address or the clientState and tells neither."""
    return hashlib.sha256("\n".join(part.reveal() for part in services.notified_at()).encode()).hexdigest()
