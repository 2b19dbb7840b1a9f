"""Companies by sub-folder of Input: what is found there, where it is filed, and what is left alone."""

import json
from typing import Any, Final

import pytest

from local_cloud import faults
from local_cloud.finance_operations.knobs import Behaviour
from local_cloud.receivers import Receivers
from operations import reruns
from shared.errors import AppError
from shared.imports.steps import FOLDER_KEEPS_NAME
from shared.runs.addresses import address_of
from shared.runs.states import Outcome
from shared.scan import scan
from tests.flows.conftest import MakeTold, MakeWorld
from tests.flows.trouble import ME, fno_fault, graph_fault, heard, put_into, tick
from tests.world import PROJECT, World

BAD: Final = b"no package"


def by_folder(**keys: Any) -> dict[str, str]:
    """Return settings of one import whose companies are the sub-folders of Input."""
    flow = {"name": "import", "inputFolder": "Input", "company": {"from": "folder"}, "dataProject": PROJECT, **keys}
    return {"INTEGRATIONS": json.dumps({"imports": [flow]}), "IMPORT_DATA_PROJECT": ""}


LISTED: Final = by_folder(companies=["USMF", "DEMF"])
OF_FO: Final = by_folder(companies={"from": "LegalEntities"})


@pytest.fixture
def by_list(make_world: MakeWorld) -> World:
    """A world whose import takes the company from the sub-folder, one of two."""
    return make_world(settings=LISTED)


def run_all(world: World) -> None:
    world.look()
    world.run_until_quiet(at_most_s=7200)


def test_files_go_into_the_company_of_their_sub_folder_and_are_filed_in_one_of_that_name(by_list: World) -> None:
    put_into(by_list, "Input/USMF", "groups.zip")
    put_into(by_list, "Input/demf", "groups.zip")

    run_all(by_list)

    assert sorted(by_list.imports()) == [("DEMF", 1), ("USMF", 1)]
    assert by_list.files("Success/USMF") == by_list.files("Success/demf") == ["groups.zip"]
    assert {run.file.sub_folder for run in by_list.ended_runs()} == {"USMF", "demf"}


def test_the_sub_folder_of_each_listed_company_is_made_in_input(by_list: World) -> None:
    by_list.keep_watch()

    assert by_list.files("Input") == ["DEMF", "USMF"]
    assert by_list.files("Processing") == []


def test_a_file_directly_in_input_is_refused_with_a_report_and_never_taken_for_company_input(by_list: World) -> None:
    by_list.put("groups.zip")

    run_all(by_list)

    (run,) = by_list.ended_runs()
    assert run.outcome is Outcome.REJECTED
    assert "Put it into the sub-folder of its company, such as /Input/USMF" in run.reason
    assert by_list.files("Error") == ["groups.zip", "groups.zip.report.txt"]
    assert by_list.imports() == []


def test_a_file_that_a_person_moves_from_error_back_to_its_companys_folder_is_imported(by_list: World) -> None:
    put_into(by_list, "Input/USMF").write_bytes(BAD)
    run_all(by_list)
    (mended,) = [name for name in by_list.files("Error/USMF") if name.endswith(".zip")]
    put_into(by_list, "Error/USMF", mended).rename(by_list.folder / "Input" / "USMF" / mended)

    run_all(by_list)

    assert by_list.imports() == [("USMF", 1)]
    assert by_list.files("Success/USMF") == [mended]


def test_a_file_that_is_moved_to_another_company_before_its_claim_goes_into_that_one(by_list: World) -> None:
    file = put_into(by_list, "Input/USMF", "groups.zip")
    by_list.look()
    (by_list.folder / "Input" / "DEMF").mkdir()
    file.rename(by_list.folder / "Input" / "DEMF" / "groups.zip")

    by_list.run_until_quiet()
    run_all(by_list)

    assert by_list.imports() == [("DEMF", 1)]
    assert {run.outcome for run in by_list.ended_runs()} == {Outcome.WITHDRAWN, Outcome.SUCCEEDED}


def test_a_file_that_waits_while_its_folder_is_renamed_goes_into_the_company_of_the_new_name(by_list: World) -> None:
    put_into(by_list, "Input/USMF", "groups.zip")
    by_list.look()
    drive = f"drives/{by_list.onedrive.drive_id}"
    find = by_list.services.folders.find
    by_list.services.onedrive(drive).move(
        find(drive, "/Input/USMF"), to_folder_id=find(drive, "/Input"), name="DEMF", etag=None
    )
    by_list.clock.advance(FOLDER_KEEPS_NAME.total_seconds())

    by_list.run_until_quiet()
    run_all(by_list)

    assert by_list.imports() == [("DEMF", 1)]
    assert by_list.files("Success/DEMF") == ["groups.zip"]


def test_a_folder_of_no_company_is_reported_with_those_there_are_and_left_alone(
    make_told: MakeTold, receivers: Receivers
) -> None:
    world = make_told(**LISTED)
    put_into(world, "Input/GBSI")
    put_into(world, "Input/Archive 2026")
    put_into(world, "Input/USMF/March")

    tick(world, minutes=8)

    alerts = {alert["title"]: alert["text"] for alert in heard(receivers, "stray-")}
    assert sorted(alerts) == [
        "import: 'Archive 2026' in '/Input' is not a company",
        "import: 'GBSI' in '/Input' is not a company",
        "import: 'March' in '/Input/USMF' is a folder",
    ]
    assert "The companies of flow import are: USMF, DEMF." in alerts["import: 'GBSI' in '/Input' is not a company"]
    assert world.all_open_runs() == []
    assert world.files("Input/GBSI") == ["USMF_1.zip"]


def test_a_sub_folder_that_cannot_be_listed_keeps_no_other_from_being_scanned(by_list: World) -> None:
    put_into(by_list, "Input/DEMF")
    put_into(by_list, "Input/USMF")
    by_list.services.folders.find(f"drives/{by_list.onedrive.drive_id}", "/Input")
    by_list.faults.add(graph_fault("GET", "/children", faults.status(403), nth=2))

    with pytest.raises(AppError):
        by_list.look()

    assert len(by_list.all_open_runs()) == 1
    assert by_list.look() == 1


def test_each_company_has_a_lane_if_its_data_project_is_its_own_and_a_run_keeps_the_lane_it_was_opened_in(
    make_world: MakeWorld,
) -> None:
    world = make_world(settings=by_folder(companies=["USMF", "DEMF"], dataProject=f"{PROJECT} {{company}}"))
    put_into(world, "Input/USMF")
    put_into(world, "Input/DEMF")
    world.look()
    lanes = {run.company or run.data_project: run.lane for run in world.all_open_runs()}

    world.run_until_quiet()

    assert sorted(lanes) == [f"{PROJECT} DEMF", f"{PROJECT} USMF"]
    assert len(set(lanes.values())) == 2
    assert {run.lane for run in world.ended_runs()} == set(lanes.values())


def test_a_rerun_takes_its_file_from_the_companys_folder_and_not_if_it_lies_in_input_again(by_list: World) -> None:
    put_into(by_list, "Input/USMF")
    run_all(by_list)
    (old,) = by_list.ended_runs()
    filed, back = by_list.folder / "Success/USMF/USMF_1.zip", by_list.folder / "Input/DEMF/USMF_1.zip"
    back.parent.mkdir()
    filed.rename(back)
    refused = reruns.run_again(address_of(old), ME, by_list.services)
    back.rename(filed)
    done = reruns.run_again(address_of(old), ME, by_list.services)
    by_list.run_until_quiet()

    assert refused
    assert "the app imports it from there by itself" in refused.message
    assert done
    assert done.done
    assert [company for company, _ in by_list.imports()] == ["USMF", "USMF"]
    assert by_list.files("Success/USMF") == ["USMF_1.zip"]


# The companies that F&O has


def test_a_company_that_fo_does_not_have_is_refused_before_the_upload_with_the_list(make_world: MakeWorld) -> None:
    world = make_world(settings=by_folder(company={"from": "name"}, companies={"from": "LegalEntities"}))
    world.put("zzzz_1.zip")
    world.put("usmf_1.zip")

    run_all(world)

    assert world.imports() == [("USMF", 1)]
    reason = next(run.reason for run in world.ended_runs() if run.outcome is Outcome.REJECTED)
    assert "is for company ZZZZ, which F&O does not have. F&O has: DAT, DEMF, GBSI, USMF, USSI." in reason
    assert world.calls("GetAzureWriteUrl") == 1


def test_a_company_that_was_made_since_the_list_was_read_is_not_refused(make_world: MakeWorld) -> None:
    world = make_world(settings=OF_FO, behaviour=Behaviour(legal_entities=("USMF",)))
    put_into(world, "Input/USMF")
    run_all(world)
    world.fno.change(legal_entities=("USMF", "NEW1"))
    put_into(world, "Input/NEW1")

    world.clock.advance(61)
    run_all(world)

    assert [company for company, _ in world.imports()] == ["USMF", "NEW1"]


def test_the_list_is_asked_for_once_an_hour(make_world: MakeWorld) -> None:
    world = make_world(settings=OF_FO)
    for number in range(3):
        put_into(world, "Input/USMF", f"{number}.zip")
        run_all(world)
        world.clock.advance(60)
    assert world.calls("LegalEntities") == 1

    world.clock.advance(3600)
    put_into(world, "Input/USMF", "later.zip")
    run_all(world)
    assert world.calls("LegalEntities") == 2


@pytest.mark.parametrize("status", [401, 403])
def test_a_list_that_the_app_is_not_allowed_to_read_is_a_persons_problem_and_no_files(
    make_world: MakeWorld, status: int
) -> None:
    world = make_world(settings=OF_FO)
    world.faults.add(fno_fault("LegalEntities", faults.status(status), times=None))
    put_into(world, "Input/USMF")
    world.look()

    for lane in world.heads():
        world.wake(lane)

    (run,) = world.all_open_runs()
    assert run.problem
    assert "The app is not allowed to read the companies of F&O (LegalEntities)" in run.problem.text
    world.faults.clear()
    world.run_until_quiet()
    assert world.imports() == [("USMF", 1)]


def test_a_folder_that_fo_does_not_know_is_left_alone_and_asked_for_once_a_minute(make_world: MakeWorld) -> None:
    world = make_world(settings=OF_FO)
    put_into(world, "Input/ZZZZ")

    for _ in range(5):
        assert scan.open_new_runs(world.services) == 0
    assert world.calls("LegalEntities") == 1
    world.clock.advance(61)
    world.look()

    assert world.calls("LegalEntities") == 2
    assert world.files("Input/ZZZZ") == ["USMF_1.zip"]
