"""Exports whose moment comes while no host runs, or whose tick is killed half way: each is made once.

The schedule has one moment a day, a few seconds ahead, so the host keeps a monitor of it, as for every schedule of a
minute or more.
"""

import json
import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobServiceClient

from local_cloud.finance_operations.knobs import Speed
from tests.end_to_end.stage import NO_MINUTE_TIMER, PROMPT_QUEUES, Stage
from tests.exports import declare

pytestmark = pytest.mark.timeout(300)

AHEAD_S: Final = 8  # in which a host must be ready; doubled until it is
LATE_S: Final = 11  # an export that begins ten seconds after its moment is late
KILLED_AT: Final = 4  # the export that is about to be opened


@contextmanager
def exporting(home: Path, exports: int) -> Iterator[Stage]:
    """A cloud without a host, whose app has so many exports, of data projects that F&O knows."""
    projects = [f"Project{n}" for n in range(exports)]
    flows = [{"name": each, "outputFolder": "Output", "dataProject": each, "company": "USMF"} for each in projects]
    settings = {**NO_MINUTE_TIMER, **PROMPT_QUEUES, "INTEGRATIONS": json.dumps({"exports": flows})}
    stage = Stage(home, app_settings=settings, speed=Speed(seconds_per_execution=0.2), with_host=False)
    with stage:
        for each in projects:
            declare(
                stage.finance_operations, stage.desk, each, "Fixed asset major type", is_new=True, refresh="FullPush"
            )
        yield stage
        stage.assert_clients_kept_the_rules()


def start_before_the_moment(stage: Stage) -> datetime:
    """Start the host, and return the moment of its schedule, which is to come."""
    ahead_s = AHEAD_S
    while True:
        moment = (datetime.now(UTC) + timedelta(seconds=ahead_s)).replace(microsecond=0)
        stage.app_settings["OUTBOUND_SCHEDULE"] = f"{moment.second} {moment.minute} {moment.hour} * * *"
        stage.start_host()
        if stage.wait_for(lambda: next_tick(stage), "the timer's status") == moment:
            return moment
        stage.kill_host()
        ahead_s *= 2


def next_tick(stage: Stage) -> datetime | None:
    """Return what the host's monitor has saved of the timer: its next tick."""
    with BlobServiceClient.from_connection_string(stage.azurite.connection_string) as service:
        container = service.get_container_client("azure-webjobs-hosts")
        try:
            for blob in container.list_blobs(name_starts_with="timers/"):
                if "start_exports" in blob.name:
                    return datetime.fromisoformat(json.loads(container.download_blob(blob.name).readall())["Next"])
        except ResourceNotFoundError:
            pass  # the host has not begun yet
    return None


def ended(stage: Stage) -> set[str]:
    """Return the exports that have a run that has ended."""
    return {record["integration"] for record in stage.runs() if record["ended"]}


@pytest.mark.quick(cases=0)
def test_an_export_whose_moment_comes_while_no_host_runs_is_made_once_and_says_that_it_is_late(tmp_path: Path) -> None:
    with exporting(tmp_path, 1) as stage:
        moment = start_before_the_moment(stage)
        stage.stop_host()
        stage.wait_for(lambda: datetime.now(UTC) > moment + timedelta(seconds=LATE_S), "that the moment is over")
        assert list(stage.runs()) == []

        stage.start_host()
        stage.wait_for(lambda: ended(stage), "the end of the export")
        stage.stop_host()
        stage.start_host()  # which has nothing to make up for
        stage.wait_for(lambda: next_tick(stage) == moment + timedelta(days=1), "the status of the tick")

        (run,) = stage.runs()
        assert run["outcome"] == "Succeeded", run["reason"]
        assert datetime.fromisoformat(run["scheduled"]) == moment
        assert run["late_s"] >= LATE_S
        assert any("export.late" in line for line in stage.log)
        assert len(stage.finance_operations.executions) == 1
        assert len(stage.files("Output")) == 1


@pytest.mark.quick(cases=0)
def test_a_host_that_is_killed_after_it_has_opened_three_of_ten_exports_opens_the_others_and_none_twice(
    tmp_path: Path,
) -> None:
    with exporting(tmp_path, 10) as stage, Detour(stage.azurite.connection_string) as detour:
        stage.app_settings["AzureWebJobsStorage"] = detour.connection_string
        moment = start_before_the_moment(stage)
        stage.wait_for(detour.is_holding, "that the fourth export is about to be opened")
        stage.kill_host()
        detour.hold_nothing()
        assert len({record["integration"] for record in stage.runs()}) == KILLED_AT - 1

        stage.start_host()
        others = {f"Project{n}" for n in range(KILLED_AT - 1, 10)}
        stage.wait_for(lambda: ended(stage) >= others, "the end of the others")

        # Those whose worker was killed as well go on once their lane counts as overdue: ``test_killed_host.py``.
        runs = {record["run_id"]: record for record in stage.runs()}.values()
        assert Counter(run["integration"] for run in runs) == Counter({f"Project{n}": 1 for n in range(10)})
        assert {run["scheduled"] for run in runs} == {moment.isoformat()}
        assert {run["outcome"] for run in runs if run["integration"] in others} == {"Succeeded"}
        executed = Counter(each.data_project for each in stage.finance_operations.executions)
        assert executed == Counter(set(executed))
        assert set(executed) >= others
        stage.kill_host()  # before its way to the storage closes


class Detour:
    """A way to Azurite's blobs that holds up the fourth export that is opened, for good."""

    _OPENING: Final = re.compile(rb"PUT /devstoreaccount1/runs/(open/out-[^? /]+/[^? ]+)")

    def __init__(self, connection_string: str) -> None:
        found = re.search(r"BlobEndpoint=http://([\d.]+):(\d+)/", connection_string)
        assert found
        self._azurite = (found[1], int(found[2]))
        self._listening = socket.create_server(("127.0.0.1", 0))
        own = f"BlobEndpoint=http://127.0.0.1:{self._listening.getsockname()[1]}/"
        self.connection_string = connection_string.replace(found[0], own)
        self._opened: list[bytes] = []
        self._holding = threading.Event()
        self._is_open = True
        self._sockets: list[socket.socket] = [self._listening]
        self._taking = threading.Thread(target=self._take, daemon=True)
        self._passing_on: list[threading.Thread] = []

    def __enter__(self) -> "Detour":
        self._taking.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # which ends its accept()
        self._taking.join()
        for each in self._sockets:
            with suppress(OSError):  # not connected any more
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._passing_on:
            thread.join()
        for each in self._sockets:
            each.close()

    def is_holding(self) -> bool:
        return self._holding.is_set()

    def hold_nothing(self) -> None:
        self._is_open = False

    def _take(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return  # closed
            azurite = socket.create_connection(self._azurite)
            self._sockets += [client, azurite]
            for there, back, is_asking in ((client, azurite, True), (azurite, client, False)):
                self._passing_on.append(
                    threading.Thread(target=self._pass_on, args=(there, back, is_asking), daemon=True)
                )
                self._passing_on[-1].start()

    def _pass_on(self, from_: socket.socket, to: socket.socket, is_asking: bool) -> None:  # a thread's
        try:
            while data := from_.recv(65_536):
                if is_asking and self._is_held(data):
                    self._holding.set()
                    return
                to.sendall(data)
            to.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # one of them has gone

    def _is_held(self, data: bytes) -> bool:
        found = self._OPENING.match(data)
        if not found or not self._is_open or found[1] in self._opened:
            return False
        self._opened.append(found[1])
        return len(self._opened) == KILLED_AT
