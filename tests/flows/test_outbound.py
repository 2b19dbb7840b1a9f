"""An export's way from its schedule to a zip in Output, and that no change is lost whatever breaks.

The data project exports increments, as integrations do: what one export has taken no later one holds.
"""

import random
import re
from datetime import timedelta

import pytest
import requests
from azure.storage.blob import BlobServiceClient

from local_cloud import faults
from local_cloud.faults import Fault
from local_cloud.finance_operations.executions import Status
from local_cloud.finance_operations.knobs import Behaviour, Speed
from local_cloud.onedrive import Knobs
from shared.azure_storage.checkpoints import Checkpoint
from shared.clients.fno.client import FinanceOperations
from shared.clients.graph.drive_item import DriveItem
from shared.clients.graph.upload import UploadSession
from shared.exports import schedule as export_schedule
from shared.runs.run import Run, name_with
from shared.runs.states import Outcome, State
from tests.exports import EXPORT, HOURLY, PROJECT, change, delivered, export, fno_of, prepared, started
from tests.faults.interception import PowerCut
from tests.flows.conftest import MakeWorld
from tests.flows.trouble import ALERTS, fno_fault, graph_fault, let_pass, wake_when_due
from tests.world import World

WORLD_SETTINGS = {**EXPORT, **ALERTS}  # exports, and no imports
SUBMIT = "ExportToPackage"
GRACE_S = 180


@pytest.fixture
def exporting(make_world: MakeWorld) -> World:
    """A world with an export project, in which two rows wait to be exported."""
    return prepared(make_world())


def content_fault(do: faults.Action, *, nth: int = 1, times: int | None = 1) -> Fault:
    return Fault("graph-content", "PUT", "", nth, times, do=do)


def in_state(world: World, state: State) -> str:
    """Let an export be started and come into a state; return its lane."""
    lane = started(world)
    while world.open_runs()[0].state is not state:
        wake_when_due(world, lane)
    return lane


def submitted_twice(world: World) -> None:
    """Let an export be started whose first request is cut off before it arrives."""
    world.faults.add(fno_fault(SUBMIT, faults.reset_before()))
    lane = started(world)
    while world.calls(SUBMIT) < 2:
        wake_when_due(world, lane)


def arrives_late(world: World, execution_id: str) -> None:
    """Let a proxy send the first request on after rows have changed: then it is another export, with later changes."""
    change(world, ("C", "Gamma"))
    fno_of(world).export_to_package(
        data_project=PROJECT, package_name="late", execution_id=execution_id, legal_entity="USMF"
    )


def test_an_export_lands_in_output_under_a_name_that_says_what_and_when(exporting: World) -> None:
    run = export(exporting)

    ((name, rows),) = delivered(exporting).items()
    assert re.fullmatch(r"Asset-Major-Types-Export_USMF_\d{8}-\d{6}\.zip", name)
    assert rows == ["A", "B"]
    assert (run.state, run.outcome, run.file.name) == (State.DELIVERED, Outcome.SUCCEEDED, name)
    assert exporting.calls(SUBMIT) == 1
    assert exporting.mails() == []


def test_each_export_holds_what_changed_since_the_one_before(exporting: World) -> None:
    exports = [export(exporting).file.name]
    for rows in ([("C", "Gamma")], [], [("A", "Another"), ("D", "Delta")]):
        if rows:
            change(exporting, *rows)
        exporting.clock.advance(30)
        exports.append(export(exporting).file.name)

    files = delivered(exporting)
    assert [files[name] for name in exports] == [["A", "B"], ["C"], [], ["A", "D"]]


def test_of_two_hosts_that_start_exports_at_the_same_moment_one_starts_it(exporting: World) -> None:
    other, read = exporting.new_process(), exporting.services.checkpoints.read
    started_by_other: list[int] = []

    def read_and_be_overtaken(name: str) -> Checkpoint:
        mark = read(name)
        started_by_other.append(export_schedule.start_exports(other))
        return mark

    exporting.monkeypatch.setattr(exporting.services.checkpoints, "read", read_and_be_overtaken)

    assert exporting.start_exports() == 0
    assert started_by_other == [1]
    assert len(exporting.heads()) == 1


def test_an_export_begins_no_sooner_than_its_time_after_the_last(make_world: MakeWorld) -> None:
    world = prepared(make_world(settings={**HOURLY, "EXPORT_DATA_PROJECT": "", "EXPORT_COMPANY": ""}))
    export(world)
    moment = world.ended_runs()[0].scheduled
    assert moment is not None
    world.clock.present = moment + timedelta(seconds=3570)
    assert world.start_exports() == 0

    world.clock.advance(30)

    assert world.start_exports() == 1


def test_an_output_folder_that_is_deleted_meanwhile_is_made_anew(exporting: World) -> None:
    export(exporting)
    change(exporting, ("C", "Gamma"))
    for file in (exporting.folder / "Output").iterdir():
        file.unlink()
    (exporting.folder / "Output").rmdir()
    exporting.clock.advance(30)

    export(exporting)

    assert list(delivered(exporting).values()) == [["C"]]


# Answers that are lost

LOST = {
    "the answer of ExportToPackage is lost": fno_fault(SUBMIT, faults.lost_after()),
    "ExportToPackage answers 504 after F&O went on": fno_fault(SUBMIT, faults.status(504, handled=True)),
    "ExportToPackage is cut off before it arrives": fno_fault(SUBMIT, faults.reset_before()),
    "ExportToPackage is throttled": fno_fault(SUBMIT, faults.status(429, {"Retry-After": "45"}), times=3),
    "F&O refuses the app for a while": fno_fault(SUBMIT, faults.status(403), times=2),
    "the status answers 502 five times": fno_fault("GetExecutionSummaryStatus", faults.status(502), times=5),
    "the package's address is lost": fno_fault("GetExportedPackageUrl", faults.lost_after()),
    "the answer with the upload session is lost": graph_fault("POST", "createUploadSession", faults.lost_after()),
    "the drive is full for a while": graph_fault("POST", "createUploadSession", faults.status(507), times=3),
    "Graph is throttled": graph_fault("*", "/drives/", faults.status(429, {"Retry-After": "60"}), times=4),
    "the content is cut off before it arrives": content_fault(faults.reset_before()),
    "the content is refused with 503": content_fault(faults.status(503), times=3),
    "the answer to the content is lost": content_fault(faults.lost_after()),
    "the upload session is gone": content_fault(faults.status(404)),
}


@pytest.mark.quick(cases=3)
@pytest.mark.parametrize("fault", LOST.values(), ids=list(LOST))
def test_an_export_is_delivered_exactly_once_with_all_its_changes_when(exporting: World, fault: Fault) -> None:
    exporting.faults.add(fault)

    run = export(exporting)

    assert delivered(exporting) == {run.file.name: ["A", "B"]}
    assert run.state is State.DELIVERED
    # Whatever took effect is looked up and never sent again; a new id is sent only where F&O never began.
    assert len(exporting.fno.executions) == 2  # the import of the rows, and one export


def test_an_export_that_never_arrived_is_sent_under_a_new_id_after_the_grace_time(exporting: World) -> None:
    began = exporting.clock.now()

    submitted_twice(exporting)

    assert timedelta(seconds=GRACE_S) <= exporting.clock.now() - began <= timedelta(seconds=GRACE_S + 30)
    (run,) = exporting.open_runs()
    first, second = run.submissions
    assert first.execution_id != second.execution_id
    assert first.missing_since is not None


@pytest.mark.parametrize("is_answer_lost", [False, True])
def test_an_export_that_fo_shows_late_is_waited_for(exporting: World, *, is_answer_lost: bool) -> None:
    exporting.fno.change(not_found_s=120, details_not_found_s=120, unknown_s=30)
    if is_answer_lost:
        exporting.faults.add(fno_fault(SUBMIT, faults.lost_after()))
    run = export(exporting)
    assert delivered(exporting) == {run.file.name: ["A", "B"]}
    assert exporting.calls(SUBMIT) == 1


def lost_for_the_grace_time(world: World) -> str:
    """Let the first export, which holds the changes, show up after a second one was started; return their lane."""
    world.fno.change(not_found_s=GRACE_S + 5, details_not_found_s=GRACE_S + 5)
    world.faults.add(fno_fault(SUBMIT, faults.lost_after()))
    lane = started(world)
    world.wake(lane)
    world.fno.change(not_found_s=0, details_not_found_s=0)
    return lane


def test_a_first_export_that_shows_up_after_a_second_was_started_is_delivered_too(exporting: World) -> None:
    lost_for_the_grace_time(exporting)

    exporting.run_until_quiet()

    (run,) = exporting.ended_runs()
    assert sorted(delivered(exporting).values()) == [[], ["A", "B"]]
    first, second = run.submissions
    assert second.delivered_as == run.file.name
    assert first.delivered_as == name_with(run.file.name, first.execution_id[-12:])
    assert exporting.files("Output") == sorted([first.delivered_as, second.delivered_as])
    assert run.state is State.DELIVERED


def test_a_first_export_that_holds_the_changes_is_delivered_though_the_second_has_no_package(exporting: World) -> None:
    exporting.fno.change(empty_export="no_url")
    lane = lost_for_the_grace_time(exporting)

    for _ in range(60):
        wake_when_due(exporting, lane)
        if exporting.files("Output"):
            break

    assert list(delivered(exporting).values()) == [["A", "B"]]


def test_a_request_that_reaches_fo_after_the_second_one_is_delivered_as_well(exporting: World) -> None:
    submitted_twice(exporting)
    (run,) = exporting.open_runs()
    first, second = run.submissions
    exporting.fno.end_now(second.execution_id)
    arrives_late(exporting, first.execution_id)
    exporting.run_until_quiet()

    assert sorted(delivered(exporting).values()) == [["A", "B"], ["C"]]


def test_a_request_that_reaches_fo_after_its_run_has_ended_is_delivered_with_the_next_export(exporting: World) -> None:
    """It takes changes along that no later export has."""
    exporting.faults.add(fno_fault(SUBMIT, faults.reset_before()))
    first, _second = export(exporting).submissions
    arrives_late(exporting, first.execution_id)
    exporting.clock.advance(60)

    export(exporting)

    assert sorted(delivered(exporting).values()) == [[], ["A", "B"], ["C"]]


# Processes that die


@pytest.mark.parametrize("arrives", [False, True])
def test_an_export_is_delivered_once_when_the_process_dies_at_the_submit(exporting: World, arrives: bool) -> None:
    original = FinanceOperations.export_to_package

    def die(fno: FinanceOperations, **request: str) -> str:
        if arrives:
            original(fno, **request)
        raise PowerCut

    lane = started(exporting)
    with exporting.monkeypatch.context() as patched:
        patched.setattr(FinanceOperations, "export_to_package", die)
        with pytest.raises(PowerCut):
            exporting.wake(lane)
    assert [run.state for run in exporting.open_runs()] == [State.SUBMITTING]

    exporting.services = exporting.new_process()
    exporting.run_until_quiet()

    assert list(delivered(exporting).values()) == [["A", "B"]]
    assert exporting.calls(SUBMIT) == 1
    (run,) = exporting.ended_runs()
    assert len(run.submissions) == (1 if arrives else 2)


@pytest.mark.parametrize("state", [State.EXECUTING, State.READY, State.DELIVERED])
def test_an_export_is_delivered_once_when_the_process_dies_before_it_can_save(exporting: World, state: State) -> None:
    exporting.start_exports()
    store = exporting.services.store
    save, end = store.save, store.end

    def save_or_die(run: Run) -> Run:
        if run.state is state:
            raise PowerCut
        return save(run)

    def end_or_die(run: Run) -> None:
        if run.state is state:
            raise PowerCut
        end(run)

    with exporting.monkeypatch.context() as patched:
        patched.setattr(store, "save", save_or_die)
        patched.setattr(store, "end", end_or_die)
        with pytest.raises(PowerCut):
            exporting.run_until_quiet()

    exporting.services = exporting.new_process()
    exporting.run_until_quiet()

    assert list(delivered(exporting).values()) == [["A", "B"]]
    assert exporting.calls(SUBMIT) == 1


# On the way into OneDrive


@pytest.fixture
def large(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world whose export is a package of several chunks."""
    monkeypatch.setattr("shared.exports.delivery.CHUNK", 320 * 1024)
    world = make_world()
    letters = random.Random(1)
    change(world, *((f"R{number}", letters.randbytes(120).hex()) for number in range(8000)))
    return world


CHUNKS = {
    "the answer to a chunk is lost": content_fault(faults.lost_after(), nth=2),
    "the session is gone at a chunk": content_fault(faults.status(404), nth=3),
    "the key to the session runs out half-way": content_fault(faults.status(401), nth=3),
    "the session forgets what it has": content_fault(faults.status(202, body={"nextExpectedRanges": ["0-"]}), nth=3),
}


@pytest.mark.quick(cases=2)
@pytest.mark.parametrize("fault", CHUNKS.values(), ids=list(CHUNKS))
def test_a_large_export_arrives_whole_when(large: World, fault: Fault) -> None:
    large.faults.add(fault)

    export(large)

    ((_, rows),) = delivered(large).items()
    assert len(rows) == 8000
    assert large.calls("uploadSession") > 4


@pytest.mark.parametrize("knobs", [Knobs(), Knobs(conflict_at_create=True), Knobs(missing_hash=["*"])])
def test_a_file_whose_last_answer_was_lost_is_found_and_not_put_a_second_time(
    make_world: MakeWorld, knobs: Knobs
) -> None:
    world = prepared(make_world(knobs=knobs))
    world.faults.add(content_fault(faults.status(504, handled=True)))

    run = export(world)

    assert delivered(world) == {run.file.name: ["A", "B"]}


@pytest.fixture
def planned(exporting: World) -> tuple[World, Run]:
    """An export that has been started, and whose file's name is fixed."""
    exporting.start_exports()
    (run,) = exporting.open_runs()
    return exporting, run


@pytest.mark.parametrize("is_of_the_same_size", [False, True])
def test_a_file_that_has_the_name_already_is_left_alone_and_the_export_gets_a_name_of_its_own(
    planned: tuple[World, Run], is_of_the_same_size: bool
) -> None:
    world, run = planned
    other = world.folder / "Output" / run.file.name
    other.write_bytes(b"someone else's")
    if is_of_the_same_size:
        other.write_bytes(b"x" * size_of_the_package(world))

    world.run_until_quiet()

    before = b"x" * other.stat().st_size if is_of_the_same_size else b"someone else's"
    assert other.read_bytes() == before
    other.unlink()
    (ended,) = world.ended_runs()
    own = f"{run.file.name.removesuffix('.zip')} ({run.run_id}).zip"
    assert delivered(world) == {own: ["A", "B"]}
    assert ended.file.name == own


def upload_holding(name: str, world: World) -> UploadSession:
    """Open an upload that holds a name in Output."""
    drive = world.services.settings.flows.exports[0].drive
    return world.services.onedrive(drive).open_upload(world.services.folders.find(drive, "Output"), name, size_bytes=1)


def test_a_name_that_an_upload_holds_is_waited_for_because_it_may_be_another_workers(
    planned: tuple[World, Run],
) -> None:
    world, run = planned
    session = upload_holding(run.file.name, world)
    (lane,) = world.heads()
    while world.open_runs()[0].attempts < 15:  # several uploads, one after the other
        wake_when_due(world, lane)
    assert world.files("Output") == []
    session.cancel()

    world.run_until_quiet()

    assert delivered(world) == {run.file.name: ["A", "B"]}


def test_a_name_that_an_upload_holds_for_long_does_not_keep_an_export_from_being_delivered(
    planned: tuple[World, Run],
) -> None:
    world, run = planned
    upload_holding(run.file.name, world)
    began = world.clock.now()

    world.run_until_quiet()

    assert delivered(world) == {name_with(run.file.name, run.run_id): ["A", "B"]}
    assert timedelta(minutes=60) < world.clock.now() - began < timedelta(minutes=90)


def size_of_the_package(world: World) -> int:
    """Return how large the export's package will be; found out by an export of a whole other world of the same rows."""
    (lane,) = world.heads()
    while (run := world.open_runs()[0]).state is not State.READY and not world.fno.executions[-1].package_blob:
        wake_when_due(world, lane)
    world.fno.end_now(run.execution_id)
    execution_id = world.open_runs()[0].execution_id
    url = fno_of(world).exported_package_url(execution_id)
    assert url is not None
    return len(requests.get(url.reveal(), timeout=10).content)


def test_a_file_that_arrives_damaged_is_taken_away_and_sent_again(exporting: World) -> None:
    original = UploadSession.put
    damaged: list[bytes] = []

    def damage_once(session: UploadSession, start: int, chunk: bytes) -> DriveItem | None:
        if damaged:
            return original(session, start, chunk)
        damaged.append(chunk)
        return original(session, start, bytes(len(chunk)))

    exporting.monkeypatch.setattr(UploadSession, "put", damage_once)

    run = export(exporting)

    assert damaged
    assert delivered(exporting) == {run.file.name: ["A", "B"]}


@pytest.mark.quick(cases=1)
@pytest.mark.parametrize("lost_bytes", [1, 200])
def test_a_package_that_is_cut_off_in_blob_storage_is_not_delivered_before_it_is_whole(
    exporting: World, lost_bytes: int
) -> None:
    lane = in_state(exporting, State.EXECUTING)
    exporting.fno.end_now(exporting.open_runs()[0].execution_id)
    name = exporting.fno.executions[-1].package_blob
    with BlobServiceClient.from_connection_string(exporting.connection) as storage:
        blob = storage.get_blob_client("temporary-file", name)
        whole = blob.download_blob().readall()
        blob.upload_blob(whole[:-lost_bytes], overwrite=True)
        let_pass(exporting, lane, timedelta(minutes=20))
        assert exporting.files("Output") == []
        assert len(exporting.mails()) == 1
        blob.upload_blob(whole, overwrite=True)

    exporting.run_until_quiet()

    assert list(delivered(exporting).values()) == [["A", "B"]]


# Exports that fail


@pytest.mark.parametrize("outcome", ["Failed", "Canceled"])
def test_a_failed_export_is_told_once_and_the_next_one_waits_ten_minutes(exporting: World, outcome: str) -> None:
    world = exporting
    world.fno.change(outcome=outcome)

    run = export(world)

    assert (run.state, run.outcome) == (State.FAILED, Outcome(outcome))
    assert world.files("Output") == []
    (mail,) = world.mails()
    assert outcome in mail.subject
    assert PROJECT in mail.content
    assert "http" in mail.content  # the link to the execution summary
    assert run.ended is not None
    world.fno.change(outcome="")
    for seconds in (0, 30, 599):
        world.clock.present = run.ended + timedelta(seconds=seconds)
        assert world.start_exports() == 0
    world.clock.present = run.ended + timedelta(seconds=600)

    assert export(world).state is State.DELIVERED
    assert len(world.mails()) == 1


def test_an_export_that_fo_refuses_is_told_once_and_goes_on_when_it_is_mended(make_world: MakeWorld) -> None:
    world = make_world()  # the data project does not exist
    lane = started(world)
    for _ in range(5):
        wake_when_due(world, lane)
    (mail,) = world.mails()
    assert PROJECT in mail.content
    (run,) = world.open_runs()
    assert {(run.state, each.never_began) for each in run.submissions} == {(State.PLANNED, True)}

    prepared(world)
    world.run_until_quiet()

    assert list(delivered(world).values()) == [["A", "B"]]
    assert len(world.mails()) == 1


def test_an_export_that_succeeded_in_part_is_delivered_and_told(exporting: World) -> None:
    exporting.fno.change(outcome="PartiallySucceeded")

    run = export(exporting)

    assert (run.state, run.outcome) == (State.DELIVERED, Outcome.PARTIALLY_SUCCEEDED)
    assert delivered(exporting) == {run.file.name: ["A", "B"]}
    (mail,) = exporting.mails()
    assert "PartiallySucceeded" in mail.subject
    assert mail.content


def test_an_export_that_hangs_is_told_once_watched_on_and_delivered_in_the_end(make_world: MakeWorld) -> None:
    world = prepared(make_world(settings={"EXPORT_STUCK_AFTER_MINUTES": "20", "POLL_LONGEST_SECONDS": "600"}))
    world.fno.change(never_ends=True)
    lane = started(world)
    for _ in range(40):
        wake_when_due(world, lane)
    (mail,) = world.mails()
    (run,) = world.open_runs()
    assert run.execution_id in mail.content

    world.fno.end_now(run.execution_id, Status.SUCCEEDED)
    world.run_until_quiet()

    assert list(delivered(world).values()) == [["A", "B"]]
    assert world.calls(SUBMIT) == 1
    assert len(world.mails()) == 1


def test_a_package_that_fo_never_hands_out_is_told_and_given_up_after_the_seven_days_that_fo_keeps_it(
    make_world: MakeWorld,
) -> None:
    world = prepared(make_world(speed=Speed(seconds_per_execution=10, package_url_s=10**7)))
    lane = in_state(world, State.READY)
    assert world.mails() == []

    world.clock.advance(16 * 60)
    for _ in range(3):
        wake_when_due(world, lane)
    (mail,) = world.mails()
    assert "Job history" in mail.content
    world.clock.advance(7 * 24 * 3600)
    wake_when_due(world, lane)

    (run,) = world.ended_runs()
    assert run.state is State.FAILED
    assert run.execution_id in run.reason
    assert "Job history" in run.reason
    assert len(world.mails()) == 2  # after 15 minutes, and at the end
    assert world.files("Output") == []


def test_a_package_is_fetched_even_days_later(make_world: MakeWorld) -> None:
    world = prepared(make_world(speed=Speed(seconds_per_execution=10, package_url_s=5 * 24 * 3600)))
    in_state(world, State.READY)
    world.clock.advance(6 * 24 * 3600)
    world.run_until_quiet()

    assert list(delivered(world).values()) == [["A", "B"]]


def test_an_export_of_nothing_for_which_fo_makes_no_package_does_not_hold_up_the_next_one(
    make_world: MakeWorld,
) -> None:
    world = prepared(make_world(behaviour=Behaviour(empty_export="no_url")))
    export(world)
    before = world.clock.present
    world.clock.advance(30)

    nothing = export(world)

    assert world.clock.present - before < timedelta(minutes=3)
    assert (nothing.state, nothing.file.item_id) == (State.DELIVERED, "")
    assert world.mails() == []
    change(world, ("C", "Gamma"))
    world.clock.advance(30)
    run = export(world)
    assert delivered(world)[run.file.name] == ["C"]
