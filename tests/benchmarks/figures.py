"""What a benchmark says: figures with their samples, what is to be reached, and both as a table and as JSON.

Pure values; how each is measured stands in the modules beside this one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, Final, Literal, NamedTuple

HEADINGS: Final = ("Benchmark", "What is measured", "Ours", "Reference", "Ratio", "To reach", "Reached")


class Sample(NamedTuple):
    """One measurement, and that of the reference beside it, in the figure's unit."""

    ours: float
    reference: float | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """What is to be reached: by our own figure, or by its ratio to the reference."""

    of: Literal["ours", "ratio"]
    word: Literal["at most", "under", "at least"]
    bound: float

    def holds(self, value: float) -> bool:
        """Return whether a value reaches it."""
        match self.word:
            case "at most":
                return value <= self.bound
            case "under":
                return value < self.bound
            case "at least":
                return value >= self.bound

    def text(self, unit: str) -> str:
        """Return it in words."""
        return f"{self.word} {shown(self.bound)} {'times' if self.of == 'ratio' else unit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table."""

    row: str  # the benchmark's name, as --only takes it
    what: str
    unit: str
    samples: tuple[Sample, ...] = ()  # none: it was not measured, and the note says why
    limits: tuple[Limit, ...] = ()
    note: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)  # JSON values

    @property
    def ours(self) -> float | None:
        """The median of our samples, None where there is none."""
        return median(sample.ours for sample in self.samples) if self.samples else None

    @property
    def reference(self) -> float | None:
        """The median of the reference's samples, None where there is none."""
        return _median_or_none(sample.reference for sample in self.samples)

    @property
    def ratio(self) -> float | None:
        """The median of the ratios, each of two measurements that were made one after the other."""
        return _median_or_none(sample.ours / sample.reference for sample in self.samples if sample.reference)

    @property
    def reached(self) -> bool | None:
        """Whether all limits are reached; None where that was not measured, or nothing is to be reached."""
        values = [self.ours if limit.of == "ours" else self.ratio for limit in self.limits]
        if not values or any(value is None for value in values):
            return None
        return all(limit.holds(value) for limit, value in zip(self.limits, values, strict=True) if value is not None)

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON value."""
        return {
            "name": self.row,
            "what": self.what,
            "unit": self.unit,
            "ours": self.ours,
            "reference": self.reference,
            "ratio": self.ratio,
            "to_reach": [limit.text(self.unit) for limit in self.limits],
            "reached": self.reached,
            "note": self.note,
            "samples": [list(sample) for sample in self.samples],
            "details": dict(self.details),
        }


def _median_or_none(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed. Raises ValueError for none.

    >>> percentile([5, 1, 4, 2, 3], 99)
    5
    """
    if not values:
        raise ValueError("there is no percentile of nothing")
    place = -(-len(values) * percent // 100)  # rounded up
    return sorted(values)[max(int(place), 1) - 1]


def combined(runs: Sequence[Sequence[Figure]]) -> list[Figure]:
    """Return the figures of several runs of one benchmark as one: all their samples, the details of the last run."""
    merged: dict[str, Figure] = {}
    for figure in (figure for run in runs for figure in run):
        before = merged.get(figure.what)
        merged[figure.what] = replace(figure, samples=(*before.samples, *figure.samples)) if before else figure
    return list(merged.values())


def shown(value: float) -> str:
    """Return a number as people read it.

    >>> [shown(value) for value in (20_000, 123.4, 12.34, 2.0, 0.1234)]
    ['20,000', '123', '12.3', '2', '0.12']
    """
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def cells(figure: Figure) -> tuple[str, ...]:
    """Return what stands in the table's columns about a figure."""
    ours = "not measured" if figure.ours is None else f"{shown(figure.ours)} {figure.unit}"
    return (
        figure.row,
        f"{figure.what} ({figure.note})" if figure.note else figure.what,
        ours,
        "" if figure.reference is None else f"{shown(figure.reference)} {figure.unit}",
        "" if figure.ratio is None else shown(figure.ratio),
        ", ".join(limit.text(figure.unit) for limit in figure.limits),
        {True: "yes", False: "NO", None: ""}[figure.reached],
    )


def markdown(figures: Sequence[Figure]) -> str:
    """Return the table as it stands in a document."""
    lines = [HEADINGS, ("---",) * len(HEADINGS), *map(cells, figures)]
    return "\n".join("|" + "".join(f" {cell} |" if cell else " |" for cell in line) for line in lines)


def table(figures: Sequence[Figure]) -> Iterator[str]:
    """Yield the lines of the table as they are printed: in columns."""
    lines = [HEADINGS, *map(cells, figures)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    for line in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
