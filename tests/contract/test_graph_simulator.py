"""What the simulated Graph takes from clients that others wrote, and how its settings show libraries as they are.

Everything here is sent as an HTTP client would send it: the app's own client is not asked.
"""

from typing import Any

import pytest
import requests

from tests.contract.simulated import SimulatedGraph


def _put(graph: SimulatedGraph, path: str, content: bytes = b"content", *, app_id: str = "an app") -> dict[str, object]:
    answer = graph.call("PUT", f"{graph.drive}/root:/{path}:/content", data=content, app_id=app_id)
    assert answer.status_code in (200, 201), answer.text
    item: dict[str, object] = answer.json()
    return item


def _item(graph: SimulatedGraph, item_id: object, select: str = "") -> dict[str, object]:
    query = f"?$select={select}" if select else ""
    item: dict[str, object] = graph.call("GET", f"{graph.drive}/items/{item_id}{query}").json()
    return item


def _refusal(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


@pytest.fixture
def folder(graph: SimulatedGraph) -> str:
    """The name of an empty folder of the test's own."""
    return graph.own_folder(graph.onedrive()).name


# Libraries as they are


def test_publication_is_shown_only_where_it_is_selected(graph: SimulatedGraph, folder: str) -> None:
    item = _put(graph, f"{folder}/a.zip")

    assert "publication" not in _item(graph, item["id"])
    assert "publication" in _item(graph, item["id"], "id,publication")


def test_a_file_that_somebody_else_has_checked_out_is_neither_moved_nor_replaced_nor_deleted(
    graph: SimulatedGraph, folder: str
) -> None:
    graph.knobs.requires_check_out = True
    item = _put(graph, f"{folder}/a.zip", app_id="another app")
    address = f"{graph.drive}/items/{item['id']}"

    refused = [
        graph.call("PATCH", address, json={"name": "b.zip"}, app_id="the app"),
        graph.call("PUT", f"{address}/content", data=b"new", app_id="the app"),
        graph.call("DELETE", address, app_id="the app"),
        graph.call("POST", f"{address}/checkin", json={}, app_id="the app"),
    ]

    assert [_refusal(each) for each in refused] == [(423, "notAllowed")] * 4
    assert graph.call("PATCH", address, json={"name": "b.zip"}, app_id="another app").status_code == 200


def test_a_session_in_a_library_with_check_out_leaves_its_file_checked_out_too(
    graph: SimulatedGraph, folder: str
) -> None:
    graph.knobs.requires_check_out = True
    session = graph.call("POST", f"{graph.drive}/root:/{folder}/a.zip:/createUploadSession", json={}, app_id="the app")

    item = requests.put(
        session.json()["uploadUrl"], data=b"content", headers={"Content-Range": "bytes 0-6/7"}, timeout=30
    ).json()

    publication = _item(graph, item["id"], "publication")["publication"]
    assert isinstance(publication, dict)
    assert publication["level"] == "checkout"


# Mail


def _mail(**more: object) -> dict[str, object]:
    """Return Microsoft's own example of a mail. https://learn.microsoft.com/graph/api/user-sendmail#examples"""
    return {
        "subject": "Meet for lunch?",
        "body": {"contentType": "Text", "content": "The new cafeteria is open."},
        "toRecipients": [{"emailAddress": {"address": "frannis@contoso.com"}}],
        "ccRecipients": [{"emailAddress": {"address": "danas@contoso.com"}}],
        **more,
    }


def _send(graph: SimulatedGraph, message: object, *, sender: str = "app@contoso.com", **more: object) -> Any:
    return graph.call("POST", f"users/{sender}/sendMail", json={"message": message, **more})


def test_a_header_that_is_not_ones_own_is_refused(graph: SimulatedGraph) -> None:
    answer = _send(graph, _mail(internetMessageHeaders=[{"name": "Received", "value": "x"}]))

    assert _refusal(answer) == (400, "InvalidInternetMessageHeader")


def test_a_message_without_its_wrapper_stays_refused(graph: SimulatedGraph) -> None:
    answer = graph.call("POST", "users/app@contoso.com/sendMail", json=_mail())

    assert answer.status_code == 400
    graph.simulator.violations.clear()


# Upload sessions


def _session(graph: SimulatedGraph, path: str, body: object) -> Any:
    return graph.call("POST", f"{graph.drive}/root:/{path}:/createUploadSession", json=body)


def test_a_session_that_is_told_another_name_than_its_address_stays_refused(graph: SimulatedGraph, folder: str) -> None:
    assert _session(graph, f"{folder}/a.zip", {"name": "b.zip"}).status_code == 400
    graph.simulator.violations.clear()


def test_a_commit_of_what_is_no_session_of_ours_is_refused(graph: SimulatedGraph, folder: str) -> None:
    body = {"name": "b.zip", "@microsoft.graph.sourceUrl": "https://elsewhere.example/up?guid=1&tempauth=2"}

    assert graph.call("PUT", f"{graph.drive}/root:/{folder}", json=body).status_code == 400
    graph.simulator.violations.clear()


# Paths and addresses


def test_only_an_upload_makes_folders(graph: SimulatedGraph, folder: str) -> None:
    assert _refusal(graph.call("GET", f"{graph.drive}/root:/{folder}/No/a.zip")) == (404, "itemNotFound")
    assert _refusal(graph.call("GET", f"{graph.drive}/root:/{folder}/No:/children")) == (404, "itemNotFound")


def test_a_drive_is_nobodys_without_an_owner_or_an_id(graph: SimulatedGraph) -> None:
    assert graph.call("GET", "drive/root").status_code == 400
    graph.simulator.violations.clear()


# Queries


def test_a_property_that_a_drive_does_not_have_cannot_be_selected(graph: SimulatedGraph) -> None:
    answer = graph.call("GET", f"{graph.drive}?$select=size")

    assert _refusal(answer) == (400, "BadRequest")
    assert "'size' on type 'microsoft.graph.drive'" in answer.json()["error"]["message"]
    graph.simulator.violations.clear()


def _delta(graph: SimulatedGraph, query: str) -> str:
    """Return the address of the changes to a drive, from its root on."""
    return "/".join((graph.drive, "root", f"delta?{query}"))


def test_a_token_that_is_neither_ours_nor_a_timestamp_stays_refused(graph: SimulatedGraph) -> None:
    assert graph.call("GET", _delta(graph, "token=yesterday")).status_code == 400
    graph.simulator.violations.clear()


def test_a_filter_that_is_not_simulated_is_refused_and_not_ignored(graph: SimulatedGraph, folder: str) -> None:
    assert graph.call("GET", f"{graph.drive}/root:/{folder}:/children?$filter=size gt 5").status_code == 400
    graph.simulator.violations.clear()


def test_what_cannot_be_expanded_is_refused_and_not_ignored(graph: SimulatedGraph) -> None:
    assert graph.call("GET", f"{graph.drive}/root?$expand=permissions").status_code == 400
    graph.simulator.violations.clear()
