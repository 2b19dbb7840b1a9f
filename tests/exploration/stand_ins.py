"""Stand-ins for the clients: each call is an effect on a ``World``, and the flows above them are the real ones.

An invocation (one wake-up or timer) is followed effect by effect: it is run from its beginning with the answers that it
got so far, and stopped at the next effect (``Port``). What it does depends on those answers alone, so the same answers
are never tried twice. The effect itself is made by ``scheduler.py``, in one world after the other.
"""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from io import BytesIO
from typing import Any, Final, NamedTuple, NoReturn, cast
from unittest.mock import patch

from shared.clients.dmf import EntityProgress, ExecutionStatus, FinanceOperations, WriteUrl
from shared.clients.http import Http
from shared.clients.onedrive import DriveItem, OneDrive
from shared.clients.outbox import Outbox
from shared.clients.run_store import Heads, LeaseTaken, Mark, OpenRun, RunStore, key_of
from shared.clients.transfer import OpenPackage, SasExpired, Transferred
from shared.clients.wake_queue import WakeQueue
from shared.domain.alert import Alert
from shared.domain.looks import Looks
from shared.domain.package import PackageFacts, check_package
from shared.domain.run import Run, State
from shared.errors import AppError, TryAgain
from shared.flows.runner import LISTING_HOLDS, WORK_S
from shared.log import LOGGER_NAME
from shared.secret import SecretUrl
from shared.services import Services
from shared.settings import Settings
from tests.exploration.world import (
    EPOCH,
    INPUT,
    KEY_LIFE_S,
    PROCESSING,
    ZIP_END,
    Deadline,
    Instant,
    Item,
    Listed,
    Message,
    Order,
    Record,
    Row,
    World,
    content_of,
    hash_of,
    hash_of_bytes,
    instant,
)

TURN: Final = "import-call"


class Kind(StrEnum):
    """What an effect is, and so what may become of it."""

    READ = "read"
    WRITE = "write"
    SAVE = "save"  # a conditional write
    LEASE = "lease"
    RELEASE = "release"
    SUBMIT = "submit"
    SEND = "send"


# What effects touch, as far as workers can get into each other's way.
NOTHING: Final[frozenset[str]] = frozenset()  # nobody else knows of it yet, or cares in which order it happens
LEASES: Final = frozenset({"lease"})
LANE: Final = frozenset({"lane"})  # what only the lane's worker works at: the run's file, its package, the turn
FNO: Final = frozenset({"lane", "fno"})  # the same; requests that are under way arrive there, too
ROWS: Final = frozenset({"rows"})  # records of open runs
INPUT_FOLDER: Final = frozenset({"input"})
NOTES: Final = frozenset({"notes"})


@dataclass(frozen=True, slots=True)
class Effect:
    """One call of a stand-in, before it is made."""

    kind: Kind
    words: str  # "moves one.zip to Processing"
    apply: Callable[[World], Any]  # returns the answer, or raises an AppError
    touches: frozenset[str]  # what it reads or writes that others may write or read
    order: Order | None = None  # what is sent to F&O


class Entry(NamedTuple):
    """One effect of an invocation that was made: what was answered, or raised, and when."""

    answer: Any  # of the type that the effect returns
    error: AppError | None
    now: Instant

    def told(self) -> Any:
        """Return the answer, or raise the error anew."""
        if self.error is not None:
            raise type(self.error)(self.error.message)
        return self.answer

    @property
    def text(self) -> str:
        """The same for what lets an invocation go on in the same way, at the same moment."""
        return repr(self.answer) if self.error is None else type(self.error).__name__

    @property
    def same(self) -> tuple[str, str, Instant]:
        """Equal only for entries after which an invocation goes on in the same way, with the same ids and moments.

        A run's place in its lane stands in no text: states that are one may differ in it.
        """
        records = self.answer.records if isinstance(self.answer, Listed) else ()
        return self.text, " ".join(record.run.order for record in records), self.now


class Past(NamedTuple):
    """What an invocation keeps in mind of the answers that it got so far, where that is less than all of them."""

    position: int  # how many answers it had got by then
    log: tuple[Entry, ...]  # answers after which it would stand at the same point, with the same in mind
    ids: int  # how many ids it has made


class Paused(BaseException):
    """Ends an invocation at an effect that is not to be made yet. No part of the app may hold it up."""


class Port:
    """The way of the flows to the world: gives the answers of a log, then stops at the next effect."""

    def __init__(self) -> None:
        self.pending: Effect | None = None  # where the invocation stopped
        self.holding: frozenset[str] = frozenset()  # the leases that it has there
        self.unseen: list[Callable[[World], None]] = []  # what it has done since the last answer that nobody sees
        self.run: Run | None = None  # the one whose step it is at, as it knows it
        self.behind = Listed((), are_all=False)  # of the last listing of its lane, what comes after that run
        self.past: Past | None = None
        self.rest: tuple[int, str] | None = None  # with what in mind, after how many answers, it only winds up its work
        self._log: tuple[Entry, ...] = ()
        self._position = 0
        self._began = Instant(0)
        self._author = ""
        self._ids = 0

    def begin(self, author: str, began: Instant, log: tuple[Entry, ...], ids: int = 0) -> None:
        """Prepare to run an invocation with these answers, before which it made so many ids."""
        self.pending = None
        self.holding = frozenset()
        self.unseen = []
        self.run = None
        self.behind = Listed((), are_all=False)
        self.past = None
        self.rest = None
        self._log = log
        self._position = 0
        self._began = began
        self._author = author
        self._ids = ids

    def now(self) -> datetime:
        """Return the moment of the invocation's last effect: between two of them no time passes."""
        return (self._log[self._position - 1].now if self._position else self._began).moment

    def new_id(self) -> str:
        """Return an id that no other invocation makes, and the same whenever this one is run."""
        self._ids += 1
        return f"~{self._author}.0.{self._ids}~"

    def effect[T](
        self,
        kind: Kind,
        words: str,
        apply: Callable[[World], T],
        touches: frozenset[str] = NOTHING,
        order: Order | None = None,
    ) -> T:
        """Return what the log answers, or raise it. Raises Paused where the log is at its end."""
        if self._position == len(self._log):
            self.pending = self.pending or Effect(kind, words, apply, touches, order)
            raise Paused
        self._position += 1
        answer: T = self._log[self._position - 1].told()
        return answer

    def forget(self) -> None:
        """Note that a lane's worker is about to list its lane.

        Of all answers it keeps in mind its lease and since when it has it: ``runner._heads`` and ``runner._work``
        assign the heads and the run anew, and no step, note of calls or binding of the log reaches across their loops.
        """
        self.run = None
        if self._position:
            self.past = Past(self._position, self._log[:1], self._ids)

    def look_at(self, listed: Listed) -> Heads:
        """Note what a lane's worker has learnt of its lane; return it as the store does."""
        runs = tuple(_as_read(record) for record in listed.records)
        self.run, self.behind = runs[0] if runs else None, listed._replace(records=listed.records[1:])
        return Heads(runs, listed.are_all)

    def turn_to_next(self) -> None:
        """Note that a lane's worker has ended a run, and goes on with the one behind it.

        It keeps in mind its lease, since when it has it, and what else it has learnt of its lane: it would go on in the
        same way had it learnt that just now. Not where it learnt it so long ago that it lists the lane anew; the moment
        is not kept, but no time passes for a worker unless it stands still, and then since it has the lease as well.
        """
        if self._position < 2 or not self._goes_by_listing():
            return
        self._keep_in_mind(self.behind)
        self.look_at(self.behind)

    def _goes_by_listing(self) -> bool:
        return self.now() - self._log[0].now.moment <= LISTING_HOLDS

    def _keep_in_mind(self, listed: Listed) -> None:
        heads = Entry(listed, None, self._log[self._position - 1].now)
        self.past = Past(self._position, (self._log[0], heads), self._ids)

    def keep(self, run: Run) -> None:
        """Note that a lane's worker has saved a run, and goes on with it.

        Where the run is due at once, it keeps in mind its lease, since when it has it, the run, and those behind it: it
        would go on in the same way had it found the run at the head of its lane, with what only its process knows of
        it. Not where it has been at work for so long that it would hand over. Where the run is to wait, it only sends
        the wake-up.
        """
        self.run = run
        if self._position < 2:
            return
        now = self.now()
        if run.due > now:
            self.run = None
            self.rest = self._position, f"waits until {instant(run.due)!r}"
        elif (now - self._log[0].now.moment).total_seconds() <= WORK_S:
            head = Record(run, run.record_etag)
            self._keep_in_mind(self.behind._replace(records=(head, *self.behind.records)))

    def wind_up(self, token: str) -> None:
        """Note that a lane's worker has done its work, and is about to release the lane.

        From here on ``runner.advance`` keeps in mind the lane and its lease, and which error has ended its work.
        """
        if self.pending is None:
            self.run = None
            self.rest = self._position, f"has {token} after {type(sys.exception()).__name__}"

    def do_unseen(self, apply: Callable[[World], None]) -> None:
        """Do something that nobody sees and that cannot fail: it belongs to the effect before it."""
        if self._position == len(self._log) and self.pending is None:
            self.unseen.append(apply)


class ExploredServices(Services):
    """The parts that flows work with, over one port."""

    def __init__(self, settings: Settings, port: Port) -> None:
        super().__init__(settings, clock=port.now)
        self.store = cast(RunStore, StoreStandIn(port))
        self.wakes = cast(WakeQueue, QueueStandIn(port))
        self.outbox = cast(Outbox, OutboxStandIn(port))
        self._onedrive = cast(OneDrive, OneDriveStandIn(port))
        self._fno = cast(FinanceOperations, FinanceOperationsStandIn(port))
        self._port = port
        self.looks = _Forgetful()

    def onedrive(self, drive: str) -> OneDrive:
        """Return the one drive that there is."""
        return self._onedrive

    def folder_id(self, drive: str, path: str) -> str:
        """Return a folder's id, which is its name here."""
        return path.strip("/")

    def finance_operations(self, environment_url: str) -> FinanceOperations:
        """Return the one environment that there is."""
        return self._fno

    @contextmanager
    def import_turn(self, environment_url: str) -> Iterator[None]:
        """Hold the turn to import; waiting ten seconds for it is the same as not getting it at once."""
        with self.store.lease(TURN):
            yield

    def side_by_side[Item, Result](self, act: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Do one after the other: another order comes to the same."""
        return [act(item) for item in items]

    def note_took(self, lane: str, seconds: float) -> None:
        """Remember nothing: all histories share this process, and when somebody looks is explored in any case."""

    def tell(self, alert: Alert) -> None:
        """Tell nobody: what a person is told decides nothing here."""


class _Forgetful(Looks):
    """Remembers nothing, as if each look were made by another process: every message makes one."""

    def begin(self, now: datetime) -> None:
        """Forget it."""

    def put_off(self, now: datetime, moment: datetime) -> bool:
        """Let the look come again."""
        return True

    def note_change(self, now: datetime) -> None:
        """Forget it."""


class OutboxStandIn:
    """Alerts, of which there are none, because nothing is told."""

    def __init__(self, port: Port) -> None:
        self._port = port

    def keys(self) -> list[str]:
        self._port.effect(Kind.READ, "looks for alerts to tell", lambda _world: None, touches=NOTHING)
        return []


class StoreStandIn:
    """Runs, leases and marks; written conditionally, as ``RunStore`` does."""

    def __init__(self, port: Port) -> None:
        self._port = port

    def create(self, run: Run) -> bool:
        saved = _as_saved(run)
        return self._port.effect(
            Kind.WRITE, f"opens a run for {run.file.name}", lambda world: world.create(saved), touches=ROWS
        )

    def oldest(self, lane: str) -> Heads:
        self._port.forget()
        listed = self._port.effect(
            Kind.READ, "reads the head of the lane", lambda world: world.oldest(lane), touches=ROWS
        )
        return self._port.look_at(listed)

    def next_due(self, lane: str) -> datetime | None:
        row = self._port.effect(
            Kind.READ, "looks once more at the head of the lane", lambda world: world.head(lane), touches=ROWS
        )
        return row.due if row else None

    def save(self, run: Run) -> Run:
        saved = _as_saved(run)
        words = f"saves the run of {run.file.name} as {run.state.value.upper()}"
        etag = self._port.effect(Kind.SAVE, words, lambda world: world.save(saved, run.record_etag), touches=ROWS)
        saved_run = replace(run, record_etag=etag)
        self._port.keep(saved_run)
        return saved_run

    def end(self, run: Run) -> None:
        saved, name = _as_saved(run), run.file.name
        self._port.effect(Kind.WRITE, f"writes that the run of {name} has ended", lambda world: world.note_end(saved))
        self._port.effect(
            Kind.SAVE,
            f"deletes the open run of {name}",
            lambda world: world.drop_open(saved, run.record_etag),
            touches=ROWS,
        )
        self._port.turn_to_next()

    def open_runs(self) -> Iterator[OpenRun]:
        rows = self._port.effect(Kind.READ, "lists the open runs", World.rows, touches=ROWS)
        return map(_open_run, rows)

    def of_same_file(self, run: Run) -> list[OpenRun]:
        def others(world: World) -> tuple[Row, ...]:
            return tuple(
                row
                for row in world.rows()
                if row.lane == run.lane and key_of(row.order) == key_of(run.order) and row.order != run.order
            )

        rows = self._port.effect(Kind.READ, "looks for other runs of the file", others, touches=ROWS)
        return [_open_run(row) for row in rows]

    def drop(self, row: OpenRun) -> None:
        words = "deletes the other run of the file"
        lane, order, etag = row.lane, row.order, row.record_etag
        self._port.effect(Kind.SAVE, words, lambda world: world.drop(lane, order, etag), touches=ROWS)

    def open_places(self) -> list[tuple[str, str]]:
        rows = self._port.effect(Kind.READ, "lists the names of the open runs", World.rows, touches=ROWS)
        return [(row.lane, row.order) for row in rows]

    def begun(self, lane: str) -> str:
        words = "looks which run of the lane is under way"
        return self._port.effect(Kind.READ, words, lambda world: world.begun(lane), touches=ROWS)

    def ended_run(self, opened: datetime, run_id: str) -> Run | None:
        record = self._port.effect(
            Kind.READ, "reads the export before this one", lambda world: world.ended.get(run_id), touches=LANE
        )
        return record.run if record else None

    @contextmanager
    def lease(self, name: str) -> Iterator[None]:
        is_turn = name == TURN
        what, touches = ("the turn to import", LANE) if is_turn else ("the lane", LEASES)
        token = self._taken(name, what, touches)
        self._port.holding |= {token}
        try:
            yield
        finally:
            if not is_turn:
                self._port.wind_up(token)
            try:
                self._port.effect(
                    Kind.RELEASE, f"releases {what}", lambda world: world.release(name, token), touches=touches
                )
            except TryAgain:
                # As the store does: the lease runs out by itself.
                self._port.do_unseen(lambda world: world.forsake(frozenset({token})))
            self._port.holding -= {token}

    def _taken(self, name: str, what: str, touches: frozenset[str]) -> str:
        try:
            return self._port.effect(Kind.LEASE, f"takes {what}", lambda world: world.take_lease(name), touches=touches)
        except LeaseTaken:
            raise
        except TryAgain:
            # Taken, and its taker does not know.
            self._port.do_unseen(lambda world: world.forsake(frozenset({world.leases[name].token})))
            raise

    def read_mark(self, name: str) -> Mark:
        note = self._port.effect(
            Kind.READ, f"reads the note {name}", lambda world: world.marks.get(name), touches=NOTES
        )
        return Mark({}, None) if note is None else Mark(dict(note.content), note.etag)

    def write_mark(self, name: str, mark: Mark) -> None:
        content = tuple(mark.content.items())
        mark.etag = self._port.effect(
            Kind.SAVE,
            f"writes the note {name}",
            lambda world: world.write_mark(name, content, mark.etag),
            touches=NOTES,
        )


def _open_run(row: Row) -> OpenRun:
    return OpenRun(lane=row.lane, order=row.order, due=row.due, state=State(row.state), record_etag=row.etag)


def _as_read(record: Record) -> Run:
    return replace(record.run, record_etag=record.etag)


def _as_saved(run: Run) -> Run:
    """Return what another process reads of a run. Its history of steps decides nothing and would only grow."""
    return replace(run, steps=(), fresh=False, download_url=None, package_url=None, record_etag="")


class QueueStandIn:
    """Wake-ups."""

    def __init__(self, port: Port) -> None:
        self._port = port

    def send(self, queue: str, text: str, *, delay_s: float = 0.0) -> None:
        wait_s = max(-(-delay_s // 1), 0)
        when = f", to come in {wait_s:.0f} s" if wait_s else ""
        self._port.effect(
            Kind.SEND,
            f"sends a wake-up to {queue}{when}",
            lambda world: world.send(Message(queue, text, world.now.ending(wait_s))),
        )

    @contextmanager
    def given_up(self, queue: str) -> Iterator[list[str]]:  # as the real one is called
        yield []  # telling a person of them moves nothing here


class OneDriveStandIn:
    """The one drive."""

    def __init__(self, port: Port) -> None:
        self._port = port

    def list_files(self, folder_id: str) -> Iterator[DriveItem]:
        touches = INPUT_FOLDER if folder_id == INPUT else LANE
        items = self._port.effect(
            Kind.READ, f"lists {folder_id}", lambda world: world.children(folder_id), touches=touches
        )
        return (_drive_item(item_id, item) for item_id, item in items)

    def get(self, item_id: str) -> DriveItem:
        item = self._port.effect(
            Kind.READ, f"asks OneDrive for {item_id}", lambda world: world.item(item_id), touches=LANE
        )
        return _drive_item(*item)

    def move(self, item_id: str, *, to_folder_id: str, name: str, etag: str | None) -> DriveItem:
        return self._moved(f"moves {name} to {to_folder_id}", World.move, item_id, to_folder_id, name, etag)

    def move_from(self, item_id: str, *, to_folder_id: str, name: str, etag: str | None) -> DriveItem:
        return self._moved(f"moves {name} to {to_folder_id}", World.move_from, item_id, to_folder_id, name, etag)

    def _moved(
        self, words: str, move: Callable[..., tuple[str, Item]], item_id: str, to: str, name: str, etag: str | None
    ) -> DriveItem:
        moved = self._port.effect(
            Kind.WRITE,
            words,
            lambda world: move(world, item_id, to, name, etag),
            touches=LANE | INPUT_FOLDER if to == PROCESSING else LANE,
        )
        return _drive_item(*moved)

    def delete(self, item_id: str) -> None:
        self._port.effect(Kind.WRITE, f"deletes {item_id}", lambda world: world.delete(item_id), touches=LANE)

    def upload_small(self, folder_id: str, name: str, content: bytes, *, replace: bool) -> DriveItem:
        written = self._port.effect(
            Kind.WRITE,
            f"writes {name} into {folder_id}",
            lambda world: world.put(folder_id, name, "a report"),
            touches=LANE,
        )
        return _drive_item(*written)

    def open_upload(self, folder_id: str, name: str, size_bytes: int) -> "UploadStandIn":
        session = self._port.effect(
            Kind.WRITE, f"begins to upload {name}", lambda world: world.open_session(folder_id, name), touches=LANE
        )
        return UploadStandIn(self._port, session, name, size_bytes)


class UploadStandIn:
    """An upload session; what the app uploads here fits into one chunk."""

    def __init__(self, port: Port, session: str, name: str, size_bytes: int) -> None:
        self._port, self._session, self._name, self._size_bytes = port, session, name, size_bytes

    def put(self, start: int, chunk: bytes) -> DriveItem:
        assert (start, len(chunk)) == (0, self._size_bytes)
        content = chunk.decode().removesuffix(ZIP_END)
        done = self._port.effect(
            Kind.WRITE,
            f"uploads {self._name}",
            lambda world: world.finish_session(self._session, content),
            touches=LANE,
        )
        return _drive_item(*done)

    def cancel(self) -> None:
        try:
            self._port.effect(
                Kind.WRITE,
                f"cancels the upload of {self._name}",
                lambda world: world.cancel_session(self._session),
                touches=LANE,
            )
        except TryAgain:
            return  # as the client does: OneDrive drops the session by itself


def _drive_item(item_id: str, item: Item) -> DriveItem:
    return DriveItem(
        item_id=item_id,
        name=item.name,
        size_bytes=len(content_of(item.content)),
        etag=item.etag,
        parent_id=item.folder,
        # The file that comes later is the older one: copying keeps the date.
        last_modified=EPOCH - timedelta(minutes=len(item.name)),
        quick_xor_hash=hash_of(item.content),
        download_url=SecretUrl(f"https://onedrive/{item.content}?tempauth=key"),
        is_file=True,
        is_folder=False,
        has_malware=False,
        is_pending=False,
        web_url="",
    )


class FinanceOperationsStandIn:
    """The one environment."""

    def __init__(self, port: Port) -> None:
        self._port = port

    def get_azure_write_url(self, unique_file_name: str) -> WriteUrl:
        ends = self._port.effect(
            Kind.READ, "asks F&O for a place for the package", lambda world: world.now.after(KEY_LIFE_S)
        )
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
        return self._port.effect(Kind.SUBMIT, words, lambda world: world.arrive(order), touches=FNO, order=order)

    def execution_status(self, execution_id: str) -> ExecutionStatus:
        return self._ask(f"asks F&O how execution {execution_id} stands", lambda world: world.status(execution_id))

    def job_details(self, execution_id: str) -> tuple[EntityProgress, ...]:
        return self._ask(f"asks F&O for the details of {execution_id}", lambda world: world.details(execution_id))

    def exported_package_url(self, execution_id: str) -> SecretUrl | None:
        content = self._ask(f"asks F&O for the package of {execution_id}", lambda world: world.package(execution_id))
        return None if content is None else SecretUrl(f"https://blobs/export/{content}?sig=key")

    def execution_errors(self, execution_id: str) -> NoReturn:
        raise AssertionError("no execution fails here")

    def _ask[T](self, words: str, apply: Callable[[World], T]) -> T:
        return self._port.effect(Kind.READ, words, apply, touches=FNO)


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


class TransferStandIn:
    """The functions of ``clients/transfer.py`` that flows call by name."""

    def __init__(self, port: Port) -> None:
        self._port = port

    @contextmanager
    def open_package(self, url: SecretUrl, size_bytes: int, http: Http) -> Iterator[OpenPackage]:
        content = content_of(_blob_of(url))
        yield OpenPackage(BytesIO(content), lambda: iter((content,)))

    def stream_to_blob(self, chunks: Iterator[bytes], blob_url: SecretUrl) -> Transferred:
        content = _label_of(b"".join(chunks))
        name, ends = _blob_of(blob_url), _ends(blob_url)
        self._port.effect(
            Kind.WRITE, f"uploads the package as {name}", lambda world: _write(world, name, ends, content)
        )
        return Transferred(size_bytes=len(content_of(content)), quick_xor_hash=hash_of(content))

    def empty_blob(self, blob_url: SecretUrl) -> None:
        name, ends = _blob_of(blob_url), _ends(blob_url)
        words = f"fences: empties the package {name}"
        self._port.effect(Kind.WRITE, words, lambda world: _write(world, name, ends, ""), touches=FNO)

    def open_blob(self, url: SecretUrl) -> PackageStandIn:
        return PackageStandIn(content_of(_blob_of(url)))


def _write(world: World, name: str, ends: Instant, content: str) -> None:
    if ends <= world.now:
        raise SasExpired(f"the key to {name} has run out")
    world.blobs = {**world.blobs, name: content}


_labels: dict[bytes, str] = {}


def _label_of(content: bytes) -> str:
    return _labels[content]


def know_contents(labels: tuple[str, ...]) -> None:
    """Let packages be recognized by their bytes."""
    _labels.update({content_of(label): label for label in labels})


class _Ids:
    """Stands in for the module ``secrets``: ids that are the same whenever an invocation is run again."""

    def __init__(self, port: Port) -> None:
        self._port = port

    def token_hex(self, _bytes: int) -> str:
        return self._port.new_id()


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
def stand_ins(settings: Settings, port: Port) -> Iterator[ExploredServices]:
    """Let the real flows work over a port, silently, until the block ends."""
    transfer = TransferStandIn(port)

    def new_execution_id(data_project: str, now: datetime) -> str:
        return port.new_id()

    logger = logging.getLogger(LOGGER_NAME)
    with ExitStack() as stack:
        for target, stand_in in {
            "shared.flows.inbound.open_package": transfer.open_package,
            "shared.flows.inbound.stream_to_blob": transfer.stream_to_blob,
            "shared.flows.inbound.empty_blob": transfer.empty_blob,
            "shared.flows.inbound.check_package": _check_once,
            "shared.flows.inbound.new_execution_id": new_execution_id,
            "shared.flows.outbound.QuickXorHash": ChecksumStandIn,
            "shared.flows.outbound.open_blob": transfer.open_blob,
            "shared.flows.outbound.new_execution_id": new_execution_id,
            "shared.domain.run.secrets": _Ids(port),
        }.items():
            stack.enter_context(patch(target, stand_in))
        stack.callback(logger.setLevel, logger.level)
        logger.setLevel(logging.CRITICAL + 1)
        yield ExploredServices(settings, port)
