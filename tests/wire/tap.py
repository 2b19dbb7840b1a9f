"""Watches everything that the app sends while tests run, and lets a test fail whose calls the reference does not know.

Two places are tapped: where the app's own calls leave this process (so that calls to servers that a test has scripted
are seen), and where requests come in at the simulators (so that the functions host, which is a process of its own, is
seen, and what the simulators answer). Answers that a test or a planned fault made up are nobody's belief about a
service, so only the simulators' own are judged, and those to everybody.

``tests/conftest.py`` brings the fixture and the hooks of this module into every test.
"""

import json
import os
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import requests
from requests.adapters import HTTPAdapter

from local_cloud import wire_tap
from local_cloud.wire_tap import LOG_VARIABLE, Exchange, exchanges_of
from shared.clients.http import client as http
from shared.clients.http.client import USER_AGENT, Http, Response
from tests.wire import storage
from tests.wire.check import ENDPOINTS, body_of, endpoints_for, named, wrong_with_answer, wrong_with_request
from tests.wire.endpoints import OPAQUE, Endpoint, Request
from tests.wire.examples import EXAMPLES_VARIABLE, Example, write_examples

# Microsoft's libraries, which fetch tokens for the app.
_LIBRARIES: Final = ("azsdk-python-identity/",)
_OURS: Final = ("shared.", "tests.", "local_cloud.")

SEEN: Final = "wire"  # under which a worker of pytest-xdist tells the controller what it has seen
DEFAULT_RUN: Final = "not extended"  # pytest's -m in pyproject.toml


@dataclass
class Wire:
    """What was seen, and what was wrong with it. Thread-safe."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    sent: Counter[str] = field(default_factory=Counter)  # by this process, per operation
    arrived: Counter[str] = field(default_factory=Counter)  # at the simulators, per operation, from any process
    answered: int = 0  # answers of simulators that were judged
    violations: list[str] = field(default_factory=list)
    keeps_examples: bool = field(default_factory=lambda: EXAMPLES_VARIABLE in os.environ)  # they take time to make
    examples: dict[str, Example] = field(default_factory=dict)
    log: Path | None = None  # where clouds in other processes write what they see
    read_up_to: int = 0  # bytes of it

    def take_violations(self) -> list[str]:
        """Return what was found since the last time."""
        self._read_log()
        with self.lock:
            found, self.violations = self.violations, []
        return found

    def seen(self) -> set[str]:
        """Return the operations that were seen so far."""
        self._read_log()
        return set(self.sent) | set(self.arrived)

    def as_json(self) -> str:
        """Return what was seen and what was wrong, for another process."""
        self._read_log()
        with self.lock:
            return json.dumps(
                {
                    "sent": self.sent,
                    "arrived": self.arrived,
                    "answered": self.answered,
                    "violations": self.violations,
                    "examples": [asdict(example) for example in self.examples.values()],
                }
            )

    def merge(self, text: str) -> None:
        """Take in what another process has seen."""
        other = json.loads(text)
        with self.lock:
            self.sent.update(other["sent"])
            self.arrived.update(other["arrived"])
            self.answered += other["answered"]
            self.violations += other["violations"]
        for example in other["examples"]:
            self._keep(Example(**example))

    def judge_exchange(self, exchange: Exchange) -> None:
        """Judge what came in at a simulator."""
        if exchange.target.startswith("/_control/"):
            return
        request = Request(
            method=exchange.method,
            target=exchange.target,
            headers=exchange.headers,
            body=body_of(exchange.headers.get("content-type", ""), exchange.body),
        )
        candidates = endpoints_for(exchange.service, request.method, request.path)
        complaints: list[str] = []
        if _is_from_the_app(exchange):
            endpoint, complaints = wrong_with_request(request, candidates)
            if endpoint is not None:
                candidates = [one for one in candidates if wrong_with_request(request, [one])[1] == complaints]
                self._note(exchange, request, candidates)
        else:
            # What strangers may ask of an address that nothing is known of is not described.
            candidates = [one for one in candidates if one.path != OPAQUE]
        if exchange.status is not None and candidates:
            _, wrong = wrong_with_answer(exchange.status, exchange.answer_type, exchange.answer, candidates)
            if any(name in ("$select", "select") for name, _ in request.query):
                wrong = [fault for fault in wrong if not fault.endswith(" is missing")]  # it was not asked for
            complaints = [*complaints, *(f"the simulator's answer: {fault}" for fault in wrong)]
            with self.lock:
                self.answered += 1
        if complaints:
            self._complain(exchange.service, request, complaints, status=exchange.status, answer=exchange.answer)

    def _note(self, exchange: Exchange, request: Request, candidates: list[Endpoint]) -> None:
        """Count a call of the app, under the endpoint whose answer it got where the request fits several."""
        if exchange.status is not None:
            endpoint, wrong = wrong_with_answer(exchange.status, exchange.answer_type, exchange.answer, candidates)
        else:
            endpoint, wrong = candidates[0], []
        if endpoint is None:
            return
        with self.lock:
            self.arrived[endpoint.operation] += 1
        if self.keeps_examples and exchange.status in endpoint.answers and not wrong:
            self._keep(Example.of(endpoint, request, exchange))

    def judge_sent(self, operation: str, request: Request) -> None:
        """Judge what left this process under one of the names that the clients use."""
        candidates = named(operation)
        _, complaints = wrong_with_request(request, candidates)
        with self.lock:
            self.sent[operation] += 1
        if complaints:
            self._complain(f"operation '{operation}'", request, complaints)

    def note_storage(self, module: str, request: Request, answer: requests.Response) -> None:
        """Count a call of one of Microsoft's storage clients, which is only asked for its name."""
        for call in storage.CALLS:
            if call.is_made_by(module) and call.matches(request):
                with self.lock:
                    self.sent[call.name] += 1
                self.keep_storage(call.operation, call.path, request, answer.status_code, answer.headers)
                return
        self._complain(f"storage, from {module}", request, ["no such call is described"])

    def keep_storage(
        self, operation: str, path: str, request: Request, status: int, headers: Mapping[str, str]
    ) -> None:
        """Keep an example of a call to blob storage, which no simulator sees, if Azurite has done it."""
        if self.keeps_examples and 200 <= status < 300 and headers.get("Server", "").startswith("Azurite"):
            self._keep(Example.of_storage(operation, path, request, status, headers))

    def _keep(self, example: Example) -> None:
        with self.lock:
            known = self.examples.get(example.key)
            if known is None or example.weight < known.weight:
                self.examples[example.key] = example

    def _complain(
        self,
        where: str,
        request: Request,
        complaints: list[str],
        *,
        status: int | None = None,
        answer: str | None = None,
    ) -> None:
        lines = [f"{where}: {request.method} {request.target}"]
        lines += [f"  - {complaint}" for complaint in complaints]
        lines += [f"  {name}: {value}" for name, value in sorted(request.headers.items())]
        if request.body is not None:
            lines.append(f"  body: {json.dumps(request.body)[:2000]}")
        if status is not None:
            lines.append(f"  answered: {status} {(answer or '')[:2000]}")
        with self.lock:
            self.violations.append("\n".join(lines))

    def _read_log(self) -> None:
        if self.log is None or not self.log.exists():
            return
        with self.lock, self.log.open("rb") as file:
            file.seek(self.read_up_to)
            whole = file.read()
            whole = whole[: whole.rfind(b"\n") + 1]  # the last line may still be on its way
            self.read_up_to += len(whole)
        for exchange in exchanges_of(whole.decode("utf-8").splitlines(keepends=True)):
            self.judge_exchange(exchange)


WIRE: Final = Wire()


def _is_from_the_app(exchange: Exchange) -> bool:
    agent = exchange.headers.get("user-agent", "")
    return agent == USER_AGENT or agent.startswith(_LIBRARIES) or exchange.headers.get("x-client-sku") == "MSAL.Python"


def _tapped_http(original: Callable[..., Response]) -> Callable[..., Response]:
    def send(self: Http, sent: http.Request) -> Response:
        is_the_apps = _calling_module(skip=(__name__, http.__name__)).startswith("shared.")  # else a test calls Http
        request = _as_request(sent.method, sent.url, sent.headers, sent.body)
        if is_the_apps:
            WIRE.judge_sent(sent.operation, request)
        response = original(self, sent)
        if is_the_apps:
            WIRE.keep_storage(sent.operation, storage.GET_BLOB.path, request, response.status, response.headers)
        return response

    return send


def _tapped_library(original: Callable[..., Any]) -> Callable[..., Any]:
    def send(self: HTTPAdapter, request: requests.PreparedRequest, **options: Any) -> Any:
        answer = original(self, request, **options)
        _note_of_library(request, answer)
        return answer

    return send


def _note_of_library(request: requests.PreparedRequest, answer: requests.Response) -> None:
    """Take note of what one of Microsoft's libraries has sent for the app."""
    # The transport only carries the others' calls.
    module = _calling_module(skip=(__name__, "shared.azure_storage.transport"))
    client = module.removeprefix("shared.").replace(".", "/")
    if module.startswith("shared.") and not client.startswith("clients/entra/"):  # the simulated Entra sees those
        sent = _as_request(request.method or "", request.url or "", request.headers, request.body)
        WIRE.note_storage(client, sent, answer)


def _calling_module(*, skip: tuple[str, ...]) -> str:
    """Return the nearest module of ours on the stack: the app's, or that of a test or a simulator."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name.startswith(_OURS) and name not in skip:
            return name
        frame = frame.f_back
    return ""


def _as_request(method: str, url: str, headers: Mapping[str, str | bytes], content: object) -> Request:
    parts = urlsplit(url)
    lower = {name.lower(): _text(value) for name, value in headers.items()}
    kind = lower.get("content-type", "")
    is_file = kind.split(";")[0] not in ("application/json", "application/x-www-form-urlencoded")
    text = _text(content) if isinstance(content, (bytes, str)) and not is_file else None
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return Request(method=method, target=target, headers=lower, body=body_of(kind, text))


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else value


# What pytest sees


@pytest.fixture(scope="session", autouse=True)
def wire_is_tapped() -> Iterator[None]:
    """Tap the wire for as long as the session lasts."""
    with tempfile.TemporaryDirectory(prefix="wire-") as folder, pytest.MonkeyPatch.context() as patch:
        WIRE.log = Path(folder) / "exchanges.jsonl"
        patch.setenv(LOG_VARIABLE, str(WIRE.log))
        patch.setattr(Http, "_send", _tapped_http(Http._send))
        patch.setattr(HTTPAdapter, "send", _tapped_library(HTTPAdapter.send))
        wire_tap.listeners.append(WIRE.judge_exchange)
        yield
        wire_tap.listeners.remove(WIRE.judge_exchange)
        WIRE._read_log()
        WIRE.log = None


@pytest.fixture(autouse=True)
def wire_is_checked(wire_is_tapped: None) -> Iterator[None]:
    """Fail the test during which something went over the wire that the reference does not know."""
    yield
    if found := WIRE.take_violations():
        pytest.fail("Against the reference (tests/wire):\n" + "\n".join(found), pytrace=False)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Judge the session as a whole, and keep examples where they are asked for; a worker tells what it has seen.

    A call that no test has made is an error of a run of all tests; so is what came after the last test.
    """
    config = session.config
    if hasattr(config, "workeroutput"):
        config.workeroutput[SEEN] = WIRE.as_json()
        return
    errors = list(WIRE.violations)
    if session.exitstatus == pytest.ExitCode.OK and _runs_all_tests(config):
        expected = {one.operation for one in ENDPOINTS} | {one.name for one in storage.CALLS}
        errors += [f"no test has called {name}, which the app can call" for name in sorted(expected - WIRE.seen())]
    if errors:
        _report_error(session, "Against the reference (tests/wire):\n" + "\n".join(errors))
    if target := os.environ.get(EXAMPLES_VARIABLE):
        write_examples(Path(target), WIRE.examples.values())


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take in what a worker of pytest-xdist has seen, once it ends."""
    if seen := getattr(node, "workeroutput", {}).get(SEEN):
        WIRE.merge(seen)


def _runs_all_tests(config: pytest.Config) -> bool:
    """Whether every test of the default run has been run."""
    is_part = any(config.getoption(name, None) for name in ("keyword", "deselect", "lf", "collectonly", "quick"))
    is_part |= config.getoption("markexpr") not in ("", DEFAULT_RUN)
    return config.args_source is pytest.Config.ArgsSource.TESTPATHS and not is_part


def _report_error(session: pytest.Session, text: str) -> None:
    """Let the session fail with an error that belongs to no test, and is counted in the closing line."""
    report = pytest.TestReport(
        nodeid="tests/wire",
        location=("tests/wire", None, ""),
        keywords={},
        outcome="failed",
        longrepr=text,
        when="teardown",
    )
    session.config.hook.pytest_runtest_logreport(report=report)
    session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much was checked."""
    if WIRE.sent or WIRE.arrived:
        terminalreporter.write_line(
            f"wire: {sum(WIRE.sent.values()):,} calls sent here, {sum(WIRE.arrived.values()):,} calls and "
            f"{WIRE.answered:,} answers at the simulators, of {len(set(WIRE.sent) | set(WIRE.arrived))} operations, "
            "checked against tests/wire"
        )
        if terminalreporter.config.option.verbose > 0:
            for operation in sorted({*WIRE.sent, *WIRE.arrived}):
                terminalreporter.write_line(
                    f"  {operation}: {WIRE.sent[operation]:,} sent here, {WIRE.arrived[operation]:,} at the simulators"
                )
