"""Runs and rows as tests need them: only what matters to a test is named there."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from shared.runs.rows import RunRow
from shared.runs.run import Run, new_run
from shared.runs.states import Direction, State
from shared.runs.values import FileFacts

NOON: Final = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)


def a_run(**facts: Any) -> Run:
    """Return the run of an import that was found just now."""
    run = new_run(
        direction=facts.pop("direction", Direction.IMPORT),
        state=State.FOUND,
        flow_name="import",
        lane="in-1",
        sort_key="20261102T120000000000Z-item",
        file=FileFacts(name="USMF_Customers_001.zip"),
        now=NOON,
    )
    return replace(run, **facts)


def a_row(**facts: Any) -> RunRow:
    """Return what a list shows of such a run."""
    row = RunRow(
        address="",
        run_id="0123456789ab",
        flow=Direction.IMPORT,
        integration="customers in",
        lane="in-1",
        state=State.FOUND,
        outcome=None,
        company="USMF",
        data_project="Customers",
        execution_id="Customers-20261102",
        file_name="USMF_Customers_001.zip",
        words="",
        needs_person=False,
        opened=NOON,
        due=NOON,
        ended=None,
    )
    return replace(row, **facts)
