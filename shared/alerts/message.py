"""What a channel sends: one notification, or many packed into a digest, as text and as JSON. Pure values."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from shared.alerts.alert import Alert, NotificationKind
from shared.escapes import cut, one_line
from shared.moments import utc_minute_text
from shared.runs.values import FailedRow

# Lines of a digest, and characters of each.
DIGEST_LINES: Final = 100
DIGEST_LINE: Final = 200

_LABELS: Final = {
    NotificationKind.NEW: "new",
    NotificationKind.REMINDER: "still open",
    NotificationKind.RESOLVED: "resolved",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """What is to be said about one alert."""

    alert: Alert
    kind: NotificationKind
    previous: datetime | None = None  # when the channel was sent the last one about it

    @property
    def title(self) -> str:
        """One line."""
        title = one_line(self.alert.title)
        match self.kind:
            case NotificationKind.NEW:
                return title
            case NotificationKind.REMINDER:
                return f"Still open: {title}"
            case NotificationKind.RESOLVED:
                return f"Resolved: {title}"

    @property
    def lead(self) -> str:
        """The sentence before the alert's own text: since when it is open, or that it is resolved; "" for news."""
        match self.kind, self.alert.resolved:
            case NotificationKind.REMINDER, _:
                return f"Open since {utc_minute_text(self.alert.since)}."
            case NotificationKind.RESOLVED, datetime() as resolved:
                began = utc_minute_text(self.alert.since)
                return f"Resolved at {utc_minute_text(resolved)}. It started at {began}. The alert was:"
            case _:
                return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What goes through a channel at once: one notification, or several packed into a digest."""

    notifications: tuple[Notification, ...]
    pages_url: str = ""  # the page of all runs, for a digest

    @property
    def message_id(self) -> str:
        """The same however often it is sent, so that a receiver can tell a repetition from a new message."""
        parts = (f"{each.alert.key} {each.kind.value} {each.previous}" for each in self.notifications)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]

    @property
    def title(self) -> str:
        """One line."""
        if len(self.notifications) == 1:
            return self.notifications[0].title
        counts = ((kind, sum(each.kind is kind for each in self.notifications)) for kind in NotificationKind)
        listed = ", ".join(f"{count} {_LABELS[kind]}" for kind, count in counts if count)
        return f"{len(self.notifications)} alerts: {listed}"

    @property
    def text(self) -> str:
        """The whole message as plain text."""
        return _full_text(self.notifications[0]) if len(self.notifications) == 1 else self._digest

    @property
    def digest_lines(self) -> tuple[str, ...]:
        """A line for each notification of a digest; if there are too many, the last says how many more there are."""
        shown = [_digest_line(each) for each in self.notifications[:DIGEST_LINES]]
        more = len(self.notifications) - len(shown)
        return (*shown, f"... and {more} more") if more else tuple(shown)

    @property
    def _digest(self) -> str:
        lines = [f"- {line}" for line in self.digest_lines]
        if self.pages_url:
            lines += ["", f"All runs: {self.pages_url}"]
        return "\n".join(lines)


def row_line(row: FailedRow) -> str:
    """Return a row error as one line."""
    return "  ".join(one_line(part) for part in (row.record_id, row.field, row.message) if part)


def rows_heading(alert: Alert) -> str:
    """Return the heading of the row errors that an alert quotes."""
    shown = f", the first {len(alert.rows)}" if alert.rows_total > len(alert.rows) else ""
    return f"Row errors ({alert.rows_total}{shown}):"


def oldest(limit: int, notifications: Sequence[Notification]) -> tuple[Notification, ...]:
    """Return at most so many notifications, that of the oldest problem first."""
    return tuple(sorted(notifications, key=lambda each: (each.alert.since, each.alert.key))[:limit])


def _full_text(notification: Notification) -> str:
    alert = notification.alert
    lines = [notification.lead, ""] if notification.lead else []
    lines.append(alert.text)
    if alert.facts:
        lines += ["", *(f"{label + ':':<14}{value}" for label, value in alert.facts)]
    if alert.rows:
        lines += ["", rows_heading(alert), *(f"  {row_line(row)}" for row in alert.rows)]
    if alert.links:
        lines += ["", *(f"{label}: {url}" for label, url in alert.links)]
    return "\n".join(lines)


def _digest_line(notification: Notification) -> str:
    return cut(f"{notification.title}: {one_line(notification.alert.text)}", DIGEST_LINE)


def notification_to_json(notification: Notification) -> dict[str, Any]:
    """Return a notification as the webhook posts it; ``docs/alert.schema.json`` describes it."""
    alert = notification.alert
    return {
        "key": alert.key,
        "word": notification.kind.value,
        "title": notification.title,
        "text": alert.text,
        "since": alert.since.astimezone(UTC).isoformat(),
        "over": alert.resolved.astimezone(UTC).isoformat() if alert.resolved else None,
        "flow": alert.direction,
        "integration": alert.flow_name,
        "file": alert.file_name,
        "company": alert.company,
        "dataProject": alert.data_project,
        "executionId": alert.execution_id,
        "outcome": alert.outcome,
        "runId": alert.run_id,
        "rowErrors": [{"recordId": row.record_id, "field": row.field, "message": row.message} for row in alert.rows],
        "rowErrorsTotal": alert.rows_total,
        "links": {
            "run": alert.run_url,
            "financeOperations": alert.fo_url,
            "report": alert.report_url,
            "file": alert.file_url,
        },
    }
