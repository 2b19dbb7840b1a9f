"""The desk that issues access tokens and checks them: Entra's side and the services' side of one key.

``entra.py`` decides who may have a token; the simulators ask here whether the one they were shown is good. What the
tokens look like inside is nobody's business but this file's, as with the real ones.
"""

import secrets
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jwt


class TokenRefused(Exception):
    """The request carries no token that this service accepts; answer with `status` and the service's own words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.status = 401
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a good token says."""

    audience: str  # the resource it is for, without a slash at the end
    app_id: str  # who asked for it
    user: str | None  # who signed in; None for the app's own identity
    permissions: tuple[str, ...] | None  # of an app; None: the token says nothing of them, and all are granted
    token_id: str  # differs for each token issued
    issued_s: float  # seconds since the epoch
    expires_s: float  # seconds since the epoch


class TokenDesk:
    """Issues and checks access tokens. Thread-safe; one desk serves all simulators of a local cloud."""

    def __init__(self, *, key: bytes | None = None, clock: Callable[[], float] = time.time) -> None:
        """key: at least 32 bytes, random if None; clock: seconds since the epoch."""
        self._key = key or secrets.token_bytes(64)
        self._clock = clock
        self._lock = threading.Lock()
        self._generation = 0

    def issue(
        self,
        audience: str,
        *,
        app_id: str,
        expires_s: float = 3600,
        user: str | None = None,
        permissions: Sequence[str] | None = None,
    ) -> str:
        """Return a new access token.

        audience: the resource, e.g. "https://graph.microsoft.com"; a slash at its end does not matter.
        app_id: the client id that asked; expires_s: its life in seconds; user: who signed in, if anyone did.
        permissions: what the app itself may do; None: the token does not say, and it may do everything.
        """
        now = self._clock()
        claims: dict[str, object] = {
            "aud": _resource(audience),
            "appid": app_id,
            "iat": now,
            "exp": now + expires_s,
            "jti": uuid.uuid4().hex,
            "generation": self._generation,
        }
        if user is not None:
            claims["upn"] = user
        if permissions is not None:
            claims |= {"idtyp": "app"} | ({"roles": list(permissions)} if permissions else {})
        return jwt.encode(claims, self._key, algorithm="HS256")

    def check(self, authorization_header: str | None, audience: str) -> Claims:
        """Return what the bearer token of this Authorization header says.

        Raises TokenRefused when there is none, or it was not issued here, or for another audience, or has expired.
        """
        if not authorization_header:
            raise TokenRefused("no token")
        scheme, _, token = authorization_header.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise TokenRefused("no bearer token")
        try:
            # The times are checked below, by this desk's clock.
            said = jwt.decode(
                token.strip(),
                self._key,
                algorithms=["HS256"],
                options={"verify_aud": False, "verify_exp": False, "verify_iat": False, "require": ["aud", "exp"]},
            )
        except jwt.InvalidTokenError as error:
            raise TokenRefused(f"not a token of this cloud: {error}") from error
        if said["aud"] != _resource(audience):
            raise TokenRefused(f"the token is for {said['aud']}, not for {_resource(audience)}")
        if said["exp"] <= self._clock() or said["generation"] != self._generation:
            raise TokenRefused("the token has expired")
        return Claims(
            audience=said["aud"],
            app_id=said["appid"],
            user=said.get("upn"),
            permissions=tuple(said.get("roles", ())) if said.get("idtyp") == "app" else None,
            token_id=said["jti"],
            issued_s=said["iat"],
            expires_s=said["exp"],
        )

    def expire_all(self) -> None:
        """Let every token that was issued until now be expired, whatever its owner believes."""
        with self._lock:
            self._generation += 1


def _resource(audience: str) -> str:
    return audience.rstrip("/")
