"""Moments as the exploration counts them: whole seconds since its beginning.

Each kind prints in a form of its own, so that ``sameness.py`` sees what of it still makes a difference.
"""

from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

EPOCH: Final = datetime(2026, 11, 2, 8, 0, 0, tzinfo=UTC)


class Instant(int):
    """Seconds since the exploration's beginning."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"@{int(self)}@"

    def after(self, seconds: float) -> "Instant":
        return Instant(self + seconds)

    def ending(self, seconds: float) -> "Deadline":
        return Deadline(self + seconds)

    @property
    def moment(self) -> datetime:
        """The same as the app knows it."""
        return EPOCH + timedelta(seconds=int(self))


def instant(moment: datetime) -> Instant:
    """Return a moment of the app as one of the exploration's, rounded up to a whole second."""
    return Instant(-((EPOCH - moment) // timedelta(seconds=1)))


class Deadline(Instant):
    """A moment that makes no difference any more once it is over."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"^{int(self)}^"


class Due(Instant):
    """When a run is due. Nobody asks whether it is overdue by more than half a minute."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"!{int(self)}!"


class Since(NamedTuple):
    """A moment from which the app counts, and for how many seconds: later it is long ago."""

    at: int
    counted_s: int

    def __repr__(self) -> str:
        return f"&{self.at}/{self.counted_s}&"


def since(moment: datetime | None, counted_s: int) -> Since | None:
    """Return a moment from which the app counts for so many seconds; None if there is none."""
    return None if moment is None else Since(int(instant(moment)), counted_s)


BEGINNING: Final = Instant(0)
