"""What every test may use: one Azurite for the whole session, and an environment without this machine's settings."""

import gc
import os
from collections.abc import Generator, Iterator
from contextlib import nullcontext
from functools import cache
from typing import Any

import pytest
from hypothesis import settings

from local_cloud.storage import Azurite
from tests.measured import is_measured, not_measured
from tests.quick_run import without_long_ones
from tests.side_by_side import IS_WORKER, ByFile, turn_of

# Every call is held against the reference; see tests/wire.
from tests.wire.tap import (  # noqa: F401
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_testnodedown,
    wire_is_checked,
    wire_is_tapped,
)

# The same examples in each run, and no time limit that a busy machine could break: docs/decisions/0009.
settings.register_profile("suite", derandomize=True, deadline=None, database=None)
settings.load_profile("suite")

# What the Azure SDKs and the functions host read from the developer's own shell, beside the settings of the app.
_OF_OTHERS = ("AzureWebJobs", "FUNCTIONS_", "IDENTITY_", "MSI_")
_FOREIGN_NAMES = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"})


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let pytest-xdist share the tests out as side_by_side.py says, unless another way is asked for."""
    if config.getoption("dist") != "load":
        return None
    config.option.loadscopereorder = False  # its order is by the number of tests
    return ByFile(config, log)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let pytest make the quick run: see quick_run.py."""
    parser.addoption("--quick", action="store_true", help="of what takes long take a part; CI takes all")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Bring to the front what takes longest, and leave out what the quick run does not take."""
    if config.getoption("quick"):
        items[:], left_out = without_long_ones(items)
        config.hook.pytest_deselected(items=left_out)
    if IS_WORKER:
        items.sort(key=turn_of)


def pytest_collection_finish() -> None:
    """Let Python look for garbage only among what comes now: some thousand tests and their modules stay."""
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Measure the coverage of those tests that measured.py does not leave out."""
    with nullcontext() if is_measured(item) else not_measured():
        return (yield)


@pytest.fixture(scope="session")
def azurite_connection() -> Iterator[str]:
    """The connection string of the session's Azurite, one a worker: use names of your own for what you make."""
    with Azurite() as azurite:
        yield azurite.connection_string


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test sees only the settings that it sets itself, and no password from a .netrc at home."""
    clean_environment(monkeypatch)


@cache  # asked for each variable of each test
def foreign_prefixes() -> tuple[str, ...]:
    """Return how the names begin that no test takes from this machine: those of all settings, up to the first ``_``."""
    from shared.config.app_settings import SETTINGS  # here: the tests of dev.py need nothing of the product

    ours = {"".join(name.partition("_")[:2]) for name in SETTINGS}
    return (*sorted(ours), *_OF_OTHERS)


def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what this machine sets; for fixtures that live longer than a test."""
    for name in list(os.environ):
        if name.startswith(foreign_prefixes()) or name.upper() in _FOREIGN_NAMES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", "there-is-none")  # requests would send what it finds there in place of a storage key
