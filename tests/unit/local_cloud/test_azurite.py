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


def test_blobs_are_told_apart_and_deleted_one_by_one(azurite_connection: str) -> None:
    """What ``in_memory.cjs`` changes must change no answer."""
    with BlobServiceClient.from_connection_string(azurite_connection) as blobs:
        one, other = blobs.create_container("one"), blobs.create_container("other")
        names = [f"{number * 7 % 20:02}" for number in range(20)]
        for name in names:
            one.upload_blob(name, f"one {name}")
            other.upload_blob(name, f"other {name}")
        gone, kept = names[::3], sorted(set(names) - set(names[::3]))
        for name in gone:
            one.delete_blob(name)

        assert list(one.list_blob_names()) == kept
        assert [one.download_blob(name).readall() for name in kept] == [f"one {name}".encode() for name in kept]
        assert [one.get_blob_client(name).exists() for name in gone] == [False] * len(gone)
        assert list(other.list_blob_names()) == sorted(names)
        assert other.download_blob(gone[0]).readall() == f"other {gone[0]}".encode()


def test_a_blob_is_deleted_with_its_snapshots(azurite_connection: str) -> None:
    with BlobServiceClient.from_connection_string(azurite_connection) as blobs:
        container = blobs.create_container("snapshots")
        for name in ("a", "b"):
            container.upload_blob(name, b"bytes")
            container.get_blob_client(name).create_snapshot()
        container.delete_blob("a", delete_snapshots="include")

        assert [blob.name for blob in container.list_blobs(include=["snapshots"])] == ["b", "b"]


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
