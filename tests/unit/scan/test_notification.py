"""Which calls of the webhook are believed, and how the others are refused."""

import json
from collections.abc import Mapping

import pytest

from shared.scan.notification import (
    BadNotification,
    is_authentic,
    parse_notification,
    read_notifications,
    validation_token,
)
from shared.secret import Secret

STATE = Secret("some-local-value")


def _body(*items: object) -> bytes:
    return json.dumps({"value": list(items)}).encode()


def _change(**fields: object) -> dict[str, object]:
    return {
        "subscriptionId": "7f105c7d-2dc5-4530-97cd-4e7ae6534c07",
        "clientState": "some-local-value",
        "changeType": "updated",
        "resource": "me/drive/root",
        "subscriptionExpirationDateTime": "2026-10-20T11:00:00.0000000Z",
        "resourceData": None,
        **fields,
    }


# The handshake.


def test_the_token_of_a_handshake_is_returned_as_it_is() -> None:
    token = "Validation: Testing client application reachability for subscription Request-Id: 8d3c<&>"

    assert validation_token({"code": "key", "validationToken": token}) == token


def test_a_call_without_a_token_is_no_handshake() -> None:
    assert validation_token({"code": "key"}) is None


# Bodies.


@pytest.mark.parametrize(
    "item",
    [
        _change(),
        _change(resourceData={"@odata.type": "#Microsoft.Graph.driveItem"}),
        {key: value for key, value in _change().items() if key != "resourceData"},
        _change(siteUrl="/personal/x", webId="dbc5a806", tenantId="84bd8158", whatever={"new": [1]}),
        _change(resource="/me/drive/root"),
    ],
)
def test_every_shape_that_graph_sends_is_understood(item: Mapping[str, object]) -> None:
    (change,) = parse_notification(_body(item))

    assert change.subscription_id == "7f105c7d-2dc5-4530-97cd-4e7ae6534c07"
    assert (change.change_type, change.resource, change.lifecycle_event) == ("updated", "me/drive/root", "")


def test_a_lifecycle_notification_is_told_from_a_change() -> None:
    (event,) = parse_notification(
        _body({"subscriptionId": "s", "clientState": "c", "lifecycleEvent": "reauthorizationRequired"})
    )

    assert event.lifecycle_event == "reauthorizationRequired"
    assert event.change_type == ""


def test_one_body_may_carry_many() -> None:
    many = parse_notification(_body(*(_change(subscriptionId=str(number)) for number in range(200))))

    assert [each.subscription_id for each in many] == [str(number) for number in range(200)]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"null", "no list"),
        (b'"value"', "no list"),
        (b"{}", "no list"),
        (b'{"value": null}', "no list"),
        (b'{"value": [{"subscriptionId": ""}]}', "no subscriptionId"),
        (b'{"value": [{"subscriptionId": 7}]}', "subscriptionId of a notification is not text"),
        (b'{"value": [{"subscriptionId": "s", "clientState": {}}]}', "clientState of a notification is not text"),
        (b'{"value": [{"subscriptionId": "s", "lifecycleEvent": 1}]}', "lifecycleEvent of a notification"),
    ],
)
def test_a_malformed_body_is_refused_with_a_reason(body: bytes, reason: str) -> None:
    with pytest.raises(BadNotification, match=reason) as refusal:
        parse_notification(body)

    assert refusal.value.status == 400


def test_a_body_of_just_the_limit_is_taken() -> None:
    body = _body(_change())

    assert parse_notification(body, max_bytes=len(body))
    with pytest.raises(BadNotification):
        parse_notification(body, max_bytes=len(body) - 1)


def test_the_client_state_is_not_shown() -> None:
    assert "some-local-value" not in repr(parse_notification(_body(_change())))


# Authenticity.


def test_a_notification_with_our_client_state_is_believed() -> None:
    assert is_authentic(parse_notification(_body(_change(), _change())), STATE)
    assert read_notifications(_body(_change()), STATE)


def test_one_stranger_among_ours_spoils_the_body() -> None:
    for items in ([_change(), _change(clientState="x")], [_change(clientState="x"), _change()]):
        assert not is_authentic(parse_notification(_body(*items)), STATE)


def test_no_notification_is_not_authentic() -> None:
    assert not is_authentic((), STATE)


def test_an_app_without_a_client_state_believes_nobody() -> None:
    assert not is_authentic(parse_notification(_body(_change(clientState=""))), Secret(""))
