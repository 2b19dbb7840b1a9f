"""A file that OneDrive alone keeps from going on is passed by others, reported once, and goes on by itself."""

from datetime import timedelta

import pytest

from inbound_trigger.keep_watch import do_duties
from local_cloud.onedrive import Knobs
from tests.flows.conftest import MakeWorld
from tests.flows.trouble import (
    IN_ONE_LANE,
    ended_run,
    let_pass,
    minutes_go_by,
    one_import,
    refuse_moves,
    seen_in_turn,
)
from tests.world import World

WORLD_SETTINGS = IN_ONE_LANE


def test_a_file_that_somebody_has_open_is_passed_by_the_files_behind_it_after_three_minutes(
    make_world: MakeWorld,
) -> None:
    world = make_world(knobs=Knobs(locked={"USMF_1.zip": "resourceLocked"}))
    lane = seen_in_turn(world, "USMF_1.zip", "USMF_2.zip", "USMF_3.zip")

    let_pass(world, lane, timedelta(minutes=2))
    assert world.files("Success") == []
    let_pass(world, lane, timedelta(minutes=3))
    assert world.files("Success") == ["USMF_2.zip", "USMF_3.zip"]
    assert world.files("Input") == ["USMF_1.zip"]


@pytest.mark.quick(cases=0)
def test_it_is_reported_once_with_the_items_own_words_and_over_when_it_goes_on(make_world: MakeWorld) -> None:
    world = make_world(knobs=Knobs(locked={"USMF_1.zip": "resourceLocked"}))
    seen_in_turn(world, "USMF_1.zip", "USMF_2.zip")
    minutes_go_by(world, 20)

    (mail,) = world.mails()
    assert "USMF_1.zip" in mail.subject
    assert "set aside" in mail.content
    assert "locked" in mail.content

    world.onedrive.knobs.locked = {}
    minutes_go_by(world, 6)
    world.run_until_quiet()
    do_duties(world.services)
    assert world.files("Success") == ["USMF_1.zip", "USMF_2.zip"]
    assert [mail.subject for mail in world.onedrive.mails if mail.subject.startswith("Resolved: ")] != []


@pytest.mark.quick(cases=0)
def test_who_was_taken_up_after_later_files_says_so_in_record_report_and_alert(make_world: MakeWorld) -> None:
    world = make_world(knobs=Knobs(locked={"USMF_1.zip": "resourceLocked"}))
    seen_in_turn(world, "USMF_1.zip", "USMF_2.zip", "USMF_3.zip")
    (world.folder / "Input" / "USMF_1.zip").write_bytes(b"Dear Sir or Madam")  # it will fail, so there is a report
    minutes_go_by(world, 10)

    world.onedrive.knobs.locked = {}
    world.run_until_quiet()
    do_duties(world.services)

    run = ended_run(world, "USMF_1.zip")
    assert sorted(run.passed_by) == ["USMF_2.zip", "USMF_3.zip"]
    report = (world.folder / "Error" / "USMF_1.zip.report.txt").read_text("utf-8-sig")
    assert "USMF_2.zip" in report
    assert "USMF_3.zip" in report
    ended = next(mail for mail in world.onedrive.mails if "Rejected" in mail.subject)
    assert "USMF_2.zip" in ended.content
    over = next(mail for mail in world.onedrive.mails if mail.subject.startswith("Resolved: "))
    assert "USMF_3.zip" in over.content


@pytest.mark.quick(cases=1)
@pytest.mark.parametrize(
    "refusing", [Knobs(locked={"USMF_1.zip": "resourceLocked"}), Knobs(held=["USMF_1.zip", "USMF_2.zip"])]
)
def test_with_strict_order_the_lane_stops_instead_and_a_person_hears_of_it(
    make_world: MakeWorld, refusing: Knobs
) -> None:
    world = make_world(settings=one_import(strictOrder=True), knobs=refusing)
    seen_in_turn(world, "USMF_1.zip", "USMF_2.zip")
    minutes_go_by(world, 18)

    assert world.files("Success") == []
    assert world.services.store.open_lanes().stops == []
    (mail,) = world.mails()
    assert "strictOrder" in mail.content
    assert "USMF_1.zip" in mail.subject

    world.onedrive.knobs.locked, world.onedrive.knobs.held = {}, []
    world.run_until_quiet()
    began = {run.file.name: run.steps[0].began for run in world.ended_runs()}
    assert began["USMF_1.zip"] < began["USMF_2.zip"]
    assert world.files("Success") == ["USMF_1.zip", "USMF_2.zip"]


@pytest.mark.quick(cases=0)
def test_a_file_that_stays_empty_is_passed_and_goes_to_error_in_the_end(world: World) -> None:
    lane = seen_in_turn(world, "USMF_1.zip", "USMF_2.zip")
    (world.folder / "Input" / "USMF_1.zip").write_bytes(b"")
    world.services = world.new_process()

    let_pass(world, lane, timedelta(minutes=5))
    assert world.files("Success") == ["USMF_2.zip"]
    let_pass(world, lane, timedelta(minutes=12))
    assert "USMF_1.zip" in world.files("Error")


@pytest.mark.quick(cases=0)
def test_a_lane_whose_only_run_is_set_aside_is_not_asked_for_more_than_every_few_minutes(
    make_world: MakeWorld,
) -> None:
    world = make_world(knobs=Knobs(locked={"USMF_1.zip": "resourceLocked"}))
    seen_in_turn(world, "USMF_1.zip")
    minutes_go_by(world, 20)
    world.faults.forget_calls()
    minutes_go_by(world, 30)

    assert 5 <= sum(call.method == "PATCH" for call in world.faults.calls) <= 10


# Refusals of which nobody can say whom they are about


@pytest.mark.quick(cases=0)
def test_two_files_that_meet_the_same_refusal_stop_their_flow_with_one_alert_and_fail_nothing(world: World) -> None:
    seen_in_turn(world, "USMF_1.zip", "USMF_2.zip", "USMF_3.zip")
    refuse_moves(world)

    minutes_go_by(world, 20)

    assert world.files("Input") == ["USMF_1.zip", "USMF_2.zip", "USMF_3.zip"]
    assert world.files("Error") == []
    told = [mail.subject for mail in world.mails()]
    assert len([subject for subject in told if "one file after another" in subject]) == 1
    assert len(told) <= 2  # the first file's own word came before anybody could know
    assert world.services.store.open_lanes().stops != []

    world.faults.clear()
    minutes_go_by(world, 8)
    world.run_until_quiet()
    do_duties(world.services)
    assert world.files("Success") == ["USMF_1.zip", "USMF_2.zip", "USMF_3.zip"]
    assert world.services.store.open_lanes().stops == []
    assert any("Resolved" in mail.subject and "one file after another" in mail.subject for mail in world.onedrive.mails)


@pytest.mark.quick(cases=0)
def test_a_file_that_gets_through_in_between_shows_that_each_refusal_is_the_files_own(world: World) -> None:
    seen_in_turn(world, "USMF_1.zip", "USMF_2.zip", "USMF_3.zip", "USMF_4.zip")
    refuse_moves(world, "USMF_1.zip", "USMF_3.zip")

    minutes_go_by(world, 20)

    assert world.files("Success") == ["USMF_2.zip", "USMF_4.zip"]
    assert world.services.store.open_lanes().stops == []
    mails = world.mails()
    assert len(mails) == 2
    assert all(any(name in mail.subject for mail in mails) for name in ("USMF_1.zip", "USMF_3.zip"))
    assert all("on hold and cannot be moved" in mail.content for mail in mails)
