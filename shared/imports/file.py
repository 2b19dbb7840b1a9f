"""The file of an import in OneDrive: where it is, what it is, and how the app moves it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from shared.app import Services
from shared.clients.blobs.quick_xor_hash import is_same_content
from shared.clients.fno.client import FinanceOperations
from shared.clients.graph.drive_item import DriveItem
from shared.clients.graph.onedrive import OneDrive
from shared.config.model import ImportFlow
from shared.errors import (
    FileMissing,
    FileRejected,
    NameTaken,
    NotFound,
)
from shared.imports import places
from shared.log import log
from shared.run_settings import import_flow_of
from shared.runs.machine import StepFailed
from shared.runs.run import Run, name_with, name_without, own_name
from shared.runs.states import State
from shared.runs.values import FileFacts

# OneDrive may answer 404 for an item that it has just shown (seen for up to minutes). After so many answers in a row
# the folders in which the app would have it are listed; only if none shows it, it is gone.
NOT_FOUND_BEFORE_GONE: Final = 5

# By how much OneDrive's date of a file may be ahead of our clock.
DATES_DIFFER_BY: Final = timedelta(hours=1)


def flow_of(run: Run, services: Services) -> ImportFlow:
    """Return the import whose settings a run goes by. Raises NeedsPerson if neither settings nor record know it."""
    return import_flow_of(run, services)


def onedrive_of(run: Run, services: Services) -> OneDrive:
    """Return the client of its drive."""
    return services.onedrive(flow_of(run, services).drive)


def finance_of(run: Run, services: Services) -> FinanceOperations:
    """Return the client of its F&O environment."""
    return services.finance_operations(flow_of(run, services).environment_url)


def move(run: Run, move: Callable[..., DriveItem], folder: str, services: Services, *, etag: str | None) -> DriveItem:
    """Move the run's file to a folder under its own name; where that is taken, under one that is the run's alone."""
    drive = flow_of(run, services).drive
    with services.folders.using(drive, folder) as folder_id:
        services.scan_memory.throttle.note_change(services.now())
        try:
            return move(run.file.item_id, to_folder_id=folder_id, name=run.file.name, etag=etag)
        except NameTaken:
            own = name_with(run.file.name, run.run_id)
            return move(run.file.item_id, to_folder_id=folder_id, name=own, etag=etag)


def find_again(run: Run, onedrive: OneDrive, services: Services) -> tuple[Run, DriveItem | None]:
    """Find the file by its id; None once it is gone. Raises FileMissing while it may only seem so."""
    try:
        item: DriveItem | None = onedrive.get(run.file.item_id)
    except NotFound as error:
        if run.not_found + 1 < NOT_FOUND_BEFORE_GONE:
            raise FileMissing(error.message, call=error.call) from error
        item = _find_in_folders(run, onedrive, services)
        if item is None:
            log.warning("file.gone", item_id=run.file.item_id, not_found=run.not_found + 1)
            return run, None
    return (replace(run, not_found=0) if run.not_found else run), item


def _find_in_folders(run: Run, onedrive: OneDrive, services: Services) -> DriveItem | None:
    """Return a file that OneDrive denies by its id, if Input or Processing shows it all the same."""
    flow = flow_of(run, services)
    for folder in (places.input_folder(run, flow), places.processing_folder(run, flow)):
        with services.folders.using(flow.drive, folder) as folder_id:
            for item in onedrive.list_files(folder_id):
                if item.item_id == run.file.item_id:
                    return replace(item, parent_id=folder_id)
    return None


def refuse_malware(run: Run, item: DriveItem, folder: str) -> None:
    """Raise StepFailed with FileRejected for a file of a folder in which OneDrive found malware."""
    if item.has_malware:
        text = (
            f"OneDrive found malware in {item.name}, so it is not imported. Have the system that created the file "
            "checked."
        )
        raise StepFailed(replace(run, file=facts_of(run, item, folder)), FileRejected(text))


def facts_of(run: Run, item: DriveItem, folder: str) -> FileFacts:
    """Return the file of a run as OneDrive shows it now, in a folder."""
    return replace(
        run.file,
        size_bytes=item.size_bytes,
        etag=item.etag,
        quick_xor_hash=item.quick_xor_hash or "",
        folder=folder,
        web_url=item.web_url,
    )


def filed_facts_of(run: Run, item: DriveItem, folder: str) -> FileFacts:
    """Return the file of a run as it was filed: if its name was cut for the run's id, that name is kept as well."""
    before, facts = run.file, replace(facts_of(run, item, folder), name=item.name)
    if item.name == before.name:
        return facts
    is_cut = item.name == name_with(before.name, run.run_id) and name_without(item.name) != before.name
    return replace(facts, full_name=own_name(before) if is_cut else "")


def with_facts_of(run: Run, item: DriveItem, flow: ImportFlow) -> Run:
    """Return a run whose file was just seen in Processing."""
    in_process = replace(run.in_process, download_url=item.download_url)
    return replace(run, file=facts_of(run, item, places.processing_folder(run, flow)), in_process=in_process)


def belongs_to_another_run(run: Run, services: Services) -> bool:
    """Return whether another run has a FOUND run's file: scans at once may open two, in different places and lanes.

    Of two that nobody has begun the first has the file. The other one is deleted, so that a worker that is still about
    to begin it finds it gone when it saves.
    """
    for other in services.store.of_same_file(run):
        if other.state is not State.FOUND or (other.sort_key, other.lane) < (run.sort_key, run.lane):
            return True
        services.store.delete_waiting(other)
    return False


def has_new_content(run: Run, item: DriveItem) -> bool:
    """Return whether a run's file holds something else than when the run last saw it."""
    then = run.file
    return not is_same_content((then.size_bytes, then.quick_xor_hash), (item.size_bytes, item.quick_xor_hash))


def why_not_in_input(run: Run, item: DriveItem | None, flow: ImportFlow, services: Services) -> str:
    """Return why a file that is not in Input any more is none of this run's."""
    if item and belongs_to_another_run(run, services):
        return "Another run is importing the same file."
    others = [each for each in services.settings.flows.imports if each.drive == flow.drive]
    plain = [folder for each in others for folder in each.filed_in.values()]
    own = [places.within(each, run.file.sub_folder) for each in flow.filed_in.values()]
    folders = dict.fromkeys((*own, *plain))
    folder = next((each for each in folders if item and services.folders.is_at(flow.drive, each, item.parent_id)), None)
    if folder:
        return f"The file is already in {folder}: another run or a person moved it."
    return "The file was removed from the Input folder before its import started."


def find_claimed(run: Run, flow: ImportFlow, services: Services) -> tuple[Run, DriveItem | None]:
    """Return a CLAIMED run with its file in Processing; the run withdrawn, and None, if the file is there no longer.

    Raises StepFailed with FileRejected if OneDrive found malware in it.
    """
    run, item = find_again(run, onedrive_of(run, services), services)
    if item is None or not is_in_processing(item, run, flow, services):
        removed = "The file was removed from the Processing folder before its import started."
        return run.withdrawn(removed, services.now()), None
    refuse_malware(run, item, run.file.folder)
    return run, item


def is_in_processing(item: DriveItem, run: Run, flow: ImportFlow, services: Services) -> bool:
    """Return whether a claimed file is in Processing: that of the settings, or that of the settings when it came."""
    configured = places.processing_folder(run, flow)
    folders = dict.fromkeys((configured, run.file.folder or configured))
    return any(services.folders.is_at(flow.drive, folder, item.parent_id) for folder in folders)


def is_too_young(item: DriveItem, flow: ImportFlow, now: datetime) -> bool:
    """Return whether a file was last modified too short a time ago for its flow.

    A date that is far ahead says nothing: such a file would wait for years.
    """
    least, age = timedelta(seconds=flow.files.minimum_age_seconds), now - item.last_modified
    return bool(least) and -DATES_DIFFER_BY < age < least


def why_incomplete(item: DriveItem) -> str:
    """Return what a person is told about a file that cannot be imported yet."""
    if item.is_empty:
        return f"{item.name} is still empty"
    if item.is_pending:
        return f"OneDrive is still processing {item.name}"
    return f"{item.name} is still being written: it changed since the last check"
