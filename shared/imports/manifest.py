"""The XML of a data package: its manifest and header. Read without a tree: strangers choose how large they are."""

import zipfile
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Final

from shared.errors import FileRejected

NAMESPACE: Final = "http://schemas.microsoft.com/dynamics/2015/01/DataManagement"
MANIFEST: Final = "Manifest.xml"
HEADER: Final = "PackageHeader.xml"
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
_CHUNK: Final = 64 * 1024  # bytes
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
_FORMAT_PATH: Final = (*_ENTITY_PATH, f"{{{NAMESPACE}}}SourceFormat")
_YES: Final = frozenset({"true", "1", "yes"})
_MAP_PATH: Final = (*_ENTITY_PATH, f"{{{NAMESPACE}}}EntityMapList", f"{{{NAMESPACE}}}EntityMap")
# The elements of a manifest that are kept; of all others only their nesting is followed.
_WANTED: Final = frozenset(
    {_PROJECT_PATH, _ENTITY_PATH, _NAME_PATH, _FILE_PATH, _DISABLE_PATH, _FORMAT_PATH, _MAP_PATH}
)
EXPORT_AGAIN: Final = (
    "Export the data project again with 'Generate data package', or correct the package and put it back."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredEntity:
    """An entity as the manifest declares it, before anything is checked."""

    name: str
    file_name: str
    maps: int  # how many field maps it has
    is_disabled: bool
    source_format: str = ""  # "CSV-Unicode", "EXCEL", or one that somebody has defined in F&O


def read_manifest(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> tuple[str, list[DeclaredEntity]]:
    """Return the data project and the entities that a manifest declares."""
    data_project = name = file_name = source_format = ""
    maps, is_disabled = 0, False
    declared: list[DeclaredEntity] = []
    for path, text in _finished_elements(archive, entry, MAX_MANIFEST_BYTES, _MANIFEST_ROOT, wanted=_WANTED):
        # An element ends after those inside it, whatever their order, so an entity is complete when it ends itself.
        if path == _MAP_PATH:
            maps += 1
        elif path == _NAME_PATH:
            name = text.strip()
        elif path == _FILE_PATH:
            file_name = text.strip()
        elif path == _DISABLE_PATH:
            is_disabled = text.strip().casefold() in _YES
        elif path == _FORMAT_PATH:
            source_format = text.strip()
        elif path == _ENTITY_PATH:
            declared.append(
                DeclaredEntity(
                    name=name, file_name=file_name, maps=maps, is_disabled=is_disabled, source_format=source_format
                )
            )
            name = file_name = source_format = ""
            maps, is_disabled = 0, False
        elif path == _PROJECT_PATH:
            data_project = text.strip()
    return data_project, declared


def check_header(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """Raise FileRejected for a header that is not one of a data package."""
    for _ in _finished_elements(archive, entry, MAX_HEADER_BYTES, _HEADER_ROOT, wanted=frozenset()):
        pass  # that its root is right, and that all of it is XML, is all there is to know


def _check_root(name: str, found: str, wanted: str) -> None:
    if found == wanted:
        return
    namespace, _, local_name = found.rpartition("}")
    wanted_name = wanted.rpartition("}")[2]
    if local_name == wanted_name:
        raise FileRejected(
            f"The namespace of {shown(name)} is {shown(namespace.lstrip('{'))}; F&O takes {NAMESPACE} only. "
            "Correct its xmlns."
        )
    raise FileRejected(f"{shown(name)} has the root {shown(local_name)} instead of {wanted_name}. {EXPORT_AGAIN}")


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

    name = shown(entry.orig_filename)
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
                    f"{name} unpacks to more than {MAX_XML_RATIO} times its size in the zip, which a real package "
                    "never does. "
                    f"{EXPORT_AGAIN}"
                )
            try:
                if chunk:
                    parser.feed(chunk)
                else:
                    parser.close()
            except DefusedXmlException as error:
                raise FileRejected(
                    f"{name} contains a document type declaration, which a package does not need. Remove it."
                ) from error
            except (ParseError, LookupError, ValueError) as error:  # the latter two: an encoding that is none
                raise FileRejected(
                    f"{name} is not well-formed XML in UTF-16 or UTF-8 ({shown(str(error))}). {EXPORT_AGAIN}"
                ) from error
            yield from target.taken()
            if not chunk:
                return
            if read_bytes - parser.parser.CurrentByteIndex > MAX_XML_TOKEN_BYTES:
                raise FileRejected(
                    f"{name} holds a tag or a comment of more than {MAX_XML_TOKEN_BYTES // 2**20} MiB. {EXPORT_AGAIN}"
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
            too_dense = f"A real manifest of this size has fewer. {EXPORT_AGAIN}"
            to_do = "Split the package." if self._most == MAX_XML_ELEMENTS else too_dense
            raise FileRejected(f"{shown(self._name)} has more than {self._most:,} elements. {to_do}")
        if len(self._path) >= MAX_XML_DEPTH:
            raise FileRejected(f"{shown(self._name)} nests elements more than {MAX_XML_DEPTH} deep. {EXPORT_AGAIN}")
        if len(tag) > MAX_TEXT:  # with its namespace, which is repeated in every element of it
            raise FileRejected(
                f"{shown(self._name)} names an element or a namespace of {len(tag):,} letters. {EXPORT_AGAIN}"
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


def shown(name: str) -> str:
    """Return a stranger's text so that it can stand in a report: short, on one line, in quotes."""
    plain = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name)
    return f"'{plain if len(plain) <= 100 else plain[:99] + '…'}'"
