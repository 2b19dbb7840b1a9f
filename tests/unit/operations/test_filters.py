"""Which runs a filter lets through, and what is said of a filter that cannot be read."""

import re

import pytest

from operations.filters import NOT_SUCCEEDED, Filters, InvalidRequest, read_filters
from shared.runs.rows import RunRow
from shared.runs.states import Outcome, State
from tests.builders import NOON, a_row

FAILED = a_row(state=State.FILED, outcome=Outcome.PARTIALLY_SUCCEEDED, ended=NOON)


@pytest.mark.parametrize(
    ("query", "row", "matches"),
    [
        ({}, a_row(), True),
        ({"flow": "import"}, a_row(), True),
        ({"flow": "export"}, a_row(), False),
        ({"flow": "Customers In"}, a_row(), True),
        ({"company": "usmf"}, a_row(), True),
        ({"company": "USM"}, a_row(), False),
        ({"project": "customers"}, a_row(), True),
        ({"project": "vendors"}, a_row(), False),
        ({"state": "Found"}, a_row(), True),
        ({"state": "filed"}, a_row(), False),
        ({"state": "uploaded"}, a_row(state=State.CLAIMED), True),
        ({"outcome": NOT_SUCCEEDED}, FAILED, True),
        ({"outcome": "partiallysucceeded"}, FAILED, True),
        ({"outcome": "Failed"}, FAILED, False),
        ({"outcome": NOT_SUCCEEDED}, a_row(), False),
        ({"outcome": NOT_SUCCEEDED}, a_row(outcome=Outcome.SUCCEEDED), False),
        ({"outcome": "GivenUp"}, a_row(outcome=Outcome.CANCELLED_BY_PERSON), True),
        ({"outcome": "cancelled by a person"}, a_row(outcome=Outcome.CANCELLED_BY_PERSON), True),
        ({"outcome": "Canceled"}, a_row(outcome=Outcome.CANCELED_IN_FO), True),
        ({"outcome": "Canceled in F&O"}, a_row(outcome=Outcome.CANCELED_IN_FO), True),
        ({"day": "2026-11-02"}, a_row(), True),
        ({"day": "2026-11-03"}, a_row(), False),
        ({"text": " customers_0 "}, a_row(), True),
        ({"text": "-20261102"}, a_row(), True),
        ({"text": "0123456789AB"}, a_row(), True),
        ({"text": "vendors"}, a_row(), False),
        ({"company": "USMF", "text": "vendors"}, a_row(), False),
    ],
)
def test_a_run_is_shown_if_it_matches_every_filter(query: dict[str, str], row: RunRow, matches: bool) -> None:
    assert read_filters(query).match(row) is matches


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({"state": "nonsense"}, "state: 'nonsense' is not a state. Use one of: found, claimed,"),
        ({"outcome": "fialed"}, "outcome: 'fialed' is not an outcome. Use one of: NotSucceeded, Succeeded,"),
        ({"outcome": "fialed"}, ", Cancelled by a person"),
        ({"day": "31.12.2020"}, "day: '31.12.2020' is not a day. Write it as YYYY-MM-DD"),
        ({"text": "x", "day": "yesterday", "state": "?"}, "state: '?' is not a state."),
        ({"text": "x", "day": "yesterday", "state": "?"}, "day: 'yesterday' is not a day."),
    ],
)
def test_a_filter_that_cannot_be_read_is_refused_with_what_is_allowed(query: dict[str, str], text: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(text)):
        read_filters(query)


def test_a_flow_that_does_not_exist_is_refused_with_those_that_do() -> None:
    Filters(flow="Customers").require_flow(["customers"])
    Filters(flow="Export").require_flow([])

    with pytest.raises(InvalidRequest, match="Use one of: import, export, customers"):
        Filters(flow="vendors").require_flow(["customers"])


@pytest.mark.parametrize(
    ("filters", "only_failed"),
    [
        (Filters(outcome=NOT_SUCCEEDED), True),
        (Filters(outcome="Rejected"), True),
        (Filters(outcome="Succeeded"), False),
        (Filters(), False),
    ],
)
def test_only_filters_that_only_failures_match_look_through_failures_alone(filters: Filters, only_failed: bool) -> None:
    assert filters.only_failed is only_failed


@pytest.mark.parametrize("state", [State.EXECUTING, State.FINISHED, State.FILED, None])
def test_a_state_in_which_no_run_ends_needs_no_look_through_the_history(state: State | None) -> None:
    assert Filters(state=state).no_ended is (state in (State.EXECUTING, State.FINISHED))
