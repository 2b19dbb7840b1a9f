"""An instance of Azure starts its thread pool before it has an app, and its settings after that.

The order is that of an instance that is made from a placeholder: the pool, then the environment of the app, then the
app. The real azure-functions-runtime is run through it, in a process of its own.
"""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from local_cloud.cloud import ROOT
from shared.config.app_settings import SETTINGS, THREADS
from tests.architecture.product import run_bare

# In the words of the worker: https://github.com/Azure/azure-functions-python-worker, workers/proxy_worker/dispatcher.py
PLACEHOLDER = """
import asyncio, json, os, sys
from types import SimpleNamespace

import azure_functions_runtime as runtime
from local_cloud.functions_host.runtime import _request

root, settings = sys.argv[1], {**os.environ, **json.loads(sys.argv[2])}
runtime.start_threadpool_executor()
before = runtime.get_threadpool_executor()._max_workers
reload = SimpleNamespace(function_app_directory=root, environment_variables=settings)
answer = asyncio.run(runtime.function_environment_reload_request(_request(function_environment_reload_request=reload)))
assert answer.result.status == 1, answer.result.exception
pool = runtime.get_threadpool_executor()
print(json.dumps({
    "before": before,
    "after": pool._max_workers,
    "works": pool.submit(lambda: True).result(30),
    "environment": os.environ.get("PYTHON_THREADPOOL_THREAD_COUNT"),
}))
"""


def specialized(settings: Mapping[str, str], *, prelude: str = "") -> dict[str, Any]:
    """Return what came of an instance that was a placeholder and got the app and these settings."""
    found: dict[str, Any] = run_bare(prelude + PLACEHOLDER, str(ROOT), json.dumps(settings))
    return found


def test_the_thread_pool_of_a_placeholder_becomes_as_large_as_the_settings_say() -> None:
    found = specialized({THREADS: "48"})

    assert found["before"] != 48
    assert (found["after"], found["works"]) == (48, True)


def test_without_a_setting_the_thread_pool_of_a_placeholder_gets_the_default() -> None:
    default, found = SETTINGS[THREADS].default, specialized({})
    assert (found["after"], found["works"], found["environment"]) == (int(default), True, default)
    assert specialized({THREADS: " "})["after"] == int(default)


# Runtimes whose thread pool can be started once, by the worker, and not again.
ONCE = """
import azure_functions_runtime as _runtime
_start = _runtime.start_threadpool_executor
def once():
    _start()
    {then}
_runtime.start_threadpool_executor = once
"""


@pytest.mark.parametrize(
    "then", ["del _runtime.start_threadpool_executor", "_runtime.start_threadpool_executor = lambda: 1 / 0"]
)
def test_a_runtime_that_cannot_start_its_thread_pool_anew_loads_the_app_all_the_same(then: str) -> None:
    found = specialized({THREADS: "48"}, prelude=ONCE.format(then=then))

    assert (found["after"], found["works"]) == (found["before"], True)
