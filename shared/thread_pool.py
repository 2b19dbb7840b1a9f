"""How many invocations one process runs at the same time: the thread pool of azure-functions-runtime.

An instance of Azure starts its pool before it gets the app's settings, and does not start it again: it would keep the 5
or 6 threads of a process that has no app yet. So ``function_app.py`` starts it anew once the app is loaded.
https://github.com/Azure/azure-functions-python-worker/blob/dev/workers/proxy_worker/dispatcher.py
Observed with azure-functions-runtime 1.3.0: ``start_threadpool_executor`` lets a pool that is there end what it runs,
waits for nothing, and puts the new one in its place. No function is loaded yet, so that pool is idle.
"""

import os
import sys
from types import ModuleType
from typing import Final

from shared.config.app_settings import SETTINGS, THREADS
from shared.log import log

RUNTIME: Final = "azure_functions_runtime"


def start_thread_pool() -> None:
    """Start the runtime's thread pool as large as the settings say; do nothing without the runtime. Never raises."""
    try:
        runtime = _runtime()
        if runtime is None:
            return
        if not os.environ.get(THREADS, "").strip():  # where the runtime reads the size itself
            os.environ[THREADS] = SETTINGS[THREADS].default  # the runtime has another default
        runtime.start_threadpool_executor()
    except Exception as error:  # noqa: BLE001  # while the app is imported: an error would make all functions vanish
        log.error("thread_pool.not_started", reason=f"{type(error).__name__}: {error}")


def thread_pool_size() -> int | None:
    """Return how many invocations this process runs at the same time; None if it does not know."""
    pool_of = getattr(_runtime(), "get_threadpool_executor", lambda: None)
    # Observed with Python 3.13: a pool does not tell its size in any other way.
    size = getattr(pool_of(), "_max_workers", None)
    return size if isinstance(size, int) else None


def _runtime() -> ModuleType | None:
    """Return the runtime if it has loaded this app: commands and tests run without it."""
    return sys.modules.get(RUNTIME)
