"""The worlds of the flows' tests."""

from tests.flows.conftest import make_world, world  # noqa: F401
