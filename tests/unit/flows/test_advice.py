"""A failed import tells the same about what to do beside its file, on its page and in its alert.

The errors stand here as they were reported in public for other products. What the table of advice holds is tested in
``tests/unit/domain/test_advice.py``.
"""

import html
import json
from collections.abc import Sequence
from typing import Final, Literal

import pytest

from local_cloud import faults
from local_cloud.finance_operations.knobs import Behaviour
from operations import pages, run_view
from operations.web import PageRequest
from shared.runs.addresses import address_of
from shared.runs.states import Outcome
from tests.exports import PROJECT, prepared
from tests.packages import Entity, build_package, with_unmarked_name
from tests.unit.flows.conftest import MakeWorld
from tests.unit.flows.trouble import ALERTS, fno_fault, look_and_finish
from tests.world import World

type Bad = Literal["Failed", "PartiallySucceeded"]

# https://github.com/microsoft/Recurring-Integrations-Scheduler/issues/92, and the author of dmf_package_import.py
NOT_UNICODE: Final = "Selected file is not Unicode. '0' 'Currencies' record(s) inserted in staging."
# https://github.com/microsoft/Recurring-Integrations-Scheduler/issues/57
DATA_TABLE: Final = (
    "A DataTable named 'SALESORDERHEADER' already belongs to this DataSet. '0' record(s) inserted in staging."
)


def report_errors(world: World, messages: Sequence[str]) -> None:
    """Let F&O report these errors of every execution."""
    rows = [{"RecordId": "", "Field": "", "ErrorMessage": message} for message in messages]
    answer = faults.status(200, body={"value": json.dumps(rows)})
    world.faults.add(fno_fault("GetExecutionErrors", answer, times=None))


def told(world: World) -> dict[str, str]:
    """Return what the report, the page and the alert of the one run that has ended say, each on one line."""
    (run,) = world.ended_runs()
    (report,) = (world.folder / "Error").glob("*.report.txt")
    view = run_view.find_run(address_of(run), world.services)
    page = html.unescape(pages.run_page(view, PageRequest(query={})).body)
    (mail,) = world.mails()
    texts = {"report": report.read_text("utf-8-sig"), "page": page, "alert": mail.content}
    return {where: " ".join(text.split()) for where, text in texts.items()}


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
    world.put("USMF_1.zip")

    look_and_finish(world)

    for where, said in told(world).items():
        assert message.split(".")[0] in said, where
        assert advice in said, where


@pytest.mark.parametrize("outcome", ["Failed", "PartiallySucceeded"])
def test_errors_none_says_so_with_the_usual_causes_and_the_link_to_the_execution_log(
    make_world: MakeWorld, outcome: Bad
) -> None:
    world = make_world(settings=ALERTS, behaviour=Behaviour(outcome=outcome))
    report_errors(world, [])
    world.put("USMF_1.zip")

    look_and_finish(world)

    (run,) = world.ended_runs()
    assert run.summary_url
    for where, said in told(world).items():
        assert "F&O reported no row errors" in said, where
        assert ("it usually failed before staging" in said) == (outcome == "Failed"), where
        assert f"Job history > {run.execution_id} > View execution log, linked below" in said, where
        assert run.summary_url in said, where
        assert "orrect the data" not in said, where
        assert "orrect the others" not in said, where


def test_row_errors_that_fo_does_not_hand_out_are_not_taken_for_none(make_world: MakeWorld) -> None:
    world = make_world(settings=ALERTS, behaviour=Behaviour(outcome="Failed"))
    world.faults.add(fno_fault("GetExecutionErrors", faults.status(503), times=None))
    world.put("USMF_1.zip")

    look_and_finish(world)

    for where, said in told(world).items():
        assert "The app does not have the row errors" in said, where
        assert "F&O reported no row errors" not in said, where


def test_rows_that_fail_for_their_values_get_no_advice_about_the_file(make_world: MakeWorld) -> None:
    world = make_world(settings=ALERTS)
    world.put("USMF_1.zip", build_package(rows=(("B", "#ERROR: Selected file is not Unicode"),)))

    look_and_finish(world)

    for where, said in told(world).items():
        assert "Correct the rows listed above" in said, where
        assert "byte order mark" not in said, where


@pytest.mark.parametrize("words", ["Die ausgewählte Datei ist keine Unicode-Datei.", "选定的文件不是 Unicode"])
def test_words_in_another_language_are_passed_on_without_advice(make_world: MakeWorld, words: str) -> None:
    world = make_world(settings=ALERTS, behaviour=Behaviour(outcome="Failed"))
    report_errors(world, [words])
    world.put("USMF_1.zip")

    look_and_finish(world)

    for where, said in told(world).items():
        assert words in said, where
        assert "byte order mark" not in said, where


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


# -- packages, from Input to where they end


def test_packages_whose_names_are_written_otherwise_are_imported(make_world: MakeWorld) -> None:
    decomposed = "Salarie\u0301s.csv"
    entities = [Entity(name="Employees", file_name="Salari\u00e9s.csv")]
    content = b"MAJORTYPEID,DESCRIPTION\r\nA,Alpha\r\n"
    world = make_world()
    world.put("USMF_case.zip", build_package(entity="E", replace={"E.csv": None, "e.CSV": content}))
    world.put(
        "USMF_disabled.zip",
        build_package(entities=[Entity(name="E"), Entity(name="F", is_disabled=True)], replace={"F.csv": None}),
    )
    world.put(
        "USMF_name_decomposed.zip",
        build_package(entities=entities, replace={"Salari\u00e9s.csv": None, decomposed: content}),
    )

    look_and_finish(world)

    assert [run.outcome for run in world.ended_runs()] == [Outcome.SUCCEEDED] * 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            build_package(entities=[Entity(name="Currencies"), Entity(name="Currencies", file_name="2.csv")]),
            "is listed twice",
        ),
        (with_unmarked_name("Salariés.csv", "cp850"), "only the encoding of its name differs"),
    ],
    ids=["USMF_entity_listed_twice", "USMF_name_in_cp850"],
)
def test_a_package_that_fo_might_read_otherwise_is_refused_in_words_and_never_tried_for_ever(
    make_world: MakeWorld, content: bytes, words: str
) -> None:
    world = make_world(settings=ALERTS)
    world.put("USMF_1.zip", content)
    world.put("USMF_2.zip")

    look_and_finish(world)

    assert "USMF_1.zip" in world.files("Error")
    assert world.files("Success") == ["USMF_2.zip"]
    (mail,) = world.mails()
    assert words in mail.content
    assert [run.outcome for run in world.ended_runs()].count(Outcome.REJECTED) == 1
