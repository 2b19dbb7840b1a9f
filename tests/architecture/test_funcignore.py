"""What ``func azure functionapp publish`` would send to Azure: the product, whole, and nothing else."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.product import ROOT, files_in_git, product_files

CONFIGURATION = ["host.json", "requirements.txt"]
PAGES = ["operations/static/*", "operations/templates/*"]


def published_files() -> list[str]:
    """Return the project's files that .funcignore lets through; git reads its patterns, which are gitignore's."""
    ignored = set(files_in_git(excluded_by=".funcignore"))
    return [path for path in files_in_git() if path not in ignored]


@pytest.fixture
def published_app(tmp_path: Path) -> Path:
    """The app as it would lie in Azure."""
    for path in published_files():
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, target)
    return tmp_path


def test_the_product_is_published_and_nothing_else() -> None:
    assert published_files() == sorted([*product_files(), *CONFIGURATION, *files_in_git(*PAGES)])


def test_what_is_published_can_be_imported_on_its_own(published_app: Path) -> None:
    code = (
        "import function_app, importlib, json, operations, pkgutil, shared, sys\n"
        "for package in (shared, operations):\n"
        "    for module in pkgutil.walk_packages(package.__path__, f'{package.__name__}.'):\n"
        "        importlib.import_module(module.name)\n"
        "ours = ('function_app', 'shared', 'inbound_trigger', 'outbound_timer', 'operations', 'local_cloud', 'tests')\n"
        "print(json.dumps({n: m.__file__ for n, m in sys.modules.items() if n.split('.')[0] in ours}))\n"
    )

    ended = subprocess.run(
        [sys.executable, "-B", "-c", code],
        cwd=published_app,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    loaded = {name: Path(file) for name, file in json.loads(ended.stdout).items()}
    assert all(file.is_relative_to(published_app.resolve()) for file in loaded.values())
    assert {file.relative_to(published_app.resolve()).as_posix() for file in loaded.values()} == set(product_files())


@pytest.mark.parametrize("name", ["local.settings.json", ".venv/pyvenv.cfg", ".local/up/data/x", "tests/conftest.py"])
def test_secrets_and_what_is_for_developers_stay_at_home(name: str) -> None:
    patterns = (ROOT / ".funcignore").read_text("utf-8").split()

    assert name in patterns or f"{name.split('/')[0]}/" in patterns


def test_the_published_requirements_are_pinned() -> None:
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    requirements = [line.split("#")[0].split(";")[0].strip() for line in lines]

    assert [line for line in requirements if line and "==" not in line] == []
