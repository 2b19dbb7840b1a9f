"""The timer trigger, against Azurite. Sources: TimerListener.cs, ScheduleMonitor.cs and StorageScheduleMonitor.cs in
https://github.com/Azure/azure-webjobs-sdk-extensions/tree/dev/src/WebJobs.Extensions/Extensions/Timers
"""

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

from azure.storage.blob.aio import BlobServiceClient

from local_cloud.functions_host.ncrontab import Schedule
from local_cloud.functions_host.runtime import Outcome
from local_cloud.functions_host.singleton import CONTAINER, Singleton
from local_cloud.functions_host.timers import Monitor, ScheduleStatus, Tick, TimerListener

from .running import PATIENCE_S, until

NOON = datetime(2026, 11, 23, 12, 0, 30, tzinfo=UTC)
HOURLY = "0 0 * * * *"


class Bench:
    def __init__(self, service: BlobServiceClient) -> None:
        self.service = service
        self.host_id = f"test-{uuid.uuid4().hex[:12]}"
        self.monitor = Monitor(service, self.host_id, "tick")
        self.ticks: list[Tick] = []

    async def run(self, tick: Tick) -> None:
        self.ticks.append(tick)

    @contextlib.asynccontextmanager
    async def listening(
        self,
        schedule: str = HOURLY,
        *,
        at: datetime | Callable[[], datetime] = lambda: datetime.now(UTC),
        run_on_startup: bool = False,
        monitored: bool = True,
        run: Callable[[Tick], Awaitable[object]] | None = None,
    ) -> AsyncIterator[None]:
        """A listener whose clock stands still at a moment, or is read."""
        listener = TimerListener(
            Schedule.parse(schedule),
            run or self.run,
            run_on_startup=run_on_startup,
            monitor=self.monitor if monitored else None,
            clock=(lambda: at) if isinstance(at, datetime) else at,
        )
        task = asyncio.create_task(listener.listen())
        try:
            yield
        finally:
            listener.stop()
            await asyncio.wait_for(task, PATIENCE_S)

    async def status(self) -> dict[str, str] | None:
        saved = await self.monitor.load()
        return saved.to_json() if saved else None


@contextlib.asynccontextmanager
async def bench(connection: str) -> AsyncIterator[Bench]:
    async with BlobServiceClient.from_connection_string(connection) as service:
        with contextlib.suppress(Exception):  # other tests share the container
            await service.create_container(CONTAINER)
        yield Bench(service)


def test_a_new_timer_waits_for_its_time_and_its_status_is_saved(azurite_connection: str) -> None:
    async def scenario() -> None:
        async with bench(azurite_connection) as on:
            async with on.listening(at=NOON):
                status = await until(on.status)
            assert status == {
                "Last": "0001-01-01T00:00:00",
                "Next": "2026-11-23T13:00:00+00:00",
                "LastUpdated": "2026-11-23T12:00:30+00:00",
            }
            assert on.ticks == []
            blob = on.service.get_blob_client(CONTAINER, f"timers/{on.host_id}/Host.Functions.tick/status")
            assert json.loads(await (await blob.download_blob()).readall()) == status

    asyncio.run(scenario())


def test_missed_times_are_made_up_for_by_one_run_that_is_past_due(azurite_connection: str) -> None:
    async def scenario() -> None:
        async with bench(azurite_connection) as on:
            async with on.listening(at=NOON):
                await until(on.status)
            much_later = NOON + timedelta(hours=3)
            async with on.listening(at=much_later):
                await until(lambda: asyncio.sleep(0, on.ticks))
            (tick,) = on.ticks
            assert json.loads(tick.to_json()) == {
                "Schedule": {"AdjustForDST": True},
                "ScheduleStatus": {
                    "Last": "0001-01-01T00:00:00",
                    "Next": "2026-11-23T13:00:00+00:00",
                    "LastUpdated": "2026-11-23T12:00:30+00:00",
                },
                "IsPastDue": True,
            }
            status = await on.status()
            assert status is not None
            assert (status["Last"], status["Next"]) == (much_later.isoformat(), "2026-11-23T16:00:00+00:00")

    asyncio.run(scenario())


def test_times_that_only_a_former_schedule_had_are_not_made_up_for(azurite_connection: str) -> None:
    async def scenario() -> None:
        async with bench(azurite_connection) as on:
            async with on.listening(at=NOON):
                await until(on.status)
            async with on.listening("0 30 * * * *", at=NOON + timedelta(hours=3)):
                await until(lambda: has_next(on, "2026-11-23T15:30:00+00:00"))
            assert on.ticks == []

    asyncio.run(scenario())


async def has_next(on: Bench, moment: str) -> bool:
    status = await on.status()
    return status is not None and status["Next"] == moment


def test_a_timer_may_run_on_startup(azurite_connection: str) -> None:
    async def scenario() -> None:
        async with bench(azurite_connection) as on:
            async with on.listening(at=NOON, run_on_startup=True):
                await until(lambda: asyncio.sleep(0, on.ticks))
            assert [tick.past_due for tick in on.ticks] == [False]

    asyncio.run(scenario())


def test_a_timer_without_a_monitor_remembers_nothing(azurite_connection: str) -> None:
    async def scenario() -> None:
        async with bench(azurite_connection) as on:
            async with on.listening(at=NOON, run_on_startup=True, monitored=False):
                await until(lambda: asyncio.sleep(0, on.ticks))
            assert await on.status() is None
            assert json.loads(on.ticks[0].to_json())["ScheduleStatus"] is None

    asyncio.run(scenario())


def test_of_the_times_that_a_long_run_covers_one_is_made_up_for_at_once(azurite_connection: str) -> None:
    async def scenario() -> None:
        async with bench(azurite_connection) as on:
            now = NOON

            async def three_hours(tick: Tick) -> None:
                nonlocal now
                on.ticks.append(tick)
                if len(on.ticks) == 1:
                    now += timedelta(hours=3)

            async with on.listening(at=lambda: now, run_on_startup=True, run=three_hours):
                await until(lambda: has_next(on, "2026-11-23T16:00:00+00:00"))
            assert [tick.past_due for tick in on.ticks] == [False, False]

    asyncio.run(scenario())


def test_a_timer_fires_at_its_times_and_never_beside_itself(azurite_connection: str) -> None:
    async def scenario() -> None:
        async with bench(azurite_connection) as on:
            running, most, began = 0, 0, list[datetime]()
            now = datetime.now(UTC)

            def clock() -> datetime:
                nonlocal now
                now = datetime.now(UTC)
                return now

            async def slow(_tick: Tick) -> None:
                nonlocal running, most
                began.append(now.replace(microsecond=0))  # the listener's own last look at the clock
                running += 1
                most = max(most, running)
                await asyncio.sleep(1.1 if len(began) == 1 else 0)  # longer than the interval, once
                running -= 1

            async with on.listening("* * * * * *", at=clock, run=slow, monitored=False):
                await until(lambda: asyncio.sleep(0, len(began) >= 3))
            assert most == 1
            assert began[0] < began[1] < began[2]

    asyncio.run(scenario())


def test_a_failed_run_is_not_repeated_before_the_next_time(azurite_connection: str) -> None:
    # https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#retry-behavior
    async def scenario() -> None:
        async with bench(azurite_connection) as on:

            async def fail(tick: Tick) -> Outcome:
                on.ticks.append(tick)
                return Outcome(succeeded=False)

            async with on.listening(at=NOON):
                await until(on.status)
            async with on.listening(at=NOON + timedelta(hours=3), run=fail):
                await until(lambda: has_next(on, "2026-11-23T16:00:00+00:00"))
            async with on.listening(at=NOON + timedelta(hours=3, minutes=10), run=fail):
                await until(on.status)
            assert len(on.ticks) == 1

    asyncio.run(scenario())


def test_a_status_that_cannot_be_read_begins_anew(azurite_connection: str) -> None:
    async def scenario() -> None:
        async with bench(azurite_connection) as on:
            blob = on.service.get_blob_client(CONTAINER, f"timers/{on.host_id}/Host.Functions.tick/status")
            await blob.upload_blob(b"{}")
            async with on.listening(at=NOON):
                await until(on.status)

    asyncio.run(scenario())


def test_a_status_of_the_real_host_can_be_read() -> None:
    # Times without an offset, and the fraction of seven digits, as .NET writes them.
    text = (
        '{"Last":"0001-01-01T00:00:00","Next":"2026-11-23T13:00:00","LastUpdated":"2026-11-23T12:00:30.1234567+00:00"}'
    )
    status = ScheduleStatus.from_json(text)
    assert status.next == datetime(2026, 11, 23, 13, tzinfo=UTC)


def test_one_host_of_several_runs_a_timer_and_another_takes_over_when_it_stops(azurite_connection: str) -> None:
    # Singleton listener lock: https://github.com/Azure/azure-webjobs-sdk/blob/dev/src/Microsoft.Azure.WebJobs.Host/Singleton/SingletonListener.cs
    async def scenario() -> None:
        async with bench(azurite_connection) as on:
            working: set[str] = set()

            async def work(name: str, end: asyncio.Event) -> None:
                working.add(name)
                await end.wait()
                working.discard(name)

            ends = {name: asyncio.Event() for name in ("first", "second")}
            # The first one's lease would run out after a minute; the second one asks for it every second.
            hosts = {
                name: Singleton(on.service, on.host_id, "tick", lease_s=lease_s)
                for name, lease_s in (("first", 60), ("second", 1))
            }
            first = asyncio.create_task(hosts["first"].run(lambda: work("first", ends["first"])))
            await until(lambda: asyncio.sleep(0, working))
            second = asyncio.create_task(hosts["second"].run(lambda: work("second", ends["second"])))
            lock = on.service.get_blob_client(CONTAINER, f"locks/{on.host_id}/Host.Functions.tick.Listener")
            assert (await lock.get_blob_properties()).lease.state == "leased"
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(second), 0.3)
            assert working == {"first"}

            hosts["first"].stop()
            ends["first"].set()
            await asyncio.wait_for(first, PATIENCE_S)
            await until(lambda: asyncio.sleep(0, working == {"second"}), within_s=40)  # it was given back
            hosts["second"].stop()
            ends["second"].set()
            await asyncio.wait_for(second, PATIENCE_S)

    asyncio.run(scenario())
