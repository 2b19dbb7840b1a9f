"""When to look for new files: what one process remembers, so that a storm of notifications costs few looks.

Every change in a drive makes a notification, each move of ours among them. Nothing here is saved: what another process
knows, or one that was killed has forgotten, costs one look too many, and no file.
"""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

# Seconds between two looks that notifications ask for. The first comes at once; what is notified after it is seen by
# one more look, put off by so much, whether it was one notification or a hundred. A small package is on its way for
# about as long, so the notifications of both its moves share one.
LOOK_EVERY_S: Final = 3.0

# A notification that comes within this time of a change of our own is taken to be about it, so a look that finds
# nothing then does not look again later. Another file's may have come at that very moment, before its listing shows
# the file: then the next look finds it, the minute's timer at the latest.
ECHO: Final = timedelta(seconds=10)

# Seconds that a notification waits for the message of another one to be sent. Graph waits three for its answer.
SENDING_S: Final = 1.0

_NEVER: Final = datetime.min.replace(tzinfo=UTC)


class Looks:
    """The looks of one process. All methods may be called by several threads at once; moments are in UTC."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._asked_for = _NEVER  # from when on the look that was asked for last can begin
        self._began = _NEVER
        self._again = _NEVER
        self._changed = _NEVER

    def ask(self, now: datetime, send: Callable[[float], None]) -> bool:
        """See that a look begins after now; return False where one that was asked for cannot begin before.

        send: asks for a look in so many seconds; what it raises passes through, and nothing counts as asked for.
        """
        with self._one_sends():
            delay_s = self._delay_s(now)
            if delay_s is None:
                return False
            send(delay_s)
            self._asked_for = now + timedelta(seconds=delay_s)
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
        """Return in how many seconds a look is to begin that is asked for now; None if one begins after now anyway."""
        ahead_s = (self._asked_for - now).total_seconds()
        if 0 < ahead_s <= LOOK_EVERY_S:  # more: the clock was turned back
            return None
        wait_s = LOOK_EVERY_S + ahead_s
        return math.ceil(wait_s) if 0 < wait_s <= LOOK_EVERY_S else 0  # a queue counts whole seconds

    def begin(self, now: datetime) -> None:
        """Note that a look begins."""
        self._began = now

    def has_begun_since(self, asked: datetime) -> bool:
        """Return whether a look has begun at that moment or after it: it sees what was there to be seen then."""
        return asked <= self._began

    def put_off(self, now: datetime, moment: datetime) -> bool:
        """Note that a look is to come again at that moment; return False where one that comes sooner was put off."""
        with self._lock:
            if now < self._again <= moment:
                return False
            self._again = moment
            return True

    def note_change(self, now: datetime) -> None:
        """Note that we have changed something in OneDrive."""
        self._changed = now

    def is_echo(self, now: datetime) -> bool:
        """Return whether a notification that came lately may well be about a change of our own."""
        return now - self._changed <= ECHO
