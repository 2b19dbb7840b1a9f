"""One thread of all hosts has the import lock at a time, and no host keeps it for good."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from shared.azure_storage import import_lock
from shared.azure_storage.import_lock import ImportLock
from shared.azure_storage.leases import Leases
from shared.errors import LeaseTaken


class LeasesOfHosts:
    """Leases as the store gives them, told apart by who holds them."""

    def __init__(self) -> None:
        self.holder: object = None

    def of(self, host: str) -> Leases:
        return _Host(self, host)  # type: ignore[return-value]  # all that the lock knows of leases


class _Host:
    def __init__(self, leases: LeasesOfHosts, host: str) -> None:
        self._leases, self._host = leases, host

    @contextmanager
    def hold(self, _name: str) -> Iterator[None]:
        if self._leases.holder is not None:
            raise LeaseTaken("another host has it")
        self._leases.holder = self._host
        try:
            yield
        finally:
            self._leases.holder = None


def test_threads_of_one_host_have_the_lock_one_at_a_time() -> None:
    leases = LeasesOfHosts()
    host, inside, most = ImportLock(leases.of("a"), "x"), 0, 0
    together = threading.Barrier(8)

    def work(_: int) -> None:
        nonlocal inside, most
        together.wait()
        with host.held():
            inside += 1
            most = max(most, inside)
            time.sleep(0.01)
            inside -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))

    assert most == 1
    assert leases.holder is None


def test_the_lock_is_released_when_its_block_fails() -> None:
    leases = LeasesOfHosts()
    host = ImportLock(leases.of("a"), "x")

    with pytest.raises(ZeroDivisionError), host.held():
        raise ZeroDivisionError

    assert leases.holder is None
    with host.held():
        assert leases.holder == "a"


def test_a_host_that_does_not_get_the_lock_in_time_says_so_and_can_have_it_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(import_lock, "LOCK_WAIT_S", 0.2)
    leases = LeasesOfHosts()
    one, other = ImportLock(leases.of("a"), "x"), ImportLock(leases.of("b"), "x")

    with one.held(), pytest.raises(LeaseTaken), other.held():
        pass

    with other.held():
        assert leases.holder == "b"


def test_a_thread_that_waited_in_vain_leaves_no_lease_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_lock, "LOCK_WAIT_S", 0.1)
    leases = LeasesOfHosts()
    host = ImportLock(leases.of("a"), "x")

    def wait_in_vain() -> bool:
        try:
            with host.held():
                return False
        except LeaseTaken:
            return True

    with ThreadPoolExecutor(1) as pool, host.held():
        assert pool.submit(wait_in_vain).result()

    assert leases.holder is None


def test_a_busy_host_gives_way_to_another_one_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_lock, "BUSY_S", 0.1)
    leases = LeasesOfHosts()
    busy, other = ImportLock(leases.of("a"), "x"), ImportLock(leases.of("b"), "x")
    is_over = threading.Event()

    def keep_busy() -> None:
        while not is_over.is_set():
            with busy.held():
                time.sleep(0.005)

    with ThreadPoolExecutor(4) as pool:
        for _ in range(4):
            pool.submit(keep_busy)
        time.sleep(0.05)
        try:
            with other.held():
                assert leases.holder == "b"
        finally:
            is_over.set()
