"""Where runs, leases and marks are kept: one blob container, written conditionally.

Open runs are ``open/<lane>/<order>``: the name follows from the file alone, so opening twice is one create-if-absent,
and it sorts by age, so the first row of a listing is the lane's head. Ended runs are
``ended/<yyyy>/<mm>/<dd>/<newest first>-<run id>``, those that failed also ``failed/...``, with nothing in them. What a
list shows of a run stands in its blob's metadata, so that a page of history is a listing and no record is read.
``open/<lane>/!paused`` stops a lane, ``open/<lane>/!stopped-...`` a flow on it: they sort before every run, so they are
seen at no cost. A record that cannot be read keeps its place, or lies in ``damaged/`` if a person has put it aside.
Leases are ``locks/<name>``, marks ``watch/<name>``. What a run means stands in ``runs/run.py``, which of a lane is
next in ``runs/lane.py``.
"""

import binascii
import hashlib
import re
import threading
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from shared.azure_storage.transport import all_of, error_code, in_container, pages_of, storage_error, storage_errors
from shared.errors import AppError, TryAgain
from shared.escapes import (
    METADATA_LIMIT,
    blob_part,
    blob_part_text,
    cut,
    json_text,
    metadata_json,
    metadata_text,
    metadata_value,
    read_json,
    whole_text,
)
from shared.log import log
from shared.runs.lane import LaneRow, Stop, is_enough
from shared.runs.record import Damaged, run_from_json, run_to_json
from shared.runs.run import Run
from shared.runs.states import Direction, Outcome, State
from shared.runs.values import Rerun
from shared.secret import redacted

if TYPE_CHECKING:
    from azure.storage.blob import BlobLeaseClient, BlobProperties, ContainerClient

CONTAINER: Final = "runs"
BLOBS_AT_HAND: Final = 256
# Rows of a lane that are listed at first: mostly the one under way, and the next. If these do not tell which run is
# next, because they are set aside, the rest is listed, so many at once.
HEADS_LISTED: Final = 4
REST_LISTED: Final = 5000  # what storage gives at most
# Azure allows 15 to 60 seconds. https://learn.microsoft.com/rest/api/storageservices/lease-blob
# Short, because a lane stands still for so long after its worker was killed.
LEASE_S: Final = 30
RENEW_EVERY_S: Final = 10.0

_ORDER_TIME: Final = "%Y%m%dT%H%M%S%fZ"  # sorts as it runs
_ORDER_LENGTH: Final = len("20260123T010203123456Z")

# Bytes of metadata for what a list shows of a run, or what is said of a stop or a pause; names, times and a state take
# the rest.
LONGEST_ROW: Final = METADATA_LIMIT - 128
# Characters of a text in a run's row, which is cut further if its letters take many bytes.
_LONGEST: Final = {"file": 255, "data_project": 100, "words": 120}
_LONGEST_OTHER: Final = 64
LONGEST_STOP: Final = 500  # characters of what stops a flow
# Where a new run's record stands in its metadata, beside the row; bytes up to which it does.
WHOLE: Final = "whole"
LONGEST_WHOLE: Final = 3072

# In the place of a run's order, of which they sort before every one.
_PAUSED: Final = "!paused"
_STOPPED: Final = "!stopped-"
DAMAGED: Final = "damaged"  # the folder of records that a person has put aside

_DAY: Final = timedelta(days=1)
_DAY_OVER: Final = "-"  # in the place of a marker: all rows of the day were seen


class LeaseTaken(TryAgain):
    """Another worker holds this lease."""


class RecordChanged(TryAgain):
    """Another worker has written this record since it was read: it holds the lane now."""


class Lane(NamedTuple):
    """What a listing tells of one lane: enough to say which run is next."""

    rows: tuple[LaneRow, ...]  # in the order of their places; not all of those that wait
    stops: tuple[Stop, ...] = ()
    is_paused: bool = False


class OpenLanes(NamedTuple):
    """What a listing tells of all open runs."""

    rows: list[LaneRow]  # lane by lane, in the order of their places
    stops: list[Stop]
    paused: frozenset[str]  # lanes


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
    flow: Direction
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
    is_aside: bool = False  # others of its lane pass it
    place: str = ""  # the time with which its place in the lane begins
    damage: str = ""  # what is wrong with its record; then not all of the rest is known
    waited_s: float | None = None  # of the time from its opening to its end; None: an older version did not keep it


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
        self._crowded: set[str] = set()  # lanes of which the first rows told too little when they were listed last

    # -- runs

    def create(self, run: Run) -> bool:
        """Save a new run; return False where its file has an open run already."""
        from azure.core.exceptions import ResourceExistsError

        record = run_to_json(run)
        metadata = _metadata(run)
        metadata |= _whole(record, METADATA_LIMIT - sum(len(name) + len(value) for name, value in metadata.items()))
        try:
            self._in_container(
                lambda: self._blob(_open_name(run)).upload_blob(record.encode(), overwrite=False, metadata=metadata)
            )
        except ResourceExistsError:
            return False
        return True

    def lane(self, lane: str) -> Lane:
        """Return what tells which run of a lane is next. One listing of a few rows, however many wait.

        If the first ones are set aside, one listing more; and none more the next time, when all are asked for at once.
        """
        rows: list[LaneRow] = []
        stops: list[Stop] = []
        marker, is_paused = "", False
        at_most = REST_LISTED if lane in self._crowded else HEADS_LISTED
        while True:
            blobs, marker = self._listed(f"open/{lane}/", marker, at_most)
            is_paused = is_paused or any(_is_pause(blob.name) for blob in blobs)
            stops += [stop for blob in blobs if _is_stop(blob.name) and (stop := _stop(blob))]
            rows += [_lane_row(blob) for blob in blobs if _is_record(blob.name)]
            if not marker or is_paused or is_enough(rows, stops):
                break
            at_most = REST_LISTED
        if len(rows) < HEADS_LISTED or is_enough(rows[:HEADS_LISTED], stops):
            self._crowded.discard(lane)
        else:
            self._crowded.add(lane)
        return Lane(tuple(rows), tuple(stops), is_paused)

    def read_row(self, row: LaneRow) -> Run:
        """Return the run of a row. Raises Damaged if its record cannot be read; TryAgain if it is gone."""
        run = row.whole or self._read(f"open/{row.lane}/{row.sort_key}")
        if run is None:
            raise TryAgain(f"a run of lane {row.lane} ended while it was being read")
        if (run.lane, run.sort_key) != (row.lane, row.sort_key):
            raise Damaged("it is the record of another place")
        return run

    def row_at(self, lane: str, order: str) -> LaneRow | None:
        """Return the row of a place in a lane; None if nothing is there. One listing of one row."""
        blobs, _ = self._listed(f"open/{lane}/{order}", "", 1)
        return next((_lane_row(blob) for blob in blobs if blob.name == f"open/{lane}/{order}"), None)

    def head(self, lane: str) -> LaneRow | None:
        """Return the first row of a lane, paused or not; None if it is empty."""
        blobs, _ = self._listed(f"open/{lane}/", "", HEADS_LISTED)
        return next((_lane_row(blob) for blob in blobs if _is_record(blob.name)), None)

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

    def open_lanes(self) -> OpenLanes:
        """List all open runs, and what stops lanes and flows, without reading records. One listing."""
        blobs = self._open_blobs()
        return OpenLanes(
            rows=[_lane_row(blob) for blob in blobs if _is_record(blob.name)],
            stops=[stop for blob in blobs if _is_stop(blob.name) and (stop := _stop(blob))],
            paused=frozenset(blob.name.split("/", 2)[1] for blob in blobs if _is_pause(blob.name)),
        )

    def open_places(self) -> list[tuple[str, str]]:
        """List lane and order of all open runs, in the order of their places: a sixth of what ``open_lanes`` costs."""
        names = self._in_container(lambda: all_of(self._container.list_blob_names(name_starts_with="open/")))
        places = [name.split("/", 2) for name in names if _is_record(name)]
        return [(lane, order) for _, lane, order in places]

    def begun(self, lane: str) -> str:
        """Return the order of the last run that is under way in a lane, "" if there is none."""
        orders = [row.sort_key for row in self.lane(lane).rows if not row.is_waiting and not row.is_passed]
        return orders[-1] if orders else ""

    def of_same_file(self, run: Run) -> list[LaneRow]:
        """List the other open runs about the same file, whatever lane they are in; rarely asked, it lists all names."""
        key, own = key_of(run.sort_key), (run.lane, run.sort_key)
        places = [place for place in self.open_places() if key_of(place[1]) == key and place != own]
        return [row for lane, order in places if (row := self.row_at(lane, order))]

    def drop(self, row: LaneRow) -> None:
        """Delete an open run that nobody has begun. Raises RecordChanged where it was written since, or is gone."""
        from azure.core import MatchConditions
        from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError

        blob = self._blob(f"open/{row.lane}/{row.sort_key}")
        try:
            self._in_container(
                lambda: blob.delete_blob(etag=row.record_etag, match_condition=MatchConditions.IfNotModified)
            )
        except (ResourceModifiedError, ResourceNotFoundError) as error:
            raise RecordChanged(
                f"another run of {key_of(row.sort_key)} was written by another worker meanwhile"
            ) from error

    def open_rows(self) -> list[RunRow]:
        """List all open runs as ``open_lanes`` does, with what a list shows of them."""
        return self.open_rows_and_pauses()[0]

    def open_rows_and_pauses(self) -> tuple[list[RunRow], list[Pause]]:
        """The same, and the lanes that are paused. One listing."""
        blobs = self._open_blobs()
        rows = [_open_row(blob) for blob in blobs if _is_record(blob.name)]
        return rows, [_pause(blob) for blob in blobs if _is_pause(blob.name)]

    def _open_blobs(self) -> list["BlobProperties"]:
        return self._in_container(
            lambda: all_of(self._container.list_blobs(name_starts_with="open/", include=["metadata"]))
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
        were seen already (``is_position``), any other text is none; at_once: how many rows one call of storage is to
        bring.
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
        metadata = {"pause": metadata_json(said, LONGEST_ROW)}
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
        """Return who has paused a lane, and why; None if it is not paused. One listing of one row."""
        blobs, _ = self._listed(f"open/{lane}/{_PAUSED}", "", 1)
        return _pause(blobs[0]) if blobs else None

    # -- what stops a flow

    def stop(self, stop: Stop) -> None:
        """Stop a flow, or write what is known by now of a stop. The worker of its lane alone does so."""
        said = {
            "integration": stop.flow_name,
            "refusal": stop.refusal,
            "text": cut(stop.text, LONGEST_STOP),
            "since": stop.since.astimezone(UTC).isoformat(),
        }
        metadata = {
            "due": stop.next_try.astimezone(UTC).isoformat(),
            "stop": metadata_json(said, LONGEST_ROW),
        }
        self._in_container(
            lambda: self._blob(_stop_name(stop.lane, stop.flow_name)).upload_blob(
                b"", overwrite=True, metadata=metadata
            )
        )

    def end_stop(self, lane: str, integration: str) -> None:
        """Let a flow go on; one that goes on already is as good."""
        from azure.core.exceptions import ResourceNotFoundError

        with suppress(ResourceNotFoundError):
            self._in_container(lambda: self._blob(_stop_name(lane, integration)).delete_blob())

    # -- one run

    def put_aside(self, address: str) -> str:
        """Move the damaged record of an open run to ``damaged/``; return its new name, "" if it is not there.

        Nothing is deleted before it is copied. Raises ValueError if the record can be read, RecordChanged if it was
        written meanwhile.
        """
        from azure.core import MatchConditions
        from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError

        found = _ADDRESS.fullmatch(address)
        name = _open_name_in(found) if found else ""
        if not name:
            return ""
        try:
            content, etag = self._content(name)
        except ResourceNotFoundError:
            return ""
        listed = next((blob for blob in self._listed(name, "", 1)[0] if blob.name == name), None)
        if listed is None:
            return ""
        if not _damage_of(content) and not _lane_row(listed).damage:
            raise ValueError("the record can be read")
        metadata = dict(listed.metadata or {})
        there = f"{DAMAGED}/{name.removeprefix('open/')}"
        self._in_container(
            lambda: self._container.get_blob_client(there).upload_blob(content, overwrite=True, metadata=metadata)
        )
        try:
            self._in_container(
                lambda: self._blob(name).delete_blob(etag=etag, match_condition=MatchConditions.IfNotModified)
            )
        except (ResourceModifiedError, ResourceNotFoundError) as error:
            raise RecordChanged(f"{name} was written by another worker meanwhile") from error
        return there

    def open_place(self, address: str) -> str:
        """Return the lane and place in it of the open record that an address speaks of, "" if it speaks of none."""
        found = _ADDRESS.fullmatch(address)
        return _open_name_in(found).removeprefix("open/") if found else ""

    def run_at(self, address: str) -> Run | None:
        """Return the run with that address, open or ended; None where there is none. One read, or two.

        Raises Damaged if its record cannot be read.
        """
        found = _ADDRESS.fullmatch(address)
        if found is None:
            return None
        open_name = _open_name_in(found)
        run = self._read(open_name) if open_name else None
        if found["run_id"] == NO_RUN_ID:  # the address of a record of which a listing did not tell whose it is
            row = self.row_at(*open_name.split("/", 2)[1:]) if run else None
            if row and row.damage:
                raise Damaged(row.damage)
            return run
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

    def read_mark(self, name: str, *, anew: bool = False) -> Mark:
        """Return the note of that name; an empty one where there is none yet.

        anew: also if it is damaged or of another version; what is written then takes its place.
        """
        from azure.core.exceptions import ResourceNotFoundError

        def read() -> Mark:
            try:
                download = self._blob(f"watch/{name}").download_blob()
            except ResourceNotFoundError as error:
                if error_code(error) == "ContainerNotFound":
                    raise
                return Mark({}, None)
            record = download.readall()
            return Mark(_texts(record) if anew else read_json(record, mend=True), download.properties.etag)

        return self._in_container(read)

    def write_mark(self, name: str, mark: Mark) -> None:
        """Save a note that was read before. Raises RecordChanged where another worker has written it since."""
        from azure.core import MatchConditions
        from azure.core.exceptions import ResourceExistsError, ResourceModifiedError

        blob = self._blob(f"watch/{name}")
        content = json_text(mark.content).encode()
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
        return in_container(self._container, call, "run records")


def _texts(record: bytes) -> dict[str, str]:
    """Return the texts of a note; what is none is passed over."""
    try:
        content = read_json(record, mend=True)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        log.error("note.damaged", note=record[:200].decode(errors="replace"))
        return {}
    return {name: text for name, text in content.items() if isinstance(text, str)}


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
    return f"open/{run.lane}/{run.sort_key}"


def _name_in(folder: str, opened: datetime, run_id: str) -> str:
    # The time of opening, not of ending: ending twice after a crash then writes the same record.
    newest_first = 10**13 - _milliseconds(opened)
    return f"{folder}/{opened.astimezone(UTC):%Y/%m/%d}/{newest_first:013d}-{run_id}"


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _is_record(blob_name: str) -> bool:
    """Return whether a blob is a record of the app's: people may put blobs of their own between them."""
    return _PLACE.fullmatch(blob_name.removeprefix("open/")) is not None


def _is_pause(blob_name: str) -> bool:
    return _lane_and_marker(blob_name)[1] == _PAUSED


def _is_stop(blob_name: str) -> bool:
    return _lane_and_marker(blob_name)[1].startswith(_STOPPED)


def _lane_and_marker(blob_name: str) -> tuple[str, str]:
    """Return the lane and what lies in it in the place of a record; "" if a blob lies in no lane."""
    lane, _, marker = blob_name.removeprefix("open/").partition("/")
    return lane, marker


def _stop_name(lane: str, integration: str) -> str:
    return f"open/{lane}/{_STOPPED}{hashlib.sha256(whole_text(integration).encode()).hexdigest()[:12]}"


def _stop(blob: "BlobProperties") -> Stop | None:
    """Return what a stop says; None if it cannot be read: then it stops nothing, and a refusal writes it anew."""
    try:
        said = read_json(metadata_text(blob.metadata["stop"]))
        return Stop(
            lane=blob.name.split("/", 2)[1],
            flow_name=str(said["integration"]),
            refusal=str(said["refusal"]),
            text=str(said["text"]),
            since=datetime.fromisoformat(said["since"]),
            next_try=datetime.fromisoformat(blob.metadata["due"]),
            record_etag=_etag_of(blob),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        log.error("stop.damaged", blob=blob.name)
        return None


def _damage_of(content: bytes) -> str:
    """Return what is wrong with a record, "" if it can be read."""
    try:
        run_from_json(content)
    except Damaged as damaged:
        return str(damaged)
    return ""


def _lane_row(blob: "BlobProperties") -> LaneRow:
    """Return what a listing tells of an open run; of a record that is damaged as much as there is."""
    _, lane, order = blob.name.split("/", 2)
    metadata = blob.metadata or {}
    shown: dict[str, str] = {}
    damage = ""
    due, state = datetime.min.replace(tzinfo=UTC), _state_in(metadata)
    try:
        due = datetime.fromisoformat(metadata["due"])
        due = due if due.tzinfo else due.replace(tzinfo=UTC)
        shown = _shown(metadata)
        opened = datetime.fromisoformat(shown["opened"])
        address = _address(opened, shown["run_id"], blob.name)
        if state is None:
            damage = f"its state is {metadata.get('state', '')!r}, which this version of the app does not know"
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        damage, address = "its metadata are missing or wrong", _address_of_damaged(blob.name)
    return LaneRow(
        lane=lane,
        sort_key=order,
        due=due,
        state=state,
        flow_name=shown.get("integration", ""),
        file_name=shown.get("file", ""),
        run_id=shown.get("run_id", ""),
        address=address,
        is_aside="aside" in shown,
        refusal=shown.get("refusal", ""),
        damage=damage,
        saved=blob.last_modified,
        record_etag=_etag_of(blob),
        whole=None if damage else _new_run(blob),
    )


def _state_in(metadata: Mapping[str, str]) -> State | None:
    try:
        return State(metadata.get("state", ""))
    except ValueError:
        return None


def _pause(blob: "BlobProperties") -> Pause:
    """Return who has paused a lane; one that does not say so pauses it all the same."""
    lane = blob.name.split("/", 2)[1]
    try:
        said = read_json(metadata_text(blob.metadata["pause"]))
        return Pause(lane=lane, by=said["by"], why=said["why"], since=datetime.fromisoformat(said["since"]))
    except (KeyError, TypeError, ValueError):
        return Pause(lane=lane, by="somebody", why="", since=blob.last_modified)


def address_of_successor(successor: Rerun) -> str:
    """Return by what ``run_at`` finds the run that does an ended one's work again."""
    return _address(successor.opened, successor.run_id, f"open/{successor.lane}/{successor.sort_key}")


def address_of(run: Run) -> str:
    """Return by what ``run_at`` finds a run; safe in a URL, and good for as long as the run's record is kept."""
    return _address(run.opened, run.run_id, "" if run.ended else _open_name(run))


def _address(opened: datetime, run_id: str, open_name: str) -> str:
    # A lane and a place in it hold percent signs, which servers on the way decode once too often.
    place = urlsafe_b64encode(open_name.removeprefix("open/").encode()).decode().rstrip("=")
    return f"{_milliseconds(opened):013d}-{run_id}{place and '-'}{place}"


_RUN_ID: Final = re.compile("[0-9a-f]{12}")
NO_RUN_ID: Final = "0" * 12  # of a record that does not tell its run's


def _address_of_damaged(open_name: str) -> str:
    """Return by what a record is found that does not tell which run it is of."""
    return _address(datetime.fromtimestamp(0, UTC), NO_RUN_ID, open_name)


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
        "flow": run.direction,
        "integration": run.flow_name,
        "outcome": run.outcome or "",
        "company": run.company,
        "data_project": run.data_project,
        "execution_id": run.execution_id,
        "file": run.file.name,
        "words": _words(run),
        "needs_person": "yes" if run.problem else "",
        "opened": run.opened.astimezone(UTC).isoformat(),
        "ended": run.ended.astimezone(UTC).isoformat() if run.ended else "",
        "again": "yes" if run.rerun else "",
        "aside": "yes" if run.is_aside else "",
        "refusal": run.held.refusal if run.held and not run.held.is_cleared else "",
        "place": run.sort_key[:_ORDER_LENGTH],
        "waited": "" if run.waited_s is None else str(run.waited_s),
    }
    short = {name: cut(text, _LONGEST.get(name, _LONGEST_OTHER)) for name, text in shown.items() if text}
    return {
        "due": run.due.astimezone(UTC).isoformat(),
        "state": run.state.value,
        "row": metadata_json(short, LONGEST_ROW, keep="file"),
    }


def _words(run: Run) -> str:
    """Return what a list says of a run: what a person has to do, or what it waits for, or why it went as it did."""
    if run.problem:
        return run.problem.text
    return f"It waits for {run.waits.what}." if run.waits and not run.ended else run.reason


def _new_run(row: "BlobProperties") -> Run | None:
    """Return the run that stands whole in a listing; None if it has to be read."""
    whole = row.metadata.get(WHOLE)
    try:
        return replace(run_from_json(metadata_text(whole)), record_etag=_etag_of(row)) if whole else None
    except Damaged:
        return None


def _etag_of(row: "BlobProperties") -> str:
    # Observed: a listing tells the ETag without the quotes that a condition needs.
    return f'"{row.etag.strip('"')}"'


def _whole(record: str, left: int) -> dict[str, str]:
    """Return a new run's record as it fits into metadata; nothing if it is long, and the blob has to be read.

    left: bytes that the rest of the metadata leaves for it.
    """
    value = metadata_value(record)
    return {WHOLE: value} if len(value) <= min(LONGEST_WHOLE, left - len(WHOLE)) else {}


def is_position(text: str) -> bool:
    """Return whether a text may be the position of a row, as ``ended_rows`` takes it."""
    return _position(text) is not None


def _position(behind: str) -> tuple[date, str] | None:
    """Return the day and the marker of a position, None where the text is none."""
    day, _, marker = behind.partition("~")
    try:
        return (date.fromisoformat(day), marker) if marker and day > "2000" else None
    except ValueError:
        return None


def _open_row(blob: "BlobProperties") -> RunRow:
    row = _lane_row(blob)
    if row.damage:
        return _damaged_row(row)
    try:
        return _row(blob.metadata, _shown(blob.metadata), row.address, lane=row.lane)
    except (KeyError, ValueError):
        return _damaged_row(replace(row, damage="its metadata are missing or wrong"))


def _ended_row(blob: "BlobProperties") -> RunRow:
    try:
        shown = _shown(blob.metadata)
        address = _address(datetime.fromisoformat(shown["opened"]), shown["run_id"], "")
        return _row(blob.metadata, shown, address, lane="")
    except (AttributeError, KeyError, TypeError, ValueError):
        return _damaged_ended_row(blob)


def _damaged_ended_row(blob: "BlobProperties") -> RunRow:
    """Return what the name of an ended run's record tells, if its metadata do not."""
    newest_first, _, run_id = blob.name.rpartition("/")[2].partition("-")
    milliseconds = 10**13 - int(newest_first) if newest_first.isdecimal() else 0
    opened = datetime.fromtimestamp(milliseconds / 1000, UTC)
    damage = "its metadata are missing or wrong"
    row = LaneRow(lane="", sort_key="", due=opened, state=_state_in(blob.metadata or {}), run_id=run_id, damage=damage)
    address = _address(opened, run_id, "") if _RUN_ID.fullmatch(run_id) else ""
    return replace(_damaged_row(row), address=address, opened=opened, due=opened, ended=opened, needs_person=False)


def _damaged_row(row: LaneRow) -> RunRow:
    """Return what a list shows of a record that does not say enough about its run."""
    unknown = datetime.fromtimestamp(0, UTC)
    return RunRow(
        address=row.address,
        run_id=row.run_id or NO_RUN_ID,
        flow=Direction.IMPORT if row.lane.startswith("in-") else Direction.EXPORT,
        integration=row.flow_name,
        lane=row.lane,
        state=row.state or State.FOUND,
        outcome=None,
        company="",
        data_project="",
        execution_id="",
        file_name=row.file_name or "(unknown)",
        words=f"Its record is damaged: {row.damage}.",
        needs_person=True,
        opened=unknown,
        due=unknown,
        ended=None,
        is_aside=row.is_passed,
        damage=row.damage,
    )


def _shown(metadata: Mapping[str, str]) -> dict[str, str]:
    shown = read_json(metadata_text(metadata["row"]), mend=True)
    if not isinstance(shown, dict):
        raise ValueError("what a list shows of a run is no object")
    return {str(name): str(value) for name, value in shown.items()}


def _row(metadata: Mapping[str, str], shown: Mapping[str, str], address: str, *, lane: str) -> RunRow:
    return RunRow(
        address=address,
        run_id=shown["run_id"],
        flow=Direction(shown["flow"]),
        integration=shown["integration"],
        lane=lane,
        state=State(metadata["state"]),
        outcome=Outcome(shown["outcome"]) if "outcome" in shown else None,
        company=shown.get("company", ""),
        data_project=shown.get("data_project", ""),
        execution_id=shown.get("execution_id", ""),
        file_name=shown.get("file", ""),
        words=redacted(shown.get("words", "")),
        needs_person="needs_person" in shown,
        opened=datetime.fromisoformat(shown["opened"]),
        due=datetime.fromisoformat(metadata["due"]),
        ended=datetime.fromisoformat(shown["ended"]) if "ended" in shown else None,
        has_again="again" in shown,
        is_aside="aside" in shown,
        place=shown.get("place", ""),
        waited_s=float(shown["waited"]) if "waited" in shown else None,
    )


def order_of(when: datetime, key: str) -> str:
    """Return a run's place in its lane: sorts by time, then by key, and is safe in a blob's name."""
    # Observed: glibc writes the year 1, which stands for "unknown", with one digit.
    moment = f"{when.astimezone(UTC):{_ORDER_TIME}}".zfill(_ORDER_LENGTH)
    return f"{moment}-{blob_part(key)}"


def order_behind(other: str, when: datetime, key: str) -> str:
    """Return a run's place in its lane by time, but behind another one ("": behind none)."""
    order = order_of(when, key)
    return order if order > other else order_of(moment_of(other) + timedelta(microseconds=1), key)


def moment_of(order: str) -> datetime:
    """Return the moment that a place in a lane was made from."""
    return datetime.strptime(order.partition("-")[0], _ORDER_TIME).replace(tzinfo=UTC)


def key_of(order: str) -> str:
    """Return the key that a place in a lane was made from, as ``kept_key`` returns it."""
    return blob_part_text(order.partition("-")[2])


def kept_key(key: str) -> str:
    """Return what places in lanes keep of a key: all of it, or a beginning and a digest of one that is very long."""
    return blob_part_text(blob_part(key))


def _explained(error: Exception, operation: str) -> AppError:
    return storage_error(error, service="blob storage", operation=operation, role="Storage Blob Data Owner")
