"""The lines of the instructions that call the Azure CLI, as the shell that they are for would hand them over.

A block of code in a document is for bash, for PowerShell, or (``text``) for both. A line in the text is for both, too.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
DOCUMENTS: Final = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
SETUP: Final = ROOT / "docs" / "setup.md"

_FENCE: Final = re.compile(r"(?ms)^(?P<indent> *)```(?P<language>\w*)\n(?P<code>.*?)^(?P=indent)```$")
_INLINE: Final = re.compile(r"`(az [^`]+)`")
_CALL: Final = re.compile(r"(?<![\w./-])az +[a-z]")
_LOOPS: Final = (
    re.compile(r"for (?P<name>\w+) in (?P<values>[\w ]+); do"),
    re.compile(r"foreach \(\$(?P<name>\w+) in (?P<values>\"[^()]*\")\) \{.*"),
)
# Outside of quotes these mean something to the shell. A "$" is looked at by itself.
_SPECIAL_TO_BASH: Final = frozenset("*?[]{}();&|<>!#~`\\")
_SPECIAL_TO_POWERSHELL: Final = frozenset("(){};&|<>@#,`")


class Shell(Enum):
    """Whom a line is for."""

    BASH = frozenset({"bash"})
    POWERSHELL = frozenset({"powershell"})
    BOTH = frozenset({"bash", "powershell"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A call of the Azure CLI in a document; of a loop it is one round."""

    document: Path
    text: str
    shell: Shell
    words: tuple[str, ...]  # behind "az", as the program gets them

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT).as_posix()}: {self.text}"

    def option(self, name: str) -> str:
        """Return what stands behind an option, "" where it is not there."""
        return self.words[self.words.index(name) + 1] if name in self.words else ""


class LineUnreadable(AssertionError):
    """A shell would make something else of this line than it looks like."""


def lines_of(document: Path) -> Iterator[Line]:
    """Return each call of the Azure CLI in a document. Raises LineUnreadable."""
    text = document.read_text("utf-8")
    for block in _FENCE.finditer(text):
        shell = {"bash": Shell.BASH, "powershell": Shell.POWERSHELL}.get(block["language"], Shell.BOTH)
        for line, loop in _logical_lines(block["code"], shell):
            yield from _rounds(document, line, shell, loop)
    for call in _INLINE.findall(_FENCE.sub("", text)):
        yield from _rounds(document, " ".join(call.split()), Shell.BOTH, {})


def all_lines() -> list[Line]:
    """Return each call of the Azure CLI in all documents. Raises LineUnreadable."""
    return [line for document in DOCUMENTS for line in lines_of(document)]


def _logical_lines(code: str, shell: Shell) -> Iterator[tuple[str, Mapping[str, Sequence[str]]]]:
    """Return the lines that call az, put together where they go on, with the loop in which each stands."""
    if shell is not Shell.BOTH:
        code = re.sub(r"\\\n" if shell is Shell.BASH else r"`\n", " ", code)
    loop: dict[str, Sequence[str]] = {}
    for line in map(str.strip, code.splitlines()):
        if begun := next(filter(None, (pattern.fullmatch(line) for pattern in _LOOPS)), None):
            loop = {begun["name"]: re.findall(r"\w+", begun["values"])}
        elif line in ("done", "}"):
            loop = {}
        elif line.startswith("az "):
            yield line, loop
        elif _CALL.search(line):
            raise LineUnreadable(f"az has to begin its line, so that a test can read it: {line}")


def _rounds(document: Path, text: str, shell: Shell, loop: Mapping[str, Sequence[str]]) -> Iterator[Line]:
    ((name, values),) = loop.items() or [("", [""])]
    for value in values:
        given = {name: value} if name else {}
        readings = {
            tuple(read(text, given))
            for read, language in ((_bash, "bash"), (_powershell, "powershell"))
            if language in shell.value
        }
        if len(readings) != 1:
            raise LineUnreadable(f"bash and PowerShell read this line differently: {text}")
        yield Line(document=document, text=text, shell=shell, words=readings.pop()[1:])


def _bash(text: str, variables: Mapping[str, str]) -> list[str]:
    bare = re.sub(r"'[^']*'|\"[^\"]*\"", "", text)
    if wrong := sorted(_SPECIAL_TO_BASH & set(bare)):
        raise LineUnreadable(f"in bash {' '.join(wrong)} must stand in quotes: {text}")
    return [_filled(word, variables, text) for word in shlex.split(text)]


def _powershell(text: str, variables: Mapping[str, str]) -> list[str]:
    # https://learn.microsoft.com/powershell/module/microsoft.powershell.core/about/about_parsing
    # https://learn.microsoft.com/powershell/module/microsoft.powershell.core/about/about_quoting_rules
    parts = re.findall(r"(?:'[^']*'|\"[^\"]*\"|[^\s'\"])+", text)
    bare = re.sub(r"'[^']*'|\"[^\"]*\"", "", text)
    if wrong := sorted(_SPECIAL_TO_POWERSHELL & set(re.sub(r"(?<=\S)[@#]", "", bare))):
        raise LineUnreadable(f"in PowerShell {' '.join(wrong)} must stand in quotes: {text}")
    words = [re.sub(r"'([^']*)'|\"([^\"]*)\"", lambda quoted: quoted[1] or quoted[2] or "", part) for part in parts]
    return [_filled(word, variables, text) for word in words]


def _filled(word: str, variables: Mapping[str, str], text: str) -> str:
    filled = re.sub(r"\$(\w+)", lambda found: variables.get(found[1], found[0]), word)
    if "$" in filled:
        raise LineUnreadable(f"nothing gives this variable a value: {text}")
    return filled


def keys_to_set(shell: Shell) -> dict[str, set[str]]:
    """Return the functions that each key is set for by the set-up's lines for a shell, by the key's value there."""
    keys: dict[str, set[str]] = {}
    for line in lines_of(SETUP):
        if line.words[:4] == ("functionapp", "function", "keys", "set") and line.shell is shell:
            keys.setdefault(line.option("--key-value"), set()).add(line.option("--function-name"))
    return keys
