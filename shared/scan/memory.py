"""What one process remembers of its scans. Other instances do not know it: a hint, never a proof."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from shared.clients.graph.drive_item import DriveItem
from shared.scan.throttle import ScanThrottle


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something in an Input folder that the app leaves there: it is no file, or no import takes it."""

    item: DriveItem
    sub_folder: str = ""  # of Input; "": it is directly in Input


@dataclass(slots=True)
class ScanMemory:
    """Of one process; folders are keys of drive and path."""

    throttle: ScanThrottle = field(default_factory=ScanThrottle)
    last_scan: datetime | None = None  # of one that went well
    last_scan_of: dict[tuple[str, str], datetime] = field(default_factory=dict)  # the same by Input folder
    # By Input folder: what lay there at that scan that the app leaves where it is.
    strays_in: dict[tuple[str, str], Sequence[Leftover]] = field(default_factory=dict)
    last_notification: datetime | None = None
    older_queues_read: datetime | None = None  # when this process has last read poison messages of older versions
