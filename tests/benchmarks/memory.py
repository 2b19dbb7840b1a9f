"""memory: what the functions host's process takes at its peak, above idle, for packages of three sizes, both ways.

The process is the whole host with the app, as Linux counts its resident memory (VmHWM); idle is after one small package
each way, when all libraries are loaded. Packages are holes but for what a zip needs, so that 5 GiB take no room: they
lie in the simulated OneDrive's folder, which makes holes of the zeros that it receives as well; in place of Azurite,
F&O has a blob storage that keeps nothing (``bottomless_blobs.py``). The app hashes and moves every byte all the same.
What the host wrote to disk meanwhile is counted too (write_bytes of Linux).
"""

import io
import time
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Final, Self

import pytest

from local_cloud.finance_operations.api import FinanceOperationsSimulator
from local_cloud.finance_operations.knobs import Speed
from local_cloud.onedrive import uploads
from local_cloud.onedrive.quick_xor import QuickXor
from tests.benchmarks import process
from tests.benchmarks.big_package import MIB, write_big_package
from tests.benchmarks.bottomless_blobs import BottomlessBlobs
from tests.benchmarks.figures import Figure, Limit, Sample
from tests.benchmarks.stage import LARGE, PATIENCE_S, a_stage, both_ways, exported, put_big, subscribe
from tests.benchmarks.trial import Trial
from tests.end_to_end.stage import Stage
from tests.packages import build_package

NAME: Final = "memory"
SIZES: Final = (1 * MIB, 256 * MIB, 5 * 1024 * MIB)
QUICK_SIZES: Final = (1 * MIB, 32 * MIB, 64 * MIB)
NOISE_MIB: Final = 8.0  # what counts as no growth
WAYS: Final = ("in", "out")
SETTLES_S: Final = 1.0  # until the host has given back what the first packages took

_ZEROS: Final = bytes(MIB)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """What one package took of the host."""

    peak_mib: float
    written_mib: float
    seconds: float


class _Scene:
    """The app between a OneDrive that keeps holes and an F&O that keeps no package. A context manager."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._stack = ExitStack()
        self._count = 0
        self._stage: Stage
        self._blobs: BottomlessBlobs
        self._fno: FinanceOperationsSimulator
        self.pid = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            environment = stack.enter_context(pytest.MonkeyPatch.context())
            environment.setattr(uploads, "_append", _append_with_holes)
            package = build_package(data_project=LARGE, entity=LARGE)
            self._blobs = stack.enter_context(BottomlessBlobs(package=package))
            self._stage = stack.enter_context(a_stage(self._trial, with_host=False, subscribed=False))
            self._fno = stack.enter_context(
                FinanceOperationsSimulator(
                    self._blobs.connection_string,
                    self._stage.desk,
                    self._stage.faults,
                    speed=Speed(seconds_per_execution=0.5),
                )
            )
            self._stage.app_settings |= both_ways(self._fno.url)
            self._stage.start_host()
            subscribe(self._stage)
            self.pid = process.functions_host_on(self._stage.host_port)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def taken(self, size_bytes: int, way: str) -> _Taken:
        """Let one package go its way and return what it took."""
        self._trial.say(f"a package of {size_bytes // MIB:,} MiB {way}")
        process.forget_peak(self.pid)
        written_mib, began = process.written_mib(self.pid), time.monotonic()
        if way == "in":
            self._import(size_bytes)
        else:
            self._export(size_bytes)
        return _Taken(
            peak_mib=process.peak_mib(self.pid),
            written_mib=process.written_mib(self.pid) - written_mib,
            seconds=time.monotonic() - began,
        )

    def _import(self, size_bytes: int) -> None:
        self._count += 1
        name, before = f"USMF_{self._count}.zip", self._blobs.received_bytes
        put_big(self._stage, "Input", name, size_bytes)
        self._stage.wait_for(lambda: name in self._stage.files("Success"), f"{name} filed", within_s=PATIENCE_S)
        (self._stage.folder / "Success" / name).unlink()
        assert self._blobs.received_bytes - before >= size_bytes

    def _export(self, size_bytes: int) -> None:
        self._blobs.export = self._trial.home / "export.zip"
        size_bytes = write_big_package(self._blobs.export, size_bytes, data_project=LARGE)
        delivered = self._stage.folder / "Output" / exported(self._stage, self._fno, lambda _execution: None)
        assert delivered.stat().st_size == size_bytes
        delivered.unlink()


def measure(trial: Trial) -> list[Figure]:
    """Return the peaks, their growth and what was written to disk."""
    process.needs_linux()
    sizes = QUICK_SIZES if trial.quick else SIZES
    with _Scene(trial) as scene:
        for way in WAYS:
            scene.taken(0, way)
        time.sleep(SETTLES_S)  # idle is a state without an event that could be waited for
        idle_mib = process.memory_mib(scene.pid)
        taken = {(size, way): scene.taken(size, way) for size in sizes for way in WAYS}
        # What Python's memory has been stretched to by then, whatever the size, is no growth with the size.
        later = {way: max(taken[sizes[1], way].peak_mib, scene.taken(sizes[1], way).peak_mib) for way in WAYS}
    return [
        *(
            Figure(
                row=NAME,
                what=f"the host's peak above idle, {size // MIB:,} MiB {way}",
                unit="MiB",
                samples=(Sample(each.peak_mib - idle_mib),),
                limits=(Limit("ours", "at most", 64),),
                details={"idle, MiB": idle_mib, "seconds": each.seconds},
            )
            for (size, way), each in taken.items()
        ),
        *(
            Figure(
                row=NAME,
                what=f"its growth from {sizes[1] // MIB:,} MiB to {sizes[2] // MIB:,} MiB {way}",
                unit="MiB",
                samples=(Sample(taken[sizes[2], way].peak_mib - later[way]),),
                limits=(Limit("ours", "at most", NOISE_MIB),),
            )
            for way in WAYS
        ),
        Figure(
            row=NAME,
            what=f"written to disk by the host, {sizes[2] // MIB:,} MiB both ways",
            unit="MiB",
            samples=(Sample(sum(taken[sizes[2], way].written_mib for way in WAYS)),),
            limits=(Limit("ours", "under", 1),),
        ),
    ]


def _append_with_holes(file: BinaryIO, block: bytes, hashing: QuickXor) -> None:
    """Append to what the simulated OneDrive receives; zeros become a hole."""
    if block == _ZEROS[: len(block)]:
        file.truncate(file.seek(0, io.SEEK_END) + len(block))
    else:
        file.write(block)
    hashing.update(block)
