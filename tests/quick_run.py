"""The quick run of the tests, which is `dev.py test` without arguments: of what takes long it takes a part.

A test that takes long says with ``@pytest.mark.quick(cases=2)`` how many of its cases (sets of parameters) the quick
run takes; 0: none. Of each file of flows, hosts and end-to-end tests it takes a few, so that it does not grow with each
feature. CI takes all. What takes too long for CI, too, is marked ``extended``.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import pytest

# Where nearly each test takes a second and more of a processor.
_LONG: Final = ("tests/flows/", "tests/end_to_end/", "tests/unit/local_cloud/functions_host/")
_OF_A_LONG_FILE: Final = 4


def without_long_ones(items: Iterable[pytest.Item]) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """Share tests out into those that the quick run takes and those that it leaves out, in their order."""
    all_of_them = list(items)
    by_test = _grouped(all_of_them, lambda item: item.nodeid.partition("[")[0])
    some = [item for cases in by_test.values() for item in _spread(cases, _wanted_cases(cases))]
    by_file = _grouped(some, lambda item: item.nodeid.partition("::")[0])
    taken = {
        item
        for file, tests in by_file.items()
        for item in (_spread(tests, _OF_A_LONG_FILE) if file.startswith(_LONG) else tests)
    }
    return [item for item in all_of_them if item in taken], [item for item in all_of_them if item not in taken]


def _grouped(items: Iterable[pytest.Item], key: Callable[[pytest.Item], str]) -> dict[str, list[pytest.Item]]:
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def _wanted_cases(cases: Sequence[pytest.Item]) -> int:
    mark = cases[0].get_closest_marker("quick")
    return len(cases) if mark is None else mark.kwargs["cases"]


def _spread(items: Sequence[pytest.Item], wanted: int) -> list[pytest.Item]:
    """Return that many of them, from the first to the last; all if there are fewer."""
    wanted = min(wanted, len(items))
    return [items[number * len(items) // wanted] for number in range(wanted)]
