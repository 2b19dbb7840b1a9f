"""F&O that is at work on something else is waited for; an ended execution is sent again only if it changed nothing."""

from datetime import timedelta
from typing import Any

import pytest

from local_cloud.finance_operations.knobs import Behaviour, Speed
from shared.imports.contention import RESUBMITS
from shared.runs.addresses import address_of
from shared.runs.states import Outcome, State
from tests.flows.conftest import MakeWorld
from tests.flows.trouble import DEADLOCK, IN_ONE_LANE, begin, detail, end_in_contention, import_file, let_pass, offered
from tests.packages import Entity, build_package
from tests.world import ENTITY

WORLD_SETTINGS = IN_ONE_LANE
QUICK = Speed(seconds_per_execution=1.0)  # F&O is done with one before the next is sent


@pytest.mark.quick(cases=0)
def test_a_project_that_is_busy_for_hours_is_asked_for_every_minute(make_world: MakeWorld) -> None:
    world = make_world(behaviour=Behaviour(refuse_starts=DEADLOCK))
    lane = begin(world)
    let_pass(world, lane, timedelta(minutes=10))
    world.faults.forget_calls()

    let_pass(world, lane, timedelta(minutes=10))

    assert 9 <= world.calls("ImportFromPackage") <= 11


def test_an_execution_that_ended_in_contention_and_changed_nothing_is_sent_again_under_a_new_id(
    make_world: MakeWorld,
) -> None:
    world = make_world(speed=QUICK)
    end_in_contention(world, detail())
    import_file(world, "USMF_1.zip")

    (run,) = world.ended_runs()
    assert run.outcome is Outcome.SUCCEEDED
    assert run.resubmits == 1
    assert world.calls("ImportFromPackage") == 2
    assert len({each.execution_id for each in run.submissions}) == 2
    assert world.files("Success") == ["USMF_1.zip"]


OTHER = "Customer groups"
MAY_HAVE_CHANGED: dict[str, tuple[list[dict[str, Any]], str, list[str]]] = {
    "no details": ([], DEADLOCK, [ENTITY]),
    "created": ([detail(created=1)], DEADLOCK, [ENTITY]),
    "updated": ([detail(updated=1)], DEADLOCK, [ENTITY]),
    "target step ended": ([detail(target="Error")], DEADLOCK, [ENTITY]),
    "target step waits": ([detail(target="Waiting")], DEADLOCK, [ENTITY]),
    "target step runs": ([detail(target="Executing")], DEADLOCK, [ENTITY]),
    "another entity": ([detail(OTHER)], DEADLOCK, [ENTITY]),
    "listed again with a row": ([detail(), detail(created=1)], DEADLOCK, [ENTITY]),
    "listed before with a row": ([detail(created=1), detail()], DEADLOCK, [ENTITY]),
    "one more that has rows": ([detail(), detail(OTHER, updated=2)], DEADLOCK, [ENTITY]),
    "an entity without details": ([detail()], DEADLOCK, [ENTITY, OTHER]),
    "errors in other words": ([detail()], "Major type A does not exist.", [ENTITY]),
}


@pytest.mark.quick(cases=4)
@pytest.mark.parametrize(("details", "words", "entities"), MAY_HAVE_CHANGED.values(), ids=list(MAY_HAVE_CHANGED))
def test_one_that_may_have_changed_anything_goes_to_error_with_a_rerun_offered(
    make_world: MakeWorld, details: list[dict[str, Any]], words: str, entities: list[str]
) -> None:
    world = make_world(speed=QUICK)
    end_in_contention(world, *details, words=words)
    import_file(world, "USMF_1.zip", build_package(entities=[Entity(name=name) for name in entities]))

    assert world.calls("ImportFromPackage") == 1
    assert "USMF_1.zip" in world.files("Error")
    (run,) = world.ended_runs()
    assert "run-again" in offered(world, address_of(run))


def test_contention_without_end_is_not_sent_again_for_ever(make_world: MakeWorld) -> None:
    world = make_world(speed=QUICK)
    end_in_contention(world, detail(), times=None)
    import_file(world, "USMF_1.zip")

    (run,) = world.ended_runs()
    assert (run.state, run.outcome) == (State.FILED, Outcome.FAILED)
    assert world.calls("ImportFromPackage") == RESUBMITS + 1
