"""Gives a state new names and a new beginning: the same to all that may come, but like others before it.

What an invocation does is found out once for the same answers (``scheduler.py``). Answers hold ids and moments, which
differ from history to history although nothing depends on them (``sameness.py``). So where nobody is at work, and time
passes, all ids are made anew, by their place in the state's text, and the clock is turned back.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from shared.reservations.reservation import Reservation, RunRef
from shared.runs.lane import Stop
from shared.runs.run import Run
from shared.runs.states import Direction
from tests.exploration.access import IMPORTS, kind_of
from tests.exploration.moments import Deadline, Instant
from tests.exploration.sameness import names_of
from tests.exploration.scheduler import State
from tests.exploration.world import Execution, Item, Kept, Lease, Message, Note, Record, Refusal, Session

_NAMES: Final = re.compile(
    r"(?P<id>~[^~]*~)"
    r"|(?P<file>\d{8}-\d{6})"
    r"|(?P<place>\d{8}T\d{12}Z)"
    r"|(?P<moment>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?\+00:00)"
)


def named_anew(state: State) -> tuple[State, Mapping[str, str]]:
    """Return a state in which nobody is at work with new names, and the new name of each old one."""
    assert not any(state.workers)
    old = state.world
    new = _Renaming(names_of(state), int(old.now))
    world = old.copy()
    world.author, world.ids, world.invocations = "", 0, 0
    world.now = new.instant(old.now)
    world.turned_back_s += new.seconds
    world.leases = {name: Lease(new.text(lease.token), new.lapse(lease.runs_out)) for name, lease in old.leases.items()}
    world.records = {
        (lane, new.order(record.run)): new.record(record) for (lane, _), record in sorted(old.records.items())
    }
    world.reservations = {name: new.kept(kept) for name, kept in sorted(old.reservations.items())}
    world.stops = {place: new.stop(stop) for place, stop in sorted(old.stops.items())}
    world.kept_back = {new.text(item_id): new.refusal(refusal) for item_id, refusal in old.kept_back.items()}
    world.submits = old.submits and new.refusal(old.submits)
    world.not_delivered = frozenset(map(new.text, old.not_delivered))
    world.cancelled, world.damaged = frozenset(map(new.text, old.cancelled)), frozenset(map(new.text, old.damaged))
    world.marks = {
        name: Note(tuple((key, new.text(value)) for key, value in note.content), new.text(note.etag))
        for name, note in sorted(old.marks.items())
    }
    world.items = {new.text(item_id): new.item(item) for item_id, item in old.items.items()}
    world.sessions = {
        new.text(each): Session(new.text(session.name), session.folder, new.deadline(session.ends))
        for each, session in old.sessions.items()
    }
    world.under_way = tuple(
        order._replace(
            execution_id=new.text(order.execution_id), blob=new.text(order.blob), key_ends=new.deadline(order.key_ends)
        )
        for order in old.under_way
    )
    world.blobs = {new.text(name): content for name, content in old.blobs.items()}
    world.executions = {new.text(each): new.execution(execution) for each, execution in old.executions.items()}
    world.ended = {new.text(run_id): new.record(record) for run_id, record in old.ended.items()}
    in_order = sorted(old.messages.items(), key=lambda each: each[1][:3])
    world.messages = {
        new.text(message_id): message._replace(text=new.wake_up(message), visible=new.deadline(message.visible))
        for message_id, message in in_order
    }
    return State(world, state.workers), new.ids


class _Renaming:
    """New names for old ones."""

    def __init__(self, names: Mapping[str, int], seconds: int) -> None:
        self.seconds = seconds
        self.ids = {name: f"~{number}~" for name, number in names.items()}
        self._by = timedelta(seconds=seconds)

    def text(self, text: str) -> str:
        return _NAMES.sub(self._renamed, text)

    def _renamed(self, match: re.Match[str]) -> str:
        found = match.group()
        if match["id"]:
            return self.ids.setdefault(found, f"~{len(self.ids)}~")
        if match["moment"]:
            return (datetime.fromisoformat(found) - self._by).isoformat()
        if match["file"]:
            return f"{datetime.fromisoformat(found.replace('-', 'T')) - self._by:%Y%m%d-%H%M%S}"
        return f"{datetime.fromisoformat(f'{found[:15]}.{found[15:]}') - self._by:%Y%m%dT%H%M%S%fZ}"

    def order(self, run: Run) -> str:
        """Return a run's place in its lane: a file's is by its own age, whatever the clock says."""
        return self.text(run.sort_key) if run.direction is Direction.EXPORT else run.sort_key

    def wake_up(self, message: Message) -> str:
        """Return the text of a wake-up, which may name a run's place."""
        return message.text if kind_of(message.text) == IMPORTS else self.text(message.text)

    def instant(self, moment: Instant) -> Instant:
        """Return a moment as it is after the clock was turned back."""
        return Instant(moment - self.seconds)

    def deadline(self, moment: Deadline) -> Deadline:
        return Deadline(moment - self.seconds)

    def lapse(self, moment: Deadline | None) -> Deadline | None:
        return None if moment is None else self.deadline(moment)

    def refusal(self, refusal: Refusal) -> Refusal:
        return refusal._replace(until=self.deadline(refusal.until))

    def item(self, item: Item) -> Item:
        return item._replace(name=self.text(item.name), etag=self.text(item.etag))

    def execution(self, execution: Execution) -> Execution:
        return execution._replace(shown=self.deadline(execution.shown), ends=self.deadline(execution.ends))

    def record(self, record: Record) -> Record:
        return record._replace(run=self._run(record.run), etag=self.text(record.etag))

    def kept(self, kept: Kept) -> Kept:
        return Kept(self._reservation(kept.reservation), self.text(kept.etag))

    def stop(self, stop: Stop) -> Stop:
        return replace(stop, since=stop.since - self._by, next_try=stop.next_try - self._by)

    def _reservation(self, reservation: Reservation) -> Reservation:
        return replace(
            reservation,
            holder=self._party(reservation.holder),
            executions=tuple(
                replace(each, execution_id=self.text(each.execution_id), chosen=each.chosen - self._by)
                for each in reservation.executions
            ),
            waiting=self._party(reservation.waiting),
            asked=self._moment(reservation.asked),
        )

    def _party(self, party: RunRef | None) -> RunRef | None:
        return party and replace(
            party,
            run_id=self.text(party.run_id),
            address=self.text(party.address),
            file_name=self.text(party.file_name),
            opened=party.opened - self._by,
            seen=party.seen - self._by,
        )

    def _run(self, run: Run) -> Run:
        file, package = run.file, run.package
        return replace(
            run,
            run_id=self.text(run.run_id),
            record_etag=self.text(run.record_etag),
            sort_key=self.order(run),
            state_since=run.state_since - self._by,
            due=run.due - self._by,
            opened=run.opened - self._by,
            ended=self._moment(run.ended),
            scheduled=self._moment(run.scheduled),
            late_s=None,  # for people
            file=replace(file, item_id=self.text(file.item_id), name=self.text(file.name), etag=self.text(file.etag)),
            package=package
            and replace(
                package,
                blob_name=self.text(package.blob_name),
                blob_path=self.text(package.blob_path),
                key_expires=self._moment(package.key_expires),
            ),
            submissions=tuple(
                replace(
                    each,
                    execution_id=self.text(each.execution_id),
                    blob_name=self.text(each.blob_name),
                    chosen=each.chosen - self._by,
                    fenced=self._moment(each.fenced),
                    missing_since=self._moment(each.missing_since),
                    delivered_as=self.text(each.delivered_as),
                    seen=self._moment(each.seen),
                )
                for each in run.submissions
            ),
            reason="",  # words for people, in which moments stand
            problem=run.problem and replace(run.problem, text="", since=run.problem.since - self._by),
            failing_since=self._moment(run.failing_since),
            held=run.held and replace(run.held, text="", since=run.held.since - self._by),
            waits=run.waits and replace(run.waits, since=run.waits.since - self._by, holder="", holder_address=""),
        )

    def _moment(self, moment: datetime | None) -> datetime | None:
        return None if moment is None else moment - self._by
