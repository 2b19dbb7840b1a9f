"""Whether the app works: what it can reach, whether it scans, what waits, and what needs a person. Changes nothing.

Each check is a value: what was found, and what to do about it. Pages and JSON are made of them in ``operations/``,
lines for a terminal in ``operations/doctor.py``.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from shared.app import Services
from shared.clients.http.context import waiting_at_most
from shared.config.warnings import flow_warnings
from shared.errors import AppError, SettingsInvalid
from shared.health.health import Check, Grade, Health, failed_check
from shared.health.identity_checks import check_host_identity
from shared.health.record_checks import with_records
from shared.health.service_checks import check_services
from shared.thread_pool import thread_pool_size
from shared.version import VERSION

# Seconds that one call may take here: a monitor waits for the answer.
CALL_S: Final = 8.0


def check_health(build: Callable[[], Services], *, thorough: bool = False) -> Health:
    """Look at everything that the app needs and return what was found; never raises an AppError.

    build: returns the services, or raises SettingsInvalid.
    thorough: also ask F&O for companies and data projects, and call the webhook as Graph does.
    """
    try:
        services = build()
    except SettingsInvalid as error:
        return _graded(Health(version=VERSION, grade=Grade.OK, checks=(failed_check("Settings", error),)))
    own = Health(
        version=VERSION,
        grade=Grade.OK,
        checks=(),
        now=services.now(),
        process_began=services.started,
        last_notification=services.scan_memory.last_notification,
        threads=thread_pool_size(),
        settings=services.settings.in_force,
    )
    with waiting_at_most(CALL_S):
        try:
            found = with_records(own, services)
        except AppError as error:
            found = replace(own, checks=(failed_check("Storage", error),))
        host = check_host_identity(services.settings)
        checks = (*host, *_check_flows(services), *found.checks, *check_services(services, thorough=thorough))
        return _graded(replace(found, checks=checks))


def _check_flows(services: Services) -> Iterator[Check]:
    """Yield a check for what in the configuration of the flows is probably not meant; none if there is nothing."""
    if warnings := [str(each) for each in flow_warnings(services.settings.flows)]:
        yield Check(
            name="Configuration of the flows",
            grade=Grade.WARNING,
            message=" ".join(f"INTEGRATIONS, {each}" for each in warnings),
            advice="Correct the configuration. 'python dev.py settings check FILE' reports the same without the app.",
        )


def _graded(health: Health) -> Health:
    worst = max((check.grade for check in health.checks), key=list(Grade).index, default=Grade.OK)
    return replace(health, grade=worst)
