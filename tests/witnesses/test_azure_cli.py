"""The Azure CLI understands each line of the instructions that calls it: its commands, options and choices.

Its own parser reads them, in a process and an environment of its own, and none is carried out.
"""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.instructions import Line, all_lines
from tests.witnesses.clients import AZURE_CLI

pytestmark = [
    pytest.mark.witness(AZURE_CLI.name),
    pytest.mark.skipif(AZURE_CLI.version() is None, reason=AZURE_CLI.missing()),
]

PROGRAM: Final = Path(__file__).with_name("azure_cli") / "parse.py"
KEY: Final = "functionapp function keys set --resource-group GROUP --name APP --function-name act --key-name act"


def complaints(lines: Sequence[Sequence[str]]) -> list[str]:
    """Return what the Azure CLI has against each command line, "" where it is right."""
    done = subprocess.run(
        [AZURE_CLI.python, "-I", "-W", "ignore", str(PROGRAM)],
        input=json.dumps(lines),
        capture_output=True,
        encoding="utf-8",
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[str] = json.loads(done.stdout)
    return answers


def test_the_azure_cli_understands_every_line_of_the_instructions() -> None:
    lines: list[Line] = all_lines()

    answers = complaints([line.words for line in lines])

    assert {str(line): answer for line, answer in zip(lines, answers, strict=True) if answer} == {}


def test_a_wrong_line_would_be_noticed() -> None:
    expected = {
        f"{KEY} --key-value 0f": "",
        f"{KEY} --key-value -0f": "expected one argument",
        f"{KEY} --key-value 0f --nonsense": "unrecognized arguments: --nonsense",
        "functionapp function keys set --resource-group G --name A --key-name a": "required: --function-name",
        "functionapp keys set --key-type functionKey --resource-group G --name A --key-name a": "functionKey",
        "functionapp key list": "misspelled or not recognized",
        "functionapp list --query [": "invalid jmespath_type value",
        "functionapp keys list": "",
        "functionapp": "",
    }

    answers = complaints([line.split() for line in expected])

    found = dict(zip(expected, answers, strict=True))
    assert {line: answer for line, answer in found.items() if bool(answer) is not bool(expected[line])} == {}
    assert {line: answer for line, answer in found.items() if expected[line] not in answer} == {}
