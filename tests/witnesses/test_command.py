"""What python dev.py witnesses makes of a run, without running anything."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import dev
from local_cloud.faults import Call
from tests.witnesses import __main__ as command
from tests.witnesses.clients import AZURE_CLI, GRAPH_CLIENT_JS, RCLONE, Client
from tests.witnesses.report import verb_of

# What is installed on this machine must not matter: one is there wherever the tests are, the other nowhere.
PRESENT = replace(RCLONE, version_command=(sys.executable, "--version"))
ABSENT = replace(RCLONE, name="absent", version_command=("a-program-that-nobody-has",))
DRIVE = "/v1.0/drives/b!1"
ROOT = "root"  # what Graph calls a drive's top folder, also in the place of an item's id


def a_test(outcome: str = "passed", verbs: dict[str, list[str]] | None = None, *, reason: str = "") -> dict[str, Any]:
    return {"client": "rclone", "name": "test_x", "outcome": outcome, "reason": reason, "verbs": verbs or {}}


def run_ends(
    monkeypatch: pytest.MonkeyPatch,
    tests: Sequence[dict[str, Any]],
    *,
    code: int = 0,
    clients: Sequence[Client] = (PRESENT,),
) -> None:
    """Let pytest's run be over before it began, and install nothing."""
    monkeypatch.setattr(command, "CLIENTS", clients)
    monkeypatch.setattr(command, "install_from_pypi", lambda _chosen, _notes: "python")
    monkeypatch.setattr(command, "is_root", lambda: False)
    monkeypatch.setattr(
        command, "run", lambda _python, _chosen: (code, {"versions": {"rclone": "1.2"}, "tests": tests})
    )


def test_clients_that_pass_are_told_with_what_they_called(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tests = [a_test(verbs={"PATCH item": ["200"]}), a_test(verbs={"PATCH item": ["412"], "GET item": ["200"]})]
    run_ends(monkeypatch, tests)

    assert command.main(["--only", "rclone"]) == 0
    assert capsys.readouterr().out == (
        "rclone 1.2, judges OneDrive: 2 passed\n  GET item (200), PATCH item (200 412)\n"
    )


def test_a_client_that_fails_is_a_failure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run_ends(monkeypatch, [a_test(), a_test("failed")], code=1)

    assert command.main(["--allow-missing"]) == 1
    told = capsys.readouterr().out
    assert "1 passed, 1 failed" in told
    assert "FAILED test_x" in told


@pytest.mark.parametrize(("arguments", "code"), [([], 1), (["--allow-missing"], 0)])
def test_a_client_that_is_not_there_is_told_and_a_failure_unless_allowed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int
) -> None:
    run_ends(monkeypatch, [], clients=[ABSENT])

    assert command.main(arguments) == code
    assert "absent, judges OneDrive: not run: install it, on Debian and Ubuntu: apt-get install rclone" in (
        capsys.readouterr().out
    )


def test_a_client_that_npm_cannot_install_is_told_as_such(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "JAVASCRIPT", tmp_path / "javascript")
    monkeypatch.setattr(dev, "npm_ci_command", lambda: [sys.executable, "-c", "raise SystemExit('no such package')"])
    notes: dict[str, str] = {}

    command.install_from_npm([replace(GRAPH_CLIENT_JS, package="absent")], notes)

    assert notes == {"graph-client-js": "it could not be installed from npm"}
    assert "no such package" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "javascript").iterdir()) == [
        ".npmrc",
        "package-lock.json",
        "package.json",
    ]


@pytest.mark.quick(cases=0)
def test_a_client_whose_own_environment_cannot_be_made_is_told_as_such(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dev, "LOCAL", tmp_path)
    monkeypatch.setattr(dev, "ROOT", tmp_path)
    (tmp_path / ".python-version").write_text("3.13", encoding="ascii")
    (tmp_path / "wanted.txt").write_text("./no-such-package", encoding="utf-8")
    client = replace(AZURE_CLI, name="absent", requirements="wanted.txt")
    notes: dict[str, str] = {}

    command.install_apart([client], notes)

    assert notes == {"absent": "it could not be installed from PyPI"}
    assert "no-such-package" in capsys.readouterr().err
    assert client.version() is None


@pytest.mark.quick(cases=0)
def test_a_client_counts_as_installed_while_its_own_environment_holds_what_is_asked_for_now(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(dev, "LOCAL", tmp_path)
    monkeypatch.setattr(dev, "ROOT", tmp_path)
    (tmp_path / ".python-version").write_text("3.13", encoding="ascii")
    wanted = tmp_path / "wanted.txt"
    wanted.write_text("pip", encoding="utf-8")
    client = replace(AZURE_CLI, package="pip", requirements=wanted.name)

    command.install_apart([client], {})
    installed = client.version()
    wanted.write_text("pip # and more", encoding="utf-8")

    assert installed is not None
    assert client.version() is None


def test_a_client_whose_tests_were_all_skipped_was_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    report = {"versions": {"rclone": "1.2"}, "tests": [a_test("skipped", reason="no CA")]}

    verdict = command.verdict_of(PRESENT, report, {})

    assert (verdict.result, verdict.reason, verdict.version) == ("not run", "no CA", "1.2")


def test_a_run_that_broke_off_is_a_failure_even_when_clients_may_be_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_ends(monkeypatch, [], code=2)

    assert command.main(["--allow-missing"]) == 1
    assert "not run: pytest ended with 2" in capsys.readouterr().out


def test_the_report_is_json_where_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_ends(monkeypatch, [a_test(verbs={"GET item": ["200"]})])

    assert command.main(["--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["witnesses"]
    assert (told["client"], told["result"], told["verbs"]) == ("rclone", "passed", {"GET item": ["200"]})


@pytest.mark.parametrize(
    ("service", "path", "verb"),
    [
        ("graph", DRIVE, "GET drive"),
        ("graph", "/v1.0//users/a@b.example/drive/", "GET drive"),
        ("graph", f"{DRIVE}/root", "GET item"),
        ("graph", f"{DRIVE}/items/01A:/b.zip:", "GET item by path"),
        ("graph", f"{DRIVE}/items/01A:/b.zip:/content", "GET content by path"),
        ("graph", f"{DRIVE}/items/{ROOT}/delta(token='latest')", "GET delta"),
        ("graph", "/v1.0/subscriptions/1/reauthorize", "GET subscriptions reauthorize"),
        ("graph", "/v1.0/users/a@b.example/sendMail", "GET sendMail"),
        ("graph-content", "/_api/v2.0/monitor/1", "GET monitor"),
        ("graph-content", "/personal/local/_layouts/15/download.aspx", "GET download"),
        ("finance_operations", "/data/Groups/Microsoft.Dynamics.DataEntities.GetAzureWriteUrl", "GET GetAzureWriteUrl"),
        ("finance_operations", "/data/LegalEntities('USMF')", "GET LegalEntities"),
        ("entra", "/common/oauth2/v2.0/token", "GET token"),
    ],
)
def test_a_call_is_told_without_ids(service: str, path: str, verb: str) -> None:
    call = Call(service=service, method="GET", path=path, query_keys=(), status=200, at=datetime.now(UTC))

    assert verb_of(call) == verb


def test_clients_are_only_installed_if_asked_and_one_that_cannot_be_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_ends(monkeypatch, [a_test("failed")], code=1, clients=[PRESENT, ABSENT])

    assert command.main(["--install", "--only", "rclone"]) == 0
    assert command.main(["--install"]) == 1
    assert "absent: install it" in capsys.readouterr().err
