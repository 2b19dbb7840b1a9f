"""ImportFromPackage: what is taken in, what is refused, and that each package takes effect once."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from local_cloud.faults import Fault, FaultPlan, lost_after
from local_cloud.finance_operations import SERVICE, FinanceOperationsSimulator
from local_cloud.finance_operations.store import Effect
from local_cloud.server import Server
from local_cloud.tokens import TokenDesk
from tests.packages import Entity, build_package
from tests.slow_blob import SlowBlob
from tests.unit.local_cloud.finance_operations.conftest import (
    TIMEOUT_S,
    Caller,
    HandClock,
    StartSimulator,
    action_path,
    an_import,
    reason,
    until,
)

SAMPLE = Path(__file__).parents[5] / "shared" / "data" / "usmf_asset-major-types-01.zip"
ENTITY = "Fixed asset major type"


@pytest.mark.skipif(not SAMPLE.is_file(), reason="Microsoft's sample package is not on this machine")
def test_the_official_sample_package_makes_a_round_trip(
    caller: Caller, simulator: FinanceOperationsSimulator, clock: HandClock
) -> None:
    caller.import_package(SAMPLE.read_bytes())
    clock.pass_by(60)

    assert caller.status() == "Succeeded"
    rows = simulator.rows(ENTITY, "USMF")
    assert len(rows) == 11
    assert rows[0] == {"MAJORTYPEID": "COMP", "DESCRIPTION": "Computer hardware"}

    caller.export()
    clock.pass_by(60)
    package = caller.download(caller.value("GetExportedPackageUrl", executionId="export-1"))
    caller.import_package(package, executionId="run-2", legalEntityId="DEMF")
    clock.pass_by(60)

    assert simulator.rows(ENTITY, "DEMF") == rows


def test_a_package_takes_effect_once_and_only_when_its_execution_has_ended(
    caller: Caller, simulator: FinanceOperationsSimulator, clock: HandClock
) -> None:
    answered = caller.import_package(build_package(rows=[("A", "Alpha"), ("B", "Beta")]))

    assert answered.json()["value"] == "run-1"
    assert answered.json()["@odata.context"] == f"{simulator.url}/data/$metadata#Edm.String"
    assert simulator.effects == []
    assert simulator.rows(ENTITY, "USMF") == []
    clock.pass_by(60)
    once = Effect(execution_id="run-1", data_project="Assets", company="USMF", entity=ENTITY, rows=2)
    assert simulator.effects == [once]
    assert simulator.effects == [once]
    assert [row["DESCRIPTION"] for row in simulator.rows(ENTITY, "usmf")] == ["Alpha", "Beta"]


def test_rows_with_a_known_key_are_updated(
    caller: Caller, simulator: FinanceOperationsSimulator, clock: HandClock
) -> None:
    caller.import_package(build_package(rows=[("A", "Alpha"), ("B", "Beta")]))
    clock.pass_by(60)
    caller.import_package(build_package(rows=[("a", "Other"), ("C", "Gamma")]), executionId="run-2")
    clock.pass_by(60)

    assert [row["DESCRIPTION"] for row in simulator.rows(ENTITY, "USMF")] == ["Other", "Beta", "Gamma"]
    (run,) = simulator.executions[1].entities
    assert (run.created, run.updated) == (1, 1)


def test_several_entities_go_to_where_they_belong(
    caller: Caller, simulator: FinanceOperationsSimulator, clock: HandClock
) -> None:
    entities = [Entity(name="Currencies", rows=[("EUR", "Euro")]), Entity(name="Vendors", source_format="EXCEL")]
    caller.import_package(build_package(entities=entities), legalEntityId="demf")
    clock.pass_by(60)

    assert [(each.entity, each.company, each.rows) for each in simulator.effects] == [
        ("Currencies", "DEMF", 1),
        ("Vendors", "DEMF", 1),
    ]


def test_without_execute_rows_stay_in_staging(
    caller: Caller, simulator: FinanceOperationsSimulator, clock: HandClock
) -> None:
    caller.import_package(execute=False)
    clock.pass_by(60)

    assert caller.status() == "Succeeded"
    assert simulator.effects == []


@pytest.mark.parametrize("parameters", [{"executionId": ""}, {"executionId": None}])
def test_the_server_makes_an_id_where_the_caller_has_none(caller: Caller, parameters: dict[str, Any]) -> None:
    execution_id = caller.import_package(**parameters).json()["value"]

    assert execution_id.startswith("Assets-2026-")
    assert caller.status(execution_id) == "Executing"


@pytest.mark.parametrize(
    ("knob", "status", "imports"), [("refuse", 400, 1), ("new", 200, 2), ("same", 200, 1)], ids=lambda value: str(value)
)
def test_a_repeated_id_is_treated_as_the_knob_says(
    caller: Caller, simulator: FinanceOperationsSimulator, clock: HandClock, knob: str, status: int, imports: int
) -> None:
    simulator.change(repeated_execution_id=knob)
    caller.import_package()
    clock.pass_by(60)

    answered = caller.import_package()
    clock.pass_by(60)

    assert answered.status_code == status
    assert len(simulator.effects) == imports
    if knob == "refuse":
        assert "run-1 already exists" in reason(answered)
    else:
        assert (answered.json()["value"] == "run-1") == (knob == "same")


def test_a_project_runs_one_execution_at_a_time(
    caller: Caller, simulator: FinanceOperationsSimulator, clock: HandClock
) -> None:
    caller.import_package()

    refused = caller.import_package(executionId="run-2", definitionGroupId="ASSETS")
    elsewhere = caller.import_package(executionId="run-3", definitionGroupId="Vendors")
    clock.pass_by(60)
    later = caller.import_package(executionId="run-4")

    assert "The record has never been selected." in reason(refused)
    assert elsewhere.status_code == 200
    assert later.status_code == 200
    assert [each.execution_id for each in simulator.executions] == ["run-1", "run-3", "run-4"]


@pytest.mark.parametrize(
    ("knob", "answers", "statuses"),
    [
        ("refuse", 400, ["Succeeded"]),
        ("refuse_too_late", 400, ["Failed"]),
        ("accept", 200, ["Failed", "Succeeded"]),
    ],
)
def test_a_project_may_be_redefined_under_a_running_execution(
    caller: Caller,
    simulator: FinanceOperationsSimulator,
    clock: HandClock,
    knob: str,
    answers: int,
    statuses: list[str],
) -> None:
    simulator.change(busy_project=knob)
    caller.import_package()

    assert caller.import_package(executionId="run-2").status_code == answers

    clock.pass_by(60)
    assert [caller.status(each.execution_id) for each in simulator.executions] == statuses
    assert len(simulator.effects) == statuses.count("Succeeded")
    assert ("DMF2025" in caller.value("GetExecutionErrors", executionId="run-1")) == (statuses[0] == "Failed")


def test_one_entity_in_two_projects_at_a_time_may_end_in_a_deadlock(
    caller: Caller, simulator: FinanceOperationsSimulator, clock: HandClock
) -> None:
    simulator.change(same_entity_deadlocks=True)
    caller.import_package()
    caller.import_package(executionId="run-2", definitionGroupId="Vendors")
    caller.import_package(build_package(entity="Units"), executionId="run-3", definitionGroupId="Units")
    clock.pass_by(60)

    assert [caller.status(f"run-{number}") for number in (1, 2, 3)] == ["Succeeded", "Failed", "Succeeded"]
    assert "DMF1996" in caller.value("GetExecutionErrors", executionId="run-2")
    assert [each.execution_id for each in simulator.effects] == ["run-1", "run-3"]


@pytest.mark.parametrize(
    ("knob", "answers", "then", "later"),
    [("fail", 200, "Failed", "Failed"), ("refuse", 400, "", ""), ("wait", 200, "Executing", "Succeeded")],
)
def test_a_second_excel_file_at_a_time_does_what_the_knob_says(
    caller: Caller,
    simulator: FinanceOperationsSimulator,
    clock: HandClock,
    knob: str,
    answers: int,
    then: str,
    later: str,
) -> None:
    simulator.change(excel_in_use=knob)
    caller.import_package(build_package(source_format="EXCEL"))
    other = build_package(entity="Units", source_format="EXCEL")

    answered = caller.import_package(other, executionId="run-2", definitionGroupId="Units")
    with_csv = caller.import_package(executionId="run-3", definitionGroupId="Text")
    clock.pass_by(60)

    assert (answered.status_code, with_csv.status_code) == (answers, 200)
    assert caller.status() == caller.status("run-3") == "Succeeded"
    if knob == "refuse":
        assert "DMF2039" in reason(answered)
        return
    assert caller.status("run-2") == then
    clock.pass_by(60)
    assert caller.status("run-2") == later
    assert ("DMF2039" in caller.value("GetExecutionErrors", executionId="run-2")) == (later == "Failed")


@pytest.mark.parametrize(("knob", "status"), [("execution", "PartiallySucceeded"), ("refuse", "")])
def test_a_data_file_without_a_row_fails_its_entity_or_is_refused(
    caller: Caller, simulator: FinanceOperationsSimulator, clock: HandClock, knob: str, status: str
) -> None:
    simulator.change(unreadable_data_file=knob)
    entities = [Entity(name="Units", rows=()), Entity(name="Currencies")]

    answered = caller.import_package(build_package(entities=entities))

    if not status:
        assert "DMF2053" in reason(answered)
        return
    clock.pass_by(60)
    assert caller.status() == status
    assert "DMF2053" in caller.value("GetExecutionErrors", executionId="run-1")
    details = caller.get("/data/DataManagementExecutionJobDetails").json()["value"]
    assert [(each["StagingStatus"], each["TargetStatus"]) for each in details] == [
        ("Error", "NotRun"),
        ("Finished", "Finished"),
    ]


def test_a_second_import_at_the_same_moment_ends_in_a_deadlock(
    caller: Caller, simulator: FinanceOperationsSimulator
) -> None:
    second_url = caller.upload(build_package())
    blob = SlowBlob(build_package())

    with Server(blob.app()) as server, ThreadPoolExecutor() as pool, caller.another() as other:
        first = pool.submit(other.import_url, f"{server.url}/package")
        assert blob.asked_for.wait(TIMEOUT_S)
        second = caller.import_url(second_url, executionId="run-2", definitionGroupId="Vendors")
        blob.go_on.set()

        assert first.result().status_code == 200
    assert "Deadlock, where one or more users have simultaneously locked" in reason(second)
    assert [each.execution_id for each in simulator.executions] == ["run-1"]


def test_a_package_that_was_read_before_its_blob_was_emptied_still_shows_itself(
    caller: Caller, simulator: FinanceOperationsSimulator, clock: HandClock
) -> None:
    blob = SlowBlob(build_package())

    with Server(blob.app()) as server, ThreadPoolExecutor() as pool, caller.another() as other:
        lost = pool.submit(other.import_url, f"{server.url}/package")
        assert blob.asked_for.wait(TIMEOUT_S)
        early = caller.act("GetExecutionSummaryStatus", executionId="run-1")
        blob.go_on.set()
        lost.result()

    assert "not found" in reason(early)
    assert caller.status() == "Executing"


def test_an_import_goes_on_after_its_caller_has_given_up(
    caller: Caller, simulator: FinanceOperationsSimulator, clock: HandClock
) -> None:
    blob = SlowBlob(build_package())

    with Server(blob.app()) as server:
        impatient = HTTPConnection(urlsplit(simulator.url).netloc, timeout=TIMEOUT_S)
        body = json.dumps(an_import(f"{server.url}/package"))
        headers = {**caller.headers, "Content-Type": "application/json"}
        impatient.request("POST", action_path("ImportFromPackage"), body, headers)
        assert blob.asked_for.wait(TIMEOUT_S)
        impatient.close()
        blob.go_on.set()
        until(lambda: len(simulator.executions) == 1)

    clock.pass_by(60)
    assert len(simulator.effects) == 1


def test_unpacking_may_take_its_time(caller: Caller, simulator: FinanceOperationsSimulator) -> None:
    simulator.change(unpack_s=0.2)

    answered = caller.import_package()

    assert answered.status_code == 200
    assert answered.elapsed.total_seconds() >= 0.2


def test_a_port_that_is_taken_is_reported(
    simulator: FinanceOperationsSimulator, azurite_connection: str, desk: TokenDesk, faults: FaultPlan
) -> None:
    second = FinanceOperationsSimulator(azurite_connection, desk, faults)

    with pytest.raises(OSError):
        second.start(int(simulator.url.rpartition(":")[2]))


def test_an_emptied_blob_makes_the_import_fail_and_leaves_nothing_behind(
    caller: Caller, simulator: FinanceOperationsSimulator, clock: HandClock
) -> None:
    url = caller.upload(build_package())
    caller.overwrite(url, b"")

    refused = caller.import_url(url)

    clock.pass_by(60)
    assert "PackageHeader.xml" in reason(refused)
    assert "not found" in reason(caller.act("GetExecutionSummaryStatus", executionId="run-1"))
    assert simulator.executions == []
    assert simulator.effects == []


def test_a_refused_package_may_leave_a_failed_execution_behind(
    caller: Caller, simulator: FinanceOperationsSimulator, clock: HandClock
) -> None:
    simulator.change(failed_import_leaves_execution=True)

    refused = caller.import_package(b"no zip")
    clock.pass_by(60)

    assert refused.status_code == 400
    assert caller.status() == "Failed"
    assert "PackageHeader.xml" in caller.value("GetExecutionErrors", executionId="run-1")
    assert simulator.effects == []


def test_an_expired_url_cannot_be_read_by_anyone(caller: Caller, simulator: FinanceOperationsSimulator) -> None:
    simulator.change(write_url_life_s=-60)
    url = json.loads(caller.value("GetAzureWriteUrl", uniqueFileName="late"))["BlobUrl"]

    put = caller.session.put(url, data=b"x", headers={"x-ms-blob-type": "BlockBlob"}, timeout=TIMEOUT_S)

    assert put.status_code == 403
    assert "(403)" in reason(caller.import_url(url))


def test_a_blob_that_was_never_written_cannot_be_read(caller: Caller) -> None:
    url = json.loads(caller.value("GetAzureWriteUrl", uniqueFileName=str(uuid.uuid4())))["BlobUrl"]

    assert "(404)" in reason(caller.import_url(url))


def test_an_existing_project_is_only_redefined_on_request(caller: Caller, clock: HandClock) -> None:
    first = caller.import_package(overwrite=False)
    clock.pass_by(60)

    second = caller.import_package(overwrite=False, executionId="run-2")

    assert first.status_code == 200
    assert reason(second) == (
        "Exception occurred while executing action ImportFromPackage on Entity DataManagementDefinitionGroup: "
        "The data project 'Assets' exists and overwrite has not been specified."
    )


def test_a_company_must_exist(caller: Caller, simulator: FinanceOperationsSimulator) -> None:
    assert "Legal entity FRRT does not exist" in reason(caller.import_package(legalEntityId="FRRT"))
    simulator.change(legal_entities=["FRRT"])
    assert caller.import_package(legalEntityId="frrt").status_code == 200


def test_an_entity_must_exist_where_the_environment_lists_them(
    caller: Caller, simulator: FinanceOperationsSimulator
) -> None:
    simulator.change(entities=["Currencies"])

    refused = caller.import_package()

    assert reason(refused).endswith(f"Entity {ENTITY} does not exist in the target environment")


def test_a_composite_entity_needs_a_data_project_that_exists_and_no_overwrite(
    caller: Caller, simulator: FinanceOperationsSimulator, clock: HandClock
) -> None:
    """MicrosoftDocs/dynamics-365-unified-operations-public#1335."""
    simulator.change(composite_entities=[ENTITY.upper()])

    for overwrite in (True, False):
        refused = caller.import_package(overwrite=overwrite)
        assert reason(refused).endswith(
            "A data project must exist before importing a package consisting of a composite data entity."
        )

    caller.import_package(build_package(entities=[Entity(name="Currencies")]))
    clock.pass_by(60)
    assert caller.import_package(overwrite=False, executionId="run-2").status_code == 200
    clock.pass_by(60)
    assert caller.status("run-2") == "Succeeded"
    assert caller.import_package(overwrite=True, executionId="run-3").status_code == 200
    clock.pass_by(60)
    assert caller.status("run-3") == "Failed"
    assert caller.value("GetExecutionErrors", executionId="run-3") == "[]"


def test_every_start_can_be_refused_in_the_same_words(caller: Caller, simulator: FinanceOperationsSimulator) -> None:
    simulator.change(refuse_starts="DMF2039: an Excel file lock could not be obtained.")

    for refused in (caller.import_package(), caller.export()):
        assert reason(refused).endswith(": DMF2039: an Excel file lock could not be obtained.")
    assert simulator.executions == []


ASYNC: dict[str, Any] = {
    "definitionGroupId": "Assets",
    "execute": True,
    "overwrite": True,
    "legalEntityId": "USMF",
    "failOnError": True,
    "runAsyncWithoutBatch": True,
    "thresholdToRunInBatch": 0,
}


@pytest.mark.parametrize(
    ("package", "company", "words"),
    [(b"no zip", "USMF", "PackageHeader"), (build_package(), "ZZZZ", "ZZZZ does not exist"), (None, "USMF", "")],
    ids=["a broken package", "an unknown company", "a good one"],
)
def test_an_asynchronous_import_is_accepted_at_once_and_what_is_wrong_with_it_is_a_failed_execution(
    caller: Caller, clock: HandClock, package: bytes | None, company: str, words: str
) -> None:
    url = caller.upload(package or build_package())
    more = {"packageUrl": url, "executionId": "run-1", "legalEntityId": company}

    assert caller.value("ImportFromPackageAsync", **ASYNC | more) == "run-1"

    assert caller.act("GetExecutionSummaryStatus", executionId="run-1").status_code == 400  # not known yet
    clock.pass_by(120)
    assert caller.status() == ("Failed" if words else "Succeeded")
    assert words in caller.value("GetExecutionErrors", executionId="run-1")


def test_an_asynchronous_import_reads_its_package_as_it_is_when_its_time_comes(
    caller: Caller, simulator: FinanceOperationsSimulator, clock: HandClock
) -> None:
    simulator.change(async_read_s=30.0, async_not_found_s=0.0)
    url = caller.upload(build_package())
    caller.value("ImportFromPackageAsync", **ASYNC | {"packageUrl": url, "executionId": "run-1"})
    assert caller.status() == "NotRun"

    caller.overwrite(url, b"")
    clock.pass_by(120)

    assert caller.status() == "Failed"
    assert simulator.effects == []


def test_an_import_whose_answer_is_lost_goes_on(
    caller: Caller, simulator: FinanceOperationsSimulator, faults: FaultPlan, clock: HandClock
) -> None:
    url = caller.upload(build_package())
    faults.add(Fault(SERVICE, "POST", "ImportFromPackage", do=lost_after()))

    with pytest.raises(requests.ConnectionError):
        caller.import_url(url)

    assert caller.status() == "Executing"
    clock.pass_by(60)
    assert len(simulator.effects) == 1


def test_a_database_file_remembers_everything(
    start_simulator: StartSimulator, desk: TokenDesk, tmp_path: Path, clock: HandClock
) -> None:
    database = tmp_path / "finance.sqlite"
    with requests.Session() as session:
        before = start_simulator(database=database)
        Caller(before, desk, session).import_package()
        before.stop()
        clock.pass_by(60)

        after = start_simulator(database=database)

        assert Caller(after, desk, session).status() == "Succeeded"
        assert [each.rows for each in after.effects] == [1]


TWICE = (
    Entity(name="Currencies", columns=("CODE",), rows=[("EUR",)]),
    Entity(name="CURRENCIES", columns=("CODE", "TXT"), rows=[("USD", "Dollar")], file_name="Currencies 2.csv"),
)


def test_an_entity_that_is_listed_twice_is_refused_in_words(
    caller: Caller, simulator: FinanceOperationsSimulator
) -> None:
    answered = caller.import_package(build_package(entities=TWICE))

    assert "CURRENCIES" in reason(answered)
    assert "already exists" in reason(answered)
    assert simulator.executions == []


def test_an_entity_that_is_listed_twice_may_be_imported_from_both_files(
    caller: Caller, simulator: FinanceOperationsSimulator, clock: HandClock
) -> None:
    simulator.change(entity_listed_twice="both")

    caller.import_package(build_package(entities=TWICE))
    clock.pass_by(60)

    assert caller.status() == "Succeeded"
    assert simulator.rows("Currencies", "USMF") == [{"CODE": "EUR"}, {"CODE": "USD", "TXT": "Dollar"}]
    (execution,) = simulator.executions
    assert [(run.entity, run.staged) for run in execution.entities] == [("Currencies", 2)]
