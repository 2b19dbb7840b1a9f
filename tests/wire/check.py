"""Holds one request, or one answer, against the descriptions and says what is wrong with it."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import parse_qsl

from tests.wire import entra, finance_operations, graph, receivers, storage, webhook
from tests.wire.endpoints import OPAQUE, Endpoint, Proof, Request, Service, fields_of
from tests.wire.shapes import Form, Octets, misfits

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    *graph.ENDPOINTS,
    *finance_operations.ENDPOINTS,
    *entra.ENDPOINTS,
    *receivers.ENDPOINTS,
    storage.GET_BLOB,
    *webhook.ENDPOINTS,
)

# What any HTTP client may say, whoever it talks to.
_ORDINARY_HEADERS: Final = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "host",
        "transfer-encoding",
        "user-agent",
    }
)
# Our own id of a call, under the name that each service looks for.
# https://learn.microsoft.com/graph/best-practices-concept#reliability-and-support; F&O's as its own client sends it.
_ID_HEADERS: Final = {
    Service.GRAPH: "client-request-id",
    Service.CONTENT: "client-request-id",
    Service.FINANCE_OPERATIONS: "x-ms-client-request-id",
    Service.RECEIVERS: "client-request-id",
}


def endpoints_for(service: str, method: str, path: str) -> list[Endpoint]:
    """Return the endpoints that a request may be for: several where an address is opaque or a body decides."""
    return [one for one in ENDPOINTS if one.service == service and one.matches(method, path)]


def named(operation: str) -> list[Endpoint]:
    """Return the endpoints that make up one of the app's verbs."""
    return [one for one in ENDPOINTS if one.operation == operation]


def wrong_with_request(request: Request, candidates: Iterable[Endpoint]) -> tuple[Endpoint | None, list[str]]:
    """Return the endpoint that a request is for, and what is wrong with it: of the candidate that fits best."""
    judged = [(endpoint, list(_request_faults(request, endpoint))) for endpoint in candidates]
    if not judged:
        return None, ["no such endpoint is described"]
    return min(judged, key=lambda each: len(each[1]))


def wrong_with_answer(
    status: int, answer_type: str, answer: str | None, candidates: Iterable[Endpoint]
) -> tuple[Endpoint | None, list[str]]:
    """Return the endpoint whose answer this may be, and what is wrong with it; answer: the body where it is JSON."""
    judged = [(endpoint, list(_answer_faults(status, answer_type, answer, endpoint))) for endpoint in candidates]
    if not judged:
        return None, []
    return min(judged, key=lambda each: len(each[1]))


def body_of(content_type: str, text: str | None) -> object:
    """Return the body taken apart: JSON as it is, a form as a mapping, None where there is none or it is a file."""
    kind = content_type.split(";")[0].strip()
    if text and kind == "application/json":
        try:
            return json.loads(text)
        except ValueError:
            return text
    if text and kind == "application/x-www-form-urlencoded":
        return dict(parse_qsl(text, keep_blank_values=True))
    return None


def _request_faults(request: Request, endpoint: Endpoint) -> Iterator[str]:
    if not endpoint.matches(request.method, request.path):
        yield f"{request.method} {request.path} is not {endpoint.method} {endpoint.path}"
        return
    yield from _proof_faults(request.headers, endpoint.proof)
    yield from _header_faults(request.headers, endpoint)
    if endpoint.path != OPAQUE:
        yield from _query_faults(request, endpoint)
    yield from _body_faults(request, endpoint)
    if request.body is not None or fields_of(endpoint) is None:  # a body that was not read is not judged
        yield from (fault for rule in endpoint.rules if (fault := rule(request)))


def _proof_faults(headers: Mapping[str, str], proof: Proof) -> Iterator[str]:
    authorization = headers.get("authorization")
    if proof is Proof.BEARER:
        if authorization is None:
            yield "the header Authorization is missing"
        elif not re.fullmatch(r"Bearer \S+", authorization):
            yield "the header Authorization is not 'Bearer' and a token"
    elif authorization is not None:
        yield "a token was sent to an address that must not see one"
    if (proof is Proof.IDENTITY_HEADER) != ("x-identity-header" in headers):
        yield "the header X-IDENTITY-HEADER is missing" if proof is Proof.IDENTITY_HEADER else "X-IDENTITY-HEADER leaks"


def _header_faults(headers: Mapping[str, str], endpoint: Endpoint) -> Iterator[str]:
    known = {**endpoint.headers, **endpoint.optional_headers}
    for name in endpoint.headers:
        if name not in headers:
            yield f"the header {name} is missing"
    for name, value in headers.items():
        if name in known:
            if not known[name].fits(value):
                yield f"the header {name} is {value!r}, not {known[name].name}"
        elif name not in _ORDINARY_HEADERS | {"authorization", "x-identity-header", _ID_HEADERS.get(endpoint.service)}:
            yield f"the header {name} is not known"


def _query_faults(request: Request, endpoint: Endpoint) -> Iterator[str]:
    given = request.query
    for name in sorted(endpoint.required_query - {name for name, _ in given}):
        yield f"the query option {name} is missing"
    for name, value in given:
        if name not in endpoint.query:
            yield f"the query option {name} is not known"
        elif not endpoint.query[name].fits(value):
            yield f"the query option {name} is {value!r}, not {endpoint.query[name].name}"


def _body_faults(request: Request, endpoint: Endpoint) -> Iterator[str]:
    match endpoint.body:
        case None:
            if request.headers.get("content-length", "0") != "0":
                yield "there is a body, and none is due"
        case Octets():
            if "content-length" not in request.headers and "transfer-encoding" not in request.headers:
                yield "the header content-length is missing"
        case Form(fields):
            if request.body is not None:
                yield from misfits(request.body, fields, "")
        case shape:
            if request.body is not None:
                yield from misfits(request.body, shape, "")
            elif request.headers.get("content-length", "0") == "0":
                yield "the body is missing"


def _answer_faults(status: int, answer_type: str, answer: str | None, endpoint: Endpoint) -> Iterator[str]:
    if status in endpoint.answers:
        shape = endpoint.answers[status]
        if isinstance(shape, Octets):
            return
        if shape is None:
            if answer:
                yield f"{status} has a body, and none is documented"
            return
        value = body_of(answer_type, answer)
        if value is None and status in endpoint.wordless:
            return
        if value is None:
            yield f"{status} has no JSON body"
        else:
            yield from misfits(value, shape, "")
    elif status not in endpoint.refusals:
        yield f"{status} is not documented for {endpoint.operation}"
    elif answer and endpoint.refusal is not None:
        yield from misfits(body_of(answer_type, answer), endpoint.refusal, "")
