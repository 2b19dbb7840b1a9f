"""A reservation: the right to use a name in an environment of F&O until the execution that uses it has ended.

F&O runs one execution of a data project at a time, and redefines a project under a running execution. So a run reserves
``project:<data project>`` before it submits, whatever its lane, flow or direction; an import also ``entity:<name>`` and
``excel``, if its flow says so. Pure values; who may take one is ``reserve.py``, where they are kept ``store.py``.
"""

import hashlib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from shared.escapes import json_text, read_json
from shared.moments import read_moment
from shared.runs.addresses import address_of
from shared.runs.run import Run

# The name that an import with an Excel file uses: F&O imports or exports one at a time (DMF2039).
# https://learn.microsoft.com/dynamics365/fin-ops-core/dev-itpro/data-entities/dm-error-descriptions#error-codes
EXCEL: Final = "excel"


def project_name(data_project: str) -> str:
    """Return the name that an execution of a data project uses; F&O compares names without case."""
    return f"project:{data_project.casefold()}"


def entity_name(entity: str) -> str:
    """Return the name that an import of an entity uses, whatever its data project."""
    return f"entity:{unicodedata.normalize('NFC', entity).casefold()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRef:
    """A run that holds a reservation, or waits for it."""

    run_id: str
    address: str  # by which the run store finds it
    file_name: str
    opened: datetime
    seen: datetime  # when it last took the reservation, or asked for it


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservedExecution:
    """An execution id under which F&O may use the name."""

    execution_id: str
    chosen: datetime
    not_found: int = 0  # answers "not found" in a row, after the grace time


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """A name of an environment, and who may use it."""

    environment_url: str
    name: str  # "project:customers"
    holder: RunRef | None
    executions: tuple[ReservedExecution, ...] = ()
    waiting: RunRef | None = None  # of those that wait, the one that was opened first: it goes first
    asked: datetime | None = None  # when F&O was last asked about executions that nobody follows any more
    record_etag: str = field(default="", compare=False)

    def is_held_by(self, run_id: str) -> bool:
        """Return whether it is that run's."""
        return self.holder is not None and self.holder.run_id == run_id

    def taken_by(self, holder: RunRef, executions: Iterable[ReservedExecution]) -> "Reservation":
        """Return it in the hands of a run; an id that is known already keeps what is known of it."""
        known = {each.execution_id for each in self.executions}
        added = tuple(each for each in executions if each.execution_id not in known)
        waiting = None if self.waiting and self.waiting.run_id == holder.run_id else self.waiting
        return replace(self, holder=holder, executions=(*self.executions, *added), waiting=waiting)

    def freed(self) -> "Reservation":
        """Return it free, for who waits for it."""
        return replace(self, holder=None, executions=(), asked=None)


def names_of(run: Run, *, with_entities: bool = False, with_excel: bool = False) -> tuple[str, ...]:
    """Return the names that an execution of a run uses: those of its data project, its entities, and of Excel."""
    entities = map(entity_name, run.entities) if with_entities else ()
    excel = (EXCEL,) if with_excel and run.has_excel else ()
    return (project_name(run.data_project), *dict.fromkeys(entities), *excel)


def words_for(name: str, run: Run) -> str:
    """Return how a person is told of a name that a run uses."""
    if name == EXCEL:
        return "the Excel lock of F&O"
    if name == project_name(run.data_project):
        return f"the data project {run.data_project}"
    return next((f"the entity {each}" for each in run.entities if entity_name(each) == name), name)


def run_ref(run: Run, now: datetime) -> RunRef:
    """Return how a reservation names a run that asks for it now."""
    return RunRef(run_id=run.run_id, address=address_of(run), file_name=run.file.name, opened=run.opened, seen=now)


RESERVATION_FORMAT: Final = 1


def reservation_to_json(reservation: Reservation) -> str:
    """Return the record of a reservation."""
    return json_text(
        {
            "format": RESERVATION_FORMAT,
            "environment_url": reservation.environment_url,
            "name": reservation.name,
            "holder": _write_ref(reservation.holder),
            "executions": [
                {"execution_id": each.execution_id, "chosen": _text(each.chosen), "not_found": each.not_found}
                for each in reservation.executions
            ],
            "waiting": _write_ref(reservation.waiting),
            "asked": _text(reservation.asked) if reservation.asked else None,
        }
    )


def reservation_from_json(text: str | bytes, etag: str = "") -> Reservation:
    """Return the reservation of a record. Raises ValueError for a text that is none which this version can read."""
    try:
        content = read_json(text, mend=True)
        if content["format"] != RESERVATION_FORMAT:
            raise ValueError("another version of the app wrote it")
        return Reservation(
            environment_url=str(content["environment_url"]),
            name=str(content["name"]),
            holder=_read_ref(content["holder"]),
            executions=tuple(
                ReservedExecution(
                    execution_id=str(each["execution_id"]),
                    chosen=read_moment(each["chosen"]),
                    not_found=int(each.get("not_found", 0)),
                )
                for each in content["executions"]
            ),
            waiting=_read_ref(content.get("waiting")),
            asked=read_moment(content["asked"]) if content.get("asked") else None,
            record_etag=etag,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"it is not the record of a reservation ({type(error).__name__})") from error


def blob_name(environment_url: str, name: str) -> str:
    """Return where a reservation is kept: the same for every run that needs the name."""
    return f"{_digest(environment_url.casefold())}/{_digest(name)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _write_ref(ref: RunRef | None) -> dict[str, str] | None:
    if ref is None:
        return None
    return {
        "run_id": ref.run_id,
        "address": ref.address,
        "file_name": ref.file_name,
        "opened": _text(ref.opened),
        "seen": _text(ref.seen),
    }


def _read_ref(content: dict[str, Any] | None) -> RunRef | None:
    if content is None:
        return None
    return RunRef(
        run_id=str(content["run_id"]),
        address=str(content["address"]),
        file_name=str(content["file_name"]),
        opened=read_moment(content["opened"]),
        seen=read_moment(content["seen"]),
    )


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
