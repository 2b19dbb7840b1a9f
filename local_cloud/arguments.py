"""What ``demo`` and ``up`` take: for the commands themselves, and for ``dev.py``.

Standard library and Python 3.8 only: dev.py reads the arguments, and shows --help, before anything is prepared.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_FLEX = "run the app as Azure Flex Consumption does: a process per scale group, and none while there is no work"


def demo(arguments: Sequence[str] | None, _environment: Mapping[str, str]) -> argparse.Namespace:
    """Read the arguments of ``demo``. Exits with 2 for what cannot be read."""
    parser = argparse.ArgumentParser(
        prog="dev.py demo", description="Packages travel from OneDrive into F&O, and an export comes back."
    )
    parser.add_argument(
        "--package",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a data package of your own instead of the three of the demo; its name begins with the company, as in "
        "USMF_Customers_001.zip; can be repeated",
    )
    parser.add_argument(
        "--tour",
        action="store_true",
        help="show what rules for imports do instead: companies by sub-folder, order, strict order, counts, the same "
        "content again, drain",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line: state changes, then a summary")
    parser.add_argument("--flex", action="store_true", help=_FLEX)
    options = parser.parse_args(arguments)
    if options.tour and options.package:
        parser.error("--tour has packages of its own: leave out --package")
    missing = [str(file) for file in options.package if not file.is_file()]
    if missing:
        parser.error(f"there is no file {', '.join(missing)}")
    return options


def up(arguments: Sequence[str] | None, _environment: Mapping[str, str]) -> argparse.Namespace:
    """Read the arguments of ``up``. Exits with 2 for what cannot be read."""
    parser = argparse.ArgumentParser(
        prog="dev.py up",
        description="Run the app and the local cloud until Ctrl-C, with a OneDrive folder to drop files into.",
    )
    where = parser.add_mutually_exclusive_group()  # local.settings.json.example names the well-known ports
    where.add_argument(
        "--no-host",
        action="store_true",
        help="do not run the app: start it yourself with Core Tools (func start)",
    )
    where.add_argument(
        "--free-ports",
        action="store_true",
        help="listen on any free ports: beside another dev.py up, func start or Azurite on the well-known ones",
    )
    parser.add_argument("--seconds", type=_seconds, default=5.0, help="how long an execution of F&O takes (default 5)")
    parser.add_argument(
        "--export", type=_export, default=None, metavar="PROJECT:COMPANY", help="export every 30 seconds"
    )
    parser.add_argument("--home", type=Path, metavar="FOLDER", help="folder for all files (default .local/up)")
    parser.add_argument("--flex", action="store_true", help=_FLEX)
    parser.add_argument(
        "--always-ready",
        type=_always_ready,
        action="append",
        default=[],
        metavar="GROUP=N",
        help="with --flex: instances that are always there, as in http=1 or keep_watch=1; can be repeated",
    )
    parser.add_argument(
        "--idle-seconds",
        type=_seconds,
        metavar="N",
        help="with --flex: remove an instance after N seconds without work (default 30)",
    )
    parser.add_argument(
        "--wake-up-seconds",
        type=_seconds,
        metavar="N",
        help="with --flex: a wake-up takes at least N seconds (default 3)",
    )
    options = parser.parse_args(arguments)
    of_flex = {"--always-ready": options.always_ready or None, "--idle-seconds": options.idle_seconds}
    of_flex["--wake-up-seconds"] = options.wake_up_seconds
    if options.no_host and options.flex:
        parser.error("--flex and --no-host cannot be used together: --flex says how the app is run")
    if not options.flex and any(value is not None for value in of_flex.values()):
        given = [name for name, value in of_flex.items() if value is not None]
        parser.error(f"{', '.join(given)}: only with --flex")
    return options


def _seconds(text: str) -> float:
    seconds = float(text)
    if not math.isfinite(seconds) or seconds < 0:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds")
    return seconds


def _always_ready(text: str) -> tuple[str, int]:
    """Return group and number of instances; Azure writes function:NAME for the group of a function."""
    group, _, count = text.rpartition("=")
    if not group or not count.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} must be GROUP=N, for example http=1")
    return group[len("function:") :] if group.startswith("function:") else group, int(count)


def _export(text: str) -> tuple[str, str]:
    """Return data project and company."""
    project, _, company = (part.strip() for part in text.rpartition(":"))
    if not project or not company:
        raise argparse.ArgumentTypeError(f"{text!r} must be PROJECT:COMPANY, for example Asset-Groups:USMF")
    return project, company


READ: Mapping[str, Callable[[Sequence[str] | None, Mapping[str, str]], argparse.Namespace]] = {"demo": demo, "up": up}
