"""Options of an import, its row counts, where its file is filed, and the result for the sender."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from local_cloud import faults
from local_cloud.finance_operations.knobs import Behaviour, Speed
from shared.runs.addresses import address_of
from shared.runs.states import Outcome, State
from tests.flows.conftest import MakeWorld
from tests.flows.trouble import (
    ALERTS,
    as_soon_as,
    begin,
    ended_run,
    fno_fault,
    graph_fault,
    import_file,
    let_pass,
    look_and_finish,
    one_import,
    ran,
    restart,
    shown,
    sure,
    wake_and_die,
)
from tests.packages import build_package
from tests.world import ENTITY, World

WORLD_SETTINGS = ALERTS
NAME = "USMF_1.zip"
ONE_FAILS = build_package(rows=(("D", "Delta"), ("B", "#ERROR here"), ("C", "Gamma")))
NOTHING_NEW = build_package(replace={"ReadMe.txt": b"The same row as in every other package of these tests."})
DETAILS = "DataManagementExecutionJobDetails"
RESULT = json.loads(Path(__file__).parents[2].joinpath("docs", "result.schema.json").read_text("utf-8"))
MONDAY_EVENING = datetime(2026, 11, 30, 20, 0, tzinfo=UTC)


def _result(world: World, path: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((world.folder / path).read_text("utf-8"))
    Draft202012Validator(RESULT, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(result)
    return result


# What F&O is told


def test_a_file_for_staging_only_reaches_no_target_table_and_no_row_of_it_is_called_failed(
    make_world: MakeWorld,
) -> None:
    world = make_world(settings=one_import(execute=False))

    import_file(world, NAME)

    run = ended_run(world, NAME)
    assert world.imports() == []
    assert (run.outcome, run.counts[0].staged) == (Outcome.SUCCEEDED, 1)
    view = shown(world, address_of(run))
    assert view.is_staging_only
    assert (view.counts[0].staged, view.counts[0].created, view.counts[0].neither) == (1, None, None)


def test_staging_only_is_over_by_its_staging_status_if_f_and_o_says_unknown_for_good(make_world: MakeWorld) -> None:
    world = make_world(settings=one_import(execute=False), behaviour=Behaviour(outcome="Unknown"))

    import_file(world, NAME)

    assert ended_run(world, NAME).outcome is Outcome.SUCCEEDED


def test_what_a_run_may_have_told_f_and_o_stays_with_it_when_settings_are_mended(make_world: MakeWorld) -> None:
    """The answer to the first submit was lost, and the request too: the second one says the same."""
    world = make_world(settings=one_import(dataProject="Before", execute=False))
    world.faults.add(fno_fault("ImportFromPackage", faults.reset_before()))
    lane = begin(world, NAME)
    world.wake(lane)

    restart(world, **one_import(dataProject="After", company="DEMF", overwrite=False))
    let_pass(world, lane, timedelta(hours=1))
    world.run_until_quiet()

    (execution,) = world.fno.executions
    assert (execution.data_project, execution.company, execution.reaches_target) == ("Before", "USMF", False)
    run = ended_run(world, NAME)
    assert run.arguments is not None
    assert (run.arguments.overwrite, run.arguments.execute) == (True, False)


def test_mended_settings_apply_to_a_run_that_f_and_o_has_refused_for_certain(make_world: MakeWorld) -> None:
    world = make_world(settings=one_import(overwrite=False))
    refusal = ran("The data project 'X' exists and overwrite has not been specified.")
    world.faults.add(fno_fault("ImportFromPackage", faults.status(400, body=refusal)))
    lane = begin(world, NAME)
    world.wake(lane)

    restart(world, **one_import(overwrite=True, execute=False))
    let_pass(world, lane, timedelta(hours=1))

    run = ended_run(world, NAME)
    assert run.arguments is not None
    assert (run.outcome, run.arguments.overwrite, run.arguments.execute) == (Outcome.SUCCEEDED, True, False)


def test_a_file_that_appears_in_an_off_time_waits_in_input_says_so_and_goes_on_by_itself(
    make_world: MakeWorld,
) -> None:
    world = make_world(settings=one_import(notBetween=[{"days": "30", "hours": "18:00-21:00"}]), at=MONDAY_EVENING)
    lane = begin(world, NAME)
    let_pass(world, lane, timedelta(minutes=50))

    (run,) = world.open_runs()
    assert (world.files("Input"), world.calls("GetAzureWriteUrl")) == ([NAME], 0)
    waits_for = sure(shown(world, address_of(run)).next).waits_for
    assert "nothing is imported (notBetween). Flow import goes on at 2026-11-30 21:00 UTC" in waits_for
    world.run_until_quiet()

    done = ended_run(world, NAME)
    assert done.outcome is Outcome.SUCCEEDED
    assert sure(done.ended) >= datetime(2026, 11, 30, 21, 0, tzinfo=UTC)
    assert world.mails() == []


def test_the_page_of_a_file_that_waits_says_until_when_in_utc_and_in_the_zone_of_the_setting(
    make_world: MakeWorld,
) -> None:
    off_time = {"days": "30", "hours": "18:00-24:00", "timeZone": "Europe/Berlin"}
    world = make_world(settings=one_import(notBetween=[off_time]), at=MONDAY_EVENING)
    let_pass(world, begin(world, NAME), timedelta(minutes=1))

    (run,) = world.open_runs()
    waits_for = sure(shown(world, address_of(run)).next).waits_for
    assert "goes on at 2026-11-30 23:00 UTC (2026-12-01 00:00 in Europe/Berlin)" in waits_for


def test_a_file_that_was_claimed_before_an_off_time_is_not_submitted_in_it(make_world: MakeWorld) -> None:
    world = make_world(
        settings=one_import(notBetween=[{"hours": "18:00-19:00"}]), at=MONDAY_EVENING - timedelta(hours=2, seconds=30)
    )
    as_soon_as(world, State.CLAIMED, lambda _: world.clock.advance(60))
    lane = begin(world, NAME)
    let_pass(world, lane, timedelta(minutes=30))

    assert world.files("Processing") == [NAME]
    assert world.calls("ImportFromPackage") == 0
    world.run_until_quiet()
    assert world.imports() == [("USMF", 1)]


def test_a_flow_says_after_which_time_a_person_is_told_of_a_long_execution(make_world: MakeWorld) -> None:
    world = make_world(
        settings={**one_import(stuckAfterMinutes=90), "IMPORT_STUCK_AFTER_MINUTES": "60"},
        behaviour=Behaviour(never_ends=True),
    )
    lane = begin(world, NAME)
    let_pass(world, lane, timedelta(minutes=80))
    told_before = len(world.mails())
    let_pass(world, lane, timedelta(minutes=30))

    assert (told_before, len(world.mails())) == (0, 1)
    world.fno.end_now(world.open_runs()[0].execution_id)
    world.run_until_quiet()


# Where a file is filed


@pytest.mark.parametrize(("word", "folder"), [("error", "Error"), ("success", "Success"), ("folder", "Partial")])
def test_a_file_of_which_some_rows_failed_goes_where_the_flow_says_and_its_report_follows(
    make_world: MakeWorld, word: str, folder: str
) -> None:
    world = make_world(settings=one_import(filing={"partiallySucceeded": word}))

    import_file(world, NAME, ONE_FAILS)

    assert {NAME, f"{NAME}.report.txt", f"{NAME}.errors.csv"} <= set(world.files(folder))
    (mail,) = world.mails()
    assert ended_run(world, NAME).report_url in mail.content


def test_a_file_is_filed_once_below_folders_by_date_though_the_day_changes_between_two_tries(
    make_world: MakeWorld,
) -> None:
    world = make_world(
        settings=one_import(filing={"dateFolders": "year/month/day"}, resultFile=True),
        at=datetime(2026, 11, 30, 23, 59, 30, tzinfo=UTC),
    )
    lane = begin(world, NAME)
    world.faults.add(graph_fault("PUT", "result", faults.status(503), times=5))
    let_pass(world, lane, timedelta(minutes=10))
    world.run_until_quiet()
    assert sure(ended_run(world, NAME).ended).day == 1

    day = world.folder / "Success" / "2026" / "11" / "30"
    assert sorted(path.name for path in day.iterdir()) == [NAME, f"{NAME}.result.json"]
    assert not (world.folder / "Success" / "2026" / "12").exists()


# Counts


def test_the_rows_of_each_entity_are_in_record_page_report_and_alert(world: World) -> None:
    import_file(world, NAME, ONE_FAILS)

    run = ended_run(world, NAME)
    (counts,) = run.counts
    assert (counts.entity, counts.to_be_processed, counts.staged, counts.created, counts.updated, counts.neither) == (
        *(ENTITY, 3, 3, 2, 0, 1),
    )
    told = f"{ENTITY}: 3 in the file, 3 staged, 2 created, 0 updated, 1 failed"
    assert told in (world.folder / "Error" / f"{NAME}.report.txt").read_text("utf-8-sig")
    (mail,) = world.mails()
    assert told in mail.content
    assert shown(world, address_of(run)).counts[0].neither == 1


def test_a_package_that_succeeds_costs_one_call_for_its_counts(world: World) -> None:
    import_file(world, NAME)

    assert world.calls(DETAILS) == 1
    assert (ended_run(world, NAME).counts[0].created, ended_run(world, NAME).warning) == (1, "")


@pytest.mark.parametrize(
    ("action", "calls"),
    [
        (faults.status(503), 3),
        (faults.garbage(), 3),
        (faults.status(200, body={"value": []}), 3),
        (faults.status(403), 1),
    ],
)
def test_a_file_is_filed_without_counts_soon_if_f_and_o_does_not_return_them(
    world: World, action: faults.Action, calls: int
) -> None:
    world.faults.add(fno_fault(DETAILS, action, times=None))

    import_file(world, NAME)

    run = ended_run(world, NAME)
    assert (run.outcome, world.files("Success"), world.calls(DETAILS)) == (Outcome.SUCCEEDED, [NAME], calls)
    assert "F&O did not return the row counts" in shown(world, address_of(run)).counts_note
    assert sure(run.ended) - sure(run.outcome_known) < timedelta(seconds=10)
    assert world.mails() == []


def test_a_property_that_f_and_o_does_not_have_leaves_the_other_counts(world: World) -> None:
    row = {"EntityName": ENTITY, "TargetRecordsCreatedCount": 1}
    world.faults.add(fno_fault(DETAILS, faults.status(200, body={"value": [row]})))

    import_file(world, NAME)

    (counts,) = ended_run(world, NAME).counts
    assert (counts.created, counts.updated, counts.neither) == (1, None, None)


@pytest.mark.parametrize(("keys", "alerts"), [({"counts": {"warnIfZeroRows": True}}, 1), ({}, 0)])
def test_an_import_that_succeeds_without_a_row_is_told_if_the_flow_asks_for_it(
    make_world: MakeWorld, keys: dict[str, Any], alerts: int
) -> None:
    world = make_world(settings=one_import(**keys))

    import_file(world, "USMF_2.zip")
    import_file(world, NAME, NOTHING_NEW)

    mails = world.mails()
    assert len(mails) == alerts
    assert all("created and updated 0 rows" in mail.content for mail in mails)
    assert world.files("Success") == [NAME, "USMF_2.zip"]


# The result for the sender


def test_a_result_lies_beside_a_file_that_succeeded_and_beside_one_that_failed(make_world: MakeWorld) -> None:
    world = make_world(settings={**one_import(resultFile=True), "APP_URL": "https://app.contoso.com"})

    import_file(world, NAME)
    import_file(world, "USMF_2.zip", ONE_FAILS)
    import_file(world, "USMF_3.zip", b"Dear Sir or Madam")

    good, partial, rejected = (
        _result(world, f"{folder}/{name}.result.json")
        for folder, name in (("Success", NAME), ("Error", "USMF_2.zip"), ("Error", "USMF_3.zip"))
    )
    run = ended_run(world, NAME)
    assert (good["outcome"], good["company"], good["executionId"]) == ("Succeeded", "USMF", run.execution_id)
    assert (good["counts"][0]["created"], good["counts"][0]["failed"]) == (1, None)
    address = good["runUrl"].removeprefix("https://app.contoso.com/api/runs/")
    assert sure(world.services.store.run_at(address)).run_id == good["runId"] == run.run_id
    assert (partial["outcome"], partial["counts"][0]["failed"]) == ("PartiallySucceeded", 1)
    assert partial["reportUrl"] == ended_run(world, "USMF_2.zip").report_url != ""
    assert (rejected["outcome"], rejected["executionId"], rejected["submitted"]) == ("Rejected", "", None)
    assert "not a zip" in rejected["reason"]


def test_a_result_that_onedrive_refuses_once_is_written_after_that(make_world: MakeWorld) -> None:
    world = make_world(settings=one_import(resultFile=True))
    world.faults.add(graph_fault("PUT", "result", faults.status(403)))

    import_file(world, NAME)

    assert _result(world, f"Success/{NAME}.result.json")["outcome"] == "Succeeded"
    assert ended_run(world, NAME).warning == ""


@pytest.mark.parametrize(("folder", "content"), [("Success", None), ("Error", b"Dear Sir or Madam")])
def test_people_are_told_if_a_result_cannot_be_written(
    make_world: MakeWorld, folder: str, content: bytes | None
) -> None:
    world = make_world(settings=one_import(resultFile=True))
    world.faults.add(graph_fault("PUT", "result", faults.status(403), times=None))

    import_file(world, NAME, content)

    assert NAME in world.files(folder)
    (mail,) = world.mails()
    assert f"could not put the result (resultFile) beside {NAME}" in mail.content
    assert ("not a zip" in mail.content) is (content is not None)


def test_a_result_is_written_once_though_the_process_dies_behind_it_and_never_over_another_file(
    make_world: MakeWorld,
) -> None:
    world = make_world(settings=one_import(resultFile=True), speed=Speed(seconds_per_execution=0.0))
    lane = begin(world, NAME)
    wake_and_die(world, lane, "shared.imports.steps._check_in")
    world.let_leases_run_out()
    look_and_finish(world)
    assert world.files("Success") == [NAME, f"{NAME}.result.json"]

    somebodys = world.folder / "Success" / "USMF_2.zip.result.json"
    somebodys.write_bytes(b"mine")
    import_file(world, "USMF_2.zip")

    assert somebodys.read_bytes() == b"mine"
    own = f"USMF_2.zip.result ({ended_run(world, 'USMF_2.zip').run_id}).json"
    assert _result(world, f"Success/{own}")["name"] == "USMF_2.zip"
