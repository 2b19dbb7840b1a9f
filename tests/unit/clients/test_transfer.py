"""Bytes arrive whole or not at all: downloads against a server that misbehaves, uploads against Azurite."""

import base64
import hashlib
import io
import os
import random
import socket
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path

import pytest

from shared.clients.blobs import write
from shared.clients.blobs.chunks import BLOCK
from shared.clients.blobs.errors import SasExpired
from shared.clients.blobs.quick_xor_hash import QuickXorHash
from shared.clients.blobs.read import IN_MEMORY, open_blob, open_package, read_chunks, read_small
from shared.clients.blobs.write import empty_blob, stream_to_blob
from shared.clients.http.client import Http
from shared.clients.http.context import recording
from shared.errors import AppError, DataDamaged, FileRejected, NeedsPerson, NotFound, Refused, TryAgain
from shared.secret import SecretUrl
from tests.closed_port import closed_port
from tests.unit.clients.answering import Answer, AnsweringServer, Asked, Handler, answering
from tests.world import wait_for

CONTENT = random.Random(7).randbytes(300_000)
LARGE = random.Random(8).randbytes(IN_MEMORY + 1_234_567)
FIRST_RANGE = {"Content-Range": f"bytes 0-524287/{len(LARGE)}"}
SECRET = "tempauth=made-up-secret"


def serving(content: bytes, *, knows_ranges: bool = True, etag: str = '"1"') -> Handler:
    """Answer GETs as OneDrive and Azure Storage do."""

    def answer(asked: Asked) -> Answer:
        wanted = asked.headers.get("range")
        if not wanted or not knows_ranges:
            return Answer(body=content, headers={"ETag": etag})
        if asked.headers.get("if-match", etag) != etag:
            return Answer(status=412)
        first, last = (int(number) for number in wanted.removeprefix("bytes=").split("-"))
        if first >= len(content):
            return Answer(status=416, headers={"Content-Range": f"bytes */{len(content)}"})
        part = content[first : last + 1]
        content_range = f"bytes {first}-{first + len(part) - 1}/{len(content)}"
        return Answer(status=206, headers={"Content-Range": content_range, "ETag": etag}, body=part)

    return answer


@pytest.fixture
def http() -> Iterator[Http]:
    """HTTP without a token, as the app uses it for OneDrive's download URLs."""
    with closing(Http(service="OneDrive content", token=None, request_id_header="request-id")) as http:
        yield http


def url_of(server: AnsweringServer) -> SecretUrl:
    return SecretUrl(f"{server.url}/container/package.zip?{SECRET}")


# Reading


def test_a_file_is_streamed_in_pieces(http: Http) -> None:
    with answering(serving(LARGE)) as server:
        pieces = list(read_chunks(url_of(server), http, len(LARGE)))

    assert b"".join(pieces) == LARGE
    assert max(map(len, pieces)) <= 1024 * 1024


def test_a_download_url_never_sees_a_token_and_is_sent_as_it_was_issued(http: Http) -> None:
    with answering(serving(CONTENT)) as server:
        list(read_chunks(SecretUrl(f"{server.url}/a%2Fb/c?sig=x%2By%3D"), http, len(CONTENT)))

    assert server.asked[0].path == "/a%2Fb/c?sig=x%2By%3D"
    assert "authorization" not in server.asked[0].headers


@pytest.mark.parametrize("announced", [len(CONTENT) - 1, len(CONTENT) + 1])
def test_a_file_of_another_size_than_announced_is_damaged(http: Http, announced: int) -> None:
    with answering(serving(CONTENT)) as server, pytest.raises(DataDamaged):
        list(read_chunks(url_of(server), http, announced))


@pytest.mark.parametrize("told", [len(CONTENT) - 1, len(CONTENT) + 1])
def test_a_content_length_that_lies_is_never_taken_for_the_size(http: Http, told: int) -> None:
    lie = Answer(body=CONTENT, content_length=told)

    with answering(lambda _: lie) as server, pytest.raises(DataDamaged):
        list(read_chunks(url_of(server), http, len(CONTENT)))
    with answering(lambda _: lie) as server, open_blob(url_of(server)) as package:
        if told > len(CONTENT):
            with pytest.raises(DataDamaged):
                list(package.chunks())
        else:
            # Nothing tells a file that is said to be shorter from a shorter file: the end of the zip is looked for.
            assert package.size_bytes == told


@pytest.mark.parametrize(("status", "error"), [(401, SasExpired), (403, SasExpired), (404, NotFound)])
def test_a_download_url_that_has_run_out_is_asked_for_again(http: Http, status: int, error: type[AppError]) -> None:
    with answering(lambda _: Answer(status=status)) as server, pytest.raises(error) as caught:
        list(read_chunks(url_of(server), http, 1))

    assert "made-up-secret" not in str(caught.value)


def test_a_file_that_is_not_small_is_not_read_and_one_that_is_cut_off_is_damaged(http: Http) -> None:
    cut = Answer(body=CONTENT[:1000], content_length=len(CONTENT))

    with answering(serving(CONTENT)) as server, pytest.raises(NeedsPerson):
        read_small(url_of(server), http, len(CONTENT) - 1)
    with answering(lambda _: cut) as server, pytest.raises(DataDamaged):
        read_small(url_of(server), http, len(CONTENT))


def test_a_small_package_is_fetched_once_to_be_checked_and_sent(http: Http) -> None:
    with answering(serving(CONTENT)) as server, open_package(url_of(server), len(CONTENT), http) as package:
        package.file.seek(-10, os.SEEK_END)
        assert package.file.read() == CONTENT[-10:]
        assert b"".join(package.chunks()) == CONTENT

    assert len(server.asked) == 1


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_any_part_of_a_large_package_can_be_read(http: Http, knows_ranges: bool) -> None:
    spots = [0, 1, 524_287, 524_288, 3_000_000, len(LARGE) - 100, 10]

    with (
        answering(serving(LARGE, knows_ranges=knows_ranges)) as server,
        open_package(url_of(server), len(LARGE), http) as package,
    ):
        for spot in spots:
            package.file.seek(spot)
            assert package.file.read(700_000) == LARGE[spot : spot + 700_000]
        package.file.seek(0)
        assert package.file.read() == LARGE
        assert package.file.read() == b""
        assert b"".join(package.chunks()) == LARGE


def test_a_large_package_from_a_server_that_ignores_ranges_is_never_laid_on_the_disk(
    http: Http, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "there is no such folder"))

    with (
        answering(serving(LARGE, knows_ranges=False)) as server,
        open_package(url_of(server), len(LARGE), http) as package,
    ):
        package.file.seek(-100, os.SEEK_END)
        assert package.file.read() == LARGE[-100:]
        assert b"".join(package.chunks()) == LARGE
    with answering(serving(LARGE, knows_ranges=False)) as server, open_blob(url_of(server)) as package:
        assert b"".join(package.chunks()) == LARGE


def test_the_contents_of_a_large_package_are_listed_without_fetching_all_of_it(http: Http) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("Customers.csv", LARGE)
        archive.writestr("Manifest.xml", "<manifest/>")
    content = buffer.getvalue()

    with answering(serving(content)) as server, open_package(url_of(server), len(content), http) as package:
        archive = zipfile.ZipFile(package.file)
        assert archive.namelist() == ["Customers.csv", "Manifest.xml"]
        assert archive.read("Manifest.xml") == b"<manifest/>"

    assert len(server.asked) <= 2


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=206, headers={"Content-Range": "bytes 0-99/100"}, body=b"x" * 100),  # another file by now
        Answer(status=206, headers={"Content-Range": f"bytes 7-524294/{len(LARGE)}"}, body=LARGE[7:524_295]),
        Answer(status=206, body=LARGE[:524_288]),
        Answer(status=206, headers=FIRST_RANGE, body=LARGE[:1000]),
        Answer(status=206, headers=FIRST_RANGE, body=LARGE[:1000], content_length=524_288),
        Answer(status=416, headers={"Content-Range": "bytes */0"}),
        Answer(status=200, body=LARGE[:1000]),
        Answer(status=200, body=LARGE + b"x"),
    ],
)
def test_a_range_that_is_not_what_was_asked_for_is_damaged(http: Http, answer: Answer) -> None:
    with (
        answering(lambda _: answer) as server,
        open_package(url_of(server), len(LARGE), http) as package,
        pytest.raises(DataDamaged),
    ):
        package.file.read(1)


def test_looking_into_a_large_package_keeps_little_of_it(http: Http) -> None:
    with answering(serving(LARGE)) as server, open_package(url_of(server), len(LARGE), http) as package:
        package.file.read()
        package.file.seek(0)
        package.file.read(1)  # the beginning has been dropped for what came after it

    assert server.asked[0].headers["range"] == server.asked[-1].headers["range"]


# Libraries that tell a wrong size

SMALL_AND_LARGE = pytest.mark.parametrize("content", [CONTENT, LARGE], ids=["small", "large"])
WRONG_SIZES = pytest.mark.parametrize(
    "told", [0, 1, len(CONTENT) * 2, len(LARGE) - 1, len(LARGE) + 1, 2 * len(LARGE)], ids=str
)


@SMALL_AND_LARGE
@WRONG_SIZES
@pytest.mark.parametrize("knows_ranges", [True, False], ids=["ranges", "no ranges"])
def test_a_package_with_the_right_hash_is_read_whatever_size_was_told(
    http: Http, content: bytes, told: int, knows_ranges: bool
) -> None:
    checksum = QuickXorHash(content).base64()
    with (
        answering(serving(content, knows_ranges=knows_ranges)) as server,
        open_package(url_of(server), told, http, quick_xor_hash=checksum) as package,
    ):
        package.file.seek(-100, io.SEEK_END)
        assert package.file.read() == content[-100:]
        assert b"".join(package.chunks()) == content


@SMALL_AND_LARGE
@WRONG_SIZES
def test_of_bytes_with_another_size_and_another_hash_none_is_handed_out(http: Http, content: bytes, told: int) -> None:
    """A proxy's page, say: were it looked into, a good file would be refused as no zip."""
    checksum = QuickXorHash(b"the file").base64()
    with (
        answering(serving(content)) as server,
        pytest.raises(DataDamaged),
        open_package(url_of(server), told, http, quick_xor_hash=checksum) as package,
    ):
        package.file.read(1)


@SMALL_AND_LARGE
@pytest.mark.parametrize("by", [-1, 1])
def test_without_a_hash_the_size_decides(http: Http, content: bytes, by: int) -> None:
    with (
        answering(serving(content)) as server,
        pytest.raises(DataDamaged),
        open_package(url_of(server), len(content) + by, http) as package,
    ):
        package.file.read()


@pytest.mark.parametrize("knows_ranges", [True, False])
@pytest.mark.parametrize("chunk_bytes", [320 * 1024, BLOCK, 5 * 1024 * 1024])
def test_an_export_is_read_in_chunks_of_the_size_that_is_wanted(knows_ranges: bool, chunk_bytes: int) -> None:
    with answering(serving(LARGE, knows_ranges=knows_ranges)) as server, open_blob(url_of(server)) as package:
        chunks = list(package.chunks(chunk_bytes))
        again = b"".join(package.chunks())

        assert package.size_bytes == len(LARGE)
        assert {len(chunk) for chunk in chunks[:-1]} == {chunk_bytes}
        assert b"".join(chunks) == LARGE
        assert again == LARGE
    with answering(serving(b"")) as server, open_blob(url_of(server)) as package:
        assert (package.size_bytes, list(package.chunks())) == (0, [])


def test_a_blob_whose_key_runs_out_while_it_is_read_needs_a_new_one() -> None:
    with answering(serving(LARGE)) as server, open_blob(url_of(server)) as package:
        chunks = package.chunks()
        next(chunks)
        server.handler = lambda _: Answer(status=403, headers={"x-ms-error-code": "AuthenticationFailed"})

        with pytest.raises(SasExpired):
            list(chunks)


def test_the_last_chunk_of_a_blob_with_another_md5_than_it_should_have_is_not_handed_out() -> None:
    def telling(content: bytes) -> Handler:
        md5 = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()

        def answer(asked: Asked) -> Answer | None:
            answer = serving(LARGE)(asked)
            return answer and replace(answer, headers={**answer.headers, "x-ms-blob-content-md5": md5})

        return answer

    with answering(telling(LARGE)) as server, open_blob(url_of(server)) as package:
        assert b"".join(package.chunks(300_000)) == LARGE
    received: list[bytes] = []
    with (
        answering(telling(b"something else")) as server,
        open_blob(url_of(server)) as package,
        pytest.raises(DataDamaged, match="MD5"),
    ):
        received.extend(package.chunks())

    assert b"".join(received) == LARGE[: len(LARGE) // BLOCK * BLOCK]


def test_the_next_range_of_a_blob_is_fetched_while_one_is_sent_on_and_no_more_than_one() -> None:
    with answering(serving(LARGE)) as server, open_blob(url_of(server)) as package:
        chunks = package.chunks(1024 * 1024)
        for _ in range(2):
            next(chunks)

        wait_for(lambda: len(server.asked) == 4)  # half a MiB, the rest of the first chunk, the second, and one ahead
        chunks.close()  # type: ignore[attr-defined]  # it is a generator

    assert len(server.asked) == 4


@pytest.mark.parametrize("code", ["malwareDetected", "virusSuspicious"])
def test_malware_that_onedrive_names_is_the_files(http: Http, code: str) -> None:
    body = f'{{"error": {{"code": "accessDenied", "innererror": {{"code": "{code}"}}}}}}'.encode()

    with answering(lambda _: Answer(status=403, body=body)) as server, pytest.raises(FileRejected, match="malware"):
        list(read_chunks(url_of(server), http, 5))


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=400),
        Answer(status=403, headers={"X-Virus-Infected": "ScanError", "Content-Type": "text/html"}, body=b"<html/>"),
    ],
    ids=["an empty 400", "a page with the header of the scanner"],
)
def test_what_may_be_malware_and_may_be_all_files_is_neither_the_files_nor_the_flows_yet(
    http: Http, answer: Answer
) -> None:
    with answering(lambda _: answer) as server, pytest.raises(Refused) as caught:
        list(read_chunks(url_of(server), http, 5))

    assert "It may have found malware in the file: open it in the browser" in caught.value.message
    assert caught.value.call is not None
    assert caught.value.call.status == answer.status
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        *((400, NeedsPerson, "blob storage refuses"), (403, SasExpired, "."), (404, NotFound, ".")),
        *((409, TryAgain, "."), (503, TryAgain, ".")),
    ],
)
def test_a_blob_that_cannot_be_opened_says_what_to_do(status: int, error: type[Exception], words: str) -> None:
    with answering(lambda _: Answer(status=status)) as server, pytest.raises(error, match=words):
        open_blob(url_of(server))


def test_when_a_sas_ends_is_read_from_it() -> None:
    url = SecretUrl("https://a.blob.core.windows.net/dmf/x?sv=2014-02-14&se=2026-01-05T07%3A56%3A33Z&sig=a")

    assert url.expires == datetime(2026, 1, 5, 7, 56, 33, tzinfo=UTC)
    assert SecretUrl("https://a.blob.core.windows.net/dmf/x").expires is None
    assert SecretUrl("https://a.blob.core.windows.net/dmf/x?se=soon").expires is None


# Writing


def taking(handle: Callable[[Asked], Answer | None] | None = None) -> Handler:
    """Answer as blob storage does to writes."""

    def answer(asked: Asked) -> Answer | None:
        return handle(asked) if handle else Answer(status=201, headers={"x-ms-request-id": "r-1"})

    return answer


def test_writes_use_nothing_that_storage_of_2014_does_not_know() -> None:
    known = {
        "accept", "accept-encoding", "connection", "content-length", "content-md5", "content-type", "host",
        "user-agent", "x-ms-blob-type", "x-ms-client-request-id", "x-ms-date", "x-ms-version",
    }  # fmt: skip

    with answering(taking()) as server:
        stream_to_blob([LARGE], url_of(server))
        empty_blob(url_of(server))

    assert {header for asked in server.asked for header in asked.headers} <= known
    assert max(len(asked.body) for asked in server.asked) <= 4 * 1024 * 1024
    assert {asked.headers["x-ms-version"] for asked in server.asked} == {"2019-02-02"}


def test_a_sas_arrives_as_it_was_issued() -> None:
    sas = "sv=2014-02-14&sr=b&sig=a%2Bb%2Fc%3D&st=2026-01-05T07%3A21%3A33Z&se=2026-01-05T07%3A56%3A33Z&sp=rw"

    with answering(taking()) as server:
        stream_to_blob([b"x"], SecretUrl(f"{server.url}/account/dmf/x.zip?{sas}"))
        stream_to_blob([b"x"], SecretUrl(f"{server.url}/account/dmf/x.zip?{sas.replace('%2B', '+')}"))

    assert [asked.path for asked in server.asked] == [f"/account/dmf/x.zip?{sas}"] * 2


@pytest.mark.parametrize(
    ("status", "error"),
    [
        *((400, NeedsPerson), (401, SasExpired), (403, SasExpired), (404, NotFound), (409, TryAgain)),
        *((412, TryAgain), (413, NeedsPerson)),
    ],
)
def test_a_refused_write_says_what_to_do_with_its_request_id(status: int, error: type[Exception]) -> None:
    refusal = Answer(status=status, headers={"x-ms-request-id": "r-7", "x-ms-error-code": "InvalidHeaderValue"})

    with answering(lambda _: refusal) as server, pytest.raises(error, match=r"InvalidHeaderValue.*r-7"):
        stream_to_blob([b"x"], url_of(server))

    assert len(server.asked) == 1


def test_a_block_that_storage_has_received_changed_is_sent_again() -> None:
    mismatch = Answer(status=400, headers={"x-ms-error-code": "Md5Mismatch"})

    with answering(lambda _: mismatch) as server, pytest.raises(DataDamaged, match="Md5Mismatch"):
        stream_to_blob([LARGE], url_of(server))

    block = server.asked[0]
    assert block.headers["content-md5"] == base64.b64encode(hashlib.md5(block.body).digest()).decode()


def test_storage_in_trouble_is_tried_once_more_and_then_later() -> None:
    busy = Answer(status=503, headers={"Retry-After": "20", "x-ms-error-code": "ServerBusy"})

    with answering(lambda _: busy) as server, pytest.raises(TryAgain) as caught:
        stream_to_blob([b"x"], url_of(server))

    assert len(server.asked) == 2
    assert caught.value.retry_after_s == 20


def test_a_block_whose_connection_broke_is_sent_again() -> None:
    lost_once = threading.Lock()

    def answer(asked: Asked) -> Answer | None:
        if "blockid=" in asked.path and lost_once.acquire(blocking=False):
            return None
        return Answer(status=201)

    with answering(taking(answer)) as server:
        sent = stream_to_blob([LARGE], url_of(server))

    assert sent.size_bytes == len(LARGE)
    blocks = [asked for asked in server.asked if "comp=block&" in asked.path]
    assert len({asked.path for asked in blocks}) == 3
    assert len(blocks) == 4


def test_a_storage_that_does_not_answer_is_tried_again_later() -> None:
    with answering(lambda _: None) as server, recording() as recorded, pytest.raises(TryAgain, match="did not answer"):
        stream_to_blob([b"x"], url_of(server))

    assert [(call.operation, call.status) for call in recorded] == [("Put Blob", None)]
    with closed_port() as port, pytest.raises(TryAgain, match="unreachable"):
        stream_to_blob([b"x"], SecretUrl(f"http://127.0.0.1:{port}/container/package.zip?{SECRET}"))


def test_a_package_is_fetched_only_as_fast_as_it_is_sent() -> None:
    blocks = 12
    fetched: list[int] = []
    all_fetched, looked = threading.Event(), threading.Event()

    def source() -> Iterator[bytes]:
        for number in range(blocks):
            fetched.append(number)
            yield b"x" * BLOCK
        all_fetched.set()

    def hold(asked: Asked) -> Answer:
        if first.acquire(blocking=False):
            wait_for(lambda: len(fetched) >= 5)
            all_fetched.wait(0.3)  # as long as storage does not answer, the source must stand still
            counts.append(len(fetched))
            looked.set()
        looked.wait(60)
        return Answer(status=201)

    first = threading.Lock()
    counts: list[int] = []
    with answering(taking(hold)) as server:
        stream_to_blob(source(), url_of(server))

    assert counts == [5]  # four on their way, one waiting for its turn
    assert len(fetched) == blocks


def test_after_a_refused_block_nothing_is_committed() -> None:
    def answer(asked: Asked) -> Answer:
        return Answer(status=403 if asked.path.count("MDAwMDAwMDE") else 201)

    with answering(taking(answer)) as server, pytest.raises(SasExpired):
        stream_to_blob([LARGE], url_of(server))

    assert not [asked for asked in server.asked if "comp=blocklist" in asked.path]


@pytest.mark.parametrize(
    "url",
    [
        *("http://storage.example/dmf/x?sig=abc", "https://storage.example/x?sig=abc"),
        *("https://*.storage.example/dmf/x?sig=abc", "https://.storage.example/dmf/x?sig=abc"),
        *("ftp://127.0.0.1/dmf/x?sig=abc", "https:///dmf/x?sig=abc", "https://storage.example:x/dmf/x?sig=abc"),
    ],
)
def test_no_package_is_sent_to_what_is_not_the_private_address_of_a_blob(url: str) -> None:
    with recording() as calls, pytest.raises(NeedsPerson) as caught:
        stream_to_blob([b"x"], SecretUrl(url))

    assert "abc" not in str(caught.value)
    assert calls == []


def test_a_package_may_go_unencrypted_to_any_address_of_this_machine() -> None:
    with closed_port() as port, pytest.raises(TryAgain, match="unreachable"):
        stream_to_blob([b"x"], SecretUrl(f"http://127.0.0.2:{port}/container/package.zip?{SECRET}"))


def test_a_slow_line_may_take_longer_for_a_block_than_for_connecting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "_BLOB_TIMEOUTS", {"connection_timeout": 1.0, "read_timeout": 60})
    large = 16 * 1024 * 1024
    monkeypatch.setattr(write, "BLOCK", large)  # more than the operating system takes off our hands at once
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    listener.settimeout(60)
    pace = threading.Event()  # never set: waiting for it is the line's slowness

    def take_slowly() -> None:
        for _ in ("the block", "the list of blocks"):
            connection, _ = listener.accept()
            with connection, connection.makefile("rb", buffering=0) as line:
                head = b"".join(takewhile(lambda text: text != b"\r\n", line))
                size = int(head.lower().partition(b"content-length:")[2].split()[0])
                while size and (piece := connection.recv(min(size, 128 * 1024))):
                    size -= len(piece)
                    pace.wait(0.01)  # 128 times at least: more than the time to connect, each time far less
                connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    line = threading.Thread(target=take_slowly, daemon=True)
    line.start()
    try:
        port = listener.getsockname()[1]
        sent = stream_to_blob([b"x" * large], SecretUrl(f"http://127.0.0.1:{port}/a/dmf/x?sig=a"))
    finally:
        line.join(60)
        listener.close()

    assert sent.size_bytes == large
