"""The door in front of Azurite: what goes through arrives as it was sent, unless the plan says otherwise."""

import uuid
from collections.abc import Iterator

import pytest
import requests
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceModifiedError
from azure.storage.blob import BlobServiceClient

from local_cloud.faults import Fault, FaultPlan, status
from local_cloud.finance_operations.blobs import Blobs
from shared.clients.blobs.write import stream_to_blob
from shared.secret import SecretUrl
from tests.soak.storage import PACKAGES, SERVICE, StorageDoor


@pytest.fixture
def plan() -> FaultPlan:
    return FaultPlan()


@pytest.fixture
def door(azurite_connection: str, plan: FaultPlan) -> Iterator[str]:
    """The connection string of Azurite's door."""
    with StorageDoor(azurite_connection, plan) as door:
        yield door.connection_string


def test_blobs_leases_and_conditions_go_through_the_door(door: str, azurite_connection: str, plan: FaultPlan) -> None:
    name = f"door-{uuid.uuid4().hex}"
    with (
        BlobServiceClient.from_connection_string(door, retry_total=0) as blobs,
        BlobServiceClient.from_connection_string(azurite_connection) as directly,
    ):
        container = blobs.create_container(name)
        container.upload_blob("open/in a/1-ä", b"written", metadata={"due": "now"})
        blob = container.get_blob_client("open/in a/1-ä")

        assert directly.get_container_client(name).download_blob("open/in a/1-ä").readall() == b"written"
        assert container.download_blob(blob.blob_name).readall() == b"written"
        assert [row.metadata for row in container.list_blobs(include=["metadata"])] == [{"due": "now"}]
        assert blob.get_blob_properties().size == 7
        blob.acquire_lease(15).release()
        with pytest.raises(ResourceModifiedError):
            blob.delete_blob(etag='"0x1"', match_condition=MatchConditions.IfNotModified)
    assert {call.service for call in plan.calls} == {SERVICE}


def test_a_call_fails_at_the_door_when_the_plan_says_so(door: str, plan: FaultPlan) -> None:
    plan.add(Fault(SERVICE, "*", "", do=status(503)))
    with (
        BlobServiceClient.from_connection_string(door, retry_total=0) as blobs,
        pytest.raises(HttpResponseError) as refusal,
    ):
        blobs.create_container(f"door-{uuid.uuid4().hex}")

    assert refusal.value.status_code == 503


def test_a_package_goes_through_its_door_under_the_key_that_f_and_o_hands_out(
    azurite_connection: str, plan: FaultPlan
) -> None:
    with StorageDoor(azurite_connection, plan, PACKAGES) as door:
        blobs = Blobs(azurite_connection)
        blobs.shown_at = door.blob_url
        key = blobs.write_url(f"{uuid.uuid4().hex}.zip", life_s=60, sas_version="2014-02-14")

        stream_to_blob(iter([b"a package"]), SecretUrl(key))
        blobs.close()

        assert key.startswith(door.blob_url)
        assert requests.get(key, timeout=60).content == b"a package"
    assert {call.service for call in plan.calls} == {PACKAGES}
