"""Tokens from a small Entra ID of the test's own: TLS with a local authority, as the libraries insist on it."""

import base64
import json
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import trustme
from azure.storage.blob import BlobServiceClient
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    NoEncryption,
    load_pem_private_key,
    pkcs12,
)

from operations import sign_in
from shared.azure_storage import token_cache
from shared.azure_storage.container import BlobContainer
from shared.clients.entra.app_identity import (
    AppIdentity,
    ClientCertificate,
    ClientSecret,
    Credential,
    ManagedIdentity,
    StorageIdentity,
    certificate_ends,
)
from shared.clients.entra.signed_in_user import SignedInUser
from shared.errors import AppError, NeedsPerson, RecordChanged, TryAgain
from shared.secret import Secret
from tests.unit.clients.scripted import Answer, Received, Server, Step

SCOPE = "https://graph.microsoft.com/.default"
GRAPH_FILES = "https://graph.microsoft.com/Files.ReadWrite.All"
SECRET = ClientSecret(tenant_id="contoso.com", client_id="app-1", secret=Secret("s3cret"))


class Entra:
    """Answers discovery by itself; a test says what the token and device endpoints answer."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self.tokens: list[Step] = []  # answers still to give; when empty, a new token each time
        self.issued = 0
        self.user = "ann"  # who signs in
        self.devices: list[Step] = []
        self.discovery: Step | None = None
        self.server = Server(route=self._answer, tls=tls)

    @property
    def host(self) -> str:
        return self.server.url

    def forms(self) -> list[dict[str, str]]:
        return [_form(one) for one in self.server.received if one.target.endswith("/token")]

    def _answer(self, request: Received) -> Step:
        path = urlsplit(request.target).path
        if path.endswith("/openid-configuration"):
            return self.discovery or self._configuration(path.split("/")[1])
        if path.endswith("/devicecode"):
            return self.devices.pop(0)
        assert path.endswith("/token"), path
        return self.tokens.pop(0) if self.tokens else self._token(_form(request))

    def _configuration(self, tenant: str) -> Answer:
        base = f"{self.host}/{tenant}"
        return Answer(
            body={
                "issuer": f"{base}/v2.0",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
            }
        )

    def _token(self, form: dict[str, str]) -> Answer:
        self.issued += 1
        body: dict[str, object] = {"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599}
        body["access_token"] = f"token-{self.issued}"
        if form["grant_type"] != "client_credentials":
            body |= user_answer(self.issued, self.user)
        return Answer(body=body)


def user_answer(number: int, user: str) -> dict[str, object]:
    claims: dict[str, object] = {"oid": user, "sub": user, "tid": "t", "preferred_username": f"{user}@contoso.com"}
    claims |= {"aud": "app-1", "iss": "x", "iat": int(time.time()), "exp": int(time.time()) + 3600}
    return {
        "refresh_token": f"refresh-{number}",
        "id_token": f"e30.{_b64(json.dumps(claims))}.",
        "client_info": _b64(json.dumps({"uid": user, "utid": "t"})),
        "scope": GRAPH_FILES,
    }


def _b64(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _form(request: Received) -> dict[str, str]:
    return {key: values[0] for key, values in parse_qs(request.body.decode()).items()}


def refused(code: str, text: str, *, status: int = 400) -> Answer:
    return Answer(status=status, body={"error": code, "error_description": text})


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """Return the file with the local authority's certificate, and a server's side of TLS."""
    ca = trustme.CA()
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    return file, context


@pytest.fixture
def entra(authority: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch) -> Iterator[Entra]:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority[0]))
    service = Entra(authority[1])
    with service.server:
        yield service


def identity(entra: Entra, credential: Credential = SECRET) -> AppIdentity:
    return AppIdentity(credential, SCOPE, authority_host=entra.host)


def error_of(ask: Callable[[], object]) -> AppError:
    with pytest.raises(AppError) as caught:
        ask()
    return caught.value


# The app's own identity


def test_a_secret_gets_a_token_that_is_kept_until_it_is_refused(entra: Entra) -> None:
    app = identity(entra)
    assert [app.token(), app.token()] == ["token-1", "token-1"]
    assert [app.token(refresh=True), app.token()] == ["token-2", "token-2"]
    assert entra.forms()[0]["client_secret"] == "s3cret"
    assert entra.forms()[0]["scope"] == SCOPE
    assert all("discovery/instance" not in one.target for one in entra.server.received)  # unknown to Microsoft


@pytest.mark.parametrize("kind", ["PEM", "PKCS12", "PKCS12 with a password"])
def test_a_certificate_says_when_it_ends(tmp_path: Path, kind: str) -> None:
    file, ends = tmp_path / "app.certificate", datetime(2031, 5, 31, 12, 0, tzinfo=UTC)
    issued = trustme.CA(key_type=trustme.KeyType.RSA).issue_cert("app", key_type=trustme.KeyType.RSA, not_after=ends)
    pem = issued.private_key_and_cert_chain_pem.bytes()
    password = Secret("p4ss") if "password" in kind else None
    file.write_bytes(pem if kind == "PEM" else _as_pkcs12(pem, password))

    certificate = ClientCertificate(tenant_id="contoso.com", client_id="app-1", path=file, password=password)

    assert certificate_ends(certificate) == ends


def _as_pkcs12(pem: bytes, password: Secret | None) -> bytes:
    key, certificate = load_pem_private_key(pem, None), x509.load_pem_x509_certificate(pem)
    assert isinstance(key, rsa.RSAPrivateKey)
    protection = BestAvailableEncryption(password.reveal().encode()) if password else NoEncryption()
    return pkcs12.serialize_key_and_certificates(b"app", key, certificate, None, protection)


@pytest.mark.parametrize("content", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_when_a_certificate_ends_is_unknown_where_it_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "app.pem"
    if content:
        file.write_bytes(content)

    assert certificate_ends(ClientCertificate(tenant_id="contoso.com", client_id="app-1", path=file)) is None


def test_a_certificate_that_cannot_be_read_needs_a_person(entra: Entra, tmp_path: Path) -> None:
    credential = ClientCertificate(tenant_id="contoso.com", client_id="app-1", path=tmp_path / "none.pem")
    error = error_of(identity(entra, credential).token)
    assert isinstance(error, NeedsPerson)
    assert "none.pem" in str(error)


@pytest.mark.parametrize(
    ("code", "text", "advice"),
    [
        ("invalid_client", "AADSTS7000215: Invalid client secret provided.\r\nTrace ID: x", "not its id"),
        ("invalid_client", "AADSTS7000222: The provided client secret keys are expired.", "create a new one"),
        ("unauthorized_client", "AADSTS700016: Application with identifier was not found", "client id"),
        ("invalid_resource", "AADSTS500011: The resource principal was not found", "F&O address"),
        ("invalid_grant", "AADSTS65001: The user or administrator has not consented", "consent"),
        ("invalid_client", "AADSTS99999: something new", "Check tenant id, client id and secret"),
    ],
)
def test_a_refused_app_needs_a_person_who_is_told_what_to_do(entra: Entra, code: str, text: str, advice: str) -> None:
    entra.tokens.append(refused(code, text, status=401))
    error = error_of(identity(entra).token)
    assert isinstance(error, NeedsPerson)
    assert advice in str(error)
    assert text.partition(":")[0] in str(error)
    assert "Trace ID" not in str(error)
    assert "s3cret" not in str(error)
    assert error.call is not None
    assert error.call.status == 401


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=503, body=b"<html>busy</html>"),
        Answer(status=500, body={"error": "server_error"}),
        refused("temporarily_unavailable", "AADSTS90033: A transient error has occurred."),
        refused("invalid_grant", "throttled", status=429),
        Answer(status=200, body=b"<html>proxy</html>", headers={"Content-Type": "text/html"}),
    ],
    ids=["503", "500", "transient", "429", "a proxy's page"],
)
def test_an_entra_id_that_cannot_answer_now_is_asked_later(entra: Entra, answer: Answer) -> None:
    entra.tokens.append(answer)
    assert type(error_of(identity(entra).token)) is TryAgain


def test_after_trouble_the_same_identity_works_again(entra: Entra) -> None:
    entra.tokens += [Answer(status=503), refused("invalid_client", "AADSTS7000215: wrong", status=401)]
    app = identity(entra)
    assert [type(error_of(app.token)), type(error_of(app.token))] == [TryAgain, NeedsPerson]
    assert app.token() == "token-1"


def test_a_tenant_that_does_not_exist_or_is_not_written_as_one_needs_a_person(entra: Entra) -> None:
    no_tenant = ClientSecret(tenant_id="no such/tenant", client_id="a", secret=Secret("s"))
    assert isinstance(error_of(identity(entra, no_tenant).token), NeedsPerson)
    entra.discovery = refused("invalid_tenant", "AADSTS90002: Tenant 'contoso.com' not found.")
    error = error_of(identity(entra).token)
    assert isinstance(error, NeedsPerson)
    assert "tenant" in str(error)


def test_an_entra_id_or_an_identity_endpoint_out_of_reach_is_asked_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "h3ader")
    nowhere = "https://127.0.0.1:1"
    for asked in (
        AppIdentity(SECRET, SCOPE, authority_host=nowhere),
        AppIdentity(ManagedIdentity(), SCOPE),
        SignedInUser(client_id="app-1", tenant="common", scopes=["s"], store=Store(), authority_host=nowhere),
    ):
        assert type(error_of(asked.token)) is TryAgain


# Managed identity, as App Service serves it: plain http on the machine itself
# https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference


@contextmanager
def app_service(monkeypatch: pytest.MonkeyPatch, *steps: Step) -> Iterator[Server]:
    with Server(*steps) as server:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{server.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "h3ader")
        yield server


def a_token(number: int) -> Answer:
    expires = str(int(time.time()) + 86_400)
    body = {"access_token": f"mi-{number}", "expires_on": expires, "resource": "r", "token_type": "Bearer"}
    return Answer(body=body, headers={"Content-Type": "application/json"})


def test_a_managed_identity_gets_its_token_from_app_service(monkeypatch: pytest.MonkeyPatch) -> None:
    with app_service(monkeypatch, a_token(1), a_token(2)) as server:
        app = AppIdentity(ManagedIdentity(), SCOPE)
        assert [app.token(), app.token(), app.token(refresh=True)] == ["mi-1", "mi-1", "mi-2"]
    query = parse_qs(urlsplit(server.received[0].target).query)
    assert query["resource"] == ["https://graph.microsoft.com"]
    assert "client_id" not in query
    assert server.received[0].headers["x-identity-header"] == "h3ader"
    with app_service(monkeypatch, a_token(1)) as server:
        AppIdentity(ManagedIdentity(client_id="mine"), SCOPE).token()
    assert parse_qs(urlsplit(server.received[0].target).query)["client_id"] == ["mine"]


@pytest.mark.parametrize(("status", "kind"), [(400, NeedsPerson), (500, TryAgain), (429, TryAgain)])
def test_an_identity_endpoint_that_refuses(monkeypatch: pytest.MonkeyPatch, status: int, kind: type[AppError]) -> None:
    body = {"statusCode": status, "message": "No User Assigned or Delegated Managed Identity found"}
    answer = Answer(status=status, body=body, headers={"Content-Type": "application/json"})
    with app_service(monkeypatch, answer):
        error = error_of(AppIdentity(ManagedIdentity(), SCOPE).token)
    assert type(error) is kind


def test_without_an_identity_of_azures_the_metadata_address_of_the_machine_is_not_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "AZURE_FEDERATED_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(socket.socket, "connect", lambda _self, address: pytest.fail(f"{address} was called"))

    for ask in (AppIdentity(ManagedIdentity(), SCOPE).token, lambda: StorageIdentity("").get_token(SCOPE).token):
        error = error_of(ask)
        assert type(error) is NeedsPerson
        assert "There is no managed identity here" in str(error)


# A signed-in user


class Store:
    """A token cache store that counts, and that somebody else can write to."""

    def __init__(self, kept: str | None = None) -> None:
        self.kept = kept
        self.seen = kept
        self.saves = 0
        self.refuses: AppError | None = None

    def load(self) -> str | None:
        self.seen = self.kept
        return self.kept

    def save(self, serialized: str) -> None:
        if self.refuses:
            raise self.refuses
        if self.kept != self.seen:
            raise RecordChanged("somebody else has saved")
        self.kept = self.seen = serialized
        self.saves += 1


def user(entra: Entra, store: Store) -> SignedInUser:
    return SignedInUser(
        client_id="app-1", tenant="common", scopes=[GRAPH_FILES], store=store, authority_host=entra.host
    )


def a_device(**more: object) -> Answer:
    body = {"user_code": "ABC", "device_code": "d", "verification_uri": "https://microsoft.com/devicelogin"}
    return Answer(body=body | {"expires_in": 900, "interval": 0, "message": "Enter ABC at ..."} | more)


def signed_in(entra: Entra) -> Store:
    """Return a store after ann has signed in (token-1, refresh-1)."""
    store = Store()
    entra.devices.append(a_device())
    user(entra, store).sign_in(lambda _: None)
    return store


def expired(store: Store) -> Store:
    """Return a store whose access token is too old, so that the refresh token must be used."""
    assert store.kept is not None
    cache = json.loads(store.kept)
    for token in cache["AccessToken"].values():
        token["expires_on"] = "1"
    return Store(json.dumps(cache))


def test_a_person_signs_in_on_any_device_and_the_app_has_a_token(entra: Entra) -> None:
    store, shown = Store(), list[str]()
    entra.devices.append(a_device())
    entra.tokens.append(refused("authorization_pending", "AADSTS70016: pending"))
    assert user(entra, store).sign_in(shown.append) == "ann@contoso.com"
    assert shown == ["Enter ABC at ..."]
    assert user(entra, store).token() == "token-1"
    asked = next(one for one in entra.server.received if one.target.endswith("/devicecode"))
    assert set(_form(asked)["scope"].split()) >= {GRAPH_FILES, "offline_access"}


def test_a_token_that_is_kept_is_not_asked_for_or_saved_again(entra: Entra) -> None:
    store = signed_in(entra)
    ann = user(entra, store)
    assert [ann.token(), ann.token()] == ["token-1", "token-1"]
    assert (entra.issued, store.saves) == (1, 1)
    assert ann.token(refresh=True) == "token-2"  # refused, though it has not run out


def test_a_token_that_has_run_out_is_renewed_silently_and_the_new_one_kept(entra: Entra) -> None:
    store = expired(signed_in(entra))
    assert user(entra, store).token() == "token-2"
    assert entra.forms()[-1]["refresh_token"] == "refresh-1"
    assert store.saves == 1
    assert store.kept is not None
    assert "refresh-2" in store.kept
    unsaved = expired(store)
    unsaved.refuses = TryAgain("storage is away")
    assert user(entra, unsaved).token() == "token-3"


def test_nobody_having_signed_in_needs_a_person_and_a_sign_in_that_comes_later_is_noticed(entra: Entra) -> None:
    store = Store()
    waiting = user(entra, store)
    error = error_of(waiting.token)
    assert isinstance(error, NeedsPerson)
    assert "python dev.py sign-in" in str(error)
    store.kept = signed_in(entra).kept
    assert waiting.token() == "token-1"


def test_the_app_acts_for_the_person_who_signed_in_last(entra: Entra) -> None:
    store = signed_in(entra)
    entra.user = "bob"
    entra.devices.append(a_device())
    bob = user(entra, store)
    assert bob.sign_in(lambda _: None) == "bob@contoso.com"
    assert [bob.token(), user(entra, store).token()] == ["token-2", "token-2"]
    assert store.kept is not None
    assert "refresh-1" not in store.kept


def test_a_sign_in_that_has_ended_needs_a_person(entra: Entra) -> None:
    store = expired(signed_in(entra))
    entra.tokens.append(refused("invalid_grant", "AADSTS700082: The refresh token has expired.\r\nTrace ID: x"))
    error = error_of(user(entra, store).token)
    assert isinstance(error, NeedsPerson)
    assert "AADSTS700082" in str(error)
    assert "python dev.py sign-in" in str(error)


@pytest.mark.parametrize(
    "answer",
    [Answer(status=503), refused("temporarily_unavailable", "AADSTS90033: later"), Answer(body=b"<html>")],
    ids=["503", "transient", "a proxy's page"],
)
def test_a_renewal_that_is_not_possible_now_is_tried_later(entra: Entra, answer: Answer) -> None:
    store = expired(signed_in(entra))
    entra.tokens.append(answer)
    assert type(error_of(user(entra, store).token)) is TryAgain


def test_after_trouble_the_same_sign_in_works_again(entra: Entra) -> None:
    ann = user(entra, expired(signed_in(entra)))
    entra.tokens += [Answer(status=503), refused("invalid_grant", "AADSTS65001: consent is missing")]
    assert [type(error_of(ann.token)), type(error_of(ann.token))] == [TryAgain, NeedsPerson]
    assert ann.token() == "token-2"


def test_a_new_sign_in_is_not_overwritten_by_a_renewal_of_the_old_one(entra: Entra) -> None:
    store = expired(signed_in(entra))
    ann = user(entra, store)
    newer = signed_in(entra).kept

    def meanwhile() -> str | None:
        """Answer the first load with the old cache, and have the new one saved right after it."""
        old, store.kept = store.kept, newer
        store.seen, store.load = old, loads  # type: ignore[method-assign]
        return old

    loads = store.load
    store.load = meanwhile  # type: ignore[method-assign]
    ann.token()
    assert store.kept == newer
    assert ann.token() == "token-2"


@pytest.mark.parametrize(
    ("answer", "advice"),
    [
        (refused("authorization_declined", "AADSTS65004: declined"), "accept"),
        (refused("expired_token", "AADSTS70020: expired"), "start again"),
        (refused("invalid_client", "AADSTS7000218: needs client_secret"), "public client flows"),
    ],
)
def test_a_sign_in_that_does_not_succeed_says_why(entra: Entra, answer: Answer, advice: str) -> None:
    entra.devices.append(a_device())
    entra.tokens.append(answer)
    error = error_of(lambda: user(entra, Store()).sign_in(lambda _: None))
    assert isinstance(error, NeedsPerson)
    assert advice in str(error)


@pytest.fixture
def settings_file(entra: Entra, azurite_connection: str, tmp_path: Path) -> Path:
    """A local.settings.json of an app whose OneDrive is a person's; its storage holds no sign-in."""
    file = tmp_path / "local.settings.json"
    values = {
        "AzureWebJobsStorage": azurite_connection,
        "AZURE_AUTHORITY_HOST": entra.host,
        "FO_URL": "https://usmf.operations.dynamics.com",
        "ONEDRIVE_DRIVE": "me/drive",
        "ONEDRIVE_SIGN_IN": "user",
        "SIGN_IN_CLIENT_ID": "11111111-2222-3333-4444-555555555555",
        "SIGN_IN_TENANT": "common",
    }
    file.write_text(json.dumps({"IsEncrypted": False, "Values": values}), encoding="utf-8")
    with BlobServiceClient.from_connection_string(azurite_connection) as storage:
        container = storage.get_container_client(token_cache.CONTAINER)
        if container.exists():
            container.delete_container()
    return file


def test_the_command_signs_in_and_keeps_the_result_in_the_apps_storage(
    entra: Entra, settings_file: Path, azurite_connection: str, capsys: pytest.CaptureFixture[str]
) -> None:
    entra.devices.append(a_device())

    assert sign_in.main(["--settings", str(settings_file)]) == 0

    assert "Signed in as ann@contoso.com" in capsys.readouterr().out
    with BlobServiceClient.from_connection_string(azurite_connection) as storage:
        assert "refresh-1" in (
            token_cache.BlobTokenCache(BlobContainer(storage.get_container_client(token_cache.CONTAINER))).load() or ""
        )


def test_the_command_says_what_went_wrong(
    entra: Entra, settings_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entra.devices.append(refused("unauthorized_client", "AADSTS700016: Application not found"))

    assert sign_in.main(["--settings", str(settings_file)]) == 1

    shown = capsys.readouterr().out
    assert "AADSTS700016" in shown
    assert "client id" in shown


def test_an_environment_variable_counts_more_than_the_settings_file(
    settings_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ONEDRIVE_SIGN_IN", "app")
    monkeypatch.setenv("ONEDRIVE_DRIVE", "drives/b!x")
    monkeypatch.setenv("SIGN_IN_TENANT", "")

    settings = sign_in.with_file(os.environ, settings_file)

    assert (settings["ONEDRIVE_SIGN_IN"], settings["SIGN_IN_TENANT"]) == ("app", "common")
    assert sign_in.main(["--settings", str(settings_file)]) == 1
    assert "ONEDRIVE_SIGN_IN" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "cannot be read"),
        ("[]", "Values"),
        ('{"Values": {"FO_URL": 1}}', "Values"),
        ('{"IsEncrypted": true, "Values": {}}', "decrypt"),
        ('{"Values": {}}', "settings are missing or wrong"),
    ],
)
def test_settings_that_cannot_be_used_are_told(
    content: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "settings.json"
    file.write_text(content, encoding="utf-8")

    assert sign_in.main(["--settings", str(file)]) == 1

    assert words in capsys.readouterr().out
