"""Downloads by pre-authenticated addresses: graph_onedrive §3.4, §8 #25-#29."""

import pytest

from local_cloud.faults import Fault, cut_body, late
from tests.unit.local_cloud.onedrive.graph import DEADLINE_S, Clock, Graph, code_of

CONTENT = bytes(range(100))


def download_url(graph: Graph) -> str:
    graph.put("a.zip", CONTENT)
    return str(graph.item("a.zip")["@microsoft.graph.downloadUrl"])


def test_a_download_url_needs_no_token_and_lies_on_another_port(graph: Graph) -> None:
    """§3.4, §9.5: pre-authenticated, on a different port, with one tempauth."""
    url = download_url(graph)
    assert url.startswith(graph.simulator.content_url)
    assert graph.simulator.content_url != graph.simulator.graph_url
    assert url.count("tempauth=") == 1
    response = graph.plain.get(url, timeout=DEADLINE_S)
    assert (response.status_code, response.content) == (200, CONTENT)
    assert response.headers["Content-Length"] == "100"
    assert graph.violations == []


def test_a_token_shown_to_a_download_url_is_refused_and_written_down(graph: Graph) -> None:
    """§3.4, §8 #26: no Authorization header."""
    response = graph.http.get(download_url(graph), timeout=DEADLINE_S)
    assert (response.status_code, code_of(response)) == (401, "unauthenticated")
    assert len(graph.violations) == 1


def test_a_download_url_dies(graph: Graph, clock: Clock) -> None:
    """§3.4: lifetime; never cache."""
    graph.knobs.download_url_life_s = 60.0
    url = download_url(graph)
    clock.pass_s(61)
    assert graph.plain.get(url, timeout=DEADLINE_S).status_code == 401
    assert graph.plain.get(download_url(graph), timeout=DEADLINE_S).status_code == 200
    assert graph.violations == []


@pytest.mark.parametrize("change", ["tempauth=v1.", "tempauth=", "UniqueId=0"])
def test_a_download_url_that_was_changed_is_refused(graph: Graph, change: str) -> None:
    url = download_url(graph)
    name = change.partition("=")[0]
    head, _, tail = url.partition(f"{name}=")
    assert graph.plain.get(f"{head}{change}{tail[2:]}", timeout=DEADLINE_S).status_code in (401, 404)


def test_a_download_url_follows_a_move_and_ends_with_the_file(graph: Graph) -> None:
    """§3.4: 404 after delete."""
    url = download_url(graph)
    graph.patch("root:/a.zip", {"parentReference": {"id": graph.folder_id("Done")}})
    assert graph.plain.get(url, timeout=DEADLINE_S).content == CONTENT
    graph.call("DELETE", "root:/Done/a.zip")
    assert graph.plain.get(url, timeout=DEADLINE_S).status_code == 404


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [("bytes=0-9", 0, 9), ("bytes=90-", 90, 99), ("bytes=-5", 95, 99), ("bytes=95-200", 95, 99), ("bytes=0-0", 0, 0)],
)
def test_a_range_is_answered_with_206(graph: Graph, header: str, start: int, end: int) -> None:
    response = graph.plain.get(download_url(graph), headers={"Range": header}, timeout=DEADLINE_S)
    assert (response.status_code, response.content) == (206, CONTENT[start : end + 1])
    assert response.headers["Content-Range"] == f"bytes {start}-{end}/100"


def test_a_range_behind_the_end_is_answered_with_416(graph: Graph) -> None:
    response = graph.plain.get(download_url(graph), headers={"Range": "bytes=100-"}, timeout=DEADLINE_S)
    assert response.status_code == 416
    assert response.headers["Content-Range"] == "bytes */100"


def test_ranges_may_be_ignored(graph: Graph) -> None:
    """§3.4, §8 #29: 200 with the full body."""
    graph.knobs.ignore_range = True
    response = graph.plain.get(download_url(graph), headers={"Range": "bytes=10-19"}, timeout=DEADLINE_S)
    assert (response.status_code, response.content) == (200, CONTENT)


def test_several_ranges_are_answered_with_everything(graph: Graph) -> None:
    response = graph.plain.get(download_url(graph), headers={"Range": "bytes=0-1,5-6"}, timeout=DEADLINE_S)
    assert (response.status_code, len(response.content)) == (200, 100)


def test_an_empty_file_can_be_downloaded(graph: Graph) -> None:
    graph.put("empty.zip", b"")
    response = graph.plain.get(graph.item("empty.zip")["@microsoft.graph.downloadUrl"], timeout=DEADLINE_S)
    assert (response.status_code, response.content) == (200, b"")


def test_a_large_file_is_streamed(graph: Graph) -> None:
    content = bytes(1000) * 17_000  # 17 MB: more than is sent in one piece
    graph.put("large.bin", content + b"end")
    response = graph.plain.get(graph.item("large.bin")["@microsoft.graph.downloadUrl"], timeout=DEADLINE_S)
    assert len(response.content) == len(content) + 3
    assert response.content.endswith(b"end")


def test_content_is_a_redirect_to_such_a_url(graph: Graph) -> None:
    """§3.4: 302; If-None-Match gives 304."""
    graph.put("a.zip", CONTENT)
    response = graph.get("root:/a.zip:/content")
    assert response.status_code == 302
    assert graph.plain.get(response.headers["Location"], timeout=DEADLINE_S).content == CONTENT
    tag = graph.item("a.zip")["eTag"]
    assert graph.get("root:/a.zip:/content", headers={"If-None-Match": tag}).status_code == 304


def test_malware_is_shown_and_not_served(graph: Graph) -> None:
    """§3.4: malware facet; download 403 malwareDetected with X-Virus-Infected."""
    graph.knobs.malware = ["*.EXE"]
    graph.put("bad.exe", CONTENT)
    item = graph.item("bad.exe")
    assert "malware" in item
    response = graph.plain.get(item["@microsoft.graph.downloadUrl"], timeout=DEADLINE_S)
    assert (response.status_code, code_of(response)) == (403, "malwareDetected")
    assert "X-Virus-Infected" in response.headers


def test_a_download_can_be_cut_and_delayed_as_planned(graph: Graph) -> None:
    url = download_url(graph)
    graph.faults.add(Fault("graph-content", "GET", "download", do=cut_body()))
    graph.faults.add(Fault("graph-content", "GET", "download", nth=2, do=late(0.01)))
    with pytest.raises(IOError, match=r"50 bytes read, 50 more expected|IncompleteRead|ended prematurely"):
        _ = graph.plain.get(url, timeout=DEADLINE_S).content
    assert graph.plain.get(url, timeout=DEADLINE_S).content == CONTENT


def test_an_unknown_address_on_the_content_port_is_a_violation(graph: Graph) -> None:
    assert (
        graph.plain.get(f"{graph.simulator.content_url}/v1.0/drives/b!local/root", timeout=DEADLINE_S).status_code
        == 404
    )
    assert len(graph.violations) == 1
