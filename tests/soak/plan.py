"""What a soak does and when, all of it from one seed: packages, kills of hosts, and which calls fail in which way.

The plan is the same each time; which call happens to be a service's hundredth depends on the processes.
"""

import hashlib
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
        """Return the checksum of its content."""
        return hashlib.sha256(self.content()).hexdigest()


@dataclass(frozen=True, slots=True)
class Kill:
    """One host that dies, and when it is started again."""

    at_s: float
    host: int
    down_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that is decided beforehand, but for the faults."""

    seed: int
    packages: tuple[Package, ...]  # in the order in which they are copied
    exports: Mapping[str, str]  # data projects of exports, each with the lane whose rows it exports
    kills: tuple[Kill, ...]  # for as long as any soak may last


def make_plan(*, seed: int, packages: int, projects: int, exports: int, minutes: float) -> Plan:
    """Return what a seed stands for."""
    dice = random.Random(seed)
    lanes = [f"Project {number:02d}" for number in range(1, projects + 1)]
    moments = sorted(dice.uniform(0, COPIED_WITHIN_S * min(1.0, packages / 100)) for _ in range(packages))
    chosen = [lanes[number % projects] for number in range(packages)]
    dice.shuffle(chosen)
    return Plan(
        seed=seed,
        packages=tuple(
            _package(number, lane, at_s, dice) for number, (lane, at_s) in enumerate(zip(chosen, moments, strict=True))
        ),
        exports={f"Export {number:02d}": lanes[number % projects] for number in range(exports)},
        kills=tuple(_kills(dice, minutes * 60)),
    )


def entity_of(lane: str) -> str:
    """Return the entity that all packages of a lane hold rows of."""
    return f"Rows of {lane}"


def _package(number: int, lane: str, at_s: float, dice: random.Random) -> Package:
    keys = [f"{number:04d}-{row}" for row in range(dice.randint(1, 4))]
    bad = (f"{number:04d}-bad",) if dice.randrange(ONE_PARTLY_WRONG_IN) == 0 else ()
    name = f"{COMPANY}_{lane.replace(' ', '-')}_{number:04d}.zip"
    return Package(name=name, lane=lane, at_s=at_s, good=tuple(keys), bad=bad)


def _kills(dice: random.Random, until_s: float) -> list[Kill]:
    kills: list[Kill] = []
    at_s = dice.uniform(*BETWEEN_KILLS_S) / 2
    while at_s < until_s:
        kills.append(Kill(at_s, dice.randrange(HOSTS), dice.uniform(*DOWN_S)))
        at_s += dice.uniform(*BETWEEN_KILLS_S)
    return kills
