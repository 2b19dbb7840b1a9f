"""What others have seen F&O answer: one recorded case a file in tests/samples/fo, each with where it was seen."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent / "samples" / "fo"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoSample:
    """A request (method, path, body) and an answer (status, headers, body) to it."""

    action: str
    name: str
    seen: str
    request: Mapping[str, Any] = field(repr=False)
    answer: Mapping[str, Any] = field(repr=False)


def fo_samples(action: str = "*") -> Iterator[FoSample]:
    """Yield the samples of an action, or all."""
    for file in sorted(FOLDER.glob(f"{action}/*.json")):
        yield FoSample(action=file.parent.name, **json.loads(file.read_text(encoding="utf-8")))


def fo_sample(action: str, name: str) -> FoSample:
    """Return the sample of that name."""
    [found] = (each for each in fo_samples(action) if each.name == name)
    return found
