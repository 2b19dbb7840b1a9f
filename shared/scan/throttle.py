"""When to scan for new files: what one process remembers, so that a storm of notifications costs few scans.

Every change in a drive makes a notification, each move of ours among them. Nothing here is saved: what another process
knows, or one that was killed has forgotten, costs one scan too many, and no file.
"""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

# Seconds between two scans that notifications ask for. The first comes at once; what is notified after it is seen by
# one more scan, put off by so much, whether it was one notification or a hundred. A small package is on its way for
# about as long, so the notifications of both its moves share one.
SCAN_EVERY_S: Final = 3.0

# A notification that comes within this time of a change of our own is taken to be about it, so a scan that finds
# nothing then is not repeated. Another file may have come at that very moment, before its listing shows the file: then
# the next scan finds it, the minute's timer at the latest.
ECHO: Final = timedelta(seconds=10)

# Seconds that a notification waits for the message of another one to be sent. Graph waits three for its answer.
SENDING_S: Final = 1.0

_NEVER: Final = datetime.min.replace(tzinfo=UTC)


class ScanThrottle:
    """The scans of one process. All methods may be called by several threads at once; times are in UTC."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._requested_for = _NEVER  # from when on the scan that was requested last can start
        self._started = _NEVER
        self._repeats_at = _NEVER
        self._changed = _NEVER

    def request(self, now: datetime, send: Callable[[float], None]) -> bool:
        """Ensure that a scan starts after now; return False if one is already scheduled.

        send: requests a scan in so many seconds; what it raises passes through, and nothing counts as requested.
        """
        with self._one_sends():
            delay_s = self._delay_s(now)
            if delay_s is None:
                return False
            send(delay_s)
            self._requested_for = now + timedelta(seconds=delay_s)
            return True

    @contextmanager
    def _one_sends(self) -> Iterator[None]:
        """Let one thread at a time send: only what has been sent can stand for another one.

        While the queue hangs for one, the others send for themselves: a scan too many costs little.
        """
        is_ours = self._sending.acquire(timeout=SENDING_S)
        try:
            yield
        finally:
            if is_ours:
                self._sending.release()

    def _delay_s(self, now: datetime) -> int | None:
        """Return in how many seconds a scan that is requested now is to start; None if one starts after now anyway."""
        ahead_s = (self._requested_for - now).total_seconds()
        if 0 < ahead_s <= SCAN_EVERY_S:  # more: the clock was turned back
            return None
        wait_s = SCAN_EVERY_S + ahead_s
        return math.ceil(wait_s) if 0 < wait_s <= SCAN_EVERY_S else 0  # a queue counts whole seconds

    def start(self, now: datetime) -> None:
        """Note that a scan starts."""
        self._started = now

    def has_started_since(self, moment: datetime) -> bool:
        """Return whether a scan has started at that time or later: it sees what could be seen then."""
        return moment <= self._started

    def repeat(self, now: datetime, moment: datetime) -> bool:
        """Note that the scan is to be repeated at that time; return False if it is repeated sooner anyway."""
        with self._lock:
            if now < self._repeats_at <= moment:
                return False
            self._repeats_at = moment
            return True

    def note_change(self, now: datetime) -> None:
        """Note that the app has changed something in OneDrive."""
        self._changed = now

    def is_echo(self, now: datetime) -> bool:
        """Return whether a notification of that time may well be about a change of our own."""
        return now - self._changed <= ECHO
