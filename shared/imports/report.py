"""What a person finds beside a failed file: what happened in F&O's words, which rows, and what to do.

For ``NAME.zip`` in the Error folder: ``NAME.zip.report.txt``, ``NAME.zip.errors.csv`` (rows), and F&O's own error
files, ``NAME.zip.<entity>.error-keys.txt`` and ``NAME.zip.<entity>.staging-errors.<ending>``. If somebody else's file
has the name, the run's id is added: ``NAME.zip.report (3f9c0a7b12de).txt``. Writing them twice gives the same files.
"""

import csv
import io
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import urlsplit

from shared import execution
from shared.advice import what_to_do
from shared.alerts.run_alerts import passed_by_text
from shared.app import Services
from shared.clients.blobs.quick_xor_hash import QuickXorHash
from shared.clients.blobs.read import read_small
from shared.clients.fno.client import FinanceOperations
from shared.clients.fno.row_errors import RowError
from shared.clients.graph.drive_item import DriveItem
from shared.clients.graph.onedrive import OneDrive
from shared.errors import (
    AppError,
    DetailsMissing,
    FileRejected,
    ItemLocked,
    NameTaken,
    NeedsPerson,
    NotFound,
    Refused,
    TryAgain,
)
from shared.escapes import csv_cell, file_name_part, plain_text
from shared.imports.result import result_json
from shared.log import log
from shared.moments import utc_text
from shared.row_counts import count_lines
from shared.runs.machine import StepFailed
from shared.runs.record import Damaged
from shared.runs.run import LONGEST_NAME, Run, name_with
from shared.runs.states import Outcome
from shared.runs.values import ReportFile
from shared.secret import SecretUrl, redacted

# F&O makes its error-key files in the background: how often we look for one, and seconds between two looks.
ERROR_FILE_LOOKS: Final = 6
ERROR_FILE_LOOK_S: Final = 5.0

# Tries to get what F&O does not hand out before the report is written without it.
TRIES_FOR_DETAILS: Final = 4

# Failed tries of the step after which a file stays checked out.
TRIES_TO_CHECK_IN: Final = 4

# Failed tries of the step after which a file stays without the result that OneDrive refuses.
TRIES_TO_PUT_RESULT: Final = 4

# Rows that the report itself quotes; the CSV holds all of them.
ROWS_QUOTED: Final = 5

REPORT: Final = "report.txt"
RESULT: Final = "result.json"
LONGEST_REPORT: Final = 256 * 1024  # bytes; what is longer is none
_ENDING: Final = re.compile(r"\.[A-Za-z0-9]{1,8}")

# Bytes of one of F&O's error files that are copied; larger ones can be had in F&O.
ERROR_FILE_LIMIT: Final = 32 * 1024 * 1024


@dataclass(slots=True)
class _Details:
    """What F&O tells about a failed execution, as far as it could be had."""

    summary_url: str = ""
    rows: Sequence[RowError] | None = None  # None: F&O did not hand them out
    raw: str = ""
    files: dict[str, SecretUrl] = field(default_factory=dict)  # by the ending that goes behind the file's name
    notes: list[str] = field(default_factory=list)  # what could not be had, in words
    error_keys_of: tuple[str, ...] = ()  # entities that have a file of error keys, or will have one
    is_waiting: bool = False  # F&O is still writing one


def put_beside(
    run: Run, onedrive: OneDrive, folder: str, folder_id: str, fno: FinanceOperations, services: Services
) -> Run:
    """Write the report of a failed run beside its file; return the run with its reason in F&O's words.

    folder, folder_id: where its file lies by now. The run comes back with a due time in the future while F&O is still
    making its error files. Raises TryAgain for passing trouble, within StepFailed if something was written already;
    after a few tries the report is written with a note of what is missing.
    """
    details = _details(run, fno)
    run = replace(run, error_keys_of=details.error_keys_of)
    if details.is_waiting:
        later = replace(run, report_attempts=run.report_attempts + 1)
        return later.waiting(ERROR_FILE_LOOK_S, services.now())
    reason = _reason(run, details.rows or ())
    run = execution.record_details(replace(run, reason=reason), details.rows, details.summary_url)
    beside = _Folder(run, _earlier(run, services), onedrive, folder, folder_id, services)
    try:
        report = _written(beside, run, details, services)
    except AppError as error:
        if beside.run.report_files == run.report_files:
            raise
        raise StepFailed(beside.run, error) from error
    log.info("report.written", rows=len(details.rows or ()), files=len(details.files), missing=details.notes)
    return replace(beside.run, report_url=report.web_url if report else "")


def put_result_beside(run: Run, onedrive: OneDrive, folder: str, folder_id: str, services: Services) -> Run:
    """Write ``NAME.zip.result.json`` beside a filed file, by the same rules as the report; return the run with it.

    Raises what the upload raises if it may pass. If OneDrive still refuses it after a few tries the run says so.
    """
    beside = _Folder(run, _earlier(run, services), onedrive, folder, folder_id, services)
    try:
        beside.write(RESULT, result_json(run, services.settings.app_url))
    except FileRejected as error:
        return _without_result(run, error)
    except Refused as error:
        if run.attempts >= TRIES_TO_PUT_RESULT:
            return _without_result(run, error)
        raise StepFailed(beside.run, TryAgain(error.message, call=error.call)) from error
    except AppError as error:
        raise StepFailed(beside.run, error) from error
    return beside.run


def _without_result(run: Run, error: AppError) -> Run:
    """Return a run whose page and alert tell that the sender gets no result."""
    log.warning("report.refused", reason=error.message)
    text = f"The app could not put the result (resultFile) beside {run.file.name}: {error.message}."
    if text in (run.warning + run.reason):
        return run  # the step is tried again for another reason
    if run.outcome is Outcome.SUCCEEDED:
        return replace(run, warning=f"{run.warning} {text}".strip())
    return replace(run, reason=f"{run.reason} {text}".strip())


def _written(beside: "_Folder", run: Run, details: "_Details", services: Services) -> DriveItem | None:
    """Put all that is known beside the file, the report last; return that, None if OneDrive refuses it."""
    for ending, url in details.files.items():
        read = partial(read_small, url, services.downloads, ERROR_FILE_LIMIT)
        content = _had(f"the file {ending}", run, details, read)
        if content is not None:
            beside.put(ending, content)
    if details.rows or details.raw.strip() not in ("", "[]"):
        beside.put("errors.csv", errors_csv(details.rows or (), details.raw))
    return beside.put(REPORT, plain_text(redacted(_report(run, details))).encode("utf-8-sig"))


def _earlier(run: Run, services: Services) -> Run | None:
    """Return the run whose work a run does again, and whose report it may replace."""
    try:
        return services.store.run_at(run.rerun_of) if run.rerun_of else None
    except Damaged:
        return None


def check_in(run: Run, item: DriveItem, onedrive: OneDrive) -> bool:
    """Let people see a file in a library that requires check-out; return False if it is certain that they do.

    Raises what the check-in raises if it may pass and was tried a few times at most: nothing may hold the lane up for
    long, for the outcome is known.
    """
    try:
        if not onedrive.is_checked_out(item.item_id):
            return False
    except AppError as error:
        log.warning("file.not_checked_in", name=item.name, reason=error.message)
        return True
    try:
        if onedrive.check_in(item.item_id):
            log.info("file.checked_in", name=item.name)
    except AppError as error:
        if not isinstance(error, Refused | NeedsPerson) and run.attempts < TRIES_TO_CHECK_IN:
            raise
        log.warning("file.not_checked_in", name=item.name, reason=error.message)
    return True


class _Folder:
    """Where the run's file lies; what is put beside it replaces nothing but what the app has put there itself."""

    def __init__(
        self, run: Run, earlier: Run | None, onedrive: OneDrive, path: str, folder_id: str, services: Services
    ) -> None:
        """earlier: the run whose work this one does again; path, folder_id: of the folder, below the drive's root."""
        self.run = run  # with the files of its report as they are by now
        self._earlier = earlier
        # Those of which an older version may have written the report.
        self._may_be_old = [each for each in (run, earlier) if each and not each.report_files]
        self._onedrive = onedrive
        self._services = services
        self._path = path
        self._folder_id = folder_id

    def put(self, ending: str, content: bytes) -> DriveItem | None:
        """Write one file; what OneDrive refuses (a path too long, say) must not hold the lane up, and gives None."""
        try:
            return self.write(ending, content)
        except (FileRejected, Refused) as error:
            log.warning("report.refused", reason=error.message)
            return None

    def write(self, ending: str, content: bytes) -> DriveItem:
        """Write one file. Raises what the upload raises."""
        name = f"{self.run.file.name[: LONGEST_NAME - len(ending) - 1]}.{ending}"
        item = self._written(name, content)
        self.run = self.run.with_report_file(ReportFile(name=item.name, item_id=item.item_id))
        check_in(self.run, item, self._onedrive)
        return item

    def _written(self, name: str, content: bytes) -> DriveItem:
        own_name = name_with(name, self.run.run_id)
        if self._is_ours(own_name):
            return self._upload(own_name, content, replace=True)
        if self._is_ours(name):
            try:
                return self._upload(name, content, replace=True)
            except ItemLocked:  # somebody reads it, perhaps for days
                return self._upload(own_name, content, replace=True)
        if name.endswith(f".{REPORT}") and (old_name := self._old_name()):
            return self._upload(old_name, content, replace=True)
        try:
            return self._upload(name, content, replace=False)
        except NameTaken:
            # By an earlier try, whose host was killed before it was saved; or by somebody else, whose file stays.
            return self._same(name, content) or self._upload(own_name, content, replace=True)

    def _upload(self, name: str, content: bytes, *, replace: bool) -> DriveItem:
        return self._onedrive.upload_small(self._folder_id, name, content, replace=replace)

    def _is_ours(self, name: str) -> bool:
        """Return whether a name is that of a file which the run has saved, and which still lies there."""
        for known in (*self.run.report_files, *(self._earlier.report_files if self._earlier else ())):
            if known.name == name:
                with suppress(NotFound):
                    item = self._onedrive.get(known.item_id)
                    return (item.parent_id, item.name) == (self._folder_id, name)
        return False

    def _old_name(self) -> str:
        """Return the name of a report that an older version has written, "" if there is none.

        It named reports ``NAME.report.txt`` for ``NAME.zip``, and saved where they are and not which.
        """
        urls = {run.report_url for run in self._may_be_old if run.report_url}
        is_of_this_process = self.run.state_since >= self._services.started  # so no older version has filed it
        if not urls and (is_of_this_process or not self._may_be_old):
            return ""  # nobody has written one
        name = f"{PurePosixPath(self.run.file.name).stem[: LONGEST_NAME - len(REPORT) - 1]}.{REPORT}"
        item = self._onedrive.find(f"{self._path}/{name}")
        if item is None or not item.is_file:
            return ""
        return name if item.web_url in urls or self._names_the_run(item) else ""

    def _names_the_run(self, item: DriveItem) -> bool:
        """Return whether a file is a report of this run, whose host was killed before that was saved."""
        if item.size_bytes > LONGEST_REPORT:
            return False
        try:
            url = item.download_url or self._onedrive.content_url(item.item_id)
            return self.run.run_id.encode() in read_small(url, self._services.downloads, LONGEST_REPORT)
        except AppError as error:  # it may be anybody's, and then nothing of it is the run's business
            log.info("report.not_read", name=item.name, reason=error.message)
            return False

    def _same(self, name: str, content: bytes) -> DriveItem | None:
        """Return the file of that name if it holds just this content."""
        item = self._onedrive.find(f"{self._path}/{name}")
        checksum = QuickXorHash()
        checksum.update(content)
        return item if item and item.is_file and item.quick_xor_hash == checksum.base64() else None


def _details(run: Run, fno: FinanceOperations) -> _Details:
    details = _Details()
    if run.outcome in (Outcome.REJECTED, Outcome.UNKNOWN, Outcome.CANCELLED_BY_PERSON):
        return details  # F&O never began, has forgotten it, or has not ended it: it has nothing to tell
    execution_id = run.execution_id
    details.summary_url = (
        _had("the link to the summary", run, details, lambda: fno.execution_summary_page_url(execution_id)) or ""
    )
    errors = _had("the row errors", run, details, lambda: fno.execution_errors(execution_id))
    if errors is not None:
        details.rows, details.raw = errors.rows, errors.raw
    for entity in run.entities:
        ask = partial(fno.staging_error_file_url, execution_id, entity)
        if staging := _had(f"the staging errors of {entity}", run, details, ask):
            ending = PurePosixPath(urlsplit(staging.reveal()).path).suffix
            ending = ending if _ENDING.fullmatch(ending) else ".txt"
            details.files[f"{file_name_part(entity)}.staging-errors{ending}"] = staging
    _find_error_keys(run, fno, details)
    return details


def _find_error_keys(run: Run, fno: FinanceOperations, details: _Details) -> None:
    """Find the files with the keys of the rows that failed, which F&O writes after it was asked to, once."""
    if run.error_keys_of is None:
        details.error_keys_of = tuple(
            entity
            for entity in run.entities
            if _had(
                f"the error keys of {entity}",
                run,
                details,
                partial(fno.generate_error_keys_file, run.execution_id, entity),
            )
        )
    else:
        details.error_keys_of = run.error_keys_of
    for entity in details.error_keys_of:
        ask = partial(fno.error_keys_file_url, run.execution_id, entity)
        keys = _had(f"the error keys of {entity}", run, details, ask)
        if keys:
            details.files[f"{file_name_part(entity)}.error-keys.txt"] = keys
        elif run.report_attempts < ERROR_FILE_LOOKS:
            details.is_waiting = True
        else:
            details.notes.append(f"F&O did not write the error keys of {entity} in time.")


def _had[Value](what: str, run: Run, details: _Details, fetch: Callable[[], Value]) -> Value | None:
    """Return what F&O hands out; None with a note where it does not, after a few tries of the whole step."""
    try:
        return fetch()
    except AppError as error:
        if isinstance(error, TryAgain) and run.detail_tries < TRIES_FOR_DETAILS:
            raise DetailsMissing(error.message, retry_after_s=error.retry_after_s, call=error.call) from error
        details.notes.append(f"F&O did not return {what}: {error}")
        return None


def _reason(run: Run, rows: Sequence[RowError]) -> str:
    """Return the reason of a failed run: what it was, and the first row errors."""
    if not rows or run.outcome is Outcome.REJECTED or (run.submissions and run.submissions[-1].fenced and run.reason):
        return run.reason
    ended = f"The execution ended in F&O with status {run.outcome.value if run.outcome else ''}"
    errors = "1 row error" if len(rows) == 1 else f"{len(rows)} row errors, the first"
    reason = f"{ended}: {errors}: {rows[0].message}"
    if run.was_unread:
        reason = f"F&O refuses the package: {rows[0].message.rstrip(' .')}. Nothing was imported."
    if run.reason.startswith(reason):
        return run.reason  # an earlier try has told it
    more = run.reason.removeprefix(f"{ended}.").strip() if run.reason.startswith(f"{ended}.") else ""
    return f"{reason.rstrip(' .')}. {more}" if more else reason  # such as that the file was replaced meanwhile


def _report(run: Run, details: _Details) -> str:
    outcome = run.outcome or Outcome.FAILED
    lines = [
        f"{run.file.name}: {outcome.label}",
        "",
        run.reason or "F&O gave no reason.",
        "",
        what_to_do(run),
        "",
        f"Company:       {run.company or '-'}",
        f"Data project:  {run.data_project or '-'}",
        f"Entities:      {', '.join(run.entities) or '-'}",
        f"Execution id:  {_execution_id(run, outcome)}",
        f"Summary:       {details.summary_url or '-'}",
        f"Run id:        {run.run_id}",
        f"Found:         {utc_text(run.opened)}",
    ]
    if passed := passed_by_text(run):
        lines += ["", passed]
    if told := count_lines(run):
        lines += ["", "Rows by entity:", *(f"  {line}" for line in told)]
    if run.first_import and not run.first_import.is_refused:
        lines += ["", run.first_import.text]
    if details.rows:
        lines += ["", f"Row errors ({len(details.rows)}, all of them in the .errors.csv beside this file):"]
        lines += [f"  {row.record_id}  {row.field}  {row.message}" for row in details.rows[:ROWS_QUOTED]]
    if details.notes:
        lines += ["", "Missing from this report:", *(f"  {note}" for note in details.notes)]
    return "\r\n".join(lines) + "\r\n"


def _execution_id(run: Run, outcome: Outcome) -> str:
    return run.execution_id if run.execution_id and outcome is not Outcome.REJECTED else "- (F&O did not start)"


def errors_csv(rows: Sequence[RowError], raw: str) -> bytes:
    """Return row errors as CSV for Excel (UTF-8 with BOM); F&O's raw text where it could not be taken apart."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(("RecordId", "Field", "ErrorMessage"))
    if rows:
        writer.writerows((_cell(row.record_id), _cell(row.field), _cell(row.message)) for row in rows)
    else:
        writer.writerow(("", "", _cell(raw)))
    return text.getvalue().encode("utf-8-sig")


def _cell(value: str) -> str:
    return csv_cell(redacted(value))
