"""The JSON that programs read: its keys are a contract, whatever the fields are called."""

import json
from dataclasses import replace
from typing import Any

from operations import pages, run_view
from operations.actions import ActionResult
from operations.web import PageRequest
from shared.runs.states import State
from shared.runs.values import StepRecord
from tests.builders import NOON
from tests.page_views import HOSTILE, damaged_view, hostile_health, hostile_list, hostile_run, hostile_view

PLAIN = PageRequest(query={})

RUN_ROW = (
    "address run_id flow integration lane state outcome company data_project execution_id file_name words needs_person "
    "opened due ended has_again is_aside place damage waited_s"
)
LINE = "run place took waited turn"
OFFER = "verb label words"
PAUSE = "lane by why since run stop"
KEYS_OF_LIST = {
    "": "tiles filters under_way under_way_total ended position looked_back_to today flows lanes offers drain",
    "drain": "text since left",
    "tiles": "running waiting needs_person failed_today failed_today_or_more oldest_waiting set_aside",
    "tiles.oldest_waiting": RUN_ROW,
    "filters": "flow company data_project state outcome day text",
    "under_way": LINE,
    "under_way.run": RUN_ROW,
    "ended": LINE,
    "ended.run": RUN_ROW,
    "lanes": "name kind lane pause offers damage",
    "lanes.pause": PAUSE,
    "lanes.offers": OFFER,
    "offers": OFFER,
}
KEYS_OF_RUN = {
    "": "address run_id flow integration file_name size_bytes folder company data_project entities state state_words "
    "outcome reason trouble opened ended took links submissions steps next failed_rows failed_rows_total again_of "
    "again_number later pause offers is_aside passed place waited to_do scheduled late "
    "is_staging_only warning counts counts_note neither_label first_import action keeps_waiting",
    "counts": "entity to_be_processed staged created updated neither",
    "first_import": "run_id address file_name since is_refused",
    "submissions": "execution_id chosen blob_name fenced missing_since delivered_as never_began seen changed_nothing "
    "was_unread",
    "steps": "number title record waited mark refusals words",
    "steps.record": "step state began took_s calls error times by why",
    "steps.record.calls": "service operation status request_id took_s began",
    "next": "title waits_for looks_again behind holder",
    "next.behind": "address run_id file_name",
    "failed_rows": "record_id field message",
    "later": "address opened words",
    "pause": PAUSE,
    "offers": OFFER,
}
KEYS_OF_HEALTH = {
    "": "version grade checks now process_began last_notification last_look subscriptions lanes queues threads "
    "processes settings",
    "checks": "name grade words to_do",
    "subscriptions": "drive since until",
    "lanes": "name length head need_person set_aside",
    "lanes.head": RUN_ROW,
    "queues": "name length",
    "queues.length": "waiting given_up",
    "settings": "name value is_default",
}


def content_of(view: object) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(pages.as_json(view, PLAIN).body)
    return content


def keys_of(content: object, path: str = "") -> dict[str, str]:
    """Return the keys of each object, by the way to it."""
    if isinstance(content, list):
        return {place: keys for each in content for place, keys in keys_of(each, path).items()}
    if not isinstance(content, dict):
        return {}
    inner = [keys_of(each, f"{path}.{key}".lstrip(".")) for key, each in content.items()]
    return {path: " ".join(content), **{place: keys for each in inner for place, keys in each.items()}}


def test_list_run_and_health_have_the_keys_that_programs_know() -> None:
    assert keys_of(content_of(hostile_list())) == KEYS_OF_LIST
    assert keys_of(content_of(hostile_view())) == KEYS_OF_RUN
    assert keys_of(content_of(damaged_view())) == {"": "address damage offers ended", "offers": OFFER}
    assert keys_of(json.loads(pages.health_json(hostile_health()).body)) == KEYS_OF_HEALTH


def test_the_result_of_an_action_has_the_keys_that_programs_know() -> None:
    one = ActionResult(done=True, message="so", run="1-2")
    assert json.loads(pages.action_result(one).body) == {"done": True, "said": "so", "run": "1-2", "each": []}
    assert keys_of(content_of(ActionResult(done=True, message="so", each=(one,))))["each"] == "done said run each"


def test_a_client_that_has_the_newest_version_gets_304() -> None:
    view = run_view.view_run(hostile_run(), None)
    first = pages.as_json(view, PLAIN)
    etag = first.headers["ETag"]

    again, weak = (pages.as_json(view, PageRequest(query={}, etag=each)) for each in (etag, f"W/{etag}"))
    changed = pages.as_json(replace(view, state=State.CLAIMED), PageRequest(query={}, etag=etag))

    assert (first.status, again.status, weak.status, changed.status) == (200, 304, 304, 200)
    assert again.body == ""
    assert json.loads(first.body)["opened"] == "2026-11-02T12:00:00+00:00"


def test_what_does_not_exist_or_cannot_be_seen_is_an_error_with_a_text() -> None:
    not_available = pages.not_available("no role", PageRequest(query={}, wants_json=True))

    assert pages.as_json(None, PLAIN).status == pages.run_page(None, PLAIN).status == 404
    assert (not_available.status, json.loads(not_available.body)) == (503, {"error": "no role"})


def test_json_of_a_run_has_nothing_that_a_newer_version_has_written_into_its_record() -> None:
    step = StepRecord(step=HOSTILE, state=State.FOUND, began=NOON, took_s=1.0, extra={"new": "x"})
    run = replace(hostile_run(), steps=(step,), extra={"new": "x"})

    shown = content_of(run_view.view_run(run, None))

    assert "extra" not in shown["steps"][0]["record"]
    assert "new" not in str(shown)
