"""The entity sets beside the actions, and the imported data as entity sets."""

from typing import Any

import pytest

from local_cloud.finance_operations import FinanceOperationsSimulator
from tests.packages import build_package
from tests.unit.local_cloud.finance_operations.conftest import Caller, HandClock, reason

ENTITY = "Fixed asset major type"
DETAILS = "/data/DataManagementExecutionJobDetails"


def without_etag(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "@odata.etag"}


def test_the_service_document_names_the_entity_sets(caller: Caller, clock: HandClock) -> None:
    """https://docs.oasis-open.org/odata/odata-json-format/v4.01/odata-json-format-v4.01.html#sec_ServiceDocument"""
    caller.import_package()
    clock.pass_by(60)

    for path in ("/data", "/data/"):
        shown = caller.get(path).json()
        assert {"name": "LegalEntities", "kind": "EntitySet", "url": "LegalEntities"} in shown["value"]
        assert all(caller.get(f"/data/{each['url']}").status_code == 200 for each in shown["value"])
        assert "FixedAssetMajorTypes" in [each["name"] for each in shown["value"]]


def test_records_come_in_the_order_that_is_asked_for(caller: Caller) -> None:
    def names(order: str) -> list[str]:
        return [each["Name"] for each in caller.get("/data/LegalEntities", **{"$orderby": order}).json()["value"]]

    assert names("LegalEntityId") == sorted(names("LegalEntityId"))
    assert names("LegalEntityId desc") == sorted(names("LegalEntityId"), reverse=True)
    assert names("Name asc, LegalEntityId desc") == names("LegalEntityId")


def test_an_answer_says_which_properties_it_has_and_which_version_of_a_record(caller: Caller) -> None:
    some = caller.get("/data/LegalEntities", **{"$select": "LegalEntityId", "$top": "2"}).json()

    assert some["@odata.context"].endswith("/data/$metadata#LegalEntities(LegalEntityId)")
    assert len({each["@odata.etag"] for each in some["value"]}) == 2


def test_a_company_can_be_looked_up(caller: Caller) -> None:
    assert caller.get("/data/LegalEntities('usmf')").json()["LegalEntityId"] == "USMF"
    assert caller.get("/data/LegalEntities('FRRT')").status_code == 404
    assert len(caller.get("/data/LegalEntities").json()["value"]) == 5


def test_a_project_can_be_looked_up_by_either_key_and_deleted(caller: Caller) -> None:
    caller.import_package()
    both = "(Name='Assets',OperationType=Microsoft.Dynamics.DataEntities.DMFOperationType'Import')"

    assert caller.get("/data/DataManagementDefinitionGroups('assets')").json()["OperationType"] == "Import"
    assert caller.get(f"/data/DataManagementDefinitionGroups{both}").json()["Name"] == "Assets"
    url = f"{caller.simulator.url}/data/DataManagementDefinitionGroups('Assets')"
    assert caller.session.delete(url, headers=caller.headers, timeout=20).status_code == 204
    assert caller.session.delete(url, headers=caller.headers, timeout=20).status_code == 404


def test_a_project_is_made_once(caller: Caller) -> None:
    assert caller.post("/data/DataManagementDefinitionGroups", {"Name": "Out"}).status_code == 201
    assert "already exists" in reason(caller.post("/data/DataManagementDefinitionGroups", {"Name": "Out"}))
    lost = {"DefinitionGroupId": "Nobody", "EntityName": ENTITY}
    assert "'Nobody' does not exist" in reason(caller.post("/data/DataManagementDefinitionGroupDetails", lost))
    wrong = caller.post("/data/DataManagementDefinitionGroups", {"Name": "Out", "Colour": "red"})
    assert "The property 'Colour' does not exist" in reason(wrong)


def test_job_details_follow_an_execution(caller: Caller, clock: HandClock) -> None:
    caller.import_package(build_package(rows=[("A", "Alpha"), ("B", "#ERROR")]))
    query = {
        "$filter": "JobId eq 'run-1' and DefinitionGroupId eq 'Assets'",
        "$select": "EntityName,StagingStatus,TargetStatus,StagingRecordsCreatedCount,TargetRecordsCreatedCount",
    }
    running = caller.get(DETAILS, **query).json()["value"]
    clock.pass_by(60)
    ended = caller.get(DETAILS, **query).json()["value"]

    assert [each["TargetStatus"] for each in running] == ["Executing"]
    assert [without_etag(each) for each in ended] == [
        {
            "EntityName": ENTITY,
            "StagingStatus": "Finished",
            "TargetStatus": "Finished",
            "StagingRecordsCreatedCount": 2,
            "TargetRecordsCreatedCount": 1,
        }
    ]
    assert caller.get(DETAILS, **{"$filter": "JobId eq 'run-2'"}).json()["value"] == []
    assert len(caller.get(DETAILS, **{"$filter": "TargetRecordsCreatedCount gt 0"}).json()["value"]) == 1


def test_job_details_may_lag_behind(caller: Caller, simulator: FinanceOperationsSimulator, clock: HandClock) -> None:
    simulator.change(details_not_found_s=5)
    caller.import_package()

    assert caller.get(DETAILS).json()["value"] == []
    clock.pass_by(5)
    assert len(caller.get(DETAILS).json()["value"]) == 1


def test_jobs_have_an_id_and_a_description_and_lead_to_their_details(caller: Caller) -> None:
    caller.import_package()
    caller.import_package(executionId="run-2", definitionGroupId="Vendors")
    query = {"$filter": "JobId eq 'run-2'", "$expand": "Details"}
    (job,) = caller.get("/data/DataManagementExecutionJobs", **query).json()["value"]
    (detail,) = caller.get(DETAILS, **{"$filter": "JobId eq 'run-2'", "$expand": "ExecutionJob"}).json()["value"]

    assert set(job) == {"@odata.etag", "JobId", "Description", "Details"}
    assert [(each["DefinitionGroupId"], each["EntityName"]) for each in job["Details"]] == [("Vendors", ENTITY)]
    assert detail["ExecutionJob"]["JobId"] == "run-2"


def test_rows_that_do_not_fit_into_staging_are_rows_to_be_processed(caller: Caller, clock: HandClock) -> None:
    caller.import_package(build_package(rows=[("A", "Alpha"), ("B", "x" * 300), ("C", "#ERROR")]))
    clock.pass_by(60)

    (told,) = caller.get(DETAILS).json()["value"]

    counts = ("StagingRecordsToBeProcessedCount", "StagingRecordsCreatedCount", "TargetRecordsCreatedCount")
    assert [told[name] for name in counts] == [3, 2, 1]
    assert told["SourceFormat"] == "CSV"


@pytest.mark.parametrize("name", [ENTITY, "FixedAssetMajorTypes"])
def test_imported_rows_can_be_read_by_company(caller: Caller, clock: HandClock, name: str) -> None:
    caller.import_package(build_package(rows=[("A", "O'Hara"), ("B", "Beta")]))
    clock.pass_by(60)
    caller.import_package(executionId="run-2", legalEntityId="DEMF")
    clock.pass_by(60)

    everything = caller.get(f"/data/{name}", **{"$count": "true", "$top": "2", "cross-company": "true"}).json()
    found = caller.get(f"/data/{name}", **{"$filter": "dataAreaId eq 'USMF' and DESCRIPTION eq 'O''Hara'"}).json()

    assert everything["@odata.count"] == 3
    assert len(everything["value"]) == 2
    row = {"dataAreaId": "usmf", "MAJORTYPEID": "A", "DESCRIPTION": "O'Hara"}
    assert [without_etag(each) for each in found["value"]] == [row]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"$filter": "JobId = 'x'"}, "Syntax error at position 0"),
        ({"$filter": "Job eq 'x'"}, "Could not find a property named 'Job'"),
        ({"$select": "JobId,Colour"}, "Could not find a property named 'Colour'"),
        ({"$select": "TargetErrorCount"}, "Could not find a property named 'TargetErrorCount'"),
        ({"$filter": "Company eq 'USMF'"}, "Could not find a property named 'Company'"),
        ({"$top": "all"}, "Invalid value 'all' for $top"),
        ({"$orderby": "JobId downwards"}, "Syntax error in 'JobId downwards'"),
        ({"$orderby": "Colour"}, "Could not find a property named 'Colour'"),
        ({"$expand": "Job"}, "Could not find a property named 'Job'"),
        ({"$apply": "Job"}, "'$apply' is not supported"),
    ],
)
def test_a_query_that_is_not_understood_is_refused(
    caller: Caller, simulator: FinanceOperationsSimulator, query: dict[str, str], said: str
) -> None:
    assert said in reason(caller.get(DETAILS, **query))
    assert len(simulator.violations) == 1


def test_rows_can_be_looked_at_without_a_token(
    caller: Caller, simulator: FinanceOperationsSimulator, clock: HandClock
) -> None:
    caller.import_package()
    clock.pass_by(60)

    rows = caller.session.get(f"{simulator.url}/_control/rows", params={"company": "usmf"}, timeout=20).json()["rows"]

    assert rows == [{"entity": ENTITY, "company": "USMF", "MAJORTYPEID": "A", "DESCRIPTION": "Alpha"}]
