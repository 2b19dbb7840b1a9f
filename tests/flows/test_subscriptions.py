"""Graph's subscription is created, renewed, adopted and replaced without anybody's help."""

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from local_cloud import faults
from shared.errors import TryAgain
from shared.secret import Secret, SecretUrl
from tests.contract.receiver import Receiver
from tests.flows.conftest import MakeNotified, MakeWorld
from tests.flows.trouble import graph_fault, imports_of, of_graph, restart
from tests.world import World

THREE_IMPORTS: Final = imports_of("customers", "vendors", "assets")


@pytest.fixture
def world(make_notified: MakeNotified) -> World:
    """A world whose app Graph can call."""
    return make_notified()


def subscription_id(world: World) -> str:
    (subscription,) = world.onedrive.subscriptions
    return subscription.subscription_id


def created(world: World) -> int:
    return sum(call.method == "POST" and call.path.endswith("/subscriptions") for call in world.faults.calls)


def renewed(world: World) -> int:
    return sum(call.method == "PATCH" and "/subscriptions/" in call.path for call in world.faults.calls)


def test_the_app_subscribes_by_itself_once(world: World, receiver: Receiver) -> None:
    for _ in range(3):
        world.keep_watch()

    (subscription,) = world.onedrive.subscriptions
    assert subscription.resource == f"/drives/{world.onedrive.drive_id}/root"
    assert subscription.notification_url == receiver.url().reveal()
    assert subscription.client_state == "the-first-secret-of-the-tests"
    assert (created(world), renewed(world), receiver.handshakes) == (1, 0, 1)


def test_without_an_address_nothing_is_subscribed(make_world: MakeWorld) -> None:
    world = make_world()

    world.keep_watch()

    assert world.onedrive.subscriptions == []
    assert created(world) == 0


def test_a_drive_with_many_imports_has_one_subscription(make_notified: MakeNotified) -> None:
    world = make_notified(INTEGRATIONS=THREE_IMPORTS)

    world.keep_watch()

    assert len(world.onedrive.subscriptions) == 1


def test_a_subscription_is_renewed_once_a_day_and_keeps_its_id(world: World) -> None:
    world.keep_watch()
    before = world.onedrive.subscriptions[0]
    world.clock.advance(23 * 3600)
    world.keep_watch()
    assert renewed(world) == 0

    world.clock.advance(2 * 3600)
    for _ in range(2):
        world.keep_watch()

    after = world.onedrive.subscriptions[0]
    assert renewed(world) == 1
    assert after.subscription_id == before.subscription_id
    assert after.expires_s - before.expires_s == pytest.approx(25 * 3600, abs=2)


def test_a_subscription_that_graph_has_dropped_is_made_anew_at_its_renewal(world: World) -> None:
    world.keep_watch()
    first = subscription_id(world)
    world.onedrive.forget_subscription(first)
    world.clock.advance(25 * 3600)

    world.keep_watch()

    assert subscription_id(world) != first
    assert (created(world), renewed(world)) == (2, 1)


def test_a_subscription_that_graph_has_of_us_already_is_adopted(world: World, receiver: Receiver) -> None:
    """The note of it was lost, or another process made it a moment ago."""
    existing = subscribe(world, receiver.url())

    world.keep_watch()

    assert subscription_id(world) == existing
    assert (created(world), renewed(world)) == (2, 1)
    world.keep_watch()
    assert renewed(world) == 1


def subscribe(world: World, address: SecretUrl) -> str:
    """Subscribe with this app's identity, outside of the flow; return the id."""
    made = world.services.subscriptions.create(
        resource=f"/drives/{world.onedrive.drive_id}/root",
        notification_url=address,
        client_state=Secret("the-first-secret-of-the-tests"),
        expires=datetime.now(UTC) + timedelta(days=1),
    )
    return made.subscription_id


def test_a_subscription_with_another_address_is_replaced(world: World, receiver: Receiver) -> None:
    existing = subscribe(world, receiver.url("an-old-key"))

    world.keep_watch()

    (subscription,) = world.onedrive.subscriptions
    assert subscription.subscription_id != existing
    assert subscription.notification_url == receiver.url().reveal()


@pytest.mark.parametrize("changed", ["NOTIFICATION_URL", "CLIENT_STATE"])
def test_a_new_address_or_client_state_in_the_settings_replaces_the_subscription(
    world: World, receiver: Receiver, changed: str
) -> None:
    world.keep_watch()
    first = subscription_id(world)
    new = {"NOTIFICATION_URL": receiver.url("new-key").reveal(), "CLIENT_STATE": "the-second-secret-of-the-tests"}

    restart(world, **{changed: new[changed]})
    world.keep_watch()

    (subscription,) = world.onedrive.subscriptions
    assert subscription.subscription_id != first
    assert new[changed] in (subscription.notification_url, subscription.client_state)


def test_an_app_that_cannot_be_reached_yet_is_subscribed_by_a_later_tick(world: World, receiver: Receiver) -> None:
    world.put("USMF_1.zip")
    receiver.handshake_status = 503
    with pytest.raises(TryAgain):
        world.keep_watch()
    assert len(world.heads()) == 1  # files are found all the same

    receiver.handshake_status = 200
    world.keep_watch()

    assert len(world.onedrive.subscriptions) == 1


def test_a_refusal_that_does_not_name_the_subscription_lets_it_be_looked_up(world: World, receiver: Receiver) -> None:
    existing = subscribe(world, receiver.url())
    refusal = of_graph("ObjectIdentifierInUse", "exists")
    world.faults.add(graph_fault("POST", "/subscriptions", faults.status(409, body=refusal)))

    world.keep_watch()

    assert subscription_id(world) == existing
    assert renewed(world) == 1


def test_neither_address_nor_secret_is_kept_in_the_apps_notes(world: World) -> None:
    world.keep_watch()

    written = world.written()
    assert subscription_id(world) in written
    assert "function-key" not in written
    assert "secret-of-the-tests" not in written
