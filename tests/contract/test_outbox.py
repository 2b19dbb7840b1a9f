"""Where alerts are kept, over Azurite: once for each trouble, changed by one worker at a time, gone when told."""

from dataclasses import replace

import pytest
from azure.storage.blob import ContainerClient

from shared.alerts.alert import NotificationKind
from shared.alerts.outbox import AlertUnreadable, Outbox
from shared.azure_storage.container import BlobContainer
from shared.errors import RecordChanged
from tests.alerts import BEGAN, an_alert


@pytest.fixture
def outbox(container: ContainerClient) -> Outbox:
    return Outbox(BlobContainer(container))


def test_a_trouble_is_kept_once_and_what_was_told_of_it_stays(outbox: Outbox) -> None:
    outbox.put(an_alert(text="the first"))
    (key,) = outbox.keys()
    kept = outbox.read(key)
    assert kept is not None
    outbox.save(kept.after_notification("mail-1", NotificationKind.NEW, BEGAN))

    assert not outbox.put(an_alert(text="the second"))

    again = outbox.read(key)
    assert again == an_alert(text="the first").after_notification("mail-1", NotificationKind.NEW, BEGAN)


def test_what_another_worker_has_written_or_forgotten_meanwhile_is_not_overwritten(outbox: Outbox) -> None:
    outbox.put(an_alert())
    kept = outbox.read(an_alert().key)
    assert kept is not None

    saved = outbox.save(replace(kept, resolved=BEGAN))
    with pytest.raises(RecordChanged):
        outbox.save(kept)
    outbox.delete(kept.key)
    with pytest.raises(RecordChanged):
        outbox.save(saved)

    assert outbox.keys() == []


def test_a_listing_tells_of_every_alert_what_decides_whom_it_is_to_be_told(outbox: Outbox) -> None:
    outbox.put(an_alert(key="ended-1", flow_name="Kunden & Lieferanten ä 😀"))
    outbox.put(an_alert(key="run-2", is_ongoing=True))
    kept = outbox.read("run-2")
    assert kept is not None
    outbox.save(kept.after_notification("mail-1", NotificationKind.NEW, BEGAN))

    ended, run = outbox.rows()

    assert ended.state is not None
    assert (ended.key, ended.state.flow_name, ended.state.is_ongoing) == ("ended-1", "Kunden & Lieferanten ä 😀", False)
    assert run.state is not None
    assert (run.key, run.state.is_ongoing, run.state.notified["mail-1"].kind) == ("run-2", True, NotificationKind.NEW)


def test_an_alert_that_an_older_version_has_kept_or_whose_state_is_long_has_to_be_read(
    outbox: Outbox, container: ContainerClient
) -> None:
    outbox.put(an_alert(key="ended-1"))
    container.get_blob_client("alerts/ended-1").set_blob_metadata({})
    outbox.put(an_alert(key="ended-2"))
    container.get_blob_client("alerts/ended-2").set_blob_metadata({"state": "of%20another%20kind"})
    outbox.put(an_alert(key="ended-3", run_address="x" * 5_000))

    assert [(row.key, row.state) for row in outbox.rows()] == [(f"ended-{number}", None) for number in (1, 2, 3)]
    assert outbox.read("ended-3") == an_alert(key="ended-3", run_address="x" * 5_000)


def test_a_damaged_record_is_told_apart_from_storage_in_trouble_and_is_left_as_it_is(
    outbox: Outbox, container: ContainerClient
) -> None:
    outbox.put(an_alert(key="ended-1"))
    container.upload_blob("open/in-lane/20260101T000000000000Z-x", b"{}")  # runs lie beside the alerts
    container.upload_blob("alerts/ended-2", b'{"key": "ended-1"', overwrite=True)
    container.upload_blob("alerts/ended-3", container.download_blob("alerts/ended-1").readall(), overwrite=True)

    for key in ("ended-2", "ended-3"):
        with pytest.raises(AlertUnreadable, match=f"alerts/{key}"):
            outbox.read(key)

    assert outbox.keys() == ["ended-1", "ended-2", "ended-3"]
