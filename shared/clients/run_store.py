"""Where runs, leases and marks are kept: one blob container, written conditionally.

Open runs are ``open/<lane>/<order>``: the name follows from the file alone, so opening twice is one create-if-absent,
and it sorts by age, so the first row of a listing is the lane's head. Ended runs are
``ended/<yyyy>/<mm>/<dd>/<newest first>-<run id>``, those that failed also ``failed/...``, with nothing in them. What a
list shows of a run stands in its blob's metadata, so that a page of history is a listing and no record is read.
``open/<lane>/!paused`` stops a lane: it sorts before every run, so whoever asks for the lane's head sees it at no cost.
Leases are ``locks/<name>``, marks ``watch/<name>``. What a run means stands in ``domain/run.py``.
"""

import binascii
import json
import re
import threading
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import takewhile
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote, unquote

from shared.clients.storage import all_of, error_code, pages_of, storage_error, storage_errors
from shared.domain.run import FlowKind, Outcome, Run, State, Successor, run_from_json, run_to_json
from shared.errors import AppError, TryAgain
from shared.log import log

if TYPE_CHECKING:
    from azure.storage.blob import BlobLeaseClient, BlobProperties, ContainerClient

CONTAINER: Final = "runs"
BLOBS_AT_HAND: Final = 256
# Rows of a lane that its worker lists at once. Four small packages take about a second, for which a listing is used.
HEADS_LISTED: Final = 4
# Azure allows 15 to 60 seconds. https://learn.microsoft.com/rest/api/storageservices/lease-blob
# Short, because a lane stands still for so long after its worker was killed.
LEASE_S: Final = 30
RENEW_EVERY_S: Final = 10.0

_ORDER_TIME: Final = "%Y%m%dT%H%M%S%fZ"  # sorts as it runs
_ORDER_LENGTH: Final = len("20260123T010203123456Z")

# Characters of a text in a run's row. A quoted character takes up to 12 bytes, all metadata of a blob at most 8 KiB.
# https://learn.microsoft.com/rest/api/storageservices/setting-and-retrieving-properties-and-metadata-for-blob-resources
_LONGEST: Final = {"file": 255, "data_project": 100, "words": 120}
_LONGEST_OTHER: Final = 64
# Where a new run's record stands in its metadata, beside the row; bytes up to which it does.
WHOLE: Final = "whole"
LONGEST_WHOLE: Final = 3072

_PAUSED: Final = "!paused"  # in the place of a run's order, of which it sorts before every one

_DAY: Final = timedelta(days=1)
_DAY_OVER: Final = "-"  # in the place of a marker: all rows of the day were seen


class LeaseTaken(TryAgain):
    """Another worker holds this lease."""


class RecordChanged(TryAgain):
    """Another worker has written this record since it was read: it holds the lane now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRun:
    """What a listing tells of an open run without reading it."""

    lane: str
    order: str
    due: datetime
    state: State
    is_paused: bool = False  # its lane is
    record_etag: str = field(default="", compare=False)  # the record's version, for ``drop``


class Heads(NamedTuple):
    """The runs at the head of a lane, the oldest first; none where it is empty or paused."""

    runs: tuple[Run, ...]
    are_all: bool  # no other run of the lane was open


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A lane that a person has stopped."""

    lane: str
    by: str
    why: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """What a list shows of a run, told by a listing without reading its record. Long texts are cut."""

    address: str  # by which ``RunStore.run_at`` finds it
    run_id: str
    flow: FlowKind
    integration: str
    lane: str  # of an open run; "" of an ended one
    state: State
    outcome: Outcome | None
    company: str
    data_project: str
    execution_id: str
    file_name: str
    words: str  # what a person has to do, or else why it went as it did
    needs_person: bool
    opened: datetime
    due: datetime
    ended: datetime | None
    has_again: bool = False  # its work was begun again, in another run


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Some rows of the history, newest first."""

    rows: tuple[RunRow, ...]
    position: str  # what to hand in to go on behind them
    is_last_of_day: bool


class Mark:
    """A small saved note with its version, so that two writers cannot overwrite each other unseen."""

    __slots__ = ("content", "etag")

    def __init__(self, content: dict[str, str], etag: str | None) -> None:
        self.content = content
        self.etag = etag  # None where there is no note yet


class RunStore:
    """Runs, leases and marks in one blob container, which is made at the first use."""

    def __init__(self, container: "ContainerClient") -> None:
        self._container = container
        # Making a client costs the SDK a tenth of a call; an open run and a lane's lease are called again and again.
        self._blob = lru_cache(BLOBS_AT_HAND)(container.get_blob_client)

    # -- runs

    def create(self, run: Run) -> bool:
        """Save a new run; return False where its file has an open run already."""
        from azure.core.exceptions import ResourceExistsError

        record = run_to_json(run)
        metadata = _metadata(run) | _whole(record)
        try:
            self._in_container(
                lambda: self._blob(_open_name(run)).upload_blob(record.encode(), overwrite=False, metadata=metadata)
            )
        except ResourceExistsError:
            return False
        return True

    def oldest(self, lane: str) -> Heads:
        """Return the oldest run of a lane, and those right behind it that nobody has worked at yet.

        One listing of a few rows, however many wait, and at most one read: a run that nobody has worked at stands whole
        in the listing.
        """
        rows, _ = self._listed(f"open/{lane}/", "", HEADS_LISTED)
        if not rows or _is_pause(rows[0].name):
            return Heads((), are_all=True)
        first = _new_run(rows[0]) or self._read(rows[0].name)
        if first is None:
            raise TryAgain(f"the head of lane {lane} ended while it was being read")
        behind = tuple(run for run in takewhile(bool, map(_new_run, rows[1:])) if run)
        return Heads((first, *behind), are_all=1 + len(behind) == len(rows) < HEADS_LISTED)

    def next_due(self, lane: str) -> datetime | None:
        """Return when the head of a lane is due; None where it is empty or paused. One listing of one row."""
        rows, _ = self._listed(f"open/{lane}/", "", 1)
        return datetime.fromisoformat(rows[0].metadata["due"]) if rows and not _is_pause(rows[0].name) else None

    def head(self, lane: str) -> RunRow | None:
        """Return what a list shows of the run at the head of a lane, paused or not; None where it is empty."""
        return self.pause_and_head(lane)[1]

    def head_place(self, lane: str) -> str:
        """Return the place in a lane of the run at its head, "" where it is empty."""
        _, head = self._pause_and_head(lane)
        return head.name.split("/", 2)[2] if head else ""

    def save(self, run: Run) -> Run:
        """Write a run back; return it with its new version. Raises RecordChanged where another worker wrote it."""
        from azure.core import MatchConditions
        from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError

        try:
            written = self._in_container(
                lambda: self._blob(_open_name(run)).upload_blob(
                    run_to_json(run).encode(),
                    overwrite=True,
                    metadata=_metadata(run),
                    etag=run.record_etag,
                    match_condition=MatchConditions.IfNotModified,
                )
            )
        except (ResourceModifiedError, ResourceNotFoundError) as error:
            raise RecordChanged(f"run {run.run_id} was written by another worker meanwhile") from error
        return replace(run, record_etag=str(written["etag"]))

    def end(self, run: Run) -> None:
        """Move a run from open to ended. Doing it twice leaves one ended record. Raises RecordChanged as save does."""
        from azure.core import MatchConditions
        from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError

        if run.outcome and run.outcome.needs_telling:
            self._write(_name_in("failed", run.opened, run.run_id), b"", run)
        self._write(_name_in("ended", run.opened, run.run_id), run_to_json(run).encode(), run)
        try:
            self._in_container(
                lambda: self._blob(_open_name(run)).delete_blob(
                    etag=run.record_etag, match_condition=MatchConditions.IfNotModified
                )
            )
        except (ResourceModifiedError, ResourceNotFoundError) as error:
            raise RecordChanged(f"run {run.run_id} was ended by another worker meanwhile") from error

    def open_runs(self) -> Iterator[OpenRun]:
        """List all open runs, lane by lane, oldest first in each, without reading their records."""
        return self._open_runs()

    def _open_runs(self, lane: str = "") -> Iterator[OpenRun]:
        paused: set[str] = set()
        for row in self._open_blobs(lane):
            _, lane, order = row.name.split("/", 2)
            if _is_pause(row.name):
                paused.add(lane)
                continue
            yield OpenRun(
                lane=lane,
                order=order,
                due=datetime.fromisoformat(row.metadata["due"]),
                state=State(row.metadata["state"]),
                is_paused=lane in paused,
                record_etag=_etag_of(row),
            )

    def open_places(self) -> list[tuple[str, str]]:
        """List lane and order of all open runs, oldest first in each lane: a sixth of what ``open_runs`` costs."""
        names = self._in_container(lambda: all_of(self._container.list_blob_names(name_starts_with="open/")))
        places = [name.split("/", 2) for name in names if not _is_pause(name)]
        return [(lane, order) for _, lane, order in places]

    def begun(self, lane: str) -> str:
        """Return the order of the run that is under way in a lane, "" where there is none: it is at its head.

        One listing of a few rows.
        """
        rows, _ = self._listed(f"open/{lane}/", "", HEADS_LISTED)
        orders = [row.name.split("/", 2)[2] for row in rows if row.metadata.get("state", State.FOUND) != State.FOUND]
        return orders[-1] if orders else ""

    def of_same_file(self, run: Run) -> list[OpenRun]:
        """List the other open runs of a run's lane that are about the same file; rarely asked, it lists the lane."""
        key = key_of(run.order)
        return [row for row in self._open_runs(run.lane) if key_of(row.order) == key and row.order != run.order]

    def drop(self, row: OpenRun) -> None:
        """Delete an open run that nobody has begun. Raises RecordChanged where it was written since, or is gone."""
        from azure.core import MatchConditions
        from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError

        blob = self._blob(f"open/{row.lane}/{row.order}")
        try:
            self._in_container(
                lambda: blob.delete_blob(etag=row.record_etag, match_condition=MatchConditions.IfNotModified)
            )
        except (ResourceModifiedError, ResourceNotFoundError) as error:
            raise RecordChanged(
                f"another run of {key_of(row.order)} was written by another worker meanwhile"
            ) from error

    def open_rows(self) -> list[RunRow]:
        """List all open runs as ``open_runs`` does, with what a list shows of them."""
        return self.open_rows_and_pauses()[0]

    def open_rows_and_pauses(self) -> tuple[list[RunRow], list[Pause]]:
        """The same, and the lanes that are paused. One listing."""
        blobs = self._open_blobs()
        rows = [_open_row(blob) for blob in blobs if not _is_pause(blob.name)]
        return rows, [_pause(blob) for blob in blobs if _is_pause(blob.name)]

    def _open_blobs(self, lane: str = "") -> list["BlobProperties"]:
        prefix = f"open/{lane}/" if lane else "open/"
        return self._in_container(
            lambda: all_of(self._container.list_blobs(name_starts_with=prefix, include=["metadata"]))
        )

    def ended_rows(
        self,
        newest: date,
        oldest: date | None = None,
        *,
        only_failed: bool = False,
        behind: str = "",
        at_once: int = 50,
    ) -> Iterator[Rows]:
        """List ended runs by the time of their opening, newest first, a few at a time, without reading their records.

        What is not asked for is not listed: the newest cost the same however many there are.
        newest, oldest: days in UTC; only_failed: those of which a person was told; behind: the position of rows that
        were seen already, any other text is none; at_once: how many rows one call of storage is to bring.
        """
        folder = "failed" if only_failed else "ended"
        newest, marker = _position(behind) or (newest, "")
        for day in self._days(folder, newest, oldest):
            while marker != _DAY_OVER:
                rows, following = self._listed(f"{folder}/{day:%Y/%m/%d}/", marker, at_once)
                marker = following or _DAY_OVER
                yield Rows(
                    rows=tuple(_ended_row(row) for row in rows),
                    position=f"{day}~{marker}",
                    is_last_of_day=marker == _DAY_OVER,
                )
            marker = ""

    def _days(self, folder: str, newest: date, oldest: date | None) -> Iterator[date]:
        """Yield the days on which there may be rows, the newest first; months without any are left out."""
        yield newest
        if newest == oldest:
            return
        day, first_ever = newest - _DAY, self._first_day(f"{folder}/")
        while first_ever and day >= max(first_ever, oldest or first_ever):
            month = day.replace(day=1)
            if self._first_day(f"{folder}/{day:%Y/%m}/"):
                while day >= max(month, first_ever, oldest or first_ever):
                    yield day
                    day -= _DAY
            day = month - _DAY

    def _first_day(self, prefix: str) -> date | None:
        """Return the day of the first row of a listing, None where it is empty."""
        rows, _ = self._listed(prefix, "", 1)
        return date.fromisoformat("-".join(rows[0].name.split("/")[1:4])) if rows else None

    def _listed(self, prefix: str, marker: str, at_most: int) -> tuple[list["BlobProperties"], str]:
        """Return one page of a listing with metadata, and the marker of the next ("" behind the last)."""

        def listed() -> tuple[list["BlobProperties"], str]:
            listing = self._container.list_blobs(
                name_starts_with=prefix, include=["metadata"], results_per_page=at_most
            )
            return next(pages_of(listing, marker), ([], ""))

        return self._in_container(listed)

    # -- what a person has stopped

    def pause(self, pause: Pause) -> Pause | None:
        """Stop a lane. Return the pause that is there already, None where there was none."""
        from azure.core.exceptions import ResourceExistsError

        said = {"by": pause.by, "why": pause.why, "since": pause.since.astimezone(UTC).isoformat()}
        metadata = {"pause": quote(json.dumps(said, ensure_ascii=False))}
        try:
            self._in_container(
                lambda: self._blob(f"open/{pause.lane}/{_PAUSED}").upload_blob(b"", overwrite=False, metadata=metadata)
            )
        except ResourceExistsError:
            return self.paused(pause.lane)
        return None

    def resume(self, lane: str) -> bool:
        """Let a lane go on; return False where it was not paused."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            self._in_container(lambda: self._blob(f"open/{lane}/{_PAUSED}").delete_blob())
        except ResourceNotFoundError:
            return False
        return True

    def paused(self, lane: str) -> Pause | None:
        """Return who has paused a lane, and why; None where it is not paused. One listing of two rows."""
        return self.pause_and_head(lane)[0]

    def pause_and_head(self, lane: str) -> tuple[Pause | None, RunRow | None]:
        """Return what ``paused`` and ``head`` do. One listing of two rows."""
        pause, head = self._pause_and_head(lane)
        return _pause(pause) if pause else None, _open_row(head) if head else None

    def _pause_and_head(self, lane: str) -> tuple["BlobProperties | None", "BlobProperties | None"]:
        rows, _ = self._listed(f"open/{lane}/", "", 2)
        pause = rows.pop(0) if rows and _is_pause(rows[0].name) else None
        return pause, rows[0] if rows else None

    # -- one run

    def run_at(self, address: str) -> Run | None:
        """Return the run with that address, open or ended; None where there is none. One read, or two."""
        found = _ADDRESS.fullmatch(address)
        if found is None:
            return None
        open_name = _open_name_in(found)
        run = self._read(open_name) if open_name else None
        if run is None or run.run_id != found["run_id"]:  # it has ended, and its file may have another run
            opened = datetime.fromtimestamp(int(found["opened_ms"]) / 1000, UTC)
            run = self._read(_name_in("ended", opened, found["run_id"]))
        return run

    def ended_run(self, opened: datetime, run_id: str) -> Run | None:
        """Return an ended run, or None where it has not ended."""
        return self._read(_name_in("ended", opened, run_id))

    def _read(self, name: str) -> Run | None:
        from azure.core.exceptions import ResourceNotFoundError

        try:
            record, etag = self._content(name)
        except ResourceNotFoundError:
            return None
        return replace(run_from_json(record), record_etag=etag)

    def _content(self, name: str) -> tuple[bytes, str]:
        """Return what stands in a blob, and its version."""

        def read() -> tuple[bytes, str]:
            download = self._blob(name).download_blob()
            return download.readall(), str(download.properties.etag)

        return self._in_container(read)

    def save_ended(self, run: Run) -> None:
        """Write an ended run back, which was read by ``run_at``. Raises RecordChanged as save does."""
        from azure.core import MatchConditions
        from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError

        try:
            self._in_container(
                lambda: self._blob(_name_in("ended", run.opened, run.run_id)).upload_blob(
                    run_to_json(run).encode(),
                    overwrite=True,
                    metadata=_metadata(run),
                    etag=run.record_etag,
                    match_condition=MatchConditions.IfNotModified,
                )
            )
        except (ResourceModifiedError, ResourceNotFoundError) as error:
            raise RecordChanged(f"run {run.run_id} was written by somebody else meanwhile") from error
        if run.outcome and run.outcome.needs_telling:
            self._write(_name_in("failed", run.opened, run.run_id), b"", run)

    def _write(self, name: str, content: bytes, run: Run) -> None:
        blob = self._container.get_blob_client(name)
        self._in_container(lambda: blob.upload_blob(content, overwrite=True, metadata=_metadata(run)))

    # -- leases

    @contextmanager
    def lease(self, name: str) -> Iterator[None]:
        """Hold a lease while the block runs; it is renewed meanwhile. Raises LeaseTaken where another worker has it.

        A lease keeps workers out of each other's way; it is no proof. What must not happen twice is guarded by
        conditional writes, because a worker that is stopped for a minute loses its lease without noticing.
        """
        lease = self._acquire(f"locks/{name}")
        try:
            with _renewed(lease, name):
                yield
        finally:
            self._release(lease, name)

    def _acquire(self, blob_name: str) -> "BlobLeaseClient":
        from azure.core.exceptions import (
            HttpResponseError,
            ResourceExistsError,
            ResourceModifiedError,
            ResourceNotFoundError,
        )

        blob = self._blob(blob_name)
        for _ in range(2):
            try:
                return blob.acquire_lease(lease_duration=LEASE_S)
            except ResourceNotFoundError:
                # The first lease of this name: make the blob that is leased. Another worker may have done so.
                try:
                    self._in_container(lambda: blob.upload_blob(b"", overwrite=False))
                except (ResourceExistsError, ResourceModifiedError):
                    continue
            except storage_errors() as error:
                if isinstance(error, HttpResponseError) and error.status_code == 409:
                    raise LeaseTaken(f"another worker holds {blob_name}") from error
                raise _explained(error, f"lease {blob_name}") from error
        raise LeaseTaken(f"another worker holds {blob_name}")

    def _release(self, lease: "BlobLeaseClient", name: str) -> None:
        from azure.core.exceptions import AzureError

        try:
            lease.release()
        except AzureError as error:
            # It runs out by itself within a minute.
            log.warning("lease.release_failed", lease=name, reason=str(_explained(error, "release")))

    # -- marks

    def read_mark(self, name: str) -> Mark:
        """Return the note of that name; an empty one where there is none yet."""
        from azure.core.exceptions import ResourceNotFoundError

        def read() -> Mark:
            try:
                download = self._blob(f"watch/{name}").download_blob()
            except ResourceNotFoundError as error:
                if error_code(error) == "ContainerNotFound":
                    raise
                return Mark({}, None)
            return Mark(json.loads(download.readall()), download.properties.etag)

        return self._in_container(read)

    def write_mark(self, name: str, mark: Mark) -> None:
        """Save a note that was read before. Raises RecordChanged where another worker has written it since."""
        from azure.core import MatchConditions
        from azure.core.exceptions import ResourceExistsError, ResourceModifiedError

        blob = self._blob(f"watch/{name}")
        content = json.dumps(mark.content).encode()
        try:
            if mark.etag is None:
                written = self._in_container(lambda: blob.upload_blob(content, overwrite=False))
            else:
                written = self._in_container(
                    lambda: blob.upload_blob(
                        content, overwrite=True, etag=mark.etag, match_condition=MatchConditions.IfNotModified
                    )
                )
        except (ResourceExistsError, ResourceModifiedError) as error:
            raise RecordChanged(f"the note {name} was written by another worker meanwhile") from error
        mark.etag = str(written["etag"])

    # -- the container itself

    def _in_container[Result](self, call: Callable[[], Result]) -> Result:
        """Make a call to storage; on the very first one of a new app, make the container and call again.

        Raises TryAgain or NeedsPerson; conditional failures pass through for the verb that asked for the condition.
        """
        from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError

        try:
            try:
                return call()
            except ResourceNotFoundError as error:
                if error_code(error) != "ContainerNotFound":
                    raise
            with suppress(ResourceExistsError):  # another worker was quicker
                self._container.create_container()
            return call()
        except (ResourceExistsError, ResourceModifiedError, ResourceNotFoundError):
            raise
        except storage_errors() as error:
            raise _explained(error, "run records") from error


@contextmanager
def _renewed(lease: "BlobLeaseClient", name: str) -> Iterator[None]:
    """Renew a lease in the background while the block runs."""
    from azure.core.exceptions import AzureError

    done = threading.Event()
    context = copy_context()  # so that the log knows the invocation: Azure drops lines of threads that it does not know

    def renew() -> None:
        while not done.wait(RENEW_EVERY_S):
            try:
                lease.renew()
            except AzureError as error:
                log.warning("lease.lost", lease=name, reason=str(_explained(error, "renew")))
                return

    thread = threading.Thread(target=context.run, args=(renew,), name=f"renew {name}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _open_name(run: Run) -> str:
    return f"open/{run.lane}/{run.order}"


def _name_in(folder: str, opened: datetime, run_id: str) -> str:
    # The time of opening, not of ending: ending twice after a crash then writes the same record.
    newest_first = 10**13 - _milliseconds(opened)
    return f"{folder}/{opened.astimezone(UTC):%Y/%m/%d}/{newest_first:013d}-{run_id}"


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _is_pause(blob_name: str) -> bool:
    return blob_name.endswith(f"/{_PAUSED}")


def _pause(blob: "BlobProperties") -> Pause:
    said = json.loads(unquote(blob.metadata["pause"]))
    lane = blob.name.split("/", 2)[1]
    return Pause(lane=lane, by=said["by"], why=said["why"], since=datetime.fromisoformat(said["since"]))


def address_of_successor(successor: Successor) -> str:
    """Return by what ``run_at`` finds the run that does an ended one's work again."""
    return _address(successor.opened, successor.run_id, f"open/{successor.lane}/{successor.order}")


def address_of(run: Run) -> str:
    """Return by what ``run_at`` finds a run; safe in a URL, and good for as long as the run's record is kept."""
    return _address(run.opened, run.run_id, "" if run.ended else _open_name(run))


def _address(opened: datetime, run_id: str, open_name: str) -> str:
    # A lane and a place in it hold percent signs, which servers on the way decode once too often.
    place = urlsafe_b64encode(open_name.removeprefix("open/").encode()).decode().rstrip("=")
    return f"{_milliseconds(opened):013d}-{run_id}{place and '-'}{place}"


_ADDRESS: Final = re.compile(r"(?P<opened_ms>[0-9]{13})-(?P<run_id>[0-9a-f]{12})(?:-(?P<open>[A-Za-z0-9_-]{1,1500}))?")


# A lane, and a place in it as ``order_of`` makes it. Addresses come from outside: nothing else may be read through one.
_PLACE: Final = re.compile(r"[a-z0-9-]+/[0-9]{8}T[0-9]{12}Z-[A-Za-z0-9._~%-]*")


def _open_name_in(address: re.Match[str]) -> str:
    """Return the name of the open record that an address speaks of, "" where it speaks of none."""
    encoded = address["open"] or ""
    try:
        place = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode(errors="replace")
    except binascii.Error:
        return ""
    return f"open/{place}" if _PLACE.fullmatch(place) else ""


def _metadata(run: Run) -> dict[str, str]:
    shown = {
        "run_id": run.run_id,
        "flow": run.flow,
        "integration": run.integration,
        "outcome": run.outcome or "",
        "company": run.company,
        "data_project": run.data_project,
        "execution_id": run.execution_id,
        "file": run.file.name,
        "words": run.trouble.text if run.trouble else run.reason,
        "needs_person": "yes" if run.trouble else "",
        "opened": run.opened.astimezone(UTC).isoformat(),
        "ended": run.ended.astimezone(UTC).isoformat() if run.ended else "",
        "again": "yes" if run.again else "",
    }
    cut = {name: _cut(text, _LONGEST.get(name, _LONGEST_OTHER)) for name, text in shown.items() if text}
    return {
        "due": run.due.astimezone(UTC).isoformat(),
        "state": run.state.value,
        "row": _quoted(json.dumps(cut, ensure_ascii=False, separators=(",", ":"))),
    }


def _new_run(row: "BlobProperties") -> Run | None:
    """Return the run that stands whole in a listing; None where it has to be read."""
    whole = row.metadata.get(WHOLE)
    return replace(run_from_json(unquote(whole)), record_etag=_etag_of(row)) if whole else None


def _etag_of(row: "BlobProperties") -> str:
    # Observed: a listing tells the ETag without the quotes that a condition needs.
    return f'"{row.etag.strip('"')}"'


def _whole(record: str) -> dict[str, str]:
    """Return a new run's record as it fits into metadata; nothing where it is long, and the blob has to be read."""
    quoted = _quoted(record)
    return {WHOLE: quoted} if len(quoted) <= LONGEST_WHOLE else {}


def _quoted(text: str) -> str:
    """Return a text as a header takes it: in ASCII, and without spaces, which would be folded before it is signed."""
    return quote(text, safe='{}":,/()')


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _position(behind: str) -> tuple[date, str] | None:
    """Return the day and the marker of a position, None where the text is none."""
    day, _, marker = behind.partition("~")
    try:
        return (date.fromisoformat(day), marker) if marker and day > "2000" else None
    except ValueError:
        return None


def _open_row(blob: "BlobProperties") -> RunRow:
    shown = _shown(blob.metadata)
    address = _address(datetime.fromisoformat(shown["opened"]), shown["run_id"], blob.name)
    return _row(blob.metadata, shown, address, lane=blob.name.split("/", 2)[1])


def _ended_row(blob: "BlobProperties") -> RunRow:
    shown = _shown(blob.metadata)
    return _row(blob.metadata, shown, _address(datetime.fromisoformat(shown["opened"]), shown["run_id"], ""), lane="")


def _shown(metadata: Mapping[str, str]) -> dict[str, str]:
    shown: dict[str, str] = json.loads(unquote(metadata["row"]))
    return shown


def _row(metadata: Mapping[str, str], shown: Mapping[str, str], address: str, *, lane: str) -> RunRow:
    return RunRow(
        address=address,
        run_id=shown["run_id"],
        flow=FlowKind(shown["flow"]),
        integration=shown["integration"],
        lane=lane,
        state=State(metadata["state"]),
        outcome=Outcome(shown["outcome"]) if "outcome" in shown else None,
        company=shown.get("company", ""),
        data_project=shown.get("data_project", ""),
        execution_id=shown.get("execution_id", ""),
        file_name=shown.get("file", ""),
        words=shown.get("words", ""),
        needs_person="needs_person" in shown,
        opened=datetime.fromisoformat(shown["opened"]),
        due=datetime.fromisoformat(metadata["due"]),
        ended=datetime.fromisoformat(shown["ended"]) if "ended" in shown else None,
        has_again="again" in shown,
    )


def order_of(when: datetime, key: str) -> str:
    """Return a run's place in its lane: sorts by time, then by key, and is safe in a blob's name."""
    # Observed: glibc writes the year 1, which stands for "unknown", with one digit.
    moment = f"{when.astimezone(UTC):{_ORDER_TIME}}".zfill(_ORDER_LENGTH)
    return f"{moment}-{quote(key, safe='')}"


def order_behind(other: str, when: datetime, key: str) -> str:
    """Return a run's place in its lane by time, but behind another one ("": behind none)."""
    order = order_of(when, key)
    return order if order > other else order_of(moment_of(other) + timedelta(microseconds=1), key)


def moment_of(order: str) -> datetime:
    """Return the moment that a place in a lane was made from."""
    return datetime.strptime(order.partition("-")[0], _ORDER_TIME).replace(tzinfo=UTC)


def key_of(order: str) -> str:
    """Return the key that a place in a lane was made from."""
    return unquote(order.partition("-")[2])


def _explained(error: Exception, operation: str) -> AppError:
    return storage_error(error, service="blob storage", operation=operation, role="Storage Blob Data Owner")
