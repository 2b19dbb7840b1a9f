"""Builds DMF data packages for tests, laid out as F&O exports them.

The shape is that of Microsoft's sample ``usmf_asset-major-types-01.zip``: a manifest and a header in UTF-16 with a byte
order mark and without an XML declaration, and one data file per entity, all at the root of the zip.
"""

import csv
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal
from xml.sax.saxutils import escape

from openpyxl import Workbook

NAMESPACE: Final = "http://schemas.microsoft.com/dynamics/2015/01/DataManagement"
_INSTANCE: Final = "http://www.w3.org/2001/XMLSchema-instance"
_MANIFEST_TYPE: Final = (
    "Microsoft.Dynamics.AX.Framework.Tools.DataManagement.Serialization.DataManagementPackageManifest"
)
_SUFFIX: Final = {"CSV": "csv", "CSV-Unicode": "csv", "EXCEL": "xlsx", "XML": "xml"}

type SourceFormat = Literal["CSV", "CSV-Unicode", "EXCEL", "XML"]
type Rows = Sequence[Sequence[str]]


class Counted(io.BytesIO):
    """A file that counts the bytes that are read of it, and how many at most at once."""

    read_bytes = 0
    most_at_once = 0

    def read(self, size: int | None = -1, /) -> bytes:
        content = super().read(size)
        self.read_bytes += len(content)
        self.most_at_once = max(self.most_at_once, len(content))
        return content


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """One entity of a package: what the manifest says about it, and its data file."""

    name: str  # the label, as in the manifest's EntityName: "Fixed asset major type"
    columns: Sequence[str] = ("MAJORTYPEID", "DESCRIPTION")
    rows: Rows = (("A", "Alpha"),)
    source_format: SourceFormat = "CSV"
    file_name: str = ""  # InputFilePath; empty: the entity's name with the format's suffix
    content: bytes | None = None  # the data file's bytes; None: made of columns and rows
    is_disabled: bool = False

    @property
    def input_file_path(self) -> str:
        return self.file_name or f"{self.name}.{_SUFFIX[self.source_format]}"


def build_package(
    *,
    data_project: str = "Asset-Major-Types",
    entity: str = "Fixed asset major type",
    columns: Sequence[str] = ("MAJORTYPEID", "DESCRIPTION"),
    rows: Rows = (("A", "Alpha"),),
    source_format: SourceFormat = "CSV",
    encoding: Literal["utf-16", "utf-8"] = "utf-16",
    entities: Sequence[Entity] | None = None,
    namespace: str = NAMESPACE,
    replace: Mapping[str, bytes | None] | None = None,
    folder: str = "",
) -> bytes:
    """Return the bytes of a package.

    entity, columns, rows, source_format describe its one entity; ``entities`` is for more than one.
    encoding: of manifest and header. replace: entries to add or to overwrite by name; None leaves the entry out.
    folder: put before every name, for packages that were zipped with their folder ("Package/").
    """
    listed = (
        entities
        if entities is not None
        else (Entity(name=entity, columns=columns, rows=rows, source_format=source_format),)
    )
    entries: dict[str, bytes | None] = {each.input_file_path: data_file(each) for each in listed}
    entries["Manifest.xml"] = manifest(data_project, listed, encoding=encoding, namespace=namespace)
    entries["PackageHeader.xml"] = header(data_project, encoding=encoding, namespace=namespace)
    entries.update(replace or {})
    return zip_of({folder + name: content for name, content in entries.items() if content is not None})


def package_named(name: str) -> bytes:
    """Return a good package whose bytes are those of no other name: the name is the zip's comment."""
    comment = name.encode()
    return build_package()[:-2] + len(comment).to_bytes(2, "little") + comment


def zip_of(entries: Mapping[str, bytes]) -> bytes:
    """Return a zip of these entries; the same entries always give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            info = zipfile.ZipInfo(name, date_time=(2026, 11, 2, 8, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return buffer.getvalue()


def with_unmarked_name(name: str, encoding: str) -> bytes:
    """Return a package whose one data file has its name in an encoding of which the zip says nothing."""
    raw = name.encode(encoding)
    instead = "#" * len(raw)  # zipfile writes such names as ASCII or as UTF-8 with its mark, and no others
    package = build_package(entities=[Entity(name="Employees", file_name=name)], replace={name: None, instead: b"A"})
    return package.replace(instead.encode(), raw)


def manifest(
    data_project: str, entities: Sequence[Entity], *, encoding: str = "utf-16", namespace: str = NAMESPACE
) -> bytes:
    return _xml_bytes(
        f'<DataManagementPackageManifest xmlns:i="{_INSTANCE}" xmlns="{namespace}">'
        f"<DefinitionGroupName>{escape(data_project)}</DefinitionGroupName>"
        f"<Description>{escape(data_project)}</Description>"
        f"<PackageEntityList>{''.join(_entity_xml(each) for each in entities)}</PackageEntityList>"
        "</DataManagementPackageManifest>",
        encoding,
    )


def header(description: str, *, encoding: str = "utf-16", namespace: str = NAMESPACE) -> bytes:
    return _xml_bytes(
        f'<DataManagementPackageHeader xmlns:i="{_INSTANCE}" xmlns="{namespace}">'
        f"<Description>{escape(description)}</Description>"
        f"<ManifestType>{_MANIFEST_TYPE}</ManifestType>"
        "<PackageType>DefinitionGroup</PackageType>"
        "<PackageVersion>1</PackageVersion>"
        "</DataManagementPackageHeader>",
        encoding,
    )


def data_file(entity: Entity) -> bytes:
    if entity.content is not None:
        return entity.content
    match entity.source_format:
        case "CSV":
            return _csv(entity).encode("utf-8")
        case "CSV-Unicode":
            return _csv(entity).encode("utf-16")  # F&O insists on the byte order mark
        case "EXCEL":
            return _workbook(entity)
        case "XML":
            return _xml(entity).encode("utf-8")


def _entity_xml(entity: Entity) -> str:
    maps = "".join(
        f"<EntityMap><ArrayIndex>0</ArrayIndex><EntityField>{escape(column)}</EntityField>"
        '<EntityFieldConversionList i:nil="true"/><IsAutoDefault>false</IsAutoDefault>'
        "<IsAutoGenerated>false</IsAutoGenerated><IsDefaultValueEqualNull>false</IsDefaultValueEqualNull>"
        f"<UseTextQualifier>false</UseTextQualifier><XMLField>{escape(column)}</XMLField></EntityMap>"
        for column in entity.columns
    )
    return (
        f"<DataManagementPackageEntityData>{'<Disable>true</Disable>' if entity.is_disabled else ''}"
        f"<EntityMapList>{maps}</EntityMapList>"
        f"<EntityName>{escape(entity.name)}</EntityName>"
        '<EntityTransformList i:nil="true"/><ExcelSheetName/><ExecutionUnit>1</ExecutionUnit>'
        "<FailExecutionUnitOnError>false</FailExecutionUnitOnError><FailLevelOnError>false</FailLevelOnError>"
        f"<InputFilePath>{escape(entity.input_file_path)}</InputFilePath>"
        "<LevelInExecutionUnit>1</LevelInExecutionUnit><RunBusinessLogic>true</RunBusinessLogic>"
        "<RunBusinessValidation>true</RunBusinessValidation><SampleFilePath/><SequenceInLevel>1</SequenceInLevel>"
        f"<SourceFormat>{entity.source_format}</SourceFormat><ValidationStatus>Yes</ValidationStatus>"
        "</DataManagementPackageEntityData>"
    )


def _xml_bytes(text: str, encoding: str) -> bytes:
    # UTF-16 as F&O writes it: little-endian with a byte order mark and no declaration.
    if encoding == "utf-16":
        return b"\xff\xfe" + text.encode("utf-16-le")
    return f'<?xml version="1.0" encoding="{encoding}"?>{text}'.encode(encoding)


def _csv(entity: Entity) -> str:
    # CRLF: with LF alone F&O says that the mapping is incorrect.
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows([entity.columns, *entity.rows])
    return text.getvalue()


def _workbook(entity: Entity) -> bytes:
    workbook = Workbook()
    workbook.remove(workbook.worksheets[0])
    sheet = workbook.create_sheet(entity.name.replace(" ", "_")[:30])  # as F&O cuts it
    for row in (entity.columns, *entity.rows):
        sheet.append(list(row))
    buffer = io.BytesIO()
    workbook.save(buffer)
    return buffer.getvalue()


def _xml(entity: Entity) -> str:
    element = "".join(filter(str.isalnum, entity.name)).upper()
    rows = "".join(
        f"<{element}>"
        + "".join(f"<{column}>{escape(value)}</{column}>" for column, value in zip(entity.columns, row, strict=True))
        + f"</{element}>"
        for row in entity.rows
    )
    return f'<?xml version="1.0" encoding="utf-8"?><Document>{rows}</Document>'
