"""``python -m tests.live`` as a person runs it, against the local cloud in place of a tenant."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from local_cloud.cloud import FOLDERS, ROOT, LocalCloud
from local_cloud.faults import Fault, hang
from local_cloud.finance_operations.knobs import Speed
from tests.contract.receiver import Receiver
from tests.world import wait_for

GIVEN_UP_AFTER_S = 240

pytestmark = pytest.mark.timeout(GIVEN_UP_AFTER_S + 30)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    home = tmp_path_factory.mktemp("live")
    with (
        Receiver() as receiver,
        LocalCloud(
            home,
            with_host=False,
            # Long enough for a second import to find the first one under way.
            speed=Speed(seconds_per_execution=1.5),
            app_settings={"NOTIFICATION_URL": receiver.url().reveal()},
        ) as cloud,
    ):
        (home / "settings.json").write_text(json.dumps({"Values": cloud.settings}), encoding="utf-8")
        yield cloud


def command(cloud: LocalCloud, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "tests.live", "--settings", str(cloud.home / "settings.json"), *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "NO_PROXY": "*", "CI": "true"}


def run(cloud: LocalCloud, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(cloud, *arguments),
        cwd=ROOT,
        env=environment(),
        input=typed,
        capture_output=True,
        encoding="utf-8",
        timeout=GIVEN_UP_AFTER_S,
        check=False,
    )


def folders(cloud: LocalCloud) -> set[str]:
    """Return the folders in the drive's root that the app's own do not account for."""
    return {each.name for each in cloud.folder.iterdir()} - set(FOLDERS)


@pytest.mark.quick(cases=0)
def test_a_live_run_keeps_the_contract_tells_what_held_and_leaves_nothing_in_onedrive(cloud: LocalCloud) -> None:
    ended = run(cloud, "--yes", "--json", "--company", "USMF")

    assert ended.returncode == 0, ended.stderr
    result: dict[str, Any] = json.loads(ended.stdout)
    assert result["failed"] == []
    assert result["passed"] > 100
    held = {each["text"]: each for each in result["assumptions"] if each["result"] == "held"}
    assert "A move changes the eTag and keeps the id" in held
    assert "409 on a second subscription of a drive names the first one's id" in held
    assert "sv=2014-02-14" in held["The key to write is good for 15 minutes at least (sv, st and se are shown)"]["seen"]
    assert {each["result"] for each in result["assumptions"]} == {"held", "not checked"}
    assert all(each["seen"] for each in result["assumptions"] if each["result"] == "not checked")
    assert result["left_behind"] == []
    assert result["cleaned_up"] == [f"folder {result['run']} put into the recycle bin"]
    assert folders(cloud) == set()
    assert list(cloud.onedrive.subscriptions) == []
    for told in (result["run"], "company USMF", "Live-", "'Fixed asset major type'", "recycle bin"):
        assert told in ended.stderr.partition("....")[0]
    assert "sig=" not in (ended.stdout + ended.stderr).replace("sig=***", "")


def test_nothing_is_done_unless_the_hosts_name_is_typed(cloud: LocalCloud) -> None:
    cloud.faults.forget_calls()

    ended = run(cloud, "--only", "onedrive", typed="yes\n")

    assert ended.returncode == 2
    assert "Nothing was done." in ended.stderr
    assert cloud.faults.calls == []


@contextmanager
def ctrl_c_reaches_children() -> Iterator[None]:
    """Let children be interrupted also where the tests run in the background of a shell, which takes Ctrl-C away."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.quick(cases=0)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without asking it")
def test_a_run_that_is_broken_off_cleans_up(cloud: LocalCloud) -> None:
    # Its first file gets no answer: else the run might be over before it is broken off.
    cloud.faults.forget_calls()
    cloud.faults.add(Fault("graph", "PUT", "/content$", do=hang(GIVEN_UP_AFTER_S)))
    with (
        ctrl_c_reaches_children(),
        subprocess.Popen(
            command(cloud, "--only", "onedrive"),
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
        ) as process,
    ):
        assert process.stdin is not None
        process.stdin.write("127.0.0.1\n")
        process.stdin.flush()
        try:
            wait_for(
                lambda: any(call.method == "PUT" and call.status is None for call in cloud.faults.calls),
                timeout_s=GIVEN_UP_AFTER_S / 3,
            )
            assert folders(cloud)
            process.send_signal(signal.SIGINT)
            told, _ = process.communicate(timeout=GIVEN_UP_AFTER_S / 3)
        finally:
            process.kill()
            cloud.faults.clear()
            cloud.faults.let_go()

    assert process.returncode == 130
    assert "What was assumed" in told
    assert folders(cloud) == set()
