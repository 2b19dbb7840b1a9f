"""What the simulated Graph takes from clients that others wrote, and how its settings show libraries as they are.

Everything here is sent as an HTTP client would send it: the app's own client is not asked.
"""

from datetime import UTC, datetime
from typing import Any, Final

import pytest
import requests

from tests.contract.simulated import SimulatedGraph

UNIT: Final = 320 * 1024  # bytes; chunks of an upload are multiples of it
CONFLICT: Final = "@microsoft.graph.conflictBehavior"


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


@pytest.mark.parametrize(("said", "is_saved"), [("false", False), ("true", True), ("False", False), (False, False)])
def test_save_to_sent_items_may_be_a_text_as_in_microsofts_example(
    graph: SimulatedGraph, said: object, is_saved: bool
) -> None:
    answer = _send(graph, _mail(), saveToSentItems=said)

    assert answer.status_code == 202
    (mail,) = graph.mails
    assert mail.is_saved is is_saved


def test_a_mail_may_carry_headers_of_its_own(graph: SimulatedGraph) -> None:
    headers = [
        {"name": "x-custom-header-group-name", "value": "Nevada"},
        {"name": "X-custom-header-group-id", "value": "NV001"},
    ]

    answer = _send(graph, _mail(internetMessageHeaders=headers))

    assert answer.status_code == 202
    (mail,) = graph.mails
    assert mail.headers == (("x-custom-header-group-name", "Nevada"), ("X-custom-header-group-id", "NV001"))


def test_a_header_that_is_not_ones_own_is_refused(graph: SimulatedGraph) -> None:
    answer = _send(graph, _mail(internetMessageHeaders=[{"name": "Received", "value": "x"}]))

    assert _refusal(answer) == (400, "InvalidInternetMessageHeader")


FOLLOW_UP: Final = {
    "flagStatus": "flagged",
    "startDateTime": {"dateTime": "2023-08-30T12:13:00", "timeZone": "Eastern Standard Time"},
    "dueDateTime": {"dateTime": "2023-09-01T17:00:00", "timeZone": "Eastern Standard Time"},
}


@pytest.mark.parametrize(
    "more",
    [
        {"flag": FOLLOW_UP},
        {"isReadReceiptRequested": True, "isDeliveryReceiptRequested": False},
        {"isReadReceiptRequested": "true"},
        {"categories": ["Red category"], "importance": "high"},
    ],
    ids=["flag", "receipts", "a receipt as a text", "categories"],
)
def test_a_mail_may_say_what_deployed_clients_say(graph: SimulatedGraph, more: dict[str, object]) -> None:
    assert _send(graph, _mail(**more)).status_code == 202
    assert len(graph.mails) == 1


def test_a_mail_may_come_from_another_address_than_the_senders(graph: SimulatedGraph) -> None:
    shared = {"emailAddress": {"address": "shared@contoso.com", "name": "Shared"}}

    answer = _send(graph, _mail(**{"from": shared}))

    assert answer.status_code == 202
    (mail,) = graph.mails
    assert (mail.sender, mail.from_address) == ("app@contoso.com", "shared@contoso.com")


@pytest.fixture
def small_tenant(graph: SimulatedGraph, monkeypatch: pytest.MonkeyPatch) -> SimulatedGraph:
    """Only one person is there."""
    api = graph.simulator._api
    assert api is not None
    monkeypatch.setattr(api, "_users", frozenset({"app@contoso.com"}))
    return graph


def test_a_sender_that_does_not_exist_is_an_invalid_user(small_tenant: SimulatedGraph) -> None:
    answer = _send(small_tenant, _mail(), sender="gone@contoso.com")

    assert _refusal(answer) == (404, "ErrorInvalidUser")
    assert "gone@contoso.com" in answer.json()["error"]["message"]
    assert small_tenant.mails == []


def test_a_mail_from_a_mailbox_that_does_not_exist_is_denied(small_tenant: SimulatedGraph) -> None:
    gone = {"emailAddress": {"address": "gone@contoso.com"}}

    assert _refusal(_send(small_tenant, _mail(**{"from": gone}))) == (403, "ErrorSendAsDenied")


def test_a_message_without_its_wrapper_stays_refused(graph: SimulatedGraph) -> None:
    answer = graph.call("POST", "users/app@contoso.com/sendMail", json=_mail())

    assert answer.status_code == 400
    graph.simulator.violations.clear()


# Upload sessions


def _session(graph: SimulatedGraph, path: str, body: object) -> Any:
    return graph.call("POST", f"{graph.drive}/root:/{path}:/createUploadSession", json=body)


def _chunk(url: str, content: bytes, content_range: str) -> requests.Response:
    return requests.put(url, data=content, headers={"Content-Range": f"bytes {content_range}"}, timeout=30)


def test_a_session_may_be_told_the_name_beside_the_item(graph: SimulatedGraph, folder: str) -> None:
    body = {"item": {CONFLICT: "rename"}, "deferCommit": False, "name": "a.zip"}

    session = _session(graph, f"{folder}/a.zip", body)

    assert session.status_code == 200
    assert _chunk(session.json()["uploadUrl"], b"abc", "0-2/3").json()["name"] == "a.zip"


def test_a_session_that_is_told_another_name_than_its_address_stays_refused(graph: SimulatedGraph, folder: str) -> None:
    assert _session(graph, f"{folder}/a.zip", {"name": "b.zip"}).status_code == 400
    graph.simulator.violations.clear()


def test_a_chunk_need_not_tell_the_size_of_the_whole(graph: SimulatedGraph, folder: str) -> None:
    url = _session(graph, f"{folder}/a.zip", {}).json()["uploadUrl"]

    first = _chunk(url, bytes(UNIT), f"0-{UNIT - 1}/*")
    last = _chunk(url, b"end", f"{UNIT}-{UNIT + 2}/{UNIT + 3}")

    assert (first.status_code, first.json()["nextExpectedRanges"]) == (202, [f"{UNIT}-"])
    assert (last.status_code, last.json()["size"]) == (201, UNIT + 3)


def test_a_session_of_unknown_size_ends_where_it_is_committed(graph: SimulatedGraph, folder: str) -> None:
    url = _session(graph, f"{folder}/a.zip", {"deferCommit": True}).json()["uploadUrl"]
    _chunk(url, bytes(UNIT), f"0-{UNIT - 1}/*")
    _chunk(url, b"end", f"{UNIT}-{UNIT + 2}/*")

    done = requests.post(url, timeout=30)

    assert (done.status_code, done.json()["size"]) == (201, UNIT + 3)


def test_a_session_that_knows_its_size_ends_with_it_though_no_chunk_tells_it(
    graph: SimulatedGraph, folder: str
) -> None:
    url = _session(graph, f"{folder}/a.zip", {"item": {"fileSize": UNIT + 3}}).json()["uploadUrl"]

    _chunk(url, bytes(UNIT), f"0-{UNIT - 1}/*")
    done = _chunk(url, b"end", f"{UNIT}-{UNIT + 2}/*")

    assert (done.status_code, done.json()["size"]) == (201, UNIT + 3)


@pytest.mark.parametrize("is_whole_path", [False, True], ids=["name in the body", "name in the address"])
def test_a_session_whose_name_was_taken_meanwhile_is_committed_by_put_under_another(
    graph: SimulatedGraph, folder: str, is_whole_path: bool
) -> None:
    url = _session(graph, f"{folder}/a.zip", {"item": {CONFLICT: "fail"}}).json()["uploadUrl"]
    _put(graph, f"{folder}/a.zip", b"another's")
    refused = _chunk(url, b"content", "0-6/7")

    body = {"name": "b.zip", CONFLICT: "fail", "@microsoft.graph.sourceUrl": url}
    address = f"{folder}/b.zip:" if is_whole_path else folder
    done = graph.call("PUT", f"{graph.drive}/root:/{address}", json=body)

    assert _refusal(refused) == (409, "nameAlreadyExists")
    assert (done.status_code, done.json()["name"]) == (201, "b.zip")
    assert graph.call("GET", f"{graph.drive}/root:/{folder}:/children").json()["value"][0]["size"] == len("another's")
    assert requests.get(url, timeout=30).status_code == 404


def test_a_commit_by_put_may_rename(graph: SimulatedGraph, folder: str) -> None:
    url = _session(graph, f"{folder}/a.zip", {"item": {CONFLICT: "fail"}}).json()["uploadUrl"]
    _put(graph, f"{folder}/a.zip", b"another's")
    _chunk(url, b"content", "0-6/7")

    body = {"name": "a.zip", CONFLICT: "rename", "@microsoft.graph.sourceUrl": url}
    done = graph.call("PUT", f"{graph.drive}/root:/{folder}", json=body)

    assert (done.status_code, done.json()["name"]) == (201, "a 1.zip")


def test_a_commit_of_what_is_no_session_of_ours_is_refused(graph: SimulatedGraph, folder: str) -> None:
    body = {"name": "b.zip", "@microsoft.graph.sourceUrl": "https://elsewhere.example/up?guid=1&tempauth=2"}

    assert graph.call("PUT", f"{graph.drive}/root:/{folder}", json=body).status_code == 400
    graph.simulator.violations.clear()


# Paths and addresses


def test_the_path_of_a_parent_is_percent_encoded(graph: SimulatedGraph, folder: str) -> None:
    item = _put(graph, f"{folder}/Gr%C3%B6%C3%9Fe%20100%25%20%231/a.zip")

    parent = item["parentReference"]

    assert isinstance(parent, dict)
    assert parent["path"] == f"/{graph.drive}/root:/{folder}/Gr%C3%B6%C3%9Fe%20100%25%20%231"
    assert parent["name"] == "Größe 100% #1"


def test_an_upload_by_path_makes_the_folders_that_are_missing(graph: SimulatedGraph, folder: str) -> None:
    small = _put(graph, f"{folder}/New/Sub/a.zip")
    url = _session(graph, f"{folder}/Other/Sub/b.zip", {}).json()["uploadUrl"]
    large = _chunk(url, b"content", "0-6/7").json()

    listed = graph.call("GET", f"{graph.drive}/root:/{folder}:/children").json()["value"]
    assert [(each["name"], "folder" in each) for each in listed] == [("New", True), ("Other", True)]
    assert graph.call("GET", f"{graph.drive}/root:/{folder}/new/sub/A.zip").json()["id"] == small["id"]
    assert graph.call("GET", f"{graph.drive}/root:/{folder}/Other/Sub/b.zip").json()["id"] == large["id"]


def test_only_an_upload_makes_folders(graph: SimulatedGraph, folder: str) -> None:
    assert _refusal(graph.call("GET", f"{graph.drive}/root:/{folder}/No/a.zip")) == (404, "itemNotFound")
    assert _refusal(graph.call("GET", f"{graph.drive}/root:/{folder}/No:/children")) == (404, "itemNotFound")


@pytest.mark.parametrize("owner", ["users/anna@contoso.com", "users/11111111-1111-1111-1111-111111111111"])
def test_a_drive_is_found_below_its_owner_by_its_id(graph: SimulatedGraph, folder: str, owner: str) -> None:
    drive = f"{owner}/{graph.drive}"

    assert graph.call("GET", drive).json()["id"] == graph.simulator.drive_id
    assert graph.call("GET", f"{drive}/root:/{folder}").json()["name"] == folder
    assert graph.call("GET", f"{owner}/drives/b!other").status_code == 404


def test_a_drive_is_nobodys_without_an_owner_or_an_id(graph: SimulatedGraph) -> None:
    assert graph.call("GET", "drive/root").status_code == 400
    graph.simulator.violations.clear()


# Queries


def test_of_a_drive_only_what_is_selected_is_shown(graph: SimulatedGraph) -> None:
    shown = graph.call("GET", f"{graph.drive}?$select=id,quota").json()

    assert sorted(shown) == ["@odata.context", "id", "quota"]


def test_a_property_that_a_drive_does_not_have_cannot_be_selected(graph: SimulatedGraph) -> None:
    answer = graph.call("GET", f"{graph.drive}?$select=size")

    assert _refusal(answer) == (400, "BadRequest")
    assert "'size' on type 'microsoft.graph.drive'" in answer.json()["error"]["message"]
    graph.simulator.violations.clear()


def _delta(graph: SimulatedGraph, query: str) -> str:
    """Return the address of the changes to a drive, from its root on."""
    return "/".join((graph.drive, "root", f"delta?{query}"))


def test_in_a_delta_only_what_is_selected_is_shown_and_what_is_gone_is_still_told(
    graph: SimulatedGraph, folder: str
) -> None:
    kept, gone = _put(graph, f"{folder}/a.zip"), _put(graph, f"{folder}/b.zip")
    latest = graph.call("GET", _delta(graph, "token=latest&$select=name")).json()["@odata.deltaLink"]
    graph.call("PATCH", f"{graph.drive}/items/{kept['id']}", json={"name": "c.zip"})
    graph.call("DELETE", f"{graph.drive}/items/{gone['id']}")

    changes = graph.call("GET", latest.removeprefix(f"{graph.url}/")).json()["value"]

    by_id = {each["id"]: each for each in changes}
    assert sorted(by_id[kept["id"]]) == ["@odata.type", "id", "name"]
    assert by_id[gone["id"]]["deleted"] == {"state": "deleted"}


def test_a_timestamp_is_as_good_as_a_token(graph: SimulatedGraph, folder: str) -> None:
    before = _put(graph, f"{folder}/before.zip")
    graph.clock.pass_by(5)
    moment = datetime.fromtimestamp(graph.clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    graph.clock.pass_by(5)
    after = _put(graph, f"{folder}/after.zip")

    answer = graph.call("GET", _delta(graph, f"token={moment.replace(':', '%3A')}"))

    assert answer.status_code == 200
    ids = [each["id"] for each in answer.json()["value"]]
    assert after["id"] in ids
    assert before["id"] not in ids
    assert "@odata.deltaLink" in answer.json()


def test_a_token_that_is_neither_ours_nor_a_timestamp_stays_refused(graph: SimulatedGraph) -> None:
    assert graph.call("GET", _delta(graph, "token=yesterday")).status_code == 400
    graph.simulator.violations.clear()


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        ("folder ne null", ["Sub"]),
        ("folder eq null", ["a.zip", "it's.zip"]),
        ("file ne null", ["a.zip", "it's.zip"]),
        ("name eq 'A.ZIP'", ["a.zip"]),
        ("file ne null and name eq 'it''s.zip'", ["it's.zip"]),
    ],
)
def test_a_listing_may_be_filtered(graph: SimulatedGraph, folder: str, condition: str, names: list[str]) -> None:
    _put(graph, f"{folder}/Sub/inside.zip")
    _put(graph, f"{folder}/a.zip")
    _put(graph, f"{folder}/it%27s.zip")

    answer = graph.call("GET", f"{graph.drive}/root:/{folder}:/children?$filter={condition}")

    assert [each["name"] for each in answer.json()["value"]] == names


def test_a_filter_holds_for_all_pages(graph: SimulatedGraph, folder: str) -> None:
    for name in ("a", "b", "c"):
        _put(graph, f"{folder}/{name}.zip")
        _put(graph, f"{folder}/{name}-folder/inside.zip")

    first = graph.call("GET", f"{graph.drive}/root:/{folder}:/children?$filter=folder ne null&$top=2").json()
    rest = graph.call("GET", first["@odata.nextLink"].removeprefix(f"{graph.url}/")).json()

    listed = [each["name"] for each in [*first["value"], *rest["value"]]]
    assert listed == ["a-folder", "b-folder", "c-folder"]
    assert "@odata.nextLink" not in rest


def test_a_filter_that_is_not_simulated_is_refused_and_not_ignored(graph: SimulatedGraph, folder: str) -> None:
    assert graph.call("GET", f"{graph.drive}/root:/{folder}:/children?$filter=size gt 5").status_code == 400
    graph.simulator.violations.clear()


@pytest.mark.parametrize("spelling", ["$expand=children($select=id,name)", "expand=children(select=id,name)"])
def test_a_folder_may_be_shown_with_its_children(graph: SimulatedGraph, folder: str, spelling: str) -> None:
    item = _put(graph, f"{folder}/a.zip")

    shown = graph.call("GET", f"{graph.drive}/root:/{folder}?{spelling}").json()

    assert shown["children"] == [{"id": item["id"], "name": "a.zip"}]


def test_thumbnails_may_be_asked_for_though_there_are_none(graph: SimulatedGraph, folder: str) -> None:
    _put(graph, f"{folder}/a.zip")

    (listed,) = graph.call("GET", f"{graph.drive}/root:/{folder}:/children?$expand=thumbnails").json()["value"]

    assert listed["thumbnails"] == []


def test_what_cannot_be_expanded_is_refused_and_not_ignored(graph: SimulatedGraph) -> None:
    assert graph.call("GET", f"{graph.drive}/root?$expand=permissions").status_code == 400
    graph.simulator.violations.clear()
