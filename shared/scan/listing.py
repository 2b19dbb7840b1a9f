"""What lies in an Input folder: the files that its imports take, and what is left where it is."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from shared.app import Services
from shared.clients.graph.drive_item import DriveItem
from shared.concurrency import Attempt, attempted, gravest, map_concurrently
from shared.config.model import ImportFlow
from shared.config.values import matches_name
from shared.errors import NotFound
from shared.imports import places
from shared.imports.companies import company_folders
from shared.imports.file import is_too_young
from shared.log import log
from shared.scan.memory import Leftover


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """A file in an Input folder, and the import that takes it."""

    item: DriveItem
    flow: ImportFlow
    sub_folder: str = ""  # of Input; "": it is directly in Input


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What an Input folder holds."""

    files: Sequence[FoundFile]
    too_young: Sequence[FoundFile] = ()  # those that are taken later (files.minimumAgeSeconds)
    error: Exception | None = None  # why sub-folders could not be listed


def list_folder(flows: Sequence[ImportFlow], services: Services) -> Listing:
    """List an Input folder, and its sub-folders if they are companies; note what is left there.

    flows: the imports that share it. Names that are ignored count for nothing. Raises what listing raises.
    """
    flow = flows[0]
    with services.folders.using(flow.drive, flow.input_folder) as folder_id:
        seen = _unignored(services.onedrive(flow.drive).list_items(folder_id), flow, services)
    found, error = [Leftover(item) for item in seen], None
    if flow.has_company_folders:
        folders = [item for item in seen if item.is_folder]
        names = [folder.name for folder in folders]
        companies = frozenset[str]().union(*(company_folders(each, names, services) for each in flows))
        listed = [folder for folder in folders if folder.name in companies]
        found = [each for each in found if each.item not in listed]
        attempts = map_concurrently(partial(_attempt_sub_folder, flow, services), listed)
        found += [each for attempt in attempts for each in attempt.result or ()]
        error = gravest({folder.name: attempt for folder, attempt in zip(listed, attempts, strict=True)})
    # A file that was moved meanwhile is seen twice; it is where it was seen last.
    found = list({each.item.item_id: each for each in found}.values())
    files = [file for each in found if each.item.is_file and (file := _taken(each, flow, services))]
    taken = {file.item.item_id for file in files}
    rest = [each for each in found if each.item.item_id not in taken]
    services.scan_memory.strays_in[flow.drive, flow.input_folder] = list(_strays(rest, flow, services))
    now = services.now()
    return Listing(
        files=[each for each in files if not is_too_young(each.item, each.flow, now)],
        too_young=[each for each in files if is_too_young(each.item, each.flow, now)],
        error=error,
    )


def _attempt_sub_folder(flow: ImportFlow, services: Services, folder: DriveItem) -> Attempt[Sequence[Leftover]]:
    return attempted(f"list {folder.name}", partial(_list_sub_folder, flow, services, folder))


def _list_sub_folder(flow: ImportFlow, services: Services, folder: DriveItem) -> Sequence[Leftover]:
    try:
        items = _unignored(services.onedrive(flow.drive).list_items(folder.item_id), flow, services)
    except NotFound:
        return ()  # it was deleted or moved meanwhile; else the next scan lists it
    return [Leftover(item, folder.name) for item in items]


def _unignored(items: Iterable[DriveItem], flow: ImportFlow, services: Services) -> list[DriveItem]:
    listed = list(items)
    seen = [item for item in listed if not matches_name(item.name, services.settings.import_ignored_names)]
    if len(seen) < len(listed):
        log.info("scan.ignored", flow_name=flow.name, items=len(listed) - len(seen))
    return seen


def _taken(found: Leftover, flow: ImportFlow, services: Services) -> FoundFile | None:
    taker = services.settings.flows.taker_of(flow, found.item.name)
    return FoundFile(item=found.item, flow=taker, sub_folder=found.sub_folder) if taker else None


def _strays(rest: Iterable[Leftover], flow: ImportFlow, services: Services) -> Iterator[Leftover]:
    """Yield what nobody has meant to be there: no folder of the settings."""
    for each in rest:
        folder = places.within(flow.input_folder, each.sub_folder)
        if each.item.is_file or not services.settings.flows.leads_to_ours(flow.drive, folder, each.item.name):
            yield each
