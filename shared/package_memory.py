"""Room in memory for packages on their way: so many at once that the process stays small, the others wait a little.

A process takes 24 queue messages at a time (host.json), and each may be about a large package. An instance of 512 MB
has about half of that for the app's process.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Final

from shared.errors import TryAgain

# What a large package on its way takes in memory, whatever its size: up to six blocks of 4 MiB into F&O's storage, up
# to four chunks of 7.5 MiB into OneDrive. Observed: 24 of 256 MiB at once took 33 MB each in, and 24 MB each out.
LARGE_BYTES: Final = 32 * 1024 * 1024
# A small one is kept as a whole, twice for a moment. Beside the content there is what reading a zip takes.
_COPIES: Final = 2
_AROUND_BYTES: Final = 1024 * 1024

# Three large packages at once, or 24 of one MiB and more. Beside them lie about 95 MB of the app and its libraries.
# What this comes to is measured: small_instance in docs/performance.md.
ROOM_BYTES: Final = 3 * LARGE_BYTES

# Numbers of malloc.h, and what an arena may keep: pieces of 1 MiB are read all the time, blocks and chunks are larger.
_MMAP_THRESHOLD: Final = -3
_TRIM_THRESHOLD: Final = -1
_KEPT_BYTES: Final = 2 * 1024 * 1024

# Seconds that a package waits for room within its invocation. The instance is billed meanwhile for those that have it,
# and to wait in the queue costs calls to storage; but a message that waits takes the place of one about a small file.
WAIT_S: Final = 30.0


class NoRoom(TryAgain):
    """So many packages are on their way in this process that this one has to wait."""


class Room:
    """The room of one process. Those that fit go, in whatever order they came."""

    def __init__(self, size_bytes: int = ROOM_BYTES) -> None:
        self._free_bytes = size_bytes
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, package_bytes: int) -> Iterator[None]:
        """Have the room that a package of this size needs while the block runs. Raises NoRoom if it takes too long."""
        needed = min(package_bytes * _COPIES + _AROUND_BYTES, LARGE_BYTES)
        with self._changed:
            if not self._changed.wait_for(lambda: self._free_bytes >= needed, WAIT_S):
                raise NoRoom("Other large packages are being transferred. This one starts when one of them is done")
            self._free_bytes -= needed
        try:
            if needed == LARGE_BYTES:
                give_memory_back()
            yield
        finally:
            with self._changed:
                self._free_bytes += needed
                self._changed.notify_all()


@cache
def give_memory_back() -> None:
    """Let the C library give memory back to Linux as soon as it is freed, from two MiB on.

    Of itself glibc raises both limits to the largest piece that was freed, and then keeps up to twice as much of it for
    each of its arenas, of which threads have several. Observed: 24 threads that moved large packages, three at a time,
    kept more than 100 MB. https://man7.org/linux/man-pages/man3/mallopt.3.html
    """
    import ctypes  # loaded for the first large package

    with suppress(OSError, AttributeError):  # another C library, which has no such limits
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(_MMAP_THRESHOLD, _KEPT_BYTES)
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
