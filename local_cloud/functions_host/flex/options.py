"""What can be set of the Flex shape: for those who start a host from code, and on the host's command line."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_FUNCTION: Final = "function:"  # Azure writes function:NAME where this host says NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class FlexOptions:
    """How the platform behaves."""

    # Observed by others: an app was back at zero after 30 s without work.
    # https://github.com/Azure/Azure-Functions/issues/2581
    idle_s: float = 30.0
    # Assumed: from asking for an instance until it serves, at the least; the app's own start-up counts within it.
    wake_up_s: float = 3.0
    # Of each group. In Azure 100 in all, if nothing else is set; each is a process of this machine here.
    max_instances: int = 4
    # Instances that are always there, by group. https://learn.microsoft.com/azure/azure-functions/flex-consumption-plan#always-ready-instances
    always_ready: Mapping[str, int] = field(default_factory=dict)
    # Requests at once on an instance. Python apps get 1 unless perInstanceConcurrency is set; docs/setup.md sets 16.
    # https://learn.microsoft.com/azure/azure-functions/functions-concurrency#http-trigger-concurrency
    http_concurrency: int = 16
    # Messages that one instance is there for; 0: batchSize of host.json, as documented. Extensions from 5.3.1 on divide
    # by batchSize + newBatchThreshold instead, which asks for fewer instances.
    # https://learn.microsoft.com/azure/azure-functions/functions-target-based-scaling#storage-queues
    # https://github.com/Azure/azure-sdk-for-net/blob/main/sdk/storage/Microsoft.Azure.WebJobs.Extensions.Storage.Common/src/Shared/Queues/QueueTargetScaler.cs
    messages_per_instance: int = 0
    # Assumed: how long before its tick an instance of a timer function is asked for. That it is there before was seen:
    # with runOnStartup such functions run twice a tick.
    # https://github.com/Azure-Samples/azure-functions-flex-consumption-samples/issues/37
    timer_lead_s: float = 5.0
    look_every_s: float = 1.0  # Assumed: between two looks of the scale controller at a group
    # What runs on an instance that is no longer needed may go on for so long.
    # https://learn.microsoft.com/azure/azure-functions/functions-scale#timeout
    drain_s: float = 3600.0
    journal: Path | None = None  # gets a line of JSON for each start and stop of an instance and each invocation

    def arguments(self) -> list[str]:
        """Return the arguments of the host's command line that say the same."""
        given = [
            "--flex",
            *("--idle-seconds", str(self.idle_s)),
            *("--wake-up-seconds", str(self.wake_up_s)),
            *("--max-instances", str(self.max_instances)),
            *("--http-concurrency", str(self.http_concurrency)),
            *("--messages-per-instance", str(self.messages_per_instance)),
            *("--timer-lead-seconds", str(self.timer_lead_s)),
            *("--look-every-seconds", str(self.look_every_s)),
            *("--drain-seconds", str(self.drain_s)),
        ]
        for group, instances in self.always_ready.items():
            given += ["--always-ready", f"{group}={instances}"]
        return given + (["--journal", str(self.journal)] if self.journal else [])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to the host's command line."""
    usual = FlexOptions()
    flex = parser.add_argument_group("Flex Consumption")
    flex.add_argument(
        "--flex",
        action="store_true",
        help="run the app as Azure Flex Consumption does: a process per scale group, none while there is no work",
    )
    for name, default, said in (
        ("--idle-seconds", usual.idle_s, "an instance without work is stopped after so long"),
        ("--wake-up-seconds", usual.wake_up_s, "from asking for an instance until it serves, at the least"),
        ("--timer-lead-seconds", usual.timer_lead_s, "how long before its tick a timer's instance is asked for"),
        ("--look-every-seconds", usual.look_every_s, "between two looks at what a group needs"),
        ("--drain-seconds", usual.drain_s, "what runs on an instance that is stopped may go on for so long"),
    ):
        flex.add_argument(name, type=_seconds, default=default, metavar="N", help=f"{said} (default {default:g})")
    for name, least, count, said in (
        ("--max-instances", 1, usual.max_instances, "instances of one group"),
        ("--http-concurrency", 1, usual.http_concurrency, "requests at once on an instance"),
        ("--messages-per-instance", 0, 0, "messages that one instance is asked for; 0 for batchSize of host.json"),
    ):
        flex.add_argument(name, type=_at_least(least), default=count, metavar="N", help=f"{said} (default %(default)s)")
    flex.add_argument(
        "--always-ready",
        type=_always_ready,
        action="append",
        default=[],
        metavar="GROUP=N",
        help="instances that are never stopped: http=1, or the name of a queue or timer function; may be repeated",
    )
    flex.add_argument(
        "--journal", type=Path, metavar="FILE", help="append a line of JSON for each start, stop and invocation"
    )


def read_options(given: argparse.Namespace) -> FlexOptions:
    """Return what the command line says."""
    return FlexOptions(
        idle_s=given.idle_seconds,
        wake_up_s=given.wake_up_seconds,
        max_instances=given.max_instances,
        always_ready=dict(given.always_ready),
        http_concurrency=given.http_concurrency,
        messages_per_instance=given.messages_per_instance,
        timer_lead_s=given.timer_lead_seconds,
        look_every_s=given.look_every_seconds,
        drain_s=given.drain_seconds,
        journal=given.journal.resolve() if given.journal else None,
    )


def _seconds(text: str) -> float:
    if not 0 <= (seconds := float(text)) < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds")
    return seconds


def _at_least(least: int) -> Callable[[str], int]:
    def count(text: str) -> int:
        if (number := int(text)) < least:
            raise argparse.ArgumentTypeError(f"{text} must be {least} or more")
        return number

    return count


def _always_ready(text: str) -> tuple[str, int]:
    group, _, count = text.rpartition("=")
    if not group or not count.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} must be GROUP=N, such as http=1")
    return group.removeprefix(_FUNCTION), int(count)
