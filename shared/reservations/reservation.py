"""A reservation: the right to use a name in an environment of F&O until the execution that uses it has ended.

F&O runs one execution of a data project at a time, and redefines a project under a running execution. So a run reserves
``project:<data project>`` before it submits, whatever its lane, flow or direction. Pure values; who may take one is
``reservations/reserve.py``, where they are kept ``reservations/store.py``.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from shared.escapes import json_text, read_json


def project_name(data_project: str) -> str:
    """Return the name that an execution of a data project uses; F&O compares names without case."""
    return f"project:{data_project.casefold()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A run that has a reservation, or waits for it."""

    run_id: str
    address: str  # by which the run store finds it
    file_name: str
    opened: datetime
    seen: datetime  # when it last took the reservation, or asked for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """An execution id under which F&O may use the name."""

    execution_id: str
    chosen: datetime
    not_found: int = 0  # answers "not found" in a row, after the grace time


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """A name of an environment, and who may use it."""

    environment_url: str
    name: str  # "project:customers"
    holder: Party | None
    executions: tuple[Reserved, ...] = ()
    waiting: Party | None = None  # of those that wait, the one that was opened first: it goes first
    asked: datetime | None = None  # when F&O was last asked about executions that nobody follows any more
    record_etag: str = field(default="", compare=False)

    def is_held_by(self, run_id: str) -> bool:
        """Return whether it is that run's."""
        return self.holder is not None and self.holder.run_id == run_id

    def taken(self, holder: Party, executions: Iterable[Reserved]) -> "Reservation":
        """Return it in the hands of a run; an id that is known already keeps what is known of it."""
        known = {each.execution_id for each in self.executions}
        added = tuple(each for each in executions if each.execution_id not in known)
        waiting = None if self.waiting and self.waiting.run_id == holder.run_id else self.waiting
        return replace(self, holder=holder, executions=(*self.executions, *added), waiting=waiting)

    def given_back(self) -> "Reservation":
        """Return it free, for who waits for it."""
        return replace(self, holder=None, executions=(), asked=None)


RESERVATION_FORMAT: Final = 1


def reservation_to_json(reservation: Reservation) -> str:
    """Return the record of a reservation."""
    return json_text(
        {
            "format": RESERVATION_FORMAT,
            "environment_url": reservation.environment_url,
            "name": reservation.name,
            "holder": _party(reservation.holder),
            "executions": [
                {"execution_id": each.execution_id, "chosen": _text(each.chosen), "not_found": each.not_found}
                for each in reservation.executions
            ],
            "waiting": _party(reservation.waiting),
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
            holder=_party_of(content["holder"]),
            executions=tuple(
                Reserved(
                    execution_id=str(each["execution_id"]),
                    chosen=_moment(each["chosen"]),
                    not_found=int(each.get("not_found", 0)),
                )
                for each in content["executions"]
            ),
            waiting=_party_of(content.get("waiting")),
            asked=_moment(content["asked"]) if content.get("asked") else None,
            record_etag=etag,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"this is no record of a reservation ({type(error).__name__})") from error


def blob_name(environment_url: str, name: str) -> str:
    """Return where a reservation is kept: the same for every run that needs the name."""
    return f"{_digest(environment_url.casefold())}/{_digest(name)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _party(party: Party | None) -> dict[str, str] | None:
    if party is None:
        return None
    return {
        "run_id": party.run_id,
        "address": party.address,
        "file_name": party.file_name,
        "opened": _text(party.opened),
        "seen": _text(party.seen),
    }


def _party_of(content: dict[str, Any] | None) -> Party | None:
    if content is None:
        return None
    return Party(
        run_id=str(content["run_id"]),
        address=str(content["address"]),
        file_name=str(content["file_name"]),
        opened=_moment(content["opened"]),
        seen=_moment(content["seen"]),
    )


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
