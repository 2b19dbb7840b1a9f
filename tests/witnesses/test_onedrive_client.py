"""abraunegg's OneDrive client for Linux, as Debian ships it, keeps a folder in step with the simulated OneDrive.

Like rclone it goes through our proxy. It takes its certificates from one file of the system, over which ours is mounted
for this process alone. https://github.com/abraunegg/onedrive
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import requests

from local_cloud.entra import Entra, RegisteredApp
from local_cloud.faults import FaultPlan
from local_cloud.server import Server
from tests.witnesses.clients import ABRAUNEGG
from tests.witnesses.conftest import USER, Graph
from tests.witnesses.proxy import Proxy

CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
OWN_MOUNTS: Final = ("unshare", "--map-root-user", "--mount")
CLIENT_ID: Final = "d50ca740-c83f-4d1b-b616-12c519384f0c"  # what this client is registered as with Microsoft
SCOPES: Final = "Files.ReadWrite Files.ReadWrite.All Sites.ReadWrite.All offline_access"
ITS_OWN_NEWS: Final = "CONNECT api.github.com:443"  # it asks whether there is a newer version of it
TIMEOUT_S: Final = 60


def may_mount() -> bool:
    """Say whether this system lets a process have mounts of its own."""
    if sys.platform != "linux" or not CERTIFICATES.is_file():
        return False
    try:
        return subprocess.run([*OWN_MOUNTS, "true"], capture_output=True, timeout=10, check=False).returncode == 0
    except OSError:
        return False


pytestmark = [
    pytest.mark.witness(ABRAUNEGG.name),
    pytest.mark.skipif(ABRAUNEGG.version() is None, reason=ABRAUNEGG.missing()),
    pytest.mark.skipif(not may_mount(), reason="onedrive cannot be given a CA here: no mounts of its own"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """One installation of the client, signed in."""

    graph: Graph
    folder: Path  # what it keeps in step
    configuration: Path
    proxy: Proxy

    @property
    def faults(self) -> FaultPlan:
        return self.graph.faults

    def synchronize(self) -> str:
        """Let it bring both sides into step once; returns what it said."""
        mount = 'mount --bind "$1" "$2" && exec onedrive --confdir "$3" --synchronize --verbose'
        done = subprocess.run(
            [*OWN_MOUNTS, "sh", "-c", mount, "sh", self.proxy.ca_file, CERTIFICATES, self.configuration],
            env={**os.environ, "HTTPS_PROXY": self.proxy.url, "https_proxy": self.proxy.url, "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=TIMEOUT_S,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        assert "ERROR" not in said, said
        return said

    def change_online(self, method: str, path: str, **body: Any) -> None:
        """Let somebody else change the drive."""
        url = f"{self.graph.url}/drives/{self.graph.simulator.drive_id}/root:/{path}"
        headers = {"Authorization": f"Bearer {self.graph.token()}"}
        requests.request(method, url, headers=headers, timeout=TIMEOUT_S, **body).raise_for_status()

    def online(self) -> dict[str, bytes]:
        return contents(self.graph.folder)

    def local(self) -> dict[str, bytes]:
        return contents(self.folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def refresh_token_of(entra: Server) -> str:
    """Sign the user in by device code, as the client's own sign-in would end."""
    url = f"{entra.url}/common/oauth2/v2.0"
    flow = requests.post(f"{url}/devicecode", data={"client_id": CLIENT_ID, "scope": SCOPES}, timeout=TIMEOUT_S).json()
    form = {"client_id": CLIENT_ID, "grant_type": "device_code", "device_code": flow["device_code"]}
    return str(requests.post(f"{url}/token", data=form, timeout=TIMEOUT_S).json()["refresh_token"])


@pytest.fixture
def client(graph: Graph, tmp_path: Path) -> Iterator[Client]:
    graph.knobs.takes_needless_tokens = True  # it shows its token to upload addresses too
    graph.knobs.delta_paths = True  # without them it takes what lies in folders for moved away
    entra = Entra(graph.desk, faults=graph.faults, auto_approve=USER)
    entra.register(RegisteredApp(client_id=CLIENT_ID, public=True))
    folder, configuration = tmp_path / "local", tmp_path / "configuration"
    folder.mkdir()
    configuration.mkdir()
    (configuration / "config").write_text(f'sync_dir = "{folder}"\n', encoding="utf-8")
    with Server(entra.app()) as entra_server:
        (configuration / "refresh_token").write_text(refresh_token_of(entra_server), encoding="utf-8")
        ports = {
            "graph.microsoft.com": urlsplit(graph.simulator.graph_url).port or 0,
            "login.microsoftonline.com": entra_server.port,
        }
        with Proxy(ports, tmp_path / "ca.pem") as proxy:
            yield Client(graph=graph, folder=folder, configuration=configuration, proxy=proxy)
            assert set(proxy.refused) <= {ITS_OWN_NEWS}


def test_what_is_new_here_goes_up_and_what_is_new_there_comes_down(client: Client) -> None:
    (client.folder / "Größe").mkdir()
    (client.folder / "Größe" / "a b#1.zip").write_bytes(os.urandom(11 * 1024 * 1024))  # more than one chunk
    (client.folder / "empty.zip").write_bytes(b"")
    (client.folder / "small.zip").write_bytes(b"small")
    client.change_online("PUT", "down.zip:/content", data=b"from there")

    client.synchronize()

    assert client.online() == client.local()
    assert sorted(client.local()) == ["Größe/a b#1.zip", "down.zip", "empty.zip", "small.zip"]


def test_what_changed_since_is_learned_from_the_delta(client: Client) -> None:
    for name in ("kept", "renamed", "deleted"):
        (client.folder / f"{name}.zip").write_bytes(name.encode())
    client.synchronize()
    client.change_online("PATCH", "renamed.zip", json={"name": "new name.zip"})
    client.change_online("DELETE", "deleted.zip")
    (client.folder / "kept.zip").rename(client.folder / "moved.zip")

    client.synchronize()

    assert client.online() == client.local() == {"moved.zip": b"kept", "new name.zip": b"renamed"}


def test_the_kept_sign_in_is_refreshed_without_anybody(client: Client) -> None:
    before = (client.configuration / "refresh_token").read_text(encoding="utf-8")

    client.synchronize()

    after = (client.configuration / "refresh_token").read_text(encoding="utf-8")
    assert after != before
    assert [call.status for call in client.faults.calls if call.path.endswith("/oauth2/v2.0/token")][-1] == 200
