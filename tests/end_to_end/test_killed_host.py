"""The functions host is killed in the middle of imports and started again: each is imported once and filed once.

What recovery takes is known here and nowhere faster: an import that was only waited for goes on at once; one whose
worker was killed goes on when its lane's lease has run out and the minute's timer finds it overdue, in 1 to 2 minutes.
So the kill happens before the other tests here, and these come last (``conftest.py``).
"""

import pytest

from tests.end_to_end.killed import ALL, EXECUTING, UNHEARD, KilledHost, file_name

pytestmark = pytest.mark.timeout(300)  # the first test waits for the rest of the minutes


@pytest.mark.parametrize("where", ALL)
def test_an_import_whose_host_is_killed_is_imported_once_and_filed_once(killed_host: KilledHost, where: str) -> None:
    record = killed_host.ended[where].record

    effects = [each for each in killed_host.environment(where).effects if each.entity == where]
    assert [(each.company, each.rows) for each in effects] == [("USMF", 1)]
    assert record["outcome"] == "Succeeded"
    stage = killed_host.stage
    assert stage.files(f"{where}/Success") == [file_name(where)]
    assert [stage.files(f"{where}/{folder}") for folder in ("Input", "Processing", "Error")] == [[], [], []]
    assert len([run for run in stage.runs() if run["integration"] == where]) == 1


@pytest.mark.parametrize("where", [where for where in ALL if where != UNHEARD])
def test_what_fo_has_taken_or_was_never_told_of_is_submitted_once(killed_host: KilledHost, where: str) -> None:
    record = killed_host.ended[where].record

    executions = [each for each in killed_host.environment(where).executions if each.data_project == where]
    assert [each.execution_id for each in executions] == [each["execution_id"] for each in record["submissions"]]
    assert len(executions) == 1


def test_a_package_whose_import_did_not_reach_fo_is_fenced_before_it_is_submitted_anew(killed_host: KilledHost) -> None:
    lost, sent = killed_host.ended[UNHEARD].record["submissions"]

    assert lost["fenced"] is not None
    assert lost["execution_id"] != sent["execution_id"]
    assert [each.execution_id for each in killed_host.other.executions] == [sent["execution_id"]]


def test_an_import_that_was_only_waited_for_goes_on_without_waiting_for_a_lease(killed_host: KilledHost) -> None:
    seconds = {where: ended.seconds for where, ended in killed_host.ended.items()}

    assert seconds[EXECUTING] < 50, seconds  # the next look is due in 5 of them
    assert all(seconds[EXECUTING] < seconds[where] for where in ALL if where != EXECUTING), seconds
