"""What the app relies on in F&O's package API, as behaviours of ``clients/fno/client.py`` against any environment.

The class runs where a ``target`` fixture says what to run against: the simulator (``test_finance_operations.py``), or a
sandbox whose company may be written to. Nothing here turns knobs or makes calls fail.
"""

import io
import uuid
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from shared.clients.blobs.read import open_blob, read_small
from shared.clients.blobs.write import empty_blob, stream_to_blob
from shared.clients.fno.client import ExecutionStatus, FinanceOperations
from shared.clients.fno.refusals import PackageUnreadable
from shared.clients.http.client import Http
from shared.errors import FileRejected, NeedsPerson, NotFound, ProjectBusy
from shared.secret import SecretUrl
from tests.packages import Entity, build_package

ENTITY: Final = "Fixed asset major type"


@dataclass(frozen=True, slots=True, kw_only=True)
class FinanceOperationsTarget:
    """An environment, and a data project that nobody else uses."""

    fno: FinanceOperations
    downloads: Http  # for the URLs that F&O hands out
    let_it_finish: Callable[[str], None]  # returns when the execution of that id has ended
    company: str = "USMF"
    project: str = field(default_factory=lambda: f"Contract-{uuid.uuid4().hex[:12]}")

    def upload(self, package: bytes) -> SecretUrl:
        place = self.fno.get_azure_write_url(f"{uuid.uuid4().hex}.zip")
        stream_to_blob([package], place.url)
        return place.url

    def submit(
        self,
        package: bytes | None = None,
        *,
        url: SecretUrl | None = None,
        execution_id: str = "",
        company: str = "",
        overwrite: bool = True,
        project: str = "",
    ) -> str:
        """Start an import and return F&O's id of it."""
        return self.fno.import_from_package(
            package_url=url or self.upload(build_package() if package is None else package),
            data_project=project or self.project,
            execution_id=execution_id or self.new_id(),
            legal_entity=company or self.company,
            overwrite=overwrite,
        )

    def imported(self, package: bytes | None = None) -> str:
        """Import a package to its end and return the execution's id."""
        execution_id = self.submit(package)
        self.let_it_finish(execution_id)
        return execution_id

    def export(self, *, execution_id: str = "", project: str = "", company: str = "") -> str:
        return self.fno.export_to_package(
            data_project=project or self.project,
            package_name="Contract",
            execution_id=execution_id or self.new_id(),
            legal_entity=company or self.company,
        )

    def new_id(self) -> str:
        return f"{self.project[:30]}-{uuid.uuid4().hex[:12]}"

    def is_known(self, execution_id: str) -> bool:
        try:
            self.fno.execution_status(execution_id)
        except NotFound:
            return bool(self.fno.job_details(execution_id))
        return True


def with_data(content: bytes) -> bytes:
    return build_package(replace={f"{ENTITY}.csv": content})


CSV: Final = b"MAJORTYPEID,DESCRIPTION\r\nA,Alpha\r\n"
# Packages that F&O cannot read, each with some of the words it says so in.
BROKEN: Final = {
    "not a zip": (b"Dear Sir or Madam", "PackageHeader"),
    "empty": (b"", "PackageHeader"),
    "half a zip": (build_package()[:400], "PackageHeader"),
    "without a header": (build_package(replace={"PackageHeader.xml": None}), "PackageHeader"),
    "without a manifest": (build_package(replace={"Manifest.xml": None}), "Manifest"),
    "in a folder": (build_package(folder="Package/"), "PackageHeader"),
    "a manifest that is no XML": (build_package(replace={"Manifest.xml": b"<half"}), "not in correct format"),
    "a manifest of another kind": (build_package(namespace="http://example.com/"), "Expecting element"),
    "without its data file": (build_package(replace={f"{ENTITY}.csv": None}), "Could not find file"),
    "a CSV with the wrong line ends": (with_data(CSV.replace(b"\r", b"")), "mapping is incorrect"),
    "a column that is not there": (with_data(CSV.replace(b"MAJORTYPEID", b"OTHER")), "mapping is incorrect"),
    "CSV-Unicode in UTF-8": (
        build_package(entities=[Entity(name=ENTITY, source_format="CSV-Unicode", content=CSV)]),
        "not Unicode",
    ),
}


class FinanceOperationsContract:
    # A place for a package

    def test_a_place_for_a_package_bears_its_name_and_says_until_when_it_is_good(
        self, target: FinanceOperationsTarget
    ) -> None:
        name = f"{uuid.uuid4().hex}.zip"

        place = target.fno.get_azure_write_url(name)

        assert place.url.address.endswith(f"/{name}")
        assert place.url.expires is not None
        assert place.url.expires > datetime.now(UTC) + timedelta(minutes=5)
        assert str(uuid.UUID(place.blob_id)) == place.blob_id.lower()
        assert "sig" not in str(place)

    def test_asked_again_for_the_same_name_fo_gives_a_key_to_the_same_place(
        self, target: FinanceOperationsTarget
    ) -> None:
        """The fence rests on it; where it does not hold, the app waits until the first key has run out."""
        name = f"{uuid.uuid4().hex}.zip"
        first, second = (target.fno.get_azure_write_url(name).url for _ in range(2))
        stream_to_blob([b"content"], first)

        empty_blob(second)

        with open_blob(first) as blob:
            assert blob.size_bytes == 0

    # Imports

    def test_an_import_runs_under_the_id_that_it_was_given(self, target: FinanceOperationsTarget) -> None:
        execution_id = target.new_id()

        assert target.submit(execution_id=execution_id) == execution_id

        assert target.is_known(execution_id)

    def test_an_import_succeeds_counts_its_rows_and_has_a_page_and_no_error_files(
        self, target: FinanceOperationsTarget
    ) -> None:
        keys = [uuid.uuid4().hex[:8] for _ in range(2)]  # F&O may count a row that it has as it is neither way
        execution_id = target.imported(build_package(rows=tuple((key, "A row") for key in keys)))

        assert target.fno.execution_status(execution_id) is ExecutionStatus.SUCCEEDED
        (progress,) = target.fno.job_details(execution_id)
        assert (progress.entity, progress.staging_created) == (ENTITY, 2)
        assert progress.target_created + progress.target_updated == 2
        (counts,) = target.fno.row_counts(execution_id)
        assert (counts.entity, counts.to_be_processed, counts.staged) == (ENTITY, 2, 2)
        assert (counts.created, counts.updated) == (progress.target_created, progress.target_updated)
        assert target.fno.execution_errors(execution_id).rows == ()
        assert target.fno.execution_summary_page_url(execution_id).startswith("http")
        assert not target.fno.generate_error_keys_file(execution_id, ENTITY)
        assert target.fno.error_keys_file_url(execution_id, ENTITY) is None
        assert target.fno.staging_error_file_url(execution_id, ENTITY) is None

    @pytest.mark.parametrize("source_format", ["CSV", "CSV-Unicode", "EXCEL", "XML"])
    @pytest.mark.parametrize("encoding", ["utf-16", "utf-8"])
    def test_a_package_of_any_format_is_read(
        self, target: FinanceOperationsTarget, source_format: str, encoding: str
    ) -> None:
        package = build_package(source_format=source_format, encoding=encoding)  # type: ignore[arg-type]  # parametrized

        execution_id = target.imported(package)

        assert target.fno.execution_status(execution_id) is ExecutionStatus.SUCCEEDED

    def test_every_entity_of_a_package_is_told_by_itself(self, target: FinanceOperationsTarget) -> None:
        entities = [
            Entity(name=ENTITY, rows=(("A", "Alpha"),)),
            Entity(name="Fixed asset group", columns=("GROUPID", "NAME"), rows=(("G", "One"), ("H", "Two"))),
        ]

        execution_id = target.imported(build_package(entities=entities))

        counts = {each.entity: each.staging_created for each in target.fno.job_details(execution_id)}
        assert counts == {ENTITY: 1, "Fixed asset group": 2}

    def test_rows_that_fail_are_told_with_their_keys(self, target: FinanceOperationsTarget) -> None:
        execution_id = target.imported(build_package(rows=(("A", "Alpha"), ("B", "#ERROR"), ("C", "#ERROR"))))

        assert target.fno.execution_status(execution_id) is ExecutionStatus.PARTIALLY_SUCCEEDED
        rows = target.fno.execution_errors(execution_id).rows
        assert [row.record_id for row in rows] == ["B", "C"]
        assert all(row.message for row in rows)
        assert target.fno.generate_error_keys_file(execution_id, ENTITY)
        url = target.fno.error_keys_file_url(execution_id, ENTITY)
        assert url is not None
        assert read_small(url, target.downloads, 1000).split() == [b"B", b"C"]

    def test_rows_that_do_not_fit_into_staging_have_a_file_of_their_own(self, target: FinanceOperationsTarget) -> None:
        execution_id = target.imported(build_package(rows=(("A", "Alpha"), ("B", "x" * 300))))

        url = target.fno.staging_error_file_url(execution_id, ENTITY)

        assert url is not None
        content = read_small(url, target.downloads, 10_000)
        assert b"x" * 300 in content
        assert b"Alpha" not in content

    def test_an_import_in_which_every_row_fails_has_failed(self, target: FinanceOperationsTarget) -> None:
        execution_id = target.imported(build_package(rows=(("A", "#ERROR"),)))

        assert target.fno.execution_status(execution_id) is ExecutionStatus.FAILED

    def test_an_execution_that_never_was_is_not_found(self, target: FinanceOperationsTarget) -> None:
        nobody = target.new_id()

        for ask in (target.fno.execution_status, target.fno.execution_errors, target.fno.execution_summary_page_url):
            with pytest.raises(NotFound):
                ask(nobody)
        assert target.fno.job_details(nobody) == ()
        assert target.fno.exported_package_url(nobody) is None

    @pytest.mark.parametrize(("package", "words"), BROKEN.values(), ids=BROKEN)
    def test_a_package_that_fo_cannot_read_is_refused_in_its_words_and_imports_nothing(
        self, target: FinanceOperationsTarget, package: bytes, words: str
    ) -> None:
        execution_id = target.new_id()

        with pytest.raises(FileRejected, match=words) as caught:
            target.submit(package, execution_id=execution_id)

        assert "Exception occurred" not in caught.value.message
        assert not target.is_known(execution_id)

    def test_a_project_that_may_not_be_overwritten_is_refused_with_what_to_do(
        self, target: FinanceOperationsTarget
    ) -> None:
        execution_id = target.submit(overwrite=False)  # there is nothing to overwrite
        assert target.is_known(execution_id)
        target.let_it_finish(execution_id)

        with pytest.raises(NeedsPerson, match="overwrite"):
            target.submit(overwrite=False)

        target.submit(overwrite=True)

    def test_a_second_import_into_a_project_waits_for_the_first(self, target: FinanceOperationsTarget) -> None:
        first = target.submit()
        second = target.new_id()

        with pytest.raises(ProjectBusy):
            target.submit(execution_id=second)
        with pytest.raises(ProjectBusy):
            target.export()
        assert not target.is_known(second)
        target.let_it_finish(first)

        target.submit(execution_id=second)

    def test_imports_into_two_projects_run_side_by_side(self, target: FinanceOperationsTarget) -> None:
        ids = [target.submit(), target.submit(project=f"{target.project}-2")]

        assert all(not target.fno.execution_status(each).is_final for each in ids)

    def test_a_package_that_was_emptied_can_only_fail_and_imports_nothing(
        self, target: FinanceOperationsTarget
    ) -> None:
        """The fence: a request that comes late finds nothing to import."""
        url, execution_id = target.upload(build_package()), target.new_id()
        empty_blob(url)

        with pytest.raises((PackageUnreadable, FileRejected)):
            target.submit(url=url, execution_id=execution_id)

        assert not target.is_known(execution_id)

    def test_a_package_that_was_never_uploaded_is_to_be_uploaded(self, target: FinanceOperationsTarget) -> None:
        url = target.fno.get_azure_write_url(f"{uuid.uuid4().hex}.zip").url

        with pytest.raises(PackageUnreadable):
            target.submit(url=url)

    # Exports

    def test_an_export_yields_a_package_of_what_was_imported(self, target: FinanceOperationsTarget) -> None:
        target.imported(build_package(rows=(("CT1", "Ä & <B>"), ("CT2", "Two"))))
        execution_id = target.new_id()

        assert target.export(execution_id=execution_id) == execution_id
        target.let_it_finish(execution_id)

        assert target.fno.execution_status(execution_id) is ExecutionStatus.SUCCEEDED
        url = target.fno.exported_package_url(execution_id)
        assert url is not None
        with open_blob(url) as package:
            content = b"".join(package.chunks())
            assert len(content) == package.size_bytes
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert archive.testzip() is None
            assert {"Manifest.xml", "PackageHeader.xml", f"{ENTITY}.csv"} <= set(archive.namelist())
            data = archive.read(f"{ENTITY}.csv").decode("utf-8-sig")
        assert "CT1,Ä & <B>" in data
        assert "CT2,Two" in data

    def test_an_export_has_no_package_before_its_end(self, target: FinanceOperationsTarget) -> None:
        target.imported()
        execution_id = target.export()

        assert target.fno.exported_package_url(execution_id) is None
        assert not target.fno.execution_status(execution_id).is_final

    def test_an_export_of_a_project_that_does_not_exist_needs_a_person(self, target: FinanceOperationsTarget) -> None:
        with pytest.raises(NeedsPerson, match="Check the data project"):
            target.export(project=f"Nothing-{uuid.uuid4().hex[:8]}")

    def test_a_company_that_does_not_exist_is_the_files_fault_at_an_import_and_needs_a_person_at_an_export(
        self, target: FinanceOperationsTarget
    ) -> None:
        execution_id = target.new_id()

        with pytest.raises(FileRejected, match="first part of the file name"):
            target.submit(company="XX9", execution_id=execution_id)
        assert not target.is_known(execution_id)
        target.imported()
        with pytest.raises(NeedsPerson, match="XX9"):
            target.export(company="XX9")

    def test_a_second_export_of_a_project_waits_for_the_first(self, target: FinanceOperationsTarget) -> None:
        target.imported()
        first = target.export()

        with pytest.raises(ProjectBusy):
            target.export()
        target.let_it_finish(first)

        target.export()
