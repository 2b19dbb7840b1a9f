"""The admin routes of the host: what it runs, how it is, and firing a timer or queue function by hand."""

import json
from collections.abc import Mapping
from typing import Any, Protocol

from aiohttp import web

from local_cloud.functions_host.bindings import Function, HttpTrigger
from local_cloud.functions_host.http import Keys


class Administered(Protocol):
    """The host, as far as these routes need it."""

    def status(self) -> Mapping[str, Any]:
        """What GET /admin/host/status answers."""
        ...

    def listed(self) -> list[Mapping[str, Any]]:
        """What GET /admin/functions answers."""
        ...

    def function(self, name: str) -> Function | None:
        """The function of that name that can be run."""
        ...

    def run_by_hand(self, function: Function, text: str) -> None:
        """Begin to run a timer or queue function."""
        ...

    def drain(self) -> None:
        """Listen to queues and timers no more."""
        ...


class AdminRoutes:
    """Adds the routes to an application. They need the master key where one is configured."""

    def __init__(self, host: Administered, keys: Keys) -> None:
        self._host = host
        self._keys = keys

    def add_to(self, app: web.Application) -> None:
        """Add them; routes that are added later come after these."""
        app.router.add_get("/admin/host/status", self._status)
        app.router.add_post("/admin/host/drain", self._drain)
        app.router.add_get("/admin/functions", self._functions)
        app.router.add_post("/admin/functions/{name}", self._run)

    async def _status(self, request: web.Request) -> web.Response:
        return web.json_response(self._host.status()) if self._keys.open_admin(request) else web.Response(status=401)

    async def _functions(self, request: web.Request) -> web.Response:
        return web.json_response(self._host.listed()) if self._keys.open_admin(request) else web.Response(status=401)

    async def _drain(self, request: web.Request) -> web.Response:
        if not self._keys.open_admin(request):
            return web.Response(status=401)
        self._host.drain()
        return web.Response(status=202)

    async def _run(self, request: web.Request) -> web.Response:
        """``{"input": "text of the message"}``.

        https://learn.microsoft.com/azure/azure-functions/functions-manually-run-non-http
        """
        if not self._keys.open_admin(request):
            return web.Response(status=401)
        function = self._host.function(request.match_info["name"])
        if function is None:
            return web.Response(status=404)
        if isinstance(function.trigger, HttpTrigger):
            return web.Response(status=400, text="an HTTP function is called at its own address")
        try:
            content = json.loads(await request.read() or b"{}")
            given = content.get("input") or ""
        except (ValueError, AttributeError):
            return web.Response(status=400, text='the body must be a JSON object like {"input": "text"}')
        self._host.run_by_hand(function, given if isinstance(given, str) else json.dumps(given))
        return web.Response(status=202)
