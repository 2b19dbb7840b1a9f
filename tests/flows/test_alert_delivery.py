"""People hear of a problem once, again while it is open, and when it is resolved, whatever breaks."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Final, NoReturn, cast

import pytest

from inbound_trigger.keep_watch import do_duties
from local_cloud import faults
from local_cloud.faults import Fault
from local_cloud.receivers import SERVICE, Receivers, text_of
from shared.alerts import delivery
from shared.alerts.alert import Alert, Category, NotificationKind
from shared.alerts.app_alerts import credential_alerts
from shared.alerts.outbox import Outbox
from shared.errors import AppError, TryAgain
from shared.runs.addresses import address_of
from shared.runs.states import Outcome
from tests.flows.conftest import MakeNotified, MakeTold, MakeWorld
from tests.flows.trouble import (
    ALERTS,
    begin,
    fno_fault,
    graph_fault,
    heard,
    import_file,
    let_pass,
    look_and_finish,
    many_alerts,
    minutes_of_alerts,
    of_graph,
    put_into,
    records,
    restart,
)
from tests.packages import build_package
from tests.world import World

APP_URL: Final = "https://fo.contoso.com"
BAD: Final = build_package(rows=(("A", "Alpha"), ("B", "#ERROR one"), ("C", "#ERROR two")))
HOUR_S: Final = 3600


@pytest.fixture
def world(told: World) -> World:
    return told


def words(receivers: Receivers) -> list[tuple[str, str]]:
    """Return what the webhook heard: each trouble's key, and the word about it."""
    return [(alert["key"], alert["word"]) for alert in heard(receivers)]


def kept(world: World) -> list[Alert]:
    outbox = world.services.outbox
    keys = outbox.keys()
    return [alert for key in keys if (alert := outbox.read(key))]


def break_down(receivers: Receivers, do: faults.Action = faults.status(503)) -> None:  # noqa: B008
    receivers._faults.add(Fault(SERVICE, "POST", "", times=None, do=do))


def into_trouble(world: World, name: str = "USMF_1.zip") -> str:
    """Let F&O refuse the app, so that the lane of a file needs a person; return the lane."""
    world.faults.add(fno_fault("", faults.status(401), times=None))
    lane = begin(world, name)
    world.wake(lane)
    return lane


def out_of_trouble(world: World) -> None:
    world.faults.clear()
    world.run_until_quiet()


def storage_is_away(_: Alert) -> NoReturn:
    raise TryAgain("storage is away")


# What an alert says


def test_an_alert_of_a_failed_import_says_all_that_a_person_needs(make_told: MakeTold, receivers: Receivers) -> None:
    world = make_told(APP_URL=APP_URL)
    import_file(world, "USMF_Customers_001.zip", BAD)
    world.deliver_alerts()

    (alert,) = heard(receivers)
    (run,) = world.ended_runs()
    expected = {
        "title": "import, USMF_Customers_001.zip: PartiallySucceeded",
        "file": "USMF_Customers_001.zip",
        "company": "USMF",
        "dataProject": "Asset-Major-Types",
        "outcome": "PartiallySucceeded",
        "executionId": run.execution_id,
        "runId": run.run_id,
        "rowErrorsTotal": 2,
        "over": None,
    }
    assert {name: alert[name] for name in expected} == expected
    assert "2 row errors" in alert["text"]
    assert "#ERROR one" in str(alert["rowErrors"][0])
    assert alert["links"]["run"] == f"{APP_URL}/api/runs/{address_of(run)}"
    assert alert["links"]["financeOperations"] == run.summary_url != ""
    assert alert["links"]["report"] == run.report_url != ""


def test_an_alert_goes_to_every_channel_that_is_set(make_told: MakeTold, receivers: Receivers) -> None:
    world = make_told(**ALERTS, ALERT_TEAMS_URL=receivers.teams_url)

    import_file(world, "USMF_1.zip", b"no package")
    world.deliver_alerts()

    (card,) = receivers.cards
    (mail,) = world.onedrive.mails
    (alert,) = heard(receivers)
    title = "import, USMF_1.zip: Rejected"
    assert (text_of(card).splitlines()[0], mail.subject, alert["title"]) == (title, title, title)


def test_a_flow_may_have_people_of_its_own(make_told: MakeTold, receivers: Receivers) -> None:
    flows = {
        "imports": [
            {"name": "assets", "inputFolder": "Input", "alertTeamsUrl": "%ASSETS_TEAMS%", "alertRecipient": "a@b.de"},
            {"name": "others", "inputFolder": "Others"},
        ]
    }
    world = make_told(**{**ALERTS, "INTEGRATIONS": json.dumps(flows), "ASSETS_TEAMS": receivers.teams_url})
    world.put("USMF_1.zip", b"no package")
    put_into(world, "Others", "USMF_2.zip").write_bytes(b"no package")

    look_and_finish(world)
    world.deliver_alerts()

    assert {(mail.subject.partition(",")[0], mail.recipients) for mail in world.onedrive.mails} == {
        ("assets", ("a@b.de",)),
        ("others", ("ops@contoso.com",)),
    }
    assert [text_of(card).partition(",")[0] for card in receivers.cards] == ["assets"]
    assert sorted(alert["integration"] for alert in heard(receivers)) == ["assets", "others"]


def test_without_a_channel_an_alert_is_an_error_in_the_log_once(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world = make_world()
    import_file(world, "USMF_1.zip", b"no package")

    world.deliver_alerts()
    world.deliver_alerts()

    lines = [json.loads(record.getMessage()) for record in caplog.records if '"event": "alert"' in record.getMessage()]
    assert [line["title"] for line in lines] == ["import, USMF_1.zip: Rejected"]
    assert kept(world) == []


# Once


def test_a_clean_run_asks_the_outbox_nothing(world: World) -> None:
    world.services.outbox = cast(Outbox, None)  # whoever asks it anything breaks

    import_file(world, "USMF_1.zip")

    assert [run.outcome for run in world.ended_runs()] == [Outcome.SUCCEEDED]
    assert world.imports() == [("USMF", 1)]


def test_trouble_that_is_noticed_again_and_again_is_told_once(world: World, receivers: Receivers) -> None:
    lane = into_trouble(world)

    for _ in range(10):
        let_pass(world, lane, timedelta(minutes=2))
        world.deliver_alerts()

    (alert,) = heard(receivers)
    assert alert["word"] == NotificationKind.NEW
    assert alert["links"]["financeOperations"] == world.fno.url


def test_two_timers_at_once_tell_once(world: World, receivers: Receivers) -> None:
    many_alerts(world, 1)
    break_down(receivers, faults.late(0.5))
    barrier = threading.Barrier(2)

    def tell(_: int) -> None:
        barrier.wait()
        world.deliver_alerts()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(tell, range(2)))

    assert len(heard(receivers)) == 1


def test_a_crash_between_telling_and_noting_tells_twice_under_one_id(world: World, receivers: Receivers) -> None:
    many_alerts(world, 1)

    with world.monkeypatch.context() as patched:
        patched.setattr(world.services.outbox, "save", storage_is_away)
        with pytest.raises(TryAgain):
            world.deliver_alerts()
    minutes_of_alerts(world, 2)

    first, again = receivers.deliveries
    assert first.message_id == again.message_id


def test_trouble_whose_alert_could_not_be_kept_is_told_with_the_next_try_and_delays_nothing(
    world: World, receivers: Receivers, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(world.services.outbox, "put", storage_is_away)
        lane = into_trouble(world)
    assert "alert.not_queued" in caplog.text
    assert world.wakes.sent[-1][0] == lane  # its wake-up is on its way
    let_pass(world, lane, timedelta(minutes=2))
    world.deliver_alerts()

    assert [word for _, word in words(receivers)] == [NotificationKind.NEW]


def test_a_failed_run_whose_alert_could_not_be_kept_ends_later_and_is_told(world: World, receivers: Receivers) -> None:
    lane = begin(world, content=b"no package")

    with world.monkeypatch.context() as patched:
        patched.setattr(world.services.outbox, "put", storage_is_away)
        with pytest.raises(TryAgain):
            world.wake(lane)
    assert world.ended_runs() == []
    world.run_until_quiet()
    world.deliver_alerts()

    assert len(heard(receivers)) == len(world.ended_runs()) == 1


# Open, and over


@pytest.mark.quick(cases=0)
def test_open_trouble_is_reminded_of_each_day_and_its_end_is_told_once(world: World, receivers: Receivers) -> None:
    lane = into_trouble(world)
    for _ in range(3 * 12):
        world.deliver_alerts()
        world.clock.advance(2 * HOUR_S)
        world.wake(lane)

    out_of_trouble(world)
    minutes_of_alerts(world, 3)

    new, reminder, over = NotificationKind.NEW, NotificationKind.REMINDER, NotificationKind.RESOLVED
    assert [word for _, word in words(receivers)] == [new, reminder, reminder, over]
    assert len({key for key, _ in words(receivers)}) == 1
    assert [alert["title"].partition(":")[0] for alert in heard(receivers)[1::2]] == ["Still open", "Resolved"]
    assert heard(receivers)[-1]["over"] is not None
    assert kept(world) == []


@pytest.mark.quick(cases=0)
@pytest.mark.parametrize(("hours", "reminders"), [("0", 0), ("6", 3)])
def test_how_often_is_reminded_is_a_setting(
    make_told: MakeTold, receivers: Receivers, hours: str, reminders: int
) -> None:
    world = make_told(ALERT_REMIND_AFTER_HOURS=hours)
    lane = into_trouble(world)

    for _ in range(24):
        world.deliver_alerts()
        world.clock.advance(HOUR_S)
        world.wake(lane)

    assert [word for _, word in words(receivers)].count(NotificationKind.REMINDER) == reminders


def test_trouble_that_is_over_before_anybody_could_be_told_is_told_as_over(world: World, receivers: Receivers) -> None:
    into_trouble(world)
    break_down(receivers)
    world.deliver_alerts()
    out_of_trouble(world)
    receivers._faults.clear()

    minutes_of_alerts(world, 2)

    ((_, word),) = words(receivers)
    assert word == NotificationKind.RESOLVED
    assert "sign-in" in heard(receivers)[0]["text"]


def test_trouble_that_ends_in_a_failure_is_over_and_the_failure_is_told(world: World, receivers: Receivers) -> None:
    into_trouble(world)
    world.deliver_alerts()
    world.faults.clear()
    (world.folder / "Processing" / "USMF_1.zip").write_bytes(b"no package any more")

    world.run_until_quiet()
    world.deliver_alerts()

    said = [(key.partition("-")[0], word) for key, word in words(receivers)]
    assert said[0] == ("run", NotificationKind.NEW)
    assert sorted(said[1:]) == [("ended", NotificationKind.NEW), ("run", NotificationKind.RESOLVED)]


def test_trouble_of_a_run_whose_record_a_person_deleted_is_over(world: World, receivers: Receivers) -> None:
    into_trouble(world)
    world.deliver_alerts()
    with records(world) as container:
        for row in list(container.list_blobs(name_starts_with="open/")):
            container.delete_blob(row.name)

    world.deliver_alerts()

    assert [word for _, word in words(receivers)] == [NotificationKind.NEW, NotificationKind.RESOLVED]


def test_a_record_that_cannot_be_read_keeps_its_alert_open_and_lets_others_be_told(
    world: World, receivers: Receivers
) -> None:
    into_trouble(world)
    world.deliver_alerts()
    with records(world) as container:
        (row,) = container.list_blobs(name_starts_with="open/")
        container.upload_blob(row.name, b"{", overwrite=True)
    many_alerts(world, 1)

    world.deliver_alerts()

    assert [word for _, word in words(receivers)] == [NotificationKind.NEW, NotificationKind.NEW]


# A storm


def test_a_storm_becomes_one_digest_and_what_comes_later_waits_for_the_next(world: World, receivers: Receivers) -> None:
    many_alerts(world, 30)
    world.deliver_alerts()
    for minute in range(10):
        many_alerts(world, 3, first=100 + 10 * minute)
        minutes_of_alerts(world, 1)
    assert len(receivers.deliveries) == 1

    minutes_of_alerts(world, 6)

    assert [delivery.content["title"] for delivery in receivers.deliveries] == ["30 alerts: 30 new"] * 2
    assert len({key for key, _ in words(receivers)}) == 60
    assert kept(world) == []


@pytest.mark.quick(cases=0)
def test_trouble_that_trickles_makes_no_more_than_five_messages_in_a_quarter_of_an_hour(
    world: World, receivers: Receivers
) -> None:
    for minute in range(60):
        many_alerts(world, 1, first=minute)
        minutes_of_alerts(world, 1)

    minutes_of_alerts(world, 30)

    assert len(receivers.deliveries) <= 5 * 4
    assert len({key for key, _ in words(receivers)}) == 60


# A channel that fails


def test_a_few_alerts_at_once_are_told_one_by_one_oldest_first(world: World, receivers: Receivers) -> None:
    for number in (2, 1, 3):
        world.clock.advance(-1)
        many_alerts(world, 1, first=number)

    world.deliver_alerts()

    assert [key for key, _ in words(receivers)] == ["ended-0003", "ended-0001", "ended-0002"]
    assert len(receivers.deliveries) == 3


@pytest.mark.quick(cases=2)
@pytest.mark.parametrize(
    "do",
    [faults.status(503), faults.status(404), faults.status(429), faults.lost_after(), faults.reset_before()],
    ids=lambda do: f"{do.kind.value} {do.code or ''}",
)
def test_a_channel_that_fails_holds_up_no_run_and_no_other_channel_and_hears_all_later(
    make_told: MakeTold, receivers: Receivers, do: faults.Action
) -> None:
    world = make_told(**ALERTS)
    break_down(receivers, do)
    world.put("USMF_1.zip", b"no package")
    world.put("USMF_2.zip")
    look_and_finish(world)
    assert world.files("Success") == ["USMF_2.zip"]

    minutes_of_alerts(world, 30)
    assert len(world.onedrive.mails) == 1
    receivers._faults.clear()
    before = len(receivers.deliveries)
    minutes_of_alerts(world, 20)

    assert len(receivers.deliveries) == before + 1
    assert len(world.onedrive.mails) == 1
    assert kept(world) == []


def test_a_channel_that_is_set_anew_hears_of_what_is_open(make_told: MakeTold, receivers: Receivers) -> None:
    world = make_told(**{**ALERTS, "ALERT_WEBHOOK_URL": ""})
    into_trouble(world)
    world.deliver_alerts()

    restart(world, ALERT_WEBHOOK_URL=receivers.webhook_url)
    world.deliver_alerts()

    assert [word for _, word in words(receivers)] == [NotificationKind.NEW]
    assert len(world.onedrive.mails) == 1


# The app itself


def test_a_client_secret_that_ends_soon_is_told_a_month_before_and_over_when_it_is_renewed(
    make_told: MakeTold, receivers: Receivers
) -> None:
    world = make_told(**{**_secret_until("2027-06-30"), "ALERT_REMIND_AFTER_HOURS": "0"})
    for day, told in (("2027-05-30", 0), ("2027-06-01", 1), ("2027-06-20", 1)):
        _look_on(world, day)
        assert len(heard(receivers)) == told
    assert "2027-06-30" in heard(receivers)[0]["title"]
    assert "CLIENT_SECRET_EXPIRES" in heard(receivers)[0]["text"]

    restart(world, **_secret_until("2029-06-30"))
    _look_on(world, "2027-06-21")

    assert [word for _, word in words(receivers)] == [NotificationKind.NEW, NotificationKind.RESOLVED]


def _secret_until(day: str) -> dict[str, str]:
    return {
        "AZURE_CLIENT_SECRET": "the-client-secret",
        "AZURE_CLIENT_ID": "11111111-2222-3333-4444-555555555555",
        "AZURE_TENANT_ID": "contoso.onmicrosoft.com",
        "CLIENT_SECRET_EXPIRES": day,
    }


def _look_on(world: World, day: str) -> None:
    """Let the minute's timer come by on a day. What the secret opens is none of this test's business."""
    world.clock.present = world.clock.present.fromisoformat(f"{day}T12:00:00+00:00")
    delivery.deliver_alerts({Category.CREDENTIAL: credential_alerts(world.services)}, world.services)


def test_a_subscription_that_graph_refuses_is_told_as_such_and_over_when_it_is_made(
    make_notified: MakeNotified, receivers: Receivers
) -> None:
    world = make_notified(ALERT_WEBHOOK_URL=receivers.webhook_url)
    world.faults.add(graph_fault("POST", "/subscriptions", faults.status(403), times=None))
    for _ in range(3):
        with pytest.raises(AppError):
            do_duties(world.services)
    world.faults.clear()
    do_duties(world.services)

    title = "The subscription cannot be renewed"
    assert [alert["title"] for alert in heard(receivers)] == [title, f"Resolved: {title}"]


def test_a_subscription_that_passing_trouble_keeps_from_being_renewed_is_told_after_days(
    make_notified: MakeNotified, receivers: Receivers
) -> None:
    world = make_notified(ALERT_WEBHOOK_URL=receivers.webhook_url, ALERT_REMIND_AFTER_HOURS="0")
    do_duties(world.services)
    world.faults.add(graph_fault("*", "/subscriptions", faults.status(503), times=None))

    told = []
    for _day in range(5):
        world.clock.advance(24 * HOUR_S)
        try:
            do_duties(world.services)
        except AppError:
            told.append(len(heard(receivers)))

    assert told == [0, 0, 1, 1, 1]
    assert heard(receivers)[0]["title"] == "The subscription cannot be renewed"
    assert "has not been renewed since" in heard(receivers)[0]["text"]


def test_trouble_whose_words_hold_another_id_each_time_is_told_once(world: World, receivers: Receivers) -> None:
    for trace in ("0a1b2c3d-1111-2222-3333-444455556666", "ffffffff-1111-2222-3333-444455556666"):
        body = of_graph("accessDenied", f"Not permitted. Trace {trace}, at 2026-03-01T12:00:07Z")
        world.faults.clear()
        world.faults.add(graph_fault("GET", "children", faults.status(403, body=body), times=None))
        with pytest.raises(AppError):
            do_duties(world.services)

    assert [word for _, word in words(receivers)] == [NotificationKind.NEW]
