"""The upload of one file in chunks, through a session whose URL holds its own key."""

from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self

from shared.clients.graph.drive_item import DriveItem, parse_drive_item
from shared.clients.graph.refusals import SessionBusy, map_session_error
from shared.clients.http.client import Http, Response, json_object
from shared.errors import (
    AppError,
    TryAgain,
)
from shared.log import log
from shared.secret import SecretUrl

_UNIT: Final = 320 * 1024  # bytes; every chunk but the last must be a multiple of it


# https://learn.microsoft.com/graph/api/driveitem-createuploadsession#upload-bytes-to-the-upload-session
CHUNK: Final = 24 * _UNIT  # bytes; Graph recommends 5 to 10 MiB and takes less than 60 MiB


# So often a chunk is sent again that such a 409 has kept from being received.
_CONFLICTS: Final = 3


_LONGEST_POSITION: Final = 15  # digits of a position in a file: OneDrive takes files of up to 250 GB


class UploadSession:
    """An upload of one file in chunks, in order. Use it as a context manager: it cancels what was not finished."""

    def __init__(self, http: Http, url: SecretUrl, *, name: str, size_bytes: int) -> None:
        self._http = http
        self._url = url
        self._name = name
        self._size_bytes = size_bytes
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    def put(self, start: int, chunk: bytes) -> DriveItem | None:
        """Send the bytes from position ``start``; return the item after the last chunk, None before.

        chunk: CHUNK bytes, or another multiple of 320 KiB; only the last one may have any length.
        What OneDrive has already received of the chunk is not sent again. Where it is busy with the session (a 409 that
        is not about the name), it is asked how far it is, and the upload goes on from there.

        Raises NameTaken if a file of that name has come meanwhile; ItemLocked; Refused; NeedsPerson if the drive is
        full; TryAgain: the session is gone or its position is elsewhere. Look for the file before opening a new one:
        if the answer to the last chunk was lost, it is there.
        """
        end = start + len(chunk)
        if not chunk or end > self._size_bytes or (end < self._size_bytes and len(chunk) % _UNIT):
            raise ValueError(f"a chunk of {len(chunk)} bytes at {start} does not fit an upload of {self._size_bytes}")
        position, conflicts = start, 0
        while True:
            try:
                answer = self._send(position, chunk[position - start :])
            except SessionBusy:
                reached, conflicts = self.resume_from(), conflicts + 1
                # Nothing of it has arrived; or all has, and OneDrive has not made the file of it: the same once more.
                if reached == position or reached == end == self._size_bytes:
                    if conflicts > _CONFLICTS:
                        raise
                    continue
            else:
                if answer.status in (HTTPStatus.OK, HTTPStatus.CREATED):
                    # Only with the item at hand: a proxy's page in its place leaves a session that holds the name.
                    item = parse_drive_item(json_object(answer))
                    self._ended = True
                    return item
                # 416: OneDrive has these bytes, or some of them; an acknowledgement was lost on the way.
                refused = answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
                reached = self.resume_from() if refused else _next_position(json_object(answer), otherwise=end)
            if reached == end < self._size_bytes:
                return None
            # What is left of a chunk must be a multiple as well, and with less than the chunk nothing can be made up.
            is_sendable = position < reached < end and (end == self._size_bytes or not (end - reached) % _UNIT)
            if not is_sendable:
                raise TryAgain(f"The upload of '{self._name}' is at byte {reached}, not at {end}. It starts over")
            position = reached

    def resume_from(self) -> int:
        """Return the position of the next byte that OneDrive wants.

        Raises TryAgain where the session is gone.
        """
        answer = self._http.call(
            "GET",
            self._url,
            operation="get upload session",
            idempotent=True,
            map_error=partial(map_session_error, name=self._name),
        )
        return _next_position(json_object(answer), otherwise=self._size_bytes)

    def cancel(self) -> None:
        """Give the upload up and its name free; never raises. Nothing happens after the last chunk."""
        if self._ended:
            return
        self._ended = True
        try:
            self._http.call(
                "DELETE", self._url, operation="cancel upload session", idempotent=True, ok=(200, 202, 204, 404, 410)
            )
        except AppError as error:
            # OneDrive drops the session by itself after a while; the error that led here matters more.
            log.warning("upload.cancel_failed", name=self._name, error=str(error))

    def _send(self, position: int, part: bytes) -> Response:
        return self._http.call(
            "PUT",
            self._url,
            operation="upload chunk",
            idempotent=True,
            headers={
                "Content-Range": f"bytes {position}-{position + len(part) - 1}/{self._size_bytes}",
                "Content-Type": "application/octet-stream",
            },
            data=part,
            ok=(200, 201, 202, 416),
            map_error=partial(map_session_error, name=self._name),
        )


def _next_position(status: Mapping[str, Any], *, otherwise: int) -> int:
    """Return the start of the first expected range: ``["26-"]`` and ``["26-99"]`` both occur."""
    ranges = status.get("nextExpectedRanges")
    if isinstance(ranges, list) and ranges:
        start = str(ranges[0]).partition("-")[0]
        if start.isascii() and start.isdigit() and len(start) <= _LONGEST_POSITION:
            return int(start)
    return otherwise
