"""Which run of a lane is next, and when. Pure: the rows come from ``runs/store.py``.

A lane is an order: its files are taken up one at a time, the oldest first, or by name. A run that is set aside is
passed, and tried again when it is due. Which run may submit is not decided here: its place in a lane proves nothing.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby
from typing import Final

from shared.runs.addresses import is_by_name
from shared.runs.states import NOT_BEGUN, NOT_SUBMITTED, Direction, State

SECOND: Final = len("20260123T010203")  # of the time with which a place begins

# What the name of every lane begins with.
LANE_PREFIX: Final[Mapping[Direction, str]] = {Direction.IMPORT: "in-", Direction.EXPORT: "out-"}


def direction_of(lane: str) -> Direction | None:
    """Return whether a lane, or a text that begins with its name, is one of imports or of exports; None: it is none."""
    return next((direction for direction, prefix in LANE_PREFIX.items() if lane.startswith(prefix)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRow:
    """What a listing tells of an open run."""

    lane: str
    sort_key: str
    due: datetime
    state: State | None  # None: the record is damaged, and its metadata do not say
    flow_name: str = ""
    file_name: str = ""
    run_id: str = ""
    address: str = ""  # by which the run store finds the run
    is_aside: bool = False  # others pass it
    refusal: str = ""  # the ambiguous refusal that it has met last, and that counts
    damage: str = ""  # what is wrong with its record; "": nothing that is known
    keeps_order: bool = False  # no file of its lane may pass another (strictOrder)
    saved: datetime | None = field(default=None, compare=False)  # by storage's clock
    record_etag: str = field(default="", compare=False)

    @property
    def is_waiting(self) -> bool:
        """Whether nobody has begun it, and nothing is known against it."""
        return self.state in NOT_BEGUN and not self.is_aside and not self.damage

    @property
    def is_passed(self) -> bool:
        """Whether other runs pass it: set aside, cancelled, or damaged before anything was sent."""
        if self.damage:
            return self.state in (State.FOUND, State.CLAIMED) and not self.keeps_order
        return self.is_aside or self.state is State.CANCELLED

    @property
    def is_barrier(self) -> bool:
        """Whether nobody has begun it and nobody can, its record being damaged, and no file behind it may begin."""
        return self.damage != "" and self.keeps_order and self.state in NOT_BEGUN

    @property
    def is_under_way(self) -> bool:
        """Whether no other run may begin before it is over."""
        return not (self.is_waiting or self.is_passed or self.is_barrier)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """A flow that stands still because two of its files met the same refusal: one file tries now and then."""

    lane: str
    flow_name: str
    refusal: str
    text: str  # what the service said, and what to do
    since: datetime
    next_try: datetime
    record_etag: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The run that is to be worked at next, and from when on."""

    row: LaneRow
    due: datetime
    is_rest: bool = False  # it is due only then because the lane rests between two files


def choose(rows: Sequence[LaneRow], stops: Sequence[Stop] = (), rests_until: datetime | None = None) -> Choice | None:
    """Return the run of a lane that is due first; None if there is nothing to be done.

    rows: in the order of their places; all that are under way or passed, and the first of those that wait. rests_until:
    before that moment no file is begun.
    """
    stopped = {stop.flow_name: stop for stop in stops}
    rows = _up_to_barrier(rows)
    under_way = [row for row in rows if row.is_under_way]
    choices = [Choice(row=row, due=row.due) for row in rows if not row.is_waiting and not row.damage]
    if not under_way:
        choices += _first_waiting([row for row in rows if row.flow_name not in stopped])
    kept = [each for each in choices if not _is_stopped(each.row, stopped)]
    tried = (_tried_next(rows, stop, under_way) for stop in stops)
    kept += [each for each in tried if each]
    if rests_until:
        kept = [
            replace(each, due=max(each.due, rests_until), is_rest=each.due < rests_until)
            if each.row.state in NOT_BEGUN
            else each
            for each in kept
        ]
    return min(kept, key=lambda each: (each.due, each.row.sort_key), default=None)


def choose_of(
    rows: Sequence[LaneRow],
    stops: Sequence[Stop],
    rests_until: datetime | None,
    *,
    is_paused: bool,
    stopped_at: str,
) -> Choice | None:
    """Return the run that is due first in a lane that may be paused.

    stopped_at: the id of the run that the lane was paused at, "" if a person has paused it. The pause is saved before
    that run ends: should the app die in between, the run has yet to end.
    """
    if not is_paused:
        return choose(rows, stops, rests_until)
    return choose([row for row in rows if stopped_at and row.run_id == stopped_at])


def ahead_of(order: str, rows: Sequence[LaneRow], stops: Sequence[Stop] = ()) -> LaneRow | None:
    """Return the run that is worked at before the one at this place may begin; None if that one may be worked at.

    rows: as for ``choose``; one that waits far behind is not among them.
    """
    own = next((row for row in rows if row.sort_key == order), None)
    if own is not None and not own.is_waiting:
        return None
    before = next((row for row in rows if row.is_under_way or (row.is_barrier and row.sort_key < order)), None)
    if before is not None:
        return before
    stopped = {stop.flow_name for stop in stops}
    if own is not None and own.flow_name in stopped:
        return None
    first = next(_first_waiting([row for row in rows if row.flow_name not in stopped]), None)
    return None if first is None or first.row.sort_key == order else first.row


def with_order_kept(rows: Sequence[LaneRow], strict_flows: Collection[str]) -> list[LaneRow]:
    """Return rows of one lane or several, those marked in whose lane no file may pass another.

    strict_flows: the flows with strictOrder. All flows of a lane agree, so one row that tells its flow speaks for all
    of its lane: a record that is damaged may not tell it.
    """
    lanes = {row.lane for row in rows if row.flow_name in strict_flows}
    return [replace(row, keeps_order=True) if row.lane in lanes else row for row in rows]


def _up_to_barrier(rows: Sequence[LaneRow]) -> Sequence[LaneRow]:
    """Return the rows without the files behind a damaged record that none may pass, if there is one."""
    barrier = next((row.sort_key for row in rows if row.is_barrier), None)
    if barrier is None:
        return rows
    return [row for row in rows if row.sort_key < barrier or row.state not in NOT_BEGUN]


def rows_in_drain(rows: Sequence[LaneRow]) -> list[LaneRow]:
    """Return the rows of the runs that go on while the app drains: F&O may have received them, or they are ending."""
    return [row for row in rows if row.state not in NOT_SUBMITTED]


def _first_waiting(rows: Sequence[LaneRow]) -> Iterator[Choice]:
    """Yield the file that is next: the first by name, or the oldest; of those of one second the first by name."""
    waiting = [row for row in rows if row.is_waiting]
    if waiting and is_by_name(waiting[0].sort_key):
        yield Choice(row=waiting[0], due=waiting[0].due)
    elif waiting:
        second = waiting[0].sort_key[:SECOND]
        first = min(
            (row for row in waiting if row.sort_key[:SECOND] == second), key=lambda row: row.file_name.casefold()
        )
        yield Choice(row=first, due=first.due)


def _is_stopped(row: LaneRow, stopped: Mapping[str, Stop]) -> bool:
    """Return whether a run waits for its flow: it has not begun, or has met what stops the flow."""
    stop = stopped.get(row.flow_name)
    return stop is not None and (row.state is State.FOUND or row.refusal == stop.refusal)


def _tried_next(rows: Sequence[LaneRow], stop: Stop, under_way: Sequence[LaneRow]) -> Choice | None:
    """Return the file that tries whether a stopped flow goes on: each time the one whose last try is longest ago.

    A file that nobody has begun is not begun while a run is under way that does not stand still with the flow.
    """
    met = [row for row in rows if row.flow_name == stop.flow_name and not row.damage]
    stood = [row for row in met if row.state is not State.CANCELLED and not row.is_waiting]
    own = [row for row in stood if _is_stopped(row, {stop.flow_name: stop})]
    waiting = [row for row in met if row.is_waiting] if all(row in own for row in under_way) else []
    candidates = [*own, *(choice.row for choice in _first_waiting(waiting))]
    if not candidates:
        return None
    row = min(candidates, key=lambda row: (row.due, row.sort_key))
    return Choice(row=row, due=max(stop.next_try, row.due))


def is_enough(rows: Sequence[LaneRow], stops: Sequence[Stop] = ()) -> bool:
    """Return whether the first rows of a lane tell which run is next, whatever comes behind them.

    They do once a file that waits was seen, and all others of its second if its place does not follow from its name.
    """
    stopped = {stop.flow_name for stop in stops}
    waiting = next((row for row in rows if row.is_waiting and row.flow_name not in stopped), None)
    if waiting is None:
        return False
    return is_by_name(waiting.sort_key) or rows[-1].sort_key[:SECOND] > waiting.sort_key[:SECOND]


def by_lane(rows: Sequence[LaneRow]) -> Iterator[tuple[str, list[LaneRow]]]:
    """Yield lanes with their rows. rows: as the store lists them, lane by lane."""
    for lane, found in groupby(rows, key=lambda row: row.lane):
        yield lane, list(found)
