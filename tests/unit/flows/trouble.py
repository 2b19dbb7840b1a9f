"""What the scenarios of trouble share: faults, somebody who acts in the middle of a run, time that passes."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from local_cloud.faults import Action, Fault
from shared.domain.run import Run, State
from shared.flows import runner
from shared.flows.runner import Step
from shared.services import Services
from tests.world import World

ALERTS: Final = {"ALERT_RECIPIENT": "ops@contoso.com", "ALERT_SENDER": "app@contoso.com"}

# The states of an import in which its step is still to be done, in their order; FOUND is the one it is opened in.
IMPORT_STATES: Final = (
    State.FOUND,
    State.CLAIMED,
    State.UPLOADED,
    State.SUBMITTING,
    State.EXECUTING,
    State.FINISHED,
)


def fno_fault(path_regex: str, do: Action, *, nth: int = 1, times: int | None = 1) -> Fault:
    """Return a fault of F&O's calls whose path matches; "" for all of them."""
    return Fault("finance_operations", "*", path_regex, nth, times, do=do)


def graph_fault(method: str, path_regex: str, do: Action, *, nth: int = 1, times: int | None = 1) -> Fault:
    """Return a fault of one kind of Graph call; mails are not among those of "/drives/"."""
    return Fault("graph", method, path_regex, nth, times, do=do)


def as_soon_as(world: World, state: State, act: Callable[[Run], object]) -> None:
    """Let something happen, once, when a run has just come into a state and before its next step begins."""
    attempt = runner._attempted

    def act_and_attempt(run: Run, step: Step, services: Services) -> Run:
        if run.state is state:
            world.monkeypatch.setattr(runner, "_attempted", attempt)
            act(run)
        return attempt(run, step, services)

    world.monkeypatch.setattr(runner, "_attempted", act_and_attempt)


def let_pass(world: World, lane: str, time: timedelta) -> None:
    """Wake a lane whenever its head is due, until this much of the clock's time has passed or the lane is empty."""
    end = world.clock.now() + time
    while (due := world.heads().get(lane)) and due <= end:
        world.clock.present = max(world.clock.present, due)
        world.wake(lane)
    world.clock.present = max(world.clock.present, end)


def look_and_finish(world: World) -> None:
    """See what is in Input and let everything run to its end, within two hours of the clock's."""
    world.look()
    world.run_until_quiet(at_most_s=7200)
