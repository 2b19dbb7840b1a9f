"""Room in memory for packages on their way: so many at once that the process stays small, the others wait a little.

A process takes 24 queue messages at a time (host.json), and each may be about a large package. An instance of 512 MB
has about half of that for the app's process.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from shared.errors import TryAgain

# What a large package on its way takes in memory, whatever its size: into F&O's storage up to six blocks of 4 MiB, into
# OneDrive up to four chunks of 7.5 MiB, of which memory gives nothing back at once.
# Observed: three imports of 256 MiB took 34 MB each beside the app, three exports 60 MB each.
IMPORT_BYTES: Final = 32 * 1024 * 1024
EXPORT_BYTES: Final = 48 * 1024 * 1024
# A small one is kept as a whole, twice for a moment. Beside the content there is what reading a zip takes.
_COPIES: Final = 2
_AROUND_BYTES: Final = 1024 * 1024

# Three large imports at once, or two large exports, or one of each; or 24 packages of one MiB and more. Beside them lie
# about 95 MB of the app and its libraries. What this comes to is measured: small_instance in docs/performance.md.
ROOM_BYTES: Final = 96 * 1024 * 1024

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
    def taken(self, package_bytes: int, *, at_most: int) -> Iterator[None]:
        """Have the room that a package of this size needs while the block runs. Raises NoRoom if it takes too long.

        at_most: what a large one needs: IMPORT_BYTES or EXPORT_BYTES.
        """
        needed = min(package_bytes * _COPIES + _AROUND_BYTES, at_most)
        with self._changed:
            if not self._changed.wait_for(lambda: self._free_bytes >= needed, WAIT_S):
                raise NoRoom("Other large packages are on their way. It follows when one of them has arrived")
            self._free_bytes -= needed
        try:
            yield
        finally:
            with self._changed:
                self._free_bytes += needed
                self._changed.notify_all()
