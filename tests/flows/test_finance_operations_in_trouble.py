"""What F&O does wrong, late or never: packages are imported once, no export is lost, and what lasts is told once."""

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import pytest

from local_cloud import faults
from local_cloud.finance_operations.data_management import DEADLOCK
from local_cloud.finance_operations.executions import Status
from local_cloud.finance_operations.knobs import Behaviour, Speed
from shared import execution
from shared.imports.fence import KEY_MARGIN
from shared.runs.states import Outcome, State
from tests.exports import EXPORT, delivered, export, prepared, started
from tests.faults.interception import answered
from tests.flows.conftest import MakeWorld
from tests.flows.trouble import (
    ALERTS,
    as_soon_as,
    begin,
    by_hand,
    fno_fault,
    import_file,
    let_pass,
    look_and_finish,
    of_fo,
)
from tests.packages import build_package
from tests.world import PROJECT, World

WORLD_SETTINGS = ALERTS
GOOD_AND_BAD: Final = (("A", "Alpha"), ("B", "#ERROR here"))


def report_of(world: World) -> str:
    return (world.folder / "Error" / "USMF_1.zip.report.txt").read_text("utf-8-sig")


def polls_every(seconds: int) -> dict[str, str]:
    """Return settings with which F&O is asked that rarely."""
    return {"POLL_FIRST_SECONDS": str(seconds), "POLL_LONGEST_SECONDS": str(seconds)}


@pytest.mark.parametrize(
    ("rows", "outcome"), [(GOOD_AND_BAD[:1], Outcome.SUCCEEDED), (GOOD_AND_BAD, Outcome.PARTIALLY_SUCCEEDED)]
)
def test_an_import_that_stays_unknown_for_ever_ends_as_its_entities_and_rows_say(
    make_world: MakeWorld, rows: tuple[tuple[str, str], ...], outcome: Outcome
) -> None:
    world = make_world(settings=polls_every(240), behaviour=Behaviour(outcome="Unknown"))

    import_file(world, "USMF_1.zip", build_package(rows=rows))

    (run,) = world.ended_runs()
    assert run.outcome is outcome
    assert run.ended is not None
    assert run.ended - run.opened < execution.UNKNOWN_GRACE + timedelta(minutes=5)
    assert world.imports() == [("USMF", 1)]


def test_an_import_that_a_person_cancels_is_filed_in_error_with_what_to_do(make_world: MakeWorld) -> None:
    world = make_world(behaviour=Behaviour(never_ends=True))
    as_soon_as(world, State.EXECUTING, lambda run: world.fno.end_now(run.execution_id, Status.CANCELED))

    import_file(world, "USMF_1.zip")

    (run,) = world.ended_runs()
    assert run.outcome is Outcome.CANCELED_IN_FO
    assert "It was canceled in F&O" in report_of(world)
    assert len(world.mails()) == 1
    assert world.imports() == []


def test_an_import_that_fo_has_forgotten_is_told_filed_in_error_and_frees_its_lane(world: World) -> None:
    """The app stood still for longer than F&O keeps its history, or F&O's database was restored."""
    as_soon_as(world, State.EXECUTING, lambda _: world.clock.advance(8 * 24 * 3600))

    import_file(world, "USMF_1.zip")
    import_file(world, "USMF_2.zip")

    first, second = world.ended_runs()
    assert (first.outcome, second.outcome) == (Outcome.UNKNOWN, Outcome.SUCCEEDED)
    assert "USMF_1.zip" in world.files("Error")
    report = report_of(world)
    assert first.execution_id in report
    assert "Check in F&O whether the rows exist" in report
    (mail,) = world.mails()
    assert "its outcome is unknown" in mail.content


def test_an_execution_that_fo_does_not_find_for_hours_is_watched_on_and_ends_as_fo_says_in_the_end(
    make_world: MakeWorld,
) -> None:
    world = make_world(settings={**polls_every(1800), "IMPORT_STUCK_AFTER_MINUTES": "60"})
    gone = faults.status(400, body=of_fo("Execution was not found"))
    world.faults.add(fno_fault("GetExecutionSummaryStatus", gone, times=None))
    world.faults.add(fno_fault("JobDetails", faults.status(200, body={"value": []}), times=None))
    lane = begin(world)
    let_pass(world, lane, timedelta(hours=3))
    assert len(world.mails()) == 1

    world.faults.clear()
    world.run_until_quiet()

    assert world.calls("ImportFromPackage") == 1
    assert world.files("Success") == ["USMF_1.zip"]


@pytest.mark.parametrize(
    ("state", "outcome", "told"),
    [
        (State.EXECUTING, Outcome.UNKNOWN, ""),
        (State.READY, Outcome.FAILED, "but returns no package"),  # F&O had finished; then nobody fetched it in time
    ],
)
def test_an_export_that_fo_has_forgotten_is_told_once_and_the_next_one_goes_on(
    make_world: MakeWorld, state: State, outcome: Outcome, told: str
) -> None:
    world = prepared(make_world(settings={**EXPORT, **ALERTS}))
    as_soon_as(world, state, lambda _: world.clock.advance(8 * 24 * 3600))

    run = export(world)
    world.clock.advance(600)

    assert (run.state, run.outcome) == (State.FAILED, outcome)
    (mail,) = world.mails()
    assert told in mail.content
    assert export(world).state is State.DELIVERED


def test_error_keys_that_fo_never_writes_are_named_as_missing_in_the_report(make_world: MakeWorld) -> None:
    world = make_world(speed=Speed(seconds_per_execution=10, error_keys_s=1e9))

    import_file(world, "USMF_1.zip", build_package(rows=GOOD_AND_BAD))
    assert "did not write the error keys" in report_of(world)
    assert "USMF_1.zip.errors.csv" in world.files("Error")


# Data projects in use


@pytest.mark.quick(cases=0)
def test_a_project_that_a_dead_execution_blocks_is_told_once_and_goes_on_when_a_person_ends_it(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "REFUSED_KEPT", 3)
    world = make_world(settings={"IMPORT_DATA_PROJECT": "Shared"}, behaviour=Behaviour(never_ends=True))
    by_hand(world, "Shared", "dead")
    world.fno.change(never_ends=False)
    lane = begin(world)
    let_pass(world, lane, timedelta(minutes=20))
    (run,) = world.open_runs()
    assert world.calls("ImportFromPackage") > 9
    assert len(run.submissions) <= 4  # bounded, however long it lasts
    assert len(world.mails()) == 1

    world.fno.end_now("dead", Status.CANCELED)
    world.run_until_quiet()

    assert world.imports() == [("USMF", 1)]
    assert world.files("Success") == ["USMF_1.zip"]
    assert len(world.mails()) == 1


# What F&O's tables say when two work on one data project.
# https://azureintegrations.com/2020/03/28/d365uo-recurring-integration-to-avoid-dmf-parallel-execution-issue/
CONTENTION: Final = (
    DEADLOCK,
    "Cannot create a record in Entities for a processing group. The record already exists.",
    "Cannot edit a record in Source (DMFDefinitionGroupEntityXMLFields).",
    "The record has never been selected.",
)


def test_words_of_contention_fail_no_file_and_no_export(make_world: MakeWorld) -> None:
    world = prepared(make_world(settings={**EXPORT, **ALERTS, "INPUT_FOLDER": "Input"}))
    before = len(world.imports())
    for nth, words in enumerate(CONTENTION, 1):
        for action in ("ImportFromPackage", "ExportToPackage"):
            world.faults.add(fno_fault(action, faults.status(400, body=of_fo(words)), nth=nth))

    import_file(world, "USMF_1.zip")
    run = export(world)

    assert world.imports()[before:] == [("USMF", 1)]
    assert world.files("Success") == ["USMF_1.zip"]
    assert "A" in delivered(world)[run.file.name]
    assert world.calls("ImportFromPackage") == world.calls("ExportToPackage") == len(CONTENTION) + 1
    assert world.mails() == []


# Keys that run out


def test_a_key_that_runs_out_before_the_upload_is_asked_for_anew(world: World) -> None:
    world.fno.change(write_url_life_s=-60.0)
    lane = begin(world)
    world.wake(lane)
    assert [run.state for run in world.open_runs()] == [State.CLAIMED]

    world.fno.change(write_url_life_s=1800.0)
    world.run_until_quiet()

    assert world.imports() == [("USMF", 1)]
    assert world.calls("GetAzureWriteUrl") == 2


def test_a_key_that_runs_out_during_the_upload_lets_the_package_be_sent_anew(world: World) -> None:
    world.put("USMF_1.zip", build_package(replace={"Notes.txt": os.urandom(5 * 1024 * 1024)}))

    with answered(403, r"PUT /dmf/.* block$", nth=2) as refused:
        look_and_finish(world)

    assert len(refused) == 1
    assert world.calls("GetAzureWriteUrl") == 2
    assert len(world.imports()) == 1
    assert world.files("Success") == ["USMF_1.zip"]


def test_a_key_that_runs_out_before_the_import_is_replaced_without_a_second_upload(world: World) -> None:
    """Another execution was in the way for longer than F&O's keys live."""
    world.fno.change(busy_project="refuse")  # else the app's package breaks the one that a person imports
    by_hand(world, PROJECT, "by-hand")
    lane = begin(world)
    world.wake(lane)
    (waiting,) = world.open_runs()
    assert waiting.package is not None
    world.clock.advance(3600)

    world.run_until_quiet(at_most_s=600)

    assert world.imports() == [("USMF", 1)] * 2
    assert world.calls("GetAzureWriteUrl") == 2
    (run,) = world.ended_runs()
    assert run.submissions[-1].blob_name == waiting.package.blob_name


@pytest.mark.parametrize(
    "words", ["The remote server returned an error: (403) Forbidden.", "The specified blob does not exist."]
)
def test_a_key_that_runs_out_before_fo_reads_the_package_lets_it_be_uploaded_anew(world: World, words: str) -> None:
    world.faults.add(fno_fault("ImportFromPackage", faults.status(400, body=of_fo(words))))

    import_file(world, "USMF_1.zip")

    assert world.imports() == [("USMF", 1)]
    (run,) = world.ended_runs()
    first, second = run.submissions
    assert first.blob_name != second.blob_name


def test_a_key_that_runs_out_before_an_exports_package_is_read_is_asked_for_anew(make_world: MakeWorld) -> None:
    world = prepared(make_world(settings=EXPORT))
    world.fno.change(read_url_life_s=-60.0)
    lane = started(world)
    let_pass(world, lane, timedelta(seconds=30))
    assert [run.state for run in world.open_runs()] == [State.READY]

    world.fno.change(read_url_life_s=3600.0)
    world.run_until_quiet()

    assert list(delivered(world).values()) == [["A", "B"]]
    assert world.calls("GetExportedPackageUrl") > 1


# Maintenance


BEGINS: Final = {
    "before anything is sent": lambda world: world.faults.add(fno_fault("", faults.status(503), times=None)),
    "at the submit, which F&O has not seen": lambda world: _at_the_submit(world, handled=False),
    "at the submit, which F&O has taken": lambda world: _at_the_submit(world, handled=True),
    "while it executes": lambda world: as_soon_as(
        world, State.EXECUTING, lambda _: world.faults.add(fno_fault("", faults.status(502), times=None))
    ),
}


def _at_the_submit(world: World, *, handled: bool) -> None:
    world.faults.add(fno_fault("(Import|Export).*Package$", faults.status(502, handled=handled)))
    as_soon_as(
        world,
        State.SUBMITTING,
        lambda _: world.faults.add(fno_fault("Status|Jobs|JobDetails|WriteUrl", DOWN, times=None)),
    )


DOWN: Final = faults.status(503, {"Retry-After": "120"})


@pytest.mark.quick(cases=2)
@pytest.mark.parametrize("breaks", BEGINS.values(), ids=list(BEGINS))
def test_an_hour_of_maintenance_fails_no_file_is_told_once_and_is_made_up_for_by_itself(
    make_world: MakeWorld, breaks: Callable[[World], None]
) -> None:
    world = make_world(settings={"EXPORT_DATA_PROJECT": PROJECT, "EXPORT_COMPANY": "USMF"})
    lane = begin(world)
    breaks(world)
    let_pass(world, lane, timedelta(hours=1))
    assert len(world.mails()) == 1
    assert world.files("Error") == []

    world.faults.clear()
    world.run_until_quiet()

    assert world.imports() == [("USMF", 1)]
    assert world.files("Success") == ["USMF_1.zip"]
    assert len(world.mails()) == 1


# Two clocks


def test_a_fence_that_only_time_can_put_up_allows_for_a_clock_that_is_five_minutes_fast(world: World) -> None:
    """F&O gives no key to the old blob, so its own key must have run out, by F&O's clock and not by ours."""
    world.faults.add(fno_fault("ImportFromPackage", faults.reset_before()))
    lane = begin(world)
    world.wake(lane)  # sent, lost
    elsewhere = '{"BlobId":"{1}","BlobUrl":"http://127.0.0.1:1/dmf/another.zip?sig=x"}'
    world.faults.add(fno_fault("GetAzureWriteUrl", faults.status(200, body={"value": elsewhere}), times=None))
    let_pass(world, lane, timedelta(seconds=30))

    (run,) = world.open_runs()
    assert run.package is not None
    assert run.package.key_expires is not None
    fenced = run.package.key_expires + KEY_MARGIN
    let_pass(world, lane, fenced - world.clock.now())
    (run,) = world.open_runs()
    assert (run.submissions[0].fenced, world.calls("ImportFromPackage")) == (None, 1)
    world.faults.clear()
    world.run_until_quiet()
    assert world.imports() == [("USMF", 1)]
