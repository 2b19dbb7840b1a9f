"""Tells a person that something needs them: by e-mail through Graph, or in the log where no recipient is set.

Whether and how often an alert is sent is the runner's business; Graph does not notice a repeated one.
"""

import re
from dataclasses import dataclass
from functools import partial
from typing import Protocol
from urllib.parse import quote

from shared.clients.http import Http, Refusal
from shared.errors import AppError, NeedsPerson
from shared.log import log


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What happened, to what, and what to do."""

    title: str  # one line
    text: str  # plain text


class Alerts(Protocol):
    """A way to reach a person."""

    def send(self, alert: Alert) -> None:
        """Send the alert; an AppError says that it could not be sent."""
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
        mailbox = f"users/{quote(sender, safe='@')}" if sender else "me"
        self._url = f"{graph_url.rstrip('/')}/{mailbox}/sendMail"
        self._sender = sender
        self._recipients = [address.strip() for address in re.split("[;,]", recipient) if address.strip()]
        self._http = http

    def send(self, alert: Alert) -> None:
        """Hand the mail to Exchange, which accepts it at once and delivers it later.

        Raises NeedsPerson: no permission, or the sender has no mailbox; AnswerLost: it may have been sent; TryAgain.
        """
        message = {
            "subject": " ".join(alert.title.split()),
            "body": {"contentType": "Text", "content": alert.text},
            "toRecipients": [{"emailAddress": {"address": address}} for address in self._recipients],
        }
        self._http.call(
            "POST",
            self._url,
            operation="send mail",
            idempotent=False,
            json={"message": message, "saveToSentItems": False},
            ok=(202,),  # nothing else is Exchange's word that it has the mail; a sign-in wall answers 200
            explain=partial(_meaning, sender=self._sender or "the signed-in user"),
        )


class LogAlerts:
    """Writes alerts into the log as errors; Application Insights can alert on them."""

    def send(self, alert: Alert) -> None:
        """Log the alert."""
        log.error("alert", title=alert.title, text=alert.text)


def _meaning(refusal: Refusal, *, sender: str) -> AppError | None:
    match refusal.status:
        case 403:
            return NeedsPerson(
                f"Microsoft Graph does not permit mail from {sender}: {refusal.words}. Grant the permission Mail.Send "
                "with consent, and allow this mailbox if Exchange limits the app to some",
                call=refusal.call,
            )
        case 400 | 404:
            # ErrorInvalidUser, MailboxNotEnabledForRESTAPI: the same request fails until someone mends the settings.
            return NeedsPerson(
                f"Microsoft Graph cannot send mail from {sender}: {refusal.words}. Check sender and recipient of "
                "alerts in the settings; the sender needs a mailbox",
                call=refusal.call,
            )
        case _:
            return None
