"""The package of an export on its way into the Output folder: downloaded, checked, and uploaded under its name."""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from shared.app import Services
from shared.clients.blobs.quick_xor_hash import QuickXorHash, is_same_content
from shared.clients.blobs.read import RemoteFile, open_blob
from shared.clients.fno.client import FinanceOperations
from shared.clients.graph.drive_item import DriveItem
from shared.clients.graph.onedrive import OneDrive
from shared.clients.graph.upload import CHUNK
from shared.errors import AppError, DataDamaged, NameHeld, NameTaken, NotFound, TryAgain
from shared.log import log
from shared.run_settings import export_flow_of
from shared.runs.run import Run, name_with
from shared.runs.values import Submission

# How every zip begins, and what stands in its last bytes. A proxy on the way may answer a download with a page of its
# own, and a package that was cut off on the way into blob storage has no end.
# https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT 4.3.16
ZIP: Final = b"PK"
ZIP_END: Final = b"PK\x05\x06"
LAST_BYTES: Final = 22 + 65_535  # the record of the end, and the longest comment that may follow
# F&O deletes the package of an export after 7 days. facts: data-management-api, "Retention".
KEPT_FOR: Final = timedelta(days=7)
# Failed tries of the step after which an export is delivered though OneDrive does not tell whether it is checked out.
TRIES_TO_ASK: Final = 4
# An upload that nobody goes on with holds its name for 15 minutes in OneDrive for Business, and the next one may break
# off as well: this many looks, at least so many seconds apart, take more than an hour. Assumed: a personal OneDrive,
# which keeps uploads for days, does not hold their names.
HELD_S: Final = 180.0
HELD_TRIES: Final = 20


def open_package_of(submission: Submission, fno: FinanceOperations) -> RemoteFile | None:
    """Return the package of a finished export, open for reading; None where there is none, yet or any more."""
    try:
        address = fno.exported_package_url(submission.execution_id)
        return open_blob(address) if address else None
    except NotFound as error:
        log.warning("export.no_package", reason=error.message)
        return None


def deliver_package(run: Run, submission: Submission, package: RemoteFile, services: Services) -> Run:
    """Return the run with one more of its packages in the Output folder."""
    flow = export_flow_of(run, services)
    is_first = not run.file.item_id
    name = run.file.name if is_first else name_with(run.file.name, submission.execution_id[-12:])
    with (
        package,
        services.room.taken(package.size_bytes),
        services.folders.using(flow.drive, flow.output_folder) as folder_id,
    ):
        item = _copy_into(package, services.onedrive(flow.drive), folder_id, name, run)
    _check_in(run, item, services.onedrive(flow.drive))
    log.info("export.delivered", name=item.name, size_bytes=package.size_bytes, execution=submission.execution_id)
    delivered = run.with_submission(replace(submission, delivered_as=item.name))
    file = replace(
        run.file,
        item_id=item.item_id,
        name=item.name,
        size_bytes=package.size_bytes,
        etag=item.etag,
        quick_xor_hash=item.quick_xor_hash or "",
        folder=flow.output_folder,
        web_url=item.web_url,
    )
    return replace(delivered, file=file if is_first else run.file, due=services.now())


def _check_in(run: Run, item: DriveItem, onedrive: OneDrive) -> None:
    """Check an export in: in a library that requires check-out nobody sees it before that.

    If it fails, the next try finds the file. A drive that does not tell whether it is checked out, after a few tries,
    holds no export up.
    """
    try:
        if not onedrive.is_checked_out(item.item_id):
            return
    except AppError as error:
        if run.attempts < TRIES_TO_ASK:
            raise
        log.warning("file.not_checked_in", name=item.name, reason=error.message)
        return
    if onedrive.check_in(item.item_id):
        log.info("file.checked_in", name=item.name)


def _copy_into(package: RemoteFile, onedrive: OneDrive, folder_id: str, name: str, run: Run) -> DriveItem:
    """Stream a package into the folder; return the file that is there afterwards, checked by its hash.

    Where another file has the name, the package gets one that is the run's alone. A name without a file is held by an
    upload: perhaps by one of a worker that stands still, which would deliver the package a second time.
    """
    for each in (name, name_with(name, run.run_id)):
        try:
            return _upload(package, onedrive, folder_id, each)
        except NameTaken as error:
            there = next((i for i in onedrive.list_files(folder_id) if i.name.casefold() == each.casefold()), None)
            if there is None and run.held_name_looks < HELD_TRIES:
                raise NameHeld(f"An unfinished upload holds the name {each}", retry_after_s=HELD_S) from error
            if there and _is_same(there, package):
                log.info("export.was_delivered", name=each)
                return there
    raise TryAgain(f"Other files or uploads already use both the name {name} and this export's own unique name")


def _upload(package: RemoteFile, onedrive: OneDrive, folder_id: str, name: str) -> DriveItem:
    checksum, sent, last = QuickXorHash(), 0, b""
    item: DriveItem | None = None
    with onedrive.open_upload(folder_id, name, package.size_bytes) as session:
        for chunk in package.chunks(CHUNK):
            last = (last + chunk[-LAST_BYTES:])[-LAST_BYTES:]
            is_cut_off = sent + len(chunk) == package.size_bytes and not _has_zip_end(last)
            if is_cut_off or (not sent and not chunk.startswith(ZIP)):
                raise DataDamaged(
                    f"The file {name} from F&O's blob storage is not a complete zip; it is downloaded again"
                )
            checksum.update(chunk)
            item = session.put(sent, chunk)
            sent += len(chunk)
        if item is None or sent != package.size_bytes:
            raise DataDamaged(
                f"{name} is incomplete: {sent} of {package.size_bytes} bytes arrived; it is downloaded again"
            )
    if not is_same_content((item.size_bytes, item.quick_xor_hash), (sent, checksum.base64())):
        onedrive.delete(item.item_id)  # nobody must take it for the export
        raise DataDamaged(
            f"{name} has {item.size_bytes} bytes and the quickXorHash {item.quick_xor_hash} in OneDrive, but "
            f"{sent} bytes with {checksum.base64()} were sent. It was deleted and is uploaded again"
        )
    return item


def _has_zip_end(last: bytes) -> bool:
    """Return whether the last bytes of a file hold the record with which a zip ends, and its comment, as a whole."""
    at = last.rfind(ZIP_END)
    comment_bytes = int.from_bytes(last[at + 20 : at + 22], "little")
    return at >= 0 and len(last) >= at + 22 + comment_bytes


def _is_same(there: DriveItem, package: RemoteFile) -> bool:
    """Return whether a file in OneDrive is the package that we would upload: by its hash, without one by its size."""
    if not there.quick_xor_hash:
        return there.size_bytes == package.size_bytes
    checksum = QuickXorHash()
    for chunk in package.chunks(CHUNK):
        checksum.update(chunk)
    return checksum.base64() == there.quick_xor_hash
