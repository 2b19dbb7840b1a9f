"""Which tests the quick run takes."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

PROJECT: Final = Path(__file__).parents[2]
TESTS: Final = """
import pytest

def test_short() -> None: ...

@pytest.mark.quick(cases=0)
def test_too_long() -> None: ...

@pytest.mark.quick(cases=2)
@pytest.mark.parametrize("case", "abcde")
def test_cases(case: str) -> None: ...

@pytest.mark.quick(cases=9)
@pytest.mark.parametrize("case", "ab")
def test_few(case: str) -> None: ...
"""


@pytest.mark.parametrize(
    ("options", "run"),
    [
        (["--quick"], ["test_short", "test_cases[a]", "test_cases[c]", "test_few[a]", "test_few[b]"]),
        (
            [],
            [
                *("test_short", "test_too_long", "test_few[a]", "test_few[b]"),
                *(f"test_cases[{case}]" for case in "abcde"),
            ],
        ),
    ],
    ids=["quick", "all"],
)
def test_the_quick_run_takes_as_many_cases_as_a_test_says_and_ci_all(
    tmp_path: Path, options: list[str], run: list[str]
) -> None:
    assert collected(tmp_path, TESTS, options) == set(run)


@pytest.mark.parametrize(("folder", "taken"), [("flows", "0369"), ("end_to_end", "0369"), ("unit", "0123456789ab")])
def test_the_quick_run_takes_a_few_tests_of_each_file_of_long_ones(tmp_path: Path, folder: str, taken: str) -> None:
    tests = "\n".join(f"def test_{number:x}() -> None: ..." for number in range(12))

    assert collected(tmp_path, tests, ["--quick"], folder=f"tests/{folder}") == {f"test_{number}" for number in taken}


def collected(root: Path, tests: str, options: Sequence[str], *, folder: str = ".") -> set[str]:
    """Return the tests that pytest would run of a file with these."""
    file = root / folder / "test_it.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(tests, encoding="utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.conftest", "-c", str(PROJECT / "pyproject.toml")),
            *("--rootdir", str(root), "--collect-only", "-q", *options, str(file)),
        ],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    return {line.partition("::")[2] for line in done.stdout.splitlines() if "::" in line}
