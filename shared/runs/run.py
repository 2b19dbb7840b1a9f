"""A run: what the app decided about one file (import) or one package (export). Pure.

Change a run through its methods; they keep the rules of ``runs/states.py``. How a run is written is ``runs/record.py``,
where it is kept ``runs/store.py``, who advances it ``runs/worker.py``.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from shared.runs.states import MOVES, PROGRESS, WITH_FO, Direction, Outcome, State
from shared.runs.values import (
    NOTHING_IN_PROCESS,
    NOTHING_MORE,
    About,
    Arguments,
    EntityCounts,
    FailedRow,
    FileFacts,
    FirstImport,
    Held,
    InProcess,
    Problem,
    ReportFile,
    Rerun,
    StepRecord,
    Submission,
    UploadedPackage,
    Wait,
)

# Calls that were refused, that steps without an error which are counted together keep beside the calls of the last one.
REFUSED_CALLS_KEPT: Final = 5

# Seconds after which F&O is taken to know an execution that ImportFromPackageAsync has begun, at least.
# Assumed: nothing is documented. As long as a status of Unknown is waited for.
ASYNC_GRACE_S: Final = 600.0

# Steps that a record keeps: enough for hours of trouble, bounded so that a record stays small.
STEPS_KEPT: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One file's or one package's way. Change it through its methods; they keep the rules."""

    run_id: str
    direction: Direction
    flow_name: str  # the name of the import or export in the settings
    lane: str  # runs of one lane go one at a time, oldest first
    state: State
    state_since: datetime
    due: datetime  # when the next step is to be done
    opened: datetime
    file: FileFacts
    sort_key: str  # place in the lane: sorts by age, unique in the lane, and the same whenever the run is opened again
    data_project: str = ""
    company: str = ""
    package: UploadedPackage | None = None
    entities: tuple[str, ...] = ()
    has_excel: bool = False  # a data file of its package is an Excel file
    submissions: tuple[Submission, ...] = ()
    outcome: Outcome | None = None
    reason: str = ""
    attempts: int = 0  # tries of the next step that failed in a row
    error_keys_of: tuple[str, ...] | None = (
        None  # entities whose error keys F&O was asked to write; None: not asked yet
    )
    report_attempts: int = 0  # looks for error keys that were not written yet
    failed_rows: tuple[FailedRow, ...] = ()  # the first of them; all lie beside the file
    failed_rows_total: int = 0
    are_rows_told: bool = False  # F&O has told its row errors, or that there are none
    summary_url: str = ""  # F&O's page about the execution, where it was asked for one
    report_url: str = ""  # OneDrive's page about the report beside the file
    report_files: tuple[ReportFile, ...] = ()  # what it has put beside the file
    problem: Problem | None = None
    furthest: State | None = None  # how far it ever came; None: its state says it
    failing_since: datetime | None = None  # the first failed try since then
    lost_submits: int = 0  # submits in a row whose answer was lost
    not_found: int = 0  # answers "not found" about its file, in a row
    held_name_looks: int = 0  # looks at a name in Output that an upload holds
    detail_tries: int = 0  # tries to get what the report tells of a failed execution
    resubmits: int = 0  # executions that failed, changed nothing and were sent again
    held: Held | None = None
    waits: Wait | None = None
    environment_url: str = ""  # of F&O, from the first reservation on
    reserved: tuple[
        str, ...
    ] = ()  # what it has reserved there for a submit: "project:customers", "entity:units", "excel"
    cancelled_in: State | None = None  # the state in which a person cancelled it
    passed_by: tuple[str, ...] = ()  # the first files of its flow that were taken up before it, though they came later
    passed_by_total: int = 0
    scheduled: datetime | None = None  # exports: the moment of the schedule that it serves; None: a person asked for it
    late_s: float | None = None  # exports: seconds between that moment and its opening, if that was late
    waited_s: float | None = None  # seconds until it was taken up, and for what other runs had; None: not known
    steps: tuple[StepRecord, ...] = ()
    ended: datetime | None = None
    rerun: Rerun | None = None  # chosen, and saved here, before it is opened: so there is one, whoever asks twice
    rerun_of: str = ""  # the address of the run whose work this one does again
    rerun_count: int = 0  # how many runs of the same work there were before
    flow_settings: str = ""  # its flow as it was when the run was taken up or last prepared, as JSON
    arguments: Arguments | None = None  # imports: what is sent with the package, once an execution id is chosen
    outcome_known: datetime | None = None  # when its outcome was known first; folders by date go by it
    counts: tuple[EntityCounts, ...] = ()  # imports: the rows of each entity
    count_tries: int = 0  # tries to get them that gave none
    counts_note: str = ""  # why there are none
    warning: str = ""  # what a person is told of a run that has succeeded
    duplicates: str = ""  # what its flow said of the same content when its first execution id was chosen
    first_import: FirstImport | None = None  # another run that imported the same content before
    filed_folder: str = ""  # where its file was filed, once it was moved there: its report goes there too
    extra: Mapping[str, object] = field(default=NOTHING_MORE, compare=False, repr=False)

    in_process: InProcess = field(default=NOTHING_IN_PROCESS, compare=False)  # never saved
    record_etag: str = field(default="", compare=False)  # version of the record that this run was read from

    @property
    def execution_id(self) -> str:
        """The execution id chosen last, or an empty string."""
        return self.submissions[-1].execution_id if self.submissions else ""

    @property
    def is_over(self) -> bool:
        """Whether no step is left."""
        return not MOVES[self.direction][self.state]

    @property
    def did_not_succeed(self) -> bool:
        """Whether it has an outcome that a person must hear of, and no person has ended it."""
        return self.outcome is not None and self.outcome.needs_telling and self.cancelled_in is None

    def log_keys(self) -> dict[str, object]:
        """What every log line about this run carries."""
        keys: dict[str, object] = {
            "run_id": self.run_id,
            "direction": self.direction.value,
            "flow_name": self.flow_name,
            "lane": self.lane,
            "file": self.file.name,
            "company": self.company,
            "data_project": self.data_project,
            "execution_id": self.execution_id,
        }
        return {name: value for name, value in keys.items() if value}

    def moved_to(self, state: State, now: datetime) -> "Run":
        """Return the run in its next state, due at once. Raises ValueError for a move that the tables do not know.

        A state that it had not reached before ends what stood in its way until then.
        """
        if state not in MOVES[self.direction][self.state] or state is State.CANCELLED:
            raise ValueError(f"{self.direction} run {self.run_id} cannot move from {self.state} to {state}")
        in_process = replace(self.in_process, has_chosen_id=False, is_end_near=False)
        moved = replace(self, state=state, state_since=now, due=now, in_process=in_process)
        moved = replace(moved, waited_s=self._waited_s(now))
        furthest = self.furthest or self.state
        if PROGRESS[state] <= PROGRESS[furthest]:
            return replace(moved, furthest=furthest)
        return replace(moved, furthest=state, problem=None).with_a_good_try()

    def _waited_s(self, now: datetime) -> float | None:
        """Return for how long it has waited once it leaves its state: until it was taken up the first time."""
        is_first = PROGRESS[self.furthest or self.state] == 0
        return round((now - self.opened).total_seconds(), 3) if is_first else self.waited_s

    def finished(self, outcome: Outcome, reason: str, now: datetime) -> "Run":
        """Return an import whose outcome is known."""
        return replace(self.moved_to(State.FINISHED, now), outcome=outcome, reason=reason, outcome_known=now)

    def withdrawn(self, reason: str, now: datetime) -> "Run":
        """Return an import whose file a person, or another run, has taken."""
        return replace(self.moved_to(State.WITHDRAWN, now), outcome=Outcome.WITHDRAWN, reason=reason)

    @property
    def can_be_cancelled(self) -> bool:
        """Whether a person may end it."""
        return State.CANCELLED in MOVES[self.direction][self.state]

    def cancelled(self, reason: str, now: datetime) -> "Run":
        """Return the run as a person ended it, due at once; the outcome of an import that is known stays.

        Raises ValueError if it is over or cancelled already.
        """
        if not self.can_be_cancelled:
            raise ValueError(f"{self.direction} run {self.run_id} cannot be cancelled in {self.state}")
        ended = replace(
            self,
            state=State.CANCELLED,
            furthest=State.CANCELLED,
            cancelled_in=self.state,
            waited_s=self.waits_no_more(now)._waited_s(now),
            state_since=now,
            due=now,
            outcome=self.outcome
            if self.outcome and self.direction is Direction.IMPORT
            else Outcome.CANCELLED_BY_PERSON,
            outcome_known=self.outcome_known or now,
            reason=f"{self.reason} {reason}".strip(),
            problem=None,
            held=None,
            waits=None,
            in_process=NOTHING_IN_PROCESS,
        )
        return ended.with_a_good_try()

    def waiting(self, seconds: float, now: datetime) -> "Run":
        """Return the run with its next step put off."""
        return replace(self, due=now + timedelta(seconds=seconds))

    def failed_once_more(self, wait_s: float, now: datetime) -> "Run":
        """Return the run after a try of its next step that failed; what this process alone knew is dropped."""
        return replace(
            self,
            attempts=self.attempts + 1,
            failing_since=self.failing_since or now,
            due=now + timedelta(seconds=wait_s),
            in_process=NOTHING_IN_PROCESS,
        )

    def with_a_good_try(self) -> "Run":
        """Return the run after a try that shows that what failed before works; a problem of that kind is over."""
        is_over = self.problem is not None and self.problem.about is About.FAILING
        return replace(self, attempts=0, failing_since=None, problem=None if is_over else self.problem)

    def waiting_for(self, wait: Wait, wait_s: float, stuck_after: timedelta, now: datetime) -> "Run":
        """Return the run put off because of what another one has; a wait beyond the limit is told, once.

        If it has waited for something else until now, that wait is over.
        """
        is_same = self.waits is not None and self.waits.what == wait.what
        since = self.waits.since if self.waits and is_same else wait.since
        before = self if is_same else self.waits_no_more(now)
        waits = replace(before, waits=replace(wait, since=since)).waiting(wait_s, now)
        if now - since <= stuck_after:
            return waits
        minutes = (now - since).total_seconds() / 60
        text = f"{self.file.name} has waited for {wait.what} for {minutes:.0f} minutes. {wait.holder}".strip()
        return waits.flagged(text, now, About.WAITING)

    def waits_no_more(self, now: datetime) -> "Run":
        """Return the run that got what it has waited for."""
        waited_s = self.waited_s
        if self.waits and waited_s is not None:  # before it is taken up all of the time counts
            waited_s = round(waited_s + (now - self.waits.since).total_seconds(), 3)
        return replace(self, waits=None, waited_s=waited_s).without_problem(About.WAITING)

    def flagged(self, text: str, now: datetime, about: About = About.OTHER) -> "Run":
        """Return the run flagged for attention; an existing flag is kept."""
        return self if self.problem else replace(self, problem=Problem(text=text, since=now, about=about))

    def without_problem(self, about: About) -> "Run":
        """Return the run without a problem of that kind."""
        return replace(self, problem=None) if self.problem and self.problem.about is about else self

    @property
    def may_be_with_fo(self) -> bool:
        """Whether F&O may be working on it, or may begin, as far as its record tells; cancelling does not stop F&O.

        A package that was fenced cannot be imported any more. An export cannot be fenced.
        """
        state = self.cancelled_in or self.state
        if state in WITH_FO:
            return True
        return state is State.PLANNED and self.may_have_begun

    @property
    def may_have_begun(self) -> bool:
        """Whether F&O may have begun an execution of it, as far as its record tells."""
        return any(not each.never_began for each in self.submissions)

    @property
    def is_asynchronous(self) -> bool:
        """Whether F&O was, or is to be, told by ImportFromPackageAsync: it answers before it reads the package."""
        return self.arguments is not None and self.arguments.asynchronous is not None

    def submit_grace_s(self, usual_s: float) -> float:
        """Return for how long F&O may not know an execution that was sent to it. usual_s: SUBMIT_GRACE_SECONDS."""
        return max(usual_s, ASYNC_GRACE_S) if self.is_asynchronous else usual_s

    @property
    def is_staging_only(self) -> bool:
        """Whether F&O was asked to take the rows to its staging tables and no further."""
        return self.arguments is not None and not self.arguments.execute

    @property
    def pinned_arguments(self) -> Arguments | None:
        """What F&O may have been sent; None if certainly nothing: then what the settings say now is sent."""
        return None if all(each.never_began for each in self.submissions) else self.arguments

    @property
    def was_unread(self) -> bool:
        """Whether its last execution failed without having read its package, or with the emptied one."""
        return bool(self.submissions) and self.submissions[-1].was_unread

    @property
    def may_have_written(self) -> bool:
        """Whether an execution of it may have changed rows in F&O, or may still do so, as far as its record tells."""
        wrote_nothing = all(each.never_began or each.changed_nothing for each in self.submissions)
        return not (wrote_nothing or self.is_staging_only)

    @property
    def is_aside(self) -> bool:
        """Whether other runs of its lane pass it."""
        return self.state is State.CANCELLED or (self.held is not None and self.held.is_aside)

    def with_report_file(self, file: ReportFile) -> "Run":
        """Return the run with one more file of its report, or with a newer one of that name."""
        others = tuple(each for each in self.report_files if each.name != file.name)
        return replace(self, report_files=(*others, file))

    def submitting(self, submission: Submission, now: datetime) -> "Run":
        """Return the run with one more execution id, about to be sent."""
        in_process = replace(self.in_process, has_chosen_id=True)
        submissions = (*self.submissions, submission)
        return replace(self.moved_to(State.SUBMITTING, now), submissions=submissions, in_process=in_process)

    def not_submitting(self, before: "Run") -> "Run":
        """Return the run as it was before it chose an id that was neither saved nor sent; what was prepared stays."""
        back = replace(self, state=before.state, state_since=before.state_since, furthest=before.furthest)
        back = replace(back, submissions=before.submissions, waits=before.waits, waited_s=before.waited_s)
        back = replace(back, problem=before.without_problem(About.FAILING).problem)
        return replace(back, in_process=replace(self.in_process, has_chosen_id=False))

    def with_submission(self, changed: Submission) -> "Run":
        """Return the run with the submission of that execution id replaced."""
        return replace(
            self,
            submissions=tuple(changed if s.execution_id == changed.execution_id else s for s in self.submissions),
        )

    def with_step(self, record: StepRecord) -> "Run":
        """Return the run with one more step in its history; one like the last is counted, not added.

        A try that called nobody is not like one that did, whose calls it would hide.
        """
        if self.steps:
            last = self.steps[-1]
            is_alike = all(
                getattr(last, name) == getattr(record, name) for name in ("step", "state", "error", "by", "why")
            )
            if is_alike and bool(last.calls) == bool(record.calls):
                refused = [] if record.error else [call for call in last.calls if call.is_refused]
                calls = (*refused[-REFUSED_CALLS_KEPT:], *record.calls)
                merged = replace(record, began=last.began, times=last.times + 1, calls=calls)
                return replace(self, steps=(*self.steps[:-1], merged))
        return replace(self, steps=(*self.steps, record)[-STEPS_KEPT:])


def new_run(
    *,
    direction: Direction,
    state: State,
    flow_name: str,
    lane: str,
    sort_key: str,
    file: FileFacts,
    now: datetime,
    data_project: str = "",
    company: str = "",
) -> Run:
    """Return a run that is opened now and due at once."""
    return Run(
        run_id=secrets.token_hex(6),
        direction=direction,
        flow_name=flow_name,
        lane=lane,
        state=state,
        furthest=state,
        state_since=now,
        due=now,
        opened=now,
        sort_key=sort_key,
        file=file,
        data_project=data_project,
        company=company,
    )


def new_execution_id(data_project: str, now: datetime) -> str:
    """Return an id that F&O has not seen: readable, unique, at most 60 of [A-Za-z0-9-].

    It is also the blob's name and the client-request-id, so that one search finds the whole way.
    """
    # facts: ids of about 75 characters are known to work, the column's length is not documented.
    readable = "".join(c if c.isascii() and c.isalnum() else "-" for c in data_project)[:30].strip("-") or "package"
    return f"{readable}-{now.astimezone(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(6)}"


# Characters of a file's name that OneDrive takes.
# https://support.microsoft.com/office/restrictions-and-limitations-in-onedrive-and-sharepoint-64883a5d-228e-48f5-b3d2-eb39e07630fa
LONGEST_NAME: Final = 255


def name_with(file_name: str, addition: str) -> str:
    """Return a file name made unique: ``name_with("a.zip", "1f2e")`` is ``a (1f2e).zip``; a long one is cut for it."""
    stem, dot, suffix = file_name.rpartition(".")
    if not stem:
        stem, dot, suffix = file_name, "", ""
    ending = f" ({addition}){dot}{suffix}"
    return stem[: LONGEST_NAME - len(ending)] + ending


# A run's id, added to the name of a file because its folder had one of that name already.
_ADDITION: Final = re.compile(r" \([0-9a-f]{12}\)(?=\.[^.]*\Z|\Z)")


def name_without(file_name: str) -> str:
    """Return the name that a file had before a run's id was added to it."""
    return _ADDITION.sub("", file_name)


def own_name(file: FileFacts) -> str:
    """Return the name that a file came with, whatever it was filed as."""
    return file.full_name or name_without(file.name)
