"""What contract suites share: an Azurite container of the test's own, and parts of the app over the simulators."""

import uuid
from collections.abc import Iterator

import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient
from azure.storage.queue import QueueServiceClient


@pytest.fixture
def blobs(azurite_connection: str) -> Iterator[BlobServiceClient]:
    with BlobServiceClient.from_connection_string(azurite_connection, retry_total=0) as service:
        yield service


@pytest.fixture
def container(blobs: BlobServiceClient) -> ContainerClient:
    """A container that does not exist yet, of the test's own."""
    return blobs.get_container_client(f"runs-{uuid.uuid4().hex}")


@pytest.fixture
def queues(azurite_connection: str) -> Iterator[QueueServiceClient]:
    with QueueServiceClient.from_connection_string(azurite_connection, retry_total=0) as service:
        yield service
