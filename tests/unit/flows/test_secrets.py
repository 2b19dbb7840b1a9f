"""Nothing that opens a door is written anywhere: not into logs, records, reports, mails or messages."""

import logging

import pytest

from local_cloud import faults
from local_cloud.faults import Fault
from shared.log import LOGGER_NAME
from tests.leaks import leaks
from tests.packages import build_package
from tests.unit.flows.conftest import MakeWorld
from tests.world import World

CLIENT_STATE = "known-client-state-4711"
FUNCTION_KEY = "known-function-key-0815"

TROUBLE = {
    "nothing goes wrong": (),
    "the answer of the import is lost before it arrives": (("ImportFromPackage", faults.reset_before(), 1),),
    "F&O refuses the app": (("GetAzureWriteUrl", faults.status(403), 2),),
    "F&O quotes the package's URL": (
        (
            "ImportFromPackage",
            faults.status(
                400,
                body={
                    "error": {
                        "message": "An error has occurred.",
                        "innererror": {"message": "Cannot read https://a.blob.core.windows.net/dmf/x?sv=1&sig=abcdef"},
                    }
                },
            ),
            1,
        ),
    ),
}


@pytest.mark.parametrize("troubles", TROUBLE.values(), ids=list(TROUBLE))
def test_no_key_or_token_is_written_anywhere_when(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture, troubles: tuple[tuple[str, faults.Action, int], ...]
) -> None:
    world = make_world(
        settings={
            "ALERT_RECIPIENT": "ops@contoso.com",
            "ALERT_SENDER": "app@contoso.com",
            "NOTIFICATION_URL": f"https://contoso.example/api/receive_notification?code={FUNCTION_KEY}",
            "CLIENT_STATE": CLIENT_STATE,
            "EXPORT_DATA_PROJECT": "Asset-Major-Types",
            "EXPORT_COMPANY": "USMF",
        }
    )
    caplog.set_level(logging.DEBUG, logger=LOGGER_NAME)
    for action, do, times in troubles:
        path = rf".*{action}$"
        world.faults.add(Fault(service="finance_operations", method="POST", path_regex=path, times=times, do=do))
    world.put("USMF_good.zip")
    world.put("USMF_partly.zip", build_package(rows=(("A", "Alpha"), ("B", "#ERROR here"))))

    world.look()
    world.run_until_quiet()
    world.start_exports()
    world.run_until_quiet()

    everything = written(world, caplog)
    assert "USMF_partly" in everything
    assert leaks(everything) == []
    assert CLIENT_STATE not in everything
    assert FUNCTION_KEY not in everything


def written(world: World, caplog: pytest.LogCaptureFixture) -> str:
    """Return all that the app has written: log, records and notes, reports, mails, queue messages."""
    lines = [record.getMessage() + str(record.exc_text or "") for record in caplog.records]
    return "\n".join([*lines, world.written()])
