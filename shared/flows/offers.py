"""What a person may do about a run, a flow or a list, and what is said plainly before it is done. Pure words.

What is then done is ``actions.py``; who may do it is asked in ``operations/``.
"""

from dataclasses import dataclass
from enum import StrEnum

from shared.domain.run import WITH_FO, FlowKind, Outcome, Run, State


class Verb(StrEnum):
    """What a person may do, as it stands in addresses."""

    RUN_AGAIN = "run-again"
    RUN_ALL_AGAIN = "run-all-again"
    CHECK_NOW = "check-now"
    GIVE_UP = "give-up"
    PAUSE = "pause"
    RESUME = "resume"
    EXPORT_NOW = "export-now"
    LOOK_NOW = "look-now"


# Verbs that are not done without a reason.
NEEDS_WHY = frozenset({Verb.GIVE_UP, Verb.PAUSE})


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


def of_run(run: Run, *, is_paused: bool) -> tuple[Offer, ...]:
    """Return what may be done about a run; is_paused: its lane is."""
    if run.ended:
        return () if run.again else (Offer(verb=Verb.RUN_AGAIN, label="Run again", words=_again(run)),)
    offers = []
    if not is_paused:
        words = "The app looks at this run now, instead of when it is due."
        offers.append(Offer(verb=Verb.CHECK_NOW, label="Check now", words=words))
    if run.can_be_given_up:
        offers.append(Offer(verb=Verb.GIVE_UP, label="Give up", words=when_given_up(run)))
    return tuple(offers)


def _again(run: Run) -> str:
    if run.flow is FlowKind.EXPORT:
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
        case Outcome.GIVEN_UP | Outcome.UNKNOWN if run.submissions:
            return f"{words} They may be in F&O already: see {_job_history(run)} first."
    return words


def when_given_up(run: Run) -> str:
    """Return what comes of giving a run up."""
    if run.flow is FlowKind.EXPORT:
        if run.state is State.PLANNED:
            return "F&O was not told of this export, and will not be."
        return (
            f"F&O may go on with the export {run.execution_id}, and its package is not delivered. With incremental "
            f"push no later export holds its changes: download the package in {_job_history(run)}."
        )
    if run.state in WITH_FO:
        return (
            f"F&O may have this import, and may go on and import the rows: giving up does not stop F&O. Cancel it in "
            f"{_job_history(run)}. The app sends nothing more, and puts the file into Error."
        )
    return "F&O was not told of this file, so nothing of it is imported. The app puts it into Error."


def _job_history(run: Run) -> str:
    named = f" (execution {run.execution_id})" if run.execution_id else ""
    return f"F&O under Data management > Job history{named}"


def of_lane(name: str, kind: FlowKind, *, is_paused: bool) -> tuple[Offer, ...]:
    """Return what may be done about a flow and its lane."""
    if is_paused:
        return (Offer(verb=Verb.RESUME, label="Resume", words=f"{name} goes on where it stands."),)
    pause = Offer(
        verb=Verb.PAUSE,
        label="Pause",
        words=f"Nothing of {name} is begun and nothing is asked of F&O until it is resumed; every flow of the same "
        "data project stands still with it. What F&O has begun goes on there. New files are seen, and wait.",
    )
    if kind is FlowKind.IMPORT:
        return (pause,)
    words = f"F&O begins the export {name} now, whenever its next one is due."
    return (pause, Offer(verb=Verb.EXPORT_NOW, label="Run export now", words=words))


def of_list(*, filters_any: bool) -> tuple[Offer, ...]:
    """Return what may be done about a list; filters_any: it is filtered, and shows runs that have ended."""
    look = Offer(verb=Verb.LOOK_NOW, label="Look at Input now", words="The app lists every Input folder now.")
    if not filters_any:
        return (look,)
    words = (
        "Every ended run that the filter shows is run again, the newest first, those on the next pages included. F&O "
        "will import the rows of each file once more. What was run again already is left out."
    )
    return (look, Offer(verb=Verb.RUN_ALL_AGAIN, label="Run all of these again", words=words))
