"""A package's way from Input to Success or Error, and that it is imported exactly once whatever breaks."""

import itertools
import os
from dataclasses import replace
from datetime import timedelta

import pytest

from local_cloud import faults
from local_cloud.faults import Fault
from local_cloud.finance_operations.knobs import Behaviour, Speed
from local_cloud.onedrive import Knobs
from shared.clients.blobs.write import empty_blob
from shared.errors import TryAgain
from shared.runs.addresses import moment_of, sort_key_of
from shared.runs.record import run_to_json
from shared.runs.states import Outcome, State
from shared.secret import SecretUrl
from tests.flows.conftest import MakeWorld
from tests.flows.trouble import (
    ALERTS,
    begin,
    by_hand,
    fno_fault,
    graph_fault,
    import_file,
    let_pass,
    look_and_finish,
    wake_and_die,
    wake_when_due,
)
from tests.packages import build_package
from tests.world import World

WORLD_SETTINGS = ALERTS
IMPORT = "ImportFromPackage"


def test_a_package_in_input_is_imported_under_its_company_and_filed_in_success(world: World) -> None:
    import_file(world, "USMF_Customers_001.zip")

    assert world.imports() == [("USMF", 1)]
    assert world.files("Success") == ["USMF_Customers_001.zip"]
    assert world.files("Input") == world.files("Processing") == world.files("Error") == []
    (run,) = world.ended_runs()
    assert (run.outcome, run.company, run.data_project) == (Outcome.SUCCEEDED, "USMF", "Asset-Major-Types")


def test_a_file_that_is_seen_twice_is_imported_once(world: World) -> None:
    world.put("USMF_Customers_001.zip")

    assert world.look() == 1
    assert world.look() == 0
    world.run_until_quiet()
    assert world.look() == 0

    assert world.imports() == [("USMF", 1)]


def test_a_file_that_a_person_puts_back_is_imported_again(world: World) -> None:
    import_file(world, "USMF_Customers_001.zip")

    (world.folder / "Success" / "USMF_Customers_001.zip").rename(world.folder / "Input" / "USMF_Customers_001.zip")
    look_and_finish(world)

    assert world.imports() == [("USMF", 1), ("USMF", 1)]
    assert len(world.ended_runs()) == 2


def test_packages_of_one_lane_are_imported_oldest_first_and_one_at_a_time(world: World) -> None:
    for age, name in enumerate(("USMF_third.zip", "USMF_second.zip", "USMF_first.zip")):
        file = world.put(name)
        os.utime(file, (1_700_000_000 - age * 60, 1_700_000_000 - age * 60))

    look_and_finish(world)

    finished = sorted(world.ended_runs(), key=lambda run: run.ended or run.opened)
    assert [run.file.name for run in finished] == ["USMF_first.zip", "USMF_second.zip", "USMF_third.zip"]
    for before, after in itertools.pairwise(finished):
        assert before.ended is not None
        first_step = after.steps[0]
        assert first_step.began >= before.ended


def test_rows_that_fail_are_told_in_a_report_and_a_csv_beside_the_file(world: World) -> None:
    import_file(world, "USMF_Customers_001.zip", build_package(rows=(("A", "Alpha"), ("B", "#ERROR here"))))

    assert world.imports() == [("USMF", 1)]
    files = world.files("Error")
    assert "USMF_Customers_001.zip" in files
    assert "USMF_Customers_001.zip.errors.csv" in files
    (run,) = world.ended_runs()
    assert run.outcome is Outcome.PARTIALLY_SUCCEEDED
    report = (world.folder / "Error" / "USMF_Customers_001.zip.report.txt").read_text(encoding="utf-8-sig")
    assert "PartiallySucceeded" in report
    assert run.execution_id in report
    assert "http" in report  # the link to F&O's execution summary
    rows = (world.folder / "Error" / "USMF_Customers_001.zip.errors.csv").read_text(encoding="utf-8-sig")
    assert "#ERROR here" in rows
    assert any(name.endswith(".error-keys.txt") for name in files)


def test_the_error_keys_are_waited_for_while_f_and_o_makes_them(make_world: MakeWorld) -> None:
    world = make_world(speed=Speed(seconds_per_execution=5, error_keys_s=12))
    import_file(world, "USMF_Customers_001.zip", build_package(rows=(("A", "Alpha"), ("B", "#ERROR here"))))

    assert any(name.endswith(".error-keys.txt") for name in world.files("Error"))


def test_a_file_that_is_no_package_goes_to_error_with_what_to_do_and_never_reaches_f_and_o(world: World) -> None:
    import_file(world, "USMF_Letter.zip", b"Dear Sir or Madam")

    assert world.imports() == []
    assert world.calls("GetAzureWriteUrl") == 0
    assert world.files("Error") == ["USMF_Letter.zip", "USMF_Letter.zip.report.txt"]
    report = (world.folder / "Error" / "USMF_Letter.zip.report.txt").read_text(encoding="utf-8-sig")
    assert "not a zip" in report
    assert "copy it to Input again" in report


def test_a_file_name_without_company_is_refused_with_an_example(world: World) -> None:
    import_file(world, "customers.zip")

    (run,) = world.ended_runs()
    assert run.outcome is Outcome.REJECTED
    assert "USMF_" in run.reason


def test_a_company_that_f_and_o_does_not_know_is_refused_in_f_and_os_words(world: World) -> None:
    import_file(world, "XXXX_Customers.zip")

    (run,) = world.ended_runs()
    assert run.outcome is Outcome.REJECTED
    assert world.files("Error") == ["XXXX_Customers.zip", "XXXX_Customers.zip.report.txt"]


@pytest.mark.parametrize("folder", ["Processing", "Success"])
def test_a_file_of_the_same_name_that_is_there_already_is_not_overwritten(world: World, folder: str) -> None:
    (world.folder / folder / "USMF_Customers_001.zip").write_bytes(b"an earlier one")
    import_file(world, "USMF_Customers_001.zip")

    assert (world.folder / folder / "USMF_Customers_001.zip").read_bytes() == b"an earlier one"
    assert world.imports() == [("USMF", 1)]
    assert len(world.files("Success")) == (2 if folder == "Success" else 1)


def test_an_empty_file_is_waited_for_until_its_content_is_there(world: World) -> None:
    world.wake(begin(world, "USMF_Customers_001.zip", content=b""))
    assert world.files("Input") == ["USMF_Customers_001.zip"]

    world.put("USMF_Customers_001.zip")
    world.run_until_quiet()

    assert world.imports() == [("USMF", 1)]


def test_a_file_that_another_run_has_moved_and_not_begun_is_imported_by_the_first_of_them(world: World) -> None:
    lane = begin(world)
    (run,) = world.open_runs()
    wake_and_die(world, lane, "shared.runs.store.RunStore.save")
    assert world.files("Processing") == ["USMF_1.zip"]
    earlier = moment_of(run.sort_key) - timedelta(seconds=1)
    first = replace(run, run_id="f" * 12, sort_key=sort_key_of(earlier, run.file.item_id))
    world.services.store.create(first)

    world.services = world.new_process()
    world.run_until_quiet()

    assert world.imports() == [("USMF", 1)]
    assert [ended.run_id for ended in world.ended_runs()] == [first.run_id]
    assert world.heads() == {}


def test_a_file_that_stays_empty_goes_to_error_after_ten_minutes(world: World) -> None:
    lane = begin(world, "USMF_Customers_001.zip", content=b"")
    let_pass(world, lane, timedelta(minutes=10))
    assert world.files("Input") == ["USMF_Customers_001.zip"]

    world.run_until_quiet(at_most_s=300)

    (run,) = world.ended_runs()
    assert run.outcome is Outcome.REJECTED
    assert "empty for 10 minutes" in run.reason
    assert world.files("Error") == ["USMF_Customers_001.zip", "USMF_Customers_001.zip.report.txt"]


def test_a_file_that_is_replaced_while_it_waits_is_imported_with_its_new_content(world: World) -> None:
    begin(world, "USMF_Customers_001.zip")
    world.put("USMF_Customers_001.zip", build_package(rows=(("A", "Alpha"), ("B", "Beta"))))

    world.run_until_quiet()

    assert world.imports() == [("USMF", 2)]


def test_a_file_that_a_person_takes_away_is_let_go_without_an_alert(world: World) -> None:
    file = world.put("USMF_Customers_001.zip")
    world.look()
    file.rename(world.folder / "USMF_Customers_001.zip")

    world.run_until_quiet()

    (run,) = world.ended_runs()
    assert run.state is State.WITHDRAWN
    assert world.imports() == []


def test_malware_is_never_downloaded_and_goes_to_error(make_world: MakeWorld) -> None:
    world = make_world(knobs=Knobs(malware=["*virus*"]))
    import_file(world, "USMF_virus.zip")

    (run,) = world.ended_runs()
    assert run.outcome is Outcome.REJECTED
    assert "malware" in run.reason
    assert world.imports() == []


LOST = {
    "the answer of ImportFromPackage is lost": fno_fault(IMPORT, faults.lost_after()),
    "ImportFromPackage is cut off before it arrives": fno_fault(IMPORT, faults.reset_before()),
    "ImportFromPackage answers garbage": fno_fault(IMPORT, faults.garbage()),
    "ImportFromPackage is throttled": fno_fault(IMPORT, faults.status(429, headers={"Retry-After": "7"})),
    "the answer of the claiming move is lost": graph_fault("PATCH", ".*/items/.*", faults.lost_after()),
    "the answer of the filing move is lost": graph_fault("PATCH", ".*/items/.*", faults.lost_after(), nth=2),
    "the status answers 502 three times": fno_fault("GetExecutionSummaryStatus", faults.status(502), times=3),
    "the listing answers 429": graph_fault("GET", ".*/children", faults.status(429)),
    "a token is refused once": graph_fault("PATCH", ".*/items/.*", faults.status(401)),
}


@pytest.mark.quick(cases=4)
@pytest.mark.parametrize("fault", LOST.values(), ids=list(LOST))
def test_a_package_is_imported_exactly_once_when(world: World, fault: Fault) -> None:
    world.put("USMF_Customers_001.zip")
    world.faults.add(fault)

    look_until_seen(world)
    world.run_until_quiet()

    assert world.imports() == [("USMF", 1)]
    assert world.files("Success") == ["USMF_Customers_001.zip"]
    assert world.files("Input") == world.files("Processing") == world.files("Error") == []


def look_until_seen(world: World) -> None:
    """Look as the timer does: a look that fails is followed by the next minute's."""
    for _ in range(3):
        try:
            world.look()
            return
        except TryAgain:
            world.clock.advance(60)


def test_a_package_is_imported_once_when_the_process_dies_after_saving_the_id_and_before_sending(world: World) -> None:
    lane = begin(world, "USMF_Customers_001.zip")
    wake_and_die(world, lane, "shared.clients.fno.client.FinanceOperations.import_from_package")
    (run,) = world.open_runs()
    assert run.state is State.SUBMITTING

    world.services = world.new_process()
    world.run_until_quiet()

    assert world.imports() == [("USMF", 1)]
    (ended,) = world.ended_runs()
    assert [submission.fenced is not None for submission in ended.submissions] == [True, False]


def test_a_request_that_reaches_f_and_o_after_the_fence_imports_nothing(world: World) -> None:
    # The connection is cut before F&O reads the request, which is kept and sent on later, as a proxy might do.
    kept: list[dict[str, object]] = []
    world.faults.add(fno_fault(IMPORT, faults.reset_before()))
    lane = begin(world, "USMF_Customers_001.zip")
    original = world.services.finance_operations(world.fno.url).import_from_package

    def keep(**request: object) -> str:
        kept.append(request)
        return original(**request)  # type: ignore[arg-type]  # passed on as it came

    world.services.finance_operations(world.fno.url).import_from_package = keep  # type: ignore[method-assign]
    world.wake(lane)  # sent, lost
    world.clock.advance(10)
    world.wake(lane)  # not known, so fenced
    (run,) = world.open_runs()
    assert run.submissions[0].fenced is not None

    with pytest.raises(Exception, match="package"):
        original(**kept[0])  # type: ignore[arg-type]  # as above
    world.run_until_quiet()

    assert world.imports() == [("USMF", 1)]


def test_the_grace_time_begins_when_the_fence_stands_however_long_that_took(world: World) -> None:
    world.faults.add(fno_fault(IMPORT, faults.reset_before()))
    lane = begin(world, "USMF_Customers_001.zip")
    world.wake(lane)  # sent, lost

    def slowly(url: SecretUrl) -> None:
        world.clock.advance(600)
        empty_blob(url)

    world.monkeypatch.setattr("shared.imports.fence.empty_blob", slowly)
    world.clock.advance(10)
    world.wake(lane)  # not known, so fenced
    fenced_at = world.clock.now()

    (run,) = world.open_runs()
    assert run.submissions[0].fenced == fenced_at
    assert run.due >= fenced_at + timedelta(seconds=world.services.settings.submit_grace_s)


def test_a_submit_whose_answer_was_lost_is_looked_up_and_never_sent_again(world: World) -> None:
    world.faults.add(fno_fault(IMPORT, faults.lost_after()))

    import_file(world, "USMF_Customers_001.zip")

    assert world.calls(IMPORT) == 1
    (run,) = world.ended_runs()
    assert len(run.submissions) == 1


def test_not_found_right_after_the_submit_is_waited_for(make_world: MakeWorld) -> None:
    world = make_world(speed=Speed(seconds_per_execution=60, not_found_s=30))
    import_file(world, "USMF_Customers_001.zip")

    assert world.imports() == [("USMF", 1)]
    assert world.files("Success") == ["USMF_Customers_001.zip"]


def test_a_project_that_is_busy_is_waited_for_and_no_file_fails(make_world: MakeWorld) -> None:
    world = make_world(
        settings={"IMPORT_DATA_PROJECT": "Shared"},
        speed=Speed(seconds_per_execution=100),
        behaviour=Behaviour(busy_project="refuse"),  # else the app's package breaks the one that a person imports
    )
    by_hand(world, "Shared", "by-hand")
    import_file(world, "USMF_Customers_001.zip")

    assert world.imports() == [("USMF", 1), ("USMF", 1)]
    assert world.files("Success") == ["USMF_Customers_001.zip"]


def test_an_execution_that_hangs_alerts_once_is_watched_on_and_is_never_sent_again(make_world: MakeWorld) -> None:
    world = make_world(
        settings={"IMPORT_STUCK_AFTER_MINUTES": "30"},
        behaviour=Behaviour(never_ends=True),
    )
    lane = begin(world, "USMF_Customers_001.zip")

    while world.clock.now() - world.open_runs()[0].opened < timedelta(hours=1):
        wake_when_due(world, lane)

    assert len(world.mails()) == 1
    assert world.calls(IMPORT) == 1
    (run,) = world.open_runs()
    assert run.state is State.EXECUTING
    assert run.problem is not None
    world.fno.end_now(run.execution_id)
    world.run_until_quiet()
    assert world.files("Success") == ["USMF_Customers_001.zip"]


def test_a_failed_import_is_mailed_once(world: World) -> None:
    import_file(world, "USMF_Customers_001.zip", build_package(rows=(("B", "#ERROR here"),)))

    (mail,) = world.mails()
    assert "USMF_Customers_001.zip" in str(mail)
    assert "Failed" in str(mail)


@pytest.mark.parametrize("action", ["GetAzureWriteUrl", IMPORT])
def test_a_missing_permission_stops_the_lane_alerts_once_moves_no_file_and_goes_on_when_mended(
    world: World, action: str
) -> None:
    world.faults.add(fno_fault(action, faults.status(403), times=None))
    lane = begin(world, "USMF_first.zip")
    for _ in range(10):
        wake_when_due(world, lane)
    assert len(world.mails()) == 1
    assert "Microsoft Entra ID applications" in str(world.mails())
    assert world.files("Processing") == ["USMF_first.zip"]

    world.faults.clear()
    world.run_until_quiet()

    assert world.imports() == [("USMF", 1)]
    assert world.files("Success") == ["USMF_first.zip"]


def test_a_lane_that_waits_long_for_its_turn_to_call_f_and_o_troubles_nobody(world: World) -> None:
    world.monkeypatch.setattr("shared.azure_storage.import_lock.LOCK_WAIT_S", 0.0)
    lane = begin(world)

    with world.new_process().import_lock(world.fno.url):  # many other lanes, one after the other
        let_pass(world, lane, timedelta(minutes=1))
        (run,) = world.open_runs()
        assert (run.state, run.submissions, run.attempts, run.failing_since) == (State.CLAIMED, (), 0, None)
        assert run.waits is not None
        assert run.waits.since < world.clock.now() - timedelta(seconds=45)
        assert world.calls(IMPORT) == 0
    world.run_until_quiet()

    assert world.imports() == [("USMF", 1)]
    assert world.mails() == []
    (run,) = world.ended_runs()
    assert len(run.submissions) == 1


def test_no_record_of_a_run_holds_the_key_to_the_package(world: World) -> None:
    world.faults.add(fno_fault(IMPORT, faults.lost_after()))
    world.wake(begin(world, "USMF_Customers_001.zip"))

    (run,) = world.open_runs()
    assert "sig=" not in run_to_json(run)
    assert run.package is not None
    assert "?" not in run.package.blob_path


def test_an_older_file_that_comes_later_waits_until_the_one_under_way_has_ended(world: World) -> None:
    lane = begin(world, "USMF_today.zip")
    world.wake(lane)
    os.utime(world.put("USMF_yesterday.zip"), (1_700_000_000, 1_700_000_000))

    world.look()

    (head,) = world.open_runs()
    assert head.file.name == "USMF_today.zip"
    world.run_until_quiet()
    assert world.imports() == [("USMF", 1), ("USMF", 1)]


def test_a_wake_up_that_comes_too_early_ends_without_sending_another(world: World) -> None:
    lane = begin(world, "USMF_Customers_001.zip")
    world.wake(lane)
    sent = len(world.wakes.sent)

    world.wake(lane)

    assert len(world.wakes.sent) == sent
