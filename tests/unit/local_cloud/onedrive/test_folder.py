"""A folder on disk is the drive: what people do by hand, and what the API does to real files.

graph_onedrive §3.2, §3.10, §3.11.
"""

import contextlib
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from local_cloud.onedrive import disk
from tests.unit.local_cloud.onedrive.graph import Clock, Graph, wait_until


def test_a_file_copied_into_the_folder_is_an_item(graph: Graph) -> None:
    """§3.2: the shape of a driveItem of OneDrive for Business."""
    graph.put("Input/a.zip", b"\x4a", modified_s=1_700_000_000)
    item = graph.item("Input/a.zip")
    assert item["id"].startswith("01")
    assert (item["name"], item["size"]) == ("a.zip", 1)
    assert item["file"]["hashes"]["quickXorHash"] == "SgAAAAAAAAAAAAAAAQAAAAAAAAA="
    assert item["lastModifiedDateTime"] == "2023-11-14T22:13:20Z"
    assert item["fileSystemInfo"]["lastModifiedDateTime"] == "2023-11-14T22:13:20Z"
    assert item["eTag"].startswith('"{')
    assert item["eTag"].endswith('},1"')
    assert item["cTag"].startswith('"c:{')
    parent = item["parentReference"]
    assert parent["path"] == "/drives/b!local/root:/Input"
    assert (parent["driveId"], parent["driveType"], parent["name"]) == ("b!local", "business", "Input")
    assert parent["id"] == graph.item("Input")["id"]


def test_the_root_is_a_folder_without_a_parent(graph: Graph) -> None:
    graph.put("a.zip", b"content")
    root = graph.item("")
    assert (root["name"], root["root"], root["folder"]["childCount"]) == ("root", {}, 1)
    assert "id" not in root["parentReference"]


def test_new_content_on_disk_changes_both_tags_and_the_hash_but_not_the_id(graph: Graph) -> None:
    """§3.10: eTag and cTag change with the content."""
    graph.put("a.zip", b"one")
    before = graph.item("a.zip")
    graph.put("a.zip", b"two or more")
    after = graph.item("a.zip")
    assert after["id"] == before["id"]
    assert after["size"] == 11
    for what in ("eTag", "cTag", "file"):
        assert after[what] != before[what]


def test_an_item_read_by_id_shows_what_is_on_disk_now(graph: Graph) -> None:
    graph.put("a.zip", b"one")
    item_id = graph.item("a.zip")["id"]
    path = graph.put("a.zip", b"longer")
    assert graph.get(f"items/{item_id}").json()["size"] == 6
    path.unlink()
    assert graph.get(f"items/{item_id}").status_code == 404


def test_a_file_moved_by_hand_keeps_its_id(graph: Graph) -> None:
    graph.put("Input/a.zip", b"content")
    (graph.folder / "Done").mkdir()
    before = graph.item("Input/a.zip")
    (graph.folder / "Input/a.zip").rename(graph.folder / "Done/b.zip")
    after = graph.get(f"items/{before['id']}").json()
    assert (after["name"], after["parentReference"]["name"]) == ("b.zip", "Done")
    assert after["eTag"] != before["eTag"]
    assert after["cTag"] == before["cTag"]
    assert graph.names_in("Input") == []


def test_a_file_moved_by_hand_while_the_disk_is_looked_at_keeps_its_id(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph.put("Done/a.zip", b"content")
    graph.folder_id("Input")
    item_id = graph.item("Done/a.zip")["id"]
    look = disk.entries

    def look_and_move(folder: Path, parent: str) -> Iterator[disk.Entry]:
        yield from look(folder, parent)
        if parent == "/Input":  # looked at before Done: the file is found in neither
            with contextlib.suppress(FileNotFoundError):
                (graph.folder / "Done/a.zip").rename(graph.folder / "Input/a.zip")

    monkeypatch.setattr(disk, "entries", look_and_move)
    wait_until(lambda: (graph.folder / "Input/a.zip").exists())
    assert graph.item("Input/a.zip")["id"] == item_id


def test_a_folder_renamed_by_hand_keeps_the_ids_of_what_is_in_it(graph: Graph) -> None:
    graph.put("Input/sub/a.zip", b"content")
    before = graph.item("Input/sub/a.zip")
    (graph.folder / "Input").rename(graph.folder / "Other")
    after = graph.item("Other/sub/a.zip")
    assert after["id"] == before["id"]
    assert after["eTag"] == before["eTag"]  # the folder changed, not the file


def test_a_file_that_takes_the_place_of_one_moved_by_hand_is_another_item(graph: Graph) -> None:
    graph.put("a.zip", b"the first")
    first = graph.item("a.zip")
    (graph.folder / "a.zip").rename(graph.folder / "z.zip")
    graph.put("a.zip", b"the second one")
    assert graph.item("a.zip")["id"] != first["id"]
    assert graph.item("z.zip")["id"] == first["id"]


def test_a_file_that_is_written_on_is_the_same_item(graph: Graph) -> None:
    path = graph.put("a.zip", b"old")
    before = graph.item("a.zip")
    with path.open("ab") as file:
        file.write(b" and new")
    after = graph.item("a.zip")
    assert (after["id"], after["size"]) == (before["id"], 11)
    assert after["eTag"] != before["eTag"]


def test_ids_and_tags_outlive_a_restart(tmp_path: Path, clock: Clock) -> None:
    seen: list[tuple[str, ...]] = []
    for _start in range(2):
        graph = Graph(tmp_path / "OneDrive", clock)
        graph.start()
        if not seen:
            graph.put("Input/a.zip", b"content")
            graph.patch("root:/Input/a.zip", {"name": "b.zip"})
        item = graph.item("Input/b.zip")
        seen.append((item["id"], item["eTag"], item["parentReference"]["id"], graph.item("")["id"]))
        graph.stop()
    assert seen[0] == seen[1]


def test_a_file_moved_while_nothing_ran_keeps_its_id(tmp_path: Path, clock: Clock) -> None:
    graph = Graph(tmp_path / "OneDrive", clock)
    graph.start()
    graph.put("a.zip", b"content")
    item_id = graph.item("a.zip")["id"]
    graph.stop()
    (graph.folder / "a.zip").rename(graph.folder / "b.zip")
    again = Graph(tmp_path / "OneDrive", clock)
    again.start()
    assert again.item("b.zip")["id"] == item_id
    again.stop()


def test_what_the_simulator_remembers_is_not_in_the_drive(graph: Graph) -> None:
    graph.put("a.zip", b"content")
    assert graph.names_in("") == ["a.zip"]
    assert [each.name for each in graph.folder.iterdir()] == ["a.zip"]


def test_what_a_sync_client_leaves_alone_is_no_item(graph: Graph) -> None:
    """§3.12: names that OneDrive does not take."""
    for name in ("~$report.xlsx", "desktop.ini", ".lock", "a_vti_b"):
        graph.put(name, b"content")
    assert graph.names_in("") == []


@pytest.mark.skipif(sys.platform == "win32", reason="making a link needs a privilege on Windows")
def test_a_link_is_not_followed(graph: Graph, tmp_path: Path) -> None:
    (graph.folder / "link").symlink_to(tmp_path)
    assert graph.names_in("") == []


def test_a_move_through_the_api_moves_the_real_file_and_keeps_its_time(graph: Graph) -> None:
    """§3.5: the id stays; the file's own time too."""
    path = graph.put("Input/a.zip", b"content", modified_s=1_700_000_000)
    before, target = graph.item("Input/a.zip"), graph.folder_id("Done")
    moved = graph.patch(f"items/{before['id']}", {"parentReference": {"id": target}, "name": "b.zip"}).json()
    assert (graph.folder / "Done/b.zip").read_bytes() == b"content"
    assert not path.exists()
    assert moved["id"] == before["id"]
    assert moved["lastModifiedDateTime"] == "2023-11-14T22:13:20Z"
    assert moved["eTag"] != before["eTag"]
    assert moved["cTag"] == before["cTag"]
    assert moved["file"]["hashes"] == before["file"]["hashes"]


def test_a_deleted_file_is_gone_from_the_folder_but_not_lost(graph: Graph) -> None:
    """§3.7: delete moves to the recycle bin."""
    path = graph.put("Input/a.zip", b"content")
    assert graph.call("DELETE", "root:/Input").status_code == 204
    assert not path.exists()
    assert graph.get("root:/Input").status_code == 404
    kept = [each.read_bytes() for each in graph.folder.parent.rglob("a.zip")]
    assert kept == [b"content"]


def test_a_large_folder_copied_in_is_there_as_a_whole(graph: Graph, tmp_path: Path) -> None:
    for number in range(300):
        path = tmp_path / "source" / f"{number % 7}" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * number)
    shutil.copytree(tmp_path / "source", graph.folder / "copy")
    found = [name for folder in graph.names_in("copy") for name in graph.names_in(f"copy/{folder}")]
    assert sorted(found) == sorted(f"{number}.txt" for number in range(300))


def test_a_change_on_disk_is_noticed_without_anybody_asking(graph: Graph) -> None:
    token = graph.get("root/delta?token=latest").json()["@odata.deltaLink"]
    graph.put("a.zip", b"content")
    wait_until(lambda: [each for each in graph.get(token).json()["value"] if each.get("name") == "a.zip"])


def test_times_are_whole_seconds_in_utc(graph: Graph) -> None:
    """§3.12: timestamps."""
    graph.put("a.zip", b"content")
    for what in ("createdDateTime", "lastModifiedDateTime"):
        text = graph.item("a.zip")[what]
        moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        assert abs((datetime.now(UTC) - moment).total_seconds()) < 60


def test_a_file_that_may_still_be_written_is_pending_until_it_rests(graph: Graph, clock: Clock) -> None:
    """§3.11: pendingOperations, a setting here."""
    graph.knobs.pending_s = 2.0
    graph.put("a.zip", b"first part")
    assert "pendingContentUpdate" in graph.item("a.zip")["pendingOperations"]
    clock.pass_s(1.5)
    graph.put("a.zip", b"first part, second part")
    assert "pendingOperations" in graph.item("a.zip")
    clock.pass_s(1.5)
    assert "pendingOperations" in graph.item("a.zip")
    clock.pass_s(1.0)
    assert "pendingOperations" not in graph.item("a.zip")


def test_a_large_file_shows_its_hash_later(graph: Graph) -> None:
    """§3.10: the hash may be missing at first."""
    graph.knobs.hash_at_once_bytes = 3
    graph.put("a.zip", b"\x4a" * 4)
    etag = graph.item("a.zip")["eTag"]
    wait_until(lambda: "hashes" in graph.item("a.zip")["file"])
    assert graph.item("a.zip")["eTag"] == etag


def test_hashes_can_be_missing(graph: Graph) -> None:
    """§3.10, §8 #41."""
    graph.knobs.missing_hash = ["*.PDF"]
    for name, content in (("a.pdf", b"x"), ("b.zip", b"x"), ("empty.zip", b"")):
        graph.put(name, content)
    assert "hashes" not in graph.item("a.pdf")["file"]
    assert "hashes" in graph.item("b.zip")["file"]
    assert "hashes" not in graph.item("empty.zip")["file"]
