"""NCRONTAB after the rules of the library in the real host: https://github.com/atifaziz/NCrontab"""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_cloud.functions_host.ncrontab import Schedule, ScheduleInvalid

MONDAY_NOON = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Examples of https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-examples
        ("0 */5 * * * *", "2026-11-23T12:05:00"),
        ("0 0 * * * *", "2026-11-23T13:00:00"),
        ("0 0 */2 * * *", "2026-11-23T14:00:00"),
        ("0 0 9-17 * * *", "2026-11-23T13:00:00"),
        ("0 30 9 * * *", "2026-11-24T09:30:00"),
        ("0 30 9 * * 1-5", "2026-11-24T09:30:00"),
        ("0 30 9 * Jan Mon", "2027-01-04T09:30:00"),
        # lists, steps from a value on, steps in a range
        ("*/30 * * * * *", "2026-11-23T12:00:30"),
        ("5,10,7 * * * * *", "2026-11-23T12:00:05"),
        ("0 20/15 * * * *", "2026-11-23T12:20:00"),
        ("0 0 13-20/3 * * *", "2026-11-23T13:00:00"),
        # names in full, in part, in any case, in ranges
        ("0 0 0 * * wednesday", "2026-11-25T00:00:00"),
        ("0 0 0 * * WED-fri", "2026-11-25T00:00:00"),
        ("0 0 0 1 dec *", "2026-12-01T00:00:00"),
        # five fields begin with the minute
        ("*/10 * * * *", "2026-11-23T12:10:00"),
        # a range that is the wrong way round is turned, it does not go over midnight
        ("0 0 17-15 * * *", "2026-11-23T15:00:00"),
        # day of month and day of week must both match, unlike in cron
        ("0 0 0 13 * fri", "2027-08-13T00:00:00"),
        ("0 0 0 29 2 *", "2028-02-29T00:00:00"),
    ],
)
def test_the_next_time_after_a_monday_noon(text: str, expected: str) -> None:
    assert Schedule.parse(text).next_after(MONDAY_NOON) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


def test_a_time_that_is_now_is_not_next() -> None:
    assert Schedule.parse("0 0 12 * * *").next_after(MONDAY_NOON) == MONDAY_NOON + timedelta(days=1)


def test_times_are_utc_whatever_the_clock_that_is_asked_from() -> None:
    in_tokyo = MONDAY_NOON.astimezone(timezone(timedelta(hours=9)))
    assert Schedule.parse("0 0 13 * * *").next_after(in_tokyo) == MONDAY_NOON + timedelta(hours=1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "* * * *",
        "* * * * * * *",
        "60 * * * * *",
        "* * 24 * * *",
        "* * * 0 * *",
        "* * * 32 * *",
        "* * * * 13 *",
        "* * * * * 7",  # Sunday is 0 and nothing else
        "* * * * * Maybe",
        "mon * * * * *",  # only months and weekdays have names
        "1- * * * * *",
        "1,,2 * * * * *",
        "*/x * * * * *",
        "-1 * * * * *",
        "00:00:30",  # a time span: App Service plans only
    ],
)
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ScheduleInvalid):
        Schedule.parse(text)


def test_a_day_that_never_comes_is_refused_instead_of_searched_for_ever() -> None:
    with pytest.raises(ScheduleInvalid, match="never comes"):
        Schedule.parse("0 0 0 30 2 *").next_after(MONDAY_NOON)


@pytest.mark.parametrize(
    ("text", "often"),
    [("*/30 * * * * *", True), ("0,59 * * * * *", True), ("0 * * * * *", False), ("0 */5 * * * *", False)],
)
def test_a_schedule_that_comes_twice_within_a_minute_is_known(text: str, often: bool) -> None:
    # https://github.com/Azure/azure-webjobs-sdk-extensions/blob/dev/src/WebJobs.Extensions/Extensions/Timers/Scheduling/TimerSchedule.cs
    assert Schedule.parse(text).is_more_often_than_a_minute(MONDAY_NOON + timedelta(seconds=0.1)) is often


def fields(low: int, high: int) -> st.SearchStrategy[str]:
    values = st.integers(low, high)
    spans = st.tuples(values, values).map(lambda pair: f"{pair[0]}-{pair[1]}")
    steps = st.tuples(st.one_of(st.just("*"), spans), st.integers(1, 7)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    return st.one_of(st.just("*"), values.map(str), spans, steps)


def matches(field: str, value: int, low: int) -> bool:
    span, _, step = field.partition("/")
    if span == "*":
        first, last = low, 999
    else:
        ends = [int(end) for end in span.split("-")]
        first, last = min(ends), max(ends)
    return first <= value <= last and (value - first) % int(step or 1) == 0


@settings(deadline=None, max_examples=60)
@given(fields(0, 59), fields(0, 23), st.integers(0, 86_399))
def test_the_next_time_is_the_one_that_counting_minutes_finds(minute: str, hour: str, offset_s: int) -> None:
    start = MONDAY_NOON + timedelta(seconds=offset_s)
    candidate = start.replace(second=0) + timedelta(minutes=1)
    while not (matches(minute, candidate.minute, 0) and matches(hour, candidate.hour, 0)):
        candidate += timedelta(minutes=1)
    assert Schedule.parse(f"0 {minute} {hour} * * *").next_after(start) == candidate
