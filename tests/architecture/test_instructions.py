"""The instructions for Azure, held against the app: which keys open what, the order of the steps, the settings.

Whether the Azure CLI understands their lines is for its own parser to say (``tests/witnesses/test_azure_cli.py``).
"""

import json
from pathlib import Path

import pytest

from tests.architecture.product import ROOT
from tests.instructions import SETUP, LineUnreadable, Shell, all_lines, keys_to_set, lines_of

STEPS = SETUP.read_text("utf-8")
WEBHOOK = "receive_notification"


def http_functions() -> dict[str, list[str]]:
    """Return the functions that are called by HTTP, each with its methods."""
    functions = json.loads((ROOT / "tests" / "snapshots" / "bindings.json").read_text("utf-8"))
    triggers = {
        name: [binding for binding in bindings if binding["type"] == "httpTrigger"]
        for name, bindings in functions.items()
    }
    return {name: trigger[0]["methods"] for name, trigger in triggers.items() if trigger}


@pytest.mark.parametrize("shell", [Shell.BASH, Shell.POWERSHELL])
def test_each_function_gets_the_keys_that_it_needs_and_none_is_forgotten(shell: Shell) -> None:
    functions = http_functions()
    viewing = {name for name, methods in functions.items() if methods == ["GET"]}
    acting = set(functions) - viewing - {WEBHOOK}

    assert keys_to_set(shell) == {"GRAPH_KEY": {WEBHOOK}, "VIEW_KEY": viewing, "ACT_KEY": viewing | acting}


def test_no_key_of_the_host_is_made_which_would_open_every_function() -> None:
    assert [str(line) for line in all_lines() if line.words[:3] == ("functionapp", "keys", "set")] == []


def test_the_app_is_published_before_its_keys_are_set_and_graph_is_told_last() -> None:
    places = [
        STEPS.index("func azure functionapp publish APP --python\n"),
        STEPS.index("az functionapp function keys set"),
        STEPS.index("NOTIFICATION_URL=https://HOST"),
    ]

    assert places == sorted(places)


def test_whoever_names_the_storage_account_says_with_which_identity_the_host_signs_in_to_it() -> None:
    named = [line for line in all_lines() if "AzureWebJobsStorage__accountName=STORAGE" in line.words]

    assert named
    assert [str(line) for line in named if "AzureWebJobsStorage__credential=managedidentity" not in line.words] == []


# -- how the lines are read


def read(tmp_path: Path, language: str, code: str) -> list[tuple[str, ...]]:
    document = tmp_path / "document.md"
    document.write_text(f"Text.\n\n```{language}\n{code}\n```\n", encoding="utf-8")
    return [line.words for line in lines_of(document)]


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("text", "az group list --query \"[?name=='a b'].id\" --output tsv"),
        ("bash", "az group list \\\n  --query \"[?name=='a b'].id\" \\\n  --output tsv"),
        ("powershell", "az group list `\n  --query \"[?name=='a b'].id\" `\n  --output tsv"),
    ],
)
def test_a_line_that_goes_on_is_one_line(tmp_path: Path, language: str, code: str) -> None:
    assert read(tmp_path, language, code) == [("group", "list", "--query", "[?name=='a b'].id", "--output", "tsv")]


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("bash", "for name in a b; do\n  az group show --name $name\ndone"),
        ("powershell", 'foreach ($name in "a", "b") {\n    az group show --name $name\n}'),
    ],
)
def test_a_loop_is_a_line_for_each_round(tmp_path: Path, language: str, code: str) -> None:
    assert read(tmp_path, language, code) == [("group", "show", "--name", "a"), ("group", "show", "--name", "b")]


@pytest.mark.parametrize(
    ("language", "code", "why"),
    [
        ("text", "az rest --body @grant.json", "in PowerShell @"),
        ("text", "az group list --query [].name", r"in bash \[ \]"),
        ("text", "az x --settings A=1,B=2", "in PowerShell ,"),
        ("text", "az group list --query a \\\n --output tsv", r"in bash \\"),
        ("bash", "az group show --name $name", "nothing gives this variable a value"),
        ("bash", "HOST=$(az functionapp show)", "has to begin its line"),
    ],
)
def test_a_line_that_a_shell_would_take_amiss_is_noticed(tmp_path: Path, language: str, code: str, why: str) -> None:
    with pytest.raises(LineUnreadable, match=why):
        read(tmp_path, language, code)
