"""The open runs of a list: who comes first, and what is counted."""

from datetime import timedelta

from operations import list_view
from operations.labels import Place
from shared.runs.states import State
from tests.builders import NOON, a_row

SECOND = timedelta(seconds=1)


def test_who_needs_a_person_comes_first_then_what_runs_then_what_waits_by_its_turn() -> None:
    rows = [
        a_row(run_id="a", lane="in-1", opened=NOON),
        a_row(run_id="b", lane="in-1", opened=NOON + SECOND),
        a_row(run_id="c", lane="in-2", opened=NOON + 2 * SECOND, needs_person=True),
        a_row(run_id="d", lane="in-2", opened=NOON + 3 * SECOND),
        a_row(run_id="e", lane="in-3", opened=NOON + 4 * SECOND),
    ]

    lines = [(line.run.run_id, line.place, line.turn) for line in list_view.sort_open(rows)]

    assert lines == [
        ("c", Place.NEEDS_PERSON, 0),
        ("a", Place.RUNNING, 0),
        ("e", Place.RUNNING, 0),
        ("b", Place.WAITING, 1),
        ("d", Place.WAITING, 1),
    ]


def test_files_wait_in_the_order_in_which_the_lane_takes_them_up() -> None:
    """Of one second by name, whatever the part of the second."""
    rows = [
        a_row(run_id="a", state=State.EXECUTING, place="20261102T120009000000Z"),
        a_row(run_id="b", file_name="USMF_3.zip", place="20261102T120000000000Z"),
        a_row(run_id="c", file_name="USMF_2.zip", place="20261102T120000500000Z"),
        a_row(run_id="d", file_name="USMF_1.zip", place="20261102T120001000000Z", opened=NOON - 9 * SECOND),
    ]

    lines = [(line.run.run_id, line.turn) for line in list_view.sort_open(rows)]

    assert lines == [("a", 0), ("c", 1), ("b", 2), ("d", 3)]


def test_the_head_of_a_paused_lane_is_paused_and_counts_as_waiting() -> None:
    rows = [a_row(run_id="a"), a_row(run_id="b"), a_row(run_id="c", lane="in-2")]

    lines = list_view.sort_open(rows, frozenset({"in-1"}))

    assert [(line.run.run_id, line.place) for line in lines] == [
        ("c", Place.RUNNING),
        ("a", Place.PAUSED),
        ("b", Place.WAITING),
    ]
    assert list_view.count_figures(lines, 0, failed_today_or_more=False).waiting == 2


def test_the_figures_count_what_is_open_and_name_the_run_that_has_waited_longest() -> None:
    rows = [
        a_row(run_id=f"{lane}{age}", lane=f"in-{lane}", opened=NOON - age * SECOND) for lane in "xy" for age in (9, 5)
    ]

    figures = list_view.count_figures(list_view.sort_open(rows), 3, failed_today_or_more=True)

    assert (figures.running, figures.waiting, figures.needs_person) == (2, 2, 0)
    assert (figures.failed_today, figures.failed_today_or_more) == (3, True)
    assert figures.oldest_waiting is not None
    assert figures.oldest_waiting.opened == NOON - 5 * SECOND
