"""The row counts of an import in words, for page, report and alert. Pure."""

from typing import Final

from shared.runs.run import Run
from shared.runs.states import Outcome
from shared.runs.values import EntityCounts

# Entities whose counts an alert tells; the run's page and the report have all.
ENTITIES_IN_SHORT: Final = 5


def count_lines(run: Run) -> tuple[str, ...]:
    """Return a line for each entity, or why there are no counts; none if F&O was not asked."""
    if run.counts_note:
        return (run.counts_note,)
    return tuple(f"{counts.entity}: {_text(counts, run)}" for counts in run.counts)


def counts_in_short(run: Run) -> str:
    """Return the counts of a few entities for an alert, those with rows that were left first; "" if there are none."""
    if not run.counts:
        return ""
    first = sorted(run.counts, key=lambda counts: counts.neither or 0, reverse=True)[:ENTITIES_IN_SHORT]
    more = len(run.counts) - len(first)
    lines = "; ".join(f"{counts.entity}: {_text(counts, run)}" for counts in first)
    return f"Rows by entity: {lines}{f'; and {more} more entities' if more else ''}"


def neither_label(run: Run) -> str:
    """Return what rows are called that were neither created nor updated: F&O may leave rows that have not changed."""
    return "neither created nor updated" if run.outcome is Outcome.SUCCEEDED else "failed"


def _text(counts: EntityCounts, run: Run) -> str:
    told: list[tuple[int | None, str]] = [(counts.to_be_processed, "in the file"), (counts.staged, "staged")]
    if not run.is_staging_only:
        told += [(counts.created, "created"), (counts.updated, "updated"), (counts.neither, neither_label(run))]
    return ", ".join(f"{number} {label}" for number, label in told if number is not None) or "F&O does not say"
