"""The app's storage account. Importing this module loads the storage SDK, so ``app.py`` does so at the first use."""

from collections.abc import Callable
from typing import Any, Final

from azure.storage.blob import BlobServiceClient
from azure.storage.blob import LinearRetry as BlobRetry
from azure.storage.queue import LinearRetry as QueueRetry
from azure.storage.queue import QueueServiceClient

from shared.azure_storage.container import BlobContainer
from shared.azure_storage.queue import WorkQueue
from shared.azure_storage.transport import sdk_transport
from shared.clients.entra.app_identity import StorageIdentity
from shared.config.settings import StorageSettings

# Seconds until the SDK tries a call again by itself. It does so twice, asleep inside the call; what lasts longer is for
# whoever made the call to try again.
RETRY_S: Final = 0.5
RETRIES: Final = 2


class StorageAccount:
    """Its clients. Building them makes no call."""

    def __init__(self, settings: StorageSettings, identity: StorageIdentity) -> None:
        """identity: for settings without a connection string."""
        if settings.connection_string:
            connection = settings.connection_string.reveal()
            self.blobs = BlobServiceClient.from_connection_string(connection, **_options(BlobRetry))
            self.queues = QueueServiceClient.from_connection_string(connection, **_options(QueueRetry))
        else:
            self.blobs = BlobServiceClient(settings.blob_url, credential=identity, **_options(BlobRetry))
            self.queues = QueueServiceClient(settings.queue_url, credential=identity, **_options(QueueRetry))

    def container(self, name: str) -> BlobContainer:
        """Return a blob container, which is made at its first use."""
        return BlobContainer(self.blobs.get_container_client(name))

    def queue(self) -> WorkQueue:
        """Return the queue ``work``, which is made at its first use."""
        return WorkQueue(self.queues)

    def close(self) -> None:
        """Close all connections."""
        self.blobs.close()
        self.queues.close()


def _options(retry: Callable[..., object]) -> dict[str, Any]:
    return {
        "retry_policy": retry(backoff=RETRY_S, retry_total=RETRIES, random_jitter_range=0),
        "transport": sdk_transport(connection_timeout=5, read_timeout=30),
        "permit_redirects": False,  # the SDK would follow them with all that the account's own requests hold
    }
