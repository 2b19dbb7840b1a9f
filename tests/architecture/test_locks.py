"""No lock that unrelated work shares is held across a call: what is called under one stands in a list here."""

import ast
from collections.abc import Iterator
from typing import Final

from tests.architecture.product import parsed, product_files

LOCKS: Final = frozenset({"Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore"})

# All that the product calls while it holds a lock. None of it calls a service or reads a file: it looks something up in
# memory, builds an object whose use comes later, closes connections that nobody uses, or waits for a bounded time.
QUIET: Final = {
    "shared/clients/http/idle.py": {"self._clock", "self._close"},
    "shared/concurrency.py": {"begun.keys", "set", "self._left_behind.pop", "self._left_behind.items", "min"},
    "shared/locks.py": {"self._locks.setdefault", "CallLock"},
    "shared/package_memory.py": {"NoRoom", "self._changed.wait_for", "self._changed.notify_all"},  # WAIT_S
    "shared/app.py": {
        "super().__get__",  # builds a part; tests/unit/test_app.py holds that no part calls anybody then
        "super",
        "OneDrive",
        "FinanceOperations",
        "finance_operations_http",
        "self.finance_operations_token",
        "self._app_identity",
        "_audience",
        "hashlib.sha256(environment_url.encode()).hexdigest",
        "hashlib.sha256",
        "environment_url.encode",
        "ImportLock",
        "self._import_locks[environment_url].held",  # is entered by the caller
        "quiet_libraries",
        "Services",
        "read_settings",
    },
}


def locks_of(tree: ast.Module) -> set[str]:
    """Return how the locks of a module are written where they are held: ``self._lock``, ``_build_lock``."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Tuple() as names], value=ast.Tuple() as values):
                pairs = list(zip(names.elts, values.elts, strict=True))
            case ast.Assign(targets=[name], value=value):
                pairs = [(name, value)]
            case ast.AnnAssign(target=name, value=ast.expr() as value):
                pairs = [(name, value)]
            case _:
                continue
        found |= {
            ast.unparse(name)
            for name, value in pairs
            if isinstance(value, ast.Call) and ast.unparse(value.func).rpartition(".")[2] in LOCKS
        }
    return found | {name.replace("self.", "services.") for name in found}


def called_under_locks(path: str) -> Iterator[str]:
    """Yield what a module calls while it holds a lock."""
    tree = parsed(path)
    locks = locks_of(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.With) and any(ast.unparse(item.context_expr) in locks for item in node.items):
            for inner in (each for statement in node.body for each in ast.walk(statement)):
                if isinstance(inner, ast.Call):
                    yield ast.unparse(inner.func)


def test_under_a_lock_nothing_is_called_that_may_take_time() -> None:
    called = {path: set(called_under_locks(path)) for path in product_files()}

    assert {path: names for path, names in called.items() if names} == QUIET


def test_a_lock_is_waited_for_without_a_with_only_where_waiters_give_up() -> None:
    waits = {
        path: [ast.unparse(node) for node in ast.walk(parsed(path)) if _is_acquire(node)] for path in product_files()
    }

    assert {path: calls for path, calls in waits.items() if calls} == {
        "shared/scan/throttle.py": ["self._sending.acquire(timeout=SENDING_S)"],
        "shared/locks.py": ["self._lock.acquire(timeout=wait_s)"],
        "shared/azure_storage/import_lock.py": ["self._of_process.acquire(timeout=LOCK_WAIT_S)"],
    }


def _is_acquire(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "acquire"
