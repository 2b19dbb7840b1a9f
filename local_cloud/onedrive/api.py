"""The routes of Microsoft Graph that the simulator knows; any other is refused and written down.

https://learn.microsoft.com/graph/api/resources/onedrive. Requests are read here, and nothing is decided: rules about
files are in drive.py, about uploads in uploads.py, about subscriptions in subscriptions.py.
"""

import asyncio
import base64
import json
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlencode

from aiohttp import web

from local_cloud.onedrive import delta
from local_cloud.onedrive.address import Address, parse
from local_cloud.onedrive.content import Content, Operation
from local_cloud.onedrive.drive import Drive, check_match, conflict_behavior
from local_cloud.onedrive.errors import GraphError, Misuse, item_not_found, locked, misuse
from local_cloud.onedrive.item import Item
from local_cloud.onedrive.knobs import Knobs
from local_cloud.onedrive.links import Links
from local_cloud.onedrive.mail import Mail, mail_of
from local_cloud.onedrive.notifications import Notifier
from local_cloud.onedrive.shapes import DOWNLOAD_URL, Shapes, selected, times_of
from local_cloud.onedrive.subscriptions import CREATE_FIELDS, UPDATE_FIELDS, Subscriptions
from local_cloud.onedrive.uploads import Target, Uploads
from local_cloud.onedrive.wire import (
    CONFLICT,
    body_blocks,
    fields_of,
    if_match,
    json_answer,
    json_body,
    known_query,
    options,
    text_of,
    utc_text,
)
from local_cloud.tokens import Claims, TokenDesk, TokenRefused

VERSION: Final = re.compile(r"/(?:v1\.0|v2\.0)/+")  # v2.0 is how rclone's tenant_url calls the same
OWNER: Final = r"(?:(?P<me>me)|users/(?P<user>[^/:]+))"
DRIVE: Final = rf"(?:drives/(?P<drive>[^/:]+)|{OWNER}/drive)"
PARENT_FIELDS: Final = ("id", "driveId", "driveType", "path")
OLD_CONFLICT: Final = "@name.conflictBehavior"  # an older spelling that rclone and abraunegg's onedrive send
ITEM_OF_SESSION: Final = (CONFLICT, OLD_CONFLICT, "name", "description", "fileSize", "fileSystemInfo")
MOST_ON_A_PAGE: Final = 1000
MAY_WRITE: Final = frozenset({"Files.ReadWrite.All", "Sites.ReadWrite.All", "Sites.FullControl.All"})
MAY_READ: Final = frozenset({"Files.Read.All", "Sites.Read.All"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request with what has been found out about it."""

    request: web.Request
    claims: Claims
    parts: Mapping[str, str | None]  # of the route

    @property
    def by(self) -> str:
        """Who asks, as in Item.checked_out_by."""
        return self.claims.user or self.claims.app_id

    @property
    def query(self) -> Mapping[str, str]:
        return options(self.request.query)


type Route = Callable[[Asked], Awaitable[web.Response]]


class Api:
    """The handlers of the API port."""

    def __init__(
        self,
        *,
        drive: Drive,
        knobs: Knobs,
        links: Links,
        shapes: Shapes,
        uploads: Uploads,
        content: Content,
        subscriptions: Subscriptions,
        notifier: Notifier,
        desk: TokenDesk,
        users: frozenset[str] | None,
    ) -> None:
        """users: who has a drive and a mailbox; None: anyone."""
        self.mails: list[Mail] = []
        self.audience = ""  # what tokens must be for, set when the port is known
        self._drive = drive
        self._knobs = knobs
        self._links = links
        self._shapes = shapes
        self._uploads = uploads
        self._content = content
        self._subscriptions = subscriptions
        self._notifier = notifier
        self._desk = desk
        self._users = users
        self._copies: set[asyncio.Task[None]] = set()
        self._routes: list[tuple[re.Pattern[str], dict[str, Route]]] = [
            (re.compile(r"subscriptions"), {"GET": self._list_subscriptions, "POST": self._create_subscription}),
            (
                re.compile(r"subscriptions/(?P<id>[^/]+)"),
                {
                    "GET": self._get_subscription,
                    "PATCH": self._update_subscription,
                    "DELETE": self._delete_subscription,
                },
            ),
            (re.compile(r"subscriptions/(?P<id>[^/]+)/reauthorize"), {"POST": self._reauthorize_subscription}),
            (re.compile(rf"{OWNER}/sendMail"), {"POST": self._send_mail}),
            (re.compile(rf"{OWNER}/drives"), {"GET": self._list_drives}),
            (re.compile(DRIVE), {"GET": self._get_drive}),
            (
                re.compile(rf"{DRIVE}/(?P<address>(?:root|items/).*)", re.DOTALL),
                dict.fromkeys(("GET", "POST", "PUT", "PATCH", "DELETE"), self._item),
            ),
        ]
        self._actions: dict[tuple[str, str], Callable[[Asked, Address], Awaitable[web.Response]]] = {
            ("GET", ""): self._get_item,
            ("PATCH", ""): self._change_item,
            ("DELETE", ""): self._delete_item,
            ("GET", "children"): self._list_children,
            ("POST", "children"): self._create_folder,
            ("GET", "content"): self._redirect_to_content,
            ("PUT", "content"): self._put_content,
            ("POST", "createUploadSession"): self._create_upload_session,
            ("POST", "copy"): self._copy_item,
            ("POST", "checkin"): self._check_in,
            ("POST", "checkout"): self._check_out,
            ("GET", "delta"): self._delta,
        }

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer any request of the API."""
        # Decoded as a whole before it is taken apart: msgraph-sdk sends items/{id}%3A%2Fname%3A/content, and no name
        # holds a slash or a colon.
        path = unquote(request.rel_url.raw_path, errors="surrogateescape")
        version = VERSION.match(path)
        if version is None:
            raise misuse("Invalid version.", code="BadRequest")
        claims = self._claims(request)
        for pattern, methods in self._routes:
            match = pattern.fullmatch(path[version.end() :].rstrip("/"))
            if match is None:
                continue
            if request.method not in methods:
                raise _not_allowed(request)
            self._check_permission(claims, request.method, path[version.end() :])
            return await methods[request.method](Asked(request=request, claims=claims, parts=match.groupdict()))
        raise misuse(f"Resource not found for the segment '{path[version.end() :]}'.", code="BadRequest")

    def _claims(self, request: web.Request) -> Claims:
        header = request.headers.get("Authorization")
        challenge = {
            "WWW-Authenticate": 'Bearer realm="", authorization_uri="https://login.microsoftonline.com/common"'
        }
        if header is None:
            raise Misuse(401, "InvalidAuthenticationToken", "Access token is empty.", headers=challenge)
        try:
            return self._desk.check(header, self.audience)
        except TokenRefused as refused:
            raise GraphError(401, "InvalidAuthenticationToken", refused.reason, headers=challenge) from None

    def _check_permission(self, claims: Claims, method: str, path: str) -> None:
        """Refuse what an app has no permission for. https://learn.microsoft.com/graph/permissions-reference"""
        if claims.permissions is None:
            return
        if path.endswith("/sendMail"):
            enough = frozenset({"Mail.Send"})
        elif path.startswith("subscriptions") or method != "GET":
            # https://learn.microsoft.com/graph/api/subscription-post-subscriptions#permissions
            enough = MAY_WRITE
        else:
            enough = MAY_WRITE | MAY_READ
        selected = "Sites.Selected" in claims.permissions and self._knobs.sites_selected_is_granted
        if enough.isdisjoint(claims.permissions) and not (selected and "Mail.Send" not in enough):
            raise GraphError(403, "accessDenied", "Access denied")

    # Drives and mail

    async def _get_drive(self, asked: Asked) -> web.Response:
        self._check_drive(asked)
        known_query(asked.query, "$select")
        return json_answer(200, await asyncio.to_thread(self._shapes.drive))

    async def _list_drives(self, asked: Asked) -> web.Response:
        self._check_owner(asked)
        known_query(asked.query, "$select")
        return json_answer(200, {"value": [await asyncio.to_thread(self._shapes.drive)]})

    async def _send_mail(self, asked: Asked) -> web.Response:
        self._check_owner(asked)
        known_query(asked.query)
        # Observed: msgraph-sdk sends these two with a capital, as Graph's metadata spells an action's parameters.
        body = await json_body(asked.request, ("message", "saveToSentItems", "Message", "SaveToSentItems"))
        body = {name[0].lower() + name[1:]: value for name, value in body.items()}
        self.mails.append(mail_of(body, asked.parts["user"] or asked.claims.user or ""))
        return json_answer(202)

    def _check_owner(self, asked: Asked) -> None:
        """Raise GraphError when the address begins with a person that is not there."""
        if asked.parts.get("me") and asked.claims.user is None:
            raise GraphError(400, "BadRequest", "/me request is only valid with delegated authentication flow.")
        user = asked.parts.get("user")
        if user is not None and not self._is_known(user):
            raise GraphError(404, "ResourceNotFound", "User not found")

    def _check_drive(self, asked: Asked) -> None:
        self._check_owner(asked)
        if not self._is_the_drive(asked.parts):
            raise item_not_found("The drive could not be found.")

    def _is_known(self, user: str) -> bool:
        return self._users is None or user.casefold() in {each.casefold() for each in self._users}

    def _is_the_drive(self, parts: Mapping[str, str | None]) -> bool:
        user = parts.get("user")
        return parts.get("drive") in (None, self._drive.drive_id) and (user is None or self._is_known(user))

    # Subscriptions

    async def _create_subscription(self, asked: Asked) -> web.Response:
        known_query(asked.query)
        body = await json_body(asked.request, CREATE_FIELDS)
        created = await self._subscriptions.create(
            body,
            app_id=asked.claims.app_id,
            user=asked.claims.user,
            is_drive_root=self._is_drive_root,
            session=self._notifier.session,
        )
        return json_answer(201, {**self._subscription_context(), **created.to_json()})

    async def _list_subscriptions(self, asked: Asked) -> web.Response:
        known_query(asked.query)
        alive = self._subscriptions.alive(app_id=asked.claims.app_id)
        # A list does not tell clientStates: https://learn.microsoft.com/graph/api/subscription-list#response-1
        found = [{**each.to_json(), "clientState": None} for each in alive]
        return json_answer(200, {"@odata.context": f"{self._shapes.graph_url}/$metadata#subscriptions", "value": found})

    async def _get_subscription(self, asked: Asked) -> web.Response:
        found = self._subscriptions.get(asked.parts["id"] or "", app_id=asked.claims.app_id)
        return json_answer(200, {**self._subscription_context(), **found.to_json()})

    async def _update_subscription(self, asked: Asked) -> web.Response:
        body = await json_body(asked.request, UPDATE_FIELDS)
        updated = await self._subscriptions.update(
            asked.parts["id"] or "", body, app_id=asked.claims.app_id, session=self._notifier.session
        )
        return json_answer(200, {**self._subscription_context(), **updated.to_json()})

    async def _delete_subscription(self, asked: Asked) -> web.Response:
        self._subscriptions.delete(asked.parts["id"] or "", app_id=asked.claims.app_id)
        return json_answer(204)

    async def _reauthorize_subscription(self, asked: Asked) -> web.Response:
        self._subscriptions.get(asked.parts["id"] or "", app_id=asked.claims.app_id)
        return json_answer(204)

    def _is_drive_root(self, resource: str) -> bool:
        """Say whether a subscription's resource is the root of the drive."""
        match = re.fullmatch(rf"{DRIVE}/root", resource)
        return match is not None and self._is_the_drive(match.groupdict())

    def _subscription_context(self) -> dict[str, object]:
        return {"@odata.context": f"{self._shapes.graph_url}/$metadata#subscriptions/$entity"}

    # Items

    async def _item(self, asked: Asked) -> web.Response:
        self._check_drive(asked)
        address = parse(asked.parts["address"] or "")
        action = self._actions.get((asked.request.method, address.action))
        if action is None:
            if any(known == address.action for _method, known in self._actions):
                raise _not_allowed(asked.request)
            raise misuse(f"Resource not found for the segment '{address.action}'.", code="BadRequest")
        return await action(asked, address)

    def _find(self, address: Address) -> Item:
        return self._drive.find(address.item_id or self._drive.root_id, address.names)

    async def _get_item(self, asked: Asked, address: Address) -> web.Response:
        known_query(asked.query, "$select")
        select = selected(asked.query)

        def get() -> dict[str, object]:
            item = self._find(address)
            self._drive.look_into(item)
            return self._shapes.whole(item, select=select)

        return json_answer(200, await asyncio.to_thread(get))

    async def _change_item(self, asked: Asked, address: Address) -> web.Response:
        known_query(asked.query, "$select")
        body = await json_body(asked.request, ("name", "parentReference", "fileSystemInfo", "description"))
        name, times, match = text_of(body, "name"), times_of(body), if_match(asked.request)
        parent_id = self._parent_id(body)

        def change() -> dict[str, object]:
            item = self._find(address)
            changed = self._drive.change(
                item.item_id, parent_id=parent_id, name=name, times=times, if_match=match, by=asked.by
            )
            shown = self._shapes.whole(changed, select=selected(asked.query))
            if not self._knobs.changes_tell_download_url:
                shown.pop(DOWNLOAD_URL, None)
            return shown

        return json_answer(200, await asyncio.to_thread(change))

    async def _delete_item(self, asked: Asked, address: Address) -> web.Response:
        known_query(asked.query)
        match = if_match(asked.request)
        await asyncio.to_thread(lambda: self._drive.delete(self._find(address).item_id, if_match=match, by=asked.by))
        return json_answer(204)

    async def _check_in(self, asked: Asked, address: Address) -> web.Response:
        known_query(asked.query)
        body = await json_body(asked.request, ("comment", "checkInAs"))
        text_of(body, "comment")
        if text_of(body, "checkInAs") not in (None, "published", "unspecified"):
            raise misuse("checkInAs is neither published nor unspecified.")
        await asyncio.to_thread(lambda: self._drive.check_in(self._find(address).item_id, asked.by))
        return json_answer(204)

    async def _check_out(self, asked: Asked, address: Address) -> web.Response:
        known_query(asked.query)
        await json_body(asked.request, (), may_be_empty=True)
        await asyncio.to_thread(lambda: self._drive.check_out(self._find(address).item_id, asked.by))
        return json_answer(204)

    async def _list_children(self, asked: Asked, address: Address) -> web.Response:
        known_query(asked.query, "$top", "$select", "$orderby", "$skiptoken")
        self._refuse_listing_of_locked_site()
        size, select = self._page_size(asked), selected(asked.query)
        is_descending = _order(asked.query.get("$orderby"))
        after = None if "$skiptoken" not in asked.query else _place_of(asked.query["$skiptoken"])

        def page() -> dict[str, object]:
            folder = self._find(address)
            listed = self._drive.children(folder.item_id)
            if is_descending:
                listed.reverse()
            rest = [item for item in listed if after is None or _is_after(item, after, is_descending)]
            value = [self._shapes.item(item, select=select) for item in rest[:size]]
            drive = f"drives('{self._drive.drive_id}')"
            shown: dict[str, object] = {
                "@odata.context": f"{self._shapes.graph_url}/$metadata#{drive}/items('{folder.item_id}')/children",
                "value": value,
            }
            if len(rest) > size:
                shown["@odata.nextLink"] = self._next_link(asked, "$skiptoken", _place(rest[size - 1]))
            return shown

        return json_answer(200, await asyncio.to_thread(page))

    async def _create_folder(self, asked: Asked, address: Address) -> web.Response:
        known_query(asked.query)
        body = await json_body(asked.request, ("name", "folder", CONFLICT, OLD_CONFLICT, "fileSystemInfo"))
        fields_of(body.get("folder"), ("childCount",), "folder")
        name = text_of(body, "name")
        if name is None:
            raise misuse("A folder needs a name.")
        # Assumed: fail when nothing is said; the documentation gives a default for PUT only.
        conflict = conflict_behavior(text_of(body, CONFLICT) or text_of(body, OLD_CONFLICT), "fail")

        def create() -> tuple[int, dict[str, object]]:
            folder, is_new = self._drive.create_folder(self._find(address).item_id, name, conflict)
            return 201 if is_new else 200, self._shapes.whole(folder)

        status, shown = await asyncio.to_thread(create)
        return json_answer(status, None if self._knobs.empty_create_body else shown)

    async def _redirect_to_content(self, asked: Asked, address: Address) -> web.Response:
        known_query(asked.query, "AVOverride")  # abraunegg's onedrive asks so for what a virus scan holds back
        item = await asyncio.to_thread(self._find, address)
        if item.is_folder:
            raise misuse("You cannot get content for a folder.")
        if asked.request.headers.get("If-None-Match") in (item.etag, item.ctag):
            return json_answer(304)
        link = self._links.download(item.guid, self._knobs.download_url_life_s)
        return json_answer(302, None, {"Location": link})

    async def _put_content(self, asked: Asked, address: Address) -> web.Response:
        known_query(asked.query, CONFLICT)
        conflict = conflict_behavior(asked.query.get(CONFLICT), "replace")
        target = await asyncio.to_thread(self._target, asked, address, conflict)
        item, is_new = await self._uploads.store_small(target, body_blocks(asked.request))
        return json_answer(201 if is_new else 200, await asyncio.to_thread(self._shapes.whole, item))

    async def _create_upload_session(self, asked: Asked, address: Address) -> web.Response:
        known_query(asked.query)
        body = await json_body(asked.request, ("item", "deferCommit"), may_be_empty=True)
        said = fields_of(body.get("item") or {}, ITEM_OF_SESSION, "item")
        size, waits = said.get("fileSize"), body.get("deferCommit", False)
        if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 0):
            raise misuse("fileSize is not a number of bytes.")
        if not isinstance(waits, bool):
            raise misuse("deferCommit is not a boolean.")
        # https://github.com/microsoftgraph/microsoft-graph-docs-contrib/issues/19010: documented as fail, but replaces
        conflict = conflict_behavior(text_of(said, CONFLICT) or text_of(said, OLD_CONFLICT), "replace")

        def create() -> dict[str, object]:
            target = self._target(asked, address, conflict)
            if (text_of(said, "name") or target.name) != target.name:
                raise misuse("The name in the body is not the one in the address.")
            target = Target(
                parent_id=target.parent_id,
                name=target.name,
                conflict=conflict,
                if_match=target.if_match,
                times=times_of(said),
                by=asked.by,
            )
            session = self._uploads.create(target, declared_bytes=size, waits_for_commit=waits)
            return {
                "@odata.context": f"{self._shapes.graph_url}/$metadata#microsoft.graph.uploadSession",
                "uploadUrl": self._links.upload(session.session_id, 24 * 3600),  # tempauth lives up to 24 h
                "expirationDateTime": utc_text(session.expires_s),
                "nextExpectedRanges": ["0-"],
            }

        return json_answer(200, await asyncio.to_thread(create))

    async def _copy_item(self, asked: Asked, address: Address) -> web.Response:
        known_query(asked.query, CONFLICT)
        known = ("parentReference", "name", CONFLICT, "childrenOnly", "includeAllVersionHistory")
        body = await json_body(asked.request, known, may_be_empty=True)
        if body.get("childrenOnly"):
            raise misuse("childrenOnly is not simulated.")
        conflict = conflict_behavior(asked.query.get(CONFLICT) or text_of(body, CONFLICT), "fail")
        item = await asyncio.to_thread(self._find, address)
        parent_id = self._parent_id(body) or item.parent_id
        name = text_of(body, "name") or item.name
        await asyncio.to_thread(self._drive.check_place, parent_id, name)
        operation_id, operation = str(uuid.uuid4()), Operation("ItemCopy")
        self._content.operations[operation_id] = operation

        async def copy() -> None:
            await asyncio.sleep(self._knobs.copy_takes_s)
            try:
                copied = await asyncio.to_thread(self._drive.copy, item.item_id, parent_id, name, conflict, by=asked.by)
                operation.item_id = copied.item_id
            except GraphError as error:
                operation.error = error

        task = asyncio.get_running_loop().create_task(copy())
        self._copies.add(task)
        task.add_done_callback(self._copies.discard)
        return json_answer(202, None, {"Location": self._links.monitor(operation_id)})

    async def _delta(self, asked: Asked, address: Address) -> web.Response:
        known_query(asked.query, "token", "$top", "$select", "$expand")
        self._refuse_listing_of_locked_site()
        if address.item_id not in (None, self._drive.root_id) or address.names:
            raise GraphError(501, "notSupported", "view.delta can only be called on the root.")
        argument = re.fullmatch(r"(?:token='(?P<token>[^']*)')?", address.arguments)
        if argument is None:
            raise misuse("delta takes one argument: token.", code="BadRequest")
        text = argument["token"] or asked.query.get("token")
        if text and text != "latest" and self._knobs.resync_delta:
            raise delta.resync(self._delta_link(asked, None))

        def page() -> dict[str, object]:
            if text == "latest":
                found = delta.Page(items=[], next=delta.Token(after=self._drive.visible_sequence()), is_last=True)
            else:
                token = delta.Token.parse(text) if text else delta.Token(after=0)
                found = delta.page(self._drive, token, self._page_size(asked))
            return {
                "@odata.context": f"{self._shapes.graph_url}/$metadata#Collection(driveItem)",
                "value": [self._shapes.change(item) for item in found.items],
                f"@odata.{'deltaLink' if found.is_last else 'nextLink'}": self._delta_link(asked, found.next),
            }

        return json_answer(200, await asyncio.to_thread(page))

    # Parts of the above

    def _refuse_listing_of_locked_site(self) -> None:
        if self._knobs.site_is_locked:
            raise locked("resourceLocked")

    def _target(self, asked: Asked, address: Address, conflict: str) -> Target:
        """Return where an upload to this address appears: beside its last name, or in place of the item it names."""
        match = if_match(asked.request)
        if address.names:
            parent = self._drive.find(address.item_id or self._drive.root_id, address.names[:-1])
            return Target(
                parent_id=parent.item_id, name=address.names[-1], conflict=conflict, if_match=match, by=asked.by
            )
        item = self._find(address)
        if item.is_folder:
            raise misuse("The content of a folder cannot be replaced.")
        check_match(item, match)
        return Target(parent_id=item.parent_id, name=item.name, conflict="replace", if_match=match, by=asked.by)

    def _parent_id(self, body: Mapping[str, object]) -> str | None:
        """Return the folder that a parentReference names, None when there is none. Raises GraphError 400."""
        if body.get("parentReference") is None:
            return None
        parent = fields_of(body["parentReference"], PARENT_FIELDS, "parentReference")
        if text_of(parent, "driveId") not in (None, self._drive.drive_id):
            raise GraphError(400, "invalidRequest", "Items cannot be moved to another drive.")
        parent_id = text_of(parent, "id")
        if parent_id == "root":
            raise misuse("The parent must be the id of a real folder, not the alias root.")
        if parent_id is None:
            raise misuse("parentReference needs an id.")
        return parent_id

    def _page_size(self, asked: Asked) -> int:
        top = asked.query.get("$top")
        if top is None:
            return self._knobs.page_size
        if not top.isdecimal() or not 0 < int(top) <= MOST_ON_A_PAGE:
            raise misuse(f"$top must be between 1 and {MOST_ON_A_PAGE}.", code="BadRequest")
        return min(int(top), self._knobs.page_size)

    def _next_link(self, asked: Asked, name: str, value: str) -> str:
        query = {**asked.query, name: value}
        return f"{self._shapes.graph_url.removesuffix('/v1.0')}{asked.request.rel_url.raw_path}?{urlencode(query)}"

    def _delta_link(self, asked: Asked, token: delta.Token | None) -> str:
        query = {name: asked.query[name] for name in ("$top", "$select") if name in asked.query}
        if token is not None:
            query["token"] = token.text()
        link = "/".join((self._shapes.graph_url, "drives", self._drive.drive_id, "root", "delta"))
        return f"{link}?{urlencode(query)}" if query else link


def _not_allowed(request: web.Request) -> Misuse:
    return misuse(f"The method {request.method} is not allowed here.", status=405, code="notAllowed")


def _order(text: str | None) -> bool:
    """Return whether $orderby asks for descending names. Raises Misuse: business drives order by name or url only."""
    match (text or "name").split():
        case ["name" | "url"] | ["name" | "url", "asc"]:
            return False
        case ["name" | "url", "desc"]:
            return True
    raise misuse(f"$orderby={text} is not supported.")


def _place(item: Item) -> str:
    """Return the opaque token for "after this item"; it holds whatever comes and goes meanwhile."""
    return base64.urlsafe_b64encode(json.dumps([item.name.casefold(), item.item_id]).encode()).decode()


def _place_of(token: str) -> tuple[str, str]:
    try:
        name, item_id = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, TypeError):
        raise misuse("The $skiptoken is not valid.", code="BadRequest") from None
    return str(name), str(item_id)


def _is_after(item: Item, place: tuple[str, str], is_descending: bool) -> bool:
    here = (item.name.casefold(), item.item_id)
    return here < place if is_descending else here > place
