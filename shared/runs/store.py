"""Where the records of runs are kept: written conditionally, in one blob container.

A lane's open runs sort by age, so the first rows of a listing tell which one is next, however many wait.
``open/<lane>/!paused`` pauses a lane, ``open/<lane>/!paused-at`` stops it at a file, ``open/<lane>/!rests`` says until
when it begins no file, and ``open/<lane>/!stopped-...`` stops a flow in it: they sort before every run, so they are
seen at no cost. A record that cannot be read keeps its place, or lies in ``damaged/`` if a person has put it aside.
Names are made in ``addresses.py``, rows of listings in ``rows.py``, lists for people in ``index.py``.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from shared.errors import TryAgain
from shared.runs.addresses import NO_RUN_ID, ended_name, is_open_name, key_of, open_name, parse_address, place_before
from shared.runs.drain import NAME as DRAIN
from shared.runs.drain import Drain, DrainSwitch
from shared.runs.lane import Choice, LaneRow, Stop, choose_of, is_enough, with_order_kept
from shared.runs.record import Damaged, run_from_json, run_to_json
from shared.runs.rows import (
    Pause,
    is_pause,
    is_rest,
    is_stop,
    lane_row_from,
    metadata_of,
    metadata_of_pause,
    metadata_of_rest,
    metadata_of_stop,
    pause_from,
    pause_name,
    pauses_from,
    rest_name,
    rests_until,
    stop_from,
    stop_name,
    stopped_at_name,
)
from shared.runs.run import Run
from shared.runs.states import State

if TYPE_CHECKING:
    from shared.azure_storage.container import BlobContainer, BlobRow

# Rows of a lane that are listed at first: mostly the one under way, and the next. If these do not tell which run is
# next, because they are set aside, the rest is listed, so many at once.
HEADS_LISTED: Final = 4
REST_LISTED: Final = 5000  # what storage gives at most
DAMAGED: Final = "damaged"  # the folder of records that a person has put aside


class Lane(NamedTuple):
    """What a listing tells of one lane: enough to say which run is next."""

    rows: tuple[LaneRow, ...]  # by their sort keys; not all of those that wait
    stops: tuple[Stop, ...] = ()
    is_paused: bool = False
    stopped_at: str = ""  # the id of the run that strictOrder has paused it at; it may not have ended yet
    rests_until: datetime | None = None  # before that it begins no file

    @property
    def choice(self) -> Choice | None:
        """The run that is due first; None if there is nothing to be done."""
        return choose_of(self.rows, self.stops, self.rests_until, is_paused=self.is_paused, stopped_at=self.stopped_at)


class OpenLanes(NamedTuple):
    """What a listing tells of all open runs."""

    rows: list[LaneRow]  # lane by lane, by their sort keys
    stops: list[Stop]
    paused: frozenset[str]  # lanes
    stopped: tuple[Pause, ...] = ()  # the stops of lanes at a file by strictOrder
    held: frozenset[str] = frozenset()  # of the paused lanes those that a person has paused
    rests: Mapping[str, datetime] = MappingProxyType({})  # by lane, until when it begins no file
    drain: Drain | None = None


class RunStore:
    """Runs in a blob container. All verbs raise TryAgain and NeedsPerson."""

    def __init__(
        self, container: "BlobContainer", drain: DrainSwitch | None = None, strict_flows: Collection[str] = ()
    ) -> None:
        """drain: what is told of each listing of all open runs, because the switch is among them.

        strict_flows: those with strictOrder.
        """
        self._container = container
        self._drain = drain
        self._strict_flows = strict_flows

    # -- open runs

    def create(self, run: Run) -> bool:
        """Save a new run; return False if its file has an open run already."""
        etag = self._container.create(open_name(run.lane, run.sort_key), run_to_json(run).encode(), metadata_of(run))
        return etag is not None

    def save(self, run: Run) -> Run:
        """Write a run back; return it with its new version. Raises RecordChanged if another worker has written it."""
        name = open_name(run.lane, run.sort_key)
        etag = self._container.replace(name, run_to_json(run).encode(), metadata_of(run), etag=run.record_etag)
        return replace(run, record_etag=etag)

    def end(self, run: Run) -> None:
        """Move a run from open to ended. Doing it twice leaves one ended record. Raises RecordChanged as save does."""
        self._note_failed(run)
        name = ended_name(run.opened, run.run_id)
        self._container.write(name, run_to_json(run).encode(), metadata_of(run))
        self._container.delete_version(open_name(run.lane, run.sort_key), run.record_etag)

    def _note_failed(self, run: Run) -> None:
        if run.outcome and run.outcome.needs_telling:
            self._container.write(ended_name(run.opened, run.run_id, "failed"), b"", metadata_of(run))

    def delete_waiting(self, row: LaneRow) -> None:
        """Delete an open run that nobody has begun. Raises RecordChanged if it was written since, or is gone."""
        self._container.delete_version(open_name(row.lane, row.sort_key), row.record_etag)

    # -- lanes

    def lane(self, lane: str) -> Lane:
        """Return what tells which run of a lane is next. One listing of a few rows, however many wait.

        If the first ones are set aside, one listing more.
        """
        rows: list[LaneRow] = []
        stops: list[Stop] = []
        pause, rest, token, at_most = None, None, "", HEADS_LISTED
        while True:
            blobs, token = self._container.list_page(f"open/{lane}/", after=token, at_most=at_most)
            pause = pause or next(iter(pauses_from(blobs)), None)
            rest = rest or next((rests_until(blob) for blob in blobs if is_rest(blob.name)), None)
            stops += [stop for blob in blobs if is_stop(blob.name) and (stop := stop_from(blob))]
            rows += [lane_row_from(blob) for blob in blobs if is_open_name(blob.name)]
            if not token or pause or is_enough(rows, stops):
                kept = tuple(with_order_kept(rows, self._strict_flows))
                return Lane(kept, tuple(stops), pause is not None, pause.run_id if pause else "", rest)
            at_most = REST_LISTED

    def open_lanes(self) -> OpenLanes:
        """List all open runs, and what stops lanes and flows. One listing."""
        blobs = self._container.list_rows("open/")
        pauses = [pause_from(blob) for blob in blobs if is_pause(blob.name)]
        return OpenLanes(
            rows=with_order_kept(
                [lane_row_from(blob) for blob in blobs if is_open_name(blob.name)], self._strict_flows
            ),
            stops=[stop for blob in blobs if is_stop(blob.name) and (stop := stop_from(blob))],
            paused=frozenset(pause.lane for pause in pauses),
            stopped=tuple(pause for pause in pauses if pause.run),
            held=frozenset(pause.lane for pause in pauses if not pause.run),
            rests={
                blob.name.split("/", 2)[1]: until
                for blob in blobs
                if is_rest(blob.name) and (until := rests_until(blob))
            },
            drain=self._drain.note(next((blob for blob in blobs if blob.name == DRAIN), None)) if self._drain else None,
        )

    def open_places(self) -> list[tuple[str, str]]:
        """List lane and sort key of all open runs: a sixth of what ``open_lanes`` costs."""
        listed = self._container.list_names("open/")
        if self._drain:
            self._drain.note_seen(is_there=DRAIN in listed)
        names = [name for name in listed if is_open_name(name)]
        return [(lane, sort_key) for _, lane, sort_key in (name.split("/", 2) for name in names)]

    def head(self, lane: str) -> LaneRow | None:
        """Return the first row of a lane, paused or not; None if it is empty."""
        blobs, _ = self._container.list_page(f"open/{lane}/", at_most=HEADS_LISTED)
        return next((lane_row_from(blob) for blob in blobs if is_open_name(blob.name)), None)

    def row_at(self, lane: str, sort_key: str) -> LaneRow | None:
        """Return the row of an open run; None if there is none. One listing of one row."""
        name = open_name(lane, sort_key)
        blobs, _ = self._container.list_page(name, at_most=1)
        return next((lane_row_from(blob) for blob in blobs if blob.name == name), None)

    def first_open(self, lane: str, flow_names: Collection[str]) -> LaneRow | None:
        """Return the first open run of some flows in a lane, without those that a person has cancelled; None: none."""
        token, at_most = "", HEADS_LISTED
        while True:
            blobs, token = self._container.list_page(f"open/{lane}/", after=token, at_most=at_most)
            for row in (lane_row_from(blob) for blob in blobs if is_open_name(blob.name)):
                if row.flow_name in flow_names and row.state is not State.CANCELLED:
                    return row
            if not token:
                return None
            at_most = REST_LISTED

    def last_under_way(self, lane: str) -> str:
        """Return the sort key of the last run that is under way in a lane, "" if there is none.

        While the next file has its place by one that was under way, others that come have theirs by that one, too.
        """
        rows = self.lane(lane).rows
        keys = [row.sort_key for row in rows if row.is_under_way]
        return keys[-1] if keys else next((place_before(row.sort_key) for row in rows if row.is_waiting), "")

    def of_same_file(self, run: Run) -> list[LaneRow]:
        """List the other open runs about the same file, whatever lane they are in; rarely asked, it lists all names."""
        key, own = key_of(run.sort_key), (run.lane, run.sort_key)
        places = [place for place in self.open_places() if key_of(place[1]) == key and place != own]
        return [row for lane, sort_key in places if (row := self.row_at(lane, sort_key))]

    # -- what a person has paused, what stops a flow

    def pause_lane(self, pause: Pause) -> Pause | None:
        """Pause a lane. Return the pause that is there already, None if there was none."""
        name, metadata = pause_name(pause.lane), metadata_of_pause(pause)
        if self._container.create(name, b"", metadata):
            return None
        already = self.pause_of(pause.lane)
        if already and already.run:  # an older version kept the stop at a file under the name of a pause
            self.stop_lane(already)
            self._container.write(name, b"", metadata)
            return None
        return already

    def stop_lane(self, stop: Pause) -> None:
        """Stop a lane at a file of it, beside the pause of a person. The worker of the lane alone does so."""
        self._container.write(stopped_at_name(stop.lane), b"", metadata_of_pause(stop))

    def rest_lane(self, lane: str, until: datetime) -> None:
        """Let a lane begin no file before a moment. The worker of the lane alone does so."""
        self._container.write(rest_name(lane), b"", metadata_of_rest(until))

    def end_rest(self, lane: str) -> None:
        """Let a lane begin its next file; one that does not rest is as good."""
        self._container.delete(rest_name(lane))

    def resume_lane(self, lane: str) -> bool:
        """End a person's pause of a lane; return False if there was none. A stop at a file stays.

        What does not say whose it is counts as a person's, and an older version kept stops under the name of a pause.
        """
        own = next((blob.name for blob in self._pauses(lane) if not pause_from(blob).run), "")
        return own != "" and self._container.delete(own)

    def end_stop_at_file(self, lane: str) -> bool:
        """End the stop of a lane at a file; return False if there was none. A person's pause stays."""
        stops = [blob.name for blob in self._pauses(lane) if pause_from(blob).run]
        return any([*map(self._container.delete, stops)])

    def pause_of(self, lane: str) -> Pause | None:
        """Return what pauses a lane, a person's pause first; None if it is not paused. One listing of two rows."""
        return next(iter(pauses_from(self._pauses(lane))), None)

    def stop_at_file(self, lane: str) -> Pause | None:
        """Return the stop of a lane at a file, whether or not a person has paused it; None if there is none."""
        return next((pause for pause in map(pause_from, self._pauses(lane)) if pause.run), None)

    def _pauses(self, lane: str) -> "list[BlobRow]":
        return self._container.list_page(pause_name(lane), at_most=2)[0]

    def save_stop(self, stop: Stop) -> None:
        """Stop a flow, or write what is known by now of a stop. The worker of its lane alone does so."""
        self._container.write(stop_name(stop.lane, stop.flow_name), b"", metadata_of_stop(stop))

    def delete_stop(self, lane: str, flow_name: str) -> None:
        """Let a flow go on; one that goes on already is as good."""
        self._container.delete(stop_name(lane, flow_name))

    # -- records

    def read_row(self, row: LaneRow) -> Run:
        """Return the run of a row. Raises Damaged if its record cannot be read; TryAgain if it is gone."""
        run = self._read(open_name(row.lane, row.sort_key))
        if run is None:
            raise TryAgain(f"a run of lane {row.lane} ended while it was being read")
        if (run.lane, run.sort_key) != (row.lane, row.sort_key):
            raise Damaged("it is the record of another run")
        return run

    def run_at(self, address: str) -> Run | None:
        """Return the run with that address, open or ended; None if there is none. One read, or two.

        Raises Damaged if its record cannot be read.
        """
        found = parse_address(address)
        if found is None:
            return None
        run = self._read(found.open_name) if found.open_name else None
        if found.run_id == NO_RUN_ID:  # the address of a record of which a listing did not tell whose it is
            row = self.row_at(*found.open_name.split("/", 2)[1:]) if run else None
            if row and row.damage:
                raise Damaged(row.damage)
            return run
        if run is None or run.run_id != found.run_id:  # it has ended, and its file may have another run
            return self.ended_run(found.opened, found.run_id)
        return run

    def ended_run(self, opened: datetime, run_id: str) -> Run | None:
        """Return an ended run, or None if it has not ended."""
        return self._read(ended_name(opened, run_id))

    def _read(self, name: str) -> Run | None:
        blob = self._container.read(name)
        return replace(run_from_json(blob.content), record_etag=blob.etag) if blob else None

    def save_ended(self, run: Run) -> None:
        """Write an ended run back, which was read by ``run_at``. Raises RecordChanged as save does."""
        name = ended_name(run.opened, run.run_id)
        self._container.replace(name, run_to_json(run).encode(), metadata_of(run), etag=run.record_etag)
        self._note_failed(run)

    def put_aside(self, address: str) -> str:
        """Move the damaged record of an open run to ``damaged/``; return its new name, "" if it is not there.

        Nothing is deleted before it is copied. Raises ValueError if the record can be read, RecordChanged if it was
        written meanwhile.
        """
        found = parse_address(address)
        name = found.open_name if found else ""
        if not name:
            return ""
        blob = self._container.read(name)
        listed = next((row for row in self._container.list_page(name, at_most=1)[0] if row.name == name), None)
        if blob is None or listed is None:
            return ""
        if not _is_damaged(blob.content) and not lane_row_from(listed).damage:
            raise ValueError("the record can be read")
        there = f"{DAMAGED}/{name.removeprefix('open/')}"
        self._container.write(there, blob.content, listed.metadata)
        self._container.delete_version(name, blob.etag)
        return there


def _is_damaged(content: bytes) -> bool:
    try:
        run_from_json(content)
    except Damaged:
        return True
    return False
