"""The real Graph keeps the contract of change notifications."""

import pytest

from tests.contract.subscriptions_contract import SubscriptionsContract, SubscriptionsTarget


@pytest.fixture
def target(subscriptions_target: SubscriptionsTarget) -> SubscriptionsTarget:
    return subscriptions_target


class TestSubscriptions(SubscriptionsContract):
    """The contract; what the tests make is deleted after each."""
