"""Single values of the configuration: read from text, checked, brought to one form. Pure.

What a value cannot be is said in words that go on where the setting's name stops: "must be ...".
"""

import ipaddress
import re
import unicodedata
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Final
from urllib.parse import urlsplit

from shared.secret import SecretUrl

MAX_FLOW_NAME: Final = 60  # characters
MAX_DATA_PROJECT: Final = 128  # Assumed: F&O's own limit is lower (40 to 60 by hearsay), and F&O says so itself
MAX_FOLDER: Final = 400  # OneDrive's limit of a decoded path

_ADDRESS: Final = re.compile(r"[^@\s;,<>]+@[^@\s;,<>]+\.[^@\s;,<>]+")
_NAME: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9 _.-]{{0,{MAX_FLOW_NAME - 1}}}")
_COMPANY: Final = re.compile(r"[A-Za-z0-9]{1,4}")
_DRIVE: Final = re.compile(r"drives/[A-Za-z0-9!_.~-]+|users/[A-Za-z0-9'._!^~@+-]+/drive|me/drive")
_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]")
# https://support.microsoft.com/office/restrictions-and-limitations-in-onedrive-and-sharepoint
_FORBIDDEN_CHARACTERS: Final = re.compile(r'["*:<>?|\x00-\x1f]')
_FORBIDDEN_NAMES: Final = re.compile(r"(?i)\.|\.\.|\.lock|con|prn|aux|nul|com\d|lpt\d|desktop\.ini|~.*|.*_vti_.*")


class Unfit(ValueError):
    """A configured value that cannot be used; the text goes on where "<setting> " stops: "must be ..."."""


def matches_name(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a name is one of those that the patterns mean: * stands for any letters, ? for one.

    Case does not count, as in OneDrive.
    """
    return any(fnmatchcase(folded(name), folded(pattern).replace("[", "[[]")) for pattern in patterns)


def folded(name: str) -> str:
    """Return what names have in common that are one name in OneDrive: case and spelling of accents do not count."""
    return unicodedata.normalize("NFC", name).casefold()


def parse_service_url(text: str, *, paths: Sequence[str] = ()) -> str:
    """Return the address of a service without a slash at its end; http is taken on this machine only.

    paths: what may stand behind the host, such as "/namespaces/AXSF". Raises Unfit.
    """
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise Unfit("is not a URL.") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise Unfit("must be a URL that begins with https://.")
    shown_host = f"[{host}]" if ":" in host else host
    if _HOST.fullmatch(shown_host) is None:
        raise Unfit("is not a URL: its host contains invalid characters.")
    if parts.scheme == "http" and not is_loopback(host):
        raise Unfit("must begin with https://; http is allowed only for this machine.")
    if "@" in parts.netloc:
        raise Unfit("must not hold a user name or password.")
    if parts.query or parts.fragment:
        raise Unfit("must be the address only, without '?', '#' and what follows them.")
    path = parts.path.rstrip("/")
    known = next((each for each in ("", *paths) if each.casefold() == path.casefold()), None)
    if known is None:
        allowed = f" other than {paths[0]}" if paths else ""
        raise Unfit(f"must be the address only, without a path{allowed}.")
    return f"{parts.scheme}://{shown_host}{'' if port is None else f':{port}'}{known}"


def parse_environment_url(text: str) -> str:
    """Return the address of an F&O environment. Raises Unfit."""
    # On-premises environments answer below /namespaces/AXSF.
    # https://learn.microsoft.com/dynamics365/fin-ops-core/dev-itpro/data-entities/data-management-api
    return parse_service_url(text, paths=("/namespaces/AXSF",))


def parse_drive(text: str) -> str:
    """Return a drive as it stands in Graph's URLs; takes a bare drive id or user name too. Raises Unfit.

    >>> parse_drive("integration@contoso.com")
    'users/integration@contoso.com/drive'
    """
    drive = text.strip("/").removesuffix("/root")
    if drive.startswith("b!"):
        drive = f"drives/{drive}"
    elif "@" in drive and "/" not in drive:
        drive = f"users/{drive}/drive"
    if _DRIVE.fullmatch(drive) is None:
        raise Unfit("must be drives/<drive id>, users/<user principal name>/drive or me/drive.")
    return drive


def parse_folder(text: str) -> str:
    """Return a folder as an absolute path in its drive; slashes around and between are tolerated. Raises Unfit.

    >>> parse_folder("Integrations\\\\Input/")
    '/Integrations/Input'
    """
    names = [name for name in text.replace("\\", "/").split("/") if name]
    if not names:
        raise Unfit("must name a folder; the drive's root itself cannot be used.")
    for name in names:
        if found := _FORBIDDEN_CHARACTERS.search(name):
            if found[0] < " ":
                raise Unfit("has a control character, such as \\t or \\n in JSON. Write / between folders.")
            raise Unfit('has a character that OneDrive does not allow: one of " * : < > ? |.')
        if name != name.strip() or name.endswith("."):
            raise Unfit("has a name that begins or ends with a space, or ends with a dot, which OneDrive refuses.")
        if _FORBIDDEN_NAMES.fullmatch(name) or not name.isprintable():
            raise Unfit("has a name that OneDrive reserves.")
    if names[0].casefold() == "forms":
        raise Unfit("begins with 'Forms', a name that OneDrive reserves.")
    folder = "/" + "/".join(names)
    if len(folder) > MAX_FOLDER:
        raise Unfit(f"is longer than the {MAX_FOLDER} characters of a path in OneDrive.")
    return folder


def parse_addresses(text: str) -> str:
    """Return e-mail addresses with ";" between them. Raises Unfit."""
    addresses = [part.strip() for part in re.split("[;,]", text) if part.strip()]
    if not addresses or any(_ADDRESS.fullmatch(address) is None for address in addresses):
        raise Unfit("must be an e-mail address, or several separated by ';'.")
    return ";".join(addresses)


def parse_webhook_url(text: str) -> SecretUrl:
    """Return an address that is to be called as it is, with the keys in it. Raises Unfit."""
    address = text.partition("?")[0]
    path = "/" + address.partition("://")[2].partition("/")[2].strip("/")
    parse_service_url(address, paths=(path,))
    if "#" in text or not text.isascii() or not text.isprintable() or " " in text:
        raise Unfit("must be a URL in ASCII, without '#' and spaces.")
    return SecretUrl(text)


def parse_company(text: str) -> str:
    """Return a company in capitals. Raises Unfit."""
    if not is_company(text):
        raise Unfit("must be a company's id, 1 to 4 letters or digits.")
    return text.upper()


def is_company(text: str) -> bool:
    """Return whether a text may be a company's id."""
    return _COMPANY.fullmatch(text) is not None


def parse_data_project(text: str) -> str:
    """Return a data project's name as it is. Raises Unfit."""
    if not text.isprintable() or text != text.strip() or not 0 < len(text) <= MAX_DATA_PROJECT:
        raise Unfit(
            f"must be a data project's name: 1 to {MAX_DATA_PROJECT} printable characters, without spaces around it."
        )
    return text


def parse_flag(text: str) -> bool:
    """Return true or false as people write it in app settings. Raises Unfit."""
    match text.casefold():
        case "true" | "1" | "yes":
            return True
        case "false" | "0" | "no":
            return False
        case _:
            raise Unfit("must be true or false.")


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, without asking DNS."""
    if host.casefold() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def either(words: Sequence[str]) -> str:
    """Return words as a choice.

    >>> either(["error", "success", "folder"])
    'error, success or folder'
    """
    return " or ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def parse_flow_name(text: str) -> str:
    """Return a flow's name as it is. Raises Unfit."""
    if _NAME.fullmatch(text) is None:
        raise Unfit(
            f"must be 1 to {MAX_FLOW_NAME} letters (A to Z), digits, spaces, dots, hyphens or underscores, and begin "
            "with a letter or digit."
        )
    return text
