"""The checkpoint of scans: when each Input folder was last scanned, and what it holds that is not a file; and alerts.

One checkpoint, ``watch/look``, holds both for all folders. Whatever keeps a folder from being scanned counts: a
refusal, a folder that cannot be made or found, a scan that hangs, a bug.
"""

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from shared.alerts.alert import Alert, Category, alert_key
from shared.app import Services
from shared.concurrency import Attempt, attempted, sum_results
from shared.config.model import ImportFlow
from shared.config.values import matches_name
from shared.errors import AppError, ItemChanged, ItemLocked, NameTaken, NotFound
from shared.escapes import json_text, read_json
from shared.imports import places
from shared.imports.companies import companies_text
from shared.log import log
from shared.moments import moment_or_none, read_moment, utc_minute_text
from shared.runs.run import name_with
from shared.runs.states import Direction
from shared.scan.memory import Leftover

# How old the last successful scan of a folder may be; if there was none, how long ago the first scan.
OVERDUE: Final = timedelta(minutes=15)

# How long something that is not a file may be in an Input folder before people hear of it.
STRAY_AFTER: Final = timedelta(minutes=5)
# And one that the app moves away by itself after that time, if it is still there.
MOVED_BY_THEN: Final = timedelta(minutes=15)
# So many of them are kept of one folder, and so many characters of a name.
_MOST_STRAYS: Final = 20
_LONGEST_NAME: Final = 255

# The checkpoint, and the text in it that says when the timer scanned last at all. Older versions wrote nothing else.
CHECKPOINT: Final = "look"
AT: Final = "at"
# The names of the texts about one folder begin with it.
_FOLDER: Final = "folder "
# Characters of an error that are kept.
_LONGEST: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """What the app leaves in an Input folder: a folder, a notebook, a shortcut, or a file that no import takes."""

    item_id: str
    name: str
    is_folder: bool
    since: datetime  # the first scan that saw it
    is_file: bool = False
    sub_folder: str = ""  # of Input; "": it is directly in Input


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderScan:
    """What is known of the scans of one Input folder."""

    flow: ImportFlow  # the first of those that share it
    last_good: datetime | None
    first: datetime | None  # the first scan, if none has succeeded yet
    error: str  # why the last scan failed; "" if it did not
    strays: tuple[Stray, ...] = ()  # as of the last good scan

    @property
    def since(self) -> datetime | None:
        """When the folder was last scanned, or the first try to; None: nobody has tried."""
        return self.last_good or self.first

    @property
    def alert_key(self) -> str:
        """The key of the alert that the folder cannot be scanned: one for each folder, whatever the reason."""
        return alert_key(Category.SCAN, f"{self.flow.drive}\n{self.flow.input_folder}")

    def is_overdue(self, now: datetime) -> bool:
        """Whether people must hear of it."""
        return self.since is not None and now - self.since >= OVERDUE


def parse_scans(content: Mapping[str, str], services: Services) -> list[FolderScan]:
    """Return what a checkpoint says of each Input folder, in the order of the settings."""
    return [_parse_scan(flows[0], content, services.now()) for flows in services.settings.flows.input_folders]


def _parse_scan(flow: ImportFlow, content: Mapping[str, str], now: datetime) -> FolderScan:
    def moment(name: str) -> datetime | None:
        found = moment_or_none(content.get(_name(flow, name)))
        # A clock that was far ahead when it was written must not keep people from hearing of it.
        return found if found and found - now < OVERDUE else None

    return FolderScan(
        flow=flow,
        last_good=moment("last good"),
        first=moment("first"),
        error=content.get(_name(flow, "failed"), ""),
        strays=_parse_strays(content.get(_name(flow, "strays"), "[]")),
    )


def _parse_strays(text: str) -> tuple[Stray, ...]:
    """Return the strays of a checkpoint; none if they cannot be read: the next scan sees them again."""
    try:
        saved = read_json(text, mend=True)
        return tuple(
            Stray(
                item_id=str(each["id"]),
                name=str(each["name"]),
                is_folder=each["folder"] is True,
                since=read_moment(each["since"]),
                is_file=each.get("file") is True,
                sub_folder=str(each.get("in", "")),
            )
            for each in saved
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return ()


def _name(flow: ImportFlow, what: str) -> str:
    folder = hashlib.sha256(f"{flow.drive}\n{flow.input_folder}".encode()).hexdigest()[:12]
    return f"{_FOLDER}{folder} {what}"


def record_scans(ended: Mapping[str, Attempt[int]], started: datetime, services: Services) -> list[FolderScan]:
    """Save how the scans of this minute went, and return what is known of each folder now.

    ended: how the scan of each import ended, by its name; started: when they started. A scan that succeeded since then
    counts whoever made it, as far as this process knows. Raises TryAgain, NeedsPerson.
    """
    scans: list[FolderScan] = []

    def change(content: dict[str, str]) -> None:
        scans[:] = [
            _after(before, ended.get(before.flow.name), started, services) for before in parse_scans(content, services)
        ]
        for name in [name for name in content if name.startswith(_FOLDER)]:
            del content[name]  # of a folder that is not in the settings any more
        content.update(text for scan in scans for text in _texts(scan))
        if services.scan_memory.last_scan:
            content[AT] = services.scan_memory.last_scan.isoformat()

    services.checkpoints.change(CHECKPOINT, change)
    return scans


def _after(before: FolderScan, attempt: Attempt[int] | None, started: datetime, services: Services) -> FolderScan:
    place = (before.flow.drive, before.flow.input_folder)
    known = services.scan_memory.last_scan_of.get(place)
    last_good = max((moment for moment in (before.last_good, known) if moment), default=None)
    is_good = (attempt is not None and attempt.error is None) or (known is not None and known >= started)
    return FolderScan(
        flow=before.flow,
        last_good=last_good,
        first=None if last_good else before.first or started,
        error="" if is_good else _error_text(attempt),
        strays=_strays_after(before, services.scan_memory.strays_in.get(place), services.now())
        if is_good
        else before.strays,
    )


def _strays_after(before: FolderScan, seen: Sequence[Leftover] | None, now: datetime) -> tuple[Stray, ...]:
    if seen is None:
        return before.strays
    since = {each.item_id: each.since for each in before.strays if each.since <= now}
    ordered = sorted(seen, key=lambda each: (since.get(each.item.item_id, now), each.item.item_id))
    return tuple(
        Stray(
            item_id=each.item.item_id,
            name=each.item.name[:_LONGEST_NAME],
            is_folder=each.item.is_folder,
            since=since.get(each.item.item_id, now),
            is_file=each.item.is_file,
            sub_folder=each.sub_folder,
        )
        for each in ordered[:_MOST_STRAYS]
    )


def _error_text(attempt: Attempt[int] | None) -> str:
    match attempt:
        case Attempt(error=AppError() as error):
            return str(error)
        case Attempt(error=Exception() as error):
            return f"The app has a bug: {type(error).__name__}; the log holds the traceback (duty.broke)."
        case _:
            return "The scan was not started, or its result is unknown."


def _texts(scan: FolderScan) -> Iterator[tuple[str, str]]:
    yield _name(scan.flow, "is"), f"{scan.flow.drive} {scan.flow.input_folder}"
    if scan.last_good:
        yield _name(scan.flow, "last good"), scan.last_good.isoformat()
    if scan.first:
        yield _name(scan.flow, "first"), scan.first.isoformat()
    if scan.error:
        yield _name(scan.flow, "failed"), scan.error[:_LONGEST]
    if scan.strays:
        yield _name(scan.flow, "strays"), json_text([_stray_text(each) for each in scan.strays])


def _stray_text(stray: Stray) -> dict[str, object]:
    return {
        "id": stray.item_id,
        "name": stray.name,
        "folder": stray.is_folder,
        "since": stray.since.isoformat(),
        **({"file": True} if stray.is_file else {}),
        **({"in": stray.sub_folder} if stray.sub_folder else {}),
    }


def scan_alerts(scans: Iterable[FolderScan], services: Services) -> list[Alert]:
    """Return the alerts about folders whose last scan failed and whose last successful one is long ago."""
    now = services.now()
    return [_scan_alert(scan, scan.since or now) for scan in scans if scan.error and scan.is_overdue(now)]


def _scan_alert(scan: FolderScan, since: datetime) -> Alert:
    flow = scan.flow
    last = "The last successful scan was" if scan.last_good else "No scan has succeeded since the first attempt"
    text = (
        f"The Input folder '{flow.input_folder}' of {flow.drive} cannot be scanned, so no file in it is imported. "
        f"{last} at {utc_minute_text(since)}. The latest scan failed: {scan.error}\n\n"
        "Open the folder in OneDrive or SharePoint. If its site is archived or locked, have a SharePoint administrator "
        "reactivate or unlock it. If the folder or its library was renamed, moved or deleted, correct the settings. If "
        "access was denied, grant the permission to the app. The app scans the folder every minute, so imports "
        "continue by themselves; files wait in the folder until then."
    )
    return Alert(
        key=scan.alert_key,
        title=f"{flow.name}: '{flow.input_folder}' cannot be scanned",
        text=text,
        since=since,
        is_ongoing=True,
        direction=Direction.IMPORT.value,
        flow_name=flow.name,
    )


def stray_alerts(scans: Iterable[FolderScan], services: Services) -> list[Alert]:
    """Return the alerts about what has been in an Input folder for a while and is not imported."""
    now = services.now()
    return [
        _stray_alert(scan.flow, each, services)
        for scan in scans
        for each in scan.strays
        if now - each.since >= (MOVED_BY_THEN if _is_to_be_moved(each, scan.flow, services) else STRAY_AFTER)
    ]


def _is_to_be_moved(stray: Stray, flow: ImportFlow, services: Services) -> bool:
    return stray.is_file and _with_unmatched_folder(flow, services) is not None


def _stray_alert(flow: ImportFlow, stray: Stray, services: Services) -> Alert:
    folder = places.within(flow.input_folder, stray.sub_folder)
    what, text = _stray_words(flow, stray, services)
    return Alert(
        key=alert_key(Category.STRAY, f"{flow.drive}\n{stray.item_id}"),
        title=f"{flow.name}: '{stray.name}' in '{folder}' {what}",
        text=(
            f"'{stray.name}' has been in the Input folder '{folder}' of {flow.drive} since "
            f"{utc_minute_text(stray.since)} and {what}. {text} To keep it there, add its name to IMPORT_IGNORED_NAMES."
        ),
        since=stray.since,
        is_ongoing=True,
        direction=Direction.IMPORT.value,
        flow_name=flow.name,
        file_name=stray.name,
    )


def _stray_words(flow: ImportFlow, stray: Stray, services: Services) -> tuple[str, str]:
    """Return what a stray is, and what that means and asks for."""
    if stray.is_file:
        to_do = "Rename it, or change the files of an import (files.include, files.exclude)."
        if named := _with_unmatched_folder(flow, services):
            to_do = f"The app has not been able to move it to {named.unmatched_folder} yet: the file may be open."
        return "matches no import", f"No import of this folder takes files of that name. {to_do}"
    what = "is a folder" if stray.is_folder else "is not a file"
    if flow.has_company_folders and not stray.sub_folder and stray.is_folder:
        return "is not a company", (
            "Nothing in it is imported: the sub-folders of this folder are companies. "
            f"{companies_text(flow, services)} Rename it, move its files into the folder of their company, or add the "
            "company."
        )
    only = "directly in the Input folder, not from its subfolders"
    copied = "the Input folder"
    if flow.has_company_folders:
        only, copied = "directly in the folder of a company", f"the folder of their company in {flow.input_folder}"
    return what, (
        f"Nothing in it is imported: the app imports only files {only}. Copy the packages themselves into {copied}, "
        "then move or delete it."
    )


def _with_unmatched_folder(flow: ImportFlow, services: Services) -> ImportFlow | None:
    """Return the import that says where files go which no import of the same Input folder takes; None if none does."""
    sharing = next(flows for flows in services.settings.flows.input_folders if flow in flows)
    return next((each for each in sharing if each.unmatched_folder), None)


def move_unmatched(services: Services) -> int:
    """Move files that no import has taken for a while to the folder for such files; return how many were moved.

    Each is asked for once more before. One that cannot be moved keeps no other from it; the gravest error is raised.
    """
    flows = services.settings.flows
    if not any(flow.unmatched_folder for flow in flows.imports):
        return 0
    now, content = services.now(), services.checkpoints.read(CHECKPOINT).content
    work = {
        stray.item_id: attempted(f"move {stray.name}", partial(_move_unmatched, to, stray, services))
        for scan in parse_scans(content, services)
        if (to := _with_unmatched_folder(scan.flow, services))
        for stray in scan.strays
        if stray.is_file and now - stray.since >= STRAY_AFTER
    }
    return sum_results(work)


def _move_unmatched(flow: ImportFlow, stray: Stray, services: Services) -> int:
    try:
        return _move_if_unmatched(flow, stray, services)
    except (NotFound, ItemChanged, ItemLocked) as error:
        log.info("file.not_moved", flow_name=flow.name, file=stray.name, reason=str(error))
        return 0  # the next scan sees what is there by then; the alert says so if it stays


def _move_if_unmatched(flow: ImportFlow, stray: Stray, services: Services) -> int:
    onedrive, flows = services.onedrive(flow.drive), services.settings.flows
    item = onedrive.get(stray.item_id)
    folder = places.within(flow.input_folder, stray.sub_folder)
    is_there = services.folders.is_at(flow.drive, folder, item.parent_id)
    is_ignored = matches_name(item.name, services.settings.import_ignored_names)
    if not is_there or is_ignored or item.is_empty or item.is_pending or flows.taker_of(flow, item.name):
        return 0
    there = places.within(flow.unmatched_folder, stray.sub_folder)
    services.scan_memory.throttle.note_change(services.now())
    with services.folders.using(flow.drive, there) as folder_id:
        try:
            moved = onedrive.move(item.item_id, to_folder_id=folder_id, name=item.name, etag=item.etag)
        except NameTaken:
            own = name_with(item.name, secrets.token_hex(6))
            moved = onedrive.move(item.item_id, to_folder_id=folder_id, name=own, etag=item.etag)
    log.info("file.unmatched", flow_name=flow.name, file=moved.name, folder=there, item_id=item.item_id)
    return 1
