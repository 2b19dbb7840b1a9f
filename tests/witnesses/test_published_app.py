"""What is sent to Azure from a dirty folder works in an environment that pip has made of its own requirements alone."""

from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import dev
from tests.architecture.product import ROOT, product_files
from tests.dirty_tree import publish
from tests.function_index import files_imported_from, index_app
from tests.witnesses.clients import PUBLISHED_APP

pytestmark = [
    pytest.mark.witness(PUBLISHED_APP.name),
    pytest.mark.skipif(PUBLISHED_APP.version() is None, reason=PUBLISHED_APP.missing()),
]


@pytest.fixture
def published_app(tmp_path: Path) -> Path:
    return publish(tmp_path)


def test_its_requirements_were_installed_just_as_they_are_pinned(published_app: Path) -> None:
    lines = (line.partition(" #")[0] for line in (published_app / "requirements.txt").read_text("utf-8").splitlines())
    pins = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    wanted = {
        canonicalize_name(pin.name): str(pin.specifier)[2:] for pin in pins if not pin.marker or pin.marker.evaluate()
    }

    installed = metadata.distributions(path=[str(dev.site_packages(PUBLISHED_APP.environment))])

    found = {canonicalize_name(each.name): each.version for each in installed}
    assert {name: version for name, version in found.items() if name != "pip"} == wanted


def test_azure_finds_all_functions_in_it(published_app: Path) -> None:
    assert index_app(published_app, python=PUBLISHED_APP.python) == index_app(ROOT)


def test_every_module_of_it_can_be_imported(published_app: Path) -> None:
    assert files_imported_from(published_app, python=PUBLISHED_APP.python) == set(product_files())


def test_azure_would_find_none_if_a_file_were_missing(published_app: Path) -> None:
    (published_app / "shared" / "log.py").unlink()

    with pytest.raises(AssertionError, match=r"shared\.log"):
        index_app(published_app, python=PUBLISHED_APP.python)
