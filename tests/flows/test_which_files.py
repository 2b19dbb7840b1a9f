"""Which files an import takes, when, and what becomes of those that none takes; several imports may share a folder."""

import json
import os
import time
from collections.abc import Mapping
from typing import Any, Final

import pytest

from local_cloud import faults
from local_cloud.receivers import Receivers
from operations import actions
from shared.runs.states import Outcome
from shared.scan import scan
from tests.flows.conftest import MakeTold, MakeWorld
from tests.flows.trouble import ME, graph_fault, heard, tick, two_scans_at_once
from tests.world import World


def flow(name: str, *include: str, **keys: Any) -> dict[str, Any]:
    """Return an import from Input of the files that match."""
    files = {"include": list(include)} if include else {}
    return {"name": name, "inputFolder": "Input", "dataProject": name, "files": files, **keys}


def settings(*flows: Mapping[str, Any]) -> dict[str, str]:
    return {"INTEGRATIONS": json.dumps({"imports": flows}), "IMPORT_DATA_PROJECT": ""}


SHARED: Final = settings(flow("groups", "*_groups_*"), flow("vendors", "*_vendors_*", "*_groups_*"))


def taken_by(world: World) -> dict[str, str]:
    return {run.file.name: run.flow_name for run in world.all_open_runs()}


def test_a_shared_folder_is_listed_once_and_the_first_import_that_matches_has_the_file(make_world: MakeWorld) -> None:
    world = make_world(settings=SHARED)
    for name in ("USMF_groups_1.zip", "USMF_VENDORS_1.zip", "USMF_other_1.zip"):
        world.put(name)

    assert world.look() == 2

    assert taken_by(world) == {"USMF_groups_1.zip": "groups", "USMF_VENDORS_1.zip": "vendors"}
    assert sum(call.method == "GET" and call.path.endswith("/children") for call in world.faults.calls) == 1
    world.run_until_quiet()
    assert world.files("Success") == ["USMF_VENDORS_1.zip", "USMF_groups_1.zip"]
    assert world.files("Input") == ["USMF_other_1.zip"]


def test_excluded_files_are_not_taken_and_ignored_names_go_before_all(make_world: MakeWorld) -> None:
    files = {"include": ["USMF*"], "exclude": ["*draft*"]}
    world = make_world(settings={**settings({**flow("a"), "files": files}), "IMPORT_IGNORED_NAMES": "*.tmp"})
    for name in ("USMF_1.zip", "USMF_draft.zip", "USMF_2.zip.tmp", "DEMF_1.zip"):
        world.put(name)

    world.look()

    assert list(taken_by(world)) == ["USMF_1.zip"]


def test_a_file_that_is_renamed_between_two_scans_has_one_import_that_of_its_new_name(make_world: MakeWorld) -> None:
    world = make_world(settings=SHARED)
    file = world.put("USMF_groups_1.zip")

    two_scans_at_once(world, lambda: file.rename(file.with_name("USMF_vendors_1.zip")))
    world.run_until_quiet()
    world.look()
    world.run_until_quiet()

    ended = world.ended_runs()
    assert world.imports() == [("USMF", 1)]
    assert [run.flow_name for run in ended if run.outcome is Outcome.SUCCEEDED] == ["vendors"]
    assert [run.reason for run in ended if run.outcome is Outcome.WITHDRAWN] == [
        "The file was renamed to USMF_vendors_1.zip, which flow groups does not take."
    ]


def test_a_file_is_taken_only_once_it_was_left_alone_for_its_imports_minimum_age(make_world: MakeWorld) -> None:
    world = make_world(settings=settings({**flow("a"), "files": {"minimumAgeSeconds": 600}}))
    world.put("USMF_1.zip")
    assert world.look() == 0

    world.clock.advance(601)
    assert world.look() == 1


def test_a_file_that_changes_before_its_claim_waits_for_its_minimum_age_again(make_world: MakeWorld) -> None:
    world = make_world(settings=settings({**flow("a"), "files": {"minimumAgeSeconds": 600}}))
    file = world.put("USMF_1.zip")
    os.utime(file, (time.time() - 3600,) * 2)
    world.look()
    file.write_bytes(file.read_bytes())

    world.run_until_quiet()
    assert world.look() == 0
    world.clock.advance(601)
    world.look()
    world.run_until_quiet()

    assert [run.outcome for run in world.ended_runs()] == [Outcome.WITHDRAWN, Outcome.SUCCEEDED]
    assert world.imports() == [("USMF", 1)]


def test_a_file_whose_date_is_far_ahead_does_not_wait_for_years(make_world: MakeWorld) -> None:
    world = make_world(settings=settings({**flow("a"), "files": {"minimumAgeSeconds": 600}}))
    os.utime(world.put("USMF_1.zip"), (time.time() + 10 * 365 * 86400,) * 2)

    assert world.look() == 1


def test_a_file_that_no_import_takes_stays_and_is_reported(make_told: MakeTold, receivers: Receivers) -> None:
    world = make_told(**SHARED)
    world.put("USMF_other.zip")

    tick(world, minutes=8)

    (alert,) = heard(receivers, "stray-")
    assert alert["title"] == "groups: 'USMF_other.zip' in '/Input' matches no import"
    assert "files.include" in alert["text"]
    assert world.files("Input") == ["USMF_other.zip"]


def test_a_file_that_no_import_takes_is_moved_to_its_folder_after_some_minutes_and_over_no_other(
    make_told: MakeTold, receivers: Receivers
) -> None:
    world = make_told(**settings(flow("a", "*_a_*", unmatchedFolder="Unmatched"), flow("b", "*_b_*")))
    (world.folder / "Unmatched").mkdir()
    (world.folder / "Unmatched" / "other.zip").write_bytes(b"an older one")
    world.put("other.zip", b"a newer one")
    tick(world, minutes=4)
    assert world.files("Input") == ["other.zip"]

    tick(world, minutes=4)

    assert world.files("Input") == []
    assert len(world.files("Unmatched")) == 2
    assert (world.folder / "Unmatched" / "other.zip").read_bytes() == b"an older one"
    assert heard(receivers, "stray-") == []


def test_a_file_that_is_to_be_moved_and_is_locked_is_reported(make_told: MakeTold, receivers: Receivers) -> None:
    world = make_told(**settings(flow("a", "*_a_*", unmatchedFolder="Unmatched")))
    world.put("other.zip")
    world.faults.add(graph_fault("PATCH", "/items/", faults.status(423), times=None))

    tick(world, minutes=18)

    (alert,) = heard(receivers, "stray-")
    assert "has not been able to move it to /Unmatched yet" in alert["text"]


def test_a_flow_that_is_paused_is_paused_in_all_its_lanes_and_in_those_to_come(make_world: MakeWorld) -> None:
    world = make_world(settings=settings(flow("a", dataProject="A {company}")))
    world.put("USMF_1.zip")
    world.look()
    actions.pause("a", ME, world.services)
    world.put("DEMF_1.zip")
    scan.open_new_runs(world.services)

    assert world.heads() == {}
    assert len(world.all_open_runs()) == 2

    actions.resume("a", ME, world.services)
    world.run_until_quiet()
    assert sorted(world.imports()) == [("DEMF", 1), ("USMF", 1)]


@pytest.mark.parametrize("include", ["*_1*", ""])
def test_a_run_keeps_the_flow_that_has_opened_it_though_the_patterns_change(
    make_world: MakeWorld, include: str
) -> None:
    world = make_world(settings=settings(flow("a", "USMF*")))
    world.put("USMF_1.zip")
    world.look()
    world._more_settings |= settings(flow("b", "USMF*"), flow("a", *filter(None, [include])))
    world.services = world.new_process()

    world.look()
    world.run_until_quiet()

    assert [(run.flow_name, run.outcome) for run in world.ended_runs()] == [("a", Outcome.SUCCEEDED)]


@pytest.mark.parametrize("answer", ["arrives", "is lost"])
def test_a_file_that_its_import_no_longer_takes_is_found_anew_unless_it_is_claimed(
    make_world: MakeWorld, answer: str
) -> None:
    world = make_world(settings=settings(flow("a", company="USMF")))
    world.put("USMF_1.zip")
    world.look()
    if answer == "is lost":
        world.faults.add(graph_fault("PATCH", "/items/", faults.lost_after()))
        for lane in world.heads():
            world.wake(lane)
        assert world.files("Processing") == ["USMF_1.zip"]
    world._more_settings |= settings(flow("a", "DEMF*"), flow("b"))
    world.services = world.new_process()

    world.run_until_quiet()
    world.look()
    world.run_until_quiet()

    by = {run.flow_name: run.outcome for run in world.ended_runs()}
    claimed = {"a": Outcome.SUCCEEDED}
    assert by == (claimed if answer == "is lost" else {"a": Outcome.WITHDRAWN, "b": Outcome.SUCCEEDED})
    assert len(world.imports()) == 1
