"""Times in which nothing is imported: days of the month, days of the week, hours; and when they end. Pure, in UTC."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from shared.config.values import Unfit

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MINUTES: Final = 24 * 60
# No end is looked for beyond; a time that lasts longer is one without an end.
_LONGEST_DAYS: Final = 63


@dataclass(frozen=True, slots=True)
class HoursOfDay:
    """From a minute of the day until another one; if that comes first, it is on the following day."""

    start: int
    end: int


class OffTime(Protocol):
    """A time in which nothing is imported: what is not empty must all apply."""

    @property
    def days(self) -> frozenset[int]:
        """Days of the month."""

    @property
    def weekdays(self) -> frozenset[int]:
        """Days of the week; 0 is Monday."""

    @property
    def hours(self) -> HoursOfDay:
        """Hours of the day."""


def end_of_off_time(moment: datetime, off_times: Sequence[OffTime]) -> datetime | None:
    """Return when imports go on; the moment itself if nothing keeps them; None if they do not within two months."""
    moment = moment.astimezone(UTC)
    if not _is_off(moment, off_times):
        return moment
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    minutes = sorted({0, *(each.hours.end % _DAY_MINUTES for each in off_times)})
    for day in range(_LONGEST_DAYS):
        for minute in minutes:
            candidate = midnight + timedelta(days=day, minutes=minute)
            if candidate > moment and not _is_off(candidate, off_times):
                return candidate
    return None


def _is_off(moment: datetime, off_times: Iterable[OffTime]) -> bool:
    return any(_applies(each, moment) for each in off_times)


def _applies(off_time: OffTime, moment: datetime) -> bool:
    minute, hours = moment.hour * 60 + moment.minute, off_time.hours
    if hours.start < hours.end:
        return hours.start <= minute < hours.end and _is_on(off_time, moment)
    # It began today, or yesterday and goes on until its end.
    if minute >= hours.start:
        return _is_on(off_time, moment)
    return minute < hours.end and _is_on(off_time, moment - timedelta(days=1))


def _is_on(off_time: OffTime, day: datetime) -> bool:
    is_day = not off_time.days or day.day in off_time.days
    return is_day and (not off_time.weekdays or day.weekday() in off_time.weekdays)


def _numbers(text: str, number_of: Callable[[str], int | None], around: int = 0) -> frozenset[int]:
    """Return the numbers of words and ranges of words; none if a word stands for none.

    around: how many there are if a range may go around their end: "sat-mon".
    """
    found: set[int] = set()
    for part in text.casefold().split(","):
        ends = [number_of(word.strip()) for word in part.split("-")]
        first, last = ends[0], ends[-1]
        if first is None or last is None or len(ends) > 2 or (first > last and not around):
            return frozenset()
        last = last if first <= last else last + around
        found.update(number % around if around else number for number in range(first, last + 1))
    return frozenset(found)


def parse_days(text: str) -> frozenset[int]:
    """Return days of the month: "1", "28-31", "1-3,28-31". Raises Unfit."""
    found = _numbers(text, lambda word: int(word) if re.fullmatch(r"\d{1,2}", word, re.ASCII) else None)
    if not found or not found <= set(range(1, 32)):
        raise Unfit(
            "must be days of the month from 1 to 31: one, a range with the lower day first, or several with commas "
            "between them. Leave it out for all days."
        )
    return found


def parse_weekdays(text: str) -> frozenset[int]:
    """Return days of the week, 0 is Monday: "sat", "mon-fri", "sat,sun". Raises Unfit."""
    found = _numbers(text, lambda word: WEEKDAYS.index(word) if word in WEEKDAYS else None, around=len(WEEKDAYS))
    if not found:
        words = ", ".join(WEEKDAYS)
        raise Unfit(
            f"must be days of the week ({words}): one, a range, or several with commas between them. Leave it out for "
            "all days."
        )
    return found


def parse_hours(text: str) -> HoursOfDay:
    """Return hours of the day: "18:00-06:00", "00:00-24:00". Raises Unfit."""
    found = re.fullmatch(r"(\d\d):([0-5]\d)\s*-\s*(\d\d):([0-5]\d)", text.strip(), re.ASCII)
    start, end = (int(found[1]) * 60 + int(found[2]), int(found[3]) * 60 + int(found[4])) if found else (0, 0)
    if start == end or start >= _DAY_MINUTES or end > _DAY_MINUTES:
        raise Unfit("must be two different times with a hyphen between them, each as HH:MM from 00:00 to 24:00.")
    return HoursOfDay(start, end)
