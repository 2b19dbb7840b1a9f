"""Mails that were accepted for sending; they go nowhere.

https://learn.microsoft.com/graph/api/user-sendmail
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from local_cloud.onedrive.errors import GraphError, misuse
from local_cloud.onedrive.wire import fields_of, text_of

RECIPIENTS: Final = ("toRecipients", "ccRecipients", "bccRecipients")
MESSAGE: Final = ("subject", "body", "attachments", "importance", "replyTo", *RECIPIENTS)
ATTACHMENT: Final = ("name", "contentType", "contentBytes", "isInline", "contentId")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    sender: str  # user principal name or id as it stood in the address; of the signed-in user for /me
    recipients: tuple[str, ...]  # addresses, of to, cc and bcc
    subject: str
    content_type: str  # "text" or "html"
    content: str
    attachments: tuple[tuple[str, bytes], ...] = ()  # name and content

    def to_json(self) -> dict[str, object]:
        return {
            "sender": self.sender,
            "recipients": list(self.recipients),
            "subject": self.subject,
            "contentType": self.content_type,
            "content": self.content,
            "attachments": [{"name": name, "size": len(content)} for name, content in self.attachments],
        }


def mail_of(body: Mapping[str, object], sender: str) -> Mail:
    """Return the mail that a sendMail request is about. Raises GraphError 400."""
    save = body.get("saveToSentItems", True)
    if not isinstance(save, bool):
        raise misuse("saveToSentItems is not a boolean.", code="ErrorInvalidRequest")
    message = fields_of(body.get("message"), MESSAGE, "message")
    content = fields_of(message.get("body"), ("contentType", "content"), "message.body")
    content_type = (text_of(content, "contentType") or "text").lower()
    if content_type not in ("text", "html"):
        raise misuse("contentType is not text or html.", code="ErrorInvalidRequest")
    recipients = tuple(address for kind in RECIPIENTS for address in _addresses(message, kind))
    if not recipients:
        raise GraphError(400, "ErrorInvalidRecipients", "At least one recipient is not valid.")
    return Mail(
        sender=sender,
        recipients=recipients,
        subject=text_of(message, "subject") or "",
        content_type=content_type,
        content=text_of(content, "content") or "",
        attachments=tuple(_attachment(each) for each in _list(message, "attachments")),
    )


def _addresses(message: Mapping[str, object], kind: str) -> list[str]:
    addresses = []
    for each in _list(message, kind):
        recipient = fields_of(each, ("emailAddress",), kind)
        address = text_of(fields_of(recipient.get("emailAddress"), ("address", "name"), "emailAddress"), "address")
        if not address or "@" not in address:
            raise GraphError(400, "ErrorInvalidRecipients", "At least one recipient is not valid.")
        addresses.append(address)
    return addresses


def _attachment(value: object) -> tuple[str, bytes]:
    attachment = fields_of(value, ATTACHMENT, "attachment")
    if attachment.get("@odata.type") != "#microsoft.graph.fileAttachment":
        raise misuse("An attachment needs the @odata.type #microsoft.graph.fileAttachment.", code="BadRequest")
    try:
        content = base64.b64decode(text_of(attachment, "contentBytes") or "", validate=True)
    except binascii.Error:
        raise misuse("contentBytes is not base64.", code="BadRequest") from None
    name = text_of(attachment, "name")
    if not name:
        raise misuse("An attachment needs a name.", code="BadRequest")
    return name, content


def _list(message: Mapping[str, object], name: str) -> list[object]:
    value = message.get(name, [])
    if not isinstance(value, list):
        raise misuse(f"{name} is not a list.", code="BadRequest")
    return value
