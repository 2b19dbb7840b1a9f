"""Which moment of a schedule came last; the simulated host, which shares no code with it, knows which comes next."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from local_cloud.functions_host.ncrontab import Schedule as HostSchedule
from shared.config.schedule import parse_schedule


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "now", "latest"),
    [
        ("0 0 * * * *", "2026-11-30T10:00:00", "2026-11-30T10:00:00"),
        ("0 0 * * * *", "2026-11-30T09:59:59.999999", "2026-11-30T09:00:00"),
        ("*/30 * * * * *", "2026-11-30T10:00:29.5", "2026-11-30T10:00:00"),
        ("0 30 9 * * mon-fri", "2026-11-30T09:29:00", "2026-11-27T09:30:00"),  # a Monday
        ("0 0 0 1 1 *", "2026-11-30T10:00:00", "2026-01-01T00:00:00"),
        ("0 0 0 29 2 *", "2026-11-30T10:00:00", "2024-02-29T00:00:00"),
        ("0 0 0 29 2 mon", "2051-11-30T10:00:00", "2044-02-29T00:00:00"),
        ("0 5/20 22-23 * * *", "2026-11-30T10:00:00", "2026-11-29T23:45:00"),
        ("0 0 9-8 * * *", "2026-11-30T10:00:00", "2026-11-30T09:00:00"),  # swapped, as the host's library does
    ],
)
def test_the_last_moment_that_has_come_is_found(schedule: str, now: str, latest: str) -> None:
    assert parse_schedule(schedule).latest(at(now)) == at(latest)


def test_a_moment_counts_in_utc_whatever_clock_tells_it() -> None:
    berlin = datetime.fromisoformat("2026-11-30T10:30:00+01:00")

    assert parse_schedule("0 0 * * * *").latest(berlin) == at("2026-11-30T09:00:00")


def test_a_date_that_no_calendar_has_never_came() -> None:
    assert parse_schedule("0 0 0 30 2 *").latest(at("2026-11-30T10:00:00")) is None


def test_the_app_and_the_host_mean_the_same_moments() -> None:
    chance = random.Random(15)  # not for secrets

    def field(least: int, most: int) -> str:
        first, last = sorted((chance.randint(least, most), chance.randint(least, most)))
        return chance.choice(["*", str(first), f"{first}-{last}", f"*/{last or 1}", f"{first},{last}", f"{first}/7"])

    for _ in range(300):
        text = " ".join(field(*bounds) for bounds in ((0, 59), (0, 59), (0, 23), (1, 28), (1, 12), (0, 6)))
        start = at("2026-11-30T10:00:00") + timedelta(seconds=chance.randint(0, 10**8))
        moment = HostSchedule.parse(text).next_after(start)

        assert parse_schedule(text).latest(moment) == moment, text
        before = parse_schedule(text).latest(moment - timedelta(microseconds=1))
        assert before is not None
        assert before <= start, text
