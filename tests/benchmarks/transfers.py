"""large_in, large_out: a package of 1 GiB from OneDrive into F&O's blob storage, and from there into OneDrive.

Ours is what the app's log says of the step that moves the package (upload, deliver), with all that it does besides:
looking into the package, asking for addresses, hashing. The reference is curl: download to a file, then upload of the
same bytes, from and to the same servers; the time is what curl itself tells. OneDrive takes at most 60 MiB in one
request, so curl uploads 50 MiB at a time, over one connection; the file is cut up outside the time. In turn, the
reference first in every other pair.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from azure.storage.blob import BlobClient

from local_cloud.finance_operations.blobs import DOWNLOADS
from local_cloud.finance_operations.executions import Execution
from tests.benchmarks.big_package import MIB, write_big_package
from tests.benchmarks.figures import Figure, Limit, Sample
from tests.benchmarks.plain import PUT_BLOB, Caller
from tests.benchmarks.stage import LARGE, PATIENCE_S, a_stage, both_ways, exported, put_big
from tests.benchmarks.trial import NotMeasurable, Trial
from tests.end_to_end.stage import Stage
from tests.packages import build_package

IN: Final = "large_in"
OUT: Final = "large_out"
SIZE_BYTES: Final = 1024 * MIB
QUICK_BYTES: Final = 64 * MIB
PAIRS: Final = 2
PIECE_BYTES: Final = 160 * 320 * 1024  # of an upload to OneDrive; a multiple of 320 KiB below 60 MiB
FREE_BYTES: Final = 8 * SIZE_BYTES  # on disk: what curl keeps, and what OneDrive gets
NEVER_S: Final = 7 * 24 * 3600.0

# No proxy, no pause for a "100 Continue"; what each transfer took goes to stdout.
_CURL: Final = ["-sS", "--fail", "--noproxy", "*", "-H", "Expect:", "-w", "took %{time_total}\\n"]
_PUT_BLOB: Final = [word for name, value in PUT_BLOB.items() for word in ("-H", f"{name}: {value}")]


def measure_in(trial: Trial) -> list[Figure]:
    """Return MB/s of an import."""
    with _a_stage(trial) as stage:
        caller = Caller(stage.settings)
        (stage.folder / "Reference").mkdir()

        def reference(number: int) -> float:
            name = f"{number}.zip"
            put_big(stage, "Reference", name, _size(trial))
            url = caller.item(f"Reference/{name}")["@microsoft.graph.downloadUrl"]
            target = caller.write_url(name)
            return _curl_through(trial, url, lambda file: [*_PUT_BLOB, "-T", str(file), target])

        def ours(number: int) -> float:
            name = f"USMF_{number}.zip"
            put_big(stage, "Input", name, _size(trial))
            return _seconds_of("upload", stage.ended(name, within_s=PATIENCE_S)["run_id"], stage)

        samples = _pairs(trial, ours, reference)
    return [_figure(trial, IN, "from OneDrive into F&O's blob storage", samples)]


def measure_out(trial: Trial) -> list[Figure]:
    """Return MB/s of an export."""
    with _a_stage(trial) as stage:
        caller = Caller(stage.settings)
        stage.put("USMF_rows.zip", build_package(data_project=LARGE, entity=LARGE))
        stage.ended("USMF_rows.zip")
        stage.finance_operations.change(seconds_per_execution=NEVER_S)

        def reference(number: int) -> float:
            url = caller.action(
                "GetExportedPackageUrl", executionId=stage.finance_operations.executions[-1].execution_id
            )
            target = caller.upload_url(f"Output/reference {number}.zip")
            return _curl_through(trial, url, lambda file: _pieces_to(file, target))

        def ours(_number: int) -> float:
            return _seconds_of("deliver", _exported(trial, stage), stage)

        ours(0)  # the reference needs a package that has been exported
        samples = _pairs(trial, ours, reference)
    return [_figure(trial, OUT, "from F&O's blob storage into OneDrive", samples)]


# -- ours


@contextmanager
def _a_stage(trial: Trial) -> Iterator[Stage]:
    """Start a cloud with one import and one export of a data project; raises NotMeasurable where that cannot be."""
    if shutil.which("curl") is None:
        raise NotMeasurable("curl, the reference, is not installed")
    if shutil.disk_usage(trial.home).free < FREE_BYTES:
        raise NotMeasurable(f"less than {FREE_BYTES // MIB:,} MiB are free on disk")
    with a_stage(trial, settings=both_ways()) as stage:
        yield stage


def _size(trial: Trial) -> int:
    return QUICK_BYTES if trial.quick else SIZE_BYTES


def _exported(trial: Trial, stage: Stage) -> str:
    """Let the app export; its package is made big before the execution ends. Return the run's id."""

    def make_big(execution: Execution) -> None:
        big = trial.home / "export.zip"
        write_big_package(big, _size(trial), data_project=LARGE)
        blob = BlobClient.from_connection_string(stage.azurite.connection_string, DOWNLOADS, execution.package_blob)
        with blob, big.open("rb") as content:
            blob.upload_blob(content, overwrite=True)
        stage.finance_operations.end_now(execution.execution_id)

    name = exported(stage, stage.finance_operations, make_big)
    return str(stage.ended(name, within_s=PATIENCE_S)["run_id"])


def _seconds_of(step: str, run_id: str, stage: Stage) -> float:
    """Return how long the tries of a run's step took, as the app has logged them."""
    # Not from the run's record: of equal steps in a row, such as the last look whether anything is left, it has one.
    events = [json.loads(line[line.index("{") :]) for line in stage.log if '"step.done"' in line and run_id in line]
    return sum(float(event["took_s"]) for event in events if event["step"] == step)


# -- the reference


def _curl_through(trial: Trial, url: str, upload: Callable[[Path], list[str]]) -> float:
    """Download to a file, then upload it; return the seconds that curl tells of both.

    upload: returns curl's arguments that upload a file.
    """
    file = trial.home / "curl.bin"
    try:
        return _curl(["-o", str(file), url]) + _curl(upload(file))
    finally:
        for each in trial.home.glob("curl.bin*"):
            each.unlink()


def _pieces_to(file: Path, url: str) -> list[str]:
    """Cut the file up; return curl's arguments that upload the pieces to an upload session."""
    total, arguments = file.stat().st_size, list[str]()
    with file.open("rb") as whole:
        for start in range(0, total, PIECE_BYTES):
            piece = file.with_name(f"{file.name}.{start}")
            piece.write_bytes(whole.read(PIECE_BYTES))
            content_range = f"Content-Range: bytes {start}-{start + piece.stat().st_size - 1}/{total}"
            arguments += [*(["--next", *_CURL] if arguments else []), "-H", content_range, "-T", str(piece), url]
    return arguments


def _curl(arguments: list[str]) -> float:
    """Run curl; return the seconds of all its transfers."""
    done = subprocess.run(["curl", *_CURL, *arguments], capture_output=True, encoding="utf-8", check=False)
    if done.returncode != 0:
        raise RuntimeError(f"curl ended with {done.returncode}: {done.stderr}")
    return sum(map(float, re.findall(r"took (\S+)", done.stdout)))


# -- both


def _pairs(trial: Trial, ours: Callable[[int], float], reference: Callable[[int], float]) -> tuple[Sample, ...]:
    """Measure both in turn; return MB/s."""
    megabytes = _size(trial) / 1e6
    samples = []
    for number in range(1 if trial.quick else PAIRS):
        took: dict[str, float] = {}
        order = [("the reference", reference), ("ours", ours)]
        for name, measured in order if number % 2 == 0 else reversed(order):
            trial.say(f"pair {number + 1}: {name}")
            took[name] = measured(number)
        samples.append(Sample(megabytes / took["ours"], megabytes / took["the reference"]))
    return tuple(samples)


def _figure(trial: Trial, row: str, way: str, samples: tuple[Sample, ...]) -> Figure:
    return Figure(
        row=row,
        what=f"a package of {_size(trial) // MIB:,} MiB {way}; reference: curl down, then curl up",
        unit="MB/s",
        samples=samples,
        limits=(Limit("ratio", "at least", 0.9),),
    )
