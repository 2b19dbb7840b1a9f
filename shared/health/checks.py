"""Whether the app is well: what it can reach, whether it looks, what waits, and for whom. Changes nothing.

Each check is a value: what was found, in words, and what to do about it. Pages and JSON are made of them in
``operations/``, lines for a terminal in ``operations/doctor.py``.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from itertools import groupby
from typing import Final
from urllib.parse import urlsplit

from shared.alerts import delivery
from shared.alerts.alert import Alert
from shared.app import Services
from shared.azure_storage.checkpoints import moment_of
from shared.azure_storage.queue import QueueLength
from shared.azure_storage.queue_names import OLDER_QUEUES, WORK
from shared.clients.entra.token_facts import token_facts
from shared.clients.graph.subscriptions import shake_hands
from shared.clients.http.context import waiting_at_most
from shared.config.integrations import ExportFlow
from shared.config.settings import THREADS, Credentials, SettingInForce, Settings, StorageSettings
from shared.errors import AppError, SettingsInvalid, TryAgain
from shared.health.processes import ProcessNote, process_notes
from shared.runs.rows import RunRow
from shared.runs.wake import next_of_lanes
from shared.scan.folder_scans import AT, NOTE, FolderScan, scans_of
from shared.scan.scan import WORK_FUNCTION, subscription_note
from shared.thread_pool import thread_pool_size
from shared.version import VERSION

# Seconds that one call may take here, and after which no other service is asked: a monitor waits for the answer.
CALL_S: Final = 8.0
ALL_CALLS_S: Final = 20.0

# The timer looks every minute; after so long something keeps it from it.
LOOK_OVERDUE: Final = timedelta(minutes=3)
# A lane whose head is due is woken within seconds, and by the timer within a minute and a half. Where it stays due, a
# long step is under way, which ends after half an hour (functionTimeout in host.json), or nobody works on it.
LANE_OVERDUE: Final = timedelta(minutes=3)
LANE_LEFT_ALONE: Final = timedelta(minutes=35)

# Runs of one lane that are shown because they need a person; the others are counted.
NEED_PERSON_SHOWN: Final = 5

# Permissions of Microsoft Graph that let an app write into drives: into all of the tenant, and into chosen ones.
# https://learn.microsoft.com/graph/permissions-reference
EVERY_DRIVE: Final = frozenset({"Files.ReadWrite.All", "Sites.ReadWrite.All", "Sites.FullControl.All"})
OWN_DRIVE: Final = frozenset({"Files.ReadWrite"})  # a signed-in person's
SELECTED: Final = ".Selected"
MAIL: Final = "Mail.Send"

# An execution that F&O does not know: asking for it is the cheapest call that needs all that the app needs.
_NO_EXECUTION: Final = "health-check"


class Grade(StrEnum):
    """How a check ended. Only trouble makes the app unwell."""

    OK = "ok"
    WARNING = "warning"  # works, or passes by itself; a person should know
    TROUBLE = "trouble"  # something does not work until a person acts


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    grade: Grade
    words: str  # what is so
    to_do: str = ""  # what a person is to do, where the words do not say it


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """Runs that queue up behind each other."""

    name: str
    length: int
    head: RunRow  # the run that is due first, or the first one if nothing is to be done
    need_person: tuple[RunRow, ...] = ()
    set_aside: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionState:
    """What the app has noted of Graph's promise to tell of changes in a drive."""

    drive: str
    since: datetime | None  # None: an older version of the app has noted it
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A queue and how much lies in it."""

    name: str
    length: QueueLength


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """All that was found."""

    version: str
    grade: Grade  # the worst of the checks
    checks: tuple[Check, ...]
    now: datetime | None = None  # this and all below: None or empty where the settings are wrong
    process_began: datetime | None = None
    last_notification: datetime | None = None  # that the process which answers was given
    last_look: datetime | None = None  # of the timer, wherever it runs
    subscriptions: tuple[SubscriptionState, ...] = ()
    lanes: tuple[Lane, ...] = ()
    queues: tuple[Queue, ...] = ()
    threads: int | None = None  # of the process that answers; None if Azure's runtime has not loaded it
    processes: tuple[ProcessNote, ...] = ()
    settings: tuple[SettingInForce, ...] = ()


def check_health(build: Callable[[], Services], *, thorough: bool = False) -> Health:
    """Look at everything that the app needs and return what was found; never raises an AppError.

    build: returns the services, or raises SettingsInvalid.
    thorough: also ask F&O for companies and data projects, and call the webhook as Graph does.
    """
    try:
        services = build()
    except SettingsInvalid as error:
        return _graded(Health(version=VERSION, grade=Grade.OK, checks=(_failed("Settings", error),)))
    own = Health(
        version=VERSION,
        grade=Grade.OK,
        checks=(),
        now=services.now(),
        process_began=services.started,
        last_notification=services.scan_memory.last_notification,
        threads=thread_pool_size(),
        settings=services.settings.in_force,
    )
    with waiting_at_most(CALL_S):
        try:
            found = _with_storage(own, services)
        except AppError as error:
            found = replace(own, checks=(_failed("Storage", error),))
        host = _host_storage_checks(services.settings)
        return _graded(replace(found, checks=(*host, *found.checks, *_others(services, thorough=thorough))))


def _graded(health: Health) -> Health:
    worst = max((check.grade for check in health.checks), key=list(Grade).index, default=Grade.OK)
    return replace(health, grade=worst)


def _failed(name: str, error: AppError, to_do: str = "") -> Check:
    """Return the check that ended with an error: trouble, unless a service that did answer is busy or in trouble."""
    passes = isinstance(error, TryAgain) and error.call is not None and error.call.status is not None
    return Check(name=name, grade=Grade.WARNING if passes else Grade.TROUBLE, words=str(error), to_do=to_do)


# -- what the settings tell


def _host_storage_checks(settings: Settings) -> Iterator[Check]:
    """Return whether the host and the app use the storage account as the same identity, as far as the settings say.

    Nothing is asked: where the host cannot reach its storage, no function runs, and only the doctor can tell.
    """
    storage, name = settings.storage, "Identity for storage"
    if storage.connection_string:
        yield Check(
            name=name, grade=Grade.OK, words="The host and the app use the connection string in AzureWebJobsStorage."
        )
        return
    if storage.has_empty_text:
        # https://github.com/Azure/azure-functions-host/issues/11796
        yield Check(
            name=name,
            grade=Grade.TROUBLE,
            words="AzureWebJobsStorage is there and empty. The host reads it before the AzureWebJobsStorage__... "
            "settings, and finds no storage account in it.",
            to_do="Delete the app setting AzureWebJobsStorage.",
        )
    yield _host_identity_check(name, settings.credentials, storage)


def _host_identity_check(name: str, credentials: Credentials, storage: StorageSettings) -> Check:
    app = _identity(storage.client_id)
    is_registration = bool(credentials.client_secret or credentials.certificate_path)
    if storage.names_credential:
        words = f"The host and the app use the storage account as {app}."
        if storage.client_id or is_registration or not credentials.client_id:
            return Check(name=name, grade=Grade.OK, words=words)
        return Check(
            name=name,
            grade=Grade.WARNING,
            words=f"{words} AZURE_CLIENT_ID names {_identity(credentials.client_id)}.",
            to_do="If the app has no system-assigned identity, or that has no role on the storage account, set "
            "AzureWebJobsStorage__clientId to the same client id.",
        )
    # Without a credential the host takes what DefaultAzureCredential finds: the AZURE_... variables come first, and
    # AzureWebJobsStorage__clientId is not read. https://github.com/Azure/azure-functions-host/issues/10904
    # https://learn.microsoft.com/dotnet/azure/sdk/authentication/credential-chains#defaultazurecredential-overview
    host = f"the app registration {credentials.client_id}" if is_registration else _identity(credentials.client_id)
    clients = f" and AzureWebJobsStorage__clientId={storage.client_id}" if storage.client_id else ""
    to_do = f"Set AzureWebJobsStorage__credential=managedidentity{clients}."
    if host != app:
        also = "" if storage.client_id else " For a user-assigned identity set AzureWebJobsStorage__clientId, too."
        return Check(
            name=name,
            grade=Grade.TROUBLE,
            words=f"The settings let the host use the storage account as {host}, and the app as {app}: "
            "AzureWebJobsStorage__credential is missing, so the host takes the identity of the AZURE_... settings, or "
            "the one that Azure gives it.",
            to_do=to_do + also,
        )
    return Check(
        name=name,
        grade=Grade.WARNING if storage.client_id else Grade.OK,
        words=f"The host and the app use the storage account as {app}. AzureWebJobsStorage__credential is missing: the "
        "host looks for an identity by itself, and finds this one as long as no AZURE_... setting names another.",
        to_do=to_do,
    )


def _identity(client_id: str) -> str:
    return f"the user-assigned identity {client_id}" if client_id else "the system-assigned identity"


# -- what the app's storage tells


def _with_storage(health: Health, services: Services) -> Health:
    """Return what the app has written down about itself. Raises TryAgain and NeedsPerson of storage."""
    now, open_lanes = services.now(), services.store.open_lanes()
    lanes = _lanes(services.index.open_rows(), {choice.row.address for choice in next_of_lanes(open_lanes).values()})
    queues = tuple(Queue(name=queue, length=services.queue.length(queue)) for queue in (WORK, *OLDER_QUEUES))
    queues = tuple(queue for queue in queues if queue.name == WORK or queue.length.given_up)
    noted = services.checkpoints.read(NOTE).content
    last_look = moment_of(noted.get(AT))
    subscriptions = tuple(_subscriptions(services))
    processes = process_notes(services)
    return replace(
        health,
        last_look=last_look,
        subscriptions=subscriptions,
        lanes=lanes,
        queues=queues,
        processes=processes,
        checks=(
            Check(name="Storage", grade=Grade.OK, words="The app may read its records and its queues."),
            _look_check(last_look, now),
            *_folder_checks(scans_of(noted, services), now),
            *(_standing(alert) for alert in delivery.standing(services)),
            *_notification_checks(subscriptions, services),
            *_lane_checks(lanes, now),
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


def _look_check(last_look: datetime | None, now: datetime) -> Check:
    name = "Looking for files"
    if last_look is None:
        return Check(
            name=name,
            grade=Grade.WARNING,
            words="The app has not looked yet; it does so every minute.",
            to_do="If this stays: 'Nothing happens' in docs/operations.md.",
        )
    if now - last_look > LOOK_OVERDUE:
        return Check(
            name=name,
            grade=Grade.TROUBLE,
            words=f"The timer has not looked since {_moment(last_look)}; it should every minute.",
            to_do="See what stands below; and 'Nothing happens' in docs/operations.md.",
        )
    return Check(name=name, grade=Grade.OK, words=f"The timer has looked at {_moment(last_look)}.")


def _folder_checks(scans: Iterable[FolderScan], now: datetime) -> Iterator[Check]:
    """Return a check for each Input folder that cannot be scanned; one that can has none."""
    for scan in scans:
        is_overdue = scan.is_overdue(now)
        if not is_overdue and not scan.words:
            continue
        if scan.last_good:
            words = f"Last good scan: {_moment(scan.last_good)}."
        else:
            words = f"No good scan since the first one, at {_moment(scan.since or now)}."
        yield Check(
            name=f"Input folder {scan.flow.input_folder}, {scan.flow.name}",
            grade=Grade.TROUBLE if is_overdue else Grade.WARNING,
            words=f"{words} {scan.words}".strip(),
            to_do="If this stays: 'cannot be scanned' in docs/troubleshooting.md."
            if scan.words
            else "See whether the timer runs.",
        )


def _standing(alert: Alert) -> Check:
    harmless = (delivery.CREDENTIAL, delivery.STRAY, delivery.DAMAGED)  # so far
    grade = Grade.WARNING if alert.key.startswith(harmless) else Grade.TROUBLE
    return Check(name=alert.title, grade=grade, words=f"Since {_moment(alert.since)}: {alert.text}")


def _subscriptions(services: Services) -> Iterator[SubscriptionState]:
    for drive in sorted({flow.drive for flow in services.settings.flows.imports}):
        note = services.checkpoints.read(subscription_note(drive)).content
        until = moment_of(note.get("expires"))
        if "id" in note and until:
            yield SubscriptionState(drive=drive, since=moment_of(note.get("since")), until=until)


def _notification_checks(subscriptions: Sequence[SubscriptionState], services: Services) -> Iterator[Check]:
    drives = sorted({flow.drive for flow in services.settings.flows.imports})
    if drives and not services.settings.notification_url:
        yield Check(
            name="Notifications",
            grade=Grade.OK,
            words="Switched off: NOTIFICATION_URL is empty. Files are found by the look of every minute.",
        )
        return
    by_drive = {each.drive: each for each in subscriptions}
    for drive in drives:
        name, subscription = f"Notifications, {drive}", by_drive.get(drive)
        if subscription is None:
            yield Check(
                name=name,
                grade=Grade.WARNING,
                words="There is no subscription; files are found by the look of every minute.",
                to_do="The timer makes one within a minute. If it does not, the minute's work tells why.",
            )
        elif subscription.until < services.now():
            yield Check(
                name=name,
                grade=Grade.TROUBLE,
                words=f"The subscription has ended at {_moment(subscription.until)} and was not renewed.",
                to_do="It is renewed every day: see whether the timer runs.",
            )
        else:
            yield Check(name=name, grade=Grade.OK, words=f"Subscribed until {_moment(subscription.until)}.")


def _lane_checks(lanes: Sequence[Lane], now: datetime) -> Iterator[Check]:
    for lane in lanes:
        head, name = lane.head, f"Lane {lane.name}"
        for row in lane.need_person[:NEED_PERSON_SHOWN]:
            # A file that is set aside keeps nobody else from going on.
            grade = Grade.WARNING if row.is_aside and not row.damage else Grade.TROUBLE
            yield Check(name=name, grade=grade, words=f"{row.file_name} needs a person: {row.words}")
        if len(lane.need_person) > NEED_PERSON_SHOWN:
            more = len(lane.need_person) - NEED_PERSON_SHOWN
            words = "1 more run needs a person." if more == 1 else f"{more} more runs need a person."
            yield Check(name=name, grade=Grade.WARNING, words=words)
        if head.needs_person or head.damage:
            continue
        if now - head.due > LANE_LEFT_ALONE:
            yield Check(
                name=name,
                grade=Grade.TROUBLE,
                words=f"{head.file_name} has been due since {_moment(head.due)}, and nobody works on it.",
                to_do="See whether the functions run: 'Nothing happens' in docs/operations.md.",
            )
        elif now - head.due > LANE_OVERDUE:
            yield Check(
                name=name,
                grade=Grade.WARNING,
                words=f"{head.file_name} has been due since {_moment(head.due)}: a long step, such as the upload of a "
                "large package, is under way, or nobody works on it.",
            )
    runs = sum(lane.length for lane in lanes)
    yield Check(name="Lanes", grade=Grade.OK, words=f"Open runs: {runs}, lanes: {len(lanes)}.")


def _queue_checks(queues: Sequence[Queue]) -> Iterator[Check]:
    for queue in queues:
        function = OLDER_QUEUES.get(queue.name, WORK_FUNCTION)
        if queue.length.given_up:
            yield Check(
                name=f"Queue {queue.name}",
                grade=Grade.WARNING,
                words=f"The host gave up on {_counted(queue.length.given_up, 'message')} of {function}.",
                to_do="The timer tells a person of them and empties the queue; see 'Queues' in docs/operations.md.",
            )


def _thread_check(own: int | None, processes: Sequence[ProcessNote], set_to: int) -> Check:
    """Return the check of the thread pools: of the process that answers, and of those that have noted themselves."""
    told = [f"{own} in the process that answers here"] if own is not None else []
    told += [f"{note.threads} in that of {note.function} (noted {_moment(note.noted)})" for note in processes]
    sizes = {note.threads for note in processes} | ({own} if own is not None else set())
    if sizes <= {set_to}:
        words = f"Invocations at the same time: {set_to}. {_sentence(told) or 'No process has noted itself yet.'}"
        return Check(name="Threads", grade=Grade.OK, words=words)
    return Check(
        name="Threads",
        grade=Grade.WARNING,
        words=f"{THREADS} is {set_to}, but not all processes run so many invocations at the same time. "
        f"{_sentence(told)}",
        to_do="A process that has noted itself before the setting was changed notes itself anew when it runs next. "
        "If it stays: 'Threads' in docs/operations.md.",
    )


def _sentence(parts: Sequence[str]) -> str:
    return f"{', '.join(parts)}." if parts else ""


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


# -- what other services tell


def _others(services: Services, *, thorough: bool) -> Iterator[Check]:
    """Ask each service, one after the other, until the time is up."""
    began = services.now()
    urls = dict.fromkeys(flow.environment_url for flow in services.settings.flows.all)
    asked: list[tuple[str, Callable[[], Iterable[Check]]]] = [
        ("Microsoft Graph", partial(_graph, services)),
        *((_fo_name(url), partial(_finance_operations, url, services, thorough=thorough)) for url in urls),
    ]
    if thorough and services.settings.notification_url:
        asked.append(("Webhook", partial(_webhook, services)))
    for name, ask in asked:
        if (services.now() - began).total_seconds() > ALL_CALLS_S:
            yield Check(
                name=name, grade=Grade.WARNING, words="Was not asked: the services before it took too long to answer."
            )
            continue
        try:
            yield from ask()
        except AppError as error:
            yield _failed(name, error)


def _graph(services: Services) -> Iterator[Check]:
    permissions = token_facts(services.graph_token.token()).permissions
    yield from _permission_checks(permissions, services)
    for drive in services.settings.flows.drives:
        name = f"OneDrive, {drive}"
        try:
            services.onedrive(drive).ask_drive_id()
        except AppError as error:
            is_selected = permissions is not None and _has_selected(permissions) and not permissions & EVERY_DRIVE
            is_refused = error.call is not None and error.call.status == 403
            yield _failed(name, error, _site_grant(services) if is_selected and is_refused else "")
        else:
            yield Check(name=name, grade=Grade.OK, words="Microsoft Graph lets the app read the drive.")


def _site_grant(services: Services) -> str:
    return (
        "Sites.Selected opens no drive by itself: the drive's site must grant the app the role write, with POST "
        f"{services.settings.graph_url}/v1.0/sites/SITE_ID/permissions."
    )


def _has_selected(permissions: frozenset[str]) -> bool:
    return any(permission.endswith(SELECTED) for permission in permissions)


def _permission_checks(permissions: frozenset[str] | None, services: Services) -> Iterator[Check]:
    """Judge what the token says that the app may do; what it may do indeed, only calls tell."""
    name = "Permissions of Microsoft Graph"
    if permissions is None:
        yield Check(name=name, grade=Grade.OK, words="The token does not say which permissions it holds.")
        return
    listed = ", ".join(sorted(permissions)) or "none"
    enough = EVERY_DRIVE | (OWN_DRIVE if services.settings.onedrive_sign_in == "user" else frozenset())
    if permissions & EVERY_DRIVE and _has_selected(permissions):
        selected = next(each for each in sorted(permissions) if each.endswith(SELECTED))
        every = min(permissions & EVERY_DRIVE)
        yield Check(
            name=name,
            grade=Grade.WARNING,
            words=f"{selected} limits nothing as long as {every} is granted too, which opens every drive of the "
            f"tenant. Granted: {listed}.",
            to_do=f"Take {every} away if {selected} is meant; otherwise take {selected} away.",
        )
    elif permissions & enough or _has_selected(permissions):
        yield Check(name=name, grade=Grade.OK, words=f"Granted: {listed}.")
    else:
        yield Check(
            name=name,
            grade=Grade.TROUBLE,
            words=f"The permission Files.ReadWrite.All of Microsoft Graph is missing. Granted: {listed}.",
            to_do="Grant it as an application permission, with an administrator's consent (docs/setup.md, step 3). "
            "Azure keeps a managed identity's token for up to a day: what was granted since does not stand in it yet.",
        )
    if services.settings.is_mailed and MAIL not in permissions:
        yield Check(
            name=name,
            grade=Grade.WARNING,
            words="The permission Mail.Send is missing, so no alert can be mailed.",
            to_do="Grant it with consent, or empty ALERT_RECIPIENT: alerts then stand in the log only.",
        )


def _fo_name(environment_url: str) -> str:
    return f"F&O, {urlsplit(environment_url).hostname}"


def _finance_operations(environment_url: str, services: Services, *, thorough: bool) -> Iterator[Check]:
    name = _fo_name(environment_url)
    app_id = token_facts(services.finance_operations_token(environment_url).token()).app_id
    environment = services.finance_operations(environment_url)
    try:
        environment.job_details(_NO_EXECUTION)
    except AppError as error:
        is_refused = error.call is not None and error.call.status == 403
        yield _failed(name, error, f"The app's client id is {app_id}." if is_refused and app_id else "")
        return
    yield Check(name=name, grade=Grade.OK, words=f"F&O lets the app in{f' as {app_id}' if app_id else ''}.")
    if thorough:
        flows = [flow for flow in services.settings.flows.all if flow.environment_url == environment_url]
        companies = sorted({flow.company for flow in flows if flow.company})
        projects = sorted({flow.data_project for flow in flows if isinstance(flow, ExportFlow)})
        for company in companies:
            yield _known(f"{name}, company {company}", partial(environment.has_company, company))
        for project in projects:
            yield _known(f"{name}, data project {project}", partial(environment.has_data_project, project))


def _known(name: str, ask: Callable[[], bool]) -> Check:
    """Return whether F&O has what the settings name. The app itself does not ask this, so it may lack the right to."""
    try:
        is_known = ask()
    except AppError as error:
        return Check(name=name, grade=Grade.WARNING, words=f"This could not be found out: {error}")
    if is_known:
        return Check(name=name, grade=Grade.OK, words="F&O has it.")
    return Check(
        name=name,
        grade=Grade.TROUBLE,
        words="F&O does not have it, or the app's user in F&O may not see it.",
        to_do="Check the name in the settings; make it in F&O; or give the user the roles for it.",
    )


def _webhook(services: Services) -> Iterator[Check]:
    address, _ = services.notified_at()
    try:
        shake_hands(address, services.webhook)
    except AppError as error:
        yield Check(
            name="Webhook",
            grade=Grade.TROUBLE,
            words=str(error),
            to_do="Files are found by the look of every minute until it is mended.",
        )
    else:
        yield Check(
            name="Webhook",
            grade=Grade.OK,
            words="It answers as Graph wants it, when it is called from here. Graph calls it from the internet.",
        )


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
