"""Runs the functions app in a folder until it is told to stop.

Prints ``host ready http://127.0.0.1:PORT`` once everything listens. Ends with 0 when it is stopped, 1 when an
invocation took longer than functionTimeout (Azure kills the worker process then), 2 when the app or its settings
cannot be used.
"""

import argparse
import asyncio
import logging
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from local_cloud.functions_host.flex.host import FlexHost
from local_cloud.functions_host.flex.options import add_arguments, read_options
from local_cloud.functions_host.host import Host, HostOptions
from local_cloud.functions_host.http import MASTER_KEY, Keys
from local_cloud.functions_host.process import (
    EXIT_UNUSABLE,
    GRACE_S,
    bind,
    exit_now,
    log_to,
    print_lines,
    set_log_levels,
    setter,
    speak_utf8,
    stop_on_signals,
    wait_for_end_of_stdin,
)
from local_cloud.functions_host.queues import LEASE_S
from local_cloud.functions_host.runtime import AppUnusable, Worker
from local_cloud.functions_host.settings import (
    AppSettings,
    HostSettingsInvalid,
    read_host_json,
    read_local_settings,
    settle,
)

_KEYS_SETTING: Final = "LOCAL_FUNCTIONS_HOST_KEYS"  # NAME=VALUE;NAME=VALUE

log = logging.getLogger("Host")


class _Hosts(Protocol):
    """What runs an app: in this process, or in one for each scale group."""

    ended: asyncio.Future[int]

    @property
    def url(self) -> str: ...

    async def start(self) -> None: ...

    async def stop(self, grace_s: float) -> bool: ...

    def describe(self) -> list[str]: ...


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse_args(arguments)
    root: Path = options.app.resolve()
    settings_file: Path = (options.settings or root / "local.settings.json").resolve()
    speak_utf8()
    log_to(sys.stdout)
    try:
        values = read_local_settings(settings_file)
        # What a placeholder knows: this machine's, and nothing of the app's.
        machine = {name: value for name, value in os.environ.items() if name not in values}
        return asyncio.run(_run(options, root, settle(values), machine))
    except (AppUnusable, HostSettingsInvalid) as error:
        log.critical("%s", error)
        return EXIT_UNUSABLE


async def _run(options: argparse.Namespace, root: Path, settings: AppSettings, machine: Mapping[str, str]) -> int:
    host_json = read_host_json(root, settings)
    set_log_levels(host_json.log_levels)
    listening = bind(options.port)
    address = f"127.0.0.1:{listening.getsockname()[1]}"
    # Core Tools sets these, too: apps learn from them that they are not in Azure, and their own address.
    settings = settle({"AZURE_FUNCTIONS_ENVIRONMENT": "Development", "WEBSITE_HOSTNAME": address})
    keys = Keys.parse([*filter(None, settings.get(_KEYS_SETTING).split(";")), *options.key])
    host_options = HostOptions(root=root, keys=keys, lease_s=options.lease_seconds)
    stopped = asyncio.Event()
    stop = setter(asyncio.get_running_loop(), stopped)
    stop_on_signals(stop)
    if options.stop_with_parent:
        threading.Thread(target=wait_for_end_of_stdin, args=(stop,), name="stdin", daemon=True).start()
    host: _Hosts
    if options.flex:
        host = FlexHost(host_options, read_options(options), settings, host_json, listening, machine=machine)
    else:
        host = Host(host_options, settings, host_json, Worker(root), listening)
    await host.start()
    print_lines("Functions:", *(f"        {line}" for line in host.describe()), f"host ready {host.url}")
    return await _until_end(host, stopped, options.grace_seconds)


async def _until_end(host: _Hosts, stopped: asyncio.Event, grace_s: float) -> int:
    ends: set[asyncio.Future[Any]] = {asyncio.create_task(stopped.wait()), host.ended}
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    if host.ended.done():
        return host.ended.result()
    if not await host.stop(grace_s):
        log.warning("Invocations that still run are cut off; their messages come back when their leases end")
    return 0


def _lease_s(text: str) -> int:
    if not 1 <= int(text) <= LEASE_S:
        raise argparse.ArgumentTypeError(f"must be 1 to {LEASE_S}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local_cloud.functions_host", description=__doc__)
    parser.add_argument("--app", type=Path, default=Path(), help="folder with function_app.py and host.json")
    parser.add_argument("--port", type=int, default=7071, help="0 takes any free one; default %(default)s")
    parser.add_argument("--settings", type=Path, help="default: local.settings.json in the app's folder")
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a key for functions of level FUNCTION; FUNCTION/NAME=VALUE is for that function alone; "
        f"{MASTER_KEY}=VALUE opens everything, and closes /admin. "
        f"Without any key all is open, as in Core Tools. Also as the setting {_KEYS_SETTING}, separated by semicolons",
    )
    parser.add_argument(
        "--lease-seconds",
        type=_lease_s,
        default=LEASE_S,
        help="how long a message stays invisible after its host was killed: %(default)s in Azure; shorter for tests "
        "and demos. Another host also takes over timers sooner then (15 s at the least)",
    )
    parser.add_argument(
        "--grace-seconds",
        type=float,
        default=GRACE_S,
        help="how long running functions may take to end once the host is stopped; default %(default)s",
    )
    parser.add_argument("--stop-with-parent", action="store_true", help="stop when stdin, a pipe, is closed")
    add_arguments(parser)
    return parser


if __name__ == "__main__":
    exit_now(main(sys.argv[1:]))
