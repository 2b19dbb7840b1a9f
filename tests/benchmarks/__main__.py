"""``python -m tests.benchmarks``, called by ``dev.py bench``: measure how fast the app is, beside what is possible.

Each benchmark starts what it needs, measures ours and the reference in the same run on the same servers, and says what
is to be reached. Nothing is asserted about time: the command ends with 0 however slow the app is, with 1 when a
benchmark broke.
"""

import json
import shlex
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.architecture.generated import machine, renew
from tests.arguments import bench as read_arguments
from tests.benchmarks import (
    backlog,
    calls,
    cold_flows,
    cold_start,
    first_touch,
    flex_from_zero,
    flex_many,
    flex_package,
    flex_waiting,
    history,
    idle_month,
    lane_idle,
    memory,
    per_1000,
    set_aside,
    small_instance,
    small_packages,
    transfers,
    waiting,
    webhook,
)
from tests.benchmarks.figures import Figure, combined, markdown, table
from tests.benchmarks.trial import NotMeasurable, Progress, Trial

type Measure = Callable[[Trial], list[Figure]]

BENCHMARKS: Final[Mapping[str, Measure]] = {
    small_packages.NAME: small_packages.measure,
    lane_idle.NAME: lane_idle.measure,
    first_touch.NAME: first_touch.measure,
    transfers.IN: transfers.measure_in,
    transfers.OUT: transfers.measure_out,
    memory.NAME: memory.measure,
    small_instance.NAME: small_instance.measure,
    webhook.NAME: webhook.measure,
    cold_start.NAME: cold_start.measure,
    cold_flows.NAME: cold_flows.measure,
    calls.NAME: calls.measure,
    waiting.NAME: waiting.measure,
    backlog.NAME: backlog.measure,
    set_aside.NAME: set_aside.measure,
    history.NAME: history.measure,
    flex_package.NAME: flex_package.measure,
    flex_from_zero.NAME: flex_from_zero.measure,
    flex_many.NAME: flex_many.measure,
    flex_waiting.NAME: flex_waiting.measure,
    idle_month.NAME: idle_month.measure,
    per_1000.NAME: per_1000.measure,
}

COSTS: Final = frozenset({flex_package.NAME, idle_month.NAME, per_1000.NAME})  # what docs/cost.md shows
FLEX: Final = frozenset({small_instance.NAME, flex_from_zero.NAME, flex_many.NAME, flex_waiting.NAME, *COSTS})
# The blocks of documents that --output renews, each with the rows that stand in it.
BLOCK: Final = "dev.py bench"
FLEX_BLOCK: Final = "dev.py bench, Flex Consumption"
COST_BLOCK: Final = "dev.py bench, cost"


def blocks_of(figures: Sequence[Figure]) -> dict[str, list[Figure]]:
    """Return which of the figures stand in which block; a block without any is left as it is."""
    blocks = {
        BLOCK: [figure for figure in figures if figure.row not in FLEX],
        FLEX_BLOCK: [figure for figure in figures if figure.row in FLEX],
        COST_BLOCK: [figure for figure in figures if figure.row in COSTS],
    }
    return {block: some for block, some in blocks.items() if some}


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    options = read_arguments(arguments, {}, list(BENCHMARKS))
    names = [name for name in BENCHMARKS if name in (options.only or BENCHMARKS)]
    progress = Progress(sys.stderr, of=len(names) * options.runs)
    runs: dict[str, list[list[Figure]]] = {name: [] for name in names}
    broken = False
    for _ in range(options.runs):
        for name in names:
            progress.begin(name)
            figures = _measured(name, quick=options.quick, progress=progress)
            broken |= figures is None
            runs[name].append(figures or [_not_measured(name, "it broke; the error is above")])
    progress.end()
    figures = [figure for each in runs.values() for figure in combined(each)]
    _print(_as_json(figures) if options.json else "\n".join(table(figures)))
    for document in options.output or ():
        for block, some in blocks_of(figures).items():
            renew(document, block, _as_document(some, arguments))
    return 1 if broken else 0


def _measured(name: str, *, quick: bool, progress: Progress) -> list[Figure] | None:
    """Return the figures of one benchmark, None where it broke."""
    with tempfile.TemporaryDirectory(prefix="onedrive-fo-bench-", ignore_cleanup_errors=True) as home:
        try:
            return BENCHMARKS[name](Trial(home=Path(home), quick=quick, progress=progress))
        except NotMeasurable as reason:
            return [_not_measured(name, str(reason))]
        except Exception:  # noqa: BLE001  # one that breaks must not cost the figures of the others
            progress.end()
            traceback.print_exc()
            return None


def _not_measured(name: str, why: str) -> Figure:
    return Figure(row=name, what=name, unit="", note=why)


def _as_json(figures: Sequence[Figure]) -> str:
    return json.dumps({"machine": machine(), "figures": [figure.to_json() for figure in figures]}, indent=2)


def _as_document(figures: Sequence[Figure], arguments: Sequence[str]) -> str:
    command = shlex.join(["python", "dev.py", "bench", *arguments])
    return f"`{command}` on {datetime.now(UTC):%d %B %Y}; {machine()}.\n\n{markdown(figures)}"


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    import dev

    dev.speak_utf8()
    sys.exit(main(sys.argv[1:]))
