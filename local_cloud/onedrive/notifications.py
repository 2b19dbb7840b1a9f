"""Change notifications on their way to those who subscribed: storms become one, silence is answered with patience.

https://learn.microsoft.com/graph/change-notifications-delivery-webhooks. A notification says that something in the
drive changed, and never what.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import aiohttp
from yarl import URL

from local_cloud.onedrive.knobs import Knobs
from local_cloud.onedrive.subscriptions import Subscription, Subscriptions

TENANT_ID: Final = "84bd8158-6d4d-4958-8b9f-9d6445542f95"
LIFECYCLE_EVENTS: Final = ("reauthorizationRequired", "subscriptionRemoved", "missed")
SLOW_SHARE: Final = 0.10  # more of the answers than that later than delivery_timeout_s: notifications are held back
DROP_SHARE: Final = 0.15  # more than that later than retry_timeout_s: notifications are dropped
DELIVERIES_KEPT: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One POST to a subscriber."""

    url: str  # without its query, which holds a function key
    notifications: int
    attempt: int  # from 1
    status: int | None  # None: no answer in time, or none at all
    took_s: float


@dataclass(slots=True)
class _Receiver:
    """How an address has been answering: when, and how late (seconds)."""

    answers: list[tuple[float, float]] = field(default_factory=list)

    def share(self, later_than_s: float, knobs: Knobs) -> float:
        """Return the share of answers in the window that came later than that; 0 when there are too few to tell."""
        since = time.monotonic() - knobs.slow_window_s * knobs.retry_scale
        self.answers = [each for each in self.answers if each[0] >= since]
        if len(self.answers) < knobs.slow_window_answers:
            return 0.0
        return sum(took_s >= later_than_s for _, took_s in self.answers) / len(self.answers)


class Notifier:
    """Sends notifications from the event loop that `running` was entered in."""

    def __init__(self, subscriptions: Subscriptions, knobs: Knobs, *, site: str) -> None:
        """site: the drive's siteUrl, which some notifications name."""
        self.deliveries: list[Delivery] = []
        self.held_back = 0  # how often notifications were, because the subscriber answers slowly
        self.dropped = 0
        self._subscriptions = subscriptions
        self._knobs = knobs
        self._site = site
        self._receivers: dict[str, _Receiver] = {}
        self._shapes = itertools.count()
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """The client that calls subscribers."""
        if self._session is None:
            raise RuntimeError("the notifier is not running")
        return self._session

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send notifications for what `wake` tells of, until left."""
        self._loop = asyncio.get_running_loop()
        async with aiohttp.ClientSession() as self._session:
            self._start(self._notify_always())
            try:
                yield
            finally:
                self._loop = None
                for task in list(self._tasks):
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    def wake(self) -> None:
        """Say that the drive changed; from any thread."""
        if (loop := self._loop) is not None:
            with contextlib.suppress(RuntimeError):  # the loop was closed in this very moment
                loop.call_soon_threadsafe(self._changed.set)

    def send_lifecycle(self, event: str) -> int:
        """Send a lifecycle event to all who gave an address for those; return how many. From the event loop only."""
        sent = 0
        for subscription in self._subscriptions.alive():
            if subscription.lifecycle_url is not None:
                self._start(self._deliver(subscription.lifecycle_url, [(None, self._lifecycle(subscription, event))]))
                sent += 1
            if event == "subscriptionRemoved":
                self._subscriptions.forget(subscription.subscription_id)
        return sent

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _notify_always(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(self._knobs.notification_delay_s)
            self._changed.clear()
            if not self._knobs.lose_notifications:
                self._notify_all()

    def _notify_all(self) -> None:
        by_url: dict[str, list[Subscription]] = {}
        for subscription in self._subscriptions.alive():
            by_url.setdefault(subscription.notification_url, []).append(subscription)
        for url, subscriptions in by_url.items():
            notifications = [
                (subscription.subscription_id, self._notification(subscription))
                for subscription in subscriptions
                for _copy in range(self._knobs.notification_copies)
            ]
            self._start(self._deliver(url, notifications))

    async def _deliver(self, url: str, notifications: Sequence[tuple[str | None, dict[str, object]]]) -> None:
        """Send until it is taken or time is up; what belongs to a subscription goes only as long as that is alive."""
        receiver = self._receivers.setdefault(url, _Receiver())
        if receiver.share(self._knobs.retry_timeout_s, self._knobs) > DROP_SHARE:
            self.dropped += 1
            return
        if receiver.share(self._knobs.delivery_timeout_s, self._knobs) > SLOW_SHARE:
            self.held_back += 1
            await asyncio.sleep(self._knobs.slow_window_s * self._knobs.retry_scale)
        began = time.monotonic()
        pause_s = self._knobs.retry_first_s * self._knobs.retry_scale
        for attempt in itertools.count(1):
            alive = {None, *(each.subscription_id for each in self._subscriptions.alive())}
            still = [value for subscription_id, value in notifications if subscription_id in alive]
            if not still or await self._post(url, still, attempt, receiver):
                return
            if time.monotonic() + pause_s > began + self._knobs.retry_for_s * self._knobs.retry_scale:
                return
            await asyncio.sleep(pause_s)
            pause_s *= 2

    async def _post(self, url: str, notifications: list[dict[str, object]], attempt: int, receiver: _Receiver) -> bool:
        timeout_s = self._knobs.delivery_timeout_s if attempt == 1 else self._knobs.retry_timeout_s
        began, status = time.monotonic(), None
        with contextlib.suppress(TimeoutError, aiohttp.ClientError):
            async with self.session.post(
                URL(url, encoded=True),
                json={"value": notifications},
                timeout=aiohttp.ClientTimeout(total=timeout_s),
                allow_redirects=False,
            ) as response:
                status = response.status
        took_s = time.monotonic() - began
        receiver.answers.append((time.monotonic(), took_s))
        self.deliveries.append(
            Delivery(
                url=url.partition("?")[0],
                notifications=len(notifications),
                attempt=attempt,
                status=status,
                took_s=took_s,
            )
        )
        del self.deliveries[:-DELIVERIES_KEPT]
        return status is not None and 200 <= status < 300

    def _notification(self, subscription: Subscription) -> dict[str, object]:
        """Return a notification in one of the shapes that have been seen, each in its turn."""
        said: dict[str, object] = {
            "subscriptionId": subscription.subscription_id,
            "clientState": subscription.client_state,
            "changeType": subscription.change_type,
        }
        resource = subscription.resource.removeprefix("/")
        expires = datetime.fromtimestamp(int(subscription.expires_s), UTC)
        zulu, offset = expires.strftime("%Y-%m-%dT%H:%M:%S.0000000Z"), expires.isoformat()
        match next(self._shapes) % 3:
            case 0:
                said |= {"resource": resource, "subscriptionExpirationDateTime": zulu, "resourceData": None}
            case 1:
                said |= {
                    "resource": resource,
                    "subscriptionExpirationDateTime": offset,
                    "tenantId": TENANT_ID,
                    "resourceData": {"@odata.type": "#Microsoft.Graph.driveItem"},
                    "siteUrl": self._site,
                    "webId": "dbc5a806-e4d4-46e5-951c-6344d70b62fa",
                }
            case _:
                said |= {"resource": f"/{resource}", "subscriptionExpirationDateTime": zulu, "tenantId": TENANT_ID}
        return said

    def _lifecycle(self, subscription: Subscription, event: str) -> dict[str, object]:
        expires = datetime.fromtimestamp(int(subscription.expires_s), UTC)
        return {
            "subscriptionId": subscription.subscription_id,
            "subscriptionExpirationDateTime": expires.strftime("%Y-%m-%dT%H:%M:%S.0000000Z"),
            "tenantId": TENANT_ID,
            "clientState": subscription.client_state,
            "lifecycleEvent": event,
        }
