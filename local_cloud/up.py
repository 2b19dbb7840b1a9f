"""The local cloud left running: for trying things out by hand, with our functions host or with Core Tools."""

import contextlib
import json
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Final

from local_cloud.cloud import KNOWN_PORTS, ROOT, LocalCloud, Ports
from local_cloud.finance_operations.knobs import Speed
from local_cloud.functions_host.flex.options import FlexOptions
from local_cloud.functions_host.flex.words import instances_told
from local_cloud.onedrive import Knobs

HOME: Final = ROOT / ".local" / "up"
LOG: Final = "host.log"  # all that the functions host prints; on the screen stand the movements of files alone


def run(
    *,
    home: Path,
    with_host: bool,
    free_ports: bool,
    seconds: float,
    export: tuple[str, str] | None,
    flex: FlexOptions | None = None,
) -> int:
    """Start everything on the well-known ports, tell how to use it, and run until Ctrl-C; return the exit code.

    home: keeps the OneDrive folder, storage, F&O's data and the log from one time to the next. free_ports: take any
    others. export: data project and company. flex: run the app as Azure Flex Consumption does.
    """
    if not free_ports and (taken := taken_ports(with_host=with_host)):
        ports = ", ".join(str(port) for port in taken)
        sys.stderr.write(f"In use on this machine: port {ports}. Stop the other dev.py up, func start or Azurite")
        sys.stderr.write(", or use --free-ports.\n" if with_host else ".\n")
        return 1
    home = home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    stopped = threading.Event()
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        if number := getattr(signal, name, None):
            signal.signal(number, lambda _number, _frame: stopped.set())
    cloud = LocalCloud(
        home,
        ports=Ports() if free_ports else KNOWN_PORTS,
        app_settings=_export_settings(export),
        speed=Speed(seconds_per_execution=seconds),
        identity_header="local",  # as in local.settings.json.example
        client_state="some-local-value",
        keep=True,
        # A file that is still being copied into the folder carries pendingOperations, as one that is being uploaded.
        onedrive_options={"knobs": Knobs(pending_s=0.6)},
        with_host=with_host,
        flex=flex,
        say=lambda part: _print(f"  starting {part}"),
        on_log=Movements(home / LOG, _print),
    )
    with cloud:
        if with_host:
            cloud.run_function("keep_watch")  # the subscription is there at once, not at the next full minute
        storage = cloud.azurite.connection_string if free_ports else "UseDevelopmentStorage=true"
        _print(_directions(cloud, storage, with_host=with_host, flex=flex))
        if export and not cloud.finance_operations.has_project(export[0]):
            _print(_how_to_make(*export, cloud.folder))
        stopped.wait()
        _print("\nStopping")
    return 0


def taken_ports(*, with_host: bool) -> Sequence[int]:
    """Return the well-known ports on which something else listens already."""
    needed = [port for port in astuple(KNOWN_PORTS) if with_host or port != KNOWN_PORTS.host]
    return [port for port in needed if _is_taken(port)]


def _is_taken(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class Movements:
    """Keeps every line of the functions host in a file, and prints those that tell where a file has gone.

    In the Flex shape also those that tell which scale groups have instances.
    """

    def __init__(self, file: Path, show: Callable[[str], None]) -> None:
        self._file = file
        self._show = show

    def __call__(self, line: str) -> None:
        with self._file.open("a", encoding="utf-8") as log:
            log.write(f"{line}\n")
        if told := instances_told(line):
            self._show(f"  {time.strftime('%H:%M:%S')}  Instances: {told}")
        elif moved := _movement(line):
            self._show(f"  {time.strftime('%H:%M:%S')}  {moved}")


def _movement(line: str) -> str:
    """Return where a file has gone, in words; "" for a line that tells of something else."""
    try:
        said = json.loads(line[line.index("{") :])
    except (ValueError, RecursionError):
        return ""
    if not isinstance(said, dict):
        return ""
    file, reason = said.get("file", ""), f": {said['reason']}" if said.get("reason") else ""
    match said.get("event"), said.get("state"):
        case "file.claimed", _:
            return f"{file}  Input -> Processing"
        case "export.delivered", _:
            return f"{said.get('name', file)}  F&O -> Output"
        case "run.ended", "filed":
            folder = "Success" if said.get("outcome") == "Succeeded" else "Error"
            return f"{file}  Processing -> {folder}, {said.get('outcome')}{reason}"
        case "run.ended", state if state != "delivered":
            return f"{file}  {said.get('outcome') or state}{reason}"
    return ""


def _export_settings(export: tuple[str, str] | None) -> dict[str, str]:
    if export is None:
        return {}
    project, company = export
    return {"EXPORT_DATA_PROJECT": project, "EXPORT_COMPANY": company, "OUTBOUND_SCHEDULE": "*/30 * * * * *"}


def _how_to_make(project: str, company: str, folder: Path) -> str:
    return (
        f"F&O has no data project {project} yet, so its export is refused. An import creates it: use {project} as the "
        f"DefinitionGroupName in a package's Manifest.xml, and copy the package as {company}_NAME.zip into "
        f"{folder / 'Input'}.\n"
    )


def _directions(cloud: LocalCloud, storage: str, *, with_host: bool, flex: FlexOptions | None) -> str:
    folder: Path = cloud.folder
    lines = [
        "",
        "Copy a data package into the Input folder and watch it travel:",
        "",
        f"  OneDrive folder     {folder}",
        f"  Input               {folder / 'Input'}",
        "",
        f"  Microsoft Graph     {cloud.onedrive.graph_url}",
        f"  F&O                 {cloud.finance_operations.url}",
        f"    what it holds     {cloud.finance_operations.url}/_control/rows?entity=NAME&company=USMF",
        f"    executions        {cloud.finance_operations.url}/_control/executions",
        f"  Entra ID            {cloud.entra_url}",
        f"  Storage (Azurite)   {storage}",
        f"  Log                 {cloud.home / LOG}",
    ]
    if with_host:
        lines += [
            f"  The app             {cloud.host_url}",
            f"    its runs          {cloud.host_url}/api/runs",
            f"    its health        {cloud.host_url}/api/health",
            *([f"    its instances     {cloud.host_url}/admin/host/instances"] if flex else []),
            *(_about_flex(flex) if flex else []),
            "",
            "An export now:        dev.py runs export-now export "
            f"--url {cloud.host_url} (needs --export PROJECT:COMPANY)",
        ]
    else:
        lines += [
            "",
            "Start the app yourself, in another window and in the project's folder:",
            "",
            "  copy local.settings.json.example to local.settings.json",
            "  func start",
        ]
    return "\n".join([*lines, "", "Ctrl-C stops everything.", ""])


def _about_flex(flex: FlexOptions) -> Sequence[str]:
    return [
        "",
        "It runs as on Azure Flex Consumption: a process for all HTTP functions, and one for each other function.",
        f"Each is removed after {flex.idle_s:g} s without work; a new one takes at least {flex.wake_up_s:g} s.",
    ]


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
