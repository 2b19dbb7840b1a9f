"""Times as texts: read from what was saved, and written for people."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from shared.moments import moment_or_none, read_moment, utc_minute_text, utc_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-02T08:00:00+00:00", "2026-11-02T08:00:00+00:00"),
        ("2026-11-02T09:00:00+01:00", "2026-11-02T08:00:00+00:00"),
        ("2026-11-02T08:00:00.5Z", "2026-11-02T08:00:00.500000+00:00"),
        ("2026-11-02T08:00:00", "2026-11-02T08:00:00+00:00"),
    ],
)
def test_a_moment_is_read_in_utc_which_is_also_the_zone_of_one_that_names_none(text: str, expected: str) -> None:
    assert read_moment(text).isoformat() == expected
    assert moment_or_none(text) == read_moment(text)


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00", "yesterday", "", "\ud800", None, 5, ["now"]]
)
def test_what_is_no_moment_is_refused_or_none(text: object) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        read_moment(text)
    assert moment_or_none(text) is None


def test_people_read_every_time_in_utc() -> None:
    moment = datetime(2026, 11, 2, 8, 30, 5, 999, tzinfo=UTC)

    for zone in (UTC, timezone(timedelta(hours=5, minutes=30))):
        assert utc_text(moment.astimezone(zone)) == "2026-11-02 08:30:05 UTC"
        assert utc_minute_text(moment.astimezone(zone)) == "2026-11-02 08:30 UTC"
