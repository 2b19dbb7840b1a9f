"""A run: what the app decided about one file (import) or one package (export), and what may come next.

Rule 1: everything about states and moves stands here, in the two tables; nothing else says what may follow what.
Pure values. Where runs are kept is ``clients/run_store.py``; what each state makes the app do is ``flows/inbound.py``
and ``flows/outbound.py``; who moves them is ``flows/runner.py``.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from shared.secret import SecretUrl


class FlowKind(StrEnum):
    """Which way the data goes."""

    IMPORT = "import"  # OneDrive -> F&O
    EXPORT = "export"  # F&O -> OneDrive


class State(StrEnum):
    """What is already true of a run. After a crash, this is what we know."""

    # OneDrive to F&O:
    FOUND = "found"  # the file is in Input and has a run
    CLAIMED = "claimed"  # the file is in Processing
    UPLOADED = "uploaded"  # the package lies in F&O's blob storage
    FINISHED = "finished"  # the outcome is known and saved
    FILED = "filed"  # the file is in Success or Error
    WITHDRAWN = "withdrawn"  # a person took the file away before F&O was told of it
    # F&O to OneDrive:
    PLANNED = "planned"  # an export is due and its file name is fixed
    READY = "ready"  # F&O has finished the export
    DELIVERED = "delivered"  # the package is in OneDrive
    FAILED = "failed"  # F&O has no package for us and will not have one
    # Both ways:
    SUBMITTING = "submitting"  # the execution under the last id may or may not have reached F&O
    EXECUTING = "executing"  # F&O knows the execution


IMPORT_MOVES: Final[Mapping[State, frozenset[State]]] = {
    State.FOUND: frozenset({State.CLAIMED, State.FINISHED, State.WITHDRAWN}),
    State.CLAIMED: frozenset({State.UPLOADED, State.FINISHED, State.WITHDRAWN}),
    State.UPLOADED: frozenset({State.SUBMITTING, State.CLAIMED, State.FINISHED}),
    # Back to UPLOADED only when it is certain that nothing was sent or that F&O refused it; back to CLAIMED only
    # after the fence.
    State.SUBMITTING: frozenset({State.EXECUTING, State.UPLOADED, State.CLAIMED, State.FINISHED}),
    State.EXECUTING: frozenset({State.FINISHED}),
    State.FINISHED: frozenset({State.FILED}),
    State.FILED: frozenset(),
    State.WITHDRAWN: frozenset(),
}

EXPORT_MOVES: Final[Mapping[State, frozenset[State]]] = {
    State.PLANNED: frozenset({State.SUBMITTING}),
    State.SUBMITTING: frozenset({State.EXECUTING, State.PLANNED}),
    State.EXECUTING: frozenset({State.READY, State.FAILED}),
    State.READY: frozenset({State.DELIVERED, State.FAILED}),
    State.DELIVERED: frozenset(),
    State.FAILED: frozenset(),
}

# Moves that only begin the same thing once more: failed tries go on being counted, and open trouble stays open.
NO_PROGRESS: Final = frozenset(
    {
        (State.UPLOADED, State.SUBMITTING),
        (State.UPLOADED, State.CLAIMED),
        (State.SUBMITTING, State.UPLOADED),
        (State.SUBMITTING, State.CLAIMED),
        (State.PLANNED, State.SUBMITTING),
        (State.SUBMITTING, State.PLANNED),
    }
)

MOVES: Final[Mapping[FlowKind, Mapping[State, frozenset[State]]]] = {
    FlowKind.IMPORT: IMPORT_MOVES,
    FlowKind.EXPORT: EXPORT_MOVES,
}

# Where a run goes that a person gives up, from any state in which nobody knows yet how it ends: no way leads back.
GIVEN_UP: Final[Mapping[FlowKind, State]] = {FlowKind.IMPORT: State.FINISHED, FlowKind.EXPORT: State.FAILED}

# States in which F&O may be at work on a run, or may begin at any moment.
WITH_FO: Final = frozenset({State.SUBMITTING, State.EXECUTING})


class Outcome(StrEnum):
    """How a run went, in the words that a report and an alert use."""

    SUCCEEDED = "Succeeded"
    PARTIALLY_SUCCEEDED = "PartiallySucceeded"  # some rows are in F&O, some are not
    FAILED = "Failed"
    CANCELED = "Canceled"  # by a person in F&O
    REJECTED = "Rejected"  # never imported: no package, no company, or F&O refused it
    UNKNOWN = "Unknown"  # F&O had begun, and has forgotten how it ended
    WITHDRAWN = "Withdrawn"  # a person took the file away
    GIVEN_UP = "GivenUp"  # a person ended the run; F&O may have gone on with it

    @property
    def needs_telling(self) -> bool:
        """Whether a person has to hear of it."""
        return self not in (Outcome.SUCCEEDED, Outcome.WITHDRAWN, Outcome.GIVEN_UP)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """The file that a run is about, as it was last seen in OneDrive."""

    name: str  # the name under which a person knows it
    item_id: str = ""  # OneDrive's id; empty for an export that is not delivered yet
    size_bytes: int = 0
    etag: str = ""
    modified: datetime | None = None
    quick_xor_hash: str = ""
    folder: str = ""  # the folder where it is now, for people to read
    is_complete: bool = True  # false while it is empty, still being written, or held back by OneDrive
    web_url: str = ""  # OneDrive's page about it, for people; opening it needs a sign-in


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedPackage:
    """A blob of F&O's that holds the package. Its address without the key: the key is never saved."""

    blob_name: str  # the uniqueFileName that F&O was asked for
    blob_path: str  # host and path of the blob, without the query
    key_expires: datetime | None  # when F&O's key to it runs out


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One execution id that was chosen, and saved before it was sent. None that F&O may have begun is forgotten."""

    execution_id: str
    chosen: datetime
    blob_name: str = ""  # imports: the package it was sent with
    fenced: datetime | None = None  # imports: since when that package is empty, so that a late request can only fail
    missing_since: datetime | None = None  # when F&O was first asked about it and did not know it
    delivered_as: str = ""  # exports: the file in OneDrive that holds its package


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteCallRecord:
    """One call to a service, as a support ticket needs it."""

    service: str
    operation: str
    status: int | None  # HTTP status; None where no answer came
    request_id: str
    took_s: float
    began: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One step of a run: when, how long, what was called, what went wrong. Equal ones in a row are counted."""

    step: str
    state: State  # the state that the step began in
    began: datetime
    took_s: float
    calls: tuple[RemoteCallRecord, ...] = ()
    error: str = ""
    times: int = 1  # how many of these there were in a row; began is the first's, the rest is the last's
    by: str = ""  # the person who did it; "": the app
    why: str = ""  # what that person gave as the reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something about a run that a person should hear of while the run goes on."""

    text: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Successor:
    """The run that a person opened to do the work of an ended one again: all that its record's name is made of."""

    run_id: str
    opened: datetime
    lane: str
    order: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRow:
    """One row, or one thing, that F&O could not do, in its words."""

    record_id: str
    field: str
    message: str


# Steps that a record keeps: enough for hours of trouble, bounded so that a record stays small.
STEPS_KEPT: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One file's or one package's way. Change it through its methods; they keep the rules."""

    run_id: str
    flow: FlowKind
    integration: str  # the name of the import or export in the settings
    lane: str  # runs of one lane go one at a time, oldest first
    state: State
    state_since: datetime
    due: datetime  # when the next step is to be done
    opened: datetime
    file: FileFacts
    order: str  # place in the lane: sorts by age, unique in the lane, and the same whenever the run is opened again
    data_project: str = ""
    company: str = ""
    package: UploadedPackage | None = None
    entities: tuple[str, ...] = ()
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
    summary_url: str = ""  # F&O's page about the execution, where it was asked for one
    report_url: str = ""  # OneDrive's page about the report beside the file
    trouble: Trouble | None = None
    steps: tuple[StepRecord, ...] = ()
    ended: datetime | None = None
    again: Successor | None = None  # chosen, and saved here, before it is opened: so there is one, whoever asks twice
    again_of: str = ""  # the address of the run whose work this one does again
    again_number: int = 0  # how many runs of the same work there were before

    # What only this process knows; never saved. A run that was read from the store has none of it.
    fresh: bool = field(default=False, compare=False)  # the state was entered by this process, and nothing tried since
    download_url: SecretUrl | None = field(default=None, compare=False)  # of the file as it was just claimed
    package_url: SecretUrl | None = field(default=None, compare=False)  # the key to the uploaded package
    record_etag: str = field(default="", compare=False)  # version of the record that this run was read from

    @property
    def execution_id(self) -> str:
        """The execution id chosen last, or an empty string."""
        return self.submissions[-1].execution_id if self.submissions else ""

    @property
    def is_over(self) -> bool:
        """Whether no step is left."""
        return not MOVES[self.flow][self.state]

    def log_keys(self) -> dict[str, object]:
        """What every log line about this run carries."""
        keys: dict[str, object] = {
            "run_id": self.run_id,
            "flow": self.flow.value,
            "lane": self.lane,
            "file": self.file.name,
            "company": self.company,
            "data_project": self.data_project,
            "execution_id": self.execution_id,
        }
        return {name: value for name, value in keys.items() if value}

    def moved_to(self, state: State, now: datetime) -> "Run":
        """Return the run in its next state, due at once. Raises ValueError for a move that the tables do not know."""
        if state not in MOVES[self.flow][self.state]:
            raise ValueError(f"{self.flow} run {self.run_id} cannot move from {self.state} to {state}")
        moved = replace(self, state=state, state_since=now, due=now, fresh=True)
        if (self.state, state) in NO_PROGRESS:
            return moved
        return replace(moved, attempts=0, trouble=None)

    def finished(self, outcome: Outcome, reason: str, now: datetime) -> "Run":
        """Return an import whose outcome is known."""
        return replace(self.moved_to(State.FINISHED, now), outcome=outcome, reason=reason)

    @property
    def can_be_given_up(self) -> bool:
        """Whether nobody knows yet how it ends."""
        return not self.is_over and self.state is not GIVEN_UP[self.flow]

    def given_up(self, reason: str, now: datetime) -> "Run":
        """Return the run as a person ended it, due at once. Raises ValueError where its end is known already."""
        if not self.can_be_given_up:
            raise ValueError(f"{self.flow} run {self.run_id} cannot be given up in {self.state}")
        ended = replace(self, state=GIVEN_UP[self.flow], state_since=now, due=now, outcome=Outcome.GIVEN_UP)
        return replace(ended, reason=reason, attempts=0, trouble=None, fresh=False, package_url=None)

    def waiting(self, seconds: float, now: datetime) -> "Run":
        """Return the run with its next step put off."""
        return replace(self, due=now + timedelta(seconds=seconds))

    def failed_once_more(self, wait_s: float, now: datetime) -> "Run":
        """Return the run after a try of its next step that failed; what this process alone knew is dropped."""
        return replace(
            self,
            attempts=self.attempts + 1,
            due=now + timedelta(seconds=wait_s),
            fresh=False,
            download_url=None,
            package_url=None,
        )

    def troubled(self, text: str, now: datetime) -> "Run":
        """Return the run with word for a person; trouble that is open already stays as it is."""
        return self if self.trouble else replace(self, trouble=Trouble(text=text, since=now))

    def submitting(self, submission: Submission, now: datetime) -> "Run":
        """Return the run with one more execution id, about to be sent."""
        return replace(self.moved_to(State.SUBMITTING, now), submissions=(*self.submissions, submission))

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
                merged = replace(record, began=last.began, times=last.times + 1)
                return replace(self, steps=(*self.steps[:-1], merged))
        return replace(self, steps=(*self.steps, record)[-STEPS_KEPT:])


def new_run(
    *,
    flow: FlowKind,
    state: State,
    integration: str,
    lane: str,
    order: str,
    file: FileFacts,
    now: datetime,
    data_project: str = "",
    company: str = "",
) -> Run:
    """Return a run that is opened now and due at once."""
    return Run(
        run_id=secrets.token_hex(6),
        flow=flow,
        integration=integration,
        lane=lane,
        state=state,
        state_since=now,
        due=now,
        opened=now,
        order=order,
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


NOT_SAVED: Final = frozenset({"fresh", "download_url", "package_url", "record_etag"})
RECORD_FORMAT: Final = 1

_SAVED: Final = tuple(each.name for each in fields(Run) if each.name not in NOT_SAVED)


def run_to_json(run: Run) -> str:
    """Return the record of a run. It holds no secret: the keys to file and package, and all tokens, stay out of it."""
    content = {"format": RECORD_FORMAT} | {name: getattr(run, name) for name in _SAVED}
    return json.dumps(content, default=_plain, ensure_ascii=False)


def _plain(value: object) -> object:
    """Return a value that JSON does not know as one that it knows. Five times as fast as asdict, which copies all."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return {name: getattr(value, name) for name in value.__dataclass_fields__}
    raise TypeError(f"{type(value).__name__} cannot stand in a run's record")


def run_from_json(text: str | bytes) -> Run:
    """Return the run of a record. Raises ValueError for a text that is no record of this format."""
    content = json.loads(text)
    if not isinstance(content, dict) or content.pop("format", None) != RECORD_FORMAT:
        raise ValueError("this is no run record of a format that this version of the app knows")
    file = content.pop("file")
    package = content.pop("package")
    trouble = content.pop("trouble")
    return Run(
        **{
            **content,
            "flow": FlowKind(content["flow"]),
            "state": State(content["state"]),
            "state_since": _instant(content["state_since"]),
            "due": _instant(content["due"]),
            "opened": _instant(content["opened"]),
            "ended": _instant_or_none(content["ended"]),
            "outcome": Outcome(content["outcome"]) if content["outcome"] else None,
            "entities": tuple(content["entities"]),
            "error_keys_of": None if content["error_keys_of"] is None else tuple(content["error_keys_of"]),
            "file": FileFacts(**{**file, "modified": _instant_or_none(file["modified"])}),
            "package": package
            and UploadedPackage(**{**package, "key_expires": _instant_or_none(package["key_expires"])}),
            "again": _successor(content.get("again")),
            "trouble": trouble and Trouble(text=trouble["text"], since=_instant(trouble["since"])),
            "submissions": tuple(_submission(s) for s in content["submissions"]),
            "failed_rows": tuple(FailedRow(**row) for row in content.get("failed_rows", ())),
            "steps": tuple(_step(s) for s in content["steps"]),
        }
    )


def _submission(content: dict[str, str]) -> Submission:
    return Submission(
        execution_id=content["execution_id"],
        chosen=_instant(content["chosen"]),
        blob_name=content["blob_name"],
        fenced=_instant_or_none(content["fenced"]),
        missing_since=_instant_or_none(content["missing_since"]),
        delivered_as=content["delivered_as"],
    )


def _successor(content: dict[str, str] | None) -> Successor | None:
    return content and Successor(**{**content, "opened": _instant(content["opened"])})  # type: ignore[arg-type, return-value]  # read back from what asdict wrote


def _step(content: dict[str, object]) -> StepRecord:
    calls = content["calls"]
    return StepRecord(
        **{  # type: ignore[arg-type]  # read back from what asdict wrote, field by field
            **content,
            "state": State(str(content["state"])),
            "began": _instant(str(content["began"])),
            "calls": tuple(
                RemoteCallRecord(**{**call, "began": _instant(call["began"])})
                for call in calls  # type: ignore[attr-defined]  # a list, as asdict wrote it
            ),
        }
    )


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _instant_or_none(text: str | None) -> datetime | None:
    return None if text is None else _instant(text)
