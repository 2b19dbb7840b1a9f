"""A file has one open run, whatever flow, lane or name it was found under, and is imported once."""

import os
from dataclasses import replace
from datetime import timedelta

import pytest

from local_cloud import faults
from local_cloud.finance_operations.knobs import Speed
from shared.runs.addresses import sort_key_of
from shared.runs.states import Outcome, State
from tests.flows.conftest import MakeWorld
from tests.flows.trouble import begin, fno_fault, let_pass, one_import, restart, two_scans_at_once
from tests.world import PROJECT, World

TAKEN_OUT = "taken out"
WORLD_SETTINGS = one_import(name="first", dataProject=PROJECT)
CHANGED = {
    "another flow": one_import(name="second", dataProject=PROJECT),
    "another lane": one_import(name="first", dataProject="asset-major-TYPES-2"),
    "other folders": one_import(name="third", processingFolder="Other/Processing", successFolder="Success"),
}


def finish_all(world: World, *settings: dict[str, str]) -> None:
    """Let every lane run to its end, in turn under the settings that were there at some time."""
    for each in settings:
        restart(world, **each)
        for lane in list(world.heads()):
            let_pass(world, lane, timedelta(minutes=2))


@pytest.mark.quick(cases=2)
@pytest.mark.parametrize("changed", CHANGED.values(), ids=list(CHANGED))
@pytest.mark.parametrize("newer_goes_first", [True, False])
def test_two_scans_with_different_settings_import_a_file_once(
    world: World, changed: dict[str, str], *, newer_goes_first: bool
) -> None:
    world.put("USMF_1.zip")

    two_scans_at_once(world, lambda: setattr(world, "_more_settings", changed))
    assert 1 <= len(world.all_open_runs()) <= 2
    finish_all(world, *((changed, WORLD_SETTINGS) if newer_goes_first else (WORLD_SETTINGS, changed)))
    assert world.heads() == {}

    assert world.imports() == [("USMF", 1)]
    assert world.files("Success") == ["USMF_1.zip"]
    assert sorted(run.outcome for run in world.ended_runs() if run.outcome)[0] is Outcome.SUCCEEDED
    assert [run.reason for run in world.ended_runs() if TAKEN_OUT in run.reason] == []


def test_a_file_that_is_renamed_and_touched_between_two_scans_is_imported_once(world: World) -> None:
    world.put("USMF_1.zip")

    def rename() -> None:
        drive = f"drives/{world.onedrive.drive_id}"
        folder_id, onedrive = world.services.folders.find(drive, "/Input"), world.services.onedrive(drive)
        (item,) = onedrive.list_files(folder_id)
        onedrive.move(item.item_id, to_folder_id=folder_id, name="USMF_one.zip", etag=None)
        os.utime(world.folder / "Input" / "USMF_one.zip", (1_700_000_000, 1_700_000_000))

    two_scans_at_once(world, rename)
    assert len(world.all_open_runs()) == 2
    world.run_until_quiet(at_most_s=7200)

    assert world.imports() == [("USMF", 1)]
    assert world.files("Success") == ["USMF_one.zip"]
    assert len({run.file.item_id for run in world.ended_runs()}) == 1
    assert [run.reason for run in world.ended_runs() if TAKEN_OUT in run.reason] == []


@pytest.mark.quick(cases=2)
@pytest.mark.parametrize("executing_s", [10.0, 600.0], ids=["it has ended", "it is with F&O"])
@pytest.mark.parametrize(
    ("place", "another_lane"),
    [(timedelta(days=-1), ""), (timedelta(), ""), (timedelta(days=-1), "in-another"), (timedelta(), "in-another")],
    ids=["in front", "behind", "in front in another lane", "behind in another lane"],
)
def test_a_second_run_of_a_file_says_that_it_was_imported_and_never_that_it_was_taken_out(
    make_world: MakeWorld, executing_s: float, place: timedelta, another_lane: str
) -> None:
    world = make_world(speed=Speed(seconds_per_execution=executing_s))
    lane = begin(world)
    (run,) = world.all_open_runs()
    let_pass(world, lane, timedelta(seconds=30))
    order = sort_key_of(world.clock.now() + place, run.file.item_id)
    second = replace(run, run_id="0123456789ab", sort_key=order, lane=another_lane or lane)
    world.services.store.create(second)

    world.run_until_quiet(at_most_s=7200)

    assert world.imports() == [("USMF", 1)]
    ended = next(each for each in world.ended_runs() if each.run_id == second.run_id)
    assert ended.outcome is Outcome.WITHDRAWN
    assert TAKEN_OUT not in ended.reason
    assert "already in" in ended.reason or "importing the same file" in ended.reason


def test_a_file_in_processing_is_imported_though_the_settings_name_another_folder_by_now(world: World) -> None:
    lane = begin(world)
    world.faults.add(fno_fault("GetAzureWriteUrl", faults.status(503), times=None))
    let_pass(world, lane, timedelta(seconds=20))
    (run,) = world.all_open_runs()
    assert run.state is State.CLAIMED
    world.faults.clear()
    restart(world, **one_import(name="first", dataProject=PROJECT, processingFolder="New/Processing"))

    world.run_until_quiet(at_most_s=7200)

    assert world.imports() == [("USMF", 1)]
    assert world.files("Success") == ["USMF_1.zip"]


def test_a_run_in_a_lane_that_the_settings_do_not_name_any_more_goes_on(world: World) -> None:
    lane = begin(world)
    restart(world, **one_import(name="first", dataProject="Another"))
    world.put("USMF_2.zip")
    assert world.look() == 1
    assert len(world.heads()) == 2

    world.run_until_quiet(at_most_s=7200)

    assert sorted(world.files("Success")) == ["USMF_1.zip", "USMF_2.zip"]
    assert lane not in world.heads()
