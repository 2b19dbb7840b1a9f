"""Looking at the folder on disk: what lies there, and what tells one file from another.

Links are not followed, and names that OneDrive does not take (``~$draft.xlsx``, ``desktop.ini``) are not seen, as its
sync client leaves them where they are.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from local_cloud.onedrive.names import fault_of

MOST_LOOKS: Final = 10  # while a large folder is being copied in, no two looks find the same


@dataclass(frozen=True, slots=True)
class Stat:
    """What the disk says of a file or folder."""

    inode: int  # 0 where the file system has none
    size_bytes: int  # 0 for a folder
    modified_ns: int  # nanoseconds since the epoch


@dataclass(frozen=True, slots=True)
class Entry:
    """Something found on disk."""

    parent: str  # path of its folder below the root, "" for the root
    name: str
    is_folder: bool
    stat: Stat

    @property
    def path(self) -> str:
        return f"{self.parent}/{self.name}"


def stat_of(path: Path | str) -> Stat:
    """Raises OSError, FileNotFoundError when nothing is there."""
    said = os.lstat(path)
    return Stat(said.st_ino, 0 if stat.S_ISDIR(said.st_mode) else said.st_size, said.st_mtime_ns)


def entries(folder: Path, parent: str) -> Iterator[Entry]:
    """Yield what lies in one folder, in no order; what vanishes while looking is left out."""
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as found:
        for each in found:
            if fault_of(each.name, in_root=parent == "") or each.is_symlink() or each.is_junction():
                continue
            with contextlib.suppress(FileNotFoundError):
                is_folder = each.is_dir(follow_symlinks=False)
                if not is_folder and not each.is_file(follow_symlinks=False):
                    continue
                # Not each.stat(): on Windows that is the directory's own, late copy of size and time, without an inode.
                yield Entry(parent, each.name, is_folder, stat_of(each.path))


def everything(folder: Path) -> list[Entry]:
    """Return all that lies below a folder; a folder comes before what is in it.

    Looks until two looks find the same: what moves from one folder to another meanwhile is found twice or not at all.
    """
    found = _found(folder)
    for _again in range(MOST_LOOKS):
        before, found = found, _found(folder)
        if _places(before) == _places(found):
            break
    return found


def _places(found: list[Entry]) -> list[tuple[str, int]]:
    return [(entry.path, entry.stat.inode) for entry in found]


def _found(folder: Path) -> list[Entry]:
    found: list[Entry] = []
    open_folders = [(folder, "")]
    while open_folders:
        path, parent = open_folders.pop()
        here = sorted(entries(path, parent), key=lambda entry: entry.name)
        found += here
        open_folders += [(path / entry.name, entry.path) for entry in here if entry.is_folder]
    return found
