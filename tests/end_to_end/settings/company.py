"""Cases of the settings that say which company and which data project a file is for."""

from typing import Any

from tests.end_to_end.settings.case import SettingCase, whole_run
from tests.packages import build_package


def _case(setting: str, value: str, flow: dict[str, Any], file_name: str, **ended: str) -> SettingCase:
    """Return a case of one import and one file; ended: what is saved of its run then."""
    folder = f"{setting}-{value}".replace(".", "-").replace(" ", "-")
    return SettingCase(
        setting=setting,
        value=value,
        imports=({"name": folder, "inputFolder": f"{folder}/Input", **flow},),
        files={f"{folder}/Input/{file_name}": build_package(data_project=f"{folder} manifest", entity=folder)},
        missing=whole_run(file_name, **ended),
    )


PATTERNS = {"from": "name", "patterns": [{"files": "*pattern*", "dataProject": "By name {company}"}]}

CASES = (
    _case("company", "fixed", {"company": "DEMF"}, "fixed.zip", company="DEMF"),
    _case("company", "first part", {}, "GBSI_first.zip", company="GBSI"),
    _case(
        "company",
        "second part",
        {"company": {"from": "name", "separator": "#", "position": 2}},
        "second#GBSI#1.zip",
        company="GBSI",
    ),
    _case("companies", "list", {"companies": ["USMF"]}, "DEMF_listed.zip", company="", outcome="Rejected"),
    _case("dataProject", "fixed", {"dataProject": "Fixed {company}"}, "USMF_p1.zip", data_project="Fixed USMF"),
    _case("dataProject", "manifest", {}, "USMF_p2.zip", data_project="dataProject-manifest manifest"),
    _case("dataProject", "name", {"dataProject": PATTERNS}, "USMF_pattern.zip", data_project="By name USMF"),
)
