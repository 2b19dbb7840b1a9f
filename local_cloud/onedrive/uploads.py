"""Content on its way into the drive: small uploads and upload sessions.

https://learn.microsoft.com/graph/api/driveitem-createuploadsession. The bytes go to a file beside the drive as they
arrive and are hashed on the way, so that a file of any size takes no memory and appears by one rename.
"""

import asyncio
import re
import threading
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from local_cloud.onedrive.drive import Drive, Times, check_match
from local_cloud.onedrive.errors import GraphError, columns_not_filled, misuse, name_already_exists, quota_reached
from local_cloud.onedrive.item import Item, new_guid
from local_cloud.onedrive.knobs import Knobs
from local_cloud.onedrive.names import same_name
from local_cloud.onedrive.quick_xor import QuickXor, hashing_of

CHUNK_UNIT: Final = 320 * 1024  # bytes; every chunk but the last is a multiple
LARGEST_CHUNK: Final = 60 * 1024 * 1024  # bytes; a request must stay below
LARGEST_SMALL_UPLOAD: Final = 250 * 1024 * 1024  # bytes
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where an upload is to appear."""

    parent_id: str
    name: str
    conflict: str
    if_match: str | None = None
    times: Times | None = None
    by: str = ""  # who uploads, as in Item.checked_out_by


@dataclass(slots=True, kw_only=True)
class Session:
    session_id: str
    target: Target
    path: Path
    expires_s: float
    declared_bytes: int | None  # fileSize of the create call, or the total of the first chunk
    waits_for_commit: bool  # deferCommit
    received_bytes: int = 0
    hashing: QuickXor = field(default_factory=QuickXor)
    busy: bool = False  # a chunk is on its way


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a Content-Range header says, in bytes; the end is included."""

    start: int
    end: int
    total: int

    @property
    def size(self) -> int:
        return self.end - self.start + 1


class Uploads:
    """The open sessions of a drive. Thread-safe, but for `receive` and `store_small`, which are coroutines."""

    def __init__(self, drive: Drive, knobs: Knobs, clock: Callable[[], float]) -> None:
        self._drive = drive
        self._knobs = knobs
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}

    async def store_small(self, target: Target, blocks: AsyncIterator[bytes]) -> tuple[Item, bool]:
        """Take a file in one piece. Return the item and whether it is new.

        Raises GraphError 400, 403, 404, 409, 412, 413, 423, 500, 507.
        """
        if self._knobs.quota_full:
            raise quota_reached()
        if self._knobs.required_columns:
            raise columns_not_filled("upload")
        path = self._drive.uploads_folder / f"small-{new_guid()}"
        hashing, size = QuickXor(), 0
        try:
            with await asyncio.to_thread(path.open, "wb") as file:
                async for block in blocks:
                    size += len(block)
                    if size > LARGEST_SMALL_UPLOAD:
                        raise misuse("A small upload holds at most 250 MB; use an upload session.", status=413)
                    await asyncio.to_thread(_append, file, block, hashing)
            return await asyncio.to_thread(self._fill, path, target, hashing.base64())
        finally:
            await asyncio.to_thread(path.unlink, missing_ok=True)

    def create(self, target: Target, *, declared_bytes: int | None, waits_for_commit: bool) -> Session:
        """Open a session. Raises GraphError 400, 404, 409, 412, 507."""
        if self._knobs.quota_full:
            raise quota_reached()
        if declared_bytes == 0:
            raise misuse("An upload session cannot hold an empty file; PUT its content.")
        self._drive.check_place(target.parent_id, target.name)
        if self._knobs.required_columns:
            raise columns_not_filled("session")
        existing = self._drive.lookup(target.parent_id, target.name)
        if existing is not None:
            check_match(existing, target.if_match)
            if target.conflict == "fail" and self._knobs.conflict_at_create:
                raise name_already_exists()
        session_id = str(uuid.uuid4())
        path = self._drive.uploads_folder / session_id
        path.touch()
        with self._lock:
            self._drop_expired()
            if self._knobs.session_locks_name and any(_same_target(each.target, target) for each in self.sessions):
                path.unlink()
                # https://github.com/OneDrive/onedrive-api-docs/issues/747: even with replace
                raise GraphError(
                    409, "nameAlreadyExists", "A file with the same name is currently being uploaded to this folder."
                )
            session = Session(
                session_id=session_id,
                target=target,
                path=path,
                expires_s=self._clock() + self._knobs.upload_session_life_s,
                declared_bytes=declared_bytes,
                waits_for_commit=waits_for_commit,
            )
            self._sessions[session_id] = session
            return session

    @property
    def sessions(self) -> list[Session]:
        return list(self._sessions.values())

    def get(self, session_id: str) -> Session:
        """Return an open session, whose life begins anew. Raises GraphError 404."""
        with self._lock:
            self._drop_expired()
            session = self._sessions.get(session_id)
            if session is None:
                raise GraphError(
                    404, "itemNotFound", "The upload session was not found", inner=("uploadSessionNotFound",)
                )
            session.expires_s = self._clock() + self._knobs.upload_session_life_s
            return session

    def cancel(self, session_id: str) -> None:
        """Raises GraphError 404."""
        session = self.get(session_id)
        with self._lock:
            self._forget(session)

    def next_ranges(self, session: Session) -> list[str]:
        """Return nextExpectedRanges, in either of the two spellings that have been seen."""
        if session.declared_bytes is not None and session.received_bytes >= session.declared_bytes:
            return []
        end = "" if self._knobs.open_ended_ranges or session.declared_bytes is None else session.declared_bytes - 1
        return [f"{session.received_bytes}-{end}"]

    async def receive(self, session: Session, chunk: Chunk, blocks: AsyncIterator[bytes]) -> tuple[Item, bool] | None:
        """Take a chunk. Return the item and whether it is new after the last one, else None.

        Raises GraphError 400, 409, 416, 507.
        """
        self._check_chunk(session, chunk)
        session.busy = True
        try:
            session.declared_bytes = chunk.total
            size = await self._append_chunk(session, chunk, blocks)
        finally:
            session.busy = False
        if size != chunk.size:
            raise misuse(f"The body has {size} bytes, its Content-Range {chunk.size}.")
        if session.received_bytes < chunk.total or session.waits_for_commit:
            return None
        return await asyncio.to_thread(self.commit, session)

    def commit(self, session: Session) -> tuple[Item, bool]:
        """Let the file appear. Raises GraphError 400, 404, 409, 412; the bytes are kept then."""
        if session.declared_bytes is None or session.received_bytes != session.declared_bytes:
            raise misuse("The upload session has not received all of the file.")
        done = self._fill(session.path, session.target, session.hashing.base64())
        with self._lock:
            self._forget(session)
        return done

    def _check_chunk(self, session: Session, chunk: Chunk) -> None:
        if self._knobs.quota_full:
            raise quota_reached()
        if session.declared_bytes is not None and chunk.total != session.declared_bytes:
            raise misuse(
                f"The total of Content-Range is {chunk.total}, but the session is for {session.declared_bytes}."
            )
        if chunk.end < chunk.start or chunk.end >= chunk.total:
            raise misuse("Content-Range makes no sense.")
        if chunk.size >= LARGEST_CHUNK:
            raise misuse("A chunk must be smaller than 60 MiB.", status=413)
        if chunk.size % CHUNK_UNIT and chunk.end != chunk.total - 1:
            raise misuse(f"A chunk other than the last must be a multiple of {CHUNK_UNIT} bytes, not {chunk.size}.")
        if chunk.start < session.received_bytes or session.busy:
            raise GraphError(416, "invalidRange", "The range was received already.", inner=("fragmentOverlap",))
        if chunk.start > session.received_bytes:
            raise GraphError(416, "invalidRange", "The range is not the next one.", inner=("fragmentOutOfOrder",))

    async def _append_chunk(self, session: Session, chunk: Chunk, blocks: AsyncIterator[bytes]) -> int:
        """Return how many bytes came. What is not a whole chunk is taken back, unless cut chunks are to be kept."""
        before, size = session.received_bytes, 0
        with await asyncio.to_thread(session.path.open, "ab") as file:
            try:
                async for block in blocks:
                    size += len(block)
                    if size > chunk.size:
                        break
                    await asyncio.to_thread(_append, file, block, session.hashing)
            finally:
                if size == chunk.size or (self._knobs.keep_cut_chunks and size < chunk.size):
                    session.received_bytes = before + size
                else:
                    await asyncio.to_thread(file.truncate, before)
                    session.hashing = await asyncio.to_thread(hashing_of, session.path)
        return size

    def _fill(self, content: Path, target: Target, quick_xor: str) -> tuple[Item, bool]:
        return self._drive.fill(
            content,
            target.parent_id,
            target.name,
            conflict=target.conflict,
            quick_xor=quick_xor,
            times=target.times,
            if_match=target.if_match,
            by=target.by,
        )

    def _drop_expired(self) -> None:
        now = self._clock()
        for session in self.sessions:
            if session.expires_s <= now and not session.busy:
                self._forget(session)

    def _forget(self, session: Session) -> None:
        self._sessions.pop(session.session_id, None)
        session.path.unlink(missing_ok=True)


def chunk_of(header: str | None) -> Chunk:
    """Return what a Content-Range header says. Raises Misuse when there is none or it says nothing."""
    match = _RANGE.fullmatch(header or "")
    if match is None:
        raise misuse(f"Content-Range must be like bytes 0-327679/983050, not {header}.")
    return Chunk(int(match[1]), int(match[2]), int(match[3]))


def _same_target(one: Target, other: Target) -> bool:
    return one.parent_id == other.parent_id and same_name(one.name, other.name)


def _append(file: BinaryIO, block: bytes, hashing: QuickXor) -> None:
    file.write(block)
    file.flush()  # what has arrived is on disk, in however many pieces it came
    hashing.update(block)
