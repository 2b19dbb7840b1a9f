"""The saved form of an alert: JSON in a blob, and a short text in the blob's metadata. Pure.

The keys are a contract with older versions of the app, and their words are older than those of the code.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

from shared.alerts.alert import Alert, LastNotification, NotificationKind
from shared.escapes import json_text, read_json
from shared.moments import read_moment
from shared.runs.values import FailedRow

# Keys that differ from the names of the fields.
_KEYS: Final = {
    "is_ongoing": "stays",
    "direction": "flow",
    "flow_name": "integration",
    "resolved": "over",
    "notified": "told",
}
_NEEDED: Final = frozenset({"key", "title", "text"})
_TEXTS: Final = tuple(each.name for each in fields(Alert) if each.type is str and each.name != "record_etag")
# What tells, without the record, whether anything is pending.
_STATE: Final = ("since", "is_ongoing", "flow_name", "run_address", "duty", "resolved")


def alert_to_json(alert: Alert) -> str:
    """Return the record of an alert."""
    content = asdict(replace(alert, rows=(), notified={}))
    del content["record_etag"]
    record = {_KEYS.get(name, name): value for name, value in content.items()}
    record["told"] = _notified_to_json(alert)
    record["rows"] = [{"record_id": row.record_id, "field": row.field, "message": row.message} for row in alert.rows]
    return json_text(record, default=_instant_text)


def alert_from_json(text: str | bytes, etag: str = "") -> Alert:
    """Return the alert of a record; keys that another version of the app has added are ignored.

    Raises ValueError, with the reason, for a text that is not an alert: then no part of it is used.
    """
    try:
        content = read_json(text, mend=True)
        return _alert(content, etag) if isinstance(content, dict) else _refuse("it is not a JSON object")
    except KeyError as error:
        raise ValueError(f"{error} is missing") from error


def alert_state(alert: Alert) -> str:
    """Return what decides when which channel is to be notified, as a short text."""
    content = {_KEYS.get(name, name): getattr(alert, name) for name in _STATE}
    return json_text({**content, "told": _notified_to_json(alert)}, default=_instant_text)


def alert_from_state(key: str, state: str, etag: str = "") -> Alert:
    """Return the alert of such a text, without title and text. Raises ValueError for a text of another kind."""
    content = read_json(state, mend=True)
    needed = {_KEYS.get(name, name) for name in (*_STATE, "notified")}
    if not isinstance(content, dict) or not content.keys() >= needed:
        _refuse("it is not a known state")
    return _alert({name: content[name] for name in needed} | {"key": key, "title": "", "text": ""}, etag)


def _notified_to_json(alert: Alert) -> dict[str, dict[str, Any]]:
    return {channel: {"word": last.kind.value, "at": last.at} for channel, last in alert.notified.items()}


def _alert(content: Mapping[str, Any], etag: str) -> Alert:
    keys = {name: _KEYS.get(name, name) for name in _TEXTS}
    texts = {name: _text(content, key) for name, key in keys.items() if key in content or name in _NEEDED}
    rows = content.get("rows") or []
    return Alert(
        **texts,
        since=read_moment(content["since"]),
        is_ongoing=content.get("stays") is True,
        rows=tuple(map(_row, rows)) if isinstance(rows, list) else _refuse("rows is not a list"),
        rows_total=_number(content.get("rows_total", 0)),
        resolved=read_moment(content["over"]) if content.get("over") else None,
        notified=_notified(content.get("told") or {}),
        record_etag=etag,
    )


def _text(content: Mapping[str, Any], name: str) -> str:
    value = content[name]
    return value if isinstance(value, str) else _refuse(f"{name} is not text")


def _number(value: object) -> int:
    return value if isinstance(value, int) else _refuse("rows_total is not a number")


def _row(value: object) -> FailedRow:
    row = value if isinstance(value, dict) else _refuse("a row is not a JSON object")
    return FailedRow(record_id=_text(row, "record_id"), field=_text(row, "field"), message=_text(row, "message"))


def _notified(value: object) -> dict[str, LastNotification]:
    by_channel = value if isinstance(value, dict) else _refuse("told is not a JSON object")
    return {
        channel: LastNotification(kind=NotificationKind(_text(each, "word")), at=read_moment(_text(each, "at")))
        if isinstance(each, dict)
        else _refuse(f"what was sent to {channel} is not a JSON object")
        for channel, each in by_channel.items()
    }


def _refuse(why: str) -> NoReturn:
    raise ValueError(why)


def _instant_text(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    raise TypeError(f"{type(value).__name__} cannot be saved in an alert's record")
