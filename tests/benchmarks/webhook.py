"""webhook: 16 callers at once, at the webhook and at an empty function in the same host.

The host runs the app and, for this benchmark, one function more, which answers 202 and does nothing. The callers are a
process of their own; each sends the notification that Graph sends, with our clientState, and the same to the empty
function. In turn, a few seconds each; before the reference's turn the looks that were asked for have been dealt with.
Each sample is one turn of both: the p99 of all its answers, and answers a second.
"""

import json
import time
from pathlib import Path
from typing import Any, Final

from azure.storage.queue import QueueClient

from local_cloud.cloud import ROOT
from shared.azure_storage.queue_names import WORK
from tests.benchmarks.figures import Figure, Limit, Sample, percentile
from tests.benchmarks.stage import a_stage
from tests.benchmarks.trial import Trial, run_child
from tests.end_to_end.stage import Stage

NAME: Final = "webhook"
CALLERS: Final = 16
TURNS: Final = 5
TURN_S: Final = 4.0
QUICK_TURN_S: Final = 1.0
DRAINED_WITHIN_S: Final = 240.0

# The product's own app and one function more. Its module is loaded under another name: this one is function_app too.
_APP: Final = f"""\
import importlib.util

import azure.functions as func

spec = importlib.util.spec_from_file_location("product_function_app", {str(ROOT / "function_app.py")!r})
product = importlib.util.module_from_spec(spec)
spec.loader.exec_module(product)
app = product.app


@app.route(route="empty", methods=["POST"], auth_level=func.AuthLevel.FUNCTION)
def empty(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(status_code=202)
"""


def measure(trial: Trial) -> list[Figure]:
    """Return p99 and answers a second."""
    turn_s = QUICK_TURN_S if trial.quick else TURN_S
    turns = 2 if trial.quick else TURNS
    latencies: list[Sample] = []
    rates: list[Sample] = []
    all_ms: list[float] = []
    with a_stage(trial, app=_app_with_an_empty_function(trial.folder("app"))) as stage:
        _turn(stage, "receive_notification", 0.5)
        _turn(stage, "empty", 0.5)
        for number in range(turns):
            trial.say(f"turn {number + 1} of {turns}: the webhook")
            ours = _turn(stage, "receive_notification", turn_s)
            trial.say(f"turn {number + 1} of {turns}: waiting until the looks are done")
            _until_drained(stage)
            trial.say(f"turn {number + 1} of {turns}: the empty function")
            reference = _turn(stage, "empty", turn_s)
            latencies.append(Sample(percentile(ours["took_ms"], 99), percentile(reference["took_ms"], 99)))
            rates.append(Sample(ours["a_second"], reference["a_second"]))
            all_ms += ours["took_ms"]
    return [
        Figure(
            row=NAME,
            what=f"p99 of {CALLERS} callers at once; reference: an empty function",
            unit="ms",
            samples=tuple(latencies),
            limits=(Limit("ratio", "at most", 3), Limit("ours", "under", 100)),
            details={"median, ms": percentile(all_ms, 50), "longest, ms": max(all_ms)},
        ),
        Figure(row=NAME, what=f"answers to {CALLERS} callers at once", unit="a second", samples=tuple(rates)),
    ]


def _app_with_an_empty_function(folder: Path) -> Path:
    (folder / "function_app.py").write_text(_APP, "utf-8")
    (folder / "host.json").write_bytes((ROOT / "host.json").read_bytes())
    return folder


def _turn(stage: Stage, function: str, seconds: float) -> dict[str, Any]:
    """Let the callers call for so long; fails where an answer is not 202."""
    url = f"{stage.host_url}/api/{function}?code={stage.function_key}"
    arguments = (str(CALLERS), str(seconds), url, json.dumps({"value": [_notification(stage)]}))
    result: dict[str, Any] = run_child("tests.benchmarks.callers", *arguments, env=stage.environment)
    assert set(result["statuses"]) == {"202"}, result["statuses"]
    return result


def _notification(stage: Stage) -> dict[str, str]:
    """Return what Graph says of a change in the drive."""
    subscription = stage.onedrive.subscriptions[0]
    return {
        "subscriptionId": subscription.subscription_id,
        "clientState": stage.settings["CLIENT_STATE"],
        "expirationDateTime": "2026-12-22T18:22:49.0000000Z",
        "resource": f"drives/{stage.onedrive.drive_id}/root",
        "changeType": "updated",
        "tenantId": "84bd8158-6d4d-4958-8b9f-9d6445542f95",
    }


def _until_drained(stage: Stage) -> None:
    """Wait until no look waits or is at work, but for those that are put off."""
    with QueueClient.from_connection_string(stage.azurite.connection_string, WORK) as queue:
        stage.wait_for(lambda: not queue.peek_messages(), "the end of the looks", within_s=DRAINED_WITHIN_S)
    time.sleep(0.5)  # the last message has left the queue, but its look may still be at work, and shows nowhere
