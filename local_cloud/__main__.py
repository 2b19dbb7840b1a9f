"""``python -m local_cloud demo`` and ``up``; usually called through ``dev.py``, which prepares what they need."""

import argparse
import sys
from collections.abc import Sequence

from local_cloud.arguments import READ
from local_cloud.functions_host.flex.options import FlexOptions
from local_cloud.processes import ChildFailed
from local_cloud.wire_tap import write_where_told


def main(arguments: Sequence[str]) -> int:
    """Run a command; return its exit code."""
    command, *rest = arguments or [""]
    if command not in READ:
        sys.stderr.write(f"python -m local_cloud needs one of: {', '.join(READ)}\n")
        return 2
    options = READ[command](rest, {})
    write_where_told()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]  # they are TextIOWrapper
    try:
        if command == "demo":
            flex = FlexOptions() if options.flex else None
            if options.tour:
                from local_cloud.tour import run as run_tour

                return run_tour(as_json=options.json, flex=flex)
            from local_cloud.demo import run

            return run(options.package, as_json=options.json, flex=flex)
        from local_cloud.up import HOME
        from local_cloud.up import run as run_up

        return run_up(
            home=options.home or HOME,
            with_host=not options.no_host,
            free_ports=options.free_ports,
            seconds=options.seconds,
            export=options.export,
            flex=_flex(options) if options.flex else None,
        )
    except ChildFailed as error:
        sys.stderr.write(f"\n{error}\n")
        return 1


def _flex(options: argparse.Namespace) -> FlexOptions:
    usual = FlexOptions()
    return FlexOptions(
        idle_s=usual.idle_s if options.idle_seconds is None else options.idle_seconds,
        wake_up_s=usual.wake_up_s if options.wake_up_seconds is None else options.wake_up_seconds,
        always_ready=dict(options.always_ready),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
