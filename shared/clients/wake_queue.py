"""Wake-ups: queue messages that say "look now" or "this lane may have work", now or after a delay.

A message is a hint and plain text, never JSON (the Functions host rewrites JSON text on its output binding). Delays are
the queue's own visibility timeout, which bindings cannot set: hence the SDK.
"""

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from shared.clients.storage import storage_error, storage_errors

if TYPE_CHECKING:
    from azure.storage.queue import QueueClient, QueueServiceClient

LOOKS: Final = "inbound-looks"
IMPORT_WORK: Final = "inbound-work"
EXPORT_WORK: Final = "outbound-work"

# https://learn.microsoft.com/rest/api/storageservices/put-message: at most 7 days, and below the message's life.
LONGEST_DELAY_S: Final = 6 * 24 * 3600


class WakeQueue:
    """Sends wake-ups. Queues are made at the first use."""

    def __init__(self, service: "QueueServiceClient") -> None:
        self._service = service
        self._clients: dict[str, QueueClient] = {}

    def send(self, queue: str, text: str, *, delay_s: float = 0.0) -> None:
        """Send one message that becomes visible after delay_s seconds. Raises TryAgain, NeedsPerson."""
        from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError

        client = self._client(queue)
        # Storage counts whole seconds. Rounded up, because a wake-up that comes before its run is due has no effect.
        delay = min(max(math.ceil(delay_s), 0), LONGEST_DELAY_S)
        try:
            try:
                client.send_message(text, visibility_timeout=delay)
            except ResourceNotFoundError:
                with suppress(ResourceExistsError):  # another worker was quicker
                    client.create_queue()
                client.send_message(text, visibility_timeout=delay)
        except storage_errors() as error:
            raise storage_error(
                error,
                service="queue storage",
                operation=f"send to {queue}",
                role="Storage Queue Data Contributor",
            ) from error

    def _client(self, queue: str) -> "QueueClient":
        from azure.storage.queue import TextBase64EncodePolicy

        if queue not in self._clients:
            # The host decodes base64 unless host.json says otherwise.
            self._clients[queue] = self._service.get_queue_client(queue, message_encode_policy=TextBase64EncodePolicy())
        return self._clients[queue]
