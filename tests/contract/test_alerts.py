"""Alerts as mails through the simulated Graph, as cards of a Teams workflow, and as JSON at a webhook."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from local_cloud import faults
from local_cloud.faults import Action, Fault, FaultPlan
from local_cloud.receivers import CARD_LIMIT, SERVICE, Receivers, text_of
from shared.alerts.alert import NotificationKind
from shared.alerts.channels import Channel, MailAlerts, TeamsAlerts, WebhookAlerts, alerts_http
from shared.errors import AnswerLost, NeedsPerson, TryAgain
from shared.runs.values import FailedRow
from shared.secret import Secret, SecretUrl
from tests.alerts import BEGAN, a_message, an_alert
from tests.contract.simulated import FixedToken, SimulatedGraph

SENDER = "integration@contoso.com"
RECIPIENT = "it-operations@contoso.com"
KEY = f"whsec_{base64.b64encode(b'the key that signs, 32 bytes ...').decode()}"
SCHEMA = json.loads(Path(__file__).parents[2].joinpath("docs", "alert.schema.json").read_text("utf-8"))


def alerts(graph: SimulatedGraph, *, sender: str = SENDER, recipient: str = RECIPIENT) -> MailAlerts:
    return MailAlerts(graph.url, sender, recipient, graph.http())


class Posting:
    """The receivers, and the channels that lead to them."""

    def __init__(self) -> None:
        self.faults = FaultPlan()
        self.receivers = Receivers(self.faults, secret=KEY)
        self.http = alerts_http()

    @property
    def teams(self) -> TeamsAlerts:
        return TeamsAlerts(SecretUrl(self.receivers.teams_url), self.http)

    @property
    def webhook(self) -> WebhookAlerts:
        return self.webhook_with(KEY)

    def webhook_with(self, key: str) -> WebhookAlerts:
        receivers = self.receivers
        return WebhookAlerts(
            SecretUrl(receivers.webhook_url), Secret(key) if key else None, self.http, clock=receivers._clock
        )

    def fault(self, do: Action) -> None:
        self.faults.add(Fault(SERVICE, "POST", "", times=None, do=do))


@pytest.fixture
def posting() -> Iterator[Posting]:
    posting = Posting()
    posting.receivers.start()
    yield posting
    posting.receivers.stop()
    posting.http.close()


# Mail


def test_an_alert_is_a_mail_in_plain_text_to_everybody_who_is_named(graph: SimulatedGraph) -> None:
    alerts(graph).send(a_message())
    alerts(graph, recipient="one@contoso.com; two@contoso.com,three@contoso.com").send(a_message())

    mail, to_three = graph.mails
    assert (mail.sender, mail.recipients) == (SENDER, (RECIPIENT,))
    assert (mail.subject, mail.content_type) == (an_alert().title, "text")
    assert (mail.content, mail.attachments) == (a_message().text, ())
    assert to_three.recipients == ("one@contoso.com", "two@contoso.com", "three@contoso.com")


def test_a_signed_in_user_sends_from_their_own_mailbox_and_an_app_has_none(graph: SimulatedGraph) -> None:
    token = graph.identity.desk.issue(graph.simulator.graph_url, app_id="app", user="ada@contoso.com")

    MailAlerts(graph.url, "", RECIPIENT, graph.http(FixedToken(token))).send(a_message())
    with pytest.raises(NeedsPerson, match="mailbox"):
        alerts(graph, sender="").send(a_message())

    assert [mail.sender for mail in graph.mails] == ["ada@contoso.com"]


def test_a_missing_permission_needs_a_person(graph: SimulatedGraph) -> None:
    graph.fault("POST", "/sendMail", faults.status(403, body={"error": {"code": "ErrorAccessDenied", "message": "no"}}))

    with pytest.raises(NeedsPerson, match=r"Mail\.Send"):
        alerts(graph).send(a_message())


@pytest.mark.parametrize("fault", [faults.lost_after(), faults.status(504, handled=True)])
def test_an_alert_whose_sending_was_not_answered_is_not_sent_twice(graph: SimulatedGraph, fault: faults.Action) -> None:
    graph.fault("POST", "/sendMail", fault)

    with pytest.raises(AnswerLost):
        alerts(graph).send(a_message())

    assert len(graph.mails) == 1


# Teams


def test_an_alert_is_an_adaptive_card_with_buttons(posting: Posting) -> None:
    posting.teams.send(a_message())

    (card,) = posting.receivers.cards
    assert text_of(card).splitlines() == [
        "import, USMF_Größe 😀.zip: Failed",
        an_alert().text,
        "File: USMF_Größe 😀.zip",
        "Company: USMF",
        "Data project: Asset-Major-Types",
        "Outcome: Failed",
        "Execution id: Asset-Major-Types-20260301T120000-0123456789ab",
        "Run id: 0a1b2c3d4e5f",
        "Row errors (7, the first 1):",
        "000047  MAJORTYPE  The value '<b>[x](https://evil.example)' is not found",
        "[The run, step by step] https://fo.contoso.com/api/runs/1772366400000-0a1b2c3d4e5f",
        "[F&O] https://contoso.operations.dynamics.com/?mi=DMFExecutionSummary",
        "[The report in OneDrive] https://contoso-my.sharepoint.com/report.txt",
    ]


def test_what_strangers_wrote_is_never_read_as_markdown_on_a_card(posting: Posting) -> None:
    posting.teams.send(a_message())

    (card,) = posting.receivers.cards
    assert {block["type"] for block in card["body"]} == {"RichTextBlock"}  # whose text runs know no Markdown


@pytest.mark.parametrize(
    "alert",
    [
        an_alert(text="ä" * 100_000),
        an_alert(rows=(FailedRow(record_id="😀" * 400, field="x", message="y" * 5_000),) * 5),
        an_alert(title="t" * 30_000, text="😀" * 30_000),
        an_alert(fo_url="https://contoso.operations.dynamics.com/?" + "x" * 50_000),
    ],
    ids=["a long text", "long rows", "long everything", "a long link"],
)
def test_a_card_that_teams_would_not_take_is_cut_and_says_so_where_something_is_missing(
    posting: Posting, alert: object
) -> None:
    posting.teams.send(a_message(alert))  # type: ignore[arg-type]

    (card,) = posting.receivers.cards
    assert len(json.dumps(card, ensure_ascii=False).encode()) < CARD_LIMIT
    assert an_alert().file_name in text_of(card)  # what it is about is still there
    assert "…" in text_of(card) or "cut off" in text_of(card) or "x" * 100 not in text_of(card)


def test_a_storm_is_one_card_that_lists_its_alerts_and_says_what_was_cut_off(posting: Posting) -> None:
    storm = [an_alert(key=f"ended-{n}", title=f"import, USMF_{n}.zip: Failed", text="é" * 500) for n in range(300)]

    posting.teams.send(a_message(*storm))

    (card,) = posting.receivers.cards
    lines = text_of(card).splitlines()
    assert lines[0] == "300 alerts: 300 new"
    assert lines[1].startswith("import, USMF_0.zip: Failed: éé")
    assert lines[-2].startswith("The rest was cut off")
    assert lines[-1] == "[All runs] https://fo.contoso.com/api/runs"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_workflow_that_is_gone_or_switched_off_needs_a_person_who_reads_no_key(posting: Posting, status: int) -> None:
    posting.fault(faults.status(status, body={"error": {"code": "WorkflowTriggerIsNotEnabled", "message": "off"}}))

    with pytest.raises(NeedsPerson, match="ALERT_TEAMS_URL") as caught:
        posting.teams.send(a_message())

    assert "signature" not in str(caught.value)
    assert posting.receivers.cards == []


@pytest.mark.parametrize("fault", [faults.status(429), faults.status(502), faults.reset_before()])
def test_teams_that_is_away_is_tried_again(posting: Posting, fault: Action) -> None:
    posting.fault(fault)

    with pytest.raises(TryAgain):
        posting.teams.send(a_message())


# Webhook


@pytest.mark.parametrize("word", NotificationKind)
def test_an_alert_is_json_as_the_schema_says(posting: Posting, word: NotificationKind) -> None:
    over = BEGAN if word is NotificationKind.RESOLVED else None
    posting.webhook.send(a_message(an_alert(resolved=over), kind=word))

    (delivery,) = posting.receivers.deliveries
    assert list(Draft202012Validator(SCHEMA).iter_errors(delivery.content)) == []
    (alert,) = delivery.content["alerts"]
    assert (alert["word"], alert["file"], alert["company"]) == (word.value, "USMF_Größe 😀.zip", "USMF")
    assert alert["rowErrors"][0]["recordId"] == "000047"
    assert alert["links"]["run"] == an_alert().run_url


def test_the_schema_names_every_field(posting: Posting) -> None:
    Draft202012Validator.check_schema(SCHEMA)
    posting.webhook.send(a_message())

    (delivery,) = posting.receivers.deliveries
    assert set(delivery.content) == set(SCHEMA["properties"])
    assert set(delivery.content["alerts"][0]) == set(SCHEMA["$defs"]["alert"]["properties"])
    assert all("description" in each for each in SCHEMA["$defs"]["alert"]["properties"].values())


def test_a_receiver_can_check_that_an_alert_is_ours_and_whole(posting: Posting) -> None:
    posting.webhook.send(a_message())
    other_key = base64.b64encode(b"another key, as long as it should").decode()

    with pytest.raises(NeedsPerson, match="ALERT_WEBHOOK_URL"):
        posting.webhook_with(other_key).send(a_message())
    with pytest.raises(NeedsPerson):
        posting.webhook_with("").send(a_message())

    (delivery,) = posting.receivers.deliveries
    assert delivery.is_signed


def test_an_alert_that_is_sent_again_has_the_same_id_and_another_word_has_another(posting: Posting) -> None:
    for word in (NotificationKind.NEW, NotificationKind.NEW, NotificationKind.RESOLVED):
        posting.webhook.send(a_message(kind=word))

    first, again, over = [delivery.message_id for delivery in posting.receivers.deliveries]
    assert first == again != over
    assert [delivery.content["id"] for delivery in posting.receivers.deliveries] == [first, again, over]


def test_channels_are_told_apart_by_names_that_show_no_address(posting: Posting, graph: SimulatedGraph) -> None:
    channels: list[Channel] = [posting.teams, posting.webhook, alerts(graph), alerts(graph, recipient="x@contoso.com")]

    names = [channel.name for channel in channels]
    assert len(set(names)) == 4
    assert [name.partition("-")[0] for name in names] == ["teams", "webhook", "mail", "mail"]
    assert not any("contoso" in name or "key" in name for name in names)
