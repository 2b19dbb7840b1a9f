"""The queues of the app, present and past. Apart from what sends to them, because triggers name them at import."""

from collections.abc import Mapping
from typing import Final

WORK: Final = "work"
# The queues of older versions, each with its function. Nobody reads their messages any more: the timer finds what they
# were about. Their poison messages are still reported.
OLDER_QUEUES: Final[Mapping[str, str]] = {
    "inbound-looks": "look_for_files",
    "inbound-work": "advance_imports",
    "outbound-work": "advance_exports",
}

# Where the host puts a message that failed maxDequeueCount times (host.json).
# https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue-trigger#poison-messages
POISON: Final = "-poison"
