"""What goes wrong, when, and at which call: a plan that each simulator consults before and after it handles a request.

A test (or a person, through ``/_control/faults``) puts faults into the plan; the middleware carries them out on the
real socket. The plan also keeps a record of every call that was seen, for tests and benchmarks.

Actions: `status`, `reset_before`, `lost_after`, `hang`, `cut_body`, `garbage`, `late`, `hold`.
"""

import asyncio
import contextlib
import json
import re
import socket
import struct
import sys
import threading
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, assert_never

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.typedefs import Handler, Middleware
from multidict import CIMultiDict

from local_cloud import wire_tap
from local_cloud.server import answer

ANY: Final = "*"  # as service or method: whichever
CALLS_KEPT: Final = 100_000  # the oldest beyond that are forgotten: a local cloud may run for days

type Pause = Callable[[float], Awaitable[None]]  # seconds


class Kind(StrEnum):
    STATUS = "status"
    RESET_BEFORE = "reset_before"
    LOST_AFTER = "lost_after"
    HANG = "hang"
    CUT_BODY = "cut_body"
    GARBAGE = "garbage"
    LATE = "late"
    HOLD = "hold"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What to do with a call; made by the functions below."""

    kind: Kind
    code: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, object] | str | None = None
    handled: bool = False
    seconds: float = 0.0


def status(
    code: int,
    headers: Mapping[str, str] | None = None,
    body: Mapping[str, object] | str | None = None,
    *,
    handled: bool = False,
) -> Action:
    """Answer with this status. handled: the request is carried out first, and only its answer is replaced."""
    return Action(kind=Kind.STATUS, code=code, headers=dict(headers or {}), body=body, handled=handled)


def reset_before() -> Action:
    """Reset the connection; the request is not handled."""
    return Action(kind=Kind.RESET_BEFORE)


def lost_after() -> Action:
    """Handle the request, then close the connection without a word."""
    return Action(kind=Kind.LOST_AFTER)


def hang(seconds: float) -> Action:
    """Take the request, stay silent for this long, then close the connection; the request is not handled."""
    return Action(kind=Kind.HANG, seconds=seconds)


def cut_body() -> Action:
    """Handle the request, declare the whole Content-Length, send half of the body and close the connection.

    Where there is no body to cut, no answer is sent at all.
    """
    return Action(kind=Kind.CUT_BODY)


def garbage() -> Action:
    """Answer 200 with a page of HTML, as proxies and sign-in walls do; the request is not handled."""
    return Action(kind=Kind.GARBAGE)


def late(seconds: float) -> Action:
    """Handle the request only after this long, also when the client has gone by then."""
    return Action(kind=Kind.LATE, seconds=seconds)


def hold(seconds: float) -> Action:
    """Handle the request at once, and answer only after this long. Not for answers that are streamed."""
    return Action(kind=Kind.HOLD, seconds=seconds)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    service: the name that the simulator gave to `FaultPlan.middleware`, or "*". method: "POST", or "*".
    path_regex: searched in the decoded path, without the query. nth: the first call to fail, counting those that match
    since the fault was added, from 1. times: how many calls fail from there on; None for all of them. query_key: what
    must stand in the query, such as "$select"; "" for any query.

    Each fault counts every call it matches. Where two are due at one call, the one added first acts.
    """

    service: str
    method: str
    path_regex: str
    nth: int = 1
    times: int | None = 1
    do: Action = field(kw_only=True)
    query_key: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        if self.nth < 1 or (self.times is not None and self.times < 1):
            raise ValueError("nth and times count from 1")
        re.compile(self.path_regex)

    def matches(self, service: str, method: str, path: str, query_keys: Collection[str] = ()) -> bool:
        return (
            self.service in (ANY, service)
            and self.method.upper() in (ANY, method.upper())
            and re.search(self.path_regex, path) is not None
            and (not self.query_key or self.query_key in query_keys)
        )

    def is_due(self, count: int) -> bool:
        """count: how many calls have matched, this one included."""
        return count >= self.nth and (self.times is None or count < self.nth + self.times)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request that a simulator has seen."""

    service: str
    method: str
    path: str  # decoded, without the query
    query_keys: tuple[str, ...]  # never the values: a SAS or a download key is a secret here too
    status: int | None  # None while it is handled, and where no answer was given
    at: datetime  # UTC, when it came in
    took_s: float | None = None  # seconds until it was answered or cut off; None while it is handled
    fault: Kind | None = None  # what was done to it


class FaultPlan:
    """The faults to come and the calls seen so far. Thread-safe; one plan serves all simulators of a local cloud."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[tuple[Fault, list[int]]] = []  # with the count of its matching calls so far
        self.by_chance: Callable[[str], Action | None] = lambda _service: None  # asked where no fault is due
        self._calls: dict[int, Call] = {}
        self._next_call = 0
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def add(self, fault: Fault) -> None:
        """Let this go wrong from now on."""
        with self._lock:
            self._faults.append((fault, [0]))

    def clear(self) -> None:
        """Let nothing go wrong any more; the record of calls stays."""
        with self._lock:
            self._faults.clear()

    def let_go(self) -> int:
        """Let the calls that wait for their seconds to pass go on at once; return how many there were."""
        with self._lock:
            for loop, over in self._waiting:
                loop.call_soon_threadsafe(over.set)
            return len(self._waiting)

    @property
    def faults(self) -> list[Fault]:
        """Every fault added since the last clear(), those that are over included."""
        with self._lock:
            return [fault for fault, _ in self._faults]

    @property
    def calls(self) -> list[Call]:
        """Every call seen, oldest first; those to /_control are not among them."""
        with self._lock:
            return list(self._calls.values())

    def forget_calls(self) -> None:
        """Start the record of calls anew."""
        with self._lock:
            self._calls.clear()

    def middleware(self, service: str) -> Middleware:
        """Return the middleware that carries the plan out for one simulator; let it be the outermost."""

        @web.middleware
        async def carry_out(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path.startswith("/_control/"):
                return await handler(request)
            began = asyncio.get_running_loop().time()
            number, action = self._seen(service, request)
            code: int | None = None
            handled = False

            async def handle(request: web.Request) -> web.StreamResponse:
                nonlocal handled
                handled = True
                return await wire_tap.observed(service, request, handler)

            try:
                response = await (handle(request) if action is None else _act(action, request, handle, self._pause))
                code = None if isinstance(response, _NoAnswer) else response.status
                return response
            except web.HTTPException as refusal:
                code = refusal.status
                raise
            except Exception:
                code = 500
                raise
            finally:
                self._ended(number, code, asyncio.get_running_loop().time() - began)
                if not handled:
                    await wire_tap.not_handled(service, request)

        return carry_out

    def add_control(self, app: web.Application) -> None:
        """Give a simulator the routes GET, POST, DELETE /_control/faults and GET, DELETE /_control/calls."""
        app.router.add_get("/_control/faults", self._show_faults)
        app.router.add_post("/_control/faults", self._take_fault)
        app.router.add_delete("/_control/faults", self._drop_faults)
        app.router.add_get("/_control/calls", self._show_calls)
        app.router.add_delete("/_control/calls", self._drop_calls)

    async def _pause(self, seconds: float) -> None:
        waiting = asyncio.get_running_loop(), asyncio.Event()
        with self._lock:
            self._waiting.append(waiting)
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(waiting[1].wait(), seconds)
        finally:
            with self._lock:
                self._waiting.remove(waiting)

    def _seen(self, service: str, request: web.Request) -> tuple[int, Action | None]:
        with self._lock:
            due: Action | None = None
            for fault, count in self._faults:
                if fault.matches(service, request.method, request.path, request.query):
                    count[0] += 1
                    if due is None and fault.is_due(count[0]):
                        due = fault.do
            due = due or self.by_chance(service)
            number = self._next_call
            self._next_call += 1
            self._calls[number] = Call(
                service=service,
                method=request.method,
                path=request.path,
                query_keys=tuple(request.query),
                status=None,
                at=datetime.now(UTC),
                fault=None if due is None else due.kind,
            )
            if len(self._calls) > CALLS_KEPT:
                del self._calls[next(iter(self._calls))]
            return number, due

    def _ended(self, number: int, code: int | None, took_s: float) -> None:
        with self._lock:
            call = self._calls.get(number)
            if call is not None:
                self._calls[number] = replace(call, status=code, took_s=took_s)

    async def _show_faults(self, _request: web.Request) -> web.Response:
        return answer(200, {"faults": [fault_to_json(fault) for fault in self.faults]})

    async def _take_fault(self, request: web.Request) -> web.Response:
        try:
            fault = fault_from_json(json.loads(await request.text()))
        except ValueError as error:
            return answer(400, {"error": str(error)})
        self.add(fault)
        return answer(201, fault_to_json(fault))

    async def _drop_faults(self, _request: web.Request) -> web.Response:
        self.clear()
        return answer(204)

    async def _show_calls(self, _request: web.Request) -> web.Response:
        return answer(200, {"calls": [_call_to_json(call) for call in self.calls]})

    async def _drop_calls(self, _request: web.Request) -> web.Response:
        self.forget_calls()
        return answer(204)


async def _act(action: Action, request: web.Request, handler: Handler, pause: Pause) -> web.StreamResponse:
    match action.kind:
        case Kind.STATUS:
            if action.handled:
                await _handled(request, handler)
            return answer(action.code, action.body, action.headers)
        case Kind.RESET_BEFORE:
            return _NoAnswer(reset=True)
        case Kind.LOST_AFTER:
            await _handled(request, handler)
            return _NoAnswer()
        case Kind.HANG:
            await _read_to_end(request)
            await pause(action.seconds)
            return _NoAnswer()
        case Kind.CUT_BODY:
            return await _cut(request, handler)
        case Kind.GARBAGE:
            return answer(200, "<html><head><title>Sign in</title></head><body>Object moved</body></html>", _HTML)
        case Kind.LATE:
            # Read now: once the client has gone, what it sent is gone too. aiohttp keeps it for the handler.
            await request.read()
            await pause(action.seconds)
            return await handler(request)
        case Kind.HOLD:
            response = await handler(request)
            if response.prepared:
                raise TypeError("a streamed answer is on its way already: it cannot be held back")
            await pause(action.seconds)
            return response
        case _:
            assert_never(action.kind)


_HTML: Final = {"Content-Type": "text/html; charset=utf-8"}


async def _handled(request: web.Request, handler: Handler) -> None:
    """Let the handler do its work; nothing of what it answers is sent."""
    # The one way to hold back an answer that is streamed as well: aiohttp gives a response this writer to send with.
    sending, request._payload_writer = request._payload_writer, _SilentWriter()
    try:
        await handler(request)
    except web.HTTPException:
        pass  # an answer too
    finally:
        request._payload_writer = sending


async def _cut(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let the handler answer through a writer that breaks off."""
    writer = _HalfWriter(request._payload_writer, request.transport)
    request._payload_writer = writer
    try:
        response = await handler(request)
    except ConnectionResetError:
        if not writer.is_cut:
            raise
        return _NoAnswer()  # it was a stream, and is over
    if isinstance(response, web.FileResponse):
        raise TypeError("aiohttp hands a file to the operating system: its answer cannot be cut")
    return response


async def _read_to_end(request: web.Request) -> None:
    with contextlib.suppress(ConnectionError):
        while await request.content.readany():
            pass


class _NoAnswer(web.Response):
    """Closes the connection where an answer should be sent; aiohttp takes that for a client that went away."""

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__()
        self._reset = reset

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if (transport := request.transport) is not None:
            if self._reset:
                _linger_not_at_all(transport)
                transport.abort()
            else:
                transport.close()
        raise ConnectionResetError("closed as planned")


class _SilentWriter(AbstractStreamWriter):
    """Takes an answer and sends nothing."""

    async def write(self, chunk: bytes | bytearray | memoryview) -> None:
        pass

    async def write_eof(self, chunk: bytes = b"") -> None:
        pass

    async def drain(self) -> None:
        pass

    def enable_compression(self, encoding: str = "deflate", strategy: int | None = None) -> None:
        pass

    def enable_chunking(self) -> None:
        pass

    async def write_headers(self, status_line: str, headers: CIMultiDict[str]) -> None:
        pass


class _HalfWriter(AbstractStreamWriter):
    """Sends the head of an answer and half of its body, and closes the connection.

    Where the length is not declared, the first block is the body that is halved. Of an answer without a body nothing
    is sent, since its head alone would be the whole of it.
    """

    def __init__(self, writer: AbstractStreamWriter, transport: asyncio.Transport | None) -> None:
        self._writer = writer
        self._transport = transport
        self._left: int | None = None
        self.is_cut = False

    async def write(self, chunk: bytes | bytearray | memoryview) -> None:
        if self._left is None:
            self._left = (len(chunk) if self.length is None else self.length) // 2
        if len(chunk) < self._left:
            self._left -= len(chunk)
            await self._writer.write(chunk)
        else:
            await self._end(chunk[: self._left])

    async def write_eof(self, chunk: bytes = b"") -> None:
        await self.write(chunk)
        await self._end(b"")

    async def drain(self) -> None:
        await self._writer.drain()

    def enable_compression(self, encoding: str = "deflate", strategy: int | None = None) -> None:
        self._writer.enable_compression(encoding, strategy)

    def enable_chunking(self) -> None:
        self._writer.enable_chunking()

    async def write_headers(self, status_line: str, headers: CIMultiDict[str]) -> None:
        self._writer.length = self.length
        await self._writer.write_headers(status_line, headers)

    async def _end(self, rest: bytes | bytearray | memoryview) -> None:
        if self.length != 0:
            await self._writer.write(rest)
        self.is_cut = True
        if self._transport is not None:
            self._transport.close()
        raise ConnectionResetError("cut as planned")


def _linger_not_at_all(transport: asyncio.Transport) -> None:
    """Let the close that follows be a reset."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return
    # struct linger is two ints, but two shorts in Winsock:
    # https://learn.microsoft.com/windows/win32/api/winsock/ns-winsock-linger
    layout = "hh" if sys.platform == "win32" else "ii"
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(layout, 1, 0))


_PARAMETERS: Final[Mapping[Kind, frozenset[str]]] = {
    Kind.STATUS: frozenset({"code", "headers", "body", "handled"}),
    Kind.RESET_BEFORE: frozenset(),
    Kind.LOST_AFTER: frozenset(),
    Kind.HANG: frozenset({"seconds"}),
    Kind.CUT_BODY: frozenset(),
    Kind.GARBAGE: frozenset(),
    Kind.LATE: frozenset({"seconds"}),
    Kind.HOLD: frozenset({"seconds"}),
}


def fault_to_json(fault: Fault) -> dict[str, object]:
    """Return the fault in the form that `fault_from_json` reads."""
    do: dict[str, object] = {"action": str(fault.do.kind)}
    do |= {name: getattr(fault.do, name) for name in sorted(_PARAMETERS[fault.do.kind])}
    return {
        "service": fault.service,
        "method": fault.method,
        "path_regex": fault.path_regex,
        "nth": fault.nth,
        "times": fault.times,
        **({"query_key": fault.query_key} if fault.query_key else {}),
        "do": do,
    }


def fault_from_json(value: object) -> Fault:
    """Return the fault that this JSON describes.

    {"service": "graph", "method": "PATCH", "path_regex": "/items/", "nth": 1, "times": 2,
     "do": {"action": "status", "code": 429, "headers": {"Retry-After": "1"}}}

    Only "do" must be there: service and method are "*" unless told, path_regex and query_key are "", nth and times are
    1, times may be null. An action without parameters may be written as its name: "do": "lost_after".
    Raises ValueError for anything that is not so.
    """
    if not isinstance(value, dict):
        raise ValueError("a fault is a JSON object")
    _refuse_unknown(value, {"service", "method", "path_regex", "query_key", "nth", "times", "do"})
    try:
        return Fault(
            service=_text(value, "service", ANY),
            method=_text(value, "method", ANY),
            path_regex=_text(value, "path_regex", ""),
            nth=_whole_number(value, "nth"),
            times=None if "times" in value and value["times"] is None else _whole_number(value, "times"),
            do=_action_from_json(value.get("do")),
            query_key=_text(value, "query_key", ""),
        )
    except re.PatternError as error:
        raise ValueError(f"path_regex: {error}") from error


def _action_from_json(value: object) -> Action:
    if isinstance(value, str):
        value = {"action": value}
    if not isinstance(value, dict) or value.get("action") not in set(Kind):
        raise ValueError(f"do: an object with an action, one of {', '.join(Kind)}")
    kind = Kind(value["action"])
    _refuse_unknown(value, {"action", *_PARAMETERS[kind]})
    match kind:
        case Kind.STATUS:
            headers, body, handled = value.get("headers", {}), value.get("body"), value.get("handled", False)
            if not isinstance(headers, dict) or not all(isinstance(text, str) for text in headers.values()):
                raise ValueError("headers: an object of texts")
            if body is not None and not isinstance(body, dict | str):
                raise ValueError("body: an object or a text")
            if not isinstance(handled, bool):
                raise ValueError("handled: true or false")
            return status(_whole_number(value, "code", None), headers, body, handled=handled)
        case Kind.HANG | Kind.LATE | Kind.HOLD:
            return Action(kind=kind, seconds=_seconds(value))
        case _:
            return Action(kind=kind)


def _refuse_unknown(value: Mapping[str, object], known: set[str]) -> None:
    if unknown := set(value) - known:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}")


def _text(value: Mapping[str, object], key: str, default: str) -> str:
    text = value.get(key, default)
    if not isinstance(text, str):
        raise ValueError(f"{key}: a text")
    return text


def _whole_number(value: Mapping[str, object], key: str, default: int | None = 1) -> int:
    number = value.get(key, default)
    if not isinstance(number, int) or isinstance(number, bool):
        raise ValueError(f"{key}: a whole number")
    return number


def _seconds(value: Mapping[str, object]) -> float:
    seconds = value.get("seconds")
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or seconds < 0:
        raise ValueError("seconds: a number, 0 or more")
    return float(seconds)


def _call_to_json(call: Call) -> dict[str, object]:
    return {
        "service": call.service,
        "method": call.method,
        "path": call.path,
        "query_keys": list(call.query_keys),
        "status": call.status,
        "at": call.at.isoformat(),
        "took_s": call.took_s,
        "fault": None if call.fault is None else str(call.fault),
    }
