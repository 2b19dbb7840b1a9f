"""What changed since: graph_onedrive §2."""

from typing import Any

from tests.unit.local_cloud.onedrive.graph import Clock, Graph, code_of


def enumerate_changes(graph: Graph, link: str) -> tuple[list[dict[str, Any]], str]:
    """Return all entries, and the link for the next time."""
    entries: list[dict[str, Any]] = []
    while True:
        page = graph.get(link).json()
        entries += page["value"]
        if "@odata.deltaLink" in page:
            return entries, page["@odata.deltaLink"]
        link = page["@odata.nextLink"]


def test_the_first_delta_lists_everything_from_the_root_down(graph: Graph) -> None:
    """§2.1, §2.2: root and folders included, no path, no cTag."""
    graph.knobs.page_size = 2
    graph.put("Input/a.zip", b"content")
    graph.put("b.zip", b"content")
    graph.names_in("")
    entries, _link = enumerate_changes(graph, "root/delta")
    assert [each["name"] for each in entries[:2]] == ["root", "Input"]
    assert {each["name"] for each in entries} == {"root", "Input", "a.zip", "b.zip"}
    assert not any("path" in each["parentReference"] or "cTag" in each for each in entries)


def test_the_next_delta_lists_only_what_changed_and_what_is_above_it(graph: Graph) -> None:
    graph.put("Input/a.zip", b"content")
    graph.put("Done/b.zip", b"content")
    graph.names_in("Done")
    _entries, link = enumerate_changes(graph, "root/delta")
    assert enumerate_changes(graph, link)[0] == []
    graph.patch("root:/Input/a.zip", {"name": "c.zip"})
    entries, _link = enumerate_changes(graph, link)
    assert [each["name"] for each in entries] == ["root", "Input", "c.zip"]


def test_what_is_gone_is_listed_as_deleted_without_its_name(graph: Graph) -> None:
    """§2.2."""
    graph.put("a.zip", b"content")
    item_id = graph.item("a.zip")["id"]
    _entries, link = enumerate_changes(graph, "root/delta?token=latest")
    (graph.folder / "a.zip").unlink()
    graph.names_in("")
    entries, _link = enumerate_changes(graph, link)
    (deleted,) = [each for each in entries if "deleted" in each]
    assert (deleted["id"], deleted["deleted"]) == (item_id, {"state": "deleted"})
    assert "name" not in deleted


def test_latest_skips_what_was(graph: Graph) -> None:
    graph.put("a.zip", b"content")
    graph.names_in("")
    by_function = "root/delta(token='latest')"
    for spelling in ("root/delta?token=latest", by_function, f"items/{by_function}"):
        entries, link = enumerate_changes(graph, spelling)
        assert entries == []
        assert enumerate_changes(graph, link)[0] == []
    assert enumerate_changes(graph, "root/delta()")[0] != []


def test_a_delta_may_lag_behind_the_change(graph: Graph, clock: Clock) -> None:
    """§8 #2."""
    _entries, link = enumerate_changes(graph, "root/delta?token=latest")
    graph.knobs.listing_lag_s = 60.0
    graph.call("PUT", "root:/a.zip:/content", data=b"content")
    entries, link = enumerate_changes(graph, link)
    assert entries == []
    clock.pass_s(61)
    assert [each["name"] for each in enumerate_changes(graph, link)[0]] == ["root", "a.zip"]


def test_an_old_token_is_answered_with_where_to_begin_anew(graph: Graph) -> None:
    """§2.3: 410 with Location."""
    _entries, link = enumerate_changes(graph, "root/delta")
    graph.knobs.resync_delta = True
    gone = graph.get(link)
    assert (gone.status_code, code_of(gone)) == (410, "resyncChangesApplyDifferences")
    assert enumerate_changes(graph, gone.headers["Location"])[0] != []
    assert graph.get("root/delta?token=nonsense").status_code == 410


def test_a_delta_of_a_folder_is_not_supported(graph: Graph) -> None:
    """§2.4: 501 for business drives."""
    folder_id = graph.folder_id("Input")
    response = graph.get(f"items/{folder_id}/delta")
    assert (response.status_code, code_of(response)) == (501, "notSupported")
