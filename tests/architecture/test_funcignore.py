"""What ``func azure functionapp publish`` would send to Azure: the product, whole, and nothing else."""

import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.architecture.product import ROOT, files_in_git, product_files
from tests.core_tools import FuncIgnore, files_sent_from
from tests.dirty_tree import DIRT, OF_THE_PROJECT, make_dirty_tree, publish
from tests.function_index import files_imported_from, index_app

CONFIGURATION: Final = ["host.json", "requirements.txt"]
PAGES: Final = ["operations/static/*", "operations/templates/*"]


@pytest.fixture
def dirty_tree(tmp_path: Path) -> Path:
    return make_dirty_tree(tmp_path)


@pytest.fixture
def published_app(tmp_path: Path) -> Path:
    return publish(tmp_path)


def what_the_app_needs() -> list[str]:
    return sorted([*product_files(), *CONFIGURATION, *files_in_git(*PAGES)])


def test_the_product_is_sent_from_a_dirty_folder_and_nothing_else(dirty_tree: Path) -> None:
    assert files_sent_from(dirty_tree) == what_the_app_needs(), "a folder of the product needs lines in .funcignore"


def test_git_and_what_reads_the_list_by_its_rules_come_to_the_same(dirty_tree: Path) -> None:
    """Visual Studio Code's extension does so."""
    command = ["git", "-C", str(dirty_tree), "ls-files", "--others", "-z", f"--exclude-from={dirty_tree}/.funcignore"]

    subprocess.run(["git", "init", "--quiet", str(dirty_tree)], check=True, timeout=60)
    listed = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, timeout=60).stdout

    assert sorted(filter(None, listed.split("\0"))) == what_the_app_needs()


def test_a_file_with_the_flows_is_sent_too(dirty_tree: Path) -> None:
    """INTEGRATIONS may name it."""
    (dirty_tree / "integrations.json").write_text("{}", encoding="utf-8")

    assert "integrations.json" in files_sent_from(dirty_tree)


def test_git_keeps_no_secret_and_nothing_that_a_tool_has_made(dirty_tree: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(dirty_tree)], check=True, timeout=60)
    command = ["git", "-C", str(dirty_tree), "check-ignore", "--stdin", "-z"]
    asked = "\0".join((*DIRT, *OF_THE_PROJECT, *files_in_git()))

    ignored = subprocess.run(command, input=asked, capture_output=True, encoding="utf-8", check=True, timeout=60).stdout

    assert set(filter(None, ignored.split("\0"))) == set(DIRT)


def test_what_is_published_can_be_imported_on_its_own(published_app: Path) -> None:
    assert files_imported_from(published_app) == set(product_files())


def test_azure_finds_the_same_functions_in_what_is_published(published_app: Path) -> None:
    assert index_app(published_app) == index_app(ROOT)


@pytest.mark.parametrize(
    ("patterns", "path", "is_sent"),
    [
        # Of the tests of Core Tools itself.
        ("node_modules", "node_modules/wat.js", False),
        ("node_modules", "test/node_modules/wat.js", True),
        ("nonexistent\n!/nonexistent/foo", "nonexistent/foo/wat", True),
        ("nonexistent\n!/nonexistent/foo", "nonexistent/bar", False),
        ("/test1", "test1File.wat", True),
        ("foo/*.wat", "foo/bar.wat", False),
        ("*.swp", "test.swp", False),
        # Where it differs from git.
        ("__pycache__/", "shared/__pycache__/x.pyc", True),
        (".venv/", ".venv/.lock", True),
        ("!/shared/*.py\n**\nshared/secret.py", "shared/secret.py", True),
        ("**\n!/shared/*.py", "shared/deeper/x.py", False),
        ("**\n!/shared/*.py", "shared/__pycache__/x.pyc", False),
        ("**\n!/host.json", "host.json.bak", True),
        ("*", "ä/x", True),
        ("**", "ä/x", False),
    ],
)
def test_core_tools_reads_patterns_by_its_own_rules(patterns: str, path: str, is_sent: bool) -> None:
    # https://github.com/Azure/azure-functions-core-tools/blob/main/test/Cli/Func.UnitTests/ParserTests/GitIgnoreParserTests.cs
    assert FuncIgnore(patterns).accepts(path) is is_sent


def test_the_published_requirements_are_pinned() -> None:
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    requirements = [line.split("#")[0].split(";")[0].strip() for line in lines]

    assert [line for line in requirements if line and "==" not in line] == []
