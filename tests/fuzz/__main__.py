"""``python -m tests.fuzz``, called by ``dev.py fuzz``: each property with thousands of examples, new ones each time."""

import re
import secrets
import sys
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.arguments import fuzz as read_arguments

PROPERTIES: Final = Path(__file__).with_name("test_properties.py")


def main(arguments: Sequence[str]) -> int:
    """Run the command; return 0 only if every property held for every example."""
    options = read_arguments(arguments, {})
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    count = len(re.findall(r"(?m)^def test_", PROPERTIES.read_text("utf-8")))
    progress = _Progress(count, examples_each=-(-options.examples // count))
    began = time.monotonic()
    sys.stdout.write(f"{count} properties, {options.examples:,} examples, seed {seed}\n")
    failed = pytest.main(
        [
            str(PROPERTIES),
            *("-q", "--no-header", "--no-summary", "-p", "no:cacheprovider", "--timeout", "0"),
            *("--hypothesis-profile", "fuzz", "--hypothesis-seed", str(seed)),
        ],
        plugins=[progress],
    )
    sys.stdout.write(f"\n{progress.examples:,} examples, {progress.failed} of {count} properties broken, ")
    sys.stdout.write(f"{time.monotonic() - began:.0f} s. Again: python dev.py fuzz --seed {seed}\n")
    return int(failed)


class _Progress:
    """Says of each property how many examples it was tried with and how long that took."""

    def __init__(self, count: int, *, examples_each: int) -> None:
        self.examples = 0
        self.failed = 0
        self._count = count
        self._examples_each = examples_each
        self._done = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self) -> None:
        """Set the number of examples; unlike those of a test run (tests/conftest.py) they are new ones each time."""
        # Imported here because pytest complains of plugins that were imported before it looks at them.
        from hypothesis import HealthCheck, settings

        settings.register_profile(
            "fuzz",
            max_examples=self._examples_each,
            derandomize=False,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Count and print when a property has been tried."""
        report = yield
        if call.when == "call":
            self._done += 1
            self.failed += report.failed
            tried = sum(map(int, re.findall(r"(\d+) passing,", getattr(item, "hypothesis_statistics", ""))))
            self.examples += tried
            held = "BROKEN" if report.failed else "held"
            sys.stdout.write(
                f"\n[{self._done:2d}/{self._count}] {held:<6} {tried:6,} in {call.duration:5.1f} s  {item.name}"
            )
            if report.failed:
                sys.stdout.write(f"\n{report.longreprtext}\n")
            sys.stdout.flush()
        return report


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
