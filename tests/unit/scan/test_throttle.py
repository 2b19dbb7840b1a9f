"""A storm of notifications costs few throttle, and none of them is left without one."""

import itertools
import random
from datetime import UTC, datetime, timedelta

import pytest

from shared.scan.throttle import ECHO, SCAN_EVERY_S, ScanThrottle

NOW = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def asked(throttle: ScanThrottle, now: datetime) -> list[float]:
    """Return in how many seconds the look is to come that is asked for now; empty where none is needed."""
    sent: list[float] = []
    throttle.request(now, sent.append)
    return sent


def test_the_first_notification_asks_for_a_scan_at_once() -> None:
    assert asked(ScanThrottle(), NOW) == [0]


def test_notifications_soon_after_a_scan_share_one_that_is_put_off() -> None:
    throttle = ScanThrottle()
    asked(throttle, NOW)

    assert [asked(throttle, later(seconds)) for seconds in (0.4, 0.9, 1.7, 3.3)] == [[3], [], [], []]


def test_a_notification_after_a_quiet_time_asks_for_a_scan_at_once() -> None:
    throttle = ScanThrottle()
    asked(throttle, NOW)

    assert asked(throttle, later(SCAN_EVERY_S)) == [0]


@pytest.mark.parametrize("seed", range(20))
def test_every_notification_is_followed_by_a_scan_within_six_seconds_and_scans_keep_their_distance(seed: int) -> None:
    chance = random.Random(seed)
    throttle, moment = ScanThrottle(), 0.0
    notified, begun = [], []
    for _ in range(300):
        moment += chance.choice((0.0, 0.01, 0.3, 0.9, 2.9, 3.0, 3.1, 9.0))
        notified.append(moment)
        begun += [moment + delay_s for delay_s in asked(throttle, later(moment))]

    for each in notified:
        assert any(each <= look <= each + 2 * SCAN_EVERY_S for look in begun)
    assert all(second - first >= SCAN_EVERY_S - 1e-6 for first, second in itertools.pairwise(begun))


def test_a_scan_that_could_not_be_asked_for_stands_for_no_other() -> None:
    def refused(_delay_s: float) -> None:
        raise ConnectionError

    throttle = ScanThrottle()
    asked(throttle, NOW)
    with pytest.raises(ConnectionError):
        throttle.request(later(1), refused)

    assert asked(throttle, later(1)) == [2]


def test_a_clock_that_is_turned_back_keeps_no_notification_from_being_followed_by_a_scan() -> None:
    throttle = ScanThrottle()
    asked(throttle, later(3600))

    assert asked(throttle, NOW) == [0]


def test_a_scan_answers_all_that_asked_for_one_before_it_began() -> None:
    throttle = ScanThrottle()
    throttle.start(NOW)

    assert throttle.has_started_since(NOW)
    assert throttle.has_started_since(later(-1))
    assert not throttle.has_started_since(later(0.001))


def test_of_scans_that_are_put_off_the_one_that_comes_first_is_enough() -> None:
    throttle = ScanThrottle()
    assert throttle.repeat(NOW, later(20))

    assert not throttle.repeat(later(1), later(21))
    assert throttle.repeat(later(1), later(6))
    assert throttle.repeat(later(7), later(27))  # that one has come


def test_a_notification_soon_after_a_change_of_our_own_may_be_its_echo() -> None:
    throttle = ScanThrottle()
    assert not throttle.is_echo(NOW)

    throttle.note_change(NOW)

    assert throttle.is_echo(NOW + ECHO)
    assert not throttle.is_echo(NOW + ECHO + timedelta(seconds=1))
