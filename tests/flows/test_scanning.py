"""Scans: how new files are found, by notifications and every minute, and how few scans a storm costs."""

from collections.abc import Sequence
from typing import Final

import pytest

from local_cloud import faults
from shared.app import Services
from shared.config.model import ImportFlow
from shared.errors import TryAgain
from shared.runs.states import Outcome
from shared.scan import scan, scan_requests
from shared.scan.listing import Listing, list_folder
from shared.scan.scan_requests import CLOCKS_DIFFER_BY, request_message
from shared.scan.throttle import ECHO, SCAN_EVERY_S
from tests.flows.conftest import MakeWorld
from tests.flows.trouble import graph_fault, imports_of, put_into
from tests.world import World, wait_for

THREE_IMPORTS: Final = imports_of("customers", "vendors", "assets")


def listings(world: World) -> int:
    """Return how often an Input folder was listed."""
    return sum(call.method == "GET" and call.path.endswith("/children") for call in world.faults.calls)


def notified(world: World) -> str:
    """Return the message that a notification which comes now is queued as."""
    return request_message(world.clock.now())


def look(world: World, message: str = "") -> str:
    """Answer a message that asks for a scan; return the lane that its function would go on with."""
    return scan_requests.handle_request(message or notified(world), world.services)


def test_a_scan_goes_on_with_the_lane_of_a_new_file_itself_without_a_message(world: World) -> None:
    world.put("USMF_1.zip")

    world.deliver(notified(world))

    assert world.files("Processing") == ["USMF_1.zip"]
    assert [delay_s for _, delay_s in world.wakes_of_lanes()] == [2]  # for the poll of its execution
    assert world.scans_asked_for() == []


def test_a_scan_that_finds_files_of_several_lanes_goes_on_with_one_and_wakes_the_others(
    make_world: MakeWorld,
) -> None:
    world = make_world(settings={"INTEGRATIONS": THREE_IMPORTS})
    for folder in ("Customers", "Vendors", "Assets"):
        put_into(world, f"{folder}/Input")

    kept = look(world)

    woken = [text for text, _ in world.wakes_of_lanes()]
    assert sorted([kept, *woken]) == sorted(world.heads())
    assert len(woken) == 2


def test_a_folder_that_hangs_holds_up_no_lane_in_which_the_scan_has_found_a_file(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lane that a scan goes on with is that of the last folder: by then nothing is left to wait for."""
    world = make_world(settings={"INTEGRATIONS": THREE_IMPORTS})
    put_into(world, "Customers/Input")
    listing_of, woken_by_then = list_folder, list[tuple[str, float]]()

    def hanging(flows: Sequence[ImportFlow], services: Services) -> Listing:
        if flows[0].name == "vendors":
            wait_for(lambda: world.wakes_of_lanes(), timeout_s=10)
            woken_by_then.extend(world.wakes_of_lanes())
        return listing_of(flows, services)

    monkeypatch.setattr(scan, "list_folder", hanging)

    assert look(world) == ""
    assert woken_by_then == [(lane, 0) for lane in world.heads()]


def test_a_lane_is_woken_all_the_same_if_the_scan_that_found_its_file_breaks(world: World) -> None:
    world.put("USMF_1.zip")
    # A bug of another folder, which has none of its own here.
    world.monkeypatch.setattr(scan_requests, "gravest", lambda _scans: KeyError("a bug"))

    with pytest.raises(KeyError):
        look(world)

    assert world.wakes_of_lanes() == [(lane, 0) for lane in world.heads()]


def test_a_scan_that_began_by_a_clock_that_may_be_ahead_covers_nothing(world: World) -> None:
    """Who asks and who scans are instances with clocks of their own. What is covered by mistake costs a minute."""
    earlier = notified(world)
    world.clock.advance(CLOCKS_DIFFER_BY.total_seconds() - 0.1)
    look(world)
    before = listings(world)

    look(world, earlier)

    assert listings(world) == before + 1


def test_a_scan_that_finds_nothing_scans_again_after_5_20_and_60_seconds_and_then_no_more(world: World) -> None:
    look(world)

    for seconds in (5, 20, 60):
        text, delay_s = world.scans_asked_for()[-1]
        assert delay_s == seconds
        world.clock.advance(delay_s)
        look(world, text)

    assert [delay_s for _, delay_s in world.scans_asked_for()] == [5, 20, 60]
    assert listings(world) == 4


def test_a_file_that_the_listing_shows_late_is_found_by_a_later_scan(world: World) -> None:
    look(world)
    world.put("USMF_1.zip")
    text, delay_s = world.scans_asked_for()[-1]
    world.clock.advance(delay_s)

    look(world, text)

    assert len(world.heads()) == 1
    assert len(world.scans_asked_for()) == 1  # found: nothing more to look for


def test_a_storm_of_notifications_makes_one_scan_and_one_later_scan(world: World) -> None:
    storm = [notified(world)]
    for _ in range(50):
        world.clock.advance(0.01)
        storm.append(notified(world))
    world.clock.advance(CLOCKS_DIFFER_BY.total_seconds())

    for message in storm:
        look(world, message)

    assert listings(world) == 1
    assert [delay_s for _, delay_s in world.scans_asked_for()] == [5]


def test_a_message_of_another_kind_asks_for_a_scan_too(world: World) -> None:
    world.put("USMF_1.zip")

    look(world, "look")

    assert len(world.heads()) == 1


def test_a_scan_whose_listing_failed_is_made_again_soon(world: World) -> None:
    world.look()
    world.put("USMF_1.zip")
    world.faults.add(graph_fault("GET", "/children", faults.status(503)))
    message = notified(world)

    look(world, message)  # the message has been answered: another one asks for the next scan
    ((text, delay_s),) = world.scans_asked_for()
    world.clock.advance(delay_s)
    look(world, text)

    assert delay_s <= 5
    assert len(world.heads()) == 1


def test_a_scan_that_stood_still_before_it_knew_the_open_runs_opens_no_second_run_for_a_file_that_was_filed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.put("USMF_1.zip")
    scan.open_new_runs(world.new_process())
    store, open_places = world.services.store, world.services.store.open_places

    def overtaken() -> list[tuple[str, str]]:
        monkeypatch.setattr(store, "open_places", open_places)
        world.run_until_quiet()
        return open_places()

    monkeypatch.setattr(store, "open_places", overtaken)

    assert world.look() == 0
    assert [run.outcome for run in world.ended_runs()] == [Outcome.SUCCEEDED]


def test_a_scan_that_finds_nothing_after_a_change_of_our_own_scans_no_more(world: World) -> None:
    world.put("USMF_1.zip")
    look(world)
    world.run_until_quiet()

    look(world)
    assert world.scans_asked_for() == []

    world.clock.advance(ECHO.total_seconds() + 1)
    look(world)
    assert [delay_s for _, delay_s in world.scans_asked_for()] == [5]


def test_notifications_in_a_row_ask_for_one_scan_at_once_and_one_three_seconds_later(world: World) -> None:
    at_once: list[str] = []
    for _ in range(20):
        scan_requests.request_scan(world.services, at_once=at_once.append)
        world.clock.advance(0.1)

    assert len(at_once) == 1
    ((text, delay_s),) = world.scans_asked_for()
    assert delay_s == SCAN_EVERY_S

    world.clock.advance(delay_s)
    world.put("USMF_1.zip")
    look(world, at_once[0])
    look(world, text)
    assert len(world.heads()) == 1


def test_folders_in_input_are_left_alone(world: World) -> None:
    put_into(world, "Input/Later")

    assert world.look() == 0


def test_an_input_folder_that_a_person_deleted_is_made_anew(world: World) -> None:
    world.look()
    (world.folder / "Input").rmdir()

    with pytest.raises(TryAgain):
        world.look()
    world.look()
    world.put("USMF_1.zip")

    assert world.look() == 1


def test_a_folder_that_cannot_be_listed_does_not_keep_the_others_from_being_looked_at(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world = make_world(settings={"INTEGRATIONS": THREE_IMPORTS})
    world.look()
    for folder in ("Customers", "Vendors", "Assets"):
        put_into(world, f"{folder}/Input")
    world.faults.add(graph_fault("GET", "/children", faults.status(503)))

    with pytest.raises(TryAgain):
        world.look()

    assert len(world.heads()) == 2
    assert '"scan.failed"' in caplog.text
    assert world.look() == 1
