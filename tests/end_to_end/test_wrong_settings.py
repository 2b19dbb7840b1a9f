"""An app that is configured wrongly: no function vanishes, and each says all that is wrong at once."""

import re
from collections.abc import Iterator

import pytest
import requests

from tests.end_to_end.stage import Stage

FUNCTIONS = {"receive_notification", "work", "keep_watch", "start_exports"}
PAGES = {  # and the path of each
    "show_runs": "runs",
    "show_runs_as_json": "runs.json",
    "show_run": "runs/1",
    "show_health": "health",
    "show_health_as_json": "health.json",
}
WRONG = {
    "FO_URL": "usmf.operations.dynamics.com",
    "ONEDRIVE_DRIVE": "",
    "ONEDRIVE_SIGN_IN": "nobody",
    "CLIENT_STATE": "short",
    "IMPORT_COMPANY": "TOOLONG",
    "EXPORT_COMPANY": "",
    "POLL_FIRST_SECONDS": "soon",
    "ALERT_RECIPIENT": "the administrator",
}
LINE = re.compile(r"\[\d{4}-\d\d-\d\dT")


@pytest.fixture(scope="module")
def misled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A host whose app has hardly a setting that is right."""
    with Stage(
        tmp_path_factory.mktemp("misled"), app_settings={**WRONG, "EXPORT_DATA_PROJECT": "Customers"}, function_key=""
    ) as stage:
        yield stage


def test_all_functions_are_there_although_all_settings_are_wrong(misled: Stage) -> None:
    listed = requests.get(f"{misled.host_url}/admin/functions", timeout=60).json()

    assert {function["name"] for function in listed} == FUNCTIONS | set(PAGES) | {"act"}
    assert requests.get(f"{misled.host_url}/admin/host/status", timeout=60).json()["errors"] == []


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_function_that_runs_says_all_that_is_wrong_in_one_message(misled: Stage, name: str) -> None:
    if name == "receive_notification":
        answer = requests.post(f"{misled.host_url}/api/{name}", json={"value": [{"subscriptionId": "1"}]}, timeout=60)
        assert answer.status_code == 500
        assert answer.content == b""
    else:
        misled.run_function(name)

    message = misled.wait_for(lambda: _failure(misled.log, name), f"the failure of {name}")

    assert "SettingsInvalid" in message
    assert "docs/settings.md" in message
    misled.wait_for(  # its lines are read one by one
        lambda: all(f"- {setting} " in _failure(misled.log, name) for setting in WRONG), "all that is wrong"
    )


@pytest.mark.parametrize("path", PAGES.values())
def test_a_page_says_all_that_is_wrong_to_who_looks(misled: Stage, path: str) -> None:
    answer = requests.get(f"{misled.host_url}/api/{path}", timeout=60)

    assert answer.status_code == 503
    assert all(setting in answer.text for setting in WRONG)


def _failure(log: list[str], function: str) -> str:
    """Return what the log says about the function's failure, as one text; empty where it has not failed yet."""
    lines = list(log)
    for number, line in enumerate(lines):
        if f"Executed 'Functions.{function}' (Failed" in line:
            end = next((n for n in range(number + 1, len(lines)) if LINE.match(lines[n])), len(lines))
            return "\n".join(lines[number:end])
    return ""
