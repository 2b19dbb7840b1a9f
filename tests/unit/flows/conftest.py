"""A world for each test: flows in this process over the simulators."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.world import World

type MakeWorld = Callable[..., World]


@pytest.fixture
def make_world(tmp_path: Path, azurite_connection: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeWorld]:
    """Make a world with settings, speed, behaviour or knobs of the test's choice."""
    with ExitStack() as stack:

        def make(**options: Any) -> World:
            return stack.enter_context(World(tmp_path, azurite_connection, monkeypatch, **options))

        yield make


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """A world where everything is as it usually is."""
    return make_world()
