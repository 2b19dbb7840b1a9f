"""A failed import tells the same about what to do beside its file, on its page and in its alert.

The errors stand here as they were reported in public for other products. What the table of advice holds is tested in
``tests/unit/test_advice.py``.
"""

import html
from typing import Final, Literal

import pytest

from local_cloud import faults
from local_cloud.finance_operations.knobs import Behaviour
from operations import pages
from operations.web import PageRequest
from shared.runs.addresses import address_of
from tests.exports import PROJECT, prepared
from tests.flows.conftest import MakeWorld
from tests.flows.trouble import ALERTS, fno_fault, import_file, report_errors, shown
from tests.world import World

type Bad = Literal["Failed", "PartiallySucceeded"]

# https://github.com/microsoft/Recurring-Integrations-Scheduler/issues/92, and the author of dmf_package_import.py
NOT_UNICODE: Final = "Selected file is not Unicode. '0' 'Currencies' record(s) inserted in staging."
# https://github.com/microsoft/Recurring-Integrations-Scheduler/issues/57
DATA_TABLE: Final = (
    "A DataTable named 'SALESORDERHEADER' already belongs to this DataSet. '0' record(s) inserted in staging."
)


def told(world: World) -> dict[str, str]:
    """Return what the report, the page and the alert of the one run that has ended say, each on one line."""
    (run,) = world.ended_runs()
    (report,) = (world.folder / "Error").glob("*.report.txt")
    page = html.unescape(pages.run_page(shown(world, address_of(run)), PageRequest(query={})).body)
    (mail,) = world.mails()
    texts = {"report": report.read_text("utf-8-sig"), "page": page, "alert": mail.content}
    return {where: " ".join(text.split()) for where, text in texts.items()}


@pytest.mark.quick(cases=1)
@pytest.mark.parametrize("outcome", ["Failed", "PartiallySucceeded"])
@pytest.mark.parametrize(
    ("message", "advice"),
    [
        (NOT_UNICODE, "CSV-Unicode means UTF-16 (little endian) with a byte order mark"),
        (DATA_TABLE, "set overwrite to false"),
    ],
    ids=["errors_not_unicode", "errors_data_table_exists"],
)
def test_errors_of_an_execution_get_the_advice_that_the_same_words_get_at_the_submit(
    make_world: MakeWorld, message: str, advice: str, outcome: Bad
) -> None:
    world = make_world(settings=ALERTS, behaviour=Behaviour(outcome=outcome))
    report_errors(world, [message])

    import_file(world, "USMF_1.zip")

    for where, said in told(world).items():
        assert message.split(".")[0] in said, where
        assert advice in said, where


@pytest.mark.parametrize("outcome", ["Failed", "PartiallySucceeded"])
def test_errors_none_says_so_with_the_usual_causes_and_the_link_to_the_execution_log(
    make_world: MakeWorld, outcome: Bad
) -> None:
    world = make_world(settings=ALERTS, behaviour=Behaviour(outcome=outcome))
    report_errors(world, [])

    import_file(world, "USMF_1.zip")

    (run,) = world.ended_runs()
    assert run.summary_url
    for where, said in told(world).items():
        assert "F&O reported no row errors" in said, where
        assert ("it usually failed before staging" in said) == (outcome == "Failed"), where
        assert f"Job history > {run.execution_id} > View execution log, linked below" in said, where
        assert run.summary_url in said, where
        assert "orrect the data" not in said, where
        assert "orrect the others" not in said, where


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        (["Currency XYZ is unknown"], "status Failed: 1 row error: Currency XYZ is unknown"),
        (["Currency XYZ is unknown", "Unit Q is unknown"], "status Failed: 2 row errors, the first: Currency XYZ"),
    ],
)
def test_one_row_error_is_told_in_the_singular(make_world: MakeWorld, messages: list[str], words: str) -> None:
    world = make_world(settings=ALERTS, behaviour=Behaviour(outcome="Failed"))
    report_errors(world, messages)

    import_file(world, "USMF_1.zip")

    for where, said in told(world).items():
        assert words in said, where


def test_row_errors_that_fo_does_not_hand_out_are_not_taken_for_none(make_world: MakeWorld) -> None:
    world = make_world(settings=ALERTS, behaviour=Behaviour(outcome="Failed"))
    world.faults.add(fno_fault("GetExecutionErrors", faults.status(503), times=None))

    import_file(world, "USMF_1.zip")

    for where, said in told(world).items():
        assert "The app does not have the row errors" in said, where
        assert "F&O reported no row errors" not in said, where


def test_an_export_that_fails_is_told_with_advice_and_without_a_word_about_input(make_world: MakeWorld) -> None:
    settings = {"INPUT_FOLDER": "", "EXPORT_DATA_PROJECT": PROJECT, "EXPORT_COMPANY": "USMF", **ALERTS}
    world = prepared(make_world(settings=settings, behaviour=Behaviour(outcome="Failed")))
    report_errors(world, ["DMF1957: Cannot export unicode data as an ascii file type"])

    world.start_exports()
    world.run_until_quiet()

    (mail,) = world.mails()
    assert "give the entity a format whose name ends with Unicode" in mail.content
    assert "The next export starts on schedule" in mail.content
    assert "Input" not in mail.content
