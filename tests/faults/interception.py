"""Faults on any outgoing call of the app: Graph, pre-authenticated URLs, F&O, Entra, blobs and queues alike.

All of them leave through one place, urllib3's pools of connections, whether our Http, the storage SDK or azure-identity
makes them. A fault takes no real time: a hang is the timeout's error at once. The simulators make calls of their own in
this process; those come from other threads and are left alone.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from enum import StrEnum
from io import BytesIO
from typing import Any, Final
from unittest.mock import patch
from urllib.parse import urlsplit

from urllib3 import HTTPConnectionPool, HTTPResponse
from urllib3.connection import HTTPConnection
from urllib3.exceptions import NewConnectionError, ProtocolError, ReadTimeoutError
from urllib3.response import BaseHTTPResponse

from shared.concurrency import Attempt, Duties, attempted


class PowerCut(BaseException):
    """The process ends here and now; whatever it tries afterwards does not happen either."""


class FaultKind(StrEnum):
    """What befalls a call."""

    REFUSED = "refused connection"
    RESET = "reset before it is handled"
    LOST = "handled, answer lost"
    THROTTLED_S = "429, seconds"
    THROTTLED_DATE = "429, date"
    THROTTLED = "429, no word"
    ERROR_500 = "500"
    ERROR_503 = "503"
    LATE_504 = "504, handled"
    UNAUTHORIZED = "401 once"
    FORBIDDEN = "403"
    LOCKED = "423"
    BUSY = "409 on a chunk, not handled"
    BUSY_HANDLED = "409 on a chunk, handled"
    OTHER_SCRIPTS = "503 in other scripts"
    FOREIGN_LINK = "a next page elsewhere"
    HANG = "hang, not handled"
    HANG_HANDLED = "hang, handled"
    CUT = "body cut short"
    GARBAGE = "garbage, not handled"
    KILLED_BEFORE = "killed just before"
    KILLED_AFTER = "killed just after"


@dataclass(frozen=True, slots=True)
class OutgoingCall:
    """One call of a run: the how many-th, and what it was."""

    number: int
    label: str
    nth: int = 0  # of the calls with this label
    is_onedrives: bool = False
    is_chunk: bool = False  # of an upload into OneDrive
    is_listing: bool = False  # of Graph's, whose answer may name a next page

    def can_meet(self, kind: FaultKind) -> bool:
        match kind:
            case FaultKind.LOCKED:
                return self.is_onedrives
            case FaultKind.BUSY | FaultKind.BUSY_HANDLED:
                return self.is_chunk
            case FaultKind.FOREIGN_LINK:
                return self.is_listing
        return True

    def __str__(self) -> str:
        return f"{self.number:02d} {self.label}"


@dataclass(slots=True)
class Interception:
    """What goes out of this thread, and the one fault among it."""

    calls: list[OutgoingCall]
    at: OutgoingCall | None = None  # the call that the fault befalls, whatever its number is this time
    kind: FaultKind | None = None
    fired: bool = False
    dead: bool = False
    in_app: bool = False
    saved: set[str] = field(default_factory=set)  # the states in which storage has taken a run's record
    led_away: list[str] = field(default_factory=list)  # calls to where no service is: they are not made

    @contextmanager
    def app(self) -> Iterator[None]:
        """Tell that what happens inside is the app's doing, and not the test's own looking."""
        self.in_app = True
        try:
            yield
        finally:
            self.in_app = False


# Where a link leads that is not the called service's; nothing is there.
ELSEWHERE: Final = "elsewhere.example"

# Words that fit into no header: letters outside Latin-1, line breaks, half of a surrogate pair, NUL, quotes.
OTHER_SCRIPTS: Final = "Клиенты 客户 العملاء ग्राहक\r\n=1+1;\t\"<b>' \x00\ud83d"

_JSON: Final = {"Content-Type": "application/json"}
_BUSY: Final = json.dumps({"error": {"code": "resourceModified", "message": "ETag does not match"}}).encode()
_ERROR_IN_OTHER_SCRIPTS: Final = json.dumps({"error": {"code": OTHER_SCRIPTS, "message": OTHER_SCRIPTS}}).encode()
# What urllib3 makes of bytes beyond ASCII in a header: each is a letter of Latin-1.
_HEADERS_IN_OTHER_SCRIPTS: Final = {
    name: "Клиенты 客户".encode().decode("latin-1") for name in ("request-id", "ms-dyn-aid", "x-ms-request-id")
}

type Really = Callable[[], BaseHTTPResponse]  # makes a call, and returns its answer


@dataclass(frozen=True, slots=True)
class SentRequest:
    """A request as it leaves through a pool of connections."""

    pool: HTTPConnectionPool
    method: str
    url: str
    headers: Mapping[str, str]


def _request_of(pool: HTTPConnectionPool, method: str, target: str, headers: Mapping[str, str] | None) -> SentRequest:
    url = target if "://" in target else f"{pool.scheme}://{pool.host}:{pool.port}{target}"
    return SentRequest(pool, method, url, headers or {})


_PRODUCT_THREADS: Final = ("MainThread", "blocks", "ranges")


def _in_this_thread(
    _duties: Duties, work: Mapping[str, Callable[[], object]], **_limits: object
) -> dict[str, Attempt[object]]:
    """Do the timer's duties one after the other: a process that dies in one of them does not come to the next."""
    return {name: attempted(name, act) for name, act in work.items()}


@contextmanager
def _each_call(handle: Callable[[SentRequest, Really], BaseHTTPResponse]) -> Iterator[None]:
    """Let every call of the app be answered by a function, which may make it really."""
    real: Callable[..., BaseHTTPResponse] = HTTPConnectionPool.urlopen

    def send(
        pool: HTTPConnectionPool,
        method: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> BaseHTTPResponse:
        def really() -> BaseHTTPResponse:
            return real(pool, method, url, body=body, headers=headers, **options)

        is_apps = threading.current_thread().name.startswith(_PRODUCT_THREADS)
        return handle(_request_of(pool, method, url, headers), really) if is_apps else really()

    with patch.object(HTTPConnectionPool, "urlopen", send), patch.object(Duties, "attempt_all", _in_this_thread):
        yield


@contextmanager
def intercepted(at: OutgoingCall | None = None, kind: FaultKind | None = None) -> Iterator[Interception]:
    """Record every call that the app makes, and let one of them fail."""
    state = Interception([], at, kind)

    def send(request: SentRequest, really: Really) -> BaseHTTPResponse:
        if not state.in_app:
            return really()
        if state.dead:
            raise PowerCut
        if urlsplit(request.url).hostname == ELSEWHERE:
            state.led_away.append(label_of(request))
            raise _no_connection("No such host")
        call = _call(request, state.calls)
        state.calls.append(call)

        def handle() -> BaseHTTPResponse:
            answer = really()
            is_run = any(folder in request.url for folder in ("/open/", "/ended/"))
            if is_run and answer.status == 201 and (saved := request.headers.get("x-ms-meta-state")):
                state.saved.add(saved)
            return answer

        if state.at is None or state.kind is None or (call.label, call.nth) != (state.at.label, state.at.nth):
            return handle()
        state.fired = True
        return _befallen(state, request, handle)

    with _each_call(send):
        yield state


@contextmanager
def answered(status: int, pattern: str, *, nth: int = 1, times: int | None = 1) -> Iterator[list[str]]:
    """Answer calls of the app whose label matches with a status, unhandled; yield the labels of those, as they come.

    nth: the first of the matching calls to be answered so; times: how many, None for all from there on.
    """
    seen, befallen = 0, list[str]()

    def send(request: SentRequest, really: Really) -> BaseHTTPResponse:
        nonlocal seen
        label = label_of(request)
        if re.search(pattern, label):
            seen += 1
            if seen >= nth and (times is None or seen < nth + times):
                befallen.append(label)
                return _made(request, status)
        return really()

    with _each_call(send):
        yield befallen


@contextmanager
def befallen(
    kind: FaultKind, is_meant: Callable[[SentRequest], bool], process: Callable[[], object], *, times: int | None = None
) -> Iterator[list[str]]:
    """Let one fault befall calls of the app that are meant; yield the labels of those, as they come.

    process: what stands for the process that is running; one that was killed makes no more calls. times: how many of
    the calls, None for all.
    """
    state, labels, killed = Interception([], kind=kind), list[str](), list[object]()

    def send(request: SentRequest, really: Really) -> BaseHTTPResponse:
        if process() in killed:
            raise PowerCut
        if not is_meant(request) or (times is not None and len(labels) >= times):
            return really()
        labels.append(label_of(request))
        if kind in (FaultKind.KILLED_BEFORE, FaultKind.KILLED_AFTER):
            killed.append(process())
        return _befallen(state, request, really)

    with _each_call(send):
        yield labels


@contextmanager
def in_other_scripts() -> Iterator[None]:
    """Let every answer that the app gets carry words in other scripts: in headers, and in JSON beside what is known."""

    def send(request: SentRequest, really: Really) -> BaseHTTPResponse:
        answer = really()
        answer.headers.update(_HEADERS_IN_OTHER_SCRIPTS)
        if "json" not in answer.headers.get("Content-Type", ""):
            return answer
        words = _with_other_scripts(json.loads(answer.read(decode_content=True) or b"null"))
        return _made(request, answer.status, _without_length(answer.headers), json.dumps(words).encode())

    with _each_call(send):
        yield


def _with_other_scripts(value: Any) -> Any:
    """Return JSON with a field more in every object, and other words in every message."""
    match value:
        case dict():
            words = {
                key: OTHER_SCRIPTS if key == "message" else _with_other_scripts(each) for key, each in value.items()
            }
            return {**words, "слова": OTHER_SCRIPTS}
        case list():
            return [_with_other_scripts(each) for each in value]
    return value


def _befallen(state: Interception, request: SentRequest, handle: Really) -> BaseHTTPResponse:
    match state.kind:
        case FaultKind.REFUSED:
            raise _no_connection("Connection refused")
        case FaultKind.RESET:
            raise _reset()
        case FaultKind.LOST:
            handle().close()
            raise _reset()
        case FaultKind.THROTTLED_S:
            return _made(request, 429, {"Retry-After": "7"})
        case FaultKind.THROTTLED_DATE:
            return _made(request, 429, {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(seconds=9), True)})
        case FaultKind.THROTTLED:
            return _made(request, 429)
        case FaultKind.ERROR_500:
            return _made(request, 500)
        case FaultKind.ERROR_503:
            return _made(request, 503)
        case FaultKind.LATE_504:
            handle().close()
            return _made(request, 504)
        case FaultKind.UNAUTHORIZED:
            return _made(request, 401)
        case FaultKind.FORBIDDEN:
            return _made(request, 403)
        case FaultKind.LOCKED:
            return _made(request, 423)
        case FaultKind.BUSY:
            return _made(request, 409, _JSON, _BUSY)
        case FaultKind.BUSY_HANDLED:
            handle().close()
            return _made(request, 409, _JSON, _BUSY)
        case FaultKind.OTHER_SCRIPTS:
            return _made(request, 503, {**_JSON, **_HEADERS_IN_OTHER_SCRIPTS}, _ERROR_IN_OTHER_SCRIPTS)
        case FaultKind.FOREIGN_LINK:
            page = json.loads(handle().read(decode_content=True))
            page |= {"@odata.nextLink": f"https://{ELSEWHERE}{urlsplit(request.url).path}"}
            return _made(request, 200, _JSON, json.dumps(page).encode())
        case FaultKind.HANG:
            raise ReadTimeoutError(request.pool, request.url, "Read timed out")
        case FaultKind.HANG_HANDLED:
            handle().close()
            raise ReadTimeoutError(request.pool, request.url, "Read timed out")
        case FaultKind.CUT:
            return _cut(request, handle())
        case FaultKind.GARBAGE:
            return _made(request, 200, {"Content-Type": "text/html"}, b"<html>Bad gateway</html>")
        case FaultKind.KILLED_BEFORE:
            state.dead = True
            raise PowerCut
        case FaultKind.KILLED_AFTER:
            handle().close()
            state.dead = True
            raise PowerCut
    raise AssertionError(state.kind)


def _no_connection(why: str) -> NewConnectionError:
    return NewConnectionError(HTTPConnection("127.0.0.1"), why)


def _reset() -> ProtocolError:
    return ProtocolError("Connection reset by peer", ConnectionResetError(104, "Connection reset by peer"))


def _made(
    request: SentRequest, status: int, headers: dict[str, str] | None = None, body: bytes = b""
) -> BaseHTTPResponse:
    return make_response(request.method, status, headers, body)


def make_response(
    method: str, status: int, headers: dict[str, str] | None = None, body: bytes = b""
) -> BaseHTTPResponse:
    """Return an answer that no service gave."""
    return HTTPResponse(
        body=BytesIO(body),
        status=status,
        headers={"Content-Length": str(len(body)), **(headers or {})},
        preload_content=False,
        enforce_content_length=True,
        request_method=method,
    )


def _cut(request: SentRequest, whole: BaseHTTPResponse) -> BaseHTTPResponse:
    """Return the real answer with the second half of its body missing."""
    content = whole.read(decode_content=True)
    if not content:
        raise _reset()
    headers = {**_without_length(whole.headers), "Content-Length": str(len(content))}
    return _made(request, whole.status, headers, content[: len(content) // 2])


def _without_length(headers: Mapping[str, str]) -> dict[str, str]:
    own = {"content-encoding", "content-length", "transfer-encoding"}
    return {name: value for name, value in headers.items() if name.lower() not in own}


def _call(request: SentRequest, before: Sequence[OutgoingCall]) -> OutgoingCall:
    path, label = urlsplit(request.url).path, label_of(request)
    return OutgoingCall(
        len(before),
        label,
        sum(call.label == label for call in before),
        # Graph, or one of OneDrive's addresses that need no token.
        is_onedrives=path.startswith(("/v1.0/", "/personal/")),
        is_chunk=request.method == "PUT" and "Content-Range" in request.headers,
        is_listing=request.method == "GET"
        and path.startswith("/v1.0/")
        and path.endswith(("/children", "/subscriptions")),
    )


_IDS: Final = (
    (re.compile(r"01[A-Z0-9]{32}"), "{item}"),
    (re.compile(r"\d{13}-"), "{newest}-"),
    (re.compile(r"\d{8}(T\d{6}(\d{6}Z)?|-\d{6})"), "{time}"),
    (re.compile(r"reservations/[0-9a-f]{24}/[0-9a-f]{24}"), "reservations/{environment}/{name}"),
    (re.compile(r"content/[0-9a-f]{40}"), "content/{content}"),
    (re.compile(r"unresolved/[0-9a-f]{12}/[0-9a-f]{40}"), "unresolved/{flow}/{file}"),
    (re.compile(r"~([0-9a-f]{2})+-"), "{name}-"),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "{guid}"),
    (re.compile(r"\d{4}/\d{2}/\d{2}"), "{day}"),
    (re.compile(r"/\d{4}/\d{2}$"), "/{year}/{month}"),
    (re.compile(r"/\d{4}$"), "/{year}"),
    (re.compile(r"-[0-9a-f]{10,12}\b"), "-{id}"),
    (re.compile(r"([/-])(in|out)-[\w-]*[0-9a-f]{8}\b"), r"\1\2-{lane}"),
)


def label_of(request: SentRequest) -> str:
    """Return what a call is, without what differs from run to run."""
    parts = urlsplit(request.url)
    path = parts.path.removeprefix("/data/DataManagementDefinitionGroups/Microsoft.Dynamics.DataEntities.")
    for pattern, stands_for in _IDS:
        path = pattern.sub(stands_for, path)
    path = (
        path.removeprefix("/devstoreaccount1")
        .removeprefix("/v1.0/drives/b%21local")
        .removeprefix("/v1.0/drives/b!local")
    )
    what = ""
    for option in ("comp", "restype"):
        if found := re.search(rf"{option}=(\w+)", parts.query):
            what += f" {found[1]}"
    if action := request.headers.get("x-ms-lease-action"):
        what += f" {action}"
    return f"{request.method} {path[:70]}{what}"
