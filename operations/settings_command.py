"""Checks the configuration of flows, and says what would happen to a file: ``python -m operations.settings_command``.

It calls no service. App settings are those of the environment, and of a file like local.settings.json.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from operations import arguments, command_line
from operations.sign_in import with_file
from shared.config.app_settings import EXAMPLE_DRIVE, EXAMPLE_URL
from shared.config.flows import Flows
from shared.config.integrations import parse_integrations
from shared.config.settings import ignored_names_of
from shared.config.values import Unfit, parse_drive, parse_environment_url
from shared.config.warnings import flow_warnings
from shared.errors import AppError, SettingsInvalid
from shared.escapes import json_text, terminal_text
from shared.imports.explain import Explanation, explain


def main(given_arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 all is well, perhaps with warnings; 1 not; 2 invalid arguments."""
    command_line.prepare_output()
    environ = os.environ  # app settings that the document names: outside the host nobody else has read them
    given = arguments.settings(given_arguments, environ)
    try:
        settings = with_file(environ, given.settings)
        flows = _read(given.file, settings)
        if isinstance(flows, list):
            return _say(given.json, {"problems": flows}, _problems_text(given.file, flows), 1)
        if given.verb == "check":
            return _check(given.file, flows, as_json=given.json)
        found = _explain(given.name, flows, settings)
    except AppError as error:
        return _say(given.json, {"problems": [str(error)]}, str(error), 1)
    return _explained(found, as_json=given.json)


def _read(file: Path, settings: Mapping[str, str]) -> Flows | list[str]:
    """Return the flows of a document, or its problems. FO_URL and ONEDRIVE_DRIVE are not the document's to have."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingsInvalid(f"{file} is not UTF-8 text. Save it as UTF-8.") from error
    except OSError as error:
        raise SettingsInvalid(f"{file} cannot be read: {error.strerror or type(error).__name__}.") from error
    named = {name.upper(): value for name, value in settings.items()}  # in any case, as the app finds them
    parsed = parse_integrations(
        text,
        environment_url=_stand_in("FO_URL", named, parse_environment_url, EXAMPLE_URL),
        drive=_stand_in("ONEDRIVE_DRIVE", named, parse_drive, EXAMPLE_DRIVE),
        setting=lambda name: named.get(name.upper(), "").strip(),
    )
    return parsed if isinstance(parsed, Flows) else [_without_setting(str(each)) for each in parsed]


def _stand_in(name: str, settings: Mapping[str, str], parse: Callable[[str], str], example: str) -> str:
    try:
        return parse(settings.get(name, "").strip() or example)
    except Unfit as unfit:
        raise SettingsInvalid(f"The app setting {name} {unfit} Example: {example}") from None


def _without_setting(problem: str) -> str:
    """Return the text of a problem without the name of the setting, which here is a file."""
    if problem.startswith("INTEGRATIONS "):
        return problem.replace("INTEGRATIONS", "The document", 1)
    return problem.replace("INTEGRATIONS, ", "")


def _explain(name: str, flows: Flows, settings: Mapping[str, str]) -> list[Explanation] | str:
    try:
        return explain(name, flows, ignored_names_of(settings))
    except Unfit as unfit:
        raise SettingsInvalid(str(unfit)) from unfit


def _problems_text(file: Path, problems: Sequence[str]) -> str:
    hint = ""
    if any("refers to the app setting" in each for each in problems):
        hint = (
            "\nApp settings are read from the environment and from local.settings.json; --settings names another file."
        )
    return f"{file}: {_counted(len(problems), 'problem')}:" + "".join(f"\n- {each}" for each in problems) + hint


def _check(file: Path, flows: Flows, *, as_json: bool) -> int:
    warnings = [str(each) for each in flow_warnings(flows)]
    counted = f"{_counted(len(flows.imports), 'import')} and {_counted(len(flows.exports), 'export')}"
    text = f"{file}: {counted}, no problems." + "".join(f"\n- Warning: {each}" for each in warnings)
    found = {"imports": len(flows.imports), "exports": len(flows.exports), "problems": [], "warnings": warnings}
    return _say(as_json, found, text, 0)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _explained(found: list[Explanation] | str, *, as_json: bool) -> int:
    if isinstance(found, str):
        return _say(as_json, {"problems": [found]}, found, 1)
    text = "\n\n".join(_explanation_text(each) for each in found)
    is_imported = any(not each.refusal for each in found)
    return _say(as_json, {"flows": [asdict(each) for each in found]}, text, 0 if is_imported else 1)


def _explanation_text(explanation: Explanation) -> str:
    verdict = "refused" if explanation.refusal else "imported"
    head = f"In {explanation.folder}, import '{explanation.flow_name}': {verdict}"
    return "\n".join([head, *(f"  {label + ':':<14} {text}" for label, text in explanation.lines)])


def _say(as_json: bool, found: dict[str, Any], text: str, code: int) -> int:
    ensure_ascii = not command_line.is_unicode(sys.stdout)
    command_line.say(json_text(found, indent=2, ensure_ascii=ensure_ascii) if as_json else terminal_text(text))
    return code


if __name__ == "__main__":
    sys.exit(main())
