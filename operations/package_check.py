"""Checks a data package on this machine, without F&O and without any setting: ``python dev.py package check FILE``.

It says what the report beside a refused file would say, or what the package holds.
"""

import sys
from collections.abc import Sequence

from operations import arguments, command_line
from shared.errors import AppError
from shared.escapes import one_line, terminal_text
from shared.imports.package import PackageFacts, check_package
from shared.runs.states import Outcome


def main(given: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 F&O can take the package, 1 it is refused, 2 invalid arguments."""
    command_line.prepare_output()
    options = arguments.package(given, {})
    try:
        with options.file.open("rb") as file:
            facts = check_package(file)
    except (AppError, OSError) as error:
        command_line.say(terminal_text(f"{one_line(options.file.name)}: {Outcome.REJECTED.label}\n\n{error}"))
        return 1
    command_line.say(_describe(options.file.name, facts))
    return 0


def _describe(name: str, facts: PackageFacts) -> str:
    lines = [
        f"{name}: the app finds no error in this package. F&O still checks the entities and the rows.",
        f"Data project: {facts.data_project or '- (the manifest names none: name one in the settings)'}",
        *(f"Entity: {each.name}, in {each.file_name}" for each in facts.entities),
    ]
    return "\n".join(terminal_text(one_line(line)) for line in lines)


if __name__ == "__main__":
    sys.exit(main())
