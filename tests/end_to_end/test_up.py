"""``python -m local_cloud up`` as a person runs it: on the well-known ports, until Ctrl-C."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_cloud.cloud import ROOT
from local_cloud.up import taken_ports
from tests.end_to_end.stage import LOOK_S, PATIENCE_S, processes_with
from tests.packages import build_package
from tests.world import wait_for

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no Ctrl-C for one child process"),
    pytest.mark.skipif(bool(taken_ports(with_host=True)), reason="the well-known ports are in use on this machine"),
]


class Running:
    """The command, and all that it prints."""

    def __init__(self, home: Path) -> None:
        self.marker = f"up-{uuid.uuid4().hex}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "local_cloud", "up", "--home", str(home), "--seconds", "0.5"],
            cwd=ROOT,
            env={**os.environ, "STARTED_BY": self.marker},
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

    def wait_for(self, pattern: str) -> str:
        """Wait until it has printed this, and return the pattern's group."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := re.search(pattern, self.printed, re.MULTILINE)):
            assert time.monotonic() < deadline, self.printed
            time.sleep(LOOK_S)
        return found[1]

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
    running = Running(tmp_path / "home")
    yield running
    running.close()


def test_a_file_copied_into_the_printed_folder_is_filed_and_ctrl_c_ends_everything(up: Running, tmp_path: Path) -> None:
    folder = Path(up.wait_for(r"^ +Input +(\S.*)$"))
    assert folder == (tmp_path / "home" / "OneDrive" / "Input").resolve()

    (folder / "USMF_Copied_001.zip").write_bytes(build_package())
    _wait_for_file(folder.parent / "Success" / "USMF_Copied_001.zip", up)
    if sys.platform == "linux":
        assert len(processes_with(up.marker)) >= 3  # itself, Azurite, the functions host

    up.process.send_signal(signal.SIGINT)

    assert up.process.wait(PATIENCE_S) == 0, up.printed
    if sys.platform == "linux":
        wait_for(lambda: processes_with(up.marker) == [])
    assert taken_ports(with_host=True) == []


def test_a_second_one_says_which_ports_are_taken(up: Running, tmp_path: Path) -> None:
    up.wait_for(r"^ +(Input) ")

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
    assert "7071" in second.stderr
    assert "Traceback" not in second.stderr
    assert not (tmp_path / "second").exists()


def _wait_for_file(file: Path, up: Running) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not file.exists():
        assert time.monotonic() < deadline, up.printed
        time.sleep(LOOK_S)
