"""``python -m tests.benchmarks.app look|listing|wake LANE``: one piece of the app's work in a process of its own.

The settings are in the environment, as in Azure. Prints as JSON what it took: seconds, and MiB of resident memory
before and at its peak (None where that cannot be measured).
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from shared.app import Services, services
from shared.imports import steps as import_steps
from shared.scan import scan
from tests.benchmarks import process


def look(app: Services) -> int:
    """Look at all Input folders; return how many runs were opened."""
    return scan.open_new_runs(app)


def listing(app: Services) -> int:
    """List all Input folders, as a look does, and do nothing about it; return how many files there are."""
    return sum(
        len(list(app.onedrive(flow.drive).list_files(app.folders.find(flow.drive, flow.input_folder))))
        for flow in app.settings.flows.imports
    )


def wake(app: Services, lane: str) -> int:
    """Answer one wake-up of a lane."""
    import_steps.advance_imports(lane, app)
    return 1


WORK: Final[Mapping[str, Callable[..., int]]] = {"look": look, "listing": listing, "wake": wake}


def main(arguments: Sequence[str]) -> None:
    """Do it and print what it took."""
    app = services()
    # What a warm process has: folders, a token, the imports of the storage SDK and its first connection.
    for flow in app.settings.flows.imports:
        app.folders.find(flow.drive, flow.input_folder)
    app.checkpoints.read("looks")
    memory_mib = process.memory_mib() if process.IS_MEASURED else None
    began = time.perf_counter()
    done = WORK[arguments[0]](app, *arguments[1:])
    took_s = time.perf_counter() - began
    peak_mib = process.peak_mib() if process.IS_MEASURED else None
    result = {"done": done, "took_s": took_s, "memory_mib": memory_mib, "peak_mib": peak_mib}
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # the clients' connections need no farewell
