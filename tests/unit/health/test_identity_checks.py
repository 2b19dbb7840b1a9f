"""Which identity the settings give to the Functions host for its storage."""

from collections.abc import Mapping
from typing import Final

import pytest

from shared.config.settings import read_settings
from shared.health.health import Check, Grade
from shared.health.identity_checks import check_host_identity

CLIENT: Final = "11111111-2222-3333-4444-555555555555"
OTHER_CLIENT: Final = "99999999-2222-3333-4444-555555555555"
ACCOUNT: Final = {"AzureWebJobsStorage__accountName": "contosostorage"}
CREDENTIAL: Final = {"AzureWebJobsStorage__credential": "managedidentity"}
OWN: Final = {"AzureWebJobsStorage__clientId": CLIENT}
REGISTRATION: Final = {
    "AZURE_TENANT_ID": "contoso.com",
    "AZURE_CLIENT_ID": OTHER_CLIENT,
    "AZURE_CLIENT_SECRET": "the secret",
}


def identity_checks(settings: Mapping[str, str]) -> list[Check]:
    basic = {"FO_URL": "https://contoso.operations.dynamics.com", "ONEDRIVE_DRIVE": "drives/b!1"}
    return list(check_host_identity(read_settings({**basic, **settings})))


@pytest.mark.parametrize(
    ("settings", "identity"),
    [
        ({"AzureWebJobsStorage": "UseDevelopmentStorage=true"}, "the connection string in AzureWebJobsStorage"),
        ({**ACCOUNT, **CREDENTIAL}, "as the system-assigned identity."),
        ({**ACCOUNT, **CREDENTIAL, **REGISTRATION}, "as the system-assigned identity."),
        ({**ACCOUNT, **CREDENTIAL, **OWN}, f"as the user-assigned identity {CLIENT}."),
        ({**ACCOUNT, **CREDENTIAL, **OWN, **REGISTRATION}, f"as the user-assigned identity {CLIENT}."),
        ({**ACCOUNT, **CREDENTIAL, **OWN, "AZURE_CLIENT_ID": OTHER_CLIENT}, f"as the user-assigned identity {CLIENT}."),
        (ACCOUNT, "as the system-assigned identity."),
    ],
)
def test_the_identity_that_the_settings_give_to_the_host_is_shown(settings: Mapping[str, str], identity: str) -> None:
    (check,) = identity_checks(settings)

    assert check.grade is Grade.OK
    assert identity in check.message


@pytest.mark.parametrize(
    ("settings", "host", "app"),
    [
        ({**ACCOUNT, **REGISTRATION}, f"the app registration {OTHER_CLIENT}", "the system-assigned identity"),
        ({**ACCOUNT, **OWN, **REGISTRATION}, f"the app registration {OTHER_CLIENT}", f"identity {CLIENT}"),
        ({**ACCOUNT, "AZURE_CLIENT_ID": OTHER_CLIENT}, f"identity {OTHER_CLIENT}", "the system-assigned identity"),
        ({**ACCOUNT, **OWN, "AZURE_CLIENT_ID": OTHER_CLIENT}, f"identity {OTHER_CLIENT}", f"identity {CLIENT}"),
        ({**ACCOUNT, **OWN}, "the system-assigned identity", f"identity {CLIENT}"),
    ],
)
def test_a_host_that_would_use_its_storage_as_another_identity_is_trouble(
    settings: Mapping[str, str], host: str, app: str
) -> None:
    (check,) = identity_checks(settings)

    assert check.grade is Grade.PROBLEM
    of_host, of_app = check.message.split(", and the app as ")
    assert host in of_host
    assert app in of_app
    assert "AzureWebJobsStorage__credential=managedidentity" in check.advice
    assert ("AzureWebJobsStorage__clientId" in check.advice) is True
    assert (f"AzureWebJobsStorage__clientId={CLIENT}" in check.advice) is (OWN.items() <= settings.items())


@pytest.mark.parametrize(
    "settings",
    [
        {**ACCOUNT, **CREDENTIAL, "AZURE_CLIENT_ID": CLIENT},  # the app may have no system-assigned identity
        {**ACCOUNT, **OWN, "AZURE_CLIENT_ID": CLIENT},  # the same identity, as long as nobody changes one of the two
    ],
)
def test_an_identity_that_is_named_half_is_a_warning(settings: Mapping[str, str]) -> None:
    (check,) = identity_checks(settings)

    assert check.grade is Grade.WARNING
    assert "AzureWebJobsStorage__" in check.advice


def test_an_empty_connection_string_beside_the_accounts_name_is_trouble() -> None:
    empty, identity = identity_checks({**ACCOUNT, **CREDENTIAL, "AzureWebJobsStorage": ""})

    assert (empty.grade, identity.grade) == (Grade.PROBLEM, Grade.OK)
    assert "AzureWebJobsStorage is set but empty" in empty.message
    assert "Delete the app setting AzureWebJobsStorage." in empty.advice


def test_no_secret_stands_in_what_is_said_of_the_hosts_identity() -> None:
    (check,) = identity_checks({**ACCOUNT, **REGISTRATION})

    assert "the secret" not in f"{check.message} {check.advice}"
