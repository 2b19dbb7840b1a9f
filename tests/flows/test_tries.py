"""Tries that fail wait longer each time, are told after fifteen minutes, and count only for what they are about."""

from datetime import timedelta

import pytest

from local_cloud import faults
from local_cloud.finance_operations.knobs import Behaviour, Speed
from operations import actions
from shared import execution
from shared.runs.addresses import address_of
from shared.runs.run import Run
from shared.runs.states import Outcome, State
from tests.flows.conftest import MakeWorld
from tests.flows.trouble import (
    IN_ONE_LANE,
    ME,
    as_soon_as,
    begin,
    fno_fault,
    graph_fault,
    let_pass,
    of_fo,
    of_graph,
    offered,
    ran,
    sure,
)
from tests.world import World

WORLD_SETTINGS = IN_ONE_LANE


def only(world: World) -> Run:
    """Return the one open run."""
    (run,) = world.all_open_runs()
    return run


@pytest.mark.parametrize(
    "fault",
    [
        fno_fault("GetAzureWriteUrl", faults.status(500), times=None),
        fno_fault("GetExecutionSummaryStatus", faults.status(500), times=None),
        graph_fault("PATCH", "/items/", faults.status(503), times=None),
    ],
    ids=["write url 500", "status 500", "move 503"],
)
def test_a_person_is_told_after_about_fifteen_minutes_whatever_states_come_between(
    make_world: MakeWorld, fault: faults.Fault
) -> None:
    world = make_world(speed=Speed(seconds_per_execution=10.0))
    world.faults.add(fault)
    lane = begin(world)
    began = world.clock.now()

    let_pass(world, lane, timedelta(minutes=13))
    assert world.mails() == []
    let_pass(world, lane, timedelta(minutes=6))

    (mail,) = world.mails()
    assert "USMF_1.zip" in mail.subject
    run = only(world)
    assert run.problem is not None
    assert timedelta(minutes=14) < run.problem.since - began < timedelta(minutes=19)


@pytest.mark.quick(cases=0)
def test_a_person_is_asked_after_five_lost_submits_and_may_submit_again(world: World) -> None:
    world.faults.add(fno_fault("ImportFromPackage", faults.status(500), times=None))
    lane = begin(world)
    let_pass(world, lane, timedelta(hours=2))
    assert world.calls("ImportFromPackage") == execution.LOST_SUBMITS
    run = only(world)
    assert run.state is State.SUBMITTING
    assert run.problem is not None
    assert "5 times in a row" in run.problem.text
    assert any("Submit again" in mail.content for mail in world.mails())
    world.faults.clear()
    let_pass(world, lane, timedelta(hours=1))
    assert world.imports() == []
    address = address_of(only(world))
    assert {"submit-again", "give-up"} <= offered(world, address)

    assert sure(actions.submit_again(address, ME, world.services)).done
    world.run_until_quiet()

    assert world.imports() == [("USMF", 1)]
    assert world.files("Success") == ["USMF_1.zip"]


@pytest.mark.quick(cases=0)
def test_a_lost_submit_that_f_and_o_shows_after_all_is_found_and_not_sent_again(world: World) -> None:
    world.faults.add(fno_fault("ImportFromPackage", faults.status(500), times=4))
    lost = fno_fault("ImportFromPackage", faults.status(500, handled=True), times=1, nth=5)
    world.faults.add(lost)
    hidden = faults.status(400, body=of_fo("Execution was not found"))
    world.faults.add(fno_fault("GetExecutionSummaryStatus", hidden, times=None))
    world.faults.add(fno_fault("DataManagementExecutionJobDetails", faults.status(200, body={"value": []}), times=None))
    lane = begin(world)
    let_pass(world, lane, timedelta(hours=2))
    assert only(world).state is State.SUBMITTING

    world.faults.clear()
    world.run_until_quiet()

    assert world.calls("ImportFromPackage") == 5
    assert world.imports() == [("USMF", 1)]
    assert [run.outcome for run in world.ended_runs()] == [Outcome.SUCCEEDED]


# Counts that decide something


def test_answers_before_a_step_that_went_well_do_not_count_when_the_next_step_misses_the_file(world: World) -> None:
    begin(world)
    missing = faults.status(404, body=of_graph("itemNotFound", "not found"))
    for method in ("PATCH", "GET"):
        world.faults.add(graph_fault(method, "/items/[^/]+$", missing, times=4))

    def hide_it_again(_: Run) -> None:
        world.faults.add(graph_fault("PATCH", "/items/", faults.status(503)))
        world.faults.add(graph_fault("GET", "/items/[^/]+$", missing))
        world.faults.add(graph_fault("GET", "/children", faults.status(200, body={"value": []}), times=4))

    as_soon_as(world, State.FINISHED, hide_it_again)
    world.run_until_quiet()

    assert [run.outcome for run in world.ended_runs()] == [Outcome.SUCCEEDED]
    assert world.files("Success") == ["USMF_1.zip"]


def test_a_file_that_is_gone_is_let_go_after_five_answers(world: World) -> None:
    world.faults.add(fno_fault("GetAzureWriteUrl", faults.status(500)))
    lane = begin(world)
    let_pass(world, lane, timedelta(seconds=1))
    (world.folder / "Processing" / "USMF_1.zip").unlink()

    world.run_until_quiet()

    (run,) = world.ended_runs()
    assert run.outcome is Outcome.WITHDRAWN
    assert run.not_found == execution.LOST_SUBMITS - 1


# Executions


def test_an_execution_id_that_f_and_o_may_still_show_is_never_dropped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "REFUSED_KEPT", 5)  # as after hours with the true number
    world.faults.add(fno_fault("ImportFromPackage", faults.status(500), times=1))
    busy = faults.status(400, body=ran("the project is already running"))
    world.faults.add(fno_fault("ImportFromPackage", busy, times=None, nth=2))
    lane = begin(world)
    let_pass(world, lane, timedelta(minutes=5))
    lost = only(world).submissions[0]

    let_pass(world, lane, timedelta(minutes=10))

    run = only(world)
    assert run.submissions[0].execution_id == lost.execution_id
    assert sum(each.never_began for each in run.submissions) == 5


@pytest.mark.quick(cases=0)
def test_an_execution_of_unknown_status_is_never_sent_again(make_world: MakeWorld) -> None:
    unknown = Behaviour(outcome="Unknown")
    world = make_world(behaviour=unknown, speed=Speed(seconds_per_execution=3600.0))
    lane = begin(world)
    let_pass(world, lane, timedelta(minutes=50))
    assert world.calls("ImportFromPackage") == 1
