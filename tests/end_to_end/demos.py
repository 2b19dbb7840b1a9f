"""Runs of the demo, each a process of its own: they go on beside other tests until one asks how they have ended."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from local_cloud.cloud import ROOT
from tests.packages import build_package

GIVEN_UP_AFTER_S: Final = 240
DEFAULT: Final = "default"  # with its own packages
FAILING: Final = "failing"  # with one whose rows all fail
FLEX: Final = "flex"  # with its own packages, as Azure Flex Consumption runs the app


@dataclass(frozen=True, slots=True)
class Ended:
    """A run of the demo that is over."""

    exit_code: int
    events: list[dict[str, Any]]
    errors: str
    marker: str  # stood in the environment of the demo and so in that of everything it started

    @property
    def summary(self) -> dict[str, Any]:
        return self.events[-1]


class Demo:
    """A run of the demo. As a context manager: it is killed at the end, if it has not ended by then."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        """folder: for what it prints, which nobody may read for long."""
        self._marker = f"demo-{uuid.uuid4().hex}"
        self._said, self._errors = folder / f"{self._marker}.out", folder / f"{self._marker}.err"
        with self._said.open("wb") as said, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "local_cloud", "demo", "--json", *arguments],
                cwd=ROOT,
                env={**os.environ, "STARTED_BY": self._marker},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=errors,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    @cached_property
    def ended(self) -> Ended:
        """What it has said; waits for its end."""
        code = self._process.wait(timeout=GIVEN_UP_AFTER_S)
        events = [json.loads(line) for line in self._said.read_text(encoding="utf-8").splitlines()]
        return Ended(code, events, self._errors.read_text(encoding="utf-8"), self._marker)


type Demos = Mapping[str, Demo]


def failing_package(folder: Path) -> Path:
    """Return a package whose rows F&O all refuses."""
    file = folder / "USMF_Failing_001.zip"
    file.write_bytes(build_package(entity="Failing", rows=(("A", "#ERROR in this row"), ("B", "#ERROR here too"))))
    return file
