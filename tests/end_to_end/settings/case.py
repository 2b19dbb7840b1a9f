"""One value of one setting of a flow, tried on a running cloud that all cases share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.end_to_end.stage import Stage


@dataclass(frozen=True, kw_only=True)
class SettingCase:
    """What is configured, what is put into the drive, and what is to be seen then.

    All cases run side by side in one app: each has flows, folders, data projects and companies of its own.
    """

    setting: str  # "order.by", as the reference in docs/integrations.md names it
    value: str  # what is tried, in a word or two
    imports: tuple[dict[str, Any], ...] = ()  # flows of INTEGRATIONS
    exports: tuple[dict[str, Any], ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)  # by path in the drive, put there in this order
    ages_s: Mapping[str, float] = field(
        default_factory=dict
    )  # how long ago files were changed, by path; now if not here
    # Returns what is not yet as it is to be, "" once all is. It is asked again and again for two minutes at most.
    missing: Callable[[Stage], str]
    takes_s: float = 0.0  # longer than others take: such a case is not part of each run

    @property
    def name(self) -> str:
        """The name of its test."""
        return f"{self.setting}: {self.value}"


def whole_run(file_name: str, **ended: str) -> Callable[[Stage], str]:
    """Return what is missing until the run of a file has ended with these values in its record."""

    def missing(stage: Stage) -> str:
        record = stage.record(file_name)
        if record is None or not record["ended"]:
            return f"the end of {file_name}"
        expected = {"outcome": "Succeeded", **ended}
        found = {name: record.get(name) or "" for name in expected}
        return "" if found == expected else f"{found} instead of {expected}"

    return missing
