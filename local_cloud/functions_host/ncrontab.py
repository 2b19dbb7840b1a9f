"""NCRONTAB schedules: ``{second} {minute} {hour} {day} {month} {day of week}``, in UTC.

Flex Consumption knows no other time zone. Written after the rules of the NCrontab library that the real host uses.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

_MONTHS: Final = (
    "January February March April May June July August September October November December".split()  # noqa: SIM905  # reads better
)
_DAYS: Final = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split()  # noqa: SIM905  # reads better

_FURTHEST: Final = timedelta(days=366 * 50)  # no date of the calendar stays away longer: 29 February on a given weekday


class ScheduleInvalid(ValueError):
    """The text is no NCRONTAB expression; the message says which part and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The moments that match all six fields.

    Unlike in cron, the day of the month and the day of the week must both match.
    https://github.com/atifaziz/NCrontab/blob/master/NCrontab/CrontabSchedule.cs
    """

    text: str
    seconds: Sequence[int]
    minutes: Sequence[int]
    hours: Sequence[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]  # 0 is Sunday

    @classmethod
    def parse(cls, text: str) -> "Schedule":
        """Parse six fields, or five, which then begin with the minute. Raises ScheduleInvalid."""
        fields = text.split()
        if len(fields) == 5:
            fields.insert(0, "0")
        if len(fields) != 6:
            raise ScheduleInvalid(f"'{text}' has {len(fields)} fields; an NCRONTAB schedule has six")
        second, minute, hour, day, month, weekday = fields
        return cls(
            text=text,
            seconds=_values(second, "second", 0, 59),
            minutes=_values(minute, "minute", 0, 59),
            hours=_values(hour, "hour", 0, 23),
            days=frozenset(_values(day, "day", 1, 31)),
            months=frozenset(_values(month, "month", 1, 12, _MONTHS)),
            weekdays=frozenset(_values(weekday, "day of week", 0, 6, _DAYS)),
        )

    def next_after(self, moment: datetime) -> datetime:
        """Return the first matching moment after this one. Raises ScheduleInvalid where none ever comes (30 February).

        moment: aware.
        """
        moment = moment.astimezone(UTC)
        earliest = moment.replace(microsecond=0) + timedelta(seconds=1)
        day = earliest.date()
        while day - moment.date() <= _FURTHEST:
            if self._is_on(day):
                from_time = earliest.time() if day == earliest.date() else time()
                if found := self._first_time(from_time):
                    return datetime.combine(day, found, UTC)
            day += timedelta(days=1)
        raise ScheduleInvalid(f"'{self.text}' never comes")

    def is_more_often_than_a_minute(self, now: datetime) -> bool:
        """Whether it comes more than once within the minute that follows.

        https://github.com/Azure/azure-webjobs-sdk-extensions/blob/dev/src/WebJobs.Extensions/Extensions/Timers/Scheduling/TimerSchedule.cs
        """
        # The end of the minute does not count: NCrontab's GetNextOccurrences excludes it.
        return self.next_after(self.next_after(now)) < now + timedelta(minutes=1)

    def _is_on(self, day: date) -> bool:
        return day.month in self.months and day.day in self.days and day.isoweekday() % 7 in self.weekdays

    def _first_time(self, earliest: time) -> time | None:
        wanted = (earliest.hour, earliest.minute, earliest.second)
        for hour in (value for value in self.hours if value >= earliest.hour):
            for minute in (value for value in self.minutes if (hour, value) >= wanted[:2]):
                for second in (value for value in self.seconds if (hour, minute, value) >= wanted):
                    return time(hour, minute, second)
        return None


def _values(text: str, kind: str, low: int, high: int, names: Sequence[str] = ()) -> tuple[int, ...]:
    """All values of one field: lists, ranges, steps and the beginnings of names.

    https://github.com/atifaziz/NCrontab/blob/master/NCrontab/CrontabFieldImpl.cs
    """
    chosen: set[int] = set()
    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        step = _number(step_text, kind) if slash else 1
        first_text, dash, last_text = span.partition("-")
        if span == "*":
            first, last = low, high
        elif dash:
            # The library swaps a range that is the wrong way round; it does not wrap around midnight.
            first, last = sorted((_value(first_text, kind, low, names), _value(last_text, kind, low, names)))
        else:
            first = _value(span, kind, low, names)
            last = high if slash else first
        if first < low or last > high:
            raise ScheduleInvalid(f"'{part}' is outside of {low} to {high}, the values of a {kind}")
        chosen.update(range(first, last + 1, max(step, 1)))
    return tuple(sorted(chosen))


def _value(text: str, kind: str, low: int, names: Sequence[str]) -> int:
    if text[:1].isdigit() or not names:
        return _number(text, kind)
    for index, name in enumerate(names):
        if text and name.lower().startswith(text.lower()):
            return low + index
    raise ScheduleInvalid(f"'{text}' is not the name of a {kind}")


def _number(text: str, kind: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ScheduleInvalid(f"'{text}' is not a number for a {kind}")
    return int(text)
