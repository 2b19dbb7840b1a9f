"""Tells people of trouble: once, again while it stays open, and when it is over. A storm becomes a digest.

Whoever notices trouble only keeps an alert of it (``Services.tell``), which costs a clean run nothing and waits for no
channel. The minute's timer brings it to everybody who is to hear of it: what could not be sent is sent later, and what
was sent is noted afterwards, so that a crash in between tells twice rather than never.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from shared.clients.run_store import LeaseTaken, Mark, address_of
from shared.domain.alert import ROWS_QUOTED, Alert, Message, Notice, at_most, key_of_text
from shared.domain.run import Run
from shared.errors import AppError, NeedsPerson, TryAgain
from shared.log import log
from shared.services import Services

if TYPE_CHECKING:
    from shared.clients.alerts import Channel

# A channel gets at most so many messages in so much time; what would be more waits, and is packed into a digest.
MESSAGES: Final = 5
WITHIN: Final = timedelta(minutes=15)
# Troubles in one digest; the rest is in the next.
DIGEST_HOLDS: Final = 500

# How long before its end a secret or certificate is told of.
ENDS_SOON: Final = timedelta(days=30)

# What a service puts into its words anew each time: trace ids, numbers.
_CHANGING: Final = re.compile(r"[0-9a-fA-F]{4,}(-[0-9a-fA-F]+)*|[0-9]+")

# Who knows whether an alert is over: the first word of its key.
OPEN_RUN: Final = "run"
ENDED_RUN: Final = "ended"
WATCH: Final = "watch"
CREDENTIAL: Final = "credential"
GIVEN_UP: Final = "given-up"


# -- what is told of a run


def tell_of_trouble(run: Run, services: Services) -> None:
    """Keep the alert of a run that is in trouble and has been saved so; trouble that is known already is not told anew.

    Raises nothing: a run must not wait for it, and its next try tells again.
    """
    if run.trouble is None:
        return
    alert = replace(
        _about(run, services),
        key=_key_of_trouble(run),
        title=f"{_what(run)} needs attention",
        text=run.trouble.text,
        since=run.trouble.since,
        stays=True,
    )
    try:
        services.tell(alert)
    except AppError as error:
        log.error("alert.not_kept", title=alert.title, reason=str(error))


def tell_of_end(run: Run, services: Services) -> None:
    """Keep the alert of a run that has ended badly. Raises storage's errors: the run is then ended once more."""
    if run.outcome is None or not run.outcome.needs_telling:
        return
    services.tell(
        replace(
            _about(run, services),
            key=f"{ENDED_RUN}-{run.run_id}",
            title=f"{_what(run)}: {run.outcome.value}",
            text=run.reason or "F&O gave no reason.",
            since=run.ended or services.now(),
        )
    )


def _about(run: Run, services: Services) -> Alert:
    """Return an alert with all that is known of a run."""
    flow = services.integrations.named(run.integration)
    address, app_url = address_of(run), services.settings.app_url
    return Alert(
        key="",
        title="",
        text="",
        since=services.now(),
        flow=run.flow.value,
        integration=run.integration,
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


def _what(run: Run) -> str:
    return f"{run.integration}, {run.file.name}"


def _key_of_trouble(run: Run) -> str:
    """Return the key of a run's trouble; "" where it is in none."""
    return f"{OPEN_RUN}-{run.run_id}-{run.trouble.since:%Y%m%dT%H%M%S%f}" if run.trouble else ""


# -- what is told of the app itself


def watch_alert(title: str, trouble: NeedsPerson, services: Services) -> Alert:
    """Return the alert that the app cannot do the minute's work.

    The same words are the same trouble, whatever ids and times a service puts into them each time.
    """
    key = key_of_text(WATCH, _CHANGING.sub("", trouble.message))
    return Alert(key=key, title=title, text=str(trouble), since=services.now(), stays=True)


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
    """Return what the app as a whole is in trouble with, as it was noticed last. Raises TryAgain, NeedsPerson."""
    keys = services.outbox.keys()
    found = [services.outbox.read(key) for key in keys if key.startswith((WATCH, CREDENTIAL))]
    return [alert for alert in found if alert and not alert.over]


def tell_people(standing: Mapping[str, Sequence[Alert]], services: Services) -> int:
    """Tell everybody what they are to hear now; return how many troubles were spoken of.

    standing: by the first word of their keys, the troubles that stand at this moment and are looked at every minute; an
    area that is left out is one of which nobody knows now. Costs one listing while there is nothing to tell.
    Raises TryAgain and NeedsPerson for trouble with the app's own storage.
    """
    keys = services.outbox.keys()
    if not keys and not any(standing.values()):
        return 0
    try:
        with services.store.lease("alerts"):
            for new in (alert for alerts in standing.values() for alert in alerts if alert.key not in keys):
                services.outbox.put(new)
                keys.append(new.key)
            kept = [alert for key in keys if (alert := services.outbox.read(key))]
            return _tell({alert.key: _looked_at(alert, standing, services) for alert in kept}, services)
    except LeaseTaken:
        return 0  # another worker is at it


def _looked_at(alert: Alert, standing: Mapping[str, Sequence[Alert]], services: Services) -> Alert:
    """Return the alert as it is now: over, if whoever owns the truth says so."""
    if not alert.stays or alert.over:
        return alert
    area = alert.key.partition("-")[0]
    if area == OPEN_RUN:
        is_over = not _is_still_in_trouble(alert, services)
    else:
        is_over = area in standing and alert.key not in {each.key for each in standing[area]}
    return services.outbox.save(replace(alert, over=services.now())) if is_over else alert


def _is_still_in_trouble(alert: Alert, services: Services) -> bool:
    try:
        run = services.store.run_at(alert.run_address)
    except ValueError:
        return True  # the record is damaged, so its lane stands still
    return run is not None and not run.ended and _key_of_trouble(run) == alert.key


def _tell(alerts: dict[str, Alert], services: Services) -> int:
    """Let every channel say what it has to say, and forget the alerts of which all is said."""
    channels: dict[str, Channel] = {}
    audience: dict[str, list[str]] = {}  # names of channels, by alert
    for alert in alerts.values():
        own = services.channels(alert.integration)
        channels |= {channel.name: channel for channel in own}
        audience[alert.key] = [channel.name for channel in own]
    spoken: set[str] = set()
    for name, channel in channels.items():
        due = _due(name, (alert for alert in alerts.values() if name in audience[alert.key]), services)
        for notice in _say(channel, due, services):
            key = notice.alert.key
            alerts[key] = services.outbox.save(alerts[key].after_telling(name, notice.word, services.now()))
            spoken.add(key)
    for alert in alerts.values():
        if alert.may_end and not any(_due(name, [alert], services) for name in audience[alert.key]):
            services.outbox.forget(alert.key)
    return len(spoken)


def _due(channel: str, alerts: Iterable[Alert], services: Services) -> list[Notice]:
    now, remind_after = services.now(), services.settings.alert_remind_after
    return [
        Notice(alert=alert, word=word, last_told=alert.told[channel].at if channel in alert.told else None)
        for alert in alerts
        if (word := alert.word_due(channel, now, remind_after))
    ]


def _say(channel: "Channel", notices: Sequence[Notice], services: Services) -> list[Notice]:
    """Send what a channel has room for, one by one, or all in a digest where that is too much; return what was said."""
    if not notices:
        return []
    mark = services.store.read_mark("alerts")
    tries = _recent(mark, channel.name, services.now())
    room = MESSAGES - len(tries)
    if room <= 0:
        log.info("alert.held", channel=channel.name, notices=len(notices))
        return []
    messages = _messages(notices, room, services)
    said: list[Notice] = []
    for message in messages:
        tries.append(services.now())
        try:
            channel.send(message)
        except AppError as error:
            log.error("alert.failed", channel=channel.name, title=message.title, reason=str(error))
            if isinstance(error, TryAgain):
                break  # it is away, or asks for patience: the others would only take time
            continue
        log.info("alert.told", channel=channel.name, title=message.title, notices=len(message.notices))
        said += message.notices
        if len(message.notices) > 1:
            tries = [services.now()] * MESSAGES  # a digest takes all the room: the storm's rest waits for the next
    _note_tries(mark, channel.name, tries, services)
    return said


def _messages(notices: Sequence[Notice], room: int, services: Services) -> list[Message]:
    if len(notices) <= room:
        return [Message(notices=(notice,)) for notice in at_most(room, notices)]
    app_url = services.settings.app_url
    return [Message(notices=at_most(DIGEST_HOLDS, notices), pages_url=f"{app_url}/api/runs" if app_url else "")]


def _recent(mark: Mark, channel: str, now: datetime) -> list[datetime]:
    """Return when a channel was used of late, whether it worked or not."""
    moments = [datetime.fromisoformat(text) for text in mark.content.get(channel, "").split()]
    return [moment for moment in moments if now - moment < WITHIN]


def _note_tries(mark: Mark, channel: str, tries: Sequence[datetime], services: Services) -> None:
    mark.content[channel] = " ".join(moment.isoformat() for moment in tries)
    services.store.write_mark("alerts", mark)
