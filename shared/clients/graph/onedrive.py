"""OneDrive through Microsoft Graph: list, look, move, upload, check in. Bytes of downloads are transfer.py's.

Graph's driveItem becomes a ``DriveItem`` here. Items are addressed by id wherever there is one: ids never change within
a drive, while a read by path can lag minutes behind a change.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, NoReturn, Self
from urllib.parse import urljoin

import requests

from shared.clients.blobs.quick_xor_hash import QuickXorHash
from shared.clients.http.client import Explain, Http, Refusal, json_object
from shared.clients.http.links import keyed_link, next_page, required_link
from shared.errors import (
    AppError,
    FileRejected,
    ItemChanged,
    ItemLocked,
    NameTaken,
    NeedsPerson,
    NotFound,
    Refused,
    TryAgain,
)
from shared.escapes import path_segment
from shared.log import log
from shared.secret import SecretUrl

_UNIT: Final = 320 * 1024  # bytes; every chunk but the last must be a multiple of it
# https://learn.microsoft.com/graph/api/driveitem-createuploadsession#upload-bytes-to-the-upload-session
CHUNK: Final = 24 * _UNIT  # bytes; Graph recommends 5 to 10 MiB and takes less than 60 MiB

_PAGE: Final = 200  # items a page, Graph's own default

# https://support.microsoft.com/office/restrictions-and-limitations-in-onedrive-and-sharepoint-64883a5d-228e-48f5-b3d2-eb39e07630fa
_NOT_IN_NAMES: Final = frozenset('"*:<>?/\\|')
_RESERVED_NAMES: Final = frozenset(
    {".lock", "con", "prn", "aux", "nul", "desktop.ini"}
    | {f"{device}{digit}" for device in ("com", "lpt") for digit in range(10)}
)
_LONGEST_NAME: Final = 255  # characters

# Codes that are about the name or the path of the item in the request. Microsoft warns against going by the messages.
# https://learn.microsoft.com/onedrive/developer/rest-api/concepts/errors#detailed-error-codes
# Observed: nameContainsInvalidCharacters, in the list of Microsoft's own client, @ms/odsp-datasources.
_BAD_NAME: Final = ("invalidPath", "nameContainsInvalidCharacters")
_LONG_PATH: Final = "pathIsTooLong"

# The codes of a 409 that is about the name. Any other 409 on a chunk passes: OneDrive says so while it is busy with the
# session, and has mostly taken the chunk. https://github.com/home-assistant/core/issues/137098
# https://learn.microsoft.com/graph/api/driveitem-createuploadsession#handle-upload-errors
_NAME_IS_TAKEN: Final = ("nameAlreadyExists", "upload_name_conflict")
# So often a chunk is sent again that such a 409 has kept from being received.
_CONFLICTS: Final = 3

_MALWARE: Final = ("malwareDetected", "virusSuspicious")
_DRIVE_FULL: Final = ("quotaLimitReached", "insufficientStorage")

_RIGHT: Final = (
    "the permission Files.ReadWrite.All with consent, or with Sites.Selected the role 'write' on the drive's site"
)

# Statuses whose meaning for one file is that for any call. Of the other 4xx nobody can say whether they are about this
# file or about all of them.
_PLAIN: Final = frozenset({401, 407, 408, 410, 429})

_LONGEST_POSITION: Final = 15  # digits of a position in a file: OneDrive takes files of up to 250 GB

_UNKNOWN_TIME: Final = datetime.min.replace(tzinfo=UTC)

_HASH_OF_NOTHING: Final = QuickXorHash().base64()

# What Graph answers if the content is to be had elsewhere: 302, as documented, and its kin.
# https://learn.microsoft.com/graph/api/driveitem-get-content#response
_ELSEWHERE: Final = frozenset({301, 302, 303, 307, 308})

# The level of an item that is checked out. Observed, in 2019: to an app Graph tells only what apps have checked out.
# https://github.com/microsoftgraph/microsoft-graph-docs-contrib/issues/6407
_CHECKED_OUT: Final = "checkout"
# Stands beside the version in its history.
_CHECK_IN_COMMENT: Final = "Checked in by the app that moves files between this library and Dynamics 365 F&O"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriveItem:
    """A file or folder as OneDrive described it at one moment."""

    item_id: str  # stays the same when the item is moved or renamed within its drive
    name: str
    size_bytes: int
    etag: str  # changes with content, name and place; with its quotes, as If-Match wants it; "" where not told
    parent_id: str  # "" for the root
    last_modified: datetime  # UTC; the year 1 where OneDrive does not know
    quick_xor_hash: str | None  # base64; None where OneDrive has none (empty, or just uploaded)
    download_url: SecretUrl | None  # lives for minutes: get the item, use it at once, never keep it
    is_file: bool
    is_folder: bool
    has_malware: bool
    is_pending: bool  # OneDrive is still receiving or processing the content
    web_url: str

    @property
    def is_empty(self) -> bool:
        """Whether the file holds nothing yet. A library may tell a wrong size, of 0 too; a hash of content is right.

        Observed: https://github.com/microsoftgraph/microsoft-graph-docs-contrib/issues/9776
        """
        return self.size_bytes == 0 and self.quick_xor_hash in (None, _HASH_OF_NOTHING)


class OneDrive:
    """One drive, through one Graph identity."""

    def __init__(self, graph_url: str, drive: str, http: Http, uploads: Http) -> None:
        """graph_url: with its version, such as ``https://graph.microsoft.com/v1.0``.

        drive: ``drives/b!...``, ``users/someone@example.com/drive`` or ``me/drive``.
        http: with the identity's token; uploads: without a token, for pre-authenticated URLs.
        """
        self._drive = drive.strip("/")
        self._drive_url = f"{graph_url.rstrip('/')}/{_encoded(self._drive.split('/'))}"
        self._graph_url = graph_url
        self._http = http
        self._uploads = uploads
        self._drive_id: str | None = None

    def drive_id(self) -> str:
        """Return the drive's id as Graph spells it; asked once.

        Raises NeedsPerson where there is no such drive, no permission; TryAgain.
        """
        if self._drive_id is None:
            self._drive_id = self.ask_drive_id()
        return self._drive_id

    def ask_drive_id(self) -> str:
        """Ask Graph for the drive's id, whether it is known or not: the cheapest proof that the drive can be reached.

        Raises what ``drive_id`` raises.
        """
        answer = self._call("GET", "", "get drive", explain=partial(_no_such_drive, drive=self._drive))
        return _text(json_object(answer), "id") or _incomplete("get drive")

    def list_files(self, folder_id: str) -> Iterator[DriveItem]:
        """Yield the files directly in a folder, page after page as they are consumed.

        Folders, notebooks and shortcuts are left out. Their download URLs may be missing or old: ``get`` the item.
        Raises NotFound where the folder is not there; NeedsPerson; TryAgain. Any of them may come between two items.
        """
        return (item for item in self.list_items(folder_id) if item.is_file)

    def list_items(self, folder_id: str) -> Iterator[DriveItem]:
        """The same with folders, notebooks and shortcuts, whose ``is_file`` is False."""
        return self._children(folder_id)

    def get(self, item_id: str) -> DriveItem:
        """Return the item with a fresh download URL.

        Raises NotFound (also for a short while after a change elsewhere), Refused, NeedsPerson, TryAgain.
        """
        explain = partial(_meaning_for_file, what=f"item {item_id}")
        return _drive_item(json_object(self._call("GET", f"/{_item(item_id)}", "get item", explain=explain)))

    def content_url(self, item_id: str) -> SecretUrl:
        """Return where the content of a file that tells no download URL is to be had, without our token.

        Observed: Graph leaves the URL out for good where a label, Conditional Access or an unmanaged device limits what
        may be downloaded. https://github.com/SharePoint/sp-dev-docs/issues/5715
        Raises what ``get`` raises.
        """
        answer = self._call(
            "GET",
            f"/{_item(item_id)}/content",
            "get content",
            stream=True,  # should the content itself come, it is not read
            ok=(HTTPStatus.OK, *_ELSEWHERE),
            explain=partial(_meaning_for_file, what=f"item {item_id}"),
        )
        with closing(answer):
            location = answer.headers.get("Location", "") if answer.status_code in _ELSEWHERE else ""
        try:
            link = location and urljoin(answer.url, location)
        except ValueError:
            link = ""
        return required_link(link, service="Microsoft Graph", what="the content of a file", setting="GRAPH_URL")

    def is_checked_out(self, item_id: str) -> bool:
        """Return whether the item is checked out, as far as this identity can see; False if the drive cannot tell.

        Raises NotFound, NeedsPerson, TryAgain.
        """
        explain = partial(_no_publication, what=f"item {item_id}")
        try:
            # Not in the usual answers: https://learn.microsoft.com/graph/api/resources/driveitem#properties
            answer = self._call("GET", f"/{_item(item_id)}?$select=id,publication", "get publication", explain=explain)
        except Refused as error:
            log.info("item.no_publication", item_id=item_id, reason=error.message)  # a personal OneDrive, say
            return False
        return _text(_object(json_object(answer), "publication"), "level").casefold() == _CHECKED_OUT

    def check_in(self, item_id: str) -> bool:
        """Check a file in if it is checked out; return whether it was.

        A library that requires check-out keeps what an app has written checked out: nobody else sees it.
        May be repeated after any error. Raises NotFound, ItemLocked (a person has it checked out), Refused (the rules
        of the library, such as columns that are required), NeedsPerson, TryAgain.
        """
        if not self.is_checked_out(item_id):
            return False
        try:
            # "published": as a major version, which readers see in a library with drafts, too.
            # https://learn.microsoft.com/graph/api/driveitem-checkin
            self._call(
                "POST",
                f"/{_item(item_id)}/checkin",
                "check in",
                json={"checkInAs": "published", "comment": _CHECK_IN_COMMENT},
                ok=(HTTPStatus.NO_CONTENT,),  # a page of a proxy's is none
                explain=partial(_not_checked_in, what=f"item {item_id}"),
            )
        except AppError:
            if self.is_checked_out(item_id):
                raise
            # The answer to an earlier try was lost, or a person has done it.
            log.info("item.was_checked_in", item_id=item_id)
        return True

    def find(self, path: str) -> DriveItem | None:
        """Return what is at the path below the root ("" is the root itself), or None.

        For minutes after a change the answer may still be the old one; go by ids where there is one.
        Raises NeedsPerson, TryAgain.
        """
        segments = _segments(path)
        where = f"/root:/{_encoded(segments)}" if segments else "/root"
        try:
            explain = partial(_meaning, what=f"'{path}'")
            answer = self._call("GET", where, "get item by path", explain=explain)
        except NotFound:
            return None
        item = _drive_item(json_object(answer))
        # Observed: a read by path can return another item than the one that was asked for.
        return item if not segments or _same_name(item.name, segments[-1]) else None

    def ensure_folder(self, path: str) -> DriveItem:
        """Return the folder at the path; create it and every missing folder above it.

        Safe against others who do the same at the same moment.
        Raises NeedsPerson where a file has that name or the path is not possible; NotFound while a folder that was
        just created is not yet to be seen by Graph itself; TryAgain.
        """
        folder = self.find(path)
        if folder is None:
            segments = _segments(path)
            folder = self._required_root()
            for depth, name in enumerate(segments, start=1):
                folder = self.find("/".join(segments[:depth])) or self._create_folder(folder, name)
                _require_folder(folder, path)
        _require_folder(folder, path)
        return folder

    def move(self, item_id: str, *, to_folder_id: str, name: str, etag: str | None) -> DriveItem:
        """Move an item into a folder under a name and return it as it is afterwards.

        to_folder_id: a real id; Graph does not take the alias "root". Within one drive only.
        etag: move only if the item is still this one; None: whatever it is by now.

        May be repeated after any error: an item that is already there under that name is returned as moved.
        Raises NameTaken, ItemChanged, ItemLocked, NotFound; FileRejected if OneDrive cannot have the name or its path
        is too long; Refused (a hold or label on the item, no permission, the rules of the library); NeedsPerson;
        TryAgain.
        """
        try:
            return self.move_from(item_id, to_folder_id=to_folder_id, name=name, etag=etag)
        except (ItemChanged, NameTaken):
            # After a lost answer the first request may have moved it: the item changed because we changed it.
            current = self.get(item_id)
            if current.parent_id == to_folder_id and current.name == name:
                return current
            raise

    def move_from(self, item_id: str, *, to_folder_id: str, name: str, etag: str | None) -> DriveItem:
        """The same for who must know that this call has moved the item: one that is there already raises, too."""
        answer = self._call(
            "PATCH",
            f"/{_item(item_id)}",
            "move item",
            headers={"If-Match": etag} if etag else None,
            json={"parentReference": {"id": to_folder_id}, "name": name},
            explain=partial(_meaning_for_file, what=f"'{name}' (item {item_id})", name=name),
        )
        return _drive_item(json_object(answer))

    def delete(self, item_id: str) -> None:
        """Put an item into the drive's recycle bin; one that is gone already is as good.

        Raises ItemLocked, Refused, NeedsPerson, TryAgain.
        """
        explain = partial(_meaning_for_file, what=f"item {item_id}")
        try:
            self._call("DELETE", f"/{_item(item_id)}", "delete item", explain=explain)
        except NotFound:
            log.info("item.gone", item_id=item_id)

    def upload_small(self, folder_id: str, name: str, content: bytes, *, replace: bool) -> DriveItem:
        """Write a small file (up to 250 MB; the only way for an empty one) into a folder in one request.

        Raises NameTaken unless it may replace; AnswerLost (only without replace: look for the name before trying
        again); FileRejected if OneDrive cannot have the name or its path is too long; Refused (the rules of the
        library, no permission); ItemLocked, NotFound, NeedsPerson, TryAgain.
        """
        _require_usable_name(name)
        behavior = "replace" if replace else "fail"
        answer = self._call(
            "PUT",
            f"/{_item(folder_id)}:/{_encoded([name])}:/content?@microsoft.graph.conflictBehavior={behavior}",
            "upload file",
            headers={"Content-Type": "application/octet-stream"},
            data=content,
            idempotent=replace,
            explain=partial(_meaning_for_file, what=f"'{name}'", name=name),
        )
        return _drive_item(json_object(answer))

    def open_upload(self, folder_id: str, name: str, size_bytes: int) -> "UploadSession":
        """Begin to upload a file of at least one byte; nobody sees it before its last byte has arrived.

        An open session keeps the name: cancel it when it is abandoned.
        Raises NameTaken (a file of that name, or another session for it); FileRejected if OneDrive cannot have the name
        or its path is too long; Refused (the rules of the library, no permission); NotFound, NeedsPerson (also: no
        space left), TryAgain.
        """
        if size_bytes < 1:
            raise ValueError("an upload session takes at least one byte; use upload_small")
        _require_usable_name(name)
        answer = self._call(
            "POST",
            f"/{_item(folder_id)}:/{_encoded([name])}:/createUploadSession",
            "create upload session",
            # Without the behaviour OneDrive replaces, whatever its documentation says.
            # https://github.com/microsoftgraph/microsoft-graph-docs-contrib/issues/19010
            json={"item": {"@microsoft.graph.conflictBehavior": "fail", "name": name, "fileSize": size_bytes}},
            explain=partial(_meaning_for_file, what=f"'{name}'", name=name),
        )
        said = json_object(answer).get("uploadUrl")
        url = required_link(said, service="Microsoft Graph", what=f"the upload of '{name}'", setting="GRAPH_URL")
        return UploadSession(self._uploads, url, name=name, size_bytes=size_bytes)

    def _call(
        self,
        method: str,
        where: str,
        operation: str,
        *,
        explain: Explain,
        headers: Mapping[str, str] | None = None,
        json: object | None = None,
        data: bytes | None = None,
        idempotent: bool = True,
        stream: bool = False,
        ok: Collection[int] = (200, 201, 202, 204),
    ) -> requests.Response:
        """where: what follows the drive in the URL, percent-encoded."""
        return self._http.call(
            method,
            self._drive_url + where,
            operation=operation,
            idempotent=idempotent,
            headers=headers,
            json=json,
            data=data,
            stream=stream,
            ok=ok,
            explain=explain,
        )

    def _children(self, folder_id: str) -> Iterator[DriveItem]:
        explain = partial(_meaning, what=f"folder {folder_id}")
        answer = self._call("GET", f"/{_item(folder_id)}/children?$top={_PAGE}", "list children", explain=explain)
        links: set[str] = set()
        while True:
            page = json_object(answer)
            # A page may be empty and still have a next one.
            yield from map(_drive_item, _objects(page, "value"))
            what = f"folder {folder_id}"
            link = next_page(page, self._graph_url, links, service="Microsoft Graph", what=what, setting="GRAPH_URL")
            if not link:
                return
            answer = self._http.call("GET", link, operation="list children", idempotent=True, explain=explain)

    def _create_folder(self, parent: DriveItem, name: str) -> DriveItem:
        try:
            answer = self._call(
                "POST",
                f"/{_item(parent.item_id)}/children",
                "create folder",
                json={"name": name, "folder": {}, "@microsoft.graph.conflictBehavior": "fail"},
                explain=partial(_meaning, what=f"folder '{name}'"),
            )
        except NameTaken:
            return self._named_child(parent, name)
        # Observed: 201 with an empty body; the folder is there, and a second POST would only clash with it.
        return _drive_item(json_object(answer)) if answer.content else self._named_child(parent, name)

    def _named_child(self, parent: DriveItem, name: str) -> DriveItem:
        """Return the child by listing its parent, which is ahead of a read by path."""
        for child in self._children(parent.item_id):
            if _same_name(child.name, name):
                return child
        raise NotFound(f"OneDrive has '{name}' in folder '{parent.name}' but does not list it yet")

    def _required_root(self) -> DriveItem:
        root = self.find("")
        if root is None:
            raise NeedsPerson(f"OneDrive has no drive '{self._drive}'. Check the drive in the settings")
        return root


class _Conflict(TryAgain):
    """OneDrive is busy with an upload session: it may have received the chunk or not."""


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
            except _Conflict:
                reached, conflicts = self.resume_from(), conflicts + 1
                # Nothing of it has arrived; or all has, and OneDrive has not made the file of it: the same once more.
                if reached == position or reached == end == self._size_bytes:
                    if conflicts > _CONFLICTS:
                        raise
                    continue
            else:
                if answer.status_code in (HTTPStatus.OK, HTTPStatus.CREATED):
                    # Only with the item at hand: a proxy's page in its place leaves a session that holds the name.
                    item = _drive_item(json_object(answer))
                    self._ended = True
                    return item
                # 416: OneDrive has these bytes, or some of them; an acknowledgement was lost on the way.
                refused = answer.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
                reached = self.resume_from() if refused else _next_position(json_object(answer), otherwise=end)
            if reached == end < self._size_bytes:
                return None
            # What is left of a chunk must be a multiple as well, and with less than the chunk nothing can be made up.
            is_sendable = position < reached < end and (end == self._size_bytes or not (end - reached) % _UNIT)
            if not is_sendable:
                raise TryAgain(
                    f"The upload of '{self._name}' stands at byte {reached}, not at {end}. It starts again from new"
                )
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
            explain=partial(_session_meaning, name=self._name),
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

    def _send(self, position: int, part: bytes) -> requests.Response:
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
            explain=partial(_session_meaning, name=self._name),
        )


def _meaning(refusal: Refusal, *, what: str) -> AppError | None:
    """What Graph's refusals mean for a drive or a folder, without which no file can do: they stop the flow.

    what: the drive or folder in a person's words.
    """
    call, words = refusal.call, refusal.words
    match refusal.status:
        case _ if known := _common_meaning(refusal, what):
            return known
        case 423:
            # Observed: https://github.com/microsoftgraph/microsoft-graph-docs-contrib/issues/7121
            return ItemLocked(
                f"OneDrive says that {what} is locked: {words}. It says so of a site that is archived or read-only: "
                "have the site unlocked. The app asks again by itself",
                call=call,
            )
        case 403:
            return NeedsPerson(
                f"Microsoft Graph does not permit '{call.operation}' for {what}: {words}. Grant {_RIGHT}", call=call
            )
        case 400 | 413 | 415 | 422 if refusal.has_code(_LONG_PATH):
            return NeedsPerson(f"The path of {what} is too long for OneDrive: {words}. Use shorter names", call=call)
        case 400:
            return NeedsPerson(
                f"OneDrive refuses '{call.operation}' for {what}: {words}. Check drive and folders in the settings",
                call=call,
            )
        case _:
            return None


def _meaning_for_file(refusal: Refusal, *, what: str, name: str = "") -> AppError | None:
    """What Graph's refusals mean for one file: its own fault if it is malware, or its name or path; else nobody knows.

    what: the file in a person's words; name: the name that the call gives it, "" if it gives none.
    """
    call, words = refusal.call, refusal.words
    # Observed: malware is also answered with a page of HTML (403) and with an empty 400. Nothing tells them from other
    # refusals: even the header x-virus-infected is sent as well if the scanner ran out of time. They stay Refused.
    # https://github.com/OneDrive/onedrive-api-docs/issues/1626, https://github.com/OneDrive/onedrive-api-docs/issues/928
    # https://learn.microsoft.com/openspecs/sharepoint_protocols/ms-wsshp/1c302d04-b76f-44e9-800d-c974250de84d
    match refusal.status:
        case _ if known := _common_meaning(refusal, what):
            return known
        case 423:
            # Three shapes: resourceLocked, or accessDenied/notAllowed with an inner code; the status is the same.
            return ItemLocked(
                f"Someone has {what} open or checked out: {words}. It goes on when they close it", call=call
            )
        case status if not 400 <= status < 500 or status in _PLAIN:
            return None
        case _ if refusal.has_code(*_MALWARE):
            return FileRejected(f"OneDrive found malware in {what}: {words}. Check the file and delete it", call=call)
        case 403:
            # Observed: a hold or a label as a record: https://github.com/abraunegg/onedrive/issues/338
            return Refused(
                f"Microsoft Graph does not permit '{call.operation}' for {what}: {words}. A hold, a label, a policy or "
                "permissions of its own may protect it: look at its details in OneDrive. If every file is refused, "
                f"grant {_RIGHT}",
                call=call,
            )
        case _ if name and refusal.has_code(_LONG_PATH):
            return FileRejected(
                f"The path of {what} is too long for OneDrive: {words}. {_better_name(call.operation)}", call=call
            )
        case _ if name and (refusal.has_code(*_BAD_NAME) or _name_fault(name)):
            fault = _name_fault(name) or words
            return FileRejected(
                f"OneDrive cannot have the name '{name}': {fault}. {_better_name(call.operation)}", call=call
            )
        case _:
            # Observed: columns that are required or validated, https://github.com/OneDrive/onedrive-api-docs/issues/1038
            # and https://github.com/SharePoint/sp-dev-docs/issues/10819
            plainer = " If only this file is refused, try a plainer name." if call.operation == "move item" else ""
            return Refused(
                f"OneDrive refuses '{call.operation}' for {what}: {words}.{plainer} If others are refused too, see the "
                "settings of the library: columns that are required or validated, and required check-out, keep the app "
                "from adding and moving files",
                call=call,
            )


def _common_meaning(refusal: Refusal, what: str) -> AppError | None:
    """What means the same for a file and a folder; the status decides first, because codes vary under one status.

    https://learn.microsoft.com/onedrive/developer/rest-api/concepts/errors
    """
    call, words = refusal.call, refusal.words
    match refusal.status:
        case 404:
            return NotFound(f"OneDrive has no {what}, or not yet: {words}", call=call)
        case 409:
            return _conflict(refusal, what)
        case 412:
            return ItemChanged(f"{what} has changed in OneDrive since it was looked at: {words}", call=call)
        case status if status == 507 or (status in (400, 403, 413) and refusal.has_code(*_DRIVE_FULL)):
            return _drive_is_full(refusal)
        case _:
            return None


def _no_publication(refusal: Refusal, *, what: str) -> AppError | None:
    if refusal.status in (HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED):
        return Refused(f"OneDrive does not tell whether {what} is checked out: {refusal.words}", call=refusal.call)
    return _meaning_for_file(refusal, what=what)


def _not_checked_in(refusal: Refusal, *, what: str) -> AppError | None:
    """What a refusal to check in means: the file is there, and nobody but the app sees it."""
    if not 400 <= refusal.status < 500 or refusal.status in _PLAIN | {404, 423}:
        return _meaning_for_file(refusal, what=what)
    if refusal.status == HTTPStatus.CONFLICT:
        return TryAgain(f"OneDrive is busy with {what}: {refusal.words}", call=refusal.call)
    return Refused(
        f"OneDrive does not check {what} in, so nobody but the app sees it: {refusal.words}. The library requires "
        "check-out, and may have columns that are required: take one of the two rules away, or use another library",
        call=refusal.call,
    )


def _better_name(operation: str) -> str:
    """Return what to do about a name that OneDrive does not take: of an import's file, or one that the app has made."""
    if operation == "move item":
        return "Rename the file and put it in again"
    return (
        "The name is made of the flow's data project and company, or of the name of the file that a report is about. "
        "Use plainer names there, or a folder nearer to the root"
    )


def _conflict(refusal: Refusal, what: str) -> AppError:
    # An open upload session takes the name as well, with varying codes.
    # https://github.com/OneDrive/onedrive-api-docs/issues/747
    creating = refusal.call.operation in {"create upload session", "create folder"}
    # Only an upload that may replace is idempotent. Of such a one no name is taken, but the file may be busy.
    # https://github.com/OneDrive/onedrive-api-docs/issues/1415
    adding = refusal.call.operation == "upload file" and not refusal.idempotent
    if creating or adding or refusal.has_code(*_NAME_IS_TAKEN):
        return NameTaken(f"OneDrive has the name of {what} already: {refusal.words}", call=refusal.call)
    return TryAgain(f"OneDrive is busy with {what}: {refusal.words}", call=refusal.call)


def _drive_is_full(refusal: Refusal) -> AppError:
    return NeedsPerson(
        f"The OneDrive is full, '{refusal.call.operation}' was refused: {refusal.words}. Make room or raise the quota",
        call=refusal.call,
    )


def _no_such_drive(refusal: Refusal, *, drive: str) -> AppError | None:
    if refusal.status in (400, 404):
        return NeedsPerson(
            f"OneDrive has no drive '{drive}': {refusal.words}. Check the drive in the settings; a user's drive exists "
            "only once the user has opened OneDrive",
            call=refusal.call,
        )
    return _meaning(refusal, what=f"drive '{drive}'")


def _session_meaning(refusal: Refusal, *, name: str) -> AppError | None:
    match refusal.status:
        case 404 | 410:
            return TryAgain(
                f"The upload session of '{name}' is gone ({refusal.words}). The upload starts again from new",
                call=refusal.call,
            )
        case 401 | 403 if not refusal.has_code(*_DRIVE_FULL, *_MALWARE):
            # The key in the URL ends before the session does.
            # https://github.com/abraunegg/onedrive/issues/3355
            return TryAgain(
                f"The upload session of '{name}' has expired ({refusal.words}). The upload starts again from new",
                call=refusal.call,
            )
        case 409 if refusal.has_code(*_NAME_IS_TAKEN):
            return NameTaken(f"OneDrive has a file '{name}' already: {refusal.words}", call=refusal.call)
        case 409:
            return _Conflict(f"OneDrive is busy with the upload of '{name}': {refusal.words}", call=refusal.call)
        case _:
            return _meaning_for_file(refusal, what=f"'{name}'", name=name)


def _next_position(status: Mapping[str, Any], *, otherwise: int) -> int:
    """Return the start of the first expected range: ``["26-"]`` and ``["26-99"]`` both occur."""
    ranges = status.get("nextExpectedRanges")
    if isinstance(ranges, list) and ranges:
        start = str(ranges[0]).partition("-")[0]
        if start.isascii() and start.isdigit() and len(start) <= _LONGEST_POSITION:
            return int(start)
    return otherwise


def _drive_item(wire: Mapping[str, Any]) -> DriveItem:
    """Take a driveItem apart; unknown and missing properties are tolerated, a missing id is not.

    https://learn.microsoft.com/graph/api/resources/driveitem
    """
    file = _object(wire, "file")
    download = _text(wire, "@microsoft.graph.downloadUrl") or _text(wire, "@content.downloadUrl")
    size = wire.get("size")
    is_elsewhere = wire.get("remoteItem") is not None  # a shortcut to another drive
    return DriveItem(
        item_id=_text(wire, "id") or _incomplete("get item"),
        name=_text(wire, "name"),
        size_bytes=size if isinstance(size, int) else 0,
        etag=_text(wire, "eTag"),
        parent_id=_text(_object(wire, "parentReference"), "id"),
        last_modified=_time(wire.get("lastModifiedDateTime")),
        quick_xor_hash=_text(_object(file, "hashes"), "quickXorHash") or None,
        download_url=keyed_link(download),
        is_file=wire.get("file") is not None and not is_elsewhere,
        is_folder=wire.get("folder") is not None and not is_elsewhere,
        has_malware=wire.get("malware") is not None,
        is_pending=bool(wire.get("pendingOperations")) or file.get("processingMetadata") is True,
        web_url=_text(wire, "webUrl"),
    )


def _incomplete(operation: str) -> NoReturn:
    raise TryAgain(f"Microsoft Graph left the most important part out of its answer to '{operation}'")


def _text(wire: Mapping[str, Any], key: str) -> str:
    value = wire.get(key)
    return value if isinstance(value, str) else ""


def _object(wire: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = wire.get(key)
    return value if isinstance(value, dict) else {}


def _objects(wire: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    value = wire.get(key)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _time(value: object) -> datetime:
    """Return the moment in UTC. Observed: fractions of a second in some places, null or the year 1 in others."""
    if not isinstance(value, str):
        return _UNKNOWN_TIME
    try:
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # OverflowError: the year 1 east of Greenwich
        return _UNKNOWN_TIME


def _item(item_id: str) -> str:
    return f"items/{_encoded([item_id])}"


def _encoded(segments: Iterable[str]) -> str:
    """Return the path percent-encoded segment by segment: '#', '%', '+' and blanks are ordinary letters in names."""
    return "/".join(path_segment(segment) for segment in segments)


def _segments(path: str) -> list[str]:
    segments = [segment for segment in re.split(r"[/\\]", path) if segment]
    if any(segment in {".", ".."} for segment in segments):
        raise NeedsPerson(f"'{path}' is not a folder that OneDrive can have. Check the folders in the settings")
    return segments


def _require_usable_name(name: str) -> None:
    """Raise FileRejected for a name that would mean something else in a URL of Graph's colon syntax."""
    if not name or name in {".", ".."} or not _NOT_IN_NAMES.isdisjoint(name):
        fault = _name_fault(name) or "it means a folder"
        raise FileRejected(f"OneDrive cannot have the name '{name}': {fault}. {_better_name('upload file')}")


def _name_fault(name: str) -> str:
    """Return what Microsoft's rules have against a name, "" for nothing: they do not name all that OneDrive refuses.

    Asked only of a name that OneDrive has refused, because it takes some that the rules forbid.
    https://support.microsoft.com/office/restrictions-and-limitations-in-onedrive-and-sharepoint-64883a5d-228e-48f5-b3d2-eb39e07630fa
    """
    folded = name.casefold()
    if not name:
        return "it is empty"
    if len(name) > _LONGEST_NAME:
        return f"it has more than {_LONGEST_NAME} characters"
    if any(letter in _NOT_IN_NAMES or ord(letter) < 32 for letter in name):
        return 'it has one of " * : < > ? / \\ | or a control character'
    if name != name.strip(" ") or name.endswith("."):
        return "it begins or ends with a blank, or ends with a dot"
    if folded in _RESERVED_NAMES or "_vti_" in folded or name.startswith("~$"):
        return "it is reserved"
    return ""


def _require_folder(item: DriveItem, path: str) -> None:
    if not item.is_folder:
        raise NeedsPerson(
            f"'{path}' cannot be a folder: OneDrive has something else by the name '{item.name}'. "
            "Rename that, or use another folder in the settings"
        )


def _same_name(one: str, other: str) -> bool:
    """Return whether OneDrive takes both for one name: case does not count."""
    return unicodedata.normalize("NFC", one).casefold() == unicodedata.normalize("NFC", other).casefold()
