"""Which clients there are, what they judge, where they come from, and whether they are here."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Final

import dev

# Where npm puts its clients; what they are is in tests/witnesses/javascript.
JAVASCRIPT: Final = dev.LOCAL / "witnesses-javascript"
INSTALLED: Final = "installed.sha256"  # stands in an environment once all is in it


class Source(StrEnum):
    PYPI = "PyPI"
    PYPI_APART = "PyPI, an environment of its own"
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
    requirements: str = ""  # for an environment of its own: the file that names all that is in it

    @property
    def files(self) -> Sequence[Path]:
        """What decides about that environment."""
        return [dev.ROOT / self.requirements]

    @property
    def environment(self) -> Path:
        """The virtual environment of a client that has one of its own."""
        return dev.LOCAL / f"witnesses-{self.name}"

    @property
    def python(self) -> str:
        """The Python of that environment."""
        return dev.script(self.environment, "python")

    def version(self) -> str | None:
        """Return the version that is installed for this very Python or on PATH; None when it is not there."""
        if self.source is Source.HERE:
            return "-"
        if self.source is Source.NPM:
            file = JAVASCRIPT / "node_modules" / self.package / "package.json"
            return str(json.loads(file.read_text("utf-8"))["version"]) if file.is_file() else None
        if self.source is Source.PYPI_APART:
            folder = str(dev.site_packages(self.environment))
            found = metadata.distributions(name=self.package, path=[folder]) if self._is_current() else ()
            return next((distribution.version for distribution in found), None)
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

    def _is_current(self) -> bool:
        """Whether just what the requirements ask for is in the client's own environment, and all of it."""
        marker = self.environment / INSTALLED
        return marker.is_file() and marker.read_text("ascii") == dev.fingerprint(self.files, dev.wanted_python())

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
AZURE_CLI: Final = Client(
    name="azure-cli",
    judges="the instructions",
    source=Source.PYPI_APART,
    package="azure-cli",
    requirements="requirements-azure-cli.txt",
)
PUBLISHED_APP: Final = Client(
    name="published-app",
    judges="what is sent to Azure",
    source=Source.PYPI_APART,
    package="azure-functions-runtime",
    requirements="requirements.txt",
)

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
    AZURE_CLI,
    PUBLISHED_APP,
)
