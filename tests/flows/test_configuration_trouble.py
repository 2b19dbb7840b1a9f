"""Trouble that no file can cure: the lane stops, a person is told once, no file moves, and it goes on when mended."""

from datetime import timedelta
from typing import Final

import pytest

from local_cloud import faults
from local_cloud.faults import Fault
from shared.alerts import delivery
from shared.alerts.alert import Category
from shared.runs import wake
from shared.runs.states import Outcome, State
from tests.exports import EXPORT, delivered, prepared, started
from tests.flows.conftest import MakeWorld
from tests.flows.trouble import LOGIN, as_soon_as, begin, fno_fault, graph_fault, let_pass
from tests.world import World

NO_ROUTE: Final = {"Message": "No HTTP resource was found that matches the request URI."}
IN_FO: Final = {
    "F&O refuses the token": faults.status(401),
    "F&O does not know the app": faults.status(403),
    "there is no such route": faults.status(404, body=NO_ROUTE),
    "the address leads to a sign-in page": LOGIN,
}
IN_ONEDRIVE: Final = {
    "Graph refuses the token": faults.status(401),
    "Graph does not permit it": faults.status(403),
    "the drive is full": faults.status(507),
    "Graph's address leads to a sign-in page": LOGIN,
}
TROUBLES: Final = {
    **{f"{what}, from the beginning": (State.FOUND, fno_fault("", do, times=None)) for what, do in IN_FO.items()},
    "there is no such route, at the submit": (
        State.SUBMITTING,
        fno_fault("", faults.status(404, body=NO_ROUTE), times=None),
    ),
    **{
        f"{what}, at the claim": (State.FOUND, graph_fault("*", "/drives/", do, times=None))
        for what, do in IN_ONEDRIVE.items()
    },
    "F&O does not know the app any more, while it executes": (
        State.EXECUTING,
        fno_fault("", faults.status(403), times=None),
    ),
    "Graph does not permit it, when the file is filed": (
        State.FINISHED,
        graph_fault("*", "/drives/", faults.status(403), times=None),
    ),
    "the identity gets no token": (State.FOUND, Fault("entra", "*", "", 1, None, do=faults.status(400))),
}


@pytest.mark.quick(cases=2)
@pytest.mark.parametrize(("state", "fault"), TROUBLES.values(), ids=list(TROUBLES))
def test_the_lane_stops_tells_once_moves_no_file_and_goes_on_by_itself_when_mended(
    world: World, caplog: pytest.LogCaptureFixture, state: State, fault: Fault
) -> None:
    lane = begin(world, "USMF_1.zip", "USMF_2.zip")
    world.services = world.new_process()  # that has no token yet
    if state is State.FOUND:
        world.faults.add(fault)
    else:
        as_soon_as(world, state, lambda _: world.faults.add(fault))

    let_pass(world, lane, timedelta(minutes=5))

    assert alerts(world, caplog) == 1
    assert world.files("Success") == world.files("Error") == []
    assert len(world.files("Input") + world.files("Processing")) == 2
    # A 403 of F&O may be about one file or about all: a second file is taken up to find out.
    is_ambiguous = fault.service == "finance_operations" and fault.do.code == 403 and state is State.FOUND
    assert len(world.files("Input")) >= (0 if is_ambiguous else 1)

    world.faults.clear()
    world.run_until_quiet(at_most_s=3600)

    assert alerts(world, caplog) == 1
    assert world.imports() == [("USMF", 1)] * 2
    assert world.files("Success") == ["USMF_1.zip", "USMF_2.zip"]
    assert [run.outcome for run in world.ended_runs()] == [Outcome.SUCCEEDED] * 2


def alerts(world: World, caplog: pytest.LogCaptureFixture) -> int:
    """Return how often a person was told of trouble; without a mail's address that is an error in the log."""
    standing = wake.alerts_of_lanes(world.services.store.open_lanes(), world.services)
    delivery.deliver_alerts({Category.STOPPED_FLOW: standing}, world.services)
    told = [record.getMessage() for record in caplog.records if '"event": "alert"' in record.getMessage()]
    return sum('"title": "Resolved: ' not in line for line in told)


EXPORT_TROUBLES: Final = {
    **{what: fno_fault("", do, times=None) for what, do in list(IN_FO.items())[1:]},
    "the drive is full": graph_fault("POST", "createUploadSession", faults.status(507), times=None),
}


@pytest.mark.quick(cases=1)
@pytest.mark.parametrize("fault", EXPORT_TROUBLES.values(), ids=list(EXPORT_TROUBLES))
def test_an_export_waits_tells_once_and_is_delivered_once_when_mended(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture, fault: Fault
) -> None:
    world = prepared(make_world(settings=EXPORT))
    lane = started(world)
    world.faults.add(fault)
    let_pass(world, lane, timedelta(minutes=5))
    assert alerts(world, caplog) == 1
    assert world.files("Output") == []

    world.faults.clear()
    world.run_until_quiet(at_most_s=3600)

    assert list(delivered(world).values()) == [["A", "B"]]
    assert alerts(world, caplog) == 1
    assert _exports_of(world) == 1


def _exports_of(world: World) -> int:
    return sum(execution.operation == "Export" for execution in world.fno.executions)
