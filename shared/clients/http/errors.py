"""What a refused call means: the refusal taken apart, and the rules that hold for every service.

What a service's own error codes mean is the business of its client, which hands a ``MapError`` to ``Http``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from shared.errors import AnswerLost, AppError, ItemChanged, ItemLocked, NeedsPerson, NotFound, RemoteCall, TryAgain
from shared.escapes import one_line, read_json

_TEXT_LIMIT: Final = 2_000  # characters of a service's own message that an error message quotes
_CODE_LIMIT: Final = 200  # characters of an error code; real ones are shorter than 60

# Seconds. A service that asks for more is asked again after this time: a date that was written wrongly, or somebody
# else's answer, must not put a lane off for years.
LONGEST_WAIT_S: Final = 3600.0

# Statuses that say "not now": the same request may work later.
_PASSING: Final = frozenset({408, 500, 502, 503, 504, 509})


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A response with a status that the caller cannot use, taken apart."""

    call: RemoteCall
    status: int
    codes: tuple[str, ...]  # the service's error codes, the outermost first
    text: str  # the service's own message, "" if it gave none
    headers: Mapping[str, str]  # names compare without case
    retry_after_s: float | None
    idempotent: bool

    def has_code(self, *codes: str) -> bool:
        """Return whether the service gave one of these codes, at whatever depth and in whatever case."""
        given = {code.casefold() for code in self.codes}
        return any(code.casefold() in given for code in codes)

    @property
    def reason(self) -> str:
        """The service's reason for a person to read: code and message, never empty, without a full stop at its end."""
        code, text = self.call.code, self.text.rstrip(" .")
        if text and code and code.casefold() not in text.casefold():
            return f"{code}: {text}"
        return text or code or f"HTTP {self.status} without a reason"


# What a service's own error codes mean. None: nothing special, ``map_status`` decides.
type MapError = Callable[[Refusal], AppError | None]


def map_status(refusal: Refusal) -> AppError:
    """Return the error for a refusal that has no meaning special to its service."""
    call, service, reason = refusal.call, refusal.call.service, refusal.reason
    match refusal.status:
        case 429:
            # Throttled requests are turned away at the door, so this is a proof that nothing was done.
            return TryAgain(
                f"{service} throttles {call.operation}: {reason}", retry_after_s=refusal.retry_after_s, call=call
            )
        case status if status in _PASSING:
            return lost(
                f"{service} could not complete {call.operation}: {reason}",
                call=call,
                idempotent=refusal.idempotent,
                retry_after_s=refusal.retry_after_s,
            )
        case 401:
            return NeedsPerson(
                f"{service} refuses the app's sign-in at {call.operation}: {reason}. "
                "Check tenant, client id and secret (or the managed identity) in the settings",
                call=call,
            )
        case 403:
            return NeedsPerson(
                f"{service} does not permit {call.operation}: {reason}. Give the app's identity the permission for it",
                call=call,
            )
        case 404 | 410:
            return NotFound(f"{service} did not find the target of {call.operation}: {reason}", call=call)
        case 412:
            return ItemChanged(f"{call.operation} was refused because the item has changed: {reason}", call=call)
        case 423:
            return ItemLocked(f"{call.operation} must wait because the item is locked: {reason}", call=call)
        case 507:
            return NeedsPerson(
                f"{service} has no space left for {call.operation}: {reason}. Free some space", call=call
            )
        case status if 200 <= status < 300:
            return lost(
                f"{service} answered {call.operation} with HTTP {status}, which the app does not expect",
                call=call,
                idempotent=refusal.idempotent,
            )
        case status if 300 <= status < 400:
            return NeedsPerson(
                f"{service} sends {call.operation} to another address (HTTP {status}), which is not followed. "
                "Check the address in the settings",
                call=call,
            )
        case _:
            return NeedsPerson(
                f"{service} refuses {call.operation}: {reason}. Check its address in the settings, and any proxy in "
                "between; if they are right, contact the support of the service with the request id",
                call=call,
            )


def lost(message: str, *, call: RemoteCall, idempotent: bool, retry_after_s: float | None = None) -> TryAgain:
    """Return TryAgain for an idempotent call, AnswerLost for one that may have been handled."""
    if idempotent:
        return TryAgain(message, retry_after_s=retry_after_s, call=call)
    return AnswerLost(f"{message}; the call may have taken effect anyway", retry_after_s=retry_after_s, call=call)


def retry_after_s(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Return how many seconds the service asks us to wait, an hour at most, or None if it does not say.

    Retry-After holds seconds or a date; a date is measured against the service's own clock if it sends that.
    https://www.rfc-editor.org/rfc/rfc9110#name-retry-after
    """
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), LONGEST_WAIT_S)
    due = _http_date(value)
    if due is None:
        return None
    wait_s = (due - (_http_date(headers.get("Date", "")) or now)).total_seconds()
    return min(max(0.0, wait_s), LONGEST_WAIT_S)


def _http_date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # OverflowError: a year or an offset beyond all calendars
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def parse_reason(body: bytes) -> tuple[tuple[str, ...], str]:
    """Return the error codes in a body, the outermost first, and the service's own message.

    Graph: {"error": {"code", "message", "innerError": {"code", ...}}}, nested and in varying case.
    F&O: {"error": {"code": "", "message": "An error has occurred.", "innererror": {"message": <the reason>}}}, or
    {"Message": ...} from a gateway.
    https://learn.microsoft.com/graph/errors
    """
    content = parse_json(body)
    if not isinstance(content, dict):
        return (), _plain_text(body)
    top = {key.casefold(): value for key, value in content.items()}
    error = top.get("error")
    if not isinstance(error, dict):
        return (), str(top.get("message") or top.get("error_description") or error or "")[:_TEXT_LIMIT]
    codes: list[str] = []
    inner_text = text = ""
    level: object = error
    while isinstance(level, dict):
        keys = {str(key).casefold(): value for key, value in level.items()}
        if isinstance(code := keys.get("code"), str) and code:
            codes.append(one_line(code, _CODE_LIMIT))
        if isinstance(message := keys.get("message"), str) and message:
            if level is error:
                text = message
            else:
                inner_text = inner_text or message
        level = keys.get("innererror")
    return tuple(codes), (inner_text or text)[:_TEXT_LIMIT]


def parse_json(body: bytes) -> object:
    """Return what a body of JSON says, None for anything else. Halves of characters, which nobody can write, go out."""
    try:
        value: object = read_json(body, mend=True)
    except ValueError:
        return None
    return value


def _plain_text(body: bytes) -> str:
    """Return a body that a person can read: a gateway's HTML page says nothing that its status does not."""
    text = body.decode("utf-8", errors="replace").strip()
    return "" if text.startswith("<") else text[:_TEXT_LIMIT]
