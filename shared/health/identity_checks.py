"""Whether the Functions host and the app use the storage account as the same identity, as far as the settings say."""

from collections.abc import Iterator

from shared.config.settings import Credentials, Settings, StorageSettings
from shared.health.health import Check, Grade


def check_host_identity(settings: Settings) -> Iterator[Check]:
    """Return whether the host and the app use the storage account as the same identity, as far as the settings say.

    No service is called: if the host cannot reach its storage, no function runs, and only the doctor can tell.
    """
    storage, name = settings.storage, "Identity for storage"
    if storage.connection_string:
        yield Check(
            name=name, grade=Grade.OK, message="The host and the app use the connection string in AzureWebJobsStorage."
        )
        return
    if storage.has_empty_text:
        # https://github.com/Azure/azure-functions-host/issues/11796
        yield Check(
            name=name,
            grade=Grade.PROBLEM,
            message="AzureWebJobsStorage is set but empty. The host reads it before the AzureWebJobsStorage__... "
            "settings and finds no storage account in it.",
            advice="Delete the app setting AzureWebJobsStorage.",
        )
    yield _host_identity_check(name, settings.credentials, storage)


def _host_identity_check(name: str, credentials: Credentials, storage: StorageSettings) -> Check:
    app = _identity(storage.client_id)
    is_registration = bool(credentials.client_secret or credentials.certificate_path)
    if storage.names_credential:
        message = f"The host and the app use the storage account as {app}."
        if storage.client_id or is_registration or not credentials.client_id:
            return Check(name=name, grade=Grade.OK, message=message)
        return Check(
            name=name,
            grade=Grade.WARNING,
            message=f"{message} AZURE_CLIENT_ID names {_identity(credentials.client_id)}.",
            advice="If the app has no system-assigned identity, or that has no role on the storage account, set "
            "AzureWebJobsStorage__clientId to the same client id.",
        )
    # Without a credential the host takes what DefaultAzureCredential finds: the AZURE_... variables come first, and
    # AzureWebJobsStorage__clientId is not read. https://github.com/Azure/azure-functions-host/issues/10904
    # https://learn.microsoft.com/dotnet/azure/sdk/authentication/credential-chains#defaultazurecredential-overview
    host = f"the app registration {credentials.client_id}" if is_registration else _identity(credentials.client_id)
    clients = f" and AzureWebJobsStorage__clientId={storage.client_id}" if storage.client_id else ""
    advice = f"Set AzureWebJobsStorage__credential=managedidentity{clients}."
    if host != app:
        also = "" if storage.client_id else " For a user-assigned identity set AzureWebJobsStorage__clientId, too."
        return Check(
            name=name,
            grade=Grade.PROBLEM,
            message=f"The settings let the host use the storage account as {host}, and the app as {app}: "
            "AzureWebJobsStorage__credential is missing, so the host takes the identity of the AZURE_... settings, or "
            "the one that Azure gives it.",
            advice=advice + also,
        )
    return Check(
        name=name,
        grade=Grade.WARNING if storage.client_id else Grade.OK,
        message=f"The host and the app use the storage account as {app}. AzureWebJobsStorage__credential is missing: "
        "the host looks for an identity by itself, and finds this one as long as no AZURE_... setting names another.",
        advice=advice,
    )


def _identity(client_id: str) -> str:
    return f"the user-assigned identity {client_id}" if client_id else "the system-assigned identity"
