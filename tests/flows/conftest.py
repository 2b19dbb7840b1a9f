"""A world for each test: flows in this process over the simulators."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from local_cloud.receivers import Receivers
from tests.contract.receiver import Receiver
from tests.world import World

type MakeWorld = Callable[..., World]
type MakeNotified = Callable[..., World]
type MakeTold = Callable[..., World]


@pytest.fixture
def make_world(
    tmp_path: Path, azurite_connection: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[MakeWorld]:
    """Make a world with settings, speed, behaviour or knobs of the test's choice.

    What a module calls WORLD_SETTINGS is set in each of its worlds, unless a test says otherwise.
    """
    usual: Mapping[str, str] = getattr(request.module, "WORLD_SETTINGS", {})
    with ExitStack() as stack:

        def make(*, settings: Mapping[str, str] | None = None, **options: Any) -> World:
            return stack.enter_context(
                World(tmp_path, azurite_connection, monkeypatch, settings={**usual, **(settings or {})}, **options)
            )

        yield make


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """A world where everything is as it usually is."""
    return make_world()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def make_notified(make_world: MakeWorld, receiver: Receiver) -> MakeNotified:
    """Make a world whose app Graph can call. Its clock is two days slow: Graph grants no more than 42,300 minutes."""

    def make(**settings: str) -> World:
        world = make_world(
            settings={
                "NOTIFICATION_URL": receiver.url().reveal(),
                "CLIENT_STATE": "the-first-secret-of-the-tests",
                **settings,
            }
        )
        world.clock.advance(-2 * 24 * 3600)
        return world

    return make


@pytest.fixture
def receivers() -> Iterator[Receivers]:
    """Who alerts are sent to."""
    receivers = Receivers()
    receivers.start()
    yield receivers
    receivers.stop()


@pytest.fixture
def make_told(make_world: MakeWorld, receivers: Receivers) -> MakeTold:
    """Make a world that posts its alerts to the webhook."""

    def make(**settings: str) -> World:
        return make_world(settings={"ALERT_WEBHOOK_URL": receivers.webhook_url, **settings})

    return make


@pytest.fixture
def told(make_told: MakeTold) -> World:
    """Return a world that posts its alerts to the webhook."""
    return make_told()
