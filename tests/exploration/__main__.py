"""``python -m tests.exploration``, called by ``dev.py explore``: all histories of all scenarios, or of some."""

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from tests.exploration.explore import Result, explore
from tests.exploration.scenarios import SCENARIOS, Scenario


def main(arguments: Sequence[str]) -> int:
    """Run the command; return 0 only if no history breaks a promise."""
    parser = argparse.ArgumentParser(prog="dev.py explore", description=__doc__)
    parser.add_argument("--faults", type=int, default=2, metavar="N", help="in one history (default %(default)s)")
    parser.add_argument(
        "--stalls",
        type=int,
        default=1,
        metavar="N",
        help="how many of the faults may be workers that stand still in the middle of a step, which makes by far the "
        "most histories (default %(default)s)",
    )
    parser.add_argument(
        "--seconds", type=float, default=math.inf, metavar="N", help="end after so long, complete or not"
    )
    parser.add_argument("--only", default="", metavar="NAMES", help=", ".join(each.name for each in SCENARIOS))
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON object a scenario")
    options = parser.parse_args(arguments)
    names = options.only.split(",") if options.only else [each.name for each in SCENARIOS]
    if unknown := set(names) - {each.name for each in SCENARIOS}:
        parser.error(f"there is no scenario {', '.join(sorted(unknown))}")
    began, results = time.monotonic(), []
    with ProcessPoolExecutor(options.jobs) as pool:
        give_up = time.time() + options.seconds
        shares = [
            pool.submit(_explored, each, options.faults, options.stalls, give_up)
            for each in SCENARIOS
            if each.name in names
        ]
        for share in shares:
            results.append(share.result())
            _print(_as_json(results[-1]) if options.json else _as_text(results[-1]))
    if not options.json:
        _print(_summary(results, time.monotonic() - began))
    return 1 if any(result.broken for result in results) else 0


def _explored(scenario: Scenario, faults: int, stalls: int, give_up: float) -> Result:
    """give_up: when, in seconds since the epoch, which all processes count alike."""
    return explore(scenario, faults=faults, stalls=stalls, seconds=give_up - time.time())


def _as_json(result: Result) -> str:
    return json.dumps(
        {
            "scenario": result.scenario.name,
            "faults": result.faults,
            "histories": result.histories,
            "states": result.states,
            "moves": result.moves,
            "took_s": round(result.took_s, 1),
            "complete": result.is_complete,
            "broken": result.broken,
            "history": result.history,
        }
    )


def _as_text(result: Result) -> str:
    figures = f"{result.histories:>9,} histories {result.states:>10,} states {result.took_s:>7.1f} s"
    head = f"{result.scenario.words}\n{figures}   {_verdict(result)}"
    return "\n".join([head, *result.history, *([f"So {result.broken}."] if result.broken else [])])


def _verdict(result: Result) -> str:
    if result.broken:
        return "A PROMISE IS BROKEN, by this shortest history:"
    return "every promise holds" if result.is_complete else "every promise holds so far; time was up"


def _summary(results: Sequence[Result], took_s: float) -> str:
    histories, states = sum(result.histories for result in results), sum(result.states for result in results)
    part = "" if all(result.is_complete or result.broken for result in results) else " (not all: time was up)"
    verdict = "a promise is broken" if any(result.broken for result in results) else "no promise is broken"
    return f"\n{histories:,} histories through {states:,} states{part} in {took_s:.0f} s: {verdict}"


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
