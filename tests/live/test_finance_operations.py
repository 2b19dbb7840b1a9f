"""The real F&O keeps the contract, as far as it can be had without a simulator, and what was only believed is tried."""

import io
import uuid
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.clients.fno.client import ExecutionStatus
from shared.clients.http.client import json_object
from shared.errors import AppError, NotFound
from tests.contract.finance_operations_contract import FinanceOperationsContract, FinanceOperationsTarget
from tests.live.run import LiveRun
from tests.packages import Entity, build_package, data_file

type Seen = Callable[[str, object], None]

ENTITY: Final = "Fixed asset major type"
_ERROR_ROWS: Final = "only the simulator lets a row fail because of what it says"
# Tests of the contract that a real environment cannot be asked, each with the reason.
NOT_LIVE: Final = {
    "test_rows_that_fail_are_told_with_their_keys": _ERROR_ROWS,
    "test_an_import_in_which_every_row_fails_has_failed": _ERROR_ROWS,
    "test_every_entity_of_a_package_is_told_by_itself": "its second entity has other columns in a real environment",
    "test_imports_into_two_projects_run_side_by_side": "a quick environment may have ended the first one by then",
    "test_an_export_has_no_package_before_its_end": "a quick environment may have ended it by then",
}


@pytest.fixture
def target(finance_operations_target: FinanceOperationsTarget) -> FinanceOperationsTarget:
    return finance_operations_target


class TestFinanceOperations(FinanceOperationsContract):
    """The contract; every test has a data project of its own."""

    @pytest.fixture(autouse=True)
    def _can_be_asked_live(self, request: pytest.FixtureRequest) -> None:
        if reason := NOT_LIVE.get(request.function.__name__):
            pytest.skip(reason)


def test_a_second_key_for_the_same_name_is_one_to_the_same_blob(
    target: FinanceOperationsTarget, record_property: Seen
) -> None:
    name = f"{uuid.uuid4().hex}.zip"

    first, second = (target.fno.get_azure_write_url(name) for _ in range(2))

    same_id = first.blob_id == second.blob_id
    record_property("seen", f"{'the same' if same_id else 'another'} BlobId at the second call")
    assert first.url.address == second.url.address


def test_a_key_to_write_says_what_it_is_good_for(target: FinanceOperationsTarget, record_property: Seen) -> None:
    url = target.fno.get_azure_write_url(f"{uuid.uuid4().hex}.zip").url

    asked = parse_qs(urlsplit(url.reveal()).query)
    told = {name: asked.get(name, ["missing"])[0] for name in ("sv", "st", "se", "sp", "sr")}
    left_min = (url.expires - datetime.now(UTC)).total_seconds() / 60 if url.expires else 0
    record_property("seen", ", ".join(f"{name}={value}" for name, value in told.items()))
    record_property("seen", f"good for {left_min:.0f} minutes")
    assert left_min >= 15
    assert "w" in told["sp"]


def test_an_unknown_execution_is_not_found(target: FinanceOperationsTarget, record_property: Seen) -> None:
    refusal = refusal_of(lambda: target.fno.execution_status(target.new_id()), record_property)

    assert isinstance(refusal, NotFound)


def test_a_company_may_be_written_in_lower_case(target: FinanceOperationsTarget) -> None:
    execution_id = target.submit(company=target.company.lower())
    target.let_it_finish(execution_id)

    assert target.fno.execution_status(execution_id) is ExecutionStatus.SUCCEEDED


def test_an_execution_id_may_have_sixty_characters(target: FinanceOperationsTarget) -> None:
    execution_id = f"{target.new_id()}-{'x' * 60}"[:60]

    assert target.submit(execution_id=execution_id) == execution_id

    target.let_it_finish(execution_id)
    assert [each.entity for each in target.fno.job_details(execution_id)]


def test_an_execution_id_that_is_known_is_refused_in_words_that_the_app_understands(
    target: FinanceOperationsTarget, record_property: Seen
) -> None:
    execution_id = target.imported()

    refusal = refusal_of(lambda: target.submit(execution_id=execution_id), record_property)

    assert refusal is not None
    assert "already has this execution id" in refusal.message


def test_a_status_comes_as_a_name(target: FinanceOperationsTarget, record_property: Seen) -> None:
    execution_id = target.imported()

    value = json_object(target.fno._ask("GetExecutionSummaryStatus", execution_id)).get("value")

    record_property("seen", f"{value!r}")
    assert str(value) in set(ExecutionStatus)


def test_a_package_that_is_not_compressed_is_read(target: FinanceOperationsTarget, record_property: Seen) -> None:
    execution_id = target.imported(_stored(build_package()))

    assert target.fno.execution_status(execution_id) is ExecutionStatus.SUCCEEDED
    record_property("seen", "stored and deflated are read; others were not tried")


def test_a_folder_beside_the_packages_own_files_does_no_harm(target: FinanceOperationsTarget) -> None:
    execution_id = target.imported(build_package(replace={"__MACOSX/._Manifest.xml": b"left by macOS"}))

    assert target.fno.execution_status(execution_id) is ExecutionStatus.SUCCEEDED


def test_a_data_file_may_be_written_in_another_case(target: FinanceOperationsTarget) -> None:
    entity = Entity(name=ENTITY, file_name="Majors.csv")

    assert_imported(
        target, build_package(entities=[entity], replace={"Majors.csv": None, "MAJORS.CSV": data_file(entity)})
    )


def test_an_accent_may_be_a_sign_of_its_own_in_the_zip(target: FinanceOperationsTarget) -> None:
    entity = Entity(name=ENTITY, file_name="Caf\u00e9.csv")

    assert_imported(
        target, build_package(entities=[entity], replace={"Caf\u00e9.csv": None, "Cafe\u0301.csv": data_file(entity)})
    )


def test_a_disabled_entity_needs_no_data_file_and_no_mapping(target: FinanceOperationsTarget) -> None:
    disabled = Entity(name="Currencies", columns=(), rows=(), is_disabled=True)

    assert_imported(target, build_package(entities=[Entity(name=ENTITY), disabled], replace={"Currencies.csv": None}))


def test_a_package_that_lists_an_entity_twice_is_refused(
    target: FinanceOperationsTarget, record_property: Seen
) -> None:
    twice = build_package(entities=[Entity(name=ENTITY), Entity(name=ENTITY, file_name="More.csv")])

    assert refusal_of(lambda: target.imported(twice), record_property) is not None


def assert_imported(target: FinanceOperationsTarget, package: bytes) -> None:
    execution_id = target.imported(package)

    assert target.fno.execution_status(execution_id) is ExecutionStatus.SUCCEEDED
    assert sum(each.staging_created for each in target.fno.job_details(execution_id)) > 0


def test_fo_lets_a_managed_identity_in(target: FinanceOperationsTarget, run: LiveRun) -> None:
    credentials = run.settings.credentials
    if credentials.client_secret or credentials.certificate_path:
        pytest.skip("the settings name an app registration, not a managed identity")

    assert target.fno.get_azure_write_url(f"{uuid.uuid4().hex}.zip").blob_id


def refusal_of(ask: Callable[[], object], record_property: Seen) -> AppError | None:
    """Return what F&O refuses with, or None where it answers; either is kept for the report."""
    try:
        answered = ask()
    except AppError as error:
        record_property("seen", f"HTTP {error.call.status if error.call else '?'}: {error.message}")
        return error
    record_property("seen", f"not refused, answered with '{answered}'")
    return None


def _stored(package: bytes) -> bytes:
    """Return the package as a zip without compression."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(package)) as source, zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as copy:
        for name in source.namelist():
            copy.writestr(name, source.read(name))
    return buffer.getvalue()
