"""The ways to reach people: e-mail through Graph, Teams, any webhook; the log if none of them is set.

A channel sends one message when it is asked to. What is sent, how often, and what happens to a message that could not
be sent is decided in ``delivery.py``: none of the services notices a repeated one. A new channel is a class here, its
row in ``CHANNELS``, and its setting.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final, Protocol

from shared.alerts.alert import NotificationKind
from shared.alerts.message import Message, Notification, notification_to_json, row_line, rows_heading
from shared.clients.http.client import Http
from shared.clients.http.errors import Refusal
from shared.config.alert_route import AlertRoute
from shared.config.settings import Settings
from shared.errors import AppError, NeedsPerson
from shared.escapes import cut, json_text, one_line, path_segment, plain_text
from shared.log import log
from shared.secret import Secret, SecretUrl, redacted

# Seconds to connect, and to wait for an answer. Short, because the minute's timer has other duties; a message that was
# not answered is sent again.
TIMEOUT_S: Final = (5.0, 15.0)

# Bytes of a card with its envelope. Teams takes about 28 KB with everything in it; a little is left for what the
# workflow adds. https://learn.microsoft.com/connectors/teams/#known-issues-and-limitations-with-actions
CARD_LIMIT: Final = 25_000
# Characters of a subject; the text has all that a longer title says.
LONGEST_SUBJECT: Final = 255
CUT_OFF: Final = "The rest was cut off: Teams accepts no longer messages."


class Channel(Protocol):
    """A way to reach people."""

    name: str  # kind and address, without a secret; alerts remember under it what was sent

    def send(self, message: Message) -> None:
        """Send the message. Raises an AppError if it could not be sent."""
        ...


class MailAlerts:
    """Sends alerts as e-mail through Graph.

    https://learn.microsoft.com/graph/api/user-sendmail
    """

    def __init__(self, graph_url: str, sender: str, recipient: str, http: Http) -> None:
        """graph_url: with its version, such as ``https://graph.microsoft.com/v1.0``.

        sender: the mailbox that sends; "" for that of the signed-in user.
        recipient: one address, or several with ``;`` or ``,`` between them.
        http: with a token that has Mail.Send.
        """
        mailbox = f"users/{path_segment(sender, safe='@')}" if sender else "me"
        self.name = _name("mail", recipient)
        self._url = f"{graph_url.rstrip('/')}/{mailbox}/sendMail"
        self._sender = sender
        self._recipients = [address.strip() for address in re.split("[;,]", recipient) if address.strip()]
        self._http = http

    def send(self, message: Message) -> None:
        """Hand the mail to Exchange, which accepts it at once and delivers it later.

        Raises NeedsPerson: no permission, or the sender has no mailbox; AnswerLost: it may have been sent; TryAgain.
        """
        mail = {
            "subject": one_line(message.title, LONGEST_SUBJECT),
            "body": {"contentType": "Text", "content": plain_text(message.text)},
            "toRecipients": [{"emailAddress": {"address": address}} for address in self._recipients],
        }
        self._http.call(
            "POST",
            self._url,
            operation="send mail",
            idempotent=False,
            json={"message": mail, "saveToSentItems": False},
            timeout_s=TIMEOUT_S,
            ok=(202,),  # nothing else proves that Exchange has the mail; a sign-in wall answers 200
            map_error=partial(_map_mail_refusal, sender=self._sender or "the signed-in user"),
        )


class TeamsAlerts:
    """Posts alerts to Teams, as adaptive cards to a workflow "Post to a channel when a webhook request is received".

    https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using
    Names and F&O's messages come from others, so they are put into text runs: a text block would read them as Markdown.
    https://adaptivecards.io/explorer/TextRun.html
    """

    def __init__(self, url: SecretUrl, http: Http) -> None:
        """url: of the workflow; whoever has it can post. http: without a token."""
        self.name = _name("teams", url.reveal())
        self._url = url
        self._http = http

    def send(self, message: Message) -> None:
        """Hand the card to the workflow, which accepts it at once and posts it later.

        Raises NeedsPerson: the workflow is gone, switched off or refuses the card; AnswerLost and TryAgain.
        """
        self._http.call(
            "POST",
            self._url,
            operation="post to Teams",
            idempotent=False,
            headers={"Content-Type": "application/json"},
            data=_card_within_limit(message),
            timeout_s=TIMEOUT_S,
            # Observed by many clients: 202, for some 200; a sign-in wall's 200 cannot be told from it.
            ok=(200, 202),
            map_error=partial(_map_webhook_refusal, setting="ALERT_TEAMS_URL (or alertTeamsUrl)"),
        )


class WebhookAlerts:
    """Posts alerts as JSON, which ``docs/alert.schema.json`` describes, to any address.

    With a secret the request is signed as Standard Webhooks says, for which there are libraries in most languages:
    https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    """

    def __init__(self, url: SecretUrl, secret: Secret | None, http: Http, *, clock: "Clock") -> None:
        """secret: base64 of the key, as the receiver knows it; http: without a token; clock: returns the time."""
        self.name = _name("webhook", url.reveal())
        self._url = url
        self._secret = secret
        self._http = http
        self._clock = clock

    def send(self, message: Message) -> None:
        """Post the message; every answer of the 200s means that it was accepted.

        Raises NeedsPerson: the receiver refuses it; TryAgain. Sending it twice is harmless: the id is the same.
        """
        body = json_text(
            {
                "format": 1,
                "id": message.message_id,
                "title": message.title,
                "alerts": [notification_to_json(each) for each in message.notifications],
            }
        ).encode()
        timestamp = str(int(self._clock().timestamp()))
        headers = {"Content-Type": "application/json", "webhook-id": message.message_id, "webhook-timestamp": timestamp}
        if self._secret:
            headers["webhook-signature"] = signature(self._secret, message.message_id, timestamp, body)
        self._http.call(
            "POST",
            self._url,
            operation="post to the webhook",
            idempotent=True,
            headers=headers,
            data=body,
            timeout_s=TIMEOUT_S,
            map_error=partial(_map_webhook_refusal, setting="ALERT_WEBHOOK_URL (or alertWebhookUrl)"),
        )


class Clock(Protocol):
    """Where the time comes from."""

    def __call__(self) -> datetime:
        """Return the current time, in UTC."""
        ...


class LogAlerts:
    """Writes alerts into the log as errors; Application Insights can alert on them."""

    name = "log"

    def send(self, message: Message) -> None:
        """Log the alert."""
        log.error("alert", title=message.title, text=message.text)


def alerts_http() -> Http:
    """Return HTTP for the webhooks of alerts, whose addresses are keys in themselves."""
    return Http(service="The webhook for alerts", token=None, request_id_header="x-ms-workflow-run-id")


def signature(secret: Secret, message_id: str, timestamp: str, body: bytes) -> str:
    """Return the header webhook-signature, which proves that a message is ours, new and complete."""
    key = base64.b64decode(secret.reveal().removeprefix("whsec_"))
    signed = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(signed).decode()}"


def _name(kind: str, where: str) -> str:
    return f"{kind}-{hashlib.sha256(where.encode()).hexdigest()[:8]}"


# -- which channels there are


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelParts:
    """What channels are built of."""

    settings: Settings
    graph: Http  # with the app's token
    webhooks: Http  # without a token
    clock: Clock


# Every channel: the field of a route that holds its address, and what builds it for an address.
CHANNELS: Final[Mapping[str, Callable[[Any, ChannelParts], Channel]]] = {
    "recipient": lambda address, parts: MailAlerts(
        f"{parts.settings.graph_url}/v1.0", parts.settings.alert_sender, address, parts.graph
    ),
    "teams_url": lambda url, parts: TeamsAlerts(url, parts.webhooks),
    "webhook_url": lambda url, parts: WebhookAlerts(
        url, parts.settings.alert_webhook_secret, parts.webhooks, clock=parts.clock
    ),
}


def build_channels(route: AlertRoute, parts: ChannelParts) -> list[Channel]:
    """Return a channel for each address of a route; the log if it has none."""
    addresses = {field: getattr(route, field) for field in CHANNELS}
    return [CHANNELS[field](address, parts) for field, address in addresses.items() if address] or [LogAlerts()]


# -- the card

_COLOURS: Final = {
    NotificationKind.NEW: "attention",
    NotificationKind.REMINDER: "warning",
    NotificationKind.RESOLVED: "good",
}


def _card_within_limit(message: Message) -> bytes:
    """Return the card as Teams accepts it; one that is too long loses lines from its end, and says so."""
    blocks = list(_blocks(message))
    body = _envelope(message, blocks)
    if len(body) <= CARD_LIMIT:
        return body
    while len(blocks) > 1 and len(_envelope(message, [*blocks, _text(CUT_OFF)])) > CARD_LIMIT:
        del blocks[-1]
    return _envelope(message, [*blocks, _text(CUT_OFF)])


def _blocks(message: Message) -> Iterator[dict[str, Any]]:
    first = message.notifications[0]
    colour = _COLOURS[first.kind] if all(each.kind is first.kind for each in message.notifications) else "default"
    yield _text(cut(message.title, 500), size="large", weight="bolder", color=colour)
    if len(message.notifications) > 1:
        yield from (_text(line) for line in message.digest_lines)
    else:
        yield from _blocks_of(first)


def _blocks_of(notification: Notification) -> Iterator[dict[str, Any]]:
    alert = notification.alert
    if notification.lead:
        yield _text(notification.lead, isSubtle=True)
    yield _text(cut(alert.text, 4_000))
    for label, value in alert.facts:
        yield _runs({"text": f"{label}: ", "weight": "bolder"}, {"text": cut(value, 500)})
    if alert.rows:
        yield _text(rows_heading(alert), weight="bolder")
        yield from (_text(cut(row_line(row), 600), fontType="monospace") for row in alert.rows)


def _envelope(message: Message, blocks: list[dict[str, Any]]) -> bytes:
    # 1.4: what all clients of Teams show. https://learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/design-effective-cards
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "body": blocks,
    }
    if actions := [{"type": "Action.OpenUrl", "title": label, "url": url} for label, url in _links(message)]:
        card["actions"] = actions
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return json_text({"type": "message", "attachments": [attachment]}).encode()


def _links(message: Message) -> tuple[tuple[str, str], ...]:
    if len(message.notifications) > 1:
        return (("All runs", message.pages_url),) if message.pages_url else ()
    return tuple((label, url) for label, url in message.notifications[0].alert.links if len(url) <= 2_000)


def _text(text: str, **style: Any) -> dict[str, Any]:
    return _runs({"text": text, **style})


def _runs(*runs: dict[str, Any]) -> dict[str, Any]:
    inlines = [{"type": "TextRun", **run, "text": plain_text(run["text"])} for run in runs]
    return {"type": "RichTextBlock", "inlines": inlines}


# -- refusals


def _map_mail_refusal(refusal: Refusal, *, sender: str) -> AppError | None:
    match refusal.status:
        case 403:
            return NeedsPerson(
                f"Microsoft Graph does not permit mail from {sender}: {refusal.reason}. Grant the permission Mail.Send "
                "with consent, and allow this mailbox if Exchange limits the app to some",
                call=refusal.call,
            )
        case 400 | 404:
            # ErrorInvalidUser, MailboxNotEnabledForRESTAPI: the same request fails until someone mends the settings.
            return NeedsPerson(
                f"Microsoft Graph cannot send mail from {sender}: {refusal.reason}. Check sender and recipient of "
                "alerts in the settings; the sender needs a mailbox",
                call=refusal.call,
            )
        case _:
            return None


def _map_webhook_refusal(refusal: Refusal, *, setting: str) -> AppError | None:
    match refusal.status:
        case 400 | 401 | 403 | 404 | 405 | 410 | 413 | 415 | 422:
            return NeedsPerson(
                f"The webhook for alerts refuses a message (HTTP {refusal.status}): {redacted(refusal.reason)[:300]}. "
                f"Check {setting}: is the receiver still there and switched on?",
                call=refusal.call,
            )
        case _:
            return None
