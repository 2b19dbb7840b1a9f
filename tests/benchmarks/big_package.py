"""Good packages of any size that take no room on disk: between the last entry and the zip's directory lies a hole."""

import io
import zipfile
from pathlib import Path
from typing import Final

from tests.packages import build_package

MIB: Final = 1024 * 1024


def write_big_package(file: Path, size_bytes: int, *, data_project: str) -> int:
    """Write a package of about this size; return its size. On file systems without holes it takes all the room."""
    small = build_package(data_project=data_project, entity=data_project)
    with zipfile.ZipFile(io.BytesIO(small)) as source, zipfile.ZipFile(file, "w") as big:
        for entry in source.infolist():
            big.writestr(entry, source.read(entry))
        # Where close() writes the directory; it goes by this, and records it, in zip64's way beyond 4 GiB.
        big.start_dir += max(size_bytes - len(small), 0)
    return file.stat().st_size
