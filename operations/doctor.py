"""Checks the app and says what a person must do: ``python -m operations.doctor``.

Either here, with the settings of the environment or of a file, or through a running app, whose health page it asks
(``--url``). The checks themselves are in ``shared/health/checks.py``.
"""

import argparse
import logging
import os
import sys
import textwrap
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import date
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import requests

from operations import arguments, command_line
from operations.sign_in import with_file
from shared.app import Services, quiet_libraries
from shared.config.settings import read_settings
from shared.errors import AppError, NeedsPerson
from shared.escapes import json_text, read_json, terminal_text
from shared.health.checks import check_health
from shared.health.health import Grade, counted, health_to_json
from shared.log import LOGGER_NAME

HEALTH: Final = "/api/health.json"
# Seconds to connect, and to answer: the app asks all services before it does, and may have to start first.
TIMEOUT_S: Final = (10.0, 120.0)
_WIDTH: Final = 110

# One of these is set wherever the app can have a token: its own secret or certificate, or what Azure sets for it.
_SIGN_INS: Final = ("AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH", "IDENTITY_ENDPOINT")
_NO_IDENTITY: Final = {
    "name": "This machine",
    "grade": Grade.WARNING,
    "words": "It has no managed identity, so the app cannot sign in here.",
    "to_do": "Check the running app with --url and --key-file, or use the settings of an app registration.",
}


def main(given_arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 no problems (perhaps warnings), 1 problems, 2 invalid arguments, 130
    interrupted.
    """
    command_line.prepare_output()
    environ = os.environ  # RUNS_KEY, and the app's settings: outside the host nobody else has read them
    given = arguments.doctor(given_arguments, environ)
    try:
        found = _check_running_app(given, environ) if given.url else _check_here(given, environ)
    except command_line.InvalidAddress as error:
        command_line.say(str(error), sys.stderr)
        return 2
    except AppError as error:
        found = {"grade": Grade.PROBLEM, "checks": [_check(error, "The app" if given.url else "Settings")]}
    except KeyboardInterrupt:
        return 130
    if given.json:
        ensure_ascii = not command_line.is_unicode(sys.stdout)
        command_line.say(json_text(found, indent=2, default=_plain, ensure_ascii=ensure_ascii))
    else:
        command_line.say(terminal_text(_report(found)))
    return 1 if found["grade"] == Grade.PROBLEM else 0


def _check_here(given: argparse.Namespace, machine: MutableMapping[str, str]) -> dict[str, Any]:
    """Run the checks on this machine."""
    environ = with_file(machine, given.settings)
    quiet_libraries()
    logger = logging.getLogger(LOGGER_NAME)
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # the report says what the app would log
    try:
        with command_line.identity_of(environ, machine):
            found = health_to_json(check_health(lambda: Services(read_settings(environ)), thorough=True))
    finally:
        logger.setLevel(level)
    if not any(environ.get(name) for name in _SIGN_INS):
        found["checks"] = (*found["checks"], _NO_IDENTITY)
    return found


def _check_running_app(given: argparse.Namespace, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the health of a running app.

    Raises InvalidAddress for an address or a key that cannot be used, NeedsPerson if the answer is not its health.
    """
    address = command_line.read_address(given.url)
    key = command_line.read_key(given.key_file, environ)
    host = urlsplit(address).hostname
    try:
        answer = requests.get(
            f"{address}{HEALTH}",
            params={"thorough": "yes"},
            headers={"x-functions-key": key} if key else {},
            timeout=TIMEOUT_S,
            allow_redirects=False,
        )
    except requests.RequestException as error:
        raise NeedsPerson(
            f"{host} cannot be reached ({type(error).__name__}). Check the address, and that the function app "
            "is running"
        ) from None
    if answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise NeedsPerson(
            f"{host} refuses the key (HTTP {answer.status_code}). Pass the key for viewing or the key for acting with "
            "--key-file FILE or in the variable RUNS_KEY. See 'Keys, then notifications' in docs/setup.md"
        )
    if answer.status_code == HTTPStatus.NOT_FOUND:
        raise NeedsPerson(
            f"{host} has no health page (HTTP 404): the app could not be loaded, or this is another app. See 'Nothing "
            "happens' in docs/operations.md"
        )
    try:
        found = read_json(answer.content, mend=True)
    except ValueError:
        found = None
    if not isinstance(found, dict) or "checks" not in found or "grade" not in found:
        raise NeedsPerson(f"{host} did not return its health (HTTP {answer.status_code}). Check the address")
    return found


def _check(error: AppError, name: str) -> dict[str, object]:
    return {"name": name, "grade": Grade.PROBLEM, "words": str(error), "to_do": ""}


def _report(found: Mapping[str, Any]) -> str:
    """Return the checks for a terminal: problems come last, where they are seen."""
    order = list(Grade)
    checks = sorted(found["checks"], key=lambda check: order.index(Grade(check["grade"])))
    lines = [line for check in checks for line in _lines(check)]
    problems = sum(Grade(check["grade"]) is Grade.PROBLEM for check in checks)
    warnings = sum(Grade(check["grade"]) is Grade.WARNING for check in checks)
    verdict = f"{counted(problems, 'problem')}, {counted(warnings, 'warning')}, {len(checks) - problems - warnings} ok."
    version = f" Version {found['version']}." if "version" in found else ""
    return terminal_text("\n".join([*lines, "", verdict + version]))


def _lines(check: Mapping[str, Any]) -> list[str]:
    mark = {"ok": "ok", "warning": "WARNING", "trouble": "PROBLEM"}[Grade(check["grade"]).value]
    lines = [f"{mark:<8} {check['name']}"]
    for text in (check["words"], check["to_do"] and f"What to do: {check['to_do']}"):
        for paragraph in str(text).splitlines():
            lines += textwrap.wrap(paragraph, _WIDTH, initial_indent=" " * 9, subsequent_indent=" " * 9)
    return lines


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return value.isoformat() if isinstance(value, date) else str(value)  # a datetime is a date, too


if __name__ == "__main__":
    sys.exit(main())
