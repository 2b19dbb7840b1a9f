"""Which run was the first to import a content: one small blob for each, ``content/<digest>``, made if it is absent.

The name follows from environment, company, data project and content alone, so of two runs that make it one is first.
What a mark means is ``duplicates.py``.
"""

import hashlib
from datetime import UTC
from typing import TYPE_CHECKING, Final

from shared.escapes import json_text, read_json
from shared.log import log
from shared.moments import read_moment
from shared.runs.values import FirstImport

if TYPE_CHECKING:
    from shared.azure_storage.container import BlobContainer

FOLDER: Final = "content/"
MARK_FORMAT: Final = 1


def mark_name(environment_url: str, company: str, data_project: str, sha256: str) -> str:
    """Return the name of a content's mark. F&O compares companies and data projects without case."""
    parts = (environment_url.casefold(), company.casefold(), data_project.casefold(), sha256)
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:40]


class Marks:
    """Marks in a blob container. All verbs raise TryAgain and NeedsPerson."""

    def __init__(self, container: "BlobContainer") -> None:
        self._container = container

    def create(self, name: str, first: FirstImport) -> bool:
        """Make a mark; return False if there is one of that name."""
        return self._container.create(FOLDER + name, _content(first)) is not None

    def read(self, name: str) -> tuple[FirstImport | None, str]:
        """Return which run a mark names (None: it cannot be read) and its version, "" if there is no mark."""
        blob = self._container.read(FOLDER + name)
        if blob is None:
            return None, ""
        try:
            content = read_json(blob.content, mend=True)
            first = FirstImport(
                run_id=str(content["run_id"]),
                address=str(content["address"]),
                file_name=str(content["file_name"]),
                since=read_moment(content["since"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            log.error("mark.damaged", blob=FOLDER + name, reason=type(error).__name__)
            return None, blob.etag
        return first, blob.etag

    def replace(self, name: str, first: FirstImport, etag: str) -> None:
        """Write a mark over the version that was read. Raises RecordChanged if it was written since, or is gone."""
        self._container.replace(FOLDER + name, _content(first), etag=etag)


def _content(first: FirstImport) -> bytes:
    return json_text(
        {
            "format": MARK_FORMAT,
            "run_id": first.run_id,
            "address": first.address,
            "file_name": first.file_name,
            "since": first.since.astimezone(UTC).isoformat(),
        }
    ).encode()
