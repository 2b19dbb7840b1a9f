"""Every action of the package API, against recorded answers on a real socket.

The samples in tests/samples/fo say where each of them was seen.
"""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.advice import is_contention
from shared.clients.fno.client import EntityProgress, ExecutionStatus, FinanceOperations, finance_operations_http
from shared.clients.fno.refusals import CompanyUnknown, PackageUnreadable
from shared.clients.fno.row_errors import ExecutionErrors, RowError, parse_execution_errors
from shared.errors import AnswerLost, AppError, FileRejected, NeedsPerson, NotFound, ProjectBusy, Refused, TryAgain
from shared.log import LOGGER_NAME
from shared.secret import SecretUrl
from tests.fo_samples import ENTITY, QUESTIONS, fo_sample, fo_samples
from tests.unit.clients.answering import Answer, AnsweringServer, Asked, OneToken, answering

EXECUTION_ID = "usmf-20260105T081500-4f3c2a1b"
PACKAGE_URL = SecretUrl(
    "https://exampleaosstorage.blob.core.windows.net/dmf/7f2d8a.zip?sv=2014-02-14&sr=b&sig=bWFkZSB1cA%3D%3D"
    "&st=2026-01-05T07%3A21%3A33Z&se=2026-01-05T07%3A56%3A33Z&sp=rw"
)
ACTIVITY_ID = "5a1d3b0e-2b9c-4a56-9a8f-3b3a5b0c9a11"

type Ask = Callable[[FinanceOperations], object]

# How the app asks for each sample.
ASKS: dict[str, Ask] = {
    **{action: partial(lambda ask, fo: ask(fo, EXECUTION_ID), ask) for action, ask in QUESTIONS.items()},
    "ImportFromPackage": lambda fo: fo.import_from_package(
        package_url=PACKAGE_URL, data_project="Asset-Major-Types", execution_id=EXECUTION_ID, legal_entity="USMF"
    ),
    "ExportToPackage": lambda fo: fo.export_to_package(
        data_project="Customers-Out", package_name="customers-20260105", execution_id=EXECUTION_ID, legal_entity="USMF"
    ),
}


def sample(action: str, case: str) -> Answer:
    """Return the recorded answer of that name."""
    recorded = fo_sample(action, case).answer
    body = recorded["body"]
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return Answer(status=recorded["status"], headers=recorded["headers"], body=content)


@contextmanager
def finance_operations(
    answer: Answer | None, *, submit_timeout_s: float = 5.0
) -> Iterator[tuple[FinanceOperations, AnsweringServer]]:
    """An F&O that always gives this answer; None: it closes the connection."""
    with answering(lambda _: answer) as server, closing(finance_operations_http(OneToken())) as http:
        yield FinanceOperations(server.url, http, submit_timeout_s=submit_timeout_s), server


def action_failed(action: str, reason: str) -> Answer:
    """F&O's answer when an action ran and ended with this reason."""
    words = f"Exception occurred while executing action {action} on Entity DataManagementDefinitionGroup: {reason}"
    return request_refused(words)


def request_refused(words: str, *, status: int = 400) -> Answer:
    """F&O's answer to a request that no action has seen."""
    body = {"error": {"code": "", "message": "An error has occurred.", "innererror": {"message": words}}}
    return Answer(status=status, body=json.dumps(body).encode())


def error_of(action: str, answer: Answer) -> AppError:
    """The error that the app makes of an answer."""
    with finance_operations(answer) as (fo, _), pytest.raises(AppError) as caught:
        ASKS[action](fo)
    return caught.value


def outcome(action: str, case: str) -> object:
    """What the app makes of a sample."""
    with finance_operations(sample(action, case)) as (fo, _):
        return ASKS[action](fo)


def error(action: str, case: str) -> AppError:
    """The error that the app makes of a sample."""
    with pytest.raises(AppError) as caught:
        outcome(action, case)
    return caught.value


@pytest.mark.parametrize("action", sorted(ASKS))
def test_requests_look_as_documented(action: str) -> None:
    first = next(fo_samples(action))
    expected = first.request

    with finance_operations(sample(action, first.name)) as (fo, server), suppress(AppError):
        ASKS[action](fo)

    [asked] = server.asked
    assert (asked.method, asked.path) == (expected["method"], expected["path"])
    assert (json.loads(asked.body) if asked.body else None) == expected["body"]
    assert asked.headers["authorization"] == "Bearer made-up-token"
    assert asked.headers["accept"] == "application/json"
    assert asked.headers["x-ms-client-request-id"]


def test_every_sample_says_where_it_was_seen_and_belongs_to_a_method() -> None:
    assert {each.action for each in fo_samples()} == set(ASKS)
    assert all(each.seen for each in fo_samples())


def test_an_on_premises_base_url_keeps_its_path() -> None:
    http = finance_operations_http(OneToken())
    with answering(lambda _: sample("GetExecutionSummaryStatus", "Executing")) as server:
        FinanceOperations(f"{server.url}/namespaces/AXSF/", http).execution_status(EXECUTION_ID)
        http.close()

    assert server.asked[0].path.startswith("/namespaces/AXSF/data/DataManagementDefinitionGroups/Microsoft.Dynamics.")


@pytest.mark.parametrize("case", ["json in a string", "object", "json in a nested string"])
def test_the_place_for_a_package_is_read_in_every_form(case: str) -> None:
    with finance_operations(sample("GetAzureWriteUrl", case)) as (fo, _):
        place = fo.get_azure_write_url("7f2d8a.zip")

    assert place.blob_id == "64bcf4c8-6c1f-4f6e-9d3f-0a2b6f6a0d11"
    assert place.url == PACKAGE_URL
    assert place.url.expires == datetime(2026, 1, 5, 7, 56, 33, tzinfo=UTC)
    assert "sig" not in repr(place)


@pytest.mark.parametrize(
    ("action", "case", "read"),
    [
        ("ImportFromPackage", "started", EXECUTION_ID),
        ("ImportFromPackage", "started, nested", EXECUTION_ID),
        ("ExportToPackage", "started", EXECUTION_ID),
        ("ExportToPackage", "started, nested", EXECUTION_ID),
        ("GetExecutionSummaryStatus", "nested", ExecutionStatus.EXECUTING),
        ("GetExecutionSummaryStatus", "number", ExecutionStatus.PARTIALLY_SUCCEEDED),
        *(("GetExecutionSummaryStatus", status.value, status) for status in ExecutionStatus),
    ],
)
def test_an_id_and_a_status_are_read_in_every_form(action: str, case: str, read: str) -> None:
    told = outcome(action, case)

    assert (type(told), told) == (type(read), read)


def test_an_import_can_keep_the_project_and_stop_in_staging() -> None:
    with finance_operations(sample("ImportFromPackage", "started")) as (fo, server):
        ids = {"data_project": "p", "execution_id": EXECUTION_ID, "legal_entity": "USMF"}
        fo.import_from_package(package_url=PACKAGE_URL, **ids, overwrite=False, execute=False)

    body = json.loads(server.asked[0].body)
    assert (body["overwrite"], body["execute"]) == (False, False)


def test_the_asynchronous_action_is_sent_all_nine_arguments_and_refused_as_the_usual_one() -> None:
    def send(fo: FinanceOperations) -> str:
        return fo.import_from_package_async(
            package_url=PACKAGE_URL,
            data_project="P",
            execution_id=EXECUTION_ID,
            legal_entity="USMF",
            overwrite=False,
            execute=True,
            fail_on_error=True,
            run_async_without_batch=False,
            threshold_to_run_in_batch=5,
        )

    with finance_operations(sample("ImportFromPackage", "started")) as (fo, server):
        assert send(fo) == EXECUTION_ID
    assert json.loads(server.asked[0].body) == {
        "packageUrl": PACKAGE_URL.reveal(),
        "definitionGroupId": "P",
        "executionId": EXECUTION_ID,
        "execute": True,
        "overwrite": False,
        "legalEntityId": "USMF",
        "failOnError": True,
        "runAsyncWithoutBatch": False,
        "thresholdToRunInBatch": 5,
    }
    refusals = {"deadlock": ProjectBusy, "company ZZZZ does not exist": FileRejected, "(503) timed out": AnswerLost}
    for reason, error in refusals.items():
        with finance_operations(action_failed("ImportFromPackageAsync", reason)) as (fo, _), pytest.raises(error):
            send(fo)


def test_another_execution_id_in_the_answer_is_the_one_that_counts(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.WARNING, logger=LOGGER_NAME),
        finance_operations(Answer(body=b'{"value": "their-own-id"}')) as (fo, _),
    ):
        assert ASKS["ImportFromPackage"](fo) == "their-own-id"

    assert "fo.other_execution_id" in caplog.text


@pytest.mark.parametrize(
    "case",
    [
        *("gateway error", "server error without words", "unavailable", "not json", "id exists", "database timeout"),
        *("package storage unreachable", "bare server error, on-premises"),
    ],
)
def test_an_import_that_may_have_started_is_looked_up_and_not_sent_again(case: str) -> None:
    with finance_operations(sample("ImportFromPackage", case)) as (fo, server), pytest.raises(AnswerLost):
        ASKS["ImportFromPackage"](fo)

    assert len(server.asked) == 1


# https://learn.microsoft.com/dynamics365/fin-ops-core/dev-itpro/data-entities/dm-error-descriptions#error-codes
CONTENTION_CODES = (
    *("DMF023", "DMF042", "DMF1968", "DMF1995", "DMF1996", "DMF1997", "DMF2008", "DMF2025", "DMF2028", "DMF2036"),
    *("DMF2037", "DMF2039", "DMF2043", "DMF2045", "DMF2048"),
)


@pytest.mark.parametrize("code", CONTENTION_CODES)
@pytest.mark.parametrize("action", ["ImportFromPackage", "ExportToPackage"])
def test_a_start_waits_for_what_microsoft_calls_passing(action: str, code: str) -> None:
    busy = error_of(action, action_failed(action, f"{code} Something went wrong."))

    assert type(busy) is ProjectBusy
    assert busy.call is not None
    assert busy.call.code == code


@pytest.mark.parametrize(
    ("words", "is_one"),
    [
        (
            "Cannot delete a record in Source (DMFDefinitionGroupEntityXMLFields).\nDeadlock, where one or more users",
            True,
        ),
        ("Cannot create a record in DMFDefinitionGroupEntityXMLFields. The record already exists.", True),
        ("Cannot create a record in Entities for a processing group. The record already exists.", True),
        ("Cannot edit a record in Entities for a processing group (DMFDefinitionGroupEntity).", True),
        ("The record has never been selected.", True),
        ("An update conflict occurred due to another user process", True),
        ("'0' 'Customers V3' record(s) inserted in staging. DMF1996", True),
        ("DMF2039: An Excel file lock could not be obtained.", True),
        ("The Data management service is unreachable", True),
        ("SSIS: AcquireConnectionsError", True),
        ("", False),
        (
            "Cannot create a record in Customers (CustTable). Customer account: US-001. The record already exists.",
            False,
        ),
        ("Project 000123 is in process.", False),
        ("Journal 00045 is in use by another user.", False),
        ("DMF1830: XML is not in correct format", False),
        ("DMF19960", False),
        ("Selected file is not Unicode. '0' 'Currencies' record(s) inserted in staging.", False),
    ],
)
def test_contention_is_known_by_its_words_and_what_fo_says_of_rows_and_files_is_none(words: str, is_one: bool) -> None:
    assert is_contention(words) is is_one


@pytest.mark.parametrize(
    ("case", "advice"),
    [
        ("no package header", "without a folder around them"),
        ("folder in the zip", "without a folder around them"),
        ("unknown entity", "refresh the entity list"),
        ("wrong company", "first part of the file name"),
        ("xml format", "copy it to Input again"),
        ("not unicode", "UTF-16"),
    ],
)
def test_a_package_that_fo_refuses_comes_back_with_its_words_and_what_to_do(case: str, advice: str) -> None:
    refusal = error("ImportFromPackage", case)
    reason = fo_sample("ImportFromPackage", case).answer["body"]["error"]["innererror"]["message"].partition(": ")[2]

    assert isinstance(refusal, FileRejected)
    assert reason.rstrip(".") in refusal.message
    assert advice in refusal.message
    assert "Exception occurred" not in refusal.message
    assert refusal.call is not None
    assert refusal.call.request_id == ACTIVITY_ID


@pytest.mark.parametrize(
    "reason",
    [
        *("DMF1830", "DMF1855", "DMF1959", "DMF1963", "DMF2016", "DMF2018", "DMF2022", "DMF2050", "DMF2053", "DMF2055"),
        *("DMF2057", "FF004", "MAP011"),
        "Could not find file 'C:\\windows\\TEMP\\5B2_5B2\\Currencies.csv'.",
        "Error in line 1 position 1. Expecting element 'DataManagementPackageManifest' from namespace 'x'.",
        "End of Central Directory record could not be found.",
        "Selected file is Unicode",
        "the mapping is incorrect for entity Currencies and field {5B2}",
        "There are fields, which are not mapped to Entity Currencies",
    ],
)
def test_a_known_reason_of_the_file_says_what_to_do_about_the_file(reason: str) -> None:
    refusal = error_of("ImportFromPackage", action_failed("ImportFromPackage", reason))

    assert type(refusal) is FileRejected
    assert refusal.message.startswith(f"F&O refuses the package: {reason.rstrip('.')}. ")


@pytest.mark.parametrize(
    "reason",
    [
        *("The legal entity XXXX does not exist.", "Legal entity XX9 is not valid", "Company 'XXXX' was not found"),
        *("Wrong company", "The dataAreaId is invalid"),
    ],
)
def test_a_company_that_fo_does_not_have_can_be_told_from_a_bad_package(reason: str) -> None:
    """It is the flow's fault if its settings name the company, and only the flow knows."""
    refusal = error_of("ImportFromPackage", action_failed("ImportFromPackage", reason))

    assert type(refusal) is CompanyUnknown
    assert isinstance(refusal, FileRejected)


@pytest.mark.parametrize(
    ("action", "case", "kind", "to_do"),
    [
        *(
            ("ImportFromPackage", case, ProjectBusy, "")
            for case in (
                *("deadlock", "deadlock, on-premises", "record already exists", "cannot edit a record"),
                *("record has never been selected", "box api", "project is running", "excel lock"),
            )
        ),
        ("ImportFromPackage", "project exists", NeedsPerson, "Let the import overwrite the data project"),
        ("ImportFromPackage", "project exists, on-premises", NeedsPerson, "Let the import overwrite the data project"),
        ("ImportFromPackage", "composite needs project", NeedsPerson, "Create the data project once in F&O"),
        ("ImportFromPackage", "composite needs project", NeedsPerson, "set overwrite to false"),
        ("ImportFromPackage", "package url expired", PackageUnreadable, ""),
        ("GetAzureWriteUrl", "refused", NeedsPerson, ""),
    ],
)
def test_what_the_file_cannot_cure_is_no_fault_of_the_file_and_says_what_to_do(
    action: str, case: str, kind: type[AppError], to_do: str
) -> None:
    refusal = error(action, case)

    assert isinstance(refusal, kind)
    assert to_do in refusal.message


IMPORT, EXPORT = "ImportFromPackage", "ExportToPackage"
ACCENTS = "Could not find file 'C:\\windows\\TEMP\\5B2_5B2\\Salari\u00e9s.csv'."
DATA_TABLE = "A DataTable named 'SALESORDERHEADER' already belongs to this DataSet."
DELIMITER = ["The delimiter of the data file", "If it refuses others too, "]
SPREADSHEET = ["give the entity another format or a filter"]


@pytest.mark.parametrize(
    ("action", "reason", "kind", "told", "not_told"),
    [
        (IMPORT, ACCENTS, FileRejected, ["letter by letter, accents and their encoding included"], "PackageHeader"),
        (IMPORT, "DMF1999: Column delimiter not found", Refused, DELIMITER, "that the app does not know"),
        (IMPORT, DATA_TABLE, NeedsPerson, ["set overwrite to false"], "Exception occurred"),
        (EXPORT, "DMF2042: Spreadsheet is full", NeedsPerson, SPREADSHEET, "Exception occurred"),
    ],
)
def test_a_known_reason_comes_with_the_advice_for_it_and_no_other(
    action: str, reason: str, kind: type[AppError], told: list[str], not_told: str
) -> None:
    refusal = error_of(action, action_failed(action, reason))

    assert type(refusal) is kind
    assert all(words in refusal.message for words in told)
    assert not_told not in refusal.message


def test_companies_are_listed_page_after_page_in_capitals() -> None:
    def answer(asked: Asked) -> Answer:
        page: dict[str, object] = {"value": [{"LegalEntityId": "demf"}]}
        if "$skiptoken" not in asked.path:
            link = f"http://{asked.headers['host']}{asked.path}&$skiptoken=2"
            page = {"value": [{"LegalEntityId": "USMF"}, {"LegalEntityId": None}], "@odata.nextLink": link}
        return Answer(body=json.dumps(page).encode())

    with answering(answer) as server, closing(finance_operations_http(OneToken(), server.url)) as http:
        assert FinanceOperations(server.url, http).companies() == {"USMF", "DEMF"}


@pytest.mark.parametrize(("status", "body"), [(403, b"{}"), (200, b'{"value": []}')])
def test_companies_that_the_app_is_not_allowed_to_read_are_not_taken_for_none(status: int, body: bytes) -> None:
    with finance_operations(Answer(status=status, body=body)) as (fo, _), pytest.raises(NeedsPerson) as caught:
        fo.companies()

    assert "The app is not allowed to read the companies of F&O (LegalEntities)" in caught.value.message


def test_what_is_not_from_the_action_itself_is_no_reason_of_a_file() -> None:
    """A proxy, or another service in the place of F&O, may say anything."""
    refusal = error_of("ImportFromPackage", request_refused("Entity X does not exist in the target environment"))

    assert {type(each) for each in (refusal, error("ImportFromPackage", "model state"))} == {Refused}


def test_a_row_error_that_says_nothing_at_all_is_none() -> None:
    assert parse_execution_errors("null").rows == ()
    assert parse_execution_errors([{"RecordId": "", "Field": "", "ErrorMessage": ""}]).rows == ()
    assert len(parse_execution_errors([{"RecordId": "5", "Field": "", "ErrorMessage": ""}]).rows) == 1


@pytest.mark.parametrize(
    "reason", ["Object reference not set to an instance of an object.", "DMF040", "Some new words"]
)
@pytest.mark.parametrize("status", [400, 500])
def test_a_package_refused_for_an_unknown_reason_may_be_anybodys_fault(status: int, reason: str) -> None:
    answer = action_failed("ImportFromPackage", reason)
    refusal = error_of("ImportFromPackage", Answer(status=status, body=answer.body))

    assert type(refusal) is Refused
    assert reason.rstrip(".") in refusal.message
    assert "If it refuses others too, " in refusal.message
    assert refusal.call is not None
    assert refusal.call.status == status
    assert refusal.call.code == (reason if reason.startswith("DMF") else "")


@pytest.mark.parametrize("status", [400, 402, 405, 406, 409, 411, 412, 413, 414, 415, 422, 423, 451])
@pytest.mark.parametrize("body", [b"", b"<html>Bad Request</html>", b"Request rejected", b'{"Message": "no"}'])
@pytest.mark.parametrize("action", ["ImportFromPackage", "ExportToPackage", "GetAzureWriteUrl", "GetExecutionErrors"])
def test_a_call_that_is_refused_before_its_action_ran_blames_nobody(action: str, body: bytes, status: int) -> None:
    refusal = error_of(action, Answer(status=status, body=body))

    assert type(refusal) is Refused
    assert refusal.message.startswith(f"F&O rejects the call {action}: ")
    assert "If it rejects all others too, " in refusal.message
    assert refusal.call is not None
    assert refusal.call.status == status


@pytest.mark.parametrize("action", sorted(ASKS))
def test_a_forbidden_call_may_be_about_one_file_or_about_all(action: str) -> None:
    refusal = error_of(action, Answer(status=403, body=b'{"Message": "Access is denied."}'))

    assert type(refusal) is Refused
    assert "Access is denied" in refusal.message
    assert refusal.message.endswith("with a user whose roles permit data management")


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"Message": "An error has occurred."}'])
def test_a_failure_of_the_server_without_a_reason_passes(body: bytes) -> None:
    answer = Answer(status=500, body=body)

    assert type(error_of("ImportFromPackage", answer)) is AnswerLost
    assert type(error_of("ExportToPackage", answer)) is AnswerLost
    assert type(error_of("GetAzureWriteUrl", answer)) is TryAgain


@pytest.mark.parametrize("action", ["ImportFromPackage", "ExportToPackage", "GetAzureWriteUrl"])
def test_an_activity_id_of_any_length_takes_one_short_line_of_an_error(action: str) -> None:
    answer = Answer(headers={"ms-dyn-aid": "5a1d\t3b0e " * 500}, body=b'{"value": ""}')

    call = error_of(action, answer).call

    assert call is not None
    assert (call.operation, call.status) == (action, 200)
    assert call.request_id.startswith("5a1d 3b0e 5a1d")
    assert len(call.request_id) == 100


def test_a_missing_action_names_the_address_that_was_asked() -> None:
    refusal = error("GetAzureWriteUrl", "no such action")

    assert isinstance(refusal, NeedsPerson)
    assert "https://example.operations.dynamics.com/data/" in refusal.message


def test_only_an_ended_execution_is_final() -> None:
    final = {status.value for status in ExecutionStatus if status.is_final}

    assert final == {"Succeeded", "PartiallySucceeded", "Failed", "Canceled"}


def test_a_status_nobody_knows_is_unknown_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger=LOGGER_NAME):
        assert outcome("GetExecutionSummaryStatus", "new word") is ExecutionStatus.UNKNOWN

    assert json.loads(caplog.messages[-1]) == {"event": "fo.unknown_status", "status": "Paused"}


@pytest.mark.parametrize("reason", ["Deadlock, where one or more users", "Execution Timeout Expired.", "DMF042"])
@pytest.mark.parametrize("action", ["GetAzureWriteUrl", "GetExecutionSummaryStatus"])
def test_a_call_that_starts_nothing_is_made_again_later_if_it_meets_contention(action: str, reason: str) -> None:
    assert type(error_of(action, action_failed(action, reason))) is TryAgain


def test_an_execution_that_fo_does_not_know_is_recognized_in_every_form_of_its_answer() -> None:
    answer = request_refused(f"Execution details were not found for execution id: {EXECUTION_ID}")

    assert isinstance(error_of("GetExecutionSummaryStatus", answer), NotFound)


def progress_of(entity: str = "Customers V3", **facts: Any) -> EntityProgress:
    """Return the progress of an entity of which no row was written."""
    nothing: dict[str, Any] = {"staging_created": 0, "target_created": 0, "target_updated": 0}
    return EntityProgress(entity=entity, **nothing | facts)


def test_the_progress_of_every_entity_is_read() -> None:
    finished = {"staging_status": "Finished", "target_status": "Finished"}

    assert outcome("DataManagementExecutionJobDetails", "two entities") == (
        progress_of(ENTITY, **finished, staging_created=11, target_created=9, target_updated=1),
        progress_of(staging_status="Executing", target_status="NotRun"),
    )


@pytest.mark.parametrize(
    ("target_status", "written", "never"),
    [
        *[(status, 0, True) for status in ("NotRun", "NotStarted", "notrun")],
        *[(status, 1, False) for status in ("NotRun", "NotStarted")],
        *[(status, 0, False) for status in ("Waiting", "Executing", "Error", "Finished", "Ready", "Cancelling")],
        *[(status, 0, False) for status in ("Canceled", "Hold", "", "None", "Paused")],
    ],
)
def test_a_target_that_certainly_was_not_begun_is_told_from_all_others(
    target_status: str, written: int, never: bool
) -> None:
    progress = progress_of(
        staging_status="Error", target_status=target_status, staging_created=5, target_updated=written
    )

    assert progress.target_never_started is never


def test_row_errors_are_read_where_fo_wrote_broken_json() -> None:
    two_rows, broken = (outcome("GetExecutionErrors", case) for case in ("two rows", "broken json"))

    assert isinstance(two_rows, ExecutionErrors)
    assert isinstance(broken, ExecutionErrors)
    assert two_rows.rows == (
        RowError(record_id="1", field="MAJORTYPEID", message='The value "X" is not valid.'),
        RowError(record_id="2", field="", message="Line one line two é"),
    )
    not_found = 'The value "US-001" in field "Account" is not found. Update was cancelled.'
    failed = 'Results. validateWrite failed on data entity "Customers V3", {see log}'
    assert broken.rows == (
        RowError(record_id="1", field="CUSTOMERACCOUNT", message=not_found),
        RowError(record_id="2", field="", message=failed),
    )
    assert broken.raw.startswith('[{"RecordId":"1"')


@pytest.mark.parametrize(
    ("value", "messages"),
    [
        (None, []),
        ("", []),
        ("The execution was stopped", ["The execution was stopped"]),
        ('"just words"', ["just words"]),
        ('{"RecordId":"1","Field":"","ErrorMessage":"one object"}', ["one object"]),
        ([{"recordid": 1, "errormessage": "a real list"}], ["a real list"]),
        ('[{"Entity":"Customers","Text":"other keys"}]', ['{"Entity": "Customers", "Text": "other keys"}']),
        (r'[{"RecordId":"1","Field":"","ErrorMessage":"cannot read "C:\temp""}]', [r'cannot read "C:\temp"']),
        ('[{"RecordId":"1","Field":"","ErrorMessage":"cut "off" in the mid', ['cut "off" in the mid']),
        ('[{"RecordId":"1","Field":"","ErrorMessage":"half of \\ud83d a pair"}]', ["half of � a pair"]),
    ],
)
def test_error_lists_of_any_form_keep_their_words(value: object, messages: list[str]) -> None:
    assert [row.message for row in parse_execution_errors(value).rows] == messages


@given(st.text())
def test_no_error_list_is_too_broken_to_read(raw: str) -> None:
    errors = parse_execution_errors(raw)

    assert errors.raw == raw.strip()
    assert "".join(row.record_id + row.field + row.message for row in errors.rows).encode("utf-8") is not None


# What a message may hold without looking like the beginning of the next row.
_MESSAGES = st.text(st.characters(exclude_categories=["Cs"]), max_size=60).filter(
    lambda text: "RecordId" not in text and "ErrorMessage" not in text
)


@given(st.lists(_MESSAGES, min_size=1, max_size=5))
def test_messages_survive_fos_way_of_writing_them(messages: list[str]) -> None:
    # An unescaped quote makes the list unreadable for every JSON parser.
    messages = [f'a "b" {message} c' for message in messages]
    raw = ",".join(f'{{"RecordId":"{n}","Field":"F","ErrorMessage":"{m}"}}' for n, m in enumerate(messages))

    rows = parse_execution_errors(f"[{raw}]").rows

    assert [row.message for row in rows] == [" ".join(message.split()) for message in messages]
    assert [row.record_id for row in rows] == [str(number) for number in range(len(messages))]
