"""Scans the Input folders: lists them, and opens one run for each new file.

A scan needs no saved token and sees all that is there, whatever was missed before. What happens to a run then is
``imports/steps.py``.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from shared.app import Services
from shared.clients.graph.drive_item import DriveItem
from shared.clients.http.context import allowed_s
from shared.concurrency import Attempt, map_concurrently, sum_results
from shared.config.model import ImportFlow
from shared.config.values import matches_name
from shared.locks import WAIT_S, CallLock
from shared.log import log
from shared.runs.addresses import kept_key, key_of, sort_key_after
from shared.runs.run import Run, new_run
from shared.runs.states import Direction, State
from shared.runs.values import FileFacts

# If no folder holds a file, the open runs need not be known, so they are asked for once one does. A run that ends
# between the two would leave its file in the listing and its name out of the runs, and get a second one. No run takes
# less than this from its claim to its end, so a listing that is older is made anew.
LISTING_HOLDS: Final = timedelta(seconds=1)

# Folders that one scan lists at the same time. With 50 that hang, the last one is begun after the timer's limit of 10
# seconds for listing one.
SCANS_AT_ONCE: Final = 25


def open_new_runs(services: Services) -> int:
    """List every Input folder, open a run for each new file, wake their lanes; return how many were opened.

    A folder that cannot be listed, or takes long, does not keep the others from being scanned; its error is raised at
    the end.
    """
    return sum_results(scan_all(services, FoundLanes(services), limit_s=None))


class FoundLanes:
    """Wakes the lanes in which a scan opens runs.

    keeps_last: the lane of the last folder to be scanned is left to whoever scans, which saves a message; those before
    it are woken at once, because a folder after them may hang.
    """

    def __init__(self, services: Services, *, keeps_last: bool = False) -> None:
        self._services = services
        self._keeps_last = keeps_last
        self._lock = threading.Lock()
        self._left = len(services.settings.flows.imports)
        self.kept = ""

    def end_folder(self, lane: str) -> None:
        """Note that a folder has been scanned; lane: the one in which runs were opened, "" if none was.

        Raises TryAgain, NeedsPerson.
        """
        with self._lock:
            self._left -= 1
            is_kept = self._keeps_last and not self._left
        if is_kept:
            self.kept = lane
        elif lane:
            self._services.queue.send(lane)

    def wake_kept(self) -> None:
        """Wake the lane that was kept, because nobody goes on with it."""
        if self.kept:
            self._services.queue.send(self.kept)


def count_opened(scans: Mapping[str, Attempt[int]]) -> int:
    """Return how many runs the scans that succeeded have opened."""
    return sum(scan.result or 0 for scan in scans.values())


def scan_all(services: Services, found: FoundLanes, *, limit_s: float | None) -> dict[str, Attempt[int]]:
    """Scan every Input folder; return for each import, by its name, how many runs were opened, or what went wrong."""
    flows = services.settings.flows.imports
    open_runs = _OpenRuns(services)
    work = {f"scan {flow.name}": partial(_scan, flow, open_runs, found, services) for flow in flows}
    ended = services.duties.attempt_all(work, limit_s=limit_s, at_once=SCANS_AT_ONCE)
    scans = {flow.name: ended[f"scan {flow.name}"] for flow in flows}
    for name, scan in scans.items():
        if scan.error:
            log.error("scan.failed", flow_name=name, reason=str(scan.error))
    log.info("scan.done", opened=count_opened(scans))
    if not scans or any(scan.error is None for scan in scans.values()):
        services.scan_memory.last_scan = services.now()
    return scans


def _scan(flow: ImportFlow, open_runs: "_OpenRuns", found: FoundLanes, services: Services) -> int:
    """List one Input folder and open a run for each new file; return how many were opened."""
    opened = 0
    try:
        opened = _open_runs_in(flow, open_runs, services)
    finally:
        found.end_folder(flow.lane if opened else "")
    services.scan_memory.last_scan_of[flow.drive, flow.input_folder] = services.now()
    return opened


def _open_runs_in(flow: ImportFlow, open_runs: "_OpenRuns", services: Services) -> int:
    started = services.now()
    files = _list_files(flow, services)
    if not files:
        return 0
    known = open_runs.known()
    if services.drain.is_on():  # the listing of the open runs has just shown whether it is
        log.info("scan.draining", flow_name=flow.name, files=len(files))
        return 0
    if known.listed - started > LISTING_HOLDS:
        files = _list_files(flow, services)
    return _open_runs_for(flow, files, known, services)


def _list_files(flow: ImportFlow, services: Services) -> list[DriveItem]:
    """Return the files of an Input folder, without those whose names are ignored; note what is not a file."""
    with services.folders.using(flow.drive, flow.input_folder) as folder_id:
        items = list(services.onedrive(flow.drive).list_items(folder_id))
    ignored = services.settings.import_ignored_names
    seen = [item for item in items if not matches_name(item.name, ignored)]
    if len(seen) < len(items):
        log.info("scan.ignored", flow_name=flow.name, items=len(items) - len(seen))
    is_ours = partial(services.settings.flows.leads_to_ours, flow.drive, flow.input_folder)
    strays = [item for item in seen if not item.is_file and not is_ours(item.name)]
    services.scan_memory.strays_in[flow.drive, flow.input_folder] = strays
    return [item for item in seen if item.is_file]


@dataclass(frozen=True, slots=True, kw_only=True)
class _KnownRuns:
    """What a scan knows of the open runs, by their names alone."""

    item_ids: frozenset[str]
    lanes: frozenset[str]
    listed: datetime


class _OpenRuns:
    """The open runs as one scan knows them: listed once for all folders, when the first of them holds a file."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._call = CallLock()
        self._known: _KnownRuns | None = None

    def known(self) -> _KnownRuns:
        """Return them. Raises TryAgain, NeedsPerson."""
        if known := self._known:
            return known
        with self._call.held("list the open runs", wait_s=allowed_s(WAIT_S)):
            known = self._known or self._list()
            self._known = known
            return known

    def _list(self) -> _KnownRuns:
        places = self._services.store.open_places()
        return _KnownRuns(
            item_ids=frozenset(key_of(order) for _, order in places),
            lanes=frozenset(lane for lane, _ in places),
            listed=self._services.now(),
        )


def _open_runs_for(flow: ImportFlow, files: Sequence[DriveItem], known: _KnownRuns, services: Services) -> int:
    new = [item for item in files if kept_key(item.item_id) not in known.item_ids]
    if not new:
        return 0
    begun = services.store.last_under_way(flow.lane) if flow.lane in known.lanes else ""
    runs = [_new_run(flow, item, begun, services.now()) for item in new]
    return sum(map_concurrently(services.store.create, runs))


def _new_run(flow: ImportFlow, item: DriveItem, begun: str, now: datetime) -> Run:
    return new_run(
        direction=Direction.IMPORT,
        state=State.FOUND,
        flow_name=flow.name,
        lane=flow.lane,
        sort_key=_sort_key(item, begun),
        now=now,
        data_project=flow.only_project,
        file=FileFacts(
            name=item.name,
            item_id=item.item_id,
            size_bytes=item.size_bytes,
            etag=item.etag,
            modified=item.last_modified,
            quick_xor_hash=item.quick_xor_hash or "",
            folder=flow.input_folder,
            is_complete=not item.is_empty and not item.is_pending and not item.has_malware,
            web_url=item.web_url,
        ),
    )


def _sort_key(item: DriveItem, begun: str) -> str:
    """Return a file's place in its lane: by age, but behind the run that is under way.

    A file can be older than one that came before it: copying keeps the date. It must not become the lane's first run
    while F&O works on another file of the lane.
    """
    return sort_key_after(begun, item.last_modified, item.item_id)
