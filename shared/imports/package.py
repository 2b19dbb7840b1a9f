"""What a DMF data package is.

F&O answers a broken package late, with a message that names a temporary file of its own server, or not at all: without
an EntityMapList an import "succeeds" with no rows. So a package is checked here before F&O hears of it. Only the zip's
directory, the manifest and the header are read; data files are neither read nor judged. Streaming the package to F&O
is ``clients/blobs/read.py``. Longer than most modules: entries, names and entities are judged by the same few facts.
"""

import re
import struct
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import BinaryIO, Final, Literal

from shared.errors import FileRejected, TryAgain
from shared.imports.manifest import EXPORT_AGAIN, HEADER, MANIFEST, DeclaredEntity, check_header, read_manifest, shown

MAX_ENTRIES: Final = 10_000  # the largest packages known hold some 400 entities
MAX_DIRECTORY_BYTES: Final = 8 * 1024 * 1024  # 10,000 entries with long names take about 3 MiB
# Deflate cannot do better than 1,032 to 1. Rows that repeat reach 50 to 1; only files made to burst come near 500.
MAX_RATIO: Final = 500
RATIO_MATTERS_FROM_BYTES: Final = 64 * 1024 * 1024  # below, even a bomb does no harm
# Characters of the names that one refusal lists; the entities of any package that is known come to fewer.
MAX_LISTED: Final = 8_000
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
_EXCEL_FILES: Final = (".xlsx", ".xlsm", ".xls")
_ZIP_THE_FILES: Final = "Zip the files themselves, not the folder that they are in."


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageEntity:
    """One entity of a package."""

    name: str  # the label that F&O knows it by, "Fixed asset major type": the manifest's EntityName
    file_name: str  # its data file at the root of the zip, as the zip spells what the manifest's InputFilePath names
    source_format: str = ""  # the manifest's SourceFormat

    @property
    def is_excel(self) -> bool:
        """Whether its data file is an Excel file: its format may have a name that somebody has made up in F&O."""
        return "excel" in self.source_format.casefold() or self.file_name.casefold().endswith(_EXCEL_FILES)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageFacts:
    """What a package says about itself."""

    data_project: str  # the manifest's DefinitionGroupName; may be empty
    entities: tuple[PackageEntity, ...]  # those that are not disabled, in the manifest's order; at least one


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
            f"{MANIFEST}, {HEADER} and the data files. {EXPORT_AGAIN}"
        ) from error


def _check_archive(archive: zipfile.ZipFile, size_bytes: int) -> PackageFacts:
    entries = archive.infolist()
    if len(entries) > MAX_ENTRIES:
        raise FileRejected(f"The zip contains {len(entries):,} files; the limit is {MAX_ENTRIES:,}. Split the package.")
    if any(entry.header_offset < 0 for entry in entries):
        raise zipfile.BadZipFile("the zip has lost its beginning, and the files there with it")
    for entry in entries:
        _check_entry(entry)
    _check_burst("The zip", sum(entry.file_size for entry in entries), size_bytes)
    _check_unique(entries)

    at_root = {entry.orig_filename: entry for entry in entries if _folder_of(entry.orig_filename) == ""}
    header = _require_readable(_entry_at_root(HEADER, at_root, entries))
    manifest = _require_readable(_entry_at_root(MANIFEST, at_root, entries))
    check_header(archive, header)
    data_project, declared = read_manifest(archive, manifest)
    if not declared:
        raise FileRejected(f"{MANIFEST} lists no entity, so there is nothing to import. {EXPORT_AGAIN}")
    if len(declared) > MAX_ENTRIES:
        raise FileRejected(f"{MANIFEST} lists {len(declared):,} entities; F&O has far fewer. {EXPORT_AGAIN}")
    # Assumed: F&O passes over an entity whose Disable is true, so that it needs neither data file nor field mapping.
    enabled = [(number, each) for number, each in enumerate(declared, 1) if not each.is_disabled]
    if not enabled:
        raise FileRejected(f"{MANIFEST} disables all its entities, so there is nothing to import. {EXPORT_AGAIN}")
    return PackageFacts(data_project=data_project, entities=_check_entities(enabled, _Files(entries)))


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = entry.orig_filename  # as it stands in the zip; filename has been tidied for this machine
    if entry.flag_bits & _ENCRYPTED:
        raise FileRejected(
            f"{shown(name)} in the zip is encrypted, and F&O has no password. Create the zip without a password."
        )
    if _has_control(name):
        raise FileRejected(f"The zip holds the name {shown(name)}, which has a control character. Rename that file.")
    if _is_unsafe(name):
        raise FileRejected(f"The zip holds the name {shown(name)}, which points outside of it. {_ZIP_THE_FILES}")
    if entry.compress_type not in _METHODS:
        raise FileRejected(
            f"{shown(name)} is compressed with a method that F&O does not support "
            f"({entry.compress_type}). Use the standard method, Deflate."
        )
    _check_burst(f"{shown(name)} in the zip", entry.file_size, entry.compress_size)


def _check_burst(what: str, unpacked_bytes: int, packed_bytes: int) -> None:
    if unpacked_bytes >= RATIO_MATTERS_FROM_BYTES and unpacked_bytes > MAX_RATIO * packed_bytes:
        raise FileRejected(
            f"{what} claims that {packed_bytes:,} bytes unpack to {unpacked_bytes:,} bytes, which real data never "
            "does. "
            f"{EXPORT_AGAIN}"
        )


def _check_unique(entries: Iterable[zipfile.ZipInfo]) -> None:
    # Regardless of case, because F&O unpacks onto a Windows disk, where one would overwrite the other.
    counted = Counter(_on_windows(entry.orig_filename) for entry in entries)
    doubles = [entry.orig_filename for entry in entries if counted[_on_windows(entry.orig_filename)] > 1]
    if doubles:
        raise FileRejected(f"The zip holds {shown(doubles[0])} more than once. Keep only one of them.")


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
                f"{name} lies in the folder {shown(folder)} of the zip, and F&O reads only its root. {_ZIP_THE_FILES}"
            )
    if "[Content_Types].xml" in at_root:
        raise FileRejected(
            f"This is an Office document (such as an Excel workbook), not a data package: it holds no {name}. "
            f"Put it into a zip with {MANIFEST} and {HEADER}. {EXPORT_AGAIN}"
        )
    raise FileRejected(f"The zip holds no {name}, so it is not a data package. {EXPORT_AGAIN}")


def _require_readable(entry: zipfile.ZipInfo) -> zipfile.ZipInfo:
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise FileRejected(
            f"{shown(entry.orig_filename)} is compressed with Deflate64, which the app does not support. "
            "Use the standard method, Deflate."
        )
    return entry


class _Fault(Enum):
    """What may be wrong with an entity: said of one, said of several, what to do about one, and about several.

    {0} is the entity, {1} what was found of its data file; of several, how many there are and which.
    """

    UNNAMED = ("{0} has no EntityName.", "{0} have no EntityName: {1}.", EXPORT_AGAIN, EXPORT_AGAIN)
    TWICE = (
        "{0} is listed twice; a data project in F&O can contain an entity only once.",
        "{0} repeat an entity that is listed earlier; a data project in F&O can contain an entity only once: {1}.",
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
        *[EXPORT_AGAIN] * 2,
    )
    MISSING = (
        "{0} names the data file {1}, which is not in the zip.",
        "{0} name data files that are not in the zip: {1}.",
        "Add it under just this name.",
        "Add them under just these names.",
    )
    IN_FOLDER = (
        "{0} has its data file in a folder, {1}, and F&O reads only the root.",
        "{0} have their data files in a folder, and F&O reads only the root: {1}.",
        *[_ZIP_THE_FILES] * 2,
    )
    ACCENTS = (
        "{0} names the data file {1}: only the accents differ.",
        "{0} name data files that are in the zip with different accents: {1}.",
        *["Use the same spelling in both."] * 2,
    )
    ENCODING = (
        "{0} names the data file {1}, which is in the zip; only the encoding of its name differs: the zip does not "
        "mark it as UTF-8, so F&O may read a different name.",
        "{0} name data files that are in the zip; only the encoding of their names differs: the zip does not mark "
        "them as UTF-8, so F&O may read different names. They are {1}.",
        "Create the zip with UTF-8 names, or use only letters A to Z in the name, in the zip and the manifest.",
        "Create the zip with UTF-8 names, or use only letters A to Z in the names, in the zip and the manifest.",
    )
    EMPTY = ("{0} has an empty data file, {1}.", "{0} have empty data files: {1}.", *[EXPORT_AGAIN] * 2)


def _check_entities(enabled: Sequence[tuple[int, DeclaredEntity]], files: "_Files") -> tuple[PackageEntity, ...]:
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
            found = (_Fault.TWICE, shown(each.name))
        else:
            seen.add(folded)
            found = _check_entity(each, files)
        if isinstance(found, PackageEntity):
            checked.append(found)
        else:
            fault, what = found
            who = f"The entity {shown(each.name)}" if each.name else f"Entity {number}"
            faults.setdefault(fault, []).append((f"{who} of {MANIFEST}", what))
    if faults:
        raise FileRejected(" ".join(_refusal_text(fault, found, len(enabled)) for fault, found in faults.items()))
    return tuple(checked)


def _check_entity(declared: DeclaredEntity, files: "_Files") -> PackageEntity | tuple[_Fault, str]:
    """Return the entity, or what is wrong with it and which file that is about."""
    if declared.maps == 0:
        return _Fault.UNMAPPED, shown(declared.name)
    if not declared.file_name:
        return _Fault.WITHOUT_FILE, shown(declared.name)
    entry = files.named(declared.file_name)
    if entry is None:
        return files.why_missing(declared.file_name)
    if not entry.flag_bits & _UTF_8 and not entry.orig_filename.isascii():
        # .NET reads such a name in the code page of the server, which programs that write zips seldom use.
        # https://github.com/dotnet/runtime/issues/43231
        return _Fault.ENCODING, shown(declared.file_name)
    if entry.file_size == 0:
        return _Fault.EMPTY, shown(entry.orig_filename)
    return PackageEntity(name=declared.name, file_name=entry.orig_filename, source_format=declared.source_format)


def _refusal_text(fault: _Fault, found: Sequence[tuple[str, str]], total: int) -> str:
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
            return _Fault.IN_FOLDER, shown(self._in_folders[_base_name(name)])
        if self._unmarked and not self._unmarked.isdisjoint(_encodings_of(name)):
            return _Fault.ENCODING, shown(name)
        if alike := self._without_accents.get(_without_accents(name)):
            return _Fault.ACCENTS, f"{shown(name)}, and the zip holds {shown(alike)}"
        return _Fault.MISSING, shown(name)

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


class _SmallReads:
    """A file of which zipfile reads as much as a directory may take at once, however much the zip asks for."""

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        self._file = file
        self._size_bytes = size_bytes

    def read(self, size: int = -1, /) -> bytes:
        if size > MAX_DIRECTORY_BYTES:
            raise FileRejected(
                f"The zip's list of files takes {size:,} bytes; the limit is {MAX_DIRECTORY_BYTES:,}. {EXPORT_AGAIN}"
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
