"""A package's way from Input to Success, and an export's way to Output, as they go in Azure."""

import hashlib
import os
import re
from datetime import datetime
from pathlib import Path

import pytest
from azure.storage.blob import BlobClient

from local_cloud.finance_operations.blobs import UPLOADS
from local_cloud.finance_operations.packages import read_package
from tests.end_to_end.browsing import an_hour_of_work
from tests.end_to_end.stage import Record, Stage
from tests.packages import build_package


@pytest.fixture(params=[pytest.param("one_process", marks=pytest.mark.extended), "in_flex"])
def stage(request: pytest.FixtureRequest) -> Stage:
    """What a person sees is the same in both shapes."""
    stage: Stage = request.getfixturevalue(request.param)
    return stage


@pytest.mark.quick(cases=1)
def test_the_app_subscribes_to_changes_by_itself_with_its_own_address(stage: Stage) -> None:
    (subscription,) = stage.onedrive.subscriptions

    assert subscription.notification_url == stage.settings["NOTIFICATION_URL"]
    assert subscription.resource.strip("/") == f"drives/{stage.onedrive.drive_id}/root"
    assert subscription.client_state == stage.settings["CLIENT_STATE"]


@pytest.mark.quick(cases=1)
def test_a_file_copied_into_input_is_claimed_within_seconds_imported_once_and_filed(stage: Stage) -> None:
    # The minute's timer is off on this stage: only a notification can have told of the file.
    stage.put("USMF_Notified_001.zip", build_package(entity="Notified", rows=(("A", "Alpha"), ("B", "Beta"))))

    record = stage.ended("USMF_Notified_001.zip")

    assert (record["state"], record["outcome"]) == ("filed", "Succeeded")
    assert record["file"]["folder"] == "/Success"
    assert "USMF_Notified_001.zip" in stage.files("Success")
    assert "USMF_Notified_001.zip" not in stage.files("Input") + stage.files("Processing") + stage.files("Error")
    (effect,) = stage.imports_of("Notified")
    assert (effect.company, effect.rows, effect.execution_id) == ("USMF", 2, record["submissions"][-1]["execution_id"])
    seconds_to_claim = (_when(record, "claim") - datetime.fromisoformat(record["file"]["modified"])).total_seconds()
    assert seconds_to_claim < 30  # hardly more than one; build machines stall
    assert any(delivery.status == 202 for delivery in stage.onedrive.deliveries)


@pytest.mark.quick(cases=1)
def test_an_export_that_is_due_lands_in_output_as_a_package_with_the_rows_of_fo(stage: Stage) -> None:
    rows = [("G1", "Group 1"), ("G2", "Group 2"), ("G3", "Grüne Gruppe")]
    stage.put("DEMF_Groups_001.zip", build_package(data_project="Asset-Groups", entity="Asset groups", rows=rows))
    stage.ended("DEMF_Groups_001.zip")
    before = _exports(stage)

    stage.run_function("start_exports")

    record = stage.wait_for(lambda: [run for run in _exports(stage, before) if run["ended"]], "the export")[0]
    assert (record["state"], record["file"]["folder"]) == ("delivered", "/Output")
    with (stage.folder / "Output" / record["file"]["name"]).open("rb") as file:
        package = read_package(file)
    assert package.data_project == "Asset-Groups"
    exported = [sorted(row.values()) for entity in package.entities for row in entity.rows]
    assert all(sorted(row) in exported for row in rows)  # other tests may have imported some as well


@pytest.mark.quick(cases=0)
def test_a_second_tick_while_an_export_is_running_starts_no_second_one(stage: Stage) -> None:
    stage.put("DEMF_Ticks_001.zip", build_package(data_project="Asset-Groups", entity="Asset groups"))
    stage.ended("DEMF_Ticks_001.zip")
    before = _exports(stage)
    with an_hour_of_work(stage):
        _tick(stage)
        running = stage.wait_for(
            lambda: [run for run in _exports(stage, before) if run["state"] == "executing"], "the first export"
        )[0]

        _tick(stage)

        assert len(_exports(stage, before)) == 1
    stage.finance_operations.end_now(running["submissions"][-1]["execution_id"])
    stage.wait_for(lambda: all(run["ended"] for run in _exports(stage)), "the end of the export")
    assert len(_exports(stage, before)) == 1


@pytest.mark.quick(cases=1)
def test_a_package_of_60_mb_travels_whole(stage: Stage, tmp_path: Path) -> None:
    size_bytes = 60 * 1024 * 1024
    content = build_package(entity="Huge", replace={"Documents/scan.bin": os.urandom(size_bytes)})
    assert len(content) > size_bytes  # noise cannot be compressed
    uploaded = _Blob(stage)

    stage.put("USMF_Huge_001.zip", content, "Huge/Input")
    record = stage.ended("USMF_Huge_001.zip", within_s=180)

    assert record["outcome"] == "Succeeded", record["reason"]
    assert len(stage.imports_of("Huge")) == 1
    sent = hashlib.sha256(content).hexdigest()
    assert hashlib.sha256((stage.folder / "Huge" / "Success" / "USMF_Huge_001.zip").read_bytes()).hexdigest() == sent
    assert uploaded.sha256(record["package"]["blob_name"]) == sent


class _Blob:
    """F&O's own storage, where packages are uploaded to."""

    def __init__(self, stage: Stage) -> None:
        self._connection_string = stage.azurite.connection_string

    def sha256(self, name: str) -> str:
        with BlobClient.from_connection_string(self._connection_string, UPLOADS, name) as blob:
            return hashlib.sha256(blob.download_blob().readall()).hexdigest()


def _exports(stage: Stage, before: list[Record] | None = None) -> list[Record]:
    """Return the runs of exports; those that are not among the given ones."""
    known = {record["run_id"] for record in before or []}
    runs = {record["run_id"]: record for record in stage.runs() if record["flow"] == "export"}
    return [record for run_id, record in runs.items() if run_id not in known]


def _tick(stage: Stage) -> None:
    """Run the timer of exports, and wait until it has run."""

    def runs() -> int:
        return sum(re.search(r"Executed 'Functions.start_exports' \(Succeeded", line) is not None for line in stage.log)

    before = runs()
    stage.run_function("start_exports")
    stage.wait_for(lambda: runs() > before, "the timer of exports")


def _when(record: Record, step: str) -> datetime:
    return datetime.fromisoformat(next(each["began"] for each in record["steps"] if each["step"] == step))
