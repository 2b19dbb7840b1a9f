"""Checkpoints: small saved notes about the app's own work (last scan, subscription, last export).

Kept as blobs ``watch/<name>``. One that is damaged, or that another version of the app has written, counts as empty in
the parts that cannot be read: what it said is found out again, and nothing stands still for it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shared.errors import RecordChanged
from shared.escapes import json_text, read_json
from shared.log import log

if TYPE_CHECKING:
    from shared.azure_storage.container import BlobContainer

# Tries to change a checkpoint that another worker, or another thread, changes at the same moment.
TRIES: Final = 10


@dataclass(slots=True)
class Checkpoint:
    """What a checkpoint says, and its version, so that two writers cannot overwrite each other unseen."""

    content: dict[str, str]
    etag: str | None  # None: there is none yet


class Checkpoints:
    """Checkpoints in a blob container. All verbs raise TryAgain and NeedsPerson."""

    def __init__(self, container: "BlobContainer") -> None:
        self._container = container

    def read(self, name: str) -> Checkpoint:
        """Return a checkpoint; an empty one if there is none, or none that can be read."""
        blob = self._container.read(f"watch/{name}")
        return Checkpoint(_texts(blob.content), blob.etag) if blob else Checkpoint({}, None)

    def write(self, name: str, checkpoint: Checkpoint) -> None:
        """Save a checkpoint that was read before. Raises RecordChanged if another worker has written it since."""
        content = json_text(checkpoint.content).encode()
        checkpoint.etag = self._container.save(f"watch/{name}", content, etag=checkpoint.etag)

    def change(self, name: str, change: Callable[[dict[str, str]], None]) -> None:
        """Read a checkpoint, let its content be changed, and write it; again if another worker was quicker.

        change: changes the content in place; it may be called several times. Raises RecordChanged after ten tries.
        """
        for tries_left in reversed(range(TRIES)):
            checkpoint = self.read(name)
            change(checkpoint.content)
            try:
                self.write(name, checkpoint)
            except RecordChanged:
                if not tries_left:
                    raise
            else:
                return


def _texts(record: bytes) -> dict[str, str]:
    """Return the texts of a checkpoint; what is none is left out."""
    try:
        content = read_json(record, mend=True)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        log.error("checkpoint.damaged", content=record[:200].decode(errors="replace"))
        return {}
    return {name: text for name, text in content.items() if isinstance(text, str)}
