"""The app's own storage: written by two at once, throttled, or not there yet. No file is lost and none goes twice."""

from contextlib import ExitStack
from typing import Final

import pytest

from shared.azure_storage import account
from shared.errors import TryAgain
from shared.runs.run import Run
from shared.runs.states import State
from tests.faults.interception import answered
from tests.flows.trouble import IMPORT_STATES, as_soon_as, look_and_finish
from tests.world import World

# Calls of the app to its records, leases and wake-ups; F&O's blobs are not among them.
OWN_STORAGE: Final = r"^\w+ /(runs-|work)"


def test_a_record_that_another_worker_has_just_written_is_left_to_it_in_every_state(world: World) -> None:
    """The save is refused by the ETag; what the step did is found by the next one."""
    states, refused = IMPORT_STATES[1:], list[State]()

    def written_by_another(run: Run, state: State) -> None:
        if run.state is state and state not in refused:
            refused.append(state)
            rival = world.new_process().store
            row = rival.head(run.lane)
            assert row is not None
            rival.save(rival.read_row(row))

    for state in states:
        world.put(f"USMF_{state}.zip")
        store = world.services.store
        save = store.save

        def contested(run: Run, state: State = state) -> Run:
            written_by_another(run, state)
            return save(run)  # noqa: B023  # of this very turn: it is replaced before the next one

        store.save = contested  # type: ignore[method-assign]  # the seam just before a save
        look_and_finish(world)
        store.save = save  # type: ignore[method-assign]  # as it was

    assert refused == list(states)
    assert world.imports() == [("USMF", 1)] * len(states)
    assert world.files("Success") == sorted(f"USMF_{state}.zip" for state in states)


def test_storage_that_is_throttled_in_any_state_delays_a_file_and_does_no_harm(world: World) -> None:
    world.monkeypatch.setattr(account, "RETRY_S", 0)
    world.services = world.new_process()
    for state in IMPORT_STATES[1:]:
        world.put(f"USMF_{state}.zip")
        world.look()
        with pytest.raises(TryAgain):
            _throttled(world, state)
        # The host delivers the wake-up again.
        world.clock.advance(30)
        world.let_leases_run_out()
        world.run_until_quiet(at_most_s=7200)

    assert world.imports() == [("USMF", 1)] * 4
    assert world.files("Success") == sorted(f"USMF_{state}.zip" for state in IMPORT_STATES[1:])
    assert world.held_leases() == []


def _throttled(world: World, state: State) -> None:
    """Let a run go on until storage, throttled as soon as it is in this state, lets the wake-up fail."""
    with ExitStack() as throttle:
        as_soon_as(world, state, lambda _: throttle.enter_context(answered(503, OWN_STORAGE, times=None)))
        world.run_until_quiet(at_most_s=7200)
