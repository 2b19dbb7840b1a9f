"""App registrations, and how an app proves that it is the one it says: by a secret, or by a signed assertion."""

import base64
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from local_cloud.entra.refusals import Refused, time_stamp

CLOCK_SKEW_S: Final = 300

_JWT_BEARER: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredApp:
    """An app registration."""

    client_id: str
    secrets: tuple[str, ...] = ()
    certificates: tuple[bytes, ...] = ()  # PEM, without or with the private key
    public: bool = False  # "Allow public client flows": device code, and refresh without a secret


def prove(app: RegisteredApp, form: Mapping[str, str], *, audiences: Iterable[str], now_s: float) -> None:
    """Check the credential in a token request.

    audiences: what an assertion may be meant for; now_s: seconds since the epoch. Raises Refused.
    """
    if assertion := form.get("client_assertion"):
        if form.get("client_assertion_type") != _JWT_BEARER:
            raise Refused(900144, "The request body must contain the following parameter: 'client_assertion_type'.")
        _check_assertion(app, assertion, audiences, now_s)
    elif secret := form.get("client_secret"):
        if not any(hmac.compare_digest(secret.encode(), known.encode()) for known in app.secrets):
            raise Refused(
                7000215,
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret "
                f"value, not the client secret ID, for a secret added to app '{app.client_id}'.",
            )
    else:
        raise Refused(
            7000218,
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        )


def _check_assertion(app: RegisteredApp, assertion: str, audiences: Iterable[str], now_s: float) -> None:
    """https://learn.microsoft.com/entra/identity-platform/certificate-credentials"""
    try:
        header = jwt.get_unverified_header(assertion)
    except jwt.InvalidTokenError as error:
        raise Refused(50027, f"JWT token is invalid or malformed. {error}") from error
    key = _registered_key(app, header)
    if key is None:
        raise Refused(
            700027,
            "The certificate with identifier used to sign the client assertion is not registered on application. "
            "[Reason - The key was not found., Thumbprint of key used by client: "
            f"'{header.get('x5t#S256') or header.get('x5t') or ''}'].",
        )
    try:
        # The times are checked below, by the tenant's clock.
        said = jwt.decode(
            assertion,
            key,
            algorithms=["RS256", "PS256"],
            options={
                "verify_aud": False,
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "require": ["aud", "exp", "iss", "sub", "jti"],
            },
        )
    except jwt.InvalidSignatureError as error:
        raise Refused(700027, "Client assertion failed signature validation.") from error
    except jwt.InvalidTokenError as error:
        raise Refused(50027, f"JWT token is invalid or malformed. {error}") from error
    if said["iss"] != app.client_id or said["sub"] != app.client_id:
        raise Refused(50027, "JWT token is invalid or malformed. Issuer and subject must be the client id.")
    if said["aud"] not in audiences:
        raise Refused(700023, "Client assertion audience claim does not match Realm issuer.")
    if not said.get("nbf", now_s) - CLOCK_SKEW_S <= now_s < said["exp"] + CLOCK_SKEW_S:
        raise Refused(
            700024,
            f"Client assertion is not within its valid time range. Current time: {time_stamp(now_s)}, expiry time of "
            f"assertion {time_stamp(said['exp'])}.",
        )


def _registered_key(app: RegisteredApp, header: Mapping[str, object]) -> rsa.RSAPublicKey | None:
    """Return the public key of the app's certificate that the assertion's header names."""
    for pem in app.certificates:
        certificate = x509.load_pem_x509_certificate(pem)
        named = {
            "x5t#S256": certificate.fingerprint(hashes.SHA256()),
            "x5t": certificate.fingerprint(hashes.SHA1()),  # what azure-identity still names it by
        }
        if any(_thumbprint(header.get(name)) == fingerprint for name, fingerprint in named.items()):
            key = certificate.public_key()
            return key if isinstance(key, rsa.RSAPublicKey) else None
    return None


def _thumbprint(value: object) -> bytes | None:
    if not isinstance(value, str):
        return None
    try:
        return base64.urlsafe_b64decode(value.rstrip("=") + "=" * (-len(value.rstrip("=")) % 4))
    except ValueError:
        return None
