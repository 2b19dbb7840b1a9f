"""Alerts as mails through the simulated Graph."""

import pytest

from local_cloud import faults
from shared.clients.alerts import Alert, MailAlerts
from shared.errors import AnswerLost, NeedsPerson, TryAgain
from tests.contract.simulated import FixedToken, SimulatedGraph

SENDER = "integration@contoso.com"
RECIPIENT = "it-operations@contoso.com"
ALERT = Alert(title="import, USMF_Größe 😀.zip: Failed", text="Line 1: ä\nLine 2: <b>&amp;</b>")


def alerts(graph: SimulatedGraph, *, sender: str = SENDER, recipient: str = RECIPIENT) -> MailAlerts:
    return MailAlerts(graph.url, sender, recipient, graph.http())


def test_an_alert_is_a_mail_in_plain_text(graph: SimulatedGraph) -> None:
    alerts(graph).send(ALERT)

    (mail,) = graph.mails
    assert (mail.sender, mail.recipients) == (SENDER, (RECIPIENT,))
    assert (mail.subject, mail.content_type, mail.content) == (ALERT.title, "text", ALERT.text)
    assert mail.attachments == ()


def test_an_alert_goes_to_everybody_who_is_named(graph: SimulatedGraph) -> None:
    alerts(graph, recipient="one@contoso.com; two@contoso.com,three@contoso.com").send(ALERT)

    (mail,) = graph.mails
    assert mail.recipients == ("one@contoso.com", "two@contoso.com", "three@contoso.com")


def test_a_subject_is_one_line(graph: SimulatedGraph) -> None:
    alerts(graph).send(Alert(title="a\r\nBcc: everyone@contoso.com", text=""))

    assert graph.mails[0].subject == "a Bcc: everyone@contoso.com"


def test_a_sender_whose_name_has_signs_is_found(graph: SimulatedGraph) -> None:
    alerts(graph, sender="o'brien+fo#1@contoso.com").send(ALERT)

    assert graph.mails[0].sender == "o'brien+fo#1@contoso.com"


def test_a_signed_in_user_sends_from_their_own_mailbox(graph: SimulatedGraph) -> None:
    token = graph.identity.desk.issue(graph.simulator.graph_url, app_id="app", user="ada@contoso.com")

    MailAlerts(graph.url, "", RECIPIENT, graph.http(FixedToken(token))).send(ALERT)

    assert graph.mails[0].sender == "ada@contoso.com"


def test_an_app_has_no_mailbox_of_its_own(graph: SimulatedGraph) -> None:
    with pytest.raises(NeedsPerson, match="mailbox"):
        alerts(graph, sender="").send(ALERT)

    assert graph.mails == []


def test_a_missing_permission_needs_a_person(graph: SimulatedGraph) -> None:
    graph.fault("POST", "/sendMail", faults.status(403, body={"error": {"code": "ErrorAccessDenied", "message": "no"}}))

    with pytest.raises(NeedsPerson, match=r"Mail\.Send"):
        alerts(graph).send(ALERT)


@pytest.mark.parametrize("fault", [faults.lost_after(), faults.status(504, handled=True)])
def test_an_alert_whose_sending_was_not_answered_is_not_sent_twice(graph: SimulatedGraph, fault: faults.Action) -> None:
    graph.fault("POST", "/sendMail", fault)

    with pytest.raises(AnswerLost):
        alerts(graph).send(ALERT)

    assert len(graph.mails) == 1


def test_a_throttled_alert_says_how_long_to_wait(graph: SimulatedGraph) -> None:
    graph.fault("POST", "/sendMail", faults.status(429, {"Retry-After": "17"}))

    with pytest.raises(TryAgain) as caught:
        alerts(graph).send(ALERT)

    assert caught.value.retry_after_s == 17
    assert graph.mails == []
