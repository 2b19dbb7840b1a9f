"""Pages of runs: what stands in them, what is escaped, and what their headers forbid."""

import json
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from operations import available_actions, handlers, list_view, pages, run_view
from operations.actions import ActionResult
from operations.available_actions import RerunCandidates, Verb
from operations.web import PageRequest, PageResponse
from shared.config.flows import Flows
from shared.health import health
from shared.runs.states import Outcome, State
from tests.builders import NOON, a_row
from tests.page_views import (
    HOSTILE,
    PAUSE,
    Elements,
    damaged_view,
    hostile_health,
    hostile_list,
    hostile_run,
    hostile_view,
)

PLAIN = PageRequest(query={})
PAGES: dict[str, Callable[[PageRequest], PageResponse]] = {
    "list": lambda request: pages.list_page(hostile_list(position=HOSTILE), request),
    "run": lambda request: pages.run_page(hostile_view(), request),
    "damaged": lambda request: pages.run_page(damaged_view(), request),
    "message": lambda request: pages.not_available(HOSTILE, request),
    "health": lambda request: pages.health_page(hostile_health(), request),
}


@pytest.mark.parametrize("name", PAGES)
def test_what_comes_from_outside_stays_text(name: str) -> None:
    page = Elements(PAGES[name](PageRequest(query={"code": HOSTILE, "text": HOSTILE}, user=HOSTILE)).body)

    assert page.all("img") == []
    assert len(page.all("script")) == len(page.all("style")) == 1
    assert HOSTILE in page.text
    assert not [each for _, attributes in page.elements for each in attributes if each.startswith("on")]


@pytest.mark.parametrize(
    ("status", "show"),
    [(200, PAGES["list"]), (404, lambda request: pages.run_page(None, request)), (503, PAGES["message"])],
)
def test_a_page_may_load_nothing_and_its_own_parts_only_under_a_nonce_of_their_own(
    status: int, show: Callable[[PageRequest], PageResponse]
) -> None:
    first, second = show(PLAIN), show(PLAIN)
    policy = dict(each.strip().partition(" ")[::2] for each in first.headers["Content-Security-Policy"].split(";"))
    page = Elements(first.body)
    nonce = page.all("script")[0]["nonce"]

    assert first.status == status
    assert policy == {
        "default-src": "'none'",
        "style-src": f"'nonce-{nonce}'",
        "script-src": f"'nonce-{nonce}'",
        "connect-src": "'self'",
        "img-src": "data:",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    assert page.all("style") == [{"nonce": nonce}]
    assert page.values("style") == []
    assert second.headers["Content-Security-Policy"] != first.headers["Content-Security-Policy"]
    assert first.headers["Referrer-Policy"] == "no-referrer"
    assert first.headers["Cache-Control"] == "no-store"
    assert first.headers["X-Content-Type-Options"] == "nosniff"


def test_links_carry_the_key_on_if_the_page_was_asked_for_with_one_in_its_address() -> None:
    listed = hostile_list(position="2026/11/02~x")
    with_key = Elements(pages.list_page(listed, PageRequest(query={"code": "k&y"})).body)
    health_page = Elements(pages.health_page(hostile_health(), PageRequest(query={"code": "k&y"})).body)
    without = pages.list_page(listed, PLAIN).body

    ours = [link for link in with_key.links() if link.startswith("/api/runs")]
    assert len(ours) == 7
    assert any("outcome=NotSucceeded" in link and "day=" in link and link.endswith("#lists") for link in ours)
    assert all(link.partition("#")[0].endswith("code=k%26y") for link in ours)
    assert {"type": "hidden", "name": "code", "value": "k&y"} in with_key.all("input")
    assert "code=" not in without
    assert 'name="code"' not in without
    expected = {"/api/runs?code=k%26y", "/api/health?code=k%26y", "/api/health?thorough=yes&code=k%26y"}
    assert expected <= set(health_page.links())


def test_the_key_is_in_no_link_to_others_and_not_in_what_the_page_asks_by_itself() -> None:
    view = run_view.view_run(hostile_run(), None)
    page = Elements(pages.run_page(view, PageRequest(query={"code": "the-key"})).body)

    (other,) = [each for each in page.all("a") if str(each["href"]).startswith("http")]
    assert "the-key" not in str(other["href"])
    assert str(other["rel"]).split() == ["noopener", "noreferrer"]
    assert page.values("data-poll") == [f"/api/runs/{view.address}.json"]


def test_the_next_page_keeps_the_filter_and_nothing_else_of_the_query() -> None:
    request = PageRequest(query={"company": "USMF", "behind": "old", "evil": "x"})

    page = Elements(pages.list_page(hostile_list(position="2026/11/02~x"), request).body)

    (older,) = [link for link in page.links() if "behind" in link]
    assert older == "/api/runs?behind=2026%2F11%2F02~x&company=USMF#lists"


def test_every_button_of_a_page_sends_what_the_app_takes() -> None:
    """Nothing that an action gets is ignored: what it does not know is refused."""
    request = PageRequest(query={"company": "USMF", "outcome": "Failed", "text": " a b "})
    rerun = available_actions.of_list(RerunCandidates(rows=(a_row(),), has_more=False))
    shown = [
        pages.list_page(replace(hostile_list(), actions=rerun), request),
        pages.run_page(hostile_view(), request),
        pages.run_page(run_view.view_run(hostile_run(), None), request),
        pages.run_page(damaged_view(), request),
    ]
    buttons = [each for page in shown for each in Elements(page.body).all("button") if "data-act" in each]

    for button in buttons:
        sent = json.loads(str(button["data-target"])) | {"why": "", "by": "", "before": NOON.isoformat()}
        handlers._read_parameters(sent, handlers.ACTIONS[Verb(str(button["data-act"]))].takes)

    assert {"look-now", "run-all-again", "put-aside"} <= {each["data-act"] for each in buttons}


@pytest.mark.parametrize(("outcome", "label"), [("GivenUp", "Cancelled by a person"), ("Canceled", "Canceled in F&O")])
def test_who_cancelled_a_run_is_said_on_its_page_and_in_the_list(outcome: str, label: str) -> None:
    run = replace(hostile_run(), state=State.FILED, ended=NOON, outcome=Outcome(outcome), problem=None)
    (line,) = hostile_list().ended
    listed = replace(hostile_list(), ended=(replace(line, run=replace(line.run, outcome=Outcome(outcome))),))

    page, in_list = pages.run_page(run_view.view_run(run, None), PLAIN), pages.list_page(listed, PLAIN)

    assert label in Elements(page.body).text
    assert 'class="badge good"' not in page.body
    assert 'class="end good"' not in page.body
    assert Elements(in_list.body).text.count(label) == 2  # beside the run, and as a choice of the filter
    assert f'value="{outcome}"' in in_list.body


@pytest.mark.parametrize(
    ("grade", "status"), [(health.Grade.OK, 200), (health.Grade.WARNING, 200), (health.Grade.PROBLEM, 503)]
)
def test_only_an_app_in_trouble_is_told_to_a_monitor_as_unwell(grade: health.Grade, status: int) -> None:
    found = hostile_health(grade)

    page, as_json = pages.health_page(found, PLAIN), pages.health_json(found)

    assert page.status == as_json.status == status
    assert json.loads(as_json.body)["grade"] == grade.value


def test_problems_stand_at_the_top_of_the_health_page() -> None:
    grades = (health.Grade.OK, health.Grade.PROBLEM, health.Grade.WARNING, health.Grade.PROBLEM)
    shown = [health.Check(name=f"check {number}", grade=grade, message="") for number, grade in enumerate(grades)]

    page = pages.health_page(replace(hostile_health(), checks=tuple(shown)), PLAIN)

    assert re.findall(r"check \d", Elements(page.body).text) == ["check 1", "check 3", "check 2", "check 0"]


def test_a_signed_in_user_is_shown_and_not_asked_for_a_name() -> None:
    known, unknown = (pages.list_page(hostile_list(), PageRequest(query={}, user=user)).body for user in ("anna", ""))

    assert "Signed in as anna" in known
    assert 'id="ask-by"' not in known
    assert "Signed in" not in unknown
    assert 'id="ask-by"' in unknown


@pytest.mark.parametrize("name", PAGES)
def test_a_page_can_be_read_without_seeing_it(name: str) -> None:
    body = PAGES[name](PLAIN).body
    page = Elements(body)

    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("main")) == len(page.all("h1")) == len(page.all("nav")) == 1
    assert all("scope" in header for header in page.all("th"))
    assert page.values("aria-live") == ["polite"]
    fields = len(page.all("select")) + len([each for each in page.all("input") if each.get("type") != "hidden"])
    assert len(re.findall(r"<label>", body)) == fields


def test_a_button_says_what_it_will_do_and_to_which_run() -> None:
    view = run_view.view_run(replace(hostile_run(), state=State.EXECUTING), None)

    buttons = Elements(pages.run_page(view, PageRequest(query={"code": "the-key"})).body).all("button")

    (cancel,) = [button for button in buttons if button.get("data-act") == "give-up"]
    assert json.loads(str(cancel["data-target"])) == {"run": view.address}
    assert "F&O may have received this import" in str(cancel["data-effect"])
    assert "data-needs-why" in cancel
    assert cancel["type"] == "button"
    assert "the-key" not in str(buttons)


def test_resume_of_a_lane_that_is_stopped_at_a_file_carries_which_file_the_page_shows() -> None:
    pauses = [replace(PAUSE, lane="in-1", run="1-2"), replace(PAUSE, lane="in-2")]
    flows = Flows(imports=(), exports=())
    view = replace(hostile_list(), lanes=tuple(list_view.list_lanes(flows, pauses)))

    buttons = Elements(pages.list_page(view, PLAIN).body).all("button")

    carried = [json.loads(str(each["data-target"])) for each in buttons if each.get("data-act") == "resume"]
    assert carried == [{"name": "in-1", "run": "1-2"}, {"name": "in-2"}]


def test_the_page_of_a_damaged_record_says_what_is_wrong_and_offers_to_put_it_aside() -> None:
    page = Elements(pages.run_page(damaged_view(), PLAIN).body)

    (put_aside,) = [button for button in page.all("button") if button.get("data-act")]
    assert (put_aside["data-act"], json.loads(str(put_aside["data-target"]))) == ("put-aside", {"run": "1-2-3"})
    assert "cannot be read" in page.text


@pytest.mark.parametrize(
    ("result", "status"),
    [(ActionResult(done=True, message="so"), 200), (ActionResult(done=False, message="no"), 409), (None, 404)],
)
def test_an_action_is_answered_with_its_result(result: ActionResult | None, status: int) -> None:
    response = pages.action_result(result)

    assert response.status == status
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.00 s"),
        (0.349, "0.35 s"),
        (12, "12 s"),
        (59.9, "60 s"),
        (185, "3 min 5 s"),
        (7_500, "2 h 5 min"),
        (100 * 3_600, "4 d 4 h"),
    ],
)
def test_durations_are_written_as_people_say_them(seconds: float, text: str) -> None:
    assert pages.duration_text(seconds) == text
