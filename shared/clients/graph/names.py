"""Names and paths in OneDrive: what it takes, how a URL holds them, and when two are one.

https://support.microsoft.com/office/restrictions-and-limitations-in-onedrive-and-sharepoint-64883a5d-228e-48f5-b3d2-eb39e07630fa
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from shared.errors import (
    FileRejected,
    NeedsPerson,
)
from shared.escapes import path_segment

# https://support.microsoft.com/office/restrictions-and-limitations-in-onedrive-and-sharepoint-64883a5d-228e-48f5-b3d2-eb39e07630fa
_NOT_IN_NAMES: Final = frozenset('"*:<>?/\\|')


_RESERVED_NAMES: Final = frozenset(
    {".lock", "con", "prn", "aux", "nul", "desktop.ini"}
    | {f"{device}{digit}" for device in ("com", "lpt") for digit in range(10)}
)


_LONGEST_NAME: Final = 255  # characters


def name_advice(operation: str) -> str:
    """Return what to do about a name that OneDrive does not take: of an import's file, or one that the app has made."""
    if operation == "move item":
        return "Rename the file and copy it to Input again"
    return (
        "The name is made of the flow's data project and company, or of the name of the file that a report is about. "
        "Use plainer names there, or a folder nearer to the root"
    )


def item_path(item_id: str) -> str:
    """Return what stands for an item in a URL, below the drive."""
    return f"items/{encode_path([item_id])}"


def encode_path(segments: Iterable[str]) -> str:
    """Return the path percent-encoded segment by segment: '#', '%', '+' and blanks are ordinary letters in names."""
    return "/".join(path_segment(segment) for segment in segments)


def split_path(path: str) -> list[str]:
    """Return the names in a path below the root. Raises NeedsPerson for one that leads elsewhere."""
    segments = [segment for segment in re.split(r"[/\\]", path) if segment]
    if any(segment in {".", ".."} for segment in segments):
        raise NeedsPerson(f"'{path}' is not a valid folder path in OneDrive. Check the folders in the settings")
    return segments


def require_usable_name(name: str) -> None:
    """Raise FileRejected for a name that would mean something else in a URL of Graph's colon syntax."""
    if not name or name in {".", ".."} or not _NOT_IN_NAMES.isdisjoint(name):
        fault = name_fault(name) or "it means a folder"
        raise FileRejected(f"OneDrive does not allow the name '{name}': {fault}. {name_advice('upload file')}")


def name_fault(name: str) -> str:
    """Return what Microsoft's rules have against a name, "" for nothing: they do not name all that OneDrive refuses.

    Asked only of a name that OneDrive has refused, because it takes some that the rules forbid.
    https://support.microsoft.com/office/restrictions-and-limitations-in-onedrive-and-sharepoint-64883a5d-228e-48f5-b3d2-eb39e07630fa
    """
    folded = name.casefold()
    if not name:
        return "it is empty"
    if len(name) > _LONGEST_NAME:
        return f"it has more than {_LONGEST_NAME} characters"
    if any(letter in _NOT_IN_NAMES or ord(letter) < 32 for letter in name):
        return 'it has one of " * : < > ? / \\ | or a control character'
    if name != name.strip(" ") or name.endswith("."):
        return "it begins or ends with a space, or ends with a dot"
    if folded in _RESERVED_NAMES or "_vti_" in folded or name.startswith("~$"):
        return "it is reserved"
    return ""


def is_same_name(one: str, other: str) -> bool:
    """Return whether OneDrive takes both for one name: case does not count."""
    return unicodedata.normalize("NFC", one).casefold() == unicodedata.normalize("NFC", other).casefold()
