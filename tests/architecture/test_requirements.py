"""What can be held without the network about the packages that this project needs: pins, closure, licences.

Whether a weakness is known of one of them is for ``python dev.py audit`` to ask.
"""

import re
from importlib.metadata import PackageNotFoundError, metadata, requires
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.architecture.product import ROOT

FILES: Final = ("requirements.txt", "requirements-dev.txt", "requirements-witnesses.txt")
APART: Final = "requirements-azure-cli.txt"  # for an environment of its own

# Licences that let the app be run and passed on as it is; of others a person must think first.
FREE: Final = re.compile(
    r"\b(?:MIT|MIT-0|BSD|Apache(?:-2\.0)?|PSF(?:L|-2\.0)?|Python Software Foundation|MPL-2\.0|ISC)\b"
    r"|Mozilla Public License 2\.0"
)
UNFREE: Final = re.compile(r"\b(?:A?GPL|LGPL|SSPL|proprietary|non-?commercial)\b", re.IGNORECASE)


def pins(name: str) -> list[Requirement]:
    """Return the requirements of a file, without what it takes in from another one."""
    lines = (line.partition(" #")[0].strip() for line in (ROOT / name).read_text("utf-8").splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-r "))]


def names(*files: str) -> list[str]:
    return [canonicalize_name(pin.name) for file in files for pin in pins(file)]


@pytest.mark.parametrize("file", [*FILES, APART])
def test_every_package_is_pinned_to_one_version_and_comes_by_its_name(file: str) -> None:
    assert [str(pin) for pin in pins(file) if re.fullmatch(r"==[\w.]+", str(pin.specifier)) is None] == []
    assert [str(pin) for pin in pins(file) if pin.url or pin.extras] == []


def test_no_package_is_pinned_twice() -> None:
    assert sorted(names(*FILES)) == sorted(set(names(*FILES)))


@pytest.mark.parametrize(
    ("files", "place"),
    [(FILES[:1], "what Azure installs"), (FILES[:2], "what a developer installs")],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_pinned_package_needs_is_pinned_too(files: tuple[str, ...], place: str) -> None:
    pinned = set(names(*files))
    missing = {
        (pin.name, needed.name)
        for file in files
        for pin in pins(file)
        if pin.marker is None or pin.marker.evaluate()
        for needed in map(Requirement, requires(pin.name) or ())
        if needed.marker is None or needed.marker.evaluate({"extra": ""})
        if canonicalize_name(needed.name) not in pinned
    }

    assert missing == set(), place


@pytest.mark.parametrize("file", FILES[:2])
def test_every_package_may_be_used_and_passed_on(file: str) -> None:
    doubtful = {}
    for pin in pins(file):
        try:
            licence = licence_of(pin.name)
        except PackageNotFoundError:
            assert pin.marker is not None  # it is for another system
            assert not pin.marker.evaluate()
            continue
        if FREE.search(licence) is None or UNFREE.search(licence):
            doubtful[pin.name] = licence

    assert doubtful == {}


def licence_of(name: str) -> str:
    """Return what a package says of its licence, wherever it says it; of a licence's text the first line."""
    about = metadata(name)
    classifiers = [text for text in about.get_all("Classifier") or [] if text.startswith("License ::")]
    stated = [about.get("License-Expression") or "", (about.get("License") or "").split("\n", 1)[0]]
    return "; ".join(text for text in (*stated, *classifiers) if text)
