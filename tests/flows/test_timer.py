"""The duties of the minute's timer do not wait for each other, whatever breaks or hangs, and a tick ends in time."""

import threading
import time
from contextlib import suppress
from typing import Any, Final

import pytest

from inbound_trigger import keep_watch
from inbound_trigger.keep_watch import Duty, do_duties
from local_cloud import faults
from local_cloud.faults import Fault
from local_cloud.receivers import Receivers
from shared.alerts import delivery, poison_messages, sending
from shared.alerts.alert import Category
from shared.azure_storage.queue_names import WORK
from shared.errors import AppError, NeedsPerson, TryAgain
from shared.health.checks import check_health
from shared.health.health import Grade
from shared.runs import wake
from shared.runs.run import Run
from shared.scan import folder_scans, scan
from shared.scan.subscriptions import subscription_checkpoint
from tests.alerts import an_alert
from tests.builders import a_run
from tests.flows.conftest import MakeNotified, MakeTold, MakeWorld
from tests.flows.trouble import (
    ALERTS,
    TWO_DRIVES,
    begin,
    graph_fault,
    numbered_imports,
    put_into,
    told_titles,
    write_record,
)
from tests.world import World, wait_for

FLOWS: Final = 50
FIFTY_IMPORTS: Final = numbered_imports(FLOWS)
# The limits of the timer, a fifth of what they are; a busy machine needs so much to wake one lane. A tick is to end
# within 50 seconds.
PART: Final = 0.2
TICK_S: Final = 50 * PART


@pytest.fixture
def five_times_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the limits of duties, and of calls that hang in these tests, be over five times as soon."""
    for name in ("FIRST_S", "SECOND_S", "DELIVER_S", "INNER_S", "SUBSCRIPTIONS_S"):
        monkeypatch.setattr(keep_watch, name, getattr(keep_watch, name) * PART)
    for module, name in ((sending, "SEND_S"), (delivery, "CHANNELS_S")):
        monkeypatch.setattr(module, name, getattr(module, name) * PART)
    for duty, seconds in keep_watch.CALLS_S.items():
        monkeypatch.setitem(keep_watch.CALLS_S, duty, seconds * PART)


def tick(world: World) -> Exception | None:
    """Let the minute's timer run; return how its invocation failed, None if it did not."""
    try:
        do_duties(world.services)
    except Exception as error:  # noqa: BLE001  # whatever it is: that is what the tests look at
        return error
    return None


# Each duty, and what shows that it was done.

DUTIES: Final = {
    Duty.MAKE_FOLDERS: (keep_watch, "make_folders"),
    Duty.SCAN: (keep_watch, "scan_all"),
    Duty.WAKE_LANES: (wake, "see_to_lanes"),
    Duty.REPORT_POISON_MESSAGES: (keep_watch, "report_poison_messages"),
    Duty.RECORD_SCANS: (keep_watch, "record_scans"),
    Duty.KEEP_SUBSCRIPTIONS: (keep_watch, "keep_subscriptions"),
}


def with_something_for_every_duty(make_notified: MakeNotified, receivers: Receivers) -> World:
    world = make_notified(ALERT_WEBHOOK_URL=receivers.webhook_url)
    for folder in ("Processing", "Success", "Error"):
        (world.folder / folder).rmdir()
    begin(world)
    world.put("USMF_2.zip")
    world.clock.advance(wake.OVERDUE_S + 1)
    world.give_up_on(WORK, "in-1")
    return world


def done(world: World, receivers: Receivers) -> set[Duty]:
    """Return the duties that were done, by what they have left behind."""
    health = check_health(world.new_process)
    signs = {
        Duty.MAKE_FOLDERS: (world.folder / "Error").is_dir(),
        Duty.SCAN: len(world.services.store.open_places()) == 2,
        Duty.WAKE_LANES: len(world.wakes_of_lanes()) > 1,
        Duty.REPORT_POISON_MESSAGES: "The queue work has poison messages" in told_titles(receivers),
        Duty.RECORD_SCANS: health.last_scan == world.clock.now()
        or bool(world.services.checkpoints.read("look").content),
        Duty.KEEP_SUBSCRIPTIONS: len(world.onedrive.subscriptions) == 1,
    }
    return {duty for duty, is_done in signs.items() if is_done}


@pytest.mark.quick(cases=2)
@pytest.mark.parametrize("duty", DUTIES)
def test_a_bug_in_one_duty_leaves_the_others_done_and_is_told_and_the_invocation_fails(
    make_notified: MakeNotified,
    receivers: Receivers,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    duty: Duty,
) -> None:
    world = with_something_for_every_duty(make_notified, receivers)

    def broken(*_: object, **__: object) -> None:
        raise KeyError("expires")

    monkeypatch.setattr(*DUTIES[duty], broken)

    error = tick(world)

    assert isinstance(error, KeyError)
    assert done(world, receivers) >= DUTIES.keys() - {duty}
    assert f"The app has a bug in the timer's duty '{duty.label}'" in told_titles(receivers)
    assert '"duty.broke"' in caplog.text
    assert "in broken" in caplog.text  # the traceback
    check = next(check for check in check_health(world.new_process).checks if check.name.startswith("The app has"))
    assert check.grade is Grade.PROBLEM


@pytest.mark.quick(cases=1)
@pytest.mark.parametrize("duty", DUTIES)
@pytest.mark.usefixtures("five_times_faster")
def test_a_duty_that_hangs_leaves_the_others_done_and_is_told_and_not_begun_again_until_it_ends(
    make_notified: MakeNotified, receivers: Receivers, monkeypatch: pytest.MonkeyPatch, duty: Duty
) -> None:
    world = with_something_for_every_duty(make_notified, receivers)
    over, begun = threading.Event(), []
    original = getattr(*DUTIES[duty])

    def hang(*arguments: Any, **named: Any) -> Any:
        begun.append(duty)
        over.wait(30)
        return original(*arguments, **named)

    monkeypatch.setattr(*DUTIES[duty], hang)
    try:
        for _ in range(3):
            began = time.monotonic()
            assert isinstance(tick(world), TryAgain)
            assert time.monotonic() - began < TICK_S
            world.clock.advance(60)
        assert done(world, receivers) >= DUTIES.keys() - {duty}
        assert begun == [duty]
        does_not_end = f"The timer's duty '{duty.label}' does not finish"
        assert told_titles(receivers).count(does_not_end) == (0 if duty == Duty.SCAN else 1)
    finally:
        over.set()
    wait_for(lambda: not world.services.duties._left_behind)

    with suppress(AppError):
        do_duties(world.services)

    assert begun == [duty] * 2
    assert duty in done(world, receivers)
    if duty != Duty.SCAN:
        assert f"Resolved: {does_not_end}" in told_titles(receivers)


def test_a_bug_that_stays_is_told_once_and_over_when_it_is_mended(told: World, receivers: Receivers) -> None:
    def broken(_: object) -> None:
        raise ValueError("a damaged note")

    with told.monkeypatch.context() as patched:
        patched.setattr(wake, "see_to_lanes", broken)
        for _ in range(3):
            tick(told)
            told.clock.advance(60)

    assert tick(told) is None
    title = f"The app has a bug in the timer's duty '{Duty.WAKE_LANES.label}'"
    assert told_titles(receivers) == [title, f"Resolved: {title}"]


def test_trouble_of_two_duties_is_told_both(told: World, receivers: Receivers, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise NeedsPerson("Give the role Storage Queue Data Contributor")

    monkeypatch.setattr(keep_watch, "report_poison_messages", refused)
    told.faults.add(graph_fault("GET", "/children", faults.status(403), times=None))

    tick(told)

    assert sorted(told_titles(receivers)) == ["OneDrive cannot be scanned", "The app cannot report poison messages"]


def test_one_duty_in_trouble_for_long_keeps_no_alert_of_another_one_open(
    make_notified: MakeNotified, receivers: Receivers
) -> None:
    world = make_notified(ALERT_WEBHOOK_URL=receivers.webhook_url)
    world.faults.add(graph_fault("POST", "/subscriptions", faults.status(403), times=None))
    tick(world)
    world.faults.clear()
    world.faults.add(graph_fault("GET", "/children", faults.status(423), times=None))

    tick(world)

    title = "The subscription cannot be renewed"
    assert told_titles(receivers) == [title, f"Resolved: {title}"]


def test_what_only_a_person_can_mend_is_told_once_however_often_the_timer_meets_it(make_world: MakeWorld) -> None:
    world = make_world(settings=ALERTS)
    forbidden = graph_fault("GET", "/drives/", faults.status(403), times=None)
    passing = graph_fault("GET", "/drives/", faults.status(503), times=None)

    for fault in (forbidden, forbidden, passing, forbidden):
        world.faults.clear()
        world.faults.add(fault)
        with pytest.raises(TryAgain if fault is passing else NeedsPerson):
            world.keep_watch()
    assert len(world.mails()) == 1
    assert "Files.ReadWrite.All" in world.mails()[0].content

    world.faults.clear()
    world.keep_watch()
    world.services = world.new_process()
    world.faults.add(forbidden)
    with pytest.raises(NeedsPerson):
        world.keep_watch()
    assert len(world.mails()) == 2


# Within a duty


@pytest.mark.quick(cases=0)
@pytest.mark.usefixtures("five_times_faster")
def test_a_drive_that_hangs_keeps_no_other_drive_from_its_subscription_and_its_scan(
    make_notified: MakeNotified,
) -> None:
    world = make_notified(INTEGRATIONS=TWO_DRIVES)
    scan.open_new_runs(world.services)
    world.faults.add(graph_fault("*", "/users/ada", faults.hang(60), times=None))
    (world.folder / "Bob" / "Input" / "USMF_1.zip").write_bytes(b"x")

    began = time.monotonic()
    tick(world)
    took_s = time.monotonic() - began
    world.faults.let_go()

    assert took_s < TICK_S
    assert [run.flow_name for run in world.open_runs()] == ["bob"]
    assert len(world.onedrive.subscriptions) == 1


def test_a_queue_that_cannot_be_read_keeps_no_other_queue_from_being_told(told: World, receivers: Receivers) -> None:
    tell = poison_messages._report

    def broken_for_an_older_one(queue: str, services: Any) -> int:
        if queue == "inbound-looks":
            raise KeyError(queue)
        return tell(queue, services)

    told.monkeypatch.setattr(poison_messages, "_report", broken_for_an_older_one)
    told.give_up_on(WORK, "in-1")

    assert isinstance(tick(told), KeyError)

    assert "The queue work has poison messages" in told_titles(receivers)


def test_lanes_that_cannot_be_woken_keep_no_lane_of_another_message_asleep(make_world: MakeWorld) -> None:
    world = make_world(settings={"INTEGRATIONS": FIFTY_IMPORTS})
    for number in range(wake.LANES_IN_MESSAGE + 2):
        put_into(world, f"{number}/Input")
    scan.open_new_runs(world.services)
    world.clock.advance(wake.OVERDUE_S + 1)
    send = world.wakes.send
    world.wakes.sent.clear()

    def refuse_the_full_one(text: str, *, delay_s: float = 0.0) -> None:
        if len(text.splitlines()) == wake.LANES_IN_MESSAGE:
            raise TryAgain("the queue does not take it")
        send(text, delay_s=delay_s)

    world.monkeypatch.setattr(world.wakes, "send", refuse_the_full_one)

    assert isinstance(tick(world), TryAgain)

    ((text, _),) = world.wakes_of_lanes()
    assert len(text.splitlines()) == 2


def test_a_record_that_cannot_be_read_keeps_no_lane_from_being_woken(told: World, receivers: Receivers) -> None:
    lane = begin(told)
    told.clock.advance(wake.OVERDUE_S + 1)
    write_record(told, "open/in-aaaa/20260101T000000000000Z-x", b"{")  # no metadata: sorts before the others
    told.wakes.sent.clear()

    assert tick(told) is None

    assert {text for text, _ in told.wakes_of_lanes()} >= {lane}
    assert any(title.startswith("The record of a run is damaged") for title in told_titles(receivers))


DAMAGED: Final = [b"{", b"[1]", b'{"renewed": "yesterday", "address": 1, "inbound-work in-1": "yesterday"}']


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_note_of_a_subscription_is_written_anew(
    make_notified: MakeNotified, receivers: Receivers, content: bytes
) -> None:
    world = make_notified(ALERT_WEBHOOK_URL=receivers.webhook_url)
    assert tick(world) is None
    (drive,) = world.services.settings.flows.drives
    name = subscription_checkpoint(drive)
    before = world.services.checkpoints.read(name).content
    write_record(world, f"watch/{name}", content)
    assert check_health(world.new_process).checks  # the page opens

    assert tick(world) is None

    assert len(world.onedrive.subscriptions) == 1
    assert world.services.checkpoints.read(name).content["id"] == before["id"]
    assert told_titles(receivers) == []


@pytest.mark.parametrize("content", DAMAGED)
@pytest.mark.parametrize("note", [poison_messages.REPORTED, sending.USED])
def test_a_damaged_note_of_what_was_told_is_written_anew(
    told: World, receivers: Receivers, note: str, content: bytes
) -> None:
    write_record(told, f"watch/{note}", content)
    told.give_up_on(WORK, "in-1")

    assert tick(told) is None

    assert told_titles(receivers) == ["The queue work has poison messages"]
    assert told.services.checkpoints.read(note).content


# Time


@pytest.mark.quick(cases=0)
@pytest.mark.usefixtures("five_times_faster")
def test_a_tick_with_50_flows_ends_in_time_while_graph_hangs_and_all_else_is_done(
    make_told: MakeTold, receivers: Receivers
) -> None:
    world = make_told(INTEGRATIONS=FIFTY_IMPORTS, **ALERTS)
    world.put("USMF_1.zip")
    world.services.store.create(_overdue_run(world))
    world.services.outbox.put(an_alert(key="ended-1"))
    world.give_up_on(WORK, "in-1")
    world.services.graph_token.token()
    world.faults.add(Fault("graph", "*", "", 1, None, do=faults.hang(120)))

    for number in range(3):
        began = time.monotonic()
        assert isinstance(tick(world), TryAgain)
        took_s = time.monotonic() - began
        assert took_s < TICK_S, f"tick {number} took {took_s:.1f} s"
        world.clock.advance(60)

    assert len(world.wakes_of_lanes()) == 3
    assert "The queue work has poison messages" in told_titles(receivers)
    assert an_alert().title in told_titles(receivers)
    note = world.services.checkpoints.read(folder_scans.CHECKPOINT).content
    assert sum(name.endswith(" failed") for name in note) == FLOWS
    world.faults.clear()
    world.faults.let_go()
    wait_for(lambda: not world.services.duties._left_behind)


def _overdue_run(world: World) -> Run:
    then = world.clock.now().replace(year=2025)
    place = {"lane": "in-overdue", "sort_key": "20260101T000000000000Z-x"}
    return a_run(flow_name="flow-1", due=then, opened=then, state_since=then, **place)


def test_the_limits_of_the_timer_leave_ten_seconds_of_its_minute() -> None:
    assert keep_watch.FIRST_S + keep_watch.SECOND_S + keep_watch.DELIVER_S <= 50 - 2
    assert min(keep_watch.FIRST_S, keep_watch.SECOND_S) > keep_watch.INNER_S
    # A call to storage is tried three times, half a second apart.
    assert 3 * keep_watch.CALL_S + 1 < keep_watch.FIRST_S
    assert delivery.CHANNELS_S < keep_watch.DELIVER_S
    assert sending.SEND_S < delivery.CHANNELS_S


def test_what_is_saved_keeps_its_names() -> None:
    """They are a contract with what older versions have saved."""
    assert " ".join(Category) == "run ended watch scan stray credential given-up stopped drain record damaged"
    notes = (folder_scans.CHECKPOINT, folder_scans.AT, sending.USED, poison_messages.REPORTED)
    assert notes == ("look", "at", "alerts", "given-up")
