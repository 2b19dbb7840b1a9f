"""A process has room for a few large packages at once; small ones find a place beside them."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from shared import room
from shared.room import EXPORT_BYTES, IMPORT_BYTES, ROOM_BYTES, NoRoom, Room

LARGE = 256 * 1024 * 1024
SMALL = 100_000


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "WAIT_S", 0.05)


@contextmanager
def on_their_way(some: Room, *sizes: int, at_most: int = IMPORT_BYTES) -> Iterator[None]:
    """Let packages of these sizes be on their way while the block runs; at_most: what a large one needs."""
    with ExitStack() as stack:
        for size_bytes in sizes:
            stack.enter_context(some.taken(size_bytes, at_most=at_most))
        yield


def test_three_large_imports_are_on_their_way_at_once_and_the_fourth_waits() -> None:
    some = Room()

    with (
        on_their_way(some, LARGE, LARGE, LARGE),
        pytest.raises(NoRoom, match="Other large"),
        some.taken(LARGE, at_most=IMPORT_BYTES),
    ):
        pytest.fail("there is no room for four")

    with on_their_way(some, LARGE, LARGE, LARGE):
        pass  # nobody has kept any of it


def test_two_large_exports_are_on_their_way_at_once_and_the_third_waits() -> None:
    some = Room()

    with (
        on_their_way(some, LARGE, LARGE, at_most=EXPORT_BYTES),
        pytest.raises(NoRoom),
        some.taken(LARGE, at_most=EXPORT_BYTES),
    ):
        pytest.fail("there is no room for three")


def test_an_import_and_an_export_go_side_by_side() -> None:
    some = Room()

    with on_their_way(some, LARGE), on_their_way(some, LARGE, at_most=EXPORT_BYTES):
        pass


def test_as_many_small_packages_as_a_process_takes_messages_do_not_wait() -> None:
    with on_their_way(Room(), *[SMALL] * 24):
        pass


def test_small_packages_go_beside_two_large_ones() -> None:
    with on_their_way(Room(), LARGE, LARGE, *[SMALL] * 20):
        pass


def test_packages_that_are_kept_as_a_whole_wait_for_each_other_as_well() -> None:
    some = Room()

    with (
        on_their_way(some, *[8 * 1024 * 1024] * 5),
        pytest.raises(NoRoom),
        some.taken(8 * 1024 * 1024, at_most=IMPORT_BYTES),
    ):
        pytest.fail("six of 8 MiB take 102 MiB, twice their size for a moment")


def test_a_package_that_waits_goes_as_soon_as_another_has_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "WAIT_S", 30)
    some, arrived, waits = Room(IMPORT_BYTES), threading.Event(), threading.Event()

    def follow() -> None:
        waits.set()
        with some.taken(LARGE, at_most=IMPORT_BYTES):
            arrived.set()

    with some.taken(LARGE, at_most=IMPORT_BYTES):
        thread = threading.Thread(target=follow)
        thread.start()
        assert waits.wait(10)
        assert not arrived.wait(0.1)

    assert arrived.wait(10)
    thread.join()


def test_a_package_that_fails_gives_its_room_back() -> None:
    some = Room(IMPORT_BYTES)

    with pytest.raises(KeyError), some.taken(LARGE, at_most=IMPORT_BYTES):
        raise KeyError

    with some.taken(LARGE, at_most=IMPORT_BYTES):
        pass


def test_the_room_leaves_an_instance_of_512_mb_to_the_app_and_to_azures_own_host() -> None:
    assert ROOM_BYTES <= 0.25 * 512 * 1024 * 1024
