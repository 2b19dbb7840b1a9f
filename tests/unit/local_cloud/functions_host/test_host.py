"""A whole host in its own process, against Azurite: triggers, outputs, administration, and its end."""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient, TextBase64DecodePolicy, TextBase64EncodePolicy

from .running import PATIENCE_S, PROJECT, RunningHost, eventually, running_host, start_host, write_app

QUICK = {"extensions": {"queues": {"maxPollingInterval": "00:00:00.100", "batchSize": 4, "newBatchThreshold": 2}}}

APP = """
import json, logging, os, time
from typing import List

@app.route(route="order", methods=["POST"])
@app.queue_output(arg_name="out", queue_name="%PREFIX%-orders", connection="AzureWebJobsStorage")
def order(req: func.HttpRequest, out: func.Out[str]) -> func.HttpResponse:
    out.set(req.get_body().decode())
    return func.HttpResponse(status_code=202)

@app.queue_trigger(arg_name="msg", queue_name="%PREFIX%-orders", connection="AzureWebJobsStorage")
@app.queue_output(arg_name="out", queue_name="%PREFIX%-done", connection="AzureWebJobsStorage")
def process(msg: func.QueueMessage, out: func.Out[bytes], context: func.Context) -> None:
    logging.getLogger("sample").info("processing %s", msg.get_body().decode())
    seen = {
        "body": msg.get_body().decode(), "id": msg.id, "count": msg.dequeue_count, "receipt": bool(msg.pop_receipt),
        "inserted": str(msg.insertion_time), "expires": str(msg.expiration_time), "next": str(msg.time_next_visible),
        "function": context.function_name,
    }
    out.set(json.dumps(seen).encode())

@app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *")
@app.queue_output(arg_name="$return", queue_name="%PREFIX%-done", connection="AzureWebJobsStorage")
def tick(timer: func.TimerRequest) -> str:
    return f"tick {timer.past_due}, next in month {timer.schedule_status.get('Next', '')[5:10]}"

@app.timer_trigger(arg_name="timer", schedule="* * * * * *")
@app.retry(strategy="fixed_delay", max_retry_count="3", delay_interval="00:00:01")
def often(timer: func.TimerRequest) -> None:
    logging.info("often, monitored: %s", bool(timer.schedule_status))

@app.timer_trigger(arg_name="timer", schedule="%NOT_SET%")
def lost(timer: func.TimerRequest) -> None: ...
"""

WORKS_UNTIL_TOLD = """
import logging, os, time

@app.queue_trigger(arg_name="msg", queue_name="%PREFIX%-work", connection="AzureWebJobsStorage")
def work(msg: func.QueueMessage) -> None:
    logging.info("working, attempt %s", msg.dequeue_count)
    while not os.path.exists("go-on"):
        time.sleep(0.01)
    logging.info("worked")
"""


class Account:
    """Queues of one test, which begin with a prefix of its own."""

    def __init__(self, connection: str) -> None:
        self.connection = connection
        self.prefix = f"host-{uuid.uuid4().hex[:10]}"
        self._queues = QueueServiceClient.from_connection_string(connection)

    def queue(self, name: str) -> Any:
        return self._queues.get_queue_client(
            f"{self.prefix}-{name}",
            message_encode_policy=TextBase64EncodePolicy(),
            message_decode_policy=TextBase64DecodePolicy(),
        )

    def settings(self) -> dict[str, str]:
        return {"AzureWebJobsStorage": self.connection, "PREFIX": self.prefix}

    def taken(self, name: str) -> str:
        """The next message of a queue, once there is one; it is deleted."""

        def take() -> Any:
            return next(iter(queue.receive_messages(max_messages=1)), None)

        queue = self.queue(name)
        message = eventually(take)
        queue.delete_message(message)
        return str(message.content)

    def close(self) -> None:
        self._queues.close()


@pytest.fixture(scope="module")
def shared_account(azurite_connection: str) -> Iterator[Account]:
    account = Account(azurite_connection)
    for name in ("orders", "done"):
        account.queue(name).create_queue()
    yield account
    account.close()


@pytest.fixture(scope="module")
def host(shared_account: Account, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHost]:
    app = write_app(tmp_path_factory.mktemp("app"), APP, host_json=QUICK, values=shared_account.settings())
    with running_host(app) as running:
        yield running


@pytest.fixture
def account(azurite_connection: str) -> Iterator[Account]:
    account = Account(azurite_connection)
    account.queue("work").create_queue()
    yield account
    account.close()


def order(host: RunningHost, body: str) -> int:
    return requests.post(f"{host.url}/api/order", data=body.encode(), timeout=PATIENCE_S).status_code


def test_a_request_becomes_a_message_and_the_message_a_run_that_knows_it(
    host: RunningHost, shared_account: Account
) -> None:
    assert order(host, "look") == 202
    seen = json.loads(shared_account.taken("done"))
    # https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue-trigger#message-metadata
    assert (seen["body"], seen["count"], seen["receipt"], seen["function"]) == ("look", 1, True, "process")
    assert str(uuid.UUID(seen["id"])) == seen["id"]
    assert seen["inserted"] < seen["next"] < seen["expires"]
    host.has_printed(r"^\[\S+Z\] processing look$")
    host.has_printed(r"Executing 'Functions.process' \(Reason='New queue message detected on '\S+-orders'\.'")
    host.has_printed(r"Executed 'Functions.process' \(Succeeded")


def test_an_output_of_json_text_is_split_and_rewritten(host: RunningHost, shared_account: Account) -> None:
    # https://github.com/Azure/azure-functions-python-worker/issues/1492
    assert order(host, '[{"a":1}, "b"]') == 202
    bodies = {json.loads(shared_account.taken("done"))["body"] for _ in range(2)}
    assert bodies == {'{\n  "a": 1\n}', "b"}


def test_an_output_that_cannot_be_written_is_a_500(host: RunningHost) -> None:
    # Outputs are written before the HTTP answer, so a 202 means that the message is in the queue.
    # https://github.com/Azure/azure-functions-host/blob/dev/src/WebJobs.Script/Description/Workers/WorkerFunctionInvoker.cs
    assert order(host, "x" * 70_000) == 500  # a message holds 64 KiB
    host.has_printed(r"Executed 'Functions.order' \(Failed.*The output 'out' was not written")


def test_functions_can_be_run_by_hand(host: RunningHost, shared_account: Account) -> None:
    # https://learn.microsoft.com/azure/azure-functions/functions-manually-run-non-http
    def run(name: str, body: str) -> int:
        return requests.post(f"{host.url}/admin/functions/{name}", data=body, timeout=PATIENCE_S).status_code

    assert run("tick", "{}") == 202
    assert shared_account.taken("done") == "tick False, next in month 01-01"
    assert run("process", '{"input": "by hand"}') == 202
    assert json.loads(shared_account.taken("done"))["body"] == "by hand"
    assert (run("elsewhere", "{}"), run("order", "{}"), run("process", "[")) == (404, 400, 400)


def test_it_says_what_it_runs_and_what_it_cannot(host: RunningHost) -> None:
    listed = requests.get(f"{host.url}/admin/functions", timeout=PATIENCE_S).json()
    assert {function["name"] for function in listed} == {"order", "process", "tick", "often", "lost"}
    status = requests.get(f"{host.url}/admin/host/status", timeout=PATIENCE_S).json()
    assert status["state"] == "Running"
    assert "NOT_SET" in status["errors"][0]
    host.has_printed(r"^        order: \[POST\] http://127\.0\.0\.1:\d+/api/order$")
    host.has_printed(r"^        process: queueTrigger \S+-orders$")
    host.has_printed(r"^        tick: timerTrigger 0 0 0 1 1 \*$")
    host.has_printed(r"WARNING The retry policy of 'often' is ignored")
    host.has_printed(r"^        lost: cannot be started: .*NOT_SET")


def test_timers_have_a_status_unless_they_come_more_than_once_a_minute(
    host: RunningHost, azurite_connection: str
) -> None:
    # https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer (useMonitor)
    host.has_printed(r"often, monitored: False")
    host_id = requests.get(f"{host.url}/admin/host/status", timeout=PATIENCE_S).json()["id"]
    with BlobServiceClient.from_connection_string(azurite_connection) as blobs:
        container = blobs.get_container_client("azure-webjobs-hosts")
        eventually(lambda: any(container.list_blob_names(name_starts_with=f"timers/{host_id}/Host.Functions.tick/")))
        assert not any(container.list_blob_names(name_starts_with=f"timers/{host_id}/Host.Functions.often/"))


def test_the_storage_sdk_does_not_fill_the_log(host: RunningHost) -> None:
    host.has_printed(r"host ready")
    assert "x-ms-" not in host.child.output


def test_a_drained_host_takes_no_more_messages_and_still_answers(account: Account, tmp_path: Path) -> None:
    app = write_app(tmp_path, APP, host_json=QUICK, values=account.settings())
    with running_host(app) as host:
        assert requests.post(f"{host.url}/admin/host/drain", timeout=PATIENCE_S).status_code == 202
        eventually(lambda: requests.get(f"{host.url}/admin/host/status", timeout=PATIENCE_S).json()["listening"] == 0)
        assert order(host, "later") == 202
        assert [message.content for message in account.queue("orders").peek_messages()] == ["later"]


def test_after_a_kill_the_next_host_runs_the_message_again(account: Account, tmp_path: Path) -> None:
    app = write_app(tmp_path, WORKS_UNTIL_TOLD, host_json=QUICK, values=account.settings())
    account.queue("work").send_message("a")
    with running_host(app, "--lease-seconds", "1") as killed:
        killed.has_printed("working, attempt 1")
        killed.child.kill()
    (app / "go-on").touch()
    with running_host(app) as again:
        again.has_printed("working, attempt [2-9]")  # more where the first host stood still for longer than a lease
        again.has_printed("Executed 'Functions.work' .Succeeded")
    eventually(lambda: account.queue("work").get_queue_properties().approximate_message_count == 0)


def test_an_invocation_over_function_timeout_ends_the_host_and_its_message_comes_back(
    account: Account, tmp_path: Path
) -> None:
    # In Azure the worker process is killed: https://github.com/Azure/azure-functions-host/issues/8814
    app = write_app(
        tmp_path, WORKS_UNTIL_TOLD, host_json={**QUICK, "functionTimeout": "00:00:01"}, values=account.settings()
    )
    account.queue("work").send_message("a")
    with start_host(app) as host:
        assert host.wait(timeout_s=PATIENCE_S) == 1
        assert "Timeout value of 1 s exceeded by function 'Functions.work'" in host.output
    assert account.queue("work").peek_messages() == []
    assert account.queue("work").get_queue_properties().approximate_message_count == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send to another process")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_host_once_its_messages_are_completed(
    account: Account, tmp_path: Path, number: signal.Signals
) -> None:
    app = write_app(tmp_path, WORKS_UNTIL_TOLD, host_json=QUICK, values=account.settings())
    account.queue("work").send_message("a")
    with unguarded_host(app, "--grace-seconds", str(PATIENCE_S)) as host:
        wait_for(host, "working")
        host.send_signal(number)
        (app / "go-on").touch()
        assert host.wait(PATIENCE_S) == 0
    assert account.queue("work").get_queue_properties().approximate_message_count == 0


def test_a_host_stops_with_its_parent_even_while_a_function_never_ends(account: Account, tmp_path: Path) -> None:
    app = write_app(tmp_path, WORKS_UNTIL_TOLD, host_json=QUICK, values=account.settings())
    account.queue("work").send_message("a")
    with unguarded_host(app, "--stop-with-parent", "--grace-seconds", "0.1") as host:
        wait_for(host, "working")
        assert host.stdin is not None
        host.stdin.close()  # as the end of the parent does
        assert host.wait(PATIENCE_S) == 0
    assert account.queue("work").get_queue_properties().approximate_message_count == 1


def test_an_app_that_cannot_be_used_ends_the_host_with_the_reason(tmp_path: Path) -> None:
    with start_host(write_app(tmp_path, "import not_installed")) as host:
        assert host.wait(timeout_s=PATIENCE_S) == 2
        assert "No module named 'not_installed'" in host.output


def test_a_port_that_is_taken_ends_the_host_with_the_reason(host: RunningHost, tmp_path: Path) -> None:
    port = host.url.rpartition(":")[2]
    with start_host(write_app(tmp_path, ""), "--port", port) as second:
        assert second.wait(timeout_s=PATIENCE_S) == 2
        assert f"port {port} is not free" in second.output


def unguarded_host(app: Path, *arguments: str) -> subprocess.Popen[str]:
    """A host whose stdin and signals are the test's own."""
    command = [sys.executable, "-m", "local_cloud.functions_host", "--app", str(app), "--port", "0", *arguments]
    return subprocess.Popen(
        command,
        cwd=PROJECT,
        env=dict(os.environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )


def wait_for(host: subprocess.Popen[str], words: str) -> None:
    assert host.stdout is not None
    assert any(words in line for line in host.stdout), "the host ended"
