"""OneDrive to F&O: the way of one data package from Input to Success or Error.

    FOUND -> CLAIMED -> SUBMITTING -> EXECUTING -> FINISHED -> FILED

Each public function below is what one state makes us do; STEPS at the end is the table. A step makes at most one
irreversible call and never saves: ``runner.py`` does. The promise that all of it serves: a package is imported exactly
once, whatever breaks. It rests on four things: the move to Processing is the claim, the data project is reserved and
the execution id saved before it is sent, and after a lost answer we look, fence, and only then send again.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from shared import execution
from shared.advice import is_contention
from shared.app import Services
from shared.clients.blobs.errors import SasExpired
from shared.clients.blobs.read import open_package
from shared.clients.blobs.write import empty_blob, stream_to_blob
from shared.clients.fno.client import EntityProgress, ExecutionStatus, FinanceOperations
from shared.clients.fno.refusals import CompanyUnknown, PackageUnreadable
from shared.clients.graph.drive_item import DriveItem
from shared.clients.graph.onedrive import OneDrive
from shared.config.integrations import ImportFlow
from shared.errors import (
    AnswerLost,
    AppError,
    DataDamaged,
    FileMissing,
    FileRejected,
    ItemChanged,
    NameTaken,
    NeedsPerson,
    NotComplete,
    NotFound,
    TryAgain,
)
from shared.imports import report
from shared.imports.package import check_package, company_of
from shared.log import log
from shared.reservations import reserve
from shared.runs.run import Run, name_with, new_execution_id
from shared.runs.states import Outcome, State
from shared.runs.values import FileFacts, Submission, UploadedPackage
from shared.runs.worker import INCOMPLETE_LOOK_S, Flow, Step, StepFailed, advance
from shared.secret import SecretUrl

# How long a file may stay empty before it is refused.
EMPTY_FOR: Final = timedelta(minutes=10)

# OneDrive may answer 404 for an item that it has just shown (seen for up to minutes). After so many answers in a row
# the folders in which the app would have it are listed; only if none shows it, it is gone.
NOT_FOUND_BEFORE_GONE: Final = 5

# A key to F&O's blob that runs out within this time is not used: F&O reads the package after our call began. And it
# counts as good for as long after its end: the clocks of this host and of F&O's storage may differ.
KEY_MARGIN: Final = timedelta(minutes=5)


# Bytes from which an upload is saved when it is done, so that a crash does not repeat it.
LARGE: Final = 8 * 1024 * 1024

# Time between two looks whether a filed file is checked out, as long as none of the drive is.
CHECK_OUT_LOOK: Final = timedelta(hours=1)

# An execution that ended in contention and changed nothing is sent again so often; then a person decides.
RESUBMITS: Final = 5


def advance_imports(text: str, services: Services) -> None:
    """Do what is due in a lane of imports."""
    advance(text, FLOW, services)


def claim(run: Run, services: Services) -> Run:
    """FOUND: move the file to Processing, if it is complete and still the one that was listed.

    The move is the claim. It carries the eTag of the listing, so that of two workers one loses, and so does a change.
    """
    flow, onedrive = _flow(run, services), _onedrive(run, services)
    if not run.file.is_complete:
        run = _seen_again(run, onedrive, flow, services)
        if run.state is not State.FOUND or run.due > services.now():
            return run
    try:
        item = _moved(run, onedrive.move_from, flow.processing_folder, services, etag=run.file.etag)
    except (ItemChanged, NotFound) as error:
        log.info("file.changed", reason=error.message)
        again = _seen_again(run, onedrive, flow, services)
        if again.state is State.FOUND:  # nothing of it has changed, so it is not the file's fault
            raise StepFailed(again, TryAgain(error.message, call=error.call)) from error
        return again
    return _claimed(run, item, flow, services.now())


def _seen_again(run: Run, onedrive: OneDrive, flow: ImportFlow, services: Services) -> Run:
    """Return a FOUND run after a new look at its file: changed, incomplete, claimed by an earlier try, or gone."""
    now = services.now()
    run, item = _found_again(run, onedrive, services)
    if item and item.parent_id == services.folder_id(flow.drive, flow.processing_folder):
        if _is_anothers(run, services):
            return _withdrawn(run, "Another run has the same file and imports it.", now)
        return _claimed(run, item, flow, now)  # our own move, whose answer was lost
    if run.rerun_of:  # it lies where it was filed, and may be no other than the one that the person saw there
        gone = "The file was moved, changed or deleted after a person asked for its import once more."
        return run if item and item.etag == run.file.etag else _withdrawn(run, gone, now)
    if item is None or item.parent_id != services.folder_id(flow.drive, flow.input_folder):
        return _withdrawn(run, _where_it_went(run, item, flow, services), now)
    _refuse_malware(item)
    is_complete = not item.is_empty and not item.is_pending
    if item.is_empty and now - run.opened > EMPTY_FOR:
        minutes = EMPTY_FOR.total_seconds() / 60
        raise FileRejected(f"{item.name} has been empty for {minutes:.0f} minutes. Export it again and copy it anew.")
    has_changed = item.etag != run.file.etag
    run = replace(run, file=replace(_facts(run, item, flow.input_folder), name=item.name, is_complete=is_complete))
    if has_changed or not is_complete:
        raise StepFailed(run, NotComplete(_why_incomplete(item), retry_after_s=INCOMPLETE_LOOK_S))
    return run


def _why_incomplete(item: DriveItem) -> str:
    if item.is_empty:
        return f"{item.name} is still empty"
    if item.is_pending:
        return f"OneDrive is still processing {item.name}"
    return f"{item.name} is still being written: it has changed since it was seen last"


def _where_it_went(run: Run, item: DriveItem | None, flow: ImportFlow, services: Services) -> str:
    """Return why a file that is not in Input any more is none of this run's."""
    if item and _is_anothers(run, services):
        return "Another run has the same file and imports it."
    others = [each for each in services.integrations.imports if each.drive == flow.drive]
    folders = dict.fromkeys(
        folder for each in others for folder in (each.processing_folder, each.success_folder, each.error_folder)
    )
    folder = next((each for each in folders if item and item.parent_id == services.folder_id(flow.drive, each)), None)
    if folder:
        return f"The file lies in {folder} already: another run of the app has moved it, or a person has."
    return "The file was taken out of the Input folder before its import began."


def _is_anothers(run: Run, services: Services) -> bool:
    """Return whether another run has a FOUND run's file: scans at once may open two, in different places and lanes.

    Of two that nobody has begun the first has the file. The other one is deleted, so that a worker that is still about
    to begin it finds it gone when it saves.
    """
    for other in services.store.of_same_file(run):
        if other.state is not State.FOUND or (other.sort_key, other.lane) < (run.sort_key, run.lane):
            return True
        services.store.drop(other)
    return False


def _claimed(run: Run, item: DriveItem, flow: ImportFlow, now: datetime) -> Run:
    _refuse_malware(item)
    log.info("file.claimed", size_bytes=item.size_bytes)
    return _as_seen(run.moved_to(State.CLAIMED, now), item, flow)


def _as_seen(run: Run, item: DriveItem, flow: ImportFlow) -> Run:
    in_process = replace(run.in_process, download_url=item.download_url)
    return replace(run, file=_facts(run, item, flow.processing_folder), in_process=in_process)


def _withdrawn(run: Run, reason: str, now: datetime) -> Run:
    return replace(run.moved_to(State.WITHDRAWN, now), outcome=Outcome.WITHDRAWN, reason=reason)


def prepare(run: Run, services: Services) -> Run:
    """CLAIMED: upload the package to F&O, reserve its data project, and choose the execution id.

    An upload that is still good is used again. The id is saved before it is sent.
    """
    if not _is_usable(run):
        run = _uploaded(run, services)
        if run.state is not State.CLAIMED:
            return run
        if run.file.size_bytes > LARGE:
            return run  # saved, and gone on with at once
    package, now = run.package, services.now()
    if package is None:
        raise TryAgain(f"The package of {run.file.name} is not uploaded")
    execution_id = package.blob_name.removesuffix(".zip")
    if any(each.execution_id == execution_id for each in run.submissions):
        execution_id = new_execution_id(run.data_project, now)  # an id is sent once, even if F&O refused it
    try:
        run = reserve.reserve(run, _flow(run, services).environment_url, execution_id, services)
        url, expires = _key(run, package, services)
    except AppError as error:
        raise StepFailed(run, error) from error  # with what it has reserved, which is then given back
    if url is None:
        log.info("package.key_lost", blob=package.blob_name)
        return _without_package(run)  # uploaded anew at once
    chosen = Submission(execution_id=execution_id, chosen=services.now(), blob_name=package.blob_name)
    submitting = run.waits_no_more(services.now()).submitting(chosen, services.now())
    in_process = replace(submitting.in_process, package_url=url)
    return replace(submitting, package=replace(package, key_expires=expires), in_process=in_process)


def _without_package(run: Run) -> Run:
    return replace(run, package=None, in_process=replace(run.in_process, package_url=None))


def _is_usable(run: Run) -> bool:
    """Return whether the uploaded package may be sent: it never was with a lost answer, and is not fenced."""
    package = run.package
    return package is not None and all(
        each.never_began and each.fenced is None for each in run.submissions if each.blob_name == package.blob_name
    )


def _key(run: Run, package: UploadedPackage, services: Services) -> tuple[SecretUrl | None, datetime | None]:
    """Return a key to the uploaded package that is good for long enough; (None, None) if F&O gives none."""
    url, expires = run.in_process.package_url, package.key_expires
    if url is None or (expires and expires - services.now() < KEY_MARGIN):
        return _key_again(package, _finance(run, services))
    return url, expires


def _uploaded(run: Run, services: Services) -> Run:
    """Return a CLAIMED run with its package in F&O's blob storage: checked, and streamed there.

    Raises NoRoom if other large packages take the process's memory.
    """
    with services.room.taken(run.file.size_bytes):
        return _checked_and_streamed(run, services)


def _checked_and_streamed(run: Run, services: Services) -> Run:
    flow, onedrive = _flow(run, services), _onedrive(run, services)
    # Assumed: the answer to the claiming move tells all that asking for the item does. If it does not, it is asked.
    if run.in_process.download_url is None:
        run, item = _found_again(run, onedrive, services)
        if item is None or not _is_where_it_was_moved(item, run, flow, services):
            taken_out = "The file was taken out of the Processing folder before its import began."
            return _withdrawn(run, taken_out, services.now())
        _refuse_malware(item)
        run = _as_seen(run, item, flow)
    url = run.in_process.download_url or onedrive.content_url(run.file.item_id)

    company, file = flow.company or company_of(run.file.name), run.file
    with open_package(url, file.size_bytes, services.downloads, quick_xor_hash=file.quick_xor_hash) as package:
        facts = check_package(package.file)
        data_project = facts.project_for(flow.data_project)
        blob_name = f"{new_execution_id(data_project, services.now())}.zip"
        target = _finance(run, services).get_azure_write_url(blob_name)
        sent = stream_to_blob(package.chunks(), target.url)
    # A library may tell a wrong size: it decides only where there is no hash.
    if sent.quick_xor_hash != file.quick_xor_hash if file.quick_xor_hash else sent.size_bytes != file.size_bytes:
        raise DataDamaged(
            f"{file.name} arrived changed: {sent.size_bytes} of {file.size_bytes} bytes, quickXorHash "
            f"{sent.quick_xor_hash} instead of {file.quick_xor_hash}. Nothing was imported; it is fetched again."
        )

    log.info("package.uploaded", size_bytes=sent.size_bytes, data_project=data_project, company=company)
    return replace(
        run,
        company=company,
        data_project=data_project,
        entities=tuple(entity.name for entity in facts.entities),
        package=UploadedPackage(blob_name=blob_name, blob_path=target.url.address, key_expires=target.url.expires),
        in_process=replace(run.in_process, download_url=None, package_url=target.url),
    )


def submit(run: Run, services: Services) -> Run:
    """SUBMITTING: tell F&O to import, once. If anyone may have told it already, look instead.

    The worker holds the import lock of the environment: in parallel F&O fails these calls.
    """
    package_url = run.in_process.package_url
    if not run.in_process.has_chosen_id or package_url is None:
        return _look_up(run, services)
    try:
        answered = _finance(run, services).import_from_package(
            package_url=package_url,
            data_project=run.data_project,
            execution_id=run.execution_id,
            legal_entity=run.company,
            overwrite=_flow(run, services).overwrite,
        )
    except AnswerLost:
        raise
    except PackageUnreadable as error:
        raise execution.not_begun(_without_package(run), error, State.CLAIMED, services.now()) from error
    except CompanyUnknown as error:
        raise execution.not_begun(run, _by_whom(error, run, services), State.CLAIMED, services.now()) from error
    except AppError as error:
        raise execution.not_begun(run, error, State.CLAIMED, services.now()) from error
    log.info("import.submitted", data_project=run.data_project, company=run.company)
    return execution.begun(run, answered, services)


def _is_where_it_was_moved(item: DriveItem, run: Run, flow: ImportFlow, services: Services) -> bool:
    """Return whether a claimed file is in Processing: that of the settings, or that of the settings when it came."""
    folders = dict.fromkeys((flow.processing_folder, run.file.folder or flow.processing_folder))
    return any(item.parent_id == services.folder_id(flow.drive, folder) for folder in folders)


def _by_whom(error: CompanyUnknown, run: Run, services: Services) -> AppError:
    """Return the error for a company that F&O does not have: no file can cure it if the settings give the company."""
    company = _flow(run, services).company
    if not company:
        return error
    return NeedsPerson(f"{error.message}. For {run.flow_name} the settings give it: {company}", call=error.call)


def _look_up(run: Run, services: Services) -> Run:
    """SUBMITTING, and nobody knows whether F&O has begun: ask; else fence, wait, ask again, upload anew.

    The fence: the uploaded package is overwritten with nothing. From then on a request that is still on its way can
    only fail; if F&O had read the package before, its execution shows itself within the grace time.
    """
    now, run = services.now(), _with_reserved(run, services)
    if known := execution.known_submission(run, _finance(run, services)):
        return execution.found(run, known, now)
    submission = run.submissions[-1]
    if submission.missing_since is None:
        # Saved before the fence: a worker that is still about to send this id has then lost the run, and what F&O says
        # to it about an empty package is not taken for an answer about the file.
        return run.with_submission(replace(submission, missing_since=now))
    if submission.fenced is None:
        return _fenced(run, submission, services)
    grace_over = submission.fenced + timedelta(seconds=services.settings.submit_grace_s)
    if now < grace_over:
        return run.waiting((grace_over - now).total_seconds(), now)
    if run.lost_submits >= execution.LOST_SUBMITS:
        return run.waiting(execution.LOST_LOOK_S, now)
    log.warning("submission.lost", fenced=submission.fenced)
    return replace(execution.lost_once_more(run, State.CLAIMED, services), package=None)


def _with_reserved(run: Run, services: Services) -> Run:
    """Return a run with the names that it holds: an older version did not save them."""
    if run.reserved or not run.data_project:
        return run
    return replace(run, environment_url=_flow(run, services).environment_url, reserved=reserve.names_of(run))


def _fenced(run: Run, submission: Submission, services: Services) -> Run:
    """Return the run with its package made empty; or waiting, if only F&O's own key running out can fence it."""
    url: SecretUrl | None = None
    if run.package:
        url, _ = _key_again(run.package, _finance(run, services))
    if url:
        try:
            empty_blob(url)
        except SasExpired:
            url = None
    now = services.now()  # the grace time begins with the fence, however long it took to put it up
    expires = run.package.key_expires if run.package else None
    if url is None and expires and now < expires + KEY_MARGIN:
        log.warning("submission.fenced_by_expiry", expires=expires)
        return run.waiting((expires + KEY_MARGIN - now).total_seconds() + 1, now)
    log.warning("submission.fenced", blob=submission.blob_name)
    fenced = run.with_submission(replace(submission, fenced=now))
    return fenced.waiting(services.settings.submit_grace_s, now)


def _key_again(package: UploadedPackage, fno: FinanceOperations) -> tuple[SecretUrl | None, datetime | None]:
    """Return a new key to the uploaded package, and when it runs out; (None, None) if F&O gives none.

    Assumed: asked for the same uniqueFileName, F&O hands out a key to the same blob. If it names another blob the
    caller takes the way that needs no key: upload anew, or wait until F&O's key has run out.
    """
    again = fno.get_azure_write_url(package.blob_name)
    return (again.url, again.url.expires) if again.url.address == package.blob_path else (None, None)


def poll(run: Run, services: Services) -> Run:
    """EXECUTING: ask F&O how far it is, and wait a little longer each time."""
    run = _with_reserved(run, services)
    fno = _finance(run, services)
    polled = execution.poll(run, fno, services)
    run = polled.of(run)
    if polled.is_forgotten:
        return run.finished(Outcome.UNKNOWN, execution.forgotten(run), services.now())
    if not polled.status.is_final:
        return execution.still_running(run, polled, services.settings.import_stuck_after, services)
    if polled.status is ExecutionStatus.FAILED and _is_to_be_sent_again(run, fno):
        log.warning("import.contention", execution_id=run.execution_id)
        again = replace(run.moved_to(State.CLAIMED, services.now()), package=None, resubmits=run.resubmits + 1)
        words = f"F&O ended execution {run.execution_id} in contention with another one, and changed nothing"
        raise StepFailed(again, TryAgain(words, retry_after_s=execution.CONTENTION_S))
    reason = "" if polled.status is ExecutionStatus.SUCCEEDED else f"F&O ended the execution as {polled.status.value}."
    return run.finished(Outcome(polled.status.value), reason, services.now())


def _is_to_be_sent_again(run: Run, fno: FinanceOperations) -> bool:
    """Return whether an execution failed in contention and certainly changed nothing.

    Its details must list every entity of the package, each without a row and with a target step that never started.
    """
    if run.resubmits >= RESUBMITS or not run.entities:
        return False
    try:
        rows = fno.execution_errors(run.execution_id).rows
        if not any(is_contention(row.message) for row in rows):
            return False
        return _changed_nothing(run.entities, fno.job_details(run.execution_id))
    except AppError as error:
        log.warning("import.contention_not_checked", reason=str(error))
        return False


def _changed_nothing(entities: Sequence[str], details: Sequence[EntityProgress]) -> bool:
    told = {each.entity.casefold() for each in details}
    return told >= {entity.casefold() for entity in entities} and all(each.target_never_started for each in details)


def file_away(run: Run, services: Services) -> Run:
    """FINISHED, CANCELLED: move the file to Success or Error; beside a failed one put a report that helps a person.

    A run that a person cancelled while F&O may have been told is fenced first.
    """
    if _may_still_begin(run):
        return _fenced_after_cancel(run, services)
    flow, onedrive = _flow(run, services), _onedrive(run, services)
    succeeded = run.outcome is Outcome.SUCCEEDED
    folder = flow.success_folder if succeeded else flow.error_folder
    folder_id = services.folder_id(flow.drive, folder)
    if _is_where_it_was_seen(run, folder):
        # If it has been moved or changed since it was seen this fails, and the next try looks at it first.
        item = _moved(run, onedrive.move, folder, services, etag=run.file.etag)
    else:
        run, found = _found_again(run, onedrive, services)
        if found is None:
            gone = f"{run.reason} The file itself was deleted before it could be filed.".strip()
            return replace(run.moved_to(State.FILED, services.now()), reason=gone)
        if run.state is State.CANCELLED and _is_new(run, found):
            changed = f"{run.reason} Its content has changed since: the app takes it for a new file.".strip()
            return replace(run.moved_to(State.FILED, services.now()), reason=changed)
        is_there = found.parent_id == folder_id
        item = found if is_there else _moved(run, onedrive.move, folder, services, etag=found.etag)
    run = replace(run, file=replace(_facts(run, item, folder), name=item.name))
    if not succeeded:
        run = report.put_beside(run, onedrive, folder, folder_id, _finance(run, services), services)
        if run.due > services.now():
            return run  # F&O is still making its error files
    try:
        _check_in(run, item, onedrive, services)
    except AppError as error:
        raise StepFailed(run, error) from error  # with what is known of the report
    return run.moved_to(State.FILED, services.now())


def _is_where_it_was_seen(run: Run, folder: str) -> bool:
    """Return whether nobody of the app has tried to move the file to a folder, as far as the record tells."""
    is_untried = run.state is State.FINISHED and run.attempts == 0 and run.file.folder != folder
    return is_untried and run.file.etag != ""


def _check_in(run: Run, item: DriveItem, onedrive: OneDrive, services: Services) -> None:
    """Check a filed file in, if it is checked out to the app: nobody else would see it.

    Assumed: a move checks nothing out, also in a library that requires check-out. So as long as no filed file of a
    drive is found to be checked out, only one in an hour is looked at: each look is a call.
    """
    drive, now = _flow(run, services).drive, services.now()
    seen = services.seen_checked_in.get(drive)
    if seen and now - seen < CHECK_OUT_LOOK:
        return
    if not report.check_in(run, item, onedrive):
        services.seen_checked_in[drive] = now


def _is_new(run: Run, item: DriveItem) -> bool:
    """Return whether a cancelled run's file holds something else by now."""
    then = run.file
    if then.quick_xor_hash and item.quick_xor_hash:
        return then.quick_xor_hash != item.quick_xor_hash
    return then.size_bytes != item.size_bytes


def _may_still_begin(run: Run) -> bool:
    """Return whether the last submission of a cancelled run may be on its way to F&O, with its package."""
    if run.state is not State.CANCELLED or run.cancelled_in is not State.SUBMITTING:
        return False
    return not run.submissions[-1].never_began and run.submissions[-1].fenced is None


def _fenced_after_cancel(run: Run, services: Services) -> Run:
    """Return a cancelled run whose last submission cannot begin any more, if it has not by now; or one that waits."""
    submission = run.submissions[-1]
    if submission.missing_since is None:  # saved before the fence, as in _look_up
        return run.with_submission(replace(submission, missing_since=services.now()))
    fenced = _fenced(run, submission, services)
    return fenced.waiting(0, services.now()) if fenced.submissions[-1].fenced else fenced


def _moved(run: Run, move: Callable[..., DriveItem], folder: str, services: Services, *, etag: str | None) -> DriveItem:
    """Move the run's file to a folder under its own name; where that is taken, under one that is the run's alone."""
    drive = _flow(run, services).drive
    folder_id = services.folder_id(drive, folder)
    services.scan_throttle.note_change(services.now())
    try:
        try:
            return move(run.file.item_id, to_folder_id=folder_id, name=run.file.name, etag=etag)
        except NameTaken:
            own = name_with(run.file.name, run.run_id)
            return move(run.file.item_id, to_folder_id=folder_id, name=own, etag=etag)
    except NotFound:
        services.forget_folder(drive, folder)  # it may be the folder that is gone: it is made anew at the next try
        raise


def _found_again(run: Run, onedrive: OneDrive, services: Services) -> tuple[Run, DriveItem | None]:
    """Return the run, and its file as it is now; None once it is gone. Raises FileMissing while it may only seem so."""
    try:
        item: DriveItem | None = onedrive.get(run.file.item_id)
    except NotFound as error:
        if run.not_found + 1 < NOT_FOUND_BEFORE_GONE:
            raise FileMissing(error.message, call=error.call) from error
        item = _listed(run, onedrive, services)
        if item is None:
            log.warning("file.gone", item_id=run.file.item_id, not_found=run.not_found + 1)
            return run, None
    return (replace(run, not_found=0) if run.not_found else run), item


def _listed(run: Run, onedrive: OneDrive, services: Services) -> DriveItem | None:
    """Return a file that OneDrive denies by its id, if Input or Processing shows it all the same."""
    flow = _flow(run, services)
    for folder in (flow.input_folder, flow.processing_folder):
        folder_id = services.folder_id(flow.drive, folder)
        for item in onedrive.list_files(folder_id):
            if item.item_id == run.file.item_id:
                return replace(item, parent_id=folder_id)
    return None


def _refuse_malware(item: DriveItem) -> None:
    if item.has_malware:
        raise FileRejected(
            f"OneDrive found malware in {item.name}, so it is not imported. Have the system that wrote it examined."
        )


def _facts(run: Run, item: DriveItem, folder: str) -> FileFacts:
    return replace(
        run.file,
        size_bytes=item.size_bytes,
        etag=item.etag,
        quick_xor_hash=item.quick_xor_hash or "",
        folder=folder,
        web_url=item.web_url,
    )


def _flow(run: Run, services: Services) -> ImportFlow:
    return services.import_flow(run.flow_name)


def _onedrive(run: Run, services: Services) -> OneDrive:
    return services.onedrive(_flow(run, services).drive)


def _finance(run: Run, services: Services) -> FinanceOperations:
    return services.finance_operations(_flow(run, services).environment_url)


def import_lock(run: Run, services: Services) -> AbstractContextManager[None]:
    """Return what keeps other imports of the environment from calling ImportFromPackage."""
    return services.import_lock(_flow(run, services).environment_url)


def keeps_order(run: Run, services: Services) -> bool:
    """Return whether no file of the run's flow may pass it."""
    flow = services.integrations.import_named(run.flow_name)
    return flow is not None and flow.strict_order


STEPS: Final[Mapping[State, Step]] = {
    State.FOUND: claim,
    State.CLAIMED: prepare,
    State.SUBMITTING: submit,
    State.EXECUTING: poll,
    State.FINISHED: file_away,
    State.CANCELLED: file_away,
}

FLOW: Final = Flow(
    steps=STEPS,
    stuck_after=lambda services: services.settings.import_stuck_after,
    lock=import_lock,
    keeps_order=keeps_order,
)
