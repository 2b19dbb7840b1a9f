"""The documents say what the code does: modules, states, log events, host.json, promises and their tests, links."""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from local_cloud.cloud import KNOWN_PORTS
from shared.azure_storage.queue_names import WORK
from shared.config.app_settings import EXAMPLE_DRIVE, EXAMPLE_URL, SETTINGS
from shared.config.flows import Flows
from shared.config.integrations import parse_integrations
from shared.exports import steps as export_steps
from shared.imports import steps as import_steps
from shared.runs.run import new_run
from shared.runs.states import MOVES, Direction, State
from shared.runs.values import FileFacts, Submission
from shared.version import VERSION
from tests.architecture.config_documents import schema_text
from tests.architecture.generated import FROM_TABLES, INTEGRATIONS, README, ROOT, SCHEMA, block
from tests.architecture.product import attribute_calls, files_in_git, parsed, product_files, product_modules
from tests.instructions import SETUP

ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text("utf-8")
SCENARIOS = (ROOT / "docs" / "scenarios.md").read_text("utf-8")
LIVE = ROOT / "docs" / "live.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LEVELS = {"info": "INFO", "warning": "WARNING", "error": "ERROR"}


def section(text: str, heading: str) -> str:
    """Return what stands below a heading, down to the next one of its level or above."""
    level = len(heading) - len(heading.lstrip("#"))
    rest = text.split(f"\n{heading}\n", 1)[1]
    return re.split(rf"\n#{{1,{level}}} ", rest, maxsplit=1)[0]


def rows(text: str) -> list[list[str]]:
    """Return the cells of the table rows whose first cell begins with code."""
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:3] == "| `"]


def table_rows(text: str, head: str) -> list[list[str]]:
    """Return the cells of the rows of every table that has this head."""
    tables = re.findall(rf"(?m)^{re.escape(head)}\n\| --- .*\n((?:\| .*(?:\n|\Z))*)", text)
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for table in tables for line in table.splitlines()]


def first_codes(text: str) -> list[str]:
    """Return the code that begins each row of the tables."""
    return [row[0].strip("` ") for row in rows(text)]


# -- architecture


def test_the_code_map_names_every_module_of_the_product_once() -> None:
    assert sorted(first_codes(section(ARCHITECTURE, "## Code map"))) == product_modules()


def test_the_code_map_is_grouped_by_folder() -> None:
    groups = re.split(r"(?m)^### ", section(ARCHITECTURE, "## Code map"))[1:]
    folders = {found[1]: first_codes(group) for group in groups if (found := re.match(r"`([\w/]+/)`: ", group))}
    in_folders = [name for names in folders.values() for name in names]

    assert [name for name in product_modules() if name not in in_folders] == ["function_app.py"]
    for folder, names in folders.items():
        assert [name for name in names if folder != _group_of(name, folders)] == []


def _group_of(module: str, folders: Iterable[str]) -> str:
    """Return the nearest folder above a module that the code map has."""
    return max((folder for folder in folders if module.startswith(folder)), key=len, default="")


PLACE = re.compile(r"((?:`\w+`(?: and )?)+) in `([\w/]+\.py)`")


def test_the_answers_to_where_do_i_find_name_what_is_there() -> None:
    places = [
        (path, name)
        for names, path in PLACE.findall(section(ARCHITECTURE, "## Where do I find"))
        for name in re.findall(r"\w+", names.replace("` and `", "` `"))
    ]

    assert places
    assert [(path, name) for path, name in places if name not in _defined(path)] == []


def _defined(path: str) -> set[str]:
    """Return the names of all functions, classes and constants of a module."""
    if not (ROOT / path).is_file():
        return set()
    names: set[str] = set()
    for node in ast.walk(parsed(path)):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
    return names


def test_the_map_of_the_local_cloud_names_its_parts_once() -> None:
    parts = [each for each in (ROOT / "local_cloud").iterdir() if each.suffix == ".py" or each.is_dir()]
    names = sorted(f"local_cloud/{each.name}" for each in parts if each.name not in {"__init__.py", "__pycache__"})

    assert sorted(first_codes(section(ARCHITECTURE, "## The local cloud"))) == names


@pytest.mark.parametrize("name", FROM_TABLES)
def test_the_diagrams_show_the_tables_of_moves(name: str) -> None:
    file, make = FROM_TABLES[name]

    assert block(file, name) == make(), "renew it with: python -m tests.architecture.generated"


def test_the_schema_for_editors_is_what_the_model_says() -> None:
    assert SCHEMA.read_text("utf-8") == schema_text(), "renew it with: python -m tests.architecture.generated"


EXAMPLES = re.findall(r"(?s)```json\n(.*?)\n```", INTEGRATIONS.read_text("utf-8"))
# What stands for %NAME% in them.
FOR_EXAMPLE = {
    "FO_URL": EXAMPLE_URL,
    "ERP_DRIVE": EXAMPLE_DRIVE,
    "STAGE": "Test",
    "FINANCE_TEAMS_URL": "https://contoso.com/a",
    "TREASURY_WEBHOOK_URL": "https://contoso.com/b",
}


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_example_of_a_configuration_is_one_that_the_app_and_editors_take(text: str) -> None:
    parsed = parse_integrations(
        text, environment_url=EXAMPLE_URL, drive=EXAMPLE_DRIVE, setting=lambda name: FOR_EXAMPLE.get(name, "")
    )

    assert isinstance(parsed, Flows), parsed
    assert not list(Draft202012Validator(json.loads(SCHEMA.read_text("utf-8"))).iter_errors(json.loads(text)))


@pytest.mark.parametrize(
    ("heading", "flow", "steps"),
    [("### An import", Direction.IMPORT, import_steps.STEPS), ("### An export", Direction.EXPORT, export_steps.STEPS)],
)
def test_every_state_stands_in_its_table_with_its_step(
    heading: str, flow: Direction, steps: Mapping[State, Any]
) -> None:
    table = {row[0].strip("`"): row[2].strip("`") for row in rows(section(ARCHITECTURE, heading))}

    expected = {state.name: steps[state].__name__ if state in steps else "" for state in MOVES[flow]}
    assert table == expected, f"docs/architecture.md, '{heading}': a row for each state, with its step"


def test_no_lane_waits_for_another_one_with_no_instance_to_take_it() -> None:
    """The host fetches nothing while more than the threshold are processed, and a worker stays with a busy lane."""
    queues = json.loads((ROOT / "host.json").read_text("utf-8"))["extensions"]["queues"]

    assert queues["newBatchThreshold"] >= queues["batchSize"]


def test_host_json_is_explained_value_by_value() -> None:
    explained = {row[0].strip("`"): row[1].strip("`") for row in rows(section(ARCHITECTURE, "## host.json"))}

    assert explained == dict(_leaves(json.loads((ROOT / "host.json").read_text("utf-8"))))


def _leaves(value: object, path: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in _leaves(inner, f"{path} / {key}" if path else key)]
    return [(path, value if isinstance(value, str) else json.dumps(value))]


def test_the_queue_is_that_of_the_code() -> None:
    assert f"one queue, `{WORK}`" in section(ARCHITECTURE, "## Wake-ups")


def test_every_decision_is_linked_from_the_architecture() -> None:
    pages = {file.name for file in ROOT.glob("docs/decisions/*.md")}

    assert {name for name in pages if not re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", name)} == set()
    assert set(re.findall(r"\(decisions/([^)]+)\)", ARCHITECTURE)) == pages


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/decisions/*.md")), ids=lambda page: page.stem)
def test_a_decision_that_was_overtaken_says_so_at_its_top_and_in_the_list(page: Path) -> None:
    second_paragraph = page.read_text("utf-8").split("\n\n")[1]
    found = re.search(r"(?i)^\*\*((?:in part )?overtaken) by \[decision \d+\]\(\d{4}-", second_paragraph)
    listed = re.search(rf"\(decisions/{re.escape(page.name)}\)(?:,\s+(.+))?", section(ARCHITECTURE, "## Decisions"))

    assert listed
    assert (listed[1] or "") == (found[1].lower() if found else "")


# -- operations


def test_every_log_event_is_in_the_table_with_its_level_and_nothing_else_is() -> None:
    logged = {
        (_event_of(call), LEVELS[level])
        for path in product_files()
        for level, call in attribute_calls(parsed(path), "log")
    }

    table = [(row[0].strip("`"), row[1]) for row in rows(section(OPERATIONS, "## Log events"))]
    assert set(table) == set(logged)
    assert len(table) == len(set(table))
    assert all(row[2] and row[3] for row in rows(section(OPERATIONS, "## Log events")))


def _event_of(call: ast.Call) -> str:
    assert isinstance(call.args[0], ast.Constant), f"line {call.lineno}: an event's name must stand there as it is"
    return str(call.args[0].value)


# What an operator reads in a hurry has to fit on a screen.
LONGEST_ANSWER = 50


@pytest.mark.parametrize("heading", ["## Nothing happens", "## A file is stuck", "## A file failed"])
def test_an_answer_for_somebody_in_a_hurry_fits_on_a_screen(heading: str) -> None:
    assert len(section(OPERATIONS, heading).splitlines()) <= LONGEST_ANSWER


def test_every_function_is_counted_where_people_are_told_to_count_them() -> None:
    functions = json.loads((ROOT / "tests" / "snapshots" / "bindings.json").read_text("utf-8"))
    counted = ["none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"]
    counted += ["twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"]
    number = counted[len(functions)]

    assert f"**Are there {number} functions?**" in OPERATIONS
    assert f"- {number.capitalize()} functions:" in SETUP.read_text("utf-8")


# -- questions to the log

# What every line of a run carries: Run.log_keys.
OF_EVERY_RUN = frozenset(
    {"run_id", "direction", "flow_name", "lane", "file", "company", "data_project", "execution_id"}
)
QUESTIONS = 10


def queries() -> list[str]:
    return [block for file in DOCUMENTS for block in re.findall(r"(?s)```kusto\n(.*?)```", file.read_text("utf-8"))]


def keys_by_event() -> dict[str, set[str]]:
    """Return the keys that each event is logged with, beside those of the run."""
    keys: dict[str, set[str]] = {}
    for path in product_files():
        for _level, call in attribute_calls(parsed(path), "log"):
            given = {keyword.arg for keyword in call.keywords if keyword.arg}
            keys.setdefault(_event_of(call), set()).update(given)
    return keys


@pytest.mark.parametrize("query", queries())
def test_a_query_asks_for_events_and_keys_that_are_logged(query: str) -> None:
    logged = keys_by_event()
    named = set(re.findall(r'"([a-z_]+\.[a-z_]+|alert)"', query))
    asked = set(re.findall(r"\be\.(\w+)", query)) - {"event"}
    possible = set().union(*(logged[event] for event in named or logged if event in logged)) | OF_EVERY_RUN

    assert named - set(logged) == set()
    assert asked - possible == set()


def test_a_runs_lines_carry_what_the_queries_count_on() -> None:
    run = replace(
        new_run(
            direction=Direction.IMPORT,
            state=State.FOUND,
            flow_name="import",
            lane="in-1",
            sort_key="1",
            now=datetime(2026, 11, 2, tzinfo=UTC),
            file=FileFacts(name="USMF_1.zip"),
            company="USMF",
            data_project="Customers",
        ),
        submissions=(Submission(execution_id="1", chosen=datetime(2026, 11, 2, tzinfo=UTC)),),
    )

    assert set(run.log_keys()) == OF_EVERY_RUN


def test_the_questions_that_operators_ask_are_numbered_and_each_has_a_query() -> None:
    parts = re.split(r"(?m)^\*\*(\d+)\. ", section(OPERATIONS, "## Questions to the log"))

    assert parts[1::2] == [str(number + 1) for number in range(QUESTIONS)]
    assert all("```kusto" in part for part in parts[2::2])


# -- troubles

TROUBLES = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
TROUBLE_HEADINGS = re.findall(r"(?m)^### (.+)$", TROUBLES)
# Words of the pages' script, and of F&O, as its simulator and its recorded answers have them.
SAID_BY_OTHERS = ("operations/static/*.js", "local_cloud/finance_operations/*.py", "tests/samples/fo/**/*.json")


@cache
def texts_of_the_product() -> tuple[str, ...]:
    """Return every text in the product's source but the docstrings; "\0" for what is filled in."""
    texts: list[str] = []
    for path in product_files():
        statements = {id(node.value) for node in ast.walk(parsed(path)) if isinstance(node, ast.Expr)}
        for node in ast.walk(parsed(path)):
            match node:
                case ast.JoinedStr(values=parts):
                    texts.append("".join(str(each.value) if isinstance(each, ast.Constant) else "\0" for each in parts))
                case ast.Constant(value=str(text)) if id(node) not in statements:
                    texts.append(text)
    return tuple(texts)


def is_said(words: str, texts: Iterable[str]) -> bool:
    """Return whether a text says these words; ``...`` stands for what is filled in, or for words between."""
    pattern = ".*".join(re.escape(part.strip()) for part in words.split("..."))
    return any(re.search(pattern, text, re.DOTALL) for text in texts)


@pytest.mark.parametrize("heading", TROUBLE_HEADINGS)
def test_a_trouble_is_headed_by_words_that_somebody_says(heading: str) -> None:
    others = [file.read_text("utf-8") for pattern in SAID_BY_OTHERS for file in ROOT.glob(pattern)]

    assert is_said(heading, [*texts_of_the_product(), *others])


def test_a_trouble_that_nobody_says_would_be_noticed() -> None:
    assert not is_said("The app is tired", texts_of_the_product())
    assert is_said("F&O sends ... to another address (HTTP ...)", texts_of_the_product())


def test_the_words_in_the_tables_of_troubles_are_said_too() -> None:
    words = [row[0].strip("`") for row in rows(TROUBLES)]

    assert words
    assert [each for each in words if not is_said(each, texts_of_the_product())] == []


@pytest.mark.parametrize("heading", TROUBLE_HEADINGS)
def test_a_trouble_says_what_to_do_in_a_few_lines(heading: str) -> None:
    lines = section(TROUBLES, f"### {heading}").split("\n## ")[0].strip().splitlines()

    assert 1 <= len(lines) <= 14


# -- changelog


def test_the_changelog_begins_with_the_version_that_the_app_says_it_is() -> None:
    headings = re.findall(r"(?m)^## (\S+?),? ", (ROOT / "CHANGELOG.md").read_text("utf-8"))

    assert headings[0] == VERSION


# -- scenarios


A_TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")

# How many are known of each: they are numbered, so that none is dropped by oversight.
FAILURE_MODES = {
    "### Data management of F&O": 48,
    "### OneDrive and Microsoft Graph": 60,
    "### Queues of the Functions host": 9,
    "### Azure Functions": 13,
}


def test_every_promise_names_a_test() -> None:
    promises = table_rows(SCENARIOS, "| Promise | Test |")

    assert promises
    assert [promise for promise in promises if not A_TEST.search(promise[-1])] == []


def test_every_test_that_is_named_by_a_promise_or_a_failure_mode_exists() -> None:
    named = A_TEST.findall(SCENARIOS)

    assert named
    assert [(path, name) for path, name in named if name not in _functions(path)] == []


@pytest.mark.parametrize("heading", FAILURE_MODES)
def test_every_known_failure_mode_has_a_test_or_a_reason_why_it_cannot_concern_us(heading: str) -> None:
    modes = table_rows(section(SCENARIOS, heading), "| No. | What goes wrong | Held by |")

    assert [number for number, _what, _held_by in modes] == [str(n + 1) for n in range(FAILURE_MODES[heading])]
    assert [what for _number, what, _held_by in modes if len(what.split()) < 3] == []
    held = re.compile(rf"{A_TEST.pattern}|Cannot concern us: \w+( \S+){{4,}}")
    assert [mode for mode in modes if not held.match(mode[2])] == []


def _functions(path: str) -> set[str]:
    if not (ROOT / path).is_file():
        return set()
    return {node.name for node in ast.walk(parsed(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


# -- README

LONGEST_README = 250


def test_the_readme_is_short_and_leads_to_the_set_up() -> None:
    text = README.read_text("utf-8")

    assert len(text.splitlines()) < LONGEST_README
    assert all(f"]({page})" in text for page in ("docs/setup.md", "docs/glossary.md", "docs/cost.md"))


def test_the_settings_in_the_readme_are_settings() -> None:
    named = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", section(README.read_text("utf-8"), "## Settings")))

    assert named
    assert named <= set(SETTINGS) | {"PYTHON_THREADPOOL_THREAD_COUNT"}


def test_everything_that_the_product_assumes_is_listed_where_a_real_tenant_is_tried() -> None:
    assumed = Counter(
        {path: len(re.findall(r"\bAssumed\b", (ROOT / path).read_text("utf-8"))) for path in product_files()}
    )

    listed = Counter(first_codes(section(LIVE.read_text("utf-8"), "## What is assumed")))
    assert listed == +assumed


def test_the_output_in_the_readme_is_that_of_a_demo_that_went_well() -> None:
    text = block(README, "dev.py demo")
    states = set(re.findall(r" s  \S+\.zip +(\w+)", text))

    assert text.rstrip("`\n").endswith("All ended where they should.")
    assert "FAIL" not in text
    assert states
    assert states <= {state.value for state in State}


def test_the_addresses_in_the_readme_are_those_of_dev_py_up() -> None:
    ports = {int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", block(README, "dev.py up"))}

    assert ports == {KNOWN_PORTS.host, KNOWN_PORTS.entra, KNOWN_PORTS.graph, KNOWN_PORTS.finance_operations}


# -- all documents


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", _without_code(document.read_text("utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            broken.append(target)

    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_that_documents_speak_of_exist(document: Path) -> None:
    named = re.findall(
        r"`((?:shared|inbound_trigger|outbound_timer|local_cloud|tests|docs)/[\w./-]+)", document.read_text("utf-8")
    )

    assert [name for name in named if not (ROOT / name.rstrip("./")).exists()] == []


def test_every_picture_is_taken_by_a_test_and_shown_in_a_document() -> None:
    pictures = {path.stem for path in (ROOT / "docs" / "images").iterdir()}
    tests = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests" / "end_to_end").glob("test_*.py"))
    documents = "\n".join(document.read_text("utf-8") for document in DOCUMENTS)

    assert pictures == set(re.findall(r'take_picture\("([^"]+)"\)', tests)), (
        "renew them with: python dev.py screenshots"
    )
    assert pictures == set(re.findall(r"images/([\w-]+)\.png", documents))


def _anchors(file: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", _without_code(file.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


# -- what must be nowhere

# A home folder or a working folder of somebody's machine, on any system.
MACHINE_PATH = re.compile(r"(?<![\w.}\])>*])/(?:home|root|work|Users|mnt)/\w|\b[A-Z]:\\{1,2}(?:Users|work)\b")


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    found = [
        f"{path}:{number}: {line.strip()[:120]}"
        for path in files_in_git()
        if not path.endswith((".zip", ".png"))
        for number, line in enumerate((ROOT / path).read_text("utf-8", errors="replace").splitlines(), 1)
        if MACHINE_PATH.search(line)
    ]

    assert found == []


def test_packages_come_from_the_registries_that_everybody_has() -> None:
    requirements = "\n".join((ROOT / name).read_text("utf-8") for name in ("requirements.txt", "requirements-dev.txt"))
    folders = [ROOT / "local_cloud" / "azurite", ROOT / "tests" / "witnesses" / "javascript"]
    lock = "\n".join((folder / "package-lock.json").read_text("utf-8") for folder in folders)
    npmrc = "\n".join((folder / ".npmrc").read_text("utf-8") for folder in folders)

    assert re.findall(r"(?m)^\s*(?:-i|-f|--\S*(?:url|links|host)\S*)\b.*|https?://\S+", requirements) == []
    assert re.findall(r'"resolved": "(?!https://registry\.npmjs\.org/)[^"]*"', lock) == []
    assert re.findall(r"(?m)^.*\bregistry\s*=.*|.*_auth.*", npmrc) == []
