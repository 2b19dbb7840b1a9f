"""Tokens for a person who has signed in once (msal).

The library keeps tokens until they run out; here stands how it is set up, and when its cache is saved. It is imported
on first use, because an HTTP call that needs no token should not pay for it at a cold start.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import requests

from shared.clients.http.context import allowed_s
from shared.errors import AppError, NeedsPerson, RecordChanged, RemoteCall, TryAgain
from shared.locks import WAIT_S, CallLock
from shared.log import log

if TYPE_CHECKING:
    import msal  # type: ignore[import-untyped]  # it ships no types

from shared.clients.entra.authority import CONNECT_S, PUBLIC_CLOUD, READ_S, HeldToken, is_known_cloud, with_scheme
from shared.clients.entra.errors import PASSING_CODES, SERVICE, advice_on, error_code_in, first_line, is_passing


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
        self._held = HeldToken()
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
                raise _renewal_error(answer)
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
                raise _sign_in_error(flow)
            show(str(flow.get("message") or f"Open {flow['verification_uri']} and enter the code {flow['user_code']}"))
            answer = app.acquire_token_by_device_flow(flow)
            if "access_token" not in answer:
                raise _sign_in_error(answer)
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
                authority=f"{with_scheme(self._authority_host)}/{self._tenant}",
                token_cache=self._cache,
                instance_discovery=None if is_known_cloud(self._authority_host) else False,
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
                call = RemoteCall(service=SERVICE, operation=operation, code=error_code_in(text))
                if is_passing(error, None, text):
                    raise TryAgain(f"Entra ID cannot '{operation}' now: {first_line(text)}", call=call) from error
                raise NeedsPerson(
                    f"Entra ID cannot '{operation}': {first_line(text)}. Check tenant and client id in the settings",
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
        timeout_s = (allowed_s(CONNECT_S), allowed_s(READ_S))
        # A redirect would take the refresh token along, to wherever it leads.
        return super().request(method, url, **{**options, "timeout": timeout_s, "allow_redirects": False})


def _renewal_error(answer: Mapping[str, Any]) -> AppError:
    text = str(answer.get("error_description") or answer.get("error") or "")
    call = RemoteCall(
        service=SERVICE, operation="renew sign-in", code=error_code_in(text) or str(answer.get("error") or "")
    )
    if answer.get("error") in PASSING_CODES or error_code_in(text) in PASSING_CODES:
        return TryAgain(f"Entra ID cannot renew the sign-in now: {first_line(text)}", call=call)
    happened = (
        f"The OneDrive sign-in has expired: {first_line(text)}" if text else "Nobody has signed in to OneDrive yet"
    )
    return NeedsPerson(f"{happened}. Run 'python dev.py sign-in' and sign in", call=call)


def _sign_in_error(answer: Mapping[str, Any]) -> AppError:
    text = str(answer.get("error_description") or answer.get("error") or "no reason given")
    call = RemoteCall(service=SERVICE, operation="sign in", code=error_code_in(text) or str(answer.get("error") or ""))
    match answer.get("error"):
        case "authorization_declined" | "access_denied":
            advice = "Sign in again and accept"
        case "expired_token" | "code_expired" | "authorization_pending":
            advice = "The code was not used in time; start again"
        case "temporarily_unavailable" | "server_error":
            return TryAgain(f"Entra ID cannot process a sign-in right now: {first_line(text)}", call=call)
        case _:
            advice = advice_on(text) or "Check client id and tenant, and that the app allows public client flows"
    return NeedsPerson(f"The sign-in did not succeed: {first_line(text)}. {advice}", call=call)
