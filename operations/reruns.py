"""Run again: a new run of an ended run's file, or of every one that a filter shows.

Which run that is to be is saved in the ended one before it is opened. So whoever asks twice, or at the same moment as
somebody else, gets the same one; and should the app die in between, the next who asks opens it.
"""

from dataclasses import replace
from datetime import datetime

from operations import list_view
from operations.actions import (
    BUSY,
    ActionResult,
    Requester,
    add_step,
    find_run,
    is_ended_anew,
    is_stopped_at,
    open_run,
    refuse,
    refuse_in_drain,
    resume_at,
    wake_lane,
)
from operations.filters import Filters
from shared.app import Services
from shared.clients.graph.drive_item import DriveItem
from shared.config.model import BY_NAME, ImportFlow
from shared.errors import AppError, NotFound, RecordChanged
from shared.exports import schedule as export_schedule
from shared.imports import places, rules
from shared.imports.order import sort_key_of_file
from shared.log import log
from shared.runs.addresses import address_of, address_of_rerun, moment_of, sort_key_after, sort_key_before_all
from shared.runs.rows import RunRow
from shared.runs.run import Run, new_run
from shared.runs.states import Direction, State
from shared.runs.values import FileFacts, Rerun
from shared.scan.scan import pause_with_flow


def run_again(address: str, requester: Requester, services: Services) -> ActionResult | None:
    """Open a rerun of an ended run; None if there is no such run."""
    old = find_run(address, services)
    if not isinstance(old, Run):
        return old
    if old.ended is None:
        return refuse(
            "This run has not ended, so F&O could import its rows twice. Wait until it ends, or cancel it first.",
            address,
        )
    if old.rerun and services.store.run_at(address_of_rerun(old.rerun)):
        for lane in {old.lane, old.rerun.lane}:  # in case the app died in between
            resume_at(address_of(old), lane, services)
        return ActionResult(done=True, message="This run was already run again.", run=address_of_rerun(old.rerun))
    if refused := refuse_in_drain(services, address):
        return refused
    if is_ended_anew(old, services):
        return refuse(BUSY, address)
    new = _plan(old, requester, services)
    if isinstance(new, ActionResult):
        return new
    if old.rerun is None:
        rerun = Rerun(run_id=new.run_id, opened=new.opened, lane=new.lane, sort_key=new.sort_key)
        try:
            services.store.save_ended(replace(add_step(old, "run_again", requester, services.now()), rerun=rerun))
        except RecordChanged:
            return run_again(address, requester, services)  # somebody else asked at this moment
    log.info(
        "action.run_again",
        run_id=old.run_id,
        new_run_id=new.run_id,
        lane=new.lane,
        by=requester.by,
        why=requester.why,
    )
    if flow := services.settings.flows.import_named(new.flow_name):
        pause_with_flow(flow, [new.lane], services)
    opened = open_run(new, services)
    if old.lane != new.lane:  # the settings were mended since
        resume_at(address_of(old), old.lane, services)
        wake_lane(old.lane, services)
    return opened


def _plan(old: Run, requester: Requester, services: Services) -> Run | ActionResult:
    """Return the rerun of an ended run, not opened yet; or why there can be none."""
    new = _plan_import(old, services) if old.direction is Direction.IMPORT else _plan_export(old, services)
    if isinstance(new, ActionResult):
        return new
    if chosen := old.rerun:  # it was chosen before, and not opened
        new = replace(new, run_id=chosen.run_id, opened=chosen.opened, lane=chosen.lane, sort_key=chosen.sort_key)
    new = replace(new, rerun_of=address_of(old), rerun_count=old.rerun_count + 1)
    return add_step(new, "run_again", requester, services.now())


def _plan_import(old: Run, services: Services) -> Run | ActionResult:
    flow = services.settings.flows.import_named(old.flow_name)
    if flow is None:
        return refuse(f"The settings no longer have an import named '{old.flow_name}'. Add it first.")
    name = old.file.name
    try:
        item = services.onedrive(flow.drive).get(old.file.item_id)
    except NotFound:
        return refuse(f"{name} is no longer in OneDrive. Copy it into {flow.input_folder} to import it.")
    if _is_in_input(old, item, flow, services):
        return refuse(f"{name} is in {flow.input_folder}; the app imports it from there by itself.")
    processing = places.processing_folder(old, flow)
    if services.folders.is_at(flow.drive, processing, item.parent_id):
        return refuse(f"{name} is in {processing}: another run is processing it.")
    if not _is_unchanged(old.file, item):
        return refuse(f"{name} has changed since then. Move it into {flow.input_folder} to import it as it is now.")
    now = services.now()
    lane = rules.lane_of(flow, item.name, old.file.sub_folder)
    return new_run(
        direction=Direction.IMPORT,
        state=State.FOUND,
        flow_name=flow.name,
        lane=lane,
        sort_key=_sort_key(old, flow, lane, item, services),
        now=now,
        data_project=rules.known_project(flow, item.name, old.file.sub_folder),
        file=replace(
            old.file,
            name=item.name,
            full_name=old.file.full_name if item.name == old.file.name else "",
            etag=item.etag,
            is_complete=True,
            web_url=item.web_url,
        ),
    )


def _is_in_input(old: Run, item: DriveItem, flow: ImportFlow, services: Services) -> bool:
    """Return whether a scan finds a file where it is: in Input, or in the sub-folder of a company."""
    folders = dict.fromkeys((flow.input_folder, places.input_folder(old, flow)))
    if any(services.folders.is_at(flow.drive, folder, item.parent_id) for folder in folders):
        return True
    if not flow.has_company_folders:
        return False
    # Perhaps in that of another company.
    parent = services.onedrive(flow.drive).get(item.parent_id)
    return services.folders.is_at(flow.drive, flow.input_folder, parent.parent_id)


def _sort_key(old: Run, flow: ImportFlow, lane: str, item: DriveItem, services: Services) -> str:
    """Return the place of a rerun in its lane: before all others if the lane was stopped at the old run."""
    if lane == old.lane and is_stopped_at(old, services):
        return sort_key_before_all(moment_of(old.sort_key), item.item_id)
    if flow.order.by == BY_NAME:
        return sort_key_of_file(flow, item.name, services.now(), item.item_id, services.store.last_under_way(lane))
    head = services.store.head(lane)
    return sort_key_after(head.sort_key if head else "", services.now(), item.item_id)


def _is_unchanged(then: FileFacts, item: DriveItem) -> bool:
    """Return whether a file has the content that it had; moving and renaming it changes its eTag alone."""
    if then.etag and then.etag == item.etag:
        return True
    return bool(then.quick_xor_hash) and then.quick_xor_hash == item.quick_xor_hash


def _plan_export(old: Run, services: Services) -> Run | ActionResult:
    flow = services.settings.flows.export_named(old.flow_name)
    if flow is None:
        return refuse(f"The settings no longer have an export named '{old.flow_name}'. Add it first.")
    if head := services.store.head(flow.lane):
        return refuse(f"An export of {flow.data_project} is running. Wait until it ends.", head.address)
    return export_schedule.plan(flow, services.now())


def run_all_again(filters: Filters, before: datetime, requester: Requester, services: Services) -> ActionResult:
    """Run again every ended run that a filter shows and that was opened before a moment, as many as go at once.

    before: when the person saw the list. A run that was opened since, perhaps by the same person's first press, is none
    of those that were meant.
    """
    if not filters.is_any:
        return refuse("Filter the list first: without a filter every file would be imported once more.")
    if filters.no_ended:
        return refuse(f"No run in the state {filters.state} has ended, so none can be run again. Leave the state out.")
    if refused := refuse_in_drain(services):
        return refused
    found = list_view.find_reruns(filters, before, services)
    each = tuple(result for row in found.rows if (result := _run_one_again(row, requester, services)))
    message = f"{sum(result.done for result in each)} of {len(each)} are run again."
    if not each:
        message = "Nothing to do: no matching ended run is left to run again."
    if found.has_more:
        message += " More runs match: repeat this when these have started."
    return ActionResult(done=True, message=message, each=each)


def _run_one_again(row: RunRow, requester: Requester, services: Services) -> ActionResult | None:
    try:
        result = run_again(row.address, requester, services)
    except AppError as error:
        result = refuse(str(error), row.address)
    return result and replace(result, message=f"{row.file_name}: {result.message}")
