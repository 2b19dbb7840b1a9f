"""A person may cancel a run in every state: it is saved at once, its lane goes on, and nothing is imported twice."""

from datetime import timedelta

import pytest

from local_cloud import faults
from local_cloud.finance_operations.knobs import Speed
from shared.runs.addresses import address_of
from shared.runs.states import Direction, Outcome, State
from tests.flows.conftest import MakeWorld
from tests.flows.trouble import (
    ALERTS,
    IN_ONE_LANE,
    as_soon_as,
    begin,
    cancel,
    ended_run,
    fno_fault,
    import_file,
    let_pass,
    look_and_finish,
    offered,
    refuse_moves,
)
from tests.world import World

WORLD_SETTINGS = IN_ONE_LANE
EXPORT = {"EXPORT_DATA_PROJECT": "Asset-Major-Types", "EXPORT_COMPANY": "USMF", **ALERTS}


@pytest.mark.quick(cases=1)
@pytest.mark.parametrize("state", [State.FOUND, State.CLAIMED, State.SUBMITTING, State.EXECUTING, State.FINISHED])
def test_an_import_that_is_cancelled_in_any_state_ends_and_the_next_file_goes_on(
    make_world: MakeWorld, state: State
) -> None:
    world = make_world(speed=Speed(seconds_per_execution=30.0))
    begin(world)
    as_soon_as(world, state, lambda run: cancel(world, run))
    world.run_until_quiet()
    import_file(world, "USMF_2.zip")

    first, second = (ended_run(world, name) for name in ("USMF_1.zip", "USMF_2.zip"))
    assert first.cancelled_in is state
    assert first.state is State.FILED
    assert "Ada" in first.reason
    assert second.outcome is Outcome.SUCCEEDED
    assert world.files("Input") == []
    assert world.files("Processing") == []
    if state is State.FINISHED:  # what is known stays known
        assert first.outcome is Outcome.SUCCEEDED
        assert world.files("Success") == ["USMF_1.zip", "USMF_2.zip"]
    else:
        assert first.outcome is Outcome.CANCELLED_BY_PERSON
        assert "USMF_1.zip" in world.files("Error")


def test_a_cancel_while_the_request_is_on_its_way_fences_the_package_before_the_run_ends(world: World) -> None:
    lane = begin(world)
    world.faults.add(fno_fault("ImportFromPackage", faults.reset_before()))
    world.wake(lane)
    (run,) = world.open_runs()
    assert run.state is State.SUBMITTING

    cancel(world, run)
    world.run_until_quiet()

    assert ended_run(world, "USMF_1.zip").submissions[-1].fenced is not None
    assert world.imports() == []


@pytest.mark.quick(cases=2)
@pytest.mark.parametrize("state", [State.PLANNED, State.SUBMITTING, State.EXECUTING, State.READY])
def test_an_export_that_is_cancelled_in_any_state_is_over_at_once(make_world: MakeWorld, state: State) -> None:
    world = make_world(settings=EXPORT, speed=Speed(seconds_per_execution=30.0))
    import_file(world, "USMF_1.zip")  # so that the data project is there
    world.start_exports()
    as_soon_as(world, state, lambda run: cancel(world, run))
    world.run_until_quiet()

    (run,) = world.ended_runs(Direction.EXPORT)
    assert run.state is State.CANCELLED
    assert run.outcome is Outcome.CANCELLED_BY_PERSON
    if state is not State.READY:  # there the worker was about to deliver
        assert world.files("Output") == []


def test_a_file_that_cannot_be_moved_keeps_its_run_open_and_its_lane_free(world: World) -> None:
    begin(world)
    world.onedrive.knobs.locked = {"USMF_1.zip": "resourceLocked"}
    (run,) = world.open_runs()
    cancel(world, run)
    lane = begin(world, "USMF_2.zip")
    let_pass(world, lane, timedelta(minutes=2))

    assert world.files("Success") == ["USMF_2.zip"]
    (open_run,) = world.all_open_runs()
    assert open_run.state is State.CANCELLED
    assert world.look() == 0  # it is no new file
    assert offered(world, address_of(open_run)) == {"check-now"}

    world.onedrive.knobs.locked = {}
    world.run_until_quiet()
    assert "USMF_1.zip" in world.files("Error")
    assert ended_run(world, "USMF_1.zip").outcome is Outcome.CANCELLED_BY_PERSON
    assert ended_run(world, "USMF_2.zip").outcome is Outcome.SUCCEEDED


def test_new_content_under_a_cancelled_run_is_a_new_file(world: World) -> None:
    lane = begin(world, content=b"Dear Sir or Madam")
    world.onedrive.knobs.locked = {"USMF_1.zip": "resourceLocked"}
    (run,) = world.open_runs()
    cancel(world, run)
    let_pass(world, lane, timedelta(minutes=1))
    world.put("USMF_1.zip")
    world.onedrive.knobs.locked = {}
    let_pass(world, lane, timedelta(minutes=6))
    look_and_finish(world)

    assert world.imports() == [("USMF", 1)]
    assert world.files("Success") == ["USMF_1.zip"]


def test_a_cancelled_file_on_hold_is_not_reported_as_its_flows_trouble(world: World) -> None:
    lane = begin(world, "USMF_1.zip", "USMF_2.zip")
    refuse_moves(world)
    for run in world.all_open_runs():
        cancel(world, run)
    let_pass(world, lane, timedelta(minutes=20))

    assert world.services.store.open_lanes().stops == []
    assert {run.state for run in world.all_open_runs()} == {State.CANCELLED}
