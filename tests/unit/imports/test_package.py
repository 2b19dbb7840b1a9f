"""What is taken for a data package, and what is refused, in which words."""

import io
import os
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from shared.errors import AppError, FileRejected, TryAgain
from shared.imports import package
from shared.imports.manifest import NAMESPACE
from shared.imports.package import PackageEntity, check_package
from tests.packages import Counted, Entity, build_package, header, manifest, with_unmarked_name, zip_of

SAMPLE = Path(__file__).resolve().parents[4] / "shared" / "data" / "usmf_asset-major-types-01.zip"


# Good packages.


@pytest.mark.skipif(not SAMPLE.exists(), reason="Microsoft's sample package is not part of this repository")
def test_microsofts_sample_package_is_taken() -> None:
    with SAMPLE.open("rb") as file:
        facts = check_package(file)

    assert facts.data_project == "Asset-Major-Types"
    assert facts.entities == (
        PackageEntity(name="Fixed asset major type", file_name="Fixed asset major type.xlsx", source_format="EXCEL"),
    )


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8"])
@pytest.mark.parametrize("source_format", ["CSV", "CSV-Unicode", "EXCEL", "XML"])
def test_a_package_is_taken_in_both_encodings_and_every_format(
    encoding: Literal["utf-16", "utf-8"], source_format: Literal["CSV", "CSV-Unicode", "EXCEL", "XML"]
) -> None:
    facts = check_package(io.BytesIO(build_package(encoding=encoding, source_format=source_format)))

    assert [entity.name for entity in facts.entities] == ["Fixed asset major type"]


def test_the_entities_are_told_in_the_manifests_order() -> None:
    entities = [Entity(name="Vendors"), Entity(name="Customers"), Entity(name="Currencies")]

    facts = check_package(io.BytesIO(build_package(entities=entities)))

    assert [entity.file_name for entity in facts.entities] == ["Vendors.csv", "Customers.csv", "Currencies.csv"]


@pytest.mark.parametrize(
    ("source_format", "file_name", "is_excel"),
    [
        ("EXCEL", "Units.xlsx", True),
        ("Excel (Contoso)", "Units", True),
        ("Contoso", "UNITS.XLSX", True),
        ("CSV", "Units.csv", False),
        ("", "xlsx", False),
    ],
)
def test_an_excel_file_is_known_by_its_format_or_its_name(source_format: str, file_name: str, is_excel: bool) -> None:
    listed = Entity(name="Units", file_name=file_name)
    # SourceFormat as the first element instead of the last one: the order decides nothing.
    content = manifest("Cases", [listed], encoding="utf-8").decode().replace("<SourceFormat>CSV</SourceFormat>", "")
    content = content.replace("<EntityMapList>", f"<SourceFormat> {source_format} </SourceFormat><EntityMapList>")
    replaced = {"Manifest.xml": content.encode()}

    (entity,) = check_package(io.BytesIO(build_package(entities=[listed], replace=replaced))).entities

    assert (entity.source_format, entity.is_excel) == (source_format, is_excel)


def test_the_format_of_an_entity_is_not_that_of_the_one_before() -> None:
    entities = [Entity(name="Units", source_format="EXCEL"), Entity(name="Vendors")]
    content = manifest("Cases", entities, encoding="utf-8").decode().replace("<SourceFormat>CSV</SourceFormat>", "")

    facts = check_package(io.BytesIO(build_package(entities=entities, replace={"Manifest.xml": content.encode()})))

    assert [each.source_format for each in facts.entities] == ["EXCEL", ""]


def test_names_with_accents_ampersands_and_spaces_are_taken() -> None:
    facts = check_package(io.BytesIO(build_package(data_project="Ä & Ö <1>", entity="Währungen & Kurse")))

    assert facts.data_project == "Ä & Ö <1>"
    assert facts.entities[0].file_name == "Währungen & Kurse.csv"


def test_the_manifests_name_may_be_in_any_case() -> None:
    content = manifest("P", [Entity(name="E")])

    check_package(io.BytesIO(build_package(entity="E", replace={"Manifest.xml": None, "MANIFEST.XML": content})))


def test_the_case_of_a_data_file_is_not_minded() -> None:
    facts = check_package(io.BytesIO(build_package(entity="E", replace={"E.csv": None, "e.CSV": b"x"})))

    assert facts.entities == (PackageEntity(name="E", file_name="e.CSV", source_format="CSV"),)


@pytest.mark.parametrize(
    ("in_zip", "in_manifest"),
    [("Salarie\u0301s.csv", "Salari\u00e9s.csv"), ("SALARI\u00c9S.csv", "Salarie\u0301s.csv")],
)
def test_an_accent_may_be_part_of_its_letter_or_a_sign_of_its_own(in_zip: str, in_manifest: str) -> None:
    entities = [Entity(name="Employees", file_name=in_manifest)]

    facts = check_package(io.BytesIO(build_package(entities=entities, replace={in_manifest: None, in_zip: b"x"})))

    assert facts.entities == (PackageEntity(name="Employees", file_name=in_zip, source_format="CSV"),)


@pytest.mark.parametrize(
    ("first", "second"),
    [("Salari\u00e9s.csv", "Salarie\u0301s.csv"), ("Straße.csv", "STRASSE.csv"), ("Both.xlsx", "Both.xlsx")],
    ids=["two that look alike", "two that Windows keeps apart", "one workbook of both"],
)
def test_each_entity_has_the_file_that_the_manifest_spells(first: str, second: str) -> None:
    entities = [Entity(name="E", file_name=first), Entity(name="F", file_name=second)]
    facts = check_package(io.BytesIO(build_package(entities=entities)))
    assert [entity.file_name for entity in facts.entities] == [first, second]


def test_a_disabled_entity_needs_no_file_and_no_map_and_is_none_of_those_that_are_imported() -> None:
    entities = [
        Entity(name="Currencies"),
        Entity(name="Units", is_disabled=True),
        Entity(name="Taxes", columns=(), is_disabled=True),
        Entity(name="Currencies", file_name="Old.csv", is_disabled=True),
    ]
    without_files: dict[str, bytes | None] = {"Units.csv": None, "Taxes.csv": None, "Old.csv": None}

    facts = check_package(io.BytesIO(build_package(entities=entities, replace=without_files)))

    assert [entity.name for entity in facts.entities] == ["Currencies"]


def refusal_of(entities: list[Entity], replace: dict[str, bytes | None]) -> str:
    with pytest.raises(FileRejected) as refusal:
        check_package(io.BytesIO(build_package(entities=entities, replace=replace)))
    return refusal.value.message


def test_all_that_is_wrong_with_the_entities_is_told_at_once() -> None:
    entities = [
        Entity(name="Unmapped 1", columns=()),
        Entity(name="Unmapped 2", columns=()),
        Entity(name="Empty 1", content=b""),
        Entity(name="Empty 2", content=b""),
        Entity(name="Moved 1"),
        Entity(name="Moved 2"),
        Entity(name="Missing"),
        Entity(name="Good"),
        Entity(name="Good", file_name="More.csv"),
    ]
    moved: dict[str, bytes | None] = {
        "Moved 1.csv": None,
        "Moved 2.csv": None,
        "d/Moved 1.csv": b"x",
        "d/Moved 2.csv": b"x",
    }

    said = refusal_of(entities, {**moved, "Missing.csv": None})

    assert "2 of the 9 entities of Manifest.xml have no field mapping" in said
    assert "report success: 'Unmapped 1', 'Unmapped 2'. " in said
    assert "2 of the 9 entities of Manifest.xml have empty data files: 'Empty 1.csv', 'Empty 2.csv'. " in said
    assert "reads only the root: 'd/Moved 1.csv', 'd/Moved 2.csv'. " in said
    assert "The entity 'Missing' of Manifest.xml names the data file 'Missing.csv', which is not in the zip. " in said
    assert "The entity 'Good' of Manifest.xml is listed twice" in said


def test_thousands_of_missing_files_are_counted_and_not_all_listed() -> None:
    entities = [Entity(name=f"{number} {'x' * 90}") for number in range(2_000)]

    said = refusal_of(entities, {entity.input_file_path: None for entity in entities})

    assert said.startswith("2000 of the 2000 entities")
    assert re.search(r"and 19\d\d more\. ", said)
    assert len(said) < package.MAX_LISTED + 500


def test_folders_beside_the_packages_own_files_are_let_through() -> None:
    extra = {"Resources/": b"", "Resources/Logo/logo.png": b"png", "__MACOSX/._Manifest.xml": b"apple"}

    check_package(io.BytesIO(build_package(replace=extra)))


def test_data_files_are_never_read() -> None:
    rows = [[os.urandom(500).hex(), "x"] for _ in range(2_000)]
    data = build_package(rows=rows)
    file = Counted(data)

    check_package(file)

    assert len(data) > 1_000_000
    assert file.read_bytes < 150_000


# Bad packages: name -> (bytes, a word of the refusal).


def _patched(data: bytes, name: str, offset: int, value: bytes) -> bytes:
    """Return the zip with bytes of one entry's row in the central directory replaced."""
    content = bytearray(data)
    row = -1
    while True:
        row = data.index(b"PK\x01\x02", row + 1)
        (length,) = struct.unpack_from("<H", data, row + 28)
        if data[row + 46 : row + 46 + length] == name.encode():
            content[row + offset : row + offset + len(value)] = value
            return bytes(content)


def _with(name: str, content: bytes, *, method: int = zipfile.ZIP_STORED) -> bytes:
    """Return a package with one more file, whatever its name."""
    buffer = io.BytesIO(build_package())
    with zipfile.ZipFile(buffer, "a", method) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def _renamed(data: bytes, old: str, new: str) -> bytes:
    """Return the zip with an entry's name changed everywhere, also to what zipfile would not write."""
    assert len(old) == len(new)
    return data.replace(old.encode(), new.encode())


def _but(entries: dict[str, bytes | None]) -> bytes:
    """Return a package with these entries in place of its own."""
    return build_package(replace=entries)


def _of(*entities: Entity) -> bytes:
    return build_package(entities=entities)


def _manifest_of(inner: str, *, root: str = "DataManagementPackageManifest", ns: str = NAMESPACE) -> bytes:
    return build_package(replace={"Manifest.xml": f'<{root} xmlns="{ns}">{inner}</{root}>'.encode()})


def _entity(inner: str) -> str:
    entity = f"<DataManagementPackageEntityData>{inner}</DataManagementPackageEntityData>"
    return f"<PackageEntityList>{entity}</PackageEntityList>"


_GOOD = build_package()
_CSV = "Fixed asset major type.csv"
_MAPS = "<EntityMapList><EntityMap/></EntityMapList>"
_ENCODING = "which is in the zip; only the encoding of its name differs"
BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "an empty file": (lambda: b"", "is empty"),
    "a text file": (lambda: b"CUSTOMER;NAME\r\n1;Alpha\r\n", "not a zip"),
    "a zip that was cut off": (lambda: _GOOD[:-40], "not a zip"),
    "a zip without its beginning": (lambda: _GOOD[700:], "not a zip"),
    "a zip without a piece of its first data file": (lambda: _GOOD[30:], "damaged or cut off"),
    "a zip without files": (lambda: zip_of({}), "holds no PackageHeader.xml"),
    "an Excel workbook": (lambda: zip_of({"[Content_Types].xml": b"<x/>", "xl/workbook.xml": b"<x/>"}), "Office"),
    "a zip of data files": (lambda: zip_of({"Customers.csv": b"A,B\r\n"}), "holds no PackageHeader.xml"),
    "no header": (lambda: _but({"PackageHeader.xml": None}), "holds no PackageHeader.xml"),
    "no manifest": (lambda: _but({"Manifest.xml": None}), "holds no Manifest.xml"),
    "all files in a folder": (lambda: build_package(folder="Customers/"), "lies in the folder 'Customers'"),
    "all files in a folder, as Windows writes it": (
        lambda: _renamed(build_package(folder="Customers/"), "Customers/", "Customers\\"),
        "lies in the folder 'Customers'",
    ),
    "two manifests": (lambda: _with("manifest.XML", b"<x/>"), "more than once"),
    "an encrypted data file": (lambda: _patched(_GOOD, _CSV, 8, b"\x01\x00"), "is encrypted"),
    "a strongly encrypted data file": (lambda: _patched(_GOOD, _CSV, 8, b"\x40\x00"), "is encrypted"),
    "a name that climbs out": (lambda: _but({"../evil.csv": b"x"}), "points outside"),
    "a name that climbs out by backslash": (lambda: _but({"..\\evil.csv": b"x"}), "points outside"),
    "a name that climbs out midway": (lambda: _but({"a/../../b": b"x"}), "points outside"),
    "an absolute name": (lambda: _but({"/etc/passwd": b"x"}), "points outside"),
    "a name with a drive letter": (lambda: _but({"C:evil.csv": b"x"}), "points outside"),
    "a name with a NUL": (
        lambda: _renamed(_but({"ab-Manifest.xml": b"x"}), "ab-Manifest.xml", "ab\0Manifest.xml"),
        "has a control character",
    ),
    "a name that is no UTF-8": (lambda: _but({"é.csv": b"x"}).replace("é.csv".encode(), b"\xff\xff.csv"), "not a zip"),
    "a method that Windows cannot read": (
        lambda: _with("more.txt", b"some text", method=zipfile.ZIP_LZMA),
        "with a method that F&O does not support",
    ),
    "too many files": (
        lambda: _but({f"f{number}": b"" for number in range(package.MAX_ENTRIES)}),
        "the limit is 10,000",
    ),
    "a data file that bursts": (
        lambda: _of(Entity(name="Bomb", content=bytes(package.RATIO_MATTERS_FROM_BYTES + 1))),
        "which real data never does",
    ),
    "a data file that claims to burst": (
        lambda: _patched(_GOOD, _CSV, 24, struct.pack("<I", 0xFFFFFFF0)),
        "which real data never does",
    ),
    "a manifest that nests endlessly": (lambda: _manifest_of("<a>" * 200_000), "nests elements"),
    "a manifest that is cut off": (
        lambda: _but({"Manifest.xml": manifest("P", [Entity(name="E")])[:-60]}),
        "'Manifest.xml' is not well-formed",
    ),
    "a header that is too large": (
        lambda: _but(
            {
                "PackageHeader.xml": (
                    f'<DataManagementPackageHeader xmlns="{NAMESPACE}">{" " * 2**22}</DataManagementPackageHeader>'
                ).encode()
            }
        ),
        "larger than 1 MiB",
    ),
    "an empty manifest": (lambda: _but({"Manifest.xml": b""}), "'Manifest.xml' is not well-formed"),
    "a manifest of another namespace": (
        lambda: build_package(namespace="http://schemas.microsoft.com/dynamics/2015/01/datamanagement"),
        "The namespace of 'PackageHeader.xml'",
    ),
    "a manifest without a namespace": (
        lambda: _but({"Manifest.xml": manifest("P", [Entity(name="E")], namespace="")}),
        "The namespace of 'Manifest.xml'",
    ),
    "another document in the manifest's place": (
        lambda: _manifest_of("", root="Workbook"),
        "instead of DataManagement",
    ),
    "header and manifest swapped": (
        lambda: _but({"PackageHeader.xml": manifest("P", [Entity(name="E")]), "Manifest.xml": header("P")}),
        "instead of DataManagementPackageHeader",
    ),
    "a manifest without entities": (lambda: build_package(entities=()), "lists no entity"),
    "an entity without a field mapping": (lambda: build_package(columns=()), "has no field mapping"),
    "an entity whose mapping is nil": (
        lambda: _manifest_of(
            _entity(f"<EntityMapList/><EntityName>E</EntityName><InputFilePath>{_CSV}</InputFilePath>")
        ),
        "has no field mapping",
    ),
    "a second entity without a field mapping": (
        lambda: _of(Entity(name="First"), Entity(name="Second", columns=())),
        "'Second' of Manifest.xml has no field mapping",
    ),
    "an entity without a name": (
        lambda: _manifest_of(_entity(f"{_MAPS}<InputFilePath>{_CSV}</InputFilePath>")),
        "Entity 1 of Manifest.xml has no EntityName",
    ),
    "an entity without a data file": (
        lambda: _manifest_of(_entity(f"{_MAPS}<EntityName>E</EntityName><InputFilePath/>")),
        "names no data file",
    ),
    "a data file that is missing": (lambda: _but({_CSV: None}), "is not in the zip"),
    "a data file of which only the accents differ": (
        lambda: build_package(entity="Salariés", replace={"Salariés.csv": None, "Salaries.csv": b"x"}),
        "'Salariés.csv', and the zip holds 'Salaries.csv': only the accents differ. Use the same spelling in both",
    ),
    "a data file whose name is in cp850": (lambda: with_unmarked_name("Salariés.csv", "cp850"), _ENCODING),
    "a data file whose name is in cp1252": (lambda: with_unmarked_name("Salariés.csv", "cp1252"), _ENCODING),
    "a data file whose name is in cp866": (lambda: with_unmarked_name("Клиенты.csv", "cp866"), _ENCODING),
    "a data file whose name is UTF-8 and not marked so": (
        lambda: with_unmarked_name("Salariés.csv", "utf-8"),
        _ENCODING,
    ),
    "an entity that is listed twice": (
        lambda: _of(Entity(name="E"), Entity(name="e", file_name="E 2.csv")),
        "'e' of Manifest.xml is listed twice",
    ),
    "entities that are all disabled": (lambda: _of(Entity(name="E", is_disabled=True)), "disables all its entities"),
    "a data file that lies in a folder": (lambda: _but({_CSV: None, f"data/{_CSV}": b"x"}), "in a folder, 'data/"),
    "a data file that is named with a folder": (
        lambda: _of(Entity(name="E", file_name="data/E.csv")),
        "in a folder, 'data/E.csv'",
    ),
    "a data file without a byte": (lambda: _of(Entity(name="E", content=b"")), "has an empty data file"),
    "a manifest whose bytes were changed": (lambda: _patched(_GOOD, "Manifest.xml", 16, b"\0\0\0\0"), "damaged"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_bad_package_is_refused_with_what_is_wrong(name: str) -> None:
    build, words = BAD[name]

    with pytest.raises(FileRejected, match=words) as refusal:
        check_package(io.BytesIO(build()))

    # What is wrong, and then what to do: at least two sentences, on one line.
    assert re.search(r"\. [A-Z].*\.$", refusal.value.message), refusal.value.message
    assert len(refusal.value.message) < 500


def test_a_file_that_cannot_be_read_now_is_not_the_files_fault() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise ConnectionResetError("reset by peer")

    with pytest.raises(TryAgain, match="reset by peer"):
        check_package(Broken(_GOOD))


def test_the_apps_own_errors_pass_through() -> None:
    class Expired(AppError):
        pass

    class Remote(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise Expired("the download link has expired")

    with pytest.raises(Expired):
        check_package(Remote(_GOOD))


# Companies.
