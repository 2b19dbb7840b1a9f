"""What values on the wire may look like: the words of the descriptions, and how a value is held to them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value; ``fits`` says which."""

    name: str
    fits: Callable[[object], bool]


@dataclass(frozen=True, slots=True)
class Several:
    """A list."""

    of: "Shape"


@dataclass(frozen=True, slots=True)
class Either:
    """A value of one of these shapes."""

    of: tuple["Shape", ...]


@dataclass(frozen=True, slots=True)
class Fields:
    """An object (or a form, whose values are all texts) with these fields and no others."""

    required: Mapping[str, "Shape"] = field(default_factory=dict)
    optional: Mapping[str, "Shape"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Form:
    """An object that is sent as application/x-www-form-urlencoded."""

    fields: Fields


class Octets:
    """Bytes that are nobody's business here: the content of a file."""


type Shape = Scalar | Several | Either | Fields


def _is_moment(value: object) -> bool:
    """Return whether it is a DateTimeOffset: a date and a time with their offset from UTC."""
    if not isinstance(value, str):
        return False
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _is_address(value: object) -> bool:
    return isinstance(value, str) and urlsplit(value).scheme in ("https", "http") and bool(urlsplit(value).netloc)


TEXT: Final = Scalar("text", lambda value: isinstance(value, str))
FILLED: Final = Scalar("text, not empty", lambda value: isinstance(value, str) and bool(value))
WHOLE: Final = Scalar("whole number", lambda value: isinstance(value, int) and not isinstance(value, bool))
FLAG: Final = Scalar("true or false", lambda value: isinstance(value, bool))
MOMENT: Final = Scalar("date, time and offset", _is_moment)
ADDRESS: Final = Scalar("address", _is_address)
NULL: Final = Scalar("null", lambda value: value is None)
OBJECT: Final = Scalar("object", lambda value: isinstance(value, dict))
DIGITS: Final = Scalar("digits", lambda value: isinstance(value, str) and value.isascii() and value.isdigit())


def content_type(kind: str) -> Scalar:
    """Return the shape of the header Content-Type of this kind, with or without parameters."""
    return Scalar(kind, lambda value: isinstance(value, str) and value.split(";")[0].strip() == kind)


def one_of(*words: str) -> Scalar:
    """Return the shape of a text that is one of these."""
    return Scalar(" or ".join(f'"{word}"' for word in words), lambda value: value in words)


def at_most(length: int) -> Scalar:
    """Return the shape of a text that is no longer than this many characters."""
    return Scalar(f"text, at most {length} characters", lambda value: isinstance(value, str) and len(value) <= length)


def maybe(shape: Shape) -> Either:
    """Return the shape of a value that may be null."""
    return Either((shape, NULL))


def name_of(shape: Shape) -> str:
    """Return the shape in words, for messages and documents."""
    match shape:
        case Scalar():
            return shape.name
        case Several():
            return f"list of {name_of(shape.of)}"
        case Either():
            return " or ".join(dict.fromkeys(name_of(one) for one in shape.of))
        case Fields():
            names = [*shape.required, *(f"{name}?" for name in shape.optional)]
            return "{" + ", ".join(names) + "}"


def misfits(value: object, shape: Shape, where: str) -> Iterator[str]:
    """Say what is wrong with a value, each with its place; nothing where it fits.

    where: the value's own place, "" for a whole body.
    """
    match shape:
        case Scalar():
            if not shape.fits(value):
                yield f"{where or 'it'} is {_shown(value)}, not {shape.name}"
        case Several():
            if not isinstance(value, list):
                yield f"{where or 'it'} is {_shown(value)}, not a list"
                return
            for number, one in enumerate(value):
                yield from misfits(one, shape.of, f"{where}[{number}]")
        case Either():
            all_complaints = [list(misfits(value, one, where)) for one in shape.of]
            if all(all_complaints):
                yield from min(all_complaints, key=len)
        case Fields():
            yield from _misfitting_fields(value, shape, where)


def _misfitting_fields(value: object, shape: Fields, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where or 'it'} is {_shown(value)}, not an object"
        return
    known = {**shape.required, **shape.optional}
    for name in shape.required:
        if name not in value:
            yield f"{_place(where, name)} is missing"
    for name, one in value.items():
        if name in known:
            yield from misfits(one, known[name], _place(where, name))
        else:
            yield f"{_place(where, name)} is not known"


def _place(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
