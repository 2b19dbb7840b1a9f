"""Pieces of work do not wait for each other, and what hangs is left behind and not begun a second time."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from shared.clients.http.context import allowed_s, waiting_at_most
from shared.concurrency import Attempt, Duties, NotInTime, Overran, StillRunning, gravest
from shared.errors import NeedsPerson, TryAgain
from tests.world import wait_for

LIMIT_S = 0.2


type Work = dict[str, Callable[[], str]]


class Hang:
    """Work that goes on until the test lets it go."""

    def __init__(self) -> None:
        self.begun = 0
        self._over = threading.Event()

    def __call__(self) -> str:
        self.begun += 1
        self._over.wait(30)
        return "late"

    def let_go(self) -> None:
        self._over.set()


@pytest.fixture
def hang() -> Iterator[Hang]:
    hang = Hang()
    yield hang
    hang.let_go()


def failing(error: Exception) -> Callable[[], str]:
    def fail() -> str:
        raise error

    return fail


def test_each_piece_ends_with_its_own_result_or_error_in_the_order_of_the_work_and_only_a_bug_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    trouble, bug = TryAgain("away"), KeyError("renewed")

    ended = Duties().attempt_all(
        {"one": lambda: "1", "two": failing(trouble), "three": failing(bug), "four": lambda: "4"}, limit_s=10
    )

    assert list(ended) == ["one", "two", "three", "four"]
    assert [each.result for each in ended.values()] == ["1", None, None, "4"]
    assert [each.error for each in ended.values()] == [None, trouble, bug, None]
    assert gravest(ended) is bug
    (line,) = [record.getMessage() for record in caplog.records if "duty.broke" in record.getMessage()]
    assert "KeyError" in line
    assert "in fail" in line  # the traceback


def test_of_several_errors_the_one_that_matters_most_is_raised_and_of_equal_ones_the_first() -> None:
    passes, hangs, person, bug = TryAgain("away"), Overran("hangs"), NeedsPerson("grant it"), KeyError("renewed")
    by_weight: list[Exception] = [passes, hangs, person, bug]

    for count, expected in enumerate(by_weight, 1):
        errors = [*by_weight[:count], TryAgain("again")]
        attempts = {str(number): Attempt[int](error=error) for number, error in enumerate(errors)}
        assert gravest({"well": Attempt(result=1), **attempts}) is expected
    assert gravest({"well": Attempt(result=1)}) is None


def test_a_piece_that_hangs_is_left_behind_and_not_begun_again_until_it_ends_and_the_others_are_done(
    hang: Hang, caplog: pytest.LogCaptureFixture
) -> None:
    duties, began = Duties(), time.monotonic()
    work: Work = {"hangs": hang, "goes": lambda: "well"}
    tries = [duties.attempt_all(work, limit_s=LIMIT_S) for _ in range(3)]
    assert time.monotonic() - began < 30 * LIMIT_S
    assert [type(ended["hangs"].error) for ended in tries] == [Overran, StillRunning, StillRunning]
    assert [ended["goes"].result for ended in tries] == ["well"] * 3
    assert hang.begun == 1
    assert "duty.overran" in caplog.text

    hang.let_go()
    wait_for(lambda: not duties._left_behind)

    assert duties.attempt_all({"hangs": hang}, limit_s=10)["hangs"].result == "late"
    assert hang.begun == 2


def test_what_no_thread_was_free_for_is_told_apart_from_what_hangs(hang: Hang) -> None:
    waits = Hang()
    waits.let_go()
    work: Work = {"hangs": hang, "waits": waits}

    ended = Duties().attempt_all(work, limit_s=LIMIT_S, at_once=1)
    hang.let_go()

    error = ended["waits"].error
    assert isinstance(error, NotInTime)
    assert not isinstance(error, Overran)
    assert "not started" in str(error)
    time.sleep(LIMIT_S)  # nothing shows that it will not begin
    assert waits.begun == 0  # nor is it begun later, when nobody waits for it


def test_pieces_that_may_be_begun_for_a_while_only_are_waited_for_and_the_others_are_left() -> None:
    began = time.monotonic()

    # Each takes so long that not all can begin in time.
    ended = Duties().attempt_all(
        {str(number): lambda: time.sleep(0.1) for number in range(100)}, limit_s=10, begin_within_s=LIMIT_S, at_once=2
    )

    assert time.monotonic() - began < 3  # all of them would take five seconds
    errors = [each.error for each in ended.values() if each.error]
    assert 90 <= len(errors) < 100
    assert not any(isinstance(error, Overran) for error in errors)


@pytest.mark.parametrize("limit_s", [10, None])
def test_what_another_call_still_waits_for_may_be_done_at_the_same_time(limit_s: float | None) -> None:
    """Two invocations of a timer may overlap, as when one of them was started by hand."""
    duties, together = Duties(), threading.Barrier(2)

    def ask() -> int | None:
        return duties.attempt_all({"scan": together.wait}, limit_s=limit_s)["scan"].result

    other = threading.Thread(target=ask)
    other.start()
    result = ask()  # the barrier opens only if both have begun
    other.join(10)

    assert result in (0, 1)
    assert duties._left_behind == {}


def test_limits_of_calls_hold_in_the_threads_too() -> None:
    with waiting_at_most(4):
        ended = Duties().attempt_all({"one": lambda: allowed_s(60)}, limit_s=10)

    assert ended["one"].result == 4


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_itself_is_an_error_of_its_piece_alone() -> None:
    def ends() -> str:
        raise SystemExit

    ended = Duties().attempt_all({"ends": ends, "goes": lambda: "well"}, limit_s=10, at_once=2)
    for thread in threading.enumerate():
        if thread.name.startswith("duties"):
            thread.join(10)  # so that its end is this test's and not the next one's

    assert isinstance(ended["ends"].error, NotInTime)
    assert ended["goes"].result == "well"
