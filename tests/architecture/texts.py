"""Every text that a user of the app can read: ``python -m tests.architecture.texts``, sorted by module.

Errors, alerts, pages, commands and the descriptions of log events. What is a text is guessed: a string with two words
in it that is no docstring, or a single word in a place that is shown. ``test_texts.py`` forbids some words in them.
"""

import argparse
import ast
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from tests.architecture.product import ROOT, parsed, product_files

# What developers start and read beside the app itself.
COMMANDS: Final = ("dev.py", "local_cloud/*.py", "local_cloud/functions_host/*.py", "tests/arguments.py")
PAGES: Final = ("operations/templates/*.html", "operations/static/*.js")
LOG_EVENTS: Final = "docs/operations.md"

# Arguments and fields whose value is shown as it is, also if it is one word.
SHOWN: Final = frozenset({"label", "title", "text", "message", "reason", "name", "what", "words", "caption", "help"})

_TWO_WORDS: Final = re.compile(r"[A-Za-z']{2,}[,.:;!?)'\"]* +[(\"'{]*[A-Za-z{]")
_ONE_WORD: Final = re.compile(r"[A-Z][a-z]+")
# What has spaces and is read by machines: a regular expression, a content policy, a media type, a query.
_FOR_MACHINES: Final = re.compile(r"\\[bsdw.(]|\(\?|^default-src|; charset=|; boundary=|^[a-z/]+\?|\$select=|\$filter=")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Text:
    """One text where it stands; what is filled in stands in braces."""

    path: str
    line: int
    text: str


def all_texts() -> list[Text]:
    """Return every text, module by module."""
    commands = sorted({file.relative_to(ROOT).as_posix() for pattern in COMMANDS for file in ROOT.glob(pattern)})
    found = [text for path in [*product_files(), *commands] for text in texts_of_python(path, parsed(path))]
    for file in (file for pattern in PAGES for file in sorted(ROOT.glob(pattern))):
        source, path = file.read_text("utf-8"), file.relative_to(ROOT).as_posix()
        found += texts_of_script(path, source) if path.endswith(".js") else texts_of_template(path, source)
    return sorted({*found, *texts_of_log_events()})


def texts_of_python(path: str, tree: ast.AST) -> Iterator[Text]:
    """Yield the texts of a module: whole f-strings, and strings that are no docstring."""
    skipped: set[int] = set()
    shown: set[int] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant()):
                skipped.add(id(node.value))
            case ast.JoinedStr(values=parts):
                skipped.update(id(part) for part in parts)
            case ast.keyword(arg=name, value=value) if name in SHOWN:
                shown.add(id(value))
            case ast.ClassDef(bases=[ast.Name(id="StrEnum")], body=body):
                shown.update(id(each.value) for each in body if isinstance(each, ast.Assign))
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        match node:
            case ast.JoinedStr(values=parts):
                text = "".join(map(_part, parts))
            case ast.Constant(value=str(text)):
                pass
            case _:
                continue
        if _is_read_by_people(text, is_shown=id(node) in shown):
            yield Text(path=path, line=getattr(node, "lineno", 0), text=_in_one_line(text))


def texts_of_template(path: str, source: str) -> Iterator[Text]:
    """Yield the texts of a page: between its tags, in attributes that are read out, and in its expressions."""

    def blank(found: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", found[0])

    for found in re.finditer(r"\{[{%].*?[%}]\}", source, re.DOTALL):
        for quoted in re.finditer(r'"([^"<>]*)"', found[0]):
            if _is_read_by_people(quoted[1], is_shown=False):
                yield Text(path=path, line=_line(source, found.start()), text=quoted[1])
    bare = re.sub(r"\{%.*?%\}|\{#.*?#\}", blank, source, flags=re.DOTALL)
    bare = re.sub(r"\{\{-?\s*(.*?)\s*-?\}\}", lambda found: "{}" + " " * (len(found[0]) - 2), bare)
    for found in re.finditer(r'aria-label="([^"]*)"|data-say="([^"]*)"|>([^<]+)', bare):
        text = _in_one_line(next(filter(None, found.groups()), ""))
        if re.search("[A-Za-z]{2}", text):
            yield Text(path=path, line=_line(source, found.end()), text=text)


def texts_of_script(path: str, source: str) -> Iterator[Text]:
    """Yield the texts of the pages' script."""
    for number, line in enumerate(source.splitlines(), 1):
        for found in re.finditer(r'"([^"]+)"|`([^`]+)`', line.partition(" // ")[0]):
            text = next(filter(None, found.groups()))
            if not line.lstrip().startswith("//") and _is_read_by_people(text, is_shown=False):
                yield Text(path=path, line=number, text=text)


def texts_of_log_events() -> Iterator[Text]:
    """Yield what an operator reads about each event of the log."""
    for number, line in enumerate((ROOT / LOG_EVENTS).read_text("utf-8").splitlines(), 1):
        if re.match(r"\| `[a-z_.]+` \| (?:INFO|WARNING|ERROR) \|", line):
            yield Text(path=LOG_EVENTS, line=number, text=line.strip("| "))


def _part(part: ast.expr) -> str:
    match part:
        case ast.Constant(value=str(text)):
            return text
        case ast.FormattedValue(value=value):
            return "{" + ast.unparse(value).replace("\n", " ") + "}"
    return "{}"


def _is_read_by_people(text: str, *, is_shown: bool) -> bool:
    if _FOR_MACHINES.search(text):
        return False
    return bool(_TWO_WORDS.search(text)) or (is_shown and bool(_ONE_WORD.fullmatch(text)))


def _in_one_line(text: str) -> str:
    return " ".join(text.split())


def _line(source: str, position: int) -> int:
    return source.count("\n", 0, position) + 1


def main(arguments: Sequence[str]) -> int:
    """Print the texts; return 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.architecture.texts", description=__doc__)
    parser.add_argument("words", nargs="?", default="", metavar="REGEX", help="only texts that match, in any case")
    wanted = re.compile(parser.parse_args(arguments).words, re.IGNORECASE)
    for path, texts in groupby((text for text in all_texts() if wanted.search(text.text)), lambda each: each.path):
        sys.stdout.write(f"\n{path}\n")
        for each in texts:
            sys.stdout.write(f"{each.line:>6}  {each.text}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
