"""What a soak does and when, all of it from one seed: packages, kills of hosts, troubles that last, calls that fail.

The plan is the same each time; which call happens to be a service's hundredth depends on the processes.
"""

import hashlib
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from local_cloud.faults import (
    Action,
    cut_body,
    garbage,
    hang,
    late,
    lost_after,
    reset_before,
    status,
)
from tests.packages import Entity, build_package

COMPANY: Final = "USMF"
COLUMNS: Final = ("MAJORTYPEID", "DESCRIPTION")
# One package in so many has a row that F&O refuses: its file belongs into Error.
ONE_PARTLY_WRONG_IN: Final = 20
# Seconds within which all packages are copied into Input.
COPIED_WITHIN_S: Final = 150.0
# Seconds between two kills, whichever host it is; and until it is started again.
BETWEEN_KILLS_S: Final = (35.0, 70.0)
DOWN_S: Final = (1.0, 15.0)
HOSTS: Final = 2

# One package in so many is locked, or on hold, until it was set aside, which takes three minutes from the first try to
# move it; at most for so long.
ONE_LOCKED_IN: Final = 40
LOCKED_S: Final = (500.0, 600.0)
LOCK_SHAPES: Final = ("resourceLocked", "accessDenied", "notAllowed", "hold")
LISTING_REFUSED_S: Final = (15.0, 30.0)
SUBMITS_REFUSED_S: Final = (10.0, 20.0)
SUBMITS_REFUSED_WITH: Final = (400, 500, 503, 429)
# For each so many packages one record is damaged for a while, and one run is cancelled.
ONE_DAMAGED_IN: Final = 50
DAMAGED_S: Final = (15.0, 30.0)
ONE_CANCELLED_IN: Final = 50

FAULT_RATE: Final = 0.05  # of the calls of every service
_SHORT_S: Final = 2.0

_PASSING: Final = (
    status(500),
    status(503),
    status(503, {"Retry-After": "1"}),
    reset_before(),
    lost_after(),
)
_WEB: Final = (
    *_PASSING,
    status(429, {"Retry-After": "1"}),
    status(504, handled=True),
    status(401),
    garbage(),
    cut_body(),
    hang(_SHORT_S),
    late(_SHORT_S),
)
# By the name that a simulator has in the plan of faults.
FAULTS: Final[Mapping[str, Sequence[Action]]] = {
    "graph": _WEB,
    "graph-content": (*_PASSING, garbage(), cut_body(), hang(_SHORT_S)),
    "finance_operations": _WEB,
    "entra": _PASSING,
    "storage": _PASSING,
    "package-blobs": (*_PASSING, garbage(), cut_body(), hang(_SHORT_S)),
}


class Chance:
    """Says of each call whether it fails and how: for a service's n-th call always the same, whatever it is."""

    def __init__(self, seed: int, rate: float = FAULT_RATE) -> None:
        self.calls: Counter[str] = Counter()
        self.injected: Counter[str] = Counter()
        self._rate = rate
        self._dice = {service: random.Random(f"{seed} {service}") for service in FAULTS}
        self.is_over = False

    def __call__(self, service: str) -> Action | None:
        """Return what is to befall this call of a service; None where it is well."""
        self.calls[service] += 1
        dice = self._dice[service]
        fails, action = dice.random() < self._rate, dice.choice(FAULTS[service])
        if self.is_over or not fails:
            return None
        self.injected[f"{service} {action.kind}"] += 1
        return action


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A file that somebody copies into Input."""

    name: str
    lane: str  # its data project; also the folder that its Input lies in
    at_s: float  # after the beginning
    good: tuple[str, ...]  # keys of the rows that F&O takes
    bad: tuple[str, ...]  # and of those that it refuses

    @property
    def outcome(self) -> str:
        """How its run is to end."""
        return "PartiallySucceeded" if self.bad else "Succeeded"

    @property
    def folder(self) -> str:
        """Where its file is to be filed."""
        return f"{self.lane}/{'Error' if self.bad else 'Success'}"

    def content(self) -> bytes:
        """Return the file's bytes, the same each time."""
        rows = [*((key, "fine") for key in self.good), *((key, "#ERROR") for key in self.bad)]
        return build_package(
            data_project=self.lane, entities=[Entity(name=entity_of(self.lane), columns=COLUMNS, rows=rows)]
        )

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.content()).hexdigest()


@dataclass(frozen=True, slots=True)
class Kill:
    """One host that dies, and when it is started again."""

    at_s: float
    host: int
    down_s: float


class TroubleKind(StrEnum):
    """What lasts for a while, or what a person does."""

    LOCKED = "files locked or on hold"
    LISTINGS = "times all listings were refused"
    SUBMITS = "times all submits were refused"
    DAMAGED = "records damaged and restored"
    CANCELLED = "runs cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One of them."""

    kind: TroubleKind
    at_s: float
    for_s: float = 0.0
    file: str = ""  # LOCKED
    shape: str = ""  # LOCKED: one of LOCK_SHAPES
    status: int = 0  # SUBMITS
    which: float = 0.0  # DAMAGED, CANCELLED: which of the runs that are open by then, from 0 to 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that is decided beforehand, but for the faults."""

    seed: int
    packages: tuple[Package, ...]  # in the order in which they are copied
    exports: Mapping[str, str]  # data projects of exports, each with the lane whose rows it exports
    kills: tuple[Kill, ...]  # for as long as any soak may last
    troubles: tuple[Trouble, ...]  # in the order of their beginnings


def make_plan(*, seed: int, packages: int, projects: int, exports: int, minutes: float) -> Plan:
    """Return what a seed stands for."""
    dice = random.Random(seed)
    lanes = [f"Project {number:02d}" for number in range(1, projects + 1)]
    moments = sorted(dice.uniform(0, COPIED_WITHIN_S * min(1.0, packages / 100)) for _ in range(packages))
    chosen = [lanes[number % projects] for number in range(packages)]
    dice.shuffle(chosen)
    made = tuple(
        _package(number, lane, at_s, dice) for number, (lane, at_s) in enumerate(zip(chosen, moments, strict=True))
    )
    return Plan(
        seed=seed,
        packages=made,
        exports={f"Export {number:02d}": lanes[number % projects] for number in range(exports)},
        kills=tuple(_kills(dice, minutes * 60)),
        troubles=tuple(sorted(_troubles(random.Random(f"{seed} troubles"), made), key=lambda each: each.at_s)),
    )


def entity_of(lane: str) -> str:
    """Return the entity that all packages of a lane hold rows of."""
    return f"Rows of {lane}"


def _package(number: int, lane: str, at_s: float, dice: random.Random) -> Package:
    keys = [f"{number:04d}-{row}" for row in range(dice.randint(1, 4))]
    bad = (f"{number:04d}-bad",) if dice.randrange(ONE_PARTLY_WRONG_IN) == 0 else ()
    name = f"{COMPANY}_{lane.replace(' ', '-')}_{number:04d}.zip"
    return Package(name=name, lane=lane, at_s=at_s, good=tuple(keys), bad=bad)


def _troubles(dice: random.Random, packages: Sequence[Package]) -> Iterator[Trouble]:
    """Yield the troubles of a soak, all of them while packages are still worked at."""
    # The first of a lane is taken up at once, so it meets its lock; later ones may come up when that is over.
    first = list({package.lane: package for package in reversed(packages)}.values())
    for package in dice.sample(first, min(-(-len(packages) // ONE_LOCKED_IN), len(first))):
        yield Trouble(
            kind=TroubleKind.LOCKED,
            at_s=package.at_s - 1.0,
            for_s=dice.uniform(*LOCKED_S),
            file=package.name,
            shape=dice.choice(LOCK_SHAPES),
        )
    busy_s = max(package.at_s for package in packages) + 10.0
    for number in range(2):
        at_s = busy_s * (number + dice.random()) / 2
        yield Trouble(kind=TroubleKind.LISTINGS, at_s=at_s, for_s=dice.uniform(*LISTING_REFUSED_S))
    # One after the other: there is one of them at a time.
    slot_s = max(busy_s / len(SUBMITS_REFUSED_WITH), SUBMITS_REFUSED_S[1] + 5.0)
    for number, status_code in enumerate(SUBMITS_REFUSED_WITH):
        for_s = dice.uniform(*SUBMITS_REFUSED_S)
        at_s = slot_s * number + dice.uniform(0.0, slot_s - for_s)
        yield Trouble(kind=TroubleKind.SUBMITS, at_s=at_s, for_s=for_s, status=status_code)
    for _ in range(-(-len(packages) // ONE_DAMAGED_IN)):
        at_s, for_s = dice.uniform(0, busy_s), dice.uniform(*DAMAGED_S)
        yield Trouble(kind=TroubleKind.DAMAGED, at_s=at_s, for_s=for_s, which=dice.random())
    for _ in range(-(-len(packages) // ONE_CANCELLED_IN)):
        yield Trouble(kind=TroubleKind.CANCELLED, at_s=dice.uniform(0, busy_s), which=dice.random())


def _kills(dice: random.Random, until_s: float) -> list[Kill]:
    kills: list[Kill] = []
    at_s = dice.uniform(*BETWEEN_KILLS_S) / 2
    while at_s < until_s:
        kills.append(Kill(at_s, dice.randrange(HOSTS), dice.uniform(*DOWN_S)))
        at_s += dice.uniform(*BETWEEN_KILLS_S)
    return kills
