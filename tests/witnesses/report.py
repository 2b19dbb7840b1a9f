"""A pytest plugin that writes down what each client did on the wire and how it ended; for python -m tests.witnesses.

What was exercised is not claimed but seen: it comes from the records that the simulators keep of their calls.
"""

import json
import os
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import pytest

from local_cloud.faults import Call, FaultPlan

FILE_VARIABLE: Final = "WITNESSES_REPORT"  # where the report goes

_DRIVE: Final = re.compile(r"/v\d\.0/+(?:drives/[^/:]+|(?:me|users/[^/]+)/drive)(?P<rest>.*)", re.DOTALL)
_ITEM: Final = re.compile(r"/(?:root|items/[^/:]+)(?P<path>:[^:]*:?)?(?:/(?P<action>[A-Za-z]+).*)?", re.DOTALL)
_CONTENT: Final = {"download.aspx": "download", "uploadSession": "upload session"}


def verb_of(call: Call) -> str:
    """Return what a call did, without ids: "POST createUploadSession", "GET item by path", "POST token"."""
    path = unquote(call.path).rstrip("/")
    if call.service == "graph-content":
        last = path.rpartition("/")[2]
        return f"{call.method} {_CONTENT.get(last, 'monitor')}"
    if call.service == "graph":
        return f"{call.method} {_of_graph(path)}"
    if call.service == "finance_operations":
        return f"{call.method} {path.rpartition('/')[2].rpartition('.')[2].partition('(')[0] or '/'}"
    return f"{call.method} {path.rpartition('/')[2] or '/'}"


def _of_graph(path: str) -> str:
    drive = _DRIVE.fullmatch(path)
    if drive is None:
        words = path.strip("/").split("/")[1:]
        return words[-1] if words[0] in ("users", "me") else " ".join([words[0], *words[2:]])
    if not drive["rest"]:
        return "drive"
    item = _ITEM.fullmatch(drive["rest"])
    if item is None:
        return drive["rest"].strip("/")
    by_path = " by path" if item["path"] else ""
    return f"{item['action'] or 'item'}{by_path}"


class Report:
    """The plugin."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._tests: list[dict[str, Any]] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        marker = item.get_closest_marker("witness")
        if marker is None or not (report.when == "call" or report.failed or report.skipped):
            return report
        known = {id(plan): plan for plan in map(_plan_of, getattr(item, "funcargs", {}).values()) if plan is not None}
        verbs: dict[str, set[str]] = {}
        for plan in known.values():
            for seen in plan.calls:
                verbs.setdefault(verb_of(seen), set()).add(str(seen.status or "no answer"))
        self._tests.append(
            {
                "client": marker.args[0],
                "test": item.name,
                "outcome": report.outcome,
                "reason": report.longrepr[2] if report.skipped and isinstance(report.longrepr, tuple) else "",
                "verbs": {verb: sorted(statuses) for verb, statuses in verbs.items()},
            }
        )
        return report

    def pytest_sessionfinish(self) -> None:
        self._file.write_text(json.dumps(self._tests), encoding="utf-8")


def _plan_of(fixture: object) -> FaultPlan | None:
    plan = fixture if isinstance(fixture, FaultPlan) else getattr(fixture, "faults", None)
    return plan if isinstance(plan, FaultPlan) else None


def pytest_configure(config: pytest.Config) -> None:
    if file := os.environ.get(FILE_VARIABLE):
        config.pluginmanager.register(Report(Path(file)), "witnesses")
