"""Which states are one: ``key_of`` gives them the same number, and only the first of them is followed.

Two states are one where nothing that comes after can tell them apart, so that what follows on the one follows on the
other. They differ only in
- ids: each is replaced by its place in the text, because the flows compare ids and never look into them;
- when it all began: moments count from now on. A deadline that is over is over; from other moments the app counts for
  so long as ``texts.py`` says, and then they are long ago (200 seconds, if nothing is said: more than the 180 of grace;
  of an execution at work only the length of the next wait differs); a run is asked for half a minute at most whether it
  is overdue; a key's life is told by five minutes;
- which of the workers is which, in what order messages, leases and files were made, and how often a message was tried:
  that decides at the fifth time, and no history has so many faults;
- failed tries beyond those after which the waits between them do not grow any more;
- what nobody knows of any more: a package, an execution or an ended run whose id stands nowhere, unless it still counts
  for a promise;
- what of a run or a reservation decides nothing in the state that it is in: ``texts.py`` says what does;
- what a worker got for an answer and has not kept in mind: ``Port.list_anew``, ``attempted``, ``come_to`` and
  ``wind_up`` say what it keeps at four points of ``runner.py``, and why that is all. Elsewhere it is all answers that
  it got.
The number is a hash of 64 bits: in thirty million states the odds that any two are one by mistake are one in forty
thousand.

A state's text is put together from pieces that many states share: a mapping, a worker's stage. Each piece is taken
apart once, into its words, its ids and its moments; only ids and moments are named anew for each state.
"""

import re
from array import array
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final

from shared.runs.addresses import key_of as item_of
from shared.runs.lane import Stop
from shared.runs.wake import OVERDUE_S
from tests.exploration.access import LANE_WORK, SCAN, kind_of
from tests.exploration.moments import EPOCH
from tests.exploration.scheduler import Stage, State, Worker, undelivered
from tests.exploration.texts import text_of_stop
from tests.exploration.world import Execution, Item, Message, Record, World

_NAMES: Final = re.compile(
    r"~[^~]*~"  # an id
    r"|@-?\d+@|!-?\d+!|%-?\d+%|\^-?\d+\^"  # a moment, when a run is due, what counts by five minutes, a deadline
    r"|&-?\d+/\d+&"  # a moment from which the app counts for so many seconds
    r"|\d{8}T\d{12}Z|\d{8}-\d{6}"  # a place in a lane, a file's name
    r"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?\+00:00"  # notes and messages
)
_LONG_AGO_S: Final = -200
_OVERDUE_S: Final = -int(OVERDUE_S) - 1


def key_of(state: State) -> int:
    """Return a number that is the same for states that are one."""
    numbers, _ = _numbers_and_names(state)
    return int.from_bytes(blake2b(array("I", numbers).tobytes(), digest_size=8).digest())


def names_of(state: State) -> dict[str, int]:
    """Return the ids in a state, numbered alike in states that are one."""
    _, names = _numbers_and_names(state)
    return names


def _numbers_and_names(state: State) -> tuple[list[int], dict[str, int]]:
    world = state.world
    # When the last look began is only compared with when the looks that are still to come were asked for.
    clock = int(world.now), _LONG_AGO_S if _has_looks(state) else -1
    pieces = [
        _piece(world.leases, _sorted_items),
        _piece(world.records, _rows),
        _piece(world.reservations, _sorted_items),
        *_pieces_of_workers(state, clock),
        _piece(world.marks, _sorted_items),
        _piece(world.messages, _messages),
        _piece(world.items, _items),
        _piece(world.sessions, _values),
        _piece(world.stops, _stops),
        _piece_of_rest(world),
    ]
    numbers = [piece.at(clock) for piece in pieces]
    names: dict[str, int] = {}
    for piece in pieces:
        numbers += [names.setdefault(each, len(names)) for each in piece.ids]
    for piece in tuple(_known_still(world, names)):
        numbers.append(piece.at(clock))
        numbers += [names.setdefault(each, len(names)) for each in piece.ids]
    return numbers, names


def _has_looks(state: State) -> bool:
    return any(kind_of(message.text) == SCAN for message in state.world.messages.values()) or any(
        worker.stage.invocation.handler == SCAN for worker in state.workers if worker
    )


# -- pieces of a state's text

type Clock = tuple[int, int]  # what time it is, and from when on a moment is long ago


class Piece:
    """A part of a state's text, taken apart."""

    __slots__ = ("_at", "_moments", "_words", "ids")

    def __init__(self, text: str) -> None:
        ids: list[str] = []
        moments: list[tuple[str, float]] = []

        def taken_out(match: re.Match[str]) -> str:
            found = match.group()
            if found[0] == "~" or found[8:9] == "-":
                ids.append(found)
                return "~"
            if found[0] in "@!^%":
                moments.append((found[0], int(found[1:-1])))
            elif found[0] == "&":
                moment, _, counted_s = found[1:-1].partition("/")
                moments.append((counted_s, int(moment)))
            else:
                moments.append(("", _seconds(found)))
            return "@"

        self._words = _NAMES.sub(taken_out, text)
        self.ids = tuple(ids)
        self._moments = tuple(moments)
        self._at: dict[Clock, int] = {}

    def at(self, clock: Clock) -> int:
        """Return a number of the words and of the moments as they are seen at a time."""
        number = self._at.get(clock)
        if number is None:
            number = self._at[clock] = _number((self._words, *self._seen(*clock)))
        return number

    def _seen(self, now: int, long_ago: int) -> Iterator[float]:
        for kind, moment in self._moments:
            match kind:
                case "@":
                    yield max(moment - now, _LONG_AGO_S)
                case "^":
                    yield max(moment - now, 0)
                case "!":
                    yield max(moment - now, _OVERDUE_S)
                case "%":
                    yield (moment - now) // 300
                case "":
                    yield max(moment - now, long_ago)
                case _:
                    yield max(moment - now, -int(kind))


_numbers: dict[object, int] = {}


def _number(of: object) -> int:
    return _numbers.setdefault(of, len(_numbers))


_moments: dict[str, float] = {}


def _seconds(text: str) -> float:
    if text not in _moments:
        if text[4] == "-":
            moment = datetime.fromisoformat(text)
        else:
            moment = datetime.strptime(text, "%Y%m%dT%H%M%S%fZ").replace(tzinfo=EPOCH.tzinfo)
        _moments[text] = (moment - EPOCH).total_seconds()
    return _moments[text]


# The pieces of mappings that many worlds share, and of small values. The mappings are kept, so that their ids are.
_of_mappings: dict[int, tuple[Mapping[Any, Any], Piece]] = {}
_of_values: dict[object, Piece] = {}
_PIECES_KEPT: Final = 100_000


def _piece(mapping: Mapping[Any, Any], say: Callable[[Any], object]) -> Piece:
    known = _of_mappings.get(id(mapping))
    if known is None or known[0] is not mapping:
        if len(_of_mappings) > _PIECES_KEPT:
            _of_mappings.clear()
        known = _of_mappings[id(mapping)] = mapping, _piece_of(repr(say(mapping)))
    return known[1]


def _piece_of(value: object) -> Piece:
    piece = _of_values.get(value)
    if piece is None:
        if len(_of_values) > _PIECES_KEPT:
            _of_values.clear()
        piece = _of_values[value] = Piece(value if isinstance(value, str) else repr(value))
    return piece


def _pieces_of_workers(state: State, clock: Clock) -> Iterator[Piece]:
    pieces = [
        (_piece_of_bearing(state.world, worker), _piece_of_stage(worker.stage)) for worker in state.workers if worker
    ]
    for pair in sorted(pieces, key=lambda each: (each[0].at(clock), each[1].at(clock))):
        yield from pair


def _piece_of_bearing(world: World, worker: Worker) -> Piece:
    """Return whether a worker stands still, and when its message comes again, which it deletes in the end."""
    message = world.messages.get(worker.stage.invocation.message_id)
    comes_again = message.visible if message else None
    return _piece_of(("worker", worker.is_stalled, worker.stalled == world.now, comes_again))


def _piece_of_stage(stage: Stage) -> Piece:
    if stage.piece is None:
        stage.piece = Piece(stage.text)
    assert isinstance(stage.piece, Piece)
    return stage.piece


def _piece_of_rest(world: World) -> Piece:
    return _piece_of(
        (
            *(world.under_way, tuple(sorted(world.effects)), world.changes, world.to_come, world.settings),
            *(tuple(sorted(world.timers)), world.idle_exports, world.bugs, world.wake_may_be_lost, world.stalls),
            *(tuple(sorted(world.kept_back.items())), world.submits, world.paused, _ages(world)),
            *(tuple(sorted(world.may_pass)), tuple(sorted(world.cancelled)), tuple(sorted(world.damaged))),
            tuple(sorted(each for each in world.not_delivered if _may_be_delivered(world, each))),
        )
    )


def _may_be_delivered(world: World, execution_id: str) -> bool:
    """Return whether an execution whose export was cancelled is there, or may come."""
    return execution_id in world.executions or any(order.execution_id == execution_id for order in world.under_way)


def _ages(world: World) -> tuple[int, ...]:
    """Return which runs were opened before which, of the open ones and of those that wait for a name."""
    waiting = [kept.reservation.waiting for _, kept in sorted(world.reservations.items())]
    opened = [record.run.opened for _, record in sorted(world.records.items())]
    opened += [each.opened for each in waiting if each]
    in_order = sorted(set(opened))
    return tuple(map(in_order.index, opened))


def _known_still(world: World, names: Mapping[str, int]) -> Iterator[Piece]:
    """Yield what somebody knows of; what nobody knows of any more makes no difference."""
    for name, content in world.blobs.items():
        if _id_in(name) in names:
            yield _piece_of(("blob", name, content))
    for execution_id, execution in world.executions.items():
        if _id_in(execution_id) in names or _matters(world, execution):
            yield _piece_of(("execution", execution_id, execution))
    for run_id, record in world.ended.items():
        yield _piece_of(repr(record) if _id_in(run_id) in names else ("ended", *_end_of(record)))


def _id_in(name: str) -> str:
    return name[: name.rindex("~") + 1]


def _sorted_items(mapping: Mapping[str, object]) -> object:
    return sorted(mapping.items())


def _values(mapping: Mapping[str, tuple[object, ...]]) -> object:
    return sorted(mapping.values())


def _rows(records: Mapping[tuple[str, str], Record]) -> object:
    return [(lane, item_of(order), record) for (lane, order), record in sorted(records.items())]


def _stops(stops: Mapping[tuple[str, str], Stop]) -> str:
    return " ".join(f"{lane} {text_of_stop(stop)}" for (lane, _), stop in sorted(stops.items()))


def _messages(messages: Mapping[str, Message]) -> object:
    return sorted((_shown(message), message.visible) for message in messages.values())


def _shown(message: Message) -> str:
    """Return a wake-up without the place in a lane that it may name: states that are one may differ in it."""
    lane, _, order = message.text.partition(" ")
    return f"{lane} {item_of(order)}" if kind_of(message.text) in LANE_WORK and order else message.text


def _items(items: Mapping[str, Item]) -> object:
    return sorted(items.items(), key=lambda each: each[1][:3])


def _matters(world: World, execution: Execution) -> bool:
    """Return whether an execution that nobody asks about any more can still make a difference."""
    return execution.ends > world.now or execution.content in undelivered(world)


def _end_of(record: Record) -> tuple[str, ...]:
    run = record.run
    return (run.file.item_id, run.state.value, run.outcome.value if run.outcome else "") if run.file.item_id else ()
