"""Stand-ins for the clients: each call is an effect on a ``World``, and the flows above them are the real ones.

An invocation (one wake-up, timer or request) is followed effect by effect: it is run from its beginning with the
answers that it got so far, and stopped at the next effect (``Port``). What it does depends on those answers alone, so
the same answers are never tried twice. The effect itself is made by ``scheduler.py``, in one world after the other.
"""

import logging
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from io import BytesIO
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, NoReturn, Self, cast
from unittest.mock import patch

from shared.alerts.alert import Alert
from shared.alerts.outbox import Outbox
from shared.alerts.outbox import Row as AlertRow
from shared.app import Services
from shared.azure_storage.checkpoints import Checkpoint, Checkpoints
from shared.azure_storage.leases import Leases
from shared.azure_storage.queue import WorkQueue
from shared.clients.blobs.errors import SasExpired
from shared.clients.blobs.read import OpenPackage
from shared.clients.blobs.write import Transferred
from shared.clients.fno.client import EntityProgress, ExecutionStatus, FinanceOperations, RowCounts, WriteUrl
from shared.clients.graph.drive_item import DriveItem
from shared.clients.graph.folders import FolderIds
from shared.clients.graph.onedrive import OneDrive
from shared.clients.http.client import Http
from shared.concurrency import Attempt, Duties, attempted
from shared.config.settings import Settings
from shared.errors import AppError, LeaseTaken, RecordChanged, TryAgain
from shared.imports.package import PackageFacts, check_package
from shared.log import LOGGER_NAME
from shared.reservations.reservation import Reservation
from shared.reservations.store import Reservations
from shared.runs import worker
from shared.runs.addresses import key_of
from shared.runs.drain import DrainSwitch
from shared.runs.index import Rows, RunIndex
from shared.runs.lane import LaneRow, Stop
from shared.runs.machine import StateMachine
from shared.runs.record import Damaged
from shared.runs.rows import Pause
from shared.runs.run import Run
from shared.runs.states import State
from shared.runs.store import Lane, OpenLanes, RunStore
from shared.runs.values import NOTHING_IN_PROCESS
from shared.runs.worker import WORK_S
from shared.scan import scan_requests
from shared.scan.throttle import ScanThrottle
from shared.secret import SecretUrl
from tests.exploration.moments import EPOCH, Deadline, Instant
from tests.exploration.texts import text_of
from tests.exploration.world import (
    INPUT,
    KEY_LIFE_S,
    PROCESSING,
    ZIP_END,
    Item,
    Kept,
    Listed,
    Message,
    Order,
    Record,
    SameFile,
    World,
    content_of,
    hash_of,
    hash_of_bytes,
    is_in,
    may_be_passed,
)

TURN: Final = "import-call"


class Kind(StrEnum):
    """What an effect is, and so what may become of it."""

    READ = "read"
    WRITE = "write"
    SAVE = "save"  # a conditional write of the run that the worker is at
    CONDITIONAL = "conditional"  # any other conditional write
    LEASE = "lease"
    RELEASE = "release"
    SUBMIT = "submit"
    SEND = "send"


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
    # A service refuses, from this effect on, for a while.
    LISTING_REFUSED = "listing refused"  # this once
    LOCKED = "locked"  # 423: for less time than others wait for the file
    LOCKED_LONG = "locked long"  # for longer
    HIDDEN = "hidden"  # 404 on this item, and no listing shows it, for a few seconds
    FORBIDDEN = "forbidden"  # 403 on this item, for longer than others wait for it
    ALL_FORBIDDEN = "all forbidden"  # 403 on each item, for longer
    BAD_REQUESTS = "bad requests"  # F&O answers 400 to each submit
    NO_ANSWERS = "no answers"  # F&O answers 500 to each submit


# What effects touch, as far as workers can get into each other's way.
NOTHING: Final[frozenset[str]] = frozenset()  # nobody else knows of it yet, or cares in which order it happens
LEASES: Final = frozenset({"lease"})  # of one lane
LANE: Final = frozenset({"lane"})  # what only the lane's worker works at: the run's file, its package
TURNS: Final = frozenset({"turn"})  # to call ImportFromPackage
FNO: Final = frozenset({"lane", "fno"})  # requests that are under way arrive there, too, and other lanes' requests
ROWS: Final = frozenset({"rows"})  # records of open runs
NAMES: Final = frozenset({"names"})  # reservations
INPUT_FOLDER: Final = frozenset({"input"})
NOTES: Final = frozenset({"notes"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One call of a stand-in, before it is made."""

    kind: Kind
    words: str  # "moves one.zip to Processing"
    apply: Callable[[World], Any]  # returns the answer, or raises an error
    touches: frozenset[str] = NOTHING  # what it reads or writes that others may write or read
    order: Order | None = None  # what is sent to F&O
    about: str = ""  # the file's id, or the run's
    fates: tuple[Fate, ...] = ()  # what else than its kind says may become of it
    mistaken: Any = None  # what it comes to if its second try meets what the first one has done: an answer, or an error


class Entry(NamedTuple):
    """One effect of an invocation that was made: what was answered, or raised, and when."""

    answer: Any  # of the type that the effect returns
    error: AppError | Damaged | None
    now: Instant

    def told(self) -> Any:
        """Return the answer, or raise the error anew."""
        if isinstance(self.error, AppError):
            raise type(self.error)(self.error.message, call=self.error.call)
        if self.error is not None:
            raise Damaged(str(self.error))
        return self.answer

    @property
    def text(self) -> str:
        """The same for what lets an invocation go on in the same way, at the same moment."""
        if self.error is None:
            return repr(self.answer)
        call = self.error.call if isinstance(self.error, AppError) else None
        return f"{type(self.error).__name__}{call or ''}"

    @property
    def same(self) -> tuple[str, str, Instant]:
        """Equal only for entries after which an invocation goes on in the same way, with the same ids and moments.

        A run's place in its lane stands in no text: states that are one may differ in it.
        """
        places: Sequence[LaneRow | Run] = ()
        if isinstance(self.answer, Listed | SameFile):
            places = self.answer.rows
        elif isinstance(self.answer, Record):
            places = (self.answer.run,)
        return self.text, " ".join(f"{each.lane}/{each.sort_key}" for each in places), self.now


class Mind(NamedTuple):
    """What a lane's worker has in mind beside the answers of a log."""

    has_worked: bool = False  # at a run, so it is to send a wake-up
    damaged: frozenset[str] = frozenset()  # places of records that it could not read
    attempt: Run | None = None  # what a step of the run at the head of its log has come to, which is not saved yet

    @property
    def text(self) -> str:
        """The same for minds with which a worker goes on in the same way."""
        attempt = text_of(self.attempt) if self.attempt else ""
        return f"{self.has_worked}{sorted(map(key_of, self.damaged))}{attempt}"


class Past(NamedTuple):
    """What an invocation keeps in mind of the answers that it got so far, if that is less than all of them."""

    position: int  # how many answers it had got by then
    log: tuple[Entry, ...]  # answers after which it would stand at the same point, with the same in mind
    ids: int  # how many ids it has made
    mind: Mind


class Paused(BaseException):
    """Ends an invocation at an effect that is not to be made yet. No part of the app may hold it up."""


_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


class Port:
    """The way of the flows to the world: gives the answers of a log, then stops at the next effect.

    At three points of ``runs/worker.py`` the worker has forgotten most of what it was told. There the log is replaced
    by a shorter one that brings it to the same point with the same in mind; so histories that differ only in what was
    forgotten become one. What is forgotten is read from the code: see ``list_anew``, ``attempted`` and ``come_to``.
    """

    def __init__(self) -> None:
        self.begin("", Instant(0), ())

    def begin(
        self, author: str, began: Instant, log: tuple[Entry, ...], ids: int = 0, mind: Mind | None = None
    ) -> None:
        """Prepare to run an invocation with these answers, before which it made so many ids and had this in mind."""
        self.pending: Effect | None = None  # where the invocation stopped
        self.holding: frozenset[str] = frozenset()  # the leases that it has there
        self.unseen: list[Callable[[World], None]] = []  # what it has done since the last answer that nobody sees
        self.run: Run | None = None  # the one whose step it is at, as it knows it
        self.past: Past | None = None
        self.rest: tuple[int, str] | None = None  # with what in mind, after how many answers, it only winds up its work
        self.mind = mind
        self._log = log
        self._position = 0
        self._began = began
        self._author = author
        self._ids = ids
        self._lane = Lane(())  # as it was listed for the run
        self._has_worked = mind is not None and mind.has_worked
        self._damaged: set[str] = set()
        self._attempt = mind.attempt if mind else None

    def now(self) -> datetime:
        """Return the moment of the invocation's last effect: between two of them no time passes."""
        return (self._log[self._position - 1].now if self._position else self._began).moment

    def new_id(self) -> str:
        """Return an id that no other invocation makes, and the same whenever this one is run."""
        self._ids += 1
        return f"~{self._author}.0.{self._ids}~"

    def effect(self, effect: Effect) -> Any:
        """Return what the log answers, or raise it. Raises Paused if the log is at its end."""
        if self._position == len(self._log):
            self.pending = self.pending or effect
            raise Paused
        self._position += 1
        return self._log[self._position - 1].told()

    # -- the three points

    def list_anew(self, damaged: set[str]) -> None:
        """Note that a lane's worker is about to list its lane.

        Of all answers it has in mind its lease and since when it has it: ``worker._advance_lane`` assigns the listing,
        the choice and the run anew, and no step, note of calls or binding of the log reaches across its loop. Beside
        these it knows whether it has worked at a run, and which records it could not read.
        """
        if self.mind:
            damaged |= self.mind.damaged
        self._damaged = damaged
        self.run = None
        if self.holding and self._is_at_end:
            self.past = Past(self._position, self._log[:1], self._ids, self._mind())

    def listed(self, lane: Lane) -> None:
        """Note what a lane's worker has learnt of its lane."""
        self._lane = lane

    def take_up(self, run: Run, lane: Lane) -> None:
        """Note that a lane's worker begins a step of a run."""
        self.run, self._lane = run, lane

    def attempted(self, before: Run, after: Run) -> None:
        """Note that a step of a lane's worker has come to its end, and its run is to be saved.

        ``worker._advance_once`` has in mind the run as it was and as it is to be, and of the former only the state; if
        it is about to submit, ``worker._submit`` also what it goes back to if the lock does not come. So it would go
        on in the same way had it found this run at the head of its lane, and done this step at once.
        """
        if len(self.holding) != 1 or not self._may_shorten:
            return
        back = replace(after, state=before.state, due=self.now())
        if after.state is State.SUBMITTING and before.state is not State.SUBMITTING:
            back = replace(back, state_since=before.state_since, furthest=before.furthest)
            back = replace(back, submissions=before.submissions, waits=before.waits, problem=before.problem)
        self._shorten(back, replace(after, steps=()))

    def attempt_again(self) -> Run | None:
        """Return what a step has come to that this invocation has in mind, and forget it; None if there is none."""
        attempt, self._attempt = self._attempt, None
        return attempt

    def come_to(self, run: Run | None) -> None:
        """Note that a lane's worker has saved a run, or ended it (None).

        If the run is due at once, ``worker._advance_until_it_waits`` has in mind the run and the listing: it would go
        on in the same way had it found the run at the head of its lane just now, with what only its process knows of
        it. Not if it has been at work for so long that it would hand over. Otherwise it is about to list its lane.
        """
        self.run = run if run and run.due <= self.now() else None
        if self.run is None:
            self._has_worked = True
        elif self._may_shorten:
            self._shorten(self.run, None)

    @property
    def _is_at_end(self) -> bool:
        return self._position == len(self._log) and self.pending is None

    @property
    def _may_shorten(self) -> bool:
        began = self._log[0].now if self._log else self._began
        return self._is_at_end and self._position > 1 and (self.now() - began.moment).total_seconds() <= WORK_S

    def _shorten(self, run: Run, attempt: Run | None) -> None:
        """Keep in mind the lease, a run at the head of the lane, and those rows that a step asks for."""
        head = LaneRow(
            lane=run.lane,
            sort_key=run.sort_key,
            due=_LONG_AGO,
            state=State.EXECUTING,
            run_id=run.run_id,
            record_etag=run.record_etag,
        )
        # ``blame._hold_or_stop`` and ``record_success`` ask who else has met a refusal, ``passed_by`` who is passed.
        others = tuple(row for row in self._lane.rows if self._counts(row, run))
        now = self._log[self._position - 1].now
        rows = Entry(Listed((head, *others), self._lane.stops), None, now)
        read = Entry(Record(replace(run, steps=()), run.record_etag), None, now)
        mind = self._mind()._replace(attempt=attempt)
        self.past = Past(self._position, (self._log[0], rows, read), self._ids, mind)

    def _counts(self, row: LaneRow, run: Run) -> bool:
        is_passed = run.state is State.FOUND and may_be_passed(row, self._lane.stops)
        return row.sort_key != run.sort_key and bool(row.refusal or is_passed)

    def _mind(self) -> Mind:
        return Mind(self._has_worked, frozenset(self._damaged))

    def passed(self, item_id: str) -> frozenset[tuple[str, str]]:
        """Return which files the worker of a lane may take up a file before, by what it has learnt of the lane."""
        return frozenset(
            (item_id.removeprefix("file-"), key_of(row.sort_key).removeprefix("file-"))
            for row in self._lane.rows
            if may_be_passed(row, self._lane.stops)
        )

    def wind_up(self, token: str) -> None:
        """Note that a lane's worker has done its work, and is about to release the lane.

        From here on ``worker.advance`` has in mind the lane and its lease, which records it could not read, and which
        error has ended its work.
        """
        if self.pending is None:
            self.run = None
            damaged = sorted(map(key_of, self._damaged))
            self.rest = self._position, f"has {token} after {type(sys.exception()).__name__} {damaged}"

    def do_unseen(self, apply: Callable[[World], None]) -> None:
        """Do something that nobody sees and that cannot fail: it belongs to the effect before it."""
        if self._is_at_end:
            self.unseen.append(apply)


class ExploredServices(Services):
    """The parts that flows work with, over one port."""

    def __init__(self, settings: Settings, port: Port) -> None:
        super().__init__(settings, clock=port.now, sleep=_never_sleep)
        self.store = cast(RunStore, StoreStandIn(port))
        self.index = cast(RunIndex, IndexStandIn())
        self.leases = cast(Leases, LeasesStandIn(port))
        self.checkpoints = cast(Checkpoints, CheckpointsStandIn(port))
        self.reservations = cast(Reservations, ReservationsStandIn(port))
        self.queue = cast(WorkQueue, QueueStandIn(port))
        self.drain = cast(DrainSwitch, SimpleNamespace(is_on=lambda: False))
        self.outbox = cast(Outbox, OutboxStandIn(port))
        self._onedrive = cast(OneDrive, OneDriveStandIn(port))
        self._fno = cast(FinanceOperations, FinanceOperationsStandIn(port))
        self.scan_memory.throttle = _Forgetful()
        self.duties = _OneAfterTheOther()
        self.folders = _Folders(self.onedrive, port.now)
        self.last_execution_s = _NoMemory()

    def forget(self) -> None:
        """Forget what a process remembers: all histories share this one."""
        self.scan_memory.last_scan = None

    def onedrive(self, drive: str) -> OneDrive:
        return self._onedrive

    def finance_operations(self, environment_url: str) -> FinanceOperations:
        return self._fno

    @contextmanager
    def import_lock(self, environment_url: str) -> Iterator[None]:
        """Hold the turn to import; waiting ten seconds for it is the same as not getting it at once."""
        with self.leases.hold(TURN):
            yield


def _never_sleep(seconds: float) -> NoReturn:
    """Fail: no invocation is to wait, for all moments are whole seconds, and there is one clock."""
    raise AssertionError(f"{seconds} seconds are waited for")


class _NoMemory(dict[str, float]):
    """Remembers nothing: when somebody polls is explored in any case."""

    def __setitem__(self, key: str, value: float) -> None:
        """Forget it."""


class _Folders(FolderIds):
    """A folder's id is its name here."""

    def find(self, drive: str, path: str) -> str:
        return path.strip("/")


class _OneAfterTheOther(Duties):
    """Does one after the other in this thread; in what order, and within what time, is not explored."""

    def attempt_all[Result](
        self,
        work: Mapping[str, Callable[[], Result]],
        *,
        limit_s: float | None,
        begin_within_s: float | None = None,
        at_once: int = 1,
    ) -> dict[str, Attempt[Result]]:
        return {name: attempted(name, act) for name, act in work.items()}


class _Forgetful(ScanThrottle):
    """Remembers nothing, as if each look were made by another process: every message makes one."""

    def start(self, now: datetime) -> None:
        """Forget it."""

    def repeat(self, now: datetime, moment: datetime) -> bool:
        return True

    def note_change(self, now: datetime) -> None:
        """Forget it."""


_CHANGED: Final = RecordChanged("another worker was quicker, so it seems")


class StandIn:
    """A client whose calls go through a port."""

    def __init__(self, port: Port) -> None:
        self._port = port

    def _read[Answer](
        self, words: str, apply: Callable[[World], Answer], touches: frozenset[str], *fates: Fate, about: str = ""
    ) -> Answer:
        effect = Effect(kind=Kind.READ, words=words, apply=apply, touches=touches, fates=fates, about=about)
        answer: Answer = self._port.effect(effect)
        return answer

    def _write[Answer](
        self,
        words: str,
        apply: Callable[[World], Answer],
        touches: frozenset[str] = NOTHING,
        *,
        kind: Kind = Kind.WRITE,
        about: str = "",
        fates: tuple[Fate, ...] = (),
        order: Order | None = None,
    ) -> Answer:
        effect = Effect(kind=kind, words=words, apply=apply, touches=touches, about=about, fates=fates, order=order)
        answer: Answer = self._port.effect(effect)
        return answer

    def _write_if[Answer](
        self,
        words: str,
        apply: Callable[[World], Answer],
        touches: frozenset[str],
        *,
        mistaken: Answer | AppError = _CHANGED,
        kind: Kind = Kind.CONDITIONAL,
        about: str = "",
    ) -> Answer:
        """mistaken: what is answered, or raised, if the storage SDK tries again what it has done already."""
        effect = Effect(kind=kind, words=words, apply=apply, touches=touches, about=about, mistaken=mistaken)
        answer: Answer = self._port.effect(effect)
        return answer


class OutboxStandIn(StandIn):
    """Alerts, of which there are none, because nothing is told."""

    def rows(self) -> list[AlertRow]:
        self._read("looks for alerts to tell", lambda _world: None, NOTHING)
        return []

    def put(self, _alert: Alert) -> bool:
        return True

    def save(self, alert: Alert) -> Alert:
        return alert

    def forget(self, _alert: Alert) -> None:
        pass


class StoreStandIn(StandIn):
    """Runs, leases and marks; written conditionally, as ``RunStore`` does."""

    def create(self, run: Run) -> bool:
        saved = _as_saved(run)
        return self._write_if(
            f"opens a run for {run.file.name} in {run.lane}", lambda world: world.create(saved), ROWS, mistaken=False
        )

    def lane(self, lane: str) -> Lane:
        return self._read("lists the lane", lambda world: world.lane(lane), ROWS).of_lane()

    def open_lanes(self) -> OpenLanes:
        return self._read("lists the open runs", World.open_lanes, ROWS).of_all()

    def open_places(self) -> list[tuple[str, str]]:
        return list(self._read("lists the names of the open runs", World.places, ROWS))

    def read_row(self, row: LaneRow) -> Run:
        words = f"reads the run of {row.file_name or row.sort_key}"
        record = self._read(words, lambda world: world.read(row.lane, row.sort_key), ROWS)
        if record is None:
            raise TryAgain(f"a run of lane {row.lane} ended while it was being read")
        return record.run

    def row_at(self, lane: str, order: str) -> LaneRow | None:
        listed = self._read("looks for one run of the lane", lambda world: world.row_at(lane, order), ROWS)
        return listed.rows[0] if listed.rows else None

    def head(self, lane: str) -> LaneRow | None:
        rows = self.lane(lane).rows
        return rows[0] if rows else None

    def last_under_way(self, lane: str) -> str:
        orders = [row.sort_key for row in self.lane(lane).rows if not row.is_waiting and not row.is_passed]
        return orders[-1] if orders else ""

    def of_same_file(self, run: Run) -> list[LaneRow]:
        words = "looks for other runs of the file"
        return list(self._read(words, lambda world: world.same_file(run.lane, run.sort_key), ROWS).rows)

    def save(self, run: Run) -> Run:
        saved = _as_saved(run)
        etag = self._write_if(
            f"saves the run of {run.file.name} as {run.state.value.upper()}",
            lambda world: world.save(saved, run.record_etag),
            ROWS,
            kind=Kind.SAVE,
            about=run.run_id,
        )
        return replace(run, record_etag=etag)

    def end(self, run: Run) -> None:
        saved, name = _as_saved(run), run.file.name
        self._write(f"writes that the run of {name} has ended", lambda world: world.note_end(saved))
        self._write_if(
            f"deletes the open run of {name}",
            lambda world: world.drop_open(saved, run.record_etag),
            ROWS,
            kind=Kind.SAVE,
            about=run.run_id,
        )

    def delete_waiting(self, row: LaneRow) -> None:
        self._write_if(
            "deletes the other run of the file", lambda world: world.drop(row.lane, row.sort_key, row.record_etag), ROWS
        )

    def run_at(self, address: str) -> Run | None:
        record = self._read("reads a run by its address", lambda world: world.read_at(address), ROWS)
        return record.run if record else None

    def ended_run(self, opened: datetime, run_id: str) -> Run | None:
        record = self._read("reads the export before this one", lambda world: world.ended.get(run_id), LANE)
        return record.run if record else None

    def put_aside(self, address: str) -> str:
        """address: lane and place of the record."""
        lane, _, order = address.partition("/")
        return self._write("puts the damaged record aside", lambda world: world.put_aside(lane, order), ROWS)

    def pause_lane(self, pause: Pause) -> Pause | None:
        words = f"pauses {pause.lane}"
        return None if self._write(words, lambda world: world.pause(pause.lane), ROWS) else pause

    def resume_lane(self, lane: str) -> bool:
        return self._write(f"resumes {lane}", lambda world: world.resume(lane), ROWS)

    def pause_of(self, lane: str) -> Pause | None:
        is_paused = self._read("asks if the lane is paused", lambda world: lane in world.paused, ROWS)
        return Pause(lane=lane, by="a person", why="", since=EPOCH) if is_paused else None

    def stop_at_file(self, lane: str) -> None:
        """Return that no lane is stopped at a file: no flow here has strictOrder."""

    def save_stop(self, stop: Stop) -> None:
        self._write(f"writes that {stop.flow_name} is stopped", lambda world: world.stop(stop), ROWS)

    def delete_stop(self, lane: str, integration: str) -> None:
        words = f"writes that {integration} goes on"
        self._write(words, lambda world: world.end_stop(lane, integration), ROWS)


class IndexStandIn:
    """Lists for people."""

    def ended_rows(self, newest: object, oldest: object = None) -> Iterator[Rows]:
        """Return no ended run: which of them have passed a file is told to people and decides nothing."""
        return iter(())


class LeasesStandIn(StandIn):
    """Leases, as ``Leases`` gives them."""

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        is_turn = name == TURN
        what, touches = ("the turn to import", TURNS) if is_turn else ("the lane", LEASES)
        token = self._taken(name, what, touches)
        self._port.holding |= {token}
        try:
            yield
        finally:
            if not is_turn:
                self._port.wind_up(token)
            try:
                self._write(f"releases {what}", lambda world: world.release(name, token), touches, kind=Kind.RELEASE)
            except TryAgain:
                # As the app does: the lease runs out by itself.
                self._port.do_unseen(lambda world: world.forsake(frozenset({token})))
            self._port.holding -= {token}

    def _taken(self, name: str, what: str, touches: frozenset[str]) -> str:
        try:
            return self._write(f"takes {what}", lambda world: world.take_lease(name), touches, kind=Kind.LEASE)
        except LeaseTaken:
            raise
        except TryAgain:
            # Taken, and its taker does not know.
            self._port.do_unseen(lambda world: world.forsake(frozenset({world.leases[name].token})))
            raise


class CheckpointsStandIn(StandIn):
    """Checkpoints; written conditionally, as ``Checkpoints`` does."""

    def read(self, name: str) -> Checkpoint:
        note = self._read(f"reads the note {name}", lambda world: world.marks.get(name), NOTES)
        return Checkpoint({}, None) if note is None else Checkpoint(dict(note.content), note.etag)

    def write(self, name: str, mark: Checkpoint) -> None:
        content = tuple(mark.content.items())
        mark.etag = self._write_if(
            f"writes the note {name}", lambda world: world.write_mark(name, content, mark.etag), NOTES
        )

    def change(self, name: str, change: Callable[[dict[str, str]], None]) -> None:
        Checkpoints.change(cast(Checkpoints, self), name, change)


def _as_saved(run: Run) -> Run:
    """Return what another process reads of a run. Its history of steps decides nothing and would only grow."""
    return replace(run, steps=(), in_process=NOTHING_IN_PROCESS, record_etag="")


class ReservationsStandIn(StandIn):
    """Reservations of the one environment; written conditionally, as ``Reservations`` does."""

    are_older_adopted = True  # no run is of an older version

    def last_written(self, _environment_url: str, _name: str) -> None:
        """Remember nothing: a reservation is read before it is given back, as another process would."""

    def create(self, reservation: Reservation) -> Reservation | None:
        words = f"reserves {reservation.name} for {_holder(reservation)}"
        etag = self._write_if(words, lambda world: world.reserve(reservation), NAMES, mistaken=None)
        return None if etag is None else replace(reservation, record_etag=etag)

    def read(self, _environment_url: str, name: str) -> Reservation | None:
        return self.read_at(name)

    def read_at(self, place: str) -> Reservation | None:
        kept: Kept | None = self._read(f"reads the reservation {place}", lambda world: world.reservation(place), NAMES)
        return kept.as_read() if kept else None

    def holders(self) -> dict[str, str]:
        return dict(self._read("lists the reservations", World.holders, NAMES))

    def save(self, reservation: Reservation) -> Reservation:
        words = f"writes the reservation {reservation.name}: {_holder(reservation) or 'nobody'} has it"
        etag = self._write_if(words, lambda world: world.save_reservation(reservation), NAMES)
        return replace(reservation, record_etag=etag)

    def delete(self, reservation: Reservation) -> None:
        self._write_if(f"gives {reservation.name} back", lambda world: world.delete_reservation(reservation), NAMES)


def _holder(reservation: Reservation) -> str:
    return reservation.holder.file_name if reservation.holder else ""


class QueueStandIn(StandIn):
    """Wake-ups."""

    def send(self, text: str, *, delay_s: float = 0.0) -> None:
        wait_s = max(-(-delay_s // 1), 0)
        when = f", to come in {wait_s:.0f} s" if wait_s else ""
        self._write(
            f"sends a wake-up for {'a scan' if scan_requests.is_request(text) else text.partition(' ')[0]}{when}",
            lambda world: world.send(Message(text, world.now.ending(wait_s))),
            kind=Kind.SEND,
        )

    @contextmanager
    def poison_messages(self, queue: str) -> Iterator[list[str]]:  # as the real one is called
        yield []  # telling a person of them moves nothing here


# What may become of the move of a file.
_REFUSED: Final = (Fate.LOCKED, Fate.LOCKED_LONG, Fate.FORBIDDEN, Fate.ALL_FORBIDDEN, Fate.HIDDEN)


class OneDriveStandIn(StandIn):
    """The one drive."""

    def list_files(self, folder_id: str) -> Iterator[DriveItem]:
        is_input = is_in(folder_id, INPUT)
        items = self._read(
            f"lists {folder_id}",
            lambda world: world.children(folder_id),
            INPUT_FOLDER if is_input else LANE,
            *([Fate.LISTING_REFUSED] if is_input else []),
        )
        return (_drive_item(item_id, item) for item_id, item in items)

    def list_items(self, folder_id: str) -> Iterator[DriveItem]:
        return self.list_files(folder_id)  # there are no folders in folders here

    def is_checked_out(self, item_id: str) -> bool:
        """Nothing is checked out here: it would change neither content nor place of a file."""
        return False

    def check_in(self, item_id: str) -> bool:
        return False

    def get(self, item_id: str) -> DriveItem:
        words = f"asks OneDrive for {item_id}"
        return _drive_item(*self._read(words, lambda world: world.item(item_id), LANE, Fate.HIDDEN, about=item_id))

    def find(self, path: str) -> DriveItem | None:
        return None  # asked for reports of older versions alone, of which there are none here

    def move(self, item_id: str, *, to_folder_id: str, name: str, etag: str | None) -> DriveItem:
        return self._moved(World.move, item_id, to_folder_id, name, etag)

    def move_from(self, item_id: str, *, to_folder_id: str, name: str, etag: str | None) -> DriveItem:
        return self._moved(World.move_from, item_id, to_folder_id, name, etag)

    def _moved(
        self, move: Callable[..., tuple[str, Item]], item_id: str, to: str, name: str, etag: str | None
    ) -> DriveItem:
        is_claim = is_in(to, PROCESSING)
        passed = self._port.passed(item_id) if is_claim else frozenset()

        def apply(world: World) -> tuple[str, Item]:
            moved = move(world, item_id, to, name, etag)
            world.may_pass |= passed
            return moved

        run = self._port.run
        is_from_input = is_claim or (run is not None and run.cancelled_in is State.FOUND)
        touches = LANE | INPUT_FOLDER if is_from_input else LANE
        return _drive_item(*self._write(f"moves {name} to {to}", apply, touches, about=item_id, fates=_REFUSED))

    def delete(self, item_id: str) -> None:
        self._write(f"deletes {item_id}", lambda world: world.delete(item_id), LANE)

    def upload_small(self, folder_id: str, name: str, content: bytes, *, replace: bool) -> DriveItem:
        words = f"writes {name} into {folder_id}"
        return _drive_item(*self._write(words, lambda world: world.put(folder_id, name, "a report"), LANE))

    def open_upload(self, folder_id: str, name: str, size_bytes: int) -> "UploadStandIn":
        words = f"begins to upload {name}"
        session = self._write(words, lambda world: world.open_session(folder_id, name), LANE)
        return UploadStandIn(self._port, session, name, size_bytes)


class UploadStandIn(StandIn):
    """An upload session; what the app uploads here fits into one chunk."""

    def __init__(self, port: Port, session: str, name: str, size_bytes: int) -> None:
        super().__init__(port)
        self._session, self._name, self._size_bytes = session, name, size_bytes
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._ended:
            self._cancel()

    def put(self, start: int, chunk: bytes) -> DriveItem:
        assert (start, len(chunk)) == (0, self._size_bytes)
        content = chunk.decode().removesuffix(ZIP_END)
        words = f"uploads {self._name}"
        item = _drive_item(*self._write(words, lambda world: world.finish_session(self._session, content), LANE))
        self._ended = True
        return item

    def _cancel(self) -> None:
        try:
            words = f"cancels the upload of {self._name}"
            self._write(words, lambda world: world.cancel_session(self._session), LANE)
        except TryAgain:
            return  # as the client does: OneDrive drops the session by itself


def _drive_item(item_id: str, item: Item) -> DriveItem:
    return DriveItem(
        item_id=item_id,
        name=item.name,
        size_bytes=len(content_of(item.content)),
        etag=item.etag,
        parent_id=item.folder,
        last_modified=EPOCH - timedelta(minutes=item.age_min),
        quick_xor_hash=hash_of(item.content),
        download_url=SecretUrl(f"https://onedrive/{item.content}?tempauth=key"),
        is_file=True,
        is_folder=False,
        has_malware=False,
        is_pending=False,
        web_url="",
    )


class FinanceOperationsStandIn(StandIn):
    """The one environment."""

    def get_azure_write_url(self, unique_file_name: str) -> WriteUrl:
        ends = self._read("asks F&O for a place for the package", lambda world: world.now.after(KEY_LIFE_S), NOTHING)
        url = f"https://blobs/dmf/{unique_file_name}?se={ends.moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}&sig=key"
        return WriteUrl(blob_id="", url=SecretUrl(url))

    def import_from_package(
        self,
        *,
        package_url: SecretUrl,
        data_project: str,
        execution_id: str,
        legal_entity: str,
        overwrite: bool = True,
        execute: bool = True,
    ) -> str:
        order = Order(execution_id, data_project, _blob_of(package_url), _ends(package_url))
        return self._submit(order, f"tells F&O to import, as execution {execution_id}")

    def export_to_package(self, *, data_project: str, package_name: str, execution_id: str, legal_entity: str) -> str:
        order = Order(execution_id, data_project)
        return self._submit(order, f"tells F&O to export, as execution {execution_id}")

    def _submit(self, order: Order, words: str) -> str:
        fates = (Fate.BAD_REQUESTS, Fate.NO_ANSWERS)
        return self._write(words, lambda world: world.arrive(order), FNO, kind=Kind.SUBMIT, fates=fates, order=order)

    def execution_status(self, execution_id: str) -> ExecutionStatus:
        return self._ask(f"asks F&O how execution {execution_id} stands", lambda world: world.status(execution_id))

    def job_details(self, execution_id: str) -> tuple[EntityProgress, ...]:
        return self._ask(f"asks F&O for the details of {execution_id}", lambda world: world.details(execution_id))

    def row_counts(self, execution_id: str) -> tuple[RowCounts, ...]:
        """Answer at once: a crash here is one before the move that follows, and no answer only puts that off."""
        return (RowCounts(entity="Customers", to_be_processed=1, staged=1, created=1, updated=0),)

    def exported_package_url(self, execution_id: str) -> SecretUrl | None:
        content = self._ask(f"asks F&O for the package of {execution_id}", lambda world: world.package(execution_id))
        return None if content is None else SecretUrl(f"https://blobs/export/{content}?sig=key")

    def execution_errors(self, execution_id: str) -> NoReturn:
        raise AssertionError("no execution fails here")

    def _ask[T](self, words: str, apply: Callable[[World], T]) -> T:
        return self._read(words, apply, FNO)


def _blob_of(url: SecretUrl) -> str:
    return url.address.rpartition("/")[2]


def _ends(url: SecretUrl) -> Deadline:
    assert url.expires is not None
    return Deadline(int((url.expires - EPOCH).total_seconds()))


class PackageStandIn:
    """The package of an export, open for reading."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size_bytes = len(content)

    def __enter__(self) -> "PackageStandIn":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""

    def chunks(self, chunk_bytes: int) -> Iterator[bytes]:
        assert self.size_bytes <= chunk_bytes
        yield self._content


class TransferStandIn(StandIn):
    """The functions of ``clients/blobs/read.py`` that flows call by name."""

    @contextmanager
    def open_package(
        self, url: SecretUrl, size_bytes: int, http: Http, *, quick_xor_hash: str = ""
    ) -> Iterator[OpenPackage]:
        content = content_of(_blob_of(url))
        yield OpenPackage(BytesIO(content), lambda: iter((content,)))

    def stream_to_blob(self, chunks: Iterator[bytes], blob_url: SecretUrl) -> Transferred:
        content = _labels[b"".join(chunks)]
        name, ends = _blob_of(blob_url), _ends(blob_url)
        self._write(f"uploads the package as {name}", lambda world: _put(world, name, ends, content))
        return Transferred(size_bytes=len(content_of(content)), quick_xor_hash=hash_of(content))

    def empty_blob(self, blob_url: SecretUrl) -> None:
        name, ends = _blob_of(blob_url), _ends(blob_url)
        words = f"fences: empties the package {name}"
        self._write(words, lambda world: _put(world, name, ends, ""), FNO)

    def open_blob(self, url: SecretUrl) -> PackageStandIn:
        return PackageStandIn(content_of(_blob_of(url)))


def _put(world: World, name: str, ends: Instant, content: str) -> None:
    if ends <= world.now:
        raise SasExpired(f"the key to {name} has run out")
    world.blobs = {**world.blobs, name: content}


_labels: dict[bytes, str] = {}


def know_contents(labels: tuple[str, ...]) -> None:
    """Let packages be recognized by their bytes."""
    _labels.update({content_of(label): label for label in labels})


class ChecksumStandIn:
    """The quickXorHash of a package, which is worked out once."""

    def __init__(self) -> None:
        self._content = b""

    def update(self, chunk: bytes) -> None:
        self._content += chunk

    def base64(self) -> str:
        return hash_of_bytes(self._content)


_checked: dict[bytes, PackageFacts] = {}


def _check_once(file: BytesIO) -> PackageFacts:
    """Check a package as the app does; each of the few that there are, once."""
    content = file.getvalue()
    if content not in _checked:
        _checked[content] = check_package(file)
    return _checked[content]


@contextmanager
def stand_ins(settings: Sequence[Settings], port: Port) -> Iterator[tuple[ExploredServices, ...]]:
    """Let the real flows work over a port, silently, until the block ends; with each of these settings."""
    transfer = TransferStandIn(port)

    def new_execution_id(data_project: str, now: datetime) -> str:
        return port.new_id()

    logger = logging.getLogger(LOGGER_NAME)
    with ExitStack() as stack:
        for target, stand_in in {
            "shared.imports.upload.open_package": transfer.open_package,
            "shared.imports.upload.stream_to_blob": transfer.stream_to_blob,
            "shared.imports.fence.empty_blob": transfer.empty_blob,
            "shared.imports.upload.check_package": _check_once,
            "shared.imports.steps.new_execution_id": new_execution_id,
            "shared.imports.upload.new_execution_id": new_execution_id,
            "shared.runs.worker.CLOCKS_DIFFER_BY": timedelta(0),  # there is one clock
            "shared.scan.scan.map_concurrently": lambda act, items: [act(item) for item in items],
            # A wait that is left to the timer is the same as one whose message comes late.
            "shared.runs.worker.LEFT_TO_TIMER_S": math.inf,
            # Lanes of one message are worked at side by side, as those of several are.
            "shared.runs.wake.LANES_IN_MESSAGE": 1,
            "shared.exports.delivery.QuickXorHash": ChecksumStandIn,
            "shared.exports.delivery.open_blob": transfer.open_blob,
            "shared.exports.steps.new_execution_id": new_execution_id,
            "shared.reservations.reservation.address_of": lambda run: run.run_id,
            "shared.reservations.adopt.note_adopted": lambda checkpoint, services: (
                None
            ),  # no run is of an older version
            "shared.alerts.delivery.deliver_alerts": lambda active, services, **_: len(services.outbox.rows()),
            # Exports are started by their schedule alone here.
            "inbound_trigger.keep_watch._start_missed_exports": lambda listed, services: 0,
            # Ids are the same whenever an invocation is run again.
            "shared.runs.run.secrets": SimpleNamespace(token_hex=lambda _bytes: port.new_id()),
            # What a person is answered decides nothing.
            "operations.actions.say_if_paused": lambda lane, services: "",
            **_points_of_worker(port),
        }.items():
            stack.enter_context(patch(target, stand_in))
        stack.callback(logger.setLevel, logger.level)
        logger.setLevel(logging.CRITICAL + 1)
        yield tuple(ExploredServices(each, port) for each in settings)


def _points_of_worker(port: Port) -> dict[str, Callable[..., Any]]:
    """Return functions of the worker that tell a port where they are, and do what they do."""
    advance_at, list_lane = worker._advance_at, worker._list_lane
    advance_once, attempt = worker._advance_once, worker._attempt

    def _advance_at(lane: str, place: str, machine: StateMachine, services: Services) -> bool:
        return port.mind.has_worked if port.mind else advance_at(lane, place, machine, services)

    def _list_lane(lane: str, damaged: set[str], services: Services) -> Lane:
        port.list_anew(damaged)
        found = list_lane(lane, damaged, services)
        port.listed(found)
        return found

    def _advance_once(run: Run, lane: Lane, machine: StateMachine, services: Services) -> Run | None:
        port.take_up(run, lane)
        after = advance_once(run, lane, machine, services)
        port.come_to(after)
        return after

    def _attempt(run: Run, lane: Lane, machine: StateMachine, services: Services) -> Run:
        if known := port.attempt_again():
            return known
        after = attempt(run, lane, machine, services)
        port.attempted(run, after)
        return after

    here = (_advance_at, _list_lane, _advance_once, _attempt)
    return {f"shared.runs.worker.{each.__name__}": each for each in here}
