"""Values that must not be printed: tokens, pre-authenticated URLs, connection strings.

A secret prints as ``***`` wherever it ends up (log, error, record). Texts that come from a service may quote one;
``redacted`` takes it out of those.
"""

import re
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qs, urlsplit


class Secret:
    """A string that shows itself only when asked: ``Secret("abc").reveal()``.

    >>> print(Secret("abc"))
    ***
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value itself; only the line that sends it should call this."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


# The addresses of a personal OneDrive hold their key in the path: https://public-sn3302.files.1drv.com/y2pcT7OaUEEx...
# https://learn.microsoft.com/graph/api/driveitem-get-content
_KEY_IN_PATH: Final = re.compile(r"/[^/]{65,}")


class SecretUrl(Secret):
    """A URL whose query is a key: a SAS, a download URL, an upload session. Only host and path may be shown."""

    __slots__ = ()

    @property
    def address(self) -> str:
        """Host and path, without the key."""
        parts = urlsplit(self._value)
        return f"{parts.netloc}{parts.path}"

    @property
    def expires(self) -> datetime | None:
        """When the key ends, in UTC, if it is a SAS that says so.

        https://learn.microsoft.com/rest/api/storageservices/create-service-sas#specify-the-access-policy
        """
        ends = parse_qs(urlsplit(self._value).query).get("se", [""])[0]
        try:
            moment = datetime.fromisoformat(ends)
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        except (ValueError, OverflowError):  # OverflowError: the year 1 east of Greenwich
            return None

    def __repr__(self) -> str:
        return _KEY_IN_PATH.sub("/***", self._value.partition("?")[0]) + "?***"

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return repr(self)


# The keys under which Azure Storage, SharePoint and Functions put a secret into a URL, and bearer tokens.
_QUERY_SECRET: Final = re.compile(
    r"(?i)\b((?:sig|tempauth|code|access_token|client_secret|refresh_token)=)[^&\s\"'<>]+"
)
_BEARER: Final = re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]{8,}")


def redacted(text: str) -> str:
    """Return the text with the values of SAS signatures, download keys, function keys and bearer tokens taken out.

    >>> redacted("GET https://a.blob.core.windows.net/dmf/x?sv=2014-02-14&sig=abc%3D")
    'GET https://a.blob.core.windows.net/dmf/x?sv=2014-02-14&sig=***'
    """
    return _BEARER.sub(r"\1***", _QUERY_SECRET.sub(r"\1***", text))
