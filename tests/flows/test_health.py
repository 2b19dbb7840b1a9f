"""What the health page and the doctor say: everything well, and each trouble in words with what to do."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, Literal

import pytest

from inbound_trigger.keep_watch import do_duties
from local_cloud import faults
from local_cloud.faults import Fault
from local_cloud.finance_operations.knobs import Behaviour
from local_cloud.onedrive import Knobs
from shared.app import Services
from shared.azure_storage.queue_names import WORK
from shared.config.settings import read_settings
from shared.health.checks import check_health
from shared.health.health import Check, Grade, Health
from shared.health.service_checks import ALL_CALLS_S
from shared.runs.values import Problem
from shared.scan.subscriptions import keep_subscriptions
from shared.version import VERSION
from tests.closed_port import closed_port
from tests.contract.receiver import Receiver
from tests.exports import PROJECT, prepared
from tests.flows.conftest import MakeNotified, MakeWorld
from tests.flows.trouble import ALERTS, LOGIN, begin, fno_fault, graph_fault, one_import
from tests.health import check_named, health_of
from tests.tokens import a_token
from tests.world import World

EXPORT: Final = {"EXPORT_DATA_PROJECT": PROJECT, "EXPORT_COMPANY": "USMF"}


def not_well(health: Health) -> list[Check]:
    return [check for check in health.checks if check.grade is not Grade.OK]


# All is well


def test_an_app_that_is_well_says_so_and_tells_what_it_found(make_notified: MakeNotified) -> None:
    world = prepared(make_notified(**EXPORT))
    do_duties(world.services)

    health = health_of(world, thorough=True)

    assert (health.grade, not_well(health)) == (Grade.OK, [])
    assert health.version == VERSION
    assert health.last_scan == world.clock.now()
    (subscription,) = health.subscriptions
    assert subscription.since == world.clock.now()
    assert subscription.until > world.clock.now() + timedelta(days=28)
    names = {check.name.split(",")[0] for check in health.checks}
    assert names >= {"Storage", "Scan for new files", "Notifications", "Lanes", "OneDrive", "F&O", "Webhook"}


def test_a_look_at_the_health_costs_one_call_of_each_service_and_changes_nothing(world: World) -> None:
    do_duties(world.services)
    before = world.written()
    world.faults.forget_calls()

    health_of(world)

    calls = [(call.service, call.method) for call in world.faults.calls if call.service != "entra"]
    assert sorted(calls) == [("finance_operations", "GET"), ("graph", "GET")]
    assert world.written() == before


def test_lanes_are_told_with_their_head_and_their_length(world: World) -> None:
    for number in range(3):
        world.put(f"USMF_{number}.zip")
    do_duties(world.services)

    (lane,) = health_of(world).lanes

    (head,) = world.open_runs()
    assert (lane.name, lane.head.run_id, lane.length) == (head.lane, head.run_id, 3)


def test_queues_are_told_with_what_waits_and_what_was_given_up(world: World) -> None:
    world.services.queue.send("scan")
    world.services.queue.send("scan", delay_s=60)
    world.give_up_on(WORK, "in-lane")
    world.give_up_on("inbound-looks", "look")

    health = health_of(world)

    lengths = {queue.name: (queue.length.waiting, queue.length.given_up) for queue in health.queues}
    assert lengths == {WORK: (2, 1), "inbound-looks": (0, 1)}  # one of an older version, as long as it holds some
    assert check_named(health, f"Queue {WORK}").message == "1 poison message of work."
    assert "look_for_files" in check_named(health, "Queue inbound-looks").message


def test_the_settings_in_force_are_told_without_secrets(make_notified: MakeNotified) -> None:
    client_id = "11111111-2222-3333-4444-555555555555"
    world = make_notified(AZURE_CLIENT_SECRET="s3cret-value", AZURE_TENANT_ID="t", AZURE_CLIENT_ID=client_id)

    shown = {each.name: each for each in health_of(world).settings}

    assert shown["AZURE_CLIENT_SECRET"].value == shown["CLIENT_STATE"].value == "***"
    assert shown["AzureWebJobsStorage"].value == "***"
    assert shown["NOTIFICATION_URL"].value.endswith("/api/receive_notification?***")
    assert (shown["FO_URL"].value, shown["FO_URL"].is_default) == (world.fno.url, False)
    assert (shown["INPUT_FOLDER"].value, shown["INPUT_FOLDER"].is_default) == ("Input", True)
    assert "ALERT_RECIPIENT" not in shown


# What is wrong with the app itself


def test_wrong_settings_are_all_that_is_told() -> None:
    health = check_health(lambda: Services(read_settings({"FO_URL": "nowhere"})))

    (check,) = health.checks
    assert (health.grade, check.name) == (Grade.PROBLEM, "Settings")
    assert "- FO_URL must be a URL" in check.message
    assert "- ONEDRIVE_DRIVE is missing" in check.message


def test_storage_that_cannot_be_reached_is_trouble_and_the_services_are_asked_all_the_same(world: World) -> None:
    azurite, own_services = world.connection, world.services
    with closed_port() as port:
        world.connection = _connection_to(port)
        health = health_of(world)
    world.connection, world.services = azurite, own_services

    assert check_named(health, "Storage").grade is Grade.PROBLEM
    assert check_named(health, "OneDrive").grade is check_named(health, "F&O").grade is Grade.OK


def _connection_to(port: int) -> str:
    account = "http://127.0.0.1:{port}/devstoreaccount1"
    return (
        f"AccountName=devstoreaccount1;AccountKey={base64.b64encode(b'key').decode()};"
        f"BlobEndpoint={account.format(port=port)};QueueEndpoint={account.format(port=port)};"
    )


def test_a_timer_that_has_not_scanned_yet_is_a_warning_and_one_that_scans_no_more_is_a_problem(world: World) -> None:
    assert check_named(health_of(world), "Scan for new files").grade is Grade.WARNING

    do_duties(world.services)
    assert check_named(health_of(world), "Scan for new files").grade is Grade.OK

    world.clock.advance(181)
    check = check_named(health_of(world), "Scan for new files")
    assert check.grade is Grade.PROBLEM
    assert "'Nothing happens'" in check.advice


def test_a_scan_that_fails_does_not_count_as_one(world: World) -> None:
    do_duties(world.services)
    scanned = world.clock.now()
    world.faults.add(graph_fault("GET", "/children", faults.status(503), times=None))
    world.clock.advance(240)

    with pytest.raises(Exception, match="HTTP 503"):
        do_duties(world.services)

    world.faults.clear()
    health = health_of(world)
    assert health.last_scan == scanned
    assert check_named(health, "Scan for new files").grade is Grade.PROBLEM


def test_a_lane_whose_head_needs_a_person_is_trouble_and_says_what_to_do(world: World) -> None:
    begin(world)
    (run,) = world.open_runs()
    world.services.store.save(replace(run, problem=Problem(text="Give the app the role", since=world.clock.now())))

    check = check_named(health_of(world), "Lane in-")

    assert (check.grade, check.message) == (Grade.PROBLEM, "USMF_1.zip needs a person: Give the app the role")


@pytest.mark.parametrize(("minutes", "grade"), [(4, Grade.WARNING), (36, Grade.PROBLEM)])
def test_a_lane_on_which_nobody_works_is_told(world: World, minutes: int, grade: Grade) -> None:
    begin(world)
    world.clock.advance(minutes * 60)

    assert check_named(health_of(world), "Lane in-").grade is grade


@pytest.mark.parametrize(
    ("days", "grade", "words"),
    [(0, Grade.WARNING, "No subscription"), (1, Grade.OK, "Subscribed until"), (31, Grade.PROBLEM, "expired at")],
)
def test_a_subscription_that_is_missing_or_has_ended_is_told(
    make_notified: MakeNotified, days: int, grade: Grade, words: str
) -> None:
    world = make_notified()
    if days:
        keep_subscriptions(world.services, limit_s=10)
        world.clock.advance(days * 24 * 3600)

    check = check_named(health_of(world), "Notifications")

    assert (check.grade, words in check.message) == (grade, True)


def test_an_app_without_notifications_is_well(world: World) -> None:
    check = check_named(health_of(world), "Notifications")

    assert check.grade is Grade.OK
    assert "NOTIFICATION_URL is not set" in check.message


# Sign-in and permissions


def test_no_token_is_told_with_where_to_look(world: World) -> None:
    world.faults.add(Fault("entra", "*", "", 1, None, do=faults.status(400)))

    health = health_of(world)

    for name in ("Microsoft Graph", "F&O"):
        check = check_named(health, name)
        assert check.grade is Grade.PROBLEM
        assert "Entra ID gave no token for" in check.message
        assert "Turn on the managed identity of the Function App" in check.message


@pytest.mark.parametrize(("permissions", "granted"), [(("Mail.Send",), "Mail.Send"), ((), "none")])
def test_a_missing_files_permission_is_named_with_what_is_granted_and_what_to_do(
    world: World, permissions: tuple[str, ...], granted: str
) -> None:
    world.entra.permissions = permissions

    health = health_of(world)

    permission, drive = check_named(health, "Permissions"), check_named(health, "OneDrive")
    assert (permission.grade, drive.grade) == (Grade.PROBLEM, Grade.PROBLEM)
    missing = "The permission Files.ReadWrite.All of Microsoft Graph is missing."
    assert permission.message == f"{missing} Granted: {granted}."
    assert "application permission" in permission.advice
    assert "HTTP 403" in drive.message


def test_sites_selected_beside_files_readwrite_all_is_told_to_limit_nothing(world: World) -> None:
    world.entra.permissions = ("Sites.Selected", "Files.ReadWrite.All")

    health = health_of(world)

    check = check_named(health, "Permissions")
    assert (health.grade, check.grade) == (Grade.WARNING, Grade.WARNING)
    assert check.message.startswith("Sites.Selected has no effect while Files.ReadWrite.All is also granted")
    assert "Remove Files.ReadWrite.All if you want Sites.Selected" in check.advice


@pytest.mark.parametrize("granted", [True, False])
def test_sites_selected_needs_the_sites_own_grant(make_world: MakeWorld, *, granted: bool) -> None:
    world = make_world(knobs=Knobs(sites_selected_is_granted=granted))
    world.entra.permissions = ("Sites.Selected",)

    health = health_of(world)

    drive = check_named(health, "OneDrive")
    assert check_named(health, "Permissions").grade is Grade.OK
    assert drive.grade is (Grade.OK if granted else Grade.PROBLEM)
    assert ("must also grant the app the role write" in drive.advice) is not granted


def test_a_missing_mail_permission_is_told_where_alerts_are_mailed(make_world: MakeWorld) -> None:
    world = make_world(settings=ALERTS)
    world.entra.permissions = ("Files.ReadWrite.All",)

    (check,) = [each for each in not_well(health_of(world)) if each.name.startswith("Permissions")]

    assert (check.grade, "Mail.Send is missing" in check.message) == (Grade.WARNING, True)


@pytest.mark.parametrize(("sign_in", "grade"), [("app", Grade.PROBLEM), ("user", Grade.OK)])
def test_a_person_needs_no_permission_for_the_drives_of_others(
    world: World, sign_in: Literal["app", "user"], grade: Grade
) -> None:
    world.services.settings = replace(world.services.settings, onedrive_sign_in=sign_in)
    world.services.graph_token = _Token(a_token(scp="Files.ReadWrite offline_access"))

    health = check_health(lambda: world.services)

    assert check_named(health, "Permissions").grade is grade


class _Token:
    """Gives one token."""

    def __init__(self, token: str) -> None:
        self._token = token

    def token(self, *, refresh: bool = False) -> str:
        return self._token


def test_a_drive_that_does_not_exist_is_told(make_world: MakeWorld) -> None:
    world = make_world(settings={"ONEDRIVE_DRIVE": "drives/b!nobodys"})

    check = check_named(health_of(world), "OneDrive")

    assert check.grade is Grade.PROBLEM
    assert "OneDrive has no drive 'drives/b!nobodys'" in check.message


# F&O


def test_an_app_that_f_and_o_does_not_know_is_told_the_form_and_its_client_id(make_world: MakeWorld) -> None:
    world = make_world(behaviour=Behaviour(registered_apps=()))

    check = check_named(health_of(world), "F&O")

    assert check.grade is Grade.PROBLEM
    assert "System administration > Setup > Microsoft Entra ID applications" in check.message
    assert check.advice == f"The app's client id is {world.entra.system_identity}."


def test_an_address_that_leads_to_a_sign_in_page_is_told_to_be_wrong(world: World) -> None:
    world.faults.add(fno_fault("", LOGIN, times=None))

    check = check_named(health_of(world), "F&O")

    assert check.grade is Grade.PROBLEM
    assert "the base URL in the settings is wrong" in check.message


def test_an_environment_that_cannot_be_reached_is_trouble_and_one_that_throttles_is_not(world: World) -> None:
    world.faults.add(fno_fault("", faults.status(429, {"Retry-After": "30"}), times=None))
    assert check_named(health_of(world), "F&O").grade is Grade.WARNING
    world.faults.clear()
    with closed_port() as port:
        world._more_settings["FO_URL"] = f"http://127.0.0.1:{port}"

        check = check_named(health_of(world), "F&O")

    assert (check.grade, "unreachable" in check.message) == (Grade.PROBLEM, True)


def test_an_unknown_company_and_an_unknown_data_project_are_told(make_world: MakeWorld) -> None:
    world = make_world(settings={"EXPORT_DATA_PROJECT": "No-Such-Project", "EXPORT_COMPANY": "ZZZZ"})

    health = health_of(world, thorough=True)

    in_trouble = [check for check in health.checks if check.grade is Grade.PROBLEM]
    assert [check.name for check in in_trouble] == [
        "F&O, 127.0.0.1, company ZZZZ",
        "F&O, 127.0.0.1, data project No-Such-Project",
    ]
    assert all(check.advice.startswith("Check the name in the settings") for check in in_trouble)


def test_what_the_user_in_f_and_o_may_not_read_is_not_called_missing(make_world: MakeWorld) -> None:
    world = make_world(settings=EXPORT)
    world.faults.add(fno_fault("LegalEntities|DefinitionGroups", faults.status(403), times=None))

    health = health_of(world, thorough=True)

    unknown = [check for check in not_well(health) if check.name.startswith("F&O")]
    assert [check.grade for check in unknown] == [Grade.WARNING] * 2
    assert all(check.message.startswith("This could not be checked") for check in unknown)


# The webhook


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda receiver: setattr(receiver, "handshake_status", 401), "refuses the key in NOTIFICATION_URL"),
        (lambda receiver: setattr(receiver, "handshake_status", 404), "There is no receive_notification"),
        (lambda receiver: setattr(receiver, "handshake_text", "<html>"), "did not return the token"),
    ],
)
def test_a_webhook_that_does_not_answer_as_graph_wants_it_is_told(
    make_notified: MakeNotified, receiver: Receiver, spoil: Callable[[Receiver], None], words: str
) -> None:
    world = make_notified()
    spoil(receiver)

    check = check_named(health_of(world, thorough=True), "Webhook")

    assert (check.grade, words in check.message) == (Grade.PROBLEM, True)
    assert "scan that runs every minute" in check.advice


def test_a_webhook_that_cannot_be_reached_is_told_without_its_key(make_world: MakeWorld) -> None:
    with closed_port() as port:
        address = f"http://127.0.0.1:{port}/api/receive_notification?code=the-function-key"
        world = make_world(settings={"NOTIFICATION_URL": address, "CLIENT_STATE": "0123456789abcdef"})

        health = health_of(world, thorough=True)

    check = check_named(health, "Webhook")
    assert (check.grade, "unreachable" in check.message) == (Grade.PROBLEM, True)
    assert "the-function-key" not in str(health)


# How long it may take


def test_a_service_that_hangs_is_waited_for_eight_seconds_at_most(world: World) -> None:
    world.monkeypatch.setattr("shared.health.checks.CALL_S", 0.2)
    world.faults.add(fno_fault("", faults.hang(30.0), times=None))

    check = check_named(health_of(world), "F&O")

    assert "did not answer in time" in check.message


def test_once_the_time_is_up_no_further_service_is_asked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: Any) -> Sequence[Check]:
        world.clock.advance(ALL_CALLS_S + 1)
        return ()

    monkeypatch.setattr("shared.health.service_checks._graph", slow)

    check = check_named(health_of(world), "F&O")

    assert (check.grade, "Not checked" in check.message) == (Grade.WARNING, True)


def test_what_is_probably_not_meant_in_the_configuration_is_a_warning(make_world: MakeWorld) -> None:
    world = make_world(settings=one_import(name="customers", company="USMF", companies=["USMF"]))

    check = check_named(check_health(lambda: world.services), "Configuration of the flows")

    assert (check.grade, check.message) == (
        Grade.WARNING,
        "INTEGRATIONS, imports[0].companies have no effect: all its files are for USMF. Flow: customers.",
    )
