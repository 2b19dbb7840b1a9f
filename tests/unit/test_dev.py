"""The developer's command: what it decides, without the network and without installing anything."""

import ast
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import dev
from dev import ROOT
from local_cloud.processes import ChildProcess
from tests import arguments
from tests.benchmarks.__main__ import BENCHMARKS
from tests.exploration.scenarios import SCENARIOS
from tests.witnesses.clients import CLIENTS

THIS_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def a_program(path: Path) -> Path:
    path.parent.mkdir(parents=True)
    path.touch()
    return path


AN_APP = "https://contoso.azurewebsites.net"
PASSES = python("print('fine')")
FAILS = python("print('line 3 is wrong'); raise SystemExit(4)")


def test_it_can_be_read_by_python_3_8() -> None:
    modules = [ROOT / f"{name.replace('.', '/')}.py" for name in ("dev", *sorted(set(dev.READ_BY.values())))]

    for module in modules:
        tree = ast.parse(module.read_text(encoding="utf-8"), feature_version=(3, 8))
        imported = {name for node in ast.walk(tree) for name in _imported(node)}
        assert imported <= sys.stdlib_module_names | {"__future__"}


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    return [str(node.module).partition(".")[0]] if isinstance(node, ast.ImportFrom) else []


def test_what_can_be_chosen_is_what_there_is() -> None:
    assert set(arguments.BENCHMARKS) == set(BENCHMARKS)
    assert set(arguments.SCENARIOS) == {scenario.name for scenario in SCENARIOS}
    assert set(arguments.WITNESSES) == {client.name for client in CLIENTS}


def test_a_python_of_another_version_or_without_a_module_that_is_needed_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert dev.probe([sys.executable], modules="no_such_module") is None
    monkeypatch.setattr(dev, "wanted_python", lambda: "3.99")

    assert dev.probe([sys.executable]) is None


def test_the_first_python_that_runs_is_taken(tmp_path: Path) -> None:
    candidates = [[str(tmp_path / "gone")], python("raise SystemExit(1)"), [sys.executable]]

    found = dev.first_usable(candidates)

    assert found is not None
    assert Path(found).samefile(sys.executable)


@pytest.mark.skipif(sys.platform == "win32", reason="folders are laid out differently there")
@pytest.mark.parametrize(
    ("place", "setting"),
    [
        ("path/python3.13", ""),
        ("home/.pyenv/versions/3.13.5/bin/python3.13", ""),
        ("home/.local/share/uv/python/cpython-3.13.5-linux-x86_64-gnu/bin/python3.13", ""),
        ("mine/versions/3.13.5/bin/python3.13", "PYENV_ROOT"),
        ("mine/cpython-3.13.5-macos-aarch64-none/bin/python3.13", "UV_PYTHON_INSTALL_DIR"),
    ],
)
def test_python_is_looked_for_where_the_usual_tools_put_it(tmp_path: Path, place: str, setting: str) -> None:
    program = a_program(tmp_path / place)
    program.chmod(0o755)
    environment = {"PATH": str(tmp_path / "path"), **({setting: str(tmp_path / "mine")} if setting else {})}

    candidates = dev.candidate_pythons("3.13", environment, tmp_path / "home")

    assert [str(program)] in list(candidates)


def test_a_python_that_cannot_be_brought_leaves_a_word_on_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(what: str, command: list[str], *, more: Mapping[str, str] | None = None) -> None:
        if "uv" in what.split():
            raise dev.SetupError("no route to host")

    monkeypatch.setattr(dev, "run_step", no_network)

    with pytest.raises(dev.SetupError, match=rf"(?s)no route to host.*Please install Python {THIS_VERSION}"):
        dev.bring_python()


@pytest.mark.parametrize(
    ("version", "good"), [("v20.20.2\n", True), ("v24.1.0", True), ("v18.19.1", False), ("not a version", False)]
)
def test_only_a_node_that_azurite_runs_on_is_used(version: str, good: bool) -> None:
    assert dev.is_new_enough(version) is good


def test_requirements_are_installed_again_only_when_they_have_changed(tmp_path: Path) -> None:
    requirements, marker, installations = tmp_path / "requirements.txt", tmp_path / "marker", []

    for content in ("requests==2.34.2", "requests==2.34.2", "requests==2.35.0"):
        requirements.write_text(content)
        dev.once(marker, dev.fingerprint([requirements]), lambda: installations.append(1))

    assert len(installations) == 2


def test_another_python_version_is_another_installation(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("requests==2.34.2")

    assert dev.fingerprint([requirements], "3.13") != dev.fingerprint([requirements], "3.14")


def test_an_installation_that_failed_is_done_again(tmp_path: Path) -> None:
    marker, attempts = tmp_path / "marker", []

    def fail() -> None:
        attempts.append(1)
        raise dev.SetupError("no network")

    marker.write_text("of an older installation")
    for _ in range(2):
        with pytest.raises(dev.SetupError):
            dev.once(marker, "wanted", fail)

    assert len(attempts) == 2
    assert not marker.exists()


def test_a_step_that_fails_shows_all_that_it_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(dev.SetupError, match="line 3 is wrong"):
        dev.run_step("installing", FAILS)

    assert "FAILED" in capsys.readouterr().err


def test_a_step_that_works_shows_one_line_and_leaves_stdout_alone(capsys: pytest.CaptureFixture[str]) -> None:
    dev.run_step("installing", PASSES)

    printed = capsys.readouterr()
    assert printed.out == ""
    assert [line.split()[:2] for line in printed.err.splitlines()] == [["installing", "done"]]


@pytest.mark.parametrize("keep_going", [False, True])
def test_the_first_stage_that_fails_shows_why_and_ends_the_check_unless_it_is_to_keep_going(
    capfd: pytest.CaptureFixture[str], *, keep_going: bool
) -> None:
    stages = {"lint": FAILS, "tests": python("print('ran')")}
    assert dev.run_stages(stages, keep_going=keep_going, last_is_shown=True) == 4
    printed = capfd.readouterr().out
    assert "line 3 is wrong" in printed
    assert printed.rstrip().endswith("check failed: lint")
    assert ("ran" in printed) is keep_going


@pytest.mark.skipif(sys.platform == "win32", reason="no signals there")
def test_a_stage_that_a_signal_ended_has_failed() -> None:
    code = python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")

    assert dev.run_stages({"lint": code}, keep_going=False, last_is_shown=False) == 128 + 9


@pytest.mark.parametrize(
    ("arguments", "side_by_side"),
    [
        ([], True),
        (["-k", "words", "--cov"], True),
        (["tests/unit/test_dev.py::test_x"], False),
        (["-x", "tests"], True),
    ],
)
def test_tests_run_side_by_side_unless_a_file_is_named(arguments: list[str], side_by_side: bool) -> None:
    assert ("-n" in dev.pytest_command(arguments)) is side_by_side


@pytest.mark.parametrize(
    ("arguments", "run"), [([], ["--quick"]), (["-x", "--quick"], ["-x", "--quick"]), (["tests"], ["tests"])]
)
def test_without_arguments_the_tests_are_the_quick_run(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], run: list[str]
) -> None:
    handed_over: list[str] = []
    monkeypatch.setattr(dev, "prepare", lambda azurite: None)
    monkeypatch.setattr(dev, "hand_over", handed_over.extend)

    dev.main(["test", *arguments])

    assert handed_over == [*dev.pytest_command(arguments), *run]


def test_tests_are_the_last_stage_of_the_check() -> None:
    assert list(dev.stages(fix=False))[-1] == "tests"


def test_a_stage_that_does_not_exist_is_refused_before_anything_is_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dev, "prepare", lambda azurite: pytest.fail("prepared"))

    with pytest.raises(SystemExit):
        dev.main(["check", "spelling"])

    assert "there is no stage spelling" in capsys.readouterr().err


@pytest.mark.parametrize("stage", ["format", "tests"])
def test_only_the_chosen_stages_run(monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    ran: list[str] = []
    monkeypatch.setattr(dev, "prepare", lambda azurite: None)

    def run_stages(chosen: Mapping[str, list[str]], *, keep_going: bool, last_is_shown: bool) -> int:
        ran.extend(chosen)
        return 0

    monkeypatch.setattr(dev, "run_stages", run_stages)

    assert dev.main(["check", stage]) == 0
    assert ran == [stage]


@pytest.mark.parametrize("name", dev.COMMANDS)
def test_the_help_names_every_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert dev.main(["--help"]) == 0

    assert f"\n  {name} " in capsys.readouterr().out


def test_an_unknown_command_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert dev.main(["dmeo"]) == 2

    assert "there is no command dmeo" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("demo", ["--json"]),
        ("up", ["--free-ports", "--export", "Asset Groups:USMF"]),
        ("test", ["--json", "-k", "a b"]),
        ("faults", ["--only", "import.*killed"]),
        ("witnesses", ["--allow-missing", "--only", "msal"]),
        ("runs", ["list", "--url", AN_APP, "--text", "a b"]),
        ("doctor", ["--json"]),
        ("sign-in", []),
    ],
)
def test_arguments_are_passed_on_as_they_are(
    monkeypatch: pytest.MonkeyPatch, command: str, arguments: list[str]
) -> None:
    handed_over: list[str] = []

    def hand_over(line: list[str]) -> int:
        handed_over.extend(line)
        return 3

    monkeypatch.setattr(dev, "prepare", lambda azurite: None)
    monkeypatch.setattr(dev, "hand_over", hand_over)

    assert dev.main([command, *arguments]) == 3
    assert handed_over[len(handed_over) - len(arguments) :] == arguments


@pytest.mark.parametrize("command", dev.COMMANDS)
def test_the_help_of_a_command_prepares_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.setattr(dev, "prepare", lambda azurite: pytest.fail("prepared"))

    with pytest.raises(SystemExit, match=r"^0$"):
        dev.main([command, "--help"])

    assert f"usage: dev.py {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["demo", "--package", "no such file.zip"], "there is no file no such file.zip"),
        (["up", "--export", "Customers"], "must be PROJECT:COMPANY"),
        (["up", "--seconds", "-1"], "not a number of seconds"),
        (["up", "--prot", "1"], "unrecognized arguments"),
        (["up", "--idle-seconds", "5"], "--idle-seconds: only with --flex"),
        (["up", "--always-ready", "http=1"], "--always-ready: only with --flex"),
        (["up", "--flex", "--always-ready", "http"], "must be GROUP=N"),
        (["up", "--flex", "--no-host"], "cannot be used together"),
        (["runs"], "COMMAND"),
        (["runs", "list", "--url", AN_APP, "--day", ""], "--day: empty"),
        (["runs", "list", "--url", ""], "which app?"),
        (["runs", "run-again", "--url", AN_APP], "name one run, or use --all"),
        (["runs", "run-again", "0123456789ab", "--day", "2020-12-31", "--url", AN_APP], "filters need --all"),
        (["doctor", "--settings", "no such file"], "there is no file no such file"),
        (["doctor", "--key-file", "no such file", "--url", "https://x"], "there is no file no such file"),
        (["sign-in", "--settings", "no such file"], "there is no file no such file"),
        (["faults", "--only", "("], "not a regular expression"),
        (["faults", "--every", "0"], "must be 1 or more"),
        (["explore", "--only", "nonsense"], "there is no scenario nonsense; there are: two-files, "),
        (["bench", "--only", "nonsense"], "invalid choice: 'nonsense'"),
        (["soak", "--packages", "many"], "invalid"),
        (["fuzz", "--examples", "0"], "must be 1 or more"),
        (["witnesses", "--only", "nonsense"], "invalid choice: 'nonsense'"),
        (["live"], "--settings"),
    ],
)
def test_arguments_that_cannot_be_read_are_refused_before_anything_is_prepared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    monkeypatch.setattr(dev, "prepare", lambda azurite: pytest.fail("prepared"))

    with pytest.raises(SystemExit, match=r"^2$"):
        dev.main(arguments)

    assert told in capsys.readouterr().err


def test_trouble_is_told_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_network(azurite: bool) -> None:
        raise dev.SetupError("no network; try again later")

    monkeypatch.setattr(dev, "prepare", no_network)

    assert dev.main(["test"]) == 1
    assert capsys.readouterr().err.strip() == "dev.py: no network; try again later"


def test_only_one_prepares_at_a_time_and_the_other_says_that_it_waits(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    code = f"import dev, pathlib\nwith dev.only_one_at_a_time(pathlib.Path({str(lock)!r})): print('mine')"

    with dev.only_one_at_a_time(lock):
        other = ChildProcess([sys.executable, "-u", "-c", code], name="other", cwd=dev.ROOT)
        other.wait_for_line(dev.WAITING, timeout_s=30)

    other.wait(timeout_s=30)
    other.stop()
    assert other.output.splitlines() == [dev.WAITING, "mine"]
