"""In which order files of imports are taken up: a file's place in its lane, and imports that go before others."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.alerts import run_alerts
from shared.app import Services
from shared.clients.graph.drive_item import DriveItem
from shared.config.model import BY_NAME, ImportFlow, PartialFiling
from shared.config.values import folded, matches_name
from shared.imports import places
from shared.imports.companies import company_folders
from shared.imports.failed_files import FailedFile, failed_file_of
from shared.log import log
from shared.run_settings import known_import_of
from shared.runs.addresses import (
    address_of,
    kept_key,
    key_of,
    parse_address,
    sort_key_after,
    sort_key_by_name,
)
from shared.runs.lane import LaneRow, direction_of
from shared.runs.record import Damaged
from shared.runs.run import Run, name_without, own_name
from shared.runs.states import NOT_BEGUN, Direction, Outcome, State
from shared.runs.values import About, Wait

# Seconds until a file asks again whether those are done that go before it: half the time that it has waited, within
# these bounds.
FIRST_LOOK_S: Final = 5.0
LONGEST_LOOK_S: Final = 60.0

_NOT_SUCCEEDED: Final = "did not succeed (afterSuccess)"


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
    stop = services.store.stop_at_file(lane) if flow.strict_order else None
    try:
        run = services.store.run_at(stop.run) if stop else None
    except Damaged:
        return None
    return run if run and run.flow_name == flow.name else None


def replaces(name: str, sub_folder: str, stopped: Run | None) -> bool:
    """Return whether a file replaces the one at which its lane was stopped, and so goes before all others.

    stopped: the run of that file. The lane goes on once a person says so, and then with the file that was put right. A
    file of that name in another sub-folder is for another company.
    """
    if stopped is None or stopped.ended is None:  # it is about to end, and nothing may get a place before it
        return False
    its_name = own_name(stopped.file)  # Error may have had a file of that name already
    return (folded(its_name), folded(stopped.file.sub_folder)) == (folded(name_without(name)), folded(sub_folder))


def wait_for_earlier(run: Run, flow: ImportFlow, services: Services) -> Run | None:
    """Return the run put off if an import that goes before its own is not done; None if it may begin.

    Once a person was told that it waits, a failed file is named rather than an open one, and each that was not yet.
    """
    earlier = services.settings.flows.imports_before(flow)
    found = _find_open(earlier, services) if earlier else None
    told = run.problem.text if run.problem and run.problem.about is About.WAITING else ""
    if flow.order.after_success and (found is None or told):
        found = _find_failed(earlier, services) or found  # last: what was open until now may have failed since
    if found is None:
        return None
    if told and found.words not in told and _NOT_SUCCEEDED in f"{found.words} {told}":
        run = run.without_problem(About.WAITING)
    now = services.now()
    what = f"the import {found.flow.name} (it goes first)"
    since = run.waits.since if run.waits and run.waits.what == what else now
    wait_s = min(max((now - since).total_seconds() / 2, FIRST_LOOK_S), LONGEST_LOOK_S)
    log.info("run.waits", step="claim", what=what, holder=found.words)
    wait = Wait(what=what, since=now, holder=found.words, holder_address=found.address)
    stuck_after = flow.stuck_after(services.settings.import_stuck_after)
    return run.waiting_for(wait, wait_s, stuck_after, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Earlier:
    """What keeps a file waiting: a file of an import that goes first."""

    flow: ImportFlow
    words: str
    address: str = ""  # of its run, if it has one


def _find_open(flows: Sequence[ImportFlow], services: Services) -> _Earlier | None:
    """Return a file of some imports that is not done; None if all are.

    The files in Input are listed as well, for the next scan may not have seen one that came before the file that asks.
    The open runs are listed after Input, so a file that is claimed in between is seen; all of them, whatever their
    lanes, because settings may have been changed since. The lanes of today are asked before, which mostly answers. A
    file whose run a person has cancelled counts as done.
    """
    for flow in flows:
        if not flow.has_many_lanes and (row := services.store.first_open(flow.lane, {flow.name})):
            return _open_run(flow, row)
    in_input = {flow.name: _list_files(flow, services) for flow in flows}
    rows = services.store.open_lanes().rows
    cancelled = {key_of(row.sort_key) for row in rows if row.state is State.CANCELLED}
    for flow in flows:
        if row := next((row for row in rows if _is_open(row, flow, services)), None):
            return _open_run(flow, row)
        for item in in_input[flow.name]:
            if kept_key(item.item_id) not in cancelled:
                return _Earlier(flow=flow, words=f"{item.name} is in {flow.input_folder}.")
    return None


def _is_open(row: LaneRow, flow: ImportFlow, services: Services) -> bool:
    """Return whether an open run is a flow's and not cancelled."""
    if row.state is State.CANCELLED:
        return False
    return row.flow_name == flow.name if row.flow_name else _may_be_of(row, flow, services)


def _may_be_of(row: LaneRow, flow: ImportFlow, services: Services) -> bool:
    """Return whether an open run may be a flow's though a listing does not tell: it is in its lane, or in one of many.

    Its record may tell.
    """
    if row.lane == flow.lane or direction_of(row.lane) is not Direction.IMPORT:
        return row.lane == flow.lane
    try:
        return services.store.read_row(row).flow_name == flow.name
    except Damaged:
        return flow.has_many_lanes and row.lane not in {each.lane for each in services.settings.flows.imports}


def _open_run(flow: ImportFlow, row: LaneRow) -> _Earlier:
    name = row.file_name or "A file whose record is damaged"
    return _Earlier(flow=flow, words=f"{name} is not done.", address=row.address)


def _find_failed(flows: Sequence[ImportFlow], services: Services) -> _Earlier | None:
    """Return a file of some imports that has failed, with what to do about it; None if there is none."""
    for flow in flows:
        if failed := services.failed_files.of_flow(flow.name):
            words = f"{failed_words(failed)} {way_on(failed[0], flow)}"
            if any(each.is_damaged for each in failed):
                waiting = _names(services.settings.flows.imports_after_success_of(flow.name))
                run_alerts.enqueue_damaged_mark(flow.name, f"{words} Files of {waiting} wait for it.", services)
            return _Earlier(flow=flow, words=words, address=failed[0].run)
    return None


def failed_words(failed: Sequence[FailedFile]) -> str:
    """Return which files of an import did not succeed."""
    more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
    return f"{failed[0].path}{more} {_NOT_SUCCEEDED}."


def way_on(failed: FailedFile, flow: ImportFlow) -> str:
    """Return what a person can do about a failed file that others wait for."""
    if failed.is_damaged:
        return (
            f"Check the failed runs of {flow.name}: its file is among them. See that all of these files are imported, "
            f"then press 'Put aside' of {flow.name} in the list of runs."
        )
    folder = places.within(flow.input_folder, failed.sub_folder)
    return (
        "Run it again (its last rerun, if it has any) or skip it on its page, or put a mended file of the same name "
        f"into {folder}."
    )


def unreadable_marks(services: Services) -> dict[str, str]:
    """Return the imports of whose failed files a mark cannot be read, each with what waits for that. A listing each."""
    flows, found = services.settings.flows, dict[str, str]()
    for flow in flows.imports:
        waiting = flows.imports_after_success_of(flow.name)
        if waiting and (damaged := [each for each in services.failed_files.of_flow(flow.name) if each.is_damaged]):
            found[flow.name] = f"{failed_words(damaged)} Files of {_names(waiting)} wait for that."
    return found


def imports_waiting_for(row: LaneRow, services: Services) -> str:
    """Return the names of the imports that wait for an open run that has its file; "" if none does.

    row: its record may be damaged.
    """
    if row.state in NOT_BEGUN:
        return ""  # without its record the file, which is in Input, gets a new run
    flows = services.settings.flows
    own = [flow.name for flow in flows.imports if _is_open(row, flow, services)]
    return _names([each for each in flows.imports if any(each in flows.imports_after(name) for name in own)])


def _names(flows: Iterable[ImportFlow]) -> str:
    return ", ".join(flow.name for flow in flows)


def find_failed_file(run: Run, services: Services) -> FailedFile | None:
    """Return the mark of an ended run for whose file other imports wait; None if none waits for it."""
    if not run.did_not_succeed or not services.settings.flows.imports_after_success_of(run.flow_name):
        return None
    return services.failed_files.of_run(run)


def note_end(run: Run, services: Services) -> None:
    """Mark the file of a run that has failed if another import waits for it, and delete the marks that it settles.

    A mark is settled by a file of its name that succeeds, and by a rerun of the run that it names, or of its rerun; one
    that fails takes its place. What a person has cancelled keeps nobody waiting, though a worker may have marked it
    just before. Marks are settled also while no import asks for success: one may ask again later.
    """
    flows = services.settings.flows
    if not flows.imports_after(run.flow_name):
        return
    own = failed_file_of(run, address_of(run), services.now())
    ids = {run.run_id, *_runs_before(run, services)}
    has_succeeded = _has_succeeded(run, services)
    is_asked = bool(flows.imports_after_success_of(run.flow_name))
    if has_failed := is_asked and run.did_not_succeed and not has_succeeded:
        services.failed_files.save(own)
    for failed in services.failed_files.of_flow(run.flow_name):
        is_same = failed.mark == own.mark
        if (
            (has_succeeded and (is_same or failed.run_id in ids))
            or (has_failed and not is_same and failed.run_id in ids)
            or (run.cancelled_in and failed.run_id == run.run_id)
        ):
            services.failed_files.delete(failed)


def _runs_before(run: Run, services: Services) -> Iterator[str]:
    """Yield the ids of the runs whose work a rerun does again, the last one first; their records tell which."""
    earlier: Run | None = run
    for _ in range(run.rerun_count):
        before = parse_address(earlier.rerun_of) if earlier else None
        if earlier is None or before is None:
            return
        yield before.run_id
        try:
            earlier = services.store.run_at(earlier.rerun_of)
        except Damaged:
            return


def _has_succeeded(run: Run, services: Services) -> bool:
    if run.outcome is Outcome.PARTIALLY_SUCCEEDED:
        flow = known_import_of(run, services)
        return flow is not None and flow.filing.partially_succeeded is PartialFiling.SUCCESS
    return run.outcome is Outcome.SUCCEEDED


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
