"""waiting: what a run costs for which F&O takes two hours.

The real flows in this process, over the simulators and Azurite, with a clock that is turned from one due time to the
next (``tests/world.py``). Each wake-up is one invocation; storage calls are those of Azurite's access log. What the
functions host adds for each message (taking it and deleting it) is not made here, and is no call of the app's.
"""

from typing import Final

import pytest

from local_cloud.finance_operations.knobs import Speed
from local_cloud.storage import Azurite
from tests.benchmarks.figures import Figure, Limit, Sample
from tests.benchmarks.storage_log import StorageLog, Whose
from tests.benchmarks.trial import Trial
from tests.world import World

NAME: Final = "waiting"
TAKES_S: Final = 2 * 3600.0


class _Counting(World):
    """A world that counts the wake-ups that it delivers."""

    invocations = 0

    def wake(self, lane: str) -> None:
        self.invocations += 1
        super().wake(lane)


def measure(trial: Trial) -> list[Figure]:
    """Return the invocations and the storage calls of the run."""
    log = StorageLog()
    trial.say("an execution of two hours on a scaled clock")
    with (
        Azurite(on_request=log.take) as azurite,
        pytest.MonkeyPatch.context() as environment,
        _Counting(
            trial.folder("world"),
            azurite.connection_string,
            environment,
            speed=Speed(seconds_per_execution=TAKES_S),
        ) as world,
    ):
        began = world.clock.now()
        world.put("USMF_1.zip")
        world.look()
        log.forget()
        world.run_until_quiet()
        took_s = (world.clock.now() - began).total_seconds()
        calls, counted = len(log.calls(Whose.RUN)), log.counted(Whose.RUN)
        assert world.files("Success") == ["USMF_1.zip"]
        invocations = world.invocations
    details = {"seconds from the look to the end": took_s, "storage calls": counted}
    return [
        Figure(
            row=NAME,
            what="invocations while F&O takes 2 hours",
            unit="invocations",
            samples=(Sample(invocations, 0.0),),
            limits=(Limit("ours", "at most", 60),),
            details=details,
        ),
        Figure(row=NAME, what="storage calls while F&O takes 2 hours", unit="calls", samples=(Sample(calls, 0.0),)),
    ]
