"""onedrive-personal-sdk, with which Home Assistant keeps its backups, works with the simulated OneDrive.

It reads every answer into strict models, and goes on with an upload session after 409, 416, 503 and a lost connection.
https://github.com/zweckj/onedrive-personal-sdk
"""
# mypy: disable-error-code="import-not-found"
# The client is not among the project's requirements: where mypy runs it is not there.

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Final

import pytest

from local_cloud.faults import Action, Fault, lost_after, reset_before, status
from tests.witnesses.clients import ONEDRIVE_PERSONAL_SDK
from tests.witnesses.conftest import USER, Graph

pytest.importorskip("onedrive_personal_sdk", reason=ONEDRIVE_PERSONAL_SDK.missing())

import aiohttp
from onedrive_personal_sdk import OneDriveClient
from onedrive_personal_sdk.clients import client as client_module
from onedrive_personal_sdk.clients import large_file_upload
from onedrive_personal_sdk.clients.large_file_upload import LargeFileUploadClient
from onedrive_personal_sdk.const import ConflictBehavior, DriveState, DriveType
from onedrive_personal_sdk.exceptions import HttpRequestException, NotFoundError, UploadSessionExpired
from onedrive_personal_sdk.models.items import File, Folder, ItemUpdate
from onedrive_personal_sdk.models.upload import FileInfo

pytestmark = pytest.mark.witness(ONEDRIVE_PERSONAL_SDK.name)

UNIT: Final = 320 * 1024  # bytes; upload sessions take multiples of it
CONTENT: Final = Random(1).randbytes(3 * UNIT + 12_345)
ODD_NAMES: Final = ("Größe & Maß.zip", "it's (1).zip", "a;b=c@d.zip")


class Session:
    """The client with a token of a signed-in person: it knows /me only."""

    def __init__(self, graph: Graph, http: aiohttp.ClientSession) -> None:
        self._graph = graph
        self._http = http
        self.client = OneDriveClient(self.token, http)

    async def token(self) -> str:
        return self._graph.token(user=USER)

    async def upload(
        self,
        folder_id: str,
        name: str,
        content: bytes = CONTENT,
        *,
        defer_commit: bool = False,
        conflict_behavior: Any = ConflictBehavior.RENAME,
        validate_hash: bool = True,
    ) -> Any:
        """Send a file through an upload session, in chunks of 320 KiB.

        validate_hash: the client compares its hash with OneDrive's.
        """
        file = FileInfo(name, len(content), folder_id, pieces(content))
        return await LargeFileUploadClient.upload(
            self.token,
            file,
            upload_chunk_size=UNIT,
            session=self._http,
            defer_commit=defer_commit,
            conflict_behavior=conflict_behavior,
            validate_hash=validate_hash,
        )


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    """Yield content in pieces that fit nothing."""
    for start in range(0, len(content), 100_000):
        yield content[start : start + 100_000]


@asynccontextmanager
async def opened(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Session]:
    """Yield the client, pointed at the simulator: it has no option for its address."""
    for module in (client_module, large_file_upload):
        monkeypatch.setattr(module, "GRAPH_BASE_URL", graph.url)
    async with aiohttp.ClientSession() as http:
        yield Session(graph, http)


def chunk_fault(graph: Graph, do: Action, *, nth: int = 2) -> None:
    """Let a chunk of an upload session go wrong."""
    graph.faults.add(Fault("graph-content", "PUT", "uploadSession", nth, do=do))


def statuses(graph: Graph, method: str, path: str) -> list[int | None]:
    return [call.status for call in graph.faults.calls if call.method == method and path in call.path]


# Looking and changing


async def test_a_drive_is_read_strictly(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(graph, monkeypatch) as session:
        drive = await session.client.get_drive()

    assert (drive.id, drive.drive_type) == (graph.simulator.drive_id, DriveType.BUSINESS)
    assert drive.quota.state is DriveState.NORMAL
    assert drive.owner.user is not None


async def test_a_folder_is_made_once_and_listed_over_pages(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    graph.knobs.page_size = 2
    async with opened(graph, monkeypatch) as session:
        folder = await session.client.create_folder("root", "Backups")
        again = await session.client.create_folder("root", "Backups")
        for number in range(5):
            await session.client.upload_file(folder.id, f"{number}.zip", b"content")
        inner = await session.client.create_folder(folder.id, "Sub")
        listed = await session.client.list_drive_items(folder.id)

    assert again.id == folder.id
    assert [(each.name, type(each)) for each in listed] == [*((f"{n}.zip", File) for n in range(5)), ("Sub", Folder)]
    assert (inner.child_count, inner.parent_reference.path) == (0, f"/drives/{graph.simulator.drive_id}/root:/Backups")


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_a_small_file_goes_up_is_renamed_and_comes_down(
    graph: Graph, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    async with opened(graph, monkeypatch) as session:
        made = await session.client.upload_file("root", name, b"content")
        changed = await session.client.update_drive_item(made.id, ItemUpdate(name="b.zip"))
        stream = await session.client.download_drive_item(made.id)
        down = await stream.read()

    assert (made.name, made.size) == (name, 7)
    assert (changed.id, changed.name) == (made.id, "b.zip")
    assert down == b"content"


async def test_what_is_deleted_is_not_found(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(graph, monkeypatch) as session:
        made = await session.client.upload_file("root", "a.zip", b"content")
        await session.client.delete_drive_item(made.id)
        with pytest.raises(NotFoundError):
            await session.client.get_drive_item(made.id)


# Upload sessions


async def test_a_stream_goes_up_in_chunks_and_its_hash_is_onedrives(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(graph, monkeypatch) as session:
        file = await session.upload("root", "a.zip")

    assert (file.name, file.size) == ("a.zip", len(CONTENT))
    assert (graph.folder / "a.zip").read_bytes() == CONTENT
    assert statuses(graph, "PUT", "uploadSession") == [202, 202, 202, 201]


async def test_a_session_that_is_committed_by_itself_ends_then(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(graph, monkeypatch) as session:
        file = await session.upload("root", "a.zip", defer_commit=True)

    assert file.size == len(CONTENT)
    assert statuses(graph, "POST", "uploadSession") == [201]


async def test_a_name_that_is_taken_is_numbered(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(graph, monkeypatch) as session:
        await session.client.upload_file("root", "a.zip", b"another's")
        file = await session.upload("root", "a.zip")

    assert file.name == "a 1.zip"


async def test_a_name_that_is_taken_is_refused_where_that_was_asked_for(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(graph, monkeypatch) as session:
        await session.client.upload_file("root", "a.zip", b"another's")
        with pytest.raises(HttpRequestException) as refused:
            await session.upload("root", "a.zip", conflict_behavior=ConflictBehavior.FAIL)

    assert refused.value.status_code == 409
    assert (graph.folder / "a.zip").read_bytes() == b"another's"


CONFLICT: Final = {"error": {"code": "conflict", "message": "Conflict"}}
RESUMED: Final = {
    # A 409 that is not about the name passes: https://github.com/home-assistant/core/issues/137098
    "409 before the chunk was taken": (status(409, body=CONFLICT), [409]),
    "416 before the chunk was taken": (status(416, body={"error": {"code": "invalidRange", "message": ""}}), [416]),
    "503": (status(503, headers={"Retry-After": "1"}), [503]),
    "a reset": (reset_before(), [None]),
}
# The client is told by 409 or 416 that OneDrive has the chunk, and goes on; version 0.2.0 then leaves the chunk out of
# its own hash, which is its mistake.
RESUMED_AFTER_THE_CHUNK: Final = {
    "409 after the chunk was taken": (status(409, body=CONFLICT, handled=True), [409]),
    "an answer that was lost": (lost_after(), [None, 416]),
}


@pytest.mark.parametrize(("do", "refused"), RESUMED.values(), ids=RESUMED.keys())
async def test_an_upload_goes_on_after(
    graph: Graph, monkeypatch: pytest.MonkeyPatch, do: Action, refused: list[int | None]
) -> None:
    chunk_fault(graph, do)

    async with opened(graph, monkeypatch) as session:
        file = await session.upload("root", "a.zip")

    assert file.size == len(CONTENT)
    assert (graph.folder / "a.zip").read_bytes() == CONTENT
    assert statuses(graph, "PUT", "uploadSession") == [202, *refused, 202, 202, 201]


@pytest.mark.parametrize(("do", "refused"), RESUMED_AFTER_THE_CHUNK.values(), ids=RESUMED_AFTER_THE_CHUNK.keys())
async def test_a_chunk_that_has_arrived_is_not_sent_again_after(
    graph: Graph, monkeypatch: pytest.MonkeyPatch, do: Action, refused: list[int | None]
) -> None:
    chunk_fault(graph, do)

    async with opened(graph, monkeypatch) as session:
        file = await session.upload("root", "a.zip", validate_hash=False)

    assert file.size == len(CONTENT)
    assert (graph.folder / "a.zip").read_bytes() == CONTENT
    assert statuses(graph, "PUT", "uploadSession") == [202, *refused, 202, 201]
    assert statuses(graph, "GET", "uploadSession") == [200]


async def test_the_next_range_may_be_told_with_its_end(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    graph.knobs.open_ended_ranges = False

    async with opened(graph, monkeypatch) as session:
        file = await session.upload("root", "a.zip")

    assert file.size == len(CONTENT)


async def test_a_session_that_is_gone_is_told_as_expired(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    chunk_fault(graph, status(404, body={"error": {"code": "itemNotFound", "message": "Session not found"}}))

    async with opened(graph, monkeypatch) as session:
        with pytest.raises(UploadSessionExpired):
            await session.upload("root", "a.zip")
