"""What Azure would find in a functions app: its functions and bindings, as Microsoft's runtime indexes them.

Many mistakes (a missing import, an ``X | None`` parameter, two functions of one name) make all functions of an app
vanish in Azure with hardly a trace; here they are an error with the runtime's words.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import local_cloud


class IndexFailed(AssertionError):
    """In Azure this app would have no functions."""


def index_app(root: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the bindings of each function of the app in this folder, by the function's name.

    In a process of its own, because the runtime keeps one app a process. Raises IndexFailed.
    """
    command = [sys.executable, "-m", "local_cloud.functions_host.index", str(root)]
    project = Path(local_cloud.__file__).parents[1]
    ended = subprocess.run(
        command, cwd=project, capture_output=True, stdin=subprocess.DEVNULL, encoding="utf-8", timeout=60, check=False
    )
    if ended.returncode != 0:
        raise IndexFailed(ended.stderr.strip())
    found: dict[str, list[dict[str, Any]]] = json.loads(ended.stdout.splitlines()[-1])
    return found
