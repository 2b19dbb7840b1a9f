"""ImportFromPackageAsync: F&O answers before it reads the package, and may know the execution only later.

The simulated F&O reads the package some time after its answer, and does not know the id until then.
"""

from datetime import timedelta

import pytest

from local_cloud import faults
from local_cloud.finance_operations.knobs import Behaviour, Speed
from shared.imports.contention import RESUBMITS
from shared.reservations.reservation import project_name
from shared.reservations.settle import settle_leftovers
from shared.runs.addresses import address_of
from shared.runs.run import ASYNC_GRACE_S
from shared.runs.states import Outcome, State
from tests.flows.conftest import MakeWorld
from tests.flows.trouble import (
    begin,
    by_hand,
    cancel,
    ended_run,
    fno_fault,
    import_file,
    let_pass,
    one_import,
    open_run,
    restart,
    shown,
)
from tests.world import PROJECT, World

ACTION = "ImportFromPackageAsync"
ASYNC = one_import(action=ACTION, dataProject=PROJECT, duplicates="refuse")
SYNC = one_import(dataProject=PROJECT, duplicates="refuse")
WORLD_SETTINGS = ASYNC
LOST = fno_fault("ImportFromPackage", faults.lost_after())
# Read a minute after the fence has emptied it, which follows the lost answer within seconds.
READ_LATE = Speed(seconds_per_execution=10.0, async_read_s=60.0, async_not_found_s=60.0)


def in_report(world: World, name: str = "USMF_1.zip") -> str:
    """Return the report beside a failed file."""
    return (world.folder / "Error" / f"{name}.report.txt").read_text("utf-8-sig")


def test_all_nine_arguments_are_sent_and_stay_those_of_the_first_submit(make_world: MakeWorld) -> None:
    arguments = {"failOnError": False, "runAsyncWithoutBatch": True, "thresholdToRunInBatch": 7}
    flow = {"dataProject": PROJECT, "overwrite": False}
    world = make_world(settings=one_import(action={"name": ACTION, **arguments}, **flow), speed=READ_LATE)
    sent: list[dict[str, object]] = []
    client = type(world.services.finance_operations(world.fno.url))
    send = client.import_from_package_async

    def listen(fno: object, **request: object) -> str:
        sent.append({key: value for key, value in request.items() if key not in ("package_url", "execution_id")})
        return send(fno, **request)  # type: ignore[arg-type]  # passed on as it came

    world.monkeypatch.setattr(client, "import_from_package_async", listen)
    world.faults.add(LOST)
    lane = begin(world)
    let_pass(world, lane, timedelta(seconds=30))
    restart(world, **one_import(**flow))
    assert shown(world, address_of(open_run(world, "USMF_1.zip"))).action == ACTION
    world.run_until_quiet()

    expected = {"data_project": PROJECT, "legal_entity": "USMF", "overwrite": False, "execute": True}
    expected |= {"fail_on_error": False, "run_async_without_batch": True, "threshold_to_run_in_batch": 7}
    assert sent == [expected] * 2
    assert world.imports() == [("USMF", 1)]


def test_an_import_that_is_read_later_succeeds(make_world: MakeWorld) -> None:
    world = make_world(speed=READ_LATE)
    import_file(world, "USMF_1.zip")

    (run,) = world.ended_runs()
    assert (run.outcome, world.calls(ACTION), world.imports()) == (Outcome.SUCCEEDED, 1, [("USMF", 1)])


def test_it_waits_for_its_turn_as_the_usual_action_does(make_world: MakeWorld) -> None:
    world = make_world()
    world.monkeypatch.setattr("shared.azure_storage.import_lock.LOCK_WAIT_S", 0.0)
    lane = begin(world)
    with world.new_process().import_lock(world.fno.url):
        let_pass(world, lane, timedelta(minutes=2))
        assert world.calls(ACTION) == 0

    world.run_until_quiet()
    assert world.imports() == [("USMF", 1)]


# The answer is lost


def test_a_package_that_fo_reads_only_after_the_fence_emptied_it_is_sent_again(make_world: MakeWorld) -> None:
    world = make_world(speed=READ_LATE)
    world.faults.add(LOST)
    import_file(world, "USMF_1.zip")

    assert world.imports() == [("USMF", 1)]
    assert world.files("Success") == ["USMF_1.zip"]
    assert world.files("Error") == []
    (run,) = world.ended_runs()
    assert (run.resubmits, [each.was_unread for each in run.submissions]) == (1, [True, False])


def test_so_is_one_that_a_late_call_of_the_usual_action_left_as_a_failed_execution(make_world: MakeWorld) -> None:
    """The request reaches F&O after the fence: F&O refuses the empty package, and leaves a failed execution."""
    world = make_world(settings=SYNC, behaviour=Behaviour(failed_import_leaves_execution=True))
    client = world.services.finance_operations(world.fno.url)
    send, kept = client.import_from_package, []

    def keep(**request: object) -> str:
        kept.append(request)
        return send(**request)  # type: ignore[arg-type]  # passed on as it came

    world.monkeypatch.setattr(client, "import_from_package", keep)
    world.faults.add(fno_fault("ImportFromPackage", faults.reset_before()))
    lane = begin(world)
    let_pass(world, lane, timedelta(seconds=30))
    assert world.open_runs()[0].submissions[0].fenced
    with pytest.raises(Exception, match="package"):
        send(**kept[0])  # type: ignore[arg-type]  # as above
    world.run_until_quiet()

    assert world.imports() == [("USMF", 1)]
    assert world.files("Error") == []


def test_answers_that_are_always_lost_end_with_a_person_and_the_file_is_not_blamed(make_world: MakeWorld) -> None:
    world = make_world(speed=READ_LATE)
    world.faults.add(fno_fault(ACTION, faults.lost_after(), times=None))
    import_file(world, "USMF_1.zip")

    assert (world.imports(), world.calls(ACTION)) == ([], RESUBMITS + 1)
    assert "F&O read it only after that" in in_report(world)
    assert "The file is not to blame: press Run again" in in_report(world)


def test_an_execution_that_fo_knows_only_after_minutes_is_found_and_not_sent_again(make_world: MakeWorld) -> None:
    world = make_world(speed=Speed(seconds_per_execution=10.0, async_read_s=0.0, async_not_found_s=ASYNC_GRACE_S - 60))
    world.faults.add(LOST)
    import_file(world, "USMF_1.zip")

    assert (world.imports(), world.calls(ACTION)) == ([("USMF", 1)], 1)
    assert world.files("Success") == ["USMF_1.zip"]


def test_an_execution_that_shows_itself_after_the_grace_time_is_told_of(make_world: MakeWorld) -> None:
    world = make_world(speed=Speed(seconds_per_execution=10.0, async_read_s=0.0, async_not_found_s=ASYNC_GRACE_S + 60))
    world.faults.add(LOST)
    import_file(world, "USMF_1.zip")

    (run,) = world.ended_runs()
    assert run.submissions[0].execution_id in run.warning
    assert "may have been imported twice" in run.warning


def test_a_cancelled_run_keeps_its_project_until_what_it_sent_has_shown_itself_and_ended(make_world: MakeWorld) -> None:
    unseen_s = ASYNC_GRACE_S - 60
    world = make_world(speed=Speed(seconds_per_execution=100.0, async_read_s=unseen_s, async_not_found_s=unseen_s))
    world.faults.add(LOST)
    lane = begin(world)
    world.wake(lane)
    (run,) = world.open_runs()
    assert run.state is State.SUBMITTING
    cancel(world, run)
    world.run_until_quiet()
    sent_at = world.clock.now()

    def is_free() -> bool:
        settle_leftovers(world.services.store.open_lanes().rows, world.services)
        return world.services.reservations.read(world.fno.url, project_name(PROJECT)) is None

    freed_after_s = 0.0
    while not is_free():
        world.clock.advance(31)
        freed_after_s = (world.clock.now() - sent_at).total_seconds()
    assert freed_after_s > unseen_s + 90
    assert world.imports() == []


# A failed execution where the usual action would have refused


def test_no_worker_stays_while_fo_may_still_list_the_entities_of_a_failed_execution(make_world: MakeWorld) -> None:
    world = make_world(speed=Speed(seconds_per_execution=1.0))
    stays: list[float] = []
    sleep = world.services.sleep

    def listen(seconds: float) -> None:
        stays.append(seconds)
        sleep(seconds)

    world.monkeypatch.setattr(world.services, "sleep", listen)
    import_file(world, "ZZZZ_1.zip")

    assert max(stays) <= world.services.settings.poll_stay_s
    assert ended_run(world, "ZZZZ_1.zip").outcome is Outcome.FAILED


def test_a_key_that_runs_out_before_fo_reads_the_package_lets_it_be_uploaded_and_sent_again(
    make_world: MakeWorld,
) -> None:
    world = make_world(speed=Speed(seconds_per_execution=10.0, async_read_s=3600.0, async_not_found_s=0.0))
    lane = begin(world)
    world.wake(lane)
    world.fno.change(async_read_s=1.0)
    world.run_until_quiet()

    (run,) = world.ended_runs()
    assert (run.outcome, run.resubmits, world.imports()) == (Outcome.SUCCEEDED, 1, [("USMF", 1)])
    assert len({each.blob_name for each in run.submissions}) == 2


def test_a_data_project_that_is_in_use_is_tried_again_a_few_times(make_world: MakeWorld) -> None:
    world = make_world(speed=Speed(seconds_per_execution=100.0), behaviour=Behaviour(busy_project="refuse"))
    by_hand(world, PROJECT, "by-hand")
    import_file(world, "USMF_1.zip")

    (run,) = world.ended_runs()
    assert (run.outcome, run.resubmits, world.calls(ACTION)) == (Outcome.SUCCEEDED, 1, 2)


@pytest.mark.parametrize(
    ("settings", "name", "words"),
    [
        (
            {},
            "ZZZZ_1.zip",
            ["ZZZZ does not exist", "Nothing was imported", "The company is the first part of the file"],
        ),
        ({"overwrite": False}, "USMF_1.zip", ["overwrite has not been specified", "Let the import overwrite"]),
    ],
    ids=["unknown company", "no overwrite"],
)
def test_what_the_usual_action_would_refuse_goes_to_error_with_the_same_words(
    make_world: MakeWorld, settings: dict[str, object], name: str, words: list[str]
) -> None:
    world = make_world(settings=one_import(action=ACTION, dataProject=PROJECT, duplicates="refuse", **settings))
    if settings:
        import_file(world, "USMF_0.zip")
    import_file(world, name)

    report = in_report(world, name)
    assert [each for each in words if each not in report] == []
    run = ended_run(world, name)
    assert (run.outcome, run.resubmits, run.may_have_written) == (Outcome.FAILED, 0, False)
