"""A server on a real socket that answers what a test wrote down, in one write, and remembers what it was asked."""

import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

SAMPLES = Path(__file__).parents[2] / "samples"


@dataclass(frozen=True, kw_only=True)
class Received:
    method: str
    target: str
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    connection: int  # the client's port: the same number is the same connection

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int = 200
    body: object = None  # None: empty; bytes as they are; anything else as JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int = 0  # bytes of the body that are announced but never sent
    after_s: float = 0.0  # seconds until it comes

    def wire(self) -> bytes:
        match self.body:
            case None:
                body = b""
            case bytes():
                body = self.body
            case _:
                body = json.dumps(self.body).encode()
        head = [f"HTTP/1.1 {self.status} Reason", f"Content-Length: {len(body)}"]
        head += [f"{name}: {value}" for name, value in self.headers.items() if name.lower() != "content-length"]
        return "\r\n".join(head).encode() + b"\r\n\r\n" + body[: len(body) - self.cut]


class Reset:
    """Instead of an answer: the connection is reset."""


class Silence:
    """Instead of an answer: nothing, until the client gives up."""


class GraphToken:
    """Bears the app's token, without which Graph is not asked anything."""

    def token(self, *, refresh: bool = False) -> str:
        return "graph-token"


type Step = Answer | Reset | Silence


def sample(name: str, /, **more: Any) -> Answer:
    """Return a recorded answer, its body updated with ``more``."""
    record = json.loads((SAMPLES / "graph" / f"{name}.json").read_text(encoding="utf-8"))
    return Answer(status=record["status"], headers=record["headers"], body=record["body"] | more)


class Server:
    """Serves while it is entered; a request beyond the script fails the test at the end."""

    def __init__(
        self, *steps: Step, route: Callable[[Received], Step] | None = None, tls: ssl.SSLContext | None = None
    ):
        self.received: list[Received] = []
        self._steps = list(steps)
        self._route = route
        self._unexpected: list[str] = []
        self._open: set[socket.socket] = set()
        self._released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._scheme = "https" if tls else "http"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}"

    def then(self, *steps: Step) -> None:
        self._steps += steps

    def requests_line_by_line(self) -> list[str]:
        return [f"{one.method} {one.target}" for one in self.received]

    def step_for(self, request: Received) -> Step:
        self.received.append(request)
        if self._route is not None:
            return self._route(request)
        if self._steps:
            return self._steps.pop(0)
        self._unexpected.append(f"{request.method} {request.target}")
        return Answer(status=418)

    def opened(self, connection: socket.socket) -> None:
        self._open.add(connection)

    def closed(self, connection: socket.socket) -> None:
        self._open.discard(connection)

    def wait_for_the_end(self) -> None:
        self._released.wait(timeout=60)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:  # a client that has given up may have gone before its request was read
            deadline = time.monotonic() + 60
            while self._steps and time.monotonic() < deadline:
                time.sleep(0.005)
        self._released.set()
        self._server.shutdown()
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # the client was first
        self._server.server_close()
        self._thread.join()
        if error is None:
            assert not self._unexpected, f"requests that the test did not expect: {self._unexpected}"
            assert not self._steps, f"answers that nobody fetched: {self._steps}"


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            server.opened(self.connection)

        def finish(self) -> None:
            server.closed(self.connection)
            super().finish()

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Received(
                method=self.command,
                target=self.path,
                headers={name.lower(): value for name, value in self.headers.items()},
                body=body,
                connection=self.client_address[1],
            )
            match server.step_for(request):
                case Answer() as answer:
                    time.sleep(answer.after_s)  # what a slow service takes
                    self.wfile.write(answer.wire())
                    self.close_connection = bool(answer.cut)
                case Reset():
                    # Lingering for no time at all makes the close a reset.
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.close_connection = True
                case Silence():
                    server.wait_for_the_end()
                    self.close_connection = True

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815  # names of http.server

        def log_message(self, format: str, *args: object) -> None:
            return

    return Handler
