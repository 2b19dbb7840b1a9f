"""Sees that there is something to do: new files in Input, overdue lanes, and the subscription that wakes us.

A look lists the Input folders and opens one run per new file. It needs no saved token and sees all that is there,
whatever was missed. What then happens to a run is ``inbound.py``.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from shared.clients.onedrive import DriveItem
from shared.clients.run_store import Mark, RecordChanged, key_of, order_behind
from shared.clients.subscriptions import Subscription, SubscriptionExists
from shared.clients.wake_queue import EXPORT_WORK, IMPORT_WORK, LOOKS
from shared.domain.alert import Alert
from shared.domain.integrations import ImportFlow
from shared.domain.run import FileFacts, FlowKind, Run, State, new_run
from shared.errors import AppError, NeedsPerson, NotFound, TryAgain
from shared.flows import telling
from shared.log import log
from shared.services import Services

# A notification may come before the listing shows the file (5 to 60 seconds were seen), so a look that finds nothing
# new looks again after these seconds.
LOOK_AGAIN_S: Final = (5.0, 20.0, 60.0)

# Where no folder holds a file the open runs need not be known, so they are asked for once one does. A run that ends
# between the two would leave its file in the listing and its name out of the runs, and get a second one. No run takes
# less than this from its claim to its end, so a listing that is older is made anew.
LISTING_HOLDS: Final = timedelta(seconds=1)

# Seconds that a wake-up may be late before the timer sends another one.
OVERDUE_S: Final = 30.0

# Graph takes at most 42,300 minutes for a drive. https://learn.microsoft.com/graph/api/resources/subscription
SUBSCRIPTION_LIFE: Final = timedelta(minutes=42_000)
# It is renewed long before its end, so that weeks of trouble with Graph do no harm; and one that Graph has dropped
# without a word is missed within a day.
RENEW_EVERY: Final = timedelta(days=1)
# A person hears of passing trouble with it when it has lasted for two days.
TELL_UNRENEWED_AFTER: Final = timedelta(days=3)

# A note that is also shown to people: when the timer looked last.
LOOK: Final = "look"

# Each queue with the function that its messages wake, as the person finds it in Azure's logs.
FUNCTIONS: Final[Mapping[str, str]] = {
    LOOKS: "look_for_files",
    IMPORT_WORK: "advance_imports",
    EXPORT_WORK: "advance_exports",
}
KEEP_SUBSCRIPTIONS: Final = "keep subscriptions"
# What cannot be worked on is given up again every few minutes, because the timer wakes its lane; a person hears of it
# once in this time.
TELL_AGAIN_AFTER: Final = timedelta(days=1)
# Characters; ours are much shorter, somebody else's may have 48 KiB.
LONGEST_TEXT_TOLD: Final = 200


def wake_text(moment: datetime, tries: int = 0) -> str:
    """Return the message that asks for a look: from when on, and how often it was put off."""
    return f"look {moment.isoformat()} {tries}"


def ask_for_look(services: Services, at_once: Callable[[str], object]) -> None:
    """See that a look follows a notification of this moment: now, soon, or by one that is on its way already.

    at_once: hands a message to the host, which queues it. Raises TryAgain or NeedsPerson where the queue does not take
    a later one; then Graph is to send the notification again.
    """
    now = services.now()

    def send(delay_s: float) -> None:
        text = wake_text(now + timedelta(seconds=delay_s))
        if delay_s:
            services.wakes.send(LOOKS, text, delay_s=delay_s)
        else:
            at_once(text)

    if not services.looks.ask(now, send):
        log.info("notification.covered")


def look(message: str, services: Services) -> None:
    """Answer one wake-up: look, unless this process has begun a look since the wake-up was meant to come.

    Raises TryAgain or NeedsPerson where a folder cannot be listed or storage fails; the host then delivers the message
    again.
    """
    now = services.now()
    asked, tries = _parsed(message, now)
    if services.looks.has_begun_since(asked):
        log.info("look.covered", asked=asked)
        return
    services.looks.begin(now)
    try:
        found = open_new_runs(services)
    except AppError:
        # The host delivers this message again, which then counts as answered: the next look is asked for here.
        _look_again_later(tries, services)
        raise
    if not found and not services.looks.is_echo(asked):
        _look_again_later(tries, services)


def _look_again_later(tries: int, services: Services) -> None:
    """Ask for one more look, unless this was the last one or one that comes sooner was asked for already."""
    if tries >= len(LOOK_AGAIN_S):
        return
    delay_s = LOOK_AGAIN_S[tries]
    now = services.now()
    moment = now + timedelta(seconds=delay_s)
    if services.looks.put_off(now, moment):
        services.wakes.send(LOOKS, wake_text(moment, tries + 1), delay_s=delay_s)


def open_new_runs(services: Services) -> int:
    """List every Input folder, open a run for each file that has none, wake their lanes; return how many were opened.

    A folder that cannot be listed does not keep the others from being looked at; its error is raised at the end.
    """
    opened = 0
    known: _KnownRuns | None = None
    trouble: AppError | None = None
    for flow in services.integrations.imports:
        try:
            asked = services.now()
            files = _files_of(flow, services)
            if files and known is None:
                known = _known_runs(services)
                if services.now() - asked > LISTING_HOLDS:
                    files = _files_of(flow, services)
            if files and known:
                opened += _open_runs_of(flow, files, known, services)
        except AppError as error:
            log.error("look.failed", integration=flow.name, reason=str(error))
            trouble = trouble or error
    log.info("look.done", opened=opened)
    if trouble:
        raise trouble
    services.last_look = services.now()
    return opened


def _files_of(flow: ImportFlow, services: Services) -> list[DriveItem]:
    try:
        return list(services.onedrive(flow.drive).list_files(services.folder_id(flow.drive, flow.input_folder)))
    except NotFound:
        services.forget_folder(flow.drive, flow.input_folder)  # it was renamed or deleted; made anew at the next look
        raise


@dataclass(frozen=True, slots=True, kw_only=True)
class _KnownRuns:
    """What the open runs tell a look, by their names alone."""

    item_ids: frozenset[str]
    lanes: frozenset[str]


def _known_runs(services: Services) -> _KnownRuns:
    places = services.store.open_places()
    return _KnownRuns(
        item_ids=frozenset(key_of(order) for _, order in places), lanes=frozenset(lane for lane, _ in places)
    )


def _open_runs_of(flow: ImportFlow, files: Sequence[DriveItem], known: _KnownRuns, services: Services) -> int:
    new = [item for item in files if item.item_id not in known.item_ids]
    if not new:
        return 0
    begun = services.store.begun(flow.lane) if flow.lane in known.lanes else ""
    runs = [_new_run(flow, item, begun, services.now()) for item in new]
    opened = sum(services.side_by_side(services.store.create, runs))
    if opened:
        services.wakes.send(IMPORT_WORK, flow.lane)
    return opened


def _new_run(flow: ImportFlow, item: DriveItem, begun: str, now: datetime) -> Run:
    return new_run(
        flow=FlowKind.IMPORT,
        state=State.FOUND,
        integration=flow.name,
        lane=flow.lane,
        order=_order(item, begun),
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
            is_complete=item.size_bytes > 0 and not item.is_pending and not item.has_malware,
            web_url=item.web_url,
        ),
    )


def _order(item: DriveItem, begun: str) -> str:
    """Return a file's place in its lane: by age, but behind the run that is under way.

    A file can be older than one that came before it: copying keeps the date. It must not become the lane's head while
    F&O works on another file of the lane.
    """
    return order_behind(begun, item.last_modified, item.item_id)


def _parsed(message: str, now: datetime) -> tuple[datetime, int]:
    """Return when a look was asked for and how often it was put off; a text of another kind asks for a look now."""
    words = message.split()
    try:
        return datetime.fromisoformat(words[1]), int(words[2])
    except (IndexError, ValueError):
        return now, 0


def keep_watch(services: Services) -> None:
    """What the minute's timer does: make the folders, look, wake lanes that are overdue, keep the subscriptions alive.

    Last it tells people of all trouble, its own and that of runs and messages. Each is tried whatever happens to the
    others; the first error is raised at the end.
    """
    troubles: dict[str, AppError] = {}

    def tried(name: str, duty: Callable[[], int]) -> int:
        try:
            return duty()
        except AppError as error:
            log.error("watch.duty_failed", duty=name, reason=str(error))
            troubles[name] = error
            return 0

    tried("make folders", lambda: make_folders(services))
    found = tried("look", lambda: open_new_runs(services))
    tried("note the look", lambda: note_look(services))
    tried("wake overdue lanes", lambda: wake_overdue_lanes(services))
    # A file that the timer found first is one that no notification has told of: the subscription may be gone.
    tried(KEEP_SUBSCRIPTIONS, lambda: keep_subscriptions(services, in_doubt=found > 0))
    tried("tell of given up messages", lambda: tell_of_given_up(services))
    standing = _standing(troubles, services)
    tried("tell people", lambda: telling.tell_people(standing, services))
    if troubles:
        raise next(iter(troubles.values()))


def _standing(troubles: Mapping[str, AppError], services: Services) -> dict[str, list[Alert]]:
    """Return what a person must mend at this moment, by area: the first thing that keeps the timer from its work."""
    standing = {telling.CREDENTIAL: telling.credential_alerts(services)}
    for duty, trouble in troubles.items():
        if isinstance(trouble, NeedsPerson):
            title = "The subscription cannot be renewed" if duty == KEEP_SUBSCRIPTIONS else "OneDrive cannot be watched"
            standing[telling.WATCH] = [telling.watch_alert(title, trouble, services)]
            break
    else:
        if not troubles:  # trouble that passes says nothing of whether the other kind is mended
            standing[telling.WATCH] = []
    return standing


def note_look(services: Services) -> int:
    """Write down when this process has looked, for people who ask whether the app looks at all; return 0 or 1.

    In Azure the function that shows it runs in another process.
    """
    if services.last_look is None:
        return 0
    mark = services.store.read_mark(LOOK)
    mark.content = {"at": services.last_look.isoformat()}
    with suppress(RecordChanged):  # another process has just looked, too
        services.store.write_mark(LOOK, mark)
    return 1


def make_folders(services: Services) -> int:
    """Make every folder of every flow that is not there yet; asked of OneDrive once per process. Return how many."""
    integrations = services.integrations
    folders = [
        (flow.drive, folder)
        for flow in integrations.imports
        for folder in (flow.input_folder, flow.processing_folder, flow.success_folder, flow.error_folder)
    ]
    folders += [(flow.drive, flow.output_folder) for flow in integrations.exports]
    for drive, folder in folders:
        services.folder_id(drive, folder)
    return len(folders)


def wake_overdue_lanes(services: Services) -> int:
    """Wake each lane whose head is overdue; return how many. A lost message costs a minute, never a file."""
    overdue = services.now() - timedelta(seconds=OVERDUE_S)
    heads: dict[str, datetime] = {}
    for row in services.store.open_runs():
        if not row.is_paused:
            heads.setdefault(row.lane, row.due)  # rows come oldest first
    late = [lane for lane, due in heads.items() if due < overdue]
    for lane in late:
        log.warning("lane.overdue", lane=lane, due=heads[lane])
        services.wakes.send(IMPORT_WORK if lane.startswith("in-") else EXPORT_WORK, lane)
    return len(late)


def tell_of_given_up(services: Services) -> int:
    """Tell a person of the messages that the host gave up on, then delete them; return how many there were.

    Nothing is lost with them: what they were about is looked at every minute. But something made their function fail.
    A crash before they are deleted tells once more; the other order might never tell.
    """
    return sum(_tell_of_given_up(queue, services) for queue in FUNCTIONS)


def _tell_of_given_up(queue: str, services: Services) -> int:
    with services.wakes.given_up(queue) as messages:
        texts = [message[:LONGEST_TEXT_TOLD] for message in messages]
        for text in texts:
            log.error("message.given_up", queue=queue, text=text)
        if texts:
            _tell_of_news(queue, texts, services)
        return len(texts)


def _tell_of_news(queue: str, texts: Sequence[str], services: Services) -> None:
    now, mark = services.now(), services.store.read_mark("given-up")
    told = {what: at for what, at in mark.content.items() if now - datetime.fromisoformat(at) < TELL_AGAIN_AFTER}
    # The first word tells one from the other: a lane, or "look", behind which the time stands.
    by_what = {f"{queue} {text.partition(' ')[0]}": text for text in texts}
    news = {what: text for what, text in by_what.items() if what not in told}
    if not news:
        return
    function, listed = FUNCTIONS[queue], "\n".join(f"- {text}" for text in news.values())
    alert = telling.given_up_alert(
        queue,
        " ".join(sorted(news)),
        f"Messages of {queue} were given up",
        f"The function {function} failed each time that it was called with:\n{listed}\n\n"
        "No file is lost: the app looks for files and wakes lanes every minute all the same. But a lane may get no "
        f"further until the cause is mended. The exceptions of {function} in the log tell the cause; what to do stands "
        "in docs/operations.md, 'Queues'. You hear of the same again after a day at the earliest.",
        services,
    )
    services.tell(alert)
    mark.content = told | dict.fromkeys(news, now.isoformat())
    services.store.write_mark("given-up", mark)


def keep_subscriptions(services: Services, *, in_doubt: bool = False) -> int:
    """See that Graph tells us of changes in every drive that has an Input folder; return how many were seen to.

    Nothing is to be done without NOTIFICATION_URL, nor within a day of the last renewal.
    in_doubt: renew now, which shows whether Graph still has the subscription.
    """
    if not services.settings.notification_url:
        return 0
    drives = sorted({flow.drive for flow in services.integrations.imports})
    return sum(_keep_subscription(drive, services, in_doubt=in_doubt) for drive in drives)


def _keep_subscription(drive: str, services: Services, *, in_doubt: bool) -> bool:
    name = subscription_note(drive)
    mark = services.store.read_mark(name)
    wanted = _fingerprint(services)
    is_ours = mark.content.get("address") == wanted
    if is_ours and not in_doubt and services.now() - datetime.fromisoformat(mark.content["renewed"]) < RENEW_EVERY:
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
    services.store.write_mark(name, mark)
    log.info(
        "subscription.kept", drive=drive, subscription_id=subscription.subscription_id, expires=subscription.expires
    )
    return True


def subscription_note(drive: str) -> str:
    """Return the name of the note about a drive's subscription."""
    return f"subscription-{hashlib.sha256(drive.encode()).hexdigest()[:12]}"


def _overdue(drive: str, mark: Mark, error: TryAgain, services: Services) -> NeedsPerson | None:
    """Return what a person must hear of a subscription that passing trouble keeps from being renewed for long."""
    renewed = mark.content.get("renewed")
    if not renewed or services.now() - datetime.fromisoformat(renewed) < TELL_UNRENEWED_AFTER:
        return None
    return NeedsPerson(
        f"Graph's subscription for {drive} could not be renewed since {renewed[:10]} and ends on "
        f"{mark.content['expires'][:10]}: {error.message}. From then on files are found up to a minute late. Look at "
        "the state of Microsoft Graph, and at the network between it and the app",
        call=error.call,
    )


def _renewed(mark: Mark, services: Services) -> Subscription | None:
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
