"""The tenant: its apps, users and tokens, and the endpoints in front of them.

https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow,
https://learn.microsoft.com/entra/identity-platform/v2-oauth2-device-code
"""

import base64
import hmac
import html
import json
import secrets
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Final

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

from local_cloud.entra.apps import RegisteredApp, prove
from local_cloud.entra.refusals import NO_STORE, Refused, base_url, form_of, in_entras_words, required
from local_cloud.faults import FaultPlan
from local_cloud.server import answer
from local_cloud.tokens import TokenDesk

SERVICE: Final = "entra"  # the name in faults and in the record of calls
TENANT_ID: Final = "c0ffee00-5eed-4a11-9c10-0d15ea5e0001"
DOMAIN: Final = "contoso.onmicrosoft.com"
DEFAULT_USER: Final = f"ada@{DOMAIN}"
GRAPH: Final = "https://graph.microsoft.com"
CONSUMERS_TENANT_ID: Final = "9188040d-6c67-4c5b-b112-36a304b66dad"  # the same for every personal account
DEVICE_CODE_LIFE_S: Final = 900
REFRESH_TOKEN_LIFE_S: Final = 90 * 24 * 3600
MANAGED_IDENTITY_TOKEN_LIFE_S: Final = 24 * 3600

_ALIASES: Final = ("common", "organizations", "consumers")  # tenants for signed-in users, not for an app by itself
_OIDC_SCOPES: Final = frozenset({"openid", "profile", "email", "offline_access"})
_CODE_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
_DEVICE_GRANTS: Final = ("urn:ietf:params:oauth:grant-type:device_code", "device_code")


class Progress(StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    DECLINED = "declined"


@dataclass(frozen=True, slots=True, kw_only=True)
class _SignIn:
    """A device code on its way."""

    user_code: str
    client_id: str
    tenant_id: str
    scopes: tuple[str, ...]
    expires_s: float
    progress: Progress = Progress.PENDING
    user: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grant:
    """What a refresh token stands for."""

    client_id: str
    tenant_id: str
    user: str
    scopes: tuple[str, ...]
    expires_s: float
    revoked: bool = False


class _IdentityRefused(Exception):
    """The managed identity endpoint says no."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Entra:
    """One tenant. Thread-safe: `app` may be served by several servers at once, each with an application of its own.

    ``identity_header`` is what IDENTITY_HEADER must say beside IDENTITY_ENDPOINT = ``{http url}/msi/token``.
    """

    def __init__(
        self,
        desk: TokenDesk,
        *,
        faults: FaultPlan | None = None,
        tenant_id: str = TENANT_ID,
        identity_header: str | None = None,
        resources: Iterable[str] | None = None,
        default_resource: str = GRAPH,
        auto_approve: str | None = None,
        interval_s: int = 5,
        token_expires_s: int = 3600,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """desk: issues the tokens; faults: what goes wrong here, as service "entra"; nothing if None.

        identity_header: the secret of the managed identity endpoint, random if None; resources: those that have a
        service principal, all if None; default_resource: whom a scope without a resource
        ("Files.ReadWrite") means; auto_approve: the user who signs in by himself wherever a device code is asked for;
        interval_s: whole seconds that a client is told to wait between two polls, 1 at least, since msal would poll
        without a pause at 0; clock: seconds since the epoch.
        """
        if interval_s < 1:
            raise ValueError("interval_s is 1 or more")
        self.tenant_id = tenant_id
        self.identity_header = identity_header or secrets.token_hex(16)
        self.system_identity = str(uuid.uuid4())  # the client id of the system-assigned identity
        # Application permissions of Microsoft Graph that were granted to every app here. They stand in all tokens of
        # apps, whoever those are for: only the simulated Graph looks at them.
        self.permissions: tuple[str, ...] = ("Files.ReadWrite.All", "Mail.Send")
        self._desk = desk
        self._faults = faults or FaultPlan()
        self._resources = None if resources is None else {resource.rstrip("/") for resource in resources}
        self._default_resource = default_resource
        self._auto_approve = auto_approve
        self._interval_s = interval_s
        self._token_expires_s = token_expires_s
        self._clock = clock
        self._lock = threading.RLock()
        self._apps: dict[str, RegisteredApp] = {}
        self._user_identities: set[str] = set()
        self._sign_ins: dict[str, _SignIn] = {}
        self._grants: dict[str, _Grant] = {}

    # Who is who

    def register(self, app: RegisteredApp) -> None:
        """Add an app registration, or replace the one with its client id."""
        with self._lock:
            self._apps[app.client_id.lower()] = app

    def register_user_identity(self, client_id: str) -> None:
        """Assign a user-assigned managed identity to the function app."""
        with self._lock:
            self._user_identities.add(client_id.lower())

    def approve(self, user_code: str | None = None, *, user: str = DEFAULT_USER) -> int:
        """Sign in as this user wherever this code is shown (None: wherever any is); return how many were waiting."""
        return self._settle(user_code, Progress.APPROVED, user)

    def decline(self, user_code: str | None = None) -> int:
        """Refuse to sign in; return how many were waiting."""
        return self._settle(user_code, Progress.DECLINED, "")

    def revoke(self, user: str) -> None:
        """Make every refresh token of the user worthless, as a changed password or an administrator does."""
        with self._lock:
            for token, grant in self._grants.items():
                if grant.user == user:
                    self._grants[token] = replace(grant, revoked=True)

    # The doors

    def app(self) -> web.Application:
        """Return a new application with all the endpoints."""
        app = web.Application(middlewares=[self._faults.middleware(SERVICE)])
        self._faults.add_control(app)
        app.router.add_get("/msi/token", self._managed_identity_token)
        app.router.add_get("/common/discovery/instance", self._instance_discovery)
        app.router.add_get("/{tenant}/v2.0/.well-known/openid-configuration", in_entras_words(self._configuration))
        app.router.add_get("/{tenant}/discovery/v2.0/keys", self._keys)
        app.router.add_post("/{tenant}/oauth2/v2.0/devicecode", in_entras_words(self._device_code))
        app.router.add_post("/{tenant}/oauth2/v2.0/token", in_entras_words(self._token))
        app.router.add_get("/device", self._device_page)
        app.router.add_post("/device", self._device_page_sent)
        app.router.add_get("/_control/sign_ins", self._show_sign_ins)
        app.router.add_post("/_control/approve", self._control_approve)
        app.router.add_post("/_control/decline", self._control_decline)
        app.router.add_post("/_control/revoke", self._control_revoke)
        app.router.add_post("/_control/expire_tokens", self._control_expire_tokens)
        return app

    # Managed identity: https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference

    async def _managed_identity_token(self, request: web.Request) -> web.Response:
        try:
            client_id = self._identity_asked_for(request)
            resource = request.query.get("resource", "")
            if not resource:
                raise _IdentityRefused(400, "The resource parameter is missing.")
            if not self._is_known_resource(resource):
                # Assumed: what the endpoint tells of Entra's AADSTS500011.
                raise _IdentityRefused(400, f"The resource principal named {resource} was not found in the tenant.")
        except _IdentityRefused as refusal:
            # Observed in https://github.com/MicrosoftDocs/azure-docs/issues/43543 (with capitals in 2017-09-01).
            return answer(
                refusal.status,
                {"statusCode": refusal.status, "message": refusal.text, "correlationId": str(uuid.uuid4())},
            )
        expires_s = MANAGED_IDENTITY_TOKEN_LIFE_S
        return answer(
            200,
            {
                "access_token": self._desk.issue(
                    resource, app_id=client_id, expires_s=expires_s, permissions=self.permissions
                ),
                "expires_on": str(int(self._clock()) + expires_s),
                "resource": resource,
                "token_type": "Bearer",
                "client_id": client_id,
            },
        )

    def _identity_asked_for(self, request: web.Request) -> str:
        if not hmac.compare_digest(
            request.headers.get("X-IDENTITY-HEADER", "").encode(), self.identity_header.encode()
        ):
            raise _IdentityRefused(401, "The X-IDENTITY-HEADER header is missing or wrong.")
        if request.query.get("api-version") != "2019-08-01":
            raise _IdentityRefused(400, "The api-version is missing or not supported.")
        client_id = request.query.get("client_id")
        if client_id is None:
            return self.system_identity
        if client_id.lower() not in self._user_identities:
            # Observed in https://github.com/Azure-Samples/azure-search-openai-demo/issues/2148
            raise _IdentityRefused(
                400,
                "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId.",
            )
        return client_id

    # Discovery

    async def _instance_discovery(self, request: web.Request) -> web.Response:
        base = base_url(request)
        return answer(
            200,
            {
                "tenant_discovery_endpoint": f"{base}/{self.tenant_id}/v2.0/.well-known/openid-configuration",
                "api-version": request.query.get("api-version", "1.1"),
                "metadata": [
                    {"preferred_network": request.host, "preferred_cache": request.host, "aliases": [request.host]}
                ],
            },
        )

    async def _configuration(self, request: web.Request) -> web.Response:
        tenant = request.match_info["tenant"]
        tenant_id = self._tenant_id(tenant)
        base = base_url(request)
        path = tenant.lower() if tenant.lower() in _ALIASES else tenant_id
        issuer_tenant = "{tenantid}" if path in ("common", "organizations") else tenant_id  # sic: not filled in
        return answer(
            200,
            {
                "issuer": f"{base}/{issuer_tenant}/v2.0",
                "authorization_endpoint": f"{base}/{path}/oauth2/v2.0/authorize",
                "token_endpoint": f"{base}/{path}/oauth2/v2.0/token",
                "device_authorization_endpoint": f"{base}/{path}/oauth2/v2.0/devicecode",
                "jwks_uri": f"{base}/{path}/discovery/v2.0/keys",
                "token_endpoint_auth_methods_supported": [
                    "client_secret_post",
                    "private_key_jwt",
                    "client_secret_basic",
                ],
                "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
                "scopes_supported": ["openid", "profile", "email", "offline_access"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "tenant_region_scope": "EU",
                "cloud_instance_name": request.host,
            },
        )

    async def _keys(self, _request: web.Request) -> web.Response:
        key = jwt.algorithms.RSAAlgorithm.to_jwk(self._signing_key.public_key(), as_dict=True)
        return answer(200, {"keys": [{**key, "kid": self._signing_key_id, "use": "sig"}]})

    # Tokens

    async def _device_code(self, request: web.Request) -> web.Response:
        tenant_id = self._tenant_id(request.match_info["tenant"])
        form = await form_of(request)
        app = self._app_asking(form)
        scopes = tuple(required(form, "scope").split())
        self._audience_of(scopes)
        device_code = secrets.token_urlsafe(48)
        user_code = "".join(secrets.choice(_CODE_LETTERS) for _ in range(9))
        with self._lock:
            self._sign_ins[device_code] = _SignIn(
                user_code=user_code,
                client_id=app.client_id,
                tenant_id=tenant_id,
                scopes=scopes,
                expires_s=self._clock() + DEVICE_CODE_LIFE_S,
            )
            if self._auto_approve is not None:
                self.approve(user_code, user=self._auto_approve)
        page = f"{base_url(request)}/device"
        return answer(
            200,
            {
                "user_code": user_code,
                "device_code": device_code,
                "verification_uri": page,
                "expires_in": DEVICE_CODE_LIFE_S,
                "interval": self._interval_s,
                "message": f"To sign in, use a web browser to open the page {page} "
                f"and enter the code {user_code} to authenticate.",
            },
        )

    async def _token(self, request: web.Request) -> web.Response:
        tenant = request.match_info["tenant"]
        tenant_id = self._tenant_id(tenant)
        form = await form_of(request)
        grant_type = required(form, "grant_type")
        app = self._app_asking(form)
        if grant_type == "client_credentials":
            if tenant.lower() in _ALIASES:
                raise Refused(90002, f"Tenant '{tenant}' is not a tenant in which an app can act by itself.")
            self._prove(app, form, request)
            said = self._for_the_app(app, form)
        elif grant_type in _DEVICE_GRANTS:
            if not app.public:
                self._prove(app, form, request)
            said = self._for_the_device(app, form, base_url(request))
        elif grant_type == "refresh_token":
            if not app.public:
                self._prove(app, form, request)
            said = self._for_the_refresh_token(app, form, base_url(request), tenant_id)
        else:
            raise Refused(70003, f"The app requested an unsupported grant type '{grant_type}'.")
        return answer(200, said, {**NO_STORE, "x-ms-request-id": str(uuid.uuid4())})

    def _for_the_app(self, app: RegisteredApp, form: Mapping[str, str]) -> dict[str, object]:
        scope = required(form, "scope")
        if not scope.endswith("/.default") or len(scope.split()) != 1:
            raise Refused(
                1002012,
                f"The provided value for scope {scope} is not valid. Client credential flows must have a scope value "
                "with /.default suffixed to the resource identifier (application ID URI).",
            )
        return self._access(self._audience_of((scope,)), app.client_id, user=None)

    def _for_the_device(self, app: RegisteredApp, form: Mapping[str, str], base: str) -> dict[str, object]:
        device_code = required(form, "device_code")
        with self._lock:
            sign_in = self._sign_ins.get(device_code)
            if sign_in is None or sign_in.client_id != app.client_id:
                raise Refused(70018, "Invalid verification code due to the device code being unknown or used.")
            if sign_in.expires_s <= self._clock():
                raise Refused(70019, "Verification code expired.")
            if sign_in.progress is Progress.PENDING:
                raise Refused(
                    70016,
                    "The provided request has not yet been authorized by the user. The user must input their code.",
                )
            del self._sign_ins[device_code]
        if sign_in.progress is Progress.DECLINED:
            raise Refused(65004, "User declined to consent to access the app.")
        return self._signed_in(app.client_id, sign_in.tenant_id, sign_in.user, sign_in.scopes, form, base)

    def _for_the_refresh_token(
        self, app: RegisteredApp, form: Mapping[str, str], base: str, tenant_id: str
    ) -> dict[str, object]:
        # A used refresh token stays good until it expires; the client is meant to keep the newer one:
        # https://learn.microsoft.com/entra/identity-platform/refresh-tokens#token-lifetime
        with self._lock:
            grant = self._grants.get(required(form, "refresh_token"))
        if grant is None or grant.client_id != app.client_id or tenant_id not in (grant.tenant_id, self.tenant_id):
            raise Refused(70000, "Provided grant is invalid or malformed.")
        if grant.revoked:
            raise Refused(
                50173,
                "The provided grant has expired due to it being revoked, a fresh auth token is needed. "
                "The user might have changed or reset their password.",
            )
        if grant.expires_s <= self._clock():
            raise Refused(700082, "The refresh token has expired due to inactivity.")
        # Without a scope it is for what was consented to; Observed: abraunegg's onedrive refreshes so.
        # https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow#refresh-the-access-token
        scopes = tuple(form.get("scope", "").split()) or grant.scopes
        return self._signed_in(app.client_id, grant.tenant_id, grant.user, scopes, form, base)

    def _signed_in(
        self,
        client_id: str,
        tenant_id: str,
        user: str,
        scopes: tuple[str, ...],
        form: Mapping[str, str],
        base: str,
    ) -> dict[str, object]:
        said = self._access(self._audience_of(scopes), client_id, user=user)
        said["scope"] = " ".join(scope for scope in scopes if scope != "offline_access")
        now = self._clock()
        if "offline_access" in scopes:
            token = secrets.token_urlsafe(64)
            with self._lock:
                self._grants[token] = _Grant(
                    client_id=client_id,
                    tenant_id=tenant_id,
                    user=user,
                    scopes=scopes,
                    expires_s=now + REFRESH_TOKEN_LIFE_S,
                )
            said["refresh_token"] = token
        object_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{tenant_id}/{user}"))
        if "openid" in scopes:
            claims = {
                "iss": f"{base}/{tenant_id}/v2.0",
                "aud": client_id,
                "sub": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{client_id}/{user}")),
                "oid": object_id,
                "tid": tenant_id,
                "preferred_username": user,
                "name": user.partition("@")[0],
                "ver": "2.0",
                "iat": int(now),
                "nbf": int(now),
                "exp": int(now) + self._token_expires_s,
            }
            said["id_token"] = jwt.encode(
                claims, self._signing_key, algorithm="RS256", headers={"kid": self._signing_key_id}
            )
        if form.get("client_info") == "1":
            # msal's own addition; from it comes the account's home_account_id.
            info = json.dumps({"uid": object_id, "utid": tenant_id}).encode()
            said["client_info"] = base64.urlsafe_b64encode(info).decode().rstrip("=")
        return said

    def _access(self, audience: str, client_id: str, *, user: str | None) -> dict[str, object]:
        permissions = self.permissions if user is None else None
        token = self._desk.issue(
            audience, app_id=client_id, expires_s=self._token_expires_s, user=user, permissions=permissions
        )
        told_s = self._token_expires_s - 1
        return {"token_type": "Bearer", "expires_in": told_s, "ext_expires_in": told_s, "access_token": token}

    # Rules

    def _tenant_id(self, tenant: str) -> str:
        match tenant.lower():
            case "consumers":
                return CONSUMERS_TENANT_ID
            case "common" | "organizations":
                return self.tenant_id
            case known if known in (self.tenant_id.lower(), DOMAIN):
                return self.tenant_id
            case _:
                raise Refused(
                    90002,
                    f"Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing "
                    "into the correct cloud.",
                )

    def _app_asking(self, form: Mapping[str, str]) -> RegisteredApp:
        client_id = required(form, "client_id")
        with self._lock:
            app = self._apps.get(client_id.lower())
        if app is None:
            raise Refused(
                700016,
                f"Application with identifier '{client_id}' was not found in the directory '{self.tenant_id}'. This "
                "can happen if the application has not been installed by the administrator of the tenant or consented "
                "to by any user in the tenant. You may have sent your authentication request to the wrong tenant.",
            )
        return app

    def _audience_of(self, scopes: tuple[str, ...]) -> str:
        """Return the one resource that these scopes are for."""
        resources = {
            scope.rpartition("/")[0].rstrip("/") if "/" in scope else self._default_resource
            for scope in scopes
            if scope not in _OIDC_SCOPES
        } or {self._default_resource}
        if len(resources) > 1:
            raise Refused(
                70011,
                "The provided value for the input parameter 'scope' is not valid because it contains more than one "
                f"resource. The scope {' '.join(scopes)} is not valid.",
            )
        resource = resources.pop()
        if not self._is_known_resource(resource):
            raise Refused(
                500011,
                f"The resource principal named {resource} was not found in the tenant named {self.tenant_id}. This can "
                "happen if the application has not been installed by the administrator of the tenant or consented to "
                "by any user in the tenant. You might have sent your authentication request to the wrong tenant.",
            )
        return resource

    def _is_known_resource(self, resource: str) -> bool:
        return self._resources is None or resource.rstrip("/") in self._resources

    def _prove(self, app: RegisteredApp, form: Mapping[str, str], request: web.Request) -> None:
        tenant_url = f"{base_url(request)}/{request.match_info['tenant']}"
        prove(app, form, audiences=(f"{tenant_url}/oauth2/v2.0/token", f"{tenant_url}/v2.0"), now_s=self._clock())

    def _settle(self, user_code: str | None, progress: Progress, user: str) -> int:
        with self._lock:
            waiting = [
                (device_code, sign_in)
                for device_code, sign_in in self._sign_ins.items()
                if sign_in.progress is Progress.PENDING
                and sign_in.expires_s > self._clock()
                and (user_code is None or sign_in.user_code == user_code.strip().upper())
            ]
            for device_code, sign_in in waiting:
                self._sign_ins[device_code] = replace(sign_in, progress=progress, user=user)
            return len(waiting)

    @cached_property
    def _signing_key(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @cached_property
    def _signing_key_id(self) -> str:
        return secrets.token_urlsafe(16)

    # For people

    async def _device_page(self, request: web.Request) -> web.Response:
        return _page(
            f"""<form method="post"><p><label>Code <input name="user_code" autofocus required
            value="{html.escape(request.query.get("user_code", ""))}"></label></p>
            <p><label>Sign in as <input name="user" value="{html.escape(DEFAULT_USER)}"></label></p>
            <p><button>Sign in</button></p></form>"""
        )

    async def _device_page_sent(self, request: web.Request) -> web.Response:
        form = await form_of(request)
        user = form.get("user") or DEFAULT_USER
        if not self.approve(form.get("user_code", ""), user=user):
            return _page("<p>That code did not work. Check the code and try again.</p>", status=400)
        return _page(f"<p>You have signed in as {html.escape(user)}. You may now close this window.</p>")

    # For tests and tools

    async def _show_sign_ins(self, _request: web.Request) -> web.Response:
        with self._lock:
            sign_ins = [
                {"user_code": sign_in.user_code, "client_id": sign_in.client_id, "progress": str(sign_in.progress)}
                for sign_in in self._sign_ins.values()
            ]
        return answer(200, {"sign_ins": sign_ins})

    async def _control_approve(self, request: web.Request) -> web.Response:
        try:
            told = await _texts(request, {"user_code", "user"})
        except ValueError as error:
            return answer(400, {"error": str(error)})
        count = self.approve(told.get("user_code"), user=told.get("user", DEFAULT_USER))
        return answer(200 if count else 404, {"approved": count})

    async def _control_decline(self, request: web.Request) -> web.Response:
        try:
            told = await _texts(request, {"user_code"})
        except ValueError as error:
            return answer(400, {"error": str(error)})
        count = self.decline(told.get("user_code"))
        return answer(200 if count else 404, {"declined": count})

    async def _control_revoke(self, request: web.Request) -> web.Response:
        try:
            told = await _texts(request, {"user"})
        except ValueError as error:
            return answer(400, {"error": str(error)})
        self.revoke(told.get("user", DEFAULT_USER))
        return answer(204)

    async def _control_expire_tokens(self, _request: web.Request) -> web.Response:
        self._desk.expire_all()
        return answer(204)


async def _texts(request: web.Request, known: set[str]) -> dict[str, str]:
    """Return the JSON object of texts in the request's body; an empty body is an empty object."""
    text = await request.text()
    value = json.loads(text) if text else {}
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise ValueError("a JSON object of texts is due")
    if unknown := set(value) - known:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}")
    return value


def _page(content: str, *, status: int = 200) -> web.Response:
    return answer(
        status,
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Sign in</title>"
        f"<h1>Sign in to the local cloud</h1>{content}</html>",
        {"Content-Type": "text/html; charset=utf-8"},
    )
