"""Links that answers give: where one leads, and whether our token may go with it.

A link that goes on (``@odata.nextLink``) gets the token only if its origin is the one that was called. A link with a
key in it (upload, download, SAS) is a ``SecretUrl`` and is called by an ``Http`` without a token. No redirect is
followed by either. Whatever is called, by either or by the storage SDK, is encrypted or stays on this machine.
"""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from shared.config.values import is_loopback
from shared.errors import NeedsPerson, TryAgain
from shared.secret import SecretUrl

_BEHIND_HOST: Final = re.compile(r"(?<=[^:/?#])[/?#].*", re.DOTALL)

_PORTS: Final[Mapping[str, int]] = {"https": 443, "http": 80}


def origin_of(url: str) -> str:
    """Return scheme, host and port of a web address in one spelling; "" for what is none.

    Addresses that two readers could take for two hosts are none: with a user's name, a backslash, a blank or a line
    break in them.
    """
    if any(sign <= " " or sign == "\x7f" for sign in url) or "\\" in url.partition("?")[0]:
        return ""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return ""
    if parts.scheme not in _PORTS or not host or not parts.netloc.isascii() or "@" in parts.netloc:
        return ""
    return f"{parts.scheme}://{host}:{port or _PORTS[parts.scheme]}"


def require_private_way(url: str) -> None:
    """Raise NeedsPerson unless the URL has a host, and what is sent there is encrypted or stays on this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # both are checked only when they are read
    except ValueError:
        host = None
    else:
        if host and host.startswith(("*", ".")):
            raise NeedsPerson(f"{host} is not a valid address, so nothing is sent to it. Check the settings")
        if host and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))):
            return
    shown = host or repr(SecretUrl(url))
    raise NeedsPerson(f"{shown} has no https address, so nothing is sent to it. Check the addresses in the settings")


def is_at(url: str, origin: str) -> bool:
    """Return whether an address lies at the origin of another one, which may have a path."""
    return origin_of(url) != "" and origin_of(url) == origin_of(origin)


def next_page(page: Mapping[str, Any], called: str, seen: set[str], *, service: str, what: str, setting: str) -> str:
    """Return the link to the next page of a listing, "" behind the last one; it is safe to call with the token.

    page: the answer. called: an address of the service as the settings give it. seen: links that were followed in this
    listing; the new one is added. what: what is listed, in a person's words. setting: which one holds the address.

    Raises NeedsPerson: the link leads to another origin; TryAgain: to a page that was seen already, or it is no text.
    """
    link = page.get("@odata.nextLink")
    if not link:
        return ""
    if not isinstance(link, str):
        raise TryAgain(f"{service} returned an invalid link to the next page of {what}. The app tries again")
    if not is_at(link, called):
        raise NeedsPerson(
            f"{service} says that {what} continues at another address ({_host(link)}). The app does not send its "
            f"token there. Check {setting} in the settings, and the proxy"
        )
    if link in seen:
        raise TryAgain(f"{service} returns the same page of {what} again and again")
    seen.add(link)
    return link


def keyed_link(value: object) -> SecretUrl | None:
    """Return a link that holds its own key, for an ``Http`` without a token; None for a value that is no web address.

    uploadUrl, downloadUrl, Location, and the addresses of blobs with a SAS. Blanks behind the host are percent-encoded:
    .NET writes them as they are in Uri.ToString(), and names of blobs and files may hold some.
    """
    link = value.strip() if isinstance(value, str) else ""
    link = _BEHIND_HOST.sub(lambda found: found[0].replace(" ", "%20"), link)
    return SecretUrl(link) if origin_of(link) else None


def required_link(value: object, *, service: str, what: str, setting: str) -> SecretUrl:
    """Return a link that holds its own key. Raises TryAgain for a value that is no web address.

    what: what it leads to, in a person's words; setting: which one holds the service's address.
    """
    if link := keyed_link(value):
        return link
    raise TryAgain(
        f"{service} answered without the address of {what}. The app tries again; if this continues, check {setting} in "
        "the settings, and the proxy"
    )


def _host(link: str) -> str:
    try:
        return (urlsplit(link).hostname or "?")[:100]
    except ValueError:
        return "?"
