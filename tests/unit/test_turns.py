"""One thread of all hosts has the turn at a time; a host keeps it for its own threads a little while, not for good."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from shared.azure_storage import import_lock
from shared.azure_storage.import_lock import Turns
from shared.azure_storage.leases import Leases
from shared.errors import LeaseTaken


class LeasesOfHosts:
    """Leases as the store gives them, told apart by who holds them; counts how often one was given."""

    def __init__(self) -> None:
        self.holder: object = None
        self.given = 0

    def of(self, host: str) -> Leases:
        return _Host(self, host)  # type: ignore[return-value]  # all that turns know of leases


class _Host:
    def __init__(self, leases: LeasesOfHosts, host: str) -> None:
        self._leases, self._host = leases, host

    @contextmanager
    def hold(self, _name: str) -> Iterator[None]:
        if self._leases.holder is not None:
            raise LeaseTaken("another host has it")
        self._leases.holder = self._host
        self._leases.given += 1
        try:
            yield
        finally:
            self._leases.holder = None


def test_threads_of_one_host_take_turns_with_one_lease() -> None:
    leases = LeasesOfHosts()
    host, inside, most = Turns(leases.of("a"), "x"), 0, 0
    together = threading.Barrier(8)

    def work(_: int) -> None:
        nonlocal inside, most
        together.wait()
        with host.turn():
            inside += 1
            most = max(most, inside)
            time.sleep(0.01)
            inside -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))

    assert most == 1
    assert leases.given == 1
    assert leases.holder is None


def test_a_thread_that_comes_a_moment_later_takes_over_the_same_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_lock, "LINGER_S", 5.0)
    leases = LeasesOfHosts()
    host, is_over = Turns(leases.of("a"), "x"), threading.Event()

    def first() -> None:
        with host.turn():
            pass
        is_over.set()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(first)
        assert not is_over.wait(0.05)  # it stays for somebody else
        monkeypatch.setattr(import_lock, "LINGER_S", 0.0)
        with host.turn():
            assert is_over.wait(5)

    assert leases.given == 1
    assert leases.holder is None


def test_the_turn_goes_back_when_its_block_fails() -> None:
    leases = LeasesOfHosts()
    host = Turns(leases.of("a"), "x")

    with pytest.raises(ZeroDivisionError), host.turn():
        raise ZeroDivisionError

    assert leases.holder is None
    with host.turn():
        assert leases.holder == "a"


def test_a_host_that_does_not_get_the_turn_in_time_says_so_and_can_have_it_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(import_lock, "TURN_WAIT_S", 0.2)
    leases = LeasesOfHosts()
    one, other = Turns(leases.of("a"), "x"), Turns(leases.of("b"), "x")

    with one.turn(), pytest.raises(LeaseTaken), other.turn():
        pass

    with other.turn():
        assert leases.holder == "b"


def test_a_thread_that_waited_in_vain_leaves_no_lease_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_lock, "TURN_WAIT_S", 0.1)
    leases = LeasesOfHosts()
    host = Turns(leases.of("a"), "x")

    def wait_in_vain() -> bool:
        try:
            with host.turn():
                return False
        except LeaseTaken:
            return True

    with ThreadPoolExecutor(1) as pool, host.turn():
        assert pool.submit(wait_in_vain).result()

    assert leases.holder is None


def test_a_busy_host_gives_way_to_another_one_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_lock, "HANDED_ON_S", 0.1)
    leases = LeasesOfHosts()
    busy, other = Turns(leases.of("a"), "x"), Turns(leases.of("b"), "x")
    is_over = threading.Event()

    def keep_busy() -> None:
        while not is_over.is_set():
            with busy.turn():
                time.sleep(0.005)

    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(keep_busy)
        time.sleep(0.05)
        try:
            with other.turn():
                assert leases.holder == "b"
        finally:
            is_over.set()
