"""Which runs a list shows, and which ones an action about many touches. What cannot be read is refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final

from operations.arguments import FILTERS
from shared.runs.run import MOVES, Outcome, State

if TYPE_CHECKING:
    from shared.runs.rows import RunRow

# The choice of outcomes that a list offers beside the outcomes themselves.
NOT_SUCCEEDED: Final = "NotSucceeded"

NAMES: Final = tuple(FILTERS)
OUTCOMES: Final = (NOT_SUCCEEDED, *(outcome.value for outcome in Outcome))


class NotUnderstood(ValueError):
    """A request holds something that cannot be read; the text says what, and what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What a list is to show; what is empty filters nothing. Texts are compared regardless of case."""

    flow: str = ""  # "import", "export", or the name of one in the settings
    company: str = ""
    data_project: str = ""
    state: State | None = None
    outcome: str = ""  # an outcome, or NOT_SUCCEEDED
    day: date | None = None  # on which runs were opened, in UTC
    text: str = ""  # in the file's name, the execution id or the run id

    @property
    def is_any(self) -> bool:
        """Whether anything is filtered."""
        return self != Filters()

    def fit(self, row: "RunRow") -> bool:
        """Return whether a run is to be shown."""
        return (
            (not self.flow or self.flow.casefold() in (row.flow.value, row.integration.casefold()))
            and (not self.company or self.company.casefold() == row.company.casefold())
            and (not self.data_project or self.data_project.casefold() == row.data_project.casefold())
            and self.state in (None, row.state)
            and (not self.outcome or self._fits_outcome(row))
            and self.day in (None, row.opened.date())
            and any(self.text.casefold() in each.casefold() for each in (row.file_name, row.execution_id, row.run_id))
        )

    def _fits_outcome(self, row: "RunRow") -> bool:
        if row.outcome is None:
            return False
        return row.outcome.needs_telling if self.outcome == NOT_SUCCEEDED else row.outcome.value == self.outcome

    @property
    def only_failed(self) -> bool:
        """Whether only runs can fit that were not wholly successful."""
        failed = {NOT_SUCCEEDED, *(outcome.value for outcome in Outcome if outcome.needs_telling)}
        return self.outcome in failed

    @property
    def no_ended(self) -> bool:
        """Whether no run that has ended can fit."""
        return self.state is not None and all(moves[self.state] for moves in MOVES.values() if self.state in moves)


def read_filters(values: Mapping[str, str]) -> Filters:
    """Return the filters of a query, or of the JSON of an action.

    Raises NotUnderstood for what cannot be read, all of it together, with the values that are allowed.
    """
    given = {name: values.get(name, "").strip() for name in NAMES}
    wrong: list[str] = []
    filters = Filters(
        flow=given["flow"],
        company=given["company"],
        data_project=given["project"],
        state=_state(given["state"], wrong),
        outcome=_outcome(given["outcome"], wrong),
        day=_day(given["day"], wrong),
        text=given["text"],
    )
    if wrong:
        raise NotUnderstood(" ".join(wrong))
    return filters


def _state(text: str, wrong: list[str]) -> State | None:
    if not text:
        return None
    try:
        return State(text.casefold())  # words of older versions included
    except ValueError:
        wrong.append(f"state: {text!r} is not a state. Use one of: {', '.join(State)}.")
        return None


def _outcome(text: str, wrong: list[str]) -> str:
    found = next((outcome for outcome in OUTCOMES if outcome.casefold() == text.casefold()), "")
    if text and not found:
        wrong.append(f"outcome: {text!r} is not an outcome. Use one of: {', '.join(OUTCOMES)}.")
    return found


def _day(text: str, wrong: list[str]) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        wrong.append(f"day: {text!r} is not a day. Write it as YYYY-MM-DD, in UTC, such as 2026-11-28.")
        return None
