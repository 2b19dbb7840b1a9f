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
        {"name": "vendors", "inputFolder": "ERP/Vendors/Input", "drive": "%ERP_DRIVE%"},
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
    assert "- exports[0].outputFolder is missing. Example: Integrations/Customers/Output" in said
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
    assert [line.partition(" ")[2] for line in said.splitlines()[1:4]] == [
        "Warning: imports[1].companies do not contain USMF, which is the company of all its files: every file is "
        "refused.",
        "Warning: imports[1].dataProject.patterns[1].files is never used: what matches *_C*.zip matches *_c*, which "
        "stands before it.",
        "Warning: imports[1] has the folder /ERP/Customers/Input/Later inside /ERP/Customers/Input, the Input folder "
        "of imports[0] (customers).",
    ]


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("ERP/Customers/Input/demf/groups.zip", 0, ["customers': imported", "Company:       DEMF", "Customers DEMF"]),
        ("ERP/Customers/Input/groups.zip", 1, ["customers': refused", "is directly in /ERP/Customers/Input"]),
        ("ERP/Customers/Input/GBSI/groups.zip", 1, ["leaves the sub-folder 'GBSI'", "customers are: USMF, DEMF."]),
        ("ERP/Customers/Input/Archive/groups.zip", 1, ["leaves the sub-folder 'Archive' of /ERP/Customers/Input"]),
        ("ERP/Vendors/Input/", 1, ["'ERP/Vendors/Input/' names no file"]),
        ("ERP/con/USMF_1.zip", 1, ["The folder in 'ERP/con/USMF_1.zip' has a name that OneDrive reserves."]),
        ("ERP\\Vendors\\Input\\USMF_1.zip", 0, ["vendors': imported", "the one that the package's manifest names"]),
        ("USMF_1.zip", 0, ["customers': imported", "vendors': imported"]),
        ("ERP/Other/USMF_1.zip", 1, ["No import watches /ERP/Other.", "/ERP/Customers/Input, /ERP/Vendors/Input"]),
        ("~$USMF_1.zip", 1, ["matches IMPORT_IGNORED_NAMES"]),
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
    }
    document.write_text(json.dumps({"imports": [first, flow]}), "utf-8")

    _, said = _run("explain", document, "Customers/Input/USMF_1.zip", capsys=capsys)
    _, of_groups = _run("explain", document, "Groups/Input/USMF_1.zip", capsys=capsys)

    assert "Partial:       /Customers/Partial" in said
    assert "By date:       in folders year/month below these" in said
    assert "by name; after the files of groups; with 60 seconds between two files; no file passes another" in said
    assert "Not between:   on sat on day 28, 29 of the month 18:00-06:00 UTC" in said
    assert "Same again:    refused" in said
    assert of_groups.startswith("No import of /Groups/Input takes 'USMF_1.zip' by its 'files' patterns")


def test_the_result_is_json_for_programs(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, said = _run("explain", document, "ERP/Vendors/Input/USMF_1.zip", "--json", capsys=capsys)

    (flow,) = json.loads(said)["flows"]
    assert (flow["flow_name"], flow["company"], flow["refusal"]) == ("vendors", "USMF", "")
