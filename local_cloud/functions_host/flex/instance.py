"""An instance: one process of the app, which runs the functions of one scale group. Only the front starts it.

It begins as a placeholder that knows nothing of the app, with this machine's environment. A line of JSON on stdin
(``Assignment``) makes it an instance. It tells the front what happens in lines of stdout with ``REPORT``; the others
are its log. SIGTERM, and the line ``drain``, let what runs end and take nothing new; the end of stdin, which is that of
the front, leaves it the seconds of ``--grace-seconds``.
"""

import argparse
import asyncio
import json
import logging
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from local_cloud.functions_host.host import Host, HostOptions, Told
from local_cloud.functions_host.http import Keys
from local_cloud.functions_host.invocations import Execution
from local_cloud.functions_host.process import (
    EXIT_UNUSABLE,
    bind,
    exit_now,
    log_to,
    print_lines,
    set_log_levels,
    setter,
    speak_utf8,
    stop_on_signals,
)
from local_cloud.functions_host.runtime import AppUnusable, PlaceholderWorker
from local_cloud.functions_host.settings import AppSettings, HostSettingsInvalid, read_host_json

REPORT: Final = "@instance "
DRAIN: Final = b"drain\n"

log = logging.getLogger("Host")


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What makes a placeholder an instance of an app."""

    root: str  # the app's folder
    environment: Mapping[str, str]  # all of it, with the app's settings
    functions: Sequence[str]
    keys: Mapping[str, str]
    lease_s: int
    drain_s: float
    not_before: float  # when it may serve at the earliest, in seconds since 1970

    def to_line(self) -> bytes:
        """One line for stdin."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Read what to_line wrote."""
        return cls(**json.loads(line))


class _Stdin:
    """The front's words, line by line. Not sys.stdin: its lock would break our own exit."""

    def __init__(self) -> None:
        self._read = b""

    def line(self) -> bytes:
        """Wait for a line; b"" at the end."""
        while b"\n" not in self._read:
            if not (more := os.read(0, 65536)):
                return b""
            self._read += more
        line, _, self._read = self._read.partition(b"\n")
        return line + b"\n"


def main(arguments: Sequence[str]) -> int:
    """Wait to be assigned an app, run it, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m local_cloud.functions_host.flex.instance", description=__doc__)
    parser.add_argument("--grace-seconds", type=float, required=True)
    options = parser.parse_args(arguments)
    speak_utf8()
    log_to(sys.stdout)
    stdin = _Stdin()
    worker = PlaceholderWorker()
    worker.begin()
    if not (line := stdin.line()):
        return 0  # the front has ended before it had work for us
    assignment = Assignment.from_line(line)
    worker.give(Path(assignment.root), assignment.environment, not_before=assignment.not_before)
    try:
        return asyncio.run(_run(assignment, worker, stdin, options.grace_seconds))
    except (AppUnusable, HostSettingsInvalid) as error:
        log.critical("%s", error)
        return EXIT_UNUSABLE


async def _run(assignment: Assignment, worker: PlaceholderWorker, stdin: _Stdin, grace_s: float) -> int:
    loop, drained, left_alone = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    drain, leave_alone = setter(loop, drained), setter(loop, left_alone)
    stop_on_signals(drain)

    def listen_to_front() -> None:
        while line := stdin.line():
            if line == DRAIN:
                drain()
        leave_alone()

    threading.Thread(target=listen_to_front, name="stdin", daemon=True).start()
    root, settings = Path(assignment.root), AppSettings(assignment.environment)
    host_json = read_host_json(root, settings)
    set_log_levels(host_json.log_levels)
    host = Host(
        HostOptions(
            root=root, keys=Keys(assignment.keys), lease_s=assignment.lease_s, only=frozenset(assignment.functions)
        ),
        settings,
        host_json,
        worker,
        bind(0),
        Told(of_execution=_report_execution, of_timer=lambda: _report(what="listening")),
    )
    await host.start()
    _report(what="ready", url=host.url)
    ends: set[asyncio.Future[Any]] = {
        host.ended,
        *(asyncio.create_task(event.wait()) for event in (drained, left_alone)),
    }
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    if host.ended.done():
        return host.ended.result()
    _report(what="draining")
    stopping = asyncio.create_task(host.stop(assignment.drain_s))
    waited_for: set[asyncio.Future[Any]] = {stopping, asyncio.create_task(left_alone.wait())}
    await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.wait({stopping}, timeout=grace_s)
    if not (stopping.done() and stopping.result()):
        log.warning("Invocations that still run are cut off; their messages come back when their leases end")
    return 0


def _report_execution(execution: Execution) -> None:
    _report(what="execution", **asdict(execution))


def _report(**content: object) -> None:
    print_lines(f"{REPORT}{json.dumps(content)}")


if __name__ == "__main__":
    exit_now(main(sys.argv[1:]))
