"""Logs as named events with keys: one JSON line each, so that Application Insights can query them with parse_json.

``log.info("step.done", step="upload", size_bytes=18_204)``. The worker binds run id and execution id once; they are in
every line below it. INFO: as intended. WARNING: the app retries. ERROR: a person must look.
"""

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Final

from shared.escapes import json_text
from shared.secret import redacted

type Value = object  # anything json.dumps takes, or anything whose str() may be shown

_bound: ContextVar[dict[str, Value]] = ContextVar("log_keys", default={})  # noqa: B039  # never mutated: replaced as a whole

# One logger for the whole app. In Azure the host writes its lines under the name of the function that ran.
LOGGER_NAME: Final = "onedrive_fo"


@contextmanager
def bound(**keys: Value) -> Iterator[None]:
    """Add these keys to every line that is logged inside the block, in this thread."""
    token = _bound.set({**_bound.get(), **keys})
    try:
        yield
    finally:
        _bound.reset(token)


class EventLog:
    """Writes named events. Every line is redacted before it is written."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def info(self, event: str, **keys: Value) -> None:
        """Log something that went as intended."""
        self._write(logging.INFO, event, keys, exc_info=False)

    def warning(self, event: str, **keys: Value) -> None:
        """Log a failure that the app retries by itself."""
        self._write(logging.WARNING, event, keys, exc_info=False)

    def error(self, event: str, *, exc_info: bool = False, **keys: Value) -> None:
        """Log a problem that a person must look at; exc_info adds the traceback of the error being handled."""
        self._write(logging.ERROR, event, keys, exc_info=exc_info)

    def _write(self, level: int, event: str, keys: dict[str, Value], *, exc_info: bool) -> None:
        if not self._logger.isEnabledFor(level):
            return
        if exc_info:
            # As a key, because logging's own way would not redact it, and libraries quote whole URLs in their errors.
            keys = {**keys, "traceback": traceback.format_exc()}
        self._logger.log(level, "%s", _line({"event": event, **_bound.get(), **keys}))


def _line(record: dict[str, Value]) -> str:
    return redacted(json_text(record, default=_shown))


def _shown(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


log = EventLog(logging.getLogger(LOGGER_NAME))
