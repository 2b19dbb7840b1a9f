"""What the timer does about lanes as a whole: wakes those that are due, says which flows and records stand still.

One listing of all open runs serves all of it. What moves a run is ``worker.py``.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from shared.alerts import run_alerts
from shared.alerts.alert import Alert
from shared.app import Services
from shared.concurrency import gravest
from shared.errors import AppError
from shared.log import log
from shared.moments import moment_or_none
from shared.runs.drain import Drain
from shared.runs.lane import Choice, LaneRow, Stop, by_lane, choose_of, is_enough, rows_in_drain
from shared.runs.states import State
from shared.runs.store import OpenLanes
from shared.runs.worker import LEFT_TO_TIMER_S

# Seconds that a wake-up may be late before the timer sends another one.
OVERDUE_S: Final = 30.0
# A lane whose wait was left to the timer is woken by the last tick before its run is due. Ticks come every minute, and
# some seconds late.
AHEAD_S: Final = 65.0
# The clocks of storage, which says since when a run waits, and of this host may differ by so many seconds.
CLOCKS_DIFFER_BY_S: Final = 5.0
# Lanes that one message wakes, so that many that wait ask Azure for few instances; and by how many seconds one of them
# may come later for it. They are worked at side by side.
LANES_IN_MESSAGE: Final = 25
TOGETHER_S: Final = 15.0
# By so much a message comes after its run is due, because a worker whose clock is behind would leave the lane alone.
AFTER_DUE_S: Final = 2.0
# The checkpoint of a drain by the setting, and after how long without the timer's seeing it another one begins.
DRAIN_CHECKPOINT: Final = "drain"
DRAIN_SEEN_FOR: Final = timedelta(minutes=15)
# Seconds in which all of them are woken; what is not, is a minute later.
WAKE_S: Final = 9.0


def next_of_lanes(lanes: OpenLanes) -> dict[str, Choice]:
    """Return which run of each lane is due first; lanes that are paused, or have nothing to do, are left out."""
    rows_of_all = rows_in_drain(lanes.rows) if lanes.drain else lanes.rows
    stops, stopped = (
        _stops_by_lane(lanes),
        {stop.lane: stop.run_id for stop in lanes.stopped if stop.lane not in lanes.held},
    )
    choices = {
        lane: choose_of(
            rows,
            stops.get(lane, []),
            lanes.rests.get(lane),
            is_paused=lane in lanes.paused,
            stopped_at=stopped.get(lane, ""),
        )
        for lane, rows in by_lane(rows_of_all)
    }
    return {lane: choice for lane, choice in choices.items() if choice}


def see_to_lanes(services: Services) -> OpenLanes:
    """List all open runs, wake lanes that are due, and return what was listed."""
    listed = services.store.open_lanes()
    wake_lanes(listed._replace(rests=_rests_in_bounds(listed, services)), services)
    return listed._replace(drain=_with_since(listed.drain, services))


def _rests_in_bounds(lanes: OpenLanes, services: Services) -> dict[str, datetime]:
    """Return until when lanes rest, without those that rest for longer than their flows say: workers shorten these."""
    flows = services.settings.flows
    latest: dict[str, datetime] = {}
    for row in lanes.rows:
        if row.lane in lanes.rests:
            flow = flows.import_named(row.flow_name)
            pause = timedelta(seconds=(flow.order.pause_seconds if flow else 0) + CLOCKS_DIFFER_BY_S)
            latest[row.lane] = max(latest.get(row.lane, services.now()), services.now() + pause)
    return {lane: until for lane, until in lanes.rests.items() if lane in latest and until <= latest[lane]}


def _with_since(drain: Drain | None, services: Services) -> Drain | None:
    """Return a drain with its beginning; of the setting's it is noted minute by minute. Raises nothing."""
    if drain is None or drain.since:
        return drain
    now, began = services.now(), list[datetime]()

    def change(content: dict[str, str]) -> None:
        since, seen = moment_or_none(content.get("since")), moment_or_none(content.get("seen"))
        is_new = since is None or seen is None or now - seen > DRAIN_SEEN_FOR
        began[:] = [now if is_new or since is None else since]
        content.update({"since": began[0].isoformat(), "seen": now.isoformat()})

    with suppress(AppError):  # a minute later it is known
        services.checkpoints.change(DRAIN_CHECKPOINT, change)
        return replace(drain, since=began[0])
    return drain


def wake_lanes(lanes: OpenLanes, services: Services) -> int:
    """Wake each lane that is overdue, and each whose wait ends before the next tick and has no message.

    Return how many. A lost message costs a minute, never a file. Raises the gravest error once all were tried.
    """
    wakes = list(_wakes(lanes, services.now()))
    work: dict[str, Callable[[], None]] = {}
    for together in _batches(wakes):
        delay_s = max(delay_s for _, delay_s in together)
        text = "\n".join(text for text, _ in together)
        work[f"wake {text}"] = partial(services.queue.send, text, delay_s=delay_s)
    if error := gravest(services.duties.attempt_all(work, limit_s=WAKE_S)):
        raise error
    return len(wakes)


type Wake = tuple[str, float]  # a line of a message, and in how many seconds it is to come


def _wakes(lanes: OpenLanes, now: datetime) -> Iterator[Wake]:
    rows, stops = dict(by_lane(lanes.rows)), _stops_by_lane(lanes)
    for lane, choice in next_of_lanes(lanes).items():
        in_s = (choice.due - now).total_seconds()
        is_overdue = in_s < -OVERDUE_S
        if is_overdue:
            log.warning("lane.overdue", lane=lane, due=choice.due)
        if is_overdue or (in_s < AHEAD_S and _is_left_to_timer(choice)):
            is_first = _is_among_the_first(choice.row, rows[lane], stops.get(lane, []))
            yield (lane if is_first else f"{lane} {choice.row.sort_key}"), max(in_s + AFTER_DUE_S, 0.0)


def _is_left_to_timer(choice: Choice) -> bool:
    """Return whether no message was sent for a wait, as far as can be told: its run was saved so long before its end.

    A wait that is taken for a long one by mistake costs a message too many.
    """
    saved = choice.row.saved
    return saved is not None and (choice.due - saved).total_seconds() >= LEFT_TO_TIMER_S - CLOCKS_DIFFER_BY_S


def _batches(wakes: Sequence[Wake]) -> Iterator[list[Wake]]:
    """Yield the wakes that one message makes, the first to come first."""
    together: list[Wake] = []
    for wake in sorted(wakes, key=lambda wake: wake[1]):
        longest_s = TOGETHER_S if together and together[0][1] else 0.0  # what is overdue waits for nobody
        if together and (len(together) == LANES_IN_MESSAGE or wake[1] - together[0][1] > longest_s):
            yield together
            together = []
        together.append(wake)
    if together:
        yield together


def _stops_by_lane(lanes: OpenLanes) -> dict[str, list[Stop]]:
    return {lane: [stop for stop in lanes.stops if stop.lane == lane] for lane in {stop.lane for stop in lanes.stops}}


def _is_among_the_first(row: LaneRow, rows: list[LaneRow], stops: list[Stop]) -> bool:
    """Return whether a worker that lists its lane up to the next file that waits sees a run."""
    seen = next((number for number in range(1, len(rows)) if is_enough(rows[:number], stops)), len(rows))
    return any(row.sort_key == each.sort_key for each in rows[:seen])


def end_idle_stops(lanes: OpenLanes, services: Services) -> int:
    """Let flows go on that are stopped and have no file left that could find out; return how many."""
    at_work = {(row.lane, row.flow_name) for row in lanes.rows if not row.damage and row.state is not State.CANCELLED}
    idle = [stop for stop in lanes.stops if (stop.lane, stop.flow_name) not in at_work]
    for stop in idle:
        services.store.delete_stop(stop.lane, stop.flow_name)
    return len(idle)


def alerts_of_lanes(lanes: OpenLanes, services: Services) -> list[Alert]:
    """Return the alerts of flows and lanes that are stopped now, and of flows that were removed with runs open."""
    return [
        *run_alerts.stop_alerts(lanes.stops, services),
        *run_alerts.strict_order_alerts(lanes.stopped, services),
        *run_alerts.removed_flow_alerts(lanes.rows, services),
    ]


def report_damaged_records(lanes: OpenLanes, services: Services) -> int:
    """Queue an alert for each record whose metadata show that it cannot be read; return how many there are."""
    damaged = [row for row in lanes.rows if row.damage]
    for row in damaged:
        run_alerts.enqueue_damaged_record(row, services)
    return len(damaged)
