"""The live run never begins by accident, and its list of assumptions is whole."""

import ast
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from shared.errors import NeedsPerson
from tests.architecture.product import product_files
from tests.builders import SETTINGS
from tests.live import assumptions
from tests.live.assumptions import HELD, NOT_CHECKED, NOT_HELD, Assumption, decisions_for, judged, passages
from tests.live.run import LiveRun

ROOT = Path(__file__).resolve().parents[2]


def a_run(tmp_path: Path, **settings: str) -> LiveRun:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"Values": SETTINGS | settings}), encoding="utf-8")
    return LiveRun.of("onedrive-fo-live-20261123142000", file)


def pytest_run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=100, check=False)


# By accident


def test_the_usual_test_run_collects_no_live_test() -> None:
    collected = pytest_run("--collect-only", "tests/live")

    assert collected.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, collected.stdout


def test_a_live_test_that_is_named_by_itself_is_skipped() -> None:
    run = pytest_run("tests/live/test_subscriptions.py")

    assert run.returncode == 0
    assert "passed" not in run.stdout.splitlines()[-1]
    assert "python dev.py live" in run.stdout


def test_continuous_integration_writes_to_nobodys_services(tmp_path: Path) -> None:
    with pytest.raises(NeedsPerson, match=r"contoso\.operations\.dynamics\.com"):
        a_run(tmp_path).require_not_by_accident({"CI": "true"})

    a_run(tmp_path).require_not_by_accident({})


def test_continuous_integration_may_write_to_this_machine(tmp_path: Path) -> None:
    run = a_run(tmp_path, FO_URL="http://127.0.0.1:8082", GRAPH_URL="http://127.0.0.1:8081")

    run.require_not_by_accident({"CI": "true"})


def test_only_the_settings_file_says_what_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FO_URL", "https://production.operations.dynamics.com")

    assert a_run(tmp_path).environment_host == "contoso.operations.dynamics.com"


# Assumptions


def test_every_passage_that_assumes_something_is_found() -> None:
    in_text = sum((ROOT / path).read_text("utf-8").split().count("Assumed:") for path in product_files())

    assert in_text > 5
    assert len(passages()) >= in_text
    assert all(each.text and each.line for each in passages())


def test_every_passage_that_assumes_something_says_how_it_is_decided() -> None:
    undecided = [f"{each.path}:{each.line}" for each in passages() if len(decisions_for(each)) != 1]

    assert undecided == [], "add it to DECISIONS"


def test_every_decision_still_has_its_passage() -> None:
    decided = [decision for passage in passages() for decision in decisions_for(passage)]

    assert [each for each in assumptions.DECISIONS if each not in decided] == []


def test_every_assumption_has_a_check_that_exists_or_a_reason() -> None:
    files = [*(ROOT / "tests" / "live").glob("test_*.py"), *(ROOT / "tests" / "contract").glob("*_contract.py")]
    trees = [ast.parse(file.read_text("utf-8")) for file in files]
    tests = {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}

    listed = assumptions.assumptions()

    assert [each for each in listed if bool(each.check) == bool(each.why_not)] == []
    assert [each.check for each in listed if each.check and each.check not in tests] == []


def a_test(outcome: str, *, seen: str = "", reason: str = "") -> Mapping[str, object]:
    return {"name": "test_it", "outcome": outcome, "reason": reason, "seen": [seen] if seen else []}


@pytest.mark.parametrize(
    ("tests", "result", "seen"),
    [
        ([a_test("passed", seen="refused at once")], HELD, "refused at once"),
        ([a_test("failed", reason="assert 1 == 2")], NOT_HELD, "assert 1 == 2"),
        ([a_test("failed", seen="it was taken", reason="assert 1 == 2")], NOT_HELD, "it was taken"),
        ([a_test("passed"), a_test("failed", reason="no")], NOT_HELD, "no"),
        ([a_test("skipped", reason="NOTIFICATION_URL is not set")], NOT_CHECKED, "NOTIFICATION_URL is not set"),
        ([], NOT_CHECKED, "its suite did not run"),
    ],
)
def test_what_was_assumed_is_judged_by_its_test(tests: list[Mapping[str, object]], result: str, seen: str) -> None:
    (verdict,) = judged([Assumption(where="Graph", text="It is so", check="test_it")], tests)

    assert (verdict.result, verdict.seen) == (result, seen)
