"""The lines of docs/operations.md that switch OpenTelemetry on, tried against a stand-in for a collector."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
import requests
from aiohttp import web
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse

from local_cloud.server import Served
from shared.log import LOGGER_NAME
from tests.architecture.product import ROOT
from tests.dirty_tree import publish
from tests.end_to_end.stage import NO_MINUTE_TIMER, PROMPT_QUEUES, Stage
from tests.packages import build_package

TRACE: Final = "0af7651916cd43dd8448eb211c80319c"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A log record that arrived."""

    logger: str
    severity: str
    trace: str  # 32 hex digits; "" where there is none
    said: dict[str, Any]


class Collector(Served):
    """Takes log records over OTLP/HTTP. https://opentelemetry.io/docs/specs/otlp/#otlphttp"""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        app = web.Application()
        app.router.add_post("/v1/logs", self._take)
        super().__init__(app)

    def said(self, event: str) -> list[Line]:
        return [line for line in self.lines if line.said["event"] == event]

    async def _take(self, request: web.Request) -> web.Response:
        sent = ExportLogsServiceRequest.FromString(await request.read())
        for resource in sent.resource_logs:
            for scope in resource.scope_logs:
                for record in scope.log_records:
                    self.lines.append(
                        Line(
                            logger=scope.scope.name,
                            severity=record.severity_text,
                            trace=record.trace_id.hex(),
                            said=json.loads(record.body.string_value),
                        )
                    )
        return web.Response(body=ExportLogsServiceResponse().SerializeToString(), content_type="application/x-protobuf")


def documented_lines() -> str:
    """Return the lines that are to stand at the top of function_app.py."""
    operations = (ROOT / "docs" / "operations.md").read_text("utf-8")
    (block,) = re.findall(r"(?s)\n   ```python\n(.*?)\n   ```", operations)
    return re.sub(r"(?m)^   ", "", block)


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def telling(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Stage]:
    """The app as it is published, changed as the document says."""
    app = publish(tmp_path_factory.mktemp("app"))
    program = app / "function_app.py"
    program.write_text(f"{documented_lines()}\n\n{program.read_text('utf-8')}", encoding="utf-8")
    host = json.loads((app / "host.json").read_text("utf-8"))
    (app / "host.json").write_text(json.dumps({**host, "telemetryMode": "OpenTelemetry"}), encoding="utf-8")
    settings = {
        "PYTHON_ENABLE_OPENTELEMETRY": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.server.url,
        "OTEL_BLRP_SCHEDULE_DELAY": "100",  # milliseconds; five seconds by default
    }
    with Stage(
        tmp_path_factory.mktemp("telling"), app=app, app_settings={**NO_MINUTE_TIMER, **PROMPT_QUEUES, **settings}
    ) as stage:
        yield stage


def test_every_line_of_a_run_arrives_as_one_json_object_with_its_level(telling: Stage, collector: Collector) -> None:
    telling.run_function("keep_watch")
    telling.put("USMF_Told_001.zip", build_package(entity="Told", rows=(("A", "#ERROR"),)))
    telling.run_function("keep_watch")

    (ended,) = telling.wait_for(lambda: collector.said("run.ended"), "the run's end at the collector")

    assert ended.logger == LOGGER_NAME
    assert (ended.said["file"], ended.said["company"], ended.severity) == ("USMF_Told_001.zip", "USMF", "INFO")
    steps = [line.said["step"] for line in collector.said("step.done")]
    assert steps[0] == "claim"
    assert steps[-1] == "file_away"


def test_a_line_belongs_to_the_trace_of_the_call_that_it_is_about(telling: Stage, collector: Collector) -> None:
    requests.post(
        f"{telling.host_url}/api/receive_notification?code=the-function-key&validationToken=token",
        headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"},
        timeout=60,
    )

    handshakes = telling.wait_for(
        lambda: [line for line in collector.said("notification.handshake") if line.trace == TRACE], "the handshake"
    )

    assert len(handshakes) == 1


def test_no_key_arrives_at_the_collector(telling: Stage, collector: Collector) -> None:
    said = json.dumps([line.said for line in collector.lines])

    assert "sig=" not in said.replace("sig=***", "")
    assert "the-function-key" not in said
