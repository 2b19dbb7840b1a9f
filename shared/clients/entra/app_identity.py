"""Tokens for the app's own identity (azure-identity), and what a certificate tells of itself.

The library keeps tokens until they run out; here stands how it is set up. It is imported on first use, because an HTTP
call that needs no token should not pay for it at a cold start.
"""

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from shared.clients.http.context import allowed_s
from shared.errors import AppError, NeedsPerson, RemoteCall, TryAgain
from shared.locks import WAIT_S, CallLock
from shared.secret import Secret

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken
    from azure.identity import CertificateCredential, ClientSecretCredential, ManagedIdentityCredential

    type AzureCredential = ClientSecretCredential | CertificateCredential | ManagedIdentityCredential
from shared.clients.entra.authority import CONNECT_S, PUBLIC_CLOUD, READ_S, HeldToken, is_known_cloud
from shared.clients.entra.errors import SERVICE, advice_on, error_code_in, first_line, is_passing


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedIdentity:
    """The identity that Azure gives to the Function App."""

    client_id: str = ""  # of a user-assigned identity; "" for the system-assigned one


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSecret:
    """An app registration with a client secret."""

    tenant_id: str
    client_id: str
    secret: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCertificate:
    """An app registration with a certificate."""

    tenant_id: str
    client_id: str
    path: Path  # PEM or PKCS12 with the private key
    password: Secret | None = None


# Where Azure tells an app of its managed identity. Without any of them azure-identity would ask the metadata address of
# the machine, 169.254.169.254: that is another identity, or a wait for nobody.
# https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
_ENDPOINTS: Final = ("IDENTITY_ENDPOINT", "MSI_ENDPOINT", "AZURE_FEDERATED_TOKEN_FILE")


def require_identity_endpoint() -> None:
    """Raise NeedsPerson if Azure gives this process no managed identity."""
    if not any(os.environ.get(name) for name in _ENDPOINTS):  # where azure-identity itself looks
        raise NeedsPerson(
            "There is no managed identity here (IDENTITY_ENDPOINT is not set). In Azure, turn on the managed "
            "identity of the Function App; elsewhere, enter an app registration in the settings"
        )


type Credential = ManagedIdentity | ClientSecret | ClientCertificate


def certificate_ends(certificate: ClientCertificate) -> datetime | None:
    """Return when a certificate ends, in UTC; None where the file cannot be read, which a sign-in will tell of."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import pkcs12

    password = certificate.password.reveal().encode() if certificate.password else None
    try:
        content = certificate.path.read_bytes()
        if b"-----BEGIN CERTIFICATE-----" in content:
            return x509.load_pem_x509_certificate(content).not_valid_after_utc
        found = pkcs12.load_pkcs12(content, password).cert
    except (OSError, ValueError):
        return None
    return found.certificate.not_valid_after_utc if found else None


class StorageIdentity:
    """The managed identity of the app, for the storage SDK, which asks it for tokens and keeps them."""

    def __init__(self, client_id: str) -> None:
        """client_id: of a user-assigned identity; "" for the system-assigned one."""
        self._client_id = client_id
        self._credential: ManagedIdentityCredential | None = None

    def get_token(self, *scopes: str, **options: Any) -> "AccessToken":
        """Return a token. Raises what azure-identity does, and NeedsPerson if Azure gives no identity here."""
        from azure.identity import ManagedIdentityCredential

        from shared.azure_storage.transport import sdk_transport

        require_identity_endpoint()
        if self._credential is None:
            transport = sdk_transport(connection_timeout=5, read_timeout=30)
            self._credential = ManagedIdentityCredential(client_id=self._client_id or None, transport=transport)
        token: AccessToken = self._credential.get_token(*scopes, **options)
        return token


class AppIdentity:
    """Tokens for the app's own identity and one scope."""

    def __init__(self, credential: Credential, scope: str, *, authority_host: str = PUBLIC_CLOUD) -> None:
        """scope: such as ``https://graph.microsoft.com/.default``.

        authority_host: of Entra ID, with or without https:// (the setting AZURE_AUTHORITY_HOST).
        """
        self._settings = credential
        self._scope = scope
        self._authority_host = authority_host or PUBLIC_CLOUD
        self._call = CallLock()
        self._held = HeldToken()
        self._credential: AzureCredential | None = None
        self._last_status: int | None = None

    def token(self, *, refresh: bool = False) -> str:
        """Return a token that is good for minutes at least.

        refresh: drop what azure-identity holds. Azure itself keeps a managed identity's token for up to 24 hours,
        and nothing can make it give another one.
        https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/managed-identity-best-practice-recommendations

        Raises NeedsPerson: wrong secret, unknown app, no such identity; TryAgain: Entra ID is out of reach, or another
        thread has asked it and got no answer for ten seconds.
        """
        from azure.core.exceptions import AzureError

        if self._call.is_held and not refresh and (token := self._held.living()):
            return token
        # One thread asks and the others find its token, instead of all asking at once.
        with self._call.held(f"get a token for {self._scope}", wait_s=allowed_s(WAIT_S)):
            self._last_status = None
            try:
                if refresh:
                    self._drop()
                if self._credential is None:
                    self._credential = self._new_credential()
                got = self._credential.get_token(self._scope)
                return self._held.keep(got.token, got.expires_on)
            except (AzureError, ValueError, OSError) as error:
                # msal repeats a refusal from memory for a minute; whoever asks again wants to know how things are now.
                self._drop()
                raise self._to_app_error(error) from error

    def _drop(self) -> None:
        if self._credential is not None:
            self._credential.close()
            self._credential = None

    def _new_credential(self) -> "AzureCredential":
        from azure import identity

        from shared.azure_storage.transport import sdk_transport

        # Nothing sleeps in an invocation, azure-core's retries neither: the runner tries again.
        options: dict[str, Any] = {
            "retry_total": 0,
            "transport": sdk_transport(connection_timeout=CONNECT_S, read_timeout=READ_S),
            "raw_response_hook": self._note_status,
        }
        authority = {
            "authority": self._authority_host,
            "disable_instance_discovery": not is_known_cloud(self._authority_host),
        }
        match self._settings:
            case ManagedIdentity(client_id=client_id):
                require_identity_endpoint()
                return identity.ManagedIdentityCredential(client_id=client_id or None, **options)
            case ClientSecret(tenant_id=tenant_id, client_id=client_id, secret=secret):
                return identity.ClientSecretCredential(tenant_id, client_id, secret.reveal(), **authority, **options)
            case ClientCertificate(tenant_id=tenant_id, client_id=client_id, path=path, password=password):
                return identity.CertificateCredential(
                    tenant_id,
                    client_id,
                    str(path),
                    password=password.reveal() if password else None,
                    **authority,
                    **options,
                )

    def _note_status(self, response: Any) -> None:
        # azure-identity turns every failure into one type of error, and leaves the status out of some of them.
        self._last_status = response.http_response.status_code

    def _to_app_error(self, error: Exception) -> AppError:
        text = str(error)
        call = RemoteCall(
            service=SERVICE, operation="get token", status=self._last_status, code=error_code_in(text), request_id=""
        )
        if is_passing(error, self._last_status, text):
            return TryAgain(f"Entra ID gave no token for {self._scope}: {first_line(text)}", call=call)
        advice = advice_on(text) or _where_to_look(self._settings)
        return NeedsPerson(f"Entra ID gave no token for {self._scope}: {first_line(text)}. {advice}", call=call)


def _where_to_look(credential: Credential) -> str:
    match credential:
        case ManagedIdentity():
            return "Turn on the managed identity of the Function App, and check its client id in the settings"
        case ClientSecret():
            return "Check tenant id, client id and secret in the settings"
        case ClientCertificate(path=path):
            return f"Check tenant id and client id in the settings, and the certificate {path.name}"
