"""What the code around a call decides for it, without handing it down: who records it, its id, how long it may wait.

It holds for one thread; ``copy_context`` takes it along to others.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCall:
    """One call to a service, as a support ticket needs it."""

    service: str
    operation: str
    status: int | None  # HTTP status; None if no answer came
    request_id: str
    took_s: float
    began: datetime  # UTC


_recorded: ContextVar[list[RecordedCall] | None] = ContextVar("recorded_calls", default=None)
_client_request_id: ContextVar[str] = ContextVar("client_request_id", default="")
_longest_wait_s: ContextVar[float | None] = ContextVar("longest_wait_s", default=None)


@contextmanager
def recording() -> Iterator[list[RecordedCall]]:
    """Collect the remote calls that this thread makes inside the block."""
    calls: list[RecordedCall] = []
    token = _recorded.set(calls)
    try:
        yield calls
    finally:
        _recorded.reset(token)


def record_call(*, service: str, operation: str, status: int | None, request_id: str, began: datetime) -> None:
    """Add a call that has just ended to the record of this thread, if there is one.

    began: when it began, in UTC.
    """
    calls = _recorded.get()
    if calls is not None:
        took_s = round((datetime.now(UTC) - began).total_seconds(), 3)
        calls.append(
            RecordedCall(
                service=service, operation=operation, status=status, request_id=request_id, took_s=took_s, began=began
            )
        )


@contextmanager
def correlated(client_request_id: str) -> Iterator[None]:
    """Send this id with every call inside the block, so that one search finds a run in the services' logs too."""
    token = _client_request_id.set(client_request_id)
    try:
        yield
    finally:
        _client_request_id.reset(token)


def client_request_id() -> str:
    """Return the id of ``correlated``, "" outside of it."""
    return _client_request_id.get()


@contextmanager
def waiting_at_most(seconds: float) -> Iterator[None]:
    """Let no call inside the block wait longer than this to connect, nor between two reads: somebody is watching.

    Within a block of a shorter limit, that one holds. Calls to storage and for tokens keep it as well.
    """
    token = _longest_wait_s.set(allowed_s(seconds))
    try:
        yield
    finally:
        _longest_wait_s.reset(token)


def allowed_s(seconds: float) -> float:
    """Return how long a call may wait that would wait so long by itself: less inside ``waiting_at_most``."""
    return min(seconds, _longest_wait_s.get() or seconds)
