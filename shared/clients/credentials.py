"""Tokens: for the app's own identity (azure-identity) and for a signed-in user (msal).

Both libraries keep tokens until they run out; here stands how they are set up and what their errors mean. They are
imported on first use, because an HTTP call that needs no token should not pay for them at a cold start.
"""

import os
import re
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import requests

from shared.clients.http.client import allowed_s
from shared.errors import AppError, NeedsPerson, RecordChanged, RemoteCall, TryAgain
from shared.escapes import read_json
from shared.locks import WAIT_S, CallLock
from shared.log import log
from shared.secret import Secret

if TYPE_CHECKING:
    import msal  # type: ignore[import-untyped]  # it ships no types
    from azure.core.credentials import AccessToken
    from azure.identity import CertificateCredential, ClientSecretCredential, ManagedIdentityCredential

    type AzureCredential = ClientSecretCredential | CertificateCredential | ManagedIdentityCredential

_SERVICE: Final = "Entra ID"
PUBLIC_CLOUD: Final = "login.microsoftonline.com"

# Any other host (a private cloud, a local one) is unknown to Microsoft's instance discovery, which then must be off.
# https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud
_KNOWN_CLOUDS: Final = frozenset(
    {PUBLIC_CLOUD, "login.microsoftonline.us", "login.partner.microsoftonline.cn", "login.chinacloudapi.cn"}
)

_CONNECT_S: Final = 5
_READ_S: Final = 30

# Seconds that a token must still live to be handed out while another thread asks for the next one.
_LIVES_S: Final = 120.0


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
    # azure-identity reads the environment itself, so this looks where it will.
    if not any(os.environ.get(name) for name in _ENDPOINTS):
        raise NeedsPerson(
            "There is no managed identity here (IDENTITY_ENDPOINT is not set). In Azure, switch the managed identity "
            "of the Function App on; elsewhere, give the settings of an app registration"
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


class _Held:
    """The last token that a credential gave, for those who come while the next one is asked for."""

    def __init__(self) -> None:
        self._token = ""
        self._ends = 0.0  # seconds since the epoch

    def keep(self, token: str, ends: float) -> str:
        """Remember a token; return it."""
        self._token, self._ends = token, ends
        return token

    def living(self) -> str:
        """Return the token, "" if it does not live for long any more."""
        return self._token if self._ends - time.time() > _LIVES_S else ""


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
        self._held = _Held()
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
                raise self._judged(error) from error

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
            "transport": sdk_transport(connection_timeout=_CONNECT_S, read_timeout=_READ_S),
            "raw_response_hook": self._note_status,
        }
        authority = {
            "authority": self._authority_host,
            "disable_instance_discovery": not _is_known_cloud(self._authority_host),
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

    def _judged(self, error: Exception) -> AppError:
        text = str(error)
        call = RemoteCall(
            service=_SERVICE, operation="get token", status=self._last_status, code=_aadsts(text), request_id=""
        )
        if _is_passing(error, self._last_status, text):
            return TryAgain(f"Entra ID gave no token for {self._scope}: {_first_line(text)}", call=call)
        advice = _advice(text) or _where_to_look(self._settings)
        return NeedsPerson(f"Entra ID gave no token for {self._scope}: {_first_line(text)}. {advice}", call=call)


def _where_to_look(credential: Credential) -> str:
    match credential:
        case ManagedIdentity():
            return "Switch the managed identity of the Function App on, and check its client id in the settings"
        case ClientSecret():
            return "Check tenant id, client id and secret in the settings"
        case ClientCertificate(path=path):
            return f"Check tenant id and client id in the settings, and the certificate {path.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFacts:
    """What a token tells of itself, for a person to read."""

    app_id: str  # the client id that asked for it; "" where it does not say
    permissions: frozenset[str] | None  # None: it does not say, as those of personal accounts do not


def token_facts(token: str) -> TokenFacts:
    """Return what stands in an access token.

    It is written for the service that it is for, and its form may change, so nothing is decided by this: it is shown.
    https://learn.microsoft.com/entra/identity-platform/access-tokens
    """
    try:
        payload = token.split(".")[1]
        said = read_json(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), mend=True)
    except (IndexError, ValueError):
        return TokenFacts(app_id="", permissions=None)
    if not isinstance(said, dict):
        return TokenFacts(app_id="", permissions=None)
    # An app's own permissions are its roles, those that it has from a person its scopes.
    roles, scopes = said.get("roles"), str(said.get("scp") or "")
    granted = [str(role) for role in roles] if isinstance(roles, list) else []
    return TokenFacts(
        app_id=str(said.get("appid") or said.get("azp") or ""), permissions=frozenset([*granted, *scopes.split()])
    )


class TokenCacheStore(Protocol):
    """Where the signed-in user's token cache is kept between processes; its text is a secret."""

    def load(self) -> str | None:
        """Return what was saved last, or None."""
        ...

    def save(self, serialized: str) -> None:
        """Replace what ``load`` returned last; raises RecordChanged where somebody else has replaced it since."""
        ...


class SignedInUser:
    """Tokens for a person who has signed in once with ``python -m operations.sign_in``; renewed silently ever after.

    Entra ID gives a new refresh token with every renewal, good for 90 days, so the cache is saved after each.
    """

    def __init__(
        self,
        *,
        client_id: str,
        tenant: str,
        scopes: Sequence[str],
        store: TokenCacheStore,
        authority_host: str = PUBLIC_CLOUD,
    ) -> None:
        """client_id: an app registration that allows public client flows.

        tenant: its id or domain; ``consumers`` for personal OneDrive; ``common`` for both.
        scopes: such as ``https://graph.microsoft.com/Files.ReadWrite.All``.
        authority_host: of Entra ID, with or without https:// (the setting AZURE_AUTHORITY_HOST).
        """
        self._client_id = client_id
        self._tenant = tenant
        self._scopes = list(scopes)
        self._store = store
        self._authority_host = authority_host or PUBLIC_CLOUD
        self._call = CallLock()
        self._held = _Held()
        self._cache: msal.SerializableTokenCache | None = None
        self._app: msal.PublicClientApplication | None = None

    def token(self, *, refresh: bool = False) -> str:
        """Return a token that is good for minutes at least; refresh: not the one that is held.

        Raises NeedsPerson: nobody has signed in, or the sign-in has ended; TryAgain: Entra ID or the store is out of
        reach, or another thread has asked and got no answer for ten seconds.
        """
        if self._call.is_held and not refresh and (token := self._held.living()):
            return token
        with self._asking("renew sign-in"):
            fresh = self._cache is None
            app, cache = self._ready()
            answer = self._silently(app, refresh=refresh)
            if "access_token" not in answer and not fresh and self._reload(cache):
                # Somebody has signed in again, or another process has renewed, since the cache was read.
                answer = self._silently(app, refresh=False)
            if "access_token" not in answer:
                raise _sign_in_needed(answer)
            if cache.has_state_changed:
                self._save_renewed(cache)
            return self._held.keep(str(answer["access_token"]), time.time() + float(answer.get("expires_in") or 0))

    def sign_in(self, show: Callable[[str], None]) -> str:
        """Let a person sign in on any device, wait until they have, keep the result, and return who it is.

        show: gets the text that tells the person what to do. Waits up to 15 minutes; for a command, not for the app.
        https://learn.microsoft.com/entra/identity-platform/v2-oauth2-device-code

        Raises NeedsPerson: declined, too late, or the app registration is not set up for it; TryAgain.
        """
        with self._asking("sign in"):
            app, cache = self._ready()
            flow = app.initiate_device_flow(scopes=self._scopes)
            if "user_code" not in flow:
                raise _refused_sign_in(flow)
            show(str(flow.get("message") or f"Open {flow['verification_uri']} and enter the code {flow['user_code']}"))
            answer = app.acquire_token_by_device_flow(flow)
            if "access_token" not in answer:
                raise _refused_sign_in(answer)
            claims = answer.get("id_token_claims") or {}
            self._forget_others(app, str(claims.get("oid") or claims.get("sub") or ""))
            self._save_sign_in(cache)
            return str(claims.get("preferred_username") or claims.get("email") or "the user")

    def _ready(self) -> "tuple[msal.PublicClientApplication, msal.SerializableTokenCache]":
        import msal

        if self._cache is None:
            cache = msal.SerializableTokenCache()
            cache.deserialize(self._store.load())
            self._cache = cache
        if self._app is None:
            self._app = msal.PublicClientApplication(
                self._client_id,
                authority=f"{_with_scheme(self._authority_host)}/{self._tenant}",
                token_cache=self._cache,
                instance_discovery=None if _is_known_cloud(self._authority_host) else False,
                http_client=_session(),
            )
        return self._app, self._cache

    def _silently(self, app: "msal.PublicClientApplication", *, refresh: bool) -> Mapping[str, Any]:
        """Return a token or what stands against it, both as msal says it; {} where nobody has signed in."""
        accounts = app.get_accounts()
        if not accounts:
            return {}
        return app.acquire_token_silent_with_error(self._scopes, account=accounts[0], force_refresh=refresh) or {}

    def _reload(self, cache: "msal.SerializableTokenCache") -> bool:
        """Read the cache again; return whether it is another one than the one in memory."""
        before, stored = cache.serialize(), self._store.load()
        if stored is None or stored == before:
            return False
        cache.deserialize(stored)
        return True

    def _save_renewed(self, cache: "msal.SerializableTokenCache") -> None:
        try:
            self._store.save(cache.serialize())
        except RecordChanged:
            # Another process was first, or a person has signed in anew: theirs counts, and our token is good as well.
            self._reload(cache)
        except TryAgain as error:
            # The token is good all the same, and so is the older refresh token that stays in the store.
            log.warning("sign_in.not_saved", error=str(error))

    def _save_sign_in(self, cache: "msal.SerializableTokenCache") -> None:
        serialized = cache.serialize()
        try:
            self._store.save(serialized)
        except RecordChanged:
            # Whatever came in between is older than what the person has just done.
            self._store.load()
            self._store.save(serialized)

    def _forget_others(self, app: "msal.PublicClientApplication", user_id: str) -> None:
        """Take everybody but the one who has just signed in out of the cache: the app acts for one person."""
        for account in app.get_accounts():
            if user_id and account.get("local_account_id") != user_id:
                app.remove_account(account)

    @contextmanager
    def _asking(self, operation: str) -> Iterator[None]:
        """Let one thread at a time ask, and turn msal's exceptions into ours."""
        from msal.exceptions import MsalError  # type: ignore[import-untyped]

        with self._call.held(operation, wait_s=allowed_s(WAIT_S)):
            try:
                yield
            except (requests.RequestException, MsalError, ValueError, RuntimeError) as error:
                self._app = None
                text = str(error)
                call = RemoteCall(service=_SERVICE, operation=operation, code=_aadsts(text))
                if _is_passing(error, None, text):
                    raise TryAgain(f"Entra ID cannot '{operation}' now: {_first_line(text)}", call=call) from error
                raise NeedsPerson(
                    f"Entra ID cannot '{operation}': {_first_line(text)}. Check tenant and client id in the settings",
                    call=call,
                ) from error
            except AppError:
                # msal repeats a refusal from memory for a minute; whoever asks again wants to know how things are now.
                self._app = None
                raise


def _session() -> requests.Session:
    """Return what msal makes for itself, but that a call inside ``waiting_at_most`` waits no longer."""
    session = _Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, requests.adapters.HTTPAdapter(max_retries=1))
    return session


class _Session(requests.Session):
    def request(self, method: Any, url: Any, **options: Any) -> requests.Response:  # type: ignore[override]  # as msal calls it
        timeout_s = (allowed_s(_CONNECT_S), allowed_s(_READ_S))
        # A redirect would take the refresh token along, to wherever it leads.
        return super().request(method, url, **{**options, "timeout": timeout_s, "allow_redirects": False})


def _sign_in_needed(answer: Mapping[str, Any]) -> AppError:
    text = str(answer.get("error_description") or answer.get("error") or "")
    call = RemoteCall(service=_SERVICE, operation="renew sign-in", code=_aadsts(text) or str(answer.get("error") or ""))
    if answer.get("error") in _PASSING_CODES or _aadsts(text) in _PASSING_CODES:
        return TryAgain(f"Entra ID cannot renew the sign-in now: {_first_line(text)}", call=call)
    happened = (
        f"The OneDrive sign-in has ended: {_first_line(text)}" if text else "Nobody has signed in to OneDrive yet"
    )
    return NeedsPerson(f"{happened}. Run 'python -m operations.sign_in' and sign in", call=call)


def _refused_sign_in(answer: Mapping[str, Any]) -> AppError:
    text = str(answer.get("error_description") or answer.get("error") or "no reason given")
    call = RemoteCall(service=_SERVICE, operation="sign in", code=_aadsts(text) or str(answer.get("error") or ""))
    match answer.get("error"):
        case "authorization_declined" | "access_denied":
            advice = "Sign in again and accept"
        case "expired_token" | "code_expired" | "authorization_pending":
            advice = "The code was not used in time; start again"
        case "temporarily_unavailable" | "server_error":
            return TryAgain(f"Entra ID cannot sign anybody in now: {_first_line(text)}", call=call)
        case _:
            advice = _advice(text) or "Check client id and tenant, and that the app allows public client flows"
    return NeedsPerson(f"The sign-in did not succeed: {_first_line(text)}. {advice}", call=call)


# https://learn.microsoft.com/entra/identity-platform/reference-error-codes
_ADVICE: Final[Mapping[str, str]] = {
    "AADSTS7000215": "The client secret is wrong: put the secret's value, not its id, into the settings",
    "AADSTS7000222": "The client secret has expired: make a new one and put it into the settings",
    "AADSTS700027": "The certificate is not registered with the app, or has expired: upload it to the app registration",
    "AADSTS700016": "The tenant does not know this client id: check both in the settings",
    "AADSTS90002": "There is no such tenant: check the tenant id in the settings",
    "AADSTS900023": "There is no such tenant: check the tenant id in the settings",
    "AADSTS500011": "The tenant does not know the service behind this address: check the F&O address in the settings",
    "AADSTS65001": "Nobody has consented: have an administrator grant consent for the app's permissions",
    "AADSTS7000218": "The app registration does not allow public client flows: switch them on under Authentication",
    "AADSTS7000112": "The app registration is disabled: have an administrator enable it",
    "AADSTS53003": "A Conditional Access policy stands against it: have an administrator exempt this app",
}
_PASSING_CODES: Final = frozenset(
    {"temporarily_unavailable", "server_error", "AADSTS90033", "AADSTS90024", "AADSTS50196", "AADSTS90055"}
)


def _advice(text: str) -> str:
    return _ADVICE.get(_aadsts(text), "")


def _aadsts(text: str) -> str:
    found = re.search(r"AADSTS\d+", text)
    return found.group() if found else ""


def _first_line(text: str) -> str:
    """Return the part for a person; Entra ID appends trace ids and times on lines of their own."""
    return (text.strip().splitlines() or [""])[0].strip().rstrip(".")[:500]


def _is_passing(error: BaseException, status: int | None, text: str) -> bool:
    """Return whether the trouble may end by itself: out of reach, overloaded, a proxy's page instead of JSON."""
    if status is not None and status >= 400:
        return status in (408, 429) or status >= 500 or _aadsts(text) in _PASSING_CODES
    return any(_is_network_error(one) for one in _chain(error))


def _is_network_error(error: BaseException) -> bool:
    if isinstance(error, requests.RequestException):
        return True
    # By name, so that this module can be imported without the libraries.
    # MsalServiceError: an answer of 500 and above, which msal may also repeat from memory.
    return type(error).__name__ in {
        "DecodeError",
        "JSONDecodeError",
        "MsalServiceError",
        "ServiceRequestError",
        "ServiceResponseError",
    }


def _chain(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in chain:
        chain.append(one)
        one = one.__cause__ or one.__context__
    return chain


def _is_known_cloud(authority_host: str) -> bool:
    return authority_host.removeprefix("https://").rstrip("/").casefold() in _KNOWN_CLOUDS


def _with_scheme(authority_host: str) -> str:
    host = authority_host.rstrip("/")
    return host if "://" in host else f"https://{host}"
