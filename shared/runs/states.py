"""The states of a run, and what may follow what: the only definition, what people may do included.

The diagrams of the documentation are made from these tables. What a state makes the app do is ``imports/steps.py`` and
``exports/steps.py``; ``Run.moved_to`` and ``Run.cancelled`` are the ways from state to state.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Direction(StrEnum):
    """Which way the data goes."""

    IMPORT = "import"  # OneDrive -> F&O
    EXPORT = "export"  # F&O -> OneDrive


class State(StrEnum):
    """What is already true of a run. After a crash, this is what we know."""

    # OneDrive to F&O:
    FOUND = "found"  # the file is in Input and has a run
    CLAIMED = "claimed"  # the file is in Processing
    FINISHED = "finished"  # the outcome is known and saved
    FILED = "filed"  # the file is in Success or Error
    WITHDRAWN = "withdrawn"  # a person took the file away before F&O was told of it
    # F&O to OneDrive:
    PLANNED = "planned"  # an export is due and its file name is fixed
    READY = "ready"  # F&O has finished the export
    DELIVERED = "delivered"  # the package is in OneDrive
    FAILED = "failed"  # F&O has no package for us and will not have one
    # Both ways:
    SUBMITTING = "submitting"  # the execution under the last id may or may not have reached F&O
    EXECUTING = "executing"  # F&O knows the execution
    CANCELLED = "cancelled"  # a person has ended the run; an import is over once its file is moved

    @classmethod
    def _missing_(cls, value: object) -> "State | None":
        """Read what older versions have saved: an uploaded package was a state of its own."""
        return cls.CLAIMED if value == "uploaded" else None


# What may follow what. Only a person's word leads to CANCELLED (``Run.cancelled``), only the app leads elsewhere.
IMPORT_MOVES: Final[Mapping[State, frozenset[State]]] = {
    State.FOUND: frozenset({State.CLAIMED, State.FINISHED, State.WITHDRAWN, State.CANCELLED}),
    State.CLAIMED: frozenset({State.SUBMITTING, State.FINISHED, State.WITHDRAWN, State.CANCELLED}),
    # Back to CLAIMED only if it is certain that F&O has not begun: nothing was sent, F&O refused, or after the fence.
    State.SUBMITTING: frozenset({State.EXECUTING, State.CLAIMED, State.FINISHED, State.CANCELLED}),
    # Back to CLAIMED only if the execution has ended in contention and has certainly changed nothing.
    State.EXECUTING: frozenset({State.FINISHED, State.CLAIMED, State.CANCELLED}),
    State.FINISHED: frozenset({State.FILED, State.CANCELLED}),
    State.CANCELLED: frozenset({State.FILED}),
    State.FILED: frozenset(),
    State.WITHDRAWN: frozenset(),
}

EXPORT_MOVES: Final[Mapping[State, frozenset[State]]] = {
    State.PLANNED: frozenset({State.SUBMITTING, State.CANCELLED}),
    State.SUBMITTING: frozenset({State.EXECUTING, State.PLANNED, State.CANCELLED}),
    State.EXECUTING: frozenset({State.READY, State.FAILED, State.CANCELLED}),
    State.READY: frozenset({State.DELIVERED, State.FAILED, State.CANCELLED}),
    State.DELIVERED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
}

MOVES: Final[Mapping[Direction, Mapping[State, frozenset[State]]]] = {
    Direction.IMPORT: IMPORT_MOVES,
    Direction.EXPORT: EXPORT_MOVES,
}

# How far a run has come in each state. A move to where it has been before only begins the same thing once more: failed
# tries go on being counted, and a problem stays open.
PROGRESS: Final[Mapping[State, int]] = {
    State.FOUND: 0,
    State.PLANNED: 0,
    State.CLAIMED: 1,
    State.SUBMITTING: 2,
    State.EXECUTING: 3,
    State.FINISHED: 4,
    State.READY: 4,
    State.CANCELLED: 5,
    State.FILED: 6,
    State.DELIVERED: 6,
    State.WITHDRAWN: 6,
    State.FAILED: 6,
}

# States in which nobody has begun a run: it waits for its turn in its lane.
NOT_BEGUN: Final = frozenset({State.FOUND, State.PLANNED})
# States before a submit: the next one will reserve what it needs anew.
NOT_SUBMITTED: Final = NOT_BEGUN | {State.CLAIMED}
# States in which F&O may be at work on a run, or may begin at any moment.
WITH_FO: Final = frozenset({State.SUBMITTING, State.EXECUTING})


class Outcome(StrEnum):
    """How a run went, as it is saved; what people read is ``label``."""

    SUCCEEDED = "Succeeded"
    PARTIALLY_SUCCEEDED = "PartiallySucceeded"  # some rows are in F&O, some are not
    FAILED = "Failed"
    CANCELED_IN_FO = "Canceled"  # by a person in F&O
    REJECTED = "Rejected"  # never imported: no package, no company, or F&O refused it
    UNKNOWN = "Unknown"  # F&O had begun, and has forgotten how it ended
    WITHDRAWN = "Withdrawn"  # a person took the file away
    CANCELLED_BY_PERSON = "GivenUp"  # a person cancelled the run; F&O may have gone on with it

    @property
    def label(self) -> str:
        """What people read. Where the saved word does not say who cancelled, it says so."""
        match self:
            case Outcome.CANCELLED_BY_PERSON:
                return "Cancelled by a person"
            case Outcome.CANCELED_IN_FO:
                return "Canceled in F&O"
            case _:
                return self.value

    @property
    def needs_telling(self) -> bool:
        """Whether a person has to hear of it."""
        return self not in (Outcome.SUCCEEDED, Outcome.WITHDRAWN, Outcome.CANCELLED_BY_PERSON)
