"""What people and other systems do to a file on its way: each file is imported once or told, and none is lost."""

import string
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import pytest

from local_cloud import faults
from local_cloud.finance_operations.knobs import Behaviour
from local_cloud.onedrive import Knobs
from local_cloud.onedrive.knobs import LOCK_SHAPES
from shared.clients.graph.drive_item import DriveItem
from shared.clients.graph.onedrive import OneDrive
from shared.errors import TryAgain
from shared.reservations.reservation import project_name
from shared.runs.lane import LaneRow
from shared.runs.run import Run
from shared.runs.states import Outcome, State
from shared.runs.store import OpenLanes, RunStore
from tests.flows.conftest import MakeWorld
from tests.flows.trouble import (
    ALERTS,
    IMPORT_STATES,
    IN_ONE_LANE,
    as_soon_as,
    begin,
    by_hand,
    cancel,
    fno_fault,
    graph_fault,
    import_file,
    let_pass,
    look_and_finish,
    of_graph,
    report_errors,
    wake_when_due,
)
from tests.packages import build_package
from tests.world import FOLDERS, PROJECT, World

BAD_ROW: Final = (("B", "#ERROR here"),)


# Files that are not whole yet, or not the same any more


def test_a_file_that_is_still_being_written_stays_in_input_until_it_is_whole(make_world: MakeWorld) -> None:
    world = make_world(knobs=Knobs(pending_s=3600))
    package = build_package(rows=(("A", "Alpha"), ("B", "Beta")))
    lane = begin(world, content=package[: len(package) // 2])
    let_pass(world, lane, timedelta(seconds=15))
    assert world.files("Input") == ["USMF_1.zip"]

    world.put("USMF_1.zip", package)
    world.onedrive.knobs.pending_s = 0
    world.run_until_quiet()

    assert world.imports() == [("USMF", 2)]
    assert world.files("Success") == ["USMF_1.zip"]


def test_a_file_that_is_written_on_after_its_claim_is_imported_as_it_is_when_it_is_sent(world: World) -> None:
    as_soon_as(
        world, State.CLAIMED, lambda _: (world.folder / "Processing" / "USMF_1.zip").write_bytes(build_package())
    )

    import_file(world, "USMF_1.zip", b"only a beginning")

    assert world.imports() == [("USMF", 1)]


def test_a_file_that_is_deleted_and_put_in_anew_while_it_waits_is_imported_once(world: World) -> None:
    """It is another item under the same name: the first run lets go, the second one takes it."""
    begin(world)
    (world.folder / "Input" / "USMF_1.zip").rename(world.folder / "away.zip")
    world.put("USMF_1.zip", build_package(rows=(("A", "Alpha"), ("B", "Beta"))))

    look_and_finish(world)

    assert world.imports() == [("USMF", 2)]
    assert {run.outcome for run in world.ended_runs()} == {Outcome.WITHDRAWN, Outcome.SUCCEEDED}


# What a person does in the middle of it


def test_a_file_that_a_person_deletes_is_let_go_before_fo_has_it_and_imported_once_after(world: World) -> None:
    for state in IMPORT_STATES:
        _done_in(world, state, lambda run: _drive(world).delete(run.file.item_id))

    let_go = [run for run in world.ended_runs() if run.outcome is Outcome.WITHDRAWN]
    assert [run.file.name for run in let_go] == [_name(State.FOUND), _name(State.CLAIMED)]
    assert len(world.imports()) == 3
    assert [run.outcome for run in world.ended_runs()][2:] == [Outcome.SUCCEEDED] * 3
    assert all("deleted" in run.reason for run in world.ended_runs()[2:])
    assert [world.files(folder) for folder in ("Input", "Processing", "Success", "Error")] == [[]] * 4


OTHER = build_package(rows=(("X", "Xray"), ("Y", "Yankee"), ("Z", "Zulu")))


def with_package_that_waits(make_world: MakeWorld) -> World:
    """Return a world in which the package of USMF_1.zip is uploaded, and a person's execution has its data project."""
    world = make_world(settings=IN_ONE_LANE)
    by_hand(world, PROJECT, "of-a-person")
    wake_when_due(world, begin(world))
    return world


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_what_a_person_does_to_a_file_counts_though_its_package_was_uploaded_long_before_its_turn(
    make_world: MakeWorld, how: str
) -> None:
    world = with_package_that_waits(make_world)
    (run,) = world.all_open_runs()
    assert (run.state, run.package is not None) == (State.CLAIMED, True)
    file = world.folder / "Processing" / "USMF_1.zip"
    if how == "deleted":
        file.unlink()
    else:
        file.write_bytes(OTHER)
    before = len(world.imports())
    world.run_until_quiet()

    (run,) = world.ended_runs()
    assert [rows for _, rows in world.imports()[before:]] == ([] if how == "deleted" else [3])
    assert run.outcome is (Outcome.WITHDRAWN if how == "deleted" else Outcome.SUCCEEDED)


@pytest.mark.parametrize("state", [State.SUBMITTING, State.EXECUTING, State.FINISHED], ids=str)
def test_people_hear_of_a_file_that_was_replaced_after_its_package_was_sent(
    make_world: MakeWorld, state: State
) -> None:
    world = make_world(settings=ALERTS)
    begin(world)
    as_soon_as(world, state, lambda _: (world.folder / "Processing" / "USMF_1.zip").write_bytes(OTHER))
    world.run_until_quiet()

    assert (world.imports(), world.files("Success")) == ([("USMF", 1)], ["USMF_1.zip"])
    (mail,) = world.mails()
    assert "the new content was not imported. Copy the file into /Input to import it." in mail.content


@pytest.mark.parametrize("kind", ["no package", "malware"])
def test_a_replaced_file_that_is_refused_for_its_new_content_is_not_told_as_replaced_afterwards(
    make_world: MakeWorld, kind: str
) -> None:
    world = with_package_that_waits(make_world)
    (world.folder / "Processing" / "USMF_1.zip").write_bytes(b"no package" if kind == "no package" else OTHER)
    world.onedrive.knobs.malware = ["USMF_1.zip"] if kind == "malware" else []
    before = len(world.imports())
    world.run_until_quiet()

    (run,) = world.ended_runs()
    assert (run.outcome, world.imports()[before:]) == (Outcome.REJECTED, [])
    assert "was replaced" not in run.reason
    assert world.services.reservations.read(world.fno.url, project_name(PROJECT)) is None


def test_a_file_in_which_malware_is_found_once_it_is_complete_is_not_told_as_replaced(make_world: MakeWorld) -> None:
    world = make_world(settings=ALERTS)
    lane = begin(world, content=b"")
    wake_when_due(world, lane)
    world.put("USMF_1.zip")
    world.onedrive.knobs.malware = ["USMF_1.zip"]
    world.run_until_quiet()

    (run,) = world.ended_runs()
    assert (run.outcome, "malware" in run.reason, "was replaced" in run.reason) == (Outcome.REJECTED, True, False)


@pytest.mark.parametrize("outcome", ["Failed", "PartiallySucceeded"])
def test_a_replaced_file_is_told_beside_the_row_errors_once_though_filing_is_tried_again(
    make_world: MakeWorld, outcome: Literal["Failed", "PartiallySucceeded"]
) -> None:
    world = make_world(settings=ALERTS, behaviour=Behaviour(outcome=outcome))
    report_errors(world, ["Currency XYZ is unknown"])
    begin(world)
    as_soon_as(world, State.EXECUTING, lambda _: (world.folder / "Processing" / "USMF_1.zip").write_bytes(OTHER))
    world.faults.add(graph_fault("PUT", "", faults.status(503), times=2))
    world.run_until_quiet()

    (mail,) = world.mails()
    report = (world.folder / "Error" / "USMF_1.zip.report.txt").read_text("utf-8-sig")
    for text in (mail.content, report):
        assert "1 row error: Currency XYZ is unknown" in text
        assert text.count("the new content was not imported") == 1


def test_a_cancelled_file_that_was_replaced_does_not_stay_in_processing(make_world: MakeWorld) -> None:
    world = make_world(settings=ALERTS)
    begin(world)

    def replace_and_cancel(run: Run) -> None:
        (world.folder / "Processing" / "USMF_1.zip").write_bytes(OTHER)
        cancel(world, run)

    as_soon_as(world, State.CLAIMED, replace_and_cancel)
    world.run_until_quiet()

    assert [world.files(folder) for folder in ("Processing", "Error")] == [
        [],
        ["USMF_1.zip", "USMF_1.zip.report.txt"],
    ]
    assert "the new content was not imported" in world.ended_runs()[0].reason


def test_an_import_ends_though_a_person_deletes_the_whole_processing_folder(world: World) -> None:
    world.put("USMF_1.zip")
    as_soon_as(
        world, State.EXECUTING, lambda _: _drive(world).delete(_drive(world).ensure_folder("Processing").item_id)
    )

    look_and_finish(world)

    (run,) = world.ended_runs()
    assert (run.outcome, "deleted" in run.reason) == (Outcome.SUCCEEDED, True)
    assert len(world.imports()) == 1
    assert world.files("Processing") == []  # made anew


def test_a_file_in_a_processing_folder_that_was_made_anew_is_imported_by_a_process_that_knew_the_old_one(
    world: World,
) -> None:
    world.put("USMF_1.zip")
    look_and_finish(world)
    knows_the_old_one = world.services
    _drive(world).delete(_drive(world).ensure_folder("Processing").item_id)
    world.services = world.new_process()
    world.faults.add(fno_fault("GetAzureWriteUrl", faults.status(503)))
    wake_when_due(world, begin(world, "USMF_2.zip"))
    assert world.files("Processing") == ["USMF_2.zip"]

    world.services = knows_the_old_one
    world.run_until_quiet()

    assert [run.outcome for run in world.ended_runs()] == [Outcome.SUCCEEDED] * 2
    assert world.files("Success") == ["USMF_1.zip", "USMF_2.zip"]


def test_a_file_that_a_person_moves_elsewhere_is_let_go_before_fo_has_it_and_filed_after(make_world: MakeWorld) -> None:
    world = make_world(knobs=Knobs(changes_tell_download_url=False))  # so that a person can come before the download
    states = (State.FOUND, State.CLAIMED, State.SUBMITTING, State.FINISHED)
    for state in states:
        _done_in(world, state, lambda run: _moved_by_a_person(world, run, "Elsewhere"))

    assert world.files("Elsewhere") == sorted([_name(State.FOUND), _name(State.CLAIMED)])
    assert world.files("Success") == sorted([_name(State.SUBMITTING), _name(State.FINISHED)])
    assert len(world.imports()) == 2


def test_a_file_that_a_person_puts_back_into_input_in_the_middle_of_its_import_is_imported_once(world: World) -> None:
    def put_back(run: Run) -> None:
        _moved_by_a_person(world, run, "Input")
        assert world.look() == 0

    states = (State.CLAIMED, State.EXECUTING, State.FINISHED)
    for state in states:
        _done_in(world, state, put_back)
    look_and_finish(world)

    assert len(world.imports()) == 3
    assert world.files("Success") == sorted(_name(state) for state in states)


def _name(state: State) -> str:
    return f"USMF_{state}.zip"


def _done_in(world: World, state: State, deed: Callable[[Run], object]) -> None:
    """Let a file of its own run to its end, with a deed done to it in this state."""
    world.put(_name(state))
    if state is State.FOUND:
        world.look()
        (run,) = world.open_runs()
        deed(run)
    else:
        as_soon_as(world, state, deed)
    look_and_finish(world)


def _drive(world: World) -> OneDrive:
    return world.services.onedrive(f"drives/{world.onedrive.drive_id}")


def _moved_by_a_person(world: World, run: Run, folder: str) -> None:
    """Move a file in OneDrive's own pages, where it surely keeps its id."""
    drive = _drive(world)
    to = drive.ensure_folder(folder)
    drive.move(run.file.item_id, to_folder_id=to.item_id, name=run.file.name, etag=None)


def test_a_failed_file_overwrites_neither_a_file_of_its_name_nor_the_report_beside_it(world: World) -> None:
    for _ in range(2):
        import_file(world, "USMF_1.zip", b"Dear Sir or Madam")
        (world.folder / "Error" / "USMF_1.zip.report.txt").write_text("read by a person")

    assert (world.folder / "Error" / "USMF_1.zip.report.txt").read_text() == "read by a person"
    (second,) = [run for run in world.ended_runs() if run.file.name != "USMF_1.zip"]
    assert {second.file.name, f"{second.file.name}.report.txt"} < set(world.files("Error"))


# Names


# Everything printable that OneDrive takes, and what people write beyond ASCII, composed and not.
# https://support.microsoft.com/office/64883a5d-228e-48f5-b3d2-eb39e07630fa
LETTERS: Final = (
    "USMF_" + "".join(sign for sign in string.printable[:95] if sign not in '"*:<>?/\\|') + " %20 %2F äöüß €.zip",
    "USMF_" + unicodedata.normalize("NFD", "Prüfung é") + " 日本語 עברית 🏭.zip",
)


@pytest.mark.parametrize("name", LETTERS, ids=["ascii", "beyond"])
def test_a_name_of_any_legal_letters_stays_as_it_is_all_the_way(world: World, name: str) -> None:
    import_file(world, name, build_package(rows=(("A", "Alpha"), *BAD_ROW)))

    assert world.imports() == [("USMF", 1)]
    assert {name, f"{name}.report.txt", f"{name}.errors.csv"} <= set(world.files("Error"))


def test_a_name_as_long_as_onedrive_takes_has_room_for_its_report_and_for_a_name_of_its_own(world: World) -> None:
    name = f"USMF_{'n' * 246}.zip"
    assert len(name) == 255
    (world.folder / "Error" / name).write_bytes(b"an earlier one")

    import_file(world, name, b"Dear Sir or Madam")

    assert (world.folder / "Error" / name).read_bytes() == b"an earlier one"
    (run,) = world.ended_runs()
    assert run.file.name != name
    report, zipped = sorted(file for file in world.files("Error") if file != name)
    assert (zipped, len(report)) == (run.file.name, 255)
    assert report.endswith(".report.txt")
    assert run.run_id in zipped


def test_a_path_of_400_letters_travels_and_one_that_would_grow_longer_is_told_in_error(make_world: MakeWorld) -> None:
    deep = "/".join(["d" * 60] * 4)
    world = make_world(
        settings={
            "INPUT_FOLDER": f"{deep}/In",
            "PROCESSING_FOLDER": f"{deep}/Processing",
            "SUCCESS_FOLDER": f"{deep}/Done",
            "ERROR_FOLDER": f"{deep}/Er",
        }
    )
    world.look()
    room = 400 - len(f"{deep}/Processing/")
    fits, grows = (f"USMF_{'n' * (length - 9)}.zip" for length in (room, room + 1))
    for name in (fits, grows):
        (world.folder / deep / "In" / name).write_bytes(build_package())

    look_and_finish(world)

    assert world.imports() == [("USMF", 1)]
    assert world.files(f"{deep}/Done") == [fits]
    assert grows in world.files(f"{deep}/Er")
    (refused,) = [run for run in world.ended_runs() if run.outcome is Outcome.REJECTED]
    assert "too long" in refused.reason


@pytest.mark.parametrize("status", [400, 403])
def test_a_report_that_a_library_refuses_keeps_no_lane_from_going_on(world: World, status: int) -> None:
    refused = of_graph("invalidRequest", "List data validation failed.")
    world.faults.add(faults.Fault("graph", "PUT", "/content$", times=None, do=faults.status(status, body=refused)))

    import_file(world, "USMF_1.zip", b"Dear Sir or Madam")

    assert world.files("Error") == ["USMF_1.zip"]
    (run,) = world.ended_runs()
    assert run.outcome is Outcome.REJECTED


# What OneDrive holds back


@pytest.mark.quick(cases=1)
@pytest.mark.parametrize("shape", LOCK_SHAPES)
def test_a_file_that_somebody_has_open_is_claimed_and_filed_when_it_is_closed(
    make_world: MakeWorld, shape: str
) -> None:
    world = make_world(knobs=Knobs(locked={"USMF_1.zip": shape}))
    lane = begin(world)
    let_pass(world, lane, timedelta(seconds=5))
    assert world.files("Input") == ["USMF_1.zip"]

    world.onedrive.knobs.locked = {}
    as_soon_as(world, State.FINISHED, lambda _: world.onedrive.knobs.take({"locked": {"USMF_1.zip": shape}}))
    let_pass(world, lane, timedelta(minutes=1))
    assert world.files("Processing") == ["USMF_1.zip"]
    world.onedrive.knobs.locked = {}
    world.run_until_quiet()

    assert world.imports() == [("USMF", 1)]
    assert world.files("Success") == ["USMF_1.zip"]


def test_malware_that_is_found_while_the_file_is_fetched_refuses_the_file_at_once(world: World) -> None:
    found = faults.status(403, body=of_graph("malwareDetected", "Malware detected"))
    world.faults.add(faults.Fault("graph-content", "GET", "", times=None, do=found))

    import_file(world, "USMF_1.zip")

    (run,) = world.ended_runs()
    assert run.outcome is Outcome.REJECTED
    assert "malware" in run.reason
    assert sum(call.service == "graph-content" for call in world.faults.calls) == 1
    assert world.imports() == []


def test_notebooks_and_shortcuts_to_other_drives_stay_in_input_and_hide_no_file(world: World) -> None:
    world.put("USMF_1.zip")
    onedrive, folder = _input_of(world)
    (item,) = onedrive.list_files(folder)
    listed = {
        "value": [
            {"id": "01NOTEBOOK", "name": "Minutes", "size": 7, "package": {"type": "oneNote"}},
            {
                "id": "01SHORTCUT",
                "name": "USMF_elsewhere.zip",
                "size": 7,
                "file": {},
                "remoteItem": {"id": "01OTHER", "parentReference": {"driveId": "b!other"}, "file": {}},
            },
            {"id": "01FOLDER", "name": "Shared", "remoteItem": {"id": "01THAT", "folder": {}}, "folder": {}},
            {"id": item.item_id, "name": item.name, "size": item.size_bytes, "file": {}, "eTag": item.etag},
        ]
    }
    world.faults.add(graph_fault("GET", "/children", faults.status(200, body=listed)))

    look_and_finish(world)

    assert [run.file.name for run in world.ended_runs()] == ["USMF_1.zip"]
    assert world.imports() == [("USMF", 1)]


def test_files_of_which_onedrive_does_not_know_the_time_take_their_turn(world: World) -> None:
    onedrive, folder = _input_of(world)
    for number in range(2):
        world.put(f"USMF_{number}.zip")
    listed = [
        {"id": item.item_id, "name": item.name, "size": item.size_bytes, "file": {}, "eTag": item.etag}
        for item in onedrive.list_files(folder)
    ]
    listed = sorted(
        ({**item, "lastModifiedDateTime": "0001-01-01T00:00:00Z"} for item in listed), key=lambda item: str(item["id"])
    )
    for number in (1, 0):  # the second to come sorts before the one that is under way
        page = {"value": [listed[number]]}
        world.faults.add(graph_fault("GET", "/children", faults.status(200, body=page)))
        world.look()
        world.faults.clear()
        (lane,) = world.heads()
        world.wake(lane)
        world.clock.advance(1)
    world.run_until_quiet(at_most_s=600)

    assert world.imports() == [("USMF", 1)] * 2
    assert [run.file.item_id for run in world.ended_runs()] == [listed[1]["id"], listed[0]["id"]]


def test_files_that_onedrive_denies_for_a_moment_are_neither_given_up_nor_taken_twice(world: World) -> None:
    """Graph answers 404 for folders and items that it has just shown."""
    begin(world)
    world.put("USMF_2.zip")
    denied = faults.status(404, body=of_graph("itemNotFound", "The resource could not be found."))
    world.faults.add(graph_fault("GET", "/children", denied))
    world.faults.add(graph_fault("*", r"/items/[^/]+$", denied, times=4))
    with pytest.raises(TryAgain):
        world.look()

    look_and_finish(world)

    assert world.imports() == [("USMF", 1)] * 2
    assert world.files("Success") == ["USMF_1.zip", "USMF_2.zip"]
    assert sorted(file.name for file in world.folder.iterdir()) == sorted(FOLDERS)


def _input_of(world: World) -> tuple[OneDrive, str]:
    return _drive(world), world.services.folders.find(f"drives/{world.onedrive.drive_id}", "Input")


# Many


class InMemory(RunStore):
    """Open runs in memory: ten thousand blobs of Azurite's would take a minute."""

    def __init__(self) -> None:
        self.runs: dict[tuple[str, str], Run] = {}

    def create(self, run: Run) -> bool:
        return self.runs.setdefault((run.lane, run.sort_key), run) is run

    def open_lanes(self) -> OpenLanes:
        rows = [
            LaneRow(lane=lane, sort_key=order, due=run.due, state=run.state, file_name=run.file.name)
            for (lane, order), run in sorted(self.runs.items(), key=lambda row: row[0])
        ]
        return OpenLanes(rows, [], frozenset())

    def open_places(self) -> list[tuple[str, str]]:
        return sorted(self.runs)


def test_of_10_000_files_that_wait_each_gets_one_run_and_the_oldest_goes_first(world: World) -> None:
    """How little a lane of any length costs is held in the contract of the run store."""
    began = datetime(2026, 1, 1, tzinfo=UTC)
    items = [_item(number, began + timedelta(seconds=(number * 7919) % 10_000)) for number in range(10_000)]
    world.monkeypatch.setattr(OneDrive, "list_items", lambda _drive, _folder: iter(items))
    store = InMemory()
    world.services.store = store

    assert world.look() == 10_000
    assert world.look() == 0

    head = store.open_lanes().rows[0]
    assert store.runs[head.lane, head.sort_key].file.modified == began
    assert world.wakes_of_lanes() == [(head.lane, 0)]
    assert len(store.runs) == 10_000


def _item(number: int, modified: datetime) -> DriveItem:
    return DriveItem(
        item_id=f"01{number:06d}",
        name=f"USMF_{number:06d}.zip",
        size_bytes=1000,
        etag=f'"{number}"',
        parent_id="01INPUT",
        last_modified=modified,
        quick_xor_hash=None,
        download_url=None,
        is_file=True,
        is_folder=False,
        has_malware=False,
        is_pending=False,
        web_url="",
    )


def test_a_file_that_has_waited_for_long_is_not_refused_because_it_is_empty_for_a_moment(make_world: MakeWorld) -> None:
    """A program writes it anew, and begins with an empty file."""
    world = make_world(settings=ALERTS)
    lane = begin(world)
    world.clock.advance(3600)
    world.put("USMF_1.zip", b"")
    world.wake(lane)
    world.put("USMF_1.zip")
    world.run_until_quiet()

    assert [run.outcome for run in world.ended_runs()] == [Outcome.SUCCEEDED]


def test_the_report_lies_beside_its_file_though_a_person_has_renamed_the_error_folder(make_world: MakeWorld) -> None:
    world = make_world(settings=ALERTS)
    import_file(world, "USMF_1.zip", b"no package")
    (world.folder / "Error").rename(world.folder / "Error of last year")
    (world.folder / "Error").mkdir()
    world.clock.advance(600)
    import_file(world, "USMF_2.zip", b"no package")

    assert world.files("Error") == ["USMF_2.zip", "USMF_2.zip.report.txt"]
    assert world.files("Error of last year") == ["USMF_1.zip", "USMF_1.zip.report.txt"]
