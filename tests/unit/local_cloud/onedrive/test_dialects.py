"""What clients that others wrote say in another way than we do, and Graph takes too; docs/witnesses.md says whose."""

import pytest

from tests.unit.local_cloud.onedrive.changes import enumerate_changes
from tests.unit.local_cloud.onedrive.graph import DEADLINE_S, UNIT, Graph


@pytest.fixture(autouse=True)
def _one_file(graph: Graph) -> None:
    graph.put("Input/a.zip", b"content")
    assert graph.names_in("Input") == ["a.zip"]  # a delta shows what a scan or a listing has found


def test_query_options_may_be_without_a_dollar_sign(graph: Graph) -> None:
    plain = graph.get("root:/Input:/children?select=id,name&top=1&orderby=name").json()["value"]

    assert plain == graph.get("root:/Input:/children?$select=id,name&$top=1&$orderby=name").json()["value"]
    assert [sorted(each) for each in plain] == [["id", "name"]]
    assert graph.violations == []


def test_a_dot_in_a_path_is_where_one_is(graph: Graph) -> None:
    # As %2F, because requests takes /./ out by itself.
    by_dot = graph.get("root:/.%2FInput%2Fa.zip").json()

    assert by_dot["id"] == graph.item("Input/a.zip")["id"]


def test_the_roots_own_id_is_as_good_for_a_delta_as_the_word(graph: Graph) -> None:
    entries, _link = enumerate_changes(graph, f"items/{graph.item('')['id']}/delta")

    assert [each["name"] for each in entries] == ["root", "Input", "a.zip"]
    assert graph.get(f"items/{graph.item('Input')['id']}/delta").status_code == 501


@pytest.mark.parametrize("path", ["Input/a.zip", "Input"])
def test_what_is_gone_is_still_a_file_or_a_folder_in_the_delta(graph: Graph, path: str) -> None:
    before = graph.item(path)
    _entries, link = enumerate_changes(graph, "root/delta?token=latest")
    graph.call("DELETE", f"root:/{path}")

    gone = {each["id"]: each for each in enumerate_changes(graph, link)[0]}[before["id"]]

    assert {"file", "folder"} & gone.keys() == {"file", "folder"} & before.keys()


def test_a_delta_may_show_paths(graph: Graph) -> None:
    graph.knobs.delta_paths = True

    entries, _link = enumerate_changes(graph, "root/delta")

    assert entries[-1]["parentReference"]["path"].endswith("root:/Input")


def test_an_older_name_of_the_conflict_behaviour_counts_for_an_upload_session(graph: Graph) -> None:
    body = {"item": {"@name.conflictBehavior": "rename"}}
    session = graph.post("root:/Input/a.zip:/createUploadSession", body).json()

    done = graph.plain.put(
        session["uploadUrl"], data=b"x", headers={"Content-Range": "bytes 0-0/1"}, timeout=DEADLINE_S
    )

    assert (done.status_code, done.json()["name"]) == (201, "a 1.zip")


def test_what_a_copy_is_not_told_may_be_said_as_null(graph: Graph) -> None:
    body = {"name": "b.zip", "parentReference": None, "childrenOnly": None, "includeAllVersionHistory": None}

    assert graph.post("root:/Input/a.zip:/copy", body).status_code == 202
    assert graph.post("root:/Input:/copy", {"name": "C", "childrenOnly": True}).status_code == 400


def test_a_mail_may_be_told_in_capitals(graph: Graph) -> None:
    message = {
        "subject": "hello",
        "body": {"contentType": "text", "content": ""},
        "toRecipients": [{"emailAddress": {"address": "a@b.example"}}],
    }

    sent = graph.post("/users/a@b.example/sendMail", {"Message": message, "SaveToSentItems": False})

    assert sent.status_code == 202
    assert [mail.subject for mail in graph.simulator.mails] == ["hello"]


def test_needless_tokens_may_be_borne_as_they_were_once(graph: Graph) -> None:
    graph.knobs.takes_needless_tokens = True
    url = graph.open_session("b.zip")

    done = graph.call("PUT", url, data=bytes(UNIT), headers={"Content-Range": f"bytes 0-{UNIT - 1}/{UNIT}"})

    assert done.status_code == 201
    assert graph.violations == []
