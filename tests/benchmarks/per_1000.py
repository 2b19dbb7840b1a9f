"""per_1000: what 1,000 files cost, beside Microsoft's Logic App, which is billed for each of its actions.

Files come one by one while nothing runs, in the Flex shape: the dearest way, since nothing is shared. F&O takes 5 s for
an execution, for which the Logic App asks once. Counted is all that one file sets off until 90 s after its filing, with
 the calls to storage of app and functions host; no free grant is taken off, ours or the Logic
App's. Then a month with 1,000 files: with the ticks of our timer and the Logic App's looks once a minute, without
and with one always-ready instance for HTTP.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from local_cloud.functions_host.flex.groups import HTTP
from tests.benchmarks.cost import (
    MONTH_S,
    POLLS_A_MONTH,
    SIZES_MB,
    Invocation,
    Use,
    always_ready_month,
    logic_app_import,
    storage_dollars,
    use_of,
)
from tests.benchmarks.figures import Figure, Limit, Sample
from tests.benchmarks.flex import FlexStage, a_flex_stage
from tests.benchmarks.storage_log import Whose
from tests.benchmarks.trial import Trial

NAME: Final = "per_1000"
COUNT: Final = 1000
EXECUTION_S: Final = 5.0
IDLE_S: Final = 30.0
TICKS_A_MONTH: Final = MONTH_S / 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one file, and one tick, has set off."""

    file: Sequence[Invocation]
    file_storage: float  # dollars
    tick: Sequence[Invocation]
    tick_storage: float
    details: Mapping[str, object]  # of the file
    ready: bool  # whether an always-ready instance takes the HTTP calls

    def files_dollars(self, size_mb: int) -> float:
        """Return the price of 1,000 files."""
        use = use_of(self.file, size_mb, ready_groups=(HTTP,) if self.ready else ())
        return use.times(COUNT).dollars() + self.file_storage * COUNT

    def month_dollars(self, size_mb: int) -> float:
        """Return the price of a month in which 1,000 files come."""
        ticks = use_of(self.tick, size_mb).times(TICKS_A_MONTH)
        there = always_ready_month(size_mb) if self.ready else Use()
        storage = self.tick_storage * TICKS_A_MONTH
        return self.files_dollars(size_mb) + (ticks + there).dollars() + storage


def measure(trial: Trial) -> list[Figure]:
    """Return the price of 1,000 files, and of a month with them."""
    return figures(_seen(trial, ready=False), _seen(trial, ready=True))


def figures(without: Seen, with_ready: Seen) -> list[Figure]:
    """Return the row's figures of what was seen."""
    files = logic_app_import(EXECUTION_S).times(COUNT).dollars
    month = files + POLLS_A_MONTH.dollars
    half = (Limit("ratio", "at most", 0.5),)
    return [
        *(
            Figure(
                row=NAME,
                what=f"{COUNT:,} files on {size_mb:,} MB; reference: the Logic App's actions",
                unit="dollars",
                samples=(Sample(without.files_dollars(size_mb), files),),
                limits=half,
                details=without.details,
            )
            for size_mb in SIZES_MB
        ),
        *(
            Figure(
                row=NAME,
                what=f"a month with {COUNT:,} files on {size_mb:,} MB, {how}; reference: the Logic App and its polling",
                unit="dollars",
                samples=(Sample(seen.month_dollars(size_mb), month),),
                limits=limits,
            )
            for how, seen, limits in (
                ("no instance always ready", without, half),
                ("one HTTP instance always ready", with_ready, ()),
            )
            for size_mb in SIZES_MB
        ),
    ]


def _seen(trial: Trial, *, ready: bool) -> Seen:
    part = Trial(home=trial.folder("ready" if ready else "none"), quick=trial.quick, progress=trial.progress)
    how = "one instance always ready" if ready else "none always ready"
    with a_flex_stage(part, idle_s=IDLE_S, always_ready={HTTP: int(ready)}, seconds_per_execution=EXECUTION_S) as flex:
        part.say(f"{how}: a first file, and a tick")
        flex.pass_one(quiet_s=0)
        tick, tick_storage = _a_tick(flex)
        flex.wait_for_none()
        part.say(f"{how}: a file")
        passed = flex.pass_one()
    calls = [call.operation for call in (*passed.storage, *passed.host)]
    return Seen(
        file=passed.invocations,
        file_storage=storage_dollars(calls),
        tick=tick,
        tick_storage=tick_storage,
        details=passed.details(),
        ready=ready,
    )


def _a_tick(flex: FlexStage) -> tuple[Sequence[Invocation], float]:
    """Return a tick of the minute's timer that meets no process, and its dollars for storage."""
    flex.wait_for_none()
    flex.log.forget()
    began = time.time()
    flex.stage.run_function("keep_watch")
    flex.stage.wait_for(lambda: flex.journal().between(began).of("keep_watch"), "the tick")
    flex.wait_for_none()
    calls = flex.log.calls(Whose.RUN, Whose.LOOK, Whose.HOST)
    return flex.journal().between(began).of("keep_watch"), storage_dollars(call.operation for call in calls)
