"""A file or folder as Graph's driveItem describes it: the wire's form is mapped here, once."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

from shared.clients.blobs.quick_xor_hash import QuickXorHash
from shared.clients.http.links import keyed_link
from shared.errors import (
    TryAgain,
)
from shared.moments import moment_or_none
from shared.secret import SecretUrl

_UNKNOWN_TIME: Final = datetime.min.replace(tzinfo=UTC)


_HASH_OF_NOTHING: Final = QuickXorHash().base64()


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


def parse_drive_item(wire: Mapping[str, Any]) -> DriveItem:
    """Take a driveItem apart; unknown and missing properties are tolerated, a missing id is not.

    https://learn.microsoft.com/graph/api/resources/driveitem
    """
    file = object_in(wire, "file")
    download = text_in(wire, "@microsoft.graph.downloadUrl") or text_in(wire, "@content.downloadUrl")
    size = wire.get("size")
    is_elsewhere = wire.get("remoteItem") is not None  # a shortcut to another drive
    return DriveItem(
        item_id=text_in(wire, "id") or raise_incomplete("get item"),
        name=text_in(wire, "name"),
        size_bytes=size if isinstance(size, int) else 0,
        etag=text_in(wire, "eTag"),
        parent_id=text_in(object_in(wire, "parentReference"), "id"),
        last_modified=_time(wire.get("lastModifiedDateTime")),
        quick_xor_hash=text_in(object_in(file, "hashes"), "quickXorHash") or None,
        download_url=keyed_link(download),
        is_file=wire.get("file") is not None and not is_elsewhere,
        is_folder=wire.get("folder") is not None and not is_elsewhere,
        has_malware=wire.get("malware") is not None,
        is_pending=bool(wire.get("pendingOperations")) or file.get("processingMetadata") is True,
        web_url=text_in(wire, "webUrl"),
    )


def raise_incomplete(operation: str) -> NoReturn:
    """Raise TryAgain for an answer without what the app cannot do without."""
    raise TryAgain(f"Microsoft Graph's answer to '{operation}' lacks a required part")


def text_in(wire: Mapping[str, Any], key: str) -> str:
    """Return a text of the answer, "" if it is missing or something else."""
    value = wire.get(key)
    return value if isinstance(value, str) else ""


def object_in(wire: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return an object of the answer, an empty one if it is missing or something else."""
    value = wire.get(key)
    return value if isinstance(value, dict) else {}


def objects_in(wire: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """Return a list of objects of the answer; whatever else it holds is left out."""
    value = wire.get(key)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _time(value: object) -> datetime:
    """Return the moment in UTC. Observed: fractions of a second in some places, null or the year 1 in others."""
    return moment_or_none(value) or _UNKNOWN_TIME
