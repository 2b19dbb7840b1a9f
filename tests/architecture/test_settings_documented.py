"""Settings in the code, in docs/settings.md and in local.settings.json.example are the same."""

import json
import re
from pathlib import Path

import pytest

from shared.config.app_settings import SETTINGS
from shared.config.settings import read_settings

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT.joinpath("docs", "settings.md").read_text("utf-8")
EXAMPLE = json.loads(ROOT.joinpath("local.settings.json.example").read_text("utf-8"))


def _rows() -> dict[str, list[str]]:
    """Return the rows of all tables by the setting in their first column."""
    rows = {}
    for line in DOCS.splitlines():
        if line.startswith("| `"):
            name, *cells = [cell.strip() for cell in line.strip("|").split("|")]
            rows[name.strip("`")] = cells
    return rows


# A row of the app's own settings has four columns, one of the platform's has two.
OURS = {name: cells for name, cells in _rows().items() if len(cells) == 3}
PLATFORMS = {name for name, cells in _rows().items() if len(cells) == 1}


def test_every_setting_is_documented_and_nothing_else_is() -> None:
    assert set(OURS) == set(SETTINGS)
    assert set(_rows()) == set(OURS) | PLATFORMS


@pytest.mark.parametrize("name", SETTINGS)
def test_the_documented_default_is_the_default(name: str) -> None:
    meaning, default, _parameter = OURS[name]

    assert meaning
    assert default.strip("`") == SETTINGS[name].default


def test_the_example_holds_documented_settings_only_as_texts() -> None:
    assert EXAMPLE["IsEncrypted"] is False
    assert set(EXAMPLE["Values"]) <= set(SETTINGS) | PLATFORMS
    assert set(EXAMPLE["Values"]) >= PLATFORMS
    assert all(isinstance(value, str) for value in EXAMPLE["Values"].values())


def test_the_example_names_every_default_that_it_repeats_as_it_is() -> None:
    for name, value in EXAMPLE["Values"].items():
        if name in SETTINGS and SETTINGS[name].default and name != "GRAPH_URL":
            assert value == SETTINGS[name].default, name


def test_the_example_works_as_it_is() -> None:
    settings = read_settings(EXAMPLE["Values"])

    assert [flow.input_folder for flow in settings.flows.imports] == ["/Input"]
    assert settings.flows.drives == ("drives/b!local",)


# facts of the samples: https://github.com/microsoft/Dynamics-AX-Integration, FileBasedIntegrationSamples
@pytest.mark.parametrize(
    "parameter",
    [
        *("paramdynamicsax_instance", "paramexception_email_id", "paramretry_policy_count"),
        *("D365FOURL", "DataProject", "LegalEntity", "AlertRecipient", "OnedriveDownloadFolder", "UntilLoopRetryCount"),
    ],
)
def test_every_parameter_of_the_logic_apps_has_its_counterpart(parameter: str) -> None:
    assert any(re.search(rf"`{parameter}`", cells[2]) for cells in OURS.values())
