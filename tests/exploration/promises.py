"""What must hold in every history, in words that name what would be broken."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from tests.exploration.scheduler import State, undelivered
from tests.exploration.world import ERROR, OUTPUT, SUCCESS, World, package_of

# Wake-ups of one lane, or looks, that may be in a queue at one time without a fault that makes more of them.
MOST_MESSAGES: Final = 4

# By then everything has come to rest, whatever went wrong.
AT_REST_AFTER_S: Final = 2 * 3600


def broken_at_once(state: State, faults: int) -> str:
    """Return which promise is broken in this state, whatever comes next; empty where none is."""
    return next(_broken_at_once(state.world, faults), "")


def _broken_at_once(world: World, faults: int) -> Iterator[str]:
    yield from world.bugs
    if world.turned_back_s + world.now > AT_REST_AFTER_S:
        yield f"after {AT_REST_AFTER_S / 3600:g} hours it has not come to rest"
    for content, times in Counter(world.effects).items():
        if times > 1:
            yield f"{content}.zip was imported {times} times"
    in_order = tuple(label for label in world.files if label in world.effects)
    if world.overlaps_count and world.effects != in_order:
        yield f"the files of one lane were imported in the order {' '.join(world.effects)}"
    for content in world.overlaps:
        yield f"{content}.zip was to be imported while another import of its data project was at work"
    for queue, count in Counter(message.queue for message in world.messages.values()).items():
        if count > MOST_MESSAGES + faults:
            yield f"{count} messages are in {queue}, and more come"


def broken_while_waiting(state: State) -> str:
    """Return which promise is broken where nobody is at work and time is about to pass."""
    world = state.world
    if world.wake_may_be_lost or any(state.workers):
        return ""
    woken = {message.text for message in world.messages.values()}
    for (lane, _), record in sorted(world.records.items()):
        if lane not in woken:
            return f"the run of {record.run.file.name} is due, and only the minute's timer will see to it"
    return ""


def broken_in_the_end(state: State) -> str:
    """Return which promise is broken where all is quiet; empty where none is."""
    return next(_broken_in_the_end(state.world), "")


def _broken_in_the_end(world: World) -> Iterator[str]:
    for lease in (name for name, lease in world.leases.items() if lease.runs_out is None):
        yield f"the lease {lease} is held for ever"
    for label in sorted(world.files):
        yield from _broken_of_file(world, label)
    delivered = Counter(item.content for _, item in world.children(OUTPUT))
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
    if place.folder == ERROR:
        yield f"{place.name} is in Error, and nothing is wrong with it"
    elif place.folder != SUCCESS:
        yield f"{place.name} was left in {place.folder}"
    elif label not in world.effects:
        yield f"{place.name} is in Success and was not imported"
