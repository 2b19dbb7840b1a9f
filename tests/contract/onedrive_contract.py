"""What the app relies on in OneDrive, as behaviours of ``clients/graph/onedrive.py`` against any drive.

The class runs where a ``target`` fixture says what to run against: the simulator (``test_onedrive.py``), or a folder of
a real OneDrive for Business. Nothing here turns knobs or makes calls fail.
"""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

import pytest

from shared.clients.blobs.quick_xor_hash import QuickXorHash
from shared.clients.blobs.read import open_package, read_chunks
from shared.clients.graph.drive_item import DriveItem
from shared.clients.graph.onedrive import OneDrive
from shared.clients.graph.upload import UploadSession
from shared.clients.http.client import Http
from shared.errors import FileRejected, ItemChanged, NameTaken, NeedsPerson, NotFound, TryAgain

UNIT: Final = 320 * 1024  # bytes; chunks of an upload are multiples of it
THREE_CHUNKS: Final = Random(1).randbytes(2 * UNIT + 12_345)

ODD_NAMES: Final = {
    "a percent sign": "USMF_100%.zip",
    "a percent-encoded letter": "USMF_%41%2F%20.zip",
    "a hash": "USMF_#1.zip",
    "a plus and blanks": "USMF_a + b  c.zip",
    "an apostrophe": "USMF_it's.zip",
    "an ampersand and a question of options": "USMF_a&b=c;d,e@f.zip",
    "brackets": "USMF_(1) [2] {3}.zip",
    "umlauts": "USMF_Größe_ÄÖÜ_éñ.zip",
    "emoji": "USMF_😀👩‍👩‍👧.zip",
    "another alphabet": "USMF_客户_клиент.zip",
    "dots": "USMF_a..b...zip",
    "no ending": "USMF_noending",
    "a colon-free drive letter": "C_$~^`!.zip",
    "a name of 150 characters": f"USMF_{'x' * 141}.zip",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OneDriveTarget:
    """A drive that a suite may write to."""

    onedrive: OneDrive
    downloads: Http  # for pre-authenticated addresses
    folder: DriveItem  # empty, and of the test's own

    def put(self, name: str, content: bytes = b"content") -> DriveItem:
        return self.onedrive.upload_small(self.folder.item_id, name, content, replace=False)

    def subfolder(self, name: str = "Sub") -> DriveItem:
        return self.onedrive.ensure_folder(f"{self.folder.name}/{name}")

    def names(self, folder: DriveItem | None = None) -> list[str]:
        return sorted(item.name for item in self.onedrive.list_files((folder or self.folder).item_id))

    def content(self, item_id: str) -> bytes:
        return self.read(self.onedrive.get(item_id))

    def read(self, item: DriveItem) -> bytes:
        assert item.download_url is not None
        return b"".join(read_chunks(item.download_url, self.downloads, item.size_bytes))

    def replace(self, name: str, content: bytes) -> DriveItem:
        return self.onedrive.upload_small(self.folder.item_id, name, content, replace=True)

    def move(self, item: DriveItem, folder: DriveItem, name: str = "USMF_1.zip") -> DriveItem:
        return self.onedrive.move(item.item_id, to_folder_id=folder.item_id, name=name, etag=item.etag)

    def session(self, size_bytes: int = len(THREE_CHUNKS), name: str = "USMF_1.zip") -> UploadSession:
        return self.onedrive.open_upload(self.folder.item_id, name, size_bytes)

    def upload(self, name: str, content: bytes, *, chunk_bytes: int = UNIT) -> DriveItem:
        with self.onedrive.open_upload(self.folder.item_id, name, len(content)) as session:
            item: DriveItem | None = None
            for start in range(0, len(content), chunk_bytes):
                assert item is None
                item = session.put(start, content[start : start + chunk_bytes])
        assert item is not None
        return item


class OneDriveContract:
    # Looking

    def test_a_file_is_shown_alike_by_its_upload_a_listing_its_id_and_its_path(self, target: OneDriveTarget) -> None:
        uploaded = target.put("USMF_1.zip", b"content")

        (listed,) = target.onedrive.list_files(target.folder.item_id)
        got = target.onedrive.get(uploaded.item_id)
        found = target.onedrive.find(f"{target.folder.name}/USMF_1.zip")

        assert found is not None
        for item in (uploaded, listed, got, found):
            assert (item.item_id, item.name, item.size_bytes) == (uploaded.item_id, "USMF_1.zip", 7)
            assert item.parent_id == target.folder.item_id
            assert (item.is_file, item.is_folder, item.has_malware, item.is_pending) == (True, False, False, False)
            assert item.etag == uploaded.etag
            assert item.etag.startswith('"')
            assert item.etag.endswith('"')
            assert item.quick_xor_hash == QuickXorHash(b"content").base64()
            assert abs(item.last_modified - datetime.now(UTC)) < timedelta(minutes=10)
            assert item.web_url.startswith("http")
        assert got.download_url is not None
        assert target.onedrive.drive_id().startswith("b!")

    def test_the_root_is_found_by_an_empty_path(self, target: OneDriveTarget) -> None:
        root = target.onedrive.find("")

        assert root is not None
        assert (root.is_folder, root.item_id) == (True, target.folder.parent_id)

    def test_a_listing_holds_the_files_of_a_folder_and_neither_folders_nor_what_is_in_them(
        self, target: OneDriveTarget
    ) -> None:
        target.put("USMF_1.zip")
        inner = target.subfolder("Inner")
        target.onedrive.upload_small(inner.item_id, "USMF_2.zip", b"x", replace=False)

        assert target.names() == ["USMF_1.zip"]

    def test_what_is_gone_is_not_found_whatever_is_done_with_it(self, target: OneDriveTarget) -> None:
        item, gone = target.put("USMF_1.zip"), f"01{uuid.uuid4().hex.upper()}"[:34]

        for act in (
            lambda: target.onedrive.get(gone),
            lambda: list(target.onedrive.list_files(gone)),
            lambda: target.onedrive.move(gone, to_folder_id=target.folder.item_id, name="a.zip", etag=None),
            lambda: target.onedrive.move(item.item_id, to_folder_id=gone, name="USMF_1.zip", etag=item.etag),
            lambda: target.onedrive.upload_small(gone, "a.txt", b"x", replace=False),
        ):
            with pytest.raises(NotFound):
                act()
        assert target.names() == ["USMF_1.zip"]

    def test_a_name_is_found_whatever_its_case(self, target: OneDriveTarget) -> None:
        uploaded = target.put("USMF_Größe.zip")

        found = target.onedrive.find(f"{target.folder.name}/usmf_GRÖßE.ZIP")

        assert found is not None
        assert (found.item_id, found.name) == (uploaded.item_id, "USMF_Größe.zip")
        for path in ("Missing", "Missing/Deeper/a.zip", "USMF_Größe.zip/below a file"):
            assert target.onedrive.find(f"{target.folder.name}/{path}") is None

    # Names

    @pytest.mark.parametrize("name", ODD_NAMES.values(), ids=ODD_NAMES)
    def test_a_file_keeps_its_name_and_content_all_the_way_whatever_the_name_is(
        self, target: OneDriveTarget, name: str
    ) -> None:
        content = name.encode()
        uploaded = target.put(name, content)
        assert target.names() == [name]
        folder = target.subfolder(f"to {name}")

        moved = target.onedrive.move(uploaded.item_id, to_folder_id=folder.item_id, name=name, etag=uploaded.etag)

        assert (moved.item_id, moved.name, moved.parent_id) == (uploaded.item_id, name, folder.item_id)
        assert target.names() == []
        assert target.names(folder) == [name]
        assert target.upload(name, b"content").name == name
        assert target.names() == [name]
        found = target.onedrive.find(f"{target.folder.name}/to {name}/{name}")
        assert found is not None
        assert found.item_id == uploaded.item_id
        assert target.content(uploaded.item_id) == content

    @pytest.mark.parametrize("name", ["CON", "USMF_a.", ".lock", "~$USMF.zip", "x_vti_y.zip", "y" * 300])
    def test_a_name_that_onedrive_does_not_take_is_the_files_fault(self, target: OneDriveTarget, name: str) -> None:
        item = target.put("USMF_1.zip")

        for refused in (
            lambda: target.put(name),
            lambda: target.onedrive.open_upload(target.folder.item_id, name, 1),
            lambda: target.onedrive.move(item.item_id, to_folder_id=target.folder.item_id, name=name, etag=item.etag),
        ):
            with pytest.raises(FileRejected):
                refused()
        deep = target.subfolder("/".join(["x" * 80] * 4))
        with pytest.raises(FileRejected, match="too long"):
            target.move(item, deep, "y" * 100)
        assert target.names() == ["USMF_1.zip"]

    # Moving

    def test_a_moved_file_keeps_its_id_and_changes_its_version(self, target: OneDriveTarget) -> None:
        item, folder = target.put("USMF_1.zip"), target.subfolder()

        moved = target.move(item, folder)

        assert moved.item_id == item.item_id
        assert moved.parent_id == folder.item_id
        assert moved.etag != item.etag
        assert moved.quick_xor_hash == item.quick_xor_hash
        assert target.onedrive.get(item.item_id).etag == moved.etag
        again = target.move(item, folder)  # with the first version: a success
        assert (again.item_id, again.etag, again.parent_id) == (item.item_id, moved.etag, folder.item_id)

    def test_a_file_that_has_changed_since_it_was_listed_is_not_moved(self, target: OneDriveTarget) -> None:
        item, folder = target.put("USMF_1.zip"), target.subfolder()
        target.replace("USMF_1.zip", b"another")

        with pytest.raises(ItemChanged, match=r"USMF_1\.zip"):
            target.move(item, folder)

        assert (target.names(), target.names(folder)) == (["USMF_1.zip"], [])
        target.onedrive.move(item.item_id, to_folder_id=folder.item_id, name="USMF_1.zip", etag=None)
        assert target.names(folder) == ["USMF_1.zip"]

    @pytest.mark.parametrize("there", ["USMF_1.zip", "usmf_1.ZIP"])
    def test_a_file_of_that_name_is_never_overwritten_by_a_move(self, target: OneDriveTarget, there: str) -> None:
        item, folder = target.put("USMF_1.zip"), target.subfolder()
        other = target.onedrive.upload_small(folder.item_id, there, b"an earlier one", replace=False)

        with pytest.raises(NameTaken, match=r"USMF_1\.zip"):
            target.move(item, folder)

        assert target.names() == ["USMF_1.zip"]
        assert target.content(other.item_id) == b"an earlier one"

    def test_who_must_know_that_it_has_moved_a_file_hears_that_it_was_moved_before(
        self, target: OneDriveTarget
    ) -> None:
        item, folder = target.put("USMF_1.zip"), target.subfolder()
        there = {"to_folder_id": folder.item_id, "name": "USMF_1.zip", "etag": item.etag}
        first = target.onedrive.move_from(item.item_id, **there)

        assert first.parent_id == folder.item_id
        with pytest.raises(ItemChanged):
            target.onedrive.move_from(item.item_id, **there)

    def test_of_workers_that_claim_one_file_for_names_of_their_own_one_succeeds(self, target: OneDriveTarget) -> None:
        item, folder = target.put("USMF_1.zip"), target.subfolder()
        barrier = threading.Barrier(6)

        def claim(number: int) -> bool:
            barrier.wait()
            name = f"USMF_1 ({number}).zip"
            try:
                target.onedrive.move(item.item_id, to_folder_id=folder.item_id, name=name, etag=item.etag)
            except ItemChanged:
                return False
            return True

        with ThreadPoolExecutor(6) as pool:
            claimed = list(pool.map(claim, range(6)))

        assert sum(claimed) == 1
        assert target.names(folder) == [f"USMF_1 ({claimed.index(True)}).zip"]

    # Folders

    def test_every_missing_folder_of_a_path_is_made_once_whatever_its_case_and_slashes(
        self, target: OneDriveTarget
    ) -> None:
        folder = target.subfolder("One/Two & ½/Drei #3")

        assert (folder.is_folder, folder.name) == (True, "Drei #3")
        for path in ("One/Two & ½/Drei #3", "ONE/two & ½/drei #3"):
            assert target.subfolder(path).item_id == folder.item_id
        again = target.onedrive.ensure_folder(f"/{target.folder.name}/One/Two & ½/Drei #3/")
        assert again.item_id == folder.item_id

    def test_workers_that_make_the_same_folders_at_once_get_the_same(self, target: OneDriveTarget) -> None:
        barrier = threading.Barrier(8)

        def ensure(_: int) -> str:
            barrier.wait()
            for _ in range(20):
                try:
                    return target.subfolder("Race/To/The bottom").item_id
                except NotFound:  # made a moment ago, and not to be seen yet: as documented, tried again
                    continue
            raise AssertionError("it never showed up")

        with ThreadPoolExecutor(8) as pool:
            ids = set(pool.map(ensure, range(8)))

        assert len(ids) == 1

    def test_a_file_in_the_place_of_a_folder_needs_a_person(self, target: OneDriveTarget) -> None:
        target.put("Inbox")

        for path in ("Inbox", "Inbox/Below"):
            with pytest.raises(NeedsPerson, match="Inbox"):
                target.subfolder(path)
        assert target.names() == ["Inbox"]

    # Small uploads

    def test_an_empty_file_can_be_written_and_read(self, target: OneDriveTarget) -> None:
        item = target.put("USMF_empty.zip", b"")

        assert (item.size_bytes, item.is_file) == (0, True)
        assert target.content(item.item_id) == b""

    def test_a_small_upload_does_not_touch_a_file_of_its_name_unless_it_may(self, target: OneDriveTarget) -> None:
        there = target.put("USMF_1.report.txt", b"first")

        for name in ("USMF_1.report.txt", "usmf_1.REPORT.txt"):
            with pytest.raises(NameTaken):
                target.put(name, b"second")

        assert target.content(there.item_id) == b"first"
        item = target.replace("USMF_1.report.txt", b"second")
        assert (item.item_id, item.etag != there.etag) == (there.item_id, True)
        assert target.content(item.item_id) == b"second"

    # Upload sessions

    def test_a_file_appears_when_its_last_chunk_has_arrived(self, target: OneDriveTarget) -> None:
        name = "Asset-Major-Types_USMF.zip"
        with target.onedrive.open_upload(target.folder.item_id, name, len(THREE_CHUNKS)) as session:
            assert session.put(0, THREE_CHUNKS[:UNIT]) is None
            assert session.resume_from() == UNIT
            assert session.put(UNIT, THREE_CHUNKS[UNIT : 2 * UNIT]) is None
            assert target.names() == []
            item = session.put(2 * UNIT, THREE_CHUNKS[2 * UNIT :])

        assert item is not None
        assert target.names() == [name]
        assert item.size_bytes == len(THREE_CHUNKS)
        assert item.quick_xor_hash in (None, QuickXorHash(THREE_CHUNKS).base64())
        assert target.content(item.item_id) == THREE_CHUNKS

    @pytest.mark.parametrize("size_bytes", [1, UNIT - 1, UNIT, UNIT + 1, 2 * UNIT])
    def test_a_file_of_any_size_arrives_whole(self, target: OneDriveTarget, size_bytes: int) -> None:
        content = Random(size_bytes).randbytes(size_bytes)

        item = target.upload("USMF_1.zip", content)

        assert target.content(item.item_id) == content

    def test_what_has_arrived_of_a_chunk_is_not_stored_twice(self, target: OneDriveTarget) -> None:
        with target.session() as session:
            session.put(0, THREE_CHUNKS[:UNIT])
            assert session.put(0, THREE_CHUNKS[:UNIT]) is None
            item = session.put(0, THREE_CHUNKS)

        assert item is not None
        assert target.content(item.item_id) == THREE_CHUNKS

    def test_a_chunk_that_comes_too_early_begins_the_upload_anew(self, target: OneDriveTarget) -> None:
        with target.session() as session:
            with pytest.raises(TryAgain):
                session.put(UNIT, THREE_CHUNKS[UNIT : 2 * UNIT])
            assert session.resume_from() == 0

    def test_an_upload_never_replaces_a_file_that_is_there(self, target: OneDriveTarget) -> None:
        there = target.put("USMF_1.zip", b"an earlier one")

        with pytest.raises(NameTaken):
            target.upload("USMF_1.zip", THREE_CHUNKS)

        assert target.content(there.item_id) == b"an earlier one"

    def test_an_upload_never_replaces_a_file_that_came_meanwhile_and_can_take_another_name(
        self, target: OneDriveTarget
    ) -> None:
        session = target.session(UNIT + 1)
        session.put(0, THREE_CHUNKS[:UNIT])
        there = target.put("USMF_1.zip", b"quicker")
        with pytest.raises(NameTaken):
            session.put(UNIT, THREE_CHUNKS[UNIT : UNIT + 1])
        session.cancel()

        target.upload("USMF_1 (a1).zip", THREE_CHUNKS)

        assert target.content(there.item_id) == b"quicker"
        assert target.names() == ["USMF_1 (a1).zip", "USMF_1.zip"]

    def test_an_abandoned_upload_leaves_nothing_and_frees_its_name(self, target: OneDriveTarget) -> None:
        with target.session() as session:
            session.put(0, THREE_CHUNKS[:UNIT])

        assert target.names() == []
        target.upload("USMF_1.zip", THREE_CHUNKS)
        assert target.names() == ["USMF_1.zip"]

    def test_a_cancelled_upload_takes_nothing_more(self, target: OneDriveTarget) -> None:
        session = target.session()
        session.put(0, THREE_CHUNKS[:UNIT])
        session.cancel()
        session.cancel()

        with pytest.raises(TryAgain, match="gone"):
            session.put(UNIT, THREE_CHUNKS[UNIT : 2 * UNIT])
        with pytest.raises(TryAgain, match="gone"):
            session.resume_from()

    # Downloads

    def test_a_large_file_can_be_looked_into_and_is_then_read_whole(self, target: OneDriveTarget) -> None:
        content = Random(9).randbytes(9 * 1024 * 1024 + 17)
        item = target.onedrive.get(target.upload("USMF_large.zip", content, chunk_bytes=16 * UNIT).item_id)
        assert item.download_url is not None

        with open_package(item.download_url, item.size_bytes, target.downloads) as package:
            package.file.seek(-1000, 2)
            assert package.file.read() == content[-1000:]
            package.file.seek(UNIT)
            assert package.file.read(5000) == content[UNIT : UNIT + 5000]
            assert b"".join(package.chunks()) == content
