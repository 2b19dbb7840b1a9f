"""Who may submit: a data project of an environment is one run's until F&O has ended, whatever lane or direction."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from inbound_trigger.keep_watch import do_duties
from local_cloud import faults
from local_cloud.finance_operations.knobs import Behaviour, Speed
from operations import actions
from shared.reservations import release
from shared.reservations.reservation import Reservation, project_name
from shared.runs import wake
from shared.runs.run import Run
from shared.runs.states import Outcome, State
from tests.flows.conftest import MakeWorld
from tests.flows.trouble import (
    ALERTS,
    ME,
    begin,
    cancel,
    fno_fault,
    import_file,
    let_pass,
    look_and_finish,
    open_run,
    put_into,
    shown,
    sure,
)
from tests.world import PROJECT, World

SLOW = Speed(seconds_per_execution=600.0)
# Two imports whose packages are of one data project, in lanes of their own; and an export of the same one.
WORLD_SETTINGS = {
    "INTEGRATIONS": json.dumps(
        {
            "imports": [
                {"name": "fixed", "inputFolder": "Input", "dataProject": PROJECT},
                {
                    "name": "manifest",
                    "inputFolder": "Other/Input",
                    "successFolder": "Other/Success",
                    "errorFolder": "Other/Error",
                    "processingFolder": "Other/Processing",
                },
            ],
            "exports": [
                {"name": "out", "outputFolder": "Output", "dataProject": PROJECT, "company": "USMF", "everySeconds": 60}
            ],
        }
    ),
    **ALERTS,
}


def lane_of(world: World, flow: str) -> str:
    """Return the lane of a flow."""
    found = world.services.settings.flows.named(flow)
    assert found is not None
    return found.lane


def reservation(world: World) -> Reservation | None:
    """Return who has the data project."""
    return world.services.reservations.read(world.fno.url, project_name(PROJECT))


def execute_first(world: World) -> None:
    """Let the first flow's file be with F&O for a long time, while the other's waits."""
    world.put("USMF_1.zip")
    put_into(world, "Other/Input", "USMF_2.zip")
    world.look()
    let_pass(world, lane_of(world, "fixed"), timedelta(seconds=20))
    let_pass(world, lane_of(world, "manifest"), timedelta(seconds=20))


def test_two_flows_whose_packages_are_of_one_project_never_overlap(make_world: MakeWorld) -> None:
    world = make_world(speed=SLOW)
    execute_first(world)

    assert open_run(world, "USMF_1.zip").state is State.EXECUTING
    waiting = open_run(world, "USMF_2.zip")
    assert waiting.state is State.CLAIMED
    assert waiting.waits is not None
    assert PROJECT in waiting.waits.what
    assert "USMF_1.zip" in waiting.waits.holder
    assert waiting.attempts == 0
    assert world.calls("ImportFromPackage") == 1

    world.run_until_quiet()
    assert world.imports() == [("USMF", 1), ("USMF", 1)]
    assert reservation(world) is None


@pytest.mark.quick(cases=0)
def test_an_export_that_waits_goes_before_imports_that_were_opened_later(make_world: MakeWorld) -> None:
    world = make_world(speed=Speed(seconds_per_execution=120.0))
    let_pass(world, begin(world), timedelta(seconds=20))
    world.start_exports()
    let_pass(world, lane_of(world, "out"), timedelta(seconds=5))
    assert world.calls("ExportToPackage") == 0
    world.clock.advance(1)
    put_into(world, "Other/Input", "USMF_2.zip")
    world.put("USMF_3.zip")
    world.look()

    world.run_until_quiet()

    submitted = [
        "export" if "ExportToPackage" in call.path else "import"
        for call in world.faults.calls
        if "ExportToPackage" in call.path or "ImportFromPackage" in call.path
    ]
    assert submitted == ["import", "export", "import", "import"]
    assert len(world.files("Output")) == 1


STUCK_SOON = {"IMPORT_STUCK_AFTER_MINUTES": "20"}


@pytest.mark.quick(cases=0)
def test_a_wait_for_a_run_that_is_under_way_is_no_alarm_however_long_it_is(make_world: MakeWorld) -> None:
    """That run tells by itself that F&O has been working on it for long."""
    world = make_world(settings=STUCK_SOON, speed=Speed(seconds_per_execution=4 * 3600.0))
    execute_first(world)

    for _ in range(4):
        for name in ("fixed", "manifest"):
            let_pass(world, lane_of(world, name), timedelta(minutes=5))

    assert [mail for mail in world.mails() if "USMF_2.zip" in mail.subject] == []
    (mail,) = world.mails()
    assert "USMF_1.zip" in mail.subject
    assert "has been working on execution" in mail.content


@pytest.mark.quick(cases=0)
def test_a_wait_for_what_a_cancelled_run_left_over_is_reported_beyond_the_stuck_limit(make_world: MakeWorld) -> None:
    world = make_world(settings=STUCK_SOON, speed=Speed(seconds_per_execution=4 * 3600.0))
    execute_first(world)
    cancel(world, open_run(world, "USMF_1.zip"))
    world.wake(lane_of(world, "fixed"))
    let_pass(world, lane_of(world, "manifest"), timedelta(minutes=16))
    assert [mail for mail in world.mails() if "USMF_2.zip" in mail.subject] == []

    let_pass(world, lane_of(world, "manifest"), timedelta(minutes=8))

    (mail,) = [mail for mail in world.mails() if "USMF_2.zip" in mail.subject]
    assert "has waited for the data project" in mail.content
    assert "USMF_1.zip" in mail.content


def test_what_was_refused_gives_the_project_back_at_once(world: World) -> None:
    throttled = faults.status(429, {"Retry-After": "120"})
    world.faults.add(fno_fault("ImportFromPackage", throttled))
    let_pass(world, begin(world), timedelta(seconds=10))

    assert open_run(world, "USMF_1.zip").state is State.CLAIMED
    assert reservation(world) is None


def test_an_ended_run_whose_process_died_before_it_gave_back_frees_the_project_for_who_wants_it(world: World) -> None:
    with world.monkeypatch.context() as patched:
        patched.setattr(release, "give_back", lambda run, services: None)
        import_file(world, "USMF_1.zip")
    assert reservation(world) is not None

    put_into(world, "Other/Input", "USMF_2.zip")
    look_and_finish(world)

    assert world.imports() == [("USMF", 1), ("USMF", 1)]
    assert reservation(world) is None


def cancelled_while_executing(world: World) -> Run:
    execute_first(world)
    run = open_run(world, "USMF_1.zip")
    assert cancel(world, run).done
    let_pass(world, lane_of(world, "fixed"), timedelta(seconds=10))
    return run


@pytest.mark.quick(cases=0)
def test_a_cancelled_run_keeps_the_project_until_f_and_o_has_ended_its_execution(make_world: MakeWorld) -> None:
    world = make_world(speed=SLOW)
    cancelled_while_executing(world)

    assert "USMF_1.zip" in world.files("Error")
    assert reservation(world) is not None
    for _ in range(4):
        do_duties(world.services)
        let_pass(world, lane_of(world, "manifest"), timedelta(minutes=1))
    assert world.calls("ImportFromPackage") == 1

    world.clock.advance(600)
    do_duties(world.services)
    world.run_until_quiet()
    assert world.calls("ImportFromPackage") == 2


def test_one_that_f_and_o_does_not_know_five_times_after_the_grace_time_is_freed(world: World) -> None:
    world.faults.add(fno_fault("ImportFromPackage", faults.hang(0.1), times=None))
    let_pass(world, begin(world), timedelta(seconds=5))
    assert open_run(world, "USMF_1.zip").state is State.SUBMITTING
    cancel(world, open_run(world, "USMF_1.zip"))
    world.faults.clear()
    let_pass(world, lane_of(world, "fixed"), timedelta(seconds=10))
    assert "USMF_1.zip" in world.files("Error")

    asked = 0
    while reservation(world) is not None:
        world.clock.advance(60)
        do_duties(world.services)
        asked += 1
        assert asked < 20
    assert asked >= 5 + 2  # five answers, after the grace time of three minutes


@pytest.mark.quick(cases=0)
def test_status_unknown_never_frees_the_project(make_world: MakeWorld) -> None:
    world = make_world(speed=SLOW, behaviour=Behaviour(outcome="Unknown"))
    cancelled_while_executing(world)

    for _ in range(30):
        world.clock.advance(60)
        do_duties(world.services)

    assert reservation(world) is not None


def test_a_person_may_free_it_with_a_second_action_that_warns(make_world: MakeWorld) -> None:
    world = make_world(speed=SLOW)
    cancelled_while_executing(world)
    (row,) = [
        row for page in world.services.index.ended_rows(world.clock.now().date()) for row in page.rows if row.run_id
    ][:1]
    (offer,) = [offer for offer in shown(world, row.address).actions if offer.verb.value == "free-project"]
    assert "redefines the project" in offer.effect

    assert sure(actions.free_project(row.address, ME, world.services)).done
    let_pass(world, lane_of(world, "manifest"), timedelta(minutes=2))
    assert world.calls("ImportFromPackage") > 1  # F&O itself says that the project is in use


@pytest.mark.quick(cases=0)
def test_an_open_run_of_an_older_version_that_may_have_submitted_counts_as_holder(make_world: MakeWorld) -> None:
    world = make_world(speed=SLOW)
    let_pass(world, begin(world), timedelta(seconds=20))
    made = reservation(world)
    assert made is not None
    world.services.reservations.delete(made)  # an older version has none
    run = open_run(world, "USMF_1.zip")
    world.services.store.save(replace(run, reserved=(), environment_url=""))
    world.services = world.new_process()
    world.clock.advance(300)

    put_into(world, "Other/Input", "USMF_2.zip")
    world.look()
    let_pass(world, lane_of(world, "manifest"), timedelta(minutes=2))

    assert world.calls("ImportFromPackage") == 1
    held = reservation(world)
    assert held is not None
    assert held.is_held_by(run.run_id)
    world.run_until_quiet()
    assert [run.outcome for run in world.ended_runs()] == [Outcome.SUCCEEDED] * 2
    assert reservation(world) is None


def test_a_reservation_of_a_run_that_is_set_aside_before_it_submitted_is_taken_away(world: World) -> None:
    lane = begin(world)
    with world.new_process().import_lock(world.fno.url):
        world.monkeypatch.setattr("shared.azure_storage.import_lock.LOCK_WAIT_S", 0.0)
        world.wake(lane)
    held = reservation(world)
    assert held is not None
    actions.pause("fixed", ME, world.services)

    put_into(world, "Other/Input", "USMF_2.zip")
    world.look()
    let_pass(world, lane_of(world, "manifest"), timedelta(minutes=5))

    assert world.calls("ImportFromPackage") == 1
    actions.resume("fixed", ME, world.services)
    world.run_until_quiet()
    assert wake.next_of_lanes(world.services.store.open_lanes()) == {}
    assert world.imports() == [("USMF", 1), ("USMF", 1)]
