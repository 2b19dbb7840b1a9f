"""What changed since: the pages of root/delta.

https://learn.microsoft.com/graph/api/driveitem-delta
"""

import base64
import json
import re
from dataclasses import dataclass
from typing import Final, Self

from local_cloud.onedrive.drive import Drive
from local_cloud.onedrive.errors import GraphError, misuse
from local_cloud.onedrive.item import Item
from local_cloud.onedrive.wire import seconds_of

_TIMESTAMP: Final = re.compile(r"\d{4}-\d{2}-\d{2}T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """Where a client stands in the drive's changes. Opaque on the wire."""

    after: int  # the changes up to this one are known to the client
    until: int | None = None  # the last change of this enumeration; None when it is not begun
    skip: int = 0  # how many entries of this enumeration the client has

    @classmethod
    def parse(cls, text: str, drive: Drive) -> Self:
        """Return what a token says: one that was given out here, or a timestamp. Raises Misuse for anything else.

        https://learn.microsoft.com/graph/api/driveitem-delta#example-4-retrieve-delta-results-using-a-timestamp
        """
        if _TIMESTAMP.match(text):
            return cls(after=drive.sequence_at(seconds_of(text, "token")))
        try:
            said = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            return cls(after=int(said["after"]), until=said["until"], skip=int(said["skip"]))
        except (ValueError, KeyError, TypeError):
            raise misuse("The provided token is not valid.", code="BadRequest") from None

    def text(self) -> str:
        said = json.dumps({"after": self.after, "until": self.until, "skip": self.skip})
        return base64.urlsafe_b64encode(said.encode()).decode().rstrip("=")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    items: list[Item]
    next: Token
    is_last: bool


def page(drive: Drive, token: Token, size: int) -> Page:
    """Return a page of changes, with the folders above each changed item, which the service adds unasked."""
    until = drive.visible_sequence() if token.until is None else token.until
    listed = _with_ancestors(drive, drive.changes(after=token.after, until=until), is_first=token.after == 0)
    items = listed[token.skip : token.skip + size]
    if token.skip + size < len(listed):
        return Page(items=items, next=Token(after=token.after, until=until, skip=token.skip + size), is_last=False)
    return Page(items=items, next=Token(after=max(until, token.after)), is_last=True)


def resync(link: str) -> GraphError:
    """Return the refusal of a token that is too old; link: where to begin anew."""
    return GraphError(
        410,
        "resyncChangesApplyDifferences",
        "Resync required. Replace any local items with the server's version (including deletes).",
        headers={"Location": link},
    )


def _with_ancestors(drive: Drive, changed: list[Item], *, is_first: bool) -> list[Item]:
    above: dict[str, Item] = {}
    for item in changed:
        if not item.deleted:
            above |= {each.item_id: each for each in drive.ancestors(item)}
    if is_first:
        above[drive.root_id] = drive.get(drive.root_id)
    folders = sorted(above.values(), key=lambda item: len(drive.names_of(item)))
    return folders + [item for item in changed if item.item_id not in above]
