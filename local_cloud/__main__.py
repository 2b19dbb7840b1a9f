"""``python -m local_cloud demo`` and ``up``; usually called through ``dev.py``, which prepares what they need."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from local_cloud.processes import ChildFailed
from local_cloud.wire_tap import write_where_told


def main(arguments: Sequence[str]) -> int:
    """Run a command; return its exit code."""
    parser = argparse.ArgumentParser(prog="dev.py", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="packages travel from OneDrive into F&O, and an export comes back")
    demo.add_argument(
        "--package",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a data package of your own instead of the three of the demo; its name begins with the company, as in "
        "USMF_Customers_001.zip; may be given several times",
    )
    demo.add_argument("--json", action="store_true", help="one JSON object a line: state changes, then a summary")
    up = commands.add_parser("up", help="the same services left running, with a OneDrive folder to drop files into")
    where = up.add_mutually_exclusive_group()  # local.settings.json.example names the well-known ports
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
    up.add_argument("--seconds", type=float, default=5.0, help="how long an execution of F&O takes (default 5)")
    up.add_argument("--export", default="", metavar="PROJECT:COMPANY", help="export every 30 seconds")
    up.add_argument("--home", type=Path, metavar="FOLDER", help="where everything is kept (default .local/up)")
    options = parser.parse_args(arguments)
    write_where_told()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]  # they are TextIOWrapper
    try:
        if options.command == "demo":
            missing = [file for file in options.package if not file.is_file()]
            if missing:
                parser.error(f"there is no file {missing[0]}")
            from local_cloud.demo import run

            return run(options.package, as_json=options.json)
        from local_cloud.up import HOME
        from local_cloud.up import run as run_up

        return run_up(
            home=options.home or HOME,
            with_host=not options.no_host,
            free_ports=options.free_ports,
            seconds=options.seconds,
            export=options.export,
        )
    except ChildFailed as error:
        sys.stderr.write(f"\n{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
