"""Signs a person in to OneDrive once, so that the app can act for them: ``python -m shared.sign_in``.

Needed only for a signed-in user's OneDrive (always for a personal one). The app's own identity needs no sign-in.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from shared.clients.credentials import PUBLIC_CLOUD, SignedInUser, TokenCacheStore
from shared.errors import AppError

# https://learn.microsoft.com/graph/permissions-reference: subscriptions to a work or school drive want the ".All".
SCOPES: Final = ("https://graph.microsoft.com/Files.ReadWrite.All",)


class TokenCacheFile:
    """Keeps the token cache in a file that only its owner can read."""

    def __init__(self, path: Path) -> None:
        """path: created on the first save; its folder must be there."""
        self._path = path

    def load(self) -> str | None:
        """Return what was saved last, or None."""
        try:
            return self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def save(self, serialized: str) -> None:
        """Replace the file as a whole."""
        new = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
        # On Windows the mode means little: there the file takes the rights of its folder.
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(serialized)
        new.replace(self._path)


def sign_in(
    *,
    client_id: str,
    tenant: str,
    store: TokenCacheStore,
    scopes: Sequence[str] = SCOPES,
    authority_host: str = PUBLIC_CLOUD,
    show: Callable[[str], None],
) -> int:
    """Sign a person in, keep the result in the store, and return the exit code: 0 done, 1 not.

    show: gets each line that is for the person.
    """
    user = SignedInUser(client_id=client_id, tenant=tenant, scopes=scopes, store=store, authority_host=authority_host)
    show("Sign in as the person whose OneDrive holds the folders. This can be done on any device.")
    try:
        name = user.sign_in(show)
    except AppError as error:
        show(f"Not signed in. {error}")
        return 1
    show(f"Signed in as {name}. The app finds the sign-in by itself and renews it; this is needed only once.")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m shared.sign_in",
        description="Sign a person in to OneDrive, so that the app can act for them.",
    )
    parser.add_argument("--client-id", required=True, help="of the app registration; it must allow public client flows")
    parser.add_argument("--tenant", required=True, help="tenant id or domain; 'consumers' for a personal OneDrive")
    parser.add_argument("--cache-file", required=True, type=Path, help="where to keep the sign-in; guard it")
    parser.add_argument("--authority-host", default=PUBLIC_CLOUD, help="of Entra ID (default: %(default)s)")
    given = parser.parse_args(arguments)
    return sign_in(
        client_id=given.client_id,
        tenant=given.tenant,
        store=TokenCacheFile(given.cache_file),
        authority_host=given.authority_host,
        show=_print,
    )


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201  # a command talks to its person


if __name__ == "__main__":
    sys.exit(main())
