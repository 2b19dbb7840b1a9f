"""The import lock: one call of ImportFromPackage at a time in an environment, among all threads of all hosts.

A lease keeps the hosts apart. Within a host a lock stands before it, so that one thread at a time asks storage.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from shared.azure_storage.leases import Leases
from shared.errors import LeaseTaken

# Seconds that a worker waits for the lock, asking this often if another host has it. F&O needs about as long for small
# packages; sent back through the queue, each package would wait for the next poll of the queue instead.
LOCK_WAIT_S: Final = 10.0
ASK_EVERY_S: Final = 0.1
# Seconds after which a host whose threads follow each other without a gap lets another host ask once.
BUSY_S: Final = 5.0


class ImportLock:
    """The lock of one environment, as the threads of this process take it."""

    def __init__(self, leases: Leases, name: str) -> None:
        """name: of the lease."""
        self._leases = leases
        self._name = name
        self._of_process = threading.Lock()
        self._released = 0.0
        self._busy_since = 0.0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock while the block runs. Raises LeaseTaken if it does not come soon; TryAgain, NeedsPerson."""
        give_up = time.monotonic() + LOCK_WAIT_S
        if not self._of_process.acquire(timeout=LOCK_WAIT_S):
            raise LeaseTaken(f"other threads of this host hold {self._name}")
        try:
            self._give_way_if_busy()
            with ExitStack() as lease:
                self._take(lease, give_up)
                yield
        finally:
            self._released = time.monotonic()
            self._of_process.release()

    def _take(self, lease: ExitStack, give_up: float) -> None:
        while True:
            try:
                lease.enter_context(self._leases.hold(self._name))
                return
            except LeaseTaken:
                if time.monotonic() > give_up:
                    raise
            time.sleep(ASK_EVERY_S)  # the queue would take longer; see LOCK_WAIT_S

    def _give_way_if_busy(self) -> None:
        now = time.monotonic()
        if now - self._released > 2 * ASK_EVERY_S:
            self._busy_since = now
        elif now - self._busy_since > BUSY_S:
            time.sleep(2 * ASK_EVERY_S)  # another host that waits asks meanwhile
            self._busy_since = time.monotonic()
