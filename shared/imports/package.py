"""What a DMF data package is, and which company a file belongs to.

F&O answers a broken package late, with a message that names a temporary file of its own server, or not at all: without
an EntityMapList an import "succeeds" with no rows. So a package is checked here before F&O hears of it. Only the zip's
directory, the manifest and the header are read; data files are neither read nor judged. Streaming the package to F&O
is ``clients/blobs/read.py``.
"""

import re
import struct
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import BinaryIO, Final, Literal

from shared.errors import FileRejected, TryAgain

NAMESPACE: Final = "http://schemas.microsoft.com/dynamics/2015/01/DataManagement"
MANIFEST: Final = "Manifest.xml"
HEADER: Final = "PackageHeader.xml"

MAX_ENTRIES: Final = 10_000  # the largest packages known hold some 400 entities
MAX_DIRECTORY_BYTES: Final = 8 * 1024 * 1024  # 10,000 entries with long names take about 3 MiB
# A field map takes about 900 bytes in UTF-16, so a manifest of 365 entities with 100 fields each comes to 33 MB.
MAX_MANIFEST_BYTES: Final = 64 * 1024 * 1024
MAX_HEADER_BYTES: Final = 1024 * 1024
# Bytes of XML for each byte of it in the zip. Manifests in UTF-16 reach 40 to 50, of 300 fields that are named alike
# 82; a few KiB that were made to cost seconds of CPU come to 750 and more. Below MIN_XML_BYTES no ratio does harm.
MAX_XML_RATIO: Final = 200
MIN_XML_BYTES: Final = 1280 * 1024
MAX_XML_DEPTH: Final = 32  # a manifest nests 7 deep, one with query filters some more
MAX_XML_ELEMENTS: Final = 1_000_000  # that manifest of 33 MB has some 330,000
# Elements for each byte in the zip: real manifests have up to 1.1. Each costs some microseconds.
MAX_XML_DENSITY: Final = 4
MIN_XML_ELEMENTS: Final = 50_000
# Bytes of one tag, comment or the like. The parser keeps it whole: two million attributes would take a gigabyte.
MAX_XML_TOKEN_BYTES: Final = 1024 * 1024
MAX_TEXT: Final = 1024  # characters kept of an element's text; names in F&O are far shorter
# Deflate cannot do better than 1,032 to 1. Rows that repeat reach 50 to 1; only files made to burst come near 500.
MAX_RATIO: Final = 500
RATIO_MATTERS_FROM_BYTES: Final = 64 * 1024 * 1024  # below, even a bomb does no harm

# Characters of the names that one refusal lists; the entities of any package that is known come to fewer.
MAX_LISTED: Final = 8_000

_CHUNK: Final = 64 * 1024  # bytes
_COMPANY: Final = re.compile(r"[A-Za-z0-9]{1,4}")  # DataAreaId is at most 4 characters; ASCII only, unlike isalnum()
_DRIVE_LETTER: Final = re.compile(r"[A-Za-z]:")
_UTF_8: Final = 0x800  # general purpose flag: the name is UTF-8
# What programs write names in that they do not mark as UTF-8: the code pages of Windows and DOS, or UTF-8 all the same.
_NAME_ENCODINGS: Final = (
    *("utf-8", "cp437", "cp850", "cp852", "cp855", "cp866", "cp737", "cp857", "cp862"),
    *("cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1257", "cp932", "cp936", "cp949", "cp950"),
)
_FORMS: Final[tuple[Literal["NFC"], Literal["NFD"]]] = ("NFC", "NFD")  # accents as parts of letters, and as signs
_ENCRYPTED: Final = 0x1 | 0x40 | 0x2000  # general purpose flags: encrypted, strongly encrypted, directory masked
# Assumed: F&O opens packages with .NET's ZipArchive, which knows Stored, Deflate and Deflate64 and no other method.
_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, 9})
_BROKEN_ZIP: Final = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    UnicodeDecodeError,
)

_MANIFEST_ROOT: Final = f"{{{NAMESPACE}}}DataManagementPackageManifest"
_HEADER_ROOT: Final = f"{{{NAMESPACE}}}DataManagementPackageHeader"
_PROJECT_PATH: Final = (_MANIFEST_ROOT, f"{{{NAMESPACE}}}DefinitionGroupName")
_ENTITY_PATH: Final = (
    _MANIFEST_ROOT,
    f"{{{NAMESPACE}}}PackageEntityList",
    f"{{{NAMESPACE}}}DataManagementPackageEntityData",
)
_NAME_PATH: Final = (*_ENTITY_PATH, f"{{{NAMESPACE}}}EntityName")
_FILE_PATH: Final = (*_ENTITY_PATH, f"{{{NAMESPACE}}}InputFilePath")
_DISABLE_PATH: Final = (*_ENTITY_PATH, f"{{{NAMESPACE}}}Disable")
_YES: Final = frozenset({"true", "1", "yes"})
_MAP_PATH: Final = (*_ENTITY_PATH, f"{{{NAMESPACE}}}EntityMapList", f"{{{NAMESPACE}}}EntityMap")
# The elements of a manifest that are kept; of all others only their nesting is followed.
_WANTED: Final = frozenset({_PROJECT_PATH, _ENTITY_PATH, _NAME_PATH, _FILE_PATH, _DISABLE_PATH, _MAP_PATH})

_EXPORT_ANEW: Final = (
    "Export the data project again with 'Generate data package', or correct the package and put it back."
)
_ZIP_THE_FILES: Final = "Zip the files themselves, not the folder that they are in."


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageEntity:
    """One entity of a package."""

    name: str  # the label that F&O knows it by, "Fixed asset major type": the manifest's EntityName
    file_name: str  # its data file at the root of the zip, as the zip spells what the manifest's InputFilePath names


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageFacts:
    """What a package says about itself."""

    data_project: str  # the manifest's DefinitionGroupName; may be empty, see project_for
    entities: tuple[PackageEntity, ...]  # those that are not disabled, in the manifest's order; at least one

    def project_for(self, configured: str) -> str:
        """Return the data project to import under: the flow's own, or the package's where the flow has none.

        Raises FileRejected where neither names one.
        """
        project = configured or self.data_project
        if not project:
            raise FileRejected(
                f"{MANIFEST} names no data project (DefinitionGroupName is empty), and none is set for this import. "
                "Name one in the package, or set IMPORT_DATA_PROJECT."
            )
        return project


@dataclass(frozen=True, slots=True, kw_only=True)
class _Declared:
    """An entity as the manifest declares it, before anything is checked."""

    name: str
    file_name: str
    maps: int  # how many field maps it has
    is_disabled: bool


def company_of(file_name: str) -> str:
    """Return the company that a file is for: what stands before the first underscore of its name, in capitals.

    Raises FileRejected where that is not 1 to 4 letters or digits.

    >>> company_of("usmf_Customers_001.zip")
    'USMF'
    """
    prefix, underscore, _rest = file_name.partition("_")
    if not underscore or _COMPANY.fullmatch(prefix) is None:
        raise FileRejected(
            f"The name {_shown(file_name)} does not begin with a company and an underscore. "
            "Rename it so that it does: USMF_Customers_001.zip goes to company USMF (1 to 4 letters or digits)."
        )
    return prefix.upper()


def check_package(file: BinaryIO) -> PackageFacts:
    """Return what the package says about itself, or refuse what F&O could never import.

    file: seekable; its directory, manifest and header are read, by small reads, and nothing else.
    Raises FileRejected with what is wrong, where, and what to do; TryAgain where the file cannot be read now. Errors of
    the app that ``file`` raises pass through.
    """
    # https://learn.microsoft.com/dynamics365/fin-ops-core/dev-itpro/data-entities/data-management-api
    # Observed on F&O by others: files in a folder, a missing header and a missing mapping fail as said in each refusal.
    size_bytes = file.seek(0, 2)
    if size_bytes == 0:
        raise FileRejected("The file is empty. Upload the data package again.")
    try:
        with zipfile.ZipFile(_SmallReads(file, size_bytes)) as archive:
            return _check_archive(archive, size_bytes)
    except _BROKEN_ZIP as error:
        raise FileRejected(
            "The file is not a zip, or it is damaged or cut off. F&O takes data packages only: a zip with "
            f"{MANIFEST}, {HEADER} and the data files. {_EXPORT_ANEW}"
        ) from error


def _check_archive(archive: zipfile.ZipFile, size_bytes: int) -> PackageFacts:
    entries = archive.infolist()
    if len(entries) > MAX_ENTRIES:
        raise FileRejected(f"The zip holds {len(entries):,} files; a package may hold {MAX_ENTRIES:,}. Split it.")
    for entry in entries:
        _check_entry(entry)
    _check_burst("The zip", sum(entry.file_size for entry in entries), size_bytes)
    _check_unique(entries)

    at_root = {entry.orig_filename: entry for entry in entries if _folder_of(entry.orig_filename) == ""}
    header = _readable(_entry_at_root(HEADER, at_root, entries))
    manifest = _readable(_entry_at_root(MANIFEST, at_root, entries))
    _check_header(archive, header)
    data_project, declared = _read_manifest(archive, manifest)
    if not declared:
        raise FileRejected(f"{MANIFEST} lists no entity, so there is nothing to import. {_EXPORT_ANEW}")
    if len(declared) > MAX_ENTRIES:
        raise FileRejected(f"{MANIFEST} lists {len(declared):,} entities; F&O has far fewer. {_EXPORT_ANEW}")
    # Assumed: F&O passes over an entity whose Disable is true, so that it needs neither data file nor field mapping.
    enabled = [(number, each) for number, each in enumerate(declared, 1) if not each.is_disabled]
    if not enabled:
        raise FileRejected(f"{MANIFEST} disables all its entities, so there is nothing to import. {_EXPORT_ANEW}")
    return PackageFacts(data_project=data_project, entities=_checked_entities(enabled, _Files(entries)))


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = entry.orig_filename  # as it stands in the zip; filename has been tidied for this machine
    if entry.flag_bits & _ENCRYPTED:
        raise FileRejected(f"{_shown(name)} in the zip is encrypted, and F&O has no password. Zip without one.")
    if _has_control(name):
        raise FileRejected(f"The zip holds the name {_shown(name)}, which has a control character. Rename that file.")
    if _is_unsafe(name):
        raise FileRejected(f"The zip holds the name {_shown(name)}, which points outside of it. {_ZIP_THE_FILES}")
    if entry.compress_type not in _METHODS:
        raise FileRejected(
            f"{_shown(name)} is compressed by a method that F&O cannot read ({entry.compress_type}). "
            "Zip with the usual method, Deflate."
        )
    _check_burst(f"{_shown(name)} in the zip", entry.file_size, entry.compress_size)


def _check_burst(what: str, unpacked_bytes: int, packed_bytes: int) -> None:
    if unpacked_bytes >= RATIO_MATTERS_FROM_BYTES and unpacked_bytes > MAX_RATIO * packed_bytes:
        raise FileRejected(
            f"{what} says that {packed_bytes:,} bytes unpack to {unpacked_bytes:,}, which no real data does. "
            f"{_EXPORT_ANEW}"
        )


def _check_unique(entries: Iterable[zipfile.ZipInfo]) -> None:
    # Regardless of case, because F&O unpacks onto a Windows disk, where one would overwrite the other.
    counted = Counter(_on_windows(entry.orig_filename) for entry in entries)
    doubles = [entry.orig_filename for entry in entries if counted[_on_windows(entry.orig_filename)] > 1]
    if doubles:
        raise FileRejected(f"The zip holds {_shown(doubles[0])} more than once. Leave one of them in it.")


def _entry_at_root(
    name: str, at_root: Mapping[str, zipfile.ZipInfo], entries: Iterable[zipfile.ZipInfo]
) -> zipfile.ZipInfo:
    # Regardless of case: F&O opens the unpacked file by name on a Windows disk.
    for each, entry in at_root.items():
        if each.casefold() == name.casefold():
            return entry
    for entry in entries:
        folder = _folder_of(entry.orig_filename)
        if folder and entry.orig_filename[len(folder) + 1 :].casefold() == name.casefold():
            raise FileRejected(
                f"{name} lies in the folder {_shown(folder)} of the zip, and F&O looks at its root only. "
                f"{_ZIP_THE_FILES}"
            )
    if "[Content_Types].xml" in at_root:
        raise FileRejected(
            f"This is an Office document (such as an Excel workbook), not a data package: it holds no {name}. "
            f"Put it into a zip with {MANIFEST} and {HEADER}. {_EXPORT_ANEW}"
        )
    raise FileRejected(f"The zip holds no {name}, so it is not a data package. {_EXPORT_ANEW}")


def _readable(entry: zipfile.ZipInfo) -> zipfile.ZipInfo:
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise FileRejected(
            f"{_shown(entry.orig_filename)} is compressed with Deflate64, which the app cannot read. "
            "Zip with the usual method, Deflate."
        )
    return entry


def _check_header(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    for _ in _finished_elements(archive, entry, MAX_HEADER_BYTES, _HEADER_ROOT, wanted=frozenset()):
        pass  # that its root is right, and that all of it is XML, is all there is to know


def _read_manifest(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> tuple[str, list[_Declared]]:
    data_project = name = file_name = ""
    maps, is_disabled = 0, False
    declared: list[_Declared] = []
    for path, text in _finished_elements(archive, entry, MAX_MANIFEST_BYTES, _MANIFEST_ROOT, wanted=_WANTED):
        # An element ends after those inside it, so an entity is complete when it ends itself.
        if path == _MAP_PATH:
            maps += 1
        elif path == _NAME_PATH:
            name = text.strip()
        elif path == _FILE_PATH:
            file_name = text.strip()
        elif path == _DISABLE_PATH:
            is_disabled = text.strip().casefold() in _YES
        elif path == _ENTITY_PATH:
            declared.append(_Declared(name=name, file_name=file_name, maps=maps, is_disabled=is_disabled))
            name = file_name = ""
            maps, is_disabled = 0, False
        elif path == _PROJECT_PATH:
            data_project = text.strip()
    return data_project, declared


def _check_root(name: str, found: str, wanted: str) -> None:
    if found == wanted:
        return
    namespace, _, local_name = found.rpartition("}")
    wanted_name = wanted.rpartition("}")[2]
    if local_name == wanted_name:
        raise FileRejected(
            f"The namespace of {_shown(name)} is {_shown(namespace.lstrip('{'))}; F&O takes {NAMESPACE} only. "
            "Correct its xmlns."
        )
    raise FileRejected(f"{_shown(name)} is {_shown(local_name)} and should be {wanted_name}. {_EXPORT_ANEW}")


class _Fault(Enum):
    """What may be wrong with an entity: said of one, said of several, what to do about one, and about several.

    {0} is the entity, {1} what was found of its data file; of several, how many there are and which.
    """

    UNNAMED = ("{0} has no EntityName.", "{0} have no EntityName: {1}.", _EXPORT_ANEW, _EXPORT_ANEW)
    TWICE = (
        "{0} is listed twice, and F&O has an entity once in a data project.",
        "{0} repeat one that is listed before, and F&O has an entity once in a data project: {1}.",
        "Put its data into one file, or the second file into a package of its own.",
        "Put the data of each into one file, or the second files into packages of their own.",
    )
    UNMAPPED = (
        "{0} has no field mapping (EntityMapList is empty): F&O would import no row and report success.",
        "{0} have no field mapping (EntityMapList is empty), so F&O would import no row of them and report success: "
        "{1}.",
        *["Generate the mapping in the data project and export it again."] * 2,
    )
    WITHOUT_FILE = (
        "{0} names no data file (InputFilePath is empty).",
        "{0} name no data file (InputFilePath is empty): {1}.",
        *[_EXPORT_ANEW] * 2,
    )
    MISSING = (
        "{0} names the data file {1}, which is not in the zip.",
        "{0} name data files that are not in the zip: {1}.",
        "Add it under just this name.",
        "Add them under just these names.",
    )
    IN_FOLDER = (
        "{0} has its data file in a folder, {1}, and F&O looks at the root only.",
        "{0} have their data files in a folder, and F&O looks at the root only: {1}.",
        *[_ZIP_THE_FILES] * 2,
    )
    ACCENTS = (
        "{0} names the data file {1}: only the accents differ.",
        "{0} name data files that the zip holds with other accents only: {1}.",
        *["Spell both alike."] * 2,
    )
    ENCODING = (
        "{0} names the data file {1}, which is in the zip; only the encoding of its name differs: the zip does not "
        "mark it as UTF-8, so F&O may read other letters.",
        "{0} name data files that are in the zip; only the encoding of their names differs: the zip does not mark "
        "them as UTF-8, so F&O may read other letters. They are {1}.",
        "Zip with names in UTF-8, or name the file in plain letters (A to Z), in the zip and in the manifest.",
        "Zip with names in UTF-8, or name the files in plain letters (A to Z), in the zip and in the manifest.",
    )
    EMPTY = ("{0} has an empty data file, {1}.", "{0} have empty data files: {1}.", *[_EXPORT_ANEW] * 2)


def _checked_entities(enabled: Sequence[tuple[int, _Declared]], files: "_Files") -> tuple[PackageEntity, ...]:
    """Return the entities with their data files. Raises FileRejected with all that is wrong with any of them."""
    checked: list[PackageEntity] = []
    faults: dict[_Fault, list[tuple[str, str]]] = {}
    seen: set[str] = set()
    for number, each in enabled:
        found: PackageEntity | tuple[_Fault, str]
        if not each.name:
            found = (_Fault.UNNAMED, f"number {number}")
        elif (folded := _folded(each.name)) in seen:
            # One row for each entity of an execution: DataManagementExecutionJobDetails has the key project, job,
            # entity. Assumed: so F&O has no place for the rows of the second file.
            found = (_Fault.TWICE, _shown(each.name))
        else:
            seen.add(folded)
            found = _checked_entity(each, files)
        if isinstance(found, PackageEntity):
            checked.append(found)
        else:
            fault, what = found
            who = f"The entity {_shown(each.name)}" if each.name else f"Entity {number}"
            faults.setdefault(fault, []).append((f"{who} of {MANIFEST}", what))
    if faults:
        raise FileRejected(" ".join(_refusal(fault, found, len(enabled)) for fault, found in faults.items()))
    return tuple(checked)


def _checked_entity(declared: _Declared, files: "_Files") -> PackageEntity | tuple[_Fault, str]:
    """Return the entity, or what is wrong with it and which file that is about."""
    if declared.maps == 0:
        return _Fault.UNMAPPED, _shown(declared.name)
    if not declared.file_name:
        return _Fault.WITHOUT_FILE, _shown(declared.name)
    entry = files.named(declared.file_name)
    if entry is None:
        return files.why_missing(declared.file_name)
    if not entry.flag_bits & _UTF_8 and not entry.orig_filename.isascii():
        # .NET reads such a name in the code page of the server, which programs that write zips seldom use.
        # https://github.com/dotnet/runtime/issues/43231
        return _Fault.ENCODING, _shown(declared.file_name)
    if entry.file_size == 0:
        return _Fault.EMPTY, _shown(entry.orig_filename)
    return PackageEntity(name=declared.name, file_name=entry.orig_filename)


def _refusal(fault: _Fault, found: Sequence[tuple[str, str]], total: int) -> str:
    """Return what is wrong with one entity, or with several of them, and what to do."""
    of_one, of_several, to_do, to_do_of_several = fault.value
    if len(found) == 1:
        ((who, what),) = found
        return f"{of_one.format(who, what)} {to_do}"
    names = list(dict.fromkeys(what for _who, what in found))  # entities may share a file
    listed: list[str] = []
    length = 0
    for name in names:
        if (length := length + len(name)) > MAX_LISTED:
            listed.append(f"and {len(names) - len(listed)} more")
            break
        listed.append(name)
    count = f"{len(found)} of the {total} entities of {MANIFEST}"
    return f"{of_several.format(count, ', '.join(listed))} {to_do_of_several}"


class _Files:
    """The entries of a zip, found by the names that a manifest gives to data files."""

    def __init__(self, entries: Sequence[zipfile.ZipInfo]) -> None:
        self._entries = entries
        self._at_root = [entry for entry in entries if not _folder_of(entry.orig_filename)]
        self._exact = {entry.orig_filename: entry for entry in self._at_root}

    def named(self, name: str) -> zipfile.ZipInfo | None:
        """Return the entry at the root that a manifest means by a name.

        Assumed: F&O finds a data file regardless of case, as it does the manifest: it opens the unpacked file by name
        on a Windows disk.

        Assumed: it also finds one of which an accent is part of its letter in one place and a sign of its own in the
        other, as in zips that are made on a Mac.
        """
        return self._exact.get(name) or self._by_case.get(_on_windows(name)) or self._by_letters.get(_folded(name))

    def why_missing(self, name: str) -> tuple[_Fault, str]:
        """Return why there is no entry of that name, and which file that is about."""
        if _base_name(name) in self._in_folders:
            return _Fault.IN_FOLDER, _shown(self._in_folders[_base_name(name)])
        if self._unmarked and not self._unmarked.isdisjoint(_encodings_of(name)):
            return _Fault.ENCODING, _shown(name)
        if alike := self._without_accents.get(_without_accents(name)):
            return _Fault.ACCENTS, f"{_shown(name)}, and the zip holds {_shown(alike)}"
        return _Fault.MISSING, _shown(name)

    @cached_property
    def _by_case(self) -> dict[str, zipfile.ZipInfo]:
        return {_on_windows(entry.orig_filename): entry for entry in self._at_root}

    @cached_property
    def _by_letters(self) -> dict[str, zipfile.ZipInfo]:
        return {_folded(entry.orig_filename): entry for entry in self._at_root}

    @cached_property
    def _in_folders(self) -> dict[str, str]:
        names = [entry.orig_filename for entry in self._entries if _folder_of(entry.orig_filename)]
        return {_base_name(name): name for name in names}

    @cached_property
    def _without_accents(self) -> dict[str, str]:
        return {_without_accents(entry.orig_filename): entry.orig_filename for entry in self._at_root}

    @cached_property
    def _unmarked(self) -> frozenset[bytes]:
        """The names that are not marked as UTF-8 and are not ASCII, as they stand in the zip."""
        names = [entry.orig_filename for entry in self._at_root if not entry.flag_bits & _UTF_8]
        return frozenset(name.encode("cp437", "replace").lower() for name in names if not name.isascii())


def _encodings_of(name: str) -> Iterator[bytes]:
    """Yield the bytes that programs write for a name, with their ASCII letters in lower case."""
    for encoding in _NAME_ENCODINGS:
        for form in _FORMS:
            try:
                yield unicodedata.normalize(form, name).encode(encoding).lower()
            except UnicodeEncodeError:
                continue


def _finished_elements(
    archive: zipfile.ZipFile,
    entry: zipfile.ZipInfo,
    limit_bytes: int,
    root: str,
    *,
    wanted: Set[tuple[str, ...]],
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield path and text of each wanted element as it ends, holding no tree: strangers choose how large the XML is.

    root: the tag that the document must have.
    """
    # Imported here because only this step of an import needs it.
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import DefusedXMLParser, ParseError

    name = _shown(entry.orig_filename)
    target = _Elements(entry, root, wanted)
    dense_bytes = max(MAX_XML_RATIO * entry.compress_size, MIN_XML_BYTES)
    parser = DefusedXMLParser(target=target, forbid_dtd=True)
    read_bytes = 0
    with archive.open(entry) as source:
        while True:
            chunk = source.read(_CHUNK)
            read_bytes += len(chunk)
            if read_bytes > limit_bytes:
                raise FileRejected(f"{name} is larger than {limit_bytes // 2**20} MiB unpacked. Split the package.")
            if read_bytes > dense_bytes:
                raise FileRejected(
                    f"{name} unpacks to more than {MAX_XML_RATIO} times its size in the zip, which no real one does. "
                    f"{_EXPORT_ANEW}"
                )
            try:
                if chunk:
                    parser.feed(chunk)
                else:
                    parser.close()
            except DefusedXmlException as error:
                raise FileRejected(f"{name} declares a document type, which no package needs. Take it out.") from error
            except (ParseError, LookupError, ValueError) as error:  # the latter two: an encoding that is none
                raise FileRejected(
                    f"{name} is not well-formed XML in UTF-16 or UTF-8 ({_shown(str(error))}). {_EXPORT_ANEW}"
                ) from error
            yield from target.taken()
            if not chunk:
                return
            if read_bytes - parser.parser.CurrentByteIndex > MAX_XML_TOKEN_BYTES:
                raise FileRejected(
                    f"{name} holds a tag or a comment of more than {MAX_XML_TOKEN_BYTES // 2**20} MiB. {_EXPORT_ANEW}"
                )


class _Elements:
    """What the XML parser calls: keeps the path to where it is, and the elements that ended."""

    def __init__(self, entry: zipfile.ZipInfo, root: str, wanted: Set[tuple[str, ...]]) -> None:
        self._name = entry.orig_filename
        self._most = min(MAX_XML_ELEMENTS, max(MIN_XML_ELEMENTS, MAX_XML_DENSITY * entry.compress_size))
        self._root = root
        self._wanted = wanted
        self._longest_path = max((len(path) for path in wanted), default=0)
        self._path: list[str] = []
        self._text = ""
        self._finished: list[tuple[tuple[str, ...], str]] = []
        self._count = 0

    def start(self, tag: str, _attributes: Mapping[str, str]) -> None:
        self._count += 1
        if self._count > self._most:
            too_dense = f"No real one of its size has so many. {_EXPORT_ANEW}"
            to_do = "Split the package." if self._most == MAX_XML_ELEMENTS else too_dense
            raise FileRejected(f"{_shown(self._name)} has more than {self._most:,} elements. {to_do}")
        if len(self._path) >= MAX_XML_DEPTH:
            raise FileRejected(f"{_shown(self._name)} nests elements more than {MAX_XML_DEPTH} deep. {_EXPORT_ANEW}")
        if len(tag) > MAX_TEXT:  # with its namespace, which is repeated in every element of it
            raise FileRejected(
                f"{_shown(self._name)} names an element or a namespace of {len(tag):,} letters. {_EXPORT_ANEW}"
            )
        if not self._path:
            _check_root(self._name, tag, self._root)
        self._path.append(tag)
        self._text = ""

    def data(self, text: str) -> None:
        if len(self._text) < MAX_TEXT and len(self._path) <= self._longest_path:
            self._text += text[: MAX_TEXT - len(self._text)]

    def end(self, _tag: str) -> None:
        if len(self._path) <= self._longest_path:
            path = tuple(self._path)
            if path in self._wanted:
                self._finished.append((path, self._text))
        self._path.pop()
        self._text = ""

    def close(self) -> None:
        """End of the document; there is no tree to return."""

    def taken(self) -> list[tuple[tuple[str, ...], str]]:
        """Return the elements that ended since the last call."""
        finished, self._finished = self._finished, []
        return finished


class _SmallReads:
    """A file of which zipfile reads as much as a directory may take at once, however much the zip asks for."""

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        self._file = file
        self._size_bytes = size_bytes

    def read(self, size: int = -1, /) -> bytes:
        if size > MAX_DIRECTORY_BYTES:
            raise FileRejected(
                f"The zip's list of files takes {size:,} bytes, where {MAX_DIRECTORY_BYTES:,} are plenty. "
                f"{_EXPORT_ANEW}"
            )
        try:
            return self._file.read(size)
        except OSError as error:
            # Else zipfile would take a broken connection for a broken zip.
            raise TryAgain(f"The package could not be read: {error}") from error

    def seek(self, offset: int, whence: int = 0, /) -> int:
        # Every kind of file answers a place before its start differently. zipfile looks there for the ends that a zip
        # may have and expects an OSError; a zip that lost its beginning points there.
        if whence == 2 and self._size_bytes + offset < 0:
            raise OSError("before the start of the file")
        if whence == 0 and offset < 0:
            raise zipfile.BadZipFile("an offset lies before the start of the file")
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True


def _has_control(name: str) -> bool:
    return any(character < " " or character == "\x7f" for character in name)


def _is_unsafe(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return parts[0] == "" or ".." in parts or _DRIVE_LETTER.match(name) is not None


def _folder_of(name: str) -> str:
    """Return the folder that an entry of the zip lies in, empty for the root. A folder's own entry lies in itself.

    Assumed: folders beside the package's own files do no harm. Entities with attachments bring them, and macOS adds
    __MACOSX.
    """
    return name[: max(name.rfind("/"), name.rfind("\\"), 0)]


def _on_windows(name: str) -> str:
    """Return what two names have in common that are one file on a Windows disk."""
    # Letter by letter, as Windows does: there "Straße" and "Strasse" are two files.
    upper = name.replace("\\", "/").upper()
    return upper if len(upper) == len(name) else "".join(map(_upper, name.replace("\\", "/")))


def _upper(letter: str) -> str:
    return upper if len(upper := letter.upper()) == 1 else letter


def _folded(name: str) -> str:
    """Return what two names have in common that a person sees as one, whatever the case."""
    return _on_windows(unicodedata.normalize("NFC", name))


def _without_accents(name: str) -> str:
    plain = unicodedata.normalize("NFD", name)
    return _on_windows("".join(letter for letter in plain if not unicodedata.combining(letter)))


def _base_name(name: str) -> str:
    return _on_windows(name).rpartition("/")[2]


def _shown(name: str) -> str:
    """Return a stranger's text so that it can stand in a report: short, on one line, in quotes."""
    plain = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name)
    return f"'{plain if len(plain) <= 100 else plain[:99] + '…'}'"
