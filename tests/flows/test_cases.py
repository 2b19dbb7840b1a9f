"""Answers that were reported in public for other products, and what the app makes of each.

The bodies stand here as they were reported. What a kind of trouble means in general is tested in the files that are
named after it.
"""

from contextlib import suppress
from datetime import timedelta
from typing import Final

import pytest

from inbound_trigger.keep_watch import do_duties
from local_cloud import faults
from local_cloud.faults import Action
from local_cloud.finance_operations.knobs import Speed
from shared import execution
from shared.errors import AppError
from shared.runs.addresses import address_of
from shared.runs.states import Outcome, State
from tests.exports import PROJECT as EXPORTED
from tests.exports import prepared, started
from tests.flows.conftest import MakeWorld
from tests.flows.trouble import (
    ALERTS,
    IN_ONE_LANE,
    begin,
    fno_fault,
    graph_fault,
    import_file,
    let_pass,
    of_graph,
    offered,
    ran,
)
from tests.packages import build_package
from tests.world import World

WORLD_SETTINGS = IN_ONE_LANE


def told(world: World) -> list[str]:
    """Return what people were told, once the minute's timer has come by."""
    with suppress(AppError):
        do_duties(world.services)
    return [mail.content for mail in world.mails()]


@pytest.mark.quick(cases=1)
@pytest.mark.parametrize(
    "answer",
    [
        # https://github.com/microsoft/Recurring-Integrations-Scheduler/issues/110
        faults.status(500, body={"Message": "An error has occurred."}),
        # https://github.com/microsoft/Recurring-Integrations-Scheduler/issues/10
        faults.status(400, body=ran("The remote server returned an error: (403) Forbidden.")),
    ],
    ids=["import_always_500", "import_always_unreadable"],
)
def test_an_import_that_never_works_is_tried_ever_more_rarely_and_told_after_a_quarter_of_an_hour(
    world: World, answer: Action
) -> None:
    world.faults.add(fno_fault("ImportFromPackage", answer, times=None))
    lane = begin(world)

    let_pass(world, lane, timedelta(minutes=10))
    assert told(world) == []
    early = world.calls("ImportFromPackage")
    let_pass(world, lane, timedelta(minutes=9))
    assert len(told(world)) == 1
    assert "give-up" in offered(world, address_of(world.open_runs()[0]))
    world.faults.forget_calls()
    let_pass(world, lane, timedelta(minutes=30))

    assert early <= 10
    assert world.calls("ImportFromPackage") <= 7
    assert len(told(world)) <= 2  # and that five answers were lost
    assert world.files("Error") == []


# https://github.com/OneDrive/onedrive-api-docs/issues/1038
# https://github.com/SharePoint/sp-dev-docs/issues/10819
def test_upload_session_400_column_keeps_the_export_until_the_library_takes_it(make_world: MakeWorld) -> None:
    export = {"INPUT_FOLDER": "", "EXPORT_DATA_PROJECT": EXPORTED, "EXPORT_COMPANY": "USMF", **ALERTS}
    world = prepared(make_world(settings=export))
    refused = faults.status(400, body=of_graph("invalidRequest", "One of the provided arguments is not acceptable."))
    world.faults.add(graph_fault("POST", "createUploadSession", refused, times=None))
    lane = started(world)

    let_pass(world, lane, timedelta(minutes=5))

    (said,) = told(world)
    assert "column" in said
    assert "Rename the file" not in said
    world.faults.clear()
    world.run_until_quiet(at_most_s=3600)
    assert [run.state for run in world.ended_runs()] == [State.DELIVERED]


# https://github.com/microsoft/Recurring-Integrations-Scheduler/issues/71
STATUS_NOT_FOUND: Final = ran(
    "Execution details were not found for execution id: X", action="GetExecutionSummaryStatus"
)


def never_show_the_status(world: World, *, nor_details: bool) -> None:
    never = faults.status(400, body=STATUS_NOT_FOUND)
    world.faults.add(fno_fault("GetExecutionSummaryStatus", never, times=None))
    if nor_details:
        empty = faults.status(200, body={"value": []})
        world.faults.add(fno_fault("DataManagementExecutionJobDetails", empty, times=None))


@pytest.mark.quick(cases=1)
@pytest.mark.parametrize(
    ("rows", "outcome"),
    [
        ((("A", "Alpha"),), Outcome.SUCCEEDED),
        ((("A", "Alpha"), ("B", "x" * 300)), Outcome.PARTIALLY_SUCCEEDED),
        ((("B", "x" * 300),), Outcome.FAILED),
    ],
    ids=["all rows", "not all rows", "no row"],
)
def test_status_never_known_is_settled_by_what_the_details_tell(
    world: World, rows: tuple[tuple[str, str], ...], outcome: Outcome
) -> None:
    never_show_the_status(world, nor_details=False)

    import_file(world, "USMF_1.zip", build_package(rows=rows))

    (run,) = world.ended_runs()
    assert run.outcome is outcome
    assert run.ended is not None
    assert run.ended - run.opened < execution.UNKNOWN_GRACE + timedelta(minutes=5)
    assert world.calls("ImportFromPackage") == 1


@pytest.mark.quick(cases=0)
def test_status_never_known_nor_details_is_told_in_its_own_words_soon_and_never_sent_again(world: World) -> None:
    never_show_the_status(world, nor_details=True)
    lane = begin(world)

    let_pass(world, lane, execution.UNKNOWN_GRACE - timedelta(minutes=1))
    assert told(world) == []
    let_pass(world, lane, timedelta(minutes=6))

    (said,) = told(world)
    assert "does not know it" in said
    assert "working on" not in said
    assert "give-up" in offered(world, address_of(world.open_runs()[0]))
    let_pass(world, lane, timedelta(hours=5))
    assert world.calls("ImportFromPackage") == 1
    assert len(told(world)) == 1
    assert len(world.all_open_runs()) == 1


@pytest.mark.quick(cases=0)
def test_a_status_that_is_not_known_while_the_execution_runs_for_long_is_no_end(make_world: MakeWorld) -> None:
    world = make_world(speed=Speed(seconds_per_execution=3600.0))
    never_show_the_status(world, nor_details=False)
    lane = begin(world)

    let_pass(world, lane, timedelta(minutes=40))

    assert [run.state for run in world.all_open_runs()] == [State.EXECUTING]
    assert told(world) == []
    world.run_until_quiet(at_most_s=7200)
    assert [run.outcome for run in world.ended_runs()] == [Outcome.SUCCEEDED]
