"""A clone of the project in which somebody has worked: what lies about there, and must not get to Azure."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.architecture.product import ROOT, files_in_git
from tests.core_tools import files_sent_from

# What lies about in the folder of somebody who has developed, deployed and administrated the app from it.
DIRT: Final = (
    *(".env", ".env.production", "grant.json", "key.txt", "act-key.txt", "settings.pem", "app.pfx"),
    *("local.settings.json", "contoso.settings.json", "shared/contoso.settings.json", "shared/.env", "shared/key.txt"),
    *("operations/templates/grant.json", "inbound_trigger/settings.pem"),
    *(".azure/production/.env", "azure.yaml", "infra/main.bicep", "infra/app/rbac.bicep"),
    *(".venv/pyvenv.cfg", ".venv/lib/python3.13/site-packages/shared/x.py", "venv313/pyvenv.cfg", ".venv-3.13/x.py"),
    *("onedrive_env/bin/python", "env/bin/activate"),
    *("__pycache__/function_app.cpython-313.pyc", "shared/__pycache__/log.cpython-313.pyc"),
    *("shared/scan/__pycache__/scan.cpython-313.pyc", "operations/__pycache__/pages.cpython-313.pyc"),
    *(".vscode/settings.json", ".idea/workspace.xml", ".vs/x.json", "shared/.idea/workspace.xml"),
    *(".local/up/data/x.json", ".mypy_cache/x.json", ".python_packages/lib/site-packages/x.py"),
)
# What git keeps, or would: it is for people, and not for Azure.
OF_THE_PROJECT: Final = (".github/workflows/ci.yml", ".devcontainer/devcontainer.json", "Größe/Über uns.txt", "ä/ö.txt")


def make_dirty_tree(folder: Path) -> Path:
    """Make such a clone in an empty folder, and return it."""
    copy_into(folder, files_in_git())
    for path in (*DIRT, *OF_THE_PROJECT):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("not for others", encoding="utf-8")
    return folder


def copy_into(folder: Path, paths: Iterable[str], *, origin: Path = ROOT) -> Path:
    """Copy files into a folder, each to where it was in its own, and return the folder."""
    for path in paths:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(origin / path, target, follow_symlinks=False)
    return folder


def publish(folder: Path) -> Path:
    """Return the app as it would lie in Azure, sent from such a clone; both are made in an empty folder."""
    dirty = make_dirty_tree(folder / "dirty")
    return copy_into(folder / "published", files_sent_from(dirty), origin=dirty)
