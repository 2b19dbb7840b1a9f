"""One call that hangs keeps nobody waiting but those who need the very same thing, and those give up."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Final

import pytest

from local_cloud import faults
from local_cloud.faults import Fault
from shared.errors import AppError, TryAgain
from shared.scan import throttle
from shared.scan.throttle import ScanThrottle
from tests.flows.trouble import graph_fault
from tests.world import World, wait_for

AT_ONCE_S: Final = 1.0


@contextmanager
def hanging(world: World, fault: Fault, call: Callable[[], object]) -> Iterator[None]:
    """Let a call hang at a simulator, in a thread of its own, while the block runs."""
    world.faults.forget_calls()
    world.faults.add(fault)

    def hang() -> None:
        with suppress(AppError):
            call()

    thread = threading.Thread(target=hang)
    thread.start()
    try:
        wait_for(lambda: any(each.fault for each in world.faults.calls))
        yield
    finally:
        world.faults.clear()
        wait_for(lambda: world.faults.let_go() >= 0 and not thread.is_alive())


@contextmanager
def at_once() -> Iterator[None]:
    """Fail unless the block ends within a second."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < AT_ONCE_S


def a_drive_of(world: World) -> str:
    return world.services.settings.flows.imports[0].drive


def test_a_folder_whose_scan_hangs_keeps_nothing_else_waiting(world: World) -> None:
    services, drive = world.services, a_drive_of(world)
    services.folders.find(drive, "/Output")  # so that the app has a token
    hang = graph_fault("GET", "/Input$", faults.hang(60))

    with hanging(world, hang, lambda: services.folders.find(drive, "/Input")), at_once():
        services.folders.find(drive, "/Success")
        services.folders.find(drive, "/Output")
        services.onedrive(drive).drive_id()
        services.folders.forget(drive, "/Success")
        services.finance_operations(world.fno.url)
        services.finance_operations_token(world.fno.url).token()
        with services.import_lock(world.fno.url):
            pass


def test_a_worker_that_needs_a_folder_whose_lookup_hangs_stops_waiting_and_says_so(world: World) -> None:
    services, drive = world.services, a_drive_of(world)
    services.folders.find(drive, "/Output")
    world.monkeypatch.setattr("shared.clients.graph.folders.WAIT_S", 0.2)
    hang = graph_fault("GET", "/Input$", faults.hang(60))

    with (
        hanging(world, hang, lambda: services.folders.find(drive, "/Input")),
        at_once(),
        pytest.raises(TryAgain, match="tried to find the folder '/Input'"),
    ):
        services.folders.find(drive, "/Input")

    assert services.folders.find(drive, "/Input")


def test_a_credential_whose_token_hangs_keeps_no_other_credential_waiting(world: World) -> None:
    services = world.services
    hang = Fault("entra", "*", "", 1, 1, do=faults.hang(60))

    with hanging(world, hang, lambda: services.graph_token.token()), at_once():
        assert services.finance_operations_token(world.fno.url).token()


def test_a_token_that_still_lives_is_given_out_while_the_next_one_hangs(world: World) -> None:
    token = world.services.graph_token
    first = token.token()
    hang = Fault("entra", "*", "", 1, 1, do=faults.hang(60))

    with hanging(world, hang, lambda: token.token(refresh=True)), at_once():
        assert token.token() == first


def test_a_worker_that_needs_a_token_that_hangs_stops_waiting_and_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.clients.entra.app_identity.WAIT_S", 0.2)
    token = world.services.graph_token
    hang = Fault("entra", "*", "", 1, 1, do=faults.hang(60))

    with (
        hanging(world, hang, lambda: token.token()),
        at_once(),
        pytest.raises(TryAgain, match="tried to get a token for"),
    ):
        token.token()


def test_a_notification_is_answered_although_the_queue_hangs_for_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "SENDING_S", 0.1)
    ours, now = ScanThrottle(), datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
    is_sending, over, sent = threading.Event(), threading.Event(), list[float]()

    def hang(_delay_s: float) -> None:
        is_sending.set()
        over.wait(30)

    thread = threading.Thread(target=lambda: ours.request(now, hang))
    thread.start()
    is_sending.wait(10)
    with at_once():
        assert ours.request(now, sent.append)  # nobody knows yet whether the other one will be sent
    over.set()
    thread.join()

    assert sent == [0]


def test_notifications_whose_message_is_sent_quickly_share_it() -> None:
    ours, now = ScanThrottle(), datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
    ours.request(now, lambda _delay_s: None)
    sent: list[float] = []

    def slowly(delay_s: float) -> None:
        time.sleep(0.05)  # long enough for all threads to ask while the message is being sent
        sent.append(delay_s)

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda _: ours.request(now, slowly), range(10)))

    assert sent == [3]
