"""A folder on disk as a drive: driveItems with ids and versions over real files and folders.

The disk is the truth. Whoever puts, renames or deletes a file by hand changes the drive; `scan` finds out what
happened. Ids survive moves (through the API always; by hand where the file system gives inodes) and restarts. HTTP,
JSON and tokens are not this file's business.
"""

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from local_cloud.onedrive.disk import Entry, Stat, entries, everything, stat_of
from local_cloud.onedrive.errors import (
    GraphError,
    checked_out_already,
    columns_not_filled,
    item_not_found,
    locked,
    misuse,
    name_already_exists,
    not_checked_out,
    on_hold,
    resource_modified,
)
from local_cloud.onedrive.index import Index
from local_cloud.onedrive.item import Item, is_guid, item_id_of, new_guid
from local_cloud.onedrive.knobs import Knobs, matches
from local_cloud.onedrive.names import check_name, check_path, numbered, same_name
from local_cloud.onedrive.quick_xor import hashing_of

ROOT_GUID: Final = "00000000-0000-0000-0000-000000000001"
CONFLICT_BEHAVIORS: Final = frozenset({"fail", "replace", "rename"})
PERSON: Final = "a person"  # who has checked out what the setting checked_out names
LEFT_KEPT_S: Final = 600.0  # seconds that the memory of what left a folder is kept; no lag is longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """The fileSystemInfo that a client sends; seconds since the epoch."""

    created_s: float | None = None
    modified_s: float | None = None


@dataclass(frozen=True, slots=True)
class _Left:
    """What a lagging listing still shows: an item as it was where it is no longer."""

    item: Item
    at_s: float


class Drive:
    """One drive. Thread-safe; every method may block on the disk."""

    def __init__(
        self,
        folder: Path,
        *,
        drive_id: str,
        knobs: Knobs,
        side_folder: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """folder: what people see; side_folder: for the index, unfinished uploads and the recycle bin.

        The side folder lies on the same disk, so that an upload appears by one rename; beside the folder, hidden, if
        None.
        """
        self.folder = folder.resolve()
        self.drive_id = drive_id
        self.root_id = item_id_of(ROOT_GUID, drive_id)
        self.on_change: Callable[[], None] = lambda: None  # called after each change, from any thread, under the lock
        self._knobs = knobs
        self._clock = clock
        self._side = (side_folder or self.folder.parent / f".{self.folder.name}.onedrive").resolve()
        self._lock = threading.RLock()
        self._items: dict[str, Item] = {}
        self._gone: dict[str, Item] = {}
        self._children: dict[str, dict[str, str]] = {}  # id of a folder -> name -> id
        self._unsettled: set[str] = set()
        self._left: list[_Left] = []
        self._sequence = 0
        self._closing = threading.Event()
        self._hashing: set[str] = set()
        self._hasher = ThreadPoolExecutor(1, thread_name_prefix="quickXorHash")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.uploads_folder = self._side / "uploads"
        self._recycle_bin = self._side / "recycle-bin"
        shutil.rmtree(self.uploads_folder, ignore_errors=True)
        self.uploads_folder.mkdir(parents=True)
        self._recycle_bin.mkdir(exist_ok=True)
        self._index = Index(self._side / "index.sqlite")
        self._load()
        self.scan()

    def close(self) -> None:
        self._closing.set()
        self._hasher.shutdown()
        with self._lock:
            self._index.close()

    # What is there

    @property
    def sequence(self) -> int:
        """How many changes there have been."""
        return self._sequence

    def get(self, item_id: str) -> Item:
        """Return the item as it now is on disk. Raises GraphError 404."""
        with self._lock:
            item = self._items.get(item_id)
            if item is not None and self._differs(item):
                self._scan_locked()
                item = self._items.get(item_id)
            if item is None:
                raise item_not_found()
            return item

    def by_guid(self, guid: str) -> Item:
        """Like `get`, for the UniqueId of a download address."""
        if not is_guid(guid):
            raise item_not_found()
        return self.get(item_id_of(guid, self.drive_id))

    def find(self, start_id: str, names: Sequence[str]) -> Item:
        """Return the item at the end of a path that begins in a folder. Raises GraphError 404."""
        with self._lock:
            item = self.get(start_id)
            for name in names:
                found = self._lookup(item, name) if item.is_folder else None
                if found is None:
                    raise item_not_found()
                item = found
            return item

    def lookup(self, folder_id: str, name: str) -> Item | None:
        """Return the item of this name in a folder, or None. Raises GraphError when there is no such folder."""
        with self._lock:
            return self._lookup(self._folder(folder_id), name)

    def children(self, folder_id: str) -> list[Item]:
        """Return what a listing of the folder shows now, in the order of names."""
        with self._lock:
            folder = self.get(folder_id)
            self.look_into(folder)
            here = [self._items[each] for each in self._children.get(folder.item_id, {}).values()]
            lag_s = self._knobs.listing_lag_s
            if lag_s > 0:
                now = self._clock()
                here = [item for item in here if item.placed_s + lag_s <= now]
                shown = {item.item_id for item in here}
                here += [
                    left.item
                    for left in self._left
                    if left.item.parent_id == folder_id
                    and left.item.placed_s + lag_s <= left.at_s
                    and left.at_s + lag_s > now
                    and left.item.item_id not in shown
                ]
            return sorted(here, key=lambda item: (item.name.casefold(), item.item_id))

    def look_into(self, folder: Item) -> None:
        """Take over what has changed on disk in this folder, if it is one."""
        with self._lock:
            if folder.is_folder and self._folder_differs(folder):
                self._scan_locked()

    def child_count(self, folder: Item) -> int:
        """Return how many children the folder has on disk now."""
        with self._lock:
            self.look_into(folder)
            return len(self._children.get(folder.item_id, {}))

    def names_of(self, item: Item) -> list[str]:
        """Return the names from below the root down to the item."""
        with self._lock:
            names: list[str] = []
            while not item.is_root:
                names.insert(0, item.name)
                item = self._items[item.parent_id] if item.parent_id in self._items else self._gone[item.parent_id]
            return names

    def ancestors(self, item: Item) -> list[Item]:
        """Return the folders above an item, nearest first."""
        with self._lock:
            above = []
            while item.parent_id in self._items:
                item = self._items[item.parent_id]
                above.append(item)
            return above

    def path_of(self, item: Item) -> Path:
        """Return where the item lies on disk."""
        return self.folder.joinpath(*self.names_of(item))

    def is_pending(self, item: Item) -> bool:
        """Say whether the file was seen too lately to be sure that it is whole."""
        return item.seen_s > 0 and self._clock() < item.seen_s + self._knobs.pending_s

    def used_bytes(self) -> int:
        with self._lock:
            return sum(item.stat.size_bytes for item in self._items.values())

    def quick_xor(self, item: Item) -> str | None:
        """Return the content's hash; None for a folder, an empty file, or as long as a large file's is not ready."""
        if item.is_folder or item.stat.size_bytes == 0:
            return None
        if item.quick_xor is not None:
            return item.quick_xor
        if item.stat.size_bytes <= self._knobs.hash_at_once_bytes:
            return self._hash(item)
        with self._lock:
            if item.item_id not in self._hashing and not self._closing.is_set():
                self._hashing.add(item.item_id)
                self._hasher.submit(self._hash, item)
        return None

    def changes(self, *, after: int, until: int) -> list[Item]:
        """Return the latest state of each item that changed after one and up to another change, in their order."""
        with self._lock:
            candidates = [*self._items.values(), *(self._gone.values() if after else ())]
            changed = [item for item in candidates if after < item.sequence <= until]
            return sorted(changed, key=lambda item: item.sequence)

    def visible_sequence(self) -> int:
        """Return the last change that a delta may show now: all of them, unless listings lag."""
        with self._lock:
            horizon = self._clock() - self._knobs.listing_lag_s
            if self._knobs.listing_lag_s <= 0:
                return self._sequence
            waiting = [
                item.sequence for item in (*self._items.values(), *self._gone.values()) if item.changed_s > horizon
            ]
            return min(waiting) - 1 if waiting else self._sequence

    # What the API changes

    def create_folder(self, parent_id: str, name: str, conflict: str) -> tuple[Item, bool]:
        """Return the folder, and whether it is new. Raises GraphError 400, 404, 409."""
        with self._lock:
            parent = self._folder(parent_id)
            self._check_place(parent, name)
            existing = self._lookup(parent, name)
            if existing is not None:
                if conflict == "rename":
                    name = self._free_name(parent, name, is_folder=True)
                elif conflict == "replace" and existing.is_folder:
                    return existing, False
                else:
                    raise name_already_exists()
            path = self.path_of(parent) / name
            path.mkdir()
            return self._add(parent.item_id, name, is_folder=True, stat=stat_of(path)), True

    def change(
        self,
        item_id: str,
        *,
        parent_id: str | None = None,
        name: str | None = None,
        times: Times | None = None,
        if_match: str | None = None,
        by: str = "",
    ) -> Item:
        """Move, rename, or set the times of an item; its id stays. by: who wants it, as in Item.checked_out_by.

        Raises GraphError 400, 403, 404, 409, 412, 423.
        """
        with self._lock:
            item = self.get(item_id)
            check_match(item, if_match)
            self._refuse_if_protected(item, by)
            if item.is_root:
                raise GraphError(400, "invalidRequest", "The root cannot be changed.")
            parent = self._folder(parent_id or item.parent_id)
            new_name = item.name if name is None else name
            if (parent.item_id, new_name) != (item.parent_id, item.name):
                item = self._move(item, parent, new_name)
            if times is not None and times.modified_s is not None:
                path = self.path_of(item)
                os.utime(path, (times.modified_s, times.modified_s))
                item = self._save(replace(item, stat=stat_of(path), version=item.version + 1))
            return item

    def delete(self, item_id: str, *, if_match: str | None = None, by: str = "") -> None:
        """Move an item to the recycle bin, with all that is in it. Raises GraphError 400, 403, 404, 412, 423."""
        with self._lock:
            item = self.get(item_id)
            check_match(item, if_match)
            self._refuse_if_protected(item, by)
            if item.is_root:
                raise GraphError(400, "invalidRequest", "The root cannot be deleted.")
            self.path_of(item).replace(self._recycle_bin / f"{self._sequence}-{item.item_id}-{item.name}")
            with self._index.together():
                for each in [*self._below(item), item]:
                    self._remove(each)

    def fill(
        self,
        content: Path,
        parent_id: str,
        name: str,
        *,
        conflict: str,
        quick_xor: str | None,
        times: Times | None = None,
        if_match: str | None = None,
        by: str = "",
    ) -> tuple[Item, bool]:
        """Let an uploaded file appear in the drive; `content` is moved there. Return the item, and whether it is new.

        by: who uploaded it, as in Item.checked_out_by. Raises GraphError 400, 403, 404, 409, 412, 423; the content is
        still where it was then.
        """
        with self._lock:
            parent = self._folder(parent_id)
            self._check_place(parent, name)
            existing = self._lookup(parent, name)
            if existing is not None:
                check_match(existing, if_match)
                if conflict == "rename":
                    name = self._free_name(parent, name, is_folder=False)
                    existing = None
                elif conflict == "fail" or existing.is_folder:
                    raise name_already_exists()
                else:
                    self._refuse_if_protected(existing, by)
                    name = existing.name
            elif if_match is not None:
                raise resource_modified()
            if times is not None and times.modified_s is not None:
                os.utime(content, (times.modified_s, times.modified_s))
            path = self.path_of(parent) / name
            _into_place(content, path)
            holder = by if self._knobs.requires_check_out else ""
            if existing is not None:
                refilled = existing.refilled(stat_of(path), quick_xor=quick_xor)
                return self._save(replace(refilled, checked_out_by=holder or existing.checked_out_by)), False
            created_s = None if times is None else times.created_s
            item = self._add(
                parent_id, name, stat=stat_of(path), quick_xor=quick_xor, created_s=created_s, checked_out_by=holder
            )
            return item, True

    def holder(self, item: Item) -> str:
        """Return who has the file checked out, as in Item.checked_out_by."""
        if item.is_folder:
            return ""
        return PERSON if matches(item.name, self._knobs.checked_out) is not None else item.checked_out_by

    def check_in(self, item_id: str, by: str) -> None:
        """Let everybody see the file as it is now. Raises GraphError 400, 404, 423."""
        with self._lock:
            item = self.get(item_id)
            if not self.holder(item):
                raise not_checked_out()
            self._refuse_if_protected(item, by)
            self._save(replace(item, checked_out_by="", version=item.version + 1))

    def check_out(self, item_id: str, by: str) -> None:
        """Keep others from changing the file. Raises GraphError 400, 404, 423, 500."""
        with self._lock:
            item = self.get(item_id)
            if item.is_folder:
                raise GraphError(400, "invalidRequest", "A folder cannot be checked out.")
            if self.holder(item) not in ("", by):
                raise checked_out_already()
            self._refuse_if_protected(item, by)
            self._save(replace(item, checked_out_by=by, version=item.version + 1))

    def copy(self, item_id: str, parent_id: str, name: str, conflict: str, *, by: str = "") -> Item:
        """Copy a file, or a folder with all that is in it. Raises GraphError 400, 404, 409."""
        item, parent = self.get(item_id), self.get(parent_id)
        half = self.uploads_folder / f"copy-{new_guid()}"
        if item.is_folder:
            shutil.copytree(self.path_of(item), half)
        else:
            shutil.copy2(self.path_of(item), half)
            return self.fill(half, parent.item_id, name, conflict=conflict, quick_xor=item.quick_xor, by=by)[0]
        with self._lock:
            self._check_place(parent, name)
            if self._lookup(parent, name) is not None:
                if conflict != "rename":
                    shutil.rmtree(half)
                    raise name_already_exists()
                name = self._free_name(parent, name, is_folder=True)
            _into_place(half, self.path_of(parent) / name)
            self._scan_locked()
            return self.find(parent.item_id, [name])

    def check_place(self, parent_id: str, name: str) -> None:
        """Raise the GraphError for a place where nothing can be put."""
        with self._lock:
            self._check_place(self._folder(parent_id), name)

    # What people change on disk

    def scan(self) -> None:
        """Take over what was changed on disk since the last time."""
        before = self._sequence
        found = everything(self.folder)
        with self._lock:
            if self._sequence == before:
                self._reconcile(found)
            else:
                self._scan_locked()  # the API changed something meanwhile, so what was read is of two times

    def _scan_locked(self) -> None:
        self._reconcile(everything(self.folder))

    def _reconcile(self, found: Sequence[Entry]) -> None:
        now = self._clock()
        match = _Matching(found, self._items, self._children)
        with self._index.together():
            places = {"": self.root_id}
            for entry in sorted(found, key=lambda entry: not entry.is_folder):  # stable: parents stay before children
                parent_id = places[entry.parent]
                item = match.item_of(entry, parent_id)
                if item is None:
                    item = self._add(parent_id, entry.name, is_folder=entry.is_folder, stat=entry.stat, seen_s=now)
                else:
                    item = self._updated(item, entry, parent_id, now)
                match.claimed.add(item.item_id)
                if entry.is_folder:
                    places[entry.path] = item.item_id
            vanished = [item for item in self._items.values() if not item.is_root and item.item_id not in match.claimed]
            for item in vanished:
                self._remove(item)
            self._settle(now)

    def _updated(self, item: Item, entry: Entry, parent_id: str, now: float) -> Item:
        changed = item
        if (item.parent_id, item.name) != (parent_id, entry.name):
            changed = changed.moved(parent_id, entry.name, now)
        if not entry.is_folder and item.stat != entry.stat:
            changed = changed.refilled(entry.stat, seen_s=now)
        return item if changed is item else self._save(changed)

    def _settle(self, now: float) -> None:
        """Files that have not changed for the time that they count as pending are whole, which is a change too."""
        for item_id in list(self._unsettled):
            item = self._items.get(item_id)
            if item is None or item.seen_s == 0:
                self._unsettled.discard(item_id)
            elif now >= item.seen_s + self._knobs.pending_s:
                self._save(replace(item, seen_s=0.0), is_change=self._knobs.pending_s > 0)

    def _differs(self, item: Item) -> bool:
        try:
            stat = stat_of(self.path_of(item))
        except FileNotFoundError:
            return not item.is_root
        return not item.is_root and (stat.inode != item.stat.inode if item.is_folder else stat != item.stat)

    def _folder_differs(self, folder: Item) -> bool:
        known = self._children.get(folder.item_id, {})
        parent = "".join(f"/{name}" for name in self.names_of(folder))
        seen = 0
        for entry in entries(self.path_of(folder), parent):
            seen += 1
            item = self._items.get(known.get(entry.name, ""))
            if item is None or item.is_folder != entry.is_folder:
                return True
            if item.stat.inode != entry.stat.inode or (not item.is_folder and item.stat != entry.stat):
                return True
        return seen != len(known)

    # Parts of the above, under the lock

    def _load(self) -> None:
        root_stat = Stat(0, 0, self.folder.stat().st_mtime_ns)
        try:
            items = [Item.from_row(row) for row in self._index.rows()]
        except (KeyError, TypeError):
            items = []  # an index of another version: ids begin anew, files stay
        for item in items:
            self._sequence = max(self._sequence, item.sequence)
            if item.deleted:
                self._gone[item.item_id] = item
            else:
                self._items[item.item_id] = item
                if not item.is_root:
                    self._children.setdefault(item.parent_id, {})[item.name] = item.item_id
                if item.seen_s:
                    self._unsettled.add(item.item_id)
        if self.root_id not in self._items:
            root = Item(
                item_id=self.root_id,
                guid=ROOT_GUID,
                parent_id="",
                name="root",
                is_folder=True,
                created_s=self._clock(),
                stat=root_stat,
            )
            self._save(root)

    def _save(self, item: Item, *, is_change: bool = True) -> Item:
        now = self._clock()
        old = self._items.get(item.item_id)
        if is_change:
            self._sequence += 1
            item = replace(item, sequence=self._sequence, changed_s=now)
        if old is not None and (old.parent_id, old.name) != (item.parent_id, item.name):
            self._forget_place(old)
            self._remember_left(old, now)
        self._items[item.item_id] = item
        if not item.is_root:
            self._children.setdefault(item.parent_id, {})[item.name] = item.item_id
        if item.seen_s:
            self._unsettled.add(item.item_id)
        self._index.write([(item.item_id, item.to_row())])
        if is_change:
            self.on_change()
        return item

    def _add(
        self,
        parent_id: str,
        name: str,
        *,
        stat: Stat,
        is_folder: bool = False,
        quick_xor: str | None = None,
        created_s: float | None = None,
        seen_s: float = 0.0,
        checked_out_by: str = "",
    ) -> Item:
        guid, now = new_guid(), self._clock()
        return self._save(
            Item(
                item_id=item_id_of(guid, self.drive_id),
                guid=guid,
                parent_id=parent_id,
                name=name,
                is_folder=is_folder,
                created_s=now if created_s is None else created_s,
                stat=stat,
                quick_xor=quick_xor,
                placed_s=now,
                seen_s=0.0 if is_folder else seen_s,
                checked_out_by=checked_out_by,
            )
        )

    def _remove(self, item: Item) -> None:
        now = self._clock()
        self._sequence += 1
        gone = replace(item, deleted=True, sequence=self._sequence, changed_s=now)
        del self._items[item.item_id]
        self._gone[item.item_id] = gone
        self._forget_place(item)
        self._remember_left(item, now)
        self._index.write([(gone.item_id, gone.to_row())])
        self.on_change()

    def _forget_place(self, item: Item) -> None:
        siblings = self._children.get(item.parent_id, {})
        if siblings.get(item.name) == item.item_id:  # else another item has taken the name meanwhile
            del siblings[item.name]

    def _remember_left(self, item: Item, now: float) -> None:
        if self._knobs.listing_lag_s > 0:
            self._left = [left for left in self._left if left.at_s + LEFT_KEPT_S > now]
            self._left.append(_Left(item, now))

    def _folder(self, item_id: str) -> Item:
        folder = self.get(item_id)
        if not folder.is_folder:
            raise GraphError(400, "invalidRequest", "The parent is not a folder.")
        return folder

    def _lookup(self, folder: Item, name: str) -> Item | None:
        item = self._named(folder, name)
        if self._folder_differs(folder) if item is None else self._differs(item):
            self._scan_locked()
            item = self._named(folder, name)
        return item

    def _named(self, folder: Item, name: str) -> Item | None:
        siblings = self._children.get(folder.item_id, {})
        item_id = siblings.get(name) or next((siblings[each] for each in siblings if same_name(each, name)), None)
        return None if item_id is None else self._items[item_id]

    def _check_place(self, parent: Item, name: str) -> None:
        check_name(name, in_root=parent.is_root)
        check_path("".join(f"/{each}" for each in [*self.names_of(parent), name]))

    def _free_name(self, parent: Item, name: str, *, is_folder: bool) -> str:
        number = 1
        while self._lookup(parent, numbered(name, number, is_folder=is_folder)) is not None:
            number += 1
        return numbered(name, number, is_folder=is_folder)

    def _refuse_if_protected(self, item: Item, by: str) -> None:
        if self.holder(item) not in ("", by):
            raise locked("notAllowed")
        pattern = matches(item.name, self._knobs.locked)
        if pattern is not None:
            raise locked(self._knobs.locked[pattern])
        if matches(item.name, self._knobs.held) is not None:
            raise on_hold()

    def _move(self, item: Item, parent: Item, name: str) -> Item:
        self._check_place(parent, name)
        if self._knobs.required_columns and not item.is_folder:
            raise columns_not_filled("move")
        existing = self._lookup(parent, name)
        if existing is not None and existing.item_id != item.item_id:
            raise name_already_exists()
        if item.is_folder and (parent.item_id == item.item_id or parent in self._below(item)):
            raise GraphError(400, "invalidRequest", "A folder cannot be moved into itself.")
        target = self.path_of(parent) / name
        try:
            self.path_of(item).rename(target)
        except PermissionError as error:  # Windows does not rename a file that another program has open
            raise locked("resourceLocked") from error
        return self._save(replace(item.moved(parent.item_id, name, self._clock()), stat=stat_of(target)))

    def _below(self, item: Item) -> list[Item]:
        below: list[Item] = []
        for child_id in self._children.get(item.item_id, {}).values():
            child = self._items[child_id]
            below += [*self._below(child), child]
        return below

    def _hash(self, item: Item) -> str | None:
        quick_xor = None
        with contextlib.suppress(OSError):  # gone, or locked by who writes it: there is no hash then
            quick_xor = hashing_of(self.path_of(item), stop=self._closing).base64()
        with self._lock:
            self._hashing.discard(item.item_id)
            now = self._items.get(item.item_id)
            if quick_xor is None or now is None or now.stat != item.stat or self._closing.is_set():
                return None
            self._save(replace(now, quick_xor=quick_xor), is_change=False)
        return quick_xor


class _Matching:
    """Which of the known items each entry on disk is."""

    def __init__(self, found: Sequence[Entry], items: dict[str, Item], children: dict[str, dict[str, str]]) -> None:
        self.claimed: set[str] = set()  # ids of items that have been found
        self._items = dict(items)
        self._places = {folder_id: dict(names) for folder_id, names in children.items()}
        self._on_disk = {_identity(entry.is_folder, entry.stat) for entry in found}
        self._by_identity = {_identity(item.is_folder, item.stat): item for item in items.values() if item.stat.inode}

    def item_of(self, entry: Entry, parent_id: str) -> Item | None:
        """Return the item: the same file at the same place, or at another one, or new content in its place."""
        identity = _identity(entry.is_folder, entry.stat)
        here = self._items.get(self._places.get(parent_id, {}).get(entry.name, ""))
        if here is not None and (here.item_id in self.claimed or here.is_folder != entry.is_folder):
            here = None
        if here is not None and _identity(here.is_folder, here.stat) == identity:
            return here
        moved = self._by_identity.get(identity)
        if moved is not None and not moved.is_root and moved.item_id not in self.claimed:
            return moved
        if here is not None and (not here.stat.inode or _identity(here.is_folder, here.stat) not in self._on_disk):
            return here
        return None  # new; what was here before lies elsewhere now


def _identity(is_folder: bool, stat: Stat) -> tuple[object, ...]:
    """Return what tells a file from others: a number alone may be given to the next file after a deletion."""
    return (True, stat.inode) if is_folder else (False, stat.inode, stat.size_bytes, stat.modified_ns)


def check_match(item: Item, if_match: str | None) -> None:
    """Raise GraphError 412 unless the If-Match header fits the item; None always fits.

    Either tag is taken: https://learn.microsoft.com/graph/api/driveitem-update
    """
    if if_match is not None and if_match not in (item.etag, item.ctag, "*"):
        raise resource_modified()


def conflict_behavior(text: str | None, default: str) -> str:
    """Return the conflictBehavior asked for. Raises GraphError 400."""
    if text is None:
        return default
    if text.lower() not in CONFLICT_BEHAVIORS:
        raise misuse("@microsoft.graph.conflictBehavior is not fail, replace or rename")
    return text.lower()


def _into_place(content: Path, path: Path) -> None:
    try:
        content.replace(path)
    except PermissionError as error:  # Windows, with the target open in another program
        raise locked("resourceLocked") from error
