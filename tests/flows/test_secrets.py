"""Nothing that opens a door is written anywhere: not into logs, records, reports, mails or messages.

What the sign-in and the functions host print is searched in ``tests/end_to_end/test_signed_in.py``.
"""

import logging
import traceback
from collections.abc import Callable, Sequence

import pytest
import requests

from inbound_trigger.keep_watch import do_duties
from local_cloud import faults
from local_cloud.faults import Action, Fault
from shared.app import quiet_libraries
from shared.errors import AppError
from shared.runs.states import Direction
from tests.flows.conftest import MakeWorld
from tests.flows.trouble import begin
from tests.leaks import leaks
from tests.packages import build_package
from tests.world import World

CLIENT_STATE = "known-client-state-4711"
FUNCTION_KEY = "known-function-key-0815"
TEAMS_KEY = "the-signature-of-the-workflow"
WEBHOOK_KEY = "the-key-in-the-webhooks-address"
WEBHOOK_SECRET = "dGhlLXNlY3JldC10aGF0LXNpZ25zLWFsZXJ0cyE="
OURS = (CLIENT_STATE, FUNCTION_KEY, TEAMS_KEY, WEBHOOK_KEY, WEBHOOK_SECRET)

# A call of each kind to each service, of both flows.
CALLS = (
    ("entra", "*", ""),
    ("graph", "GET", "/children$"),
    ("graph", "PATCH", "/items/"),
    ("graph", "POST", "/createUploadSession$"),
    ("graph", "PUT", "/content$"),
    ("graph", "POST", "/subscriptions$"),
    ("graph", "POST", "/sendMail$"),
    ("graph-content", "GET", ""),
    ("graph-content", "PUT", ""),
    ("finance_operations", "POST", r"\.GetAzureWriteUrl$"),
    ("finance_operations", "POST", r"\.ImportFromPackage$"),
    ("finance_operations", "POST", r"\.GetExecutionSummaryStatus$"),
    ("finance_operations", "POST", r"\.GetExecutionErrors$"),
    ("finance_operations", "POST", r"\.ExportToPackage$"),
    ("finance_operations", "POST", r"\.GetExportedPackageUrl$"),
)
IMPORT = (("finance_operations", "POST", r"\.ImportFromPackage$"),)

# What a service may quote of what it was sent.
QUOTES = {
    "error": {
        "code": "generalException",
        "message": "Refused: Authorization: Bearer abcdefghijkl.mnop, client_secret=abcdefgh",
        "innererror": {"message": "Cannot read https://a.blob.core.windows.net/x?sv=1&sig=abcdef&tempauth=v1.abcdef"},
    }
}

# Which calls, and what happens to the first of each, the second ...
TROUBLE: dict[str, tuple[Sequence[tuple[str, str, str]], Sequence[Action]]] = {
    "nothing goes wrong": ((), ()),
    "connections break": (CALLS, (faults.reset_before(), faults.reset_before(), faults.lost_after())),
    "answers are no answers": (CALLS, (faults.garbage(), faults.cut_body())),
    "services refuse the app and quote what it sent": (
        CALLS,
        (faults.status(401, body=QUOTES), faults.status(401, body=QUOTES), faults.status(403, body=QUOTES)),
    ),
    "services are in trouble and quote what they were sent": (
        CALLS,
        (
            faults.status(500, body=QUOTES),
            faults.status(429, body=QUOTES, headers={"Retry-After": "2"}),
            faults.status(302, headers={"Location": "https://contoso.example/?sig=abcdef"}),
        ),
    ),
    "F&O refuses the package and quotes its URL": (IMPORT, (faults.status(400, body=QUOTES),)),
}


@pytest.mark.quick(cases=1)
@pytest.mark.parametrize(("calls", "actions"), TROUBLE.values(), ids=list(TROUBLE))
def test_no_key_or_token_is_written_anywhere_when(
    make_world: MakeWorld,
    caplog: pytest.LogCaptureFixture,
    calls: Sequence[tuple[str, str, str]],
    actions: Sequence[Action],
) -> None:
    log_all(caplog)
    world = make_world(
        settings={
            "ALERT_RECIPIENT": "ops@contoso.com",
            "ALERT_SENDER": "app@contoso.com",
            "ALERT_TEAMS_URL": f"http://127.0.0.1:1/workflows/1/invoke?sig={TEAMS_KEY}",
            "ALERT_WEBHOOK_URL": f"http://127.0.0.1:1/hook?key={WEBHOOK_KEY}",
            "ALERT_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "NOTIFICATION_URL": f"http://127.0.0.1:1/api/receive_notification?code={FUNCTION_KEY}",
            "CLIENT_STATE": CLIENT_STATE,
            "EXPORT_DATA_PROJECT": "Asset-Major-Types",
            "EXPORT_COMPANY": "USMF",
        }
    )
    for service, method, path in calls:
        for nth, do in enumerate(actions, 1):
            world.faults.add(Fault(service, method, path, nth, 1, do=do))
    world.put("USMF_good.zip")
    world.put("USMF_partly.zip", build_package(rows=(("A", "Alpha"), ("B", "#ERROR here"))))

    # The minute's timer comes again and again, until it finds the files.
    printed: list[str] = []
    while not world.heads():
        assert len(printed) < 20, printed
        printed.append(as_the_host_does(lambda: do_duties(world.services)))
    world.run_until_quiet()
    printed.append(as_the_host_does(world.start_exports))
    world.run_until_quiet()
    printed.append(as_the_host_does(world.deliver_alerts))

    everything = "\n".join([*printed, caplog.text, world.written()])
    assert {run.direction for run in world.ended_runs()} == set(Direction)
    assert "USMF_partly" in everything
    assert "alert.failed" in everything  # nobody answers at the webhooks
    assert leaks(everything) == []
    assert [secret for secret in (*OURS, "abcdef") if secret in everything] == []


def test_the_traceback_of_a_bug_shows_no_key(world: World, caplog: pytest.LogCaptureFixture) -> None:
    def broken(_file: object) -> None:
        try:
            raise requests.ConnectionError("Max retries exceeded with url: /x?tempauth=known-key")
        except requests.ConnectionError as error:
            raise KeyError("a bug") from error

    log_all(caplog)
    world.monkeypatch.setattr("shared.imports.upload.check_package", broken)

    world.wake(begin(world))

    assert "KeyError: 'a bug'" in caplog.text
    assert "Max retries exceeded with url" in caplog.text
    assert "known-key" not in caplog.text + world.written()


def log_all(caplog: pytest.LogCaptureFixture) -> None:
    """Take down every line of every library that a root handler would get with debug logging on, as Azure's has it."""
    caplog.set_level(logging.DEBUG)
    for library in ("azure", "msal", "urllib3"):
        caplog.set_level(logging.DEBUG, logger=library)  # what quiet_libraries changes is put back after the test
    quiet_libraries()


def as_the_host_does(act: Callable[[], object]) -> str:
    """Call a function and return what the host prints of its exception: the traceback with all causes."""
    try:
        act()
    except AppError:
        return traceback.format_exc()
    return ""
