"""How Graph's addresses name an item: by id, by path, or by a path from an id, with what is to be done behind it.

https://learn.microsoft.com/graph/onedrive-addressing-driveitems
"""

import re
from dataclasses import dataclass

from local_cloud.onedrive.errors import misuse

_BASE = re.compile(r"(?:root|items/(?P<item>[^/:]+))(?P<rest>.*)", re.DOTALL)
_ACTION = re.compile(r"(?P<name>[A-Za-z]+)(?:\((?P<arguments>[^)]*)\))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a request points within a drive."""

    item_id: str | None  # None for the root
    names: tuple[str, ...]  # the path from there
    action: str  # "" for the item itself, else "children", "content", "delta", ...
    arguments: str = ""  # of an action written as a function: delta(token='latest')


def parse(text: str) -> Address:
    """Return what an address says; text: decoded, what follows the drive, without a slash in front.

    A colon ends a path, and none of them can be in a name. The last colon may be missing when nothing follows it, and
    may stand when nothing follows it: ``items/ID:/a.zip:``. Raises Misuse for anything else.
    """
    base = _BASE.fullmatch(text)
    if base is None:
        raise misuse(f"Resource not found for the segment '{text.partition('/')[0]}'.", code="BadRequest")
    item_id = base["item"] if base["item"] not in (None, "root") else None
    match base["rest"].split(":"):
        case [rest]:
            names = ""
        case ["", names]:
            rest = ""
        case ["", names, rest]:
            pass
        case _:
            raise misuse("The colons of the address make no sense.", code="BadRequest")
    if names and not names.startswith("/"):
        raise misuse("A path begins with a slash.", code="BadRequest")
    if "//" in names:
        raise misuse("The path has an empty segment.", code="BadRequest")
    action, arguments = _action(rest)
    # Observed: abraunegg's onedrive sends root:/./a.zip
    parts = tuple(name for name in names.split("/") if name not in ("", "."))
    return Address(item_id=item_id, names=parts, action=action, arguments=arguments)


def _action(text: str) -> tuple[str, str]:
    if text == "":
        return "", ""
    action = _ACTION.fullmatch(text.removeprefix("/"))
    if action is None or not text.startswith("/"):
        raise misuse(f"Resource not found for the segment '{text.strip('/')}'.", code="BadRequest")
    return action["name"], action["arguments"] or ""
