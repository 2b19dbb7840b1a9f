"""What may happen next in a world with two workers, and what comes of it.

A state is a world and, for each worker, the point of the invocation that it is at. Which states are one is
``sameness.py``; the search through all of it is ``explore.py``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from inbound_trigger.keep_watch import do_duties
from operations import actions
from shared.app import Services
from shared.errors import AnswerLost, AppError, Refused, TryAgain
from shared.execution import LOST_SUBMITS
from shared.exports import schedule as export_schedule
from shared.exports import steps as export_steps
from shared.imports import steps as import_steps
from shared.reservations import release, settle
from shared.runs import wake
from shared.runs.addresses import key_of as item_of
from shared.runs.lane import Choice
from shared.runs.record import Damaged
from shared.runs.run import Run
from shared.runs.states import WITH_FO, Direction
from shared.runs.states import State as RunState
from shared.scan import scan_requests
from tests.exploration.access import (
    EXPORTS,
    IMPORTS,
    LANE_WORK,
    MINUTE,
    PERSON,
    SCAN,
    SCHEDULE,
    Access,
    is_conflict,
    kind_of,
    lane_of,
)
from tests.exploration.moments import Instant, instant
from tests.exploration.stand_ins import (
    ROWS,
    TURN,
    Effect,
    Entry,
    ExploredServices,
    Fate,
    Kind,
    Mind,
    Paused,
    Port,
)
from tests.exploration.world import (
    AFTER_FAILURE_S,
    ALL_ITEMS,
    BAD_REQUEST,
    FORBIDDEN,
    HIDDEN,
    INPUT,
    LOCKED,
    METADATA,
    MOST_TRIES,
    NO_ANSWER,
    OUTPUT,
    REDELIVERED_S,
    Item,
    Message,
    Record,
    Refusal,
    World,
    age_of,
    is_in,
    label_of,
    package_of,
    row_of,
    without,
)

SCHEDULE_S: Final = 30
# Exports that the schedule may start, one after the other, until all changes are delivered.
EXPORTS_UNTIL_DELIVERED: Final = 3
MESSAGE_LATE_S: Final = 300

UNLIMITED: Final = 99  # stalls

# Stages that are kept, so that what follows on them is not found out anew.
STAGES_KEPT: Final = 300_000

# Workers, and behind them one person, whose requests another function answers.
WORKERS: Final = 2
SLOTS: Final = WORKERS + 1
_PERSONS_SLOT: Final = WORKERS

# How long a service refuses: for a moment, for less than others wait for the file, for longer; and all submits.
MOMENT_S: Final = 20
SHORT_S: Final = 60
LONG_S: Final = 600
HOUR_S: Final = 3600

# What a person asks for: these words, and then which run, or which record.
CANCEL, PAUSE, RESUME, SUBMIT_AGAIN, PUT_ASIDE = "cancel", "pause", "resume", "submit again", "put aside"
RENAME: Final = "rename"
SETTINGS: Final = "the settings are changed"


def _act(text: str, services: ExploredServices) -> None:
    """Do what a person asks for; text: the verb, and behind a colon the address."""
    verb, _, address = text.partition(": ")
    asked = actions.Requester(by="a person")
    verbs: dict[str, Verb] = {CANCEL: actions.cancel, SUBMIT_AGAIN: actions.submit_again, PUT_ASIDE: actions.put_aside}
    verbs |= {PAUSE: actions.pause, RESUME: actions.resume}
    verbs[verb](address, asked, services)


type Verb = Callable[[str, actions.Requester, Services], actions.ActionResult | None]
type Handler = Callable[[str, ExploredServices], object]
HANDLERS: Final[Mapping[str, Handler]] = {
    SCAN: lambda text, services: scan_requests.handle_request(text, services),
    IMPORTS: lambda text, services: import_steps.advance_imports(text, services),
    EXPORTS: lambda text, services: export_steps.advance_exports(text, services),
    MINUTE: lambda _, services: do_duties(services),
    SCHEDULE: lambda _, services: export_schedule.start_exports(services),
    PERSON: _act,
}


FAULTS: Final[Mapping[Kind, tuple[Fate, ...]]] = {
    Kind.READ: (),
    Kind.WRITE: (Fate.ANSWER_LOST,),
    Kind.SAVE: (Fate.ANSWER_LOST, Fate.MISTAKEN),
    Kind.CONDITIONAL: (Fate.ANSWER_LOST, Fate.MISTAKEN),
    Kind.LEASE: (Fate.ANSWER_LOST,),
    Kind.RELEASE: (Fate.NOT_SENT,),
    Kind.SUBMIT: (Fate.UNDER_WAY, Fate.NOT_SENT),
    Kind.SEND: (Fate.LOST, Fate.DOUBLED, Fate.LATE, Fate.ANSWER_LOST),
}


class Invocation(NamedTuple):
    """What a worker was started for."""

    handler: str  # a scan, a lane's work, a timer, or a person's request
    text: str
    message: Message | None
    message_id: str
    began: Instant
    author: str  # the same for nobody else
    settings: int  # by which of the scenario's settings it goes

    @property
    def lane(self) -> str:
        """The lane that it works at, "" if it is no lane's worker."""
        return lane_of(self.text) if self.handler in LANE_WORK else ""

    @property
    def shown(self) -> str:
        """What it was started for, without the place in a lane: states that are one may differ in it."""
        lane, _, order = self.text.partition(" ")
        return f"{self.handler} {lane} {item_of(order)}" if self.lane and order else f"{self.handler} {self.text}"


class Stage:
    """A point of an invocation, just before an effect. What follows on which answer is found out once."""

    __slots__ = (
        *("access", "effect", "followers", "holding", "ids", "invocation", "is_winding_up", "log", "mind", "number"),
        *("piece", "run", "text"),
    )

    def __init__(
        self, invocation: Invocation, number: int, known: "Known", text: str, port: Port, access: Access
    ) -> None:
        assert port.pending is not None
        self.invocation = invocation
        self.number = number  # of the effects before it
        self.log = known.log  # answers that bring the invocation here; not all, if it does not keep all in mind
        self.ids = known.ids  # that it made before these answers
        self.mind = known.mind
        self.effect = port.pending
        self.holding = port.holding  # leases
        self.run = port.run  # of a lane's worker
        self.access = access.of_effect(port.pending, invocation.lane)
        self.is_winding_up = port.rest is not None  # of a lane's worker: no step is left
        self.text = text  # the same for stages from which an invocation goes on in the same way
        self.piece: object = None  # the text taken apart, by ``sameness.py``
        self.followers: dict[object, Followed] = {}


class Known(NamedTuple):
    """What an invocation goes on from: answers, how many ids it made before these, and what else it has in mind."""

    log: tuple[Entry, ...] = ()
    ids: int = 0
    mind: Mind | None = None


def _text_of_stage(invocation: Invocation, known: Known, rest: tuple[int, str] | None) -> str:
    parts = [invocation.shown, str(invocation.settings)]
    now: Instant | None = None
    log = known.log
    if rest:
        position, text = rest
        log = log[position:]
        parts.append(text)
    else:
        if not log:
            now = invocation.began
            parts.append(repr(now))
        if known.mind:
            parts.append(known.mind.text)
    parts.append(str(len(log)))
    for entry in log:
        parts.append(entry.text if entry.now == now else f"{entry.now!r}{entry.text}")
        now = entry.now
    return " ".join(parts)


class Followed(NamedTuple):
    """What an invocation does after an answer."""

    stage: Stage | None  # None: it ends
    unseen: tuple[Callable[[World], None], ...]  # what it does before that nobody sees
    failed: bool = False  # it ends with an error of ours, so the host delivers its message again
    bug: str = ""
    goes_on: str = ""  # the lane with which its worker goes on, as ``inbound_trigger/work.py`` does: of a scan


class Worker(NamedTuple):
    """A worker in the middle of an invocation."""

    stage: Stage
    stalled: Instant | None = None  # since when it stands still, while its leases run out

    @property
    def is_stalled(self) -> bool:
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
            not (world.records or world.timers or world.under_way or world.changes)
            and all(what.startswith((CANCEL, PAUSE)) for what in world.to_come)
            and not (world.reservations or world.stops)
            and all(
                w is None or (w.stage.invocation.handler in LANE_WORK and w.stage.run is None) for w in self.workers
            )
            and not any(kind_of(message.text) not in LANE_WORK for message in world.messages.values())
            and not world.in_folders(INPUT)
            and not undelivered(world)
        )

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is left to be done."""
        world = self.world
        return (
            not (any(self.workers) or world.messages or world.timers)
            and not any(_is_sure(what) for what in world.to_come)
            and _next_event(world) is None
            and not any(_persons_duties(world))
        )


class Move(NamedTuple):
    """One thing that may happen next."""

    # "effect", "unnoticed", "crash", "stall": of a worker; "start", "timer", "person": of one that begins; "come",
    # "arrive", "damage", "wait": from outside
    what: str
    which: Any = 0  # a worker's number, a message's id, a timer, what comes, the number of a request, a place
    fate: Fate = Fate.HAPPENS

    @property
    def is_fault(self) -> bool:
        """Whether this is one of the faults that are counted."""
        return self.what in ("crash", "stall", "damage") or self.fate is not Fate.HAPPENS

    @property
    def kind(self) -> str:
        return self.what if self.fate is Fate.HAPPENS else self.fate.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What may happen in a scenario, and go wrong."""

    lanes: Sequence[str]
    share_files: bool = False  # whether a file may have runs in several lanes
    may_stall: frozenset[str] = frozenset()  # handlers whose workers may stand still
    most_stalls: int = 0  # how many of them in one history
    troubles: frozenset[Fate] = frozenset()  # which services may refuse
    damages: tuple[tuple[str, str], ...] = ()  # whose record may become unreadable, and what of it
    only: frozenset[str] = frozenset()  # kinds of faults, if not all are of interest: "stall", "stall in claimed"


@dataclass(slots=True)
class Scheduler:
    """Says what may happen next in a state, and lets it happen. services: for each of the scenario's settings."""

    services: Sequence[ExploredServices]
    port: Port
    rules: Rules
    access: Access = field(init=False)
    _kept: list[Stage] = field(default_factory=list)
    _begun: dict[Invocation, Followed] = field(default_factory=dict)
    _stages: dict[object, Stage] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.access = Access(self.rules.lanes, self.rules.share_files)

    def moves(self, state: State, *, faults: bool) -> Iterator[Move]:
        """Yield what may happen next; with faults, also what may go wrong.

        If a worker's next effect touches nothing that anybody else could touch before, only this worker goes on: all
        else that may happen now may happen as well afterwards, and comes to the same.
        """
        world = state.world
        faults = faults and not state.is_done
        for slot, worker in enumerate(state.workers):
            if worker and not worker.is_stalled and not self._may_meet_others(state, slot, worker):
                yield from self._moves_of(state, slot, worker, faults=faults)
                return
        for slot, worker in enumerate(state.workers):
            if worker:
                yield from self._moves_of(state, slot, worker, faults=faults)
        if None in state.workers[:WORKERS]:
            for message_id, _ in world.visible():
                yield Move("start", message_id)
            for timer in world.timers:
                yield Move("timer", timer)
        yield from self._moves_from_outside(state)
        if _may_wait(state):
            yield Move("wait")

    def _moves_from_outside(self, state: State) -> Iterator[Move]:
        """Yield what others may do: people, whoever changes files and rows, and requests that arrive late."""
        world = state.world
        # When a request arrives only matters to what F&O is asked or told, and to how late it is; so does a change.
        fno_is_asked = any("fno" in worker.stage.effect.touches for worker in state.workers if worker)
        for what in world.to_come:
            if what.startswith((CANCEL, PAUSE)):
                is_free = state.workers[_PERSONS_SLOT] is None and (what.startswith(CANCEL) or _is_at_rest(state))
                if is_free and _asked_of(state, what):
                    yield Move("person", what)
            # A change that comes while no export is under way is for the next one, which is another history.
            elif _is_sure(what) or ((world.records or world.under_way) and (state.is_idle or fno_is_asked)):
                yield Move("come", what)
        if _is_at_rest(state):
            for what in _persons_duties(world):
                yield Move("person", what)
        if state.is_idle or fno_is_asked:
            for number in range(len(world.under_way)):
                yield Move("arrive", number)

    def _moves_of(self, state: State, slot: int, worker: Worker, *, faults: bool) -> Iterator[Move]:
        is_awaited = state.is_idle and _next_event(state.world) is None
        if worker.has_just_stopped(state.world.now) and not is_awaited:
            return  # who goes on before time has passed has not stood still, but was only slow
        yield Move("effect", slot)
        if faults:
            yield from (each for each in self._faults_of(state, slot, worker) if self._counts(each, worker.stage.run))

    def _counts(self, fault: Move, run: Run | None) -> bool:
        """Whether a fault is of interest: for its kind, or for that and the state of the run that it is about."""
        only = self.rules.only
        return not only or fault.kind in only or (run is not None and f"{fault.kind} in {run.state.value}" in only)

    def _faults_of(self, state: State, slot: int, worker: Worker) -> Iterator[Move]:
        """Yield what may go wrong with a worker before its next effect, or with that."""
        effect = worker.stage.effect
        for fate in (*FAULTS[effect.kind], *self._troubles(state.world, effect)):
            yield Move("effect", slot, fate)
        for place, kind in self._damages(state.world, worker.stage):
            yield Move("damage", (*place, kind))
        yield Move("crash", slot)
        if self._may_stall(state, worker.stage) and not worker.is_stalled and _is_in_a_step(worker.stage):
            yield Move("stall", slot)

    def _troubles(self, world: World, effect: Effect) -> Iterator[Fate]:
        """Yield how a service may begin to refuse."""
        for fate in effect.fates:
            is_known = world.submits is not None if effect.kind is Kind.SUBMIT else effect.about in world.kept_back
            if fate in self.rules.troubles and not is_known:
                yield fate

    def _damages(self, world: World, stage: Stage) -> Iterator[tuple[tuple[str, str], str]]:
        """Yield which records may become unreadable just before an effect: those that it touches."""
        effect, lane = stage.effect, stage.invocation.lane
        if not self.rules.damages or effect.touches != ROWS:
            return
        for place, record in world.records.items():
            is_touched = effect.about == record.run.run_id if effect.about else lane in ("", place[0])
            label = label_of(record.run) if record.run.direction is Direction.IMPORT else record.run.direction.value
            if is_touched and label_of(record.run) not in world.damaged:
                yield from ((place, kind) for each, kind in self.rules.damages if each == label)

    def implied(self, state: State, *, faults: bool) -> Move | None:
        """Return a move that is made at once wherever the state is come to, so that no state in between is kept.

        faults: whether more may go wrong.
        """
        for slot, worker in enumerate(state.workers):
            if worker and _is_unnoticed(state.world, worker.stage):
                return Move("unnoticed", slot)
        for slot, worker in enumerate(state.workers):
            if worker and not worker.is_stalled and not self._may_meet_others(state, slot, worker):
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
        if any(self._troubles(state.world, stage.effect)) or any(self._damages(state.world, stage)):
            return False
        handler = stage.invocation.handler
        return bool(stage.holding) if handler in LANE_WORK else stage.invocation.message is None

    def _may_stall(self, state: State, stage: Stage) -> bool:
        return stage.invocation.handler in self.rules.may_stall and state.world.stalls < self.rules.most_stalls

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
                before = world.records
                followed = self._made(world, worker.stage, move.fate)
                if len(world.records) > len(before):
                    _excuse_late(state, move.which, world, before)
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
                world.stalls += self.rules.most_stalls < UNLIMITED
                _forsake(world, worker)
                return _with(state, move.which, world, worker._replace(stalled=world.now))
            case "start":
                message = world.messages[move.which]
                world.messages = without(world.messages, move.which)
                return self._started(state, world, kind_of(message.text), message.text, message, move.which)
            case "timer":
                world.timers = tuple(timer for timer in world.timers if timer != move.which)
                return self._started(state, world, move.which, "", None, "")
            case "person":
                if move.which in world.to_come:
                    text = _asked_of(state, move.which)
                    world.to_come = tuple(what for what in world.to_come if what != move.which)
                else:
                    text = move.which
                return self._started(state, world, PERSON, text, None, "")
            case "come":
                _come(world, move.which)
            case "arrive":
                _arrive(world, move.which)
            case "damage":
                world.author, world.ids = f"damage.{world.invocations}.{len(world.damaged)}", 0
                world.wake_may_be_lost = True  # a worker that is at it lets its lane go
                world.damage(*move.which)
            case _:
                _wait(world)
        return State(world, state.workers)

    def _started(
        self, state: State, world: World, handler: str, text: str, message: Message | None, message_id: str
    ) -> State:
        slot = _PERSONS_SLOT if handler == PERSON else state.workers.index(None)
        return self._begins(state, slot, world, handler, text, message, message_id)

    def _begins(
        self,
        state: State,
        slot: int,
        world: World,
        handler: str,
        text: str,
        message: Message | None,
        message_id: str,
    ) -> State:
        world.invocations += 1
        invocation = Invocation(handler, text, message, message_id, world.now, str(world.invocations), world.settings)
        if invocation not in self._begun:
            self._begun[invocation] = self._run(invocation, 0, Known())
        return self._goes_on(state, slot, world, invocation, self._begun[invocation])

    def _made(self, world: World, stage: Stage, fate: Fate) -> Followed:
        """Make an effect of this fate, and return what its invocation does then."""
        world.author, world.ids = f"{stage.invocation.author}.{stage.number + 1}", 0
        answer, error = _answered(world, stage.effect, fate)
        entry = Entry(answer, error, world.now)
        same = entry.same
        if same not in stage.followers:
            known = Known((*stage.log, entry), stage.ids, stage.mind)
            stage.followers[same] = self._run(stage.invocation, stage.number + 1, known)
        return stage.followers[same]

    def _run(self, invocation: Invocation, number: int, known: Known) -> Followed:
        """Run an invocation from what it goes on from, up to its next effect or its end."""
        port = self.port
        port.begin(invocation.author, invocation.began, *known)
        services = self.services[invocation.settings]
        services.forget()
        # Whoever goes on from less than all answers has begun with its lane as a whole, or has come to that.
        text = f"{invocation.lane} on" if known.mind else invocation.text
        try:
            answer = HANDLERS[invocation.handler](text, services)
        except Paused:
            return Followed(self._stage(invocation, number, known), tuple(port.unseen))
        except AppError:
            return Followed(None, tuple(port.unseen), failed=True)
        except Exception as error:  # noqa: BLE001  # whatever it is: a flow must not raise it
            return Followed(None, (), bug=f"{invocation.handler} raised {type(error).__name__}: {error}")
        goes_on = str(answer) if invocation.handler == SCAN else ""
        return Followed(None, tuple(port.unseen), goes_on=goes_on)

    def _stage(self, invocation: Invocation, number: int, known: Known) -> Stage:
        """Return the stage at which an invocation has stopped, with as few answers as it keeps in mind."""
        past = self.port.past
        if past is None or past.position != len(known.log):
            return self._new_stage(invocation, number, known, self.port.rest)
        known = Known(past.log, past.ids, past.mind)
        same = invocation, number, past.ids, past.mind.text, tuple(entry.same for entry in past.log)
        if same not in self._stages:
            self._stages[same] = self._new_stage(invocation, number, known, None)
        return self._stages[same]

    def _new_stage(self, invocation: Invocation, number: int, known: Known, rest: tuple[int, str] | None) -> Stage:
        if len(self._kept) >= STAGES_KEPT:
            for stage in self._kept:
                stage.followers.clear()
            self._kept.clear()
            self._begun.clear()
            self._stages.clear()
        stage = Stage(invocation, number, known, _text_of_stage(invocation, known, rest), self.port, self.access)
        self._kept.append(stage)
        return stage

    def _goes_on(self, state: State, slot: int, world: World, invocation: Invocation, followed: Followed) -> State:
        for apply in followed.unseen:
            apply(world)
        if followed.stage:
            return _with(state, slot, world, Worker(followed.stage))
        if followed.bug:
            world.note_bug(followed.bug)
        if followed.goes_on:
            # It knows nothing else any more. If it dies, the message that comes again is the one that asked for a scan.
            lane = followed.goes_on
            return self._begins(state, slot, world, kind_of(lane), lane, invocation.message, invocation.message_id)
        if followed.failed:
            _redeliver(world, invocation, AFTER_FAILURE_S)
        elif invocation.message_id in world.messages:
            world.messages = without(world.messages, invocation.message_id)
        return _with(state, slot, world, None)

    # -- who may get into whose way

    def _may_meet_others(self, state: State, slot: int, worker: Worker) -> bool:
        """Whether others may write what a worker's next effect touches, or read what it writes, before it is made."""
        if worker.stage.effect.kind is Kind.RELEASE and not _holds_any(state.world, worker.stage.holding):
            return False  # a lease that is lost already is released without effect
        return worker.stage.access != 0 and is_conflict(worker.stage.access, self._access_of_others(state, slot))

    def _access_of_others(self, state: State, slot: int) -> int:
        """Return what others may touch before this worker goes on: those at work, and those that may be started.

        Until then no time passes, so whoever has just come to stand still does not go on.
        """
        world, access = state.world, self.access
        held = _lane_held(state, slot)
        others = 0
        for number, worker in enumerate(state.workers):
            if worker and number != slot and not worker.has_just_stopped(world.now):
                others |= self._access_until_end(worker.stage, held)
        for _, message in world.visible():
            others |= access.until_end(kind_of(message.text), message.text, held)
        for timer in world.timers:
            others |= access.until_end(timer, "", held)
        for what in world.to_come:
            if what.endswith(".zip") and not what.startswith(RENAME):
                others |= access.until_end(SCAN, "", held) | access.of_coming()
            elif what.startswith(RENAME):
                others |= access.of_renaming()
            elif what.startswith(CANCEL):
                others |= access.until_end(PERSON, "", held)
            elif what != SETTINGS and not what.startswith(PAUSE):
                others |= access.of_arrival()
        return others | access.of_arrival() if world.under_way else others

    def _access_until_end(self, stage: Stage, held: str) -> int:
        """Return what an invocation may touch until its end, and those that it wakes meanwhile.

        held: the lane that somebody else holds. Who has worked at it before then only looks once more at its head.
        """
        invocation, access = stage.invocation, self.access
        if invocation.lane and invocation.lane == held:
            if stage.is_winding_up:
                return access.of_rows() | access.of_lease(held)
            if stage.holding or stage.number:
                return access.in_lane(held)
        return access.until_end(invocation.handler, invocation.text, held)


def _worker(state: State, move: Move) -> Worker:
    worker: Worker | None = state.workers[move.which]
    assert worker is not None
    return worker


def _with(state: State, slot: int, world: World, worker: Worker | None) -> State:
    return State(world, (*state.workers[:slot], worker, *state.workers[slot + 1 :]))


# What a service refuses with, and for how long.
_KEPT_BACK: Final[Mapping[Fate, tuple[str, int]]] = {
    Fate.HIDDEN: (HIDDEN, MOMENT_S),
    Fate.LOCKED: (LOCKED, SHORT_S),
    Fate.LOCKED_LONG: (LOCKED, LONG_S),
    Fate.FORBIDDEN: (FORBIDDEN, LONG_S),
    Fate.ALL_FORBIDDEN: (FORBIDDEN, LONG_S),
}
_NO_SUBMITS: Final[Mapping[Fate, str]] = {Fate.BAD_REQUESTS: BAD_REQUEST, Fate.NO_ANSWERS: NO_ANSWER}


def _answered(world: World, effect: Effect, fate: Fate) -> tuple[Any, AppError | Damaged | None]:
    """Let an effect of this fate happen; return the answer, or the error that its caller sees."""
    world.wake_may_be_lost |= fate in (Fate.ANSWER_LOST, Fate.MISTAKEN, Fate.LOST, Fate.LATE) or (
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
        case Fate.LISTING_REFUSED:
            return None, Refused("OneDrive refuses to list the folder")
    if fate in _KEPT_BACK:
        world.keep_back(ALL_ITEMS if fate is Fate.ALL_FORBIDDEN else effect.about, *_KEPT_BACK[fate])
    if fate in _NO_SUBMITS:
        world.submits = Refusal(_NO_SUBMITS[fate], world.now.ending(HOUR_S))
    before = world.messages
    try:
        answer = effect.apply(world)
        if fate is Fate.DOUBLED:
            effect.apply(world)
    except (AppError, Damaged) as error:
        return None, error
    if fate is Fate.LATE:
        world.messages = {each: m if each in before else _late(m) for each, m in world.messages.items()}
    match fate:
        case Fate.MISTAKEN if isinstance(effect.mistaken, AppError):
            return None, effect.mistaken
        case Fate.MISTAKEN:
            return effect.mistaken, None
        case Fate.ANSWER_LOST:
            return None, TryAgain("no answer came")
    return answer, None


def _late(message: Message) -> Message:
    return message._replace(visible=message.visible.ending(MESSAGE_LATE_S))


def _excuse_late(state: State, slot: int, world: World, before: Mapping[tuple[str, str], Record]) -> None:
    """Note which files an older one comes too late for: they were begun, or are about to be, when it got its run."""
    for lane, order in (place for place in world.records if place not in before):
        late = world.records[lane, order]
        is_taken_up = any(
            worker and number != slot and worker.stage.holding and worker.stage.invocation.lane == lane
            for number, worker in enumerate(state.workers)
        )
        world.may_pass |= {
            (label_of(record.run), label_of(late.run))
            for (its_lane, _), record in world.records.items()
            if its_lane == lane and age_of(late) < age_of(record) and (is_taken_up or not row_of(record).is_waiting)
        }


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
    """Whether a worker's next effect makes no difference to anybody, whatever it is answered.

    It does not if the run that it is at was written by another worker since it has read it, or is over: whatever it
    saves is refused, and no version of a record ever comes back. What it still does before that is unnoticed as well if
    it only reads and tries to save, or writes a package that only it knows.
    """
    run, effect = stage.run, stage.effect
    if run is None or world.is_unchanged(run, run.record_etag):
        return False
    match effect.kind:
        case Kind.SAVE:
            return effect.about == run.run_id
        case Kind.READ:
            return _only_looks(run)
        case _:
            return not effect.touches and run.state is RunState.CLAIMED


def _only_looks(run: Run) -> bool:
    """Whether the next step of a run makes nothing but effects that only it knows of, whatever it is answered."""
    if run.state is not RunState.SUBMITTING:
        return run.state is RunState.EXECUTING
    if not run.submissions:
        return False
    is_export, last = run.direction is Direction.EXPORT, run.submissions[-1]
    sends = run.in_process.has_chosen_id and (is_export or run.in_process.package_url is not None)
    fences = not is_export and last.missing_since is not None and last.fenced is None
    return not sends and not fences


def _holds_any(world: World, tokens: frozenset[str]) -> bool:
    return any(lease.token in tokens for lease in world.leases.values())


def _lane_held(state: State, slot: int) -> str:
    """Return the lane that a worker holds, "" if it holds none, or not any more."""
    worker = state.workers[slot]
    tokens = worker.stage.holding if worker else frozenset()
    return next((name for name, lease in state.world.leases.items() if name != TURN and lease.token in tokens), "")


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


def _is_sure(what: str) -> bool:
    """Whether what may come is sure to come: a file, or another change that a history is about."""
    return what.endswith(".zip") or what == SETTINGS


def _come(world: World, what: str) -> None:
    """Let a file come into Input or be renamed, a row of F&O be changed, or the settings."""
    world.to_come = tuple(other for other in world.to_come if other != what)
    world.idle_exports = 0
    if what.startswith(RENAME):
        _, label, name = what.split()
        world.author, world.ids = what, 0
        if is_in(world.item(f"file-{label}")[1].folder, INPUT):
            world.rename(f"file-{label}", name)
            _ask_for_look(world)
    elif what.endswith(".zip"):
        put_file(world, what)
    elif what == SETTINGS:
        world.settings += 1
    else:
        world.changes = (*world.changes, what)


def put_file(world: World, path: str) -> None:
    """Put a file into Input, and let Graph tell of it. path: perhaps behind the folder in which that Input lies."""
    where, _, name = path.rpartition("/")
    label = name.removesuffix(".zip").partition("_")[2]
    world.author, world.ids = label, 0
    folder = f"{where}/{INPUT}" if where else INPUT
    # The file that comes later is the older one: copying keeps the date.
    item = Item(name, folder, label, world.new_id(), age_min=len(name))
    world.items = {**world.items, f"file-{label}": item}
    _ask_for_look(world)


def _ask_for_look(world: World) -> None:
    message = Message(scan_requests.request_message(world.now.moment), world.now.ending(0))
    if message not in world.messages.values():
        world.send(message)


def _arrive(world: World, number: int) -> None:
    """Let a request reach F&O whose sender hears nothing of it any more."""
    order = world.under_way[number]
    world.under_way = (*world.under_way[:number], *world.under_way[number + 1 :])
    world.idle_exports = 0
    with suppress(AppError):
        world.arrive(order)


def _is_at_rest(state: State) -> bool:
    """Whether nobody is at work, and nothing can be begun."""
    can_begin = None in state.workers[:WORKERS] and bool(state.world.timers or any(state.world.visible()))
    return state.is_idle and not can_begin


def _may_wait(state: State) -> bool:
    """Whether time passes. Work takes no time of its own."""
    is_asked_for = any(what.startswith(SUBMIT_AGAIN) for what in _persons_duties(state.world))
    return _is_at_rest(state) and _next_event(state.world) is not None and not is_asked_for


# -- people


def _asked_of(state: State, what: str) -> str:
    """Return what a person is about to ask for, and of which run or lane; "" if there is none at this moment."""
    verb, _, of = what.partition(" ")
    runs = [record.run for record in state.world.records.values() if not record.damage]
    runs = [run for run in runs if of in (label_of(run), run.direction.value)]
    if verb == PAUSE:
        stalled = {worker.stage.invocation.lane for worker in state.workers if worker and worker.is_stalled}
        return next((f"{PAUSE}: {run.lane}" for run in runs if run.lane in stalled), "")
    return next((f"{CANCEL}: {run.run_id}" for run in runs if run.can_be_cancelled), "")


def _persons_duties(world: World) -> Iterator[str]:
    """Yield what a person is asked to do, and does sooner or later."""
    yield from (f"{RESUME}: {lane}" for lane in world.paused)
    for (lane, order), record in sorted(world.records.items()):
        run = record.run
        if record.damage:
            yield f"{PUT_ASIDE}: {lane}/{order}"
        elif run.state is RunState.SUBMITTING and run.lost_submits >= LOST_SUBMITS and world.submits is None:
            yield f"{SUBMIT_AGAIN}: {run.run_id}"


# -- time


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
    """Return when the minute's timer will find something to do next.

    A file without a run, a lane that is overdue, a reservation that its run does not need any more. Before that it
    comes each minute and changes nothing; what it could get into the way of is explored if it may come at any moment.
    """
    if MINUTE in world.timers:
        return None
    known = {item_of(order) for _, order in world.records}
    if any(item_id not in known for item_id, _ in world.in_folders(INPUT)):
        return _next_multiple(world, world.now, 60)
    useful = [instant(choice.due).after(wake.OVERDUE_S) for choice in next_of_lanes(world).values()]
    useful += [moment for name in world.reservations if (moment := _to_be_settled(world, name)) is not None]
    return min((_next_multiple(world, max(world.now, moment), 60) for moment in useful), default=None)


def next_of_lanes(world: World) -> Mapping[str, Choice]:
    """Return which run of each lane is due first. A worker that is to read a damaged record finds nothing to do."""
    if not world.records:
        return {}
    listed = world.open_lanes()
    unreadable = {place for place, record in world.records.items() if record.damage}
    rows = tuple(
        replace(row, damage="it cannot be read") if (row.lane, row.sort_key) in unreadable else row
        for row in listed.rows
    )
    return wake.next_of_lanes(listed._replace(rows=rows).of_all())


def _to_be_settled(world: World, name: str) -> Instant | None:
    """Return from when on the timer frees a reservation, or asks F&O about it; None as long as its run needs it."""
    reservation = world.reservations[name].reservation
    if reservation.holder is None:
        waiting = reservation.waiting
        return instant(waiting.seen + release.WAITS_FOR) if waiting else world.now
    run_id = reservation.holder.run_id
    record = next((each for each in world.records.values() if each.run.run_id == run_id), None)
    row = row_of(record) if record else None
    is_readable = record is not None and record.damage in ("", METADATA)
    if row and row.state in WITH_FO and not row.damage:
        return None
    if record and is_readable and record.run.state is not RunState.CANCELLED and record.run.may_be_with_fo:
        return None
    if record and is_readable and record.run.state in (RunState.FOUND, RunState.CLAIMED, RunState.PLANNED):
        is_left = record.run.is_aside or record.run.lane in world.paused
        unused_after = settle.UNUSED_AFTER if is_left else settle.UNUSED_AT_LAST
        return instant(reservation.holder.seen + unused_after).after(1)
    return instant(reservation.asked + settle.ASKED_EVERY) if reservation.asked else world.now


def _next_export(world: World) -> int | None:
    """Return when the schedule starts the next export that is of any use, if no other one is under way."""
    is_behind = world.changes or undelivered(world)
    is_under_way = any(record.run.direction is Direction.EXPORT for record in world.records.values())
    if not is_behind or is_under_way or SCHEDULE in world.timers or world.idle_exports >= EXPORTS_UNTIL_DELIVERED:
        return None
    pauses = [
        instant(each.run.ended + export_schedule.PAUSE_AFTER_FAILURE) - 1
        for each in world.ended.values()
        if each.run.ended and each.run.state is RunState.CANCELLED and each.run.direction is Direction.EXPORT
    ]
    return _next_multiple(world, max([world.now, *pauses]), SCHEDULE_S)


def undelivered(world: World) -> set[str]:
    """Return the exported packages with changes that are not in OneDrive; but for those that a person gave up."""
    delivered = {item.content for _, item in world.in_folders(OUTPUT)}
    packages = {
        each.content
        for execution_id, each in world.executions.items()
        if each.is_export and execution_id not in world.not_delivered
    }
    return packages - delivered - {package_of(())}


def _next_multiple(world: World, now: int, seconds: int) -> int:
    return ((world.turned_back_s + now) // seconds + 1) * seconds - world.turned_back_s
