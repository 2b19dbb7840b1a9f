"""What an access token tells of itself, for a person to read."""

from base64 import urlsafe_b64decode
from dataclasses import dataclass

from shared.escapes import read_json


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
