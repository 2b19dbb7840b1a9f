"""Reads command lines as the Azure CLI does, and carries none of them out; runs in the environment of azure-cli.

stdin: a JSON list of command lines, each a list of words behind "az". stdout: a JSON list, for each line what the Azure
CLI has against it, "" for nothing. Nothing is called: parsing ends before the first request is made.
"""

import contextlib
import importlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from typing import Any


class Parser:
    """The parser of the Azure CLI, with the commands of the lines that it has read."""

    def __init__(self) -> None:
        # By its name, because type checks run where it is not installed; and not before the environment is set.
        self._cli: Any = importlib.import_module("azure.cli.core").get_default_cli()

    def complaint(self, words: Sequence[str]) -> str:
        """Return what is wrong with a command line, "" if nothing is.

        A line without any option need only name a command, or a group of them: a text may speak of one.
        """
        # As AzCliCommandInvoker.execute begins.
        # https://github.com/Azure/azure-cli/blob/dev/src/azure-cli-core/azure/cli/core/commands/__init__.py
        invocation: Any = self._cli.invocation_cls(
            cli_ctx=self._cli,
            parser_cls=self._cli.parser_cls,
            commands_loader_cls=self._cli.commands_loader_cls,
            help_cls=self._cli.help_cls,
        )
        self._cli.invocation = invocation
        loader = invocation.commands_loader
        loader.load_command_table(list(words))
        name = " ".join(words)
        if name in loader.command_table or name in loader.command_group_table:
            return ""
        command = invocation._rudimentary_get_command(list(words))
        invocation.data["command_string"] = command
        loader.load_arguments(command)
        invocation.parser.load_command_table(loader)
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
                invocation.parser.parse_args(list(words))
        except SystemExit:
            return said.getvalue().strip() or "it ends without a word"
        return ""


def main() -> None:
    """Answer."""
    lines = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as folder:
        # Nobody's sign-in, extensions and settings; no telemetry, no questions. The Azure CLI reads the environment.
        os.environ.update(  # it is this process's alone
            AZURE_CONFIG_DIR=folder,
            AZURE_EXTENSION_DIR=os.path.join(folder, "extensions"),  # noqa: PTH118  # a text is what is wanted
            AZURE_CORE_COLLECT_TELEMETRY="no",
            AZURE_EXTENSION_USE_DYNAMIC_INSTALL="no",
        )
        parser = Parser()
        answers = [parser.complaint(line) for line in lines]
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
