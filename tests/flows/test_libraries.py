"""OneDrive and SharePoint as they are: busy uploads, wrong sizes, no download addresses, check-out, folders in Input.

Each kind was reported in public; what the client makes of it is tested in ``tests/contract/test_onedrive.py``.
"""

from random import Random
from typing import Any, Final

import pytest
import requests

from local_cloud import faults
from local_cloud.faults import Fault
from local_cloud.onedrive import Knobs
from local_cloud.receivers import Receivers
from shared.alerts.alert import NotificationKind
from shared.clients.blobs import read
from shared.health.checks import check_health
from shared.health.health import Grade
from shared.runs.states import Outcome, State
from tests.exports import EXPORT, change, export, prepared
from tests.flows.conftest import MakeTold, MakeWorld
from tests.flows.trouble import (
    ALERTS,
    begin,
    graph_fault,
    heard,
    import_file,
    look_and_finish,
    of_graph,
    put_into,
    tick,
)
from tests.packages import build_package
from tests.world import World

EXPORTS: Final = {**EXPORT, **ALERTS}


def publication(world: World, folder: str) -> dict[str, str]:
    """Return, for each file of a folder, whether others see it: as Graph tells another app."""
    token = world.desk.issue(world.onedrive.graph_url, app_id="another app")
    address = f"{world.onedrive.graph_url}/v1.0/drives/{world.onedrive.drive_id}"
    headers = {"Authorization": f"Bearer {token}"}
    listed = requests.get(f"{address}/root:/{folder}:/children", headers=headers, timeout=10).json()["value"]
    told = {}
    for item in listed:
        asked = f"{address}/items/{item['id']}?$select=publication"
        told[item["name"]] = requests.get(asked, headers=headers, timeout=10).json()["publication"]["level"]
    return told


def asked_for_publication(do: faults.Action, *, times: int | None = None) -> Fault:
    """Return a fault of the question whether a file is checked out: the one call that says what it selects."""
    return Fault("graph", "GET", "/items/", times=times, do=do, query_key="$select")


def faulted(world: World) -> list[str]:
    """Return the calls that a fault was done to: a fault that meets none proves nothing."""
    return [call.path for call in world.faults.calls if call.fault]


def put_package(world: World, size: str) -> None:
    """Put a package of some 15 kB into Input, which is small, or large: read by ranges."""
    if size == "large":
        world.monkeypatch.setattr(read, "IN_MEMORY", 4 * 1024)
        world.monkeypatch.setattr(read, "_RANGE", 4 * 1024)
    letters = Random(3)
    world.put("USMF_1.zip", build_package(rows=[(f"R{n}", letters.randbytes(12).hex()) for n in range(500)]))


# Uploads that OneDrive is busy with


def test_an_export_whose_chunk_meets_a_409_goes_on_and_does_not_wait_for_a_name(make_world: MakeWorld) -> None:
    """Taken from the report, https://github.com/home-assistant/core/issues/137098: the chunk was taken all the same."""
    world = prepared(make_world(settings=EXPORTS))
    world.monkeypatch.setattr("shared.exports.delivery.CHUNK", 320 * 1024)
    letters = Random(5)
    change(world, *((f"R{number}", letters.randbytes(120).hex()) for number in range(8000)))
    busy = of_graph("resourceModified", "Optimistic concurrency failure during fragmented upload.")
    taken = faults.status(409, body=busy, handled=True)
    world.faults.add(Fault("graph-content", "PUT", "uploadSession", 2, 1, do=taken))
    began = world.clock.now()

    run = export(world)

    assert run.state is State.DELIVERED
    chunks = [call.status for call in world.faults.calls if call.service == "graph-content" and call.method == "PUT"]
    assert chunks.count(409) == 1
    assert len(chunks) > 2
    assert world.calls("createUploadSession") == 1
    assert (world.clock.now() - began).total_seconds() < 60
    assert world.mails() == []


def test_a_report_that_meets_a_busy_file_is_written_a_moment_later(world: World) -> None:
    busy = faults.status(409, body=of_graph("resourceModified", "busy"))
    world.faults.add(graph_fault("PUT", "/content", busy))

    import_file(world, "USMF_1.zip", b"no zip")

    assert len(world.files("Error")) == 2
    assert [run.outcome for run in world.ended_runs()] == [Outcome.REJECTED]


# Wrong sizes


def test_in_a_library_that_tells_wrong_sizes_an_export_is_uploaded_once_and_stays(make_world: MakeWorld) -> None:
    world = prepared(make_world(settings=EXPORTS, knobs=Knobs(wrong_size=("*",))))

    run = export(world)

    assert run.state is State.DELIVERED
    (file,) = (world.folder / "Output").iterdir()
    assert run.file.size_bytes == file.stat().st_size
    assert [call.method for call in world.faults.calls if call.method == "DELETE"] == []
    assert world.calls("createUploadSession") == 1


def test_an_export_that_is_there_already_is_known_by_its_hash_whatever_its_size(make_world: MakeWorld) -> None:
    world = prepared(make_world(settings=EXPORTS, knobs=Knobs(wrong_size=("*",))))
    world.faults.add(asked_for_publication(faults.status(503), times=1))

    run = export(world)

    assert run.state is State.DELIVERED
    assert len(world.files("Output")) == 1
    deleted = [call.path for call in world.faults.calls if call.method == "DELETE" and call.service == "graph"]
    assert deleted == []  # what ends is the upload session of the second try
    assert faulted(world)


@pytest.mark.parametrize("size", ["small", "large"])
def test_a_library_that_tells_wrong_sizes_has_its_packages_imported(make_world: MakeWorld, size: str) -> None:
    world = make_world(knobs=Knobs(wrong_size=("*.zip",)))
    put_package(world, size)

    look_and_finish(world)

    assert world.imports() == [("USMF", 500)]
    assert world.files("Success") == ["USMF_1.zip"]


def test_a_wrong_size_without_a_hash_imports_nothing(make_world: MakeWorld) -> None:
    world = make_world(knobs=Knobs(wrong_size=("*.zip",), missing_hash=("*.zip",)))
    begin(world)
    with pytest.raises(AssertionError):
        world.run_until_quiet(at_most_s=600)

    assert world.imports() == []
    assert world.files("Processing") == ["USMF_1.zip"]


# No download addresses


@pytest.mark.parametrize("size", ["small", "large"])
def test_without_download_addresses_packages_are_imported_by_their_content(make_world: MakeWorld, size: str) -> None:
    world = make_world(knobs=Knobs(hide_download_url=True))
    put_package(world, size)

    look_and_finish(world)

    assert world.imports() == [("USMF", 500)]
    assert [call.status for call in world.faults.calls if call.path.endswith("/content")] == [302]
    assert "tempauth" not in world.written()


# Check-out


CHECK_IN_FAILS_ONCE: Final = (faults.status(503), faults.lost_after(), faults.reset_before(), faults.garbage())


@pytest.mark.quick(cases=2)
@pytest.mark.parametrize("fault", [None, *CHECK_IN_FAILS_ONCE])
def test_an_export_into_a_library_with_check_out_is_seen_by_others(
    make_world: MakeWorld, fault: faults.Action | None
) -> None:
    world = prepared(make_world(settings=EXPORTS, knobs=Knobs(requires_check_out=True)))
    if fault:
        world.faults.add(graph_fault("POST", "/checkin", fault))

    run = export(world)

    assert run.state is State.DELIVERED
    assert publication(world, "Output") == {run.file.name: "published"}
    assert fault or world.calls("/checkin") == 1


@pytest.mark.parametrize("fault", [None, faults.status(503)])
def test_a_failed_file_and_its_report_in_a_library_with_check_out_are_seen_by_others(
    make_world: MakeWorld, fault: faults.Action | None
) -> None:
    world = make_world(knobs=Knobs(requires_check_out=True))
    if fault:
        world.faults.add(graph_fault("POST", "/checkin", fault))

    import_file(world, "USMF_1.zip", b"no zip")

    assert len(world.files("Error")) == 2
    assert set(publication(world, "Error").values()) == {"published"}


@pytest.mark.quick(cases=0)
def test_an_export_that_a_library_does_not_check_in_is_told_and_goes_on_by_itself(make_world: MakeWorld) -> None:
    world = prepared(make_world(settings=EXPORTS, knobs=Knobs(requires_check_out=True)))
    body = of_graph("invalidRequest", "You must fill out all required properties.")
    world.faults.add(graph_fault("POST", "/checkin", faults.status(400, body=body), times=None))
    world.start_exports()
    with pytest.raises(AssertionError):
        world.run_until_quiet(at_most_s=3600)

    (mail,) = world.mails()
    assert "only the app can see it" in mail.content
    assert "required properties" in mail.content

    world.faults.clear()
    world.run_until_quiet(at_most_s=3600)
    (name,) = world.files("Output")
    assert publication(world, "Output") == {name: "published"}


@pytest.mark.quick(cases=2)
@pytest.mark.parametrize("status", [400, 403, 404, 500, 501])
def test_a_drive_that_never_tells_what_is_checked_out_holds_neither_imports_nor_exports_up(
    make_world: MakeWorld, status: int
) -> None:
    world = prepared(make_world(settings={**EXPORTS, "INPUT_FOLDER": "Input"}))
    world.faults.add(asked_for_publication(faults.status(status)))
    world.put("USMF_1.zip", b"no zip")
    world.put("USMF_2.zip")
    began = world.clock.now()

    look_and_finish(world)
    between, mails = world.clock.now(), len(world.mails())
    run = export(world)

    assert world.files("Success") == ["USMF_2.zip"]
    assert len(world.files("Error")) == 2
    assert (between - began).total_seconds() < 120
    assert run.state is State.DELIVERED
    assert len(world.files("Output")) == 1
    assert (world.clock.now() - between).total_seconds() < 600
    assert len(world.mails()) == mails
    assert faulted(world)


@pytest.mark.quick(cases=2)
@pytest.mark.parametrize("status", [400, 404, 409, 423, 500, 503])
def test_a_check_in_that_fails_for_ever_holds_no_import_up(make_world: MakeWorld, status: int) -> None:
    world = make_world(settings={**ALERTS, "IMPORT_STRICT_ORDER": "true"}, knobs=Knobs(requires_check_out=True))
    world.faults.add(graph_fault("POST", "/checkin", faults.status(status), times=None))
    world.put("USMF_1.zip")
    world.put("USMF_2.zip")
    began = world.clock.now()

    look_and_finish(world)

    assert [run.outcome for run in world.ended_runs()] == [Outcome.SUCCEEDED] * 2
    assert world.files("Success") == ["USMF_1.zip", "USMF_2.zip"]
    assert (world.clock.now() - began).total_seconds() < 600


def test_a_file_that_a_person_has_checked_out_waits_and_the_others_go_on(make_world: MakeWorld) -> None:
    world = make_world(settings=ALERTS)
    world.onedrive.knobs.checked_out = ("USMF_1.zip",)
    begin(world, "USMF_1.zip", "USMF_2.zip")
    with pytest.raises(AssertionError):
        world.run_until_quiet(at_most_s=3600)

    assert world.files("Input") == ["USMF_1.zip"]
    assert world.files("Success") == ["USMF_2.zip"]
    (mail,) = world.mails()
    assert "Someone has 'USMF_1.zip'" in mail.content
    assert "open or checked out" in mail.content

    world.onedrive.knobs.checked_out = ()
    world.run_until_quiet(at_most_s=3600)
    assert world.files("Success") == ["USMF_1.zip", "USMF_2.zip"]


# Names that programs give to unfinished files


def test_files_that_programs_are_still_writing_are_left_alone_until_they_have_their_name(world: World) -> None:
    names = [f"USMF_1.zip.{ending}" for ending in ("tmp", "PARTIAL", "crdownload")]
    names += ["~$USMF_4.xlsx", ".~lock.USMF_5.csv#"]
    for name in names:
        (world.folder / "Input" / name).write_bytes(build_package())

    assert world.look() == 0
    assert world.files("Input") == sorted(names)

    (world.folder / "Input" / "USMF_1.zip.tmp").rename(world.folder / "Input" / "USMF_1.zip")
    look_and_finish(world)
    assert world.files("Success") == ["USMF_1.zip"]
    assert world.imports() == [("USMF", 1)]


def test_which_names_are_left_alone_is_a_setting(make_world: MakeWorld) -> None:
    world = make_world(settings={"IMPORT_IGNORED_NAMES": "draft *"})
    world.put("draft USMF_1.zip")
    world.put("USMF_2.zip.tmp")

    look_and_finish(world)

    assert world.files("Input") == ["draft USMF_1.zip"]
    assert world.files("Success") == ["USMF_2.zip.tmp"]


# Folders in Input


def about_strays(receivers: Receivers) -> list[dict[str, Any]]:
    return heard(receivers, "stray-")


def test_a_folder_dropped_into_input_is_told_once_after_some_minutes_and_over_when_it_is_gone(
    told: World, receivers: Receivers
) -> None:
    dropped = put_into(told, "Input/March").parent
    tick(told, minutes=5)
    assert about_strays(receivers) == []

    tick(told, minutes=15)

    (alert,) = about_strays(receivers)
    assert alert["title"] == "import: 'March' in '/Input' is a folder"
    assert alert["integration"] == "import"
    assert "Nothing in it is imported" in alert["text"]
    assert "IMPORT_IGNORED_NAMES" in alert["text"]
    (check,) = [check for check in check_health(told.new_process).checks if "March" in check.name]
    assert check.grade is Grade.WARNING

    dropped.rename(told.folder / "March")
    tick(told, minutes=3)
    assert [alert["word"] for alert in about_strays(receivers)] == [NotificationKind.NEW, NotificationKind.RESOLVED]
    assert told.imports() == []


def test_a_folder_that_is_only_passing_through_is_not_told(told: World, receivers: Receivers) -> None:
    (told.folder / "Input" / "March").mkdir()
    tick(told, minutes=4)
    (told.folder / "Input" / "March").rmdir()
    tick(told, minutes=10)

    assert about_strays(receivers) == []


def test_a_folder_is_told_once_by_whichever_process_and_stays_told_while_the_listing_fails(
    told: World, receivers: Receivers
) -> None:
    (told.folder / "Input" / "March").mkdir()
    for _ in range(10):
        told.services = told.new_process()
        tick(told, minutes=1)
    told.faults.add(graph_fault("GET", "/children", faults.status(503), times=None))
    tick(told, minutes=3)
    told.services = told.new_process()
    tick(told, minutes=3)

    assert [alert["word"] for alert in about_strays(receivers)] == [NotificationKind.NEW]


def test_folders_of_the_settings_and_names_that_are_left_alone_are_not_told(
    make_told: MakeTold, receivers: Receivers
) -> None:
    world = make_told(
        IMPORT_IGNORED_NAMES="archive",
        EXPORT_DATA_PROJECT="Customers",
        EXPORT_COMPANY="USMF",
        OUTPUT_FOLDER="Input/Out/Deep",
    )
    (world.folder / "Input" / "Archive").mkdir()
    tick(world, minutes=10)

    assert (world.folder / "Input" / "Out" / "Deep").is_dir()
    assert about_strays(receivers) == []


def test_a_notebook_and_a_shortcut_in_input_are_told_as_no_files(told: World, receivers: Receivers) -> None:
    listed = {
        "value": [
            {"id": "01NOTEBOOK", "name": "Minutes", "size": 7, "package": {"type": "oneNote"}},
            {"id": "01SHORTCUT", "name": "USMF_1.zip", "size": 7, "file": {}, "remoteItem": {"id": "01", "file": {}}},
        ]
    }
    told.faults.add(graph_fault("GET", "/children", faults.status(200, body=listed), times=None))
    tick(told, minutes=8)

    titles = {alert["title"] for alert in about_strays(receivers)}
    assert titles == {f"import: '{name}' in '/Input' is not a file" for name in ("Minutes", "USMF_1.zip")}
