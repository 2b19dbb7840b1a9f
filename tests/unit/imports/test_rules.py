"""Which company and data project a file is for, and in which words it is refused."""

import json

import pytest

from shared.config.flows import Flows
from shared.config.integrations import parse_integrations
from shared.config.model import ImportFlow
from shared.errors import FileRejected
from shared.imports.rules import company_of, lane_of, project_of, require_project


def _flow(**values: object) -> ImportFlow:
    flow = {"name": "customers", "inputFolder": "Customers/Input", **values}
    url = "https://contoso.operations.dynamics.com"
    parsed = parse_integrations(json.dumps({"imports": [flow]}), environment_url=url, drive="drives/b!local")
    assert isinstance(parsed, Flows), parsed
    return parsed.imports[0]


SIMPLE = _flow()


# -- the company


@pytest.mark.parametrize(
    ("file_name", "company"),
    [
        ("USMF_Customer_001_V101.zip", "USMF"),
        ("usmf_asset-major-types-01.zip", "USMF"),
        ("dat_x.zip", "DAT"),
        ("1_.zip", "1"),
        ("De01__x.zip", "DE01"),
    ],
)
def test_the_company_stands_before_the_first_underscore(file_name: str, company: str) -> None:
    assert company_of(SIMPLE, file_name) == company


@pytest.mark.parametrize(
    "file_name",
    [
        *("foo.zip", "", "_x.zip", "USMFX_x.zip", "US-F_x.zip", " USM_x.zip", "ÄÖÜ_x.zip", "٣٤_x.zip", "ﬀ_x.zip"),
        *("USMF\n_x", "USMF.zip"),
    ],
)
def test_a_name_without_a_company_is_refused_with_an_example(file_name: str) -> None:
    with pytest.raises(FileRejected, match=r"USMF_Customers_001\.zip"):
        company_of(SIMPLE, file_name)


@pytest.mark.parametrize(
    ("file_name", "company"),
    [("groups#DEMF#0101.zip", "DEMF"), ("groups#usmf.ZIP", "USMF"), ("x#GB01#", "GB01")],
)
def test_the_company_is_a_part_of_the_name_without_its_ending(file_name: str, company: str) -> None:
    flow = _flow(company={"from": "name", "separator": "#", "position": 2})

    assert company_of(flow, file_name) == company


def test_a_name_without_that_part_is_refused_with_an_example_of_the_rule() -> None:
    flow = _flow(company={"from": "name", "separator": "#", "position": 2})

    with pytest.raises(FileRejected, match=r"Part 2 of the name 'USMF_1.zip', split at '#'.*Part#USMF#001\.zip"):
        company_of(flow, "USMF_1.zip")


def test_the_company_is_the_sub_folder_of_input() -> None:
    assert company_of(_flow(company={"from": "folder"}), "groups.zip", "usmf") == "USMF"


@pytest.mark.parametrize(
    ("sub_folder", "words"),
    [
        (
            "",
            "is directly in /Customers/Input.*Put it into the sub-folder of its company, such as /Customers/Input/DEMF",
        ),
        ("Archive 2026", "is in the sub-folder 'Archive 2026', which is not a company.* such as /Customers/Input/DEMF"),
        ("GBSI", "is for company GBSI, which is not among the companies of flow customers: DEMF, USMF"),
    ],
)
def test_a_file_in_another_place_is_never_taken_for_a_company(sub_folder: str, words: str) -> None:
    flow = _flow(company={"from": "folder"}, companies=["demf", "USMF"])

    with pytest.raises(FileRejected, match=words):
        company_of(flow, "groups.zip", sub_folder)


def test_a_company_that_is_not_listed_is_refused_with_the_list() -> None:
    flow = _flow(companies=["USMF"])

    assert company_of(flow, "usmf_1.zip") == "USMF"
    with pytest.raises(FileRejected, match="is for company DEMF, which is not among the companies of flow customers"):
        company_of(flow, "DEMF_1.zip")


# -- the data project


@pytest.mark.parametrize(
    ("rule", "project"),
    [
        ("Customers", "Customers"),
        ("Customers {company}", "Customers USMF"),
        ({"from": "fixed", "dataProject": "Customers"}, "Customers"),
        ({"from": "manifest"}, ""),
        ("", ""),
        (
            {
                "from": "name",
                "patterns": [
                    {"files": "*_vendors_*", "dataProject": "Vendors"},
                    {"files": "*_CUSTOMERS_*", "dataProject": "{company} customers"},
                    {"files": "*", "dataProject": "Rest"},
                ],
            },
            "USMF customers",
        ),
    ],
)
def test_a_rule_says_the_data_project(rule: object, project: str) -> None:
    assert project_of(_flow(dataProject=rule), "USMF_Customers_1.zip", "USMF") == project


def test_a_name_that_matches_no_pattern_is_refused_with_the_patterns() -> None:
    flow = _flow(dataProject={"from": "name", "patterns": [{"files": "*_V_*", "dataProject": "V"}]})

    with pytest.raises(FileRejected, match=r"'USMF_1.zip' matches none of the patterns.*'\*_V_\*'"):
        project_of(flow, "USMF_1.zip", "USMF")


def test_the_rules_data_project_wins_over_the_packages() -> None:
    assert require_project("Ours", "Theirs") == "Ours"
    assert require_project("", "Theirs") == "Theirs"
    with pytest.raises(FileRejected, match="IMPORT_DATA_PROJECT"):
        require_project("", "")


# -- the lane


def test_each_data_project_of_a_flow_has_a_lane_which_other_flows_share_by_its_name() -> None:
    flow, other = _flow(dataProject="Customers {company}"), _flow(name="b", dataProject="customers usmf")

    assert lane_of(flow, "USMF_1.zip") == lane_of(flow, "usmf_2.zip") == other.lane
    assert lane_of(flow, "DEMF_1.zip") not in (other.lane, flow.lane)


@pytest.mark.parametrize("rule", ["Customers", {"from": "manifest"}, "{company}"])
def test_a_file_whose_data_project_is_not_known_or_the_same_for_all_is_in_the_lane_of_its_flow(rule: object) -> None:
    flow = _flow(dataProject=rule)

    assert lane_of(flow, "no company.zip") == flow.lane
