"""flex_from_zero: a file appears while nothing runs, in the Flex shape; an instance serves 3 s after it was asked for.

Files come one by one, each once no instance is left. Without an always-ready instance the webhook's first answer takes
more than the 3 s that Graph gives it, and the simulated Graph applies its rule: if more than a tenth of the answers in
ten minutes were late, notifications are held back for ten minutes
(https://learn.microsoft.com/graph/change-notifications-delivery-webhooks). Both times are a minute here, and a single
answer is enough to tell. The minute's timer, which would find the file as well, is off. Then the same with one
always-ready instance for HTTP.
"""

from dataclasses import dataclass
from typing import Final

from local_cloud.functions_host.flex.groups import HTTP
from local_cloud.onedrive import Knobs
from tests.benchmarks.figures import Figure, Limit, Sample
from tests.benchmarks.flex import Passed, a_flex_stage
from tests.benchmarks.trial import Trial

NAME: Final = "flex_from_zero"
FILES: Final = 3
WAKE_UP_S: Final = 3.0
IDLE_S: Final = 5.0  # in place of 30: when the last instance goes makes no difference to the next file
WINDOW_S: Final = 60.0  # in place of 600
EXECUTION_S: Final = 2.0
NEVER_TELLS: Final = 1_000_000  # so many answers that the rule says nothing yet


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What came of the files, without or with an always-ready instance."""

    passed: list[Passed]
    answers: int  # of the webhook
    late: int  # of these
    held_back: int


def measure(trial: Trial) -> list[Figure]:
    """Return wake-ups, seconds to the claim and what Graph's rule did, without and with an always-ready instance."""
    figures = []
    for ready in (0, 1):
        seen = _seen(trial, ready)
        how = f"{'one' if ready else 'no'} always-ready HTTP instance"
        figures += [
            Figure(
                row=NAME,
                what=f"wake-ups in series until the claim, {how}",
                unit="wake-ups",
                samples=tuple(Sample(len(each.asked_before_the_claim())) for each in seen.passed[: 1 - ready or None]),
                limits=(Limit("ours", "at most", 1 if ready else 2),),
                details=seen.passed[0].details(),
            ),
            Figure(
                row=NAME,
                what=f"seconds from the first file's appearing to its claim, {how}",
                unit="s",
                samples=(Sample(seen.passed[0].claimed_s),),
            ),
            Figure(
                row=NAME,
                what=f"the same, the slowest of {len(seen.passed)} files, {how}",
                unit="s",
                samples=(Sample(max(each.claimed_s for each in seen.passed)),),
                details={"each": [each.claimed_s for each in seen.passed]},
            ),
            Figure(
                row=NAME,
                what=f"answers of the webhook later than 3 s, {how}",
                unit="%",
                samples=(Sample(seen.late / seen.answers * 100),),
                details={"answers": seen.answers},
            ),
            Figure(
                row=NAME,
                what=f"how often Graph held notifications back, {how}",
                unit="times",
                samples=(Sample(seen.held_back),),
                limits=(Limit("ours", "at most", 0),) if ready else (),
            ),
        ]
    return figures


def _seen(trial: Trial, ready: int) -> _Seen:
    part = Trial(home=trial.folder(f"{ready} ready"), quick=trial.quick, progress=trial.progress)
    knobs = Knobs(slow_window_s=WINDOW_S, slow_window_answers=1)
    with a_flex_stage(
        part,
        idle_s=IDLE_S,
        wake_up_s=WAKE_UP_S,
        always_ready={HTTP: ready},
        seconds_per_execution=EXECUTION_S,
        onedrive_options={"knobs": knobs},
    ) as flex:
        knobs.slow_window_answers = NEVER_TELLS
        flex.pass_one(quiet_s=0)  # what the drive and F&O do only once is done
        knobs.slow_window_answers = 1
        before, held_back = len(flex.stage.onedrive.deliveries), flex.stage.onedrive.held_back
        passed = []
        for number in range(1 if trial.quick else FILES):
            part.say(f"{ready} always ready: until no instance is left")
            flex.wait_for_none()
            part.say(f"{ready} always ready: file {number + 1}")
            passed.append(flex.pass_one(quiet_s=0))
        deliveries = flex.stage.onedrive.deliveries[before:]
        return _Seen(
            passed=passed,
            answers=len(deliveries),
            late=sum(each.took_s >= knobs.delivery_timeout_s for each in deliveries),
            held_back=flex.stage.onedrive.held_back - held_back,
        )
