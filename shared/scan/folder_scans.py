"""The last good scan of each Input folder, and what lies there that is no file: noted every minute, and told of.

One note, ``watch/look``, holds both for all folders. Whatever keeps a folder from being scanned counts: a refusal, a
folder that cannot be made or found, a scan that hangs, a bug.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from shared.alerts import delivery
from shared.alerts.alert import Alert, key_of_text
from shared.app import Services
from shared.azure_storage.checkpoints import moment_of
from shared.clients.graph.drive_item import DriveItem
from shared.concurrency import Attempt
from shared.config.integrations import ImportFlow
from shared.errors import AppError
from shared.escapes import json_text, read_json
from shared.runs.states import Direction

# How old the last good scan of a folder may be; if there was none, how long ago the first scan.
OVERDUE: Final = timedelta(minutes=15)

# How long something that is no file may lie in an Input folder before a person hears of it.
STRAY_AFTER: Final = timedelta(minutes=5)
# So many of them are known of one folder, and so many characters of a name.
_MOST_STRAYS: Final = 20
_LONGEST_NAME: Final = 255

# The note, and the text in it that says when the timer scanned last at all. Older versions wrote nothing else into it.
NOTE: Final = "look"
AT: Final = "at"
# What begins the names of the texts about one folder.
_FOLDER: Final = "folder "
# Characters of an error that the note keeps.
_LONGEST: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """Something in an Input folder that is no file: a folder, a notebook, a shortcut. The app leaves it where it is."""

    item_id: str
    name: str
    is_folder: bool
    since: datetime  # the first scan that saw it


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderScan:
    """What is known of the scans of one Input folder."""

    flow: ImportFlow
    last_good: datetime | None
    first: datetime | None  # the first scan, if none was good yet
    words: str  # why the last scan failed; "" if it did not
    strays: tuple[Stray, ...] = ()  # as of the last good scan

    @property
    def since(self) -> datetime | None:
        """Since when the folder has not been scanned well; None: nobody has tried."""
        return self.last_good or self.first

    @property
    def alert_key(self) -> str:
        """The key of the alert that the folder cannot be scanned: one for each folder, whatever the reason."""
        return key_of_text(delivery.SCAN, f"{self.flow.drive}\n{self.flow.input_folder}")

    def is_overdue(self, now: datetime) -> bool:
        """Whether a person must hear of it."""
        return self.since is not None and now - self.since >= OVERDUE


def scans_of(content: Mapping[str, str], services: Services) -> list[FolderScan]:
    """Return what a note says of the folder of each import, in the order of the settings."""
    return [_scan(flow, content, services.now()) for flow in services.settings.flows.imports]


def _scan(flow: ImportFlow, content: Mapping[str, str], now: datetime) -> FolderScan:
    def moment(name: str) -> datetime | None:
        found = moment_of(content.get(_name(flow, name)))
        # A clock that was far ahead when it was written must not keep people from hearing of it.
        return found if found and found - now < OVERDUE else None

    return FolderScan(
        flow=flow,
        last_good=moment("last good"),
        first=moment("first"),
        words=content.get(_name(flow, "failed"), ""),
        strays=_strays(content.get(_name(flow, "strays"), "[]")),
    )


def _strays(text: str) -> tuple[Stray, ...]:
    """Return what a note says of strays; nothing of one that cannot be read: the next scan sees it again."""
    try:
        told = read_json(text, mend=True)
        return tuple(
            Stray(
                item_id=str(each["id"]),
                name=str(each["name"]),
                is_folder=each["folder"] is True,
                since=datetime.fromisoformat(each["since"]).astimezone(UTC),
            )
            for each in told
        )
    except (ValueError, TypeError, KeyError, OverflowError):
        return ()


def _name(flow: ImportFlow, what: str) -> str:
    folder = hashlib.sha256(f"{flow.drive}\n{flow.input_folder}".encode()).hexdigest()[:12]
    return f"{_FOLDER}{folder} {what}"


def note_scans(ended: Mapping[str, Attempt[int]], began: datetime, services: Services) -> list[FolderScan]:
    """Write down how the scans of this minute went, and return what is known of each folder now.

    ended: how the scan of each import ended, by its name; began: when they began. A scan that went well since then
    counts whoever made it, as far as this process knows. Raises TryAgain, NeedsPerson.
    """
    scans: list[FolderScan] = []

    def change(content: dict[str, str]) -> None:
        scans[:] = [
            _after(before, ended.get(before.flow.name), began, services) for before in scans_of(content, services)
        ]
        for name in [name for name in content if name.startswith(_FOLDER)]:
            del content[name]  # of a folder that is not in the settings any more
        content.update(text for scan in scans for text in _texts(scan))
        if services.scan_memory.last_scan:
            content[AT] = services.scan_memory.last_scan.isoformat()

    services.checkpoints.change(NOTE, change)
    return scans


def _after(before: FolderScan, attempt: Attempt[int] | None, began: datetime, services: Services) -> FolderScan:
    place = (before.flow.drive, before.flow.input_folder)
    known = services.scan_memory.last_scan_of.get(place)
    last_good = max((moment for moment in (before.last_good, known) if moment), default=None)
    is_good = (attempt is not None and attempt.error is None) or (known is not None and known >= began)
    return FolderScan(
        flow=before.flow,
        last_good=last_good,
        first=None if last_good else before.first or began,
        words="" if is_good else _words(attempt),
        strays=_strays_after(before, services.scan_memory.strays_in.get(place), services.now())
        if is_good
        else before.strays,
    )


def _strays_after(before: FolderScan, seen: Sequence[DriveItem] | None, now: datetime) -> tuple[Stray, ...]:
    if seen is None:
        return before.strays
    since = {each.item_id: each.since for each in before.strays if each.since <= now}
    ordered = sorted(seen, key=lambda item: (since.get(item.item_id, now), item.item_id))
    return tuple(
        Stray(
            item_id=item.item_id,
            name=item.name[:_LONGEST_NAME],
            is_folder=item.is_folder,
            since=since.get(item.item_id, now),
        )
        for item in ordered[:_MOST_STRAYS]
    )


def _words(attempt: Attempt[int] | None) -> str:
    match attempt:
        case Attempt(error=AppError() as error):
            return str(error)
        case Attempt(error=Exception() as error):
            return f"The app has a bug: {type(error).__name__}; the log holds the traceback (duty.broke)."
        case _:
            return "The scan was not begun, or nobody knows how it ended."


def _texts(scan: FolderScan) -> Iterator[tuple[str, str]]:
    yield _name(scan.flow, "is"), f"{scan.flow.drive} {scan.flow.input_folder}"
    if scan.last_good:
        yield _name(scan.flow, "last good"), scan.last_good.isoformat()
    if scan.first:
        yield _name(scan.flow, "first"), scan.first.isoformat()
    if scan.words:
        yield _name(scan.flow, "failed"), scan.words[:_LONGEST]
    if scan.strays:
        told = [
            {"id": each.item_id, "name": each.name, "folder": each.is_folder, "since": each.since.isoformat()}
            for each in scan.strays
        ]
        yield _name(scan.flow, "strays"), json_text(told)


def scan_alerts(scans: Iterable[FolderScan], services: Services) -> list[Alert]:
    """Return the alerts about folders whose last scan failed and whose last good one is long ago."""
    now = services.now()
    return [_alert(scan, scan.since or now) for scan in scans if scan.words and scan.is_overdue(now)]


def _alert(scan: FolderScan, since: datetime) -> Alert:
    flow = scan.flow
    good = "The last good scan was" if scan.last_good else "No scan has succeeded since the first one,"
    text = (
        f"The Input folder '{flow.input_folder}' of {flow.drive} cannot be scanned, so no file in it is imported. "
        f"{good} at {since:%Y-%m-%d %H:%M} UTC. The last one failed: {scan.words}\n\n"
        "Open the folder in OneDrive or SharePoint. If its site is archived or locked, have a SharePoint administrator "
        "reactivate or unlock it. If the folder or its library was renamed, moved or deleted, correct the settings. If "
        "access was denied, grant the permission to the app. The app scans the folder every minute and goes on by "
        "itself; files wait in it until then."
    )
    return Alert(
        key=scan.alert_key,
        title=f"{flow.name}: '{flow.input_folder}' cannot be scanned",
        text=text,
        since=since,
        stays=True,
        flow=Direction.IMPORT.value,
        integration=flow.name,
    )


def stray_alerts(scans: Iterable[FolderScan], services: Services) -> list[Alert]:
    """Return the alerts about what has lain in an Input folder for a while and is no file."""
    now = services.now()
    return [_stray_alert(scan.flow, each) for scan in scans for each in scan.strays if now - each.since >= STRAY_AFTER]


def _stray_alert(flow: ImportFlow, stray: Stray) -> Alert:
    what, into = ("a folder", "into no folder in it") if stray.is_folder else ("no file", "at files only")
    return Alert(
        key=key_of_text(delivery.STRAY, f"{flow.drive}\n{stray.item_id}"),
        title=f"{flow.name}: '{stray.name}' in '{flow.input_folder}' is {what}",
        text=(
            f"'{stray.name}' has been in the Input folder '{flow.input_folder}' of {flow.drive} since "
            f"{stray.since:%Y-%m-%d %H:%M} UTC and is {what}. Nothing in it is imported: the app looks at the files "
            f"directly in the Input folder, {into}. Copy the packages themselves into the Input folder, then move or "
            "delete it. If it is to stay, add its name to IMPORT_IGNORED_NAMES."
        ),
        since=stray.since,
        stays=True,
        flow=Direction.IMPORT.value,
        integration=flow.name,
        file_name=stray.name,
    )
