"""One drive through Microsoft Graph: list, get, move, upload, check in. Bytes of downloads are ``blobs/read.py``'s.

Items are addressed by id wherever there is one: ids never change within a drive, while a read by path can lag minutes
behind a change.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from functools import partial
from http import HTTPStatus
from typing import Final
from urllib.parse import urljoin

from shared.clients.graph.drive_item import (
    DriveItem,
    object_in,
    objects_in,
    parse_drive_item,
    raise_incomplete,
    text_in,
)
from shared.clients.graph.names import encode_path, is_same_name, item_path, require_usable_name, split_path
from shared.clients.graph.refusals import (
    map_check_in_error,
    map_drive_error,
    map_file_error,
    map_folder_error,
    map_publication_error,
)
from shared.clients.graph.upload import UploadSession
from shared.clients.http.client import Http, Response, json_object
from shared.clients.http.errors import MapError
from shared.clients.http.links import next_page, required_link
from shared.errors import (
    AppError,
    ItemChanged,
    NameTaken,
    NeedsPerson,
    NotFound,
    Refused,
)
from shared.log import log
from shared.secret import SecretUrl

_PAGE: Final = 200  # items a page, Graph's own default


# What Graph answers if the content is to be had elsewhere: 302, as documented, and its kin.
# https://learn.microsoft.com/graph/api/driveitem-get-content#response
_ELSEWHERE: Final = frozenset({301, 302, 303, 307, 308})


# The level of an item that is checked out. Observed, in 2019: to an app Graph tells only what apps have checked out.
# https://github.com/microsoftgraph/microsoft-graph-docs-contrib/issues/6407
_CHECKED_OUT: Final = "checkout"


# Stands beside the version in its history.
_CHECK_IN_COMMENT: Final = "Checked in by the app that moves files between this library and Dynamics 365 F&O"


class OneDrive:
    """One drive, through one Graph identity."""

    def __init__(self, graph_url: str, drive: str, http: Http, uploads: Http) -> None:
        """graph_url: with its version, such as ``https://graph.microsoft.com/v1.0``.

        drive: ``drives/b!...``, ``users/someone@example.com/drive`` or ``me/drive``.
        http: with the identity's token; uploads: without a token, for pre-authenticated URLs.
        """
        self._drive = drive.strip("/")
        self._drive_url = f"{graph_url.rstrip('/')}/{encode_path(self._drive.split('/'))}"
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
        answer = self._call("GET", "", "get drive", map_error=partial(map_drive_error, drive=self._drive))
        return text_in(json_object(answer), "id") or raise_incomplete("get drive")

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
        map_error = partial(map_file_error, what=f"item {item_id}")
        return parse_drive_item(
            json_object(self._call("GET", f"/{item_path(item_id)}", "get item", map_error=map_error))
        )

    def content_url(self, item_id: str) -> SecretUrl:
        """Return where the content of a file that tells no download URL is to be had, without our token.

        Observed: Graph leaves the URL out for good where a label, Conditional Access or an unmanaged device limits what
        may be downloaded. https://github.com/SharePoint/sp-dev-docs/issues/5715
        Raises what ``get`` raises.
        """
        answer = self._call(
            "GET",
            f"/{item_path(item_id)}/content",
            "get content",
            stream=True,  # should the content itself come, it is not read
            ok=(HTTPStatus.OK, *_ELSEWHERE),
            map_error=partial(map_file_error, what=f"item {item_id}"),
        )
        with closing(answer):
            location = answer.headers.get("Location", "") if answer.status in _ELSEWHERE else ""
        try:
            link = location and urljoin(answer.url, location)
        except ValueError:
            link = ""
        return required_link(link, service="Microsoft Graph", what="the content of a file", setting="GRAPH_URL")

    def is_checked_out(self, item_id: str) -> bool:
        """Return whether the item is checked out, as far as this identity can see; False if the drive cannot tell.

        Raises NotFound, NeedsPerson, TryAgain.
        """
        map_error = partial(map_publication_error, what=f"item {item_id}")
        try:
            # Not in the usual answers: https://learn.microsoft.com/graph/api/resources/driveitem#properties
            answer = self._call(
                "GET", f"/{item_path(item_id)}?$select=id,publication", "get publication", map_error=map_error
            )
        except Refused as error:
            log.info("item.no_publication", item_id=item_id, reason=error.message)  # a personal OneDrive, say
            return False
        return text_in(object_in(json_object(answer), "publication"), "level").casefold() == _CHECKED_OUT

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
                f"/{item_path(item_id)}/checkin",
                "check in",
                json={"checkInAs": "published", "comment": _CHECK_IN_COMMENT},
                ok=(HTTPStatus.NO_CONTENT,),  # a page of a proxy's is none
                map_error=partial(map_check_in_error, what=f"item {item_id}"),
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
        segments = split_path(path)
        where = f"/root:/{encode_path(segments)}" if segments else "/root"
        try:
            map_error = partial(map_folder_error, what=f"'{path}'")
            answer = self._call("GET", where, "get item by path", map_error=map_error)
        except NotFound:
            return None
        item = parse_drive_item(json_object(answer))
        # Observed: a read by path can return another item than the one that was asked for.
        return item if not segments or is_same_name(item.name, segments[-1]) else None

    def ensure_folder(self, path: str) -> DriveItem:
        """Return the folder at the path; create it and every missing folder above it.

        Safe against others who do the same at the same moment.
        Raises NeedsPerson where a file has that name or the path is not possible; NotFound while a folder that was
        just created is not yet to be seen by Graph itself; TryAgain.
        """
        folder = self.find(path)
        if folder is None:
            segments = split_path(path)
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
            f"/{item_path(item_id)}",
            "move item",
            headers={"If-Match": etag} if etag else None,
            json={"parentReference": {"id": to_folder_id}, "name": name},
            map_error=partial(map_file_error, what=f"'{name}' (item {item_id})", name=name),
        )
        return parse_drive_item(json_object(answer))

    def delete(self, item_id: str) -> None:
        """Put an item into the drive's recycle bin; one that is gone already is as good.

        Raises ItemLocked, Refused, NeedsPerson, TryAgain.
        """
        map_error = partial(map_file_error, what=f"item {item_id}")
        try:
            self._call("DELETE", f"/{item_path(item_id)}", "delete item", map_error=map_error)
        except NotFound:
            log.info("item.gone", item_id=item_id)

    def upload_small(self, folder_id: str, name: str, content: bytes, *, replace: bool) -> DriveItem:
        """Write a small file (up to 250 MB; the only way for an empty one) into a folder in one request.

        Raises NameTaken unless it may replace; AnswerLost (only without replace: look for the name before trying
        again); FileRejected if OneDrive cannot have the name or its path is too long; Refused (the rules of the
        library, no permission); ItemLocked, NotFound, NeedsPerson, TryAgain.
        """
        require_usable_name(name)
        behavior = "replace" if replace else "fail"
        answer = self._call(
            "PUT",
            f"/{item_path(folder_id)}:/{encode_path([name])}:/content?@microsoft.graph.conflictBehavior={behavior}",
            "upload file",
            headers={"Content-Type": "application/octet-stream"},
            data=content,
            idempotent=replace,
            map_error=partial(map_file_error, what=f"'{name}'", name=name),
        )
        return parse_drive_item(json_object(answer))

    def open_upload(self, folder_id: str, name: str, size_bytes: int) -> "UploadSession":
        """Begin to upload a file of at least one byte; nobody sees it before its last byte has arrived.

        An open session keeps the name: cancel it when it is abandoned.
        Raises NameTaken (a file of that name, or another session for it); FileRejected if OneDrive cannot have the name
        or its path is too long; Refused (the rules of the library, no permission); NotFound, NeedsPerson (also: no
        space left), TryAgain.
        """
        if size_bytes < 1:
            raise ValueError("an upload session takes at least one byte; use upload_small")
        require_usable_name(name)
        answer = self._call(
            "POST",
            f"/{item_path(folder_id)}:/{encode_path([name])}:/createUploadSession",
            "create upload session",
            # Without the behaviour OneDrive replaces, whatever its documentation says.
            # https://github.com/microsoftgraph/microsoft-graph-docs-contrib/issues/19010
            json={"item": {"@microsoft.graph.conflictBehavior": "fail", "name": name, "fileSize": size_bytes}},
            map_error=partial(map_file_error, what=f"'{name}'", name=name),
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
        map_error: MapError,
        headers: Mapping[str, str] | None = None,
        json: object | None = None,
        data: bytes | None = None,
        idempotent: bool = True,
        stream: bool = False,
        ok: Collection[int] = (200, 201, 202, 204),
    ) -> Response:
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
            map_error=map_error,
        )

    def _children(self, folder_id: str) -> Iterator[DriveItem]:
        map_error = partial(map_folder_error, what=f"folder {folder_id}")
        answer = self._call(
            "GET", f"/{item_path(folder_id)}/children?$top={_PAGE}", "list children", map_error=map_error
        )
        links: set[str] = set()
        while True:
            page = json_object(answer)
            # A page may be empty and still have a next one.
            yield from map(parse_drive_item, objects_in(page, "value"))
            what = f"folder {folder_id}"
            link = next_page(page, self._graph_url, links, service="Microsoft Graph", what=what, setting="GRAPH_URL")
            if not link:
                return
            answer = self._http.call("GET", link, operation="list children", idempotent=True, map_error=map_error)

    def _create_folder(self, parent: DriveItem, name: str) -> DriveItem:
        try:
            answer = self._call(
                "POST",
                f"/{item_path(parent.item_id)}/children",
                "create folder",
                json={"name": name, "folder": {}, "@microsoft.graph.conflictBehavior": "fail"},
                map_error=partial(map_folder_error, what=f"folder '{name}'"),
            )
        except NameTaken:
            return self._named_child(parent, name)
        # Observed: 201 with an empty body; the folder is there, and a second POST would only clash with it.
        return parse_drive_item(json_object(answer)) if answer.body else self._named_child(parent, name)

    def _named_child(self, parent: DriveItem, name: str) -> DriveItem:
        """Return the child by listing its parent, which is ahead of a read by path."""
        for child in self._children(parent.item_id):
            if is_same_name(child.name, name):
                return child
        raise NotFound(f"OneDrive has '{name}' in folder '{parent.name}' but does not list it yet")

    def _required_root(self) -> DriveItem:
        root = self.find("")
        if root is None:
            raise NeedsPerson(f"OneDrive has no drive '{self._drive}'. Check the drive in the settings")
        return root


def _require_folder(item: DriveItem, path: str) -> None:
    if not item.is_folder:
        raise NeedsPerson(
            f"'{path}' cannot be a folder: OneDrive already has another item named '{item.name}'. "
            "Rename it, or use another folder in the settings"
        )
