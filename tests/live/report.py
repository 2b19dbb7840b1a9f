"""A pytest plugin that writes down how each live test ended and what it has seen; for ``python -m tests.live``."""

import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from shared.secret import redacted
from tests.live.run import REPORT_VARIABLE


class Report:
    """The plugin. The report is a JSON list of tests, written anew after each: a run may be broken off."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._tests: list[dict[str, Any]] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Keep how a test ended."""
        report = yield
        if report.when == "call" or not report.passed:
            self._tests.append(
                {
                    "suite": item.path.stem.removeprefix("test_"),
                    "name": getattr(item, "originalname", item.name),
                    "id": item.name,
                    "outcome": report.outcome,
                    "reason": redacted(_reason(report)),
                    "seen": [redacted(str(value)) for name, value in item.user_properties if name == "seen"],
                }
            )
            self._file.write_text(json.dumps(self._tests), encoding="utf-8")
        return report


def _reason(report: pytest.TestReport) -> str:
    """Return why a test was skipped or failed, in one line; "" where it passed."""
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    return "" if crash is None else str(crash.message).partition("\n")[0]


def pytest_configure(config: pytest.Config) -> None:
    """Register the plugin where a report was asked for."""
    if file := os.environ.get(REPORT_VARIABLE):
        config.pluginmanager.register(Report(Path(file)), "live-report")
