"""d365fo-client, a public client of F&O's OData, works with the simulated environment.

It knows no packages, only entities and actions in general, so the package actions are called as its documentation shows
for any action. https://github.com/mafzaal/d365fo-client
"""
# mypy: disable-error-code="import-not-found"
# The client is not among the project's requirements: where mypy runs it is not there.

import json
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import requests

from local_cloud.faults import FaultPlan
from local_cloud.finance_operations import FinanceOperationsSimulator, Speed
from local_cloud.tokens import Claims, TokenDesk
from tests.packages import Entity, build_package
from tests.witnesses.clients import D365FO
from tests.witnesses.conftest import APP_ID

pytest.importorskip("d365fo_client", reason=D365FO.missing())

from d365fo_client import FOClient, FOClientConfig, QueryOptions
from d365fo_client.exceptions import ActionError, EntityError

pytestmark = pytest.mark.witness(D365FO.name)

TIMEOUT_S: Final = 60  # costs nothing when all is well
GROUPS: Final = "DataManagementDefinitionGroups"
# What this client sends in place of a token to an address that begins like this machine's.
ITS_TOKEN: Final = "Bearer mock-token-for-localhost"


class LenientDesk(TokenDesk):
    """Takes what this client has for a token."""

    def check(self, authorization_header: str | None, audience: str) -> Claims:
        if authorization_header == ITS_TOKEN:
            authorization_header = f"Bearer {self.issue(audience, app_id=APP_ID)}"
        return super().check(authorization_header, audience)


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A simulated F&O for one test."""

    simulator: FinanceOperationsSimulator
    faults: FaultPlan
    home: Path

    @asynccontextmanager
    async def client(self) -> AsyncIterator["Caller"]:
        configuration = FOClientConfig(
            base_url=self.simulator.url,
            trace_client_id=str(uuid.uuid4()),
            enable_metadata_cache=False,
            metadata_cache_dir=str(self.home),
            use_label_cache=False,
        )
        async with FOClient(configuration) as client:
            yield Caller(client)


class Caller:
    """The client, with its answers unpacked."""

    def __init__(self, client: Any) -> None:
        self.client = client

    async def act(self, action: str, **parameters: Any) -> Any:
        """Call an action of the data projects; without the client's look at the metadata, which is not simulated."""
        answered = await self.client.call_action(action, parameters, entity_name=GROUPS, skip_validation=True)
        return answered["value"]

    async def records(self, entity: str, **options: Any) -> list[dict[str, Any]]:
        answered = await self.client.get_entities(entity, QueryOptions(**options), skip_validation=True)
        found: list[dict[str, Any]] = answered["value"]
        return found

    async def import_package(self, package: bytes, **parameters: Any) -> str:
        said = json.loads(await self.act("GetAzureWriteUrl", uniqueFileName=f"{uuid.uuid4()}.zip"))
        upload(said["BlobUrl"], package)
        defaults = {
            "packageUrl": said["BlobUrl"],
            "definitionGroupId": "Assets",
            "executionId": "run-1",
            "execute": True,
            "overwrite": True,
            "legalEntityId": "USMF",
        }
        return str(await self.act("ImportFromPackage", **defaults | parameters))


def upload(url: str, package: bytes) -> None:
    put = requests.put(url, data=package, headers={"x-ms-blob-type": "BlockBlob"}, timeout=TIMEOUT_S)
    assert put.status_code == 201


def download(url: str) -> bytes:
    got = requests.get(url, timeout=TIMEOUT_S)
    assert got.status_code == 200
    return got.content


@pytest.fixture
def environment(azurite_connection: str, tmp_path: Path) -> Iterator[Environment]:
    faults = FaultPlan()
    speed = Speed(seconds_per_execution=3600)  # a test ends an execution when it wants to
    with FinanceOperationsSimulator(azurite_connection, LenientDesk(), faults, speed=speed) as simulator:
        yield Environment(simulator=simulator, faults=faults, home=tmp_path)
        assert simulator.violations == []


async def test_the_environment_is_found(environment: Environment) -> None:
    async with environment.client() as caller:
        assert await caller.client.test_connection()


async def test_a_package_is_uploaded_imported_and_followed_to_its_end(environment: Environment) -> None:
    rows = [("A", "Alpha"), ("B", "#ERROR"), ("C", "Gamma")]
    async with environment.client() as caller:
        execution_id = await caller.import_package(build_package(rows=rows))
        running = await caller.act("GetExecutionSummaryStatus", executionId=execution_id)
        environment.simulator.end_now(execution_id)
        ended = await caller.act("GetExecutionSummaryStatus", executionId=execution_id)
        each_entity = await caller.act("GetEntityExecutionSummaryStatusList", executionId=execution_id)
        page = await caller.act("GetExecutionSummaryPageUrl", executionId=execution_id)
        errors = json.loads(await caller.act("GetExecutionErrors", executionId=execution_id))
        entity = "Fixed asset major type"
        started = await caller.act("GenerateImportTargetErrorKeysFile", executionId=execution_id, entityName=entity)
        keys = await caller.act("GetImportTargetErrorKeysFileUrl", executionId=execution_id, entityName=entity)
        staging = await caller.act("GetImportStagingErrorFileUrl", executionId=execution_id, entityName=entity)

    assert execution_id == "run-1"
    assert (running, ended, each_entity) == ("Executing", "PartiallySucceeded", ["PartiallySucceeded"])
    assert page.startswith(environment.simulator.url)
    assert [each["RecordId"] for each in errors] == ["B"]
    assert started is True
    assert b"B" in download(keys)
    assert staging == ""


async def test_the_progress_of_an_import_is_read_from_the_job_details(environment: Environment) -> None:
    entities = [Entity(name="Fixed asset major type"), Entity(name="Customer groups", rows=(("1", "x"), ("2", "y")))]
    names = ["EntityName", "StagingStatus", "TargetStatus", "StagingRecordsCreatedCount", "TargetRecordsCreatedCount"]
    async with environment.client() as caller:
        execution_id = await caller.import_package(build_package(entities=entities))
        environment.simulator.end_now(execution_id)
        told = await caller.records(
            "DataManagementExecutionJobDetails",
            filter=f"JobId eq '{execution_id}'",
            select=names,
            orderby=["EntityName"],
        )

    assert [[each[name] for name in names] for each in told] == [
        ["Customer groups", "Finished", "Finished", 2, 2],
        ["Fixed asset major type", "Finished", "Finished", 1, 1],
    ]


async def test_what_was_imported_is_exported_again_as_a_package(environment: Environment) -> None:
    async with environment.client() as caller:
        await caller.import_package(build_package(rows=[("A", "Alpha")]))
        environment.simulator.end_now("run-1")
        execution_id = await caller.act(
            "ExportToPackage",
            definitionGroupId="Assets",
            packageName="Assets",
            executionId="export-1",
            reExecute=False,
            legalEntityId="USMF",
        )
        before = await caller.act("GetExportedPackageUrl", executionId=execution_id)
        environment.simulator.end_now(execution_id)
        status = await caller.act("GetExecutionSummaryStatus", executionId=execution_id)
        url = await caller.act("GetExportedPackageUrl", executionId=execution_id)

    assert (before, status) == ("", "Succeeded")
    assert download(url).startswith(b"PK")


async def test_companies_are_listed_counted_ordered_and_looked_up(environment: Environment) -> None:
    async with environment.client() as caller:
        ordered = await caller.records("LegalEntities", select=["LegalEntityId"], orderby=["LegalEntityId desc"], top=2)
        answered = await caller.client.get_entities("LegalEntities", QueryOptions(count=True), skip_validation=True)
        one = await caller.client.get_entity("LegalEntities", "USMF", skip_validation=True)
        with pytest.raises(EntityError, match="404"):
            await caller.client.get_entity("LegalEntities", "FRRT", skip_validation=True)

    assert [each["LegalEntityId"] for each in ordered] == ["USSI", "USMF"]
    assert answered["@odata.count"] == len(answered["value"]) == 5
    assert one["LegalEntityId"] == "USMF"


async def test_rows_of_an_entity_are_read_across_companies(environment: Environment) -> None:
    async with environment.client() as caller:
        await caller.import_package(build_package(rows=[("A", "Alpha")]))
        environment.simulator.end_now("run-1")
        rows = await caller.records("FixedAssetMajorTypes", filter="dataAreaId eq 'usmf'")

    assert [(each["dataAreaId"], each["MAJORTYPEID"]) for each in rows] == [("usmf", "A")]


async def test_a_refusal_carries_fnos_words_and_the_id_that_its_support_asks_for(environment: Environment) -> None:
    async with environment.client() as caller:
        with pytest.raises(ActionError) as unknown:
            await caller.act("GetExecutionSummaryStatus", executionId="nobody")
        with pytest.raises(ActionError) as broken:
            await caller.import_package(build_package(replace={"PackageHeader.xml": None}))
        await caller.import_package(build_package())
        environment.simulator.end_now("run-1")
        with pytest.raises(ActionError) as exists:
            await caller.import_package(build_package(), executionId="run-2", overwrite=False)

    for refused, words in ((unknown, "not found"), (broken, "PackageHeader.xml"), (exists, "overwrite has not been")):
        assert "failed: 400" in str(refused.value)
        assert words in str(refused.value)
        assert len(refused.value.activity_id) == 36
        assert refused.value.server_timing_ms is not None
