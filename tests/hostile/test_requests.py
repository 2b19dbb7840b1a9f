"""Requests that no page of ours sends: answered in words, with 400, and never with a crash."""

import json

import pytest

from operations import handlers
from operations.web import PageRequest, PageResponse
from shared import app as built
from shared.runs.record import Damaged
from tests.world import World

BODIES = {
    "nested by the thousand": b'{"run": ' + b"[" * 100_000,
    "half a character in the reason": b'{"run": "x", "why": "\\ud800"}',
    "half a character in a name": b'{"\\udfff": "x", "why": "y"}',
    "raw half a character": b'{"why": "\xed\xa0\x80"}',
    "no UTF-8": b'{"why": "\xff"}',
    "a number of five thousand digits": b'{"why": ' + b"9" * 5_000 + b"}",
    "a list": b"[]",
    "nothing": b"",
    "a form": b"why=x",
}


@pytest.fixture
def app(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(built, "_built", world.services)
    return world


def act(verb: str, body: bytes) -> PageResponse:
    return handlers.act(PageRequest(query={}, target=verb, body=body, has_key_in_header=True))


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("verb", ["give-up", "pause", "run-all-again", "look-now", "no-verb"])
def test_a_body_that_is_no_json_object_is_answered_with_400_and_nothing_is_done(
    app: World, verb: str, name: str
) -> None:
    answer = act(verb, BODIES[name])

    assert answer.status == 400
    said = json.loads(answer.body)
    assert said["done"] is False
    assert "Send JSON" in said["said"]


@pytest.mark.parametrize("text", ["a\0b", "日Жא😀" * 75, "'\"><script>", "x" * 10_000])
def test_texts_of_any_letters_are_taken_as_they_are(app: World, text: str) -> None:
    answer = act("pause", json.dumps({"name": text, "by": text, "why": text}).encode())

    assert answer.status in (200, 404)
    name = app.services.settings.flows.imports[0].name
    assert act("pause", json.dumps({"name": name, "by": text, "why": text}).encode()).status == 200
    (pause,) = app.services.index.open_rows_and_pauses()[1]
    assert pause.why.removesuffix("…") in text


def test_records_that_nest_by_the_thousand_are_damaged_and_no_crash() -> None:
    from shared.alerts.record import alert_from_json, alert_from_state
    from shared.reservations.reservation import reservation_from_json
    from shared.runs.record import run_from_json

    deep = '{"a": ' + "[" * 100_000
    with pytest.raises(Damaged):
        run_from_json(deep)
    for read in (alert_from_json, reservation_from_json, lambda text: alert_from_state("run-1", text)):
        with pytest.raises(ValueError, match=r"."):
            read(deep)
