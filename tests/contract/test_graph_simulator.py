"""What the simulated Graph takes from clients that others wrote, and how its settings show libraries as they are.

Everything here is sent as an HTTP client would send it: the app's own client is not asked.
"""

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


def test_a_library_may_give_no_download_address_and_content_still_leads_there(
    graph: SimulatedGraph, folder: str
) -> None:
    graph.knobs.hide_download_url = True

    item = _put(graph, f"{folder}/a.zip")

    shown = [
        item,
        _item(graph, item["id"]),
        _item(graph, item["id"], "id,@microsoft.graph.downloadUrl"),
        *graph.call("GET", f"{graph.drive}/root:/{folder}:/children").json()["value"],
    ]
    assert [each for each in shown if "@microsoft.graph.downloadUrl" in each] == []
    redirect = graph.call("GET", f"{graph.drive}/items/{item['id']}/content")
    assert redirect.status_code == 302
    assert redirect.headers["Location"].startswith(graph.simulator.content_url)
    assert requests.get(redirect.headers["Location"], timeout=30).content == b"content"


def test_a_library_may_tell_a_wrong_size_with_the_right_hash(graph: SimulatedGraph, folder: str) -> None:
    right = _put(graph, f"{folder}/a.txt")
    graph.knobs.wrong_size = ("*.txt",)

    wrong = _item(graph, right["id"])

    assert wrong["size"] != right["size"]
    assert wrong["file"] == right["file"]
    (listed,) = graph.call("GET", f"{graph.drive}/root:/{folder}:/children").json()["value"]
    assert listed["size"] == wrong["size"]


def test_in_a_library_with_check_out_an_upload_stays_checked_out_to_the_app_until_it_is_checked_in(
    graph: SimulatedGraph, folder: str
) -> None:
    graph.knobs.requires_check_out = True
    item = _put(graph, f"{folder}/a.zip", app_id="the app")

    before = _item(graph, item["id"], "publication")["publication"]
    answer = graph.call(
        "POST",
        f"{graph.drive}/items/{item['id']}/checkin",
        json={"comment": "Delivered", "checkInAs": "published"},
        app_id="the app",
    )

    assert isinstance(before, dict)
    assert before["level"] == "checkout"
    assert before["checkedOutBy"]["application"]["id"] == "the app"
    assert answer.status_code == 204
    after = _item(graph, item["id"], "publication")["publication"]
    assert isinstance(after, dict)
    assert after["level"] == "published"
    assert "checkedOutBy" not in after


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


def test_a_file_that_a_person_has_checked_out_says_so_and_is_not_moved(graph: SimulatedGraph, folder: str) -> None:
    item = _put(graph, f"{folder}/a.zip")
    graph.knobs.checked_out = ("a.zip",)

    refused = graph.call("PATCH", f"{graph.drive}/items/{item['id']}", json={"name": "b.zip"})

    assert _refusal(refused) == (423, "notAllowed")
    publication = _item(graph, item["id"], "publication")["publication"]
    assert isinstance(publication, dict)
    assert publication["level"] == "checkout"
    assert "user" in publication["checkedOutBy"]


def test_what_is_not_checked_out_cannot_be_checked_in(graph: SimulatedGraph, folder: str) -> None:
    item = _put(graph, f"{folder}/a.zip")

    answer = graph.call("POST", f"{graph.drive}/items/{item['id']}/checkin", json={"comment": ""})

    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "The file is not checked out."


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


def test_the_settings_of_a_library_are_set_through_the_control_endpoint(graph: SimulatedGraph) -> None:
    settings = {
        "hide_download_url": True,
        "wrong_size": ["*.txt"],
        "requires_check_out": True,
        "checked_out": ["a.zip"],
    }

    answer = requests.post(f"{graph.simulator.graph_url}/_control/settings", json=settings, timeout=30)

    assert answer.status_code == 200
    assert {name: answer.json()[name] for name in settings} == settings
