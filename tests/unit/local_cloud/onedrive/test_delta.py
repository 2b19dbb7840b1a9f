"""What changed since: graph_onedrive §2."""

from tests.unit.local_cloud.onedrive.changes import enumerate_changes
from tests.unit.local_cloud.onedrive.graph import Clock, Graph, code_of


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
