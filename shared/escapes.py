"""Text that others wrote, escaped for the place that it is put into: one function for each place.

Names of files, F&O's ids and messages, OneDrive's answers and what people type may hold anything: line breaks, halves
of surrogate pairs, NUL, letters of any script, formula signs, quotes. Nothing here raises, and text that is harmless in
its place stays as it is, so what older versions have saved is still found. ``read_json`` is the other direction:
JSON that others wrote. HTML is escaped by the templates (``operations/pages.py``) after ``plain_text``.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote, unquote

# Bytes of all metadata of a blob, names included.
# https://learn.microsoft.com/rest/api/storageservices/setting-and-retrieving-properties-and-metadata-for-blob-resources
METADATA_LIMIT: Final = 8 * 1024

_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_ELLIPSIS: Final = "…"

# Characters of a header's value. Servers take 8 KiB of all headers, some of them 4.
_LONGEST_HEADER: Final = 256
# Characters of a part of a blob's name, which has 1,024 at most.
# https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
_LONGEST_BLOB_PART: Final = 400
_CUT_NO_SHORTER: Final = 16  # characters: a text says something still
_DIGEST: Final = 16  # hex digits that stand for what was cut off

# Line breaks and tabs are kept in a text of several lines; other control characters mean nothing to a reader.
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_PLAIN_HEADER: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_LATIN_1_HEADER: Final = re.compile(r"[\x21-\x7e\xa0-\xff](?:[\x20-\x7e\xa0-\xff]*[\x21-\x7e\xa0-\xff])?")
_IN_HEADERS: Final = "!#$&'()*+,/:;=?@[]\"<>{}|^` "

# At the start of a cell a spreadsheet takes these for a formula, the wide ones in East Asian versions.
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA_SIGNS: Final = "=+\\-@\uff1d\uff0b\uff0d\uff20"
# Where another cell may begin: at the start, and, if the spreadsheet's list separator is a semicolon or a tab, behind
# those and behind a line break. Spaces and quotes before a sign do not change that.
_CELL_START: Final = re.compile(rf'(\A[\s";]*+|[\s";]++)([{_FORMULA_SIGNS}]?)')
_CELL_ENDS: Final = re.compile(r"[;\t\r\n]")


# -- text


def whole_text(text: str) -> str:
    """Return the text so that UTF-8 can encode it: halves of surrogate pairs are joined, or replaced.

    For JSON, records, logs and whatever else takes any character.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def plain_text(text: str) -> str:
    """Return the text without control characters, on as many lines as it has: mail, Teams, CSV, HTML, reports."""
    return _CONTROLS.sub(_REPLACEMENT, whole_text(text))


def one_line(text: str, longest: int | None = None) -> str:
    """Return the text on one line, cut to so many characters: subjects of mails, titles, names in a list."""
    line = _CONTROLS.sub(_REPLACEMENT, " ".join(whole_text(text).split()))
    return line if longest is None else cut(line, longest)


def cut(text: str, longest: int) -> str:
    """Return the text, cut to so many characters if it is longer, with an ellipsis at its end."""
    return text if len(text) <= longest else f"{text[: longest - 1]}{_ELLIPSIS}"


def terminal_text(text: str) -> str:
    """Return the text without control sequences for a terminal; line breaks are kept."""
    shown = whole_text(text)
    return "".join(sign if sign.isprintable() or sign == "\n" else _REPLACEMENT for sign in shown)


# -- HTTP


def header_value(text: str) -> str:
    """Return the text as the value of a header: printable ASCII, anything else percent-encoded, cut if it is long.

    One that needs no change stays as it is; "" for an empty text.
    """
    if len(text) <= _LONGEST_HEADER and (not text or _PLAIN_HEADER.fullmatch(text)):
        return text
    return _cut_quoted(whole_text(text).strip(), _IN_HEADERS, _LONGEST_HEADER)


def is_header_value(text: str) -> bool:
    """Return whether HTTP can carry the text byte for byte as a header's value: printable, and Latin-1 at most."""
    return not text or _LATIN_1_HEADER.fullmatch(text) is not None


def path_segment(text: str, safe: str = "!@") -> str:
    """Return the text as one segment of a URL's path, or as a value in its query; safe: what need not be encoded.

    '#', '%', '+', '/' and spaces are ordinary characters in names. A segment of one or two dots would mean a folder.
    """
    return "%2E" * len(text) if text in (".", "..") else quote(whole_text(text), safe=safe)


def query_value(text: str) -> str:
    """Return the text as a value in a URL's query."""
    return quote(whole_text(text), safe="")


def decoded(text: str) -> str:
    """Return what a part of a URL was made from."""
    return unquote(text)


def odata_text(text: str) -> str:
    """Return the text as a literal of OData, not yet encoded for a URL: in quotes, with quotes inside doubled."""
    return "'{}'".format(text.replace("'", "''"))


# -- storage


def blob_part(text: str) -> str:
    """Return the text as a part of a blob's name, without a slash; the same text always gives the same part.

    The end of a text that is too long is replaced by a digest; ``blob_part_text`` cannot restore it.
    """
    part = query_value(text)
    if len(part) <= _LONGEST_BLOB_PART:
        return part
    digest = hashlib.sha256(whole_text(text).encode()).hexdigest()[:_DIGEST]
    return f"{_cut_quoted(whole_text(text), '', _LONGEST_BLOB_PART - _DIGEST - 1)}~{digest}"


def blob_part_text(part: str) -> str:
    """Return the text that a part of a blob's name was made from, for people to read."""
    return unquote(part)


def metadata_value(text: str) -> str:
    """Return the text as the value of a blob's metadata, which is a header: ASCII, without spaces and line breaks.

    Spaces would be folded before the header is signed. A character takes up to 12 bytes.
    """
    return quote(whole_text(text), safe='{}":,/()')


def metadata_text(value: str) -> str:
    """Return what ``metadata_value`` was made from."""
    return unquote(value)


def metadata_json(texts: Mapping[str, str], at_most: int, *, keep: str = "") -> str:
    """Return texts by name as one value of metadata of at most so many bytes: the longest ones are cut until it fits.

    at_most: at least what the names and some characters of each text take. keep: the name of the text that is cut last.
    """
    kept = dict(texts)
    while True:
        value = metadata_value(json_text(kept, separators=(",", ":")))
        if len(value) <= at_most:
            return value
        lengths = {name: len(metadata_value(text)) for name, text in kept.items() if len(text) > _CUT_NO_SHORTER}
        others = lengths.keys() - {keep}
        if not lengths:
            return value
        longest = max(sorted(others or lengths), key=lambda name: lengths[name])
        kept[longest] = cut(kept[longest].removesuffix(_ELLIPSIS), len(kept[longest]) * 3 // 4)


# -- files


def file_name_part(text: str) -> str:
    """Return the text as a part of a file's name that every system accepts: letters, digits, spaces, dashes."""
    return "".join(sign if sign.isalnum() or sign in " -_" else "_" for sign in whole_text(text))


def csv_cell(text: str) -> str:
    """Return the text as a cell that a spreadsheet shows and does not compute, whatever its list separator is.

    A formula sign at the start, or behind a semicolon, a tab or a line break, gets an apostrophe before it. Quoting the
    cell is the CSV writer's part.
    """
    return _CELL_START.sub(_defused, plain_text(text))


def _defused(found: re.Match[str]) -> str:
    before, sign = found.groups()
    if sign and (found.start() == 0 or _CELL_ENDS.search(before)):
        return f"{before}'{sign}"
    return found[0]


# -- JSON


def json_text(
    content: object, *, default: Callable[[Any], object] | None = None, ensure_ascii: bool = False, **style: Any
) -> str:
    """Return the content as JSON that UTF-8 can encode; default and style: as ``json.dumps`` takes them."""
    return whole_text(json.dumps(content, default=default, ensure_ascii=ensure_ascii, **style))


def read_json(text: str | bytes, *, mend: bool = False, **options: Any) -> Any:
    """Parse JSON that others wrote; options: as ``json.loads`` takes them.

    mend: replace halves of surrogate pairs, as in a service's answer whose rest is needed anyway.

    Raises ValueError for a text that is not JSON, is nested too deeply, or (without mend) holds such a half.
    """
    try:
        if isinstance(text, bytes | bytearray):
            text = text.decode(json.detect_encoding(text), "surrogatepass" if mend else "strict")
        value = json.loads(text, **options)
        if not _may_hold_halves(text):
            return value
        written = json.dumps(value, ensure_ascii=False)
        whole = whole_text(written)
        if whole == written:
            return value
        if mend:
            return json.loads(whole, **options)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    raise ValueError("it holds half a character (a lone surrogate)")


def _may_hold_halves(text: str) -> bool:
    return "\\ud" in text or "\\uD" in text or whole_text(text) is not text


# -- helpers


def _cut_quoted(text: str, safe: str, longest: int) -> str:
    """Return the text percent-encoded, and cut between two characters."""
    parts: list[str] = []
    length = 0
    for sign in text[:longest]:
        part = quote(sign, safe=safe)
        length += len(part)
        if length > longest:
            break
        parts.append(part)
    return "".join(parts)
