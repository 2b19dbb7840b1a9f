"""Times as texts: how every saved time is read, and how people read one. Pure.

A time without a zone is one in UTC: the app has never written another.
"""

from datetime import UTC, datetime


def read_moment(text: object) -> datetime:
    """Return the moment that a text tells, in UTC. Raises ValueError for whatever tells none."""
    try:
        moment = datetime.fromisoformat(text)  # type: ignore[arg-type]  # what is no text raises TypeError
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError) as error:  # OverflowError: the year 1 east of Greenwich
        raise ValueError(f"{text!r:.50} is not a time") from error


def moment_or_none(text: object) -> datetime | None:
    """Return the moment that a text tells, in UTC; None if it tells none."""
    try:
        return read_moment(text)
    except ValueError:
        return None


def utc_text(moment: datetime) -> str:
    """Return a moment as people read it, to the second: "2026-11-02 08:30:05 UTC"."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def utc_minute_text(moment: datetime) -> str:
    """Return a moment as people read it, to the minute: "2026-11-02 08:30 UTC"."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
