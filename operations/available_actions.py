"""What a person may do about a run, a record, a flow or a list, and what is said before it is done. Pure words.

What is then done is ``actions.py``; who may do it is asked in ``operations/``.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from shared.execution import LOST_SUBMITS
from shared.runs.rows import RunRow
from shared.runs.run import WITH_FO, Direction, Outcome, Run, State


class Verb(StrEnum):
    """What a person may do, as it stands in addresses."""

    RUN_AGAIN = "run-again"
    RUN_ALL_AGAIN = "run-all-again"
    CHECK_NOW = "check-now"
    GIVE_UP = "give-up"  # cancel
    SUBMIT_AGAIN = "submit-again"
    FREE_PROJECT = "free-project"
    PUT_ASIDE = "put-aside"
    PAUSE = "pause"
    RESUME = "resume"
    EXPORT_NOW = "export-now"
    LOOK_NOW = "look-now"

    @classmethod
    def _missing_(cls, value: object) -> "Verb | None":
        return cls.GIVE_UP if value == "cancel" else None


# Verbs that are not done without a reason.
NEEDS_WHY = frozenset({Verb.GIVE_UP, Verb.PAUSE, Verb.SUBMIT_AGAIN, Verb.FREE_PROJECT, Verb.PUT_ASIDE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One thing that a person may do, with what comes of it."""

    verb: Verb
    label: str
    words: str

    @property
    def needs_why(self) -> bool:
        """Whether it is not done without a reason."""
        return self.verb in NEEDS_WHY


def of_run(
    run: Run, *, is_paused: bool, is_holding: bool = False, is_behind: bool = False, can_be_again: bool = True
) -> tuple[Offer, ...]:
    """Return what may be done about a run: nothing that is known to be refused.

    is_paused: its lane is; is_holding: it is cancelled and reserves still; is_behind: it waits for its turn;
    can_be_again: nothing that is known stands against running it again.
    """
    free = (Offer(verb=Verb.FREE_PROJECT, label="Free the project now", words=when_freed(run)),) if is_holding else ()
    if run.ended:
        again = (
            () if run.rerun or not can_be_again else (Offer(verb=Verb.RUN_AGAIN, label="Run again", words=_again(run)),)
        )
        return (*again, *free)
    offers = []
    if not is_paused and not is_behind:
        words = "The app checks this run now, instead of when it is due."
        offers.append(Offer(verb=Verb.CHECK_NOW, label="Check now", words=words))
    if may_submit_again(run):
        offers.append(Offer(verb=Verb.SUBMIT_AGAIN, label="Submit again", words=_when_submitted_again(run)))
    if run.can_be_cancelled:
        offers.append(Offer(verb=Verb.GIVE_UP, label="Cancel", words=when_cancelled(run)))
    return (*offers, *free)


def may_submit_again(run: Run) -> bool:
    """Return whether the app leaves it to a person to submit once more."""
    return not run.ended and run.state is State.SUBMITTING and run.lost_submits >= LOST_SUBMITS


def _when_submitted_again(run: Run) -> str:
    return (
        f"F&O gets {run.file.name} once more, under a new execution id. If one of the earlier executions is there "
        f"after all, F&O does it twice: see {_job_history(run)} first."
    )


def when_freed(run: Run) -> str:
    """Return what comes of freeing what a cancelled run has reserved."""
    return (
        f"Other runs of the data project {run.data_project} may submit at once. If F&O is still working on one "
        "of its executions, F&O redefines the project under it, and rows may be lost or mixed up: see "
        f"{_job_history(run)} that it has ended."
    )


def of_damaged(name: str) -> tuple[Offer, ...]:
    """Return what may be done about a record that cannot be read."""
    words = (
        f"The record is moved to damaged/{name}, and its lane goes on. Nothing is deleted. If F&O may be working on "
        "its file, see F&O under Data management > Job history first. A file that is still in Input is taken up anew."
    )
    return (Offer(verb=Verb.PUT_ASIDE, label="Put aside", words=words),)


def _again(run: Run) -> str:
    if run.direction is Direction.EXPORT:
        return (
            f"F&O will export {run.data_project} of {run.company} once more. With incremental push the package holds "
            "only what has changed since the last export that F&O made."
        )
    words = f"F&O will import the rows of {run.file.name} once more, from the file as it lies in {run.file.folder}."
    match run.outcome:
        case Outcome.SUCCEEDED:
            return f"{words} All of them are in F&O already."
        case Outcome.PARTIALLY_SUCCEEDED:
            return f"{words} Those without an error are in F&O already."
        case Outcome.CANCELLED_BY_PERSON | Outcome.UNKNOWN if run.submissions:
            return f"{words} They may be in F&O already: see {_job_history(run)} first."
    return words


def when_cancelled(run: Run) -> str:
    """Return what comes of cancelling a run."""
    if run.direction is Direction.EXPORT:
        if run.state is State.PLANNED:
            return "F&O was not told of this export, and will not be."
        return (
            f"F&O may go on with the export {run.execution_id}, and its package is not delivered. With incremental "
            f"push no later export holds its changes: download the package in {_job_history(run)}. {_STAYS_RESERVED}"
        )
    if run.state in WITH_FO:
        return (
            f"F&O may have this import, and may go on and import the rows: cancelling does not stop F&O. Cancel it in "
            f"{_job_history(run)} too. The app sends nothing more, and moves the file to Error. {_STAYS_RESERVED}"
        )
    if run.outcome:
        return (
            f"Its outcome, {run.outcome.value}, is known and stays. The app passes it, and files it as soon as "
            "OneDrive lets it."
        )
    return "F&O was not told of this file, so nothing of it is imported. The app moves it to Error."


_STAYS_RESERVED = (
    "Other runs of its data project wait until F&O has ended the execution, or does not know it for good; 'Free the "
    "project now' ends that wait."
)


def _job_history(run: Run) -> str:
    named = f" (execution {run.execution_id})" if run.execution_id else ""
    return f"F&O under Data management > Job history{named}"


def of_lane(name: str, kind: Direction, *, is_paused: bool) -> tuple[Offer, ...]:
    """Return what may be done about a flow and its lane."""
    if is_paused:
        return (Offer(verb=Verb.RESUME, label="Resume", words=f"{name} goes on where it stands."),)
    pause = Offer(
        verb=Verb.PAUSE,
        label="Pause",
        words=f"Nothing of {name} is begun and nothing is asked of F&O until it is resumed; every flow of the same "
        "data project stands still with it. What F&O has begun goes on there. New files are seen, and wait.",
    )
    if kind is Direction.IMPORT:
        return (pause,)
    words = f"F&O begins the export {name} now, whenever its next one is due."
    return (pause, Offer(verb=Verb.EXPORT_NOW, label="Export now", words=words))


@dataclass(frozen=True, slots=True, kw_only=True)
class ToRunAgain:
    """The ended runs that are run again if all that a list shows are: the newest first, as many as go at once."""

    rows: tuple[RunRow, ...]
    has_more: bool
    looked_back_to: datetime | None = None  # set if older runs were not looked at: there may be more


def of_list(again: ToRunAgain | None) -> tuple[Offer, ...]:
    """Return what may be done about a list; again: what running all of it again touches, None if it is not filtered."""
    look = Offer(verb=Verb.LOOK_NOW, label="Look at Input now", words="The app lists every Input folder now.")
    if again is None or not again.rows:
        return (look,)
    words = (
        f"{_counted(again)} F&O will import the rows of each file once more, and export each data project once more. "
        "What was run again already is left out, and so is what was opened after this list was shown."
    )
    return (look, Offer(verb=Verb.RUN_ALL_AGAIN, label="Run all of these again", words=words))


def _counted(again: ToRunAgain) -> str:
    """Return how many runs are run again, and which: people read this before they say yes."""
    newest, oldest = again.rows[0], again.rows[-1]
    more = " There are more that match: do it once more for those." if again.has_more else ""
    if again.looked_back_to:
        more = f" Runs from before {_moment(again.looked_back_to)} are not touched: filter by day to reach them."
    if len(again.rows) == 1:
        return f"1 ended run is run again: {newest.file_name}, opened {_moment(newest.opened)}.{more}"
    which = "The newest" if again.has_more else "All"
    return (
        f"{which} {len(again.rows)} ended runs that match the filter are run again, on whatever page they stand, "
        f"opened from {_moment(oldest.opened)} to {_moment(newest.opened)}.{more}"
    )


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
