"""python dev.py witnesses: install the clients that are missing, let them run, and say what each of them exercised.

--install leaves it at the first.

A client that cannot be run is reported as such and counts as a failure, unless --allow-missing says otherwise.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import dev
from tests.arguments import witnesses as read_arguments
from tests.witnesses.clients import CLIENTS, INSTALLED, JAVASCRIPT, Client, Source
from tests.witnesses.report import FILE_VARIABLE, ONLY_VARIABLE

ENVIRONMENT: Final = dev.LOCAL / "witnesses"  # a virtual environment of their own
REQUIREMENTS: Final = dev.ROOT / "requirements-witnesses.txt"
NPM_FILES: Final = tuple(
    Path(__file__).with_name("javascript") / name for name in ("package.json", "package-lock.json", ".npmrc")
)
DEBIAN: Final = Path("/etc/debian_version")  # Ubuntu has it too
LINE: Final = 118


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What became of one client."""

    client: str
    judges: str
    version: str | None
    result: str = "not run"  # or "passed", "failed"
    reason: str = ""  # why it was not run
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    verbs: dict[str, list[str]] = field(default_factory=dict)  # what was called, with the statuses of the answers
    tests: list[dict[str, str]] = field(default_factory=list)


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    names = [client.name for client in CLIENTS]
    options = read_arguments(arguments, {}, names)
    chosen = [client for client in CLIENTS if client.name in (options.only or names)]
    notes: dict[str, str] = {}
    python = install_from_pypi(chosen, notes)
    install_apart(chosen, notes)
    install_from_debian(chosen, notes)
    install_from_npm(chosen, notes)
    if options.install:
        for name, reason in notes.items():
            complain(f"{name}: {reason}")
        return 1 if notes and not options.allow_missing else 0
    code, report = run(python, chosen)
    if code not in (0, 1):
        notes = dict.fromkeys(names, f"pytest ended with {code}, see above") | notes
    verdicts = [verdict_of(client, report, notes) for client in chosen]
    say(json.dumps({"witnesses": [asdict(each) for each in verdicts]}, indent=2) if options.json else told(verdicts))
    is_well = code == 0 and not any(each.result == "failed" for each in verdicts)
    is_whole = options.allow_missing or not any(each.result == "not run" for each in verdicts)
    return 0 if is_well and is_whole else 1


def install_from_pypi(chosen: Sequence[Client], notes: dict[str, str]) -> str:
    """Return the Python to run the tests with: .venv's, or one that has the clients as well.

    What could not be installed is noted, by client.
    """
    wanted = [client for client in chosen if client.source is Source.PYPI and client.version() is None]
    if not wanted:
        return sys.executable
    try:
        make_environment(ENVIRONMENT, "the witnesses", [*dev.REQUIREMENTS, REQUIREMENTS])
    except dev.SetupError as trouble:
        complain(str(trouble))
        notes.update(dict.fromkeys((client.name for client in wanted), "it could not be installed from PyPI"))
        return sys.executable
    return dev.script(ENVIRONMENT, "python")


def install_apart(chosen: Sequence[Client], notes: dict[str, str]) -> None:
    """Install the clients that need an environment of their own; what could not be installed is noted, by client."""
    for client in chosen:
        if client.source is not Source.PYPI_APART:
            continue
        try:
            make_environment(client.environment, client.name, client.files)
        except dev.SetupError as trouble:
            complain(str(trouble))
            notes[client.name] = "it could not be installed from PyPI"


def make_environment(folder: Path, whose: str, requirements: Sequence[Path]) -> None:
    """Make a virtual environment with what the last of the files asks for, unless it is there. Raises dev.SetupError.

    requirements: with the files that the last one takes in.
    """
    python = dev.script(folder, "python")

    def install() -> None:
        dev.run_step(f"making an environment for {whose}", [sys.executable, "-m", "venv", "--clear", str(folder)])
        pip = [python, "-m", "pip", "--disable-pip-version-check", "--no-input"]
        dev.run_step(f"installing {whose} from PyPI", [*pip, "install", "--no-compile", "-r", str(requirements[-1])])

    fingerprint = dev.fingerprint(requirements, dev.wanted_python())
    dev.once(folder / INSTALLED, fingerprint, install, again=not Path(python).is_file())


def install_from_debian(chosen: Sequence[Client], notes: dict[str, str]) -> None:
    """Install what is missing and can be; what cannot is noted, by client."""
    missing = [client for client in chosen if client.source is Source.DEBIAN and client.version() is None]
    if not missing:
        return
    apt, packages = shutil.which("apt-get"), [client.package for client in missing]
    if apt is None or not DEBIAN.is_file() or not is_root():
        notes.update(
            {client.name: f"install it, on Debian and Ubuntu: apt-get install {client.package}" for client in missing}
        )
        return
    quietly = {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        dev.run_step("asking Debian for its packages", [apt, "update"], more=quietly)
        dev.run_step(
            f"installing {' and '.join(packages)} from Debian", [apt, "install", "-y", *packages], more=quietly
        )
    except dev.SetupError as trouble:
        complain(str(trouble))
        notes.update(dict.fromkeys((client.name for client in missing), "it could not be installed from Debian"))


def install_from_npm(chosen: Sequence[Client], notes: dict[str, str]) -> None:
    """Install what the lock file says, into a folder of its own; what could not be installed is noted, by client."""
    wanted = [client for client in chosen if client.source is Source.NPM]
    if not wanted:
        return

    def install() -> None:
        JAVASCRIPT.mkdir(parents=True, exist_ok=True)
        for file in NPM_FILES:
            shutil.copy2(file, JAVASCRIPT)
        dev.run_step("installing the witnesses from npm", dev.npm_ci_command(), cwd=JAVASCRIPT)

    try:
        is_gone = any(client.version() is None for client in wanted)
        dev.once(JAVASCRIPT / "installed.sha256", dev.fingerprint(NPM_FILES), install, again=is_gone)
    except dev.SetupError as trouble:
        complain(str(trouble))
        notes.update(dict.fromkeys((client.name for client in wanted), "it could not be installed from npm"))


def is_root() -> bool:
    return sys.platform != "win32" and os.geteuid() == 0


def run(python: str, chosen: Sequence[Client]) -> tuple[int, dict[str, Any]]:
    """Let the clients run; returns pytest's exit code and what report.py has written. pytest speaks on stderr."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "report.json")
        environment = {
            **dev.child_environment(),
            FILE_VARIABLE: str(file),
            ONLY_VARIABLE: " ".join(client.name for client in chosen),
        }
        command = [python, "-m", "pytest", "-q", "-p", "tests.witnesses.report", *marked_files()]
        sys.stdout.flush()
        code = subprocess.run(
            command, cwd=dev.ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False
        ).returncode
        report = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {"versions": {}, "tests": []}
    # 5: no test was found, which is so when the one client that was chosen is not there.
    return 0 if code == 5 else code, report


def marked_files() -> list[str]:
    """Return the test files that have witnesses in them: collecting all the others takes longer than to look."""
    files = sorted((dev.ROOT / "tests").rglob("test_*.py"))
    return [str(file) for file in files if "mark.witness(" in file.read_text(encoding="utf-8")]


def verdict_of(client: Client, report: dict[str, Any], notes: dict[str, str]) -> Verdict:
    """Return what the report says of a client."""
    verdict = Verdict(client=client.name, judges=client.judges, version=report["versions"].get(client.name))
    tests = [test for test in report["tests"] if test["client"] == client.name]
    outcomes = [test["outcome"] for test in tests]
    verdict.passed, verdict.failed, verdict.skipped = (outcomes.count(each) for each in ("passed", "failed", "skipped"))
    verdict.tests = [{"name": test["name"], "outcome": test["outcome"]} for test in tests]
    for test in tests:
        for verb, statuses in test["verbs"].items():
            verdict.verbs[verb] = sorted({*verdict.verbs.get(verb, []), *statuses})
    if verdict.failed:
        verdict.result = "failed"
    elif verdict.passed:
        verdict.result = "passed"
    else:
        reasons = [notes.get(client.name, ""), *(test["reason"] for test in tests), client.missing()]
        verdict.reason = next(filter(None, reasons))
    return verdict


def told(verdicts: Sequence[Verdict]) -> str:
    """Return the report for people."""
    lines: list[str] = []
    for each in verdicts:
        counts = ", ".join(
            f"{count} {name}"
            for name, count in (("passed", each.passed), ("failed", each.failed), ("skipped", each.skipped))
            if count
        )
        lines += ["", f"{each.client} {each.version or ''}".strip() + f", judges {each.judges}: "]
        lines[-1] += f"not run: {each.reason}" if each.result == "not run" else counts
        lines += wrapped([f"{verb} ({' '.join(statuses)})" for verb, statuses in sorted(each.verbs.items())])
        lines += [f"  FAILED {test['name']}" for test in each.tests if test["outcome"] == "failed"]
    return "\n".join(lines[1:])


def wrapped(verbs: Sequence[str]) -> list[str]:
    """Return them with commas between, in lines that fit."""
    lines = [" "]
    for verb in verbs:
        if len(lines[-1]) + len(verb) > LINE:
            lines.append(" ")
        lines[-1] += f" {verb},"
    return [line.rstrip(",") if number == len(lines) else line for number, line in enumerate(lines, 1) if line.strip()]


def say(text: str) -> None:
    sys.stdout.write(text + "\n")


def complain(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    dev.speak_utf8()
    sys.exit(main(sys.argv[1:]))
