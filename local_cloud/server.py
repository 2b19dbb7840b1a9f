"""Runs an aiohttp application on a loopback socket, in a thread of its own.

Every simulator is an ``aiohttp.web.Application``; this file gives it an address and takes it away again without
leaving a socket, a task or a thread behind. What the applications answer is in the files beside this one.
"""

import asyncio
import json
import ssl
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Self

from aiohttp import web

LOOPBACK: Final = "127.0.0.1"
GRACE_S: Final = 0.2  # seconds that requests in progress may take to end once the server stops
# Seconds. A thread that is still there after that is a bug and is reported as one: no machine stalls for so long.
STOP_WITHIN_S: Final = 25.0


class Server:
    """Serves one application until stopped.

    >>> with Server(web.Application()) as server:
    ...     server.url.startswith("http://127.0.0.1:")
    True

    An application belongs to one server and one start: aiohttp binds it to the event loop that first ran it.
    """

    def __init__(self, app: web.Application, port: int = 0, ssl_context: ssl.SSLContext | None = None) -> None:
        """app: what to serve; port: 0 for any free one; ssl_context: serve TLS with this certificate."""
        self._app = app
        self._ssl_context = ssl_context
        self._port = port
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_asked: asyncio.Event | None = None
        self._started = threading.Event()
        self._failure: BaseException | None = None

    @property
    def port(self) -> int:
        """The port that is listened on; before the start, the one that was asked for."""
        return self._port

    @property
    def url(self) -> str:
        """Scheme, host and port, without a slash at the end."""
        return f"{'https' if self._ssl_context else 'http'}://{LOOPBACK}:{self._port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen and serve; return once connections are accepted. Raises OSError when the port is taken."""
        if self._thread is not None:
            raise RuntimeError("the server has been started before")
        self._thread = threading.Thread(target=self._run, name="local_cloud.server", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    def stop(self) -> None:
        """Stop listening, give requests in progress GRACE_S to end, then cut them off. May be called again."""
        if self._thread is None or not self._thread.is_alive():
            return
        loop, stop_asked = self._loop, self._stop_asked
        if loop is not None and stop_asked is not None:
            loop.call_soon_threadsafe(stop_asked.set)
        self._thread.join(STOP_WITHIN_S)
        if self._thread.is_alive():
            raise RuntimeError(f"{self.url} did not stop within {STOP_WITHIN_S} s: a handler blocks its event loop")

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as failure:  # noqa: BLE001 - it belongs to the thread that called start()
            self._failure = failure
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop_asked = asyncio.Event()
        runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=GRACE_S)
        await runner.setup()
        try:
            if runner.server is None:
                raise RuntimeError("aiohttp made no server")
            listener = await self._loop.create_server(runner.server, LOOPBACK, self._port, ssl=self._ssl_context)
            self._port = listener.sockets[0].getsockname()[1]
            self._started.set()
            await self._stop_asked.wait()
            # A connection that was accepted in this round of the loop has no transport yet, and asyncio fails to make
            # one for a closed listener; timers come last in a round, so after one there is none in between.
            await asyncio.sleep(0.001)
            listener.close()
        finally:
            await runner.cleanup()
        # What is left: TLS connections, which would wait 30 s for the other side's farewell, and those that are still
        # in their handshake, of which aiohttp does not know.
        listener.abort_clients()
        await listener.wait_closed()


class Served:
    """An application with a server of its own, which a ``with`` starts and stops."""

    def __init__(self, app: web.Application) -> None:
        self.server = Server(app)

    def __enter__(self) -> Self:
        self.server.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.server.stop()


def answer(
    status: int,
    body: Mapping[str, object] | Sequence[object] | str | bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """Return an answer that leaves in one write.

    body: a mapping or list becomes JSON, a str UTF-8 text, bytes go as they are, None is an empty body. headers may
    name another Content-Type.
    """
    match body:
        case None:
            content, content_type = b"", ""
        case bytes():
            content, content_type = body, "application/octet-stream"
        case str():
            content, content_type = body.encode(), "text/plain; charset=utf-8"
        case _:
            content, content_type = json.dumps(body).encode(), "application/json; charset=utf-8"
    response = web.Response(status=status, body=content, headers=headers)
    if content_type and (headers is None or "content-type" not in {name.lower() for name in headers}):
        response.headers["Content-Type"] = content_type
    return response
