"""Whatever becomes of Graph's notifications, a file is seen by the minute's look and imported once."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import pytest

from inbound_trigger.keep_watch import do_duties
from local_cloud import faults
from shared.errors import AppError
from shared.scan import scan_requests
from shared.scan.notification import BadNotification, read_notifications
from shared.secret import Secret
from tests.contract.receiver import Receiver
from tests.flows.conftest import MakeNotified
from tests.flows.trouble import graph_fault
from tests.world import World

DAY_S: Final = 24 * 3600.0
TIMED_OUT: Final = {
    "error": {"code": "InvalidRequest", "message": "Subscription validation request timed out."},
}


def _expires(world: World, _: Receiver) -> None:
    do_duties(world.services)
    world.clock.advance(DAY_S)  # in which the app was off
    world.onedrive.forget_subscription(_the_subscription(world))


def _is_deleted(world: World, _: Receiver) -> None:
    do_duties(world.services)
    world.services.subscriptions.delete(_the_subscription(world))


def _is_refused(world: World, _: Receiver) -> None:
    world.faults.add(graph_fault("POST", "/subscriptions", faults.status(403), times=None))


def _times_out(world: World, _: Receiver) -> None:
    world.faults.add(graph_fault("POST", "/subscriptions", faults.status(400, body=TIMED_OUT), times=None))


def _is_answered_wrongly(world: World, receiver: Receiver) -> None:
    receiver.handshake_text = "<html>Service unavailable</html>"


def _is_forged(world: World, _: Receiver) -> None:
    do_duties(world.services)
    forged = {"subscriptionId": "x", "clientState": "a guess", "changeType": "updated", "resource": "drives/x/root"}
    with pytest.raises(BadNotification):
        read_notifications(json.dumps({"value": [forged]}).encode(), Secret("the-first-secret-of-the-tests"))


def _is_doubled(world: World, _: Receiver) -> None:
    do_duties(world.services)
    world.clock.advance(1)
    for _each in range(2):
        scan_requests.handle_request(scan_requests.request_message(world.clock.now()), world.services)


def _is_silent_for_a_day(world: World, _: Receiver) -> None:
    do_duties(world.services)
    world.onedrive.knobs.lose_notifications = True
    for _each in range(24):
        world.clock.advance(DAY_S / 24)
        do_duties(world.services)


TROUBLES: Final[dict[str, Callable[[World, Receiver], None]]] = {
    "it expires": _expires,
    "somebody deletes it": _is_deleted,
    "Graph refuses it": _is_refused,
    "its validation times out": _times_out,
    "its validation is answered by a proxy": _is_answered_wrongly,
    "a notification is forged": _is_forged,
    "notifications come twice": _is_doubled,
    "no notification comes for a day": _is_silent_for_a_day,
}


@pytest.mark.quick(cases=3)
@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=list(TROUBLES))
def test_a_file_is_imported_once_within_a_minutes_look_when(
    make_notified: MakeNotified, receiver: Receiver, trouble: Callable[[World, Receiver], None]
) -> None:
    world = make_notified()
    trouble(world, receiver)
    world.put("USMF_1.zip")

    with suppress(AppError):  # what is wrong with the subscription is told after the look
        do_duties(world.services)
    world.run_until_quiet(at_most_s=600)

    assert world.imports() == [("USMF", 1)]
    assert world.files("Success") == ["USMF_1.zip"]
    world.faults.clear()
    receiver.handshake_text = None
    do_duties(world.services)
    assert len(world.onedrive.subscriptions) == 1


def _the_subscription(world: World) -> str:
    (subscription,) = world.onedrive.subscriptions
    return subscription.subscription_id
