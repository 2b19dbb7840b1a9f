"""What becomes of queue messages, against Azurite. Sources of all rules are QueueListener.cs and QueueProcessor.cs:
https://github.com/Azure/azure-sdk-for-net/tree/main/sdk/storage/Microsoft.Azure.WebJobs.Extensions.Storage.Common/src/Shared/Queues
"""

import asyncio
import base64
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator

import pytest
from azure.core.exceptions import ResourceExistsError
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from local_cloud.functions_host import queues
from local_cloud.functions_host.queues import Polling, QueueListener, RunMessage, Wakes
from local_cloud.functions_host.settings import QueueOptions

from .running import PATIENCE_S, until

QUICK = QueueOptions(max_polling_interval_s=0.1)


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class Bench:
    """A queue of its own, and a listener on it once one is started."""

    def __init__(self, service: QueueServiceClient) -> None:
        self.service = service
        self.name = f"test-{uuid.uuid4().hex[:12]}"
        self.queue = service.get_queue_client(self.name)
        self.poison = service.get_queue_client(f"{self.name}-poison")
        self.wakes = Wakes()
        self._listening: list[tuple[QueueListener, asyncio.Task[None]]] = []

    def listen(self, run: RunMessage, *, options: QueueOptions = QUICK, lease_s: int = 600) -> QueueListener:
        listener = QueueListener(self.name, self.service, run, options=options, lease_s=lease_s, wakes=self.wakes)
        self._listening.append((listener, asyncio.create_task(listener.listen())))
        return listener

    async def ended(self, *, within_s: float = PATIENCE_S) -> None:
        """Wait until the stopped listeners have ended. Raises TimeoutError."""
        await asyncio.wait_for(asyncio.shield(asyncio.gather(*(task for _, task in self._listening))), within_s)

    async def crash(self) -> None:
        """End the listeners as kill -9 would: nothing is completed."""
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.gather(*(task for _, task in self._listening), return_exceptions=True)
        self._listening.clear()

    async def close(self) -> None:
        for listener, _ in self._listening:
            listener.stop()
        await self.ended()


@contextlib.asynccontextmanager
async def bench(connection: str, *messages: str, create: bool = True) -> AsyncIterator[Bench]:
    async with QueueServiceClient.from_connection_string(connection) as service:
        made = Bench(service)
        if create:
            await made.queue.create_queue()
        for message in messages:
            await made.queue.send_message(message)
        try:
            yield made
        finally:
            await made.close()


async def visible(queue: QueueClient) -> list[str]:
    return [message.content for message in await queue.peek_messages(32)]


async def is_empty(queue: QueueClient) -> bool:
    """Whether it holds no messages, invisible ones included (Azurite's count is exact)."""
    return (await queue.get_queue_properties()).approximate_message_count == 0


class Recorder:
    """A function that notes what it gets and answers as it is told: True, False, or after an event."""

    def __init__(self, *answers: bool, gate: asyncio.Event | None = None) -> None:
        self.bodies: list[bytes] = []
        self.messages: list[QueueMessage] = []
        self.running = 0
        self._answers = list(answers)
        self._gate = gate

    async def __call__(self, message: QueueMessage, body: bytes) -> bool:
        self.bodies.append(body)
        self.messages.append(message)
        self.running += 1
        if self._gate:
            await self._gate.wait()
        self.running -= 1
        return self._answers.pop(0) if self._answers else True

    async def has_run(self, times: int = 1) -> bool:
        return len(self.bodies) >= times


def test_a_message_is_decoded_run_once_and_deleted(azurite_connection: str) -> None:
    async def scenario() -> None:
        async with bench(azurite_connection, b64("look")) as at:
            run = Recorder()
            at.listen(run)
            await until(lambda: is_empty(at.queue))
            assert run.bodies == [b"look"]

    asyncio.run(scenario())


def test_a_message_that_is_not_base64_goes_to_poison_at_once_and_unchanged(azurite_connection: str) -> None:
    async def scenario() -> None:
        async with bench(azurite_connection, "no base64!") as at:
            run = Recorder()
            at.listen(run)
            await until(lambda: is_empty(at.queue))
            assert (await visible(at.poison), run.bodies) == (["no base64!"], [])

    asyncio.run(scenario())


def test_without_encoding_messages_are_plain_text(azurite_connection: str) -> None:
    # host.json, messageEncoding: https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue#host-json
    async def scenario() -> None:
        async with bench(azurite_connection, "plain") as at:
            run = Recorder()
            at.listen(run, options=QueueOptions(base64=False))
            await until(lambda: is_empty(at.queue))
            assert run.bodies == [b"plain"]

    asyncio.run(scenario())


def test_a_failed_message_comes_back_after_the_visibility_timeout_and_counts_up(azurite_connection: str) -> None:
    async def scenario() -> None:
        async with bench(azurite_connection, b64("a")) as at:
            times: list[float] = []

            async def run(message: QueueMessage, _body: bytes) -> bool:
                times.append(asyncio.get_running_loop().time())
                return message.dequeue_count == 2

            at.listen(run, options=QueueOptions(visibility_timeout_s=1, max_polling_interval_s=0.1))
            await until(lambda: is_empty(at.queue))
            assert len(times) == 2
            assert times[1] - times[0] >= 0.9  # Azurite keeps whole seconds

    asyncio.run(scenario())


def test_a_message_that_failed_max_dequeue_count_times_goes_to_poison(azurite_connection: str) -> None:
    async def scenario() -> None:
        async with bench(azurite_connection, b64("bad")) as at:
            run = Recorder(False, False, False)
            at.listen(run, options=QueueOptions(max_dequeue_count=3, max_polling_interval_s=0.1))
            await until(lambda: is_empty(at.queue))
            assert (await visible(at.poison), len(run.bodies)) == ([b64("bad")], 3)

    asyncio.run(scenario())


def test_a_message_that_crashed_too_many_hosts_goes_to_poison_without_another_run(azurite_connection: str) -> None:
    async def scenario() -> None:
        async with bench(azurite_connection, b64("killer")) as at:
            for _ in range(2):
                received = await at.queue.receive_message(visibility_timeout=30)
                assert received is not None
                await at.queue.update_message(received.id, received.pop_receipt, visibility_timeout=0)
            run = Recorder()
            at.listen(run, options=QueueOptions(max_dequeue_count=2))
            await until(lambda: is_empty(at.queue))
            assert (await visible(at.poison), run.bodies) == ([b64("killer")], [])

    asyncio.run(scenario())


def test_a_poison_queue_has_no_poison_queue_and_its_failed_messages_stay_invisible(azurite_connection: str) -> None:
    async def scenario() -> None:
        async with bench(azurite_connection, create=False) as at:
            at.name = f"{at.name}-poison"
            await at.poison.create_queue()
            await at.poison.send_message(b64("a"))
            run = Recorder(False)
            listener = at.listen(run, options=QueueOptions(max_dequeue_count=1))
            await until(run.has_run)
            listener.stop()
            await at.ended()
            assert await visible(at.poison) == []
            assert not await is_empty(at.poison)

    asyncio.run(scenario())


@pytest.mark.quick(cases=0)
def test_the_lease_is_renewed_for_as_long_as_the_function_works(azurite_connection: str) -> None:
    async def scenario() -> None:
        async with bench(azurite_connection, b64("slow")) as at:
            gate = asyncio.Event()
            run = Recorder(gate=gate)
            at.listen(run, lease_s=6)
            await until(run.has_run)
            began = asyncio.get_running_loop().time()
            while asyncio.get_running_loop().time() - began < 6.3:  # the first lease would have ended
                assert await visible(at.queue) == []
                await asyncio.sleep(0.02)
            gate.set()
            await until(lambda: is_empty(at.queue))
            assert run.bodies == [b"slow"]

    asyncio.run(scenario())


def test_a_message_of_a_killed_host_comes_back_when_its_lease_ends(azurite_connection: str) -> None:
    async def scenario() -> None:
        async with bench(azurite_connection, b64("a")) as at:
            killed = Recorder(gate=asyncio.Event())
            at.listen(killed, lease_s=1)
            await until(killed.has_run)
            await at.crash()
            again = Recorder()
            at.listen(again)
            await until(lambda: is_empty(at.queue))
            assert [message.dequeue_count for message in again.messages] == [len(killed.messages) + 1]

    asyncio.run(scenario())


def test_a_message_that_someone_else_took_over_is_left_to_them(
    azurite_connection: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with bench(azurite_connection, b64("a")) as at:

            async def run(message: QueueMessage, _body: bytes) -> bool:
                await at.queue.update_message(message.id, message.pop_receipt, visibility_timeout=60)
                return True

            listener = at.listen(run)
            await until(lambda: asyncio.sleep(0, "no longer ours" in caplog.text))
            listener.stop()
            await at.ended()
            assert not await is_empty(at.queue)

    asyncio.run(scenario())


def test_batch_size_and_threshold_bound_what_runs_side_by_side(azurite_connection: str) -> None:
    async def scenario() -> None:
        async with bench(azurite_connection, *(b64(str(number)) for number in range(6))) as at:
            gate = asyncio.Event()
            run = Recorder(gate=gate)
            options = QueueOptions(batch_size=2, new_batch_threshold=1, max_polling_interval_s=0.1)
            at.listen(run, options=options)
            await until(lambda: run.has_run(2))
            # Two are running, which is more than the threshold: no third is fetched until one of them ends.
            assert (run.running, len(await visible(at.queue))) == (2, 4)
            gate.set()
            await until(lambda: is_empty(at.queue))
            assert len(run.bodies) == 6

    asyncio.run(scenario())


def test_a_new_batch_is_fetched_while_no_more_than_the_threshold_run(azurite_connection: str) -> None:
    async def scenario() -> None:
        async with bench(azurite_connection, *(b64(str(number)) for number in range(6))) as at:
            run = Recorder(gate=asyncio.Event())
            at.listen(run, options=QueueOptions(batch_size=2, new_batch_threshold=2, max_polling_interval_s=0.1))
            await until(lambda: run.has_run(4))
            assert (run.running, len(await visible(at.queue))) == (4, 2)
            await at.crash()

    asyncio.run(scenario())


def test_a_missing_queue_is_waited_for_and_not_created(
    azurite_connection: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        caplog.set_level(logging.INFO, "Host.Queues")
        async with bench(azurite_connection, create=False) as at:
            run = Recorder()
            at.listen(run)
            await until(lambda: asyncio.sleep(0, "does not exist yet" in caplog.text))
            assert [each.getMessage() for each in caplog.records if each.name == "Host.Queues"] == [
                f"The queue '{at.queue.queue_name}' does not exist yet; waiting for it"
            ]
            assert {each.levelno for each in caplog.records if each.name == "Host.Queues"} == {logging.INFO}
            await at.queue.create_queue()  # fails where it has been created
            await at.queue.send_message(b64("late"))
            await until(run.has_run)

    asyncio.run(scenario())


def test_a_write_by_this_host_is_noticed_at_once(azurite_connection: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "_MIN_POLLING_S", 60.0)

    async def scenario() -> None:
        async with bench(azurite_connection, b64("first")) as at:
            run = Recorder()
            at.listen(run, options=QueueOptions(max_polling_interval_s=60))
            await until(run.has_run)
            await at.queue.send_message(b64("second"))
            at.wakes.written(at.name)
            await until(lambda: run.has_run(2))

    asyncio.run(scenario())


def test_a_stopped_listener_completes_what_it_runs(azurite_connection: str) -> None:
    async def scenario() -> None:
        async with bench(azurite_connection, b64("a")) as at:
            gate = asyncio.Event()
            run = Recorder(gate=gate)
            listener = at.listen(run)
            await until(run.has_run)
            listener.stop()
            with pytest.raises(TimeoutError):
                await at.ended(within_s=0.2)
            gate.set()
            await at.ended()
            assert await is_empty(at.queue)

    asyncio.run(scenario())


def test_an_empty_queue_is_polled_after_100_ms_and_then_ever_more_rarely() -> None:
    # https://github.com/Azure/azure-sdk-for-net/blob/main/sdk/storage/Microsoft.Azure.WebJobs.Extensions.Storage.Common/src/Shared/Timers/RandomizedExponentialBackoffStrategy.cs
    polling = Polling(2.0)
    delays = [polling.next_delay_s() for _ in range(8)]
    assert delays[0] == 0.1
    for number, delay in enumerate(delays[1:5]):
        assert 0.1 + 0.08 * 2**number <= delay <= 0.1 + 0.12 * 2**number
    assert delays[-2:] == [2.0, 2.0]
    polling.found()
    assert polling.next_delay_s() == 0.1


def test_a_message_may_go_to_a_queue_that_is_not_there_yet(azurite_connection: str) -> None:
    async def scenario() -> None:
        async with bench(azurite_connection, create=False) as at:
            await queues.send(at.service, at.name, "a")
            assert await visible(at.queue) == ["a"]

    asyncio.run(scenario())


def test_a_queue_that_another_message_made_at_the_same_time_is_no_trouble(
    azurite_connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_queue = QueueClient.create_queue

    async def too_late(queue: QueueClient) -> None:
        await create_queue(queue)
        raise ResourceExistsError("Queue already exists")

    monkeypatch.setattr(QueueClient, "create_queue", too_late)

    async def scenario() -> None:
        async with bench(azurite_connection, create=False) as at:
            await queues.send(at.service, at.name, "a")
            assert await visible(at.queue) == ["a"]

    asyncio.run(scenario())


@pytest.fixture(autouse=True)
def _logs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
