"""Where Entra ID is, and how long a call to it may take."""

import time
from typing import Final

PUBLIC_CLOUD: Final = "login.microsoftonline.com"


# Any other host (a private cloud, a local one) is unknown to Microsoft's instance discovery, which then must be off.
# https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud
_KNOWN_CLOUDS: Final = frozenset(
    {PUBLIC_CLOUD, "login.microsoftonline.us", "login.partner.microsoftonline.cn", "login.chinacloudapi.cn"}
)


CONNECT_S: Final = 5


READ_S: Final = 30


# Seconds that a token must still live to be handed out while another thread asks for the next one.
_LIVES_S: Final = 120.0


class HeldToken:
    """The last token that a credential gave, for those who come while the next one is asked for."""

    def __init__(self) -> None:
        self._token = ""
        self._ends = 0.0  # seconds since the epoch

    def keep(self, token: str, ends: float) -> str:
        """Remember a token; return it."""
        self._token, self._ends = token, ends
        return token

    def living(self) -> str:
        """Return the token, "" if it does not live for long any more."""
        return self._token if self._ends - time.time() > _LIVES_S else ""


def is_known_cloud(authority_host: str) -> bool:
    """Return whether Microsoft's instance discovery knows the host."""
    return authority_host.removeprefix("https://").rstrip("/").casefold() in _KNOWN_CLOUDS


def with_scheme(authority_host: str) -> str:
    """Return the host as an https address, unless it has a scheme already."""
    host = authority_host.rstrip("/")
    return host if "://" in host else f"https://{host}"
