"""Calls of the webhook that Graph would not make: each is refused with a reason, and nothing is queued."""

import json
from collections.abc import Mapping

import azure.functions as func
import pytest

from inbound_trigger import functions
from shared.app import Services
from shared.config.settings import read_settings
from shared.scan import notification
from tests.builders import SETTINGS

STATE = "only-graph-and-we-know-this"


def a_change(**fields: object) -> dict[str, object]:
    return {"subscriptionId": "7f105c7d", "clientState": STATE, "changeType": "updated", **fields}


def body_of(*items: object) -> bytes:
    return json.dumps({"value": list(items)}).encode()


class ScanThrottle(func.Out[str]):
    """Keeps what is put into the queue."""

    def __init__(self) -> None:
        self.queued: list[str] = []

    def set(self, val: str) -> None:
        self.queued.append(val)

    def get(self) -> str:
        return self.queued[-1]


def called(
    monkeypatch: pytest.MonkeyPatch, body: bytes, params: Mapping[str, str] | None = None
) -> tuple[int, str, list[str]]:
    """Call the function as the host does; return status, text and what was queued."""
    settings = read_settings(
        {
            **SETTINGS,
            "NOTIFICATION_URL": "https://contoso.azurewebsites.net/api/receive_notification?code=key",
            "CLIENT_STATE": STATE,
        }
    )
    monkeypatch.setattr(functions, "services", lambda: Services(settings))
    request = func.HttpRequest(method="POST", url="/api/receive_notification", params=dict(params or {}), body=body)
    looks = ScanThrottle()
    answer = functions.receive_notification.build().get_user_function()(request, looks)
    assert answer.mimetype == "text/plain"
    return answer.status_code, answer.get_body().decode(), looks.queued


STRANGERS = [{"subscriptionId": "x"}] * 10_000
# name -> (body, status, reason)
BODIES: dict[str, tuple[bytes, int, str]] = {
    "no body": (b"", 400, "The body is not JSON."),
    "a form": (b"validationToken=x&a=b", 400, "The body is not JSON."),
    "XML that reads a file": (b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>', 400, "The body is not JSON."),
    "bytes of anything": (bytes(range(256)), 400, "The body is not JSON."),
    "a body in UTF-16 without its mark": (body_of(a_change()).decode().encode("utf-16-le")[:-1], 400, "not JSON"),
    "a body cut in half": (body_of(a_change())[:40], 400, "The body is not JSON."),
    "two bodies in one": (body_of(a_change()) * 2, 400, "The body is not JSON."),
    "a body of a million brackets": (b"[" * 1_000_000, 400, "The body is not JSON."),
    "a body above a megabyte": (body_of(*[a_change()] * 12_000), 413, "larger than 1048576 bytes"),
    "a number of five thousand digits": (b'{"value": [' + b"9" * 5_000 + b"]}", 400, "The body is not JSON."),
    "a list": (b"[]", 400, "no list of notifications in 'value'"),
    "a value that is an object": (b'{"value": {}}', 400, "no list of notifications in 'value'"),
    "no notification": (body_of(), 400, "no list of notifications in 'value'"),
    "a notification that is text": (body_of("look"), 400, "A notification in 'value' is not an object"),
    "a notification without its subscription": (body_of({"clientState": STATE}), 400, "has no subscriptionId"),
    "a subscription that is a list": (body_of(a_change(subscriptionId=["x"])), 400, "subscriptionId of a notification"),
    "a state that is true": (body_of(a_change(clientState=True)), 400, "clientState of a notification is not text"),
    "another state": (body_of(a_change(clientState="guess")), 401, "clientState does not match our subscription"),
    "no state": (body_of({"subscriptionId": "x"}), 401, "clientState does not match our subscription"),
    "a state with half a character": (body_of(a_change(clientState="\ud800")), 401, "clientState does not match"),
    "a state in capitals": (body_of(a_change(clientState=STATE.upper())), 401, "clientState does not match"),
    "a state of a megabyte": (body_of(a_change(clientState="x" * 900_000)), 401, "clientState does not match"),
    "ten thousand strangers and one of ours": (body_of(*STRANGERS, a_change()), 401, "clientState does not match"),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_hostile_notification_is_refused_with_a_reason_and_nothing_is_queued(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, status, reason = BODIES[name]

    answered = called(monkeypatch, body)

    assert (answered[0], answered[2]) == (status, [])
    assert reason in answered[1]
    assert len(answered[1]) < 200
    assert STATE not in answered[1]


TOKENS: dict[str, str] = {
    "nothing": "",
    "a line end": "two\r\nlines",
    "a line feed": "two\nlines",
    "a NUL": "a\0b",
    "a tab": "tab\there",
    "markup with a line end": "<svg/onload=alert(1)>\n",
    "a letter with dots": "naïve",
    "right to left": "\u202e",
    "half a character": "\ud800",
    "too long": "x" * (notification.MAX_TOKEN + 1),
}


@pytest.mark.parametrize("token", TOKENS.values(), ids=list(TOKENS))
def test_a_handshake_that_graph_would_not_make_is_refused_and_nothing_of_it_sent_back(
    token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, text, queued = called(monkeypatch, b"", {"validationToken": token})

    assert (status, queued) == (400, [])
    assert "printable ASCII" in text
    assert not token or token not in text


def test_a_good_notification_queues_one_look_and_a_handshake_that_carries_one_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    status, text, queued = called(monkeypatch, body_of(a_change(), a_change()))

    assert (status, text, len(queued)) == (202, "", 1)
    assert called(monkeypatch, body_of(a_change()), {"validationToken": "Validation: x"}) == (200, "Validation: x", [])
