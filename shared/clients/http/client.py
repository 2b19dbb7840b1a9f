"""One HTTP call to a remote service, and what its failure means: sent once, classified once, never waited for.

Everything that Graph, F&O and pre-authenticated URLs have in common stands here: timeouts, tokens, ids for support
tickets, and the rule by which a failure becomes TryAgain, AnswerLost or NeedsPerson. What a service's own error codes
mean is the business of that service's client, which hands in a ``MapError``. Nothing here sleeps: the worker decides
when to try again.
"""

import io
import ssl
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from urllib3 import BaseHTTPResponse, HTTPConnectionPool, PoolManager, Timeout
from urllib3 import exceptions as errors

from shared.clients.http.context import allowed_s, client_request_id, record_call
from shared.clients.http.errors import MapError, Refusal, lost, map_status, parse_json, parse_reason, retry_after_s
from shared.clients.http.idle import IdleConnections
from shared.clients.http.links import origin_of, require_private_way
from shared.clients.http.proxies import open_pools, proxy_for
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

_SERVERS: Final = 8  # with connections that are kept open
_CONNECTIONS: Final = 32  # kept open to each

_LONGEST_REQUEST_ID: Final = 100  # characters; real ones are GUIDs, or two of them

# Bytes of a response that is read as a whole. The longest known are F&O's lists of row errors, of a few megabytes.
_BODY_LIMIT: Final = 64 * 1024 * 1024
_PIECE: Final = 1024 * 1024  # bytes read at a time

# What urllib3 raises if a body does not come to its end.
BODY_ERRORS: Final = errors.HTTPError


# A connection that is lost before the head of a response came.
_CONNECTION_ERRORS: Final = (errors.ProtocolError, errors.SSLError)


class _BodyLost(errors.HTTPError):
    """The head of a response came, but its body did not come to its end."""

    def __init__(self, raw: BaseHTTPResponse, *, is_too_large: bool = False) -> None:
        super().__init__()
        self.raw = raw
        self.is_too_large = is_too_large  # it goes on beyond what is read as a whole


class TokenSource(Protocol):
    """Where bearer tokens for one service come from."""

    def token(self, *, refresh: bool = False) -> str:
        """Return a bearer token; refresh: the last one was refused (401), so do not return it again."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What a service answered. Close it if the call was streamed."""

    call: RemoteCall  # as an error about this response names it
    idempotent: bool  # the call
    url: str  # that was called
    status: int
    headers: Mapping[str, str]  # names compare without case
    body: bytes  # all of it; empty if the call was streamed
    _raw: BaseHTTPResponse = field(repr=False)

    def chunks(self, size_bytes: int) -> Iterator[bytes]:
        """Yield the body of a streamed call in pieces of at most this size. Raises BODY_ERRORS."""
        return self._raw.stream(size_bytes)

    def close(self) -> None:
        """Close the connection if the body was not read to its end."""
        self._raw.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is sent to a service."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None
    operation: str
    idempotent: bool
    stream: bool
    timeout_s: tuple[float, float]

    def open_body(self) -> bytes | io.BytesIO | None:
        """Return the body for one try."""
        # As a file, a body is sent piece by piece; bytes would have to be gone within the time to connect, and on a
        # slow line 10 MiB are not. Observed with urllib3 2.8.
        return io.BytesIO(self.body) if self.body else self.body


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
        request_id_header: the response's header that names the request for the service's support.
        client_request_id_header: the request's header that carries our own id.
        clock: seconds, for the age of idle connections.
        """
        self._service = service
        self._token = token
        self._map_error = map_error
        self._request_id_header = request_id_header
        self._client_request_id_header = client_request_id_header
        self._origin = origin_of(origin)
        self._pools: dict[str, PoolManager] = {}  # by the address of the proxy
        self._idle = IdleConnections(self.close, clock=clock)

    def close(self) -> None:
        """Close the connections that are kept open."""
        for pools in list(self._pools.values()):
            pools.clear()

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
    ) -> Response:
        """Make one call and return the response; its body has been read unless it is streamed.

        url: sent as it is, so segments must be percent-encoded already; https, or http to this machine.
        operation: the verb in the service's own words, for messages.
        idempotent: whether doing it twice is the same as doing it once.
        json, data: the body, one of them or none.
        stream: leave the body unread; the caller closes the response.
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
        raw_url = url.reveal() if isinstance(url, SecretUrl) else url
        require_private_way(raw_url)
        self._require_own_origin(raw_url, operation)
        connect_s, read_s = map(allowed_s, timeout_s)
        body = data if json is None else json_text(json).encode()
        request = Request(
            method=method,
            url=raw_url,
            headers={
                "User-Agent": USER_AGENT,
                "Accept": "*/*" if stream else "application/json",
                # Ranges and lengths of a file are about its bytes as they are.
                "Accept-Encoding": "identity" if stream else "gzip",
                **({} if json is None else {"Content-Type": "application/json"}),
                **({"Content-Length": str(len(body))} if body is not None else {}),
                **{
                    name: value if is_header_value(value) else header_value(value)
                    for name, value in (headers or {}).items()
                },
                self._client_request_id_header: header_value(client_request_id()) or str(uuid.uuid4()),
            },
            body=body,
            operation=operation,
            idempotent=idempotent,
            stream=stream,
            timeout_s=(connect_s, read_s),
        )
        response = self._authorize_and_send(request, refresh=False)
        if response.status == HTTPStatus.UNAUTHORIZED and self._token is not None and 401 not in ok:
            # A 401 proves that nothing was done, so asking again is right for every call.
            response.close()
            log.warning("http.token_refused", service=self._service, operation=operation)
            response = self._authorize_and_send(request, refresh=True)
        if response.status not in ok:
            response.close()
            raise self._error_of(response, map_error)
        return response

    def _require_own_origin(self, url: str, operation: str) -> None:
        """Raise NeedsPerson if our token would go to another origin than the one of the service."""
        if self._token is None or not self._origin or origin_of(url) == self._origin:
            return
        raise NeedsPerson(
            f"{self._service} is at {self._origin}, but '{operation}' leads to {urlsplit(url).hostname}. The app does "
            "not send its token there, and sent nothing. Check the addresses in the settings, and the proxy"
        )

    def _authorize_and_send(self, request: Request, *, refresh: bool) -> Response:
        if self._token is not None:
            token = self._token.token(refresh=refresh)
            if not token.isascii() or not is_header_value(token):
                raise NeedsPerson(
                    f"The sign-in for {self._service} returned a token with invalid characters. Check what answers at "
                    "the sign-in address (the identity endpoint, or AZURE_AUTHORITY_HOST), and the proxy"
                )
            request.headers["Authorization"] = f"Bearer {token}"
        may_repeat = request.idempotent
        while True:
            try:
                return self._send(request)
            except errors.HTTPError as error:
                if not may_repeat or not isinstance(error, _CONNECTION_ERRORS) or _is_untrusted(error):
                    # from None: urllib3 quotes the URL, with the key in it, and a traceback would print that
                    raise self._error_without_response(error, request) from None
            # The usual cause is a kept connection that the other side has closed meanwhile; a new one works at once.
            log.warning("http.connection_lost", service=self._service, operation=request.operation)
            may_repeat = False

    def _send(self, request: Request) -> Response:
        """Send the request once and record it, whether it fails or not."""
        began = datetime.now(UTC)
        raw: BaseHTTPResponse | None = None
        try:
            with self._pool_of(request) as (pool, target):
                # Nothing is followed, added or kept for the next call, cookies above all.
                raw = pool.urlopen(
                    request.method,
                    target,
                    body=request.open_body(),
                    headers=request.headers,
                    timeout=Timeout(connect=request.timeout_s[0], read=request.timeout_s[1]),
                    retries=False,
                    redirect=False,
                    assert_same_host=False,
                    preload_content=False,
                )
                body = b"" if request.stream and raw.status < 300 else _read(raw)
            return Response(
                call=self._remote_call(request, raw),
                idempotent=request.idempotent,
                url=request.url,
                status=raw.status,
                headers=raw.headers,
                body=body,
                _raw=raw,
            )
        finally:
            record_call(
                service=self._service,
                operation=request.operation,
                status=None if raw is None else raw.status,
                request_id=self._request_id(raw),
                began=began,
            )

    @contextmanager
    def _pool_of(self, request: Request) -> Iterator[tuple[HTTPConnectionPool, str]]:
        """Lend the connections to the server of a request, and say how it names the target."""
        proxy, parts = proxy_for(request.url), urlsplit(request.url)
        with self._idle.in_use():
            if proxy not in self._pools:
                self._pools.setdefault(proxy, open_pools(proxy, servers=_SERVERS, connections=_CONNECTIONS))
            # Not by the whole URL: urllib3 takes "/a/../b" for "/b", and a signed URL breaks.
            target = parts._replace(scheme="", netloc="", path=parts.path or "/", fragment="").geturl()
            pool = self._pools[proxy].connection_from_host(parts.hostname, parts.port, parts.scheme)
            yield pool, request.url if proxy and parts.scheme == "http" else target

    def _error_without_response(self, error: errors.HTTPError, request: Request) -> AppError:
        """Return the error for a call without a usable response."""
        raw = error.raw if isinstance(error, _BodyLost) else None
        call, host = self._remote_call(request, raw), urlsplit(request.url).hostname
        if _is_untrusted(error):
            return NeedsPerson(
                f"{self._service} at {host} has a certificate that is not trusted, so nothing was sent. "
                "Check the address in the settings, and the proxy or firewall in between",
                call=call,
            )
        if isinstance(error, errors.LocationValueError):
            return NeedsPerson(
                f"{self._service} has no usable address ({host}). Check it in the settings, and HTTPS_PROXY", call=call
            )
        if isinstance(error, (errors.ConnectTimeoutError, errors.ProxyError)):
            return TryAgain(f"{self._service} at {host} is unreachable; nothing was sent", call=call)
        if isinstance(error, _BodyLost) and error.is_too_large:
            reason = f"answered with more than {_BODY_LIMIT // 2**20} MiB"
        elif "timed out" in f"{error} {error.__cause__}".casefold():
            reason = "did not answer in time"
        else:
            reason = "closed the connection before its answer was complete"
        return lost(f"{self._service} at {host} {reason}", call=call, idempotent=request.idempotent)

    def _error_of(self, response: Response, map_error: MapError | None) -> AppError:
        """Return the error for a response that the caller cannot use."""
        codes, text = parse_reason(response.body)
        refusal = Refusal(
            call=replace(response.call, code=codes[-1] if codes else ""),
            status=response.status,
            codes=codes,
            text=text,
            headers=response.headers,
            retry_after_s=retry_after_s(response.headers, now=datetime.now(UTC)),
            idempotent=response.idempotent,
        )
        if refusal.status == HTTPStatus.TOO_MANY_REQUESTS:
            log.warning(
                "http.throttled",
                service=self._service,
                operation=refusal.call.operation,
                wait_s=refusal.retry_after_s,
            )
        for mapped in (map_error, self._map_error):
            if mapped is not None and (error := mapped(refusal)) is not None:
                return error
        return map_status(refusal)

    def _request_id(self, raw: BaseHTTPResponse | None) -> str:
        return "" if raw is None else one_line(raw.headers.get(self._request_id_header, ""), _LONGEST_REQUEST_ID)

    def _remote_call(self, request: Request, raw: BaseHTTPResponse | None) -> RemoteCall:
        return RemoteCall(
            service=self._service,
            operation=request.operation,
            status=None if raw is None else raw.status,
            request_id=self._request_id(raw),
        )


def json_object(response: Response) -> dict[str, Any]:
    """Return the JSON object in the body of a response.

    Raises TryAgain, or AnswerLost if the call is not idempotent, for anything else (an empty body, a proxy's HTML).
    """
    value = parse_json(response.body)
    if isinstance(value, dict):
        return value
    call = response.call
    raise lost(
        f"{call.service} answered {call.operation} with something that is not a JSON object",
        call=call,
        idempotent=response.idempotent,
    )


def _read(raw: BaseHTTPResponse) -> bytes:
    """Return the whole body; "" if it does not come to its end, but the status alone says enough."""
    content = bytearray()
    try:
        for piece in raw.stream(_PIECE):
            content += piece
            if len(content) > _BODY_LIMIT:
                raise _BodyLost(raw, is_too_large=True)
    except errors.HTTPError as error:
        raw.close()
        if raw.status >= 400:
            return b""
        raise error if isinstance(error, _BodyLost) else _BodyLost(raw) from error
    return bytes(content)


def _is_untrusted(error: errors.HTTPError) -> bool:
    return isinstance(error, errors.SSLError) and isinstance(error.args[0], ssl.SSLCertVerificationError)
