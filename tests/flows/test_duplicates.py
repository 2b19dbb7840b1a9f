"""The same content again: warned of, refused or allowed, decided by which run may have written its rows first."""

import json
from datetime import timedelta

import pytest

from local_cloud import faults
from local_cloud.finance_operations.knobs import Behaviour, Speed
from local_cloud.receivers import Receivers
from operations import reruns
from shared.imports.duplicates import KEPT_FOR
from shared.runs.addresses import address_of, ended_name
from shared.runs.run import Run
from shared.runs.states import Outcome, State
from tests.flows.conftest import MakeTold, MakeWorld
from tests.flows.trouble import (
    ME,
    begin,
    cancel,
    detail,
    end_in_contention,
    ended_run,
    fno_fault,
    heard,
    import_file,
    let_pass,
    look_and_finish,
    one_import,
    put_into,
    ran,
    restart,
    shown,
    sure,
    wake_and_die,
)
from tests.packages import build_package
from tests.world import PROJECT, World

QUICK = Speed(seconds_per_execution=1.0)
REFUSE = one_import(duplicates="refuse", dataProject=PROJECT)
FIRST, SECOND = "USMF_1.zip", "USMF_2.zip"
SAME = build_package()


@pytest.fixture
def refusing(make_world: MakeWorld) -> World:
    """A world whose import refuses the same content."""
    # A file that is sent again while its last execution runs, or seems to, is no matter here.
    return make_world(settings=REFUSE, speed=QUICK, behaviour=Behaviour(busy_project="refuse"))


def import_twice(world: World) -> tuple[Run, Run]:
    """Import the same content as two files; return their runs."""
    import_file(world, FIRST, SAME)
    import_file(world, SECOND, SAME)
    return ended_run(world, FIRST), ended_run(world, SECOND)


def test_the_same_content_is_imported_again_with_a_warning_that_leads_to_the_first_run(
    make_told: MakeTold, receivers: Receivers
) -> None:
    world = make_told(APP_URL="https://app.contoso.com")
    first, second = import_twice(world)

    assert second.outcome is Outcome.SUCCEEDED
    assert len(world.imports()) == 2
    assert second.first_import is not None
    assert second.first_import.run_id == first.run_id
    assert sure(world.services.store.run_at(second.first_import.address)).run_id == first.run_id
    assert shown(world, address_of(second)).first_import == second.first_import
    world.deliver_alerts()
    (alert,) = heard(receivers, "ended-")
    assert alert["runId"] == second.run_id
    assert f"https://app.contoso.com/api/runs/{second.first_import.address}" in alert["text"]


def test_it_is_refused_with_a_report_that_names_the_first_run_and_run_again_imports_it(refusing: World) -> None:
    first, second = import_twice(refusing)

    assert second.outcome is Outcome.REJECTED
    assert len(refusing.imports()) == 1
    report = (refusing.folder / "Error" / f"{SECOND}.report.txt").read_text("utf-8-sig")
    assert f"the same content as {FIRST}, which run {first.run_id} imported first" in report
    assert "press Run again" in report

    sure(reruns.run_again(address_of(second), ME, refusing.services))
    refusing.run_until_quiet()
    assert len(refusing.imports()) == 2


def test_it_is_allowed_without_a_mark(make_world: MakeWorld) -> None:
    world = make_world(settings=one_import(duplicates="allow"))
    _, second = import_twice(world)

    assert (second.outcome, second.first_import) == (Outcome.SUCCEEDED, None)
    assert world.services.container.list_names("content/") == []


def test_another_content_company_or_data_project_is_none(refusing: World) -> None:
    import_file(refusing, FIRST, SAME)
    import_file(refusing, "DEMF_1.zip", SAME)
    import_file(refusing, SECOND, build_package(rows=(("B", "Beta"),)))
    restart(refusing, **one_import(duplicates="refuse", dataProject="Other"))
    import_file(refusing, "USMF_3.zip", SAME)

    assert len(refusing.imports()) == 4


def test_two_flows_that_import_the_same_at_the_same_time_have_one_first_run(make_world: MakeWorld) -> None:
    flows = [
        {"name": name, "inputFolder": f"{name}/Input", "dataProject": PROJECT, "duplicates": "refuse"}
        for name in ("a", "b")
    ]
    world = make_world(settings={"INTEGRATIONS": json.dumps({"imports": flows})}, speed=QUICK)
    for name in ("a", "b"):
        put_into(world, f"{name}/Input", f"USMF_{name}.zip").write_bytes(SAME)
    look_and_finish(world)

    assert sorted(str(run.outcome) for run in world.ended_runs()) == ["Rejected", "Succeeded"]
    assert len(world.imports()) == 1


@pytest.mark.parametrize(
    "at", ["shared.imports.steps.key_to", "shared.clients.fno.client.FinanceOperations.import_from_package"]
)
def test_a_run_never_duplicates_itself_wherever_its_process_dies(refusing: World, at: str) -> None:
    lane = begin(refusing, FIRST, content=SAME)
    wake_and_die(refusing, lane, at)
    assert len(refusing.services.container.list_names("content/")) == 1
    refusing.let_leases_run_out()
    refusing.services = refusing.new_process()
    refusing.run_until_quiet()

    assert ended_run(refusing, FIRST).outcome is Outcome.SUCCEEDED
    assert len(refusing.imports()) == 1


REFUSED = faults.status(400, body=ran("The package is not valid: Manifest.xml is missing"))


@pytest.mark.parametrize("what", ["refused by F&O", "changed nothing", "failed in our check"])
def test_a_run_that_has_certainly_written_nothing_does_not_count(refusing: World, what: str) -> None:
    content = SAME
    match what:
        case "refused by F&O":
            refusing.faults.add(fno_fault("ImportFromPackage", REFUSED))
        case "changed nothing":
            end_in_contention(refusing, detail(), words="Major type A does not exist.")
        case _:
            content = b"no zip"
    import_file(refusing, FIRST, content)
    assert ended_run(refusing, FIRST).outcome in (Outcome.REJECTED, Outcome.FAILED)
    import_file(refusing, SECOND, SAME)
    import_file(refusing, "USMF_3.zip", SAME)

    assert [ended_run(refusing, name).outcome for name in (SECOND, "USMF_3.zip")] == [
        Outcome.SUCCEEDED,
        Outcome.REJECTED,  # the second one is the first now
    ]


def test_one_that_may_have_written_rows_counts_however_it_ended(refusing: World) -> None:
    end_in_contention(refusing, detail(created=1), words="Major type A does not exist.")
    _, second = import_twice(refusing)

    assert second.outcome is Outcome.REJECTED


def test_one_that_was_cancelled_while_f_and_o_worked_on_it_counts(make_world: MakeWorld) -> None:
    world = make_world(settings=REFUSE, speed=Speed(seconds_per_execution=60.0))
    lane = begin(world, FIRST, content=SAME)
    world.wake(lane)
    (run,) = world.all_open_runs()
    assert run.state is State.EXECUTING
    cancel(world, run)
    world.run_until_quiet()
    world.clock.advance(120)
    world.keep_watch()
    import_file(world, SECOND, SAME)

    assert ended_run(world, SECOND).outcome is Outcome.REJECTED


def test_a_rerun_imports_it_and_counts_for_what_comes_later(refusing: World) -> None:
    end_in_contention(refusing, detail(), words="Major type A does not exist.")
    import_file(refusing, FIRST, SAME)
    sure(reruns.run_again(address_of(ended_run(refusing, FIRST)), ME, refusing.services))
    refusing.run_until_quiet()
    import_file(refusing, SECOND, SAME)

    assert len(refusing.imports()) == 2  # the first one changed nothing
    assert ended_run(refusing, SECOND).outcome is Outcome.REJECTED


def test_after_90_days_nothing_is_remembered(refusing: World) -> None:
    import_file(refusing, FIRST, SAME)
    refusing.clock.advance((KEPT_FOR + timedelta(hours=1)).total_seconds())
    import_file(refusing, SECOND, SAME)

    assert ended_run(refusing, SECOND).outcome is Outcome.SUCCEEDED


def damage_mark(world: World) -> None:
    (name,) = world.services.container.list_names("content/")
    world.services.container.write(name, b"\xff")


def test_a_damaged_mark_refuses_until_a_person_runs_the_file_again(refusing: World) -> None:
    import_file(refusing, FIRST, SAME)
    damage_mark(refusing)
    import_file(refusing, SECOND, SAME)

    second = ended_run(refusing, SECOND)
    assert (second.outcome, len(refusing.imports())) == (Outcome.REJECTED, 1)
    report = (refusing.folder / "Error" / f"{SECOND}.report.txt").read_text("utf-8-sig")
    assert "Whether its content was imported before is unknown" in report
    assert "Look in F&O for its rows. If they are not there, press Run again" in report
    sure(reruns.run_again(address_of(second), ME, refusing.services))
    refusing.run_until_quiet()
    import_file(refusing, "USMF_3.zip", SAME)
    assert len(refusing.imports()) == 2
    assert f"the same content as {SECOND}" in ended_run(refusing, "USMF_3.zip").reason


def test_a_damaged_mark_is_warned_of(make_told: MakeTold, receivers: Receivers) -> None:
    world = make_told(APP_URL="https://app.contoso.com")
    import_file(world, FIRST, SAME)
    damage_mark(world)
    import_file(world, SECOND, SAME)

    assert ended_run(world, SECOND).outcome is Outcome.SUCCEEDED
    world.deliver_alerts()
    (alert,) = heard(receivers, "ended-")
    assert "the same content may have been imported again" in alert["title"]
    assert "The first run" not in alert["text"]


def test_the_content_of_a_run_whose_record_was_deleted_is_refused(refusing: World) -> None:
    import_file(refusing, FIRST, SAME)
    first = ended_run(refusing, FIRST)
    refusing.services.container.delete(ended_name(first.opened, first.run_id))
    import_file(refusing, SECOND, SAME)

    assert ended_run(refusing, SECOND).outcome is Outcome.REJECTED


def test_a_run_whose_company_was_mended_is_no_first_import_for_the_company_that_it_was_marked_for(
    refusing: World,
) -> None:
    restart(refusing, **one_import(duplicates="refuse", dataProject=PROJECT, company="USMF"))
    lane = begin(refusing, FIRST, content=SAME)
    refusing.faults.add(fno_fault("ImportFromPackage", faults.status(401), times=None))
    let_pass(refusing, lane, timedelta(minutes=3))
    refusing.faults.clear()
    restart(refusing, **one_import(duplicates="refuse", dataProject=PROJECT, company="DEMF"))
    let_pass(refusing, lane, timedelta(minutes=20))

    restart(refusing, **one_import(duplicates="refuse", dataProject=PROJECT, company="USMF"))
    import_file(refusing, SECOND, SAME)

    assert (ended_run(refusing, SECOND).outcome, ended_run(refusing, SECOND).reason) == (Outcome.SUCCEEDED, "")
    assert [company for company, _ in refusing.imports()] == ["DEMF", "USMF"]


def test_a_rule_that_was_mended_applies_to_a_file_that_f_and_o_has_only_refused(make_world: MakeWorld) -> None:
    world = make_world(settings=one_import(dataProject=PROJECT), speed=QUICK)
    import_file(world, FIRST, SAME)
    lane = begin(world, SECOND, content=SAME)
    world.faults.add(fno_fault("ImportFromPackage", faults.status(401), times=None))
    let_pass(world, lane, timedelta(minutes=3))
    world.faults.clear()

    restart(world, **one_import(duplicates="refuse", dataProject=PROJECT))
    let_pass(world, lane, timedelta(minutes=20))

    assert ended_run(world, SECOND).outcome is Outcome.REJECTED
    assert len(world.imports()) == 1


@pytest.mark.parametrize("rule", ["warn", "refuse"])
def test_a_content_is_remembered_from_its_last_import_on(make_world: MakeWorld, rule: str) -> None:
    world = make_world(settings=one_import(duplicates=rule, dataProject=PROJECT), speed=QUICK)
    _, second = import_twice(world)
    world.clock.advance(KEPT_FOR.total_seconds() - 3600)
    if rule == "refuse":
        reruns.run_again(address_of(second), ME, world.services)
        world.run_until_quiet()
    else:
        import_file(world, "USMF_3.zip", SAME)
    world.clock.advance(7200)
    import_file(world, "USMF_4.zip", SAME)

    fourth = ended_run(world, "USMF_4.zip")
    assert sure(fourth.first_import).file_name == FIRST
    assert fourth.outcome is (Outcome.REJECTED if rule == "refuse" else Outcome.SUCCEEDED)
