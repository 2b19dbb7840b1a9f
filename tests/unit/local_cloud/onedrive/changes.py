"""How tests follow the changes of a drive."""

from typing import Any

from tests.unit.local_cloud.onedrive.graph import Graph


def enumerate_changes(graph: Graph, link: str) -> tuple[list[dict[str, Any]], str]:
    """Return all entries, and the link for the next time."""
    entries: list[dict[str, Any]] = []
    while True:
        page = graph.get(link).json()
        entries += page["value"]
        if "@odata.deltaLink" in page:
            return entries, page["@odata.deltaLink"]
        link = page["@odata.nextLink"]
