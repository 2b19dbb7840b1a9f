"""What every process of the host does alike: write its log, and stop when it is told to or left alone."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, NoReturn, TextIO

from local_cloud.functions_host.settings import HostSettingsInvalid

EXIT_UNUSABLE: Final = 2  # the app or its settings cannot be used
GRACE_S: Final = 2.0  # seconds that running invocations get when the host is stopped

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


class _Lines(logging.Formatter):
    """``[2026-11-23T12:00:00.123Z] message``, as Core Tools prints; from WARNING on with the level before it."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
        level = f"{record.levelname} " if record.levelno >= logging.WARNING else ""
        return f"[{at}Z] {level}{super().format(record)}"


def speak_utf8() -> None:
    """Write UTF-8, line by line; on Windows a pipe would get the code page of the machine."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", line_buffering=True)  # type: ignore[union-attr]  # they are TextIOWrapper


def log_to(stream: TextIO) -> None:
    """Write the log of everything to this stream."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Lines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # The storage SDK logs every request, the runtime every call: they would bury everything else.
    for chatty in ("azure", "azure.functions", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def set_log_levels(levels: Mapping[str, str]) -> None:
    """Set the levels of host.json.

    Categories are logger names here (Function.<name>, Host.Queues); the app's own loggers go by the default.
    """
    for category, level in levels.items():
        logging.getLogger(None if category == "default" else category).setLevel(_LEVELS.get(level, logging.INFO))


def print_lines(*lines: str) -> None:
    """Print whole lines at once."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def bind(port: int) -> socket.socket:
    """Take a port of this machine for itself; 0 takes any free one. Raises HostSettingsInvalid if it is taken."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if sys.platform != "win32":  # there it would let two hosts share a port
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
    except OSError as error:
        listening.close()
        raise HostSettingsInvalid(f"port {port} is not free: {error.strerror} (--port 0 takes any)") from error
    return listening


def setter(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> Callable[[], None]:
    """Return what sets the event from any thread."""

    def set_event() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: it has stopped already
            loop.call_soon_threadsafe(event.set)

    return set_event


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Stop on Ctrl-C, on a polite end, and on Windows on Ctrl-Break, the one signal that reaches a child there."""
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        if number := getattr(signal, name, None):
            signal.signal(number, lambda _number, _frame: stop())


def wait_for_end_of_stdin(stop: Callable[[], None]) -> None:
    """The parent's end closes the pipe, however it ended. Not sys.stdin: its lock would break our own exit."""
    with contextlib.suppress(OSError):  # there is no stdin: as good as closed
        while os.read(0, 1024):
            pass
    stop()


def exit_now(code: int) -> NoReturn:
    """End without waiting for threads: a sync function cannot be cancelled, and the interpreter would wait for it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
