"""Listing a folder: graph_onedrive §3.3, §8 #2, #20, #21."""

from typing import Any

import pytest

from tests.unit.local_cloud.onedrive.graph import Clock, Graph, code_of


def pages(graph: Graph, path: str) -> list[dict[str, Any]]:
    """Return every page, the links followed as they are."""
    found = []
    link: str | None = path
    while link is not None:
        response = graph.get(link)
        assert response.status_code == 200, response.text
        found.append(response.json())
        link = found[-1].get("@odata.nextLink")
    return found


def test_pages_are_as_small_as_they_are_set(graph: Graph) -> None:
    """§3.3, §9.5: a small page size forced, whatever $top asks for."""
    graph.knobs.page_size = 2
    for number in range(5):
        graph.put(f"{number}.zip", b"content")
    found = pages(graph, "root/children?$top=1000")
    assert [[item["name"] for item in page["value"]] for page in found] == [
        ["0.zip", "1.zip"],
        ["2.zip", "3.zip"],
        ["4.zip"],
    ]
    assert graph.violations == []


def test_a_page_holds_no_more_than_asked_for(graph: Graph) -> None:
    for number in range(3):
        graph.put(f"{number}.zip", b"content")
    assert len(pages(graph, "root/children?$top=1")) == 3


def test_a_listing_goes_on_behind_the_last_name_though_files_leave_meanwhile(graph: Graph) -> None:
    graph.knobs.page_size = 2
    for number in range(4):
        graph.put(f"{number}.zip", b"content")
    first = graph.get("root/children").json()
    (graph.folder / "0.zip").unlink()
    second = graph.get(first["@odata.nextLink"]).json()
    assert [item["name"] for item in second["value"]] == ["2.zip", "3.zip"]


def test_a_next_link_that_was_changed_is_refused(graph: Graph) -> None:
    assert graph.get("root/children?$skiptoken=nonsense").status_code == 400
    assert len(graph.violations) == 1


def test_an_order_that_business_drives_do_not_know_is_refused(graph: Graph) -> None:
    """§3.3: name or url only."""
    graph.put("a.zip", b"content")
    graph.put("b.zip", b"content")
    listed = graph.get("root/children?$orderby=name desc").json()["value"]
    assert [item["name"] for item in listed] == ["b.zip", "a.zip"]
    assert graph.get("root/children?$orderby=lastModifiedDateTime").status_code == 400


def test_a_listing_shows_only_what_is_selected(graph: Graph) -> None:
    """§3.4: the download URL comes when selected, and by default."""
    graph.put("a.zip", b"content")
    assert "@microsoft.graph.downloadUrl" in graph.get("root/children").json()["value"][0]
    (item,) = graph.get("root/children?$select=id,name").json()["value"]
    assert set(item) == {"id", "name"}
    (item,) = graph.get("root/children?$select=id,@microsoft.graph.downloadUrl").json()["value"]
    assert set(item) == {"id", "@microsoft.graph.downloadUrl"}


def test_selecting_what_there_is_not_is_refused(graph: Graph) -> None:
    response = graph.get("root/children?$select=id,filesize")
    assert (response.status_code, code_of(response)) == (400, "BadRequest")


def test_a_folder_has_a_child_count_and_neither_hash_nor_download(graph: Graph) -> None:
    graph.put("Input/a.zip", b"content")
    (folder,) = graph.get("root/children").json()["value"]
    assert folder["folder"] == {"childCount": 1}
    assert not {"file", "@microsoft.graph.downloadUrl", "cTag"} & set(folder)


def test_a_child_count_tells_at_once_of_a_file_put_there_by_hand(graph: Graph) -> None:
    """A look at the disk in the middle of somebody's copying has seen the folder empty."""
    graph.folder_id("Input")
    for count in range(1, 21):  # twenty times, because one look may come just in time
        graph.put(f"Input/{count}.zip", b"content")
        (folder,) = graph.get("root/children").json()["value"]
        assert folder["folder"] == {"childCount": count}


def test_the_children_of_what_is_not_there_are_not_found(graph: Graph) -> None:
    assert graph.get("items/01NOTHING/children").status_code == 404
    assert graph.get("root:/Missing:/children").status_code == 404


@pytest.mark.parametrize("seconds", [0.0, 30.0])
def test_a_listing_may_lag_behind_what_an_id_shows(graph: Graph, clock: Clock, seconds: float) -> None:
    """§8 #2, #21: a notification and a read by id come before the listing shows a file."""
    graph.knobs.listing_lag_s = 60.0
    (graph.folder / "Input").mkdir()
    uploaded = graph.call("PUT", "root:/Input/a.zip:/content", data=b"content").json()
    clock.pass_s(seconds)
    assert graph.names_in("Input") == []
    assert graph.get(f"items/{uploaded['id']}").status_code == 200
    clock.pass_s(61.0 - seconds)
    assert graph.names_in("Input") == ["a.zip"]


def test_a_lagging_listing_still_shows_what_has_left(graph: Graph, clock: Clock) -> None:
    """§8 #24: what a listing shows may be gone."""
    graph.put("Input/a.zip", b"content")
    item, done = graph.item("Input/a.zip"), graph.folder_id("Done")
    graph.knobs.listing_lag_s = 60.0
    clock.pass_s(120)
    assert graph.patch(f"items/{item['id']}", {"parentReference": {"id": done}}).status_code == 200
    (stale,) = graph.get("root:/Input:/children").json()["value"]
    assert (stale["id"], stale["eTag"]) == (item["id"], item["eTag"])
    clock.pass_s(61)
    assert graph.names_in("Input") == []
