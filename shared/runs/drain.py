"""Whether the app drains: it opens, claims and submits nothing new, and ends what F&O has. For updates of F&O.

A person's switch is one blob, ``open/!drain``, with who and why as metadata. It lies among the open runs, so whoever
lists all of them (a scan, the timers) sees it at no cost. A worker that is about to begin a run or to submit it asks
for it, at most once in half a minute a process. The app setting DRAIN is the same for as long as it is true.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from shared.moments import utc_text
from shared.runs.rows import Pause, metadata_of_pause, pause_from

if TYPE_CHECKING:
    from shared.azure_storage.container import BlobContainer, BlobRow

NAME: Final = "open/!drain"
# How long a process believes that the app does not drain. That it drains is asked for each time.
SEEN_FOR: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """A drain that is on."""

    by: str
    why: str
    since: datetime | None  # None: the setting DRAIN does not tell
    is_setting: bool = False

    @property
    def text(self) -> str:
        """What people read of it."""
        if self.is_setting:
            return "The app is draining because the app setting DRAIN is true."
        when = f" at {utc_text(self.since)}" if self.since else ""
        why = self.why.rstrip(". ")
        return f"The app is draining. {self.by[:1].upper()}{self.by[1:]} started it{when}{f': {why}' if why else ''}."


class DrainSwitch:
    """The switch in a blob container, and the setting. Verbs that ask storage raise TryAgain and NeedsPerson."""

    def __init__(self, container: "BlobContainer", *, is_set: bool, clock: Callable[[], datetime]) -> None:
        """is_set: the setting; clock: returns the present moment."""
        self._container = container
        self._is_set = is_set
        self._now = clock
        self._seen_off: datetime | None = None  # when it was last seen to be off; None: it was on, or nobody has looked

    def is_on(self) -> bool:
        """Return whether the app drains, as it was half a minute ago at the earliest."""
        if self._is_set:
            return True
        if self._seen_off and abs(self._now() - self._seen_off) < SEEN_FOR:
            return False
        return self.read() is not None

    def read(self) -> Drain | None:
        """Return the drain that is on now. One listing of one row."""
        blobs, _ = self._container.list_page(NAME, at_most=1)
        return self.note(next((blob for blob in blobs if blob.name == NAME), None))

    def note(self, blob: "BlobRow | None") -> Drain | None:
        """Note what somebody has listed, None if there was no switch; return the drain that is on."""
        self.note_seen(is_there=blob is not None)
        if blob:
            pause = pause_from(blob)
            return Drain(by=pause.by, why=pause.why, since=pause.since)
        return Drain(by="", why="", since=None, is_setting=True) if self._is_set else None

    def note_seen(self, *, is_there: bool) -> None:
        """Note that somebody has listed the names of all open runs, and whether the switch is among them."""
        self._seen_off = None if is_there else self._now()

    def begin(self, by: str, why: str) -> Drain | None:
        """Switch it on; return the drain that is on already, None if there was none."""
        switch = Pause(lane="", by=by, why=why, since=self._now())
        self._seen_off = None
        if self._container.create(NAME, b"", metadata_of_pause(switch)):
            return None
        return self.read()

    def end(self) -> bool:
        """Switch it off; return False if it was off. The setting stays."""
        return self._container.delete(NAME)
