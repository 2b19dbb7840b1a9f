"""Azurite as the app sees it in a soak: through doors that fail now and then, as storage does under load.

There is one for the app's own storage and one for F&O's package blobs. What the simulators themselves keep there, and
read of it, goes past the doors.
"""

import re
from types import TracebackType
from typing import Final, Self

from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web
from yarl import URL

from local_cloud.faults import FaultPlan
from local_cloud.server import Server

SERVICE: Final = "storage"  # the app's own
PACKAGES: Final = "package-blobs"  # F&O's
_LARGEST: Final = 64 * 1024 * 1024  # bytes of a request
_TIMEOUT_S: Final = 60.0
# They belong to one connection, and the door has two.
_OF_A_CONNECTION: Final = frozenset({"connection", "host", "keep-alive", "transfer-encoding"})
# The signature covers headers too: none may be added.
_NOT_ADDED: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class StorageDoor:
    """Hands every request on to Azurite and every answer back, but for those that the plan has something for."""

    def __init__(self, connection_string: str, plan: FaultPlan, service: str = SERVICE) -> None:
        """connection_string: Azurite's own; service: under which name the plan knows what comes through this door."""
        self._connection_string = connection_string
        endpoints = re.findall(r"(?:Blob|Queue)Endpoint=([^;]+)", connection_string)
        self._origins = [str(URL(endpoint).origin()) for endpoint in endpoints]
        self._servers = [Server(_app(origin, plan, service)) for origin in self._origins]

    def __enter__(self) -> Self:
        for server in self._servers:
            server.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.stop()

    @property
    def connection_string(self) -> str:
        """What AzureWebJobsStorage is set to."""
        text = self._connection_string
        for origin, server in zip(self._origins, self._servers, strict=True):
            text = text.replace(origin, server.url)
        return text

    @property
    def blob_url(self) -> str:
        """The account's address for blobs, as seen through the door."""
        return self.connection_string.partition("BlobEndpoint=")[2].partition(";")[0]


def _app(origin: str, plan: FaultPlan, service: str) -> web.Application:
    async def hand_on(request: web.Request) -> web.Response:
        session: ClientSession = request.app[_SESSION]
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _OF_A_CONNECTION]
        # As it came, sign for sign: the signature covers the path.
        url = URL(origin + request.raw_path, encoded=True)
        body = await request.read() or None
        async with session.request(
            request.method, url, headers=headers, data=body, allow_redirects=False, skip_auto_headers=_NOT_ADDED
        ) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _OF_A_CONNECTION}
            return web.Response(status=answer.status, headers=kept, body=await answer.read())

    app = web.Application(middlewares=[plan.middleware(service)], client_max_size=_LARGEST)
    app.cleanup_ctx.append(_with_session)
    app.router.add_route("*", "/{path:.*}", hand_on)
    return app


_SESSION: Final = web.AppKey("session", ClientSession)


async def _with_session(app: web.Application):  # type: ignore[no-untyped-def]  # aiohttp's own type is an async iterator
    async with ClientSession(
        connector=TCPConnector(limit=0),
        cookie_jar=DummyCookieJar(),
        timeout=ClientTimeout(total=_TIMEOUT_S),
        auto_decompress=False,
    ) as session:
        app[_SESSION] = session
        yield
