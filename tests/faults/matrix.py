"""The fault matrix: one clean run of each flow, then again once for each call and each fault that can befall it.

After each case, without help and within bounded time, every promise must hold; what does not is told in words.
"""

import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from inbound_trigger.keep_watch import do_duties
from local_cloud.finance_operations.knobs import Speed
from local_cloud.finance_operations.packages import PackageBroken, read_package
from local_cloud.storage import Azurite
from shared.azure_storage import account
from shared.errors import AppError
from shared.exports import steps as export_steps
from shared.imports import steps as import_steps
from shared.runs.states import Direction, Outcome, State
from tests.faults.interception import FaultKind, Interception, OutgoingCall, PowerCut, intercepted
from tests.leaks import leaks
from tests.packages import build_package
from tests.world import World

# The clock's time within which every case must have come to its end, and deliveries of messages and timer ticks.
WITHIN_S: Final = 4 * 3600.0
MOST_TURNS: Final = 400
# A message that failed is delivered again after host.json's visibilityTimeout.
REDELIVERED_S: Final = 30.0
# After this long nobody renews a dead worker's lease any more.
LEASE_S: Final = 60.0
# More wake-ups than this for one file would be a chain that multiplies.
MOST_MESSAGES: Final = 60

# Ticks of the minute's timer within which all that is left of a run must be gone once it has ended.
LAST_TICKS: Final = 30

_FOLDERS: Final = ("Input", "Processing", "Success", "Error")  # of imports
_ENDS: Final = {Direction.IMPORT: State.FILED, Direction.EXPORT: State.DELIVERED}

ROWS: Final = (("A", "Alpha"), ("B", "Beta"))


def states_to_save(direction: Direction) -> set[State]:
    """Return the states that storage must have taken, and that a run's history must tell of, whatever befell it."""
    steps = import_steps.STEPS if direction is Direction.IMPORT else export_steps.STEPS
    return set(steps) - {State.CANCELLED}


@dataclass(frozen=True, slots=True)
class Case:
    """One call of one flow and one fault."""

    flow: Direction
    call: OutgoingCall
    kind: FaultKind

    def __str__(self) -> str:
        return f"{self.flow}: {self.call}: {self.kind}"


@dataclass(frozen=True, slots=True)
class Verdict[C]:
    """What came of a case; no broken promise means that all held."""

    case: C
    broken: tuple[str, ...]


class Stage:
    """One world, used for one case after the other."""

    def __init__(self, world: World, log: "LogLines") -> None:
        self.world = world
        self._log = log
        self._number = 0

    def clean_calls(self, flow: Direction) -> list[OutgoingCall]:
        with intercepted() as state:
            self._act(flow, state)
        return state.calls

    def verdict(self, case: Case) -> Verdict[Case]:
        """Run one case; return which promises it broke."""
        with intercepted(case.call.number, case.kind) as state:
            found = self._act(case.flow, state)
        if not state.fired:
            found = ("the call was not made this time, so the fault could not befall it", *found)
        return Verdict(case, tuple(found))

    def begin_next(self) -> int:
        """Empty the world for the next case; return the case's number."""
        self._number += 1
        self._log.lines.clear()
        self.world.begin_anew()
        return self._number

    def _act(self, flow: Direction, state: Interception) -> tuple[str, ...]:
        self.begin_next()
        act = self._import if flow is Direction.IMPORT else self._export
        return act(state)

    def _common(self, state: Interception, flow: Direction) -> Iterator[tuple[str, object, object]]:
        world = self.world
        yield "wake-ups did not multiply", len(world.wakes.sent) <= MOST_MESSAGES, True
        yield from left_over(world)
        yield "nothing was asked of an address that is not the service's", state.led_away, []
        yield "every state was saved", state.saved, {each.value for each in states_to_save(flow) | {_ENDS[flow]}}
        yield "nothing secret was written", leaks("\n".join([*self._log.lines, world.written()])), []
        for run in world.ended_runs():
            told = {record.state for record in run.steps if not record.error}
            yield f"the history of {run.file.name} tells every state", told, states_to_save(run.direction)

    # -- the two flows

    def _import(self, state: Interception) -> tuple[str, ...]:
        world = self.world
        name = f"USMF_Case_{self._number:05d}.zip"
        content = build_package(rows=ROWS)
        effects = len(world.fno.effects)
        world.put(name, content)
        until_quiet(world, state, lambda: do_duties(world.services), lambda: bool(world.files("Input")))
        taken = [(effect.company, effect.rows) for effect in world.fno.effects[effects:]]
        return tuple(
            broken(
                ("one execution took effect in F&O", taken, [("USMF", len(ROWS))]),
                ("the file is in Success and nowhere else", places_of(world, name), ["Success"]),
                ("nothing else was left in the folders", _others(world, name), []),
                (
                    "its content is unchanged",
                    (world.folder / "Success" / name).is_file()
                    and ((world.folder / "Success" / name).read_bytes() == content),
                    True,
                ),
                ("the run has ended as it should", [run.outcome for run in world.ended_runs()], [Outcome.SUCCEEDED]),
                *self._common(state, Direction.IMPORT),
            )
        )

    def _export(self, state: Interception) -> tuple[str, ...]:
        world = self.world
        until_quiet(world, state, world.start_exports, lambda: not world.ended_runs(), ticks=1)
        packages = [file for file in (world.folder / "Output").iterdir() if file.suffix == ".zip"]
        rows = [rows_of(file) for file in packages]
        return tuple(
            broken(
                ("the export is in Output, once", [count for count in rows if count], [len(ROWS)]),
                ("the run has ended as it should", [run.outcome for run in world.ended_runs()], [Outcome.SUCCEEDED]),
                *self._common(state, Direction.EXPORT),
            )
        )


def until_quiet(
    world: World, state: Interception, tick: Callable[[], object], is_due: Callable[[], bool], *, ticks: int = 10_000
) -> None:
    """Do what the host does: tick the timer while something is due, wake lanes, deliver failed messages again.

    A process that dies is followed by a new one; its leases run out meanwhile.
    """
    give_up = world.clock.now().timestamp() + WITHIN_S
    for _ in range(MOST_TURNS):
        try:
            heads = world.heads()
            if not heads and not (is_due() and ticks > 0):
                return
            if world.clock.now().timestamp() > give_up:
                return
            if is_due() and ticks > 0 and not (ticks < 100 and heads):
                ticks -= 1
                with state.app():
                    tick()
                if not world.heads() and is_due():
                    ticks += 1  # nothing came of it
                    world.clock.advance(60)
                heads = world.heads()
            if heads:
                lane, due = min(heads.items(), key=lambda head: head[1])
                if due > world.clock.now():
                    world.clock.present = due
                with state.app():
                    world.wake(lane)
                if world.heads().get(lane) == due:
                    # Nothing came of it: the lane is held by a lease that a failed release left behind.
                    world.clock.advance(LEASE_S)
                    world.let_leases_run_out()
        except AppError:
            world.clock.advance(REDELIVERED_S)
            ticks += 1
        except PowerCut:
            state.dead = False
            world.services = world.new_process()
            world.let_leases_run_out()
            world.clock.advance(LEASE_S)
            ticks += 1


def left_over(world: World) -> Iterator[tuple[str, object, object]]:
    """Let the minute's timer have its ticks; yield what may be left over when all has ended: nothing."""
    for _ in range(LAST_TICKS):
        if not (world.services.reservations.holders() or _standing_alerts(world) or world.services.outbox.keys()):
            break
        world.clock.advance(60)
        tick_of_timer(world)
    lanes = world.services.store.open_lanes()
    yield "no run is open, not even one that is set aside", [f"{row.file_name}: {row.state}" for row in lanes.rows], []
    yield "no flow is stopped", [stop.text for stop in lanes.stops], []
    yield "no reservation is left", list(world.services.reservations.holders().values()), []
    yield "every alert of what lasts is over", _standing_alerts(world), []
    yield "no lease is held for good", world.held_leases(), []


def tick_of_timer(world: World) -> None:
    """Do what the minute's timer does; what it could not do it does in the next minute."""
    with suppress(AppError):
        do_duties(world.services)


def _standing_alerts(world: World) -> list[str]:
    outbox = world.services.outbox
    keys = outbox.keys()
    kept = [alert for key in keys if (alert := outbox.read(key))]
    return [alert.title for alert in kept if alert.is_ongoing and not alert.resolved]


def broken(*promises: tuple[str, object, object]) -> Iterator[str]:
    """Yield in words which promises do not hold. promises: what, found, wanted."""
    for promise, found, wanted in promises:
        if found != wanted:
            yield f"{promise}: no, {found!r}"


def places_of(world: World, name: str) -> list[str]:
    return [folder for folder in _FOLDERS if name in world.files(folder)]


def _others(world: World, name: str) -> list[str]:
    return [f"{folder}/{file}" for folder in _FOLDERS for file in world.files(folder) if file != name]


def rows_of(file: Path) -> int:
    """Return the rows of a package; -1 for a file that is none."""
    try:
        with file.open("rb") as content:
            return sum(len(entity.rows) for entity in read_package(content).entities)
    except PackageBroken:
        return -1


@contextmanager
def a_stage() -> Iterator[Stage]:
    """Set up a world for the matrix: with an export project that holds what ROWS say."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-")))
        azurite = stack.enter_context(Azurite())
        monkeypatch = stack.enter_context(pytest.MonkeyPatch.context())
        # A fault takes no real time: what the SDK does by itself before it tries storage again proves nothing here.
        monkeypatch.setattr(account, "RETRY_S", 0)
        settings = {
            "EXPORT_DATA_PROJECT": "Asset-Major-Types",
            "EXPORT_COMPANY": "USMF",
            "SUBMIT_GRACE_SECONDS": "60",
            "ALERT_RECIPIENT": "ops@contoso.com",
            "ALERT_SENDER": "app@contoso.com",
            "POLL_STAY_SECONDS": "0.3",  # two polls on the spot, the others through the queue
        }
        world = stack.enter_context(
            World(home, azurite.connection_string, monkeypatch, settings=settings, speed=Speed(seconds_per_execution=2))
        )
        stage = Stage(world, stack.enter_context(_heard()))
        stage.clean_calls(Direction.IMPORT)  # F&O has rows to export from now on
        yield stage


class LogLines(logging.Handler):
    """Keeps what the app logs, as the host would print it."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line, with its traceback."""
        self.lines.append(self.format(record))


@contextmanager
def _heard() -> Iterator[LogLines]:
    """Keep every line of the log, and print none: thousands of faults are meant."""
    logger, heard = logging.getLogger(), LogLines()
    level, handlers = logger.level, logger.handlers
    logger.handlers = [heard]
    logger.setLevel(logging.INFO)
    try:
        yield heard
    finally:
        logger.handlers = handlers
        logger.setLevel(level)


def cases(stage: Stage) -> list[Case]:
    """Return all cases: every call of a clean run of each flow, with every fault that can befall it."""
    return [
        Case(flow, call, kind)
        for flow in (Direction.IMPORT, Direction.EXPORT)
        for call in stage.clean_calls(flow)
        for kind in FaultKind
        if call.can_meet(kind)
    ]
