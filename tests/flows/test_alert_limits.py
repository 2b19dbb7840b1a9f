"""Channels do not wait for each other, many alerts cost little, and one that cannot be read stops no other."""

import json
import time
from typing import Any, Final

import pytest

from local_cloud import faults
from local_cloud.faults import Fault
from local_cloud.receivers import SERVICE, Receivers
from shared.alerts import delivery, sending
from shared.alerts.alert import Category
from shared.errors import TryAgain
from shared.health.checks import check_health
from shared.health.health import Grade
from tests.alerts import an_alert
from tests.flows.conftest import MakeTold
from tests.flows.trouble import ALERTS, many_alerts, minutes_of_alerts, records, told_titles, write_record
from tests.world import World, wait_for


def test_a_webhook_hears_of_it_although_graph_hangs_for_mails(
    make_told: MakeTold, receivers: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_told(**ALERTS)
    monkeypatch.setattr(delivery, "CHANNELS_S", 0.5)
    world.services.outbox.put(an_alert(key="ended-1"))
    world.faults.add(Fault("graph", "*", "", 1, None, do=faults.hang(60)))

    with pytest.raises(TryAgain, match="tell mail-"):
        world.deliver_alerts()
    assert len(receivers.deliveries) == 1

    world.faults.clear()
    world.faults.let_go()
    wait_for(lambda: not world.services.duties._left_behind)
    minutes_of_alerts(world, 2)
    assert len(world.onedrive.mails) == 1
    assert len(receivers.deliveries) == 1
    assert world.services.outbox.keys() == []


def test_a_channel_with_a_bug_keeps_no_other_channel_from_telling(
    make_told: MakeTold, receivers: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_told(**ALERTS)
    world.services.outbox.put(an_alert(key="ended-1"))

    def broken(*_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr("shared.alerts.channels.MailAlerts.send", broken)

    world.deliver_alerts()

    assert len(receivers.deliveries) == 1
    (kept,) = world.services.outbox.keys()
    assert kept == "ended-1"


def test_two_channels_that_tell_of_one_alert_at_once_both_note_it(make_told: MakeTold, receivers: Receivers) -> None:
    world = make_told(**ALERTS, ALERT_TEAMS_URL=receivers.teams_url)
    many_alerts(world, 5)

    world.deliver_alerts()

    assert world.services.outbox.keys() == []
    assert (len(receivers.deliveries), len(receivers.cards), len(world.onedrive.mails)) == (5, 5, 5)


def test_a_channel_that_has_no_room_costs_one_listing_however_many_alerts_wait(
    told: World, receivers: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    many_alerts(told, 40)
    receivers._faults.add(Fault(SERVICE, "POST", "", times=None, do=faults.status(503)))
    for _ in range(sending.MESSAGES):
        told.deliver_alerts()
        told.clock.advance(1)
    read: list[str] = []
    monkeypatch.setattr(told.services.outbox, "read", read.append)

    told.deliver_alerts()

    assert read == []
    assert len(told.services.outbox.keys()) == 40


def test_runs_in_trouble_are_asked_for_in_turn_when_there_is_no_time_for_all(told: World) -> None:
    for number in range(60):
        told.services.outbox.put(
            an_alert(key=f"run-{number:03}", is_ongoing=True, run_address=f"{number:013}-0a1b2c3d4e5f")
        )
    asked: list[str] = []

    def still_in_trouble(alert: Any, _services: Any) -> bool:
        time.sleep(0.05)  # as slow as it must be for a tick to end before the last one
        asked.append(alert.key)
        return True

    told.monkeypatch.setitem(delivery.IS_ACTIVE, Category.OPEN_RUN, still_in_trouble)
    told.monkeypatch.setattr(sending, "BEGIN_S", 0.2)
    for _ in range(5):
        told.deliver_alerts()

    assert len(set(asked)) == 60
    assert max(asked.count(key) for key in asked) - min(asked.count(key) for key in asked) <= 1


# Alerts that cannot be read

GOOD: Final = {"key": "ended-x", "title": "t", "text": "x", "since": "2026-03-01T12:00:00+00:00"}
# What else is no alert stands in tests/unit/alerts/test_alert.py.
UNREADABLE: Final[dict[str, bytes]] = {
    "it is no JSON": b"{",
    "its rows are of another type": json.dumps({**GOOD, "rows": [5]}).encode(),
    "it is another alert's": json.dumps({**GOOD, "key": "ended-y"}).encode(),
}


@pytest.mark.parametrize("record", UNREADABLE.values(), ids=list(UNREADABLE))
def test_an_alert_that_cannot_be_read_is_reported_and_left_and_the_others_are_told(
    told: World, receivers: Receivers, caplog: pytest.LogCaptureFixture, record: bytes
) -> None:
    write_record(told, "alerts/ended-x", record)
    told.services.outbox.put(an_alert(key="ended-1"))
    told.services.outbox.put(an_alert(key="zzz-2"))

    minutes_of_alerts(told, 3)

    assert sorted(told_titles(receivers)) == ["An alert cannot be read", an_alert().title, an_alert().title]
    assert caplog.text.count('"alert.unreadable"') == 1
    with records(told) as container:
        assert container.download_blob("alerts/ended-x").readall() == record
    (check,) = [check for check in check_health(told.new_process).checks if check.name == "An alert cannot be read"]
    assert check.grade is Grade.WARNING
    assert "alerts/ended-x" in check.message

    told.services.outbox.delete("ended-x")
    told.deliver_alerts()
    assert told_titles(receivers)[-1] == "Resolved: An alert cannot be read"
    assert told.services.outbox.keys() == []


def test_an_alert_whose_record_is_damaged_although_a_listing_knows_it_is_reported(
    told: World, receivers: Receivers
) -> None:
    many_alerts(told, 2)
    with records(told) as container:
        blob = container.get_blob_client("alerts/ended-0000")
        blob.upload_blob(b"{", overwrite=True, metadata=blob.get_blob_properties().metadata)

    minutes_of_alerts(told, 2)

    assert sorted(told_titles(receivers)) == ["An alert cannot be read", an_alert().title]
