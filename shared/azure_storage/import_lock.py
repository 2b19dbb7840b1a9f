"""Turns: something that one worker may do at a time, among all threads of all hosts.

A lease keeps the hosts apart. Within a host the lease is handed from thread to thread, because taking it anew for each
costs two calls to storage, and asking for one that another thread has, a call each time.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from shared.azure_storage.leases import Leases
from shared.errors import LeaseTaken

# Seconds that one worker waits for its turn, asking this often where another host has it. F&O needs about as long for
# small packages; sent back through the queue, each package would wait for the next look at the queue instead.
TURN_WAIT_S: Final = 10.0
TURN_LOOK_S: Final = 0.1
# Seconds for which threads of one host may hand the turn on, while other hosts may be waiting for it.
HANDED_ON_S: Final = 5.0
# Seconds for which a thread stays with the turn that nobody waits for: with many data projects at work the next package
# is on its way, and two calls to storage take longer.
LINGER_S: Final = 0.05


class Turns:
    """The turns at one thing, as the threads of this process take them."""

    def __init__(self, leases: Leases, name: str) -> None:
        """name: of the lease."""
        self._leases = leases
        self._name = name
        lock = threading.Lock()
        self._changed = threading.Condition(lock)
        self._wanted = threading.Condition(lock)  # somebody has begun to wait
        self._is_busy = False
        self._waiting = 0
        self._lease: AbstractContextManager[None] | None = None
        self._leased_at = 0.0
        self._gives_way = False

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the turn while the block runs. Raises LeaseTaken where it does not come soon; TryAgain, NeedsPerson."""
        give_up = time.monotonic() + TURN_WAIT_S
        self._begin(give_up)
        try:
            if self._lease is None:
                self._lease = self._taken(give_up)
                self._leased_at = time.monotonic()
            yield
        finally:
            self._end()

    def _begin(self, give_up: float) -> None:
        with self._changed:
            self._waiting += 1
            self._wanted.notify()
            try:
                if not self._changed.wait_for(lambda: not self._is_busy, give_up - time.monotonic()):
                    raise LeaseTaken(f"other threads of this host hold {self._name}")
                self._is_busy = True
            finally:
                self._waiting -= 1

    def _end(self) -> None:
        with self._changed:
            if self._lease:
                self._wanted.wait_for(lambda: self._waiting, LINGER_S)
            is_handed_on = self._waiting > 0 and time.monotonic() - self._leased_at < HANDED_ON_S
            self._gives_way = self._waiting > 0 and not is_handed_on
            if is_handed_on or not self._lease:
                self._set_free()  # in the same breath, so that whoever is counted on is still there to take it
                return
            lease, self._lease = self._lease, None
        lease.__exit__(None, None, None)
        with self._changed:
            self._set_free()

    def _set_free(self) -> None:
        self._is_busy = False
        self._changed.notify()

    def _taken(self, give_up: float) -> AbstractContextManager[None]:
        if self._gives_way:
            time.sleep(2 * TURN_LOOK_S)  # in which another host that waits asks once
        while True:
            lease = self._leases.hold(self._name)
            try:
                lease.__enter__()
                return lease
            except LeaseTaken:
                if time.monotonic() > give_up:
                    raise
            time.sleep(TURN_LOOK_S)  # the queue would take longer; see TURN_WAIT_S
