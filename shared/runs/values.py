"""What a run consists of: the file, the package, submissions, steps and calls, what it waits for, what needs a person.

Pure values, and the parts of a run's record (``runs/record.py``): a field's name here is a key there.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from shared.moments import utc_minute_text
from shared.runs.states import State
from shared.secret import SecretUrl

# What a record of a newer version says beyond what this version knows; it is kept and written back.
NOTHING_MORE: Final[Mapping[str, object]] = MappingProxyType({})


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
    sub_folder: str = ""  # imports: the sub-folder of Input in which it was found; "" if it was directly in Input
    full_name: str = ""  # imports: the name that was cut when the run's id was added to it; "" if it was not
    extra: Mapping[str, object] = field(default=NOTHING_MORE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedPackage:
    """A blob of F&O's that holds the package. Its address without the key: the key is never saved."""

    blob_name: str  # the uniqueFileName that F&O was asked for
    blob_path: str  # host and path of the blob, without the query
    key_expires: datetime | None  # when F&O's key to it runs out
    sha256: str = ""  # of its bytes, in hexadecimal; "": an older version has uploaded it
    extra: Mapping[str, object] = field(default=NOTHING_MORE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One execution id that was chosen, and saved before it was sent. None that F&O may still show is forgotten."""

    execution_id: str
    chosen: datetime
    blob_name: str = ""  # imports: the package it was sent with
    fenced: datetime | None = None  # imports: since when that package is empty, so that a late request can only fail
    missing_since: datetime | None = None  # when F&O was first asked about it and did not know it
    delivered_as: str = ""  # exports: the file in OneDrive that holds its package
    never_began: bool = False  # F&O certainly has not begun it: it was not sent, or was refused
    seen: datetime | None = None  # when F&O first showed it
    changed_nothing: bool = False  # imports: it has ended, and has certainly changed no row
    was_unread: bool = False  # imports: F&O failed it without reading its package, or read the one that was emptied
    extra: Mapping[str, object] = field(default=NOTHING_MORE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncArguments:
    """What ImportFromPackageAsync is sent beyond what ImportFromPackage is sent."""

    fail_on_error: bool
    run_async_without_batch: bool
    threshold_to_run_in_batch: int
    extra: Mapping[str, object] = field(default=NOTHING_MORE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What is sent to F&O with a package. It stays as it is from the first execution id on that F&O may have."""

    data_project: str
    company: str
    overwrite: bool = True
    execute: bool = True  # false: to F&O's staging tables only
    asynchronous: AsyncArguments | None = None  # of ImportFromPackageAsync; None: sent with ImportFromPackage
    extra: Mapping[str, object] = field(default=NOTHING_MORE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityCounts:
    """The rows of one entity of an execution that has ended, as F&O counted them. None: F&O did not say."""

    entity: str
    to_be_processed: int | None = None  # in the file
    staged: int | None = None
    created: int | None = None  # in the target
    updated: int | None = None
    extra: Mapping[str, object] = field(default=NOTHING_MORE, compare=False, repr=False)

    @property
    def neither(self) -> int | None:
        """The rows that were neither created nor updated; None if F&O did not say."""
        if self.to_be_processed is None or self.created is None or self.updated is None:
            return None
        return max(self.to_be_processed - self.created - self.updated, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteCallRecord:
    """One call to a service, as a support ticket needs it."""

    service: str
    operation: str
    status: int | None  # HTTP status; None where no answer came
    request_id: str
    took_s: float
    began: datetime
    extra: Mapping[str, object] = field(default=NOTHING_MORE, compare=False, repr=False)

    @property
    def is_refused(self) -> bool:
        """Whether it was answered with 400 or more, or not at all."""
        return self.status is None or self.status >= 400


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One step of a run: when, how long, what was called, what went wrong. Equal ones in a row are counted."""

    step: str
    state: State  # the state that the step began in
    began: datetime
    took_s: float
    calls: tuple[RemoteCallRecord, ...] = ()
    error: str = ""
    times: int = (
        1  # how many of these there were in a row; began is the first's, the rest the last's, with refused calls
    )
    by: str = ""  # the person who did it; "": the app
    why: str = ""  # what that person gave as the reason
    extra: Mapping[str, object] = field(default=NOTHING_MORE, compare=False, repr=False)


class About(StrEnum):
    """What a problem is about, so that it ends with its cause."""

    OTHER = ""
    FAILING = "failing"  # tries that fail, or a person who must act; over with a try that goes well
    ASIDE = "aside"  # OneDrive keeps the file from going on
    WAITING = "waiting"  # something that another run uses
    EXECUTION = "execution"  # F&O takes too long, or does not know what it has accepted
    LOST = "lost"  # submits without an answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something about a run that a person should hear of while the run goes on."""

    text: str
    since: datetime
    about: About = About.OTHER
    extra: Mapping[str, object] = field(default=NOTHING_MORE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """OneDrive or F&O keeps this run alone from going on; others pass it once it is set aside."""

    since: datetime
    text: str  # the item's own words
    refusal: str = ""  # an ambiguous refusal: step, service, status and code; "" if the cause is the file's own
    is_aside: bool = False  # others pass it
    is_cleared: bool = False  # another file got through since, so this refusal is about this file
    is_flows: bool = False  # a second file met the same: the flow is stopped, not the file

    extra: Mapping[str, object] = field(default=NOTHING_MORE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """A run waits for something that another one has; that is no failure."""

    what: str  # "the data project Customers"
    since: datetime
    holder: str = ""  # who has it, in words
    holder_address: str = ""  # by which the run store finds that run
    extra: Mapping[str, object] = field(default=NOTHING_MORE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstImport:
    """The run that was the first to import a content, and that may have written rows."""

    run_id: str  # "" if nobody can tell: the mark of the content is damaged
    address: str  # by which the run store finds it
    file_name: str
    since: datetime  # when it was about to be submitted
    is_refused: bool = False  # the run that has the same content was refused for it
    extra: Mapping[str, object] = field(default=NOTHING_MORE, compare=False, repr=False)

    @property
    def is_known(self) -> bool:
        """Whether it is known which run that was; if not, there may be none."""
        return self.run_id != ""

    @property
    def text(self) -> str:
        """What a person is told about a run with the same content."""
        if not self.is_known:
            return (
                "Whether its content was imported before is unknown, because what the app keeps of that in its storage "
                "is damaged."
            )
        since = utc_minute_text(self.since)
        return f"It has the same content as {self.file_name}, which run {self.run_id} imported first ({since})."


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerun:
    """The run that a person opened to do the work of an ended one again: all that its record's name is made of."""

    run_id: str
    opened: datetime
    lane: str
    sort_key: str
    extra: Mapping[str, object] = field(default=NOTHING_MORE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFile:
    """A file that the app has put beside a failed one, and may replace by a newer one."""

    name: str
    item_id: str
    extra: Mapping[str, object] = field(default=NOTHING_MORE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRow:
    """One row, or one thing, that F&O could not do, in its words."""

    record_id: str
    field: str
    message: str
    extra: Mapping[str, object] = dataclasses.field(default=NOTHING_MORE, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class InProcess:
    """What only the process knows that advances a run. It is never saved: a run that was read has none of it."""

    has_chosen_id: bool = False  # it has just chosen the last execution id, and nobody has sent it
    is_end_near: bool = False  # the execution may end at any moment, so the worker waits for the next poll itself
    download_url: SecretUrl | None = None  # of the file as it was just claimed
    package_url: SecretUrl | None = None  # the key to the uploaded package


NOTHING_IN_PROCESS: Final = InProcess()
