"""``python -m tests.exploration``, called by ``dev.py explore``: all histories of all scenarios, or of some."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import UTC, datetime

from tests.architecture.generated import SCENARIOS as DOCUMENT
from tests.architecture.generated import as_text, machine, renew
from tests.arguments import explore as read_arguments
from tests.exploration.explore import Result, explore
from tests.exploration.scenarios import SCENARIOS, Bound, Scenario


def main(arguments: Sequence[str]) -> int:
    """Run the command; return 0 only if no history breaks a promise."""
    options = read_arguments(arguments, {}, [each.name for each in SCENARIOS])
    names = options.only
    began, give_up = time.monotonic(), time.time() + options.seconds
    chosen = [
        (each, bound)
        for each in SCENARIOS
        if each.name in names
        for bound in dict.fromkeys(bound.at_most(options.faults, options.stalls) for bound in each.bounds)
    ]
    with ProcessPoolExecutor(options.jobs) as pool:
        shares = [pool.submit(_explored, scenario, bound, give_up) for scenario, bound in chosen]
        for share in as_completed(shares):
            sys.stderr.write("\r" + "\n".join(_rows(share.result())) + "\n")  # what is known if it ends early
        results = [share.result() for share in shares]
    table = list(_as_table(results, time.monotonic() - began))
    lines = list(map(_as_json, results)) if options.json else table
    sys.stdout.write("\n".join([*lines, ""]))
    if any(result.broken for result in results):
        return 1
    if options.output:
        renew(DOCUMENT, "dev.py explore", as_text("python dev.py explore --output", "\n".join(table)))
    return 0


def _explored(scenario: Scenario, bound: Bound, give_up: float) -> Result:
    """give_up: when, in seconds since the epoch, which all processes count alike."""

    def progress(used: int, states: int) -> None:
        sys.stderr.write(f"\r  {scenario.name:<12} {used} of {bound.faults} faults, {states:>10,} states")
        sys.stderr.flush()

    return explore(scenario, bound, seconds=give_up - time.time(), progress=progress)


def _as_json(result: Result) -> str:
    return json.dumps(
        {
            "scenario": result.scenario.name,
            "faults": result.bound.faults,
            "stalls": result.bound.stalls,
            "histories": result.histories,
            "states": result.states,
            "moves": result.moves,
            "took_s": round(result.took_s, 1),
            "complete": result.is_complete,
            "broken": result.broken,
            "history": result.history,
        }
    )


def _as_table(results: Sequence[Result], took_s: float) -> Iterator[str]:
    yield f"{'':<58} {'faults':>6} {'stalls':>6} {'histories':>11} {'states':>11} {'seconds':>8}"
    for result in results:
        yield from _rows(result)
    histories, states = sum(result.histories for result in results), sum(result.states for result in results)
    verdict = "a promise is broken" if any(result.broken for result in results) else "no promise is broken"
    yield f"{histories:,} histories through {states:,} states in {took_s:.0f} s: {verdict}."
    yield f"{datetime.now(UTC):%Y-%m-%d}, {machine()}"


def _rows(result: Result) -> Iterator[str]:
    yield (
        f"{result.scenario.words:<58} {result.bound.faults:>6} {result.bound.stalls:>6} {result.histories:>11,} "
        f"{result.states:>11,} {result.took_s:>8.0f}{'' if result.is_complete else '  time was up'}"
    )
    if result.broken:
        yield from ("A PROMISE IS BROKEN, by this shortest history:", *result.history, f"So {result.broken}.", "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
