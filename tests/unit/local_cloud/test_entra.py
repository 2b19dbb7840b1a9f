"""Entra ID as Microsoft's own libraries see it: azure-identity and msal, unmodified, over real sockets and TLS."""

import datetime
import json
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import msal  # type: ignore[import-untyped] # the library has no type hints
import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import (
    CertificateCredential,
    ClientSecretCredential,
    CredentialUnavailableError,
    ManagedIdentityCredential,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from local_cloud.entra import (
    CONSUMERS_TENANT_ID,
    DEFAULT_USER,
    GRAPH,
    TENANT_ID,
    Entra,
    RegisteredApp,
    server_certificate,
)
from local_cloud.faults import Fault, FaultPlan, status
from local_cloud.server import Server
from local_cloud.tokens import TokenDesk

TIMEOUT_S = 60  # costs nothing when all is well
ENVIRONMENT = "https://usmf.operations.dynamics.com"
DAEMON = "11111111-1111-4111-8111-111111111111"
DESKTOP = "22222222-2222-4222-8222-222222222222"
USER_IDENTITY = "33333333-3333-4333-8333-333333333333"
SECRET = "Mur~8Q-made-up"


class Clock:
    """Seconds since the epoch: the real ones, until moved on by hand."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return datetime.datetime.now(datetime.UTC).timestamp() + self.ahead_s


@dataclass
class Cloud:
    entra: Entra
    desk: TokenDesk
    faults: FaultPlan
    clock: Clock
    plain: str  # the url of the managed identity endpoint's server
    tls: str
    ca_file: Path
    session: requests.Session = field(default_factory=requests.Session)

    @property
    def authority(self) -> str:
        return f"{self.tls}/{TENANT_ID}"

    def post(self, path: str, **form: str) -> requests.Response:
        return self.session.post(f"{self.authority}/oauth2/v2.0/{path}", data=form, timeout=TIMEOUT_S)

    def control(self, path: str, told: object) -> requests.Response:
        return self.session.post(f"{self.tls}/_control/{path}", json=told, timeout=TIMEOUT_S)


@pytest.fixture(scope="module")
def certificate() -> bytes:
    return a_certificate()


def a_certificate() -> bytes:
    """Return a self-signed certificate and its key, as the PEM file that an administrator keeps."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "made up")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def cloud(tmp_path: Path, certificate: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    faults, clock = FaultPlan(), Clock()
    desk = TokenDesk(clock=clock)
    entra = Entra(desk, faults=faults, interval_s=1, clock=clock)
    entra.register(RegisteredApp(client_id=DAEMON, secrets=("an older one", SECRET), certificates=(certificate,)))
    entra.register(RegisteredApp(client_id=DESKTOP, public=True))
    entra.register_user_identity(USER_IDENTITY)
    ca_file = tmp_path / "ca.pem"
    with (
        Server(entra.app()) as plain,
        Server(entra.app(), ssl_context=server_certificate(ca_file)) as tls,
        requests.Session() as session,
    ):
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(ca_file))
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{plain.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", entra.identity_header)
        yield Cloud(entra, desk, faults, clock, plain.url, tls.url, ca_file, session)


def a_secret_credential(cloud: Cloud, secret: str = SECRET, *, client_id: str = DAEMON) -> ClientSecretCredential:
    return ClientSecretCredential(
        TENANT_ID, client_id, secret, authority=cloud.tls, disable_instance_discovery=True, retry_total=0
    )


def a_certificate_credential(cloud: Cloud, pem: bytes) -> CertificateCredential:
    return CertificateCredential(
        TENANT_ID,
        DAEMON,
        certificate_data=pem,
        authority=cloud.tls,
        disable_instance_discovery=True,
        retry_total=0,
    )


def a_desktop_app(cloud: Cloud, cache: Any = None, tenant: str = TENANT_ID) -> Any:
    return msal.PublicClientApplication(
        DESKTOP, authority=f"{cloud.tls}/{tenant}", token_cache=cache, instance_discovery=False, timeout=TIMEOUT_S
    )


def poll_once(app: Any, flow: dict[str, Any]) -> dict[str, Any]:
    answered: dict[str, Any] = app.acquire_token_by_device_flow(flow, exit_condition=lambda _flow: True)
    return answered


def signed_in(cloud: Cloud, cache: Any = None, scopes: tuple[str, ...] = ("Files.ReadWrite",)) -> Any:
    app = a_desktop_app(cloud, cache)
    flow = app.initiate_device_flow(scopes=list(scopes))
    cloud.entra.approve(flow["user_code"])
    assert "access_token" in poll_once(app, flow)
    return app


# Managed identity


@pytest.mark.witness("azure-identity")
def test_the_managed_identity_gets_a_token_for_the_resource_it_asks_for(cloud: Cloud) -> None:
    with ManagedIdentityCredential() as credential:
        token = credential.get_token(f"{ENVIRONMENT}/.default")

    claims = cloud.desk.check(f"Bearer {token.token}", ENVIRONMENT)
    assert claims.app_id == cloud.entra.system_identity
    assert abs(token.expires_on - claims.expires_s) <= 1


@pytest.mark.witness("azure-identity")
def test_a_user_assigned_identity_is_named_by_its_client_id(cloud: Cloud) -> None:
    with ManagedIdentityCredential(client_id=USER_IDENTITY) as credential:
        token = credential.get_token(f"{GRAPH}/.default")

    assert cloud.desk.check(f"Bearer {token.token}", GRAPH).app_id == USER_IDENTITY


@pytest.mark.witness("msal")
def test_msals_managed_identity_client_is_served_too(cloud: Cloud) -> None:
    client = msal.ManagedIdentityClient(msal.SystemAssignedManagedIdentity(), http_client=cloud.session)

    answered = client.acquire_token_for_client(resource=GRAPH)

    assert cloud.desk.check(f"Bearer {answered['access_token']}", GRAPH).app_id == cloud.entra.system_identity


@pytest.mark.witness("azure-identity")
def test_an_identity_that_is_not_assigned_gets_no_token(cloud: Cloud) -> None:
    with (
        ManagedIdentityCredential(client_id=DAEMON, retry_total=0) as credential,
        pytest.raises((ClientAuthenticationError, CredentialUnavailableError), match="No User Assigned or Delegated"),
    ):
        credential.get_token(f"{GRAPH}/.default")


def test_the_managed_identity_endpoint_answers_in_app_services_shape(cloud: Cloud) -> None:
    response = cloud.session.get(
        f"{cloud.plain}/msi/token",
        params={"api-version": "2019-08-01", "resource": GRAPH},
        headers={"X-IDENTITY-HEADER": cloud.entra.identity_header},
        timeout=TIMEOUT_S,
    )

    said = response.json()
    assert set(said) == {"access_token", "expires_on", "resource", "token_type", "client_id"}
    assert isinstance(said["expires_on"], str)
    assert (said["resource"], said["token_type"]) == (GRAPH, "Bearer")


@pytest.mark.parametrize(
    ("query", "header", "expected"),
    [
        ({"api-version": "2019-08-01", "resource": GRAPH}, "wrong", 401),
        ({"api-version": "2017-09-01", "resource": GRAPH}, None, 400),
        ({"api-version": "2019-08-01"}, None, 400),
    ],
)
def test_the_managed_identity_endpoint_insists_on_header_version_and_resource(
    cloud: Cloud, query: dict[str, str], header: str | None, expected: int
) -> None:
    response = cloud.session.get(
        f"{cloud.plain}/msi/token",
        params=query,
        headers={"X-IDENTITY-HEADER": header or cloud.entra.identity_header},
        timeout=TIMEOUT_S,
    )

    assert response.status_code == expected
    assert response.json()["statusCode"] == expected


# The app by itself


@pytest.mark.witness("azure-identity")
def test_a_secret_gets_a_token(cloud: Cloud) -> None:
    with a_secret_credential(cloud) as credential:
        token = credential.get_token(f"{ENVIRONMENT}/.default")

    claims = cloud.desk.check(f"Bearer {token.token}", ENVIRONMENT)
    assert (claims.app_id, claims.user) == (DAEMON, None)


@pytest.mark.witness("azure-identity")
def test_a_certificate_gets_a_token(cloud: Cloud, certificate: bytes) -> None:
    with a_certificate_credential(cloud, certificate) as credential:
        token = credential.get_token(f"{GRAPH}/.default")

    assert cloud.desk.check(f"Bearer {token.token}", GRAPH).app_id == DAEMON


@pytest.mark.witness("msal")
def test_a_certificate_named_by_its_sha256_thumbprint_gets_a_token(cloud: Cloud, certificate: bytes) -> None:
    pem = certificate.decode()
    app = msal.ConfidentialClientApplication(
        DAEMON,
        authority=cloud.authority,
        client_credential={"private_key": pem, "public_certificate": pem[pem.index("-----BEGIN CERT") :]},
        instance_discovery=False,
        timeout=TIMEOUT_S,
    )

    assert "access_token" in app.acquire_token_for_client([f"{GRAPH}/.default"])


@pytest.mark.witness("azure-identity")
def test_a_wrong_secret_is_refused(cloud: Cloud) -> None:
    with (
        a_secret_credential(cloud, "wrong") as credential,
        pytest.raises(ClientAuthenticationError, match="AADSTS7000215: Invalid client secret"),
    ):
        credential.get_token(f"{GRAPH}/.default")


@pytest.mark.witness("azure-identity")
def test_an_unknown_app_is_refused(cloud: Cloud) -> None:
    with (
        a_secret_credential(cloud, client_id=str(uuid.uuid4())) as credential,
        pytest.raises(ClientAuthenticationError, match="AADSTS700016"),
    ):
        credential.get_token(f"{GRAPH}/.default")


def test_an_unknown_tenant_is_refused(cloud: Cloud) -> None:
    response = cloud.session.get(f"{cloud.tls}/nobody/v2.0/.well-known/openid-configuration", timeout=TIMEOUT_S)

    assert response.status_code == 400
    assert response.json()["error_codes"] == [90002]


@pytest.mark.witness("azure-identity")
def test_a_certificate_that_is_not_registered_is_refused(cloud: Cloud) -> None:
    with (
        a_certificate_credential(cloud, a_certificate()) as credential,
        pytest.raises(ClientAuthenticationError, match=r"AADSTS700027.*The key was not found"),
    ):
        credential.get_token(f"{GRAPH}/.default")


@dataclass
class Assertion:
    """A client assertion that msal would never send, but for what is told."""

    cloud: Cloud
    pem: bytes

    def send(self, claims: dict[str, object] | None = None, *, key: bytes | None = None) -> requests.Response:
        now = int(self.cloud.clock())
        token_endpoint = f"{self.cloud.authority}/oauth2/v2.0/token"
        good = {"aud": token_endpoint, "iss": DAEMON, "sub": DAEMON, "jti": "1", "nbf": now, "exp": now + 600}
        said = {name: value for name, value in (good | (claims or {})).items() if value is not None}
        fingerprint = x509.load_pem_x509_certificate(self.pem).fingerprint(hashes.SHA256())
        thumbprint = jwt.utils.base64url_encode(fingerprint).decode()
        assertion = jwt.encode(said, key or self.pem, algorithm="RS256", headers={"x5t#S256": thumbprint})
        return self.cloud.post(
            "token",
            grant_type="client_credentials",
            client_id=DAEMON,
            scope=f"{GRAPH}/.default",
            client_assertion=assertion,
            client_assertion_type="urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        )


@pytest.fixture
def assertion(cloud: Cloud, certificate: bytes) -> Assertion:
    return Assertion(cloud, certificate)


def test_a_client_assertion_by_hand_is_accepted(assertion: Assertion) -> None:
    assert assertion.send().status_code == 200


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"aud": "https://login.example.com"}, 700023),
        ({"exp": 1_000_000_000}, 700024),
        ({"nbf": 4_000_000_000, "exp": 4_000_000_600}, 700024),
        ({"iss": DESKTOP}, 50027),
        ({"sub": DESKTOP}, 50027),
        ({"jti": None}, 50027),
        ({"exp": None}, 50027),
    ],
)
def test_a_client_assertion_must_be_meant_for_here_and_now(
    assertion: Assertion, claims: dict[str, object], code: int
) -> None:
    response = assertion.send(claims)

    assert response.json()["error_codes"] == [code]
    assert response.status_code in (400, 401)


def test_a_client_assertion_signed_with_another_key_is_refused(assertion: Assertion) -> None:
    assert assertion.send(key=a_certificate()).json()["error_codes"] == [700027]


def test_a_client_assertion_that_is_no_jwt_is_refused(cloud: Cloud) -> None:
    response = cloud.post(
        "token",
        grant_type="client_credentials",
        client_id=DAEMON,
        scope=f"{GRAPH}/.default",
        client_assertion="nonsense",
        client_assertion_type="urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    )

    assert response.json()["error_codes"] == [50027]


@pytest.mark.parametrize(
    ("form", "http_status", "error", "code"),
    [
        ({"grant_type": ""}, 400, "invalid_request", 900144),
        ({"client_id": ""}, 400, "invalid_request", 900144),
        ({"scope": ""}, 400, "invalid_request", 900144),
        ({"grant_type": "password"}, 400, "unsupported_grant_type", 70003),
        ({"client_secret": ""}, 401, "invalid_client", 7000218),
        ({"client_secret": "wrong"}, 401, "invalid_client", 7000215),
        ({"scope": f"{GRAPH}/Files.ReadWrite"}, 400, "invalid_scope", 1002012),
        ({"scope": f"{GRAPH}/.default {ENVIRONMENT}/.default"}, 400, "invalid_scope", 1002012),
    ],
)
def test_a_token_request_that_is_wrong_is_refused_in_entras_words(
    cloud: Cloud, form: dict[str, str], http_status: int, error: str, code: int
) -> None:
    good = {
        "grant_type": "client_credentials",
        "client_id": DAEMON,
        "client_secret": SECRET,
        "scope": f"{GRAPH}/.default",
    }

    response = cloud.post("token", **good | form)

    said = response.json()
    assert response.status_code == http_status
    assert (said["error"], said["error_codes"]) == (error, [code])
    assert said["error_description"].startswith(f"AADSTS{code}: ")
    assert said["trace_id"] in said["error_description"]
    assert set(said) == {
        "error",
        "error_description",
        "error_codes",
        "timestamp",
        "trace_id",
        "correlation_id",
        "error_uri",
    }


def test_a_refusal_quotes_the_callers_request_id(cloud: Cloud) -> None:
    response = cloud.session.post(
        f"{cloud.authority}/oauth2/v2.0/token", headers={"client-request-id": "my-id"}, timeout=TIMEOUT_S
    )

    assert response.json()["correlation_id"] == "my-id"


def test_an_app_cannot_act_by_itself_in_the_common_tenant(cloud: Cloud) -> None:
    response = cloud.session.post(
        f"{cloud.tls}/common/oauth2/v2.0/token",
        data={
            "grant_type": "client_credentials",
            "client_id": DAEMON,
            "client_secret": SECRET,
            "scope": f"{GRAPH}/.default",
        },
        timeout=TIMEOUT_S,
    )

    assert response.json()["error_codes"] == [90002]


def test_resources_may_be_limited_to_those_with_a_service_principal(tmp_path: Path) -> None:
    entra = Entra(TokenDesk(), resources=[GRAPH])
    entra.register(RegisteredApp(client_id=DAEMON, secrets=(SECRET,)))
    form = {"grant_type": "client_credentials", "client_id": DAEMON, "client_secret": SECRET}
    with Server(entra.app()) as server:
        url = f"{server.url}/{TENANT_ID}/oauth2/v2.0/token"
        known = requests.post(url, data=form | {"scope": f"{GRAPH}/.default"}, timeout=TIMEOUT_S)
        unknown = requests.post(url, data=form | {"scope": f"{ENVIRONMENT}/.default"}, timeout=TIMEOUT_S)
        by_identity = requests.get(
            f"{server.url}/msi/token",
            params={"api-version": "2019-08-01", "resource": ENVIRONMENT},
            headers={"X-IDENTITY-HEADER": entra.identity_header},
            timeout=TIMEOUT_S,
        )

    assert known.status_code == 200
    assert unknown.json()["error_codes"] == [500011]
    assert by_identity.status_code == 400


# A signed-in user


@pytest.mark.witness("msal")
def test_a_device_code_is_pending_until_someone_approves_it(cloud: Cloud) -> None:
    app = a_desktop_app(cloud)
    flow = app.initiate_device_flow(scopes=["Files.ReadWrite"])
    assert flow["user_code"] in flow["message"]

    pending = poll_once(app, flow)
    assert (pending["error"], pending["error_codes"]) == ("authorization_pending", [70016])

    approved = cloud.control("approve", {"user_code": flow["user_code"], "user": "bob@contoso.onmicrosoft.com"})
    assert approved.json() == {"approved": 1}

    done = app.acquire_token_by_device_flow(flow)  # msal asks again after the interval of one second
    claims = cloud.desk.check(f"Bearer {done['access_token']}", GRAPH)
    assert (claims.app_id, claims.user) == (DESKTOP, "bob@contoso.onmicrosoft.com")
    assert done["id_token_claims"]["preferred_username"] == "bob@contoso.onmicrosoft.com"
    assert [account["username"] for account in app.get_accounts()] == ["bob@contoso.onmicrosoft.com"]


@pytest.mark.witness("msal")
def test_a_client_that_keeps_polling_gets_its_token_once_the_code_is_approved(cloud: Cloud) -> None:
    app = a_desktop_app(cloud)
    flow = app.initiate_device_flow(scopes=["Files.ReadWrite"])
    polled: list[dict[str, Any]] = []
    polling = threading.Thread(target=lambda: polled.append(app.acquire_token_by_device_flow(flow)))

    polling.start()
    cloud.entra.approve(flow["user_code"])
    polling.join(TIMEOUT_S)

    assert "access_token" in polled[0]


@pytest.mark.witness("msal")
def test_a_user_may_sign_in_by_himself_where_that_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entra = Entra(TokenDesk(), auto_approve="eve@contoso.onmicrosoft.com")
    entra.register(RegisteredApp(client_id=DESKTOP, public=True))
    ca_file = tmp_path / "ca.pem"
    with Server(entra.app(), ssl_context=server_certificate(ca_file)) as server:
        app = msal.PublicClientApplication(
            DESKTOP, authority=f"{server.url}/common", instance_discovery=False, verify=str(ca_file), timeout=TIMEOUT_S
        )
        done = poll_once(app, app.initiate_device_flow(scopes=["Files.ReadWrite"]))

    assert done["id_token_claims"]["preferred_username"] == "eve@contoso.onmicrosoft.com"


@pytest.mark.witness("msal")
def test_a_person_signs_in_on_the_page_that_the_message_names(cloud: Cloud) -> None:
    app = a_desktop_app(cloud)
    flow = app.initiate_device_flow(scopes=["Files.ReadWrite"])

    page = cloud.session.get(flow["verification_uri"], timeout=TIMEOUT_S)
    wrong = cloud.session.post(flow["verification_uri"], data={"user_code": "NONSENSE"}, timeout=TIMEOUT_S)
    sent = cloud.session.post(
        flow["verification_uri"], data={"user_code": flow["user_code"].lower()}, timeout=TIMEOUT_S
    )

    assert 'name="user_code"' in page.text
    assert wrong.status_code == 400
    assert "You have signed in" in sent.text
    assert "access_token" in poll_once(app, flow)


@pytest.mark.witness("msal")
def test_a_declined_code_says_so(cloud: Cloud) -> None:
    app = a_desktop_app(cloud)
    flow = app.initiate_device_flow(scopes=["Files.ReadWrite"])

    cloud.control("decline", {"user_code": flow["user_code"]})

    assert poll_once(app, flow)["error"] == "authorization_declined"


def test_a_code_that_nobody_used_in_time_has_expired(cloud: Cloud) -> None:
    flow = cloud.post("devicecode", client_id=DESKTOP, scope="Files.ReadWrite").json()
    cloud.clock.ahead_s = flow["expires_in"]

    said = cloud.post("token", grant_type="device_code", client_id=DESKTOP, device_code=flow["device_code"]).json()

    assert said["error"] == "expired_token"
    assert cloud.entra.approve(flow["user_code"]) == 0


def test_a_device_code_works_once(cloud: Cloud) -> None:
    flow = cloud.post("devicecode", client_id=DESKTOP, scope="Files.ReadWrite").json()
    cloud.entra.approve()
    form = {"grant_type": "device_code", "client_id": DESKTOP, "device_code": flow["device_code"]}

    assert cloud.post("token", **form).status_code == 200
    assert cloud.post("token", **form).json()["error"] == "bad_verification_code"


def test_a_confidential_app_proves_itself_at_the_device_code_too(cloud: Cloud) -> None:
    flow = cloud.post("devicecode", client_id=DAEMON, scope="Files.ReadWrite").json()
    cloud.entra.approve()
    form = {"grant_type": "device_code", "client_id": DAEMON, "device_code": flow["device_code"]}

    assert cloud.post("token", **form).json()["error_codes"] == [7000218]
    assert cloud.post("token", **form, client_secret=SECRET).status_code == 200


def test_one_request_is_for_one_resource(cloud: Cloud) -> None:
    said = cloud.post("devicecode", client_id=DESKTOP, scope=f"Files.ReadWrite {ENVIRONMENT}/user_impersonation").json()

    assert said["error_codes"] == [70011]


@pytest.mark.witness("msal")
def test_a_scope_with_a_resource_gets_a_token_for_that_resource(cloud: Cloud) -> None:
    app = signed_in(cloud, scopes=(f"{ENVIRONMENT}/user_impersonation",))

    answered = app.acquire_token_silent([f"{ENVIRONMENT}/user_impersonation"], account=app.get_accounts()[0])

    assert cloud.desk.check(f"Bearer {answered['access_token']}", ENVIRONMENT).user == DEFAULT_USER


@pytest.mark.witness("msal")
def test_a_kept_sign_in_is_refreshed_silently_and_the_refresh_token_rolls(cloud: Cloud) -> None:
    kept = msal.SerializableTokenCache()
    signed_in(cloud, kept)
    before = json.loads(kept.serialize())["RefreshToken"]
    later = msal.SerializableTokenCache()
    later.deserialize(kept.serialize())
    app = a_desktop_app(cloud, later)

    refreshed = app.acquire_token_silent(["Files.ReadWrite"], account=app.get_accounts()[0], force_refresh=True)

    assert cloud.desk.check(f"Bearer {refreshed['access_token']}", GRAPH).user == DEFAULT_USER
    after = json.loads(later.serialize())["RefreshToken"]
    assert before.keys() == after.keys()
    assert [token["secret"] for token in before.values()] != [token["secret"] for token in after.values()]


def test_a_refresh_without_a_scope_is_for_what_was_consented_to(cloud: Cloud) -> None:
    scope = "Files.ReadWrite offline_access"
    flow = cloud.post("devicecode", client_id=DESKTOP, scope=scope).json()
    cloud.entra.approve()
    first = cloud.post("token", grant_type="device_code", client_id=DESKTOP, device_code=flow["device_code"]).json()

    form = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"], "client_id": DESKTOP}
    refreshed = cloud.post("token", **form).json()

    assert refreshed["scope"] == first["scope"]
    assert cloud.desk.check(f"Bearer {refreshed['access_token']}", GRAPH).user == DEFAULT_USER
    assert refreshed["refresh_token"] != first["refresh_token"]


@pytest.mark.witness("msal")
def test_a_token_that_is_still_good_is_not_asked_for_again(cloud: Cloud) -> None:
    app = signed_in(cloud)
    asked = len(cloud.faults.calls)

    answered = app.acquire_token_silent(["Files.ReadWrite"], account=app.get_accounts()[0])

    assert "access_token" in answered
    assert len(cloud.faults.calls) == asked


@pytest.mark.witness("msal")
def test_a_revoked_sign_in_cannot_be_refreshed(cloud: Cloud) -> None:
    app = signed_in(cloud)

    cloud.control("revoke", {"user": DEFAULT_USER})

    answered = app.acquire_token_silent_with_error(
        ["Files.ReadWrite"], account=app.get_accounts()[0], force_refresh=True
    )
    assert (answered["error"], answered["error_codes"]) == ("invalid_grant", [50173])


@pytest.mark.witness("msal")
def test_a_sign_in_that_was_not_used_for_90_days_cannot_be_refreshed(cloud: Cloud) -> None:
    app = signed_in(cloud)
    cloud.clock.ahead_s = 90 * 24 * 3600

    answered = app.acquire_token_silent_with_error(
        ["Files.ReadWrite"], account=app.get_accounts()[0], force_refresh=True
    )

    assert (answered["error"], answered["error_codes"]) == ("invalid_grant", [700082])


def test_a_refresh_token_belongs_to_its_app(cloud: Cloud) -> None:
    flow = cloud.post("devicecode", client_id=DESKTOP, scope="Files.ReadWrite offline_access").json()
    cloud.entra.approve()
    said = cloud.post("token", grant_type="device_code", client_id=DESKTOP, device_code=flow["device_code"]).json()
    form = {"grant_type": "refresh_token", "refresh_token": said["refresh_token"], "scope": "Files.ReadWrite"}

    other = cloud.post("token", **form, client_id=DAEMON, client_secret=SECRET)
    own = cloud.post("token", **form, client_id=DESKTOP)

    assert other.json()["error_codes"] == [70000]
    assert own.status_code == 200
    assert "refresh_token" not in own.json()  # offline_access was not asked for


@pytest.mark.witness("msal")
def test_a_personal_account_signs_in_through_the_consumers_tenant(cloud: Cloud) -> None:
    app = a_desktop_app(cloud, tenant="consumers")
    flow = app.initiate_device_flow(scopes=["Files.ReadWrite"])
    cloud.entra.approve(user="someone@outlook.com")

    assert poll_once(app, flow)["id_token_claims"]["tid"] == CONSUMERS_TENANT_ID
    refreshed = app.acquire_token_silent(["Files.ReadWrite"], account=app.get_accounts()[0], force_refresh=True)
    assert cloud.desk.check(f"Bearer {refreshed['access_token']}", GRAPH).user == "someone@outlook.com"


def test_an_id_token_is_signed_with_a_key_that_is_published(cloud: Cloud) -> None:
    flow = cloud.post("devicecode", client_id=DESKTOP, scope="openid Files.ReadWrite").json()
    cloud.entra.approve()
    said = cloud.post("token", grant_type="device_code", client_id=DESKTOP, device_code=flow["device_code"]).json()
    configuration = cloud.session.get(
        f"{cloud.authority}/v2.0/.well-known/openid-configuration", timeout=TIMEOUT_S
    ).json()
    keys = jwt.PyJWKSet.from_dict(cloud.session.get(configuration["jwks_uri"], timeout=TIMEOUT_S).json())

    claims = jwt.decode(
        said["id_token"],
        keys[jwt.get_unverified_header(said["id_token"])["kid"]],
        algorithms=["RS256"],
        audience=DESKTOP,
        issuer=configuration["issuer"],
    )

    assert claims["preferred_username"] == DEFAULT_USER


def test_instance_discovery_leads_to_the_tenant(cloud: Cloud) -> None:
    said = cloud.session.get(
        f"{cloud.tls}/common/discovery/instance", params={"api-version": "1.1"}, timeout=TIMEOUT_S
    ).json()

    configuration = cloud.session.get(said["tenant_discovery_endpoint"], timeout=TIMEOUT_S).json()
    assert configuration["token_endpoint"] == f"{cloud.authority}/oauth2/v2.0/token"


# Control and faults


def test_approving_a_code_that_nobody_waits_for_is_not_found(cloud: Cloud) -> None:
    assert cloud.control("approve", {"user_code": "NOBODY"}).status_code == 404
    assert cloud.control("decline", {}).status_code == 404


@pytest.mark.parametrize("told", [{"code": "ABC"}, ["ABC"], {"user_code": 7}])
def test_a_control_call_that_makes_no_sense_is_refused(cloud: Cloud, told: object) -> None:
    for path in ("approve", "decline", "revoke"):
        assert cloud.control(path, told).status_code == 400


def test_those_who_wait_can_be_seen(cloud: Cloud) -> None:
    flow = cloud.post("devicecode", client_id=DESKTOP, scope="Files.ReadWrite").json()

    said = cloud.session.get(f"{cloud.tls}/_control/sign_ins", timeout=TIMEOUT_S).json()

    assert said == {"sign_ins": [{"user_code": flow["user_code"], "client_id": DESKTOP, "progress": "pending"}]}


@pytest.mark.witness("azure-identity")
def test_all_tokens_can_be_made_to_expire_over_http(cloud: Cloud) -> None:
    with ManagedIdentityCredential() as credential:
        token = credential.get_token(f"{GRAPH}/.default").token
    cloud.desk.check(f"Bearer {token}", GRAPH)

    cloud.session.post(f"{cloud.plain}/_control/expire_tokens", timeout=TIMEOUT_S)

    with pytest.raises(Exception, match="expired"):
        cloud.desk.check(f"Bearer {token}", GRAPH)


def test_entra_fails_as_planned(cloud: Cloud) -> None:
    cloud.faults.add(Fault("entra", "POST", "/oauth2/v2.0/token$", do=status(503, {"Retry-After": "1"})))

    form = {"grant_type": "client_credentials", "client_id": DAEMON, "client_secret": SECRET}
    assert cloud.post("token", **form, scope=f"{GRAPH}/.default").status_code == 503
    assert cloud.post("token", **form, scope=f"{GRAPH}/.default").status_code == 200


def test_an_entra_without_a_fault_plan_works_as_well() -> None:
    entra = Entra(TokenDesk())
    with Server(entra.app()) as server:
        assert requests.get(f"{server.url}/{TENANT_ID}/discovery/v2.0/keys", timeout=TIMEOUT_S).status_code == 200


def test_a_client_that_does_not_know_the_local_ca_refuses_to_talk(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")

    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"{cloud.tls}/common/discovery/instance", timeout=TIMEOUT_S)
