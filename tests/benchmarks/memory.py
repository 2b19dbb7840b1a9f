"""memory: what the functions host's process takes at its peak, above idle, for packages of three sizes, both ways.

The process is the whole host with the app, as Linux counts its resident memory (VmHWM); idle is after one small package
each way, when all libraries are loaded. Packages are holes but for what a zip needs, so that 5 GiB take no room: they
lie in the simulated OneDrive's folder, which makes holes of the zeros that it receives as well; in place of Azurite,
F&O has a blob storage that keeps nothing (``roomless.py``). The app hashes and moves every byte all the same.
What the host wrote to disk meanwhile is counted too (write_bytes of Linux).
"""

import time
from dataclasses import dataclass
from typing import Final

from tests.benchmarks import process
from tests.benchmarks.big_package import MIB, write_big_package
from tests.benchmarks.figures import Figure, Limit, Sample
from tests.benchmarks.roomless import Roomless, a_roomless_stage
from tests.benchmarks.stage import LARGE, PATIENCE_S, both_ways, exported, put_big
from tests.benchmarks.trial import Trial

NAME: Final = "memory"
SIZES: Final = (1 * MIB, 256 * MIB, 5 * 1024 * MIB)
QUICK_SIZES: Final = (1 * MIB, 32 * MIB, 64 * MIB)
NOISE_MIB: Final = 8.0  # what counts as no growth
WAYS: Final = ("in", "out")
SETTLES_S: Final = 1.0  # until the host has given back what the first packages took


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """What one package took of the host."""

    peak_mib: float
    written_mib: float
    seconds: float


class _Scene:
    """The app between a OneDrive that keeps holes and an F&O that keeps no package."""

    def __init__(self, trial: Trial, cloud: Roomless) -> None:
        self._trial = trial
        self._stage, self._blobs, self._fno = cloud.stage, cloud.blobs, cloud.finance_operations
        self._count = 0
        self.pid = process.functions_host_on(self._stage.host_port)

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
    with a_roomless_stage(trial, both_ways) as cloud:
        scene = _Scene(trial, cloud)
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
