"""Keeps Graph's subscriptions alive: one for each drive that has an Input folder. The client is ``clients/graph``.

What is known of a subscription is a checkpoint: its id, since when and until when it lives, when it was renewed, and a
fingerprint of the address and clientState that it was made with.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from shared.app import Services
from shared.azure_storage.checkpoints import Checkpoint
from shared.clients.graph.subscriptions import Subscription, SubscriptionExists
from shared.concurrency import sum_results
from shared.errors import NeedsPerson, NotFound, TryAgain
from shared.log import log
from shared.moments import moment_or_none

# Graph accepts at most 42,300 minutes for a drive. https://learn.microsoft.com/graph/api/resources/subscription
SUBSCRIPTION_LIFE: Final = timedelta(minutes=42_000)
# It is renewed long before its end, so that weeks of failures of Graph do no harm; and one that Graph has silently
# dropped is missed within a day.
RENEW_EVERY: Final = timedelta(days=1)
# People hear of temporary failures to renew it when they have lasted for two days.
REPORT_UNRENEWED_AFTER: Final = timedelta(days=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionState:
    """What the app knows of its subscription to the changes of a drive."""

    drive: str
    since: datetime | None  # None: an older version of the app has saved it
    until: datetime


def subscribed_drives(services: Services) -> list[str]:
    """Return the drives that have an Input folder, in order; each has a subscription if NOTIFICATION_URL is set."""
    return sorted({flow.drive for flow in services.settings.flows.imports})


def read_states(services: Services) -> tuple[SubscriptionState, ...]:
    """Return what is known of each subscription there is, by drive. Raises TryAgain and NeedsPerson of storage."""
    return tuple(state for drive in subscribed_drives(services) if (state := _state_of(drive, services)))


def _state_of(drive: str, services: Services) -> SubscriptionState | None:
    saved = services.checkpoints.read(subscription_checkpoint(drive)).content
    until = moment_or_none(saved.get("expires"))
    if "id" not in saved or until is None:
        return None
    return SubscriptionState(drive=drive, since=moment_or_none(saved.get("since")), until=until)


def keep_subscriptions(services: Services, *, limit_s: float, in_doubt: bool = False) -> int:
    """Create or renew the subscription of each drive that has an Input folder; return how many were.

    Nothing is done without NOTIFICATION_URL, nor within a day of the last renewal.
    in_doubt: renew now, which shows whether Graph still has the subscription.
    """
    if not services.settings.notification_url:
        return 0
    work = {
        f"keep subscription of {drive}": partial(_keep_subscription, drive, services, in_doubt=in_doubt)
        for drive in subscribed_drives(services)
    }
    return sum_results(services.duties.attempt_all(work, limit_s=limit_s))


def _keep_subscription(drive: str, services: Services, *, in_doubt: bool) -> bool:
    name = subscription_checkpoint(drive)
    mark = services.checkpoints.read(name)
    wanted = _fingerprint(services)
    is_ours = mark.content.get("address") == wanted
    renewed = moment_or_none(mark.content.get("renewed"))
    if is_ours and not in_doubt and renewed and services.now() - renewed < RENEW_EVERY:
        return False
    if not is_ours and "id" in mark.content:
        # The address or the clientState has changed; Graph cannot change a clientState, so the old one goes.
        services.subscriptions.delete(mark.content["id"])
        mark.content.clear()
    try:
        subscription = _renew(mark, services) or _create(drive, services)
    except TryAgain as error:
        raise _as_overdue(drive, mark, error, services) or error from error
    now = services.now().isoformat()
    is_known = mark.content.get("id") == subscription.subscription_id
    mark.content = {
        "id": subscription.subscription_id,
        "since": mark.content.get("since", "") if is_known else now,  # checkpoints of older versions lack it
        "expires": subscription.expires.isoformat(),
        "renewed": now,
        "address": wanted,
    }
    services.checkpoints.write(name, mark)
    log.info(
        "subscription.kept", drive=drive, subscription_id=subscription.subscription_id, expires=subscription.expires
    )
    return True


def subscription_checkpoint(drive: str) -> str:
    """Return the name of the checkpoint of a drive's subscription."""
    return f"subscription-{hashlib.sha256(drive.encode()).hexdigest()[:12]}"


def _as_overdue(drive: str, mark: Checkpoint, error: TryAgain, services: Services) -> NeedsPerson | None:
    """Return the error for people if a subscription could not be renewed for long; None if it is not long yet."""
    renewed, expires = moment_or_none(mark.content.get("renewed")), moment_or_none(mark.content.get("expires"))
    if not renewed or services.now() - renewed < REPORT_UNRENEWED_AFTER:
        return None
    ends = f" and expires on {expires:%Y-%m-%d}" if expires else ""
    return NeedsPerson(
        f"Graph's subscription for {drive} has not been renewed since {renewed:%Y-%m-%d}{ends}: {error.message}. "
        "Once it has expired, files are found up to a minute late. Check the service health of Microsoft Graph and the "
        "network between it and the app",
        call=error.call,
    )


def _renew(mark: Checkpoint, services: Services) -> Subscription | None:
    """Renew the subscription of the checkpoint and return it; None if there is none any more."""
    if "id" not in mark.content:
        return None
    try:
        return services.subscriptions.renew(mark.content["id"], expires=services.now() + SUBSCRIPTION_LIFE)
    except NotFound:
        log.warning("subscription.gone", subscription_id=mark.content["id"])
        return None


def _create(drive: str, services: Services) -> Subscription:
    """Create a subscription, or adopt the one that Graph has of this app already if it calls our address."""
    address, client_state = services.notified_at()
    resource = f"/drives/{services.onedrive(drive).drive_id()}/root"
    expires = services.now() + SUBSCRIPTION_LIFE

    def create() -> Subscription:
        return services.subscriptions.create(
            resource=resource, notification_url=address, client_state=client_state, expires=expires
        )

    try:
        return create()
    except SubscriptionExists as error:
        existing_id = error.subscription_id or _id_of(resource, services)
    adopted = services.subscriptions.renew(existing_id, expires=expires)
    if adopted.notification_url == address:
        log.info("subscription.adopted", drive=drive, subscription_id=existing_id)
        return adopted
    log.warning("subscription.replaced", drive=drive, subscription_id=existing_id)
    services.subscriptions.delete(existing_id)
    return create()


def _id_of(resource: str, services: Services) -> str:
    """Return the id of the subscription that Graph has for a drive, if its refusal did not name it."""
    for subscription in services.subscriptions.list():
        if subscription.resource.strip("/") == resource.strip("/"):
            return subscription.subscription_id
    raise NotFound(f"Microsoft Graph already has a subscription for {resource} but does not list it")


def _fingerprint(services: Services) -> str:
    """Return a text that changes with the address or the clientState and reveals neither."""
    return hashlib.sha256("\n".join(part.reveal() for part in services.notified_at()).encode()).hexdigest()
