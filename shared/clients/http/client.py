"""One HTTP call to a remote service, and what its failure means: asked once, judged once, never waited for.

Everything that Graph, F&O and pre-authenticated URLs have in common stands here: timeouts, tokens, ids for support
tickets, and the rule by which a failure becomes TryAgain, AnswerLost or NeedsPerson. What a service's own error codes
mean is the business of that service's client, which hands in a ``MapError``. Nothing here sleeps: the runner decides
when to try again.
"""

import io
import ipaddress
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import MaxRetryError, NewConnectionError

from shared.clients.http.context import allowed_s, client_request_id, record_call
from shared.clients.http.errors import MapError, Refusal, lost, map_status, parse_json, parse_reason, retry_after_s
from shared.clients.http.links import origin_of
from shared.clients.http.proxies import ProxySettings
from shared.errors import AppError, NeedsPerson, RemoteCall, TryAgain
from shared.escapes import header_value, is_header_value, json_text, one_line
from shared.log import log
from shared.secret import SecretUrl
from shared.version import VERSION

# Decorated traffic is throttled later than undecorated traffic: NONISV|company|application/version.
# https://learn.microsoft.com/sharepoint/dev/general-development/how-to-avoid-getting-throttled-or-blocked-in-sharepoint-online
USER_AGENT: Final = f"NONISV|OneDriveFo|OneDriveFo/{VERSION}"

# Seconds to connect, and seconds between two reads. Observed: Graph accepts a request and then stalls 30 to 60 s.
TIMEOUT_S: Final = (5.0, 60.0)

# Seconds. Azure drops idle outbound connections after 4 minutes, in part silently; a call on such a connection would
# be lost without a trace, and nobody could say whether it was handled.
# https://learn.microsoft.com/azure/load-balancer/load-balancer-tcp-reset
IDLE_S: Final = 60.0

_LONGEST_REQUEST_ID: Final = 100  # characters; real ones are GUIDs, or two of them

# Bytes of an answer that is read as a whole. The longest known are F&O's lists of row errors, of a few megabytes.
_BODY_LIMIT: Final = 64 * 1024 * 1024
_PIECE: Final = 1024 * 1024  # bytes read at a time

_ASKED: Final = "_asked"  # attribute of an answer: what json_object needs to know about its call


class _TooLarge(requests.RequestException):
    """An answer goes on beyond what is read as a whole."""


class TokenSource(Protocol):
    """Where bearer tokens for one service come from."""

    def token(self, *, refresh: bool = False) -> str:
        """Return a bearer token; refresh: the last one was refused (401), so do not return it again."""
        ...


class Http:
    """Makes calls to one service. One object serves all threads and keeps connections open between calls."""

    def __init__(
        self,
        *,
        service: str,
        token: TokenSource | None,
        map_error: MapError | None = None,
        request_id_header: str,
        client_request_id_header: str = "client-request-id",
        origin: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """service: its name in messages; token: None for pre-authenticated URLs, which must never see our token.

        origin: an address of the service; with a token, calls to any other origin are refused. "": to none.
        request_id_header: the answer's header that names the request for the service's support.
        client_request_id_header: the request's header that carries our own id.
        clock: seconds, for the age of idle connections.
        """
        self._service = service
        self._token = token
        self._map_error = map_error
        self._request_id_header = request_id_header
        self._client_request_id_header = client_request_id_header
        self._origin = origin_of(origin)
        self._clock = clock
        self._adapter = HTTPAdapter(pool_connections=8, pool_maxsize=32, max_retries=0)
        self._proxies = ProxySettings()
        self._lock = threading.Lock()
        self._in_flight = 0
        self._last_used = clock()

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._adapter.close()

    def call(
        self,
        method: str,
        url: str | SecretUrl,
        *,
        operation: str,
        idempotent: bool,
        headers: Mapping[str, str] | None = None,
        json: object | None = None,
        data: bytes | None = None,
        stream: bool = False,
        timeout_s: tuple[float, float] = TIMEOUT_S,
        ok: Collection[int] = (200, 201, 202, 204),
        map_error: MapError | None = None,
    ) -> requests.Response:
        """Make one call and return the answer; its body has been read unless it is streamed.

        url: sent as it is, byte for byte, so segments must be percent-encoded already; https, or http to this machine.
        operation: the verb in the service's own words, for messages.
        idempotent: whether doing it twice is the same as doing it once.
        json, data: the body, one of them or none.
        stream: leave the body unread; the caller closes the answer.
        timeout_s: seconds to connect, and between two reads.
        ok: the statuses that the caller can use.
        map_error: what error codes mean for this very call; asked before the service's own.

        Raises what ``map_error`` or the service's own says, otherwise:
        NeedsPerson: 401 with a fresh token, 403, 507, a redirect, a wrong address or certificate, another 4xx, an
        address that our token is not for.
        TryAgain: throttled (429), unreachable, or a passing failure of an idempotent call.
        AnswerLost: a failure of a call that is not idempotent after it may have been handled.
        NotFound (404, 410), ItemChanged (412), ItemLocked (423).
        """
        request = _prepared(method, url, headers=headers, json=json, data=data, stream=stream)
        self._require_own_origin(str(request.url), operation)
        request.headers[self._client_request_id_header] = header_value(client_request_id()) or str(uuid.uuid4())
        connect_s, read_s = map(allowed_s, timeout_s)
        ask = _Ask(operation=operation, idempotent=idempotent, stream=stream, timeout_s=(connect_s, read_s))

        answer = self._authorized(request, ask, refresh=False)
        if answer.status_code == HTTPStatus.UNAUTHORIZED and self._token is not None and 401 not in ok:
            # A 401 proves that nothing was done, so asking again is right for every call.
            answer.close()
            log.warning("http.token_refused", service=self._service, operation=operation)
            answer = self._authorized(request, ask, refresh=True)
        if answer.status_code not in ok:
            raise self._error_of(answer, ask, map_error)
        setattr(answer, _ASKED, (self._remote_call(answer, ask), idempotent))
        return answer

    def _require_own_origin(self, url: str, operation: str) -> None:
        """Raise NeedsPerson if our token would go to another origin than the one of the service."""
        if self._token is None or not self._origin or origin_of(url) == self._origin:
            return
        raise NeedsPerson(
            f"{self._service} is at {self._origin}, and '{operation}' leads to {urlsplit(url).hostname}, which does "
            "not get the app's token. Nothing was sent. Check the addresses in the settings, and the proxy on the way"
        )

    def _authorized(self, request: requests.PreparedRequest, ask: "_Ask", *, refresh: bool) -> requests.Response:
        if self._token is not None:
            token = self._token.token(refresh=refresh)
            if not token.isascii() or not is_header_value(token):
                raise NeedsPerson(
                    f"The sign-in for {self._service} gave a token with characters that no token has. Check who "
                    "answers at the sign-in address (the identity endpoint, or AZURE_AUTHORITY_HOST), and the proxy"
                )
            request.headers["Authorization"] = f"Bearer {token}"
        try:
            return self._sent(request, ask)
        except requests.ConnectionError as error:
            if not ask.idempotent or error.response is not None or _never_sent(error):
                raise self._failed(error, request, ask) from None
            # The usual cause is a kept connection that the other side has closed meanwhile; a new one works at once.
            log.warning("http.connection_lost", service=self._service, operation=ask.operation)
        except requests.RequestException as error:
            raise self._failed(error, request, ask) from None
        try:
            return self._sent(request, ask)
        except requests.RequestException as error:
            raise self._failed(error, request, ask) from None

    def _sent(self, request: requests.PreparedRequest, ask: "_Ask") -> requests.Response:
        """Send the request once and record it, whether it fails or not."""
        began = datetime.now(UTC)
        answer: requests.Response | None = None
        try:
            with self._connections() as adapter:
                if isinstance(request.body, io.BytesIO):
                    request.body.seek(0)  # an earlier try has read it
                environment = self._proxies.of(str(request.url))
                # Not through a session: nothing is to be added, followed or kept for the next call, cookies above all.
                answer = adapter.send(request, timeout=ask.timeout_s, stream=True, **environment)
                if not ask.stream or answer.status_code >= 300:
                    _read(answer)
            return answer
        finally:
            record_call(
                service=self._service,
                operation=ask.operation,
                status=None if answer is None else answer.status_code,
                request_id=self._request_id(answer),
                began=began,
            )

    @contextmanager
    def _connections(self) -> Iterator[HTTPAdapter]:
        """Lend the adapter; connections that have been idle for long are closed first, while nobody uses them."""
        with self._lock:
            if not self._in_flight and self._clock() - self._last_used > IDLE_S:
                self._adapter.close()
            self._in_flight += 1
        try:
            yield self._adapter
        finally:
            with self._lock:
                self._in_flight -= 1
                self._last_used = self._clock()

    def _failed(self, error: requests.RequestException, request: requests.PreparedRequest, ask: "_Ask") -> AppError:
        """Return the error for a call without a usable answer.

        It is raised "from None": requests quotes the whole URL, with the key in it, and a traceback would print that.
        """
        answer = error.response
        call = RemoteCall(
            service=self._service,
            operation=ask.operation,
            status=None if answer is None else answer.status_code,
            request_id=self._request_id(answer),
        )
        host = urlsplit(request.url or "").hostname or "?"
        if _is_cause(error, ssl.SSLCertVerificationError):
            return NeedsPerson(
                f"{self._service} at {host} shows a certificate that is not trusted, so nothing was sent. "
                "Check the address in the settings, and the proxy or firewall on the way",
                call=call,
            )
        if isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)):
            return NeedsPerson(f"{self._service} has no usable address ({host}). Check the settings", call=call)
        if _never_sent(error):
            return TryAgain(f"{self._service} at {host} is unreachable; nothing was sent", call=call)
        if isinstance(error, _TooLarge):
            reason = f"answered with more than {_BODY_LIMIT // 2**20} MiB"
        elif _is_timeout(error):
            reason = "did not answer in time"
        else:
            reason = "ended the connection before its answer was whole"
        return lost(f"{self._service} at {host} {reason}", call=call, idempotent=ask.idempotent)

    def _error_of(self, answer: requests.Response, ask: "_Ask", map_error: MapError | None) -> AppError:
        """Return the error for an answer that the caller cannot use."""
        refusal = self._refusal(answer, ask)
        if refusal.status == HTTPStatus.TOO_MANY_REQUESTS:
            log.warning("http.throttled", service=self._service, operation=ask.operation, wait_s=refusal.retry_after_s)
        for mapped in (map_error, self._map_error):
            if mapped is not None and (error := mapped(refusal)) is not None:
                return error
        return map_status(refusal)

    def _refusal(self, answer: requests.Response, ask: "_Ask") -> Refusal:
        codes, text = parse_reason(answer.content)
        call = self._remote_call(answer, ask, code=codes[-1] if codes else "")
        return Refusal(
            call=call,
            status=answer.status_code,
            codes=codes,
            text=text,
            headers=answer.headers,
            retry_after_s=retry_after_s(answer.headers, now=datetime.now(UTC)),
            idempotent=ask.idempotent,
        )

    def _request_id(self, answer: requests.Response | None) -> str:
        return "" if answer is None else one_line(answer.headers.get(self._request_id_header, ""), _LONGEST_REQUEST_ID)

    def _remote_call(self, answer: requests.Response, ask: "_Ask", *, code: str = "") -> RemoteCall:
        return RemoteCall(
            service=self._service,
            operation=ask.operation,
            status=answer.status_code,
            code=code,
            request_id=self._request_id(answer),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ask:
    operation: str
    idempotent: bool
    stream: bool
    timeout_s: tuple[float, float]


def json_object(answer: requests.Response) -> dict[str, Any]:
    """Return the JSON object in the body of an answer of ``Http.call``.

    Raises TryAgain, or AnswerLost where the call is not idempotent, for anything else (an empty body, a proxy's HTML).
    """
    value = parse_json(answer.content)
    if isinstance(value, dict):
        return value
    call, idempotent = getattr(answer, _ASKED)
    raise lost(
        f"{call.service} answered {call.operation} with something that is not a JSON object",
        call=call,
        idempotent=idempotent,
    )


class _Request(requests.PreparedRequest):
    """A request whose address is sent byte for byte: requests rewrites percent-encodings, and signed URLs break.

    What cannot stand in a request line at all (a blank, a letter beyond ASCII) is left to requests, and so is a host
    that it refuses. Observed with requests 2.34.
    """

    def prepare_url(self, url: Any, params: Any) -> None:
        host = url.partition("://")[2]
        if url.isascii() and url.isprintable() and " " not in url and not host.startswith(("*", ".")):
            self.url = url
        else:
            super().prepare_url(url, params)


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request  # as its sign-in, so that a name and password in the URL stay unused


def _prepared(
    method: str,
    url: str | SecretUrl,
    *,
    headers: Mapping[str, str] | None,
    json: object | None,
    data: bytes | None,
    stream: bool,
) -> requests.PreparedRequest:
    raw = url.reveal() if isinstance(url, SecretUrl) else url
    _require_private_way(raw)
    all_headers = {
        "User-Agent": USER_AGENT,
        "Accept": "*/*" if stream else "application/json",
        # Ranges and lengths of a file are about its bytes as they are.
        "Accept-Encoding": "identity" if stream else "gzip",
        **{name: value if is_header_value(value) else header_value(value) for name, value in (headers or {}).items()},
    }
    # As a file, a body is sent piece by piece; bytes would have to be gone within the time to connect, and on a slow
    # line 10 MiB are not. Observed with urllib3 2.8.
    body: bytes | io.BytesIO | None = io.BytesIO(data) if data else data
    if json is not None:
        body, all_headers["Content-Type"] = json_text(json).encode(), "application/json"
    request = _Request()
    try:
        request.prepare(method=method, url=raw, headers=all_headers, data=body, auth=_as_it_is)
    except requests.RequestException:  # from None: it quotes the URL
        raise NeedsPerson(
            f"{SecretUrl(raw)} is no address, so nothing is sent to it. Check the addresses in the settings"
        ) from None
    return request


def _require_private_way(url: str) -> None:
    """Raise NeedsPerson unless what is sent to the URL is encrypted or stays on this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # both are checked only when they are read
    except ValueError:
        host = None
    else:
        if host and (parts.scheme == "https" or (parts.scheme == "http" and _is_this_machine(host))):
            return
    shown = host or repr(SecretUrl(url))
    raise NeedsPerson(f"{shown} has no https address, so nothing is sent to it. Check the addresses in the settings")


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read(answer: requests.Response) -> None:
    """Read the whole body; an error of doing so knows the answer's status."""
    content = bytearray()
    try:
        for piece in answer.iter_content(_PIECE):
            content += piece
            if len(content) > _BODY_LIMIT:
                raise _TooLarge
        answer._content = bytes(content)
    except requests.RequestException as error:
        answer.close()
        error.response = answer
        if answer.ok:
            raise
        # The status alone says enough about a refusal.
        answer._content = b""


def _never_sent(error: requests.RequestException) -> bool:
    """Return whether it is certain that no byte of the request reached the service."""
    if isinstance(error, (requests.ConnectTimeout, requests.exceptions.ProxyError)):
        return True
    reason = error.args[0] if error.args else None
    if isinstance(reason, MaxRetryError) and isinstance(reason.reason, NewConnectionError):
        return True
    return _is_cause(error, ssl.SSLCertVerificationError)


def _is_timeout(error: requests.RequestException) -> bool:
    # A timeout in the middle of a body comes as a ConnectionError that holds urllib3's ReadTimeoutError.
    return isinstance(error, requests.Timeout) or "timed out" in str(error).casefold()


def _is_cause(error: BaseException, kind: type[BaseException]) -> bool:
    """Return whether an error of this kind is among the causes, contexts or arguments of the error."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        if isinstance(one, kind):
            return True
        seen.add(id(one))
        waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
    return False
