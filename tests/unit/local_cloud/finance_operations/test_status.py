"""What an execution looks like from outside, from its submit to the day it is forgotten."""

import pytest

from local_cloud.finance_operations import FinanceOperationsSimulator
from local_cloud.finance_operations.executions import Status
from tests.packages import Entity, build_package
from tests.unit.local_cloud.finance_operations.conftest import TIMEOUT_S, Caller, HandClock, reason

ENTITY = "Fixed asset major type"
DAY_S = 86_400


def test_an_execution_is_not_found_then_unknown_then_waits_then_runs_then_ends(
    caller: Caller, simulator: FinanceOperationsSimulator, clock: HandClock
) -> None:
    simulator.change(not_found_s=2, unknown_s=3, not_run_s=10, seconds_per_execution=30)
    caller.import_package()

    assert reason(caller.act("GetExecutionSummaryStatus", executionId="run-1")) == (
        "Exception occurred while executing action GetExecutionSummaryStatus on Entity DataManagementDefinitionGroup: "
        "Execution details were not found for execution id: run-1"
    )
    clock.pass_by(2)
    assert caller.status() == "Unknown"
    clock.pass_by(3)
    assert caller.status() == "NotRun"
    clock.pass_by(5)
    assert caller.status() == "Executing"
    clock.pass_by(19.9)
    assert caller.status() == "Executing"
    clock.pass_by(0.1)
    assert caller.status() == "Succeeded"


def test_nothing_is_known_of_an_execution_that_never_was(caller: Caller) -> None:
    for action in ("GetExecutionSummaryStatus", "GetExecutionErrors", "GetExecutionSummaryPageUrl"):
        assert "not found for execution id: nobody" in reason(caller.act(action, executionId="nobody"))
    assert caller.value("GetExportedPackageUrl", executionId="nobody") == ""


def test_the_times_of_an_execution_are_those_of_its_submit(
    caller: Caller, simulator: FinanceOperationsSimulator, clock: HandClock
) -> None:
    caller.import_package()
    simulator.change(seconds_per_execution=1000)
    clock.pass_by(60)

    assert caller.status() == "Succeeded"


@pytest.mark.parametrize(("outcome", "effects"), [("Failed", 0), ("Canceled", 0), ("Unknown", 1)])
def test_an_outcome_can_be_prescribed(
    caller: Caller, simulator: FinanceOperationsSimulator, clock: HandClock, outcome: str, effects: int
) -> None:
    simulator.change(outcome=outcome)
    caller.import_package()
    clock.pass_by(60)

    assert caller.status() == outcome
    assert len(simulator.effects) == effects


def test_an_execution_may_hang_until_its_history_is_deleted(
    caller: Caller, simulator: FinanceOperationsSimulator, clock: HandClock
) -> None:
    simulator.change(never_ends=True)
    caller.import_package()
    simulator.change(never_ends=False)
    clock.pass_by(30 * DAY_S)
    assert caller.status() == "Executing"
    assert caller.import_package(executionId="run-2").status_code == 400

    assert caller.act("DeleteExecutionHistoryJob", executionId="run-1").status_code == 204

    assert "not found" in reason(caller.act("GetExecutionSummaryStatus", executionId="run-1"))
    assert caller.import_package(executionId="run-2").status_code == 200
    clock.pass_by(60)
    assert [each.execution_id for each in simulator.effects] == ["run-2"]


def test_an_operator_can_cancel_an_execution_or_let_it_end(
    caller: Caller, simulator: FinanceOperationsSimulator, clock: HandClock
) -> None:
    caller.import_package()
    assert simulator.end_now("run-1", Status.CANCELED)
    assert caller.status() == "Canceled"
    assert simulator.effects == []

    caller.import_package(executionId="run-2")
    assert caller.post("/_control/executions/run-2/end", {}).json() == {"ended": True}
    assert caller.status("run-2") == "Succeeded"
    assert len(simulator.effects) == 1
    assert not simulator.end_now("run-2")


def test_the_job_history_forgets_after_a_week(caller: Caller, clock: HandClock) -> None:
    caller.import_package()
    clock.pass_by(60 + 7 * DAY_S - 1)
    assert caller.status() == "Succeeded"

    clock.pass_by(1)

    assert "not found" in reason(caller.act("GetExecutionSummaryStatus", executionId="run-1"))
    assert caller.get("/data/DataManagementExecutionJobs").json()["value"] == []


def test_each_entity_has_a_status_of_its_own(caller: Caller, clock: HandClock) -> None:
    entities = [Entity(name="Currencies"), Entity(name="Vendors", rows=[("#ERROR", "")])]
    caller.import_package(build_package(entities=entities))
    assert caller.value("GetEntityExecutionSummaryStatusList", executionId="run-1") == ["Executing", "Executing"]

    clock.pass_by(60)

    assert caller.status() == "PartiallySucceeded"
    assert caller.value("GetEntityExecutionSummaryStatusList", executionId="run-1") == ["Succeeded", "Failed"]


def test_the_summary_page_shows_the_execution_to_a_person(caller: Caller, clock: HandClock) -> None:
    caller.import_package(build_package(rows=[("A", "Alpha"), ("B", "#ERROR")]), executionId="run <1>")
    clock.pass_by(60)

    url = caller.value("GetExecutionSummaryPageUrl", executionId="run <1>")

    page = caller.session.get(url, timeout=TIMEOUT_S)
    assert "cmp=USMF" in url
    assert "run &lt;1&gt;</td>" in page.text
    assert "<td>PartiallySucceeded</td><td>Fixed asset major type</td><td>2</td><td>1</td><td>1</td>" in page.text
    assert "<td>B</td><td>DESCRIPTION</td><td>The value &quot;#ERROR&quot; in field" in page.text
