"""Which tests run without their coverage being measured: that costs half as much again, and others go the same ways.

Measured are the tests that say what a part of the app does, the hosts of the end-to-end tests included.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

# What looks for mistakes by doing the same in many ways, and what tests the simulators and the tools of the tests.
_SEARCHES: Final = (
    "tests/architecture/",
    "tests/benchmarks/",
    "tests/exploration/",
    "tests/faults/",
    "tests/fuzz/",
    "tests/hostile/",
    "tests/soak/",
    "tests/unit/local_cloud/",
    "tests/wire/",
    "tests/witnesses/",
)
# Flows through steps that the other tests measure: all of these together would add a percent or two.
_FLOWS_MEASURED_ELSEWHERE: Final = tuple(
    f"tests/flows/test_{name}.py"
    for name in (
        "blame",
        "cancelling",
        "cases",
        "configuration_trouble",
        "contention",
        "files_in_trouble",
        "folder_scans",
        "inbound",
        "libraries",
        "long_waits",
        "messages",
        "one_run_a_file",
        "outbound",
        "outcome",
        "reserving",
        "reserving_entities",
        "runner",
        "saved_by_an_older_version",
        "set_aside",
        "staying",
        "submitting",
        "subscription_in_trouble",
        "waking_lanes",
    )
)
NOT_MEASURED: Final = (*_SEARCHES, *_FLOWS_MEASURED_ELSEWHERE)
# By this variable a process that a test starts is measured, too.
_FOR_PROCESSES: Final = "COVERAGE_PROCESS_CONFIG"


def is_measured(item: pytest.Item) -> bool:
    """Return whether a test counts for coverage."""
    return not item.nodeid.startswith(NOT_MEASURED)


def for_a_process() -> dict[str, str]:
    """Return what a process needs in its environment to be measured as well, if that is not a copy of ours."""
    return {name: value for name, value in os.environ.items() if name == _FOR_PROCESSES}


@contextmanager
def not_measured() -> Iterator[None]:
    """Measure nothing meanwhile, in this process and in those that are started."""
    from coverage import Coverage  # not at the top: only a run with --cov needs it

    for_processes = os.environ.pop(_FOR_PROCESSES, None)
    stopped = []
    # A worker of pytest-xdist has two: one as every process that a test starts, and that of pytest-cov.
    while coverage := Coverage.current():
        coverage.stop()
        stopped.append(coverage)
    try:
        yield
    finally:
        for coverage in reversed(stopped):
            coverage.start()
        if for_processes is not None:
            os.environ[_FOR_PROCESSES] = for_processes
