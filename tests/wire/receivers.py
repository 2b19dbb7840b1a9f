"""The addresses that alerts are posted to: a Teams workflow, and a webhook of the person's own."""

import re
from typing import Final

from tests.wire.endpoints import OPAQUE, Endpoint, Proof, Service
from tests.wire.shapes import (
    ADDRESS,
    DIGITS,
    FILLED,
    FLAG,
    MOMENT,
    NULL,
    OBJECT,
    TEXT,
    WHOLE,
    Fields,
    Scalar,
    Several,
    content_type,
    maybe,
    one_of,
)

_JSON: Final = {"content-type": content_type("application/json")}
_RUN: Final = Fields(
    required={"type": one_of("TextRun"), "text": TEXT},
    optional={"size": FILLED, "weight": FILLED, "color": FILLED, "isSubtle": FLAG, "fontType": FILLED},
)
_CARD: Final = Fields(
    required={
        "$schema": one_of("http://adaptivecards.io/schemas/adaptive-card.json"),
        "type": one_of("AdaptiveCard"),
        "version": one_of("1.4"),
        "body": Several(Fields(required={"type": one_of("RichTextBlock"), "inlines": Several(_RUN)})),
    },
    optional={
        "actions": Several(Fields(required={"type": one_of("Action.OpenUrl"), "title": FILLED, "url": ADDRESS})),
        "msteams": OBJECT,
    },
)
_ATTACHMENT: Final = Fields(
    required={
        "contentType": one_of("application/vnd.microsoft.card.adaptive"),
        "contentUrl": NULL,
        "content": _CARD,
    }
)
_ROW: Final = Fields(required={"recordId": TEXT, "field": TEXT, "message": TEXT})
_ALERT: Final = Fields(
    required={
        "key": FILLED,
        "word": one_of("new", "reminder", "over"),
        "title": FILLED,
        "text": TEXT,
        "since": MOMENT,
        "over": maybe(MOMENT),
        "flow": TEXT,
        "integration": TEXT,
        "file": TEXT,
        "company": TEXT,
        "dataProject": TEXT,
        "executionId": TEXT,
        "outcome": TEXT,
        "runId": TEXT,
        "rowErrors": Several(_ROW),
        "rowErrorsTotal": WHOLE,
        "links": Fields(required={"run": TEXT, "financeOperations": TEXT, "report": TEXT, "file": TEXT}),
    }
)
_SIGNATURE: Final = Scalar(
    "v1 and an HMAC-SHA256 in base64", lambda value: bool(re.fullmatch(r"v1,[A-Za-z0-9+/]{43}=", str(value)))
)

ENDPOINTS: Final = (
    Endpoint(
        service=Service.RECEIVERS,
        operation="post to Teams",
        method="POST",
        path=OPAQUE,
        proof=Proof.NONE,
        when="When a person must act, if ALERT_TEAMS_URL or a flow's alertTeamsUrl is set.",
        permission="none: whoever has the workflow's address may post",
        repeatable="no: it would be posted twice",
        source="https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using",
        more_sources=("https://adaptivecards.io/explorer/AdaptiveCard.html",),
        headers=_JSON,
        body=Fields(required={"type": one_of("message"), "attachments": Several(_ATTACHMENT)}),
        answers={202: None},
        refusals=frozenset({400, 401, 403, 404, 413, 429, 500, 502, 503}),
    ),
    Endpoint(
        service=Service.RECEIVERS,
        operation="post to the webhook",
        method="POST",
        path=OPAQUE,
        proof=Proof.NONE,
        when="The same, if ALERT_WEBHOOK_URL or a flow's alertWebhookUrl is set.",
        permission="what stands in the address; the receiver checks the signature",
        repeatable="yes: webhook-id says that it is the same message",
        source="https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md",
        headers={**_JSON, "webhook-id": FILLED, "webhook-timestamp": DIGITS},
        optional_headers={"webhook-signature": _SIGNATURE},
        body=Fields(
            required={"format": WHOLE, "id": FILLED, "title": FILLED, "alerts": Several(_ALERT)},
        ),
        answers={200: None, 204: None},
        refusals=frozenset({400, 401, 403, 404, 413, 429, 500, 502, 503}),
    ),
)
