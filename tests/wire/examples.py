"""One real example of every call, as a test run has seen it, fit to be shown: addresses of Azure, and no secrets.

``tests/wire/examples.json`` holds them; ``python -m tests.wire.document --record`` makes it anew.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote, urlsplit

from local_cloud.wire_tap import Exchange
from tests.wire.check import body_of
from tests.wire.endpoints import OPAQUE, Endpoint, Proof, Request, Service

EXAMPLES_VARIABLE: Final = "RECORD_WIRE_EXAMPLES"  # environment variable: the file to write a run's examples to
EXAMPLES: Final = Path(__file__).with_name("examples.json")
HIDDEN: Final = "***"

_HOSTS: Final = {
    Service.GRAPH: "https://graph.microsoft.com",
    Service.CONTENT: "https://contoso-my.sharepoint.com",
    Service.FINANCE_OPERATIONS: "https://contoso.operations.dynamics.com",
    Service.ENTRA: "https://login.microsoftonline.com",
    Service.STORAGE: "https://account.blob.core.windows.net",
    Service.RECEIVERS: "https://receiver.contoso.com",
}
_WEBHOOK: Final = ("webhook-id", "webhook-timestamp", "webhook-signature")
_SHOWN_HEADERS: Final = (
    *("content-type", "content-length", "content-range", "range", "if-match", "if-none-match"),
    *_WEBHOOK,
)
_LEASING: Final = ("x-ms-lease-action", "x-ms-lease-duration")
_SHOWN_OF_STORAGE: Final = (*_SHOWN_HEADERS, "x-ms-blob-type", "x-ms-version", *_LEASING)
_SECRET_FIELDS: Final = frozenset(
    {
        "access_token",
        "client_assertion",
        "client_info",
        "client_secret",
        "clientState",
        "code",
        "device_code",
        "id_token",
        "refresh_token",
        "user_code",
    }
)
_READABLE: Final = "/:,$!@*=()"  # characters that stay as they are in a query that is shown
_TOKEN: Final = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*")
_LONGEST_LIST: Final = 2  # of the things in a list, so many are shown
_LONGEST_TEXT: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A call and its answer, with nothing secret in it."""

    service: str
    operation: str
    method: str
    path: str  # of the endpoint, as a template
    url: str
    headers: Mapping[str, str]
    body: Any
    status: int
    answer_headers: Mapping[str, str]
    answer: Any

    @property
    def key(self) -> str:
        """What it is an example of."""
        return key_of(self.service, self.operation, self.method, self.path)

    @property
    def weight(self) -> tuple[bool, int]:
        """How unfit it is to be shown: lists should not be empty, and short is better than long."""
        is_empty = isinstance(self.answer, dict) and self.answer.get("value") in ([], "")
        return is_empty, len(json.dumps(asdict(self)))

    @classmethod
    def of(cls, endpoint: Endpoint, request: Request, exchange: Exchange) -> Self:
        """Return the example that an exchange with a simulator makes."""
        proof = {
            Proof.BEARER: {"authorization": f"Bearer {HIDDEN}"},
            Proof.IDENTITY_HEADER: {"x-identity-header": HIDDEN},
        }.get(endpoint.proof, {})
        host = "http://127.0.0.1:41841" if endpoint.proof is Proof.IDENTITY_HEADER else _HOSTS[endpoint.service]
        path = re.sub(r"^/[^/]+/(?=oauth2|v2\.0)", "/contoso.onmicrosoft.com/", request.path)
        opaque = endpoint.path == OPAQUE
        query = [] if opaque else request.query
        return cls(
            service=endpoint.service,
            operation=endpoint.operation,
            method=endpoint.method,
            path=endpoint.path,
            url=host + (f"/{HIDDEN}" if opaque else path + _query_text(query)),
            headers=_shown(request.headers, _SHOWN_HEADERS) | proof,
            body=_without_secrets(request.body),
            status=exchange.status or 0,
            answer_headers=_shown({"content-type": exchange.answer_type}, _SHOWN_HEADERS),
            answer=_without_secrets(body_of(exchange.answer_type, exchange.answer)),
        )

    @classmethod
    def of_storage(cls, operation: str, path: str, request: Request, status: int, headers: Mapping[str, str]) -> Self:
        """Return the example that a call of Azurite makes; its bodies are files and XML and not shown.

        path: of the endpoint, as a template.
        """
        host = _HOSTS[Service.STORAGE].replace("blob", "queue" if "queue" in path else "blob")
        query = [(name, HIDDEN if name in {"sig", "st", "se"} else value) for name, value in request.query]
        is_signed = any(name == "sig" for name, _ in query)
        return cls(
            service=Service.STORAGE,
            operation=operation,
            method=request.method,
            path=path,
            url=host + request.path.removeprefix("/devstoreaccount1") + _query_text(query),
            headers=_shown(request.headers, _SHOWN_OF_STORAGE)
            | ({} if is_signed else {"authorization": f"Bearer {HIDDEN}"}),
            body=None,
            status=status,
            answer_headers=_shown(
                {name.lower(): value for name, value in headers.items()},
                ("content-type", "content-range", "etag", "x-ms-version"),
            ),
            answer=None,
        )


def key_of(service: str, operation: str, method: str, path: str) -> str:
    """Return the name of an endpoint among the examples."""
    return f"{service}: {operation}: {method} {path}"


def read_examples(path: Path = EXAMPLES) -> dict[str, Example]:
    """Return the recorded examples by what they are examples of."""
    examples = [Example(**each) for each in json.loads(path.read_text("utf-8"))]
    return {example.key: example for example in examples}


def write_examples(path: Path, examples: Iterable[Example]) -> None:
    """Write examples, in an order of their own so that two recordings can be compared; what they lack stays."""
    known = read_examples(path) if path.exists() else {}
    known |= {example.key: example for example in examples}
    rows = [asdict(known[key]) for key in sorted(known)]
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", "utf-8", newline="\n")


def _query_text(query: Iterable[tuple[str, str]]) -> str:
    """Return a query as it may be shown: as little encoded as a URL can be."""
    text = "&".join(f"{name}={quote(_scrubbed(value), safe=_READABLE)}" for name, value in query)
    return f"?{text}" if text else ""


def _shown(headers: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    return {name: _scrubbed(headers[name]) for name in names if headers.get(name)}


def _without_secrets(value: Any, name: str = "") -> Any:
    match value:
        case dict():
            return {key: _without_secrets(one, key) for key, one in value.items()}
        case list():
            shown = [_without_secrets(one) for one in value[:_LONGEST_LIST]]
            return [*shown, "..."] if len(value) > _LONGEST_LIST else shown
        case str() if name in _SECRET_FIELDS and len(value) > 1:
            return HIDDEN
        case str():
            return _scrubbed(value)
        case _:
            return value


def _scrubbed(text: str) -> str:
    """Return a text without this machine's addresses, without tokens, and without the keys in addresses."""
    text = re.sub(r"https?://127\.0\.0\.1:\d+[^\s\"']*", lambda found: _public(found.group()), text)
    text = text if "://127" in text else re.sub(r"\b127\.0\.0\.1:\d+", "login.microsoftonline.com", text)
    text = re.sub(r"(?<=enter the code )\w+", HIDDEN, _TOKEN.sub(HIDDEN, text))
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}..."


def _public(address: str) -> str:
    parts = urlsplit(address)
    path = parts.path
    if path.startswith("/devstoreaccount1/"):
        return f"{_HOSTS[Service.STORAGE]}{path.removeprefix('/devstoreaccount1')}?{HIDDEN}"
    if path.startswith("/v1.0"):
        shown = f"?{parts.query}" if parts.query else ""
        fragment = f"#{parts.fragment}" if parts.fragment else ""
        return f"{_HOSTS[Service.GRAPH]}{path}{shown}{fragment}"
    if path.startswith("/data/") or "mi=" in parts.query:
        shown = f"?{parts.query}" if parts.query else ""
        fragment = f"#{parts.fragment}" if parts.fragment else ""
        return f"{_HOSTS[Service.FINANCE_OPERATIONS]}{path}{shown}{fragment}"
    if path.startswith("/api/"):
        return f"https://contoso-packages.azurewebsites.net{path}" + (f"?code={HIDDEN}" if parts.query else "")
    if re.match(r"/[^/]+/(?:oauth2|v2\.0|discovery)", path):
        return f"{_HOSTS[Service.ENTRA]}{re.sub(r'^/[^/]+/', '/contoso.onmicrosoft.com/', path)}"
    if path.startswith("/device"):
        return "https://www.microsoft.com/link"
    if path.strip("/") in ("", ".default"):
        return f"{_HOSTS[Service.GRAPH]}{path}"
    return f"{_HOSTS[Service.CONTENT]}/{HIDDEN}" if parts.query else f"{_HOSTS[Service.CONTENT]}{path}"
