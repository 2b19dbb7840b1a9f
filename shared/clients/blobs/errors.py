"""What a pre-authenticated URL that is not accepted means."""

from datetime import UTC, datetime
from typing import Final

from shared.errors import RemoteCall, TryAgain
from shared.moments import utc_text
from shared.secret import SecretUrl

SERVICE: Final = "blob storage"


REQUEST_ID_HEADER: Final = "x-ms-request-id"


# OneDrive's codes, of its API and of the addresses that it gives for a file's content.
MALWARE: Final = ("malwareDetected", "virusSuspicious")


class SasExpired(TryAgain):
    """A pre-authenticated URL is not accepted (any more): ask for a new one."""


def expired(url: SecretUrl, call: RemoteCall) -> SasExpired:
    """Return the error for a URL that is not accepted: it has run out, or was never good."""
    ends = url.expires
    if ends and ends > datetime.now(UTC):
        return SasExpired(
            f"{url} is not accepted, although it is valid until {utc_text(ends)}. If a new one is refused "
            "too, a firewall of the storage account blocks the app",
            call=call,
        )
    return SasExpired(f"{url} is no longer accepted; a new one is needed", call=call)
