"""python dev.py live: let the contract suites run against real services, clean up, and say which assumptions held."""

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

import dev
from shared.errors import AppError
from shared.secret import redacted
from tests.arguments import SUITES
from tests.arguments import live as read_arguments
from tests.live.assumptions import HELD, NOT_CHECKED, NOT_HELD, Verdict, assumptions, judged
from tests.live.run import (
    COMPANY_VARIABLE,
    PREFIX,
    REPORT_VARIABLE,
    RUN_VARIABLE,
    SETTINGS_VARIABLE,
    LiveRun,
)

# What the contract writes with: tests/contract/finance_operations_contract.py.
ENTITY: Final = "Fixed asset major type"
ROWS: Final = "A, B, CT1 and CT2"


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns 0 where all went well, 1 where not, 2 where nothing was done, 130 when broken off."""
    options = read_arguments(arguments, {})
    suites = (options.only,) if options.only else SUITES
    name = f"{PREFIX}{datetime.now(UTC):%Y%m%d%H%M%S}"
    try:
        run = LiveRun.of(name, options.settings, options.company)
        run.require_not_by_accident(dev.child_environment())
    except AppError as error:
        tell(f"dev.py live: {error}")
        return 2
    if "finance_operations" in suites and not run.company:
        tell("dev.py live: the settings name no company. Give --company NAME, or --only onedrive.")
        return 2
    tell(plan(run, suites))
    if not options.yes and not is_confirmed(run.environment_host):
        tell("Nothing was done.")
        return 2
    return carried_out(run, suites, options.settings.resolve(), as_json=options.json)


def plan(run: LiveRun, suites: Sequence[str]) -> str:
    """Return what will be done, and what stays behind."""
    lines = [f"This is run {run.name}. It will, with the app's own identity:", ""]
    if "onedrive" in suites:
        lines += [
            f"OneDrive       {run.settings.graph_url}, {run.drive}",
            f"               make the folder /{run.name}, work in it alone, and put it into the recycle bin at the end",
        ]
    if "subscriptions" in suites:
        if run.settings.notification_url:
            lines += [
                f"Notifications  {run.settings.graph_url}, the same drive",
                "               make and delete subscriptions, none where the app itself has one. Graph calls",
                f"               {run.settings.notification_url.address}, where the app refuses what it is told",
            ]
        else:
            lines += ["Notifications  are left out: NOTIFICATION_URL is not set"]
    if "finance_operations" in suites:
        lines += [
            f"F&O            {run.environment_url}, company {run.company}",
            "               import and export small packages, one after the other. What cannot be deleted from here",
            "               and stays:",
            f"               - data projects {run.project_prefix}-01, -02 and so on (about 50)",
            "               - their executions in the job history, and packages in F&O's blob storage for 7 days",
            f"               - the rows {ROWS} of '{ENTITY}': they are made, and where there are",
            "                 any of these names, their description is overwritten",
            "               Imports of others may be refused meanwhile: F&O takes one at a time.",
        ]
    return "\n".join([*lines, ""])


def is_confirmed(host: str) -> bool:
    """Return whether the person has typed the host's name."""
    tell(f"To go on, type the name of the environment's host ({host}):")
    try:
        return input().strip().casefold() == host.casefold()
    except EOFError:
        return False


def carried_out(run: LiveRun, suites: tuple[str, ...], settings: Path, *, as_json: bool) -> int:
    """Run the tests, clean up whatever happens, and tell what was found."""
    code = 130
    with tempfile.TemporaryDirectory(prefix="live-") as folder:
        report = Path(folder, "report.json")
        report.write_text("[]", encoding="utf-8")
        try:
            with ended_politely():
                code = tested(run, suites, settings, report)
        except KeyboardInterrupt:
            tell("Broken off. Cleaning up.")
        finally:
            with undisturbed():
                done, left = run.clean_up(suites)
                run.close()
        tests: list[dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))
    verdicts = judged(assumptions(), tests)
    result = {
        "run": run.name,
        "exit_code": code or (1 if left else 0),
        "passed": sum(test["outcome"] == "passed" for test in tests),
        "failed": [{"test": test["id"], "reason": test["reason"]} for test in tests if test["outcome"] == "failed"],
        "skipped": [{"test": test["id"], "reason": test["reason"]} for test in tests if test["outcome"] == "skipped"],
        "assumptions": [asdict(verdict) for verdict in verdicts],
        "cleaned_up": done,
        "left_behind": left,
    }
    sys.stdout.write(json.dumps(result, indent=2) + "\n" if as_json else told(result, verdicts))
    return int(str(result["exit_code"]))


def tested(run: LiveRun, suites: Sequence[str], settings: Path, report: Path) -> int:
    """Run pytest in a process of its own, whose words go to stderr without secrets; returns 0 or 1."""
    command = [sys.executable, "-m", "pytest", "-p", "tests.live.report", "-p", "no:cacheprovider", "-q", "--tb=short"]
    # An import takes minutes in a real environment; and what a library warns of is no matter of the services.
    command += ["--timeout=3600", "-W", "default", *(f"tests/live/test_{suite}.py" for suite in suites)]
    environment = {
        **dev.child_environment(),
        SETTINGS_VARIABLE: str(settings),
        RUN_VARIABLE: run.name,
        COMPANY_VARIABLE: run.company,
        REPORT_VARIABLE: str(report),
    }
    with subprocess.Popen(
        command,
        cwd=dev.ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as child:
        try:
            for line in child.stdout or ():
                tell(redacted(line.rstrip("\n")))
            return 0 if child.wait() == 0 else 1
        finally:
            # Nothing may be made any more when the cleaning begins.
            child.terminate()
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                child.kill()


@contextlib.contextmanager
def ended_politely() -> Iterator[None]:
    """Let an order to end be the same as Ctrl-C, so that it is cleaned up after both."""

    def end(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Let no impatient second Ctrl-C leave things behind."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def told(result: dict[str, Any], verdicts: Sequence[Verdict]) -> str:
    """Return the result for people."""
    lines = ["", f"{result['passed']} tests passed, {len(result['failed'])} failed, {len(result['skipped'])} skipped"]
    lines += [f"  FAILED   {test['test']}: {test['reason']}" for test in result["failed"]]
    lines += [f"  skipped  {test['test']}: {test['reason']}" for test in result["skipped"]]
    lines += ["", "What was assumed"]
    for outcome in (NOT_HELD, HELD, NOT_CHECKED):
        for verdict in verdicts:
            if verdict.result == outcome:
                lines += [f"  {outcome:<13} {verdict.where}: {verdict.text}"]
                lines += [f"                {verdict.seen}"] if verdict.seen else []
    lines += ["", *(f"Cleaned up: {each}" for each in result["cleaned_up"])]
    lines += [f"LEFT BEHIND: {each}" for each in result["left_behind"]]
    return "\n".join(lines) + "\n"


def tell(line: str) -> None:
    """Speak to the person; stdout belongs to the result."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    dev.speak_utf8()
    sys.exit(main(sys.argv[1:]))
