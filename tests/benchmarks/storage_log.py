"""What was asked of Azurite, read from its access log: which operation, and whose it was.

The log has method, path and query of each request, from whoever it came. Containers and queues tell who that was: the
app keeps its records in ``runs``; the host polls queues and holds its own locks; F&O has containers of its own, into
which the app puts packages.
"""

import re
import threading
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from local_cloud.finance_operations.blobs import DOWNLOADS, UPLOADS
from local_cloud.storage import ACCOUNT
from shared.app import CONTAINER

_LINE: Final = re.compile(r'"(?P<method>[A-Z]+) (?P<target>\S+) HTTP/1\.[01]" (?P<status>\d{3})')
# What differs from run to run in a name: an order, a day and a run's id, a message's id, an execution's id.
_VARYING: Final = re.compile(r"/(\d{8}T\d+Z-.*|\d{4}/\d\d/\d\d/.*|[\da-f]{8}-[\da-f-]{27}.*|[^/]*\d{8}T\d{6}-.*)")


class Whose(StrEnum):
    """On whose account a call is."""

    RUN = "the run"
    LOOK = "looks"
    HOST = "the functions host"
    CONTROLLER = "the scale controller"
    FINANCE_OPERATIONS = "F&O"


@dataclass(frozen=True, slots=True)
class StorageCall:
    """One request."""

    whose: Whose
    operation: str  # as the REST reference names it, and on what: "Put Blob runs/open/<lane>"
    status: int


class StorageLog:
    """Takes the lines of Azurite's access log. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[StorageCall] = []

    def take(self, line: str) -> None:
        """Note one line, if it is about a request."""
        if call := parsed(line):
            with self._lock:
                self._calls.append(call)

    def forget(self) -> None:
        """Begin anew."""
        with self._lock:
            self._calls.clear()

    def calls(self, *whose: Whose) -> list[StorageCall]:
        """Return the calls so far on these accounts."""
        with self._lock:
            return [call for call in self._calls if call.whose in whose]

    def counted(self, *whose: Whose) -> dict[str, int]:
        """Return how often each operation was called, the most frequent first."""
        return dict(Counter(f"{call.operation} -> {call.status}" for call in self.calls(*whose)).most_common())


def parsed(line: str) -> StorageCall | None:
    """Return the request that a line of the access log is about."""
    found = _LINE.search(line)
    if found is None:
        return None
    url = urlsplit(found["target"])
    place, _, rest = unquote(url.path).removeprefix(f"/{ACCOUNT}").strip("/").partition("/")
    query = {key: values[0] for key, values in parse_qs(url.query, keep_blank_values=True).items()}
    operation = _operation(found["method"], rest, query)
    name = _VARYING.sub("/...", f"{place}/{rest or query.get('prefix', '')}".rstrip("/"))
    return StorageCall(_whose(found["method"], place, rest, query), f"{operation} {name}", int(found["status"]))


def _whose(method: str, place: str, rest: str, query: dict[str, str]) -> Whose:
    if query.get("peekonly") == "true" or (not rest and query.get("comp") == "metadata"):
        return Whose.CONTROLLER  # nobody else counts a queue's messages, but for the pages
    if rest.startswith("messages"):
        return Whose.RUN if method == "POST" else Whose.HOST  # the log does not say what a message asks for
    if place.startswith(CONTAINER):  # a world's container has a name of its own
        is_look = rest.startswith("watch/") or query.get("prefix") == "open/"
        return Whose.LOOK if is_look else Whose.RUN
    if place == UPLOADS and method == "PUT" and rest:
        return Whose.RUN
    return Whose.FINANCE_OPERATIONS if place in (UPLOADS, DOWNLOADS) else Whose.HOST


def _operation(method: str, rest: str, query: dict[str, str]) -> str:
    if rest.startswith("messages"):
        if query.get("peekonly") == "true":
            return "Peek Messages"
        return {"POST": "Put Message", "GET": "Get Messages", "DELETE": "Delete Message"}.get(method, "Update Message")
    match method, query.get("comp", ""):
        case "PUT", "":
            return "Put Blob" if rest else "Create Container"
        case "PUT", comp:
            return {"lease": "Lease Blob", "block": "Put Block", "blocklist": "Put Block List"}.get(comp, comp)
        case "GET", "metadata" if not rest:
            return "Get Queue"
        case "GET", "list":
            return "List Blobs"
        case other, _:
            return f"{other.title()} Blob"
