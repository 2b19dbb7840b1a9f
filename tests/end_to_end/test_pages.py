"""The pages about runs through the functions host, and in a real browser where there is one."""

import re
from typing import TYPE_CHECKING, Any

import pytest
import requests

from local_cloud.faults import Fault, status
from tests.end_to_end.browsing import (
    TIMEOUT_S,
    an_hour_of_work,
    click_run,
    get,
    listed,
    open_list,
    rows,
    shown,
    text_of,
    until,
)
from tests.end_to_end.stage import Stage
from tests.packages import build_package

if TYPE_CHECKING:
    from selenium.webdriver import Chrome


@pytest.fixture(scope="module")
def failed(stage: Stage) -> dict[str, Any]:
    """A run whose rows partly failed, as the list tells of it."""
    name = "USMF_PageRows_001.zip"
    rows = (("A", "Alpha"), ("B", "#ERROR <b>bold</b>"), ("C", "#ERROR"))
    stage.put(name, build_package(entity="PageRows", rows=rows))
    stage.ended(name)
    return stage.wait_for(lambda: listed(stage, name), "the run in the list")


# -- HTTP


@pytest.mark.parametrize("path", ["/api/runs", "/api/runs.json", "/api/runs/1793608200123-0123456789ab"])
def test_without_the_key_no_run_is_shown(stage: Stage, path: str) -> None:
    assert requests.get(f"{stage.host_url}{path}", timeout=TIMEOUT_S).status_code == 401
    assert requests.get(f"{stage.host_url}{path}?code=wrong", timeout=TIMEOUT_S).status_code == 401


@pytest.mark.parametrize("path", ["/api/runs", "/api/runs?day=2020-01-01", "/api/runs/1793608200123-0123456789ab"])
def test_every_answer_forbids_foreign_content_sniffing_caching_and_referrers(stage: Stage, path: str) -> None:
    page = get(stage, path, Accept="text/html,application/xhtml+xml,*/*;q=0.8")

    assert page.headers["Content-Type"].startswith("text/html")
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'nonce-")
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    for answer in (page, get(stage, path, Accept="application/json")):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"


def test_the_list_and_a_run_are_json_by_address_and_by_content_type(stage: Stage, failed: dict[str, Any]) -> None:
    for path in ("/api/runs", f"/api/runs/{failed['address']}"):
        by_type = get(stage, path, Accept="application/json")
        by_address = get(stage, f"{path}.json", Accept="text/html")

        assert by_type.headers["Content-Type"] == by_address.headers["Content-Type"] == "application/json"
        assert by_type.json() == by_address.json()


def test_who_has_the_newest_version_already_gets_304(stage: Stage, failed: dict[str, Any]) -> None:
    path = f"/api/runs/{failed['address']}.json"
    first = get(stage, path)

    again = get(stage, path, **{"If-None-Match": first.headers["ETag"]})

    assert (again.status_code, again.content) == (304, b"")


def test_filters_reach_the_list(stage: Stage, failed: dict[str, Any]) -> None:
    def names(query: str) -> list[str]:
        shown = get(stage, f"/api/runs.json?{query}").json()
        return [line["run"]["file_name"] for line in shown["ended"]]

    name = failed["file_name"]
    execution_id = failed["execution_id"]
    assert names(f"text={execution_id}&company=usmf&outcome=NotSucceeded&flow=import&day={failed['opened'][:10]}") == [
        name
    ]
    assert names(f"text={execution_id}&company=DEMF") == []


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("day=31.12.2020", "YYYY-MM-DD"),
        ("state=nonsense", "Use one of: found, claimed"),
        ("outcome=fialed", "Use one of: NotSucceeded, Succeeded"),
        ("state=found&state=claimed", "'found,claimed' is not a state"),
        ("outcom=Failed", "Filter by: flow, company, project, state, outcome, day, text"),
        ("behind=nonsense", "not a position"),
    ],
)
def test_a_filter_that_cannot_be_read_is_refused_with_what_is_allowed(stage: Stage, query: str, told: str) -> None:
    page = get(stage, f"/api/runs?{query}", Accept="text/html")
    as_json = get(stage, f"/api/runs.json?{query}")

    assert (page.status_code, as_json.status_code) == (400, 400)
    assert told in as_json.json()["error"]
    assert "Invalid request" in page.text


def test_how_thoroughly_the_health_is_looked_at_is_not_guessed(stage: Stage) -> None:
    answer = get(stage, "/api/health.json?thorough=perhaps")

    assert answer.status_code == 400
    assert "thorough: 'perhaps' is not valid. Use one of: yes," in answer.json()["error"]
    thorough = get(stage, "/api/health.json?thorough=true").json()
    assert "Webhook" in [check["name"] for check in thorough["checks"]]


# -- in a browser


def test_in_a_browser_a_failed_run_is_opened_from_the_list_and_its_row_errors_are_read(
    stage: Stage, failed: dict[str, Any], browser: "Chrome"
) -> None:
    open_list(browser, stage)

    click_run(browser, failed["file_name"])

    rows = browser.find_elements("css selector", ".row-errors tbody tr")
    cells = [[cell.text for cell in row.find_elements("tag name", "td")] for row in rows]
    assert [cell[:2] for cell in cells] == [["B", "DESCRIPTION"], ["C", "DESCRIPTION"]]
    assert "#ERROR <b>bold</b>" in cells[0][2]
    step = browser.find_element("css selector", "#step-2 summary")
    step.send_keys("\n")  # with the keyboard
    assert until(browser, lambda page: "GetAzureWriteUrl" in page.find_element("css selector", "#step-2 table").text)


def word_and_whether_it_can_be_checked_now(page: "Chrome") -> tuple[str, bool]:
    buttons = [each.get_attribute("data-act") for each in page.find_elements("css selector", "[data-act]")]
    return page.find_element("css selector", "#run .badge").text, "check-now" in buttons


def test_in_a_browser_the_list_shows_what_runs_then_what_waits_with_its_place_and_a_word_is_the_same_on_the_page(
    stage: Stage, browser: "Chrome"
) -> None:
    names = [f"USMF_PageQueue_{number}.zip" for number in range(3)]
    with an_hour_of_work(stage):
        stage.put(names[0], build_package(entity="PageQueue"))
        execution_id = stage.wait_for(lambda: _executing(stage, names[0]), "the execution")
        for name in names[1:]:
            stage.put(name, build_package(entity="PageQueue"))
            stage.wait_for(lambda: listed(stage, name), "the run in the list")  # noqa: B023  # looked at in this turn
    open_list(browser, stage, "&text=PageQueue")
    listing = rows(browser)
    words = []
    for name in names:
        open_list(browser, stage, "&text=PageQueue")
        click_run(browser, name)
        words.append(shown(browser, word_and_whether_it_can_be_checked_now))

    stage.finance_operations.end_now(execution_id)
    for name in names:
        stage.ended(name)
    open_list(browser, stage, f"&text={names[2]}")

    assert [(badge, name) for badge, name, _ in listing] == [
        ("running", names[0]),
        ("waiting", names[1]),
        ("waiting", names[2]),
    ]
    turns = [last for _, _, last in listing[1:]]
    assert turns == ["no. 1 in the queue", "no. 2 in the queue"]
    assert words == [("running", True), ("waiting", False), ("waiting", False)]
    ((badge, _, took),) = rows(browser)
    assert badge == "Succeeded"
    assert re.fullmatch(r"waited [0-9.]+ s, ran [0-9.]+ s", took)


@pytest.mark.quick(cases=0)
def test_in_a_browser_what_was_refused_is_not_green_and_stands_open_in_the_steps(
    stage: Stage, browser: "Chrome"
) -> None:
    name = "USMF_PageRefused_001.zip"
    stage.faults.add(Fault("graph", "PATCH", "/items/", 1, 1, do=status(503)))
    stage.faults.add(Fault("finance_operations", "POST", r"\.ImportFromPackage$", 1, 1, do=status(429)))
    stage.put(name, build_package(entity="PageRefused", rows=(("A", "Alpha"), ("B", "#ERROR"))))
    stage.ended(name)

    open_list(browser, stage)
    click_run(browser, name)

    steps = shown(
        browser,
        lambda page: [
            (
                step.get_attribute("class"),
                step.find_element("css selector", ".mark").text,
                step.get_attribute("open") is not None,
                " ".join(step.find_element("css selector", ".what").text.split()),
            )
            for step in page.find_elements("css selector", ".way details")
        ],
    )
    refused = [each for each in steps if " 503" in each[3] or " 429" in each[3]]
    assert len(refused) == 2
    assert {each[:3] for each in refused} == {("warn", "↻", True)}
    assert "ImportFromPackage 429" in refused[1][3]
    (poll,) = [each for each in steps if each[3].startswith("Ask F&O for the status")]
    assert (poll[0], poll[1]) == ("bad", "✕")
    assert "F&O ended it as PartiallySucceeded" in poll[3]
    assert steps[-1][:3] == ("good", "✓", False)


def test_in_a_browser_the_page_of_a_run_follows_it_to_its_end_by_itself(stage: Stage, browser: "Chrome") -> None:
    name = "USMF_PageFollows_001.zip"
    with an_hour_of_work(stage):
        stage.put(name, build_package(entity="PageFollows"))
        execution_id = stage.wait_for(lambda: _executing(stage, name), "the execution")
    open_list(browser, stage)
    click_run(browser, name)
    assert "waits for F&O to finish the execution" in text_of(browser, ".way")
    browser.execute_script("document.getElementById('link-1').focus()")

    stage.finance_operations.end_now(execution_id)

    until(browser, lambda page: page.find_element("id", "said").text == "Succeeded")
    assert "The file is in /Success." in text_of(browser, "#run")
    assert browser.find_elements("css selector", "[data-poll]") == []
    assert browser.switch_to.active_element.get_attribute("id") == "link-1"


def _executing(stage: Stage, file_name: str) -> str | None:
    record = stage.record(file_name)
    return str(record["submissions"][-1]["execution_id"]) if record and record["state"] == "executing" else None
