"""The functions host is killed in the middle of imports and started again: each is imported once and filed once.

One kill hits five imports at once, each in another place, because a lane's lease outlives a killed host by up to a
minute and five waits of a minute would be too long for a test.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import pytest

from local_cloud.faults import Action, Fault, FaultPlan, hang, hold, late
from local_cloud.finance_operations.api import FinanceOperationsSimulator
from local_cloud.finance_operations.knobs import Speed
from tests.end_to_end.stage import NO_MINUTE_TIMER, Record, Stage
from tests.packages import build_package

LONG_S: Final = 300.0  # how long a call is held up: until long after the kill
# A lease of 60 s (shared/clients/run_store.py) and the time after which a run counts as overdue (shared/flows/watch.py)
# run side by side; the rest is for slow machines.
BACK_WITHIN_S: Final = 90.0

EXECUTING: Final = "executing"  # F&O is at work, nothing is asked of it at the moment
DOWNLOADING: Final = "downloading"  # in the middle of the upload: OneDrive has been asked for the content
ANSWERED: Final = "answered"  # F&O has handled ImportFromPackage, its answer has not arrived
UNHEARD: Final = "unheard"  # ImportFromPackage was sent and never reaches F&O
FILING: Final = "filing"  # OneDrive has moved the file to Success, its answer has not arrived
ALL: Final = (EXECUTING, DOWNLOADING, ANSWERED, UNHEARD, FILING)


@dataclass(slots=True)
class Aftermath:
    """What is there after the host was killed and has done what was left."""

    stage: Stage
    other: FinanceOperationsSimulator  # the environment of UNHEARD: one environment takes imports in turn
    records: dict[str, Record]
    seconds: dict[str, float]  # from the second start to the end of the run


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    """Kill the host while each import is where its name says, start it again, and wait until all have ended."""
    stage = Stage(
        tmp_path_factory.mktemp("killed"),
        app_settings={**NO_MINUTE_TIMER, "SUBMIT_GRACE_SECONDS": "1", "POLL_FIRST_SECONDS": "1"},
        speed=Speed(seconds_per_execution=0.2),
        with_host=False,
    )
    others_faults = FaultPlan()
    with (
        stage,
        FinanceOperationsSimulator(stage.azurite.connection_string, stage.desk, others_faults, speed=Speed()) as other,
    ):
        stage.app_settings["INTEGRATIONS"] = json.dumps({"imports": [_flow(where, other.url) for where in ALL]})
        for where in ALL:
            (stage.folder / where / "Input").mkdir(parents=True)
        stage.start_host()
        stage.run_function("keep_watch")
        stage.wait_for(lambda: stage.onedrive.subscriptions, "the subscription")
        _bring_to_where_it_is_killed(stage, others_faults)

        stage.kill_host()
        for plan in (stage.faults, others_faults):
            plan.clear()
        stage.start_host()

        records, seconds = _until_all_have_ended(stage)
        yield Aftermath(stage=stage, other=other, records=records, seconds=seconds)
        stage.assert_clients_kept_the_rules()
        assert other.violations == []


def _flow(where: str, other_url: str) -> dict[str, str]:
    flow = {"name": where, "inputFolder": f"{where}/Input", "dataProject": where}
    return {**flow, "environmentUrl": other_url} if where == UNHEARD else flow


def _bring_to_where_it_is_killed(stage: Stage, others_faults: FaultPlan) -> None:
    stage.finance_operations.change(seconds_per_execution=20.0)
    _put(stage, EXECUTING)
    stage.wait_for(lambda: (stage.record(_name(EXECUTING)) or {}).get("state") == "executing", "the first execution")
    stage.finance_operations.change(seconds_per_execution=0.2)

    # The claim is the first move, the one to Success the second.
    _hold_up(stage, FILING, stage.faults, Fault("graph", "PATCH", "/items/", nth=2, do=hold(LONG_S)))
    assert stage.files(f"{FILING}/Success") == [_name(FILING)]
    _hold_up(stage, ANSWERED, stage.faults, _at_fo("ImportFromPackage", hold(LONG_S)))
    assert [execution.data_project for execution in stage.finance_operations.executions][-1] == ANSWERED
    _hold_up(stage, UNHEARD, others_faults, _at_fo("ImportFromPackage", hang(LONG_S)))
    _hold_up(stage, DOWNLOADING, stage.faults, Fault("graph-content", "GET", "", do=late(LONG_S)))

    # Not while a look at it is under way: that would hold its lane, as for the others.
    stage.wait_for(lambda: _seconds_until_due(stage, EXECUTING) > 1, "a pause between two looks at the execution")


def _seconds_until_due(stage: Stage, where: str) -> float:
    record = stage.record(_name(where))
    assert record is not None
    assert record["state"] == "executing", "it was to be killed before it ended"
    return (datetime.fromisoformat(record["due"]) - datetime.now(UTC)).total_seconds()


def _hold_up(stage: Stage, where: str, plan: FaultPlan, fault: Fault) -> None:
    """Put a file into Input and wait until it is held up by the fault."""
    plan.add(fault)
    before = _held_up(plan)
    _put(stage, where)
    stage.wait_for(lambda: _held_up(plan) > before, f"the {where} call")
    if fault.do.kind is hold(0).kind:
        stage.wait_for(lambda: _is_handled(stage, where), f"what the {where} call does")


def _held_up(plan: FaultPlan) -> int:
    return sum(call.fault is not None and call.took_s is None for call in plan.calls)


def _is_handled(stage: Stage, where: str) -> bool:
    if where == FILING:
        return bool(stage.files(f"{FILING}/Success"))
    return any(execution.data_project == where for execution in stage.finance_operations.executions)


def _at_fo(action: str, do: Action) -> Fault:
    return Fault("finance_operations", "POST", rf"\.{action}$", do=do)


def _put(stage: Stage, where: str) -> None:
    stage.put(_name(where), build_package(data_project=where, entity=where), f"{where}/Input")


def _name(where: str) -> str:
    return f"USMF_{where}_001.zip"


def _until_all_have_ended(stage: Stage) -> tuple[dict[str, Record], dict[str, float]]:
    """Let the minute's timer run each second, so that the test need not wait for the full minute."""
    began = time.monotonic()
    records: dict[str, Record] = {}
    seconds: dict[str, float] = {}

    def all_ended() -> bool:
        for record in stage.runs():
            where = record["integration"]
            if record["ended"] and where not in records:
                records[where], seconds[where] = record, round(time.monotonic() - began, 1)
        if len(records) < len(ALL) and time.monotonic() - began > ticks[-1]:
            ticks.append(ticks[-1] + 1)
            stage.run_function("keep_watch")
        return len(records) == len(ALL)

    ticks = [1.0]
    stage.wait_for(all_ended, "the end of all imports", within_s=BACK_WITHIN_S)
    return records, seconds


pytestmark = pytest.mark.timeout(240)  # the first test waits for the leases of the killed host


@pytest.mark.parametrize("where", ALL)
def test_an_import_whose_host_is_killed_is_imported_once_and_filed_once(aftermath: Aftermath, where: str) -> None:
    stage = aftermath.stage
    environment = aftermath.other if where == UNHEARD else stage.finance_operations

    assert [(effect.company, effect.rows) for effect in environment.effects if effect.entity == where] == [("USMF", 1)]
    assert stage.files(f"{where}/Success") == [_name(where)]
    assert [stage.files(f"{where}/{folder}") for folder in ("Input", "Processing", "Error")] == [[], [], []]
    assert aftermath.records[where]["outcome"] == "Succeeded"
    assert len([record for record in stage.runs() if record["integration"] == where]) == 1


@pytest.mark.parametrize("where", [EXECUTING, DOWNLOADING, ANSWERED, FILING])
def test_a_package_that_fo_has_or_has_never_been_told_of_is_submitted_once(aftermath: Aftermath, where: str) -> None:
    executions = [each for each in aftermath.stage.finance_operations.executions if each.data_project == where]

    assert len(executions) == 1
    assert len(aftermath.records[where]["submissions"]) == 1


def test_a_package_whose_import_did_not_reach_fo_is_fenced_before_it_is_submitted_anew(aftermath: Aftermath) -> None:
    lost, sent = aftermath.records[UNHEARD]["submissions"]

    assert lost["fenced"] is not None
    assert lost["execution_id"] != sent["execution_id"]
    assert [execution.execution_id for execution in aftermath.other.executions] == [sent["execution_id"]]


def test_an_import_that_was_only_waited_for_goes_on_without_waiting_for_a_lease(aftermath: Aftermath) -> None:
    """Measured on 2 cores, from the second start to the end of the run.

    The import that was only waited for: 19 s, which is how long F&O still took. Those whose worker was killed: 59 to
    63 s. Their lanes' leases of 60 s have to run out, and their runs have to be overdue; in Azure up to a minute more,
    until the minute's timer sees it.
    """
    assert aftermath.seconds[EXECUTING] < min(aftermath.seconds[where] for where in ALL if where != EXECUTING)
