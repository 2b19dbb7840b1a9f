"""The recipes of CONTRIBUTING.md: what a new setting, state or channel needs everywhere is there, or a test here fails.

A client call is held by ``tests/wire/test_descriptions.py``, the tables of documents by ``test_docs.py``.
"""

import re
from dataclasses import fields

import pytest

from local_cloud import cloud
from operations import labels
from shared.alerts.channels import CHANNELS
from shared.config.alert_route import AlertRoute
from shared.config.app_settings import SETTINGS
from shared.config.model import ExportFlow, ImportFlow, names_of
from shared.exports import steps as export_steps
from shared.imports import steps as import_steps
from shared.runs.states import MOVES, PROGRESS, Direction, State
from tests.architecture.product import ROOT
from tests.conftest import foreign_prefixes
from tests.faults.matrix import states_to_save
from tests.wire.receivers import ENDPOINTS

DOCUMENTS = "\n".join(file.read_text("utf-8") for file in (ROOT / "docs").glob("*.md"))
STEPS = {Direction.IMPORT: import_steps.STEPS, Direction.EXPORT: export_steps.STEPS}


# -- a setting of a flow: held by test_docs.py (schema, reference) and by tests/unit/config/test_integrations.py


# -- an app setting


def test_tests_and_the_local_cloud_take_nothing_from_the_settings_of_this_machine() -> None:
    passed_on = {name for name in SETTINGS if not name.startswith(cloud._NOT_PASSED_ON)}

    assert [name for name in SETTINGS if not name.startswith(foreign_prefixes())] == []
    # The local cloud sets the storage itself, and a machine may well say how many threads are to run.
    assert {name.partition("__")[0] for name in passed_on} == {"AzureWebJobsStorage", "PYTHON_THREADPOOL_THREAD_COUNT"}


# -- a state


@pytest.mark.parametrize("state", State)
def test_a_state_is_in_every_table(state: State) -> None:
    directions = [direction for direction, moves in MOVES.items() if state in moves]
    goes_on = [direction for direction in directions if MOVES[direction][state]]

    assert directions
    assert state in PROGRESS
    assert labels.STATE_TEXT[state]
    assert [direction for direction, steps in STEPS.items() if state in steps] == goes_on
    assert bool(labels.WAITS_FOR.get(state)) is bool(goes_on)
    # The fault matrix asks of each of its cases that storage has taken the state, and the history tells of it.
    assert all(state in states_to_save(direction) for direction in goes_on if state is not State.CANCELLED)


def test_every_step_has_a_title() -> None:
    steps = {step.__name__ for table in STEPS.values() for step in table.values()}

    assert steps == set(labels.STEP_TITLE) - labels.OLDER_STEPS


# -- an alert channel


def test_every_address_of_a_route_has_a_channel() -> None:
    assert set(CHANNELS) == {each.name for each in fields(AlertRoute)}


@pytest.mark.parametrize("address", CHANNELS)
def test_a_channel_has_settings_for_all_and_for_one_flow_and_is_documented(address: str) -> None:
    setting = f"ALERT_{address.upper()}"
    key = "alert" + "".join(word.capitalize() for word in address.split("_"))

    assert setting in SETTINGS
    assert all(key in names_of(flow) for flow in (ImportFlow, ExportFlow))
    assert re.search(rf"`{setting}`", DOCUMENTS.split("## Alerts")[-1])


def test_every_channel_that_posts_to_an_address_is_described_for_the_wire() -> None:
    posted_to = {f"ALERT_{address.upper()}" for address in CHANNELS if address.endswith("_url")}

    assert {setting for setting in posted_to if any(setting in each.when for each in ENDPOINTS)} == posted_to
