"""What the two directions give the worker: their steps, and what differs between them beside."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta

from shared.app import Services
from shared.errors import (
    AppError,
)
from shared.runs.run import Run
from shared.runs.states import State

type Step = Callable[[Run, Services], Run]


class StepFailed(Exception):
    """A step has changed its run before it failed: ``run`` is as it is to be, ``error`` is judged as if raised."""

    def __init__(self, run: Run, error: AppError) -> None:
        super().__init__(str(error))
        self.run = run
        self.error = error


def _no_lock(_run: Run, _services: Services) -> AbstractContextManager[None] | None:
    return None


def _no_rest(_run: Run, _services: Services) -> int:
    return 0


def _note_nothing(_run: Run, _services: Services) -> None:
    return None


def _never(_run: Run, _services: Services) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class StateMachine:
    """What the runs of a direction go through."""

    steps: Mapping[State, Step]
    stuck_after: Callable[[Run, Services], timedelta]
    # What is held from before a run is saved as SUBMITTING until F&O has answered; None: nothing.
    lock: Callable[[Run, Services], AbstractContextManager[None] | None] = _no_lock
    # Whether no other file may pass this one, whatever keeps it.
    keeps_order: Callable[[Run, Services], bool] = _never
    # Seconds between the end of a run and the start of the next one of its lane.
    rest_s: Callable[[Run, Services], int] = _no_rest
    # Notes what others have to know of a run before its end is saved; the same again if that is tried again.
    note_end: Callable[[Run, Services], None] = _note_nothing
