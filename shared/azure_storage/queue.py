"""Wake-ups: queue messages that say "scan now" or "these lanes may have work", now or after a delay.

Also those that the Functions host gave up on, because their function failed again and again.

A message is a hint and plain text, never JSON (the Functions host rewrites JSON text on its output binding). Delays are
the queue's own visibility timeout, which bindings cannot set: hence the SDK.
"""

import base64
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shared.azure_storage.transport import storage_error, storage_errors

if TYPE_CHECKING:
    from azure.storage.queue import QueueClient, QueueMessage, QueueServiceClient

WORK: Final = "work"
# The queues of older versions, each with its function. Nobody reads their messages any more: the timer finds what they
# were about. What the host gave up on there is still told of.
OLDER_QUEUES: Final[Mapping[str, str]] = {
    "inbound-looks": "look_for_files",
    "inbound-work": "advance_imports",
    "outbound-work": "advance_exports",
}

# https://learn.microsoft.com/rest/api/storageservices/put-message: at most 7 days, and below the message's life.
LONGEST_DELAY_S: Final = 6 * 24 * 3600

# Where the host puts a message that failed maxDequeueCount times (host.json).
# https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue-trigger#poison-messages
POISON: Final = "-poison"
# How many of those are taken at once (storage gives no more), and for how many seconds nobody else sees them meanwhile.
TAKEN_AT_ONCE: Final = 32
TAKEN_FOR_S: Final = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLength:
    """How many messages there are, those included that wait for their time. Storage says so approximately."""

    waiting: int
    given_up: int  # by the host; in the poison queue


class WakeQueue:
    """Sends wake-ups. The queue is made at its first use."""

    def __init__(self, service: "QueueServiceClient", *, queue: str = WORK) -> None:
        self._service = service
        self._queue = queue
        self._own: QueueClient | None = None

    def send(self, text: str, *, delay_s: float = 0.0) -> None:
        """Send one message that becomes visible after delay_s seconds. Raises TryAgain, NeedsPerson."""
        from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError

        client = self._client()
        # Storage counts whole seconds. Rounded up, because a wake-up that comes before its run is due has no effect.
        delay = min(max(math.ceil(delay_s), 0), LONGEST_DELAY_S)
        with _explained(f"send to {self._queue}"):
            try:
                client.send_message(text, visibility_timeout=delay)
            except ResourceNotFoundError:
                with suppress(ResourceExistsError):  # another worker was quicker
                    client.create_queue()
                client.send_message(text, visibility_timeout=delay)

    def length(self, queue: str) -> QueueLength:
        """Return about how many messages a queue and its poison queue hold. Raises TryAgain, NeedsPerson."""
        return QueueLength(waiting=self._count(queue), given_up=self._count(queue + POISON))

    def _count(self, name: str) -> int:
        from azure.core.exceptions import ResourceNotFoundError

        with _explained(f"look at {name}"):
            try:
                return self._service.get_queue_client(name).get_queue_properties().approximate_message_count or 0
            except ResourceNotFoundError:
                return 0  # it is made when the first message is sent

    @contextmanager
    def given_up(self, queue: str) -> Iterator[list[str]]:
        """Give out what the host gave up on, of one queue; it is deleted once the block ends well.

        After a block that raised it comes again, ten minutes later. Raises TryAgain, NeedsPerson.
        """
        from azure.core.exceptions import ResourceNotFoundError

        # Another client than for sending: what is put aside need not be base64, which is one of the reasons for it.
        poison = self._service.get_queue_client(queue + POISON)
        messages: list[QueueMessage] = []
        with _explained(f"read {queue}{POISON}"), suppress(ResourceNotFoundError):  # the host makes it when it needs it
            pages = poison.receive_messages(messages_per_page=TAKEN_AT_ONCE, visibility_timeout=TAKEN_FOR_S)
            messages = list(next(pages.by_page(), ()))
        yield [_text_of(message.content) for message in messages]
        for message in messages:
            with _explained(f"clear {queue}{POISON}"), suppress(ResourceNotFoundError):  # a person was quicker
                poison.delete_message(message.id, message.pop_receipt)

    def _client(self) -> "QueueClient":
        from azure.storage.queue import TextBase64EncodePolicy

        if self._own is None:
            # The host decodes base64 unless host.json says otherwise.
            self._own = self._service.get_queue_client(self._queue, message_encode_policy=TextBase64EncodePolicy())
        return self._own


@contextmanager
def _explained(operation: str) -> Iterator[None]:
    """Tell what an error of the storage SDK means."""
    try:
        yield
    except storage_errors() as error:
        raise storage_error(
            error, service="queue storage", operation=operation, role="Storage Queue Data Contributor"
        ) from error


def _text_of(content: str) -> str:
    """Return what a message says; one that is no base64 text as it is."""
    try:
        return base64.b64decode(content, validate=True).decode()
    except ValueError:
        return content
