"""Runs and rows as tests need them: only what matters to a test is named there."""

import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from shared.runs.rows import RunRow
from shared.runs.run import Run, new_run
from shared.runs.states import Direction, State
from shared.runs.values import FileFacts, StepRecord

NOON: Final = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
MISSING: Final = object()
# The settings that no app can do without.
SETTINGS: Final = {
    "FO_URL": "https://contoso.operations.dynamics.com",
    "ONEDRIVE_DRIVE": "drives/b!1",
    "AzureWebJobsStorage": "UseDevelopmentStorage=true",
}


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


def changed(content: object, path: Sequence[str | int], value: object) -> str:
    """Return JSON with something else at a place; MISSING: with nothing there."""
    copy = deepcopy(content)
    *way, last = path
    at: Any = copy
    for step in way:
        at = at[step]
    if value is MISSING:
        del at[last]
    else:
        at[last] = value
    return json.dumps(copy)


def a_step(step: str = "poll", state: State = State.EXECUTING, **facts: Any) -> StepRecord:
    """Return the record of a step that was done and met nothing."""
    return replace(StepRecord(step=step, state=state, began=NOON, took_s=1.0), **facts)


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
