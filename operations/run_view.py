"""One run as a person reads it: the steps that it took, what came of each, and what it waits for. Reads, never writes.

A view model only, as ``list_view.py``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from operations import available_actions
from operations.available_actions import ActionOption
from operations.labels import (
    ACTION_TITLE,
    OLDER_STEPS,
    STEP_TITLE,
    WAITS_FOR,
    Place,
    outcome_label,
    place_of,
    state_text,
    took_and_waited,
)
from shared.advice import what_to_do
from shared.alerts.run_alerts import passed_by_text
from shared.app import Services
from shared.config.model import IMPORT_FROM_PACKAGE_ASYNC
from shared.exports import steps as export_steps
from shared.imports import steps as import_steps
from shared.imports.order import find_failed_file, imports_waiting_for
from shared.reservations import settle
from shared.row_counts import neither_label
from shared.runs.addresses import address_of, address_of_rerun, place_at
from shared.runs.drain import Drain
from shared.runs.lane import ahead_of
from shared.runs.record import Damaged
from shared.runs.rows import Pause
from shared.runs.run import Run
from shared.runs.states import NOT_BEGUN, NOT_SUBMITTED, PROGRESS, Direction, Outcome, State
from shared.runs.values import FailedRow, FirstImport, RemoteCallRecord, StepRecord, Submission

# Of the reruns of a run, as many are shown.
RERUNS_SHOWN: Final = 20


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
    fo_status: str = ""  # how F&O ended the execution, if that was not success


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAhead:
    """A run that another one waits for."""

    address: str
    run_id: str
    file_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """What an open run waits for."""

    title: str  # of the step that is next
    waits_for: str
    next_check: datetime | None  # None: when the run ahead of it is done
    run_ahead: RunAhead | None  # the run of its lane that goes first, if that is another
    holder: str = ""  # the address of the run that has what it waits for


@dataclass(frozen=True, slots=True, kw_only=True)
class RerunView:
    """A rerun of a run."""

    address: str
    opened: datetime
    result: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CountsView:
    """The rows of one entity, as F&O counted them. None: it does not say."""

    entity: str
    to_be_processed: int | None
    staged: int | None
    created: int | None
    updated: int | None
    neither: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """One run as a person reads it."""

    address: str
    run_id: str
    direction: Direction
    flow_name: str
    file_name: str
    size_bytes: int
    folder: str
    company: str
    data_project: str
    entities: tuple[str, ...]
    state: State
    state_text: str
    outcome: Outcome | None
    reason: str
    problem: str
    opened: datetime
    ended: datetime | None
    took: timedelta | None
    links: tuple[tuple[str, str], ...]  # label and address
    submissions: tuple[Submission, ...]
    steps: tuple[StepView, ...]
    next: Next | None  # None: it has ended
    failed_rows: tuple[FailedRow, ...]
    failed_rows_total: int
    rerun_of: str  # the address of the run that this one is a rerun of
    rerun_count: int  # how many runs of the same file there were before
    reruns: tuple[RerunView, ...]  # the first one first
    pause: Pause | None  # of its lane
    actions: tuple[ActionOption, ...]
    is_aside: bool = False
    passed: str = ""  # says which later files were taken up before it
    place: Place = Place.ENDED
    waited: timedelta | None = None  # of the time that it took, as in a list
    to_do: str = ""  # what a person is to do about a run that has ended
    scheduled: datetime | None = None  # the moment of the schedule that an export serves
    late: timedelta | None = None  # after that moment it was opened, if that was late
    is_staging_only: bool = False
    warning: str = ""  # of a run that has succeeded
    counts: tuple[CountsView, ...] = ()
    counts_note: str = ""  # why there are none
    neither_label: str = ""
    first_import: FirstImport | None = None  # another run that imported the same content before
    action: str = ""  # by which F&O imports its package, if that is not the usual one
    keeps_waiting: tuple[str, ...] = ()  # imports that wait for its file, because it did not succeed (afterSuccess)


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedView:
    """A run whose record cannot be read."""

    address: str
    damage: str
    actions: tuple[ActionOption, ...]
    ended: None = None


def find_run(address: str, services: Services) -> RunView | DamagedView | None:
    """Return the run with that address, None if there is none. Raises TryAgain and NeedsPerson, as ``list_runs``."""
    try:
        run = services.store.run_at(address)
    except Damaged as damaged:
        name = place_at(address)
        row = services.store.row_at(*name.split("/", 1)) if name else None
        behind = imports_waiting_for(row, services) if row else ""
        options = available_actions.of_damaged(name, behind) if name else ()
        return DamagedView(address=address, damage=str(damaged), actions=options)
    if run is None:
        return None
    run_ahead, is_behind, rests_until = (None, False, None) if run.ended else _run_ahead(run, services)
    if run.ended is None:
        pause = services.store.pause_of(run.lane)
    else:
        may_stop = run.did_not_succeed or run.outcome is Outcome.WITHDRAWN
        stop = services.store.stop_at_file(run.lane) if may_stop else None
        pause = stop if stop and stop.run_id == run.run_id else None
    is_waited_for = run.ended is not None and find_failed_file(run, services) is not None
    waiting = services.settings.flows.imports_after_success_of(run.flow_name) if is_waited_for else ()
    return view_run(
        run,
        run_ahead,
        pause=pause,
        reruns=tuple(_reruns(run, services)),
        is_holding=run.cancelled_in is not None and run.may_be_with_fo and settle.is_holding(run, services),
        can_rerun=run.ended is None or run.rerun is not None or _can_rerun(run, services),
        is_behind=is_behind,
        rests_until=rests_until,
        drain=services.drain.read() if run.state in NOT_SUBMITTED else None,
        waiting=tuple(flow.name for flow in waiting),
    )


def _can_rerun(run: Run, services: Services) -> bool:
    """Return whether nothing that the app itself knows prevents a rerun."""
    if services.drain.read():
        return False
    if run.direction is Direction.IMPORT:
        return services.settings.flows.import_named(run.flow_name) is not None
    flow = services.settings.flows.export_named(run.flow_name)
    return flow is not None and services.store.head(flow.lane) is None


def _run_ahead(run: Run, services: Services) -> tuple[RunAhead | None, bool, datetime | None]:
    """Return the run that goes first, if a run waits for its turn in its lane; whether it has others before it; and
    until when the lane rests.

    Of a flow that is stopped none goes first: any of its runs can be checked now. A list shows them by their turns.
    """
    if run.state not in NOT_BEGUN or run.is_aside:
        return None, False, None
    listed = services.store.lane(run.lane)
    row = ahead_of(run.sort_key, listed.rows, listed.stops)
    ahead = None if row is None else RunAhead(address=row.address, run_id=row.run_id, file_name=row.file_name)
    return ahead, ahead_of(run.sort_key, listed.rows) is not None, listed.rests_until


def _reruns(run: Run, services: Services) -> Iterator[RerunView]:
    following: Run | None = run
    for _ in range(RERUNS_SHOWN):
        if following is None or following.rerun is None:
            return
        rerun = following.rerun
        address = address_of_rerun(rerun)
        try:
            following = services.store.run_at(address)
        except Damaged:
            yield RerunView(address=address, opened=rerun.opened, result="its record is damaged")
            return
        result = "its record was deleted" if following is None else "under way"
        if following and following.ended:
            result = outcome_label(following.outcome)
        yield RerunView(address=address, opened=rerun.opened, result=result)


def view_run(
    run: Run,
    run_ahead: RunAhead | None,
    *,
    pause: Pause | None = None,
    reruns: tuple[RerunView, ...] = (),
    is_holding: bool = False,
    can_rerun: bool = True,
    is_behind: bool = False,
    rests_until: datetime | None = None,
    drain: Drain | None = None,
    waiting: tuple[str, ...] = (),
) -> RunView:
    """Return a run as a person reads it.

    run_ahead: the run of its lane that goes first; pause: what stops the lane, or has stopped it at
    this run, which has ended; rests_until: the lane begins no file before that; is_holding: it is cancelled and still
    has a reservation; can_rerun: nothing that is known prevents it; is_behind: it waits behind others in a list; drain:
    what keeps it from being submitted; waiting: imports that wait for its file, because it did not succeed.
    """
    took, waited = took_and_waited(run.opened, run.ended, run.waited_s)
    return RunView(
        address=address_of(run),
        run_id=run.run_id,
        direction=run.direction,
        flow_name=run.flow_name,
        file_name=run.file.name,
        size_bytes=run.file.size_bytes,
        folder=run.file.folder,
        company=run.company,
        data_project=run.data_project,
        entities=run.entities,
        state=run.state,
        state_text=state_text(run),
        outcome=run.outcome,
        reason=run.reason,
        problem=run.problem.text if run.problem else "",
        opened=run.opened,
        ended=run.ended,
        took=took,
        waited=waited,
        place=Place.ENDED
        if run.ended
        else place_of(
            needs_person=run.problem is not None,
            is_aside=run.is_aside,
            is_behind=run_ahead is not None or is_behind,
            is_paused=pause is not None or drain is not None,
        ),
        links=_links(run),
        submissions=run.submissions,
        steps=tuple(_steps(run)),
        next=None if run.ended else _next(run, run_ahead, pause, rests_until, drain),
        failed_rows=run.failed_rows,
        failed_rows_total=run.failed_rows_total,
        rerun_of=run.rerun_of,
        rerun_count=run.rerun_count,
        reruns=reruns,
        pause=pause,
        actions=available_actions.of_run(
            run,
            is_paused=pause is not None or drain is not None,
            is_holding=is_holding,
            is_behind=run_ahead is not None,
            can_rerun=can_rerun,
            is_stopping=run.ended is not None and pause is not None,
            waiting=waiting,
        ),
        is_aside=not run.ended and run.is_aside,
        passed=passed_by_text(run),
        to_do=what_to_do(run) if run.ended else "",
        scheduled=run.scheduled,
        late=None if run.late_s is None else timedelta(seconds=run.late_s),
        is_staging_only=run.is_staging_only,
        warning=run.warning,
        counts=tuple(
            CountsView(
                entity=each.entity,
                to_be_processed=each.to_be_processed,
                staged=each.staged,
                created=None if run.is_staging_only else each.created,
                updated=None if run.is_staging_only else each.updated,
                neither=None if run.is_staging_only else each.neither,
            )
            for each in run.counts
        ),
        counts_note=run.counts_note,
        neither_label=neither_label(run) if run.counts else "",
        first_import=run.first_import,
        action=IMPORT_FROM_PACKAGE_ASYNC if run.is_asynchronous else "",
        keeps_waiting=waiting,
    )


def _links(run: Run) -> tuple[tuple[str, str], ...]:
    """Return the pages of others about a run; an address that is no web address is left out."""
    known = (
        ("The file in OneDrive", run.file.web_url),
        ("The report in OneDrive", run.report_url),
        ("Execution summary in F&O", run.summary_url),
    )
    return tuple((label, url) for label, url in known if urlsplit(url).scheme in ("https", "http"))


def _steps(run: Run) -> Iterator[StepView]:
    before: datetime | None = None
    for number, record in enumerate(run.steps, 1):
        is_last = number == len(run.steps)
        after = run.state if is_last else run.steps[number].state
        mark, fo_status = _mark(record, after, run, is_last=is_last)
        yield StepView(
            number=number,
            title=STEP_TITLE.get(record.step) or ACTION_TITLE.get(record.step, record.step),
            record=record,
            waited=max(record.began - before, timedelta(0)) if before else None,
            mark=mark,
            refusals=tuple(dict.fromkeys(filter(None, map(_refusal, record.calls)))),
            fo_status=fo_status,
        )
        # Of steps that were counted only the first one's beginning is known; the last one's calls say when it was.
        began = record.began if record.times == 1 else max((call.began for call in record.calls), default=record.began)
        before = began + timedelta(seconds=record.took_s)


def _mark(record: StepRecord, after: State, run: Run, *, is_last: bool) -> tuple[Mark, str]:
    """Return what came of a step, and how F&O ended the execution if not in success; after: the state it led to."""
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


def _next(
    run: Run, run_ahead: RunAhead | None, pause: Pause | None, rests_until: datetime | None, drain: Drain | None
) -> Next:
    steps = import_steps.STEPS if run.direction is Direction.IMPORT else export_steps.STEPS
    title = STEP_TITLE[steps[run.state].__name__] if run.state in steps else ""
    next_check = None if run_ahead or pause or drain else run.due
    if run_ahead:
        waits_for = "its turn"
    elif pause:
        waits_for = "the lane to be resumed"
    elif drain:
        waits_for = f"the end of the drain. {drain.text}"
    elif rests_until and rests_until > run.due:
        waits_for, next_check = "the pause after the file before it (pauseSeconds)", rests_until
    elif run.waits:
        waits_for = f"{run.waits.what}. {run.waits.holder}".strip(". ")
    elif run.attempts and run.steps and run.steps[-1].error:
        waits_for = f"another try; {run.attempts} have failed"
    else:
        waits_for = WAITS_FOR.get(run.state, "")
    holder = run.waits.holder_address if run.waits and not (run_ahead or pause or drain) else ""
    return Next(title=title, waits_for=waits_for, next_check=next_check, run_ahead=run_ahead, holder=holder)
