"""Which names OneDrive for Business takes, and how it compares and numbers them.

https://support.microsoft.com/office/64883a5d-228e-48f5-b3d2-eb39e07630fa
"""

from typing import Final

from local_cloud.onedrive.errors import GraphError

FORBIDDEN_CHARACTERS: Final = frozenset('"*:<>?/\\|')
FORBIDDEN_NAMES: Final = frozenset(
    {".lock", "con", "prn", "aux", "nul", "desktop.ini"}
    | {f"com{digit}" for digit in range(10)}
    | {f"lpt{digit}" for digit in range(10)}
)
LONGEST_NAME: Final = 255  # characters
LONGEST_PATH: Final = 400  # characters of the decoded path below the root


def fault_of(name: str, *, in_root: bool) -> str:
    """Return what is wrong with a name, or "" when it is allowed."""
    folded = name.casefold()
    if not name:
        return "is empty"
    if len(name) > LONGEST_NAME:
        return f"is longer than {LONGEST_NAME} characters"
    # Assumed: control characters are refused as well; no list of Microsoft's names them.
    if FORBIDDEN_CHARACTERS.intersection(name) or any(ord(character) < 32 for character in name):
        return 'contains one of " * : < > ? / \\ | or a control character'
    if name != name.strip(" ") or name.endswith("."):
        return "begins or ends with a space, or ends with a dot"
    if folded in FORBIDDEN_NAMES or name.startswith("~$") or "_vti_" in folded or (in_root and folded == "forms"):
        return "is reserved"
    return ""


def check_name(name: str, *, in_root: bool) -> None:
    """Raise the GraphError for a name that is not allowed."""
    if fault := fault_of(name, in_root=in_root):
        raise GraphError(400, "invalidRequest", f"The provided name cannot contain this: the name {fault}.")


def check_path(path: str) -> None:
    """Raise the GraphError for a path that is too long; path: below the root, decoded, with a slash in front."""
    if len(path.removeprefix("/")) > LONGEST_PATH:
        raise GraphError(
            400, "invalidRequest", f"The path is longer than {LONGEST_PATH} characters.", inner=("pathIsTooLong",)
        )


def same_name(one: str, other: str) -> bool:
    """Say whether two names are one to OneDrive, which keeps the case of a name and ignores it in comparisons."""
    return one.casefold() == other.casefold()


def numbered(name: str, number: int, *, is_folder: bool) -> str:
    """Return the name that conflictBehavior=rename tries next: "a 1.zip", "a 2.zip"."""
    stem, dot, extension = name.rpartition(".")
    if is_folder or not stem:
        return f"{name} {number}"
    return f"{stem} {number}{dot}{extension}"
