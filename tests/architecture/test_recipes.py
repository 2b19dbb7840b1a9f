"""The recipes of CONTRIBUTING.md: what a new setting, state or channel needs everywhere is there, or a test here fails.

A client call is held by ``tests/wire/test_descriptions.py``, the tables of documents by ``test_docs.py``.
"""

import ast
import re
from dataclasses import fields
from functools import cache

import pytest

from local_cloud import cloud
from operations import labels
from shared.alerts.channels import CHANNELS
from shared.config.alert_route import AlertRoute
from shared.config.app_settings import SETTINGS
from shared.config.model import (
    NOT_SAVED_OF_A_FLOW,
    Alerted,
    Document,
    ExportFlow,
    ImportFlow,
    Part,
    all_parts,
    choice_key,
    names_of,
)
from shared.exports import steps as export_steps
from shared.imports import steps as import_steps
from shared.runs.states import MOVES, NOT_BEGUN, NOT_SUBMITTED, PROGRESS, WITH_FO, Direction, State
from shared.secret import SecretUrl
from tests.architecture.product import ROOT, product_nodes
from tests.conftest import foreign_prefixes
from tests.faults.matrix import states_to_save
from tests.wire.receivers import ENDPOINTS

OPERATIONS = (
    (ROOT / "docs" / "operations.md").read_text("utf-8").split("\n## Who gets which alerts\n")[1].split("\n## ")[0]
)
STEPS = {Direction.IMPORT: import_steps.STEPS, Direction.EXPORT: export_steps.STEPS}


# -- a setting of a flow: also held by test_docs.py (schema, reference), tests/unit/config/test_integrations.py, and
# tests/end_to_end/settings, which tries what it does

# What a channel of alerts adds to each flow is held below.
SETTINGS_OF_FLOWS = [
    (part, name)
    for part in sorted(all_parts(Document), key=str)
    for name, field in part.model_fields.items()
    if name not in Alerted.model_fields and field.alias != choice_key(part)
]


@pytest.mark.parametrize(("part", "name"), SETTINGS_OF_FLOWS)
def test_the_app_reads_every_setting_of_a_flow(part: type[Part], name: str) -> None:
    assert name in _attributes(), f"no code reads {part.__name__}.{name} (recipe 'A setting of one flow', use)"


@cache
def _attributes() -> frozenset[str]:
    return frozenset(node.attr for _, node in product_nodes() if isinstance(node, ast.Attribute))


def test_every_setting_of_a_flow_stands_in_an_example_of_the_guide() -> None:
    guide = (ROOT / "docs" / "integrations.md").read_text("utf-8")
    shown = {
        key for example in re.findall(r"(?s)```json\n(.*?)\n```", guide) for key in re.findall(r'"(\w+)":', example)
    }
    missing = {key for part in all_parts(Document) for key in names_of(part)} - shown

    assert not missing, (
        f"docs/integrations.md has no example with {sorted(missing)} (recipe 'A setting of one flow', docs)"
    )


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

    assert directions, f"states.py: no table of moves has {state.name}"
    assert state in PROGRESS, f"states.py: PROGRESS has no {state.name}"
    assert labels.STATE_TEXT.get(state), f"labels.py: STATE_TEXT has no {state.name}"
    with_step = [direction for direction, steps in STEPS.items() if state in steps]
    assert with_step == goes_on, f"steps.py: STEPS has a step for {state.name} in {with_step}, not in {goes_on}"
    waits = bool(labels.WAITS_FOR.get(state))
    assert waits is bool(goes_on), f"labels.py: WAITS_FOR has each state from which a run goes on: {state.name}"
    # The fault matrix asks of each of its cases that storage has taken the state, and the history tells of it.
    assert all(state in states_to_save(direction) for direction in goes_on if state is not State.CANCELLED)


def test_a_state_before_the_outcome_is_either_one_before_the_submit_or_one_with_fo() -> None:
    before_outcome = {state for state in State if PROGRESS[state] < PROGRESS[State.FINISHED]}
    before_submit = {state for state in State if PROGRESS[state] < PROGRESS[State.SUBMITTING]}

    assert before_submit == NOT_SUBMITTED, (
        "PROGRESS and NOT_SUBMITTED in states.py disagree about what is before a submit"
    )
    assert before_outcome == NOT_SUBMITTED | WITH_FO, (
        "a state before the outcome belongs to NOT_SUBMITTED or to WITH_FO"
    )
    assert {state for state in State if PROGRESS[state] == 0} == NOT_BEGUN, "NOT_BEGUN: the states with PROGRESS 0"


def test_every_step_has_a_title() -> None:
    steps = {step.__name__ for table in STEPS.values() for step in table.values()}

    assert steps == set(labels.STEP_TITLE) - labels.OLDER_STEPS, "labels.py: STEP_TITLE names the steps of STEPS"


# -- an alert channel


def test_every_address_of_a_route_has_a_channel() -> None:
    unequal = set(CHANNELS) ^ {each.name for each in fields(AlertRoute)}

    assert not unequal, f"only one of CHANNELS (channels.py) and AlertRoute (alert_route.py) has {sorted(unequal)}"


@pytest.mark.parametrize("address", CHANNELS)
def test_a_channel_has_settings_for_all_and_for_one_flow_and_is_documented(address: str) -> None:
    setting = f"ALERT_{address.upper()}"
    key = "alert" + "".join(word.capitalize() for word in address.split("_"))

    assert setting in SETTINGS, f"{setting} is missing in app_settings.py"
    assert all(key in names_of(flow) for flow in (ImportFlow, ExportFlow)), f"{key} is missing in Alerted of model.py"
    assert f"`{setting}`" in OPERATIONS, f"docs/operations.md does not name {setting}: section 'Who gets which alerts'"
    # Whoever has such an address can post.
    assert SETTINGS[setting].is_secret or not setting.endswith("_URL"), f"{setting} needs is_secret=True"


@pytest.mark.parametrize("address", CHANNELS)
def test_what_a_flow_names_reaches_the_channel_and_stays_out_of_records(address: str) -> None:
    field = f"alert_{address}"
    given = SecretUrl("https://contoso.com/1") if address.endswith("_url") else "it@contoso.com"
    flow = ImportFlow.model_construct({field}, **{field: given})

    assert getattr(flow.alerts, address) == given
    assert field in NOT_SAVED_OF_A_FLOW


def test_every_channel_that_posts_to_an_address_is_described_for_the_wire() -> None:
    posted_to = {f"ALERT_{address.upper()}" for address in CHANNELS if address.endswith("_url")}

    missing = {setting for setting in posted_to if not any(setting in each.when for each in ENDPOINTS)}
    assert not missing, f"tests/wire/receivers.py: no call says in 'when' that {sorted(missing)} asks for it"
