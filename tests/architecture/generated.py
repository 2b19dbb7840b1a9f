"""What stands in the documents and is made from the code: the states' diagrams, the settings, what two commands print.

``python -m tests.architecture.generated`` renews diagrams, settings and the schema; with ``--output`` it also runs
``dev.py demo`` and ``dev.py up`` (whose ports must be free) and puts what they print into the README. ``test_docs.py``
complains if a document is not what the code says.
"""

import argparse
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from local_cloud.processes import ChildProcess
from shared.exports import steps as export_steps
from shared.imports import steps as import_steps
from shared.runs.machine import Step
from shared.runs.states import EXPORT_MOVES, IMPORT_MOVES, PROGRESS, State
from tests.architecture import config_documents

ROOT: Final = Path(__file__).resolve().parents[2]
ARCHITECTURE: Final = ROOT / "docs" / "architecture.md"
README: Final = ROOT / "README.md"
SETTINGS: Final = ROOT / "docs" / "settings.md"
INTEGRATIONS: Final = ROOT / "docs" / "integrations.md"
SCHEMA: Final = ROOT / "docs" / "integrations.schema.json"
SCENARIOS: Final = ROOT / "docs" / "scenarios.md"
WIDEST: Final = 130  # characters of a line of output that the README shows


def state_diagram(moves: Mapping[State, frozenset[State]], steps: Mapping[State, Step]) -> str:
    """Return the diagram of a table of moves in Mermaid's language.

    Each arrow bears the step that makes the move, or says that a person does.
    """
    first = next(iter(moves))
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {first.name}"]
    for state, following in moves.items():
        for to in (each for each in State if each in following):
            again = ", again" if PROGRESS[to] < PROGRESS[state] else ""
            mover = "a person" if to is State.CANCELLED else steps[state].__name__
            lines.append(f"    {state.name} --> {to.name}: {mover}{again}")
        if not following:
            lines.append(f"    {state.name} --> [*]")
    return "\n".join([*lines, "```"])


def import_states() -> str:
    """Return the diagram of an import's states."""
    return state_diagram(IMPORT_MOVES, import_steps.STEPS)


def export_states() -> str:
    """Return the diagram of an export's states."""
    return state_diagram(EXPORT_MOVES, export_steps.STEPS)


def demo_output() -> str:
    """Run the demo and return what it prints."""
    ended = subprocess.run(
        [sys.executable, "dev.py", "demo"], cwd=ROOT, capture_output=True, encoding="utf-8", timeout=300, check=True
    )
    return as_text("python dev.py demo", ended.stdout)


def up_output() -> str:
    """Run ``dev.py up``, stop it when it has told how to use it, and return what it told."""
    process = ChildProcess([sys.executable, "dev.py", "up"], name="dev.py up", cwd=ROOT)
    try:
        process.wait_for_line("Ctrl-C stops everything", timeout_s=120)
        lines = process.output.splitlines()
    finally:
        process.stop()
    begins = next(number for number, line in enumerate(lines) if line.startswith("Copy a data package"))
    ends = next(number for number, line in enumerate(lines) if line.startswith("Ctrl-C"))
    return as_text("python dev.py up", "\n".join(lines[begins : ends + 1]))


def machine() -> str:
    """Return what a figure was measured on, in a few words."""
    return f"{platform.system()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def as_text(command: str, output: str) -> str:
    """Return a block of text without the paths of the machine that it was made on."""
    output = output.replace(str(ROOT), "<this folder>")
    output = re.sub(r"\S*onedrive-fo-demo-\w+", "<temporary folder>", output)
    lines = [line.rstrip() for line in output.strip("\n").splitlines()]
    lines = [line if len(line) <= WIDEST else f"{line[:WIDEST]} ..." for line in lines]
    return "\n".join(["```text", f"$ {command}", *lines, "```"])


# By the name of the block: where it stands and how it is made.
FROM_TABLES: Final[Mapping[str, tuple[Path, Callable[[], str]]]] = {
    "states of an import": (ARCHITECTURE, import_states),
    "states of an export": (ARCHITECTURE, export_states),
    "app settings": (SETTINGS, config_documents.app_settings),
    "settings of an import": (INTEGRATIONS, config_documents.import_settings),
    "settings of an export": (INTEGRATIONS, config_documents.export_settings),
}
FROM_COMMANDS: Final[Mapping[str, tuple[Path, Callable[[], str]]]] = {
    "dev.py demo": (README, demo_output),
    "dev.py up": (README, up_output),
}


def block(file: Path, name: str) -> str:
    """Return what stands between the two markers of that name. Raises ValueError where they are missing."""
    found = _pattern(name).search(file.read_text("utf-8"))
    if found is None:
        raise ValueError(f"{file.name} has no markers for '{name}'")
    return found["content"]


def renew(file: Path, name: str, content: str) -> bool:
    """Put a block's content between its markers; return whether that changed the file."""
    before = file.read_text("utf-8")
    after = _pattern(name).sub(lambda found: f"{found['begin']}{content}{found['end']}", before)
    if after != before:
        file.write_text(after, "utf-8", newline="\n")
    return after != before


def _pattern(name: str) -> re.Pattern[str]:
    begin, end = f"<!-- made: {name} -->\n", f"\n<!-- end: {name} -->"
    return re.compile(f"(?P<begin>{re.escape(begin)})(?P<content>.*?)(?P<end>{re.escape(end)})", re.DOTALL)


def main(arguments: Sequence[str]) -> int:
    """Renew the blocks; return 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.architecture.generated", description=__doc__)
    parser.add_argument("--output", action="store_true", help="run demo and up, and renew their output in the README")
    blocks = {**FROM_TABLES, **(FROM_COMMANDS if parser.parse_args(arguments).output else {})}
    for name, (file, make) in blocks.items():
        changed = renew(file, name, make())
        sys.stdout.write(f"{file.name}: {name} {'renewed' if changed else 'is up to date'}\n")
    SCHEMA.write_text(config_documents.schema_text(), "utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
