"""Graph's calls of our webhook, parsed and checked. Pure.

A change notification names no file and is not signed: it only means "scan now", so all that is checked is that it is
well formed and has our clientState. Answering within three seconds is the trigger's part (``inbound_trigger/``).
"""

import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from shared.escapes import read_json
from shared.secret import Secret

# A notification takes some 500 bytes, and one body may carry many.
MAX_BODY_BYTES: Final = 1024 * 1024
# Tokens seen are about 120 characters of "Validation: Testing client application reachability for ..."; they are opaque
# by the documentation, so anything printable is taken. https://learn.microsoft.com/graph/change-notifications-delivery-webhooks
MAX_TOKEN: Final = 2048
_TOKEN: Final = re.compile(rf"[\x20-\x7e]{{1,{MAX_TOKEN}}}")


class BadNotification(ValueError):
    """A call of our webhook that Graph would not have made. The reason never repeats what was sent."""

    def __init__(self, status: int, reason: str) -> None:
        """status: the HTTP status to answer with, 400, 401 or 413; reason: a short sentence, fit to be sent back."""
        self.status = status
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeNotification:
    """Something changed in a drive, or something happened to the subscription itself."""

    subscription_id: str
    client_state: Secret  # empty if the sender gave none
    change_type: str = ""  # "updated" for drives; empty on lifecycle notifications
    resource: str = ""  # "drives/b!.../root", without a leading slash; never names an item
    lifecycle_event: str = ""  # "reauthorizationRequired", "subscriptionRemoved", "missed"; empty on changes


def validation_token(params: Mapping[str, str]) -> str | None:
    """Return the token of a validation handshake, to be sent back as plain text; None if this is not a handshake.

    params: the query, already decoded once, as Azure Functions hands it over.
    Raises BadNotification if Graph would not send such a token, so nothing else is sent back.
    """
    token = params.get("validationToken")
    if token is None:
        return None
    if _TOKEN.fullmatch(token) is None:
        raise BadNotification(400, f"validationToken must be 1 to {MAX_TOKEN} printable ASCII characters.")
    return token


def read_notifications(body: bytes, client_state: Secret) -> tuple[ChangeNotification, ...]:
    """Return the notifications of a body, checked to come from our own subscription.

    Raises BadNotification: 413 too large, 400 malformed, 401 if one of them does not have our clientState.
    """
    notifications = parse_notification(body)
    if not is_authentic(notifications, client_state):
        raise BadNotification(401, "clientState does not match our subscription.")
    return notifications


def parse_notification(body: bytes, *, max_bytes: int = MAX_BODY_BYTES) -> tuple[ChangeNotification, ...]:
    """Return the notifications of a body, at least one; unknown fields are ignored.

    Raises BadNotification: 413 for a body above max_bytes, 400 for one that is not a list of notifications.
    """
    if len(body) > max_bytes:
        raise BadNotification(413, f"The body is larger than {max_bytes} bytes.")
    try:
        document = read_json(body, mend=True)
    except ValueError:
        raise BadNotification(400, "The body is not JSON.") from None
    listed = document.get("value") if isinstance(document, dict) else None
    if not isinstance(listed, list) or not listed:
        raise BadNotification(400, "The body has no list of notifications in 'value'.")
    return tuple(_parse_one(each) for each in listed)


def is_authentic(notifications: Sequence[ChangeNotification], client_state: Secret) -> bool:
    """Return whether there is a notification and all of them have our clientState; takes the same time either way."""
    ours = _comparable(client_state)
    # A list and not a generator, so that the first stranger does not end the comparison.
    matches = [hmac.compare_digest(_comparable(each.client_state), ours) for each in notifications]
    return bool(ours) and bool(matches) and all(matches)


def _parse_one(item: object) -> ChangeNotification:
    if not isinstance(item, dict):
        raise BadNotification(400, "A notification in 'value' is not an object.")
    subscription_id = _text(item, "subscriptionId")
    if not subscription_id:
        raise BadNotification(400, "A notification has no subscriptionId.")
    return ChangeNotification(
        subscription_id=subscription_id,
        client_state=Secret(_text(item, "clientState")),
        change_type=_text(item, "changeType"),
        resource=_text(item, "resource").removeprefix("/"),
        lifecycle_event=_text(item, "lifecycleEvent"),
    )


def _text(item: Mapping[str, object], field: str) -> str:
    value = item.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadNotification(400, f"{field} of a notification is not text.")
    return value


def _comparable(secret: Secret) -> bytes:
    # surrogatepass: JSON may hold half a surrogate pair, which is no reason to crash.
    return secret.reveal().encode("utf-8", "surrogatepass")
