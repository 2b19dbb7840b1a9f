"""Subscriptions and their notifications: graph_onedrive §1."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import requests

from tests.unit.local_cloud.onedrive.graph import DEADLINE_S, Clock, Graph, code_of, wait_until
from tests.unit.local_cloud.onedrive.subscriber import Subscriber


def ahead(clock: Clock, minutes: float) -> str:
    moment = datetime.fromtimestamp(clock(), UTC) + timedelta(minutes=minutes)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.0000000Z")


def wanted(graph: Graph, subscriber: Subscriber, **changes: object) -> dict[str, object]:
    body: dict[str, object] = {
        "changeType": "updated",
        "notificationUrl": f"{subscriber.url}?code=the%2Fkey",
        "resource": "/drives/b!local/root",
        "expirationDateTime": ahead(graph.clock, 1000),
        "clientState": "secret",
    }
    return {name: value for name, value in (body | changes).items() if value is not None}


def subscribe(graph: Graph, subscriber: Subscriber, **changes: object) -> dict[str, Any]:
    response = graph.post("/subscriptions", wanted(graph, subscriber, **changes))
    assert response.status_code == 201, response.text
    body: dict[str, Any] = response.json()
    return body


def expires(subscription: dict[str, Any]) -> float:
    return datetime.fromisoformat(subscription["expirationDateTime"]).timestamp()


def test_a_subscription_is_made_after_a_handshake(graph: Graph, subscriber: Subscriber) -> None:
    """§1.1, §1.2: POST with validationToken added to the address, + for a space, text/plain, no body."""
    made = subscribe(graph, subscriber, latestSupportedTlsVersion="v1_2")
    UUID(made["id"])
    assert (made["resource"], made["changeType"], made["clientState"]) == ("/drives/b!local/root", "updated", "secret")
    assert made["applicationId"] == "the-app"
    (handshake,) = subscriber.handshakes
    assert handshake.query["code"] == "the/key"
    assert handshake.query["validationToken"].startswith("Validation: Testing client application reachability")
    assert "+" in handshake.rel_url.raw_query_string
    assert handshake.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert handshake.headers["Content-Length"] == "0"
    assert graph.violations == []


def test_the_lifecycle_address_is_validated_too(graph: Graph, subscriber: Subscriber) -> None:
    """§1.2: separately."""
    subscribe(graph, subscriber, lifecycleNotificationUrl=subscriber.lifecycle_url)
    assert [each.path for each in subscriber.handshakes] == ["/notify", "/lifecycle"]


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("handshake_status", 202),
        ("handshake_status", 401),
        ("handshake_type", "text/html"),
        ("handshake_answer", "Validation%3A+Testing"),
    ],
)
def test_an_address_that_does_not_echo_the_token_gets_no_subscription(
    graph: Graph, subscriber: Subscriber, attribute: str, value: object
) -> None:
    """§1.2: 400 and nothing is created."""
    setattr(subscriber, attribute, value)
    response = graph.post("/subscriptions", wanted(graph, subscriber))
    assert (response.status_code, code_of(response)) == (400, "ValidationError")
    assert response.json()["error"]["message"].startswith("Subscription validation request failed.")
    assert graph.get("/subscriptions").json()["value"] == []
    assert graph.violations == []


def test_an_address_that_answers_too_late_gets_no_subscription(graph: Graph, subscriber: Subscriber) -> None:
    """§1.2: within 10 s, and its own shape of 400."""
    graph.knobs.validation_timeout_s = 0.05
    subscriber.silent_s = 0.2
    response = graph.post("/subscriptions", wanted(graph, subscriber))
    assert (response.status_code, code_of(response)) == (400, "InvalidRequest")
    assert response.json()["error"]["message"] == "Subscription validation request timed out."


def test_an_address_that_nobody_listens_at_gets_no_subscription(graph: Graph, subscriber: Subscriber) -> None:
    response = graph.post("/subscriptions", wanted(graph, subscriber, notificationUrl="http://127.0.0.1:9/notify"))
    assert (response.status_code, code_of(response)) == (400, "ValidationError")


@pytest.mark.parametrize(
    "changes",
    [
        {"changeType": "created"},
        {"changeType": "updated,deleted"},
        {"resource": "/drives/b!other/root"},
        {"resource": "https://graph.microsoft.com/v1.0/drives/b!local/root"},
        {"resource": "/drives/b!local/items/01X"},
        {"clientState": "x" * 129},
        {"latestSupportedTlsVersion": "v1_4"},
        {"includeResourceData": True},
        {"expirationDateTime": "2026-10-20T11:00:00"},
        {"expirationDateTime": None},
        {"notificationUrl": "https://example.com/notify"},
        {"vapidPublicKey": "x"},
    ],
)
def test_a_subscription_that_cannot_be_is_refused(
    graph: Graph, subscriber: Subscriber, changes: dict[str, object]
) -> None:
    """§1.1: changeType, resource, clientState, rich notifications, unknown properties."""
    assert graph.post("/subscriptions", wanted(graph, subscriber, **changes)).status_code == 400
    assert len(graph.violations) == 1
    assert subscriber.handshakes == []


@pytest.mark.parametrize("resource", ["drives/b!local/root", "users/anna@contoso.com/drive/root", "/me/drive/root"])
def test_the_root_has_several_names_for_a_subscription(graph: Graph, subscriber: Subscriber, resource: str) -> None:
    assert subscribe(graph, subscriber, resource=resource)["resource"] == resource


def test_a_life_that_is_too_short_is_made_longer(graph: Graph, subscriber: Subscriber, clock: Clock) -> None:
    """§1.1: anything below 45 minutes is silently raised."""
    made = subscribe(graph, subscriber, expirationDateTime=ahead(clock, 1))
    assert expires(made) - clock() == pytest.approx(45 * 60, abs=1)


def test_a_life_that_is_too_long_is_refused(graph: Graph, subscriber: Subscriber, clock: Clock) -> None:
    """§1.1: 42,300 minutes at most."""
    subscribe(graph, subscriber, expirationDateTime=ahead(clock, 42_300))
    response = graph.post(
        "/subscriptions",
        wanted(graph, subscriber, resource="drives/b!local/root", expirationDateTime=ahead(clock, 42_301)),
    )
    assert response.status_code == 400
    message = response.json()["error"]["message"]
    assert message == "Subscription expiration can only be 42300 minutes in the future."


def test_the_same_subscription_twice_is_a_conflict_that_names_the_first(graph: Graph, subscriber: Subscriber) -> None:
    """§1.5: 409 ObjectIdentifierInUse."""
    made = subscribe(graph, subscriber)
    again = graph.post("/subscriptions", wanted(graph, subscriber, clientState="another"))
    assert (again.status_code, code_of(again)) == (409, "ObjectIdentifierInUse")
    assert made["id"] in again.json()["error"]["message"]
    assert graph.violations == []


def test_a_subscription_is_renewed_moved_and_deleted(graph: Graph, subscriber: Subscriber, clock: Clock) -> None:
    """§1.5: PATCH, reauthorize, DELETE; a new address is validated."""
    path = f"/subscriptions/{subscribe(graph, subscriber)['id']}"
    renewed = graph.patch(path, {"expirationDateTime": ahead(clock, 2000)})
    assert renewed.status_code == 200
    assert expires(renewed.json()) == pytest.approx(clock() + 2000 * 60, abs=1)
    moved = graph.patch(path, {"notificationUrl": subscriber.lifecycle_url})
    assert (moved.status_code, subscriber.handshakes[-1].path) == (200, "/lifecycle")
    assert graph.call("POST", f"{path}/reauthorize").status_code == 204
    assert graph.get(path).json()["notificationUrl"] == subscriber.lifecycle_url
    assert graph.call("DELETE", path).status_code == 204
    for response in (
        graph.call("DELETE", path),
        graph.get(path),
        graph.patch(path, {"expirationDateTime": ahead(clock, 9)}),
    ):
        assert (response.status_code, code_of(response)) == (404, "ResourceNotFound")
    assert graph.violations == []


def test_what_cannot_be_changed_about_a_subscription_is_refused(graph: Graph, subscriber: Subscriber) -> None:
    """§1.5: clientState and the lifecycle address are set for good."""
    path = f"/subscriptions/{subscribe(graph, subscriber)['id']}"
    assert graph.patch(path, {"clientState": "new"}).status_code == 400
    assert graph.patch(path, {"lifecycleNotificationUrl": subscriber.lifecycle_url}).status_code == 400


def test_a_subscription_ends_with_its_time(graph: Graph, subscriber: Subscriber, clock: Clock) -> None:
    """§1.5: a renewal then gives 404."""
    made = subscribe(graph, subscriber)
    clock.pass_s(1001 * 60)
    assert graph.get("/subscriptions").json()["value"] == []
    assert graph.patch(f"/subscriptions/{made['id']}", {"expirationDateTime": ahead(clock, 9)}).status_code == 404


def test_an_app_sees_only_its_own_subscriptions(graph: Graph, subscriber: Subscriber) -> None:
    subscribe(graph, subscriber)
    token = graph.desk.issue(graph.simulator.graph_url, app_id="another-app")
    other = graph.get("/subscriptions", headers={"Authorization": f"Bearer {token}"})
    assert other.json()["value"] == []
    assert len(graph.get("/subscriptions").json()["value"]) == 1


def test_a_file_put_into_the_folder_by_hand_is_notified(graph: Graph, subscriber: Subscriber) -> None:
    """§1.3: something changed in this drive, and never what."""
    made = subscribe(graph, subscriber)
    graph.put("Input/a.zip", b"content")
    wait_until(lambda: subscriber.notifications)
    said = subscriber.notifications[0]
    assert said["subscriptionId"] == made["id"]
    assert (said["clientState"], said["changeType"]) == ("secret", "updated")
    assert said["resource"].removeprefix("/") == "drives/b!local/root"
    assert "a.zip" not in str(said)


def test_many_changes_at_once_are_few_notifications(graph: Graph, subscriber: Subscriber) -> None:
    """§9.5: coalescing."""
    graph.knobs.notification_delay_s = delay_s = 0.3
    subscribe(graph, subscriber)
    began = time.monotonic()
    for number in range(20):
        graph.call("PUT", f"root:/{number}.zip:/content", data=b"content")
    wait_until(lambda: subscriber.notifications)
    count = len(subscriber.notifications)
    assert count <= 1 + (time.monotonic() - began) / delay_s


def test_nothing_is_sent_while_nothing_changes(graph: Graph, subscriber: Subscriber) -> None:
    graph.knobs.notification_delay_s = 0.0
    graph.knobs.scan_interval_s = 0.01
    graph.put("a.zip", b"content")
    graph.item("a.zip")
    subscribe(graph, subscriber)
    graph.call("PUT", "root:/b.zip:/content", data=b"content")
    wait_until(lambda: subscriber.bodies)
    count = len(subscriber.bodies)
    for _look in range(20):
        graph.names_in("")
    assert len(subscriber.bodies) == count


def test_a_notification_comes_in_every_shape_that_was_seen(graph: Graph, subscriber: Subscriber) -> None:
    """§1.3: resourceData null, absent or typed; with and without a leading slash; several in a POST."""
    graph.knobs.notification_copies = 3
    subscribe(graph, subscriber)
    graph.put("a.zip", b"content")
    wait_until(lambda: subscriber.bodies)
    first = subscriber.bodies[0]["value"]
    assert len(first) == 3
    assert {"resourceData" in each for each in first} == {True, False}
    assert {each["resource"][0] for each in first} == {"/", "d"}
    assert {each.get("resourceData") is None for each in first} == {True, False}


def test_subscriptions_with_one_address_share_a_post(graph: Graph, subscriber: Subscriber) -> None:
    """§1.3: one POST can carry notifications for different subscriptions."""
    ids = {
        subscribe(graph, subscriber, resource=resource)["id"] for resource in ("drives/b!local/root", "/me/drive/root")
    }
    graph.put("a.zip", b"content")
    wait_until(lambda: subscriber.bodies)
    assert {each["subscriptionId"] for each in subscriber.bodies[0]["value"]} == ids


def test_a_notification_that_is_not_taken_is_sent_again(graph: Graph, subscriber: Subscriber) -> None:
    """§1.4: until a 2xx, with growing pauses."""
    graph.knobs.retry_scale = 0.001
    subscribe(graph, subscriber)
    subscriber.statuses += [503, 500, 202]
    graph.call("PUT", "root:/a.zip:/content", data=b"content")
    wait_until(lambda: len(subscriber.bodies) >= 3)
    assert subscriber.bodies[0]["value"][0]["subscriptionId"] == subscriber.bodies[2]["value"][0]["subscriptionId"]
    wait_until(lambda: len(graph.simulator.deliveries) >= 3)
    assert [(each.attempt, each.status) for each in graph.simulator.deliveries[:3]] == [(1, 503), (2, 500), (3, 202)]


def test_an_answer_that_comes_too_late_does_not_count_at_first(graph: Graph, subscriber: Subscriber) -> None:
    """§1.4: 3 s for the first attempt, 10 s for the others."""
    graph.knobs.retry_scale = 0.001
    graph.knobs.delivery_timeout_s = 0.05
    subscribe(graph, subscriber)
    subscriber.silent_s = 0.2
    graph.call("PUT", "root:/a.zip:/content", data=b"content")
    wait_until(lambda: len(graph.simulator.deliveries) >= 2)
    first, second = graph.simulator.deliveries[:2]
    assert (first.attempt, first.status) == (1, None)
    assert (second.attempt, second.status) == (2, 202)


def test_sending_again_has_an_end(graph: Graph, subscriber: Subscriber) -> None:
    """§1.4: up to 4 h; here no time at all."""
    graph.knobs.retry_first_s = 0.001
    graph.knobs.retry_for_s = 0.0
    subscribe(graph, subscriber)
    subscriber.statuses += [500]
    graph.call("PUT", "root:/a.zip:/content", data=b"content")
    wait_until(lambda: graph.simulator.deliveries)
    graph.call("PUT", "root:/b.zip:/content", data=b"content")
    wait_until(lambda: graph.simulator.deliveries[-1].status == 202)
    assert [each.attempt for each in graph.simulator.deliveries] == [1, 1]


def test_notifications_are_dropped_for_an_address_that_is_mostly_too_late(graph: Graph, subscriber: Subscriber) -> None:
    """§1.4: the drop state."""
    graph.knobs.retry_timeout_s = graph.knobs.delivery_timeout_s = 0.05
    graph.knobs.slow_window_answers = 1
    graph.knobs.retry_first_s = 3600.0
    subscribe(graph, subscriber)
    subscriber.silent_s = 0.2
    graph.call("PUT", "root:/a.zip:/content", data=b"content")
    wait_until(lambda: graph.simulator.deliveries)
    subscriber.silent_s = 0.0
    count = len(graph.simulator.deliveries)
    graph.knobs.notification_delay_s = 0.0
    graph.call("PUT", "root:/b.zip:/content", data=b"content")
    # A second address that answers well shows that the notifications for this change have gone out.
    subscribe(graph, subscriber, resource="/me/drive/root", notificationUrl=subscriber.lifecycle_url)
    graph.call("PUT", "root:/c.zip:/content", data=b"content")
    wait_until(lambda: any(each.url.endswith("/lifecycle") for each in graph.simulator.deliveries))
    assert [each for each in graph.simulator.deliveries[count:] if each.url.endswith("/notify")] == []


def test_notifications_can_be_lost(graph: Graph, subscriber: Subscriber) -> None:
    """§1.4: dropped notifications are unrecoverable."""
    graph.knobs.lose_notifications = True
    graph.knobs.notification_delay_s = 0.0
    subscribe(graph, subscriber)
    graph.call("PUT", "root:/a.zip:/content", data=b"content")
    assert graph.names_in("") == ["a.zip"]
    graph.knobs.lose_notifications = False
    graph.call("PUT", "root:/b.zip:/content", data=b"content")
    wait_until(lambda: subscriber.bodies)
    assert len(subscriber.bodies) == 1


def test_a_file_that_comes_to_rest_is_notified_once_more(graph: Graph, subscriber: Subscriber, clock: Clock) -> None:
    """§3.11: that pendingOperations has gone is a change too."""
    graph.knobs.pending_s = 2.0
    subscribe(graph, subscriber)
    graph.put("a.zip", b"content")
    wait_until(lambda: len(subscriber.bodies) == 1)
    clock.pass_s(3)
    wait_until(lambda: len(subscriber.bodies) == 2)


def test_a_subscription_that_is_gone_is_notified_no_more(graph: Graph, subscriber: Subscriber) -> None:
    """§8 #6: silently gone."""
    first = subscribe(graph, subscriber)
    graph.simulator.forget_subscription(first["id"])
    second = subscribe(graph, subscriber)
    graph.put("a.zip", b"content")
    wait_until(lambda: subscriber.notifications)
    assert {each["subscriptionId"] for each in subscriber.notifications} == {second["id"]}


@pytest.mark.parametrize("event", ["reauthorizationRequired", "subscriptionRemoved", "missed"])
def test_lifecycle_events_are_sent_on_demand(graph: Graph, subscriber: Subscriber, event: str) -> None:
    """§1.6."""
    made = subscribe(graph, subscriber, lifecycleNotificationUrl=subscriber.lifecycle_url)
    url = f"{graph.simulator.graph_url}/_control/lifecycle"
    assert requests.post(url, json={"lifecycleEvent": event}, timeout=DEADLINE_S).json() == {"sent": 1}
    wait_until(lambda: subscriber.notifications)
    said = subscriber.notifications[0]
    assert (said["lifecycleEvent"], said["subscriptionId"], said["clientState"]) == (event, made["id"], "secret")
    assert len(graph.simulator.subscriptions) == (0 if event == "subscriptionRemoved" else 1)
