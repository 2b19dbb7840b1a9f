"""``python -m local_cloud demo`` as a person runs it: what it says, its exit code, and that nothing stays behind."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local_cloud.cloud import ROOT
from tests.end_to_end.stage import processes_with
from tests.packages import build_package
from tests.world import wait_for

GIVEN_UP_AFTER_S = 240

pytestmark = pytest.mark.timeout(GIVEN_UP_AFTER_S + 30)


@dataclass(frozen=True, slots=True)
class Ended:
    """A run of the demo that is over."""

    exit_code: int
    events: list[dict[str, Any]]
    errors: str
    marker: str  # stood in the environment of the demo and so in that of everything it started

    @property
    def summary(self) -> dict[str, Any]:
        return self.events[-1]

    def states(self, file: str) -> list[str]:
        """Return the states of a file, in the order they were told."""
        return [event["state"] for event in self.events if event["event"] == "state" and event["file"] == file]


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Ended]]:
    """The demo with its own packages, and with one whose rows all fail; they run side by side, as they may."""
    failing = tmp_path_factory.mktemp("own") / "USMF_Failing_001.zip"
    failing.write_bytes(build_package(entity="Failing", rows=(("A", "#ERROR in this row"), ("B", "#ERROR here too"))))
    started = {"default": _start(), "failing": _start("--package", str(failing))}
    try:
        yield {name: _ended(*demo) for name, demo in started.items()}
    finally:
        for process, _ in started.values():
            process.kill()


def _start(*arguments: str) -> tuple[subprocess.Popen[str], str]:
    marker = f"demo-{uuid.uuid4().hex}"
    process = subprocess.Popen(
        [sys.executable, "-m", "local_cloud", "demo", "--json", *arguments],
        cwd=ROOT,
        env={**os.environ, "STARTED_BY": marker},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    return process, marker


def _ended(process: subprocess.Popen[str], marker: str) -> Ended:
    said, errors = process.communicate(timeout=GIVEN_UP_AFTER_S)
    return Ended(process.returncode, [json.loads(line) for line in said.splitlines()], errors, marker)


def test_the_demo_exits_0_with_a_summary_that_all_is_well_as_its_last_line(demos: Mapping[str, Ended]) -> None:
    demo = demos["default"]

    assert (demo.exit_code, demo.errors) == (0, "")
    assert demo.summary["event"] == "summary"
    assert demo.summary["ok"] is True
    ended = {package["file"]: (package["where"], package["outcome"]) for package in demo.summary["packages"]}
    assert ended == {
        "USMF_MajorTypes_001.zip": ("/Success", "Succeeded"),
        "USMF_MajorTypes_002.zip": ("/Error", "PartiallySucceeded"),
        "USMF_Holiday_003.zip": ("/Error", "Rejected"),
    }
    assert demo.summary["imports_in_fo"] == 2
    export = demo.summary["export"]
    assert export["rows_in_export"] == export["rows_in_fo"] > 0


def test_the_demo_tells_each_files_states_in_the_order_of_its_way(demos: Mapping[str, Ended]) -> None:
    demo = demos["default"]
    import_way = ["found", "claimed", "uploaded", "submitting", "executing", "finished", "filed"]
    export_way = ["planned", "submitting", "executing", "ready", "delivered"]

    for file in ("USMF_MajorTypes_001.zip", "USMF_MajorTypes_002.zip", "USMF_Holiday_003.zip"):
        _assert_in_order(demo.states(file), import_way)
        assert demo.states(file)[-1] == "filed"
    _assert_in_order(demo.states(demo.summary["export"]["file"]), export_way)
    assert demo.states(demo.summary["export"]["file"])[-1] == "delivered"


def _assert_in_order(told: list[str], way: list[str]) -> None:
    """Fail where states are told twice or against their order; states between two looks may stay untold."""
    places = [way.index(state) for state in told]
    assert places == sorted(set(places)), told


def test_a_package_whose_rows_fail_makes_the_demo_exit_1_with_the_reason(demos: Mapping[str, Ended]) -> None:
    demo = demos["failing"]

    assert demo.exit_code == 1
    assert demo.summary["ok"] is False
    (package,) = demo.summary["packages"]
    assert (package["file"], package["where"], package["outcome"]) == ("USMF_Failing_001.zip", "/Error", "Failed")
    assert "#ERROR in this row" in package["reason"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows the environment of other processes")
@pytest.mark.parametrize("demo", ["default", "failing"])
def test_no_process_is_left_behind_by_the_demo(demos: Mapping[str, Ended], demo: str) -> None:
    wait_for(lambda: processes_with(demos[demo].marker) == [])


def test_a_package_that_is_not_there_is_told_before_anything_starts(tmp_path: Path) -> None:
    process, _ = _start("--package", str(tmp_path / "missing.zip"))

    said, errors = process.communicate(timeout=GIVEN_UP_AFTER_S)

    assert (process.returncode, said) == (2, "")
    assert "missing.zip" in errors
