"""What a listing tells of runs, stops and pauses whose times were saved without a zone, or cannot be."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.azure_storage.container import BlobRow
from shared.escapes import metadata_text
from shared.runs.addresses import ended_name, open_name
from shared.runs.lane import LaneRow, Stop, choose
from shared.runs.rows import (
    Pause,
    ended_row_from,
    metadata_of,
    metadata_of_pause,
    metadata_of_rest,
    metadata_of_stop,
    open_row_from,
    pause_from,
    pause_name,
    rest_name,
    rests_until,
    stop_from,
    stop_name,
)
from shared.runs.run import Run
from shared.runs.states import State
from tests.builders import a_run

NOW = datetime(2026, 11, 2, 8, 30, tzinfo=UTC)
EAST_OF_THE_YEAR_1 = "0001-01-01T00:00:00+02:00"


def a_blob(name: str, metadata: dict[str, str]) -> BlobRow:
    return BlobRow(name=name, metadata=metadata, etag='"1"', last_modified=NOW)


def changed(metadata: dict[str, str], key: str, **texts: str) -> dict[str, str]:
    """Return metadata in whose JSON under that key some texts are others."""
    said: dict[str, Any] = json.loads(metadata_text(metadata[key]))
    return metadata | {key: json.dumps(said | texts)}


def without_zones(metadata: dict[str, str]) -> dict[str, str]:
    return {key: text.replace("%2B00:00", "").replace("+00:00", "") for key, text in metadata.items()}


def a_stop() -> Stop:
    return Stop(lane="in-1", flow_name="import", refusal="R", text="It is not permitted.", since=NOW, next_try=NOW)


def a_listed_run() -> Run:
    return replace(a_run(), opened=NOW, due=NOW)


def test_a_lane_goes_on_under_a_stop_whose_times_were_saved_without_a_zone() -> None:
    metadata = without_zones(metadata_of_stop(a_stop()))
    row = LaneRow(lane="in-1", sort_key="20261102T083000000000Z-a", due=NOW, state=State.FOUND, flow_name="import")

    stop = stop_from(a_blob(stop_name("in-1", "import"), metadata))

    assert stop is not None
    choice = choose([row], [stop])
    assert choice is not None
    assert choice.due == NOW


def test_a_stop_whose_time_cannot_be_stops_nothing() -> None:
    metadata = metadata_of_stop(a_stop()) | {"due": EAST_OF_THE_YEAR_1}

    assert stop_from(a_blob(stop_name("in-1", "import"), metadata)) is None


def test_a_pause_without_a_zone_began_at_that_time_in_utc() -> None:
    pause = Pause(lane="in-1", by="Ada", why="stocktaking", since=NOW)

    assert pause_from(a_blob(pause_name("in-1"), without_zones(metadata_of_pause(pause)))) == pause


def test_a_pause_tells_at_which_run_the_lane_was_stopped() -> None:
    pause = Pause(lane="in-1", by="strictOrder", why="it failed", since=NOW, run="1793608200000-0123456789ab")

    assert pause_from(a_blob(pause_name("in-1"), metadata_of_pause(pause))) == pause
    assert (pause.run_id, replace(pause, run="").run_id) == ("0123456789ab", "")


def test_a_rest_that_cannot_be_read_is_none() -> None:
    assert rests_until(a_blob(rest_name("in-1"), metadata_of_rest(NOW))) == NOW
    assert rests_until(a_blob(rest_name("in-1"), {"due": "tomorrow"})) is None


def test_a_run_whose_row_has_times_without_a_zone_is_listed_with_them_in_utc() -> None:
    run = a_listed_run()
    metadata = without_zones(metadata_of(run))

    row = open_row_from(a_blob(open_name(run.lane, run.sort_key), metadata))

    assert (row.opened, row.due, row.damage) == (NOW, NOW, "")


@pytest.mark.parametrize("name", ["opened", "ended"])
def test_an_ended_run_whose_row_has_a_time_that_cannot_be_is_listed_all_the_same(name: str) -> None:
    run = replace(a_listed_run(), ended=NOW)
    metadata = changed(metadata_of(run), "row", **{name: EAST_OF_THE_YEAR_1})

    row = ended_row_from(a_blob(ended_name(run.opened, run.run_id), metadata))

    assert (row.run_id, row.opened, row.damage) == (run.run_id, NOW, "its metadata are missing or wrong")
