"""What must hold after a soak, judged from what was seen from outside; what does not is told in words."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from shared.runs.lane import SECOND
from tests.soak.plan import Package

CANCELLED: Final = "GivenUp"  # the outcome of a run that a person has cancelled

type Record = Mapping[str, Any]  # of a run, as the app has written it


@dataclass(frozen=True, slots=True)
class Place:
    """A file of the drive."""

    folder: str
    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class Imported:
    """Rows that an execution has brought into F&O."""

    execution_id: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All that a soak has left behind."""

    packages: Sequence[Package]
    records: Sequence[Record]  # of all runs, open and ended
    places: Sequence[Place]  # every file in the folders of imports, reports included
    imported: Sequence[Imported]  # in the order in which it took effect
    exported: Mapping[str, Sequence[str]]  # by export: the keys in all its packages
    to_export: Mapping[str, Sequence[str]]  # by export: the keys that were imported into its entity
    cancelled: frozenset[str] = frozenset()  # files whose runs a person has asked to cancel
    damaged: frozenset[str] = frozenset()  # files whose runs' records were damaged for a while: others pass them
    open_runs: Sequence[str] = ()
    reservations: Sequence[str] = ()
    standing: Sequence[str] = ()  # alerts of what lasts that are not over
    leases: Sequence[str] = ()
    messages: Mapping[str, int] = field(default_factory=dict)  # by queue, those that are not visible yet included
    given_up: int = 0  # messages that hosts have put into poison queues
    told: int = 0  # messages of which the app has told a person
    ticks: Sequence[tuple[int, datetime]] = ()  # which host's minute timer fired, and when
    died: Sequence[str] = ()  # hosts that ended without being killed
    bugs: Sequence[str] = ()  # what the app itself calls a bug
    violations: Sequence[str] = ()  # calls that the real services would not take


def broken(history: History) -> list[str]:
    """Return the promises that do not hold, each in one sentence."""
    by_file: dict[str, list[Record]] = defaultdict(list)
    for record in history.records:
        if record["flow"] == "import":
            by_file[record["file"]["name"]].append(record)
    return [
        *_ended_once(history, by_file),
        *_filed_once(history, by_file),
        *_imported_once(history, by_file),
        *_in_order(history, by_file),
        *_exported_once(history),
        *_nothing_left(history),
        *_told(history),
        *_one_timer(history),
        *(f"a host ended by itself: {each}" for each in history.died),
        *(f"the app has a bug: {each}" for each in history.bugs),
        *(f"a service would not take this call: {each}" for each in history.violations),
    ]


def _is_cancelled(package: Package, history: History, by_file: Mapping[str, Sequence[Record]]) -> bool:
    """Return whether a person has cancelled a package's run; the app may not say so of any other."""
    return package.name in history.cancelled and any(
        record.get("cancelled_in") for record in by_file.get(package.name, ())
    )


def _ended_once(history: History, by_file: Mapping[str, Sequence[Record]]) -> Iterator[str]:
    for package in history.packages:
        ends = [record["outcome"] for record in by_file.get(package.name, ()) if record["ended"]]
        if _is_cancelled(package, history, by_file) and ends == [CANCELLED]:
            continue
        if ends != [package.outcome]:
            yield f"{package.name} was to end once as {package.outcome}, and ended as {ends}"


def _folder(package: Package, by_file: Mapping[str, Sequence[Record]]) -> str:
    """Return where a file is to be filed: if its run was cancelled before its outcome was known, in Error."""
    is_cancelled = any(record["outcome"] == CANCELLED for record in by_file.get(package.name, ()))
    return f"{package.lane}/Error" if is_cancelled else package.folder


def _filed_once(history: History, by_file: Mapping[str, Sequence[Record]]) -> Iterator[str]:
    places: dict[str, list[Place]] = defaultdict(list)
    for place in history.places:
        places[place.name].append(place)
    folders = {package.name: _folder(package, by_file) for package in history.packages}
    for package in history.packages:
        found, folder = places.pop(package.name, []), folders[package.name]
        if [place.folder for place in found] != [folder]:
            yield f"{package.name} was to be in {folder}, and is in {[place.folder for place in found]}"
        elif found[0].digest != package.digest:
            yield f"{package.name} has another content than it was copied with"
    reported = {(folder, name.removesuffix(".zip")) for name, folder in folders.items() if folder.endswith("/Error")}
    for name, found in places.items():
        if (found[0].folder, name.partition(".")[0]) not in reported:
            yield f"nobody knows where {found[0].folder}/{name} comes from"


def _imported_once(history: History, by_file: Mapping[str, Sequence[Record]]) -> Iterator[str]:
    rows: dict[str, list[int]] = defaultdict(list)
    for each in history.imported:
        rows[each.execution_id].append(each.rows)
    for package in history.packages:
        ids = {sent["execution_id"] for record in by_file.get(package.name, ()) for sent in record["submissions"]}
        found = [count for each in sorted(ids) for count in rows.pop(each, [])]
        if not found and _is_cancelled(package, history, by_file):
            continue
        if found != [len(package.good)]:
            yield f"{package.name} was to bring {len(package.good)} rows into F&O once, and brought {found}"
    for execution_id in rows:
        yield f"F&O ran an execution that no run knows of: {execution_id}"


def _place(record: Record) -> tuple[str, str]:
    """Return what a lane's files are taken up by: the second of their place, then their names."""
    return record["order"][:SECOND], record["file"]["name"].casefold()


def _in_order(history: History, by_file: Mapping[str, Sequence[Record]]) -> Iterator[str]:
    """An older file may come behind a newer one only if it was not known yet when that was begun, or was set aside.

    Then its record tells which ones passed it.
    """
    turn = {each.execution_id: number for number, each in enumerate(history.imported)}
    lanes: dict[str, list[tuple[int, Record]]] = defaultdict(list)
    for package in history.packages:
        for record in by_file.get(package.name, ()):
            turns = [turn[sent["execution_id"]] for sent in record["submissions"] if sent["execution_id"] in turn]
            lanes[package.lane] += [(number, record) for number in turns]
    for lane, imports in sorted(lanes.items()):
        for (_, before), (_, after) in pairwise(sorted(imports, key=lambda each: each[0])):
            is_older = _place(after) < _place(before)
            if (
                is_older
                and not _was_passed(after, before, history)
                and _moment(after["opened"]) < _moment(before["steps"][0]["began"])
            ):
                names = before["file"]["name"], after["file"]["name"]
                yield f"in {lane}, {names[1]} was known and older, and was imported after {names[0]}"


def _was_passed(run: Record, by: Record, history: History) -> bool:
    name = run["file"]["name"]
    has_more = run.get("passed_by_total", 0) > len(run.get("passed_by", ()))
    return name in history.damaged or has_more or by["file"]["name"] in run.get("passed_by", ())


def _exported_once(history: History) -> Iterator[str]:
    for export, keys in history.to_export.items():
        found = Counter(history.exported.get(export, ()))
        lost = sorted(set(keys) - set(found))
        twice = sorted(key for key, times in found.items() if times > 1)
        strange = sorted(set(found) - set(keys))
        for what, which in (("never", lost), ("more than once", twice), ("though nobody imported it", strange)):
            if which:
                yield f"{export} delivered {what}: {', '.join(which[:5])} ({len(which)} changes)"


def _nothing_left(history: History) -> Iterator[str]:
    yield from (f"a run is open, or a flow is stopped: {each}" for each in history.open_runs)
    yield from (f"a name is reserved: {each}" for each in history.reservations)
    yield from (f"an alert is not over: {each}" for each in history.standing)
    yield from (f"a lease is held: {each}" for each in history.leases)
    yield from (f"{count} messages are in {queue}" for queue, count in history.messages.items() if count)


def _told(history: History) -> Iterator[str]:
    if history.told < history.given_up:
        yield f"hosts gave up on {history.given_up} messages, and a person was told of {history.told}"


def _one_timer(history: History) -> Iterator[str]:
    hosts: dict[datetime, set[int]] = defaultdict(set)
    for host, moment in history.ticks:
        hosts[moment.replace(second=0, microsecond=0)].add(host)
    for minute, fired in sorted(hosts.items()):
        if len(fired) > 1:
            yield f"the minute's timer ran on {len(fired)} hosts at {minute:%H:%M}"


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
