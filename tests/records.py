"""Runs, pauses and stops as tests put them into the app's container, and what a test sees of it there."""

import uuid
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any

import pytest
import requests
from azure.storage.blob import ContainerClient

from shared.runs.addresses import sort_key_of
from shared.runs.index import RunIndex
from shared.runs.lane import Stop
from shared.runs.rows import Pause, RunRow
from shared.runs.run import Run
from shared.runs.states import Direction, Outcome, State
from shared.runs.store import RunStore
from shared.runs.values import FileFacts, Held

NOW = datetime(2026, 11, 2, 8, 30, 0, 123456, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
TODAY = NOW.date()
_numbers = count()


def a_run(*, lane: str = "in-1", modified: datetime = NOW, key: str = "", opened: datetime = NOW) -> Run:
    key = key or f"item-{next(_numbers)}"
    return Run(
        run_id=uuid.uuid4().hex[:12],
        direction=Direction.IMPORT,
        flow_name="import",
        lane=lane,
        state=State.FOUND,
        state_since=NOW,
        due=NOW,
        opened=opened,
        file=FileFacts(name="USMF_Customers_001.zip", item_id=key, modified=modified),
        sort_key=sort_key_of(modified, key),
    )


def names(container: ContainerClient, prefix: str) -> list[str]:
    return [str(row.name) for row in container.list_blobs(name_starts_with=prefix)]


def head(store: RunStore, lane: str = "in-1") -> Run:
    row = store.head(lane)
    assert row is not None
    return store.read_row(row)


def ended_rows(index: RunIndex, newest: date = TODAY, oldest: date | None = None, **options: Any) -> list[RunRow]:
    return [row for rows in index.ended_rows(newest, oldest, **options) for row in rows.rows]


def end_one(store: RunStore, opened: datetime, outcome: Outcome = Outcome.SUCCEEDED, **facts: Any) -> Run:
    """Open a run at that moment and end it; return it as it ended."""
    store.create(a_run(lane="in-ends", opened=opened))
    over = replace(head(store, "in-ends"), state=State.FILED, outcome=outcome, ended=opened + MINUTE, **facts)
    store.end(over)
    return over


def spied_on(monkeypatch: pytest.MonkeyPatch) -> list[requests.PreparedRequest]:
    """Return the list that every request of the storage SDK is written to from now on."""
    asked: list[requests.PreparedRequest] = []
    send = requests.Session.send

    def note(session: requests.Session, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        asked.append(request)
        return send(session, request, **options)

    monkeypatch.setattr(requests.Session, "send", note)
    return asked


def put(
    store: RunStore, number: int, *, second: int | None = None, state: State = State.FOUND, is_aside: bool = False
) -> Run:
    """Open a run in a lane, let it come to a state, or set it aside."""
    run = a_run(key=f"{number:03d}", modified=NOW + timedelta(seconds=number if second is None else second))
    assert store.create(run)
    if state is State.FOUND and not is_aside:
        return run
    held = Held(since=NOW, text="locked", refusal="claim|Microsoft Graph|403|x", is_aside=True) if is_aside else None
    row = store.row_at(run.lane, run.sort_key)
    assert row is not None
    return store.save(replace(store.read_row(row), state=state, held=held))


def a_pause(by: str = "anna", why: str = "ä break: 100% sure") -> Pause:
    return Pause(lane="in-1", by=by, why=why, since=NOW)


def a_stop(integration: str = "Kunden & Müller", **facts: Any) -> Stop:
    stop = Stop(
        lane="in-1",
        flow_name=integration,
        refusal="claim|Microsoft Graph|403|accessDenied",
        text="ä 100% refusal:  two  spaces",
        since=NOW,
        next_try=NOW + MINUTE,
    )
    return replace(stop, **facts)
