"""Leases of names: exclusive rights, each held by one worker of all hosts. Kept as blobs ``locks/<name>``.

A lease keeps workers out of each other's way; it is no proof. What must not happen twice is guarded by conditional
writes, because a worker that is stopped for a minute loses its lease without noticing.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING, Final

from shared.errors import AppError
from shared.log import log

if TYPE_CHECKING:
    from shared.azure_storage.container import BlobContainer, BlobLease

# Azure allows 15 to 60 seconds. https://learn.microsoft.com/rest/api/storageservices/lease-blob
# Short, because a lane stands still for so long after its worker was killed.
LEASE_S: Final = 30
RENEW_EVERY_S: Final = 10.0


class Leases:
    """Leases in a blob container."""

    def __init__(self, container: "BlobContainer") -> None:
        self._container = container

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """Hold a lease while the block runs; it is renewed meanwhile.

        Raises LeaseTaken if another worker has it; TryAgain, NeedsPerson.
        """
        lease = self._container.lease(f"locks/{name}", LEASE_S)
        try:
            with _renewed(lease, name):
                yield
        finally:
            try:
                lease.release()
            except AppError as error:  # it runs out by itself within half a minute
                log.warning("lease.release_failed", lease=name, reason=str(error))


@contextmanager
def _renewed(lease: "BlobLease", name: str) -> Iterator[None]:
    """Renew a lease in the background while the block runs."""
    done = threading.Event()

    def renew() -> None:
        while not done.wait(RENEW_EVERY_S):
            try:
                lease.renew()
            except AppError as error:
                log.warning("lease.lost", lease=name, reason=str(error))
                return

    # The context tells the log the invocation: Azure drops lines of threads that it does not know.
    run = copy_context().run
    thread = threading.Thread(target=run, args=(renew,), name=f"renew {name}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
