"""flex_waiting: 200 lanes wait for executions of an hour in the Flex shape, and a file appears.

Each lane has an Input folder and a data project of its own, all of which a scan lists. The minute's timer runs, because
long waits are left to it. F&O is asked for an execution the more seldom the longer it takes: once all have gone on for
eight minutes, it is seen for five how many instances of ``work`` there are. Then files appear: the first one meets no
instance for HTTP, the others meet one.
"""

import time
from typing import Final

from tests.benchmarks.cost import billed_s
from tests.benchmarks.figures import Figure, Limit, Sample
from tests.benchmarks.flex import FlexStage, a_flex_stage, seconds_until
from tests.benchmarks.stage import PATIENCE_S, put
from tests.benchmarks.trial import Trial

NAME: Final = "flex_waiting"
WAITING: Final = 200
QUICK_WAITING: Final = 20
HOUR_S: Final = 3600.0
SETTLES_S: Final = 480.0  # until each lane is due once in two minutes and more, and has no message meanwhile
SEEN_S: Final = 310.0  # longer than POLL_LONGEST_SECONDS, so that each lane is due once
QUICK_S: Final = 20.0
IDLE_S: Final = 30.0
FILES: Final = 3  # that appear while an instance is there
BETWEEN_S: Final = 12.0  # so that the notifications of one file have been answered when the next one comes


def measure(trial: Trial) -> list[Figure]:
    """Return instances while lanes wait, and seconds to the claim of a file."""
    waiting, settles_s, seen_s = (QUICK_WAITING, QUICK_S, QUICK_S) if trial.quick else (WAITING, SETTLES_S, SEEN_S)
    lanes = tuple(f"Waiting {number:03}" for number in range(1, waiting + 1))
    free = tuple(f"Free {number}" for number in range(FILES + 2))
    with a_flex_stage(
        trial, lanes=(*lanes, *free), seconds_per_execution=HOUR_S, idle_s=IDLE_S, minute_timer=True
    ) as flex:
        _let_wait(trial, flex, lanes)
        trial.say("until the instances have gone that the beginning needed")
        time.sleep(settles_s)  # nothing shows that they have
        began = time.time()
        trial.say(f"{seen_s:g} s in which {waiting} lanes wait")
        time.sleep(seen_s)  # what is measured is how little happens meanwhile
        waited = flex.journal().between(began)
        trial.say("a file appears")
        flex.wait_for_none("http")
        appeared = time.time()
        cold_s = _claimed_s(flex, free[0])
        warm = []
        for number, lane in enumerate(free[1:]):
            trial.say(f"a file appears while an instance is there, {number}")
            time.sleep(BETWEEN_S)  # nothing shows that no notification of the last one is left
            warm.append(_claimed_s(flex, lane))
        after = flex.journal().between(appeared)
        whole = flex.journal()
    most_while_waiting = waited.most_at_once("work", at_first=whole.there_at("work", began))
    most_after = after.most_at_once("work", at_first=whole.there_at("work", appeared))
    what = f"{waiting} lanes wait for executions of an hour"
    return [
        Figure(
            row=NAME,
            what=f"{what}: instances of work at once, also when files appear",
            unit="instances",
            samples=(Sample(max(most_while_waiting, most_after)),),
            limits=(Limit("ours", "at most", 2),),
            details={
                "at the beginning, of 4 at most": whole.between(0, began).most_at_once("work"),
                "there at first, while they wait": whole.there_at("work", began),
                "asked for while they wait": len(waited.asked("work")),
                "while they wait": most_while_waiting,
                "when files appear": most_after,
                "invocations of work": len(waited.of("work")),
                "billed seconds of work": billed_s(waited.of("work")),
                "seconds": seen_s,
            },
        ),
        Figure(
            row=NAME,
            what=f"{what}: seconds to the claim of a file, an HTTP instance is there",
            unit="s",
            samples=tuple(Sample(seconds) for seconds in warm[1:]),  # the first one's instances were just woken
            limits=(Limit("ours", "at most", 1.5),),
        ),
        Figure(
            row=NAME,
            what=f"{what}: seconds to the claim of a file, no HTTP instance is there and one takes 3 s to come",
            unit="s",
            samples=(Sample(cold_s),),
        ),
        Figure(
            row=NAME,
            what=f"{what}: billed seconds of work in an hour",
            unit="s",
            samples=(Sample(billed_s(waited.of("work")) / seen_s * HOUR_S),),
        ),
    ]


def _let_wait(trial: Trial, flex: FlexStage, lanes: tuple[str, ...]) -> None:
    """Let a file appear in each lane, and wait until F&O has begun all executions."""
    for lane in lanes:
        put(flex.stage, "USMF_1.zip", lane)

    def begun() -> bool:
        count = len(flex.stage.finance_operations.executions)
        trial.say(f"{count} of {len(lanes)} executions have begun")
        return count == len(lanes)

    flex.stage.wait_for(begun, "all executions to have begun", within_s=PATIENCE_S)


def _claimed_s(flex: FlexStage, lane: str) -> float:
    there, began = put(flex.stage, "USMF_1.zip", lane), time.monotonic()
    return seconds_until(lambda: not there.exists(), began, f"{there} to be claimed")
