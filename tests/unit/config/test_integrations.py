"""What may be configured, in which words the rest is refused, and that schema and parser agree."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from shared.config.alert_route import AlertRoute
from shared.config.flows import Flows
from shared.config.integrations import from_simple, parse_integrations
from shared.config.lanes import lane_name
from shared.config.model import (
    NOT_SAVED_OF_A_FLOW,
    Asynchronous,
    CompanyFromName,
    Document,
    ExportFlow,
    ImportFlow,
    Part,
    ProjectFromManifest,
    Synchronous,
    all_parts,
    choice_key,
    names_of,
    parts_in,
    words_of,
)
from shared.config.problem import Problem
from shared.config.values import Unfit, matches_name, parse_drive, parse_environment_url
from shared.run_settings import saved_import_of, settings_text
from shared.runs.states import Direction
from shared.secret import SecretUrl
from tests.builders import a_run

URL = "https://contoso.operations.dynamics.com"
DRIVE = "drives/b!local"
SCHEMA = json.loads(Path(__file__).parents[3].joinpath("docs", "integrations.schema.json").read_text("utf-8"))


def _parsed(document: object) -> Flows:
    parsed = parse_integrations(json.dumps(document), environment_url=URL, drive=DRIVE)
    assert isinstance(parsed, Flows), "\n".join(map(str, parsed))
    return parsed


def _refused(document: object) -> str:
    problems = parse_integrations(json.dumps(document), environment_url=URL, drive=DRIVE)
    assert isinstance(problems, list)
    assert problems
    return "\n".join(map(str, problems))


def _import(**values: object) -> dict[str, object]:
    return {"name": "customers", "inputFolder": "Customers/Input", **values}


def _export(**values: object) -> dict[str, object]:
    return {"name": "ledger", "outputFolder": "Out", "dataProject": "Ledger", "company": "USMF", **values}


def _one_import(**values: object) -> ImportFlow:
    return _parsed({"imports": [_import(**values)]}).imports[0]


# What is read.


def test_an_import_needs_no_more_than_a_name_and_its_folder() -> None:
    flow = _one_import()

    assert flow == ImportFlow(
        name="customers",
        environment_url=URL,
        drive=DRIVE,
        input_folder="/Customers/Input",
        processing_folder="/Customers/Processing",
        success_folder="/Customers/Success",
        error_folder="/Customers/Error",
        data_project=ProjectFromManifest(),
        company=CompanyFromName(),
        overwrite=True,
    )


def test_everything_that_a_flow_names_is_its_own() -> None:
    parsed = _parsed(
        {
            "$schema": "integrations.schema.json",
            "imports": [
                _import(
                    environmentUrl="https://TEST.sandbox.operations.dynamics.com/",
                    drive="integration@contoso.com",
                    processingFolder="/P/",
                    successFolder="S\\S",
                    errorFolder="E",
                    dataProject="Customers V3",
                    company="usmf",
                    overwrite=False,
                )
            ],
            "exports": [_export(everySeconds=3600, company="dat")],
        }
    )

    (flow,), (export,) = parsed.imports, parsed.exports
    assert flow.environment_url == "https://test.sandbox.operations.dynamics.com"
    assert flow.drive == "users/integration@contoso.com/drive"
    assert (flow.processing_folder, flow.success_folder, flow.error_folder) == ("/P", "/S/S", "/E")
    assert (flow.only_project, flow.only_company, flow.overwrite) == ("Customers V3", "USMF", False)
    assert (export.output_folder, export.company, export.every_seconds) == ("/Out", "DAT", 3600)
    assert parsed.drives == ("users/integration@contoso.com/drive", DRIVE)


def test_a_flow_may_name_who_is_told_and_the_secret_addresses_by_the_name_of_a_setting() -> None:
    text = json.dumps({"imports": [_import(alertRecipient="a@b.de;c@d.de", alertTeamsUrl="%CUSTOMERS_TEAMS%")]})
    url = "https://prod-1.logic.azure.com/workflows/1?sig=the-signature"

    parsed = parse_integrations(text, environment_url=URL, drive=DRIVE, setting={"CUSTOMERS_TEAMS": url}.__getitem__)

    assert isinstance(parsed, Flows)
    (flow,) = parsed.imports
    assert flow.alerts == AlertRoute(recipient="a@b.de;c@d.de", teams_url=SecretUrl(url))
    assert "the-signature" not in repr(flow)


def test_what_a_flow_leaves_open_is_told_where_the_app_tells_all() -> None:
    general = AlertRoute(recipient="a@b.de", teams_url=SecretUrl("https://teams.example/1"))

    route = AlertRoute(recipient="c@d.de").with_defaults(general)

    assert route == AlertRoute(recipient="c@d.de", teams_url=SecretUrl("https://teams.example/1"))


@pytest.mark.parametrize(
    ("key", "value", "wrong"),
    [
        ("alertRecipient", "nobody", "must be an e-mail address"),
        ("alertTeamsUrl", "%NOWHERE%", "refers to the app setting NOWHERE, which is not set"),
        ("alertTeamsUrl", "http://teams.example/?sig=the-signature", "must begin with https://"),
        ("alertWebhookUrl", "https://hook.example/a b?sig=the-signature", "without '#' and spaces"),
    ],
)
def test_a_way_to_tell_people_that_cannot_be_meant_is_refused_without_its_secret(
    key: str, value: str, wrong: str
) -> None:
    problems = parse_integrations(json.dumps({"imports": [_import(**{key: value})]}), environment_url=URL, drive=DRIVE)

    assert isinstance(problems, list)
    (problem,) = problems
    assert problem.setting == f"INTEGRATIONS, imports[0].{key}"
    assert wrong in problem.wrong
    assert "the-signature" not in str(problem)


def test_flows_are_found_by_name() -> None:
    parsed = _parsed({"imports": [_import()], "exports": [_export()]})

    assert parsed.import_named("customers") is parsed.imports[0]
    assert parsed.export_named("ledger") is parsed.exports[0]
    assert parsed.import_named("ledger") is None
    assert parsed.named("ledger") is parsed.exports[0]
    assert parsed.export_named("gone") is None
    assert parsed.all == (*parsed.imports, *parsed.exports)


def test_imports_that_share_a_data_project_of_one_environment_share_a_lane() -> None:
    first = _one_import(name="a", dataProject="Customers")
    second = _one_import(name="b", dataProject="CUSTOMERS", inputFolder="Elsewhere/Input")

    assert first.lane == second.lane


@pytest.mark.parametrize(
    "other",
    [
        {"dataProject": "Vendors"},
        {"dataProject": "Customers", "environmentUrl": "https://other.operations.dynamics.com"},
        {"dataProject": "", "name": "Customers"},
        {"dataProject": "Customers-"},
    ],
)
def test_whatever_else_is_apart_has_another_lane(other: dict[str, object]) -> None:
    assert _one_import(dataProject="Customers").lane != _one_import(**other).lane
    assert _one_import(name="a").lane != _one_import(name="b").lane  # neither names a data project


def test_exports_and_imports_of_one_data_project_do_not_wait_for_each_other() -> None:
    parsed = _parsed({"imports": [_import(dataProject="Ledger")], "exports": [_export()]})

    assert parsed.imports[0].lane.startswith("in-ledger-")
    assert parsed.exports[0].lane.startswith("out-ledger-")


def test_a_lane_is_the_same_after_every_start() -> None:
    # Open runs are found by it, so it must not change between versions either.
    assert _one_import(dataProject="Asset Major Types (Ä)").lane == "in-asset-major-types-a-2b603d5d"


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=128))
def test_a_lane_is_safe_in_a_blobs_path(data_project: str) -> None:
    lane = lane_name(Direction.IMPORT, URL, data_project, "customers")
    assert re.fullmatch(r"in(-[a-z0-9]+)*-[0-9a-f]{8}", lane)
    assert len(lane) <= 60


# What is refused, with a word of each refusal. Those of SHAPE the schema refuses too.

SHAPE: dict[str, tuple[object, str]] = {
    "a list": ([], "INTEGRATIONS must be a JSON object"),
    "null": (None, "INTEGRATIONS must be a JSON object"),
    "nothing": ({}, "contains neither an import nor an export"),
    "empty lists": ({"imports": [], "exports": []}, "contains neither"),
    "imports that are no list": ({"imports": {}, "exports": [_export()]}, "INTEGRATIONS, imports must be a list"),
    "an import that is no object": ({"imports": ["x"]}, r"imports\[0\] must be an object"),
    "an unknown list": ({"import": [_import()]}, r"INTEGRATIONS, import is unknown. Did you mean imports\?"),
    "a misspelt key": ({"imports": [_import(dataproject="X")]}, r"dataproject is unknown. Did you mean dataProject\?"),
    "a key of the other kind": ({"imports": [_import(everySeconds=1)]}, "everySeconds is a setting of exports, not"),
    "a schema that is no text": ({"$schema": 1, "imports": [_import()]}, r"\$schema must be text"),
    "an import without a name": ({"imports": [{"inputFolder": "In"}]}, r"imports\[0\].name is missing"),
    "an import without a folder": ({"imports": [{"name": "x"}]}, r"imports\[0\].inputFolder is missing"),
    "an import with an empty folder": ({"imports": [_import(inputFolder="")]}, "inputFolder is missing"),
    "a folder that is null": ({"imports": [_import(inputFolder=None)]}, "inputFolder must be text"),
    "a folder that is a number": ({"imports": [_import(inputFolder=1)]}, "inputFolder must be text"),
    "the root as a folder": ({"imports": [_import(inputFolder="//")]}, "the drive's root itself"),
    "a folder with a star": ({"imports": [_import(errorFolder="Err*r")]}, "errorFolder has a character"),
    "a backslash that is a tab in JSON": (
        {"imports": [_import(errorFolder="ERP\test")]},
        "errorFolder has a control character, such as .* Write / between folders",
    ),
    "a folder without end": ({"imports": [_import(inputFolder="x" * 401)]}, "longer than the 400"),
    "a name with a slash": ({"imports": [_import(name="a/b")]}, "name must be 1 to 60"),
    "a name without end": ({"imports": [_import(name="x" * 61)]}, "name must be 1 to 60"),
    "a company that is too long": ({"imports": [_import(company="USMFX")]}, "1 to 4 letters or digits"),
    "a company with a dash": ({"exports": [_export(company="U-S")]}, r"exports\[0\].company must be a company"),
    "a data project of blanks": ({"imports": [_import(dataProject="  ")]}, "dataProject must be"),
    "a data project without end": ({"imports": [_import(dataProject="x" * 129)]}, "dataProject must be"),
    "overwrite as text": ({"imports": [_import(overwrite="true")]}, "overwrite must be true or false"),
    "overwrite as a number": ({"imports": [_import(overwrite=1)]}, "overwrite must be true or false"),
    "an export without anything": (
        {"exports": [{}]},
        r"(?s)name is missing.*outputFolder is missing.*dataProject is missing.*company is missing",
    ),
    "an export without a company": ({"exports": [_export(company="")]}, r"exports\[0\].company is missing"),
    "files without a pattern": ({"imports": [_import(files={"include": []})]}, "files.include must have at least one"),
    "files by a path": ({"imports": [_import(files={"include": ["A/*"]})]}, r"files.include\[0\] must be a file name"),
    "an age of more than a day": (
        {"imports": [_import(files={"minimumAgeSeconds": 86401})]},
        "whole number of seconds",
    ),
    "seconds below zero": ({"exports": [_export(everySeconds=-1)]}, "whole number of seconds"),
    "half a second": ({"exports": [_export(everySeconds=0.5)]}, "whole number of seconds"),
    "seconds as text": ({"exports": [_export(everySeconds="60")]}, "whole number of seconds"),
    "seconds as a flag": ({"exports": [_export(everySeconds=True)]}, "whole number of seconds"),
    "more than a week": ({"exports": [_export(everySeconds=604801)]}, "whole number of seconds"),
    "an address without https": ({"imports": [_import(environmentUrl="contoso.com")]}, "begins with https"),
    "an address with a path": ({"imports": [_import(environmentUrl=URL + "/data")]}, "without a path other than"),
    "an address with a query": ({"imports": [_import(environmentUrl=URL + "/?cmp=USMF")]}, "the address only"),
    "an address with a password": ({"imports": [_import(environmentUrl="https://a:b@c.com")]}, "user name or password"),
    "a word that filing does not know": (
        {"imports": [_import(filing={"partiallySucceeded": "Success"})]},
        r"filing.partiallySucceeded must be error, success or folder",
    ),
    "a time zone by its name in Windows": (
        {"imports": [_import(notBetween=[{"timeZone": "W. Europe Standard Time"}])]},
        "timeZone must be the IANA name of a time zone, such as Europe/Berlin",
    ),
    "hours that are no times": ({"imports": [_import(notBetween=[{"hours": "25:00-06:00"}])]}, "two different times"),
    "hours that begin at the end of the day": (
        {"imports": [_import(notBetween=[{"hours": "24:00-06:00"}])]},
        "the first from 00:00 to 23:59",
    ),
    "stuck after no time": ({"imports": [_import(stuckAfterMinutes=0)]}, "whole number of minutes"),
    "a drive that is a web address": (
        {"imports": [_import(drive="https://contoso-my.sharepoint.com/personal/x")]},
        "drive must be drives/<drive id>",
    ),
    "a drive that is a word": ({"imports": [_import(drive="onedrive")]}, "drive must be drives/<drive id>"),
}

MEANING: dict[str, tuple[object, str]] = {
    "no time in which anything is imported": (
        {"imports": [_import(notBetween=[{"days": "1-15"}, {"days": "16-31", "hours": "00:00-24:00"}])]},
        r"imports\[0\].notBetween leaves no time in which files are imported\.",
    ),
    "no such time while clocks are turned forward": (
        {
            "imports": [
                _import(notBetween=[{"hours": "06:00-18:00", "timeZone": "Europe/Berlin"}, {"hours": "16:00-04:00"}])
            ]
        },
        r"imports\[0\].notBetween leaves no time in which files are imported in the summer",
    ),
    "no such time while they are turned back": (
        {
            "imports": [
                _import(notBetween=[{"hours": "06:00-18:00", "timeZone": "Europe/Berlin"}, {"hours": "17:00-05:00"}])
            ]
        },
        r"imports\[0\].notBetween leaves no time in which files are imported in the winter",
    ),
    "a lane that waits for one of its flows": (
        {
            "imports": [
                _import(dataProject="A", notBetween=[{"days": "31"}]),
                _import(name="b", inputFolder="B/Input", dataProject="a"),
            ]
        },
        r"imports\[1\].notBetween is not the same as INTEGRATIONS, imports\[0\].notBetween",
    ),
    "a range of days that runs backwards": (
        {"imports": [_import(notBetween=[{"days": "31-1"}])]},
        r"notBetween\[0\].days must be days of the month",
    ),
    "a partial folder that is Error": (
        {"imports": [_import(partialFolder="Customers/Error", filing={"partiallySucceeded": "folder"})]},
        "partialFolder is /Customers/Error, the same as",
    ),
    "plain http": ({"imports": [_import(environmentUrl="http://contoso.com")]}, "must begin with https"),
    "two flows of one name": (
        {"imports": [_import()], "exports": [_export(name="Customers")]},
        "another flow already has",
    ),
    "Error that is Success": ({"imports": [_import(successFolder="X", errorFolder="x")]}, "Use different folders"),
    "Processing inside Input": (
        {"imports": [_import(processingFolder="Customers/Input/Processing")]},
        "is inside the Input folder",
    ),
    "Success that another import reads": (
        {"imports": [_import(successFolder="B/Input"), _import(name="b", inputFolder="B/Input")]},
        r"imports\[0\].successFolder is /B/Input, which INTEGRATIONS, imports\[1\].inputFolder reads",
    ),
    "a sub-folder of a company that another import reads": (
        {
            "imports": [
                _import(company={"from": "folder"}, inputFolder="A/Input"),
                _import(name="b", inputFolder="a/input/USMF", errorFolder="A/Input/DEMF"),
            ]
        },
        r"(?s)imports\[1\].inputFolder is /a/input/USMF, a sub-folder of .*imports\[0\].inputFolder, whose.*"
        r"imports\[1\].errorFolder is /A/Input/DEMF, which INTEGRATIONS, imports\[0\].inputFolder reads",
    ),
    "an Input folder that gets the files of a company from another import": (
        {
            "imports": [
                _import(company={"from": "folder"}, successFolder="Done"),
                _import(name="b", inputFolder="done/usmf"),
            ]
        },
        r"imports\[0\].successFolder is /Done, where the app makes sub-folders for companies, and INTEGRATIONS, "
        r"imports\[1\].inputFolder reads one of them",
    ),
    "one folder in two spellings of its accent": (
        {"imports": [_import(inputFolder="B\u00e4r"), _import(name="b", inputFolder="Ba\u0308r")]},
        r"imports\[1\].inputFolder is .*reads already",
    ),
    "an import that can never get a file": (
        {
            "imports": [
                _import(files={"include": ["A*"]}),
                _import(name="b", files={"include": ["B*", "**"]}),
                _import(name="c", inputFolder="customers/INPUT", files={"include": ["C*"]}),
            ]
        },
        r"imports\[2\].inputFolder is /customers/INPUT, which INTEGRATIONS, imports\[1\].inputFolder reads already. "
        r"That import takes every file, so imports\[2\] can never get one",
    ),
    "imports of one folder that disagree on its sub-folders": (
        {
            "imports": [
                _import(files={"include": ["A*"]}),
                _import(name="b", company={"from": "folder"}),
            ]
        },
        r"imports\[1\].company does not agree with INTEGRATIONS, imports\[0\].company",
    ),
    "imports of one folder with two folders for what matches none": (
        {
            "imports": [
                _import(files={"include": ["A*"]}, unmatchedFolder="U"),
                _import(name="b", files={"include": ["B*"]}, unmatchedFolder="V"),
            ]
        },
        r"imports\[1\].unmatchedFolder is not that of INTEGRATIONS, imports\[0\].unmatchedFolder",
    ),
    "one folder of one user, with the user's name in another case": (
        {
            "imports": [
                _import(drive="users/ada@contoso.com/drive"),
                _import(name="b", drive="users/Ada@Contoso.com/drive"),
            ]
        },
        "reads already",
    ),
    "a data project that two exports use": (
        {"exports": [_export(), _export(name="b", dataProject="LEDGER", company="USRT", outputFolder="B")]},
        "exports already",
    ),
    "a folder named ..": ({"imports": [_import(inputFolder="../Input")]}, "ends with a dot"),
    "a folder named con": ({"imports": [_import(inputFolder="A/CON/Input")]}, "that OneDrive reserves"),
    "a folder that ends with a dot": ({"imports": [_import(inputFolder="A./Input")]}, "ends with a dot"),
    "forms at the root": ({"imports": [_import(inputFolder="Forms/Input")]}, "Forms"),
}


@pytest.mark.parametrize("name", SHAPE | MEANING)
def test_a_wrong_configuration_is_refused_in_words(name: str) -> None:
    document, words = (SHAPE | MEANING)[name]

    assert re.search(words, _refused(document)), _refused(document)


@pytest.mark.parametrize("name", SHAPE)
def test_the_schema_refuses_what_the_parser_refuses(name: str) -> None:
    assert not Draft202012Validator(SCHEMA).is_valid(SHAPE[name][0])


GOOD: dict[str, object] = {
    "one import": {"imports": [_import()]},
    "one export": {"exports": [_export()]},
    "an export that feeds an import of another environment": {
        "imports": [_import(environmentUrl="https://other.operations.dynamics.com")],
        "exports": [_export(outputFolder="Customers/Input")],
    },
    "imports that share their other folders": {
        "imports": [_import(inputFolder="In/Customers"), _import(name="vendors", inputFolder="In/Vendors")]
    },
    "imports that share their Input folder": {
        "imports": [
            _import(files={"exclude": ["draft*"]}, unmatchedFolder="U"),
            _import(name="b", files={"include": ["B*"]}),
            _import(name="c", unmatchedFolder="u"),
        ]
    },
    "imports that share a folder for what matches none, with an accent as a part of its letter and as a sign": {
        "imports": [
            _import(files={"include": ["A*"]}, unmatchedFolder="\u00dc"),
            _import(name="b", files={"include": ["B*"]}, unmatchedFolder="U\u0308"),
        ]
    },
    "no imports said": {"imports": [], "exports": [_export()]},
    "values left empty": {
        "imports": [_import(company="", dataProject="", drive="", environmentUrl="", errorFolder="")]
    },
    "folders with slashes around": {"imports": [_import(inputFolder="//A\\B/Input/")]},
    "names that need escaping": {"imports": [_import(inputFolder="100% #1 & 'more'/Eingänge")]},
    "an on-premises environment": {"imports": [_import(environmentUrl="https://ax.contoso.com/namespaces/AXSF/")]},
    "this machine": {"imports": [_import(environmentUrl="http://127.0.0.1:8082")]},
    "a bare drive id": {"imports": [_import(drive="b!aB_-1")]},
    "a bare user name": {"imports": [_import(drive="o'neill+x@contoso.com")]},
    "a personal drive": {"imports": [_import(drive="drives/1234567890ABCDEF")]},
    "a drive with slashes": {"imports": [_import(drive="/users/x@y.z/drive/")]},
    "the signed-in user's drive": {"imports": [_import(drive="me/drive")]},
    "a whole number with a point": {"exports": [_export(everySeconds=60.0)]},
    "a data project with everything": {"imports": [_import(dataProject="Größe (v2) / 'x' & 1")]},
    "every key": {
        "$schema": "./integrations.schema.json",
        "imports": [
            _import(
                environmentUrl=URL,
                drive=DRIVE,
                processingFolder="P",
                successFolder="S",
                errorFolder="E",
                unmatchedFolder="U",
                files={"include": ["*.zip"], "exclude": ["draft*"], "minimumAgeSeconds": 60},
                note="Ask Kim before you change it.",
                dataProject="D",
                company="U1",
                companies=["U1"],
                overwrite=False,
                strictOrder=True,
                partialFolder="Partly",
                execute=False,
                filing={"partiallySucceeded": "folder", "dateFolders": "year/month/day"},
                counts={"warnIfZeroRows": True},
                resultFile=True,
                notBetween=[
                    {"days": "1-3, 28-31", "weekdays": "mon-fri", "hours": "18:00-06:00", "timeZone": "Europe/Berlin"}
                ],
                stuckAfterMinutes=600,
                order={"by": "name", "pauseSeconds": 60, "after": ["vendors"], "afterSuccess": True},
                duplicates="refuse",
                reserve={"entities": True, "excel": True},
                action={
                    "name": "ImportFromPackageAsync",
                    "failOnError": False,
                    "runAsyncWithoutBatch": True,
                    "thresholdToRunInBatch": 1000,
                },
                alertRecipient="a@contoso.com; b@contoso.com",
                alertTeamsUrl="https://prod-1.westeurope.logic.azure.com/workflows/1?sig=x",
                alertWebhookUrl="https://events.contoso.com/hook",
            ),
            _import(name="vendors", inputFolder="Vendors/Input"),
        ],
        "exports": [_export(environmentUrl=URL, drive=DRIVE, everySeconds=0, alertRecipient="")],
    },
}


@pytest.mark.parametrize("name", GOOD)
def test_schema_and_parser_take_the_same(name: str) -> None:
    _parsed(GOOD[name])
    errors = list(Draft202012Validator(SCHEMA).iter_errors(GOOD[name]))
    assert not errors


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def _all_keys(document: Any) -> set[str]:
    return {key for flow in (*document.get("imports", ()), *document.get("exports", ())) for key in flow}


def test_what_a_record_keeps_of_a_flow_is_read_back_as_it_was() -> None:
    flow = _parsed(GOOD["every key"]).require_import("customers")

    saved = saved_import_of(replace(a_run(), flow_settings=settings_text(flow)))

    assert saved is not None
    not_kept = set(NOT_SAVED_OF_A_FLOW)
    assert saved.model_dump(exclude=not_kept) == flow.model_dump(exclude=not_kept)


def test_every_setting_of_a_flow_is_tried() -> None:
    missing = {*names_of(ImportFlow), *names_of(ExportFlow)} - _all_keys(GOOD["every key"])

    assert not missing, f"the document 'every key' in GOOD needs {sorted(missing)}"


@pytest.mark.parametrize("part", sorted(all_parts(Document), key=str))
def test_every_setting_of_the_model_is_described_and_has_an_example_that_it_takes(part: type[Part]) -> None:
    for name, field in part.model_fields.items():
        assert field.description or part is Document, name
        assert field.examples or name == "from_" or part is Document, name


def test_a_flow_without_an_environment_says_which_setting_could_stand_in() -> None:
    problems = parse_integrations(json.dumps({"imports": [_import()]}))

    assert problems == [
        Problem("INTEGRATIONS, imports[0].environmentUrl", "is missing, and so is FO_URL.", f'"{URL}"', "customers"),
        Problem(
            "INTEGRATIONS, imports[0].drive",
            "is missing, and so is ONEDRIVE_DRIVE.",
            '"users/integration@contoso.com/drive"',
            "customers",
        ),
    ]


def test_all_that_is_wrong_is_told_together() -> None:
    refusal = _refused(
        {"imports": [_import(company="?"), {"name": "b"}], "exports": [_export(everySeconds=-1)], "x": 1}
    )

    assert refusal.count("\n") == 3


# Simple settings.


def _simple(**values: str) -> Flows | list[Problem]:
    return from_simple(values, environment_url=URL, drive=DRIVE)


def test_simple_settings_and_json_give_the_same_flows() -> None:
    simple = _simple(
        INPUT_FOLDER="A/Input",
        IMPORT_DATA_PROJECT="P",
        IMPORT_COMPANY="usmf",
        IMPORT_OVERWRITE="No",
        EXPORT_DATA_PROJECT="E",
        EXPORT_COMPANY="USMF",
        OUTPUT_FOLDER="Output",
    )

    assert simple == _parsed(
        {
            "imports": [
                _import(name="import", inputFolder="A/Input", dataProject="P", company="USMF", overwrite=False)
            ],
            "exports": [_export(name="export", dataProject="E", outputFolder="Output")],
        }
    )


# Values.


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://Contoso.Operations.Dynamics.com/", "https://contoso.operations.dynamics.com"),
        ("https://ax.contoso.com/Namespaces/axsf/", "https://ax.contoso.com/namespaces/AXSF"),
        ("http://127.0.0.1:8082", "http://127.0.0.1:8082"),
        ("http://localhost:8082/", "http://localhost:8082"),
        ("http://[::1]:8082", "http://[::1]:8082"),
        ("https://contoso.com:443", "https://contoso.com:443"),
    ],
)
def test_addresses_are_brought_to_one_form(text: str, url: str) -> None:
    assert parse_environment_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        *("", "contoso.com", "ftp://x", "https://", "https:///x", "https://a b", "https://x:port", "https://[::1"),
        *("http://10.0.0.1", "https://x.com/data", "https://x.com/?cmp=USMF", "https://x.com#a"),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(Unfit):
        parse_environment_url(text)


@pytest.mark.parametrize("parse", [parse_environment_url, parse_drive])
@given(text=st.text())
def test_an_address_or_a_drive_in_its_one_form_stays_as_it_is(parse: Callable[[str], str], text: str) -> None:
    try:
        value = parse(text)
    except Unfit:
        return
    assert parse(value) == value


# Names that are left alone


@pytest.mark.parametrize(
    ("name", "is_meant"),
    [
        ("USMF_1.zip.tmp", True),
        ("USMF_1.ZIP.TMP", True),
        ("~$USMF.xlsx", True),
        ("Gro\u0308\u00dfe", True),
        ("[draft] USMF.zip", True),
        ("USMF_1.zip", False),
        ("tmp", False),
        ("d USMF.zip", False),
    ],
)
def test_a_pattern_means_names_in_any_case_and_spelling(name: str, is_meant: bool) -> None:
    assert matches_name(name, ("*.tmp", "~$*", "Gr\u00f6\u00dfe", "[draft]*")) is is_meant


# Defaults, and texts of app settings.


def test_defaults_serve_all_flows_that_do_not_say_otherwise() -> None:
    parsed = _parsed(
        {
            "defaults": {"drive": "me/drive", "company": "DEMF", "overwrite": False, "everySeconds": 60},
            "imports": [_import(), _import(name="b", inputFolder="B/Input", company="USMF", overwrite=True)],
            "exports": [_export(company="")],
        }
    )

    assert [flow.drive for flow in parsed.all] == ["me/drive"] * 3
    assert [flow.only_company for flow in parsed.all] == ["DEMF", "USMF", "DEMF"]
    assert [flow.overwrite for flow in parsed.imports] == [False, True]
    assert parsed.exports[0].every_seconds == 60


def test_an_action_of_the_defaults_leaves_no_argument_to_that_of_a_flow() -> None:
    defaults = {"action": {"name": "ImportFromPackageAsync", "failOnError": False}}

    parsed = _parsed(
        {
            "defaults": defaults,
            "imports": [_import(action={"name": "ImportFromPackage"}), _import(name="b", inputFolder="B/Input")],
        }
    )

    assert [flow.action for flow in parsed.imports] == [Synchronous(), Asynchronous(fail_on_error=False)]


def test_a_choice_of_the_defaults_is_not_mixed_with_that_of_a_flow() -> None:
    defaults = {"company": {"from": "name", "separator": "#", "position": 3}}

    parsed = _parsed({"defaults": defaults, "imports": [_import(company={"from": "name", "position": 2})]})

    assert parsed.imports[0].company == CompanyFromName(separator="_", position=2)


def test_what_is_wrong_in_the_defaults_is_said_once_and_of_the_defaults() -> None:
    flows = [_import(), _import(name="b", inputFolder="B/Input")]

    refusal = _refused({"defaults": {"company": "TOOLONG", "nam": "x"}, "imports": flows})

    unknown, wrong = refusal.splitlines()
    assert unknown.startswith("INTEGRATIONS, defaults.nam is unknown. Known keys: environmentUrl, drive, ")
    assert wrong == 'INTEGRATIONS, defaults.company must be a company\'s id, 1 to 4 letters or digits. Example: "USMF"'


def test_a_default_that_is_wrong_beside_what_a_flow_says_is_told_of_the_defaults() -> None:
    document = {"defaults": {"order": {"pauseSeconds": -1}}, "imports": [_import(order={"by": "name"})]}

    assert _refused(document).startswith("INTEGRATIONS, defaults.order.pauseSeconds must be a whole number")


def test_an_app_setting_stands_in_any_text_or_a_part_of_it() -> None:
    document = {"imports": [_import(inputFolder="ERP/%STAGE%/Input", companies=["%COMPANY%"], dataProject="%PROJECT%")]}
    settings = {"STAGE": "Test", "COMPANY": "usmf", "PROJECT": "Customers"}

    parsed = parse_integrations(
        json.dumps(document), environment_url=URL, drive=DRIVE, setting=lambda name: settings.get(name, "")
    )

    assert isinstance(parsed, Flows), parsed
    (flow,) = parsed.imports
    assert flow.input_folder == "/ERP/Test/Input"
    assert flow.processing_folder == "/ERP/Test/Processing"
    assert (flow.named_companies, flow.only_project) == (("USMF",), "Customers")


def test_an_app_setting_that_is_missing_is_named_once_with_the_place() -> None:
    assert _refused({"imports": [_import(company="%NOWHERE%")]}).splitlines() == [
        "INTEGRATIONS, imports[0].company refers to the app setting NOWHERE, which is not set. Flow: customers."
    ]


# Choices.


@pytest.mark.parametrize(
    ("company", "words"),
    [
        ({"from": "nowhere"}, "imports[0].company.from must be fixed, name or folder."),
        ({}, "imports[0].company.from is missing: it must be fixed, name or folder."),
        ({"from": "name", "positon": 2}, "imports[0].company.positon is unknown. Did you mean position?"),
        (
            {"from": "name", "name": 2},
            "imports[0].company.name does not belong here, but in imports[0], beside company.",
        ),
        ({"from": "folder", "folder": 2}, "imports[0].company.folder is unknown."),
        ({"from": "name", "position": 0}, "imports[0].company.position must be a whole number from 1 to 20."),
        ({"from": "name", "separator": "ab"}, "imports[0].company.separator must be 1 to 5 characters, not all of"),
        ({"from": "fixed"}, "imports[0].company.company is missing."),
        ({"from": "fixed", "company": "TOOLONG"}, "imports[0].company.company must be a company's id"),
        ("TOOLONG", "imports[0].company must be a company's id"),
        (7, 'imports[0].company must be text or an object such as {"from": "folder"}.'),
        (["USMF"], "imports[0].company must be text or an object such as"),
    ],
)
def test_a_choice_that_cannot_be_meant_is_refused_with_its_place(company: object, words: str) -> None:
    assert f"INTEGRATIONS, {words}" in _refused({"imports": [_import(company=company)]})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"companies": []}, "imports[0].companies must have at least one entry."),
        ({"companies": ["USMF", 7]}, "imports[0].companies[1] must be text in double quotes."),
        (
            {"companies": {"from": "list", "list": ["USMF"], "companies": ["USMF"]}},
            "imports[0].companies.list is unknown.",
        ),
        ({"companies": "USMF"}, "imports[0].companies must be a list or an object such as"),
        ({"companies": {"from": "list", "companies": "USMF"}}, "imports[0].companies.companies must be a list."),
        (
            {"action": {"name": "ImportFromPackage", "failOnError": True}},
            "imports[0].action.failOnError is only for name 'ImportFromPackageAsync'. Remove it, or change 'name'.",
        ),
        (
            {"action": {"failOnError": True}},
            "imports[0].action.name is missing: it must be ImportFromPackage or Import",
        ),
        ({"action": "ImportPackage"}, "imports[0].action.name must be ImportFromPackage or ImportFromPackageAsync."),
        ({"dataProject": {"from": "name", "patterns": []}}, "imports[0].dataProject.patterns must have at least one"),
        ({"dataProject": {"from": "name", "patterns": [{}]}}, "imports[0].dataProject.patterns[0].files is missing."),
        ({"dataProject": {"from": "name", "patterns": ["*"]}}, "imports[0].dataProject.patterns[0] must be an object."),
    ],
)
def test_a_list_that_cannot_be_meant_is_refused_with_its_place(values: dict[str, object], words: str) -> None:
    assert f"INTEGRATIONS, {words}" in _refused({"imports": [_import(**values)]})


# The text.


def test_a_text_that_is_not_json_is_refused_with_its_line() -> None:
    text = '{"imports": [\n  {"name": "a", "inputFolder": "A/Input"},\n]}'

    problems = parse_integrations(text)

    assert isinstance(problems, list)
    assert problems[0].wrong == "is not JSON: line 2, column 42: remove the comma before the closing } or ]."


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("", "is empty."),
        ('{"imports": [', "column 14: the document ends too early"),
        ('{"imports": [] // none\n}', "column 16: JSON has no comments"),
        ("{'imports': []}", "column 2: names and texts must be in straight double quotes."),
        ("{imports: []}", "column 2: a name in double quotes is expected here."),
        ('{"imports": [{"name": a}]}', "column 23: a value is expected here. Texts must be in double quotes."),
        ('{"imports": [{"name": "a}]}', "column 23: the closing double quote of a text is missing."),
        ('{"imports": [{"name": "a" "note": ""}]}', "column 27: a comma or a closing } or ] is missing before this"),
        ('{"imports" = []}', "column 12: a colon is expected here."),
        ('{"imports": []}}', "column 16: the document has ended before this."),
        ('{"imports": [{"inputFolder": "ERP\\Input"}]}', "column 34: in JSON a backslash is written twice."),
        ('{"imports": [{"execute": False}]}', "column 26: true, false and null have small letters."),
    ],
)
def test_a_text_that_is_not_json_is_refused_with_the_cure(text: str, cure: str) -> None:
    problems = parse_integrations(text)

    assert isinstance(problems, list)
    assert cure in problems[0].wrong


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"name": "a"}, "INTEGRATIONS, name is a setting of a flow: it belongs in an object of imports or exports."),
        (
            {"imports": [_import(after=["a"])]},
            "imports[0].after does not belong here, but in order. Flow: customers. "
            'Example: {"order": {"after": ["groups"]}}',
        ),
        (
            {"imports": [_import(hours="1")]},
            'but in notBetween. Flow: customers. Example: {"notBetween": [{"hours": "18:00-06:00"}]}',
        ),
        (
            {"imports": [_import(order={"strictOrder": True})]},
            "imports[0].order.strictOrder does not belong here, but in imports[0], beside order.",
        ),
        (
            {"imports": [_import(company={"from": "folder", "companies": ["USMF"]})]},
            "imports[0].company.companies does not belong here, but in imports[0], beside company.",
        ),
        ({"exports": [_export(strictOrder=True)]}, "exports[0].strictOrder is a setting of imports, not of exports."),
        (
            {"defaults": {"errorFolder": "E"}, "imports": [_import()]},
            "INTEGRATIONS, defaults.errorFolder cannot have a default: give each flow its own.",
        ),
        ({"defaults": {"dateFolders": "none"}, "imports": [_import()]}, "does not belong here, but in filing."),
    ],
)
def test_a_setting_in_the_wrong_place_is_refused_with_its_place(document: object, words: str) -> None:
    assert words in _refused(document)


@pytest.mark.parametrize("key", ["imports[0].x", "imports[7]", f"exports[{'9' * 9999}]"])
def test_a_key_that_looks_like_a_place_is_unknown(key: str) -> None:
    assert f"INTEGRATIONS, {key} is unknown." in _refused({"imports": [_import()], key: 1})
    assert f"INTEGRATIONS, {key} is unknown." in _refused({key: 1})


def test_a_list_whose_entries_are_wrong_is_not_called_empty() -> None:
    refusal = _refused({"imports": [_import(companies=["USMF,DEMF"])]})

    assert "companies[0] must be a company's id" in refusal
    assert "\n" not in refusal


def test_a_time_zone_is_found_whatever_its_case_and_by_its_city() -> None:
    parsed = _parsed({"imports": [_import(notBetween=[{"hours": "18:00-06:00", "timeZone": "europe/BERLIN"}])]})

    assert parsed.imports[0].not_between[0].time_zone == "Europe/Berlin"
    refusal = _refused({"imports": [_import(notBetween=[{"timeZone": "new york"}])]})
    assert "Did you mean America/New_York?" in refusal


def _with_null(part: type[Part]) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield an object of the model for each setting in it, at any depth, in which that is null."""
    word = {choice_key(part): words_of(part)[0]} if words_of(part) else {}
    for field in part.model_fields.values():
        key = str(field.alias)
        yield key, {**word, key: None}
        is_list = isinstance((field.examples or [""])[0], list)
        for inner in parts_in(field.annotation):
            for name, value in _with_null(inner):
                yield f"{key}.{name}", {**word, key: [value] if is_list and not words_of(inner) else value}


NULLS: dict[str, dict[str, object]] = {
    **{f"imports.{name}": {"imports": [{**_import(), **value}]} for name, value in _with_null(ImportFlow)},
    **{f"exports.{name}": {"exports": [{**_export(), **value}]} for name, value in _with_null(ExportFlow)},
    **{
        f"defaults.{key}": {"defaults": {key: None}, "imports": [_import()], "exports": [_export()]}
        for key in ("company", "companies", "stuckAfterMinutes", "everySeconds", "order")
    },
}


@pytest.mark.parametrize("name", NULLS)
def test_no_setting_may_be_null(name: str) -> None:
    key = "action.name" if name == "imports.action.name" else name.rpartition(".")[2]

    words = "must be" if key in ("from", "action.name") else "must be .*, not null\\."  # of a choice: its words
    assert re.search(rf"\b{key} {words}", _refused(NULLS[name])), _refused(NULLS[name])
    assert not Draft202012Validator(SCHEMA).is_valid(NULLS[name])


@pytest.mark.parametrize(
    ("defaults", "words"),
    [
        ({"duplicates": "refuze"}, "defaults.duplicates must be warn, refuse or allow."),
        ({"order": {"by": "nam", "pauseSeconds": 1}}, "defaults.order.by must be arrival or name."),
        ({"everySeconds": -1}, "defaults.everySeconds must be a whole number"),
        ({"company": {"from": "fixed"}}, "defaults.company.company is missing."),
    ],
)
def test_a_default_that_no_flow_takes_is_checked_all_the_same(defaults: dict[str, object], words: str) -> None:
    own = {"duplicates": "warn", "order": {"by": "name"}, "company": "USMF"}

    (line,) = _refused({"defaults": defaults, "imports": [_import(**own)]}).splitlines()

    assert line.startswith(f"INTEGRATIONS, {words}")
    assert "Flow:" not in line


def test_a_default_that_only_an_import_can_take_is_right_although_an_export_has_its_own() -> None:
    _parsed({"defaults": {"company": {"from": "folder"}}, "exports": [_export()]})


def test_null_is_named_and_left_out_to_get_the_default() -> None:
    refusal = _refused({"imports": [_import(strictOrder=None)]})

    assert "strictOrder must be true or false, not null. Leave it out for its default." in refusal


def test_an_order_of_the_defaults_that_cannot_be_is_told_of_the_defaults() -> None:
    refusal = _refused({"defaults": {"order": {"after": ["x"]}}, "imports": [_import(order={"by": "name"})]})

    assert refusal.startswith("INTEGRATIONS, defaults.order.after[0] is x, but no import has this name.")


def test_a_company_of_the_defaults_that_an_export_cannot_have_is_told_with_the_export() -> None:
    document = {
        "defaults": {"company": {"from": "folder"}},
        "imports": [_import()],
        "exports": [_export(company="")],
    }

    assert "not an object. exports[0] takes it from there: give that export its own." in _refused(document)


@pytest.mark.parametrize("text", ['{"imports": ' + "[" * 3000 + "]" * 3000 + "}", '{"a": ' * 3000 + "1" + "}" * 3000])
def test_a_text_with_lists_or_objects_without_end_in_each_other_is_refused(text: str) -> None:
    problems = parse_integrations(text)

    assert isinstance(problems, list)
    assert "more than 50 deep" in problems[0].wrong


def test_half_of_a_character_is_refused_before_a_record_would_have_to_keep_it() -> None:
    assert "files.include[0] contains half of a character" in _refused(
        {"imports": [_import(files={"include": ["\ud800*"]})]}
    )
    assert "contains a key with half of a character" in _refused({"imports": [_import(**{"\ud800": 1})]})


def test_a_value_is_never_printed_where_it_may_be_a_secret() -> None:
    document = {"imports": [_import(alertTeamsUrl=["the-secret"], drive="the-secret", company={"from": "the-secret"})]}

    assert "the-secret" not in _refused(document)


# Order.


def _ordered(name: str, *after: str, **keys: Any) -> dict[str, Any]:
    return _import(name=name, inputFolder=f"{name}/Input", order={"after": [*after]}, **keys)


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({"by": "size"}, "imports[0].order.by must be arrival or name."),
        ({"pauseSeconds": 3601}, "imports[0].order.pauseSeconds must be a whole number of seconds from 0 to 3600."),
        ({"after": "groups"}, "imports[0].order.after must be a list."),
        ("name", "imports[0].order must be an object."),
        (
            {"afterSuccess": True},
            "imports[0].order.afterSuccess is true, but order.after names no import that goes first. Name the imports "
            "there, or remove it.",
        ),
    ],
)
def test_an_order_that_cannot_be_meant_is_refused_with_its_place(order: object, words: str) -> None:
    assert f"INTEGRATIONS, {words}" in _refused({"imports": [_import(order=order)]})


def test_after_success_as_a_default_is_for_the_imports_that_go_after_others() -> None:
    flows = _parsed(
        {
            "defaults": {"order": {"afterSuccess": True}},
            "imports": [_import(), _import(name="orders", inputFolder="Orders/Input", order={"after": ["customers"]})],
        }
    )
    assert [flow.name for flow in flows.imports_after_success_of("customers")] == ["orders"]


@pytest.mark.parametrize(
    ("flows", "words"),
    [
        ([("a", "bb"), ("b",)], "imports[0].order.after[0] is bb, but no import has this name. Did you mean b?"),
        ([("a", "export")], "imports[0].order.after[0] is export, but no import has this name. The imports are: a."),
        ([("a", "a")], "imports[0].order.after names a itself, so it could never begin. Remove"),
        ([("a",), ("b", "c"), ("c", "d"), ("d", "b")], "imports[1].order.after leads back to itself, so none could"),
        ([("a",), ("b", "c"), ("c", "d"), ("d", "b")], "b after c after d after b."),
    ],
)
def test_imports_that_cannot_go_one_after_the_other_are_refused_once(flows: list[tuple[str, ...]], words: str) -> None:
    refusal = _refused({"imports": [_ordered(*each) for each in flows], "exports": [_export(name="export")]})

    assert words in refusal
    assert "\n" not in refusal


def test_an_import_goes_after_those_that_its_own_go_after() -> None:
    parsed = _parsed(
        {"imports": [_ordered("orders", "customers"), _ordered("customers", "groups"), _ordered("groups")]}
    )

    assert [flow.name for flow in parsed.imports_before(parsed.imports[0])] == ["customers", "groups"]
    # Their folders are listed in that order.
    assert [flows[0].name for flows in parsed.input_folders] == ["groups", "customers", "orders"]


@pytest.mark.parametrize(("key", "value"), [("strictOrder", True), ("order", {"by": "name"})])
def test_imports_that_share_a_lane_have_one_order(key: str, value: object) -> None:
    flows = [_import(name=name, inputFolder=f"{name}/Input", dataProject="P") for name in ("a", "b")]

    refusal = _refused({"imports": [{**flows[0], key: value}, flows[1]]})

    assert refusal.startswith(
        f"INTEGRATIONS, imports[1].{key} is not the same as INTEGRATIONS, imports[0].{key}, but both imports use the "
        "data project P"
    )
    _parsed({"imports": [{**flows[0], key: value}, {**flows[1], "dataProject": "Q"}]})
    _parsed({"imports": [{**flows[0], key: value}, {**flows[1], key: value}]})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Customers USMF", "customers {company}"),
        ({"from": "name", "patterns": [{"files": "*", "dataProject": "P"}]}, "P"),
        (
            {"from": "name", "patterns": [{"files": "*", "dataProject": "P {company}"}]},
            {
                "from": "name",
                "patterns": [{"files": "A*", "dataProject": "Q"}, {"files": "*", "dataProject": "p DEMF"}],
            },
        ),
    ],
)
def test_an_import_cannot_go_after_one_whose_files_may_be_behind_its_own_in_their_lane(
    one: object, other: object
) -> None:
    flows = [_ordered("a", dataProject=one), _ordered("b", "a", dataProject=other)]

    assert "imports[1].order is not the same as" in _refused({"imports": flows})
    _parsed({"imports": [flows[0], {**flows[1], "dataProject": "Others {company}"}]})
    _parsed({"imports": [flows[0], {**flows[1], "environmentUrl": "https://other.operations.dynamics.com"}]})


def test_companies_that_are_listed_keep_the_lanes_of_imports_apart() -> None:
    both = {"dataProject": "Customers {company}", "company": {"from": "folder"}}

    _parsed({"imports": [_ordered("a", companies=["USMF"], **both), _ordered("b", "a", companies=["DEMF"], **both)]})
