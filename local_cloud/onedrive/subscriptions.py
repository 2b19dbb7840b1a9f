"""Subscriptions to changes of the drive: making them (with the handshake), renewing and losing them.

https://learn.microsoft.com/graph/api/resources/subscription. What is sent to them is in notifications.py.
"""

import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote_plus

import aiohttp
from yarl import URL

from local_cloud.onedrive.errors import GraphError, misuse
from local_cloud.onedrive.knobs import Knobs
from local_cloud.onedrive.wire import seconds_of, text_of, utc_text

LONGEST_LIFE_S: Final = 42_300 * 60
SHORTEST_LIFE_S: Final = 45 * 60
LONGEST_CLIENT_STATE: Final = 128  # characters
TLS_VERSIONS: Final = ("v1_0", "v1_1", "v1_2", "v1_3")
CREATE_FIELDS: Final = (
    "changeType",
    "notificationUrl",
    "lifecycleNotificationUrl",
    "resource",
    "expirationDateTime",
    "clientState",
    "latestSupportedTlsVersion",
    "includeResourceData",
)
UPDATE_FIELDS: Final = ("expirationDateTime", "notificationUrl")
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    subscription_id: str
    app_id: str
    user: str | None
    resource: str
    change_type: str
    notification_url: str
    lifecycle_url: str | None
    client_state: str | None
    tls_version: str
    expires_s: float  # seconds since the epoch

    def to_json(self) -> dict[str, object]:
        return {
            "id": self.subscription_id,
            "resource": self.resource,
            "applicationId": self.app_id,
            "changeType": self.change_type,
            "clientState": self.client_state,
            "notificationUrl": self.notification_url,
            "lifecycleNotificationUrl": self.lifecycle_url,
            "expirationDateTime": utc_text(self.expires_s),
            "creatorId": self.user or self.app_id,
            "latestSupportedTlsVersion": self.tls_version,
            "notificationQueryOptions": None,
            "notificationUrlAppId": None,
            "includeResourceData": None,
            "encryptionCertificate": None,
            "encryptionCertificateId": None,
        }


class Subscriptions:
    """The living subscriptions, each app's own. Thread-safe."""

    def __init__(self, knobs: Knobs, clock: Callable[[], float]) -> None:
        self._knobs = knobs
        self._clock = clock
        self._lock = threading.Lock()
        self._subscriptions: dict[str, Subscription] = {}

    async def create(
        self,
        body: Mapping[str, object],
        *,
        app_id: str,
        user: str | None,
        is_drive_root: Callable[[str], bool],
        session: aiohttp.ClientSession,
    ) -> Subscription:
        """Check everything, have both addresses validated, and return the new subscription. Raises GraphError 400, 409.

        is_drive_root: says whether a resource, without a slash in front, is the root of the drive that there is.
        """
        resource = text_of(body, "resource")
        if resource is None or not is_drive_root(resource.removeprefix("/")):
            raise misuse(f"Resource '{resource}' is not the root of a drive.", code="InvalidRequest")
        wanted = self._wanted(body, resource, app_id, user)
        self._refuse_duplicate(wanted)
        for url in (wanted.notification_url, wanted.lifecycle_url):
            if url is not None:
                await validate(url, session, timeout_s=self._knobs.validation_timeout_s)
        self._refuse_duplicate(wanted)
        self.remember(wanted)
        return wanted

    def remember(self, subscription: Subscription) -> None:
        """Have a subscription, checked already."""
        with self._lock:
            self._subscriptions[subscription.subscription_id] = subscription

    async def update(
        self, subscription_id: str, body: Mapping[str, object], *, app_id: str, session: aiohttp.ClientSession
    ) -> Subscription:
        """Return the renewed subscription. Raises GraphError 400, 404."""
        known = self.get(subscription_id, app_id=app_id)
        url = text_of(body, "notificationUrl")
        if url is not None and url != known.notification_url:
            _check_url(url, "notificationUrl")
            await validate(url, session, timeout_s=self._knobs.validation_timeout_s)
        expiration = text_of(body, "expirationDateTime")
        if url is None and expiration is None:
            raise misuse("Nothing to update: expirationDateTime or notificationUrl.", code="InvalidRequest")
        changed = replace(
            known,
            notification_url=url or known.notification_url,
            expires_s=known.expires_s if expiration is None else self._expiry(expiration),
        )
        with self._lock:
            self._subscriptions[subscription_id] = changed
        return changed

    def get(self, subscription_id: str, *, app_id: str) -> Subscription:
        """Raises GraphError 404."""
        found = next((each for each in self.alive(app_id=app_id) if each.subscription_id == subscription_id), None)
        if found is None:
            raise GraphError(404, "ResourceNotFound", "The object was not found.")
        return found

    def delete(self, subscription_id: str, *, app_id: str) -> None:
        """Raises GraphError 404."""
        self.get(subscription_id, app_id=app_id)
        self.forget(subscription_id)

    def forget(self, subscription_id: str) -> None:
        """Let a subscription be gone without a word, as happens in the real service."""
        with self._lock:
            self._subscriptions.pop(subscription_id, None)

    def alive(self, *, app_id: str | None = None) -> list[Subscription]:
        """Return what has not expired, of one app or of all."""
        now = self._clock()
        with self._lock:
            self._subscriptions = {
                each.subscription_id: each for each in self._subscriptions.values() if each.expires_s > now
            }
            return [each for each in self._subscriptions.values() if app_id in (None, each.app_id)]

    def _wanted(self, body: Mapping[str, object], resource: str, app_id: str, user: str | None) -> Subscription:
        if body.get("includeResourceData"):
            raise misuse("File Services workload is not enabled for rich notifications.", code="InvalidRequest")
        if text_of(body, "changeType") != "updated":
            raise misuse("changeType on a drive's root can only be updated.", code="InvalidRequest")
        client_state = text_of(body, "clientState")
        if client_state is not None and len(client_state) > LONGEST_CLIENT_STATE:
            raise misuse(f"clientState is longer than {LONGEST_CLIENT_STATE} characters.", code="InvalidRequest")
        tls_version = text_of(body, "latestSupportedTlsVersion") or "v1_2"
        if tls_version not in TLS_VERSIONS:
            raise misuse(f"latestSupportedTlsVersion is not one of {', '.join(TLS_VERSIONS)}.", code="InvalidRequest")
        url, expiration = text_of(body, "notificationUrl"), text_of(body, "expirationDateTime")
        if url is None or expiration is None:
            raise misuse("notificationUrl and expirationDateTime are required.", code="InvalidRequest")
        lifecycle_url = text_of(body, "lifecycleNotificationUrl")
        _check_url(url, "notificationUrl")
        if lifecycle_url is not None:
            _check_url(lifecycle_url, "lifecycleNotificationUrl")
        return Subscription(
            subscription_id=str(uuid.uuid4()),
            app_id=app_id,
            user=user,
            resource=resource,
            change_type="updated",
            notification_url=url,
            lifecycle_url=lifecycle_url,
            client_state=client_state,
            tls_version=tls_version,
            expires_s=self._expiry(expiration),
        )

    def _expiry(self, text: str) -> float:
        asked, now = seconds_of(text, "expirationDateTime"), self._clock()
        if asked > now + LONGEST_LIFE_S:
            raise misuse(
                f"Subscription expiration can only be {LONGEST_LIFE_S // 60} minutes in the future.",
                code="InvalidRequest",
            )
        return max(asked, now + SHORTEST_LIFE_S)

    def _refuse_duplicate(self, wanted: Subscription) -> None:
        for each in self.alive(app_id=wanted.app_id):
            if (each.resource, each.change_type) == (wanted.resource, wanted.change_type):
                raise GraphError(
                    409,
                    "ObjectIdentifierInUse",
                    f"Subscription Id {each.subscription_id} already exists for the requested combination",
                )


async def validate(url: str, session: aiohttp.ClientSession, *, timeout_s: float) -> None:
    """Ask an address whether it wants notifications. Raises GraphError 400 unless it echoes the token in time.

    https://learn.microsoft.com/graph/change-notifications-delivery-webhooks#notificationurl-validation
    """
    token = f"Validation: Testing client application reachability for subscription Request-Id: {uuid.uuid4()}"
    # quote_plus: a space travels as "+", which a receiver must decode.
    asked = f"{url}{'&' if '?' in url else '?'}validationToken={quote_plus(token)}"
    try:
        async with session.post(
            URL(asked, encoded=True),
            data=b"",
            headers={"Content-Type": "text/plain; charset=utf-8"},
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            allow_redirects=False,
        ) as response:
            status, content_type, said = response.status, response.content_type, await response.text()
    except TimeoutError:
        raise GraphError(400, "InvalidRequest", "Subscription validation request timed out.") from None
    except aiohttp.ClientError:
        status, content_type, said = 0, "", ""
    if status != 200:
        raise _not_validated("Notification endpoint must respond with 200 OK to validation request.")
    # Assumed: the words for these two; the rule itself is documented.
    if content_type != "text/plain":
        raise _not_validated("Notification endpoint must respond with the content type text/plain.")
    if said != token:
        raise _not_validated("Response must exactly match validationToken query parameter.")


def _not_validated(reason: str) -> GraphError:
    return GraphError(400, "ValidationError", f"Subscription validation request failed. {reason}")


def _check_url(url: str, name: str) -> None:
    """Raise Misuse unless the address is on this machine: a simulator calls nothing outside."""
    host = URL(url).host if url.startswith(("http://", "https://")) else None
    if host not in LOOPBACK:
        raise misuse(f"{name} {url.partition('?')[0]} is not an address on loopback.", code="InvalidRequest")
