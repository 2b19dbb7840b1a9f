"""Who may get into whose way: what an invocation may still read and write, as far as others may write or read it.

Conservative: what an invocation might touch counts as touched. What a lane's worker wakes counts for it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from shared.scan import scan_requests
from tests.exploration.stand_ins import Effect, Kind

# What an invocation is for. The queue's messages are of the first three kinds.
SCAN: Final = "a scan"
IMPORTS: Final = "a lane of imports"
EXPORTS: Final = "a lane of exports"
MINUTE: Final = "the minute's timer"
SCHEDULE: Final = "the schedule of exports"
PERSON: Final = "a person"
LANE_WORK: Final = frozenset({IMPORTS, EXPORTS})

# What an effect reads is in the lower bits, what it writes in the upper ones.
_WRITES: Final = 32
_ALL_READS: Final = (1 << _WRITES) - 1

# What others than lanes' workers read, and what they write.
_OWN: Final = {
    SCAN: (("input",), ("rows",)),
    MINUTE: (("input", "fno"), ("rows", "notes", "names")),
    SCHEDULE: ((), ("rows", "notes")),
    PERSON: ((), ("rows", "names")),
}


def lane_of(text: str) -> str:
    """Return the lane that a wake-up is about; behind a blank stands perhaps a run's place."""
    return text.partition(" ")[0]


def kind_of(text: str) -> str:
    """Return what a message is for."""
    if scan_requests.is_request(text):
        return SCAN
    return IMPORTS if text.startswith("in-") else EXPORTS


def is_conflict(mine: int, others: int) -> bool:
    """Return whether one writes what the other reads or writes."""
    return bool((mine >> _WRITES) & (others | others >> _WRITES) & _ALL_READS or mine & (others >> _WRITES))


@dataclass(slots=True)
class Access:
    """What is read and written, as numbers.

    share_files: whether a file may have runs in several lanes, whose workers then touch the same file.
    """

    lanes: Sequence[str]
    share_files: bool
    _bits: dict[str, int] = field(default_factory=dict)
    _of_handlers: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def of_effect(self, effect: Effect, lane: str) -> int:
        """Return what an effect of a lane's worker touches; lane: "" for any other one."""
        bits = self._read(name for touched in effect.touches for name in self._names(touched, lane))
        return bits if effect.kind is Kind.READ else bits << _WRITES

    def of_arrival(self) -> int:
        """Return what a request touches that reaches F&O, or a change that is made there."""
        return self._written("fno")

    def of_coming(self) -> int:
        """Return what is touched by a file that comes into Input."""
        return self._written("input")

    def of_renaming(self) -> int:
        """Return what a person touches who renames a file."""
        return self._written("input", *(self._files(lane) for lane in self.lanes))

    def of_lease(self, lane: str) -> int:
        """Return what a worker touches that another one keeps out of a lane."""
        return self._written(f"lease {lane}")

    def of_rows(self) -> int:
        """Return what a worker touches that only looks once more at its lane."""
        return self._read(["rows"])

    def in_lane(self, lane: str) -> int:
        """Return what a lane's worker may touch."""
        touched = [f"lease {lane}", self._files(lane), "fno", "rows", "names"]
        return self._written(*touched, *(["input", "turn"] if lane.startswith("in-") else []))

    def until_end(self, handler: str, text: str, held: str) -> int:
        """Return what an invocation that is still to begin may touch, and those that it wakes meanwhile.

        held: the lane that somebody holds who goes on only afterwards; "": none.
        """
        key = handler, lane_of(text) if handler in LANE_WORK else "", held
        if key not in self._of_handlers:
            lanes = [key[1]] if handler in LANE_WORK else self.lanes
            reads, writes = _OWN.get(handler, ((), ()))
            touched = self._read(reads) | self._written(*writes)
            for lane in lanes:
                touched |= self.of_lease(lane) if lane == held else self.in_lane(lane)
            self._of_handlers[key] = touched
        return self._of_handlers[key]

    def _names(self, touched: str, lane: str) -> Iterable[str]:
        match touched:
            case "lease":
                return [f"lease {lane}"]
            case "lane":
                return [self._files(lane)] if lane else [self._files(each) for each in self.lanes]
        return [touched]

    def _files(self, lane: str) -> str:
        return "files" if self.share_files else f"files {lane}"

    def _read(self, names: Iterable[str]) -> int:
        bits = 0
        for name in names:
            bits |= 1 << self._bits.setdefault(name, len(self._bits))
        return bits

    def _written(self, *names: str) -> int:
        return self._read(names) << _WRITES
