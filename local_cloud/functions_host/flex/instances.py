"""An instance seen from outside: its process, what it is doing, and since when it does nothing."""

import asyncio
import contextlib
import json
import logging
import sys
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final

from local_cloud.functions_host.flex.instance import DRAIN, REPORT, Assignment
from local_cloud.functions_host.flex.journal import Journal
from local_cloud.functions_host.invocations import Execution
from local_cloud.functions_host.process import GRACE_S, print_lines

_LONGEST_LINE_BYTES: Final = 2**24  # of an instance's output
_MODULE: Final = "local_cloud.functions_host.flex.instance"

log = logging.getLogger("Host.Scale")


class State(StrEnum):
    """What an instance has come to."""

    STARTING = "starting"
    SERVING = "serving"
    STOPPING = "stopping"  # it takes nothing new, and ends what runs


class Instance:
    """One process. Start it, and run it until it has ended."""

    def __init__(self, group: str, name: str, journal: Journal, changed: Callable[[], None]) -> None:
        """changed: called whenever its state or what it does has changed."""
        self.group = group
        self.name = name
        self.state = State.STARTING
        self.url = ""  # where it listens, once it serves
        self.asked = time.time()
        self.since = self.asked  # when its state changed last, in seconds since 1970
        self.is_listening = False  # its timer has the lock, and fires at its times
        self.forwarding = 0  # requests that are on their way to it or back
        self.executing: dict[str, Execution] = {}
        self._idle_since = time.monotonic()
        self._journal = journal
        self._changed = changed
        self._process: asyncio.subprocess.Process

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def is_busy(self) -> bool:
        """Whether it has something to do."""
        return bool(self.executing or self.forwarding)

    @property
    def idle_s(self) -> float:
        """Seconds since it has last had something to do; 0 while it has, or has not begun."""
        return 0.0 if self.is_busy or self.state is State.STARTING else time.monotonic() - self._idle_since

    async def start(self, machine: Mapping[str, str], assignment: Assignment) -> None:
        """Start the placeholder, with this machine's environment, and assign it the app."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", _MODULE, "--grace-seconds", str(GRACE_S)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(machine),
            limit=_LONGEST_LINE_BYTES,
        )
        self._note("asked", at=self.asked)
        self._write(assignment.to_line())

    async def run(self) -> int:
        """Pass its log on and hear its reports until it has ended; return its exit code."""
        assert self._process.stdout is not None  # opened as a pipe in start
        while line := await self._process.stdout.readline():
            said, _, report = line.decode(errors="replace").rstrip("\r\n").partition(REPORT)
            if said:
                print_lines(f"{self.name}  {said}")
            if report:
                self._hear(json.loads(report))
        code = await self._process.wait()
        ended = time.time()
        for execution in self.executing.values():
            self._note_invocation(execution, ended=ended, ok=False)
        self.executing.clear()
        self._note("stopped", at=ended)
        return code

    def drain(self) -> None:
        """Let it end what runs, and then itself."""
        self._enter(State.STOPPING)
        self._write(DRAIN)

    def kill(self) -> None:
        """End it at once, as when its machine loses power."""
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            self._process.kill()

    def begin_request(self) -> None:
        """Count a request that is given to it."""
        self.forwarding += 1

    def end_request(self) -> None:
        """Count a request that it is done with."""
        self.forwarding -= 1
        self._idle_since = time.monotonic()
        self._changed()

    def status(self) -> Mapping[str, Any]:
        """How it is, for people and programs."""
        return {
            "instance": self.name,
            "pid": self.pid,
            "state": self.state,
            "since": self.since,
            "executing": [
                {"function": execution.function, "began": execution.began} for execution in self.executing.values()
            ],
        }

    def _hear(self, report: dict[str, Any]) -> None:
        match report.pop("what"):
            case "ready":
                self.url = report["url"]
                if self.state is State.STARTING:
                    self._enter(State.SERVING)
                self._note("started", at=time.time())
            case "draining":  # somebody else has told it to
                if self.state is not State.STOPPING:
                    self._enter(State.STOPPING)
            case "listening":
                self.is_listening = True
                self._idle_since = time.monotonic()
            case "execution":
                execution = Execution(**report)
                if execution.ended is None:
                    self.executing[execution.invocation_id] = execution
                else:
                    self.executing.pop(execution.invocation_id, None)
                    self._idle_since = time.monotonic()
                    self._note_invocation(execution, ended=execution.ended, ok=execution.succeeded)
        self._changed()

    def _enter(self, state: State) -> None:
        self.state, self.since = state, time.time()
        self._idle_since = time.monotonic()
        self._changed()

    def _write(self, line: bytes) -> None:
        assert self._process.stdin is not None  # opened as a pipe in start
        with contextlib.suppress(OSError, RuntimeError):  # it has ended: that is noticed where it is run
            self._process.stdin.write(line)

    def _note(self, event: str, *, at: float) -> None:
        self._journal.instance(event, group=self.group, instance=self.name, pid=self.pid, at=at)

    def _note_invocation(self, execution: Execution, *, ended: float, ok: bool) -> None:
        self._journal.invocation(
            group=self.group,
            instance=self.name,
            function=execution.function,
            began=execution.began,
            ended=ended,
            ok=ok,
        )
