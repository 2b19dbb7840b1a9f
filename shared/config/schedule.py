"""A schedule in NCRONTAB, ``{second} {minute} {hour} {day} {month} {day of week}``: which moment came last.

Pure values, in UTC: Flex Consumption knows no other time zone, and takes no TimeSpan as a schedule.
https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-expressions
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from shared.config.values import Unfit

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# The six fields: name, least, most, names that stand for numbers.
_FIELDS: Final[tuple[tuple[str, int, int, tuple[str, ...]], ...]] = (
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _WEEKDAYS),
)
# No date of the calendar stays away longer: 29 February on a given day of the week.
_FURTHEST_DAYS: Final = 41 * 366


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The moments that match all six fields; unlike in cron, day and day of the week must both match.

    https://github.com/atifaziz/NCrontab/blob/master/NCrontab/CrontabSchedule.cs
    """

    text: str
    seconds: tuple[int, ...]  # these three: descending
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]  # 0 is Sunday

    def latest(self, moment: datetime) -> datetime | None:
        """Return the last moment of the schedule that is not after this one; None if it never comes (30 February).

        moment: aware.
        """
        moment = moment.astimezone(UTC)
        last_time = moment.time()
        for back in range(_FURTHEST_DAYS):
            day = moment.date() - timedelta(days=back)
            if self._is_on(day) and (found := self._last_time(last_time if back == 0 else time.max)):
                return datetime.combine(day, found, UTC)
        return None

    def _is_on(self, day: date) -> bool:
        return day.month in self.months and day.day in self.days and day.isoweekday() % 7 in self.weekdays

    def _last_time(self, limit: time) -> time | None:
        """Return the last time of a day that is not after a limit."""
        highest = (limit.hour, limit.minute, limit.second)
        for hour in self.hours:
            for minute in self.minutes:
                if (hour, minute) <= highest[:2]:
                    for second in self.seconds:
                        if (hour, minute, second) <= highest:
                            return time(hour, minute, second)
        return None


def parse_schedule(text: str) -> Schedule:
    """Return the schedule of an NCRONTAB expression with six fields. Raises Unfit."""
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise Unfit("must be an NCRONTAB expression of six fields: second minute hour day month day-of-week.")
    found: list[set[int]] = []
    for given, (name, least, most, names) in zip(fields, _FIELDS, strict=True):
        values = [_values(part, least, most, names) for part in given.split(",")]
        if not all(values):
            raise Unfit(f"has a {name} field that NCRONTAB does not accept; allowed are {least} to {most}.")
        found.append({value for part in values for value in part})
    seconds, minutes, hours, days, months, weekdays = found
    return Schedule(
        text=" ".join(fields),
        seconds=tuple(sorted(seconds, reverse=True)),
        minutes=tuple(sorted(minutes, reverse=True)),
        hours=tuple(sorted(hours, reverse=True)),
        days=frozenset(days),
        months=frozenset(months),
        weekdays=frozenset(weekdays),
    )


def _values(part: str, least: int, most: int, names: tuple[str, ...]) -> range:
    """Return what a part of a field stands for: a value, a range or *, each perhaps with a step; none if it is wrong.

    "5", "mon-fri", "*/30", "10/5" (from 10 on). A range the wrong way round is swapped, as NCrontab does.
    https://github.com/atifaziz/NCrontab/blob/master/NCrontab/CrontabFieldImpl.cs
    """
    span, slash, step_text = part.partition("/")
    if slash and (re.fullmatch(r"\d{1,2}", step_text, re.ASCII) is None or int(step_text) == 0):
        return range(0)
    step = int(step_text) if slash else 1
    if span == "*":
        return range(least, most + 1, step)
    first_text, dash, last_text = span.partition("-")
    first = _value(first_text, least, names)
    last = _value(last_text, least, names) if dash else (most if slash else first)
    if first is None or last is None:
        return range(0)
    first, last = sorted((first, last))
    return range(first, last + 1, step) if least <= first and last <= most else range(0)


def _value(text: str, least: int, names: tuple[str, ...]) -> int | None:
    if re.fullmatch(r"\d{1,2}", text, re.ASCII):
        return int(text)
    short = text.casefold()
    return names.index(short) + least if short in names else None
