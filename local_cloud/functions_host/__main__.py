"""Runs the functions app in a folder until it is told to stop.

Prints ``host ready http://127.0.0.1:PORT`` once everything listens. Ends with 0 when it is stopped, 1 when an
invocation took longer than functionTimeout (Azure kills the worker process then), 2 when the app or its settings
cannot be used.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn, TextIO

from local_cloud.functions_host.host import Host, HostOptions
from local_cloud.functions_host.http import MASTER_KEY, Keys
from local_cloud.functions_host.queues import LEASE_S
from local_cloud.functions_host.runtime import AppUnusable, Worker
from local_cloud.functions_host.settings import (
    AppSettings,
    HostSettingsInvalid,
    read_host_json,
    read_local_settings,
    settle,
)

_EXIT_UNUSABLE: Final = 2
_GRACE_S: Final = 2.0  # seconds that running invocations get when the host is stopped
_KEYS_SETTING: Final = "LOCAL_FUNCTIONS_HOST_KEYS"  # NAME=VALUE;NAME=VALUE

# https://learn.microsoft.com/azure/azure-functions/configure-monitoring#configure-log-levels
_LEVELS: Final = {
    "Trace": logging.DEBUG,
    "Debug": logging.DEBUG,
    "Information": logging.INFO,
    "Warning": logging.WARNING,
    "Error": logging.ERROR,
    "Critical": logging.CRITICAL,
    "None": logging.CRITICAL + 1,
}

log = logging.getLogger("Host")


class _Lines(logging.Formatter):
    """``[2026-11-23T12:00:00.123Z] message``, as Core Tools prints; from WARNING on with the level before it."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
        level = f"{record.levelname} " if record.levelno >= logging.WARNING else ""
        return f"[{at}Z] {level}{super().format(record)}"


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse_args(arguments)
    root: Path = options.app.resolve()
    settings_file: Path = (options.settings or root / "local.settings.json").resolve()
    for stream in (sys.stdout, sys.stderr):
        # On Windows a pipe would get the code page of the machine.
        stream.reconfigure(encoding="utf-8", line_buffering=True)  # type: ignore[union-attr]  # they are TextIOWrapper
    _log_to(sys.stdout)
    try:
        settings = settle(read_local_settings(settings_file))
        return asyncio.run(_run(options, root, settings))
    except (AppUnusable, HostSettingsInvalid) as error:
        log.critical("%s", error)
        return _EXIT_UNUSABLE


async def _run(options: argparse.Namespace, root: Path, settings: AppSettings) -> int:
    host_json = read_host_json(root, settings)
    for category, level in host_json.log_levels.items():
        # Categories are logger names here (Function.<name>, Host.Queues); the app's own loggers go by the default.
        logging.getLogger(None if category == "default" else category).setLevel(_LEVELS.get(level, logging.INFO))
    listening = _bound(options.port)
    address = f"127.0.0.1:{listening.getsockname()[1]}"
    # Core Tools sets these, too: apps learn from them that they are not in Azure, and their own address.
    settings = settle({"AZURE_FUNCTIONS_ENVIRONMENT": "Development", "WEBSITE_HOSTNAME": address})
    keys = Keys.parse([*filter(None, settings.get(_KEYS_SETTING).split(";")), *options.key])
    host_options = HostOptions(root=root, keys=keys, lease_s=options.lease_seconds)
    stopped = asyncio.Event()
    stop = _stopper(asyncio.get_running_loop(), stopped)
    _stop_on_signals(stop)
    if options.stop_with_parent:
        threading.Thread(target=_wait_for_end_of_stdin, args=(stop,), name="stdin", daemon=True).start()
    host = Host(host_options, settings, host_json, Worker(root), listening)
    await host.start()
    _print("Functions:", *(f"        {line}" for line in host.describe()), f"host ready {host.url}")
    return await _until_end(host, stopped, options.grace_seconds)


async def _until_end(host: Host, stopped: asyncio.Event, grace_s: float) -> int:
    ends: set[asyncio.Future[Any]] = {asyncio.create_task(stopped.wait()), host.ended}
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    if host.ended.done():
        return host.ended.result()
    if not await host.stop(grace_s):
        log.warning("Invocations that still run are cut off; their messages come back when their leases end")
    return 0


def _exit_now(code: int) -> NoReturn:
    """End without waiting for threads: a sync function cannot be cancelled, and the interpreter would wait for it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _bound(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if sys.platform != "win32":  # there it would let two hosts share a port
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
    except OSError as error:
        listening.close()
        raise HostSettingsInvalid(f"port {port} is not free: {error.strerror} (--port 0 takes any)") from error
    return listening


def _lease_s(text: str) -> int:
    if not 1 <= int(text) <= LEASE_S:
        raise argparse.ArgumentTypeError(f"must be 1 to {LEASE_S}")
    return int(text)


def _stopper(loop: asyncio.AbstractEventLoop, stopped: asyncio.Event) -> Callable[[], None]:
    def stop() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: it has stopped already
            loop.call_soon_threadsafe(stopped.set)

    return stop


def _stop_on_signals(stop: Callable[[], None]) -> None:
    """Stop on Ctrl-C, on a polite end, and on Windows on Ctrl-Break, the one signal that reaches a child there."""
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        if number := getattr(signal, name, None):
            signal.signal(number, lambda _number, _frame: stop())


def _wait_for_end_of_stdin(stop: Callable[[], None]) -> None:
    """The parent's end closes the pipe, however it ended. Not sys.stdin: its lock would break our own exit."""
    with contextlib.suppress(OSError):  # there is no stdin: as good as closed
        while os.read(0, 1024):
            pass
    stop()


def _print(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def _log_to(stream: TextIO) -> None:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Lines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # The storage SDK logs every request, the runtime every call: they would bury everything else.
    for chatty in ("azure", "azure.functions", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


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
        default=_GRACE_S,
        help="how long running functions may take to end once the host is stopped; default %(default)s",
    )
    parser.add_argument("--stop-with-parent", action="store_true", help="stop when stdin, a pipe, is closed")
    return parser


if __name__ == "__main__":
    _exit_now(main(sys.argv[1:]))
