"""What the simulated F&O makes of a package, and what it says of one that it cannot read."""

import contextlib
import io
import unicodedata
import warnings
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_cloud.finance_operations.packages import EntityData, PackageBroken, read_package, write_package
from tests.packages import Entity, SourceFormat, build_package, data_file, manifest, zip_of

FORMATS = ("EXCEL", "CSV", "CSV-Unicode", "TAB", "XML-Element", "XML-Attribute")
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=0xD7FF, exclude_categories=("Cc", "Cs")), max_size=20)


def read(package: bytes) -> EntityData:
    (entity,) = read_package(io.BytesIO(package)).entities
    return entity


def broken(package: bytes) -> str:
    with pytest.raises(PackageBroken) as caught:
        read_package(io.BytesIO(package))
    return str(caught.value)


@pytest.mark.parametrize("source_format", FORMATS)
@settings(max_examples=20, deadline=None)
@given(rows=st.lists(st.tuples(st.just("key"), VALUES, VALUES), min_size=1, max_size=4))
def test_what_is_exported_in_a_format_can_be_imported_in_it(source_format: str, rows: list[tuple[str, ...]]) -> None:
    fields = ("ID", "NAME", "NOTE")
    data = EntityData(
        name="Vendor: groups/all",
        source_format=source_format,
        fields=fields,
        rows=tuple(dict(zip(fields, row, strict=True)) for row in rows),
    )

    assert read(write_package("Vendors", [data])) == data


@pytest.mark.parametrize("source_format", ["EXCEL", "CSV", "CSV-Unicode", "XML"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-8"])
def test_packages_are_read_in_every_format_and_with_either_encoding_of_the_manifest(
    source_format: str, encoding: str
) -> None:
    package = build_package(rows=[("A", "Zürich"), ("B", "")], source_format=source_format, encoding=encoding)  # type: ignore[arg-type]  # both come from the literals above

    rows = read(package).rows

    assert [dict(row) for row in rows] == [
        {"MAJORTYPEID": "A", "DESCRIPTION": "Zürich"},
        {"MAJORTYPEID": "B", "DESCRIPTION": ""},
    ]


def test_the_first_column_of_the_file_is_the_first_field_whatever_the_order_of_the_map() -> None:
    package = build_package(columns=("DESCRIPTION", "MAJORTYPEID"), rows=[("Alpha", "A")])
    turned = build_package(replace={"Fixed asset major type.csv": b"MAJORTYPEID,DESCRIPTION\r\nA,Alpha\r\n"})

    assert read(package).fields == ("DESCRIPTION", "MAJORTYPEID")
    assert read(turned).fields == ("MAJORTYPEID", "DESCRIPTION")


@pytest.mark.parametrize(
    "package",
    [
        pytest.param(b"", id="emptied blob"),
        pytest.param(b"MAJORTYPEID,DESCRIPTION\r\n", id="a data file instead of a package"),
        pytest.param(build_package(folder="Package/"), id="files inside a folder"),
        pytest.param(build_package(replace={"PackageHeader.xml": None}), id="no header"),
        pytest.param(build_package()[:400], id="cut off"),
    ],
)
def test_what_is_no_package_lacks_its_header(package: bytes) -> None:
    assert "Could not find file 'C:\\windows\\TEMP\\" in broken(package)
    assert broken(package).endswith("\\PackageHeader.xml'.")


def test_a_file_that_the_manifest_names_must_be_there() -> None:
    assert broken(build_package(replace={"Manifest.xml": None})).endswith("\\Manifest.xml'.")
    assert broken(build_package(replace={"Fixed asset major type.csv": None})).endswith(
        "\\Fixed asset major type.csv'."
    )


def test_a_manifest_in_another_namespace_is_refused() -> None:
    said = broken(build_package(namespace="urn:other"))

    assert "Expecting element 'DataManagementPackageHeader'" in said
    assert "namespace 'urn:other'" in said


def test_a_manifest_that_is_no_xml_is_refused() -> None:
    assert "XML is not in correct format" in broken(build_package(replace={"Manifest.xml": b"<Data"}))


def test_csv_lines_must_end_as_on_windows() -> None:
    said = broken(build_package(replace={"Fixed asset major type.csv": b"MAJORTYPEID,DESCRIPTION\nA,Alpha\n"}))

    assert "the mapping is incorrect for entity Fixed asset major type and field {" in said


def test_a_column_that_the_map_names_must_be_in_the_file() -> None:
    said = broken(build_package(replace={"Fixed asset major type.csv": b"MAJORTYPEID\r\nA\r\n"}))

    assert "the mapping is incorrect" in said


def test_csv_unicode_must_be_utf_16() -> None:
    package = build_package(
        entities=[Entity(name="Currencies", source_format="CSV-Unicode", content=b"MAJORTYPEID,DESCRIPTION\r\n")]
    )

    assert broken(package) == "Selected file is not Unicode"


HEADER = b"MAJORTYPEID,DESCRIPTION\r\n"


@pytest.mark.parametrize(
    ("entity", "said"),
    [
        pytest.param(Entity(name="Units", content=HEADER), "DMF2053", id="a header only"),
        pytest.param(Entity(name="Units", source_format="EXCEL", rows=()), "DMF2053", id="a workbook without a row"),
        pytest.param(
            Entity(name="Units", content=b"\xff\xfe" + HEADER.decode().encode("utf-16-le")),
            "Selected file is Unicode",
            id="UTF-16 under CSV",
        ),
    ],
)
def test_of_a_data_file_that_cannot_be_staged_it_is_known_why(entity: Entity, said: str) -> None:
    data = read(build_package(entities=[entity]))

    assert said in data.error
    assert data.rows == ()


LONG = "Retail transaction payment / trailers"


@pytest.mark.parametrize(
    ("sheet", "rows"), [("Retail_transaction_payment___tr$", 0), ("Retail_transaction_payment___t$", 1), ("", 1)]
)
def test_a_sheet_is_named_by_the_first_30_letters_of_its_entity_and_must_be_there(sheet: str, rows: int) -> None:
    data = EntityData(name=LONG, source_format="EXCEL", fields=("ID",), rows=({"ID": "1"},))
    exported = _entries(write_package("Retail", [data]))
    listed = exported["Manifest.xml"].decode("utf-16").replace("Retail_transaction_payment___t$", sheet)

    again = read(zip_of(exported | {"Manifest.xml": listed.encode("utf-16")}))

    assert len(again.rows) == rows
    assert ("DMF040" in again.error) == (rows == 0)


def test_without_a_map_no_row_is_read_and_nobody_complains() -> None:
    package = build_package()
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    manifest = entries["Manifest.xml"].decode("utf-16")
    before, _, rest = manifest.partition("<EntityMapList>")
    manifest = f'{before}<EntityMapList i:nil="true"/>{rest.partition("</EntityMapList>")[2]}'

    assert read(zip_of(entries | {"Manifest.xml": manifest.encode("utf-16")})).rows == ()


def test_a_disabled_entity_needs_no_file_and_no_map() -> None:
    entities = [Entity(name="Currencies"), Entity(name="Units", columns=())]
    listed = manifest("Cases", entities, encoding="utf-8").decode()
    listed = listed.replace("<EntityMapList></EntityMapList>", "<Disable>true</Disable>")
    package = build_package(
        entities=entities, encoding="utf-8", replace={"Manifest.xml": listed.encode(), "Units.csv": None}
    )

    assert read(package).name == "Currencies"


@pytest.mark.parametrize(
    ("listed", "in_the_zip"),
    [
        ("Currencies.csv", "CURRENCIES.CSV"),
        ("ÄÖÜ.csv", "äöü.csv"),
        (unicodedata.normalize("NFC", "Salariés.csv"), unicodedata.normalize("NFD", "Salariés.csv")),
        (unicodedata.normalize("NFD", "Salariés.csv"), unicodedata.normalize("NFC", "Salariés.CSV")),
    ],
    ids=["case", "case of umlauts", "decomposed in the zip", "decomposed in the manifest"],
)
def test_data_files_are_found_as_leniently_as_the_manifest(listed: str, in_the_zip: str) -> None:
    entity = Entity(name="Currencies", file_name=listed)
    package = build_package(entities=[entity], replace={listed: None, in_the_zip: data_file(entity)})

    assert len(read(package).rows) == 1


DAMAGED = {
    "an empty first line": {"Fixed asset major type.csv": b"\r\nA,Alpha\r\n"},
    "an encoding that there is not": {"Manifest.xml": b'<?xml version="1.0" encoding="utf-99"?><a/>'},
}


@pytest.mark.parametrize("replaced", DAMAGED.values(), ids=DAMAGED.keys())
def test_what_is_damaged_inside_is_refused_in_words(replaced: dict[str, bytes]) -> None:
    assert broken(build_package(replace=replaced))


@settings(max_examples=150, deadline=None)
@given(
    source_format=st.sampled_from(["CSV", "CSV-Unicode", "EXCEL", "XML"]),
    at=st.floats(0, 1, exclude_max=True),
    cut=st.integers(0, 12),
    put=st.binary(max_size=6),
    in_workbook=st.booleans(),
)
def test_no_damage_to_a_package_makes_the_simulator_fail(
    source_format: SourceFormat, at: float, cut: int, put: bytes, in_workbook: bool
) -> None:
    def damaged(content: bytes) -> bytes:
        start = int(at * len(content))
        return content[:start] + put + content[start + cut :]

    package = build_package(source_format=source_format)
    if in_workbook and source_format == "EXCEL":
        name = "Fixed asset major type.xlsx"
        parts = _entries(_entries(package)[name])
        part = sorted(parts)[int(at * len(parts))]
        package = build_package(replace={name: zip_of({**parts, part: damaged(parts[part])})}, source_format="EXCEL")
    else:
        package = damaged(package)

    with contextlib.suppress(PackageBroken), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # openpyxl's, of parts that it leaves out
        read_package(io.BytesIO(package))


def _entries(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
