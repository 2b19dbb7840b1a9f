"""What a person sees of the runs: a list with figures on top, and one run as the way that it went. Reads, never writes.

View models only: pages and JSON are made of them in ``operations/``; what a person does is ``actions.py``. Nothing in
them changes with the clock alone, so that a page that looks again can tell whether anything has happened.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from itertools import groupby
from typing import Final
from urllib.parse import urlsplit

from operations import available_actions
from operations.available_actions import Offer, ToRunAgain
from operations.filters import Filters, NotUnderstood
from shared.advice import what_to_do
from shared.alerts import delivery
from shared.alerts.delivery import passed_words
from shared.app import Services
from shared.config.integrations import Flows
from shared.exports import steps as export_steps
from shared.imports import steps as import_steps
from shared.reservations import settle
from shared.runs.addresses import address_of, address_of_rerun, place_at
from shared.runs.index import Rows, is_position
from shared.runs.lane import SECOND, ahead_of
from shared.runs.record import Damaged
from shared.runs.rows import Pause, RunRow
from shared.runs.run import (
    PROGRESS,
    Direction,
    FailedRow,
    Outcome,
    RemoteCallRecord,
    Run,
    State,
    StepRecord,
    Submission,
)

# Rows of a page, at least, as long as there are so many; rows that one call of storage brings; and with a filter rows
# that one page looks through before it lets the person decide whether to look on.
PAGE: Final = 50
AT_ONCE_FILTERED: Final = 500
LOOKED_THROUGH: Final = 2_000
# Runs that are run again at once: each asks OneDrive for its file.
AGAIN_AT_ONCE: Final = 50
# Open runs that a page shows: of those that need a person, of those that run, and of all together; a few of the others
# are shown however many these are. All of them are counted.
OPEN_SHOWN: Final = 100
OTHERS_SHOWN: Final = 10
# Failures of today that are counted; behind them "and more" is said.
FAILURES_COUNTED: Final = 200

STATE_WORDS: Final[Mapping[State, str]] = {
    State.FOUND: "The file is in Input.",
    State.CLAIMED: "The file is in Processing.",
    State.FINISHED: "The outcome is known.",
    State.FILED: "The file is in Success or Error.",
    State.WITHDRAWN: "A person took the file away before F&O was told of it.",
    State.PLANNED: "The export is due.",
    State.READY: "F&O has finished the export.",
    State.DELIVERED: "The package is in OneDrive.",
    State.FAILED: "F&O has no package for us.",
    State.SUBMITTING: "F&O may or may not have been told.",
    State.EXECUTING: "F&O is working on it.",
    State.CANCELLED: "A person has cancelled it.",
}

CANCELLED_WORDS: Final = "A person has cancelled it."

# What a run waits for in a state, where nothing is wrong and it is its turn.
WAITS_FOR: Final[Mapping[State, str]] = {
    State.FOUND: "the file to be complete, to move it to Processing",
    State.CLAIMED: "the upload of the package to F&O, and for F&O to take another execution",
    State.SUBMITTING: "certainty whether F&O has got the request",
    State.EXECUTING: "F&O to end the execution",
    State.FINISHED: "F&O's error files, to put them beside the file",
    State.PLANNED: "F&O to take another execution",
    State.READY: "F&O to hand out the package",
    State.CANCELLED: "OneDrive, to move the file to Error",
}

STEP_WORDS: Final[Mapping[str, str]] = {
    "claim": "Move the file to Processing",
    "prepare": "Check the package, upload it to F&O, reserve the data project",
    "upload": "Check the package and upload it to F&O",
    "choose_id": "Choose and save the execution id",
    "submit": "Tell F&O, or ask whether it was told",
    "poll": "Ask F&O how far it is",
    "watch": "Ask F&O how far it is",
    "file_away": "File it in Success or Error",
    "deliver": "Put the package into OneDrive",
}

# What a person did, in a run's history.
ACTION_WORDS: Final[Mapping[str, str]] = {
    "run_again": "Run again",
    "check_now": "Check now",
    "give_up": "Cancel",
    "submit_again": "Submit again",
    "export_now": "Export now",
}
# Steps in records that older versions have written; what they led to cannot be told from the states of this one.
OLDER_STEPS: Final = frozenset({"upload", "watch"})
# Of the runs that did one's work again, as many are shown.
LATER_SHOWN: Final = 20


class Place(StrEnum):
    """Where a run stands among the others, in the one word that the list, its page and the command line use.

    In the order in which a list shows them.
    """

    NEEDS_PERSON = "needs a person"
    RUNNING = "running"  # under way, or the next of its lane
    PAUSED = "paused"  # under way, or the next, of a lane that a person has stopped
    ASIDE = "set aside"  # others of its lane pass it
    WAITING = "waiting"  # behind another run of its lane
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One run in a list."""

    run: RunRow
    place: Place
    took: timedelta | None  # from its opening to its end
    waited: timedelta | None = None  # of that, until it was taken up, and for what other runs had; None: not known
    turn: int = 0  # of a run that waits: 1 is the next of its lane


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiles:
    """The figures on top of the list, of all runs, whatever is filtered."""

    running: int
    waiting: int
    needs_person: int
    failed_today: int  # opened today, in UTC
    failed_today_or_more: bool
    oldest_waiting: RunRow | None
    set_aside: int = 0  # beside those that need a person


@dataclass(frozen=True, slots=True, kw_only=True)
class RunList:
    """One page of runs."""

    tiles: Tiles
    filters: Filters
    under_way: tuple[Line, ...]  # in the order of Place, those that wait by their turns; only on the first page
    under_way_total: int  # of those that the filters let through
    ended: tuple[Line, ...]  # the newest first
    position: str  # where the next page begins; "" where there is none
    looked_back_to: datetime | None  # set where a filter let the page end before it was full
    today: date  # in UTC
    flows: tuple[str, ...]  # the names in the settings, to choose from
    lanes: tuple["LaneView", ...] = ()
    offers: tuple[Offer, ...] = ()  # what a person may do about all that is shown


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneView:
    """An import or export of the settings with its lane, or a paused lane that the settings do not know any more."""

    name: str
    kind: Direction
    lane: str
    pause: Pause | None
    offers: tuple[Offer, ...]


def list_runs(filters: Filters, behind: str, services: Services) -> RunList:
    """Return one page of runs.

    behind: the position that the page before this one ended with, "" for the first.
    Raises NotUnderstood for another text; TryAgain and NeedsPerson for trouble with the app's storage.
    """
    if behind and not is_position(behind):
        raise NotUnderstood("behind: this is not a position in the list. Open the first page, and go on from there.")
    open_rows, pauses = services.index.open_rows_and_pauses()
    open_rows = _with_damage(open_rows, services)
    open_lines = placed(open_rows, frozenset(pause.lane for pause in pauses))
    fitting = [] if behind else [line for line in open_lines if filters.fit(line.run)]
    ended, position, looked_back_to = ([], "", None) if filters.no_ended else _ended_page(filters, behind, services)
    integrations = services.settings.flows
    return RunList(
        tiles=tiles(open_lines, *_failed_today(services)),
        filters=filters,
        under_way=tuple(_shown(fitting)),
        under_way_total=len(fitting),
        ended=tuple(ended),
        position=position,
        looked_back_to=looked_back_to,
        today=services.now().date(),
        flows=(*(flow.name for flow in integrations.imports), *(flow.name for flow in integrations.exports)),
        lanes=tuple(lanes(integrations, pauses)),
        offers=available_actions.of_list(to_run_again(filters, services.now(), services) if filters.is_any else None),
    )


def lanes(integrations: Flows, pauses: Sequence[Pause]) -> Iterator[LaneView]:
    """Yield the flows of the settings with what stops them, then the other lanes that are paused."""
    paused = {pause.lane: pause for pause in pauses}
    named = [(flow.name, Direction.IMPORT, flow.lane) for flow in integrations.imports]
    named += [(flow.name, Direction.EXPORT, flow.lane) for flow in integrations.exports]
    known = {lane for _, _, lane in named}
    named += [
        (lane, Direction.IMPORT if lane.startswith("in-") else Direction.EXPORT, lane)
        for lane in paused
        if lane not in known
    ]
    for name, kind, lane in named:
        pause = paused.get(lane)
        yield LaneView(
            name=name,
            kind=kind,
            lane=lane,
            pause=pause,
            offers=available_actions.of_lane(name, kind, is_paused=pause is not None),
        )


def placed(rows: Iterable[RunRow], paused: frozenset[str] = frozenset()) -> list[Line]:
    """Return open runs for a list: who needs a person, what runs, then what waits, in the order of its turns.

    rows: as the store lists them, lane by lane, the oldest of each first; paused: lanes that stand still.
    """
    lines: list[Line] = []
    for lane, of_lane in groupby(rows, key=lambda row: row.lane):
        is_busy, turn = False, 0
        for row in sorted(of_lane, key=_by_turn):  # who is under way comes before who waits for it
            place = Place.WAITING
            if row.needs_person or row.damage:
                place = Place.NEEDS_PERSON
            elif row.is_aside:
                place = Place.ASIDE
            elif not _is_to_begin(row) or not is_busy:
                place = Place.PAUSED if lane in paused else Place.RUNNING
            is_busy = is_busy or not row.is_aside
            turn += place is Place.WAITING
            lines.append(Line(run=row, place=place, took=None, turn=turn if place is Place.WAITING else 0))
    places = list(Place)
    return sorted(lines, key=lambda line: (places.index(line.place), line.turn, line.run.opened))


def _by_turn(row: RunRow) -> tuple[bool, str, str]:
    """Return by what the runs of a lane are sorted: as ``runs/lane.py`` takes them up."""
    if not _is_to_begin(row):
        return False, "", ""
    return True, row.place[:SECOND], row.file_name.casefold() if row.place else ""


def _is_to_begin(row: RunRow) -> bool:
    return row.state in (State.FOUND, State.PLANNED)


def _shown(lines: Sequence[Line]) -> list[Line]:
    """Return the open runs that a page shows: however many wait, or need a person, those that run are among them."""
    first = [line for line in lines if line.place is Place.NEEDS_PERSON][:OPEN_SHOWN]
    running = [line for line in lines if line.place is Place.RUNNING][:OPEN_SHOWN]
    others = [line for line in lines if line.place not in (Place.NEEDS_PERSON, Place.RUNNING)]
    return [*first, *running, *others[: max(OPEN_SHOWN - len(first) - len(running), OTHERS_SHOWN)]]


def _with_damage(rows: list[RunRow], services: Services) -> list[RunRow]:
    """Return the rows with what workers found out about records that cannot be read; a listing does not show it."""
    damaged = {alert.run_address: alert for alert in delivery.damages(services)}
    return [
        replace(row, damage=damaged[row.address].text, words=damaged[row.address].text, needs_person=True)
        if row.address in damaged and not row.damage
        else row
        for row in rows
    ]


def tiles(open_lines: Sequence[Line], failed_today: int, failed_today_or_more: bool) -> Tiles:
    """Return the figures of all open runs and of today's failures."""

    def count(place: Place) -> int:
        return sum(line.place is place for line in open_lines)

    waiting = [line.run for line in open_lines if line.place in (Place.WAITING, Place.PAUSED)]
    return Tiles(
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


def to_run_again(filters: Filters, moment: datetime, services: Services) -> ToRunAgain:
    """Return which ended runs are run again if all that a filter shows are: the newest first, as many as go at once.

    moment: when the person saw the list. What was opened since, or was run again already, is left out. Looks no
    further than a page does before it lets the person decide.
    """
    if filters.no_ended:
        return ToRunAgain(rows=(), has_more=False)
    found: list[RunRow] = []
    looked_through = 0
    for rows in _ended_rows(filters, "", services):
        found += [row for row in rows.rows if row.opened < moment and not row.has_again and filters.fit(row)]
        looked_through += len(rows.rows)
        if len(found) > AGAIN_AT_ONCE:
            break
        if looked_through >= LOOKED_THROUGH:
            return ToRunAgain(rows=tuple(found), has_more=False, looked_back_to=rows.rows[-1].opened)
    return ToRunAgain(rows=tuple(found[:AGAIN_AT_ONCE]), has_more=len(found) > AGAIN_AT_ONCE)


def _ended_page(filters: Filters, behind: str, services: Services) -> tuple[list[Line], str, datetime | None]:
    """Return the ended runs of one page, where the next page begins, and how far a filtered page has looked.

    There is a next page only if it shows a run, or if so many were looked through that the person decides.
    """
    lines: list[Line] = []
    looked_through, last, full_at = 0, None, ""
    for rows in _ended_rows(filters, behind, services):
        fitting = [row for row in rows.rows if filters.fit(row)]
        if full_at and fitting:
            return lines, full_at, None
        lines += [_ended_line(row) for row in fitting]
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
    took = row.ended - row.opened if row.ended else None
    waited = None if took is None or row.waited_s is None else min(timedelta(seconds=row.waited_s), took)
    return Line(run=row, place=Place.ENDED, took=took, waited=waited)


def _ended_rows(filters: Filters, behind: str, services: Services) -> Iterator[Rows]:
    return services.index.ended_rows(
        filters.day or services.now().date(),
        filters.day,
        only_failed=filters.only_failed,
        after=behind,
        at_once=AT_ONCE_FILTERED if filters.is_any else PAGE,
    )


# -- one run


class Mark(StrEnum):
    """What came of a step."""

    DONE = "done"
    NOT_YET = "not yet"  # it was refused, had to wait, or changed nothing; it was, or will be, tried again
    FAILED = "failed"
    PERSON = "by a person"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepView:
    """One step on the way of a run."""

    number: int
    title: str
    record: StepRecord
    waited: timedelta | None  # between the step before and this one
    mark: Mark = Mark.DONE
    refusals: tuple[str, ...] = ()  # calls that were answered with 400 or more, or not at all: "ExportToPackage 400"
    words: str = ""  # what F&O said at its end, if that was not success


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """A run that another one waits for."""

    address: str
    run_id: str
    file_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """What an open run waits for."""

    title: str  # of the step that is next
    waits_for: str
    looks_again: datetime | None  # None: when the run ahead of it is done
    behind: Ahead | None  # the run of its lane that goes first, if that is another


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """A run that did the work of an earlier one again."""

    address: str
    opened: datetime
    words: str  # how it went


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """One run as a person reads it."""

    address: str
    run_id: str
    flow: Direction
    integration: str
    file_name: str
    size_bytes: int
    folder: str
    company: str
    data_project: str
    entities: tuple[str, ...]
    state: State
    state_words: str
    outcome: Outcome | None
    reason: str
    trouble: str
    opened: datetime
    ended: datetime | None
    took: timedelta | None
    links: tuple[tuple[str, str], ...]  # words and address
    submissions: tuple[Submission, ...]
    steps: tuple[StepView, ...]
    next: Next | None  # None: it has ended
    failed_rows: tuple[FailedRow, ...]
    failed_rows_total: int
    again_of: str  # the address of the run whose work this one does again
    again_number: int  # how many there were before
    later: tuple[Later, ...]  # those that did its work again, the first one first
    pause: Pause | None  # of its lane
    offers: tuple[Offer, ...]
    is_aside: bool = False
    passed: str = ""  # which later files were taken up before it, in words
    place: Place = Place.ENDED
    waited: timedelta | None = None  # of the time that it took, as in a list
    to_do: str = ""  # what a person is to do about a run that has ended
    scheduled: datetime | None = None  # the moment of the schedule that an export serves
    late: timedelta | None = None  # after that moment it was opened, if that was late


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedView:
    """A run whose record cannot be read."""

    address: str
    damage: str
    offers: tuple[Offer, ...]
    ended: None = None


def show_run(address: str, services: Services) -> RunView | DamagedView | None:
    """Return the run with that address, None if there is none. Raises TryAgain and NeedsPerson, as ``list_runs``."""
    try:
        run = services.store.run_at(address)
    except Damaged as damaged:
        name = place_at(address)
        return DamagedView(
            address=address, damage=str(damaged), offers=available_actions.of_damaged(name) if name else ()
        )
    if run is None:
        return None
    pause = None if run.ended else services.store.pause_of(run.lane)
    can_be_again = run.ended is None or run.rerun is not None or _can_be_again(run, services)
    is_holding = run.cancelled_in is not None and run.may_be_with_fo and settle.is_holding(run, services)
    ahead, has_others_before = (None, False) if run.ended else _ahead(run, services)
    later = tuple(_later(run, services))
    return run_view(
        run,
        ahead,
        pause=pause,
        later=later,
        is_holding=is_holding,
        can_be_again=can_be_again,
        has_others_before=has_others_before,
    )


def _can_be_again(run: Run, services: Services) -> bool:
    """Return whether nothing that the app itself knows stands against running it again."""
    if run.direction is Direction.IMPORT:
        return services.settings.flows.import_named(run.flow_name) is not None
    flow = services.settings.flows.export_named(run.flow_name)
    return flow is not None and services.store.head(flow.lane) is None


def _ahead(run: Run, services: Services) -> tuple[Ahead | None, bool]:
    """Return the run that goes first, if a run waits for its turn in its lane; and whether it has others before it.

    Of a flow that stands still none goes first: any of its runs can be checked now. A list shows them by their turns.
    """
    if run.state not in (State.FOUND, State.PLANNED) or run.is_aside:
        return None, False
    listed = services.store.lane(run.lane)
    row = ahead_of(run.sort_key, listed.rows, listed.stops)
    ahead = None if row is None else Ahead(address=row.address, run_id=row.run_id, file_name=row.file_name)
    return ahead, ahead_of(run.sort_key, listed.rows) is not None


def _later(run: Run, services: Services) -> Iterator[Later]:
    following: Run | None = run
    for _ in range(LATER_SHOWN):
        if following is None or following.rerun is None:
            return
        successor = following.rerun
        address = address_of_rerun(successor)
        try:
            following = services.store.run_at(address)
        except Damaged:
            yield Later(address=address, opened=successor.opened, words="its record is damaged")
            return
        words = "its record was cleared away" if following is None else "under way"
        if following and following.ended:
            words = following.outcome.value if following.outcome else "Ended"
        yield Later(address=address, opened=successor.opened, words=words)


def run_view(
    run: Run,
    ahead: Ahead | None,
    *,
    pause: Pause | None = None,
    later: tuple[Later, ...] = (),
    is_holding: bool = False,
    can_be_again: bool = True,
    has_others_before: bool = False,
) -> RunView:
    """Return a run as a person reads it.

    ahead: the run of its lane that goes first; pause: what stops the lane; is_holding: it is cancelled and reserves;
    can_be_again: nothing that is known stands against running it again; has_others_before: it waits behind others in a
    list.
    """
    took = run.ended - run.opened if run.ended else None
    return RunView(
        address=address_of(run),
        run_id=run.run_id,
        flow=run.direction,
        integration=run.flow_name,
        file_name=run.file.name,
        size_bytes=run.file.size_bytes,
        folder=run.file.folder,
        company=run.company,
        data_project=run.data_project,
        entities=run.entities,
        state=run.state,
        state_words=_state_words(run),
        outcome=run.outcome,
        reason=run.reason,
        trouble=run.problem.text if run.problem else "",
        opened=run.opened,
        ended=run.ended,
        took=took,
        waited=None if took is None or run.waited_s is None else min(timedelta(seconds=run.waited_s), took),
        place=_place(run, pause, is_behind=ahead is not None or has_others_before),
        links=_links(run),
        submissions=run.submissions,
        steps=tuple(_steps(run)),
        next=None if run.ended else _next(run, ahead, pause),
        failed_rows=run.failed_rows,
        failed_rows_total=run.failed_rows_total,
        again_of=run.rerun_of,
        again_number=run.rerun_count,
        later=later,
        pause=pause,
        offers=available_actions.of_run(
            run,
            is_paused=pause is not None,
            is_holding=is_holding,
            is_behind=ahead is not None,
            can_be_again=can_be_again,
        ),
        is_aside=not run.ended and run.is_aside,
        passed=passed_words(run),
        to_do=what_to_do(run) if run.ended else "",
        scheduled=run.scheduled,
        late=None if run.late_s is None else timedelta(seconds=run.late_s),
    )


def _place(run: Run, pause: Pause | None, *, is_behind: bool) -> Place:
    """Return the same word as ``placed``."""
    if run.ended:
        return Place.ENDED
    if run.problem:
        return Place.NEEDS_PERSON
    if run.is_aside:
        return Place.ASIDE
    if is_behind:
        return Place.WAITING
    return Place.PAUSED if pause else Place.RUNNING


def _state_words(run: Run) -> str:
    if run.state is State.FILED or (run.state is State.FOUND and run.rerun_of):
        return f"The file is in {run.file.folder}."
    return CANCELLED_WORDS if run.outcome is Outcome.CANCELLED_BY_PERSON else STATE_WORDS[run.state]


def _links(run: Run) -> tuple[tuple[str, str], ...]:
    """Return the pages of others about a run; an address that is no web address is left out."""
    known = (
        ("The file in OneDrive", run.file.web_url),
        ("The report in OneDrive", run.report_url),
        ("Execution summary in F&O", run.summary_url),
    )
    return tuple((words, url) for words, url in known if urlsplit(url).scheme in ("https", "http"))


def _steps(run: Run) -> Iterator[StepView]:
    before: datetime | None = None
    for number, record in enumerate(run.steps, 1):
        is_last = number == len(run.steps)
        after = run.state if is_last else run.steps[number].state
        mark, words = _mark(record, after, run, is_last=is_last)
        yield StepView(
            number=number,
            title=STEP_WORDS.get(record.step) or ACTION_WORDS.get(record.step, record.step),
            record=record,
            waited=max(record.began - before, timedelta(0)) if before else None,
            mark=mark,
            refusals=tuple(dict.fromkeys(filter(None, map(_refusal, record.calls)))),
            words=words,
        )
        # Of steps that were counted only the first one's beginning is known; the last one's calls say when it was.
        began = record.began if record.times == 1 else max((call.began for call in record.calls), default=record.began)
        before = began + timedelta(seconds=record.took_s)


def _mark(record: StepRecord, after: State, run: Run, *, is_last: bool) -> tuple[Mark, str]:
    """Return what came of a step, and F&O's word for an end that was not success; after: the state that it led to."""
    if record.by:
        return Mark.PERSON, ""
    has_moved = PROGRESS[after] > PROGRESS[record.state]
    if record.error:
        is_final = has_moved or (is_last and run.problem is not None)
        return (Mark.FAILED if is_final else Mark.NOT_YET), ""
    if record.step in OLDER_STEPS:
        return Mark.DONE, ""
    if not has_moved or after is State.WITHDRAWN:
        return Mark.NOT_YET, ""
    if record.state is State.EXECUTING and run.outcome and run.outcome.needs_telling:
        return Mark.FAILED, f"F&O ended it as {run.outcome.value}"
    return Mark.DONE, ""


def _refusal(call: RemoteCallRecord) -> str:
    """Return how a call was refused, "" if it was not."""
    if not call.is_refused:
        return ""
    return f"{call.operation}: no answer" if call.status is None else f"{call.operation} {call.status}"


def _next(run: Run, ahead: Ahead | None, pause: Pause | None) -> Next:
    steps = import_steps.STEPS if run.direction is Direction.IMPORT else export_steps.STEPS
    title = STEP_WORDS[steps[run.state].__name__] if run.state in steps else ""
    if ahead:
        return Next(title=title, waits_for="its turn", looks_again=None, behind=ahead)
    if pause:
        return Next(title=title, waits_for="the lane to be resumed", looks_again=None, behind=None)
    if run.waits:
        waits_for = f"{run.waits.what}. {run.waits.holder}".strip(". ")
    elif run.attempts and run.steps and run.steps[-1].error:
        waits_for = f"another try; {run.attempts} have failed"
    else:
        waits_for = WAITS_FOR.get(run.state, "")
    return Next(title=title, waits_for=waits_for, looks_again=run.due, behind=None)
