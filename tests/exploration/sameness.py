"""Which states are one: ``key_of`` gives them the same number, and only the first of them is followed.

Two states are one where nothing that comes after can tell them apart, so that what follows on the one follows on the
other. They differ only in
- ids: each is replaced by its place in the text, because the flows compare ids and never look into them;
- when it all began: moments count from now on. A deadline that is over is over; what lies more than 200 seconds back is
  long ago, because the longest time that the flows measure from a moment is the 180 seconds of grace (but for an
  execution at work, of which only the length of the next wait differs); a key's life is told by five minutes;
- which of the workers is which, in what order messages, leases and files were made, and how often a message was tried:
  that decides at the fifth time, and no history has so many faults;
- what nobody knows of any more: a package, an execution or an ended run whose id stands nowhere, unless it still counts
  for a promise.
What a worker has in hand is in the key as all answers that it got. The number is a hash of 64 bits: in a million states
the odds that any two are one by mistake are one in thirty million.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final

from shared.clients.run_store import key_of as item_of
from shared.clients.wake_queue import LOOKS
from tests.exploration.scheduler import State, undelivered
from tests.exploration.world import EPOCH, Execution, Item, Message, Record, World

_NUMBERS: Final = re.compile(
    r"~[^~]*~"  # an id
    r"|@-?\d+@|%-?\d+%|\^-?\d+\^"  # a moment, one that is compared by five minutes, a deadline
    r"|\d{8}T\d{12}Z|\d{8}-\d{6}"  # a place in a lane, a file's name
    r"|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?\+00:00"  # notes and messages
)
_LONG_AGO_S: Final = -200


def key_of(state: State) -> int:
    """Return a number that is the same for states that are one."""
    ids: dict[str, str] = {}
    now = int(state.world.now)
    # When the last look began is only compared with when the looks that are still to come were asked for.
    long_ago = _LONG_AGO_S if _has_looks(state) else -1

    def renamed(match: re.Match[str]) -> str:
        found = match.group()
        match found[0]:
            case "~":
                return ids.setdefault(found, f"~{len(ids)}")
            case "@":
                return str(max(int(found[1:-1]) - now, _LONG_AGO_S))
            case "^":
                return str(max(int(found[1:-1]) - now, 0))
            case "%":
                return str((int(found[1:-1]) - now) // 300)
        if found[8] == "-":
            return ids.setdefault(found, f"~{len(ids)}")
        return str(max(_seconds(found) - now, long_ago))

    text = _NUMBERS.sub(renamed, _text_of_state(state))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def _has_looks(state: State) -> bool:
    return any(message.queue == LOOKS for message in state.world.messages.values()) or any(
        worker.stage.invocation.handler == LOOKS for worker in state.workers if worker
    )


_moments: dict[str, float] = {}


def _seconds(text: str) -> float:
    if text not in _moments:
        if text[4] == "-":
            moment = datetime.fromisoformat(text)
        else:
            moment = datetime.strptime(text, "%Y%m%dT%H%M%S%fZ").replace(tzinfo=EPOCH.tzinfo)
        _moments[text] = (moment - EPOCH).total_seconds()
    return _moments[text]


def _text_of_state(state: State) -> str:
    world = state.world
    text = "".join(
        (
            _said(world.leases, _sorted_items),
            _said(world.records, _rows),
            *sorted(f"{worker.is_stalled}{worker.stage.text}" for worker in state.workers if worker),
            _said(world.marks, _sorted_items),
            _said(world.messages, _messages),
            _said(world.items, _items),
            _said(world.sessions, _values),
            repr((world.under_way, sorted(world.effects), world.overlaps, world.changes, world.to_come)),
            repr((sorted(world.timers), world.idle_exports, world.bugs, world.wake_may_be_lost, world.stalls)),
        )
    )
    # What nobody knows of any more makes no difference.
    return text + repr(
        (
            [each for each in world.blobs.items() if each[0] in text],
            [each for each in world.executions.items() if each[0] in text or _matters(world, each[1])],
            [record if run_id in text else _end_of(record) for run_id, record in world.ended.items()],
        )
    )


# The texts of mappings that many worlds share.
_texts: dict[int, tuple[Mapping[Any, Any], str]] = {}
_TEXTS_KEPT: Final = 100_000


def _said(mapping: Mapping[Any, Any], say: Callable[[Any], object]) -> str:
    known = _texts.get(id(mapping))
    if known is None or known[0] is not mapping:
        if len(_texts) > _TEXTS_KEPT:
            _texts.clear()
        known = _texts[id(mapping)] = mapping, repr(say(mapping))
    return known[1]


def _sorted_items(mapping: Mapping[str, object]) -> object:
    return sorted(mapping.items())


def _values(mapping: Mapping[str, tuple[object, ...]]) -> object:
    return sorted(mapping.values())


def _rows(records: Mapping[tuple[str, str], Record]) -> object:
    return [(lane, item_of(order), record) for (lane, order), record in sorted(records.items())]


def _messages(messages: Mapping[str, Message]) -> object:
    return sorted(message[:3] for message in messages.values())


def _items(items: Mapping[str, Item]) -> object:
    return sorted(items.items(), key=lambda each: each[1][:3])


def _matters(world: World, execution: Execution) -> bool:
    """Return whether an execution that nobody asks about any more can still make a difference."""
    return execution.ends > world.now or execution.content in undelivered(world)


def _end_of(record: Record) -> tuple[str, ...]:
    run = record.run
    return (run.file.item_id, run.state.value, run.outcome.value if run.outcome else "") if run.file.item_id else ()
