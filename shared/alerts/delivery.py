"""Tells people of trouble: once, again while it stays open, and when it is over. A storm becomes a digest.

Whoever notices trouble only keeps an alert of it (``Services.tell``), which costs a clean run nothing and waits for no
channel. The minute's timer brings it to everybody who is to hear of it: what could not be sent is sent later, and what
was sent is noted afterwards, so that a crash in between tells twice rather than never. Channels do not wait for each
other, and no number of alerts makes a tick long: what there is no time for is left to the next one.
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from shared.advice import what_to_do
from shared.alerts.alert import ROWS_QUOTED, Alert, Message, Notice, at_most, key_of_text
from shared.alerts.outbox import AlertUnreadable, Row
from shared.app import Services
from shared.azure_storage.checkpoints import moment_of
from shared.clients.http.context import waiting_at_most
from shared.concurrency import NotInTime, StillRunning, attempted
from shared.errors import AppError, LeaseTaken, RecordChanged, TryAgain
from shared.log import log
from shared.runs.addresses import address_of
from shared.runs.lane import LaneRow, Stop
from shared.runs.record import Damaged
from shared.runs.run import Run

if TYPE_CHECKING:
    from shared.alerts.channels import Channel

# A channel gets at most so many messages in so much time; what would be more waits, and is packed into a digest.
MESSAGES: Final = 5
WITHIN: Final = timedelta(minutes=15)
# Troubles in one digest; the rest is in the next.
DIGEST_HOLDS: Final = 500

# Seconds that a call to storage may wait here, and one to a channel.
CALL_S: Final = 4.0
SEND_S: Final = 8.0
# Seconds within which the calls of each part of telling are begun: to keep alerts, to end them, to read what is to be
# said, to forget. And until which the last of them must have ended.
BEGIN_S: Final = 2.0
PART_S: Final = 4.0
# Seconds for all channels at once. The timer's limit for all of telling stands in ``watch.py``.
CHANNELS_S: Final = 10.0

# The note of when each channel was used of late.
USED: Final = "alerts"

# Tries to note what a channel was told in an alert that another channel's thread writes at the same moment.
TRIES: Final = 10
# Alerts about the app itself that the health page reads.
SHOWN: Final = 50

# How long before its end a secret or certificate is told of.
ENDS_SOON: Final = timedelta(days=30)

# What a service puts into its words anew each time: trace ids, numbers.
_CHANGING: Final = re.compile(r"[0-9a-fA-F]{4,}(-[0-9a-fA-F]+)*|[0-9]+")

# Who knows whether an alert is over: the first word of its key.
OPEN_RUN: Final = "run"
ENDED_RUN: Final = "ended"
WATCH: Final = "watch"
SCAN: Final = "scan"
STRAY: Final = "stray"  # lies in an Input folder and is no file
CREDENTIAL: Final = "credential"
GIVEN_UP: Final = "given-up"
STOPPED: Final = "stopped"
RECORD: Final = "record"  # of a run, which cannot be read
DAMAGED: Final = "damaged"  # what follows is the key of the alert that cannot be read


# What the health page shows of the app as a whole.
SHOWN_AREAS: Final = frozenset({WATCH, STRAY, CREDENTIAL, STOPPED, RECORD, DAMAGED})


# -- what is told of a run


def tell_of_trouble(run: Run, services: Services) -> None:
    """Keep the alert of a run that is in trouble and has been saved so; trouble that is known already is not told anew.

    Raises nothing: a run must not wait for it, and its next try tells again.
    """
    if run.problem is None:
        return
    alert = replace(
        _about(run, services),
        key=_key_of_trouble(run),
        title=f"{_what(run)} needs attention",
        text=run.problem.text,
        since=run.problem.since,
        stays=True,
    )
    try:
        services.outbox.put(alert)
    except AppError as error:
        log.error("alert.not_kept", title=alert.title, reason=str(error))


def tell_of_end(run: Run, services: Services) -> None:
    """Keep the alert of a run that has ended badly. Raises storage's errors: the run is then ended once more."""
    if run.outcome is None or not run.outcome.needs_telling:
        return
    services.outbox.put(
        replace(
            _about(run, services),
            key=f"{ENDED_RUN}-{run.run_id}",
            title=f"{_what(run)}: {run.outcome.value}",
            text=" ".join(
                _ended(part)
                for part in (run.reason or "F&O gave no reason", what_to_do(run), passed_words(run))
                if part
            ),
            since=run.ended or services.now(),
        )
    )


def _ended(text: str) -> str:
    """Return words of a service or of ours with a full stop, so that more can follow."""
    return text if text.endswith((".", "!", "?", ":")) else f"{text}."


def _about(run: Run, services: Services) -> Alert:
    """Return an alert with all that is known of a run."""
    flow = services.settings.flows.named(run.flow_name)
    address, app_url = address_of(run), services.settings.app_url
    return Alert(
        key="",
        title="",
        text="",
        since=services.now(),
        flow=run.direction.value,
        integration=run.flow_name,
        file_name=run.file.name,
        company=run.company,
        data_project=run.data_project,
        execution_id=run.execution_id,
        outcome=run.outcome.value if run.outcome else "",
        run_id=run.run_id,
        run_address=address,
        rows=run.failed_rows[:ROWS_QUOTED],
        rows_total=run.failed_rows_total,
        run_url=f"{app_url}/api/runs/{address}" if app_url else "",
        fo_url=run.summary_url or (flow.environment_url if flow else ""),
        report_url=run.report_url,
        file_url=run.file.web_url,
    )


def passed_words(run: Run) -> str:
    """Return which later files were taken up before a run that was set aside; "" if none was."""
    if not run.passed_by:
        return ""
    more = run.passed_by_total - len(run.passed_by)
    names = ", ".join(run.passed_by) + (f" and {more} more" if more > 0 else "")
    return f"It was set aside for a while, so these later files of its flow were taken up before it: {names}."


def _what(run: Run) -> str:
    return f"{run.flow_name}, {run.file.name}"


def _key_of_trouble(run: Run) -> str:
    """Return the key of a run's trouble; "" where it is in none."""
    return f"{OPEN_RUN}-{run.run_id}-{run.problem.since:%Y%m%dT%H%M%S%f}" if run.problem else ""


# -- what is told of records and flows


def damage_alert(row: LaneRow, services: Services) -> Alert:
    """Return the alert that the record of an open run cannot be read."""
    busy = "keeps its lane busy, because F&O may be working on it"
    what = "is passed by the others of its lane" if row.is_passed else busy
    app_url = services.settings.app_url
    return Alert(
        key=key_of_text(RECORD, f"{row.lane}/{row.sort_key}"),
        title=f"The record of a run is damaged: {row.file_name or row.sort_key}",
        text=f"The record open/{row.lane}/{row.sort_key} in the container 'runs' cannot be read: {row.damage}. "
        f"It {what}. If a newer version of the app wrote it, deploy that version. Otherwise see in F&O under Data "
        "management > Job history what became of the file, then press 'Put aside' on its page: the record is moved to "
        "damaged/.",
        since=services.now(),
        stays=True,
        flow="import" if row.lane.startswith("in-") else "export",
        integration=row.flow_name,
        file_name=row.file_name,
        run_id=row.run_id,
        run_address=row.address,
        run_url=f"{app_url}/api/runs/{row.address}" if app_url else "",
    )


def tell_of_damage(row: LaneRow, services: Services) -> None:
    """Keep the alert of a record that cannot be read. Raises nothing: it is told again at the next try."""
    log.error("record.damaged", lane=row.lane, order=row.sort_key, reason=row.damage)
    try:
        services.outbox.put(damage_alert(row, services))
    except AppError as error:
        log.error("alert.not_kept", title=f"damaged record {row.sort_key}", reason=str(error))


def stop_alerts(stops: Sequence[Stop], services: Services) -> list[Alert]:
    """Return the alerts of flows that stand still: one for each flow, or one for the environment if F&O refuses."""
    alerts: dict[str, Alert] = {}
    for stop in stops:
        flow = services.settings.flows.named(stop.flow_name)
        is_fo = "|F&O|" in stop.refusal
        scope = flow.environment_url if flow and is_fo else f"{stop.lane} {stop.flow_name}"
        who = "F&O refuses the files" if is_fo else "OneDrive refuses the files"
        key = key_of_text(STOPPED, f"{scope} {stop.refusal}")
        alerts[key] = Alert(
            key=key,
            title=f"{stop.flow_name}: {who} one after the other",
            text=f"At least two files of {stop.flow_name} met the same refusal, and none got through in between: "
            f"{stop.text} No file has failed. They wait, one of them tries every few minutes, and all go on by "
            "themselves once it gets through.",
            since=stop.since,
            stays=True,
            flow="import",
            integration=stop.flow_name,
            fo_url=flow.environment_url if flow and is_fo else "",
        )
    return list(alerts.values())


# -- what is told of the app itself


def watch_alert(title: str, duty: str, trouble: AppError, services: Services) -> Alert:
    """Return the alert that a person must act before the app can do a duty of the minute's timer.

    The same words are the same trouble, whatever ids and times a service puts into them each time.
    """
    key = key_of_text(WATCH, _CHANGING.sub("", trouble.message))
    return Alert(key=key, title=title, text=str(trouble), since=services.now(), stays=True, duty=duty)


def duty_alert(duty: str, trouble: Exception, services: Services) -> Alert:
    """Return the alert that a duty of the timer has a bug, or does not end."""
    if isinstance(trouble, StillRunning):
        kind, title = "overran", f"The timer's duty '{duty}' does not end"
        text = (
            f"{trouble.message}. The other duties go on without it. If this stays, restart the function app and report "
            "it, with the lines duty.overran and duty.still_running of the log."
        )
    else:
        kind, title = type(trouble).__name__, f"The app has a bug in the timer's duty '{duty}'"
        text = (
            f"The app has a bug: {type(trouble).__name__} in the timer's duty '{duty}'; the log holds the traceback "
            "(duty.broke). Report it with that. The other duties go on, and this one is tried again every minute."
        )
    key = key_of_text(WATCH, f"{duty} {kind}")
    return Alert(key=key, title=title, text=text, since=services.now(), stays=True, duty=duty)


def credential_alerts(services: Services) -> list[Alert]:
    """Return the alert that the app's own secret or certificate ends soon, if it does."""
    ends, credentials = services.credential_ends, services.settings.credentials
    if ends is None or ends - services.now() > ENDS_SOON:
        return []
    what, to_do = (
        ("certificate", "Put a new one, which Entra ID knows, in place of the file AZURE_CLIENT_CERTIFICATE_PATH.")
        if credentials.certificate_path
        else (
            "client secret",
            "Make a new one in Entra ID (App registrations > Certificates & secrets), put its value into "
            "AZURE_CLIENT_SECRET and its end into CLIENT_SECRET_EXPIRES.",
        )
    )
    verb = "ends" if ends > services.now() else "has ended"
    text = f"The {what} with which the app signs in {verb} on {ends:%Y-%m-%d}. After that nothing works. {to_do}"
    alert = Alert(
        key=key_of_text(CREDENTIAL, f"{what} {ends}"),
        title=f"The app's {what} {verb} on {ends:%Y-%m-%d}",
        text=text,
        since=services.now(),
        stays=True,
    )
    return [alert]


def given_up_alert(queue: str, what: str, title: str, text: str, services: Services) -> Alert:
    """Return the alert of a message that the host gave up on; told again it is another one."""
    now = services.now()
    return Alert(key=key_of_text(GIVEN_UP, f"{queue} {what} {now}"), title=title, text=text, since=now)


# -- telling


def standing(services: Services) -> list[Alert]:
    """Return what the app as a whole is in trouble with, as it was noticed last. Raises TryAgain, NeedsPerson.

    Input folders that cannot be scanned are not among it: the note of scans tells of them.
    """
    keys = [row.key for row in services.outbox.rows() if _area(row.key) in SHOWN_AREAS]
    found: list[Alert] = []
    for key in keys[:SHOWN]:
        try:
            alert = services.outbox.read(key)
        except AlertUnreadable as error:
            alert = _unreadable(key, error, services)
        if alert and not alert.over:
            found.append(alert)
    return found


def damages(services: Services) -> list[Alert]:
    """Return the alerts of records that could not be read. Raises TryAgain, NeedsPerson."""
    return [alert for alert in standing(services) if _area(alert.key) == RECORD]


def tell_people(
    standing: Mapping[str, Sequence[Alert]],
    services: Services,
    *,
    is_unsure: Callable[[Alert], bool] = lambda _alert: False,
) -> int:
    """Tell everybody what they are to hear now; return how many troubles were spoken of.

    standing: by the first word of their keys, the troubles that stand at this moment and are looked at every minute; an
    area that is left out is one of which nobody knows now.
    is_unsure: whether nobody knows at this moment if an alert of the other areas is over (its words are not given).
    Costs one listing while there is nothing to tell. Raises the first error once all is tried: TryAgain and NeedsPerson
    for trouble with the app's own storage, and whatever a bug raises.
    """
    with waiting_at_most(SEND_S):
        with waiting_at_most(CALL_S):
            rows = services.outbox.rows()
        if not rows and not any(standing.values()):
            return 0
        try:
            with services.leases.hold("alerts"):
                return _Telling(rows, services).tell(standing, is_unsure)
        except LeaseTaken:
            return 0  # another worker is at it


class _Telling:
    """One time that people are told, under the lease. Each part does what it can; errors are kept for the end."""

    def __init__(self, rows: Sequence[Row], services: Services) -> None:
        self._services = services
        self._keys = {row.key for row in rows}
        # What is known of each alert without its words, which are read when they are said.
        self._states = {row.key: row.state for row in rows if row.state}
        self._reported = {_subject(key) for key in self._keys if _area(key) == DAMAGED}  # those that cannot be read
        self._channels: dict[str, Sequence[Channel]] = {}  # by import or export
        self._errors: list[Exception] = []

    def tell(self, standing: Mapping[str, Sequence[Alert]], is_unsure: Callable[[Alert], bool]) -> int:
        """Do all of it, as ``tell_people`` says."""
        with waiting_at_most(CALL_S):
            self._keep([alert for alerts in standing.values() for alert in alerts])
            self._read_those_without_state()
            self._end(standing, is_unsure)
        spoken = self._tell_channels()
        with waiting_at_most(CALL_S):
            self._forget()
        if self._errors:
            raise self._errors[0]
        return spoken

    def _about(self, what: str, work: Mapping[str, Callable[[], Alert | None]]) -> None:
        """Do something about alerts, by their keys, and know them as they are afterwards."""

        def attempt(key: str) -> Alert | None:
            try:
                return work[key]()
            except AlertUnreadable as error:
                return _report_unreadable(key, error, self._services)
            except RecordChanged:
                return None  # by somebody else, at this moment; it waits for the next time

        ended = self._services.duties.attempt_all(
            {f"{what} alert {key}": partial(attempt, key) for key in work}, limit_s=PART_S, begin_within_s=BEGIN_S
        )
        for each in ended.values():
            if each.result:
                self._states[each.result.key] = each.result
            elif each.error and not isinstance(each.error, NotInTime):  # what there was no time for waits, too
                self._errors.append(each.error)

    # -- what there is to tell

    def _keep(self, alerts: Sequence[Alert]) -> None:
        def keep(alert: Alert) -> Alert:
            self._services.outbox.put(alert)
            return alert

        self._about("keep", {alert.key: partial(keep, alert) for alert in alerts if alert.key not in self._keys})

    def _read_those_without_state(self) -> None:
        """Read what older versions have kept, and save it so that a listing tells of it the next time."""

        def read(key: str) -> Alert | None:
            alert = self._services.outbox.read(key)
            return self._services.outbox.save(alert) if alert else None

        unknown = sorted(self._keys - self._states.keys() - self._reported)
        self._about("read", {key: partial(read, key) for key in unknown})

    # -- what is over

    def _end(self, standing: Mapping[str, Sequence[Alert]], is_unsure: Callable[[Alert], bool]) -> None:
        """Let alerts be over if whoever owns the truth says so."""
        stands = {alert.key for alerts in standing.values() for alert in alerts}
        still_open = [alert for alert in self._states.values() if alert.stays and not alert.over]
        gone = [alert for alert in still_open if _area(alert.key) in standing and alert.key not in stands]
        self._about("end", {alert.key: partial(self._over, alert.key) for alert in gone if not is_unsure(alert)})
        # One call for each, so there may not be time for all: those that were looked at last come last.
        looked_at = self._services.alert_memory.checked_at
        asked = [alert for alert in still_open if _area(alert.key) in IS_OPEN]
        asked.sort(key=lambda alert: looked_at.get(alert.key, 0.0))
        self._about("look at", {alert.key: partial(self._look_at, alert) for alert in asked})
        for key in looked_at.keys() - self._keys:
            looked_at.pop(key, None)

    def _look_at(self, alert: Alert) -> Alert | None:
        self._services.alert_memory.checked_at[alert.key] = time.monotonic()
        is_open = IS_OPEN[_area(alert.key)]
        return None if is_open(alert, self._services) else self._over(alert.key)

    def _over(self, key: str) -> Alert | None:
        alert = self._services.outbox.read(key)
        if alert is None:
            return None
        passed = _passed_words_of(alert, self._services) if _area(key) == OPEN_RUN else ""
        over = replace(alert, text=f"{alert.text} {passed}".strip(), over=self._services.now())
        return self._services.outbox.save(over)

    # -- telling

    def _tell_channels(self) -> int:
        """Let every channel say what it has to say, all at once; return how many alerts were spoken of."""
        channels: dict[str, Channel] = {}
        due: dict[str, list[Notice]] = {}
        for key, alert in self._states.items():
            for channel in () if key in self._reported else self._audience(alert):
                channels[channel.name] = channel
                due.setdefault(channel.name, []).extend(_due(channel.name, [alert], self._services))
        work = {
            f"tell {name}": partial(_tell_channel, channels[name], notices, self._services)
            for name, notices in due.items()
            if notices
        }
        spoken: set[str] = set()
        for attempt in self._services.duties.attempt_all(work, limit_s=CHANNELS_S, at_once=len(work)).values():
            if attempt.error:
                self._errors.append(attempt.error)
            for alert in attempt.result or ():
                spoken.add(alert.key)
                told = {**self._states[alert.key].told, **alert.told}
                self._states[alert.key] = replace(alert, told=told)
        return len(spoken)

    def _audience(self, alert: Alert) -> "Sequence[Channel]":
        if alert.integration not in self._channels:
            self._channels[alert.integration] = self._services.channels(alert.integration)
        return self._channels[alert.integration]

    def _forget(self) -> None:
        """Delete the alerts of which all is said."""

        def forget(key: str) -> None:
            self._services.outbox.forget(key)

        ended = [alert for alert in self._states.values() if alert.may_end]
        said = [
            alert.key
            for alert in ended
            if not any(_due(channel.name, [alert], self._services) for channel in self._audience(alert))
        ]
        self._about("forget", {key: partial(forget, key) for key in said})


def _area(key: str) -> str:
    return key.partition("-")[0]


def _subject(key: str) -> str:
    """Return the key of the alert that cannot be read, as the alert about that is called."""
    return key.partition("-")[2]


def _is_still_in_trouble(alert: Alert, services: Services) -> bool:
    try:
        run = services.store.run_at(alert.run_address)
    except Damaged:
        return True  # nobody knows
    return run is not None and not run.ended and _key_of_trouble(run) == alert.key


def _passed_words_of(alert: Alert, services: Services) -> str:
    """Return which later files were taken up before a run that was set aside and has gone on."""
    try:
        run = services.store.run_at(alert.run_address)
    except Damaged:
        return ""
    return passed_words(run) if run else ""


def _is_still_damaged(alert: Alert, services: Services) -> bool:
    try:
        run = services.store.run_at(alert.run_address)
    except Damaged:
        return True
    row = services.store.row_at(run.lane, run.sort_key) if run and not run.ended else None
    return row is not None and row.damage != ""


def _is_still_unreadable(alert: Alert, services: Services) -> bool:
    try:
        services.outbox.read(_subject(alert.key))
    except AlertUnreadable:
        return True
    return False


def _report_unreadable(key: str, error: AlertUnreadable, services: Services) -> Alert | None:
    """Keep an alert that another one cannot be read; return it, None if it is reported already."""
    if _area(key) == DAMAGED:
        log.error("alert.unreadable", key=key, reason=error.message)
        return None
    alert = _unreadable(key, error, services)
    if not services.outbox.put(alert):
        return None
    log.error("alert.unreadable", key=key, reason=error.message)
    return alert


def _unreadable(key: str, error: AlertUnreadable, services: Services) -> Alert:
    return Alert(
        key=f"{DAMAGED}-{key}", title="An alert cannot be read", text=error.message, since=services.now(), stays=True
    )


# Alerts of which another record tells whether they are over, by the first word of their keys.
IS_OPEN: Final[dict[str, Callable[[Alert, Services], bool]]] = {
    OPEN_RUN: _is_still_in_trouble,
    RECORD: _is_still_damaged,
    DAMAGED: _is_still_unreadable,
}


def _due(channel: str, alerts: Iterable[Alert], services: Services) -> list[Notice]:
    now, remind_after = services.now(), services.settings.alert_remind_after
    return [
        Notice(alert=alert, word=word, last_told=alert.told[channel].at if channel in alert.told else None)
        for alert in alerts
        if (word := alert.word_due(channel, now, remind_after))
    ]


# -- one channel, in a thread of its own


def _tell_channel(channel: "Channel", due: Sequence[Notice], services: Services) -> list[Alert]:
    """Send what a channel has room for, one by one, or all in a digest if that is too much; return what was told.

    due: without the words, which are read here.
    """
    tries = _recent(channel.name, services)
    room = MESSAGES - len(tries)
    if room <= 0:
        log.info("alert.held", channel=channel.name, notices=len(due))
        return []
    chosen = at_most(room if len(due) <= room else DIGEST_HOLDS, due)
    messages = _messages(_with_words(chosen, channel.name, services), room, services)
    told: list[Alert] = []
    if not messages:
        return told
    try:
        for message in messages:
            tries.append(services.now())
            sent = attempted(f"send to {channel.name}", partial(channel.send, message))
            if sent.error:
                log.error("alert.failed", channel=channel.name, title=message.title, reason=str(sent.error))
                if isinstance(sent.error, TryAgain):
                    break  # it is away, or asks for patience: the others would only take time
                continue
            log.info("alert.told", channel=channel.name, title=message.title, notices=len(message.notices))
            if len(message.notices) > 1:
                tries = [services.now()] * MESSAGES  # a digest takes all the room: the storm's rest waits for the next
            told += _note_told(message, channel.name, services)
    finally:
        _note_tries(channel.name, tries, services)
    return told


def _with_words(due: Sequence[Notice], channel: str, services: Services) -> list[Notice]:
    """Return what is still to be said to a channel, with the words; what cannot be read in time waits."""

    def read(notice: Notice) -> list[Notice]:
        key = notice.alert.key
        try:
            whole = services.outbox.read(key)
        except AlertUnreadable as error:
            _report_unreadable(key, error, services)
            return []
        return _due(channel, [whole] if whole else [], services)

    work = {f"read alert {notice.alert.key} for {channel}": partial(read, notice) for notice in due}
    with waiting_at_most(CALL_S):
        ended = services.duties.attempt_all(work, limit_s=PART_S, begin_within_s=BEGIN_S)
    return [notice for attempt in ended.values() for notice in attempt.result or ()]


def _note_told(message: Message, channel: str, services: Services) -> list[Alert]:
    """Save in every alert of a message that the channel was told; return them. Raises the first error, TryAgain."""

    def note(notice: Notice) -> Alert | None:
        alert: Alert | None = notice.alert
        for _ in range(TRIES):
            if alert is None:
                return None  # a person has deleted it
            try:
                return services.outbox.save(alert.after_telling(channel, notice.word, services.now()))
            except RecordChanged:  # by another channel's thread
                alert = services.outbox.read(notice.alert.key)
        raise TryAgain(f"The alert {notice.alert.key} is written again and again by others")

    work = {f"note alert {notice.alert.key} for {channel}": partial(note, notice) for notice in message.notices}
    with waiting_at_most(CALL_S):
        ended = services.duties.attempt_all(work, limit_s=None)
    for attempt in ended.values():
        if attempt.error:
            raise attempt.error
    return [attempt.result for attempt in ended.values() if attempt.result]


def _messages(notices: Sequence[Notice], room: int, services: Services) -> list[Message]:
    if len(notices) <= room:
        return [Message(notices=(notice,)) for notice in at_most(room, notices)]
    app_url = services.settings.app_url
    return [Message(notices=at_most(DIGEST_HOLDS, notices), pages_url=f"{app_url}/api/runs" if app_url else "")]


def _recent(channel: str, services: Services) -> list[datetime]:
    """Return when a channel was used of late, whether it worked or not."""
    texts = services.checkpoints.read(USED).content.get(channel, "").split()
    moments = [moment for text in texts if (moment := moment_of(text))]
    return [moment for moment in moments if services.now() - moment < WITHIN]


def _note_tries(channel: str, tries: Sequence[datetime], services: Services) -> None:
    def note(content: dict[str, str]) -> None:
        content[channel] = " ".join(moment.isoformat() for moment in tries)

    services.checkpoints.change(USED, note)
