"""Who alerts are sent to: a Teams workflow that takes adaptive cards, and a webhook that checks signatures.

The workflow is the template "Post to a channel when a webhook request is received", as strict as Teams in the end is:
what it would accept and then fail to post is refused here at once.
https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using

The webhook verifies as the specification of Standard Webhooks says, with the key that it was given.
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web

from local_cloud.faults import FaultPlan
from local_cloud.server import Server, answer

SERVICE: Final = "receivers"  # the name in faults and in the record of calls
CARD_LIMIT: Final = 28 * 1024
SIGNED_WITHIN_S: Final = 300
_BLOCK: Final = frozenset({"type", "inlines"})
_RUN: Final = frozenset({"type", "text", "size", "weight", "color", "isSubtle", "fontType"})
_STYLES: Final = {
    "size": {"default", "small", "medium", "large", "extraLarge"},
    "weight": {"default", "lighter", "bolder"},
    "color": {"default", "dark", "light", "accent", "good", "warning", "attention"},
    "fontType": {"default", "monospace"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What the webhook took."""

    message_id: str
    content: dict[str, Any]
    is_signed: bool


class Receivers:
    """The two addresses, and what came in there."""

    def __init__(
        self, faults: FaultPlan | None = None, *, secret: str = "", clock: Callable[[], datetime] | None = None
    ) -> None:
        """secret: the webhook's key as base64, with or without "whsec_"; without one nothing is checked."""
        self.cards: list[dict[str, Any]] = []
        self.deliveries: list[Delivery] = []
        self._faults = faults or FaultPlan()
        self._key = base64.b64decode(secret.removeprefix("whsec_")) if secret else b""
        self._clock = clock or (lambda: datetime.now(UTC))
        self._lock = threading.Lock()
        app = web.Application(middlewares=[self._faults.middleware(SERVICE)], client_max_size=16 * 1024 * 1024)
        app.router.add_post("/workflows/{flow}/triggers/manual/paths/invoke", self._post_to_channel)
        app.router.add_post("/hook", self._take)
        self._server = Server(app)

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    @property
    def teams_url(self) -> str:
        """The workflow's address, whose signature is the key."""
        return (
            f"{self._server.url}/workflows/0a1b2c3d/triggers/manual/paths/invoke"
            "?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=the-workflows-signature"
        )

    @property
    def webhook_url(self) -> str:
        """The webhook's address, with a key."""
        return f"{self._server.url}/hook?code=the-webhooks-key"

    async def _post_to_channel(self, request: web.Request) -> web.Response:
        if request.query.get("sig") != "the-workflows-signature":
            return _refused(401, "DirectApiAuthorizationRequired", "The signature is not that of the workflow.")
        body = await request.read()
        if len(body) > CARD_LIMIT:
            return _refused(413, "RequestEntityTooLarge", "The message is larger than 28 KB.")
        try:
            card = _card_in(json.loads(body))
        except (ValueError, KeyError, TypeError) as error:
            return _refused(400, "InvalidCard", f"The card cannot be posted: {error!r}")
        with self._lock:
            self.cards.append(card)
        return answer(202)

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self._key and not self._is_ours(request, body):
            return _refused(401, "BadSignature", "The signature does not fit.")
        delivery = Delivery(
            message_id=request.headers.get("webhook-id", ""),
            content=json.loads(body),
            is_signed="webhook-signature" in request.headers,
        )
        with self._lock:
            self.deliveries.append(delivery)
        return answer(204)

    def _is_ours(self, request: web.Request, body: bytes) -> bool:
        message_id, sent = request.headers.get("webhook-id", ""), request.headers.get("webhook-timestamp", "")
        if not sent.isdigit() or abs(self._clock().timestamp() - int(sent)) > SIGNED_WITHIN_S:
            return False
        expected = hmac.new(self._key, b".".join((message_id.encode(), sent.encode(), body)), hashlib.sha256).digest()
        given = (each.partition(",") for each in request.headers.get("webhook-signature", "").split())
        return any(
            version == "v1" and hmac.compare_digest(base64.b64decode(text), expected) for version, _, text in given
        )


def text_of(card: dict[str, Any]) -> str:
    """Return what a person reads on a card, a line for each block, then the buttons."""
    lines = ["".join(run["text"] for run in block["inlines"]) for block in card["body"]]
    return "\n".join([*lines, *(f"[{action['title']}] {action['url']}" for action in card.get("actions", ()))])


def _card_in(message: dict[str, Any]) -> dict[str, Any]:
    """Return the card of a message. Raises ValueError, KeyError or TypeError for what Teams would not post."""
    (attachment,) = message["attachments"]
    if message["type"] != "message" or attachment["contentType"] != "application/vnd.microsoft.card.adaptive":
        raise ValueError("no message with an adaptive card")
    if attachment.get("contentUrl") is not None:
        raise ValueError("contentUrl must be null")
    card: dict[str, Any] = attachment["content"]
    if card["type"] != "AdaptiveCard" or not "1.2" <= card["version"] <= "1.4":  # 1.2: the first with text runs
        raise ValueError("no adaptive card of a version that Teams shows")
    for block in card["body"]:
        if block["type"] != "RichTextBlock" or set(block) - _BLOCK:
            raise ValueError(f"unknown block {block}")
        for run in block["inlines"]:
            if run["type"] != "TextRun" or not isinstance(run["text"], str) or set(run) - _RUN:
                raise ValueError(f"unknown run {run}")
            if wrong := [name for name, values in _STYLES.items() if run.get(name, "default") not in values]:
                raise ValueError(f"unknown {wrong}")
    for action in card.get("actions", ()):
        if action["type"] != "Action.OpenUrl" or not action["url"].startswith(("https://", "http://")):
            raise ValueError(f"unknown action {action}")
    return card


def _refused(status: int, code: str, message: str) -> web.Response:
    return answer(status, {"error": {"code": code, "message": message}})
