"""Executions of data projects: what was decided when they were submitted, and what that means at a given time.

An execution's whole future is fixed at its submit, so that its status is a plain function of the clock and nothing has
to run in the background. Times are seconds since the epoch.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Self

from local_cloud.finance_operations.knobs import Behaviour, Speed
from local_cloud.finance_operations.packages import folded, is_excel

SECONDS_PER_DAY: Final = 86_400


class Status(StrEnum):
    """DMFExecutionSummaryStatus."""

    UNKNOWN = "Unknown"
    NOT_RUN = "NotRun"
    EXECUTING = "Executing"
    SUCCEEDED = "Succeeded"
    PARTIALLY_SUCCEEDED = "PartiallySucceeded"
    FAILED = "Failed"
    CANCELED = "Canceled"


WITHOUT_EFFECT: Final = frozenset({Status.FAILED, Status.CANCELED})


class Operation(StrEnum):
    """DMFOperationType."""

    IMPORT = "Import"
    EXPORT = "Export"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowError:
    """One entry of GetExecutionErrors."""

    record_id: str
    field: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """When the outside sees what."""

    submitted: float
    status_known: float  # before: GetExecutionSummaryStatus answers 400 "not found"
    details_known: float  # before: no rows in DataManagementExecutionJobDetails
    status_sure: float  # before: Unknown
    runs: float  # before: NotRun
    ends: float | None  # before: Executing; None: never
    package_url_delay_s: float
    error_keys_delay_s: float
    forgotten_after_s: float  # from the end

    def later(self, by_s: float | None) -> "Times":
        """Return the times of an execution that is done so much later; None: never."""
        if by_s is None or self.ends is None:
            return replace(self, ends=None)
        return replace(self, runs=self.runs + by_s, ends=self.ends + by_s)

    @classmethod
    def from_now(cls, now: float, speed: Speed, *, never_ends: bool) -> Self:
        return cls(
            submitted=now,
            status_known=now + speed.not_found_s,
            details_known=now + speed.details_not_found_s,
            status_sure=now + speed.not_found_s + speed.unknown_s,
            runs=now + speed.not_run_s,
            ends=None if never_ends else now + max(speed.seconds_per_execution, speed.not_run_s),
            package_url_delay_s=speed.package_url_s,
            error_keys_delay_s=speed.error_keys_s,
            forgotten_after_s=speed.history_days * SECONDS_PER_DAY,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityRun:
    """What an execution did to one entity."""

    entity: str
    staged: int  # rows that reached the staging table
    failed_to_stage: int
    failed_to_import: int
    created: int = 0  # in the target; known once the execution has ended
    updated: int = 0
    error_keys_asked: float | None = None  # when GenerateImportTargetErrorKeysFile was called
    source_format: str = ""
    error: str = ""  # why no row of its file reached staging

    @property
    def failed(self) -> int:
        return self.failed_to_stage + self.failed_to_import


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One run of a data project."""

    execution_id: str
    operation: Operation
    data_project: str
    company: str
    times: Times
    outcome: Status  # what it comes to
    reported: Status  # what the status says it came to
    reaches_target: bool  # False: only staged (execute=false), or without effect
    entities: tuple[EntityRun, ...]
    errors: tuple[RowError, ...] = ()  # those that belong to no staged row
    package_blob: str = ""  # of an export; empty: there is no package
    done: bool = False  # its effect has taken place

    @property
    def uses_excel(self) -> bool:
        """Whether one of its files is an Excel file."""
        return any(is_excel(each.source_format) for each in self.entities)

    def shares_an_entity_with(self, other: "Execution") -> bool:
        """Whether both are imports, of different data projects, and write an entity of the same name."""
        if self.data_project == other.data_project or {self.operation, other.operation} != {Operation.IMPORT}:
            return False
        return not {folded(each.entity) for each in self.entities}.isdisjoint(
            folded(each.entity) for each in other.entities
        )

    def has_ended(self, now: float) -> bool:
        return self.times.ends is not None and now >= self.times.ends

    def is_forgotten(self, now: float) -> bool:
        """Whether the job history's clean-up has removed it."""
        return self.times.ends is not None and now >= self.times.ends + self.times.forgotten_after_s

    def status(self, now: float) -> Status | None:
        """Return the status as the outside sees it; None where F&O does not find the execution yet or any more."""
        if now < self.times.status_known or self.is_forgotten(now):
            return None
        if now < self.times.status_sure:
            return Status.UNKNOWN
        if self.has_ended(now):
            return self.reported
        return Status.NOT_RUN if now < self.times.runs else Status.EXECUTING

    def package_is_there(self, now: float) -> bool:
        """Whether GetExportedPackageUrl has something to give out."""
        ends = self.times.ends
        return (
            bool(self.package_blob)
            and self.outcome not in WITHOUT_EFFECT
            and ends is not None
            and now >= ends + self.times.package_url_delay_s
        )

    def failing(self, message: str) -> Self:
        """Return the execution as it is if it ends as Failed, when it was due to end, and changes nothing."""
        return replace(
            self,
            outcome=Status.FAILED,
            reported=Status.FAILED,
            reaches_target=False,
            errors=(*self.errors, RowError(record_id="", field="", message=message)),
        )

    def ended_early(self, now: float, outcome: Status | None) -> Self:
        """Return the execution as it is when it ends now. outcome: instead of the one that was due."""
        if outcome is None:
            return replace(self, times=replace(self.times, ends=now, runs=min(now, self.times.runs)))
        return replace(
            self,
            times=replace(self.times, ends=now, runs=min(now, self.times.runs)),
            outcome=outcome,
            reported=outcome,
            reaches_target=self.reaches_target and outcome not in WITHOUT_EFFECT,
        )


def import_outcome(entities: tuple[EntityRun, ...]) -> Status:
    """Return what an import comes to when this many rows, or these files, fail; one without any row succeeds."""
    if not any(entity.failed or entity.error for entity in entities):
        return Status.SUCCEEDED
    good = sum(entity.staged - entity.failed_to_import for entity in entities)
    return Status.PARTIALLY_SUCCEEDED if good else Status.FAILED


def as_told(outcome: Status, behaviour: Behaviour) -> tuple[Status, Status]:
    """Return the real and the reported outcome where a knob prescribes one."""
    if not behaviour.outcome:
        return outcome, outcome
    told = Status(behaviour.outcome)
    return (told if told in WITHOUT_EFFECT else outcome), told
