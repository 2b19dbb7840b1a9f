"""The rows that an execution could not do, read from a list that F&O often writes as broken JSON."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from shared.escapes import json_text, read_json, whole_text
from shared.secret import redacted


@dataclass(frozen=True, slots=True, kw_only=True)
class RowError:
    """One row, or one thing, that an execution could not do."""

    record_id: str
    field: str
    message: str  # on one line


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionErrors:
    """What GetExecutionErrors answered."""

    rows: tuple[RowError, ...]
    raw: str  # as F&O sent it; may be megabytes


# F&O builds its list of errors by hand: quotes and line ends within messages are not escaped, so neither are
# backslashes undone in a list that is not valid JSON.
# Observed: in a list of 3,506 rows.
# The patterns begin with a sign and not with blanks: with those, a message that holds a thousand blanks takes hours.
_BETWEEN_ROWS: Final = re.compile(r'\}\s*,\s*\{(?=\s*"RecordId"\s*:)')
_BEFORE_RECORD_ID: Final = re.compile(r'\s*"RecordId"\s*:')
_BEFORE_FIELD: Final = re.compile(r',\s*"Field"\s*:')
_BEFORE_MESSAGE: Final = re.compile(r',\s*"ErrorMessage"\s*:')


def parse_execution_errors(value: object) -> ExecutionErrors:
    """Return the rows in the ``value`` of GetExecutionErrors. Nothing is lost: what has no form becomes a message.

    A row that says nothing at all is none.
    """
    if isinstance(value, list):
        return ExecutionErrors(rows=_rows(value), raw=json_text(value))
    raw = text_of(value)
    try:
        parsed = read_json(raw or "[]", mend=True, strict=False)
    except ValueError:
        return ExecutionErrors(rows=_rows_of_broken_json(raw), raw=raw)
    return ExecutionErrors(rows=_rows(parsed if isinstance(parsed, list) else [parsed]), raw=raw)


def _rows(values: list[object]) -> tuple[RowError, ...]:
    return _that_say_something(_row(value) for value in values)


def _that_say_something(rows: Iterable[RowError]) -> tuple[RowError, ...]:
    return tuple(row for row in rows if row.record_id or row.field or row.message)


def _row(value: object) -> RowError:
    if not isinstance(value, dict):
        return _row_error(message=text_of(value))
    row = {str(key).casefold(): text_of(text) for key, text in value.items()}
    if "errormessage" not in row:
        return _row_error(message=json_text(value))
    return _row_error(record_id=row.get("recordid", ""), field=row.get("field", ""), message=row["errormessage"])


def _rows_of_broken_json(raw: str) -> tuple[RowError, ...]:
    inside = raw.strip().removeprefix("[").lstrip().removeprefix("{")
    inside = inside.removesuffix("]").rstrip().removesuffix("}")
    return _that_say_something(_row_of_broken_json(piece) for piece in _BETWEEN_ROWS.split(inside) if piece.strip())


def _row_of_broken_json(piece: str) -> RowError:
    begin = _BEFORE_RECORD_ID.match(piece)
    field = _BEFORE_FIELD.search(piece, begin.end()) if begin else None
    message = _BEFORE_MESSAGE.search(piece, field.end()) if field else None
    if not begin or not field or not message:
        return _row_error(message=piece)
    return _row_error(
        record_id=_unquoted(piece[begin.end() : field.start()]),
        field=_unquoted(piece[field.end() : message.start()]),
        message=_unquoted(piece[message.end() :]),
    )


def _unquoted(text: str) -> str:
    return text.strip().removeprefix('"').removesuffix('"')


def _row_error(*, message: str, record_id: str = "", field: str = "") -> RowError:
    """Return a row error; what it quotes of keys and tokens goes out here, before anything is made of it."""
    return RowError(record_id=_shown(record_id), field=_shown(field), message=_shown(message))


def _shown(text: str) -> str:
    return redacted(" ".join(whole_text(text).split()))


def text_of(value: object) -> str:
    """Return a value of JSON as text; a list or an object in the place of one stays JSON."""
    if isinstance(value, (dict, list)):
        return json_text(value)
    return "" if value is None else str(value).strip()
