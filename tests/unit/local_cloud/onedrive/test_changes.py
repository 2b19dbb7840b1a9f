"""Moving, renaming, deleting and making folders: graph_onedrive §3.5, §3.7, §3.10, §3.12."""

import pytest

from tests.unit.local_cloud.onedrive.graph import Graph, code_of


def test_a_move_with_the_tag_of_the_listing_succeeds_once(graph: Graph) -> None:
    """§3.5: If-Match on the eTag; 412 once the item has changed."""
    graph.put("Input/a.zip", b"content")
    done = graph.folder_id("Done")
    (item,) = graph.get("root:/Input:/children").json()["value"]
    change = {"parentReference": {"id": done}}
    assert graph.patch(f"items/{item['id']}", change, headers={"If-Match": item["eTag"]}).status_code == 200
    again = graph.patch(f"items/{item['id']}", change, headers={"If-Match": item["eTag"]})
    assert (again.status_code, code_of(again)) == (412, "resourceModified")


def test_a_move_is_refused_when_the_file_was_changed_by_hand_since(graph: Graph) -> None:
    graph.put("Input/a.zip", b"half of it")
    item, done = graph.item("Input/a.zip"), graph.folder_id("Done")
    graph.put("Input/a.zip", b"half of it, and the rest")
    response = graph.patch(f"items/{item['id']}", {"parentReference": {"id": done}}, headers={"If-Match": item["eTag"]})
    assert response.status_code == 412
    assert graph.names_in("Input") == ["a.zip"]


def test_if_match_takes_the_ctag_too_which_a_rename_leaves(graph: Graph) -> None:
    """§3.5: eTag or cTag; §3.10: a rename changes only the eTag."""
    graph.put("a.zip", b"content")
    item = graph.item("a.zip")
    graph.patch(f"items/{item['id']}", {"name": "b.zip"})
    assert graph.patch(f"items/{item['id']}", {"name": "c.zip"}, headers={"If-Match": item["eTag"]}).status_code == 412
    assert graph.patch(f"items/{item['id']}", {"name": "c.zip"}, headers={"If-Match": item["cTag"]}).status_code == 200


def test_a_tag_without_its_quotes_is_a_violation(graph: Graph) -> None:
    """§3.10: quotes are part of the value."""
    graph.put("a.zip", b"content")
    item = graph.item("a.zip")
    response = graph.patch(f"items/{item['id']}", {"name": "b.zip"}, headers={"If-Match": item["eTag"].strip('"')})
    assert response.status_code == 400
    assert len(graph.violations) == 1


@pytest.mark.parametrize("name", ["taken.zip", "TAKEN.zip"])
def test_a_name_that_is_taken_is_a_conflict(graph: Graph, name: str) -> None:
    """§3.5: 409 nameAlreadyExists, whatever the case; the target stays as it was."""
    graph.put("Input/a.zip", b"mine")
    graph.put("Done/taken.zip", b"another's")
    change = {"parentReference": {"id": graph.item("Done")["id"]}, "name": name}
    response = graph.patch("root:/Input/a.zip", change)
    assert (response.status_code, code_of(response)) == (409, "nameAlreadyExists")
    assert (graph.folder / "Done/taken.zip").read_bytes() == b"another's"
    assert graph.violations == []


def test_a_name_may_change_its_case(graph: Graph) -> None:
    graph.put("a.zip", b"content")
    assert graph.patch("root:/a.zip", {"name": "A.ZIP"}).status_code == 200
    assert graph.names_in("") == ["A.ZIP"]


def test_the_alias_root_is_no_target_of_a_move(graph: Graph) -> None:
    """§3.5: the target must be a real folder id."""
    graph.put("Input/a.zip", b"content")
    assert graph.patch("root:/Input/a.zip", {"parentReference": {"id": "root"}}).status_code == 400
    assert len(graph.violations) == 1
    root_id = graph.item("")["id"]
    assert graph.patch("root:/Input/a.zip", {"parentReference": {"id": root_id}}).status_code == 200
    assert graph.names_in("") == ["a.zip", "Input"]


def test_a_move_to_another_drive_is_refused(graph: Graph) -> None:
    """§3.5: cross-drive move unsupported."""
    graph.put("a.zip", b"content")
    change = {"parentReference": {"id": graph.folder_id("Done"), "driveId": "b!other"}}
    assert graph.patch("root:/a.zip", change).status_code == 400


def test_a_move_into_a_folder_that_is_gone_is_not_found(graph: Graph) -> None:
    graph.put("a.zip", b"content")
    folder_id = graph.folder_id("Done")
    (graph.folder / "Done").rmdir()
    assert graph.patch("root:/a.zip", {"parentReference": {"id": folder_id}}).status_code == 404


def test_a_folder_cannot_be_moved_into_itself(graph: Graph) -> None:
    inner = graph.folder_id("outer/inner")
    assert graph.patch("root:/outer", {"parentReference": {"id": inner}}).status_code == 400


def test_a_moved_folder_takes_its_files_along(graph: Graph) -> None:
    graph.put("outer/inner/a.zip", b"content")
    item_id, target = graph.item("outer/inner/a.zip")["id"], graph.folder_id("Done")
    graph.patch("root:/outer/inner", {"parentReference": {"id": target}})
    assert graph.item("Done/inner/a.zip")["id"] == item_id


def test_what_is_unknown_in_a_change_is_a_violation(graph: Graph) -> None:
    """§3.5: conflictBehavior on PATCH is undocumented and unreliable, so nothing may rest on it."""
    graph.put("a.zip", b"content")
    change = {"name": "b.zip", "@microsoft.graph.conflictBehavior": "replace"}
    assert graph.patch("root:/a.zip", change).status_code == 400
    assert len(graph.violations) == 1


def test_times_can_be_set(graph: Graph) -> None:
    """§3.5: fileSystemInfo may be sent along."""
    graph.put("a.zip", b"content")
    change = {"fileSystemInfo": {"lastModifiedDateTime": "2023-11-14T22:13:20.5000000Z"}}
    assert graph.patch("root:/a.zip", change).json()["lastModifiedDateTime"] == "2023-11-14T22:13:20Z"
    assert (graph.folder / "a.zip").stat().st_mtime == 1_700_000_000.5


@pytest.mark.parametrize(
    ("shape", "code", "inner"),
    [
        ("resourceLocked", "resourceLocked", None),
        ("accessDenied", "accessDenied", "resourceLocked"),
        ("notAllowed", "notAllowed", "resourceCheckedOut"),
    ],
)
def test_a_file_that_someone_has_open_is_locked(graph: Graph, shape: str, code: str, inner: str | None) -> None:
    """§3.5, §8 #44: 423 in three shapes."""
    graph.put("Report.zip", b"content")
    graph.knobs.locked = {"report*": shape}
    for response in (
        graph.patch("root:/Report.zip", {"name": "b.zip"}),
        graph.call("DELETE", "root:/Report.zip"),
        graph.call("PUT", "root:/Report.zip:/content", data=b"new"),
    ):
        assert (response.status_code, code_of(response)) == (423, code)
        assert response.json()["error"]["innerError"].get("code") == inner
    graph.knobs.locked = {}
    assert graph.patch("root:/Report.zip", {"name": "b.zip"}).status_code == 200


def test_delete_minds_if_match(graph: Graph) -> None:
    """§3.7: 204; If-Match gives 412."""
    graph.put("a.zip", b"content")
    old = graph.item("a.zip")["eTag"]
    graph.put("a.zip", b"new content")
    assert graph.call("DELETE", "root:/a.zip", headers={"If-Match": old}).status_code == 412
    assert graph.call("DELETE", "root:/a.zip").status_code == 204
    assert graph.call("DELETE", "root:/a.zip").status_code == 404


def test_the_root_can_be_neither_deleted_nor_renamed(graph: Graph) -> None:
    assert graph.call("DELETE", "root").status_code == 400
    assert graph.patch("root", {"name": "other"}).status_code == 400


def test_a_folder_is_made_once(graph: Graph) -> None:
    """§3.7: 201; a clash is 409, and then GET by path finds it."""
    body = {"name": "Done", "folder": {}, "@microsoft.graph.conflictBehavior": "fail"}
    made = graph.post("root/children", body)
    assert (made.status_code, made.json()["folder"]) == (201, {"childCount": 0})
    assert (graph.folder / "Done").is_dir()
    again = graph.post("root/children", body)
    assert (again.status_code, code_of(again)) == (409, "nameAlreadyExists")
    assert graph.item("Done")["id"] == made.json()["id"]


def test_a_folder_that_exists_can_be_asked_for_under_another_name_or_as_it_is(graph: Graph) -> None:
    """§3.7: rename appends a number, replace returns the existing one."""
    folder_id = graph.folder_id("Done")
    renamed = graph.post("root/children", {"name": "done", "folder": {}, "@microsoft.graph.conflictBehavior": "rename"})
    assert (renamed.status_code, renamed.json()["name"]) == (201, "done 1")
    same = graph.post("root/children", {"name": "Done", "folder": {}, "@microsoft.graph.conflictBehavior": "replace"})
    assert (same.status_code, same.json()["id"]) == (200, folder_id)


def test_a_file_on_hold_is_not_changed_and_the_others_are(graph: Graph) -> None:
    """A hold or a label as a record: https://github.com/abraunegg/onedrive/issues/338."""
    graph.put("held.zip", b"content")
    graph.put("other.zip", b"content")
    done = graph.folder_id("Done")
    graph.knobs.held = ["HELD*"]

    for method, path, body in (
        ("PATCH", "root:/held.zip", {"parentReference": {"id": done}}),
        ("DELETE", "root:/held.zip", None),
    ):
        response = graph.call(method, path, json=body)
        assert (response.status_code, code_of(response)) == (403, "accessDenied")
        assert "it's possible that it's on hold" in response.json()["error"]["message"]
    assert graph.call("PUT", "root:/held.zip:/content", data=b"other").status_code == 403
    assert graph.patch("root:/other.zip", {"parentReference": {"id": done}}).status_code == 200
    assert graph.names_in("") == ["Done", "held.zip"]
    assert graph.violations == []


def test_a_library_with_a_required_column_takes_and_moves_no_file(graph: Graph) -> None:
    """SharePoint/sp-dev-docs#10819, OneDrive/onedrive-api-docs#1038, microsoftgraph/msgraph-sdk-dotnet#2363."""
    graph.put("a.zip", b"content")
    done = graph.folder_id("Done")
    graph.knobs.required_columns = True

    moved = graph.patch("root:/a.zip", {"parentReference": {"id": done}})
    opened = graph.post("root:/b.zip:/createUploadSession", {"item": {"name": "b.zip"}})
    put = graph.call("PUT", "root:/c.zip:/content", data=b"content")

    assert (moved.status_code, moved.json()["error"]["message"]) == (400, "List data validation failed.")
    assert (opened.status_code, code_of(opened)) == (400, "invalidRequest")
    assert (put.status_code, code_of(put)) == (500, "generalException")
    assert graph.names_in("") == ["a.zip", "Done"]
    graph.knobs.required_columns = False
    assert graph.patch("root:/a.zip", {"parentReference": {"id": done}}).status_code == 200
    assert graph.violations == []


def test_a_site_that_is_locked_lists_nothing(graph: Graph) -> None:
    """An archived or read-only site: https://github.com/microsoftgraph/microsoft-graph-docs-contrib/issues/7121."""
    graph.put("a.zip", b"content")
    graph.knobs.site_is_locked = True

    for path in ("root/children", "root/delta"):
        response = graph.get(path)
        assert (response.status_code, code_of(response)) == (423, "resourceLocked")
    assert graph.violations == []


def test_a_folder_is_not_made_where_a_file_has_the_name(graph: Graph) -> None:
    graph.put("Done", b"a file")
    body = {"name": "Done", "folder": {}, "@microsoft.graph.conflictBehavior": "replace"}
    assert graph.post("root/children", body).status_code == 409


def test_making_a_folder_may_be_answered_without_a_body(graph: Graph) -> None:
    """§3.7, §8 #23: don't repeat the POST; list the parent."""
    graph.knobs.empty_create_body = True
    response = graph.post("root/children", {"name": "Done", "folder": {}})
    assert (response.status_code, response.content) == (201, b"")
    assert graph.names_in("") == ["Done"]


def test_names_that_onedrive_does_not_take_are_refused(graph: Graph) -> None:
    """§3.12: forbidden characters and names."""
    graph.put("a.zip", b"content")
    forbidden = ["a:b", "a*", 'a"b', "a<b", "a>b", "a?b", "a|b", "a\\b", "a/b", " a", "a ", "a.", "", "x" * 256]
    reserved = ["CON", "lpt1", "COM0", "desktop.ini", ".lock", "~$a", "x_vti_y", "forms"]
    for name in forbidden + reserved:
        response = graph.patch("root:/a.zip", {"name": name})
        assert (name, response.status_code, code_of(response)) == (name, 400, "invalidRequest")
        assert graph.post("root/children", {"name": name, "folder": {}}).status_code == 400
    assert graph.names_in("") == ["a.zip"]
    assert graph.violations == []


def test_names_that_onedrive_takes_are_taken(graph: Graph) -> None:
    """§3.12: # and % are allowed now."""
    graph.put("a.zip", b"content")
    item_id = graph.item("a.zip")["id"]
    for name in ["100% #1.zip", "ä ö & 'b'.zip", "console.txt", "com10", ".hidden", "a.b.c"]:
        assert graph.patch(f"items/{item_id}", {"name": name}).json()["name"] == name
        assert (graph.folder / name).exists()


def test_forms_is_reserved_only_in_the_root(graph: Graph) -> None:
    graph.folder_id("Input")
    assert graph.post("root:/Input:/children", {"name": "forms", "folder": {}}).status_code == 201


def test_a_path_of_more_than_400_characters_is_too_long(graph: Graph) -> None:
    """§3.12: 400 with inner pathIsTooLong."""
    first, second = "a" * 200, "b" * 199
    parent = graph.folder_id(first)
    assert graph.post(f"items/{parent}/children", {"name": second, "folder": {}}).status_code == 201
    response = graph.post(f"items/{parent}/children", {"name": second + "b", "folder": {}})
    assert response.status_code == 400
    assert response.json()["error"]["innerError"]["code"] == "pathIsTooLong"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"{", "application/json"), (b"[]", "application/json"), (b'{"name": "b"}', "text/plain")],
)
def test_a_body_that_is_no_json_object_is_a_violation(graph: Graph, body: bytes, content_type: str) -> None:
    graph.put("a.zip", b"content")
    response = graph.call("PATCH", "root:/a.zip", data=body, headers={"Content-Type": content_type})
    assert response.status_code in (400, 415)
    assert len(graph.violations) == 1
