"""history: opening the newest page of the run history, with 100,000 ended runs and with 100.

The page is what a person's browser gets: the figures and the 50 newest runs. Both histories lie in one Azurite, in
containers of their own, and reach back over 30 days, today among them; they are opened in turn.
"""

import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from azure.storage.blob import BlobServiceClient

from local_cloud.storage import Azurite
from operations import list_view, pages
from operations.filters import Filters
from operations.web import PageRequest
from shared.app import Services
from shared.azure_storage.container import BlobContainer
from shared.config.settings import read_settings
from shared.runs.addresses import ended_name, sort_key_of
from shared.runs.run import Run, new_run
from shared.runs.states import Direction, Outcome, State
from shared.runs.store import RunStore
from shared.runs.values import FileFacts, RemoteCallRecord, StepRecord
from tests.benchmarks.figures import Figure, Limit, Sample
from tests.benchmarks.many_blobs import multiply
from tests.benchmarks.trial import Trial

NAME: Final = "history"
MANY: Final = 100_000
FEW: Final = 100
QUICK: Final = 3_000
DAYS: Final = 30
PAIRS: Final = 5
STEPS: Final = ("claim", "prepare", "submit", "poll", "poll", "file_away")


def measure(trial: Trial) -> list[Figure]:
    """Return the milliseconds until the newest page is there."""
    many = QUICK if trial.quick else MANY
    folder = trial.folder("azurite")
    trial.say(f"making {many:,} ended runs")
    _write_history(folder, {"many": many, "few": FEW})
    with (
        Azurite(folder=folder) as azurite,
        BlobServiceClient.from_connection_string(azurite.connection_string) as blobs,
    ):
        ours, reference = (
            _services(azurite.connection_string, RunStore(BlobContainer(blobs.get_container_client(name))))
            for name in ("many", "few")
        )
        samples = []
        for number in range(PAIRS + 1):
            trial.say(f"opening the page, {number + 1} of {PAIRS + 1}")
            samples.append(Sample(_newest_page_ms(ours), _newest_page_ms(reference)))
        first_row = [_first_row_ms(blobs, name) for name in ("many", "few")]
    return [
        Figure(
            row=NAME,
            what=f"the newest page of {many:,} ended runs; reference: of {FEW}",
            unit="ms",
            samples=tuple(samples[1:]),  # the first pair makes connections and warms Azurite's caches up
            limits=(Limit("ratio", "at most", 2),),
            details={"Azurite's own ms to list one row, many and few": first_row},
        )
    ]


def _services(connection_string: str, store: RunStore) -> Services:
    settings = {
        "AzureWebJobsStorage": connection_string,
        "FO_URL": "https://contoso.operations.dynamics.com",
        "ONEDRIVE_DRIVE": "drives/b!local",
        "OUTBOUND_SCHEDULE": "0 0 * * * *",
    }
    services = Services(read_settings(settings))
    services.store = store
    return services


def _newest_page_ms(services: Services) -> float:
    """Open the newest page."""
    began = time.perf_counter()
    runs = list_view.list_runs(Filters(), "", services)
    page = pages.list_page(runs, PageRequest(query={}))
    took_ms = (time.perf_counter() - began) * 1000
    assert len(runs.ended) >= list_view.PAGE
    assert page.status == 200
    return took_ms


def _first_row_ms(blobs: BlobServiceClient, container: str) -> float:
    rows = blobs.get_container_client(container).list_blobs(name_starts_with="ended/", results_per_page=1)
    began = time.perf_counter()
    next(iter(rows))
    return (time.perf_counter() - began) * 1000


def _write_history(folder: Path, sizes: Mapping[str, int]) -> None:
    """Let an Azurite in this folder hold this many ended runs, by container."""
    now = datetime.now(UTC)
    names = {
        container: [ended_name(now - timedelta(days=DAYS) * number / size, f"{number:012x}") for number in range(size)]
        for container, size in sizes.items()
    }
    with (
        Azurite(folder=folder) as azurite,
        BlobServiceClient.from_connection_string(azurite.connection_string) as blobs,
    ):
        for container in names:
            store = RunStore(BlobContainer(blobs.get_container_client(container)))
            store.create(_a_run(now))
            (run,) = map(store.read_row, store.lane("lane").rows)
            store.end(replace(run, state=State.FILED, ended=now, outcome=Outcome.SUCCEEDED))
    multiply(folder, names)


def _a_run(now: datetime) -> Run:
    """Return a run with the steps and calls of a clean import."""
    run = new_run(
        direction=Direction.IMPORT,
        state=State.FOUND,
        flow_name="import",
        lane="lane",
        sort_key=sort_key_of(now, "1"),
        now=now,
        file=FileFacts(name="USMF_Customers_001.zip", item_id="01ABCDEFGHIJKLMNOPQRSTUVWXYZ", size_bytes=18_204),
    )
    call = RemoteCallRecord(
        service="Microsoft Graph", operation="get item", status=200, request_id=str(uuid.uuid4()), took_s=0.1, began=now
    )
    steps = [StepRecord(step=step, state=State.FOUND, began=now, took_s=0.5, calls=(call, call)) for step in STEPS]
    return replace(run, steps=tuple(steps))
