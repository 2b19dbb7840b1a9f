"""Sends what is pending through one channel: few messages in a quarter of an hour, the rest as a digest.

A message counts whether it worked or not. What was sent is saved in each alert afterwards.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from shared.alerts.alert import Alert
from shared.alerts.app_alerts import report_unreadable
from shared.alerts.message import Message, Notification, oldest
from shared.alerts.outbox import AlertUnreadable
from shared.app import Services
from shared.clients.http.context import waiting_at_most
from shared.concurrency import attempted
from shared.errors import RecordChanged, TryAgain
from shared.log import log
from shared.moments import moment_or_none

if TYPE_CHECKING:
    from shared.alerts.channels import Channel

# A channel gets at most so many messages in so much time; what would be more waits, and is packed into a digest.
MESSAGES: Final = 5
WITHIN: Final = timedelta(minutes=15)
# Alerts in one digest; the rest is in the next.
DIGEST_HOLDS: Final = 500

# Seconds that a call to storage may wait here, and one to a channel.
CALL_S: Final = 4.0
SEND_S: Final = 8.0
# Seconds within which the calls of each part of a delivery are begun: to queue alerts, to resolve them, to read what is
# to be sent, to delete. And until which the last of them must have ended.
BEGIN_S: Final = 2.0
PART_S: Final = 4.0

# The checkpoint of when each channel was used lately.
USED: Final = "alerts"

# Tries to save what a channel was sent in an alert that another channel's thread writes at the same moment.
TRIES: Final = 10


def pending_notifications(channel: str, alerts: Iterable[Alert], services: Services) -> list[Notification]:
    """Return what is to be sent to a channel about alerts now."""
    now, remind_after = services.now(), services.settings.alert_remind_after
    return [
        Notification(
            alert=alert,
            kind=kind,
            previous=alert.notified[channel].at if channel in alert.notified else None,
        )
        for alert in alerts
        if (kind := alert.next_notification(channel, now, remind_after))
    ]


def send_through(channel: "Channel", pending: Sequence[Notification], services: Services) -> list[Alert]:
    """Send what a channel has room for, one by one, or all in a digest if that is too much; return what was sent.

    pending: without titles and texts, which are read here.
    """
    uses = _recent_uses(channel.name, services)
    room = MESSAGES - len(uses)
    if room <= 0:
        log.info("alert.held", channel=channel.name, notifications=len(pending))
        return []
    chosen = oldest(room if len(pending) <= room else DIGEST_HOLDS, pending)
    messages = _messages(_read_texts(chosen, channel.name, services), room, services)
    sent: list[Alert] = []
    if not messages:
        return sent
    try:
        for message in messages:
            uses.append(services.now())
            attempt = attempted(f"send to {channel.name}", partial(channel.send, message))
            if attempt.error:
                log.error("alert.failed", channel=channel.name, title=message.title, reason=str(attempt.error))
                if isinstance(attempt.error, TryAgain):
                    break  # it is away, or asks for patience: the others would only take time
                continue
            log.info(
                "alert.delivered", channel=channel.name, title=message.title, notifications=len(message.notifications)
            )
            if len(message.notifications) > 1:
                uses = [services.now()] * MESSAGES  # a digest takes all the room: the rest waits for the next
            sent += _save_sent(message, channel.name, services)
    finally:
        _save_uses(channel.name, uses, services)
    return sent


def _read_texts(pending: Sequence[Notification], channel: str, services: Services) -> list[Notification]:
    """Return what is still pending for a channel, with titles and texts; what cannot be read in time waits."""

    def read(notification: Notification) -> list[Notification]:
        key = notification.alert.key
        try:
            alert = services.outbox.read(key)
        except AlertUnreadable as error:
            report_unreadable(key, error, services)
            return []
        return pending_notifications(channel, [alert] if alert else [], services)

    work = {f"read alert {each.alert.key} for {channel}": partial(read, each) for each in pending}
    with waiting_at_most(CALL_S):
        ended = services.duties.attempt_all(work, limit_s=PART_S, begin_within_s=BEGIN_S)
    return [notification for attempt in ended.values() for notification in attempt.result or ()]


def _save_sent(message: Message, channel: str, services: Services) -> list[Alert]:
    """Save in every alert of a message that the channel was sent it; return them. Raises the first error, TryAgain."""

    def save(notification: Notification) -> Alert | None:
        alert: Alert | None = notification.alert
        for _ in range(TRIES):
            if alert is None:
                return None  # a person has deleted it
            try:
                return services.outbox.save(alert.after_notification(channel, notification.kind, services.now()))
            except RecordChanged:  # by another channel's thread
                alert = services.outbox.read(notification.alert.key)
        raise TryAgain(f"The alert {notification.alert.key} is being changed by other workers")

    work = {f"save alert {each.alert.key} for {channel}": partial(save, each) for each in message.notifications}
    with waiting_at_most(CALL_S):
        ended = services.duties.attempt_all(work, limit_s=None)
    for attempt in ended.values():
        if attempt.error:
            raise attempt.error
    return [attempt.result for attempt in ended.values() if attempt.result]


def _messages(notifications: Sequence[Notification], room: int, services: Services) -> list[Message]:
    if len(notifications) <= room:
        return [Message(notifications=(each,)) for each in oldest(room, notifications)]
    app_url = services.settings.app_url
    return [
        Message(notifications=oldest(DIGEST_HOLDS, notifications), pages_url=f"{app_url}/api/runs" if app_url else "")
    ]


def _recent_uses(channel: str, services: Services) -> list[datetime]:
    """Return when a channel was used lately, whether it worked or not."""
    texts = services.checkpoints.read(USED).content.get(channel, "").split()
    moments = [moment for text in texts if (moment := moment_or_none(text))]
    return [moment for moment in moments if services.now() - moment < WITHIN]


def _save_uses(channel: str, uses: Sequence[datetime], services: Services) -> None:
    def change(content: dict[str, str]) -> None:
        content[channel] = " ".join(moment.isoformat() for moment in uses)

    services.checkpoints.change(USED, change)
