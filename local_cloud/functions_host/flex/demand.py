"""How many instances a group is asked for: by the requests, the messages or the next tick that wait for it."""

import logging
import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.storage.queue.aio import QueueServiceClient

from local_cloud.functions_host.flex.instances import Instance
from local_cloud.functions_host.ncrontab import Schedule

log = logging.getLogger("Host.Scale")


class Demand(Protocol):
    """What one group is needed for."""

    async def instances(self, running: Sequence[Instance]) -> int:
        """How many instances there should be. running: those that there are, or will be."""
        ...


class NoDemand:
    """Of a function that is disabled."""

    async def instances(self, running: Sequence[Instance]) -> int:  # noqa: ARG002  # as every demand
        """None."""
        return 0


class HttpDemand:
    """Of all HTTP functions together: so many instances that each has at most so many requests at once.

    https://learn.microsoft.com/azure/azure-functions/functions-concurrency#http-trigger-concurrency
    """

    def __init__(self, requests: Callable[[], int], concurrency: int) -> None:
        """requests: how many there are now, those that wait for an instance included."""
        self._requests = requests
        self._concurrency = concurrency

    async def instances(self, running: Sequence[Instance]) -> int:  # noqa: ARG002  # as every demand
        """As many as the requests need."""
        return math.ceil(self._requests() / self._concurrency)


def instances_for_messages(count: int, *, is_one_visible: bool, messages_per_instance: int) -> int:
    """Return how many instances a queue function is asked for.

    The count is the queue's own, which includes messages that are delayed or being worked on; but none can be received
    unless one is visible, and then no instance is asked for.
    https://github.com/Azure/azure-sdk-for-net/blob/main/sdk/storage/Microsoft.Azure.WebJobs.Extensions.Storage.Common/src/Shared/Queues/QueueMetricsProvider.cs
    Assumed: the platform asks the extension's own code, as for the other plans.
    """
    return math.ceil(count / messages_per_instance) if is_one_visible else 0


class QueueDemand:
    """Of a queue function, by the messages in its queue."""

    def __init__(self, service: QueueServiceClient, queue_name: str, messages_per_instance: int) -> None:
        self._queue = service.get_queue_client(queue_name)
        self._messages_per_instance = messages_per_instance
        self._trouble = ""  # the last one that was logged

    async def instances(self, running: Sequence[Instance]) -> int:  # noqa: ARG002  # as every demand
        """As many as the messages need; none while the queue cannot be read, as in QueueMetricsProvider."""
        try:
            count = (await self._queue.get_queue_properties()).approximate_message_count or 0
            is_one_visible = bool(count and await self._queue.peek_messages(1))
        except ResourceNotFoundError:
            return 0  # nobody has written to it yet
        except AzureError as error:
            if (trouble := f"{type(error).__name__}: {error}") != self._trouble:
                log.warning("The queue '%s' cannot be counted: %s", self._queue.queue_name, trouble)
                self._trouble = trouble
            return 0
        self._trouble = ""
        return instances_for_messages(
            count, is_one_visible=is_one_visible, messages_per_instance=self._messages_per_instance
        )


class TimerDemand:
    """Of a timer function: an instance from shortly before a tick until one is there that has fired it.

    Known: no instance is started when the app is deployed, and one is there before the tick.
    https://github.com/Azure-Samples/azure-functions-flex-consumption-samples/issues/37
    Assumed: how long before, and that an instance that comes late, or waits for the lock of a killed one, is kept until
    it listens. A tick that was missed is the listener's: it runs late with a schedule monitor, and is lost without.
    """

    def __init__(self, schedule: Schedule, lead_s: float, clock: Callable[[], datetime]) -> None:
        self._schedule = schedule
        self._lead = timedelta(seconds=lead_s)
        self._clock = clock
        self._next = schedule.next_after(clock())

    async def instances(self, running: Sequence[Instance]) -> int:
        """One if a tick is near, or has not found an instance that listens."""
        now = self._clock()
        if now >= self._next and any(instance.is_listening for instance in running):
            self._next = self._schedule.next_after(now)
        return int(now >= self._next - self._lead)
