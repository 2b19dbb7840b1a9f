"""What a person may do about a run, a record, a flow or a list, and what each action will do. Reads nothing.

The actions themselves are in ``actions.py`` and ``reruns.py``; who may ask for one is decided in ``handlers.py``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from operations.labels import outcome_label
from shared.execution import is_left_to_person
from shared.moments import utc_text
from shared.runs.drain import Drain
from shared.runs.rows import RunRow
from shared.runs.run import Run
from shared.runs.states import WITH_FO, Direction, Outcome, State


class Verb(StrEnum):
    """What a person may do, as it stands in addresses."""

    RUN_AGAIN = "run-again"
    RUN_ALL_AGAIN = "run-all-again"
    CHECK_NOW = "check-now"
    CANCEL = "give-up"
    SUBMIT_AGAIN = "submit-again"
    FREE_PROJECT = "free-project"
    PUT_ASIDE = "put-aside"
    PAUSE = "pause"
    RESUME = "resume"
    EXPORT_NOW = "export-now"
    SCAN_NOW = "look-now"
    SKIP = "skip"
    DRAIN = "drain"
    END_DRAIN = "end-drain"

    @classmethod
    def _missing_(cls, value: object) -> "Verb | None":
        """Accept the words of the buttons where the address has an older one."""
        return {"cancel": cls.CANCEL, "scan-now": cls.SCAN_NOW}.get(str(value))


# Verbs that need a reason.
NEEDS_WHY = frozenset({Verb.CANCEL, Verb.PAUSE, Verb.SUBMIT_AGAIN, Verb.FREE_PROJECT, Verb.PUT_ASIDE, Verb.DRAIN})


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionOption:
    """One thing that a person may do: its button, and what it will do."""

    verb: Verb
    label: str
    effect: str

    @property
    def needs_why(self) -> bool:
        """Whether it needs a reason."""
        return self.verb in NEEDS_WHY


def of_run(
    run: Run,
    *,
    is_paused: bool,
    is_holding: bool = False,
    is_behind: bool = False,
    can_rerun: bool = True,
    is_stopping: bool = False,
    waiting: Sequence[str] = (),
) -> tuple[ActionOption, ...]:
    """Return what may be done about a run: nothing that is known to be refused.

    is_paused: its lane is; is_holding: it is cancelled and still has a reservation; is_behind: it waits for its turn;
    can_rerun: nothing that is known prevents a rerun; is_stopping: it has ended, and its lane was stopped at it;
    waiting: it has ended, and these imports wait for its file.
    """
    options = []
    if run.ended:
        if can_rerun and not run.rerun:
            effect = _effect_of_rerun(run)
            if is_stopping:
                effect = f"{effect} The files behind it wait until the new run has succeeded."
            elif waiting:
                effect = f"{effect} Files of {', '.join(waiting)} wait until the new run has succeeded."
            options.append(ActionOption(verb=Verb.RUN_AGAIN, label="Run again", effect=effect))
        if is_stopping or waiting:
            who = ["The files behind it"] if is_stopping else []
            who += [f"files of {', '.join(waiting)}"] if waiting else []
            whose = " and ".join(who)
            effect = f"{whose[:1].upper()}{whose[1:]} go on without {run.file.name}. The file stays where it is."
            options.append(ActionOption(verb=Verb.SKIP, label="Skip", effect=effect))
    else:
        if not is_paused and not is_behind:
            effect = "The app checks this run now instead of at its due time."
            options.append(ActionOption(verb=Verb.CHECK_NOW, label="Check now", effect=effect))
        if may_submit_again(run):
            options.append(ActionOption(verb=Verb.SUBMIT_AGAIN, label="Submit again", effect=_effect_of_submit(run)))
        if run.can_be_cancelled:
            options.append(ActionOption(verb=Verb.CANCEL, label="Cancel", effect=effect_of_cancel(run)))
    if is_holding:
        options.append(
            ActionOption(verb=Verb.FREE_PROJECT, label="Free the project now", effect=_effect_of_freeing(run))
        )
    return tuple(options)


def may_submit_again(run: Run) -> bool:
    """Return whether the app leaves it to a person to submit once more."""
    return not run.ended and run.state is State.SUBMITTING and is_left_to_person(run)


def _effect_of_submit(run: Run) -> str:
    return (
        f"F&O gets {run.file.name} once more, with a new execution id. If F&O did receive one of the earlier "
        f"executions, the file is processed twice: check {_job_history(run)} first."
    )


def _effect_of_freeing(run: Run) -> str:
    more = ", and so may runs that wait for its entities or for the Excel lock" if len(run.reserved) > 1 else ""
    return (
        f"Other runs of the data project {run.data_project} may submit at once{more}. If F&O is still processing one "
        "of its executions, F&O redefines the project meanwhile, and rows may be lost or mixed up: first check in "
        f"{_job_history(run)} that it has ended."
    )


def of_damaged(name: str, waiting: str = "") -> tuple[ActionOption, ...]:
    """Return what may be done about a record that cannot be read. waiting: the imports that wait for its file."""
    effect = (
        f"The record is moved to damaged/{name}, and its lane continues. Nothing is deleted. If F&O may be processing "
        "its file, check F&O under Data management > Job history first. A file that is still in Input gets a new run."
    )
    if waiting:
        effect = f"{effect} {waits_no_more(waiting)}"
    return (ActionOption(verb=Verb.PUT_ASIDE, label="Put aside", effect=effect),)


def waits_no_more(waiting: str) -> str:
    """Return which imports go on when a damaged record is put aside."""
    return (
        f"Files of {waiting} no longer wait for its file (order.after), even if it was not imported: pause {waiting} "
        "first if that matters."
    )


def _effect_of_rerun(run: Run) -> str:
    if run.direction is Direction.EXPORT:
        return (
            f"F&O will export {run.data_project} of {run.company} once more. With incremental push the package "
            "contains only what has changed since the last export that F&O made."
        )
    effect = f"F&O will import the rows of {run.file.name} once more, from the file as it is now in {run.file.folder}."
    match run.outcome:
        case Outcome.SUCCEEDED:
            return f"{effect} All of them are in F&O already."
        case Outcome.PARTIALLY_SUCCEEDED:
            return f"{effect} Those without an error are in F&O already."
        case Outcome.CANCELLED_BY_PERSON | Outcome.UNKNOWN if run.submissions:
            return f"{effect} They may be in F&O already: check {_job_history(run)} first."
    return effect


_STAYS_RESERVED = (
    "Other runs of its data project wait until the execution has ended in F&O, or F&O no longer knows it; 'Free the "
    "project now' ends that wait."
)


def effect_of_cancel(run: Run) -> str:
    """Return what cancelling a run does."""
    if run.direction is Direction.EXPORT:
        return result_of_cancel(run)
    if run.outcome:
        return f"{result_of_cancel(run)} The lane continues, and the app moves the file as soon as OneDrive allows it."
    return f"{result_of_cancel(run)} The app moves the file to Error."


def result_of_cancel(run: Run) -> str:
    """Return what stays true of a run that was cancelled, wherever its file is in the end."""
    if run.direction is Direction.EXPORT:
        if run.state is State.PLANNED:
            return "This export was not submitted to F&O, and will not be."
        return (
            f"F&O may continue with the export {run.execution_id}, and its package is not delivered. With incremental "
            f"push no later export contains its changes: download the package in {_job_history(run)}. {_STAYS_RESERVED}"
        )
    if run.state in WITH_FO:
        return (
            "F&O may have received this import, and may continue and import the rows: cancelling does not stop F&O. "
            f"Cancel it in {_job_history(run)} too. The app submits nothing more. {_STAYS_RESERVED}"
        )
    if run.outcome:
        return f"Its outcome, {outcome_label(run.outcome)}, is final."
    return "The file was not submitted to F&O, so none of it is imported."


def _job_history(run: Run) -> str:
    execution = f" (execution {run.execution_id})" if run.execution_id else ""
    return f"F&O under Data management > Job history{execution}"


def of_lane(
    name: str,
    direction: Direction,
    *,
    is_paused: bool,
    stopped: str = "",
    stays_stopped: bool = False,
    is_draining: bool = False,
    has_damaged_marks: bool = False,
) -> tuple[ActionOption, ...]:
    """Return what may be done about a flow and its lane.

    stopped: why strictOrder has stopped it at a file; stays_stopped: it has, and a person has paused it;
    has_damaged_marks: a mark of its failed files cannot be read.
    """
    aside = (
        (ActionOption(verb=Verb.PUT_ASIDE, label="Put aside", effect=_EFFECT_ON_MARKS),) if has_damaged_marks else ()
    )
    if is_paused:
        effect = f"{name} continues where it stopped."
        if stopped:
            effect = f"{stopped} {name} continues with the next file. The one that it was stopped at is skipped."
        elif stays_stopped:
            effect = f"The pause ends. {name} stays stopped at the file that did not succeed (strictOrder)."
        return (ActionOption(verb=Verb.RESUME, label="Resume", effect=effect), *aside)
    effect = (
        f"The app starts no run of {name} and does not poll F&O until it is resumed; every other flow of the same data "
        "project is paused with it. What F&O has started continues there. The app still finds new files, and they wait."
    )
    pause = ActionOption(verb=Verb.PAUSE, label="Pause", effect=effect)
    if direction is Direction.IMPORT or is_draining:
        return (pause, *aside)
    effect = f"The export {name} starts now, regardless of its schedule."
    return (pause, ActionOption(verb=Verb.EXPORT_NOW, label="Export now", effect=effect))


_EFFECT_ON_MARKS = (
    "The marks of failed files that cannot be read are moved to damaged/, and other imports no longer wait for those "
    "files. Check the failed runs first: they tell which files these may be. Nothing is deleted."
)
_EFFECT_OF_DRAIN = (
    "Within a minute the app starts nothing new: files stay in Input, no export starts, and no run is submitted to "
    "F&O. What F&O has received is followed to its end. Use it before an update of F&O; it lasts until you end it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RerunCandidates:
    """The ended runs that are run again if all that a list shows are: the newest first, as many as go at once."""

    rows: tuple[RunRow, ...]
    has_more: bool
    looked_back_to: datetime | None = None  # set if older runs were not looked at: there may be more


def of_list(candidates: RerunCandidates | None, drain: Drain | None = None) -> tuple[ActionOption, ...]:
    """Return what may be done about a list; candidates: None if it is not filtered."""
    if drain:
        effect = (
            "The app continues with everything that waits. An export that missed moments of its schedule starts once."
        )
        end = ActionOption(verb=Verb.END_DRAIN, label="End the drain", effect=effect)
        return () if drain.is_setting else (end,)
    effect = "The app scans every Input folder now."
    scan = ActionOption(verb=Verb.SCAN_NOW, label="Scan Input now", effect=effect)
    if candidates is None:
        return (scan, ActionOption(verb=Verb.DRAIN, label="Drain", effect=_EFFECT_OF_DRAIN))
    if not candidates.rows:
        return (scan,)
    effect = (
        f"{_count(candidates)} F&O will import the rows of each file once more, and export each data project once "
        "more. Runs that were run again already, or were opened after this list was shown, are left out."
    )
    return (scan, ActionOption(verb=Verb.RUN_ALL_AGAIN, label="Run all of these again", effect=effect))


def _count(candidates: RerunCandidates) -> str:
    """Return how many runs are run again, and which: people read this before they say yes."""
    newest, oldest = candidates.rows[0], candidates.rows[-1]
    more = " More runs match: repeat this for those." if candidates.has_more else ""
    if candidates.looked_back_to:
        more = f" Runs from before {utc_text(candidates.looked_back_to)} are not touched: filter by day to reach them."
    if len(candidates.rows) == 1:
        return f"1 ended run is run again: {newest.file_name}, opened {utc_text(newest.opened)}.{more}"
    which = "The newest" if candidates.has_more else "All"
    return (
        f"{which} {len(candidates.rows)} ended runs that match the filter are run again, on all pages of the list, "
        f"opened from {utc_text(oldest.opened)} to {utc_text(newest.opened)}.{more}"
    )
