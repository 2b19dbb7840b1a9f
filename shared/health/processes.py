"""What the processes of the app note of themselves, so that the health page can tell it: how many threads each has.

In Azure each queue and timer function has processes of its own, of which the page's process knows nothing. A process
notes itself after the first invocation of a function, and then once a day: no invocation waits for it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import wraps
from typing import Final

from shared.app import Services, services
from shared.azure_storage.checkpoints import moment_of
from shared.errors import AppError
from shared.log import log
from shared.thread_pool import thread_pool_size

NOTE: Final = "processes"
AGAIN_AFTER: Final = timedelta(days=1)
# A function that no process has run for so long may be gone, or have another name by now.
FORGOTTEN_AFTER: Final = timedelta(days=40)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessNote:
    """What the last process that noted itself has said of a function that it runs."""

    function: str
    threads: int
    noted: datetime


def noted[**Arguments, Result](function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a function of the app note its process, once it has done its work. For functions that nobody waits for."""

    @wraps(function)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        result = function(*args, **kwargs)
        note_process(function.__name__, services())
        return result

    return run


def note_process(function: str, services: Services) -> None:
    """Note how many threads the process has that runs a function, unless that was done today. Never raises AppError."""
    now, threads = services.now(), thread_pool_size()
    last = services.process_noted.get(function)
    if threads is None or (last and now - last < AGAIN_AFTER):
        return
    services.process_noted[function] = now  # also if it fails: storage in trouble is not asked with each invocation

    def change(content: dict[str, str]) -> None:
        for name in [name for name, text in content.items() if not _is_recent(_note_of(name, text), now)]:
            del content[name]
        content[function] = f"{threads} {now.isoformat()}"

    try:
        services.checkpoints.change(NOTE, change)
    except AppError as error:
        log.warning("process.not_noted", function=function, reason=str(error))


def process_notes(services: Services) -> tuple[ProcessNote, ...]:
    """Return what processes have noted lately, by function. Raises TryAgain, NeedsPerson."""
    notes = (_note_of(name, text) for name, text in sorted(services.checkpoints.read(NOTE).content.items()))
    return tuple(note for note in notes if note and _is_recent(note, services.now()))


def _note_of(function: str, text: str) -> ProcessNote | None:
    threads, _, moment = text.partition(" ")
    noted = moment_of(moment)
    if not threads.isdecimal() or noted is None:
        return None
    return ProcessNote(function=function, threads=int(threads), noted=noted)


def _is_recent(note: ProcessNote | None, now: datetime) -> bool:
    return note is not None and now - note.noted < FORGOTTEN_AFTER
