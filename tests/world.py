"""The app's flows in this process, over the simulators and Azurite, with a clock that tests can turn.

No functions host and no waiting: a test says what happens, lets the lanes run until nothing is due, and looks where
everything ended. The way through queues, timers and HTTP is tested in ``tests/end_to_end``.
"""

import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import BlobLeaseClient, BlobProperties, BlobServiceClient, ContainerClient
from azure.storage.queue import QueueServiceClient, TextBase64EncodePolicy

from inbound_trigger.keep_watch import do_duties
from inbound_trigger.work import work
from local_cloud.entra import Entra
from local_cloud.faults import FaultPlan
from local_cloud.finance_operations.api import FinanceOperationsSimulator
from local_cloud.finance_operations.knobs import Behaviour, Speed
from local_cloud.finance_operations.store import Database
from local_cloud.onedrive import Knobs, OneDriveSimulator
from local_cloud.onedrive.mail import Mail
from local_cloud.server import Server
from local_cloud.tokens import TokenDesk
from shared.alerts import delivery
from shared.app import Services
from shared.azure_storage.queue import QueueLength, WorkQueue
from shared.azure_storage.queue_names import POISON, WORK
from shared.config.settings import read_settings
from shared.exports import schedule as export_schedule
from shared.exports import steps as export_steps
from shared.imports import steps as import_steps
from shared.runs import wake
from shared.runs.record import run_from_json
from shared.runs.run import Run
from shared.runs.states import Direction, State
from shared.scan import scan, scan_requests
from tests.packages import package_named

PROJECT = "Asset-Major-Types"
ENTITY = "Fixed asset major type"
FOLDERS = ("Input", "Processing", "Success", "Error", "Output")


@dataclass(slots=True)
class Clock:
    """The time of the app and of F&O; it stands still until a test turns it."""

    present: datetime = field(default_factory=lambda: datetime.now(UTC))

    def now(self) -> datetime:
        return self.present

    def seconds(self) -> float:
        """Return the present moment in seconds since the epoch."""
        return self.present.timestamp()

    def advance(self, seconds: float) -> None:
        self.present += timedelta(seconds=seconds)


class World:
    """OneDrive, F&O, Entra and the app's storage, and the app's services over them."""

    def __init__(
        self,
        home: Path,
        azurite_connection: str,
        monkeypatch: pytest.MonkeyPatch,
        *,
        settings: Mapping[str, str] | None = None,
        speed: Speed | None = None,
        behaviour: Behaviour | None = None,
        knobs: Knobs | None = None,
        at: datetime | None = None,
        database: Database = ":memory:",
    ) -> None:
        """at: the moment at which this world begins, for OneDrive too; now, and OneDrive by the real time, if None.

        database: where F&O keeps everything; it forgets at the end unless told.
        """
        self.clock = Clock() if at is None else Clock(at)
        self.faults = FaultPlan()
        self.desk = TokenDesk()
        self.folder = home / "OneDrive"
        for name in FOLDERS:
            (self.folder / name).mkdir(parents=True)
        self.connection = azurite_connection
        self.monkeypatch = monkeypatch
        self._stack = ExitStack()
        entra = Entra(self.desk, faults=self.faults)
        self._entra_server = Server(entra.app())
        self.entra = entra
        self.onedrive = OneDriveSimulator(
            self.folder, self.desk, self.faults, knobs=knobs, clock=time.time if at is None else self.clock.seconds
        )
        self.fno = FinanceOperationsSimulator(
            azurite_connection,
            self.desk,
            self.faults,
            speed=speed or Speed(seconds_per_execution=10.0),
            behaviour=behaviour,
            database=database,
            clock=self.clock.seconds,
        )
        self._more_settings = dict(settings or {})
        self._own = uuid.uuid4().hex[:10]
        self._mails_before = 0
        self.container = f"runs-{self._own}"
        self.services: Services

    def __enter__(self) -> Self:
        self._stack.enter_context(self._entra_server)
        self._stack.enter_context(self.onedrive)
        self._stack.enter_context(self.fno)
        self._stack.callback(self._delete_records)
        self.monkeypatch.setenv("IDENTITY_ENDPOINT", f"{self._entra_server.url}/msi/token")
        self.monkeypatch.setenv("IDENTITY_HEADER", self.entra.identity_header)
        self.services = self.new_process()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        if error is None:
            assert self.onedrive.violations == []
            assert self.fno.violations == []

    def new_process(self) -> Services:
        """Return services as a process that has just started has them: nothing remembered."""
        settings = read_settings(
            {
                "AzureWebJobsStorage": self.connection,
                "FO_URL": self.fno.url,
                "GRAPH_URL": self.onedrive.graph_url,
                "ONEDRIVE_DRIVE": f"drives/{self.onedrive.drive_id}",
                "OUTBOUND_SCHEDULE": "*/30 * * * * *",
                **self._more_settings,
            }
        )
        services = Services(settings, clock=self.clock.now, sleep=self.clock.advance)
        # Azurite is shared by all tests; this world has a container and queues of its own.
        self._stack.callback(services.storage.close)
        services.container = services.storage.container(self.container)
        services.queue = _OwnQueues(services.storage.queues, self._own)
        return services

    def begin_anew(self, settings: Mapping[str, str] | None = None) -> None:
        """Empty the folders and forget mails and the app's records, as if nothing had happened; F&O keeps its rows.

        settings: in place of those that it was made with.
        """
        if settings is not None:
            self._more_settings = dict(settings)
        self._delete_records()
        self._mails_before = len(self.onedrive.mails)
        for name in FOLDERS:
            for file in (self.folder / name).iterdir():
                if file.is_dir():
                    shutil.rmtree(file)
                else:
                    file.unlink()
        self._own = uuid.uuid4().hex[:10]
        self.container = f"runs-{self._own}"
        self.services = self.new_process()

    def _delete_records(self) -> None:
        """Leave no blob behind: Azurite, which all tests share, looks through all that it has at each call."""
        with BlobServiceClient.from_connection_string(self.connection) as blobs, suppress(ResourceNotFoundError):
            blobs.delete_container(self.container)

    def let_leases_run_out(self) -> None:
        """Let the time pass in which a dead worker's leases end; Azurite's clock cannot be turned."""
        with BlobServiceClient.from_connection_string(self.connection) as blobs:
            container = blobs.get_container_client(self.container)
            for row in _rows_if_any(container, "locks/"):
                if row.lease.state == "leased":
                    BlobLeaseClient(container.get_blob_client(row.name)).break_lease(lease_break_period=0)

    def held_leases(self) -> list[str]:
        """Return the names of the leases that do not run out by themselves."""
        with BlobServiceClient.from_connection_string(self.connection) as blobs:
            container = blobs.get_container_client(self.container)
            return [row.name for row in _rows_if_any(container, "locks/") if row.lease.duration == "infinite"]

    # -- what a person or another system does

    def put(self, name: str, content: bytes | None = None) -> Path:
        """Copy a package (a good one, unlike those of other names, unless told) into Input."""
        file = self.folder / "Input" / name
        file.write_bytes(package_named(name) if content is None else content)
        return file

    # -- what the app does

    def look(self) -> int:
        """Look for new files; return how many runs were opened."""
        return scan.open_new_runs(self.services)

    def start_exports(self, *, next_tick: datetime | None = None) -> int:
        """Do what the export timer does; return how many exports were started.

        next_tick: when the host's monitor expects the next one; a moment to come if a person calls the function.
        """
        return export_schedule.start_exports(self.services, next_tick=next_tick.isoformat() if next_tick else "")

    def wake(self, lane: str) -> None:
        advance = import_steps.advance_imports if lane.startswith("in-") else export_steps.advance_exports
        advance(lane, self.services)

    def deliver(self, text: str) -> None:
        work(text, self.services)

    def keep_watch(self) -> None:
        """Do what the minute's timer does."""
        do_duties(self.services)

    def run_until_quiet(self, *, at_most_s: float = 24 * 3600) -> None:
        """Wake each lane whenever its head is due, letting time pass, until no run is open.

        Fails the test when runs are still open after that much of the clock's time.
        """
        give_up = self.clock.now() + timedelta(seconds=at_most_s)
        while heads := self.heads():
            lane, due = min(heads.items(), key=lambda head: head[1])
            if due > give_up:
                break
            if due > self.clock.now():
                self.clock.present = due
            self.wake(lane)
        assert self.heads() == {}, [run.steps[-3:] for run in self.open_runs()]

    def deliver_alerts(self) -> None:
        """Do what the minute's timer does last."""
        delivery.deliver_alerts({}, self.services)

    # -- where everything is

    def mails(self) -> list[Mail]:
        """Return all mails about problems, once the minute's timer has run, without those that one is resolved."""
        self.deliver_alerts()
        mails = self.onedrive.mails[self._mails_before :]
        return [mail for mail in mails if not mail.subject.startswith("Resolved: ")]

    def heads(self) -> dict[str, datetime]:
        """Return when the next run of each lane is due."""
        listed = self.services.store.open_lanes()
        return {lane: choice.due for lane, choice in wake.next_of_lanes(listed).items()}

    def open_runs(self) -> list[Run]:
        """Return the runs that are next in their lanes."""
        listed = self.services.store.open_lanes()
        return [self.services.store.read_row(choice.row) for choice in wake.next_of_lanes(listed).values()]

    def all_open_runs(self) -> list[Run]:
        """Return all open runs, lane by lane, in the order of their places."""
        return [self.services.store.read_row(row) for row in self.services.store.open_lanes().rows]

    def saved_states(self) -> list[State]:
        """Note in which states this process saves runs from now on; return where that is noted."""
        saved: list[State] = []
        save = self.services.store.save

        def noting(run: Run) -> Run:
            saved.append(run.state)
            return save(run)

        self.services.store.save = noting  # type: ignore[method-assign]  # only to look on
        return saved

    def ended_runs(self, flow: Direction | None = None) -> list[Run]:
        """Return the runs that have ended, the first to be opened first."""
        with BlobServiceClient.from_connection_string(self.connection) as blobs:
            container = blobs.get_container_client(self.container)
            texts = [
                container.download_blob(row.name).readall() for row in container.list_blobs(name_starts_with="ended/")
            ]
        runs = sorted((run_from_json(text) for text in texts), key=lambda run: run.opened)
        return [run for run in runs if flow in (None, run.direction)]

    def files(self, folder: str) -> list[str]:
        return sorted(file.name for file in (self.folder / folder).iterdir())

    def imports(self) -> list[tuple[str, int]]:
        """Return what took effect in F&O: company and rows of each import, in order."""
        return [(effect.company, effect.rows) for effect in self.fno.effects]

    def calls(self, operation: str) -> int:
        """Return how many calls of an F&O action or a Graph path reached the simulators."""
        return sum(operation in call.path for call in self.faults.calls)

    def wakes_of_lanes(self) -> list[tuple[str, float]]:
        """Return the messages that were sent for lanes: each text, and seconds until it is visible."""
        return [sent for sent in self.wakes.sent if not scan_requests.is_request(sent[0])]

    def scans_asked_for(self) -> list[tuple[str, float]]:
        """Return the messages that were sent for scans, in the same form."""
        return [sent for sent in self.wakes.sent if scan_requests.is_request(sent[0])]

    def written(self) -> str:
        """Return all that the app has written but its log: records, notes, reports, mails, queue messages."""
        with BlobServiceClient.from_connection_string(self.connection) as blobs:
            container = blobs.get_container_client(self.container)
            parts = [container.download_blob(row.name).readall().decode() for row in _rows_if_any(container, "")]
        parts += [
            file.read_text(encoding="utf-8", errors="replace")
            for folder in ("Success", "Error")
            for file in (self.folder / folder).rglob("*")
            if file.is_file() and file.suffix != ".zip"
        ]
        parts += [str(mail) for mail in self.onedrive.mails]
        parts += [text for text, _ in self.wakes.sent]
        return "\n".join(parts)

    def queue_name(self, queue: str) -> str:
        """Return the name under which this world has a queue of the app, or its poison queue."""
        plain = queue.removesuffix(POISON)
        return f"{plain}-{self._own}{queue.removeprefix(plain)}"

    def give_up_on(self, queue: str, text: str) -> None:
        """Do what the host does with a message whose function failed again and again."""
        poison = self.services.storage.queues.get_queue_client(
            self.queue_name(queue + POISON), message_encode_policy=TextBase64EncodePolicy()
        )
        with suppress(ResourceExistsError):
            poison.create_queue()
        poison.send_message(text)

    @property
    def wakes(self) -> "_OwnQueues":
        """The queues, with what was sent to them."""
        wakes = self.services.queue
        assert isinstance(wakes, _OwnQueues)
        return wakes


def _rows_if_any(container: ContainerClient, prefix: str) -> list[BlobProperties]:
    return list(container.list_blobs(name_starts_with=prefix)) if container.exists() else []


class _OwnQueues(WorkQueue):
    """The real queues under names of this world's own; notes what was sent, because delayed messages cannot be read."""

    def __init__(self, service: QueueServiceClient, own: str) -> None:
        super().__init__(service, queue=f"{WORK}-{own}")
        self._suffix = own
        self.sent: list[tuple[str, float]] = []

    def send(self, text: str, *, delay_s: float = 0.0) -> None:
        super().send(text, delay_s=delay_s)
        self.sent.append((text, delay_s))

    def length(self, queue: str) -> QueueLength:
        return super().length(f"{queue}-{self._suffix}")

    @contextmanager
    def poison_messages(self, queue: str) -> Iterator[list[str]]:
        with super().poison_messages(f"{queue}-{self._suffix}") as texts:
            yield texts


def wait_for(condition: Any, *, timeout_s: float = 60.0) -> None:
    """Wait until a condition holds, in real time; fail the test when it does not."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
