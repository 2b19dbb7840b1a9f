"""A package on its way into F&O's blob storage: whatever happens to it there, F&O imports it whole or not at all."""

import os
import random
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import pytest

from local_cloud import faults
from local_cloud.faults import Fault
from shared import package_memory
from shared.clients.blobs import read, write
from shared.imports.package import PackageFacts, check_package
from shared.runs.states import State
from tests.flows.conftest import MakeWorld
from tests.flows.trouble import ALERTS, begin, import_file, let_pass, room_taken
from tests.packages import build_package
from tests.world import World

WORLD_SETTINGS = ALERTS
NAME = "USMF_Customers_001.zip"


def package_of(rows: int) -> bytes:
    """Return a package of about 30 bytes a row, whatever it is compressed with."""
    letters = random.Random(rows)
    return build_package(rows=[(f"R{number}", letters.randbytes(24).hex()) for number in range(rows)])


@pytest.fixture
def make_small(monkeypatch: pytest.MonkeyPatch, make_world: MakeWorld) -> MakeWorld:
    """Make a world in which a package of some 30 kB is a large one: read by ranges, and sent in blocks."""
    for name, size_bytes in {"IN_MEMORY": 1000, "_RANGE": 4000, "_FIRST": 4000}.items():
        monkeypatch.setattr(read, name, size_bytes)
    for name, size_bytes in {"_AT_ONCE": 1000, "BLOCK": 8000}.items():
        monkeypatch.setattr(write, name, size_bytes)
    return make_world


@pytest.mark.quick(cases=2)
@pytest.mark.parametrize("nth", [2, 3], ids=["while it is looked into", "half-way"])
@pytest.mark.parametrize("do", [faults.cut_body(), faults.status(401)], ids=["breaks off", "expires"])
def test_a_package_is_imported_once_and_whole_when_its_download(
    make_small: MakeWorld, do: faults.Action, nth: int
) -> None:
    world = make_small()
    world.faults.add(Fault("graph-content", "GET", "", nth, do=do))

    import_file(world, NAME, package_of(1000))

    assert world.imports() == [("USMF", 1000)]
    assert world.files("Success") == [NAME]
    (run,) = world.ended_runs()
    assert any(step.error for step in run.steps)


@pytest.mark.parametrize("rows", [500, 1500], ids=["shrinks", "grows"])
def test_a_package_is_imported_as_it_is_in_the_end_when_it(make_small: MakeWorld, rows: int) -> None:
    world = make_small()

    def replaced_after_check(file: BinaryIO) -> PackageFacts:
        facts = check_package(file)
        world.monkeypatch.setattr("shared.imports.upload.check_package", check_package)
        (world.folder / "Processing" / NAME).write_bytes(package_of(rows))
        return facts

    world.monkeypatch.setattr("shared.imports.upload.check_package", replaced_after_check)

    import_file(world, NAME, package_of(1000))

    assert world.imports() == [("USMF", rows)]
    (run,) = world.ended_runs()
    assert [step.error for step in run.steps if "bytes were received" in step.error]


def test_a_package_whose_hash_does_not_match_is_fetched_again_then_told_and_never_imported(world: World) -> None:
    lane = begin(world, NAME)
    change_unseen(world.folder / "Input" / NAME)
    let_pass(world, lane, timedelta(minutes=20))
    assert world.calls("ImportFromPackage") == 0
    (mail,) = world.mails()
    assert "quickXorHash" in str(mail)
    assert world.files("Processing") == [NAME]

    os.utime(world.folder / "Processing" / NAME)  # OneDrive hashes it again
    world.run_until_quiet()

    assert world.imports() == [("USMF", 1)]


def change_unseen(file: Path) -> None:
    """Change the time of day in a zip, so that OneDrive's hash is no longer that of the bytes it hands out."""
    before = file.stat()
    content = bytearray(file.read_bytes())
    content[10] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


# -- room in the process's memory


def test_a_package_for_which_there_is_no_room_waits_its_turn_and_nothing_has_failed(world: World) -> None:
    world.monkeypatch.setattr(package_memory, "WAIT_S", 0.0)
    lane = begin(world, NAME, content=package_of(10))

    with room_taken(world):
        world.wake(lane)

    (run,) = world.all_open_runs()
    assert (run.state, run.attempts, run.failing_since) == (State.CLAIMED, 0, None)
    assert run.waits
    assert run.waits.what == "room for its package"
    assert run.due - world.clock.now() <= timedelta(seconds=5)
    world.run_until_quiet()
    assert world.imports() == [("USMF", 10)]
    assert world.mails() == []
    (ended,) = world.ended_runs()
    assert ended.waits is None
