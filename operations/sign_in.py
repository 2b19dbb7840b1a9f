"""Signs a person in to OneDrive once, so that the app can act for them: ``python -m operations.sign_in``.

Needed only if ONEDRIVE_SIGN_IN is ``user``; the app's own identity needs no sign-in. It uses the app's settings, and
saves the sign-in in the app's storage (``azure_storage/token_cache.py``), where all instances find it.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from operations import arguments, command_line
from shared.app import Services
from shared.config.settings import APP_FOLDER, read_settings
from shared.errors import AppError, SettingsInvalid
from shared.escapes import read_json

LOCAL_SETTINGS: Final = APP_FOLDER / "local.settings.json"


def main(given_arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 signed in, 1 not, 130 interrupted."""
    command_line.prepare_output()
    machine = os.environ  # the app's settings: outside the host nobody else has read them
    given = arguments.sign_in(given_arguments, machine)
    try:
        environ = with_file(machine, given.settings)
        services = Services(read_settings(environ))
        _print("Sign in as the person whose OneDrive contains the folders. You can do this on any device.")
        with command_line.identity_of(environ, machine):
            name = services.signed_in_user.sign_in(_print)
    except AppError as error:
        _print(f"Not signed in. {error}")
        return 1
    except KeyboardInterrupt:
        _print("Not signed in.")
        return 130
    _print(f"Signed in as {name}. The app uses and renews this sign-in; you need to do this only once.")
    return 0


def with_file(environ: Mapping[str, str], file: Path | None = None) -> Mapping[str, str]:
    """Return the environment, and beside it what only the settings file has, as Core Tools put them together.

    file: None for the app's local.settings.json, if there is one. Raises SettingsInvalid for a file of another kind.
    """
    if file is None and not LOCAL_SETTINGS.is_file():
        return environ
    path = file or LOCAL_SETTINGS
    try:
        content = read_json(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise SettingsInvalid(f"{path} cannot be read: {error}") from error
    values = content.get("Values") if isinstance(content, dict) else None
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise SettingsInvalid(f"{path} must contain an object 'Values' of strings, like local.settings.json.example.")
    if content.get("IsEncrypted"):
        raise SettingsInvalid(f"{path} is encrypted. Run 'func settings decrypt' in its folder.")
    there = {name: value for name, value in environ.items() if value}
    if file and any(name in values for name in command_line.IDENTITY):
        # The identity of a file that was named is meant, not one that this machine happens to have.
        there = {name: value for name, value in there.items() if name not in command_line.IDENTITY}
    return {**values, **there}


def _print(line: str) -> None:
    command_line.say(line)


if __name__ == "__main__":
    sys.exit(main())
