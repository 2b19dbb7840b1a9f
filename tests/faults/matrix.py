"""The fault matrix: one clean run of each flow, then again once for each call and each fault that can befall it.

After each case, without help and within bounded time, every promise must hold; what does not is told in words.
"""

import json
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from enum import StrEnum
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
from shared.imports.failed_files import failed_file_of
from shared.imports.marks import mark_name
from shared.runs.addresses import address_of
from shared.runs.run import Run
from shared.runs.states import Direction, Outcome, State
from shared.runs.values import FirstImport
from tests.faults.interception import FaultKind, Interception, OutgoingCall, PowerCut, intercepted
from tests.leaks import leaks
from tests.packages import build_package
from tests.world import PROJECT, World

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

_COMMON: Final = {
    "SUBMIT_GRACE_SECONDS": "60",
    "ALERT_RECIPIENT": "ops@contoso.com",
    "ALERT_SENDER": "app@contoso.com",
    "POLL_STAY_SECONDS": "0.3",  # two polls on the spot, the others through the queue
}
USUAL: Final = {"EXPORT_DATA_PROJECT": PROJECT, "EXPORT_COMPANY": "USMF", **_COMMON}

# One import with every setting that makes a call of its own, between one that goes first and one that waits for it.
_WITH_ALL: Final = "with all options"
_ALL_OPTIONS: Final = {
    "name": _WITH_ALL,
    "inputFolder": "Input",
    "files": {"exclude": ["*First*", "*Last*"]},
    "company": {"from": "name"},
    "companies": {"from": "LegalEntities"},
    "dataProject": PROJECT,
    "action": {"name": "ImportFromPackageAsync"},
    "duplicates": "refuse",
    "reserve": {"entities": True, "excel": True},
    "strictOrder": True,
    "order": {"by": "name", "pauseSeconds": 5, "after": ["first"], "afterSuccess": True},
    "filing": {"dateFolders": "year/month"},
    "counts": {"warnIfZeroRows": True},
    "resultFile": True,
}
OPTIONS: Final = {
    **_COMMON,
    "INTEGRATIONS": json.dumps(
        {
            "imports": [
                {"name": "first", "inputFolder": "Input", "dataProject": "First", "files": {"include": ["*First*"]}},
                _ALL_OPTIONS,
                {
                    "name": "last",
                    "inputFolder": "Input",
                    "dataProject": "Last",
                    "files": {"include": ["*Last*"]},
                    "order": {"after": [_WITH_ALL], "afterSuccess": True},
                },
            ]
        }
    ),
}


def states_to_save(direction: Direction) -> set[State]:
    """Return the states that storage must have taken, and that a run's history must tell of, whatever befell it."""
    steps = import_steps.STEPS if direction is Direction.IMPORT else export_steps.STEPS
    return set(steps) - {State.CANCELLED}


class Flow(StrEnum):
    """What a case follows from its beginning to its end."""

    IMPORT = "import"
    OPTIONS = "import, all options"
    EXPORT = "export"

    @property
    def direction(self) -> Direction:
        """Its direction."""
        return Direction.EXPORT if self is Flow.EXPORT else Direction.IMPORT


@dataclass(frozen=True, slots=True)
class Case:
    """One call of one flow and one fault."""

    flow: Flow
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
        self._content = build_package(rows=ROWS)  # of all options: the same in each case
        self._earlier: Run | None = None

    def clean_calls(self, flow: Flow) -> list[OutgoingCall]:
        with intercepted() as state:
            self._act(flow, state)
        return state.calls

    def verdict(self, case: Case) -> Verdict[Case]:
        """Run one case; return which promises it broke."""
        with intercepted(case.call, case.kind) as state:
            found = self._act(case.flow, state)
        if not state.fired:
            found = ("the call was not made this time, so the fault could not befall it", *found)
        return Verdict(case, tuple(found))

    def begin_next(self, settings: Mapping[str, str] = USUAL) -> int:
        """Empty the world for the next case; return the case's number."""
        self._number += 1
        self._log.lines.clear()
        self.world.begin_anew(settings)
        return self._number

    def _act(self, flow: Flow, state: Interception) -> tuple[str, ...]:
        if flow is Flow.OPTIONS and self._earlier is None:
            self._earlier = self._run_of_a_clean_import()
        self.begin_next(OPTIONS if flow is Flow.OPTIONS else USUAL)
        match flow:
            case Flow.IMPORT:
                return self._import(state)
            case Flow.OPTIONS:
                return self._import_with_options(state)
            case Flow.EXPORT:
                return self._export(state)

    def _common(self, state: Interception, flow: Flow) -> Iterator[tuple[str, object, object]]:
        world = self.world
        yield "wake-ups did not multiply", len(world.wakes.sent) <= MOST_MESSAGES, True
        yield from left_over(world)
        yield "nothing was asked of an address that is not the service's", state.led_away, []
        yield "every state was saved", state.saved, {each.value for each in _states_of(flow)}
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
                *self._common(state, Flow.IMPORT),
            )
        )

    def _run_of_a_clean_import(self) -> Run:
        """Import a file with all options; return its run, under another id."""
        self.begin_next(OPTIONS)
        with intercepted() as state:
            self._import_with_options(state)
        (run,) = self.world.ended_runs()
        return replace(run, run_id=f"{run.run_id[:-4]}0000")

    def _import_with_options(self, state: Interception) -> tuple[str, ...]:
        """Import a file whose earlier run, if any, failed and changed nothing; its record and marks are there."""
        world, name = self.world, "USMF_Case.zip"
        effects = len(world.fno.effects)
        earlier = self._earlier
        if earlier:
            _leave_failed(earlier, world)
        world.put(name, self._content)
        until_quiet(world, state, lambda: do_duties(world.services), lambda: bool(world.files("Input")))
        taken = [(effect.company, effect.rows) for effect in world.fno.effects[effects:]]
        runs = [run for run in world.ended_runs() if not earlier or run.run_id != earlier.run_id]
        run = runs[-1] if runs else None
        folder = f"Success/{run.outcome_known:%Y/%m}" if run and run.outcome_known else "Success"
        filed = world.folder / folder / name
        return tuple(
            broken(
                ("one execution took effect in F&O", taken, [("USMF", len(ROWS))]),
                (
                    "the file and its result are in Success, and nothing else is in the folders",
                    _all_files(world),
                    [f"{folder}/{name}", f"{folder}/{name}.result.json"],
                ),
                ("its content is unchanged", filed.is_file() and filed.read_bytes() == self._content, True),
                ("the run has ended as it should", [run.outcome for run in runs], [Outcome.SUCCEEDED]),
                *(_promises_of(run, filed, world) if run else ()),
                ("no mark of a failed file is left", world.services.failed_files.of_flow(_WITH_ALL), []),
                ("no lane is stopped", world.services.store.open_lanes().paused, frozenset()),
                *self._common(state, Flow.OPTIONS),
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
                *self._common(state, Flow.EXPORT),
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


def _leave_failed(run: Run, world: World) -> None:
    """Leave what a run leaves behind that has failed and changed nothing: its record, and the marks of its file."""
    now = world.clock.now()
    submissions = tuple(replace(each, changed_nothing=True) for each in run.submissions)
    failed = replace(run, outcome=Outcome.FAILED, submissions=submissions)
    own = FirstImport(run_id=run.run_id, address=address_of(run), file_name=run.file.name, since=now)
    services = world.services
    services.store.create(failed)
    services.store.end(services.store.read_row(services.store.open_lanes().rows[0]))
    services.failed_files.save(failed_file_of(failed, address_of(failed), now))
    services.marks.create(_mark_of(run), own)


def _mark_of(run: Run) -> str:
    sha256 = run.package.sha256 if run.package else ""
    return mark_name(run.environment_url, run.company, run.data_project, sha256)


def _promises_of(run: Run, filed: Path, world: World) -> Iterator[tuple[str, object, object]]:
    """Yield what the mark of its content and the result for the sender must say of a run that has succeeded."""
    first = world.services.marks.read(_mark_of(run)).first
    yield "the content's mark names the run", first and first.run_id, run.run_id
    file = filed.with_name(f"{filed.name}.result.json")
    result = json.loads(file.read_bytes()) if file.is_file() else {}
    told = (result.get("runId"), result.get("outcome"))
    yield "the result tells run and outcome", told, (run.run_id, Outcome.SUCCEEDED.label)
    # No import depends on counts: if F&O refuses them the app does not ask again, and the result says why it has none.
    staged = [each["staged"] for each in result.get("counts", ())]
    yield "the result has the rows, or says why not", result.get("countsNote") or staged, run.counts_note or [len(ROWS)]


def _states_of(flow: Flow) -> set[State]:
    return states_to_save(flow.direction) | {_ENDS[flow.direction]}


def places_of(world: World, name: str) -> list[str]:
    return [folder for folder in _FOLDERS if name in world.files(folder)]


def _others(world: World, name: str) -> list[str]:
    return [f"{folder}/{file}" for folder in _FOLDERS for file in world.files(folder) if file != name]


def _all_files(world: World) -> list[str]:
    """Return every file in the folders of imports, whatever sub-folder it is in."""
    files = (file for folder in _FOLDERS for file in (world.folder / folder).rglob("*") if file.is_file())
    return sorted(file.relative_to(world.folder).as_posix() for file in files)


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
        world = stack.enter_context(
            World(home, azurite.connection_string, monkeypatch, settings=USUAL, speed=Speed(seconds_per_execution=2))
        )
        stage = Stage(world, stack.enter_context(_heard()))
        stage.clean_calls(Flow.IMPORT)  # F&O has rows to export from now on
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


def cases(stage: Stage, flows: Iterable[Flow] = Flow) -> list[Case]:
    """Return all cases: every call of a clean run of each flow, with every fault that can befall it."""
    return [
        Case(flow, call, kind)
        for flow in flows
        for call in stage.clean_calls(flow)
        for kind in FaultKind
        if call.can_meet(kind)
    ]
