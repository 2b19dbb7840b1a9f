"""Locks for calls that are made one at a time: whoever waits for long gives up.

A lock that unrelated work shares is held for moments only, and never across a call to a service. Where one call at a
time is the point (the token of one credential, the look-up of one folder), it is one of these, for that thing alone.
"""

import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Final

from shared.errors import TryAgain

# Seconds after which a waiter gives up. A call that takes longer is in trouble, and so would be the waiter's own.
WAIT_S: Final = 10.0


class CallLock:
    """Lets one thread at a time make a call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @property
    def is_held(self) -> bool:
        """Whether a thread makes the call at this moment."""
        return self._lock.locked()

    @contextmanager
    def held(self, what: str, *, wait_s: float = WAIT_S) -> Iterator[None]:
        """Hold the lock while the block runs. Raises TryAgain if it does not come free within wait_s seconds.

        what: what its holder does, for whoever gives up: "look up the folder 'Input'".
        """
        if not self._lock.acquire(timeout=wait_s):
            raise TryAgain(
                f"Another call has tried to {what} for {wait_s:.0f} seconds without an answer. The app tries again"
            )
        try:
            yield
        finally:
            self._lock.release()


class CallLocks:
    """One such lock for each key."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[Hashable, CallLock] = {}

    def of(self, key: Hashable) -> CallLock:
        """Return the key's lock."""
        with self._lock:
            return self._locks.setdefault(key, CallLock())
