"""Lists of runs, open and ended, for people: listings alone, no record is read."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from shared.runs.addresses import is_open_name
from shared.runs.rows import Pause, RunRow, ended_row_from, open_row_from, pauses_from

if TYPE_CHECKING:
    from shared.azure_storage.container import BlobContainer

_DAY: Final = timedelta(days=1)
_DAY_OVER: Final = "-"  # in the place of a continuation token: all rows of the day were seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Some rows of the history, newest first."""

    rows: tuple[RunRow, ...]
    position: str  # continuation token: ``after`` of the next page
    is_last_of_day: bool


class RunIndex:
    """Lists of runs in a blob container. All verbs raise TryAgain and NeedsPerson."""

    def __init__(self, container: "BlobContainer", strict_flows: Collection[str] = ()) -> None:
        """strict_flows: those with strictOrder."""
        self._container = container
        self._strict_flows = strict_flows

    def open_rows(self) -> list[RunRow]:
        """List all open runs, lane by lane, by their sort keys. One listing."""
        return self.open_rows_and_pauses()[0]

    def open_rows_and_pauses(self) -> tuple[list[RunRow], list[Pause]]:
        """List all open runs, and the lanes that are paused. One listing."""
        blobs = self._container.list_rows("open/")
        rows = [open_row_from(blob) for blob in blobs if is_open_name(blob.name)]
        strict_lanes = {row.lane for row in rows if row.integration in self._strict_flows}
        rows = [replace(row, is_aside=False) if row.damage and row.lane in strict_lanes else row for row in rows]
        return rows, pauses_from(blobs)

    def ended_rows(
        self,
        newest: date,
        oldest: date | None = None,
        *,
        only_failed: bool = False,
        after: str = "",
        at_once: int = 50,
    ) -> Iterator[Rows]:
        """List ended runs by the time of their opening, newest first, a few at a time.

        What is not asked for is not listed: the newest cost the same however many there are.
        newest, oldest: days in UTC; only_failed: those of which a person was told; after: the position of the page
        before, an invalid one is ignored; at_once: how many rows one call of storage is to bring.
        """
        folder = "failed" if only_failed else "ended"
        newest, token = _parse_position(after) or (newest, "")
        for day in self._days(folder, newest, oldest):
            while token != _DAY_OVER:
                blobs, following = self._container.list_page(f"{folder}/{day:%Y/%m/%d}/", after=token, at_most=at_once)
                token = following or _DAY_OVER
                yield Rows(
                    rows=tuple(ended_row_from(blob) for blob in blobs),
                    position=f"{day}~{token}",
                    is_last_of_day=token == _DAY_OVER,
                )
            token = ""

    def _days(self, folder: str, newest: date, oldest: date | None) -> Iterator[date]:
        """Yield the days on which there may be rows, the newest first; months without any are left out."""
        yield newest
        if newest == oldest:
            return
        day, first_ever = newest - _DAY, self._first_day(f"{folder}/")
        while first_ever and day >= max(first_ever, oldest or first_ever):
            month = day.replace(day=1)
            if self._first_day(f"{folder}/{day:%Y/%m}/"):
                while day >= max(month, first_ever, oldest or first_ever):
                    yield day
                    day -= _DAY
            day = month - _DAY

    def _first_day(self, prefix: str) -> date | None:
        """Return the day of the first row of a listing, None if it is empty."""
        blobs, _ = self._container.list_page(prefix, at_most=1)
        return date.fromisoformat("-".join(blobs[0].name.split("/")[1:4])) if blobs else None


def is_position(text: str) -> bool:
    """Return whether a text may be a position, as ``ended_rows`` takes it."""
    return _parse_position(text) is not None


def _parse_position(position: str) -> tuple[date, str] | None:
    """Return the day and the continuation token of a position, None for a text that is none."""
    day, _, token = position.partition("~")
    try:
        return (date.fromisoformat(day), token) if token and day > "2000" else None
    except ValueError:
        return None
