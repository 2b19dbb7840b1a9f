"""Times in which nothing is imported: days of the month, days of the week, hours in a time zone; and when they end.

Pure but for the rules of time zones, which the package tzdata or the machine has.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from difflib import get_close_matches
from functools import cache
from typing import Final, Protocol

from shared.config.values import Unfit

UTC_NAME: Final = "UTC"
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MINUTES: Final = 24 * 60
# No end is looked for beyond; a time that lasts longer is one without an end.
_LONGEST: Final = timedelta(days=63)


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

    @property
    def time_zone(self) -> str:
        """The IANA name of the zone in which days and hours are."""


def end_of_off_time(moment: datetime, off_times: Sequence[OffTime]) -> datetime | None:
    """Return when imports go on; the moment itself if nothing keeps them; None if they do not within two months."""
    end = moment = moment.astimezone(UTC)
    while later := [each for off_time in off_times if (each := _end_if_off(off_time, end))]:
        end = max(later)
        if end - moment > _LONGEST:
            return None
    return end


def _end_if_off(off_time: OffTime, moment: datetime) -> datetime | None:
    """Return when the time ends in which a moment lies; None if it lies in none."""
    zone, hours = zone_of(off_time.time_zone), off_time.hours
    today = moment.astimezone(zone).date()
    until = hours.end if hours.start < hours.end else hours.end + _DAY_MINUTES
    # It began today, or yesterday and goes on; today's may begin before a clock is turned back to yesterday.
    for day in (today + timedelta(days=each) for each in (-1, 0, 1)):
        if _is_on(off_time, day):
            end = _moment_at(day, until, zone, is_end=True)
            if _moment_at(day, hours.start, zone, is_end=False) <= moment < end:
                return end
    return None


def _moment_at(day: date, minutes: int, zone: tzinfo, *, is_end: bool) -> datetime:
    """Return the moment at which clocks show so many minutes from a day's midnight, in UTC.

    If they show it twice (they are turned back), a time begins with the first and ends with the second one. If they
    never show it (they are turned forward), it is the moment at which they are.
    """
    shown = datetime.combine(day, time(), zone) + timedelta(minutes=minutes)
    first, second = shown.astimezone(UTC), shown.replace(fold=1).astimezone(UTC)
    if first <= second:
        return second if is_end else first
    offset = shown.replace(fold=1).utcoffset()
    return next(
        (each for each in _minutes(second, first) if each.astimezone(zone).utcoffset() == offset),
        first,
    )


def _minutes(start: datetime, end: datetime) -> Iterator[datetime]:
    return (start + timedelta(minutes=each) for each in range(int((end - start).total_seconds() / 60)))


def _is_on(off_time: OffTime, day: date) -> bool:
    is_day = not off_time.days or day.day in off_time.days
    return is_day and (not off_time.weekdays or day.weekday() in off_time.weekdays)


def zone_of(name: str) -> tzinfo:
    """Return the time zone of an IANA name. Its rules are loaded here, so that UTC costs nothing."""
    if name == UTC_NAME:
        return UTC
    from zoneinfo import ZoneInfo  # few flows need it

    return ZoneInfo(name)


def parse_time_zone(text: str) -> str:
    """Return the IANA name of a time zone as it is written: "Europe/Berlin". Raises Unfit."""
    text = text.strip()
    if text.casefold() == UTC_NAME.casefold():
        return UTC_NAME
    names = _zone_names()
    if name := names.get(text.casefold()):
        return name
    city = f"/{text.casefold().replace(' ', '_')}"
    close = [name for key, name in names.items() if key.endswith(city)]
    close = close or [names[key] for key in get_close_matches(text.casefold(), names, n=1, cutoff=0.8)]
    raise Unfit(
        "must be the IANA name of a time zone, such as Europe/Berlin or America/New_York. Names that Windows and F&O "
        "use, such as W. Europe Standard Time, are others." + (f" Did you mean {close[0]}?" if close else "")
    )


@cache
def _zone_names() -> Mapping[str, str]:
    """Return the names of all zones, by themselves in small letters."""
    # The list of the package and not the files of this machine: so each name means the same everywhere.
    from importlib.resources import files  # few flows need it

    return {name.casefold(): name for name in files("tzdata").joinpath("zones").read_text("utf-8").split()}


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
        raise Unfit(
            "must be two different times with a hyphen between them, each as HH:MM: the first from 00:00 to 23:59, the "
            "second from 00:00 to 24:00."
        )
    return HoursOfDay(start, end)
