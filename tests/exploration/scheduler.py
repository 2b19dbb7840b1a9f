"""What may happen next in a world with two workers, and what comes of it.

A state is a world and, for each worker, the point of the invocation that it is at. Which states are one is
``sameness.py``; the search through all of it is ``explore.py``.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

from shared.clients.run_store import RecordChanged
from shared.clients.run_store import key_of as item_of
from shared.clients.wake_queue import EXPORT_WORK, IMPORT_WORK, LOOKS
from shared.domain.run import FlowKind, Run
from shared.domain.run import State as RunState
from shared.errors import AnswerLost, AppError, TryAgain
from shared.flows import inbound, outbound, watch
from tests.exploration.stand_ins import (
    FNO,
    INPUT_FOLDER,
    LEASES,
    NOTES,
    ROWS,
    TURN,
    Effect,
    Entry,
    ExploredServices,
    Kind,
    Paused,
    Port,
)
from tests.exploration.world import (
    AFTER_FAILURE_S,
    INPUT,
    MOST_TRIES,
    OUTPUT,
    REDELIVERED_S,
    Instant,
    Item,
    Message,
    World,
    instant,
    package_of,
    without,
)

MINUTE: Final = "the minute's timer"
SCHEDULE: Final = "the schedule of exports"
SCHEDULE_S: Final = 30
# Exports that the schedule may start, one after the other, until all changes are delivered.
EXPORTS_UNTIL_DELIVERED: Final = 3
MESSAGE_LATE_S: Final = 300

UNLIMITED: Final = 99  # stalls

# Stages that are kept, so that what follows on them is not found out anew.
STAGES_KEPT: Final = 300_000

type Handler = Callable[[str, ExploredServices], object]
HANDLERS: Final[Mapping[str, Handler]] = {
    LOOKS: lambda text, services: watch.look(text, services),
    IMPORT_WORK: lambda text, services: inbound.advance_imports(text, services),
    EXPORT_WORK: lambda text, services: outbound.advance_exports(text, services),
    MINUTE: lambda _, services: watch.keep_watch(services),
    SCHEDULE: lambda _, services: outbound.start_exports(services),
}
LANE_WORK: Final = frozenset({IMPORT_WORK, EXPORT_WORK})


class Fate(StrEnum):
    """What becomes of one effect."""

    HAPPENS = "happens"
    ANSWER_LOST = "answer lost"  # it happens, and its caller does not hear of it
    MISTAKEN = "mistaken"  # the same, and the storage SDK's own second try meets what the first one has done
    NOT_SENT = "not sent"  # it certainly does not happen, and its caller knows
    UNDER_WAY = "under way"  # its caller hears nothing; it arrives at any time later, or never
    LOST = "lost"  # a message that nobody will get
    DOUBLED = "doubled"
    LATE = "late"


FAULTS: Final[Mapping[Kind, tuple[Fate, ...]]] = {
    Kind.READ: (),
    Kind.WRITE: (Fate.ANSWER_LOST,),
    Kind.SAVE: (Fate.ANSWER_LOST, Fate.MISTAKEN),
    Kind.LEASE: (Fate.ANSWER_LOST,),
    Kind.RELEASE: (Fate.NOT_SENT,),
    Kind.SUBMIT: (Fate.UNDER_WAY, Fate.NOT_SENT),
    Kind.SEND: (Fate.LOST, Fate.DOUBLED, Fate.LATE, Fate.ANSWER_LOST),
}


class Invocation(NamedTuple):
    """What a worker was started for."""

    handler: str  # a queue, or a timer
    message: Message | None
    message_id: str
    began: Instant
    author: str  # the same for nobody else


class Stage:
    """A point of an invocation, just before an effect. What follows on which answer is found out once."""

    __slots__ = (
        *("access", "effect", "followers", "holding", "ids", "invocation", "is_winding_up", "log", "number", "piece"),
        *("run", "text"),
    )

    def __init__(
        self, invocation: Invocation, number: int, log: tuple[Entry, ...], ids: int, text: str, port: Port
    ) -> None:
        assert port.pending is not None
        self.invocation = invocation
        self.number = number  # of the effects before it
        self.log = log  # answers that bring the invocation here; not all, where it does not keep all in mind
        self.ids = ids  # that it made before these answers
        self.effect = port.pending
        self.holding = port.holding  # leases
        self.run = port.run  # of a lane's worker
        self.access = _access(port.pending)
        self.is_winding_up = port.rest is not None  # of a lane's worker: no step is left
        self.text = text  # the same for stages from which an invocation goes on in the same way
        self.piece: object = None  # the text taken apart, by ``sameness.py``
        self.followers: dict[object, Followed] = {}


def _text_of_stage(invocation: Invocation, log: tuple[Entry, ...], rest: tuple[int, str] | None) -> str:
    parts = [invocation.handler, invocation.message.text if invocation.message else ""]
    now: Instant | None = None
    if rest:
        position, text = rest
        log = log[position:]
        parts.append(text)
    elif not log:
        now = invocation.began
        parts.append(repr(now))
    parts.append(str(len(log)))
    for entry in log:
        parts.append(entry.text if entry.now == now else f"{entry.now!r}{entry.text}")
        now = entry.now
    return "".join(parts)


class Followed(NamedTuple):
    """What an invocation does after an answer."""

    entry: Entry | None
    stage: Stage | None  # None: it ends
    unseen: tuple[Callable[[World], None], ...]  # what it does before that nobody sees
    failed: bool = False  # it ends with an error of ours, so the host delivers its message again
    bug: str = ""


class Worker(NamedTuple):
    """A worker in the middle of an invocation."""

    stage: Stage
    stalled: Instant | None = None  # since when it stands still, while its leases run out

    @property
    def is_stalled(self) -> bool:
        """Whether it stands still."""
        return self.stalled is not None

    def has_just_stopped(self, now: Instant) -> bool:
        """Whether it stands still, and no time has passed since."""
        return self.stalled == now


class State(NamedTuple):
    """One moment of a history."""

    world: World
    workers: tuple[Worker | None, ...]

    @property
    def is_idle(self) -> bool:
        """Whether no worker is at work; one that stands still is not."""
        return all(worker is None or worker.is_stalled for worker in self.workers)

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to be done but to find that out: whoever is at work, or comes, finds an empty lane.

        From here on nothing goes wrong any more: a worker that finds nothing changes nothing, and if it is killed or
        misses an answer, the wake-up comes once more, as often as the host allows, and finds nothing either.
        """
        world = self.world
        return (
            not (world.records or world.timers or world.under_way or world.to_come or world.changes)
            and all(
                w is None or (w.stage.invocation.handler in LANE_WORK and w.stage.run is None) for w in self.workers
            )
            and not any(message.queue not in LANE_WORK for message in world.messages.values())
            and not world.children(INPUT)
            and not undelivered(world)
        )

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is left to be done."""
        world = self.world
        return (
            not (any(self.workers) or world.messages or world.records or world.timers)
            and not any(name.endswith(".zip") for name in world.to_come)
            and _next_event(world) is None
        )


class Move(NamedTuple):
    """One thing that may happen next."""

    what: str  # "effect", "unnoticed", "crash", "stall": of a worker; "start", "timer", "come", "arrive", "wait"
    which: Any = 0  # a worker's number, a message's id, a timer, what comes, the number of a request
    fate: Fate = Fate.HAPPENS

    @property
    def is_fault(self) -> bool:
        """Whether this is one of the faults that are counted."""
        return self.what in ("crash", "stall") or self.fate is not Fate.HAPPENS


@dataclass(slots=True)
class Scheduler:
    """Says what may happen next in a state, and lets it happen.

    may_stall: handlers whose workers may stand still; most_stalls: how many of them in one history.
    """

    services: ExploredServices
    port: Port
    may_stall: frozenset[str]
    most_stalls: int
    _kept: list[Stage] = field(default_factory=list)
    _begun: dict[Invocation, Followed] = field(default_factory=dict)
    _stages: dict[object, Stage] = field(default_factory=dict)

    def moves(self, state: State, *, faults: bool) -> Iterator[Move]:
        """Yield what may happen next; with faults, also what may go wrong.

        Where a worker's next effect touches nothing that anybody else could touch before, only this worker goes on:
        all else that may happen now may happen as well afterwards, and comes to the same.
        """
        world = state.world
        faults = faults and not state.is_done
        for slot, worker in enumerate(state.workers):
            if worker and not worker.is_stalled and not _may_meet_others(state, slot, worker):
                yield from self._moves_of(state, slot, worker, faults=faults)
                return
        for slot, worker in enumerate(state.workers):
            if worker:
                yield from self._moves_of(state, slot, worker, faults=faults)
        if None in state.workers:
            for message_id, _ in world.visible():
                yield Move("start", message_id)
            for timer in world.timers:
                yield Move("timer", timer)
        # When a request arrives only matters to what F&O is asked or told, and to how late it is; so does a change.
        fno_is_asked = any("fno" in worker.stage.effect.touches for worker in state.workers if worker)
        for name in world.to_come:
            # A change that comes while no export is under way is for the next one, which is another history.
            is_awaited = (world.records or world.under_way) and (state.is_idle or fno_is_asked)
            if name.endswith(".zip") or is_awaited:
                yield Move("come", name)
        if state.is_idle or fno_is_asked:
            for number in range(len(world.under_way)):
                yield Move("arrive", number)
        if _may_wait(state):
            yield Move("wait")

    def _moves_of(self, state: State, slot: int, worker: Worker, *, faults: bool) -> Iterator[Move]:
        is_awaited = state.is_idle and _next_event(state.world) is None
        if worker.has_just_stopped(state.world.now) and not is_awaited:
            return  # who goes on before time has passed has not stood still, but was only slow
        yield Move("effect", slot)
        if not faults:
            return
        for fate in FAULTS[worker.stage.effect.kind]:
            yield Move("effect", slot, fate)
        yield Move("crash", slot)
        if self._may_stall(state, worker.stage) and not worker.is_stalled and _is_in_a_step(worker.stage):
            yield Move("stall", slot)

    def implied(self, state: State, *, faults: bool) -> Move | None:
        """Return a move that is made at once wherever the state is come to, so that no state in between is kept.

        faults: whether more may go wrong.
        """
        for slot, worker in enumerate(state.workers):
            if worker and _is_unnoticed(state.world, worker.stage):
                return Move("unnoticed", slot)
        for slot, worker in enumerate(state.workers):
            if worker and not worker.is_stalled and not _may_meet_others(state, slot, worker):
                # It is the only one that goes on: ``moves``.
                return Move("effect", slot) if not faults or self._is_as_good_as_next(state, worker.stage) else None
        return None

    def _is_as_good_as_next(self, state: State, stage: Stage) -> bool:
        """Whether what may go wrong before a worker's next effect may as well go wrong before the one after that.

        The effect changes nothing, and cannot go wrong itself; its worker cannot stand still before it; and another one
        comes after it, or nobody will know whether the worker came to its end or was killed: a timer has no message.
        """
        if stage.effect.kind is not Kind.READ or (self._may_stall(state, stage) and _is_in_a_step(stage)):
            return False
        handler = stage.invocation.handler
        return bool(stage.holding) if handler in LANE_WORK else stage.invocation.message is None

    def _may_stall(self, state: State, stage: Stage) -> bool:
        return stage.invocation.handler in self.may_stall and state.world.stalls < self.most_stalls

    def after(self, state: State, move: Move, *, in_place: bool = False) -> State:
        """Return the state after a move.

        in_place: nobody asks for the state before it any more.
        """
        after = self._after(state, move, state.world if in_place else state.world.copy())
        if after.world.under_way:
            after.world.forget_refused()
        return after

    def _after(self, state: State, move: Move, world: World) -> State:
        match move.what:
            case "effect":
                worker = _worker(state, move)
                if worker.is_stalled:
                    world.renew(worker.stage.holding)
                followed = self._made(world, worker.stage, move.fate)
                return self._goes_on(state, move.which, world, worker.stage.invocation, followed)
            case "unnoticed":
                worker = _worker(state, move)
                followed = self._made(world, worker.stage, Fate.HAPPENS)
                assert followed.stage is not None  # what is unnoticed comes before the lane is released
                for apply in followed.unseen:
                    apply(world)
                return _with(state, move.which, world, worker._replace(stage=followed.stage))
            case "crash":
                _forsake(world, _worker(state, move))
                return _with(state, move.which, world, None)
            case "stall":
                worker = _worker(state, move)
                world.stalls += self.most_stalls < UNLIMITED
                _forsake(world, worker)
                return _with(state, move.which, world, worker._replace(stalled=world.now))
            case "start":
                message = world.messages[move.which]
                world.messages = without(world.messages, move.which)
                return self._started(state, world, message.queue, message, move.which)
            case "timer":
                world.timers = tuple(timer for timer in world.timers if timer != move.which)
                return self._started(state, world, move.which, None, "")
            case "come":
                _come(world, move.which)
            case "arrive":
                _arrive(world, move.which)
            case _:
                _wait(world)
        return State(world, state.workers)

    def _started(self, state: State, world: World, handler: str, message: Message | None, message_id: str) -> State:
        world.invocations += 1
        invocation = Invocation(handler, message, message_id, world.now, str(world.invocations))
        if invocation not in self._begun:
            self._begun[invocation] = self._run(invocation, 0, (), 0)
        return self._goes_on(state, state.workers.index(None), world, invocation, self._begun[invocation])

    def _made(self, world: World, stage: Stage, fate: Fate) -> Followed:
        """Make an effect of this fate, and return what its invocation does then."""
        world.author, world.ids = f"{stage.invocation.author}.{stage.number + 1}", 0
        answer, error = _answered(world, stage.effect, fate)
        entry = Entry(answer, error, world.now)
        same = entry.same
        if same not in stage.followers:
            stage.followers[same] = self._run(stage.invocation, stage.number + 1, (*stage.log, entry), stage.ids)
        return stage.followers[same]

    def _run(self, invocation: Invocation, number: int, log: tuple[Entry, ...], ids: int) -> Followed:
        """Run an invocation with these answers, up to its next effect or its end."""
        port, entry = self.port, log[-1] if log else None
        port.begin(invocation.author, invocation.began, log, ids)
        try:
            HANDLERS[invocation.handler](invocation.message.text if invocation.message else "", self.services)
        except Paused:
            return Followed(entry, self._stage(invocation, number, log, ids), tuple(port.unseen))
        except AppError:
            return Followed(entry, None, tuple(port.unseen), failed=True)
        except Exception as error:  # noqa: BLE001  # whatever it is: a flow must not raise it
            return Followed(entry, None, (), bug=f"{invocation.handler} raised {type(error).__name__}: {error}")
        return Followed(entry, None, tuple(port.unseen))

    def _stage(self, invocation: Invocation, number: int, log: tuple[Entry, ...], ids: int) -> Stage:
        """Return the stage at which an invocation has stopped, with as few answers as it keeps in mind."""
        past = self.port.past
        if past is None or past.position != len(log):
            return self._new_stage(invocation, number, log, ids, self.port.rest)
        log, ids = past.log, past.ids
        same = invocation, number, ids, tuple(entry.same for entry in log)
        if same not in self._stages:
            self._stages[same] = self._new_stage(invocation, number, log, ids, None)
        return self._stages[same]

    def _new_stage(
        self, invocation: Invocation, number: int, log: tuple[Entry, ...], ids: int, rest: tuple[int, str] | None
    ) -> Stage:
        if len(self._kept) >= STAGES_KEPT:
            for stage in self._kept:
                stage.followers.clear()
            self._kept.clear()
            self._begun.clear()
            self._stages.clear()
        stage = Stage(invocation, number, log, ids, _text_of_stage(invocation, log, rest), self.port)
        self._kept.append(stage)
        return stage

    def _goes_on(self, state: State, slot: int, world: World, invocation: Invocation, followed: Followed) -> State:
        for apply in followed.unseen:
            apply(world)
        if followed.stage:
            return _with(state, slot, world, Worker(followed.stage))
        if followed.bug:
            world.bugs = (*world.bugs, followed.bug)
        if followed.failed:
            _redeliver(world, invocation, AFTER_FAILURE_S)
        elif invocation.message_id in world.messages:
            world.messages = without(world.messages, invocation.message_id)
        return _with(state, slot, world, None)


def _worker(state: State, move: Move) -> Worker:
    worker: Worker | None = state.workers[move.which]
    assert worker is not None
    return worker


def _with(state: State, slot: int, world: World, worker: Worker | None) -> State:
    return State(world, (*state.workers[:slot], worker, *state.workers[slot + 1 :]))


def _answered(world: World, effect: Effect, fate: Fate) -> tuple[Any, AppError | None]:
    """Let an effect of this fate happen; return the answer, or the error that its caller sees."""
    world.wake_may_be_lost |= fate in (Fate.ANSWER_LOST, Fate.MISTAKEN, Fate.LOST) or (
        fate is Fate.NOT_SENT and effect.kind is not Kind.SUBMIT
    )
    match fate:
        case Fate.UNDER_WAY if effect.order:
            world.under_way = (*world.under_way, effect.order)
            return None, AnswerLost("no answer came")
        case Fate.NOT_SENT:
            return None, TryAgain("nothing was sent")
        case Fate.LOST:
            return None, None
    before = world.messages
    try:
        answer = effect.apply(world)
        if fate is Fate.DOUBLED:
            effect.apply(world)
    except AppError as error:
        return None, error
    if fate is Fate.LATE:
        world.messages = {each: m if each in before else _late(m) for each, m in world.messages.items()}
    match fate:
        case Fate.MISTAKEN:
            return None, RecordChanged("another worker was quicker, so it seems")
        case Fate.ANSWER_LOST:
            return None, TryAgain("no answer came")
    return answer, None


def _late(message: Message) -> Message:
    return message._replace(visible=message.visible.ending(MESSAGE_LATE_S))


# -- who may get into whose way


def _is_in_a_step(stage: Stage) -> bool:
    """Whether a worker may stand still here: in the middle of a step, and not before what nobody else knows of.

    To stand still before that is the same as to stand still after it.
    """
    effect = stage.effect
    if stage.invocation.handler not in LANE_WORK:
        return bool(effect.touches)
    is_between_steps = effect.kind in (Kind.LEASE, Kind.RELEASE) or (effect.kind, effect.touches) == (Kind.READ, ROWS)
    return bool(stage.holding and effect.touches) and not is_between_steps


def _is_unnoticed(world: World, stage: Stage) -> bool:
    """Whether a worker's next effect, and all until it has tried to save its run, make no difference to anybody.

    They do not where the run that it is at was written by another worker since it has read it, or is over: whatever it
    saves is refused, and no version of a record ever comes back. What it still does before that is to be unnoticed as
    well: it reads, or writes a package that only it knows.
    """
    run, effect = stage.run, stage.effect
    if run is None or world.is_unchanged(run, run.record_etag):
        return False
    match effect.kind:
        case Kind.SAVE:
            return True
        case Kind.READ:
            return _only_looks(run)
        case _:
            return not effect.touches and run.state is RunState.CLAIMED


def _only_looks(run: Run) -> bool:
    """Whether the next step of a run makes nothing but effects that only it knows of, whatever it is answered."""
    if run.state is not RunState.SUBMITTING:
        return run.state in (RunState.CLAIMED, RunState.UPLOADED, RunState.EXECUTING, RunState.PLANNED)
    is_export, last = run.flow is FlowKind.EXPORT, run.submissions[-1]
    sends = run.fresh and (is_export or run.package_url is not None)
    fences = not is_export and last.missing_since is not None and last.fenced is None
    return not sends and not fences


def _holds_any(world: World, tokens: frozenset[str]) -> bool:
    return any(lease.token in tokens for lease in world.leases.values())


# What an effect reads is in the lower bits, what it writes in the upper ones.
_BITS: Final = {each: 1 << number for number, each in enumerate(("lease", "lane", "fno", "rows", "input", "notes"))}
_WRITES: Final = len(_BITS)
_ALL_READS: Final = (1 << _WRITES) - 1


def _read(touches: frozenset[str]) -> int:
    return sum(_BITS[each] for each in touches)


def _written(touches: frozenset[str]) -> int:
    return _read(touches) << _WRITES


def _access(effect: Effect) -> int:
    return _read(effect.touches) if effect.kind is Kind.READ else _written(effect.touches)


_LOOKS_AT_ROWS: Final = _read(ROWS)
_IN_LANE: Final = _written(LEASES | ROWS | INPUT_FOLDER | FNO)
_KEPT_OUT: Final = _written(LEASES)
_ELSEWHERE: Final = _written(LEASES | ROWS | INPUT_FOLDER | NOTES)
_ARRIVES: Final = _written(FNO)


def _may_meet_others(state: State, slot: int, worker: Worker) -> bool:
    """Whether others may write what a worker's next effect touches, or read what it writes, before it is made."""
    mine = worker.stage.access
    if worker.stage.effect.kind is Kind.RELEASE and not _holds_any(state.world, worker.stage.holding):
        return False  # a lease that is lost already is released without effect
    if not mine:
        return False
    others = _access_of_others(state, slot)
    return bool((mine >> _WRITES) & (others | others >> _WRITES) & _ALL_READS or mine & (others >> _WRITES))


def _access_of_others(state: State, slot: int) -> int:
    """Return what others may read and write before this worker goes on: those at work, and those that may be started.

    Until then no time passes, so whoever has just come to stand still does not go on.
    """
    world = state.world
    is_holder = _holds_lane(state, slot)
    others = 0
    for number, worker in enumerate(state.workers):
        if worker and number != slot and not worker.has_just_stopped(world.now):
            others |= _access_until_end(worker.stage, is_kept_out=is_holder)
    for _, message in world.visible():
        others |= _access_of(message.queue, is_kept_out=is_holder)
    for timer in world.timers:
        others |= _access_of(timer)
    for name in world.to_come:
        others |= _ELSEWHERE if name.endswith(".zip") else _ARRIVES
    return others | _ARRIVES if world.under_way else others


def _holds_lane(state: State, slot: int) -> bool:
    worker = state.workers[slot]
    return worker is not None and any(
        lease.token in worker.stage.holding for name, lease in state.world.leases.items() if name != TURN
    )


def _access_until_end(stage: Stage, *, is_kept_out: bool) -> int:
    """Return what an invocation may read and write until its end, and those that it wakes meanwhile.

    is_kept_out: another worker holds the lane. Who has worked at it before then only looks once more at its head.
    """
    handler = stage.invocation.handler
    if handler in LANE_WORK and is_kept_out:
        if stage.is_winding_up:
            return _LOOKS_AT_ROWS | _KEPT_OUT
        if stage.holding or stage.number:
            return _IN_LANE
    return _access_of(handler, is_kept_out=is_kept_out)


def _access_of(handler: str, *, is_kept_out: bool = False) -> int:
    """Return what an invocation that is still to begin may read and write, and those that it wakes meanwhile."""
    if handler not in LANE_WORK:
        return _ELSEWHERE
    return _KEPT_OUT if is_kept_out else _IN_LANE


# -- what happens by itself


def _forsake(world: World, worker: Worker) -> None:
    """Let what a worker held run out: its leases, and the host's hold on its message."""
    world.wake_may_be_lost = True
    world.forsake(worker.stage.holding)
    if not worker.is_stalled:
        _redeliver(world, worker.stage.invocation, REDELIVERED_S)


def _redeliver(world: World, invocation: Invocation, delay_s: int) -> None:
    message = invocation.message
    if message and message.tries + 1 < MOST_TRIES:
        again = message._replace(visible=world.now.ending(delay_s), tries=message.tries + 1)
        world.messages = {**world.messages, invocation.message_id: again}


def _come(world: World, name: str) -> None:
    """Let a file come into Input, or a row of F&O be changed."""
    world.to_come = tuple(other for other in world.to_come if other != name)
    world.idle_exports = 0
    if name.endswith(".zip"):
        put_file(world, name)
    else:
        world.changes = (*world.changes, name)


def put_file(world: World, name: str) -> None:
    """Put a file into Input, and let Graph tell of it."""
    label = name.removesuffix(".zip").partition("_")[2]
    world.author, world.ids = label, 0
    world.items = {**world.items, f"file-{label}": Item(name, INPUT, label, world.new_id())}
    message = Message(LOOKS, watch.wake_text(world.now.moment), world.now.ending(0))
    if message not in world.messages.values():
        world.send(message)


def _arrive(world: World, number: int) -> None:
    """Let a request reach F&O whose sender hears nothing of it any more."""
    order = world.under_way[number]
    world.under_way = (*world.under_way[:number], *world.under_way[number + 1 :])
    world.idle_exports = 0
    with suppress(AppError):
        world.arrive(order)


def _may_wait(state: State) -> bool:
    """Whether time passes: nobody is at work, and nothing can be begun. Work takes no time of its own."""
    if not state.is_idle or _next_event(state.world) is None:
        return False
    return None not in state.workers or not (state.world.timers or any(state.world.visible()))


def _wait(world: World) -> None:
    """Let time pass until the next thing happens by itself."""
    event = _next_event(world)
    assert event is not None
    then, timer = event
    world.pass_time(then)
    if timer:
        world.timers = (*world.timers, timer)
    if timer == SCHEDULE:
        world.idle_exports += 1


def _next_event(world: World) -> tuple[int, str] | None:
    """Return the next moment at which a message comes or a timer finds something to do; the timer."""
    events: list[tuple[int, str]] = [(m.visible, "") for m in world.messages.values() if m.visible > world.now]
    if minute := _next_useful_minute(world):
        events.append((minute, MINUTE))
    if export := _next_export(world):
        events.append((export, SCHEDULE))
    return min(events, default=None)


def _next_useful_minute(world: World) -> int | None:
    """Return when the minute's timer will find something to do next: a file without a run, or a lane that is overdue.

    Before that it comes each minute and changes nothing; what it could get into the way of is explored where it may
    come at any moment.
    """
    if MINUTE in world.timers:
        return None
    known = {item_of(order) for _, order in world.records}
    if any(item_id not in known for item_id, _ in world.children(INPUT)):
        return _next_multiple(world, world.now, 60)
    heads: dict[str, Instant] = {}
    for (lane, _), record in sorted(world.records.items()):
        heads.setdefault(lane, instant(record.run.due))
    overdue = [_next_multiple(world, max(world.now, due.after(watch.OVERDUE_S)), 60) for due in heads.values()]
    return min(overdue, default=None)


def _next_export(world: World) -> int | None:
    """Return when the schedule starts the next export that is of any use, where no other one is under way."""
    is_behind = world.changes or undelivered(world)
    if not is_behind or world.records or SCHEDULE in world.timers or world.idle_exports >= EXPORTS_UNTIL_DELIVERED:
        return None
    return _next_multiple(world, world.now, SCHEDULE_S)


def undelivered(world: World) -> set[str]:
    """Return the exported packages with changes that are not in OneDrive."""
    delivered = {item.content for _, item in world.children(OUTPUT)}
    packages = {each.content for each in world.executions.values() if each.is_export}
    return packages - delivered - {package_of(())}


def _next_multiple(world: World, now: int, seconds: int) -> int:
    return ((world.turned_back_s + now) // seconds + 1) * seconds - world.turned_back_s
