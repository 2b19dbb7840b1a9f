"""A driveItem as the simulator remembers it."""

import base64
import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Self

from local_cloud.onedrive.disk import Stat


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One file or folder, or the memory of a deleted one. Times are seconds since the epoch."""

    item_id: str
    guid: str  # upper case, with dashes, without braces
    parent_id: str  # "" for the root
    name: str
    is_folder: bool
    created_s: float
    stat: Stat
    version: int = 1  # rises with each change
    content_version: int = 1  # rises with each change of content
    quick_xor: str | None = None  # None until someone wants it
    placed_s: float = 0.0  # when it came to where it is, under the name it has
    changed_s: float = 0.0
    seen_s: float = 0.0  # when this content was first seen on disk; 0 when it is known to be whole
    sequence: int = 0  # number of its last change among all changes of the drive
    deleted: bool = False
    checked_out_by: str = ""  # the app id or the person that has it checked out; "" for nobody

    @property
    def is_root(self) -> bool:
        return self.parent_id == ""

    @property
    def etag(self) -> str:
        """The quotes are part of the value."""
        return f'"{{{self.guid}}},{self.version}"'

    @property
    def ctag(self) -> str:
        return f'"c:{{{self.guid}}},{self.content_version}"'

    def moved(self, parent_id: str, name: str, now_s: float) -> Self:
        return replace(self, parent_id=parent_id, name=name, placed_s=now_s, version=self.version + 1)

    def refilled(self, stat: Stat, *, quick_xor: str | None = None, seen_s: float = 0.0) -> Self:
        """Return the item with new content."""
        return replace(
            self,
            stat=stat,
            quick_xor=quick_xor,
            seen_s=seen_s,
            version=self.version + 1,
            content_version=self.content_version + 1,
        )

    def to_row(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_row(cls, row: Mapping[str, object]) -> Self:
        """Raises TypeError or KeyError for a row of another version of this class."""
        values = {
            each.name: row[each.name] if each.default is MISSING else row.get(each.name, each.default)
            for each in fields(cls)
        }
        stat = values.pop("stat")
        if not isinstance(stat, dict):
            raise TypeError("stat")
        return cls(stat=Stat(**stat), **values)  # type: ignore[arg-type]  # as to_row wrote it


def new_guid() -> str:
    return str(uuid.uuid4()).upper()


def item_id_of(guid: str, drive_id: str) -> str:
    """Return the item id for a guid.

    Assumed: SharePoint's ids are "01" and the base32 of 4 bytes for the drive and the 16 bytes of the item's guid.
    """
    drive = hashlib.sha256(drive_id.encode()).digest()[:4]
    return "01" + base64.b32encode(drive + uuid.UUID(guid).bytes_le).decode()


def is_guid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)).upper() == text.upper()
    except ValueError:
        return False
