"""What the commands ``runs``, ``doctor`` and ``sign-in`` share: address and key of a running app, and printing.

A key is never an argument, and never a part of an address: others on the machine can read those, and shells keep them.
"""

import errno
import os
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO
from urllib.parse import parse_qs, urlsplit

from operations.arguments import KEY
from shared.config.values import Unfit, parse_service_url

# Pages of the app as a browser shows their addresses; behind --url they mean the app.
PAGES: Final = ("/api/runs", "/api/health", "/api/runs.json", "/api/health.json")

# What writing to a pipe that its reader has closed ends in; EINVAL on Windows.
_CLOSED: Final = (errno.EPIPE, errno.EINVAL)


# Where azure-identity finds the managed identity's endpoint: it reads the environment itself.
IDENTITY: Final = ("IDENTITY_ENDPOINT", "IDENTITY_HEADER")


class InvalidAddress(Exception):
    """The address or the key of a running app cannot be used; the text says why, and what to use."""


def read_address(text: str) -> str:
    """Return the address of an app, without a slash at its end. Raises InvalidAddress."""
    try:
        parts = urlsplit(text)
        holds_key = "code" in parse_qs(parts.query, keep_blank_values=True)
        path = parts.path.rstrip("/")
    except ValueError:
        raise InvalidAddress("The address is not a URL.") from None
    if holds_key:
        raise InvalidAddress(
            "The address contains a key (?code=...), where others can read it. Remove it, and pass the key with "
            f"--key-file FILE or in the variable {KEY}."
        )
    try:
        return parse_service_url(text.removesuffix("/").removesuffix(path) if path in PAGES else text)
    except Unfit as unfit:
        raise InvalidAddress(f"The address {unfit}") from None


def read_key(file: Path | None, environment: Mapping[str, str]) -> str:
    """Return the key from the file or the environment, "" if there is none. Raises InvalidAddress."""
    try:
        key = file.read_text("utf-8-sig").strip() if file else environment.get(KEY, "").strip()
    except UnicodeDecodeError as error:
        raise InvalidAddress(
            f"{file} is not UTF-8; PowerShell's '>' writes such files. Write it with: "
            "Set-Content FILE KEY -Encoding ascii"
        ) from error
    except OSError as error:
        raise InvalidAddress(f"The key file cannot be read: {error}") from error
    if not key.isascii() or not key.isprintable():
        raise InvalidAddress("The key contains invalid characters.")
    return key


@contextmanager
def identity_of(settings: Mapping[str, str], environ: MutableMapping[str, str]) -> Iterator[None]:
    """Let azure-identity find the endpoint of these settings, and none of this machine's, meanwhile.

    environ: the process's, which azure-identity reads.
    """
    before = {name: environ.get(name) for name in IDENTITY}
    _set({name: settings.get(name) for name in IDENTITY}, environ)
    try:
        yield
    finally:
        _set(before, environ)


def _set(values: Mapping[str, str | None], environ: MutableMapping[str, str]) -> None:
    for name, value in values.items():
        if value:
            environ[name] = value
        else:
            environ.pop(name, None)


def prepare_output() -> None:
    """Let no character of a file's name end a command: an output in ASCII or cp1252 shows a question mark for it."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # a test's fake has none
        if reconfigure:
            reconfigure(errors="replace")


def is_unicode(stream: TextIO) -> bool:
    """Return whether a stream can write every character."""
    return (stream.encoding or "").replace("-", "").casefold().startswith("utf")


def say(text: str, stream: TextIO | None = None) -> None:
    """Write a line. Whoever has closed the pipe, as ``| head`` does, wants no more: the rest is written to nobody."""
    stream = stream or sys.stdout
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except OSError as error:
        if error.errno not in _CLOSED:
            raise
        nobody = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nobody, stream.fileno())
        os.close(nobody)
