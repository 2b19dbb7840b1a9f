"""An alert: one trouble that a person must hear of, whom it was told already, and what is to be said next.

Pure values. Where alerts are kept until everybody was told is ``alerts/outbox.py``, how they reach a person is
``alerts/channels.py``, and who notices trouble and tells of it is ``alerts/delivery.py``.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NoReturn

from shared.escapes import cut, json_text, one_line, read_json, whole_text
from shared.runs.values import FailedRow

# Row errors that an alert quotes; the report and the run's page have more of them.
ROWS_QUOTED: Final = 5
# Lines of a digest, and characters of each.
DIGEST_LINES: Final = 100
DIGEST_LINE: Final = 200


class Word(StrEnum):
    """What a message says about a trouble."""

    NEW = "new"
    REMINDER = "reminder"  # it is still open
    OVER = "over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a channel was told last, and when."""

    word: Word
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One trouble. Whoever notices it again makes an alert of the same key, which is the same alert."""

    key: str  # letters, digits and dashes; its first word says who knows when it is over
    title: str  # one line
    text: str  # what happened, in the words of the service that said it, and what to do
    since: datetime
    stays: bool = False  # whether it is open until somebody mends it; else it has happened and that is all
    flow: str = ""  # "import" or "export"
    integration: str = ""  # the name of the import or export in the settings
    file_name: str = ""
    company: str = ""
    data_project: str = ""
    execution_id: str = ""
    outcome: str = ""
    run_id: str = ""
    run_address: str = ""  # by which the run store finds the run
    duty: str = ""  # of the minute's timer, that is in trouble
    rows: tuple[FailedRow, ...] = ()  # the first of them
    rows_total: int = 0
    run_url: str = ""  # the run's page; the key that it asks for is not in it
    fo_url: str = ""  # F&O's summary of the execution, else F&O itself
    report_url: str = ""
    file_url: str = ""
    over: datetime | None = None  # when the app saw that it is mended
    told: Mapping[str, Told] = field(default_factory=dict)  # by channel

    record_etag: str = field(default="", compare=False)  # version of the record that this was read from; never saved

    def word_due(self, channel: str, now: datetime, remind_after: timedelta | None) -> Word | None:
        """Return what a channel is to be told now, None where it knows all.

        Trouble that was over before anybody could be told is told once, as over: it must not be lost.
        """
        last = self.told.get(channel)
        if last is None:
            return Word.OVER if self.over else Word.NEW
        if self.over:
            return None if last.word is Word.OVER else Word.OVER
        if self.stays and remind_after and now - last.at >= remind_after:
            return Word.REMINDER
        return None

    def after_telling(self, channel: str, word: Word, now: datetime) -> "Alert":
        """Return the alert that remembers what the channel was told."""
        return replace(self, told={**self.told, channel: Told(word=word, at=now)})

    @property
    def may_end(self) -> bool:
        """Whether it can be forgotten once all channels were told."""
        return self.over is not None or not self.stays

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
        """Where a person can go on reading: words and addresses."""
        known = (
            ("The run, step by step", self.run_url),
            ("F&O", self.fo_url),
            ("The report in OneDrive", self.report_url),
            ("The file in OneDrive", self.file_url),
        )
        return tuple((words, url) for words, url in known if url.startswith(("https://", "http://")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What is to be said about one trouble."""

    alert: Alert
    word: Word
    last_told: datetime | None = None  # when the channel heard of it last

    @property
    def title(self) -> str:
        """One line."""
        title = one_line(self.alert.title)
        match self.word:
            case Word.NEW:
                return title
            case Word.REMINDER:
                return f"Still open: {title}"
            case Word.OVER:
                return f"Over: {title}"

    @property
    def lead(self) -> str:
        """What stands before the alert's own text: since when it is open, or that it is over; "" for news."""
        match self.word, self.alert.over:
            case Word.REMINDER, _:
                return f"Open since {_minute(self.alert.since)}."
            case Word.OVER, datetime() as over:
                return f"Over by {_minute(over)}. It began at {_minute(self.alert.since)}, and this was it:"
            case _:
                return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What goes through a channel at once: one notice, or a storm of them packed into a digest."""

    notices: tuple[Notice, ...]
    pages_url: str = ""  # the page of all runs, for a digest

    @property
    def message_id(self) -> str:
        """The same however often it is sent, so that a receiver can tell a repetition from a new message."""
        said = (f"{notice.alert.key} {notice.word.value} {notice.last_told}" for notice in self.notices)
        return hashlib.sha256("\n".join(said).encode()).hexdigest()[:32]

    @property
    def title(self) -> str:
        """One line."""
        if len(self.notices) == 1:
            return self.notices[0].title
        counts = ((word, sum(notice.word is word for notice in self.notices)) for word in Word)
        words = {Word.NEW: "new", Word.REMINDER: "still open", Word.OVER: "over"}
        return f"{len(self.notices)} alerts: {', '.join(f'{count} {words[word]}' for word, count in counts if count)}"

    @property
    def text(self) -> str:
        """The whole message as plain text."""
        return _whole_text(self.notices[0]) if len(self.notices) == 1 else self._digest

    @property
    def digest_lines(self) -> tuple[str, ...]:
        """A line for each notice of a digest; where there are too many, the last says how many more there are."""
        shown = [_digest_line(notice) for notice in self.notices[:DIGEST_LINES]]
        more = len(self.notices) - len(shown)
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
    """Return what stands over the row errors that an alert quotes."""
    shown = f", the first {len(alert.rows)}" if alert.rows_total > len(alert.rows) else ""
    return f"Row errors ({alert.rows_total}{shown}):"


def _whole_text(notice: Notice) -> str:
    alert = notice.alert
    lines = [notice.lead, ""] if notice.lead else []
    lines.append(alert.text)
    if alert.facts:
        lines += ["", *(f"{label + ':':<14}{value}" for label, value in alert.facts)]
    if alert.rows:
        lines += ["", rows_heading(alert), *(f"  {row_line(row)}" for row in alert.rows)]
    if alert.links:
        lines += ["", *(f"{words}: {url}" for words, url in alert.links)]
    return "\n".join(lines)


def _digest_line(notice: Notice) -> str:
    return cut(f"{notice.title}: {one_line(notice.alert.text)}", DIGEST_LINE)


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def key_of_text(area: str, text: str) -> str:
    """Return the key of a trouble that is known by its words alone."""
    return f"{area}-{hashlib.sha256(whole_text(text).encode()).hexdigest()[:16]}"


def notice_to_json(notice: Notice) -> dict[str, Any]:
    """Return a notice as programs get it; ``docs/alert.schema.json`` describes it."""
    alert = notice.alert
    return {
        "key": alert.key,
        "word": notice.word.value,
        "title": notice.title,
        "text": alert.text,
        "since": alert.since.astimezone(UTC).isoformat(),
        "over": alert.over.astimezone(UTC).isoformat() if alert.over else None,
        "flow": alert.flow,
        "integration": alert.integration,
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


def alert_to_json(alert: Alert) -> str:
    """Return the record of an alert."""
    rows = [{"record_id": row.record_id, "field": row.field, "message": row.message} for row in alert.rows]
    content = {**asdict(replace(alert, rows=())), "rows": rows}
    del content["record_etag"]
    return json_text(content, default=_instant_text)


def alert_from_json(text: str | bytes, etag: str = "") -> Alert:
    """Return the alert of a record; what another version of the app has written beyond it is passed over.

    Raises ValueError, with the reason in words, for a text that is no alert: then no part of it is believed.
    """
    try:
        content = read_json(text, mend=True)
        return _alert(content, etag) if isinstance(content, dict) else _refuse("it is no JSON object")
    except KeyError as error:
        raise ValueError(f"{error} is missing") from error


def _alert(content: Mapping[str, Any], etag: str) -> Alert:
    texts = {name: _text(content, name) for name in _TEXTS if name in content or name in _NEEDED}
    rows = content.get("rows") or []
    return Alert(
        **texts,
        since=_instant(content["since"]),
        stays=content.get("stays") is True,
        rows=tuple(map(_row, rows)) if isinstance(rows, list) else _refuse("rows is no list"),
        rows_total=_number(content.get("rows_total", 0)),
        over=_instant(content["over"]) if content.get("over") else None,
        told=_told(content.get("told") or {}),
        record_etag=etag,
    )


_NEEDED: Final = frozenset({"key", "title", "text"})
_TEXTS: Final = tuple(each.name for each in fields(Alert) if each.type is str and each.name != "record_etag")


def _text(content: Mapping[str, Any], name: str) -> str:
    value = content[name]
    return value if isinstance(value, str) else _refuse(f"{name} is no text")


def _number(value: object) -> int:
    return value if isinstance(value, int) else _refuse("rows_total is no number")


def _instant(value: object) -> datetime:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else _refuse(f"{value!r:.50} is no moment")
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:  # the year 1 east of Greenwich
        _refuse(f"{value} is no moment")


def _row(value: object) -> FailedRow:
    row = value if isinstance(value, dict) else _refuse("a row is no JSON object")
    return FailedRow(record_id=_text(row, "record_id"), field=_text(row, "field"), message=_text(row, "message"))


def _told(value: object) -> dict[str, Told]:
    told = value if isinstance(value, dict) else _refuse("told is no JSON object")
    return {
        channel: Told(word=Word(_text(each, "word")), at=_instant(_text(each, "at")))
        if isinstance(each, dict)
        else _refuse(f"what {channel} was told is no JSON object")
        for channel, each in told.items()
    }


def _refuse(why: str) -> NoReturn:
    raise ValueError(why)


# What tells without the record whether there is anything to say about it.
_STATE: Final = ("since", "stays", "integration", "run_address", "duty", "over", "told")


def alert_state(alert: Alert) -> str:
    """Return what decides whom an alert is to be told next, as a short text."""
    content = {name: getattr(alert, name) for name in _STATE}
    told = {channel: asdict(told) for channel, told in alert.told.items()}
    return json_text({**content, "told": told}, default=_instant_text)


def alert_of_state(key: str, state: str, etag: str = "") -> Alert:
    """Return the alert of such a text, without its words. Raises ValueError for a text of another kind."""
    content = read_json(state, mend=True)
    if not isinstance(content, dict) or not content.keys() >= set(_STATE):
        _refuse("it is no state")
    return _alert({name: content[name] for name in _STATE} | {"key": key, "title": "", "text": ""}, etag)


def _instant_text(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    raise TypeError(f"{type(value).__name__} cannot stand in an alert's record")


def at_most(limit: int, notices: Sequence[Notice]) -> tuple[Notice, ...]:
    """Return the first notices, the oldest trouble first."""
    return tuple(sorted(notices, key=lambda notice: (notice.alert.since, notice.alert.key))[:limit])
