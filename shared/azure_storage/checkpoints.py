"""Small saved notes about the app's own work, ``watch/<name>``, as flows read and change them.

A note that is damaged, or that another version of the app has written, counts as empty in the parts that cannot be
read: what it said is found out again, and nothing stands still for it.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from shared.app import Services
from shared.runs.store import Mark, RecordChanged

# Tries to change a note that another worker, or another thread, changes at the same moment.
TRIES: Final = 10


def read_note(name: str, services: Services) -> Mark:
    """Return a note; an empty one if there is none, or none that can be read. Raises TryAgain, NeedsPerson."""
    return services.store.read_mark(name, anew=True)


def change_note(name: str, change: Callable[[dict[str, str]], None], services: Services) -> None:
    """Read a note, let its content be changed, and write it; again if somebody else has written it meanwhile.

    change: changes the content in place; it may be called several times. Raises RecordChanged, TryAgain, NeedsPerson.
    """
    for tries_left in reversed(range(TRIES)):
        mark = read_note(name, services)
        change(mark.content)
        try:
            services.store.write_mark(name, mark)
        except RecordChanged:
            if not tries_left:
                raise
        else:
            return


def moment_of(text: str | None) -> datetime | None:
    """Return the moment of a note's text, in UTC; None for a text that is none."""
    try:
        moment = datetime.fromisoformat(text or "")
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # OverflowError: the year 1 east of Greenwich
        return None
