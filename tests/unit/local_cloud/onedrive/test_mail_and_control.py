"""Mail (graph_onedrive §6.1) and the routes below /_control."""

import base64
from pathlib import Path

import pytest
import requests

from tests.unit.local_cloud.onedrive.graph import DEADLINE_S, Clock, Graph, code_of


def message(**changes: object) -> dict[str, object]:
    return {
        "message": {
            "subject": "Import failed",
            "body": {"contentType": "Text", "content": "What happened"},
            "toRecipients": [{"emailAddress": {"address": "ops@contoso.com"}}],
            **changes,
        },
        "saveToSentItems": False,
    }


def control(graph: Graph, method: str, path: str, body: object = None) -> requests.Response:
    return requests.request(method, f"{graph.simulator.graph_url}/_control/{path}", json=body, timeout=DEADLINE_S)


def test_a_mail_is_accepted_and_kept(graph: Graph) -> None:
    """§6.1: 202 and no body."""
    attachment = {
        "@odata.type": "#microsoft.graph.fileAttachment",
        "name": "log.txt",
        "contentType": "text/plain",
        "contentBytes": base64.b64encode(b"lines").decode(),
    }
    response = graph.post("/users/app@contoso.com/sendMail", message(attachments=[attachment]))
    assert (response.status_code, response.content) == (202, b"")
    (mail,) = graph.simulator.mails
    assert (mail.sender, mail.recipients, mail.subject) == ("app@contoso.com", ("ops@contoso.com",), "Import failed")
    assert (mail.content_type, mail.content, mail.attachments) == ("text", "What happened", (("log.txt", b"lines"),))
    (shown,) = control(graph, "GET", "mails").json()["mails"]
    assert shown["subject"] == "Import failed"
    assert graph.violations == []


def test_a_signed_in_person_sends_from_their_own_mailbox(graph: Graph) -> None:
    token = graph.desk.issue(graph.simulator.graph_url, app_id="the-app", user="anna@contoso.com")
    graph.post("/me/sendMail", message(), headers={"Authorization": f"Bearer {token}"})
    assert graph.simulator.mails[0].sender == "anna@contoso.com"
    assert graph.post("/me/sendMail", message()).status_code == 400


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (message(toRecipients=[]), "ErrorInvalidRecipients"),
        (message(toRecipients=[{"emailAddress": {"address": "nobody"}}]), "ErrorInvalidRecipients"),
        (message(body={"contentType": "Markdown", "content": ""}), "ErrorInvalidRequest"),
        (message(titel="x"), "BadRequest"),
        (message(attachments=[{"name": "x", "contentBytes": "eA=="}]), "BadRequest"),
        ({}, "BadRequest"),
    ],
)
def test_a_mail_that_cannot_be_sent_is_refused(graph: Graph, body: dict[str, object], code: str) -> None:
    response = graph.post("/users/app@contoso.com/sendMail", body)
    assert (response.status_code, code_of(response)) == (400, code)
    assert graph.simulator.mails == []


def test_people_who_are_not_there_are_not_found(tmp_path: Path, clock: Clock) -> None:
    graph = Graph(tmp_path / "OneDrive", clock, users=["anna@contoso.com"])
    graph.start()
    assert graph.get("/users/ANNA@contoso.com/drive").json()["id"] == "b!local"
    assert graph.get("/users/bert@contoso.com/drive").status_code == 404
    assert graph.post("/users/bert@contoso.com/sendMail", message()).status_code == 404
    graph.stop()


def test_settings_can_be_changed_from_outside(graph: Graph) -> None:
    response = control(graph, "POST", "settings", {"page_size": 1, "locked": {"*.zip": "resourceLocked"}})
    assert response.json()["page_size"] == 1
    assert graph.knobs.locked == {"*.zip": "resourceLocked"}
    assert control(graph, "GET", "settings").json()["listing_lag_s"] == 0.0


@pytest.mark.parametrize("body", [{"pagesize": 1}, {"page_size": 0}, {"page_size": "1"}, {"locked": {"a": "x"}}, []])
def test_a_setting_that_there_is_not_changes_nothing(graph: Graph, body: object) -> None:
    before = graph.knobs.to_json()
    assert control(graph, "POST", "settings", body).status_code == 400
    assert graph.knobs.to_json() == before


def test_what_happened_can_be_seen_from_outside(graph: Graph) -> None:
    graph.get("/nonsense")
    assert len(control(graph, "GET", "violations").json()["violations"]) == 1
    assert [call["path"] for call in control(graph, "GET", "calls").json()["calls"]] == ["/v1.0/nonsense"]
    assert control(graph, "GET", "subscriptions").json() == {"subscriptions": []}
    assert control(graph, "GET", "deliveries").json() == {"deliveries": []}
    assert control(graph, "DELETE", "mails").status_code == 204


def test_the_drive_tells_what_is_used(graph: Graph) -> None:
    graph.call("PUT", "root:/a.zip:/content", data=b"content")
    for path in ("/drives/b!local", "/users/anna/drive"):
        assert graph.get(path).json()["quota"]["used"] == 7
    assert [each["id"] for each in graph.get("/users/anna/drives").json()["value"]] == ["b!local"]


def test_a_simulator_can_be_stopped_and_started_again(graph: Graph) -> None:
    graph.put("a.zip", b"content")
    item_id = graph.item("a.zip")["id"]
    graph.simulator.stop()
    graph.start()
    assert graph.item("a.zip")["id"] == item_id
