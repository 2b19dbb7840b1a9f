"""Small uploads and upload sessions: graph_onedrive §3.8, §3.9, §8 #30-#37, #46."""

import socket
from urllib.parse import urlsplit

import pytest
import requests

from local_cloud.faults import Fault, late, lost_after
from tests.unit.local_cloud.onedrive.graph import DEADLINE_S, UNIT, Clock, Graph, code_of, wait_until

CONTENT = bytes(range(256)) * (UNIT * 2 // 256) + b"the rest"  # two chunks and a bit


def test_a_small_upload_can_fail_on_a_clash_or_take_another_name(graph: Graph) -> None:
    """§3.8: conflictBehavior fail, rename."""
    graph.put("a.tar.gz", b"one")
    clash = graph.call("PUT", "root:/a.tar.gz:/content?@microsoft.graph.conflictBehavior=fail", data=b"two")
    assert (clash.status_code, code_of(clash)) == (409, "nameAlreadyExists")
    other = graph.call("PUT", "root:/a.tar.gz:/content?@microsoft.graph.conflictBehavior=rename", data=b"two")
    assert (other.status_code, other.json()["name"]) == (201, "a.tar 1.gz")
    assert (graph.folder / "a.tar.gz").read_bytes() == b"one"


def test_the_content_of_an_item_is_replaced_only_if_it_matches(graph: Graph) -> None:
    """§3.8: PUT items/{id}/content with If-Match."""
    graph.put("a.zip", b"one")
    item = graph.item("a.zip")
    put = f"items/{item['id']}/content"
    assert graph.call("PUT", put, data=b"two", headers={"If-Match": item["eTag"]}).status_code == 200
    assert graph.call("PUT", put, data=b"three", headers={"If-Match": item["eTag"]}).status_code == 412
    assert (graph.folder / "a.zip").read_bytes() == b"two"


def test_an_upload_that_a_fault_delays_arrives_whole(graph: Graph) -> None:
    graph.faults.add(Fault("graph", "PUT", "content", do=late(0.01)))
    graph.call("PUT", "root:/a.zip:/content", data=CONTENT)
    assert (graph.folder / "a.zip").read_bytes() == CONTENT


def test_a_session_keeps_the_times_it_was_given(graph: Graph) -> None:
    """§3.9, §8 #40: fileSystemInfo in the session."""
    url = graph.open_session("a.bin", fileSystemInfo={"lastModifiedDateTime": "2023-11-14T22:13:20Z"})
    assert graph.send(url, 0, b"all", 3).json()["lastModifiedDateTime"] == "2023-11-14T22:13:20Z"


def test_a_token_shown_to_an_upload_url_is_refused_and_written_down(graph: Graph) -> None:
    """§3.9: Auth header on uploadUrl gives 401."""
    url = graph.open_session("a.bin")
    assert graph.send(url, 0, b"all", 3, {"Authorization": "Bearer x"}).status_code == 401
    assert len(graph.violations) == 1


def test_a_chunk_that_is_not_a_multiple_of_320_kib_is_a_violation(graph: Graph) -> None:
    """§3.9: but for the last one."""
    url = graph.open_session("a.bin")
    assert graph.send(url, 0, CONTENT[: UNIT + 1], len(CONTENT)).status_code == 400
    assert len(graph.violations) == 1


@pytest.mark.parametrize("header", [None, "bytes 0-1", "bytes 0-4/3", "bytes 0-1/3"])
def test_a_content_range_that_is_missing_or_wrong_is_a_violation(graph: Graph, header: str | None) -> None:
    url = graph.open_session("a.bin")
    headers = {} if header is None else {"Content-Range": header}
    assert graph.plain.put(url, data=b"all", headers=headers, timeout=DEADLINE_S).status_code == 400
    assert len(graph.violations) == 1


def test_a_chunk_of_another_total_is_a_violation(graph: Graph) -> None:
    url = graph.open_session("a.bin", fileSize=4)
    assert graph.send(url, 0, b"all", 3).status_code == 400
    assert len(graph.violations) == 1


@pytest.mark.parametrize(("start", "inner"), [(0, "fragmentOverlap"), (2 * UNIT, "fragmentOutOfOrder")])
def test_a_range_that_is_not_the_next_one_is_refused(graph: Graph, start: int, inner: str) -> None:
    """§3.9, §8 #30: 416; GET the URL and go on from there."""
    url = graph.open_session("a.bin")
    total = 3 * UNIT
    graph.send(url, 0, bytes(UNIT), total)
    response = graph.send(url, start, bytes(UNIT), total)
    assert (response.status_code, code_of(response)) == (416, "invalidRange")
    assert response.json()["error"]["innerError"]["code"] == inner
    assert graph.plain.get(url, timeout=DEADLINE_S).json()["nextExpectedRanges"] == [f"{UNIT}-"]
    assert graph.violations == []


def test_a_chunk_whose_answer_was_lost_has_been_taken(graph: Graph) -> None:
    """§8 #30."""
    url = graph.open_session("a.bin")
    graph.faults.add(Fault("graph-content", "PUT", "", do=lost_after()))
    with pytest.raises(requests.ConnectionError):
        graph.send(url, 0, CONTENT[:UNIT], len(CONTENT))
    assert graph.plain.get(url, timeout=DEADLINE_S).json()["nextExpectedRanges"] == [f"{UNIT}-"]


@pytest.mark.parametrize(("keeps", "expected"), [(False, "0-"), (True, "100000-")])
def test_a_chunk_that_breaks_off_is_taken_back_or_kept_in_part(graph: Graph, keeps: bool, expected: str) -> None:
    """§3.9: nextExpectedRanges may be mid-chunk."""
    graph.knobs.keep_cut_chunks = keeps
    url = graph.open_session("a.bin")
    address = urlsplit(url)
    with socket.create_connection((address.hostname or "", address.port or 0)) as connection:
        head = (
            f"PUT {address.path}?{address.query} HTTP/1.1\r\nHost: x\r\nContent-Length: {UNIT}\r\n"
            f"Content-Range: bytes 0-{UNIT - 1}/{len(CONTENT)}\r\n\r\n"
        )
        connection.sendall(head.encode() + CONTENT[:99_000])
        session_file = next((graph.folder.parent / ".OneDrive.onedrive/uploads").iterdir())
        wait_until(lambda: session_file.stat().st_size == 99_000)
        connection.sendall(CONTENT[99_000:100_000])
        wait_until(lambda: session_file.stat().st_size == 100_000)
    wait_until(lambda: graph.plain.get(url, timeout=DEADLINE_S).json()["nextExpectedRanges"] == [expected])
    start = int(expected.rstrip("-"))
    answers = []

    def taken() -> bool:  # 416 as long as the break has not been noticed, and the session is busy with the lost chunk
        answers.append(graph.send(url, start, CONTENT[start:], len(CONTENT)))
        return answers[-1].status_code != 416

    wait_until(taken)
    end = answers[-1]
    assert end.status_code == 201
    assert (graph.folder / "a.bin").read_bytes() == CONTENT
    assert end.json()["file"] == graph.item("a.bin")["file"]
    assert graph.violations == []


def test_a_session_expires_when_nobody_calls_it(graph: Graph, clock: Clock) -> None:
    """§3.9: about 15 minutes, sliding."""
    url = graph.open_session("a.bin")
    clock.pass_s(800)
    assert graph.plain.get(url, timeout=DEADLINE_S).status_code == 200
    clock.pass_s(800)
    assert graph.plain.get(url, timeout=DEADLINE_S).status_code == 200
    clock.pass_s(901)
    assert graph.plain.get(url, timeout=DEADLINE_S).status_code == 404


def test_an_upload_url_dies_though_the_session_lives(graph: Graph, clock: Clock) -> None:
    """§3.9, §8 #33: tempauth lives for 24 h at most."""
    graph.knobs.upload_session_life_s = 7 * 24 * 3600.0
    url = graph.open_session("a.bin")
    clock.pass_s(25 * 3600)
    assert graph.plain.get(url, timeout=DEADLINE_S).status_code == 401


def test_a_finished_session_is_gone(graph: Graph) -> None:
    url = graph.open_session("a.bin")
    graph.send(url, 0, b"all", 3)
    assert graph.plain.get(url, timeout=DEADLINE_S).status_code == 404


def test_a_clash_is_found_at_the_end_of_a_session(graph: Graph) -> None:
    """§3.9: 409 nameAlreadyExists on the last chunk; bytes kept."""
    graph.put("a.bin", b"another's")
    url = graph.open_session("a.bin", conflict="fail")
    response = graph.send(url, 0, b"all", 3)
    assert (response.status_code, code_of(response)) == (409, "nameAlreadyExists")
    assert (graph.folder / "a.bin").read_bytes() == b"another's"
    assert graph.plain.get(url, timeout=DEADLINE_S).json()["nextExpectedRanges"] == []


def test_a_clash_may_be_found_when_a_session_is_made(graph: Graph) -> None:
    graph.knobs.conflict_at_create = True
    graph.put("a.bin", b"another's")
    body = {"item": {"@microsoft.graph.conflictBehavior": "fail"}}
    assert graph.post("root:/a.bin:/createUploadSession", body).status_code == 409


@pytest.mark.parametrize(("conflict", "status", "name"), [("replace", 200, "a.bin"), ("rename", 201, "a 1.bin")])
def test_a_session_can_replace_or_take_another_name(graph: Graph, conflict: str, status: int, name: str) -> None:
    graph.put("a.bin", b"old")
    response = graph.send(graph.open_session("a.bin", conflict=conflict), 0, b"all", 3)
    assert (response.status_code, response.json()["name"]) == (status, name)
    assert (graph.folder / name).read_bytes() == b"all"


def test_a_session_replaces_when_nothing_is_said(graph: Graph) -> None:
    """§3.9, §8 #36: documented as fail, but replaces."""
    graph.put("a.bin", b"old")
    url = graph.call("POST", "root:/a.bin:/createUploadSession").json()["uploadUrl"]
    assert graph.send(url, 0, b"all", 3).status_code == 200


def test_an_open_session_holds_its_name(graph: Graph, clock: Clock) -> None:
    """§3.9, §8 #35: 409 on a second session for the name, until the first is cancelled or expires."""
    graph.open_session("a.bin")
    body = {"item": {"@microsoft.graph.conflictBehavior": "replace"}}
    second = graph.post("root:/A.bin:/createUploadSession", body)
    assert (second.status_code, code_of(second)) == (409, "nameAlreadyExists")
    clock.pass_s(901)
    assert graph.post("root:/a.bin:/createUploadSession", body).status_code == 200


def test_a_session_for_an_empty_file_is_refused(graph: Graph) -> None:
    """§3.8, §8 #34."""
    body = {"item": {"fileSize": 0}}
    assert graph.post("root:/a.bin:/createUploadSession", body).status_code == 400


def test_a_full_drive_takes_nothing(graph: Graph) -> None:
    """§3.9, §8 #46: 507, not retryable."""
    url = graph.open_session("a.bin")
    graph.knobs.quota_full = True
    for response in (
        graph.send(url, 0, b"all", 3),
        graph.call("PUT", "root:/b.bin:/content", data=b"all"),
        graph.post("root:/b.bin:/createUploadSession", {}),
    ):
        assert (response.status_code, code_of(response)) == (507, "quotaLimitReached")
    assert graph.get(f"/drives/{graph.simulator.drive_id}").json()["quota"]["remaining"] == 0
