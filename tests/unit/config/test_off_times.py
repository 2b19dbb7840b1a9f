"""When a time in which nothing is imported ends."""

import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from shared.config.model import OffTime
from shared.config.off_times import end_of_off_time

MONTH_END = {"days": "28-31, 1", "hours": "18:00-06:00"}
WEEKEND = {"weekdays": "sat-sun"}


def _berlin(hours: str) -> dict[str, str]:
    return {"hours": hours, "timeZone": "Europe/Berlin"}


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("off_times", "moment", "end"),
    [
        ([], "2026-11-30T20:00", "2026-11-30T20:00"),
        ([MONTH_END], "2026-11-30T17:59", "2026-11-30T17:59"),  # not yet
        ([MONTH_END], "2026-11-30T18:00", "2026-12-01T06:00"),
        ([MONTH_END], "2026-11-28T05:00", "2026-11-28T05:00"),  # the 27th has no such night
        ([MONTH_END], "2026-12-02T05:59", "2026-12-02T06:00"),  # the night of the 1st
        ([MONTH_END], "2026-11-30T06:00", "2026-11-30T06:00"),  # its end counts no more
        ([WEEKEND], "2026-11-28T12:00", "2026-11-30T00:00"),
        ([WEEKEND, MONTH_END], "2026-11-28T19:00", "2026-11-30T06:00"),  # one passes into the other
        ([{"weekdays": "fri-mon"}], "2026-11-27T00:00", "2026-12-01T00:00"),  # around the end of the week
        ([{"hours": "12:00-24:00"}], "2026-11-30T13:00", "2026-12-01T00:00"),
        ([{"days": "1-31"}], "2026-11-30T13:00", None),
        ([_berlin("18:00-06:00")], "2026-06-30T16:00", "2026-07-01T04:00"),
        ([_berlin("18:00-06:00")], "2026-06-30T15:59", "2026-06-30T15:59"),
        ([{"days": "1", "timeZone": "Pacific/Auckland"}], "2026-11-30T11:00", "2026-12-01T11:00"),
        ([_berlin("18:00-06:00"), {"hours": "04:00-05:00"}], "2026-06-30T16:00", "2026-07-01T05:00"),
        # Clocks are turned forward on 29 March at 01:00 UTC, back on 25 October at 01:00 UTC.
        ([_berlin("18:00-06:00")], "2026-03-28T18:00", "2026-03-29T04:00"),
        ([_berlin("18:00-06:00")], "2026-10-24T17:00", "2026-10-25T05:00"),
        ([_berlin("18:00-02:30")], "2026-03-28T18:00", "2026-03-29T01:00"),  # 02:30 does not exist
        ([_berlin("02:30-06:00")], "2026-03-29T00:59", "2026-03-29T00:59"),
        ([_berlin("02:30-06:00")], "2026-03-29T01:00", "2026-03-29T04:00"),
        ([_berlin("18:00-02:30")], "2026-10-25T00:45", "2026-10-25T01:30"),  # the second 02:30
        ([_berlin("02:30-06:00")], "2026-10-25T00:30", "2026-10-25T05:00"),  # the first 02:30
        ([_berlin("02:30-06:00")], "2026-10-25T01:00", "2026-10-25T05:00"),  # the second 02:00
        # At 24:00 of 24 October 2026 clocks in Beirut are turned back to 23:00.
        ([{"days": "25", "timeZone": "Asia/Beirut"}], "2026-10-24T20:30", "2026-10-24T20:30"),
        ([{"days": "24", "timeZone": "Asia/Beirut"}], "2026-10-24T20:30", "2026-10-24T22:00"),
    ],
)
def test_imports_go_on_at_the_first_moment_that_no_off_time_covers(
    off_times: list[dict[str, str]], moment: str, end: str | None
) -> None:
    parsed = tuple(OffTime.model_validate(each) for each in off_times)

    assert end_of_off_time(_moment(moment), parsed) == (end and _moment(end))


@pytest.fixture
def _machine_without_time_zones() -> Iterator[None]:
    zoneinfo.reset_tzpath(to=())
    zoneinfo.ZoneInfo.clear_cache()
    yield
    zoneinfo.reset_tzpath()


@pytest.mark.usefixtures("_machine_without_time_zones")
def test_a_machine_that_has_no_time_zones_knows_them() -> None:
    parsed = OffTime.model_validate(_berlin("18:00-06:00"))

    assert end_of_off_time(_moment("2026-06-30T16:00"), [parsed]) == _moment("2026-07-01T04:00")
