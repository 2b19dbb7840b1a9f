"""What the developer's commands take that live in ``tests``: for the commands themselves, and for ``dev.py``.

Each exits with 2 for what cannot be read.

Standard library and Python 3.8 only: dev.py reads the arguments, and shows --help, before anything is prepared.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

# What --only chooses from; each command holds its own list against these (tests/unit/test_dev.py).
BENCHMARKS = (
    *("small_packages", "lane_idle", "first_touch", "large_in", "large_out", "memory"),
    *("small_instance", "webhook", "cold_start", "cold_flows", "calls", "waiting", "backlog", "set_aside", "history"),
    *("flex_package", "flex_from_zero", "flex_many", "flex_waiting", "idle_month", "per_1000"),
)
SCENARIOS = (
    *("two-files", "slow", "one-export", "export", "later", "older", "looks", "two-lanes", "paused", "one-each-way"),
    *("both-ways", "cancelled", "cancelled-of-two", "cancelled-export", "held", "stopped", "no-submits", "damaged"),
    *("renamed", "strict", "shared-entities"),
)
WITNESSES = (
    *("msgraph-sdk", "graph-client-js", "onedrive-personal-sdk", "rclone", "onedrive"),
    *("d365fo-client", "fo-samples", "azure-identity", "msal", "azure-cli", "published-app"),
)
SUITES = ("onedrive", "finance_operations", "subscriptions")
MOST = 99  # faults in one history of the exploration

_LIVE = """\
Let the contract suites run against the OneDrive, the F&O environment and the notifications that a settings file names,
clean up, and say which of the app's assumptions held. It says first what it will do and asks for the environment's
host name. Use a sandbox, and a company whose fixed asset major types nobody needs. More: docs/live.md"""


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} must be 1 or more")
    return number


def _none_or_more(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} must be 0 or more")
    return number


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a regular expression: {error}") from None
    return text


def faults(arguments: Sequence[str] | None, environment: Mapping[str, str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="dev.py faults",
        description="Break every outgoing call of both flows in every way, one at a time, then play faults that last.",
    )
    parser.add_argument(
        "--only",
        type=_pattern,
        default="",
        metavar="REGEX",
        help="only cases whose name matches, e.g. 'import.*killed'",
    )
    parser.add_argument(
        "--every", type=_count, default=1, metavar="N", help="only every N-th case, spread over the matrix"
    )
    parser.add_argument("--jobs", type=_count, default=2, help="processes side by side (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON object a case, then a summary")
    parser.add_argument("--output", action="store_true", help="also put the table of the whole matrix into the docs")
    options = parser.parse_args(arguments)
    if options.output and (options.only or options.every > 1):
        parser.error("--output is for the whole matrix: leave --only and --every out")
    return options


def explore(
    arguments: Sequence[str] | None, environment: Mapping[str, str], names: Sequence[str] = SCENARIOS
) -> argparse.Namespace:
    """Read the arguments of ``explore``; only is a list of names. Exits with 2 for what cannot be read."""
    parser = argparse.ArgumentParser(
        prog="dev.py explore", description="Explore all histories of two workers, in all scenarios or in some."
    )
    parser.add_argument(
        "--faults",
        type=_none_or_more,
        default=MOST,
        metavar="N",
        help="at most N faults in one history (default: as many as each scenario allows)",
    )
    parser.add_argument(
        "--stalls",
        type=_none_or_more,
        default=MOST,
        metavar="N",
        help="of these, at most N workers that stop",
    )
    parser.add_argument(
        "--seconds", type=float, default=math.inf, metavar="N", help="stop after N seconds, complete or not"
    )
    parser.add_argument("--only", default="", metavar="NAMES", help=", ".join(names))
    parser.add_argument("--jobs", type=_count, default=2, help="processes side by side (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON object a scenario")
    parser.add_argument(
        "--output", action="store_true", help="also put the figures of the whole into the docs, if all holds"
    )
    options = parser.parse_args(arguments)
    if options.output and (options.only or min(options.faults, options.stalls) < MOST or options.seconds < math.inf):
        parser.error("--output is for the whole exploration: leave --only, --faults, --stalls and --seconds out")
    options.only = options.only.split(",") if options.only else list(names)
    unknown = sorted(set(options.only) - set(names))
    if unknown:
        parser.error(f"there is no scenario {', '.join(unknown)}; there are: {', '.join(names)}")
    return options


def bench(
    arguments: Sequence[str] | None, environment: Mapping[str, str], names: Sequence[str] = BENCHMARKS
) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="dev.py bench", description="Measure how fast the app is, each time beside what is possible."
    )
    _add_only(parser, names)
    parser.add_argument("--quick", action="store_true", help="scaled down, to see that it works; figures say little")
    parser.add_argument("--runs", type=_count, default=1, metavar="N", help="measure N times, and tell the medians")
    parser.add_argument("--json", action="store_true", help="print the figures, samples and details as JSON")
    parser.add_argument(
        "--output",
        type=Path,
        action="append",
        metavar="FILE",
        help="also put the tables into this document; several times",
    )
    return parser.parse_args(arguments)


def soak(arguments: Sequence[str] | None, environment: Mapping[str, str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="dev.py soak", description="Two hosts under random faults and kills, until all has ended."
    )
    parser.add_argument("--seed", type=int, default=4, help="of packages, faults and kills (default %(default)s)")
    parser.add_argument("--packages", type=_count, default=500, metavar="N", help="(default %(default)s)")
    parser.add_argument(
        "--projects", type=_count, default=20, metavar="N", help="lanes of imports (default %(default)s)"
    )
    parser.add_argument(
        "--exports", type=_none_or_more, default=20, metavar="N", help="lanes of exports (default %(default)s)"
    )
    parser.add_argument(
        "--minutes", type=float, default=40, metavar="N", help="fail after N minutes (default %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--record", action="store_true", help="put the figures into docs/scenarios.md, if all is well")
    parser.add_argument("--log", type=Path, metavar="FILE", help="keep what the hosts print")
    parser.add_argument(
        "--flex",
        action="store_true",
        help="one host that runs the app as Azure Flex Consumption does; its instances are killed and replaced",
    )
    return parser.parse_args(arguments)


def fuzz(arguments: Sequence[str] | None, environment: Mapping[str, str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="dev.py fuzz", description="Each property with thousands of examples, new ones each time."
    )
    parser.add_argument("--examples", type=_count, default=100_000, help="in all, shared evenly (default %(default)s)")
    parser.add_argument("--seed", type=int, help="that of an earlier run, to see the same examples again")
    return parser.parse_args(arguments)


def witnesses(
    arguments: Sequence[str] | None, environment: Mapping[str, str], names: Sequence[str] = WITNESSES
) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="dev.py witnesses",
        description="Test simulators and instructions with third-party clients, and report what each exercised.",
    )
    _add_only(parser, names)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--install", action="store_true", help="only install them; dev.py test then runs their tests")
    parser.add_argument("--allow-missing", action="store_true", help="a client that cannot be run is not a failure")
    return parser.parse_args(arguments)


def live(arguments: Sequence[str] | None, environment: Mapping[str, str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="dev.py live", description=_LIVE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--settings", type=Path, required=True, metavar="FILE", help="a file like local.settings.json.example"
    )
    parser.add_argument("--only", choices=SUITES, help="only this suite")
    parser.add_argument(
        "--company", default="", metavar="NAME", help="F&O's company to import into (default: that of the settings)"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask for the host name")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser.parse_args(arguments)


def _add_only(parser: argparse.ArgumentParser, names: Sequence[str]) -> None:
    parser.add_argument(
        "--only", action="append", choices=names, metavar="NAME", help=f"one of: {', '.join(names)}; several times"
    )


READ: Mapping[str, Callable[[Sequence[str] | None, Mapping[str, str]], argparse.Namespace]] = {
    "faults": faults,
    "explore": explore,
    "bench": bench,
    "soak": soak,
    "fuzz": fuzz,
    "witnesses": witnesses,
    "live": live,
}
