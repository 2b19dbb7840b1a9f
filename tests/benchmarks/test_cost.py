"""What is billed of a journal: periods, GB-s, prices, and the actions of Microsoft's Logic Apps."""

import json
import re

import pytest

from local_cloud.cloud import ROOT
from tests.benchmarks import cost
from tests.benchmarks.cost import Invocation, Operation, Use, billed_periods, billed_s, read_journal


def execution(began: float, ended: float, *, instance: str = "work-1", function: str = "work") -> Invocation:
    return Invocation(group=instance.partition("-")[0], instance=instance, function=function, began=began, ended=ended)


# -- billed periods


def test_executions_that_overlap_on_one_instance_are_billed_as_one_period() -> None:
    periods = billed_periods([execution(100, 102), execution(101, 105), execution(103, 104)])

    assert [(each.began, each.ended, each.executions) for each in periods] == [(100, 105, 3)]


def test_executions_side_by_side_on_two_instances_are_billed_twice() -> None:
    assert billed_s([execution(100, 102), execution(100, 102, instance="work-2")]) == pytest.approx(4)


def test_a_pause_between_executions_is_not_billed() -> None:
    assert billed_s([execution(100, 102), execution(110, 112)]) == pytest.approx(4)


def test_each_period_is_billed_for_a_second_at_least() -> None:
    assert billed_s([execution(100, 100.01), execution(105, 105.2)]) == pytest.approx(2)


@pytest.mark.parametrize(("took_s", "billed"), [(1.0, 1.0), (1.01, 1.1), (1.1, 1.1), (2.35, 2.4)])
def test_beyond_a_second_a_period_is_billed_in_steps_of_a_tenth(took_s: float, billed: float) -> None:
    assert billed_s([execution(0, took_s)]) == pytest.approx(billed)


def test_the_order_in_which_executions_were_noted_does_not_matter() -> None:
    assert billed_s([execution(103, 104), execution(100, 103.5)]) == billed_s([execution(100, 104)])


# -- the journal


def test_a_journal_tells_of_invocations_and_instances_and_its_unfinished_line_is_left_out() -> None:
    lines = [
        {"event": "instance.asked", "group": "work", "instance": "work-1", "pid": 7, "at": 1.0},
        {"event": "instance.started", "group": "work", "instance": "work-1", "pid": 7, "at": 4.0},
        {"event": "invocation", "group": "work", "instance": "work-1", "function": "work", "began": 5.0, "ended": 6.0,
         "ok": True},
        {"event": "invocation", "group": "keep_watch", "instance": "keep_watch-1", "function": "keep_watch",
         "began": 5.0, "ended": 6.0, "ok": True},
    ]  # fmt: skip
    text = "".join(f"{json.dumps(line)}\n" for line in lines) + '{"event": "inv'

    journal = read_journal(text)

    assert [each.function for each in journal.invocations] == ["work", "keep_watch"]
    assert [each.function for each in journal.without_timers()] == ["work"]
    assert journal.asked("work") == [1.0]
    assert journal.between(5.5).invocations == []


def test_instances_count_from_their_start_to_their_stop() -> None:
    times = [("started", "a", 1.0), ("started", "b", 2.0), ("stopped", "a", 3.0), ("started", "c", 4.0)]
    events = [cost.InstanceEvent(what=what, group="work", instance=name, at=at) for what, name, at in times]

    journal = cost.Journal(invocations=[], events=events)
    assert journal.most_at_once("work") == 2
    assert journal.there_at("work", 2.5) == 2
    assert journal.between(2.5).most_at_once("work", at_first=2) == 2


# -- prices


def test_a_second_on_2048_mb_costs_four_times_one_on_512() -> None:
    assert cost.gb_s(10, 2048) == 20
    assert cost.gb_s(10, 512) == 5


def test_the_free_grant_is_taken_off_on_demand_use_alone() -> None:
    month = Use(gb_s=cost.FREE_GB_S, executions=cost.FREE_EXECUTIONS, ready_baseline_gb_s=1_000_000)

    assert month.dollars(with_grant=True) == pytest.approx(4.0)
    assert month.dollars() == pytest.approx(100_000 * 0.000026 + 0.1 + 4.0)


def test_use_within_the_grant_costs_nothing() -> None:
    assert Use(gb_s=21_915, executions=43_830).dollars(with_grant=True) == 0


def test_what_runs_on_an_always_ready_instance_is_billed_by_its_own_rates() -> None:
    use = cost.use_of([execution(0, 2), execution(0, 2, instance="http-1")], 2048, ready_groups=["http"])

    assert (use.gb_s, use.executions, use.ready_gb_s, use.ready_executions) == (4, 1, 4, 1)


@pytest.mark.parametrize(
    ("call", "operation"),
    [
        ("Put Blob runs/open/...", Operation.WRITE),
        ("Put Block dmf/...", Operation.WRITE),
        ("List Blobs runs/open", Operation.LIST),
        ("Get Blob runs/watch/looks", Operation.READ),
        ("Head Blob runs/open/...", Operation.OTHER),
        ("Lease Blob runs/lanes/...", Operation.OTHER),
        ("Delete Blob runs/open/...", Operation.FREE),
        ("Put Message work/messages", Operation.QUEUE),
        ("Get Messages work/messages", Operation.QUEUE),
        ("Get Queue work", Operation.QUEUE),
        ("Delete Message work/messages", Operation.QUEUE),
    ],
)
def test_each_call_to_storage_is_billed_by_its_class(call: str, operation: Operation) -> None:
    assert cost.operation_of(call) is operation


def test_ten_thousand_writes_cost_what_the_price_list_says() -> None:
    assert cost.storage_dollars(["Put Blob runs/open/..."] * 10_000) == pytest.approx(cost.BLOB_WRITES.dollars)


def test_the_document_gives_the_prices_that_are_calculated_with() -> None:
    text = (ROOT / "docs" / "cost.md").read_text("utf-8")

    rows = {cells[0]: cells[1] for line in text.splitlines() if (cells := re.findall(r"(?<=\| )[^|]+(?= \|)", line))}
    for price in cost.PRICES:
        assert rows[price.what] == cost.price_text(price)
    for grant in (cost.FREE_GB_S, cost.FREE_EXECUTIONS):
        assert f"{grant:,.0f}" in text


# -- Logic Apps


def test_a_file_that_fno_imports_within_ten_seconds_needs_seven_connector_calls_and_thirteen_actions() -> None:
    actions = cost.logic_app_import(execution_s=5)

    assert (actions.connector, actions.built_in) == (7, 13)
    assert actions.times(1000).dollars == pytest.approx(1.20)


@pytest.mark.parametrize(("execution_s", "looks"), [(5, 1), (10, 1), (11, 2), (3600, 2)])
def test_the_sample_asks_for_the_status_twice_at_most(execution_s: float, looks: int) -> None:
    assert cost.logic_app_import(execution_s).connector - 6 == looks


def test_an_export_of_the_sample_asks_for_the_status_ten_times_always() -> None:
    actions = cost.logic_app_export()

    assert (actions.connector, actions.built_in) == (13, 20)


def test_polling_once_a_minute_costs_five_dollars_a_month() -> None:
    assert cost.POLLS_A_MONTH.dollars == pytest.approx(5.48, abs=0.01)
