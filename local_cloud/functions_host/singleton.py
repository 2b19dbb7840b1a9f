"""One of several hosts listens: a blob lease decides which, as for timers in Azure."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob.aio import BlobLeaseClient, BlobServiceClient

CONTAINER: Final = "azure-webjobs-hosts"  # where hosts keep locks and timer states, also in Azure
# Seconds; the real host's listenerLockPeriod and listenerLockRecoveryPollingInterval are both a minute.
# https://learn.microsoft.com/azure/azure-functions/functions-host-json#singleton
LOCK_S: Final = 60
RECOVERY_S: Final = 60.0
_SHORTEST_LOCK_S: Final = 15  # Azure Storage has no shorter leases

log = logging.getLogger("Host.Singleton")


class Singleton:
    """Runs work while it holds the lease of ``locks/<host id>/Host.Functions.<function>.Listener``."""

    def __init__(self, service: BlobServiceClient, host_id: str, function: str, *, lease_s: int = LOCK_S) -> None:
        """lease_s: seconds until another host can take over from a killed one; 15 to 60."""
        self._lock_s = min(max(lease_s, _SHORTEST_LOCK_S), LOCK_S)
        self._recovery_s = min(float(lease_s), RECOVERY_S)
        self._function = function
        self._container = service.get_container_client(CONTAINER)
        self._blob = self._container.get_blob_client(f"locks/{host_id}/Host.Functions.{function}.Listener")
        self._stopping = asyncio.Event()
        self._trouble = ""  # the last one that was logged

    def stop(self) -> None:
        """Give the lease back once the work has ended; take it no more."""
        self._stopping.set()

    async def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Wait for the lease and run the work, again and again where the lease is lost; ends when stopped.

        The work must end by itself when this is stopped. It is cancelled when the lease is lost.
        """
        while not self._stopping.is_set():
            try:
                if lease := await self._try_lease():
                    self._trouble = ""
                    await self._work_with(lease, work)
                    continue
                self._note("another host of this app runs it, or did until lately")
            except AzureError as error:
                self._note(f"storage answers {type(error).__name__}: {error}")
            await self._pause()

    def _note(self, trouble: str) -> None:
        if trouble != self._trouble:
            log.info("Timer '%s' waits: %s", self._function, trouble)
            self._trouble = trouble

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), self._recovery_s)

    async def _work_with(self, lease: BlobLeaseClient, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        working = asyncio.create_task(work())
        renewing = asyncio.create_task(self._renew(lease))
        try:
            await asyncio.wait({working, renewing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _end(renewing)
            try:
                await _end(working)
            finally:
                with contextlib.suppress(AzureError):  # it runs out by itself
                    await lease.release()

    async def _try_lease(self) -> BlobLeaseClient | None:
        """None where another host has it. Raises AzureError."""
        try:
            return await self._blob.acquire_lease(self._lock_s)
        except ResourceExistsError:
            return None
        except ResourceNotFoundError:
            await self._create_blob()
            return await self._try_lease()

    async def _create_blob(self) -> None:
        with contextlib.suppress(ResourceExistsError):
            await self._container.create_container()
        with contextlib.suppress(ResourceExistsError):
            await self._blob.upload_blob(b"", overwrite=False)

    async def _renew(self, lease: BlobLeaseClient) -> None:
        """Renew at half time; ends when the lease is lost."""
        while True:
            await asyncio.sleep(self._lock_s / 2)
            try:
                await lease.renew()
            except HttpResponseError as error:
                log.warning("Timer '%s' lost its lock: %s", self._function, error.reason)
                return
            except AzureError as error:
                log.warning("The lock of timer '%s' was not renewed: %s", self._function, error)
                return


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel it unless it has ended, and wait for that; raises what it raised."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
