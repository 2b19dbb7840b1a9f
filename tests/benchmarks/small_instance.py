"""small_instance: whether an instance of 512 MB, which has a quarter of a core, bears as many large packages as come.

One process of the app takes 24 queue messages at a time (batchSize and newBatchThreshold in host.json), so 24 imports
appear at once, each in a lane of its own, and are all filed; then as many exports are started at once. The packages
take no room (``roomless.py``). The process has a quarter of a core from the moment that it is warm (``quota.py``).
Measured: the peak of its resident memory, idle included. Azure's own host shares the instance, so half of it is ours.
"""

import json
import time
from collections.abc import Mapping
from functools import partial
from typing import Final

from tests.benchmarks import process
from tests.benchmarks.big_package import MIB, write_big_package
from tests.benchmarks.figures import Figure, Limit, Sample
from tests.benchmarks.quota import cpu_quota
from tests.benchmarks.roomless import Roomless, a_roomless_stage
from tests.benchmarks.trial import Trial

NAME: Final = "small_instance"
AT_ONCE: Final = 24
QUICK_AT_ONCE: Final = 4
SIZE_BYTES: Final = 256 * MIB
QUICK_BYTES: Final = 16 * MIB
CORE: Final = 0.25
MOST_MB: Final = 250.0
MB_IN_A_MIB: Final = 1.048576
PATIENCE_S: Final = 1800.0
SETTLES_S: Final = 1.0  # until the process has given back what warming up took

_WARM_UP: Final = "Warm"  # the lane of the first package each way


def measure(trial: Trial) -> list[Figure]:
    """Return the peaks of both ways, and how long each way took."""
    process.needs_linux()
    count, size_bytes = (QUICK_AT_ONCE, QUICK_BYTES) if trial.quick else (AT_ONCE, SIZE_BYTES)
    lanes = tuple(f"Large {number:02}" for number in range(1, count + 1))
    figures = []
    with a_roomless_stage(trial, partial(_settings, lanes), lanes=(_WARM_UP, *lanes)) as cloud:
        pid = process.functions_host_on(cloud.stage.host_port)
        _import(trial, cloud, (_WARM_UP, *lanes), 0)  # F&O exports no data project that it does not have
        _export(trial, cloud, (_WARM_UP, *lanes), 0)
        time.sleep(SETTLES_S)  # idle is a state without an event that could be waited for
        idle_mib = process.memory_mib(pid)
        with cpu_quota(pid, CORE) as how:
            for way, act in (("in", _import), ("out", _export)):
                process.forget_peak(pid)
                began = time.monotonic()
                act(trial, cloud, lanes, size_bytes)
                took_s = time.monotonic() - began
                details = {"idle, MB": idle_mib * MB_IN_A_MIB, "seconds": took_s, "quarter of a core by": how}
                figures += _figures(way, count, size_bytes, process.peak_mib(pid), took_s, details)
    return figures


def _figures(
    way: str, count: int, size_bytes: int, peak_mib: float, took_s: float, details: Mapping[str, object]
) -> list[Figure]:
    what = f"{count} packages of {size_bytes // MIB} MiB {way} at once on a quarter of a core"
    return [
        Figure(
            row=NAME,
            what=f"{what}: the process at its peak",
            unit="MB",
            samples=(Sample(peak_mib * MB_IN_A_MIB),),
            limits=(Limit("ours", "at most", MOST_MB),),
            details=details,
        ),
        Figure(
            row=NAME,
            what=f"{what}: throughput",
            unit="MB/s",
            samples=(Sample(count * size_bytes / 1e6 / took_s),),
        ),
    ]


def _settings(lanes: tuple[str, ...], environment_url: str) -> dict[str, str]:
    """Return the setting of an import and an export for each lane, and of the ones that warm up."""
    every = (_WARM_UP, *lanes)
    where = {"environmentUrl": environment_url}
    export = {"company": "USMF", "everySeconds": 1, **where}
    flows = {
        "imports": [{"name": lane, "inputFolder": f"{lane}/Input", "dataProject": lane, **where} for lane in every],
        "exports": [
            {"name": f"{lane} out", "outputFolder": f"{lane}/Output", "dataProject": lane, **export} for lane in every
        ],
    }
    return {"INTEGRATIONS": json.dumps(flows)}


def _import(trial: Trial, cloud: Roomless, lanes: tuple[str, ...], size_bytes: int) -> None:
    """Let a package appear in each lane, and wait until all are filed."""
    stage, name = cloud.stage, f"USMF_{size_bytes}.zip"
    before = cloud.blobs.received_bytes
    for lane in lanes:
        write_big_package(stage.home / name, size_bytes, data_project=lane)
        (stage.home / name).rename(stage.folder / lane / "Input" / name)

    def filed() -> bool:
        count = sum(name in stage.files(f"{lane}/Success") for lane in lanes)
        trial.say(f"in: {count} of {len(lanes)} filed")
        return count == len(lanes)

    stage.wait_for(filed, "all packages in Success", within_s=PATIENCE_S)
    assert cloud.blobs.received_bytes - before >= size_bytes * len(lanes)


def _export(trial: Trial, cloud: Roomless, lanes: tuple[str, ...], size_bytes: int) -> None:
    """Start an export of each lane, and wait until all are delivered."""
    stage = cloud.stage
    cloud.blobs.export = trial.home / "export.zip"
    size_bytes = write_big_package(cloud.blobs.export, size_bytes, data_project=lanes[0])
    stage.run_function("start_exports")

    def delivered() -> bool:
        files = [file for lane in lanes for file in (stage.folder / lane / "Output").glob("*.zip")]
        count = sum(file.stat().st_size == size_bytes for file in files)
        trial.say(f"out: {count} of {len(lanes)} delivered")
        return count >= len(lanes)

    stage.wait_for(delivered, "all exports in Output", within_s=PATIENCE_S)
