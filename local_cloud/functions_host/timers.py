"""The timer trigger: fires a function by its schedule, once among all hosts, and makes up for a time that was missed.

Follows TimerListener, ScheduleMonitor and StorageScheduleMonitor of the real host's timer extension.
https://github.com/Azure/azure-webjobs-sdk-extensions/tree/dev/src/WebJobs.Extensions/Extensions/Timers
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.storage.blob.aio import BlobServiceClient

from local_cloud.functions_host.ncrontab import Schedule
from local_cloud.functions_host.singleton import CONTAINER

_NEVER: Final = datetime(1, 1, 1, tzinfo=UTC)  # .NET's default(DateTime): nothing has happened yet

log = logging.getLogger("Host.Timers")

type Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleStatus:
    """What is remembered of a timer between hosts."""

    last: datetime  # when it fired last; _NEVER before the first time
    next: datetime
    last_updated: datetime

    def to_json(self) -> dict[str, str]:
        """With the names that the real host uses, for the blob and for TimerRequest.schedule_status."""
        moments = {"Last": self.last, "Next": self.next, "LastUpdated": self.last_updated}
        return {name: "0001-01-01T00:00:00" if at == _NEVER else at.isoformat() for name, at in moments.items()}

    @classmethod
    def from_json(cls, text: str) -> "ScheduleStatus":
        """Read what to_json wrote. Raises ValueError or KeyError for anything else."""
        found = {name: datetime.fromisoformat(value) for name, value in json.loads(text).items()}
        aware = {name: at if at.tzinfo else at.replace(tzinfo=UTC) for name, at in found.items()}
        return cls(last=aware["Last"], next=aware["Next"], last_updated=aware["LastUpdated"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """One firing of a timer."""

    past_due: bool
    status: ScheduleStatus | None  # None without a monitor
    reason: str

    def to_json(self) -> str:
        """The value of the trigger, as TimerRequest reads it."""
        return json.dumps(
            {
                "Schedule": {"AdjustForDST": True},
                "ScheduleStatus": self.status.to_json() if self.status else None,
                "IsPastDue": self.past_due,
            }
        )


type RunTick = Callable[[Tick], Awaitable[object]]


class Monitor:
    """Keeps the status in ``azure-webjobs-hosts/timers/<host id>/Host.Functions.<function>/status``."""

    def __init__(self, service: BlobServiceClient, host_id: str, function: str) -> None:
        self._function = function
        self._blob = service.get_blob_client(CONTAINER, f"timers/{host_id}/Host.Functions.{function}/status")

    async def load(self) -> ScheduleStatus | None:
        """The status that was saved last; None where there is none that can be read. Raises AzureError."""
        try:
            content = await (await self._blob.download_blob()).readall()
            return ScheduleStatus.from_json(content.decode())
        except ResourceNotFoundError:
            return None
        except (ValueError, KeyError):
            log.warning("The status of timer '%s' cannot be read and begins anew", self._function)
            return None

    async def save(self, status: ScheduleStatus) -> None:
        """Save it; a status that cannot be saved stops no timer."""
        try:
            await self._blob.upload_blob(json.dumps(status.to_json()).encode(), overwrite=True)
        except AzureError as error:
            log.error("The status of timer '%s' was not saved: %s", self._function, error)


class TimerListener:
    """Fires one function by its schedule. A run that takes longer than the schedule's interval delays the next."""

    def __init__(
        self, schedule: Schedule, run: RunTick, *, run_on_startup: bool, monitor: Monitor | None, clock: Clock
    ) -> None:
        """monitor: None where missed times are not made up for. clock: the present moment, aware."""
        self._schedule = schedule
        self._run = run
        self._run_on_startup = run_on_startup
        self._monitor = monitor
        self._clock = clock
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Fire no more; a run in progress goes on."""
        self._stopping.set()

    async def listen(self) -> None:
        """Fire until stopped. Raises AzureError when the status cannot be read at the start."""
        status, past_due = await self._status_at_start(self._clock())
        if past_due:
            status = await self._fire(status, "the timer is past due", past_due=True)
        elif self._run_on_startup:
            status = await self._fire(status, "the timer runs on startup")
        while await self._wait_until(status.next):
            status = await self._fire(status, f"Timer fired at {self._clock().isoformat()}")

    async def _status_at_start(self, now: datetime) -> tuple[ScheduleStatus, bool]:
        """ScheduleMonitor.CheckPastDueAsync: the status, and whether a time was missed while no host ran."""
        fresh = ScheduleStatus(last=_NEVER, next=self._schedule.next_after(now), last_updated=now)
        if self._monitor is None:
            return fresh, False
        status = await self._monitor.load()
        if status is None:
            await self._monitor.save(fresh)
            return fresh, False
        base = status.last if status.last != _NEVER else status.last_updated
        expected = self._schedule.next_after(base) if base != _NEVER else fresh.next
        if status.next != expected:
            # The schedule was changed: times that the old one missed do not count.
            if now > expected:
                expected, base = fresh.next, now
            status = ScheduleStatus(last=_NEVER, next=expected, last_updated=base)
            await self._monitor.save(status)
        return status, now > status.next

    async def _fire(self, status: ScheduleStatus, reason: str, *, past_due: bool = False) -> ScheduleStatus:
        began = self._clock()
        await self._run(Tick(past_due=past_due, status=status if self._monitor else None, reason=reason))
        # Counted from the beginning: of the times that a long run covers, one is made up for, at once.
        status = ScheduleStatus(last=began, next=self._schedule.next_after(began), last_updated=began)
        if self._monitor:
            await self._monitor.save(status)
        return status

    async def _wait_until(self, moment: datetime) -> bool:
        """True once it has come, False when stopped. Looks at the clock now and then, because clocks are set."""
        while (left_s := (moment - self._clock()).total_seconds()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), min(left_s, 30.0))
            if self._stopping.is_set():
                return False
        return not self._stopping.is_set()
