"""What must hold in every history, in words that name what would be broken.

Some of it is noticed where it happens (``World.note_bug``): two executions of a data project at one time, a reservation
that is given back too soon, a file that passes an older one which nothing excuses.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from shared.runs.states import State
from tests.exploration.access import LANE_WORK, kind_of, lane_of
from tests.exploration.scheduler import State as RunningState
from tests.exploration.scheduler import next_of_lanes, undelivered
from tests.exploration.world import (
    ERROR,
    INPUT,
    OUTPUT,
    PROCESSING,
    SUCCESS,
    Item,
    Message,
    World,
    is_in,
    package_of,
    row_of,
)

# Wake-ups of one lane, or looks, that may be in a queue at one time without a fault that makes more of them. A person
# who cancels sends two.
MOST_MESSAGES: Final = 4
BY_A_PERSON: Final = 2

# Effects that one invocation may have before it waits or ends; those of the busiest are a tenth of it.
MOST_EFFECTS: Final = 1_000

# Seconds that a file may wait for a wake-up that is on its way; a person who cancels sends one that comes after seven.
SOON_S: Final = 30

_BEFORE_ALL: Final = frozenset({State.FOUND, State.PLANNED})


def broken_at_once(state: RunningState, faults: int, at_rest_after_s: int) -> str:
    """Return which promise is broken in this state, whatever comes next; empty if none is."""
    if most_effects(state) > MOST_EFFECTS:
        return "a worker goes on for ever, and time stands still"
    return next(_broken_at_once(state.world, faults, at_rest_after_s), "")


def most_effects(state: RunningState) -> int:
    """Return how many effects the invocation has had by now that has had the most."""
    return max((worker.stage.number for worker in state.workers if worker), default=0)


def _broken_at_once(world: World, faults: int, at_rest_after_s: int) -> Iterator[str]:
    yield from world.bugs
    for record in world.records.values():
        if record.run.problem and record.run.problem.text.startswith("The app has a bug"):
            yield record.run.problem.text
    if world.turned_back_s + world.now > at_rest_after_s:
        yield f"after {at_rest_after_s / 3600:g} hours it has not come to rest"
    for content, times in Counter(world.effects).items():
        if times > 1:
            yield f"{content}.zip was imported {times} times"
    most = MOST_MESSAGES + faults + BY_A_PERSON * len(world.cancelled)
    for whom, count in Counter(map(_for_whom, world.messages.values())).items():
        if count > most:
            yield f"{count} messages for {whom} are in the queue, and more come"


def _for_whom(message: Message) -> str:
    """Return the lane that a message wakes, or that it asks for a scan."""
    kind = kind_of(message.text)
    return lane_of(message.text) if kind in LANE_WORK else kind


def broken_while_waiting(state: RunningState) -> str:
    """Return which promise is broken if nobody is at work and time is about to pass."""
    world = state.world
    if world.wake_may_be_lost or any(state.workers):
        return ""
    if waiting := next(_waiting_for_nothing(world), ""):
        return waiting
    woken = {lane_of(message.text) for message in world.messages.values()}
    for lane, choice in next_of_lanes(world).items():
        if lane not in woken:
            return f"the run of {choice.row.file_name} is due, and only the minute's timer will see to it"
    return ""


def _waiting_for_nothing(world: World) -> Iterator[str]:
    """Yield files that wait although nothing of their lane is under way, or put off, that may not be passed."""
    soon = world.now.after(SOON_S)
    woken = {lane_of(message.text) for message in world.messages.values() if message.visible <= soon}
    rows = [row_of(record) for _, record in sorted(world.records.items()) if not world.is_passed(record)]
    waiting = [row for row in rows if row.state in _BEFORE_ALL and row.due <= world.now.moment]
    busy = {row.lane for row in rows if row not in waiting}
    for row in waiting:
        if row.lane not in {*woken, *busy, *world.paused}:
            yield f"{row.file_name} waits although nothing is in its way"


def broken_in_the_end(state: RunningState) -> str:
    """Return which promise is broken if all is quiet; empty if none is."""
    return next(_broken_in_the_end(state.world), "")


def _broken_in_the_end(world: World) -> Iterator[str]:
    for lease in (name for name, lease in world.leases.items() if lease.runs_out is None):
        yield f"the lease {lease} is held for ever"
    for name in world.reservations:
        yield f"{name} is reserved for ever"
    for _, record in sorted(world.records.items()):
        yield f"the run of {record.run.file.name} is never ended"
    for _, stop in sorted(world.stops.items()):
        yield f"{stop.flow_name} is stopped for ever"
    for label in world.files:
        yield from _broken_of_file(world, label)
    delivered = Counter(item.content for _, item in world.in_folders(OUTPUT))
    for package, times in delivered.items():
        if package != package_of(()) and times > 1:
            yield f"the changes {package} are in {times} files in OneDrive"
    for package in sorted(undelivered(world)):
        yield f"the changes {package} were exported and are in no file in OneDrive"
    if world.changes:
        yield f"the changes {world.changes} were not exported"


def _broken_of_file(world: World, label: str) -> Iterator[str]:
    places = [item for item in world.items.values() if item.content == label]
    if len(places) != 1:
        yield f"{label}.zip is there {len(places)} times"
        return
    (place,) = places
    is_imported = label in world.effects
    if is_in(place.folder, SUCCESS):
        if not is_imported:
            yield f"{place.name} is in Success and was not imported"
    elif is_in(place.folder, ERROR):
        if label not in world.cancelled:
            yield f"{place.name} is in Error, and nothing is wrong with it"
    elif not _is_left_to_a_person(world, label, place):
        yield f"{place.name} was left in {place.folder}"


def _is_left_to_a_person(world: World, label: str, place: Item) -> bool:
    """Return whether a file stays where it is because its record was put aside; in Input it is taken up anew."""
    return label in world.damaged and is_in(place.folder, PROCESSING) and not is_in(place.folder, INPUT)
