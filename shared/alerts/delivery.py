"""Sends alerts to people: once, again while they stay open, and once they are resolved; many at once as a digest.

Whoever notices a problem only queues an alert (``Outbox.put``), which costs a clean run nothing and waits
for no channel. The minute's timer sends what is pending to every channel: what could not be sent is sent later. What
was sent is saved afterwards, so a crash in between sends twice rather than never. Channels do not wait for each other,
and no number of alerts makes a tick long: what there is no time for is left to the next one.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from shared.alerts import run_alerts, sending
from shared.alerts.alert import Alert, Category, category_of
from shared.alerts.app_alerts import report_unreadable, unreadable_alert
from shared.alerts.message import Notification
from shared.alerts.outbox import AlertUnreadable, Row
from shared.alerts.sending import pending_notifications
from shared.app import Services
from shared.clients.http.context import waiting_at_most
from shared.concurrency import NotInTime
from shared.errors import LeaseTaken, RecordChanged

if TYPE_CHECKING:
    from shared.alerts.channels import Channel

# Seconds for all channels at once. The limit for the whole duty is in ``inbound_trigger/keep_watch.py``.
CHANNELS_S: Final = 10.0
# Alerts about the app itself that the health page reads.
SHOWN: Final = 50

# What the health page shows of the app as a whole. Its checks of Input folders come from the checkpoint of scans.
SHOWN_CATEGORIES: Final = frozenset(
    {
        Category.TIMER,
        Category.STRAY,
        Category.CREDENTIAL,
        Category.STOPPED_FLOW,
        Category.DAMAGED_RECORD,
        Category.UNREADABLE_ALERT,
    }
)


def active_alerts(services: Services) -> list[Alert]:
    """Return the alerts about the app as a whole that are not resolved. Raises TryAgain, NeedsPerson."""
    keys = [row.key for row in services.outbox.rows() if category_of(row.key) in SHOWN_CATEGORIES]
    found: list[Alert] = []
    for key in keys[:SHOWN]:
        try:
            alert = services.outbox.read(key)
        except AlertUnreadable as error:
            alert = unreadable_alert(key, error, services)
        if alert and not alert.resolved:
            found.append(alert)
    return found


def damaged_record_alerts(services: Services) -> list[Alert]:
    """Return the active alerts about records that cannot be read. Raises TryAgain, NeedsPerson."""
    return [alert for alert in active_alerts(services) if category_of(alert.key) == Category.DAMAGED_RECORD]


def deliver_alerts(
    active: Mapping[str, Sequence[Alert]],
    services: Services,
    *,
    is_unsure: Callable[[Alert], bool] = lambda _alert: False,
) -> int:
    """Send what is pending to every channel; return how many alerts were sent. Delete what is delivered and closed.

    active: the active alerts of the categories whose problems are checked every minute, by category. An alert of such
    a category that is not among them is resolved; a category that is left out is unknown now, so its alerts stay open.
    is_unsure: returns whether it is unknown now if an alert is resolved (its title and text are not given).
    Costs one listing if there is nothing to send. Raises the first error once everything was tried: TryAgain and
    NeedsPerson if the app's own storage fails, and whatever a bug raises.
    """
    with waiting_at_most(sending.SEND_S):
        with waiting_at_most(sending.CALL_S):
            rows = services.outbox.rows()
        if not rows and not any(active.values()):
            return 0
        try:
            with services.leases.hold("alerts"):
                return _Delivery(rows, services).run(active, is_unsure)
        except LeaseTaken:
            return 0  # another worker is delivering them


class _Delivery:
    """One delivery, under the lease. Each part does what it can; errors are kept for the end."""

    def __init__(self, rows: Sequence[Row], services: Services) -> None:
        self._services = services
        self._keys = {row.key for row in rows}
        # Each alert without title and text, which are read when it is sent.
        self._states = {row.key: row.state for row in rows if row.state}
        self._reported = {_subject(key) for key in self._keys if category_of(key) == Category.UNREADABLE_ALERT}
        self._channels: dict[str, Sequence[Channel]] = {}  # by flow
        self._errors: list[Exception] = []

    def run(self, active: Mapping[str, Sequence[Alert]], is_unsure: Callable[[Alert], bool]) -> int:
        """Do all of it, as ``deliver_alerts`` says."""
        with waiting_at_most(sending.CALL_S):
            self._queue([alert for alerts in active.values() for alert in alerts])
            self._read_those_without_state()
            self._resolve(active, is_unsure)
        sent = self._send()
        with waiting_at_most(sending.CALL_S):
            self._delete()
        if self._errors:
            raise self._errors[0]
        return sent

    def _for_each(self, verb: str, work: Mapping[str, Callable[[], Alert | None]]) -> None:
        """Do something with alerts, by their keys, and remember what each is afterwards."""

        def attempt(key: str) -> Alert | None:
            try:
                return work[key]()
            except AlertUnreadable as error:
                return report_unreadable(key, error, self._services)
            except RecordChanged:
                return None  # by another worker at this moment; it waits for the next time

        ended = self._services.duties.attempt_all(
            {f"{verb} alert {key}": partial(attempt, key) for key in work},
            limit_s=sending.PART_S,
            begin_within_s=sending.BEGIN_S,
        )
        for each in ended.values():
            if each.result:
                self._states[each.result.key] = each.result
            elif each.error and not isinstance(each.error, NotInTime):  # what there was no time for waits, too
                self._errors.append(each.error)

    # -- which alerts there are

    def _queue(self, alerts: Sequence[Alert]) -> None:
        def put(alert: Alert) -> Alert:
            self._services.outbox.put(alert)
            return alert

        self._for_each("queue", {alert.key: partial(put, alert) for alert in alerts if alert.key not in self._keys})

    def _read_those_without_state(self) -> None:
        """Read what older versions have queued, and save it so that a listing shows its state the next time."""

        def read(key: str) -> Alert | None:
            alert = self._services.outbox.read(key)
            return self._services.outbox.save(alert) if alert else None

        unknown = sorted(self._keys - self._states.keys() - self._reported)
        self._for_each("read", {key: partial(read, key) for key in unknown})

    # -- which of them are resolved

    def _resolve(self, active: Mapping[str, Sequence[Alert]], is_unsure: Callable[[Alert], bool]) -> None:
        """Mark alerts resolved if their source no longer reports them."""
        active_keys = {alert.key for alerts in active.values() for alert in alerts}
        still_open = [alert for alert in self._states.values() if alert.is_ongoing and not alert.resolved]
        gone = [alert for alert in still_open if category_of(alert.key) in active and alert.key not in active_keys]
        self._for_each(
            "resolve", {alert.key: partial(self._mark_resolved, alert.key) for alert in gone if not is_unsure(alert)}
        )
        # One call for each, so there may not be time for all: those that were checked last come last.
        checked = self._services.alert_memory.checked_at
        asked = [alert for alert in still_open if category_of(alert.key) in IS_ACTIVE]
        asked.sort(key=lambda alert: checked.get(alert.key, 0.0))
        self._for_each("check", {alert.key: partial(self._check, alert) for alert in asked})
        for key in checked.keys() - self._keys:
            checked.pop(key, None)

    def _check(self, alert: Alert) -> Alert | None:
        self._services.alert_memory.checked_at[alert.key] = time.monotonic()
        is_active = IS_ACTIVE[category_of(alert.key)]
        return None if is_active(alert, self._services) else self._mark_resolved(alert.key)

    def _mark_resolved(self, key: str) -> Alert | None:
        alert = self._services.outbox.read(key)
        if alert is None:
            return None
        is_run = category_of(key) == Category.OPEN_RUN
        passed_by = run_alerts.passed_by_text_of(alert, self._services) if is_run else ""
        resolved = replace(alert, text=f"{alert.text} {passed_by}".strip(), resolved=self._services.now())
        return self._services.outbox.save(resolved)

    # -- sending them

    def _send(self) -> int:
        """Send through all channels at once; return how many alerts were sent."""
        channels: dict[str, Channel] = {}
        pending: dict[str, list[Notification]] = {}
        for key, alert in self._states.items():
            for channel in () if key in self._reported else self._channels_of(alert):
                channels[channel.name] = channel
                pending.setdefault(channel.name, []).extend(
                    pending_notifications(channel.name, [alert], self._services)
                )
        work = {
            f"tell {name}": partial(sending.send_through, channels[name], notifications, self._services)
            for name, notifications in pending.items()
            if notifications
        }
        sent: set[str] = set()
        for attempt in self._services.duties.attempt_all(work, limit_s=CHANNELS_S, at_once=len(work)).values():
            if attempt.error:
                self._errors.append(attempt.error)
            for alert in attempt.result or ():
                sent.add(alert.key)
                notified = {**self._states[alert.key].notified, **alert.notified}
                self._states[alert.key] = replace(alert, notified=notified)
        return len(sent)

    def _channels_of(self, alert: Alert) -> "Sequence[Channel]":
        if alert.flow_name not in self._channels:
            self._channels[alert.flow_name] = self._services.channels(alert.flow_name)
        return self._channels[alert.flow_name]

    def _delete(self) -> None:
        """Delete the alerts that are closed and of which nothing is pending."""

        def delete(key: str) -> None:
            self._services.outbox.delete(key)

        done = [
            alert.key
            for alert in self._states.values()
            if alert.is_closed
            and not any(
                pending_notifications(channel.name, [alert], self._services) for channel in self._channels_of(alert)
            )
        ]
        self._for_each("delete", {key: partial(delete, key) for key in done})


def _subject(key: str) -> str:
    """Return the key of the alert that cannot be read, from the key of the alert about it."""
    return key.partition("-")[2]


def _is_unreadable(alert: Alert, services: Services) -> bool:
    try:
        services.outbox.read(_subject(alert.key))
    except AlertUnreadable:
        return True
    return False


# Alerts whose problem one call can check, by category.
IS_ACTIVE: Final[dict[str, Callable[[Alert, Services], bool]]] = {
    Category.OPEN_RUN: run_alerts.has_problem,
    Category.DAMAGED_RECORD: run_alerts.is_damaged,
    Category.UNREADABLE_ALERT: _is_unreadable,
}
