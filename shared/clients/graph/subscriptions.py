"""Graph's change notifications: ask Graph to call us when something in a drive changes, and keep it asked.

When to renew and what to do with a stranger's subscription is the watch flow's business.
https://learn.microsoft.com/graph/api/resources/subscription
"""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from shared.clients.http.client import Http, json_object
from shared.clients.http.errors import Refusal
from shared.clients.http.links import next_page
from shared.errors import AppError, NeedsPerson, NotFound, RemoteCall, TryAgain
from shared.escapes import path_segment, query_value
from shared.moments import read_moment
from shared.secret import Secret, SecretUrl

# https://learn.microsoft.com/graph/api/resources/subscription#subscription-lifetime
LONGEST_LIFE: Final = timedelta(minutes=42_300)

# Seconds to connect, and to answer. Graph waits 10 for the answer to a handshake.
# https://learn.microsoft.com/graph/change-notifications-delivery-webhooks#notificationurl-validation
HANDSHAKE_TIMEOUT_S: Final = (5.0, 10.0)

_GUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """What Graph has promised to tell us."""

    subscription_id: str
    resource: str  # "/drives/b!.../root", with or without the leading slash
    expires: datetime  # UTC
    notification_url: SecretUrl  # its query holds the function key


class SubscriptionExists(TryAgain):
    """Graph has a subscription of this app for this resource already: adopt it (renew) or delete it first."""

    def __init__(self, message: str, *, subscription_id: str, call: RemoteCall | None = None) -> None:
        """subscription_id: of the one that exists; "" where Graph did not say, then list them."""
        super().__init__(message, call=call)
        self.subscription_id = subscription_id


class Subscriptions:
    """Makes, renews, deletes and lists subscriptions."""

    def __init__(self, graph_url: str, http: Http) -> None:
        """graph_url: with its version: ``https://graph.microsoft.com/v1.0``; http: with the identity's token."""
        self._url = f"{graph_url.rstrip('/')}/subscriptions"
        self._http = http

    def create(
        self,
        *,
        resource: str,
        notification_url: SecretUrl,
        client_state: Secret,
        expires: datetime,
        lifecycle_url: SecretUrl | None = None,
    ) -> Subscription:
        """Subscribe to the changes of a drive; Graph calls notification_url and wants its token back before it answers.

        resource: ``/drives/{id}/root``, without Graph's address.
        client_state: at most 128 characters; comes back in every notification as its only proof of origin.
        expires: at most LONGEST_LIFE from now.
        lifecycle_url: where Graph says that a subscription is in danger; called in the same way.

        Raises SubscriptionExists; TryAgain where the call to notification_url failed (a cold start, often); NeedsPerson
        without permission or with an address that Graph refuses; AnswerLost: list before creating again.
        """
        wire: dict[str, str] = {
            "changeType": "updated",
            "notificationUrl": notification_url.reveal(),
            "resource": resource,
            "expirationDateTime": _wire_time(expires),
            "clientState": client_state.reveal(),
            "latestSupportedTlsVersion": "v1_2",
        }
        if lifecycle_url is not None:
            wire["lifecycleNotificationUrl"] = lifecycle_url.reveal()
        answer = self._http.call(
            "POST",
            self._url,
            operation="create subscription",
            idempotent=False,
            json=wire,
            map_error=partial(_map_error, notified=notification_url),
        )
        return _subscription(json_object(answer))

    def renew(self, subscription_id: str, *, expires: datetime) -> Subscription:
        """Let a subscription live until ``expires`` (at most LONGEST_LIFE from now) and return it.

        Raises NotFound: it is gone, create it anew and look for what was missed; NeedsPerson; TryAgain.
        """
        answer = self._http.call(
            "PATCH",
            f"{self._url}/{path_segment(subscription_id, safe='')}",
            operation="renew subscription",
            idempotent=True,
            json={"expirationDateTime": _wire_time(expires)},
            map_error=_map_error,
        )
        return _subscription(json_object(answer))

    def delete(self, subscription_id: str) -> None:
        """End a subscription; one that is gone already is as good. Raises NeedsPerson, TryAgain."""
        self._http.call(
            "DELETE",
            f"{self._url}/{path_segment(subscription_id, safe='')}",
            operation="delete subscription",
            idempotent=True,
            ok=(200, 202, 204, 404),
            map_error=_map_error,
        )

    def list(self) -> tuple[Subscription, ...]:
        """Return the subscriptions of this app's identity, all pages. Raises NeedsPerson, TryAgain.

        Assumed: with an app's own token these are the app's own subscriptions only.
        """
        found: dict[str, Subscription] = {}
        links: set[str] = set()
        link = self._url
        while link:
            answer = self._http.call("GET", link, operation="list subscriptions", idempotent=True, map_error=_map_error)
            page = json_object(answer)
            listed = page.get("value")
            for one in listed if isinstance(listed, list) else ():
                subscription = _subscription(one)
                found[subscription.subscription_id] = subscription
            if str(page.get("@odata.nextLink")) in links:
                break  # in a circle: all of it was read
            what = "the app's subscriptions"
            link = next_page(page, self._url, links, service="Microsoft Graph", what=what, setting="GRAPH_URL")
        return tuple(found.values())


def shake_hands(notification_url: SecretUrl, http: Http) -> None:
    """Call our own webhook as Graph does before it subscribes, and see that it gives the token back.

    http: without a token. Raises NeedsPerson: another app, another key, no such address; TryAgain: it cannot be
    reached, or does not answer in time.
    """
    token = f"Validation: {uuid.uuid4()}"
    address = notification_url.reveal()
    answer = http.call(
        "POST",
        SecretUrl(f"{address}{'&' if urlsplit(address).query else '?'}validationToken={query_value(token)}"),
        operation="validation handshake",
        idempotent=True,
        data=b"",
        timeout_s=HANDSHAKE_TIMEOUT_S,
        map_error=_map_handshake_error,
    )
    if answer.body != token.encode():
        raise NeedsPerson(
            f"{urlsplit(address).hostname} did not return the token of the handshake, so it is not "
            "receive_notification. NOTIFICATION_URL must be the whole address of that function"
        )


def _map_handshake_error(refusal: Refusal) -> AppError | None:
    match refusal.status:
        case 401 | 403:
            return NeedsPerson(
                f"The webhook refuses the key in NOTIFICATION_URL (HTTP {refusal.status}). Put the function key of "
                "receive_notification after ?code=, and make sure that no sign-in or firewall blocks the address",
                call=refusal.call,
            )
        case 404:
            return NeedsPerson(
                "There is no receive_notification at the address in NOTIFICATION_URL. Check the address; if it is "
                "right, the app could not be loaded",
                call=refusal.call,
            )
        case _:
            return None


def _map_error(refusal: Refusal, *, notified: SecretUrl | None = None) -> AppError | None:
    """What Graph's refusals mean for subscriptions."""
    call, words = refusal.call, refusal.reason
    match refusal.status:
        case 308:
            # Observed for drives that moved to a new backend: no Location, and it goes away by itself.
            # https://github.com/OneDrive/onedrive-api-docs/issues/1895
            return TryAgain(f"Microsoft Graph redirects '{call.operation}' without giving an address", call=call)
        case 404:
            return NotFound(f"Microsoft Graph has no such subscription or drive: {words}", call=call)
        case 409:
            known = _GUID.search(refusal.text)
            return SubscriptionExists(
                f"Microsoft Graph already has this subscription: {words}",
                subscription_id=known.group() if known else "",
                call=call,
            )
        case 400 if notified is not None and _is_about_validation(refusal):
            host = urlsplit(notified.reveal()).hostname
            return TryAgain(
                f"Microsoft Graph called {host} and did not get its token back in time: {words}. If this stays, check "
                "that the app is reachable from the internet under that name and that the function key is right",
                call=call,
            )
        case 403:
            return NeedsPerson(
                f"Microsoft Graph does not permit '{call.operation}': {words}. Grant the permission "
                "Files.ReadWrite.All with consent, or delete subscriptions that nobody needs. Until then the app finds "
                "new files by the scan that runs every minute",
                call=call,
            )
        case _:
            return None


def _is_about_validation(refusal: Refusal) -> bool:
    # A timed-out validation has the code InvalidRequest like many other mistakes, so its text must decide.
    # https://github.com/microsoftgraph/microsoft-graph-docs-contrib/issues/6686
    return refusal.has_code("ValidationError") or "validation" in refusal.text.casefold()


def _subscription(wire: Mapping[str, Any]) -> Subscription:
    try:
        return Subscription(
            subscription_id=str(wire["id"]),
            resource=str(wire.get("resource") or ""),
            expires=read_moment(wire["expirationDateTime"]),
            notification_url=SecretUrl(str(wire.get("notificationUrl") or "")),
        )
    except (KeyError, ValueError) as error:
        raise TryAgain("Microsoft Graph described a subscription without its id or its end") from error


def _wire_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
