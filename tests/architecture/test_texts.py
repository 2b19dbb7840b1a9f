"""No text that a user can read has words that a technical writer of this field would not use."""

import ast
import re

from tests.architecture.texts import all_texts, texts_of_python, texts_of_script, texts_of_template

# What is written instead stands behind each.
FOREIGN = (
    r"stands? against",  # conflicts with, blocks
    r"stands? still",  # is stopped, waits
    r"\b(?:is|are) at (?:it|this|work)\b",  # is processing
    r"takes? no\b",  # accepts no
    r"\bhas looked\b|\blooked at\b|\blooks again\b|\bthe look of\b",  # scan, check
    r"\bg(?:ave|ive[sn]?) up\b",  # cancelled, abandoned, poison message
    r"(?<!there )\bis no (?!longer)",  # is not a
    r"\bmay not use\b",  # is not allowed to use
    r"\blets? the app in\b",  # accepts, denies access
    r"\bhand(?:s|ed)? out\b",  # returns
    r"\bto know about\b",  # warnings
    r"\bin words\b",  # details
    r"\btold of\b|\btells? of\b|\bis told\b",  # reported, alert
    r"\ball the same\b",  # anyway
    r"\bgot through\b",  # succeeded
    r"\bany more\b",  # no longer
)
FORBIDDEN = re.compile("|".join(FOREIGN), re.IGNORECASE)
# Saved in alerts by older versions, and shown nowhere.
SAVED = frozenset({"tell of damaged records", "tell of given up messages"})


def test_no_text_has_a_foreign_word() -> None:
    found = [
        f"{text.path}:{text.line}: {text.text}"
        for text in all_texts()
        if FORBIDDEN.search(text.text) and text.text not in SAVED
    ]

    assert found == []


def test_texts_are_found_in_code_pages_and_script_and_comments_are_not() -> None:
    code = 'def f(x):\n    """Do it now."""\n    raise E(f"The file {x.name} is " "gone.", label="Cancel")\n'
    page = '<p title="x">{% if a %}All is well{{ "so far" ~ b }}{% endif %}{# not this one #}</p>'
    script = 'say("It is done."); // not this one\n// "nor this one"'

    assert sorted(text.text for text in texts_of_python("a.py", ast.parse(code))) == [
        "Cancel",
        "The file {x.name} is gone.",
    ]
    assert [text.text for text in texts_of_template("a.html", page)] == ["so far", "All is well{}"]
    assert [text.text for text in texts_of_script("a.js", script)] == ["It is done."]
