"""How Entra says no: AADSTS codes, and the JSON around them.

https://learn.microsoft.com/entra/identity-platform/reference-error-codes
"""

import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from aiohttp import web

from local_cloud.server import answer

NO_STORE: Final = {"Cache-Control": "no-store, no-cache", "Pragma": "no-cache"}

# AADSTS code: HTTP status and OAuth error. Assumed: the numbers behind authorization_declined and expired_token, whose
# names are documented; 401 for invalid_client (RFC 6749 5.2 allows it) and 400 for all else.
_ERRORS: Final[Mapping[int, tuple[int, str]]] = {
    50027: (400, "invalid_request"),
    50173: (400, "invalid_grant"),
    65004: (400, "authorization_declined"),
    70000: (400, "invalid_grant"),
    70003: (400, "unsupported_grant_type"),
    70011: (400, "invalid_scope"),
    70016: (400, "authorization_pending"),
    70018: (400, "bad_verification_code"),
    70019: (400, "expired_token"),
    90002: (400, "invalid_request"),
    500011: (400, "invalid_resource"),
    700016: (400, "unauthorized_client"),
    700023: (401, "invalid_client"),
    700024: (401, "invalid_client"),
    700027: (401, "invalid_client"),
    700082: (400, "invalid_grant"),
    900144: (400, "invalid_request"),
    1002012: (400, "invalid_scope"),
    7000215: (401, "invalid_client"),
    7000218: (401, "invalid_client"),
}


class Refused(Exception):
    """Entra says no: an AADSTS code and its text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


type Handler = Callable[[web.Request], Awaitable[web.Response]]


def in_entras_words(handler: Handler) -> Handler:
    """Let a refusal become Entra's JSON."""

    async def refused_or_not(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except Refused as refusal:
            return _refusal(refusal, request)

    return refused_or_not


def _refusal(refusal: Refused, request: web.Request) -> web.Response:
    # https://learn.microsoft.com/entra/identity-platform/reference-error-codes#handling-error-codes-in-your-application
    status, error = _ERRORS[refusal.code]
    trace_id = str(uuid.uuid4())
    correlation_id = request.headers.get("client-request-id") or str(uuid.uuid4())
    stamp = time_stamp(time.time())
    return answer(
        status,
        {
            "error": error,
            "error_description": f"AADSTS{refusal.code}: {refusal.text} Trace ID: {trace_id} "
            f"Correlation ID: {correlation_id} Timestamp: {stamp}",
            "error_codes": [refusal.code],
            "timestamp": stamp,
            "trace_id": trace_id,
            "correlation_id": correlation_id,
            "error_uri": f"{base_url(request)}/error?code={refusal.code}",
        },
        {**NO_STORE, "x-ms-request-id": trace_id},
    )


def time_stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def base_url(request: web.Request) -> str:
    return f"{request.scheme}://{request.host}"


async def form_of(request: web.Request) -> dict[str, str]:
    return {name: value for name, value in (await request.post()).items() if isinstance(value, str)}


def required(form: Mapping[str, str], name: str) -> str:
    value = form.get(name, "")
    if not value:
        raise Refused(900144, f"The request body must contain the following parameter: '{name}'.")
    return value
