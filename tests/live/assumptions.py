"""What the app believes of the services without having seen it, and which live test decides it.

The beliefs in the code are collected from where they stand ("Assumed:"); those of the vendors' open questions that
concern this app are listed here. ``tests/unit/test_live.py`` keeps the list whole.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
PRODUCT: Final = ("shared", "inbound_trigger", "outbound_timer")

HELD: Final = "held"
NOT_HELD: Final = "did not hold"
NOT_CHECKED: Final = "not checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A place of the code where something is assumed."""

    path: str  # in the project
    line: int
    text: str  # of the comment or the docstring's paragraph, on one line


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumption:
    """Something that is believed, and what decides it."""

    where: str  # "shared/imports/steps.py:237", "Graph", "F&O"
    text: str
    check: str = ""  # the test that decides it; "" for none
    why_not: str = ""  # why no live test decides it


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a run found out about an assumption."""

    where: str
    text: str
    result: str  # HELD, NOT_HELD or NOT_CHECKED
    seen: str  # what the service did, or why it was not asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What decides a passage, which is known by its file and some of its words."""

    path: str
    words: str
    belief: str = ""  # what is assumed, where the passage does not say it by itself
    check: str = ""
    why_not: str = ""


DECISIONS: Final = (
    Decision(
        path="shared/clients/fno/client.py",
        words="F&O has tried no row",
        why_not="needs an execution whose target step F&O never starts",
    ),
    Decision(
        path="shared/advice.py",
        words="the words.",
        why_not="F&O's words for it are compared by hand",
    ),
    Decision(
        path="shared/imports/fence.py",
        words="key to the same blob",
        check="test_a_second_key_for_the_same_name_is_one_to_the_same_blob",
    ),
    Decision(
        path="shared/imports/upload.py",
        words="claiming move",
        check="test_the_answer_to_a_move_tells_what_the_item_tells",
    ),
    Decision(
        path="shared/imports/contention.py",
        words="lists the entities of an execution",
        why_not="needs an execution that F&O fails before it reads the package",
    ),
    Decision(
        path="shared/runs/run.py",
        words="As long as a status of Unknown",
        belief="F&O knows an execution of ImportFromPackageAsync within ten minutes",
        why_not="a live run does not use ImportFromPackageAsync",
    ),
    Decision(
        path="shared/imports/steps.py",
        words="a move checks nothing out",
        why_not="needs a library that requires check-out",
    ),
    Decision(
        path="shared/imports/steps.py",
        words="to rename a folder",
        why_not="either is safe: the app checks the folder of a file that has waited",
    ),
    Decision(
        path="shared/clients/fno/client.py",
        words="with an empty list",
        why_not="needs a user who is not allowed to read companies",
    ),
    Decision(
        path="shared/exports/steps.py",
        words="no package at all",
        why_not="needs a data project whose filter finds no row",
    ),
    Decision(
        path="shared/exports/delivery.py",
        words="does not hold their names",
        why_not="needs a personal OneDrive, and an upload that is left unfinished in it",
    ),
    Decision(
        path="shared/clients/graph/subscriptions.py",
        words="the app's own subscriptions only",
        why_not="needs a second app with a subscription",
    ),
    Decision(
        path="shared/clients/fno/refusals.py",
        words="wording is not documented",
        belief="An execution id that F&O has already is refused, in words like 'execution id ... already exists'",
        check="test_an_execution_id_that_is_known_is_refused_in_words_that_the_app_understands",
    ),
    Decision(
        path="shared/clients/fno/client.py",
        words="by number too",
        belief="A status comes by name; should it be a number, it counts in the order of the documentation",
        check="test_a_status_comes_as_a_name",
    ),
    Decision(
        path="shared/imports/package.py", words="ZipArchive", check="test_a_package_that_is_not_compressed_is_read"
    ),
    Decision(
        path="shared/imports/package.py",
        words="folders beside",
        check="test_a_folder_beside_the_packages_own_files_does_no_harm",
    ),
    Decision(
        path="shared/imports/package.py",
        words="whose Disable is true",
        check="test_a_disabled_entity_needs_no_data_file_and_no_mapping",
    ),
    Decision(
        path="shared/imports/package.py",
        words="no place for the rows of the second file",
        belief="F&O refuses a package that lists an entity twice",
        check="test_a_package_that_lists_an_entity_twice_is_refused",
    ),
    Decision(
        path="shared/imports/package.py",
        words="regardless of case",
        check="test_a_data_file_may_be_written_in_another_case",
    ),
    Decision(
        path="shared/imports/package.py",
        words="a sign of its own",
        check="test_an_accent_may_be_a_sign_of_its_own_in_the_zip",
    ),
    Decision(
        path="shared/config/values.py",
        words="own limit is lower",
        why_not="would leave a data project with a name that F&O's pages may not cope with",
    ),
)

# Open questions of the vendors' documentation that concern this app.
QUESTIONS: Final = (
    Assumption(
        where="Graph",
        text="A move changes the eTag and keeps the id",
        check="test_a_moved_file_keeps_its_id_and_changes_its_version",
    ),
    Assumption(
        where="Graph",
        text="A move keeps lastModifiedDateTime",
        check="test_a_moved_file_keeps_the_time_of_its_last_change",
    ),
    Assumption(
        where="Graph",
        text="A moved item has a download URL when it is asked for, whatever the answer to the PATCH carries",
        check="test_after_a_move_the_item_has_a_download_url_whether_or_not_the_answer_had_one",
    ),
    Assumption(
        where="Graph",
        text="conflictBehavior fail holds for upload sessions",
        check="test_an_upload_session_with_fail_never_replaces",
    ),
    Assumption(
        where="Graph",
        text="A file that is uploaded in chunks is not listed before its last chunk",
        check="test_a_file_appears_when_its_last_chunk_has_arrived",
    ),
    Assumption(
        where="Graph",
        text="A small file has its quickXorHash at once",
        check="test_an_uploaded_file_has_its_hash_at_once",
    ),
    Assumption(
        where="Graph",
        text="409 on a second subscription of a drive names the first one's id",
        check="test_a_drive_has_one_subscription_of_an_app_and_a_second_one_names_the_first",
    ),
    Assumption(
        where="Graph",
        text="A subscription's resource is told as it was asked for, but for the first slash",
        check="test_a_subscription_tells_what_was_promised",
    ),
    Assumption(
        where="Graph",
        text="Sites.Selected is not enough for the subscription of a drive",
        why_not="needs an identity with that permission alone",
    ),
    Assumption(
        where="Graph",
        text="A managed identity's token is never refused for a claims challenge",
        why_not="needs an administrator who revokes it meanwhile",
    ),
    Assumption(
        where="Graph", text="Notifications may come in any order", why_not="the app takes them for wake-ups only"
    ),
    Assumption(
        where="F&O",
        text="The key to write is good for 15 minutes at least (sv, st and se are shown)",
        check="test_a_key_to_write_says_what_it_is_good_for",
    ),
    Assumption(
        where="F&O",
        text="GetExecutionSummaryStatus says of an unknown id that it is not found",
        check="test_an_unknown_execution_is_not_found",
    ),
    Assumption(
        where="F&O",
        text="legalEntityId may be written in lower case",
        check="test_a_company_may_be_written_in_lower_case",
    ),
    Assumption(
        where="F&O",
        text="An execution id may have 60 characters",
        check="test_an_execution_id_may_have_sixty_characters",
    ),
    Assumption(
        where="F&O",
        text="A managed identity is let in like an app registration",
        check="test_fo_lets_a_managed_identity_in",
    ),
    Assumption(
        where="F&O",
        text="overwrite=false works with composite entities in a project that exists",
        why_not="needs a package with a composite entity",
    ),
    Assumption(where="F&O", text="429 reaches the package actions too", why_not="would need load on the environment"),
)


@cache
def passages() -> tuple[Passage, ...]:
    """Return every passage of the product that says "Assumed"."""
    files = [ROOT / "function_app.py", *(file for each in PRODUCT for file in sorted((ROOT / each).rglob("*.py")))]
    found: list[Passage] = []
    for file in files:
        source, path = file.read_text("utf-8"), file.relative_to(ROOT).as_posix()
        for line, text in [*_comments(source), *_docstrings(source)]:
            found += _assumed(path, line, text)
    return tuple(found)


def _comments(source: str) -> Iterator[tuple[int, str]]:
    """Yield each comment with its line; lines of nothing but comment that follow each other are one."""
    begun: tuple[int, list[str]] | None = None
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            line, text = token.start[0], token.string.lstrip("# ")
            stands_alone = token.line.lstrip().startswith("#")
            if begun and stands_alone and line == begun[0] + len(begun[1]):
                begun[1].append(text)
                continue
            if begun:
                yield begun[0], "\n".join(begun[1])
            begun = (line, [text])
    if begun:
        yield begun[0], "\n".join(begun[1])


def _docstrings(source: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node, clean=False)
            if text is not None:
                yield node.body[0].lineno, text


def _assumed(path: str, first_line: int, text: str) -> Iterator[Passage]:
    for found in re.finditer(r"\bAssumed\b:?", text):
        before = text[: found.start()]
        # "(Assumed)" stands behind what is assumed, "Assumed:" before it.
        told = text[found.end() :] if found.group().endswith(":") else before.rpartition("\n\n")[2].rstrip("( ")
        told = re.split(r"\n\s*\n", told)[0]
        yield Passage(path=path, line=first_line + before.count("\n"), text=" ".join(told.split()))


def decisions_for(passage: Passage) -> list[Decision]:
    """Return what decides a passage: one decision, unless the list has fallen behind the code."""
    return [each for each in DECISIONS if each.path == passage.path and each.words in passage.text]


def assumptions() -> list[Assumption]:
    """Return everything that is believed: the code's passages, then the open questions."""
    listed: list[Assumption] = []
    for passage in passages():
        decision = next(iter(decisions_for(passage)), Decision(path="", words="", why_not="nothing decides it yet"))
        listed.append(
            Assumption(
                where=f"{passage.path}:{passage.line}",
                text=decision.belief or passage.text,
                check=decision.check,
                why_not=decision.why_not,
            )
        )
    return [*listed, *QUESTIONS]


def judged(listed: Sequence[Assumption], tests: Sequence[Mapping[str, Any]]) -> list[Verdict]:
    """Return what the tests of a run (as report.py wrote them down) say of each assumption."""
    return [_verdict(each, [test for test in tests if each.check and test["name"] == each.check]) for each in listed]


def _verdict(assumption: Assumption, tests: Sequence[Mapping[str, Any]]) -> Verdict:
    outcomes = {str(test["outcome"]) for test in tests}
    seen = "; ".join(dict.fromkeys(text for test in tests for text in test["seen"]))
    reasons = "; ".join(dict.fromkeys(str(test["reason"]) for test in tests if test["reason"]))
    if "failed" in outcomes:
        result, seen = NOT_HELD, seen or reasons
    elif "passed" in outcomes:
        result = HELD
    else:
        result, seen = NOT_CHECKED, assumption.why_not or reasons or "its suite did not run"
    return Verdict(where=assumption.where, text=assumption.text, result=result, seen=seen)
