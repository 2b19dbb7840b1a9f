"""Which runs a list shows, and which ones an action about many touches. What cannot be read is refused."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final

from operations.arguments import FILTERS
from operations.labels import outcome_label
from shared.runs.states import MOVES, Direction, Outcome, State

if TYPE_CHECKING:
    from shared.runs.rows import RunRow

# The choice of outcomes that a list offers beside the outcomes themselves.
NOT_SUCCEEDED: Final = "NotSucceeded"

NAMES: Final = tuple(FILTERS)
OUTCOMES: Final = (NOT_SUCCEEDED, *(outcome.value for outcome in Outcome))
# An outcome is accepted as it is saved, and as people read it.
_OUTCOME_OF: Final[Mapping[str, str]] = {
    **{outcome_label(outcome).casefold(): outcome.value for outcome in Outcome},
    **{outcome.casefold(): outcome for outcome in OUTCOMES},
}


class InvalidRequest(ValueError):
    """A request that cannot be read; the text says what is wrong, and what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What a list shows; what is empty filters nothing. Texts are compared regardless of case."""

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

    def match(self, row: "RunRow") -> bool:
        """Return whether a run is shown."""
        return (
            (not self.flow or self.flow.casefold() in (row.flow.value, row.integration.casefold()))
            and (not self.company or self.company.casefold() == row.company.casefold())
            and (not self.data_project or self.data_project.casefold() == row.data_project.casefold())
            and self.state in (None, row.state)
            and (not self.outcome or self._matches_outcome(row))
            and self.day in (None, row.opened.date())
            and any(self.text.casefold() in each.casefold() for each in (row.file_name, row.execution_id, row.run_id))
        )

    def _matches_outcome(self, row: "RunRow") -> bool:
        if row.outcome is None:
            return False
        return row.outcome.needs_telling if self.outcome == NOT_SUCCEEDED else row.outcome.value == self.outcome

    @property
    def only_failed(self) -> bool:
        """Whether only runs can match that were not wholly successful."""
        failed = {NOT_SUCCEEDED, *(outcome.value for outcome in Outcome if outcome.needs_telling)}
        return self.outcome in failed

    @property
    def no_ended(self) -> bool:
        """Whether no run that has ended can match."""
        return self.state is not None and all(moves[self.state] for moves in MOVES.values() if self.state in moves)

    def require_flow(self, in_settings: Collection[str]) -> None:
        """Raise InvalidRequest for a flow that the settings do not have; for a filter that no run matches."""
        allowed = [*(direction.value for direction in Direction), *in_settings]
        if self.flow and self.flow.casefold() not in (name.casefold() for name in allowed):
            raise InvalidRequest(
                f"flow: {self.flow!r} is not a flow in the settings. Use one of: {', '.join(allowed)}."
            )


def read_filters(values: Mapping[str, str]) -> Filters:
    """Return the filters of a query, or of the JSON of an action.

    Raises InvalidRequest for what cannot be read, all of it together, with the values that are allowed.
    """
    given = {name: values.get(name, "").strip() for name in NAMES}
    wrong: list[str] = []
    filters = Filters(
        flow=given["flow"],
        company=given["company"],
        data_project=given["project"],
        state=_read_state(given["state"], wrong),
        outcome=_read_outcome(given["outcome"], wrong),
        day=_read_day(given["day"], wrong),
        text=given["text"],
    )
    if wrong:
        raise InvalidRequest(" ".join(wrong))
    return filters


def _read_state(text: str, wrong: list[str]) -> State | None:
    if not text:
        return None
    try:
        return State(text.casefold())  # names of older versions included
    except ValueError:
        wrong.append(f"state: {text!r} is not a state. Use one of: {', '.join(State)}.")
        return None


def _read_outcome(text: str, wrong: list[str]) -> str:
    found = _OUTCOME_OF.get(text.casefold(), "")
    if text and not found:
        labels = [NOT_SUCCEEDED, *dict.fromkeys(map(outcome_label, Outcome))]
        wrong.append(f"outcome: {text!r} is not an outcome. Use one of: {', '.join(labels)}.")
    return found


def _read_day(text: str, wrong: list[str]) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        wrong.append(f"day: {text!r} is not a day. Write it as YYYY-MM-DD, in UTC, for example 2026-11-28.")
        return None
