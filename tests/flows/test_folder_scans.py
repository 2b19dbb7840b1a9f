"""An Input folder that cannot be scanned for a quarter of an hour is told of, shown as unwell, and over by itself."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import pytest

from inbound_trigger import keep_watch
from inbound_trigger.keep_watch import do_duties
from local_cloud import faults
from local_cloud.receivers import Receivers
from shared.alerts.alert import NotificationKind
from shared.clients.graph.onedrive import OneDrive
from shared.errors import AppError
from shared.health.checks import check_health
from shared.health.health import Check, Grade
from shared.scan import scan_requests
from tests.flows.conftest import MakeTold, MakeWorld
from tests.flows.trouble import graph_fault, heard, imports_of, of_graph, restart, tick, write_record
from tests.packages import package_named
from tests.world import World, wait_for

TWO_IMPORTS: Final = imports_of("customers", "vendors")
# What SharePoint answers for an archived or locked site.
LOCKED: Final = of_graph("resourceLocked", "The resource you are attempting to access is locked.")


def about_scans(receivers: Receivers) -> list[dict[str, Any]]:
    """Return what people heard about folders that cannot be scanned."""
    return heard(receivers, "scan-")


def words(receivers: Receivers) -> list[str]:
    return [alert["word"] for alert in about_scans(receivers)]


def folder_checks(world: World) -> list[Check]:
    """Return what a new process shows of Input folders."""
    return [check for check in check_health(world.new_process).checks if check.name.startswith("Input folder")]


def lock(world: World, path: str = "/children") -> None:
    world.faults.add(graph_fault("GET", path, faults.status(423, {"request-id": "r-423"}, LOCKED), times=None))


# A person hears of it


def test_an_archived_site_is_told_once_when_the_last_good_scan_is_15_minutes_old_and_is_over_by_itself(
    told: World, receivers: Receivers
) -> None:
    tick(told)
    last_good = told.clock.now() - timedelta(minutes=1)
    lock(told)
    tick(told, minutes=14)
    assert about_scans(receivers) == []

    tick(told, minutes=15)

    (alert,) = about_scans(receivers)
    assert alert["title"] == "import: '/Input' cannot be scanned"
    assert alert["integration"] == "import"
    for part in (
        "'/Input' of drives/",
        f"The last successful scan was at {last_good:%Y-%m-%d %H:%M} UTC",
        "The resource you are attempting to access is locked",
        "HTTP 423",
        "request id r-423",
        "have a SharePoint administrator reactivate or unlock it",
    ):
        assert part in alert["text"]
    assert "open or checked out" not in alert["text"]

    told.faults.clear()
    tick(told, minutes=3)
    assert words(receivers) == [NotificationKind.NEW, NotificationKind.RESOLVED]


def test_the_fault_that_a_user_reported_is_told_within_16_scans_and_health_is_bad_then(
    told: World, receivers: Receivers
) -> None:
    """Taken from the issue: every listing of the drive answers 423, from the first one on."""
    lock(told)

    tick(told, minutes=16)

    assert words(receivers) == [NotificationKind.NEW]
    assert "No scan has succeeded since the first attempt at" in about_scans(receivers)[0]["text"]
    (check,) = folder_checks(told)
    assert check.grade is Grade.PROBLEM


def _listing(do: faults.Action) -> Callable[[World], None]:
    return lambda world: world.faults.add(graph_fault("GET", "/children", do, times=None))


def _hang(world: World) -> None:
    world.monkeypatch.setitem(keep_watch.CALLS_S, keep_watch.Duty.SCAN, 0.1)
    _listing(faults.hang(60))(world)


def _hang_beyond_all_limits(world: World) -> None:
    """Let the listing take longer than any limit of a call would let it."""
    world.monkeypatch.setattr(keep_watch, "INNER_S", 0.2)
    _listing(faults.hang(60))(world)


def _cannot_be_made(world: World) -> None:
    (world.folder / "Input").rmdir()
    world.services = world.new_process()
    world.faults.add(graph_fault("POST", "/children", faults.status(503), times=None))


def _storage_is_away_for_runs(world: World) -> None:
    def away() -> list[tuple[str, str]]:
        raise AppError("storage is away")

    world.put("USMF_1.zip")
    world.monkeypatch.setattr(world.services.store, "open_places", away)


def _bug(world: World) -> None:
    def broken(*_: object) -> None:
        raise KeyError("renewed")

    world.monkeypatch.setattr(OneDrive, "list_items", broken)


FAILURES: Final[dict[str, Callable[[World], None]]] = {
    "it is locked": lock,
    "it is forbidden": _listing(faults.status(403)),
    "the sign-in is refused": _listing(faults.status(401)),
    "Graph is away": _listing(faults.status(503)),
    "Graph throttles": _listing(faults.status(429)),
    "a proxy answers": _listing(faults.garbage()),
    "the connection is reset": _listing(faults.reset_before()),
    "Graph hangs": _hang,
    "the scan does not end": _hang_beyond_all_limits,
    "it cannot be made": _cannot_be_made,
    "it is not found": _listing(faults.status(404)),
    "the open runs cannot be listed": _storage_is_away_for_runs,
    "the app has a bug": _bug,
}


@pytest.mark.quick(cases=4)
@pytest.mark.parametrize("fail", FAILURES.values(), ids=list(FAILURES))
def test_a_folder_is_told_whatever_keeps_it_from_being_scanned_namely(
    told: World, receivers: Receivers, fail: Callable[[World], None]
) -> None:
    tick(told)
    fail(told)
    tick(told, fails_with=Exception)  # a bug among them
    assert about_scans(receivers) == []
    told.clock.advance(14 * 60)

    tick(told, fails_with=Exception)
    told.faults.let_go()

    (alert,) = about_scans(receivers)
    assert alert["word"] == NotificationKind.NEW
    assert "The last successful scan was at" in alert["text"]
    (check,) = folder_checks(told)
    assert (check.name, check.grade) == ("Input folder /Input, import", Grade.PROBLEM)


def test_each_folder_has_an_alert_of_its_own_for_its_own_people_and_the_others_go_on(
    make_world: MakeWorld, receivers: Receivers
) -> None:
    flows = json.loads(TWO_IMPORTS)
    flows["imports"][0]["alertWebhookUrl"] = "%ONE%"
    world = make_world(settings={"INTEGRATIONS": json.dumps(flows), "ONE": receivers.webhook_url})
    tick(world)
    customers = world.services.folders.find(world.services.settings.flows.imports[0].drive, "/Customers/Input")
    lock(world, customers)
    (world.folder / "Vendors" / "Input" / "USMF_1.zip").write_bytes(b"x")

    tick(world, minutes=16)

    assert [alert["integration"] for alert in about_scans(receivers)] == ["customers"]
    assert [run.flow_name for run in world.open_runs()] == ["vendors"]
    assert [check.name for check in folder_checks(world)] == ["Input folder /Customers/Input, customers"]


@pytest.mark.quick(cases=0)
def test_a_scan_that_fails_now_and_then_is_told_to_nobody(told: World, receivers: Receivers) -> None:
    for _ in range(10):
        lock(told)
        tick(told, minutes=5)
        told.faults.clear()
        tick(told)

    assert about_scans(receivers) == []


# What is remembered


def test_the_last_good_scan_is_known_after_a_restart(told: World, receivers: Receivers) -> None:
    tick(told)
    lock(told)
    for _ in range(16):
        tick(told)
        told.services = told.new_process()

    assert words(receivers) == [NotificationKind.NEW]


def test_a_scan_that_a_notification_asked_for_in_this_process_counts(told: World, receivers: Receivers) -> None:
    tick(told)
    children = graph_fault("GET", "/children", faults.status(503), times=None)
    for _ in range(20):
        scan_requests.handle_request(scan_requests.request_message(told.clock.now()), told.services)
        told.clock.advance(1)
        told.faults.add(children)
        tick(told)
        told.faults.clear()

    assert about_scans(receivers) == []


@pytest.mark.quick(cases=0)
def test_a_slow_scan_that_ends_after_its_tick_counts(told: World, receivers: Receivers) -> None:
    told.monkeypatch.setattr(keep_watch, "INNER_S", 0.05)
    told.faults.add(graph_fault("GET", "/children", faults.late(0.15), times=None))
    for _ in range(20):
        tick(told)
        wait_for(lambda: not told.services.duties._left_behind)

    assert about_scans(receivers) == []
    assert Grade.PROBLEM not in [check.grade for check in folder_checks(told)]


def test_a_folder_that_is_taken_out_of_the_settings_is_told_as_over(make_told: MakeTold, receivers: Receivers) -> None:
    world = make_told(INTEGRATIONS=TWO_IMPORTS)
    tick(world)
    lock(world)
    tick(world, minutes=16)
    assert len(about_scans(receivers)) == 2

    restart(world, INTEGRATIONS=imports_of("customers"))
    tick(world)

    over = [alert for alert in about_scans(receivers) if alert["word"] == NotificationKind.RESOLVED]
    assert [alert["integration"] for alert in over] == ["vendors"]


NOTES: Final[dict[str, bytes]] = {
    "it is no JSON": b"{",
    "it is nested without end": b"[" * 100_000,
    "it is a list": b"[1, 2]",
    "it is empty": b"",
    "its texts are none": b'{"at": 5, "folder x last good": {"a": 1}}',
    "its moments are none": b'{"at": "yesterday"}',
    "an older version has written it": b'{"at": "2026-11-01T12:00:00+00:00"}',
    "a newer version has written it": b'{"at": "2026-11-01T12:00:00", "folders": {"x": [1]}, "format": 7}',
}


@pytest.mark.quick(cases=2)
@pytest.mark.parametrize("note", NOTES.values(), ids=list(NOTES))
def test_a_note_of_another_kind_is_written_anew_and_breaks_nothing(
    told: World, receivers: Receivers, note: bytes
) -> None:
    write_record(told, "watch/look", note)
    assert check_health(told.new_process).checks  # nobody has scanned yet, and the page opens

    do_duties(told.services)

    assert check_health(told.new_process).last_scan == told.clock.now()
    lock(told)
    tick(told, minutes=17)
    assert words(receivers) == [NotificationKind.NEW]


@pytest.mark.quick(cases=0)
def test_a_note_that_is_damaged_while_a_folder_fails_does_not_say_that_it_is_over(
    told: World, receivers: Receivers
) -> None:
    tick(told)
    lock(told)
    tick(told, minutes=16)
    write_record(told, "watch/look", b"{")
    told.services = told.new_process()

    tick(told, minutes=30)

    assert words(receivers) == [NotificationKind.NEW]


def test_moments_that_a_clock_far_ahead_has_written_keep_nobody_from_hearing_of_it(
    told: World, receivers: Receivers
) -> None:
    told.clock.advance(30 * 24 * 3600)
    tick(told)
    told.services = told.new_process()
    told.clock.advance(-30 * 24 * 3600)
    lock(told)

    tick(told, minutes=17)

    assert words(receivers) == [NotificationKind.NEW]


# What the health page shows


@pytest.mark.parametrize(("minutes", "grade"), [(5, Grade.WARNING), (16, Grade.PROBLEM)])
def test_a_folder_that_fails_is_a_warning_with_the_services_reason_and_a_problem_after_a_quarter_of_an_hour(
    make_told: MakeTold, minutes: int, grade: Grade
) -> None:
    world = make_told(INTEGRATIONS=TWO_IMPORTS)
    tick(world)
    assert folder_checks(world) == []
    customers = world.services.folders.find(world.services.settings.flows.imports[0].drive, "/Customers/Input")
    lock(world, customers)
    tick(world, minutes=minutes)

    health = check_health(world.new_process)

    (check,) = [check for check in health.checks if check.grade is not Grade.OK and "Notifications" not in check.name]
    assert check.name == "Input folder /Customers/Input, customers"
    assert health.grade is check.grade is grade
    assert "Last successful scan: " in check.message
    assert "HTTP 423" in check.message
    assert "docs/troubleshooting.md" in check.advice


def test_a_timer_that_does_not_run_is_shown_at_each_folder_after_a_quarter_of_an_hour(told: World) -> None:
    tick(told)
    told.clock.advance(14 * 60)

    (check,) = folder_checks(told)

    assert (check.grade, check.advice) == (Grade.PROBLEM, "Check that the timer runs.")


def test_a_folder_that_a_person_renames_and_makes_anew_is_scanned_within_ten_minutes(told: World) -> None:
    told.put("USMF_1.zip")
    told.look()
    told.run_until_quiet()
    for name in ("Input", "Success"):
        (told.folder / name).rename(told.folder / f"{name} of last year")
        (told.folder / name).mkdir()
    told.put("USMF_2.zip")
    (told.folder / "Input of last year" / "USMF_3.zip").write_bytes(package_named("USMF_3.zip"))

    told.clock.advance(10 * 60)
    told.look()
    told.run_until_quiet()

    assert told.files("Success") == ["USMF_2.zip"]
    assert told.files("Input of last year") == ["USMF_3.zip"]
