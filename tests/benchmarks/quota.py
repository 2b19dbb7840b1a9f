"""A share of one core for a process, as a small instance in Azure has it.

With a control group of Linux where this user may make one; else the process is stopped and let go again, ten times a
second, which lets it use its share at once and then nothing: harder than a control group, and the same on average.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PERIOD_S: Final = 0.1

_VERSION_1: Final = Path("/sys/fs/cgroup/cpu")
_VERSION_2: Final = Path("/sys/fs/cgroup")


@contextlib.contextmanager
def cpu_quota(pid: int, share: float) -> Iterator[str]:
    """Let a process, and those that it starts from now on, use this share of a core; yield how that is done."""
    with contextlib.ExitStack() as stack:
        try:
            how = stack.enter_context(_control_group(pid, share))
        except OSError:
            how = stack.enter_context(_stopped_and_let_go(pid, share))
        yield how


@contextlib.contextmanager
def _control_group(pid: int, share: float) -> Iterator[str]:
    """Raises OSError if this user cannot make one. https://docs.kernel.org/scheduler/sched-bwc.html"""
    period_us = int(PERIOD_S * 1e6)
    is_first = (_VERSION_1 / "cpu.cfs_quota_us").exists() or (_VERSION_1 / "tasks").exists()
    root = _VERSION_1 if is_first else _VERSION_2
    group = root / f"onedrive-fo-bench-{os.getpid()}-{pid}"
    group.mkdir()
    try:
        if is_first:
            (group / "cpu.cfs_period_us").write_text(str(period_us))
            (group / "cpu.cfs_quota_us").write_text(str(int(period_us * share)))
        else:
            (group / "cpu.max").write_text(f"{int(period_us * share)} {period_us}")
        (group / "cgroup.procs").write_text(str(pid))
        yield "a control group"
    finally:
        for member in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                (root / "cgroup.procs").write_text(member)
        group.rmdir()


@contextlib.contextmanager
def _stopped_and_let_go(pid: int, share: float) -> Iterator[str]:
    over = threading.Event()

    def beat() -> None:
        with contextlib.suppress(ProcessLookupError):
            while not over.wait(PERIOD_S * share):
                os.kill(pid, signal.SIGSTOP)
                over.wait(PERIOD_S * (1 - share))
                os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=beat, name="quota")
    thread.start()
    try:
        yield "stopping it and letting it go"
    finally:
        over.set()
        thread.join()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
