"""Sample apps on disk, and hosts that run them in a process of their own: the runtime takes one app a process."""

import asyncio
import json
import os
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import local_cloud
from local_cloud.processes import ChildProcess

PROJECT = Path(local_cloud.__file__).parents[1]
READY_WITHIN_S = 60.0
PATIENCE_S = 60.0  # costs nothing when all is well


def write_app(
    folder: Path, source: str, *, host_json: Mapping[str, Any] | None = None, values: Mapping[str, str] | None = None
) -> Path:
    """Write an app whose function_app.py is this source, below the imports that every app needs; return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    head = "import azure.functions as func\n\napp = func.FunctionApp()\n"
    (folder / "function_app.py").write_text(head + textwrap.dedent(source))
    (folder / "host.json").write_text(json.dumps({"version": "2.0", **(host_json or {})}))
    (folder / "local.settings.json").write_text(json.dumps({"IsEncrypted": False, "Values": dict(values or {})}))
    return folder


class RunningHost:
    """A host process that is ready."""

    def __init__(self, child: ChildProcess, app: Path) -> None:
        self.child = child
        self.app = app
        self.url: str = child.wait_for_line(r"^host ready (\S+)$", timeout_s=READY_WITHIN_S).group(1)

    def has_printed(self, pattern: str) -> str:
        """Wait for a line of its output and return what matched."""
        return self.child.wait_for_line(pattern, timeout_s=PATIENCE_S).group(0)


def start_host(app: Path, *arguments: str, env: Mapping[str, str] | None = None) -> ChildProcess:
    command: Sequence[str] = [sys.executable, "-m", "local_cloud.functions_host", "--app", str(app), "--port", "0"]
    return ChildProcess([*command, *arguments], name="host", cwd=PROJECT, env={**os.environ, **(env or {})})


@contextmanager
def running_host(app: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[RunningHost]:
    with start_host(app, *arguments, env=env) as child:
        yield RunningHost(child, app)


def eventually[T](probe: Callable[[], T], *, within_s: float = PATIENCE_S) -> T:
    """Ask again until the answer is true; return it. Fails when the time is over."""
    deadline = time.monotonic() + within_s
    while not (answer := probe()):
        assert time.monotonic() < deadline, f"not so within {within_s} s (last answer: {answer!r})"
        time.sleep(0.02)
    return answer


async def until[T](probe: Callable[[], Awaitable[T]], *, within_s: float = PATIENCE_S) -> T:
    """The same where the answer must be awaited."""
    async with asyncio.timeout(within_s):
        while not (answer := await probe()):  # noqa: ASYNC110  # what is waited for is in another process
            await asyncio.sleep(0.02)
    return answer
