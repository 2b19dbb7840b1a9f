"""Pages and JSON of runs: what stands in them, what is escaped, and what their headers forbid."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest

from operations import available_actions, handlers, pages, run_view
from operations.actions import ActionResult
from operations.filters import Filters
from operations.labels import Place
from operations.list_view import Figures, LaneView, Line, RunList
from operations.run_view import DamagedView, RerunView, RunAhead
from operations.web import PageRequest, PageResponse
from shared.azure_storage.queue import QueueLength
from shared.config.settings import SettingInForce
from shared.health import health
from shared.runs.run import Run, new_run
from shared.runs.states import Direction, Outcome, State
from shared.runs.store import Pause
from shared.runs.values import FailedRow, FileFacts, Problem, RemoteCallRecord, StepRecord, Submission
from tests.builders import a_row

NOW = datetime(2026, 11, 2, 8, 30, tzinfo=UTC)
HOSTILE = "<img src=x onerror=alert(1)>\"'</title></style></script><script>alert(2)</script>{{ 7 * 7 }}"


class Elements(HTMLParser):
    """The elements, attributes and text of a page, as a browser would take it apart."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def links(self) -> list[str]:
        return [str(attributes["href"]) for attributes in self.all("a")]


def a_hostile_run() -> Run:
    run = new_run(
        direction=Direction.IMPORT,
        state=State.FOUND,
        flow_name=HOSTILE,
        lane="in-1",
        sort_key="20261102T083000000000Z-item",
        file=FileFacts(
            name=HOSTILE, folder=HOSTILE, web_url='https://contoso.sharepoint.com/?x="><script>alert(3)</script>'
        ),
        now=NOW,
        data_project=HOSTILE,
        company=HOSTILE,
    )
    call = RemoteCallRecord(service=HOSTILE, operation=HOSTILE, status=None, request_id=HOSTILE, took_s=0.1, began=NOW)
    return replace(
        run,
        entities=(HOSTILE,),
        reason=HOSTILE,
        problem=Problem(text=HOSTILE, since=NOW),
        submissions=(Submission(execution_id=HOSTILE, chosen=NOW, delivered_as=HOSTILE),),
        failed_rows=(FailedRow(record_id=HOSTILE, field=HOSTILE, message=HOSTILE),),
        failed_rows_total=1,
        steps=(
            StepRecord(step=HOSTILE, state=State.FOUND, began=NOW, took_s=1.0, error=HOSTILE, calls=(call,)),
            StepRecord(step="check_now", state=State.FOUND, began=NOW, took_s=0.0, by=HOSTILE, why=HOSTILE),
        ),
        rerun_of=HOSTILE,
        passed_by=(HOSTILE,),
        passed_by_total=1,
    )


def a_hostile_view() -> run_view.RunView:
    pause = Pause(lane="in-1", by=HOSTILE, why=HOSTILE, since=NOW)
    rerun = RerunView(address=HOSTILE, opened=NOW, result=HOSTILE)
    ahead = RunAhead(address=HOSTILE, run_id=HOSTILE, file_name=HOSTILE)
    return run_view.view_run(a_hostile_run(), ahead, pause=pause, reruns=(rerun,), is_holding=True)


def a_damaged_view() -> DamagedView:
    return DamagedView(address="1-2-3", damage=HOSTILE, actions=available_actions.of_damaged(HOSTILE))


def a_list(*, position: str = "", filters: Filters | None = None) -> RunList:
    hostile = a_row(file_name=HOSTILE, words=HOSTILE, company=HOSTILE, data_project=HOSTILE, integration=HOSTILE)
    return RunList(
        figures=Figures(
            running=1,
            waiting=2,
            needs_person=3,
            failed_today=4,
            failed_today_or_more=False,
            oldest_waiting=replace(hostile, address="1-2-3"),
        ),
        filters=filters or Filters(text=HOSTILE, company=HOSTILE, data_project=HOSTILE),
        under_way=(Line(run=hostile, place=Place.NEEDS_PERSON, took=None),),
        under_way_total=1,
        ended=(
            Line(
                run=replace(hostile, address="1-2", outcome=Outcome.FAILED, ended=NOW),
                place=Place.ENDED,
                took=timedelta(0),
            ),
        ),
        position=position,
        looked_back_to=None,
        today=NOW.date(),
        flows=(HOSTILE,),
        lanes=(
            LaneView(
                name=HOSTILE,
                kind=Direction.IMPORT,
                lane="in-1",
                pause=Pause(lane="in-1", by=HOSTILE, why=HOSTILE, since=NOW),
                actions=available_actions.of_lane(HOSTILE, Direction.EXPORT, is_paused=False),
            ),
        ),
        actions=available_actions.of_list(available_actions.RerunCandidates(rows=(hostile,), has_more=False)),
    )


def a_health(grade: health.Grade = health.Grade.PROBLEM) -> health.Health:
    return health.Health(
        version=HOSTILE,
        grade=grade,
        checks=(health.Check(name=HOSTILE, grade=grade, message=HOSTILE, advice=HOSTILE),),
        now=NOW,
        process_began=NOW,
        last_scan=NOW,
        subscriptions=(health.SubscriptionState(drive=HOSTILE, since=None, until=NOW),),
        lanes=(health.Lane(name=HOSTILE, length=2, head=a_row(file_name=HOSTILE)),),
        queues=(health.Queue(name=HOSTILE, length=QueueLength(waiting=1, given_up=0)),),
        settings=(SettingInForce(name=HOSTILE, value=HOSTILE, is_default=False),),
    )


@pytest.mark.parametrize("name", ["list", "run", "damaged", "message", "health"])
def test_what_comes_from_outside_stays_text(name: str) -> None:
    asked = PageRequest(query={"code": HOSTILE, "text": HOSTILE}, user=HOSTILE)
    answer = {
        "list": lambda: pages.list_page(a_list(position=HOSTILE), asked),
        "run": lambda: pages.run_page(a_hostile_view(), asked),
        "damaged": lambda: pages.run_page(a_damaged_view(), asked),
        "message": lambda: pages.not_available(HOSTILE, asked),
        "health": lambda: pages.health_page(a_health(), asked),
    }[name]()

    page = Elements(answer.body)

    assert page.all("img") == []
    assert len(page.all("script")) == len(page.all("style")) == 1
    assert HOSTILE in page.text
    assert not [each for _, attributes in page.elements for each in attributes if each.startswith("on")]


@pytest.mark.parametrize("status", [200, 404, 503])
def test_a_page_may_load_nothing_and_its_own_parts_only_under_a_nonce_of_their_own(status: int) -> None:
    def answered() -> PageResponse:
        asked = PageRequest(query={})
        match status:
            case 200:
                return pages.list_page(a_list(), asked)
            case 404:
                return pages.run_page(None, asked)
        return pages.not_available("no storage", asked)

    first, second = answered(), answered()
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
    assert not [attributes for _, attributes in page.elements if "style" in attributes]
    assert second.headers["Content-Security-Policy"] != first.headers["Content-Security-Policy"]
    assert first.headers["Referrer-Policy"] == "no-referrer"
    assert first.headers["Cache-Control"] == "no-store"
    assert first.headers["X-Content-Type-Options"] == "nosniff"


def test_links_carry_the_key_on_where_the_page_was_asked_for_with_one_in_its_address() -> None:
    with_key = Elements(pages.list_page(a_list(position="2026/11/02~x"), PageRequest(query={"code": "k&y"})).body)
    without = pages.list_page(a_list(position="2026/11/02~x"), PageRequest(query={})).body

    ours = [link for link in with_key.links() if link.startswith("/api/runs")]
    assert len(ours) == 7
    assert all(link.partition("#")[0].endswith("code=k%26y") for link in ours)
    assert {"type": "hidden", "name": "code", "value": "k&y"} in with_key.all("input")
    assert "code=" not in without
    assert 'name="code"' not in without


def test_the_key_is_in_no_link_to_others_and_not_in_what_the_page_asks_by_itself() -> None:
    view = run_view.view_run(a_hostile_run(), None)
    page = Elements(pages.run_page(view, PageRequest(query={"code": "the-key"})).body)

    others = [each for each in page.all("a") if str(each["href"]).startswith("http")]
    polls = [attributes["data-poll"] for _, attributes in page.elements if "data-poll" in attributes]
    assert len(others) == 1
    assert "the-key" not in str(others[0]["href"])
    assert str(others[0]["rel"]).split() == ["noopener", "noreferrer"]
    assert polls == [f"/api/runs/{view.address}.json"]


def test_the_next_page_keeps_the_filter_and_nothing_else_of_the_query() -> None:
    asked = PageRequest(query={"company": "USMF", "behind": "old", "evil": "x"})

    page = Elements(pages.list_page(a_list(position="2026/11/02~x"), asked).body)

    (older,) = [link for link in page.links() if "behind" in link]
    assert older == "/api/runs?behind=2026%2F11%2F02~x&company=USMF#lists"


def test_every_button_of_a_page_sends_what_the_app_takes() -> None:
    """Nothing that an action is told is passed over: what it does not know is refused."""
    asked = PageRequest(query={"company": "USMF", "outcome": "Failed", "text": " a b "})
    listed = replace(
        a_list(), actions=available_actions.of_list(available_actions.RerunCandidates(rows=(a_row(),), has_more=False))
    )
    shown = [
        pages.list_page(listed, asked),
        pages.run_page(a_hostile_view(), asked),
        pages.run_page(run_view.view_run(a_hostile_run(), None), asked),
        pages.run_page(a_damaged_view(), asked),
    ]
    buttons = [each for page in shown for each in Elements(page.body).all("button") if "data-act" in each]

    for button in buttons:
        sent = json.loads(str(button["data-target"])) | {"why": "", "by": "", "before": NOW.isoformat()}
        handlers._read_parameters(sent, handlers.ACTIONS[available_actions.Verb(str(button["data-act"]))].takes)

    assert {"look-now", "run-all-again", "put-aside"} <= {each["data-act"] for each in buttons}


def test_json_is_answered_with_304_to_who_has_it_already() -> None:
    view = run_view.view_run(a_hostile_run(), None)
    first = pages.as_json(view, PageRequest(query={}))

    again = pages.as_json(view, PageRequest(query={}, etag=first.headers["ETag"]))
    weak = pages.as_json(view, PageRequest(query={}, etag="W/" + first.headers["ETag"]))
    changed = pages.as_json(replace(view, state=State.CLAIMED), PageRequest(query={}, etag=first.headers["ETag"]))

    assert (first.status, again.status, weak.status, changed.status) == (200, 304, 304, 200)
    assert again.body == ""
    assert json.loads(first.body)["file_name"] == HOSTILE
    assert json.loads(first.body)["opened"] == "2026-11-02T08:30:00+00:00"


def test_a_page_knows_the_version_that_it_was_made_of() -> None:
    view = run_view.view_run(a_hostile_run(), None)

    page = pages.run_page(view, PageRequest(query={}))

    etag = pages.as_json(view, PageRequest(query={})).headers["ETag"]
    assert [attributes["data-etag"] for _, attributes in Elements(page.body).elements if "data-etag" in attributes] == [
        etag
    ]


def test_the_page_of_a_run_that_has_ended_does_not_look_again() -> None:
    over = replace(a_hostile_run(), state=State.FILED, ended=NOW, outcome=Outcome.FAILED, problem=None)

    page = pages.run_page(run_view.view_run(over, None), PageRequest(query={}))

    assert not [attributes for _, attributes in Elements(page.body).elements if "data-poll" in attributes]


def test_what_is_not_there_and_what_cannot_be_seen_is_said_in_words() -> None:
    asked = PageRequest(query={})

    assert pages.as_json(None, asked).status == pages.run_page(None, asked).status == 404
    not_available = pages.not_available("no role", replace(asked, wants_json=True))
    assert (not_available.status, json.loads(not_available.body)) == (503, {"error": "no role"})


@pytest.mark.parametrize(
    ("grade", "status"), [(health.Grade.OK, 200), (health.Grade.WARNING, 200), (health.Grade.PROBLEM, 503)]
)
def test_only_an_app_in_trouble_is_told_to_a_monitor_as_unwell(grade: health.Grade, status: int) -> None:
    found = a_health(grade)

    page, as_json = (
        pages.health_page(found, PageRequest(query={})),
        pages.health_json(found),
    )

    assert page.status == as_json.status == status
    assert json.loads(as_json.body)["grade"] == grade.value
    assert json.loads(as_json.body)["lanes"][0]["head"]["file_name"] == HOSTILE


def test_what_is_in_trouble_stands_at_the_top_of_the_health_page() -> None:
    grades = (health.Grade.OK, health.Grade.PROBLEM, health.Grade.WARNING, health.Grade.PROBLEM)
    shown = [health.Check(name=f"check {number}", grade=grade, message="") for number, grade in enumerate(grades)]

    page = pages.health_page(replace(a_health(), checks=tuple(shown)), PageRequest(query={}))

    assert re.findall(r"check \d", Elements(page.body).text) == ["check 1", "check 3", "check 2", "check 0"]


def test_the_health_of_an_app_whose_settings_are_wrong_is_a_page_too() -> None:
    check = health.Check(name="Settings", grade=health.Grade.PROBLEM, message="FO_URL is missing.")
    found = health.Health(version="1.0", grade=health.Grade.PROBLEM, checks=(check,))

    page = Elements(pages.health_page(found, PageRequest(query={})).body)

    assert "FO_URL is missing." in page.text
    assert "Queues" not in page.text


def test_the_pages_lead_to_each_other_with_the_key() -> None:
    page = Elements(pages.health_page(a_health(), PageRequest(query={"code": "k&y"})).body)

    assert "/api/runs?code=k%26y" in page.links()
    assert "/api/health?code=k%26y" in page.links()
    assert "/api/health?thorough=yes&code=k%26y" in page.links()


def test_who_has_signed_in_is_shown() -> None:
    assert (
        "Signed in as anna@contoso.com"
        in pages.list_page(a_list(), PageRequest(query={}, user="anna@contoso.com")).body
    )
    assert "Signed in" not in pages.list_page(a_list(), PageRequest(query={})).body


def test_a_page_can_be_read_without_seeing_it() -> None:
    for answer in (
        pages.list_page(a_list(), PageRequest(query={})),
        pages.run_page(run_view.view_run(a_hostile_run(), None), PageRequest(query={})),
        pages.run_page(a_damaged_view(), PageRequest(query={})),
        pages.health_page(a_health(), PageRequest(query={})),
    ):
        page = Elements(answer.body)
        ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
        assert len(ids) == len(set(ids))
        assert page.all("html") == [{"lang": "en"}]
        assert len(page.all("main")) == len(page.all("h1")) == len(page.all("nav")) == 1
        assert all("scope" in header for header in page.all("th"))
        assert [each["aria-live"] for _, each in page.elements if "aria-live" in each] == ["polite"]
        fields = len(page.all("select")) + len([each for each in page.all("input") if each.get("type") != "hidden"])
        assert len(re.findall(r"<label>", answer.body)) == fields


def test_a_button_tells_what_comes_of_it_and_what_it_is_about() -> None:
    view = run_view.view_run(replace(a_hostile_run(), state=State.EXECUTING), None)

    buttons = Elements(pages.run_page(view, PageRequest(query={"code": "the-key"})).body).all("button")

    (cancel,) = [button for button in buttons if button.get("data-act") == "give-up"]
    assert json.loads(str(cancel["data-target"])) == {"run": view.address}
    assert "F&O may have received this import" in str(cancel["data-effect"])
    assert "data-needs-why" in cancel
    assert cancel["type"] == "button"
    assert "the-key" not in str(buttons)


def test_the_page_of_a_damaged_record_says_what_is_wrong_and_offers_to_put_it_aside() -> None:
    page = Elements(pages.run_page(a_damaged_view(), PageRequest(query={})).body)

    (put_aside,) = [button for button in page.all("button") if button.get("data-act")]
    assert (put_aside["data-act"], json.loads(str(put_aside["data-target"]))) == ("put-aside", {"run": "1-2-3"})
    assert "cannot be read" in page.text
    as_json = json.loads(pages.as_json(a_damaged_view(), PageRequest(query={})).body)
    assert (as_json["address"], as_json["damage"], as_json["ended"]) == ("1-2-3", HOSTILE, None)


def test_json_of_a_run_says_nothing_that_a_newer_version_has_written_into_its_record() -> None:
    run = a_hostile_run()
    run = replace(run, steps=tuple(replace(step, extra={"new": "x"}) for step in run.steps), extra={"new": "x"})

    shown = json.loads(pages.as_json(run_view.view_run(run, None), PageRequest(query={})).body)

    assert "extra" not in shown["steps"][0]["record"]
    assert "new" not in str(shown)


def test_whose_name_is_known_is_not_asked_for_it() -> None:
    known, unknown = (pages.list_page(a_list(), PageRequest(query={}, user=user)).body for user in ("anna", ""))

    assert 'id="ask-by"' not in known
    assert 'id="ask-by"' in unknown


def test_what_was_done_is_answered_with_what_came_of_it() -> None:
    done, refused = (pages.action_result(ActionResult(done=done, message="so", run="1-2")) for done in (True, False))

    assert (done.status, refused.status, pages.action_result(None).status) == (200, 409, 404)
    assert json.loads(done.body) == {"done": True, "said": "so", "run": "1-2", "each": []}
    assert done.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("seconds", "words"),
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
def test_durations_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert pages.duration_text(seconds) == words
