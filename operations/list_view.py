"""The list of runs, page by page, with figures on top and the flows below. Reads, never writes.

View models only; ``pages.py`` makes pages and JSON of them. Nothing in them changes with the clock alone, so that a
page that asks again can tell whether anything has happened.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import groupby
from types import MappingProxyType
from typing import Final

from operations import available_actions
from operations.available_actions import ActionOption, RerunCandidates
from operations.filters import Filters, InvalidRequest
from operations.labels import Place, place_of, took_and_waited
from shared.alerts import delivery
from shared.app import Services
from shared.config.flows import Flows
from shared.imports import order
from shared.runs.index import Rows, is_position
from shared.runs.lane import SECOND, direction_of
from shared.runs.rows import Pause, RunRow
from shared.runs.states import NOT_BEGUN, NOT_SUBMITTED, Direction

# Rows of a page, at least, as long as there are so many; rows that one call of storage brings; and with a filter rows
# that one page looks through before it lets the person decide whether to look on.
PAGE: Final = 50
AT_ONCE_FILTERED: Final = 500
LOOKED_THROUGH: Final = 2_000
# Runs that are run again at once: each asks OneDrive for its file.
RERUNS_AT_ONCE: Final = 50
# Open runs that a page shows: of those that need a person, of those that run, and of all together; a few of the others
# are shown however many these are. All of them are counted.
OPEN_SHOWN: Final = 100
OTHERS_SHOWN: Final = 10
# Failures of today that are counted; if there are more, the page says so.
FAILURES_COUNTED: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One run in a list."""

    run: RunRow
    place: Place
    took: timedelta | None  # from its opening to its end
    waited: timedelta | None = None  # of that, until it was taken up, and for what other runs had; None: not known
    turn: int = 0  # of a run that waits: 1 is the next of its lane


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The figures on top of the list, of all runs, whatever is filtered."""

    running: int
    waiting: int
    needs_person: int
    failed_today: int  # opened today, in UTC
    failed_today_or_more: bool
    oldest_waiting: RunRow | None
    set_aside: int = 0  # beside those that need a person


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneView:
    """An import or export of the settings with its lane, or a paused lane that the settings no longer have."""

    name: str
    kind: Direction
    lane: str
    pause: Pause | None
    actions: tuple[ActionOption, ...]
    damage: str = ""  # that a mark of its failed files cannot be read, and what waits for that


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainView:
    """That the app drains."""

    text: str
    since: datetime | None
    left: int  # open runs that F&O may have received, or that are ending


@dataclass(frozen=True, slots=True, kw_only=True)
class RunList:
    """One page of runs."""

    figures: Figures
    filters: Filters
    under_way: tuple[Line, ...]  # in the order of Place, those that wait by their turns; only on the first page
    under_way_total: int  # of those that the filters let through
    ended: tuple[Line, ...]  # the newest first
    position: str  # where the next page begins; "" if there is none
    looked_back_to: datetime | None  # set if a filter let the page end before it was full
    today: date  # in UTC
    flows: tuple[str, ...]  # the names in the settings, to choose from
    lanes: tuple[LaneView, ...] = ()
    actions: tuple[ActionOption, ...] = ()  # what a person may do about all that is shown
    drain: DrainView | None = None


def list_runs(filters: Filters, behind: str, services: Services) -> RunList:
    """Return one page of runs.

    behind: the position that the page before this one ended with, "" for the first.
    Raises InvalidRequest for another text, and for a flow of which there is nothing; TryAgain and NeedsPerson for
    problems with the app's storage.
    """
    if behind and not is_position(behind):
        raise InvalidRequest("behind: this is not a position in the list. Open the first page, and go on from there.")
    open_rows, pauses = services.index.open_rows_and_pauses()
    drain = services.drain.read()
    open_lines = sort_open(
        _with_damage(open_rows, services), frozenset(pause.lane for pause in pauses), is_draining=drain is not None
    )
    matching = [] if behind else [line for line in open_lines if filters.match(line.run)]
    ended, position, looked_back_to = ([], "", None) if filters.no_ended else _ended_page(filters, behind, services)
    integrations = services.settings.flows
    flows = (*(flow.name for flow in integrations.imports), *(flow.name for flow in integrations.exports))
    if not (matching or ended or behind or looked_back_to):
        filters.require_flow(flows)
    candidates = find_reruns(filters, services.now(), services) if filters.is_any else None
    return RunList(
        figures=count_figures(open_lines, *_failed_today(services)),
        filters=filters,
        under_way=tuple(_shown(matching)),
        under_way_total=len(matching),
        ended=tuple(ended),
        position=position,
        looked_back_to=looked_back_to,
        today=services.now().date(),
        flows=flows,
        lanes=tuple(
            list_lanes(
                integrations, pauses, is_draining=drain is not None, unreadable_marks=order.unreadable_marks(services)
            )
        ),
        actions=available_actions.of_list(candidates, drain),
        drain=DrainView(text=drain.text, since=drain.since, left=_count_left(open_rows)) if drain else None,
    )


def _count_left(rows: Sequence[RunRow]) -> int:
    return sum(row.state not in NOT_SUBMITTED for row in rows)


def list_lanes(
    integrations: Flows,
    pauses: Sequence[Pause],
    *,
    is_draining: bool = False,
    unreadable_marks: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[LaneView]:
    """Yield the flows of the settings with what stops them, then the other lanes that are paused.

    unreadable_marks: what waits for failed files whose marks cannot be read, by their flows.
    """
    paused = {pause.lane: pause for pause in pauses}
    named = [(flow.name, Direction.IMPORT, flow.lane) for flow in integrations.imports]
    named += [(flow.name, Direction.EXPORT, flow.lane) for flow in integrations.exports]
    known = {lane for _, _, lane in named}
    of_flows = [paused[flow.lane] for flow in integrations.imports if flow.has_many_lanes and flow.lane in paused]
    others = [
        lane
        for lane, pause in paused.items()
        if lane not in known and not any(pause.is_with(each) for each in of_flows)
    ]
    named += [(lane, direction_of(lane) or Direction.EXPORT, lane) for lane in others]
    for name, kind, lane in named:
        pause = paused.get(lane)
        options = available_actions.of_lane(
            name,
            kind,
            is_paused=pause is not None,
            stopped=pause.why if pause and pause.run else "",
            stays_stopped=bool(pause and pause.stop),
            is_draining=is_draining,
            has_damaged_marks=name in unreadable_marks,
        )
        damage = unreadable_marks.get(name, "")
        yield LaneView(name=name, kind=kind, lane=lane, pause=pause, actions=options, damage=damage)


# -- open runs


def sort_open(rows: Iterable[RunRow], paused: frozenset[str] = frozenset(), *, is_draining: bool = False) -> list[Line]:
    """Return open runs for a list: who needs a person, what runs, then what waits, in the order of its turns.

    rows: as the store lists them, lane by lane, the oldest of each first; paused: lanes that a person has paused.
    """
    lines: list[Line] = []
    for lane, of_lane in groupby(rows, key=lambda row: row.lane):
        is_busy, turn = False, 0
        for row in sorted(of_lane, key=_turn_key):  # who is under way comes before who waits for it
            place = place_of(
                needs_person=row.needs_person or row.damage != "",
                is_aside=row.is_aside,
                is_behind=_is_waiting(row) and is_busy,
                is_paused=lane in paused or (is_draining and row.state in NOT_SUBMITTED),
            )
            is_busy = is_busy or not row.is_aside
            turn += place is Place.WAITING
            lines.append(Line(run=row, place=place, took=None, turn=turn if place is Place.WAITING else 0))
    places = list(Place)
    return sorted(lines, key=lambda line: (places.index(line.place), line.turn, line.run.opened))


def _turn_key(row: RunRow) -> tuple[bool, str, str]:
    """Return by what the runs of a lane are sorted: as ``runs/lane.py`` takes them up."""
    if not _is_waiting(row):
        return False, "", ""
    return True, row.place[:SECOND], row.file_name.casefold() if row.place else ""


def _is_waiting(row: RunRow) -> bool:
    return row.state in NOT_BEGUN


def _shown(lines: Sequence[Line]) -> list[Line]:
    """Return the open runs that a page shows: however many wait, or need a person, those that run are among them."""
    first = [line for line in lines if line.place is Place.NEEDS_PERSON][:OPEN_SHOWN]
    running = [line for line in lines if line.place is Place.RUNNING][:OPEN_SHOWN]
    others = [line for line in lines if line.place not in (Place.NEEDS_PERSON, Place.RUNNING)]
    return [*first, *running, *others[: max(OPEN_SHOWN - len(first) - len(running), OTHERS_SHOWN)]]


def _with_damage(rows: list[RunRow], services: Services) -> list[RunRow]:
    """Return the rows with what workers found out about records that cannot be read; a listing does not show it."""
    damaged = {alert.run_address: alert for alert in delivery.damaged_record_alerts(services)}
    return [
        replace(row, damage=damaged[row.address].text, words=damaged[row.address].text, needs_person=True)
        if row.address in damaged and not row.damage
        else row
        for row in rows
    ]


def count_figures(open_lines: Sequence[Line], failed_today: int, failed_today_or_more: bool) -> Figures:
    """Return the figures of all open runs and of today's failures."""

    def count(place: Place) -> int:
        return sum(line.place is place for line in open_lines)

    waiting = [line.run for line in open_lines if line.place in (Place.WAITING, Place.PAUSED)]
    return Figures(
        running=count(Place.RUNNING),
        waiting=len(waiting),
        needs_person=count(Place.NEEDS_PERSON),
        failed_today=failed_today,
        failed_today_or_more=failed_today_or_more,
        oldest_waiting=min(waiting, key=lambda row: row.opened, default=None),
        set_aside=count(Place.ASIDE),
    )


def _failed_today(services: Services) -> tuple[int, bool]:
    """Return how many runs that were opened today have failed, and whether there are more than are counted."""
    today = services.now().date()
    first = next(services.index.ended_rows(today, today, only_failed=True, at_once=FAILURES_COUNTED))
    return len(first.rows), not first.is_last_of_day


# -- ended runs


def find_reruns(filters: Filters, moment: datetime, services: Services) -> RerunCandidates:
    """Return which ended runs are run again if all that a filter shows are: the newest first, as many as go at once.

    moment: when the person saw the list. What was opened since, or was run again already, is left out. Looks no
    further back than a page does before it lets the person decide.
    """
    if filters.no_ended:
        return RerunCandidates(rows=(), has_more=False)
    found: list[RunRow] = []
    looked_through = 0
    for rows in _ended_rows(filters, "", services):
        found += [row for row in rows.rows if row.opened < moment and not row.has_again and filters.match(row)]
        looked_through += len(rows.rows)
        if len(found) > RERUNS_AT_ONCE:
            break
        if looked_through >= LOOKED_THROUGH:
            return RerunCandidates(rows=tuple(found), has_more=False, looked_back_to=rows.rows[-1].opened)
    return RerunCandidates(rows=tuple(found[:RERUNS_AT_ONCE]), has_more=len(found) > RERUNS_AT_ONCE)


def _ended_page(filters: Filters, behind: str, services: Services) -> tuple[list[Line], str, datetime | None]:
    """Return the ended runs of one page, where the next page begins, and how far back a filtered page has looked.

    There is a next page only if it shows a run, or if so many were looked through that the person decides.
    """
    lines: list[Line] = []
    looked_through, last, full_at = 0, None, ""
    for rows in _ended_rows(filters, behind, services):
        matching = [row for row in rows.rows if filters.match(row)]
        if full_at and matching:
            return lines, full_at, None
        lines += [_ended_line(row) for row in matching]
        looked_through += len(rows.rows)
        last = rows.rows[-1].opened if rows.rows else last
        if looked_through >= LOOKED_THROUGH:
            return lines, full_at or rows.position, last
        if len(lines) >= PAGE and not full_at:
            if not filters.is_any and not rows.is_last_of_day:
                return lines, rows.position, None  # the listing said that it goes on
            full_at = rows.position
    return lines, "", None


def _ended_line(row: RunRow) -> Line:
    took, waited = took_and_waited(row.opened, row.ended, row.waited_s)
    return Line(run=row, place=Place.ENDED, took=took, waited=waited)


def _ended_rows(filters: Filters, behind: str, services: Services) -> Iterator[Rows]:
    return services.index.ended_rows(
        filters.day or services.now().date(),
        filters.day,
        only_failed=filters.only_failed,
        after=behind,
        at_once=AT_ONCE_FILTERED if filters.is_any else PAGE,
    )
