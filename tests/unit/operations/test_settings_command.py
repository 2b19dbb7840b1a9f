"""The command ``settings``: what it reports of a document, and what it says would happen to a file."""

import json
from pathlib import Path

import pytest

from operations import settings_command

DOCUMENT = {
    "imports": [
        {
            "name": "customers",
            "inputFolder": "ERP/Customers/Input",
            "company": {"from": "folder"},
            "companies": ["USMF", "DEMF"],
            "dataProject": "Customers {company}",
        },
        {
            "name": "vendors",
            "inputFolder": "ERP/Vendors/Input",
            "drive": "%ERP_DRIVE%",
            "companies": {"from": "LegalEntities"},
        },
    ]
}


@pytest.fixture
def document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ERP_DRIVE", "me/drive")
    file = tmp_path / "integrations.json"
    file.write_text(json.dumps(DOCUMENT), "utf-8")
    return file


def _run(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = settings_command.main([str(each) for each in arguments])
    return code, capsys.readouterr().out


def test_a_good_document_is_counted(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("check", document, capsys=capsys) == (0, f"{document}: 2 imports and 0 exports, no problems.\n")


def test_all_problems_are_listed_by_their_place_and_a_missing_app_setting_with_where_it_is_looked_for(
    document: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ERP_DRIVE")
    document.write_text(json.dumps(DOCUMENT | {"exports": [{"name": "x"}]}), "utf-8")

    code, said = _run("check", document, capsys=capsys)

    assert code == 1
    assert said.startswith(f"{document}: 4 problems:\n")
    assert "- imports[1].drive refers to the app setting ERP_DRIVE, which is not set." in said
    assert '- exports[0].outputFolder is missing. Flow: x. Example: "Integrations/Customers/Output"' in said
    assert "--settings names another file." in said


def test_what_is_probably_not_meant_is_a_warning(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flow = {
        "name": "b",
        "inputFolder": "ERP/Customers/Input/Later",
        "company": "USMF",
        "companies": ["DEMF"],
        "dataProject": {
            "from": "name",
            "patterns": [{"files": "*_c*", "dataProject": "A"}, {"files": "*_C*.zip", "dataProject": "B"}],
        },
    }
    document.write_text(
        json.dumps({"imports": [{"name": "customers", "inputFolder": "ERP/Customers/Input"}, flow]}), "utf-8"
    )

    code, said = _run("check", document, capsys=capsys)

    assert code == 0
    assert [line.partition(" ")[2] for line in said.splitlines()[1:]] == [
        "Warning: imports[1].companies do not contain USMF, which is the company of all its files: every file is "
        "refused. Flow: b.",
        "Warning: imports[1].dataProject.patterns[1].files is never used: what matches *_C*.zip matches *_c*, which "
        "stands before it. Flow: b.",
        "Warning: imports[1] has folders inside /ERP/Customers/Input, the Input folder of imports[0] (customers), "
        "which does not import what lies there: /ERP/Customers/Input/Later, /ERP/Customers/Input/Processing, "
        "/ERP/Customers/Input/Success, /ERP/Customers/Input/Error. Put them elsewhere, if that is not meant. Flow: b.",
    ]


@pytest.mark.parametrize(
    ("wide", "narrow", "is_covered"),
    [
        ("?.zip", "*.zip", False),
        ("??*", "*", False),
        ("*_?*", "*_*", False),
        ("a*.zip", "A?.zip", True),
        ("*a*", "*xa*", True),
        ("*.*", "?.?", True),
        ("?.zip", "?.ZIP", True),
    ],
)
def test_a_pattern_is_called_covered_only_if_another_one_means_all_that_it_means(
    wide: str, narrow: str, is_covered: bool, document: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = {"name": "a", "inputFolder": "In", "files": {"include": [wide]}}
    second = {"name": "b", "inputFolder": "In", "files": {"include": [narrow]}}
    document.write_text(json.dumps({"imports": [first, second]}), "utf-8")

    _, said = _run("check", document, capsys=capsys)

    assert ("imports[1].files.include matches only files that a takes" in said) is is_covered


def test_what_looks_like_a_placeholder_and_is_none_is_a_warning(
    document: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flows = [
        {"name": "a", "inputFolder": "${STAGE}/Input", "dataProject": "A {company}"},
        {"name": "b", "inputFolder": "B/Input", "dataProject": "B {Company}"},
    ]
    export = {"name": "c", "outputFolder": "C", "dataProject": "C {company}", "company": "USMF"}
    document.write_text(json.dumps({"imports": flows, "exports": [export]}), "utf-8")

    _, said = _run("check", document, capsys=capsys)

    assert [line.partition(" which ")[0] for line in said.splitlines()[1:]] == [
        "- Warning: imports[0] has '/${STAGE}/Input', in",
        "- Warning: imports[1] has 'B {Company}', in",
        "- Warning: exports[0] has 'C {company}', in",
    ]


def test_imports_whose_files_may_be_in_one_lane_and_that_differ_in_its_order_are_refused(
    document: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flows = [
        {"name": "a", "inputFolder": "A/Input", "dataProject": "Ledger {company}"},
        {"name": "b", "inputFolder": "B/Input", "dataProject": "ledger USMF", "strictOrder": True},
        {"name": "c", "inputFolder": "C/Input", "dataProject": "Customers {company}", "strictOrder": True},
    ]
    document.write_text(json.dumps({"imports": flows}), "utf-8")

    _, said = _run("check", document, capsys=capsys)

    assert said.splitlines()[1:] == [
        "- imports[1].strictOrder is not the same as imports[0].strictOrder, but both imports use the data project "
        "ledger USMF, so their files are in one lane, which has one order. Give both the same. Flow: b."
    ]


@pytest.mark.parametrize(
    ("flow", "more", "warning"),
    [
        (
            {"partialFolder": "P"},
            [],
            "imports[0].partialFolder has no effect: filing.partiallySucceeded is not folder.",
        ),
        ({"files": {"include": ["*_a*"], "exclude": ["*"]}}, [], "imports[0].files.exclude excludes every file that"),
        ({"unmatchedFolder": "U"}, [], "imports[0].unmatchedFolder has no effect: an import takes every file."),
        (
            {"files": {"include": ["*_C*"]}},
            [{"name": "b", "inputFolder": "A/Input", "files": {"include": ["*_Cu*"]}}],
            "imports[1].files.include matches only files that a takes, which stands before it.",
        ),
        (
            {"files": {"include": ["*_C*"]}, "drive": "users/Kim@Contoso.com/drive"},
            [
                {
                    "name": "b",
                    "inputFolder": "A/Input",
                    "files": {"include": ["*_Cu*"]},
                    "drive": "users/kim@contoso.com/drive",
                }
            ],
            "imports[1].files.include matches only files that a takes, which stands before it.",
        ),
    ],
)
def test_a_setting_without_effect_is_a_warning(
    flow: dict[str, object],
    more: list[dict[str, object]],
    warning: str,
    document: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = {"name": "a", "inputFolder": "A/Input", **flow}
    document.write_text(json.dumps({"imports": [first, *more]}), "utf-8")

    _, said = _run("check", document, capsys=capsys)

    assert len(said.splitlines()) == 2
    assert f"- Warning: {warning}" in said


def test_an_export_into_the_input_folder_of_the_same_environment_is_a_warning(
    document: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = {"name": "out", "outputFolder": "A/Input", "dataProject": "P", "company": "USMF"}
    flows = {"imports": [{"name": "a", "inputFolder": "A/Input"}], "exports": [export]}
    document.write_text(json.dumps(flows), "utf-8")

    _, said = _run("check", document, capsys=capsys)

    assert "exports[0].outputFolder is the Input folder of a, which imports its packages into the same" in said


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        (
            "A/Input/usmf",
            "exports[0].outputFolder is in Input the folder of a company of a, which imports its packages",
        ),
        ("A/Input/GBSI", "which does not import what lies there: /A/Input/GBSI."),
    ],
)
def test_an_export_into_the_folder_of_a_company_is_a_warning_that_says_whether_it_is_imported_again(
    folder: str, words: str, document: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = {"name": "out", "outputFolder": folder, "dataProject": "P", "company": "USMF"}
    back = {"name": "a", "inputFolder": "A/Input", "company": {"from": "folder"}, "companies": ["USMF"]}
    document.write_text(json.dumps({"imports": [back], "exports": [export]}), "utf-8")

    _, said = _run("check", document, capsys=capsys)

    assert said.count("Warning") == 1
    assert words in said


def test_a_sub_folder_that_is_left_alone_by_its_name_is_explained(
    document: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMPORT_IGNORED_NAMES", "DE*")

    code, said = _run("explain", document, "ERP/Customers/Input/demf/groups.zip", capsys=capsys)

    assert code == 1
    assert said.startswith("The sub-folder 'demf' matches IMPORT_IGNORED_NAMES")


def test_a_file_that_cannot_be_read_and_a_text_that_is_not_json_are_told_of_the_file(
    document: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document.write_text("{", "utf-16")
    assert _run("check", document, capsys=capsys)[1].rstrip().endswith("is not UTF-8 text. Save it as UTF-8.")
    document.write_text("{", "utf-8")
    assert "- The document is not JSON: line 1, column 2: " in _run("check", document, capsys=capsys)[1]


def test_an_app_setting_is_found_in_any_case_as_by_the_app(
    document: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    document.write_text(json.dumps({"imports": [{"name": "a", "inputFolder": "%erp_folder%/Input"}]}), "utf-8")
    monkeypatch.setenv("ERP_FOLDER", "Test")

    assert "In /Test/Input, import 'a'" in _run("explain", document, "USMF_1.zip", capsys=capsys)[1]


def test_what_none_of_several_imports_takes_goes_to_the_folder_of_any_of_them(
    document: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flows = [
        {"name": "a", "inputFolder": "In", "files": {"include": ["*_a_*"]}, "unmatchedFolder": "Unmatched"},
        {"name": "b", "inputFolder": "In", "files": {"include": ["*_b_*"]}},
    ]
    document.write_text(json.dumps({"imports": flows}), "utf-8")

    _, said = _run("explain", document, "In/USMF_1.zip", capsys=capsys)

    assert said == (
        "No import of /In takes 'USMF_1.zip' by its 'files' patterns, so the app moves it to /Unmatched after five "
        "minutes.\n"
    )


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("ERP/Customers/Input/demf/groups.zip", 0, ["customers': imported", "Company:       DEMF", "Customers DEMF"]),
        ("ERP/Customers/Input/groups.zip", 1, ["customers': refused", "is directly in /ERP/Customers/Input"]),
        ("ERP/Customers/Input/GBSI/groups.zip", 1, ["leaves the sub-folder 'GBSI'", "customers are: USMF, DEMF."]),
        ("ERP/Customers/Input/Archive/groups.zip", 1, ["leaves the sub-folder 'Archive' of /ERP/Customers/Input"]),
        ("ERP/Vendors/Input/", 1, ["has no file name at its end"]),
        ("ERP/con/USMF_1.zip", 1, ["has a name that OneDrive reserves."]),
        ("ERP\\Vendors\\Input\\USMF_1.zip", 0, ["vendors': imported", "USMF, if F&O has it", "the package's manifest"]),
        ("USMF_1.zip", 0, ["customers': imported", "vendors': imported"]),
        ("ERP/Vendors/Input/USMF_1.txt", 0, ["Not .zip:      refused, unless the file is a data package"]),
        ("ERP/Other/USMF_1.zip", 1, ["No import watches /ERP/Other.", "/ERP/Customers/Input, /ERP/Vendors/Input"]),
        ("~$USMF_1.zip", 1, ["matches IMPORT_IGNORED_NAMES"]),
        ("ERP/Customers/Input/", 1, ["has no file name at its end"]),
        ("C:\\Input\\USMF_1.zip", 1, ["The folder C:/Input has a character that OneDrive does not allow"]),
    ],
)
def test_it_is_explained_what_would_happen_to_a_file_or_why_nothing_would(
    name: str, code: int, words: list[str], document: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended, said = _run("explain", document, name, capsys=capsys)

    assert ended == code
    assert [each for each in words if each not in said] == []


def test_an_app_setting_that_cannot_be_used_is_named(
    document: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FO_URL", "contoso")

    code, said = _run("check", document, capsys=capsys)

    assert (code, said.startswith("The app setting FO_URL must be a URL that begins with https://.")) == (1, True)


def test_order_times_and_folders_are_explained(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = {"name": "groups", "inputFolder": "Groups/Input", "files": {"include": ["*_groups_*"]}}
    flow = {
        "name": "customers",
        "inputFolder": "Customers/Input",
        "strictOrder": True,
        "order": {"by": "name", "pauseSeconds": 60, "after": ["groups"]},
        "filing": {"partiallySucceeded": "folder", "dateFolders": "year/month"},
        "notBetween": [{"days": "28-29", "weekdays": "sat", "hours": "18:00-06:00"}],
        "duplicates": "refuse",
        "reserve": {"entities": True, "excel": True},
        "execute": False,
        "action": "ImportFromPackageAsync",
        "resultFile": True,
        "alertRecipient": "finance@contoso.com",
    }
    document.write_text(json.dumps({"imports": [first, flow]}), "utf-8")

    _, said = _run("explain", document, "Customers/Input/USMF_1.zip", capsys=capsys)
    _, of_groups = _run("explain", document, "Groups/Input/USMF_1.zip", capsys=capsys)

    assert "Processing:    /Customers/Processing\n" in said
    assert "Success:       /Customers/Success/YYYY/MM\n" in said
    assert "Error:         /Customers/Error/YYYY/MM\n" in said
    assert "Partial:       /Customers/Partial/YYYY/MM\n" in said
    assert "Action:        ImportFromPackageAsync: F&O answers at once" in said
    assert "Execute:       no: rows go to F&O's staging tables only" in said
    assert "Result file:   beside the filed file" in said
    assert "Alerts to:     finance@contoso.com" in said
    assert "by name; after the files of groups; with 60 seconds between two files; no file passes another" in said
    assert "Not between:   on sat, on day 28, 29 of the month, 18:00-06:00 UTC" in said
    assert "Same content:  refused" in said
    assert "Never beside:  other imports of its entities and other Excel files" in said
    assert of_groups.startswith("No import of /Groups/Input takes 'USMF_1.zip' by its 'files' patterns")


def test_the_result_is_json_for_programs(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, said = _run("explain", document, "ERP/Vendors/Input/USMF_1.zip", "--json", capsys=capsys)

    (flow,) = json.loads(said)["flows"]
    assert (flow["flow_name"], flow["company"], flow["refusal"]) == ("vendors", "USMF", "")
