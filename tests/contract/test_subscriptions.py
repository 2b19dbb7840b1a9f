"""The simulated Graph keeps the contract of change notifications, and the client copes with what goes wrong there."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from local_cloud import faults
from shared.clients.graph.subscriptions import SubscriptionExists
from shared.errors import AnswerLost, TryAgain
from tests.contract.receiver import Receiver
from tests.contract.simulated import SimulatedGraph
from tests.contract.subscriptions_contract import SubscriptionsContract, SubscriptionsTarget
from tests.world import wait_for


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def target(graph: SimulatedGraph, receiver: Receiver) -> SubscriptionsTarget:
    return SubscriptionsTarget(
        subscriptions=graph.subscriptions(),
        resource=f"/drives/{graph.simulator.drive_id}/root",
        address=receiver.url(),
        other_address=receiver.url("another-key"),
    )


class TestSubscriptions(SubscriptionsContract):
    """The contract, kept by the simulator; but one of its refusals is on the list of what no right client asks for."""

    @pytest.fixture(autouse=True)
    def _excuse_what_is_asked_for_on_purpose(self, graph: SimulatedGraph) -> Iterator[None]:
        yield
        excused = ("is not the root of a drive", "Subscription expiration can only be")
        kept = [each for each in graph.simulator.violations if not any(words in each for words in excused)]
        graph.simulator.violations[:] = kept


def test_a_change_is_told_to_the_address_with_the_client_state(
    target: SubscriptionsTarget, graph: SimulatedGraph, receiver: Receiver
) -> None:
    created = target.create()
    assert receiver.handshakes == 1

    graph.own_folder(graph.onedrive())

    wait_for(lambda: receiver.notifications)
    assert receiver.notifications[0]["clientState"] == "a secret of the tests"
    assert receiver.notifications[0]["subscriptionId"] == created.subscription_id


HANDSHAKES = {
    "an error": {"handshake_status": 500},
    "a sign-in wall": {"handshake_status": 401},
    "another text": {"handshake_text": "hello"},
    "a page": {"handshake_type": "text/html"},
    "accepted without reading": {"handshake_status": 202},
}


@pytest.mark.parametrize("answered", HANDSHAKES.values(), ids=HANDSHAKES)
def test_an_address_that_fails_the_handshake_is_tried_again_later_and_nothing_is_made(
    target: SubscriptionsTarget, receiver: Receiver, answered: dict[str, object]
) -> None:
    for name, value in answered.items():
        setattr(receiver, name, value)

    with pytest.raises(TryAgain, match="did not get its token back") as caught:
        target.create()

    assert not isinstance(caught.value, AnswerLost)
    assert "function-key" not in str(caught.value)
    assert receiver.handshakes == 1
    assert target.listed() == {}


def test_a_lifecycle_address_is_asked_as_well(target: SubscriptionsTarget, receiver: Receiver) -> None:
    target.create(lifecycle_url=target.other_address)

    assert receiver.handshakes == 2


@pytest.mark.parametrize("fault", [faults.lost_after(), faults.status(504, handled=True), faults.cut_body()])
def test_a_subscription_whose_making_was_not_answered_is_found_at_the_next_try(
    target: SubscriptionsTarget, graph: SimulatedGraph, fault: faults.Action
) -> None:
    graph.fault("POST", "/subscriptions", fault)
    with pytest.raises(AnswerLost):
        target.create()

    (made,) = target.listed()
    with pytest.raises(SubscriptionExists) as caught:
        target.create()

    assert caught.value.subscription_id == made


def test_a_redirect_to_nowhere_is_tried_again_later(target: SubscriptionsTarget, graph: SimulatedGraph) -> None:
    created = target.create()
    graph.fault("PATCH", "/subscriptions", faults.status(308))
    graph.fault("DELETE", "/subscriptions", faults.status(308))

    with pytest.raises(TryAgain):
        target.subscriptions.renew(created.subscription_id, expires=datetime.now(UTC) + timedelta(days=9))
    with pytest.raises(TryAgain):
        target.subscriptions.delete(created.subscription_id)
    assert list(target.listed()) == [created.subscription_id]
