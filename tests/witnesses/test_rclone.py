"""rclone, as Debian ships it, keeps its files in the simulated OneDrive and finds them whole.

It cannot be told another address than Microsoft's, so it goes through our proxy, which answers in Microsoft's place.
https://rclone.org/onedrive/
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from local_cloud.faults import Call, FaultPlan
from tests.witnesses.clients import RCLONE
from tests.witnesses.conftest import Graph
from tests.witnesses.proxy import Proxy

pytestmark = [
    pytest.mark.witness(RCLONE.name),
    pytest.mark.skipif(RCLONE.version() is None, reason=RCLONE.missing()),
    # Only there does Go take the certificates of SSL_CERT_FILE: https://pkg.go.dev/crypto/x509#SystemCertPool
    pytest.mark.skipif(sys.platform != "linux", reason="rclone takes a CA from the environment on Linux only"),
]

TIMEOUT_S: Final = 60
ODD_NAMES: Final = ("a#b%20c.zip", "100% + 1.zip", "Größe & Maß.zip", "it's (1).zip")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rclone:
    """rclone with one remote, called sim."""

    config: Path
    environment: dict[str, str]
    graph: Graph

    @property
    def faults(self) -> FaultPlan:
        return self.graph.faults

    def __call__(self, *arguments: str | Path, fails: bool = False) -> str:
        """Run a command; returns what it printed, its log included when it is meant to fail."""
        done = subprocess.run(
            ["rclone", "--config", self.config, "--retries=1", "--low-level-retries=1", *map(str, arguments)],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=TIMEOUT_S,
            check=False,
        )
        assert (done.returncode != 0) is fails, done.stdout + done.stderr
        return done.stdout + done.stderr if fails else done.stdout

    def files(self, path: str = "") -> list[str]:
        return sorted(self("lsf", "-R", "--files-only", f"sim:{path}").splitlines())

    def calls(self, method: str, path: str) -> list[Call]:
        return [call for call in self.faults.calls if call.method == method and path in call.path]


@pytest.fixture
def rclone(graph: Graph, tmp_path: Path) -> Iterator[Rclone]:
    # 1.60 shows its token to upload addresses, as it was borne then: https://github.com/rclone/rclone/issues/7405
    graph.knobs.takes_needless_tokens = True
    token = {
        "access_token": graph.token(),
        "token_type": "Bearer",
        "refresh_token": "made up",
        "expiry": "2045-12-31T23:59:59Z",
    }
    config = tmp_path / "rclone.conf"
    config.write_text(
        f"[sim]\ntype = onedrive\ndrive_type = business\ndrive_id = {graph.simulator.drive_id}\n"
        f"token = {json.dumps(token)}\n",
        encoding="utf-8",
    )
    port = urlsplit(graph.simulator.graph_url).port or 0
    with Proxy({"graph.microsoft.com": port}, tmp_path / "ca.pem") as proxy:
        environment = {**os.environ, "HTTPS_PROXY": proxy.url, "SSL_CERT_FILE": str(proxy.ca_file), "LC_ALL": "C.UTF-8"}
        yield Rclone(config=config, environment=environment, graph=graph)
        assert proxy.refused == []


def a_folder(tmp_path: Path, **sizes: int) -> Path:
    """Return a folder with files of these sizes; __ in a name is a dot."""
    folder = tmp_path / "local"
    folder.mkdir(exist_ok=True)
    for name, size in sizes.items():
        (folder / name.replace("__", ".")).write_bytes(os.urandom(size))
    return folder


def test_everything_in_a_drive_is_listed_over_several_pages(rclone: Rclone, tmp_path: Path) -> None:
    rclone.graph.knobs.page_size = 2
    rclone("mkdir", "sim:Empty")
    rclone("copy", a_folder(tmp_path, a__zip=1, b__zip=2, c__zip=3, d__zip=4, e__zip=5), "sim:Input")

    listed = rclone("lsf", "-R", "sim:").splitlines()

    assert sorted(listed) == ["Empty/", "Input/", *(f"Input/{name}.zip" for name in "abcde")]
    assert any("$skiptoken" in call.query_keys for call in rclone.calls("GET", "/children"))


def test_a_large_and_an_empty_file_arrive_whole_and_come_back_whole(rclone: Rclone, tmp_path: Path) -> None:
    local = a_folder(tmp_path, large__zip=25 * 1024 * 1024, empty__zip=0, small__zip=1000)
    back = tmp_path / "back"

    rclone("copy", local, "sim:Input")
    rclone("copy", "sim:Input", back)

    for file in local.iterdir():
        content = file.read_bytes()
        assert (rclone.graph.folder / "Input" / file.name).read_bytes() == content
        assert (back / file.name).read_bytes() == content
    chunks = [call.status for call in rclone.calls("PUT", "/uploadSession")]
    assert chunks.count(201) == 2  # the large one and the small one
    assert chunks.count(202) >= 2  # 10 MiB at a time
    assert [call.status for call in rclone.calls("PUT", "/empty.zip:/content")] == [201]


def test_the_time_of_a_file_is_kept(rclone: Rclone, tmp_path: Path) -> None:
    local = a_folder(tmp_path, a__zip=10, empty__zip=0)
    for file in local.iterdir():
        os.utime(file, (1_700_000_000, 1_700_000_000))

    rclone("copy", local, "sim:Input")

    listed = json.loads(rclone("lsjson", "sim:Input"))
    assert {each["Name"]: each["ModTime"] for each in listed} == {
        "a.zip": "2023-11-14T22:13:20Z",
        "empty.zip": "2023-11-14T22:13:20Z",
    }


def test_files_are_compared_by_their_quick_xor_hash(rclone: Rclone, tmp_path: Path) -> None:
    local = a_folder(tmp_path, same__zip=100_000, other__zip=70)
    rclone("copy", local, "sim:Input")

    rclone("check", local, "sim:Input")
    (local / "other.zip").write_bytes(os.urandom(70))
    difference = rclone("check", local, "sim:Input", fails=True)

    assert "other.zip: quickxor differ" in difference
    assert "same.zip" not in difference


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_file_moves_to_a_name_whatever_it_is_and_on(rclone: Rclone, tmp_path: Path, name: str) -> None:
    rclone("copy", a_folder(tmp_path, a__zip=10), "sim:Input")

    rclone("moveto", "sim:Input/a.zip", f"sim:Processing/{name}")
    between = rclone.files()
    rclone("moveto", f"sim:Processing/{name}", "sim:Success/b.zip")

    assert between == [f"Processing/{name}"]
    assert rclone.files() == ["Success/b.zip"]
    assert len(rclone.calls("PATCH", "/items/")) >= 2  # moved there, not copied
    assert rclone.calls("POST", "/copy") == []


def test_a_file_is_copied_by_the_service_itself(rclone: Rclone, tmp_path: Path) -> None:
    local = a_folder(tmp_path, a__zip=1_000_000)
    rclone.graph.knobs.copy_takes_s = 0.2
    rclone("copy", local, "sim:Input")

    rclone("copyto", "sim:Input/a.zip", "sim:Copies/b.zip")

    assert (rclone.graph.folder / "Copies" / "b.zip").read_bytes() == (local / "a.zip").read_bytes()
    assert [call.status for call in rclone.calls("POST", "/copy")] == [202]
    assert rclone.calls("GET", "/monitor/")[-1].status == 200


def test_files_and_folders_are_deleted(rclone: Rclone, tmp_path: Path) -> None:
    rclone("copy", a_folder(tmp_path, a__zip=10, b__zip=10), "sim:Input/deep")

    rclone("deletefile", "sim:Input/deep/a.zip")
    after_one = rclone.files()
    rclone("delete", "sim:Input")
    rclone("rmdirs", "sim:Input")
    rclone("mkdir", "sim:Other/deep")
    rclone("purge", "sim:Other")

    assert after_one == ["Input/deep/b.zip"]
    assert rclone("lsf", "-R", "sim:") == ""


def test_the_room_that_is_left_is_told(rclone: Rclone, tmp_path: Path) -> None:
    rclone("copy", a_folder(tmp_path, a__zip=1000), "sim:Input")

    about: dict[str, Any] = json.loads(rclone("about", "sim:", "--json"))

    assert about["used"] == 1000
    assert about["free"] == about["total"] - about["used"]


def test_an_upload_that_shows_its_token_is_refused_as_by_the_service_today(rclone: Rclone, tmp_path: Path) -> None:
    rclone.graph.knobs.takes_needless_tokens = False

    said = rclone("copy", a_folder(tmp_path, a__zip=10), "sim:Input", fails=True)

    assert "unauthenticated" in said
    assert rclone.files() == []
    assert {call.status for call in rclone.calls("PUT", "/uploadSession")} == {401}
    rclone.graph.simulator.violations.clear()  # it is this client's own fault
