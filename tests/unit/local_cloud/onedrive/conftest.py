"""A simulated OneDrive over an empty folder, and somebody who subscribes to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.local_cloud.onedrive.graph import Clock, Graph
from tests.unit.local_cloud.onedrive.subscriber import Subscriber


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def graph(tmp_path: Path, clock: Clock) -> Iterator[Graph]:
    """A simulator over an empty folder."""
    graph = Graph(tmp_path / "OneDrive", clock)
    graph.start()
    yield graph
    graph.stop()


@pytest.fixture
def subscriber() -> Iterator[Subscriber]:
    """An address that takes notifications."""
    with Subscriber() as subscriber:
        yield subscriber
