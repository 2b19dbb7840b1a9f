"""What pages and commands call the places, states, steps and outcomes of runs."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from shared.runs.run import Run
from shared.runs.states import Outcome, State


class Place(StrEnum):
    """Where a run stands among the others, in the order in which a list shows them."""

    NEEDS_PERSON = "needs a person"
    RUNNING = "running"  # under way, or the next of its lane
    PAUSED = "paused"  # under way, or the next, of a lane that a person has paused
    ASIDE = "set aside"  # others of its lane pass it
    WAITING = "waiting"  # behind another run of its lane
    ENDED = "ended"


def place_of(*, needs_person: bool, is_aside: bool, is_behind: bool, is_paused: bool) -> Place:
    """Return the place of an open run. is_behind: it waits for another run of its lane; is_paused: its lane is."""
    if needs_person:
        return Place.NEEDS_PERSON
    if is_aside:
        return Place.ASIDE
    if is_behind:
        return Place.WAITING
    return Place.PAUSED if is_paused else Place.RUNNING


def took_and_waited(
    opened: datetime, ended: datetime | None, waited_s: float | None
) -> tuple[timedelta | None, timedelta | None]:
    """Return how long a run took from its opening to its end, and how much of that it waited; None: not known (yet)."""
    if ended is None:
        return None, None
    took = ended - opened
    return took, None if waited_s is None else min(timedelta(seconds=waited_s), took)


STATE_TEXT: Final[Mapping[State, str]] = {
    State.FOUND: "The file is in Input.",
    State.CLAIMED: "The file is in Processing.",
    State.FINISHED: "The outcome is known.",
    State.FILED: "The file is in Success or Error.",
    State.WITHDRAWN: "A person removed the file before it was submitted to F&O.",
    State.PLANNED: "The export is due.",
    State.READY: "F&O has finished the export.",
    State.DELIVERED: "The package is in OneDrive.",
    State.FAILED: "F&O has no package for this export.",
    State.SUBMITTING: "F&O may or may not have received the request.",
    State.EXECUTING: "F&O is processing it.",
    State.CANCELLED: "A person cancelled it.",
}

# What a run waits for in a state, if nothing is wrong and it is the next of its lane.
WAITS_FOR: Final[Mapping[State, str]] = {
    State.FOUND: "the file to be complete; then it is moved to Processing",
    State.CLAIMED: "the upload of the package to F&O, and for F&O to accept another execution",
    State.SUBMITTING: "certainty that F&O has received the request",
    State.EXECUTING: "F&O to finish the execution",
    State.FINISHED: "F&O's error files, to save them beside the file",
    State.PLANNED: "F&O to accept another execution",
    State.READY: "F&O to return the package",
    State.CANCELLED: "OneDrive, to move the file to Error",
}

STEP_TITLE: Final[Mapping[str, str]] = {
    "claim": "Move the file to Processing",
    "prepare": "Check the package, upload it to F&O, reserve the data project",
    "upload": "Check the package and upload it to F&O",
    "choose_id": "Choose and save the execution id",
    "submit": "Submit to F&O, or check whether it was submitted",
    "poll": "Ask F&O for the status",
    "watch": "Ask F&O for the status",
    "file_away": "Move the file to Success or Error",
    "deliver": "Copy the package to OneDrive",
}
# Steps in records that older versions have written; what they led to cannot be told from the states of this one.
OLDER_STEPS: Final = frozenset({"upload", "watch"})

# What a person did, as it is saved in the history of a run.
ACTION_TITLE: Final[Mapping[str, str]] = {
    "run_again": "Run again",
    "check_now": "Check now",
    "give_up": "Cancel",
    "submit_again": "Submit again",
    "export_now": "Export now",
    "skip": "Skip",
}


def outcome_label(outcome: Outcome | None) -> str:
    """Return what people read of an outcome; a run that ended without one has "Ended"."""
    return outcome.label if outcome else "Ended"


def state_text(run: Run) -> str:
    """Return one sentence about how far a run is."""
    if run.state is State.FILED or (run.state is State.FOUND and run.rerun_of):
        return f"The file is in {run.file.folder}."
    if run.outcome is Outcome.CANCELLED_BY_PERSON:
        return STATE_TEXT[State.CANCELLED]
    return STATE_TEXT[run.state]
