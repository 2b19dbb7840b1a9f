"""What all answers of the simulator have in common, and how bodies and headers are read strictly."""

import json
import re
import uuid
from collections.abc import AsyncIterator, Collection, Mapping
from datetime import UTC, datetime
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from local_cloud.onedrive.errors import GraphError, Misuse, misuse
from local_cloud.server import answer

JSON_TYPE: Final = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
# x-ms-ags-diagnostic is what Microsoft's support asks for beside the request id.
DIAGNOSTIC: Final = json.dumps(
    {"ServerInfo": {"DataCenter": "Local", "Slice": "E", "Ring": "0", "ScaleUnit": "000", "RoleInstance": "LOCAL0"}}
)
TAG: Final = re.compile(r'\*|"(?:c:)?\{[0-9A-F-]{36}\},\d+"')  # eTag or cTag, the quotes included
OPTIONS: Final = ("select", "expand", "filter", "top", "orderby", "skiptoken")
CONFLICT: Final = "@microsoft.graph.conflictBehavior"


def json_answer(
    status: int, body: Mapping[str, object] | None = None, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return an answer with Graph's content type; no body when there is none."""
    return answer(status, body, {**({} if body is None else {"Content-Type": JSON_TYPE}), **(headers or {})})


def answering(violations: list[str]) -> Middleware:
    """Return the middleware that turns refusals into answers, and writes down those that no right client causes."""

    @web.middleware
    async def answer_refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except GraphError as refusal:
            if isinstance(refusal, Misuse):
                violations.append(f"{request.method} {request.path}: {refusal.message}")
            request_id = str(uuid.uuid4())
            body = refusal.body(
                request_id=request_id,
                client_request_id=request.headers.get("client-request-id", request_id),
                date=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
            )
            return json_answer(refusal.status, body, {"request-id": request_id, **refusal.headers})
        except ConnectionError:
            raise  # the client has gone, which is its right
        except Exception as error:
            violations.append(f"{request.method} {request.path}: the simulator failed: {error!r}")
            raise

    return answer_refusals


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Give every answer, a planned fault's too, the headers that support asks for; a signal for on_response_prepare."""
    request_id = response.headers.setdefault("request-id", str(uuid.uuid4()))
    response.headers["client-request-id"] = request.headers.get("client-request-id", request_id)
    response.headers["x-ms-ags-diagnostic"] = DIAGNOSTIC


async def json_body(request: web.Request, known: Collection[str], *, may_be_empty: bool = False) -> dict[str, object]:
    """Return the body. Raises Misuse unless it is a JSON object, sent as such, with nothing but what is known."""
    raw = await request.read()
    if not raw and may_be_empty:
        return {}
    if request.content_type != "application/json":
        raise misuse(f"Write requests must have Content-Type application/json, not {request.content_type}.", status=415)
    try:
        body = json.loads(raw)
    except ValueError:
        raise misuse("Unable to read JSON request payload.", code="BadRequest") from None
    return fields_of(body, known, "the body")


def fields_of(value: object, known: Collection[str], what: str) -> dict[str, object]:
    """Return a JSON object. Raises Misuse unless it is one with nothing but what is known."""
    if not isinstance(value, dict):
        raise misuse(f"{what} is not a JSON object.", code="BadRequest")
    unknown = [name for name in value if name not in known and name != "@odata.type"]
    if unknown:
        raise misuse(f"Invalid property in {what}: {', '.join(unknown)}.", code="BadRequest")
    return value


def text_of(body: Mapping[str, object], name: str) -> str | None:
    """Return a text or None when it is missing or null. Raises Misuse when it is something else."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise misuse(f"{name} is not a text.", code="BadRequest")
    return value


def options(query: Mapping[str, str]) -> dict[str, str]:
    """Return a query with the dollar signs that may be left out.

    https://learn.microsoft.com/graph/query-parameters; Observed: abraunegg's onedrive leaves them out.
    """
    return {f"${name}" if name in OPTIONS else name: value for name, value in query.items()}


def known_query(query: Mapping[str, str], *known: str) -> None:
    """Raise Misuse when the query says more than that."""
    unknown = [name for name in query if name not in known]
    if unknown:
        raise misuse(f"Query option {', '.join(unknown)} is not supported here.", code="BadRequest")


def if_match(request: web.Request) -> str | None:
    """Return the header If-Match. Raises Misuse unless it is an eTag or cTag exactly as the item showed it."""
    value = request.headers.get("If-Match")
    if value is not None and TAG.fullmatch(value) is None:
        raise misuse(f"If-Match must be an eTag or cTag with its quotes, not {value}.")
    return value


async def body_blocks(request: web.Request) -> AsyncIterator[bytes]:
    """Yield the request's body in blocks as they arrive."""
    if request.content.at_eof():  # read before, by a fault that delays the request: aiohttp has kept it
        if whole := await request.read():
            yield whole
        return
    async for block in request.content.iter_chunked(1024 * 1024):
        yield block


def refuse_authorization(request: web.Request) -> None:
    """Raise Misuse 401: a pre-authenticated address is not shown a token."""
    if "Authorization" in request.headers:
        raise misuse(
            "An Authorization header was sent to a pre-authenticated address.", status=401, code="unauthenticated"
        )


def utc_text(seconds: float) -> str:
    """Return seconds since the epoch as Graph writes them: whole seconds, UTC."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_of(text: str, what: str) -> float:
    """Return the seconds since the epoch of a DateTimeOffset. Raises Misuse unless it is one, with its offset."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise misuse(f"{what} is not a DateTimeOffset: {text}.", code="BadRequest") from None
    if moment.tzinfo is None:
        raise misuse(f"{what} has no offset from UTC: {text}.", code="BadRequest")
    return moment.timestamp()
