"""What a listing of records tells of a run without reading its record: kept in the blob's metadata. Pure.

``metadata_of`` writes it; the other functions read it, of records of older versions and damaged ones as well. Pauses of
lanes and stops of flows are such rows, too.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from shared.escapes import METADATA_LIMIT, cut, metadata_json, metadata_text, read_json, whole_text
from shared.log import log
from shared.moments import moment_or_none, read_moment
from shared.runs.addresses import (
    NO_RUN_ID,
    RUN_ID,
    SORT_TIME_LENGTH,
    address_of_damaged,
    build_address,
    opened_and_id_in,
    parse_address,
)
from shared.runs.lane import LaneRow, Stop, direction_of
from shared.runs.run import Run
from shared.runs.states import Direction, Outcome, State
from shared.secret import redacted

if TYPE_CHECKING:
    from shared.azure_storage.container import BlobRow

# Bytes of metadata for what a list shows of a run, or what is said of a stop or a pause; names, times and a state take
# the rest.
LONGEST_ROW: Final = METADATA_LIMIT - 128
# Characters of a text in a run's row, which is cut further if its letters take many bytes.
_LONGEST: Final = {"file": 255, "data_project": 100, "words": 120}
_LONGEST_OTHER: Final = 64
LONGEST_STOP: Final = 500  # characters of what stops a flow

# In the place of a run's sort key, before every one of which they sort.
_PAUSED: Final = "!paused"
_STOPPED_AT: Final = "!paused-at"
_STOPPED: Final = "!stopped-"
_RESTS: Final = "!rests"

_UNKNOWN: Final = datetime.fromtimestamp(0, UTC)
_METADATA_DAMAGED: Final = "its metadata are missing or wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A lane that a person has paused, or that strictOrder has stopped at a file. Each is lifted by itself."""

    lane: str
    by: str
    why: str
    since: datetime
    run: str = ""  # the address of the run that it was stopped at, as an ended run's; "": a person has paused it
    stop: str = ""  # of a person's pause: why strictOrder has stopped the lane as well, "" if it has not

    @property
    def text(self) -> str:
        """Why it is paused, in words for people."""
        if not self.stop:
            return self.why
        why = self.why.rstrip(". ")
        return f"{why}{why and '. '}strictOrder has stopped it as well, also after it is resumed: {self.stop}"

    @property
    def run_id(self) -> str:
        """The id of the run that the lane was stopped at; "" if a person has paused it."""
        found = parse_address(self.run)
        return found.run_id if found else ""

    def is_with(self, other: "Pause") -> bool:
        """Return whether both lanes were paused together: a flow's own, and that of one of its data projects."""
        return (self.by, self.since) == (other.by, other.since)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """What a list shows of a run. Long texts are cut. The fields' names are those in ``runs.json``."""

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
    has_again: bool = False  # it has a rerun
    is_aside: bool = False  # others of its lane pass it
    place: str = ""  # the time with which its sort key begins
    damage: str = ""  # what is wrong with its record; then not all of the rest is known
    waited_s: float | None = None  # of the time from its opening to its end; None: an older version did not keep it


# -- written


def metadata_of(run: Run) -> dict[str, str]:
    """Return the metadata of a run's record: when it is due, its state, and its row."""
    shown = {
        "run_id": run.run_id,
        "flow": run.direction,
        "integration": run.flow_name,
        "outcome": run.outcome or "",
        "company": run.company,
        "data_project": run.data_project,
        "execution_id": run.execution_id,
        "file": run.file.name,
        "words": _text_about(run),
        "needs_person": "yes" if run.problem else "",
        "opened": run.opened.astimezone(UTC).isoformat(),
        "ended": run.ended.astimezone(UTC).isoformat() if run.ended else "",
        "again": "yes" if run.rerun else "",
        "aside": "yes" if run.is_aside else "",
        "refusal": run.held.refusal if run.held and not run.held.is_cleared else "",
        "place": run.sort_key[:SORT_TIME_LENGTH],
        "waited": "" if run.waited_s is None else str(run.waited_s),
    }
    short = {name: cut(text, _LONGEST.get(name, _LONGEST_OTHER)) for name, text in shown.items() if text}
    return {
        "due": run.due.astimezone(UTC).isoformat(),
        "state": run.state.value,
        "row": metadata_json(short, LONGEST_ROW, keep="file"),
    }


def _text_about(run: Run) -> str:
    """Return what a list says of a run: what a person has to do, or what it waits for, or why it went as it did."""
    if run.problem:
        return run.problem.text
    if run.waits and not run.ended:
        return f"It waits for {run.waits.what}."
    return run.reason or run.warning or (run.first_import.text if run.first_import else "")


def metadata_of_pause(pause: Pause) -> dict[str, str]:
    """Return the metadata of a pause."""
    said = {"by": pause.by, "why": pause.why, "since": pause.since.astimezone(UTC).isoformat()}
    if pause.run:
        said["run"] = pause.run
    return {"pause": metadata_json(said, LONGEST_ROW)}


def metadata_of_stop(stop: Stop) -> dict[str, str]:
    """Return the metadata of a stop."""
    said = {
        "integration": stop.flow_name,
        "refusal": stop.refusal,
        "text": cut(stop.text, LONGEST_STOP),
        "since": stop.since.astimezone(UTC).isoformat(),
    }
    return {"due": stop.next_try.astimezone(UTC).isoformat(), "stop": metadata_json(said, LONGEST_ROW)}


# -- pauses and stops


def pause_name(lane: str) -> str:
    """Return the name of the blob by which a person pauses a lane; that of a stop at a file begins with it."""
    return f"open/{lane}/{_PAUSED}"


def stopped_at_name(lane: str) -> str:
    """Return the name of the blob by which strictOrder stops a lane at a file."""
    return f"open/{lane}/{_STOPPED_AT}"


def stop_name(lane: str, flow_name: str) -> str:
    """Return the name of the blob that stops a flow in a lane."""
    return f"open/{lane}/{_STOPPED}{hashlib.sha256(whole_text(flow_name).encode()).hexdigest()[:12]}"


def is_pause(blob_name: str) -> bool:
    """Return whether a blob pauses a lane, or stops it at a file."""
    return _marker(blob_name) in (_PAUSED, _STOPPED_AT)


def is_stop(blob_name: str) -> bool:
    """Return whether a blob stops a flow."""
    return _marker(blob_name).startswith(_STOPPED)


def _marker(blob_name: str) -> str:
    return blob_name.removeprefix("open/").partition("/")[2]


def pause_from(blob: "BlobRow") -> Pause:
    """Return who has paused a lane; one that does not say so pauses it all the same."""
    lane = blob.name.split("/", 2)[1]
    try:
        said = read_json(metadata_text(blob.metadata["pause"]))
        since = read_moment(said["since"])
        return Pause(lane=lane, by=said["by"], why=said["why"], since=since, run=str(said.get("run", "")))
    except (AttributeError, KeyError, TypeError, ValueError):
        return Pause(lane=lane, by="somebody", why="", since=blob.last_modified)


def pauses_from(blobs: Iterable["BlobRow"]) -> list[Pause]:
    """Return what pauses lanes, one for each: if a person has paused it and a file has stopped it, the person's."""
    found: dict[str, list[Pause]] = {}
    for blob in blobs:
        if is_pause(blob.name):
            pause = pause_from(blob)
            found.setdefault(pause.lane, []).append(pause)
    return [_shown_pause(pauses) for pauses in found.values()]


def _shown_pause(pauses: Sequence[Pause]) -> Pause:
    of_person = next((pause for pause in pauses if not pause.run), None)
    stop = next((pause for pause in pauses if pause.run), None)
    if of_person and stop:
        return replace(of_person, stop=stop.why)
    return of_person or pauses[0]


def stop_from(blob: "BlobRow") -> Stop | None:
    """Return what a stop says; None if it cannot be read: then it stops nothing, and a refusal writes it anew."""
    try:
        said = read_json(metadata_text(blob.metadata["stop"]))
        return Stop(
            lane=blob.name.split("/", 2)[1],
            flow_name=str(said["integration"]),
            refusal=str(said["refusal"]),
            text=str(said["text"]),
            since=read_moment(said["since"]),
            next_try=read_moment(blob.metadata["due"]),
            record_etag=blob.etag,
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        log.error("stop.damaged", blob=blob.name)
        return None


# -- the rest between two files


def rest_name(lane: str) -> str:
    """Return the name of the blob that says until when a lane rests."""
    return f"open/{lane}/{_RESTS}"


def is_rest(blob_name: str) -> bool:
    """Return whether a blob says until when a lane rests."""
    return _marker(blob_name) == _RESTS


def metadata_of_rest(until: datetime) -> dict[str, str]:
    """Return the metadata of a lane's rest."""
    return {"due": until.astimezone(UTC).isoformat()}


def rests_until(blob: "BlobRow") -> datetime | None:
    """Return until when a lane rests; None if that cannot be read: then it does not rest."""
    return moment_or_none(blob.metadata.get("due"))


# -- rows


def lane_row_from(blob: "BlobRow") -> LaneRow:
    """Return what a listing tells of an open run; of a record that is damaged as much as there is."""
    _, lane, sort_key = blob.name.split("/", 2)
    shown: dict[str, str] = {}
    damage = ""
    due, state = datetime.min.replace(tzinfo=UTC), _state_in(blob.metadata)
    try:
        due = read_moment(blob.metadata["due"])
        shown = _shown(blob.metadata)
        address = build_address(read_moment(shown["opened"]), shown["run_id"], blob.name)
        if state is None:
            damage = f"its state is {blob.metadata.get('state', '')!r}, which this version of the app does not know"
    except (AttributeError, KeyError, TypeError, ValueError):
        damage, address = _METADATA_DAMAGED, address_of_damaged(blob.name)
    return LaneRow(
        lane=lane,
        sort_key=sort_key,
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
        record_etag=blob.etag,
    )


def open_row_from(blob: "BlobRow") -> RunRow:
    """Return what a list shows of an open run."""
    row = lane_row_from(blob)
    if row.damage:
        return _damaged_row(row)
    try:
        return _row(blob.metadata, _shown(blob.metadata), row.address, lane=row.lane)
    except (KeyError, ValueError):
        return _damaged_row(replace(row, damage=_METADATA_DAMAGED))


def ended_row_from(blob: "BlobRow") -> RunRow:
    """Return what a list shows of an ended run; if its metadata are damaged, what its name tells."""
    try:
        shown = _shown(blob.metadata)
        address = build_address(read_moment(shown["opened"]), shown["run_id"])
        return _row(blob.metadata, shown, address, lane="")
    except (AttributeError, KeyError, TypeError, ValueError):
        opened, run_id = opened_and_id_in(blob.name)
    row = LaneRow(
        lane="", sort_key="", due=opened, state=_state_in(blob.metadata), run_id=run_id, damage=_METADATA_DAMAGED
    )
    address = build_address(opened, run_id) if RUN_ID.fullmatch(run_id) else ""
    return replace(_damaged_row(row), address=address, opened=opened, due=opened, ended=opened, needs_person=False)


def _damaged_row(row: LaneRow) -> RunRow:
    """Return what a list shows of a record that does not say enough about its run."""
    return RunRow(
        address=row.address,
        run_id=row.run_id or NO_RUN_ID,
        flow=direction_of(row.lane) or Direction.EXPORT,
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
        opened=_UNKNOWN,
        due=_UNKNOWN,
        ended=None,
        is_aside=row.is_passed,
        damage=row.damage,
    )


def _state_in(metadata: Mapping[str, str]) -> State | None:
    try:
        return State(metadata.get("state", ""))
    except ValueError:
        return None


def _shown(metadata: Mapping[str, str]) -> dict[str, str]:
    shown = read_json(metadata_text(metadata["row"]), mend=True)
    if not isinstance(shown, dict):
        raise ValueError("what a list shows of a run is not an object")
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
        opened=read_moment(shown["opened"]),
        due=read_moment(metadata["due"]),
        ended=read_moment(shown["ended"]) if "ended" in shown else None,
        has_again="again" in shown,
        is_aside="aside" in shown,
        place=shown.get("place", ""),
        waited_s=float(shown["waited"]) if "waited" in shown else None,
    )
