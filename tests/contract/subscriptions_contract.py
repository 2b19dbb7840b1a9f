"""What the app relies on in Graph's change notifications, as behaviours of ``clients/graph/subscriptions.py``.

The class runs where a ``target`` fixture says what to run against. The address must be one that Graph can reach.
"""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from shared.clients.graph.subscriptions import LONGEST_LIFE, Subscription, SubscriptionExists, Subscriptions
from shared.errors import NeedsPerson, NotFound
from shared.secret import Secret, SecretUrl


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionsTarget:
    """A drive without a subscription, and an address that answers Graph's handshake."""

    subscriptions: Subscriptions
    resource: str  # "/drives/{id}/root"
    address: SecretUrl
    other_address: SecretUrl

    def create(
        self, *, life: timedelta = timedelta(days=2), resource: str = "", lifecycle_url: SecretUrl | None = None
    ) -> Subscription:
        return self.subscriptions.create(
            resource=resource or self.resource,
            notification_url=self.address,
            client_state=Secret("a secret of the tests"),
            expires=datetime.now(UTC) + life,
            lifecycle_url=lifecycle_url,
        )

    def listed(self) -> dict[str, Subscription]:
        return {one.subscription_id: one for one in self.subscriptions.list()}


def about(moment: datetime, expected: timedelta) -> bool:
    return abs(moment - datetime.now(UTC) - expected) < timedelta(minutes=2)


class SubscriptionsContract:
    def test_a_subscription_tells_what_was_promised(self, target: SubscriptionsTarget) -> None:
        created = target.create(life=timedelta(days=2))

        assert created.subscription_id
        assert created.resource.strip("/") == target.resource.strip("/")
        assert created.notification_url == target.address
        assert about(created.expires, timedelta(days=2))

    def test_a_subscription_is_listed_until_it_is_deleted(self, target: SubscriptionsTarget) -> None:
        created = target.create()
        assert target.listed()[created.subscription_id].resource.strip("/") == target.resource.strip("/")

        target.subscriptions.delete(created.subscription_id)

        assert created.subscription_id not in target.listed()
        with pytest.raises(NotFound):
            target.subscriptions.renew(created.subscription_id, expires=datetime.now(UTC) + timedelta(days=20))
        assert target.create().subscription_id in target.listed()

    def test_a_subscription_that_is_gone_already_may_be_deleted(self, target: SubscriptionsTarget) -> None:
        created = target.create()
        for _ in range(2):
            target.subscriptions.delete(created.subscription_id)
        target.subscriptions.delete(str(uuid.uuid4()))

        assert target.listed() == {}

    def test_a_renewed_subscription_lives_longer_under_its_id(self, target: SubscriptionsTarget) -> None:
        created = target.create(life=timedelta(days=2))

        renewed = target.subscriptions.renew(created.subscription_id, expires=datetime.now(UTC) + timedelta(days=20))

        assert renewed.subscription_id == created.subscription_id
        assert renewed.notification_url == target.address
        assert about(renewed.expires, timedelta(days=20))
        assert about(target.listed()[created.subscription_id].expires, timedelta(days=20))

    def test_a_drive_has_one_subscription_of_an_app_and_a_second_one_names_the_first(
        self, target: SubscriptionsTarget
    ) -> None:
        created = target.create()

        with pytest.raises(SubscriptionExists) as caught:
            target.create()

        assert caught.value.subscription_id == created.subscription_id
        assert list(target.listed()) == [created.subscription_id]

    def test_a_longer_life_than_graph_grants_needs_a_person(self, target: SubscriptionsTarget) -> None:
        with pytest.raises(NeedsPerson, match="expiration"):
            target.create(life=LONGEST_LIFE + timedelta(minutes=10))

        assert target.listed() == {}

    @pytest.mark.parametrize(
        ("asked", "granted"),
        [(LONGEST_LIFE - timedelta(minutes=1),) * 2, (timedelta(minutes=5), timedelta(minutes=45))],
        ids=["the longest", "made longer"],
    )
    def test_a_life_is_granted_as_asked_for_unless_it_is_very_short(
        self, target: SubscriptionsTarget, asked: timedelta, granted: timedelta
    ) -> None:
        assert about(target.create(life=asked).expires, granted)

    def test_only_the_root_of_a_business_drive_can_be_watched(self, target: SubscriptionsTarget) -> None:
        with pytest.raises(NeedsPerson):
            target.create(resource=f"{target.resource}:/Input")
