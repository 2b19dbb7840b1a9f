"""What an import has to itself besides its data project, if its flow says so: its entities, and F&O's Excel lock."""

import json
from datetime import timedelta
from typing import Any

import pytest

from local_cloud.finance_operations.knobs import Speed
from operations import actions
from shared.reservations.reservation import entity_name
from shared.runs.addresses import address_of
from shared.runs.states import Outcome, State
from tests.flows.conftest import MakeWorld
from tests.flows.trouble import ME, cancel, ended_run, let_pass, open_run, put_into, shown, sure
from tests.packages import Entity, SourceFormat, build_package
from tests.world import ENTITY, World

SLOW = Speed(seconds_per_execution=60.0)
SUB_FOLDERS = ("Input", "Processing", "Success", "Error")


def two_projects(**reserve: bool) -> dict[str, str]:
    """Return the settings of two flows whose data projects differ."""
    folders = {f"{each.lower()}Folder": f"Other/{each}" for each in SUB_FOLDERS}
    flows = [
        {"name": "first", "inputFolder": "Input", "dataProject": "First"},
        {"name": "second", **folders, "dataProject": "Second"},
    ]
    return {"INTEGRATIONS": json.dumps({"defaults": {"reserve": reserve}, "imports": flows})}


def package(*names: str, source_format: SourceFormat = "CSV") -> bytes:
    return build_package(entities=[Entity(name=name, source_format=source_format) for name in names or (ENTITY,)])


def import_both(world: World, first: bytes, second: bytes) -> None:
    """Let a file of each flow appear, and each lane be woken once."""
    world.put("USMF_1.zip", first)
    put_into(world, "Other/Input", "USMF_2.zip").write_bytes(second)
    world.look()
    for lane in world.heads():
        world.wake(lane)


def outcomes(world: World) -> set[Outcome | None]:
    return {run.outcome for run in world.ended_runs()}


def times_sent(world: World) -> int:
    return world.calls("ImportFromPackage")


TOGETHER: dict[str, tuple[dict[str, bool], dict[str, Any], SourceFormat]] = {
    "one entity": ({"entities": True}, {"same_entity_deadlocks": True}, "CSV"),
    "an Excel file each": ({"excel": True}, {"excel_in_use": "fail"}, "EXCEL"),
}


@pytest.mark.quick(cases=1)
@pytest.mark.parametrize(("reserve", "knobs", "source_format"), TOGETHER.values(), ids=list(TOGETHER))
def test_two_imports_that_fo_cannot_run_side_by_side_run_one_after_the_other(
    make_world: MakeWorld, reserve: dict[str, bool], knobs: dict[str, Any], source_format: SourceFormat
) -> None:
    world = make_world(settings=two_projects(**reserve), speed=SLOW)
    world.fno.change(**knobs)
    import_both(world, package(source_format=source_format), package(source_format=source_format))
    assert times_sent(world) == 1

    world.run_until_quiet()

    assert outcomes(world) == {Outcome.SUCCEEDED}
    assert times_sent(world) == 2
    assert world.services.reservations.holders() == {}


@pytest.mark.quick(cases=1)
@pytest.mark.parametrize(("_reserve", "knobs", "source_format"), TOGETHER.values(), ids=list(TOGETHER))
def test_without_the_setting_both_are_sent_and_fo_fails_the_second(
    make_world: MakeWorld, _reserve: dict[str, bool], knobs: dict[str, Any], source_format: SourceFormat
) -> None:
    world = make_world(settings=two_projects(), speed=SLOW)
    world.fno.change(**knobs)

    import_both(world, package(source_format=source_format), package(source_format=source_format))

    assert times_sent(world) == 2
    assert sum(bool(each.errors) for each in world.fno.executions) == 1


def test_a_run_that_waits_says_for_which_entity_and_holds_none_meanwhile(make_world: MakeWorld) -> None:
    world = make_world(settings=two_projects(entities=True), speed=SLOW)

    import_both(world, package("Units", "Vendors"), package("Currencies", "VENDORS"))

    running, waiting = open_run(world, "USMF_1.zip"), open_run(world, "USMF_2.zip")
    assert (running.state, waiting.state) == (State.EXECUTING, State.CLAIMED)
    assert running.reserved == ("project:first", "entity:units", "entity:vendors")
    assert waiting.waits is not None
    assert waiting.waits.what == "the entity VENDORS"
    assert "USMF_1.zip" in waiting.waits.holder
    assert world.services.reservations.read(world.fno.url, entity_name("Currencies")) is None


def test_a_person_frees_the_entities_of_a_cancelled_run_with_its_data_project(make_world: MakeWorld) -> None:
    world = make_world(settings=two_projects(entities=True), speed=SLOW)
    import_both(world, package(), package())
    run = open_run(world, "USMF_1.zip")
    cancel(world, run)
    world.wake(run.lane)
    address = address_of(ended_run(world, "USMF_1.zip"))
    (offer,) = [each for each in shown(world, address).actions if each.verb.value == "free-project"]
    assert "wait for its entities" in offer.effect

    assert sure(actions.free_project(address, ME, world.services)).done

    let_pass(world, open_run(world, "USMF_2.zip").lane, timedelta(seconds=30))
    assert times_sent(world) == 2


def test_a_run_that_waits_for_excel_says_so(make_world: MakeWorld) -> None:
    world = make_world(settings=two_projects(excel=True), speed=SLOW)

    import_both(world, package(source_format="EXCEL"), package("Units", source_format="EXCEL"))

    waiting = open_run(world, "USMF_2.zip").waits
    assert waiting is not None
    assert waiting.what == "the Excel lock of F&O"


@pytest.mark.quick(cases=1)
@pytest.mark.parametrize(
    ("reserve", "first", "second"),
    [
        ({"entities": True}, package("Units"), package("Vendors")),
        ({"excel": True}, package("Units", source_format="EXCEL"), package("Units")),
    ],
    ids=["entities that differ", "one without an Excel file"],
)
def test_others_run_side_by_side(make_world: MakeWorld, reserve: dict[str, bool], first: bytes, second: bytes) -> None:
    world = make_world(settings=two_projects(**reserve), speed=SLOW)

    import_both(world, first, second)

    assert times_sent(world) == 2
