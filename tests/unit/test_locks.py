"""Whoever waits for another thread's call gives up; calls about other things do not wait at all."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from shared.errors import TryAgain
from shared.locks import CallLock, CallLocks


@contextmanager
def held_by_another(lock: CallLock) -> Iterator[None]:
    """Let another thread hold the lock while the block runs."""
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with lock.held("hang"):
            held.set()
            over.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_waiter_gives_up_and_says_for_what_it_has_waited() -> None:
    lock, began = CallLock(), time.monotonic()

    with (
        held_by_another(lock),
        pytest.raises(TryAgain, match="tried to find the folder 'Input'"),
        lock.held("find the folder 'Input'", wait_s=0.1),
    ):
        pytest.fail("it is held")

    assert time.monotonic() - began < 5
    with lock.held("find it", wait_s=0.1):  # it is free again
        assert lock.is_held
    assert not lock.is_held


def test_a_call_that_fails_gives_its_lock_back() -> None:
    lock = CallLock()

    with pytest.raises(KeyError), lock.held("fail"):
        raise KeyError

    assert not lock.is_held


def test_other_keys_do_not_wait() -> None:
    locks = CallLocks()

    with held_by_another(locks.of("Input")), locks.of("Output").held("find the folder 'Output'", wait_s=0):
        assert locks.of("Input") is locks.of("Input")
