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
from shared.clients.fno.client import FinanceOperations
from shared.clients.graph.drive_item import DriveItem
from shared.clients.graph.upload import UploadSession
from shared.imports.steps import advance_imports
from shared.runs.run import Run
from shared.runs.states import State
from shared.scan import scan_requests
from tests.exports import EXPORT, change, delivered, export, prepared
from tests.unit.flows.conftest import MakeWorld
from tests.unit.flows.trouble import ALERTS, IMPORT_STATES, as_soon_as, fno_fault, look_and_finish
from tests.world import World

QUARTER: Final = 15 * 60.0  # seconds
SKEW: Final = timedelta(minutes=5)


def test_two_hosts_whose_clocks_differ_by_five_minutes_import_every_file_once_and_in_order(world: World) -> None:
    ahead = world.new_process()
    ahead.now = lambda: world.clock.now() + SKEW
    world.faults.add(fno_fault("ImportFromPackage", faults.lost_after(), nth=2))
    for number in range(3):
        world.put(f"USMF_{number}.zip")
    world.look()
    (lane,) = world.heads()

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


def test_a_file_is_seen_within_a_minutes_look_although_the_last_look_began_on_a_host_five_minutes_ahead(
    world: World,
) -> None:
    ahead = world.new_process()
    ahead.now = lambda: world.clock.now() + SKEW
    scan_requests.handle_request(scan_requests.request_message(ahead.now()), ahead)
    world.put("USMF_1.zip")

    scan_requests.handle_request(scan_requests.request_message(world.clock.now()), world.services)
    do_duties(world.services)

    assert [run.file.name for run in world.open_runs()] == ["USMF_1.zip"]


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
        world.put(f"USMF_{state}.zip")
        as_soon_as(world, state, lambda _: overtaken(world))
        look_and_finish(world)

    assert world.files("Success") == sorted(f"USMF_{state}.zip" for state in IMPORT_STATES[1:])
    assert world.imports() == [("USMF", 1)] * 4
    assert world.heads() == {}


def test_a_worker_that_loses_its_lane_and_its_turn_while_it_sends_the_import_imports_nothing_a_second_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = FinanceOperations.import_from_package

    def late(fno: FinanceOperations, **request: object) -> str:
        monkeypatch.setattr(FinanceOperations, "import_from_package", send)
        overtaken(world)
        return send(fno, **request)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(FinanceOperations, "import_from_package", late)
    world.put("USMF_1.zip")

    look_and_finish(world)

    assert world.calls("ImportFromPackage") == 2
    assert world.imports() == [("USMF", 1)]
    assert world.files("Success") == ["USMF_1.zip"]


def test_an_export_whose_worker_stands_still_in_any_state_loses_no_change(make_world: MakeWorld) -> None:
    """A request that is sent a quarter of an hour late takes changes along; the next export delivers them."""
    world = prepared(make_world(settings=EXPORT))

    def overtaken_and_changed(run: Run) -> None:
        overtaken(world)
        change(world, (f"After {run.state}", "changed"))

    for state in (State.SUBMITTING, State.EXECUTING, State.READY):
        as_soon_as(world, state, overtaken_and_changed)
        world.start_exports()
        world.run_until_quiet(at_most_s=7200)
        world.clock.advance(60)
    export(world)

    rows = [row for rows in delivered(world).values() for row in rows]
    assert sorted(rows) == ["A", "After executing", "After ready", "After submitting", "B"]


def test_a_host_that_sleeps_for_a_quarter_of_an_hour_again_and_again_imports_once_and_tells_nobody(
    make_world: MakeWorld,
) -> None:
    world = make_world(settings=ALERTS)
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
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
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

    monkeypatch.setattr("shared.imports.upload.stream_to_blob", slow_import)
    monkeypatch.setattr(UploadSession, "put", slow_export)
    world.put("USMF_1.zip")
    before = len(world.imports())

    look_and_finish(world)
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
        flows = (
            '{"exports": [{"name": "assets", "outputFolder": "Output", "dataProject": "Asset-Major-Types-Export", '
            '"company": "USMF", "everySeconds": 3600}]}'
        )
        world = prepared(make_world(settings={"INPUT_FOLDER": "", "INTEGRATIONS": flows}))
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
