"""Drives a soak: carries its plan out, waits until all has ended, and gathers what was seen."""

import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from tests.soak.instances import FLEX, Instances
from tests.soak.plan import HOSTS, Chance, Kill, Plan, Trouble, TroubleKind
from tests.soak.promises import Record, broken
from tests.soak.scene import Hosts, Log, Scene, figures_of

LOOK_S = 0.2  # between two looks at what is due
EXPORTS_EVERY_S = 25.0
LOCKED_AT_LEAST_S = 60.0
PERSON_LOOKS_EVERY_S = 10.0  # for what only a person may decide

type Runners = Hosts | Instances
type Progress = Callable[[str, int, int], None]  # what is waited for, done, of


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a soak; no broken promise means that all held."""

    broken: tuple[str, ...]
    figures: Mapping[str, float]  # by their names for people
    calls: Mapping[str, int]  # by service
    faults: Mapping[str, int]  # by service and kind


class Soak:
    """One soak under way."""

    def __init__(self, plan: Plan, *, minutes: float, progress: Progress, log: Log, is_flex: bool = False) -> None:
        """minutes: after so long what has not ended has failed. is_flex: one host in the Flex shape instead of two."""
        self._is_flex = is_flex
        self._plan = plan
        self._give_up_s = minutes * 60
        self._progress = progress
        self._log = log
        self._chance = Chance(plan.seed)
        self._began = 0.0
        self._put_at: dict[str, datetime] = {}
        self._to_put = list(plan.packages)
        self._kills = list(plan.kills)
        self._next_exports_s = 0.0
        self._person_looks_s = 0.0
        self._troubles = list(plan.troubles)
        self._ends: list[tuple[float, Callable[[], None]]] = []
        self._locks: list[tuple[Trouble, Callable[[], None]]] = []
        self._seen_aside: set[str] = set()
        self._had: Counter[TroubleKind] = Counter()

    def run(self) -> Result:
        with tempfile.TemporaryDirectory(prefix="soak-") as home:
            log = self._log
            flex = FLEX if self._is_flex else None
            with Scene(Path(home), self._plan, self._chance, flex) as scene, self._hosts(scene) as hosts:
                self._began = time.monotonic()
                self._until(lambda: scene.filed() == len(self._plan.packages), "filed", scene, hosts)
                took_s = self._elapsed_s
                self._chance.is_over = True
                self._troubles.clear()
                for _, end in [*self._locks, *self._ends]:
                    end()
                self._locks.clear()
                self._ends.clear()
                self._kills.clear()
                self._until(scene.is_exported, "exported", scene, hosts)
                self._next_exports_s = float("inf")
                self._until(scene.is_quiet, "quiet", scene, hosts)
                hosts.stop()
                history = scene.history(log, hosts.died)
                return Result(
                    broken=(*self._not_in_time(), *broken(history)),
                    figures={
                        "seconds until all were filed": round(took_s, 1),
                        "seconds in all": round(self._elapsed_s, 1),
                        "calls": sum(self._chance.calls.values()),
                        "faults injected": sum(self._chance.injected.values()),
                        hosts.killed: hosts.kills,
                        **{kind.value: self._had[kind] for kind in TroubleKind},
                        "files set aside": len(self._seen_aside),
                        "submits that a person asked for again": scene.submitted_again,
                        "mails to people": len(scene.onedrive.mails),
                        "executions in F&O": len(scene.finance_operations.executions),
                        **figures_of(history.records),
                        "changes exported": sum(len(keys) for keys in history.exported.values()),
                        "messages given up": history.given_up,
                        **self._seconds_to_be_filed(history.records),
                    },
                    calls=dict(self._chance.calls),
                    faults=dict(self._chance.injected),
                )

    @contextmanager
    def _hosts(self, scene: Scene) -> Iterator[Runners]:
        hosts = Instances(scene, self._log) if self._is_flex else Hosts(scene, self._log)
        try:
            for host in range(HOSTS):
                hosts.start(host)
            yield hosts
        finally:
            hosts.stop()

    # -- the plan

    def _until(self, is_done: Callable[[], bool], what: str, scene: Scene, hosts: Runners) -> None:
        """Carry out what is due, until it is done or the time is over."""
        while not is_done() and self._elapsed_s < self._give_up_s:
            self._do_what_is_due(scene, hosts)
            self._progress(what, scene.filed(), len(self._plan.packages))
            time.sleep(LOOK_S)

    def _do_what_is_due(self, scene: Scene, hosts: Runners) -> None:
        while self._to_put and self._to_put[0].at_s <= self._elapsed_s:
            package = self._to_put.pop(0)
            scene.put(package)
            self._put_at[package.name] = datetime.now(UTC)
        while self._kills and self._kills[0].at_s <= self._elapsed_s:
            self._kill(self._kills.pop(0), hosts)
        for ends_s, end in [each for each in self._ends if each[0] <= self._elapsed_s]:
            self._ends.remove((ends_s, end))
            end()
        for trouble in [each for each in self._troubles if each.at_s <= self._elapsed_s]:
            if self._has_begun(trouble, scene, hosts):
                self._troubles.remove(trouble)
                self._had[trouble.kind] += 1
        if self._person_looks_s <= self._elapsed_s:
            self._person_looks_s = self._elapsed_s + PERSON_LOOKS_EVERY_S
            scene.submit_again(hosts.a_url)
            self._unlock_what_was_set_aside(scene)
        if self._next_exports_s <= self._elapsed_s:
            self._next_exports_s = self._elapsed_s + EXPORTS_EVERY_S
            hosts.run("start_exports")

    def _unlock_what_was_set_aside(self, scene: Scene) -> None:
        """End the locks of files that the app has set aside; of others, which were cancelled or filed before, in time.

        A busy machine takes a file up late, so the time alone does not tell.
        """
        if not self._locks:
            return
        self._seen_aside |= scene.set_aside()
        for trouble, unlock in list(self._locks):
            is_late = self._elapsed_s > trouble.at_s + trouble.for_s
            if is_late or (trouble.file in self._seen_aside and self._elapsed_s > trouble.at_s + LOCKED_AT_LEAST_S):
                self._locks.remove((trouble, unlock))
                unlock()

    def _has_begun(self, trouble: Trouble, scene: Scene, hosts: Runners) -> bool:
        """Begin a trouble, and note when it ends; return False if there is nothing yet that it could befall."""
        end: Callable[[], None] | None
        match trouble.kind:
            case TroubleKind.LOCKED:
                self._locks.append((trouble, scene.lock(trouble)))
                return True
            case TroubleKind.LISTINGS:
                end = scene.refuse_listings()
            case TroubleKind.SUBMITS:
                end = scene.refuse_submits(trouble.status)
            case TroubleKind.DAMAGED:
                end = scene.damage(trouble.which)
            case TroubleKind.CANCELLED:
                return scene.cancel(trouble.which, hosts.a_url)
        if end is None:
            return False
        self._ends.append((self._elapsed_s + trouble.for_s, end))
        return True

    def _kill(self, kill: Kill, hosts: Runners) -> None:
        hosts.kill(kill.host)
        self._ends.append((self._elapsed_s + kill.down_s, partial(hosts.start, kill.host)))

    @property
    def _elapsed_s(self) -> float:
        return time.monotonic() - self._began

    # -- what came of it

    def _not_in_time(self) -> Iterator[str]:
        if self._elapsed_s >= self._give_up_s:
            yield f"it was not all over after {self._give_up_s / 60:g} minutes"

    def _seconds_to_be_filed(self, records: Sequence[Record]) -> dict[str, float]:
        seconds = [
            (datetime.fromisoformat(record["ended"]) - self._put_at[record["file"]["name"]]).total_seconds()
            for record in records
            if record["ended"] and record["file"]["name"] in self._put_at
        ]
        if not seconds:
            return {}
        return {
            "median seconds from copied to filed": round(statistics.median(seconds), 1),
            "worst seconds from copied to filed": round(max(seconds), 1),
        }
