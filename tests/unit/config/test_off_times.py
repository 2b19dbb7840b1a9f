"""When a time in which nothing is imported ends."""

from datetime import UTC, datetime

import pytest

from shared.config.model import OffTime
from shared.config.off_times import end_of_off_time

MONTH_END = {"days": "28-31, 1", "hours": "18:00-06:00"}
WEEKEND = {"weekdays": "sat-sun"}


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
    ],
)
def test_imports_go_on_at_the_first_moment_that_no_off_time_covers(
    off_times: list[dict[str, str]], moment: str, end: str | None
) -> None:
    parsed = tuple(OffTime.model_validate(each) for each in off_times)

    assert end_of_off_time(_moment(moment), parsed) == (end and _moment(end))
