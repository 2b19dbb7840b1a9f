"""What happens from outside in the histories that are explored, and how much of it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

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
    "POLL_FIRST_SECONDS": "15",  # longer than F&O needs where it is quick, so that one look is enough
}
_IMPORT: Final = {"IMPORT_DATA_PROJECT": "Customers"}
_EXPORT: Final = {
    "INPUT_FOLDER": "",
    "EXPORT_DATA_PROJECT": "Customers",
    "EXPORT_COMPANY": "USMF",
    "OUTBOUND_SCHEDULE": "*/30 * * * * *",
}


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
)
SLOW_FNO: Final = Scenario(
    name="slow",
    words="a file, where F&O does not know of an execution for 45 seconds",
    settings=_IMPORT,
    files=("USMF_one.zip",),
    shown_after_s=45,
)
# Whoever stands still in the middle of a step is explored above; here it would be the same ten times over.
LATER: Final = Scenario(
    name="later",
    words="a file that comes at any moment while another one is under way",
    settings=_IMPORT,
    files=("USMF_one.zip",),
    to_come=("USMF_two.zip",),
    may_stall=frozenset(),
)
# A look that has listed the open runs just before the first file's run was opened puts the older file in front of it,
# although F&O may be at the first one by then. F&O refuses the older one until it is done, so nothing is lost by it.
OLDER: Final = Scenario(
    name="older",
    words="an older file that comes at any moment while another one is under way",
    settings=_IMPORT,
    files=("USMF_one.zip",),
    to_come=("USMF_older.zip",),
    may_stall=frozenset(),
    may_overlap=True,
)
LOOKS_AT_ONCE: Final = Scenario(
    name="looks",
    words="a file that a notification and the minute's timer tell of at the same time, and looks that stand still",
    settings=_IMPORT,
    files=("USMF_one.zip",),
    timers=(MINUTE,),
    may_stall=frozenset({LOOKS, MINUTE}),
)
EXPORT: Final = Scenario(
    name="export",
    words="exports of increments, and a row that is changed at any moment meanwhile",
    settings=_EXPORT,
    changes=("row 1",),
    to_come=("row 2",),
    timers=(SCHEDULE,),
)
SCENARIOS: Final = (TWO_FILES, SLOW_FNO, LATER, OLDER, LOOKS_AT_ONCE, EXPORT)
