"""What the rows of the Flex shape make of what they saw: months, prices beside the Logic App, documents' blocks."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

import tests.benchmarks.__main__ as command
from tests.benchmarks import flex_package, idle_month, per_1000, process
from tests.benchmarks.cost import Invocation, Journal, Use
from tests.benchmarks.figures import Figure, Sample
from tests.benchmarks.flex import Passed
from tests.benchmarks.quota import cpu_quota
from tests.world import wait_for


def execution(function: str, began: float, took_s: float) -> Invocation:
    return Invocation(
        group=function, instance=f"{function}-1", function=function, began=began, ended=began + took_s, ok=True
    )


def by_name(figures: list[Figure]) -> dict[str, Figure]:
    return {figure.what: figure for figure in figures}


# -- a month


def test_a_month_of_an_app_that_only_watches_is_its_ticks() -> None:
    tick = idle_month.Seen(small=Use(gb_s=0.5, executions=1), storage=0.00001, every_s=60)
    export = idle_month.Seen(small=Use(gb_s=8, executions=10), storage=0.0001, every_s=3600)

    rows = by_name(idle_month.figures(tick, export, {}))

    def ours(what: str) -> float | None:
        return rows[what].ours

    assert ours("a month of an app that only watches, 512 MB: GB-s, of which 100,000 are free") == 43_830 * 0.5
    assert ours("a month of an app that only watches, 2,048 MB: GB-s, of which 100,000 are free") == 43_830 * 2
    assert ours("a month of an app that only watches: storage") == pytest.approx(0.4383)
    both = 43_830 * 0.5 + 730.5 * 8
    assert ours("a month of one that exports once an hour, 512 MB: GB-s, of which 100,000 are free") == both


def test_on_512_mb_a_month_without_files_is_to_cost_nothing_with_the_grant() -> None:
    seen = idle_month.Seen(small=Use(gb_s=0.5, executions=1), storage=0, every_s=60)
    dear = idle_month.Seen(small=Use(gb_s=3, executions=1), storage=0, every_s=60)
    what = "a month of an app that only watches, 512 MB: Functions with the grant"

    assert by_name(idle_month.figures(seen, seen, {}))[what].reached is True
    assert by_name(idle_month.figures(dear, seen, {}))[what].reached is False


# -- beside the Logic App


def test_a_thousand_files_are_reached_at_half_of_what_the_logic_app_costs() -> None:
    def seen(*, billed_s: float) -> per_1000.Seen:
        return per_1000.Seen(
            file=[execution("work", 0, billed_s)],
            file_storage=0.0,
            tick=[execution("keep_watch", 0, 0.2)],
            tick_storage=0.0,
            details={},
            ready=False,
        )

    what = "1,000 files on 512 MB; reference: the Logic App's actions"
    within, beyond = (
        by_name(per_1000.figures(seen(billed_s=each), seen(billed_s=each)))[what] for each in (46, 47)
    )  # 0.60 dollars are 46 s of half a GB

    assert (within.reached, beyond.reached) == (True, False)
    assert within.reference == pytest.approx(1.20)


def test_an_always_ready_instance_costs_its_baseline_all_month() -> None:
    shared = {
        "file": [execution("work", 0, 5)],
        "file_storage": 0.0,
        "tick": [execution("keep_watch", 0, 0.2)],
        "tick_storage": 0.0,
        "details": {},
    }
    without, with_one = (per_1000.Seen(**shared, ready=ready) for ready in (False, True))  # type: ignore[arg-type]  # of several types

    assert with_one.month_dollars(512) - without.month_dollars(512) == pytest.approx(5.26, abs=0.01)


# -- one package


def test_the_ticks_of_timers_do_not_count_with_a_package() -> None:
    journal = Journal(
        invocations=[execution("work", 100, 5.2), execution("keep_watch", 101, 3), execution("http", 100, 0.1)],
        events=[],
    )
    passed = Passed(
        claimed_s=0.5, filed_s=6, appeared=99, journal=journal, scans=1, graph=5, fno=2, status_polls=3, storage=[],
        host=[],
    )  # fmt: skip

    rows = by_name(flex_package.figures([passed]))

    assert rows["one package, warm, execution 5 s: invocations"].ours == 2
    assert rows["one package, warm, execution 5 s: billed seconds"].ours == pytest.approx(6.2)


# -- documents


def test_rows_go_into_the_block_of_their_kind_and_leave_the_others_as_they_are(tmp_path: Path) -> None:
    def row(name: str) -> Figure:
        return Figure(row=name, what="it", unit="s", samples=(Sample(1),))

    blocks = command.blocks_of([row("calls"), row("flex_many"), row("per_1000")])
    only_flex = command.blocks_of([row("flex_many")])

    assert {block: [figure.row for figure in some] for block, some in blocks.items()} == {
        command.BLOCK: ["calls"],
        command.FLEX_BLOCK: ["flex_many", "per_1000"],
        command.COST_BLOCK: ["per_1000"],
    }
    assert list(only_flex) == [command.FLEX_BLOCK]


# -- a quarter of a core


@pytest.mark.quick(cases=0)
@pytest.mark.skipif(not process.IS_MEASURED, reason="a share of a core is Linux's to give")
def test_a_process_gets_no_more_of_a_core_than_its_share() -> None:
    busy = "import time; began = time.monotonic()\nwhile time.monotonic() < began + 60: pass"
    with subprocess.Popen([sys.executable, "-c", busy]) as child:
        try:
            with cpu_quota(child.pid, 0.25):
                began, used_s = time.monotonic(), process.cpu_s(child.pid)
                wait_for(lambda: process.cpu_s(child.pid) - used_s > 0.5)
                took_s = time.monotonic() - began
        finally:
            child.kill()

    assert took_s > 1.4  # half a second of a quarter of a core takes two
