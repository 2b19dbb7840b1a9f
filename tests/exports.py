"""What tests of exports share: a data project with two rows that wait to be exported, and what was delivered."""

import csv
import io
import json
import uuid
import zipfile

import requests

from local_cloud.finance_operations.api import FinanceOperationsSimulator
from local_cloud.tokens import TokenDesk
from shared.clients.blobs.write import stream_to_blob
from shared.clients.fno.client import FinanceOperations
from shared.runs.run import Run
from tests.packages import build_package
from tests.world import ENTITY, World

PROJECT = "Asset-Major-Types-Export"
EXPORT = {"INPUT_FOLDER": "", "EXPORT_DATA_PROJECT": PROJECT, "EXPORT_COMPANY": "USMF"}
_ASSETS = {"outputFolder": "Output", "dataProject": PROJECT, "company": "USMF"}
HOURLY = {
    "INPUT_FOLDER": "",
    "INTEGRATIONS": json.dumps({"exports": [{"name": "assets", "everySeconds": 3600, **_ASSETS}]}),
}


def declare(
    fno: FinanceOperationsSimulator,
    desk: TokenDesk,
    project: str,
    entity: str,
    *,
    is_new: bool,
    refresh: str = "IncrementalPush",
) -> None:
    """Let a data project export an entity: what has changed since its last export, or with "FullPush" all of it.

    is_new: there is no data project of that name yet.
    """
    token = desk.issue(fno.audience, app_id="an administrator")
    line = {
        "DefinitionGroupId": project,
        "EntityName": entity,
        "SourceFormat": "CSV",
        "AutoGenerateMapping": "Yes",
        "DefaultRefreshType": refresh,
    }
    for records, record in [("Groups", {"Name": project})] * is_new + [("GroupDetails", line)]:
        declared = requests.post(
            f"{fno.url}/data/DataManagementDefinition{records}",
            json=record,
            headers={"Authorization": f"Bearer {token}"},
            timeout=10,
        )
        assert declared.status_code == 201, declared.text


def prepared(world: World) -> World:
    change(world, ("A", "Alpha"), ("B", "Beta"))
    declare(world.fno, world.desk, PROJECT, ENTITY, is_new=False)
    world.faults.forget_calls()
    return world


def fno_of(world: World) -> FinanceOperations:
    return world.services.finance_operations(world.fno.url)


def change(world: World, *rows: tuple[str, str]) -> None:
    """Let rows change in F&O, which the next export then holds."""
    fno, name = fno_of(world), uuid.uuid4().hex
    url = fno.get_azure_write_url(f"{name}.zip").url
    stream_to_blob([build_package(data_project=PROJECT, rows=rows)], url)
    fno.import_from_package(package_url=url, data_project=PROJECT, execution_id=name, legal_entity="USMF")
    world.fno.end_now(name)


def started(world: World) -> str:
    """Let the timer start the one export, and return its lane."""
    world.start_exports()
    (lane,) = world.heads()
    return lane


def export(world: World) -> Run:
    """Let the timer start an export, and all that follows from it; return the run that it was."""
    assert world.start_exports() == 1
    (run_id,) = [run.run_id for run in world.open_runs()]
    world.run_until_quiet(at_most_s=8 * 24 * 3600)
    (run,) = [run for run in world.ended_runs() if run.run_id == run_id]
    return run


def keys(content: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        lines = archive.read(f"{ENTITY}.csv").decode("utf-8-sig").splitlines()
    return [line["MAJORTYPEID"] for line in csv.DictReader(lines)]


def delivered(world: World) -> dict[str, list[str]]:
    """Return the files in Output with the keys of their rows."""
    return {file.name: keys(file.read_bytes()) for file in sorted((world.folder / "Output").iterdir())}
