"""How settings are read, and in which words wrong ones are refused."""

import json
import re
from datetime import date, timedelta
from pathlib import Path

import pytest

from shared.config.alert_route import AlertRoute
from shared.config.app_settings import SETTINGS
from shared.config.settings import AZURITE, EMPTY_MEANS_NONE, Settings, SignIn, read_settings
from shared.errors import SettingsInvalid
from shared.secret import Secret, SecretUrl

CLIENT_ID = "11111111-2222-3333-4444-555555555555"
IMPORT = {
    "FO_URL": "https://contoso.operations.dynamics.com/",
    "ONEDRIVE_DRIVE": "integration@contoso.com",
    "AzureWebJobsStorage": "UseDevelopmentStorage=true",
}
EXPORT = {"EXPORT_DATA_PROJECT": "Ledger", "EXPORT_COMPANY": "usmf", "OUTBOUND_SCHEDULE": "*/30 * * * * *"}
NOTIFIED = {
    "NOTIFICATION_URL": "https://app.azurewebsites.net/api/receive_notification?code=the-function-key",
    "CLIENT_STATE": "a-long-random-text",
}


def _read(*groups: dict[str, str], **values: str) -> Settings:
    merged: dict[str, str] = {}
    for group in (*groups, values):
        merged |= group
    return read_settings(merged)


def _refused(*groups: dict[str, str], **values: str) -> list[str]:
    """Return the lines of the refusal, one a problem."""
    with pytest.raises(SettingsInvalid) as refusal:
        _read(*groups, **values)
    head, *lines = refusal.value.message.split("\n")
    assert "docs/settings.md" in head
    return [line.removeprefix("- ") for line in lines]


# What is read.


def test_three_settings_are_enough_for_an_import() -> None:
    settings = _read(IMPORT)

    (flow,) = settings.flows.imports
    assert not settings.flows.exports
    assert flow.environment_url == "https://contoso.operations.dynamics.com"
    assert flow.drive == "users/integration@contoso.com/drive"
    assert flow.input_folder == "/Input"
    assert (flow.processing_folder, flow.success_folder, flow.error_folder) == ("/Processing", "/Success", "/Error")
    assert (flow.only_project, flow.only_company, flow.overwrite) == ("", "", True)
    assert settings.graph_url == "https://graph.microsoft.com"
    assert (settings.onedrive_sign_in, settings.sign_in) == ("app", None)
    assert (settings.notification_url, settings.client_state) == (None, None)
    assert settings.import_stuck_after == settings.export_stuck_after == timedelta(hours=4)
    assert (settings.submit_grace_s, settings.poll_stay_s) == (180, 5)
    assert (settings.poll_first_s, settings.poll_longest_s) == (2, 300)


def test_an_export_needs_three_more_and_an_empty_input_folder_means_no_import() -> None:
    (flow,) = _read(IMPORT, EXPORT).flows.exports

    assert (flow.data_project, flow.company, flow.output_folder, flow.every_seconds) == (
        "Ledger",
        "USMF",
        "/Output",
        0,
    )
    flows = _read(IMPORT, EXPORT, INPUT_FOLDER="").flows
    assert (len(flows.imports), len(flows.exports)) == (0, 1)


def test_names_that_programs_give_to_unfinished_files_are_left_alone_unless_told() -> None:
    assert _read(IMPORT).import_ignored_names == ("*.tmp", "*.partial", "*.crdownload", "~$*", ".~lock*")
    assert _read(IMPORT, IMPORT_IGNORED_NAMES=" *.bak ;; Archive").import_ignored_names == ("*.bak", "Archive")
    nothing = _read(IMPORT, IMPORT_IGNORED_NAMES="")
    assert nothing.import_ignored_names == ()
    assert "IMPORT_IGNORED_NAMES" not in {setting.name for setting in nothing.in_force}


@pytest.mark.parametrize(
    ("pattern", "wrong"),
    [
        *((every, "matches every package") for every in ("*", "*.zip", "*.*", "???*.ZIP")),
        *((path, "is a path") for path in ("Archive/*.zip", "Archive\\old")),
    ],
)
def test_a_pattern_that_leaves_every_package_alone_or_is_a_path_is_refused(pattern: str, wrong: str) -> None:
    (line,) = _refused(IMPORT, IMPORT_IGNORED_NAMES=f"*.tmp; {pattern}")
    assert line.startswith(f"IMPORT_IGNORED_NAMES holds {pattern}, which {wrong}")


def test_other_empty_settings_count_as_not_set() -> None:
    empty = dict.fromkeys(SETTINGS.keys() - IMPORT.keys() - EMPTY_MEANS_NONE, "")

    assert _read(IMPORT, empty) == _read(IMPORT)


def test_blanks_around_values_are_passed_over() -> None:
    assert _read({name: f"  {value}\n" for name, value in IMPORT.items()}) == _read(IMPORT)


def test_names_are_found_in_capitals_as_windows_has_them() -> None:
    assert _read({name.upper(): value for name, value in IMPORT.items()}) == _read(IMPORT)


def test_whatever_else_is_in_the_environment_is_not_ours() -> None:
    others = {"PATH": "/bin", "FUNCTIONS_WORKER_RUNTIME": "python", "WEBSITE_SITE_NAME": "x", "CLIENT_SECRET": "x"}

    assert _read(IMPORT, others, EXPORTED_BY="x", ERROR_LOG="x") == _read(IMPORT)


def test_the_signed_in_user_may_use_their_own_drive_and_mailbox() -> None:
    settings = _read(
        IMPORT,
        ONEDRIVE_DRIVE="me/drive",
        ONEDRIVE_SIGN_IN="User",
        SIGN_IN_CLIENT_ID=CLIENT_ID,
        SIGN_IN_TENANT="consumers",
        ALERT_RECIPIENT="a@contoso.com, b@contoso.com;",
    )

    assert settings.onedrive_sign_in == "user"
    assert settings.sign_in == SignIn(client_id=CLIENT_ID, tenant="consumers")
    assert (settings.alerts.recipient, settings.alert_sender) == ("a@contoso.com;b@contoso.com", "")


def test_people_are_told_in_several_ways_at_once() -> None:
    settings = _read(
        IMPORT,
        ALERT_RECIPIENT="a@contoso.com",
        ALERT_SENDER="app@contoso.com",
        ALERT_TEAMS_URL="https://prod-1.logic.azure.com:443/workflows/1/invoke?sig=the-signature",
        ALERT_WEBHOOK_URL="https://events.contoso.com/fo",
        ALERT_WEBHOOK_SECRET="whsec_" + "A" * 44,
        ALERT_REMIND_AFTER_HOURS="6",
    )

    assert settings.alerts == AlertRoute(
        recipient="a@contoso.com",
        teams_url=SecretUrl("https://prod-1.logic.azure.com:443/workflows/1/invoke?sig=the-signature"),
        webhook_url=SecretUrl("https://events.contoso.com/fo"),
    )
    assert settings.alert_webhook_secret == Secret("whsec_" + "A" * 44)
    assert settings.alert_remind_after == timedelta(hours=6)
    assert "the-signature" not in repr(settings)


def test_nobody_is_reminded_where_the_hours_are_none() -> None:
    assert _read(IMPORT).alert_remind_after == timedelta(days=1)
    assert _read(IMPORT, ALERT_REMIND_AFTER_HOURS="0").alert_remind_after is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ""),
        ({"WEBSITE_HOSTNAME": "contoso-fo.azurewebsites.net"}, "https://contoso-fo.azurewebsites.net"),
        ({"WEBSITE_HOSTNAME": "127.0.0.1:7071"}, "http://127.0.0.1:7071"),
        ({"WEBSITE_HOSTNAME": "x.azurewebsites.net", "APP_URL": "https://fo.contoso.com/"}, "https://fo.contoso.com"),
    ],
)
def test_links_to_the_app_lead_to_the_address_that_is_set_or_that_azure_gives_it(
    given: dict[str, str], expected: str
) -> None:
    assert _read(IMPORT, given).app_url == expected


@pytest.mark.parametrize(
    ("name", "value", "wrong"),
    [
        ("ALERT_TEAMS_URL", "prod-1.logic.azure.com/workflows/1?sig=SECRET", "must be a URL that begins with https://"),
        ("ALERT_WEBHOOK_URL", "http://events.contoso.com/?key=SECRET", "must begin with https://"),
        ("ALERT_WEBHOOK_SECRET", "SECRET", "24 to 64 random bytes as base64"),
        ("ALERT_REMIND_AFTER_HOURS", "daily", "must be a number"),
        ("APP_URL", "https://fo.contoso.com/api?code=SECRET", "must be the address only"),
    ],
)
def test_a_setting_about_alerts_that_cannot_be_meant_is_refused_without_its_secret(
    name: str, value: str, wrong: str
) -> None:
    (line,) = _refused(IMPORT, {name: value})

    assert line.startswith(f"{name} ")
    assert wrong in line
    assert "SECRET " not in line.removeprefix(name)
    assert "=SECRET" not in line


def test_a_flow_with_a_recipient_of_its_own_needs_a_sender() -> None:
    flow = {"name": "customers", "inputFolder": "In", "alertRecipient": "a@contoso.com"}

    (line,) = _refused(IMPORT, INTEGRATIONS=json.dumps({"imports": [flow]}))

    assert line.startswith("ALERT_SENDER is missing")


def test_the_end_of_a_client_secret_is_a_date() -> None:
    secret = {"AZURE_TENANT_ID": "contoso.com", "AZURE_CLIENT_ID": CLIENT_ID, "AZURE_CLIENT_SECRET": "s"}

    assert _read(IMPORT, secret, CLIENT_SECRET_EXPIRES="2027-05-31").credentials.secret_expires == date(2027, 5, 31)
    assert _read(IMPORT, secret).credentials.secret_expires is None
    (line,) = _refused(IMPORT, secret, CLIENT_SECRET_EXPIRES="31.5.2027")
    assert line.startswith("CLIENT_SECRET_EXPIRES must be a date")


def test_a_certificate_is_found_in_the_app(tmp_path: Path) -> None:
    tmp_path.joinpath("app.pem").write_text("x", "utf-8")

    settings = read_settings(
        IMPORT
        | {
            "AZURE_TENANT_ID": "contoso.com",
            "AZURE_CLIENT_ID": CLIENT_ID,
            "AZURE_CLIENT_CERTIFICATE_PATH": "app.pem",
            "AZURE_CLIENT_CERTIFICATE_PASSWORD": "p",
            "AZURE_AUTHORITY_HOST": "login.microsoftonline.us",
        },
        app_folder=tmp_path,
    )

    assert settings.credentials.certificate_path == tmp_path / "app.pem"
    assert settings.credentials.certificate_password == Secret("p")
    assert settings.credentials.authority_host == "https://login.microsoftonline.us"


def test_azurite_is_known_by_its_short_name() -> None:
    assert _read(IMPORT).storage.connection_string == Secret(AZURITE)


@pytest.mark.parametrize(
    ("blob_url", "queue_url"),
    [
        ("https://contoso1.blob.core.windows.net", ""),
        ("https://contoso1.blob.core.usgovcloudapi.net/", "https://contoso1.queue.core.usgovcloudapi.net"),
        ("https://127.0.0.1:10000/devstoreaccount1", "https://127.0.0.1:10001/devstoreaccount1"),
    ],
)
def test_storage_may_be_reached_by_identity(blob_url: str, queue_url: str) -> None:
    storage = {"AzureWebJobsStorage__accountName": "contoso1"}
    if queue_url:
        storage = {
            f"AzureWebJobsStorage__{kind}ServiceUri": url for kind, url in (("blob", blob_url), ("queue", queue_url))
        }
    identity = {"AzureWebJobsStorage__credential": "managedidentity", "AzureWebJobsStorage__clientId": CLIENT_ID}

    found = _read(IMPORT, storage, identity, AzureWebJobsStorage="").storage

    assert (found.connection_string, found.blob_url, found.client_id) == (None, blob_url.rstrip("/"), CLIENT_ID)
    assert found.queue_url


def shown(values: dict[str, str]) -> dict[str, str]:
    return {each.name: each.value for each in read_settings(values).in_force}


def test_the_addresses_that_alerts_are_posted_to_are_not_shown_but_where_they_stand_is() -> None:
    flow = {
        "name": "one",
        "inputFolder": "One",
        "alertTeamsUrl": "https://teams.example/a",
        "alertWebhookUrl": "%HOOK%",
    }
    found = shown(
        {
            **IMPORT,
            "INTEGRATIONS": json.dumps({"imports": [flow]}),
            "HOOK": "https://hook.example/b",
            "ALERT_TEAMS_URL": "https://teams.example/c",
            "ALERT_WEBHOOK_URL": "https://hook.example/d",
        }
    )

    assert '"alertTeamsUrl": "***"' in found["INTEGRATIONS"]
    assert "%HOOK%" in found["INTEGRATIONS"]
    assert not re.search(r"example/[abcd]", str(found))


def test_settings_are_shown_with_their_defaults_where_those_are_in_force() -> None:
    integrations = json.dumps({"imports": [{"name": "customers", "inputFolder": "Customers/Input"}]})

    assert shown(IMPORT)["INPUT_FOLDER"] == "Input"
    assert "OUTPUT_FOLDER" not in shown(IMPORT)
    assert not {"INPUT_FOLDER", "ERROR_FOLDER", "OUTPUT_FOLDER"} & set(shown(IMPORT | {"INTEGRATIONS": integrations}))
    assert shown(IMPORT | EXPORT)["OUTPUT_FOLDER"] == "Output"
    assert "INPUT_FOLDER" not in shown(IMPORT | EXPORT | {"INPUT_FOLDER": ""})


def test_secrets_are_shown_as_stars() -> None:
    address = "https://contoso-fo.azurewebsites.net/api/receive_notification?code=k3y"
    given = {"NOTIFICATION_URL": address, "CLIENT_STATE": "0123456789abcdef", "IMPORT_DATA_PROJECT": "code=s3cret"}

    values = shown(IMPORT | given)

    assert values["NOTIFICATION_URL"] == address.replace("code=k3y", "***")
    assert values["CLIENT_STATE"] == values["AzureWebJobsStorage"] == "***"
    assert values["IMPORT_DATA_PROJECT"] == "code=***"


def test_integrations_are_read_from_text_and_from_a_file_in_the_app(tmp_path: Path) -> None:
    text = json.dumps({"imports": [{"name": "customers", "inputFolder": "Customers/Input"}]})
    tmp_path.joinpath("integrations.json").write_text(text, "utf-8-sig")

    from_text = read_settings(IMPORT | {"INTEGRATIONS": text})
    from_file = read_settings(IMPORT | {"INTEGRATIONS": "integrations.json"}, app_folder=tmp_path)

    from_marked = read_settings(IMPORT | {"INTEGRATIONS": f"\ufeff{text}"})  # as some editors copy it

    assert from_text == from_file == from_marked
    assert from_text.flows.imports[0].environment_url == "https://contoso.operations.dynamics.com"


def test_flows_that_name_their_own_environment_and_drive_need_neither_setting() -> None:
    flow = {"name": "a", "inputFolder": "A", "environmentUrl": "https://a.com", "drive": "drives/b!a"}

    settings = read_settings(
        {"AzureWebJobsStorage": "UseDevelopmentStorage=true", "INTEGRATIONS": json.dumps({"imports": [flow]})}
    )

    assert settings.flows.imports[0].environment_url == "https://a.com"


@pytest.mark.parametrize(
    "schedule",
    ["*/30 * * * * *", "0 */5 * * * *", "0 30 9 * * Mon-Fri", "0 0 0 1,15 jan-jun/2 *", "0,30 0-59/10 8-18 * * 1-5"],
)
def test_schedules_of_six_fields_are_taken(schedule: str) -> None:
    found = _read(IMPORT, OUTBOUND_SCHEDULE=schedule).outbound_schedule

    assert found is not None
    assert found.text == schedule


@pytest.mark.parametrize("url", ["http://127.0.0.1:7071/api/receive_notification", "http://localhost/api/x?code=k"])
def test_this_machine_may_be_notified_over_http(url: str) -> None:
    found = _read(IMPORT, NOTIFIED, NOTIFICATION_URL=url).notification_url

    assert found is not None
    assert found.reveal() == url


def test_secrets_are_not_shown() -> None:
    secrets = {
        **NOTIFIED,
        "AzureWebJobsStorage": "AccountName=contoso1;AccountKey=topsecretkey==",
        "AZURE_TENANT_ID": "contoso.com",
        "AZURE_CLIENT_ID": CLIENT_ID,
        "AZURE_CLIENT_SECRET": "topsecretclient",
        "AZURE_CLIENT_CERTIFICATE_PASSWORD": "topsecretpassword",
    }

    shown = repr(_read(IMPORT, secrets))

    for secret in ("topsecret", "the-function-key", "a-long-random-text"):
        assert secret not in shown


# Every setting counts.

OTHER: dict[str, str] = {
    **dict.fromkeys(("INPUT_FOLDER", "PROCESSING_FOLDER", "SUCCESS_FOLDER", "ERROR_FOLDER", "OUTPUT_FOLDER"), "Other"),
    **dict.fromkeys(("IMPORT_DATA_PROJECT", "EXPORT_DATA_PROJECT"), "Other"),
    **dict.fromkeys(("IMPORT_COMPANY", "EXPORT_COMPANY"), "OTH"),
    **dict.fromkeys(("SIGN_IN_CLIENT_ID", "AZURE_CLIENT_ID"), "22222222-2222-3333-4444-555555555555"),
    **dict.fromkeys(("SIGN_IN_TENANT", "AZURE_TENANT_ID"), "other.com"),
    **dict.fromkeys(("ALERT_RECIPIENT", "ALERT_SENDER"), "other@contoso.com"),
    **dict.fromkeys(("IMPORT_STUCK_AFTER_MINUTES", "EXPORT_STUCK_AFTER_MINUTES", "SUBMIT_GRACE_SECONDS"), "1"),
    **dict.fromkeys(("AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PASSWORD"), "other"),
    **dict.fromkeys(("AzureWebJobsStorage__accountName", "AzureWebJobsStorage__credential"), "other"),
    **dict.fromkeys(
        ("AzureWebJobsStorage__blobServiceUri", "AzureWebJobsStorage__queueServiceUri"), "https://other.com"
    ),
    **dict.fromkeys(("FO_URL", "APP_URL"), "https://other.com"),
    "ONEDRIVE_DRIVE": "drives/b!other",
    "ONEDRIVE_SIGN_IN": "user",
    "IMPORT_OVERWRITE": "false",
    "IMPORT_IGNORED_NAMES": "*.bak",
    "IMPORT_STRICT_ORDER": "true",
    "IMPORT_DUPLICATES": "refuse",
    "OUTBOUND_SCHEDULE": "0 0 0 * * *",
    "INTEGRATIONS": "{}",
    "NOTIFICATION_URL": "https://other.com/api/receive_notification",
    "CLIENT_STATE": "another-random-text",
    "ALERT_TEAMS_URL": "https://teams.other.com/1",
    "ALERT_WEBHOOK_URL": "https://other.com/hook",
    "ALERT_WEBHOOK_SECRET": "A" * 32,
    "ALERT_REMIND_AFTER_HOURS": "1",
    "WEBSITE_HOSTNAME": "other.azurewebsites.net",
    "CLIENT_SECRET_EXPIRES": "2030-01-01",
    "POLL_STAY_SECONDS": "0",
    "POLL_FIRST_SECONDS": "0.5",
    "POLL_LONGEST_SECONDS": "90",
    "DRAIN": "true",
    "PYTHON_THREADPOOL_THREAD_COUNT": "32",
    "AZURE_CLIENT_CERTIFICATE_PATH": "other.pem",
    "AZURE_AUTHORITY_HOST": "login.other.com",
    "GRAPH_URL": "https://graph.microsoft.us",
    "AzureWebJobsStorage": "AccountName=other;AccountKey=x",
    "AzureWebJobsStorage__clientId": CLIENT_ID,
}
FULL = {
    **IMPORT,
    **EXPORT,
    **NOTIFIED,
    "ONEDRIVE_SIGN_IN": "user",
    "SIGN_IN_CLIENT_ID": CLIENT_ID,
    "SIGN_IN_TENANT": "contoso.com",
    "ALERT_RECIPIENT": "a@contoso.com",
    "ALERT_SENDER": "b@contoso.com",
}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_changes_something(name: str) -> None:
    before = _read(FULL)
    assert name in OTHER or name == "ONEDRIVE_SIGN_IN", f"OTHER needs a value of {name} that is not its default"

    try:
        after = _read(FULL | ({"ONEDRIVE_SIGN_IN": "app"} if name == "ONEDRIVE_SIGN_IN" else {name: OTHER[name]}))
    except SettingsInvalid as refusal:
        assert name in refusal.message  # noqa: PT017  # that it is refused shows as well that it is read
        return
    assert after != before


# What is refused.


def test_everything_that_is_missing_is_told_together() -> None:
    lines = _refused()

    assert [line.split()[0] for line in lines] == ["FO_URL", "ONEDRIVE_DRIVE", "AzureWebJobsStorage"]
    assert all("Example: " in line for line in lines)


def test_everything_that_is_wrong_is_told_together_and_once() -> None:
    lines = _refused(
        EXPORT,
        FO_URL="contoso",
        ONEDRIVE_DRIVE="onedrive",
        ONEDRIVE_SIGN_IN="me",
        INPUT_FOLDER="In:put",
        EXPORT_COMPANY="USMFX",
        OUTBOUND_SCHEDULE="30 * * * *",
        GRAPH_URL="graph",
        POLL_FIRST_SECONDS="soon",
        AzureWebJobsStorage="contosostorage",
    )

    assert sorted(line.split()[0] for line in lines) == sorted(
        [
            *("FO_URL", "ONEDRIVE_DRIVE", "ONEDRIVE_SIGN_IN", "INPUT_FOLDER", "EXPORT_COMPANY", "OUTBOUND_SCHEDULE"),
            *("GRAPH_URL", "POLL_FIRST_SECONDS", "AzureWebJobsStorage"),
        ]
    )


WRONG: dict[str, tuple[dict[str, str], str]] = {
    "a copied address": ({"FO_URL": "https://contoso.com/?cmp=USMF&mi=Home"}, "FO_URL must be the address only"),
    "Graph with its version": ({"GRAPH_URL": "https://graph.microsoft.com/v1.0"}, "GRAPH_URL must be the address only"),
    "an app's own drive": ({"ONEDRIVE_DRIVE": "me/drive"}, "ONEDRIVE_SIGN_IN must be user"),
    "a user who cannot sign in": (
        {"ONEDRIVE_SIGN_IN": "user"},
        "SIGN_IN_CLIENT_ID is missing: .*\nSIGN_IN_TENANT is missing",
    ),
    "half an export": ({"EXPORT_DATA_PROJECT": "E"}, "EXPORT_COMPANY is missing"),
    "the other half": ({"EXPORT_COMPANY": "USMF"}, "EXPORT_DATA_PROJECT is missing"),
    "an export without a schedule": (
        EXPORT | {"OUTBOUND_SCHEDULE": ""},
        "OUTBOUND_SCHEDULE is missing: exports need it",
    ),
    "nothing to do": ({"INPUT_FOLDER": ""}, "nothing to do"),
    "the same folder twice": ({"ERROR_FOLDER": "Success"}, "ERROR_FOLDER is /Success, the same as SUCCESS_FOLDER"),
    "a folder inside Input": ({"ERROR_FOLDER": "Input/Error"}, "ERROR_FOLDER is /Input/Error, which is inside"),
    "a notification with a mark": (NOTIFIED | {"NOTIFICATION_URL": "https://app.com/api/x?code=a#b"}, "without '#'"),
    "no client state": ({"NOTIFICATION_URL": NOTIFIED["NOTIFICATION_URL"]}, "CLIENT_STATE is missing"),
    "a client state that Graph refuses": (NOTIFIED | {"CLIENT_STATE": "x" * 129}, "CLIENT_STATE must be 16 to 128"),
    "an alert that nobody sends": ({"ALERT_RECIPIENT": "a@contoso.com"}, "ALERT_SENDER is missing"),
    "two senders": ({"ALERT_SENDER": "a@b.cd;b@b.cd"}, "ALERT_SENDER must be an e-mail address"),
    "a secret without its tenant": (
        {"AZURE_CLIENT_SECRET": "s"},
        "AZURE_TENANT_ID is missing: AZURE_CLIENT_SECRET is set.*\nAZURE_CLIENT_ID is missing",
    ),
    "a secret and a certificate": (
        {"AZURE_CLIENT_SECRET": "s", "AZURE_CLIENT_CERTIFICATE_PATH": "x"},
        "AZURE_CLIENT_CERTIFICATE_PATH conflicts with AZURE_CLIENT_SECRET",
    ),
    "an application's name for its id": ({"AZURE_CLIENT_ID": "my-app"}, "AZURE_CLIENT_ID must be a client id"),
    "a tenant's address": ({"AZURE_TENANT_ID": "https://contoso.com"}, "AZURE_TENANT_ID must be a tenant's"),
    "a number with a comma": ({"POLL_FIRST_SECONDS": "0,5"}, "POLL_FIRST_SECONDS must be a number"),
    "no wait at all": ({"POLL_FIRST_SECONDS": "0"}, "POLL_FIRST_SECONDS must be a number from 0.1"),
    "bounds that cross": ({"POLL_FIRST_SECONDS": "900"}, "POLL_LONGEST_SECONDS must not be less"),
    "storage twice": ({"AzureWebJobsStorage__accountName": "contoso1"}, "AzureWebJobsStorage conflicts with"),
    "half of the storage": (
        {"AzureWebJobsStorage": "", "AzureWebJobsStorage__blobServiceUri": "https://x.blob.core.windows.net"},
        "AzureWebJobsStorage__queueServiceUri is missing",
    ),
    "an account's name with a dot": (
        {"AzureWebJobsStorage": "", "AzureWebJobsStorage__accountName": "contoso.blob"},
        "AzureWebJobsStorage__accountName must be",
    ),
    "a container's address": (
        {"AzureWebJobsStorage": "", "AzureWebJobsStorage__blobServiceUri": "https://x.blob.core.windows.net/c"},
        "AzureWebJobsStorage__blobServiceUri must be the address only",
    ),
    "another credential": ({"AzureWebJobsStorage__credential": "key"}, "must be managedidentity"),
    "integrations and simple settings": (
        {"INTEGRATIONS": '{"imports": [{"name": "a", "inputFolder": "A"}]}', "IMPORT_COMPANY": "USMF"},
        "INTEGRATIONS conflicts with IMPORT_COMPANY",
    ),
    "a half remembered setting": ({"ONEDRIVE_SIGNIN": "user"}, r"Did you mean ONEDRIVE_SIGN_IN\?"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_setting_is_refused_in_words(name: str) -> None:
    values, words = WRONG[name]

    lines = "\n".join(_refused(IMPORT, values))

    assert re.search(words, lines), lines


@pytest.mark.parametrize(
    "schedule",
    [
        *("* * * * *", "00:00:30", "60 * * * * *", "* * 24 * * *", "* * * 0 * *", "* * * * 13 *", "* * * * * 7"),
        *("*/0 * * * * *", "*/x * * * * *", "1-70 * * * * *", "a * * * * *", "1,,2 * * * * *", "- * * * * *"),
        *("* * * * Mon *", "* * * * * Jan", "@hourly", "1;2 * * * * *", "٣ * * * * *"),
    ],
)
def test_what_is_no_schedule_is_refused(schedule: str) -> None:
    (line,) = _refused(IMPORT, OUTBOUND_SCHEDULE=schedule)

    assert line.startswith("OUTBOUND_SCHEDULE ")


def test_a_misspelt_setting_beside_the_right_one_is_let_be() -> None:
    _read(IMPORT, IMPORT_COMPANY="USMF", IMPORT_COMPANY_2="USRT")


def test_one_problem_is_told_in_the_singular() -> None:
    with pytest.raises(SettingsInvalid, match=r"^One setting is missing or wrong"):
        _read(IMPORT, FO_URL="")
