"""The pre-authenticated addresses: downloads, upload sessions, and monitors of copies. No token may come here."""

import asyncio
import re
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import quote

from aiohttp import web

from local_cloud.onedrive.drive import Drive
from local_cloud.onedrive.errors import GraphError, misuse
from local_cloud.onedrive.item import Item
from local_cloud.onedrive.knobs import Knobs, matches
from local_cloud.onedrive.links import DOWNLOAD_PATH, MONITOR_PATH, UPLOAD_PATH, Links
from local_cloud.onedrive.shapes import Shapes, mime_type
from local_cloud.onedrive.uploads import Session, Uploads, chunk_of
from local_cloud.onedrive.wire import body_blocks, json_answer, known_query, refuse_authorization, utc_text
from local_cloud.server import answer

IN_ONE_PIECE: Final = 16 * 1024 * 1024  # bytes; up to that an answer is sent, and can be cut by a fault, as a whole
BLOCK: Final = 1024 * 1024  # bytes
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(slots=True)
class Operation:
    """A copy on its way."""

    name: str  # in Microsoft's words: ItemCopy
    item_id: str | None = None
    error: GraphError | None = None


class Content:
    """The handlers of the content port."""

    def __init__(self, drive: Drive, knobs: Knobs, links: Links, uploads: Uploads, shapes: Shapes) -> None:
        self._drive = drive
        self._knobs = knobs
        self._links = links
        self._uploads = uploads
        self._shapes = shapes
        self.operations: dict[str, Operation] = {}

    def add_to(self, app: web.Application) -> None:
        app.router.add_route("*", DOWNLOAD_PATH, self._download)
        app.router.add_route("*", UPLOAD_PATH, self._upload)
        app.router.add_route("*", MONITOR_PATH + "/{operation}", self._monitor)
        app.router.add_route("*", "/{rest:.*}", _unknown)

    def _check_no_token(self, request: web.Request) -> None:
        if not self._knobs.takes_needless_tokens:
            refuse_authorization(request)

    async def _download(self, request: web.Request) -> web.StreamResponse:
        self._check_no_token(request)
        _only(request, "GET")
        known_query(request.query, "UniqueId", "Translate", "tempauth")
        guid = request.query.get("UniqueId", "")
        self._links.check("download", guid, request.query.get("tempauth", ""))
        item = await asyncio.to_thread(self._drive.by_guid, guid)
        if matches(item.name, self._knobs.malware) is not None:
            raise GraphError(
                403, "malwareDetected", "Malware detected", headers={"X-Virus-Infected": "EICAR-Test-File"}
            )
        return await self._send(request, item, await asyncio.to_thread(self._drive.path_of, item))

    async def _send(self, request: web.Request, item: Item, path: Path) -> web.StreamResponse:
        size = item.stat.size_bytes
        headers = {
            "Content-Type": mime_type(item.name),
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(item.name, safe='')}",
            "ETag": item.etag,
            "Last-Modified": utc_http(item),
            "Accept-Ranges": "bytes",
        }
        wanted = None if self._knobs.ignore_range else _wanted(request.headers.get("Range"), size)
        start, end = wanted or (0, size - 1)
        status = 200 if wanted is None else 206
        if wanted is not None:
            headers["Content-Range"] = f"bytes {start}-{end}/{size}"
        length = end - start + 1
        if length <= IN_ONE_PIECE:
            return answer(status, await asyncio.to_thread(_read, path, start, length), headers)
        response = web.StreamResponse(status=status, headers=headers)
        response.content_length = length
        with await asyncio.to_thread(path.open, "rb") as file:
            await asyncio.to_thread(file.seek, start)
            await response.prepare(request)
            await _stream(response, file, length)
        await response.write_eof()
        return response

    async def _upload(self, request: web.Request) -> web.Response:
        self._check_no_token(request)
        known_query(request.query, "guid", "tempauth")
        session_id = request.query.get("guid", "")
        self._links.check("upload", session_id, request.query.get("tempauth", ""))
        session = await asyncio.to_thread(self._uploads.get, session_id)
        match request.method:
            case "GET":
                return json_answer(200, self._state(session))
            case "DELETE":
                await asyncio.to_thread(self._uploads.cancel, session_id)
                return json_answer(204)
            case "PUT":
                return await self._take_chunk(request, session)
            case "POST":
                if not session.waits_for_commit or request.content_length:
                    raise misuse("POST with an empty body ends a session with deferCommit, and nothing else.")
                item, is_new = await asyncio.to_thread(self._uploads.commit, session)
                return await self._created(item, is_new=is_new)
        raise _not_allowed(request)

    async def _take_chunk(self, request: web.Request, session: Session) -> web.Response:
        chunk = chunk_of(request.headers.get("Content-Range"))
        if request.content_length is None:
            raise misuse("A chunk needs a Content-Length.", status=411)
        if request.content_length != chunk.size:
            raise misuse(f"Content-Length is {request.content_length}, but Content-Range has {chunk.size} bytes.")
        done = await self._uploads.receive(session, chunk, body_blocks(request))
        if done is None:
            return json_answer(202, self._state(session))
        item, is_new = done
        return await self._created(item, is_new=is_new)

    async def _created(self, item: Item, *, is_new: bool) -> web.Response:
        return json_answer(201 if is_new else 200, await asyncio.to_thread(self._shapes.whole, item))

    def _state(self, session: Session) -> dict[str, object]:
        return {
            "expirationDateTime": utc_text(session.expires_s),
            "nextExpectedRanges": self._uploads.next_ranges(session),
        }

    async def _monitor(self, request: web.Request) -> web.Response:
        self._check_no_token(request)
        _only(request, "GET")
        known_query(request.query, "tempauth")
        operation_id = request.match_info["operation"]
        self._links.check("monitor", operation_id, request.query.get("tempauth", ""))
        operation = self.operations.get(operation_id)
        if operation is None:
            raise GraphError(404, "itemNotFound", "There is no such operation.")
        if operation.error is not None:
            error = {"code": operation.error.code, "message": operation.error.message}
            return json_answer(200, {"operation": operation.name, "status": "failed", "error": error})
        if operation.item_id is None:
            return json_answer(202, {"operation": operation.name, "percentageComplete": 27.8, "status": "inProgress"})
        return json_answer(200, {"percentageComplete": 100.0, "resourceId": operation.item_id, "status": "completed"})


async def _stream(response: web.StreamResponse, file: BinaryIO, length: int) -> None:
    while length > 0:
        block = await asyncio.to_thread(file.read, min(BLOCK, length))
        if not block:
            # The file was cut on disk meanwhile: the promised length cannot be kept, so the connection breaks.
            raise ConnectionResetError("the file became shorter")
        await response.write(block)
        length -= len(block)


def utc_http(item: Item) -> str:
    """Return when the item changed as an HTTP date."""
    return formatdate(item.stat.modified_ns / 1e9, usegmt=True)


def _wanted(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the first and last byte that a Range header asks for; None for everything. Raises GraphError 416."""
    match = _RANGE.fullmatch(header or "")
    if match is None or (not match[1] and not match[2]):
        return None  # no range, several, or none that can be read: RFC 9110 14.2 lets a server ignore those
    if match[1]:
        start, end = int(match[1]), min(int(match[2] or size - 1), size - 1)
        if match[2] and int(match[2]) < start:
            return None
    else:
        start, end = max(size - int(match[2]), 0), size - 1
    if start >= size or start > end:
        raise GraphError(
            416, "invalidRange", "The range is not in the file.", headers={"Content-Range": f"bytes */{size}"}
        )
    return start, end


def _read(path: Path, start: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(length)


def _only(request: web.Request, method: str) -> None:
    if request.method != method:
        raise _not_allowed(request)


def _not_allowed(request: web.Request) -> GraphError:
    return misuse(f"{request.method} is not allowed here.", status=405, code="notAllowed")


async def _unknown(_request: web.Request) -> web.StreamResponse:
    raise misuse("There is nothing at this address.", status=404, code="itemNotFound")
