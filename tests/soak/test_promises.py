"""The judge of a soak: a good history breaks no promise, and each thing that can go wrong is told."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from tests.soak.plan import Package
from tests.soak.promises import History, Imported, Place, broken

NOON: Final = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
FIRST: Final = Package(name="USMF_a_1.zip", lane="a", at_s=0.0, good=("1-0", "1-1"), bad=())
SECOND: Final = Package(name="USMF_a_2.zip", lane="a", at_s=1.0, good=("2-0",), bad=("2-bad",))


def a_record(package: Package, number: int, **changes: Any) -> dict[str, Any]:
    moment = (NOON + timedelta(seconds=number)).isoformat()
    return {
        "flow": "import",
        "file": {"name": package.name},
        "outcome": package.outcome,
        "ended": moment,
        "opened": NOON.isoformat(),
        "order": f"{number}",
        "steps": [{"began": moment}],
        "submissions": [{"execution_id": f"lost-{number}"}, {"execution_id": f"id-{number}"}],
    } | changes


def a_history(**changes: Any) -> History:
    """Return what two packages of one lane leave behind when all is well."""
    good = History(
        packages=[FIRST, SECOND],
        records=[a_record(FIRST, 1), a_record(SECOND, 2), {"flow": "export"}],
        places=[
            Place("a/Success", FIRST.name, FIRST.digest),
            Place("a/Error", SECOND.name, SECOND.digest),
            Place("a/Error", "USMF_a_2.report.txt", ""),
        ],
        imported=[Imported("id-1", 2), Imported("id-2", 1)],
        exported={"out": ["2-0", "1-0", "1-1"]},
        to_export={"out": ["1-0", "1-1", "2-0"]},
        messages={"work": 0, "work-poison": 0},
        given_up=1,
        told=1,
        ticks=[(0, NOON), (1, NOON + timedelta(minutes=1))],
    )
    return replace(good, **changes)


def swapped(history: History) -> History:
    """The second, newer package was imported first, and ended first, though both were known."""
    return replace(history, imported=history.imported[::-1])


def a_cancelled(package: Package) -> dict[str, Any]:
    return a_record(package, 1, outcome="GivenUp", cancelled_in="executing")


def in_error(history: History) -> list[Place]:
    """The first package lies in Error."""
    return [Place("a/Error", FIRST.name, FIRST.digest), *history.places[1:]]


def cancelled(history: History) -> History:
    """A person has cancelled the first package's run, and F&O has gone on with it."""
    records = [a_cancelled(FIRST), history.records[1]]
    return replace(history, cancelled=frozenset({FIRST.name}), records=records, places=in_error(history))


GOOD: Final = a_history()
SPOILT: Final[Mapping[str, tuple[History, str]]] = {
    "a run that never ended": (
        replace(GOOD, records=[GOOD.records[0], a_record(SECOND, 2, ended=None)]),
        "USMF_a_2.zip was to end once as PartiallySucceeded, and ended as []",
    ),
    "a run that ended twice": (
        replace(GOOD, records=[*GOOD.records, a_record(FIRST, 1)]),
        "and ended as ['Succeeded', 'Succeeded']",
    ),
    "another outcome": (
        replace(GOOD, records=[a_record(FIRST, 1, outcome="Failed"), GOOD.records[1]]),
        "USMF_a_1.zip was to end once as Succeeded, and ended as ['Failed']",
    ),
    "a file in two places": (
        replace(GOOD, places=[*GOOD.places, Place("a/Input", FIRST.name, FIRST.digest)]),
        "is in ['a/Success', 'a/Input']",
    ),
    "a file that is gone": (replace(GOOD, places=GOOD.places[1:]), "and is in []"),
    "another content": (
        replace(GOOD, places=[Place("a/Success", FIRST.name, "0"), *GOOD.places[1:]]),
        "USMF_a_1.zip has another content",
    ),
    "a file that nobody knows": (
        replace(GOOD, places=[*GOOD.places, Place("a/Success", "USMF_a_1.report.txt", "")]),
        "nobody knows where a/Success/USMF_a_1.report.txt comes from",
    ),
    "a package imported twice": (
        replace(GOOD, imported=[Imported("lost-1", 2), *GOOD.imported]),
        "USMF_a_1.zip was to bring 2 rows into F&O once, and brought [2, 2]",
    ),
    "a package never imported": (
        replace(GOOD, imported=GOOD.imported[1:]),
        "USMF_a_1.zip was to bring 2 rows into F&O once, and brought []",
    ),
    "an execution of nobody's": (replace(GOOD, imported=[*GOOD.imported, Imported("who", 1)]), "no run knows of: who"),
    "the wrong order": (swapped(GOOD), "in a, USMF_a_1.zip was known and older, and was imported after USMF_a_2.zip"),
    "a change that was not exported": (
        replace(GOOD, exported={"out": ["1-0", "1-1"]}),
        "out delivered never: 2-0 (1 changes)",
    ),
    "a change that was exported twice": (
        replace(GOOD, exported={"out": ["1-0", "1-1", "2-0", "2-0"]}),
        "out delivered more than once: 2-0",
    ),
    "a change out of nowhere": (
        replace(GOOD, exported={"out": ["1-0", "1-1", "2-0", "9"]}),
        "out delivered though nobody imported it: 9",
    ),
    "an open run": (replace(GOOD, open_runs=["open/a/1"]), "a run is open, or a flow is stopped: open/a/1"),
    "a reservation": (replace(GOOD, reservations=["reservations/a/1"]), "a name is reserved"),
    "an alert that is not over": (replace(GOOD, standing=["a, 1 needs attention"]), "is not over: a, 1"),
    "a cancelled run that nobody has cancelled": (
        replace(GOOD, records=[a_cancelled(FIRST), GOOD.records[1]], places=in_error(GOOD)),
        "USMF_a_1.zip was to end once as Succeeded, and ended as ['GivenUp']",
    ),
    "a cancelled run that was imported twice": (
        replace(cancelled(GOOD), imported=[Imported("lost-1", 2), *GOOD.imported]),
        "USMF_a_1.zip was to bring 2 rows into F&O once, and brought [2, 2]",
    ),
    "a cancelled run whose file is in Success": (
        replace(cancelled(GOOD), places=GOOD.places),
        "USMF_a_1.zip was to be in a/Error, and is in ['a/Success']",
    ),
    "a lease": (replace(GOOD, leases=["locks/a"]), "a lease is held: locks/a"),
    "a message": (replace(GOOD, messages={"work": 2}), "2 messages are in work"),
    "a message given up and not told": (replace(GOOD, told=0), "a person was told of 0"),
    "two timers": (
        replace(GOOD, ticks=[*GOOD.ticks, (1, NOON + timedelta(seconds=1))]),
        "the minute's timer ran on 2 hosts at 12:00",
    ),
    "a host that died": (replace(GOOD, died=["host 1"]), "a host ended by itself: host 1"),
    "a bug": (replace(GOOD, bugs=["KeyError"]), "the app has a bug: KeyError"),
    "a call out of the rules": (replace(GOOD, violations=["PUT /"]), "would not take this call: PUT /"),
}


def test_a_good_history_breaks_no_promise() -> None:
    assert broken(GOOD) == []


def test_an_older_file_that_came_later_may_be_imported_later() -> None:
    late = a_record(FIRST, 1, opened=(NOON + timedelta(seconds=3)).isoformat())

    assert broken(swapped(a_history(records=[late, a_record(SECOND, 2)]))) == []


def test_files_of_one_second_are_imported_in_the_order_of_their_names() -> None:
    second = "20261102T120000"
    records = [a_record(FIRST, 1, order=f"{second}000001Z-b"), a_record(SECOND, 2, order=f"{second}000000Z-a")]
    good = a_history(records=records)

    assert broken(good) == []
    assert broken(swapped(good)) == ["in a, USMF_a_1.zip was known and older, and was imported after USMF_a_2.zip"]


def test_a_cancelled_run_may_have_been_imported_once_or_not_at_all() -> None:
    good = cancelled(a_history())

    assert broken(good) == []
    assert broken(replace(good, imported=good.imported[1:])) == []


def test_a_run_that_was_cancelled_too_late_ends_as_it_would_have() -> None:
    late = a_record(FIRST, 1, cancelled_in="finished")

    assert broken(a_history(cancelled=frozenset({FIRST.name}), records=[late, a_record(SECOND, 2)])) == []


def test_an_older_file_that_was_set_aside_says_which_ones_passed_it() -> None:
    aside = a_record(FIRST, 1, passed_by=[SECOND.name], passed_by_total=1)
    silent = a_record(FIRST, 1, passed_by=["another.zip"], passed_by_total=1)

    assert broken(swapped(a_history(records=[aside, a_record(SECOND, 2)]))) == []
    assert len(broken(swapped(a_history(records=[silent, a_record(SECOND, 2)])))) == 1


def test_an_older_file_whose_record_was_damaged_may_be_imported_later() -> None:
    assert broken(swapped(a_history(damaged=frozenset({FIRST.name})))) == []


@pytest.mark.parametrize(("spoilt", "told"), SPOILT.values(), ids=SPOILT)
def test_a_history_with_one_thing_wrong_tells_of_that_and_of_nothing_else(spoilt: History, told: str) -> None:
    found = broken(spoilt)

    assert len(found) == 1
    assert told in found[0]
