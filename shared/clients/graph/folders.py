"""Ids of OneDrive folders, each looked up once per process; a folder that is missing is made."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

from shared.clients.graph.onedrive import OneDrive
from shared.clients.http.context import allowed_s
from shared.errors import NotFound
from shared.locks import WAIT_S, CallLocks

# How long an id is used for a folder's content. A person may rename or move the folder and make a new one in its place:
# the old id stays valid, and nothing but the path tells.
USED_FOR: Final = timedelta(minutes=10)


class FolderIds:
    """Ids by drive and path. All methods may be called by several threads at once."""

    def __init__(self, onedrive: Callable[[str], OneDrive], now: Callable[[], datetime]) -> None:
        """onedrive: returns the client of a drive."""
        self._onedrive = onedrive
        self._now = now
        self._known: dict[tuple[str, str], tuple[str, datetime]] = {}  # id, and when it was looked up
        self._locks = CallLocks()

    def find(self, drive: str, path: str) -> str:
        """Return the id of a folder. Raises TryAgain if another thread has asked and got no answer for ten seconds."""
        if known := self._known.get((drive, path)):
            return known[0]
        with self._locks.of((drive, path)).held(f"find the folder '{path}'", wait_s=allowed_s(WAIT_S)):
            known = self._known.get((drive, path))
            if known is None:
                known = self._known[drive, path] = self._onedrive(drive).ensure_folder(path).item_id, self._now()
            return known[0]

    def is_at(self, drive: str, path: str, folder_id: str) -> bool:
        """Return whether a folder has this id. Before it is denied, the folder is looked up anew.

        A person may have deleted, moved or made it anew since this process has looked, and another process knows that.
        Raises what ``find`` raises.
        """
        if self.find(drive, path) == folder_id:
            return True
        self.forget(drive, path)
        return self.find(drive, path) == folder_id

    @contextmanager
    def using(self, drive: str, path: str) -> Iterator[str]:
        """Yield the id of a folder for calls that need the folder to be there; forget it if they raise NotFound.

        It is looked up anew every ten minutes. Raises what ``find`` and the block raise.
        """
        known = self._known.get((drive, path))
        if known and abs(self._now() - known[1]) >= USED_FOR:
            self.forget(drive, path)
        folder_id = self.find(drive, path)
        try:
            yield folder_id
        except NotFound:
            self.forget(drive, path)
            raise

    def forget(self, drive: str, path: str) -> None:
        """Look for a folder anew at its next use: a person may have renamed or deleted it."""
        self._known.pop((drive, path), None)
