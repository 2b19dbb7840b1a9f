"""Follows all histories of a scenario with up to so many faults, and tells the shortest one that breaks a promise.

All within the bound is explored, but not each history by itself:
- Each state is followed once (``sameness.py`` says which states are one): those with the fewest faults first, of those
  the ones with the shortest history. Whoever comes to it later, with as many faults or more, could go on no further.
- Where a worker's next effect touches nothing that anybody else may touch before it, only this worker goes on
  (``Scheduler.moves``): all other orders of these effects come to the same.
- A worker that has lost its run (another one has written it since) does at once what nobody notices: it reads, and
  tries to save, which is refused (``scheduler._is_unnoticed``). Nobody can tell at which of these it stands still.
- Whoever stands still goes on after time has passed. Before that it was only slow: others may overtake it in any case.
- Once all is done, nothing goes wrong any more (``State.is_done``).
- A request that F&O can only refuse when it arrives, because its package is empty or the key to it has run out, does
  not arrive.
- A state in between is not kept where only one worker goes on and what may go wrong there may as well go wrong at its
  next effect: before it reads, where it cannot stand still; and before each effect, where no fault is left
  (``Scheduler.implied``). A promise that such a state breaks is broken by the one after it, too: what was imported
  stays imported, and of a bug all later states tell. Only wake-ups become fewer, so states with many are all kept.
- Work takes no time: the clock goes on when nobody is at work who does not stand still.
A test for each of the first four compares with an exploration that leaves nothing out.

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
from tests.exploration.scheduler import RENAME, SETTINGS, UNLIMITED, WORKERS, Move, Scheduler, State
from tests.exploration.stand_ins import Fate

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
    # Where all faults may be stalls, nothing depends on how many of them were.
    with scenario.scheduler(
        bound.stalls if bound.stalls < bound.faults else min(bound.stalls, 1) * UNLIMITED
    ) as scheduler:
        return _Search(scenario, scheduler, Result(scenario=scenario, bound=bound), seconds, progress).run()


class _Open(NamedTuple):
    """A state, and what may happen next in it that is still to be followed."""

    state: State
    number: int
    moves: tuple[Move, ...]


type _Opens = list[list[_Open]]  # by the length of their histories


def _after(state: State, move: Move, scheduler: Scheduler) -> tuple[State, Mapping[str, str]]:
    """Return the state after a move, and the new name of each id that has got one."""
    after = scheduler.after(state, move)
    return named_anew(after) if move.what == "wait" and not any(after.workers) else (after, {})


def _implied(state: State, scheduler: Scheduler, *, faults: bool) -> Move | None:
    """Return the move after which alone a state is looked at; a wake-up too many could be gone by then, though.

    Nor is there one if a worker goes on for ever: what comes next would never be looked at.
    """
    if len(state.world.messages) > promises.MOST_MESSAGES or promises.most_effects(state) > promises.MOST_EFFECTS:
        return None
    return scheduler.implied(state, faults=faults)


@dataclass(slots=True)
class _Search:
    """States are numbered as they are come to. There are millions of them: of each a few numbers are kept."""

    scenario: Scenario
    scheduler: Scheduler
    result: Result
    seconds: float
    progress: Progress
    began: float = field(default_factory=time.monotonic)
    numbers: dict[int, int] = field(default_factory=dict)  # by key
    came_from: array[int] = field(default_factory=lambda: array("I"))  # by number: from which state
    came_by: array[int] = field(default_factory=lambda: array("I"))  # by number: by which move
    moves: dict[Move, tuple[int, Move]] = field(default_factory=dict)  # each with its number, and kept once
    ends: dict[int, int] = field(default_factory=dict)  # by number: the key
    edges: array[int] = field(default_factory=lambda: array("I"))  # before, after: without faults

    def run(self) -> Result:
        start = self.scenario.start()
        self._kept(_BEGINNING)
        opens: _Opens = [[]]
        faulty: _Opens = []
        self._come_to(start, 0, _BEGINNING, 0)
        self._open(start, 0, 0, opens, faulty if self.result.bound.faults else None)
        for used in range(self.result.bound.faults + 1):
            faulty = self._follow(opens, faulty, used)
            if self.result.broken or not self.result.is_complete:
                break
            opens, faulty = faulty, []
        else:
            self._check_ends()
        self.result.states, self.result.ends = len(self.numbers), frozenset(self.ends.values())
        self.result.took_s = time.monotonic() - self.began
        return self.result

    def _follow(self, opens: _Opens, faulty: _Opens, used: int) -> _Opens:
        """Follow all that comes without a further fault; return what goes on with one more."""
        more = faulty if used < self.result.bound.faults else None
        length = 0
        while length < len(opens):
            for before, before_number, moves in opens[length]:
                for move in moves:
                    state = _after(before, move, self.scheduler)[0]
                    while implied := _implied(state, self.scheduler, faults=more is not None):
                        state = self.scheduler.after(state, implied, in_place=True)
                    number = self._come_to(state, before_number, move, used)
                    if number is None:
                        continue
                    if self.result.broken or self._is_time_up():
                        return []
                    self._open(state, number, length + 1, opens, more)
            opens[length].clear()
            length += 1
        return faulty

    def _come_to(self, state: State, before: int, move: Move, used: int) -> int | None:
        """Return the number of a state; None where there was one already that is the same."""
        key, new = key_of(state), len(self.numbers)
        number = self.numbers.setdefault(key, new)
        if not move.is_fault:
            self.edges.extend((before, number))
        if number != new:
            self.result.histories += 1
            return None
        self.came_from.append(before)
        self.came_by.append(self._kept(move)[0])
        if broken := self._broken(state, key, number, used):
            self._tell(number, broken)
        if new % STATES_UNTIL_TOLD == 0:
            self.progress(used, new)
        return number

    def _kept(self, move: Move) -> tuple[int, Move]:
        kept = self.moves.get(move)
        if kept is None:
            kept = self.moves[move] = len(self.moves), move
        return kept

    def _open(self, state: State, number: int, length: int, opens: _Opens, faulty: _Opens | None) -> None:
        """Note what may happen next in a new state."""
        moves = [self._kept(move)[1] for move in self.scheduler.moves(state, faults=faulty is not None)]
        self.result.moves += len(moves)
        self.result.histories += not moves
        if faultless := tuple(move for move in moves if not move.is_fault):
            _put(opens, length, _Open(state, number, faultless))
        if faulty is not None and len(moves) > len(faultless):
            _put(faulty, length, _Open(state, number, tuple(move for move in moves if move.is_fault)))

    def _broken(self, state: State, key: int, number: int, used: int) -> str:
        """Return which promise is broken in a state; empty where none is."""
        if broken := promises.broken_at_once(state, used, self.scenario.at_rest_after_s):
            return broken
        if state.is_quiet:
            self.ends[number] = key
            return promises.broken_in_the_end(state)
        return promises.broken_while_waiting(state) if state.is_idle else ""

    def _is_time_up(self) -> bool:
        self.result.is_complete = time.monotonic() - self.began <= self.seconds
        return not self.result.is_complete

    def _check_ends(self) -> None:
        """Check that from every state there is a way to where all is quiet, without a further fault.

        Most moves lead to a state with a higher number. So, last edge first, a few rounds are enough.
        """
        reached = bytearray(len(self.numbers))
        for number in self.ends:
            reached[number] = True
        is_news = True
        while is_news:
            is_news = False
            for at in range(len(self.edges) - 2, -1, -2):
                if reached[self.edges[at + 1]] and not reached[self.edges[at]]:
                    reached[self.edges[at]] = is_news = True
        if (stuck := reached.find(False)) >= 0:
            self._tell(stuck, "from here it never comes to rest")

    def _tell(self, number: int, broken: str) -> None:
        kept, moves = list(self.moves), []
        while number:
            moves.append(kept[self.came_by[number]])
            number = self.came_from[number]
        self.result.broken = broken
        self.result.history = tuple(_in_words(self.scenario, self.scheduler, moves[::-1], self.result.bound))


def _put(opens: _Opens, length: int, entry: _Open) -> None:
    while len(opens) <= length:
        opens.append([])
    opens[length].append(entry)


# -- in words


def _in_words(scenario: Scenario, scheduler: Scheduler, moves: Sequence[Move], bound: Bound) -> Iterator[str]:
    ids: dict[str, str] = {}
    used, state, at_rest_after_s = 0, scenario.start(), scenario.at_rest_after_s
    for move in moves:
        made: Move | None = move
        used += move.is_fault
        while made:
            words, now = _words(state, made), state.world.turned_back_s + int(state.world.now)
            state, renamed = _after(state, made, scheduler)
            yield f"{now // 60:4}:{now % 60:02}  {_numbered(words + _refusal(state, made), ids)}"
            if renamed:
                ids = {renamed.get(name, f"gone, {number}"): number for name, number in ids.items()}
            if promises.broken_at_once(state, used, at_rest_after_s):
                return
            made = _implied(state, scheduler, faults=used < bound.faults)


def _numbered(words: str, ids: dict[str, str]) -> str:
    """Replace ids by small numbers, the same as before."""
    return re.sub(r"~[^~]*~", lambda match: ids.setdefault(match.group(), f"#{len(ids) + 1}"), words)


def _words(state: State, move: Move) -> str:
    world = state.world
    match move.what:
        case "effect" | "unnoticed" | "crash" | "stall":
            return _words_of_worker(state, move)
        case "start":
            return f"{_next_worker(state)} gets the wake-up '{world.messages[move.which].text}'"
        case "timer":
            return f"{_next_worker(state)} is started by {move.which}"
        case "person":
            return f"a person is about to: {move.which}"
        case "come":
            return _words_of_coming(move.which)
        case "damage":
            lane, order, what = move.which
            name = world.records[lane, order].run.file.name
            return f"THE RECORD of {name} BECOMES UNREADABLE ({what})"
        case "arrive":
            return f"the request for execution {world.under_way[move.which].execution_id} arrives at F&O"
        case _:
            return "(time passes)"


def _words_of_coming(what: str) -> str:
    if what == SETTINGS:
        return what
    if what.startswith(RENAME):
        _, label, name = what.split()
        return f"a person renames {label}.zip to {name}"
    return f"{what} {'comes into Input' if what.endswith('.zip') else 'is changed in F&O'}"


def _words_of_worker(state: State, move: Move) -> str:
    worker = state.workers[move.which]
    assert worker is not None
    name, does = _name_of(move.which), worker.stage.effect.words
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
    Fate.LISTING_REFUSED: " - ONEDRIVE REFUSES THE LISTING",
    Fate.HIDDEN: " - ONEDRIVE DENIES THE FILE, for twenty seconds",
    Fate.LOCKED: " - THE FILE IS LOCKED, for a minute",
    Fate.LOCKED_LONG: " - THE FILE IS LOCKED, for ten minutes",
    Fate.FORBIDDEN: " - THE FILE IS FORBIDDEN, for ten minutes",
    Fate.ALL_FORBIDDEN: " - ALL FILES ARE FORBIDDEN, for ten minutes",
    Fate.BAD_REQUESTS: " - F&O REFUSES ALL SUBMITS with 400, for an hour",
    Fate.NO_ANSWERS: " - F&O ANSWERS 500 TO ALL SUBMITS, for an hour",
}


def _next_worker(state: State) -> str:
    return _name_of(state.workers.index(None))


def _name_of(slot: int) -> str:
    return f"worker {slot + 1}" if slot < WORKERS else "the person"


def _refusal(state: State, move: Move) -> str:
    """Return what a worker was told that could not do what it wanted."""
    worker = state.workers[move.which] if move.what == "effect" and move.fate is Fate.HAPPENS else None
    error = worker.stage.log[-1].error if worker and worker.stage.log else None
    return f" -> {type(error).__name__}: {error.args[0]}" if error else ""
