"""What is saved around a submit: each state when it is entered, an upload used again only while nobody may have it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local_cloud import faults
from shared.imports import steps as import_steps
from shared.imports import upload
from shared.runs.states import Outcome, State
from tests.flows.trouble import IN_ONE_LANE, begin, fno_fault, let_pass, ran, wake_and_die
from tests.world import World

WORLD_SETTINGS = IN_ONE_LANE
BUSY = faults.status(400, body=ran("the project is already running"))


def new_process(world: World) -> None:
    """Let another process go on where one has died."""
    world.let_leases_run_out()
    world.services = world.new_process()


def test_a_crash_while_waiting_for_the_import_lock_needs_no_fence_and_uses_up_no_id(world: World) -> None:
    wake_and_die(world, begin(world), "shared.app.Services.import_lock")
    (run,) = world.all_open_runs()
    assert run.state is State.CLAIMED
    assert run.submissions == ()

    new_process(world)
    began = world.clock.now()
    world.run_until_quiet(at_most_s=600)

    (ended,) = world.ended_runs()
    assert ended.outcome is Outcome.SUCCEEDED
    assert len(ended.submissions) == 1
    assert ended.submissions[0].fenced is None
    assert world.calls("ImportFromPackage") == 1
    assert ended.ended is not None
    assert ended.ended - began < timedelta(minutes=2)  # no grace time


def uploads(world: World) -> int:
    """Return how many uploads were begun: F&O is asked for a new place for each."""
    (run,) = world.ended_runs()
    return len({each.blob_name for each in run.submissions})


def test_an_upload_that_f_and_o_has_refused_to_begin_with_is_used_again(world: World) -> None:
    world.faults.add(fno_fault("ImportFromPackage", BUSY, times=3))
    begin(world)

    world.run_until_quiet(at_most_s=3600)

    assert uploads(world) == 1
    assert world.imports() == [("USMF", 1)]


def test_an_upload_whose_submit_was_lost_is_never_sent_again(world: World) -> None:
    world.faults.add(fno_fault("ImportFromPackage", faults.status(500), times=1))
    begin(world)

    world.run_until_quiet(at_most_s=3600)

    (run,) = world.ended_runs()
    assert uploads(world) == 2
    assert run.submissions[0].fenced is not None
    assert run.submissions[1].fenced is None
    assert world.imports() == [("USMF", 1)]


@pytest.mark.parametrize("kept", [{"never_began": True}, {}, {"fenced": datetime(2026, 1, 23, tzinfo=UTC)}])
def test_an_upload_that_a_record_still_has_is_used_only_if_nobody_may_have_it(
    world: World, kept: dict[str, Any]
) -> None:
    world.faults.add(fno_fault("ImportFromPackage", BUSY, times=1))
    lane = begin(world)
    let_pass(world, lane, timedelta(seconds=1))
    (run,) = world.all_open_runs()
    sent = replace(run.submissions[0], **{"never_began": False, **kept})
    world.services.store.save(replace(run, submissions=(sent,)))

    world.run_until_quiet(at_most_s=600)

    assert uploads(world) == (1 if "never_began" in kept else 2)


def test_a_large_upload_is_saved_so_that_a_crash_does_not_repeat_it(world: World) -> None:
    lane = begin(world)
    with world.monkeypatch.context() as patched:
        patched.setattr(import_steps, "LARGE", 500)  # bytes; 8 MiB would take long here
        wake_and_die(world, lane, "shared.reservations.reserve.reserve")
    (run,) = world.all_open_runs()
    assert run.package is not None

    new_process(world)
    world.run_until_quiet(at_most_s=600)

    (ended,) = world.ended_runs()
    assert ended.submissions[0].blob_name == run.package.blob_name
    assert upload.LARGE == 8 * 1024 * 1024
