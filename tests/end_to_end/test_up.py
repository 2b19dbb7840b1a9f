"""``python -m local_cloud up`` as a person runs it, until Ctrl-C: on the well-known ports, or beside who has those."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest
import requests

from local_cloud.cloud import KNOWN_PORTS, ROOT
from local_cloud.server import LOOPBACK
from local_cloud.up import taken_ports
from tests.end_to_end.stage import LOOK_S, PATIENCE_S, PROMPT_QUEUES, processes_with
from tests.packages import build_package
from tests.world import wait_for

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no Ctrl-C for one child process")


class Running:
    """The command, and all that it prints."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self.marker = f"up-{uuid.uuid4().hex}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "local_cloud", "up", "--home", str(home), "--seconds", "0.5", *arguments],
            cwd=ROOT,
            env={**os.environ, **PROMPT_QUEUES, "STARTED_BY": self.marker},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def printed(self) -> str:
        return "".join(self._lines)

    @property
    def ports(self) -> set[int]:
        """Where what it has started listens, as far as it says so."""
        return {int(port) for port in re.findall(rf"http://{re.escape(LOOPBACK)}:(\d+)", self.printed)}

    def wait_for(self, pattern: str) -> str:
        """Wait until it has printed this, and return the pattern's group."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := re.search(pattern, self.printed, re.MULTILINE)):
            assert time.monotonic() < deadline, self.printed
            time.sleep(LOOK_S)
        return found[1]

    def end_by_ctrl_c(self) -> None:
        """Press Ctrl-C; fails unless all goes well and nothing stays behind."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(PATIENCE_S) == 0, self.printed
        if sys.platform == "linux":
            wait_for(lambda: processes_with(self.marker) == [])

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self._lines.extend(self.process.stdout)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Running]:
    """On the well-known ports, unless something else on this machine has one of them."""
    running = Running(tmp_path / "home", *(["--free-ports"] if taken_ports(with_host=True) else []))
    yield running
    running.close()


def test_a_file_copied_into_the_printed_folder_is_filed_and_ctrl_c_ends_everything(up: Running, tmp_path: Path) -> None:
    folder = Path(up.wait_for(r"^ +Input +(\S.*)$"))
    assert folder == (tmp_path / "home" / "OneDrive" / "Input").resolve()

    (folder / "USMF_Copied_001.zip").write_bytes(build_package())
    _wait_for_file(folder.parent / "Success" / "USMF_Copied_001.zip", up)
    up.wait_for(r"(USMF_Copied_001\.zip  Processing -> Success, Succeeded)$")
    moved = [line for line in up.printed.splitlines() if "USMF_Copied_001.zip" in line]
    assert [line.partition("  USMF")[2] for line in moved] == [
        "_Copied_001.zip  Input -> Processing",
        "_Copied_001.zip  Processing -> Success, Succeeded",
    ]
    assert '{"event"' not in up.printed
    assert "step.done" in (tmp_path / "home" / "host.log").read_text("utf-8")
    if sys.platform == "linux":
        assert len(processes_with(up.marker)) >= 3  # itself, Azurite, the functions host

    up.end_by_ctrl_c()

    assert len(up.ports) >= 4
    for port in up.ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((LOOPBACK, port), timeout=PATIENCE_S)


@pytest.mark.quick(cases=0)
def test_in_the_flex_shape_it_tells_which_scale_groups_have_instances_as_they_come_and_go(tmp_path: Path) -> None:
    flex = ("--free-ports", "--flex", "--idle-seconds", "2", "--wake-up-seconds", "0")
    with closing(Running(tmp_path / "home", *flex)) as up:
        folder = Path(up.wait_for(r"^ +Input +(\S.*)$"))
        address = up.wait_for(r"^ +its instances +(\S+)$")
        up.wait_for(r"(Each is removed after 2 s without work; a new one takes at least 0 s\.)")

        (folder / "USMF_Copied_001.zip").write_bytes(build_package())

        _wait_for_file(folder.parent / "Success" / "USMF_Copied_001.zip", up)
        up.wait_for(r"^ +\d\d:\d\d:\d\d  Instances: .*(http 1)")
        up.wait_for(r"^ +\d\d:\d\d:\d\d  Instances: .*(none of http)")
        assert "http" in [group["group"] for group in requests.get(address, timeout=PATIENCE_S).json()["groups"]]
        up.end_by_ctrl_c()


def test_ports_that_are_taken_are_told_before_anything_is_started(tmp_path: Path) -> None:
    with ExitStack() as other:
        with suppress(OSError):  # something else on this machine listens there, which is as good
            other.enter_context(socket.create_server((LOOPBACK, KNOWN_PORTS.host)))

        second = subprocess.run(
            [sys.executable, "-m", "local_cloud", "up", "--home", str(tmp_path / "second")],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE_S,
            check=False,
        )

    assert second.returncode == 1
    assert str(KNOWN_PORTS.host) in second.stderr
    assert "--free-ports" in second.stderr
    assert "Traceback" not in second.stderr
    assert not (tmp_path / "second").exists()


def _wait_for_file(file: Path, up: Running) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not file.exists():
        assert time.monotonic() < deadline, up.printed
        time.sleep(LOOK_S)
