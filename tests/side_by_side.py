"""How pytest-xdist shares the tests out: a worker gets whole files, those that take longest first.

What the tests of a file share is so started once, and their order stays. Each worker has an Azurite, simulators and a
tap on the wire of its own (tests/wire puts together what they have seen).
"""

from typing import Final

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # xdist has no annotations

# Files whose tests share a host that takes seconds to start: one worker gets them all.
ON_THE_STAGE: Final = frozenset(
    f"tests/end_to_end/test_{name}.py" for name in ("actions", "given_up", "health", "many", "pages", "told", "travel")
)


class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # as above
    """Whole files in the order of the collection; what shares the stage as one."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "stage" if file in ON_THE_STAGE else file
