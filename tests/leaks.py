"""What opens a door, so that tests can search for it in all that the app writes."""

import re
from typing import Final

# A SAS signature, OneDrive's key in a download or upload URL, a bearer token: each with its value, unless it is
# blacked out, by us as *** or by the Azure SDK as REDACTED.
DOOR_OPENERS: Final = re.compile(r"(?i)(sig=|tempauth=|bearer )(?!\*\*\*|REDACTED)\w|eyJ[\w-]{8,}\.[\w-]{8,}")


def leaks(text: str) -> list[str]:
    """Return the places where a text shows something that opens a door, each with a little of what is around it."""
    return [text[max(found.start() - 60, 0) : found.end() + 10] for found in DOOR_OPENERS.finditer(text)]
