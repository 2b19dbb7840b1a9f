"""The app's own webhook, which it calls as Graph does when a person asks for its health in full."""

from typing import Final

from tests.wire.endpoints import OPAQUE, Endpoint, Proof, Service
from tests.wire.shapes import FILLED, Octets

ENDPOINTS: Final = (
    Endpoint(
        service=Service.WEBHOOK,
        operation="validation handshake",
        method="POST",
        path=OPAQUE,
        proof=Proof.NONE,
        when="When a person asks for the app's health in full: whether the webhook answers as Graph wants it.",
        permission="the function key in NOTIFICATION_URL",
        repeatable="yes",
        source="https://learn.microsoft.com/graph/change-notifications-delivery-webhooks#notificationurl-validation",
        optional_headers={"client-request-id": FILLED},
        answers={200: Octets()},
        refusals=frozenset({400, 401, 403, 404, 500, 502, 503}),
    ),
)
