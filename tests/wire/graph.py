"""Microsoft Graph and OneDrive's pre-authenticated addresses, as Microsoft's reference describes what the app uses.

Written from the pages that each endpoint names, not from the app and not from the simulator. Fields that the reference
has and the app does not use stand here too where a person would try them; a field that is not here is a mistake.
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

from tests.wire.endpoints import OPAQUE, Endpoint, Proof, Request, Service
from tests.wire.shapes import (
    ADDRESS,
    DIGITS,
    FILLED,
    FLAG,
    MOMENT,
    NULL,
    OBJECT,
    TEXT,
    WHOLE,
    Fields,
    Octets,
    Scalar,
    Several,
    Shape,
    at_most,
    content_type,
    maybe,
    one_of,
)

_API: Final = "https://learn.microsoft.com/graph/api"

UNIT: Final = 320 * 1024  # bytes; each chunk but the last is a multiple of it
CHUNK_LIMIT: Final = 60 * 1024 * 1024  # bytes; a chunk is smaller

# https://learn.microsoft.com/graph/errors#http-status-codes: what any call may be answered with.
_ANY_CALL: Final = frozenset({400, 401, 403, 404, 429, 500, 503, 504, 509})

_REFUSAL: Final = Fields(
    required={
        "error": Fields(
            required={"code": TEXT, "message": TEXT},
            # Written in both ways, by Graph itself and in its documentation.
            optional={"innerError": OBJECT, "innererror": OBJECT, "details": Several(OBJECT), "target": TEXT},
        )
    }
)

_JSON: Final = {"content-type": content_type("application/json")}
_FILE: Final = {"content-type": FILLED}
_IF_MATCH: Final = {"if-match": Scalar("eTag or cTag with its quotes", lambda value: str(value).endswith('"'))}
_CONFLICT: Final = one_of("fail", "replace", "rename")

_IDENTITIES: Final = Fields(optional={"user": OBJECT, "application": OBJECT, "device": OBJECT})
_TIMES: Final = Fields(
    optional={"createdDateTime": MOMENT, "lastModifiedDateTime": MOMENT, "lastAccessedDateTime": MOMENT}
)
# "Percent-encoded path": https://learn.microsoft.com/graph/api/resources/itemreference
_ENCODED: Final = Scalar(
    "percent-encoded path",
    lambda value: (
        isinstance(value, str) and bool(re.fullmatch(r"(?:[\w/:!$&'()*+,;=@.~-]|%[0-9A-Fa-f]{2})*", value, re.A))
    ),
)
_PARENT: Final = Fields(
    optional={
        "driveId": TEXT,
        "driveType": one_of("personal", "business", "documentLibrary"),
        "id": TEXT,
        "name": TEXT,
        "path": _ENCODED,
        "shareId": TEXT,
        "sharepointIds": OBJECT,
        "siteId": TEXT,
    }
)
# https://learn.microsoft.com/graph/api/resources/file
_FILE_FACET: Final = Fields(
    optional={
        "mimeType": TEXT,
        "processingMetadata": FLAG,
        "hashes": Fields(optional={"quickXorHash": TEXT, "sha1Hash": TEXT, "sha256Hash": TEXT, "crc32Hash": TEXT}),
    }
)
# https://learn.microsoft.com/graph/api/resources/driveitem
_ITEM_FIELDS: Final[Mapping[str, Shape]] = {
    "@microsoft.graph.downloadUrl": ADDRESS,
    "@odata.etag": TEXT,
    "name": TEXT,
    "size": WHOLE,
    "eTag": TEXT,
    "cTag": TEXT,
    "createdDateTime": MOMENT,
    "lastModifiedDateTime": MOMENT,
    "webUrl": TEXT,
    "webDavUrl": TEXT,
    "createdBy": _IDENTITIES,
    "lastModifiedBy": _IDENTITIES,
    "parentReference": _PARENT,
    "file": _FILE_FACET,
    "folder": Fields(optional={"childCount": WHOLE, "view": OBJECT}),
    "root": OBJECT,
    "fileSystemInfo": _TIMES,
    "malware": Fields(optional={"description": TEXT}),
    "pendingOperations": Fields(optional={"pendingContentUpdate": Fields(optional={"queuedDateTime": MOMENT})}),
    "package": OBJECT,
    "remoteItem": OBJECT,
    "children": Several(OBJECT),  # with $expand
    "thumbnails": Several(OBJECT),
    "shared": OBJECT,
    "description": TEXT,
    "deleted": OBJECT,
    "image": OBJECT,
    "photo": OBJECT,
    "audio": OBJECT,
    "video": OBJECT,
    "location": OBJECT,
    "publication": OBJECT,
    "searchResult": OBJECT,
    "sharepointIds": OBJECT,
    "specialFolder": OBJECT,
    "bundle": OBJECT,
}
# https://learn.microsoft.com/graph/api/resources/publicationfacet
_PUBLICATION: Final = Fields(
    optional={"level": one_of("published", "checkout"), "versionId": TEXT, "checkedOutBy": _IDENTITIES}
)
_ITEM: Final = Fields(required={"id": FILLED}, optional=_ITEM_FIELDS)
_WHOLE_ITEM: Final = Fields(required={"id": FILLED}, optional={"@odata.context": ADDRESS, **_ITEM_FIELDS})
_LINK_FIELDS: Final = {"@odata.context": ADDRESS, "@odata.nextLink": ADDRESS, "@odata.count": WHOLE}

# https://learn.microsoft.com/graph/api/resources/uploadsession
_SESSION: Final = Fields(
    required={"expirationDateTime": MOMENT, "nextExpectedRanges": Several(TEXT)},
    optional={"@odata.context": ADDRESS, "uploadUrl": ADDRESS},
)

# https://learn.microsoft.com/graph/api/resources/subscription
_SUBSCRIPTION_FIELDS: Final = {
    "applicationId": maybe(TEXT),
    "clientState": maybe(at_most(128)),
    "creatorId": maybe(TEXT),
    "encryptionCertificate": maybe(TEXT),
    "encryptionCertificateId": maybe(TEXT),
    "includeResourceData": maybe(FLAG),
    "latestSupportedTlsVersion": maybe(one_of("v1_0", "v1_1", "v1_2", "v1_3")),
    "lifecycleNotificationUrl": maybe(ADDRESS),
    "notificationContentType": maybe(TEXT),
    "notificationQueryOptions": maybe(TEXT),
    "notificationUrlAppId": maybe(TEXT),
}
_SUBSCRIPTION_REQUIRED: Final = {
    "id": FILLED,
    "changeType": TEXT,
    "expirationDateTime": MOMENT,
    "notificationUrl": ADDRESS,
    "resource": TEXT,
}
_SUBSCRIPTION: Final = Fields(
    required=_SUBSCRIPTION_REQUIRED, optional={"@odata.context": ADDRESS, **_SUBSCRIPTION_FIELDS}
)
# "the clientState property value is not returned for security purposes":
# https://learn.microsoft.com/graph/api/subscription-list
_LISTED_SUBSCRIPTION: Final = Fields(
    required=_SUBSCRIPTION_REQUIRED, optional={**_SUBSCRIPTION_FIELDS, "clientState": NULL}
)

# https://learn.microsoft.com/graph/api/resources/recipient
_RECIPIENT: Final = Fields(required={"emailAddress": Fields(required={"address": FILLED}, optional={"name": TEXT})})
# https://learn.microsoft.com/graph/api/resources/message: what one may say of a mail that is to be sent.
_MESSAGE: Final = Fields(
    required={"toRecipients": Several(_RECIPIENT)},
    optional={
        "subject": TEXT,
        "body": Fields(required={"contentType": one_of("Text", "HTML", "text", "html"), "content": TEXT}),
        "ccRecipients": Several(_RECIPIENT),
        "bccRecipients": Several(_RECIPIENT),
        "replyTo": Several(_RECIPIENT),
        "from": _RECIPIENT,
        "importance": one_of("low", "normal", "high"),
        "categories": Several(TEXT),
        "attachments": Several(OBJECT),
        "internetMessageHeaders": Several(Fields(required={"name": FILLED, "value": TEXT})),
    },
)

_READ: Final = "Files.Read.All (application), Files.Read (delegated)"
_WRITE: Final = "Files.ReadWrite.All (application), Files.ReadWrite (delegated)"
# The page lists Sites.ReadWrite.All alone for applications, and nothing above it. Observed: Files.ReadWrite.All is
# enough, in the issues that are named below.
_SESSION_WRITE: Final = (
    "Sites.ReadWrite.All (application) as its page says; in practice Files.ReadWrite.All is enough "
    "([12253](https://github.com/microsoftgraph/microsoft-graph-docs/issues/12253), "
    "[12297](https://github.com/microsoftgraph/microsoft-graph-docs/issues/12297)). Files.ReadWrite (delegated)"
)
_WATCH: Final = "Files.ReadWrite.All; on a personal OneDrive Files.ReadWrite, delegated only"
_NO_PERMISSION: Final = "the address holds it"


def _range_fits(request: Request) -> str:
    """Return what is wrong with the range of a chunk.

    https://learn.microsoft.com/graph/api/driveitem-createuploadsession#upload-bytes-to-the-upload-session
    """
    given = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", request.headers.get("content-range", ""))
    if given is None:
        return "Content-Range is not 'bytes first-last/all'"
    first, last, size = (int(number) for number in given.groups())
    length = last - first + 1
    if not 0 <= first <= last < size:
        return f"Content-Range {given.group()} is no part of the file"
    if request.headers.get("content-length") != str(length):
        return f"Content-Length {request.headers.get('content-length')} is not that of {given.group()}"
    if last + 1 < size and length % UNIT:
        return f"a chunk of {length} bytes is no multiple of 320 KiB, and not the last one"
    if length >= CHUNK_LIMIT:
        return f"a chunk of {length} bytes is not smaller than 60 MiB"
    return ""


# The root of any drive; on a personal OneDrive any folder: https://learn.microsoft.com/graph/api/resources/subscription
_WATCHABLE: Final = re.compile(r"/?(?:drives/[^/]+|users/[^/]+/drive|me/drive)/(?:root|items/[^/:]+)(?::/[^:]+)?")


def _watches_a_folder(request: Request) -> str:
    """Return what is wrong with a subscription's resource."""
    resource = request.body.get("resource") if isinstance(request.body, dict) else None
    if isinstance(resource, str) and _WATCHABLE.fullmatch(resource):
        return ""
    return f"resource {resource!r} is no folder of a drive"


def _names_the_file(request: Request) -> str:
    """Return what is wrong with an upload's name: the path's and the body's are the same one."""
    item = request.body.get("item") if isinstance(request.body, dict) else None
    name = item.get("name") if isinstance(item, dict) else None
    in_path = unquote(request.path.split(":/")[1].removesuffix(":")) if ":/" in request.path else ""
    return "" if name in (None, in_path) else f"the path names {in_path!r} and the body {name!r}"


def _moves_to_a_real_folder(request: Request) -> str:
    """Return what is wrong with a move: https://learn.microsoft.com/graph/api/driveitem-move#request-body."""
    parent = request.body.get("parentReference") if isinstance(request.body, dict) else None
    return 'the alias "root" is not taken for a parent' if parent == {"id": "root"} else ""


ENDPOINTS: Final = (
    Endpoint(
        service=Service.GRAPH,
        operation="get drive",
        method="GET",
        path="{drive}",
        proof=Proof.BEARER,
        when="Once per process and drive, before the first subscription: Graph's notifications speak of drives by id. "
        "And whenever a person or a monitor asks for the app's health.",
        permission=_READ,
        repeatable="yes",
        source=f"{_API}/drive-get",
        query={"$select": TEXT},
        answers={
            200: Fields(
                required={"id": FILLED, "driveType": one_of("personal", "business", "documentLibrary")},
                optional={
                    "@odata.context": ADDRESS,
                    "createdBy": _IDENTITIES,
                    "createdDateTime": MOMENT,
                    "description": TEXT,
                    "lastModifiedBy": _IDENTITIES,
                    "lastModifiedDateTime": MOMENT,
                    "name": TEXT,
                    "owner": Fields(optional={"user": OBJECT, "group": OBJECT, "application": OBJECT}),
                    "quota": Fields(
                        optional={
                            "deleted": WHOLE,
                            "remaining": WHOLE,
                            "state": one_of("normal", "nearing", "critical", "exceeded"),
                            "storagePlanInformation": OBJECT,
                            "total": WHOLE,
                            "used": WHOLE,
                        }
                    ),
                    "sharePointIds": OBJECT,
                    "system": OBJECT,
                    "webUrl": TEXT,
                },
            )
        },
        refusals=_ANY_CALL,
        refusal=_REFUSAL,
    ),
    Endpoint(
        service=Service.GRAPH,
        operation="list children",
        method="GET",
        path="{drive}/items/{item-id}/children",
        proof=Proof.BEARER,
        when="At every scan for new files, and if a folder that exists cannot be read by its path yet.",
        permission=_READ,
        repeatable="yes",
        source=f"{_API}/driveitem-list-children",
        more_sources=("https://learn.microsoft.com/graph/paging",),
        query={"$top": DIGITS, "$select": TEXT, "$expand": TEXT, "$orderby": TEXT, "$skiptoken": FILLED},
        answers={200: Fields(required={"value": Several(_ITEM)}, optional=_LINK_FIELDS)},
        # Observed: 423 while the site is locked, https://github.com/microsoftgraph/microsoft-graph-docs-contrib/issues/7121
        refusals=_ANY_CALL | {422, 423},
        refusal=_REFUSAL,
    ),
    Endpoint(
        service=Service.GRAPH,
        operation="get publication",
        method="GET",
        path="{drive}/items/{item-id}",
        proof=Proof.BEARER,
        when="After an export or a report was written, and for one filed file of a drive in an hour: a library that "
        "requires check-out keeps what the app writes checked out.",
        permission=_READ,
        repeatable="yes",
        source=f"{_API}/driveitem-get",
        # "This property isn't returned by default": hence the query.
        more_sources=(f"{_API}/resources/driveitem#properties", f"{_API}/resources/publicationfacet"),
        query={"$select": Scalar("names with publication", lambda value: "publication" in str(value).split(","))},
        required_query=frozenset({"$select"}),
        answers={200: Fields(required={"id": FILLED}, optional={**_WHOLE_ITEM.optional, "publication": _PUBLICATION})},
        refusals=_ANY_CALL,
        refusal=_REFUSAL,
    ),
    Endpoint(
        service=Service.GRAPH,
        operation="get item",
        method="GET",
        path="{drive}/items/{item-id}",
        proof=Proof.BEARER,
        when="Before each download, for a fresh download address; after a move whose answer was lost.",
        permission=_READ,
        repeatable="yes",
        source=f"{_API}/driveitem-get",
        query={"$select": TEXT, "$expand": TEXT},
        answers={200: _WHOLE_ITEM},
        refusals=_ANY_CALL,
        refusal=_REFUSAL,
    ),
    Endpoint(
        service=Service.GRAPH,
        operation="check in",
        method="POST",
        path="{drive}/items/{item-id}/checkin",
        proof=Proof.BEARER,
        when="When the app has such a file checked out: nobody else would see it.",
        permission=_WRITE,
        repeatable="yes: a second one is refused, and then the app looks whether the file is checked in",
        source=f"{_API}/driveitem-checkin",
        headers=_JSON,
        body=Fields(optional={"checkInAs": one_of("published", "unspecified"), "comment": TEXT}),
        answers={204: None},
        # Observed: https://github.com/microsoftgraph/msgraph-sdk-dotnet/issues/628 for what is not checked out
        refusals=_ANY_CALL | {409, 415, 423},
        refusal=_REFUSAL,
    ),
    Endpoint(
        service=Service.GRAPH,
        operation="get content",
        method="GET",
        path="{drive}/items/{item-id}/content",
        proof=Proof.BEARER,
        when="Before a download, where OneDrive tells no download address. The redirect is not followed: its target is "
        "asked without a token.",
        permission=_READ,
        repeatable="yes",
        source=f"{_API}/driveitem-get-content",
        answers={302: None},
        refusals=_ANY_CALL,
        refusal=_REFUSAL,
    ),
    Endpoint(
        service=Service.GRAPH,
        operation="get item by path",
        method="GET",
        path="{drive}/root:/{path}",
        proof=Proof.BEARER,
        when="When a folder of the settings is first used, and to see whether an upload's file is there already.",
        permission=_READ,
        repeatable="yes",
        source=f"{_API}/driveitem-get",
        more_sources=("https://learn.microsoft.com/graph/onedrive-addressing-driveitems",),
        query={"$select": TEXT, "$expand": TEXT},
        answers={200: _WHOLE_ITEM},
        refusals=_ANY_CALL,
        refusal=_REFUSAL,
    ),
    Endpoint(
        service=Service.GRAPH,
        operation="get item by path",
        method="GET",
        path="{drive}/root",
        proof=Proof.BEARER,
        when="When a folder of the settings has to be made.",
        permission=_READ,
        repeatable="yes",
        source=f"{_API}/driveitem-get",
        query={"$select": TEXT, "$expand": TEXT},
        answers={200: _WHOLE_ITEM},
        refusals=_ANY_CALL,
        refusal=_REFUSAL,
    ),
    Endpoint(
        service=Service.GRAPH,
        operation="create folder",
        method="POST",
        path="{drive}/items/{item-id}/children",
        proof=Proof.BEARER,
        when="When a folder of the settings is not there.",
        permission=_WRITE,
        repeatable='yes: with "fail" a second one is refused with 409',
        source=f"{_API}/driveitem-post-children",
        headers=_JSON,
        body=Fields(
            required={"name": FILLED, "folder": Fields()},
            optional={"@microsoft.graph.conflictBehavior": _CONFLICT, "description": TEXT, "fileSystemInfo": _TIMES},
        ),
        answers={201: _WHOLE_ITEM},
        # Observed: https://github.com/tonimelisma/onedrive-go, spec/reference/graph-api-quirks.md
        wordless=frozenset({201}),
        refusals=_ANY_CALL | {409, 415, 423, 507},
        refusal=_REFUSAL,
    ),
    Endpoint(
        service=Service.GRAPH,
        operation="move item",
        method="PATCH",
        path="{drive}/items/{item-id}",
        proof=Proof.BEARER,
        when="To claim a file (Input to Processing), to file it (Processing to Success or Error), and to set aside "
        "what stands in an export's way.",
        permission=_WRITE,
        repeatable="yes: with If-Match a second one is refused with 412, and then the app looks where the file is",
        source=f"{_API}/driveitem-move",
        more_sources=(f"{_API}/driveitem-update",),
        headers=_JSON,
        optional_headers=_IF_MATCH,
        body=Fields(
            optional={
                "parentReference": Fields(required={"id": FILLED}, optional={"driveId": TEXT, "path": TEXT}),
                "name": FILLED,
                "description": TEXT,
                "fileSystemInfo": _TIMES,
            }
        ),
        rules=(_moves_to_a_real_folder,),
        answers={200: _WHOLE_ITEM},
        refusals=_ANY_CALL | {409, 412, 415, 423, 507},
        refusal=_REFUSAL,
    ),
    Endpoint(
        service=Service.GRAPH,
        operation="delete item",
        method="DELETE",
        path="{drive}/items/{item-id}",
        proof=Proof.BEARER,
        when="When an export has arrived in OneDrive with another hash than it was sent with: it is sent again.",
        permission=_WRITE,
        repeatable="yes: one that is gone is as good",
        source=f"{_API}/driveitem-delete",
        optional_headers=_IF_MATCH,
        answers={204: None},
        refusals=_ANY_CALL | {412, 423},
        refusal=_REFUSAL,
    ),
    Endpoint(
        service=Service.GRAPH,
        operation="upload file",
        method="PUT",
        path="{drive}/items/{item-id}:/{name}:/content",
        proof=Proof.BEARER,
        when="For reports and error files beside a failed import, and for an empty export.",
        permission=_WRITE,
        repeatable='with "replace" yes; with "fail" the app looks for the name first',
        source=f"{_API}/driveitem-put-content",
        more_sources=(f"{_API}/resources/driveitem#instance-attributes",),
        query={"@microsoft.graph.conflictBehavior": _CONFLICT},
        headers=_FILE,
        optional_headers=_IF_MATCH,
        body=Octets(),
        answers={200: _WHOLE_ITEM, 201: _WHOLE_ITEM},
        refusals=_ANY_CALL | {409, 411, 412, 413, 415, 423, 507},
        refusal=_REFUSAL,
    ),
    Endpoint(
        service=Service.GRAPH,
        operation="create upload session",
        method="POST",
        path="{drive}/items/{item-id}:/{name}:/createUploadSession",
        proof=Proof.BEARER,
        when="Before an export's package is written to OneDrive.",
        permission=_SESSION_WRITE,
        repeatable="yes: nothing is seen of a session before its last byte",
        source=f"{_API}/driveitem-createuploadsession",
        # The first page has this path for /me only; Microsoft's own clients use it for drives/{drive-id}.
        more_sources=(
            f"{_API}/resources/driveitemuploadableproperties",
            "https://learn.microsoft.com/graph/sdks/large-file-upload",
        ),
        headers=_JSON,
        optional_headers=_IF_MATCH,
        body=Fields(
            optional={
                "item": Fields(
                    optional={
                        "@microsoft.graph.conflictBehavior": _CONFLICT,
                        "name": FILLED,
                        "fileSize": WHOLE,  # "only on OneDrive Personal" in the resource, for all in the page above
                        "description": TEXT,
                        "fileSystemInfo": _TIMES,
                        "driveItemSource": OBJECT,
                        "mediaSource": OBJECT,
                    }
                ),
                "deferCommit": FLAG,
            }
        ),
        rules=(_names_the_file,),
        answers={
            200: Fields(
                required={"uploadUrl": ADDRESS, "expirationDateTime": MOMENT},
                optional={"@odata.context": ADDRESS, "nextExpectedRanges": Several(TEXT)},
            )
        },
        refusals=_ANY_CALL | {409, 412, 415, 423, 507},
        refusal=_REFUSAL,
    ),
    Endpoint(
        service=Service.CONTENT,
        operation="upload chunk",
        method="PUT",
        path=OPAQUE,
        proof=Proof.NONE,
        when="For each 7.5 MiB of an export's package, in order.",
        permission=_NO_PERMISSION,
        repeatable="yes: bytes that are there are answered with 416 or 409, and the app asks how far OneDrive is",
        source=f"{_API}/driveitem-createuploadsession#upload-bytes-to-the-upload-session",
        headers={"content-range": FILLED, "content-length": DIGITS},
        optional_headers=_FILE,
        body=Octets(),
        rules=(_range_fits,),
        answers={200: _WHOLE_ITEM, 201: _WHOLE_ITEM, 202: _SESSION},
        refusals=_ANY_CALL | {409, 410, 411, 413, 416, 423, 507},
        refusal=_REFUSAL,
    ),
    Endpoint(
        service=Service.CONTENT,
        operation="get upload session",
        method="GET",
        path=OPAQUE,
        proof=Proof.NONE,
        when="After a chunk that was refused with 416, or with a 409 that is not about the name: how far OneDrive is.",
        permission=_NO_PERMISSION,
        repeatable="yes",
        source=f"{_API}/driveitem-createuploadsession#resuming-an-in-progress-upload",
        answers={200: _SESSION},
        refusals=_ANY_CALL | {410},
        refusal=_REFUSAL,
    ),
    Endpoint(
        service=Service.CONTENT,
        operation="cancel upload session",
        method="DELETE",
        path=OPAQUE,
        proof=Proof.NONE,
        when="When an upload is abandoned, so that its name is free at once.",
        permission=_NO_PERMISSION,
        repeatable="yes: one that is gone is as good",
        source=f"{_API}/driveitem-createuploadsession#cancel-the-upload-session",
        answers={204: None},
        refusals=_ANY_CALL | {410},
        refusal=_REFUSAL,
    ),
    Endpoint(
        service=Service.CONTENT,
        operation="download",
        method="GET",
        path=OPAQUE,
        proof=Proof.NONE,
        when="To read a package: small ones at once; of large ones first the parts that are checked, then all of it.",
        permission=_NO_PERMISSION,
        repeatable="yes",
        source=f"{_API}/driveitem-get-content",
        more_sources=(f"{_API}/driveitem-get-content#partial-range-downloads",),
        optional_headers={
            "range": Scalar("bytes=first-last", lambda value: bool(re.fullmatch(r"bytes=\d+-\d+", str(value))))
        },
        answers={200: Octets(), 206: Octets()},
        refusals=_ANY_CALL | {410, 416},
        refusal=_REFUSAL,
    ),
    Endpoint(
        service=Service.GRAPH,
        operation="create subscription",
        method="POST",
        path="/v1.0/subscriptions",
        proof=Proof.BEARER,
        when="When a drive has no subscription of ours, and after Graph has lost it.",
        permission=_WATCH,
        repeatable="no: after a lost answer the app lists them; a second one is refused with 409",
        source=f"{_API}/subscription-post-subscriptions",
        more_sources=(f"{_API}/resources/subscription",),
        headers=_JSON,
        body=Fields(
            required={
                "changeType": one_of("updated"),  # the only one for drives
                "notificationUrl": ADDRESS,
                "resource": FILLED,
                "expirationDateTime": MOMENT,
            },
            optional={
                "clientState": at_most(128),
                "latestSupportedTlsVersion": one_of("v1_0", "v1_1", "v1_2", "v1_3"),
                "lifecycleNotificationUrl": ADDRESS,
                "notificationUrlAppId": TEXT,
            },
        ),
        rules=(_watches_a_folder,),
        answers={201: _SUBSCRIPTION},
        refusals=_ANY_CALL | {409, 415},
        refusal=_REFUSAL,
    ),
    Endpoint(
        service=Service.GRAPH,
        operation="renew subscription",
        method="PATCH",
        path="/v1.0/subscriptions/{subscription-id}",
        proof=Proof.BEARER,
        when="Once a day, and when Graph warns that a subscription is in danger.",
        permission=_WATCH,
        repeatable="yes",
        source=f"{_API}/subscription-update",
        headers=_JSON,
        body=Fields(optional={"expirationDateTime": MOMENT, "notificationUrl": ADDRESS}),
        answers={200: _SUBSCRIPTION},
        refusals=_ANY_CALL | {415},
        refusal=_REFUSAL,
    ),
    Endpoint(
        service=Service.GRAPH,
        operation="delete subscription",
        method="DELETE",
        path="/v1.0/subscriptions/{subscription-id}",
        proof=Proof.BEARER,
        when="When a subscription leads to an address that is no longer the app's, before a new one is made.",
        permission=_WATCH,
        repeatable="yes: one that is gone is as good",
        source=f"{_API}/subscription-delete",
        answers={204: None},
        refusals=_ANY_CALL,
        refusal=_REFUSAL,
    ),
    Endpoint(
        service=Service.GRAPH,
        operation="list subscriptions",
        method="GET",
        path="/v1.0/subscriptions",
        proof=Proof.BEARER,
        when="When Graph says that there is a subscription already, and after an answer to making one was lost.",
        permission=_WATCH,
        repeatable="yes",
        source=f"{_API}/subscription-list",
        more_sources=("https://learn.microsoft.com/graph/paging",),
        query={"$skiptoken": FILLED},
        answers={200: Fields(required={"value": Several(_LISTED_SUBSCRIPTION)}, optional=_LINK_FIELDS)},
        refusals=_ANY_CALL,
        refusal=_REFUSAL,
    ),
    Endpoint(
        service=Service.GRAPH,
        operation="send mail",
        method="POST",
        path="/v1.0/users/{user}/sendMail",
        proof=Proof.BEARER,
        when="When a person must act, if ALERT_RECIPIENT and ALERT_SENDER are set.",
        permission="Mail.Send (application), limited to the sender's mailbox if Exchange is told so",
        repeatable="no: it would be sent twice",
        source=f"{_API}/user-sendmail",
        headers=_JSON,
        body=Fields(required={"message": _MESSAGE}, optional={"saveToSentItems": FLAG}),
        answers={202: None},
        refusals=_ANY_CALL | {413, 415},
        refusal=_REFUSAL,
    ),
    Endpoint(
        service=Service.GRAPH,
        operation="send mail",
        method="POST",
        path="/v1.0/me/sendMail",
        proof=Proof.BEARER,
        when="The same, where the app works as a signed-in user and no ALERT_SENDER is set.",
        permission="Mail.Send (delegated)",
        repeatable="no: it would be sent twice",
        source=f"{_API}/user-sendmail",
        headers=_JSON,
        body=Fields(required={"message": _MESSAGE}, optional={"saveToSentItems": FLAG}),
        answers={202: None},
        refusals=_ANY_CALL | {413, 415},
        refusal=_REFUSAL,
    ),
)
