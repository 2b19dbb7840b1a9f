"""The queue trigger: polls a queue, runs a function for each message, and says what becomes of it.

Follows QueueListener and QueueProcessor of the Storage extension, whose behaviour differs from its documentation in
places: the lease of a running message is fixed, and ``visibilityTimeout`` is only the delay after a failed run.
https://github.com/Azure/azure-sdk-for-net/tree/main/sdk/storage/Microsoft.Azure.WebJobs.Extensions.Storage.Common/src/Shared/Queues
"""

import asyncio
import base64
import contextlib
import json
import logging
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueServiceClient

from local_cloud.functions_host.runtime import TypedData
from local_cloud.functions_host.settings import QueueOptions

LEASE_S: Final = 600  # seconds a received message stays invisible; hard-coded in the real host as well
_MIN_POLLING_S: Final = 0.1
_JITTER: Final = 0.2
_POISON: Final = "-poison"
_LONGEST_NAME: Final = 63  # characters of a queue's name
# A message that someone else has received since, or that is gone with or without its queue.
_TAKEN_OVER: Final = frozenset(
    {"PopReceiptMismatch", "MessageNotFound", "QueueNotFound", "QueueBeingDeleted", "QueueDisabled"}
)

log = logging.getLogger("Host.Queues")

type RunMessage = Callable[[QueueMessage, bytes], Awaitable[bool]]  # (message, its decoded body) -> succeeded


class Wakes:
    """Tells listeners of this host that this host has just written to their queue, so that they need not poll for it.

    What the app sends with the storage SDK goes unnoticed, as in Azure.
    """

    def __init__(self) -> None:
        self._events: dict[str, list[asyncio.Event]] = defaultdict(list)

    def register(self, queue_name: str, event: asyncio.Event) -> None:
        """Set this event whenever the queue has been written to."""
        self._events[queue_name].append(event)

    def written(self, queue_name: str) -> None:
        """Wake the listeners of the queue."""
        for event in self._events[queue_name]:
            event.set()


class Polling:
    """How long to wait before the next poll of an empty queue: 100 ms, then about twice as long each time.

    https://github.com/Azure/azure-sdk-for-net/blob/main/sdk/storage/Microsoft.Azure.WebJobs.Extensions.Storage.Common/src/Shared/Timers/RandomizedExponentialBackoffStrategy.cs
    """

    def __init__(self, max_interval_s: float) -> None:
        self._max_s = max_interval_s
        self._current_s = 0.0
        self._exponent = 0

    def found(self) -> None:
        """Messages were there: the next wait is the shortest again."""
        self._current_s, self._exponent = 0.0, 0

    def next_delay_s(self) -> float:
        """Seconds to wait after a poll that found nothing."""
        if self._current_s == self._max_s:
            return self._max_s
        delay = _MIN_POLLING_S
        if self._exponent:
            delay += random.uniform(1 - _JITTER, 1 + _JITTER) * 2 ** (self._exponent - 1) * _MIN_POLLING_S
        self._exponent += 1
        self._current_s = min(delay, self._max_s)
        return self._current_s


class QueueListener:
    """Listens to one queue for one function."""

    def __init__(
        self,
        queue_name: str,
        service: QueueServiceClient,
        run: RunMessage,
        *,
        options: QueueOptions,
        lease_s: int,
        wakes: Wakes,
    ) -> None:
        """lease_s: seconds a message stays invisible while it is worked on, and after its host was killed."""
        self._name = queue_name
        self._service = service
        self._queue = service.get_queue_client(queue_name)
        self._run = run
        self._options = options
        self._lease_s = lease_s
        self._wakes = wakes
        self._polling = Polling(options.max_polling_interval_s)
        self._running: set[asyncio.Task[None]] = set()
        self._slot_free = asyncio.Event()
        self._wake = asyncio.Event()
        self._stopping = False
        self._trouble = ""  # the last one that was logged; repeating it each poll would bury everything else
        wakes.register(queue_name, self._wake)

    async def listen(self) -> None:
        """Poll and run until stopped; ends when the messages that are being worked on then are completed."""
        while not self._stopping:
            self._wake.clear()  # before the poll: what is written during it is not missed
            messages = await self._receive()
            for message in messages:
                task = asyncio.create_task(self._process(message))
                self._running.add(task)
                task.add_done_callback(self._ended)
            if messages:
                self._polling.found()
                await self._until_threshold()
            elif not self._stopping:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), self._polling.next_delay_s())
        if self._running:
            await asyncio.wait(self._running)

    def stop(self) -> None:
        """Receive no more messages."""
        self._stopping = True
        self._wake.set()
        self._slot_free.set()

    async def _until_threshold(self) -> None:
        """A new batch is fetched once so few are left; so up to batch size and threshold run side by side."""
        while len(self._running) > self._options.new_batch_threshold and not self._stopping:
            self._slot_free.clear()
            await self._slot_free.wait()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._slot_free.set()
        if not task.cancelled() and (error := task.exception()):
            # The message stays leased and comes back by itself.
            log.error("A message of the queue '%s' could not be completed: %s", self._name, error)

    async def _receive(self) -> list[QueueMessage]:
        """The next batch; none where the queue is missing (the host waits for it and does not create it)."""
        try:
            pages = self._queue.receive_messages(
                messages_per_page=self._options.batch_size, visibility_timeout=self._lease_s
            ).by_page()
            page = await anext(pages, None)
            messages = [message async for message in page] if page is not None else []
        except ResourceNotFoundError:
            # No warning: nobody has written to it since the app's first start.
            self._note(f"The queue '{self._name}' does not exist yet; waiting for it", logging.INFO)
        except AzureError as error:
            self._note(f"The queue '{self._name}' cannot be read: {type(error).__name__}: {error}")
        else:
            self._trouble = ""
            return messages
        return []

    def _note(self, trouble: str, level: int = logging.WARNING) -> None:
        if trouble != self._trouble:
            log.log(level, "%s", trouble)
            self._trouble = trouble

    async def _process(self, message: QueueMessage) -> None:
        too_often = f"has reached MaxDequeueCount of {self._options.max_dequeue_count}"
        try:
            body = _decoded(message.content, self._options)
        except ValueError:
            await self._to_poison(message, "is not base64 (host.json, messageEncoding)")
            return
        if (message.dequeue_count or 0) > self._options.max_dequeue_count:
            await self._to_poison(message, too_often)
            return
        ended = asyncio.Event()
        renewal = asyncio.create_task(self._renew(message, ended))
        try:
            succeeded = await self._run(message, body)
        finally:
            # Awaited, not cancelled: a renewal on its way changes the receipt that the message is deleted with.
            ended.set()
            await renewal
        if succeeded:
            await self._delete(message)
        elif self._poison_name is None:
            pass  # it stays invisible, or a message that always fails would spin
        elif (message.dequeue_count or 0) >= self._options.max_dequeue_count:
            await self._to_poison(message, too_often)
        else:
            await self._release(message)

    async def _renew(self, message: QueueMessage, ended: asyncio.Event) -> None:
        """Renew the lease at half time; sooner again after each renewal that failed."""
        wait_s = self._lease_s / 2
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), wait_s)
            if ended.is_set():
                return
            try:
                renewed = await self._queue.update_message(
                    message.id, message.pop_receipt, visibility_timeout=self._lease_s
                )
                message.pop_receipt = renewed.pop_receipt
                wait_s = self._lease_s / 2
            except AzureError as error:
                if _is_taken_over(error):
                    log.warning("The lease of message %s of '%s' is lost: it may run twice", message.id, self._name)
                    return
                log.warning("The lease of message %s of '%s' was not renewed: %s", message.id, self._name, error)
                wait_s = max(wait_s / 2, 0.5)

    async def _delete(self, message: QueueMessage) -> None:
        with self._taken_over(message):
            await self._queue.delete_message(message.id, message.pop_receipt)

    async def _release(self, message: QueueMessage) -> None:
        with self._taken_over(message):
            await self._queue.update_message(
                message.id, message.pop_receipt, visibility_timeout=self._options.visibility_timeout_s
            )

    @contextlib.contextmanager
    def _taken_over(self, message: QueueMessage) -> Iterator[None]:
        """Someone else has the message since its lease ran out, or it is gone: it is theirs to complete."""
        try:
            yield
        except HttpResponseError as error:
            if not _is_taken_over(error):
                raise
            log.warning("Message %s of '%s' is no longer ours: it may run twice", message.id, self._name)

    @property
    def _poison_name(self) -> str | None:
        """None for poison queues themselves and for names that would grow too long."""
        name = self._name + _POISON
        return None if self._name.endswith(_POISON) or len(name) > _LONGEST_NAME else name

    async def _to_poison(self, message: QueueMessage, reason: str) -> None:
        if (poison := self._poison_name) is None:
            return
        log.warning("Message %s %s. Moving it to the queue '%s'.", message.id, reason, poison)
        await send(self._service, poison, str(message.content))
        self._wakes.written(poison)
        await self._delete(message)


async def send(service: QueueServiceClient, queue_name: str, content: str) -> None:
    """Send a message as it is, to a queue that is created where it is missing. Raises AzureError."""
    queue = service.get_queue_client(queue_name)
    try:
        await queue.send_message(content)
    except ResourceNotFoundError:
        with contextlib.suppress(ResourceExistsError):  # another message was quicker
            await queue.create_queue()
        await queue.send_message(content)


def encoded(body: bytes, options: QueueOptions) -> str:
    """The text that a body is stored as. Raises ValueError where there is no encoding and it is not UTF-8."""
    return base64.b64encode(body).decode() if options.base64 else body.decode()


def _decoded(content: str, options: QueueOptions) -> bytes:
    if not options.base64:
        return content.encode()
    return base64.b64decode("".join(content.split()), validate=True)


def _is_taken_over(error: AzureError) -> bool:
    return getattr(error, "error_code", None) in _TAKEN_OVER


def trigger_metadata(message: QueueMessage, text: str) -> Mapping[str, TypedData]:
    """What a queue function learns of its message besides the body.

    https://github.com/Azure/azure-sdk-for-net/blob/main/sdk/storage/Microsoft.Azure.WebJobs.Extensions.Storage.Queues/src/Triggers/QueueTriggerBinding.cs
    """
    return {
        "QueueTrigger": TypedData(string=text),
        "Id": TypedData(string=message.id),
        "PopReceipt": TypedData(string=str(message.pop_receipt)),
        # The host sends what is neither text nor bytes as JSON.
        "DequeueCount": TypedData(json=json.dumps(message.dequeue_count)),
        "InsertionTime": _moment(message.inserted_on),
        "ExpirationTime": _moment(message.expires_on),
        "NextVisibleTime": _moment(message.next_visible_on),
    }


def _moment(moment: datetime | None) -> TypedData:
    return TypedData(json=json.dumps((moment or datetime.max.replace(tzinfo=UTC)).isoformat()))
