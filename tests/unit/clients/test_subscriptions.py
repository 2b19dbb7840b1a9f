"""Subscriptions: what Graph is asked, and which error each of its refusals becomes."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from shared.clients.graph.subscriptions import Subscription, SubscriptionExists, Subscriptions
from shared.clients.http.client import Http
from shared.errors import AppError, NeedsPerson, TryAgain
from shared.secret import Secret, SecretUrl
from tests.unit.clients.scripted import Answer, GraphToken, Received, Server, Step, sample

ID = "7f105c7d-2dc5-4530-97cd-4e7ae6534c07"
URL = SecretUrl("https://app.azurewebsites.net/api/notifications?code=k3y")
EXPIRES = datetime(2026, 10, 20, 11, 0, tzinfo=UTC)
SUBSCRIPTION = Subscription(subscription_id=ID, resource="/drives/b!abc/root", expires=EXPIRES, notification_url=URL)


@contextmanager
def subscriptions_at(server: Server) -> Iterator[Subscriptions]:
    with closing(Http(service="Microsoft Graph", token=GraphToken(), request_id_header="request-id")) as http:
        yield Subscriptions(f"{server.url}/v1.0/", http)


def creating(subscriptions: Subscriptions) -> Subscription:
    return subscriptions.create(
        resource="/drives/b!abc/root", notification_url=URL, client_state=Secret("st4te"), expires=EXPIRES
    )


def renewing(subscriptions: Subscriptions) -> Subscription:
    return subscriptions.renew(ID, expires=EXPIRES)


def error_from(*steps: Step, doing: Callable[[Subscriptions], object]) -> AppError:
    with Server(*steps) as server, subscriptions_at(server) as subscriptions, pytest.raises(AppError) as caught:
        doing(subscriptions)
    return caught.value


def test_a_subscription_is_created_for_updates_with_our_secret() -> None:
    with Server(sample("subscription")) as server, subscriptions_at(server) as subscriptions:
        assert creating(subscriptions) == SUBSCRIPTION
    assert server.requests_line_by_line() == ["POST /v1.0/subscriptions"]
    assert server.received[0].json() == {
        "changeType": "updated",
        "notificationUrl": "https://app.azurewebsites.net/api/notifications?code=k3y",
        "resource": "/drives/b!abc/root",
        "expirationDateTime": "2026-10-20T11:00:00Z",
        "clientState": "st4te",
        "latestSupportedTlsVersion": "v1_2",
    }


def test_a_missing_permission_needs_a_person_and_a_subscription_that_exists_may_have_no_name() -> None:
    error, exists = (
        error_from(answer, doing=creating) for answer in (sample("error_subscription_forbidden"), Answer(status=409))
    )
    assert isinstance(error, NeedsPerson)
    assert "Files.ReadWrite.All" in error.message
    assert isinstance(exists, SubscriptionExists)
    assert exists.subscription_id == ""


def test_all_pages_of_the_list_are_read() -> None:
    body = sample("subscription").body
    assert isinstance(body, dict)

    def page(request: Received) -> Answer:
        if request.target == "/v1.0/subscriptions":
            return Answer(body={"value": [body], "@odata.nextLink": f"{server.url}/v1.0/subscriptions?$skiptoken=2"})
        later = {"id": "other", "expirationDateTime": "2026-10-21T11:00:00.0000000+00:00"}
        return Answer(body={"value": [later], "@odata.nextLink": f"{server.url}/v1.0/subscriptions?$skiptoken=2"})

    with Server(route=page) as server, subscriptions_at(server) as subscriptions:
        found = subscriptions.list()
    assert found[0] == SUBSCRIPTION
    assert (found[1].subscription_id, found[1].expires) == ("other", EXPIRES + timedelta(days=1))
    assert len(server.received) == 2


@pytest.mark.parametrize("body", [{"id": ID}, {"id": ID, "expirationDateTime": None}, {"expirationDateTime": "x"}])
def test_a_subscription_without_id_or_end_is_none(body: dict[str, object]) -> None:
    assert type(error_from(Answer(body=body), doing=renewing)) is TryAgain
