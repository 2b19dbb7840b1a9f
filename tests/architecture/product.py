"""What the product consists of, for the tests that hold the documents and the house rules against it."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("shared", "inbound_trigger", "outbound_timer", "operations")


def product_modules() -> list[str]:
    """Return the modules of the product as paths in the project, without the ``__init__.py`` of packages."""
    found = [ROOT / "function_app.py", *(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))]
    return sorted(file.relative_to(ROOT).as_posix() for file in found if file.name != "__init__.py")


def product_files() -> list[str]:
    """Return every Python file of the product, as paths in the project."""
    packages = [file for package in PACKAGES for file in (ROOT / package).rglob("__init__.py")]
    return sorted([*product_modules(), *(file.relative_to(ROOT).as_posix() for file in packages)])


@cache
def parsed(path: str) -> ast.Module:
    """Return the syntax tree of a file of the project."""
    return ast.parse((ROOT / path).read_text("utf-8"), filename=path)


def product_nodes() -> Iterator[tuple[str, ast.AST]]:
    """Yield every node of the product's syntax trees with the path of its file."""
    for path in product_files():
        for node in ast.walk(parsed(path)):
            yield path, node


def files_in_git(*patterns: str, excluded_by: str = "") -> list[str]:
    """Return the files that git keeps, or would keep once they are added; the test is skipped where there is no git.

    excluded_by: a file of ignore patterns; only what it excludes is returned.
    """
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others"]
    command += ["--ignored", f"--exclude-from={ROOT / excluded_by}"] if excluded_by else ["--exclude-standard"]
    try:
        listed = subprocess.run(
            [*command, "-z", "--", *patterns], capture_output=True, encoding="utf-8", timeout=60, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no git checkout, and only git knows which files belong to the project")
    return sorted({name for name in listed.stdout.split("\0") if name and _is_there(ROOT / name)})


def _is_there(path: Path) -> bool:
    return path.is_file() or path.is_symlink()  # a link may lead nowhere


def run_bare(code: str, *arguments: str) -> Any:
    """Run Python code in a new process and a bare environment; return what its last line says as JSON.

    Bare but for what Python itself needs to start: the app may need nothing of it at import.
    """
    # Python starts with these; on Windows not without.
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "TEMP", "TMP") if name in os.environ}
    command = [sys.executable, "-B", "-c", code, *arguments]
    ended = subprocess.run(command, cwd=ROOT, env=kept, capture_output=True, encoding="utf-8", timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


def attribute_calls(tree: ast.AST, owner: str) -> Iterator[tuple[str, ast.Call]]:
    """Return each call ``owner.<name>(...)`` with its name."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=found), attr=name)) if found == owner:
                yield name, node
