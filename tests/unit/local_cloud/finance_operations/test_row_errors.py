"""Rows that fail: how many of them make which status, and where their errors can be read."""

import json
from urllib.parse import parse_qs, urlsplit

import pytest

from local_cloud.finance_operations import FinanceOperationsSimulator
from tests.packages import build_package
from tests.unit.local_cloud.finance_operations.conftest import Caller, HandClock

ENTITY = "Fixed asset major type"
GOOD = ("A", "Alpha")
WITHOUT_KEY = ("", "Nobody")
REFERS_TO_NOTHING = ("B", "#ERROR here")
TOO_LONG = ("C", "x" * 300)


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        ([], "Failed"),
        ([GOOD], "Succeeded"),
        ([GOOD, WITHOUT_KEY], "PartiallySucceeded"),
        ([GOOD, TOO_LONG], "PartiallySucceeded"),
        ([WITHOUT_KEY, REFERS_TO_NOTHING, TOO_LONG], "Failed"),
    ],
)
def test_the_status_follows_from_the_rows(
    caller: Caller,
    simulator: FinanceOperationsSimulator,
    clock: HandClock,
    rows: list[tuple[str, str]],
    status: str,
) -> None:
    caller.import_package(build_package(rows=rows))
    clock.pass_by(60)

    assert caller.status() == status
    assert sum(each.rows for each in simulator.effects) == rows.count(GOOD)


def test_each_failed_row_has_an_error(caller: Caller, clock: HandClock) -> None:
    caller.import_package(build_package(rows=[GOOD, WITHOUT_KEY, REFERS_TO_NOTHING, TOO_LONG]))
    before = caller.value("GetExecutionErrors", executionId="run-1")
    clock.pass_by(60)

    errors = json.loads(caller.value("GetExecutionErrors", executionId="run-1"))

    assert before == "[]"
    assert errors == [
        {
            "RecordId": "C",
            "Field": "DESCRIPTION",
            "ErrorMessage": "The value of field DESCRIPTION is too long: 300 characters.",
        },
        {"RecordId": "2", "Field": "MAJORTYPEID", "ErrorMessage": 'Field "MAJORTYPEID" must be filled in.'},
        {
            "RecordId": "B",
            "Field": "DESCRIPTION",
            "ErrorMessage": 'The value "#ERROR here" in field "DESCRIPTION" is not found in the related table.\n'
            "validateWrite failed on data source.",
        },
    ]


def test_the_list_of_errors_can_be_as_malformed_as_the_real_one(
    caller: Caller, simulator: FinanceOperationsSimulator, clock: HandClock
) -> None:
    simulator.change(malformed_errors=True)
    caller.import_package(build_package(rows=[REFERS_TO_NOTHING, WITHOUT_KEY]))
    clock.pass_by(60)

    errors = caller.value("GetExecutionErrors", executionId="run-1")

    with pytest.raises(json.JSONDecodeError):
        json.loads(errors)
    assert errors.startswith('[{"RecordId":"B","Field":"DESCRIPTION","ErrorMessage":"The value "#ERROR here" in field')
    assert '"},{"RecordId":"2",' in errors


def test_the_keys_of_failed_rows_come_as_a_file_some_time_after_they_were_asked_for(
    caller: Caller, simulator: FinanceOperationsSimulator, clock: HandClock
) -> None:
    simulator.change(error_keys_s=5)
    caller.import_package(build_package(rows=[GOOD, REFERS_TO_NOTHING, ("D", "#ERROR")]))
    asked = {"executionId": "run-1", "entityName": ENTITY}
    clock.pass_by(60)

    assert caller.value("GetImportTargetErrorKeysFileUrl", **asked) == ""
    assert caller.value("GenerateImportTargetErrorKeysFile", **asked) is True
    assert caller.value("GetImportTargetErrorKeysFileUrl", **asked) == ""
    clock.pass_by(5)
    url = caller.value("GetImportTargetErrorKeysFileUrl", **asked)

    assert caller.download(url) == b"B\r\nD"
    assert parse_qs(urlsplit(url).query)["sp"] == ["r"]


def test_rows_that_did_not_reach_staging_come_as_a_file(caller: Caller, clock: HandClock) -> None:
    caller.import_package(build_package(rows=[GOOD, TOO_LONG]))
    clock.pass_by(60)

    url = caller.value("GetImportStagingErrorFileUrl", executionId="run-1", entityName=ENTITY)

    lines = caller.download(url).decode().splitlines()
    assert lines[0] == "MAJORTYPEID,DESCRIPTION,ERROR"
    assert lines[1].startswith("C,xxx")


def test_where_no_row_failed_there_are_no_files(caller: Caller, clock: HandClock) -> None:
    caller.import_package()
    clock.pass_by(60)

    for asked in ({"executionId": "run-1", "entityName": ENTITY}, {"executionId": "x", "entityName": "y"}):
        assert caller.value("GenerateImportTargetErrorKeysFile", **asked) is False
        assert caller.value("GetImportTargetErrorKeysFileUrl", **asked) == ""
        assert caller.value("GetImportStagingErrorFileUrl", **asked) == ""


def test_the_key_field_of_an_entity_can_be_another_than_the_first(
    caller: Caller, simulator: FinanceOperationsSimulator, clock: HandClock
) -> None:
    simulator.change(key_fields={ENTITY: "DESCRIPTION"})
    caller.import_package(build_package(rows=[("A", "same"), ("B", "same")]))
    clock.pass_by(60)

    assert simulator.rows(ENTITY, "USMF") == [{"MAJORTYPEID": "B", "DESCRIPTION": "same"}]
