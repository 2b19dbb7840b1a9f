"""Where tokens come from: the managed identity of a Function App, and Microsoft Entra ID.

The app leaves these calls to Microsoft's own libraries, azure-identity and msal. They are described all the same: what
the libraries are told decides what they send, and the local Entra must answer what the real one does.
"""

from typing import Final

from tests.wire.endpoints import Endpoint, Proof, Request, Service
from tests.wire.shapes import (
    ADDRESS,
    DIGITS,
    FILLED,
    FLAG,
    OBJECT,
    TEXT,
    WHOLE,
    Either,
    Fields,
    Form,
    Scalar,
    Several,
    content_type,
    one_of,
)

_IDENTITY: Final = "https://learn.microsoft.com/entra/identity-platform"
_REFUSED_STATUSES: Final = frozenset({400, 401, 429, 500, 503})

# https://learn.microsoft.com/entra/identity-platform/reference-error-codes#handling-error-codes-in-your-application
_REFUSAL: Final = Fields(
    required={"error": FILLED, "error_description": TEXT},
    optional={
        "error_codes": Several(WHOLE),
        "timestamp": TEXT,
        "trace_id": TEXT,
        "correlation_id": TEXT,
        "error_uri": TEXT,
        "suberror": TEXT,
        "claims": TEXT,
    },
)
_FORM: Final = {"content-type": content_type("application/x-www-form-urlencoded")}
# What msal says about itself: https://github.com/AzureAD/microsoft-authentication-library-for-python
_LIBRARY_HEADERS: Final = dict.fromkeys(
    (
        "client-request-id",
        "return-client-request-id",
        "x-anchormailbox",
        "x-client-brkrver",
        "x-client-cpu",
        "x-client-current-telemetry",
        "x-client-last-telemetry",
        "x-client-os",
        "x-client-sku",
        "x-client-ver",
        "x-ms-client-request-id",
        "x-ms-lib-capability",
    ),
    TEXT,
)
_TOKEN: Final = {"token_type": one_of("Bearer"), "expires_in": WHOLE, "access_token": FILLED}
_MORE_OF_A_TOKEN: Final = {"ext_expires_in": WHOLE, "refresh_in": WHOLE, "scope": TEXT}
_USERS_TOKEN: Final = Fields(
    required=_TOKEN,
    optional={
        **_MORE_OF_A_TOKEN,
        "refresh_token": FILLED,
        "id_token": FILLED,
        "client_info": FILLED,
        "foci": TEXT,
        "refresh_token_expires_in": WHOLE,
    },
)
_DEFAULT_SCOPE: Final = Scalar("one .default scope", lambda value: str(value).endswith("/.default"))


def _proves_the_app(request: Request) -> str:
    """Return what is wrong with the proof: a secret, or an assertion that is signed with a certificate."""
    form = request.body if isinstance(request.body, dict) else {}
    proofs = [name for name in ("client_secret", "client_assertion") if name in form]
    if len(proofs) != 1:
        return "neither client_secret nor client_assertion" if not proofs else "two proofs"
    if ("client_assertion" in form) != ("client_assertion_type" in form):
        return "client_assertion and client_assertion_type go together"
    return ""


ENDPOINTS: Final = (
    Endpoint(
        service=Service.ENTRA,
        operation="get token",
        method="GET",
        path="/msi/token",  # what IDENTITY_ENDPOINT says; in Azure a port of this machine
        proof=Proof.IDENTITY_HEADER,
        when="With a managed identity: once per service and about once an hour, and after a token was refused.",
        permission="the Function App has a managed identity",
        repeatable="yes",
        source="https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference",
        query={
            "api-version": one_of("2019-08-01"),
            "resource": FILLED,
            "client_id": FILLED,
            "principal_id": FILLED,
            "mi_res_id": FILLED,
        },
        required_query=frozenset({"api-version", "resource"}),
        # Metadata belongs to the endpoint of virtual machines, and this one does not mind it.
        optional_headers={"metadata": one_of("true"), **_LIBRARY_HEADERS},
        answers={
            200: Fields(
                required={
                    "access_token": FILLED,
                    "expires_on": Either((DIGITS, WHOLE)),
                    "resource": TEXT,
                    "token_type": one_of("Bearer"),
                },
                optional={"client_id": TEXT, "not_before": TEXT},
            )
        },
        refusals=_REFUSED_STATUSES,
        # Observed: https://github.com/MicrosoftDocs/azure-docs/issues/43543
        refusal=Fields(required={"statusCode": WHOLE, "message": TEXT}, optional={"correlationId": TEXT}),
    ),
    Endpoint(
        service=Service.ENTRA,
        operation="get token",
        method="POST",
        path="/{tenant}/oauth2/v2.0/token",
        proof=Proof.IN_BODY,
        when="With a client secret or a certificate: as with a managed identity.",
        permission="an app registration in the tenant",
        repeatable="yes",
        source=f"{_IDENTITY}/v2-oauth2-client-creds-grant-flow#get-a-token",
        headers=_FORM,
        optional_headers=_LIBRARY_HEADERS,
        body=Form(
            Fields(
                required={"grant_type": one_of("client_credentials"), "client_id": FILLED, "scope": _DEFAULT_SCOPE},
                optional={
                    "client_secret": FILLED,
                    "client_assertion": FILLED,
                    "client_assertion_type": one_of("urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                    "client_info": one_of("1"),
                    "claims": FILLED,
                },
            )
        ),
        rules=(_proves_the_app,),
        answers={200: Fields(required=_TOKEN, optional=_MORE_OF_A_TOKEN)},
        refusals=_REFUSED_STATUSES,
        refusal=_REFUSAL,
    ),
    Endpoint(
        service=Service.ENTRA,
        operation="get token",
        method="GET",
        path="/{tenant}/v2.0/.well-known/openid-configuration",
        proof=Proof.NONE,
        when="Once per process that asks Entra ID: where the tenant's other addresses are.",
        permission="none",
        repeatable="yes",
        source=f"{_IDENTITY}/v2-protocols-oidc#find-your-apps-openid-configuration-document-uri",
        optional_headers=_LIBRARY_HEADERS,
        answers={
            200: Fields(
                required={"issuer": TEXT, "authorization_endpoint": ADDRESS, "token_endpoint": ADDRESS},
                optional={
                    "device_authorization_endpoint": ADDRESS,
                    "jwks_uri": ADDRESS,
                    "userinfo_endpoint": ADDRESS,
                    "end_session_endpoint": ADDRESS,
                    "kerberos_endpoint": ADDRESS,
                    "token_endpoint_auth_methods_supported": Several(TEXT),
                    "response_modes_supported": Several(TEXT),
                    "response_types_supported": Several(TEXT),
                    "scopes_supported": Several(TEXT),
                    "claims_supported": Several(TEXT),
                    "subject_types_supported": Several(TEXT),
                    "id_token_signing_alg_values_supported": Several(TEXT),
                    "request_uri_parameter_supported": FLAG,
                    "http_logout_supported": FLAG,
                    "frontchannel_logout_supported": FLAG,
                    "tenant_region_scope": TEXT,
                    "cloud_instance_name": TEXT,
                    "cloud_graph_host_name": TEXT,
                    "msgraph_host": TEXT,
                    "rbac_url": TEXT,
                },
            )
        },
        refusals=_REFUSED_STATUSES,
        refusal=_REFUSAL,
    ),
    Endpoint(
        service=Service.ENTRA,
        operation="get token",
        method="GET",
        path="/common/discovery/instance",
        proof=Proof.NONE,
        when="Once per process that asks Entra ID in one of Microsoft's clouds; left out for any other host.",
        permission="none",
        repeatable="yes",
        source="https://learn.microsoft.com/entra/msal/python/advanced/client-instantiation",
        query={"api-version": FILLED, "authorization_endpoint": ADDRESS},
        required_query=frozenset({"api-version", "authorization_endpoint"}),
        optional_headers=_LIBRARY_HEADERS,
        answers={
            200: Fields(
                required={"tenant_discovery_endpoint": ADDRESS, "metadata": Several(OBJECT)},
                optional={"api-version": TEXT},
            )
        },
        refusals=_REFUSED_STATUSES,
        refusal=_REFUSAL,
    ),
    Endpoint(
        service=Service.ENTRA,
        operation="sign in",
        method="POST",
        path="/{tenant}/oauth2/v2.0/devicecode",
        proof=Proof.IN_BODY,
        when="When a person signs in: python dev.py sign-in.",
        permission="an app registration that allows public client flows",
        repeatable="yes: the earlier code runs out",
        source=f"{_IDENTITY}/v2-oauth2-device-code#device-authorization-request",
        headers=_FORM,
        optional_headers=_LIBRARY_HEADERS,
        body=Form(Fields(required={"client_id": FILLED, "scope": FILLED}, optional={"claims": FILLED})),
        answers={
            200: Fields(
                required={
                    "device_code": FILLED,
                    "user_code": FILLED,
                    "verification_uri": ADDRESS,
                    "expires_in": WHOLE,
                    "interval": WHOLE,
                    "message": FILLED,
                }
            )
        },
        refusals=_REFUSED_STATUSES,
        refusal=_REFUSAL,
    ),
    Endpoint(
        service=Service.ENTRA,
        operation="sign in",
        method="POST",
        path="/{tenant}/oauth2/v2.0/token",
        proof=Proof.IN_BODY,
        when="While that person types the code, every 5 seconds.",
        permission="an app registration that allows public client flows",
        repeatable="yes, until the person has signed in",
        source=f"{_IDENTITY}/v2-oauth2-device-code#authenticating-the-user",
        headers=_FORM,
        optional_headers=_LIBRARY_HEADERS,
        body=Form(
            Fields(
                required={
                    "grant_type": one_of("urn:ietf:params:oauth:grant-type:device_code"),
                    "client_id": FILLED,
                    "device_code": FILLED,
                },
                # msal adds these, code for the sake of older endpoints.
                optional={"client_info": one_of("1"), "scope": FILLED, "code": FILLED, "claims": FILLED},
            )
        ),
        answers={200: _USERS_TOKEN},
        refusals=_REFUSED_STATUSES,
        refusal=_REFUSAL,
    ),
    Endpoint(
        service=Service.ENTRA,
        operation="renew sign-in",
        method="POST",
        path="/{tenant}/oauth2/v2.0/token",
        proof=Proof.IN_BODY,
        when="Where the app works as a signed-in user: about once an hour, and after a token was refused.",
        permission="that person's consent",
        repeatable="yes: a used refresh token stays good",
        source=f"{_IDENTITY}/v2-oauth2-auth-code-flow#refresh-the-access-token",
        headers=_FORM,
        optional_headers=_LIBRARY_HEADERS,
        body=Form(
            Fields(
                required={
                    "grant_type": one_of("refresh_token"),
                    "client_id": FILLED,
                    "refresh_token": FILLED,
                },
                optional={"scope": FILLED, "client_info": one_of("1"), "claims": FILLED},
            )
        ),
        answers={200: _USERS_TOKEN},
        refusals=_REFUSED_STATUSES,
        refusal=_REFUSAL,
    ),
)
