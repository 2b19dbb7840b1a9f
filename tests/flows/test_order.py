"""In which order files are taken up: by name, with a pause, after other imports, and strictly."""

import json
import os
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from inbound_trigger.keep_watch import do_duties
from local_cloud import faults
from local_cloud.faults import Fault
from local_cloud.finance_operations.knobs import Behaviour
from operations import actions, list_view, pages, reruns, run_view
from operations.actions import ActionResult
from operations.available_actions import Verb
from operations.filters import Filters
from operations.web import PageRequest
from shared.health import checks
from shared.runs.addresses import address_of
from shared.runs.run import Run
from shared.runs.states import Outcome, State
from shared.runs.store import RunStore
from tests.flows.conftest import MakeWorld
from tests.flows.trouble import (
    ALERTS,
    ME,
    as_soon_as,
    begin,
    cancel,
    damage,
    ended_run,
    fno_fault,
    graph_fault,
    let_pass,
    offered,
    one_import,
    open_run,
    put_into,
    records,
    restart,
    seen_in_turn,
    shown,
    sure,
    tick,
    wake_and_die,
)
from tests.packages import package_named
from tests.world import PROJECT, World

NO_PACKAGE = b"Dear Sir or Madam"


def of_one_project(**keys: Any) -> dict[str, str]:
    return one_import(dataProject=PROJECT, **keys)


def began(world: World) -> list[str]:
    """Return the files that have ended, in the order in which they were taken up."""
    return [run.file.name for run in sorted(world.ended_runs(), key=lambda run: run.state_since)]


def of_age(world: World, **names: int) -> None:
    """Let good files appear in Input that were changed so many seconds after the same moment."""
    for name, second in names.items():
        os.utime(world.put(f"USMF_{name}.zip"), (1_700_000_000 + second,) * 2)


# By name


def test_files_go_by_name_whatever_their_case_and_age(make_world: MakeWorld) -> None:
    world = make_world(settings=of_one_project(order={"by": "name"}))
    of_age(world, C=10, b=30, a=40, a1=5)
    world.look()
    world.run_until_quiet()

    assert began(world) == ["USMF_a.zip", "USMF_a1.zip", "USMF_b.zip", "USMF_C.zip"]


def test_a_file_with_a_lower_name_goes_before_those_that_wait_and_not_before_the_one_under_way(
    make_world: MakeWorld,
) -> None:
    world = make_world(settings=of_one_project(order={"by": "name"}))
    of_age(world, c=1, d=2)
    world.look()
    (lane,) = world.heads()
    world.wake(lane)
    for name, second in (("b", 3), ("a", 4)):  # one after the other, while F&O works on the first file
        of_age(world, **{name: second})
        world.look()
    world.wake(lane)
    assert [run.file.name for run in world.all_open_runs() if run.submissions] == ["USMF_c.zip"]

    world.run_until_quiet()
    assert began(world) == ["USMF_c.zip", "USMF_a.zip", "USMF_b.zip", "USMF_d.zip"]


def test_files_that_wait_by_age_are_imported_though_the_order_is_by_name_now(make_world: MakeWorld) -> None:
    world = make_world(settings=of_one_project())
    of_age(world, z=1)
    world.look()
    world._more_settings |= of_one_project(order={"by": "name"})
    world.services = world.new_process()
    of_age(world, y=2)
    assert world.look() == 1

    world.run_until_quiet()
    assert world.files("Success") == ["USMF_y.zip", "USMF_z.zip"]


# A pause


def test_the_next_file_is_not_taken_up_before_the_pause_is_over(make_world: MakeWorld) -> None:
    world = make_world(settings=of_one_project(order={"pauseSeconds": 40}))
    lane = seen_in_turn(world, "USMF_1.zip", "USMF_2.zip")
    while not world.ended_runs():
        let_pass(world, lane, timedelta(seconds=1))
    (first,) = world.ended_runs()
    until = sure(first.ended) + timedelta(seconds=40)

    assert world.heads() == {lane: until}
    told = sure(shown(world, address_of(open_run(world, "USMF_2.zip"))).next)
    assert ("pauseSeconds" in told.waits_for, told.next_check) == (True, until)
    world.run_until_quiet()
    assert ended_run(world, "USMF_2.zip").steps[0].began >= until


def test_a_file_that_comes_during_the_pause_has_a_wake_up_of_its_own(make_world: MakeWorld) -> None:
    world = make_world(settings=of_one_project(order={"pauseSeconds": 40}))
    begin(world, "USMF_1.zip")
    world.run_until_quiet()
    lane = begin(world, "USMF_2.zip")
    world.wakes.sent.clear()

    world.wake(lane)
    ((text, delay_s),) = world.wakes_of_lanes()
    assert (text, round(delay_s)) == (lane, 40)


def test_a_person_who_checks_a_file_now_ends_the_pause(make_world: MakeWorld) -> None:
    world = make_world(settings=of_one_project(order={"pauseSeconds": 3600}))
    begin(world, "USMF_1.zip")
    world.run_until_quiet()
    lane = begin(world, "USMF_2.zip")

    assert sure(actions.check_now(address_of(open_run(world, "USMF_2.zip")), ME, world.services)).done
    let_pass(world, lane, timedelta(minutes=5))
    assert world.files("Success") == ["USMF_1.zip", "USMF_2.zip"]


@pytest.mark.parametrize("pause_s", [40, 300])
def test_a_pause_that_a_host_with_a_fast_clock_began_lasts_no_longer_than_the_setting_says(
    make_world: MakeWorld, pause_s: int
) -> None:
    world = make_world(settings=of_one_project(order={"pauseSeconds": pause_s}))
    lane = begin(world, "USMF_1.zip")
    world.run_until_quiet()
    world.services.store.rest_lane(lane, world.clock.now() + timedelta(hours=5))
    begin(world, "USMF_2.zip")
    world.wakes.sent.clear()
    tick(world, minutes=2)
    assert any(lane in text for text, _ in world.wakes_of_lanes())
    world.wake(lane)

    until = world.heads()[lane]
    assert until == world.clock.now() + timedelta(seconds=pause_s)
    world.run_until_quiet()
    assert ended_run(world, "USMF_2.zip").steps[0].began >= until


# After other imports


def in_turn(*chain: str, **order: Any) -> dict[str, str]:
    """Return settings of imports, each of which goes after the one before it, in this order."""
    flows: list[dict[str, Any]] = [
        {"name": name, "inputFolder": f"{name}/Input", "dataProject": name} for name in chain
    ]
    for before, flow in pairwise(flows):
        flow["order"] = {"after": [before["name"]], **order}
    return {"INTEGRATIONS": json.dumps({"imports": flows}), **ALERTS}


def make_in_turn(make_world: MakeWorld, *chain: str, **order: Any) -> World:
    world = make_world(settings=in_turn(*chain, **order))
    for name in chain:
        for folder in ("Input", "Processing", "Success", "Error"):
            (world.folder / name / folder).mkdir(parents=True)
    return world


def test_a_file_waits_for_the_open_runs_of_the_imports_before_it_and_says_so(make_world: MakeWorld) -> None:
    world = make_in_turn(make_world, "groups", "customers")
    put_into(world, "customers/Input", "USMF_c.zip")
    put_into(world, "groups/Input", "USMF_g.zip")
    world.look()
    (lane,) = [lane for lane in world.heads() if "customers" in lane]
    world.wake(lane)

    waiting = open_run(world, "USMF_c.zip")
    told = sure(shown(world, address_of(waiting)).next)
    assert told.waits_for == "the import groups (it goes first). USMF_g.zip is not done"
    world.run_until_quiet()
    groups, customers = (ended_run(world, name) for name in ("USMF_g.zip", "USMF_c.zip"))
    assert next(step for step in customers.steps if step.step == "prepare").began >= sure(groups.ended)
    assert customers.waits is None


def test_a_file_in_the_other_input_folder_that_no_scan_has_seen_keeps_it_waiting(make_world: MakeWorld) -> None:
    world = make_in_turn(make_world, "groups", "customers")
    put_into(world, "customers/Input", "USMF_c.zip")
    world.look()
    put_into(world, "groups/Input", "USMF_g.zip")
    (lane,) = world.heads()
    world.wake(lane)

    waits = sure(open_run(world, "USMF_c.zip").waits)
    assert waits.holder == "USMF_g.zip is in /groups/Input."


def test_an_import_waits_for_those_before_the_one_that_it_goes_after(make_world: MakeWorld) -> None:
    world = make_in_turn(make_world, "groups", "customers", "orders")
    for name in ("groups", "orders"):
        put_into(world, f"{name}/Input", f"USMF_{name}.zip")
    world.look()
    (lane,) = [lane for lane in world.heads() if "orders" in lane]
    world.wake(lane)

    assert sure(open_run(world, "USMF_orders.zip").waits).holder == "USMF_groups.zip is not done."


def test_a_file_that_failed_or_was_cancelled_keeps_no_other_import_waiting(make_world: MakeWorld) -> None:
    world = make_in_turn(make_world, "groups", "customers")
    put_into(world, "groups/Input", "USMF_g1.zip").write_bytes(NO_PACKAGE)
    put_into(world, "groups/Input", "USMF_g2.zip")
    world.look()
    world.onedrive.knobs.locked = {"USMF_g2.zip": "resourceLocked"}  # so it stays in Input, cancelled
    cancel(world, open_run(world, "USMF_g2.zip"))
    put_into(world, "customers/Input", "USMF_c.zip")
    world.look()
    for _ in range(10):
        for lane in world.heads():
            let_pass(world, lane, timedelta(minutes=1))

    assert ended_run(world, "USMF_c.zip").outcome == "Succeeded"
    assert (world.folder / "groups" / "Input" / "USMF_g2.zip").exists()


def test_the_minutes_timer_wakes_a_file_that_has_waited_long_for_another_import(make_world: MakeWorld) -> None:
    world = make_in_turn(make_world, "groups", "customers")
    put_into(world, "customers/Input", "USMF_c.zip")
    put_into(world, "groups/Input", "USMF_g.zip")
    world.onedrive.knobs.locked = {"USMF_g.zip": "resourceLocked"}
    world.look()
    (lane,) = [lane for lane in world.heads() if "customers" in lane]
    let_pass(world, lane, timedelta(minutes=10))
    world.wakes.sent.clear()

    tick(world)
    assert any(lane in text for text, _ in world.wakes_of_lanes())


def test_an_open_run_in_the_lane_that_its_import_had_before_keeps_others_waiting(make_world: MakeWorld) -> None:
    world = make_in_turn(make_world, "groups", "customers")
    put_into(world, "groups/Input", "USMF_g.zip")
    world.look()
    (lane,) = world.heads()
    world.wake(lane)
    assert open_run(world, "USMF_g.zip").state is State.EXECUTING
    flows = json.loads(in_turn("groups", "customers")["INTEGRATIONS"])
    flows["imports"][0]["dataProject"] = "groups of the new year"
    restart(world, INTEGRATIONS=json.dumps(flows))
    put_into(world, "customers/Input", "USMF_c.zip")
    world.look()
    (other,) = [each for each in world.heads() if each != lane]
    world.wake(other)

    assert sure(open_run(world, "USMF_c.zip").waits).holder == "USMF_g.zip is not done."


@pytest.mark.parametrize("how", ["no metadata", "nothing at all"])
def test_a_damaged_record_in_one_of_many_lanes_keeps_others_waiting(make_world: MakeWorld, how: str) -> None:
    world = make_in_turn(make_world, "groups", "customers")
    flows = json.loads(in_turn("groups", "customers")["INTEGRATIONS"])
    flows["imports"][0]["dataProject"] = "groups {company}"
    restart(world, INTEGRATIONS=json.dumps(flows))
    put_into(world, "groups/Input", "USMF_g.zip")
    world.look()

    def break_record(run: Run) -> None:
        for each in ["no metadata", "broken JSON"] if how == "nothing at all" else [how]:
            damage(world, f"{run.lane}/{run.sort_key}", each)

    as_soon_as(world, State.CLAIMED, break_record)
    (lane,) = world.heads()
    world.wake(lane)
    world.let_leases_run_out()
    put_into(world, "customers/Input", "USMF_c.zip")
    world.look()
    (other,) = [each for each in world.heads() if "customers" in each]
    world.wake(other)

    waiting = world.services.store.read_row(sure(world.services.store.head(other)))
    assert sure(waiting.waits).holder == "A file whose record is damaged is not done."
    (row,) = [row for row in world.services.index.open_rows() if row.lane == lane]
    words = "Files of customers no longer wait for its file (order.after), even if it was not imported"
    view = run_view.find_run(row.address, world.services)
    assert isinstance(view, run_view.DamagedView)
    assert words in view.actions[0].effect
    assert words in sure(actions.put_aside(row.address, ME, world.services)).message
    assert not is_waiting(world)


# After other imports have succeeded

FAILED = fno_fault("GetExecutionSummaryStatus", faults.status(200, body={"value": "Failed"}), times=1)
IN_PART = fno_fault("GetExecutionSummaryStatus", faults.status(200, body={"value": "PartiallySucceeded"}), times=1)


def after_one_that_failed(make_world: MakeWorld, fault: Fault = FAILED, name: str = "USMF_g.zip", **keys: Any) -> World:
    """Return a world in which a file of groups has failed, and one of customers is in Input. keys: of groups."""
    world = make_in_turn(make_world, "groups", "customers", afterSuccess=True)
    if keys:
        flows = json.loads(in_turn("groups", "customers", afterSuccess=True)["INTEGRATIONS"])
        flows["imports"][0] |= keys
        restart(world, INTEGRATIONS=json.dumps(flows))
    world.faults.add(fault)
    put_into(world, "groups/Input", name)
    world.look()
    world.run_until_quiet()
    put_into(world, "customers/Input", "USMF_c.zip")
    world.look()
    return world


def minutes_pass(world: World, minutes: int = 5) -> None:
    for _ in range(minutes):
        for lane in world.heads():
            let_pass(world, lane, timedelta(minutes=1))


def is_waiting(world: World) -> bool:
    """Let minutes pass, and return whether the file of customers still waits."""
    minutes_pass(world)
    return [run.state for run in world.all_open_runs() if run.file.name == "USMF_c.zip"] == [State.FOUND]


def test_a_file_that_waits_for_a_failed_one_says_for_which_and_what_to_do(make_world: MakeWorld) -> None:
    world = after_one_that_failed(make_world)
    assert is_waiting(world)

    words = (
        "USMF_g.zip did not succeed (afterSuccess). Run it again (its last rerun, if it has any) or skip it on its "
        "page, or put a mended file of the same name into /groups/Input."
    )
    told = sure(shown(world, address_of(open_run(world, "USMF_c.zip"))).next)
    failed = address_of(ended_run(world, "USMF_g.zip"))
    assert (f"{told.waits_for}.", told.holder) == (f"the import groups (it goes first). {words}", failed)
    assert shown(world, failed).keeps_waiting == ("customers",)
    health = checks.check_health(lambda: world.services)
    (check,) = [check for check in health.checks if check.name == "Import groups"]
    assert check.message == "USMF_g.zip did not succeed (afterSuccess). Files of customers wait for that."

    restart(world, IMPORT_STUCK_AFTER_MINUTES="30")
    minutes_pass(world, 40)
    do_duties(world.services)
    (mail,) = [mail for mail in world.mails() if "needs attention" in mail.subject]
    assert ("USMF_c.zip" in mail.subject, words in mail.content) == (True, True)


@pytest.mark.parametrize("how", ["a rerun", "a rerun under another name", "a mended file", "skip"])
def test_a_file_that_waits_for_a_failed_one_goes_on_after(make_world: MakeWorld, how: str) -> None:
    world = after_one_that_failed(make_world)
    assert is_waiting(world)
    failed = address_of(ended_run(world, "USMF_g.zip"))
    match how:
        case "a rerun":
            assert sure(reruns.run_again(failed, ME, world.services)).done
        case "a rerun under another name":
            (world.folder / "groups/Error/USMF_g.zip").rename(world.folder / "groups/Error/USMF_h.zip")
            assert sure(reruns.run_again(failed, ME, world.services)).done
        case "a mended file":
            put_into(world, "groups/Input", "usmf_G.zip")
            world.look()
        case _:
            assert "skip" in offered(world, failed)
            assert sure(actions.skip(failed, ME, world.services)).done
            assert not sure(actions.skip(failed, ME, world.services)).done

    assert not is_waiting(world)
    assert ended_run(world, "USMF_c.zip").outcome == "Succeeded"
    assert "skip" not in offered(world, failed)


def test_a_rerun_that_fails_takes_the_place_of_the_run_before_it(make_world: MakeWorld) -> None:
    world = after_one_that_failed(make_world)
    first = address_of(ended_run(world, "USMF_g.zip"))
    (world.folder / "groups/Error/USMF_g.zip").rename(world.folder / "groups/Error/USMF_h.zip")
    world.faults.add(FAILED)
    reruns.run_again(first, ME, world.services)
    assert is_waiting(world)

    (second,) = [run for run in world.ended_runs() if run.rerun_of]
    assert ["skip" in offered(world, address) for address in (first, address_of(second))] == [False, True]
    actions.skip(address_of(second), ME, world.services)
    assert not is_waiting(world)


def test_a_rerun_of_a_cancelled_rerun_settles_the_failed_file_under_another_name_too(make_world: MakeWorld) -> None:
    world = after_one_that_failed(make_world)
    (world.folder / "groups/Error/USMF_g.zip").rename(world.folder / "groups/Error/USMF_h.zip")
    reruns.run_again(address_of(ended_run(world, "USMF_g.zip")), ME, world.services)
    cancel(world, open_run(world, "USMF_h.zip"))
    assert is_waiting(world)
    told = sure(shown(world, address_of(open_run(world, "USMF_c.zip"))).next)
    assert "Run it again (its last rerun, if it has any) or skip it on its page" in told.waits_for
    assert offered(world, told.holder) == {"skip"}
    page = pages.run_page(shown(world, told.holder), PageRequest(query={}))
    assert "They go on once its last rerun has succeeded. If that one has ended, run it again." in page.body
    assert "run-again" in offered(world, shown(world, told.holder).reruns[-1].address)

    reruns.run_again(address_of(ended_run(world, "USMF_h.zip")), ME, world.services)
    assert not is_waiting(world)


def test_a_failed_file_whose_mark_cannot_be_read_keeps_others_waiting_until_a_person_has_put_it_aside(
    make_world: MakeWorld,
) -> None:
    world = after_one_that_failed(make_world)
    with records(world) as container:
        (name,) = container.list_blob_names(name_starts_with="unresolved/")
        container.get_blob_client(name).set_blob_metadata({"failed": "{}"})
    for _ in range(3):
        assert is_waiting(world)
        do_duties(world.services)

    words = "A file of groups whose mark cannot be read did not succeed (afterSuccess)."
    assert words in sure(open_run(world, "USMF_c.zip").waits).holder
    (mail,) = [mail for mail in world.mails() if "mark of a failed file" in mail.subject]
    assert "Files of customers wait for it" in mail.content
    (check,) = [each for each in checks.check_health(lambda: world.services).checks if each.name == "Import groups"]
    assert words in check.message
    shown_list = list_view.list_runs(Filters(), "", world.services)
    assert words in pages.list_page(shown_list, PageRequest(query={})).body
    (listed,) = [lane for lane in shown_list.lanes if lane.damage]
    assert (listed.name, listed.damage) == ("groups", f"{words} Files of customers wait for that.")
    assert Verb.PUT_ASIDE in [option.verb for option in listed.actions]

    assert sure(actions.put_marks_aside("groups", ME, world.services)).done
    assert not sure(actions.put_marks_aside("groups", ME, world.services)).done
    assert not is_waiting(world)
    do_duties(world.services)
    assert any("Resolved: " in mail.subject and "mark of a" in mail.subject for mail in world.onedrive.mails)
    with records(world) as container:
        assert [*container.list_blob_names(name_starts_with="damaged/unresolved/")] == [f"damaged/{name}"]


LONG_NAME = f"USMF_{'1' * 240}.zip"  # which is cut when a run's id is added to it
LONG_OR_NOT = pytest.mark.parametrize("name", ["USMF_1.zip", LONG_NAME], ids=["short", "long"])


@LONG_OR_NOT
def test_a_mended_file_is_known_though_the_failed_one_was_filed_under_another_name(
    make_world: MakeWorld, name: str
) -> None:
    world = after_one_that_failed(make_world, name=name)
    world.faults.add(FAILED)
    put_into(world, "groups/Input", name)
    world.look()
    assert is_waiting(world)
    assert len({run.file.name for run in world.ended_runs()}) == 2
    assert f"{name} did not succeed" in sure(open_run(world, "USMF_c.zip").waits).holder

    put_into(world, "groups/Input", name)
    world.look()
    assert not is_waiting(world)


@pytest.mark.parametrize("at", ["shared.imports.failed_files.FailedFiles.save", "shared.runs.store.RunStore.end"])
def test_a_failed_file_keeps_others_waiting_though_the_app_dies_at_its_end(make_world: MakeWorld, at: str) -> None:
    world = make_in_turn(make_world, "groups", "customers", afterSuccess=True)
    put_into(world, "groups/Input", "USMF_g.zip").write_bytes(NO_PACKAGE)
    world.look()
    (lane,) = world.heads()
    wake_and_die(world, lane, at)
    put_into(world, "customers/Input", "USMF_c.zip")
    world.let_leases_run_out()
    world.services = world.new_process()
    world.look()

    assert is_waiting(world)
    assert ended_run(world, "USMF_g.zip").outcome == "Rejected"


@pytest.mark.parametrize("how", ["skip", "a rerun"])
def test_what_a_person_asks_while_a_run_is_about_to_be_ended_again_is_not_lost(make_world: MakeWorld, how: str) -> None:
    world = make_world(settings=of_one_project(strictOrder=True))
    lane = a_broken_file_first(world)
    wake_and_die(world, lane, "shared.azure_storage.container.BlobContainer.delete_version")
    failed = address_of(first_of(world))
    act = {"skip": actions.skip, "a rerun": reruns.run_again}[how]
    assert sure(act(failed, ME, world.services)).message == actions.BUSY
    world.let_leases_run_out()
    world.services = world.new_process()
    world.run_until_quiet()

    assert sure(act(failed, ME, world.services)).done
    world.run_until_quiet()
    names = ["USMF_1.zip", "USMF_2.zip", "USMF_3.zip"] if how == "skip" else ["USMF_1.zip"] * 2
    assert began(world) == names


@pytest.mark.parametrize(
    ("fault", "filing", "waits"),
    [(IN_PART, "error", True), (IN_PART, "folder", True), (IN_PART, "success", False), (FAILED, "success", True)],
    ids=["in part", "in part, own folder", "in part, as success", "failed"],
)
def test_whether_a_file_that_was_imported_in_part_has_failed_is_for_its_filing_to_say(
    make_world: MakeWorld, fault: Fault, filing: str, waits: bool
) -> None:
    world = after_one_that_failed(make_world, fault, filing={"partiallySucceeded": filing})

    assert is_waiting(world) is waits


@pytest.mark.parametrize("state", [State.FOUND, State.FINISHED], ids=str)
def test_a_file_that_a_person_has_cancelled_keeps_no_other_import_waiting(make_world: MakeWorld, state: State) -> None:
    world = make_in_turn(make_world, "groups", "customers", afterSuccess=True)
    put_into(world, "groups/Input", "USMF_g.zip").write_bytes(NO_PACKAGE)
    world.look()
    as_soon_as(world, state, lambda run: cancel(world, run))
    world.run_until_quiet()
    put_into(world, "customers/Input", "USMF_c.zip")
    world.look()

    assert not is_waiting(world)


@pytest.mark.parametrize("change", ["removed", "renamed", "not asked for"])
def test_a_failed_file_keeps_nobody_waiting_once_the_settings_no_longer_ask(make_world: MakeWorld, change: str) -> None:
    world = after_one_that_failed(make_world)
    assert is_waiting(world)
    match change:
        case "removed":
            settings = in_turn("customers")
        case "renamed":
            settings = in_turn("teams", "customers", afterSuccess=True)
        case _:
            settings = in_turn("groups", "customers")
    restart(world, **settings)

    assert not is_waiting(world)


def test_a_mended_file_counts_though_no_import_asked_for_success_when_it_came(make_world: MakeWorld) -> None:
    world = after_one_that_failed(make_world)
    assert is_waiting(world)
    restart(world, **in_turn("groups", "customers"))
    put_into(world, "groups/Input", "USMF_g.zip")
    world.look()
    world.run_until_quiet()
    restart(world, **in_turn("groups", "customers", afterSuccess=True))
    put_into(world, "customers/Input", "USMF_c.zip")
    world.look()

    assert not is_waiting(world)


def test_a_person_who_was_told_of_an_open_file_is_told_of_the_failed_one_too(make_world: MakeWorld) -> None:
    world = make_in_turn(make_world, "groups", "customers", afterSuccess=True)
    restart(world, IMPORT_STUCK_AFTER_MINUTES="2")
    world.faults.add(FAILED)
    put_into(world, "groups/Input", "USMF_g.zip")
    put_into(world, "customers/Input", "USMF_c.zip")
    world.look()
    world.onedrive.knobs.locked = {"USMF_g.zip": "resourceLocked"}

    def told() -> str:
        minutes_pass(world, 3)
        return sure(open_run(world, "USMF_c.zip").problem).text

    assert "USMF_g.zip is not done." in told()
    world.onedrive.knobs.locked = {"USMF_h.zip": "resourceLocked"}
    assert "USMF_g.zip did not succeed (afterSuccess). Run it again (its last rerun, if it has any)" in told()
    since = sure(open_run(world, "USMF_c.zip").problem).since
    put_into(world, "groups/Input", "USMF_h.zip")
    world.look()
    minutes_pass(world, 1)
    assert sure(open_run(world, "USMF_c.zip").problem).since == since  # people hear of it once
    actions.skip(address_of(ended_run(world, "USMF_g.zip")), ME, world.services)
    assert "USMF_h.zip is not done." in told()
    world.onedrive.knobs.locked = {}
    assert not is_waiting(world)


def test_what_no_import_waits_for_is_not_marked(make_world: MakeWorld) -> None:
    world = make_in_turn(make_world, "groups", "customers")
    put_into(world, "groups/Input", "USMF_g.zip").write_bytes(NO_PACKAGE)
    world.look()
    world.run_until_quiet()

    with records(world) as container:
        assert [*container.list_blob_names(name_starts_with="unresolved/")] == []


# Strictly


def stopped(make_world: MakeWorld, **keys: Any) -> World:
    """Return a world whose lane is stopped at the first of three files."""
    world = make_world(settings=of_one_project(strictOrder=True, **keys))
    a_broken_file_first(world)
    world.run_until_quiet()
    assert world.files("Input") == ["USMF_2.zip", "USMF_3.zip"]
    return world


def a_broken_file_first(world: World, name: str = "USMF_1.zip") -> str:
    """Let three files appear, of which the first is no package; return their lane."""
    of_age(world, **{"2": 20, "3": 30})
    os.utime(world.put(name, NO_PACKAGE), (1_700_000_000,) * 2)
    world.look()
    (lane,) = world.heads()
    return lane


def press_resume(world: World) -> ActionResult:
    """Press "Resume" of the first lane, which carries at which file the page shows it as stopped."""
    (listed, *_) = list_view.list_runs(Filters(), "", world.services).lanes
    return sure(actions.resume(listed.name, ME, world.services, stopped_at=sure(listed.pause).run))


def first_of(world: World) -> Run:
    return next(run for run in world.ended_runs() if run.file.name == "USMF_1.zip")


def test_a_file_that_did_not_succeed_stops_its_lane_and_people_hear_of_it(make_world: MakeWorld) -> None:
    world = stopped(make_world)

    (mail,) = world.mails()
    assert "All files behind it wait (strictOrder)" in mail.content
    (listed, *_) = list_view.list_runs(Filters(), "", world.services).lanes
    assert sure(listed.pause).why == "USMF_1.zip ended as Rejected, and no file may pass it."
    assert offered(world, address_of(first_of(world))) == {"run-again", "skip"}

    world.clock.advance(16 * 60)
    do_duties(world.services)
    assert [mail.subject for mail in world.mails() if "all files wait" in mail.subject] != []
    press_resume(world)
    do_duties(world.services)
    assert any("Resolved: " in mail.subject and "all files wait" in mail.subject for mail in world.onedrive.mails)


@pytest.mark.parametrize("how", ["skip", "resume"])
def test_a_person_lets_the_files_behind_it_go_on(make_world: MakeWorld, how: str) -> None:
    world = stopped(make_world)
    failed = address_of(first_of(world))

    assert sure(actions.skip(failed, ME, world.services) if how == "skip" else press_resume(world)).done
    world.run_until_quiet()
    assert world.files("Success") == ["USMF_2.zip", "USMF_3.zip"]
    assert [step.by for step in first_of(world).steps if step.step == "skip"] == ([ME.by] if how == "skip" else [])
    assert not sure(actions.skip(failed, ME, world.services)).done


def test_resume_that_is_pressed_twice_does_not_end_the_stop_at_the_next_file(make_world: MakeWorld) -> None:
    world = make_world(settings=of_one_project(strictOrder=True))
    a_broken_file_first(world)
    os.utime(world.put("USMF_2.zip", NO_PACKAGE), (1_700_000_020,) * 2)
    world.run_until_quiet()
    seen = address_of(first_of(world))

    answers = []
    for _ in range(2):
        answers.append(sure(actions.resume("import", ME, world.services, stopped_at=seen)))
        world.run_until_quiet()
    assert [answer.done for answer in answers] == [True, False]
    assert "strictOrder keeps it stopped: USMF_2.zip ended as Rejected" in answers[1].message
    assert world.files("Input") == ["USMF_3.zip"]


@pytest.mark.parametrize("keys", [{}, {"order": {"by": "name"}}], ids=["by age", "by name"])
def test_the_rerun_goes_first_and_stops_the_lane_again_if_it_does_not_succeed(
    make_world: MakeWorld, keys: dict[str, Any]
) -> None:
    world = stopped(make_world, **keys)
    again = sure(reruns.run_again(address_of(first_of(world)), ME, world.services))
    world.run_until_quiet()

    assert "waits" not in again.message
    assert [run.file.name for run in world.ended_runs()] == ["USMF_1.zip", "USMF_1.zip"]
    assert world.files("Input") == ["USMF_2.zip", "USMF_3.zip"]
    at = {bool(run.rerun_of): "skip" in offered(world, address_of(run)) for run in world.ended_runs()}
    assert at == {True: True, False: False}


def test_a_file_that_was_put_right_goes_first_once_a_person_lets_the_lane_go_on(make_world: MakeWorld) -> None:
    world = stopped(make_world)
    world.put("USMF_1.zip")
    world.put("USMF_4.zip")
    world.look()
    assert world.heads() == {}

    actions.skip(address_of(first_of(world)), ME, world.services)
    world.run_until_quiet()
    assert began(world) == ["USMF_1.zip", "USMF_1.zip", "USMF_2.zip", "USMF_3.zip", "USMF_4.zip"]


@LONG_OR_NOT
def test_so_does_one_whose_first_version_was_filed_under_another_name(make_world: MakeWorld, name: str) -> None:
    world = make_world(settings=of_one_project(strictOrder=True))
    (world.folder / "Error" / name).write_bytes(b"of the day before")
    a_broken_file_first(world, name)
    world.run_until_quiet()
    (failed,) = world.ended_runs()
    assert failed.file.name != name
    world.put(name)
    world.look()

    actions.skip(address_of(failed), ME, world.services)
    world.run_until_quiet()
    assert began(world)[1:] == [name, "USMF_2.zip", "USMF_3.zip"]


@pytest.mark.parametrize("state", [State.FOUND, State.FINISHED], ids=str)
def test_a_file_that_a_person_cancels_stops_nothing(make_world: MakeWorld, state: State) -> None:
    world = make_world(settings=of_one_project(strictOrder=True))
    a_broken_file_first(world)
    as_soon_as(world, state, lambda run: cancel(world, run))
    world.run_until_quiet()

    assert world.files("Success") == ["USMF_2.zip", "USMF_3.zip"]


@pytest.mark.parametrize("at", ["shared.runs.store.RunStore.stop_lane", "shared.runs.store.RunStore.end"])
def test_no_file_passes_one_that_did_not_succeed_though_the_app_dies_at_its_end(make_world: MakeWorld, at: str) -> None:
    world = make_world(settings=of_one_project(strictOrder=True))
    lane = a_broken_file_first(world)
    wake_and_die(world, lane, at)
    world.let_leases_run_out()
    world.services = world.new_process()
    world.run_until_quiet()

    assert ended_run(world, "USMF_1.zip").outcome == "Rejected"
    assert world.files("Input") == ["USMF_2.zip", "USMF_3.zip"]
    assert press_resume(world).done
    world.run_until_quiet()
    assert world.files("Success") == ["USMF_2.zip", "USMF_3.zip"]


HOW_IT_GOES_ON = "Run that file again or skip it on its page, or press 'Resume' of the flow in the list of runs."


@pytest.mark.parametrize("first", ["resume", "skip", "a rerun"])
def test_a_persons_pause_and_the_stop_at_a_file_each_last_until_they_are_ended(
    make_world: MakeWorld, first: str
) -> None:
    world = make_world(settings=of_one_project(strictOrder=True))
    lane = a_broken_file_first(world)
    as_soon_as(world, State.FINISHED, lambda run: actions.pause(run.lane, ME, world.services))
    world.run_until_quiet()
    (listed, *_) = list_view.list_runs(Filters(), "", world.services).lanes
    assert sure(listed.pause).text == (
        "a reason. strictOrder has stopped it as well, also after it is resumed: USMF_1.zip ended as Rejected, and no "
        "file may pass it."
    )
    failed = address_of(first_of(world))
    assert "skip" in offered(world, failed)

    answer = {
        "resume": lambda: actions.resume(lane, ME, world.services),
        "skip": lambda: actions.skip(failed, ME, world.services),
        "a rerun": lambda: reruns.run_again(failed, ME, world.services),
    }[first]()
    world.run_until_quiet()
    assert len(world.ended_runs()) == 1
    assert world.files("Input") == ["USMF_2.zip", "USMF_3.zip"]
    told = "strictOrder keeps it stopped" if first == "resume" else "Ada has paused the lane"
    assert told in sure(answer).message
    if first == "resume":  # said twice
        again = sure(actions.resume(lane, ME, world.services))
        assert not again.done
        assert f"USMF_1.zip ended as Rejected, and no file may pass it. {HOW_IT_GOES_ON}" in again.message
        assert f"'runs skip {first_of(world).run_id}'" in again.message

    press_resume(world)
    world.run_until_quiet()
    if first == "a rerun":  # which has failed as well
        assert ([run.file.name for run in world.ended_runs()], world.heads()) == (["USMF_1.zip"] * 2, {})
    else:
        assert world.files("Success") == ["USMF_2.zip", "USMF_3.zip"]


@pytest.mark.parametrize("state", [State.FOUND, State.CLAIMED], ids=str)
@pytest.mark.parametrize("how", ["newer", "broken JSON", "no row", "no metadata"])
def test_no_file_passes_a_damaged_record_until_a_person_has_put_it_aside(
    make_world: MakeWorld, how: str, state: State
) -> None:
    world = make_world(settings=of_one_project(strictOrder=True))
    lane = seen_in_turn(world, "USMF_1.zip", "USMF_2.zip")
    place = f"{lane}/{open_run(world, 'USMF_1.zip').sort_key}"
    if state is State.FOUND:
        damage(world, place, how)
    else:
        as_soon_as(world, state, lambda _run: damage(world, place, how))
        world.wake(lane)
        world.let_leases_run_out()
    for _ in range(10):
        world.wake(lane)
        tick(world)

    assert world.files("Success") == []
    (mail,) = [mail for mail in world.mails() if "damaged" in mail.subject]
    assert "blocks its lane" in mail.content
    assert "Put aside" in mail.content
    (waiting,) = [row for row in world.services.index.open_rows() if row.file_name == "USMF_2.zip"]
    assert sure(sure(shown(world, waiting.address).next).run_ahead).address != waiting.address
    (row,) = [row for row in world.services.index.open_rows() if row.address != waiting.address]
    assert not row.is_aside

    assert sure(actions.put_aside(row.address, ME, world.services)).done
    world.look()
    world.run_until_quiet()
    filed = ["USMF_1.zip", "USMF_2.zip"] if state is State.FOUND else ["USMF_2.zip"]
    assert (world.files("Success"), began(world)) == (filed, filed)


def test_a_file_of_that_name_for_another_company_does_not_take_the_place_of_the_one_that_stopped_the_lane(
    make_world: MakeWorld,
) -> None:
    world = make_world(settings=of_one_project(strictOrder=True, company={"from": "folder"}))
    files = [("DEMF", "1.zip"), ("USMF", "2.zip"), ("USMF", "1.zip")]
    for number, (company, name) in enumerate(files[:2]):
        os.utime(put_into(world, f"Input/{company}", name), (1_700_000_000 + number,) * 2)
    (world.folder / "Input" / "DEMF" / "1.zip").write_bytes(NO_PACKAGE)
    os.utime(world.folder / "Input" / "DEMF" / "1.zip", (1_700_000_000,) * 2)
    world.look()
    world.run_until_quiet()
    put_into(world, "Input/USMF", "1.zip")
    world.look()
    (stopped_at,) = world.ended_runs()
    actions.skip(address_of(stopped_at), ME, world.services)
    world.run_until_quiet()

    runs = sorted(world.ended_runs(), key=lambda run: run.state_since)
    assert [(run.file.sub_folder, run.file.name) for run in runs] == files


def test_a_file_without_a_lane_of_its_own_stops_no_other_data_project(make_world: MakeWorld) -> None:
    """The lanes of the other data projects would stay stopped when a person skips the file."""
    world = make_world(settings=one_import(strictOrder=True, dataProject="Customers {company}"))
    world.put("unnamed.zip", NO_PACKAGE)
    world.look()
    world.run_until_quiet()
    assert [run.outcome for run in world.ended_runs()] == ["Rejected"]

    world.put("USMF_1.zip")
    world.look()
    world.run_until_quiet()
    assert world.files("Success") == ["USMF_1.zip"]


def test_files_go_on_when_the_one_that_stopped_them_is_run_again_in_a_lane_of_mended_settings(
    make_world: MakeWorld,
) -> None:
    world = stopped(make_world)
    restart(world, **one_import(dataProject="Another", strictOrder=True))

    assert sure(reruns.run_again(address_of(first_of(world)), ME, world.services)).done
    do_duties(world.services)
    assert [pause.lane for pause in world.services.store.open_lanes().stopped] == []
    assert [len({run.lane for run in world.all_open_runs()}), len(world.heads())] == [2, 2]


def test_a_file_may_wait_for_another_import_for_as_long_as_its_flow_says(make_world: MakeWorld) -> None:
    settings = in_turn("groups", "customers")
    flows = json.loads(settings["INTEGRATIONS"])
    flows["imports"][1]["stuckAfterMinutes"] = 600
    world = make_world(settings={**settings, "INTEGRATIONS": json.dumps(flows), "IMPORT_STUCK_AFTER_MINUTES": "30"})
    put_into(world, "customers/Input", "USMF_c.zip")
    put_into(world, "groups/Input", "USMF_g.zip")
    world.onedrive.knobs.locked = {"USMF_g.zip": "resourceLocked"}
    world.look()
    (lane,) = [lane for lane in world.heads() if "customers" in lane]
    let_pass(world, lane, timedelta(minutes=90))

    assert open_run(world, "USMF_c.zip").problem is None


def test_people_are_told_which_import_waits_for_a_file_if_each_data_project_has_a_lane(make_world: MakeWorld) -> None:
    world = make_world(
        settings=one_import(strictOrder=True, dataProject="Customers {company}", alertRecipient="erp@contoso.com")
    )
    begin(world, "USMF_1.zip", content=NO_PACKAGE)
    world.run_until_quiet()
    world.clock.advance(16 * 60)
    do_duties(world.services)

    (mail,) = [mail for mail in world.mails() if "all files wait" in mail.subject]
    assert "import: all files wait" in mail.subject
    assert mail.recipients == ("erp@contoso.com",)


@pytest.mark.parametrize("keys", [{}, {"order": {"by": "name"}}], ids=["by age", "by name"])
@pytest.mark.parametrize("how", ["a rerun", "a file that was put right"])
def test_what_stopped_a_lane_goes_before_files_that_came_meanwhile_whatever_their_age_and_name(
    make_world: MakeWorld, how: str, keys: dict[str, Any]
) -> None:
    world = stopped(make_world, **keys)
    for name, time in (("USMF_0.zip", 1_700_000_000), ("USMF_00.zip", 1_600_000_000)):
        os.utime(world.put(name), (time,) * 2)
    world.look()
    if how == "a rerun":
        reruns.run_again(address_of(first_of(world)), ME, world.services)
    else:
        world.put("USMF_1.zip")
        world.look()
        actions.skip(address_of(first_of(world)), ME, world.services)
    os.utime(world.put("USMF_000.zip"), (1_500_000_000,) * 2)
    world.look()
    world.run_until_quiet()

    assert began(world)[:2] == ["USMF_1.zip"] * 2
    assert len(began(world)) == (2 if how == "a rerun" else 7)


def let_go_on(world: World, how: str) -> ActionResult:
    """Press "Skip" on the page of the file that has stopped the lane, or "Resume" of the flow."""
    if how == "resume":
        return press_resume(world)
    return sure(actions.skip(address_of(first_of(world)), ME, world.services))


@pytest.mark.parametrize("status", [503, 403])
@pytest.mark.parametrize("how", ["skip", "resume"])
def test_a_file_that_was_put_right_goes_first_though_no_scan_has_seen_it_before_a_person_lets_the_lane_go_on(
    make_world: MakeWorld, how: str, status: int
) -> None:
    world = stopped(make_world)
    world.put("USMF_1.zip")
    world.faults.add(graph_fault("GET", "/children", faults.status(status), times=None))
    refused = let_go_on(world, how)
    assert (refused.done, "/Input cannot be listed" in refused.message) == (False, True)
    world.faults.clear()
    assert let_go_on(world, how).done
    world.run_until_quiet()
    assert began(world) == ["USMF_1.zip", "USMF_1.zip", "USMF_2.zip", "USMF_3.zip"]


def test_in_a_drain_a_stopped_lane_stays_stopped_so_that_a_file_that_was_put_right_still_goes_first(
    make_world: MakeWorld,
) -> None:
    world = stopped(make_world)
    world.put("USMF_1.zip")
    failed = address_of(first_of(world))
    assert actions.drain(ME, world.services).done

    for refused in (sure(actions.skip(failed, ME, world.services)), press_resume(world)):
        assert (refused.done, "until the drain has ended" in refused.message) == (False, True)

    assert actions.end_drain(ME, world.services).done
    assert sure(actions.skip(failed, ME, world.services)).done
    world.run_until_quiet()
    assert began(world) == ["USMF_1.zip", "USMF_1.zip", "USMF_2.zip", "USMF_3.zip"]


@pytest.mark.parametrize("how", ["deleted", "changed"])
def test_the_lane_stops_again_if_the_file_of_the_rerun_is_gone_and_people_hear_of_it(
    make_world: MakeWorld, how: str
) -> None:
    world = stopped(make_world)
    reruns.run_again(address_of(first_of(world)), ME, world.services)
    file = world.folder / "Error" / "USMF_1.zip"
    if how == "deleted":
        file.unlink()
    else:
        file.write_bytes(package_named("USMF_1.zip"))
    world.run_until_quiet()

    assert world.files("Input") == ["USMF_2.zip", "USMF_3.zip"]
    (again,) = [run for run in world.ended_runs() if run.rerun_of]
    (mail,) = [mail for mail in world.mails() if "Withdrawn" in mail.subject]
    assert "All files behind it wait (strictOrder)" in mail.content
    assert "skip" in offered(world, address_of(again))
    assert sure(actions.skip(address_of(again), ME, world.services)).done
    world.run_until_quiet()
    assert world.files("Success") == ["USMF_2.zip", "USMF_3.zip"]


@pytest.mark.parametrize("how", ["skip", "resume"])
def test_a_lane_stays_stopped_while_the_file_that_was_put_right_is_too_young(make_world: MakeWorld, how: str) -> None:
    world = stopped(make_world, files={"minimumAgeSeconds": 60})
    modified = world.clock.now().timestamp()
    os.utime(world.put("USMF_1.zip"), (modified,) * 2)
    refused = let_go_on(world, how)
    assert (refused.done, "USMF_1.zip" in refused.message, "60 seconds" in refused.message) == (False, True, True)
    world.clock.advance(60)
    assert let_go_on(world, how).done
    world.run_until_quiet()
    assert began(world) == ["USMF_1.zip", "USMF_1.zip", "USMF_2.zip", "USMF_3.zip"]


def test_a_rerun_that_is_opened_once_more_after_it_succeeded_leaves_its_record_and_stops_no_lane(
    make_world: MakeWorld,
) -> None:
    """Two people press Run again, and the process of the first one stands still meanwhile."""
    world = make_world(settings=of_one_project(strictOrder=True), behaviour=Behaviour(outcome="Failed"))
    seen_in_turn(world, "USMF_1.zip", "USMF_2.zip")
    world.run_until_quiet()
    failed = address_of(first_of(world))
    world.fno.change(outcome="")
    create = RunStore.create

    def late(store: RunStore, run: Run) -> bool:
        world.monkeypatch.setattr(RunStore, "create", create)
        assert sure(reruns.run_again(failed, ME, world.services)).done
        world.run_until_quiet()
        return create(store, run)

    world.monkeypatch.setattr(RunStore, "create", late)
    assert sure(reruns.run_again(failed, ME, world.services)).done
    world.run_until_quiet()

    assert world.services.store.open_lanes().stopped == ()
    assert [run.outcome for run in world.ended_runs() if run.rerun_of] == [Outcome.SUCCEEDED]


@pytest.mark.parametrize("how", ["skip", "resume"])
def test_a_file_that_was_put_right_while_its_first_version_was_under_way_goes_first_as_well(
    make_world: MakeWorld, how: str
) -> None:
    world = make_world(settings=of_one_project(strictOrder=True), behaviour=Behaviour(outcome="Failed"))
    seen_in_turn(world, "USMF_1.zip", "USMF_2.zip", "USMF_3.zip")

    def put_right(_run: Run) -> None:
        world.put("USMF_1.zip")
        world.look()
        world.fno.change(outcome="")

    as_soon_as(world, State.EXECUTING, put_right)
    world.run_until_quiet()
    assert world.files("Input") == ["USMF_1.zip", "USMF_2.zip", "USMF_3.zip"]

    assert let_go_on(world, how).done
    world.run_until_quiet()
    assert began(world) == ["USMF_1.zip", "USMF_1.zip", "USMF_2.zip", "USMF_3.zip"]
