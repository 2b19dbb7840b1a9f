"""The webhook on a real socket: what Graph gets for its handshake and its notifications, and what strangers get."""

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueClient, TextBase64DecodePolicy

from local_cloud.cloud import ROOT
from local_cloud.processes import ChildProcess
from shared.scan.throttle import SCAN_EVERY_S
from tests.end_to_end.stage import NO_MINUTE_TIMER, Stage

QUEUE = "work"
KEY = "the-function-key"
CLIENT_STATE = "only-graph-and-we-know-this"
TIMEOUT_S = 60


class Webhook:
    """The function as Graph calls it, and the queue behind it, from which nothing is taken."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.url = f"{stage.host_url}/api/receive_notification"
        self._posted_at = 0.0
        self._queue = QueueClient.from_connection_string(
            stage.azurite.connection_string, QUEUE, message_decode_policy=TextBase64DecodePolicy()
        )

    def close(self) -> None:
        self._queue.close()

    def be_quiet(self) -> None:
        """Wait until a notification asks for a look at once, whatever came before."""
        time.sleep(max(0.0, self._posted_at + 2 * SCAN_EVERY_S - time.monotonic()))  # nothing shows it

    def asked_for(self) -> int:
        """Return how many messages are in the queue, those that are to come later included."""
        return int(self._queue.get_queue_properties().approximate_message_count or 0)

    def post(self, body: object = None, *, query: str = "", key: str = KEY) -> requests.Response:
        """Send a body (JSON, unless it is bytes) with this query."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        separator = "&" if query else ""
        self._posted_at = time.monotonic()
        return requests.post(f"{self.url}?code={key}{separator}{query}", data=content, timeout=TIMEOUT_S)

    def queued(self) -> list[str]:
        """Return the messages in the queue."""
        try:
            return [str(message.content) for message in self._queue.peek_messages(32)]
        except ResourceNotFoundError:
            return []

    def empty_queue(self) -> None:
        """Take all messages out of the queue."""
        if self.queued():
            self._queue.clear_messages()


@pytest.fixture(scope="module")
def _webhook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webhook]:
    with Stage(
        tmp_path_factory.mktemp("notified"),
        app_settings={**NO_MINUTE_TIMER, "AzureWebJobs.work.Disabled": "true"},
        function_key=KEY,
        client_state=CLIENT_STATE,
    ) as stage:
        webhook = Webhook(stage)
        yield webhook
        webhook.close()


@pytest.fixture
def webhook(_webhook: Webhook) -> Webhook:
    """The webhook with an empty queue."""
    _webhook.empty_queue()
    return _webhook


def notifications(**changes: object) -> dict[str, Any]:
    """Return a body as Graph sends it."""
    notification = {
        "subscriptionId": "7f105c7d-2dc5-4530-97cd-4e7ae6534c07",
        "subscriptionExpirationDateTime": "2030-01-01T00:00:00Z",
        "changeType": "updated",
        "resource": "drives/b!local/root",
        "clientState": CLIENT_STATE,
        "tenantId": "c0ffee00-5eed-4a11-9c10-0d15ea5e0001",
        **changes,
    }
    return {"value": [notification]}


def test_the_handshake_gets_the_decoded_token_as_plain_text(webhook: Webhook) -> None:
    answer = webhook.post(query="validationToken=Validation%3A+Testing%20client%20application%20%2Fa%2Bb%3D%26")

    assert (answer.status_code, answer.text) == (200, "Validation: Testing client application /a+b=&")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert webhook.queued() == []


def test_a_token_that_looks_like_a_page_comes_back_inert(webhook: Webhook) -> None:
    answer = webhook.post(query="validationToken=%3Cscript%3Ealert(1)%3C%2Fscript%3E")

    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.text == "<script>alert(1)</script>"


def test_a_notification_is_answered_with_202_once_its_wake_up_is_in_the_queue(webhook: Webhook) -> None:
    webhook.be_quiet()

    answer = webhook.post(notifications())

    assert (answer.status_code, answer.content) == (202, b"")
    (message,) = webhook.queued()
    assert re.fullmatch(r"scan \d{4}-\d\d-\d\dT\S+ 0", message)


@pytest.mark.quick(cases=0)
def test_notifications_soon_after_another_share_a_wake_up_that_comes_later(webhook: Webhook) -> None:
    webhook.be_quiet()

    assert [webhook.post(notifications()).status_code for _ in range(6)] == [202] * 6
    assert 1 < webhook.asked_for() < 6  # two, unless the machine stalls for seconds in between


@pytest.mark.quick(cases=0)
def test_many_notifications_in_one_body_make_one_wake_up(webhook: Webhook) -> None:
    webhook.be_quiet()
    body = {"value": notifications()["value"] * 20}

    assert webhook.post(body).status_code == 202
    assert len(webhook.queued()) == 1


@pytest.mark.parametrize("client_state", ["somebody-elses-clientstate", "", None])
def test_a_notification_with_another_client_state_is_refused(webhook: Webhook, client_state: str | None) -> None:
    assert webhook.post(notifications(clientState=client_state)).status_code == 401
    assert webhook.queued() == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"value": []}', b'{"value": "x"}', b'{"value": [1]}', b'{"value": [{}]}', b"\xff\xfe"]
)
def test_a_malformed_body_is_refused_with_a_reason(webhook: Webhook, body: bytes) -> None:
    answer = webhook.post(body)

    assert answer.status_code == 400
    assert answer.text.endswith(".")
    assert webhook.queued() == []


@pytest.mark.parametrize("key", ["a-wrong-key", ""])
def test_without_the_function_key_nothing_is_taken(webhook: Webhook, key: str) -> None:
    assert webhook.post(notifications(), key=key).status_code == 401
    assert webhook.queued() == []


def test_a_notification_whose_wake_up_the_queue_does_not_take_gets_a_5xx_so_that_graph_sends_it_again(
    webhook: Webhook, tmp_path: Path
) -> None:
    settings = webhook.stage.settings
    settings["AzureWebJobsStorage"] = re.sub(r"AccountKey=\w{4}", "AccountKey=AAAA", settings["AzureWebJobsStorage"])
    command = [sys.executable, "-m", "local_cloud.functions_host", "--app", str(ROOT), "--port", "0"]
    command += ["--settings", str(tmp_path / "none.json")]
    with ChildProcess(command, name="functions host", cwd=ROOT, env={**os.environ, **settings}) as host:
        url = host.wait_for_line(r"^host ready (\S+)$", timeout_s=60).group(1)

        answer = requests.post(f"{url}/api/receive_notification", json=notifications(), timeout=TIMEOUT_S)

    assert answer.status_code >= 500
    assert webhook.queued() == []
