"""Azurite as tests, demo and `up` use it."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from local_cloud import storage
from local_cloud.processes import ChildFailed
from local_cloud.storage import Azurite


def test_blobs_and_queues_work_with_the_connection_string(azurite_connection: str) -> None:
    with BlobServiceClient.from_connection_string(azurite_connection) as blobs:
        container = blobs.create_container("azurite-works")
        container.upload_blob("a", b"bytes")
        assert container.download_blob("a").readall() == b"bytes"
    with QueueServiceClient.from_connection_string(azurite_connection) as queues:
        queue = queues.create_queue("azurite-works")
        queue.send_message("look")
        assert [message.content for message in queue.receive_messages()] == ["look"]


def test_nothing_is_left_after_the_stop() -> None:
    azurite = Azurite()

    azurite.stop()

    assert not azurite.child.running
    for url in (azurite.blob_url, azurite.queue_url, azurite.table_url):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=5)


@pytest.mark.skipif(sys.platform == "win32", reason="killed there without being asked: the last seconds are lost")
def test_what_is_kept_in_a_folder_is_there_after_a_restart(tmp_path: Path) -> None:
    with Azurite(folder=tmp_path) as azurite, BlobServiceClient.from_connection_string(azurite.connection_string) as c:
        c.create_container("kept").upload_blob("a", b"bytes")

    with Azurite(folder=tmp_path) as azurite, BlobServiceClient.from_connection_string(azurite.connection_string) as c:
        assert c.get_blob_client("kept", "a").download_blob().readall() == b"bytes"


def test_a_taken_port_is_reported_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(ChildFailed, match=f"(?s)Azurite ended before it was ready.*{port}"):
            Azurite(blob_port=port)


def test_an_azurite_in_memory_does_not_stand_still_to_clean_up(tmp_path: Path) -> None:
    def minutes_until_clean_up(folder: Path | None) -> float:
        manager = storage._PROGRAM.parent / "blob" / "gc" / "BlobGCManager"
        script = f"console.log(new (require({json.dumps(str(manager))}).default)(0, 0, 0, () => 0).gcIntervalInMS)"
        command = [str(storage._node()), *storage._node_options(folder), "-e", script]
        return int(subprocess.check_output(command, timeout=60)) / 60_000

    assert minutes_until_clean_up(tmp_path) == 10
    assert minutes_until_clean_up(None) > 24 * 60
