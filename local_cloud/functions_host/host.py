"""The host itself: reads an app, starts what triggers its functions, and ends it all again."""

import asyncio
import hashlib
import json
import logging
import os
import socket
import time
import uuid
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from azure.storage.queue import QueueMessage

from local_cloud.functions_host.admin import AdminRoutes
from local_cloud.functions_host.bindings import (
    Function,
    FunctionUnusable,
    HttpTrigger,
    QueueTrigger,
    TimerTrigger,
    describe,
    read_function,
)
from local_cloud.functions_host.http import MAX_BODY_BYTES, HttpFront, Keys
from local_cloud.functions_host.invocations import Invocations, TellExecution
from local_cloud.functions_host.queues import LEASE_S, QueueListener, Wakes, trigger_metadata
from local_cloud.functions_host.runtime import IndexedFunction, Outcome, TypedData, Worker
from local_cloud.functions_host.settings import AppSettings, HostJson, HostSettingsInvalid
from local_cloud.functions_host.singleton import Singleton
from local_cloud.functions_host.storage import Storage
from local_cloud.functions_host.timers import Monitor, Tick, TimerListener

EXIT_BROKEN: Final = 1  # an invocation took too long, or a listener broke: the host is no longer what it was

log = logging.getLogger("Host")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOptions:
    """What the command line says."""

    root: Path
    keys: Keys
    lease_s: int = LEASE_S
    only: frozenset[str] | None = None  # the functions of a scale group: all others are left out; None: all run


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Whom the host tells what happens in it."""

    of_execution: TellExecution = lambda _execution: None
    of_timer: Callable[[], None] = lambda: None  # a timer has the lock, and waits for its time from now on


class Host:
    """Runs one app. Make it, start it, wait for ``ended``, stop it; all within one event loop."""

    def __init__(
        self,
        options: HostOptions,
        settings: AppSettings,
        host_json: HostJson,
        worker: Worker,
        listening: socket.socket,
        told: Told = Told(),
    ) -> None:
        """worker: not started yet. listening: a bound socket; its address is known before the app is imported."""
        self._options = options
        self._settings = settings
        self._host_json = host_json
        self._worker = worker
        self._socket = listening
        self._keys = options.keys
        self._storage = Storage(settings)
        self._wakes = Wakes()
        self._told = told
        self._invocations = Invocations(
            worker,
            self._storage,
            self._wakes,
            host_json,
            on_timeout=lambda: self._end(EXIT_BROKEN),
            tell=told.of_execution,
        )
        self._id = host_id(options.root, settings)
        self._indexed: Sequence[IndexedFunction] = ()
        self._functions: dict[str, Function] = {}
        self._disabled: set[str] = set()
        self._unusable: dict[str, str] = {}
        self._listeners: list[QueueListener | TimerListener | Singleton] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._runner: web.AppRunner | None = None
        self._began = time.monotonic()
        # Set where Azure would end the worker process; the value is the exit code.
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    async def start(self) -> None:
        """Index the app and listen to everything that triggers its functions. Raises AppUnusable."""
        only = self._options.only
        found = await asyncio.to_thread(self._worker.start)
        self._indexed = [each for each in found if only is None or each.name in only]
        for indexed in self._indexed:
            if indexed.has_retry_policy:
                log.warning("The retry policy of '%s' is ignored: the local host has none", indexed.name)
            try:
                function = read_function(indexed, self._settings, self._host_json.route_prefix)
                if self._settings.is_disabled(function.name):
                    self._disabled.add(function.name)
                else:
                    self._start(function)
                self._functions[function.name] = function
            except (FunctionUnusable, HostSettingsInvalid) as error:
                self._unusable[indexed.name] = str(error)
                log.error("The function '%s' cannot be started: %s", indexed.name, error)
        await self._serve()

    async def stop(self, grace_s: float) -> bool:
        """Listen no more and wait for running invocations; say whether all of them have ended.

        Messages whose invocations have not stay invisible until their lease runs out, as in Azure.
        """
        self.drain()
        if self._runner:
            for site in list(self._runner.sites):
                await site.stop()
        if waited_for := {*self._invocations.running, *self._tasks}:
            await asyncio.wait(waited_for, timeout=grace_s)
        all_ended = not self._invocations.running
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._runner:
            await self._runner.cleanup()
        await self._storage.close()
        if all_ended:
            await asyncio.to_thread(self._worker.stop)
        return all_ended

    def describe(self) -> list[str]:
        """One line a function, as Core Tools prints them."""
        return [self._described(indexed.name) for indexed in self._indexed]

    def status(self) -> Mapping[str, Any]:
        """How it is."""
        return {
            "id": self._id,
            "state": "Running",
            "listening": len(self._tasks),  # queues and timers
            "invocations": len(self._invocations.running),
            "processUptime": int((time.monotonic() - self._began) * 1000),  # milliseconds, as in Azure
            "errors": [f"{name}: {error}" for name, error in self._unusable.items()],
        }

    def listed(self) -> list[Mapping[str, Any]]:
        """All functions with their bindings."""
        return [
            {
                "name": indexed.name,
                "language": "python",
                "isDisabled": indexed.name in self._disabled,
                "config": {"bindings": [json.loads(binding) for binding in indexed.raw_bindings]},
            }
            for indexed in self._indexed
        ]

    def function(self, name: str) -> Function | None:
        """A function that could be read, disabled or not."""
        return self._functions.get(name)

    def run_by_hand(self, function: Function, text: str) -> None:
        """Begin to run a timer or queue function."""
        match function.trigger:
            case QueueTrigger() as trigger:
                message = QueueMessage(text)
                message.id, message.pop_receipt, message.dequeue_count = str(uuid.uuid4()), "", 0
                message.inserted_on = message.next_visible_on = datetime.now(UTC)

                async def run_message() -> None:
                    await self._run_message(function, trigger, message, text.encode())

                self._watch(run_message(), f"call of {function.name}")
            case TimerTrigger() as timer:
                self._watch(self._run_timer_by_hand(function, timer), f"call of {function.name}")
            case HttpTrigger():
                raise ValueError(f"{function.name} is called over HTTP")

    def drain(self) -> None:
        """Listen to queues and timers no more; what runs goes on, and HTTP is still answered."""
        for listener in self._listeners:
            listener.stop()

    def _start(self, function: Function) -> None:
        """Listen to what triggers a function. Raises HostSettingsInvalid when its storage is not set."""
        for output in function.queue_outputs:
            self._storage.queues(output.connection)
        match function.trigger:
            case QueueTrigger() as trigger:
                listener = QueueListener(
                    trigger.queue_name,
                    self._storage.queues(trigger.connection),
                    partial(self._run_message, function, trigger),
                    options=self._host_json.queues,
                    lease_s=self._options.lease_s,
                    wakes=self._wakes,
                )
                self._listeners.append(listener)
                self._watch(listener.listen(), f"listener of {function.name}")
            case TimerTrigger() as trigger:
                self._start_timer(function, trigger)
            case HttpTrigger():
                pass  # HttpFront has them all

    def _start_timer(self, function: Function, trigger: TimerTrigger) -> None:
        timer = TimerListener(
            trigger.schedule,
            partial(self._run_tick, function),
            run_on_startup=trigger.run_on_startup,
            monitor=self._monitor(function, trigger),
            clock=lambda: datetime.now(UTC),
        )
        singleton = Singleton(self._storage.blobs(""), self._id, function.name, lease_s=self._options.lease_s)
        self._listeners += [timer, singleton]

        async def listen() -> None:
            self._told.of_timer()
            await timer.listen()

        self._watch(singleton.run(listen), f"listener of {function.name}")

    def _monitor(self, function: Function, trigger: TimerTrigger) -> Monitor | None:
        # https://github.com/Azure/azure-webjobs-sdk-extensions/blob/dev/src/WebJobs.Extensions/Extensions/Timers/Scheduling/TimerSchedule.cs
        if not trigger.use_monitor or trigger.schedule.is_more_often_than_a_minute(datetime.now(UTC)):
            return None
        return Monitor(self._storage.blobs(""), self._id, function.name)

    async def _run_timer_by_hand(self, function: Function, trigger: TimerTrigger) -> None:
        """Run a timer's function now. Its status is the one that was saved last, which this does not change.

        TimerTriggerBinding.BindAsync:
        https://github.com/Azure/azure-webjobs-sdk-extensions/blob/dev/src/WebJobs.Extensions/Extensions/Timers/Bindings/TimerTriggerBinding.cs
        """
        monitor = self._monitor(function, trigger)
        status = await monitor.load() if monitor else None
        await self._run_tick(function, Tick(past_due=False, status=status, reason="This function was called by hand"))

    async def _serve(self) -> None:
        usable = [function for function in self._functions.values() if function.name not in self._disabled]
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        AdminRoutes(self, self._keys).add_to(app)
        app.router.add_route("*", "/{path:.*}", HttpFront(usable, self._keys, self._run_request).handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.SockSite(self._runner, self._socket).start()

    async def _run_message(self, function: Function, trigger: QueueTrigger, message: QueueMessage, body: bytes) -> bool:
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            log.error("Message %s of '%s' is not text: %s", message.id, trigger.queue_name, error)
            return False
        reason = f"New queue message detected on '{trigger.queue_name}'."
        outcome = await self._invocations.run(function, TypedData(string=text), reason, trigger_metadata(message, text))
        return outcome.succeeded

    async def _run_tick(self, function: Function, tick: Tick) -> None:
        await self._invocations.run(function, TypedData(json=tick.to_json()), tick.reason)

    async def _run_request(self, function: Function, request: TypedData) -> Outcome:
        # These are the real host's words for HTTP.
        reason = "This function was programmatically called via the host APIs."
        return await self._invocations.run(function, request, reason)

    def _watch(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.critical("The %s broke, the host ends", task.get_name(), exc_info=error)
            self._end(EXIT_BROKEN)

    def _end(self, code: int) -> None:
        if not self.ended.done():
            self.ended.set_result(code)

    def _described(self, name: str) -> str:
        if error := self._unusable.get(name):
            return f"{name}: cannot be started: {error}"
        return describe(self._functions[name], self.url, is_disabled=name in self._disabled)


def host_id(root: Path, settings: AppSettings) -> str:
    """The name under which this app keeps locks and timer states: the same for all hosts of one folder.

    https://learn.microsoft.com/azure/azure-functions/storage-considerations#host-id-considerations
    """
    configured = settings.get("AzureFunctionsWebHost__hostid")
    return configured or f"local-{hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:12]}"
