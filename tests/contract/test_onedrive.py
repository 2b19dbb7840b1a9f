"""The simulated OneDrive keeps the contract, and the app's client copes with all that is known to go wrong there."""

import socket
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_cloud import faults
from local_cloud.onedrive.quick_xor import QuickXor
from shared.clients.blobs.errors import SasExpired
from shared.clients.blobs.quick_xor_hash import QuickXorHash
from shared.clients.blobs.read import open_package, read_chunks
from shared.clients.graph.drive_item import DriveItem
from shared.clients.graph.upload import UploadSession
from shared.errors import (
    AnswerLost,
    DataDamaged,
    FileRejected,
    ItemChanged,
    ItemLocked,
    NameTaken,
    NeedsPerson,
    NotFound,
    Refused,
    TryAgain,
)
from tests.contract.onedrive_contract import THREE_CHUNKS, UNIT, OneDriveContract, OneDriveTarget
from tests.contract.simulated import FixedToken, SimulatedGraph
from tests.world import wait_for


@pytest.fixture
def target(graph: SimulatedGraph) -> OneDriveTarget:
    onedrive = graph.onedrive()
    return OneDriveTarget(onedrive=onedrive, downloads=graph.downloads(), folder=graph.own_folder(onedrive))


class TestOneDrive(OneDriveContract):
    """The contract, kept by the simulator."""


# Tokens


def test_a_token_that_is_refused_is_replaced_once_and_the_call_made_again(
    target: OneDriveTarget, graph: SimulatedGraph
) -> None:
    target.put("USMF_1.zip")
    graph.faults.forget_calls()
    graph.identity.desk.expire_all()

    assert target.names() == ["USMF_1.zip"]

    assert graph.statuses("GET", "/children") == [401, 200]


def test_a_token_for_another_service_needs_a_person(graph: SimulatedGraph) -> None:
    onedrive = graph.onedrive(token=graph.identity.token("https://contoso.operations.dynamics.com"))

    with pytest.raises(NeedsPerson, match="sign-in"):
        onedrive.drive_id()

    assert graph.statuses("GET", "/drives/") == [401, 401]


def test_a_signed_in_user_has_a_drive_and_an_app_by_itself_has_none(graph: SimulatedGraph) -> None:
    user = graph.identity.desk.issue(graph.simulator.graph_url, app_id="app", user="ada@contoso.onmicrosoft.com")

    assert graph.onedrive(drive="me/drive", token=FixedToken(user)).drive_id() == graph.simulator.drive_id
    with pytest.raises(NeedsPerson, match="me/drive"):
        graph.onedrive(drive="me/drive").drive_id()


def test_a_drive_that_does_not_exist_needs_a_person(graph: SimulatedGraph) -> None:
    with pytest.raises(NeedsPerson, match="no drive"):
        graph.onedrive(drive="drives/b!another").drive_id()


def test_no_token_is_shown_to_pre_authenticated_addresses(target: OneDriveTarget, graph: SimulatedGraph) -> None:
    item = target.upload("USMF_1.zip", THREE_CHUNKS)
    assert target.content(item.item_id) == THREE_CHUNKS
    target.onedrive.open_upload(target.folder.item_id, "USMF_2.zip", 1).cancel()

    content = [call for call in graph.faults.calls if call.service == "graph-content"]
    assert [call.method for call in content] == ["PUT", "PUT", "PUT", "GET", "DELETE"]
    assert all(call.status in (200, 201, 202, 204) for call in content)
    assert graph.simulator.violations == []


# Listings


def test_a_folder_of_many_pages_is_listed_whole(target: OneDriveTarget, graph: SimulatedGraph) -> None:
    graph.knobs.page_size = 3
    names = sorted(f"USMF_{number:02} 100% #+&.zip" for number in range(10))
    for name in names:
        target.put(name)
    graph.faults.forget_calls()

    assert target.names() == names
    assert len(graph.statuses("GET", "/children")) == 4


@pytest.mark.parametrize("size", [6, 7])
def test_a_folder_whose_last_page_is_full_or_not_is_listed_once(
    target: OneDriveTarget, graph: SimulatedGraph, size: int
) -> None:
    graph.knobs.page_size = 3
    for number in range(size):
        target.put(f"USMF_{number}.zip")

    assert len(target.names()) == size


def test_files_that_leave_while_they_are_listed_hide_none_of_the_others(
    target: OneDriveTarget, graph: SimulatedGraph
) -> None:
    graph.knobs.page_size = 2
    for number in range(7):
        target.put(f"USMF_{number}.zip")
    folder = target.subfolder()

    seen = []
    for item in target.onedrive.list_files(target.folder.item_id):
        seen.append(item.name)
        target.onedrive.move(item.item_id, to_folder_id=folder.item_id, name=item.name, etag=item.etag)

    assert seen == [f"USMF_{number}.zip" for number in range(7)]


def test_a_page_that_is_lost_is_asked_for_again(target: OneDriveTarget, graph: SimulatedGraph) -> None:
    graph.knobs.page_size = 2
    for number in range(5):
        target.put(f"USMF_{number}.zip")
    graph.fault("GET", "/children", faults.lost_after(), nth=2)

    assert len(target.names()) == 5


@pytest.mark.parametrize("fault", [faults.cut_body(), faults.garbage(), faults.status(502)])
def test_a_listing_that_breaks_off_is_no_short_listing(
    target: OneDriveTarget, graph: SimulatedGraph, fault: faults.Action
) -> None:
    graph.knobs.page_size = 2
    for number in range(5):
        target.put(f"USMF_{number}.zip")
    graph.fault("GET", "/children", fault, nth=2)

    with pytest.raises(TryAgain):
        target.names()


def test_a_listing_that_lags_shows_a_file_later(target: OneDriveTarget, graph: SimulatedGraph) -> None:
    graph.knobs.listing_lag_s = 30
    target.put("USMF_1.zip")
    assert target.names() == []

    graph.clock.pass_by(31)

    assert target.names() == ["USMF_1.zip"]


def test_a_listing_that_lags_shows_a_file_that_cannot_be_claimed_any_more(
    target: OneDriveTarget, graph: SimulatedGraph
) -> None:
    item, folder = target.put("USMF_1.zip"), target.subfolder()
    graph.clock.pass_by(60)
    graph.knobs.listing_lag_s = 30
    target.onedrive.move(item.item_id, to_folder_id=folder.item_id, name="USMF_1 (mine).zip", etag=item.etag)

    (listed,) = target.onedrive.list_files(target.folder.item_id)

    with pytest.raises(ItemChanged):
        target.onedrive.move(listed.item_id, to_folder_id=folder.item_id, name="USMF_1.zip", etag=item.etag)


def test_a_file_that_a_person_puts_on_the_drive_is_pending_until_it_has_rested(
    target: OneDriveTarget, graph: SimulatedGraph
) -> None:
    graph.knobs.pending_s = 60.0
    (graph.on_disk(target.folder) / "USMF_1.zip").write_bytes(b"half")

    (item,) = target.onedrive.list_files(target.folder.item_id)
    assert item.is_pending

    graph.clock.pass_by(61)
    assert not target.onedrive.get(item.item_id).is_pending


def test_malware_is_told_and_where_it_is_found_meanwhile_the_file_is_refused(
    target: OneDriveTarget, graph: SimulatedGraph
) -> None:
    item = target.put("USMF_virus.zip")
    before = target.onedrive.get(item.item_id)
    assert before.download_url is not None
    graph.knobs.malware = ["*virus*"]

    assert target.onedrive.get(item.item_id).has_malware
    with pytest.raises(FileRejected, match="malware"):
        b"".join(read_chunks(before.download_url, target.downloads, item.size_bytes))


def test_a_file_without_a_hash_has_none(target: OneDriveTarget, graph: SimulatedGraph) -> None:
    graph.knobs.missing_hash = ["*"]

    assert target.put("USMF_1.zip").quick_xor_hash is None


# Moves


@pytest.mark.parametrize("shape", ["resourceLocked", "accessDenied", "notAllowed"])
def test_a_file_that_someone_has_open_is_moved_when_it_is_closed(
    target: OneDriveTarget, graph: SimulatedGraph, shape: str
) -> None:
    item, folder = target.put("USMF_1.zip"), target.subfolder()
    graph.knobs.locked = {"USMF_1.zip": shape}
    with pytest.raises(ItemLocked, match=r"USMF_1\.zip"):
        target.onedrive.move(item.item_id, to_folder_id=folder.item_id, name="USMF_1.zip", etag=item.etag)
    assert target.names() == ["USMF_1.zip"]

    graph.knobs.locked = {}
    target.onedrive.move(item.item_id, to_folder_id=folder.item_id, name="USMF_1.zip", etag=item.etag)

    assert target.names(folder) == ["USMF_1.zip"]


def test_a_file_on_hold_is_refused_in_onedrives_words_and_the_others_are_moved(
    target: OneDriveTarget, graph: SimulatedGraph
) -> None:
    held, other, folder = target.put("USMF_held.zip"), target.put("USMF_other.zip"), target.subfolder()
    graph.knobs.held = ["USMF_held.zip"]

    with pytest.raises(Refused, match="it's possible that it's on hold") as caught:
        target.onedrive.move(held.item_id, to_folder_id=folder.item_id, name=held.name, etag=held.etag)
    with pytest.raises(Refused, match="on hold"):
        target.onedrive.delete(held.item_id)
    target.onedrive.move(other.item_id, to_folder_id=folder.item_id, name=other.name, etag=other.etag)

    assert caught.value.call is not None
    assert (caught.value.call.status, caught.value.call.code) == (403, "accessDenied")
    assert (target.names(), target.names(folder)) == (["USMF_held.zip"], ["USMF_other.zip"])


LOST_MOVES = {
    "the connection ends without an answer": (faults.lost_after(), None),
    "the connection is reset before": (faults.reset_before(), None),
    "the answer is cut": (faults.cut_body(), TryAgain),
    "504 though it was done": (faults.status(504, handled=True), TryAgain),
    "503 though it was done": (faults.status(503, {"Retry-After": "7"}, handled=True), TryAgain),
    "a gateway's page": (faults.garbage(), TryAgain),
    "429": (faults.status(429, {"Retry-After": "7"}), TryAgain),
}


@pytest.mark.parametrize(("fault", "raised"), LOST_MOVES.values(), ids=LOST_MOVES)
def test_a_move_whose_answer_was_lost_can_simply_be_made_again(
    target: OneDriveTarget, graph: SimulatedGraph, fault: faults.Action, raised: type[TryAgain] | None
) -> None:
    item, folder = target.put("USMF_1.zip"), target.subfolder()
    graph.fault("PATCH", "/items/", fault)

    def move() -> DriveItem:
        return target.onedrive.move(item.item_id, to_folder_id=folder.item_id, name="USMF_1.zip", etag=item.etag)

    if raised:
        with pytest.raises(raised) as caught:
            move()
        assert not isinstance(caught.value, AnswerLost)
        assert caught.value.retry_after_s == (7 if fault.headers else None)
    moved = move()

    assert (moved.item_id, moved.parent_id) == (item.item_id, folder.item_id)
    assert target.names(folder) == ["USMF_1.zip"]


def test_a_version_that_changed_by_itself_after_an_upload_is_noticed(
    target: OneDriveTarget, graph: SimulatedGraph
) -> None:
    item, folder = target.put("USMF_1.zip"), target.subfolder()
    graph.fault("PATCH", "/items/", faults.status(412, body={"error": {"code": "resourceModified", "message": "x"}}))

    with pytest.raises(ItemChanged):
        target.onedrive.move(item.item_id, to_folder_id=folder.item_id, name="USMF_1.zip", etag=item.etag)


# Libraries and sites with rules of their own


def test_a_library_with_a_required_column_blames_no_file_for_it(target: OneDriveTarget, graph: SimulatedGraph) -> None:
    item, folder = target.put("USMF_1.zip"), target.subfolder()
    graph.knobs.required_columns = True

    with pytest.raises(Refused, match=r"List data validation failed.* required or validated columns"):
        target.onedrive.move(item.item_id, to_folder_id=folder.item_id, name=item.name, etag=item.etag)
    with pytest.raises(Refused, match=r"One of the provided arguments .* required or validated columns"):
        target.onedrive.open_upload(target.folder.item_id, "USMF_2.zip", 1)
    with pytest.raises(TryAgain):
        target.put("USMF_3.report.txt")

    assert target.names() == ["USMF_1.zip"]


def test_a_locked_site_lists_nothing_until_it_is_unlocked(target: OneDriveTarget, graph: SimulatedGraph) -> None:
    target.put("USMF_1.zip")
    graph.knobs.site_is_locked = True

    with pytest.raises(ItemLocked, match="have the site unlocked"):
        target.names()
    graph.knobs.site_is_locked = False

    assert target.names() == ["USMF_1.zip"]


# Folders


def test_a_folder_that_was_made_without_a_word_is_found_in_its_parent(
    target: OneDriveTarget, graph: SimulatedGraph
) -> None:
    graph.knobs.empty_create_body = True

    folder = target.subfolder("One/Two")

    assert folder.name == "Two"
    assert target.subfolder("One/Two").item_id == folder.item_id
    assert len(graph.statuses("POST", "/children")) == 3  # the test's own folder, One, Two


def test_a_folder_that_is_made_and_not_listed_yet_is_found_at_a_later_try(
    target: OneDriveTarget, graph: SimulatedGraph
) -> None:
    graph.knobs.empty_create_body = True
    graph.knobs.listing_lag_s = 30

    with pytest.raises(NotFound, match="does not list it yet"):
        target.subfolder("One/Two")
    graph.clock.pass_by(31)

    assert target.subfolder("One").name == "One"
    assert graph.statuses("POST", "/children").count(409) == 0


@pytest.mark.parametrize("fault", [faults.lost_after(), faults.status(504, handled=True), faults.cut_body()])
def test_a_folder_whose_making_was_not_answered_is_made_once(
    target: OneDriveTarget, graph: SimulatedGraph, fault: faults.Action
) -> None:
    graph.fault("POST", "/children", fault)

    for _ in range(2):
        try:
            folder = target.subfolder("One")
            break
        except TryAgain:
            continue
    else:
        pytest.fail("it was not made")

    assert folder.name == "One"
    assert [entry.name for entry in graph.on_disk(target.folder).iterdir()] == ["One"]


# Small uploads


def test_a_small_upload_whose_answer_was_lost_says_so_and_is_found_by_its_name(
    target: OneDriveTarget, graph: SimulatedGraph
) -> None:
    graph.fault("PUT", "/content", faults.lost_after())

    with pytest.raises(AnswerLost):
        target.put("USMF_1.zip")

    assert target.names() == ["USMF_1.zip"]


def test_a_small_upload_that_replaces_is_sent_again_by_itself(target: OneDriveTarget, graph: SimulatedGraph) -> None:
    graph.fault("PUT", "/content", faults.lost_after())

    item = target.onedrive.upload_small(target.folder.item_id, "USMF_1.report.txt", b"report", replace=True)

    assert target.content(item.item_id) == b"report"


def test_a_full_drive_needs_a_person_who_makes_room(target: OneDriveTarget, graph: SimulatedGraph) -> None:
    session = target.onedrive.open_upload(target.folder.item_id, "USMF_1.zip", 1)
    graph.knobs.quota_full = True

    for full in (
        lambda: target.put("USMF_2.zip"),
        lambda: target.onedrive.open_upload(target.folder.item_id, "USMF_2.zip", 1),
        lambda: session.put(0, b"x"),
    ):
        with pytest.raises(NeedsPerson, match="Free some space"):
            full()


# Upload sessions


def open_session(target: OneDriveTarget, name: str = "USMF_1.zip") -> UploadSession:
    return target.onedrive.open_upload(target.folder.item_id, name, len(THREE_CHUNKS))


@pytest.mark.parametrize("open_ended", [True, False])
def test_both_spellings_of_the_next_range_are_understood(
    target: OneDriveTarget, graph: SimulatedGraph, open_ended: bool
) -> None:
    graph.knobs.open_ended_ranges = open_ended

    assert target.content(target.upload("USMF_1.zip", THREE_CHUNKS).item_id) == THREE_CHUNKS


LOST_CHUNKS = {
    "the connection ends without an answer": (faults.lost_after(), False),
    "the connection is reset before": (faults.reset_before(), False),
    "the answer is cut": (faults.cut_body(), True),
    "504 though it was taken": (faults.status(504, handled=True), True),
    "504 and it was not taken": (faults.status(504), True),
    "a gateway's page": (faults.garbage(), True),
}


@pytest.mark.parametrize(("fault", "raises"), LOST_CHUNKS.values(), ids=LOST_CHUNKS)
@pytest.mark.parametrize("nth", [1, 2])
def test_a_chunk_whose_answer_was_lost_can_simply_be_sent_again(
    target: OneDriveTarget, graph: SimulatedGraph, fault: faults.Action, raises: bool, nth: int
) -> None:
    graph.content_fault("PUT", fault, nth=nth)
    item: DriveItem | None = None
    with open_session(target) as session:
        for start in range(0, len(THREE_CHUNKS), UNIT):
            chunk = THREE_CHUNKS[start : start + UNIT]
            try:
                item = session.put(start, chunk)
            except TryAgain:
                assert raises
                assert start == (nth - 1) * UNIT
                item = session.put(start, chunk)

    assert item is not None
    assert target.content(item.item_id) == THREE_CHUNKS


@pytest.mark.parametrize("fault", [faults.lost_after(), faults.status(504, handled=True)])
def test_where_the_answer_to_the_last_chunk_was_lost_the_file_is_there(
    target: OneDriveTarget, graph: SimulatedGraph, fault: faults.Action
) -> None:
    graph.content_fault("PUT", fault, nth=3)

    with pytest.raises(TryAgain):
        target.upload("USMF_1.zip", THREE_CHUNKS)

    (item,) = target.onedrive.list_files(target.folder.item_id)
    assert (item.name, item.size_bytes) == ("USMF_1.zip", len(THREE_CHUNKS))
    assert item.quick_xor_hash == QuickXorHash(THREE_CHUNKS).base64()


@pytest.mark.parametrize(("chunk_bytes", "sent_bytes"), [(2 * UNIT, UNIT), (len(THREE_CHUNKS), 100_001)])
def test_of_a_chunk_that_broke_off_only_the_rest_is_sent(
    target: OneDriveTarget, graph: SimulatedGraph, chunk_bytes: int, sent_bytes: int
) -> None:
    graph.knobs.keep_cut_chunks = True
    with open_session(target) as session:
        send_and_break_off(graph, session, THREE_CHUNKS[:chunk_bytes], sent_bytes=sent_bytes)
        assert session.resume_from() == sent_bytes

        item = session.put(0, THREE_CHUNKS[:chunk_bytes])
        if chunk_bytes < len(THREE_CHUNKS):
            item = session.put(chunk_bytes, THREE_CHUNKS[chunk_bytes:])

    assert item is not None
    assert target.content(item.item_id) == THREE_CHUNKS


def test_a_chunk_that_broke_off_where_it_cannot_be_gone_on_with_begins_the_upload_anew(
    target: OneDriveTarget, graph: SimulatedGraph
) -> None:
    graph.knobs.keep_cut_chunks = True
    with open_session(target) as session:
        send_and_break_off(graph, session, THREE_CHUNKS[: 2 * UNIT], sent_bytes=100_001)

        with pytest.raises(TryAgain, match="starts over"):
            session.put(0, THREE_CHUNKS[: 2 * UNIT])


def send_and_break_off(graph: SimulatedGraph, session: UploadSession, chunk: bytes, *, sent_bytes: int) -> None:
    """Send the beginning of a first chunk and close the connection, as a lost Wi-Fi does."""
    address = urlsplit(session._url.reveal())
    uploads = graph.simulator.folder.parent / f".{graph.simulator.folder.name}.onedrive" / "uploads"
    with socket.create_connection((address.hostname or "", address.port or 0)) as connection:
        head = (
            f"PUT {address.path}?{address.query} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(chunk)}\r\n"
            f"Content-Range: bytes 0-{len(chunk) - 1}/{len(THREE_CHUNKS)}\r\n\r\n"
        )
        connection.sendall(head.encode() + chunk[:sent_bytes])
        wait_for(lambda: any(file.stat().st_size == sent_bytes for file in uploads.iterdir()))
    wait_for(lambda: session.resume_from() == sent_bytes)


def test_a_session_that_has_expired_begins_the_upload_anew(target: OneDriveTarget, graph: SimulatedGraph) -> None:
    session = open_session(target)
    session.put(0, THREE_CHUNKS[:UNIT])
    graph.clock.pass_by(1000)  # OneDrive drops a session after 15 minutes without a call

    with pytest.raises(TryAgain, match="starts over"):
        session.put(UNIT, THREE_CHUNKS[UNIT : 2 * UNIT])

    target.upload("USMF_1.zip", THREE_CHUNKS)


def test_a_session_whose_key_has_run_out_begins_the_upload_anew(target: OneDriveTarget, graph: SimulatedGraph) -> None:
    graph.knobs.upload_session_life_s = 10 * 24 * 3600.0
    session = open_session(target)
    graph.clock.pass_by(25 * 3600)

    with pytest.raises(TryAgain, match="starts over"):
        session.put(0, THREE_CHUNKS[:UNIT])


# What OneDrive answered in https://github.com/home-assistant/core/issues/137098
BUSY = {
    "error": {
        "code": "resourceModified",
        "message": "Optimistic concurrency failure during fragmented upload.",
        "innerError": {"request-id": "0"},
    }
}


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("is_taken", [True, False], ids=["it was taken", "it was not"])
def test_an_upload_goes_on_from_where_it_is_after_a_409_that_passes(
    target: OneDriveTarget, graph: SimulatedGraph, nth: int, is_taken: bool
) -> None:
    graph.content_fault("PUT", faults.status(409, body=BUSY, handled=is_taken), nth=nth)

    item = target.upload("USMF_1.zip", THREE_CHUNKS)

    assert target.content(item.item_id) == THREE_CHUNKS
    assert graph.statuses("PUT", "").count(409) == 1
    assert graph.statuses("POST", "createUploadSession") == [200]


def test_a_last_chunk_that_such_a_409_has_kept_out_is_sent_again(target: OneDriveTarget, graph: SimulatedGraph) -> None:
    graph.content_fault("PUT", faults.status(409, body=BUSY), nth=3)

    assert target.content(target.upload("USMF_1.zip", THREE_CHUNKS).item_id) == THREE_CHUNKS


def test_a_session_that_stays_busy_is_given_up_and_its_name_is_not_taken(
    target: OneDriveTarget, graph: SimulatedGraph
) -> None:
    graph.content_fault("PUT", faults.status(409, body=BUSY), nth=2, times=None)

    with pytest.raises(TryAgain, match="busy with the upload") as caught:
        target.upload("USMF_1.zip", THREE_CHUNKS)

    assert not isinstance(caught.value, NameTaken)
    graph.faults.clear()
    assert target.content(target.upload("USMF_1.zip", THREE_CHUNKS).item_id) == THREE_CHUNKS


@pytest.mark.parametrize("code", ["nameAlreadyExists", "upload_name_conflict"])
def test_a_409_about_the_name_says_that_the_name_is_taken(
    target: OneDriveTarget, graph: SimulatedGraph, code: str
) -> None:
    graph.content_fault("PUT", faults.status(409, body={"error": {"code": code, "message": "no"}}), nth=3)

    with pytest.raises(NameTaken):
        target.upload("USMF_1.zip", THREE_CHUNKS)


def test_an_upload_that_replaces_meets_a_busy_file_and_not_a_taken_name(
    target: OneDriveTarget, graph: SimulatedGraph
) -> None:
    target.put("USMF_1.report.txt")
    graph.fault("PUT", "/content", faults.status(409, body=BUSY))

    with pytest.raises(TryAgain, match="busy") as caught:
        target.onedrive.upload_small(target.folder.item_id, "USMF_1.report.txt", b"report", replace=True)

    assert not isinstance(caught.value, NameTaken)
    item = target.onedrive.upload_small(target.folder.item_id, "USMF_1.report.txt", b"report", replace=True)
    assert target.content(item.item_id) == b"report"


def test_a_second_upload_of_one_name_waits_for_the_first(target: OneDriveTarget) -> None:
    first = open_session(target)

    with pytest.raises(NameTaken):
        open_session(target)
    first.cancel()

    open_session(target).cancel()


def test_a_clash_may_be_told_when_a_session_is_opened(target: OneDriveTarget, graph: SimulatedGraph) -> None:
    graph.knobs.conflict_at_create = True
    target.put("USMF_1.zip")

    with pytest.raises(NameTaken):
        open_session(target)


def test_a_session_that_cannot_be_cancelled_hides_no_error(target: OneDriveTarget, graph: SimulatedGraph) -> None:
    graph.content_fault("DELETE", faults.status(500))

    with pytest.raises(ZeroDivisionError), open_session(target):
        raise ZeroDivisionError


# Downloads


def large(target: OneDriveTarget) -> tuple[DriveItem, bytes]:
    content = THREE_CHUNKS * 13
    item = target.onedrive.get(target.upload("USMF_large.zip", content, chunk_bytes=16 * UNIT).item_id)
    assert item.size_bytes > 8 * 1024 * 1024
    return item, content


def test_a_server_that_does_not_know_ranges_is_read_rightly(target: OneDriveTarget, graph: SimulatedGraph) -> None:
    item, content = large(target)
    graph.knobs.ignore_range = True
    assert item.download_url is not None

    with open_package(item.download_url, item.size_bytes, target.downloads) as package:
        package.file.seek(-100, 2)
        assert package.file.read() == content[-100:]
        assert b"".join(package.chunks()) == content


def test_ranges_are_asked_for_where_only_a_part_is_read(target: OneDriveTarget, graph: SimulatedGraph) -> None:
    item, content = large(target)
    graph.faults.forget_calls()
    assert item.download_url is not None

    with open_package(item.download_url, item.size_bytes, target.downloads) as package:
        package.file.seek(-100, 2)
        assert package.file.read() == content[-100:]

    assert {call.status for call in graph.faults.calls} == {206}


def test_a_download_address_that_has_expired_is_asked_for_anew(target: OneDriveTarget, graph: SimulatedGraph) -> None:
    graph.knobs.download_url_life_s = 60.0
    item = target.onedrive.get(target.put("USMF_1.zip", b"content").item_id)
    assert item.download_url is not None
    graph.clock.pass_by(61)

    with pytest.raises(SasExpired):
        b"".join(read_chunks(item.download_url, target.downloads, item.size_bytes))

    assert target.content(item.item_id) == b"content"


def test_a_download_that_is_cut_off_is_damaged_and_not_believed(target: OneDriveTarget, graph: SimulatedGraph) -> None:
    item = target.onedrive.get(target.put("USMF_1.zip", THREE_CHUNKS).item_id)
    graph.content_fault("GET", faults.cut_body())
    assert item.download_url is not None

    with pytest.raises(DataDamaged):
        b"".join(read_chunks(item.download_url, target.downloads, item.size_bytes))


def test_a_file_that_was_replaced_since_it_was_looked_at_is_damaged(target: OneDriveTarget) -> None:
    item = target.onedrive.get(target.put("USMF_1.zip", b"content").item_id)
    target.onedrive.upload_small(target.folder.item_id, "USMF_1.zip", b"other content", replace=True)
    assert item.download_url is not None

    with pytest.raises(DataDamaged):
        b"".join(read_chunks(item.download_url, target.downloads, item.size_bytes))


def test_content_without_a_download_address_is_had_by_its_own_address_and_without_a_token(
    target: OneDriveTarget, graph: SimulatedGraph
) -> None:
    graph.knobs.hide_download_url = True
    item = target.onedrive.get(target.put("USMF_1.zip", b"content").item_id)
    assert item.download_url is None
    graph.faults.forget_calls()

    url = target.onedrive.content_url(item.item_id)

    assert b"".join(read_chunks(url, target.downloads, item.size_bytes)) == b"content"
    assert [(call.service, call.status) for call in graph.faults.calls] == [("graph", 302), ("graph-content", 200)]
    assert "tempauth" not in f"{url!r} {url}"


# Check-out


def level(graph: SimulatedGraph, item: DriveItem) -> str:
    """Return how Graph shows the file to any client."""
    shown = graph.call("GET", f"{graph.drive}/items/{item.item_id}?$select=id,publication").json()
    return str(shown["publication"]["level"])


def test_what_the_app_has_written_into_a_library_with_check_out_is_checked_in(
    target: OneDriveTarget, graph: SimulatedGraph
) -> None:
    graph.knobs.requires_check_out = True
    item = target.upload("USMF_1.zip", THREE_CHUNKS)
    assert level(graph, item) == "checkout"

    assert target.onedrive.check_in(item.item_id)

    assert level(graph, item) == "published"
    assert not target.onedrive.check_in(item.item_id)


def test_what_is_not_checked_out_is_not_checked_in(target: OneDriveTarget, graph: SimulatedGraph) -> None:
    item = target.put("USMF_1.zip")

    assert not target.onedrive.check_in(item.item_id)

    assert graph.statuses("POST", "/checkin") == []


@pytest.mark.parametrize(
    "fault",
    [faults.lost_after(), faults.status(504, handled=True), faults.reset_before()],
    ids=["lost", "504", "reset"],
)
def test_a_check_in_whose_answer_was_lost_is_done_all_the_same(
    target: OneDriveTarget, graph: SimulatedGraph, fault: faults.Action
) -> None:
    graph.knobs.requires_check_out = True
    item = target.put("USMF_1.zip")
    graph.fault("POST", "/checkin", fault)

    assert target.onedrive.check_in(item.item_id)

    assert level(graph, item) == "published"


def test_what_a_person_has_checked_out_is_left_to_the_person(target: OneDriveTarget, graph: SimulatedGraph) -> None:
    item = target.put("USMF_1.zip")
    graph.knobs.checked_out = ("USMF_1.zip",)

    with pytest.raises(ItemLocked, match="checked out"):
        target.onedrive.check_in(item.item_id)


@pytest.mark.parametrize("status", [400, 403])
def test_a_check_in_that_the_library_refuses_says_who_sees_the_file(
    target: OneDriveTarget, graph: SimulatedGraph, status: int
) -> None:
    graph.knobs.requires_check_out = True
    item = target.put("USMF_1.zip")
    body = {"error": {"code": "invalidRequest", "message": "You must fill out all required properties."}}
    graph.fault("POST", "/checkin", faults.status(status, body=body))

    with pytest.raises(Refused, match=r"only the app can see it: .*required properties.*columns"):
        target.onedrive.check_in(item.item_id)


@pytest.mark.parametrize("status", [400, 405, 501])
def test_a_drive_that_knows_no_check_out_has_nothing_checked_out(
    target: OneDriveTarget, graph: SimulatedGraph, status: int
) -> None:
    item = target.put("USMF_1.zip")
    graph.fault("GET", "publication", faults.status(status, body={"error": {"code": "invalidRequest"}}))

    assert not target.onedrive.check_in(item.item_id)


# Two implementations of one checksum


@given(st.binary(max_size=2000), st.lists(st.integers(1, 700), max_size=8), st.integers(1, 30))
@settings(deadline=None)
def test_client_and_simulator_agree_on_the_checksum_of_anything(block: bytes, cuts: list[int], times: int) -> None:
    content = block * times
    client, simulator = QuickXorHash(), QuickXor()
    rest = content
    for cut in cuts:
        client.update(rest[:cut])
        rest = rest[cut:]
    client.update(rest)
    for start in range(0, len(content), 997):
        simulator.update(content[start : start + 997])

    assert client.base64() == simulator.base64()
