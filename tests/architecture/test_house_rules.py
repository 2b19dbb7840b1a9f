"""Rules of the house that no linter knows."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.architecture.product import ROOT, files_in_git, parsed, product_files, product_nodes

BLIND = {"", "Exception", "BaseException"}


def _says_why(path: str, line: int) -> bool:
    """Return whether the line has a comment, in which a waiver alone does not count."""
    source = (ROOT / path).read_text("utf-8").splitlines()[line - 1]
    return re.search(r"#(?! noqa| type:) \S", source) is not None


def test_a_blind_except_stands_at_the_edge_of_a_duty_of_the_runner_and_of_the_import_alone_and_says_why() -> None:
    blind = [
        (path, node.lineno)
        for path, node in product_nodes()
        if isinstance(node, ast.ExceptHandler)
        and (ast.unparse(node.type) if node.type else "") in BLIND
        and not _raises_again(node)
    ]

    assert [path for path, _line in blind] == [
        "shared/concurrency.py",
        "shared/runs/worker.py",
        "shared/thread_pool.py",
    ]
    assert all(_says_why(path, line) for path, line in blind)


def _raises_again(handler: ast.ExceptHandler) -> bool:
    """Return whether a handler only cleans up: its last word is a bare ``raise``."""
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def test_the_product_waits_in_two_places_which_say_why_and_no_step_does() -> None:
    waits = [
        (path, node.lineno)
        for path, node in product_nodes()
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("sleep")
    ]

    assert [path for path, _line in waits] == [
        "shared/azure_storage/import_lock.py",
        "shared/azure_storage/import_lock.py",
        "shared/runs/worker.py",
        "shared/runs/worker.py",
    ]
    assert all(_says_why(path, line) for path, line in waits)


# What makes text of others fit for a place, and what reads JSON of others.
ESCAPES = {"quote", "quote_plus", "unquote", "urlencode", "dumps", "loads", "get_json"}


def test_text_and_json_of_others_are_escaped_and_read_in_one_module() -> None:
    found = {
        path
        for path, node in product_nodes()
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ESCAPES
    }

    # The settings' JSON is read where it stands, because its reader tells of names that stand twice.
    assert found == {"shared/escapes.py", "shared/config/integrations.py"}


def test_a_time_is_read_in_one_module_so_that_one_without_a_zone_means_the_same_everywhere() -> None:
    found = {
        path
        for path in product_files()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("datetime.fromisoformat")
    }

    # A person who names a moment without its zone may mean another one than UTC: the request is refused.
    assert found == {"shared/moments.py", "operations/handlers.py"}


def test_nothing_in_the_product_is_asynchronous_so_that_no_call_can_stop_an_event_loop() -> None:
    found = [
        (path, node.lineno) for path, node in product_nodes() if isinstance(node, ast.AsyncFunctionDef | ast.Await)
    ]

    assert found == []


def test_the_product_adds_no_handler_to_the_log_which_would_double_every_line_in_azure() -> None:
    found = [
        (path, node.lineno)
        for path, node in product_nodes()
        if isinstance(node, ast.Attribute) and node.attr in {"addHandler", "basicConfig", "dictConfig", "fileConfig"}
    ]

    assert found == []


@pytest.mark.parametrize("path", product_files())
def test_everything_public_has_a_docstring(path: str) -> None:
    tree = parsed(path)

    assert ast.get_docstring(tree)
    assert [name for name, node in _public(tree) if not ast.get_docstring(node)] == []


def _public(node: ast.Module | ast.ClassDef) -> Iterator[tuple[str, ast.FunctionDef | ast.ClassDef]]:
    for inner in node.body:
        if isinstance(inner, ast.FunctionDef | ast.ClassDef) and not inner.name.startswith("_"):
            yield inner.name, inner
            if isinstance(inner, ast.ClassDef):
                yield from _public(inner)


WAIVER = re.compile(
    r"#\s*(?P<what>noqa(?:: (?P<rules>[A-Z0-9, ]+))?|type:\s*ignore(?:\[(?P<codes>[\w, -]+)\])?)(?P<why>.*)"
)


def test_waivers_name_their_rule_and_a_reason() -> None:
    """A reason that stands in a file once holds for the same waiver further down."""
    bare = []
    for path in files_in_git("*.py"):
        if path.startswith("tests/"):
            continue
        explained: set[str] = set()
        for number, line in enumerate((ROOT / path).read_text("utf-8").splitlines(), 1):
            if found := WAIVER.search(line):
                rule = (found["rules"] or found["codes"] or "").strip()
                if re.match(r"\s*[#-]\s*\S", found["why"]):
                    explained.add(rule)
                if not rule or rule not in explained:
                    bare.append(f"{path}:{number}")

    assert bare == []


def test_no_file_is_a_link_which_windows_cannot_make_and_which_may_lead_out_of_the_project() -> None:
    assert [name for name in files_in_git() if (ROOT / name).is_symlink()] == []


def test_every_function_for_which_nobody_waits_records_its_process() -> None:
    """The health page tells how many threads each has: a function that is left out would be missing there."""
    decorators = {
        node.name: [ast.unparse(each) for each in node.decorator_list]
        for path in product_files()
        if path.endswith("/functions.py")
        for node in parsed(path).body
        if isinstance(node, ast.FunctionDef)
    }
    triggered = {
        name
        for name, each in decorators.items()
        if any(".queue_trigger(" in text or ".timer_trigger(" in text for text in each)
    }

    assert triggered
    assert {name for name in triggered if decorators[name][-1] != "records_process"} == set()


# "CASES" of packages belong to both of their tests, and to nobody else.
SHARED_CASES = ("tests/hostile/test_nothing_is_lost.py", "tests.hostile.test_packages")


def test_no_test_imports_another_one_whose_tests_it_would_break() -> None:
    """What tests share stands in ``tests/builders.py``, a module of its own, or a ``conftest.py``."""
    found = [
        (path, node.module)
        for path in files_in_git("tests/*.py")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ImportFrom) and node.module
        if any(part.startswith("test_") for part in node.module.split(".")) and node.module.startswith("tests.")
    ]

    assert found == [SHARED_CASES]
