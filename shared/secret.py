"""Values that must not be printed: tokens, pre-authenticated URLs, connection strings.

A secret prints as ``***`` wherever it ends up (log, error, record). Texts that come from a service may quote one;
``redacted`` takes it out of those.
"""

import re
from datetime import datetime
from typing import Final
from urllib.parse import parse_qs, urlsplit

from shared.moments import moment_or_none


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
        return moment_or_none(parse_qs(urlsplit(self._value).query).get("se", [""])[0])

    def __repr__(self) -> str:
        return _KEY_IN_PATH.sub("/***", self._value.partition("?")[0]) + "?***"

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return repr(self)


# Names under which a secret stands in a URL's query, a connection string or a form.
_NAMES: Final = (
    "access_?token|refresh_?token|id_?token|client_?secret|client_?assertion|account_?key|shared_?access_?key"
    "|shared_?access_?signature|x-functions-key|x-identity-header|(?:api|function|subscription)[-_]?key"
    "|password|passwd|pwd|tempauth|sig"
)
# ?sig=...&, AccountKey=...; and their percent-encoded forms within another address. "code" is a function key there.
_ASSIGNED: Final = re.compile(
    rf"(?i)((?:(?<![a-z])(?:{_NAMES})|(?<![a-z_])(?:code|authkey))(?:=|%3D|\\u003d))[^&;\s\"'<>\\]+"
)
# [?&]key=...&token=...: common words, so only in a query.
_IN_QUERY: Final = re.compile(r"(?i)([?&](?:key|token)=)[^&;\s\"'<>\\]+")
# "access_token": "...", also where that stands in a text of JSON itself, with backslashes before the quotes.
_IN_JSON: Final = re.compile(
    rf"(?i)([\"'](?:{_NAMES}|secret|token|client_?state)\\{{0,8}}[\"']\s{{0,20}}:\s{{0,20}}\\{{0,8}}[\"'])"
    r"(?:[^\"'\\]|\\+[^\"'\\])+"
)
_IN_HEADER: Final = re.compile(
    r"(?i)\b((?:x-functions-key|x-identity-header|ocp-apim-subscription-key|account_?key|shared_?access_?key)"
    r"\s{0,20}:\s{0,20}|authorization\s{0,20}:\s{0,20}basic\s{1,20})[^&;,\s\"'<>\\]+"
)
_BEARER: Final = re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]{8,}")
_JWT: Final = re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)*")
_IN_HOST: Final = re.compile(r"(://[^\s/:@\"'<>?#\\]{1,100}:)[^\s/@\"'<>?#\\]{1,200}@")
# Addresses of webhooks, and of files of a personal OneDrive, that are keys in themselves: whoever has one may use it.
# https://api.slack.com/messaging/webhooks, https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors
_SLASH: Final = r"(?:\\{0,4}/|%2F)"
_WEBHOOK: Final = re.compile(
    rf"(?i)\b((?:hooks\.slack(?:-gov)?\.com{_SLASH}(?:services|workflows|triggers)"
    rf"|(?:webhook|outlook)\.office(?:365)?\.com{_SLASH}webhook[a-z0-9]*"
    rf"|discord(?:app)?\.com{_SLASH}api{_SLASH}webhooks|files\.1drv\.com){_SLASH}"
    r"|api\.telegram\.org/bot)(?:[^\s\"'<>?&\\]|\\{1,4}/)+"
)

_NAME_HINTS: Final = (
    "token",
    "secret",
    "key",
    "pass",
    "pwd",
    "sig",
    "tempauth",
    "assertion",
    "clientstate",
    "client_state",
)
# With each pattern what a text must hold for it to match: most texts hold no secret, and every log line is looked at.
_REDACTIONS: Final = (
    (("=", "%3d", "\\u003d"), _ASSIGNED, r"\1***"),
    (("key=", "token="), _IN_QUERY, r"\1***"),
    (_NAME_HINTS, _IN_JSON, r"\1***"),
    (("key", "x-identity-header", "authorization"), _IN_HEADER, r"\1***"),
    (("bearer",), _BEARER, r"\1***"),
    (("slack", "office", "discord", "1drv", "telegram"), _WEBHOOK, r"\1***"),
    (("eyj",), _JWT, "***"),
    (("://",), _IN_HOST, r"\1***@"),
)


def redacted(text: str) -> str:
    """Return the text without the keys in it: SAS signatures, account keys, tokens, passwords, webhooks' paths.

    >>> redacted("GET https://a.blob.core.windows.net/dmf/x?sv=2014-02-14&sig=abc%3D")
    'GET https://a.blob.core.windows.net/dmf/x?sv=2014-02-14&sig=***'
    >>> redacted('{"access_token": "abc", "expires_in": 3599}')
    '{"access_token": "***", "expires_in": 3599}'
    """
    folded = text.lower()
    for hints, pattern, shown in _REDACTIONS:
        if any(hint in folded for hint in hints):
            text = pattern.sub(shown, text)
    return text
