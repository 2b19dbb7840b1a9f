"""What runs the app is killed in the middle of imports: each is imported once and filed once.

What recovery takes is known here and nowhere faster: an import that was only waited for goes on at once; one whose
worker was killed goes on when its lane's lease has run out and the minute's timer finds it overdue, in 1 to 2 minutes.
So the kill happens before the other tests here, and these come last (``conftest.py``).
"""

from collections.abc import Mapping

import pytest

from tests.end_to_end.killed import ALL, EXECUTING, HOST, INSTANCES, UNHEARD, Killed, file_name

pytestmark = pytest.mark.timeout(300)  # the first test waits for the rest of the minutes


@pytest.fixture(params=[HOST, INSTANCES])
def scene(killed: Mapping[str, Killed], request: pytest.FixtureRequest) -> Killed:
    """What was killed."""
    return killed[request.param]


@pytest.mark.quick(cases=0)
@pytest.mark.parametrize("where", ALL)
def test_an_import_whose_process_is_killed_is_imported_once_and_filed_once(scene: Killed, where: str) -> None:
    record = scene.ended[where].record

    effects = [each for each in scene.environment(where).effects if each.entity == where]
    assert [(each.company, each.rows) for each in effects] == [("USMF", 1)]
    assert record["outcome"] == "Succeeded"
    stage = scene.stage
    assert stage.files(f"{where}/Success") == [file_name(where)]
    assert [stage.files(f"{where}/{folder}") for folder in ("Input", "Processing", "Error")] == [[], [], []]
    assert len([run for run in stage.runs() if run["integration"] == where]) == 1


@pytest.mark.parametrize("where", [where for where in ALL if where != UNHEARD])
def test_what_fo_has_taken_or_was_never_told_of_is_submitted_once(scene: Killed, where: str) -> None:
    record = scene.ended[where].record

    executions = [each for each in scene.environment(where).executions if each.data_project == where]
    assert [each.execution_id for each in executions] == [each["execution_id"] for each in record["submissions"]]
    assert len(executions) == 1


def test_a_package_whose_import_did_not_reach_fo_is_fenced_before_it_is_submitted_anew(scene: Killed) -> None:
    lost, sent = scene.ended[UNHEARD].record["submissions"]

    assert lost["fenced"] is not None
    assert lost["execution_id"] != sent["execution_id"]
    assert [each.execution_id for each in scene.other.executions] == [sent["execution_id"]]


def test_an_import_that_was_only_waited_for_goes_on_without_waiting_for_a_lease(scene: Killed) -> None:
    seconds = {where: ended.seconds for where, ended in scene.ended.items()}

    assert seconds[EXECUTING] < 50, seconds  # the next look is due in 10 of them
    assert all(seconds[EXECUTING] < seconds[where] for where in ALL if where != EXECUTING), seconds
