"""Targets for the contract suites, made from a settings file; without ``python dev.py live`` nothing is collected here.

The fixtures of ``tests/conftest.py`` that are overridden keep other tests apart from this machine and from the real
world. Here the machine's proxies are wanted, and nothing may print requests that hold real tokens.
"""

import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

import pytest

from shared.clients.graph.subscriptions import Subscription
from shared.clients.http.client import Http
from shared.config.values import is_loopback
from shared.errors import NotFound
from tests.contract.finance_operations_contract import FinanceOperationsTarget
from tests.contract.onedrive_contract import OneDriveTarget
from tests.contract.subscriptions_contract import SubscriptionsTarget
from tests.live.run import RUN_VARIABLE, SETTINGS_VARIABLE, LiveRun

IS_ASKED_FOR: Final = bool(os.environ.get(SETTINGS_VARIABLE) and os.environ.get(RUN_VARIABLE))
collect_ignore_glob = [] if IS_ASKED_FOR else ["test_*.py"]

# F&O's batch service may take minutes to begin.
EXECUTION_ENDS_WITHIN: Final = timedelta(minutes=20)

# Seconds between two looks at an execution; a simulator is quicker, and nobody else waits for it.
LOOK_S: Final = 3.0
LOOK_LOCALLY_S: Final = 0.05

_folders: Final = itertools.count(1)
_projects: Final = itertools.count(1)


@pytest.fixture(autouse=True)
def _clean_environment() -> None:
    """The machine's proxies and identity are those to use."""


@pytest.fixture(scope="session", autouse=True)
def wire_is_tapped() -> None:
    """Nothing is tapped: requests hold real tokens."""


@pytest.fixture(autouse=True)
def wire_is_checked() -> None:
    """Nothing is checked: what the services themselves say counts."""


@pytest.fixture(scope="session")
def run() -> Iterator[LiveRun]:
    asked_for = LiveRun.asked_for()
    if asked_for is None:
        pytest.skip("real services are only spoken to by: python dev.py live --settings FILE")
    yield asked_for
    asked_for.close()


@pytest.fixture
def onedrive_target(run: LiveRun) -> OneDriveTarget:
    onedrive = run.services.onedrive(run.drive)
    path = f"{run.name}/{next(_folders):03}"
    # The suite finds things by the folder's name, so the name leads to it from the root.
    folder = replace(onedrive.ensure_folder(path), name=path)
    return OneDriveTarget(onedrive=onedrive, downloads=run.services.downloads, folder=folder)


@pytest.fixture
def finance_operations_target(run: LiveRun) -> Iterator[FinanceOperationsTarget]:
    if not run.company:
        pytest.skip("no company is known: give --company")
    look_s = LOOK_LOCALLY_S if is_loopback(run.environment_host) else LOOK_S
    fno = run.services.finance_operations(run.environment_url)

    def has_ended(execution_id: str) -> bool:
        try:
            return fno.execution_status(execution_id).is_final
        except NotFound:  # for a while after the start, too
            return False

    def let_it_finish(execution_id: str) -> None:
        give_up = time.monotonic() + EXECUTION_ENDS_WITHIN.total_seconds()
        while not has_ended(execution_id):
            assert time.monotonic() < give_up, f"execution {execution_id} did not end within {EXECUTION_ENDS_WITHIN}"
            time.sleep(look_s)

    downloads = Http(service="blob storage", token=None, request_id_header="x-ms-request-id")
    yield FinanceOperationsTarget(
        fno=fno,
        downloads=downloads,
        let_it_finish=let_it_finish,
        company=run.company,
        project=f"{run.project_prefix}-{next(_projects):02}",
    )
    downloads.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSubscriptionsTarget(SubscriptionsTarget):
    """A target that does not see the subscriptions that the identity had before, for other drives."""

    before: frozenset[str] = field(default_factory=frozenset)

    def listed(self) -> dict[str, Subscription]:
        return {one.subscription_id: one for one in self.subscriptions.list() if one.subscription_id not in self.before}


@pytest.fixture
def subscriptions_target(run: LiveRun) -> Iterator[SubscriptionsTarget]:
    if run.notification_url is None:
        pytest.skip("NOTIFICATION_URL is not set")
    resource = f"/drives/{run.services.onedrive(run.drive).drive_id()}/root"
    there = run.services.subscriptions.list()
    if any(one.resource.strip("/").casefold() == resource.strip("/").casefold() for one in there):
        pytest.skip("the app itself has a subscription of this drive, and a drive has one: use another drive")
    yield LiveSubscriptionsTarget(
        subscriptions=run.services.subscriptions,
        resource=resource,
        address=run.notification_url,
        other_address=run.notification_url,
        before=frozenset(one.subscription_id for one in there),
    )
    run.delete_subscriptions()
