"""Packages through F&O's blob storage: Azurite, behind the URLs that the simulated F&O hands out."""

from collections.abc import Iterator
from random import Random
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.clients.blobs.chunks import BLOCK
from shared.clients.blobs.errors import SasExpired
from shared.clients.blobs.quick_xor_hash import QuickXorHash
from shared.clients.blobs.read import open_blob, read_small
from shared.clients.blobs.write import empty_blob, stream_to_blob
from shared.clients.fno.client import FinanceOperations
from shared.clients.http.context import recording
from shared.errors import DataDamaged, ItemChanged, NotFound
from shared.secret import SecretUrl
from tests.contract.simulated import SimulatedFinanceOperations
from tests.packages import Entity, build_package

MIB = 1024 * 1024


@pytest.fixture
def client(fno: SimulatedFinanceOperations) -> FinanceOperations:
    return fno.client()


def place(client: FinanceOperations, name: str = "package.zip") -> SecretUrl:
    return client.get_azure_write_url(name).url


def read(url: SecretUrl, chunk_bytes: int = BLOCK) -> bytes:
    with open_blob(url) as blob:
        content = b"".join(blob.chunks(chunk_bytes))
        assert len(content) == blob.size_bytes
    return content


def in_pieces(content: bytes, piece_bytes: int) -> Iterator[bytes]:
    return (content[start : start + piece_bytes] for start in range(0, len(content), piece_bytes))


VERSIONS = ("2014-02-14", "2018-03-28", "2020-02-10", "2022-11-02")


@pytest.mark.parametrize(
    ("sas_version", "size_bytes", "blocks"),
    [
        *((version, size, blocks) for version in VERSIONS for size, blocks in ((0, 0), (7_897, 0), (5 * MIB + 1, 2))),
        *((VERSIONS[0], size, blocks) for size, blocks in ((1, 0), (MIB, 0), (MIB + 1, 1), (BLOCK, 1), (BLOCK + 1, 2))),
        (VERSIONS[0], 6 * BLOCK + 17, 7),
    ],
)
def test_a_package_arrives_whole_under_every_version_that_fo_may_sign_with(
    client: FinanceOperations, fno: SimulatedFinanceOperations, sas_version: str, size_bytes: int, blocks: int
) -> None:
    fno.simulator.change(sas_version=sas_version)
    content = Random(size_bytes).randbytes(size_bytes)
    url = place(client)
    assert parse_qs(urlsplit(url.reveal()).query)["sv"] == [sas_version]

    with recording() as calls:
        sent = stream_to_blob(in_pieces(content, 300_000), url)

    assert (sent.size_bytes, sent.quick_xor_hash) == (size_bytes, QuickXorHash(content).base64())
    assert read(url) == content
    written = ["Put Block"] * blocks + ["Put Block List"] if blocks else ["Put Blob"]
    assert [call.operation for call in calls] == written
    assert all(call.service == "blob storage" and call.status == 201 and call.request_id for call in calls)


@pytest.mark.parametrize("size_bytes", [100, 9 * MIB])
def test_an_emptied_package_is_read_as_nothing_by_whoever_comes_later(
    client: FinanceOperations, size_bytes: int
) -> None:
    url = place(client)
    stream_to_blob([bytes(size_bytes)], url)

    empty_blob(url)

    assert read(url) == b""


def test_a_package_that_is_emptied_while_it_is_read_is_not_believed(client: FinanceOperations) -> None:
    url = place(client)
    stream_to_blob([Random(2).randbytes(9 * MIB)], url)

    with open_blob(url) as blob:
        chunks = blob.chunks()
        next(chunks)
        empty_blob(url)
        with pytest.raises((DataDamaged, ItemChanged)):
            list(chunks)


def test_a_package_whose_source_breaks_off_is_not_there_at_all(client: FinanceOperations) -> None:
    url = place(client, "broken-off.zip")

    def source() -> Iterator[bytes]:
        yield bytes(9 * MIB)
        raise DataDamaged("the download was cut")

    with pytest.raises(DataDamaged):
        stream_to_blob(source(), url)

    with pytest.raises(NotFound):
        open_blob(url)


@pytest.mark.parametrize("content", [b"small", bytes(5 * MIB)], ids=["at once", "in blocks"])
def test_a_key_that_has_run_out_is_told_apart_from_all_other_trouble(
    client: FinanceOperations, fno: SimulatedFinanceOperations, content: bytes
) -> None:
    good = place(client)
    stream_to_blob([b"before"], good)
    fno.simulator.change(write_url_life_s=-1)
    expired = place(client)

    with pytest.raises(SasExpired):
        stream_to_blob([content], expired)
    with pytest.raises(SasExpired):
        empty_blob(expired)
    with pytest.raises(SasExpired):
        open_blob(expired)
    assert read(good) == b"before"


def test_the_package_of_an_export_may_be_read_and_never_written(
    client: FinanceOperations, fno: SimulatedFinanceOperations
) -> None:
    target = fno.target()
    rows = tuple((f"R{number}", "x" * 200) for number in range(500))
    target.imported(build_package(entities=[Entity(name="Fixed asset major type", rows=rows)]))
    execution_id = target.export()
    target.let_it_finish(execution_id)
    url = client.exported_package_url(execution_id)
    assert url is not None
    content = read(url)

    with pytest.raises(SasExpired, match="although it is valid until"):
        empty_blob(url)

    assert read(url) == content
    assert read_small(url, target.downloads, len(content)) == content
