"""Clocks that disagree, workers and hosts that stand still, tokens that run out, and hours that come twice."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from inbound_trigger.keep_watch import do_duties
from local_cloud import faults
from shared.clients.blobs.write import stream_to_blob
from shared.clients.graph.drive_item import DriveItem
from shared.clients.graph.upload import UploadSession
from shared.imports.steps import advance_imports
from shared.scan.folder_scans import CHECKPOINT, parse_scans
from tests.exports import EXPORT, HOURLY, export, prepared
from tests.flows.conftest import MakeWorld
from tests.flows.trouble import ALERTS, IMPORT_STATES, as_soon_as, begin, fno_fault, import_file
from tests.world import World

WORLD_SETTINGS = ALERTS
QUARTER: Final = 15 * 60.0  # seconds
SKEW: Final = timedelta(minutes=5)


def test_two_hosts_whose_clocks_differ_by_five_minutes_import_every_file_once_and_in_order(world: World) -> None:
    ahead = world.new_process()
    ahead.now = lambda: world.clock.now() + SKEW
    world.faults.add(fno_fault("ImportFromPackage", faults.lost_after(), nth=2))
    lane = begin(world, *(f"USMF_{number}.zip" for number in range(3)))

    for _ in range(60):
        for services in (ahead, world.services):
            advance_imports(lane, services)
        world.clock.advance(20)
        if not world.heads():
            break

    assert world.heads() == {}
    assert world.imports() == [("USMF", 1)] * 3
    assert world.calls("ImportFromPackage") == 3
    assert world.files("Success") == ["USMF_0.zip", "USMF_1.zip", "USMF_2.zip"]


# Standing still


def overtaken(world: World) -> None:
    """Stand still for a quarter of an hour, in which another process brings everything to its end."""
    world.clock.advance(QUARTER)
    world.let_leases_run_out()
    world.services = world.new_process()
    world.run_until_quiet(at_most_s=7200)


def test_a_worker_that_stands_still_for_a_quarter_of_an_hour_in_any_state_changes_nothing_afterwards(
    world: World,
) -> None:
    for state in IMPORT_STATES[1:]:
        as_soon_as(world, state, lambda _: overtaken(world))
        import_file(world, f"USMF_{state}.zip")

    assert world.files("Success") == sorted(f"USMF_{state}.zip" for state in IMPORT_STATES[1:])
    assert world.imports() == [("USMF", 1)] * 4
    assert world.heads() == {}


def test_a_host_that_sleeps_for_a_quarter_of_an_hour_again_and_again_imports_once_and_tells_nobody(
    world: World,
) -> None:
    world.put("USMF_1.zip")
    for _ in range(4):
        world.clock.advance(QUARTER)
        world.services = world.new_process()
        do_duties(world.services)
        for lane in world.heads():
            world.wake(lane)

    assert world.imports() == [("USMF", 1)]
    assert world.files("Success") == ["USMF_1.zip"]
    assert world.mails() == []


# Tokens


def test_tokens_that_run_out_during_a_long_transfer_are_replaced_and_nothing_is_sent_twice(
    make_world: MakeWorld,
) -> None:
    world = prepared(make_world(settings={**EXPORT, **ALERTS, "INPUT_FOLDER": "Input"}))
    put = UploadSession.put

    def slow_import(*parts: object) -> object:
        sent = stream_to_blob(*parts)  # type: ignore[arg-type]  # passed on as it came
        world.desk.expire_all()
        return sent

    def slow_export(session: UploadSession, start: int, chunk: bytes) -> DriveItem | None:
        world.desk.expire_all()
        return put(session, start, chunk)

    world.monkeypatch.setattr("shared.imports.upload.stream_to_blob", slow_import)
    world.monkeypatch.setattr(UploadSession, "put", slow_export)
    before = len(world.imports())

    import_file(world, "USMF_1.zip")
    run = export(world)
    world.clock.advance(30)
    export(world)

    assert world.imports()[before:] == [("USMF", 1)]
    assert sum(call.status == 401 and "ImportFromPackage" in call.path for call in world.faults.calls) == 1
    assert run.file.name in world.files("Output")
    assert world.mails() == []


# The hour that comes twice


def test_exports_begin_each_hour_although_the_clocks_of_the_country_are_turned_back(make_world: MakeWorld) -> None:
    """The schedule's ticks, the app's intervals and the names of its files are all in UTC."""
    with in_central_europe():
        world = prepared(make_world(settings=HOURLY))
        change_back = datetime(2026, 10, 25, 1, 0, tzinfo=UTC)  # 3:00 becomes 2:00
        started = []
        for tick in range(-6, 8):
            world.clock.present = change_back + timedelta(minutes=15 * tick)
            if world.start_exports():
                started.append(tick)
            for lane in world.heads():
                world.wake(lane)
            world.clock.advance(11)
            world.run_until_quiet(at_most_s=600)

        assert started == [-6, -2, 2, 6]
        assert [name[-19:-4] for name in world.files("Output")] == [
            "20261024-233000",
            "20261025-003000",
            "20261025-013000",
            "20261025-023000",
        ]


def test_a_folder_in_input_is_there_since_when_its_note_says_in_utc_whatever_the_zone_of_this_machine(
    world: World,
) -> None:
    (world.folder / "Input" / "2026").mkdir()
    do_duties(world.services)
    content = world.services.checkpoints.read(CHECKPOINT).content
    (stray,) = parse_scans(content, world.services)[0].strays

    with in_central_europe():
        zoneless = {name: text.replace("+00:00", "") for name, text in content.items()}
        (read,) = parse_scans(zoneless, world.services)[0].strays

    assert read == stray


@contextmanager
def in_central_europe() -> Iterator[None]:
    """Let this machine's clock show the time of a country whose clocks are turned, and its own again afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        _take_time_zone()
        yield
    _take_time_zone()


def _take_time_zone() -> None:
    if hasattr(time, "tzset"):  # Windows has none
        time.tzset()
