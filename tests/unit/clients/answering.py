"""A server on a loopback socket that answers as a test says and remembers what it was asked."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request that arrived."""

    method: str
    path: str  # with the query
    headers: Mapping[str, str]  # names in lower case
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes back, in one write."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    content_length: int | None = None  # a lie about the body's length

    def __bytes__(self) -> bytes:
        length = len(self.body) if self.content_length is None else self.content_length
        lines = [f"HTTP/1.1 {self.status} {responses.get(self.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines += [f"Content-Length: {length}", "", ""]
        return "\r\n".join(lines).encode("latin-1") + self.body


class OneToken:
    """A token source that always has the same token."""

    def token(self, *, refresh: bool = False) -> str:
        return "made-up-token"


# None: the connection is closed without a word.
type Handler = Callable[[Asked], Answer | None]


class AnsweringServer:
    """What a test sees of the server."""

    def __init__(self, handler: Handler, port: int) -> None:
        self.handler = handler
        self.url = f"http://127.0.0.1:{port}"
        self._asked: list[Asked] = []
        self._lock = threading.Lock()

    @property
    def asked(self) -> list[Asked]:
        """Every request so far, in the order of arrival."""
        with self._lock:
            return list(self._asked)

    def answer(self, asked: Asked) -> Answer | None:
        with self._lock:
            self._asked.append(asked)
        return self.handler(asked)


@contextmanager
def answering(handler: Handler) -> Iterator[AnsweringServer]:
    """Run a server that answers with what the handler returns; the handler may be replaced on the way."""

    class OneRequest(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = server.answer(Asked(method=self.command, path=self.path, headers=headers, body=body))
            if answer is not None:
                with suppress(ConnectionError):  # the client has read enough
                    self.wfile.write(bytes(answer))
            # A body that is shorter than announced ends with the connection.
            if answer is None or answer.content_length is not None:
                self.close_connection = True

        do_GET = do_POST = do_PUT = do_PATCH = do_HEAD = do_DELETE = _answer  # noqa: N815  # names that http.server looks for

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), OneRequest) as listener:
        listener.daemon_threads = True
        server = AnsweringServer(handler, listener.server_port)
        thread = threading.Thread(target=listener.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown()
            thread.join()
