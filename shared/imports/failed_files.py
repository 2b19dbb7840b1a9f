"""Failed files that other imports wait for (``order.afterSuccess``): a small blob each, ``unresolved/<flow>/<file>``.

The name follows from the flow, the sub-folder and the name of the file, each without case, so that a mended file of
the same name is known again. All of it is metadata, so one listing tells which files of a flow have failed. When a mark
is made and when it goes is decided in ``order.py``.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from shared.config.values import folded
from shared.escapes import METADATA_LIMIT, cut, metadata_json, metadata_text, read_json, whole_text
from shared.log import log
from shared.moments import read_moment
from shared.runs.addresses import parse_address
from shared.runs.run import Run, own_name

if TYPE_CHECKING:
    from shared.azure_storage.container import BlobContainer, BlobRow

FOLDER: Final = "unresolved/"
_DAMAGED: Final = "damaged/"  # where a person has marks put that cannot be read
_LONGEST_ROW: Final = METADATA_LIMIT - 128
_LONGEST_NAME: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedFile:
    """A file that did not succeed, and that no file of its name has replaced since."""

    flow_name: str
    file_name: str
    sub_folder: str
    run: str  # the address of its run, as an ended run's
    since: datetime
    mark: str  # the name of its blob
    is_damaged: bool = False  # the mark cannot be read, so neither the file nor its run is known

    @property
    def run_id(self) -> str:
        """The id of its run; "" if the mark does not tell it."""
        found = parse_address(self.run)
        return found.run_id if found else ""

    @property
    def path(self) -> str:
        """Its name for people, with the sub-folder that it was found in."""
        if self.is_damaged:
            return f"A file of {self.flow_name} whose mark cannot be read"
        return f"{self.sub_folder}/{self.file_name}" if self.sub_folder else self.file_name


def failed_file_of(run: Run, address: str, now: datetime) -> FailedFile:
    """Return the mark of a run's file. address: of the run, as an ended run's."""
    name = own_name(run.file)
    key = f"{run.file.sub_folder}/{name}"
    return FailedFile(
        flow_name=run.flow_name,
        file_name=name,
        sub_folder=run.file.sub_folder,
        run=address,
        since=now,
        mark=f"{_folder_of(run.flow_name)}{_digest(folded(key), 40)}",
    )


class FailedFiles:
    """Marks in a blob container. All verbs raise TryAgain and NeedsPerson."""

    def __init__(self, container: "BlobContainer") -> None:
        self._container = container

    def of_flow(self, flow_name: str) -> list[FailedFile]:
        """List the failed files of a flow, the oldest failure first. One listing."""
        blobs = self._container.list_rows(_folder_of(flow_name))
        return sorted((_failed_file_from(blob, flow_name) for blob in blobs), key=lambda each: each.since)

    def of_run(self, run: Run) -> FailedFile | None:
        """Return the mark that names a run; None if there is none. One listing."""
        return next((each for each in self.of_flow(run.flow_name) if each.run_id == run.run_id), None)

    def save(self, failed: FailedFile) -> None:
        """Make a mark, or let the one of the same file name another run."""
        said = {
            "flow": failed.flow_name,
            "file": cut(failed.file_name, _LONGEST_NAME),
            "sub_folder": failed.sub_folder,
            "run": failed.run,
            "since": failed.since.astimezone(UTC).isoformat(),
        }
        self._container.write(failed.mark, b"", {"failed": metadata_json(said, _LONGEST_ROW, keep="file")})

    def put_aside_damaged(self, flow_name: str) -> list[str]:
        """Move the marks of a flow that cannot be read to ``damaged/``; return their new names.

        Nothing is deleted before it is copied. Raises RecordChanged if one was written meanwhile.
        """
        moved: list[str] = []
        for blob in self._container.list_rows(_folder_of(flow_name)):
            if _failed_file_from(blob, flow_name).is_damaged:
                moved.append(f"{_DAMAGED}{blob.name}")
                self._container.write(moved[-1], b"", blob.metadata)
                self._container.delete_version(blob.name, blob.etag)
        return moved

    def delete(self, failed: FailedFile) -> None:
        """Delete a mark; one that is gone already is as good."""
        self._container.delete(failed.mark)


def _failed_file_from(blob: "BlobRow", flow_name: str) -> FailedFile:
    """Return what a mark of a flow says; one that cannot be read counts, for its file did not succeed either."""
    try:
        said = read_json(metadata_text(blob.metadata["failed"]), mend=True)
        if parse_address(said["run"]) is None:
            raise ValueError("it names no run")
        return FailedFile(
            flow_name=str(said["flow"]),
            file_name=str(said["file"]),
            sub_folder=str(said["sub_folder"]),
            run=str(said["run"]),
            since=read_moment(said["since"]),
            mark=blob.name,
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        log.error("failed_file.damaged", blob=blob.name)
        return FailedFile(
            flow_name=flow_name,
            file_name="",
            sub_folder="",
            run="",
            since=blob.last_modified,
            mark=blob.name,
            is_damaged=True,
        )


def _folder_of(flow_name: str) -> str:
    return f"{FOLDER}{_digest(flow_name.casefold(), 12)}/"


def _digest(text: str, length: int) -> str:
    return hashlib.sha256(whole_text(text).encode()).hexdigest()[:length]
