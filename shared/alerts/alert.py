"""An alert: one problem that people must hear of, and what each channel was sent about it. Pure values.

What a message says is ``message.py``, how an alert is saved ``record.py`` and ``outbox.py``, who sends it
``delivery.py``, how it reaches people ``channels.py``, and what the app raises alerts about ``run_alerts.py`` (runs and
their lanes) and ``app_alerts.py`` (the app itself).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from shared.escapes import one_line, whole_text
from shared.runs.values import FailedRow

# Row errors that an alert quotes; the report and the run's page have more of them.
ROWS_QUOTED: Final = 5


class Category(StrEnum):
    """What an alert is about: the first part of its key. It decides who knows whether the problem is resolved."""

    OPEN_RUN = "run"
    ENDED_RUN = "ended"
    TIMER = "watch"  # a duty of the minute's timer
    SCAN = "scan"  # an Input folder that cannot be scanned
    STRAY = "stray"  # something in an Input folder that is not a file
    CREDENTIAL = "credential"
    POISON = "given-up"  # poison messages
    STOPPED_FLOW = "stopped"
    DRAIN = "drain"  # the app has been draining for long
    DAMAGED_RECORD = "record"  # of a run
    UNREADABLE_ALERT = "damaged"  # the rest of the key is the key of the alert that cannot be read


class NotificationKind(StrEnum):
    """What a notification says about a problem. The values are those of saved alerts and of the webhook."""

    NEW = "new"
    REMINDER = "reminder"  # it is still open
    RESOLVED = "over"


@dataclass(frozen=True, slots=True, kw_only=True)
class LastNotification:
    """What a channel was sent last, and when."""

    kind: NotificationKind
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One problem. The key is its identity: whoever notices the problem again makes an alert of the same key."""

    key: str  # letters, digits and dashes; begins with the category
    title: str  # one line
    text: str  # what happened, as the service reported it, and what to do
    since: datetime
    is_ongoing: bool = False  # open until somebody solves it; otherwise it has happened and that is all
    direction: str = ""  # "import" or "export"
    flow_name: str = ""
    file_name: str = ""
    company: str = ""
    data_project: str = ""
    execution_id: str = ""
    outcome: str = ""
    run_id: str = ""
    run_address: str = ""  # by which the run store finds the run
    duty: str = ""  # the duty of the minute's timer that has the problem
    rows: tuple[FailedRow, ...] = ()  # the first row errors
    rows_total: int = 0
    run_url: str = ""  # the run's page; the key that it asks for is not in it
    fo_url: str = ""  # F&O's summary of the execution, else F&O itself
    report_url: str = ""
    file_url: str = ""
    resolved: datetime | None = None  # when the app saw that the problem is solved
    notified: Mapping[str, LastNotification] = field(default_factory=dict)  # by channel

    record_etag: str = field(default="", compare=False)  # version of the record that this was read from; never saved

    def next_notification(self, channel: str, now: datetime, remind_after: timedelta | None) -> NotificationKind | None:
        """Return what is to be sent to a channel now, None if nothing is.

        A problem that was resolved before anybody heard of it is sent once, as resolved: it must not be lost.
        """
        last = self.notified.get(channel)
        if last is None:
            return NotificationKind.RESOLVED if self.resolved else NotificationKind.NEW
        if self.resolved:
            return None if last.kind is NotificationKind.RESOLVED else NotificationKind.RESOLVED
        if self.is_ongoing and remind_after and now - last.at >= remind_after:
            return NotificationKind.REMINDER
        return None

    def after_notification(self, channel: str, kind: NotificationKind, now: datetime) -> "Alert":
        """Return the alert that remembers what the channel was sent."""
        return replace(self, notified={**self.notified, channel: LastNotification(kind=kind, at=now)})

    @property
    def is_closed(self) -> bool:
        """Whether it can be deleted once every channel was sent what is pending."""
        return self.resolved is not None or not self.is_ongoing

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """What it is about: labels and values, without those that are not known."""
        known = (
            ("File", self.file_name),
            ("Company", self.company),
            ("Data project", self.data_project),
            ("Outcome", self.outcome),
            ("Execution id", self.execution_id),
            ("Run id", self.run_id),
        )
        return tuple((label, one_line(value)) for label, value in known if value)

    @property
    def links(self) -> tuple[tuple[str, str], ...]:
        """Where to read on: labels and addresses."""
        known = (
            ("The run, step by step", self.run_url),
            ("F&O", self.fo_url),
            ("The report in OneDrive", self.report_url),
            ("The file in OneDrive", self.file_url),
        )
        return tuple((label, url) for label, url in known if url.startswith(("https://", "http://")))


def category_of(key: str) -> str:
    """Return the first part of an alert's key."""
    return key.partition("-")[0]


def alert_key(category: Category, text: str) -> str:
    """Return the key of an alert whose identity is a text, such as an error message or a folder's path."""
    return f"{category.value}-{hashlib.sha256(whole_text(text).encode()).hexdigest()[:16]}"
