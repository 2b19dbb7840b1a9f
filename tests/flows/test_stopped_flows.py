"""A flow that stands still because of a refusal tries with one file now and then: not never again, not in a storm."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from inbound_trigger.keep_watch import do_duties
from local_cloud import faults
from operations import list_view, run_view
from operations.filters import Filters
from shared.errors import TryAgain
from shared.runs.lane import Stop
from shared.runs.values import Held
from tests.flows.conftest import MakeWorld
from tests.flows.trouble import (
    IN_ONE_LANE,
    ON_HOLD,
    graph_fault,
    let_pass,
    minutes_go_by,
    of_graph,
    one_import,
    open_run,
    put_into,
    refuse_moves,
    restart,
    seen_in_turn,
)
from tests.world import World

WORLD_SETTINGS = IN_ONE_LANE
REFUSAL = "claim|Microsoft Graph|403|accessDenied"


def stop_by(world: World, lane: str, *names: str) -> None:
    """Let the flow stand still for a refusal that these files have met ten minutes ago."""
    held = Held(
        since=world.clock.now() - timedelta(minutes=10), text="on hold", refusal=REFUSAL, is_aside=True, is_flows=True
    )
    for name in names:
        world.services.store.save(replace(open_run(world, name), held=held, attempts=8, failing_since=None))
    stop(world, lane)


def stop(world: World, lane: str, refusal: str = REFUSAL, flow: str = "import") -> None:
    """Let the flow stand still for a refusal."""
    now = world.clock.now()
    world.services.store.save_stop(
        Stop(lane=lane, flow_name=flow, refusal=refusal, text="on hold", since=now, next_try=now)
    )


def tried(world: World) -> list[str]:
    """Return what was to be moved, in turn."""
    return [call.path.rpartition("/")[2] for call in world.faults.calls if call.method == "PATCH"]


def told(world: World) -> list[str]:
    return [mail.subject for mail in world.mails()]


@pytest.mark.quick(cases=0)
def test_once_a_good_file_got_through_files_that_are_really_on_hold_do_not_stop_their_flow_again(world: World) -> None:
    lane = seen_in_turn(world, "USMF_1.zip", "USMF_2.zip", "USMF_3.zip", "USMF_4.zip")
    refuse_moves(world, "USMF_1.zip", "USMF_2.zip")

    minutes_go_by(world, 18, lane)

    assert world.files("Success") == ["USMF_3.zip", "USMF_4.zip"]
    assert world.services.store.open_lanes().stops == []
    assert len([subject for subject in told(world) if "one file after another" in subject]) == 1
    world.put("USMF_5.zip")
    world.look()
    let_pass(world, lane, timedelta(minutes=1))
    assert "USMF_5.zip" in world.files("Success")


def test_a_file_that_is_taken_out_of_input_does_not_count_as_one_that_got_through(world: World) -> None:
    lane = seen_in_turn(world, "USMF_1.zip", "USMF_2.zip", "USMF_3.zip")
    refuse_moves(world, "USMF_1.zip", "USMF_2.zip")
    stop_by(world, lane, "USMF_1.zip", "USMF_2.zip")
    world.services.store.save(replace(open_run(world, "USMF_3.zip"), not_found=4))  # OneDrive has denied it four times
    (world.folder / "Input" / "USMF_3.zip").unlink()

    minutes_go_by(world, 10, lane)

    assert "USMF_3.zip" not in {run.file.name for run in world.all_open_runs()}
    assert len(world.services.store.open_lanes().stops) == 1
    assert [mail for mail in world.onedrive.mails if mail.subject.startswith("Resolved: ")] == []


@pytest.mark.quick(cases=0)
def test_in_other_trouble_a_stopped_flow_still_tries_with_one_file_every_few_minutes(world: World) -> None:
    names = [f"USMF_{number}.zip" for number in range(1, 7)]
    lane = seen_in_turn(world, *names)
    refuse_moves(world, do=faults.status(404, body=of_graph("itemNotFound", "gone")))
    world.faults.add(graph_fault("GET", "/items/", faults.status(503), times=None))
    stop_by(world, lane, *names[:5])

    let_pass(world, lane, timedelta(minutes=11))

    assert len(tried(world)) <= 5
    world.faults.clear()
    world.run_until_quiet(at_most_s=7200)
    assert world.files("Success") == names


@pytest.mark.quick(cases=0)
def test_a_stopped_flow_whose_trouble_changes_is_told_once_and_not_file_by_file(world: World) -> None:
    names = [f"USMF_{number}.zip" for number in range(1, 7)]
    lane = seen_in_turn(world, *names)
    column = of_graph("invalidRequest", "List data validation failed.")
    refuse_moves(world, do=faults.status(400, body=column))
    stop_by(world, lane, *names[:5])

    minutes_go_by(world, 16, lane)

    (now,) = world.services.store.open_lanes().stops
    assert "400" in now.refusal
    assert len(told(world)) <= 3  # the first trouble, the first file that met the second one, and that
    world.faults.clear()
    world.run_until_quiet(at_most_s=7200)
    assert world.files("Success") == names


def test_a_file_whose_refusals_differ_from_try_to_try_is_set_aside_all_the_same(world: World) -> None:
    lane = seen_in_turn(world, "USMF_1.zip", "USMF_2.zip")
    item = open_run(world, "USMF_1.zip").file.item_id
    for nth in range(1, 40, 2):
        body = of_graph("resourceLocked", "The resource is locked.")
        locked = faults.status(423, body=body) if nth % 4 == 1 else faults.status(403, body=ON_HOLD)
        world.faults.add(graph_fault("PATCH", f"/items/{item}$", locked, nth=nth, times=1))
    refuse_moves(world, "USMF_1.zip")

    let_pass(world, lane, timedelta(minutes=5))

    assert world.files("Success") == ["USMF_2.zip"]


def test_a_flow_that_is_taken_out_of_the_settings_while_it_stands_still_is_told_once(world: World) -> None:
    names = [f"USMF_{number}.zip" for number in range(1, 5)]
    lane = seen_in_turn(world, *names)
    stop_by(world, lane, *names[:3])
    restart(world, **one_import(name="another", inputFolder="Other/Input"))

    minutes_go_by(world, 10, lane)

    assert len(told(world)) <= 2
    assert world.files("Input") == names


def test_flows_that_f_and_o_refuses_alike_are_told_of_once_for_their_environment(make_world: MakeWorld) -> None:
    imports = [{"name": name, "inputFolder": f"{name}/Input"} for name in ("One", "Two")]
    world = make_world(settings={"INTEGRATIONS": json.dumps({"imports": imports}), "IMPORT_DATA_PROJECT": ""})
    for name in ("One", "Two"):
        put_into(world, f"{name}/Input")
    world.look()
    for run in world.all_open_runs():
        stop(world, run.lane, "submit|F&O|400|", run.flow_name)

    do_duties(world.services)

    assert len(told(world)) == 1


def test_a_file_that_got_through_goes_on_though_the_others_could_not_be_let_on(world: World) -> None:
    lane = seen_in_turn(world, "USMF_1.zip", "USMF_2.zip")
    stop_by(world, lane, "USMF_1.zip", "USMF_2.zip")

    def unavailable(*_: object) -> None:
        raise TryAgain("the storage is busy")

    with world.monkeypatch.context() as patched:
        patched.setattr("shared.runs.blame._let_others_through", unavailable)
        world.wake(lane)

    assert [run.attempts for run in world.all_open_runs()] == [0, 0]
    world.run_until_quiet()
    assert world.files("Success") == ["USMF_1.zip", "USMF_2.zip"]


def test_a_run_of_a_flow_that_stands_still_has_the_same_word_in_the_list_and_on_its_page(world: World) -> None:
    lane = seen_in_turn(world, "USMF_1.zip", "USMF_2.zip", "USMF_3.zip")
    stop_by(world, lane, "USMF_1.zip")

    lines = list_view.list_runs(Filters(), "", world.services).under_way

    pages = [run_view.find_run(line.run.address, world.services) for line in lines]
    assert [line.place for line in lines] == [page.place for page in pages if isinstance(page, run_view.RunView)]
