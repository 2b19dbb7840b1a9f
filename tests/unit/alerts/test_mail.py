"""Alerts: the mail that Graph is asked to send, what its refusals mean, and the log where no mail is set up."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from shared.alerts.alert import Alert, NotificationKind
from shared.alerts.channels import LogAlerts, MailAlerts
from shared.alerts.message import Message, Notification
from shared.clients.http.client import Http
from shared.errors import AnswerLost, AppError, NeedsPerson, TryAgain
from shared.log import LOGGER_NAME
from tests.unit.clients.scripted import Answer, GraphToken, Reset, Server, Step, sample

ALERT = Message(
    notifications=(
        Notification(
            alert=Alert(
                key="ended-1",
                title="USMF_a.zip was not\nimported",
                text="3 of 120 rows failed.\nSee USMF_a.errors.csv",
                since=datetime(2026, 3, 1, tzinfo=UTC),
            ),
            kind=NotificationKind.NEW,
        ),
    )
)


@contextmanager
def mail_through(
    server: Server, *, sender: str = "robot@contoso.com", recipient: str = "ops@contoso.com"
) -> Iterator[MailAlerts]:
    http = Http(service="Microsoft Graph", token=GraphToken(), request_id_header="request-id")
    try:
        yield MailAlerts(f"{server.url}/v1.0", sender, recipient, http)
    finally:
        http.close()


def error_from(step: Step) -> AppError:
    with Server(step) as server, mail_through(server) as alerts, pytest.raises(AppError) as caught:
        alerts.send(ALERT)
    return caught.value


def test_an_alert_is_a_plain_mail_that_is_not_kept() -> None:
    with Server(Answer(status=202)) as server, mail_through(server) as alerts:
        alerts.send(ALERT)
    assert server.requests_line_by_line() == ["POST /v1.0/users/robot@contoso.com/sendMail"]
    assert server.received[0].json() == {
        "message": {
            "subject": "USMF_a.zip was not imported",
            "body": {"contentType": "Text", "content": "3 of 120 rows failed.\nSee USMF_a.errors.csv"},
            "toRecipients": [{"emailAddress": {"address": "ops@contoso.com"}}],
        },
        "saveToSentItems": False,
    }


def test_without_a_sender_the_signed_in_user_sends() -> None:
    with Server(Answer(status=202)) as server, mail_through(server, sender="") as alerts:
        alerts.send(ALERT)
    assert server.requests_line_by_line() == ["POST /v1.0/me/sendMail"]


def test_an_alert_goes_to_each_recipient() -> None:
    with Server(Answer(status=202)) as server, mail_through(server, recipient="a@b.c; d@e.f,g@h.i;") as alerts:
        alerts.send(ALERT)
    recipients = server.received[0].json()["message"]["toRecipients"]
    assert [one["emailAddress"]["address"] for one in recipients] == ["a@b.c", "d@e.f", "g@h.i"]


@pytest.mark.parametrize(
    ("refusal", "hint"), [("error_mail_forbidden", "Mail.Send"), ("error_mailbox", "needs a mailbox")]
)
def test_a_mail_that_is_refused_needs_a_person(refusal: str, hint: str) -> None:
    error = error_from(sample(refusal))
    assert isinstance(error, NeedsPerson)
    assert hint in str(error)
    assert "robot@contoso.com" in str(error)


def test_a_mail_that_may_have_been_sent_is_not_sent_again() -> None:
    assert isinstance(error_from(Reset()), AnswerLost)


def test_a_throttled_mail_was_not_sent() -> None:
    assert type(error_from(sample("error_throttled"))) is TryAgain


def test_without_a_recipient_an_alert_is_an_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, LOGGER_NAME):
        LogAlerts().send(ALERT)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert json.loads(caplog.records[0].message) == {"event": "alert", "title": ALERT.title, "text": ALERT.text}
