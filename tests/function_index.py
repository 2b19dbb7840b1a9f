"""What Azure would find in a functions app: its functions and bindings, as Microsoft's runtime indexes them.

Many mistakes (a missing import, an ``X | None`` parameter, two functions of one name) make all functions of an app
vanish in Azure with hardly a trace; here they are an error with the runtime's words.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import local_cloud


class IndexFailed(AssertionError):
    """In Azure this app would have no functions."""


# Imports all modules of the app in the working folder, and prints where those of this project came from.
_IMPORT_ALL: Final = """\
import function_app, importlib, inbound_trigger, json, operations, outbound_timer, pkgutil, shared, sys
for package in (shared, inbound_trigger, operations, outbound_timer):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
ours = ("function_app", "shared", "inbound_trigger", "outbound_timer", "operations", "local_cloud", "tests")
print(json.dumps([module.__file__ for name, module in sys.modules.items() if name.split(".")[0] in ours]))
"""


def files_imported_from(root: Path, *, python: str = sys.executable) -> set[str]:
    """Import every module of the app in a folder; return the files of this project that were read, as paths in it.

    python: in whose environment. Fails where a module cannot be imported, or comes from elsewhere.
    """
    command = [python, "-B", "-c", _IMPORT_ALL]
    ended = subprocess.run(
        command, cwd=root, capture_output=True, stdin=subprocess.DEVNULL, encoding="utf-8", timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    files = [Path(file) for file in json.loads(ended.stdout)]
    return {file.relative_to(root.resolve()).as_posix() for file in files}


def index_app(root: Path, *, python: str = sys.executable) -> dict[str, list[dict[str, Any]]]:
    """Return the bindings of each function of the app in this folder, by the function's name.

    In a process of its own, because the runtime keeps one app a process. python: in whose environment. Raises
    IndexFailed.
    """
    command = [python, "-m", "local_cloud.functions_host.index", str(root)]
    project = Path(local_cloud.__file__).parents[1]
    ended = subprocess.run(
        command, cwd=project, capture_output=True, stdin=subprocess.DEVNULL, encoding="utf-8", timeout=60, check=False
    )
    if ended.returncode != 0:
        raise IndexFailed(ended.stderr.strip())
    found: dict[str, list[dict[str, Any]]] = json.loads(ended.stdout.splitlines()[-1])
    return found
