"""A record that cannot be read is shown and reported; everything else goes on."""

import json

import pytest

from inbound_trigger.keep_watch import do_duties
from operations import actions, list_view, run_view
from operations.filters import Filters
from shared.health import checks
from shared.health.health import Grade
from shared.runs import wake
from shared.runs.states import State
from tests.flows.trouble import ALERTS, ME, as_soon_as, begin, damage, put_into, records, sure
from tests.world import World

WORLD_SETTINGS = {
    "INTEGRATIONS": json.dumps(
        {
            "imports": [
                {"name": "one", "inputFolder": "Input", "dataProject": "Asset-Major-Types"},
                {"name": "two", "inputFolder": "Two/Input", "dataProject": "Customers"},
            ]
        }
    ),
    **ALERTS,
}


HOW = ["newer", "unknown state", "no metadata", "broken JSON", "wrong types"]


def a_damaged_one(world: World, how: str, state: State = State.FOUND) -> str:
    """Damage the record of a run in a state, in front of another file of its lane; return its place."""
    begin(world)
    (place,) = ["/".join(place) for place in world.services.store.open_places()]
    if state is not State.FOUND:
        as_soon_as(world, state, lambda run: damage(world, place, how))
        world.wake(place.split("/")[0])
        world.let_leases_run_out()
    else:
        damage(world, place, how)
    world.clock.advance(1)
    world.put("USMF_2.zip")
    put_into(world, "Two/Input", "USMF_3.zip")
    world.look()
    return place


def minutes_go_by(world: World, minutes: int) -> None:
    """Let time pass, with the minute's timer; lanes are woken a few times, whether that helps or not."""
    for _ in range(minutes):
        for _ in range(4):
            for lane in list(world.heads()):
                world.wake(lane)
            world.clock.advance(15)
        do_duties(world.services)


@pytest.mark.quick(cases=1)
@pytest.mark.parametrize("how", HOW)
def test_it_is_reported_and_shown_and_other_lanes_pages_health_and_the_timer_go_on(world: World, how: str) -> None:
    place = a_damaged_one(world, how)

    minutes_go_by(world, 4)

    assert world.files("Two/Success") == ["USMF_3.zip"]
    (mail,) = [mail for mail in world.mails() if "damaged" in mail.subject]
    assert place in mail.content
    listed = list_view.list_runs(Filters(), "", world.services)
    assert any(line.run.damage for line in listed.under_way)
    found = checks.check_health(lambda: world.services)
    assert found.grade is Grade.PROBLEM
    assert any("damaged" in check.message or "damaged" in check.name for check in found.checks)


@pytest.mark.quick(cases=0)
def test_a_person_may_put_it_aside_and_nothing_is_deleted(world: World) -> None:
    place = a_damaged_one(world, "broken JSON", State.EXECUTING)
    minutes_go_by(world, 2)
    (address,) = [row.address for row in world.services.index.open_rows() if row.file_name == "USMF_1.zip"]
    view = run_view.find_run(address, world.services)
    assert isinstance(view, run_view.DamagedView)
    assert [offer.verb.value for offer in view.actions] == ["put-aside"]

    answer = sure(actions.put_aside(address, ME, world.services))

    assert answer.done
    with records(world) as container:
        assert container.download_blob(f"damaged/{place}").readall() == b'{"format": 2, "run_id'
    world.clock.advance(3600)
    minutes_go_by(world, 20)
    assert world.files("Success") == ["USMF_2.zip"]
    do_duties(world.services)
    assert any(mail.subject.startswith("Resolved: ") and "damaged" in mail.subject for mail in world.onedrive.mails)


def test_a_record_that_can_be_read_is_not_put_aside(world: World) -> None:
    begin(world)
    (row,) = world.services.index.open_rows()

    answer = sure(actions.put_aside(row.address, ME, world.services))

    assert not answer.done
    assert len(world.services.store.open_places()) == 1


def test_a_lane_is_not_asked_again_and_again_for_a_record_that_cannot_be_read(world: World) -> None:
    place = a_damaged_one(world, "wrong types", State.EXECUTING)
    world.wakes.sent.clear()
    for _ in range(5):
        world.wake(place.split("/")[0])
    assert world.wakes.sent == []
    assert wake.wake_lanes(world.services.store.open_lanes(), world.services) <= 2
