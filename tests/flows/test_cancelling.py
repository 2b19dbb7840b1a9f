"""A person may cancel a run in every state: it is saved at once, its lane goes on, and nothing is imported twice."""

from datetime import timedelta

import pytest

from local_cloud import faults
from local_cloud.finance_operations.knobs import Speed
from operations import actions
from operations.actions import Requester
from shared.runs.addresses import address_of
from shared.runs.run import Run
from shared.runs.states import Direction, Outcome, State
from tests.flows.conftest import MakeWorld
from tests.flows.trouble import (
    ALERTS,
    IN_ONE_LANE,
    as_soon_as,
    begin,
    fno_fault,
    graph_fault,
    let_pass,
    look_and_finish,
    offered,
)
from tests.packages import build_package
from tests.world import World

ME = Requester(by="Ada", why="sent by mistake")
EXPORT = {"EXPORT_DATA_PROJECT": "Asset-Major-Types", "EXPORT_COMPANY": "USMF", **ALERTS}


def cancel(world: World, run: Run) -> actions.ActionResult:
    """Cancel an open run, as a person does from its page."""
    row = next(row for row in world.services.index.open_rows() if row.run_id == run.run_id)
    answer = actions.cancel(row.address, ME, world.services)
    assert answer is not None
    return answer


def ended(world: World, name: str) -> Run:
    """Return the ended run of a file."""
    (run,) = [run for run in world.ended_runs() if run.file.name == name]
    return run


@pytest.mark.quick(cases=1)
@pytest.mark.parametrize("state", [State.FOUND, State.CLAIMED, State.SUBMITTING, State.EXECUTING, State.FINISHED])
def test_an_import_that_is_cancelled_in_any_state_ends_and_the_next_file_goes_on(
    make_world: MakeWorld, state: State
) -> None:
    world = make_world(settings=IN_ONE_LANE, speed=Speed(seconds_per_execution=30.0))
    world.put("USMF_1.zip")
    world.look()
    as_soon_as(world, state, lambda run: cancel(world, run))
    world.run_until_quiet()
    world.put("USMF_2.zip")
    look_and_finish(world)

    first, second = (ended(world, name) for name in ("USMF_1.zip", "USMF_2.zip"))
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


def test_a_cancel_while_the_request_is_on_its_way_fences_the_package_before_the_run_ends(
    make_world: MakeWorld,
) -> None:
    world = make_world(settings=IN_ONE_LANE)
    lane = begin(world)
    world.faults.add(fno_fault("ImportFromPackage", faults.reset_before()))
    world.wake(lane)
    (run,) = world.open_runs()
    assert run.state is State.SUBMITTING

    cancel(world, run)
    world.run_until_quiet()

    assert ended(world, "USMF_1.zip").submissions[-1].fenced is not None
    assert world.imports() == []


@pytest.mark.quick(cases=2)
@pytest.mark.parametrize("state", [State.PLANNED, State.SUBMITTING, State.EXECUTING, State.READY])
def test_an_export_that_is_cancelled_in_any_state_is_over_at_once(make_world: MakeWorld, state: State) -> None:
    world = make_world(settings=EXPORT, speed=Speed(seconds_per_execution=30.0))
    world.put("USMF_1.zip")  # so that the data project is there
    look_and_finish(world)
    world.start_exports()
    as_soon_as(world, state, lambda run: cancel(world, run))
    world.run_until_quiet()

    (run,) = world.ended_runs(Direction.EXPORT)
    assert run.state is State.CANCELLED
    assert run.outcome is Outcome.CANCELLED_BY_PERSON
    if state is not State.READY:  # there the worker was about to deliver
        assert world.files("Output") == []


def test_a_file_that_cannot_be_moved_keeps_its_run_open_and_its_lane_free(make_world: MakeWorld) -> None:
    world = make_world(settings=IN_ONE_LANE)
    world.put("USMF_1.zip")
    world.look()
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
    assert ended(world, "USMF_1.zip").outcome is Outcome.CANCELLED_BY_PERSON
    assert ended(world, "USMF_2.zip").outcome is Outcome.SUCCEEDED


def test_new_content_under_a_cancelled_run_is_a_new_file(make_world: MakeWorld) -> None:
    world = make_world(settings=IN_ONE_LANE)
    file = world.put("USMF_1.zip", b"Dear Sir or Madam")
    world.look()
    world.onedrive.knobs.locked = {"USMF_1.zip": "resourceLocked"}
    (run,) = world.open_runs()
    cancel(world, run)
    (lane,) = world.heads()
    let_pass(world, lane, timedelta(minutes=1))
    file.write_bytes(build_package())
    world.onedrive.knobs.locked = {}
    let_pass(world, lane, timedelta(minutes=6))
    look_and_finish(world)

    assert world.imports() == [("USMF", 1)]
    assert world.files("Success") == ["USMF_1.zip"]


def test_a_cancelled_file_on_hold_is_not_reported_as_its_flows_trouble(make_world: MakeWorld) -> None:
    world = make_world(settings=IN_ONE_LANE)
    body = {"error": {"code": "accessDenied", "message": "on hold"}}
    for name in ("USMF_1.zip", "USMF_2.zip"):
        world.put(name)
    world.look()
    world.faults.add(graph_fault("PATCH", "/items/", faults.status(403, body=body), times=None))
    for run in world.all_open_runs():
        cancel(world, run)
    (lane,) = world.heads()
    let_pass(world, lane, timedelta(minutes=20))

    assert world.services.store.open_lanes().stops == []
    assert {run.state for run in world.all_open_runs()} == {State.CANCELLED}
