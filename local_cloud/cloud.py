"""The whole cloud of one functions app on this machine: storage, sign-in, OneDrive, F&O, and the functions host.

The app is told where everything is through its settings alone; it cannot tell the difference. What a person sees of it
is ``demo.py`` and ``up.py``.
"""

import json
import os
import secrets
import shutil
import socket
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from azure.storage.blob import BlobServiceClient

from local_cloud.entra import Entra
from local_cloud.faults import FaultPlan
from local_cloud.finance_operations.api import FinanceOperationsSimulator
from local_cloud.finance_operations.knobs import Behaviour, Speed
from local_cloud.functions_host.flex.options import FlexOptions
from local_cloud.onedrive import OneDriveSimulator
from local_cloud.processes import ChildProcess
from local_cloud.server import Server
from local_cloud.storage import Azurite
from local_cloud.tokens import TokenDesk

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDERS: Final = ("Input", "Processing", "Success", "Error", "Output")
NEVER: Final = "0 0 0 1 1 *"  # NCRONTAB for the first of January: exports start when they are asked for
# Seconds after which a message comes back whose host was killed: 600 in Azure, and nobody waits that long here.
LEASE_S: Final = 20

# What the app and its libraries would read from the shell of the person at the keyboard, though it is not meant for
# this cloud: app settings, their own sign-in to Azure, paths of another Python.
_NOT_PASSED_ON: Final = (
    *(
        "ALERT_",
        "APP_URL",
        "AZURE",
        "CLIENT_S",
        "DRAIN",
        "ERROR_",
        "EXPORT_",
        "FO_",
        "FUNCTIONS_",
        "GRAPH_",
        "IDENTITY_",
        "IMPORT_",
    ),
    *("INPUT_", "INTEGRATIONS", "MSI_", "NOTIFICATION_", "ONEDRIVE_", "OUTBOUND_", "OUTPUT_", "POLL_"),
    *("PROCESSING_", "PYTHONPATH", "SIGN_IN_", "SUBMIT_", "SUCCESS_", "WEBSITE_"),
)

type Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where everything listens; 0 takes any free port."""

    host: int = 0
    entra: int = 0
    graph: int = 0
    content: int = 0
    finance_operations: int = 0
    blob: int = 0
    queue: int = 0
    table: int = 0


# The ports that everyone knows, and those of local.settings.json.example.
KNOWN_PORTS: Final = Ports(
    host=7071,
    entra=8080,
    graph=8081,
    finance_operations=8082,
    content=8083,
    blob=10000,
    queue=10001,
    table=10002,
)


class LocalCloud:
    """Start it as a context manager; everything it started is gone afterwards.

    home: a folder of its own; holds the OneDrive folder and, if asked to, what Azurite and F&O keep.
    app_settings: what the app is told beyond the addresses. keep: keep storage and F&O's data in home.
    flex: let the functions host run the app as Azure Flex Consumption does; all in one process otherwise.
    say: gets a line for each part that is coming up. on_log: gets each line that the functions host prints.
    on_storage: gets each line of Azurite's access log, which is off otherwise.
    """

    def __init__(
        self,
        home: Path,
        *,
        ports: Ports = Ports(),
        app_settings: Mapping[str, str] | None = None,
        speed: Speed | None = None,
        behaviour: Behaviour | None = None,
        identity_header: str = "",
        client_state: str = "",
        with_host: bool = True,
        flex: FlexOptions | None = None,
        function_key: str = "",
        keep: bool = False,
        say: Say = lambda _line: None,
        on_log: Say = lambda _line: None,
        on_storage: Say | None = None,
        app: Path = ROOT,
        onedrive_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.home = home
        self.folder = home / "OneDrive"
        self.faults = FaultPlan()
        self.desk = TokenDesk()
        self.function_key = function_key
        self._ports = ports
        self.app_settings = dict(app_settings or {})  # may be changed until the host starts, also for its next start
        self._keep = keep
        self._say = say
        self._on_log = on_log
        self._on_storage = on_storage
        self._app = app
        self._identity_header = identity_header or secrets.token_hex(16)
        self._client_state = client_state or secrets.token_hex(16)
        self._with_host = with_host
        self._flex = flex
        self._speed = speed or Speed()
        self._behaviour = behaviour or Behaviour()
        self._onedrive_options = dict(onedrive_options or {})
        self._stack = ExitStack()
        self._host: ChildProcess | None = None
        self.azurite: Azurite
        self.entra: Entra
        self.onedrive: OneDriveSimulator
        self.finance_operations: FinanceOperationsSimulator
        self._entra_server: Server
        self.host_port = 0

    def __enter__(self) -> Self:
        try:
            self.start_services()
            if self._with_host:
                self.start_host()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stop()

    # -- the parts

    def start_services(self) -> None:
        """Start everything but the functions host."""
        for name in FOLDERS:
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        kept = self.home / "data" if self._keep else None
        if kept:
            kept.mkdir(exist_ok=True)
        ports = self._ports
        self._say("Azurite (blob and queue storage)")
        self.azurite = self._stack.enter_context(
            Azurite(
                blob_port=ports.blob,
                queue_port=ports.queue,
                table_port=ports.table,
                folder=kept / "azurite" if kept else None,
                on_request=self._on_storage,
            )
        )
        self._say("Entra ID (simulated)")
        self.entra = Entra(self.desk, faults=self.faults)
        self.entra.identity_header = self._identity_header
        self._entra_server = self._stack.enter_context(Server(self.entra.app(), ports.entra))
        self._say("OneDrive (simulated)")
        self.onedrive = OneDriveSimulator(self.folder, self.desk, self.faults, **self._onedrive_options)
        self.onedrive.start(api_port=ports.graph, content_port=ports.content)
        self._stack.callback(self.onedrive.stop)
        self._say("Finance & Operations (simulated)")
        self.finance_operations = FinanceOperationsSimulator(
            self.azurite.connection_string,
            self.desk,
            self.faults,
            speed=self._speed,
            behaviour=self._behaviour,
            database=kept / "finance_operations.sqlite" if kept else ":memory:",
        )
        self.finance_operations.start(ports.finance_operations)
        self._stack.callback(self.finance_operations.stop)
        self.host_port = ports.host or self.reserve_port()

    def reserve_port(self) -> int:
        """Return a port for a functions host that nothing listens on, and that stays free for it where that can be."""
        return self._stack.enter_context(reserved_port())

    def start_host(self) -> None:
        """Start the functions host with the app; also again after it was killed."""
        self._say("the functions host")
        self._host = self.new_host(self.host_port, self._on_log)

    def new_host(self, port: int, on_log: Say) -> ChildProcess:
        """Start one more functions host with the app, on a port of its own; it is the caller's to stop.

        on_log: gets each line that it prints. Raises ChildFailed when it does not become ready.
        """
        command = [sys.executable, "-m", "local_cloud.functions_host", "--app", str(self._app)]
        command += ["--port", str(port), "--lease-seconds", str(LEASE_S)]
        if self._flex:
            # A placeholder is not to know the app's settings, so they are not in the environment of the host.
            file, environment = self._settings_file(), _machine()
            command += self._flex.arguments()
        else:
            file, environment = self.home / "no.settings.json", self.environment
        command += ["--settings", str(file)]
        if self.function_key:
            command += ["--key", f"default={self.function_key}"]
        host = ChildProcess(command, name="functions host", cwd=ROOT, env=environment, on_line=on_log)
        try:
            host.wait_for_line(r"host ready", timeout_s=60)
        except BaseException:
            host.stop()
            raise
        return host

    def _settings_file(self) -> Path:
        """Write the app's settings as Core Tools reads them; return the file."""
        file = self.home / "host.settings.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps({"IsEncrypted": False, "Values": self.settings}), encoding="utf-8")
        return file

    def stop_host(self) -> None:
        """End the functions host as a new version of the app does: it ends what it is doing."""
        if self._host:
            self._host.stop()
            self._host = None

    def kill_host(self) -> None:
        """End the functions host at once, as when an instance of Azure's goes away."""
        if self._host:
            self._host.kill()
            self._host = None

    def _stop(self) -> None:
        self.stop_host()
        self._stack.close()

    # -- what the app is told

    @property
    def host_url(self) -> str:
        """Where the functions host listens."""
        return f"http://127.0.0.1:{self.host_port}"

    @property
    def entra_url(self) -> str:
        """Where Entra ID and the managed identity's endpoint listen."""
        return self._entra_server.url

    @property
    def settings(self) -> dict[str, str]:
        """The app settings that lead the app to this cloud."""
        query = f"?code={self.function_key}" if self.function_key else ""
        return {
            "FUNCTIONS_WORKER_RUNTIME": "python",
            "PYTHON_THREADPOOL_THREAD_COUNT": "64",
            "AzureWebJobsStorage": self.azurite.connection_string,
            "IDENTITY_ENDPOINT": f"{self.entra_url}/msi/token",
            "IDENTITY_HEADER": self._identity_header,
            "GRAPH_URL": self.onedrive.graph_url,
            "FO_URL": self.finance_operations.url,
            "ONEDRIVE_DRIVE": f"drives/{self.onedrive.drive_id}",
            "NOTIFICATION_URL": f"{self.host_url}/api/receive_notification{query}",
            "CLIENT_STATE": self._client_state,
            "OUTBOUND_SCHEDULE": NEVER,
            **self.app_settings,
        }

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment of a process of the app: the machine's, and the app settings."""
        return {**_machine(), **self.settings}

    # -- what a person does

    def put_into_input(self, file: Path) -> Path:
        """Copy a file into the Input folder, as with a file manager, and return the copy."""
        return Path(shutil.copy(file, self.folder / "Input" / file.name))

    def run_function(self, name: str, *, port: int = 0) -> None:
        """Run a timer's function now, as the portal's "Run" does; port: of a host that is not the cloud's own."""
        with urllib.request.urlopen(self._admin("POST", f"functions/{name}", port), timeout=30) as answer:
            answer.read()

    def _admin(self, method: str, path: str, port: int) -> urllib.request.Request:
        return urllib.request.Request(
            f"http://127.0.0.1:{port or self.host_port}/admin/{path}",
            method=method,
            data=b"{}" if method == "POST" else None,
            headers={"Content-Type": "application/json", "x-functions-key": self.function_key},
        )

    def instances(self, *, port: int = 0) -> list[dict[str, Any]]:
        """Return the scale groups of a host in the Flex shape, with their instances."""
        with urllib.request.urlopen(self._admin("GET", "host/instances", port), timeout=30) as answer:
            groups: list[dict[str, Any]] = json.loads(answer.read())["groups"]
        return groups

    def kill_instance(self, instance: str, *, port: int = 0) -> None:
        """End an instance of a host in the Flex shape at once. Raises HTTPError 404 if there is none of that name."""
        with urllib.request.urlopen(self._admin("POST", f"host/instances/{instance}/kill", port), timeout=30) as answer:
            answer.read()

    def runs(self) -> list[dict[str, Any]]:
        """Return the records of all runs, open and ended, as the app has written them."""
        return [json.loads(text) for text in _blobs(self.azurite.connection_string) if text]  # a pause is empty


def _blobs(connection_string: str) -> Iterator[bytes]:
    with BlobServiceClient.from_connection_string(connection_string) as service:
        container = service.get_container_client("runs")
        if not container.exists():
            return
        # Ended ones last: a run that ends in between is then seen twice rather than not at all.
        for prefix in ("open/", "ended/"):
            for blob in container.list_blobs(name_starts_with=prefix):
                with _gone_is_fine():
                    yield container.download_blob(blob.name).readall()


@contextmanager
def _gone_is_fine() -> Iterator[None]:
    from azure.core.exceptions import ResourceNotFoundError

    try:
        yield
    except ResourceNotFoundError:
        return  # the run has moved on between the listing and the reading


def _machine() -> dict[str, str]:
    """The environment of this process, as far as it is the machine's and not an app's."""
    passed_on = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(_NOT_PASSED_ON) and not name.upper().endswith("_PROXY")
    }
    return {**passed_on, "NO_PROXY": "*"}  # everything is on this machine


@contextmanager
def reserved_port() -> Iterator[int]:
    """Yield a port that nothing listens on.

    Linux gives a port that is bound to nobody who asks for any free one, and lets who is told of it listen there all
    the same. Elsewhere another program may take it before a host listens, and while that is down.
    """
    with socket.socket() as reserved:
        if sys.platform == "linux":
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        port = int(reserved.getsockname()[1])
        if sys.platform != "linux":
            reserved.close()
        yield port
