"""Many packages at once: lanes run side by side, and within a lane one at a time, oldest first."""

import itertools
from collections import Counter
from datetime import datetime

import pytest

from local_cloud.faults import Fault, Kind, late
from local_cloud.finance_operations.executions import Execution
from tests.end_to_end.stage import Record, Stage
from tests.packages import build_package

PROJECTS = {"Lanes/1": "Project 1", "Lanes/2": "Project 2", "Lanes/3": "Project 3"}
EACH = 10


def test_30_packages_for_3_data_projects_are_imported_once_each_in_order_and_never_two_of_a_project_at_a_time(
    stage: Stage,
) -> None:
    calls_before = _import_calls(stage)
    names = {
        f"USMF_Many{lane}_{number:03}.zip": (folder, project)
        for number in range(EACH)
        for lane, (folder, project) in enumerate(PROJECTS.items())
    }

    for name, (folder, project) in names.items():
        stage.put(name, build_package(data_project=project, entity=name), f"{folder}/Input")
    records = stage.wait_for(lambda: _ended(stage, set(names)), "the end of all 30", within_s=240)

    taken_effect = [effect.entity for effect in stage.finance_operations.effects if effect.entity in names]
    assert Counter(taken_effect) == Counter(list(names))
    for name, (folder, _) in names.items():
        assert (stage.folder / folder / "Success" / name).is_file(), name
    assert _import_calls(stage) - calls_before == len(names)  # none was refused for being too many
    for project in PROJECTS.values():
        executions = _executions(stage, project)
        assert len(executions) == EACH
        for before, after in itertools.pairwise(executions):
            assert before.times.ends is not None
            assert before.times.ends <= after.times.submitted, f"two of {project} at a time"
        _assert_oldest_first([records[execution.execution_id] for execution in executions])


@pytest.mark.quick(cases=0)
def test_five_imports_that_take_long_do_not_keep_a_sixth_from_going_on(stage: Stage) -> None:
    slow = [f"USMF_Slow{number}_001.zip" for number in range(1, 6)]
    held_before = _held_up(stage)
    stage.faults.add(Fault("finance_operations", "POST", r"\.GetAzureWriteUrl$", times=len(slow), do=late(600)))
    for number, name in enumerate(slow, start=1):
        stage.put(name, build_package(data_project=name, entity=name), f"Slow/{number}/Input")
    try:
        stage.wait_for(lambda: _held_up(stage) == held_before + len(slow), "five imports that wait for F&O")

        stage.put("USMF_Quick_001.zip", build_package(data_project="Quick", entity="Quick"), "Quick/Input")

        stage.ended("USMF_Quick_001.zip")
        assert stage.faults.let_go() == len(slow)
    finally:
        stage.faults.let_go()
        for name in (*slow, "USMF_Quick_001.zip"):
            stage.ended(name)


def _held_up(stage: Stage) -> int:
    return sum(call.fault is Kind.LATE for call in stage.faults.calls)


def _ended(stage: Stage, names: set[str]) -> dict[str, Record]:
    """Return the runs of these files by execution id, once all have ended."""
    runs = [record for record in stage.runs() if record["file"]["name"] in names and record["ended"]]
    by_id = {record["submissions"][-1]["execution_id"]: record for record in runs}
    return by_id if len(by_id) == len(names) else {}


def _executions(stage: Stage, project: str) -> list[Execution]:
    ours = [execution for execution in stage.finance_operations.executions if execution.data_project == project]
    return sorted(ours, key=lambda execution: execution.times.submitted)


def _assert_oldest_first(records: list[Record]) -> None:
    """Fail if a file was begun although an older one was known of: files that come later may be older.

    Of those of one second the first by name goes first.
    """
    for before, after in itertools.pairwise(records):
        claimed = datetime.fromisoformat(before["steps"][0]["began"])
        is_older = _turn(after) < _turn(before)
        assert not is_older or datetime.fromisoformat(after["opened"]) >= claimed, after["file"]["name"]


def _turn(record: Record) -> tuple[str, str]:
    return record["order"][: len("20260123T010203")], record["file"]["name"].casefold()


def _import_calls(stage: Stage) -> int:
    return sum("ImportFromPackage" in call.path for call in stage.faults.calls)
