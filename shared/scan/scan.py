"""Scans the Input folders: lists them (``listing.py``), and opens one run for each new file.

A scan needs no saved token and sees all that is there, whatever was missed before. What happens to a run then is
``imports/steps.py``.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from shared.app import Services
from shared.clients.http.context import allowed_s
from shared.concurrency import Attempt, map_concurrently, sum_results
from shared.config.model import ImportFlow
from shared.imports import places, rules
from shared.imports.order import find_stopped_run, replaces, sort_key_of_file
from shared.locks import WAIT_S, CallLock
from shared.log import log
from shared.runs.addresses import kept_key, key_of, sort_key_before_all
from shared.runs.run import Run, new_run
from shared.runs.states import Direction, State
from shared.runs.values import FileFacts
from shared.scan.listing import FoundFile, Listing, list_folder

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


def open_new_runs_of(flow: ImportFlow, services: Services) -> Sequence[FoundFile]:
    """Do the same with the Input folder of one import; return the files that are too young to be taken by now.

    Raises what listing it raises.
    """
    flows = next(flows for flows in services.settings.flows.input_folders if flow in flows)
    too_young = list_folder(flows, services).too_young  # before the scan: it finds those that come of age meanwhile
    _scan(flows, _OpenRuns(services), FoundLanes(services), services)
    return too_young


class FoundLanes:
    """Wakes the lanes in which a scan opens runs.

    keeps_last: a lane of the last folder to be scanned is left to whoever scans, which saves a message; those before
    it are woken at once, because a folder after them may hang.
    """

    def __init__(self, services: Services, *, keeps_last: bool = False) -> None:
        self._services = services
        self._keeps_last = keeps_last
        self._lock = threading.Lock()
        self._left = len(services.settings.flows.input_folders)
        self.kept = ""

    def end_folder(self, lanes: Iterable[str]) -> None:
        """Note that a folder has been scanned; lanes: those in which runs were opened.

        Raises TryAgain, NeedsPerson.
        """
        opened = list(dict.fromkeys(lanes))
        with self._lock:
            self._left -= 1
            is_kept = self._keeps_last and not self._left
        if is_kept and opened:
            self.kept = opened.pop()
        for lane in opened:
            self._services.queue.send(lane)

    def wake_kept(self) -> None:
        """Wake the lane that was kept, because nobody goes on with it."""
        if self.kept:
            self._services.queue.send(self.kept)


def count_opened(scans: Mapping[str, Attempt[int]]) -> int:
    """Return how many runs the scans that succeeded have opened."""
    return sum(scan.result or 0 for scan in scans.values())


def scan_all(services: Services, found: FoundLanes, *, limit_s: float | None) -> dict[str, Attempt[int]]:
    """Scan every Input folder, first those of imports that go first; return how many runs were opened, or what failed.

    By the name of the import of the folder; of several that share it, of the first.
    """
    folders = services.settings.flows.input_folders
    open_runs = _OpenRuns(services)
    work = {f"scan {flows[0].name}": partial(_scan, flows, open_runs, found, services) for flows in folders}
    ended = services.duties.attempt_all(work, limit_s=limit_s, at_once=SCANS_AT_ONCE)
    scans = {flows[0].name: ended[f"scan {flows[0].name}"] for flows in folders}
    for name, scan in scans.items():
        if scan.error:
            log.error("scan.failed", flow_name=name, reason=str(scan.error))
    log.info("scan.done", opened=count_opened(scans))
    if not scans or any(scan.error is None for scan in scans.values()):
        services.scan_memory.last_scan = services.now()
    return scans


def _scan(flows: Sequence[ImportFlow], open_runs: "_OpenRuns", found: FoundLanes, services: Services) -> int:
    """List one Input folder and open a run for each new file; return how many were opened.

    What could be listed is opened; why the rest could not is raised at the end.
    """
    lanes: list[str] = []
    try:
        listing = _list_anew(flows, open_runs, services)
        lanes = _open_runs_for(listing.files, open_runs, services) if listing.files else []
    finally:
        found.end_folder(lanes)
    if listing.error:
        raise listing.error
    services.scan_memory.last_scan_of[flows[0].drive, flows[0].input_folder] = services.now()
    return len(lanes)


def _list_anew(flows: Sequence[ImportFlow], open_runs: "_OpenRuns", services: Services) -> Listing:
    """List one Input folder; once more if the open runs became known too long after."""
    started = services.now()
    listing = list_folder(flows, services)
    if not listing.files:
        return listing
    known = open_runs.known()
    if services.drain.is_on():  # the listing of the open runs has just shown whether it is
        log.info("scan.draining", flow_name=flows[0].name, files=len(listing.files))
        return replace(listing, files=())
    if known.listed - started > LISTING_HOLDS:
        return list_folder(flows, services)
    return listing


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


def _open_runs_for(files: Sequence[FoundFile], open_runs: _OpenRuns, services: Services) -> list[str]:
    """Open a run for each new file; return the lane of each."""
    known = open_runs.known()
    new = [each for each in files if kept_key(each.item.item_id) not in known.item_ids]
    lanes = [rules.lane_of(each.flow, each.item.name, each.sub_folder) for each in new]
    begun = {lane: services.store.last_under_way(lane) for lane in dict.fromkeys(lanes) if lane in known.lanes}
    for flow in {each.flow.name: each.flow for each in new}.values():
        pause_with_flow(flow, [lane for lane, each in zip(lanes, new, strict=True) if each.flow is flow], services)
    # Only imports with strictOrder have lanes that are stopped at a file.
    stopped = {
        (each.flow.name, lane): find_stopped_run(each.flow, lane, services)
        for each, lane in zip(new, lanes, strict=True)
        if each.flow.strict_order
    }
    runs = [
        _new_run(each, lane, stopped.get((each.flow.name, lane)), begun.get(lane, ""), services.now())
        for each, lane in zip(new, lanes, strict=True)
    ]
    created = map_concurrently(services.store.create, runs)
    return [run.lane for run, is_new in zip(runs, created, strict=True) if is_new]


def pause_with_flow(flow: ImportFlow, lanes: Iterable[str], services: Services) -> None:
    """Pause lanes in which runs of a flow are about to be opened, if a person has paused the flow's own lane."""
    others = sorted({lane for lane in lanes if lane != flow.lane})
    pause = services.store.pause_of(flow.lane) if others else None
    if pause and not pause.run:  # one file stops its own lane alone
        for lane in others:
            services.store.pause_lane(replace(pause, lane=lane))


def _new_run(file: FoundFile, lane: str, stopped: Run | None, begun: str, now: datetime) -> Run:
    item, flow = file.item, file.flow
    sort_key = (
        sort_key_before_all(item.last_modified, item.item_id)
        if replaces(item.name, file.sub_folder, stopped)
        else sort_key_of_file(flow, item.name, item.last_modified, item.item_id, begun)
    )
    return new_run(
        direction=Direction.IMPORT,
        state=State.FOUND,
        flow_name=flow.name,
        lane=lane,
        sort_key=sort_key,
        now=now,
        data_project=rules.known_project(flow, item.name, file.sub_folder),
        file=FileFacts(
            name=item.name,
            item_id=item.item_id,
            size_bytes=item.size_bytes,
            etag=item.etag,
            modified=item.last_modified,
            quick_xor_hash=item.quick_xor_hash or "",
            folder=places.within(flow.input_folder, file.sub_folder),
            is_complete=not item.is_empty and not item.is_pending and not item.has_malware,
            web_url=item.web_url,
            sub_folder=file.sub_folder,
        ),
    )
