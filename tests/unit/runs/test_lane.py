"""Which run of a lane is next, and whether the first rows of a lane tell it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.runs.addresses import sort_key_by_name
from shared.runs.lane import (
    Choice,
    LaneRow,
    Stop,
    ahead_of,
    by_lane,
    choose,
    choose_of,
    direction_of,
    is_enough,
    with_order_kept,
)
from shared.runs.states import Direction, State

NOW = datetime(2026, 11, 2, 8, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
REFUSAL = "claim|Microsoft Graph|403|accessDenied"


def a_row(
    second: int = 0, key: str = "", *, state: State | None = State.FOUND, due: datetime = NOW, **facts: Any
) -> LaneRow:
    """Return the row of a run whose place in the lane is that second."""
    key = key or f"item-{second}"
    order = f"20261102T0830{second:02d}000000Z-{key}"
    defaults = {"lane": "in-1", "flow_name": "import", "file_name": f"{key}.zip", "run_id": key}
    return LaneRow(sort_key=order, state=state, due=due, **{**defaults, **facts})


def aside(second: int, *, due: datetime, state: State = State.FOUND, **facts: Any) -> LaneRow:
    return a_row(second, state=state, due=due, is_aside=True, **facts)


def a_stop(integration: str = "import", *, next_try: datetime = NOW) -> Stop:
    return Stop(
        lane="in-1", flow_name=integration, refusal=REFUSAL, text="It is not permitted.", since=NOW, next_try=next_try
    )


def chosen(rows: Sequence[LaneRow], stops: Sequence[Stop] = ()) -> tuple[str, datetime] | None:
    """Return the key of the run that is next, and from when on."""
    choice = choose(rows, stops)
    return (choice.row.run_id, choice.due) if choice else None


@pytest.mark.parametrize("state", [State.FOUND, State.PLANNED])
def test_of_those_that_wait_the_oldest_is_next(state: State) -> None:
    first, second = a_row(1, state=state, due=NOW + MINUTE), a_row(2, state=state, due=NOW)

    assert choose([first, second]) == Choice(row=first, due=NOW + MINUTE)


@pytest.mark.parametrize(
    "state", [State.CLAIMED, State.SUBMITTING, State.EXECUTING, State.FINISHED, State.READY], ids=str
)
def test_a_run_under_way_keeps_the_others_waiting_until_it_is_due(state: State) -> None:
    rows = [a_row(1, due=NOW), a_row(2, state=state, due=NOW + MINUTE), a_row(3, due=NOW)]

    assert chosen(rows) == ("item-2", NOW + MINUTE)


def test_of_two_runs_under_way_the_one_that_is_due_first_is_next() -> None:
    rows = [
        a_row(1, state=State.EXECUTING, due=NOW + 2 * MINUTE),
        a_row(2, state=State.CLAIMED, due=NOW + MINUTE),
        a_row(3),
    ]

    assert chosen(rows) == ("item-2", NOW + MINUTE)


def test_of_two_that_are_due_at_the_same_moment_the_older_is_next() -> None:
    assert chosen([a_row(1, state=State.EXECUTING), a_row(2, state=State.CLAIMED)]) == ("item-1", NOW)


def test_files_of_one_second_go_in_the_order_of_their_names_whatever_their_case() -> None:
    rows = [a_row(7, "x", file_name="C.zip"), a_row(7, "y", file_name="B.zip"), a_row(7, "z", file_name="a.zip")]
    rows.append(a_row(8, "w", file_name="0.zip"))

    assert chosen(rows) == ("z", NOW)


def test_files_of_one_second_and_one_name_go_in_the_order_of_their_places() -> None:
    assert chosen([a_row(7, "a", file_name="same.zip"), a_row(7, "b", file_name="SAME.zip")]) == ("a", NOW)


def test_a_name_decides_within_a_second_only_among_those_that_wait() -> None:
    rows = [a_row(7, "z", file_name="b.zip"), a_row(7, "y", file_name="a.zip", is_aside=True, due=NOW + MINUTE)]

    assert chosen(rows) == ("z", NOW)


# Set aside


def test_others_pass_a_run_that_is_set_aside_until_it_is_due() -> None:
    rows = [aside(1, due=NOW + MINUTE), a_row(2)]

    assert chosen(rows) == ("item-2", NOW)


def test_a_run_that_is_set_aside_is_tried_when_it_is_due_though_another_is_under_way() -> None:
    rows = [aside(1, due=NOW), a_row(2, state=State.EXECUTING, due=NOW + MINUTE)]

    assert chosen(rows) == ("item-1", NOW)


def test_of_many_that_are_set_aside_the_one_that_is_due_first_is_next() -> None:
    rows = [aside(1, due=NOW + 3 * MINUTE), aside(2, due=NOW + MINUTE), aside(3, due=NOW + 2 * MINUTE)]

    assert chosen(rows) == ("item-2", NOW + MINUTE)


def test_a_run_that_is_set_aside_begins_nobody_else_early() -> None:
    rows = [aside(1, due=NOW + MINUTE, state=State.CLAIMED), a_row(2, due=NOW + 2 * MINUTE), a_row(3, due=NOW)]

    assert chosen(rows) == ("item-1", NOW + MINUTE)
    assert chosen(rows[1:]) == ("item-2", NOW + 2 * MINUTE)


def test_others_pass_a_cancelled_run_whose_file_is_still_to_be_moved() -> None:
    rows = [a_row(1, state=State.CANCELLED, due=NOW + MINUTE), a_row(2)]

    assert chosen(rows) == ("item-2", NOW)
    assert chosen(rows[:1]) == ("item-1", NOW + MINUTE)


# Damaged


@pytest.mark.parametrize("state", [State.FOUND, State.CLAIMED])
def test_others_pass_a_damaged_record_of_a_file_that_f_and_o_does_not_have(state: State) -> None:
    rows = [a_row(1, state=state, damage="it is no JSON object"), a_row(2)]

    assert chosen(rows) == ("item-2", NOW)


@pytest.mark.parametrize(
    "state", [None, State.SUBMITTING, State.EXECUTING, State.FINISHED, State.CANCELLED, State.PLANNED]
)
def test_nobody_begins_behind_a_damaged_record_that_f_and_o_may_be_working_on(state: State | None) -> None:
    rows = [a_row(1, state=state, damage="it is no JSON object"), aside(2, due=NOW + MINUTE), a_row(3)]

    assert chosen(rows) == ("item-2", NOW + MINUTE)
    assert chosen([rows[0], rows[2]]) is None


def test_with_strict_order_files_before_a_damaged_record_go_on_and_none_behind_it() -> None:
    damaged = a_row(2, damage="not JSON", flow_name="")
    first, *others = with_order_kept([a_row(1), damaged, a_row(3)], {"import"})

    assert chosen([first, *others]) == ("item-1", NOW)
    assert chosen(others) is None
    assert ahead_of(others[1].sort_key, others) == others[0]
    assert with_order_kept([damaged, a_row(3, flow_name="other")], {"import"})[0].is_passed


def test_a_damaged_record_is_never_next() -> None:
    rows = [
        a_row(1, state=state, damage="broken", is_aside=is_aside, refusal=REFUSAL)
        for state in State
        for is_aside in (False, True)
    ]

    assert choose(rows) is None
    assert choose(rows, [a_stop()]) is None


# A flow that is stopped


def refused(second: int, *, due: datetime, **facts: Any) -> LaneRow:
    """Return a file that has met what its flow is stopped for."""
    return aside(second, due=due, refusal=REFUSAL, **facts)


def test_of_a_stopped_flow_one_file_tries_when_it_is_time_and_no_other_begins() -> None:
    rows = [refused(1, due=NOW + 5 * MINUTE), a_row(2, due=NOW), a_row(3, due=NOW)]

    assert chosen(rows, [a_stop(next_try=NOW + MINUTE)]) == ("item-2", NOW + MINUTE)


def test_each_time_another_file_of_a_stopped_flow_tries_the_one_whose_last_try_is_longest_ago() -> None:
    rows = [refused(1, due=NOW + MINUTE), refused(2, due=NOW + 3 * MINUTE), a_row(3, due=NOW + 2 * MINUTE)]
    stop = a_stop(next_try=NOW)

    assert chosen(rows, [stop]) == ("item-1", NOW + MINUTE)
    assert chosen(rows[1:], [stop]) == ("item-3", NOW + 2 * MINUTE)
    assert chosen(rows[1:2], [stop]) == ("item-2", NOW + 3 * MINUTE)


def test_a_file_that_f_and_o_has_goes_on_though_its_flow_is_stopped() -> None:
    rows = [a_row(1, state=State.EXECUTING, due=NOW), refused(2, due=NOW + MINUTE)]

    assert chosen(rows, [a_stop(next_try=NOW)]) == ("item-1", NOW)


def test_a_file_that_is_set_aside_for_a_reason_of_its_own_may_try_for_its_flow_too() -> None:
    rows = [aside(1, due=NOW, refusal="claim|Microsoft Graph|423|resourceLocked"), refused(2, due=NOW + MINUTE)]

    assert chosen(rows, [a_stop()]) == ("item-1", NOW)


def test_a_file_of_another_flow_goes_on_though_one_is_stopped() -> None:
    rows = [refused(1, due=NOW), a_row(2), a_row(3, flow_name="vendors", due=NOW + MINUTE)]

    assert chosen(rows, [a_stop(next_try=NOW + 3 * MINUTE)]) == ("item-3", NOW + MINUTE)


def test_a_cancelled_file_of_a_stopped_flow_is_moved_and_tries_nothing() -> None:
    rows = [a_row(1, state=State.CANCELLED, refusal=REFUSAL, due=NOW)]

    assert chosen(rows, [a_stop(next_try=NOW)]) is None
    assert chosen([a_row(1, state=State.CANCELLED, due=NOW)], [a_stop(next_try=NOW + MINUTE)]) == ("item-1", NOW)


def test_a_lane_and_a_stopped_flow_without_a_file_have_nothing_to_do() -> None:
    assert choose([]) is None
    assert choose([], [a_stop()]) is None
    assert chosen([a_row(1, flow_name="vendors")], [a_stop()]) == ("item-1", NOW)


def test_no_file_tries_for_a_stopped_flow_while_another_run_is_under_way_if_none_of_its_own_has_met_the_refusal() -> (
    None
):
    rows = [a_row(1, state=State.EXECUTING, due=NOW + 9 * MINUTE), a_row(2, due=NOW)]

    assert chosen(rows, [a_stop(next_try=NOW)]) == ("item-1", NOW + 9 * MINUTE)


@pytest.mark.parametrize("integration", ["import", "vendors"])
def test_no_file_is_begun_for_a_stopped_flow_while_a_run_is_under_way_that_is_not_stopped(integration: str) -> None:
    under_way = a_row(1, state=State.EXECUTING, due=NOW + 9 * MINUTE, flow_name=integration)
    rows = [under_way, refused(2, due=NOW + MINUTE), a_row(3, due=NOW)]

    assert chosen(rows, [a_stop(next_try=NOW)]) == ("item-2", NOW + MINUTE)


def test_of_two_stopped_flows_each_tries_for_itself() -> None:
    rows = [refused(1, due=NOW), refused(2, due=NOW, flow_name="vendors")]
    stops = [a_stop(next_try=NOW + 2 * MINUTE), a_stop("vendors", next_try=NOW + MINUTE)]

    assert chosen(rows, stops) == ("item-2", NOW + MINUTE)


# How many rows are enough


def test_a_file_that_waits_is_enough_once_one_of_a_later_second_was_seen() -> None:
    assert not is_enough([a_row(1)])
    assert not is_enough([a_row(1, "a"), a_row(1, "b")])
    assert is_enough([a_row(1, "a"), a_row(1, "b"), a_row(2)])


def test_a_file_of_a_stopped_flow_does_not_tell_what_waits_behind_it() -> None:
    rows = [a_row(1), a_row(2), a_row(3)]

    assert is_enough(rows)
    assert not is_enough(rows, [a_stop()])
    assert is_enough([*rows, a_row(4, flow_name="vendors"), a_row(5)], [a_stop()])


# By name, and with a rest


def by_name(name: str, **facts: Any) -> LaneRow:
    row = a_row(0, name, **facts)
    return replace(row, sort_key=sort_key_by_name("", f"{name}.zip", NOW, name))


def test_of_those_placed_by_name_the_first_is_next_and_is_enough() -> None:
    rows = [by_name("a", due=NOW + MINUTE), by_name("b")]

    assert chosen(rows) == ("a", NOW + MINUTE)
    assert is_enough(rows[:1])
    assert not is_enough(rows[:1], [a_stop()])


def test_no_file_is_begun_while_its_lane_rests_and_what_is_begun_goes_on() -> None:
    rest = NOW + MINUTE
    rows = [aside(1, due=NOW), a_row(2, due=NOW)]

    assert choose(rows, [], rest) == Choice(row=rows[0], due=rest, is_rest=True)
    assert choose([*rows, a_row(3, state=State.CANCELLED)], [], rest) == Choice(
        row=a_row(3, state=State.CANCELLED), due=NOW
    )
    assert choose([a_row(1, due=rest + MINUTE)], [], rest) == Choice(row=a_row(1, due=rest + MINUTE), due=rest + MINUTE)


@pytest.mark.parametrize(("stopped_at", "expected"), [("", None), ("item-1", "item-1"), ("gone", None)])
def test_in_a_paused_lane_only_the_run_goes_on_that_strict_order_has_stopped_it_at(
    stopped_at: str, expected: str | None
) -> None:
    rows = [a_row(1, state=State.FINISHED), a_row(2)]
    choice = choose_of(rows, [], None, is_paused=True, stopped_at=stopped_at)

    assert (choice.row.run_id if choice else None) == expected


_begun = st.sampled_from([State.CLAIMED, State.SUBMITTING, State.EXECUTING, State.FINISHED, State.CANCELLED])
_flows = st.sampled_from(["import", "vendors"])
_dues = st.integers(0, 9).map(lambda minutes: NOW + minutes * MINUTE)


@given(
    begun=st.lists(st.tuples(_begun, _flows, _dues, st.booleans(), st.booleans()), max_size=4),
    waiting=st.lists(st.tuples(_flows, st.integers(0, 2), _dues), max_size=8),
    stopped=st.sets(_flows),
)
def test_what_the_first_rows_of_a_lane_tell_all_of_them_tell(
    begun: list[tuple[State, str, datetime, bool, bool]], waiting: list[tuple[str, int, datetime]], stopped: set[str]
) -> None:
    """Files are opened behind those that are under way: the runs that others pass, or that are begun, come first."""
    rows = [
        a_row(
            number,
            state=state,
            flow_name=flow,
            due=due,
            is_aside=is_aside,
            refusal=REFUSAL if is_aside and is_refused else "",
        )
        for number, (state, flow, due, is_aside, is_refused) in enumerate(begun)
    ]
    second = 10
    for number, (flow, later_s, due) in enumerate(waiting):
        second += later_s
        rows.append(a_row(second, f"w{number}", flow_name=flow, due=due, file_name=f"{number * 7 % 5}.zip"))
    stops = [a_stop(flow, next_try=NOW + 4 * MINUTE) for flow in sorted(stopped)]

    of_all = choose(rows, stops)
    enough = next((rows[:seen] for seen in range(1, len(rows)) if is_enough(rows[:seen], stops)), rows)
    of_some = choose(enough, stops)

    assert (of_some is None) is (of_all is None)
    # A stopped flow's file far behind may be the one to try: it does once those before it have gone.
    assert stopped or of_some == of_all


def test_rows_are_told_apart_lane_by_lane() -> None:
    rows = [a_row(1), a_row(2), a_row(1, lane="in-2"), a_row(1, lane="out-1")]

    assert [(lane, len(of_lane)) for lane, of_lane in by_lane(rows)] == [("in-1", 2), ("in-2", 1), ("out-1", 1)]


@pytest.mark.parametrize(
    ("lane", "expected"),
    [
        ("in-customers-1a2b3c4d", Direction.IMPORT),
        ("out-customers-1a2b3c4d", Direction.EXPORT),
        ("in-customers-1a2b3c4d 20261102T083000000000Z-a", Direction.IMPORT),
        ("inbound", None),
        ("scan", None),
        ("", None),
    ],
)
def test_the_name_of_a_lane_tells_its_direction(lane: str, expected: Direction | None) -> None:
    assert direction_of(lane) is expected
