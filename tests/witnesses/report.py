"""A pytest plugin that writes down what each client did on the wire and how it ended; for python -m tests.witnesses.

What was exercised is not claimed but seen: it comes from the records that the simulators keep of their calls.
"""

import json
import os
import re
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import pytest

from local_cloud.faults import Call, FaultPlan
from tests.witnesses.clients import CLIENTS

FILE_VARIABLE: Final = "WITNESSES_REPORT"  # where the report goes
ONLY_VARIABLE: Final = "WITNESSES_ONLY"  # the clients to run, with a space between

_DRIVE: Final = re.compile(r"/v\d\.0/+(?:drives/[^/:]+|(?:me|users/[^/]+)/drive)(?P<rest>.*)", re.DOTALL)
_ITEM: Final = re.compile(r"/(?:root|items/[^/:]+)(?P<path>:[^:]*:?)?(?:/(?P<action>[A-Za-z]+).*)?", re.DOTALL)
_CONTENT: Final = {"download.aspx": "download", "uploadSession": "upload session"}


def verb_of(call: Call) -> str:
    """Return what a call did, without ids: "POST createUploadSession", "GET item by path", "POST token"."""
    path = unquote(call.path).rstrip("/")
    last = path.rpartition("/")[2]
    match call.service:
        case "graph-content":
            what = _CONTENT.get(last, "monitor")
        case "graph":
            what = _of_graph(path)
        case "finance_operations":
            what = last.rpartition(".")[2].partition("(")[0]
        case _:
            what = last or "/"
    return f"{call.method} {what}"


def _of_graph(path: str) -> str:
    drive = _DRIVE.fullmatch(path)
    if drive is None:  # subscriptions/ID/reauthorize, users/ID/sendMail
        words = path.strip("/").split("/")[1:]
        return words[-1] if words[0] in ("users", "me") else " ".join([words[0], *words[2:]])
    if not drive["rest"]:
        return "drive"
    item = _ITEM.fullmatch(drive["rest"])
    if item is None:
        return drive["rest"].strip("/")
    return f"{item['action'] or 'item'}{' by path' if item['path'] else ''}"


class Report:
    """The plugin. The report is JSON: versions by client, and a list of tests."""

    def __init__(self, file: Path, only: Sequence[str]) -> None:
        self._file = file
        self._only = only
        self._tests: list[dict[str, Any]] = []

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out the clients that nobody asked for."""
        chosen = [item for item in items if _client_of(item) in self._only]
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Keep how a test ended, with what the simulators of its fixtures have seen until then."""
        report = yield
        if report.when == "call" or not report.passed:
            reason = report.longrepr[2] if report.skipped and isinstance(report.longrepr, tuple) else ""
            self._tests.append(
                {
                    "client": _client_of(item),
                    "name": item.name,
                    "outcome": report.outcome,
                    "reason": reason.removeprefix("Skipped: "),
                    "verbs": _verbs_of(item),
                }
            )
        return report

    def pytest_sessionfinish(self) -> None:
        """Write the report."""
        versions = {client.name: client.version() for client in CLIENTS}
        self._file.write_text(json.dumps({"versions": versions, "tests": self._tests}), encoding="utf-8")


def _client_of(item: pytest.Item) -> str | None:
    marker = item.get_closest_marker("witness")
    return None if marker is None else str(marker.args[0])


def _verbs_of(item: pytest.Item) -> dict[str, list[str]]:
    """Return what was called in a test, each with the statuses of its answers."""
    fixtures = getattr(item, "funcargs", {}).values()
    plans = {id(plan): plan for plan in (getattr(each, "faults", None) for each in fixtures)}
    verbs: dict[str, set[str]] = {}
    for plan in plans.values():
        if isinstance(plan, FaultPlan):
            for call in plan.calls:
                verbs.setdefault(verb_of(call), set()).add(str(call.status or "no answer"))
    return {verb: sorted(statuses) for verb, statuses in verbs.items()}


def pytest_configure(config: pytest.Config) -> None:
    """Register the plugin where python -m tests.witnesses has asked for a report."""
    if file := os.environ.get(FILE_VARIABLE):
        config.pluginmanager.register(Report(Path(file), os.environ[ONLY_VARIABLE].split()), "witnesses")
