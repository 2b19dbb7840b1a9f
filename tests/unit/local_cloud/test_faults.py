"""Faults as a client sees them on the socket, and what the service has done meanwhile."""

import gc
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
import requests
from aiohttp import web
from urllib3.exceptions import ProtocolError

from local_cloud.faults import (
    Action,
    Fault,
    FaultPlan,
    Kind,
    cut_body,
    fault_from_json,
    fault_to_json,
    garbage,
    hang,
    hold,
    late,
    lost_after,
    reset_before,
    status,
)
from local_cloud.server import Server, answer

TIMEOUT_S = 60  # costs nothing when all is well
BODY = b"0123456789" * 100


@dataclass
class Shop:
    """A service that remembers what it did."""

    plan: FaultPlan
    url: str = ""
    handled: list[bytes] = field(default_factory=list)
    handled_at: float = 0.0  # by time.monotonic(), the last time

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self.plan.middleware("shop")])
        app.router.add_route("*", "/things/{name}", self._handle)
        app.router.add_get("/refuse", self._refuse)
        app.router.add_get("/nothing", self._nothing)
        app.router.add_get("/stream", self._stream)
        app.router.add_get("/chunks", self._stream)
        app.router.add_get("/break", self._break)
        self.plan.add_control(app)
        return app

    async def _handle(self, request: web.Request) -> web.Response:
        self.handled.append(await request.read())
        self.handled_at = time.monotonic()
        return answer(200, BODY, {"ETag": '"1"'})

    async def _refuse(self, _request: web.Request) -> web.Response:
        raise web.HTTPConflict(text="taken")

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if request.path == "/stream":
            response.content_length = len(BODY)
        await response.prepare(request)
        for start in range(0, len(BODY), 300):
            await response.write(BODY[start : start + 300])
        await response.write_eof()
        self.handled.append(b"streamed")
        return response

    async def _nothing(self, _request: web.Request) -> web.Response:
        return answer(200)

    async def _break(self, _request: web.Request) -> web.Response:
        raise ZeroDivisionError


@pytest.fixture(autouse=True, scope="module")
def nothing_left_open() -> Iterator[None]:
    """An unclosed socket or transport warns when it is collected, and warnings are errors."""
    yield
    gc.collect()


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop(FaultPlan())
    with Server(shop.app()) as server:
        shop.url = server.url
        yield shop


def a_fault(**changes: object) -> Fault:
    return Fault(**{"service": "shop", "method": "POST", "path_regex": "^/things/", "do": status(503)} | changes)  # type: ignore[arg-type]


def post(shop: Shop, *, timeout_s: float = TIMEOUT_S) -> requests.Response:
    return requests.post(f"{shop.url}/things/a", data=b"sent", timeout=timeout_s)


@contextmanager
def asking(shop: Shop) -> Iterator[None]:
    """A client that has sent its request and waits; it is gone at the end."""
    host, port = shop.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as client:
        client.sendall(b"POST /things/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nsent")
        assert until(lambda: len(shop.plan.calls) == 1)
        yield


def until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + TIMEOUT_S
    while not (holds := condition()) and time.monotonic() < deadline:
        time.sleep(0.001)
    return holds


def test_nothing_goes_wrong_without_a_fault(shop: Shop) -> None:
    assert post(shop).content == BODY


def test_a_call_at_which_no_fault_is_due_may_fail_by_chance(shop: Shop) -> None:
    asked: list[str] = []

    def one_in_two(service: str) -> Action | None:
        asked.append(service)
        return status(500) if len(asked) % 2 else None

    shop.plan.by_chance = one_in_two
    shop.plan.add(a_fault())

    assert [post(shop).status_code for _ in range(4)] == [503, 500, 200, 500]
    assert asked == ["shop"] * 3


def test_a_status_is_answered_in_place_of_the_service(shop: Shop) -> None:
    shop.plan.add(a_fault(do=status(429, {"Retry-After": "7"}, {"error": {"code": "activityLimitReached"}})))

    response = post(shop)

    assert response.status_code == 429
    assert response.headers["Retry-After"] == "7"
    assert response.json() == {"error": {"code": "activityLimitReached"}}
    assert shop.handled == []


def test_a_status_may_hide_that_the_request_was_handled(shop: Shop) -> None:
    shop.plan.add(a_fault(do=status(504, handled=True)))

    assert post(shop).status_code == 504
    assert shop.handled == [b"sent"]


def test_a_reset_connection_has_handled_nothing(shop: Shop) -> None:
    shop.plan.add(a_fault(method="GET", do=reset_before()))
    host, port = shop.url.removeprefix("http://").split(":")

    with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as client:
        client.sendall(b"GET /things/a HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            client.recv(100)

    assert shop.handled == []


def test_a_lost_answer_was_handled_and_then_nothing_came(shop: Shop) -> None:
    shop.plan.add(a_fault(do=lost_after()))

    with pytest.raises(requests.ConnectionError, match="without response"):
        post(shop)

    assert shop.handled == [b"sent"]


def test_a_lost_answer_sends_not_a_single_byte(shop: Shop) -> None:
    shop.plan.add(a_fault(method="GET", do=lost_after()))
    host, port = shop.url.removeprefix("http://").split(":")

    with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as client:
        client.sendall(b"GET /things/a HTTP/1.1\r\nHost: localhost\r\n\r\n")

        assert client.recv(100) == b""


def test_a_refusal_can_be_lost_as_well(shop: Shop) -> None:
    shop.plan.add(a_fault(method="GET", path_regex="/refuse", do=lost_after()))

    with pytest.raises(requests.ConnectionError, match="without response"):
        requests.get(f"{shop.url}/refuse", timeout=TIMEOUT_S)


def test_a_hanging_service_says_nothing_until_the_client_gives_up(shop: Shop) -> None:
    shop.plan.add(a_fault(do=hang(600)))

    with pytest.raises(requests.ReadTimeout):
        post(shop, timeout_s=0.1)

    assert shop.handled == []


def test_a_hanging_service_closes_the_connection_in_the_end(shop: Shop) -> None:
    shop.plan.add(a_fault(do=hang(0.05)))

    with pytest.raises(requests.ConnectionError, match="without response"):
        post(shop)

    assert shop.handled == []


def test_a_cut_body_is_declared_whole_and_comes_in_half(shop: Shop) -> None:
    shop.plan.add(a_fault(do=cut_body()))

    with requests.post(f"{shop.url}/things/a", data=b"sent", stream=True, timeout=TIMEOUT_S) as response:
        assert response.headers["Content-Length"] == str(len(BODY))
        assert response.headers["ETag"] == '"1"'
        assert response.raw.read(len(BODY) // 2) == BODY[: len(BODY) // 2]
        with pytest.raises(ProtocolError, match=f"{len(BODY) // 2} more expected"):
            response.raw.read()

    assert shop.handled == [b"sent"]


def test_garbage_is_html_with_a_good_status(shop: Shop) -> None:
    shop.plan.add(a_fault(do=garbage()))

    response = post(shop)

    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/html")
    assert response.text.startswith("<html>")
    assert shop.handled == []


def test_a_late_service_handles_the_request_although_the_client_has_gone(shop: Shop) -> None:
    shop.plan.add(a_fault(do=late(0.2)))
    began = time.monotonic()

    with asking(shop):
        pass

    assert until(lambda: shop.handled == [b"sent"])
    assert shop.handled_at - began >= 0.2


def test_a_held_answer_comes_long_after_the_request_was_handled(shop: Shop) -> None:
    shop.plan.add(a_fault(do=hold(0.2)))

    with asking(shop):
        assert until(lambda: shop.handled == [b"sent"])

    assert until(lambda: shop.plan.calls[0].status == 200)
    assert time.monotonic() - shop.handled_at >= 0.2


@pytest.mark.parametrize("do", [late(600), hold(600)])
def test_a_call_that_is_held_up_goes_on_when_it_is_let_go(shop: Shop, do: object) -> None:
    shop.plan.add(a_fault(do=do))

    with asking(shop):
        assert until(lambda: shop.plan.let_go() == 1)
        assert until(lambda: shop.plan.calls[0].status == 200)

    assert shop.handled == [b"sent"]
    assert shop.plan.let_go() == 0


def test_a_fault_waits_for_its_call_and_ends_after_its_times(shop: Shop) -> None:
    shop.plan.add(a_fault(nth=2, times=2))

    assert [post(shop).status_code for _ in range(5)] == [200, 503, 503, 200, 200]


def test_a_fault_without_an_end_goes_on_until_it_is_cleared(shop: Shop) -> None:
    shop.plan.add(a_fault(times=None))
    assert [post(shop).status_code for _ in range(3)] == [503] * 3

    shop.plan.clear()

    assert post(shop).status_code == 200


def test_a_fault_counts_only_the_calls_it_matches(shop: Shop) -> None:
    shop.plan.add(a_fault(path_regex="/things/b$"))
    shop.plan.add(a_fault(service="bakery", path_regex=""))
    shop.plan.add(a_fault(method="DELETE"))

    assert post(shop).status_code == 200
    assert requests.post(f"{shop.url}/things/b", timeout=TIMEOUT_S).status_code == 503
    assert requests.delete(f"{shop.url}/things/a", timeout=TIMEOUT_S).status_code == 503


def test_a_star_stands_for_any_service_and_method(shop: Shop) -> None:
    shop.plan.add(a_fault(service="*", method="*", path_regex="", times=2))

    assert requests.put(f"{shop.url}/things/a", timeout=TIMEOUT_S).status_code == 503
    assert requests.get(f"{shop.url}/things/a", timeout=TIMEOUT_S).status_code == 503


def test_of_two_faults_due_at_one_call_the_first_acts_and_both_count(shop: Shop) -> None:
    shop.plan.add(a_fault(do=status(500)))
    shop.plan.add(a_fault(do=status(502), times=2))

    assert [post(shop).status_code for _ in range(3)] == [500, 502, 200]


def test_the_path_is_matched_without_percent_signs(shop: Shop) -> None:
    shop.plan.add(a_fault(path_regex="/things/a b$"))

    assert requests.post(f"{shop.url}/things/a%20b", timeout=TIMEOUT_S).status_code == 503


def test_other_requests_are_served_while_one_hangs(shop: Shop) -> None:
    shop.plan.add(a_fault(do=hang(600)))

    with asking(shop):
        assert post(shop).status_code == 200


@pytest.mark.parametrize("path", ["stream", "chunks"])
def test_an_answer_that_is_streamed_can_be_lost(shop: Shop, path: str) -> None:
    shop.plan.add(a_fault(method="GET", path_regex=path, do=lost_after()))

    with pytest.raises(requests.ConnectionError, match="without response"):
        requests.get(f"{shop.url}/{path}", timeout=TIMEOUT_S)

    assert shop.handled == [b"streamed"]


def test_an_answer_that_is_streamed_can_be_replaced(shop: Shop) -> None:
    shop.plan.add(a_fault(method="GET", path_regex="/stream", do=status(503, body="busy", handled=True)))

    response = requests.get(f"{shop.url}/stream", timeout=TIMEOUT_S)

    assert (response.status_code, response.text) == (503, "busy")
    assert shop.handled == [b"streamed"]


def test_an_answer_that_is_streamed_is_cut_in_half(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    shop.plan.add(a_fault(method="GET", path_regex="/stream", do=cut_body()))

    with requests.get(f"{shop.url}/stream", stream=True, timeout=TIMEOUT_S) as response:
        assert response.headers["Content-Length"] == str(len(BODY))
        assert response.raw.read(len(BODY) // 2) == BODY[: len(BODY) // 2]
        with pytest.raises(ProtocolError, match=f"{len(BODY) // 2} more expected"):
            response.raw.read()

    assert not caplog.records  # it is no error of the service


def test_an_answer_in_chunks_breaks_off_in_the_first(shop: Shop) -> None:
    shop.plan.add(a_fault(method="GET", path_regex="/chunks", do=cut_body()))

    with requests.get(f"{shop.url}/chunks", stream=True, timeout=TIMEOUT_S) as response:
        assert response.headers["Transfer-Encoding"] == "chunked"
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            _ = response.content


def test_an_empty_answer_cannot_be_cut_and_is_lost(shop: Shop) -> None:
    shop.plan.add(a_fault(method="GET", path_regex="/nothing", do=cut_body()))

    with pytest.raises(requests.ConnectionError, match="without response"):
        requests.get(f"{shop.url}/nothing", timeout=TIMEOUT_S)


def test_a_refusal_is_cut_like_any_other_answer(shop: Shop) -> None:
    shop.plan.add(a_fault(method="GET", path_regex="/refuse", do=cut_body()))

    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="3 more expected"):
        requests.get(f"{shop.url}/refuse", timeout=TIMEOUT_S)


def test_every_call_is_on_record_with_its_status_and_what_was_done_to_it(shop: Shop) -> None:
    shop.plan.add(a_fault(nth=2, do=lost_after()))
    began = datetime.now(UTC)

    requests.post(f"{shop.url}/things/a%20b?sig=secret&sv=1", timeout=TIMEOUT_S)
    with pytest.raises(requests.ConnectionError):
        post(shop)
    requests.get(f"{shop.url}/refuse", timeout=TIMEOUT_S)
    requests.get(f"{shop.url}/nowhere", timeout=TIMEOUT_S)

    assert until(lambda: all(call.took_s is not None for call in shop.plan.calls))
    assert [(call.method, call.path, call.status, call.fault) for call in shop.plan.calls] == [
        ("POST", "/things/a b", 200, None),
        ("POST", "/things/a", None, Kind.LOST_AFTER),
        ("GET", "/refuse", 409, None),
        ("GET", "/nowhere", 404, None),
    ]
    first = shop.plan.calls[0]
    assert first.service == "shop"
    assert first.query_keys == ("sig", "sv")
    assert "secret" not in repr(first)
    assert began <= first.at <= datetime.now(UTC)


def test_a_handler_that_fails_is_on_record_as_500(shop: Shop) -> None:
    assert requests.get(f"{shop.url}/break", timeout=TIMEOUT_S).status_code == 500

    assert [call.status for call in shop.plan.calls] == [500]


def test_a_call_is_on_record_while_it_is_still_handled(shop: Shop) -> None:
    shop.plan.add(a_fault(do=hang(600)))

    with asking(shop):
        (call,) = shop.plan.calls

    assert (call.status, call.took_s) == (None, None)


def test_the_record_can_be_started_anew(shop: Shop) -> None:
    post(shop)

    shop.plan.forget_calls()

    assert shop.plan.calls == []


def test_faults_are_put_shown_and_dropped_over_http(shop: Shop) -> None:
    control = f"{shop.url}/_control/faults"
    wanted = {
        "service": "shop",
        "method": "POST",
        "path_regex": "^/things/",
        "nth": 1,
        "times": 1,
        "do": {"action": "status", "code": 429, "headers": {"Retry-After": "1"}, "body": None, "handled": False},
    }

    put = requests.post(control, json=wanted, timeout=TIMEOUT_S)
    shown = requests.get(control, timeout=TIMEOUT_S)

    assert put.status_code == 201
    assert put.json() == wanted
    assert shown.json() == {"faults": [wanted]}
    assert post(shop).status_code == 429

    requests.post(control, json=wanted, timeout=TIMEOUT_S)
    assert requests.delete(control, timeout=TIMEOUT_S).status_code == 204
    assert post(shop).status_code == 200


def test_the_record_of_calls_is_shown_and_dropped_over_http_and_leaves_out_the_control(shop: Shop) -> None:
    control = f"{shop.url}/_control/calls"
    requests.post(f"{shop.url}/things/a?sig=secret", timeout=TIMEOUT_S)
    assert until(lambda: shop.plan.calls[0].took_s is not None)

    (call,) = requests.get(control, timeout=TIMEOUT_S).json()["calls"]

    assert call["took_s"] >= 0
    assert datetime.fromisoformat(call["at"]).tzinfo is not None
    assert {key: call[key] for key in ("service", "method", "path", "query_keys", "status", "fault")} == {
        "service": "shop",
        "method": "POST",
        "path": "/things/a",
        "query_keys": ["sig"],
        "status": 200,
        "fault": None,
    }
    assert requests.delete(control, timeout=TIMEOUT_S).status_code == 204
    assert shop.plan.calls == []


def test_the_control_works_while_everything_else_fails(shop: Shop) -> None:
    shop.plan.add(a_fault(service="*", method="*", path_regex="", times=None, do=reset_before()))

    assert requests.delete(f"{shop.url}/_control/faults", timeout=TIMEOUT_S).status_code == 204


@pytest.mark.parametrize(
    "do", [status(503, {"Retry-After": "1"}, "busy", handled=True), reset_before(), lost_after(), hang(1.5), cut_body()]
)
def test_a_fault_survives_the_way_through_json(do: object) -> None:
    fault = a_fault(nth=3, times=None, do=do)

    assert fault_from_json(fault_to_json(fault)) == fault


def test_a_fault_may_be_told_in_few_words() -> None:
    assert fault_from_json({"do": "lost_after"}) == Fault("*", "*", "", do=lost_after())
    assert fault_from_json({"do": {"action": "late", "seconds": 2}}) == Fault("*", "*", "", do=late(2))
    assert fault_from_json({"do": {"action": "hold", "seconds": 2}}) == Fault("*", "*", "", do=hold(2))


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ([], "JSON object"),
        ({}, "do:"),
        ({"do": "explode"}, "do:"),
        ({"do": "lost_after", "path": "/x"}, "unknown: path"),
        ({"do": {"action": "lost_after", "seconds": 1}}, "unknown: seconds"),
        ({"do": {"action": "status"}}, "code"),
        ({"do": {"action": "status", "code": 503, "headers": {"Retry-After": 1}}}, "headers"),
        ({"do": {"action": "hang"}}, "seconds"),
        ({"do": {"action": "hang", "seconds": -1}}, "seconds"),
        ({"do": "lost_after", "nth": 0}, "count from 1"),
        ({"do": "lost_after", "times": 0}, "count from 1"),
        ({"do": "lost_after", "times": "2"}, "times"),
        ({"do": "lost_after", "path_regex": "("}, "path_regex"),
        ({"do": "lost_after", "method": 1}, "method"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_with_the_reason(shop: Shop, value: object, complaint: str) -> None:
    response = requests.post(f"{shop.url}/_control/faults", json=value, timeout=TIMEOUT_S)

    assert response.status_code == 400
    assert complaint in response.json()["error"]
    assert shop.plan.faults == []


def test_a_fault_that_is_not_even_json_is_refused(shop: Shop) -> None:
    response = requests.post(f"{shop.url}/_control/faults", data="{", timeout=TIMEOUT_S)

    assert response.status_code == 400
