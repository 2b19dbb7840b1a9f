"""Kept connections that nobody has used for long: they are closed before the next call, while nobody uses them."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

# Seconds. Azure drops idle outbound connections after 4 minutes, in part silently; a call on such a connection would
# be lost without a trace, and nobody could say whether it was handled.
# https://learn.microsoft.com/azure/load-balancer/load-balancer-tcp-reset
IDLE_S: Final = 60.0


class IdleConnections:
    """Closes the connections of one client before a call that follows a minute without any."""

    def __init__(self, close: Callable[[], None], *, clock: Callable[[], float] = time.monotonic) -> None:
        """close: closes them all; those of later calls are made anew. clock: seconds."""
        self._close = close
        self._clock = clock
        self._lock = threading.Lock()
        self._in_flight = 0
        self._last_used = clock()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Make one call in the block; several threads may at once."""
        with self._lock:
            if not self._in_flight and self._clock() - self._last_used > IDLE_S:
                self._close()
            self._in_flight += 1
        try:
            yield
        finally:
            with self._lock:
                self._in_flight -= 1
                self._last_used = self._clock()
