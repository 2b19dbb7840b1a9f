"""backlog: one scan of 10,000 files in the Input folders of 100 lanes, and one wake-up of one of these lanes.

Each in a process of its own that has its folders, its token and a connection to storage already. The reference lists
the same folders through the same client and does nothing about them, before the look. F&O takes hours for an execution,
so that the wake-up ends when the lane's first package is with F&O. All of it once more with a tenth of the files, to
see whether the costs grow with the backlog as they should: a look's in step, a wake-up's not at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from shared.config.settings import read_settings
from tests.benchmarks import process
from tests.benchmarks.figures import Figure, Limit, Sample
from tests.benchmarks.stage import a_stage
from tests.benchmarks.storage_log import StorageLog, Whose
from tests.benchmarks.trial import Trial, run_child
from tests.packages import build_package

NAME: Final = "backlog"
LANES: Final = 100
FILES: Final = (1_000, 10_000)
QUICK_FILES: Final = (100, 300)
GROWS_AT_MOST: Final = 1.5  # a scan's time for a file, with ten times the files: 1 is linear
HOURS_S: Final = 4 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Backlog:
    """What was measured with so many files."""

    files: int
    listing: Mapping[str, Any]
    look: Mapping[str, Any]
    wake: Mapping[str, Any]
    wake_calls: Mapping[str, int]

    @property
    def look_ms_a_file(self) -> float:
        return float(self.look["took_s"]) * 1000 / self.files

    @property
    def storage_calls(self) -> int:
        return sum(self.wake_calls.values())


def measure(trial: Trial) -> list[Figure]:
    """Return a scan's time, memory and growth, and what a wake-up costs."""
    small, large = (_measured(trial, files) for files in (QUICK_FILES if trial.quick else FILES))
    seconds = Sample(large.look["took_s"], large.listing["took_s"])
    what = f"{large.files:,} files in {LANES} lanes"
    memory = (Sample(large.look["peak_mib"], large.listing["peak_mib"]),) if process.IS_MEASURED else ()
    return [
        Figure(
            row=NAME,
            what=f"one scan of {what}; reference: listing alone",
            unit="s",
            samples=(seconds,),
            limits=(Limit("ours", "under", 60),),
        ),
        Figure(
            row=NAME,
            what="memory of the process during that scan, at its peak",
            unit="MiB",
            samples=memory,
            limits=(Limit("ours", "under", 200),),
            note="" if process.IS_MEASURED else "only Linux tells it",
            details={"before the look": large.look["memory_mib"]},
        ),
        Figure(
            row=NAME,
            what=f"a scan's time for a file; reference: with {small.files:,} files",
            unit="ms",
            samples=(Sample(large.look_ms_a_file, small.look_ms_a_file),),
            limits=(Limit("ratio", "at most", GROWS_AT_MOST),),
        ),
        Figure(
            row=NAME,
            what=f"storage calls of one wake-up with {large.files:,} open runs; reference: with {small.files:,}",
            unit="calls",
            samples=(Sample(large.storage_calls, small.storage_calls),),
            limits=(Limit("ratio", "at most", 1),),
            details=large.wake_calls,
        ),
        Figure(
            row=NAME,
            what=f"time of that wake-up; reference: with {small.files:,} open runs",
            unit="ms",
            samples=(Sample(large.wake["took_s"] * 1000, small.wake["took_s"] * 1000),),
        ),
    ]


def _measured(trial: Trial, files: int) -> _Backlog:
    lanes = tuple(f"Lane {number:03}" for number in range(LANES))
    log = StorageLog()
    part = Trial(home=trial.folder(f"{files} files"), quick=trial.quick, progress=trial.progress)
    with a_stage(
        part, lanes=lanes, with_host=False, subscribed=False, seconds_per_execution=HOURS_S, on_storage=log.take
    ) as stage:
        trial.say(f"writing {files:,} files")
        for lane in lanes:
            folder = stage.folder / lane / "Input"
            folder.mkdir(parents=True)
            content = build_package(data_project=lane, entity=lane)
            for number in range(files // LANES):
                (folder / f"USMF_{number:05}.zip").write_bytes(content)

        def app(*work: str) -> dict[str, Any]:
            trial.say(f"{work[0]} with {files:,} files")
            log.forget()
            result: dict[str, Any] = run_child("tests.benchmarks.app", *work, env=stage.environment)
            return result

        app("listing")  # OneDrive hashes what it has not seen before
        listing, look = app("listing"), app("look")
        assert listing["done"] == look["done"] == files
        flow = read_settings(stage.settings).flows.import_named(lanes[LANES // 2])
        assert flow
        wake = app("wake", flow.lane)
        return _Backlog(files=files, listing=listing, look=look, wake=wake, wake_calls=log.counted(Whose.RUN))
