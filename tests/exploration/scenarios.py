"""What happens from outside in the histories that are explored, and how much of it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

from shared.clients.wake_queue import EXPORT_WORK, IMPORT_WORK, LOOKS
from shared.settings import read_settings
from tests.exploration.scheduler import MINUTE, SCHEDULE, Scheduler, State, put_file
from tests.exploration.stand_ins import Port, know_contents, stand_ins
from tests.exploration.world import World

WORKERS: Final = 2

_SETTINGS: Final = {
    "FO_URL": "https://contoso.operations.dynamics.com",
    "ONEDRIVE_DRIVE": "drives/explored",
    "AzureWebJobsStorage": "UseDevelopmentStorage=true",
    # A worker looks at once and does not stay: to stay is the same as an answer that takes long.
    "POLL_STAY_SECONDS": "0.1",
    "POLL_FIRST_SECONDS": "15",  # longer than F&O needs where it is quick, so that one more look is enough
}
_IMPORT: Final = {"IMPORT_DATA_PROJECT": "Customers"}
_EXPORT: Final = {
    "INPUT_FOLDER": "",
    "EXPORT_DATA_PROJECT": "Customers",
    "EXPORT_COMPANY": "USMF",
    "OUTBOUND_SCHEDULE": "*/30 * * * * *",
}


class Bound(NamedTuple):
    """How much may go wrong in one history."""

    faults: int
    stalls: int  # how many of these may be workers that stand still, which makes by far the most histories

    def at_most(self, faults: int, stalls: int) -> "Bound":
        """Return the bound, or one that is narrower."""
        return Bound(min(self.faults, faults), min(self.stalls, stalls, faults))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What happens from outside in every history of this kind."""

    name: str
    words: str
    settings: Mapping[str, str]
    files: tuple[str, ...] = ()  # in Input from the beginning
    changes: tuple[str, ...] = ()  # rows of F&O that wait for an export from the beginning
    to_come: tuple[str, ...] = ()  # files and rows that come at any moment
    timers: tuple[str, ...] = ()  # that come at any moment, and later when they find something to do
    shown_after_s: int = 0  # how long F&O says "not found" about an execution that it has accepted
    may_stall: frozenset[str] = frozenset({IMPORT_WORK, EXPORT_WORK})
    may_overlap: bool = False
    bounds: tuple[Bound, ...]  # of the whole exploration, one after the other

    def start(self) -> State:
        """Return how each history begins."""
        zips = [name for name in (*self.files, *self.to_come) if name.endswith(".zip")]
        world = World(
            items={},
            sessions={},
            blobs={},
            executions={},
            records={},
            ended={},
            marks={},
            leases={},
            messages={},
            changes=self.changes,
            to_come=self.to_come,
            timers=self.timers,
            shown_after_s=self.shown_after_s,
            overlaps_count=not self.may_overlap,
            files=tuple(name.removesuffix(".zip").partition("_")[2] for name in zips),
        )
        know_contents(world.files)
        for name in self.files:
            put_file(world, name)
        return State(world, (None,) * WORKERS)

    @contextmanager
    def scheduler(self, most_stalls: int) -> Iterator[Scheduler]:
        """Let the real flows work in this scenario until the block ends; at most so many workers stand still."""
        settings, port = read_settings({**_SETTINGS, **self.settings}), Port()
        with stand_ins(settings, port) as services:
            yield Scheduler(services, port, self.may_stall if most_stalls else frozenset(), most_stalls)


TWO_FILES: Final = Scenario(
    name="two-files",
    words="two files of one lane",
    settings=_IMPORT,
    files=("USMF_one.zip", "USMF_two.zip"),
    bounds=(Bound(3, 3),),
)
SLOW_FNO: Final = Scenario(
    name="slow",
    words="a file, where F&O knows of no execution for 45 seconds",
    settings=_IMPORT,
    files=("USMF_one.zip",),
    shown_after_s=45,
    bounds=(Bound(3, 3),),
)
# Whoever stands still in the middle of a step is explored above; here it would be the same ten times over.
LATER: Final = Scenario(
    name="later",
    words="a file that comes at any moment, another one under way",
    settings=_IMPORT,
    files=("USMF_one.zip",),
    to_come=("USMF_two.zip",),
    bounds=(Bound(1, 0),),
    may_stall=frozenset(),
)
# A look that has listed the open runs just before the first file's run was opened puts the older file in front of it,
# although F&O may be at the first one by then. F&O refuses the older one until it is done, so nothing is lost by it.
OLDER: Final = Scenario(
    name="older",
    words="the same, and the file that comes is the older one",
    settings=_IMPORT,
    files=("USMF_one.zip",),
    to_come=("USMF_older.zip",),
    bounds=(Bound(1, 0),),
    may_stall=frozenset(),
    may_overlap=True,
)
LOOKS_AT_ONCE: Final = Scenario(
    name="looks",
    words="a file that a message and the timer tell of at once",
    settings=_IMPORT,
    files=("USMF_one.zip",),
    timers=(MINUTE,),
    bounds=(Bound(2, 1),),
    may_stall=frozenset({LOOKS, MINUTE}),
)
ONE_EXPORT: Final = Scenario(
    name="one-export",
    words="one export",
    settings=_EXPORT,
    changes=("row 1",),
    timers=(SCHEDULE,),
    bounds=(Bound(3, 3),),
)
EXPORT: Final = Scenario(
    name="export",
    words="exports, and a row that is changed at any moment",
    settings=_EXPORT,
    changes=("row 1",),
    to_come=("row 2",),
    timers=(SCHEDULE,),
    bounds=(Bound(2, 0), Bound(1, 1)),
)
SCENARIOS: Final = (TWO_FILES, SLOW_FNO, ONE_EXPORT, EXPORT, LATER, OLDER, LOOKS_AT_ONCE)
