"""A process has room for a few large packages at once; small ones find a place beside them."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from local_cloud.cloud import ROOT
from shared import package_memory
from shared.package_memory import LARGE_BYTES, ROOM_BYTES, NoRoom, Room

LARGE = 256 * 1024 * 1024
SMALL = 100_000


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_memory, "WAIT_S", 0.05)


@contextmanager
def on_their_way(some: Room, *sizes: int) -> Iterator[None]:
    """Let packages of these sizes be on their way while the block runs."""
    with ExitStack() as stack:
        for size_bytes in sizes:
            stack.enter_context(some.taken(size_bytes))
        yield


def test_three_large_packages_are_on_their_way_at_once_and_the_fourth_waits() -> None:
    some = Room()

    with on_their_way(some, LARGE, LARGE, LARGE), pytest.raises(NoRoom, match="Other large"), some.taken(LARGE):
        pytest.fail("there is no room for four")

    with on_their_way(some, LARGE, LARGE, LARGE):
        pass  # nobody has kept any of it


@pytest.mark.parametrize("sizes", [[SMALL] * 24, [LARGE, LARGE, *[SMALL] * 20]], ids=["small", "beside large"])
def test_as_many_small_packages_as_a_process_takes_messages_do_not_wait(sizes: list[int]) -> None:
    with on_their_way(Room(), *sizes):
        pass


def test_packages_that_are_kept_as_a_whole_wait_for_each_other_as_well() -> None:
    some = Room()

    with on_their_way(some, *[8 * 1024 * 1024] * 5), pytest.raises(NoRoom), some.taken(8 * 1024 * 1024):
        pytest.fail("six of 8 MiB take 102 MiB, twice their size for a moment")


def test_a_package_that_waits_goes_as_soon_as_another_has_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_memory, "WAIT_S", 30)
    some, arrived, waits = Room(LARGE_BYTES), threading.Event(), threading.Event()

    def follow() -> None:
        waits.set()
        with some.taken(LARGE):
            arrived.set()

    with some.taken(LARGE):
        thread = threading.Thread(target=follow)
        thread.start()
        assert waits.wait(10)
        assert not arrived.wait(0.1)

    assert arrived.wait(10)
    thread.join()


def test_a_package_that_fails_gives_its_room_back() -> None:
    some = Room(LARGE_BYTES)

    with pytest.raises(KeyError), some.taken(LARGE):
        raise KeyError

    with some.taken(LARGE):
        pass


# Threads that each free a chunk of an upload, as those that move large packages do: glibc keeps it for each of them.
_MOVES = """
import re, threading
from pathlib import Path
from shared.package_memory import LARGE_BYTES, Room

def resident_mib():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

def move(all_are_there):
    for _ in range(3):
        chunk = bytearray(7_500_000)
        all_are_there.wait()
        del chunk
    all_have_freed.wait()

all_are_there, all_have_freed = threading.Barrier(8), threading.Barrier(9)
before = resident_mib()
with Room().taken(LARGE_BYTES):
    for _ in range(8):
        threading.Thread(target=move, args=[all_are_there], daemon=True).start()
    all_have_freed.wait()
print(resident_mib() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="how much memory a process has is read from /proc")
def test_what_a_large_package_took_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", _MOVES], cwd=ROOT, capture_output=True, encoding="utf-8", check=True)

    assert float(done.stdout) < 15  # MiB; 8 chunks are 57


def test_the_room_leaves_an_instance_of_512_mb_to_the_app_and_to_azures_own_host() -> None:
    assert ROOM_BYTES <= 0.25 * 512 * 1024 * 1024
