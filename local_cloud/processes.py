"""Child processes that do not outlive us: started, watched until they are ready, stopped with everything they started.

Used for Azurite and for the functions host. Windows and POSIX end orphans in different ways, so each has its own here:
on POSIX this very file, run as a script, stands between us and the child and ends the child's process group when the
pipe from us closes, however we ended; on Windows a job object does the same through the kernel.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_KEPT_LINES: Final = 2000  # of a child's output, for the error text when it does not come up
_LAST_WORDS_S: Final = 10.0  # how long what a child started and left behind may keep its output open


class ChildFailed(RuntimeError):
    """The child ended, or did not become ready in time; the text ends with what it printed last."""


class ChildProcess:
    """One child process with everything it starts in turn. Use as a context manager: it is stopped at the end.

    command: program and arguments, no shell. name: how messages call it.
    env: the whole environment of the child; None for ours.
    grace_s: how long it may take to close down before it is killed (POSIX; Windows has no way to ask, it kills).
    on_line: called with each line of output (stdout and stderr together, no line end), from another thread.
    Raises ChildFailed when there is no such program; on POSIX the first wait raises it.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        name: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        grace_s: float = 5.0,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        self.name = name
        self._grace_s = grace_s
        self._on_line = on_line
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._changed = threading.Condition()
        self._output_ended = False
        self._gone = False  # once all is over: the system may give the process id to another
        try:
            self._popen = _start([str(part) for part in command], cwd=cwd, env=env, grace_s=grace_s)
        except OSError as error:
            raise ChildFailed(f"cannot start {name}: {error}") from error
        self._job = _Job(self._popen) if sys.platform == "win32" else None
        self._reader = threading.Thread(target=self._read, name=f"output of {name}", daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def exit_code(self) -> int | None:
        """None while it runs; 128 + N where signal N ended it (POSIX)."""
        code = self._popen.poll()
        return code if code is None or code >= 0 else 128 - code

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.exit_code is None

    @property
    def output(self) -> str:
        """The last lines it printed."""
        with self._changed:
            return "\n".join(self._lines)

    def wait_for_line(self, pattern: str, *, timeout_s: float) -> re.Match[str]:
        """Wait until a line of output matches; lines printed before the call count.

        Raises ChildFailed when it ends first or the time is over.
        """
        wanted = re.compile(pattern)
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                for line in self._lines:
                    if match := wanted.search(line):
                        return match
                if self._output_ended:
                    raise self._not_ready("ended before it was ready")
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise self._not_ready(f"was not ready within {timeout_s:g} s (no line matched {pattern!r})")
                self._changed.wait(left_s)

    def wait_for_port(self, port: int, *, timeout_s: float) -> None:
        """Wait until something accepts connections on this loopback port. Raises ChildFailed as above."""
        deadline = time.monotonic() + timeout_s
        while not _accepts(port):
            with self._changed:
                if self._output_ended or not self.running:
                    raise self._not_ready("ended before it was ready")
                if time.monotonic() >= deadline:
                    raise self._not_ready(f"did not listen on port {port} within {timeout_s:g} s")
                self._changed.wait(0.02)

    def wait(self, *, timeout_s: float) -> int:
        """Wait until it ends by itself, all it printed has been read; returns its exit code.

        Raises ChildFailed when the time is over.
        """
        try:
            self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise self._not_ready(f"was still running after {timeout_s:g} s") from None
        self._reader.join(_LAST_WORDS_S)
        code = self.exit_code
        assert code is not None  # wait() has just returned
        return code

    def stop(self) -> None:
        """Ask it to close down, kill it when the grace time is over, and wait until it is gone. May be called twice."""
        if self._gone:
            return
        self._close_stdin()
        if self._job is not None:
            self._job.end()
        try:
            self._popen.wait(self._grace_s + 2)
        except subprocess.TimeoutExpired:  # its guard was stopped or starved: no longer asked
            self.kill()
        self._finish()

    def kill(self) -> None:
        """End it and all it started at once, with no chance to close down, as when the machine loses power."""
        if not self._gone:
            self._kill_all()
            self._finish()

    def _kill_all(self) -> None:
        if sys.platform != "win32":
            # Not there: all have ended. Not permitted: how macOS says that only ended ones are left.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._popen.pid, signal.SIGKILL)
        elif self._job is not None:
            self._job.end()

    def _close_stdin(self) -> None:
        if self._popen.stdin is not None:
            self._popen.stdin.close()

    def _finish(self) -> None:
        self._close_stdin()
        self._popen.wait(60)
        self._kill_all()  # what it has started and not ended itself
        self._gone = True
        self._reader.join(_LAST_WORDS_S)
        if self._popen.stdout is not None and not self._reader.is_alive():  # else a daemon made it its own
            self._popen.stdout.close()

    def _read(self) -> None:
        assert self._popen.stdout is not None  # opened as a pipe in _start
        for raw in self._popen.stdout:
            line = raw.rstrip("\r\n")
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
            if self._on_line is not None:
                self._on_line(line)
        with self._changed:
            self._output_ended = True
            self._changed.notify_all()

    def _not_ready(self, what: str) -> ChildFailed:
        said = "\n".join(f"    {line}" for line in self._lines) or "    (nothing)"
        return ChildFailed(f"{self.name} {what}. It printed:\n{said}")


def _start(
    command: list[str], *, cwd: Path | None, env: Mapping[str, str] | None, grace_s: float
) -> subprocess.Popen[str]:
    if sys.platform == "win32":
        # A group of its own, so that Ctrl-C in the console reaches us alone and we stop it in our order.
        return subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            creationflags=subprocess.CREATE_NEW_PROCESS_GROUP,
        )
    guard = [sys.executable, "-I", "-S", str(Path(__file__).resolve()), str(grace_s)]
    return subprocess.Popen(
        [*guard, *command],
        cwd=cwd,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    class _BasicLimits(ctypes.Structure):
        _fields_ = (
            ("PerProcessUserTimeLimit", ctypes.c_int64),
            ("PerJobUserTimeLimit", ctypes.c_int64),
            ("LimitFlags", wintypes.DWORD),
            ("MinimumWorkingSetSize", ctypes.c_size_t),
            ("MaximumWorkingSetSize", ctypes.c_size_t),
            ("ActiveProcessLimit", wintypes.DWORD),
            ("Affinity", ctypes.c_size_t),
            ("PriorityClass", wintypes.DWORD),
            ("SchedulingClass", wintypes.DWORD),
        )

    class _ExtendedLimits(ctypes.Structure):
        _fields_ = (
            ("BasicLimitInformation", _BasicLimits),
            ("IoInfo", ctypes.c_uint64 * 6),
            ("ProcessMemoryLimit", ctypes.c_size_t),
            ("JobMemoryLimit", ctypes.c_size_t),
            ("PeakProcessMemoryUsed", ctypes.c_size_t),
            ("PeakJobMemoryUsed", ctypes.c_size_t),
        )

    _EXTENDED_LIMIT_INFORMATION: Final = 9
    _KILL_ON_JOB_CLOSE: Final = 0x2000

    class _Job:
        """A kernel job that holds the child and its children; Windows ends them all when our handle closes.

        https://learn.microsoft.com/windows/win32/api/winnt/ns-winnt-jobobject_basic_limit_information
        """

        def __init__(self, popen: subprocess.Popen[str]) -> None:
            kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
            kernel32.CreateJobObjectW.restype = wintypes.HANDLE
            kernel32.CreateJobObjectW.argtypes = (ctypes.c_void_p, wintypes.LPCWSTR)
            kernel32.SetInformationJobObject.argtypes = (
                wintypes.HANDLE,
                ctypes.c_int,
                ctypes.c_void_p,
                wintypes.DWORD,
            )
            kernel32.AssignProcessToJobObject.argtypes = (wintypes.HANDLE, wintypes.HANDLE)
            kernel32.TerminateJobObject.argtypes = (wintypes.HANDLE, wintypes.UINT)
            self._kernel32 = kernel32
            self._handle = kernel32.CreateJobObjectW(None, None)
            limits = _ExtendedLimits()
            limits.BasicLimitInformation.LimitFlags = _KILL_ON_JOB_CLOSE
            made = self._handle and kernel32.SetInformationJobObject(
                self._handle, _EXTENDED_LIMIT_INFORMATION, ctypes.byref(limits), ctypes.sizeof(limits)
            )
            # A child that has ended already cannot be assigned, and need not be.
            if not made or not (
                kernel32.AssignProcessToJobObject(
                    self._handle,
                    int(popen._handle),  # type: ignore[attr-defined]  # not in typeshed; subprocess itself uses it
                )
                or popen.poll() is not None
            ):
                popen.kill()
                raise ctypes.WinError(ctypes.get_last_error())

        def end(self) -> None:
            self._kernel32.TerminateJobObject(self._handle, 1)
else:

    class _Job:
        """Only Windows has jobs."""

        def __init__(self, popen: subprocess.Popen[str]) -> None:
            raise NotImplementedError

        def end(self) -> None:
            raise NotImplementedError

    def _guard(arguments: Sequence[str]) -> int:
        """Run the command; once the pipe on our stdin closes, end our process group, first politely.

        The group is ours and the child's alone (start_new_session), so its end is also the end of the child's children.
        """
        grace_s, command = float(arguments[0]), arguments[1:]
        parent, abandoned = os.getppid(), threading.Event()
        # A handler that does nothing, not SIG_IGN: the child must get the default back on exec.
        signal.signal(signal.SIGTERM, lambda _number, _frame: None)
        try:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        except OSError as error:
            sys.stderr.write(f"cannot start {command[0]}: {error}\n")
            return 127

        def end_when_abandoned() -> None:
            sys.stdin.buffer.read()
            abandoned.set()
            os.killpg(0, signal.SIGTERM)
            time.sleep(grace_s)
            os.killpg(0, signal.SIGKILL)

        threading.Thread(target=end_when_abandoned, daemon=True).start()
        code = child.wait()
        # Nobody else may be there to end what the child left behind. The parent's id alone does not tell in time: a
        # process that dies closes its pipes before its children get another parent.
        if abandoned.is_set() or os.getppid() != parent:
            os.killpg(0, signal.SIGKILL)
        return code if code >= 0 else 128 - code


if __name__ == "__main__" and sys.platform != "win32":
    # The child has its own copies of stdout and stderr; flushing ours at exit has nothing to do with it.
    os._exit(_guard(sys.argv[1:]))
