"""Queue messages that say "scan now" or "these lanes may have work", now or after a delay; and poison messages.

A message is a hint and plain text, never JSON (the Functions host rewrites JSON text on its output binding). Delays are
the queue's own visibility timeout, which bindings cannot set: hence the SDK.
"""

import base64
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.queue import QueueClient, QueueMessage, QueueServiceClient, TextBase64EncodePolicy

from shared.azure_storage.errors import QUEUES, mapped
from shared.azure_storage.queue_names import POISON, WORK

# https://learn.microsoft.com/rest/api/storageservices/put-message: at most 7 days, and below the message's life.
LONGEST_DELAY_S: Final = 6 * 24 * 3600

# How many poison messages are taken at once (storage gives no more), and for how many seconds nobody else sees them.
TAKEN_AT_ONCE: Final = 32
TAKEN_FOR_S: Final = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLength:
    """How many messages there are, those included that wait for their time. Storage says so approximately."""

    waiting: int
    given_up: int  # by the host: poison messages


class WorkQueue:
    """The queue ``work``, made at its first use; and what it and queues of older versions have of poison messages.

    All verbs raise TryAgain and NeedsPerson.
    """

    def __init__(self, service: QueueServiceClient, *, queue: str = WORK) -> None:
        self._service = service
        self._queue = queue

    @cached_property
    def _client(self) -> QueueClient:
        # The host decodes base64 unless host.json says otherwise.
        return self._service.get_queue_client(self._queue, message_encode_policy=TextBase64EncodePolicy())

    def send(self, text: str, *, delay_s: float = 0.0) -> None:
        """Send one message that becomes visible after delay_s seconds."""
        # Storage counts whole seconds. Rounded up, because a wake-up that comes before its run is due has no effect.
        delay = min(max(math.ceil(delay_s), 0), LONGEST_DELAY_S)
        with mapped(f"send to {self._queue}", QUEUES):
            try:
                self._client.send_message(text, visibility_timeout=delay)
            except ResourceNotFoundError:
                with suppress(ResourceExistsError):  # another worker was quicker
                    self._client.create_queue()
                self._client.send_message(text, visibility_timeout=delay)

    def length(self, queue: str) -> QueueLength:
        """Return about how many messages a queue and its poison queue hold."""
        return QueueLength(waiting=self._count(queue), given_up=self._count(queue + POISON))

    def _count(self, queue: str) -> int:
        with mapped(f"count {queue}", QUEUES):
            try:
                return self._service.get_queue_client(queue).get_queue_properties().approximate_message_count or 0
            except ResourceNotFoundError:
                return 0  # it is made when the first message is sent

    @contextmanager
    def poison_messages(self, queue: str) -> Iterator[list[str]]:
        """Yield messages that the host gave up on, of one queue; delete them once the block ends well.

        After a block that raised they come again, ten minutes later.
        """
        # Another client than for sending: what is put aside need not be base64, which is one of the reasons for it.
        poison = self._service.get_queue_client(queue + POISON)
        messages: list[QueueMessage] = []
        # Not found: the host makes it when it needs it.
        with mapped(f"read {queue}{POISON}", QUEUES), suppress(ResourceNotFoundError):
            pages = poison.receive_messages(messages_per_page=TAKEN_AT_ONCE, visibility_timeout=TAKEN_FOR_S)
            messages = list(next(pages.by_page(), ()))
        yield [_text_of(message.content) for message in messages]
        for message in messages:
            with mapped(f"clear {queue}{POISON}", QUEUES), suppress(ResourceNotFoundError):  # a person was quicker
                poison.delete_message(message.id, message.pop_receipt)


def _text_of(content: str) -> str:
    """Return what a message says; one that is no base64 text as it is."""
    try:
        return base64.b64decode(content, validate=True).decode()
    except ValueError:
        return content
