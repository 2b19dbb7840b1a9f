"""How new files are seen, lost wake-ups are sent again, and Graph's subscription is kept."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from inbound_trigger import work
from inbound_trigger.keep_watch import do_duties
from local_cloud import faults
from local_cloud.faults import Fault
from local_cloud.onedrive import Knobs
from shared.app import Services
from shared.clients.graph.drive_item import DriveItem
from shared.clients.graph.subscriptions import LONGEST_LIFE
from shared.config.integrations import ImportFlow
from shared.errors import NeedsPerson, TryAgain
from shared.runs import wake
from shared.runs.states import Outcome, State
from shared.runs.worker import LEFT_TO_TIMER_S
from shared.scan import scan, scan_requests
from shared.scan.scan_requests import CLOCKS_DIFFER_BY, request_message
from shared.scan.throttle import ECHO, SCAN_EVERY_S
from shared.secret import Secret, SecretUrl
from tests.contract.receiver import Receiver
from tests.unit.flows.conftest import MakeNotified, MakeWorld
from tests.world import World, wait_for

THREE_IMPORTS: Final = json.dumps(
    {
        "imports": [
            {"name": "customers", "inputFolder": "Customers/Input", "dataProject": "Customers"},
            {"name": "vendors", "inputFolder": "Vendors/Input", "dataProject": "Vendors"},
            {"name": "assets", "inputFolder": "Assets/Input", "dataProject": "Assets"},
        ]
    }
)


def graph_fault(method: str, path_regex: str, do: faults.Action, *, nth: int = 1, times: int | None = 1) -> Fault:
    return Fault("graph", method, path_regex, nth, times, do=do)


def listings(world: World) -> int:
    """Return how often an Input folder was listed."""
    return sum(call.method == "GET" and call.path.endswith("/children") for call in world.faults.calls)


def notified(world: World) -> str:
    """Return the message that a notification which comes now is queued as."""
    return request_message(world.clock.now())


def look(world: World, message: str = "") -> str:
    """Answer a message that asks for a scan; return the lane that its function would go on with."""
    return scan_requests.handle_request(message or notified(world), world.services)


# A look


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
        (world.folder / folder / "Input").mkdir(parents=True)
        (world.folder / folder / "Input" / "USMF_1.zip").write_bytes(b"x")

    kept = look(world)

    woken = [text for text, _ in world.wakes_of_lanes()]
    assert sorted([kept, *woken]) == sorted(world.heads())
    assert len(woken) == 2


def test_a_folder_that_hangs_holds_up_no_lane_in_which_the_scan_has_found_a_file(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lane that a scan goes on with is that of the last folder: by then nothing is left to wait for."""
    world = make_world(settings={"INTEGRATIONS": THREE_IMPORTS})
    (world.folder / "Customers" / "Input").mkdir(parents=True)
    (world.folder / "Customers" / "Input" / "USMF_1.zip").write_bytes(b"x")
    files_of, woken_by_then = scan._list_files, list[tuple[str, float]]()

    def hanging(flow: ImportFlow, services: Services) -> list[DriveItem]:
        if flow.name == "vendors":
            wait_for(lambda: world.wakes_of_lanes(), timeout_s=10)
            woken_by_then.extend(world.wakes_of_lanes())
        return files_of(flow, services)

    monkeypatch.setattr(scan, "_list_files", hanging)

    assert look(world) == ""
    assert woken_by_then == [(lane, 0) for lane in world.heads()]


def test_a_lane_is_woken_all_the_same_if_the_scan_that_found_its_file_breaks(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world()
    world.put("USMF_1.zip")
    # A bug of another folder, which has none of its own here.
    monkeypatch.setattr(scan_requests, "gravest", lambda _scans: KeyError("a bug"))

    with pytest.raises(KeyError):
        look(world)

    assert world.wakes_of_lanes() == [(lane, 0) for lane in world.heads()]


def test_a_scan_that_was_asked_for_before_the_last_one_began_is_done_already(world: World) -> None:
    earlier = notified(world)
    world.clock.advance(CLOCKS_DIFFER_BY.total_seconds())
    look(world)
    before = listings(world)

    look(world, earlier)

    assert listings(world) == before


def test_a_scan_that_began_by_a_clock_that_may_be_ahead_covers_nothing(world: World) -> None:
    """Who asks and who scans are instances with clocks of their own. What is covered by mistake costs a minute."""
    earlier = notified(world)
    world.clock.advance(CLOCKS_DIFFER_BY.total_seconds() - 0.1)
    look(world)
    before = listings(world)

    look(world, earlier)

    assert listings(world) == before + 1


def test_a_look_that_is_asked_for_after_the_last_one_began_is_done(world: World) -> None:
    look(world)
    before = listings(world)
    world.clock.advance(0.001)

    look(world)

    assert listings(world) == before + 1


def test_a_look_that_finds_nothing_looks_again_after_5_20_and_60_seconds_and_then_no_more(world: World) -> None:
    look(world)

    for seconds in (5, 20, 60):
        text, delay_s = world.scans_asked_for()[-1]
        assert delay_s == seconds
        world.clock.advance(delay_s)
        look(world, text)

    assert [delay_s for _, delay_s in world.scans_asked_for()] == [5, 20, 60]
    assert listings(world) == 4


def test_a_file_that_the_listing_shows_late_is_found_by_a_later_look(make_world: MakeWorld) -> None:
    world = make_world()
    look(world)
    world.put("USMF_1.zip")
    text, delay_s = world.scans_asked_for()[-1]
    world.clock.advance(delay_s)

    look(world, text)

    assert len(world.heads()) == 1
    assert len(world.scans_asked_for()) == 1  # found: nothing more to look for


def test_a_storm_of_notifications_makes_one_look_and_one_later_look(world: World) -> None:
    storm = [notified(world)]
    for _ in range(50):
        world.clock.advance(0.01)
        storm.append(notified(world))
    world.clock.advance(CLOCKS_DIFFER_BY.total_seconds())

    for message in storm:
        look(world, message)

    assert listings(world) == 1
    assert [delay_s for _, delay_s in world.scans_asked_for()] == [5]


def test_a_storm_that_lasts_a_minute_never_has_more_than_a_few_looks_ahead(world: World) -> None:
    """One notification a second, each after the look of the one before: the looks ahead do not add up."""
    ahead: list[tuple[datetime, str]] = []
    looked = 0
    sent = 0
    most_ahead = 0
    for _ in range(60):
        world.clock.advance(1)
        due = [message for moment, message in ahead if moment <= world.clock.now()]
        ahead = [(moment, message) for moment, message in ahead if moment > world.clock.now()]
        for message in [*due, notified(world)]:
            look(world, message)
            looked += 1
        new = world.scans_asked_for()[sent:]
        sent += len(new)
        ahead += [(world.clock.now() + timedelta(seconds=delay_s), text) for text, delay_s in new]
        most_ahead = max(most_ahead, len(ahead))

    assert looked > 60
    assert most_ahead <= 8
    assert listings(world) <= 75


def test_a_message_of_another_kind_asks_for_a_look_too(world: World) -> None:
    world.put("USMF_1.zip")

    look(world, "look")

    assert len(world.heads()) == 1


def test_a_look_whose_listing_failed_is_made_again_soon(world: World) -> None:
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


def test_a_look_at_empty_folders_asks_nothing_of_storage(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for question in ("open_places", "open_lanes", "lane", "begun"):
        monkeypatch.setattr(world.services.store, question, lambda *_: pytest.fail("the open runs were asked for"))

    assert world.look() == 0


def test_a_look_that_stood_still_before_it_knew_the_open_runs_opens_no_second_run_for_a_file_that_was_filed(
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


def test_a_look_that_finds_nothing_after_a_change_of_our_own_looks_no_more(world: World) -> None:
    world.put("USMF_1.zip")
    look(world)
    world.run_until_quiet()

    look(world)
    assert world.scans_asked_for() == []

    world.clock.advance(ECHO.total_seconds() + 1)
    look(world)
    assert [delay_s for _, delay_s in world.scans_asked_for()] == [5]


def test_notifications_in_a_row_ask_for_one_look_at_once_and_one_three_seconds_later(world: World) -> None:
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


def test_two_looks_at_the_same_moment_open_one_run_for_a_file(world: World) -> None:
    world.put("USMF_1.zip")
    other = world.new_process()
    other.store = world.services.store

    scan.open_new_runs(world.services)
    scan.open_new_runs(other)

    assert len(world.all_open_runs()) == 1


def test_new_files_of_many_lanes_wake_each_lane_once(make_world: MakeWorld) -> None:
    world = make_world(settings={"INTEGRATIONS": THREE_IMPORTS})
    for folder in ("Customers", "Vendors"):
        (world.folder / folder / "Input").mkdir(parents=True)
        for number in range(3):
            (world.folder / folder / "Input" / f"USMF_{number}.zip").write_bytes(b"x")

    assert world.look() == 6

    lanes = [text for text, _ in world.wakes_of_lanes()]
    assert sorted(lanes) == sorted(world.heads())
    assert len(lanes) == 2


def test_an_input_folder_of_many_pages_is_seen_whole(make_world: MakeWorld) -> None:
    world = make_world(knobs=Knobs(page_size=2))
    for number in range(5):
        world.put(f"USMF_{number}.zip")

    assert world.look() == 5


def test_folders_in_input_are_left_alone(world: World) -> None:
    (world.folder / "Input" / "Later").mkdir()
    (world.folder / "Input" / "Later" / "USMF_1.zip").write_bytes(b"x")

    assert world.look() == 0


def test_an_input_folder_that_a_person_deleted_is_made_anew(world: World) -> None:
    world.look()
    (world.folder / "Input").rmdir()

    with pytest.raises(TryAgain):
        world.look()
    world.look()
    world.put("USMF_1.zip")

    assert world.look() == 1


def test_folders_that_are_missing_are_made_at_the_first_look(world: World) -> None:
    (world.folder / "Input").rmdir()

    world.look()

    assert (world.folder / "Input").is_dir()


def test_a_folder_that_cannot_be_listed_does_not_keep_the_others_from_being_looked_at(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world = make_world(settings={"INTEGRATIONS": THREE_IMPORTS})
    world.look()
    for folder in ("Customers", "Vendors", "Assets"):
        (world.folder / folder / "Input" / "USMF_1.zip").write_bytes(b"x")
    world.faults.add(graph_fault("GET", "/children", faults.status(503)))

    with pytest.raises(TryAgain):
        world.look()

    assert len(world.heads()) == 2
    assert '"scan.failed"' in caplog.text
    assert world.look() == 1


def test_a_permission_that_is_missing_is_told_by_the_look(world: World) -> None:
    world.faults.add(graph_fault("GET", "/drives/", faults.status(403), times=None))

    with pytest.raises(NeedsPerson):
        world.look()


# Every minute


def keep_watch(world: World) -> None:
    do_duties(world.services)


def test_the_timer_sees_a_file_that_no_notification_told_of(world: World) -> None:
    world.put("USMF_1.zip")

    keep_watch(world)

    (lane,) = world.heads()
    assert world.wakes_of_lanes() == [(lane, 0)]


def test_a_lane_whose_wake_up_was_lost_is_woken_once_at_each_tick(world: World) -> None:
    world.put("USMF_1.zip")
    keep_watch(world)
    (lane,) = world.heads()

    world.clock.advance(wake.OVERDUE_S + 1)
    keep_watch(world)
    assert world.wakes_of_lanes() == [(lane, 0)] * 2

    world.clock.advance(60)
    keep_watch(world)
    assert world.wakes_of_lanes() == [(lane, 0)] * 3


def test_a_lane_that_is_not_overdue_is_left_alone(world: World) -> None:
    world.put("USMF_1.zip")
    keep_watch(world)
    (lane,) = world.heads()
    world.clock.advance(wake.OVERDUE_S - 1)

    keep_watch(world)

    assert world.wakes_of_lanes() == [(lane, 0)]


def test_a_lane_whose_head_waits_is_left_alone_however_long_the_others_have_waited(world: World) -> None:
    for number in range(3):
        world.put(f"USMF_{number}.zip")
    keep_watch(world)
    run = world.open_runs()[0]
    world.services.store.save(run.waiting(3600, world.clock.now()))
    world.clock.advance(1800)

    keep_watch(world)

    assert len(world.wakes_of_lanes()) == 1


def test_an_export_whose_wake_up_was_lost_is_woken(make_world: MakeWorld) -> None:
    world = make_world(settings={"EXPORT_DATA_PROJECT": "Assets", "EXPORT_COMPANY": "USMF"})
    world.start_exports()
    (lane,) = world.heads()
    world.clock.advance(61)

    keep_watch(world)

    assert world.wakes_of_lanes() == [(lane, 0)] * 2


def with_lanes_that_wait(make_world: MakeWorld, *waits_s: float) -> World:
    """Return a world with a lane for each wait, whose run has just been put off for so long and is polled then."""
    imports = [
        {"name": f"flow-{number}", "inputFolder": f"{number}/Input", "dataProject": f"P{number}"}
        for number in range(len(waits_s))
    ]
    # By storage's clock, which says since when a run waits.
    world = make_world(settings={"INTEGRATIONS": json.dumps({"imports": imports})}, at=datetime.now(UTC))
    for number in range(len(waits_s)):
        (world.folder / str(number) / "Input").mkdir(parents=True)
        (world.folder / str(number) / "Input" / "USMF_1.zip").write_bytes(b"x")
    world.look()
    for run in world.all_open_runs():
        wait_s = waits_s[int(run.flow_name.removeprefix("flow-"))]
        world.services.store.save(replace(run, state=State.CLAIMED).waiting(wait_s, world.clock.now()))
    world.wakes.sent.clear()
    return world


def test_a_lane_whose_long_wait_ends_before_the_next_tick_is_woken_in_time(make_world: MakeWorld) -> None:
    world = with_lanes_that_wait(make_world, 300)
    for _ in range(4):
        keep_watch(world)
        assert world.wakes_of_lanes() == []
        world.clock.advance(60)

    keep_watch(world)

    ((lane, delay_s),) = world.wakes_of_lanes()
    assert lane in world.heads()
    assert 60 <= delay_s - wake.AFTER_DUE_S + 1 <= 61


def test_a_lane_that_has_a_message_of_its_own_is_not_woken_by_the_timer_too(make_world: MakeWorld) -> None:
    world = with_lanes_that_wait(make_world, 40)

    keep_watch(world)

    assert world.wakes_of_lanes() == []


def test_a_message_of_its_own_that_waits_below_a_minute_and_the_timer_overlap_without_a_gap(
    make_world: MakeWorld,
) -> None:
    """The clock of storage, which says since when a run waits, may be ahead: then a lane is woken twice, never not."""
    world = with_lanes_that_wait(make_world, LEFT_TO_TIMER_S - wake.CLOCKS_DIFFER_BY_S + 1)

    keep_watch(world)

    assert len(world.wakes_of_lanes()) == 1


def test_lanes_whose_waits_end_at_about_the_same_time_share_a_message(make_world: MakeWorld) -> None:
    world = with_lanes_that_wait(make_world, *[240 + number / 10 for number in range(wake.LANES_IN_MESSAGE + 5)], 290)
    world.clock.advance(235)

    keep_watch(world)

    messages = [(len(text.splitlines()), round(delay_s)) for text, delay_s in world.wakes_of_lanes()]
    assert sorted(messages) == [(1, 57), (5, 10), (wake.LANES_IN_MESSAGE, 9)]


@pytest.mark.parametrize("tick_s", [62.0, 70.0, 89.0])
def test_a_lane_whose_wait_ended_just_before_a_late_tick_is_woken_by_that(make_world: MakeWorld, tick_s: float) -> None:
    world = with_lanes_that_wait(make_world, 60)
    world.clock.advance(tick_s)

    keep_watch(world)

    assert [delay_s for _, delay_s in world.wakes_of_lanes()] == [0]


def test_what_is_overdue_does_not_wait_for_a_lane_that_is_due_later(make_world: MakeWorld) -> None:
    world = with_lanes_that_wait(make_world, 60, 105)
    world.clock.advance(95)

    keep_watch(world)

    assert sorted(round(delay_s) for _, delay_s in world.wakes_of_lanes()) == [0, 12]


def test_a_lane_that_fails_in_a_message_of_several_is_logged_and_comes_again_alone(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = with_lanes_that_wait(make_world, 240, 241, 242)
    world.clock.advance(243)
    bad, *others = sorted(world.heads())
    worked: list[str] = []

    def one_breaks(line: str, _services: Services) -> None:
        worked.append(line)
        if line == bad:
            raise KeyError("a bug")

    monkeypatch.setattr(work, "advance_lane", one_breaks)

    world.deliver("\n".join([bad, *others]))

    assert sorted(worked) == [bad, *others]
    assert world.wakes_of_lanes() == [(bad, work.AGAIN_S)]
    assert f'"lane.failed", "lane": "{bad}"' in caplog.text


def test_each_lane_of_a_message_is_worked_at(make_world: MakeWorld) -> None:
    world = with_lanes_that_wait(make_world, 240, 241, 242)
    world.clock.advance(243)

    world.deliver("\n".join(sorted(world.heads())))

    assert all(run.attempts or run.state is not State.CLAIMED for run in world.all_open_runs())


def test_one_duty_that_fails_keeps_the_timer_from_none_of_the_others(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.put("USMF_1.zip")
    keep_watch(world)
    world.clock.advance(61)
    world.faults.add(graph_fault("GET", "/children", faults.status(503)))

    with pytest.raises(TryAgain):
        keep_watch(world)

    assert len(world.wakes_of_lanes()) == 2
    assert '"duty.failed"' in caplog.text


def test_what_only_a_person_can_mend_is_told_once_however_often_the_timer_meets_it(make_world: MakeWorld) -> None:
    world = make_world(settings={"ALERT_RECIPIENT": "ops@contoso.com", "ALERT_SENDER": "app@contoso.com"})
    forbidden = graph_fault("GET", "/drives/", faults.status(403), times=None)
    passing = graph_fault("GET", "/drives/", faults.status(503), times=None)

    for fault, kind in (
        (forbidden, NeedsPerson),
        (forbidden, NeedsPerson),
        (passing, TryAgain),
        (forbidden, NeedsPerson),
    ):
        world.faults.clear()
        world.faults.add(fault)
        with pytest.raises(kind):
            keep_watch(world)
    assert len(world.mails()) == 1
    assert "Files.ReadWrite.All" in world.mails()[0].content

    world.faults.clear()
    keep_watch(world)
    restart(world)
    world.faults.add(forbidden)
    with pytest.raises(NeedsPerson):
        keep_watch(world)
    assert len(world.mails()) == 2


def test_a_file_whose_run_has_begun_is_not_opened_again_by_the_timer(world: World) -> None:
    world.put("USMF_1.zip")
    keep_watch(world)
    run = world.open_runs()[0]
    world.services.store.save(replace(run, state=State.CLAIMED))

    keep_watch(world)

    assert len(world.all_open_runs()) == 1


# Graph's subscription


def restart(world: World, **settings: str) -> None:
    """Start the app anew with other settings, over the same storage."""
    world._more_settings.update(settings)
    store = world.services.store
    world.services = world.new_process()
    world.services.store = store


def subscription_id(world: World) -> str:
    (subscription,) = world.onedrive.subscriptions
    return subscription.subscription_id


def created(world: World) -> int:
    return sum(call.method == "POST" and call.path.endswith("/subscriptions") for call in world.faults.calls)


def renewed(world: World) -> int:
    return sum(call.method == "PATCH" and "/subscriptions/" in call.path for call in world.faults.calls)


def test_the_app_subscribes_by_itself_once(make_notified: MakeNotified, receiver: Receiver) -> None:
    world = make_notified()

    for _ in range(3):
        keep_watch(world)

    (subscription,) = world.onedrive.subscriptions
    assert subscription.resource == f"/drives/{world.onedrive.drive_id}/root"
    assert subscription.notification_url == receiver.url().reveal()
    assert subscription.client_state == "the-first-secret-of-the-tests"
    assert (created(world), renewed(world), receiver.handshakes) == (1, 0, 1)


def test_without_an_address_nothing_is_subscribed(world: World) -> None:
    keep_watch(world)

    assert world.onedrive.subscriptions == []
    assert created(world) == 0


def test_a_drive_with_many_imports_has_one_subscription(make_notified: MakeNotified) -> None:
    world = make_notified(INTEGRATIONS=THREE_IMPORTS)

    keep_watch(world)

    assert len(world.onedrive.subscriptions) == 1


def test_a_subscription_is_renewed_once_a_day_and_keeps_its_id(make_notified: MakeNotified) -> None:
    world = make_notified()
    keep_watch(world)
    before = world.onedrive.subscriptions[0]
    world.clock.advance(23 * 3600)
    keep_watch(world)
    assert renewed(world) == 0

    world.clock.advance(2 * 3600)
    for _ in range(2):
        keep_watch(world)

    after = world.onedrive.subscriptions[0]
    assert renewed(world) == 1
    assert after.subscription_id == before.subscription_id
    assert after.expires_s - before.expires_s == pytest.approx(25 * 3600, abs=2)


def test_a_subscription_lives_as_long_as_graph_lets_it(make_notified: MakeNotified) -> None:
    world = make_notified()

    keep_watch(world)

    life = datetime.fromtimestamp(world.onedrive.subscriptions[0].expires_s, UTC) - world.clock.now()
    assert LONGEST_LIFE - timedelta(days=1) < life < LONGEST_LIFE


def test_a_subscription_that_graph_has_dropped_is_made_anew_at_its_renewal(make_notified: MakeNotified) -> None:
    world = make_notified()
    keep_watch(world)
    first = subscription_id(world)
    world.onedrive.forget_subscription(first)
    world.clock.advance(25 * 3600)

    keep_watch(world)

    assert subscription_id(world) != first
    assert (created(world), renewed(world)) == (2, 1)


def test_a_file_that_the_timer_found_first_lets_the_subscription_be_looked_at(make_notified: MakeNotified) -> None:
    world = make_notified()
    keep_watch(world)
    world.onedrive.forget_subscription(subscription_id(world))
    world.put("USMF_1.zip")

    keep_watch(world)

    assert len(world.onedrive.subscriptions) == 1


def test_a_subscription_that_graph_has_of_us_already_is_adopted(
    make_notified: MakeNotified, receiver: Receiver
) -> None:
    """The note of it was lost, or another process made it a moment ago."""
    world = make_notified()
    existing = subscribe(world, receiver.url())

    keep_watch(world)

    assert subscription_id(world) == existing
    assert (created(world), renewed(world)) == (2, 1)
    keep_watch(world)
    assert renewed(world) == 1


def subscribe(world: World, address: SecretUrl) -> str:
    """Subscribe with this app's identity, outside of the flow; return the id."""
    made = world.services.subscriptions.create(
        resource=f"/drives/{world.onedrive.drive_id}/root",
        notification_url=address,
        client_state=Secret("the-first-secret-of-the-tests"),
        expires=datetime.now(UTC) + timedelta(days=1),
    )
    return made.subscription_id


def test_a_subscription_with_another_address_is_replaced(make_notified: MakeNotified, receiver: Receiver) -> None:
    world = make_notified()
    existing = subscribe(world, receiver.url("an-old-key"))

    keep_watch(world)

    (subscription,) = world.onedrive.subscriptions
    assert subscription.subscription_id != existing
    assert subscription.notification_url == receiver.url().reveal()


def test_a_new_address_in_the_settings_replaces_the_subscription(
    make_notified: MakeNotified, receiver: Receiver
) -> None:
    world = make_notified()
    keep_watch(world)
    first = subscription_id(world)

    restart(world, NOTIFICATION_URL=receiver.url("new-key").reveal())
    keep_watch(world)

    (subscription,) = world.onedrive.subscriptions
    assert subscription.subscription_id != first
    assert subscription.notification_url == receiver.url("new-key").reveal()


def test_a_new_client_state_in_the_settings_replaces_the_subscription(make_notified: MakeNotified) -> None:
    world = make_notified()
    keep_watch(world)
    first = subscription_id(world)

    restart(world, CLIENT_STATE="the-second-secret-of-the-tests")
    keep_watch(world)

    (subscription,) = world.onedrive.subscriptions
    assert subscription.subscription_id != first
    assert subscription.client_state == "the-second-secret-of-the-tests"


def test_a_restart_with_the_same_settings_makes_no_other_subscription(make_notified: MakeNotified) -> None:
    world = make_notified()
    keep_watch(world)

    restart(world)
    keep_watch(world)

    assert created(world) == 1


def test_an_app_that_cannot_be_reached_yet_is_subscribed_by_a_later_tick(
    make_notified: MakeNotified, receiver: Receiver
) -> None:
    world = make_notified()
    world.put("USMF_1.zip")
    receiver.handshake_status = 503
    with pytest.raises(TryAgain):
        keep_watch(world)
    assert len(world.heads()) == 1  # files are found all the same

    receiver.handshake_status = 200
    keep_watch(world)

    assert len(world.onedrive.subscriptions) == 1


@pytest.mark.parametrize("fault", [faults.lost_after(), faults.status(504, handled=True)])
def test_a_subscription_whose_making_was_not_answered_is_adopted_at_the_next_tick(
    make_notified: MakeNotified, fault: faults.Action
) -> None:
    world = make_notified()
    world.faults.add(graph_fault("POST", "/subscriptions", fault))
    with pytest.raises(TryAgain):
        keep_watch(world)
    first = subscription_id(world)

    keep_watch(world)

    assert subscription_id(world) == first


def test_a_refusal_that_does_not_name_the_subscription_lets_it_be_looked_up(
    make_notified: MakeNotified, receiver: Receiver
) -> None:
    world = make_notified()
    existing = subscribe(world, receiver.url())
    refusal = {"error": {"code": "ObjectIdentifierInUse", "message": "exists"}}
    world.faults.add(graph_fault("POST", "/subscriptions", faults.status(409, body=refusal)))

    keep_watch(world)

    assert subscription_id(world) == existing
    assert renewed(world) == 1


def test_neither_address_nor_secret_is_kept_in_the_apps_notes(make_notified: MakeNotified) -> None:
    world = make_notified()
    keep_watch(world)

    from azure.storage.blob import BlobServiceClient

    with BlobServiceClient.from_connection_string(world.connection) as blobs:
        container = blobs.get_container_client(world.container)
        notes = [container.download_blob(row.name).readall() for row in container.list_blobs(name_starts_with="watch/")]

    assert any(subscription_id(world).encode() in note for note in notes)
    assert all(b"function-key" not in note and b"secret-of-the-tests" not in note for note in notes)
