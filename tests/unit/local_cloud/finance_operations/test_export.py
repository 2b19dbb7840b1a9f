"""ExportToPackage: what the package holds, when it is there, and how a delta is lost."""

import io
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from local_cloud.finance_operations import FinanceOperationsSimulator
from local_cloud.finance_operations.packages import EntityData, read_package
from tests.packages import build_package
from tests.unit.local_cloud.finance_operations.conftest import Caller, HandClock, reason

ENTITY = "Fixed asset major type"


def exported(caller: Caller, clock: HandClock, execution_id: str = "export-1", **parameters: Any) -> EntityData:
    answered = caller.export(executionId=execution_id, **parameters)
    assert answered.json()["value"] == execution_id
    clock.pass_by(60)
    assert caller.status(execution_id) == "Succeeded"
    package = caller.download(caller.value("GetExportedPackageUrl", executionId=execution_id))
    (entity,) = read_package(io.BytesIO(package)).entities
    return entity


def imported(caller: Caller, clock: HandClock, *rows: tuple[str, str], execution_id: str = "run-1") -> None:
    answered = caller.import_package(build_package(rows=rows, source_format="EXCEL"), executionId=execution_id)
    assert answered.status_code == 200, answered.text
    clock.pass_by(60)


def keys(data: EntityData) -> list[str]:
    return [row["MAJORTYPEID"] for row in data.rows]


def test_an_export_holds_what_was_imported_in_the_format_of_the_import(caller: Caller, clock: HandClock) -> None:
    imported(caller, clock, ("A", "Alpha"), ("B", "Beta"))

    data = exported(caller, clock)

    assert data == EntityData(
        name=ENTITY,
        source_format="EXCEL",
        fields=("MAJORTYPEID", "DESCRIPTION"),
        rows=(
            {"MAJORTYPEID": "A", "DESCRIPTION": "Alpha"},
            {"MAJORTYPEID": "B", "DESCRIPTION": "Beta"},
        ),
    )


def test_an_export_holds_the_rows_of_one_company(caller: Caller, clock: HandClock) -> None:
    imported(caller, clock, ("A", "Alpha"))

    assert keys(exported(caller, clock, legalEntityId="DEMF")) == []


def test_the_package_is_there_some_time_after_the_final_status(
    caller: Caller, simulator: FinanceOperationsSimulator, clock: HandClock
) -> None:
    imported(caller, clock, ("A", "Alpha"))
    simulator.change(package_url_s=10)
    caller.export()

    assert caller.value("GetExportedPackageUrl", executionId="export-1") == ""
    clock.pass_by(60)
    assert caller.status("export-1") == "Succeeded"
    assert caller.value("GetExportedPackageUrl", executionId="export-1") == ""
    clock.pass_by(10)
    url = caller.value("GetExportedPackageUrl", executionId="export-1")
    assert parse_qs(urlsplit(url).query)["sp"] == ["r"]
    assert "/temporary-file/" in url


def test_a_failed_export_has_no_package(
    caller: Caller, simulator: FinanceOperationsSimulator, clock: HandClock
) -> None:
    imported(caller, clock, ("A", "Alpha"))
    simulator.change(outcome="Failed")
    caller.export()
    clock.pass_by(60)

    assert caller.status("export-1") == "Failed"
    assert caller.value("GetExportedPackageUrl", executionId="export-1") == ""


def test_an_expired_download_url_is_renewed_by_asking_again(
    caller: Caller, simulator: FinanceOperationsSimulator, clock: HandClock
) -> None:
    imported(caller, clock, ("A", "Alpha"))
    caller.export()
    clock.pass_by(60)
    simulator.change(read_url_life_s=-60)
    expired = caller.value("GetExportedPackageUrl", executionId="export-1")
    simulator.change(read_url_life_s=3600)

    assert caller.session.get(expired, timeout=20).status_code == 403
    assert caller.download(caller.value("GetExportedPackageUrl", executionId="export-1"))[:2] == b"PK"


@pytest.mark.parametrize("parameters", [{"definitionGroupId": "Nobody"}, {"reExecute": True}])
def test_an_export_without_its_project_or_as_a_repetition_fails(
    caller: Caller, clock: HandClock, parameters: dict[str, Any]
) -> None:
    imported(caller, clock, ("A", "Alpha"))

    said = reason(caller.export(**parameters))

    assert "Export to package failed for definition group: " in said
    assert "execution id: export-1, reExecute: " in said


def test_an_export_waits_for_no_one(caller: Caller, clock: HandClock) -> None:
    imported(caller, clock, ("A", "Alpha"))
    caller.export()

    assert "has never been selected" in reason(caller.export(executionId="export-2"))


def declare(caller: Caller, **line: str) -> None:
    group = {"Name": "Out", "OperationType": "Export", "ProjectCategory": "Project", "Description": "d" * 80}
    answered = caller.post("/data/DataManagementDefinitionGroups", group)
    assert answered.status_code == 201, answered.text
    assert len(answered.json()["Description"]) == 60
    detail = {"DefinitionGroupId": "Out", "EntityName": ENTITY, "SourceFormat": "CSV", "AutoGenerateMapping": "Yes"}
    answered = caller.post("/data/DataManagementDefinitionGroupDetails", detail | line)
    assert answered.status_code == 201, answered.text


def test_an_export_project_can_be_declared(caller: Caller, clock: HandClock) -> None:
    imported(caller, clock, ("A", "Alpha"))
    declare(caller)

    data = exported(caller, clock, definitionGroupId="Out")

    assert data.source_format == "CSV"
    assert keys(data) == ["A"]


def test_an_export_without_mapping_never_ends(caller: Caller, clock: HandClock) -> None:
    imported(caller, clock, ("A", "Alpha"))
    declare(caller, AutoGenerateMapping="No")

    caller.export(definitionGroupId="Out")
    clock.pass_by(30 * 86_400)

    assert caller.status("export-1") == "Executing"


def test_an_incremental_export_holds_what_changed_since_the_last_one_fetched_or_not(
    caller: Caller, clock: HandClock
) -> None:
    imported(caller, clock, ("A", "Alpha"), ("B", "Beta"))
    declare(caller, DefaultRefreshType="IncrementalPush")

    assert keys(exported(caller, clock, "export-1", definitionGroupId="Out")) == ["A", "B"]
    assert keys(exported(caller, clock, "export-2", definitionGroupId="Out")) == []
    imported(caller, clock, ("B", "Beta, changed"), ("C", "Gamma"), execution_id="run-2")
    caller.export(executionId="never-fetched", definitionGroupId="Out")
    clock.pass_by(60)
    assert keys(exported(caller, clock, "export-3", definitionGroupId="Out")) == []
    assert keys(exported(caller, clock, "export-4", definitionGroupId="Assets")) == ["A", "B", "C"]


def test_an_export_of_nothing_has_a_package_without_rows_or_none(
    caller: Caller, simulator: FinanceOperationsSimulator, clock: HandClock
) -> None:
    imported(caller, clock)
    assert exported(caller, clock).rows == ()

    simulator.change(empty_export="no_url")
    caller.export(executionId="export-2")
    clock.pass_by(60)

    assert caller.status("export-2") == "Succeeded"
    assert caller.value("GetExportedPackageUrl", executionId="export-2") == ""
