"""What every benchmark gets: a folder, whether a short trial will do, and a way to say how far it is."""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

from local_cloud.cloud import ROOT

CHILD_TIMEOUT_S: Final = 1800.0
LINE_EVERY_S: Final = 5.0


class NotMeasurable(Exception):
    """Something that is missing on this machine; the text says what."""


class Progress:
    """One line on stderr that tells what is being measured: rewritten on a terminal, else a line every few seconds."""

    def __init__(self, stream: TextIO, *, of: int, every_s: float = LINE_EVERY_S) -> None:
        """of: how many benchmarks there will be; every_s: seconds between two lines where it is no terminal."""
        self._stream, self._of, self._every_s = stream, of, 0.0 if stream.isatty() else every_s
        self._number, self._name, self._began = 0, "", 0.0
        self._last, self._next = "", 0.0

    def begin(self, name: str) -> None:
        """Tell that the next benchmark begins."""
        self._number, self._name, self._began, self._next = self._number + 1, name, time.monotonic(), 0.0
        self.say("starting")

    def say(self, what: str) -> None:
        """Tell how far it is."""
        now = time.monotonic()
        if what != self._last and now >= self._next:
            self._last, self._next = what, now + self._every_s
            line = f"[{self._number}/{self._of}] {self._name} {now - self._began:5.0f} s  {what}"
            self._stream.write(f"\r\x1b[2K{line[:110]}" if self._stream.isatty() else f"{line}\n")
            self._stream.flush()

    def end(self) -> None:
        """Leave the terminal's line to what is printed next."""
        if self._stream.isatty():
            self._stream.write("\r\x1b[2K")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One run of one benchmark."""

    home: Path  # an empty folder of its own
    quick: bool  # a scaled-down run that shows that it works; its figures say little
    progress: Progress

    def say(self, what: str) -> None:
        """Tell how far it is."""
        self.progress.say(what)

    def folder(self, name: str) -> Path:
        """Return a new folder."""
        folder = self.home / name
        folder.mkdir()
        return folder


def run_child(module: str, *arguments: str, env: Mapping[str, str]) -> Any:
    """Run a module of ours in a process of its own and return the JSON value that it prints.

    Raises RuntimeError with what it printed when it fails.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=dict(env),
        capture_output=True,
        encoding="utf-8",
        timeout=CHILD_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{module} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return json.loads(done.stdout)
