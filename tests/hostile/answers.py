"""Tables of answers that no service should give: each has its own tests, and test_blame.py tries it on every call."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from local_cloud.faults import Action, Kind
from tests.unit.clients.answering import Answer

TABLES: Final[list["AnswerTable[Any]"]] = []  # every table of the suite, in the order of its definition


class AnswerTable[Entry](dict[str, Entry]):
    """Answers by name. Making one is enough for it to be tried on every call of the clients."""

    def __init__(self, title: str, on_the_wire: Callable[[Entry], Answer], entries: Mapping[str, Entry]) -> None:
        """title: for the ids of tests. on_the_wire: how an entry looks there."""
        super().__init__(entries)
        self.title = title
        self._on_the_wire = on_the_wire
        TABLES.append(self)

    def answer(self, name: str) -> Answer:
        """Return what goes over the wire for the entry of that name."""
        return self._on_the_wire(self[name])


def by_themselves[Entry](entries: Iterable[Entry]) -> dict[str, Entry]:
    """Return entries that need no other name than what they are."""
    return {str(entry): entry for entry in entries}


def in_body(body: object, *, status: int = 200, **headers: str) -> Answer:
    """Return an answer with this body (JSON, unless it is bytes) and headers (an underscore stands for a dash)."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(
        status=status, body=content, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


def of_fault(action: Action) -> Answer:
    """Return what a fault plan lets go over the wire for this action."""
    match action.kind:
        case Kind.GARBAGE:
            return in_body(b"<html><body>Sign in</body></html>")
        case Kind.STATUS:
            body = action.body.encode() if isinstance(action.body, str) else action.body
            return in_body(b"" if body is None else body, status=action.code, **action.headers)
    raise ValueError(f"{action.kind} is no answer")


class Raw(Answer):
    """An answer byte by byte."""

    def __init__(self, wire: bytes) -> None:
        super().__init__(content_length=0)  # so that the connection ends with it
        object.__setattr__(self, "body", wire)

    def __bytes__(self) -> bytes:
        return self.body


class OneToken:
    """A token source that always has the same token."""

    def token(self, *, refresh: bool = False) -> str:
        return "made-up-token"
