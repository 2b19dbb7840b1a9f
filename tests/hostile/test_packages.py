"""Packages that somebody made to do harm, or that a broken tool made: each is refused in words, in bounded time.

The everyday mistakes (a missing manifest, a folder around the files ...) are in ``tests/unit/imports/test_package.py``.
"""

import io
import random
import re
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Callable

import pytest

from shared.errors import FileRejected
from shared.imports import manifest as manifest_xml
from shared.imports import package
from shared.imports.manifest import NAMESPACE
from shared.imports.package import check_package
from tests.packages import Counted, Entity, build_package, manifest, zip_of

GOOD = build_package()
DATA = "Fixed asset major type.csv"
XML = manifest("Asset-Major-Types", [Entity(name="Fixed asset major type")]).decode("utf-16")
ROOT = f'<DataManagementPackageManifest xmlns="{NAMESPACE}">'

# What a person can do about a package that cannot be mended by hand.
ANEW = "Export the data project again"
DEFLATE = "Use the standard method, Deflate"

# What is wrong with some of them, and what to do.
CUT_OFF = ("damaged or cut off", ANEW)
DECLARES = ("'Manifest.xml' contains a document type declaration", "Remove it")
MISSING = ("which is not in the zip", "Add it under just this name")
LARGE_TAG = ("'Manifest.xml' holds a tag or a comment of more than 1 MiB", ANEW)
NOT_XML = ("'Manifest.xml' is not well-formed XML", ANEW)
OUTSIDE = ("points outside of it", "Zip the files themselves")


def with_manifest(content: bytes | str) -> bytes:
    """Return a package with this manifest, in UTF-8 where it is text."""
    return build_package(replace={"Manifest.xml": content.encode() if isinstance(content, str) else content})


def with_entry(name: str) -> bytes:
    """Return a good package with one more entry."""
    return build_package(replace={name: b"x"})


def row_of(data: bytes | bytearray, name: str) -> int:
    """Return where the zip's directory tells of an entry."""
    at = data.rindex(name.encode())
    return data.rindex(b"PK\x01\x02", 0, at)


def patched(name: str, offset: int, layout: str, value: int) -> bytes:
    """Return a good package with a lie in the directory's row about one entry."""
    content = bytearray(GOOD)
    struct.pack_into(layout, content, row_of(GOOD, name) + offset, value)
    return bytes(content)


def patched_end(offset: int, layout: str, value: int) -> bytes:
    """Return a good package with a lie in the record at the zip's end."""
    content = bytearray(GOOD)
    struct.pack_into(layout, content, content.rindex(b"PK\x05\x06") + offset, value)
    return bytes(content)


def with_zip64_end(directory_at: int, directory_bytes: int, entries: int) -> bytes:
    """Return a good package with a zip64 record at its end that says this."""
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, entries, entries, directory_bytes, directory_at)
    end = GOOD.rindex(b"PK\5\6")
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
    last = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return GOOD[:end] + record + locator + last


def directory_of(rows: int) -> bytes:
    """Return a zip of one byte whose directory names it this many times, under as many names."""
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 0x21, 0, 0, 0, 1, 0) + b"x"
    row = struct.Struct("<4s4B4H3L5H2L")
    directory = b"".join(
        row.pack(b"PK\1\2", 20, 0, 20, 0, 0, 0, 0, 0x21, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0) + f"{number:06d}".encode()
        for number in range(rows)
    )
    return local + directory + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, len(directory), len(local), 0)


def twice(name: str) -> bytes:
    """Return a package that holds an entry twice under just the same name."""
    buffer = io.BytesIO(GOOD)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(name, b"<other/>")
    return buffer.getvalue()


# name -> (package, what is wrong and where, what to do)
CASES: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "a picture that was named zip": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(500), "not a zip", ANEW),
    "a page that a browser saved in place of the file": (lambda: b"<!DOCTYPE html>" * 50, "not a zip", ANEW),
    "a RAR archive": (lambda: b"Rar!\x1a\x07\x01\x00" + bytes(200), "not a zip", ANEW),
    "a 7z archive": (lambda: b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(200), "not a zip", ANEW),
    "a gzip file": (lambda: zlib.compress(GOOD, wbits=31), "not a zip", ANEW),
    "a zip whose second half is zeros": (lambda: GOOD[: len(GOOD) // 2] + bytes(len(GOOD) // 2), *CUT_OFF),
    "the first part of a zip that was split": (lambda: b"PK\7\x08" + GOOD[:-100], *CUT_OFF),
    "a zip in another zip": (lambda: zip_of({"USMF_x.zip": GOOD}), "holds no PackageHeader.xml", ANEW),
    "a zip64 end that points behind the file": (lambda: with_zip64_end(2**60, 100, 3), *CUT_OFF),
    "a zip64 end that is an exabyte": (lambda: with_zip64_end(0, 2**60, 3), "damaged or cut off|list of files", ANEW),
    "a zip64 end that counts 2^63 files": (lambda: with_zip64_end(0, 0, 2**63), "holds no PackageHeader|damaged", ANEW),
    "a directory that begins before the file": (lambda: patched_end(16, "<L", 0xFFFFFF00), "damaged", ANEW),
    "a directory that is longer than the file": (lambda: patched_end(12, "<L", 500_000), "damaged", ANEW),
    "a manifest that lies where the header does": (lambda: patched("Manifest.xml", 42, "<L", 0), *CUT_OFF),
    "a manifest that is said to be shorter than it is": (
        lambda: patched("Manifest.xml", 24, "<L", 10),
        "damaged",
        ANEW,
    ),
    "a manifest that is said to unpack to 4 GB": (
        lambda: patched("Manifest.xml", 24, "<L", 0xFFFFFFF0),
        "'Manifest.xml' in the zip claims that .* unpack to 4,294,967,280",
        ANEW,
    ),
    "a manifest in Deflate64": (
        lambda: patched("Manifest.xml", 10, "<H", 9),
        "'Manifest.xml' is compressed with Deflate64",
        DEFLATE,
    ),
    "a manifest in a method nobody knows": (
        lambda: patched("Manifest.xml", 10, "<H", 4711),
        r"'Manifest.xml' is compressed with a method that F&O does not support \(4711\)",
        DEFLATE,
    ),
    "one manifest twice": (lambda: twice("Manifest.xml"), "'Manifest.xml' more than once", "Keep only one of them"),
    "one data file twice": (lambda: twice(DATA), f"'{DATA}' more than once", "Keep only one of them"),
    "a manifest with a blank behind its name": (
        lambda: build_package(replace={"Manifest.xml": None, "Manifest.xml ": XML.encode()}),
        "holds no Manifest.xml",
        ANEW,
    ),
    "a data file that is only a folder": (
        lambda: build_package(replace={DATA: None, f"{DATA}/": b""}),
        f"names the data file '{DATA}', which is not in the zip",
        "Add it under just this name",
    ),
    "a name that climbs out, written from right to left": (lambda: with_entry("../\u202egnp.exe"), *OUTSIDE),
    "a name on a share": (lambda: with_entry("\\\\server\\share\\x.csv"), *OUTSIDE),
    "a name with a line end": (lambda: with_entry("x\r\nX-Evil: 1"), "has a control character", "Rename that file"),
    "a manifest that reads a file of the server": (
        lambda: with_manifest(f'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>{ROOT}&e;'),
        *DECLARES,
    ),
    "a manifest that fetches its document type": (
        lambda: with_manifest(f'<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd">{XML}'),
        *DECLARES,
    ),
    "a manifest with parameter entities": (
        lambda: with_manifest(f'<!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1:1/p"> %p;]>{XML}'),
        *DECLARES,
    ),
    "a header whose entities multiply": (
        lambda: build_package(replace={"PackageHeader.xml": b'<!DOCTYPE x [<!ENTITY a "ha">]><x>&a;</x>'}),
        "'PackageHeader.xml' contains a document type declaration",
        "Remove it",
    ),
    "a manifest with an entity that nobody declared": (
        lambda: with_manifest(f"{ROOT}&company;</DataManagementPackageManifest>"),
        *NOT_XML,
    ),
    "a manifest in UTF-32": (lambda: with_manifest(XML.encode("utf-32")), *NOT_XML),
    "a manifest in UTF-8 that says it is UTF-16": (
        lambda: with_manifest('<?xml version="1.0" encoding="utf-16"?>' + XML),
        "'Manifest.xml' is not well-formed XML in UTF-16 or UTF-8",
        ANEW,
    ),
    "a manifest in UTF-16 that ends in half a character": (
        lambda: with_manifest(b"\xff\xfe" + XML.encode("utf-16-le")[:-1]),
        *NOT_XML,
    ),
    "a manifest with NULs": (lambda: with_manifest(f"{ROOT}\0\0"), *NOT_XML),
    "a manifest with two roots": (lambda: with_manifest(XML + XML), *NOT_XML),
    "a manifest in JSON": (lambda: with_manifest('{"entities": []}'), *NOT_XML),
    "a manifest that is a web page": (
        lambda: with_manifest("<html><body/></html>"),
        "'Manifest.xml' has the root '(?:body|html)'",
        ANEW,
    ),
    "a manifest with a tag of two megabytes": (lambda: with_manifest(f'{ROOT}<a b="{"x" * 2**21}"/>'), *LARGE_TAG),
    "a manifest with a hundred thousand attributes": (
        lambda: with_manifest(f"{ROOT}<a {' '.join(f'a{number}="x"' for number in range(150_000))}/>"),
        *LARGE_TAG,
    ),
    "a manifest with a comment of two megabytes": (lambda: with_manifest(f"<!--{'x' * 2**21}-->{XML}"), *LARGE_TAG),
    "a manifest with a namespace of half a megabyte": (
        lambda: with_manifest(f'{ROOT}<a xmlns="{"n" * 500_000}">{"<b/>" * 100_000}'),
        "'Manifest.xml' names an element or a namespace of 500,003 letters",
        ANEW,
    ),
    "a manifest with an element's name of 5,000 letters": (
        lambda: with_manifest(f"{ROOT}<{'e' * 5_000}/>"),
        "'Manifest.xml' names an element or a namespace of 5,0.. letters",
        ANEW,
    ),
    "an entity whose name holds a line end": (
        lambda: build_package(entities=[Entity(name="one\ntwo", file_name="one.csv", columns=())]),
        "has no field mapping",
        "Generate the mapping in the data project",
    ),
    "an entity whose name is a formula and has no file": (
        lambda: build_package(entity="=cmd|'/c calc'!A1", replace={"=cmd|'/c calc'!A1.csv": None}),
        *MISSING,
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_hostile_package_is_refused_with_what_is_wrong_and_what_to_do(name: str) -> None:
    build, wrong, to_do = CASES[name]
    file = Counted(build())

    with pytest.raises(FileRejected, match=wrong) as refusal:
        check_package(file)

    assert to_do in refusal.value.message
    assert len(refusal.value.message) < 500
    assert refusal.value.message.isprintable()


def test_a_directory_of_100_000_files_is_read_once_and_nothing_else_is() -> None:
    content = directory_of(100_000)
    file = Counted(content)

    with pytest.raises(FileRejected, match=r"The zip contains 100,000 files; the limit is 10,000. Split the package."):
        check_package(file)

    assert file.read_bytes < len(content) + 100_000
    assert file.most_at_once <= package.MAX_DIRECTORY_BYTES
    too_large = Counted(directory_of(200_000))
    with pytest.raises(FileRejected, match=r"list of files takes 10,400,000 bytes; the limit is"):
        check_package(too_large)
    assert too_large.read_bytes < 200_000


def test_of_a_manifest_of_1_gb_no_more_than_64_mib_is_unpacked() -> None:
    # One block of text, packed once, as often as it takes: a gigabyte in some megabytes, below the absurd ratio. The
    # letters come again within the 32 KiB that Deflate looks back, or there would be half a gigabyte to build.
    letters = random.Random(1).randbytes(8_000).hex().encode()
    block = letters * (2**20 // len(letters))
    packer = zlib.compressobj(9, wbits=-15)
    begin = packer.compress(f"{ROOT}<Description>".encode()) + packer.flush(zlib.Z_FULL_FLUSH)
    packed = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    times = 2**30 // len(block)
    content = begin + packed * times + packer.flush()
    unpacked_bytes = len(ROOT) + len("<Description>") + times * len(block)
    assert unpacked_bytes < package.MAX_RATIO * len(content)
    file = Counted(zip_with_raw_manifest(content, unpacked_bytes))

    with pytest.raises(FileRejected, match=r"'Manifest.xml' is larger than 64 MiB unpacked. Split the package."):
        check_package(file)

    assert file.read_bytes < len(content) // 10


def zip_with_raw_manifest(content: bytes, unpacked_bytes: int) -> bytes:
    """Return a package whose manifest is this deflated content."""
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("PackageHeader.xml", _header())
        archive.writestr("Manifest.xml", content)
    data = bytearray(stored.getvalue())
    local, row = data.rindex(b"PK\3\4", 0, data.index(b"Manifest.xml")), row_of(data, "Manifest.xml")
    for at, method_at, size_at in ((local, 8, 22), (row, 10, 24)):
        struct.pack_into("<H", data, at + method_at, zipfile.ZIP_DEFLATED)
        struct.pack_into("<L", data, at + size_at, unpacked_bytes)
    return bytes(data)


def _header() -> bytes:
    with zipfile.ZipFile(io.BytesIO(GOOD)) as archive:
        return archive.read("PackageHeader.xml")


def test_a_manifest_of_endless_elements_is_read_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_xml, "MAX_XML_ELEMENTS", 10_000)

    with pytest.raises(FileRejected, match=r"'Manifest.xml' has more than 10,000 elements. Split the package."):
        check_package(io.BytesIO(with_manifest(ROOT + "<a/>" * 50_000)))


ENTITY = "<PackageEntityList><DataManagementPackageEntityData>{}</DataManagementPackageEntityData></PackageEntityList>"
# Each takes a few KiB in the zip.
DENSE = {
    "deep and wide": "<a>" * 60 + "<b/>" * 400_000 + "</a>" * 60,
    "wide": "<b/>" * 900_000,
    "deep, again and again": ("<a>" * 25 + "</a>" * 25) * 50_000,
    "line breaks": "\n" * 20_000_000,
    "references": "&amp;" * 4_000_000,
    "field maps": ENTITY.format(f"<EntityMapList>{'<EntityMap/>' * 900_000}</EntityMapList>"),
    "names": ENTITY.format("<EntityName>x</EntityName>" * 600_000),
    "attributes": f"<a {' '.join(f'x{number}=""' for number in range(30_000))}/>" * 20,
}


@pytest.mark.parametrize("name", DENSE)
def test_a_manifest_of_a_few_kib_costs_no_second(name: str) -> None:
    content = with_manifest(f"{ROOT}{DENSE[name]}</DataManagementPackageManifest>")
    began = time.process_time()

    with pytest.raises(FileRejected) as refusal:
        check_package(io.BytesIO(content))

    limit_s = 1 if sys.gettrace() is None else 5  # what measures coverage takes note of each line
    assert time.process_time() - began < limit_s
    assert ANEW in refusal.value.message


def test_a_manifest_of_200_entities_with_300_fields_that_are_named_alike_is_read() -> None:
    columns = [f"FIELD{number}" for number in range(300)]
    entities = [Entity(name=f"Entity {number}", columns=columns, rows=()) for number in range(200)]

    facts = check_package(io.BytesIO(build_package(entities=entities)))

    assert len(facts.entities) == 200


def test_a_manifest_of_more_entities_than_fo_has_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "MAX_ENTRIES", 5)
    entities = [Entity(name=f"E{number}", file_name="one.csv") for number in range(6)]

    with pytest.raises(FileRejected, match=r"Manifest.xml lists 6 entities; F&O has far fewer") as refusal:
        check_package(io.BytesIO(build_package(entities=entities)))

    assert ANEW in refusal.value.message


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-8-sig"])
def test_a_manifest_without_or_with_an_unusual_byte_order_mark_is_taken(encoding: str) -> None:
    assert check_package(io.BytesIO(with_manifest(XML.encode(encoding)))).data_project == "Asset-Major-Types"


def test_nothing_of_a_strangers_name_but_its_letters_is_shown() -> None:
    with pytest.raises(FileRejected, match="control character") as refusal:
        check_package(io.BytesIO(build_package(replace={"../\x1b[31mred\u202e\u2028.csv": b"x"})))

    assert re.search("[\x1b\u202e\u2028]", refusal.value.message) is None
    assert "red" in refusal.value.message
