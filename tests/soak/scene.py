"""The scene of a soak: one cloud, two functions hosts on one storage account, and all that can be seen of them."""

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self, TextIO

import requests
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.storage.blob import BlobClient, BlobServiceClient, ContainerClient
from azure.storage.queue import QueueServiceClient

from local_cloud import faults
from local_cloud.cloud import LocalCloud
from local_cloud.faults import Fault
from local_cloud.finance_operations.knobs import Speed
from local_cloud.finance_operations.packages import read_package
from local_cloud.functions_host.flex.options import FlexOptions
from local_cloud.onedrive import Knobs
from local_cloud.processes import ChildProcess
from operations.available_actions import Verb, may_submit_again
from shared.azure_storage.container import BlobContainer
from shared.runs.addresses import address_of
from shared.runs.index import RunIndex
from shared.runs.record import Damaged, run_from_json
from shared.runs.run import Run
from shared.runs.states import State
from tests.exports import declare
from tests.soak.plan import COLUMNS, COMPANY, HOSTS, Chance, Package, Plan, Trouble, entity_of
from tests.soak.promises import History, Imported, Place, Record
from tests.soak.storage import PACKAGES, StorageDoor

SPEED: Final = Speed(seconds_per_execution=0.7, not_found_s=0.2)
GRACE_S: Final = 5  # SUBMIT_GRACE_SECONDS: longer than any request of the plan is late
# An upload whose host was killed holds its name until its session ends: in OneDrive a quarter of an hour.
UPLOAD_LIFE_S: Final = 60.0
_TICK: Final = re.compile(r"Executing 'Functions\.keep_watch' \(Reason='Timer fired at ([^']+)'")
_POISON: Final = "-poison"


class Log:
    """What both hosts have printed, as far as it is counted. Lines come from other threads."""

    def __init__(self, file: TextIO | None = None) -> None:
        """file: gets every line, with the number of its host."""
        self._file = file
        self.ticks: list[tuple[int, datetime]] = []
        self.bugs: list[str] = []
        self.counts: Counter[str] = Counter()  # events by name
        self._lock = threading.Lock()

    def take(self, host: int, line: str) -> None:
        with self._lock:
            if self._file:
                self._file.write(f"{host} {line}\n")
            if tick := _TICK.search(line):
                self.ticks.append((host, datetime.fromisoformat(tick[1]).astimezone(UTC)))
            elif '{"event": "' in line:
                event = line.partition('{"event": "')[2].partition('"')[0]
                self.counts[event] += 1
                if event == "step.broke":
                    self.bugs.append(line[line.index("{") :])
            elif "Moving it to the queue" in line:
                self.counts["given up"] += 1


class Hosts:
    """Functions hosts that are killed and started again."""

    killed = "hosts killed"

    def __init__(self, cloud: LocalCloud, log: Log) -> None:
        self._cloud = cloud
        self._log = log
        self._running: dict[int, ChildProcess] = {}
        self.ports = [cloud.host_port, *(cloud.reserve_port() for _ in range(HOSTS - 1))]
        self.kills = 0
        self.died: list[str] = []

    def start(self, host: int) -> None:
        """Start a host that is not running, and wait until it is ready."""
        if host not in self._running:
            self._running[host] = self._cloud.new_host(self.ports[host], lambda line: self._log.take(host, line))

    def kill(self, host: int) -> None:
        """End a running host at once."""
        if child := self._running.pop(host, None):
            self._note_if_dead(host, child)
            child.kill()
            self.kills += 1

    def stop(self) -> None:
        """Let all hosts end in peace."""
        for host, child in sorted(self._running.items()):
            self._note_if_dead(host, child)
            child.stop()
        self._running.clear()

    @property
    def a_url(self) -> str:
        """Where one of those that run listens; "" if none does."""
        return next((f"http://127.0.0.1:{self.ports[host]}" for host in sorted(self._running)), "")

    def run(self, function: str) -> None:
        """Run a function now on all hosts that run, at almost the same moment."""
        for host in sorted(self._running):
            with suppress(OSError):  # it is just about to be killed, or overloaded: a tick may be lost too
                self._cloud.run_function(function, port=self.ports[host])

    def _note_if_dead(self, host: int, child: ChildProcess) -> None:
        if not child.running:
            self.died.append(f"host {host} with exit code {child.exit_code}; it printed: {child.output[-500:]}")


class Scene(LocalCloud):
    """The cloud, with settings for a plan's imports and exports."""

    def __init__(self, home: Path, plan: Plan, chance: Chance, flex: FlexOptions | None = None) -> None:
        """flex: the shape that the app is run in; None: each host is one process."""
        self._plan = plan
        self._door: StorageDoor
        lanes = list(dict.fromkeys(package.lane for package in plan.packages))
        flows = {
            "imports": [{"name": lane, "inputFolder": f"{lane}/Input", "dataProject": lane} for lane in lanes],
            "exports": [
                {"name": name, "outputFolder": f"{name}/Output", "dataProject": name, "company": COMPANY}
                for name in plan.exports
            ],
        }
        super().__init__(
            home,
            with_host=False,
            flex=flex,
            keep=True,  # half an hour of blobs that are gone would fill the memory
            speed=SPEED,
            onedrive_options={"knobs": Knobs(upload_session_life_s=UPLOAD_LIFE_S)},
            app_settings={
                "INTEGRATIONS": json.dumps(flows),
                "SUBMIT_GRACE_SECONDS": str(GRACE_S),
                "POLL_FIRST_SECONDS": "1",
                "POLL_LONGEST_SECONDS": "5",
                "ALERT_RECIPIENT": "ops@contoso.com",
                "ALERT_SENDER": "app@contoso.com",
            },
        )
        self._chance = chance
        self._lanes = lanes
        self._cancelled: set[str] = set()
        self._damaged: set[str] = set()
        self._overwritten: list[str] = []
        self.submitted_again = 0

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            for lane in self._lanes:
                (self.folder / lane / "Input").mkdir(parents=True)
            for export, lane in self._plan.exports.items():
                declare(self.finance_operations, self.desk, export, entity_of(lane), is_new=True)
            self._door = self._stack.enter_context(StorageDoor(self.azurite.connection_string, self.faults))
            packages = self._stack.enter_context(StorageDoor(self.azurite.connection_string, self.faults, PACKAGES))
            self.finance_operations.show_blobs_at(packages.blob_url)
            self.faults.by_chance = self._chance
        except BaseException:
            self._stop()
            raise
        return self

    @property
    def settings(self) -> dict[str, str]:
        return {**super().settings, "AzureWebJobsStorage": self._door.connection_string}

    def put(self, package: Package) -> None:
        """Copy a package into its Input folder, where it shows up whole."""
        aside = self.home / package.name
        aside.write_bytes(package.content())
        aside.replace(self.folder / package.lane / "Input" / package.name)

    # -- what lasts for a while

    def lock(self, trouble: Trouble) -> Callable[[], None]:
        """Let a file refuse to be moved; return what ends that."""
        knobs = self.onedrive.knobs
        if trouble.shape == "hold":
            knobs.held = [*knobs.held, trouble.file]
        else:
            knobs.locked = {**knobs.locked, trouble.file: trouble.shape}

        def unlock() -> None:
            knobs.held = [name for name in knobs.held if name != trouble.file]
            knobs.locked = {name: shape for name, shape in knobs.locked.items() if name != trouble.file}

        return unlock

    def set_aside(self) -> set[str]:
        """Return the files that others pass at this moment."""
        with self._container() as container:
            rows = [row for row in RunIndex(BlobContainer(container)).open_rows() if row.is_aside and not row.damage]
            return {row.file_name for row in rows if row.state is not State.CANCELLED}

    def refuse_listings(self) -> Callable[[], None]:
        """Let every listing be refused; return what ends that."""
        knobs = self.onedrive.knobs
        knobs.take({"site_is_locked": True})
        return lambda: knobs.take({"site_is_locked": False})

    def refuse_submits(self, status: int) -> Callable[[], None]:
        """Let F&O refuse every submit; return what ends that."""
        answer = faults.status(status, body={"error": {"code": "", "message": "Not now."}})
        self.faults.add(Fault("finance_operations", "POST", r"(Import|Export)\w+Package", times=None, do=answer))
        return self.faults.clear

    def damage(self, which: float) -> Callable[[], None] | None:
        """Cut the record of an open run short; return what restores it, None if no run is open at this moment."""
        with self._container() as container:
            run, content, metadata = self._an_open_run(which, container)
            if run is None:
                return None
            blob = container.get_blob_client(f"open/{run.lane}/{run.sort_key}")
            less = {name: value for name, value in metadata.items() if name != "whole"}
            try:
                written = _write_over(blob, run.record_etag, content[: len(content) // 2], less)
            except HttpResponseError:
                return None  # the app has just written it
        self._damaged.add(run.file.name)

        def restore() -> None:
            with self._container() as container:
                try:
                    _write_over(container.get_blob_client(blob.blob_name), written, content, metadata)
                except HttpResponseError as error:
                    self._overwritten.append(f"{blob.blob_name} (HTTP {error.status_code})")

        return restore

    # -- what a person does

    def cancel(self, which: float, url: str) -> bool:
        """Cancel an import that is open; return whether there was one."""
        with self._container() as container:
            run, _, _ = self._an_open_run(which, container, prefix="open/in-")
        if run is None or not url:
            return False
        self._cancelled.add(run.file.name)  # also if no answer comes
        said = self._act(url, Verb.CANCEL, run)
        if said is not None and not said.get("done"):
            self._cancelled.discard(run.file.name)
            return False
        return True

    def submit_again(self, url: str) -> None:
        """Press "Submit again" wherever the app leaves that to a person."""
        with self._container() as container:
            for name in self._names("open/"):
                run, _, _ = _read(container, name)
                if run and may_submit_again(run) and url and self._act(url, Verb.SUBMIT_AGAIN, run):
                    self.submitted_again += 1

    def _act(self, url: str, verb: Verb, run: Run) -> Mapping[str, object] | None:
        """Return what the app says, None if it did not answer."""
        try:
            answer = requests.post(
                f"{url}/api/actions/{verb}",
                json={"run": address_of(run), "by": "Ada", "why": "the soak"},
                headers={"x-functions-key": self.function_key or "any"},
                timeout=20,
            )
            found = answer.json() if answer.status_code in (200, 404, 409) else None
        except (requests.RequestException, ValueError):
            return None
        return found if isinstance(found, dict) else None

    @contextmanager
    def _container(self) -> Iterator[ContainerClient]:
        with BlobServiceClient.from_connection_string(self.azurite.connection_string) as blobs:
            yield blobs.get_container_client("runs")

    def _an_open_run(
        self, which: float, container: ContainerClient, prefix: str = "open/"
    ) -> tuple[Run | None, bytes, dict[str, str]]:
        names = [name for name in self._names(prefix) if not name.split("/")[2].startswith("!")]
        return _read(container, names[int(which * len(names))]) if names else (None, b"", {})

    # -- what can be seen

    def filed(self) -> int:
        """Return how many packages are in Success or Error."""
        return sum(1 for folder in ("Success", "Error") for _ in self.folder.glob(f"*/{folder}/*.zip"))

    def imported_keys(self, export: str) -> list[str]:
        """Return the keys of the rows in F&O that an export is to deliver."""
        entity = entity_of(self._plan.exports[export])
        return [row[COLUMNS[0]] for row in self.finance_operations.rows(entity, COMPANY)]

    def exported_keys(self, export: str) -> list[str]:
        """Return the keys in all packages of an export, as often as they are there."""
        keys = []
        for file in sorted((self.folder / export / "Output").glob("*.zip")):
            with file.open("rb") as content:
                keys += [row[COLUMNS[0]] for entity in read_package(content).entities for row in entity.rows]
        return keys

    def is_exported(self) -> bool:
        """Return whether every imported row was delivered by every export that has it."""
        return all(set(self.imported_keys(each)) <= set(self.exported_keys(each)) for each in self._plan.exports)

    def open_runs(self) -> list[str]:
        """Return the names of the records of open runs."""
        return self._names("open/")

    def messages(self) -> dict[str, int]:
        """Return how many messages are in each queue, visible or not."""
        with QueueServiceClient.from_connection_string(self.azurite.connection_string) as queues:
            names = [queue.name for queue in queues.list_queues()]
            return {
                name: int(queues.get_queue_client(name).get_queue_properties().approximate_message_count or 0)
                for name in names
            }

    def reservations(self) -> list[str]:
        """Return the names of the records of reservations."""
        return self._names("reservations/")

    def standing(self) -> list[str]:
        """Return the titles of alerts of what lasts that are not over, as far as the app knows."""
        found = []
        with self._container() as container:
            for name in self._names("alerts/"):
                with suppress(ResourceNotFoundError):
                    alert = json.loads(container.download_blob(name).readall())
                    found += [alert["title"]] if alert.get("stays") and not alert.get("over") else []
        return found

    def is_quiet(self) -> bool:
        """Return whether nothing is left to do: no open run, message, lease or reservation, and no alert stands."""
        if any(self.messages().values()) or self.open_runs() or self._held_leases():
            return False
        return not (self.reservations() or self.standing())

    def history(self, log: Log, died: Sequence[str]) -> History:
        """Return all that is left behind, once the hosts have ended."""
        return History(
            packages=self._plan.packages,
            records=self.runs(),
            places=list(self._places()),
            imported=[Imported(each.execution_id, each.rows) for each in self.finance_operations.effects],
            exported={export: self.exported_keys(export) for export in self._plan.exports},
            to_export={export: self.imported_keys(export) for export in self._plan.exports},
            cancelled=frozenset(self._cancelled),
            damaged=frozenset(self._damaged),
            open_runs=self.open_runs(),
            reservations=self.reservations(),
            standing=self.standing(),
            leases=self._held_leases(),
            messages=self.messages(),
            given_up=log.counts["given up"],
            told=log.counts["message.poison"],
            ticks=log.ticks,
            died=died,
            bugs=[*log.bugs, *(f"a damaged record was written over: {name}" for name in self._overwritten)],
            violations=[*self.onedrive.violations, *self.finance_operations.violations],
        )

    def _places(self) -> Iterator[Place]:
        for lane in self._lanes:
            for file in sorted((self.folder / lane).glob("*/*")):
                digest = hashlib.sha256(file.read_bytes()).hexdigest()
                yield Place(f"{lane}/{file.parent.name}", file.name, digest)

    def _names(self, prefix: str) -> list[str]:
        with self._container() as container:
            return list(container.list_blob_names(name_starts_with=prefix)) if container.exists() else []

    def _held_leases(self) -> list[str]:
        with self._container() as container:
            rows = list(container.list_blobs(name_starts_with="locks/")) if container.exists() else []
            return [row.name for row in rows if row.lease.state == "leased"]


def _read(container: ContainerClient, name: str) -> tuple[Run | None, bytes, dict[str, str]]:
    """Return an open run, its record and its metadata; no run if it has ended, or its record is damaged."""
    try:
        download = container.download_blob(name)
        content, found = download.readall(), download.properties
        run = run_from_json(content)
    except (ResourceNotFoundError, Damaged):
        return None, b"", {}
    return replace(run, record_etag=str(found.etag)), content, dict(found.metadata or {})


def _write_over(blob: BlobClient, etag: str, content: bytes, metadata: dict[str, str]) -> str:
    """Write a record over its version of that etag; return the new one. Raises HttpResponseError if it is gone."""
    unchanged = MatchConditions.IfNotModified
    return str(
        blob.upload_blob(content, overwrite=True, metadata=metadata, etag=etag, match_condition=unchanged)["etag"]
    )


def figures_of(records: Sequence[Record]) -> Mapping[str, int]:
    """Return what is counted in the app's own records."""
    imports = [record for record in records if record["flow"] == "import"]
    return {
        "ids chosen": sum(len(record["submissions"]) for record in records),
        "packages fenced": sum(any(sent["fenced"] for sent in record["submissions"]) for record in imports),
        "exports delivered": sum(record["flow"] == "export" and record["state"] == "delivered" for record in records),
        "files that others passed": sum(record.get("passed_by_total", 0) > 0 for record in imports),
        "imports cancelled": sum(bool(record.get("cancelled_in")) for record in imports),
    }
