"""Ids of OneDrive folders, each looked up once per process; a folder that is missing is made."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shared.clients.graph.onedrive import OneDrive
from shared.clients.http.context import allowed_s
from shared.errors import NotFound
from shared.locks import WAIT_S, CallLocks


class FolderIds:
    """Ids by drive and path. All methods may be called by several threads at once."""

    def __init__(self, onedrive: Callable[[str], OneDrive]) -> None:
        """onedrive: returns the client of a drive."""
        self._onedrive = onedrive
        self._ids: dict[tuple[str, str], str] = {}
        self._locks = CallLocks()

    def find(self, drive: str, path: str) -> str:
        """Return the id of a folder. Raises TryAgain if another thread has asked and got no answer for ten seconds."""
        if known := self._ids.get((drive, path)):
            return known
        with self._locks.of((drive, path)).held(f"find the folder '{path}'", wait_s=allowed_s(WAIT_S)):
            found = self._ids.get((drive, path)) or self._onedrive(drive).ensure_folder(path).item_id
            self._ids[drive, path] = found
            return found

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

        Raises what ``find`` and the block raise.
        """
        folder_id = self.find(drive, path)
        try:
            yield folder_id
        except NotFound:
            self.forget(drive, path)
            raise

    def forget(self, drive: str, path: str) -> None:
        """Look for a folder anew at its next use: a person may have renamed or deleted it."""
        self._ids.pop((drive, path), None)
