"""set_aside: what one wake-up of a lane costs in which a thousand files are set aside in front of the next one.

The real flows in this process, over the simulators and Azurite, as in ``waiting.py``. The records of the files in front
are copies of one, due in an hour. Storage calls are those of Azurite's access log; the reference has none in front.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Final

import pytest

from local_cloud.finance_operations.knobs import Speed
from local_cloud.storage import Azurite
from shared.concurrency import map_concurrently
from shared.runs.values import Held
from tests.benchmarks.figures import Figure, Limit, Sample
from tests.benchmarks.storage_log import StorageLog, Whose
from tests.benchmarks.trial import Trial
from tests.world import World

NAME: Final = "set_aside"
ASIDE: Final = 1_000
QUICK_ASIDE: Final = 50
MORE_AT_MOST: Final = 3  # calls
HOURS_S: Final = 4 * 3600.0


def measure(trial: Trial) -> list[Figure]:
    """Return the storage calls of a wake-up, and how many more they are than without the files in front."""
    aside = QUICK_ASIDE if trial.quick else ASIDE
    log = StorageLog()
    with (
        Azurite(on_request=log.take) as azurite,
        pytest.MonkeyPatch.context() as environment,
        World(
            trial.folder("world"),
            azurite.connection_string,
            environment,
            settings={"IMPORT_DATA_PROJECT": "Asset-Major-Types"},
            speed=Speed(seconds_per_execution=HOURS_S),
        ) as world,
    ):
        trial.say("a wake-up with no file in front")
        alone = _wake_up(world, 0, log)
        world.clock.advance(HOURS_S + 1)  # F&O is done with the first
        world.begin_anew()
        trial.say(f"a wake-up with {aside:,} files in front")
        crowded = _wake_up(world, aside, log)
        counted = log.counted(Whose.RUN)
    return [
        Figure(
            row=NAME,
            what=f"storage calls of one wake-up with {aside:,} files set aside in front; reference: with none",
            unit="calls",
            samples=(Sample(crowded, alone),),
            details=counted,
        ),
        Figure(
            row=NAME,
            what="how many more these are",
            unit="calls",
            samples=(Sample(crowded - alone, 0.0),),
            limits=(Limit("ours", "at most", MORE_AT_MOST),),
        ),
    ]


def _wake_up(world: World, aside: int, log: StorageLog) -> int:
    """Return the storage calls of one wake-up that brings a file to F&O."""
    name = f"USMF_{aside}.zip"
    world.put(name)
    world.look()
    (run,) = world.all_open_runs()
    held = Held(since=world.clock.now(), text="somebody has it open", is_aside=True)
    put_aside = replace(run, held=held, due=world.clock.now() + timedelta(hours=1))
    runs = [
        replace(put_aside, run_id=f"{number:012x}", sort_key=f"20200101T000000{number:06}Z-item-{number}")
        for number in range(aside)
    ]
    assert all(map_concurrently(world.services.store.create, runs))
    log.forget()
    world.wake(run.lane)
    calls = len(log.calls(Whose.RUN))
    assert world.files("Processing") == [name]
    return calls
