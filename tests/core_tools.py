"""Which files ``func azure functionapp publish`` sends, by the rules of Azure Functions Core Tools.

Core Tools has a reader of its own for .funcignore. It resembles git's and differs where it matters: a pattern counts
from the root only, and ends at the first word boundary after it; a "!" wins over every other pattern, wherever either
stands. Written after its source, of August 2026 (4.14):
https://github.com/Azure/azure-functions-core-tools/blob/main/src/Cli/func/Common/GitIgnoreParser.cs
https://github.com/Azure/azure-functions-core-tools/blob/main/src/Cli/func/Common/FileSystemHelpers.cs
"""

import os
import re
from pathlib import Path
from typing import Final

# GetLocalFiles leaves these out whatever .funcignore says, in every folder and whatever the case of their letters.
NEVER_FOLDERS: Final = frozenset({".git", ".vscode"})
NEVER_FILES: Final = frozenset({".funcignore", ".gitignore", "local.settings.json", "project.lock.json"})

_SPECIAL: Final = re.compile(r"[-\[\]/{}()+?.\\^$|]")


class FuncIgnore:
    """The patterns of a .funcignore."""

    def __init__(self, text: str) -> None:
        lines = [line.strip() for line in text.split("\n")]
        lines = [line for line in lines if line and not line.startswith("#")]
        self._ignored = _any_of([line for line in lines if not line.startswith("!")])
        self._wanted = _any_of([line[1:] for line in lines if line.startswith("!")])

    def accepts(self, path: str) -> bool:
        """Return whether a file is sent; path: in the app's folder, with slashes."""
        return self._wanted.match(path) is not None or self._ignored.match(path) is None


def _any_of(patterns: list[str]) -> re.Pattern[str]:
    # In .NET's mode ECMAScript a word is of ASCII letters, digits and underscores.
    if not patterns:
        return re.compile(r"(?!)")
    return re.compile(rf"(?:{'|'.join(_expression(pattern) for pattern in patterns)})\b", re.ASCII)


def _expression(pattern: str) -> str:
    escaped = _SPECIAL.sub(lambda found: f"\\{found.group()}", pattern.removeprefix("/"))
    return escaped.replace("**", "(.+)").replace("*", "([^\\/]+)")


def files_sent_from(folder: Path) -> list[str]:
    """Return the files of an app's folder that are sent, as paths in it; links are followed, as Core Tools does."""
    ignore = FuncIgnore((folder / ".funcignore").read_text("utf-8"))
    sent: list[str] = []
    for where, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if name.casefold() not in NEVER_FOLDERS]
        paths = (Path(where, name) for name in files if name.casefold() not in NEVER_FILES)
        sent += [path for path in (each.relative_to(folder).as_posix() for each in paths) if ignore.accepts(path)]
    return sorted(sent)
