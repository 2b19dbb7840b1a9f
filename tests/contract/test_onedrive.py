"""The simulated OneDrive keeps the contract, and the app's client copes with all that is known to go wrong there."""

import socket
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_cloud import faults
from local_cloud.onedrive.quick_xor import QuickXor
from shared.clients.blobs.errors import SasExpired
from shared.clients.blobs.quick_xor_hash import QuickXorHash
from shared.clients.blobs.read import open_package
from shared.clients.graph.drive_item import DriveItem
from shared.clients.graph.upload import UploadSession
from shared.errors import (
    AnswerLost,
    DataDamaged,
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


def test_a_signed_in_user_has_a_drive_and_an_app_by_itself_has_none(graph: SimulatedGraph) -> None:
    user = graph.identity.desk.issue(graph.simulator.graph_url, app_id="app", user="ada@contoso.onmicrosoft.com")

    assert graph.onedrive(drive="me/drive", token=FixedToken(user)).drive_id() == graph.simulator.drive_id
    with pytest.raises(NeedsPerson, match="me/drive"):
        graph.onedrive(drive="me/drive").drive_id()
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


def test_files_that_leave_while_they_are_listed_hide_none_of_the_others(
    target: OneDriveTarget, graph: SimulatedGraph
) -> None:
    graph.knobs.page_size = 2
    for number in range(7):
        target.put(f"USMF_{number}.zip")
    folder = target.subfolder()

    seen = [target.move(item, folder, item.name).name for item in target.onedrive.list_files(target.folder.item_id)]

    assert seen == [f"USMF_{number}.zip" for number in range(7)]


def test_a_listing_that_lags_shows_a_file_that_cannot_be_claimed_any_more(
    target: OneDriveTarget, graph: SimulatedGraph
) -> None:
    item, folder = target.put("USMF_1.zip"), target.subfolder()
    graph.clock.pass_by(60)
    graph.knobs.listing_lag_s = 30
    target.move(item, folder, "USMF_1 (mine).zip")

    (listed,) = target.onedrive.list_files(target.folder.item_id)

    with pytest.raises(ItemChanged):
        target.move(replace(listed, etag=item.etag), folder)


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
        target.move(item, folder)
    assert target.names() == ["USMF_1.zip"]

    graph.knobs.locked = {}
    target.move(item, folder)

    assert target.names(folder) == ["USMF_1.zip"]


def test_a_version_that_changed_by_itself_after_an_upload_is_noticed(
    target: OneDriveTarget, graph: SimulatedGraph
) -> None:
    item, folder = target.put("USMF_1.zip"), target.subfolder()
    graph.fault("PATCH", "/items/", faults.status(412, body={"error": {"code": "resourceModified", "message": "x"}}))

    with pytest.raises(ItemChanged):
        target.move(item, folder)


# Libraries and sites with rules of their own


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

    with suppress(TryAgain):
        target.subfolder("One")

    assert target.subfolder("One").name == "One"
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

    assert target.content(target.replace("USMF_1.report.txt", b"report").item_id) == b"report"


# Upload sessions


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
    with target.session() as session:
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


@pytest.mark.parametrize(("chunk_bytes", "sent_bytes"), [(2 * UNIT, UNIT), (len(THREE_CHUNKS), 100_001)])
def test_of_a_chunk_that_broke_off_only_the_rest_is_sent(
    target: OneDriveTarget, graph: SimulatedGraph, chunk_bytes: int, sent_bytes: int
) -> None:
    graph.knobs.keep_cut_chunks = True
    with target.session() as session:
        send_and_break_off(graph, session, THREE_CHUNKS[:chunk_bytes], sent_bytes=sent_bytes)
        assert session.resume_from() == sent_bytes

        item = session.put(0, THREE_CHUNKS[:chunk_bytes])
        if chunk_bytes < len(THREE_CHUNKS):
            item = session.put(chunk_bytes, THREE_CHUNKS[chunk_bytes:])

    assert item is not None
    assert target.content(item.item_id) == THREE_CHUNKS
    with target.session(name="USMF_2.zip") as session:  # where it cannot be gone on with, the upload begins anew
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
    session = target.session()
    session.put(0, THREE_CHUNKS[:UNIT])
    graph.clock.pass_by(1000)  # OneDrive drops a session after 15 minutes without a call

    with pytest.raises(TryAgain, match="starts over"):
        session.put(UNIT, THREE_CHUNKS[UNIT : 2 * UNIT])

    target.upload("USMF_1.zip", THREE_CHUNKS)


def test_a_session_whose_key_has_run_out_begins_the_upload_anew(target: OneDriveTarget, graph: SimulatedGraph) -> None:
    graph.knobs.upload_session_life_s = 10 * 24 * 3600.0
    session = target.session()
    graph.clock.pass_by(25 * 3600)

    with pytest.raises(TryAgain, match="starts over"):
        session.put(0, THREE_CHUNKS[:UNIT])


# What OneDrive answered in https://github.com/home-assistant/core/issues/137098
_WORDS = "Optimistic concurrency failure during fragmented upload."
BUSY = {"error": {"code": "resourceModified", "message": _WORDS, "innerError": {"request-id": "0"}}}


@pytest.mark.parametrize(("nth", "is_taken"), [(1, True), (2, True), (1, False), (2, False), (3, False)])
def test_an_upload_goes_on_from_where_it_is_after_a_409_that_passes(
    target: OneDriveTarget, graph: SimulatedGraph, nth: int, is_taken: bool
) -> None:
    graph.content_fault("PUT", faults.status(409, body=BUSY, handled=is_taken), nth=nth)

    item = target.upload("USMF_1.zip", THREE_CHUNKS)

    assert target.content(item.item_id) == THREE_CHUNKS
    assert graph.statuses("PUT", "").count(409) == 1
    assert graph.statuses("POST", "createUploadSession") == [200]


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
        target.replace("USMF_1.report.txt", b"report")

    assert not isinstance(caught.value, NameTaken)
    assert target.content(target.replace("USMF_1.report.txt", b"report").item_id) == b"report"


def test_a_second_upload_of_one_name_waits_for_the_first(target: OneDriveTarget, graph: SimulatedGraph) -> None:
    first = target.session()

    with pytest.raises(NameTaken):
        target.session()
    first.cancel()

    target.session().cancel()
    graph.knobs.conflict_at_create = True  # the clash may be told when a session is opened
    target.put("USMF_1.zip")
    with pytest.raises(NameTaken):
        target.session()


def test_a_session_that_cannot_be_cancelled_hides_no_error(target: OneDriveTarget, graph: SimulatedGraph) -> None:
    graph.content_fault("DELETE", faults.status(500))

    with pytest.raises(ZeroDivisionError), target.session():
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


def test_a_download_address_that_has_expired_is_asked_for_anew(target: OneDriveTarget, graph: SimulatedGraph) -> None:
    graph.knobs.download_url_life_s = 60.0
    item = target.onedrive.get(target.put("USMF_1.zip", b"content").item_id)
    graph.clock.pass_by(61)

    with pytest.raises(SasExpired):
        target.read(item)

    assert target.content(item.item_id) == b"content"


def test_a_download_that_is_cut_off_is_damaged_and_not_believed(target: OneDriveTarget, graph: SimulatedGraph) -> None:
    item = target.onedrive.get(target.put("USMF_1.zip", THREE_CHUNKS).item_id)
    graph.content_fault("GET", faults.cut_body())

    with pytest.raises(DataDamaged):
        target.read(item)


def test_a_file_that_was_replaced_since_it_was_looked_at_is_damaged(target: OneDriveTarget) -> None:
    item = target.onedrive.get(target.put("USMF_1.zip", b"content").item_id)
    target.replace("USMF_1.zip", b"other content")

    with pytest.raises(DataDamaged):
        target.read(item)


def test_content_without_a_download_address_is_had_by_its_own_address_and_without_a_token(
    target: OneDriveTarget, graph: SimulatedGraph
) -> None:
    graph.knobs.hide_download_url = True
    item = target.onedrive.get(target.put("USMF_1.zip", b"content").item_id)
    assert item.download_url is None
    graph.faults.forget_calls()

    url = target.onedrive.content_url(item.item_id)

    assert target.read(replace(item, download_url=url)) == b"content"
    assert [(call.service, call.status) for call in graph.faults.calls] == [("graph", 302), ("graph-content", 200)]
    assert "tempauth" not in f"{url!r} {url}"


# Check-out


def level(graph: SimulatedGraph, item: DriveItem) -> str:
    """Return how Graph shows the file to any client."""
    shown = graph.get(f"{graph.drive}/items/{item.item_id}?$select=id,publication").json()
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


@pytest.mark.parametrize("fault", [faults.lost_after(), faults.status(504, handled=True), faults.reset_before()])
def test_a_check_in_whose_answer_was_lost_is_done_all_the_same(
    target: OneDriveTarget, graph: SimulatedGraph, fault: faults.Action
) -> None:
    graph.knobs.requires_check_out = True
    item = target.put("USMF_1.zip")
    graph.fault("POST", "/checkin", fault)

    assert target.onedrive.check_in(item.item_id)

    assert level(graph, item) == "published"


def test_what_a_person_or_nobody_has_checked_out_is_not_checked_in(
    target: OneDriveTarget, graph: SimulatedGraph
) -> None:
    item = target.put("USMF_1.zip")
    assert not target.onedrive.check_in(item.item_id)
    assert graph.statuses("POST", "/checkin") == []
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
