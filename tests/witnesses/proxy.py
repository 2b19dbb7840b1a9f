"""A proxy for clients that cannot be told another address than Microsoft's: it answers in Microsoft's place.

It takes CONNECT for the hosts that it stands in for, ends TLS there with a certificate of its own, and passes the bytes
to a simulator. Any other host is refused and written down: nothing leaves this machine.
"""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import trustme

LOOPBACK: Final = "127.0.0.1"
BLOCK: Final = 256 * 1024  # bytes
HEAD_TIMEOUT_S: Final = 20


class Proxy:
    """Runs in a thread of its own. Use as a context manager.

    ports: host name to the loopback port of the simulator that answers for it. ca_file: where the certificate of the
    CA is written, as PEM; the client must trust it.
    """

    def __init__(self, ports: Mapping[str, int], ca_file: Path) -> None:
        self.ca_file = ca_file
        self.refused: list[str] = []  # where the client wanted to go besides
        self._ports = dict(ports)
        authority = trustme.CA(organization_name="witnesses")
        authority.cert_pem.write_to_path(str(ca_file))
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*self._ports).configure_cert(self._tls)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="witnesses.proxy", daemon=True)
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, LOOPBACK, 0), self._loop
        ).result()
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._loop.shutdown_default_executor()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            async with asyncio.timeout(HEAD_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
            method, target, *_ = head.decode("latin-1").split(" ")
            port = self._ports.get(target.removesuffix(":443"))
            if method != "CONNECT" or port is None:
                self.refused.append(f"{method} {target}")
                writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
                return
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await writer.drain()
            await writer.start_tls(self._tls)
            await _join(reader, writer, port)
        # A client that goes away, or does not trust the certificate, ends its connection and nothing else.
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            pass
        finally:
            self._connections.discard(task)
            await _close(writer)


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """Pass bytes both ways until one side ends."""
    inner_reader, inner_writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        ways = [
            asyncio.ensure_future(_pass_on(reader, inner_writer)),
            asyncio.ensure_future(_pass_on(inner_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
    finally:
        await _close(inner_writer)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while block := await reader.read(BLOCK):
        writer.write(block)
        await writer.drain()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, asyncio.CancelledError):
        await writer.wait_closed()
