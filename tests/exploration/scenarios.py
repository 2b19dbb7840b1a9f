"""What happens from outside in the histories that are explored, and how much of it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from shared.config.settings import Settings, read_settings
from tests.exploration.access import EXPORTS, IMPORTS, MINUTE, SCAN, SCHEDULE
from tests.exploration.scheduler import CANCEL, PAUSE, RENAME, SETTINGS, SLOTS, Rules, Scheduler, State, put_file
from tests.exploration.stand_ins import Fate, Port, know_contents, stand_ins
from tests.exploration.world import ALL, CONTENT, METADATA, World

_SETTINGS: Final = {
    "FO_URL": "https://contoso.operations.dynamics.com",
    "ONEDRIVE_DRIVE": "drives/explored",
    "AzureWebJobsStorage": "UseDevelopmentStorage=true",
    # A worker looks at once and does not stay: to stay is the same as an answer that takes long.
    "POLL_STAY_SECONDS": "0.1",
    "POLL_FIRST_SECONDS": "15",  # longer than F&O needs if it is quick, so that one more look is enough
    # What a person is told after that time decides nothing here, and is no reason to tell states apart.
    "IMPORT_STUCK_AFTER_MINUTES": "10000",
    "EXPORT_STUCK_AFTER_MINUTES": "10000",
}
_IMPORT: Final = {"IMPORT_DATA_PROJECT": "Customers"}
_EXPORT: Final = {
    "INPUT_FOLDER": "",
    "EXPORT_DATA_PROJECT": "Customers",
    "EXPORT_COMPANY": "USMF",
    "OUTBOUND_SCHEDULE": "*/30 * * * * *",
}
_BOTH_WAYS: Final = {**_IMPORT, **_EXPORT, "INPUT_FOLDER": "/Input", "OUTPUT_FOLDER": "/Output"}
# One flow names its data project, the other one leaves it to the package, which names the same.
_TWO_LANES: Final = {
    "INTEGRATIONS": json.dumps(
        {
            "imports": [
                {"name": "fixed", "inputFolder": "/Input", "dataProject": "Customers"},
                {"name": "manifest", "inputFolder": "/B/Input"},
            ]
        }
    )
}
# Both have what is in their packages to themselves.
_WITH_ENTITIES: Final = {
    "INTEGRATIONS": json.dumps(
        {
            "defaults": {"reserve": {"entities": True}},
            "imports": [
                {"name": "first", "inputFolder": "/Input", "dataProject": "Customers"},
                {"name": "second", "inputFolder": "/B/Input", "dataProject": "Vendors"},
            ],
        }
    )
}
_FROM_MANIFEST: Final = {"IMPORT_DATA_PROJECT": ""}


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
    settings: Sequence[Mapping[str, str]] = (_IMPORT,)  # those at first, and those that they are changed to
    files: tuple[str, ...] = ()  # in Input from the beginning
    changes: tuple[str, ...] = ()  # rows of F&O that wait for an export from the beginning
    to_come: tuple[str, ...] = ()  # what comes at any moment: files, rows, a person who cancels
    timers: tuple[str, ...] = ()  # that come at any moment, and later when they find something to do
    shown_after_s: int = 0  # how long F&O says "not found" about an execution that it has accepted
    may_stall: frozenset[str] = frozenset({IMPORTS, EXPORTS})
    troubles: frozenset[Fate] = frozenset()  # how a service may refuse
    damages: tuple[tuple[str, str], ...] = ()  # whose record may become unreadable, and what of it
    only: frozenset[str] = frozenset()  # kinds of faults, if not all of them are of interest
    unheard: tuple[str, ...] = ()  # words of promises that are not listened to, so that worse comes of it
    at_rest_after_s: int = 2 * 3600  # by then everything has come to rest, whatever went wrong
    bounds: tuple[Bound, ...]  # of the whole exploration, one after the other

    def start(self) -> State:
        """Return how each history begins."""
        names = [*self.files, *(what for what in self.to_come if what.endswith(".zip") and " " not in what)]
        world = World(
            changes=self.changes,
            to_come=self.to_come,
            timers=self.timers,
            shown_after_s=self.shown_after_s,
            unheard=self.unheard,
            files=tuple(name.removesuffix(".zip").partition("_")[2] for name in names),
        )
        know_contents(world.files)
        for name in self.files:
            put_file(world, name)
        return State(world, (None,) * SLOTS)

    @contextmanager
    def scheduler(self, most_stalls: int) -> Iterator[Scheduler]:
        """Let the real flows work in this scenario until the block ends; at most so many workers stand still."""
        settings, port = [read_settings({**_SETTINGS, **each}) for each in self.settings], Port()
        rules = Rules(
            lanes=_lanes(settings),
            share_files=len(settings) > 1,
            may_stall=self.may_stall if most_stalls else frozenset(),
            most_stalls=most_stalls,
            troubles=self.troubles,
            damages=self.damages,
            only=self.only,
        )
        with stand_ins(settings, port) as services:
            yield Scheduler(services, port, rules)


def _lanes(settings: Sequence[Settings]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(flow.lane for each in settings for flow in each.flows.all))


TWO_FILES: Final = Scenario(
    name="two-files",
    words="two files of one lane",
    files=("USMF_one.zip", "USMF_two.zip"),
    bounds=(Bound(3, 3),),
)
SLOW_FNO: Final = Scenario(
    name="slow",
    words="a file, where F&O knows of no execution for 45 seconds",
    files=("USMF_one.zip",),
    shown_after_s=45,
    bounds=(Bound(3, 3),),
)
# Whoever stands still in the middle of a step is explored above; here it would be the same ten times over.
LATER: Final = Scenario(
    name="later",
    words="a file that comes at any moment, another one under way",
    files=("USMF_one.zip",),
    to_come=("USMF_two.zip",),
    bounds=(Bound(1, 0),),
)
# A look that has listed the open runs just before the first file's run was opened puts the older file in front of it,
# although F&O may be at the first one by then. It has come too late to go first, and waits.
OLDER: Final = replace(
    LATER,
    name="older",
    words="the same, and the file that comes is the older one",
    to_come=("USMF_older.zip",),
)
LOOKS_AT_ONCE: Final = Scenario(
    name="looks",
    words="a file that a message and the timer tell of at once",
    files=("USMF_one.zip",),
    timers=(MINUTE,),
    bounds=(Bound(2, 1),),
    may_stall=frozenset({SCAN, MINUTE}),
)
ONE_EXPORT: Final = Scenario(
    name="one-export",
    words="one export",
    settings=(_EXPORT,),
    changes=("row 1",),
    timers=(SCHEDULE,),
    bounds=(Bound(3, 3),),
)
EXPORT: Final = replace(
    ONE_EXPORT,
    name="export",
    words="exports, and a row that is changed at any moment",
    to_come=("row 2",),
    bounds=(Bound(2, 0), Bound(1, 1)),
)
# Two lanes that use one data project: only the reservation keeps their imports apart.
TWO_LANES: Final = Scenario(
    name="two-lanes",
    words="a file of each of two lanes that use one data project",
    settings=(_TWO_LANES,),
    files=("USMF_one.zip", "B/USMF_two.zip"),
    bounds=(Bound(1, 1),),
)
# Their data projects differ and their packages have two entities in common, listed in different orders: only the
# reservations of entities keep them apart, and neither must hold one entity while it waits for the other.
SHARED_ENTITIES: Final = Scenario(
    name="shared-entities",
    words="a file of each of two lanes whose packages have two entities in common",
    settings=(_WITH_ENTITIES,),
    files=("USMF_a+b+c.zip", "B/USMF_c+b.zip"),
    bounds=(Bound(1, 0),),
)
# A run that waits frees the name of one whose worker stands still, and at which nobody works: its lane is paused.
PAUSED: Final = replace(
    TWO_LANES,
    name="paused",
    words="the same, and a person pauses a lane whose worker stands still",
    to_come=(f"{PAUSE} one",),
)
ONE_EACH_WAY: Final = Scenario(
    name="one-each-way",
    words="an import and an export of one data project",
    settings=(_BOTH_WAYS,),
    files=("USMF_one.zip",),
    changes=("row 1",),
    timers=(SCHEDULE,),
    bounds=(Bound(1, 0),),
)
BOTH_WAYS: Final = replace(
    ONE_EACH_WAY,
    name="both-ways",
    words="the same, and a file that comes at any moment",
    to_come=("USMF_two.zip",),
    bounds=(Bound(0, 0),),
)
CANCELLED: Final = Scenario(
    name="cancelled",
    words="a file whose import a person cancels at any moment",
    files=("USMF_one.zip",),
    to_come=(f"{CANCEL} one",),
    bounds=(Bound(2, 0), Bound(1, 1)),
)
CANCELLED_OF_TWO: Final = Scenario(
    name="cancelled-of-two",
    words="the same, and another file of its lane",
    files=("USMF_one.zip", "USMF_two.zip"),
    to_come=(f"{CANCEL} one",),
    bounds=(Bound(1, 0),),
)
CANCELLED_EXPORT: Final = replace(
    ONE_EXPORT,
    name="cancelled-export",
    words="an export that a person cancels at any moment",
    to_come=(f"{CANCEL} export",),
    bounds=(Bound(1, 1),),
)
HELD: Final = Scenario(
    name="held",
    words="two files of one lane, either of which OneDrive refuses",
    files=("USMF_one.zip", "USMF_two.zip"),
    troubles=frozenset({Fate.HIDDEN, Fate.LOCKED, Fate.LOCKED_LONG, Fate.FORBIDDEN}),
    bounds=(Bound(2, 0),),
)
STOPPED: Final = replace(
    HELD,
    name="stopped",
    words="the same, and OneDrive keeps all back, or lists no folder",
    troubles=frozenset({Fate.ALL_FORBIDDEN, Fate.LISTING_REFUSED}),
)
STRICT: Final = replace(
    HELD,
    name="strict",
    words="the same, and no file may pass another",
    settings=({**_IMPORT, "IMPORT_STRICT_ORDER": "true"},),
    bounds=(Bound(1, 0),),
)
NO_SUBMITS: Final = Scenario(
    name="no-submits",
    words="two files of one lane, and F&O refuses submits for an hour",
    files=("USMF_one.zip", "USMF_two.zip"),
    troubles=frozenset({Fate.BAD_REQUESTS, Fate.NO_ANSWERS}),
    at_rest_after_s=4 * 3600,
    bounds=(Bound(2, 0),),
)
DAMAGED: Final = Scenario(
    name="damaged",
    words="two files of one lane, and a record that becomes unreadable",
    files=("USMF_one.zip", "USMF_two.zip"),
    damages=(("one", CONTENT), ("one", METADATA), ("one", ALL)),
    bounds=(Bound(2, 0),),
)
# Files that are found under two names, and for two lanes, by looks that overlap.
RENAMED: Final = Scenario(
    name="renamed",
    words="a file that is renamed while it is found, and other settings",
    settings=(_IMPORT, _FROM_MANIFEST),
    files=("USMF_one.zip",),
    to_come=(f"{RENAME} one USMF_first_one.zip", SETTINGS),
    bounds=(Bound(1, 0),),
)
SCENARIOS: Final = (
    TWO_FILES,
    SLOW_FNO,
    ONE_EXPORT,
    EXPORT,
    LATER,
    OLDER,
    LOOKS_AT_ONCE,
    TWO_LANES,
    SHARED_ENTITIES,
    PAUSED,
    ONE_EACH_WAY,
    BOTH_WAYS,
    CANCELLED,
    CANCELLED_OF_TWO,
    CANCELLED_EXPORT,
    HELD,
    STOPPED,
    STRICT,
    NO_SUBMITS,
    DAMAGED,
    RENAMED,
)
