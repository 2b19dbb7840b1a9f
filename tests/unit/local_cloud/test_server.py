"""Servers that come and go without leaving anything behind."""

import asyncio
import gc
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from aiohttp import web

from local_cloud import server as server_module
from local_cloud.entra import server_certificate
from local_cloud.server import Server, answer

TIMEOUT_S = 60  # costs nothing when all is well


@pytest.fixture(autouse=True, scope="module")
def _what_others_left() -> Iterator[None]:
    """Look once through what thousands of other tests have left, and not again after each test here."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def nothing_left_open(_what_others_left: None) -> Iterator[None]:
    """An unclosed socket or transport warns when it is collected, and warnings are errors."""
    yield
    gc.collect()


def an_app(handler: Callable[[web.Request], object] | None = None) -> web.Application:
    async def hello(_request: web.Request) -> web.Response:
        return answer(200, {"hello": "world"})

    app = web.Application()
    app.router.add_get("/", handler or hello)  # type: ignore[arg-type] # a test's handler
    return app


def test_a_server_takes_a_free_port_and_answers_at_its_url() -> None:
    with Server(an_app()) as one, Server(an_app()) as other:
        assert one.port != other.port
        assert one.url == f"http://127.0.0.1:{one.port}"
        assert requests.get(one.url, timeout=TIMEOUT_S).json() == {"hello": "world"}


def test_a_taken_port_is_reported_to_whoever_starts_the_server() -> None:
    with Server(an_app()) as server, pytest.raises(OSError, match="address"):
        Server(an_app(), port=server.port).start()


def test_a_stopped_server_gives_its_port_back() -> None:
    with Server(an_app()) as server:
        port = server.port

    with Server(an_app(), port=port) as again:
        assert requests.get(again.url, timeout=TIMEOUT_S).status_code == 200


def test_a_server_may_be_stopped_twice_and_before_it_was_started() -> None:
    server = Server(an_app())
    server.stop()
    server.start()
    server.stop()
    server.stop()

    with pytest.raises(requests.ConnectionError):
        requests.get(server.url, timeout=TIMEOUT_S)


def test_a_server_is_not_started_twice() -> None:
    with Server(an_app()) as server, pytest.raises(RuntimeError, match="started before"):
        server.start()


def test_idle_connections_do_not_hold_up_the_stop() -> None:
    with requests.Session() as session, Server(an_app()) as server:
        session.get(server.url, timeout=TIMEOUT_S)  # its connection is kept alive
        with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT_S):  # has sent nothing yet
            server.stop()  # raises after STOP_WITHIN_S


def test_a_handler_that_hangs_is_cut_off_when_the_server_stops() -> None:
    entered = threading.Event()
    ended = threading.Event()

    async def hang(_request: web.Request) -> web.Response:
        entered.set()
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()
        return answer(200)

    with (
        Server(an_app(hang)) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT_S) as client,
    ):
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert entered.wait(TIMEOUT_S)

        server.stop()  # raises after STOP_WITHIN_S
        assert ended.is_set()
        assert client.recv(100) == b""


def test_a_request_in_progress_gets_its_answer_before_the_server_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "GRACE_S", TIMEOUT_S)
    entered = threading.Event()

    async def answer_soon(_request: web.Request) -> web.Response:
        entered.set()
        await asyncio.sleep(0.05)
        return answer(200, "done")

    with (
        Server(an_app(answer_soon)) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT_S) as client,
    ):
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert entered.wait(TIMEOUT_S)
        server.stop()

        assert client.recv(1000).endswith(b"done")


def test_tls_connections_do_not_hold_up_the_stop(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    with requests.Session() as session, Server(an_app(), ssl_context=server_certificate(ca_file)) as server:
        assert session.get(server.url, verify=str(ca_file), timeout=TIMEOUT_S).json() == {"hello": "world"}
        with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT_S):  # never shakes hands
            server.stop()  # raises after STOP_WITHIN_S


def test_connections_that_arrive_during_the_stop_cause_no_errors(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    for _ in range(10):
        with Server(an_app()) as server:
            stopping = threading.Event()

            def knock(port: int = server.port, stopping: threading.Event = stopping) -> None:
                while not stopping.is_set():
                    try:
                        socket.create_connection(("127.0.0.1", port), timeout=0.1).close()
                    except OSError:
                        return

            callers = [threading.Thread(target=knock) for _ in range(4)]
            for caller in callers:
                caller.start()
            server.stop()
            stopping.set()
            for caller in callers:
                caller.join(TIMEOUT_S)

    assert not caplog.records


def test_head_and_body_arrive_in_one_piece() -> None:
    with Server(an_app()) as server:
        for _ in range(50):
            with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT_S) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert client.recv(65536).endswith(b'{"hello": "world"}')


@pytest.mark.parametrize(
    ("body", "content", "content_type"),
    [
        ({"a": 1}, b'{"a": 1}', "application/json; charset=utf-8"),
        ([1, 2], b"[1, 2]", "application/json; charset=utf-8"),
        ("für", "für".encode(), "text/plain; charset=utf-8"),
        (b"\x00", b"\x00", "application/octet-stream"),
    ],
)
def test_an_answer_names_the_type_of_its_body(body: object, content: bytes, content_type: str) -> None:
    response = answer(200, body)  # type: ignore[arg-type] # every kind in turn

    assert response.body == content
    assert response.headers["Content-Type"] == content_type


def test_an_answer_keeps_the_content_type_it_is_given() -> None:
    response = answer(200, {"a": 1}, {"content-type": "application/json;odata.metadata=minimal", "request-id": "r"})

    assert response.headers.getall("Content-Type") == ["application/json;odata.metadata=minimal"]
    assert response.headers["request-id"] == "r"


def test_an_answer_without_a_body_is_empty() -> None:
    async def nothing(_request: web.Request) -> web.Response:
        return answer(204)

    with Server(an_app(nothing)) as server:
        response = requests.get(server.url, timeout=TIMEOUT_S)

    assert response.status_code == 204
    assert response.content == b""
    assert "Content-Type" not in response.headers
