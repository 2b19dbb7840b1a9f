"""DMF data packages as F&O reads and writes them: a zip with a manifest, a header and one data file per entity.

What is wrong with a package is said in F&O's own words (``PackageBroken``). What the rows mean is not known here:
that is ``data_management``'s business.
"""

import contextlib
import csv
import io
import lzma
import re
import unicodedata
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Final
from xml.etree.ElementTree import Element, ParseError
from xml.sax.saxutils import escape, quoteattr

import openpyxl
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring
from openpyxl.cell import WriteOnlyCell

NAMESPACE: Final = "http://schemas.microsoft.com/dynamics/2015/01/DataManagement"
_INSTANCE: Final = "http://www.w3.org/2001/XMLSchema-instance"
_MANIFEST_TYPE: Final = (
    "Microsoft.Dynamics.AX.Framework.Tools.DataManagement.Serialization.DataManagementPackageManifest"
)
_SHEET_NAME: Final = 30  # characters; Observed in exported workbooks: one less than Excel's limit
# The codes are documented, and so is that a file needs a row below its header; the words are Assumed.
# https://learn.microsoft.com/dynamics365/fin-ops-core/dev-itpro/data-entities/dm-error-descriptions#error-codes
NO_ROWS: Final = "DMF2053: The file of entity {entity} has no data row below its header."
NO_SHEET: Final = "DMF040: The worksheet '{sheet}' of entity {entity} could not be opened."
# Observed: https://github.com/microsoft/Recurring-Integrations-Scheduler/issues/92
IS_UNICODE: Final = "Selected file is Unicode"
_NOT_IN_XML: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")  # https://www.w3.org/TR/xml/#charsets

# How a zip breaks off: RuntimeError is an encrypted entry, ValueError and OSError an offset that leads nowhere.
_NOT_UNPACKED: Final = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OSError,
)
# LookupError: an encoding that there is not.
_NOT_PARSED: Final = (ParseError, DefusedXmlException, ValueError, LookupError)

type Row = Mapping[str, str]  # field -> value; a value that is not there is ""
type _AsRecord = Callable[[str, Sequence[str], Row], str]


class PackageBroken(Exception):
    """F&O cannot read the package; the text is what F&O would say."""


class _FileUnreadable(Exception):
    """The package can be read, but not this data file; the text is what F&O would say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldMap:
    """One EntityMap of a manifest: which column of the data file goes into which field of the entity."""

    column: str  # XMLField
    field: str  # EntityField


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityData:
    """One entity of a package and its rows, under the names of the entity's fields."""

    name: str  # the label: "Fixed asset major type"
    source_format: str  # "EXCEL", "CSV", "CSV-Unicode", "TAB", "XML-Element", "XML-Attribute"
    fields: tuple[str, ...]  # in the order of the file's columns; none: no EntityMap, so that no row is imported
    rows: tuple[Row, ...]
    error: str = ""  # why no row of its file reaches staging, in F&O's words


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """What a package says about itself, and its data."""

    data_project: str  # DefinitionGroupName of the manifest; an import may run under another name
    entities: tuple[EntityData, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """What a data file holds, before it is mapped to the entity's fields."""

    columns: Sequence[str]
    lines: Sequence[Sequence[str]]  # each as long as the columns


def read_package(file: IO[bytes]) -> Package:
    """Return what a package holds.

    file: the seekable zip, left open. Raises PackageBroken.
    """
    # Observed in Dynamics-AX-Integration#37: F&O unpacks into a folder of two GUIDs and looks for the header there.
    folder = f"C:\\windows\\TEMP\\{_upper_guid()}_{_upper_guid()}"
    try:
        with zipfile.ZipFile(file) as archive:
            return _Unpacked(archive, folder).package()
    except _NOT_UNPACKED as error:
        # A file that is no zip unpacks to nothing, so that the header is missing.
        raise PackageBroken(_missing(folder, "PackageHeader.xml")) from error


def write_package(data_project: str, entities: Sequence[EntityData]) -> bytes:
    """Return the package that F&O's export makes of these rows."""
    buffer = io.BytesIO()
    file_names = [f"{_file_name(entity.name)}.{_suffix(entity.source_format)}" for entity in entities]
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for entity, file_name in zip(entities, file_names, strict=True):
            archive.writestr(file_name, data_file(entity))
        archive.writestr("Manifest.xml", _as_written_by_dmf(_manifest(data_project, entities, file_names)))
        archive.writestr("PackageHeader.xml", _as_written_by_dmf(_header(data_project)))
    return buffer.getvalue()


def folded(name: str) -> str:
    """Return a name as it is compared: of entities as the database does, of files as Windows does.

    Neither regards case. Assumed: a letter with its accent is one however it is written (NFC or NFD).
    """
    return unicodedata.normalize("NFC", name).casefold()


def is_excel(source_format: str) -> bool:
    """Return whether files of this format need F&O's one reader and writer of Excel."""
    return source_format.upper() == "EXCEL"


class _Unpacked:
    """The entries of a package's zip, as if unpacked into a folder on Windows."""

    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        self._archive = archive
        self._folder = folder
        self._at_root = {folded(entry.filename): entry for entry in archive.infolist()}

    def package(self) -> Package:
        self._parse("PackageHeader.xml", "DataManagementPackageHeader")
        manifest = self._parse("Manifest.xml", "DataManagementPackageManifest")
        listed = manifest.iterfind(f"{_ns('PackageEntityList')}/{_ns('DataManagementPackageEntityData')}")
        return Package(
            data_project=_text(manifest, "DefinitionGroupName"),
            # Assumed: what is disabled is not even looked at, so that it needs no file and no map.
            entities=tuple(self._entity(element) for element in listed if not _is_disabled(element)),
        )

    def _entity(self, element: Element) -> EntityData:
        name = _text(element, "EntityName")
        source_format = _text(element, "SourceFormat")
        content = self._read(_text(element, "InputFilePath"))
        mapped = element.iterfind(f"{_ns('EntityMapList')}/{_ns('EntityMap')}")
        maps = [FieldMap(column=_text(each, "XMLField"), field=_text(each, "EntityField")) for each in mapped]
        maps = [each for each in maps if each.column]  # a default or a generated value comes from no column
        try:
            table = _table(name, source_format, _text(element, "ExcelSheetName"), content)
            data = _mapped(name, source_format, maps, table)
            if maps and not data.rows:
                raise _FileUnreadable(NO_ROWS.format(entity=name))
        except _FileUnreadable as error:
            fields = tuple(each.field for each in maps)
            return EntityData(name=name, source_format=source_format, fields=fields, rows=(), error=str(error))
        return data

    def _parse(self, file_name: str, root_name: str) -> Element:
        try:
            root = fromstring(self._read(file_name))
        except _NOT_PARSED as error:
            raise PackageBroken(f"XML is not in correct format. {error}") from error
        if root.tag != _ns(root_name):
            namespace, _, name = root.tag.rpartition("}")
            raise PackageBroken(
                f"Error in line 1 position 1. Expecting element '{root_name}' from namespace '{NAMESPACE}'.. "
                f"Encountered 'Element'  with name '{name}', namespace '{namespace.lstrip('{')}'."
            )
        return root

    def _read(self, file_name: str) -> bytes:
        entry = self._at_root.get(folded(file_name))
        if entry is None or entry.is_dir():
            raise PackageBroken(_missing(self._folder, file_name))
        return self._archive.read(entry)


def _mapped(entity: str, source_format: str, maps: Sequence[FieldMap], table: _Table) -> EntityData:
    place = {column.casefold(): number for number, column in enumerate(table.columns)}
    if maps and table.lines and not table.columns:
        raise _wrong_mapping(entity)  # an empty first line
    if table.columns and any(each.column.casefold() not in place for each in maps):
        raise _wrong_mapping(entity)
    in_order = sorted(maps, key=lambda each: place.get(each.column.casefold(), 0))
    fields = tuple(each.field for each in in_order)
    columns = [place[each.column.casefold()] for each in in_order] if table.columns else []
    rows = (dict(zip(fields, (line[column] for column in columns), strict=True)) for line in table.lines)
    return EntityData(name=entity, source_format=source_format, fields=fields, rows=tuple(rows) if maps else ())


def _table(entity: str, source_format: str, sheet: str, content: bytes) -> _Table:
    match source_format.upper():
        case "EXCEL":
            return _from_workbook(entity, content, sheet)
        case "CSV":
            if content.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise _FileUnreadable(IS_UNICODE)
            return _from_lines(entity, _decoded(content), ",")
        case "CSV-UNICODE":
            if not content.startswith(b"\xff\xfe"):
                raise PackageBroken("Selected file is not Unicode")  # Observed: UTF-8 under CSV-Unicode
            return _from_lines(entity, content.decode("utf-16", errors="replace"), ",")
        case "TAB":
            return _from_lines(entity, _decoded(content), "\t")
        case other if other.startswith("XML"):
            return _from_xml(content)
        case _:
            raise PackageBroken(f"Source data format {source_format} does not exist.")  # Assumed: the words


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")  # what Windows calls ANSI


def _from_lines(entity: str, text: str, delimiter: str) -> _Table:
    if "\n" in text and "\r\n" not in text:
        raise _wrong_mapping(entity)  # Observed: a CSV with LF alone fails ImportFromPackage in these words
    try:
        return _as_table(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:  # a field of more than 128 KiB
        raise _wrong_mapping(entity) from error


def _from_workbook(entity: str, content: bytes, sheet: str) -> _Table:
    try:
        workbook = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        with contextlib.closing(workbook):
            wanted = sheet.removesuffix("$")
            # Observed in Microsoft's sample: without a name, the first sheet is read.
            page = next((each for each in workbook.worksheets if wanted in ("", each.title)), None)
            if page is None:
                raise _FileUnreadable(NO_SHEET.format(sheet=wanted, entity=entity))
            return _as_table([_cell(value) for value in line] for line in page.iter_rows(values_only=True))
    except _FileUnreadable:
        raise
    except Exception as error:  # openpyxl passes on whatever a damaged part of a workbook makes Python raise
        raise PackageBroken(f"The Excel file cannot be opened: {error}") from error  # Assumed: the words


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _from_xml(content: bytes) -> _Table:
    try:
        root = fromstring(content)
    except _NOT_PARSED as error:
        raise PackageBroken(f"XML is not in correct format. {error}") from error
    records = [
        dict(record.attrib) | {field.tag.rpartition("}")[2]: field.text or "" for field in record} for record in root
    ]
    columns = list(dict.fromkeys(column for record in records for column in record))
    return _Table(columns=columns, lines=[[record.get(column, "") for column in columns] for record in records])


def _as_table(lines: Iterable[Sequence[str]]) -> _Table:
    """Take the first line for the names of the columns; lines that are wholly empty are none."""
    rest = iter(lines)
    columns = next(rest, [])
    width = len(columns)
    return _Table(columns=columns, lines=[[*line[:width], *[""] * (width - len(line))] for line in rest if any(line)])


def data_file(entity: EntityData) -> bytes:
    """Return an entity's rows in its source format."""
    match entity.source_format.upper():
        case "EXCEL":
            return _workbook(entity)
        case "CSV-UNICODE":
            return b"\xff\xfe" + _lines(entity, ",").encode("utf-16-le")
        case "TAB":
            return _lines(entity, "\t").encode()
        case "XML-ATTRIBUTE":
            return _document(entity, _as_attributes)
        case other if other.startswith("XML"):
            return _document(entity, _as_elements)
        case _:
            return _lines(entity, ",").encode()


def _lines(entity: EntityData, delimiter: str) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\r\n")
    writer.writerow(entity.fields)
    writer.writerows([row.get(field, "") for field in entity.fields] for row in entity.rows)
    return text.getvalue()


def _workbook(entity: EntityData) -> bytes:
    workbook = openpyxl.Workbook(write_only=True)
    sheet = workbook.create_sheet(sheet_name(entity.name))
    sheet.append(entity.fields)
    for row in entity.rows:
        cells = [WriteOnlyCell(sheet, _in_xml(row.get(field, ""))) for field in entity.fields]
        for cell in cells:
            cell.data_type = "s"  # "=1" is a text here, and not a formula
        sheet.append(cells)
    buffer = io.BytesIO()
    workbook.save(buffer)
    return buffer.getvalue()


def sheet_name(entity: str) -> str:
    """Return the name of an entity's sheet; two entities may have the same."""
    return re.sub(r"\W", "_", entity)[:_SHEET_NAME]


def _document(entity: EntityData, as_record: _AsRecord) -> bytes:
    element = re.sub(r"\W", "", entity.name).upper() or "ENTITY"
    records = "".join(as_record(element, entity.fields, row) for row in entity.rows)
    return f'<?xml version="1.0" encoding="utf-8"?><Document>{records}</Document>'.encode()


def _as_elements(element: str, fields: Sequence[str], row: Row) -> str:
    values = "".join(f"<{field}>{escape(_in_xml(row.get(field, '')))}</{field}>" for field in fields)
    return f"<{element}>{values}</{element}>"


def _as_attributes(element: str, fields: Sequence[str], row: Row) -> str:
    values = "".join(f" {field}={quoteattr(_in_xml(row.get(field, '')))}" for field in fields)
    return f"<{element}{values}/>"


def _manifest(data_project: str, entities: Sequence[EntityData], file_names: Sequence[str]) -> str:
    listed = "".join(
        _manifest_entity(entity, file_name, number)
        for number, (entity, file_name) in enumerate(zip(entities, file_names, strict=True), start=1)
    )
    return (
        f'<DataManagementPackageManifest xmlns:i="{_INSTANCE}" xmlns="{NAMESPACE}">'
        f"<DefinitionGroupName>{escape(data_project)}</DefinitionGroupName>"
        f"<Description>{escape(data_project)}</Description>"
        f"<PackageEntityList>{listed}</PackageEntityList></DataManagementPackageManifest>"
    )


def _manifest_entity(entity: EntityData, file_name: str, number: int) -> str:
    maps = "".join(
        f"<EntityMap><ArrayIndex>0</ArrayIndex><EntityField>{escape(field)}</EntityField>"
        '<EntityFieldConversionList i:nil="true"/><IsAutoDefault>false</IsAutoDefault>'
        "<IsAutoGenerated>false</IsAutoGenerated><IsDefaultValueEqualNull>false</IsDefaultValueEqualNull>"
        f"<UseTextQualifier>false</UseTextQualifier><XMLField>{escape(field)}</XMLField></EntityMap>"
        for field in entity.fields
    )
    sheet = f"{sheet_name(entity.name)}$" if is_excel(entity.source_format) else ""
    return (
        f"<DataManagementPackageEntityData><EntityMapList>{maps}</EntityMapList>"
        f"<EntityName>{escape(entity.name)}</EntityName>"
        f'<EntityTransformList i:nil="true"/><ExcelSheetName>{sheet}</ExcelSheetName><ExecutionUnit>1</ExecutionUnit>'
        "<FailExecutionUnitOnError>false</FailExecutionUnitOnError><FailLevelOnError>false</FailLevelOnError>"
        f"<InputFilePath>{escape(file_name)}</InputFilePath><LevelInExecutionUnit>1</LevelInExecutionUnit>"
        "<RunBusinessLogic>true</RunBusinessLogic><RunBusinessValidation>true</RunBusinessValidation><SampleFilePath/>"
        f"<SequenceInLevel>{number}</SequenceInLevel><SourceFormat>{escape(entity.source_format)}</SourceFormat>"
        "<ValidationStatus>Yes</ValidationStatus></DataManagementPackageEntityData>"
    )


def _header(data_project: str) -> str:
    return (
        f'<DataManagementPackageHeader xmlns:i="{_INSTANCE}" xmlns="{NAMESPACE}">'
        f"<Description>{escape(data_project)}</Description><ManifestType>{_MANIFEST_TYPE}</ManifestType>"
        "<PackageType>DefinitionGroup</PackageType><PackageVersion>1</PackageVersion></DataManagementPackageHeader>"
    )


def _as_written_by_dmf(xml: str) -> bytes:
    # Observed in usmf_asset-major-types-01.zip: UTF-16 with a byte order mark, no declaration, one line.
    return b"\xff\xfe" + xml.encode("utf-16-le")


def _wrong_mapping(entity: str) -> PackageBroken:
    return PackageBroken(f"the mapping is incorrect for entity {entity} and field {{{_upper_guid()}}}")


def _missing(folder: str, file_name: str) -> str:
    return f"Could not find file '{folder}\\{file_name}'."


def _upper_guid() -> str:
    return str(uuid.uuid4()).upper()


def _ns(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"


def _text(element: Element, name: str) -> str:
    return (element.findtext(_ns(name)) or "").strip()


def _is_disabled(element: Element) -> bool:
    return _text(element, "Disable").casefold() in ("true", "1", "yes")


def _file_name(entity: str) -> str:
    return re.sub(r'[\\/:*?"<>|]', "_", entity)


def _suffix(source_format: str) -> str:
    kind = source_format.upper()
    if kind == "EXCEL":
        return "xlsx"
    if kind.startswith("XML"):
        return "xml"
    return "txt" if kind == "TAB" else "csv"


def _in_xml(value: str) -> str:
    return _NOT_IN_XML.sub("", value)
