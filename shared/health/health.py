"""What the health checks return: values for the page, for JSON and for the terminal."""

from dataclasses import asdict, dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from shared.azure_storage.queue import QueueLength
from shared.config.settings import SettingInForce
from shared.errors import AppError, TryAgain
from shared.health.processes import ProcessRecord
from shared.runs.rows import RunRow
from shared.scan.subscriptions import SubscriptionState

# Keys of the JSON that differ from the names of the fields.
_KEYS: Final = {"last_scan": "last_look", "message": "words", "advice": "to_do"}


class Grade(StrEnum):
    """How a check ended. Only a problem makes the app unhealthy."""

    OK = "ok"
    WARNING = "warning"  # works, or passes by itself; a person should know
    PROBLEM = "trouble"  # something does not work until a person acts


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was checked."""

    name: str
    grade: Grade
    message: str  # what was found
    advice: str = ""  # what a person is to do, if the message does not say it


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """The open runs of a lane."""

    name: str
    length: int
    head: RunRow  # the run that is due first, or the first one if nothing is to be done
    need_person: tuple[RunRow, ...] = ()
    set_aside: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A queue and how many messages it holds."""

    name: str
    length: QueueLength


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """All that was found."""

    version: str
    grade: Grade  # the worst of the checks
    checks: tuple[Check, ...]
    now: datetime | None = None  # this and all below: None or empty if the settings are wrong
    process_began: datetime | None = None
    last_notification: datetime | None = None  # that the process which answers was given
    last_scan: datetime | None = None  # of the timer, wherever it runs
    subscriptions: tuple[SubscriptionState, ...] = ()
    lanes: tuple[Lane, ...] = ()
    queues: tuple[Queue, ...] = ()
    threads: int | None = None  # of the process that answers; None if Azure's runtime has not loaded it
    processes: tuple[ProcessRecord, ...] = ()
    settings: tuple[SettingInForce, ...] = ()


def failed_check(name: str, error: AppError, advice: str = "") -> Check:
    """Return the check that ended with an error: a problem, unless a service that did answer is busy or failing."""
    passes = isinstance(error, TryAgain) and error.call is not None and error.call.status is not None
    return Check(name=name, grade=Grade.WARNING if passes else Grade.PROBLEM, message=str(error), advice=advice)


def health_to_json(health: Health) -> dict[str, Any]:
    """Return what ``/api/health.json`` shows. Its keys are a contract, and older than the words of the code."""
    content = {_KEYS.get(each.name, each.name): getattr(health, each.name) for each in fields(health)}
    content["checks"] = [{_KEYS.get(name, name): text for name, text in asdict(each).items()} for each in health.checks]
    return content


def counted(number: int, noun: str) -> str:
    """Return a number of things for people; noun: in the singular."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
