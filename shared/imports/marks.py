"""Which run was the first to import a content: one small blob for each, ``content/<digest>``, made if it is absent.

The name follows from environment, company, data project and content alone, so of two runs that make it one is first.
What a mark means is ``duplicates.py``.
"""

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

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


class Mark(NamedTuple):
    """What is kept of a content."""

    first: FirstImport | None = None  # the run that imported it first; None: there is none, or it cannot be read
    etag: str = ""  # "": there is no mark
    last: datetime | None = None  # when a run last imported the same content; None: that was the first one


class Marks:
    """Marks in a blob container. All verbs raise TryAgain and NeedsPerson."""

    def __init__(self, container: "BlobContainer") -> None:
        self._container = container

    def create(self, name: str, first: FirstImport) -> bool:
        """Make a mark; return False if there is one of that name."""
        return self._container.create(FOLDER + name, _content(first)) is not None

    def read(self, name: str) -> Mark:
        """Return what a mark says."""
        blob = self._container.read(FOLDER + name)
        if blob is None:
            return Mark()
        try:
            content = read_json(blob.content, mend=True)
            first = FirstImport(
                run_id=str(content["run_id"]),
                address=str(content["address"]),
                file_name=str(content["file_name"]),
                since=read_moment(content["since"]),
            )
            last = read_moment(content["last"]) if content.get("last") else None
        except (KeyError, TypeError, ValueError) as error:
            log.error("mark.damaged", blob=FOLDER + name, reason=type(error).__name__)
            return Mark(etag=blob.etag)
        return Mark(first, blob.etag, last)

    def replace(self, name: str, first: FirstImport, etag: str, *, last: datetime | None = None) -> None:
        """Write a mark over the version that was read. Raises RecordChanged if it was written since, or is gone."""
        self._container.replace(FOLDER + name, _content(first, last), etag=etag)


def _content(first: FirstImport, last: datetime | None = None) -> bytes:
    content = {
        "format": MARK_FORMAT,
        "run_id": first.run_id,
        "address": first.address,
        "file_name": first.file_name,
        "since": first.since.astimezone(UTC).isoformat(),
    }
    if last:
        content["last"] = last.astimezone(UTC).isoformat()
    return json_text(content).encode()
