"""The scene of a soak: one cloud, two functions hosts on one storage account, and all that can be seen of them."""

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self, TextIO

import requests
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from local_cloud.cloud import LocalCloud
from local_cloud.finance_operations.knobs import Speed
from local_cloud.finance_operations.packages import read_package
from local_cloud.onedrive import Knobs
from local_cloud.processes import ChildProcess
from tests.soak.plan import COLUMNS, COMPANY, HOSTS, Chance, Package, Plan, entity_of
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
        """Count one line."""
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

    def __init__(self, home: Path, plan: Plan, chance: Chance) -> None:
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
            keep=True,  # half an hour of blobs that are gone would fill the memory
            speed=SPEED,
            onedrive_options={"knobs": Knobs(upload_session_life_s=UPLOAD_LIFE_S)},
            app_settings={
                "INTEGRATIONS": json.dumps(flows),
                "SUBMIT_GRACE_SECONDS": str(GRACE_S),
                "POLL_FIRST_SECONDS": "1",
                "POLL_LONGEST_SECONDS": "5",
            },
        )
        self._chance = chance
        self._lanes = lanes

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            for lane in self._lanes:
                (self.folder / lane / "Input").mkdir(parents=True)
            for export, lane in self._plan.exports.items():
                self._declare(export, entity_of(lane))
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

    def _declare(self, export: str, entity: str) -> None:
        """Let a data project export what has changed in an entity since its last export."""
        fno = self.finance_operations
        token = self.desk.issue(fno.audience, app_id="an administrator")
        line = {
            "DefinitionGroupId": export,
            "EntityName": entity,
            "SourceFormat": "CSV",
            "AutoGenerateMapping": "Yes",
            "DefaultRefreshType": "IncrementalPush",
        }
        for records, record in (("Groups", {"Name": export}), ("GroupDetails", line)):
            answer = requests.post(
                f"{fno.url}/data/DataManagementDefinition{records}",
                json=record,
                headers={"Authorization": f"Bearer {token}"},
                timeout=10,
            )
            answer.raise_for_status()

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

    def is_quiet(self) -> bool:
        """Return whether nothing is left to do: no open run, no message, no lease."""
        return not (any(self.messages().values()) or self.open_runs() or self._held_leases())

    def history(self, log: Log, hosts: Hosts) -> History:
        """Return all that is left behind, once the hosts have ended."""
        return History(
            packages=self._plan.packages,
            records=self.runs(),
            places=list(self._places()),
            imported=[Imported(each.execution_id, each.rows) for each in self.finance_operations.effects],
            exported={export: self.exported_keys(export) for export in self._plan.exports},
            to_export={export: self.imported_keys(export) for export in self._plan.exports},
            open_runs=self.open_runs(),
            leases=self._held_leases(),
            messages=self.messages(),
            given_up=log.counts["given up"],
            told=log.counts["message.given_up"],
            ticks=log.ticks,
            died=hosts.died,
            bugs=log.bugs,
            violations=[*self.onedrive.violations, *self.finance_operations.violations],
        )

    def _places(self) -> Iterator[Place]:
        for lane in self._lanes:
            for file in sorted((self.folder / lane).glob("*/*")):
                digest = hashlib.sha256(file.read_bytes()).hexdigest()
                yield Place(f"{lane}/{file.parent.name}", file.name, digest)

    def _names(self, prefix: str) -> list[str]:
        with BlobServiceClient.from_connection_string(self.azurite.connection_string) as blobs:
            container = blobs.get_container_client("runs")
            return list(container.list_blob_names(name_starts_with=prefix)) if container.exists() else []

    def _held_leases(self) -> list[str]:
        with BlobServiceClient.from_connection_string(self.azurite.connection_string) as blobs:
            container = blobs.get_container_client("runs")
            rows = list(container.list_blobs(name_starts_with="locks/")) if container.exists() else []
            return [row.name for row in rows if row.lease.state == "leased"]


def figures_of(records: Sequence[Record]) -> Mapping[str, int]:
    """Return what is counted in the app's own records."""
    imports = [record for record in records if record["flow"] == "import"]
    return {
        "ids chosen": sum(len(record["submissions"]) for record in records),
        "packages fenced": sum(any(sent["fenced"] for sent in record["submissions"]) for record in imports),
        "exports delivered": len(records) - len(imports),
    }
