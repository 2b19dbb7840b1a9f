"""Copies with their monitors: graph_onedrive §3.6."""

from typing import Any

from tests.unit.local_cloud.onedrive.graph import DEADLINE_S, Graph, wait_until


def copy(graph: Graph, path: str, body: object) -> dict[str, Any]:
    """Copy and return what the monitor says in the end."""
    accepted = graph.post(f"{path}:/copy", body)
    assert accepted.status_code == 202
    said: list[dict[str, Any]] = []

    def ended() -> bool:
        said.append(graph.plain.get(accepted.headers["Location"], timeout=DEADLINE_S).json())
        return said[-1]["status"] in ("completed", "failed")

    wait_until(ended)
    return said[-1]


def test_a_copy_is_another_item_with_the_same_content(graph: Graph) -> None:
    graph.put("a.zip", b"content")
    target = graph.folder_id("Done")
    end = copy(graph, "root:/a.zip", {"parentReference": {"driveId": "b!local", "id": target}, "name": "b.zip"})
    copied = graph.item("Done/b.zip")
    assert (end["status"], end["resourceId"]) == ("completed", copied["id"])
    assert copied["id"] != graph.item("a.zip")["id"]
    assert (graph.folder / "Done/b.zip").read_bytes() == b"content"


def test_a_folder_is_copied_with_what_is_in_it(graph: Graph) -> None:
    graph.put("Input/sub/a.zip", b"content")
    assert copy(graph, "root:/Input", {"name": "Copy"})["status"] == "completed"
    assert graph.names_in("Copy/sub") == ["a.zip"]


def test_the_monitor_tells_of_a_clash(graph: Graph) -> None:
    graph.put("a.zip", b"content")
    end = copy(graph, "root:/a.zip", {"name": "a.zip"})
    assert (end["status"], end["error"]["code"]) == ("failed", "nameAlreadyExists")


def test_a_copy_under_way_is_in_progress(graph: Graph) -> None:
    graph.knobs.copy_takes_s = 60.0
    graph.put("a.zip", b"content")
    monitor = graph.post("root:/a.zip:/copy", {"name": "b.zip"}).headers["Location"]
    response = graph.plain.get(monitor, timeout=DEADLINE_S)
    assert (response.status_code, response.json()["status"]) == (202, "inProgress")
    assert graph.http.get(monitor, timeout=DEADLINE_S).status_code == 401
