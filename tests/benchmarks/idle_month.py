"""idle_month: what a month costs in which no file comes: an app that only watches, and one that exports once an hour.

In the Flex shape, with an instance that goes after 30 s and comes in 3: so each tick of the minute's timer meets a
process that has just begun, as in Azure. Some ticks are seen as the clock brings them, then one export whose execution
takes 5 s, started by hand; each is multiplied by how often it happens in a month. Storage is told separately: the calls
of the app, and those of the functions host, which polls its queue and keeps its locks while an instance is there.
"""

import time
from dataclasses import dataclass, replace
from typing import Final

from tests.benchmarks.cost import FREE_EXECUTIONS, FREE_GB_S, MONTH_S, SIZES_MB, Journal, Use, storage_dollars, use_of
from tests.benchmarks.figures import Figure, Limit, Sample
from tests.benchmarks.flex import FlexStage, a_flex_stage
from tests.benchmarks.stage import LARGE, both_ways
from tests.benchmarks.storage_log import Whose
from tests.benchmarks.trial import Trial
from tests.packages import build_package

NAME: Final = "idle_month"
TICKS: Final = 6
QUICK_TICKS: Final = 1
MINUTE_S: Final = 60.0
HOUR_S: Final = 3600.0
EXECUTION_S: Final = 5.0
EXPORT_S: Final = 60.0  # until nothing stirs that an export has set off

_TICK: Final = "keep_watch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What something needs that happens again and again, on average, and what it costs in a month."""

    small: Use  # on 512 MB
    storage: float  # dollars
    every_s: float

    @property
    def times_a_month(self) -> float:
        """Return how often it happens."""
        return MONTH_S / self.every_s

    def month(self, size_mb: int) -> Use:
        """Return what is billed of it in a month, on instances of a size."""
        month = self.small.times(self.times_a_month)
        return Use(gb_s=month.gb_s * size_mb / SIZES_MB[0], executions=month.executions)

    @property
    def storage_month(self) -> float:
        """Return the dollars for storage in a month."""
        return self.storage * self.times_a_month


def measure(trial: Trial) -> list[Figure]:
    """Return GB-s, executions and prices of a month."""
    with a_flex_stage(
        trial, idle_s=30.0, minute_timer=True, seconds_per_execution=EXECUTION_S, settings=both_ways()
    ) as flex:
        # F&O exports no data project that it does not have.
        flex.stage.put("USMF_rows.zip", build_package(data_project=LARGE, entity=LARGE))
        flex.stage.ended("USMF_rows.zip")
        flex.wait_for_none("http", "work")
        tick, details = _a_tick(trial, flex)
        export, export_details = _an_export(trial, flex, tick)
    return figures(tick, export, {"a tick": details, "an export": export_details})


def _a_tick(trial: Trial, flex: FlexStage) -> tuple[Seen, dict[str, object]]:
    """Return what a tick of the minute's timer needs."""
    ticks = QUICK_TICKS if trial.quick else TICKS
    before, began = len(flex.journal().of(_TICK)), time.time()

    def ticked() -> bool:
        count = len(flex.journal().of(_TICK)) - before
        trial.say(f"{count} of {ticks} ticks")
        return count >= ticks

    flex.log.forget()
    flex.stage.wait_for(ticked, "the ticks", within_s=(ticks + 2) * MINUTE_S)
    journal = flex.journal().between(began)
    calls = _calls(flex)
    seen = Seen(
        small=use_of(journal.invocations, SIZES_MB[0]).times(1 / ticks),
        storage=storage_dollars(calls) / ticks,
        every_s=MINUTE_S,
    )
    return seen, _details(journal, calls)


def _an_export(trial: Trial, flex: FlexStage, tick: Seen) -> tuple[Seen, dict[str, object]]:
    """Return what an export needs, the tick that starts it included and those of the minute's timer left out."""
    trial.say("an export")
    flex.wait_for_none("http", "work")
    flex.log.forget()
    began, known = time.time(), set(flex.stage.files("Output"))
    flex.stage.run_function("start_exports")
    flex.stage.wait_for(lambda: set(flex.stage.files("Output")) - known, "a file in Output")
    time.sleep(EXPORT_S)  # nothing shows that nothing more comes
    journal = flex.journal().between(began)
    calls = _calls(flex)
    ticks = len(journal.of(_TICK))
    others = Journal(
        invocations=[each for each in journal.invocations if each.function != _TICK], events=journal.events
    )
    seen = Seen(
        small=use_of(others.invocations, SIZES_MB[0]),
        storage=max(storage_dollars(calls) - ticks * tick.storage, 0.0),
        every_s=HOUR_S,
    )
    return seen, _details(others, calls)


def _calls(flex: FlexStage) -> list[str]:
    return [call.operation for call in flex.log.calls(Whose.RUN, Whose.LOOK, Whose.HOST)]


def _details(journal: Journal, calls: list[str]) -> dict[str, object]:
    first = min((each.began for each in journal.invocations), default=0.0)
    return {
        "executions": [
            f"{each.function} on {each.instance}: {each.began - first:.2f} to {each.ended - first:.2f} s"
            for each in journal.invocations
        ],
        "calls to storage": len(calls),
    }


def figures(tick: Seen, export: Seen, details: dict[str, object]) -> list[Figure]:
    """Return the row's figures of what was seen."""
    rows: list[Figure] = []
    for app, parts in (("an app that only watches", (tick,)), ("one that exports once an hour", (tick, export))):
        for size_mb in SIZES_MB:
            use = Use()
            for part in parts:
                use += part.month(size_mb)
            what = f"a month of {app}, {size_mb:,} MB"
            limits = (Limit("ours", "at most", 0),) if size_mb == SIZES_MB[0] else ()
            rows += [
                _figure(f"{what}: GB-s, of which {FREE_GB_S:,.0f} are free", "GB-s", use.gb_s),
                _figure(f"{what}: Functions without the grant", "dollars", use.dollars()),
                _figure(f"{what}: Functions with the grant", "dollars", use.dollars(with_grant=True), limits),
            ]
        executions = sum(part.month(SIZES_MB[0]).executions for part in parts)
        rows += [
            _figure(
                f"a month of {app}: executions, of which {FREE_EXECUTIONS:,.0f} are free", "executions", executions
            ),
            _figure(f"a month of {app}: storage", "dollars", sum(part.storage_month for part in parts)),
        ]
    return [replace(rows[0], details=details), *rows[1:]]


def _figure(what: str, unit: str, value: float, limits: tuple[Limit, ...] = ()) -> Figure:
    return Figure(row=NAME, what=what, unit=unit, samples=(Sample(value),), limits=limits)
