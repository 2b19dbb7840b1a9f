"""A run's record: how a run is written as JSON, and how one is read that this, an older or a newer version has written.

A record is read only if every field is of the right kind. Any other is ``Damaged``: it is shown, and the rest goes on.
A field that this version does not know is kept and written back.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, get_args, get_origin, get_type_hints

from shared.escapes import json_text, read_json
from shared.moments import read_moment
from shared.runs.run import Run
from shared.secret import redacted

# What only one process knows: whether it has just entered the state, the keys to file and package, the version read.
NOT_SAVED: Final = frozenset({"in_process", "record_etag"})

# 2: states are saved when they are entered, and names are reserved before a submit. 1 is read as well.
RECORD_FORMAT: Final = 2
OLDEST_FORMAT: Final = 1

# Fields whose names in a record are older than their names here: a record is a contract with other versions.
NAMES: Final[Mapping[str, str]] = {
    "direction": "flow",
    "flow_name": "integration",
    "sort_key": "order",
    "problem": "trouble",
    "rerun": "again",
    "rerun_of": "again_of",
    "rerun_count": "again_number",
}

EXTRA: Final = "extra"  # the field that keeps what this version does not know

# Fields of services' own words: an older version may have saved a key that a service had quoted in them.
_WORDS: Final = frozenset({"reason", "text", "error", "message", "why"})

# Fields that came with format 2 or later are left out if they say nothing: a new run's record is to fit into a listing.
_SINCE_2: Final = frozenset(
    {
        *("never_began", "seen", "about", "furthest", "failing_since", "lost_submits", "not_found", "held_name_looks"),
        *("detail_tries", "are_rows_told", "report_files"),
        *("resubmits", "held", "waits", "reserved", "environment_url", "cancelled_in", "passed_by", "passed_by_total"),
        *("waited_s", "scheduled", "late_s"),
        "flow_settings",
        *("sub_folder", "full_name"),
        *("arguments", "outcome_known", "counts", "count_tries", "counts_note", "warning"),
        *("sha256", "changed_nothing", "duplicates", "first_import", "is_refused"),
        "has_excel",
        "filed_folder",
        *("asynchronous", "was_unread"),
    }
)


class Damaged(ValueError):
    """A record that this version cannot read; the text says what is wrong with it."""


def run_to_json(run: Run) -> str:
    """Return the record of a run. It holds no secret: the keys to file and package, and all tokens, stay out of it."""
    return json_text({"format": RECORD_FORMAT, **_written(run)}, default=_plain)


def _written(value: Any) -> dict[str, object]:
    shown = {each: getattr(value, each) for each in value.__dataclass_fields__ if each not in NOT_SAVED}
    more = shown.pop(EXTRA, {})
    return {
        **more,
        **{NAMES.get(name, name): each for name, each in shown.items() if name not in _SINCE_2 or _says(each)},
    }


def _says(value: object) -> bool:
    """Return whether a value says more than that there is none; no time at all is a time."""
    return bool(value) or isinstance(value, float)


def _plain(value: object) -> object:
    """Return a value that JSON does not know as one that it knows."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return _written(value)
    raise TypeError(f"{type(value).__name__} cannot stand in a run's record")


def run_from_json(text: str | bytes) -> Run:
    """Return the run of a record. Raises Damaged for a text that is no record which this version can read."""
    try:
        content = read_json(text, mend=True)
    except ValueError as error:
        raise Damaged(f"it is not JSON ({type(error).__name__})") from error
    if not isinstance(content, dict):
        raise Damaged("it is not a JSON object")
    version = content.pop("format", None)
    if not isinstance(version, int) or isinstance(version, bool):
        raise Damaged("it names no format")
    if not OLDEST_FORMAT <= version <= RECORD_FORMAT:
        raise Damaged(f"it has the format {version}, and this version of the app reads up to {RECORD_FORMAT}")
    run: Run = _reader(Run)(content, "the record")
    return run


type Reader = Callable[[object, str], Any]


@cache
def _reader(kind: Any) -> Reader:
    """Return what reads a value of a type: text, number, flag, moment, one of a set, a list, an object, or none."""
    if isinstance(kind, UnionType):
        (inner,) = (each for each in get_args(kind) if each is not NoneType)
        read = _reader(inner)
        return lambda value, where: None if value is None else read(value, where)
    if get_origin(kind) is tuple:
        return _list_reader(_reader(get_args(kind)[0]))
    if isinstance(kind, type) and is_dataclass(kind):
        return _object_reader(kind)
    if kind is datetime:
        return _moment
    if issubclass(kind, StrEnum):
        return _choice_reader(kind)
    return _plain_reader(kind)


def _plain_reader(kind: type) -> Reader:
    kinds = (int, float) if kind is float else (kind,)

    def read(value: object, where: str) -> object:
        if type(value) not in kinds:
            raise Damaged(f"{where} is a {type(value).__name__} and not a {kind.__name__}")
        return value

    return read


def _field_reader(name: str, kind: Any) -> Reader:
    read = _reader(kind)
    return (lambda value, where: redacted(read(value, where))) if name in _WORDS else read


def _moment(value: object, where: str) -> datetime:
    try:
        return read_moment(value)
    except ValueError as error:
        raise Damaged(f"{where} is not a time") from error


def _choice_reader(kind: type[StrEnum]) -> Reader:
    def read(value: object, where: str) -> StrEnum:
        try:
            return kind(value)  # type: ignore[arg-type]  # what is no text is none of its values
        except ValueError as error:
            raise Damaged(f"{where} is {str(value)[:60]!r}, which this version of the app does not know") from error

    return read


def _list_reader(read_item: Reader) -> Reader:
    def read(value: object, where: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise Damaged(f"{where} is a {type(value).__name__} and not a list")
        return tuple(read_item(each, f"{where}[{number}]") for number, each in enumerate(value))

    return read


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    read: Reader
    is_required: bool


def _object_reader(kind: type) -> Reader:
    hints = get_type_hints(kind)
    known = {
        NAMES.get(each.name, each.name): _Field(
            each.name,
            _field_reader(each.name, hints[each.name]),
            each.default is MISSING and each.default_factory is MISSING,
        )
        for each in fields(kind)
        if each.name not in NOT_SAVED and each.name != EXTRA
    }
    required = [name for name, each in known.items() if each.is_required]
    keeps_more = any(each.name == EXTRA for each in fields(kind))

    def read(value: object, where: str) -> object:
        if not isinstance(value, dict):
            raise Damaged(f"{where} is a {type(value).__name__} and not an object")
        for name in required:
            if name not in value:
                raise Damaged(f"{where} has no {name}")
        found = {known[name].name: known[name].read(each, name) for name, each in value.items() if name in known}
        more = {name: each for name, each in value.items() if name not in known}
        return kind(**found, **({EXTRA: more} if more and keeps_more else {}))

    return read
