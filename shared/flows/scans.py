"""The last good scan of each Input folder: noted every minute, and told of when it is long ago.

One note, ``watch/look``, holds it for all folders. Whatever keeps a folder from being scanned counts: a refusal, a
folder that cannot be made or found, a scan that hangs, a bug.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from shared.domain.alert import Alert, key_of_text
from shared.domain.integrations import ImportFlow
from shared.domain.run import FlowKind
from shared.duties import Attempt
from shared.errors import AppError
from shared.flows import telling
from shared.flows.notes import change_note, moment_of
from shared.services import Services

# How old the last good scan of a folder may be; if there was none, how long ago the first scan.
OVERDUE: Final = timedelta(minutes=15)

# The note, and the text in it that says when the timer scanned last at all. Older versions wrote nothing else into it.
NOTE: Final = "look"
AT: Final = "at"
# What begins the names of the texts about one folder.
_FOLDER: Final = "folder "
# Characters of an error that the note keeps.
_LONGEST: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderScan:
    """What is known of the scans of one Input folder."""

    flow: ImportFlow
    last_good: datetime | None
    first: datetime | None  # the first scan, if none was good yet
    words: str  # why the last scan failed; "" if it did not

    @property
    def since(self) -> datetime | None:
        """Since when the folder has not been scanned well; None: nobody has tried."""
        return self.last_good or self.first

    @property
    def alert_key(self) -> str:
        """The key of the alert that the folder cannot be scanned: one for each folder, whatever the reason."""
        return key_of_text(telling.SCAN, f"{self.flow.drive}\n{self.flow.input_folder}")

    def is_overdue(self, now: datetime) -> bool:
        """Whether a person must hear of it."""
        return self.since is not None and now - self.since >= OVERDUE


def scans_of(content: Mapping[str, str], services: Services) -> list[FolderScan]:
    """Return what a note says of the folder of each import, in the order of the settings."""
    return [_scan(flow, content, services.now()) for flow in services.integrations.imports]


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
    )


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
        if services.last_look:
            content[AT] = services.last_look.isoformat()

    change_note(NOTE, change, services)
    return scans


def _after(before: FolderScan, attempt: Attempt[int] | None, began: datetime, services: Services) -> FolderScan:
    known = services.last_scans.get((before.flow.drive, before.flow.input_folder))
    last_good = max((moment for moment in (before.last_good, known) if moment), default=None)
    is_good = (attempt is not None and attempt.error is None) or (known is not None and known >= began)
    return FolderScan(
        flow=before.flow,
        last_good=last_good,
        first=None if last_good else before.first or began,
        words="" if is_good else _words(attempt),
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
        flow=FlowKind.IMPORT.value,
        integration=flow.name,
    )
