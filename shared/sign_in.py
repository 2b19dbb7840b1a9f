"""Signs a person in to OneDrive once, so that the app can act for them: ``python -m shared.sign_in``.

Needed only where ONEDRIVE_SIGN_IN is ``user``; the app's own identity needs no sign-in. It goes by the app's settings,
and what comes of it lies in the app's storage (``clients/token_cache.py``), where all instances of the app find it.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from shared.errors import AppError, SettingsInvalid
from shared.escapes import read_json
from shared.services import Services
from shared.settings import APP_FOLDER, read_settings

LOCAL_SETTINGS: Final = APP_FOLDER / "local.settings.json"

_DESCRIPTION: Final = """\
Sign a person in to OneDrive, so that the app can act for them. Needed once where ONEDRIVE_SIGN_IN is user, and again
when the sign-in has ended: after 90 days without use, a changed password or an administrator's order.

The app's settings are taken from the environment; those that are missing there, from a local.settings.json. The
sign-in is kept in the storage account of AzureWebJobsStorage: for an app in Azure, give its connection string."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 signed in, 1 not, 130 given up."""
    parser = argparse.ArgumentParser(
        prog="python -m shared.sign_in",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--settings",
        type=Path,
        metavar="FILE",
        help=f"a file like local.settings.json.example (default: {LOCAL_SETTINGS.name} of the app, if it is there)",
    )
    given = parser.parse_args(arguments)
    try:
        # The command runs outside the host, which would have put the app's settings into the environment.
        services = Services(read_settings(with_file(os.environ, given.settings)))
        _print("Sign in as the person whose OneDrive holds the folders. This can be done on any device.")
        name = services.signed_in_user.sign_in(_print)
    except AppError as error:
        _print(f"Not signed in. {error}")
        return 1
    except KeyboardInterrupt:
        _print("Not signed in.")
        return 130
    _print(f"Signed in as {name}. The app finds the sign-in by itself and renews it; this is needed only once.")
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
        raise SettingsInvalid(f"{path} must have an object 'Values' of texts, as local.settings.json.example has.")
    if content.get("IsEncrypted"):
        raise SettingsInvalid(f"{path} is encrypted. Run 'func settings decrypt' in its folder.")
    return {**values, **{name: value for name, value in environ.items() if value}}


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201  # a command talks to its person


if __name__ == "__main__":
    sys.exit(main())
