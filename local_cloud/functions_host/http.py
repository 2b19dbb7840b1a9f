"""The HTTP trigger: finds the function for a request, makes the request its argument and the result an answer.

Follows the real host where it differs from plain web servers: an unknown path and a wrong method are both 404, headers
arrive in lower case, empty query values not at all, and a chunked body arrives empty.
https://github.com/Azure/azure-functions-host/blob/dev/src/WebJobs.Script.Grpc/MessageExtensions/GrpcMessageConversionExtensions.cs
"""

import hmac
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Final

from aiohttp import web
from multidict import CIMultiDict, MultiMapping

from local_cloud.functions_host.bindings import Function, HttpTrigger
from local_cloud.functions_host.runtime import Outcome, TypedData
from local_cloud.functions_host.settings import HostSettingsInvalid

MAX_BODY_BYTES: Final = 104_857_600  # FUNCTIONS_REQUEST_BODY_SIZE_LIMIT's default in the real host
MASTER_KEY: Final = "_master"

type RunRequest = Callable[[Function, TypedData], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that open functions, by name. Without any, everything is open, as in Core Tools.

    A name such as "show_runs/view" is that of one function's key; any other is the host's and opens them all.
    """

    values: Mapping[str, str]

    @classmethod
    def parse(cls, pairs: Iterable[str]) -> "Keys":
        """Read NAME=VALUE pairs. Raises HostSettingsInvalid, which does not quote them."""
        split = [pair.partition("=") for pair in pairs]
        if wrong := [name for name, _, value in split if not (name and value)]:
            raise HostSettingsInvalid(f"{len(wrong)} of {len(split)} function keys are not NAME=VALUE")
        return cls({name: value for name, _, value in split})

    def open(self, request: web.Request, auth_level: str, function: str = "") -> bool:
        """Whether the request may go on: a key of the host or of the function for FUNCTION, the master key for ADMIN.

        https://learn.microsoft.com/azure/azure-functions/function-keys-how-to
        """
        if not self.values or auth_level == "ANONYMOUS":
            return True
        given = request.headers.get("x-functions-key") or request.query.get("code", "")
        fitting = [value for name, value in self.values.items() if _fits(name, auth_level, function)]
        return any([hmac.compare_digest(given.encode(), value.encode()) for value in fitting])  # noqa: C419  # all of them: constant time

    def open_admin(self, request: web.Request) -> bool:
        """Whether the request may use the admin routes: with the master key where one is configured."""
        return MASTER_KEY not in self.values or self.open(request, "ADMIN")


def _fits(name: str, auth_level: str, function: str) -> bool:
    of_function, slash, _ = name.rpartition("/")
    return name == MASTER_KEY or (auth_level == "FUNCTION" and (not slash or of_function == function))


class HttpFront:
    """Serves the HTTP functions of an app."""

    def __init__(self, functions: Sequence[Function], keys: Keys, run: RunRequest) -> None:
        routes = [(function.trigger, function) for function in functions if isinstance(function.trigger, HttpTrigger)]
        self._routes = sorted(routes, key=lambda entry: entry[0].route.precedence)
        self._keys = keys
        self._run = run

    async def handle(self, request: web.Request) -> web.Response:
        """Answer a request that is for a function."""
        path = request.raw_path.partition("?")[0]
        for trigger, function in self._routes:
            route_values = trigger.route.match(path)
            if route_values is None or (trigger.methods and request.method not in trigger.methods):
                continue
            if not self._keys.open(request, trigger.auth_level, function.name):
                return web.Response(status=401)
            outcome = await self._run(function, await as_typed_data(request, route_values))
            return as_response(outcome)
        return web.Response(status=404)


async def as_typed_data(request: web.Request, route_values: Mapping[str, str]) -> TypedData:
    """The request as the runtime reads it."""
    # Only Content-Length announces a body to the real host: chunked uploads arrive empty.
    body = TypedData(bytes=await request.read()) if (request.content_length or 0) > 0 else TypedData()
    return TypedData(
        http=SimpleNamespace(
            method=request.method,
            url=f"{request.scheme}://{request.host}{request.raw_path}",
            headers={name.lower(): value for name, value in _joined(request.headers).items()},
            query={name: value for name, value in _joined(request.query).items() if value},
            params=dict(route_values),
            body=body,
        )
    )


def as_response(outcome: Outcome) -> web.Response:
    """The answer to a request whose function has ended."""
    if not outcome.succeeded:
        return web.Response(status=500)
    returned = outcome.returned
    if returned is None or returned.kind is None:
        return web.Response(status=204)
    if returned.kind == "http":
        answer = returned.value
        return _response(answer.status_code, answer.headers, _bytes(answer.body), answer.cookies)
    return _from_text(_bytes(returned).decode())


def _from_text(text: str) -> web.Response:
    """Text is the body, but text that is JSON is read: an object with a "body" then describes the whole answer.

    https://github.com/Azure/azure-functions-host/blob/dev/src/WebJobs.Script/Binding/Http/HttpBinding.cs
    """
    try:
        content = json.loads(text)
    except ValueError:
        content = text
    described = {name.lower(): value for name, value in content.items()} if isinstance(content, dict) else {}
    if "body" not in described:
        return _from_content(content, "200", {})
    headers = {str(name): str(value) for name, value in (described.get("headers") or {}).items()}
    return _from_content(described["body"], str(described.get("statuscode", described.get("status", 200))), headers)


def _from_content(content: object, status: str, headers: Mapping[str, str]) -> web.Response:
    if isinstance(content, str):
        return _response(status, {"content-type": "text/plain; charset=utf-8", **headers}, content.encode(), None)
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    return _response(status, {"content-type": "application/json; charset=utf-8", **headers}, body, None)


def _response(
    status: str, headers: Mapping[str, str], body: bytes, cookies: Sequence[SimpleNamespace] | None
) -> web.Response:
    all_headers = CIMultiDict(headers)
    for cookie in cookies or ():
        all_headers.add("Set-Cookie", _cookie(cookie))
    return web.Response(status=int(status), headers=all_headers, body=body)


def _cookie(cookie: SimpleNamespace) -> str:
    """A Set-Cookie header of the runtime's RpcHttpCookie, whose optional fields are records with a value, or None."""
    parts = [f"{cookie.name}={cookie.value}"]
    for attribute, field in (("Domain", cookie.domain), ("Path", cookie.path)):
        if field is not None and field.value:
            parts.append(f"{attribute}={field.value}")
    if cookie.max_age is not None:
        parts.append(f"Max-Age={int(cookie.max_age.value)}")
    if cookie.expires is not None:
        expires = datetime.fromtimestamp(cookie.expires.value.seconds, UTC)
        parts.append(f"Expires={format_datetime(expires, usegmt=True)}")
    parts += [name for name, field in (("Secure", cookie.secure), ("HttpOnly", cookie.http_only)) if field.value]
    if cookie.same_site:
        parts.append(f"SameSite={cookie.same_site}")
    return "; ".join(parts)


def _bytes(data: TypedData | None) -> bytes:
    if data is None or data.kind is None:
        return b""
    return data.value if isinstance(data.value, bytes) else str(data.value).encode()


def _joined(values: MultiMapping[str]) -> dict[str, str]:
    """Repeated names become one, with commas between the values, as .NET's StringValues print."""
    joined: dict[str, str] = {}
    for name, value in values.items():
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined
