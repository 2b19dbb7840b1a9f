"""The quick run of the tests, which is `dev.py test` without arguments: of what takes long it takes a part.

A test that takes long says with ``@pytest.mark.quick(cases=2)`` how many of its cases (sets of parameters) the quick
run takes; 0: none. CI takes all. What takes too long for CI, too, is marked ``extended``.
"""

from collections.abc import Iterable

import pytest


def without_long_ones(items: Iterable[pytest.Item]) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """Share tests out into those that the quick run takes and those that it leaves out, in their order."""
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    taken = {item for of_one_test in cases.values() for item in _spread(of_one_test)}
    return [item for item in items if item in taken], [item for item in items if item not in taken]


def _spread(cases: list[pytest.Item]) -> list[pytest.Item]:
    """Return as many cases of a test as it says, from the first to the last."""
    mark = cases[0].get_closest_marker("quick")
    wanted = len(cases) if mark is None else min(mark.kwargs["cases"], len(cases))
    return [cases[number * len(cases) // wanted] for number in range(wanted)]
