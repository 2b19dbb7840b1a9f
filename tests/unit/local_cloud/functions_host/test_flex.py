"""A whole host in the Flex shape, against Azurite: its instances come, work, go, die and are replaced."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import requests
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient, TextBase64EncodePolicy

from .running import PATIENCE_S, PROJECT, RunningHost, eventually, running_host, start_host, write_app

QUICK: Final = {
    "extensions": {"queues": {"maxPollingInterval": "00:00:00.100", "batchSize": 1, "newBatchThreshold": 0}}
}
# Nobody waits here for what is long in Azure.
SHORT: Final = ("--flex", "--wake-up-seconds", "0", "--idle-seconds", "1", "--look-every-seconds", "0.1")
STAYS: Final = ("--flex", "--wake-up-seconds", "0", "--idle-seconds", "600", "--look-every-seconds", "0.1")

APP: Final = """
import json, logging, os, sys, threading, time

POOL_AT_IMPORT = os.environ.get("PYTHON_THREADPOOL_THREAD_COUNT")

def wait(name):
    logging.info("%s waits in %s", name, os.getpid())
    while not os.path.exists(name):
        time.sleep(0.01)

@app.route(route="who")
def who(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(str(os.getpid()))

@app.route(route="pool")
def pool(req: func.HttpRequest) -> func.HttpResponse:
    threads = sys.modules["azure_functions_runtime"].get_threadpool_executor()._max_workers
    return func.HttpResponse(json.dumps([threads, POOL_AT_IMPORT, os.environ.get("OF_THE_MACHINE")]))

@app.route(route="slow")
def slow(req: func.HttpRequest) -> func.HttpResponse:
    wait("go-on")
    return func.HttpResponse(str(os.getpid()))

@app.queue_trigger(arg_name="msg", queue_name="%PREFIX%-work", connection="AzureWebJobsStorage")
def work(msg: func.QueueMessage) -> None:
    logging.info("works in %s, attempt %s", os.getpid(), msg.dequeue_count)
    wait("work-on")

@app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *")
def yearly(timer: func.TimerRequest) -> None:
    logging.info("yearly in %s, past due: %s", os.getpid(), timer.past_due)

@app.timer_trigger(arg_name="timer", schedule="%OFTEN%")
def often(timer: func.TimerRequest) -> None:
    logging.info("often in %s", os.getpid())
"""


class Scene:
    """A host, its journal, and its queue."""

    def __init__(self, host: RunningHost, journal: Path, queue: Any) -> None:
        self.host = host
        self._journal = journal
        self.queue = queue

    def group(self, name: str) -> Mapping[str, Any]:
        answer = requests.get(f"{self.host.url}/admin/host/instances", timeout=PATIENCE_S).json()
        (found,) = (each for each in answer["groups"] if each["group"] == name)
        group: Mapping[str, Any] = found
        return group

    def instances(self, group: str) -> list[Mapping[str, Any]]:
        """Return those of a group that serve."""
        return [instance for instance in self.group(group)["instances"] if instance["state"] == "serving"]

    def get(self, path: str) -> str:
        answer = requests.get(f"{self.host.url}/api/{path}", timeout=PATIENCE_S)
        assert answer.status_code == 200
        return answer.text

    def go_on(self, name: str = "go-on") -> None:
        (self.host.app / name).touch()

    def journal(self, group: str) -> list[Mapping[str, Any]]:
        """Return what has happened in a group."""
        lines = [json.loads(line) for line in self._journal.read_text(encoding="utf-8").splitlines()]
        return [line for line in lines if line["group"] == group]

    def kill(self, instance: str) -> int:
        url = f"{self.host.url}/admin/host/instances/{instance}/kill"
        return requests.post(url, timeout=PATIENCE_S).status_code


class Scenes:
    """Starts hosts with an app and an account of their own."""

    def __init__(self, connection: str, folder: Path) -> None:
        self.prefix = f"flex-{uuid.uuid4().hex[:10]}"
        self.folder = folder
        self.settings = {"AzureWebJobsStorage": connection, "PREFIX": self.prefix, "OFTEN": "0 0 0 1 1 *"}
        self._queues = QueueServiceClient.from_connection_string(connection)
        self.queue = self._queues.get_queue_client(
            f"{self.prefix}-work", message_encode_policy=TextBase64EncodePolicy()
        )
        self.queue.create_queue()

    @contextmanager
    def start(
        self, *arguments: str, app: str = APP, env: Mapping[str, str] | None = None, **settings: str
    ) -> Iterator[Scene]:
        journal = self.folder / "journal.jsonl"
        folder = write_app(self.folder / "app", app, host_json=QUICK, values={**self.settings, **settings})
        with running_host(folder, *arguments, "--journal", str(journal), env=env) as host:
            yield Scene(host, journal, self.queue)

    def close(self) -> None:
        self.queue.delete_queue()
        self._queues.close()


@pytest.fixture
def scenes(azurite_connection: str, tmp_path: Path) -> Iterator[Scenes]:
    scenes = Scenes(azurite_connection, tmp_path)
    yield scenes
    scenes.close()


def test_nothing_runs_until_it_is_needed_and_nothing_after_it_has_had_nothing_to_do_for_a_while(scenes: Scenes) -> None:
    with scenes.start(*SHORT) as scene:
        assert scene.instances("http") == []

        pid = int(scene.get("who"))

        (instance,) = scene.instances("http")
        assert (instance["instance"], instance["pid"], instance["executing"]) == ("http-1", pid, [])
        eventually(lambda: scene.instances("http") == [])
        eventually(lambda: scene.journal("http")[-1]["event"] == "instance.stopped")

    asked, started, invocation, stopped = scene.journal("http")
    assert [line["event"] for line in (asked, started, invocation, stopped)] == [
        *("instance.asked", "instance.started", "invocation", "instance.stopped")
    ]
    assert {line["instance"] for line in (asked, started, invocation, stopped)} == {"http-1"}
    assert {line["pid"] for line in (asked, started, stopped)} == {pid}
    assert asked["at"] < started["at"] <= invocation["began"] <= invocation["ended"] < stopped["at"]
    assert (invocation["function"], invocation["ok"]) == ("who", True)
    assert stopped["at"] - invocation["ended"] >= 1


@pytest.mark.quick(cases=0)
def test_functions_of_different_groups_run_in_different_processes(scenes: Scenes) -> None:
    with scenes.start(*STAYS) as scene:
        scene.go_on("work-on")
        scene.queue.send_message("a")
        requests.post(f"{scene.host.url}/admin/functions/yearly", data="{}", timeout=PATIENCE_S)
        works = scene.host.has_printed(r"works in \d+").split()[-1]
        yearly = scene.host.has_printed(r"yearly in \d+").split()[-1]

        scene.go_on()
        assert scene.get("slow") == scene.get("who")
        assert len({scene.get("who"), works, yearly}) == 3


@pytest.mark.extended
def test_a_wake_up_takes_as_long_as_it_is_told_to(scenes: Scenes) -> None:
    with scenes.start("--flex", "--wake-up-seconds", "4") as scene:
        began = time.monotonic()
        scene.get("who")
        assert time.monotonic() - began >= 4
        began = time.monotonic()
        scene.get("who")
        assert time.monotonic() - began < 4


@pytest.mark.extended
def test_an_instance_that_is_always_ready_is_there_from_the_start_and_stays(scenes: Scenes) -> None:
    with scenes.start(*SHORT, "--always-ready", "http=1") as scene:
        eventually(lambda: scene.instances("http"))
        scene.get("pool")
        scene.queue.send_message("a")
        scene.go_on("work-on")
        eventually(lambda: scene.instances("work"))
        eventually(lambda: not scene.instances("work"))  # has come and gone meanwhile

        assert [instance["instance"] for instance in scene.instances("http")] == ["http-1"]


@pytest.mark.extended
def test_the_thread_pool_is_as_large_as_the_placeholders_environment_says(scenes: Scenes) -> None:
    # The pool is started before the environment is replaced (runtime.PlaceholderWorker); the app is loaded after.
    of_the_machine = {"OF_THE_MACHINE": "yes"}
    with scenes.start(*STAYS, env=of_the_machine, PYTHON_THREADPOOL_THREAD_COUNT="23") as scene:
        threads, at_import, machine = json.loads(scene.get("pool"))

    assert threads == min(32, (os.process_cpu_count() or 1) + 4)  # ThreadPoolExecutor's own default
    assert (at_import, machine) == ("23", "yes")


def test_an_app_that_starts_the_pool_itself_has_as_many_threads_as_its_settings_say(scenes: Scenes) -> None:
    app = f"{APP}\nsys.modules['azure_functions_runtime'].start_threadpool_executor()\n"
    with scenes.start(*STAYS, app=app, PYTHON_THREADPOOL_THREAD_COUNT="23") as scene:
        threads, _, _ = json.loads(scene.get("pool"))

    assert threads == 23


@pytest.mark.extended
def test_requests_beyond_the_fill_of_an_instance_get_more_instances_up_to_the_limit(scenes: Scenes) -> None:
    few = ("--http-concurrency", "1", "--max-instances", "2")
    with scenes.start(*STAYS, *few) as scene, ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(scene.get, "slow") for _ in range(3)]
        eventually(lambda: sum(len(each["executing"]) for each in scene.instances("http")) == 2)
        eventually(lambda: scene.group("http")["wanted"] == 3)
        assert len(scene.group("http")["instances"]) == 2

        scene.go_on()

        assert len({answer.result(PATIENCE_S) for answer in answers}) == 2  # the third has waited for one of them


@pytest.mark.quick(cases=0)
def test_messages_get_an_instance_for_each_batch(scenes: Scenes) -> None:
    with scenes.start(*STAYS, "--max-instances", "3") as scene:
        for _ in range(3):
            scene.queue.send_message("a")

        eventually(lambda: sum(len(each["executing"]) for each in scene.instances("work")) == 3)

        assert len({each["pid"] for each in scene.instances("work")}) == 3
        scene.go_on("work-on")
        eventually(lambda: scene.queue.get_queue_properties().approximate_message_count == 0)


def test_messages_that_are_all_delayed_ask_for_no_instance(scenes: Scenes) -> None:
    scenes.queue.send_message("later", visibility_timeout=600)
    with scenes.start(*STAYS) as scene:
        scene.get("who")  # meanwhile the queue has been looked at several times

        assert scene.journal("work") == []


def test_a_killed_instance_is_replaced_and_its_message_comes_back(scenes: Scenes) -> None:
    with scenes.start(*STAYS, "--lease-seconds", "1") as scene:
        scene.queue.send_message("a")
        scene.host.has_printed("works in .*, attempt 1")
        (killed,) = scene.instances("work")

        assert scene.kill(killed["instance"]) == 202

        scene.host.has_printed("The instance work-1 has ended by itself")
        scene.go_on("work-on")
        scene.host.has_printed(f"works in (?!{killed['pid']},).*, attempt [2-9]")
        eventually(lambda: scene.queue.get_queue_properties().approximate_message_count == 0)
        eventually(lambda: any(line.get("ok") for line in scene.journal("work")))
    lost = next(line for line in scene.journal("work") if line["event"] == "invocation")
    assert (lost["instance"], lost["ok"]) == ("work-1", False)


@pytest.mark.extended
def test_an_idle_instance_that_is_killed_is_replaced_too(scenes: Scenes) -> None:
    with scenes.start(*STAYS) as scene:
        pid = int(scene.get("who"))
        assert scene.kill("http-7") == 404

        scene.kill("http-1")

        eventually(lambda: [each["instance"] for each in scene.instances("http")] == ["http-2"])
        assert int(scene.get("who")) != pid


def test_a_request_whose_instance_is_killed_is_answered_with_502(scenes: Scenes) -> None:
    with scenes.start(*STAYS) as scene, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(requests.get, f"{scene.host.url}/api/slow", timeout=PATIENCE_S)
        scene.host.has_printed("go-on waits")

        scene.kill("http-1")

        assert answer.result(PATIENCE_S).status_code == 502


@pytest.mark.quick(cases=0)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to send to another process")
def test_an_instance_that_is_asked_to_end_finishes_what_it_does_while_another_takes_what_comes(scenes: Scenes) -> None:
    # The wake-up of the other gives the first one time to end too early.
    with scenes.start(*STAYS, "--wake-up-seconds", "4") as scene, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(scene.get, "slow")
        scene.host.has_printed("go-on waits")
        (asked,) = scene.instances("http")

        os.kill(asked["pid"], signal.SIGTERM)
        eventually(lambda: scene.instances("http") == [])

        assert int(scene.get("who")) != asked["pid"]
        scene.go_on()
        assert int(answer.result(PATIENCE_S)) == asked["pid"]
        eventually(lambda: any(line["event"] == "instance.stopped" for line in scene.journal("http")))
    assert all(line["ok"] for line in scene.journal("http") if line["event"] == "invocation")


@pytest.mark.quick(cases=0)
def test_a_timer_has_an_instance_for_its_tick_and_none_in_between(scenes: Scenes) -> None:
    lead = ("--timer-lead-seconds", "5")
    with scenes.start(*SHORT, *lead, OFTEN="*/15 * * * * *") as scene:
        scene.host.has_printed(r"often in \d+")
        eventually(lambda: scene.instances("often") == [])
        eventually(lambda: scene.journal("often")[-1]["event"] == "instance.stopped")

    (tick,) = [line["began"] for line in scene.journal("often") if line["event"] == "invocation"]
    # The last one: if the host came up just before a tick, it was asked too late for that.
    asked = [line["at"] for line in scene.journal("often") if line["event"] == "instance.asked"][-1]
    assert 0 < tick // 15 * 15 - asked <= 5


@pytest.mark.extended
def test_a_tick_that_was_missed_runs_late_once_an_instance_is_started(scenes: Scenes, azurite_connection: str) -> None:
    host_id = scenes.prefix
    missed = datetime.now(UTC) - timedelta(days=400)
    status = {"Last": missed, "Next": datetime(missed.year + 1, 1, 1, tzinfo=UTC), "LastUpdated": missed}
    with BlobServiceClient.from_connection_string(azurite_connection) as blobs:
        container = blobs.get_container_client("azure-webjobs-hosts")
        if not container.exists():
            container.create_container()
        container.upload_blob(
            f"timers/{host_id}/Host.Functions.yearly/status",
            json.dumps({name: at.isoformat() for name, at in status.items()}),
        )
    with scenes.start(*STAYS, "--always-ready", "yearly=1", AzureFunctionsWebHost__hostid=host_id) as scene:
        scene.host.has_printed(r"yearly in \d+, past due: True")


@pytest.mark.extended
def test_of_several_instances_of_a_timer_one_fires(scenes: Scenes) -> None:
    with scenes.start(*STAYS, "--always-ready", "often=2", OFTEN="* * * * * *") as scene:
        eventually(lambda: len(scene.instances("often")) == 2)
        eventually(lambda: sum(line["event"] == "invocation" for line in scene.journal("often")) >= 3)

    invocations = [line for line in scene.journal("often") if line["event"] == "invocation"]
    assert len({line["instance"] for line in invocations}) == 1


@pytest.mark.extended
def test_keys_are_asked_for_as_in_one_process(scenes: Scenes) -> None:
    with scenes.start(*STAYS, "--key", "default=k1", "--key", "_master=k2") as scene:
        url = scene.host.url

        def status(path: str, key: str) -> int:
            return requests.get(f"{url}{path}", headers={"x-functions-key": key}, timeout=PATIENCE_S).status_code

        assert [status("/api/who", key) for key in ("", "k1", "k2")] == [401, 200, 200]
        assert [status("/admin/host/instances", key) for key in ("k1", "k2")] == [401, 200]
        assert requests.post(f"{url}/admin/host/instances/http-1/kill", timeout=PATIENCE_S).status_code == 401
        # The host opens its own instances.
        admin = {"x-functions-key": "k2"}
        requests.post(f"{url}/admin/functions/yearly", data="{}", headers=admin, timeout=PATIENCE_S)
        scene.host.has_printed(r"yearly in \d+")


def test_a_group_that_is_not_there_cannot_be_always_ready(scenes: Scenes) -> None:
    folder = write_app(scenes.folder / "app", APP, host_json=QUICK, values=scenes.settings)
    with start_host(folder, "--flex", "--always-ready", "lost=1") as host:
        assert host.wait(timeout_s=PATIENCE_S) == 2
        assert "there is no group lost; there are: http, work, yearly, often" in host.output


def test_an_app_that_cannot_be_used_ends_the_host_with_the_reason(tmp_path: Path) -> None:
    with start_host(write_app(tmp_path, "import not_installed"), "--flex") as host:
        assert host.wait(timeout_s=PATIENCE_S) == 2
        assert "No module named 'not_installed'" in host.output


@pytest.mark.quick(cases=0)
@pytest.mark.skipif(sys.platform == "win32", reason="there a job ends them, which only our own processes have")
def test_instances_end_with_a_host_that_is_killed(scenes: Scenes) -> None:
    folder = write_app(scenes.folder / "app", APP, host_json=QUICK, values=scenes.settings)
    command = [sys.executable, "-m", "local_cloud.functions_host", "--app", str(folder), "--port", "0", *STAYS]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, encoding="utf-8") as host:
        assert host.stdout is not None
        url = next(line for line in host.stdout if line.startswith("host ready")).split()[-1]
        pid = int(requests.get(f"{url}/api/who", timeout=PATIENCE_S).text)

        host.kill()

        eventually(lambda: not is_there(pid))


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
