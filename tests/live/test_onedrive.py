"""The real OneDrive keeps the contract, and what was only believed of it is looked at."""

from collections.abc import Callable

import pytest

from shared.errors import NameTaken
from tests.contract.onedrive_contract import OneDriveContract, OneDriveTarget

type Seen = Callable[[str, object], None]


@pytest.fixture
def target(onedrive_target: OneDriveTarget) -> OneDriveTarget:
    return onedrive_target


class TestOneDrive(OneDriveContract):
    """The contract, in a folder of the run's own."""

    def test_the_root_is_found_by_an_empty_path(self, target: OneDriveTarget) -> None:
        """The test's folder lies one level deeper here."""
        root = target.onedrive.find("")
        top = target.onedrive.find(target.folder.name.partition("/")[0])

        assert root is not None
        assert top is not None
        assert (root.is_folder, root.item_id) == (True, top.parent_id)


def test_a_moved_file_keeps_the_time_of_its_last_change(target: OneDriveTarget, record_property: Seen) -> None:
    item, folder = target.put("USMF_1.zip"), target.subfolder()

    moved = target.onedrive.move(item.item_id, to_folder_id=folder.item_id, name=item.name, etag=item.etag)

    later_s = (target.onedrive.get(moved.item_id).last_modified - item.last_modified).total_seconds()
    record_property("seen", f"lastModifiedDateTime after the move is {later_s:g} s later")
    assert later_s == 0


def test_after_a_move_the_item_has_a_download_url_whether_or_not_the_answer_had_one(
    target: OneDriveTarget, record_property: Seen
) -> None:
    item, folder = target.put("USMF_1.zip"), target.subfolder()

    moved = target.onedrive.move(item.item_id, to_folder_id=folder.item_id, name=item.name, etag=item.etag)

    record_property("seen", f"the answer to the PATCH carries {'one' if moved.download_url else 'none'}")
    assert target.onedrive.get(moved.item_id).download_url is not None


def test_the_answer_to_a_move_tells_what_the_item_tells(target: OneDriveTarget, record_property: Seen) -> None:
    item, folder = target.put("USMF_1.zip"), target.subfolder()

    moved = target.onedrive.move(item.item_id, to_folder_id=folder.item_id, name=item.name, etag=item.etag)

    there = target.onedrive.get(item.item_id)
    record_property(
        "seen", f"eTag, size and hash of the answer: {moved.etag}, {moved.size_bytes}, {moved.quick_xor_hash}"
    )
    assert (moved.etag, moved.size_bytes, moved.quick_xor_hash, moved.is_pending) == (
        there.etag,
        there.size_bytes,
        there.quick_xor_hash,
        there.is_pending,
    )


def test_an_upload_session_with_fail_never_replaces(target: OneDriveTarget, record_property: Seen) -> None:
    there = target.put("USMF_1.zip", b"an earlier one")

    try:
        session = target.onedrive.open_upload(target.folder.item_id, "USMF_1.zip", 7)
    except NameTaken:
        record_property("seen", "refused when the session is made")
    else:
        with session, pytest.raises(NameTaken):
            session.put(0, b"content")
        record_property("seen", "refused at the last chunk")

    assert target.content(there.item_id) == b"an earlier one"


def test_an_uploaded_file_has_its_hash_at_once(target: OneDriveTarget, record_property: Seen) -> None:
    item = target.upload("USMF_1.zip", b"content")

    record_property("seen", f"quickXorHash is {'there' if item.quick_xor_hash else 'missing'} in the upload's answer")
    assert target.onedrive.get(item.item_id).quick_xor_hash is not None
