"""Items and drives as the JSON that OneDrive for Business shows.

https://learn.microsoft.com/graph/api/resources/driveitem
"""

import mimetypes
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from local_cloud.onedrive import drive
from local_cloud.onedrive.drive import Drive, Times
from local_cloud.onedrive.errors import misuse
from local_cloud.onedrive.item import Item
from local_cloud.onedrive.knobs import Knobs, matches
from local_cloud.onedrive.links import Links
from local_cloud.onedrive.wire import fields_of, seconds_of, text_of, utc_text

DOWNLOAD_URL: Final = "@microsoft.graph.downloadUrl"
SELECTABLE: Final = frozenset(
    {
        "id",
        "name",
        "size",
        "eTag",
        "cTag",
        "createdDateTime",
        "lastModifiedDateTime",
        "webUrl",
        "createdBy",
        "lastModifiedBy",
        "parentReference",
        "file",
        "folder",
        "root",
        "deleted",
        "fileSystemInfo",
        "malware",
        "pendingOperations",
        "shared",
        "package",
        "publication",
        "remoteItem",
        "description",
        "content.downloadUrl",
        DOWNLOAD_URL,
    }
)
NO_HASH: Final = "AAAAAAAAAAAAAAAAAAAAAAAAAAA="
TIMES: Final = ("createdDateTime", "lastModifiedDateTime", "lastAccessedDateTime")
PERSON: Final = {
    "user": {
        "email": "local@contoso.example",
        "id": "11111111-1111-1111-1111-111111111111",
        "displayName": "Local Person",
    }
}


class Shapes:
    """Makes the JSON of one drive. May block: a hash is made from the file when it is first shown."""

    def __init__(self, drive: Drive, knobs: Knobs, links: Links) -> None:
        self._drive = drive
        self._knobs = knobs
        self._links = links
        self.graph_url = ""  # with the version, set when the port is known

    def item(self, item: Item, *, select: frozenset[str] | None = None) -> dict[str, object]:
        """Return a driveItem; select: only these properties, of SELECTABLE."""
        wants_download = not self._knobs.hide_download_url and (
            select is None or select & {DOWNLOAD_URL, "content.downloadUrl"}
        )
        shown: dict[str, object] = {}
        if not item.is_folder and wants_download:
            shown[DOWNLOAD_URL] = self._links.download(item.guid, self._knobs.download_url_life_s)
        names = self._drive.names_of(item)
        modified = utc_text(item.stat.modified_ns / 1e9)
        created = utc_text(item.created_s)
        shown |= {
            "id": item.item_id,
            "name": item.name,
            "size": self._size(item),
            "eTag": item.etag,
            "createdDateTime": created,
            "lastModifiedDateTime": modified,
            "webUrl": self._links.base_url + "/personal/local/Documents" + "".join(f"/{quote(name)}" for name in names),
            "createdBy": PERSON,
            "lastModifiedBy": PERSON,
            "parentReference": self._parent(item, names),
            "fileSystemInfo": {"createdDateTime": created, "lastModifiedDateTime": modified},
        }
        if item.is_folder:
            shown["folder"] = {"childCount": self._drive.child_count(item)}
        else:
            shown["cTag"] = item.ctag  # folders have none in OneDrive for Business
            shown["file"] = self._file(item, with_hash=select is None or "file" in select)
        shown |= self._facets(item)
        if select is not None and "publication" in select and not item.is_folder:
            shown["publication"] = self._publication(item)  # not returned by default, as the driveItem page says
        if select is None:
            return shown
        return {name: value for name, value in shown.items() if name in select or name == DOWNLOAD_URL}

    def whole(self, item: Item, *, select: frozenset[str] | None = None) -> dict[str, object]:
        """Return a driveItem as the one thing of an answer."""
        drive = quote(self._drive.drive_id, safe="")
        context = f"{self.graph_url}/$metadata#drives('{drive}')/items/$entity"
        return {"@odata.context": context, **self.item(item, select=select)}

    def change(self, item: Item) -> dict[str, object]:
        """Return a driveItem as a delta shows it: no path, no cTag, hardly anything of what is gone."""
        if item.deleted:
            # Observed: name and cTag are missing, the hash is that of nothing. abraunegg's onedrive takes an
            # item that is neither file nor folder for one of a kind that it does not know.
            kind = {"folder": {"childCount": 0}} if item.is_folder else {"file": {"hashes": {"quickXorHash": NO_HASH}}}
            return {
                "@odata.type": "#microsoft.graph.driveItem",
                "id": item.item_id,
                "size": 0,
                **kind,
                "deleted": {"state": "deleted"},
                "parentReference": {"driveId": self._drive.drive_id, "driveType": "business", "id": item.parent_id},
            }
        shown = self.item(item, select=SELECTABLE - {DOWNLOAD_URL, "content.downloadUrl", "cTag", "publication"})
        if isinstance(parent := shown["parentReference"], dict):
            if not self._knobs.delta_paths:
                parent.pop("path", None)
            parent.pop("name", None)
        return {"@odata.type": "#microsoft.graph.driveItem", **shown}

    def drive(self) -> dict[str, object]:
        used = self._drive.used_bytes()
        total = used if self._knobs.quota_full else 1024**4
        return {
            "@odata.context": f"{self.graph_url}/$metadata#drives/$entity",
            "id": self._drive.drive_id,
            "driveType": "business",
            "name": "OneDrive",
            "owner": PERSON,
            "webUrl": f"{self._links.base_url}/personal/local/Documents",
            "quota": {
                "deleted": 0,
                "remaining": total - used,
                "state": "exceeded" if self._knobs.quota_full else "normal",
                "total": total,
                "used": used,
            },
        }

    def _parent(self, item: Item, names: list[str]) -> dict[str, object]:
        parent: dict[str, object] = {"driveType": "business", "driveId": self._drive.drive_id}
        if not item.is_root:
            above = names[:-1]
            parent |= {
                "id": item.parent_id,
                "name": above[-1] if above else "Documents",
                "path": f"/drives/{self._drive.drive_id}/root:" + "".join(f"/{name}" for name in above),
                "siteId": "22222222-2222-2222-2222-222222222222",
            }
        return parent

    def _size(self, item: Item) -> int:
        size = item.stat.size_bytes
        return size if item.is_folder or matches(item.name, self._knobs.wrong_size) is None else 2 * size + 2

    def _publication(self, item: Item) -> dict[str, object]:
        """https://learn.microsoft.com/graph/api/resources/publicationfacet"""
        version = f"{item.content_version}.0"
        match self._drive.holder(item):
            case "":
                return {"level": "published", "versionId": version}
            case drive.PERSON:
                return {"level": "checkout", "versionId": version, "checkedOutBy": PERSON}
            case holder:  # Assumed: an app stands there as the identity of kind application, as in createdBy
                by = {"application": {"id": holder, "displayName": "An app"}}
                return {"level": "checkout", "versionId": version, "checkedOutBy": by}

    def _file(self, item: Item, *, with_hash: bool) -> dict[str, object]:
        file: dict[str, object] = {"mimeType": mime_type(item.name)}
        if with_hash and matches(item.name, self._knobs.missing_hash) is None:
            quick_xor = self._drive.quick_xor(item)
            if quick_xor is not None:
                file["hashes"] = {"quickXorHash": quick_xor}
        return file

    def _facets(self, item: Item) -> dict[str, object]:
        facets: dict[str, object] = {}
        if item.is_root:
            facets["root"] = {}
        if not item.is_folder and matches(item.name, self._knobs.malware) is not None:
            facets["malware"] = {"description": "EICAR-Test-File"}
        if self._drive.is_pending(item):
            facets["pendingOperations"] = {"pendingContentUpdate": {"queuedDateTime": utc_text(item.seen_s)}}
        return facets


def mime_type(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def selected(query: Mapping[str, str]) -> frozenset[str] | None:
    """Return what $select names, None for everything. Raises Misuse for a property that there is not."""
    if "$select" not in query:
        return None
    names = frozenset(name.strip() for name in query["$select"].split(","))
    if unknown := names - SELECTABLE:
        raise misuse(
            "Parsing OData Select and Expand failed: Could not find a property named "
            f"'{sorted(unknown)[0]}' on type 'microsoft.graph.driveItem'.",
            code="BadRequest",
        )
    return names


def times_of(body: Mapping[str, object]) -> Times | None:
    """Return the times in a fileSystemInfo, None when there is none. Raises Misuse."""
    if body.get("fileSystemInfo") is None:
        return None
    info = fields_of(body["fileSystemInfo"], TIMES, "fileSystemInfo")
    created, modified = text_of(info, "createdDateTime"), text_of(info, "lastModifiedDateTime")
    return Times(
        created_s=None if created is None else seconds_of(created, "createdDateTime"),
        modified_s=None if modified is None else seconds_of(modified, "lastModifiedDateTime"),
    )
