"""Everything outside the workers, as one value that can be copied: OneDrive, F&O, the app's storage, the clock.

The rules here are those of the simulators, as far as the protocol rests on them. Who calls is ``stand_ins.py``; what
may happen next is ``scheduler.py``. Ids and moments print in a form (``~7.1~``, ``@120@``) that lets ``sameness.py``
see two worlds as one that differ only in their numbers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from typing import Final, NamedTuple

from shared.azure_storage.leases import LEASE_S
from shared.clients.blobs.quick_xor_hash import QuickXorHash
from shared.clients.fno.client import EntityProgress, ExecutionStatus
from shared.clients.fno.refusals import PackageUnreadable
from shared.errors import (
    AnswerLost,
    FileRejected,
    ItemChanged,
    ItemLocked,
    LeaseTaken,
    NameTaken,
    NotFound,
    ProjectBusy,
    RecordChanged,
    Refused,
    RemoteCall,
    TryAgain,
)
from shared.reservations.release import WAITS_FOR
from shared.reservations.reservation import Reservation
from shared.runs.addresses import key_of
from shared.runs.lane import LaneRow, Stop
from shared.runs.record import Damaged
from shared.runs.run import Run
from shared.runs.states import Direction, State
from shared.runs.store import Lane, OpenLanes
from tests.exploration.moments import BEGINNING, Deadline, Instant
from tests.exploration.texts import text_of, text_of_reservation, text_of_row, text_of_stop
from tests.packages import Entity, build_package

# Folders of the first flow; those of a second one lie in a folder of their own: "B/Input".
INPUT, PROCESSING, SUCCESS, ERROR, OUTPUT = "Input", "Processing", "Success", "Error", "Output"

KEY_LIFE_S: Final = 30 * 60  # of F&O's key to a blob
SESSION_LIFE_S: Final = 15 * 60  # of an upload session that is not used
EXECUTION_S: Final = 10  # an import or export of F&O
REDELIVERED_S: Final = 600  # the host hides a message for ten minutes while it works, and renews that
AFTER_FAILURE_S: Final = 30  # visibilityTimeout in host.json
MOST_TRIES: Final = 5  # maxDequeueCount in host.json; then the message is in the poison queue, which nobody reads

# Of a record: what is in it, what a listing tells of it, or both.
CONTENT, METADATA, ALL = "content", "metadata", "all"
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
ALL_ITEMS: Final = ""  # in the place of an item's id
LOCKED, FORBIDDEN, HIDDEN = "423", "403", "404"
BAD_REQUEST, NO_ANSWER = "400", "500"


class Item(NamedTuple):
    """A file in OneDrive."""

    name: str
    folder: str
    content: str  # what is in it; ``content_of`` gives the bytes
    etag: str
    age_min: int = 0  # how long before the beginning it was changed


class Session(NamedTuple):
    """An upload session, which keeps its name from others until it ends."""

    name: str
    folder: str
    ends: Deadline


class Refusal(NamedTuple):
    """What a service says no with, and until when."""

    status: str
    until: Deadline


class Execution(NamedTuple):
    """An import or export under way in F&O, or done."""

    project: str
    content: str  # the package that it took in, or the changes that it took out
    shown: Deadline  # from when F&O knows of it when asked
    ends: Deadline
    is_export: bool
    is_given_up: bool = False  # it began after F&O was asked for it in vain, and its request could not be fenced


class Order(NamedTuple):
    """The body of ImportFromPackage (with a blob) or ExportToPackage (without)."""

    execution_id: str
    project: str
    blob: str = ""
    key_ends: Deadline = Deadline(0)


class Record(NamedTuple):
    """A run as the store has it, with its version."""

    run: Run
    etag: str
    damage: str = ""  # what of it cannot be read

    def __repr__(self) -> str:
        return f"{text_of(self.run)}/{self.etag}/{self.damage}"


class Listed(NamedTuple):
    """What a listing tells of one lane, or of all."""

    rows: tuple[LaneRow, ...]
    stops: tuple[Stop, ...] = ()
    paused: tuple[str, ...] = ()  # lanes

    def __repr__(self) -> str:
        texts = " ".join((*map(text_of_row, self.rows), *map(text_of_stop, self.stops)))
        return f"{len(self.rows)} rows {texts} {self.paused}"

    def of_lane(self) -> Lane:
        return Lane(self.rows, self.stops, bool(self.paused))

    def of_all(self) -> OpenLanes:
        return OpenLanes(list(self.rows), list(self.stops), frozenset(self.paused))


class SameFile(NamedTuple):
    """The other open runs of a file, as they are listed."""

    rows: tuple[LaneRow, ...]

    def __repr__(self) -> str:
        return " ".join(f"{row.lane} {text_of_row(row)}/{row.record_etag}" for row in self.rows)


class Kept(NamedTuple):
    """A reservation as it is kept, with its version."""

    reservation: Reservation
    etag: str

    def __repr__(self) -> str:
        return f"{text_of_reservation(self.reservation)}/{self.etag}"

    def as_read(self) -> Reservation:
        return replace(self.reservation, record_etag=self.etag)


class Note(NamedTuple):
    """A mark as the store has it: its content as key and value pairs, with its version."""

    content: tuple[tuple[str, str], ...]
    etag: str


class Lease(NamedTuple):
    """Who holds a name, and until when if nobody renews it any more."""

    token: str
    runs_out: Deadline | None


class Message(NamedTuple):
    """A wake-up in the queue."""

    text: str
    visible: Deadline
    tries: int = 0


def without[Key, Value](mapping: Mapping[Key, Value], key: Key) -> Mapping[Key, Value]:
    return {each: value for each, value in mapping.items() if each != key}


def is_in(folder: str, kind: str) -> bool:
    """Return whether a folder is some flow's Input, Processing, Success, Error or Output."""
    return folder.rpartition("/")[2] == kind


def label_of(run: Run) -> str:
    """Return by what a run's file is known to the exploration; an export is known by its name."""
    return run.file.item_id.removeprefix("file-") if run.direction is Direction.IMPORT else run.file.name


@dataclass(kw_only=True)  # without slots, which are slow to copy
class World:
    """All there is, at one moment. Its mappings are replaced and never changed, because worlds share them."""

    now: Instant = BEGINNING
    turned_back_s: int = 0  # by how much its clock was turned back (``renaming.py``)
    invocations: int = 0  # how many were begun
    author: str = ""  # who is about to change something: every change makes ids of its own
    ids: int = 0  # made by this author
    settings: int = 0  # which of the scenario's settings new invocations go by
    # OneDrive
    items: Mapping[str, Item] = field(default_factory=dict)
    sessions: Mapping[str, Session] = field(default_factory=dict)
    kept_back: Mapping[str, Refusal] = field(default_factory=dict)  # files that OneDrive keeps, by id; or all of them
    # F&O
    shown_after_s: int = 0  # how long F&O says "not found" about an execution that it has accepted
    blobs: Mapping[str, str] = field(default_factory=dict)  # by name: content; "" once it was emptied
    executions: Mapping[str, Execution] = field(default_factory=dict)
    changes: tuple[str, ...] = ()  # rows that were changed since the last incremental export
    under_way: tuple[Order, ...] = ()  # requests that have left and may arrive at any time, or never
    submits: Refusal | None = None  # F&O refuses all of them
    effects: tuple[str, ...] = ()  # packages that were imported, in order
    # The app's storage
    records: Mapping[tuple[str, str], Record] = field(default_factory=dict)
    ended: Mapping[str, Record] = field(default_factory=dict)
    reservations: Mapping[str, Kept] = field(default_factory=dict)  # by name
    stops: Mapping[tuple[str, str], Stop] = field(default_factory=dict)  # by lane and flow
    paused: tuple[str, ...] = ()  # lanes
    marks: Mapping[str, Note] = field(default_factory=dict)
    leases: Mapping[str, Lease] = field(default_factory=dict)
    messages: Mapping[str, Message] = field(default_factory=dict)
    # What is still to come from outside, at any moment
    files: tuple[str, ...] = ()  # all that come, by content
    to_come: tuple[str, ...] = ()
    timers: tuple[str, ...] = ()
    idle_exports: int = 0  # exports that the schedule has started since anything else happened
    # What the promises are about
    bugs: tuple[str, ...] = ()
    unheard: tuple[str, ...] = ()  # words of promises that are not listened to, so that worse comes of it
    may_pass: frozenset[tuple[str, str]] = frozenset()  # which file may be imported before which older one of its lane
    cancelled: frozenset[str] = frozenset()  # runs that a person has cancelled, by file
    damaged: frozenset[str] = frozenset()  # runs whose record was damaged
    not_delivered: frozenset[str] = frozenset()  # executions of exports that a person has cancelled
    wake_may_be_lost: bool = False  # something happened after which only the minute's timer may save a lane
    stalls: int = 0  # workers that stood still so far, if that is bounded

    def copy(self) -> "World":
        """Return a world that may change while this one does not: a change puts a new mapping in place of the old."""
        world = object.__new__(World)
        vars(world).update(vars(self))
        return world

    def new_id(self) -> str:
        """Return an id that nothing else has, and that does not tell what others have done meanwhile."""
        self.ids += 1
        return f"~{self.author}.{self.ids}~"

    def note_bug(self, words: str) -> None:
        """Note that a promise is broken, in words."""
        if not any(each in words for each in self.unheard):
            self.bugs = (*self.bugs, words)

    def pause(self, lane: str) -> bool:
        """Let a person stop a lane; False if it is stopped already."""
        if lane in self.paused:
            return False
        self.paused = (*self.paused, lane)
        return True

    def resume(self, lane: str) -> bool:
        """Let a lane go on; False if it does already."""
        if lane not in self.paused:
            return False
        self.paused = tuple(each for each in self.paused if each != lane)
        return True

    # -- OneDrive

    def children(self, folder: str) -> tuple[tuple[str, Item], ...]:
        """Return the files of a folder that OneDrive shows, by item id."""
        items = self.items.items()
        return tuple(
            (item_id, item) for item_id, item in items if item.folder == folder and not self._is_hidden(item_id)
        )

    def in_folders(self, kind: str) -> tuple[tuple[str, Item], ...]:
        """Return the files of every flow's folder of that kind, by item id."""
        return tuple((item_id, item) for item_id, item in self.items.items() if is_in(item.folder, kind))

    def item(self, item_id: str) -> tuple[str, Item]:
        """Return a file. Raises NotFound, perhaps for a while although it is there."""
        if item_id not in self.items or self._is_hidden(item_id):
            raise NotFound(f"OneDrive has no item {item_id}")
        return item_id, self.items[item_id]

    def move(self, item_id: str, folder: str, name: str, etag: str | None) -> tuple[str, Item]:
        """Move a file. Raises NotFound, ItemChanged, NameTaken; not if it is there already under that name."""
        _, item = self.item(item_id)
        if (item.folder, item.name) != (folder, name):
            self._require_let_go(item_id)
            self._require_etag(item, etag)
            self._require_free(folder, name)
            self.items = {**self.items, item_id: item._replace(name=name, folder=folder, etag=self.new_id())}
        return item_id, self.items[item_id]

    def move_from(self, item_id: str, folder: str, name: str, etag: str | None) -> tuple[str, Item]:
        """The same, and if it is there already it has changed."""
        self._require_etag(self.item(item_id)[1], etag)
        return self.move(item_id, folder, name, etag)

    def rename(self, item_id: str, name: str) -> None:
        """Let a person rename a file, which gives it another date."""
        if item_id in self.items:
            renamed = self.items[item_id]._replace(name=name, etag=self.new_id(), age_min=len(name))
            self.items = {**self.items, item_id: renamed}

    def keep_back(self, item_id: str, status: str, seconds: int) -> None:
        """Let OneDrive refuse to move a file, or all of them, for so many seconds."""
        self.kept_back = {**self.kept_back, item_id: Refusal(status, self.now.ending(seconds))}

    def _is_hidden(self, item_id: str) -> bool:
        refusal = self.kept_back.get(item_id)
        return refusal is not None and refusal.status == HIDDEN and refusal.until > self.now

    def _require_let_go(self, item_id: str) -> None:
        for each in (item_id, ALL_ITEMS):
            refusal = self.kept_back.get(each)
            if refusal and refusal.until > self.now:
                if refusal.status == LOCKED:
                    raise ItemLocked("somebody has the file open")
                raise Refused(
                    "OneDrive refuses to move the file",
                    call=RemoteCall(service="Microsoft Graph", operation="move item", status=int(refusal.status)),
                )

    @staticmethod
    def _require_etag(item: Item, etag: str | None) -> None:
        if etag is not None and item.etag != etag:
            raise ItemChanged(f"{item.name} has changed")

    def open_session(self, folder: str, name: str) -> str:
        """Open an upload session. Raises NameTaken, also if another session has the name."""
        self._require_free(folder, name)
        session = self.new_id()
        self.sessions = {**self.sessions, session: Session(name, folder, self.now.ending(SESSION_LIFE_S))}
        return session

    def finish_session(self, session: str, content: str) -> tuple[str, Item]:
        """Take the last chunk of an upload. Raises TryAgain if the session is gone."""
        if session not in self.sessions:
            raise TryAgain("the upload session is gone")
        name, folder, _ = self.sessions[session]
        self.cancel_session(session)
        return self.put(folder, name, content)

    def cancel_session(self, session: str) -> None:
        """Give up an upload, and its name free."""
        self.sessions = without(self.sessions, session)

    def delete(self, item_id: str) -> None:
        self.items = without(self.items, item_id)

    def put(self, folder: str, name: str, content: str) -> tuple[str, Item]:
        """Write a file, over one of that name."""
        there = next((item_id for item_id, item in self.children(folder) if item.name == name), None)
        item_id = there or self.new_id()
        self.items = {**self.items, item_id: Item(name, folder, content, self.new_id())}
        return item_id, self.items[item_id]

    def _require_free(self, folder: str, name: str) -> None:
        held = any((s.folder, s.name) == (folder, name) for s in self.sessions.values())
        if held or any(item.name == name for _, item in self.children(folder)):
            raise NameTaken(f"{folder} has a file {name} already")

    # -- F&O

    def arrive(self, order: Order) -> str:
        """Let a request reach F&O; return the execution id. Raises what F&O's refusal means to the app.

        The package is read now, whenever the request was sent. An id that F&O knows already protects from nothing: how
        it answers one is not documented.
        """
        self._require_accepted()
        content = self.blobs.get(order.blob, "") if order.blob else ""
        self._require_entities(order.project, content)
        is_given_up = self._is_given_up(order, content)
        at_work = [each for each in self.executions.values() if each.project == order.project and each.ends > self.now]
        if at_work:
            does_harm = (content != "" or not order.blob) and not is_given_up
            if does_harm and not all(each.is_given_up for each in at_work):
                self.note_bug(f"{content or 'an export'} was submitted while its data project was in use")
            raise ProjectBusy(f"another execution of {order.project} is running")
        if order.blob:
            if order.key_ends <= self.now or order.blob not in self.blobs:
                raise PackageUnreadable("the remote server returned an error: (403)")
            if not content:
                raise FileRejected("F&O refuses the package: it is no zip")
            self._require_order(order.execution_id, content)
            self.effects = (*self.effects, content)
        else:
            content = package_of(self.changes)
            self.changes = ()
        shown, ends = self.now.ending(self.shown_after_s), self.now.ending(EXECUTION_S)
        self.executions = {
            **self.executions,
            order.execution_id: Execution(order.project, content, shown, ends, not order.blob, is_given_up),
        }
        return order.execution_id

    def _require_entities(self, project: str, content: str) -> None:
        """Note it if an import comes while another data project's import of one of its entities is running.

        F&O takes it all the same. Only packages that name entities of their own are meant: their flows reserve them.
        """
        for each in self.executions.values():
            shared = entities_of(content) & entities_of(each.content)
            if shared and each.project != project and each.ends > self.now:
                self.note_bug(f"{content} was submitted while F&O imported the entity {min(shared)}")

    def _require_accepted(self) -> None:
        if self.submits is None or self.submits.until <= self.now:
            return
        if self.submits.status == NO_ANSWER:
            raise AnswerLost("F&O answers 500, so nobody knows whether it has begun")
        raise Refused(
            "F&O refuses the request",
            call=RemoteCall(service="F&O", operation="ImportFromPackage", status=int(self.submits.status)),
        )

    def _is_given_up(self, order: Order, content: str) -> bool:
        """Return whether F&O was asked for a request in vain which nobody could fence.

        That of an export, for there is no fence; and that of an import whose record was damaged: it names the package.
        """
        if order.blob and content not in self.damaged:
            return False
        kept = [each.reservation.executions for each in self.reservations.values()]
        asked = [each for executions in kept for each in executions if each.execution_id == order.execution_id]
        records = (*self.records.values(), *self.ended.values())  # a person may have cancelled it since
        sent = (each for record in records for each in record.run.submissions)
        is_missing = any(each.execution_id == order.execution_id and each.missing_since for each in sent)
        return is_missing or not asked or any(each.not_found for each in asked)

    def _require_order(self, execution_id: str, content: str) -> None:
        """Note it if a file is imported before an older one of its lane that it may not pass."""
        for (lane, _), record in self.records.items():
            if execution_id not in {each.execution_id for each in record.run.submissions}:
                continue
            for (other_lane, _), other in self.records.items():
                is_older = other_lane == lane and age_of(other) < age_of(record)
                if is_older and not self.is_passed(other) and (content, label_of(other.run)) not in self.may_pass:
                    self.note_bug(f"{content}.zip was imported before {label_of(other.run)}.zip, which is older")

    def is_passed(self, record: Record) -> bool:
        """Return whether later files of its lane may be imported before a run's."""
        stops = (self.stops.get((record.run.lane, record.run.flow_name)),)
        row = row_of(record)
        is_damaged = record.damage in (CONTENT, METADATA) and row.state in (State.FOUND, State.CLAIMED)
        return is_damaged or may_be_passed(row, [stop for stop in stops if stop])

    def status(self, execution_id: str) -> ExecutionStatus:
        """Return how an execution stands. Raises NotFound if F&O does not know it, or not yet."""
        execution = self.executions.get(execution_id)
        if execution is None or execution.shown > self.now:
            raise NotFound(f"execution {execution_id} was not found")
        return ExecutionStatus.EXECUTING if execution.ends > self.now else ExecutionStatus.SUCCEEDED

    def details(self, execution_id: str) -> tuple[EntityProgress, ...]:
        """Return the entities of an execution; none if F&O does not know it, or not yet."""
        execution = self.executions.get(execution_id)
        if execution is None or execution.shown > self.now:
            return ()
        status = "Executing" if execution.ends > self.now else "Succeeded"
        return (
            EntityProgress(
                entity="Customers",
                staging_status=status,
                target_status=status,
                staging_created=1,
                target_created=1,
                target_updated=0,
            ),
        )

    def package(self, execution_id: str) -> str | None:
        """Return what an export has to hand out; None until it has ended. Raises NotFound."""
        return self.executions[execution_id].content if self.status(execution_id).is_final else None

    def forget_refused(self) -> None:
        """Forget requests that F&O can only refuse when they arrive: their package is empty, or its key has run out."""
        if any(order.blob for order in self.under_way):
            self.under_way = tuple(
                order
                for order in self.under_way
                if not order.blob or (self.blobs.get(order.blob) and order.key_ends > self.now)
            )

    # -- runs, leases, marks

    def create(self, run: Run) -> bool:
        """Save a new run; False if there is one in that place."""
        if (run.lane, run.sort_key) in self.records:
            return False
        self._write(run)
        return True

    def lane(self, lane: str) -> Listed:
        stops = tuple(stop for _, stop in sorted(self.stops.items()) if stop.lane == lane)
        return Listed(self._rows(lane), stops, tuple(each for each in self.paused if each == lane))

    def open_lanes(self) -> Listed:
        return Listed(self._rows(), tuple(stop for _, stop in sorted(self.stops.items())), self.paused)

    def _rows(self, lane: str = "") -> tuple[LaneRow, ...]:
        """Return the open runs, of all lanes or of one, in the order of their places."""
        return tuple(row_of(record) for place, record in sorted(self.records.items()) if lane in ("", place[0]))

    def places(self) -> tuple[tuple[str, str], ...]:
        """Return lane and place of each open run."""
        return tuple(sorted(self.records))

    def same_file(self, lane: str, order: str) -> SameFile:
        """Return the other open runs of the file of a run."""
        rows = (row for row in self._rows() if key_of(row.sort_key) == key_of(order))
        return SameFile(tuple(row for row in rows if (row.lane, row.sort_key) != (lane, order)))

    def row_at(self, lane: str, order: str) -> Listed:
        record = self.records.get((lane, order))
        return Listed((row_of(record),) if record else ())

    def read(self, lane: str, order: str) -> Record | None:
        """Return the record of an open run, if there is one. Raises Damaged."""
        record = self.records.get((lane, order))
        if record and record.damage in (CONTENT, ALL):
            raise Damaged("it is not JSON")
        return record

    def read_at(self, address: str) -> Record | None:
        """Return the record of a run, open or ended, if there is one. Raises Damaged.

        address: the run's id, or lane and place of an open record.
        """
        lane, _, order = address.partition("/")
        place = next((place for place, each in self.records.items() if each.run.run_id == address), (lane, order))
        return self.read(*place) or self.ended.get(address)

    def save(self, run: Run, etag: str) -> str:
        """Write a run over its version of that etag; return the new one. Raises RecordChanged."""
        self._require_unchanged(run, etag)
        if run.state is State.CANCELLED and label_of(run) not in self.cancelled:
            self.cancelled |= {label_of(run)}
            if run.direction is Direction.EXPORT:
                self.not_delivered |= {each.execution_id for each in run.submissions}
        return self._write(run)

    def _write(self, run: Run) -> str:
        etag = self.new_id()
        record = Record(replace(run, record_etag=etag), etag)
        self.records = {**self.records, (run.lane, run.sort_key): record}
        return etag

    def note_end(self, run: Run) -> None:
        self.ended = {**self.ended, run.run_id: Record(run, "")}

    def drop(self, lane: str, order: str, etag: str) -> None:
        """Delete the record of an open run that nobody has begun. Raises RecordChanged."""
        there = self.records.get((lane, order))
        if there is None or there.etag != etag:
            raise RecordChanged("another worker has written the other run")
        self.records = without(self.records, (lane, order))

    def drop_open(self, run: Run, etag: str) -> None:
        """Delete the record of an open run. Raises RecordChanged."""
        self._require_unchanged(run, etag)
        self.records = without(self.records, (run.lane, run.sort_key))

    def damage(self, lane: str, order: str, kind: str) -> None:
        """Let the record of an open run become unreadable: somebody has written it."""
        there = self.records[lane, order]
        etag = self.new_id()
        damaged = Record(replace(there.run, record_etag=etag), etag, damage=kind)
        self.records = {**self.records, (lane, order): damaged}
        self.damaged |= {label_of(there.run)}

    def put_aside(self, lane: str, order: str) -> str:
        """Move a damaged record out of its lane; return its new name, "" if there is none.

        Raises ValueError if it can be read.
        """
        there = self.records.get((lane, order))
        if there is None:
            return ""
        if not there.damage:
            raise ValueError("the record can be read")
        self.records = without(self.records, (lane, order))
        return f"damaged/{lane}/{order}"

    def is_unchanged(self, run: Run, etag: str) -> bool:
        """Return whether the record of an open run is still that version; one that is over never comes back."""
        there = self.records.get((run.lane, run.sort_key))
        return there is not None and there.etag == etag

    def _require_unchanged(self, run: Run, etag: str) -> None:
        if not self.is_unchanged(run, etag):
            raise RecordChanged(f"run {run.run_id} was written by another worker")

    def stop(self, stop: Stop) -> None:
        """Stop a flow, or write anew why it is stopped."""
        self.stops = {**self.stops, (stop.lane, stop.flow_name): stop}

    def end_stop(self, lane: str, integration: str) -> None:
        self.stops = without(self.stops, (lane, integration))

    def take_lease(self, name: str) -> str:
        """Take a lease; return its token. Raises LeaseTaken."""
        if self.is_leased(name):
            raise LeaseTaken(f"another worker holds {name}")
        token = self.new_id()
        self.leases = {**self.leases, name: Lease(token, None)}
        return token

    def is_leased(self, name: str) -> bool:
        lease = self.leases.get(name)
        return lease is not None and (lease.runs_out is None or lease.runs_out > self.now)

    def release(self, name: str, token: str) -> None:
        """Give a lease back, if it is still that one."""
        if name in self.leases and self.leases[name].token == token:
            self.leases = without(self.leases, name)

    def forsake(self, tokens: frozenset[str]) -> None:
        """Stop renewing leases: their worker is dead or stands still."""
        for name, lease in self.leases.items():
            if lease.token in tokens and lease.runs_out is None:
                self.leases = {**self.leases, name: Lease(lease.token, self.now.ending(LEASE_S))}

    def pass_time(self, until: int) -> None:
        """Let the clock go on; what ran out by then is gone."""
        self.now = Instant(until)
        if any(lease.runs_out is not None and lease.runs_out <= until for lease in self.leases.values()):
            self.leases = {name: lease for name, lease in self.leases.items() if self.is_leased(name)}
        if any(session.ends <= until for session in self.sessions.values()):
            self.sessions = {each: session for each, session in self.sessions.items() if session.ends > until}
        if any(refusal.until <= until for refusal in self.kept_back.values()):
            self.kept_back = {each: refusal for each, refusal in self.kept_back.items() if refusal.until > until}
        if self.submits and self.submits.until <= until:
            self.submits = None

    def renew(self, tokens: frozenset[str]) -> None:
        """Renew leases again, if they have not run out meanwhile."""
        for name, lease in self.leases.items():
            if lease.token in tokens and lease.runs_out is not None and lease.runs_out > self.now:
                self.leases = {**self.leases, name: Lease(lease.token, None)}

    def write_mark(self, name: str, content: tuple[tuple[str, str], ...], etag: str | None) -> str:
        """Write a mark over its version of that etag. Raises RecordChanged."""
        there = self.marks.get(name)
        if (there.etag if there else None) != etag:
            raise RecordChanged(f"the note {name} was written by another worker")
        self.marks = {**self.marks, name: Note(content, self.new_id())}
        return self.marks[name].etag

    # -- reservations

    def reserve(self, reservation: Reservation) -> str | None:
        """Keep a new reservation; return its version, None if there is one of that name."""
        if reservation.name in self.reservations:
            return None
        return self._kept(reservation)

    def reservation(self, name: str) -> Kept | None:
        return self.reservations.get(name)

    def holders(self) -> tuple[tuple[str, str], ...]:
        """Return who has each name: the run's id, "" if it is free."""
        kept = {name: each.reservation.holder for name, each in self.reservations.items()}
        return tuple((name, holder.run_id if holder else "") for name, holder in sorted(kept.items()))

    def save_reservation(self, reservation: Reservation) -> str:
        """Write a reservation over the version that was read; return the new one. Raises RecordChanged."""
        before = self._required(reservation)
        if reservation.holder is None:
            self._require_ended(before)
        self._require_first(before, reservation)
        return self._kept(reservation)

    def delete_reservation(self, reservation: Reservation) -> None:
        """Delete the version that was read. Raises RecordChanged."""
        self._require_ended(self._required(reservation))
        self.reservations = without(self.reservations, reservation.name)

    def _kept(self, reservation: Reservation) -> str:
        kept = Kept(replace(reservation, record_etag=""), self.new_id())
        self.reservations = {**self.reservations, reservation.name: kept}
        return kept.etag

    def _required(self, reservation: Reservation) -> Reservation:
        there = self.reservations.get(reservation.name)
        if there is None or there.etag != reservation.record_etag:
            raise RecordChanged(f"the reservation of {reservation.name} was written by another worker")
        return there.reservation

    def _require_ended(self, reservation: Reservation) -> None:
        """Note it if a name is free again while F&O is at work on what it was reserved for."""
        for each in reservation.executions:
            execution = self.executions.get(each.execution_id)
            if execution and execution.ends > self.now and not execution.is_given_up:
                self.note_bug(f"{reservation.name} was given back while F&O was at work on it")

    def _require_first(self, before: Reservation, after: Reservation) -> None:
        """Note it if an import takes a name for which an export waits that was opened before it."""
        waiting, holder = before.waiting, after.holder
        if waiting is None or holder is None or holder in (waiting, before.holder):
            return
        is_first = waiting.opened <= holder.opened and self.now.moment - waiting.seen < WAITS_FOR
        if is_first and holder.run_id not in (waiting.run_id, before.holder.run_id if before.holder else ""):
            self.note_bug(f"{holder.file_name} took {after.name} before {waiting.file_name}, which waits for it")

    # -- wake-ups

    def send(self, message: Message) -> None:
        self.messages = {**self.messages, self.new_id(): message}

    def visible(self) -> Iterator[tuple[str, Message]]:
        """Yield the messages that can be taken now, of equal ones the first."""
        seen: set[str] = set()
        for number, message in self.messages.items():
            if message.visible <= self.now and message.text not in seen:
                seen.add(message.text)
                yield number, message


def row_of(record: Record) -> LaneRow:
    """Return what a listing tells of an open run."""
    run = record.run
    if record.damage in (METADATA, ALL):
        due, state = (_LONG_AGO, None) if record.damage == ALL else (run.due, run.state)
        return LaneRow(lane=run.lane, sort_key=run.sort_key, due=due, state=state, damage="its metadata are wrong")
    return LaneRow(
        lane=run.lane,
        sort_key=run.sort_key,
        due=run.due,
        state=run.state,
        flow_name=run.flow_name,
        file_name=run.file.name,
        run_id=run.run_id,
        address=run.run_id,
        is_aside=run.is_aside,
        refusal=run.held.refusal if run.held and not run.held.is_cleared else "",
        record_etag=record.etag,
    )


def may_be_passed(row: LaneRow, stops: Sequence[Stop]) -> bool:
    """Return whether later files of its lane may be imported before a run's, by what a listing tells.

    It is set aside, cancelled, damaged before anything was sent, or waits for its flow, which is stopped.
    """
    if row.damage:
        return row.state in (State.FOUND, State.CLAIMED)
    is_stopped = any(
        stop.flow_name == row.flow_name and (row.state is State.FOUND or row.refusal == stop.refusal) for stop in stops
    )
    return row.is_aside or row.state is State.CANCELLED or is_stopped


def age_of(record: Record) -> tuple[str, str]:
    """Return by what the files of a lane are put into an order: by their time, those of one second by name."""
    return record.run.sort_key[: len("20260123T010203")], record.run.file.name.casefold()


def package_of(changes: tuple[str, ...]) -> str:
    """Return the content of an export's package, which begins as a zip does."""
    return "PK with " + (" and ".join(changes) or "nothing")


# With which a zip ends: its signature, and 18 bytes that say how much of nothing is in it.
ZIP_END: Final = "PK\x05\x06" + 18 * "\0"


def entities_of(content: str) -> frozenset[str]:
    """Return the entities of a package that names some of its own: "a+b+c". There are none in all others."""
    return frozenset(content.split("+")) if "+" in content else frozenset()


@cache
def content_of(content: str) -> bytes:
    """Return the bytes of a file; an import's is a package of one row, which names it."""
    if content.startswith("PK"):
        return (content + ZIP_END).encode()
    if entities_of(content):
        return build_package(entities=[Entity(name=each) for each in content.split("+")])
    return build_package(data_project="Customers", rows=((content, "One row"),))


def hash_of(content: str) -> str:
    """Return the quickXorHash of a file."""
    return hash_of_bytes(content_of(content))


@cache
def hash_of_bytes(content: bytes) -> str:
    checksum = QuickXorHash()
    checksum.update(content)
    return checksum.base64()
