"""OneDrive to F&O: the way of one data package from Input to Success or Error.

    FOUND -> CLAIMED -> UPLOADED -> SUBMITTING -> EXECUTING -> FINISHED -> FILED

Each public function below is what one state makes us do; STEPS at the end is the table. A step makes at most one
irreversible call, never sleeps and never saves: ``runner.py`` does. The promise that all of it serves: a package is
imported exactly once, whatever breaks. It rests on three things: the move to Processing is the claim, the execution id
is saved before it is sent, and after a lost answer we look, fence, and only then send again.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from shared.clients.dmf import ExecutionStatus, FinanceOperations, PackageUnreadable
from shared.clients.onedrive import DriveItem, OneDrive
from shared.clients.transfer import SasExpired, empty_blob, open_package, stream_to_blob
from shared.clients.wake_queue import IMPORT_WORK
from shared.domain.integrations import ImportFlow
from shared.domain.package import check_package, company_of
from shared.domain.run import FileFacts, Outcome, Run, State, Submission, UploadedPackage, name_with, new_execution_id
from shared.errors import (
    AnswerLost,
    AppError,
    DataDamaged,
    FileRejected,
    ItemChanged,
    NameTaken,
    NeedsPerson,
    NotFound,
    TryAgain,
)
from shared.flows import execution, report
from shared.flows.runner import Flow, Step, advance
from shared.log import log
from shared.secret import SecretUrl
from shared.services import Services

# Seconds between two looks at a file that is not complete yet, and how long one may stay empty before it is refused.
INCOMPLETE_LOOK_S: Final = 3.0
EMPTY_FOR: Final = timedelta(minutes=10)

# OneDrive may answer 404 for an item that it has just shown (seen for up to minutes); after this many it is gone.
TRIES_BEFORE_GONE: Final = 5

# A key to F&O's blob that runs out within this time is not used: F&O reads the package after our call began. And it
# counts as good for as long after its end: the clocks of this host and of F&O's storage may differ.
KEY_MARGIN: Final = timedelta(minutes=5)


def advance_imports(lane: str, services: Services) -> None:
    """Do what is due in a lane of imports."""
    advance(lane, FLOW, services)


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
        return again.waiting(INCOMPLETE_LOOK_S, services.now()) if again.state is State.FOUND else again
    return _claimed(run, item, flow, services.now())


def _seen_again(run: Run, onedrive: OneDrive, flow: ImportFlow, services: Services) -> Run:
    """Return a FOUND run after a new look at its file: changed, incomplete, claimed by an earlier try, or gone."""
    now = services.now()
    item = _item_or_gone(run, onedrive)
    if item and item.parent_id == services.folder_id(flow.drive, flow.processing_folder):
        if _is_anothers(run, services):
            return _withdrawn(run, "Another run has the same file and imports it.", now)
        return _claimed(run, item, flow, now)  # our own move, whose answer was lost
    if run.again_of:  # it lies where it was filed, and may be no other than the one that the person saw there
        gone = "The file was moved, changed or deleted after a person asked for its import once more."
        return run if item and item.etag == run.file.etag else _withdrawn(run, gone, now)
    if item is None or item.parent_id != services.folder_id(flow.drive, flow.input_folder):
        return _withdrawn(run, "The file was taken out of the Input folder before its import began.", now)
    _refuse_malware(item)
    is_complete = item.size_bytes > 0 and not item.is_pending
    if item.size_bytes == 0 and now - run.opened > EMPTY_FOR:
        minutes = EMPTY_FOR.total_seconds() / 60
        raise FileRejected(f"{item.name} has been empty for {minutes:.0f} minutes. Export it again and copy it anew.")
    has_changed = item.etag != run.file.etag
    run = replace(run, file=replace(_facts(run, item, flow.input_folder), name=item.name, is_complete=is_complete))
    return run.waiting(INCOMPLETE_LOOK_S, now) if has_changed or not is_complete else run


def _is_anothers(run: Run, services: Services) -> bool:
    """Return whether another run has moved a FOUND run's file: looks at once may open two, in different places.

    Of two that nobody has begun the first in the lane has the file. The other one is deleted, so that a worker that is
    still about to begin it finds it gone when it saves.
    """
    for other in services.store.of_same_file(run):
        if other.state is not State.FOUND or other.order < run.order:
            return True
        services.store.drop(other)
    return False


def _claimed(run: Run, item: DriveItem, flow: ImportFlow, now: datetime) -> Run:
    _refuse_malware(item)
    log.info("file.claimed", size_bytes=item.size_bytes)
    return _as_seen(run.moved_to(State.CLAIMED, now), item, flow)


def _as_seen(run: Run, item: DriveItem, flow: ImportFlow) -> Run:
    return replace(run, file=_facts(run, item, flow.processing_folder), download_url=item.download_url)


def _withdrawn(run: Run, reason: str, now: datetime) -> Run:
    return replace(run.moved_to(State.WITHDRAWN, now), outcome=Outcome.WITHDRAWN, reason=reason)


def upload(run: Run, services: Services) -> Run:
    """CLAIMED: check that the file is a data package for a company, then stream it into F&O's blob storage."""
    flow, onedrive = _flow(run, services), _onedrive(run, services)
    # Assumed: the answer to the claiming move tells all that asking for the item does. Where it does not, it is asked.
    if not run.fresh or run.download_url is None:
        item = _item_or_gone(run, onedrive)
        if item is None or item.parent_id != services.folder_id(flow.drive, flow.processing_folder):
            taken_out = "The file was taken out of the Processing folder before its import began."
            return _withdrawn(run, taken_out, services.now())
        _refuse_malware(item)
        run = _as_seen(run, item, flow)
    if run.download_url is None:
        raise TryAgain(f"OneDrive gave no download address for {run.file.name}")

    company, file = flow.company or company_of(run.file.name), run.file
    with open_package(run.download_url, file.size_bytes, services.downloads) as package:
        facts = check_package(package.file)
        data_project = facts.project_for(flow.data_project)
        execution_id = new_execution_id(data_project, services.now())
        target = _finance(run, services).get_azure_write_url(f"{execution_id}.zip")
        sent = stream_to_blob(package.chunks(), target.url)
    if sent.size_bytes != file.size_bytes or (file.quick_xor_hash and sent.quick_xor_hash != file.quick_xor_hash):
        raise DataDamaged(
            f"{file.name} arrived changed: {sent.size_bytes} of {file.size_bytes} bytes, quickXorHash "
            f"{sent.quick_xor_hash} instead of {file.quick_xor_hash}. Nothing was imported; it is fetched again."
        )

    log.info("package.uploaded", size_bytes=sent.size_bytes, data_project=data_project, company=company)
    return replace(
        run.moved_to(State.UPLOADED, services.now()),
        download_url=None,
        company=company,
        data_project=data_project,
        entities=tuple(entity.name for entity in facts.entities),
        package=UploadedPackage(
            blob_name=f"{execution_id}.zip", blob_path=target.url.address, key_expires=target.url.expires
        ),
        package_url=target.url,
    )


def choose_id(run: Run, services: Services) -> Run:
    """UPLOADED: choose the execution id, so that it is saved before it is sent, with the package's key at hand."""
    now = services.now()
    if run.package is None:
        return run.moved_to(State.CLAIMED, now)
    url, expires = run.package_url, run.package.key_expires
    if url is None or (expires and expires - now < KEY_MARGIN):
        url, expires = _key_again(run.package, _finance(run, services))
    if url is None:
        log.info("package.key_lost", blob=run.package.blob_name)
        return replace(run.moved_to(State.CLAIMED, now), package=None)
    execution_id = run.package.blob_name.removesuffix(".zip")
    if any(submission.blob_name == run.package.blob_name for submission in run.submissions):
        execution_id = new_execution_id(run.data_project, now)  # an id is sent once, even where F&O refused it
    chosen = Submission(execution_id=execution_id, chosen=now, blob_name=run.package.blob_name)
    return replace(run.submitting(chosen, now), package=replace(run.package, key_expires=expires), package_url=url)


def submit(run: Run, services: Services) -> Run:
    """SUBMITTING: tell F&O to import, once. Where anyone may have told it already, look instead.

    The calls are taken in turn per environment: in parallel F&O fails them.
    """
    if not run.fresh or run.package_url is None:
        return _look_up(run, services)
    flow = _flow(run, services)
    try:
        with services.import_turn(flow.environment_url):
            answered = _finance(run, services).import_from_package(
                package_url=run.package_url,
                data_project=run.data_project,
                execution_id=run.execution_id,
                legal_entity=run.company,
                overwrite=flow.overwrite,
            )
    except AnswerLost:
        raise
    except (TryAgain, NeedsPerson) as error:
        return _not_begun(run, error, services.now())
    log.info("import.submitted", data_project=run.data_project, company=run.company)
    return execution.begun(run, answered, services)


def _not_begun(run: Run, error: AppError, now: datetime) -> Run:
    """Return the run to UPLOADED, or to CLAIMED where F&O could not read the package: F&O has not begun."""
    if isinstance(error, PackageUnreadable):
        return replace(execution.not_begun(run, error, State.CLAIMED, now), package=None)
    return execution.not_begun(run, error, State.UPLOADED, now)


def _look_up(run: Run, services: Services) -> Run:
    """SUBMITTING, and nobody knows whether F&O has begun: ask; else fence, wait, ask again, upload anew.

    The fence: the uploaded package is overwritten with nothing. From then on a request that is still on its way can
    only fail; if F&O had read the package before, its execution shows itself within the grace time.
    """
    now = services.now()
    submission = run.submissions[-1]
    if execution.is_known(submission.execution_id, _finance(run, services)):
        log.info("submission.found")
        return run.moved_to(State.EXECUTING, now)
    if submission.missing_since is None:
        # Saved before the fence: a worker that is still about to send this id has then lost the run, and what F&O says
        # to it about an empty package is not taken for an answer about the file.
        return run.with_submission(replace(submission, missing_since=now))
    if submission.fenced is None:
        return _fenced(run, submission, services)
    grace_over = submission.fenced + timedelta(seconds=services.settings.submit_grace_s)
    if now < grace_over:
        return run.waiting((grace_over - now).total_seconds(), now)
    log.warning("submission.lost", fenced=submission.fenced)
    return replace(run.moved_to(State.CLAIMED, now), package=None)


def _fenced(run: Run, submission: Submission, services: Services) -> Run:
    """Return the run with its package made empty; or waiting, where only F&O's own key running out can fence it."""
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
    """Return a new key to the uploaded package, and when it runs out; (None, None) where F&O gives none.

    Assumed: asked for the same uniqueFileName, F&O hands out a key to the same blob. Where it names another blob the
    caller takes the way that needs no key: upload anew, or wait until F&O's key has run out.
    """
    again = fno.get_azure_write_url(package.blob_name)
    return (again.url, again.url.expires) if again.url.address == package.blob_path else (None, None)


def watch(run: Run, services: Services) -> Run:
    """EXECUTING: ask F&O how far it is, and wait a little longer each time."""
    status = execution.status_of(run, _finance(run, services), services, stay=not run.fresh)
    if status is None:
        return run.finished(Outcome.UNKNOWN, execution.forgotten(run), services.now())
    if not status.is_final and run.fresh:
        return replace(run, fresh=False)  # it takes its time, so it is saved before anybody waits for it
    if not status.is_final:
        return execution.watched(run, status, services.settings.import_stuck_after, services)
    reason = "" if status is ExecutionStatus.SUCCEEDED else f"F&O ended the execution as {status.value}."
    return run.finished(Outcome(status.value), reason, services.now())


def file_away(run: Run, services: Services) -> Run:
    """FINISHED: move the file to Success or Error; beside a failed one put a report that a person can act on."""
    flow, onedrive = _flow(run, services), _onedrive(run, services)
    succeeded = run.outcome is Outcome.SUCCEEDED
    folder = flow.success_folder if succeeded else flow.error_folder
    folder_id = services.folder_id(flow.drive, folder)
    if run.fresh:
        # Where it has been moved or changed since it was uploaded this fails, and the next try looks at it first.
        item = _moved(run, onedrive.move, folder, services, etag=run.file.etag)
    elif found := _item_or_gone(run, onedrive):
        is_there = found.parent_id == folder_id
        item = found if is_there else _moved(run, onedrive.move, folder, services, etag=found.etag)
    else:
        gone = f"{run.reason} The file itself was deleted before it could be filed.".strip()
        return replace(run.moved_to(State.FILED, services.now()), reason=gone)
    run = replace(run, file=replace(_facts(run, item, folder), name=item.name))
    if not succeeded:
        run = report.put_beside(run, onedrive, folder_id, _finance(run, services), services)
        if run.due > services.now():
            return run  # F&O is still making its error files
    return run.moved_to(State.FILED, services.now())


def _moved(run: Run, move: Callable[..., DriveItem], folder: str, services: Services, *, etag: str | None) -> DriveItem:
    """Move the run's file to a folder under its own name; where that is taken, under one that is the run's alone."""
    drive = _flow(run, services).drive
    folder_id = services.folder_id(drive, folder)
    services.looks.note_change(services.now())
    try:
        try:
            return move(run.file.item_id, to_folder_id=folder_id, name=run.file.name, etag=etag)
        except NameTaken:
            own = name_with(run.file.name, run.run_id)
            return move(run.file.item_id, to_folder_id=folder_id, name=own, etag=etag)
    except NotFound:
        services.forget_folder(drive, folder)  # it may be the folder that is gone: it is made anew at the next try
        raise


def _item_or_gone(run: Run, onedrive: OneDrive) -> DriveItem | None:
    """Return the run's file as it is now; None when OneDrive has denied it so often that it is gone."""
    try:
        return onedrive.get(run.file.item_id)
    except NotFound:
        if run.attempts < TRIES_BEFORE_GONE:
            raise
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
    return services.import_flow(run.integration)


def _onedrive(run: Run, services: Services) -> OneDrive:
    return services.onedrive(_flow(run, services).drive)


def _finance(run: Run, services: Services) -> FinanceOperations:
    return services.finance_operations(_flow(run, services).environment_url)


STEPS: Final[Mapping[State, Step]] = {
    State.FOUND: claim,
    State.CLAIMED: upload,
    State.UPLOADED: choose_id,
    State.SUBMITTING: submit,
    State.EXECUTING: watch,
    State.FINISHED: file_away,
}

# Bytes up to which a package takes about a second; while a larger one is on its way people see how far it is.
SMALL: Final = 8 * 1024 * 1024


def passes_unsaved(run: Run) -> bool:
    """Return whether a run that goes on at once may do so without being saved in its state.

    After a crash a FOUND run finds its file in Processing and uploads it, once more if need be: nothing is imported
    before SUBMITTING is saved. A SUBMITTING one asks F&O whether it knows the execution, and then how it ended. A
    failure is saved at once, so that a person hears of it whatever happens to the file.
    """
    match run.state:
        case State.CLAIMED | State.UPLOADED:
            return run.file.size_bytes <= SMALL
        case State.EXECUTING:
            return run.fresh
        case State.FINISHED:
            return run.outcome is Outcome.SUCCEEDED
        case _:
            return False


FLOW: Final = Flow(steps=STEPS, queue=IMPORT_WORK, passes_unsaved=passes_unsaved)
