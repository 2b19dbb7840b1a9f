"""``python -m tests.soak``, called by ``dev.py soak``: two hosts under random faults and kills, until all has ended.

With --flex one host in the Flex shape, whose instances are killed.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Final

from tests.architecture.generated import SCENARIOS, renew
from tests.arguments import soak as read_arguments
from tests.soak.drive import Result, Soak
from tests.soak.plan import make_plan
from tests.soak.scene import Log

BLOCK: Final = "dev.py soak"
SHOWN: Final = 20  # broken promises; where one is broken often many are
PROGRESS_S: Final = 1.0


def main(arguments: Sequence[str]) -> int:
    """Run the command; return 0 only if every promise held."""
    options = read_arguments(arguments, {})
    plan = make_plan(
        seed=options.seed,
        packages=options.packages,
        projects=options.projects,
        exports=options.exports,
        minutes=options.minutes,
    )
    with options.log.open("w", encoding="utf-8") if options.log else nullcontext() as file:
        soak = Soak(plan, minutes=options.minutes, progress=_Progress(), log=Log(file), is_flex=options.flex)
        result = soak.run()
    sys.stderr.write("\n")
    block = f"{BLOCK} --flex" if options.flex else BLOCK
    command = f"python {block} --seed {options.seed} --packages {options.packages} --projects {options.projects}"
    text = "\n".join(_as_text(result, f"{command} --exports {options.exports}"))
    sys.stdout.write(f"{_as_json(result) if options.json else text}\n")
    if options.record and not result.broken:
        renew(SCENARIOS, block, f"```text\n{text}\n```")
    return 1 if result.broken else 0


class _Progress:
    """A bar on stderr, drawn anew each second."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._drawn = 0.0

    def __call__(self, what: str, done: int, of: int) -> None:
        now = time.monotonic()
        if now - self._drawn < PROGRESS_S:
            return
        self._drawn, width = now, 40
        full = done * width // max(of, 1)
        sys.stderr.write(f"\r  [{'#' * full}{'-' * (width - full)}] {done}/{of} {what} {now - self._began:5.0f} s ")
        sys.stderr.flush()


def _as_json(result: Result) -> str:
    return json.dumps(
        {
            "broken": list(result.broken),
            "figures": dict(result.figures),
            "calls": dict(result.calls),
            "faults": dict(result.faults),
        }
    )


def _as_text(result: Result, command: str) -> Iterator[str]:
    yield f"$ {command}"
    for name, figure in result.figures.items():
        yield f"{figure:>12,} {name}"
    for service, calls in sorted(result.calls.items()):
        kinds = Counter(
            {name.partition(" ")[2]: n for name, n in result.faults.items() if name.startswith(f"{service} ")}
        )
        told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        yield f"{calls:>12,} calls to {service}, failed: {told or 'none'}"
    yield from (f"BROKEN: {each}" for each in result.broken[:SHOWN])
    if len(result.broken) > SHOWN:
        yield f"... and {len(result.broken) - SHOWN} more"
    yield f"{len(result.broken)} promises are broken." if result.broken else "Every promise held."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
