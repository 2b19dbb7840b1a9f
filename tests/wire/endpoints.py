"""What a description of an endpoint consists of, and how a path is held against its template."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Final
from urllib.parse import parse_qsl

from tests.wire.shapes import Fields, Form, Octets, Scalar, Shape


class Service(StrEnum):
    """Whom the app talks to; the names are those of the simulators in a FaultPlan."""

    GRAPH = "graph"
    CONTENT = "graph-content"
    FINANCE_OPERATIONS = "finance_operations"
    ENTRA = "entra"
    STORAGE = "storage"
    RECEIVERS = "receivers"
    WEBHOOK = "webhook"  # the app itself, as Graph calls it


class Proof(StrEnum):
    """How the caller shows who it is."""

    BEARER = "Authorization: Bearer"
    NONE = "none: the address itself permits it"
    IN_BODY = "in the body"
    IDENTITY_HEADER = "X-IDENTITY-HEADER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as it left; what a check is about."""

    method: str
    target: str  # path and query, percent-encoded
    headers: Mapping[str, str]  # names in lower case
    body: object = None  # JSON taken apart, a form as a mapping; None where there is none or it was not read

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> list[tuple[str, str]]:
        return parse_qsl(self.target.partition("?")[2], keep_blank_values=True)


# Says what is wrong with a request beyond shapes, "" where nothing is.
type Rule = Callable[[Request], str]

# Paths of which nothing may be assumed: the service made the address up and signed it.
OPAQUE: Final = "*"

_PLACEHOLDER: Final = re.compile(r"\{[a-z -]+\}")
_DRIVES: Final = ("/v1.0/drives/{drive-id}", "/v1.0/users/{user}/drive", "/v1.0/me/drive")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One thing that can be asked of a service, as its reference says."""

    service: Service
    operation: str  # the name that shared/clients give it in logs and run records
    method: str
    path: str  # {drive} stands for each way to name a drive, {path} for several segments, other names for one segment
    proof: Proof
    when: str
    permission: str
    repeatable: str  # what asking twice does
    source: str  # the page of the reference
    more_sources: tuple[str, ...] = ()
    query: Mapping[str, Scalar] = field(default_factory=dict)
    required_query: frozenset[str] = frozenset()
    headers: Mapping[str, Scalar] = field(default_factory=dict)  # required, beyond proof and Content-Type
    optional_headers: Mapping[str, Scalar] = field(default_factory=dict)
    body: Shape | Form | Octets | None = None
    rules: tuple[Rule, ...] = ()
    answers: Mapping[int, Shape | Octets | None]  # None: an empty body
    wordless: frozenset[int] = frozenset()  # Observed: statuses that sometimes come without their body
    refusals: frozenset[int] = frozenset()
    refusal: Shape | None = None

    def matches(self, method: str, path: str) -> bool:
        """Return whether a request is for this endpoint."""
        return method == self.method and (self.path == OPAQUE or _pattern(self.path).fullmatch(path) is not None)


@cache
def _pattern(template: str) -> re.Pattern[str]:
    pieces: list[str] = []
    for piece in re.split(r"(\{[a-z -]+\})", template):
        match piece:
            case "{drive}":
                pieces.append("(?:" + "|".join(_segments(drive) for drive in _DRIVES) + ")")
            case "{path}":
                pieces.append("(?:[^/:]+/)*[^/:]+")
            case "{prefix}":  # what stands before an on-premises environment's paths
                pieces.append("(?:/namespaces/AXSF)?")
            case _:
                pieces.append(_segments(piece))
    return re.compile("".join(pieces))


def _segments(text: str) -> str:
    return "".join(
        "[^/:?]+" if _PLACEHOLDER.fullmatch(piece) else re.escape(piece) for piece in re.split(r"(\{[a-z -]+\})", text)
    )


def fields_of(endpoint: Endpoint) -> Fields | None:
    """Return the fields of the request's body, None where it has none."""
    match endpoint.body:
        case Form():
            return endpoint.body.fields
        case Fields():
            return endpoint.body
        case _:
            return None
