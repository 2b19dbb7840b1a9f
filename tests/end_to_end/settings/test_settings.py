"""Each value of each setting of a flow does what the reference says, in a running cloud that all of them share."""

import json
import time
from collections.abc import Iterator

import pytest

from local_cloud.finance_operations.knobs import Speed
from shared.config.model import ExportFlow, ImportFlow, names_of
from tests.end_to_end.settings import company, duplicates, files, order, outcome, reserve
from tests.end_to_end.settings.case import SettingCase
from tests.end_to_end.stage import LOOK_S, NO_MINUTE_TIMER, PATIENCE_S, PROMPT_QUEUES, Stage

CASES: tuple[SettingCase, ...] = (
    *company.CASES,
    *duplicates.CASES,
    *files.CASES,
    *order.CASES,
    *outcome.CASES,
    *reserve.CASES,
)

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One app with the flows of all cases, and the files of all of them on their way."""
    flows = {
        "imports": [flow for case in CASES for flow in case.imports],
        "exports": [flow for case in CASES for flow in case.exports],
    }
    stage = Stage(
        tmp_path_factory.mktemp("settings"),
        app_settings={
            **NO_MINUTE_TIMER,
            **PROMPT_QUEUES,
            "INTEGRATIONS": json.dumps(flows),
            "POLL_FIRST_SECONDS": "1",
        },
        speed=Speed(seconds_per_execution=0.3, not_found_s=0.1),
    )
    with stage:
        stage.run_function("keep_watch")  # makes the folders, and the subscription
        stage.wait_for(lambda: stage.onedrive.subscriptions, "the subscription")
        for case in CASES:
            for path, content in case.files.items():
                folder, _, name = path.rpartition("/")
                (stage.folder / folder).mkdir(parents=True, exist_ok=True)
                stage.put(name, content, folder, age_s=case.ages_s.get(path, 0.0))
        yield stage
        stage.assert_clients_kept_the_rules()


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.name, marks=[pytest.mark.extended] if case.takes_s else []) for case in CASES],
)
def test_a_value_of_a_setting_does_what_the_reference_says(case: SettingCase, stage: Stage) -> None:
    deadline = time.monotonic() + PATIENCE_S + case.takes_s
    while (missing := case.missing(stage)) and time.monotonic() < deadline:
        time.sleep(LOOK_S)
    assert missing == ""


def test_every_setting_has_a_case() -> None:
    tried = {case.setting.partition(".")[0] for case in CASES}

    untried = sorted({*names_of(ImportFlow), *names_of(ExportFlow)} - tried - PLAIN)
    assert not untried, f"no case in tests/end_to_end/settings tries {untried}"


# Settings that every case has, or that are tried where all alerts and folders are.
PLAIN = {
    *("name", "note", "environmentUrl", "drive", "inputFolder", "processingFolder", "successFolder", "errorFolder"),
    *("outputFolder", "everySeconds", "alertRecipient", "alertTeamsUrl", "alertWebhookUrl", "overwrite"),
    "partialFolder",
}
