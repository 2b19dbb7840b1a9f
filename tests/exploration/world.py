"""Everything outside the workers, as one value that can be copied: OneDrive, F&O, the app's storage, the clock.

The rules here are those of the simulators, as far as the protocol rests on them. Who calls is ``stand_ins.py``; what
may happen next is ``scheduler.py``. Ids and moments print in a form (``~7.1~``, ``@120@``) that lets ``sameness.py``
see two worlds as one that differ only in their numbers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import takewhile
from typing import Final, NamedTuple

from shared.clients.dmf import EntityProgress, ExecutionStatus, PackageUnreadable
from shared.clients.run_store import HEADS_LISTED, LEASE_S, LeaseTaken, RecordChanged
from shared.domain.quick_xor_hash import QuickXorHash
from shared.domain.run import FlowKind, Run, State
from shared.errors import FileRejected, ItemChanged, NameTaken, NotFound, ProjectBusy, TryAgain
from tests.packages import build_package

EPOCH: Final = datetime(2026, 11, 2, 8, 0, 0, tzinfo=UTC)

INPUT, PROCESSING, SUCCESS, ERROR, OUTPUT = "Input", "Processing", "Success", "Error", "Output"

KEY_LIFE_S: Final = 30 * 60  # of F&O's key to a blob
SESSION_LIFE_S: Final = 15 * 60  # of an upload session that is not used
EXECUTION_S: Final = 10  # an import or export of F&O
REDELIVERED_S: Final = 600  # the host hides a message for ten minutes while it works, and renews that
AFTER_FAILURE_S: Final = 30  # visibilityTimeout in host.json
MOST_TRIES: Final = 5  # maxDequeueCount in host.json; then the message is in the poison queue, which nobody reads


class Instant(int):
    """Seconds since the exploration's beginning."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"@{int(self)}@"

    def after(self, seconds: float) -> "Instant":
        """Return the moment that many seconds later."""
        return Instant(self + seconds)

    def ending(self, seconds: float) -> "Deadline":
        """Return the end of that many seconds."""
        return Deadline(self + seconds)

    @property
    def moment(self) -> datetime:
        """The same as the app knows it."""
        return EPOCH + timedelta(seconds=int(self))


def instant(moment: datetime) -> Instant:
    """Return a moment of the app as one of the exploration's, rounded up to a whole second."""
    return Instant(-((EPOCH - moment) // timedelta(seconds=1)))


class Deadline(Instant):
    """A moment that makes no difference any more once it is over."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"^{int(self)}^"


class Due(Instant):
    """When a run is due. Nobody asks whether it is overdue by more than half a minute."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"!{int(self)}!"


BEGINNING: Final = Instant(0)


class Item(NamedTuple):
    """A file in OneDrive."""

    name: str
    folder: str
    content: str  # what is in it; ``content_of`` gives the bytes
    etag: str


class Session(NamedTuple):
    """An upload session, which keeps its name from others until it ends."""

    name: str
    folder: str
    ends: Deadline


class Execution(NamedTuple):
    """An import or export under way in F&O, or done."""

    project: str
    content: str  # the package that it took in, or the changes that it took out
    shown: Deadline  # from when F&O knows of it when asked
    ends: Deadline
    is_export: bool


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
    is_new: bool = False  # nobody has saved it since it was opened

    def __repr__(self) -> str:
        return f"{text_of(self.run)}/{self.etag}/{self.is_new}"


class Listed(NamedTuple):
    """What a worker learns of its lane: the oldest run, those behind it that nobody has saved, and if these are all."""

    records: tuple[Record, ...]
    are_all: bool


class Row(NamedTuple):
    """What a listing tells of an open run."""

    lane: str
    order: str
    due: datetime
    state: str
    etag: str

    def __repr__(self) -> str:
        return repr((self.lane, self.order, Due(instant(self.due)), self.state))


class Note(NamedTuple):
    """A mark as the store has it: its content as key and value pairs, with its version."""

    content: tuple[tuple[str, str], ...]
    etag: str


class Lease(NamedTuple):
    """Who holds a name, and until when if nobody renews it any more."""

    token: str
    runs_out: Deadline | None


class Message(NamedTuple):
    """A wake-up in a queue."""

    queue: str
    text: str
    visible: Deadline
    tries: int = 0


def without[Key, Value](mapping: Mapping[Key, Value], key: Key) -> Mapping[Key, Value]:
    """Return a mapping without one of its keys."""
    return {each: value for each, value in mapping.items() if each != key}


@dataclass(kw_only=True)  # without slots, which are slow to copy
class World:
    """All there is, at one moment. Its mappings are replaced and never changed, because worlds share them."""

    now: Instant = BEGINNING
    turned_back_s: int = 0  # by how much its clock was turned back (``renaming.py``)
    invocations: int = 0  # how many were begun
    author: str = ""  # who is about to change something: every change makes ids of its own
    ids: int = 0  # made by this author
    # OneDrive
    items: Mapping[str, Item]
    sessions: Mapping[str, Session]
    # F&O
    shown_after_s: int = 0  # how long F&O says "not found" about an execution that it has accepted
    blobs: Mapping[str, str]  # by name: content; "" once it was emptied
    executions: Mapping[str, Execution]
    changes: tuple[str, ...] = ()  # rows that were changed since the last incremental export
    under_way: tuple[Order, ...] = ()  # requests that have left and may arrive at any time, or never
    effects: tuple[str, ...] = ()  # packages that were imported, in order
    overlaps: tuple[str, ...] = ()  # imports that came while another one of the data project was at work
    overlaps_count: bool = True
    # The app's storage
    records: Mapping[tuple[str, str], Record]
    ended: Mapping[str, Record]
    marks: Mapping[str, Note]
    leases: Mapping[str, Lease]
    messages: Mapping[str, Message]
    # What is still to come from outside, at any moment
    files: tuple[str, ...] = ()  # all that come, by content
    to_come: tuple[str, ...] = ()
    timers: tuple[str, ...] = ()
    idle_exports: int = 0  # exports that the schedule has started since anything else happened
    # What the promises are about
    bugs: tuple[str, ...] = ()
    wake_may_be_lost: bool = False  # something happened after which only the minute's timer may save a lane
    stalls: int = 0  # workers that stood still so far, where that is bounded

    def copy(self) -> "World":
        """Return a world that may change while this one does not: a change puts a new mapping in place of the old."""
        world = object.__new__(World)
        vars(world).update(vars(self))
        return world

    def new_id(self) -> str:
        """Return an id that nothing else has, and that does not tell what others have done meanwhile."""
        self.ids += 1
        return f"~{self.author}.{self.ids}~"

    # -- OneDrive

    def children(self, folder: str) -> tuple[tuple[str, Item], ...]:
        """Return the files of a folder, by item id."""
        return tuple((item_id, item) for item_id, item in self.items.items() if item.folder == folder)

    def item(self, item_id: str) -> tuple[str, Item]:
        """Return a file. Raises NotFound."""
        if item_id not in self.items:
            raise NotFound(f"OneDrive has no item {item_id}")
        return item_id, self.items[item_id]

    def move(self, item_id: str, folder: str, name: str, etag: str | None) -> tuple[str, Item]:
        """Move a file. Raises NotFound, ItemChanged, NameTaken; not where it is there already under that name."""
        _, item = self.item(item_id)
        if (item.folder, item.name) != (folder, name):
            self._require_etag(item, etag)
            self._require_free(folder, name)
            self.items = {**self.items, item_id: Item(name, folder, item.content, self.new_id())}
        return item_id, self.items[item_id]

    def move_from(self, item_id: str, folder: str, name: str, etag: str | None) -> tuple[str, Item]:
        """The same, and where it is there already it has changed."""
        self._require_etag(self.item(item_id)[1], etag)
        return self.move(item_id, folder, name, etag)

    @staticmethod
    def _require_etag(item: Item, etag: str | None) -> None:
        if etag is not None and item.etag != etag:
            raise ItemChanged(f"{item.name} has changed")

    def open_session(self, folder: str, name: str) -> str:
        """Open an upload session. Raises NameTaken, also where another session has the name."""
        self._require_free(folder, name)
        session = self.new_id()
        self.sessions = {**self.sessions, session: Session(name, folder, self.now.ending(SESSION_LIFE_S))}
        return session

    def finish_session(self, session: str, content: str) -> tuple[str, Item]:
        """Take the last chunk of an upload. Raises TryAgain where the session is gone."""
        if session not in self.sessions:
            raise TryAgain("the upload session is gone")
        name, folder, _ = self.sessions[session]
        self.cancel_session(session)
        return self.put(folder, name, content)

    def cancel_session(self, session: str) -> None:
        """Give up an upload, and its name free."""
        self.sessions = without(self.sessions, session)

    def delete(self, item_id: str) -> None:
        """Put a file into the recycle bin."""
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
        content = self.blobs.get(order.blob, "") if order.blob else ""
        if any(other.project == order.project and other.ends > self.now for other in self.executions.values()):
            if content and self.overlaps_count:
                self.overlaps = (*self.overlaps, content)
            raise ProjectBusy(f"another execution of {order.project} is running")
        if order.blob:
            if order.key_ends <= self.now or order.blob not in self.blobs:
                raise PackageUnreadable("the remote server returned an error: (403)")
            if not content:
                raise FileRejected("F&O refuses the package: it is no zip")
            self.effects = (*self.effects, content)
        else:
            content = package_of(self.changes)
            self.changes = ()
        shown, ends = self.now.ending(self.shown_after_s), self.now.ending(EXECUTION_S)
        self.executions = {
            **self.executions,
            order.execution_id: Execution(order.project, content, shown, ends, not order.blob),
        }
        return order.execution_id

    def status(self, execution_id: str) -> ExecutionStatus:
        """Return how an execution stands. Raises NotFound where F&O does not know it, or not yet."""
        execution = self.executions.get(execution_id)
        if execution is None or execution.shown > self.now:
            raise NotFound(f"execution {execution_id} was not found")
        return ExecutionStatus.EXECUTING if execution.ends > self.now else ExecutionStatus.SUCCEEDED

    def details(self, execution_id: str) -> tuple[EntityProgress, ...]:
        """Return the entities of an execution; none where F&O does not know it, or not yet."""
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
        """Save a new run; False where there is one in that place."""
        if (run.lane, run.order) in self.records:
            return False
        self.records = {**self.records, (run.lane, run.order): Record(run, self.new_id(), is_new=True)}
        return True

    def oldest(self, lane: str) -> Listed:
        """Return the runs at the head of a lane."""
        there = [record for place, record in sorted(self.records.items()) if place[0] == lane]
        heads = there[:1] + list(takewhile(lambda record: record.is_new, there[1:HEADS_LISTED]))
        return Listed(tuple(heads), are_all=len(heads) == len(there))

    def begun(self, lane: str) -> str:
        """Return the place of the run of a lane that is under way, "" where there is none."""
        begun = [row.order for row in self.rows() if row.lane == lane and row.state != State.FOUND]
        return begun[-1] if begun else ""

    def rows(self) -> tuple[Row, ...]:
        """Return what a listing tells of the open runs, lane by lane, oldest first."""
        return tuple(
            Row(*place, record.run.due, record.run.state.value, record.etag)
            for place, record in sorted(self.records.items())
        )

    def head(self, lane: str) -> Row | None:
        """Return what a listing tells of the head of a lane."""
        return next((row for row in self.rows() if row.lane == lane), None)

    def save(self, run: Run, etag: str) -> str:
        """Write a run over its version of that etag; return the new one. Raises RecordChanged."""
        self._require_unchanged(run, etag)
        self.records = {**self.records, (run.lane, run.order): Record(run, self.new_id())}
        return self.records[run.lane, run.order].etag

    def note_end(self, run: Run) -> None:
        """Write the record of an ended run."""
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
        self.records = without(self.records, (run.lane, run.order))

    def is_unchanged(self, run: Run, etag: str) -> bool:
        """Return whether the record of an open run is still that version; one that is over never comes back."""
        there = self.records.get((run.lane, run.order))
        return there is not None and there.etag == etag

    def _require_unchanged(self, run: Run, etag: str) -> None:
        if not self.is_unchanged(run, etag):
            raise RecordChanged(f"run {run.run_id} was written by another worker")

    def take_lease(self, name: str) -> str:
        """Take a lease; return its token. Raises LeaseTaken."""
        if self.is_leased(name):
            raise LeaseTaken(f"another worker holds {name}")
        token = self.new_id()
        self.leases = {**self.leases, name: Lease(token, None)}
        return token

    def is_leased(self, name: str) -> bool:
        """Return whether anybody holds a name."""
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

    def renew(self, tokens: frozenset[str]) -> None:
        """Renew leases again, where they have not run out meanwhile."""
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

    # -- wake-ups

    def send(self, message: Message) -> None:
        """Put a message into its queue."""
        self.messages = {**self.messages, self.new_id(): message}

    def visible(self) -> Iterator[tuple[str, Message]]:
        """Yield the messages that can be taken now, of equal ones the first."""
        seen: set[tuple[str, str]] = set()
        for number, message in self.messages.items():
            if message.visible <= self.now and message[:2] not in seen:
                seen.add(message[:2])
                yield number, message


def package_of(changes: tuple[str, ...]) -> str:
    """Return the content of an export's package, which begins as a zip does."""
    return "PK with " + (" and ".join(changes) or "nothing")


# With which a zip ends: its signature, and 18 bytes that say how much of nothing is in it.
ZIP_END: Final = "PK\x05\x06" + 18 * "\0"


@cache
def content_of(content: str) -> bytes:
    """Return the bytes of a file; an import's is a package of one row, which names it."""
    if content.startswith("PK"):
        return (content + ZIP_END).encode()
    return build_package(data_project="Customers", rows=((content, "One row"),))


def hash_of(content: str) -> str:
    """Return the quickXorHash of a file."""
    return hash_of_bytes(content_of(content))


@cache
def hash_of_bytes(content: bytes) -> str:
    """Return the quickXorHash of what is in a file."""
    checksum = QuickXorHash()
    checksum.update(content)
    return checksum.base64()


# The text of a run that is kept as long as the run is: runs are shared by many worlds.
_texts: dict[int, tuple[Run, str]] = {}
TEXTS_KEPT: Final = 200_000


def text_of(run: Run) -> str:
    """Return all of a run that decides what it does next, for comparing worlds."""
    known = _texts.get(id(run))
    if known is not None and known[0] is run:
        return known[1]
    file, state = run.file, run.state
    text = repr(
        (
            run.run_id,
            state.value,
            Due(instant(run.due)),
            instant(run.state_since) if state in (State.EXECUTING, State.READY) else "",
            (file.item_id, file.name, file.etag if _may_move_it(run) else "", file.is_complete, file.folder),
            _text_of_package(run) if state in (State.CLAIMED, State.UPLOADED, State.SUBMITTING) else "",
            _texts_of_submissions(run),
            run.outcome and run.outcome.value,
            run.attempts,
            run.report_attempts,
            run.error_keys_of,
            bool(run.trouble),
            run.fresh and state in (State.CLAIMED, State.SUBMITTING, State.FINISHED),
            run.package_url is not None and state in (State.UPLOADED, State.SUBMITTING),
            _or_none(run.ended) if state is State.FAILED else "",
        )
    )
    if len(_texts) > TEXTS_KEPT:
        _texts.clear()
    _texts[id(run)] = (run, text)
    return text


def _text_of_package(run: Run) -> object:
    """Return what decides of a package; once F&O has begun, nobody asks for it any more."""
    package = run.package
    if package is None:
        return None
    # An id is sent once with each package: ``inbound.choose_id``.
    was_sent = any(each.blob_name == package.blob_name for each in run.submissions[: _earlier(run)])
    return package.blob_name, package.blob_path, _coarse(package.key_expires), was_sent


def _texts_of_submissions(run: Run) -> object:
    """Return what decides of a run's submissions.

    The last one, while it may be under way or be asked for: whether F&O did not know it, and since when, where a flow
    counts from then. Of earlier ones an import looks after none, and an export after those that F&O did not know and
    that are not delivered.
    """
    earlier = run.submissions[: _earlier(run)]
    missing = [each.execution_id for each in earlier if each.missing_since and not each.delivered_as]
    return (
        missing if run.flow is FlowKind.EXPORT else [],
        [
            (
                last.execution_id,
                bool(last.delivered_as),
                _or_none(last.fenced) if run.state is State.SUBMITTING else last.fenced is not None,
                _or_none(last.missing_since)
                if run.state is State.SUBMITTING and run.flow is FlowKind.EXPORT
                else last.missing_since is not None,
            )
            for last in run.submissions[_earlier(run) :]
        ],
    )


def _earlier(run: Run) -> int:
    """Return how many submissions come before the one that the run is about, if it is about one now."""
    is_about_last = run.state in (State.SUBMITTING, State.EXECUTING, State.READY)
    return len(run.submissions) - is_about_last


def _may_move_it(run: Run) -> bool:
    """Return whether the eTag may still be sent with a move, by who has just seen the file or by who will file it."""
    return run.flow is FlowKind.IMPORT and (run.fresh or run.state is not State.FINISHED)


def _or_none(moment: datetime | None) -> Instant | None:
    return None if moment is None else instant(moment)


def _coarse(moment: datetime | None) -> str:
    # Compared by five minutes: it only decides half an hour later, and no history waits just that long twice.
    return f"%{int(instant(moment))}%" if moment else ""
