"""What a person finds beside a failed file: what happened in F&O's words, which rows, and what to do.

For ``NAME.zip`` in the Error folder: ``NAME.report.txt``, ``NAME.errors.csv`` (rows), and F&O's own error files,
``NAME.<entity>.error-keys.txt`` and ``NAME.<entity>.staging-errors.<ending>``. Writing them twice gives the same files.
"""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import urlsplit

from shared.clients.dmf import FinanceOperations, RowError
from shared.clients.onedrive import DriveItem, OneDrive
from shared.clients.transfer import read_small
from shared.domain.advice import what_to_do
from shared.domain.run import LONGEST_NAME, Outcome, Run
from shared.errors import AppError, DetailsMissing, FileRejected, NeedsPerson, Refused, TryAgain
from shared.flows import execution
from shared.flows.telling import passed_words
from shared.log import log
from shared.secret import SecretUrl, redacted
from shared.services import Services

# F&O makes its error-key files in the background: how often we look for one, and seconds between two looks.
ERROR_FILE_LOOKS: Final = 6
ERROR_FILE_LOOK_S: Final = 5.0

# Tries to get what F&O does not hand out before the report is written without it.
TRIES_FOR_DETAILS: Final = 4

# Rows that the report itself quotes; the CSV holds all of them.
ROWS_QUOTED: Final = 5

# Bytes of one of F&O's error files that are copied; larger ones can be had in F&O.
ERROR_FILE_LIMIT: Final = 32 * 1024 * 1024


@dataclass(slots=True)
class _Details:
    """What F&O tells about a failed execution, as far as it could be had."""

    summary_url: str = ""
    rows: Sequence[RowError] | None = None  # None: F&O did not hand them out
    raw: str = ""
    files: dict[str, SecretUrl] = field(default_factory=dict)  # by the ending that goes behind the file's stem
    notes: list[str] = field(default_factory=list)  # what could not be had, in words
    error_keys_of: tuple[str, ...] = ()  # entities that have a file of error keys, or will have one
    is_waiting: bool = False  # F&O is still writing one


def put_beside(run: Run, onedrive: OneDrive, folder_id: str, fno: FinanceOperations, services: Services) -> Run:
    """Write the report of a failed run beside its file; return the run with its reason in F&O's words.

    The run comes back with a due time in the future where F&O is still making its error files. Raises TryAgain for
    passing trouble; after a few tries the report is written with a note of what is missing.
    """
    details = _details(run, fno)
    run = replace(run, error_keys_of=details.error_keys_of)
    if details.is_waiting:
        later = replace(run, report_attempts=run.report_attempts + 1)
        return later.waiting(ERROR_FILE_LOOK_S, services.now())
    reason = _reason(run, details.rows or ())
    run = execution.with_details(replace(run, reason=reason), details.rows, details.summary_url)
    put = partial(_put, run, onedrive, folder_id)
    for ending, url in details.files.items():
        read = partial(read_small, url, services.downloads, ERROR_FILE_LIMIT)
        content = _had(f"the file {ending}", run, details, read)
        if content is not None:
            put(ending, content)
    if details.rows or details.raw.strip() not in ("", "[]"):
        put("errors.csv", errors_csv(details.rows or (), details.raw))
    report = put("report.txt", redacted(_report(run, details)).encode("utf-8-sig"))
    log.info("report.written", rows=len(details.rows or ()), files=len(details.files), missing=details.notes)
    return replace(run, report_url=report.web_url if report else "")


def _put(run: Run, onedrive: OneDrive, folder_id: str, ending: str, content: bytes) -> DriveItem | None:
    """Write one file beside the run's own; what OneDrive refuses (a path too long, say) must not hold the lane up."""
    stem = PurePosixPath(run.file.name).stem[: LONGEST_NAME - len(ending) - 1]
    try:
        written = onedrive.upload_small(folder_id, f"{stem}.{ending}", content, replace=True)
    except (FileRejected, Refused) as error:
        log.warning("report.refused", reason=error.message)
        return None
    check_in(written, onedrive)
    return written


def check_in(item: DriveItem, onedrive: OneDrive) -> bool:
    """Let people see a file in a library that requires check-out; return False if it is certain that they do.

    Nothing but passing trouble with a file that is checked out may hold the lane up: that raises TryAgain.
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
    except (Refused, NeedsPerson) as error:
        log.warning("file.not_checked_in", name=item.name, reason=error.message)
    return True


def _details(run: Run, fno: FinanceOperations) -> _Details:
    details = _Details()
    if run.outcome in (Outcome.REJECTED, Outcome.UNKNOWN, Outcome.GIVEN_UP):
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
            ending = PurePosixPath(urlsplit(staging.reveal()).path).suffix or ".txt"
            details.files[f"{_in_file_name(entity)}.staging-errors{ending}"] = staging
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
            details.files[f"{_in_file_name(entity)}.error-keys.txt"] = keys
        elif run.report_attempts < ERROR_FILE_LOOKS:
            details.is_waiting = True
        else:
            details.notes.append(f"F&O had not written the error keys of {entity} in time.")


def _in_file_name(entity: str) -> str:
    return "".join(c if c.isalnum() or c in " -_" else "_" for c in entity)


def _had[Value](what: str, run: Run, details: _Details, fetch: Callable[[], Value]) -> Value | None:
    """Return what F&O hands out; None with a note where it does not, after a few tries of the whole step."""
    try:
        return fetch()
    except AppError as error:
        if isinstance(error, TryAgain) and run.detail_tries < TRIES_FOR_DETAILS:
            raise DetailsMissing(error.message, retry_after_s=error.retry_after_s, call=error.call) from error
        details.notes.append(f"F&O did not hand out {what}: {error}")
        return None


def _reason(run: Run, rows: Sequence[RowError]) -> str:
    """Return the reason of a failed run: what it was, and the first row errors."""
    if not rows or run.outcome is Outcome.REJECTED:
        return run.reason
    first = f"{len(rows)} row errors, the first: {rows[0].message}"
    return f"F&O ended the execution as {run.outcome.value if run.outcome else ''}: {first}"


def _report(run: Run, details: _Details) -> str:
    outcome = run.outcome or Outcome.FAILED
    lines = [
        f"{run.file.name}: {outcome.value}",
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
        f"Found:         {run.opened:%Y-%m-%d %H:%M:%S} UTC",
    ]
    if passed := passed_words(run):
        lines += ["", passed]
    if details.rows:
        lines += ["", f"Row errors ({len(details.rows)}, all of them in the .errors.csv beside this file):"]
        lines += [f"  {row.record_id}  {row.field}  {row.message}" for row in details.rows[:ROWS_QUOTED]]
    if details.notes:
        lines += ["", "What is missing here:", *(f"  {note}" for note in details.notes)]
    return "\r\n".join(lines) + "\r\n"


def _execution_id(run: Run, outcome: Outcome) -> str:
    return run.execution_id if run.execution_id and outcome is not Outcome.REJECTED else "- (F&O did not begin)"


def errors_csv(rows: Sequence[RowError], raw: str) -> bytes:
    """Return row errors as CSV for Excel (UTF-8 with BOM); F&O's raw text where it could not be taken apart."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(("RecordId", "Field", "ErrorMessage"))
    if rows:
        writer.writerows((_cell(row.record_id), _cell(row.field), _cell(row.message)) for row in rows)
    else:
        writer.writerow(("", "", _cell(raw)))
    return redacted(text.getvalue()).encode("utf-8-sig")


def _cell(value: str) -> str:
    """Return a value that a spreadsheet shows as it is: one that begins like a formula is quoted, not computed."""
    # https://owasp.org/www-community/attacks/CSV_Injection
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
