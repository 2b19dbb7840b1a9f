"""How pytest-xdist shares the tests out: a worker gets whole files, those that take longest first.

What the tests of a file share is so started once, and their order stays. Each worker has an Azurite, simulators and a
tap on the wire of its own (tests/wire puts together what they have seen).
"""

import os
from typing import Final

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # xdist has no annotations

# Whether this process is one of several workers of pytest-xdist, which sets it.
IS_WORKER: Final = "PYTEST_XDIST_WORKER" in os.environ

# Files whose tests share a host that takes seconds to start: one worker gets them all.
ON_THE_STAGE: Final = frozenset(
    f"tests/end_to_end/test_{name}.py" for name in ("actions", "given_up", "health", "many", "pages", "told", "travel")
)
# How the names of files begin that wait for minutes, or compute for long; all others come after them.
LONGEST_FIRST: Final = (
    "tests/end_to_end/test_killed_host",
    "tests/end_to_end/test_live_command",
    "tests/end_to_end/test_demo",
    "tests/end_to_end/",
    "tests/unit/local_cloud/functions_host/",
    "tests/faults/",
    "tests/exploration/",
    "tests/flows/",
)


class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # as above
    """Whole files in the order of the collection; what shares the stage as one."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "stage" if file in ON_THE_STAGE else file


def turn_of(item: pytest.Item) -> int:
    """Return the place of a test's file in the order in which workers get them."""
    begins = (number for number, prefix in enumerate(LONGEST_FIRST) if item.nodeid.startswith(prefix))
    return next(begins, len(LONGEST_FIRST))
