"""cold_start: what ``import function_app`` costs a fresh interpreter, beside what it must at least import.

Bytecode is there (each import is done once before). The time is taken inside the new interpreter around the import, so
that starting Python itself, the same for both, does not dilute the ratio. One of ours, one of the reference, in turn.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from local_cloud.cloud import ROOT
from tests.benchmarks.figures import Figure, Limit, Sample
from tests.benchmarks.trial import Trial

NAME: Final = "cold_start"
PAIRS: Final = 25
OURS: Final = "import function_app"
REFERENCE: Final = "import azure.functions, requests"


def measure(trial: Trial) -> list[Figure]:
    """Return the milliseconds of both imports."""
    for statement in (OURS, REFERENCE):
        fresh_interpreter_ms(statement)
    pairs = 5 if trial.quick else PAIRS
    samples = []
    for number in range(pairs):
        trial.say(f"pair {number + 1} of {pairs}")
        samples.append(Sample(fresh_interpreter_ms(OURS), fresh_interpreter_ms(REFERENCE)))
    return [
        Figure(
            row=NAME,
            what="import of function_app in a fresh interpreter",
            unit="ms",
            samples=tuple(samples),
            limits=(Limit("ratio", "at most", 1.3),),
        )
    ]


def fresh_interpreter_ms(statement: str, settings: Mapping[str, str] = MappingProxyType({})) -> float:
    """Return how long a statement takes in a fresh interpreter with these settings, in milliseconds."""
    script = f"import time; began = time.perf_counter(); {statement}; print(time.perf_counter() - began)"
    # Everything but PYTHON...: an option such as PYTHONPATH or PYTHONDONTWRITEBYTECODE would change what is measured.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**environment, **settings},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return float(done.stdout) * 1000
