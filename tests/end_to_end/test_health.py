"""The health page through the functions host, and the doctor that asks it."""

import json
import logging
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import requests

from operations import cli as runs
from operations import doctor
from shared.log import LOGGER_NAME
from shared.version import VERSION
from tests.closed_port import closed_port
from tests.end_to_end import browsing
from tests.end_to_end.browsing import TIMEOUT_S, get
from tests.end_to_end.stage import NO_MINUTE_TIMER, Stage

KEY: Final = browsing.KEY["x-functions-key"]

type Look = Callable[..., tuple[int, str]]


def test_an_app_that_is_well_answers_200_as_a_page_and_as_json(stage: Stage) -> None:
    stage.run_function("keep_watch")
    stage.wait_for(lambda: get(stage, "/api/health.json").status_code == 200, "that the app is well")

    page = get(stage, "/api/health", Accept="text/html,*/*")
    found = get(stage, "/api/health", Accept="application/json").json()

    assert page.status_code == 200
    assert page.headers["Content-Type"].startswith("text/html")
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert KEY not in page.text + json.dumps(found)
    assert (found["grade"], found["version"]) == ("ok", VERSION)
    assert found["last_look"]
    assert [each["until"] for each in found["subscriptions"]]


def test_a_notification_is_told_by_the_process_that_was_given_it(stage: Stage) -> None:
    (stage.folder / "Input" / "Sub").mkdir(exist_ok=True)  # a change that is no file

    stage.wait_for(lambda: get(stage, "/api/health.json").json()["last_notification"], "the notification")


# The doctor


@pytest.mark.parametrize("page", ["", "/", "/api/health"])
def test_the_doctor_shows_what_a_running_app_says_of_itself(
    stage: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str], page: str
) -> None:
    code = doctor.main(["--url", f"{stage.host_url}{page}", "--key-file", str(key_file(tmp_path))])

    shown = capsys.readouterr().out
    # F&O knows the data project of the stage's export only once another test has imported it.
    assert code == (1 if "PROBLEM  F&O" in shown else 0)
    assert "ok       Webhook" in shown
    assert f"Version {VERSION}." in shown
    assert KEY not in shown


def test_the_doctor_looks_by_itself_with_a_settings_file(stage: Stage, look: Look) -> None:
    level = logging.getLogger(LOGGER_NAME).level
    _, shown = look(stage.settings, "--json")  # with IDENTITY_ENDPOINT, which azure-identity reads itself
    assert logging.getLogger(LOGGER_NAME).level == level
    grades = {check["name"].split(",")[0]: check["grade"] for check in json.loads(shown)["checks"]}
    assert grades["OneDrive"] == grades["Storage"] == grades["Webhook"] == "ok"


def test_the_doctor_says_all_that_is_wrong_with_settings_and_ends_with_1(look: Look) -> None:
    code, shown = look({"FO_URL": "usmf"})
    assert code == 1
    for words in ("PROBLEM  Settings", "- FO_URL must be a URL", "- ONEDRIVE_DRIVE is missing"):
        assert words in shown
    assert shown.rstrip().endswith(f"1 problem, 1 warning, 0 ok. Version {VERSION}.")


def test_the_doctor_says_that_a_laptop_has_no_managed_identity(look: Look) -> None:
    assert "It has no managed identity" in look({})[1]


def test_the_doctor_goes_by_the_identity_of_the_file_that_it_was_given(
    stage: Stage, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closed_port() as port:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{port}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "of this machine")
        _, shown = look(stage.settings, "--json")

    grades = {check["name"]: check["grade"] for check in json.loads(shown)["checks"]}
    assert grades["Permissions of Microsoft Graph"] == "ok"
    assert os.environ["IDENTITY_HEADER"] == "of this machine"


def test_the_doctor_without_an_identity_calls_no_address_of_the_machine(
    stage: Stage, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    connect = socket.socket.connect

    def noted(self: socket.socket, address: Any) -> None:
        called.append(str(address[0]))
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", noted)
    code, shown = look({name: value for name, value in stage.settings.items() if not name.startswith("IDENTITY_")})

    assert code == 1
    assert "There is no managed identity here" in shown
    assert called
    assert set(called) <= {"127.0.0.1", "::1"}


def key_file(folder: Path, key: str = KEY) -> Path:
    file = folder / "key.txt"
    file.write_text(f"{key}\n", encoding="utf-8")
    return file


@pytest.fixture
def look(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Look:
    """Let the doctor look by itself with these settings, on a machine without an app; return its code and its words."""
    for name in os.environ:
        if name.startswith(("IDENTITY_", "INPUT_", "EXPORT_", "CLIENT_STATE", "NOTIFICATION_")):
            monkeypatch.delenv(name)

    def look(values: Mapping[str, Any], *arguments: str) -> tuple[int, str]:
        file = tmp_path / "settings.json"
        file.write_text(json.dumps({"Values": dict(values)}), encoding="utf-8")
        return doctor.main(["--settings", str(file), *arguments]), capsys.readouterr().out

    return look


@pytest.mark.parametrize(
    ("url", "words"),
    [("{host}/api/health", "refuses the key (HTTP 401)"), ("{fo}/api/health", "has no health page (HTTP 404)")],
)
def test_the_doctor_says_why_a_running_app_tells_nothing(
    stage: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str], url: str, words: str
) -> None:
    address = url.format(host=stage.host_url, fo=stage.entra_url)

    code = doctor.main(["--url", address, "--key-file", str(key_file(tmp_path, "another"))])

    assert code == 1
    assert words in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://contoso.azurewebsites.net/api/health?code=the-key", "contains a key (?code=...)"),
        ("http://contoso.azurewebsites.net/api/health", "must begin with https://"),
        ("https://contoso.azurewebsites.net/another/page", "must be the address only"),
        ("contoso", "must be a URL that begins with https://"),
    ],
)
@pytest.mark.parametrize("command", [doctor.main, lambda arguments: runs.main(["list", *arguments])])
def test_an_address_that_cannot_be_used_or_holds_a_key_is_not_understood(
    capsys: pytest.CaptureFixture[str], command: Callable[[list[str]], int], url: str, words: str
) -> None:
    assert command(["--url", url]) == 2

    printed = capsys.readouterr()
    assert words in printed.err
    assert "the-key" not in printed.err
    assert printed.out == ""


def test_the_doctor_says_that_an_app_cannot_be_reached(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNS_KEY", "the-key")
    with closed_port() as port:
        code = doctor.main(["--url", f"http://127.0.0.1:{port}"])

    shown = capsys.readouterr().out
    assert (code, "cannot be reached" in shown, "the-key" in shown) == (1, True, False)


def test_trouble_is_answered_with_503_so_that_a_monitor_sees_it(tmp_path: Path) -> None:
    with Stage(tmp_path, app_settings={**NO_MINUTE_TIMER, "FO_URL": "wrong"}) as stage:
        page, found = (
            requests.get(f"{stage.host_url}/api/health{ending}?code={KEY}", timeout=TIMEOUT_S)
            for ending in ("", ".json")
        )

    assert (page.status_code, found.status_code) == (503, 503)
    assert "FO_URL" in page.text
    assert [check["name"] for check in found.json()["checks"]] == ["Settings"]
