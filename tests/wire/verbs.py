"""What the clients' source says that the app can ask for: operations by name, and methods of storage clients."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SHARED: Final = Path(__file__).resolve().parents[2] / "shared"
# The folders and modules that make calls of their own; clients/http makes everybody's.
CALLERS: Final = ("alerts/channels", "clients/blobs", "clients/entra", "clients/fno", "clients/graph")
STORAGE_CALLERS: Final = ("azure_storage/container", "azure_storage/queue", "clients/blobs")


@dataclass(frozen=True)
class _Forwarder:
    """A function that hands one of its parameters on as an operation's name."""

    function: str
    parameter: str
    position: int  # among the arguments of a call, self left out


def operations_of(source: str) -> Iterator[str]:
    """Yield the names of operations in a module, wherever a call of a service or a record of one is made.

    Raises ValueError for a name that does not stand there as text: it could not be compared with the descriptions.
    """
    module = ast.parse(source)
    functions = [node for node in ast.walk(module) if isinstance(node, ast.FunctionDef)]
    forwarders: set[_Forwarder] = set()
    while True:
        found = {one for function in functions for one in _forwarded(function, forwarders)}
        if found <= forwarders:
            break
        forwarders |= found
    for function in functions:
        parameters = {each.arg for each in _parameters(function)}
        for value in _operation_values(function, forwarders):
            match value:
                case ast.Constant(value=str(name)):
                    yield name
                case ast.Name(id=name) if name in parameters:
                    pass  # its callers say it
                case ast.Attribute(attr="operation"):
                    pass  # of a call that was made
                case _:
                    raise ValueError(f"line {value.lineno}: an operation's name must stand there as text")


def _forwarded(function: ast.FunctionDef, known: set[_Forwarder]) -> Iterator[_Forwarder]:
    parameters = _parameters(function)
    positions = {each.arg: number for number, each in enumerate(parameters)}
    shift = 1 if parameters and parameters[0].arg in ("self", "cls") else 0
    for value in _operation_values(function, known):
        if isinstance(value, ast.Name) and value.id in positions:
            yield _Forwarder(function.name, value.id, positions[value.id] - shift)


def _operation_values(function: ast.FunctionDef, forwarders: set[_Forwarder]) -> Iterator[ast.expr]:
    """Yield what is given as an operation's name, by keyword or to a function that hands it on."""
    for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        if "operation" in given:
            yield given["operation"]
            continue
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        for forwarder in forwarders:
            if forwarder.function == name:
                if forwarder.parameter in given:
                    yield given[forwarder.parameter]
                elif forwarder.position < len(call.args):
                    yield call.args[forwarder.position]


def _parameters(function: ast.FunctionDef) -> list[ast.arg]:
    return [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]


def methods_called(source: str) -> set[str]:
    """Return the names of all methods that a module calls, or hands over to be called."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    called = [each for call in calls for each in (call.func, *call.args) if isinstance(each, ast.Attribute)]
    return {each.attr for each in called}


def source_of(module: str) -> str:
    """Return the source of a module below ``shared``, or of all modules of a folder."""
    paths = sorted((SHARED / module).glob("*.py")) or [SHARED / f"{module}.py"]
    return "\n".join(path.read_text("utf-8") for path in paths)
