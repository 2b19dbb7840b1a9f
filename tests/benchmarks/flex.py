"""The cloud in Azure's shape: a process for each scale group, none while there is no work, and what it says of them.

One package after another is let through it, and told: how long until its claim, which invocations it set off, what is
billed of them, which calls were made. The ticks of timers are told apart.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from local_cloud.faults import Call
from local_cloud.functions_host.flex.options import FlexOptions
from tests.benchmarks.cost import Invocation, Journal, billed_periods, billed_s, read_journal
from tests.benchmarks.stage import a_stage, put
from tests.benchmarks.storage_log import StorageCall, StorageLog, Whose
from tests.benchmarks.trial import Trial
from tests.end_to_end.stage import Stage

WARM: Final = 3600.0  # seconds without work after which an instance goes, where none is to go
LOOK_S: Final = 0.01  # between two looks whether a file was claimed
GIVE_UP_S: Final = 180.0
# Until the last of the scans is over that were put off, by 5, then 20, then 60 seconds, and of what they set off.
QUIET_S: Final = 90.0
QUICK_QUIET_S: Final = 8.0

_STATUS: Final = "GetExecutionSummaryStatus"
_SCANNED: Final = '"scan.done"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """What one package has set off, from its appearing until nothing stirred any more."""

    claimed_s: float
    filed_s: float
    appeared: float  # seconds since 1970
    journal: Journal
    scans: int
    graph: int
    fno: int  # without those that ask for the status
    status_polls: int
    storage: Sequence[StorageCall]  # those of the app
    host: Sequence[StorageCall]  # those of the functions host

    @property
    def invocations(self) -> Sequence[Invocation]:
        """Without the timers'."""
        return self.journal.without_timers()

    @property
    def billed_s(self) -> float:
        """Without the timers' ticks."""
        return billed_s(self.invocations)

    def asked_before_the_claim(self) -> list[str]:
        """Return the groups of which instances were asked for between the package's appearing and its claim."""
        until = self.appeared + self.claimed_s
        return [each.group for each in self.journal.events if each.what == "asked" and each.at <= until]

    def details(self) -> dict[str, Any]:
        """Return what happened when, as JSON values."""
        return {
            "filed after, s": self.filed_s,
            "invocations": [
                f"{each.function} on {each.instance}: {each.began - self.appeared:.2f} to "
                f"{each.ended - self.appeared:.2f} s{'' if each.ok else ', failed'}"
                for each in sorted(self.journal.invocations, key=lambda each: each.began)
            ],
            "billed periods": [
                f"{period.instance}: {period.billed_s:.1f} s for {period.executions}"
                for period in sorted(billed_periods(self.invocations), key=lambda period: period.began)
            ],
            "instances": [
                f"{event.instance} {event.what} after {event.at - self.appeared:.2f} s" for event in self.journal.events
            ],
            "status polls": self.status_polls,
            "storage": dict(Counter(f"{call.operation} -> {call.status}" for call in self.storage).most_common()),
            "storage, functions host": dict(Counter(call.operation for call in self.host).most_common()),
        }


@dataclass(slots=True, kw_only=True)
class FlexStage:
    """A stage whose functions host is in the Flex shape."""

    stage: Stage
    trial: Trial
    log: StorageLog
    _journal: Path
    _count: int = field(default=0)

    def journal(self) -> Journal:
        """Return what the host has said so far."""
        return (
            read_journal(self._journal.read_text("utf-8"))
            if self._journal.exists()
            else Journal(invocations=(), events=())
        )

    def wait_for_none(self, *groups: str) -> None:
        """Wait until no group has an instance, or none of these."""

        def gone() -> bool:
            told = [each for each in self.stage.instances() if not groups or each["group"] in groups]
            return not any(len(each["instances"]) > each["always_ready"] for each in told)

        self.stage.wait_for(gone, "no instance to be left", within_s=GIVE_UP_S)

    def quiet_s(self) -> float:
        """Return how long to wait until nothing stirs."""
        return QUICK_QUIET_S if self.trial.quick else QUIET_S

    def scans(self) -> int:
        """Return how many scans there have been."""
        return sum(_SCANNED in line for line in self.stage.log)

    def pass_one(self, *, quiet_s: float | None = None) -> Passed:
        """Let a package appear, wait until it is filed and nothing stirs any more; return what it has set off.

        quiet_s: how long to wait after it is filed; None: until the last scan is over that may have been put off.
        """
        stage = self.stage
        self._count += 1
        name = f"USMF_{self._count}.zip"
        scans = self.scans()
        stage.faults.forget_calls()
        self.log.forget()
        appeared, began = time.time(), time.monotonic()
        there = put(stage, name)
        claimed_s = seconds_until(lambda: not there.exists(), began, f"{name} to be claimed")
        filed_s = seconds_until(lambda: name in stage.files("Success"), began, f"{name} to be filed")
        self.trial.say(f"{name} is filed: waiting until nothing stirs")
        time.sleep(self.quiet_s() if quiet_s is None else quiet_s)  # nothing shows that nothing more comes
        calls = stage.faults.calls
        fno = [call for call in calls if call.service == "finance_operations"]
        return Passed(
            claimed_s=claimed_s,
            filed_s=filed_s,
            appeared=appeared,
            journal=self.journal().between(appeared),
            scans=self.scans() - scans,
            graph=sum(call.service.startswith("graph") for call in calls),
            fno=len(fno) - sum(map(_is_status_poll, fno)),
            status_polls=sum(map(_is_status_poll, fno)),
            storage=self.log.calls(Whose.RUN, Whose.LOOK),
            host=self.log.calls(Whose.HOST),
        )


def _is_status_poll(call: Call) -> bool:
    return _STATUS in call.path


def seconds_until(has_happened: Callable[[], bool], began: float, what: str) -> float:
    """Return how many seconds after a moment (of the monotonic clock) it happened, to some ten milliseconds."""
    while not has_happened():
        assert time.monotonic() < began + GIVE_UP_S, f"waited for {what} in vain"
        time.sleep(LOOK_S)  # to look without a pause would take the processor from what is measured
    return time.monotonic() - began


@contextmanager
def a_flex_stage(
    trial: Trial,
    *,
    idle_s: float = WARM,
    wake_up_s: float = 3.0,
    max_instances: int = 4,
    always_ready: Mapping[str, int] | None = None,
    **options: Any,
) -> Iterator[FlexStage]:
    """Start a cloud as ``a_stage`` does, with a functions host in the Flex shape."""
    log, journal = StorageLog(), trial.home / "journal.jsonl"
    flex = FlexOptions(
        idle_s=idle_s,
        wake_up_s=wake_up_s,
        max_instances=max_instances,
        always_ready=dict(always_ready or {}),
        journal=journal,
    )
    with a_stage(trial, flex=flex, on_storage=log.take, **options) as stage:
        yield FlexStage(stage=stage, trial=trial, log=log, _journal=journal)


def read_log(stage: Stage, event: str) -> list[dict[str, Any]]:
    """Return the app's log lines of an event."""
    return [json.loads(line[line.index("{") :]) for line in stage.log if f'"{event}"' in line]
