"""The host in the Flex shape: knows the app's functions, and has a process for each scale group while there is work."""

import asyncio
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web

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
from local_cloud.functions_host.flex.controller import Scaled
from local_cloud.functions_host.flex.demand import Demand, HttpDemand, NoDemand, QueueDemand, TimerDemand
from local_cloud.functions_host.flex.front import Front
from local_cloud.functions_host.flex.groups import HTTP, Group, scale_groups
from local_cloud.functions_host.flex.instance import Assignment
from local_cloud.functions_host.flex.journal import Journal
from local_cloud.functions_host.flex.options import FlexOptions
from local_cloud.functions_host.flex.words import LINE
from local_cloud.functions_host.flex.words import describe as describe_instances
from local_cloud.functions_host.host import EXIT_BROKEN, HostOptions, host_id
from local_cloud.functions_host.http import MASTER_KEY, MAX_BODY_BYTES
from local_cloud.functions_host.runtime import AppUnusable, IndexedFunction
from local_cloud.functions_host.settings import AppSettings, HostJson, HostSettingsInvalid
from local_cloud.functions_host.storage import Storage

_INDEX: Final = "local_cloud.functions_host.index"

log = logging.getLogger("Host")


class FlexHost:
    """Runs one app. Make it, start it, wait for ``ended``, stop it; all within one event loop."""

    def __init__(
        self,
        options: HostOptions,
        flex: FlexOptions,
        settings: AppSettings,
        host_json: HostJson,
        listening: socket.socket,
        *,
        machine: Mapping[str, str],
    ) -> None:
        """listening: a bound socket. machine: the environment without the app's settings, for placeholders."""
        self._options = options
        self._flex = flex
        self._settings = settings
        self._host_json = host_json
        self._socket = listening
        self._machine = machine
        self._storage = Storage(settings)
        self._journal = Journal(flex.journal)
        self._front = Front(flex.http_concurrency)
        self._indexed: Sequence[IndexedFunction] = ()
        self._functions: dict[str, Function] = {}
        self._disabled: set[str] = set()
        self._unusable: dict[str, str] = {}
        self._groups: dict[str, Scaled] = {}
        self._looking: set[asyncio.Task[None]] = set()
        self._calls: set[asyncio.Task[None]] = set()  # by hand
        self._is_stopping = False
        self._told = ""  # which groups have instances, as it was said last
        self._runner: web.AppRunner | None = None
        self._began = time.monotonic()
        # Set where the host is no longer what it was; the value is the exit code.
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    async def start(self) -> None:
        """Index the app, and have an instance wherever one is needed from now on. Raises AppUnusable."""
        # Azure's control plane learns of the functions when the app is deployed and its triggers are synced.
        # https://learn.microsoft.com/azure/azure-functions/functions-deployment-technologies#trigger-syncing
        self._indexed = await _index(self._options.root)
        for indexed in self._indexed:
            try:
                function = read_function(indexed, self._settings, self._host_json.route_prefix)
            except (FunctionUnusable, HostSettingsInvalid) as error:
                self._unusable[indexed.name] = str(error)
                log.error("The function '%s' cannot be started: %s", indexed.name, error)
                continue
            self._functions[function.name] = function
            if self._settings.is_disabled(function.name):
                self._disabled.add(function.name)
        groups = scale_groups(list(self._functions.values()), self._disabled)
        if unknown := self._flex.always_ready.keys() - {group.name for group in groups}:
            raise HostSettingsInvalid(
                f"--always-ready: there is no group {', '.join(sorted(unknown))}; "
                f"there are: {', '.join(group.name for group in groups)}"
            )
        for group in groups:
            try:
                demand = self._demand(group)
            except HostSettingsInvalid as error:
                self._unusable[group.name] = str(error)
                log.error("The function '%s' cannot be started: %s", group.name, error)
                continue
            scaled = Scaled(
                group,
                demand,
                self._flex,
                machine=self._machine,
                assign=self._assignment,
                journal=self._journal,
                changed=self._tell_instances,
            )
            self._groups[group.name] = scaled
            self._watch(scaled.run(), f"scaling of {group.name}")
        self._front.open()
        await self._serve()

    async def stop(self, grace_s: float) -> bool:
        """Let all instances end; say whether all invocations have ended before."""
        self._is_stopping = True
        for scaled in self._groups.values():
            scaled.stop()
        if self._looking:
            await asyncio.wait(self._looking)
        for call in self._calls:
            call.cancel()
        if self._runner:
            for site in list(self._runner.sites):
                await site.stop()
        ended = await asyncio.gather(*(scaled.end(grace_s) for scaled in self._groups.values()))
        if self._runner:
            await self._runner.cleanup()
        await self._front.close()
        await self._storage.close()
        self._journal.close()
        return all(ended)

    def describe(self) -> list[str]:
        """One line a function, as Core Tools prints them."""
        lines = [
            f"{name}: cannot be started: {self._unusable[name]}"
            if name in self._unusable
            else describe(self._functions[name], self.url, is_disabled=name in self._disabled)
            for name in (indexed.name for indexed in self._indexed)
        ]
        return [*lines, "", f"Scale groups: {', '.join(self._groups)}"]

    def status(self) -> Mapping[str, Any]:
        """How it is."""
        instances = [instance for scaled in self._groups.values() for instance in scaled.instances]
        return {
            "id": host_id(self._options.root, self._settings),
            "state": "Running",
            "listening": sum(bool(scaled.instances) for name, scaled in self._groups.items() if name != HTTP),
            "invocations": sum(len(instance.executing) for instance in instances),
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
        """Begin to run a timer or queue function on an instance of its group."""
        call = asyncio.create_task(self._run_by_hand(function, text), name=f"call of {function.name}")
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    def drain(self) -> None:
        """Listen to queues and timers no more; what runs goes on, and HTTP is still answered."""
        for name, scaled in self._groups.items():
            if name != HTTP:
                scaled.drain()

    def instances(self) -> Mapping[str, Any]:
        """All groups with their instances."""
        return {"groups": [scaled.status() for scaled in self._groups.values()]}

    def kill(self, name: str) -> bool:
        """End an instance at once; False if there is none of that name."""
        for scaled in self._groups.values():
            for instance in scaled.instances:
                if instance.name == name:
                    instance.kill()
                    return True
        return False

    def _demand(self, group: Group) -> Demand:
        """What a group is needed for. Raises HostSettingsInvalid if a queue's storage is not set."""
        if group.is_disabled:
            return NoDemand()
        match group.functions[0].trigger:
            case HttpTrigger():
                return HttpDemand(lambda: self._front.requests, self._flex.http_concurrency)
            case QueueTrigger() as trigger:
                batch_size = self._host_json.queues.batch_size
                return QueueDemand(
                    self._storage.queues(trigger.connection),
                    trigger.queue_name,
                    self._flex.messages_per_instance or batch_size,
                )
            case TimerTrigger() as trigger:
                return TimerDemand(trigger.schedule, self._flex.timer_lead_s, lambda: datetime.now(UTC))

    def _assignment(self, group: Group, not_before: float) -> Assignment:
        return Assignment(
            root=str(self._options.root),
            environment=dict(os.environ),  # the app's settings are among it (settings.settle)
            functions=[function.name for function in group.functions],
            keys=self._options.keys.values,
            lease_s=self._options.lease_s,
            drain_s=self._flex.drain_s,
            not_before=not_before,
        )

    async def _serve(self) -> None:
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        AdminRoutes(self, self._options.keys).add_to(app)
        app.router.add_get("/admin/host/instances", self._answer_instances)
        app.router.add_post("/admin/host/instances/{instance}/kill", self._answer_kill)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.SockSite(self._runner, self._socket).start()

    async def _answer(self, request: web.Request) -> web.Response:
        group = self._groups.get(HTTP)
        return await self._front.forward(request, group) if group else web.Response(status=404)

    async def _answer_instances(self, request: web.Request) -> web.Response:
        is_admitted = self._options.keys.open_admin(request)
        return web.json_response(self.instances()) if is_admitted else web.Response(status=401)

    async def _answer_kill(self, request: web.Request) -> web.Response:
        if not self._options.keys.open_admin(request):
            return web.Response(status=401)
        return web.Response(status=202 if self.kill(request.match_info["instance"]) else 404)

    async def _run_by_hand(self, function: Function, text: str) -> None:
        if (group := self._groups.get(function.name)) is None:
            log.error("%s cannot be run: %s", function.name, self._unusable.get(function.name))
            return
        instance = await group.an_instance_by_hand()
        instance.begin_request()
        headers = {"Content-Type": "application/json", "x-functions-key": self._options.keys.values.get(MASTER_KEY, "")}
        url = f"{instance.url}/admin/functions/{function.name}"
        try:
            status = await self._front.call(url, headers, json.dumps({"input": text}).encode())
        except aiohttp.ClientError as error:
            log.error("The call of %s by hand was lost with its instance: %s", function.name, error)
        else:
            if status != 202:
                log.error("The call of %s by hand was refused with HTTP %d", function.name, status)
        finally:
            instance.end_request()

    def _tell_instances(self) -> None:
        if self._is_stopping:
            return
        if (now := describe_instances(list(self._groups.values()))) != self._told:
            self._told = now
            log.info(LINE, now)

    def _watch(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._looking.add(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._looking.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.critical("The %s broke, the host ends", task.get_name(), exc_info=error)
            if not self.ended.done():
                self.ended.set_result(EXIT_BROKEN)


async def _index(root: Path) -> list[IndexedFunction]:
    """Index an app in a process of its own. Raises AppUnusable."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", _INDEX, str(root)), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    said, errors = await process.communicate()
    if process.returncode:
        raise AppUnusable(errors.decode(errors="replace").strip())
    found: dict[str, list[object]] = json.loads(said.decode().splitlines()[-1])
    return [
        IndexedFunction(name=name, function_id="", raw_bindings=tuple(json.dumps(binding) for binding in bindings))
        for name, bindings in found.items()
    ]
