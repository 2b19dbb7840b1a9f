"""The app's own storage: written by two at once, throttled, or not there yet. No file is lost and none goes twice."""

from contextlib import ExitStack
from typing import Final

import pytest

from shared.azure_storage import account
from shared.errors import TryAgain
from shared.runs.states import State
from tests.faults.interception import answered
from tests.unit.flows.trouble import IMPORT_STATES, as_soon_as
from tests.world import World

# Calls of the app to its records, leases and wake-ups; F&O's blobs are not among them.
OWN_STORAGE: Final = r"^\w+ /(runs-|work)"


def test_storage_that_is_throttled_in_any_state_delays_a_file_and_does_no_harm(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account, "RETRY_S", 0)
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
