"""Follows all histories of a scenario with up to so many faults, and tells the shortest one that breaks a promise.

All within the bound is explored, but not each history by itself:
- Each state is followed once (``sameness.py`` says which states are one): those with the fewest faults first, of those
  the ones with the shortest history. Whoever comes to it later, with as many faults or more, could go on no further.
- Where a worker's next effect touches nothing that anybody else may touch before it, only this worker goes on
  (``Scheduler.moves``): all other orders of these effects come to the same. A test compares with all orders.
- Work takes no time: the clock goes on when nobody is at work who does not stand still.

So what is counted as a history ends where all is quiet, or in a state from which all has been followed already; each of
them stands for many.
"""

import re
import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tests.exploration import promises
from tests.exploration.renaming import named_anew
from tests.exploration.sameness import key_of
from tests.exploration.scenarios import Bound, Scenario
from tests.exploration.scheduler import Fate, Move, Scheduler, State

_BEGINNING: Final = Move("beginning")


@dataclass(slots=True, kw_only=True)
class Result:
    """What an exploration found."""

    scenario: Scenario
    bound: Bound
    histories: int = 0  # followed to their end, or to a state from which all has been followed already
    states: int = 0
    moves: int = 0
    took_s: float = 0.0
    is_complete: bool = True  # False where time was up
    ends: frozenset[int] = frozenset()  # the states where all is quiet
    broken: str = ""  # the promise, in words
    history: tuple[str, ...] = ()  # the shortest one that breaks it


type Progress = Callable[[int, int], None]
STATES_UNTIL_TOLD: Final = 5_000


def explore(
    scenario: Scenario,
    bound: Bound,
    *,
    seconds: float = float("inf"),
    progress: Progress = lambda used, states: None,
) -> Result:
    """Explore a scenario.

    seconds: after which the exploration ends, complete or not.
    progress: is told now and then how many faults the histories have by now, and how many states there were.
    """
    with scenario.scheduler(bound.stalls) as scheduler:
        return _Search(scenario, scheduler, Result(scenario=scenario, bound=bound), seconds, progress).run()


class _Step(NamedTuple):
    """A way to a state that is still to be followed."""

    before: State
    before_key: int
    move: Move


def _after(state: State, move: Move, scheduler: Scheduler) -> tuple[State, Mapping[str, str]]:
    """Return the state after a move, and the new name of each id that has got one."""
    after = scheduler.after(state, move)
    return named_anew(after) if move.what == "wait" and not any(after.workers) else (after, {})


@dataclass(slots=True)
class _Search:
    scenario: Scenario
    scheduler: Scheduler
    result: Result
    seconds: float
    progress: Progress
    began: float = field(default_factory=time.monotonic)
    came_by: dict[int, tuple[int, Move]] = field(default_factory=dict)  # each state: from which, and how
    ends: set[int] = field(default_factory=set)
    edges: array[int] = field(default_factory=lambda: array("Q"))  # after, before, without faults

    def run(self) -> Result:
        start = self.scenario.start()
        steps = [[_Step(start, 0, _BEGINNING)]]
        for used in range(self.result.bound.faults + 1):
            steps = self._follow(steps, used)
            if self.result.broken or not self.result.is_complete:
                break
        else:
            self._check_ends()
        self.result.states, self.result.ends = len(self.came_by), frozenset(self.ends)
        self.result.took_s = time.monotonic() - self.began
        return self.result

    def _follow(self, steps: list[list[_Step]], used: int) -> list[list[_Step]]:
        """Follow all that comes without a further fault; return the steps with one more. Both by length."""
        faulty: list[list[_Step]] = []
        length = 0
        while length < len(steps):
            for step in steps[length]:
                state = step.before if step.move is _BEGINNING else _after(step.before, step.move, self.scheduler)[0]
                key = key_of(state)
                if not step.move.is_fault and step.move is not _BEGINNING:
                    self.edges.extend((key, step.before_key))
                if key in self.came_by:
                    self.result.histories += 1
                    continue
                self.came_by[key] = step.before_key, step.move
                if broken := self._broken(state, key, used):
                    self._tell(key, broken)
                    return []
                if self._is_time_up():
                    return []
                if len(self.came_by) % STATES_UNTIL_TOLD == 0:
                    self.progress(used, len(self.came_by))
                self._add_moves(state, key, length + 1, steps, faulty if used < self.result.bound.faults else None)
            steps[length].clear()
            length += 1
        return faulty

    def _add_moves(
        self, state: State, key: int, length: int, steps: list[list[_Step]], faulty: list[list[_Step]] | None
    ) -> None:
        moves = list(self.scheduler.moves(state, faults=faulty is not None))
        self.result.moves += len(moves)
        self.result.histories += not moves
        for move in moves:
            into = steps if not move.is_fault or faulty is None else faulty
            while len(into) <= length:
                into.append([])
            into[length].append(_Step(state, key, move))

    def _broken(self, state: State, key: int, used: int) -> str:
        """Return which promise is broken in a state; empty where none is."""
        if broken := promises.broken_at_once(state, used):
            return broken
        if state.is_quiet:
            self.ends.add(key)
            return promises.broken_in_the_end(state)
        return promises.broken_while_waiting(state) if state.is_idle else ""

    def _is_time_up(self) -> bool:
        self.result.is_complete = time.monotonic() - self.began <= self.seconds
        return not self.result.is_complete

    def _check_ends(self) -> None:
        """Check that from every state there is a way to where all is quiet, without a further fault."""
        before: dict[int, list[int]] = {}
        for after, key in zip(self.edges[::2], self.edges[1::2], strict=True):
            before.setdefault(after, []).append(key)
        reached, todo = set(self.ends), list(self.ends)
        while todo:
            for key in before.get(todo.pop(), ()):
                if key not in reached:
                    reached.add(key)
                    todo.append(key)
        stuck = next((key for key in self.came_by if key not in reached), None)
        if stuck is not None:
            self._tell(stuck, "from here it never comes to rest")

    def _tell(self, key: int, broken: str) -> None:
        moves: list[Move] = []
        while True:
            key, move = self.came_by[key]
            if move is _BEGINNING:
                break
            moves.append(move)
        self.result.broken = broken
        self.result.history = tuple(_in_words(self.scenario.start(), self.scheduler, moves[::-1]))


# -- in words


def _in_words(state: State, scheduler: Scheduler, moves: Sequence[Move]) -> Iterator[str]:
    ids: dict[str, str] = {}
    for move in moves:
        words, now = _words(state, move), state.world.turned_back_s + int(state.world.now)
        state, renamed = _after(state, move, scheduler)
        yield f"{now // 60:4}:{now % 60:02}  {_numbered(words + _refusal(state, move), ids)}"
        renumbered = {renamed.get(name, f"gone, {number}"): number for name, number in ids.items()}
        ids.clear()
        ids.update(renumbered)


def _numbered(words: str, ids: dict[str, str]) -> str:
    """Replace ids by small numbers, the same as before."""
    return re.sub(r"~[^~]*~", lambda match: ids.setdefault(match.group(), f"#{len(ids) + 1}"), words)


def _words(state: State, move: Move) -> str:
    world = state.world
    match move.what:
        case "effect" | "crash" | "stall":
            return _words_of_worker(state, move)
        case "start":
            return f"{_next_worker(state)} gets the wake-up '{world.messages[move.which].text}'"
        case "timer":
            return f"{_next_worker(state)} is started by {move.which}"
        case "come":
            where = "comes into Input" if move.which.endswith(".zip") else "is changed in F&O"
            return f"{move.which} {where}"
        case "arrive":
            return f"the request for execution {world.under_way[move.which].execution_id} arrives at F&O"
        case _:
            return "(time passes)"


def _words_of_worker(state: State, move: Move) -> str:
    worker = state.workers[move.which]
    assert worker is not None
    name, does = f"worker {move.which + 1}", worker.stage.effect.words
    match move.what:
        case "crash":
            return f"{name} IS KILLED before it {does}"
        case "stall":
            return f"{name} STANDS STILL before it {does}; nobody renews its lease"
    goes_on = " goes on:" if worker.is_stalled else ""
    return f"{name}{goes_on} {does}{_FATES[move.fate]}"


_FATES: Final = {
    Fate.HAPPENS: "",
    Fate.ANSWER_LOST: " - done, but THE ANSWER IS LOST",
    Fate.MISTAKEN: " - done, but THE ANSWER IS LOST, and a second try by the storage SDK is refused",
    Fate.NOT_SENT: " - IT FAILS, nothing was sent",
    Fate.UNDER_WAY: " - NO ANSWER COMES, the request is still under way",
    Fate.LOST: " - THE MESSAGE IS LOST",
    Fate.DOUBLED: " - THE MESSAGE IS DOUBLED",
    Fate.LATE: " - THE MESSAGE COMES 5 MINUTES LATE",
}


def _next_worker(state: State) -> str:
    return f"worker {state.workers.index(None) + 1}"


def _refusal(state: State, move: Move) -> str:
    """Return what a worker was told that could not do what it wanted."""
    worker = state.workers[move.which] if move.what == "effect" and move.fate is Fate.HAPPENS else None
    error = worker.stage.log[-1].error if worker and worker.stage.log else None
    return f" -> {type(error).__name__}: {error.message}" if error else ""
