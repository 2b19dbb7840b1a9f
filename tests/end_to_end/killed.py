"""What runs the app is killed in the middle of five imports at once, each in another place.

The whole functions host is, and is started again; or in the Flex shape every instance of a queue or timer function, and
the host replaces them.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from local_cloud.faults import Action, Fault, FaultPlan, hang, hold, late
from local_cloud.finance_operations.api import FinanceOperationsSimulator
from local_cloud.finance_operations.knobs import Speed
from local_cloud.functions_host.flex.options import FlexOptions
from tests.end_to_end.stage import Record, Stage
from tests.packages import build_package

EXECUTING: Final = "executing"  # F&O is at work, nothing is asked of it at the moment
DOWNLOADING: Final = "downloading"  # in the middle of the upload: OneDrive has been asked for the content
ANSWERED: Final = "answered"  # F&O has handled ImportFromPackage, its answer has not arrived
UNHEARD: Final = "unheard"  # ImportFromPackage was sent and never reaches F&O
FILING: Final = "filing"  # OneDrive has moved the file to Success, its answer has not arrived
ALL: Final = (EXECUTING, DOWNLOADING, ANSWERED, UNHEARD, FILING)

HOST: Final = "host"  # all functions run in one process
INSTANCES: Final = "instances"  # each queue and timer function runs in one of its own

LOOK_EVERY_S: Final = 10  # between two looks at an execution that is not expected to end
LONG_S: Final = 600.0  # how long a call is held up: until long after the kill
# Each in the worst case a minute: the lease of a lane whose worker is dead (shared/runs/store.py), or the time
# after which its run counts as overdue (shared/scan/scan.py), whichever is longer; then until the timer runs, which
# first has to take over the lock of the killed host (the host's semantics); and one for slow machines.
BACK_WITHIN_S: Final = 180.0


@dataclass(frozen=True, slots=True)
class Ended:
    """One import that is over."""

    record: Record
    seconds: float  # from the kill, and the second start of a host, to the end of the run


class Killed:
    """The scene. As a context manager: within it the kill has happened, and what was killed is back."""

    def __init__(self, home: Path, *, flex: FlexOptions | None = None) -> None:
        """flex: kill instances of a host in this shape; None: the whole host, which is one process."""
        self._is_flex = flex is not None
        self.stage = Stage(
            home,
            app_settings={
                "SUBMIT_GRACE_SECONDS": "1",
                "POLL_FIRST_SECONDS": str(LOOK_EVERY_S),
                "POLL_LONGEST_SECONDS": str(LOOK_EVERY_S),
            },
            speed=Speed(seconds_per_execution=0.2),
            with_host=False,
            flex=flex,
        )
        # An environment takes imports in turn, so the second one that hangs in ImportFromPackage needs another.
        self.other: FinanceOperationsSimulator
        self._others_faults = FaultPlan()
        self._restarted: datetime

    def __enter__(self) -> Self:
        stage = self.stage.__enter__()
        try:
            self.other = FinanceOperationsSimulator(
                stage.azurite.connection_string, stage.desk, self._others_faults, speed=Speed()
            )
            self.other.start()
            self._start()
            self._bring_each_to_its_place()
            if self._is_flex:
                self._kill_instances()
            else:
                stage.kill_host()
            stage.faults.clear()
            self._others_faults.clear()
            record = stage.record(file_name(EXECUTING))
            assert record is not None
            stage.finance_operations.end_now(record["submissions"][-1]["execution_id"])
            if not self._is_flex:
                stage.start_host()
            self._restarted = datetime.now(UTC)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        if error is None:
            self.stage.assert_clients_kept_the_rules()
            assert self.other.violations == []

    @cached_property
    def ended(self) -> dict[str, Ended]:
        """What became of each import; waits until all are over."""
        by_place = self.stage.wait_for(self._all_ended, "the end of all imports", within_s=BACK_WITHIN_S)
        return {
            where: Ended(record, (datetime.fromisoformat(record["ended"]) - self._restarted).total_seconds())
            for where, record in by_place.items()
        }

    def environment(self, where: str) -> FinanceOperationsSimulator:
        """Return the F&O that an import goes to."""
        return self.other if where == UNHEARD else self.stage.finance_operations

    def _stop(self) -> None:
        if hasattr(self, "other"):
            self.other.stop()
        self.stage.__exit__(None, None, None)

    def _start(self) -> None:
        flows = [{"name": where, "inputFolder": f"{where}/Input", "dataProject": where} for where in ALL]
        for flow in flows:
            if flow["name"] == UNHEARD:
                flow["environmentUrl"] = self.other.url
            (self.stage.folder / flow["inputFolder"]).mkdir(parents=True)
        self.stage.app_settings["INTEGRATIONS"] = json.dumps({"imports": flows})
        self.stage.start_host()
        self.stage.run_function("keep_watch")
        self.stage.wait_for(lambda: self.stage.onedrive.subscriptions, "the subscription")

    def _kill_instances(self) -> None:
        alone = [group for group in self.stage.instances() if group["group"] != "http"]
        killed = [instance["instance"] for group in alone for instance in group["instances"]]
        busy = [instance for group in alone for instance in group["instances"] if instance["executing"]]
        assert busy, alone
        for instance in killed:
            self.stage.kill_instance(instance)
        self.stage.wait_for(
            lambda: (
                not {each["instance"] for group in self.stage.instances() for each in group["instances"]} & set(killed)
            ),
            "the end of the instances",
        )

    def _bring_each_to_its_place(self) -> None:
        stage, fno = self.stage, self.stage.finance_operations
        fno.change(seconds_per_execution=LONG_S)
        self._put(EXECUTING)
        stage.wait_for(lambda: (stage.record(file_name(EXECUTING)) or {}).get("state") == "executing", "the execution")
        fno.change(seconds_per_execution=0.2)

        # The claim is the first move, the one to Success the second.
        self._hold_up(FILING, stage.faults, Fault("graph", "PATCH", "/items/", nth=2, do=hold(LONG_S)))
        stage.wait_for(lambda: stage.files(f"{FILING}/Success"), "the move to Success")
        self._hold_up(ANSWERED, stage.faults, _at_fo("ImportFromPackage", hold(LONG_S)))
        stage.wait_for(lambda: any(each.data_project == ANSWERED for each in fno.executions), "the second execution")
        self._hold_up(UNHEARD, self._others_faults, _at_fo("ImportFromPackage", hang(LONG_S)))
        self._hold_up(DOWNLOADING, stage.faults, Fault("graph-content", "GET", "", do=late(LONG_S)))

        # Not while a look at it is under way: that would hold its lane, as for the others. A look is under way for a
        # moment after its record is saved, too: until the wake-up for the next one is sent and the lane released.
        stage.wait_for(
            lambda: 4 < self._seconds_until_the_next_look() < LOOK_EVERY_S - 2,
            "the middle of the pause between two looks at the execution",
        )

    def _hold_up(self, where: str, plan: FaultPlan, fault: Fault) -> None:
        """Put a file into Input, and wait until the fault holds it up."""
        before = _held_up(plan)
        plan.add(fault)
        self._put(where)
        self.stage.wait_for(lambda: _held_up(plan) > before, f"the {where} call")

    def _put(self, where: str) -> None:
        self.stage.put(file_name(where), build_package(data_project=where, entity=where), f"{where}/Input")

    def _seconds_until_the_next_look(self) -> float:
        record = self.stage.record(file_name(EXECUTING))
        assert record is not None
        return (datetime.fromisoformat(record["due"]) - datetime.now(UTC)).total_seconds()

    def _all_ended(self) -> dict[str, Record]:
        ended = {record["integration"]: record for record in self.stage.runs() if record["ended"]}
        return ended if len(ended) == len(ALL) else {}


def file_name(where: str) -> str:
    """Return the name of the file that is killed there."""
    return f"USMF_{where}_001.zip"


def _at_fo(action: str, do: Action) -> Fault:
    return Fault("finance_operations", "POST", rf"\.{action}$", do=do)


def _held_up(plan: FaultPlan) -> int:
    return sum(call.fault is not None and call.took_s is None for call in plan.calls)
