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
# https://learn.microsoft.com/graph/api/resources/message: what one may say of a mail that is to be sent.
MESSAGE: Final = (
    "subject",
    "body",
    "attachments",
    "categories",
    "flag",
    "from",
    "importance",
    "internetMessageHeaders",
    "isDeliveryReceiptRequested",
    "isReadReceiptRequested",
    "replyTo",
    "sender",
    *RECIPIENTS,
)
FLAG: Final = ("flagStatus", "startDateTime", "dueDateTime", "completedDateTime")
FLAG_STATUSES: Final = (None, "notFlagged", "complete", "flagged")
BOOLEANS: Final = {"true": True, "false": False}
ATTACHMENT: Final = ("name", "contentType", "contentBytes", "isInline", "contentId")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    sender: str  # user principal name or id as it stood in the address; of the signed-in user for /me
    recipients: tuple[str, ...]  # addresses, of to, cc and bcc
    subject: str
    content_type: str  # "text" or "html"
    content: str
    attachments: tuple[tuple[str, bytes], ...] = ()  # name and content
    headers: tuple[tuple[str, str], ...] = ()  # name and value
    from_address: str = ""  # "": the sender's own
    is_saved: bool = True  # in the sender's Sent Items

    def to_json(self) -> dict[str, object]:
        return {
            "sender": self.sender,
            "recipients": list(self.recipients),
            "subject": self.subject,
            "contentType": self.content_type,
            "content": self.content,
            "attachments": [{"name": name, "size": len(content)} for name, content in self.attachments],
            "internetMessageHeaders": [{"name": name, "value": value} for name, value in self.headers],
            "from": self.from_address or self.sender,
            "saveToSentItems": self.is_saved,
        }


def mail_of(body: Mapping[str, object], sender: str) -> Mail:
    """Return the mail that a sendMail request is about. Raises GraphError 400."""
    is_saved = _boolean(body, "saveToSentItems", default=True)
    message = fields_of(body.get("message"), MESSAGE, "message")
    content = fields_of(message.get("body"), ("contentType", "content"), "message.body")
    content_type = (text_of(content, "contentType") or "text").lower()
    if content_type not in ("text", "html"):
        raise misuse("contentType is not text or html.", code="ErrorInvalidRequest")
    _boolean(message, "isReadReceiptRequested", default=False)
    _boolean(message, "isDeliveryReceiptRequested", default=False)
    _check_flag(message)
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
        headers=tuple(_header(each) for each in _list(message, "internetMessageHeaders")),
        from_address=next((_address(message[name], name) for name in ("from", "sender") if message.get(name)), ""),
        is_saved=is_saved,
    )


def _addresses(message: Mapping[str, object], kind: str) -> list[str]:
    return [_address(each, kind) for each in _list(message, kind)]


def _address(value: object, kind: str) -> str:
    recipient = fields_of(value, ("emailAddress",), kind)
    address = text_of(fields_of(recipient.get("emailAddress"), ("address", "name"), "emailAddress"), "address")
    if not address or "@" not in address:
        raise GraphError(400, "ErrorInvalidRecipients", "At least one recipient is not valid.")
    return address


def _boolean(body: Mapping[str, object], name: str, *, default: bool) -> bool:
    """Return a boolean, which may be written as a text: Microsoft's own examples send "saveToSentItems": "false"."""
    value = body.get(name)
    if value is None:
        return default
    said = BOOLEANS.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(said, bool):
        raise misuse(f"{name} is not a boolean.", code="ErrorInvalidRequest")
    return said


def _check_flag(message: Mapping[str, object]) -> None:
    """https://learn.microsoft.com/graph/api/resources/followupflag"""
    if message.get("flag") is None:
        return
    flag = fields_of(message["flag"], FLAG, "flag")
    if flag.get("flagStatus") not in FLAG_STATUSES:
        raise misuse("flagStatus is not notFlagged, complete or flagged.", code="ErrorInvalidRequest")
    for name in FLAG[1:]:
        if flag.get(name) is not None:
            fields_of(flag[name], ("dateTime", "timeZone"), name)


def _header(value: object) -> tuple[str, str]:
    """https://learn.microsoft.com/graph/api/resources/internetmessageheader; Assumed: the code of the refusal."""
    header = fields_of(value, ("name", "value"), "internetMessageHeaders")
    name = text_of(header, "name") or ""
    if not name.lower().startswith("x-"):
        raise GraphError(
            400,
            "InvalidInternetMessageHeader",
            f"The internet message header name '{name}' should start with 'x-' or 'X-'.",
        )
    return name, text_of(header, "value") or ""


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
