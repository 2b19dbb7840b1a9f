"""What a process takes, as Linux tells it below /proc: memory, processor, writes to disk. Elsewhere: not measured."""

import os
import re
import sys
from pathlib import Path
from typing import Final

from tests.benchmarks.trial import NotMeasurable

IS_MEASURED: Final = sys.platform == "linux"

_PROC: Final = Path("/proc")
_FORGET_PEAK: Final = "5"  # https://docs.kernel.org/filesystems/proc.html, clear_refs
_MIB: Final = 1024


def needs_linux() -> None:
    """Raise NotMeasurable where there is no /proc."""
    if not IS_MEASURED:
        raise NotMeasurable("the memory of a process is read from /proc, which only Linux has")


def functions_host_on(port: int) -> int:
    """Return the process id of the functions host that listens on this port; not that of its guard."""
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue  # it has ended, or is another user's
            if words[1:3] == ["-m", "local_cloud.functions_host"] and str(port) in words:
                return int(folder.name)
    raise RuntimeError(f"no functions host is running on port {port}")


def memory_mib(pid: int | str = "self") -> float:
    """Return the resident memory of a process, in MiB."""
    return _kib(pid, "status", "VmRSS") / _MIB


def peak_mib(pid: int | str = "self") -> float:
    """Return the highest that the resident memory has been since ``forget_peak``, in MiB."""
    return _kib(pid, "status", "VmHWM") / _MIB


def forget_peak(pid: int | str = "self") -> None:
    """Let the peak begin anew from what is resident now."""
    (_PROC / str(pid) / "clear_refs").write_text(_FORGET_PEAK)


def written_mib(pid: int | str = "self") -> float:
    """Return what a process has caused to be written to disk so far, in MiB."""
    return _kib(pid, "io", "write_bytes") / _MIB / _MIB


def cpu_s(pid: int) -> float:
    """Return the seconds of a processor that a process has used so far."""
    words = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime, proc(5)


def _kib(pid: int | str, file: str, key: str) -> int:
    found = re.search(rf"^{key}:\s*(\d+)", (_PROC / str(pid) / file).read_text(), re.MULTILINE)
    if found is None:
        raise NotMeasurable(f"/proc/PID/{file} has no {key} here")
    return int(found[1])
