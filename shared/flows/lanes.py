"""What the timer does about lanes as a whole: wakes those that are overdue, says which flows and records stand still.

One listing of all open runs serves all of it. What moves a run is ``runner.py``.
"""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Final

from shared.clients.run_store import OpenLanes
from shared.clients.wake_queue import EXPORT_WORK, IMPORT_WORK
from shared.domain.alert import Alert
from shared.domain.lane import Choice, LaneRow, Stop, by_lane, choose, is_enough
from shared.domain.run import State
from shared.duties import gravest
from shared.flows import telling
from shared.log import log
from shared.services import Services

# Seconds that a wake-up may be late before the timer sends another one.
OVERDUE_S: Final = 30.0
# Seconds in which all of them are woken; what is not, is a minute later.
WAKE_S: Final = 9.0


def next_of_lanes(lanes: OpenLanes) -> dict[str, Choice]:
    """Return which run of each lane is due first; lanes that are paused, or have nothing to do, are left out."""
    stops = _stops_by_lane(lanes)
    choices = {lane: choose(rows, stops.get(lane, [])) for lane, rows in by_lane(lanes.rows)}
    return {lane: choice for lane, choice in choices.items() if choice and lane not in lanes.paused}


def see_to_lanes(services: Services) -> OpenLanes:
    """List all open runs, wake overdue lanes, and return what was listed."""
    listed = services.store.open_lanes()
    wake_overdue(listed, services)
    return listed


def wake_overdue_lanes(services: Services) -> int:
    """Wake each lane whose next run is overdue; return how many. A lost message costs a minute, never a file."""
    return wake_overdue(services.store.open_lanes(), services)


def wake_overdue(lanes: OpenLanes, services: Services) -> int:
    """The same, for a listing that is there already. Raises the gravest error once all were tried."""
    overdue = services.now() - timedelta(seconds=OVERDUE_S)
    rows, stops = dict(by_lane(lanes.rows)), _stops_by_lane(lanes)
    late = {lane: choice for lane, choice in next_of_lanes(lanes).items() if choice.due < overdue}
    work: dict[str, Callable[[], None]] = {}
    for lane, choice in late.items():
        log.warning("lane.overdue", lane=lane, due=choice.due)
        text = (
            lane if _is_among_the_first(choice.row, rows[lane], stops.get(lane, [])) else f"{lane} {choice.row.order}"
        )
        queue = IMPORT_WORK if lane.startswith("in-") else EXPORT_WORK
        work[f"wake {lane}"] = partial(services.wakes.send, queue, text)
    if error := gravest(services.attempt_all(work, limit_s=WAKE_S)):
        raise error
    return len(late)


def _stops_by_lane(lanes: OpenLanes) -> dict[str, list[Stop]]:
    return {lane: [stop for stop in lanes.stops if stop.lane == lane] for lane in {stop.lane for stop in lanes.stops}}


def _is_among_the_first(row: LaneRow, rows: list[LaneRow], stops: list[Stop]) -> bool:
    """Return whether a worker that lists its lane up to the next file that waits sees a run."""
    seen = next((number for number in range(1, len(rows)) if is_enough(rows[:number], stops)), len(rows))
    return any(row.order == each.order for each in rows[:seen])


def end_idle_stops(lanes: OpenLanes, services: Services) -> int:
    """Let flows go on that are stopped and have no file left that could find out; return how many."""
    at_work = {(row.lane, row.integration) for row in lanes.rows if not row.damage and row.state is not State.CANCELLED}
    idle = [stop for stop in lanes.stops if (stop.lane, stop.integration) not in at_work]
    for stop in idle:
        services.store.end_stop(stop.lane, stop.integration)
    return len(idle)


def alerts_of_lanes(lanes: OpenLanes, services: Services) -> list[Alert]:
    """Return the alerts of flows that are stopped at this moment."""
    return telling.stop_alerts(lanes.stops, services)


def tell_of_damaged(lanes: OpenLanes, services: Services) -> int:
    """Keep an alert for each record whose metadata already show that it cannot be read; return how many there are."""
    damaged = [row for row in lanes.rows if row.damage]
    for row in damaged:
        telling.tell_of_damage(row, services)
    return len(damaged)
