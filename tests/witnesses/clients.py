"""Which clients there are, what they judge, where they come from, and whether they are here."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from typing import Final

import dev

# Where npm puts its clients; what they are is in tests/witnesses/javascript.
JAVASCRIPT: Final = dev.LOCAL / "witnesses-javascript"


class Source(StrEnum):
    PYPI = "PyPI"
    DEBIAN = "Debian"
    NPM = "npm"
    HERE = "tests/samples"


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """One witness."""

    name: str  # as the marker of its tests says it, and --only
    judges: str
    source: Source
    package: str  # under which its source knows it
    version_command: Sequence[str] = ()  # of a program; its first word is looked for on PATH

    def version(self) -> str | None:
        """Return the version that is installed for this very Python or on PATH; None when it is not there."""
        if self.source is Source.HERE:
            return "-"
        if self.source is Source.NPM:
            file = JAVASCRIPT / "node_modules" / self.package / "package.json"
            return str(json.loads(file.read_text("utf-8"))["version"]) if file.is_file() else None
        if not self.version_command:
            try:
                return metadata.version(self.package)
            except metadata.PackageNotFoundError:
                return None
        program = shutil.which(self.version_command[0])
        if program is None:
            return None
        said = subprocess.run(
            [program, *self.version_command[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=60,
            check=False,
        ).stdout
        words = (said.splitlines() or [""])[0].split()
        return words[-1] if words else "?"

    def missing(self) -> str:
        """Return why its tests are skipped when it is not there."""
        return f"{self.name} is not installed: python dev.py witnesses --only {self.name}"


MSGRAPH: Final = Client(name="msgraph-sdk", judges="OneDrive", source=Source.PYPI, package="msgraph-sdk")
RCLONE: Final = Client(
    name="rclone", judges="OneDrive", source=Source.DEBIAN, package="rclone", version_command=("rclone", "version")
)
ABRAUNEGG: Final = Client(
    name="onedrive",
    judges="OneDrive",
    source=Source.DEBIAN,
    package="onedrive",
    version_command=("onedrive", "--version"),
)
D365FO: Final = Client(name="d365fo-client", judges="F&O", source=Source.PYPI, package="d365fo-client")
SAMPLES: Final = Client(name="fo-samples", judges="F&O", source=Source.HERE, package="")
ONEDRIVE_PERSONAL_SDK: Final = Client(
    name="onedrive-personal-sdk", judges="OneDrive", source=Source.PYPI, package="onedrive-personal-sdk"
)
GRAPH_CLIENT_JS: Final = Client(
    name="graph-client-js", judges="OneDrive", source=Source.NPM, package="@microsoft/microsoft-graph-client"
)
AZURE_IDENTITY: Final = Client(name="azure-identity", judges="Entra ID", source=Source.PYPI, package="azure-identity")
MSAL: Final = Client(name="msal", judges="Entra ID", source=Source.PYPI, package="msal")

CLIENTS: Final[Sequence[Client]] = (
    MSGRAPH,
    GRAPH_CLIENT_JS,
    ONEDRIVE_PERSONAL_SDK,
    RCLONE,
    ABRAUNEGG,
    D365FO,
    SAMPLES,
    AZURE_IDENTITY,
    MSAL,
)
