"""What the processes of the app record of themselves for the health page: how many threads each has.

In Azure each queue and timer function has processes of its own, of which the page's process knows nothing. A process
records itself after the first invocation of a function, and then once a day: no invocation waits for it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import wraps
from typing import Final

from shared.app import Services, services
from shared.errors import AppError
from shared.log import log
from shared.moments import moment_or_none
from shared.thread_pool import thread_pool_size

CHECKPOINT: Final = "processes"
RECORD_EVERY: Final = timedelta(days=1)
# A function that no process has run for so long may be gone, or have another name by now.
FORGET_AFTER: Final = timedelta(days=40)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRecord:
    """What the last process that recorded itself said about a function that it runs."""

    function: str
    threads: int
    noted: datetime


def records_process[**Arguments, Result](function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a function of the app record its process, once it has done its work. For functions that nobody waits for."""

    @wraps(function)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        result = function(*args, **kwargs)
        record_process(function.__name__, services())
        return result

    return run


def record_process(function: str, services: Services) -> None:
    """Record how many threads the process of a function has, unless that was done today. Never raises AppError."""
    now, threads = services.now(), thread_pool_size()
    last = services.process_recorded.get(function)
    if threads is None or (last and now - last < RECORD_EVERY):
        return
    services.process_recorded[function] = now  # also if it fails: failing storage is not called with each invocation

    def change(content: dict[str, str]) -> None:
        for name in [name for name, text in content.items() if not _is_recent(_parse(name, text), now)]:
            del content[name]
        content[function] = f"{threads} {now.isoformat()}"

    try:
        services.checkpoints.change(CHECKPOINT, change)
    except AppError as error:
        log.warning("process.not_recorded", function=function, reason=str(error))


def read_process_records(services: Services) -> tuple[ProcessRecord, ...]:
    """Return what processes have recorded lately, by function. Raises TryAgain, NeedsPerson."""
    records = (_parse(name, text) for name, text in sorted(services.checkpoints.read(CHECKPOINT).content.items()))
    return tuple(record for record in records if record and _is_recent(record, services.now()))


def _parse(function: str, text: str) -> ProcessRecord | None:
    threads, _, moment = text.partition(" ")
    noted = moment_or_none(moment)
    if not threads.isdecimal() or noted is None:
        return None
    return ProcessRecord(function=function, threads=int(threads), noted=noted)


def _is_recent(record: ProcessRecord | None, now: datetime) -> bool:
    return record is not None and now - record.noted < FORGET_AFTER
