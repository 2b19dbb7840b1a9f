"""What the product consists of, for the tests that hold the documents and the house rules against it."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

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


def attribute_calls(tree: ast.AST, owner: str) -> Iterator[tuple[str, ast.Call]]:
    """Return each call ``owner.<name>(...)`` with its name."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=found), attr=name)) if found == owner:
                yield name, node
