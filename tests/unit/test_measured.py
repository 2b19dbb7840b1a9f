"""Of which tests coverage is measured."""

from pathlib import Path

import pytest
from coverage import Coverage

from tests.measured import NOT_MEASURED, is_measured, not_measured

PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize("place", NOT_MEASURED)
def test_what_is_left_out_is_there(place: str) -> None:
    assert (PROJECT / place).exists()


def test_this_test_counts(request: pytest.FixtureRequest) -> None:
    assert is_measured(request.node)


def test_nothing_is_measured_meanwhile_and_everything_again_after(tmp_path: Path) -> None:
    file = tmp_path / "measured_code.py"
    file.write_text("def one(value):\n    return value\n\n\ndef two(value):\n    return value\n", encoding="utf-8")
    parts: dict[str, object] = {}
    exec(compile(file.read_text(encoding="utf-8"), file, "exec"), parts)  # with line numbers
    # A worker of pytest-xdist has one as each process that a test starts, and one of pytest-cov's upon it.
    of_process, of_pytest = (Coverage(data_file=None, config_file=False, include=[str(file)]) for _ in range(2))
    of_process.set_option("run:disable_warnings", ["no-data-collected"])  # as is to be
    of_process.start()
    of_pytest.start()
    try:
        with not_measured():
            parts["one"](1)  # type: ignore[operator]
        parts["two"](2)  # type: ignore[operator]
    finally:
        of_pytest.stop()
        of_process.stop()

    assert [coverage.get_data().lines(str(file)) for coverage in (of_process, of_pytest)] == [None, [6]]
