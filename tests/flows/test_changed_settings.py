"""A person changes the settings while runs are open: what was sent stays, what was not goes by the new ones."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from inbound_trigger.keep_watch import do_duties
from local_cloud import faults
from shared.runs.states import Outcome, State
from tests.exports import EXPORT, prepared
from tests.flows.trouble import (
    ALERTS,
    as_soon_as,
    begin,
    cancel,
    fno_fault,
    graph_fault,
    let_pass,
    minutes_go_by,
    one_import,
    open_run,
    restart,
    sure,
)
from tests.world import PROJECT, World

WORLD_SETTINGS = {**one_import(name="customers", dataProject=PROJECT), **ALERTS}
# What is left once the import is removed: an app needs one flow.
ONLY_AN_EXPORT = {
    "INTEGRATIONS": json.dumps(
        {"exports": [{"name": "out", "outputFolder": "Output", "dataProject": "Out", "company": "USMF"}]}
    )
}
RENAMED = one_import(name="customers of the north", dataProject=PROJECT)


def _as_soon_as_the_settings_change(world: World, state: State, settings: dict[str, str]) -> None:
    as_soon_as(world, state, lambda _: restart(world, **settings))


@pytest.mark.quick(cases=2)
@pytest.mark.parametrize("settings", [ONLY_AN_EXPORT, RENAMED], ids=["removed", "renamed"])
@pytest.mark.parametrize("state", [State.CLAIMED, State.SUBMITTING, State.EXECUTING, State.FINISHED])
def test_a_file_that_was_taken_up_is_imported_and_filed_as_its_flow_was(
    world: World, state: State, settings: dict[str, str]
) -> None:
    lane = begin(world)
    _as_soon_as_the_settings_change(world, state, settings)

    let_pass(world, lane, timedelta(minutes=10))

    assert world.heads() == {}
    assert world.imports() == [("USMF", 1)]
    assert world.files("Success") == ["USMF_1.zip"]


def test_a_file_that_nobody_has_taken_up_stays_where_it_is_once_its_flow_is_removed(world: World) -> None:
    lane = begin(world)
    restart(world, **ONLY_AN_EXPORT)

    let_pass(world, lane, timedelta(minutes=1))

    (run,) = world.ended_runs()
    assert (run.outcome, run.reason) == (
        Outcome.WITHDRAWN,
        "The settings no longer have an import named 'customers', so the file stays where it is.",
    )
    assert world.files("Input") == ["USMF_1.zip"]
    assert world.imports() == []


def test_a_file_that_nobody_has_taken_up_is_the_renamed_flows(world: World) -> None:
    lane = begin(world)
    restart(world, **RENAMED)

    let_pass(world, lane, timedelta(minutes=1))
    world.look()
    world.run_until_quiet()

    assert [run.flow_name for run in world.ended_runs() if run.outcome is Outcome.SUCCEEDED] == [
        "customers of the north"
    ]
    assert world.imports() == [("USMF", 1)]


def test_people_hear_of_a_removed_flow_with_the_list_of_its_open_runs_and_that_it_is_over(world: World) -> None:
    begin(world, "USMF_1.zip", "USMF_2.zip")
    lane = next(iter(world.heads()))
    _as_soon_as_the_settings_change(world, State.EXECUTING, ONLY_AN_EXPORT)
    world.wake(lane)

    do_duties(world.services)

    (mail,) = [each for each in world.mails() if "removed from the settings" in each.subject]
    assert "customers: removed from the settings, and 2 runs are open" in mail.subject
    assert "- USMF_1.zip (executing)" in mail.content
    assert "- USMF_2.zip (found)" in mail.content
    let_pass(world, lane, timedelta(minutes=10))
    do_duties(world.services)
    assert world.onedrive.mails[-1].subject.startswith("Resolved: customers: removed from the settings")


def test_what_f_and_o_was_sent_stays_in_its_environment(world: World) -> None:
    lane = begin(world)
    elsewhere = one_import(name="customers", dataProject=PROJECT, environmentUrl="http://127.0.0.1:1")
    _as_soon_as_the_settings_change(world, State.EXECUTING, elsewhere)

    let_pass(world, lane, timedelta(minutes=10))

    assert world.files("Success") == ["USMF_1.zip"]


@pytest.mark.parametrize("mended", [{"company": "DEMF"}, {"dataProject": "Another"}], ids=["company", "data project"])
def test_mended_settings_apply_to_a_file_that_f_and_o_has_only_refused(world: World, mended: dict[str, str]) -> None:
    restart(world, **one_import(name="customers", dataProject=PROJECT, company="USMF"))
    lane = begin(world)
    world.faults.add(fno_fault("ImportFromPackage", faults.status(401), times=None))
    let_pass(world, lane, timedelta(minutes=3))
    assert world.files("Processing") == ["USMF_1.zip"]
    world.faults.clear()

    restart(world, **one_import(name="customers", **{"dataProject": PROJECT, "company": "USMF", **mended}))
    let_pass(world, lane, timedelta(minutes=20))

    (run,) = world.ended_runs()
    assert run.outcome is Outcome.SUCCEEDED
    assert (run.company, run.data_project) == (mended.get("company", "USMF"), mended.get("dataProject", PROJECT))


def test_an_export_that_is_planned_is_made_although_its_flow_is_removed(world: World) -> None:
    restart(world, INTEGRATIONS="", **EXPORT)
    prepared(world)
    world.start_exports()
    (lane,) = world.heads()
    restart(world, **one_import(name="customers"), EXPORT_DATA_PROJECT="", EXPORT_COMPANY="")

    let_pass(world, lane, timedelta(minutes=10))

    assert world.heads() == {}
    assert len(world.files("Output")) == 1


def test_a_file_of_a_renamed_flow_that_fails_stops_its_lane_as_it_would_have(world: World) -> None:
    restart(world, **one_import(name="customers", dataProject=PROJECT, strictOrder=True))
    lane = begin(world)
    world.wake(lane)
    assert [run.state for run in world.open_runs()] == [State.EXECUTING]
    restart(world, **one_import(name="customers of the north", dataProject=PROJECT, strictOrder=True))
    world.faults.add(fno_fault("GetExecutionSummaryStatus", faults.status(200, body={"value": "Failed"}), times=None))
    let_pass(world, lane, timedelta(minutes=10))

    pause = world.services.store.pause_of(lane)
    assert pause is not None
    assert pause.why == "USMF_1.zip ended as Failed, and no file may pass it."


def test_a_file_that_a_person_cancelled_in_input_is_over_though_its_flow_is_removed_then(world: World) -> None:
    lane = begin(world)
    world.onedrive.knobs.locked = {"USMF_1.zip": "resourceLocked"}
    cancel(world, open_run(world, "USMF_1.zip"))
    let_pass(world, lane, timedelta(minutes=1))
    restart(world, **ONLY_AN_EXPORT)

    let_pass(world, lane, timedelta(minutes=10))

    (run,) = world.ended_runs()
    assert (run.outcome, run.reason) == (
        Outcome.CANCELLED_BY_PERSON,
        "Cancelled by Ada: a reason. The file was not submitted to F&O, so none of it is imported. The settings no "
        "longer have an import named 'customers', so the file stays where it is.",
    )
    assert world.files("Input") == ["USMF_1.zip"]


def test_a_file_that_a_person_cancelled_in_input_is_not_imported_under_the_new_name_of_its_flow(world: World) -> None:
    lane = begin(world)
    world.onedrive.knobs.locked = {"USMF_1.zip": "resourceLocked"}
    cancel(world, open_run(world, "USMF_1.zip"))
    let_pass(world, lane, timedelta(minutes=1))
    restart(world, **RENAMED)
    world.onedrive.knobs.locked = {}

    let_pass(world, lane, timedelta(minutes=10))
    world.look()
    minutes_go_by(world, 10)

    assert (world.imports(), world.files("Input"), world.files("Error")[0]) == ([], [], "USMF_1.zip")


def test_a_file_that_was_refused_in_input_is_filed_though_its_flow_is_removed_before(world: World) -> None:
    lane = begin(world, content=b"")  # which is refused after ten minutes
    world.faults.add(graph_fault("PATCH", "/items/", faults.status(503), times=None))
    let_pass(world, lane, timedelta(minutes=12))
    assert [run.state for run in world.open_runs()] == [State.FINISHED]
    restart(world, **ONLY_AN_EXPORT)
    world.faults.clear()

    let_pass(world, lane, timedelta(minutes=10))

    (run,) = world.ended_runs()
    assert (run.outcome, run.problem) == (Outcome.REJECTED, None)
    assert world.files("Error")[0] == "USMF_1.zip"


def _written_by_a_newer_version(world: World, **settings: object) -> None:
    """Change what the record of the only open run keeps of its flow."""
    (run,) = world.open_runs()
    saved = {**json.loads(run.flow_settings), **settings}
    world.services.store.save(replace(run, flow_settings=json.dumps(saved)))


@pytest.mark.parametrize("settings", [WORLD_SETTINGS, ONLY_AN_EXPORT], ids=["configured", "removed"])
def test_a_setting_of_a_newer_version_inside_another_one_blocks_no_run(world: World, settings: dict[str, str]) -> None:
    lane = begin(world)
    world.wake(lane)
    _written_by_a_newer_version(world, filing={"dateFolders": "none", "newer": {"x": 1}})
    restart(world, **settings)

    let_pass(world, lane, timedelta(minutes=10))

    assert world.files("Success") == ["USMF_1.zip"]


def test_a_value_of_a_newer_version_blocks_only_a_run_whose_flow_was_removed(world: World) -> None:
    lane = begin(world)
    world.wake(lane)
    _written_by_a_newer_version(world, filing={"dateFolders": "year/week"})
    restart(world, **ONLY_AN_EXPORT)
    let_pass(world, lane, timedelta(minutes=10))
    assert "were written by another version of the app" in sure(world.open_runs()[0].problem).text

    restart(world, **WORLD_SETTINGS)
    let_pass(world, lane, timedelta(minutes=10))

    assert world.files("Success") == ["USMF_1.zip"]


def test_report_and_result_go_where_the_file_went_although_the_settings_change_in_between(world: World) -> None:
    def settings(folders: str) -> dict[str, str]:
        filing = {"dateFolders": folders}
        return one_import(name="customers", dataProject=PROJECT, resultFile=True, filing=filing)

    restart(world, **settings("none"))
    world.onedrive.knobs.malware = ["USMF_1.zip"]
    world.faults.add(graph_fault("PUT", "content", faults.status(503), times=None))
    lane = begin(world)
    let_pass(world, lane, timedelta(seconds=1))
    assert world.files("Error") == ["USMF_1.zip"]
    world.faults.clear()
    restart(world, **settings("year/month"))

    let_pass(world, lane, timedelta(minutes=10))

    assert world.files("Error") == ["USMF_1.zip", "USMF_1.zip.report.txt", "USMF_1.zip.result.json"]
