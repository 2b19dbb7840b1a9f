"""In which order files of imports are taken up: a file's place in its lane, and imports that go before others."""

from datetime import datetime
from typing import Final

from shared.app import Services
from shared.clients.graph.drive_item import DriveItem
from shared.config.model import BY_NAME, ImportFlow
from shared.config.values import folded, matches_name
from shared.imports.companies import company_folders
from shared.log import log
from shared.run_settings import known_import_of
from shared.runs.addresses import kept_key, key_of, moment_of, sort_key_after, sort_key_by_name
from shared.runs.lane import LaneRow
from shared.runs.record import Damaged
from shared.runs.run import Run
from shared.runs.states import State
from shared.runs.values import Wait

# Seconds until a file asks again whether those are done that go before it: half the time that it has waited, within
# these bounds.
FIRST_LOOK_S: Final = 5.0
LONGEST_LOOK_S: Final = 60.0


def sort_key_of_file(flow: ImportFlow, name: str, arrived: datetime, item_id: str, begun: str) -> str:
    """Return a file's place in its lane: by name or by age, but behind the run that is under way.

    begun: the place of that run, "" if there is none. A file can be older than one that came before it: copying keeps
    the date. It must not become the lane's first run while F&O works on another file of the lane.
    """
    if flow.order.by == BY_NAME:
        return sort_key_by_name(begun, name, arrived, item_id)
    return sort_key_after(begun, arrived, item_id)


def find_stopped_run(flow: ImportFlow, lane: str, services: Services) -> Run | None:
    """Return the run of an import at which strictOrder has stopped a lane; None if it is not stopped."""
    pause = services.store.pause_of(lane) if flow.strict_order else None
    try:
        run = services.store.run_at(pause.run) if pause else None
    except Damaged:
        return None
    return run if run and run.flow_name == flow.name else None


def arrival_of(name: str, sub_folder: str, modified: datetime, stopped: Run | None) -> datetime:
    """Return when a file counts as having arrived: one that replaces the file that has stopped its lane, when that did.

    stopped: the run of that file. The lane goes on once a person says so, and then with the file that was put right. A
    file of that name in another sub-folder is for another company.
    """
    if stopped and (folded(stopped.file.name), folded(stopped.file.sub_folder)) == (folded(name), folded(sub_folder)):
        return moment_of(stopped.sort_key)
    return modified


def wait_for_earlier(run: Run, flow: ImportFlow, services: Services) -> Run | None:
    """Return the run put off if an import that goes before its own is not done; None if it may begin."""
    now = services.now()
    for earlier in services.settings.flows.imports_before(flow):
        found = _find_open(earlier, services)
        if found is None:
            continue
        what, holder, address = found
        since = run.waits.since if run.waits and run.waits.what == what else now
        wait_s = min(max((now - since).total_seconds() / 2, FIRST_LOOK_S), LONGEST_LOOK_S)
        log.info("run.waits", step="claim", what=what, holder=holder)
        wait = Wait(what=what, since=now, holder=holder, holder_address=address)
        stuck_after = flow.stuck_after(services.settings.import_stuck_after)
        return run.waiting_for(wait, wait_s, stuck_after, now)
    return None


def _find_open(flow: ImportFlow, services: Services) -> tuple[str, str, str] | None:
    """Return what is not done of an import, in words, with the address of its run if it has one; None: nothing.

    Its runs are those in its lane of today, or in any lane if its files have several. The files in Input are listed as
    well, for the next scan may not have seen one that came before the file that asks. A file whose run a person has
    cancelled counts as done.
    """
    what = f"the import {flow.name} (it goes first)"
    if row := _first_open(flow, services):
        return what, f"{row.file_name} is not done.", row.address
    files = _list_files(flow, services)
    if not files:
        return None
    cancelled = {key_of(row.sort_key) for row in services.store.open_lanes().rows if row.state is State.CANCELLED}
    for item in files:
        if kept_key(item.item_id) not in cancelled:
            return what, f"{item.name} is in {flow.input_folder}.", ""
    return None


def _first_open(flow: ImportFlow, services: Services) -> LaneRow | None:
    if not flow.has_many_lanes:
        return services.store.first_open(flow.lane, {flow.name})
    rows = services.store.open_lanes().rows
    return next((row for row in rows if row.flow_name == flow.name and row.state is not State.CANCELLED), None)


def _list_files(flow: ImportFlow, services: Services) -> list[DriveItem]:
    """Return the files in Input that an import takes, those in the sub-folders of its companies included."""
    onedrive, ignored = services.onedrive(flow.drive), services.settings.import_ignored_names
    with services.folders.using(flow.drive, flow.input_folder) as folder_id:
        items = list(onedrive.list_items(folder_id))
    if flow.has_company_folders:
        folders = [item for item in items if item.is_folder and not matches_name(item.name, ignored)]
        companies = company_folders(flow, [folder.name for folder in folders], services)
        items += [
            item for folder in folders if folder.name in companies for item in onedrive.list_items(folder.item_id)
        ]
    files = [item for item in items if item.is_file and not matches_name(item.name, ignored)]
    return [item for item in files if services.settings.flows.taker_of(flow, item.name) is flow]


def rest_s(run: Run, services: Services) -> int:
    """Return the least number of seconds between the end of a run and the start of the next one of its lane."""
    flow = known_import_of(run, services)
    return flow.order.pause_seconds if flow else 0
