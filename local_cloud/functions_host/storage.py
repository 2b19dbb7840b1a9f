"""Clients of the storage accounts that the app's connections name; one each, kept until the host stops."""

from contextlib import AsyncExitStack
from typing import Any, Final

from azure.core.credentials_async import AsyncTokenCredential
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueServiceClient

from local_cloud.functions_host.settings import AppSettings, HostSettingsInvalid

_OPTIONS: Final[dict[str, Any]] = {
    "connection_timeout": 5,  # seconds
    "read_timeout": 60,  # seconds
    # The SDK's own retries begin after 15 s; listeners poll again by themselves.
    "initial_backoff": 1,
    "increment_base": 2,
    "retry_total": 2,
}


class Storage:
    """Opens clients on first use. Use within one event loop; close at the end."""

    def __init__(self, settings: AppSettings) -> None:
        self._settings = settings
        self._queues: dict[str, QueueServiceClient] = {}
        self._blobs: dict[str, BlobServiceClient] = {}
        self._identity: AsyncTokenCredential | None = None
        self._open = AsyncExitStack()

    def queues(self, connection_name: str) -> QueueServiceClient:
        """The queue service behind a connection. Raises HostSettingsInvalid when it is not set."""
        if connection_name not in self._queues:
            connection = self._settings.connection(connection_name)
            if connection.connection_string:
                client = QueueServiceClient.from_connection_string(connection.connection_string, **_OPTIONS)
            elif connection.queue_url:
                client = QueueServiceClient(connection.queue_url, self._developer(), **_OPTIONS)
            else:
                raise HostSettingsInvalid(f"the connection {connection_name} has no __queueServiceUri")
            self._open.push_async_callback(client.close)
            self._queues[connection_name] = client
        return self._queues[connection_name]

    def blobs(self, connection_name: str) -> BlobServiceClient:
        """The blob service behind a connection. Raises HostSettingsInvalid when it is not set."""
        if connection_name not in self._blobs:
            connection = self._settings.connection(connection_name)
            if connection.connection_string:
                client = BlobServiceClient.from_connection_string(connection.connection_string, **_OPTIONS)
            elif connection.blob_url:
                client = BlobServiceClient(connection.blob_url, self._developer(), **_OPTIONS)
            else:
                raise HostSettingsInvalid(f"the connection {connection_name} has no __blobServiceUri")
            self._open.push_async_callback(client.close)
            self._blobs[connection_name] = client
        return self._blobs[connection_name]

    async def close(self) -> None:
        """Close all clients."""
        await self._open.aclose()

    def _developer(self) -> AsyncTokenCredential:
        """The developer's own identity, as Core Tools uses it for identity-based connections."""
        if self._identity is None:
            # Imported here: most connections are strings, and it takes long to load.
            from azure.identity.aio import DefaultAzureCredential

            identity = DefaultAzureCredential()
            self._open.push_async_callback(identity.close)
            self._identity = identity
        return self._identity
