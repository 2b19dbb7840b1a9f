"""What a person does about runs, through the functions host: over HTTP, from a command line, and in a real browser."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest
import requests
from selenium.webdriver.common.keys import Keys

from local_cloud.cloud import ROOT
from operations.arguments import VERBS
from operations.available_actions import Verb
from tests.end_to_end.browsing import (
    ACT_KEY,
    GRAPH_KEY,
    KEY,
    TIMEOUT_S,
    VIEW_KEY,
    TakePicture,
    an_hour_of_work,
    click,
    click_run,
    get,
    listed,
    open_list,
    rows,
    text_of,
    until,
)
from tests.end_to_end.stage import Stage
from tests.measured import for_a_process
from tests.packages import build_package

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

DARK = {"name": "prefers-color-scheme", "value": "dark"}
BAD_ROWS = (("A", "Alpha"), ("B", "#ERROR"), ("C", "#ERROR"))


def post(stage: Stage, verb: str, what: object, **headers: str) -> requests.Response:
    url = f"{stage.host_url}/api/actions/{verb}"
    return requests.post(url, json=what, headers={**KEY, **headers}, timeout=TIMEOUT_S)


def failed(stage: Stage, name: str) -> dict[str, Any]:
    """Import a package of which rows fail; return what the list tells of its run."""
    stage.put(name, build_package(entity=name.split("_")[1], rows=BAD_ROWS))
    stage.ended(name)
    return stage.wait_for(lambda: listed(stage, name), "the run in the list")


def shown(stage: Stage, address: str) -> dict[str, Any]:
    run: dict[str, Any] = get(stage, f"/api/runs/{address}.json").json()
    return run


def ended(stage: Stage, address: str) -> dict[str, Any]:
    """Wait until a run has ended, and return it."""
    return stage.wait_for(lambda: run if (run := shown(stage, address))["ended"] else None, "the end of the run")


def how_many_ended(stage: Stage, text: str) -> int:
    return len(get(stage, f"/api/runs.json?text={text}").json()["ended"])


def held(stage: Stage, name: str) -> dict[str, Any]:
    """Let F&O work on a package for an hour; return what the list tells of its run."""
    with an_hour_of_work(stage):
        stage.put(name, build_package(entity=name.split("_")[1]))
        return stage.wait_for(
            lambda: run if (run := listed(stage, name)) and run["state"] == "executing" else None, name
        )


def test_a_failed_run_is_run_again_with_who_and_why_and_once_however_often_it_is_asked_for(stage: Stage) -> None:
    old = failed(stage, "USMF_Again_001.zip")
    what = {"run": old["address"], "why": "the rows are mended", "by": "somebody else"}
    headers = {"X-MS-CLIENT-PRINCIPAL-NAME": "anna@contoso.com"}

    first, second = (post(stage, "run-again", what, **headers) for _ in range(2))

    new = ended(stage, first.json()["run"])
    assert (first.status_code, second.status_code) == (200, 200)
    assert second.json()["run"] == first.json()["run"]
    assert new["again_of"] == shown(stage, old["address"])["address"]
    step = new["steps"][0]["record"]
    assert (step["step"], step["by"], step["why"]) == ("run_again", "anna@contoso.com", "the rows are mended")
    assert len(stage.imports_of("Again")) == 2


def test_an_action_with_the_key_in_the_address_alone_is_refused(stage: Stage) -> None:
    """Any page in the world could make a browser send that."""
    url = f"{stage.host_url}/api/actions/look-now"

    in_address = requests.post(f"{url}?code={KEY['x-functions-key']}", json={}, timeout=TIMEOUT_S)
    without = requests.post(url, json={}, timeout=TIMEOUT_S)
    wrong = requests.post(url, json={}, headers={"x-functions-key": "wrong"}, timeout=TIMEOUT_S)
    get_it = get(stage, "/api/actions/look-now")

    assert in_address.status_code == 403
    assert "x-functions-key" in in_address.json()["said"]
    assert (without.status_code, wrong.status_code, get_it.status_code) == (401, 401, 404)


@pytest.mark.parametrize(
    ("verb", "what", "status"),
    [
        ("run-again", {"run": "1793608200123-0123456789ab"}, 404),
        ("run-again", {}, 404),
        ("run-again", {"run": ["not", "text"]}, 400),
        ("run-again", {"run": "1793608200123-0123456789ab", "outcome": "Failed"}, 400),
        ("run-again", ["not", "an", "object"], 400),
        ("no-such-verb", {}, 400),
        ("give-up", {"run": "1793608200123-0123456789ab"}, 400),
        ("give-up", {"run": "1793608200123-0123456789ab", "why": "it hangs"}, 404),
        ("pause", {"name": "Quick", "why": " "}, 400),
        ("pause", {"name": "../../ended", "why": "to see"}, 404),
        ("resume", {"name": "../../ended"}, 404),
        ("export-now", {"name": "no such export"}, 404),
        ("run-all-again", {}, 409),
        ("run-all-again", {"outcome": "NotSucceeded", "text": "no such file"}, 200),
        ("run-all-again", {"before": "yesterday", "outcome": "NotSucceeded", "text": "no such file"}, 400),
        ("run-all-again", {"before": "2026-11-28T08:30:00", "text": "no such file"}, 400),
        ("run-all-again", {"text": "no such file", "state": "executing"}, 409),
    ],
)
def test_what_cannot_be_done_is_answered_in_words(stage: Stage, verb: str, what: object, status: int) -> None:
    answer = post(stage, verb, what)

    assert answer.status_code == status
    assert answer.json()["said"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"day": 20201231}, "day: must be a string"),
        ({"day": ""}, "day: is empty"),
        ({"outcome": "fialed"}, "Use one of: NotSucceeded, Succeeded"),
        ({"outcom": "Failed"}, "Send only: flow, company, project, state, outcome, day, text"),
        ({"run": "1793608200123-0123456789ab"}, "'run' is not known here"),
        ({"before": "31.12.2020"}, "before: '31.12.2020' is not a time"),
    ],
)
def test_a_filter_that_cannot_be_read_makes_an_action_about_many_touch_nothing(
    stage: Stage, never_again: dict[str, Any], wrong: dict[str, object], told: str
) -> None:
    answer = post(stage, "run-all-again", {"text": never_again["file_name"], **wrong})

    assert (answer.status_code, answer.json()["done"]) == (400, False)
    assert told in answer.json()["said"]
    assert shown(stage, never_again["address"])["later"] == []


@pytest.fixture(scope="module")
def never_again(stage: Stage) -> dict[str, Any]:
    """A failed run that no request of these tests may run again."""
    return failed(stage, "USMF_NeverAgain_001.zip")


# -- with the keys of the set-up, each set for its functions alone

VIEWS = ("runs", "runs.json", "runs/1793608200123-0123456789ab", "health", "health.json")


@pytest.mark.parametrize("key", [VIEW_KEY, ACT_KEY])
@pytest.mark.parametrize("view", VIEWS)
def test_a_key_for_people_opens_every_page(stage: Stage, view: str, key: str) -> None:
    url = f"{stage.host_url}/api/{view}"

    in_address = requests.get(f"{url}?code={key}", timeout=TIMEOUT_S)
    in_header = requests.get(url, headers={"x-functions-key": key}, timeout=TIMEOUT_S)

    assert in_address.status_code == in_header.status_code != 401


def test_only_the_key_for_acting_lets_somebody_act_and_only_graphs_opens_the_webhook(stage: Stage) -> None:
    act, webhook = f"{stage.host_url}/api/actions/look-now", f"{stage.host_url}/api/receive_notification"
    headers = [{"x-functions-key": key} for key in (GRAPH_KEY, VIEW_KEY, ACT_KEY)]

    acted = [requests.post(act, json={}, headers=each, timeout=TIMEOUT_S).status_code for each in headers]
    notified = [
        requests.post(f"{webhook}?validationToken=x", headers=each, timeout=TIMEOUT_S).status_code for each in headers
    ]
    looked = [
        requests.get(f"{stage.host_url}/api/{view}", headers=headers[0], timeout=TIMEOUT_S).status_code
        for view in VIEWS
    ]

    assert acted == [401, 401, 200]
    assert notified == [200, 401, 401]
    assert set(looked) == {401}


def test_the_command_shows_with_either_key_and_acts_with_that_for_acting(stage: Stage) -> None:
    shown_with = [command(stage, "list", key=key).returncode for key in (VIEW_KEY, ACT_KEY)]
    refused = command(stage, "scan-now", "--yes", key=VIEW_KEY)
    acted = command(stage, "scan-now", "--yes", key=ACT_KEY)

    assert shown_with == [0, 0]
    assert refused.returncode == 1
    assert "the key for acting" in refused.stderr
    assert acted.returncode == 0


# -- from the command line


def command(
    stage: Stage,
    *arguments: str,
    key: str = KEY["x-functions-key"],
    encoding: str = "utf-8",
    stdout: int | IO[bytes] = subprocess.PIPE,
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "operations.cli", *arguments],
        cwd=ROOT,
        env={**for_a_process(), "RUNS_URL": stage.host_url, "RUNS_KEY": key, "PYTHONIOENCODING": encoding},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        encoding=encoding,
        timeout=60,
        check=False,
    )


def test_the_command_lists_shows_and_resubmits(stage: Stage) -> None:
    name = "USMF_CommandRows_001.zip"
    old = failed(stage, name)

    listed_lines = command(stage, "list", "--text", name).stdout
    told = command(stage, "show", old["run_id"]).stdout
    unconfirmed = command(stage, "resubmit", old["run_id"], "--reason", "mended")
    done = command(stage, "resubmit", old["run_id"], "--reason", "mended", "--by", "ben", "--yes", "--json")

    assert listed_lines.startswith(f"{old['run_id']}  ")
    assert "PartiallySucceeded" in listed_lines
    assert "row B  DESCRIPTION" in told
    assert unconfirmed.returncode == 1
    assert "will import the rows of USMF_CommandRows_001.zip once more" in unconfirmed.stderr
    assert done.returncode == 0
    new = ended(stage, json.loads(done.stdout)["run"])
    assert (new["steps"][0]["record"]["by"], new["again_number"]) == ("ben", 1)


def test_the_command_finds_outcomes_and_states_however_they_are_written(
    stage: Stage, never_again: dict[str, Any]
) -> None:
    name = never_again["file_name"]

    found = command(stage, "list", "--text", name, "--outcome", "PARTIALLYsucceeded", "--state", "Filed")
    nothing = command(stage, "list", "--text", "no such file")
    no_flow = command(stage, "list", "--text", name, "--flow", "no such flow")

    assert found.stdout.startswith(never_again["run_id"])
    assert (nothing.returncode, nothing.stdout.splitlines()[0]) == (0, "No run matches.")
    assert (no_flow.returncode, no_flow.stdout) == (2, "")
    assert "'no such flow' is not a flow in the settings. Use one of: import, export, import, " in no_flow.stderr


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_the_command_prints_what_an_output_cannot_show_as_question_marks_and_loses_nothing_of_json(
    stage: Stage, encoding: str
) -> None:
    name = "USMF_Žluťoučký_001.zip"
    if not listed(stage, name):
        stage.put(name, build_package(entity="Encodings"))
        stage.ended(name)
        stage.wait_for(lambda: listed(stage, name), "the run in the list")

    told = command(stage, "list", "--text", "ou", "--company", "USMF", encoding=encoding)
    as_json = command(stage, "list", "--text", "ou", "--json", encoding=encoding)

    assert (told.returncode, told.stderr) == (0, "")
    assert name.encode(encoding, "replace").decode(encoding) in told.stdout
    assert name in [line["run"]["file_name"] for line in json.loads(as_json.stdout)["ended"]]


def test_the_command_ends_well_when_its_reader_has_read_enough(stage: Stage, never_again: dict[str, Any]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as nobody:
        ended = command(stage, "list", stdout=nobody)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_commands_are_called_as_the_buttons_are_and_older_names_stay() -> None:
    """One about many has a switch, not a name of its own; two addresses have older names than their buttons."""
    of_buttons = {verb.value for verb in Verb} - {"run-all-again", "give-up", "look-now"}
    older = {name for names, _ in VERBS.values() for name in names}

    assert {*of_buttons, "cancel", "scan-now", "list", "show"} == set(VERBS)
    assert {Verb("cancel"), Verb("scan-now")} == {Verb("give-up"), Verb("look-now")}
    assert older == {"resubmit", "check", "export", "look-now", "look"}


def test_the_command_cancels_pauses_and_resumes(stage: Stage) -> None:
    run = held(stage, "USMF_CommandCancel_001.zip")
    assert "  running " in command(stage, "list", "--text", "CommandCancel").stdout
    assert command(stage, "show", run["run_id"]).stdout.startswith("USMF_CommandCancel_001.zip: running. ")

    cancelled = command(stage, "cancel", run["address"], "--reason", "wrong", "--yes")
    paused = command(stage, "pause", "import Huge", "--reason", "to see", "--yes")
    shown_paused = command(stage, "list").stdout
    resumed = command(stage, "resume", "import Huge", "--yes")

    assert (cancelled.returncode, paused.returncode, resumed.returncode) == (0, 0, 0), cancelled.stderr + paused.stderr
    assert "Paused: import Huge, by " in shown_paused
    assert ended(stage, run["address"])["outcome"] == "GivenUp"
    stage.finance_operations.end_now(run["execution_id"])


def test_the_command_says_what_keeps_it_from_its_work(stage: Stage, tmp_path: Path) -> None:
    wrong_key = command(stage, "list", key="wrong")
    no_file = command(stage, "list", "--key-file", str(tmp_path / "none"))
    not_there = command(stage, "list", "--url", "http://127.0.0.1:9")
    not_ours = command(stage, "list", "--url", stage.azurite.blob_url.removesuffix("/devstoreaccount1"))
    plain_http = command(stage, "list", "--url", "http://contoso.azurewebsites.net")
    unknown = command(stage, "show", "0123456789ab")

    for told in (wrong_key, no_file, not_there, not_ours, plain_http, unknown):
        assert told.returncode == (2 if told in (no_file, plain_http) else 1)
        assert told.stdout == ""
        assert "Traceback" not in told.stderr
    assert "does not accept the key" in wrong_key.stderr
    assert "There is no run 0123456789ab" in unknown.stderr


# -- in a browser


def press(browser: "Chrome", verb: str, *, why: str = "", by: str = "") -> "WebElement":
    """Press a button and fill in the dialog that opens; return its own button."""
    click(browser, "css selector", f"[data-act={verb}]")
    until(browser, lambda page: page.find_element("id", "ask").is_displayed())
    browser.find_element("id", "ask-why").send_keys(why)
    browser.find_element("id", "ask-by").send_keys(by)
    return browser.find_element("id", "ask-do")


@pytest.fixture
def mended(stage: Stage) -> dict[str, Any]:
    """A run whose rows failed for a reason that a person has mended in F&O since."""
    name = "USMF_Customers_001.zip"
    usual = stage.finance_operations.behaviour.max_value_length
    rows = (("US-001", "Contoso"), ("US-002", "Contoso Retail San Diego"), ("US-003", "Fabrikam Wholesale"))
    stage.finance_operations.change(max_value_length=10)
    try:
        stage.put(name, build_package(entity="Customers", rows=rows))
        stage.ended(name)
    finally:
        stage.finance_operations.change(max_value_length=usual)
    return stage.wait_for(lambda: listed(stage, name), "the run in the list")


def test_in_a_browser_a_failed_run_is_run_again_and_the_new_run_is_seen_to_succeed(
    stage: Stage, mended: dict[str, Any], browser: "Chrome", take_picture: TakePicture
) -> None:
    name = mended["file_name"]
    open_list(browser, stage)
    click_run(browser, name)
    cells = [
        row.find_element("tag name", "td").text for row in browser.find_elements("css selector", ".row-errors tr")[1:]
    ]
    take_picture("run")

    do = press(browser, "run-again", why="the field is longer now", by="Anna")
    words = browser.find_element("id", "ask-effect").text
    take_picture("run-again")
    do.click()

    until(browser, lambda page: page.find_element("id", "rerun-of"))
    until(browser, lambda page: page.find_element("css selector", ".badge").text == "Succeeded")
    assert cells == ["US-002", "US-003"]
    assert f"F&O will import the rows of {name} once more" in words
    assert "by Anna: the field is longer now" in text_of(browser, "#step-1-title")
    assert len(browser.find_elements("css selector", "[data-act]")) == 1
    click(browser, "id", "rerun-of")
    until(browser, lambda page: page.find_element("id", "rerun-1"))
    assert browser.find_elements("css selector", "[data-act]") == []


@pytest.mark.quick(cases=0)
def test_in_a_browser_the_list_shows_what_is_under_way_what_waits_and_what_is_paused(
    stage: Stage, browser: "Chrome", take_picture: TakePicture
) -> None:
    head = held(stage, "USMF_Vendors_014.zip")
    stage.put("DEMF_Customers_002.zip", build_package(entity="Customers"))
    post(stage, "pause", {"name": "import Huge", "why": "its F&O is being serviced until noon", "by": "Anna"})
    try:
        stage.wait_for(lambda: listed(stage, "DEMF_Customers_002.zip"), "the run that waits")
        open_list(browser, stage)

        places = {file_name: badge for badge, file_name, _ in rows(browser)}
        assert (places["USMF_Vendors_014.zip"], places["DEMF_Customers_002.zip"]) == ("running", "waiting")
        assert "import Huge has been paused by Anna since" in text_of(browser, "#tiles")
        take_picture("runs")
        light = background(browser)
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [DARK]})
        assert background(browser) != light
        take_picture("runs-dark")
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        post(stage, "resume", {"name": "import Huge"})
        stage.finance_operations.end_now(head["execution_id"])
        stage.wait_for(lambda: how_many_ended(stage, "DEMF_Customers_002") == 1, "the end of the run that waited")


def background(browser: "Chrome") -> str:
    return browser.find_element("tag name", "body").value_of_css_property("background-color")


def test_in_a_browser_an_action_that_is_refused_says_why_and_the_keyboard_gets_out(
    stage: Stage, browser: "Chrome"
) -> None:
    name = "USMF_Refused_001.zip"
    failed(stage, name)
    (stage.folder / "Error" / name).unlink()
    open_list(browser, stage)
    click_run(browser, name)
    button = browser.find_element("id", "act-run-again")
    browser.execute_script("arguments[0].focus()", button)
    button.send_keys("\n")
    until(browser, lambda page: page.switch_to.active_element.get_attribute("id") == "ask-why")

    browser.switch_to.active_element.send_keys("\n")

    until(browser, lambda page: "is no longer in OneDrive" in page.find_element("id", "ask-said").text)
    assert browser.find_element("id", "ask-said").get_attribute("role") == "alert"
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    until(browser, lambda page: not page.find_element("id", "ask").is_displayed())
    assert browser.switch_to.active_element.get_attribute("id") == "act-run-again"


def test_in_a_browser_a_button_pressed_with_the_key_for_viewing_says_which_key_it_needs(
    stage: Stage, browser: "Chrome"
) -> None:
    open_list(browser, stage, key=VIEW_KEY)
    press(browser, "look-now").click()
    said = until(browser, lambda page: page.find_element("id", "ask-said").text)

    open_list(browser, stage, key=ACT_KEY)
    press(browser, "look-now").click()
    until(browser, lambda page: not page.find_element("id", "ask").is_displayed())

    assert "is not allowed to do this" in said
    assert "Open the page with the key for acting." in said


@pytest.mark.quick(cases=0)
def test_in_a_browser_all_that_a_filter_shows_is_run_again(stage: Stage, browser: "Chrome") -> None:
    for number in (1, 2):
        failed(stage, f"USMF_PressAll_{number}.zip")
    open_list(browser, stage, "&text=USMF_PressAll&outcome=NotSucceeded")

    do = press(browser, "run-all-again", why="mended")
    words = browser.find_element("id", "ask-effect").text
    do.click()

    assert "All 2 ended runs that match the filter are run again" in words
    assert " UTC to " in words
    said = until(browser, lambda page: [each.text for each in page.find_elements("css selector", "#ask-each li")])
    assert sorted(said) == [f"USMF_PressAll_{number}.zip: A new run is open." for number in (1, 2)]
    assert browser.find_element("id", "ask-said").text == "2 of 2 are run again."
    stage.wait_for(lambda: how_many_ended(stage, "USMF_PressAll") == 4, "the end of the new runs")


def test_in_a_browser_a_flow_is_paused_and_resumed_on_a_phone(
    stage: Stage, browser: "Chrome", take_picture: TakePicture
) -> None:
    width, height = browser.get_window_size().values()
    browser.set_window_size(500, 900)
    try:
        open_list(browser, stage)
        pause = "#lanes li:nth-child(2) [data-act=pause]"
        browser.execute_script("document.querySelector(arguments[0]).scrollIntoView()", pause)
        click(browser, "css selector", pause)
        browser.find_element("id", "ask-why").send_keys("F&O is being serviced")
        browser.find_element("id", "ask-by").send_keys("Anna")
        browser.find_element("id", "ask-do").click()

        resume = "#lanes [data-act=resume]"
        until(browser, lambda page: page.find_element("css selector", resume))
        assert "by Anna since" in text_of(browser, "#lanes")
        assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        click(browser, "css selector", resume)
        browser.find_element("id", "ask-do").click()
        until(browser, lambda page: not page.find_elements("css selector", resume))
    finally:
        browser.set_window_size(width, height)


def test_in_a_browser_what_people_type_and_file_names_made_of_html_stay_text(stage: Stage, browser: "Chrome") -> None:
    name = "USMF_HtmlWhy_001.zip"
    html = "<img src=x onerror=\"document.title='hacked'\">"
    old = failed(stage, name)
    again = post(stage, "run-again", {"run": old["address"], "why": html, "by": html}).json()["run"]
    ended(stage, again)
    post(stage, "pause", {"name": "import Slow-1", "why": html, "by": html})
    try:
        open_list(browser, stage)
        assert html in text_of(browser, "#lanes")
        browser.get(f"{stage.host_url}/api/runs/{again}?code={KEY['x-functions-key']}")
        assert f"by {html}: {html}" in browser.find_element("css selector", ".way").text
        assert browser.find_elements("tag name", "img") == []
        assert browser.title == name
    finally:
        post(stage, "resume", {"name": "import Slow-1"})
