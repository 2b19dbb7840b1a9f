"""What a new process finds of its health, and a check of it by name."""

from shared.health.checks import check_health
from shared.health.health import Check, Health
from tests.world import World


def health_of(world: World, *, thorough: bool = False) -> Health:
    """Return what a new process finds, which has no token yet."""
    return check_health(world.new_process, thorough=thorough)


def check_named(health: Health, name: str) -> Check:
    """Return the check whose name begins so."""
    (check,) = [check for check in health.checks if check.name.startswith(name)]
    return check
