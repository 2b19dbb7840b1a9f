"""What a person is told to do about what F&O says, and that nothing is said about what is not known."""

from typing import Any, Final

import pytest

from operations.available_actions import Verb, of_lane
from shared import advice
from shared.advice import SHOWN, Cause, Said, advice_on, is_contention, what_to_do
from shared.clients.fno.row_errors import parse_execution_errors
from shared.runs.run import Run
from shared.runs.states import Direction, Outcome
from shared.runs.values import FailedRow, Submission
from tests import builders
from tests.fo_samples import fo_samples

SUMMARY: Final = "https://contoso.operations.dynamics.com/?mi=DMFExecutionHistorySummary"

# The codes of Microsoft's page that an import or its file can meet, for each a word of the advice.
# https://learn.microsoft.com/dynamics365/fin-ops-core/dev-itpro/data-entities/dm-error-descriptions
CODES: Final = {
    **dict.fromkeys(
        (
            *("DMF023", "DMF042", "DMF1968", "DMF1995", "DMF1997", "DMF2008", "DMF2028", "DMF2037", "DMF2043"),
            *("DMF2045", "DMF2048"),
        ),
        "temporarily unavailable",
    ),
    "DMF040": "ExcelSheetName",
    "DMF1830": "XML",
    "DMF1855": "SourceFormat",
    **dict.fromkeys(("DMF1959", "DMF2057"), "duplicates"),
    **dict.fromkeys(("DMF1961", "DMF1963", "MAP011"), "composite"),
    **dict.fromkeys(("DMF1966", "DMF2022", "DMF2060"), "mapping"),
    **dict.fromkeys(("DMF1996", "DMF2036"), "one after the other"),
    "DMF1999": "delimiter",
    "DMF2016": "dates",
    "DMF2018": "does not fit its column",
    "DMF2025": "column that is mapped is missing",
    "DMF2039": "one Excel file at a time",
    "DMF2050": "one value per column",
    "DMF2053": "at least one",
    "DMF2055": "control characters",
    "FF004": "first line",
}
EXPORT_CODES: Final = {"DMF1957": "Unicode", "DMF1965": "filter", "DMF2009": "another format", "DMF2042": "filter"}


def a_run(*messages: str, **facts: Any) -> Run:
    rows = tuple(FailedRow(record_id="", field="", message=message) for message in messages)
    submission = Submission(execution_id="exec-7", chosen=builders.NOON)
    facts = {"outcome": Outcome.FAILED, "are_rows_told": True, **facts}
    return builders.a_run(failed_rows=rows, failed_rows_total=len(rows), submissions=(submission,), **facts)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("said", [Said.SUBMIT, Said.IMPORT])
@pytest.mark.parametrize("shape", ["{}", "{}: something", "Error code: {}. Something", "Something (error {})"])
def test_every_code_of_microsofts_page_gets_the_advice_that_is_meant_for_it(code: str, said: Said, shape: str) -> None:
    advice = advice_on(shape.format(code), said)

    assert advice is not None
    assert CODES[code] in advice.to_do


@pytest.mark.parametrize("code", EXPORT_CODES)
def test_codes_of_exports_are_advised_on_for_exports_only(code: str) -> None:
    advice = advice_on(f"{code}: something", Said.EXPORT)

    assert advice is not None
    assert EXPORT_CODES[code] in advice.to_do
    assert advice_on(f"{code}: something", Said.IMPORT) is None


@pytest.mark.parametrize("code", CODES)
def test_what_is_contention_and_nothing_else_is_advised_on_as_a_matter_of_time(code: str) -> None:
    advice = advice_on(code, Said.IMPORT)

    assert advice is not None
    assert (advice.cause is Cause.TIME) == is_contention(code)


@pytest.mark.parametrize(
    ("message", "to_do"),
    [
        ("Selected file is not Unicode. '0' 'Currencies' record(s) inserted in staging.", "byte order mark"),
        ("Selected file is Unicode", "The data file is UTF-16"),
        ("the mapping is incorrect for entity Currencies and field {5B2}", "CR LF"),
        ("There are field(s), which are not mapped to Entity Currencies", "CR LF"),
        ("XML is not in correct format-Exception from HRESULT: 0xC0010009", "lacks a mapped element"),
        (
            "A DataTable named 'SALESORDERHEADER' already belongs to this DataSet. '0' record(s) inserted in staging.",
            "set overwrite to false",
        ),
        ("A data project must exist before importing a package consisting of a composite data entity.", "Create the"),
        ("Entity Currencys does not exist in the target environment", "refresh the entity list"),
        ("Unable to obtain Excel file lock.", "one Excel file at a time"),
        ("Transaction (Process ID 52) was deadlocked on lock resources", "one after the other"),
    ],
)
def test_words_of_an_execution_get_the_advice_that_the_submit_gives(message: str, to_do: str) -> None:
    advice = advice_on(message, Said.SUBMIT)

    assert advice is not None
    assert to_do in advice.to_do
    assert advice_on(message, Said.IMPORT) == advice
    assert f"{advice.to_do}." in what_to_do(a_run(message))


@pytest.mark.parametrize(
    "message",
    [
        'The value "#ERROR" in field "VALUE" is not found in the related table.',
        "Validation failed for record US-001.",
        # Words of a submit that mean something else of a row.
        "Could not find file 'Resources\\logo.png'.",
        "Company US99 does not exist.",
        "Field 'Legal entity' is not valid.",
        # Values of a row.
        "Customer account: FF004. The record already exists.",
        'The value "Selected file is not Unicode" in field "NOTE" is too long.',
        "The value 'DMF1830' in field 'ITEM' is not found.",
        "Item MAP011 is blocked.",
        # Other languages.
        "Die ausgewählte Datei ist keine Unicode-Datei.",
        "Le fichier sélectionné n'est pas Unicode.",
        "El archivo seleccionado no es Unicode",
        "Le mappage est incorrect pour l'entité Devises",
        "选定的文件不是 Unicode",
        "",
    ],
)
def test_what_is_not_known_gets_no_advice_and_so_no_wrong_one(message: str) -> None:
    said = what_to_do(a_run(message))

    assert said == "Correct the rows listed above, or what F&O reports about them, and copy the file to Input again."


def test_rows_that_others_have_seen_fail_for_their_values_get_no_advice_about_the_file() -> None:
    answers = [sample.answer["body"].get("value") for sample in fo_samples("GetExecutionErrors")]
    messages = [row.message for answer in answers if answer for row in parse_execution_errors(answer).rows]

    assert len(messages) >= 4
    assert [message for message in messages if advice_on(message, Said.IMPORT)] == []


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.PARTIALLY_SUCCEEDED])
@pytest.mark.parametrize("are_rows_told", [True, False])
@pytest.mark.parametrize("summary_url", ["", SUMMARY])
def test_without_row_errors_nobody_is_told_to_correct_rows_but_where_the_execution_log_is(
    outcome: Outcome, are_rows_told: bool, summary_url: str
) -> None:
    said = what_to_do(a_run(outcome=outcome, are_rows_told=are_rows_told, summary_url=summary_url))

    assert "orrect the data" not in said
    assert "orrect the rows" not in said
    assert "orrect the others" not in said
    assert "Job history > exec-7 > View execution log" in said
    assert ("linked below" in said) == bool(summary_url)
    assert ("F&O reported no row errors" in said) == are_rows_told
    assert ("The app does not have the row errors" in said) != are_rows_told


def test_a_failed_execution_without_row_errors_names_the_usual_causes() -> None:
    said = what_to_do(a_run())

    assert "F&O reported no row errors; it usually failed before staging" in said
    for cause in ("encoding", "delimiter", "worksheet", "mapping", "composite entity was imported with overwrite"):
        assert cause in said


def test_advice_is_given_once_whatever_the_number_of_rows_and_little_of_it() -> None:
    many = a_run(*["Selected file is not Unicode"] * 50, "DMF2016", "DMF2018", "DMF2050", "DMF2053")

    said = what_to_do(many)

    assert said.count("byte order mark") == 1
    assert said.count(". ") < 10
    assert "at least one" not in said  # the fourth
    assert SHOWN == 3


@pytest.mark.parametrize("message", ["A DataTable named 'X' already belongs to this DataSet.", "DMF1996"])
def test_a_file_that_is_right_is_run_again_and_not_corrected(message: str) -> None:
    said = what_to_do(a_run(message))

    assert "press Run again on the run's page" in said
    assert "orrect" not in said


def test_after_a_partial_success_the_rows_that_are_in_fo_are_not_to_be_imported_once_more() -> None:
    said = what_to_do(a_run("DMF2016", "unknown", outcome=Outcome.PARTIALLY_SUCCEEDED))

    assert said.startswith("Correct the data file: one of its dates or times is not valid. The rows without an error")
    assert said.endswith("copying this file to Input again imports every row once more.")


@pytest.mark.parametrize("flow", list(Direction))
@pytest.mark.parametrize("outcome", [None, *Outcome])
def test_every_outcome_has_something_to_do_or_nothing(flow: Direction, outcome: Outcome | None) -> None:
    said = what_to_do(a_run("DMF1996", outcome=outcome, direction=flow))
    if outcome in (None, Outcome.SUCCEEDED, Outcome.WITHDRAWN):
        assert said == ""
    elif flow is Direction.IMPORT:
        assert said.endswith(".")
    assert ("Input" in said and flow is Direction.EXPORT) is False


def test_advice_calls_buttons_as_the_pages_do() -> None:
    (label,) = (
        offer.label for offer in of_lane("x", Direction.EXPORT, is_paused=False) if offer.verb is Verb.EXPORT_NOW
    )

    assert f"press {label} below the list of runs" in advice._OF_EXPORT
