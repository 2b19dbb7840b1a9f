"""What may be imported where, and what importing the app must not do. Layers are import-linter's (``dev.py check``)."""

import ast
import tomllib

import pytest

from tests.architecture.product import ROOT, parsed, product_files, product_modules, product_nodes, run_bare

TRIGGERS = [
    "function_app.py",
    "inbound_trigger/functions.py",
    "operations/functions.py",
    "outbound_timer/functions.py",
]

# What a cold start for an HTTP call must not pay for, and what must not be there at all.
HEAVY = (
    *("azure.core", "azure.identity", "azure.storage"),
    *("msal", "requests", "defusedxml", "jinja2", "pydantic", "cryptography"),
    *("zoneinfo", "tzdata"),
)
FOREIGN = ("local_cloud", "tests", "aiohttp", "openpyxl", "trustme", "jsonschema", "pytest")


def imports_of(path: str) -> set[str]:
    """Return the names of all modules that a file imports, wherever it does so."""
    names: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_only_the_triggers_and_the_app_know_azure_functions() -> None:
    assert [path for path in product_files() if "azure.functions" in imports_of(path)] == TRIGGERS


def test_the_environment_is_read_in_one_place_for_the_app_and_one_for_each_command() -> None:
    readers = {
        (path, _function_around(path, node.lineno))
        for path, node in product_nodes()
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"os.environ", "os.getenv", "os.environb"}
    }

    commands = {(f"operations/{name}.py", "main") for name in ("sign_in", "doctor", "cli", "settings_command")}
    # azure-identity reads the environment itself, and so does who looks whether it would find anything there.
    identity = {("shared/clients/entra/app_identity.py", "require_identity_endpoint")}
    # azure-functions-runtime reads the size of its pool from there, and the default has to stand there for it.
    # All of Azure's libraries read it too: what is trusted must be one thing.
    certificates = {("shared/clients/http/proxies.py", "ca_bundle")}
    pool = {("shared/thread_pool.py", "start_thread_pool")}
    assert readers == {("shared/app.py", "services")} | commands | identity | certificates | pool
    assert [path for path in product_files() if imports_of(path) & {"os.environ", "os.getenv"}] == []


def _function_around(path: str, line: int) -> str:
    functions = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.FunctionDef)]
    return next((each.name for each in functions if each.lineno <= line <= (each.end_lineno or 0)), "")


def test_importing_the_app_imports_nothing_heavy_and_nothing_of_the_local_cloud() -> None:
    found = [str(name) for name in _after_importing_the_app("sorted(sys.modules)")]

    assert "shared.scan.scan_requests" in found
    # A cold host is mostly started by a notification, which needs none of these.
    assert {"shared.imports.steps", "shared.exports.steps", "shared.clients.fno.client"}.isdisjoint(found)
    assert [name for name in found if _is_in(name, HEAVY)] == []
    assert [name for name in found if _is_in(name, FOREIGN)] == []


def test_importing_the_app_opens_no_connection_and_writes_no_file() -> None:
    assert _after_importing_the_app("deeds") == []


def test_importing_the_app_needs_no_setting_and_builds_nothing() -> None:
    assert _after_importing_the_app("[sys.modules['shared.app']._built is None]") == [True]


def _after_importing_the_app(expression: str) -> list[object]:
    """Return a list that a new process without settings evaluates after ``import function_app``."""
    watch = (
        "def note(event, args):\n"
        "    if event.startswith(('socket.connect', 'socket.getaddrinfo', 'subprocess.')):\n"
        "        deeds.append(event)\n"
        "    if event == 'open' and isinstance(args[1], str) and set(args[1]) & set('wxa+'):\n"
        "        deeds.append(f'{event} {args[0]}')\n"
    )
    code = (
        f"import sys, json\ndeeds = []\n{watch}sys.addaudithook(note)\n"
        f"import function_app\nprint(json.dumps({expression}))"
    )
    found: list[object] = run_bare(code)
    return found


def _is_in(name: object, packages: tuple[str, ...]) -> bool:
    return any(name == package or str(name).startswith(f"{package}.") for package in packages)


def test_the_contract_about_layers_names_every_module() -> None:
    """A module that no line names may import whatever it likes."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["name"] == "Layers of the product")
    named = [module.strip() for layer in layers for module in layer.split("|")]

    modules = [path.removesuffix(".py").replace("/", ".") for path in product_modules() if "__init__" not in path]
    left_out = [
        module
        for module in modules
        if module != "function_app" and not any(f"{module}.".startswith(f"{each}.") for each in named)
    ]
    assert left_out == ["shared.thread_pool"]  # function_app calls it before all else


# The lazily loaded boundary: libraries are imported here in the ordinary way, and these are loaded at first use, the
# configuration when it is read. The two commands are no part of the app.
LOADED_LATE = [
    *(f"shared/azure_storage/{name}.py" for name in ("account", "container", "errors", "queue", "transport")),
    *(f"shared/config/{name}.py" for name in ("integrations", "kinds", "model")),
    "shared/clients/entra/signed_in_user.py",
    *("operations/cli.py", "operations/doctor.py"),
]


@pytest.mark.parametrize("path", [path for path in product_files() if path not in LOADED_LATE])
def test_no_module_imports_something_heavy_at_its_top(path: str) -> None:
    at_the_top = {
        name
        for statement in parsed(path).body
        if isinstance(statement, ast.Import | ast.ImportFrom)
        for name in _modules_of(statement)
    }

    assert {name for name in at_the_top if _is_in(name, HEAVY)} == set()


def _modules_of(statement: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(statement, ast.ImportFrom):
        return [statement.module or ""]
    return [alias.name for alias in statement.names]
